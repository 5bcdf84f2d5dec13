"""Song: the note table on the 16th grid; MIDI in and out; chords.

Time is counted in steps (16ths, `steps_per_beat` = 4). Steps come from MIDI ticks, never from seconds, so every
song stands at 120 BPM: one step lasts 0.125 s.
"""
from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .chords import NO_CHORD, UNKNOWN_CHORD, Chord, chords_from_markers, tidy_chords, transpose_chord
from .errors import MidiError, OptionError
from .files import write_atomically

if TYPE_CHECKING:
    import pretty_midi

NOTE_DTYPE = np.dtype([("onset", "i4"), ("duration", "i4"), ("pitch", "i4"), ("velocity", "i4"), ("part", "i4")])
MAX_STEPS = 2**20          # no song is longer; a lying MIDI file could otherwise ask for gigabytes of columns
TICKS_PER_BEAT = 480       # of the files that pomkit writes


@dataclass(frozen=True)
class ReadReport:
    """What reading or `Song.canonical` did: notes counted in and out, `kept + merged + dropped` = notes given.

    `phase` is the constant offset of the file's notes from the 16th grid that was taken out, `quantisation_error`
    the mean distance of the onsets from the grid after that, both in steps. `merged`: notes that shared pitch and
    step with another; `shortened`: notes cut by a re-strike of their pitch; `dropped`: notes outside the pitches or
    parts asked for. `chords_changed` labels were reduced or cut, `chords_dropped` could not be held at all.
    """

    phase: float = 0.0
    quantisation_error: float = 0.0
    kept: int = 0
    merged: int = 0
    shortened: int = 0
    dropped: int = 0
    chords_changed: int = 0
    chords_dropped: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Song:
    """A piece of music as a table of notes on a grid of steps.

    `notes`: structured array of `NOTE_DTYPE` (onset and duration in steps, pitch 0-127, velocity 1-127, part), sorted
    and read-only; `chords`: Chord tuples; `parts`: the parts' names; `bars`: steps of the bar lines (empty: 4/4 from
    step 0); `source_tempo`: the file's first tempo in BPM, for information. `==` compares notes and chords. Raises
    OptionError where a value is out of its range.
    """

    notes: np.ndarray
    chords: tuple[Chord, ...] = ()
    parts: tuple[str, ...] = ()
    bars: tuple[int, ...] = ()
    steps_per_beat: int = 4
    name: str = ""
    source_tempo: float | None = None
    report: ReadReport = field(default_factory=ReadReport, repr=False)

    def __post_init__(self) -> None:
        notes = np.array(self.notes, dtype=NOTE_DTYPE)
        for key, low, high in (("onset", 0, MAX_STEPS), ("duration", 1, MAX_STEPS), ("pitch", 0, 127),
                               ("velocity", 1, 127), ("part", 0, 65535)):
            if len(notes) and not (low <= notes[key].min() and notes[key].max() <= high):
                raise OptionError(f"song {self.name!r}: a note's {key} is outside {low} to {high}; correct it")
        notes = notes[np.lexsort([notes[k] for k in ("velocity", "duration", "part", "pitch", "onset")])]
        notes.flags.writeable = False
        set_ = object.__setattr__
        set_(self, "notes", notes)
        set_(self, "chords", tuple(sorted(Chord(int(o), int(d), str(label)) for o, d, label in self.chords)))
        count = int(notes["part"].max()) + 1 if len(notes) else 0
        names = tuple(self.parts) + tuple(f"part {i}" for i in range(len(self.parts), count))
        set_(self, "parts", names)
        set_(self, "bars", tuple(int(b) for b in self.bars))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Song) and np.array_equal(self.notes, other.notes) and self.chords == other.chords

    def __repr__(self) -> str:
        return (f"Song({self.name!r}, {len(self.notes)} notes, {self.end} steps, {len(self.bar_lines()) - 1} bars, "
                f"parts {list(self.parts)}, {len(self.chords)} chords)")

    @property
    def end(self) -> int:
        """The step at which the last note or chord ends."""
        ends = [int((self.notes["onset"] + self.notes["duration"]).max())] if len(self.notes) else [0]
        return max(ends + [c.onset + c.duration for c in self.chords])

    def bar_lines(self, end: int | None = None) -> np.ndarray:
        """Steps of the bar lines, int, from 0 to the first one at or after `end` (default: the song's end)."""
        end = self.end if end is None else end
        lines = np.unique(np.array((0, *self.bars), dtype=int))
        length = int(lines[-1] - lines[-2]) if len(lines) > 1 else 4 * self.steps_per_beat
        if lines[-1] < end:                                     # go on as the last bar went
            lines = np.r_[lines, np.arange(lines[-1] + length, end + length, length)]
        return lines[: max(int(np.searchsorted(lines, end)) + 1, 2)] if len(lines) > 1 else np.array([0, length])

    def select(self, parts: Sequence[int | str] | None) -> np.ndarray:
        """True for the notes of the named or numbered parts (None: all), bool (notes,); OptionError if unknown."""
        if parts is None:
            return np.ones(len(self.notes), bool)
        parts = [parts] if isinstance(parts, str | int) else parts
        numbers = []
        for part in parts:
            if part not in self.parts and part not in range(len(self.parts)):
                raise OptionError(f"song {self.name!r} has no part {part!r}; its parts are {list(self.parts)}")
            numbers += [i for i, name in enumerate(self.parts) if part in (i, name)]
        return np.isin(self.notes["part"], numbers)

    def transpose(self, semitones: int) -> Song:
        """The song moved by `semitones`, chords too; notes that leave 0-127 are dropped and counted."""
        notes = self.notes.copy()
        notes["pitch"] += semitones
        inside = (notes["pitch"] >= 0) & (notes["pitch"] <= 127)
        chords = tuple(Chord(o, d, transpose_chord(label, semitones)) for o, d, label in self.chords)
        report = replace(self.report, kept=int(inside.sum()), dropped=int((~inside).sum()))
        return replace(self, notes=notes[inside], chords=chords, report=report)

    def canonical(self, parts: Sequence[int | str] | None = None, border: int = 8) -> Song:
        """What a picture of this song can hold, the rest taken out and counted in `.report`.

        Parts are merged to one (loudest velocity, longest duration; a re-strike cuts), pitches inside the `border`
        rows dropped, chords reduced to the palette's labels (`reduce_chord`), cut where they overlap, and equal
        neighbours joined. `parse(render(c)) == c` holds for every canonical c (border 8).
        """
        check_border(border)
        notes = self.notes[self.select(parts)]
        inside = (notes["pitch"] >= border) & (notes["pitch"] < 128 - border)
        merged_notes = notes[inside]
        merged_notes["part"] = 0
        merged_notes, merged, shortened = _untangle(merged_notes)
        chords, changed = tidy_chords(self.chords)
        report = ReadReport(kept=len(merged_notes), merged=merged, shortened=shortened,
                            dropped=len(self.notes) - int(inside.sum()), chords_changed=changed if border else 0,
                            chords_dropped=0 if border else len(self.chords))
        return replace(self, notes=merged_notes, chords=chords if border else (), parts=("all",), report=report)

    def to_pretty_midi(self, bpm: float = 120) -> pretty_midi.PrettyMIDI:
        """The song as a pretty_midi.PrettyMIDI: one piano instrument a part, times in seconds at `bpm`."""
        import pretty_midi

        midi = pretty_midi.PrettyMIDI(resolution=TICKS_PER_BEAT, initial_tempo=bpm)
        step = 60 / bpm / self.steps_per_beat
        for number, name in enumerate(self.parts):
            instrument = pretty_midi.Instrument(0, name=name)
            for onset, duration, pitch, velocity, _ in self.notes[self.notes["part"] == number].tolist():
                instrument.notes.append(pretty_midi.Note(velocity, pitch, onset * step, (onset + duration) * step))
            midi.instruments.append(instrument)
        for onset, numerator, denominator in self._meters():
            midi.time_signature_changes.append(pretty_midi.TimeSignature(numerator, denominator, onset * step))
        return midi

    @classmethod
    def from_pretty_midi(cls, midi: pretty_midi.PrettyMIDI, name: str = "") -> Song:
        """A Song from a pretty_midi.PrettyMIDI, by its ticks; drums are left out and named in the report."""
        columns, names = [], []
        kept = [i for i in midi.instruments if not i.is_drum]
        for part, instrument in enumerate(kept):
            rows = [(midi.time_to_tick(n.start), midi.time_to_tick(n.end), n.pitch, n.velocity, part)
                    for n in instrument.notes]
            columns.append(np.array(rows, dtype=np.int64).reshape(-1, 5))
            names.append(instrument.name or f"part {part}")
        ticks = np.concatenate(columns) if columns else np.zeros((0, 5), np.int64)
        meters = [(midi.time_to_tick(m.time), m.numerator, m.denominator) for m in midi.time_signature_changes]
        tempo = float(midi.get_tempo_changes()[1][0]) if len(midi.get_tempo_changes()[1]) else None
        remarks = _drum_remark(sum(len(i.notes) for i in midi.instruments if i.is_drum))
        return _song_from_ticks(ticks, midi.resolution, names, meters, [], tempo, name or "a PrettyMIDI", remarks)

    def write_midi(self, path: str | os.PathLike[str], bpm: float = 120) -> Path:
        """Write a standard MIDI file atomically: one track a part, meters from `bars`, chords as markers; MidiError."""
        import symusic as sm

        if not 4 <= bpm <= 1000:
            raise OptionError(f"bpm is {bpm}; choose a tempo from 4 to 1000 beats a minute")
        ticks = TICKS_PER_BEAT // self.steps_per_beat
        score: Any = sm.Score(TICKS_PER_BEAT)
        score.tempos.append(sm.Tempo(0, bpm))
        for onset, numerator, denominator in self._meters():
            score.time_signatures.append(sm.TimeSignature(onset * ticks, numerator, denominator))
        for number, name in enumerate(self.parts):
            track: Any = sm.Track(name=name, program=0)
            n = self.notes[self.notes["part"] == number]
            track.notes = sm.Note.from_numpy(n["onset"] * ticks, n["duration"] * ticks,
                                             n["pitch"].astype(np.int8), n["velocity"].astype(np.int8))
            score.tracks.append(track)
        for chord, after in zip(self.chords, [*self.chords[1:], None], strict=False):
            label = chord.label if ":" in chord.label or chord.label == NO_CHORD else f"{chord.label}:maj"
            score.markers.append(sm.TextMeta(chord.onset * ticks, label))
            end = chord.onset + chord.duration
            if after is None or after.onset > end:
                score.markers.append(sm.TextMeta(end * ticks, UNKNOWN_CHORD))
        with write_atomically(path) as file:
            file.write(score.dumps_midi())
        return Path(path)

    def _meters(self) -> list[tuple[int, int, int]]:
        """(step, numerator, denominator) wherever the length of a bar changes."""
        lines = self.bar_lines()
        lengths = np.diff(lines)
        changes = np.r_[0, np.flatnonzero(np.diff(lengths)) + 1]
        meters = []
        for i in changes:
            unit = next((u for u in (1, 2, 4, 8) if lengths[i] * u % self.steps_per_beat == 0), 8)
            meters.append((int(lines[i]), max(int(lengths[i] * unit // self.steps_per_beat), 1), 4 * unit))
        return meters


def read_midi(source: str | os.PathLike[str] | bytes | IO[bytes]) -> Song:
    """Read a MIDI file (a path, its bytes or an open binary file) as a Song on the 16th grid.

    Onsets and ends are rounded to steps after the file's constant phase against the grid is taken out (the circular
    mean of the onsets, only where its resultant is at least .5 and the error falls). Drums are left out. What was
    merged, shortened or dropped stands in `song.report`. Raises MidiError naming file, fault and remedy.
    """
    import symusic as sm

    data, name = _read_bytes(source)
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        data = data[20:]
    if data[:4] != b"MThd":
        kind = "is empty" if not data else "is no MIDI file (it does not begin with MThd)"
        raise MidiError(f"{name} {kind}; choose a standard MIDI file (.mid)")
    if len(data) >= 14 and data[12] & 0x80:
        raise MidiError(f"{name} counts time in SMPTE frames, not in beats; export it with ticks per quarter note")
    if len(data) >= 14 and data[12:14] == b"\0\0":
        raise MidiError(f"{name} has a time division of 0 ticks per quarter note; export it again")
    try:
        score: Any = sm.Score.from_midi(data)
    except Exception as fault:                                  # symusic raises many kinds; all mean the same
        reason = str(fault).splitlines()[0][:120] if str(fault) else type(fault).__name__
        raise MidiError(f"{name} is damaged or cut off ({reason}); export it again") from fault
    columns: list[np.ndarray] = []
    names: list[str] = []
    drums = 0
    for track in score.tracks:
        if track.is_drum:
            drums += len(track.notes)
        elif len(track.notes):
            n = track.notes.numpy()
            start = n["time"].astype(np.int64)
            rows = np.stack([start, start + n["duration"], n["pitch"], n["velocity"],
                             np.full(len(start), len(names))], axis=1)
            columns.append(rows)
            names.append(track.name.strip() or f"part {len(names)}")
    ticks = np.concatenate(columns) if columns else np.zeros((0, 5), np.int64)
    if not len(ticks):
        raise MidiError(f"{name} holds no notes" + (f" except {drums} on drums" if drums else "")
                        + "; choose a file with at least one pitched note")
    good = (ticks[:, 0] >= 0) & (ticks[:, 1] >= ticks[:, 0]) & (ticks[:, 3] > 0)
    stray = int((~good).sum())
    remarks = _drum_remark(drums) + ((f"{stray} notes with impossible times left out",) if stray else ())
    meters = [(m.time, m.numerator, m.denominator) for m in score.time_signatures]
    markers = [(m.time, m.text) for m in score.markers]
    tempo = float(score.tempos[0].qpm) if len(score.tempos) else None
    return _song_from_ticks(ticks[good], score.ticks_per_quarter, names, meters, markers, tempo, name, remarks, stray)


def _song_from_ticks(ticks: np.ndarray, per_beat: int, names: Sequence[str], meters: Sequence[tuple[int, int, int]],
                     markers: Sequence[tuple[int, str]], tempo: float | None, name: str,
                     remarks: tuple[str, ...] = (), stray: int = 0) -> Song:
    """Quantise a table of (start tick, end tick, pitch, velocity, part) to steps and report what it cost."""
    per_step = per_beat / 4
    if len(ticks) and ticks[:, 1].max() / per_step > MAX_STEPS:
        raise MidiError(f"{name} is longer than {MAX_STEPS} steps of a 16th; cut out the part that you need")
    start, end = ticks[:, 0] / per_step, ticks[:, 1] / per_step
    phase, error = _grid_phase(start)
    notes = np.zeros(len(ticks), NOTE_DTYPE)
    notes["onset"] = np.maximum(np.rint(start - phase), 0)
    notes["duration"] = np.maximum(np.rint(end - phase) - notes["onset"], 1)
    notes["pitch"], notes["velocity"], notes["part"] = ticks[:, 2], np.minimum(ticks[:, 3], 127), ticks[:, 4]
    notes, merged, shortened = _untangle(notes)
    length = int((notes["onset"] + notes["duration"]).max()) if len(notes) else 0
    bars, remark = _bars_from_meters(meters, per_step, length)
    report = ReadReport(phase=phase, quantisation_error=error, kept=len(notes), merged=merged, shortened=shortened,
                        dropped=stray, remarks=remarks + remark)
    chords = chords_from_markers([(round(tick / per_step), text) for tick, text in markers], length)
    return Song(notes, chords, tuple(names), bars, 4, Path(name).stem, tempo, report)


def _grid_phase(start: np.ndarray) -> tuple[float, float]:
    """The phase in (-.5, .5] steps by which onsets (in steps, float) sit off the grid, and the mean error after it."""
    def distance(x: np.ndarray) -> float:
        return float(np.abs(x - np.rint(x)).mean()) if len(x) else 0.0

    mean = np.exp(2j * np.pi * start).mean() if len(start) else 0j
    phase = float(np.angle(mean) / (2 * np.pi))
    if abs(mean) >= 0.5 and distance(start - phase) < distance(start):
        return phase, distance(start - phase)
    return 0.0, distance(start)


def _untangle(notes: np.ndarray) -> tuple[np.ndarray, int, int]:
    """One note for a part, pitch and step, ending where its pitch begins again: (notes, merged, shortened)."""
    if not len(notes):
        return notes.copy(), 0, 0
    notes = notes[np.lexsort((notes["onset"], notes["pitch"], notes["part"]))]
    line = notes["part"].astype(np.int64) * 128 + notes["pitch"]
    first = np.r_[True, (np.diff(line) != 0) | (np.diff(notes["onset"]) != 0)]
    starts = np.flatnonzero(first)
    out = notes[starts]
    out["velocity"] = np.maximum.reduceat(notes["velocity"], starts)
    out["duration"] = np.maximum.reduceat(notes["duration"], starts)
    gap = np.diff(out["onset"])
    cut = (np.diff(line[starts]) == 0) & (out["duration"][:-1] > gap)
    out["duration"][:-1] = np.where(cut, gap, out["duration"][:-1])
    return out, len(notes) - len(out), int(cut.sum())


def _bars_from_meters(meters: Sequence[tuple[int, int, int]], per_step: float,
                      length: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Bar lines in steps from time signatures; 4/4 with a remark where they are implausible (as POP909's 1/4)."""
    lines: list[int] = []
    meters = sorted(meters) or [(0, 4, 4)]
    if meters[0][0] > 0:
        meters = [(0, 4, 4), *meters]
    for (tick, numerator, denominator), after in zip(meters, [*meters[1:], None], strict=True):
        bar = numerator * 16 / denominator if denominator else 0.0
        if numerator < 2 or bar < 4 or bar > 64 or bar != int(bar):
            return (), (f"implausible time signature {numerator}/{denominator}: bars of 4/4 assumed",)
        end = length if after is None else min(round(after[0] / per_step), length)
        lines += range(round(tick / per_step), max(end, round(tick / per_step) + 1), int(bar))
        if after is None:
            lines.append(lines[-1] + int(bar))
    return tuple(sorted(set(lines))), ()


def _drum_remark(count: int) -> tuple[str, ...]:
    return (f"{count} notes of drums left out",) if count else ()


def _read_bytes(source: str | os.PathLike[str] | bytes | IO[bytes]) -> tuple[bytes, str]:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "the bytes given"
    if hasattr(source, "read"):
        return source.read(), str(getattr(source, "name", "the file given"))
    try:
        return Path(source).read_bytes(), str(source)
    except FileNotFoundError as fault:
        raise MidiError(f"{source} does not exist; check the path") from fault
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or str(fault)
        raise MidiError(f"{source} cannot be read ({reason}); check the path and its permissions") from fault


def check_border(border: int) -> None:
    if not 0 <= border <= 32:
        raise OptionError(f"border is {border}; choose 0 (no chords) to 32 rows")
