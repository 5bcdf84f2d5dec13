"""HDiT, the hourglass diffusion transformer, on rectangular pictures.

A picture is cut into patches, the tokens. Outer levels have many tokens, which look only around
themselves; each deeper level joins 2 x 2 tokens to one, and in the innermost, the waist, all look
at all. On the way up a token is cut into four again and mixed with what was there on the way down.
The noise level and an optional condition set the gains of every layer's norms.

    network = HDiT(CONFIGS["tiny"])
    answer = network(x, sigma.log() / 4)    # like x, float (batch, channels, 128, width)

The layers themselves stand in `attention`. Source: Crowson et al. 2024, arXiv 2401.11605; the
numbers are held to those of the authors' code by tests/test_parity.py.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from ..errors import OptionError
from .attention import Attention, FeedForward, Level, RMSNorm, linear, need_whole
from .local import LOCAL_RATE, Local, LocalHead, Part

# How the tokens of a level, and how the pixels of a picture, fall into patches of ph x pw.
TOKEN_AXES = "b (h ph) (w pw) c"
PIXEL_AXES = "b c (h ph) (w pw)"


@dataclass(frozen=True)
class HDiTConfig:
    """The shape of an HDiT.

    Args:
        in_channels: channels of the picture that comes in.
        out_channels: channels of the answer.
        patch: pixels of one token, (pitch, time).
        levels: from the outermost to the waist.
        mapping_depth: layers of the mapping network, which makes the condition of all norms.
        mapping_width: channels of the condition, an even number.
        mapping_d_ff: channels inside the layers of the mapping network.
        mapping_cond_dim: size of the vector that comes as a condition of its own; 0: there is none.
        local: the local head on the input and the output; None: there is none.

    Raises:
        OptionError: a value does not fit.
    """

    in_channels: int = 3
    out_channels: int = 3
    patch: tuple[int, int] = (4, 4)  # pixels
    levels: tuple[Level, ...] = (Level(2, 128, 384, "shifted-window"), Level(4, 256, 768))
    mapping_depth: int = 2
    mapping_width: int = 256
    mapping_d_ff: int = 768
    mapping_cond_dim: int = 0
    local: Local | None = None

    def __post_init__(self) -> None:
        is_pair = isinstance(self.patch, tuple) and len(self.patch) == 2
        if not (is_pair and isinstance(self.levels, tuple) and self.levels):
            raise OptionError(
                f"patch {self.patch}, levels {self.levels} do not fit; "
                "give (pitch, time) and a tuple of Levels"
            )
        need_whole(self, mapping_depth=0, mapping_cond_dim=0)
        if self.mapping_width % 2:
            raise OptionError(
                f"mapping_width is {self.mapping_width}, half cosines and half sines; "
                "give an even number"
            )

    @property
    def span(self) -> int:
        """Columns up to which a picture of 128 rows is no wider, in tokens, than it is high.

        As far as that the unit of RoPE is the height, so a step is as long as in training.
        """
        return 128 // self.patch[0] * self.patch[1]

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON can hold it; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HDiTConfig":
        """Read what `to_dict` wrote; OptionError for unknown fields and values that do not fit."""
        try:
            levels = tuple(Level(**level) for level in values["levels"])
            local = Local(**values["local"]) if values.get("local") else None
            parts = {"patch": tuple(values["patch"]), "levels": levels, "local": local}
            return cls(**{**values, **parts})
        except (TypeError, KeyError) as error:
            raise OptionError(
                f"this is not a configuration of HDiT ({error!r}); give what to_dict wrote"
            ) from error


local_level = partial(Level, attention="shifted-window")
pocket_config = partial(HDiTConfig, mapping_width=128, mapping_d_ff=256)
CONFIGS: dict[str, HDiTConfig] = {
    # The paper's Oxford-flowers model, 22.3 M parameters; "Pictures of MIDI" has neighbourhoods
    # where this one has windows.
    "reference": HDiTConfig(
        levels=(local_level(2, 128, 384), local_level(2, 256, 768), Level(4, 512, 1536))
    ),
    # For CPU cores. A token is a whole tone by two bars of 4/4: narrow in pitch and wide in time
    # learned best.
    "tiny": pocket_config(
        patch=(2, 32),
        levels=(local_level(1, 96, 288, d_head=32), Level(3, 192, 576, d_head=32)),
    ),
    "small": pocket_config(
        patch=(2, 32),
        levels=(local_level(1, 128, 384, d_head=32), Level(4, 256, 768, d_head=32)),
    ),
    # Noise cannot be compressed as cells can: the 48 numbers of a patch must fit the outer width,
    # else samples stay noisy.
    "tiny-edm": pocket_config(
        patch=(2, 8),
        levels=(
            Level(1, 96, 192, "none", d_head=32),
            local_level(1, 128, 384, d_head=32),
            Level(2, 192, 576, d_head=32),
        ),
    ),
}


class Stack(nn.ModuleList):
    """The layers of a level one after the other: attention, unless it has none, then feed-forward.

    Args:
        level: the level.
        mapping_width: size of the condition.
        first: how many of the level's layers came before, on the way down.
    """

    def __init__(self, level: Level, mapping_width: int, first: int = 0) -> None:
        super().__init__()
        for index in range(first, first + level.depth):
            layer = nn.ModuleDict()
            if level.attention != "none":
                layer["attention"] = Attention(level, mapping_width, index)
            layer["feed_forward"] = FeedForward(level.width, level.d_ff, mapping_width)
            self.append(layer)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """x, (batch, height, width, channels), after all layers; cond: (batch, mapping_width)."""
        layer: Any
        for layer in self:
            for branch in layer.values():
                x = branch(x, cond)
        return x


def merge(
    in_width: int, out_width: int, ph: int = 2, pw: int = 2, *, form: str = TOKEN_AXES
) -> nn.Module:
    """Join each patch of tokens, or of pixels, to one token.

    Args:
        in_width: channels of what comes in.
        out_width: channels of the token.
        ph: height of a patch.
        pw: width of a patch.
        form: axes of what comes in, `TOKEN_AXES` or `PIXEL_AXES`.

    Returns:
        A module with an answer (batch, height / ph, width / pw, out_width).
    """
    cut = Rearrange(f"{form} -> b h w (ph pw c)", ph=ph, pw=pw)
    return nn.Sequential(OrderedDict(cut=cut, linear=linear(ph * pw * in_width, out_width)))


def split(
    in_width: int, out_width: int, ph: int = 2, pw: int = 2, *, form: str = TOKEN_AXES
) -> nn.Module:
    """Cut each token into a patch of tokens, or of pixels: the way back from `merge`.

    Args:
        in_width: channels of the token.
        out_width: channels of what comes out.
        ph: height of a patch.
        pw: width of a patch.
        form: axes of what comes out, `TOKEN_AXES` or `PIXEL_AXES`.

    Returns:
        A module that takes (batch, height / ph, width / pw, in_width).
    """
    paste = Rearrange(f"b h w (ph pw c) -> {form}", ph=ph, pw=pw)
    return nn.Sequential(OrderedDict(linear=linear(in_width, ph * pw * out_width), paste=paste))


class HDiT(nn.Module):
    """The network F(x; c_noise).

    A new one answers zeros, since the last matrix of every branch starts at zero.
    """

    frequencies: Tensor  # (mapping_width / 2,), of the Fourier features of c_noise

    def __init__(self, config: HDiTConfig) -> None:
        super().__init__()
        self.config = config
        mapping = config.mapping_width
        *outer, inner = config.levels
        widths = [level.width for level in config.levels]

        # Mapping network.
        self.register_buffer("frequencies", torch.randn(mapping // 2))
        self.time_in = nn.Linear(mapping, mapping)
        self.cond_in = linear(config.mapping_cond_dim, mapping) if config.mapping_cond_dim else None
        blocks = (FeedForward(mapping, config.mapping_d_ff) for _ in range(config.mapping_depth))
        self.mapping = nn.Sequential(RMSNorm(mapping), *blocks, RMSNorm(mapping))

        # Hourglass. The layers of `up` go on counting where those of `down` end: so do the shifts.
        self.patch_in = merge(config.in_channels, widths[0], *config.patch, form=PIXEL_AXES)
        self.down = nn.ModuleList(Stack(level, mapping) for level in outer)
        self.merges = nn.ModuleList(map(merge, widths[:-1], widths[1:]))
        self.middle = Stack(inner, mapping)
        self.splits = nn.ModuleList(map(split, widths[1:], widths[:-1]))
        # Share of what comes from below: 0 is the skip alone, 1 is no skip.
        self.mix = nn.ParameterList(torch.tensor(0.5) for _ in outer)
        self.up = nn.ModuleList(Stack(level, mapping, level.depth) for level in outer)

        # Output.
        self.out_norm = RMSNorm(widths[0])
        self.patch_out = split(widths[0], config.out_channels, *config.patch, form=PIXEL_AXES)

        # Last, so that the weights of the others do not depend on it.
        channels = (config.in_channels, config.out_channels)
        self.local = LocalHead(config.local, *channels) if config.local else None

        ends = (".down.weight", ".out.weight", "norm.linear.weight")
        for name, parameter in self.named_parameters():
            if name.endswith(ends) or "patch_out" in name:
                nn.init.zeros_(parameter)

    @property
    def multiple(self) -> tuple[int, int]:
        """Pixels (height, width) of which pictures are multiples that whole windows cover."""
        tokens = 2 ** (len(self.config.levels) - 1)
        for i, level in enumerate(self.config.levels):
            if level.attention == "shifted-window":
                tokens = math.lcm(tokens, 2**i * level.window)
        return self.config.patch[0] * tokens, self.config.patch[1] * tokens

    @property
    def grain(self) -> tuple[int, int]:
        """Pixels (height, width) of which the sides of a picture must be multiples.

        Where the last windows reach beyond the picture there is nothing in them to be seen.
        """
        tokens = 2 ** (len(self.config.levels) - 1)
        return self.config.patch[0] * tokens, self.config.patch[1] * tokens

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        mapping_cond: Tensor | None = None,
        part: Part | None = None,
    ) -> Tensor:
        """The network's answer F(x; c_noise).

        Args:
            x: float (batch, in_channels, height, width), the sides multiples of `grain`.
            c_noise: (batch,), EDM's ln(sigma) / 4.
            mapping_cond: (batch, mapping_cond_dim); None stands for zeros.
            part: the rows and columns whose answer is asked for: a local head leaves the others
                out. None: all.

        Returns:
            Like x, with `out_channels`.

        Raises:
            OptionError: a shape does not fit.
        """
        self.check_inputs(x, c_noise, mapping_cond)
        pixels = x

        # Mapping network: what sets the gains.
        cond = self.condition(c_noise, mapping_cond)  # (batch, mapping_width)

        # Patching: from here on x is (batch, height, width, channels) in tokens.
        x = self.patch_in(x)

        # Hourglass: down, through the waist, and up again.
        skips = []
        for stack, join in zip(self.down, self.merges, strict=True):
            x = stack(x, cond)
            skips.append(x)
            x = join(x)

        x = self.middle(x, cond)

        way_up = list(zip(skips, self.splits, self.mix, self.up, strict=True))
        for skip, cut, mix, stack in reversed(way_up):
            x = skip + mix * (cut(x) - skip)
            x = stack(x, cond)

        # Output.
        output = self.patch_out(self.out_norm(x))
        return output if self.local is None else self.local(pixels, output, c_noise, part)

    def check_inputs(self, x: Tensor, c_noise: Tensor, mapping_cond: Tensor | None) -> None:
        """Raise OptionError where a shape does not fit; x, c_noise, mapping_cond as `forward`'s."""
        channels = self.config.in_channels
        height, width = self.grain
        fits = x.ndim == 4 and x.shape[1] == channels and x.numel() > 0
        if not fits or x.shape[2] % height or x.shape[3] % width:
            raise OptionError(
                f"x is {tuple(x.shape)}; give {channels} channels, "
                f"height a multiple of {height} and the width of {width}"
            )

        pictures = len(x)
        cond_shape = (pictures, self.config.mapping_cond_dim)
        if c_noise.shape != (pictures,):
            raise OptionError(f"c_noise is {tuple(c_noise.shape)}; give ({pictures},)")
        if mapping_cond is not None and mapping_cond.shape != cond_shape:
            raise OptionError(f"mapping_cond is {tuple(mapping_cond.shape)}; give {cond_shape}")

    def condition(self, c_noise: Tensor, mapping_cond: Tensor | None = None) -> Tensor:
        """What sets the gains of all norms, (batch, mapping_width), from the inputs of `forward`.

        Args:
            c_noise: (batch,).
            mapping_cond: (batch, mapping_cond_dim); None stands for zeros.
        """
        angle = 2 * math.pi * c_noise.float()[:, None] * self.frequencies
        features = torch.cat((angle.cos(), angle.sin()), -1)  # (batch, mapping_width)
        cond = self.time_in(features)
        if self.cond_in is not None:
            if mapping_cond is None:
                mapping_cond = features.new_zeros(len(c_noise), self.config.mapping_cond_dim)
            cond = cond + self.cond_in(mapping_cond)
        return self.mapping(cond)

    def param_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The groups of AdamW, as in k-diffusion.

        What makes the gains learns at a third of the rate (`lr_scale`), the local head faster. Only
        matrices decay, and of them not the first ones of the mapping network.
        """
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            makes_gains = name.startswith("mapping.") or name.endswith(".norm.linear.weight")
            decays = parameter.ndim > 1 and not name.startswith(("time_in.", "cond_in."))
            rate = LOCAL_RATE if name.startswith("local.") else 1 / 3 if makes_gains else 1.0
            key = (rate, weight_decay if decays else 0.0)
            groups.setdefault(key, []).append(parameter)
        return [
            {"params": parameters, "lr_scale": scale, "weight_decay": decay}
            for (scale, decay), parameters in groups.items()
        ]


def widened(network: HDiT, *, at: int, more: int, local: Local | None = None) -> HDiT:
    """A network that takes more channels and answers as another one does, whatever they hold.

    Args:
        network: the other one.
        at: the channel before which the new ones stand; all weights of these are 0.
        more: how many; 0 is allowed.
        local: of a fresh local head, where the network has none; a fresh one changes no answer.
    """
    old = network.config
    new = HDiT(replace(old, in_channels=old.in_channels + more, local=old.local or local))
    weights = dict(network.state_dict())

    # The channels of a pixel stand together in a token.
    tokens = weights["patch_in.linear.weight"]  # (width, pixels * channels)
    by_pixel = tokens.reshape(len(tokens), -1, old.in_channels)  # (width, pixels, channels)
    wider = with_zeros(by_pixel, 2, at, more)
    weights["patch_in.linear.weight"] = wider.reshape(len(tokens), -1)  # (width, ...)

    # A local head sees the network's input first, then its output.
    if old.local:
        weights["local.look.weight"] = with_zeros(weights["local.look.weight"], 1, at, more)
    new.load_state_dict(weights, strict=bool(old.local) or local is None)
    return new.to(tokens.device)


def with_zeros(x: Tensor, axis: int, at: int, more: int) -> Tensor:
    """A tensor of any shape with `more` zeros along an axis before place `at`."""
    shape = list(x.shape)
    shape[axis] = more
    before, after = x.tensor_split([at], dim=axis)
    return torch.cat([before, x.new_zeros(shape), after], dim=axis)
