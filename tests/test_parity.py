"""The network: the same numbers as the original HDiT's, and its own laws.

How the numbers were made: tests/parity/README.md.
"""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pomkit.errors import OptionError
from pomkit.networks.attention import Level, RMSNorm, neighborhood_attention, rotary, seam_mask
from pomkit.networks.hdit import CONFIGS, HDiT, HDiTConfig
from pomkit.processes.edm import Denoiser, denoising_loss
from pomkit.processes.samplers import get_sampler
from pomkit.processes.schedules import karras_sigmas
from tests.original import our_name, our_weights

FOLDER = Path(__file__).parent / "parity"
NAMES = ["window_global_p4", "three_levels_p2x4", "global_only_cond"]
SMALL = HDiTConfig(
    patch=(2, 4),
    mapping_width=32,
    mapping_d_ff=64,
    mapping_cond_dim=2,
    levels=(Level(1, 32, 64, "shifted-window", d_head=16, window=4), Level(1, 32, 64, d_head=16)),
)


class Original:
    """One configuration of the original, and our network with its weights.

    Its weights are renamed in tests/original.py.
    """

    def __init__(self, name: str) -> None:
        facts = json.loads((FOLDER / f"{name}.json").read_text())
        self.grad_norms, self.params = facts["grad_norms"], facts["params"]
        self.config = self.read_config(facts["config"])
        self.half = self.config.mapping_width // 2
        self.arrays = load_file(FOLDER / f"{name}.safetensors")
        weights = {
            key.removeprefix("weights."): self.arrays.pop(key)
            for key in list(self.arrays)
            if key.startswith("weights.")
        }
        self.network = HDiT(self.config)
        self.network.load_state_dict(our_weights(weights, self.config))
        x0, noise, sigma = (self.arrays[key] for key in ("x0", "noise", "sigma"))
        self.noisy = x0 + sigma[:, None, None, None] * noise
        self.cond = self.arrays.get("mapping_cond")
        self.denoiser = Denoiser(self.network, 0.5)
        if (
            self.cond is not None
        ):  # our Denoiser has no free condition vector: give it at the network's door
            self.network.register_forward_pre_hook(lambda module, inputs: (*inputs[:2], self.cond))

    @staticmethod
    def read_config(old: dict) -> HDiTConfig:
        levels = tuple(Level(x["depth"], x["width"], x["d_ff"], *x["attn"]) for x in old["levels"])
        mapping = {f"mapping_{key}": value for key, value in old["mapping"].items()}
        mapping["mapping_cond_dim"] = old["mapping_cond_dim"]
        return HDiTConfig(patch=tuple(old["patch"]), levels=levels, **mapping)

    def loss(self) -> torch.Tensor:
        batch = (self.arrays[key] for key in ("x0", "noise", "sigma"))
        return denoising_loss(self.denoiser, *batch, "soft-min-snr")


@pytest.fixture(scope="module", params=NAMES)
def original(request) -> Original:
    return Original(request.param)


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The relative error in the Euclidean norm."""
    return float((ours - theirs).detach().norm() / theirs.detach().norm())


def test_network_is_the_originals(original):
    with torch.no_grad():
        output = original.network(original.noisy, original.arrays["sigma"].log() / 4)
    assert error(output, original.arrays["network"]) < 1e-4


def test_parameter_count_is_the_originals(original):
    # The matrix of the augmentation condition became a bias, its constant effect.
    ours = sum(parameter.numel() for parameter in original.network.parameters())
    width = original.config.mapping_width
    assert ours - width == original.params - width**2


def test_denoiser_and_loss_are_the_originals(original):
    with torch.no_grad():
        denoised, loss = (
            original.denoiser(original.noisy, original.arrays["sigma"]),
            original.loss(),
        )
    assert error(denoised, original.arrays["denoised"]) < 1e-4
    assert error(loss, original.arrays["loss"]) < 1e-4


def test_gradients_are_the_originals(original):
    network = original.network
    network.zero_grad()
    original.loss().sum().backward()
    norms = {name: float(parameter.grad.norm()) for name, parameter in network.named_parameters()}
    expected = {our_name(name, original.config): norm for name, norm in original.grad_norms.items()}
    # d loss / d aug_in_proj = d loss / d bias times the constant features, of norm sqrt(half).
    expected["time_in.bias"] = expected.pop("aug_in_proj.weight") / math.sqrt(original.half)
    assert norms.keys() == expected.keys()
    assert norms == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m"])
@pytest.mark.parametrize("original", NAMES[:2], indirect=True)
def test_samplers_are_the_originals(original, name):
    sigmas = karras_sigmas(12, 0.01, 80.0, 7.0)
    samples = get_sampler(name)(original.denoiser, original.arrays["noise"] * sigmas[0], sigmas)
    assert error(samples, original.arrays[name]) < 1e-3


def test_reference_has_the_papers_size():
    with torch.device("meta"):
        network = HDiT(CONFIGS["reference"])
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(
        22.4e6, rel=0.01
    )


def random_network(config: HDiTConfig, seed: int = 0) -> HDiT:
    """A network whose matrices are all filled, so that its output is not 0."""
    torch.manual_seed(seed)
    network = HDiT(config)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return network


@pytest.mark.parametrize("name", list(CONFIGS))
def test_config_survives_json(name):
    config = replace(CONFIGS[name], mapping_cond_dim=2)
    assert HDiTConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "change",
    [
        {"colour": 1},
        {"patch": 4},
        {"patch": [4]},
        {"patch": [4, 0]},
        {"levels": []},
        {"levels": 3},
        {"levels": [{}]},
        {"levels": [{"depth": 1, "width": 64, "d_ff": 64, "wings": 2}]},
        {"levels": [{"depth": 1, "width": 64, "d_ff": 64, "attention": "local"}]},
        {"levels": [{"depth": 1, "width": 96, "d_ff": 64}]},
        {"levels": [{"depth": 1.5, "width": 64, "d_ff": 64}]},
        {"levels": [{"depth": 1, "width": 12, "d_ff": 64, "d_head": 12}]},
        {"mapping_width": 33},
        {"mapping_depth": -1},
        {"in_channels": "3"},
        {"in_channels": True},
        {"out_channels": None},
    ],
)
def test_wrong_configurations_are_refused(change):
    with pytest.raises(OptionError):
        HDiTConfig.from_dict(SMALL.to_dict() | change)


def test_a_missing_field_is_refused():
    values = SMALL.to_dict()
    del values["levels"]
    with pytest.raises(OptionError, match="levels"):
        HDiTConfig.from_dict(values)


def test_a_new_network_answers_zeros_in_the_right_shape():
    network = HDiT(replace(SMALL, in_channels=7))
    output = network(torch.randn(2, 7, 16, 64), torch.randn(2))
    assert output.shape == (2, 3, 16, 64)
    assert not output.any()


def test_multiple_is_what_forward_takes():
    network = random_network(SMALL)
    assert network.multiple == (8, 16)
    assert HDiT(replace(SMALL, levels=SMALL.levels[1:] * 3)).multiple == (8, 16)
    grain = network.grain
    assert network(torch.randn(1, 3, *grain), torch.zeros(1)).shape == (1, 3, *grain)
    wrong = f"multiple of {grain[0]} and the width of {grain[1]}"
    for shape in [(1, 3, 3, 16), (1, 3, 8, 25), (1, 4, 8, 16), (3, 8, 16), (1, 3, 0, 16)]:
        with pytest.raises(OptionError, match=wrong):
            network(torch.randn(shape), torch.zeros(1))
    with pytest.raises(OptionError, match="c_noise"):
        network(torch.randn(2, 3, 8, 16), torch.zeros(1))
    with pytest.raises(OptionError, match="mapping_cond"):
        network(torch.randn(2, 3, 8, 16), torch.zeros(2), torch.zeros(2, 3))


def test_no_condition_is_a_condition_of_zeros():
    network = random_network(SMALL)
    x, c_noise = torch.randn(2, 3, 16, 16), torch.randn(2)
    without = network(x, c_noise)
    assert torch.equal(without, network(x, c_noise, torch.zeros(2, 2)))
    assert not torch.allclose(without, network(x, c_noise, torch.ones(2, 2)))
    assert not torch.allclose(without, network(x, c_noise + 1))


def small_network(patch: tuple[int, int], *levels: Level) -> HDiT:
    return random_network(HDiTConfig(patch=patch, mapping_width=32, mapping_d_ff=64, levels=levels))


def reach(network: HDiT, row: int, column: int, height: int = 16, width: int = 16) -> torch.Tensor:
    """Which pixels of the output feel one pixel of the input: bool (height, width)."""
    x = torch.randn(1, 3, height, width)
    changed = x.clone()
    changed[..., row, column] += 1
    with torch.no_grad():
        difference = network(changed, torch.zeros(1)) - network(x, torch.zeros(1))
    return difference.abs().amax(1)[0] > 1e-7


def test_windows_are_local_and_shifts_do_not_leak_over_the_edges():
    # An only level is walked once: `one` is a layer in whole windows; `two` has a second layer,
    # whose windows are shifted by 2.
    level = Level(1, 32, 64, "shifted-window", d_head=16, window=4)
    one = small_network((1, 1), level)
    two = small_network((1, 1), replace(level, depth=2))
    felt = torch.zeros(16, 16, dtype=torch.bool)
    felt[:4, :4] = True
    assert torch.equal(reach(one, 0, 0), felt)
    felt[:6, :6] = True  # windows of the second layer: rows 0-1, 2-5, ...
    assert torch.equal(reach(two, 0, 0), felt)


def test_shifts_go_on_from_the_way_down_to_the_way_up():
    outer = Level(1, 32, 64, "shifted-window", d_head=16, window=4)
    network = small_network((1, 1), outer, Level(1, 32, 64, "none"))
    felt = torch.zeros(16, 16, dtype=torch.bool)
    felt[:6, :6] = True  # whole windows on the way down, shifted ones on the way up
    assert torch.equal(reach(network, 0, 0), felt)


def test_global_attention_reaches_everything_and_none_reaches_its_own_patch():
    level = Level(1, 32, 64, d_head=16)
    everything = small_network((2, 4), replace(level, attention="global"))
    own = small_network((2, 4), replace(level, attention="none"))
    assert reach(everything, 3, 5).all()
    felt = torch.zeros(16, 16, dtype=torch.bool)
    felt[2:4, 4:8] = True
    assert torch.equal(reach(own, 3, 5), felt)


def test_seam_mask_joins_what_is_adjacent_in_the_picture():
    mask = seam_mask(8, 8, 4, 2, torch.device("cpu"))
    assert mask.shape == (4, 1, 16, 16)
    assert mask[3].all()  # rows and columns 2-5, nothing wrapped
    assert int(mask[0].sum()) == 4 * 4 * 4  # four corners of 2 x 2, strangers to each other


def test_positions_keep_the_aspect_ratio():
    cos, sin = rotary(
        4, 8, (4, 8), 0, 1, 8, torch.device("cpu")
    )  # one head, one frequency an axis: pi
    theta = torch.atan2(sin, cos).reshape(4, 8, 2) / math.pi
    assert theta[:, 0, 0].tolist() == pytest.approx([-0.375, -0.125, 0.125, 0.375], abs=1e-6)
    assert theta[0, :, 1].tolist() == pytest.approx([-0.875 + 0.25 * i for i in range(8)], abs=1e-6)


def test_neighbourhoods_are_the_nearest_tokens():
    height, width, side = 5, 7, 3
    attend = neighborhood_attention(height, width, side, torch.device("cpu"))
    index = torch.arange(height * width)
    seen = attend.keywords["block_mask"].mask_mod(None, None, index[:, None], index[None])
    for q in range(height * width):
        row, column = (
            min(max(q // width - 1, 0), height - side),
            min(max(q % width - 1, 0), width - side),
        )
        expected = torch.zeros(height, width, dtype=torch.bool)
        expected[row : row + side, column : column + side] = True
        assert torch.equal(seen[q].reshape(height, width), expected)
    q, k, v = torch.randn(3, 2, 2, height * width, 16)
    with torch.compiler.set_stance("force_eager"):  # the same function, without the compiler
        attended = attend(q, k, v, scale=1.0)
    dense = torch.nn.functional.scaled_dot_product_attention(q, k, v, seen, scale=1.0)
    torch.testing.assert_close(attended, dense)


def test_neighbourhoods_need_a_gpu():
    config = replace(
        SMALL, levels=(Level(1, 32, 64, "neighborhood", d_head=16, window=3), SMALL.levels[1])
    )
    with pytest.raises(OptionError, match="CUDA"):
        HDiT(config)(torch.randn(1, 3, 8, 16), torch.zeros(1))


def test_param_groups():
    network = HDiT(SMALL)
    groups = network.param_groups(0.01)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = {
        names[id(parameter)]: (group["lr_scale"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    assert len(found) == len(names) == sum(len(group["params"]) for group in groups)
    assert found["patch_in.linear.weight"] == found["down.0.0.attention.qkv.weight"] == (1, 0.01)
    assert found["mix.0"] == found["down.0.0.attention.scale"] == found["out_norm.gain"] == (1, 0)
    assert found["time_in.weight"] == found["time_in.bias"] == found["cond_in.weight"] == (1, 0)
    assert (
        found["mapping.1.up.weight"]
        == found["middle.0.feed_forward.norm.linear.weight"]
        == (1 / 3, 0.01)
    )
    assert found["mapping.0.gain"] == (1 / 3, 0)
    torch.optim.AdamW(groups, lr=1e-3)


def test_cached_geometry_born_in_inference_serves_training():
    network = random_network(SMALL)
    x, c_noise = torch.randn(1, 3, 24, 48), torch.zeros(1)  # a size that no other test uses
    with torch.inference_mode():
        before = network(x, c_noise)
    output = network(x, c_noise)
    output.sum().backward()
    assert torch.equal(output.detach(), before)


def test_bfloat16_autocast_stays_near():
    network = random_network(SMALL)
    x, c_noise = torch.randn(2, 3, 16, 32), torch.randn(2)
    exact = network(x, c_noise)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(x, c_noise)
    assert rough.dtype == torch.bfloat16
    assert error(rough.float(), exact) < 0.05
    rough.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_norms_are_float32():
    x = torch.randn(5, 8).bfloat16()
    normed = RMSNorm(8)(x)
    assert normed.dtype == torch.float32
    torch.testing.assert_close(normed, x.float() / x.float().square().mean(-1, keepdim=True).sqrt())


def test_one_graph_for_torch_compile():
    """In a process of its own: the compiler warns, and keeps state."""
    code = """
import torch
from pomkit.networks.hdit import HDiT, HDiTConfig
from pomkit.networks.attention import Level
config = HDiTConfig(patch=(2, 4), mapping_width=32, mapping_d_ff=64, levels=(
    Level(1, 32, 64, "shifted-window", d_head=16, window=4), Level(1, 32, 64, "none")))
network = HDiT(config)
for parameter in network.parameters():
    torch.nn.init.normal_(parameter, std=0.1) if parameter.ndim > 1 else None
x, c_noise = torch.randn(2, 3, 16, 32), torch.randn(2)
traced = torch.compile(network, fullgraph=True, backend="eager")(x, c_noise)
assert torch.allclose(traced, network(x, c_noise), atol=1e-5), "the traced network differs"
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=FOLDER.parent.parent,
    )
    assert done.returncode == 0, done.stderr


def test_one_batch_can_be_overfitted():
    torch.manual_seed(0)
    denoiser = Denoiser(HDiT(replace(SMALL, mapping_cond_dim=0)))
    x0 = torch.where(torch.rand(4, 3, 8, 16) < 0.2, 0.8, -0.6)
    sigma, noise = torch.tensor([0.1, 0.3, 0.6, 1.5]), torch.randn(x0.shape)
    groups = [
        group | {"lr": 4e-3 * group["lr_scale"]} for group in denoiser.network.param_groups(0.0)
    ]
    optimizer = torch.optim.AdamW(groups)
    losses = []
    for _ in range(150):
        loss = denoising_loss(denoiser, x0, noise, sigma, "unit").mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > 0.8
    assert losses[-1] < 0.05
