"""Standard MIDI files (SMF 1.0), read exactly and quickly: bytes in, tables of ticks out.
Most events of a track (notes, controllers, pitch bend) have two data bytes. In a run of them an event is three bytes below 128,
the last one of its delta time and the two of data, so the count of such bytes before a byte, modulo 3, says what a byte of 128
or more is: 0, a part of a delta time; 1, a status byte; 2, damage. Only the events that break a run (meta, system, program
change, channel pressure) are walked one by one; the runs of all tracks are decoded at once, as arrays."""

import gzip
import io
import struct
import zlib
from collections import defaultdict, deque
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ..errors import MidiError

MAX_BYTES = 3 * 2**20  # of a file, unpacked: the arrays of a larger one would take too much memory,
MAX_WALKED = 100_000  # events that break runs: more would take too much time
EMPTY_PART = b"\x7dpomkit"  # sequencer-specific event (7D: no maker) by which we mark a track as a part without notes
NAME, LYRIC, MARKER, END, TEMPO, METER, SPECIFIC = (
    0x03,
    0x05,
    0x06,
    0x2F,
    0x51,
    0x58,
    0x7F,
)  # meta events
OFF, ON, CONTROL, PROGRAM, BEND = 0x8, 0x9, 0xB, 0xC, 0xE  # upper half of a status
DRUMS = 9  # the channel that General MIDI calls 10
DATA_BYTES = {
    0xF1: 1,
    0xF2: 2,
    0xF3: 1,
    **dict.fromkeys(range(0xC0, 0xE0), 1),
}  # of what breaks a run; others: none


@dataclass
class Events:
    """What a file says, times in ticks."""

    per_beat: float  # ticks; in SMPTE's time, of .5 s
    notes: np.ndarray = field(
        default_factory=lambda: np.zeros((5, 0), np.int64)
    )  # rows: start, end, pitch, velocity, part
    parts: list[tuple[int, int, int]] = field(
        default_factory=list
    )  # track, channel, program of each
    names: dict[int, str] = field(default_factory=dict)  # of tracks
    tempos: list[tuple[int, int]] = field(default_factory=list)  # tick, microseconds a beat
    meters: list[tuple[int, int, int]] = field(default_factory=list)  # tick, numerator, denominator
    markers: list[tuple[int, str]] = field(default_factory=list)
    lyrics: list[tuple[int, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)  # of what else there is, as in ReadReport
    remarks: list[str] = field(default_factory=list)  # what is not as the standard has it

    def meta(self, track: int, tick: int, kind: int, content: bytes) -> None:
        """Take in a meta event that says something of interest."""
        if kind == NAME:
            self.names.setdefault(track, _text(content))
        elif kind in (MARKER, LYRIC):
            (self.markers if kind == MARKER else self.lyrics).append((tick, _text(content)))
        elif kind == TEMPO and len(content) == 3:
            self.tempos.append((tick, int.from_bytes(content, "big")))
        elif kind == METER and len(content) >= 2:
            self.meters.append((tick, content[0], 2 ** min(content[1], 15)))


def read_events(
    data: bytes, name: str = "the bytes given", salvage: bool = False, pedal: bool = False
) -> Events:
    """What a standard MIDI file says of notes, metre, tempo, names and texts; MidiError. `salvage`: of a damaged track take
    what came before the damage and say so (else MidiError names the byte). `pedal`: notes last until controller 64 of their
    track and channel is released. Notes of one track, channel and pitch end first in, first out, or with the track."""
    data = _unpack(data, name)
    if len(data) < 14 or (header := int.from_bytes(data[4:8], "big")) < 6:
        raise MidiError(f"{name} has no whole MIDI header; export it again")
    kind, count, division = struct.unpack(">HHH", data[8:14])
    smpte, frames, ticks = division & 0x8000, 256 - (division >> 8), division & 0xFF
    if kind > 2 or not division or smpte and (frames not in (24, 25, 29, 30) or not ticks):
        raise MidiError(
            f"{name} has MIDI format {kind} and time division {division}, which cannot be; export it as format 1"
        )
    per_beat = (30000 / 1001 if frames == 29 else frames) * ticks / 2 if smpte else float(division)
    tracks, at = _Tracks(data), 8 + header
    while at < len(data):
        chunk, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        if chunk == b"MTrk" and at + 8 <= len(data):
            tracks.walk(at + 8, min(at + 8 + length, len(data)), cut=at + 8 + length > len(data))
        elif len(tracks.starts) >= count or not chunk.isalnum():
            break  # junk after the last track, or instead of one
        at += 8 + length
    tracks.ignored += max(len(data) - at, 0)
    events = tracks.decode(Events(per_beat), pedal)
    there, damage = (
        len(tracks.starts),
        [f"track {t + 1}, byte {byte}: {fault}" for t, (byte, fault) in tracks.damage.items()],
    )
    damage += [f"only {there} of its {count} tracks are there"] if there < count else []
    if damage and not salvage:
        raise MidiError(
            f"{name} cannot be read whole ({damage[0]}); export it again, or take the rest with salvage=True"
        )
    remarks = {
        "time in SMPTE frames: its seconds are laid on a grid of 120 BPM": smpte,
        "format 2: its patterns are parts that all start at step 0": kind == 2,
        f"{there} tracks read, though the header says {count}": there > count,
        f"{tracks.ignored} bytes after the ends of tracks ignored": tracks.ignored,
    }
    events.remarks += [remark for remark, holds in remarks.items() if holds]
    events.remarks += [f"salvaged what came before the damage: {fault}" for fault in damage[:8]]
    return events


def _unpack(data: bytes, name: str) -> bytes:
    """The bytes of the standard MIDI file inside a gzip or RIFF wrapper; MidiError where there is none."""
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as fault:
            raise MidiError(f"{name} is a damaged gzip file ({fault}); get it again") from fault
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        at = 12
        while at < len(data) and data[at : at + 4] != b"data":
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            at += 8 + length + length % 2
        data = data[at + 8 :]
    if len(data) > MAX_BYTES:
        raise MidiError(
            f"{name} has more than {MAX_BYTES >> 20} MiB; cut out the part that you need"
        )
    if data[:4] != b"MThd":
        kind = "is empty" if not data else "is no MIDI file (it does not begin with MThd)"
        raise MidiError(f"{name} {kind}; choose a standard MIDI file (.mid)")
    return data


class _Damage(Exception):
    """A byte that cannot be; `args` are its position and what is wrong there."""


class _Tracks:
    """The tracks of a file: `walk` each, event by event where a run breaks, then `decode` all the runs at once."""

    def __init__(self, data: bytes) -> None:
        self.data, self.bytes = data, np.frombuffer(data, np.uint8)
        self.high = (self.bytes > 127).nonzero()[0]
        self.low_before = self.high - np.arange(
            len(self.high)
        )  # how many bytes below 128 stand before each
        value = self.bytes[self.high]
        breaking = ((value >= 0xC0) & ((value < 0xE0) | (value >= 0xF0))).nonzero()[0]
        position, place = self.high[breaking], self.low_before[breaking] % 3
        self.breaks = [
            position[place == i] for i in range(3)
        ]  # where a run can break, by that count modulo 3
        self.runs: list[tuple[int, int, int]] = []  # first byte, byte after the last one, track
        self.walked: list[
            tuple[int, int, int, bytes]
        ] = []  # runs before, delta time, meta type or status, data
        self.starts: list[tuple[int, int]] = []  # how many are walked, and runs, before each track
        self.damage: dict[int, tuple[int, str]] = {}  # track: byte, what is wrong
        self.ignored = 0  # bytes after the ends of tracks

    def walk(self, at: int, end: int, cut: bool) -> None:
        """Note the runs and the breaking events of the next track, bytes `at` to `end`; `cut`: the file ends before it."""
        data, track, running = (
            self.data,
            len(self.starts),
            0,
        )  # running: a status with one data byte, or 0
        self.starts.append((len(self.walked), len(self.runs)))
        try:
            while at < end:
                delta, after = (data[at], at + 1) if data[at] < 128 else self._number(at)
                status = data[after] if after < end else 0x80
                if not (
                    status < 0x80 and running or 0xC0 <= status < 0xE0 or status >= 0xF0
                ):  # a run begins
                    candidates = self.breaks[(at - self.high.searchsorted(at) + 1) % 3]
                    i = candidates.searchsorted(after)
                    start = (
                        int(candidates[i]) - 1
                        if i < len(candidates) and candidates[i] < end
                        else end
                    )
                    while start < end and data[start - 1] > 127:
                        start -= 1  # back over the delta time of what breaks it
                    self.runs.append((at, start, track))
                    at, running = start, 0
                    continue
                at = after + (status > 127)
                kind = status = status if status > 127 else running
                running = status if status < 0xF0 else running
                if status == 0xFF and at < end:
                    kind, at = data[at] & 127, at + 1
                length, at = (
                    self._number(at)
                    if status in (0xF0, 0xF7, 0xFF)
                    else (DATA_BYTES.get(status, 0), at)
                )
                content = data[at : at + length]
                if at + length > end or status < 0xF0 and content[0] > 127:
                    raise _Damage(at, "an event without its data")
                self.walked.append((len(self.runs), delta, kind, content))
                at += length
                if kind == END:
                    self.ignored += end - at
                    return
                if len(self.walked) > MAX_WALKED:
                    raise _Damage(at, f"more than {MAX_WALKED} meta, system and program events")
            if cut:
                raise _Damage(end, "the file ends within the track")
        except _Damage as fault:
            self.damage[track] = fault.args[0], fault.args[1]

    def _number(self, at: int) -> tuple[int, int]:
        """A variable-length number of at most four bytes, and the position after it."""
        value = 0
        for i in range(at, min(at + 4, len(self.data))):
            value = value << 7 | self.data[i] & 127
            if self.data[i] < 128:
                return value, i + 1
        raise _Damage(at, "a number without an end")

    def decode(self, events: Events, pedal: bool) -> Events:
        """Read the runs as arrays into `events`, and note in `damage` what cannot be."""
        first, stop, track = np.array(self.runs, np.int64).reshape(-1, 3).T
        high_first, high_stop = self.high.searchsorted(first), self.high.searchsorted(stop)
        low_first, highs = first - high_first, high_stop - high_first
        count, left = np.divmod(
            stop - first - highs, 3
        )  # events of each run, bytes of a broken one
        before = count.cumsum() - count  # events before it
        low = np.frombuffer(self.data.translate(None, delete=bytes(range(128, 256))), np.uint8)
        pieces = [
            low[a : a + 3 * n] for a, n in zip(low_first.tolist(), count.tolist(), strict=True)
        ]
        wait, key, value = (
            np.concatenate([low[:0], *pieces]).reshape(-1, 3).T.copy()
        )  # last byte of the delta time, data, data
        size = len(wait)
        # Track, channel and pitch are one number below, of 16 bits where that will do: numpy sorts those by radix, much faster.
        of = track.astype("u2" if len(self.starts) <= 32 else "i8").repeat(
            count
        )  # the track of each event
        spans = [slice(a, b) for a, b in zip(high_first.tolist(), high_stop.tolist(), strict=True)]
        at = np.concatenate(
            [self.high[:0], *[self.high[span] for span in spans]]
        )  # of each byte above 127 in runs: position,
        place = np.concatenate([self.high[:0], *[self.low_before[span] for span in spans]])
        place += (3 * before - low_first).repeat(highs)
        number = place // 3  # its event,
        place -= 3 * number  # and what it is there
        broken = ((left > 0) | (self.bytes[stop - 1] > 127)).nonzero()[0]
        faults = [
            (track[i], before[i] + count[i], stop[i], "an event without its data") for i in broken
        ]
        if faults:
            whole = (number < (before + count).repeat(highs)).nonzero()[0]
            at, place, number = at[whole], place[whole], number[whole]
        more, states = (
            (place == 0).nonzero()[0],
            (place == 1).nonzero()[0],
        )  # of long delta times; statuses
        event, stated = number[more], number[states]
        bad = [
            (place == 2).nonzero()[0],
            states[1:][stated[1:] == stated[:-1]],
            more[3:][event[3:] == event[:-3]],
        ]
        faults += [
            (of[number[i]], number[i], at[i], "a status byte where data should be")
            for i in np.concatenate(bad)
        ]
        said, status = self.bytes[at[states]], np.zeros(size, np.uint8)
        status[stated] = said
        opening = (
            np.concatenate([[True], track[1:] != track[:-1]])[: len(track)] & (count > 0)
        ).nonzero()[0]
        opening = opening[status[before[opening]] == 0]
        faults += [(track[i], before[i], first[i], "an event without a status") for i in opening]
        stated = np.concatenate([stated, [size]])
        status[stated[0] :] = said.repeat(
            stated[1:] - stated[:-1]
        )  # running status: each one holds until the next
        cut = [size] * len(self.starts)  # the first event of each track that is not to be trusted
        for t, since, byte, fault in sorted(
            faults, reverse=True
        ):  # the earliest one of a track stands
            self.damage[int(t)], cut[t] = (int(byte), fault), int(since)
        if faults:
            status[np.arange(size) >= np.array(cut)[of]] = 0

        raw = np.zeros(
            size + 1, np.int64
        )  # time before each event, but for tracks and walked events
        raw[1:] = wait
        shift = np.full(len(more), 7)  # a byte of a delta time counts 7 bits more
        shift[:-1] += 7 * (event[1:] == event[:-1])  # for each one that follows in it
        shift[:-2] += 7 * (event[2:] == event[:-2])
        np.add.at(raw, event + 1, (self.bytes[at[more]] & 127).astype(np.int64) << shift)
        raw = raw.cumsum()
        bounds = [*before.tolist(), size]
        added, final = {0: 0}, []  # what is added from which event on; tracks' ends
        programs: dict[int, list[tuple[int, int]]] = defaultdict(
            lambda: [(0, 0)]
        )  # of a voice: (event, program)
        empty: list[int] = []
        tracks = pairwise([*self.starts, (len(self.walked), len(self.runs))])
        for t, ((walks, runs), (next_walks, next_runs)) in enumerate(tracks):
            added[bounds[runs]] = offset = -int(raw[bounds[runs]])
            for runs_before, pause, kind, content in self.walked[walks:next_walks]:
                k = bounds[runs_before]
                if k > cut[t]:
                    break
                added[k] = offset = offset + pause
                events.meta(t, int(raw[k]) + offset, kind, content)
                if kind >> 4 == PROGRAM:
                    programs[t << 4 | kind & 15].append((k, content[0]))
                elif kind == SPECIFIC and content == EMPTY_PART:
                    empty.append(t << 11)
            final.append(int(raw[min(bounds[next_runs], cut[t])]) + offset)
        tick = raw[1:]
        for k, after, offset in zip(added, [*added, size][1:], added.values(), strict=True):
            tick[k:after] += offset

        group, voice = status >> 4, of << 4 | status & 15  # voice: track and channel
        line = voice << 7 | key  # and pitch
        controllers, bends = (int(np.count_nonzero(group == kind)) for kind in (CONTROL, BEND))
        pedals = ((group == CONTROL) & (key == 64)).nonzero()[0] if controllers else np.arange(0)
        on = (group == ON) & (value > 0)  # without velocity: an end, too
        start, end = _pair(
            line, on, (group >> 1 == OFF >> 1) ^ on
        )  # OFF and ON differ in the last bit
        stop, unended = tick[end], end < 0
        if unended.any():
            stop = np.where(unended, np.array(final)[of[start]], stop)
        events.counts = {
            "unended": int(np.count_nonzero(unended)),
            "pedals": int(np.count_nonzero(value[pedals] > 63)),
            "bends": bends,
            "controllers": controllers,
        }
        if pedal:
            _hold(stop, voice[start], tick[pedals], value[pedals] > 63, voice[pedals])
        code = voice[start] << 7
        for v, changes in programs.items():
            if any(program for _, program in changes):
                since, numbers = np.array(changes).T
                mine = np.flatnonzero(voice[start] == v)
                code[mine] += numbers[since.searchsorted(start[mine], side="right") - 1].astype(
                    code.dtype
                )
        turns = np.concatenate([[True], code[1:] != code[:-1], [True]])[-len(code) - 1 :].nonzero()[
            0
        ]  # another part goes on
        played = code[turns[:-1]].tolist()
        codes = sorted(
            dict.fromkeys(played + empty), key=lambda c: c >> 11
        )  # by track, then first appearance
        events.parts, index = (
            [(c >> 11, c >> 7 & 15, c & 127) for c in codes],
            {c: i for i, c in enumerate(codes)},
        )
        events.notes = notes = np.empty((5, len(start)), np.int64)
        notes[0], notes[1], notes[2], notes[3] = tick[start], stop, key[start], value[start]
        notes[4] = np.array([index[c] for c in played], np.int64).repeat(turns[1:] - turns[:-1])
        return events


def _pair(line: np.ndarray, on: np.ndarray, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of every note-on and that of the note-off that ends it (-1: none), first in, first out. `line`: what tells
    tracks, channels and pitches apart, int (events,); `on`, `off`: which events these are, bool (events,)."""
    start, stop = on.nonzero()[0], off.nonzero()[0]
    by_line, end = line[start].argsort(kind="stable"), np.full(len(start), -1)
    begin, finish = start[by_line], stop[line[stop].argsort(kind="stable")]
    if len(begin) == len(finish) and (line[begin] == line[finish]).all() and (begin < finish).all():
        end[by_line] = finish  # as in most files: every end has its beginning
        return start, end
    waiting: dict[int, deque[int]] = defaultdict(deque)
    both = (on | off).nonzero()[0]
    for i, key, note in zip(
        both.tolist(), line[both].tolist(), (on.cumsum()[both] * on[both] - 1).tolist(), strict=True
    ):
        if note >= 0:
            waiting[key].append(note)
        elif waiting[key]:
            end[waiting[key].popleft()] = i
    return start, end


def _hold(
    stop: np.ndarray, voice: np.ndarray, tick: np.ndarray, down: np.ndarray, of: np.ndarray
) -> None:
    """Move the ends of notes, in place, to the release of the pedal that is down there (or to the last one of these)."""
    for c in np.unique(of):
        mine, notes = np.flatnonzero(of == c), np.flatnonzero(voice == c)
        last = (
            tick[mine].searchsorted(stop[notes], side="right") - 1
        )  # the pedal event before each end
        up = np.append(np.where(down[mine], len(mine), np.arange(len(mine))), len(mine))
        up = np.minimum.accumulate(up[::-1])[::-1][last]  # the release after it
        release = np.append(tick[mine], stop[notes].max(initial=0))[up]
        held = (last >= 0) & down[mine][last]
        stop[notes[held]] = np.maximum(stop[notes], release)[held]


def is_drums(name: str) -> bool:
    return name.startswith("drums") or "(drums)" in name


def part_names(events: Events, kept: list[int]) -> tuple[str, ...]:
    """Names that tell the parts apart: the track's, a number after it where it would stand twice, drums called so."""
    names: dict[str, int] = {}
    for number, i in enumerate(kept):
        track, channel, _ = events.parts[i]
        name = events.names.get(track) or ("drums" if channel == DRUMS else f"part {number}")
        if channel != DRUMS:
            name = name.replace("drums", "Drums")
        elif not is_drums(name):
            name += " (drums)"
        names[name] = count = names.get(name, 0) + 1
        while count > 1 and f"{name} {count}" in names:
            count += 1
        names[f"{name} {count}" if count > 1 else name] = count
    return tuple(names)


def _text(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return (text if text.isprintable() else "".join(filter(str.isprintable, text))).strip()
