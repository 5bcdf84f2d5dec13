"""A song as a picture and back: `parse(render(song)) == song` for canonical songs.

A picture is uint8 (128, width, 3), RGB, row 0 = pitch 127, a column = a step. A note of velocity v is one pixel
(2v, 0, 0) at its onset and pixels (0, 2v, 0) for the rest of its duration. Chords are solid colours in the top and
bottom `border` rows. The paper's variants (onset style "early", folding) are options.
"""
from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .chords import NO_CHORD, QUALITIES, ROOTS, Chord, reduce_chord
from .errors import OptionError, PictureError
from .notes import MAX_STEPS, NOTE_DTYPE, ReadReport, Song, check_border

ONSET_STYLES = ("start", "early")
PITCHES = 128


class Spans(NamedTuple):
    """What the pixels say: bool (128, width) `onset` and `sustain`, uint8 (128, width) `velocity`, and refusals."""

    onset: np.ndarray
    sustain: np.ndarray
    velocity: np.ndarray
    refused: int


def render(song: Song, start: int = 0, width: int | None = None, parts: Sequence[int | str] | None = None,
           onsets: str = "start", border: int = 8) -> np.ndarray:
    """Draw `width` steps of a song from step `start` as a picture, uint8 (128, width, 3).

    `width` None draws to the song's end. A note that sounds already at `start` begins there with an onset. `parts`
    chooses parts by name or number. `onsets` "start": the note's first pixel is red (2v); "early": a (255, 0, 0) pixel
    stands in the column before the note, as in the paper's first version (lost in column 0). `border` rows at the top
    and bottom hold the chords (0: none). Raises OptionError.
    """
    _check_style(onsets)
    song = song.canonical(parts, border)
    width = max(song.end - start, 1) if width is None else width
    if start < 0 or not 1 <= width <= MAX_STEPS:
        raise OptionError(f"start {start} and width {width}: start must be 0 or more, width 1 to {MAX_STEPS} steps")
    picture = np.zeros((PITCHES, width, 3), np.uint8)
    first = np.maximum(song.notes["onset"] - start, 0)
    last = np.minimum(song.notes["onset"] + song.notes["duration"] - start, width)
    seen = last > first
    first, last = first[seen], last[seen]
    row, value = 127 - song.notes["pitch"][seen], 2 * song.notes["velocity"][seen]
    length = last - first
    columns = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length) + np.repeat(first, length)
    picture[np.repeat(row, length), columns, 1] = np.repeat(value, length)
    if onsets == "start":
        picture[row, first] = 0
        picture[row, first, 0] = value
    else:
        before = first > 0
        picture[row[before], first[before] - 1] = (255, 0, 0)
    if border:
        paint_chords(picture, song.chords, start, border)
    return picture


def parse(picture: np.ndarray, onsets: str = "start", border: int = 8, threshold: int = 0) -> Song:
    """Read a picture, uint8 (128, width, 3), as a Song: the exact inverse of `render` on canonical songs.

    Red or green above `threshold` (of 255) counts as ink; green without a red or green pixel before it is no note,
    it is counted in `song.report.dropped`. Chords are decoded by nearest colour. Raises PictureError, OptionError.
    """
    spans = read_spans(picture, onsets, border, threshold)
    row, onset = np.nonzero(spans.onset)
    notes = np.zeros(len(row), NOTE_DTYPE)
    notes["onset"], notes["pitch"] = onset, 127 - row
    notes["duration"] = _next_false(spans.sustain)[row, onset] - onset
    notes["velocity"] = spans.velocity[row, onset]
    report = ReadReport(kept=len(notes), dropped=spans.refused)
    return Song(notes, read_chords(picture, border), ("all",), report=report)


def read_spans(picture: np.ndarray, onsets: str = "start", border: int = 8, threshold: int = 0) -> Spans:
    """Onset and sustain cells of a picture outside its borders; sustain that belongs to no onset is refused."""
    check_picture(picture)
    check_border(border)
    _check_style(onsets)
    ink = picture[..., :2].copy()
    ink[:border] = 0
    ink[PITCHES - border:] = 0
    ink[ink <= threshold] = 0
    red, green = ink[..., 0].astype(np.int16), ink[..., 1].astype(np.int16)
    if onsets == "early":                          # the red pixel belongs to the silence (or the note) before the onset
        mark = red > green
        green = np.where(mark, 0, green)
        before = np.pad(green > 0, ((0, 0), (1, 0)))[:, :-1]
        onset, sustain, loud = (green > 0) & ~before, (green > 0) & before, green
    else:
        onset, loud = (red > 0) & (red >= green), np.maximum(red, green)
        sustain = (green > 0) & ~onset
    velocity = np.clip((loud + 1) // 2, 1, 127).astype(np.uint8)
    sustain, refused = belonging(onset, sustain)
    return Spans(onset, sustain, velocity, refused)


def draw_spans(onset: np.ndarray, sustain: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """A picture uint8 (128, width, 3) of onset and sustain cells, a whole note as loud as its onset's `velocity`."""
    start = np.maximum.accumulate(np.where(onset, np.arange(onset.shape[1]), 0), axis=1)
    value = 2 * np.take_along_axis(velocity, start, axis=1)
    return np.stack([np.where(onset, value, 0), np.where(sustain, value, 0), np.zeros_like(value)], axis=-1)


def belonging(onset: np.ndarray, sustain: np.ndarray) -> tuple[np.ndarray, int]:
    """The sustain cells that follow an onset without a gap, and how many do not; bool (128, width) each."""
    columns = np.arange(onset.shape[1])
    last = np.maximum.accumulate(np.where(sustain, -1, columns), axis=1)      # the last cell that is no sustain
    good = sustain & (last >= 0) & np.take_along_axis(onset, np.maximum(last, 0), axis=1)
    return good, int(sustain.sum() - good.sum())


def fold(picture: np.ndarray) -> np.ndarray:
    """The paper's square: the second half mirrored left-right under the first, (128, w, 3) -> (256, w / 2, 3)."""
    check_picture(picture)
    if picture.shape[1] % 2:
        raise PictureError(f"{picture.shape[1]} columns cannot be folded; make the width even (512 in the paper)")
    half = picture.shape[1] // 2
    return np.concatenate([picture[:, :half], picture[:, half:][:, ::-1]])


def unfold(square: np.ndarray) -> np.ndarray:
    """The inverse of `fold`: (256, w, 3) -> (128, 2 w, 3)."""
    square = np.asarray(square)
    if square.ndim != 3 or square.shape[0] != 2 * PITCHES or square.shape[2] != 3:
        raise PictureError(f"a folded picture has shape (256, width, 3), not {square.shape}")
    return np.concatenate([square[:PITCHES], square[PITCHES:][:, ::-1]], axis=1)


def to_binary(song: Song, start: int = 0, low: int = 31, size: int = 64) -> np.ndarray:
    """The Stanford form: `size` pitches from `low` x `size` steps from `start`, uint8 (64, 64) of 0/255.

    One bit a cell, so velocity is lost and a repeated note merges with the one before it. Row 0 = highest pitch.
    """
    if not 0 <= low <= PITCHES - size:
        raise OptionError(f"low is {low}; choose 0 to {PITCHES - size}")
    picture = render(song, start, size, border=0)
    return np.where(picture.any(axis=2), 255, 0).astype(np.uint8)[PITCHES - low - size: PITCHES - low]


def from_binary(image: np.ndarray, low: int = 31, velocity: int = 80) -> Song:
    """A Song from a black-and-white picture (height, width), nonzero = sounding; row 0 = pitch low + height - 1."""
    image = np.asarray(image)
    if image.ndim != 2 or not 1 <= image.shape[0] <= PITCHES - low:
        raise PictureError(f"a black-and-white picture has shape (64, width), not {image.shape}")
    lit = image > 0
    onset = lit & ~np.pad(lit, ((0, 0), (1, 0)))[:, :-1]
    row, column = np.nonzero(onset)
    notes = np.zeros(len(row), NOTE_DTYPE)
    notes["onset"], notes["pitch"], notes["velocity"] = column, low + len(image) - 1 - row, velocity
    notes["duration"] = _next_false(lit & ~onset)[row, column] - column
    return Song(notes, parts=("all",), report=ReadReport(kept=len(notes)))


@lru_cache(maxsize=1)
def palette() -> dict[str, tuple[int, int, int]]:
    """The colour of every chord label that a picture can hold: hue by root on the circle of fifths, RGB 0-255.

    The qualities differ in saturation and brightness; "N" is grey, "not known" is black. No colour is white or pure
    blue, which are the colours of a painted mask.
    """
    colours = {NO_CHORD: (110, 110, 110)}
    tints = [(s, v) for s in (0.75, 0.5) for v in (0.86, 0.76, 0.66, 0.56, 0.46, 0.36, 0.26)]
    for i, name in enumerate(ROOTS):
        for quality, (saturation, value) in zip(QUALITIES, tints, strict=True):
            rgb = colorsys.hsv_to_rgb((i * 7 % 12) / 12, saturation, value)
            colours[f"{name}:{quality}"] = (round(255 * rgb[0]), round(255 * rgb[1]), round(255 * rgb[2]))
    return colours


def paint_chords(picture: np.ndarray, chords: Sequence[Chord], start: int = 0, border: int = 8) -> None:
    """Paint chords into the border rows of a picture in place; columns without a chord become black."""
    rows = np.r_[:border, PITCHES - border:PITCHES]
    picture[rows] = 0
    for onset, duration, label in chords:
        picture[rows, max(onset - start, 0):max(onset + duration - start, 0)] = palette()[reduce_chord(label)]


def read_chords(picture: np.ndarray, border: int = 8) -> tuple[Chord, ...]:
    """The chords in a picture's border rows by nearest colour of the palette, equal neighbours joined."""
    if not border:
        return ()
    rows = np.concatenate([picture[:border], picture[PITCHES - border:]])
    colours = np.median(rows, axis=0)              # (width, 3); a few stray pixels do not matter
    labels = ["", *palette()]
    table = np.array([(0, 0, 0), *palette().values()], float)                # black: nothing known
    nearest = np.empty(len(colours), int)
    unique, inverse = np.unique(colours, axis=0, return_inverse=True)
    nearest = ((unique[:, None] - table) ** 2).sum(-1).argmin(1)[inverse.reshape(-1)]
    edges = np.flatnonzero(np.r_[True, np.diff(nearest) != 0, True])
    return tuple(Chord(int(a), int(b - a), labels[nearest[a]])
                 for a, b in pairwise(edges) if nearest[a])


def check_picture(picture: np.ndarray) -> None:
    """Raise PictureError unless `picture` is uint8 (128, width, 3)."""
    shape, dtype = getattr(picture, "shape", None), getattr(picture, "dtype", type(picture))
    if shape is None or len(shape) != 3 or shape[0] != PITCHES or shape[2] != 3 or dtype != np.uint8 or not shape[1]:
        raise PictureError(f"a picture is uint8 (128, width, 3), not {dtype} {shape}; make one with pomkit.render")
    if shape[1] > MAX_STEPS:
        raise PictureError(f"a picture of {shape[1]} columns is too wide (at most {MAX_STEPS}); cut it")


def _next_false(sustain: np.ndarray) -> np.ndarray:
    """For every cell the first column after it that is no sustain cell, int (128, width)."""
    width = sustain.shape[1]
    stop = np.where(np.pad(sustain, ((0, 0), (0, 1))), width, np.arange(width + 1))
    return np.minimum.accumulate(stop[:, ::-1], axis=1)[:, ::-1][:, 1:]


def _check_style(onsets: str) -> None:
    if onsets not in ONSET_STYLES:
        raise OptionError(f"onset style {onsets!r} is unknown; choose one of {', '.join(ONSET_STYLES)}")
