"""A song as a picture and back: `parse(render(song)) == song` for canonical songs.
A picture is uint8 (128, width, 3), RGB, row 0 = pitch 127, a column = a step. A note of velocity v is one pixel (2v, 0, 0) at
its onset and (0, 2v, 0) for the rest of its duration. Chords are solid colours in the top and bottom `border` rows."""

import colorsys
import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import OptionError, PictureError, check_range
from .chords import LABELS, Chord, tidy_chords, viterbi
from .pixels import (  # noqa: F401
    BORDER,
    PITCHES,
    Spans,
    belonging,
    check_picture,
    draw_spans,
    fold,
    notes_of_spans,
    painted,
    read_spans,
    unfold,
)
from .song import ReadReport, Song
from .tables import BORDERS, MAX_STEPS, columns_of, ranges


def render(
    song: Song,
    start: int = 0,
    width: int | None = None,
    parts: Sequence[int | str] | None = None,
    onsets: str = "start",
    border: int = 8,
) -> np.ndarray:
    """Draw `width` steps of a song from step `start` (None: to its end) as a picture, uint8 (128, width, 3).
    `parts`: names or numbers. A note that sounds already at `start` begins there. `onsets` "start": a note's first pixel is red
    (2v); "early": a (255, 0, 0) pixel stands in the column before it, as in the paper's first version (lost in column 0).
    `border` rows at the top and bottom hold the chords (0: none). Raises OptionError."""
    song = song.canonical(parts, border)
    width = max(song.end - start, 1) if width is None else width
    if onsets not in ("start", "early") or start < 0 or not 1 <= width <= MAX_STEPS:
        raise OptionError(
            f"{onsets=}, {start=}, {width=}: choose onsets start or early, start from 0, width 1 to {MAX_STEPS}"
        )
    near = columns_of(
        song.notes[: song.notes["onset"].searchsorted(start + width)]
    )  # sorted by onset
    near[0] -= start
    onset, duration, pitch, velocity, _ = near[:, near[0] + near[1] > 0] if start else near
    first = np.maximum(onset, 0)
    length = np.minimum(onset + duration, width) - first
    cell, value = (
        (127 - pitch) * width + first,
        (2 * velocity).astype(np.uint8),
    )  # cells in row-major order
    picture = np.zeros((PITCHES, width, 3), np.uint8)
    red, green, _ = picture.reshape(-1, 3).T
    green[ranges(cell, length)] = value.repeat(length)
    mark, value = (cell, value) if onsets == "start" else (cell[first > 0] - 1, 255)
    red[mark], green[mark] = value, 0
    if song.chords:
        paint_chords(picture, song.chords, start, border)
    return picture


def parse(
    picture: Any,
    onsets: str = "start",
    border: int = 8,
    threshold: int = 0,
    steps_per_beat: int = 4,
) -> Song:
    """Read a picture, or whatever `from_image` takes, as a Song: the exact inverse of `render` on canonical songs.
    Red or green above `threshold` (of 255) is ink; at 0 all of it, less a JPEG's noise. White or blue paint is a mask, no note;
    other colours, and green that follows no red or green cell, are counted in `report.dropped`. PictureError, OptionError."""
    check_range("border", border, *BORDERS)
    given = picture if isinstance(picture, np.ndarray) else decode(picture)
    picture = from_image(given, border, clean=threshold == 0)
    spans = read_spans(picture, onsets, border, threshold)
    notes = notes_of_spans(spans.onset, spans.sustain, spans.velocity)
    remarks = [
        f"{spans.paint} painted cells are a mask, no notes: masks.from_image reads it"
    ] * bool(spans.paint)
    if threshold == 0 and not np.array_equal(picture, from_image(given, border, clean=False)):
        remarks.append(
            "the noise of a JPEG was taken out, and faint notes may have gone with it; a PNG loses nothing"
        )
    return Song(
        notes,
        read_chords(picture, border),
        ("all",),
        steps_per_beat=steps_per_beat,
        report=ReadReport(kept=len(notes), dropped=spans.refused, remarks=tuple(remarks)),
    )


def from_image(source: Any, border: int = 8, clean: bool = True) -> np.ndarray:
    """A picture, uint8 (128, width, 3), of any image of one: an array, a PIL image, a file's path or bytes or the open file.
    Unfolds 256 rows and lays transparency on black; in greyscale a run of lit cells is a note; paint stays. `clean` takes out a
    JPEG's noise where a tenth of the lit cells shows it: note F1 on the shipped songs at quality 95 / 85 / 75 is 1.00 / .99 /
    .90 with full colour, .99 / .94 / .83 with halved colour, the usual one. Raises PictureError."""
    pixels = source if isinstance(source, np.ndarray) else decode(source)
    pixels = pixels * np.uint8(255) if pixels.dtype == bool else pixels
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels  # (rows, width, channels)
    pixels = unfold(pixels) if pixels.ndim == 3 and len(pixels) == 2 * PITCHES else pixels
    check_picture(pixels, (1, 2, 3, 4))
    if pixels.shape[2] in (2, 4):
        pixels = ((pixels[..., :-1].astype(np.uint16) * pixels[..., -1:] + 127) // 255).astype(
            np.uint8
        )
    if pixels.shape[2] == 3:
        return (
            _without_noise(pixels, border)
            if clean and pixels[border : PITCHES - border, :, 2].any()
            else pixels
        )
    grey = np.where(pixels[..., 0] > 20 * clean, pixels[..., 0], 0)  # 20 and less is paper
    grey[:border] = grey[PITCHES - border :] = 0
    onset = np.diff(grey > 0, axis=1, prepend=False)  # of silence too: 0 there
    return np.stack([grey * onset, grey * ~onset, 0 * grey], axis=-1)


def decode(source: Any, mode: str = "") -> np.ndarray:
    """The pixels of a PIL image or an image file in Pillow's `mode`, else uint8 (height, width[, 2 to 4]); PictureError."""
    from PIL import Image

    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        image = (
            source
            if isinstance(source, Image.Image)
            else Image.open(file, formats=("PNG", "JPEG", "GIF", "BMP", "WEBP"))
        )
        if image.width * image.height > 2**24:  # 131,072 columns
            raise ValueError(f"{image.width} x {image.height} pixels, at most {2**24} are read")
        alpha = "A" in image.mode or "transparency" in image.info
        return np.asarray(
            image.convert(mode or ("L" if image.mode in ("1", "L", "LA") else "RGB") + "A" * alpha)
        )
    except Exception as fault:  # Pillow raises many kinds; all mean the same
        raise PictureError(
            f"{file} is no picture ({fault}); choose a PNG, JPEG, GIF, BMP or WEBP file of 128 rows"
        ) from fault


def _without_noise(picture: np.ndarray, border: int) -> np.ndarray:
    """The picture before it was a JPEG: along each row the likeliest course of silence, onsets and sustained cells (Viterbi),
    judged by brightness and redness: JPEG blurs the colours of two cells, but not their brightness."""
    inner = picture[border : PITCHES - border]
    paint = painted(inner)
    lit, blue = (
        np.count_nonzero(cells & ~paint) for cells in (inner.any(axis=2), inner[..., 2] > 0)
    )
    if blue <= lit / 10 or picture.shape[1] > 2**16:  # no JPEG is wider
        return picture
    colours = np.zeros((17, 3))  # off, 8 onsets, 8 sustains
    colours[1:9, 0] = colours[9:, 1] = 2 * np.geomspace(45, 127, 8)
    view = np.array([(0.3, 0.27), (0.59, -0.23), (0.11, -0.04)])  # RGB to brightness, redness
    states, move = colours @ view * (1, 0.5), np.full((17, 17), -np.inf)
    move[:, 0], move[:, 1:9], move[range(1, 17), [*range(9, 17)] * 2] = 0, -500, 0
    picture = picture.copy()
    for row in range(0, len(inner), 8):  # in strips, to save memory
        seen = (
            np.where(paint[row : row + 8, :, None], 0, inner[row : row + 8]).swapaxes(0, 1) @ view
        )
        score = (2 * seen @ states.T - (states**2).sum(axis=1)).astype(
            np.float32
        )  # -|seen - state|^2 + constant
        score[0, :, 9:] = -np.inf
        picture[border + row :][: seen.shape[1]] = colours[viterbi(score, move).T]
    picture[border : PITCHES - border][paint] = 255
    return picture


def to_binary(
    song: Song, start: int = 0, low: int = 31, size: int = 64, width: int | None = None
) -> np.ndarray:
    """The Stanford form: `size` pitches from `low` x `width` (None: `size`) steps from `start`, uint8 (64, 64) of 0/255, the
    highest pitch first. One bit a cell: velocity is lost, and a repeated note merges with the one before it."""
    if not 0 <= low <= PITCHES - size < PITCHES:
        raise OptionError(f"low is {low} and size {size}; choose pitches within 0 to {PITCHES - 1}")
    picture = render(song, start, width or size, border=0)[PITCHES - low - size : PITCHES - low]
    return np.where(picture.any(axis=2), 255, 0).astype(np.uint8)


def split_binary(song: Song, low: int = 31, size: int = 64) -> np.ndarray:
    """A whole song as Stanford pictures, one after the other, uint8 (n, size, size) of 0/255; `from_binary` joins them."""
    n = max(-(-song.canonical(border=0).end // size), 1)
    return to_binary(song, 0, low, size, n * size).reshape(size, n, size).swapaxes(0, 1)


def from_binary(
    image: np.ndarray, low: int = 31, velocity: int = 80, steps_per_beat: int = 4
) -> Song:
    """A Song from a black-and-white picture (64, width), nonzero = sounding, the last row = pitch `low`; or from n of them,
    (n, 64, 64), laid end to end: a note that crosses from one to the next is one note. PictureError, OptionError."""
    lit = np.asarray(image)
    if (
        lit.ndim not in (2, 3)
        or lit.dtype.kind not in "bui"
        or not lit.size
        or not 0 <= low <= PITCHES - lit.shape[-2]
    ):
        raise PictureError(
            f"black and white is bool or uint8 (64, width), {low=} + rows <= 128, not {lit.dtype} {lit.shape}"
        )
    check_range("velocity", velocity, 1, 127)
    lit = (
        (lit.reshape(-1, *lit.shape[-2:]) > 0).swapaxes(0, 1).reshape(lit.shape[-2], -1)
    )  # laid end to end
    grey = np.pad(lit * np.uint8(2 * velocity), ((PITCHES - low - len(lit), low), (0, 0)))
    return parse(grey, border=0, threshold=1, steps_per_beat=steps_per_beat)


def binary_losses(song: Song, low: int = 31, size: int = 64) -> ReadReport:
    """What `split_binary` does to a song, to be held against `song.canonical().report`: here repeats merge too."""
    notes, kept = song.notes, len(from_binary(split_binary(song, low, size), low).notes)
    dropped = int(((notes["pitch"] < low) | (notes["pitch"] >= low + size)).sum())
    return ReadReport(
        kept=kept,
        merged=len(notes) - kept - dropped,
        dropped=dropped,
        chords_dropped=len(song.chords),
        remarks=(f"{len(np.unique(notes['velocity']))} velocities became one",),
    )


@lru_cache(maxsize=1)
def palette() -> dict[str, tuple[int, int, int]]:
    """The RGB colour of every chord label that a picture can hold: hue by root on the circle of fifths, saturation and
    brightness by quality; "N" is grey, "not known" black. None is white or pure blue, the colours of a painted mask."""
    tints = [(s, v) for s in (0.75, 0.5) for v in (0.86, 0.76, 0.66, 0.56, 0.46, 0.36, 0.26)]
    rgb = [
        (110 / 255,) * 3,
        *(colorsys.hsv_to_rgb(i * 7 % 12 / 12, *tint) for i in range(12) for tint in tints),
    ]
    return {
        label: (round(255 * r), round(255 * g), round(255 * b))
        for label, (r, g, b) in zip(LABELS, rgb, strict=True)
    }


def paint_chords(
    picture: np.ndarray, chords: Sequence[Chord], start: int = 0, border: int = 8
) -> None:
    """Paint chords into the border rows of a picture in place; columns without a chord become black."""
    edges, colours = _colour_spans(tuple(chords))
    edges = np.minimum(np.maximum(edges - start, 0), picture.shape[1])
    picture[:border] = picture[PITCHES - border :] = colours.repeat(edges[1:] - edges[:-1], axis=0)


@lru_cache(maxsize=64)
def _colour_spans(chords: tuple[Chord, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Where the colour of the border changes, from the first to the last possible step, and the colours between, (n, 3)."""
    chords, _ = tidy_chords(chords)
    colours = np.zeros((2 * len(chords) + 1, 3), np.uint8)  # black before and after each
    colours[1::2] = np.reshape([palette()[c.label] for c in chords], (-1, 3))
    return np.array(
        [-MAX_STEPS, *(s for c in chords for s in (c.onset, c.onset + c.duration)), 2 * MAX_STEPS]
    ), colours


def read_chords(picture: np.ndarray, border: int = 8) -> tuple[Chord, ...]:
    """The chords in a picture's border rows by nearest colour of the palette, equal neighbours joined."""
    if not border:
        return ()
    rows = np.concatenate([picture[:border], picture[PITCHES - border :]])
    colours = np.partition(rows, border, axis=0)[border]  # the median
    unique, which = np.unique(colours, axis=0, return_inverse=True)
    labels, table = (
        ["", *palette()],
        np.array([(0, 0, 0), *palette().values()]),
    )  # black: nothing known
    nearest = ((unique[:, None] - table) ** 2).sum(axis=-1).argmin(axis=1)[which.reshape(-1)]
    edges = np.flatnonzero(np.diff(nearest, prepend=-1, append=-1)).tolist()
    return tuple(
        Chord(a, b - a, labels[nearest[a]])
        for a, b in zip(edges, edges[1:], strict=False)
        if nearest[a]
    )
