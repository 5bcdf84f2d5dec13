"""Masks: the region that the model shall compose, bool (128, width), True = regenerate.
Row 0 = pitch 127, a column = a step. Bars count from 1; bars and pitches are inclusive, steps half-open. Bar lines come from a
Song (of any grid) or from `bars=` (their steps), else bars of 4/4 at 4 steps a beat are assumed. Masks combine with `|`, `&`
and `~`. The chord rows at the top and bottom, `border` each, stay known unless `chords=True` or `masks.chords` is added."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import OptionError, PictureError, check_range
from .picture import PITCHES, decode, painted
from .song import Song

Size = (
    np.ndarray | Song | int
)  # whatever tells a width: a picture or mask, a song, or a number of steps
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def box(
    picture: Size,
    pitch: tuple[int, int] | None = None,
    steps: tuple[int, int] | None = None,
    *,
    border: int = 8,
) -> np.ndarray:
    """A rectangle: pitches from `pitch[0]` to `pitch[1]` inclusive (None: all but the chord rows), steps half-open."""
    width, (low, high) = _width(picture), pitch or (border, PITCHES - 1 - border)
    first, last = steps or (0, width)
    if not 0 <= low <= high <= 127 or not 0 <= first < last <= width:
        raise OptionError(
            f"pitch ({low}, {high}), steps ({first}, {last}): give rising ones within 0-127 (C4 = 60), 0-{width}"
        )
    mask = np.zeros((PITCHES, width), bool)
    mask[127 - high : 128 - low, first:last] = True
    return mask


def everything(picture: Size, chords: bool = False, border: int = 8) -> np.ndarray:
    """All cells, without the chord rows unless `chords`."""
    return box(picture, (0, 127) if chords else None, border=border)


def bars(
    picture: Size,
    first: int,
    last: int | None = None,
    bars: Sequence[int] | None = None,
    chords: bool = False,
    border: int = 8,
) -> np.ndarray:
    """Whole bars `first` to `last`, counted from 1, both included; bar lines from `bars`, a Song, or 4/4."""
    width, last = _width(picture), first if last is None else last
    if bars is None:
        bars = picture.bar_lines().tolist() if isinstance(picture, Song) else range(0, width, 16)
    lines = np.unique([*bars, width]).tolist()
    count = lines.index(width)  # bars that begin inside the picture
    if not 1 <= first <= last <= count:
        raise OptionError(f"bars {first} to {last}: choose first <= last within 1 to {count}")
    return box(width, (0, 127) if chords else None, (lines[first - 1], lines[last]), border=border)


def continuation(
    picture: Size, keep: int = 256, chords: bool = False, border: int = 8
) -> np.ndarray:
    """Everything from step `keep` on: the model goes on where the music stops."""
    width = _width(picture)
    check_range("keep", keep, 0, width - 1, unit="steps, so that something is left to compose")
    return box(width, (0, 127) if chords else None, (keep, width), border=border)


def melody(
    song: Song, part: int | str | None = None, start: int = 0, width: int | None = None
) -> np.ndarray:
    """The melody's pitch range +- 5 semitones, without other parts' cells: only its own cells would give the answer away."""
    return _around(song, melody_notes(song, part), start, width)


def accompaniment(
    song: Song, part: int | str | None = None, start: int = 0, width: int | None = None
) -> np.ndarray:
    """The pitch range of everything but the melody +- 5 semitones, except the melody's cells."""
    return _around(song, ~melody_notes(song, part), start, width)


def melody_notes(song: Song, part: int | str | None = None) -> np.ndarray:
    """Which notes are the melody, bool (notes,): `part`, else the one named so, else the highest; of one part the skyline."""
    notes = song.notes
    if part is not None:
        return song.select([part])
    used = np.unique(notes["part"])
    if len(used) > 1:
        named = [
            i for i in used if re.search("melody|vocal|voice|lead|sopran", song.parts[i].lower())
        ]
        return notes["part"] == max(
            named or used, key=lambda i: notes["pitch"][notes["part"] == i].mean()
        )
    highest = np.zeros(
        song.end + 1, int
    )  # skyline: the highest note at its onset, with no earlier one sounding above it
    for onset, duration, pitch, _, _ in notes.tolist():
        np.maximum(highest[onset : onset + duration], pitch, out=highest[onset : onset + duration])
    return notes["pitch"] >= highest[notes["onset"]]


def stroke(
    picture: Size, points: Sequence[tuple[float, float]] | np.ndarray, radius: float = 2.0
) -> np.ndarray:
    """A brush stroke through `points` (step, pitch), both counted at cell centres; `radius` in cells."""
    mask = np.zeros((PITCHES, _width(picture)), bool)
    path = np.asarray(points, float).reshape(-1, 2)
    if not len(path) or not np.isfinite(path).all() or not 0 < radius <= PITCHES:
        raise OptionError(
            "a stroke needs at least one finite (step, pitch) point and a radius from 0 to 128 cells"
        )
    path = np.c_[127 - path[:, 1], path[:, 0]]  # to (row, column)
    for a, b in pairwise(
        path if len(path) > 1 else path[[0, 0]]
    ):  # distance from cells to the segment a-b
        top, left = np.maximum(np.floor(np.minimum(a, b) - radius), 0).astype(int)
        bottom, right = np.maximum(np.ceil(np.maximum(a, b) + radius) + 1, 0).astype(int)
        window = mask[top:bottom, left:right]  # a view: the only cells that can be near
        cells = np.moveaxis(np.indices(window.shape), 0, -1) + (top, left)
        along = np.clip(((cells - a) @ (b - a)) / max(((b - a) ** 2).sum(), 1e-12), 0, 1)
        window |= ((cells - a - along[..., None] * (b - a)) ** 2).sum(-1) <= radius**2
    return mask


def polygon(picture: Size, points: Sequence[tuple[float, float]]) -> np.ndarray:
    """The inside of the polygon through at least three `points` (step, pitch), its edge included."""
    from PIL import Image, ImageDraw

    if len(points) < 3 or not np.isfinite(np.asarray(points, float)).all():
        raise OptionError("a polygon needs at least three finite (step, pitch) points")
    image = Image.new("1", (_width(picture), PITCHES))
    ImageDraw.Draw(image).polygon(
        [(float(x), 127 - float(y)) for x, y in points], fill=1, outline=1
    )
    return np.array(image, bool)


def chords(picture: Size, steps: tuple[int, int] | None = None, border: int = 8) -> np.ndarray:
    """The chord rows at the top and bottom, over `steps` (None: all)."""
    return box(picture, (0, 127), steps) & ~box(picture, border=border)


def from_image(image: Any) -> np.ndarray:
    """The mask painted into an image (array, PIL image, file): white paint is True, and pure blue as in the paper's figures."""
    pixels = image if isinstance(image, np.ndarray) else decode(image, "RGB")
    if pixels.ndim != 3 or pixels.shape[0] != PITCHES or pixels.shape[2] < 3:
        raise PictureError(f"a painted picture has shape (128, width, 3), not {pixels.shape}")
    return painted(pixels[..., :3])


def paint(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with white paint where `mask` is True; `from_image` reads it back."""
    return np.where(check_mask(mask, picture)[..., None], np.uint8(255), picture)


def from_text(text: str, song: Song, start: int = 0, width: int | None = None) -> np.ndarray:
    """A mask from the command line's words, over `width` steps of `song` from `start`. Raises OptionError, PictureError.
    "melody", "accompaniment", "continuation[:keep steps]", "bars:8-12", "box:60-72,64-128" (pitches, steps), "chords", "all",
    several joined by "+"; or the path of an image with white paint."""
    width = song.end - start if width is None else width
    if text.lower().endswith(IMAGE_FILES):
        return check_mask(from_image(text), width)
    lines = song.bar_lines(start + width) - start
    middle, inside = int(lines[np.abs(lines - width / 2).argmin()]), lines[lines >= 0].tolist()
    kinds: dict[
        tuple[str, int], Callable[..., np.ndarray]
    ] = {  # word and how many numbers follow it
        ("melody", 0): partial(melody, song, None, start, width),
        ("chords", 0): partial(chords, width),
        ("accompaniment", 0): partial(accompaniment, song, None, start, width),
        ("all", 0): partial(everything, width),
        ("continuation", 0): partial(continuation, width, middle),
        ("continuation", 1): partial(continuation, width),
        ("bars", 1): partial(bars, width, bars=inside),
        ("bars", 2): partial(bars, width, bars=inside),
        ("box", 4): lambda low, high, first, last: box(width, (low, high), (first, last)),
    }
    mask = np.zeros((PITCHES, width), bool)
    for word in text.split("+"):
        kind, _, rest = word.strip().partition(":")
        numbers = re.split("[-,]", rest) if rest else []
        if (kind, len(numbers)) not in kinds or not all(n.strip().isdecimal() for n in numbers):
            raise OptionError(
                f"mask {word!r} is not understood; write melody, accompaniment, continuation, continuation:256, "
                "bars:8-12, box:60-72,64-128, chords or all"
            )
        mask |= kinds[kind, len(numbers)](*map(int, numbers))
    return mask


def check_mask(mask: np.ndarray, picture: Size) -> np.ndarray:
    """The mask as bool (128, width); PictureError unless it has the picture's size and a Boolean type."""
    mask, shape = np.asarray(mask), (PITCHES, _width(picture))
    if mask.shape != shape or mask.dtype != bool:
        raise PictureError(
            f"the mask is {mask.dtype} {mask.shape}, it must be bool {shape} as the picture (True = regenerate)"
        )
    return mask


def _around(
    song: Song, chosen: np.ndarray, start: int, width: int | None, border: int = 8
) -> np.ndarray:
    """Pitch range of the chosen notes +- 5, without the cells of the others."""
    mask = np.zeros((PITCHES, song.end - start if width is None else width), bool)
    if chosen.any():  # min and max: nothing where all pitches lie in the border
        pitch = song.notes["pitch"][chosen]
        mask[127 - min(pitch.max() + 5, 127 - border) : 128 - max(pitch.min() - 5, border)] = True
    for onset, duration, other, _, _ in song.notes[~chosen].tolist():
        mask[127 - other, max(onset - start, 0) : max(onset + duration - start, 0)] = False
    return mask


def _width(size: Size) -> int:
    if isinstance(size, Song):
        return size.end
    width = size.shape[1] if isinstance(size, np.ndarray) and size.ndim >= 2 else size
    if isinstance(width, np.ndarray) or width < 1:
        raise OptionError("a mask needs a picture, a song or a number of steps of at least 1")
    return int(width)
