"""The layers of HDiT: a norm, attention and a feed-forward branch.

A picture comes as tokens, float (batch, height, width, channels). A layer looks at the other tokens
(`Attention`) and thinks about each one by itself (`FeedForward`); either adds to what came in. A
condition, float (batch, mapping_width), sets the gain of both norms (`RMSNorm`).

There is one attention block for every kind in `ATTENTION`; they differ in who may see whom:

- "global": every token sees all others.
- "shifted-window": the grid is cut into squares, and a token sees those of its own square. In
  every second layer the squares are shifted by half their side, so that news crosses their edges.
- "neighborhood": a token sees the square of tokens around itself.
- "none": there is no attention at all.

How the layers become a network is told in `hdit`. Sources: Crowson et al. 2024 (HDiT, arXiv
2401.11605); Liu et al. 2021 (shifted windows, 2103.14030); Su et al. 2021 (RoPE, 2104.09864).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import OptionError, check_choice
from .matrix import linear

ATTENTION = ("global", "shifted-window", "neighborhood", "none")


def need_whole(config: Any, **least: int) -> None:
    """Check that the numbers of a configuration are whole and not too small.

    Args:
        config: a dataclass; its fields `attention`, `levels` and `local` are no numbers.
        least: the smallest value of a field, where that is not 1.

    Raises:
        OptionError: a number is not whole, or below its smallest value.
    """
    for name, value in vars(config).items():
        if name in ("attention", "levels", "local"):
            continue
        lowest = least.get(name, 1)
        numbers = value if name == "patch" else [value]
        if any(type(number) is not int or number < lowest for number in numbers):
            raise OptionError(f"{name} is {value!r}; give whole numbers of at least {lowest}")


@dataclass(frozen=True)
class Level:
    """A level of the hourglass: `depth` layers on the way down and again on the way up.

    The innermost level is passed once.

    Args:
        depth: number of layers.
        width: channels of a token.
        d_ff: channels inside the feed-forward branch.
        attention: one of `ATTENTION`.
        d_head: channels of one attention head.
        window: side of the window, or of the neighbourhood, in tokens.

    Raises:
        OptionError: a number is not whole, or the heads do not fill the width.
    """

    depth: int
    width: int
    d_ff: int
    attention: str = "global"
    d_head: int = 64
    window: int = 8

    def __post_init__(self) -> None:
        need_whole(self)
        check_choice("attention", self.attention, ATTENTION)
        if self.attention != "none" and (self.width % self.d_head or self.d_head % 8):
            raise OptionError(
                f"width {self.width} and d_head {self.d_head} do not fit; "
                "make width a multiple of d_head, and that a multiple of 8"
            )


# Geometry: who stands where, and who may see whom. It is computed once per size and device,
# outside of inference mode, because a tensor from there could serve no later training step.


def to_windows(x: Tensor, window: tuple[int, int], shift: int) -> Tensor:
    """Roll a grid of tokens by `shift` both ways and cut it into windows.

    Args:
        x: (batch, height, width, channels).
        window: height and width of a window, in tokens.
        shift: by how many tokens the grid is rolled down and to the right.

    Returns:
        (batch, windows, tokens, channels).
    """
    if shift:
        x = x.roll((shift, shift), (1, 2))
    return rearrange(x, "b (nh h) (nw w) c -> b (nh nw) (h w) c", h=window[0], w=window[1])


def from_windows(x: Tensor, window: tuple[int, int], shift: int, grid: tuple[int, int]) -> Tensor:
    """Lay windows together again and roll the grid back: the inverse of `to_windows`.

    Args:
        x: (batch * windows, tokens, channels).
        window: height and width of a window, in tokens.
        shift: what `to_windows` was given.
        grid: height and width of the whole grid, in tokens.

    Returns:
        (batch, height, width, channels).
    """
    rows = grid[0] // window[0]
    columns = grid[1] // window[1]
    x = rearrange(
        x,
        "(b nh nw) (h w) c -> b (nh h) (nw w) c",
        nh=rows,
        nw=columns,
        h=window[0],
    )  # (batch, height, width, channels)
    return x.roll((-shift, -shift), (1, 2)) if shift else x


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
    """Cosine and sine of axial RoPE for a grid of tokens.

    Half of the channels of a head turn: a quarter with the row, a quarter with the column.
    Positions are the centres of the tokens in a box of the grid's aspect ratio, whose longer side
    is [-1, 1]. Frequencies go from pi to 10 pi in equal ratios, dealt to the heads in turn.

    Args:
        height: of the grid, in tokens.
        width: of the grid, in tokens.
        window: height and width of a window, in tokens.
        shift: by how much the windows are shifted, in tokens.
        heads: number of attention heads.
        d_head: channels of a head.
        device: where the tables shall lie.

    Returns:
        Two float tables (windows, heads, tokens, d_head / 4).
    """
    with torch.inference_mode(False):
        longer = max(height, width)
        row = torch.arange(height, device=device)
        column = torch.arange(width, device=device)
        y = (2 * row + 1 - height) / longer  # (height,)
        x = (2 * column + 1 - width) / longer  # (width,)
        position = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1)  # (height, width, 2)
        position = to_windows(position[None], window, shift)[0]  # (windows, tokens, 2)
        position = position[:, None, :, :, None]  # (windows, 1, tokens, 2, 1)

        count = heads * d_head // 8
        frequency = math.pi * 10 ** (torch.arange(count, device=device) / count)
        frequency = rearrange(
            frequency, "(e heads) -> heads 1 1 e", heads=heads
        )  # (heads, 1, 1, d_head / 8)

        theta = (position * frequency).flatten(3)  # (windows, heads, tokens, d_head / 4)
        return theta.cos(), theta.sin()


@lru_cache(maxsize=256)
def seam_mask(
    height: int,
    width: int,
    window: int,
    shift: int,
    device: torch.device,
    *,
    inside: tuple[int, int] | None = None,
) -> Tensor:
    """Who may see whom where rolling has joined opposite edges of the picture, and beyond them.

    Args:
        height: of the grid, in tokens.
        width: of the grid, in tokens.
        window: side of a window, in tokens.
        shift: by how much the grid is rolled, in tokens.
        device: where the mask shall lie.
        inside: height and width of the picture, in tokens; nobody there sees what lies beyond.
            None: the whole grid.

    Returns:
        bool (windows, 1, tokens, tokens), True = visible.
    """
    with torch.inference_mode(False):
        # The windows before wrapping round: tokens of one number may see each other.
        row = torch.arange(height, device=device)
        column = torch.arange(width, device=device)
        down = (row + shift) // window  # (height,)
        across = (column + shift) // window  # (width,)
        number = down[:, None] * (width + 1) + across  # (height, width)
        if inside is not None:
            number[inside[0] :] = -1
            number[:, inside[1] :] = -1
        number = number[None, ..., None]  # (1, height, width, 1)
        number = to_windows(number, (window, window), shift)[0]  # (windows, tokens, 1)
        return (number == number.mT)[:, None]  # (windows, 1, tokens, tokens)


@lru_cache(maxsize=256)
def seam_bias(
    height: int,
    width: int,
    window: int,
    shift: int,
    *,
    device: torch.device,
    inside: tuple[int, int],
) -> Tensor:
    """`seam_mask` as what is added to the products of queries and keys, which costs less.

    Args:
        height: as `seam_mask` takes it; so are all others.
        width: of the grid, in tokens.
        window: side of a window, in tokens.
        shift: by how much the grid is rolled, in tokens.
        device: where the table shall lie.
        inside: height and width of the picture, in tokens.

    Returns:
        float (windows, 1, tokens, tokens), 0 = visible, minus infinity = hidden.
    """
    with torch.inference_mode(False):
        visible = seam_mask(height, width, window, shift, device, inside=inside)
        return torch.zeros(visible.shape, device=device).masked_fill_(~visible, -math.inf)


@lru_cache(maxsize=64)
def neighborhood_attention(height: int, width: int, side: int, device: torch.device) -> Callable:
    """FlexAttention of every token to the square of tokens around it.

    At an edge the square is moved inwards, so that all see equally many.

    Args:
        height: of the grid, in tokens.
        width: of the grid, in tokens.
        side: of the square, in tokens.
        device: where it shall run.

    Returns:
        A function of q, k, v, float (batch, heads, tokens, d_head), with an answer like them.

    Source:
        Hassani et al. 2023, arXiv 2204.07143.
    """
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def reaches(q: Tensor, k: Tensor, size: int) -> Tensor:
        first = (q - side // 2).clamp(0, max(size - side, 0))
        return (first <= k) & (k < first + side)

    def visible(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return reaches(q // width, k // width, height) & reaches(q % width, k % width, width)

    tokens = height * width
    with torch.inference_mode(False):
        mask = create_block_mask(visible, None, None, tokens, tokens, device=str(device))
    return partial(torch.compile(flex_attention), block_mask=mask)


class RMSNorm(nn.Module):
    """x / rms(x) * gain, always in float32.

    Args:
        width: channels of a token.
        mapping_width: size of the condition that sets the gain (AdaRMSNorm); None: it is learned.
    """

    def __init__(self, width: int, mapping_width: int | None = None) -> None:
        super().__init__()
        if mapping_width is None:
            self.gain = nn.Parameter(torch.ones(width))
        else:
            self.linear = linear(mapping_width, width)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """The norm of x, (..., width), whose gain a condition, (batch, mapping_width), may set."""
        if cond is None:
            gain = self.gain  # (width,)
        else:
            change = self.linear(cond).float()  # (batch, width)
            gain = 1 + change[:, None, None]  # (batch, 1, 1, width)
        return F.rms_norm(x.float(), x.shape[-1:], eps=1e-6) * gain


class FeedForward(nn.Module):
    """The GEGLU branch of a layer, or of the mapping network (there without a condition).

    Args:
        width: channels of a token.
        d_ff: channels inside.
        mapping_width: size of the condition; None: there is none.
    """

    def __init__(self, width: int, d_ff: int, mapping_width: int | None = None) -> None:
        super().__init__()
        self.norm = RMSNorm(width, mapping_width)
        self.up = linear(width, 2 * d_ff)
        self.down = linear(d_ff, width)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """x plus the branch, (..., width), under a condition (batch, mapping_width)."""
        y, gate = self.up(self.norm(x, cond)).chunk(2, -1)  # (..., d_ff) each
        return x + self.down(y * F.gelu(gate))


class Attention(nn.Module):
    """Cosine-similarity self-attention with axial RoPE, of any kind in `ATTENTION` but "none".

    Args:
        level: the level that the layer belongs to.
        mapping_width: size of the condition.
        index: number of the layer; windows are shifted in odd ones.
    """

    def __init__(self, level: Level, mapping_width: int, index: int) -> None:
        super().__init__()
        self.level = level
        self.heads = level.width // level.d_head
        self.in_windows = level.attention == "shifted-window"
        self.shift = level.window // 2 if self.in_windows and index % 2 else 0
        self.norm = RMSNorm(level.width, mapping_width)
        self.qkv = linear(level.width, 3 * level.width)
        self.out = linear(level.width, level.width)
        self.scale = nn.Parameter(torch.full((self.heads,), 10.0))

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """x plus what its tokens have seen.

        Args:
            x: (batch, height, width, channels).
            cond: (batch, mapping_width).

        Returns:
            Like x.

        Raises:
            OptionError: neighbourhoods on anything but a CUDA GPU.
        """
        rows, columns = x.shape[1:3]
        inside = (rows, columns)
        side = self.level.window
        window = (side, side) if self.in_windows else inside

        # Windows reach beyond a picture that is no multiple of them. A pad of nothing is a copy.
        beyond = [-size % of for size, of in zip(inside, window, strict=True)]
        y = self.norm(x, cond)
        if any(beyond):
            y = F.pad(y, (0, 0, 0, beyond[1], 0, beyond[0]))
        height, width = y.shape[1:3]

        # Query, key and value of every token, window by window.
        y = to_windows(y, window, self.shift)  # (batch, windows, tokens, channels)
        qkv = self.qkv(y)  # (batch, windows, tokens, 3 * channels)
        qkv = rearrange(
            qkv, "b n l (t heads e) -> t b n heads l e", t=3, heads=self.heads
        )  # (3, batch, windows, heads, tokens, d_head)
        qk, v = qkv.split((2, 1))  # (2, ...), (1, ...)

        # Queries and keys learn where they stand; from here on a window is an entry of the batch.
        turns = rotary(height, width, window, self.shift, self.heads, self.level.d_head, x.device)
        q, k = self.rotate(qk, *turns).flatten(1, 2)  # (batch * windows, heads, tokens, d_head)
        v = v[0].flatten(0, 1)  # (batch * windows, heads, tokens, d_head)

        # Every token collects the values that it looks for, and the heads are joined.
        y = self.attend(
            q, k, v, (height, width), inside=inside
        )  # (batch * windows, heads, tokens, d_head)
        y = rearrange(y, "n heads l e -> n l (heads e)")  # (batch * windows, tokens, channels)
        y = self.out(y)
        y = from_windows(y, window, self.shift, (height, width))  # (batch, height, width, channels)
        return x + y[:, :rows, :columns]

    def rotate(self, qk: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Make queries and keys ready for cosine similarity, and turn them by their positions.

        Args:
            qk: (2, batch, windows, heads, tokens, d_head).
            cos: from `rotary`, (windows, heads, tokens, d_head / 4).
            sin: the same.

        Returns:
            Like `qk`.
        """
        # Length sqrt(scale) each, so that a product is scale * cosine.
        x = qk.float()
        shrink = torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)
        x = x * (shrink * self.scale.sqrt()[:, None, None])

        # The first two quarters are the x and y of points that turn; the other half stands still.
        quarter = self.level.d_head // 4
        a, b, still = x.split((quarter, quarter, 2 * quarter), -1)
        a_turned = a * cos - b * sin
        b_turned = b * cos + a * sin
        return torch.cat((a_turned, b_turned, still), -1).to(qk.dtype)

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        grid: tuple[int, int],
        *,
        inside: tuple[int, int],
    ) -> Tensor:
        """softmax(q k') v over the tokens that may be seen.

        Args:
            q: queries, (batch * windows, heads, tokens, d_head).
            k: keys, of the same shape.
            v: values, of the same shape.
            grid: height and width of the whole grid, in tokens.
            inside: those of the picture.

        Returns:
            Of the same shape.

        Raises:
            OptionError: neighbourhoods on anything but a CUDA GPU.
        """
        if self.level.attention == "neighborhood":
            if q.device.type != "cuda":
                raise OptionError(
                    'attention "neighborhood" needs a CUDA GPU, this is '
                    f'{q.device.type}; else use "shifted-window"'
                )
            attention = neighborhood_attention(*grid, self.level.window, q.device)
            return attention(q, k, v, scale=1.0)

        mask = None
        if self.shift or grid != inside:
            bias = seam_bias(*grid, self.level.window, self.shift, device=q.device, inside=inside)
            batch = len(q) // len(bias)
            mask = bias.to(q.dtype).repeat(batch, 1, 1, 1)  # (batch * windows, 1, tokens, tokens)
        return F.scaled_dot_product_attention(q, k, v, mask, scale=1.0)
