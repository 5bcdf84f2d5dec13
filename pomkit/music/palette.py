"""The colours of chords, and the border rows of a picture that hold them.

Every label that a picture can hold has one colour: the hue is the root's place on the circle of
fifths, saturation and brightness are the quality. "N" is grey, "nothing known" is black. The
nearest colour counts, so small errors do no harm: `read_chords` inverts `paint_chords`.

    paint_chords(picture, [Chord(0, 16, "C:maj7")])
    read_chords(picture)                         # (Chord(onset=0, duration=16, label='C:maj7'),)

Read on: `picture`, which draws the notes between the borders.
"""

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from .chords import LABELS, QUALITIES, ROOTS, Chord, tidy_chords
from .pixels import BORDER, PITCHES, Picture
from .tables import MAX_STEPS

# Saturation and brightness of each of QUALITIES: seven shades of a strong tint, seven of a pale.
TINTS = [(s, v) for s in (0.75, 0.5) for v in (0.86, 0.76, 0.66, 0.56, 0.46, 0.36, 0.26)]
NO_CHORD_GREY = (110, 110, 110)
BLACK = (0, 0, 0)


@lru_cache(maxsize=1)
def palette() -> dict[str, tuple[int, int, int]]:
    """The colour of every label that a picture can hold: label -> (red, green, blue), 0-255.

    None is white or pure blue, the colours of a painted mask.
    """
    colours = [NO_CHORD_GREY]
    for semitones in range(len(ROOTS)):
        fifths = 7 * semitones % 12
        for saturation, brightness in TINTS[: len(QUALITIES)]:
            rgb = colorsys.hsv_to_rgb(fifths / 12, saturation, brightness)
            red, green, blue = (round(255 * share) for share in rgb)
            colours.append((red, green, blue))
    return dict(zip(LABELS, colours, strict=True))


def paint_chords(
    picture: Picture, chords: Sequence[Chord], start: int = 0, border: int = BORDER
) -> None:
    """Paint chords into the border rows of a picture, in place; columns without one become black.

    Args:
        picture: uint8 (128, width, 3).
        chords: with any labels in Harte syntax; overlaps are cut.
        start: the step of the song that is column 0.
        border: rows at the top, and as many at the bottom.

    Raises:
        OptionError: a label is no chord.
    """
    edges, colours = _colour_spans(tuple(chords))
    columns = np.minimum(np.maximum(edges - start, 0), picture.shape[1])
    line = colours.repeat(columns[1:] - columns[:-1], axis=0)  # (width, 3)
    picture[:border] = picture[PITCHES - border :] = line


@lru_cache(maxsize=64)
def _colour_spans(chords: tuple[Chord, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The steps where the border's colour changes, (n + 1,), and the colours between, (n, 3)."""
    tidy, _ = tidy_chords(chords)
    edges = [-MAX_STEPS]
    colours = [BLACK]  # black before and after each chord (red, green, blue)
    for onset, duration, label in tidy:
        edges += [onset, onset + duration]
        colours += [palette()[label], BLACK]
    return np.array([*edges, 2 * MAX_STEPS]), np.array(colours, np.uint8)


def read_chords(picture: Picture, border: int = BORDER) -> tuple[Chord, ...]:
    """Read the chords in a picture's border rows; equal neighbours are one chord.

    Args:
        picture: uint8 (128, width, 3).
        border: rows at the top, and as many at the bottom; 0: there are no chords.
    """
    if not border:
        return ()

    # A column's colour is the median of its border rows: some may be damaged.
    rows = np.concatenate([picture[:border], picture[PITCHES - border :]])
    line = np.partition(rows, border, axis=0)[border]  # (width, 3)

    # The nearest colour of the palette; label 0 is black, where nothing is known.
    labels = ["", *palette()]
    table = np.array([BLACK, *palette().values()])
    colours, which = np.unique(line, axis=0, return_inverse=True)
    distances = ((colours[:, None] - table) ** 2).sum(axis=-1)  # (colours, labels)
    nearest = distances.argmin(axis=1)[which.reshape(-1)]  # (width,)

    # A chord lasts as long as its label.
    edges = np.flatnonzero(np.diff(nearest, prepend=-1, append=-1)).tolist()
    spans = [(a, b) for a, b in pairwise(edges) if nearest[a]]
    return tuple(Chord(a, b - a, labels[nearest[a]]) for a, b in spans)
