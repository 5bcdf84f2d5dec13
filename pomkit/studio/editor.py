"""Masks and notes by hand, undone and done again, without any front end.

An `Editor` holds one `State` (picture, mask, bar lines, name). Every call that changes it is one
level of undo, and who observes the editor is told. Steps count from 0, pitches are MIDI numbers,
bars count from 1; a point is (step, pitch), both at cell centres.

    editor = Editor(song)
    editor.add_bars(9, 12)
    editor.part = "melody"       # of these bars only the melody
    editor.undo()

What is painted is the *selection*. While a `part` is chosen the mask is the selection within the
cells of that part; another choice cuts the same selection anew. Who owns an editor may leave a
value `beside` the state: undo brings it back with it.

A picture holds less than a song does. So a State remembers the Song that was opened and the cells
that were *touched* since, composed or drawn: `song` is that Song with what the picture has there.

The law: `undo` takes back exactly one call, and the picture stays one that `render` can draw. A
note of the Song that was opened stays as it was, part, velocity and all, until a cell of it is
touched; with none touched `song` is the Song itself.
Read on: `tools`, which does the same from a drag of the mouse; `session`, which composes.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..errors import OptionError
from ..music import mask_words, masks
from ..music.bars import beat_lines, lines_until
from ..music.changes import Changed, ChangeReport, HomeTable, with_region
from ..music.grid import Meter, Tempo, meters_of_bars
from ..music.midi_codes import DRUMS
from ..music.picture import parse, render
from ..music.pixels import BORDER, PITCHES, Mask, Picture, check_picture, row_of_pitch
from ..music.players import Players
from ..music.song import Song
from ..music.tables import NOTE_DTYPE, columns_of

LEVELS = 200  # calls that undo can take back
LOWEST_PITCH = BORDER  # under it, and over the highest one, are the chord rows
HIGHEST_PITCH = PITCHES - 1 - BORDER
# For what a thread that composes and the events of a page both touch.
LOCK = threading.RLock()
Music = Song | np.ndarray | int
Points = Sequence[tuple[float, float]]


class StateFields(NamedTuple):
    """What an operation may change. No array in it is written to again.

    Attributes:
        picture: uint8 (128, width, 3).
        mask: bool (128, width), True = regenerate.
        bars: the steps of the bar lines.
        name: of the song.
        origin: the Song that was opened; None: a picture or silence was.
        touched: the cells that were composed or drawn since, bool (128, width); None: no Song was
            opened.
        homes: where notes begin whose parts are known, (step, pitch), and the numbers of these.
        changed: the Song that was opened with what the picture has in the touched cells, and what
            could not be kept.
        part: the one part that is marked and composed, of `mask_words.part_words`; None: all.
        selection: what is painted, of which the mask is the cells of that part, bool (128, width);
            None: the mask itself.
        chords_shown: chords that a model was shown which the song does not name.
    """

    picture: Picture
    mask: Mask
    bars: tuple[int, ...]
    name: str
    origin: Song | None = None
    touched: Mask | None = None
    homes: HomeTable = {}
    changed: Changed | None = None
    part: str | None = None
    selection: Mask | None = None
    chords_shown: int = 0


class State(StateFields):
    """The fields, and what is read from them; that is read once."""

    def __repr__(self) -> str:
        marked = self.words if self.mask.any() else "nothing"
        return f"State({self.name!r}, {self.mask.shape[1]} steps, marked: {marked})"

    def _replace(self, **fields: Any) -> "State":
        """The state with other fields; of the same picture nothing is read again."""
        state = super()._replace(**fields)
        if "picture" not in fields and "read" in self.__dict__:
            state.__dict__["read"] = self.read
        return state

    @cached_property
    def read(self) -> Song:
        """The picture read as a Song of one part: what is seen."""
        return parse(self.picture)

    @property
    def steps_per_beat(self) -> int:
        """The grid: that of the Song that was opened, else 16ths."""
        return self.origin.steps_per_beat if self.origin else 4

    @property
    def tempi(self) -> tuple[Tempo, ...]:
        """The tempi of the Song that was opened, (step, BPM) each."""
        return self.origin.tempi if self.origin else ()

    @property
    def meters(self) -> tuple[Meter, ...]:
        """The time signatures of the Song that was opened, else those that the bars have."""
        if self.origin and self.origin.meters:
            return self.origin.meters
        lines = lines_until(self.bars, self.mask.shape[1], 4 * self.steps_per_beat)
        return tuple(meters_of_bars(lines, self.steps_per_beat))

    @property
    def beats(self) -> np.ndarray:
        """The steps at which beats begin, int (beats,): of 6/8 there are two in a bar."""
        width = self.mask.shape[1]
        return beat_lines(self.bars, self.meters, self.steps_per_beat, width)

    @cached_property
    def song(self) -> Song:
        """The Song that was opened with what has changed; else the picture read as a Song."""
        if self.changed is not None:
            return self.changed.song
        return replace(self.read, bars=self.bars, name=self.name)

    @property
    def report(self) -> ChangeReport:
        """What was changed in the Song that was opened, and what of it could not be kept."""
        return ChangeReport() if self.changed is None else self.changed.report

    # The mask, and the part that cuts it

    @cached_property
    def words(self) -> str:
        """The mask in words, "bars 5-8, melody"."""
        said = mask_words.in_words(self.mask, self.song, bars=self.bars, part=self.part)
        if self.part is None or not self.mask.any():
            return said
        # Whole bars of a part are called so, though its notes have become others since.
        whole, _, rows = mask_words.in_words(self.painted, bars=self.bars).rpartition(", ")
        return f"{whole}, {self.part}" if rows == mask_words.EVERY_PITCH else said

    @cached_property
    def part_cells(self) -> Mask:
        """The cells of the chosen part, of all where none is, bool (128, width)."""
        width = self.mask.shape[1]
        if self.part is None:
            return np.ones((PITCHES, width), bool)
        return mask_words.part_cells(self.song, self.part, width)

    @property
    def painted(self) -> Mask:
        """What is painted, whichever part is chosen, bool (128, width)."""
        return self.mask if self.selection is None else self.selection

    def selected(self, selection: Mask) -> "State":
        """The state with something else painted, bool (128, width), cut to the chosen part."""
        if self.part is None:
            return self._replace(mask=selection, selection=None)
        return self._replace(mask=selection & self.part_cells, selection=selection)

    def of_part(self, part: str | None) -> "State":
        """The state with another part chosen, for the same selection; OptionError for none."""
        return self._replace(part=part).selected(self.painted)

    # The picture, and what it changes in the song

    def redrawn(
        self,
        picture: Picture,
        region: Mask,
        homes: HomeTable | None = None,
        part: str | None = None,
    ) -> "State":
        """The state with another picture.

        Args:
            picture: uint8 (128, width, 3).
            region: the cells in which it may differ, bool (128, width).
            homes: the parts of notes that begin there, where these are known.
            part: a word of `mask_words.part_words`: whose all other new notes are; None: they go to
                the part that is nearest.
        """
        state = self._replace(picture=picture)
        if self.origin is None or self.touched is None:
            return state

        # What is drawn anew forgets who played there.
        known = dict(homes or {})
        if part is not None:
            known = self._homes_in(part, state.read.notes, region) | known
        for (step, pitch), parts in self.homes.items():
            if not region[row_of_pitch(pitch), step]:
                known[step, pitch] = parts
        touched = self.touched | region
        changed = with_region(self.origin, touched, picture, homes=known)
        changed = changed.noting(chords_shown=self.chords_shown)
        changed = changed._replace(song=changed.with_remarks())
        return state._replace(touched=touched, homes=known, changed=changed)

    def _homes_in(self, part: str, notes: np.ndarray, region: Mask) -> dict:
        """The places in a region, bool (128, width), where notes begin, and who of a part plays.

        Args:
            part: a word of `mask_words.part_words`.
            notes: of the new picture, NOTE_DTYPE (notes,).
            region: bool (128, width).
        """
        inside = notes[region[row_of_pitch(notes["pitch"]), notes["onset"]]]
        places = inside[["onset", "pitch"]].tolist()
        homes = self.players_of(part, inside)
        return {place: [home] for place, home in zip(places, homes, strict=False)}

    def players_of(self, part: str, notes: np.ndarray) -> list[int]:
        """The numbers of the parts that play new notes, NOTE_DTYPE (notes,), of one part.

        Where several are meant, the nearest one plays each note; none, where no part is.
        """
        song = self.song
        numbers = mask_words.part_numbers(song, part)
        # Of many parts drums play nothing, unless they are meant.
        pitched = [number for number in numbers if song.channels[number : number + 1] != (DRUMS,)]
        numbers = pitched or numbers
        return Players.of(song, numbers).nearest(columns_of(notes)).tolist() if numbers else []


def new_among(notes: np.ndarray, picture: Picture, before: Picture) -> np.ndarray:
    """Which notes begin where a picture differs from the one before, bool (notes,).

    Args:
        notes: that begin within the picture, NOTE_DTYPE (notes,).
        picture: uint8 (128, width, 3).
        before: the same of before; of another size: none is new.
    """
    pitch = notes["pitch"]
    if picture.shape != before.shape:
        return np.zeros(len(notes), bool)
    cell = (row_of_pitch(pitch), notes["onset"])
    differs = (picture[cell] != before[cell]).any(axis=1)
    # In the border there are chords, whatever notes have such pitches.
    return differs & (pitch >= LOWEST_PITCH) & (pitch <= HIGHEST_PITCH)


def first_state(
    music: Music, mask: np.ndarray | None = None, bars: Sequence[int] | None = None
) -> State:
    """The state that an Editor begins with.

    Args:
        music: a Song, a picture uint8 (128, width, 3), or a number of steps of silence.
        mask: bool (128, width), True = regenerate; None: nothing is marked.
        bars: the steps of the bar lines; None: the Song's, else those of 4/4.

    Raises:
        PictureError: the picture is none, or the mask does not fit it.
        OptionError: the number of steps is out of range.
    """
    song = music if isinstance(music, Song) else Song(np.zeros(0, NOTE_DTYPE))
    if bars is not None:
        song = replace(song, bars=tuple(bars))
    if isinstance(music, np.ndarray):
        picture = music.copy()
    else:
        picture = render(song, width=music if isinstance(music, int) else None)
    check_picture(picture)

    width = picture.shape[1]
    if mask is None:
        mask = np.zeros((PITCHES, width), bool)
    mask = masks.check_mask(mask, picture).copy()

    lines = song.bar_lines(width) if bars is None or not len(bars) else bars
    shown = tuple(int(line) for line in lines if line < width)
    state = State(picture, mask, shown, song.name)
    if not isinstance(music, Song):
        return state
    untouched = np.zeros((PITCHES, width), bool)
    return state._replace(origin=song, touched=untouched, changed=Changed(song, ChangeReport()))


class Present(NamedTuple):
    """What is there now, and what undo brings back.

    Attributes:
        state: the picture, the mask and the rest.
        beside: what the editor's owner keeps with it.
    """

    state: State
    beside: Any = None


class Editor:
    """A picture, a mask over it, and what was done to them.

    Args:
        music: a Song, a picture uint8 (128, width, 3), or a number of steps of silence.
        mask: bool (128, width), True = regenerate; None: nothing is marked.
        bars: the steps of the bar lines; None: the Song's, else those of 4/4.

    Raises:
        PictureError: the picture is none, or the mask does not fit it.
        OptionError: the number of steps is out of range.
    """

    def __init__(
        self, music: Music = 256, mask: np.ndarray | None = None, bars: Sequence[int] | None = None
    ) -> None:
        self._past = deque[Present](maxlen=LEVELS)
        self._future = deque[Present]()
        self._observers: list[Callable[[], None]] = []
        self._present = Present(first_state(music, mask, bars))

    def observe(self, act: Callable[[], None]) -> None:
        """Let `act` be called after every change: a front end draws there."""
        self._observers.append(act)

    # What is there

    @property
    def state(self) -> State:
        """The present state; nobody may write to its arrays."""
        return self._present.state

    @property
    def beside(self) -> Any:
        """What the editor's owner keeps with the present state; may be set without a new level."""
        return self._present.beside

    @beside.setter
    def beside(self, beside: Any) -> None:
        """Keep something else with the present state."""
        self._present = self._present._replace(beside=beside)

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return len(self._past) > 0

    @property
    def can_redo(self) -> bool:
        """Whether something was taken back."""
        return len(self._future) > 0

    @property
    def picture(self) -> Picture:
        """The picture, uint8 (128, width, 3)."""
        return self.state.picture.copy()

    @property
    def mask(self) -> Mask:
        """The mask, bool (128, width), True = regenerate; may be set to another one."""
        return self.state.mask.copy()

    @mask.setter
    def mask(self, mask: Mask) -> None:
        """Mark what a mask (128, width) marks; PictureError where it does not fit the picture."""
        mask = masks.check_mask(mask, self.state.picture).copy()
        self.take(self.state._replace(mask=mask, part=None, selection=None))

    @property
    def part(self) -> str | None:
        """The one part that is marked and composed; may be set to another one, or None for all.

        A word of `mask_words.part_words`: "melody", "accompaniment", or the name of a part.
        """
        return self.state.part

    @part.setter
    def part(self, part: str | None) -> None:
        """Cut what is painted to a part; OptionError where there is none of that name."""
        self.take(self.state.of_part(part))

    @property
    def song(self) -> Song:
        """The Song that was opened with what has changed since, or the picture read as one."""
        return self.state.song

    @property
    def width(self) -> int:
        """Steps of the picture."""
        return self.state.mask.shape[1]

    # Other music

    def load(
        self, music: Music, mask: np.ndarray | None = None, bars: Sequence[int] | None = None
    ) -> None:
        """Take other music, a mask (128, width) and bar lines, given as to the class."""
        self.take(first_state(music, mask, bars))

    def take(self, state: State, beside: Any = None) -> None:
        """Take a whole state: one level of undo.

        Args:
            state: it.
            beside: what the editor's owner keeps with it; None: what is there now.
        """
        with LOCK:
            self._past.append(self._present)
            self._future.clear()
            self._present = Present(state, self.beside if beside is None else beside)
        self._tell()

    # The mask

    def paint(self, region: Mask, erase: bool = False) -> None:
        """Add a region, bool (128, width), to what is painted, or take it out.

        Nothing changes where a part is chosen and the region lies outside it.
        """
        painted = self.state.painted
        region = masks.check_mask(region, self.state.picture)
        if self.state.part is not None and not (region & self.state.part_cells).any():
            return
        self._select(painted & ~region if erase else painted | region)

    def _select(self, selection: Mask) -> None:
        """Have nothing but a selection, bool (128, width), painted; PictureError."""
        selection = masks.check_mask(selection, self.state.picture)
        self.take(self.state.selected(selection))

    def add_stroke(self, points: Points, radius: float = 2.0, erase: bool = False) -> None:
        """Paint along `points` (step, pitch) with a brush of `radius` cells; two are a line."""
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
        self.paint(masks.bars(self.width, first, last, self.state.bars), erase)

    def preset(self, words: str) -> None:
        """Make the mask that words name, such as "melody", "bars:8-12" or "melody+chords".

        Args:
            words: as `masks.from_text` reads them. Also "loop middle": the bars between the first
                and the last quarter.
        """
        count = len(self.state.bars)
        middle = f"bars:{count // 4 + 1}-{max(count - count // 4, 1)}"
        words = words.replace("loop middle", middle)
        self._select(masks.from_text(words, self.song, width=self.width))

    def invert(self) -> None:
        """Mark what is not marked and the reverse; the chord rows stay."""
        self._select(self.state.painted ^ masks.everything(self.width))

    def clear(self) -> None:
        """Mark nothing."""
        self._select(np.zeros_like(self.state.mask))

    # Notes

    def note_at(self, step: float, pitch: float) -> int | None:
        """The number in `song.notes` of the note that sounds in the cell.

        Of several, in several parts, the one that began last, and of these the longest.
        """
        notes = self.song.notes
        since_onset = round(step) - notes["onset"]
        sounds = (since_onset >= 0) & (since_onset < notes["duration"])
        numbers = np.flatnonzero(sounds & (notes["pitch"] == round(pitch)))
        order = np.argsort(notes[numbers], order=("onset", "duration"), kind="stable")
        return int(numbers[order[-1]]) if len(numbers) else None

    def add_note(
        self,
        step: int,
        pitch: int,
        duration: int = 2,
        velocity: int = 90,
        *,
        part: str | None = None,
    ) -> None:
        """Write a note; one of the same pitch that sounds there ends.

        Args:
            step: where it begins.
            pitch: its MIDI number.
            duration: in steps.
            velocity: 1 to 127.
            part: who plays it, a word of `mask_words.part_words`; None: the chosen part, or else
                the one that is nearest.

        Raises:
            OptionError: it would begin outside the picture or in the chord rows; there is no such
                part.
        """
        self._check_place(step, pitch)
        new = np.array([(step, duration, pitch, velocity, 0)], NOTE_DTYPE)
        part = part or self.part
        self._draw(new[:0], new, self.state.players_of(part, new) if part else ())

    def move_note(self, number: int, step: int, pitch: int) -> None:
        """Let note `number` of `song.notes` begin at another step and pitch, in the same part.

        What the picture shows as one with it, notes of other parts, moves with it.

        Raises:
            OptionError: it would begin outside the picture or in the chord rows, or does so now.
        """
        self._check_place(step, pitch)
        old = self._seen_with(number)
        new = self.song.notes[[number]]
        new["onset"] = step
        new["pitch"] = pitch
        self._draw(old, new, old["part"].tolist())

    def resize_note(self, number: int, start: int, stop: int) -> None:
        """Let note `number` of `song.notes` sound from step `start` until `stop`, in the same part.

        What the picture shows as one with it, notes of other parts, does so, too.

        Raises:
            OptionError: it would not sound, or begin outside the picture; the picture does not
                show it.
        """
        self._check_place(start, int(self.song.notes["pitch"][number]))
        if start >= stop:
            raise OptionError(f"a note from step {start} to {stop}; let it end after it begins")
        old = self._seen_with(number)
        new = self.song.notes[[number]]
        new["onset"] = start
        new["duration"] = stop - start
        self._draw(old, new, old["part"].tolist())

    def delete_marked(self) -> None:
        """Delete the notes that begin in the mask; nothing happens where there are none."""
        state = self.state
        notes = state.read.notes
        stays = ~state.mask[row_of_pitch(notes["pitch"]), notes["onset"]]
        if stays.all():
            return
        picture = render(replace(state.read, notes=notes[stays]), width=self.width)
        region = (picture != state.picture).any(axis=2)  # (128, width)
        self.take(state.redrawn(picture, region))

    def remove_note(self, number: int) -> None:
        """Delete note `number` of `song.notes`, and what the picture shows as one with it.

        Raises:
            OptionError: the picture does not show it.
        """
        old = self._seen_with(number)
        self._draw(old, old[:0])

    def _check_place(self, step: int, pitch: int) -> None:
        """OptionError where no note may begin."""
        if not (0 <= step < self.width and LOWEST_PITCH <= pitch <= HIGHEST_PITCH):
            raise OptionError(
                f"a note at step {step}, pitch {pitch}: choose a step within 0 to "
                f"{self.width - 1}, a pitch within {LOWEST_PITCH} to {HIGHEST_PITCH}"
            )

    def _seen_with(self, number: int) -> np.ndarray:
        """The notes that the picture shows as one with note `number`, NOTE_DTYPE (notes,)."""
        notes = self.song.notes
        pitch = int(notes["pitch"][number])
        if not LOWEST_PITCH <= pitch <= HIGHEST_PITCH:
            raise OptionError(
                f"note {number} has pitch {pitch}, which the picture does not show; choose one "
                f"within {LOWEST_PITCH} to {HIGHEST_PITCH}"
            )
        return notes[_begins_with(notes, notes[number])]

    def _draw(self, old: np.ndarray, new: np.ndarray, players: Sequence[int] = ()) -> None:
        """Draw the picture again, so that it stays one that `render` can draw.

        Args:
            old: what goes, notes that begin together at one pitch, NOTE_DTYPE (notes,).
            new: the note that comes, or none, NOTE_DTYPE (0 or 1,).
            players: the numbers of the parts that play it; none: it is not known.
        """
        state = self.state
        seen = state.read
        notes = seen.notes
        if len(old):
            notes = notes[~_begins_with(notes, old[0])]
        picture = render(replace(seen, notes=np.concatenate([notes, new])), width=self.width)

        # All cells of the new note count as drawn. Who begins at its place already plays it, too.
        region = (picture != state.picture).any(axis=2)  # (128, width)
        homes = {}
        for note in new:
            step, duration, pitch, _, _ = note.tolist()
            end = min(step + duration, self.width)
            region |= masks.box(self.width, (pitch, pitch), (step, end))
            there = state.song.notes[_begins_with(state.song.notes, note)]
            parts = {*players, *there["part"].tolist()}
            if parts:
                homes[step, pitch] = sorted(parts)
        self.take(state.redrawn(picture, region, homes))

    # Undo

    def undo(self) -> bool:
        """Take back the last operation; False where there is none."""
        return self._travel(self._past, self._future)

    def redo(self) -> bool:
        """Do again what was undone; False where there is nothing."""
        return self._travel(self._future, self._past)

    def _travel(self, source: deque[Present], target: deque[Present]) -> bool:
        """Go to the last level of `source`, and leave the present one in `target`."""
        with LOCK:
            moves = len(source) > 0
            if moves:
                target.append(self._present)
                self._present = source.pop()
        self._tell()
        return moves

    def _tell(self) -> None:
        """Tell whoever observes that there may be another state."""
        for act in self._observers:
            act()


def _begins_with(notes: np.ndarray, note: np.ndarray) -> np.ndarray:
    """Which notes begin at the step and the pitch of one, bool (notes,)."""
    return (notes["onset"] == note["onset"]) & (notes["pitch"] == note["pitch"])


class Delegate:
    """An attribute of one part, offered by the whole: `mask = Delegate("editor", Editor)`.

    Args:
        part: the whole's name of the part.
        kind: the part's class: of it the whole's class has signature and docstring.
        doc: what the attribute is, where no class says so.
    """

    def __init__(self, part: str, kind: type, doc: str = "") -> None:
        self._part = part
        self._kind = kind
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, whole: Any, owner: type | None = None) -> Any:
        if whole is None:
            return getattr(self._kind, self._name, self)
        return getattr(getattr(whole, self._part), self._name)

    def __set__(self, whole: Any, value: Any) -> None:
        setattr(getattr(whole, self._part), self._name, value)


class EditorCalls:
    """Every call of an Editor, for a class that has one as `self.editor`."""

    editor: Editor
    state = Delegate("editor", Editor)
    picture = Delegate("editor", Editor)
    mask = Delegate("editor", Editor)
    part = Delegate("editor", Editor)
    song = Delegate("editor", Editor)
    width = Delegate("editor", Editor)
    can_undo = Delegate("editor", Editor)
    can_redo = Delegate("editor", Editor)
    load = Delegate("editor", Editor)
    paint = Delegate("editor", Editor)
    add_stroke = Delegate("editor", Editor)
    add_box = Delegate("editor", Editor)
    add_polygon = Delegate("editor", Editor)
    add_bars = Delegate("editor", Editor)
    preset = Delegate("editor", Editor)
    invert = Delegate("editor", Editor)
    clear = Delegate("editor", Editor)
    note_at = Delegate("editor", Editor)
    add_note = Delegate("editor", Editor)
    move_note = Delegate("editor", Editor)
    resize_note = Delegate("editor", Editor)
    delete_marked = Delegate("editor", Editor)
    remove_note = Delegate("editor", Editor)
    undo = Delegate("editor", Editor)
    redo = Delegate("editor", Editor)
