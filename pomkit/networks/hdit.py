"""HDiT, the hourglass diffusion transformer (Crowson et al. 2024, arXiv 2401.11605), on rectangular pictures.
A picture is cut into patches (tokens). Outer levels see many tokens and attend locally, each deeper one merges 2 x 2 tokens
into one, and the innermost usually attends to all; on the way up tokens are split again and mixed with the skip. The noise
level and an optional condition set the gain of every layer's norms."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from ..errors import OptionError, check_choice

ATTENTION = ("global", "shifted-window", "neighborhood", "none")
TOKENS, PIXELS = "b (h ph) (w pw) c", "b c (h ph) (w pw)"
linear = partial(nn.Linear, bias=False)


def need_whole(config: Any, **least: int) -> None:
    """OptionError where a number of a configuration is not whole, or below 1 (or what `least` says of its field)."""
    for name, value in vars(config).items():
        numbers = (
            value if name == "patch" else [value] if name not in ("attention", "levels") else []
        )
        if any(type(number) is not int or number < least.get(name, 1) for number in numbers):
            raise OptionError(
                f"{name} is {value!r}; give whole numbers of at least {least.get(name, 1)}."
            )


@dataclass(frozen=True)
class Level:
    """A level: `depth` layers on the way down and again on the way up (innermost: once)."""

    depth: int
    width: int
    d_ff: int
    attention: str = "global"
    d_head: int = 64
    window: int = 8  # tokens: side of the window, or of the neighbourhood

    def __post_init__(self) -> None:
        need_whole(self)
        check_choice("attention", self.attention, ATTENTION)
        if self.attention != "none" and (self.width % self.d_head or self.d_head % 8):
            raise OptionError(
                f"width {self.width} must be a multiple of d_head {self.d_head}, that of 8."
            )


@dataclass(frozen=True)
class HDiTConfig:
    """The shape of an HDiT; OptionError for values that do not fit."""

    in_channels: int = 3
    out_channels: int = 3
    patch: tuple[int, int] = (4, 4)  # pixels of one token: (pitch, time)
    levels: tuple[Level, ...] = (Level(2, 128, 384, "shifted-window"), Level(4, 256, 768))
    mapping_depth: int = 2
    mapping_width: int = 256
    mapping_d_ff: int = 768
    mapping_cond_dim: int = 0

    def __post_init__(self) -> None:
        if not (
            isinstance(self.patch, tuple)
            and len(self.patch) == 2
            and isinstance(self.levels, tuple)
            and self.levels
        ):
            raise OptionError(
                f"patch {self.patch}, levels {self.levels}; give (pitch, time) and a tuple of Levels."
            )
        need_whole(self, mapping_depth=0, mapping_cond_dim=0)
        if self.mapping_width % 2:
            raise OptionError(
                f"mapping_width is {self.mapping_width}; it must be even (cosines and sines)."
            )

    @property
    def span(self) -> int:
        """Columns of the widest picture of 128 rows that is no wider than high in tokens: so far RoPE's unit is the height."""
        return 128 // self.patch[0] * self.patch[1]

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON can hold it; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HDiTConfig":
        """Read what `to_dict` wrote; OptionError for unknown fields and for values that do not fit."""
        try:
            levels = tuple(Level(**level) for level in values["levels"])
            return cls(**{**values, "patch": tuple(values["patch"]), "levels": levels})
        except (TypeError, KeyError) as error:
            raise OptionError(f"This is not a configuration of HDiT: {error!r}.") from error


local, pocket = (
    partial(Level, attention="shifted-window"),
    partial(HDiTConfig, mapping_width=128, mapping_d_ff=256),
)
CONFIGS: dict[str, HDiTConfig] = {
    # The paper's Oxford-flowers model, 22.3 M parameters; "Pictures of MIDI" has neighbourhoods there.
    "reference": HDiTConfig(levels=(local(2, 128, 384), local(2, 256, 768), Level(4, 512, 1536))),
    # For CPU cores. A token is a whole tone by two bars of 4/4: narrow in pitch, wide in time learned best.
    "tiny": pocket(
        patch=(2, 32), levels=(local(1, 96, 288, d_head=32), Level(3, 192, 576, d_head=32))
    ),
    "small": pocket(
        patch=(2, 32), levels=(local(1, 128, 384, d_head=32), Level(4, 256, 768, d_head=32))
    ),
    # Noise cannot be compressed as cells can: the 48 numbers of a patch must fit the outer width, else samples stay noisy.
    "tiny-edm": pocket(
        patch=(2, 8),
        levels=(
            Level(1, 96, 192, "none", d_head=32),
            local(1, 128, 384, d_head=32),
            Level(2, 192, 576, d_head=32),
        ),
    ),
}


# Geometry is computed once per size and device, outside of inference mode, whose tensors could serve no later training step.


def to_windows(x: Tensor, window: tuple[int, int], shift: int) -> Tensor:
    """Roll (batch, height, width, channels) by `shift` and cut it into (batch, windows, tokens, channels)."""
    x = x.roll((shift, shift), (1, 2)) if shift else x
    return rearrange(x, "b (nh h) (nw w) c -> b (nh nw) (h w) c", h=window[0], w=window[1])


@lru_cache(maxsize=256)
def rotary(
    height: int,
    width: int,
    window: tuple[int, int],
    shift: int,
    heads: int,
    d_head: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of axial RoPE for a grid of tokens: two float (windows, heads, tokens, d_head / 4).
    Positions are token centres in a box of the grid's aspect ratio, the longer side [-1, 1]. Frequencies from pi to 10 pi in
    equal ratios are dealt to the heads in turn. Half of d_head turns: a quarter per axis."""
    with torch.inference_mode(False):
        y, x = (
            (2 * torch.arange(side, device=device) + 1 - side) / max(height, width)
            for side in (height, width)
        )
        position = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1)  # (height, width, 2)
        position = to_windows(position[None], window, shift)[0]  # (windows, tokens, 2)
        n = heads * d_head // 8
        frequency = math.pi * 10 ** (torch.arange(n, device=device) / n)
        frequency = rearrange(
            frequency, "(e heads) -> heads 1 1 e", heads=heads
        )  # (heads, 1, 1, d_head / 8)
        theta = (position[:, None, :, :, None] * frequency).flatten(
            3
        )  # (windows, heads, tokens, d_head / 4)
        return theta.cos(), theta.sin()


@lru_cache(maxsize=256)
def seam_mask(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Who may see whom where rolling has joined opposite edges: bool (windows, 1, tokens, tokens), True = visible."""
    with torch.inference_mode(False):
        row, column = (
            (torch.arange(side, device=device) + shift) // window for side in (height, width)
        )
        region = (
            row[:, None] * (width + 1) + column
        )  # (height, width): the window before wrapping round
        region = to_windows(region[None, ..., None], (window, window), shift)[
            0
        ]  # (windows, tokens, 1)
        return (region == region.mT)[:, None]  # (windows, 1, tokens, tokens)


@lru_cache(maxsize=64)
def neighborhood_attention(height: int, width: int, side: int, device: torch.device) -> Callable:
    """FlexAttention to the `side` x `side` nearest tokens, moved inwards at an edge (Hassani et al. 2023, arXiv 2204.07143)."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def near(q: Tensor, k: Tensor, size: int) -> Tensor:
        first = (q - side // 2).clamp(0, max(size - side, 0))
        return (first <= k) & (k < first + side)

    def visible(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return near(q // width, k // width, height) & near(q % width, k % width, width)

    with torch.inference_mode(False):
        mask = create_block_mask(
            visible, None, None, height * width, height * width, device=str(device)
        )
    return partial(torch.compile(flex_attention), block_mask=mask)


class RMSNorm(nn.Module):
    """x / rms(x) * gain, always in float32; the gain is learned, or comes from a condition (AdaRMSNorm)."""

    def __init__(self, width: int, mapping_width: int | None = None) -> None:
        super().__init__()
        if mapping_width is None:
            self.gain = nn.Parameter(torch.ones(width))
        else:
            self.linear = linear(mapping_width, width)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        gain = (
            self.gain if cond is None else 1 + self.linear(cond)[:, None, None].float()
        )  # (b, 1, 1, width)
        return F.rms_norm(x.float(), x.shape[-1:], eps=1e-6) * gain


class FeedForward(nn.Module):
    """The GEGLU branch of a layer, or of the mapping network (without `mapping_width` and condition)."""

    def __init__(self, width: int, d_ff: int, mapping_width: int | None = None) -> None:
        super().__init__()
        self.norm = RMSNorm(width, mapping_width)
        self.up, self.down = linear(width, 2 * d_ff), linear(d_ff, width)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        y, gate = self.up(self.norm(x, cond)).chunk(2, -1)
        return x + self.down(y * F.gelu(gate))


class Attention(nn.Module):
    """Cosine-similarity self-attention with axial RoPE: global, in neighbourhoods, or in windows, shifted in odd layers."""

    def __init__(self, level: Level, mapping_width: int, index: int) -> None:
        super().__init__()
        self.level, self.heads = level, level.width // level.d_head
        self.shift = level.window // 2 if level.attention == "shifted-window" and index % 2 else 0
        self.norm = RMSNorm(level.width, mapping_width)
        self.qkv, self.out = linear(level.width, 3 * level.width), linear(level.width, level.width)
        self.scale = nn.Parameter(torch.full((self.heads,), 10.0))

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        window = (
            (self.level.window,) * 2
            if self.level.attention == "shifted-window"
            else (height, width)
        )
        qkv = self.qkv(
            to_windows(self.norm(x, cond), window, self.shift)
        )  # (batch, windows, tokens, 3 c)
        qkv = rearrange(qkv, "b n l (t heads e) -> t b n heads l e", t=3, heads=self.heads)
        turns = rotary(height, width, window, self.shift, self.heads, self.level.d_head, x.device)
        q, k = self.rotate(qkv[:2], *turns).flatten(
            1, 2
        )  # (batch * windows, heads, tokens, d_head)
        y = self.attend(q, k, qkv[2].flatten(0, 1), height, width)  # the same
        y = self.out(
            rearrange(y, "n heads l e -> n l (heads e)")
        )  # (batch * windows, tokens, width)
        y = rearrange(
            y,
            "(b nh nw) (h w) c -> b (nh h) (nw w) c",
            b=len(x),
            nh=height // window[0],
            h=window[0],
        )
        return x + (y.roll((-self.shift, -self.shift), (1, 2)) if self.shift else y)

    def rotate(self, qk: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Scale (2, batch, windows, heads, tokens, d_head) to cosine similarity, and turn by the position."""
        x, quarter = qk.float(), self.level.d_head // 4
        x = x * (
            torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6) * self.scale.sqrt()[:, None, None]
        )
        a, b, still = x.split((quarter, quarter, 2 * quarter), -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin, still), -1).to(qk.dtype)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        """softmax(q k') v on (batch * windows, heads, tokens, d_head), over the tokens that may be seen."""
        if self.level.attention == "neighborhood":
            if q.device.type != "cuda":
                raise OptionError(
                    'attention="neighborhood" needs a CUDA GPU; else use "shifted-window".'
                )
            return neighborhood_attention(height, width, self.level.window, q.device)(
                q, k, v, scale=1.0
            )
        mask = (
            seam_mask(height, width, self.level.window, self.shift, q.device)
            if self.shift
            else None
        )
        if mask is not None:
            mask = mask.repeat(len(q) // len(mask), 1, 1, 1)  # (batch * windows, 1, tokens, tokens)
        return F.scaled_dot_product_attention(q, k, v, mask, scale=1.0)


class Stack(nn.ModuleList):
    """The layers of a level: attention (unless it has none), then feed-forward. `first`: how many of its layers came before."""

    def __init__(self, level: Level, mapping_width: int, first: int = 0) -> None:
        super().__init__()
        for i in range(first, first + level.depth):
            layer = nn.ModuleDict(
                {}
                if level.attention == "none"
                else {"attention": Attention(level, mapping_width, i)}
            )
            layer["feed_forward"] = FeedForward(level.width, level.d_ff, mapping_width)
            self.append(layer)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        layer: Any
        for layer in self:
            for branch in layer.values():
                x = branch(x, cond)
        return x


def merge(in_width: int, out_width: int, ph: int = 2, pw: int = 2, form: str = TOKENS) -> nn.Module:
    """Join each patch of tokens (or pixels) into one token."""
    cut = Rearrange(f"{form} -> b h w (ph pw c)", ph=ph, pw=pw)
    return nn.Sequential(OrderedDict(cut=cut, linear=linear(ph * pw * in_width, out_width)))


def split(in_width: int, out_width: int, ph: int = 2, pw: int = 2, form: str = TOKENS) -> nn.Module:
    """Cut each token into a patch of tokens (or pixels)."""
    paste = Rearrange(f"b h w (ph pw c) -> {form}", ph=ph, pw=pw)
    return nn.Sequential(OrderedDict(linear=linear(in_width, ph * pw * out_width), paste=paste))


class HDiT(nn.Module):
    """The network F(x; c_noise); a new one answers zeros (the last matrix of every branch starts at zero)."""

    frequencies: Tensor  # (mapping_width / 2,), of the Fourier features of c_noise

    def __init__(self, config: HDiTConfig) -> None:
        super().__init__()
        self.config = config
        mapping, (*outer, inner) = config.mapping_width, config.levels
        widths = [level.width for level in config.levels]

        self.register_buffer("frequencies", torch.randn(mapping // 2))
        self.time_in = nn.Linear(mapping, mapping)
        self.cond_in = linear(config.mapping_cond_dim, mapping) if config.mapping_cond_dim else None
        blocks = (FeedForward(mapping, config.mapping_d_ff) for _ in range(config.mapping_depth))
        self.mapping = nn.Sequential(RMSNorm(mapping), *blocks, RMSNorm(mapping))

        self.patch_in = merge(config.in_channels, widths[0], *config.patch, form=PIXELS)
        self.down = nn.ModuleList(Stack(level, mapping) for level in outer)
        self.merges = nn.ModuleList(map(merge, widths[:-1], widths[1:]))
        self.middle = Stack(inner, mapping)
        self.splits = nn.ModuleList(map(split, widths[1:], widths[:-1]))
        self.mix = nn.ParameterList(torch.tensor(0.5) for _ in outer)  # 0 = skip only, 1 = no skip
        self.up = nn.ModuleList(
            Stack(level, mapping, level.depth) for level in outer
        )  # shifts go on from `down`
        self.out_norm = RMSNorm(widths[0])
        self.patch_out = split(widths[0], config.out_channels, *config.patch, form=PIXELS)
        for name, parameter in self.named_parameters():
            if (
                name.endswith((".down.weight", ".out.weight", "norm.linear.weight"))
                or "patch_out" in name
            ):
                nn.init.zeros_(parameter)

    @property
    def multiple(self) -> tuple[int, int]:
        """Pixels (height, width) of which the sides of a picture must be multiples."""
        levels = self.config.levels
        windows = (
            2**i * level.window
            for i, level in enumerate(levels)
            if level.attention == "shifted-window"
        )
        tokens = math.lcm(2 ** (len(levels) - 1), *windows)
        return self.config.patch[0] * tokens, self.config.patch[1] * tokens

    def forward(self, x: Tensor, c_noise: Tensor, mapping_cond: Tensor | None = None) -> Tensor:
        """F(x; c_noise), like x but `out_channels`; x: float (batch, in_channels, height, width), sides multiples of
        `multiple`; c_noise: (batch,), EDM's ln(sigma) / 4; mapping_cond: (batch, mapping_cond_dim), None = 0. OptionError."""
        channels, cond_dim, (h, w) = (
            self.config.in_channels,
            self.config.mapping_cond_dim,
            self.multiple,
        )
        if (
            x.ndim != 4
            or x.shape[1] != channels
            or x.shape[2] % h
            or x.shape[3] % w
            or not x.numel()
        ):
            raise OptionError(
                f"x is {x.shape}; give {channels} channels, height a multiple of {h} and the width of {w}."
            )
        if (
            c_noise.shape != x.shape[:1]
            or mapping_cond is not None
            and mapping_cond.shape != (len(x), cond_dim)
        ):
            raise OptionError(
                f"give c_noise ({len(x)},) and mapping_cond ({len(x)}, {cond_dim}): one a picture."
            )

        angle = (
            2 * math.pi * c_noise.float()[:, None] * self.frequencies
        )  # (batch, mapping_width / 2)
        cond = self.time_in(torch.cat((angle.cos(), angle.sin()), -1))  # (batch, mapping_width)
        if self.cond_in is not None:
            cond = cond + self.cond_in(
                x.new_zeros(len(x), cond_dim) if mapping_cond is None else mapping_cond
            )
        cond = self.mapping(cond)

        x, skips = self.patch_in(x), []  # from here on x is (batch, rows, columns, width)
        for stack, join in zip(self.down, self.merges, strict=True):
            skips.append(stack(x, cond))
            x = join(skips[-1])
        x = self.middle(x, cond)
        for skip, cut, mix, stack in reversed(
            list(zip(skips, self.splits, self.mix, self.up, strict=True))
        ):
            x = stack(skip + mix * (cut(x) - skip), cond)
        return self.patch_out(self.out_norm(x))

    def param_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """AdamW's groups as in k-diffusion: what makes the gains learns at a third (`lr_scale`); decay on matrices only."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            gains = name.startswith("mapping.") or name.endswith(".norm.linear.weight")
            decays = parameter.ndim > 1 and not name.startswith(
                ("time_in.", "cond_in.")
            )  # nor on these first matrices
            groups.setdefault(
                (1 / 3 if gains else 1.0, weight_decay if decays else 0.0), []
            ).append(parameter)
        return [
            {"params": p, "lr_scale": scale, "weight_decay": wd}
            for (scale, wd), p in groups.items()
        ]
