"""The original HDiT's weights under our names: k-diffusion's `image_transformer_v2`.

    network.load_state_dict(our_weights(weights, config))

Used where our network is held to the original: by tests/test_parity.py in its numbers, and by
tests/benchmarks/hdit_speed.py in its speed.
"""

import re

from torch import Tensor

from pomkit.networks.hdit import HDiTConfig

# A part of a name, theirs and ours, in the order in which they are replaced.
OUR_NAMES = {
    "norm.scale": "norm.gain",
    "down_levels": "down",
    "up_levels": "up",
    "mid_level": "middle",
    "self_attn": "attention",
    "qkv_proj": "qkv",
    "out_proj": "out",
    ".ff.": ".feed_forward.",
    "up_proj": "up",
    "down_proj": "down",
    "mapping_cond_in_proj": "cond_in",
    "time_in_proj": "time_in",
    ".proj.": ".linear.",
}


def our_name(name: str, config: HDiTConfig) -> str:
    """Our name for one of the original's parameters."""
    name = re.sub(r"^mapping\.blocks\.(\d+)", lambda match: f"mapping.{int(match[1]) + 1}", name)
    name = re.sub(r"^splits\.(\d+)\.fac", r"mix.\1", name)
    name = name.replace("mapping.in_norm.scale", "mapping.0.gain")
    name = name.replace("mapping.out_norm.scale", f"mapping.{config.mapping_depth + 1}.gain")
    for theirs, ours in OUR_NAMES.items():
        name = name.replace(theirs, ours)
    return name


def our_weights(weights: dict[str, Tensor], config: HDiTConfig) -> dict[str, Tensor]:
    """The state of our network with the original's weights.

    Args:
        weights: its state, without buffers that can be computed; the augmentation condition is 0.
        config: ours of the same shape.
    """
    rest = dict(weights)
    # The features of the augmentation condition 0 are ones (cosines), then zeros (sines). So the
    # weights of the ones add up to our bias.
    half = config.mapping_width // 2
    state = {
        "frequencies": rest.pop("time_emb.weight")[:, 0],
        "time_in.bias": rest.pop("aug_in_proj.weight")[:, :half].sum(1),
    }
    for name, value in rest.items():
        state[our_name(name, config)] = value[0] if name.endswith(".fac") else value
    return state
