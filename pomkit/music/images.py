"""Any image of a picture as that picture: files, greyscale, transparency, JPEG.

    picture = read_image("song.png")             # uint8 (128, width, 3)
    picture = read_image(pillow_image)
    picture = read_image(np.array(...))          # (128, width), (256, width, 3) folded, and so on
    picture = read_image(sixteen_bit_grey)       # scaled to 8 bits; so are floats

A PNG of a picture is the picture itself, to the bit. A JPEG is not: `read_image` takes its noise
out, as well as that can be done. Note F1 on the shipped songs at quality 95 / 85 / 75 is
1.00 / .99 / .90 with full colour and .99 / .94 / .83 with halved colour, which is the usual one.

Read on: `picture.parse`, which reads what `read_image` gives as a Song.
"""

import io
import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import PictureError, shown
from .harmony import viterbi
from .pixels import BORDER, PITCHES, Picture, check_picture, painted, unfold

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
MOST_PIXELS = 2**24  # 131,072 columns
# What `_mixture` says of an enlarged picture of double size, and of larger ones, at most; and of a
# folded picture, at least.
MOST_MIXED = (0.4, 0.5)
LEAST_FOLDED = 0.7
# A block is painted where its darkest colour is as bright as this.
PAINT_BLUR = 100
# Light of less than some cells says nothing.
LEAST_LIGHT = 4 * 255
# Of a pixel of 16 bits.
MOST_BRIGHT = 2**16 - 1
# How Pillow's modes begin that hold more than 8 bits.
DEEP_MODES = ("I", "F")
# No JPEG is wider.
MOST_JPEG_COLUMNS = 2**16
PAPER_GREY = 20  # grey that is not brighter is no note, uint8

# The states of a cell of a picture that was a JPEG: off, onsets and sustains of a few velocities.
VELOCITY_LEVELS = 8
STATES = 1 + 2 * VELOCITY_LEVELS
SILENT_STATE = 0
ONSET_STATES = slice(1, 1 + VELOCITY_LEVELS)
SUSTAIN_STATES = slice(1 + VELOCITY_LEVELS, STATES)
# From red, green and blue to brightness and redness: JPEG blurs the colours of two cells, but not
# their brightness, so redness counts half.
BRIGHTNESS_AND_REDNESS = np.array([(0.3, 0.27), (0.59, -0.23), (0.11, -0.04)])
REDNESS_COUNTS = (1, 0.5)
# What an onset adds to the score: fewer notes are likelier.
ONSET_SCORE = -500
STRIP_ROWS = 8  # rows that are judged at a time, to save memory


def read_image(source: Any, *, border: int = BORDER, clean: bool = True) -> Picture:
    """Read any image of a picture as the picture.

    A picture whose pixels are all enlarged alike, to 256 rows or more, is brought back to 128;
    others of 256 rows are unfolded. Transparency is laid on black. In greyscale a run of lit cells
    is a note. White and blue paint stays.

    Args:
        source: an array (rows, width) or (rows, width, 1 to 4 channels), a PIL image, a file's
            path or bytes, or the open file. Pixels of more than 8 bits, and floats, are scaled.
        border: rows at the top and bottom that hold no notes.
        clean: take out a JPEG's noise where a tenth of the lit cells shows it.

    Returns:
        uint8 (128, width, 3).

    Raises:
        PictureError: `source` is no image, or none of a picture.
    """
    pixels = flat_pixels(source if isinstance(source, np.ndarray) else decode(source))
    if pixels.shape[2] == 1:
        return _runs_of_grey(pixels[..., 0], border, PAPER_GREY if clean else 0)
    return _without_noise(pixels, border) if clean else pixels


def flat_pixels(pixels: np.ndarray) -> np.ndarray:
    """Pixels of any depth and of every size that a picture may have, with nothing to see through.

    Args:
        pixels: (rows, width) or (rows, width, 1 to 4 channels), the last of 2 or 4 transparency.

    Returns:
        uint8 (128, width, 1 or 3).

    Raises:
        PictureError: they are no picture.
    """
    pixels = in_eight_bits(pixels)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    pixels = _at_size(pixels)
    check_picture(pixels, channels=(1, 2, 3, 4))
    return _on_black(pixels) if pixels.shape[2] in (2, 4) else pixels


def decode(source: Any, mode: str = "") -> np.ndarray:
    """The pixels of an image.

    Args:
        source: a PIL image, a file's path or bytes, or the open file.
        mode: Pillow's mode to convert to, like "RGB"; else grey or colour, as the image is.

    Returns:
        uint8 (height, width) or (height, width, 2 to 4 channels), the last one transparency.

    Raises:
        PictureError: `source` is no image that can be read.
    """
    from PIL import Image

    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        given = isinstance(source, Image.Image)
        image = source if given else Image.open(file, formats=FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(
                f"{image.width} x {image.height} pixels, at most {MOST_PIXELS} are read"
            )
        if image.mode.startswith(DEEP_MODES):
            image = Image.fromarray(in_eight_bits(np.asarray(image)))
        return np.asarray(image.convert(mode or _mode_of(image)))
    except Exception as fault:
        # Pillow raises errors of many kinds; all mean the same.
        name = "these bytes" if isinstance(source, bytes) else shown(source)
        raise PictureError(
            f"{name} is no picture ({fault}); choose a PNG, JPEG, GIF, BMP or WEBP file of 128 rows"
        ) from fault


def _mode_of(image: Any) -> str:
    """Pillow's mode that keeps all that a PIL image says: grey or colour, with transparency.

    Raises:
        ValueError: for printing: its JPEG blurs red and green apart, which nothing takes out.
    """
    if image.mode == "CMYK":
        raise ValueError("its colours are CMYK, for printing; save it as RGB")
    colour = "L" if image.mode in ("1", "L", "LA") else "RGB"
    transparent = "A" in image.mode or "transparency" in image.info
    return colour + "A" * transparent


def in_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Pixels of another depth as uint8, in the same shape; what is no pixel is returned as it is.

    The brightest pixel says how floats and wide integers are meant: from 0 to 1 (floats alone), to
    255, or to 65,535. One bit becomes 0 and 255.

    Raises:
        PictureError: a pixel is negative, not finite, or above 65,535.
    """
    if pixels.dtype == bool:
        return pixels * np.uint8(255)
    if pixels.dtype == np.uint8 or pixels.dtype.kind not in "uif" or pixels.size == 0:
        return pixels

    low = float(pixels.min())
    high = float(pixels.max())
    if not 0 <= low <= high <= MOST_BRIGHT:
        raise PictureError(
            f"pixels are from {low:g} to {high:g}; give whole numbers from 0 to 255 "
            f"or {MOST_BRIGHT}, or floats from 0 to 1"
        )
    most = 255 if high <= 255 else MOST_BRIGHT
    if pixels.dtype.kind == "f" and high <= 1:
        most = 1
    return np.rint(pixels * (255 / most)).astype(np.uint8)


def _at_size(pixels: np.ndarray) -> np.ndarray:
    """Enlarged pixels (rows, width, channels) at their own size, and a folded picture unfolded."""
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or not pixels.size:
        return pixels
    if len(pixels) <= PITCHES or len(pixels) % PITCHES:
        return pixels
    factor = len(pixels) // PITCHES
    small = pixels[::factor, ::factor]
    enlarged = small.repeat(factor, axis=0).repeat(factor, axis=1)
    if np.array_equal(enlarged, pixels) and not _holds_only_folded_chords(pixels):
        return small

    # A JPEG of an enlarged picture: the mean of a block's pixels has less noise than each of them.
    mixture = _mixture(pixels, factor)
    mean = _mean_of_blocks(pixels, factor)
    if mixture < MOST_MIXED[factor > 2] and _shows_noise(mean):
        return np.rint(mean).astype(np.uint8)
    if factor == 2 and mixture >= LEAST_FOLDED:
        return unfold(pixels)
    raise PictureError(
        f"an image of {len(pixels)} rows is neither sharply enlarged nor folded; save the picture "
        f"at its own size, {PITCHES} rows, or enlarge it without smoothing"
    )


def _mean_of_blocks(pixels: np.ndarray, factor: int) -> np.ndarray:
    """The mean of every block of factor x factor pixels, float (128, width, channels)."""
    width = pixels.shape[1] // factor
    whole = pixels[:, : width * factor].astype(np.float32)
    blocks = whole.reshape(PITCHES, factor, width, factor, -1)  # (128, factor, width, factor, c)
    return blocks.mean(axis=(1, 3))


def _mixture(pixels: np.ndarray, factor: int) -> float:
    """How much the pixels of a block differ where notes are, as a share of their brightness.

    It was .2 to .37 in JPEGs of pictures enlarged sharply, .4 to .7 in smoothed ones, and .75 to
    1.4 in folded pictures, of which a block is no cell. It is infinite where nothing is lit.

    Args:
        pixels: uint8 (128 factor, width, channels).
        factor: the side of a block.
    """
    mean = _mean_of_blocks(pixels, factor)
    blocks = mean.repeat(factor, axis=0).repeat(factor, axis=1)[..., :3]

    # Rows that hold chords are alike, if the picture is enlarged and if it is folded.
    row = np.arange(len(pixels))
    edge = np.minimum(row, len(pixels) - 1 - row)
    has_notes = edge >= factor * BORDER
    if factor == 2:
        has_notes &= edge < PITCHES - 2 * BORDER
    counted = has_notes[:, None] & (blocks.min(axis=2) < PAINT_BLUR)  # (rows, width)

    light = float(blocks[counted].sum())
    if light < LEAST_LIGHT:
        return math.inf
    seen = pixels[:, : blocks.shape[1], :3]
    return float(np.abs(seen - blocks)[counted].sum()) / light


def _shows_noise(mean: np.ndarray) -> bool:
    """Whether pixels, float (128, width, channels), were a JPEG, as far as their colours tell."""
    if mean.shape[2] < 3:
        return True
    inner = np.rint(mean[BORDER : PITCHES - BORDER, :, :3]).astype(np.uint8)
    return _is_noisy(inner, painted(inner))


def _holds_only_folded_chords(pixels: np.ndarray) -> bool:
    """Whether 256 rows have ink in the first rows and nowhere where a folded picture has notes."""
    upper = pixels[:PITCHES]
    lower = pixels[PITCHES:]
    notes = [half[BORDER : PITCHES - BORDER] for half in (upper, lower)]
    return bool(upper[:BORDER].any()) and not any(rows.any() for rows in notes)


def _on_black(pixels: np.ndarray) -> np.ndarray:
    """Pixels (rows, width, n + 1) laid on black by their last channel, (rows, width, n)."""
    colours = pixels[..., :-1].astype(np.uint16)
    opacity = pixels[..., -1:]
    return ((colours * opacity + 127) // 255).astype(np.uint8)


def _runs_of_grey(grey: np.ndarray, border: int, paper: int) -> Picture:
    """A picture of grey cells (128, width): each run along a row is a note, its first cell red."""
    lit = np.where(grey > paper, grey, 0)
    lit[:border] = lit[PITCHES - border :] = 0

    # Where sound begins or ends; where it ends, the cell is dark.
    onset = np.diff(lit > 0, axis=1, prepend=False)
    return np.stack([lit * onset, lit * ~onset, 0 * lit], axis=-1)  # (128, width, 3)


def _without_noise(picture: Picture, border: int) -> Picture:
    """The picture before it was a JPEG; the same one where it was none.

    Along each row the likeliest course of silence, onsets and sustained cells is found (Viterbi).
    """
    inner = picture[border : PITCHES - border]
    if not inner[..., 2].any() or picture.shape[1] > MOST_JPEG_COLUMNS:
        return picture
    paint = painted(inner)
    if not _is_noisy(inner, paint):
        return picture

    colours = _colours_of_states()
    clean = picture.copy()
    for row in range(0, len(inner), STRIP_ROWS):
        music = np.where(paint[row : row + STRIP_ROWS, :, None], 0, inner[row : row + STRIP_ROWS])
        path = viterbi(_scores(music), _moves())  # (width, rows)
        clean[border + row :][: len(music)] = colours[path.T]
    clean[border : PITCHES - border][paint] = 255
    return clean


def _is_noisy(inner: np.ndarray, paint: np.ndarray) -> bool:
    """Whether a tenth of the lit cells (rows, width, 3) is bluish, as no note and no paint is."""
    lit = int(np.count_nonzero(inner.any(axis=2) & ~paint))
    bluish = int(np.count_nonzero((inner[..., 2] > 0) & ~paint))
    return bluish > lit / 10


@lru_cache(maxsize=1)
def _colours_of_states() -> np.ndarray:
    """Red, green and blue of every state, float (17, 3)."""
    colours = np.zeros((STATES, 3))
    loudness = 2 * np.geomspace(45, 127, VELOCITY_LEVELS)
    colours[ONSET_STATES, 0] = loudness
    colours[SUSTAIN_STATES, 1] = loudness
    return colours


@lru_cache(maxsize=1)
def _moves() -> np.ndarray:
    """What going from a state to the next one adds, (17, 17): -inf where it cannot follow."""
    moves = np.full((STATES, STATES), -np.inf)
    moves[:, SILENT_STATE] = 0
    moves[:, ONSET_STATES] = ONSET_SCORE

    # A note sounds on as loud as it began.
    for level in range(VELOCITY_LEVELS):
        onset = ONSET_STATES.start + level
        sustain = SUSTAIN_STATES.start + level
        moves[[onset, sustain], sustain] = 0
    return moves


def _scores(music: np.ndarray) -> np.ndarray:
    """How well each state fits each cell of (rows, width, 3): float32 (width, rows, 17).

    The negative squared distance in brightness and redness, up to a constant for each cell.
    """
    states = _colours_of_states() @ BRIGHTNESS_AND_REDNESS * REDNESS_COUNTS  # (17, 2)
    seen = music.swapaxes(0, 1) @ BRIGHTNESS_AND_REDNESS  # (width, rows, 2)
    scores = 2 * seen @ states.T - (states**2).sum(axis=1)
    scores = scores.astype(np.float32)

    # In the first column nothing can sound on from before.
    scores[0, :, SUSTAIN_STATES] = -np.inf
    return scores
