"""What of a picture is odd to a model: the doubt of its notes, and the bar in which it is greatest.

    bits = doubt(model, state.picture)
    oddest_bar(bits, state)                      # 7

Read on: `session`, which asks for it; `composing.doubting` says what doubt is.
"""

from typing import NamedTuple

import numpy as np

from ..music.pixels import Picture, row_of_pitch
from ..processes.contract import Model
from .editor import State

CANNOT_DOUBT = "this model does not say how likely a note is"
# A note is odd as far as its doubt exceeds that of so many of the notes.
USUAL_SHARE = 0.75


class Oddness(NamedTuple):
    """What a model said of a picture.

    Attributes:
        picture: uint8 (128, width, 3).
        model: that was asked.
        bits: on all cells of a note its doubt, float32 (128, width).
    """

    picture: Picture
    model: Model
    bits: np.ndarray


def can_doubt(model: Model) -> bool:
    """Whether a model says how likely a note is."""
    return type(model).surprise is not Model.surprise


def bits_of_notes(bits: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """The doubt of each note of a picture, float32 (notes,).

    Args:
        bits: of the cells, float32 (128, width).
        notes: NOTE_DTYPE (notes,).
    """
    return bits[row_of_pitch(notes["pitch"]), notes["onset"]]


def oddest_bar(bits: np.ndarray, state: State) -> int | None:
    """The bar with the oddest notes, from 1 on; None where there are no notes.

    Only what a note's doubt exceeds the usual by counts: many ordinary notes beside two wrong ones
    do not hide them.

    Args:
        bits: doubt of the cells, float32 (128, width).
        state: the picture and its bars. Of a mask, and of a chosen part, only the notes count.
    """
    notes = state.read.notes
    cells = state.mask if state.mask.any() else state.part_cells
    notes = notes[cells[row_of_pitch(notes["pitch"]), notes["onset"]]]
    if not len(notes):
        return None
    doubt_of_note = bits_of_notes(bits, notes)
    bar = np.searchsorted(state.bars, notes["onset"], side="right")
    count = np.bincount(bar)  # (bars + 1,)
    total = np.bincount(bar, doubt_of_note)  # (bars + 1,)
    usual = np.quantile(doubt_of_note, USUAL_SHARE)
    excess = np.bincount(bar, np.maximum(doubt_of_note - usual, 0))  # (bars + 1,)
    # Where no note stands out, the bar of the greatest mean.
    score = excess if excess.any() else total / np.maximum(count, 1)
    return max(int(np.where(count, score, -1).argmax()), 1)
