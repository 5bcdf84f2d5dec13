"""Bar lines: how a list of them goes on, how many bars are masked, where beats and half bars begin.

A song's bars have many lengths: a bar of 3/4 lasts 12 steps on a grid of 16ths, a pickup less, and
a metre may change. So whatever speaks of bars asks their lines, the steps at which bars begin.
Where nobody gives any, the bars are those of 4/4, `BAR` steps each:

    lines = lines_until((0, 12, 24), 60)     # [0, 12, 24, 36, 48, 60]
    masked_bars(mask, lines)                 # 2.0, where two of these are masked

What a model learned is counted otherwise: in training's windows, on columns of 16ths, a bar has
always `BAR` steps, and so has the bar of a density. Read on in `song`.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .grid import Meter
from .tables import BAR

Lines = Sequence[int] | np.ndarray


def lines_until(bars: Lines | None, end: int, bar: int = BAR) -> np.ndarray:
    """Steps of the bar lines from 0 to the first one at or after `end`, two at least.

    Args:
        bars: steps of the bar lines that are known; behind them bars go on as the last one. None,
            or only 0: all bars are alike.
        end: a step.
        bar: how many steps a bar lasts where none is known.

    Returns:
        int (bars + 1,).
    """
    known = () if bars is None else bars
    lines = np.unique(np.array((0, *known), dtype=int))
    lines = lines[lines >= 0]
    if len(lines) == 1:
        lines = np.array([0, bar])

    # Go on as the last bar went.
    last = int(lines[-1])
    if last < end:
        long = last - int(lines[-2])
        more = np.arange(last + long, end + long, long)
        lines = np.concatenate([lines, more])
    count = int(np.searchsorted(lines, end))
    return lines[: max(count, 1) + 1]


def half_bars(lines: np.ndarray, steps_per_beat: int) -> np.ndarray:
    """Steps where bars and halves of bars meet; a bar of an odd number of beats has no halves.

    Args:
        lines: steps of the bar lines, int (bars + 1,).
        steps_per_beat: the grid.

    Returns:
        Increasing, int (edges,).
    """
    bars = np.diff(lines)  # (bars,)
    beats = bars // steps_per_beat
    is_even = (beats % 2 == 0) & (beats > 0)
    middles = lines[:-1] + bars // 2
    return np.union1d(lines, middles[is_even])


def masked_bars(mask: np.ndarray, bars: Lines | None = None) -> float:
    """How many bars the masked columns are together; of a bar masked in part that part counts.

    Args:
        mask: bool (128, width).
        bars: steps of the bar lines; None: those of 4/4.
    """
    width = mask.shape[1]
    lines = lines_until(bars, width)
    lengths = np.diff(lines)  # (bars,)
    columns = np.diff(np.minimum(lines, width))  # (bars,): those inside the mask's width
    share = np.repeat(1 / lengths, columns)  # (width,): a column's share of its bar
    return float(share[mask.any(axis=0)].sum())


def bars_around(mask: np.ndarray, bars: Lines | None = None) -> slice:
    """The steps of the bars that a mask touches, and of one more at each side.

    Args:
        mask: bool (128, width), True somewhere.
        bars: steps of the bar lines; None: those of 4/4.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    lines = lines_until(bars, mask.shape[1])
    first, last = np.searchsorted(lines, columns[[0, -1]], side="right")
    start = lines[max(first - 2, 0)]
    stop = lines[min(last + 1, len(lines) - 1)]
    return slice(int(start), int(stop))


@lru_cache(maxsize=16)
def beat_lines(
    bars: tuple[int, ...],
    meters: tuple[Meter, ...],
    steps_per_beat: int,
    end: int,
) -> np.ndarray:
    """The steps before `end` at which beats begin, as musicians count them.

    A beat is the note that the metre names; where that is an eighth or shorter, and there are 6, 9,
    12 of them and so on, three together. So a bar of 3/4 has 3 beats and one of 6/8 has 2, dotted
    quarters. A bar begins with a beat.

    Args:
        bars: steps of the bar lines.
        meters: (step, numerator, denominator), by their steps; before the first one 4/4.
        steps_per_beat: steps of a quarter.
        end: a step.

    Returns:
        Increasing, int (beats,), read-only.
    """
    whole_note = 4 * steps_per_beat
    lines = lines_until(bars, end, whole_note)
    changes = [step for step, _, _ in meters]
    beats = np.array([1 / 4, *(_beat_of(*above_below) for _, *above_below in meters)])

    # A beat may be shorter than a step: then every step begins one.
    which = np.searchsorted(changes, lines[:-1], side="right")
    lengths = np.maximum(whole_note * beats[which], 1)  # (bars,)
    stops = np.minimum(lines[1:], end)  # (bars,)
    starts = lines[:-1]
    begins = [np.arange(*bar) for bar in zip(starts, stops, lengths, strict=True)]
    steps = np.rint(np.concatenate(begins)).astype(int)
    steps = np.unique(steps)
    steps.flags.writeable = False
    return steps


def _beat_of(numerator: int, denominator: int) -> float:
    """How long a beat of a time signature is, in whole notes."""
    is_compound = denominator >= 8 and numerator > 3 and numerator % 3 == 0
    return (3 if is_compound else 1) / denominator
