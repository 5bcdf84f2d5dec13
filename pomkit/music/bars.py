"""Bar lines: how a list of them goes on, how many bars are masked, where beats and half bars begin.

A song's bars have many lengths: a bar of 3/4 lasts 12 steps on a grid of 16ths, a pickup less, and
a metre may change. So whatever speaks of bars asks their lines, the steps at which bars begin.
Where nobody gives any, the bars are those of 4/4, `BAR` steps each:

    lines = lines_until((0, 12, 24), 60)     # [0, 12, 24, 36, 48, 60]
    masked_bars(mask, lines)                 # 2.0, where two of these are masked

What a model is told of bars, `bar_position` makes: for each column, whether a bar or a beat begins
there, and how far the bar has come. What it learned of densities is counted otherwise: the bar of a
density has always `BAR` steps. Read on in `song`.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .grid import Meter
from .tables import BAR

Lines = Sequence[int] | np.ndarray
# What `bar_position` says of a column.
BAR_CHANNELS = 4


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


def missing_of_upbeat(lines: np.ndarray) -> int:
    """The steps that the first bar lacks to be as long as the second; `lines`: int (bars + 1,)."""
    bars = np.diff(lines)[:2]  # (2,) or (1,)
    missing = int(bars[-1] - bars[0])
    # What is longer than two bars of 4/4 is no bar that an upbeat could lack.
    return missing if 0 < missing < 2 * BAR else 0


def later_lines(lines: Lines, lead: int) -> np.ndarray:
    """Bar lines of music before which `lead` steps of silence are put; the first bar grows by them.

    Args:
        lines: steps of the bar lines, int (lines,), from 0 on.
        lead: how many steps.
    """
    later = np.asarray(lines, int) + lead
    later[:1] = 0
    return later


def later_meters(meters: Sequence[Meter], lead: int) -> tuple[Meter, ...]:
    """Time signatures of music that begins `lead` steps later, by their steps.

    Args:
        meters: (step, numerator, denominator), by their steps.
        lead: how many steps; below 0, steps are left out at the beginning, and the metre that holds
            there stands at step 0.
    """
    moved = [(max(step + lead, 0) if step else 0, *sign) for step, *sign in meters]
    last = {step: (above, below) for step, above, below in moved}
    return tuple((step, *last[step]) for step in sorted(last))


def bar_position(
    lines: Lines | None, meters: Sequence[Meter], width: int, steps_per_beat: int = 4
) -> np.ndarray:
    """Where in its bar each column of a picture is: what models are told of the metre.

    Args:
        lines: columns of the bar lines, from 0 on; behind them bars go on as the last one. None:
            bars of 4/4.
        meters: (column, numerator, denominator), by their columns; before the first one a beat is a
            quarter.
        width: columns.
        steps_per_beat: columns of a quarter.

    Returns:
        float32 (BAR_CHANNELS, width): 1 where a bar begins; 1 where a beat begins; the sine and the
        cosine of the share of the bar that is over, as an angle. Never 0 in all: that is left for
        columns of which nothing is known.
    """
    starts = lines_until(lines, width, 4 * steps_per_beat)
    columns = np.arange(width)
    bar = np.searchsorted(starts, columns, side="right") - 1  # (width,)
    share = (columns - starts[bar]) / np.diff(starts)[bar]  # (width,)
    beats = beat_lines(tuple(starts.tolist()), tuple(meters), steps_per_beat, width)

    position = np.zeros((BAR_CHANNELS, width), np.float32)
    position[0] = share == 0
    position[1, beats] = 1
    position[2] = np.sin(2 * np.pi * share)
    position[3] = np.cos(2 * np.pi * share)
    return position


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
