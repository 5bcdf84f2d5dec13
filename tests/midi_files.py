"""MIDI files byte by byte, legal or not, and two plain readers of them, to test `read_midi`.

A file is `midi(track(...), track(...), division=480)`. A track is made of timed events (tick,
bytes) from `note`, `control`, `meter` and so on, in any order and nested as you like; it sorts
them by tick and writes the deltas. What no function here can write is joined from `chunk`,
`variable` and bytes. `walk` reads the notes with mido, `note_ons` counts them with nothing but
the standard in hand.
"""

from __future__ import annotations

import io
import struct
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import mido

Event = tuple[int, bytes]  # tick, message


def variable(number: int, width: int = 0) -> bytes:
    """A variable-length number, 7 bits a byte; zeros before it (legal) make it `width` bytes."""
    out = [number & 127]
    while number := number >> 7:
        out.insert(0, number & 127 | 128)
    return bytes([128] * (width - len(out)) + out)


def chunk(kind: bytes, body: bytes, length: int | None = None) -> bytes:
    """A chunk; `length` is what it says of itself (None: the truth)."""
    return kind + struct.pack(">I", len(body) if length is None else length) + body


def header(tracks: int = 1, format: int = 1, division: int = 480, extra: bytes = b"") -> bytes:
    return chunk(b"MThd", struct.pack(">HHH", format, tracks, division & 0xFFFF) + extra)


def smpte(frames: int, ticks: int) -> int:
    """The division of a file in SMPTE time: `frames` a second (24, 25, 29, 30), `ticks` a frame."""
    return (256 - frames) << 8 | ticks


def midi(
    *tracks: bytes,
    format: int = 1,
    division: int = 480,
    claimed: int | None = None,
    extra: bytes = b"",
) -> bytes:
    """A file of these tracks; `claimed`: how many its header names (None: the truth)."""
    return header(len(tracks) if claimed is None else claimed, format, division, extra) + b"".join(
        tracks
    )


def riff(data: bytes, before: bytes = b"") -> bytes:
    """The file wrapped as RIFF RMID, after other RIFF chunks where `before` brings some."""
    body = (
        b"RMID" + before + b"data" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def flat(events: Iterable[Any]) -> list[Event]:
    return [e for item in events for e in ([item] if isinstance(item, tuple) else flat(item))]


def track(
    *events: Any, running: bool = False, end: int | None = None, close: bool = True, width: int = 0
) -> bytes:
    """A track chunk of these events.

    `running`: leave out status bytes that repeat; `end`: tick of the end of track (None: at the
    last event); `close`: whether there is one at all; `width`: least width of the delta times.
    """
    now, status, body = 0, -1, b""
    parts = []
    timed = sorted(flat(events), key=lambda e: e[0])  # stable: as written where ticks are equal
    if close:
        timed.append((max([end or 0] + [tick for tick, _ in timed]), b"\xff\x2f\x00"))
    for tick, message in timed:
        same = running and message[0] == status
        parts.append(variable(tick - now, width) + message[same:])
        now, status = (
            tick,
            message[0] if message[0] < 0xF0 else -1,
        )  # meta and sysex cancel running status
    body = b"".join(parts)
    return chunk(b"MTrk", body)


def on(tick: int, pitch: int, velocity: int = 80, channel: int = 0) -> Event:
    return tick, bytes([0x90 | channel, pitch, velocity])


def off(tick: int, pitch: int, channel: int = 0, velocity: int | None = 64) -> Event:
    """A note-off; velocity None: written as a note-on of velocity 0."""
    return tick, bytes(
        [0x90 | channel, pitch, 0] if velocity is None else [0x80 | channel, pitch, velocity]
    )


def note(
    start: int,
    end: int,
    pitch: int = 60,
    velocity: int = 80,
    channel: int = 0,
    release: int | None = None,
) -> list[Event]:
    return [on(start, pitch, velocity, channel), off(end, pitch, channel, release)]


def control(tick: int, number: int, value: int, channel: int = 0) -> Event:
    return tick, bytes([0xB0 | channel, number, value])


def pedal(press: int, release: int, channel: int = 0) -> list[Event]:
    return [control(press, 64, 127, channel), control(release, 64, 0, channel)]


def program(tick: int, number: int, channel: int = 0) -> Event:
    return tick, bytes([0xC0 | channel, number])


def bend(tick: int, value: int = 0x2000, channel: int = 0) -> Event:
    return tick, bytes([0xE0 | channel, value & 127, value >> 7])


def aftertouch(tick: int, pitch: int, value: int = 40, channel: int = 0) -> Event:
    return tick, bytes([0xA0 | channel, pitch, value])


def pressure(tick: int, value: int = 40, channel: int = 0) -> Event:
    return tick, bytes([0xD0 | channel, value])


def sysex(tick: int, data: bytes = b"\x7e\x7f\x09\x01\xf7", kind: int = 0xF0) -> Event:
    return tick, bytes([kind]) + variable(len(data)) + data


def meta(tick: int, kind: int, data: bytes = b"") -> Event:
    return tick, bytes([0xFF, kind]) + variable(len(data)) + data


def text(tick: int, words: str, kind: int = 1) -> Event:
    return meta(tick, kind, words.encode("utf-8"))


def name(words: str) -> Event:
    return text(0, words, 3)


def lyric(tick: int, words: str) -> Event:
    return text(tick, words, 5)


def marker(tick: int, words: str) -> Event:
    return text(tick, words, 6)


def tempo(tick: int, bpm: float) -> Event:
    return meta(tick, 0x51, round(60e6 / bpm).to_bytes(3, "big"))


def meter(tick: int, numerator: int, denominator: int) -> Event:
    return meta(tick, 0x58, bytes([numerator, denominator.bit_length() - 1, 24, 8]))


def key(tick: int, sharps: int = 0, minor: int = 0) -> Event:
    return meta(tick, 0x59, bytes([sharps % 256, minor]))


def duo(late: int = 0) -> bytes:
    """A violin and a bass, 90 BPM, 6/8, eight bars of eighths.

    `late`: ticks by which notes are beside the grid: none, once and twice so many, in turns.
    """
    parts = []
    for channel, (words, number, pitch) in enumerate([("violin", 40, 72), ("bass", 32, 40)]):
        notes = []
        for i in range(48):
            begin = 240 * i + late * (i % 3)
            notes.append(note(begin, 240 * (i + 1), pitch + i * 5 % 7, 80 + i % 9, channel, 64))
        parts.append(track(name(words), program(0, number, channel), notes))
    return midi(track(tempo(0, 90), meter(0, 6, 8)), *parts)


# -------------------------------------------------------------------------------- two plain readers
ENDING = (120, 123, 124, 125, 126, 127)  # controllers that end the notes of a channel


class Note(NamedTuple):
    """A note of a file: ticks from the start of its track, and what it was played on."""

    start: int
    end: int
    pitch: int
    velocity: int
    track: int
    channel: int
    program: int
    fate: str = ""  # "", "unended"


@lru_cache(maxsize=2)
def messages(data: bytes) -> list[list[Any]]:
    """The messages of every track, by mido; data bytes above 127 (in many a sysex) clipped."""
    return [list(track) for track in mido.MidiFile(file=io.BytesIO(data), clip=True).tracks]


def walk(data: bytes, rule: str = "first in, first out") -> list[Note]:
    """The notes of a file by mido, ordered by track and note-on.

    A note-off ends the oldest open note of its pitch and channel, controllers 120 and 123 to 127
    end all of their channel; notes without an end last until their track's. `rule="all"` is
    pretty_midi's: it ends every open note that began before it; what it opens at that very tick
    goes on if another note was ended, and is lost if none was;
    notes without an end are lost.
    """
    found: list[tuple[int, int, Note]] = []
    for number, track_ in enumerate(messages(data)):
        now, order, programs, sounding = 0, 0, [0] * 16, defaultdict(list)
        for m in track_:
            now, order = now + m.time, order + 1
            if m.type == "program_change":
                programs[m.channel] = m.program
            elif m.type == "note_on" and m.velocity:
                sounding[m.channel, m.note].append((order, now, m.velocity, programs[m.channel]))
            elif m.type == "control_change" and m.control in ENDING and rule != "all":
                for (channel, pitch), line in sounding.items():
                    if channel == m.channel:
                        found += [
                            (number, o, Note(start, now, pitch, velocity, number, channel, p))
                            for o, start, velocity, p in line
                        ]
                        line.clear()
            elif m.type in ("note_on", "note_off") and (line := sounding[m.channel, m.note]):
                if rule == "all":
                    ended = [n for n in line if n[1] != now]
                    line[:] = [n for n in line if n[1] == now] if ended else []
                else:
                    ended = [line.pop(0)]
                found += [
                    (number, o, Note(start, now, m.note, velocity, number, m.channel, p))
                    for o, start, velocity, p in ended
                ]
        if rule != "all":
            found += [
                (number, o, Note(start, now, pitch, velocity, number, channel, p, "unended"))
                for (channel, pitch), line in sounding.items()
                for o, start, velocity, p in line
            ]
    return [n for _, _, n in sorted(found, key=lambda f: f[:2])]


def held(data: bytes) -> list[Note]:
    """The same with the pedal: each note that ends while it is down lasts until it comes up.

    Controller 121 puts the pedal up, 120 silences what it holds. Notes that nothing ends last
    until the last one of their track and channel.
    """
    moves = defaultdict(list)
    for number, track_ in enumerate(messages(data)):
        now = 0
        for m in track_:
            now += m.time
            if m.type == "control_change" and m.control in (64, 120, 121):
                moves[number, m.channel].append((now, m.control, m.value))

    notes = walk(data)
    longer = []
    for n in notes:
        voice = moves[n.track, n.channel]
        before = [move for move in voice if move[0] <= n.end]
        pedal = [control == 64 and value >= 64 for _, control, value in before if control != 120]
        silent = before and before[-1][:2] == (n.end, 120)
        end = n.end
        if pedal and pedal[-1] and not silent:
            lasts = [o.end for o in notes if (o.track, o.channel) == (n.track, n.channel)]
            ups = [t for t, c, v in voice if t > n.end and not (c == 64 and v >= 64)]
            end = max(min(ups, default=max(lasts)), n.end)
        longer.append(n._replace(end=end))
    return longer


class Table(NamedTuple):
    """What a Song should hold of a file whose ticks are steps.

    Rows are (onset, duration, pitch, velocity, part).
    """

    rows: list[tuple[int, int, int, int, int]]
    merged: int
    shortened: int
    parts: list[tuple[int, int, int]]


def table(notes: Iterable[Note]) -> Table:
    """Notes on a grid of one step a tick: one a part, pitch and step, cut by a re-strike."""
    notes = list(notes)
    parts = list(dict.fromkeys((n.track, n.channel, n.program) for n in notes))
    lines: dict[tuple[int, int], dict[int, tuple[int, int]]] = defaultdict(dict)
    for n in notes:
        line = lines[parts.index((n.track, n.channel, n.program)), n.pitch]
        length, velocity = line.get(n.start, (1, 1))
        line[n.start] = max(length, n.end - n.start), max(velocity, n.velocity)
    rows, shortened = [], 0
    for (part, pitch), line in lines.items():
        onsets = sorted(line)
        for onset, after in zip(onsets, [*onsets[1:], 2**62], strict=True):
            length, velocity = line[onset]
            shortened += length > after - onset
            rows.append((onset, min(length, after - onset), pitch, velocity, part))
    return Table(
        sorted(rows, key=lambda r: (r[0], r[2], r[4])), len(notes) - len(rows), shortened, parts
    )


LENGTHS = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2, 0xF1: 1, 0xF2: 2, 0xF3: 1}


def note_ons(data: bytes, strict: bool = True) -> int | None:
    """How many note-ons (velocity above 0) a file of the standard holds, to the letter; else None.

    `strict=False` passes over what breaks the standard and hides no note: other chunks, a longer
    header, tracks without an end or longer than the file if they have one, a system message,
    running status after a text, format 0 with more tracks.
    """

    def number(at: int) -> tuple[int, int]:
        value = 0
        for i in range(4):
            value = value << 7 | body[at + i] & 127
            if body[at + i] < 128:
                return value, at + i + 1
        raise IndexError

    try:
        kind, length, format_, tracks, division = struct.unpack(">4sIHHH", data[:14])
        legal = (
            division & 0x8000 == 0 or 256 - (division >> 8) in (24, 25, 29, 30) and division & 255
        )
        if kind != b"MThd" or length < 6 or format_ > 2 or not division or not legal:
            return None
        if strict and (length != 6 or format_ == 0 and tracks != 1):
            return None
        count, at, met = 0, 8 + length, 0
        while met < tracks:
            kind, length = struct.unpack(">4sI", data[at : at + 8])
            body = data[at + 8 : at + 8 + length]
            at += 8 + length
            if not strict and kind != b"MTrk" and len(body) == length:
                continue
            if kind != b"MTrk" or strict and len(body) != length:
                return None
            place, status, ended, met = 0, 0, False, met + 1
            while place < len(body) and not ended:
                _, place = number(place)
                event, place = (body[place], place + 1) if body[place] & 128 else (status, place)
                if event < 0xF0:
                    status = event
                elif strict:
                    status = 0  # meta and sysex cancel running status
                if event in (0xFF, 0xF0, 0xF7):
                    ended = event == 0xFF and body[place] == 0x2F
                    size, place = number(place + (event == 0xFF))
                    place += size
                elif event > 0xF0:
                    if strict:
                        return None
                    place += LENGTHS.get(event, 0)
                else:
                    size = LENGTHS[event & 0xF0]  # KeyError: data before any status
                    if max(body[place : place + size]) > 127 or place + size > len(body):
                        return None
                    count += event & 0xF0 == 0x90 and body[place + 1] > 0
                    place += size
            if place != len(body) or not ended and (strict or len(body) != length):
                return None
        return count if at >= len(data) else None
    except (IndexError, KeyError, struct.error):
        return None


# ----------------------------------------------------------------------------------- the three ways
def exact(data: bytes, **options: Any) -> Any:
    """The Song of a file with a step for every tick: division 24, read at 24 steps a beat."""
    import pomkit

    return pomkit.read_midi(
        data[:12] + b"\0\x18" + data[14:], **{"steps_per_beat": 24, "drums": True} | options
    )


def by_pretty_midi(data: bytes) -> list[tuple[int, int, int, int, bool]]:
    """(start tick, end tick, pitch, velocity, drums?) of every note by pretty_midi, sorted."""
    import pretty_midi

    pm = pretty_midi.PrettyMIDI(io.BytesIO(data))
    tick = lru_cache(maxsize=None)(pm.time_to_tick)
    return sorted(
        (tick(n.start), tick(n.end), n.pitch, n.velocity, i.is_drum)
        for i in pm.instruments
        for n in i.notes
    )


def disagreement(data: bytes) -> str:
    """Where read_midi, mido and pretty_midi differ on a legal file, tick for tick ("" if nowhere).

    read_midi is held to mido's messages, first in, first out, then laid on the grid; pretty_midi
    to the same messages by its own rule for notes that overlap on one pitch. The two rules are the
    same where nothing overlaps.
    """
    notes = walk(data)
    due, song = table(notes), exact(data)
    if song.notes.tolist() != due.rows:
        odd = sorted(set(due.rows) ^ set(song.notes.tolist()))
        return f"read_midi and mido: {len(odd)} notes in one only, first {odd[:3]}"
    counts = song.report.kept, song.report.merged, song.report.shortened, song.report.dropped
    counts_due = len(due.rows), due.merged, due.shortened, 0
    if counts != counts_due:
        return f"kept, merged, shortened, dropped {counts}, due {counts_due}"
    theirs = sorted(
        (n.start, n.end, n.pitch, n.velocity, n.channel == 9) for n in walk(data, rule="all")
    )
    if (found := by_pretty_midi(data)) != theirs:
        return f"pretty_midi and mido: {len(set(found) ^ set(theirs))} notes in one only"
    return ""


def same_rule(data: bytes) -> bool:
    """Whether pretty_midi's rule and ours come to the same notes.

    So it is where none overlap on one pitch, and none are without length or end.
    """
    return {n[:7] for n in walk(data)} == {n[:7] for n in walk(data, rule="all")}
