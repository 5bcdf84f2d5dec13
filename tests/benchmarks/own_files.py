"""Files as people bring them, a region of each composed: what differs outside the region? Nothing.

    python tests/benchmarks/own_files.py [--files 30] [--calls 2] [--first 0] [--keep folder]

The files are made here: 2 to 16 parts, tempo maps, pickups, 3/4, 6/8, 7/8, drums, pedal, lyrics,
bends, programs that change in the middle, formats 0 and 1, players who are late or early. `tiny`
composes a few bars, a box of pitches, or one part alone. Then mido, not pomkit, compares the two
files event by event. A note-on and its note-off belong to the region where a cell of the note does:
the steps that it sounds in at its pitch. What else differs is counted as "outside".

The table tells, a line a file: its format, parts, first metre, ticks a beat, and what it has; the
region; how many of its notes went, came and got another end; how many events differ outside (also
in pretty_midi's tempi, metres, keys and lyrics); and whether `read_midi` gives the composed song on
the grid of its source. The last line adds up; the exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import midi_files as m  # noqa: E402
import pretty_midi  # noqa: E402
from splice_laws import found, parts_of, rows_of, told  # noqa: E402

import pomkit  # noqa: E402
from pomkit import masks  # noqa: E402

METRES = [(4, 4), (3, 4), (6, 8), (7, 8), (5, 4), (12, 8)]
DIVISIONS = [480, 480, 96, 120, 384, 960, 220]


class OwnFile(NamedTuple):
    """A file, and in words what it has."""

    data: bytes
    format: int
    metre: tuple[int, int]
    division: int
    features: str


# ------------------------------------------------------------------------------ the files
class Maker:
    """Makes one file; all that is random comes from its seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.number = seed
        self.division = self.rng.choice(DIVISIONS)
        self.metre = METRES[seed % len(METRES)]
        self.bar = self.division * 4 * self.metre[0] // self.metre[1]
        self.pickup = self.division if seed % 4 == 1 else 0
        self.bars = self.rng.randrange(10, 18)
        self.end = self.pickup + self.bars * self.bar
        self.late = self.rng.choice((0, 0, 0.04, -0.03)) * self.division
        self.spread = self.rng.choice((0, 0, 0.01, 0.03)) * self.division
        self.features: list[str] = []

    def has(self, feature: str, every: int) -> bool:
        """Whether the file has a feature, which so many files have in turn."""
        if (self.number + len(feature)) % every:
            return False
        if feature not in self.features:
            self.features.append(feature)
        return True

    def make(self) -> OwnFile:
        """The file."""
        count = 2 + self.number * 7 % 15
        channels = [channel for channel in range(16) if channel != 9]
        self.rng.shuffle(channels)
        parts = [self.part(i, channels[i % 15]) for i in range(count)]
        if self.has("drums", 2):
            parts.insert(self.rng.randrange(count), self.drums())
        shared = self.shared()
        running = self.has("running status", 3)

        # Format 0 puts all into one track; program changes keep parts apart by their channels.
        if self.number % 3 == 2:
            tracks, format = [m.track(shared, *parts, running=running)], 0
        else:
            tracks = [m.track(shared), *(m.track(part, running=running) for part in parts)]
            format = 1
        if self.late:
            self.features.append("late" if self.late > 0 else "early")
        if self.spread:
            self.features.append("played")
        data = m.midi(*tracks, format=format, division=self.division)
        return OwnFile(data, format, self.metre, self.division, ", ".join(self.features))

    def shared(self) -> list[Any]:
        """Tempi, metres, keys, texts."""
        events: list[Any] = [m.name(f"Song {self.number}"), m.tempo(0, self.rng.randrange(60, 170))]
        if self.pickup:
            self.features.append("pickup")
            events.append(m.meter(0, 1, 4))
        events.append(m.meter(self.pickup, *self.metre))
        if self.has("tempo map", 2):
            ticks = sorted(self.rng.randrange(1, self.end) for _ in range(12))
            events += [m.tempo(tick, self.rng.randrange(50, 200)) for tick in ticks]
        if self.has("metre changes", 5):
            events.append(m.meter(self.pickup + self.bars // 2 * self.bar, 2, 4))
        if self.has("keys", 3):
            events += [m.key(0, -2), m.key(self.end // 2, 3, 1)]
        if self.has("lyrics", 2):
            ticks = range(0, self.end, self.division)
            events += [m.lyric(tick, f"la{tick // self.division}") for tick in ticks]
        if self.has("markers", 3):
            events += [m.marker(0, "verse"), m.marker(self.end // 2, "chorus")]
        if self.has("shift-jis", 7):
            events.append(m.meta(0, 0x02, "作曲".encode("shift_jis")))
        return events

    def part(self, number: int, channel: int) -> list[Any]:
        """The events of one part: a line of notes, or chords."""
        events: list[Any] = [m.name(f"part {number}")] if self.number % 3 != 2 else []
        events.append(m.program(0, self.rng.randrange(128), channel))
        if number == 0 and self.has("program changes", 3):
            tick = self.pickup + self.bars // 2 * self.bar
            events.append(m.program(tick, self.rng.randrange(128), channel))
        if number < 2 and self.has("pedal", 3):
            events += [
                m.pedal(tick, tick + self.bar * 3 // 4, channel)
                for tick in range(self.pickup, self.end, self.bar)
            ]
        if number == 1 and self.has("bends", 4):
            ticks = range(self.bar, self.end, self.division // 3)
            events += [m.bend(tick, self.rng.randrange(0x1000, 0x3000), channel) for tick in ticks]
        if self.rng.random() < 0.3:
            events += [m.control(0, 7, 100, channel), m.control(0, 10, 30, channel)]
        if self.rng.random() < 0.2:
            events += [m.sysex(self.end // 3), m.pressure(self.end // 2, 40, channel)]

        # Notes one after the other, some held over the bar line.
        low = self.rng.randrange(36, 80)
        release = self.rng.choice((None, 64))
        tick = self.pickup if self.rng.random() < 0.7 else 0
        while tick < self.end:
            length = self.division * self.rng.choice((1, 1, 2, 2, 4, 8)) // 2
            pitches = self.rng.sample(range(low, low + 18), self.rng.choice((1, 1, 1, 3)))
            if self.rng.random() < 0.85:
                events += [self.note(tick, length, pitch, channel, release) for pitch in pitches]
            tick += length
        return events

    def note(self, tick: int, length: int, pitch: int, channel: int, release: Any) -> list[Any]:
        """A note, late as its player is, and by chance; it ends before the next one can begin."""
        start = max(round(tick + self.late + self.rng.gauss(0, self.spread)), 0)
        end = round(tick + self.late + length * self.rng.choice((0.6, 0.85, 0.9)))
        velocity = self.rng.randrange(30, 120)
        return m.note(start, max(end, start + 1), pitch, velocity, channel, release)

    def drums(self) -> list[Any]:
        """A part of drums."""
        ticks = range(self.pickup, self.end, self.division // 2)
        hits = [m.note(tick, tick + 10, self.rng.choice((36, 38, 42)), 90, 9) for tick in ticks]
        return [m.program(0, 0, 9), *hits]


# ----------------------------------------------------------------------------- the region
def region_of(song: Any, number: int, rng: random.Random) -> tuple[Any, str, int | None]:
    """A mask, the same in words, and the only part that may change, or None."""
    bars = len(song.bar_lines()) - 1
    first = rng.randrange(2, max(bars - 3, 3))
    if number % 3 == 0:
        mask = masks.bars(song, first, first + 1)
        return mask, f"bars {first}-{first + 1}", None
    if number % 3 == 1:
        part = rng.randrange(len(song.parts))
        return masks.bars(song, first, first + 2), f"bars {first}-{first + 2} of part {part}", part
    low = rng.randrange(48, 66)
    start = int(song.bar_lines()[first])
    last = min(start + 30, song.end - 1)
    mask = masks.box(song, (low, low + 14), (start, last))
    return mask, f"pitches {low}-{low + 14}, steps {start}-{last}", None


# -------------------------------------------------------------------------- what differs
class Verdict(NamedTuple):
    """What became of a file."""

    gone: int
    come: int
    ended: int
    outside: list[str]
    reads: str


def compare(song: Any, new: Any, mask: np.ndarray) -> Verdict:
    """The file of a song beside that of a composed one."""
    data, remarks = new.to_midi()
    before, after = found(song.source), found(data)
    outside = [f"gone: {event}" for event in (before.others - after.others)]
    outside += [f"come: {event}" for event in (after.others - before.others)]
    outside += [
        f"track {number} ends at {now}, not {then}"
        for number, (then, now) in enumerate(zip(before.ends, after.ends, strict=True))
        if now < then
    ]

    # Pairs of note-on and note-off that are in one of the files only.
    old = Counter(note[:7] for note in m.walk(song.source))
    left = Counter(note[:7] for note in m.walk(data))
    gone, come = list((old - left).elements()), list((left - old).elements())
    grid = Grid(song, mask)
    outside += [f"note gone: {note}" for note in gone if not grid.touches(note)]

    # Those of which the start stays have another end; the others are new.
    starts = {(note[0], *note[2:]) for note in gone}
    kept = [note for note in come if (note[0], *note[2:]) in starts]
    new_ones = [note for note in come if (note[0], *note[2:]) not in starts]
    outside += [f"note come: {note}" for note in new_ones if not grid.begins_in(note)]
    outside += signs_that_differ(song.source, data)

    again = pomkit.read_midi(data, phase=song.report.phase)
    due = rows_of(new, parts_of(song.source, False))
    got = rows_of(again, parts_of(data, False))
    differing = ((due - got) | (got - due)).total()
    reads = "equal" if not differing else f"{differing} rows differ, {told(remarks, False)} told"
    if differing > 2 * told(remarks, False):
        outside.append(f"read again: {list(due - got)[:2]} {list(got - due)[:2]}")
    return Verdict(len(gone) - len(kept), len(new_ones), len(kept), outside, reads)


class Grid:
    """Which cells the notes of a file have."""

    def __init__(self, song: Any, mask: np.ndarray) -> None:
        division = int.from_bytes(song.source[12:14], "big")
        self.per_step = division / song.steps_per_beat
        self.phase = song.report.phase
        self.mask = mask

    def cells(self, note: tuple[Any, ...]) -> np.ndarray:
        """Which cells of a note are masked, bool (steps,)."""
        start, end, pitch = note[:3]
        first = max(int(np.rint(start / self.per_step - self.phase)), 0)
        last = max(int(np.rint(end / self.per_step - self.phase)), first + 1)
        return self.mask[127 - pitch, first:last]

    def touches(self, note: tuple[Any, ...]) -> bool:
        return bool(self.cells(note).any())

    def begins_in(self, note: tuple[Any, ...]) -> bool:
        return bool(self.cells(note)[:1].any())


def signs_that_differ(before: bytes, after: bytes) -> list[str]:
    """What pretty_midi reads otherwise beside the notes."""
    files = [pretty_midi.PrettyMIDI(io.BytesIO(data)) for data in (before, after)]
    told_of = {
        "tempi": [[list(map(tuple, f.get_tempo_changes()))] for f in files],
        "metres": [str(f.time_signature_changes) for f in files],
        "keys": [str(f.key_signature_changes) for f in files],
        "lyrics": [str(f.lyrics) for f in files],
        "resolution": [f.resolution for f in files],
    }
    return [f"pretty_midi's {name}" for name, (old, new) in told_of.items() if old != new]


# ---------------------------------------------------------------------------------- main
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=30, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--calls", type=int, default=2, help="network calls of a region")
    parser.add_argument("--keep", type=Path, help="a folder for the files before and after")
    a = parser.parse_args()
    model = pomkit.load_model("tiny", "cpu")
    print("| file | parts | metre | ticks | has | region | gone | come | ended | outside | read |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    total = Counter()
    for number in range(a.first, a.first + a.files):
        own = Maker(number).make()
        song = pomkit.read_midi(own.data)
        rng = random.Random(number)
        mask, words, part = region_of(song, number, rng)
        songs = pomkit.compose(model, song, mask, part=part, seed=number, calls=a.calls)
        verdict = compare(song, songs[0], songs.mask)
        if a.keep:
            a.keep.mkdir(parents=True, exist_ok=True)
            (a.keep / f"{number}.mid").write_bytes(own.data)
            songs[0].write_midi(a.keep / f"{number}_composed.mid")
        metre = f"{own.metre[0]}/{own.metre[1]}"
        cells = [
            number,
            len(song.parts),
            metre,
            own.division,
            f"format {own.format}, {own.features}",
        ]
        cells += [words, verdict.gone, verdict.come, verdict.ended]
        cells += [len(verdict.outside), verdict.reads]
        print("|", " | ".join(map(str, cells)), "|", flush=True)
        for line in verdict.outside[:4]:
            print("  ", line)
        counts = {"gone": verdict.gone, "come": verdict.come, "ended": verdict.ended}
        total.update(counts, outside=len(verdict.outside), equal=verdict.reads == "equal")
    print(
        f"{a.files} files: {total['gone']} notes gone, {total['come']} come, {total['ended']} with "
        f"another end; {total['outside']} events differ outside; {total['equal']} read again equal"
    )
    return int(total["outside"] > 0)


if __name__ == "__main__":
    sys.exit(main())
