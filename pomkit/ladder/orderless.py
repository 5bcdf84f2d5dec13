"""An orderless system: a convolution network that restores any hidden cells, and three samplers.

`Coconet` learns as `cells` does: hide some cells, say what they are (`restoring`). That loss is
one and the same as the mean, over all orders, of filling the cells one after the other. So the
network may be asked in any order, and more than once:

- "uncover": a few more cells at each call, as `cells` does it;
- "gibbs": blocks of cells are hidden and drawn again, large ones first, then smaller ones, so that
  what does not fit together is mended: the sampler of Coconet;
- "one": one cell at a time is hidden and drawn again: DeepBach's. With `block=16` so many at once.

    model = Coconet()
    inpaint(model, picture, mask, method="gibbs", calls=64)

The laws: to draw one cell at a time, each given all others, keeps the joint distribution; to draw
several at once, each by itself, does not. A cell sees as far as `Convolutions.reach` says.

Sources: Huang et al. 2017 (Coconet, arXiv 1903.07227); Uria et al. 2014 (orderless NADE, arXiv
1310.1757); Hadjeres et al. 2017 (DeepBach, arXiv 1612.01010).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError, check_whole
from ..processes.contract import Options
from ..processes.orders import choose
from ..processes.states import OFF, SUSTAIN
from ..processes.uncover import CALLS, gumbel_like
from .answering import Tell, say_nothing
from .restoring import Restorer
from .system import CELL_STATES, HIDDEN, ROW_COUNT, WINDOW, Request

# The share of the cells in a block of Gibbs sampling: from the first to the last, which is reached
# after so much of the calls.
GREATEST_BLOCK_SHARE = 0.9
LEAST_BLOCK_SHARE = 0.1
SHRINKING = 0.7
GIBBS_CALLS = 64
# Single cells that are drawn again.
REDRAWS = 512


class Convolutions(nn.Module):
    """A residual network of dilated convolutions, 3 x 3 each.

    Args:
        width: channels.
        dilations: of the blocks, which are two convolutions each.
    """

    def __init__(self, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.dilations = tuple(dilations)
        self.first = nn.Conv2d(CELL_STATES + 1, width, 3, padding=1)
        # Where a cell is: pitches differ, and so do the steps of a bar.
        self.row = nn.Parameter(torch.zeros(width, ROW_COUNT, 1))
        self.column = nn.Parameter(torch.zeros(width, 1, WINDOW))
        self.one = nn.ModuleList(self._layer(width, reach) for reach in dilations)
        self.two = nn.ModuleList(self._layer(width, reach) for reach in dilations)
        self.last = nn.Conv2d(width, CELL_STATES, 1)

        # A fresh block changes nothing.
        for parameter in self.two.parameters():
            nn.init.zeros_(parameter)

    @staticmethod
    def _layer(width: int, reach: int) -> nn.Conv2d:
        """A convolution that keeps the size of a picture."""
        return nn.Conv2d(width, width, 3, padding=reach, dilation=reach)

    @property
    def reach(self) -> int:
        """How many cells away, in pitch and in time, something may still count."""
        return 1 + 2 * sum(self.dilations)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Logits, float (batch, 3, 64, 64).

        Args:
            x: float (batch, 4, 64, 64), the states, and hidden.
            t: float (batch,), the hidden share: the hidden cells themselves say it.
        """
        x = self.first(x) + self.row + self.column
        for one, two in zip(self.one, self.two, strict=True):
            x = x + two(F.gelu(one(F.gelu(x))))
        return self.last(F.gelu(x))


class Coconet(Restorer):
    """A convolution network that restores hidden cells; a system of the ladder."""

    process = "coconet"
    answers = {"any": "NG"}
    methods = {"uncover": CALLS, "gibbs": GIBBS_CALLS, "one": REDRAWS}
    options = Restorer.options | {"block"}
    sizes = {
        "tiny": {"width": 32, "dilations": (1, 2, 4, 8, 1)},
        "toy": {"width": 8, "dilations": (1, 2)},
    }

    def build(self, **numbers: Any) -> nn.Module:
        """The network; `numbers`: its width and dilations, see `Convolutions`."""
        return Convolutions(**numbers)

    def check(self, options: Options) -> Options:
        """The options as they are; OptionError for those of another method."""
        block = options.own.get("block", 1)
        check_whole("block", block, 1, ROW_COUNT * WINDOW, unit="cells")
        theirs = {"top_p": ("uncover", options.top_p), "block": ("one", options.own.get("block"))}
        for name, (method, value) in theirs.items():
            if value is not None and options.method != method:
                raise OptionError(
                    f"{name} is {value}, and the method {options.method!r} has no such option; "
                    f"leave it out or choose the method {method!r}"
                )
        return options

    def fill(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """Fill the masked cells of windows, (batch, 64, 64); see `System.fill`."""
        options = request.options
        if options.method == "uncover":
            return super().fill(cells, mask, request)

        # Behind the picture's end nothing is known, and nothing is composed.
        inside = mask.clone()
        inside[:, WINDOW if options.end is None else options.end :] = False
        region = inside.expand_as(cells)
        if options.method == "gibbs":
            blocks = shrinking(region, options.calls, request.generator)
        else:
            size = options.own.get("block", 1)
            blocks = singles(region, options.calls, size, request.generator)
        drawn = draw_again(
            self.restore,
            cells,
            blocks,
            generator=request.generator,
            temperature=options.temperature,
            tell=request.tell,
            calls=options.calls,
        )
        return torch.where(inside, drawn, OFF)

    def restore(self, cells: Tensor) -> Tensor:
        """Logits of each hidden cell, float (batch, 3, 64, 64), so that notes stay whole.

        Args:
            cells: int64 (batch, 64, 64), states, or HIDDEN.
        """
        share = (cells == HIDDEN).flatten(1).float().mean(1)  # (batch,)
        return of_whole_notes(self(cells, self.untold(cells), share), cells)


def draw_again(
    restore: Callable[[Tensor], Tensor],
    cells: Tensor,
    blocks: Iterator[Tensor],
    *,
    calls: int,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    tell: Tell = say_nothing,
) -> Tensor:
    """Hide block after block and draw its cells again, each by itself, given all that are seen.

    Args:
        restore: cells, int64 (batch, h, w), with hidden ones -> float (batch, states, h, w).
        cells: int64 (batch, h, w).
        blocks: bool (batch, h, w) each, what is hidden and drawn again.
        calls: how many blocks there are.
        generator: of the random numbers.
        temperature: divides the logits.
        tell: is told of each call.

    Returns:
        int64 (batch, h, w).
    """
    for call, block in enumerate(blocks, 1):
        logits = restore(torch.where(block, HIDDEN, cells)) / temperature
        drawn = (logits + gumbel_like(logits, generator)).argmax(1)
        cells = torch.where(block, drawn, cells)
        tell(cells, calls - call)
    return cells


def shrinking(
    region: Tensor, calls: int, generator: torch.Generator | None = None
) -> Iterator[Tensor]:
    """The blocks of Coconet: all cells of a region, then random ones, ever fewer.

    Args:
        region: bool (batch, h, w).
        calls: how many blocks.
        generator: of the random numbers.

    Yields:
        bool (batch, h, w).

    Source: Huang et al. 2017 (arXiv 1903.07227), section 4.2.
    """
    yield region
    for call in range(1, calls):
        fallen = (GREATEST_BLOCK_SHARE - LEAST_BLOCK_SHARE) * call / max(SHRINKING * calls, 1)
        share = max(GREATEST_BLOCK_SHARE - fallen, LEAST_BLOCK_SHARE)
        chosen = torch.rand(region.shape, generator=generator).to(region.device) < share
        yield region & chosen


def singles(
    region: Tensor, calls: int, size: int = 1, generator: torch.Generator | None = None
) -> Iterator[Tensor]:
    """All cells of a region, then a few random ones of each picture at a time: one, if not more.

    Args:
        region: bool (batch, h, w).
        calls: how many blocks.
        size: cells of a block.
        generator: of the random numbers.

    Yields:
        bool (batch, h, w).
    """
    yield region
    size = min(size, int(region[0].sum()))
    for _ in range(1, calls):
        yield choose(region, size, generator)


def of_whole_notes(logits: Tensor, cells: Tensor) -> Tensor:
    """Logits in which a note that is seen does not lose a part, and none begins in its middle.

    Args:
        logits: float (batch, 3, h, w).
        cells: int64 (batch, h, w), states, or HIDDEN.

    Returns:
        float (batch, 3, h, w).
    """
    before = F.pad(cells, (1, -1), value=OFF)
    after = F.pad(cells, (-1, 1), value=OFF)
    state = torch.arange(CELL_STATES, device=cells.device)[:, None, None]
    is_broken = (state == SUSTAIN) & (before == OFF)[:, None]
    is_broken |= (state == OFF) & (after == SUSTAIN)[:, None]
    return logits.masked_fill(is_broken, -math.inf)
