"""The Stanford form: a song as black-and-white pictures of 64 pitches x 64 steps.

One bit a cell: velocity is lost, and a repeated note merges with the one before it. `binary_losses`
counts what that costs, to be held against `song.canonical().report`.

    pages = split_binary(song)                   # uint8 (n, 64, 64) of 0 and 255
    joined = from_binary(pages)                  # a Song again, all notes equally loud

Read on: `picture`, which loses none of this.
"""

import numpy as np

from ..errors import OptionError, PictureError, check_range
from .grid import ReadReport
from .picture import parse, render
from .pixels import PITCHES
from .song import Song

STANFORD_LOW = 31  # its lowest pitch (G1)
STANFORD_SIZE = 64  # pitches, and steps


def to_binary(
    song: Song,
    start: int = 0,
    low: int = STANFORD_LOW,
    size: int = STANFORD_SIZE,
    *,
    width: int | None = None,
) -> np.ndarray:
    """One black-and-white picture of a song, the highest pitch first.

    Args:
        song: what is drawn.
        start: the step that becomes column 0.
        low: the lowest pitch.
        size: how many pitches.
        width: how many steps (None: `size`).

    Returns:
        uint8 (size, width), 0 or 255.

    Raises:
        OptionError: the pitches are not within 0 to 127, or `start` or `width` is out of range.
    """
    if not 0 <= low <= PITCHES - size < PITCHES:
        raise OptionError(f"low is {low} and size {size}; choose pitches within 0 to {PITCHES - 1}")
    top = PITCHES - low - size
    picture = render(song, start, width or size, border=0)[top : top + size]
    return np.where(picture.any(axis=2), 255, 0).astype(np.uint8)


def split_binary(song: Song, low: int = STANFORD_LOW, size: int = STANFORD_SIZE) -> np.ndarray:
    """A whole song as square pictures, one after the other; `from_binary` joins them.

    Args:
        song: what is drawn.
        low: the lowest pitch.
        size: how many pitches, and steps.

    Returns:
        uint8 (n, size, size), 0 or 255.

    Raises:
        OptionError: the pitches are not within 0 to 127.
    """
    n = max(-(-song.canonical(border=0).end // size), 1)
    whole = to_binary(song, 0, low, size, width=n * size)
    return whole.reshape(size, n, size).swapaxes(0, 1)  # (n, size, size)


def from_binary(
    image: np.ndarray, low: int = STANFORD_LOW, velocity: int = 80, steps_per_beat: int = 4
) -> Song:
    """A Song from black-and-white pictures; nonzero cells sound.

    Args:
        image: bool or integers (rows, width); or (n, rows, width) of pictures that are laid end to
            end: a note that crosses from one to the next is one note.
        low: the pitch of the last row.
        velocity: of all notes, 1-127.
        steps_per_beat: of the song.

    Raises:
        PictureError: `image` is not black and white, or its rows leave the pitches 0 to 127.
        OptionError: an option is out of its range.
    """
    lit = np.asarray(image)
    right_type = lit.ndim in (2, 3) and lit.dtype.kind in "bui" and lit.size > 0
    if not right_type or not 0 <= low <= PITCHES - lit.shape[-2]:
        raise PictureError(
            f"black and white is bool or uint8 (64, width), {low=} + rows <= 128, "
            f"not {lit.dtype} {lit.shape}; convert or crop it"
        )
    check_range("velocity", velocity, 1, 127)

    # All pictures end to end, then silent rows above and below.
    rows, width = lit.shape[-2:]
    pages = lit.reshape(-1, rows, width) > 0  # (n, rows, width)
    strip = pages.swapaxes(0, 1).reshape(rows, -1)  # (rows, n width)
    silent_rows = (PITCHES - low - rows, low)
    grey = np.pad(strip * np.uint8(2 * velocity), (silent_rows, (0, 0)))
    return parse(grey, border=0, threshold=1, steps_per_beat=steps_per_beat)


def binary_losses(song: Song, low: int = STANFORD_LOW, size: int = STANFORD_SIZE) -> ReadReport:
    """What `split_binary` does to a song, to be held against `song.canonical().report`.

    Args:
        song: what would be split.
        low: the lowest pitch.
        size: how many pitches, and steps.

    Raises:
        OptionError: the pitches are not within 0 to 127.
    """
    pitch = song.notes["pitch"]
    dropped = int(((pitch < low) | (pitch >= low + size)).sum())
    kept = len(from_binary(split_binary(song, low, size), low).notes)
    velocities = len(np.unique(song.notes["velocity"]))
    return ReadReport(
        kept=kept,
        merged=len(pitch) - kept - dropped,
        dropped=dropped,
        chords_dropped=len(song.chords),
        remarks=(f"{velocities} velocities became one",),
    )
