"""Song: the note table on a grid of steps; MIDI in and out. Time is counted in steps (16ths where `steps_per_beat` is 4). They
come from MIDI ticks, never from seconds, so every song stands at 120 BPM: a beat lasts 0.5 s, a 16th 0.125 s."""

import cmath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import MidiError, OptionError, check_choice, check_range
from ..files import AnyPath, write
from .chords import (
    NO_CHORD,
    UNKNOWN_CHORD,
    Chord,
    chords_from_markers,
    tidy_chords,
    transpose_chord,
)
from .harmony import estimate_chords
from .midi_events import DRUMS, EMPTY_PART, MAX_BYTES, Events, is_drums, part_names, read_events
from .tables import (
    BORDERS,
    GRIDS,
    MAX_STEPS,
    NOTE_DTYPE,
    NOTE_RANGES,
    TEMPI,
    columns_of,
    in_order,
    notes_of,
    untangle,
)

MAX_METERS = 4096  # changes of time signature that are believed
TICKS_PER_BEAT = 480  # of the files that pomkit writes


@dataclass(frozen=True)
class ReadReport:
    """What reading or `Song.canonical` did; `kept + merged + dropped` is the number of notes that were given."""

    phase: float = 0.0  # constant offset of the notes from the grid that was taken out, in steps
    quantisation_error: float = (
        0.0  # mean distance of the onsets from the grid after that, in steps
    )
    kept: int = 0
    merged: int = 0  # shared pitch and step with another note
    shortened: int = 0  # cut by a re-strike of their pitch
    dropped: int = 0  # outside the pitches or parts asked for
    drums: int = 0  # of these, left out as drums
    zero_length: int = 0  # of no length in the file, now a step
    unended: int = 0  # without an end in the file, now to the end of their track
    pedals: int = 0  # presses of the sustain pedal in the file, and so on
    bends: int = 0
    controllers: int = 0
    better_grid: int = 4  # steps per beat that would fit better, else those in use
    chords_changed: int = 0  # labels reduced or cut
    chords_dropped: int = 0  # labels that could not be held at all
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Song:
    """A piece of music as a table of notes on a grid of steps. `notes`: `NOTE_DTYPE` (onset and duration in steps, pitch 0-127,
    velocity 1-127, part), sorted, read-only; `bars`: steps of the bar lines (empty: 4/4); `meters`: (step, numerator,
    denominator) of the file; `source_tempo`: its first, in BPM. `==` compares notes and chords. OptionError."""

    notes: np.ndarray
    chords: tuple[Chord, ...] = ()
    parts: tuple[str, ...] = ()
    bars: tuple[int, ...] = ()
    steps_per_beat: int = 4
    name: str = ""
    source_tempo: float | None = None
    report: ReadReport = field(default_factory=ReadReport, repr=False)
    meters: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        check_choice("steps_per_beat", self.steps_per_beat, GRIDS)
        notes = notes_of(
            in_order(columns_of(np.asarray(self.notes, NOTE_DTYPE).reshape(-1)), self.name)
        )
        chords = tuple(
            sorted(
                Chord(int(onset), int(duration), str(label))
                for onset, duration, label in self.chords
            )
        )
        unnamed = range(len(self.parts), notes["part"].max(initial=-1) + 1)
        self.__dict__.update(
            notes=notes,
            chords=chords,
            parts=(*self.parts, *(f"part {i}" for i in unnamed)),
            bars=tuple(map(int, self.bars)),
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Song)
            and np.array_equal(self.notes, other.notes)
            and self.chords == other.chords
        )

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_canonical"}

    def __repr__(self) -> str:
        return (
            f"Song({self.name!r}, {len(self.notes)} notes, {self.end} steps, {len(self.bar_lines()) - 1} bars, "
            f"parts {list(self.parts)}, {len(self.chords)} chords)"
        )

    @property
    def end(self) -> int:
        """The step at which the last note or chord ends."""
        last = int((self.notes["onset"] + self.notes["duration"]).max(initial=0))
        return max([last, *(c.onset + c.duration for c in self.chords)])

    def bar_lines(self, end: int | None = None) -> np.ndarray:
        """Steps of the bar lines, int, from 0 to the first one at or after `end` (default: the song's end)."""
        end = self.end if end is None else end
        lines = np.unique(np.array((0, *self.bars), dtype=int))
        length = int(lines[-1] - lines[-2]) if len(lines) > 1 else 4 * self.steps_per_beat
        if lines[-1] < end:  # go on as the last bar went
            lines = np.r_[lines, np.arange(lines[-1] + length, end + length, length)]
        return (
            lines[: max(int(np.searchsorted(lines, end)) + 1, 2)]
            if len(lines) > 1
            else np.array([0, length])
        )

    @property
    def meter(self) -> str:
        """The time signatures that hold for a tenth of the song or more, the most used one first: "4/4", "6/8 3/4"."""
        signs, share = self._meters(), Counter[str]()
        for (step, numerator, denominator), after in zip(
            signs, [*(sign[0] for sign in signs[1:]), self.end], strict=True
        ):
            share[f"{numerator}/{denominator}"] += max(after - step, 0)
        (first, _), *others = share.most_common()
        return " ".join([first, *(sign for sign, steps in others if 10 * steps >= self.end)])

    def with_chords(self) -> "Song":
        """The song with chords estimated from its notes, one for each half bar (each bar where its beats are not even)."""
        lines = self.bar_lines()
        halves = np.diff(lines) // 2 * (np.diff(lines) // self.steps_per_beat % 2 == 0)
        edges = np.unique(np.r_[lines, lines[:-1] + halves])
        return replace(
            self, chords=estimate_chords(self.notes, edges[:: len(edges) // 2**14 + 1])
        )  # fewer if endless

    def select(self, parts: Sequence[int | str]) -> np.ndarray:
        """True for the notes of the named or numbered parts, bool (notes,); OptionError if unknown."""
        parts = [parts] if isinstance(parts, str | int) else parts
        for part in parts:
            if part not in self.parts and part not in range(len(self.parts)):
                raise OptionError(
                    f"song {self.name!r} has no part {part!r}; its parts are {list(self.parts)}"
                )
        return np.isin(
            self.notes["part"],
            [i for i, name in enumerate(self.parts) if i in parts or name in parts],
        )

    def transpose(self, semitones: int) -> "Song":
        """The song moved by `semitones`, chords too; notes that leave 0-127 are dropped and counted."""
        notes = self.notes.copy()
        notes["pitch"] += semitones
        inside = (notes["pitch"] >= 0) & (notes["pitch"] <= 127)
        chords = tuple(
            Chord(o, d, transpose_chord(label, semitones)) for o, d, label in self.chords
        )
        report = replace(self.report, kept=int(inside.sum()), dropped=int((~inside).sum()))
        return replace(self, notes=notes[inside], chords=chords, report=report)

    def canonical(self, parts: Sequence[int | str] | None = None, border: int = 8) -> "Song":
        """What a picture of this song can hold, the rest taken out and counted in `.report`: `parse(render(c)) == c`.
        Parts are merged to one (loudest velocity, longest duration; a re-strike cuts), pitches inside the `border` rows
        dropped, chords reduced to the palette's labels (`reduce_chord`), cut where they overlap, equal neighbours joined."""
        check_range("border", border, *BORDERS)
        cache = self.__dict__.setdefault("_canonical", {})
        key = (parts if parts is None or isinstance(parts, str | int) else tuple(parts), border)
        if key not in cache:
            columns = columns_of(self.notes)
            inside = (
                (columns[2] >= border)
                & (columns[2] < 128 - border)
                & (parts is None or self.select(parts))
            )
            columns = columns if inside.all() else columns.compress(inside, axis=1)
            columns[4] = 0
            columns, merged, shortened = untangle(columns)
            chords, changed = tidy_chords(self.chords)
            report = ReadReport(
                kept=len(columns.T),
                merged=merged,
                shortened=shortened,
                dropped=int(np.count_nonzero(~inside)),
                chords_changed=changed if border else 0,
                chords_dropped=0 if border else len(self.chords),
            )
            cache[key] = song = object.__new__(
                Song
            )  # sorted and in range: nothing is left to check
            song.__dict__.update(
                self.__getstate__(),
                notes=notes_of(columns),
                chords=chords if border else (),
                parts=("all",),
                report=report,
            )
        return cache[key]

    def to_pretty_midi(self, bpm: float = 120) -> Any:
        """The song as a pretty_midi.PrettyMIDI: one piano instrument a part, times in seconds at `bpm`."""
        import pretty_midi

        midi = pretty_midi.PrettyMIDI(resolution=TICKS_PER_BEAT, initial_tempo=bpm)
        step = 60 / bpm / self.steps_per_beat
        for number, name in enumerate(self.parts):
            instrument = pretty_midi.Instrument(0, is_drum=is_drums(name), name=name)
            for onset, duration, pitch, velocity, _ in self.notes[
                self.notes["part"] == number
            ].tolist():
                instrument.notes.append(
                    pretty_midi.Note(velocity, pitch, onset * step, (onset + duration) * step)
                )
            midi.instruments.append(instrument)
        midi.time_signature_changes = [
            pretty_midi.TimeSignature(n, d, onset * step) for onset, n, d in self._meters()
        ]
        return midi

    @classmethod
    def from_pretty_midi(
        cls, midi: Any, name: str = "", steps_per_beat: int = 4, drums: bool = False
    ) -> "Song":
        """A Song from a pretty_midi.PrettyMIDI, by its ticks, as `read_midi` makes one."""
        tick, parts = midi.time_to_tick, list(enumerate(midi.instruments))
        rows = sorted(
            (tick(n.start), tick(n.end), n.pitch, n.velocity, i) for i, p in parts for n in p.notes
        )
        events = Events(
            float(midi.resolution),
            np.array(rows, np.int64).reshape(-1, 5).T,
            [(i, DRUMS * p.is_drum, p.program) for i, p in parts],
            {i: p.name for i, p in parts},
            [(0, int(60e6 / tempo)) for tempo in midi.get_tempo_changes()[1][:1]],
            [(tick(m.time), m.numerator, m.denominator) for m in midi.time_signature_changes],
        )
        return _song(events, name or "a PrettyMIDI", steps_per_beat, drums)

    def write_midi(self, path: AnyPath, bpm: float = 120) -> Path:
        """Write a standard MIDI file atomically: one track a part, the meters, chords as markers, drums on channel 10."""
        import mido

        check_range("bpm", bpm, *TEMPI)
        head = [(0, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm)))]
        head += [
            (step, mido.MetaMessage("time_signature", numerator=n, denominator=d))
            for step, n, d in self._meters()
        ]
        for chord, after in zip(self.chords, [*self.chords[1:], None], strict=False):
            label = (
                chord.label
                if ":" in chord.label or chord.label == NO_CHORD
                else f"{chord.label}:maj"
            )
            head.append((chord.onset, mido.MetaMessage("marker", text=label)))
            if after is None or after.onset > chord.onset + chord.duration:
                head.append(
                    (chord.onset + chord.duration, mido.MetaMessage("marker", text=UNKNOWN_CHORD))
                )
        tracks = [sorted(head, key=lambda m: m[0])]
        for number, name in enumerate(self.parts):
            channel = DRUMS if is_drums(name) else 0
            rows = self.notes[self.notes["part"] == number].tolist()
            offs = [
                (on + long, mido.Message("note_off", note=p, velocity=64, channel=channel))
                for on, long, p, _, _ in rows
            ]
            ons = [
                (on, mido.Message("note_on", note=p, velocity=loud, channel=channel))
                for on, _, p, loud, _ in rows
            ]
            about = [(0, mido.MetaMessage("track_name", name=name.encode().decode("latin-1")))]
            about += [] if rows else [(0, mido.MetaMessage("sequencer_specific", data=EMPTY_PART))]
            tracks.append(
                about + sorted(offs + ons, key=lambda m: m[0])
            )  # stable: ends stand before beginnings
        # MAX_STEPS must fit a delta time: at one step a beat a beat is 240 ticks.
        file = mido.MidiFile(ticks_per_beat=min(TICKS_PER_BEAT, 240 * self.steps_per_beat))
        for track in tracks:
            times = np.diff(
                [0, *(step * file.ticks_per_beat // self.steps_per_beat for step, _ in track)]
            ).tolist()
            file.tracks.append(
                mido.MidiTrack(m.copy(time=t) for (_, m), t in zip(track, times, strict=True))
            )
        return write(path, lambda out: file.save(file=out))

    def _meters(self) -> list[tuple[int, int, int]]:
        """(step, numerator, denominator): the file's, or made from `bars` wherever the length of a bar changes."""
        if self.meters:
            return list(self.meters)
        lengths, meters = np.diff(lines := self.bar_lines()), []
        for i in np.r_[0, np.flatnonzero(np.diff(lengths)) + 1]:
            unit = next((u for u in (1, 2, 4, 8) if lengths[i] * u % self.steps_per_beat == 0), 8)
            meters.append(
                (
                    int(lines[i]),
                    min(max(int(lengths[i] * unit // self.steps_per_beat), 1), 255),
                    4 * unit,
                )
            )
        return meters


def read_midi(
    source: AnyPath | bytes | IO[bytes],
    steps_per_beat: int = 4,
    drums: bool = False,
    pedal: bool = False,
    salvage: bool = False,
    estimate: bool = False,
) -> Song:
    """Read a MIDI file (path, bytes or open binary file; gzip and RIFF too) as a Song on a grid of `steps_per_beat`.
    Onsets and ends are rounded to steps after the file's constant phase against the grid is taken out (the circular mean of
    the onsets, only where its resultant is at least .5 and the error falls). Each track, channel and program is a part.
    `drums`: keep channel 10 as parts too. `pedal`: notes last until the sustain pedal is released. `salvage`: of a damaged file
    take what can be read. `estimate`: estimate the chords where the file names none (as markers or lyrics in Harte syntax).
    What was done stands in `song.report`. Raises MidiError naming file, fault and remedy."""
    check_choice("steps_per_beat", steps_per_beat, GRIDS)
    data, name = _read_bytes(source)
    song = _song(read_events(data, name, salvage, pedal), name, steps_per_beat, drums)
    return song.with_chords() if estimate and not song.chords else song


def _song(events: Events, name: str, steps_per_beat: int, drums: bool) -> Song:
    """Quantise ticks to steps, name the parts, and report what it cost."""
    kept = {
        i: j
        for j, i in enumerate(i for i, part in enumerate(events.parts) if drums or part[1] != DRUMS)
    }
    start, end, pitch, velocity, part = events.notes
    count = len(start)
    if len(kept) < len(events.parts):
        number = np.array([kept.get(i, -1) for i in range(len(events.parts))])[part]
        start, end, pitch, velocity, part = (
            column[number >= 0] for column in (start, end, pitch, velocity, number)
        )
    if not len(start):
        why = (
            f" but {count} of drums (drums=True keeps them)"
            if count
            else "".join(f" ({r})" for r in events.remarks)
        )
        raise MidiError(f"{name} holds no notes{why}; choose a file with at least one pitched note")
    per_step = events.per_beat / steps_per_beat
    if len(kept) > 2**16:
        raise MidiError(f"{name} has {len(kept)} parts, more than {2**16}; split it")
    if end.max() / per_step >= MAX_STEPS - 0.5:  # what would be rounded to it
        raise MidiError(
            f"{name} is longer than {MAX_STEPS} steps; cut out the part that you need, or check its time division"
        )
    exact = start / per_step
    phase, error, missed = _grid_phase(exact)
    columns = np.empty((len(NOTE_RANGES), len(start)), np.int64)
    columns[0] = onset = np.maximum(np.rint(exact - phase), 0)
    columns[1] = np.maximum(np.rint(end / per_step - phase) - onset, 1)
    columns[2], columns[3], columns[4] = pitch, velocity, part
    columns, merged, shortened = untangle(in_order(columns, title := Path(name).stem))
    length = int((columns[0] + columns[1]).max())
    texts = (
        [(min(round(at / per_step), MAX_STEPS), text) for at, text in kind]
        for kind in (events.markers, events.lyrics)
    )
    chords: tuple[Chord, ...] = next(
        filter(None, (chords_from_markers(steps, length) for steps in texts)), ()
    )
    length = max([length] + [c.onset + c.duration for c in chords[-1:]])
    meters = [
        m
        for m in ((round(tick / per_step), n, d) for tick, n, d in sorted(events.meters))
        if m[0] < length
    ]
    bars, remark = _bars(meters, steps_per_beat, length)
    better, off = (
        _better_grid(start / events.per_beat, steps_per_beat)
        if missed > 0.03
        else (steps_per_beat, ())
    )
    left_out = (f"{count - len(start)} notes of drums left out",) if count > len(start) else ()
    report = ReadReport(
        phase,
        error,
        len(columns.T),
        merged,
        shortened,
        count - len(start),
        count - len(start),
        int(np.count_nonzero(start == end)),
        better_grid=better,
        **events.counts,
        remarks=(*events.remarks, *left_out, *remark, *off),
    )
    tempo = next((60e6 / pace for _, pace in events.tempos if pace), None)
    song = object.__new__(Song)  # sorted and in range: nothing is left to check
    song.__dict__.update(
        notes=notes_of(columns),
        chords=chords,
        parts=part_names(events, list(kept)),
        bars=bars,
        steps_per_beat=steps_per_beat,
        name=title,
        source_tempo=tempo,
        report=report,
        meters=() if remark else tuple(meters),
    )
    return song


def _better_grid(beats: np.ndarray, steps_per_beat: int) -> tuple[int, tuple[str, ...]]:
    """The coarsest grid that holds the present one and all but 3 % of the onsets (in beats) within .2 of its steps."""
    beats = beats[:: len(beats) // 250 + 1]  # enough to judge by
    for grid in (g for g in GRIDS if g % steps_per_beat == 0):
        if _grid_phase(beats * grid)[2] <= 0.03:
            return grid, () if grid == steps_per_beat else (
                f"steps_per_beat={grid} would fit its onsets better",
            )
    return steps_per_beat, (
        "its onsets lie on no grid (played freely?): they were moved to the nearest steps",
    )


def _grid_phase(onsets: np.ndarray) -> tuple[float, float, float]:
    """The phase in (-.5, .5] steps by which onsets (in steps, float) sit off the grid; after it, mean error, share over .2."""
    off = onsets - np.rint(onsets)
    angle = (2 * np.pi * off).astype(np.float32)  # single precision is four times as quick
    total = complex(np.cos(angle).sum(), np.sin(angle).sum())
    phase = cmath.phase(total) / (2 * np.pi)
    plain, shifted = np.abs(off), off - phase
    shifted = np.abs(shifted - np.rint(shifted))
    if abs(total) < 0.5 * len(off) or shifted.sum() >= plain.sum():
        phase, shifted = 0.0, plain
    return phase, float(shifted.sum()) / len(off), np.count_nonzero(shifted > 0.2) / len(off)


def _bars(
    meters: Sequence[tuple[int, int, int]], steps_per_beat: int, length: int
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Bar lines in steps from time signatures; 4/4 with a remark where they are implausible (as POP909's 1/4)."""
    if len(meters) > MAX_METERS:
        return (), (f"{len(meters)} time signatures, more than music has: bars of 4/4 assumed",)
    lines: list[int] = []
    if not meters or meters[0][0] > 0:
        meters = [(0, 4, 4), *meters]
    for (step, numerator, denominator), after in zip(
        meters, [*(m[0] for m in meters[1:]), length], strict=True
    ):
        bar = numerator * 4 * steps_per_beat / denominator
        if numerator < 2 or denominator > 64 or not steps_per_beat <= bar <= 16 * steps_per_beat:
            return (), (
                f"implausible time signature {numerator}/{denominator}: bars of 4/4 assumed",
            )
        count = max(int(np.ceil((min(after, length) - step) / bar)), int(step < length), 0)
        lines += np.rint(step + bar * np.arange(count + (after == length))).astype(int).tolist()
    return tuple(sorted(set(lines))), ()


def _read_bytes(source: Any) -> tuple[bytes, str]:
    """The bytes (one more than a file may have, at most) and what to call them."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "the bytes given"
    name = str(getattr(source, "name", "the file given") if hasattr(source, "read") else source)
    try:
        if not hasattr(source, "read"):
            if Path(source).exists() and not Path(source).is_file():
                raise MidiError(
                    f"{name} is a folder or device, not a file; choose a MIDI file in it"
                )
            with open(source, "rb") as file:
                return _read_bytes(file)
        data = source.read(MAX_BYTES + 1)
        while (
            isinstance(data, bytes)
            and len(data) <= MAX_BYTES
            and (more := source.read(MAX_BYTES + 1 - len(data)))
        ):
            data += more  # a pipe gives less than it is asked for
    except (OSError, ValueError, TypeError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise MidiError(
            f"{name} cannot be read ({reason}); check the path and its permissions"
        ) from fault
    if not isinstance(data, bytes):
        raise MidiError(f"{name} is open as text; open it in binary mode ('rb')")
    return data, name
