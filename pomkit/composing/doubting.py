"""Doubt: how odd each note of a picture is to a model, given all the others.

A note is hidden, its onset with all its sustains, and the model is asked how likely it is that a
note begins there. Its doubt is -log2 of that, in bits: 1 where the model would have tossed a coin,
10 where it would have given the note one chance in a thousand. How loud a note is does not count.

    bits = doubt(load_model("tiny"), picture)            # float32 (128, width)
    show(picture, doubt=bits)
    mask = masks.doubtful(picture, model, share=0.05)    # the oddest twentieth of the notes

To ask about one note a call takes as many calls as there are notes. So the notes are dealt to a few
calls, neighbours to different ones, and empty stretches of the same lengths are hidden with them:
a hole does not betray that a note was there. Law: with one note a call and no empty stretches it
is -log2 p(a note begins here | all the rest).
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from ..errors import check_range, check_whole
from ..music import masks
from ..music.chords import Chord
from ..music.grid import Meter
from ..music.palette import paint_chords
from ..music.pixels import (
    Mask,
    Picture,
    Spans,
    check_picture,
    notes_of_spans,
    pitch_of_row,
    read_spans,
    row_of_pitch,
    runs_of_spans,
)
from ..music.tables import columns_of
from ..processes.contract import Callback, Model, Options
from .options import MOST, check_options, refuse_positional
from .region import lay_out, model_of, seed_of

# Network calls of a window.
DOUBT_CALLS = 8
MOST_EMPTY = 100
# How many places are tried for an empty stretch.
TRIES = 32


# fmt: off
def doubt(
    model: Model | str, picture: Picture, *positional: Any,
    calls: int | None = DOUBT_CALLS, empty: int = 1, seed: int = 0,
    chords: Sequence[Chord] | None = None, bars: Sequence[int] | None = None,
    meters: Sequence[Meter] = (), callback: Callback | None = None,
) -> np.ndarray:
    # fmt: on
    """How odd each note of a picture is to a model, given all the others, in bits.

    A picture wider than what the model learned is read window by window, each with music around
    it. What the model would rather have where nothing sounds is not told: silence is 0.

    Args:
        model: what `load_model` gives, or what it takes: a name, or a path. It must know cells.
        picture: uint8 (128, width, 3).
        positional: nothing; all that follows is given by name.
        calls: network calls of a window, over which its notes are dealt; None: one note a call.
        empty: empty stretches that are hidden with each note.
        seed: of the dealing and the empty stretches.
        chords: written into the chord rows first.
        bars: steps of the picture's bar lines, as `inpaint` takes them.
        meters: (step, numerator, denominator) of the picture, as `inpaint` takes them.
        callback: is given {"i", "n"} after each call; what it raises ends the asking.

    Returns:
        float32 (128, width): on all cells of a note its doubt, 0 elsewhere.

    Raises:
        PictureError: the picture is none.
        OptionError: an option does not fit, or the model does not say how likely a note is.
    """
    refuse_positional("doubt", positional)
    model = model_of(model)
    check_picture(picture)
    check_whole("calls", 1 if calls is None else calls, 1, MOST["calls"])
    check_whole("empty", empty, 0, MOST_EMPTY, unit="stretches for each note")
    generator = torch.Generator().manual_seed(seed_of(seed))
    options = replace(check_options(model, {}), generator=generator)
    if chords is not None:
        picture = picture.copy()
        paint_chords(picture, chords)

    # A window tells of the notes that begin in the columns that it would settle.
    spans = read_spans(picture)
    notes = notes_of_spans(spans.onset, spans.sustain, spans.velocity)
    layout = lay_out(model, picture, spans.onset | spans.sustain, bars, meters=meters)
    notes["onset"] += layout.lead
    stops = [window.stop for window in layout.windows]
    home = np.searchsorted(stops, notes["onset"], side="right")

    # No window takes more calls than it has notes.
    counts = np.bincount(home, minlength=len(stops))
    most = len(notes) if calls is None else calls
    tell = teller_of(callback, int(np.minimum(counts, most).sum()))

    bits = np.zeros(len(notes), np.float32)
    rng = np.random.default_rng(generator.initial_seed())
    for number, window in enumerate(layout.windows):
        there = home == number
        asked = notes[there]
        asked["onset"] -= window.start
        part = layout.canvas[:, window.start : window.start + layout.reach]
        here = layout.options_of(window, options)
        remember = partial(layout.memory_without, window) if model.recalls else None
        ask = partial(doubts, model, part, asked, here, remember=remember)
        bits[there] = ask(calls=most, empty=empty, rng=rng, tell=tell)
    return on_cells(spans, bits)


def teller_of(callback: Callback | None, count: int) -> Callable[[], None]:
    """A function that tells a callback of one more of `count` calls, each time it is called."""
    numbers = itertools.count()

    def tell() -> None:
        if callback is not None:
            callback({"i": next(numbers), "n": count})

    return tell


def doubtful(picture: Picture, model: Model | str, share: float = 0.05, **options: Any) -> Mask:
    """The oddest notes of a picture: all their cells.

    Args:
        picture: uint8 (128, width, 3).
        model: what `doubt` takes.
        share: how many of the notes, from 0 to 1, rounded up.
        options: those of `doubt`.

    Returns:
        bool (128, width).

    Raises:
        PictureError: the picture is none.
        OptionError: an option does not fit, or the model does not say how likely a note is.
    """
    check_range("share", share, 0, 1, unit="of the notes")
    doubt_of_cell = doubt(model, picture, **options)
    spans = read_spans(picture)
    bits = doubt_of_cell[spans.onset]  # (notes,), by row and step
    oddest = np.argsort(-bits, kind="stable")[: math.ceil(share * len(bits))]
    chosen = np.zeros(len(bits), bool)
    chosen[oddest] = True
    return on_cells(spans, chosen)


def doubts(
    model: Model,
    part: Picture,
    notes: np.ndarray,
    options: Options,
    *,
    calls: int,
    empty: int,
    rng: np.random.Generator,
    tell: Callable[[], None],
    remember: Callable[[Mask], np.ndarray] | None = None,
) -> np.ndarray:
    """The doubt of notes of one window, float32 (notes,), in bits.

    Args:
        model: says how likely a cell is what.
        part: the window, uint8 (128, w, 3).
        notes: NOTE_DTYPE (notes,), in steps of the window.
        options: of the window.
        calls: network calls over which the notes are dealt, at most.
        empty: empty stretches that are hidden with each note.
        rng: of the dealing and the empty stretches.
        tell: is called after each call.
        remember: what the rest of the song says of hidden cells, see `Layout.memory_without`; None:
            the model is not told.
    """
    width = part.shape[1]
    end = width if options.end is None else min(options.end, width)
    notes["duration"] = np.minimum(notes["duration"], end - notes["onset"])
    spans = read_spans(part)
    sounds = (spans.onset | spans.sustain)[:, :end]

    bits = np.zeros(len(notes), np.float32)
    for group in deal(notes, calls, rng):
        asked = notes[group]
        holes = [asked, *(in_silence(asked, sounds, rng) for _ in range(empty))]
        hidden = masks.cells_of(columns_of(np.concatenate(holes)), width, 0)
        here = options if remember is None else replace(options, memory=remember(hidden))
        _, _, begins = model.surprise(part, hidden, here)
        bits[group] = begins[row_of_pitch(asked["pitch"]), asked["onset"]]
        tell()
    return bits


def deal(notes: np.ndarray, calls: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Deal notes to calls, neighbours to different ones: the numbers of each call's notes, int.

    Args:
        notes: NOTE_DTYPE (notes,).
        calls: how many; no call is without notes.
        rng: of the dealing.
    """
    # Of as many successive notes as there are calls, each goes to another one.
    order = np.lexsort((notes["pitch"], notes["onset"]))
    calls = max(min(calls, len(notes)), 1)
    rounds = math.ceil(len(notes) / calls)
    turns = [rng.permutation(calls) for _ in range(rounds)]
    turn = np.array(turns, int).reshape(-1)[: len(notes)]  # (notes,)
    return [order[turn == call] for call in range(calls) if (turn == call).any()]


def in_silence(notes: np.ndarray, sounds: Mask, rng: np.random.Generator) -> np.ndarray:
    """Notes as long as the given ones at random places where nothing sounds.

    Args:
        notes: NOTE_DTYPE (notes,).
        sounds: bool (128, w), where notes sound.
        rng: of the places: all steps, and the pitches from the lowest in use to the highest.

    Returns:
        NOTE_DTYPE (up to notes,): one that finds no place is left out.
    """
    rows = np.flatnonzero(sounds.any(axis=1))
    length = notes["duration"][:, None]  # (notes, 1)
    tries = (len(notes), TRIES)
    row = rng.integers(rows[0], rows[-1] + 1, tries)
    start = rng.integers(0, sounds.shape[1] - length + 1, tries)

    # A stretch is empty where the count of sounding cells stays the same.
    count = np.pad(sounds.cumsum(axis=1), ((0, 0), (1, 0)))  # (128, w + 1)
    is_empty = count[row, start] == count[row, start + length]
    first = is_empty.argmax(axis=1)
    each = np.arange(len(notes))
    moved = notes.copy()
    moved["onset"] = start[each, first]
    moved["pitch"] = pitch_of_row(row[each, first])
    return moved[is_empty.any(axis=1)]


def on_cells(spans: Spans, values: np.ndarray) -> np.ndarray:
    """The value of each note on all its cells, 0 elsewhere: (128, width), like the values.

    Args:
        spans: of the picture.
        values: of its notes by row and step, (notes,).
    """
    runs = runs_of_spans(spans.onset, spans.sustain)
    out = np.zeros(spans.onset.shape, values.dtype)
    out.reshape(-1)[runs.cells] = values.repeat(runs.length)  # (128 width,)
    return out
