"""What a model is asked to compose: the tasks of the judge, and the windows that they are asked of.

    windows = held_out(songs, width=256, count=48)
    song, start, picture = windows[0]
    mask = TASKS["melody"].mask_of(song, start, 256)

A task says which cells of a window are hidden. **A new task** is one line in `TASKS`, with a small
function for its mask.

Most files name no chords. So a model is asked more than once: `CHORDS` says what it is shown of a
song's chords, and `as_brought` gives the picture of a window that shows it. Read on in `judging`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice, zip_longest
from typing import Any, NamedTuple

import numpy as np

from ..data.windows import Windows
from ..music import masks
from ..music.chords import Chord
from ..music.palette import paint_chords
from ..music.picture import render
from ..music.pixels import BORDER, PITCHES, Mask, Picture
from ..music.recall import WholeSong
from ..music.song import Song


class TestWindow(NamedTuple):
    """A stretch of a held-out song.

    Attributes:
        song: the whole song.
        start: the step of the song where the picture begins.
        picture: uint8 (128, width, 3).
    """

    song: Song
    start: int
    picture: Picture


MaskOf = Callable[[Song, int, int], Mask]  # of a window (song, start, width)


class Task(NamedTuple):
    """What is hidden from the model, and what is known then.

    Attributes:
        kind: the kind of notes that is hidden: all, melody or accompaniment.
        mask_of: (song, start, width) -> the mask of a window, bool (128, width).
        width: of the windows, in steps; None: as wide as the model.
        fraction: one of so many windows is composed.
        of_chords: whether only windows of songs with chords are asked for.
        has_context: whether any notes are known, which `baselines.copied` needs.
    """

    kind: str
    mask_of: MaskOf
    width: int | None = None
    fraction: int = 1
    of_chords: bool = False
    has_context: bool = True


# Points of a line over a window, as shares of its width.
X = np.linspace(0.05, 0.95, 33)
DOTS = np.random.default_rng(0).uniform((0, 44), (1, 88), (50, 2))  # (50, 2)
# Brush strokes over a window: radius in cells, paths of points (share of the width, pitch). They
# go from what training saw to what it did not.
SHAPES: dict[str, tuple[float, list[Any]]] = {
    "rising line": (3, [np.c_[X, 46 + 40 * X]]),
    "falling line": (3, [np.c_[X, 86 - 40 * X]]),
    "diverging lines": (3, [np.c_[X, 66 + 22 * X], np.c_[X, 66 - 22 * X]]),
    "arch": (3, [np.c_[X, 48 + 36 * np.sin(np.pi * X)]]),
    "blob": (16, [[(0.35, 62), (0.5, 70), (0.6, 60)]]),
    "scattered dots": (2.5, [[dot] for dot in DOTS]),
}


def shape_cells(name: str, song: Song, start: int, width: int) -> Mask:
    """The mask of a shape, bool (128, width).

    Args:
        name: one of `SHAPES`.
        song, start: of the window; a shape lies alike whatever they are.
        width: of the window, in steps.
    """
    radius, paths = SHAPES[name]
    mask = np.zeros((PITCHES, width), bool)
    for path in paths:
        points = np.multiply(path, (width, 1))  # (points, 2)
        mask |= masks.stroke(width, points, radius)
    return mask


def hidden_picture(song: Song, start: int, width: int) -> Mask:
    """Notes and chords are hidden, bool (128, width)."""
    return masks.everything(width, chords=True)


def hidden_notes(song: Song, start: int, width: int) -> Mask:
    """Notes are hidden, chords are known, bool (128, width)."""
    return masks.everything(width)


def second_half(song: Song, start: int, width: int) -> Mask:
    """What follows is hidden, bool (128, width)."""
    return masks.continuation(width, width // 2)


def middle_bars(song: Song, start: int, width: int) -> Mask:
    """The bars 13 to 20 of a window of 4/4 are hidden, bool (128, width)."""
    # The same columns in every song, so that windows can be compared.
    return masks.bars(width, 13, 20)


def melody_cells(song: Song, start: int, width: int) -> Mask:
    """The cells around the melody are hidden, bool (128, width)."""
    return masks.melody(song, start=start, width=width)


def accompaniment_cells(song: Song, start: int, width: int) -> Mask:
    """The cells around the accompaniment are hidden, bool (128, width)."""
    return masks.accompaniment(song, start=start, width=width)


TASKS: dict[str, Task] = {
    "unconditional": Task("all", hidden_picture, has_context=False),
    "melody": Task("melody", melody_cells),
    "accompaniment": Task("accompaniment", accompaniment_cells),
    "continuation": Task("all", second_half),
    "loop middle": Task("all", middle_bars, width=512),
    "chords only": Task("all", hidden_notes, of_chords=True, has_context=False),
    **{name: Task("all", partial(shape_cells, name), fraction=3) for name in SHAPES},
}


def held_out(songs: Sequence[Song], width: int, count: int, seed: int = 0) -> list[TestWindow]:
    """Choose windows of songs: one of each song in turn, at random bar lines, where music is dense.

    Args:
        songs: the held-out songs.
        width: of the windows, in steps.
        count: how many windows, or as many as there are.
        seed: of the order of each song's bar lines.
    """
    rng = np.random.default_rng(seed)
    starts = []
    for song in songs:
        bar_lines = Windows([song], width).starts[0]
        starts.append(rng.permutation(bar_lines))

    # A window is rendered when its turn comes, and no more than are needed.
    windows = _in_turn(songs, starts, width)
    dense = filter(_is_dense, windows)
    return list(islice(dense, count))


def _in_turn(
    songs: Sequence[Song], starts: Sequence[np.ndarray], width: int
) -> Iterator[TestWindow]:
    """The first window of each song, the second of each, and so on; `starts`: of each song."""
    for turn in zip_longest(*starts):
        for song, start in zip(songs, turn, strict=True):
            if start is not None:
                picture = render(song, int(start), width)
                yield TestWindow(song, int(start), picture)


def _is_dense(window: TestWindow) -> bool:
    """Whether there is an onset every other step on average: no intros and endings."""
    red = window.picture[BORDER : PITCHES - BORDER, :, 0]
    _, width = red.shape
    return np.count_nonzero(red) >= width / 2


def annotated_chords(song: Song) -> tuple[Chord, ...]:
    """The chords that came with the song, as people wrote them down."""
    return song.chords


def no_chords(song: Song) -> tuple[Chord, ...]:
    """None: what a model sees of nearly all files, if nobody estimates them."""
    return ()


def estimated_chords(song: Song) -> tuple[Chord, ...]:
    """Chords estimated from the song as it is before anything is composed: all that a user has."""
    return song.with_chords().chords


# What a model is shown of a song's chords: name -> the chords of a song.
CHORDS: dict[str, Callable[[Song], tuple[Chord, ...]]] = {
    "annotated": annotated_chords,
    "estimated": estimated_chords,
    "none": no_chords,
}


def as_brought(window: TestWindow, chords: str) -> Picture:
    """The window as a file shows it to a model: uint8 (128, width, 3); its notes are the same.

    Args:
        window: of a song with annotated chords.
        chords: one of `CHORDS`.
    """
    picture = window.picture.copy()
    paint_chords(picture, CHORDS[chords](window.song), window.start)
    return picture


def song_around(window: TestWindow, chords: str) -> WholeSong:
    """The song of a window as a file shows it to a model that has a memory.

    Args:
        window: of a song with annotated chords.
        chords: one of `CHORDS`.
    """
    song = replace(window.song, chords=CHORDS[chords](window.song))
    return WholeSong.of(song, window.start)
