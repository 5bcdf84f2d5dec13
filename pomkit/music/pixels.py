"""The pixels of a picture: what one cell means, without a Song.

A picture is uint8 (128, width, 3), RGB. A row is a pitch, row 0 = pitch 127; a column is a step. A
note of velocity v is one pixel (2v, 0, 0) at its onset and (0, 2v, 0) for the rest of its duration.
The top and bottom `BORDER` rows hold the colours of chords (`palette`). A mask is bool (128, width)
and True where the model shall compose.

    spans = read_spans(picture)                  # which cells begin a note, which carry one on
    notes = notes_of_spans(spans.onset, spans.sustain, spans.velocity)
    again = draw_spans(spans.onset, spans.sustain, spans.velocity)

Read on: `picture`, which draws a Song and reads it back with what stands here.
"""

from typing import Any, NamedTuple

import numpy as np

from ..errors import PictureError, check_choice, check_range
from .tables import BORDERS, MAX_STEPS, NOTE_DTYPE

PITCHES = 128  # rows of a picture
BORDER = 8  # rows of chord colours at the top, and as many at the bottom
ONSET_STYLES = ("start", "early")  # where a note's red pixel stands: on its onset, or before it

Picture = np.ndarray  # uint8 (128, width, 3), RGB
Mask = np.ndarray  # bool (128, width), True = regenerate


class Spans(NamedTuple):
    """What the pixels of a picture say.

    Attributes:
        onset: where notes begin, bool (128, width).
        sustain: where notes sound on, bool (128, width).
        velocity: of the onset and sustain cells, uint8 (128, width), 1-127.
        refused: how many cells have ink that is no note.
        paint: how many cells have paint: a mask, no music.
    """

    onset: np.ndarray
    sustain: np.ndarray
    velocity: np.ndarray
    refused: int
    paint: int


class Runs(NamedTuple):
    """Cells in a row without a gap, each run from one onset to before the next.

    Attributes:
        cells: the cells of all runs, flat indices in row-major order, int (cells,).
        first: which of `cells` begins each run, int (runs,).
        length: how many cells each run has, in steps, int (runs,).
        struck: whether a run begins with an onset, bool (runs,).
    """

    cells: np.ndarray
    first: np.ndarray
    length: np.ndarray
    struck: np.ndarray


def pitch_of_row(row: Any) -> Any:
    """The MIDI pitch of a row, an int, or of an array of rows: like `row`."""
    return PITCHES - 1 - row


def row_of_pitch(pitch: Any) -> Any:
    """The row of a MIDI pitch, an int, or of an array of pitches: like `pitch`."""
    return PITCHES - 1 - pitch


def check_picture(picture: Any, channels: tuple[int, ...] = (3,)) -> None:
    """Raise PictureError unless `picture` is uint8 (128, width, one of `channels`)."""
    shape: tuple[int, ...] = ()
    dtype: Any = type(picture)
    if isinstance(picture, np.ndarray):
        shape = picture.shape
        dtype = picture.dtype

    right_type = len(shape) == 3 and dtype == np.uint8
    if not right_type or not _fits(shape, channels):
        raise PictureError(
            f"a picture is uint8 (128, width, 3), not {dtype} {shape}; "
            "crop or scale it (64 x 64: from_binary)"
        )


def _fits(shape: tuple[int, ...], channels: tuple[int, ...]) -> bool:
    """Whether a shape (rows, columns, channels) is a picture's."""
    rows, width, depth = shape
    return rows == PITCHES and 0 < width <= MAX_STEPS and depth in channels


def painted(picture: np.ndarray) -> np.ndarray:
    """The cells of white or pure blue paint: a mask that is drawn into a picture.

    Args:
        picture: uint8 (rows, width, 3).

    Returns:
        bool (rows, width).
    """
    red, green, blue = np.moveaxis(picture, -1, 0)  # (rows, width) each
    white = (red > 180) & (green > 180) & (blue > 180)
    return white | (blue > 200) & (red < 50) & (green < 50)


def read_spans(
    picture: Picture, onsets: str = "start", border: int = BORDER, threshold: int = 0
) -> Spans:
    """Read which cells of a picture begin a note and which carry one on.

    Args:
        picture: uint8 (128, width, 3).
        onsets: "start": a red pixel is a note's first; "early": it stands in the column before.
        border: rows at the top and bottom that hold no notes.
        threshold: what red or green has to exceed to count as ink, of 255.

    Returns:
        Spans. Sustain that belongs to no onset is refused, as other colours are.

    Raises:
        PictureError: `picture` is no picture.
        OptionError: an option is out of its range.
    """
    check_picture(picture)
    check_range("border", border, *BORDERS, unit="rows, 0 for no chords")
    check_choice("onset style", onsets, ONSET_STYLES)

    # Ink: bright enough, outside the border, and no paint.
    ink = np.moveaxis(picture, -1, 0).copy()  # (3, 128, width)
    ink[:, :border] = ink[:, PITCHES - border :] = 0
    paint = painted(np.moveaxis(ink, 0, -1))  # (128, width)
    ink *= (ink > threshold) & ~paint
    red, green, _ = ink

    # An early red pixel belongs to the silence, or to the note, before the onset.
    if onsets == "early":
        green *= red <= green
        red[:] = np.diff(green > 0, axis=1, prepend=False) * green

    onset = (red > 0) & (red >= green)
    sustain, _ = belonging(onset, (green > 0) & ~onset)
    refused = np.count_nonzero(ink.any(axis=0) & ~onset & ~sustain)

    # A velocity is half the brightness, rounded up.
    loud = np.maximum(red, green)
    velocity = np.clip((loud >> 1) + (loud & 1), 1, 127)
    return Spans(onset, sustain, velocity, int(refused), int(np.count_nonzero(paint)))


def draw_spans(onset: np.ndarray, sustain: np.ndarray, velocity: np.ndarray) -> Picture:
    """Draw onset and sustain cells; a whole note is as loud as its onset.

    Args:
        onset: bool (128, width).
        sustain: bool (128, width).
        velocity: of the onset cells, uint8 (128, width), 1-127.

    Returns:
        A picture, uint8 (128, width, 3).
    """
    start = np.maximum.accumulate(np.where(onset, np.arange(onset.shape[1]), 0), axis=1)
    value = 2 * np.take_along_axis(velocity, start, axis=1)
    return np.stack([value * onset, value * sustain, 0 * value], axis=-1)  # (128, width, 3)


def runs_of_spans(onset: np.ndarray, sustain: np.ndarray) -> Runs:
    """The runs of onset and sustain cells, bool (..., width) each: along a row, never beyond it."""
    cells = np.flatnonzero(onset | sustain)  # in row-major order: a run's cells stand together
    begins = onset.reshape(-1)[cells]  # (cells,)
    after_gap = np.diff(cells, prepend=-2) > 1
    first = np.flatnonzero(begins | after_gap | (cells % onset.shape[-1] == 0))
    return Runs(cells, first, np.diff(first, append=len(cells)), begins[first])


def belonging(onset: np.ndarray, sustain: np.ndarray) -> tuple[np.ndarray, int]:
    """The sustain cells that follow an onset without a gap.

    Args:
        onset: bool (..., width).
        sustain: bool (..., width).

    Returns:
        The sustain cells that belong to a note, bool (..., width), and how many do not.
    """
    runs = runs_of_spans(onset, sustain)
    belongs = runs.struck.repeat(runs.length)  # (cells,)
    belongs[runs.first[runs.struck]] = False  # onset cells

    # C-ordered, whatever `sustain` is: of another array `reshape` would give a copy.
    held = np.zeros(sustain.shape, bool)
    held.reshape(-1)[runs.cells] = belongs  # (128 width,)
    return held, int(np.count_nonzero(sustain) - np.count_nonzero(held))


def notes_of_spans(onset: np.ndarray, sustain: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """The notes that onset and sustain cells are, of one picture or of many.

    Args:
        onset: bool (128, width), or (n, 128, width) of n pictures.
        sustain: like `onset`; cells that follow no onset are left out.
        velocity: like `onset`, uint8; the onset cells count.

    Returns:
        Notes (NOTE_DTYPE), (notes,), by row and step. Their part is the picture's number.
    """
    runs = runs_of_spans(onset, sustain)
    place = runs.cells[runs.first[runs.struck]]  # onset cells
    line, step = np.divmod(place, onset.shape[-1])
    clip, row = np.divmod(line, PITCHES)

    notes = np.zeros(len(place), NOTE_DTYPE)
    notes["part"] = clip
    notes["onset"] = step
    notes["duration"] = runs.length[runs.struck]
    notes["pitch"] = pitch_of_row(row)
    notes["velocity"] = velocity.reshape(-1)[place]  # (notes,)
    return notes


def fold(picture: Picture) -> np.ndarray:
    """The paper's square: the second half of a picture, mirrored left-right, under the first.

    Args:
        picture: uint8 (128, width, 3) with an even width (512 in the paper).

    Returns:
        uint8 (256, width / 2, 3).

    Raises:
        PictureError: `picture` is no picture, or its width is odd.
    """
    check_picture(picture)
    width = picture.shape[1]
    if width % 2:
        raise PictureError(
            f"{width} columns cannot be folded; make the width even (512 in the paper)"
        )
    half = width // 2
    return np.concatenate([picture[:, :half], picture[:, : half - 1 : -1]])


def unfold(square: np.ndarray) -> Picture:
    """The inverse of `fold`: (256, width, 3) -> (128, 2 width, 3).

    Args:
        square: (256, width, channels), of any number of channels.

    Raises:
        PictureError: `square` has another shape.
    """
    if np.ndim(square) != 3 or len(square) != 2 * PITCHES:
        raise PictureError(
            f"a folded picture has shape (256, width, 3), not {np.shape(square)}; "
            "give what `fold` makes"
        )
    return np.concatenate([square[:PITCHES], square[PITCHES:, ::-1]], axis=1)
