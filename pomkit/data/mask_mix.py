"""The masks of training: of many kinds, drawn at random.

What a model is never asked in training it cannot answer later, so its masks are of every kind that
people may draw: whole bars, one part of the music, boxes, brush strokes, polygons, single cells.
`MASK_MIX` says how often each kind comes; one small function a kind draws it.

    mask = random_mask(np.random.default_rng(0), song, start=0, width=256)
    mask = random_mask(np.random.default_rng(0), song, 0, 256, {"strokes": 1.0})

The law: the same generator gives the same mask. So a function that draws a mask must go on drawing
its numbers in the same order, and a run that shall be resumed must keep `MASK_MIX`: a new kind, or
another share, changes which mask belongs to which window.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import OptionError, shown
from ..music import masks
from ..music.bars import Lines, masked_bars
from ..music.pixels import BORDER, PITCHES, Mask, Picture
from ..music.song import Song
from ..music.tables import BAR

# How often training draws which kind of mask.
MASK_MIX = {
    "all": 0.2,
    "chords only": 0.08,
    "bars": 0.22,
    "melody": 0.1,
    "accompaniment": 0.1,
    "rectangles": 0.1,
    "strokes": 0.1,
    "polygons": 0.08,
    "noise": 0.02,
}


def onsets_per_bar(picture: Picture, mask: Mask, bars: Lines | None = None) -> float:
    """How many notes begin in a masked bar, on average; the chord rows do not count.

    Args:
        picture: uint8 (128, width, 3).
        mask: bool (128, width).
        bars: steps of a song's bar lines. None: a bar is 16 steps, as for every density that a
            model learns; masked bars are then masked columns / 16.
    """
    notes = mask & masks.everything(mask)
    onsets = int(((picture[..., 0] > 0) & notes).sum())
    if bars is not None:
        return onsets / max(masked_bars(notes, bars), 1 / BAR)
    columns = int(notes.any(axis=0).sum())
    return float(onsets * BAR / max(columns, 1))


def check_mix(mix: Any) -> dict[str, float]:
    """The kinds of masks and their shares, as they are.

    Raises:
        OptionError: a kind does not exist, or a share is no number from 0 on, or all are 0.
    """
    unknown = sorted(map(str, set(mix) - set(MASK_MIX))) if isinstance(mix, Mapping) else [mix]
    if unknown:
        raise OptionError(
            f"the mask mix names {shown(unknown[0])}; choose from {', '.join(MASK_MIX)}, like "
            '{"melody": 0.5, "bars": 0.5}'
        )
    for kind, share in mix.items():
        is_number = isinstance(share, int | float) and not isinstance(share, bool)
        if not is_number or not 0 <= share < float("inf"):
            raise OptionError(f"the share of {kind} masks is {shown(share)}; give a number from 0")
    if not sum(mix.values()):
        raise OptionError("the shares of all masks are 0; give one of them a number above 0")
    return dict(mix)


def draw_kind(rng: np.random.Generator, mix: Mapping[str, float]) -> str:
    """Draw a kind of mask from `mix` (kind: share)."""
    shares = np.array(list(mix.values()))
    return str(rng.choice(list(mix), p=shares / sum(mix.values())))


def random_mask(
    rng: np.random.Generator,
    song: Song,
    start: int,
    width: int,
    mix: Mapping[str, float] = MASK_MIX,
) -> Mask:
    """Draw a mask as training does; its chord rows stay known.

    The kinds:
        "all", "chords only": everything; of the latter training always shows the chords.
        "bars": one to three runs of bars.
        "melody", "accompaniment": a part (in a song of one part its highest notes, or the others),
            half the time in runs of bars only.
        "rectangles": 2 to 8.
        "strokes": 2 to 5 bent brush strokes.
        "polygons": 1 to 4 of 3 to 8 corners.
        "noise": each cell with the same random probability.

    Args:
        rng: the source of all that is drawn.
        song: whose parts are masked.
        start: the first step of the mask in the song.
        width: of the mask, in steps.
        mix: kinds and their shares.

    Returns:
        bool (128, width), True somewhere.

    Raises:
        OptionError: `mix` has a kind that does not exist.
    """
    kind = draw_kind(rng, mix)
    if kind in PART_KINDS:
        part = PART_KINDS[kind](song, start=start, width=width)
        mask = _part_or_its_bars(rng, part, bar_edges(song, start, width))
    elif kind == "bars":
        mask = _runs_of_bars(rng, bar_edges(song, start, width))
    elif kind in SHAPE_KINDS:
        mask = SHAPE_KINDS[kind](rng, width)
    else:
        raise OptionError(f"mask kind {kind!r} is unknown; choose from {', '.join(MASK_MIX)}")

    inside = masks.everything(width)
    mask &= inside
    return mask if mask.any() else inside  # an empty mask teaches nothing: all cells


# One function a kind: a generator and a width in steps give bool (128, width)


def _nothing(width: int) -> Mask:
    """A mask without a cell, to draw on."""
    return np.zeros((PITCHES, width), bool)


def _everything(rng: np.random.Generator, width: int) -> Mask:
    """All cells; nothing is drawn."""
    return ~_nothing(width)


def bar_edges(song: Song, start: int, width: int) -> np.ndarray:
    """Columns where the bars of a window begin and end: whole bars, and what is left at the end.

    Args:
        song: whose bars they are.
        start: the step of the window's first column.
        width: of the window.

    Returns:
        Increasing, from 0 to the width, int (bars + 1,).
    """
    lines = song.bar_lines(start + width) - start
    inside = lines[(lines > 0) & (lines < width)]
    return np.array([0, *inside, width])


def _runs_of_bars(rng: np.random.Generator, edges: np.ndarray) -> Mask:
    """One to three runs of whole bars, each of at most half of them; `edges` as of `bar_edges`."""
    mask = _nothing(int(edges[-1]))
    count = len(edges) - 1
    for _ in range(rng.integers(1, 4)):
        length = int(rng.integers(1, max(count // 2, 1) + 1))
        first = int(rng.integers(0, max(count - length, 0) + 1))
        mask[:, edges[first] : edges[first + length]] = True
    return mask


def _part_or_its_bars(rng: np.random.Generator, part: Mask, edges: np.ndarray) -> Mask:
    """A part whole, or half the time (where it plays there) in runs of bars only."""
    in_bars = part & _runs_of_bars(rng, edges)
    return in_bars if rng.random() < 0.5 and in_bars.any() else part


def _rectangles(rng: np.random.Generator, width: int) -> Mask:
    """2 to 8 rectangles of at most 48 pitches and half the width."""
    mask = _nothing(width)
    for _ in range(rng.integers(2, 9)):
        top = rng.integers(BORDER, PITCHES - 2 * BORDER)
        left = rng.integers(0, width - 4)
        bottom = top + rng.integers(4, 49)
        right = left + rng.integers(4, width // 2)
        mask[top:bottom, left:right] = True
    return mask


def _strokes(rng: np.random.Generator, width: int) -> Mask:
    """2 to 5 brush strokes through 2 to 6 points, half of them from left to right."""
    mask = _nothing(width)
    for _ in range(rng.integers(2, 6)):
        count = rng.integers(2, 7)
        points = rng.uniform((0, 30), (width, 100), (count, 2))  # (points, 2): step, pitch
        if rng.random() < 0.5:
            points = np.sort(points, axis=0)
        mask |= masks.stroke(width, points, rng.uniform(2, 12))
    return mask


def _polygons(rng: np.random.Generator, width: int) -> Mask:
    """1 to 4 polygons of 3 to 8 corners around a centre."""
    mask = _nothing(width)
    for _ in range(rng.integers(1, 5)):
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))  # (corners,)
        share = rng.uniform(0.3, 1, (len(angle), 1))  # (corners, 1)
        radius = rng.uniform((8, 4), (width / 3, 30))  # (2,): in steps and pitches
        centre = rng.uniform((0, 30), (width, 100))  # (2,): step and pitch
        corners = centre + share * radius * np.c_[np.cos(angle), np.sin(angle)]  # (corners, 2)
        mask |= masks.polygon(width, corners)
    return mask


def _noise(rng: np.random.Generator, width: int) -> Mask:
    """Single cells, each with the same probability."""
    chance = rng.random((PITCHES, width))
    return chance < rng.uniform(0.1, 0.9)


PART_KINDS: dict[str, Callable[..., Mask]] = {
    "melody": masks.melody,
    "accompaniment": masks.accompaniment,
}
SHAPE_KINDS: dict[str, Callable[[np.random.Generator, int], Mask]] = {
    "all": _everything,
    "chords only": _everything,
    "rectangles": _rectangles,
    "strokes": _strokes,
    "polygons": _polygons,
    "noise": _noise,
}
