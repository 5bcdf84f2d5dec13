"""HDiT, the hourglass diffusion transformer (Crowson et al. 2024, arXiv 2401.11605), on rectangular pictures.

A picture is cut into patches (tokens). Outer levels see many tokens and attend locally, each deeper level merges 2 x 2
tokens into one, and the innermost level attends to everything; on the way up tokens are split again and mixed with the
skip. The noise level and an optional condition vector reach every layer through the gain of its norm.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from pomkit.errors import OptionError

ATTENTION = ("global", "shifted-window", "neighborhood", "none")


@dataclass(frozen=True)
class Level:
    """One level of the hourglass: `depth` layers on the way down and as many on the way up (once if innermost)."""

    depth: int
    width: int
    d_ff: int
    attention: str = "global"
    d_head: int = 64
    window: int = 8  # tokens: side of the window, or of the neighbourhood


@dataclass(frozen=True)
class HDiTConfig:
    """The shape of an HDiT; checked when built, OptionError says what does not fit."""

    in_channels: int = 3
    out_channels: int = 3
    patch: tuple[int, int] = (4, 4)  # pixels of one token: (pitch, time)
    levels: tuple[Level, ...] = (Level(2, 128, 384, "shifted-window"), Level(4, 256, 768))
    mapping_depth: int = 2
    mapping_width: int = 256
    mapping_d_ff: int = 768
    mapping_cond_dim: int = 0

    def __post_init__(self) -> None:
        counts = {f.name: getattr(self, f.name) for f in fields(self) if f.type in (int, "int")}
        for i, level in enumerate(self.levels):
            counts |= {f"levels[{i}].{k}": v for k, v in asdict(level).items() if k != "attention"}
        counts |= {f"patch[{i}]": side for i, side in enumerate(self.patch)}
        for name, value in counts.items():
            least = 0 if name in ("mapping_cond_dim", "mapping_depth") else 1
            if type(value) is not int or value < least:
                raise OptionError(f"{name} is {value!r}; give a whole number of at least {least}.")
        if len(self.patch) != 2 or not self.levels:
            raise OptionError(f"patch is {self.patch}, levels are {self.levels}; give two sides and a level or more.")
        if self.mapping_width % 2:
            raise OptionError(f"mapping_width is {self.mapping_width}; it holds cosines and sines, so make it even.")
        for i, level in enumerate(self.levels):
            if level.attention not in ATTENTION:
                raise OptionError(f"levels[{i}].attention is {level.attention!r}; choose one of {', '.join(ATTENTION)}.")
            if level.attention != "none" and (level.width % level.d_head or level.d_head % 8):
                raise OptionError(f"levels[{i}] has width {level.width} and d_head {level.d_head}; "
                                  "the width must be a multiple of d_head, and d_head of 8.")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values; `from_dict` is the inverse."""
        return asdict(self) | {"patch": list(self.patch), "levels": [asdict(level) for level in self.levels]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HDiTConfig":
        """Read what `to_dict` wrote; OptionError for unknown fields and values that do not fit."""
        try:
            values = dict(values)
            if "patch" in values:
                values["patch"] = tuple(values["patch"])
            if "levels" in values:
                values["levels"] = tuple(Level(**level) for level in values["levels"])
            return cls(**values)
        except (TypeError, ValueError) as error:
            if isinstance(error, OptionError):
                raise
            raise OptionError(f"This is not a configuration of HDiT: {error}.") from error


CONFIGS: dict[str, HDiTConfig] = {
    # 22.4 M parameters: the published Oxford-flowers model, which "Pictures of MIDI" uses with neighbourhood attention.
    "reference": HDiTConfig(levels=(
        Level(2, 128, 384, "shifted-window"), Level(2, 256, 768, "shifted-window"), Level(4, 512, 1536, "global"))),
    # For CPU cores. A token is a whole tone high and two bars of 4/4 long: narrow in pitch and wide in time learned best.
    "tiny": HDiTConfig(patch=(2, 32), levels=(
        Level(1, 96, 288, "shifted-window", d_head=32), Level(3, 192, 576, "global", d_head=32)),
        mapping_width=128, mapping_d_ff=256),
}


# Geometry: all of it depends on sizes only, so it is computed once per size and device. A tensor born in inference mode
# could never be used in training, hence the guards.

@lru_cache(maxsize=256)
def rotary(height: int, width: int, window: tuple[int, int], shift: int, heads: int, d_head: int,
           device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of axial RoPE for a token grid, in window order: two (windows, heads, tokens, d_head / 4).

    Positions are token centres in a box of the grid's aspect ratio whose longer side is [-1, 1]; the frequencies run
    from pi to 10 pi in equal ratios, interleaved over the heads. Half of d_head is rotated: a quarter by each axis.
    """
    with torch.inference_mode(False):
        y = ((torch.arange(height, device=device) + 0.5) / height * 2 - 1) * min(1.0, height / width)
        x = ((torch.arange(width, device=device) + 0.5) / width * 2 - 1) * min(1.0, width / height)
        ratios = torch.arange(heads * d_head // 8, device=device) / (heads * d_head // 8)
        frequency = rearrange(math.pi * 10**ratios, "(e heads) -> heads e", heads=heads)
        y, x = torch.broadcast_tensors(y[:, None], x)  # (height, width) each
        theta = torch.stack((y, x), -1)[..., None, :, None] * frequency[:, None]  # (height, width, heads, 2, d_head / 8)
        theta = to_windows(theta.flatten(2)[None], window, shift)[0]  # (windows, tokens, heads * d_head / 4)
        theta = rearrange(theta, "n l (heads e) -> n heads l e", heads=heads)  # (windows, heads, tokens, d_head / 4)
        return theta.cos(), theta.sin()


@lru_cache(maxsize=256)
def seam_mask(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Who may see whom in shifted windows: bool (windows, 1, tokens, tokens), True = allowed.

    Rolling puts tokens from opposite edges of the picture into one window; there a token sees its own side only.
    """
    with torch.inference_mode(False):
        row = (torch.arange(height, device=device) + shift) // window  # the window before wrapping round
        column = (torch.arange(width, device=device) + shift) // window
        region = row[:, None] * (width // window + 1) + column  # (height, width)
        region = to_windows(region[None, ..., None], (window, window), shift)[0, ..., 0]  # (windows, tokens)
        return (region[:, :, None] == region[:, None, :])[:, None]  # (windows, 1, tokens, tokens)


def to_windows(x: Tensor, window: tuple[int, int], shift: int) -> Tensor:
    """Cut (batch, height, width, channels) rolled by `shift` into (batch, windows, tokens, channels)."""
    if shift:
        x = x.roll((shift, shift), (1, 2))
    h, w = window
    return rearrange(x, "b (nh h) (nw w) c -> b (nh nw) (h w) c", h=h, w=w)  # (batch, windows, tokens, channels)


def from_windows(x: Tensor, height: int, width: int, window: tuple[int, int], shift: int) -> Tensor:
    """The inverse of `to_windows`."""
    h, w = window
    x = rearrange(x, "b (nh nw) (h w) c -> b (nh h) (nw w) c", nh=height // h, h=h, w=w)  # (batch, height, width, c)
    return x.roll((-shift, -shift), (1, 2)) if shift else x


# Blocks

def linear(in_features: int, out_features: int, zero: bool = False) -> nn.Linear:
    """A matrix without bias; `zero` for the last one of a residual branch, so that training starts at the identity."""
    layer = nn.Linear(in_features, out_features, bias=False)
    if zero:
        nn.init.zeros_(layer.weight)
    return layer


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    """x / rms(x) * gain over the last axis, in float32 also under autocast."""
    x = x.float()
    return x * (torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * gain)


class RMSNorm(nn.Module):
    """RMS norm with a learned gain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.gain)


class AdaRMSNorm(nn.Module):
    """RMS norm of (batch, height, width, width) whose gain is 1 + a matrix times the condition."""

    def __init__(self, width: int, mapping_width: int) -> None:
        super().__init__()
        self.linear = linear(mapping_width, width, zero=True)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        return rms_norm(x, 1 + self.linear(cond).float()[:, None, None])  # gain: (batch, 1, 1, width)


class FeedForward(nn.Module):
    """GEGLU branch; with a mapping width its norm listens to the condition."""

    def __init__(self, width: int, d_ff: int, mapping_width: int | None = None) -> None:
        super().__init__()
        self.norm = RMSNorm(width) if mapping_width is None else AdaRMSNorm(width, mapping_width)
        self.up = linear(width, 2 * d_ff)
        self.down = linear(d_ff, width, zero=True)

    def forward(self, x: Tensor, *cond: Tensor) -> Tensor:
        y, gate = self.up(self.norm(x, *cond)).chunk(2, -1)
        return x + self.down(y * F.gelu(gate))


class Attention(nn.Module):
    """Cosine-similarity self-attention with axial RoPE: global, in shifted windows, or in a neighbourhood."""

    def __init__(self, level: Level, mapping_width: int, shift: int) -> None:
        super().__init__()
        self.kind, self.window, self.shift = level.attention, level.window, shift
        self.heads, self.d_head = level.width // level.d_head, level.d_head
        self.norm = AdaRMSNorm(level.width, mapping_width)
        self.qkv = linear(level.width, 3 * level.width)
        self.scale = nn.Parameter(torch.full((self.heads,), 10.0))
        self.out = linear(level.width, level.width, zero=True)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        window = (self.window, self.window) if self.kind == "shifted-window" else (height, width)
        qkv = self.qkv(to_windows(self.norm(x, cond), window, self.shift))  # (batch, windows, tokens, 3 * width)
        qkv = rearrange(qkv, "b n l (t heads e) -> t b n heads l e", t=3, e=self.d_head)
        q, k = self.rotate(qkv[:2], *rotary(height, width, window, self.shift, self.heads, self.d_head, x.device))
        y = self.attend(q, k, qkv[2], height, width)  # (batch, windows, heads, tokens, d_head)
        y = rearrange(y, "b n heads l e -> b n l (heads e)")  # (batch, windows, tokens, width)
        return x + from_windows(self.out(y), height, width, window, self.shift)

    def rotate(self, qk: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Scale queries and keys (2, batch, windows, heads, tokens, d_head) to cosine similarity and rotate them."""
        dtype, quarter = qk.dtype, self.d_head // 4
        qk = qk.float()
        norm = torch.rsqrt(qk.square().sum(-1, keepdim=True) + 1e-6)
        qk = qk * (norm * self.scale.sqrt()[:, None, None])
        a, b, still = qk.split((quarter, quarter, self.d_head - 2 * quarter), -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin, still), -1).to(dtype)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, height: int, width: int) -> Tensor:
        """softmax(q k') v on (batch, windows, heads, tokens, d_head); the scale is in q and k already."""
        batch, windows = q.shape[:2]
        if self.kind == "neighborhood":
            return neighborhood_attention(q[:, 0], k[:, 0], v[:, 0], height, width, self.window)[:, None]
        mask = None
        if self.shift:
            mask = seam_mask(height, width, self.window, self.shift, q.device)
            mask = mask.expand(batch, -1, -1, -1, -1).flatten(0, 1)  # (batch * windows, 1, tokens, tokens)
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))  # (batch * windows, heads, tokens, d_head)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
        return y.unflatten(0, (batch, windows))  # (batch, windows, heads, tokens, d_head)


@lru_cache(maxsize=1)
def compiled_flex_attention() -> Any:
    """FlexAttention is only fast when compiled; compile it at the first use."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


@lru_cache(maxsize=64)
def neighborhood(height: int, width: int, side: int, device: torch.device) -> Any:
    """The block mask of neighbourhood attention: a token sees the `side` x `side` tokens nearest to it.

    At an edge the neighbourhood is moved inwards, not cut (Hassani et al. 2023, arXiv 2204.07143).
    """
    from torch.nn.attention.flex_attention import create_block_mask

    def near(q: Tensor, k: Tensor, size: int) -> Tensor:
        first = (q - side // 2).clamp(min=0, max=max(size - side, 0))
        return (first <= k) & (k < first + side)

    def visible(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return near(q // width, k // width, height) & near(q % width, k % width, width)

    with torch.inference_mode(False):
        return create_block_mask(visible, None, None, height * width, height * width, device=str(device))


def neighborhood_attention(q: Tensor, k: Tensor, v: Tensor, height: int, width: int, side: int) -> Tensor:
    """softmax(q k') v on (batch, heads, height * width, d_head) within neighbourhoods; CUDA only."""
    if q.device.type != "cuda":
        raise OptionError('attention="neighborhood" needs a CUDA GPU (FlexAttention); '
                          'on this device use attention="shifted-window".')
    return compiled_flex_attention()(q, k, v, block_mask=neighborhood(height, width, side, q.device), scale=1.0)


class Layer(nn.Module):
    """Attention (unless the level has none), then feed-forward."""

    def __init__(self, level: Level, mapping_width: int, index: int) -> None:
        super().__init__()
        shift = level.window // 2 if level.attention == "shifted-window" and index % 2 else 0
        self.attention = None if level.attention == "none" else Attention(level, mapping_width, shift)
        self.feed_forward = FeedForward(level.width, level.d_ff, mapping_width)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        if self.attention is not None:
            x = self.attention(x, cond)
        return self.feed_forward(x, cond)


class Merge(nn.Module):
    """Join each patch of tokens (or pixels) into one token."""

    def __init__(self, in_width: int, out_width: int, patch: tuple[int, int] = (2, 2)) -> None:
        super().__init__()
        self.patch = patch
        self.linear = linear(in_width * patch[0] * patch[1], out_width)

    def forward(self, x: Tensor) -> Tensor:
        ph, pw = self.patch
        return self.linear(rearrange(x, "b (h ph) (w pw) c -> b h w (ph pw c)", ph=ph, pw=pw))  # (b, h, w, out_width)


class Split(nn.Module):
    """Cut each token into a patch of tokens (or pixels), the inverse in shape of `Merge`."""

    def __init__(self, in_width: int, out_width: int, patch: tuple[int, int] = (2, 2), zero: bool = False) -> None:
        super().__init__()
        self.patch = patch
        self.linear = linear(in_width, out_width * patch[0] * patch[1], zero)

    def forward(self, x: Tensor) -> Tensor:
        ph, pw = self.patch
        return rearrange(self.linear(x), "b h w (ph pw c) -> b (h ph) (w pw) c", ph=ph, pw=pw)


class HDiT(nn.Module):
    """The network F(x; c_noise): a new one returns zeros, as in the paper."""

    def __init__(self, config: HDiTConfig) -> None:
        super().__init__()
        self.config = config
        levels, width = config.levels, config.mapping_width

        self.register_buffer("frequencies", torch.randn(width // 2))  # of the Fourier features of c_noise
        self.time_in = nn.Linear(width, width)
        self.cond_in = linear(config.mapping_cond_dim, width) if config.mapping_cond_dim else None
        self.mapping = nn.Sequential(
            RMSNorm(width), *(FeedForward(width, config.mapping_d_ff) for _ in range(config.mapping_depth)), RMSNorm(width))

        def stack(level: Level, first: int = 0) -> nn.ModuleList:  # windows go on alternating where the way up begins
            return nn.ModuleList(Layer(level, width, first + i) for i in range(level.depth))

        *outer, inner = levels
        self.patch_in = Merge(config.in_channels, levels[0].width, config.patch)
        self.down = nn.ModuleList(stack(level) for level in outer)
        self.merges = nn.ModuleList(Merge(a.width, b.width) for a, b in zip(levels, levels[1:], strict=False))
        self.middle = stack(inner)
        self.splits = nn.ModuleList(Split(b.width, a.width) for a, b in zip(levels, levels[1:], strict=False))
        self.mix = nn.ParameterList(torch.tensor(0.5) for _ in outer)  # 0 = the skip alone, 1 = the split tokens alone
        self.up = nn.ModuleList(stack(level, level.depth) for level in outer)
        self.out_norm = RMSNorm(levels[0].width)
        self.patch_out = Split(levels[0].width, config.out_channels, config.patch, zero=True)

    @property
    def multiple(self) -> tuple[int, int]:
        """Pixels (height, width) of which a picture's sides must be multiples."""
        sides = [2**i * level.window if level.attention == "shifted-window" else 2**i
                 for i, level in enumerate(self.config.levels)]
        pitch, time = self.config.patch
        return pitch * math.lcm(*sides), time * math.lcm(*sides)

    def forward(self, x: Tensor, c_noise: Tensor, mapping_cond: Tensor | None = None) -> Tensor:
        """F(x; c_noise), float (batch, out_channels, height, width).

        x: float (batch, in_channels, height, width), sides multiples of `multiple`; c_noise: float (batch,), a function
        of the noise level, ln(sigma) / 4 in EDM; mapping_cond: float (batch, mapping_cond_dim), None = zeros.
        OptionError where a shape does not fit.
        """
        self.check(x, c_noise, mapping_cond)
        angle = 2 * math.pi * c_noise.float()[:, None] * self.frequencies  # (batch, mapping_width / 2)
        cond = self.time_in(torch.cat((angle.cos(), angle.sin()), -1))  # (batch, mapping_width)
        if self.cond_in is not None:
            none = x.new_zeros(len(x), self.config.mapping_cond_dim)
            cond = cond + self.cond_in(none if mapping_cond is None else mapping_cond)
        cond = self.mapping(cond)

        x = self.patch_in(rearrange(x, "b c h w -> b h w c"))  # (batch, height, width, width of level 0), in tokens
        skips = []
        for layers, merge in zip(self.down, self.merges, strict=True):
            for layer in layers:
                x = layer(x, cond)
            skips.append(x)
            x = merge(x)
        for layer in self.middle:
            x = layer(x, cond)
        for i in reversed(range(len(skips))):
            x = self.splits[i](x)
            x = torch.lerp(skips[i], x.to(skips[i].dtype), self.mix[i].to(skips[i].dtype))
            for layer in self.up[i]:
                x = layer(x, cond)
        return rearrange(self.patch_out(self.out_norm(x)), "b h w c -> b c h w")  # (batch, out_channels, height, width)

    def check(self, x: Tensor, c_noise: Tensor, mapping_cond: Tensor | None) -> None:
        """OptionError where the shapes given to `forward` do not fit the configuration."""
        c, (h, w) = self.config, self.multiple
        if x.ndim != 4 or x.shape[1] != c.in_channels or x.shape[2] % h or x.shape[3] % w or not x.numel():
            raise OptionError(f"The network takes (batch, {c.in_channels}, height, width), height a multiple of {h} "
                              f"and width of {w}; x is {tuple(x.shape)}.")
        if c_noise.shape != x.shape[:1]:
            raise OptionError(f"c_noise is {tuple(c_noise.shape)}; give one number per picture, ({x.shape[0]},).")
        if mapping_cond is not None and mapping_cond.shape != (x.shape[0], c.mapping_cond_dim):
            raise OptionError(f"mapping_cond is {tuple(mapping_cond.shape)}; this network takes "
                              f"({x.shape[0]}, {c.mapping_cond_dim}).")

    def param_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for AdamW, as in k-diffusion: whatever forms the gains at a third of the rate, decay on matrices only.

        `lr_scale` is the factor on the base rate, for the trainer to apply. The embeddings of the noise level and of the
        condition are matrices without decay.
        """
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            mapping = name.startswith("mapping.") or name.endswith("norm.linear.weight")
            decays = parameter.ndim > 1 and not name.startswith(("time_in.", "cond_in."))
            groups.setdefault((1 / 3 if mapping else 1.0, weight_decay if decays else 0.0), []).append(parameter)
        return [{"params": parameters, "lr_scale": scale, "weight_decay": decay}
                for (scale, decay), parameters in groups.items()]
