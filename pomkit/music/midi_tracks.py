"""The tracks of a MIDI file: what breaks a run is walked, the runs are jumped over.

A Python loop over every event is slow, so nearly all events are read by numpy at once. Most of
them (notes, controllers, pitch bend) have two bytes of data. A **run** is a stretch of a track
with only such events:

    delta time                          status                      data         data
    0 to 3 bytes above 127, one below   above 127, or left out      below 128    below 128

So each event of a run has exactly three bytes below 128: the last of its delta time, and its
data. This is the **modulo-3 idea**: count the bytes below 128 from the start of the run to a
byte above 127; the count divided by 3 is the number of its event, and the remainder says what
the byte is:

    0  a part of a delta time          1  a status          2  damage: data must be below 128

Other events break a run: meta and system events, program changes, channel pressure. `Tracks.walk`
goes through these one by one and jumps over the runs between them. The next byte that can end
a run is the next status of that sort with the remainder 1.

`midi_runs` goes on with what is noted here. In the shapes, "all high" is how many bytes above 127
the file has.

Source: Standard MIDI Files 1.0, "Track Chunks", for delta times and running status.
"""

from dataclasses import dataclass, field

import numpy as np

from .midi_codes import (
    DATA_BYTES,
    MAX_WALKED,
    META,
    META_END,
    NOTE_OFF,
    OF_RUN,
    SYSTEM_EXCLUSIVE,
    TOLD_LENGTH,
)

# What a byte above 127 is in a run, by how many bytes below 128 its event has before it.
IN_DELTA = 0
IN_STATUS = 1
IN_DATA = 2


def indices_of(mask: np.ndarray) -> np.ndarray:
    """Where a mask, bool (n,), is True: int64 (count,)."""
    return mask.nonzero()[0]  # quicker than np.flatnonzero on rows of (n,)


@dataclass(slots=True)
class Walked:
    """The events that break runs, in the order of the file; each list has one item an event.

    Attributes:
        runs: how many runs of the file are before it.
        delta: its delta time, in ticks.
        kind: the type of a meta event (below 128), or the status.
        content: its data.
    """

    runs: list[int] = field(default_factory=list)
    delta: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    content: list[bytes] = field(default_factory=list)


class _Damage(Exception):
    """A byte that cannot be; `args` are its position and what is wrong there."""


class Tracks:
    """The tracks of a file: `walk` each of them in turn, then read all with `decode_runs`.

    Attributes:
        data: the file.
        bytes: the same, uint8 (bytes,).
        high: where its bytes above 127 are, int64 (all high,).
        low_before: how many bytes below 128 are before each of these, int64 (all high,).
        run_first: the first byte of each run of the tracks walked so far.
        run_stop: the byte after the last one of each run.
        walked: the events between the runs.
        spans: the first byte of each track, and the byte after its last one.
        runs_before: how many runs of the file are before each track.
        walked_before: how many walked events of the file are before each track.
        damage: track -> (byte, what is wrong there).
        unfilled: track -> (byte, the length of the track that stands there and cannot be).
        ignored: how many bytes stand after the ends of tracks.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)
        self.high = indices_of(self.bytes > 127)
        self.low_before = self.high - np.arange(len(self.high))
        self.run_first: list[int] = []
        self.run_stop: list[int] = []
        self.walked = Walked()
        self.spans: list[tuple[int, int]] = []
        self.runs_before: list[int] = []
        self.walked_before: list[int] = []
        self.damage: dict[int, tuple[int, str]] = {}
        self.unfilled: dict[int, tuple[int, int]] = {}
        self.ignored = 0

        # The statuses that could break a run, in three lists by the modulo-3 count before them.
        status = self.bytes[self.high]
        of_one_byte = (status >= 0xC0) & (status < 0xE0)
        breaking = indices_of(of_one_byte | (status >= SYSTEM_EXCLUSIVE))
        position = self.high[breaking]
        remainder = self.low_before[breaking] % 3
        self._breaks = [position[remainder == i] for i in range(3)]

    def __len__(self) -> int:
        """How many tracks were walked."""
        return len(self.runs_before)

    def walk(self, at: int, end: int, *, cut: bool) -> None:
        """Note the runs and the walked events of the next track, and what damage ends it.

        Args:
            at: the track's first byte in the file.
            end: the byte after its last one.
            cut: whether the file ends before the track does.
        """
        track = len(self)
        self.spans.append((at, end))
        self.runs_before.append(len(self.run_first))
        self.walked_before.append(len(self.walked.kind))
        try:
            ended = self._walk_events(at, end)
            if cut and not ended:
                raise _Damage(end, "the file ends within the track")
        except _Damage as fault:
            self.damage[track] = fault.args[0], fault.args[1]

    def _walk_events(self, at: int, end: int) -> bool:
        """Go from byte `at` to `end` or to an end-of-track event: whether there was one."""
        kinds = self.walked.kind
        running = 0  # the walked status (a byte) that the next event may leave out, or 0
        while at < end:
            delta, after = self._number(at, end)
            # Where the track ends after a delta time, a note-off without data is told of.
            byte = self.data[after] if after < end else NOTE_OFF << 4
            status = byte if byte > 127 else running
            if DATA_BYTES[status] == OF_RUN:
                self.run_first.append(at)
                at = self._end_of_run(at, after, end)
                self.run_stop.append(at)
                running = 0
                continue

            at = self._walk_event(after + (byte > 127), end, status, delta)
            if kinds[-1] == META_END:
                self.ignored += end - at
                return True
            if len(kinds) > MAX_WALKED:
                raise _Damage(at, f"more than {MAX_WALKED} meta, system and program events")
            if status < SYSTEM_EXCLUSIVE:
                running = status
        return False

    def _walk_event(self, at: int, end: int, status: int, delta: int) -> int:
        """Note the event of this status, which goes on at byte `at`: the byte after it."""
        kind = status
        if status == META and at < end:
            kind = self.data[at] & 127
            at += 1
        length = DATA_BYTES[status]
        if length == TOLD_LENGTH:
            length, at = self._number(at, end)

        stop = at + length
        content = self.data[at:stop]
        if stop > end or (status < SYSTEM_EXCLUSIVE and content[0] > 127):
            raise _Damage(at, "an event without its data")
        walked = self.walked
        walked.runs.append(len(self.run_first))
        walked.delta.append(delta)
        walked.kind.append(kind)
        walked.content.append(content)
        return stop

    def _end_of_run(self, at: int, after: int, end: int) -> int:
        """The byte after the run that begins at `at` and whose first delta time ends at `after`."""
        # The modulo-3 idea: in a run, a status has one byte of its event below 128 before it.
        low_before_run = at - int(self.high.searchsorted(at))
        candidates = self._breaks[(low_before_run + IN_STATUS) % 3]
        i = candidates.searchsorted(after)
        if i == len(candidates) or candidates[i] >= end:
            return end

        # The delta time before that status is no part of the run: go back over it.
        stop = int(candidates[i]) - 1
        while self.data[stop - 1] > 127:
            stop -= 1
        return stop

    def _number(self, at: int, end: int) -> tuple[int, int]:
        """A number of one to four bytes that a track up to `end` has, and the byte after it."""
        # Most numbers have one byte.
        if at < end and self.data[at] < 128:
            return self.data[at], at + 1
        value = 0
        for i in range(at, min(at + 4, end)):
            byte = self.data[i]
            value = value << 7 | byte & 127
            if byte < 128:
                return value, i + 1
        raise _Damage(at, "a number without an end")
