"""Masks: the region that the model shall compose, bool (128, width), True = regenerate.

Row 0 is pitch 127, a column is a step. Bars count from 1 (a pickup is bar 1); bars and pitches are
inclusive, steps half-open. Bar lines come from a Song (of any grid) or from `bars=` (their steps),
else bars of 4/4 at 4 steps a beat are assumed. The chord rows at the top and bottom stay known
unless `chords=True` or `masks.chords` is added. Masks combine with `|`, `&` and `~`:

    mask = masks.bars(song, 9, 12)                         # four bars
    mask = masks.melody(song) & ~masks.bars(song, 1)       # the melody without its first bar
    mask = masks.from_image("painted.png")                 # white paint
    mask = masks.doubtful(picture, model)                  # the notes that a model finds oddest

The first argument says how wide the mask is: a picture, another mask, a Song or a number of steps.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from ..errors import (
    OptionError,
    PictureError,
    check_flag,
    check_kind,
    check_range,
    check_whole,
    refused,
    shown,
)
from ..faces import face
from .images import decode, flat_pixels
from .pixels import BORDER, PITCHES, Mask, Picture, check_picture, painted, row_of_pitch
from .song import Song
from .tables import BAR, DURATION_ROW, MAX_STEPS, ONSET_ROW, PITCH_ROW, columns_of

# Whatever tells a width: a picture or mask, a song, or a number of steps.
Size = np.ndarray | Song | int
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
MARGIN = 5  # semitones around the pitches of a melody or an accompaniment
MELODY_NAME = re.compile("melody|vocal|voice|lead|sopran")
ALL_PITCHES = (0, PITCHES - 1)
NOTE_PITCHES = (BORDER, PITCHES - 1 - BORDER)

# What needs a model stands on a floor above.
__getattr__ = face(__name__, {"..composing.doubting": "doubtful"})[1]


def box(
    picture: Size, pitch: tuple[int, int] | None = None, steps: tuple[int, int] | None = None
) -> Mask:
    """A rectangle.

    Args:
        picture: what tells the width.
        pitch: lowest and highest pitch, both included (None: all but the chord rows).
        steps: first step and the one after the last (None: all).

    Returns:
        bool (128, width).

    Raises:
        OptionError: a pitch or step is outside the picture, or they fall.
    """
    width = _width(picture)
    low, high = _pair("pitch", NOTE_PITCHES if pitch is None else pitch)
    first, last = _pair("steps", (0, width) if steps is None else steps)
    if not 0 <= low <= high < PITCHES or not 0 <= first < last <= width:
        raise OptionError(
            f"pitch ({shown(low)}, {shown(high)}), steps ({shown(first)}, {shown(last)}) fall, or "
            f"lie outside the picture; give rising ones within 0-127 (C4 = 60), 0-{width}"
        )
    mask = np.zeros((PITCHES, width), bool)
    mask[row_of_pitch(high) : row_of_pitch(low) + 1, first:last] = True
    return mask


def everything(picture: Size, chords: bool = False) -> Mask:
    """All cells, without the chord rows unless `chords`; bool (128, width)."""
    return box(picture, _pitches(chords))


def bars(
    picture: Size,
    first: int,
    last: int | None = None,
    bars: Sequence[int] | np.ndarray | None = None,
    *,
    chords: bool = False,
) -> Mask:
    """Whole bars.

    Args:
        picture: what tells the width, and as a Song also the bar lines.
        first: the first bar, counted from 1 at step 0; a pickup is bar 1.
        last: the last bar, included (None: the first).
        bars: steps of the bar lines (None: the Song's, else bars of 4/4).
        chords: take the chord rows, too.

    Returns:
        bool (128, width).

    Raises:
        OptionError: there are no such bars.
    """
    width = _width(picture)
    last = first if last is None else last
    if bars is None and isinstance(picture, Song):
        bars = picture.bar_lines()
    elif bars is None:
        bars = range(0, width, BAR)

    # No lines, as in a Song whose file names none: 4/4.
    with refused("bars", bars, "give the steps of the bar lines"):
        known = [int(line) for line in bars] or range(0, width, BAR)
        lines = np.unique([*known, width]).tolist()
    count = lines.index(width)  # bars that begin inside the picture
    for which, bar in (("first bar", first), ("last bar", last)):
        check_whole(which, bar, 1, count)
    if first > last:
        raise OptionError(f"bars {first} to {last}: choose first <= last within 1 to {count}")
    return box(width, _pitches(chords), (lines[first - 1], lines[last]))


def continuation(picture: Size, keep: int = 256, chords: bool = False) -> Mask:
    """Everything from a step on: the model goes on where the music stops.

    Args:
        picture: what tells the width.
        keep: how many steps stay.
        chords: take the chord rows, too.

    Returns:
        bool (128, width).

    Raises:
        OptionError: nothing is left to compose.
    """
    width = _width(picture)
    check_whole("keep", keep, 0, width - 1, unit="steps, so that something is left to compose")
    return box(width, _pitches(chords), (keep, width))


def chords(picture: Size, steps: tuple[int, int] | None = None) -> Mask:
    """The chord rows at the top and bottom, over `steps` (None: all); bool (128, width)."""
    return box(picture, ALL_PITCHES, steps) & ~box(picture)


def melody(
    song: Song, part: int | str | None = None, start: int = 0, width: int | None = None
) -> Mask:
    """The melody's range of pitches and 5 semitones around it, without the cells of other parts.

    Only the melody's own cells would give the answer away.

    Args:
        song: whose melody it is.
        part: the melody's name or number (None: it is looked for, see `melody_notes`).
        start: the step that is column 0.
        width: how many steps (None: to the song's end).

    Returns:
        bool (128, width).

    Raises:
        OptionError: there is no such part.
    """
    return _around(song, melody_notes(song, part), start, width)


def accompaniment(
    song: Song, part: int | str | None = None, start: int = 0, width: int | None = None
) -> Mask:
    """The range of all but the melody and 5 semitones around it, without the melody's cells.

    Args:
        song: whose accompaniment it is.
        part: the melody's name or number (None: it is looked for, see `melody_notes`).
        start: the step that is column 0.
        width: how many steps (None: to the song's end).

    Returns:
        bool (128, width).

    Raises:
        OptionError: there is no such part.
    """
    return _around(song, ~melody_notes(song, part), start, width)


def melody_notes(song: Song, part: int | str | None = None) -> np.ndarray:
    """Which notes are the melody: of one part its highest notes, else a whole part.

    Args:
        song: whose melody it is.
        part: its name or number (None: the part with a melody's name, else the highest part).

    Returns:
        bool (notes,).

    Raises:
        OptionError: there is no such part.
    """
    check_kind("the song", song, Song, "give a Song, as read_midi reads one")
    if part is not None:
        return song.select(part)
    part_of_note = song.notes["part"]
    used = np.unique(part_of_note)
    if len(used) <= 1:
        return _skyline(song)

    def height(number: int) -> float:
        return song.notes["pitch"][part_of_note == number].mean()

    named = [number for number in used if MELODY_NAME.search(song.parts[number].lower())]
    return part_of_note == max(named or used, key=height)


def _skyline(song: Song) -> np.ndarray:
    """The highest notes at their onset, with no earlier one sounding above them; bool (notes,)."""
    highest = np.zeros(song.end + 1, int)
    for onset, duration, pitch, _, _ in song.notes.tolist():
        steps = highest[onset : onset + duration]
        np.maximum(steps, pitch, out=steps)
    return song.notes["pitch"] >= highest[song.notes["onset"]]


def _around(song: Song, chosen: np.ndarray, start: int, width: int | None) -> Mask:
    """The range of `chosen` notes, bool (notes,), +- MARGIN, without the cells of the others."""
    check_whole("start", start, 0, MAX_STEPS, unit="steps")
    mask = np.zeros((PITCHES, _width(song.end - start if width is None else width)), bool)

    # The range stays within the rows of notes; there may be nothing of it.
    if chosen.any():
        pitch = song.notes["pitch"][chosen]
        low = max(pitch.min() - MARGIN, NOTE_PITCHES[0])
        high = min(pitch.max() + MARGIN, NOTE_PITCHES[1])
        mask[row_of_pitch(high) : row_of_pitch(low) + 1] = True

    others = columns_of(song.notes[~chosen])
    return mask & ~cells_of(others, mask.shape[1], start)


def cells_of(columns: np.ndarray, width: int, start: int) -> Mask:
    """The cells in which notes sound.

    Args:
        columns: the notes, int64 (5, notes).
        width: of the picture.
        start: the step of the song that is column 0.

    Returns:
        bool (128, width).
    """
    row = row_of_pitch(columns[PITCH_ROW])
    first, last = columns_within(columns, width, start)

    # One more note sounds from its first cell on, one less from the cell after its last.
    change = np.zeros((PITCHES, width + 1), np.int32)
    np.add.at(change, (row, first), 1)
    np.add.at(change, (row, last), -1)
    return change.cumsum(axis=1)[:, :width] > 0


def columns_within(columns: np.ndarray, width: int, start: int) -> tuple[np.ndarray, np.ndarray]:
    """The first column of each note, and the one after its last, 0 to `width`, int (notes,).

    Args:
        columns: the notes, int64 (5, notes).
        width: of the picture.
        start: the step of the song that is column 0.
    """
    onset = columns[ONSET_ROW] - start
    first = np.clip(onset, 0, width)
    last = np.clip(onset + columns[DURATION_ROW], 0, width)
    return first, last


def stroke(
    picture: Size, points: Sequence[tuple[float, float]] | np.ndarray, radius: float = 2.0
) -> Mask:
    """A brush stroke: all cells within a distance of a line.

    Args:
        picture: what tells the width.
        points: of the line, (step, pitch), both counted at the middles of cells; one is a dot.
        radius: of the brush, in cells.

    Returns:
        bool (128, width).

    Raises:
        OptionError: there is no point, or a number is out of range.
    """
    mask = np.zeros((PITCHES, _width(picture)), bool)
    path = _points(points)
    check_range("radius", radius, 1e-9, PITCHES, unit="cells")
    if not len(path):
        raise OptionError("a stroke has no points; give at least one (step, pitch) point")

    # Where the pointer rested, one point is enough.
    moves = np.diff(path, axis=0).any(axis=1)  # (points - 1,)
    path = path[np.append(True, moves)]
    corners = np.c_[row_of_pitch(path[:, 1]), path[:, 0]]  # (points, 2): row, column
    segments = pairwise(corners) if len(corners) > 1 else [(corners[0], corners[0])]
    for a, b in segments:
        # Only the cells of a window around the segment can be near enough.
        top, left = np.maximum(np.floor(np.minimum(a, b) - radius), 0).astype(int)
        bottom, right = np.maximum(np.ceil(np.maximum(a, b) + radius) + 1, 0).astype(int)
        window = mask[top:bottom, left:right]
        cells = np.moveaxis(np.indices(window.shape), 0, -1) + (top, left)  # (rows, columns, 2)
        window |= _squared_distance(cells, a, b) <= radius**2
    return mask


def _squared_distance(cells: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The squared distance of cells, (rows, columns, 2), to the segment from point `a` to `b`.

    The segment's nearest point is `a + along * (b - a)`, `along` from 0 to 1.
    """
    from_a = cells - a
    line = b - a
    # Where `a` is `b` the length is 0; any small number serves.
    squared_length = max((line**2).sum(), 1e-12)
    along = np.clip((from_a @ line) / squared_length, 0, 1)  # (rows, columns)
    return ((from_a - along[..., None] * line) ** 2).sum(-1)


def polygon(picture: Size, points: Sequence[tuple[float, float]]) -> Mask:
    """The inside of a polygon, its edge included.

    Args:
        picture: what tells the width.
        points: its corners (step, pitch), at least three.

    Returns:
        bool (128, width).

    Raises:
        OptionError: there are too few points, or one is not finite.
    """
    from PIL import Image, ImageDraw

    path = _points(points)
    if len(path) < 3:
        raise OptionError(
            f"a polygon has {len(path)} points; give at least three (step, pitch) points"
        )
    image = Image.new("1", (_width(picture), PITCHES))
    corners = [(step, row_of_pitch(pitch)) for step, pitch in path.tolist()]
    ImageDraw.Draw(image).polygon(corners, fill=1, outline=1)
    return np.array(image, bool)


def from_image(image: Any) -> Mask:
    """The mask that is painted into an image: white paint is True, and pure blue as in the paper.

    Only paint that covers counts: what is transparent is not marked, whatever its colour.

    Args:
        image: an array (128, width) or (128, width, 1 to 4 channels), a PIL image, a file's path
            or bytes, or the open file. An enlarged or a folded picture is brought to 128 rows.

    Returns:
        bool (128, width).

    Raises:
        PictureError: it is no image of 128 rows.
    """
    pixels = flat_pixels(image if isinstance(image, np.ndarray) else decode(image, "RGBA"))
    return painted(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def paint(picture: Picture, mask: Mask) -> Picture:
    """A picture with white paint where the mask is True; `from_image` reads it back.

    Args:
        picture: uint8 (128, width, 3).
        mask: bool (128, width).

    Returns:
        uint8 (128, width, 3).

    Raises:
        PictureError: the mask is no mask of the picture.
    """
    check_picture(picture)
    return np.where(check_mask(mask, picture)[..., None], np.uint8(255), picture)


class Excerpt(NamedTuple):
    """The steps of a song that a word of the command line is about.

    Attributes:
        song: the whole song.
        start: the step that is column 0.
        width: how many steps.
    """

    song: Song
    start: int
    width: int

    def bar_lines(self) -> np.ndarray:
        """Steps of the bar lines from `start`, int (lines,); those before it are negative."""
        return self.song.bar_lines(self.start + self.width) - self.start

    def middle(self) -> int:
        """The step of the bar line that is nearest to the middle."""
        lines = self.bar_lines()
        return int(lines[np.abs(lines - self.width / 2).argmin()])


def _bars_word(part: Excerpt, first: int, last: int | None = None) -> Mask:
    """Bars, counted from the first bar line at or after the start."""
    lines = part.bar_lines()
    return bars(part.width, first, last, lines[lines >= 0])


def _box_word(part: Excerpt, *numbers: int) -> Mask:
    """A rectangle of pitches and steps."""
    low, high, first, last = numbers
    return box(part.width, (low, high), (first, last))


# What the words of the command line mean: a word, how many numbers follow it, and the mask.
WORDS: dict[tuple[str, int], Callable[..., Mask]] = {
    ("melody", 0): lambda part: melody(part.song, start=part.start, width=part.width),
    ("accompaniment", 0): lambda part: accompaniment(part.song, start=part.start, width=part.width),
    ("continuation", 0): lambda part: continuation(part.width, part.middle()),
    ("continuation", 1): lambda part, keep: continuation(part.width, keep),
    ("bars", 1): _bars_word,
    ("bars", 2): _bars_word,
    ("box", 4): _box_word,
    ("chords", 0): lambda part: chords(part.width),
    ("all", 0): lambda part: everything(part.width),
}


def from_text(text: str, song: Song, start: int = 0, width: int | None = None) -> Mask:
    """A mask from the words of the command line.

    Args:
        text: "melody", "accompaniment", "continuation", "continuation:256" (steps to keep),
            "bars:8-12", "box:60-72,64-128" (pitches, steps), "chords", "all", several joined by
            "+"; or the path of an image with white paint.
        song: what the words are about.
        start: the step that is column 0.
        width: how many steps (None: to the song's end).

    Returns:
        bool (128, width).

    Raises:
        OptionError: a word is not understood, or names what the song does not have.
        PictureError: the image is none, or has another size.
    """
    check_kind("the mask", text, str, "write words as bars:8-12, or the path of an image")
    check_kind("the song", song, Song, "give a Song, as read_midi reads one")
    check_whole("start", start, 0, MAX_STEPS, unit="steps")
    width = _width(song.end - start if width is None else width)
    if text.lower().endswith(IMAGE_FILES):
        return check_mask(from_image(text), width)

    mask = np.zeros((PITCHES, width), bool)
    for word in text.split("+"):
        mask |= _mask_of_word(word, Excerpt(song, start, width))
    return mask


def _mask_of_word(word: str, part: Excerpt) -> Mask:
    """The mask of one word with its numbers, like "bars:8-12"."""
    name, _, rest = word.strip().partition(":")
    numbers = re.split("[-,]", rest) if rest else []
    understood = (name, len(numbers)) in WORDS
    if not understood or not all(number.strip().isdecimal() for number in numbers):
        raise OptionError(
            f"mask {shown(word)} is not understood; write melody, accompaniment, continuation, "
            "continuation:256, bars:8-12, box:60-72,64-128, chords or all"
        )
    return WORDS[name, len(numbers)](part, *map(int, numbers))


def check_mask(mask: np.ndarray, picture: Size) -> Mask:
    """The mask as an array, bool (128, width), of the picture's width.

    Raises:
        PictureError: it has another size than the picture, or is not Boolean.
    """
    shape = (PITCHES, _width(picture))
    try:
        mask = np.asarray(mask)
    except (TypeError, ValueError, RuntimeError):
        mask = np.zeros(0, object)
    if mask.shape != shape or mask.dtype != bool:
        raise PictureError(
            f"the mask is {mask.dtype} {mask.shape}, not bool {shape} as the picture; "
            "give one of its size (True = regenerate)"
        )
    return mask


def _pitches(chords: bool) -> tuple[int, int]:
    """The lowest and highest pitch of a mask, with or without the chord rows; OptionError."""
    check_flag("chords", chords)
    return ALL_PITCHES if chords else NOTE_PITCHES


def _pair(what: str, given: Any) -> tuple[int, int]:
    """Two whole numbers; OptionError."""
    with refused(what, given, "give two whole numbers"):
        first, last = given
    for number in (first, last):
        check_whole(what, number, -MAX_STEPS, MAX_STEPS)
    return int(first), int(last)


def _points(given: Any) -> np.ndarray:
    """Points (step, pitch) as an array, float (points, 2); OptionError."""
    with refused("points", given, "give (step, pitch) points, numbers"):
        points = np.asarray(given, float).reshape(-1, 2)  # (points, 2)
    # Not all of them need lie in the picture; NaN is no number.
    if not (np.abs(points) <= MAX_STEPS).all():
        raise OptionError(
            f"points is {shown(given)}, and not all are finite and near; give (step, pitch) points "
            "in or beside the picture"
        )
    return points


def _width(size: Size) -> int:
    """The number of steps that a picture, mask, song or number tells; OptionError if below 1."""
    width: Any = size
    if isinstance(size, Song):
        width = size.end
    elif isinstance(size, np.ndarray) and size.ndim >= 2:
        width = size.shape[1]
    is_whole = isinstance(width, Integral)
    if not is_whole or not 1 <= width <= MAX_STEPS:
        raise OptionError(
            f"a mask has no size of {shown(width)}; give a picture, a song with notes, or a number "
            f"of steps from 1 to {MAX_STEPS}"
        )
    return int(width)
