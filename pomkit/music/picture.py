"""A song as a picture and back: `parse(render(song)) == song` for every canonical song.

What the pixels mean stands in `pixels`, what the border's colours mean in `palette`.

    picture = render(song)                       # uint8 (128, width, 3)
    assert parse(picture) == song.canonical()    # the parts merged to one, as a picture holds them
    parse("song.png")                            # whatever `images.read_image` reads

Read on: `masks`, the region of a picture that the model shall compose.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import check_choice, check_kind, check_range, check_whole
from .grid import ReadReport
from .images import decode, read_image
from .palette import paint_chords, read_chords
from .pixels import (
    BORDER,
    ONSET_STYLES,
    PITCHES,
    Picture,
    Spans,
    notes_of_spans,
    read_spans,
    row_of_pitch,
)
from .song import Song
from .tables import BORDERS, DURATION_ROW, MAX_STEPS, ONSET_ROW, columns_of, ranges

EARLY_RED = 255  # the pixel before an early onset


def render(
    song: Song,
    start: int = 0,
    width: int | None = None,
    parts: Sequence[int | str] | None = None,
    *,
    onsets: str = "start",
    border: int = BORDER,
) -> Picture:
    """Draw a song, or some steps of it, as a picture.

    A note that sounds already at `start` begins there.

    Args:
        song: what is drawn; of several parts all that a picture can hold (`Song.canonical`).
        start: the step that becomes column 0.
        width: how many steps (None: to the song's end).
        parts: names or numbers of the parts (None: all).
        onsets: "start": a note's first pixel is red, (2v, 0, 0); "early": a pixel (255, 0, 0)
            stands in the column before it, as in the paper's first version (lost in column 0).
        border: rows at the top, and as many at the bottom, that hold chords (0: none).

    Returns:
        uint8 (128, width, 3).

    Raises:
        OptionError: an option is out of its range, or there is no such part.
    """
    check_kind("the song", song, Song, "give a Song, as read_midi reads one")
    check_choice("onsets", onsets, ONSET_STYLES)
    check_whole("start", start, 0, MAX_STEPS, unit="steps")
    song = song.canonical(parts, border)
    width = max(song.end - start, 1) if width is None else width
    check_whole("width", width, 1, MAX_STEPS, unit="steps")
    start = int(start)
    width = int(width)

    # The first cell of every note, in row-major order, and how many cells it has.
    onset, duration, pitch, velocity, _ = _columns_within(song, start, width)
    first = np.maximum(onset, 0)
    length = np.minimum(onset + duration, width) - first
    cell = row_of_pitch(pitch) * width + first
    value = (2 * velocity).astype(np.uint8)

    # Whole notes in green, then their onsets in red.
    picture = np.zeros((PITCHES, width, 3), np.uint8)
    red, green, _ = picture.reshape(-1, 3).T  # views (128 width,)
    green[ranges(cell, length)] = value.repeat(length)
    early = onsets == "early"
    mark = cell[first > 0] - 1 if early else cell
    red[mark] = EARLY_RED if early else value
    green[mark] = 0

    if song.chords:
        paint_chords(picture, song.chords, start, border)
    return picture


def _columns_within(song: Song, start: int, width: int) -> np.ndarray:
    """The notes that sound within `width` steps from `start`, as columns (5, notes) from there."""
    until = song.notes["onset"].searchsorted(start + width)  # notes are sorted by onset
    columns = columns_of(song.notes[:until])
    if not start:
        return columns
    columns[ONSET_ROW] -= start
    return columns[:, columns[ONSET_ROW] + columns[DURATION_ROW] > 0]


def parse(
    picture: Any,
    onsets: str = "start",
    *,
    border: int = BORDER,
    threshold: int = 0,
    steps_per_beat: int = 4,
) -> Song:
    """Read a picture as a Song: the exact inverse of `render` on canonical songs.

    White or blue paint is a mask, no note. Other colours, and runs of green that no red cell
    begins, are counted in `report.dropped`.

    Args:
        picture: uint8 (128, width, 3), or any image that `read_image` takes.
        onsets: "start" or "early", as in `render`.
        border: rows at the top, and as many at the bottom, that hold chords (0: none).
        threshold: red or green above it is ink, of 255; at 0 all of it, less a JPEG's noise.
        steps_per_beat: of the song.

    Raises:
        PictureError: `picture` is no image of a picture.
        OptionError: an option is out of its range.
    """
    check_whole("border", border, *BORDERS, unit="rows, 0 for no chords")
    check_range("threshold", threshold, 0, 255)
    border = int(border)
    pixels = picture if isinstance(picture, np.ndarray) else decode(picture)
    clean = threshold == 0
    picture = read_image(pixels, border=border, clean=clean)
    noisy = clean and not np.array_equal(picture, read_image(pixels, border=border, clean=False))

    spans = read_spans(picture, onsets, border, threshold)
    notes = notes_of_spans(spans.onset, spans.sustain, spans.velocity)
    report = ReadReport(
        kept=len(notes), dropped=spans.refused, remarks=_remarks(spans, noisy=noisy)
    )
    chords = read_chords(picture, border)
    return Song(notes, chords, ("all",), steps_per_beat=steps_per_beat, report=report)


def _remarks(spans: Spans, *, noisy: bool) -> tuple[str, ...]:
    """What a reader of a picture should know about it."""
    remarks = []
    if spans.paint:
        remarks.append(
            f"{spans.paint} painted cells are a mask, no notes: masks.from_image reads it"
        )
    if noisy:
        remarks.append(
            "the noise of a JPEG was taken out, and faint notes may have gone with it; "
            "a PNG loses nothing"
        )
    return tuple(remarks)
