"""Masks and notes by hand, without any front end: every operation of the painter and the studio, undone and done again.

Steps count from 0, pitches are MIDI numbers, bars count from 1; a point is (step, pitch), both at cell centres.
"""

import io
import json
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import OptionError, PictureError
from ..files import AnyPath, write_atomically
from ..music import masks
from ..music.picture import parse, render
from ..music.pixels import PITCHES, check_picture
from ..music.song import Song
from ..music.tables import NOTE_DTYPE

LEVELS = 200  # of undo
BORDER = 8  # chord rows
LOCK = threading.RLock()  # for what a thread that composes and the page's events both touch
Music = Song | np.ndarray | int
Points = Sequence[tuple[float, float]]


class State(NamedTuple):
    """What an operation may change: picture, mask, steps of the bar lines, name. No array in it is written to again."""

    picture: np.ndarray
    mask: np.ndarray
    bars: tuple[int, ...]
    name: str


class Editor:
    """A picture, a mask over it, and what was done to them: every call that changes something is one level of undo.
    `music`: a Song, a picture uint8 (128, width, 3), or a number of steps of silence; `mask`: bool (128, width), True =
    regenerate; `bars`: steps of the bar lines (None: the Song's, else 4/4). Raises PictureError, OptionError."""

    def __init__(
        self, music: Music = 256, mask: np.ndarray | None = None, bars: Sequence[int] | None = None
    ) -> None:
        self._past, self._future = deque[State](maxlen=LEVELS), deque[State]()
        self._state = begun(music, mask, bars)

    def load(
        self, music: Music, mask: np.ndarray | None = None, bars: Sequence[int] | None = None
    ) -> None:
        """Take other music, given as to the class."""
        self._edit(*begun(music, mask, bars))

    @property
    def picture(self) -> np.ndarray:
        """The picture, uint8 (128, width, 3)."""
        return self._state.picture.copy()

    @property
    def mask(self) -> np.ndarray:
        """The mask, bool (128, width), True = regenerate; may be set to another one."""
        return self._state.mask.copy()

    @mask.setter
    def mask(self, mask: np.ndarray) -> None:
        self._edit(mask=masks.check_mask(mask, self._state.picture).copy())

    @property
    def song(self) -> Song:
        """The picture read as a Song, with its bar lines and name."""
        return replace(parse(self._state.picture), bars=self._state.bars, name=self._state.name)

    @property
    def width(self) -> int:
        """Steps of the picture."""
        return self._state.mask.shape[1]

    def paint(self, region: np.ndarray, erase: bool = False) -> None:
        """Add a region, bool (128, width), to the mask, or take it out."""
        self.mask = self._state.mask & ~region if erase else self._state.mask | region

    def add_stroke(self, points: Points, radius: float = 2.0, erase: bool = False) -> None:
        """Paint along `points` (step, pitch) with a brush of `radius` cells; two points are a line."""
        self.paint(masks.stroke(self.width, points, radius), erase)

    def add_box(
        self,
        pitch: tuple[int, int] | None = None,
        steps: tuple[int, int] | None = None,
        erase: bool = False,
    ) -> None:
        """Paint a rectangle: pitches inclusive, steps half-open; None: all."""
        self.paint(masks.box(self.width, pitch, steps), erase)

    def add_polygon(self, points: Points, erase: bool = False) -> None:
        """Paint the inside of the polygon through `points` (step, pitch)."""
        self.paint(masks.polygon(self.width, points), erase)

    def add_bars(self, first: int, last: int | None = None, erase: bool = False) -> None:
        """Paint whole bars, `first` to `last`, both included."""
        self.paint(masks.bars(self.width, first, last, self._state.bars), erase)

    def preset(self, words: str) -> None:
        """Make the mask that `masks.from_text` reads in words like "melody", "bars:8-12" or "melody+chords".
        Also "loop middle": the bars between the first and the last quarter."""
        count = len(self._state.bars)
        middle = f"bars:{count // 4 + 1}-{max(count - count // 4, 1)}"
        self.mask = masks.from_text(
            words.replace("loop middle", middle), self.song, width=self.width
        )

    def invert(self) -> None:
        """Mark what is not marked and the reverse; the chord rows stay."""
        self.mask = self._state.mask ^ masks.everything(self.width)

    def clear(self) -> None:
        """Mark nothing."""
        self.mask = np.zeros_like(self._state.mask)

    def note_at(self, step: float, pitch: float) -> int | None:
        """The number in `song.notes` of the note that sounds in the cell."""
        notes = self.song.notes
        since = round(step) - notes["onset"]
        found = np.flatnonzero(
            (notes["pitch"] == round(pitch)) & (since >= 0) & (since < notes["duration"])
        )
        return int(found[0]) if len(found) else None

    def add_note(self, step: int, pitch: int, duration: int = 2, velocity: int = 90) -> None:
        """Write a note; one of the same pitch that sounds there ends."""
        self._rewrite([], (step, duration, pitch, velocity, 0))

    def move_note(self, number: int, step: int, pitch: int) -> None:
        """Let note `number` of `song.notes` begin at another step and pitch."""
        _, duration, _, velocity, _ = self.song.notes[number].tolist()
        self._rewrite([number], (step, duration, pitch, velocity, 0))

    def remove_note(self, number: int) -> None:
        """Delete note `number` of `song.notes`."""
        self._rewrite([number])

    def _rewrite(self, without: list[int], *notes: tuple[int, ...]) -> None:
        """Render the song again with other notes, so that the picture stays what `render` can draw."""
        for step, _, pitch, *_ in notes:
            if not (0 <= step < self.width and BORDER <= pitch < PITCHES - BORDER):
                raise OptionError(
                    f"a note at step {step}, pitch {pitch}: choose a step within 0 to {self.width - 1}, a pitch "
                    f"within {BORDER} to {PITCHES - BORDER - 1}"
                )
        song = self.song
        table = np.concatenate([np.delete(song.notes, without), np.array([*notes], NOTE_DTYPE)])
        self._edit(picture=render(replace(song, notes=table), width=self.width))

    def undo(self) -> bool:
        """Take back the last operation; False where there is none."""
        return self._travel(self._past, self._future)

    def redo(self) -> bool:
        """Do again what was undone; False where there is nothing."""
        return self._travel(self._future, self._past)

    def _travel(self, source: deque[State], target: deque[State]) -> bool:
        with LOCK:
            if there := len(source) > 0:
                target.append(self._state)
                self._state = source.pop()
        self.redraw()
        return there

    def _edit(self, *state: Any, **changes: Any) -> None:
        with LOCK:
            self._past.append(self._state)
            self._future.clear()
            self._state = State(*state) if state else self._state._replace(**changes)
        self.redraw()

    def redraw(self) -> None:
        """Called after every change: a front end draws here."""


def begun(music: Music, mask: np.ndarray | None, bars: Sequence[int] | None) -> State:
    """The state that an Editor begins with, checked."""
    song = music if isinstance(music, Song) else Song(np.zeros(0, NOTE_DTYPE))
    picture = (
        music.copy()
        if isinstance(music, np.ndarray)
        else render(song, width=music if isinstance(music, int) else None)
    )
    check_picture(picture)
    width = picture.shape[1]
    mask = masks.check_mask(
        np.zeros((PITCHES, width), bool) if mask is None else mask, picture
    ).copy()
    lines = song.bar_lines(width) if bars is None else bars
    return State(picture, mask, tuple(int(line) for line in lines if line < width), song.name)


def save_states(path: AnyPath, states: Sequence[State], about: dict[str, Any]) -> None:
    """Write states, and `about` (JSON values), to one .npz file, atomically."""
    arrays = {
        f"{field}{i}": getattr(state, field)
        for i, state in enumerate(states)
        for field in State._fields
    }
    with write_atomically(path) as file:
        np.savez_compressed(
            file, about=np.array(json.dumps(about | {"states": len(states)})), **arrays
        )


def load_states(data: bytes) -> tuple[list[State], dict[str, Any]]:
    """The states, at least one, and `about` of such a file; PictureError."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            return [
                begun(file[f"picture{i}"], file[f"mask{i}"], file[f"bars{i}"])._replace(
                    name=str(file[f"name{i}"])
                )
                for i in range(max(about["states"], 1))
            ], about
    except Exception as fault:  # numpy and zip raise many kinds; all mean the same
        raise PictureError(
            f"this is no saved studio, or a damaged one ({fault}); save it again as .npz"
        ) from fault
