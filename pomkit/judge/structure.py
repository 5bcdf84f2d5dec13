"""How much of a piece comes back: bars that repeat earlier bars, and a picture of it.

    lines = song.bar_lines()
    count_repeats(song.notes, lines)["exact, any"]     # (41, 63): bars that repeat, of how many
    draw_structure("repeats.png", {"real": song.notes, "tiny": composed.notes}, lines)

Songs repeat themselves, over a bar and over sixteen. A model that hears only what is near may write
good bars that never come back; no statistic of single bars sees that.

Of each bar there is a set of features, and a bar *repeats* another one if that one has at least
80 % of its features. There are three ways (`WAYS`), each by itself:

- "exact": where its notes begin, and their pitches;
- "rhythm": where and how many of its notes begin, whatever their pitches are;
- "contour": how its highest notes move, whatever their key and rhythm are.

So a bar that is played again repeats in every way; one that is played again in another key has the
same rhythm and contour only.

The rule of empty bars: a bar in which nothing begins repeats no bar, is repeated by none, and is
not counted. So it is with the contour of a bar that has few moves.

**A new way** is one function and one line in `WAYS`. Read on in `metrics`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError, check_choice
from ..files import AnyPath, write
from ..music.pixels import PITCHES
from ..play import plot
from .clips import Notes

# A bar repeats another one that has this share of its features.
ALIKE = 0.8
# How many bars back a bar is looked for.
DISTANCES = (1, 2, 4, 8)
# Moves of a bar that has a contour.
LEAST_MOVES = 3
# The kinds of moves begin here, in semitones: a leap or a step down, none, a step or a leap up.
MOVES = (-2, 0, 1, 3)

# Of each feature the number of its bar and a number that says which it is, int (features,) each.
Features = tuple[np.ndarray, np.ndarray]
# Numerator and denominator.
Repeats = tuple[int, int]


class BarNotes:
    """The notes of a piece by bars.

    Attributes:
        bar: the number of each note's bar, from 0, int (notes,).
        step: where the note begins, in steps of its bar, int (notes,).
        pitch: int (notes,).
    """

    def __init__(self, notes: Notes, lines: np.ndarray) -> None:
        # Sorted by step, of each step the highest note last.
        order = np.lexsort((notes["pitch"], notes["onset"]))
        notes = notes[order]
        inside = (notes["onset"] >= lines[0]) & (notes["onset"] < lines[-1])
        onset = notes["onset"][inside]
        self.bar = np.searchsorted(lines, onset, side="right") - 1
        self.step = onset - lines[self.bar]
        self.pitch = notes["pitch"][inside]


def onsets_of(notes: BarNotes) -> Features:
    """Where notes begin, and their pitches."""
    return notes.bar, PITCHES * notes.step + notes.pitch


def rhythm_of(notes: BarNotes) -> Features:
    """Where notes begin: the first one of a step, the second one, and so on."""
    rank = _rank(_changes(notes.bar, notes.step))
    return notes.bar, PITCHES * notes.step + rank


def contour_of(notes: BarNotes) -> Features:
    """The moves of the highest notes: which kind the first one is of, the second one, and so on.

    There are five kinds: down and up by a step of 1 or 2 semitones or by more, and the same pitch.

    Source: the extended contour of Uitdenbogerd and Zobel 1999, doi 10.1145/319463.319470.
    """
    # Of the notes that begin together the last one is the highest.
    begins = _changes(notes.bar, notes.step)
    highest = np.append(begins[1:], True)[: len(begins)]
    bar = notes.bar[highest]
    pitch = notes.pitch[highest]

    # Moves inside bars.
    kind = np.searchsorted(MOVES, np.diff(pitch), side="right")
    inside = np.diff(bar) == 0
    bar = bar[1:][inside]
    kind = kind[inside]

    # Each with its number in the bar.
    code = _rank(_changes(bar)) * (len(MOVES) + 1) + kind
    has_contour = np.bincount(bar)[bar] >= LEAST_MOVES
    return bar[has_contour], code[has_contour]


def _changes(*columns: np.ndarray) -> np.ndarray:
    """Where a row of columns, int (n,) each, differs from the one before; bool (n,)."""
    return np.any([np.diff(column, prepend=-1) != 0 for column in columns], axis=0)


def _rank(begins: np.ndarray) -> np.ndarray:
    """The place of each row in its group, from 0, int (n,); `begins`: where groups begin, bool."""
    rows = np.arange(len(begins))
    first = np.maximum.accumulate(np.where(begins, rows, 0))
    return rows - first


# Name of a way to repeat -> the features of each bar that are compared.
WAYS: dict[str, Callable[[BarNotes], Features]] = {
    "exact": onsets_of,
    "rhythm": rhythm_of,
    "contour": contour_of,
}


def similarity(notes: Notes, lines: np.ndarray, way: str = "exact") -> np.ndarray:
    """The share of each bar's features that each other bar has, float (bars, bars).

    In row b and column a stands what of bar b is found in bar a: 1 if all of it is. A row is nan if
    its bar has no features.

    Args:
        notes: NOTE_DTYPE (notes,); those outside the bars do not count.
        lines: steps of the bar lines, int (bars + 1,).
        way: one of `WAYS`.

    Raises:
        OptionError: there is no such way, or the lines do not rise.
    """
    check_choice("way", way, WAYS)
    lines = np.asarray(lines)
    if len(lines) < 2 or (np.diff(lines) <= 0).any():
        raise OptionError(
            f"bar lines at {len(lines)} steps do not rise or make no bar; "
            "give what Song.bar_lines gives"
        )

    # A table of bars and of all features that there are.
    bar, code = WAYS[way](BarNotes(notes, lines))
    _, column = np.unique(code, return_inverse=True)
    has = np.zeros((len(lines) - 1, column.max(initial=-1) + 1), np.float32)
    has[bar, column] = 1
    common = has @ has.T  # (bars, bars)
    with np.errstate(invalid="ignore"):
        return common / has.sum(axis=1, keepdims=True)


def count_repeats(
    notes: Notes, lines: np.ndarray, counted: np.ndarray | None = None
) -> dict[str, Repeats]:
    """Count the bars that repeat an earlier one.

    Args:
        notes: NOTE_DTYPE (notes,).
        lines: steps of the bar lines, int (bars + 1,).
        counted: the bars that are asked about, bool (bars,), as those that were composed; None:
            all. They may repeat any bar.

    Returns:
        "exact, any" and so on -> (bars that repeat one, bars that could): in each of `WAYS`, any
        earlier bar, and the one at each of `DISTANCES` before it.

    Raises:
        OptionError: `counted` is not one value for each bar, or the lines do not rise.
    """
    bars = len(lines) - 1
    asked = np.ones(bars, bool) if counted is None else np.asarray(counted)
    if asked.shape != (bars,):
        raise OptionError(f"counted has the shape {asked.shape}; give bool ({bars},), one a bar")

    counts = {}
    for way in WAYS:
        share = similarity(notes, lines, way)
        full = asked & ~np.isnan(share).any(axis=1)
        # A rounding error is no difference.
        repeats = share > ALIKE - 1e-6
        earlier: Any = np.tril(repeats, -1).any(axis=1)
        counts[f"{way}, any"] = _count(earlier[1:], full[1:])
        for distance in DISTANCES:
            back = np.diagonal(repeats, -distance)  # (bars - distance,)
            counts[f"{way}, {distance}"] = _count(back, full[distance:])
    return counts


def draw_structure(
    path: AnyPath,
    pieces: Mapping[str, Notes],
    lines: np.ndarray,
    *,
    first: int | None = None,
    title: str = "",
) -> Path:
    """Draw the `similarity` of pieces side by side, as PNG: bars downwards and across.

    A dark stripe beside the diagonal is a passage that comes back; how far beside it is how many
    bars later it does.

    Args:
        path: of the PNG file, which is written atomically.
        pieces: name -> notes, NOTE_DTYPE (notes,), all on the same bars.
        lines: steps of the bar lines, int (bars + 1,).
        first: the first bar that was composed, counted from 1; a line is drawn before it, and only
            bars from there on are counted.
        title: what stands above.
    """
    figure = plot.new_figure(2.6 * len(pieces) + 1, 2.8 * len(WAYS) + 0.4, 75)
    panels = figure.subplots(len(WAYS), len(pieces), squeeze=False, sharex=True, sharey=True)
    counted = np.arange(len(lines) - 1) >= (first or 1) - 1
    extent = (0.5, len(lines) - 0.5, len(lines) - 0.5, 0.5)
    for line, way in zip(panels, WAYS, strict=True):
        for ax, (name, notes) in zip(line, pieces.items(), strict=True):
            share = similarity(notes, lines, way)
            image = ax.imshow(share, "magma_r", vmin=0, vmax=1, extent=extent)
            ax.set_facecolor("0.85")
            value = _share_in_words(count_repeats(notes, lines, counted)[f"{way}, any"])
            ax.set_title(f"{name}: {way}, {value}", fontsize=9, loc="left")
            if first is not None:
                ax.axhline(first - 0.5, color="C0", linewidth=0.8)
                ax.axvline(first - 0.5, color="C0", linewidth=0.8)

    bar: Any = figure.colorbar(image, ax=panels, shrink=0.5)
    bar.set_label("share of the row's bar found in the column's")
    figure.suptitle(title)
    return write(path, partial(figure.savefig, format="png"))


def _count(repeats: np.ndarray, full: np.ndarray) -> Repeats:
    """How many full bars repeat one, and how many there are."""
    return int((repeats & full).sum()), int(full.sum())


def _share_in_words(count: Repeats) -> str:
    """A count as "54 % come back"."""
    repeats, bars = count
    return f"{repeats / bars:.0%} come back" if bars else "no bar"
