"""The lowest rung: what is known of a cell by counting alone, without a network.

How often each state came in the training songs, perhaps at each pitch, perhaps after each state of
the cell one step before. What a network says must take fewer bits than these on songs that neither
has seen, or it has learned nothing but to go on.

    table = StateTable("cell before and pitch").fit(train_cells)
    table.bits(cells)                      # float (batch,), of whole windows
    per_unit(table.bits(cells), cells)     # {"cell": ..., "window": ..., "note": ...}

**Bits a note** are the bits of all windows over the number of onsets in them: a note's share also
holds what is spent on its length and on the silence around it.

The law: given all cells before it, the probabilities of a cell sum to 1, so that the bits may stand
beside the exact ones of other systems.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, check_choice
from ..music.picture import render
from ..music.song import Song
from ..processes.states import OFF, ONSET
from .system import CELL_STATES, ROW_COUNT, WINDOW, window_cells, with_beginnings

# What is known of a cell: name -> whether its pitch is, and the cell before.
CONTEXTS = {
    "nothing": (False, False),
    "pitch": (True, False),
    "cell before": (False, True),
    "cell before and pitch": (True, True),
}
# What is added to every count, so that what never came is not impossible.
PSEUDOCOUNT = 0.5
# Training windows that the baselines of a table count.
COUNTED = 2000


class StateTable:
    """How often each state came after each context.

    Attributes:
        share: float64 (contexts, 3), of each context the share of each state.
    """

    def __init__(self, context: str) -> None:
        """Count nothing yet: all states are alike.

        Args:
            context: one of `CONTEXTS`.

        Raises:
            OptionError: there is no such context.
        """
        check_choice("context", context, CONTEXTS)
        self.knows_pitch, self.knows_before = CONTEXTS[context]
        self.share = torch.ones(ROW_COUNT * CELL_STATES, CELL_STATES).double() / CELL_STATES

    def contexts_of(self, cells: Tensor) -> Tensor:
        """The number of each cell's context; cells and it: int64 (batch, 64, width)."""
        numbers = torch.zeros_like(cells)
        if self.knows_pitch:
            numbers += torch.arange(ROW_COUNT)[:, None] * CELL_STATES
        if self.knows_before:
            numbers += F.pad(cells, (1, -1), value=OFF)
        return numbers

    def fit(self, cells: Tensor, *, pseudocount: float = PSEUDOCOUNT) -> "StateTable":
        """Count the states of cells, and return the table itself.

        Args:
            cells: int64 (batch, 64, width).
            pseudocount: added to every count; 0 leaves the shares as they are, and nan in a context
                that never came.
        """
        pairs = self.contexts_of(cells) * CELL_STATES + cells
        found = pairs.flatten().bincount(minlength=self.share.numel())  # (contexts * 3,)
        counts = found.reshape(self.share.shape).double() + pseudocount  # (contexts, 3)
        self.share = counts / counts.sum(1, keepdim=True)
        return self

    def bits(self, cells: Tensor) -> Tensor:
        """The bits of windows, int64 (batch, 64, width): float64 (batch,)."""
        share = self.share[self.contexts_of(cells), cells]
        return -share.log2().flatten(1).sum(1)  # (batch,)


def per_unit(bits: Tensor, cells: Tensor) -> dict[str, float]:
    """Bits of windows as bits a cell, a window and a note.

    Args:
        bits: of each window, float (batch,).
        cells: the windows, int64 (batch, 64, width).

    Returns:
        "cell", "window" and "note"; no "note" where none begins.
    """
    total = float(bits.double().sum())
    notes = int((cells == ONSET).sum())
    shares = {"cell": total / cells.numel(), "window": total / len(cells)}
    return shares | ({"note": total / notes} if notes else {})


def baseline_bits(training: Tensor, cells: Tensor) -> dict[str, dict[str, float]]:
    """What tables of training windows cost on other windows: context -> `per_unit`.

    Args:
        training: the windows that are counted, int64 (batch, 64, 64).
        cells: the other windows, int64 (batch, 64, 64).
    """
    costs = {}
    for context in CONTEXTS:
        table = StateTable(context).fit(training)
        costs[context] = per_unit(table.bits(cells), cells)
    return costs


def song_windows(song: Song) -> Tensor:
    """A song as windows one after the other, each from a bar line on: int64 (windows, 64, 64).

    A window without any note is left out, and so is what is left at the song's end.
    """
    starts = list(window_starts(song.bars or song.bar_lines().tolist(), song.end))
    if not starts:
        return torch.zeros(0, ROW_COUNT, WINDOW, dtype=torch.int64)

    # The song is drawn once; a note that a window cuts begins there.
    cells = window_cells(render(song, 0, starts[-1] + WINDOW))
    windows = np.stack([cells[:, start : start + WINDOW] for start in starts])
    sounding = windows.any(axis=(1, 2))
    return torch.from_numpy(with_beginnings(windows[sounding]))


def window_starts(lines: Iterable[int], end: int) -> Iterator[int]:
    """The bar lines at which windows begin that do not overlap and lie within the song.

    Args:
        lines: of the song, in steps, increasing.
        end: of the song, in steps.
    """
    free = 0
    for line in lines:
        if free <= line <= end - WINDOW:
            yield line
            free = line + WINDOW


def spread_windows(songs: Sequence[Song], count: int) -> Tensor:
    """Windows of many songs, evenly spread over them: int64 (windows, 64, 64).

    Args:
        songs: from which they are taken.
        count: how many, or as many as there are.

    Raises:
        OptionError: no song is as long as a window.
    """
    # Of each song no more than its part, and one for good measure: songs are many.
    share = -(-count // max(len(songs), 1)) + 1
    parts = [evenly(song_windows(song), share) for song in songs]
    windows = torch.cat(parts) if parts else torch.zeros(0)
    if not len(windows):
        raise OptionError(
            f"none of the {len(songs)} songs has {WINDOW} steps with notes; give longer ones, "
            "or another split"
        )
    return evenly(windows, count)


def evenly(windows: Tensor, count: int) -> Tensor:
    """At most so many windows, (n, 64, 64), evenly spread over them."""
    if len(windows) <= count:
        return windows
    return windows[torch.linspace(0, len(windows) - 1, count).round().long()]
