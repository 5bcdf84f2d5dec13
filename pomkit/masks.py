"""Masks: the region that the model shall compose, bool (128, width), True = regenerate.

Row 0 = pitch 127, a column = a step. Bars count from 1; bars and pitches are inclusive, steps half-open. Bar lines come
from a Song or from `bars=` (steps of the bar lines), else bars of 4/4 are assumed. Masks combine with `|`, `&` and `~`.
The chord rows at the top and bottom stay known unless `chords=True` or `masks.chords` is added.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .errors import OptionError, PictureError
from .notes import Song
from .picture import PITCHES

if TYPE_CHECKING:
    from PIL.Image import Image

Size = np.ndarray | Song | int          # whatever tells a width: a picture or mask, a song, or a number of steps


def box(picture: Size, pitch: tuple[int, int] | None = None, steps: tuple[int, int] | None = None, *,
        border: int = 8) -> np.ndarray:
    """A rectangle: pitches from `pitch[0]` to `pitch[1]` inclusive (None: all but the chord rows), steps half-open."""
    mask = _empty(picture)
    low, high = (border, PITCHES - 1 - border) if pitch is None else pitch
    first, last = (0, mask.shape[1]) if steps is None else steps
    if not 0 <= low <= high <= 127:
        raise OptionError(f"pitch ({low}, {high}): choose low <= high within 0 to 127 (C4 = 60)")
    if not 0 <= first < last <= mask.shape[1]:
        raise OptionError(f"steps ({first}, {last}): choose first < last within 0 to {mask.shape[1]}")
    mask[127 - high:128 - low, first:last] = True
    return mask


def everything(picture: Size, chords: bool = False, border: int = 8) -> np.ndarray:
    """All cells, without the chord rows unless `chords`."""
    return box(picture, (0, 127) if chords else None, border=border)


def bars(picture: Size, first: int, last: int | None = None, bars: Sequence[int] | None = None,
         chords: bool = False, border: int = 8) -> np.ndarray:
    """Whole bars `first` to `last`, counted from 1, both included; bar lines from `bars`, a Song, or 4/4."""
    width = _width(picture)
    last = first if last is None else last
    if bars is None:
        lines = picture.bar_lines() if isinstance(picture, Song) else np.arange(0, width + 16, 16)
    else:
        lines = np.unique(np.r_[bars, width])
    count = int(np.searchsorted(lines, width))          # bars that begin inside the picture
    if not 1 <= first <= last <= count:
        raise OptionError(f"bars {first} to {last}: choose first <= last within 1 to {count}")
    steps = (int(lines[first - 1]), int(min(lines[last], width)))
    return box(width, (0, 127) if chords else None, steps, border=border)


def continuation(picture: Size, keep: int = 256, chords: bool = False, border: int = 8) -> np.ndarray:
    """Everything from step `keep` on: the model goes on where the music stops."""
    width = _width(picture)
    if not 0 <= keep < width:
        raise OptionError(f"keep is {keep} steps; choose 0 to {width - 1}, so that something is left to compose")
    return box(width, (0, 127) if chords else None, (keep, width), border=border)


def melody(song: Song, part: int | str | None = None, start: int = 0, width: int | None = None, margin: int = 5,
           border: int = 8) -> np.ndarray:
    """The melody's pitch range +- `margin` semitones, except the cells where another part sounds.

    Never only the melody's own cells, which would give the answer away. The melody is `part`, else the part that is
    named so, else the highest one; in a song of one part, the highest note at every onset (skyline).
    """
    return _around(song, melody_notes(song, part), start, width, margin, border)


def accompaniment(song: Song, part: int | str | None = None, start: int = 0, width: int | None = None,
                  margin: int = 5, border: int = 8) -> np.ndarray:
    """The pitch range of everything but the melody +- `margin` semitones, except the melody's cells."""
    return _around(song, ~melody_notes(song, part), start, width, margin, border)


def melody_notes(song: Song, part: int | str | None = None) -> np.ndarray:
    """Which notes are the melody, bool (notes,): see `melody`."""
    notes = song.notes
    if part is not None:
        return song.select([part])
    used = np.unique(notes["part"])
    if len(used) > 1:
        words = ("melody", "vocal", "voice", "lead", "sopran")
        named = [i for i in used if any(word in song.parts[i].lower() for word in words)]
        candidates = named or used
        best = max(candidates, key=lambda i: notes["pitch"][notes["part"] == i].mean())
        return notes["part"] == best
    # Skyline: a note is melody when it is the highest at its onset and no earlier note sounds above it.
    highest = np.zeros(song.end + 1, int)
    for onset, duration, pitch, _, _ in notes.tolist():
        np.maximum(highest[onset:onset + duration], pitch, out=highest[onset:onset + duration])
    return notes["pitch"] >= highest[notes["onset"]]


def stroke(picture: Size, points: Sequence[tuple[float, float]] | np.ndarray, radius: float = 2.0) -> np.ndarray:
    """A brush stroke through `points` (step, pitch), both counted at cell centres; `radius` in cells."""
    mask = _empty(picture)
    path = np.asarray(points, float).reshape(-1, 2)
    if not len(path) or not np.isfinite(path).all() or not 0 < radius <= PITCHES:
        raise OptionError("a stroke needs at least one finite (step, pitch) point and a radius from 0 to 128 cells")
    path = np.c_[127 - path[:, 1], path[:, 0]]                                # to (row, column)
    if len(path) == 1:
        path = np.repeat(path, 2, axis=0)
    for a, b in zip(path[:-1], path[1:], strict=True):                        # distance from cells to the segment a-b
        low = np.maximum(np.floor(np.minimum(a, b) - radius), 0).astype(int)
        high = np.minimum(np.ceil(np.maximum(a, b) + radius) + 1, mask.shape).astype(int)
        if (high <= low).any():
            continue
        cells = np.moveaxis(np.mgrid[low[0]:high[0], low[1]:high[1]], 0, -1)
        along = np.clip(((cells - a) @ (b - a)) / max(((b - a) ** 2).sum(), 1e-12), 0, 1)
        near = ((cells - a - along[..., None] * (b - a)) ** 2).sum(-1) <= radius**2
        mask[low[0]:high[0], low[1]:high[1]] |= near
    return mask


def polygon(picture: Size, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """The inside of the polygon through at least three `points` (step, pitch), its edge included."""
    from PIL import Image, ImageDraw

    width = _width(picture)
    if len(points) < 3 or not np.isfinite(np.asarray(points, float)).all():
        raise OptionError("a polygon needs at least three finite (step, pitch) points")
    image = Image.new("1", (width, PITCHES))
    ImageDraw.Draw(image).polygon([(float(x), 127 - float(y)) for x, y in points], fill=1, outline=1)
    return np.array(image, bool)


def chords(picture: Size, steps: tuple[int, int] | None = None, border: int = 8) -> np.ndarray:
    """The chord rows at the top and bottom, over `steps` (None: all)."""
    return box(picture, (0, 127), steps) & ~box(picture, border=border)


def from_image(image: np.ndarray | Image) -> np.ndarray:
    """The mask that was painted into an image: white paint is True, and pure blue as in the paper's figures."""
    pixels = np.asarray(image if isinstance(image, np.ndarray) else image.convert("RGB"))
    if pixels.ndim != 3 or pixels.shape[0] != PITCHES or pixels.shape[2] < 3:
        raise PictureError(f"a painted picture has shape (128, width, 3), not {pixels.shape}")
    red, green, blue = (pixels[..., i] for i in range(3))
    white = (red > 180) & (green > 180) & (blue > 180)
    return white | ((blue > 200) & (red < 50) & (green < 50))


def paint(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with white paint where `mask` is True; `from_image` reads it back."""
    painted = picture.copy()
    painted[check_mask(mask, picture)] = 255
    return painted


def from_text(text: str, song: Song, start: int = 0, width: int | None = None) -> np.ndarray:
    """A mask from the command line's words, over `width` steps of `song` from `start`.

    "melody", "accompaniment", "continuation[:keep steps]", "bars:8-12", "box:60-72,64-128" (pitches, steps),
    "chords", "all", or the path of an image with white paint; several joined by "+".
    """
    width = song.end - start if width is None else width
    lines = song.bar_lines(start + width) - start
    mask = np.zeros((PITCHES, width), bool)
    for word in text.split("+"):
        kind, _, rest = word.strip().partition(":")
        try:
            numbers = [int(n) for n in rest.replace("-", ",").split(",")] if rest else []
            if kind in ("melody", "accompaniment") and not rest:
                mask |= (melody if kind == "melody" else accompaniment)(song, start=start, width=width)
            elif kind == "continuation" and len(numbers) <= 1:
                middle = int(lines[np.abs(lines - width / 2).argmin()])
                mask |= continuation(width, numbers[0] if numbers else middle)
            elif kind == "bars" and 1 <= len(numbers) <= 2:
                mask |= bars(width, numbers[0], numbers[-1], bars=lines[lines >= 0].tolist())
            elif kind == "box" and len(numbers) == 4:
                mask |= box(width, (numbers[0], numbers[1]), (numbers[2], numbers[3]))
            elif kind == "chords" and not rest:
                mask |= chords(width)
            elif kind == "all" and not rest:
                mask |= everything(width)
            else:
                raise ValueError
        except ValueError as fault:
            if isinstance(fault, OptionError):
                raise
            raise OptionError(f"mask {word!r} is not understood; write melody, accompaniment, continuation, "
                              "continuation:256, bars:8-12, box:60-72,64-128, chords or all") from fault
    return mask


def check_mask(mask: np.ndarray, picture: Size) -> np.ndarray:
    """The mask as bool (128, width); PictureError unless it has the picture's size and a Boolean type."""
    mask, shape = np.asarray(mask), (PITCHES, _width(picture))
    if mask.shape != shape or mask.dtype != bool:
        raise PictureError(f"the mask is {mask.dtype} {mask.shape}, it must be bool {shape} as the picture "
                           "(True = regenerate)")
    return mask


def _around(song: Song, chosen: np.ndarray, start: int, width: int | None, margin: int, border: int) -> np.ndarray:
    """Pitch range of the chosen notes +- margin, without the cells of the others."""
    width = song.end - start if width is None else width
    mask = np.zeros((PITCHES, width), bool)
    if not chosen.any():
        return mask
    pitch = song.notes["pitch"][chosen]
    low, high = max(int(pitch.min()) - margin, border), min(int(pitch.max()) + margin, PITCHES - 1 - border)
    mask[127 - high:128 - low] = True
    for onset, duration, other, _, _ in song.notes[~chosen].tolist():
        mask[127 - other, max(onset - start, 0):max(onset + duration - start, 0)] = False
    return mask


def _width(size: Size) -> int:
    if isinstance(size, Song):
        return size.end
    width = size.shape[1] if isinstance(size, np.ndarray) and size.ndim >= 2 else size
    if isinstance(width, np.ndarray) or width < 1:
        raise OptionError("a mask needs a picture, a song or a number of steps of at least 1")
    return int(width)


def _empty(size: Size) -> np.ndarray:
    return np.zeros((PITCHES, _width(size)), bool)
