"""The notes of a set of pictures, as one table: what every measure counts.

A set is some pictures of one width, uint8 (n, 128, width, 3), or the `Clips` that were read from
them. With masks, only the notes that begin inside a mask count. So a set is read once and measured
often:

    clips = read_clips(pictures, masks)
    values = describe(clips)

Read on in `statistics`, which measures each picture of a set.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import OptionError
from ..music.pixels import BORDER, PITCHES, Mask, notes_of_spans, read_spans, row_of_pitch
from ..music.tables import BAR

Notes = np.ndarray  # NOTE_DTYPE (notes,)


class Clips(NamedTuple):
    """The notes of n pictures of one width.

    Attributes:
        notes: of all pictures, NOTE_DTYPE (notes,); `part` is the number of the picture.
        columns: the columns that count, bool (n, width).
    """

    notes: Notes
    columns: np.ndarray


PictureSet = Sequence[np.ndarray] | np.ndarray | Clips


def count_bars(steps: int) -> int:
    """How many bars of 16 steps are needed for so many steps."""
    return -(-steps // BAR)


def read_clips(pictures: PictureSet, masks: Mask | None = None) -> Clips:
    """Read the notes of pictures of one width.

    Args:
        pictures: uint8 (n, 128, width, 3), or Clips, which are given back as they are.
        masks: only notes that begin inside count: bool (128, width), or (n, 128, width) with one
            for each picture. None: all notes count.

    Raises:
        OptionError: the pictures are of different widths, or there are none.
    """
    if isinstance(pictures, Clips):
        return pictures

    shapes = {np.shape(picture) for picture in pictures}
    if len(shapes) != 1:
        raise OptionError(
            f"{len(pictures)} pictures of different width or none; give one or more of one width"
        )

    # One array of each kind of cell for all pictures.
    spans = [read_spans(picture) for picture in pictures]
    onset = np.stack([each.onset for each in spans])  # (n, 128, width)
    sustain = np.stack([each.sustain for each in spans])  # (n, 128, width)
    velocity = np.stack([each.velocity for each in spans])  # (n, 128, width)
    notes = notes_of_spans(onset, sustain, velocity)

    # The border rows hold no notes: a mask that reaches only there opens no column.
    mask = np.broadcast_to(True if masks is None else masks, onset.shape)  # (n, 128, width)
    columns: Any = mask[:, BORDER : PITCHES - BORDER].any(axis=1)  # (n, width)
    inside = mask[notes["part"], row_of_pitch(notes["pitch"]), notes["onset"]]
    return Clips(notes[inside], columns)
