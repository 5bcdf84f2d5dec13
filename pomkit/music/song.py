"""Song: a piece of music as a table of notes on a grid of steps, with chords, parts and bars.

Time is counted in steps, 16ths where `steps_per_beat` is 4. They come from MIDI ticks, never from
seconds, so every song stands at 120 BPM: a beat lasts 0.5 s, a 16th 0.125 s. A Song never changes;
what changes it gives another one.

    song = Song([(0, 4, 60, 80, 0), (4, 4, 64, 90, 0)])  # onset, duration, pitch, velocity, part
    song.transpose(2).write_midi("up.mid")

A picture can hold less than a song: one part, a few chord labels. `Song.canonical` is what it can
hold, by the law `parse(render(song.canonical())) == song.canonical()`. Read on in `midi`, which
reads files as songs, and in `picture`, which draws them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import (
    OptionError,
    check_choice,
    check_kind,
    check_range,
    check_whole,
    refused,
    shown,
)
from ..files import AnyPath, write
from .bars import half_bars, later_meters, lines_until
from .chords import Chord, tidy_chords, transpose_chord
from .grid import (
    KeySign,
    Meter,
    ReadOptions,
    ReadReport,
    Tempo,
    bars_of_meters,
    meters_of_bars,
    quantise,
)
from .harmony import estimate_chords
from .midi_codes import DRUMS, MAJOR_KEYS, MINOR_KEYS, WrittenMidi, fill_channels, transpose_key
from .pixels import BORDER, PITCHES
from .tables import (
    BORDERS,
    GRIDS,
    MAX_STEPS,
    NOTE_DTYPE,
    PART_ROW,
    PITCH_ROW,
    columns_of,
    in_order,
    notes_of,
    untangle,
)

if TYPE_CHECKING:
    from .engraving import SheetMusic

# So many chords are estimated at most: a file may pretend to be endless.
MAX_ESTIMATED = 2**14

# Beats a minute that a file can name: a beat lasts 1 to 2^24 - 1 microseconds.
FILE_TEMPI = (60e6 / (2**24 - 1), 60e6)
# The notes that a bar is counted in: whole notes to 64ths.
DENOMINATORS = (1, 2, 4, 8, 16, 32, 64)

NOTES_WANTED = "give onset, duration, pitch, velocity and part of each, whole numbers"

# Names or numbers of parts, or one.
Parts = Sequence[int | str] | int | str


@dataclass(frozen=True, eq=False)
class Song:
    """A piece of music. Two songs are equal where their notes and chords are.

    Attributes:
        notes: NOTE_DTYPE (notes,), read-only, sorted: onset and duration in steps, pitch 0-127,
            velocity 1-127, part.
        chords: onset, duration and label of each, sorted.
        parts: their names; missing ones are made up.
        bars: steps of the bar lines; none: those of `meters`, or 4/4. A pickup is a short first
            bar: bar 1.
        steps_per_beat: the grid, one of GRIDS.
        name: of the song.
        source_tempo: the first tempo of its file, in BPM.
        report: what reading it, or `canonical`, did.
        meters: (step, numerator, denominator), as its file has them.
        tempi: (step, BPM), one a step at most; none: none is named.
        keys: (step, name), as "Em", "F#" or "Bb", one a step at most.
        programs: the instrument of each part by its number in General MIDI, 0-127; missing ones
            are 0, a piano.
        channels: of each part, 0-15; drums have 9, no other part has it, and missing ones are
            free ones.
        source: the standard MIDI file that `read_midi` read, as bytes; None: it came from none.
        read_as: how that file was read.

    Raises:
        OptionError: no such grid or key, or a number is out of its range.
    """

    notes: np.ndarray
    chords: tuple[Chord, ...] = ()
    parts: tuple[str, ...] = ()
    bars: tuple[int, ...] = ()
    steps_per_beat: int = 4
    name: str = ""
    source_tempo: float | None = None
    report: ReadReport = field(default_factory=ReadReport, repr=False)
    meters: tuple[Meter, ...] = ()
    tempi: tuple[Tempo, ...] = ()
    keys: tuple[KeySign, ...] = ()
    programs: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    source: bytes | None = field(default=None, repr=False)
    read_as: ReadOptions | None = None

    def __post_init__(self) -> None:
        check_choice("steps_per_beat", self.steps_per_beat, GRIDS)
        check_kind("name", self.name, str, "give a text")
        check_kind("report", self.report, ReadReport, "give a ReadReport")
        check_kind("source", self.source, bytes | None, "give the bytes of a file, or None")
        check_kind("read_as", self.read_as, ReadOptions | None, "give ReadOptions, or None")
        if self.source_tempo is not None:
            check_range("source_tempo", self.source_tempo, *FILE_TEMPI, unit="beats per minute")
        with refused("notes", self.notes, NOTES_WANTED):
            table = np.asarray(self.notes, NOTE_DTYPE).reshape(-1)  # (notes,)
        notes = notes_of(in_order(columns_of(table), self.name))
        parts = _checked_parts(self.parts, notes["part"].max(initial=-1) + 1)

        # The class is frozen; its dict is not.
        self.__dict__.update(notes=notes, chords=_checked_chords(self.chords), parts=parts)
        self.__dict__.update(bars=_checked_bars(self.bars))
        self.__dict__.update(_checked_signs(self))

    @classmethod
    def unchecked(cls, fields: Mapping[str, Any]) -> "Song":
        """A Song of fields that are known to be in order and in range, which saves the checks.

        Args:
            fields: all fields by name, as in `SongFields`.
        """
        song = object.__new__(cls)
        song.__dict__.update(fields)
        return song

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Song)
            and np.array_equal(self.notes, other.notes)
            and self.chords == other.chords
        )

    def __getstate__(self) -> dict[str, Any]:
        """The fields, without what `canonical` remembers."""
        return {key: value for key, value in self.__dict__.items() if key != "_canonical"}

    def __repr__(self) -> str:
        sizes = f"{len(self.notes)} notes, {self.end} steps, {len(self.bar_lines()) - 1} bars"
        return f"Song({self.name!r}, {sizes}, parts {list(self.parts)}, {len(self.chords)} chords)"

    @property
    def end(self) -> int:
        """The step at which the last note or chord ends."""
        ends = self.notes["onset"] + self.notes["duration"]  # (notes,)
        chord_ends = [chord.onset + chord.duration for chord in self.chords]
        return max([int(ends.max(initial=0)), *chord_ends])

    def bar_lines(self, end: int | None = None) -> np.ndarray:
        """Steps of the bar lines from 0 to the first one at or after `end`, two at least.

        Args:
            end: a step; None: the song's end.

        Returns:
            int (bars + 1,).
        """
        end = self.end if end is None else end
        bars = self.bars or self._told_bars(end)
        return lines_until(bars, end, 4 * self.steps_per_beat)

    def _told_bars(self, end: int) -> tuple[int, ...]:
        """The bars of a song by hand that has time signatures and no bar lines."""
        end = max(end, 1)
        meters = [meter for meter in self.meters if meter[0] < end]
        return bars_of_meters(meters, self.steps_per_beat, end) if meters else ()

    @property
    def meter(self) -> str:
        """The time signatures of a tenth of the song or more, most used first: "6/8 3/4".

        A pickup, one opening bar that is shorter than the next, does not count.
        """
        signs = self.time_signatures()
        lines = self.bar_lines()
        bars = np.diff(lines)  # (bars,)
        opens = len(signs) > 1 and len(bars) > 1 and signs[1][0] == lines[1]
        if opens and bars[0] < bars[1]:
            signs = signs[1:]

        ends = [*(step for step, _, _ in signs[1:]), self.end]
        steps = Counter[str]()
        for (step, numerator, denominator), end in zip(signs, ends, strict=True):
            steps[f"{numerator}/{denominator}"] += max(end - step, 0)

        (first, _), *others = steps.most_common()
        return " ".join([first, *(sign for sign, count in others if 10 * count >= self.end)])

    def time_signatures(self) -> list[Meter]:
        """(step, numerator, denominator) of each: the file's, or else those that the bars have."""
        if self.meters:
            return list(self.meters)
        return meters_of_bars(self.bar_lines(), self.steps_per_beat)

    def metre_from(self, start: int, width: int) -> tuple[list[int], list[Meter]]:
        """Where bars begin in some steps, and their time signatures, as `inpaint` takes them.

        Args:
            start: the first of the steps.
            width: how many.

        Returns:
            The bar lines behind the first step, counted from it, and (step, numerator, denominator)
            of each signature.
        """
        lines = self.bar_lines(start + width)
        later = lines[lines > max(start, 0)] - start
        return later.tolist(), list(later_meters(self.time_signatures(), -start))

    def with_chords(self) -> "Song":
        """The song with chords estimated from its notes, one for each half bar.

        A bar whose number of beats is not even gets one chord. Drums have no pitches, so they are
        not heard.
        """
        edges = half_bars(self.bar_lines(), self.steps_per_beat)
        every = len(edges) // MAX_ESTIMATED + 1
        drums = [part for part, channel in enumerate(self.channels) if channel == DRUMS]
        pitched = self.notes[~np.isin(self.notes["part"], drums)]
        return replace(self, chords=estimate_chords(pitched, edges[::every]))

    def with_notes(self, notes: Any, chords: Iterable[Chord] | None = None) -> "Song":
        """The same song with other notes: its parts, bars, tempi and file stay.

        Args:
            notes: as `Song` takes them.
            chords: other chords; None: they stay.

        Raises:
            OptionError: a value of a note is out of its range.
        """
        return replace(self, notes=notes, chords=self.chords if chords is None else tuple(chords))

    def without_source(self) -> "Song":
        """The same song without its file: it takes less memory."""
        return Song.unchecked(self.__getstate__() | {"source": None, "read_as": None})

    def select(self, parts: Parts) -> np.ndarray:
        """Which notes belong to some parts.

        Args:
            parts: names or numbers, or one.

        Returns:
            bool (notes,).

        Raises:
            OptionError: there is no such part.
        """
        return np.isin(self.notes["part"], self.part_numbers(parts))

    def part_numbers(self, parts: Parts) -> list[int]:
        """The numbers of some parts, in the order of the song.

        Args:
            parts: names or numbers, or one.

        Raises:
            OptionError: there is no such part.
        """
        with refused("parts", parts, "give names or numbers of parts"):
            given: Any = parts
            asked = {given} if isinstance(given, str | Integral) else {*given}
        missing = [part for part in asked if not self._has_part(part)]
        if missing:
            raise OptionError(
                f"song {shown(self.name)} has no part {shown(missing[0])}; "
                f"its parts are {shown(list(self.parts))}"
            )
        return [i for i, name in enumerate(self.parts) if i in asked or name in asked]

    def _has_part(self, part: Any) -> bool:
        """Whether a value is the name or the number of a part."""
        if isinstance(part, str):
            return part in self.parts
        return isinstance(part, Integral) and 0 <= int(part) < len(self.parts)

    def transpose(self, semitones: int) -> "Song":
        """The song moved by `semitones`, chords and keys too; notes out of 0-127 are dropped.

        Its file is no longer part of it.
        """
        notes = self.notes.copy()
        notes["pitch"] += semitones
        inside = (notes["pitch"] >= 0) & (notes["pitch"] <= 127)
        chords = tuple(
            Chord(onset, duration, transpose_chord(label, semitones))
            for onset, duration, label in self.chords
        )
        report = replace(self.report, kept=int(inside.sum()), dropped=int((~inside).sum()))
        keys = tuple((step, transpose_key(name, semitones)) for step, name in self.keys)
        moved = replace(self, notes=notes[inside], chords=chords, report=report, keys=keys)
        return moved.without_source()

    def canonical(self, parts: Parts | None = None, border: int = BORDER) -> "Song":
        """What a picture of this song can hold: `parse(render(c)) == c`.

        Parts are merged to one: of notes at one pitch and step the loudest velocity and the
        longest duration stay, a re-strike cuts. Chords are reduced to the palette's labels
        (`reduce_chord`), cut where they overlap, equal neighbours joined. The new song's `report`
        counts the notes that were merged, shortened or dropped and the chords that changed.

        Args:
            parts: names or numbers of the parts, or one; None: all.
            border: rows for chord colours at top and bottom, 0 to 32; 0 for no chords. Pitches
                there are dropped.

        Raises:
            OptionError: there is no such part, or the border is out of its range.
        """
        check_whole("border", border, *BORDERS, unit="rows, 0 for no chords")
        numbers = None if parts is None else tuple(self.part_numbers(parts))
        key = (numbers, int(border))
        cache = self.__dict__.setdefault("_canonical", {})
        if key not in cache:
            cache[key] = self._make_canonical(*key)
        return cache[key]

    def _make_canonical(self, parts: tuple[int, ...] | None, border: int) -> "Song":
        """Make what `canonical` gives, and then remembers."""
        # The parts and pitches that stay, as one part.
        columns = columns_of(self.notes)
        pitch = columns[PITCH_ROW]
        inside = (pitch >= border) & (pitch < PITCHES - border)
        if parts is not None:
            inside &= self.select(parts)
        if not inside.all():
            columns = columns.compress(inside, axis=1)
        columns[PART_ROW] = 0
        columns, merged, shortened = untangle(columns)

        chords, changed = tidy_chords(self.chords)
        lost = 0
        if not border:
            lost = len(self.chords)
            changed = 0
            chords = ()

        report = ReadReport(
            kept=columns.shape[1],
            merged=merged,
            shortened=shortened,
            dropped=int(np.count_nonzero(~inside)),
            chords_changed=changed,
            chords_dropped=lost,
        )
        fields = self.__getstate__()
        fields |= {
            "notes": notes_of(columns),
            "chords": chords,
            "parts": ("all",),
            "report": report,
            "programs": (0,),
            "channels": (0,),
            "source": None,
            "read_as": None,
        }
        return Song.unchecked(fields)

    def to_pretty_midi(self, bpm: float | None = None) -> Any:
        """The song as a pretty_midi.PrettyMIDI: an instrument for each part, tempi, meters, keys.

        Args:
            bpm: one tempo instead of the song's, beats a minute, 4 to 1000.

        Raises:
            OptionError: the tempo is out of its range.
        """
        from .pretty import pretty_midi_of

        return pretty_midi_of(self, bpm)

    @classmethod
    def from_pretty_midi(
        cls, midi: Any, name: str = "", steps_per_beat: int = 4, drums: bool = False
    ) -> "Song":
        """A Song from a pretty_midi.PrettyMIDI, by its ticks, as `read_midi` makes one.

        Args:
            midi: the PrettyMIDI.
            name: of the song.
            steps_per_beat: of the grid, one of GRIDS.
            drums: keep instruments that are drums, too.

        Raises:
            MidiError: it holds no notes, too many parts, or is too long.
        """
        from .pretty import events_of

        name = name or "a PrettyMIDI"
        fields = quantise(events_of(midi), name, steps_per_beat=steps_per_beat, drums=drums)
        return cls.unchecked(fields)

    def to_midi(self, bpm: float | None = None, plain: bool = False) -> WrittenMidi:
        """The song as a standard MIDI file, and what is to be told of that.

        A song that was read from a file gives that very file: only the notes that differ change
        there, all other events keep their ticks, and an unchanged song gives the same bytes. Any
        other song gives a track for each part, with its tempi, or 120 BPM where it names none,
        meters, keys, programs, and its chords as markers.

        Args:
            bpm: one tempo instead of the song's, beats a minute, 4 to 1000.
            plain: write the song on its grid, with its chords, whatever file it came from.

        Returns:
            The bytes of the file; a sentence for each thing that could not be kept or acts on
            new notes.

        Raises:
            OptionError: the tempo is out of its range.
        """
        from .midi_write import midi_bytes
        from .splice import splice

        if self.source is None or plain:
            return WrittenMidi(midi_bytes(self, bpm=bpm))
        return splice(self, bpm)

    def write_midi(self, path: AnyPath, bpm: float | None = None, plain: bool = False) -> Path:
        """Write what `to_midi` gives to a file, whole or not at all.

        Args:
            path: of the file; its folders are made.
            bpm: one tempo instead of the song's, beats a minute, 4 to 1000.
            plain: write the song on its grid, with its chords, whatever file it came from.

        Returns:
            The path. What could not be kept is told by `to_midi(bpm, plain).remarks`.

        Raises:
            OptionError: the tempo is out of its range.
        """
        data = self.to_midi(bpm, plain).data
        return write(path, lambda out: out.write(data))

    def to_musicxml(self, path: AnyPath | None = None) -> str:
        """The song as MusicXML, for MuseScore and other notation programs.

        Every part has its name and instrument, bars, tempi, keys and chords stand where the song
        has them. It is written at its steps; of drums the onsets alone.

        Args:
            path: of a file to write as well, ".musicxml" or ".xml"; its folders are made.

        Returns:
            The MusicXML.

        Raises:
            OptionError: the song is too long for a score, or the file's name ends otherwise.
            PomkitError: music21 is missing, which the extra "score" brings.
        """
        from .musicxml import write_musicxml

        return write_musicxml(self, path)

    def score(self) -> "SheetMusic":
        """The song as sheet music, which shows itself in a notebook; `pages` holds its SVG.

        Raises:
            OptionError: the song is too long for a score.
            PomkitError: music21 or verovio is missing, which the extra "score" brings.
        """
        from .engraving import sheet_music

        return sheet_music(self)


# The fields beside notes, chords and bars


def _checked_signs(song: Song) -> dict[str, Any]:
    """Tempi, meters, keys and instruments of a song as they are kept; OptionError."""
    tempi = _one_a_step("tempi", song.tempi)
    for _, bpm in tempi:
        check_range("tempi", bpm, *FILE_TEMPI, unit="beats per minute")
    meters = _one_a_step("meters", song.meters)
    for _, numerator, denominator in meters:
        check_whole("numerator of meters", numerator, 1, 255)
        check_choice("denominator of meters", denominator, DENOMINATORS)
    keys = _one_a_step("keys", song.keys)
    for _, name in keys:
        check_choice("keys", name, (*MAJOR_KEYS, *MINOR_KEYS))

    # One program and one channel for each part.
    count = len(song.parts)
    programs = _whole_numbers("programs", song.programs)[:count]
    programs += (0,) * (count - len(programs))
    channels = fill_channels(_whole_numbers("channels", song.channels)[:count], song.parts)
    check_range("programs", min(programs, default=0), 0, 127)
    check_range("programs", max(programs, default=0), 0, 127)
    check_range("channels", min(channels, default=0), 0, 15)
    check_range("channels", max(channels, default=0), 0, 15)
    signs = {"tempi": tempi, "meters": meters, "keys": keys}
    return signs | {"programs": programs, "channels": channels}


def _one_a_step(what: str, told: Iterable[tuple[Any, ...]]) -> tuple[tuple[Any, ...], ...]:
    """Tempi, meters or keys by their steps, of several at one the last one; OptionError."""
    size = 3 if what == "meters" else 2
    with refused(what, told, f"give {size} values each, a step first"):
        rows = [tuple(row) for row in told]
        last = {int(row[0]): row[1:] for row in rows}
    if any(len(row) != size for row in rows):
        raise OptionError(f"{what} is {shown(rows)}; give {size} values each, a step first")
    for step in last:
        check_range(what, step, 0, MAX_STEPS, unit="steps")
    return tuple((step, *last[step]) for step in sorted(last))


def _whole_numbers(what: str, given: Iterable[Any]) -> tuple[int, ...]:
    """A tuple of whole numbers; OptionError."""
    with refused(what, given, "give whole numbers"):
        return tuple(map(int, given))


def _checked_parts(given: Sequence[str], count: int) -> tuple[str, ...]:
    """The names of `count` parts or more, some of them made up; OptionError."""
    with refused("parts", given, "give the names of the parts"):
        names = tuple(given)
    if isinstance(given, str) or not all(isinstance(name, str) for name in names):
        raise OptionError(f"parts is {shown(given)}; give the names of the parts")
    return (*names, *(f"part {number}" for number in range(len(names), count)))


def _checked_chords(given: Iterable[Any]) -> tuple[Chord, ...]:
    """Chords in their order; OptionError."""
    with refused("chords", given, "give onset, duration and label of each"):
        chords = [Chord(int(onset), int(long), str(label)) for onset, long, label in given]
    for what in ("onset", "duration"):
        steps = [getattr(chord, what) for chord in chords]
        for outermost in (min(steps, default=0), max(steps, default=0)):
            check_range(f"{what} of chords", outermost, -MAX_STEPS, MAX_STEPS, unit="steps")
    return tuple(sorted(chords))


def _checked_bars(given: Iterable[Any]) -> tuple[int, ...]:
    """Steps of bar lines; OptionError."""
    bars = _whole_numbers("bars", given)
    check_range("the last of bars", max(bars, default=0), -MAX_STEPS, 2 * MAX_STEPS, unit="steps")
    return bars
