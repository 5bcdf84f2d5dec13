"""The laws of `music/splice.py`, held by mido: what of a file changes with the notes of its Song.

`alter` changes notes of a song at random, `breaches` says where the file that is written then
breaks a law. mido reads both files event by event; which notes of the old file belong to which row
of the song is found anew here, from `midi_files.walk` alone.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import midi_files as m
import numpy as np

from pomkit import Song, read_midi
from pomkit.music.midi_codes import DRUMS
from pomkit.music.midi_events import read_events
from pomkit.music.splice import splice
from pomkit.music.tables import NOTE_DTYPE, columns_of, in_order, untangle

Row = tuple[Any, ...]
# A remark that counts notes, and those that change how they sound, but not how they are read.
COUNTED = re.compile(r"notes .*: (\d+)$")
HEARD = re.compile(r"is bent|is 0 there")
HELD = re.compile(r"sustain pedal")


# ------------------------------------------------------------------------------- changes at random
def alter(song: Song, seed: int, share: float = 0.3) -> Song:
    """The song with other notes in some stretch of time and pitch, as a composed picture has them.

    Notes that begin there go, others end there; new ones come, some of which end where an old one
    did; a few others change their velocity or their length.
    """
    rng = random.Random(seed)
    first = rng.randrange(song.end)
    last = first + max(int(share * song.end), 4)
    low = rng.randrange(0, 90)
    high = low + rng.randrange(12, 128)
    rows, ends = [], []
    for onset, duration, pitch, velocity, part in song.notes.tolist():
        if low <= pitch <= high and first <= onset < last:
            ends.append((onset + duration, pitch, part))
            if rng.random() < 0.8:
                continue
        elif low <= pitch <= high and onset < first < onset + duration and rng.random() < 0.7:
            duration = first - onset + rng.randrange(0, duration - (first - onset))
        elif rng.random() < 0.02:
            duration = max(duration + rng.choice((-2, -1, 1, 3)), 1)
        elif rng.random() < 0.02:
            velocity = rng.randrange(1, 128)
        rows.append((onset, max(duration, 1), pitch, velocity, part))
    for _ in range(max(len(ends), 3)):
        onset = min(rng.randrange(first, last), 2**20 - 10)
        end, pitch, part = onset + rng.randrange(1, 9), 0, rng.randrange(len(song.parts))
        if ends and rng.random() < 0.3:
            end, pitch, part = rng.choice(ends)
            onset = min(onset, end - 1)
        else:
            pitch = rng.randrange(low, min(high, 127) + 1)
        rows.append((onset, end - onset, pitch, rng.randrange(1, 128), part))
    return song.with_notes(np.array(rows, NOTE_DTYPE))


# ---------------------------------------------------------------------------------------- the laws
class Found(NamedTuple):
    """The events of a file by mido."""

    others: Counter[Row]  # (track, tick, bytes) of what is neither a note-on nor a note-off
    notes: Counter[Row]  # the same of note-ons and note-offs
    ends: list[int]  # the tick of each track's end


def found(data: bytes) -> Found:
    others, notes, ends = Counter(), Counter(), []
    for number, track in enumerate(m.messages(data)):
        tick = 0
        for message in track:
            tick += message.time
            if message.type in ("note_on", "note_off"):
                notes[number, tick, tuple(message.bytes())] += 1
            elif message.type != "end_of_track":
                others[number, tick, tuple(message.bytes())] += 1
        ends.append(tick)
    return Found(others, notes, ends)


def rows_of(song: Song, parts: list[Row]) -> Counter[Row]:
    """The notes as (onset, duration, pitch, velocity, part by track, channel and program)."""
    columns, _, _ = untangle(in_order(columns_of(song.notes), song.name))
    return Counter((*row[:4], parts[row[4]]) for row in columns.T.tolist())


def parts_of(data: bytes, drums: bool) -> list[Row]:
    return [part for part in read_events(data).parts if drums or part[1] != DRUMS]


def told(remarks: tuple[str, ...], pedal: bool) -> int:
    """How many notes are read otherwise than the song has them, by the remarks."""
    heard = [remark for remark in remarks if HEARD.search(remark)]
    heard += [remark for remark in remarks if HELD.search(remark) and not pedal]
    hits = [COUNTED.search(remark) for remark in remarks if remark not in heard]
    return sum(int(hit[1]) for hit in hits if hit)


def breaches(song: Song, changed: Song, *, mido_reads: bool = True) -> str:
    """Where the file of a changed song breaks a law; `song` is as it was read ("" if nowhere)."""
    options = song.read_as
    data, remarks = splice(changed)
    new_parts = parts_of(song.source, options.drums)
    again = read_midi(
        data, song.steps_per_beat, drums=options.drums, pedal=options.pedal, phase=song.report.phase
    )
    due, got = rows_of(changed, new_parts), rows_of(again, parts_of(data, options.drums))
    differing = ((due - got) | (got - due)).total()
    if differing > 2 * told(remarks, options.pedal):
        return (
            f"{differing} notes differ: due {list(due - got)[:3]}, {list(got - due)[:3]}; {remarks}"
        )
    return touched(song, changed, data) if mido_reads else ""


def touched(song: Song, changed: Song, data: bytes) -> str:
    """Which events changed that belong to no note that changed."""
    before, after = found(song.source), found(data)
    if before.others != after.others:
        gone, come = before.others - after.others, after.others - before.others
        return f"other events changed: {list(gone)[:3]}, {list(come)[:3]}"
    if any(old > new for old, new in zip(before.ends, after.ends, strict=True)):
        return f"a track ends earlier: {before.ends}, {after.ends}"

    # What stays are the notes of rows that stay; those that overlap a changed one of their pitch
    # may end earlier, since the first end is that of the first note.
    parts = parts_of(song.source, song.read_as.drums)
    same = {(row[0], *row[2:]) for row in rows_of(song, parts) & rows_of(changed, parts)}
    strikes = {(step, pitch, part) for step, pitch, _, part in same}
    per_step = read_events(song.source).per_beat / song.steps_per_beat
    lines = defaultdict(list)
    for note in m.walk(song.source):
        step = max(int(np.rint(note.start / per_step - song.report.phase)), 0)
        part = (note.track, note.channel, note.program)
        stays = part not in parts or (step, note.pitch, part) in strikes
        lines[note.track, note.channel, note.pitch].append((note, stays))
    left = Counter(note[:7] for note in m.walk(data))
    for line in lines.values():
        changing = [note for note, stays in line if not stays]
        for note, stays in line:
            overlaps = any(n.start < note.end and note.start < n.end for n in changing)
            if stays and not overlaps and not left[note[:7]]:
                return f"a note that stays has gone or moved: {note}"
            left[note[:7]] -= stays and not overlaps
    return ""
