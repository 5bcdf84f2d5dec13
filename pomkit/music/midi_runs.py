"""The tracks of a MIDI file: what breaks a run is walked, the runs are decoded as arrays.

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

`decode_runs` then reads the runs of all tracks together, in stages that stand below in this
order:

1. `_lay_out` counts the events of each run; `_split_events` cuts out their three bytes.
2. `_sort_high_bytes` says what each byte above 127 is.
3. `_told_statuses` takes the statuses that are written, `_repeat_statuses` fills in those that
   are left out: **running status** is the last one, repeated.
4. `_broken_runs`, `_misplaced_bytes` and `_events_without_status` find what cannot be, and
   `_note_damage` from where on a track is not to be trusted.
5. `_add_up_deltas` turns the delta times of the runs into ticks.
6. `_place_walked` puts the walked events among those of the runs, and `_add_offsets` adds their
   delta times.

`midi_notes` goes on with what comes out, the `Messages`.

In the shapes, "runs", "events" (of runs) and "high" (bytes above 127 in runs) are lengths.

Source: Standard MIDI Files 1.0, "Track Chunks", for delta times and running status.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .midi_codes import (
    DATA_BYTES,
    EMPTY_PART,
    ESCAPE,
    MAX_WALKED,
    META,
    META_END,
    META_SPECIFIC,
    NOTE_OFF,
    PROGRAM,
    SYSTEM_EXCLUSIVE,
    Events,
)

HIGH_BYTES = bytes(range(128, 256))

# What a byte above 127 is in a run, by how many bytes below 128 its event has before it.
IN_DELTA = 0
IN_STATUS = 1
IN_DATA = 2

# With so many tracks or fewer, track, channel and pitch fit into 16 bits: 5 + 4 + 7.
TRACKS_IN_16_BITS = 32


def indices_of(mask: np.ndarray) -> np.ndarray:
    """Where a mask, bool (n,), is True: int64 (count,)."""
    return mask.nonzero()[0]  # quicker than np.flatnonzero on rows of (n,)


class Run(NamedTuple):
    """A stretch of a track that is decoded by arrays."""

    first: int  # byte of the file
    stop: int  # byte after the last one
    track: int


class Walked(NamedTuple):
    """An event that breaks a run, its time and its data."""

    runs: int  # how many runs of the file are before it (a count of runs, not of bytes)
    delta: int  # ticks
    kind: int  # the type of a meta event (below 128), or the status
    content: bytes


class TrackStart(NamedTuple):
    """How many walked events and how many runs of the file are before a track."""

    walked: int
    runs: int


class _Damage(Exception):
    """A byte that cannot be; `args` are its position and what is wrong there."""


class Tracks:
    """The tracks of a file: `walk` each of them in turn, then read all with `decode_runs`.

    Attributes:
        data: the file.
        bytes: the same, uint8 (bytes,).
        high: where its bytes above 127 are, int64 (all high,).
        low_before: how many bytes below 128 are before each of these, int64 (all high,).
        runs: the runs of all tracks walked so far.
        walked: the events between them.
        starts: where each track begins in these two lists.
        damage: track -> (byte, what is wrong there).
        ignored: how many bytes stand after the ends of tracks.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)
        self.high = indices_of(self.bytes > 127)
        self.low_before = self.high - np.arange(len(self.high))
        self.runs: list[Run] = []
        self.walked: list[Walked] = []
        self.starts: list[TrackStart] = []
        self.damage: dict[int, tuple[int, str]] = {}
        self.ignored = 0

        # The statuses that could break a run, in three lists by the modulo-3 count before them.
        status = self.bytes[self.high]
        of_one_byte = (status >= 0xC0) & (status < 0xE0)
        breaking = indices_of(of_one_byte | (status >= SYSTEM_EXCLUSIVE))
        position = self.high[breaking]
        remainder = self.low_before[breaking] % 3
        self._breaks = [position[remainder == i] for i in range(3)]

    def walk(self, at: int, end: int, *, cut: bool) -> None:
        """Note the runs and the walked events of the next track, and what damage ends it.

        Args:
            at: the track's first byte in the file.
            end: the byte after its last one.
            cut: whether the file ends before the track does.
        """
        track = len(self.starts)
        self.starts.append(TrackStart(len(self.walked), len(self.runs)))
        try:
            ended = self._walk_events(at, end, track)
            if cut and not ended:
                raise _Damage(end, "the file ends within the track")
        except _Damage as fault:
            self.damage[track] = fault.args[0], fault.args[1]

    def _walk_events(self, at: int, end: int, track: int) -> bool:
        """Go from byte `at` to `end` or to an end-of-track event: whether there was one."""
        running = 0  # the walked status (a byte) that the next event may leave out, or 0
        while at < end:
            delta, after = self._number(at)
            # Where the track ends after a delta time, a note-off without data is told of.
            byte = self.data[after] if after < end else NOTE_OFF << 4
            status = byte if byte > 127 else running
            if not _breaks_a_run(status):
                stop = self._end_of_run(at, after, end)
                self.runs.append(Run(at, stop, track))
                at = stop
                running = 0
                continue

            at = self._walk_event(after + (byte > 127), end, status, delta)
            if self.walked[-1].kind == META_END:
                self.ignored += end - at
                return True
            if len(self.walked) > MAX_WALKED:
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
        if status in (SYSTEM_EXCLUSIVE, ESCAPE, META):
            length, at = self._number(at)
        else:
            length = DATA_BYTES.get(status, 0)

        content = self.data[at : at + length]
        if at + length > end or (status < SYSTEM_EXCLUSIVE and content[0] > 127):
            raise _Damage(at, "an event without its data")
        self.walked.append(Walked(len(self.runs), delta, kind, content))
        return at + length

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

    def _number(self, at: int) -> tuple[int, int]:
        """A variable-length number of at most four bytes, and the byte after it."""
        # Most numbers have one byte.
        if at < len(self.data) and self.data[at] < 128:
            return self.data[at], at + 1
        value = 0
        for i in range(at, min(at + 4, len(self.data))):
            byte = self.data[i]
            value = value << 7 | byte & 127
            if byte < 128:
                return value, i + 1
        raise _Damage(at, "a number without an end")


def _breaks_a_run(status: int) -> bool:
    """Whether events of this status have other than two bytes of data; not so for 0, none known."""
    return 0xC0 <= status < 0xE0 or status >= SYSTEM_EXCLUSIVE


class _Runs(NamedTuple):
    """The runs of all tracks, (runs,) each."""

    first: np.ndarray  # byte of the file
    stop: np.ndarray  # byte after the last one
    track: np.ndarray
    low_first: np.ndarray  # how many bytes below 128 the file has before the run
    high_first: np.ndarray  # how many bytes above 127 the file has before the run
    high_stop: np.ndarray  # how many bytes above 127 it has up to the run's end
    events: np.ndarray  # how many whole ones the run has (runs,)
    events_before: np.ndarray  # how many are in the runs before it (runs,)
    broken: np.ndarray  # whether it ends within an event, bool


class _Table(NamedTuple):
    """The bytes below 128 of the events of all runs, uint8 (events,) each, and their tracks."""

    track: np.ndarray
    delta: np.ndarray  # the last byte of the delta time
    key: np.ndarray  # the first byte of data: a pitch, or the number of a controller
    value: np.ndarray  # the second byte of data: a velocity, or the value of a controller


class _HighBytes(NamedTuple):
    """The bytes above 127 of the whole events of runs, (high,) each."""

    byte: np.ndarray
    position: np.ndarray  # byte of the file
    event: np.ndarray  # the row of its event in `_Table` (high,)
    in_delta: np.ndarray  # which of them are parts of delta times: indices (count,)
    in_status: np.ndarray  # which of them are statuses (count,)
    in_data: np.ndarray  # which of them are damage (count,)


class _Fault(NamedTuple):
    """What cannot be in a run, and from which event on its track is lost."""

    track: int
    event: int
    byte: int
    reason: str


def _program_0() -> defaultdict[int, list[tuple[int, int]]]:
    """Voices and their changes of program: before the first one a voice plays program 0."""
    return defaultdict(lambda: [(0, 0)])


@dataclass
class Story:
    """What the walked events mean for the events of runs.

    Attributes:
        offsets: event -> how many ticks are added from it on, in rising order.
        ends: the tick at which each track ends.
        programs: voice -> (event, the program from it on).
        empty_parts: tracks that are marked as parts without notes.
    """

    offsets: dict[int, int] = field(default_factory=lambda: {0: 0})
    ends: list[int] = field(default_factory=list)
    programs: dict[int, list[tuple[int, int]]] = field(default_factory=_program_0)
    empty_parts: list[int] = field(default_factory=list)


class Messages(NamedTuple):
    """The events of the runs of all tracks, (events,) each, and what was between the runs.

    A voice is a channel of a track, as one number: track << 4 | channel.
    """

    kind: np.ndarray  # NOTE_ON, CONTROL and so on; 0 after damage (events,)
    voice: np.ndarray
    key: np.ndarray  # a pitch, or the number of a controller (events,)
    value: np.ndarray  # a velocity, or the value of a controller (events,)
    tick: np.ndarray
    story: Story


def decode_runs(tracks: Tracks, events: Events) -> Messages:
    """Read the runs of all tracks at once, and put the walked events among them.

    Args:
        tracks: all of them walked; what cannot be in a run is added to their `damage`.
        events: gets what the walked events say: names, tempos, meters and texts.

    Returns:
        The events of the runs, (events,) each, as `add_notes` takes them.
    """
    # What each byte of the runs is.
    runs = _lay_out(tracks)
    table = _split_events(tracks, runs)
    high = _sort_high_bytes(tracks, runs)

    # The status of each event, and where a track is damaged.
    status = _told_statuses(high, len(table.key))
    faults = _broken_runs(runs)
    faults += _misplaced_bytes(table, high)
    faults += _events_without_status(runs, status)
    _repeat_statuses(status, high.event[high.in_status])
    trusted = _note_damage(tracks, faults, len(status))
    if faults:
        last = np.array(trusted)[table.track]
        status[np.arange(len(status)) >= last] = 0

    # When each event happens.
    clock = _add_up_deltas(table.delta, high)
    bounds = [*runs.events_before.tolist(), len(status)]
    story = _place_walked(tracks, events, clock, bounds=bounds, trusted=trusted)
    tick = clock[1:]
    _add_offsets(tick, story.offsets)

    voice = table.track << 4 | status & 15
    return Messages(status >> 4, voice, table.key, table.value, tick, story)


def _lay_out(tracks: Tracks) -> _Runs:
    """Count the events of each run: an event has three bytes below 128."""
    first, stop, track = np.array(tracks.runs, np.int64).reshape(-1, 3).T  # (runs,) each
    high_first = tracks.high.searchsorted(first)
    high_stop = tracks.high.searchsorted(stop)
    low_first = first - high_first
    low_stop = stop - high_stop
    events, left = np.divmod(low_stop - low_first, 3)
    events_before = events.cumsum() - events

    # In a broken run bytes are left over, below 128 or above.
    ends_high = tracks.bytes[stop - 1] > 127
    broken = (left > 0) | ends_high
    return _Runs(
        first,
        stop,
        track,
        low_first,
        high_first,
        high_stop,
        events,
        events_before,
        broken,
    )


def _cut_out(array: np.ndarray, first: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """The pieces of an array from each `first` to each `stop`, one after the other."""
    spans = zip(first.tolist(), stop.tolist(), strict=True)
    pieces = [array[a:b] for a, b in spans]
    return np.concatenate([array[:0], *pieces])


def _split_events(tracks: Tracks, runs: _Runs) -> _Table:
    """Cut the bytes below 128 of each run into threes: end of the delta time, data, data."""
    low = np.frombuffer(tracks.data.translate(None, delete=HIGH_BYTES), np.uint8)
    joined = _cut_out(low, runs.low_first, runs.low_first + 3 * runs.events)
    delta, key, value = joined.reshape(-1, 3).T.copy()  # (events,) each

    # Later on, numbers made of track, channel and pitch are sorted. Numpy sorts numbers of 16 bits
    # by radix, which is much faster, so they shall have 16 bits where that will do.
    small = len(tracks.starts) <= TRACKS_IN_16_BITS
    track = runs.track.astype(np.uint16 if small else np.int64)
    return _Table(track.repeat(runs.events), delta, key, value)


def _sort_high_bytes(tracks: Tracks, runs: _Runs) -> _HighBytes:
    """Say what each byte above 127 in runs is: the modulo-3 idea."""
    position = _cut_out(tracks.high, runs.high_first, runs.high_stop)
    low_before = _cut_out(tracks.low_before, runs.high_first, runs.high_stop)

    # Count the bytes below 128 from the start of the run, and three for each event before the
    # run. A third of that is the event, and the remainder says what the byte is.
    length = runs.high_stop - runs.high_first
    shift = 3 * runs.events_before - runs.low_first
    count = low_before + shift.repeat(length)
    event = count // 3
    remainder = count - 3 * event

    # What follows the last whole event of a run belongs to none.
    if runs.broken.any():
        events_stop = runs.events_before + runs.events
        whole = event < events_stop.repeat(length)
        position = position[whole]
        event = event[whole]
        remainder = remainder[whole]

    in_delta = indices_of(remainder == IN_DELTA)
    in_status = indices_of(remainder == IN_STATUS)
    in_data = indices_of(remainder == IN_DATA)
    return _HighBytes(tracks.bytes[position], position, event, in_delta, in_status, in_data)


def _told_statuses(high: _HighBytes, count: int) -> np.ndarray:
    """The statuses that are written, uint8 (events,), and 0 for the events that have none."""
    status = np.zeros(count, np.uint8)
    status[high.event[high.in_status]] = high.byte[high.in_status]
    return status


def _repeat_statuses(status: np.ndarray, told: np.ndarray) -> None:
    """Running status: repeat each status that is told, in place, until the next one."""
    bounds = np.concatenate([told, [len(status)]])
    lengths = bounds[1:] - bounds[:-1]
    status[bounds[0] :] = status[told].repeat(lengths)


def _faults(reason: str, *columns: np.ndarray) -> list[_Fault]:
    """Faults from their tracks, events and bytes, int (faults,) each."""
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [_Fault(track, event, byte, reason) for track, event, byte in rows]


def _broken_runs(runs: _Runs) -> list[_Fault]:
    """Find runs that end within an event."""
    i = indices_of(runs.broken)
    if not len(i):
        return []
    event = runs.events_before[i] + runs.events[i]
    return _faults("an event without its data", runs.track[i], event, runs.stop[i])


def _misplaced_bytes(table: _Table, high: _HighBytes) -> list[_Fault]:
    """Find bytes above 127 in data, second statuses, and delta times of more than four bytes."""
    # Bytes of one event stand side by side: too many of them are found by a look at the neighbours.
    event = high.event[high.in_status]
    second = high.in_status[1:][event[1:] == event[:-1]]
    event = high.event[high.in_delta]
    fourth = high.in_delta[3:][event[3:] == event[:-3]]

    i = np.concatenate([high.in_data, second, fourth])
    if not len(i):
        return []
    event = high.event[i]
    reason = "a status byte where data should be"
    return _faults(reason, table.track[event], event, high.position[i])


def _events_without_status(runs: _Runs, told: np.ndarray) -> list[_Fault]:
    """Find tracks whose first event leaves its status out: there is none to be repeated."""
    opens = runs.events > 0
    opens[1:] &= runs.track[1:] != runs.track[:-1]
    i = indices_of(opens)
    i = i[told[runs.events_before[i]] == 0]
    if not len(i):
        return []
    event = runs.events_before[i]
    return _faults("an event without a status", runs.track[i], event, runs.first[i])


def _note_damage(tracks: Tracks, faults: list[_Fault], count: int) -> list[int]:
    """Note the first fault of each track: from which of the `count` events on each is lost."""
    trusted = [count] * len(tracks.starts)
    # Sorted backwards, the first fault of a track is written last, over the others.
    for fault in sorted(faults, reverse=True):
        tracks.damage[fault.track] = fault.byte, fault.reason
        trusted[fault.track] = fault.event
    return trusted


def _add_up_deltas(last_byte: np.ndarray, high: _HighBytes) -> np.ndarray:
    """The sum of the delta times before each event of the runs, and of all, int64 (events + 1,)."""
    clock = np.zeros(len(last_byte) + 1, np.int64)
    clock[1:] = last_byte

    # A byte of a delta time counts 7 bits more for each byte that follows it there: the last one,
    # which is below 128, and the next one or two here if they are of the same event.
    event = high.event[high.in_delta]
    shift = np.full(len(event), 7)
    shift[:-1] += 7 * (event[1:] == event[:-1])
    shift[:-2] += 7 * (event[2:] == event[:-2])
    bits = high.byte[high.in_delta] & 127
    np.add.at(clock, event + 1, bits.astype(np.int64) << shift)
    return clock.cumsum()


def _place_walked(
    tracks: Tracks,
    events: Events,
    clock: np.ndarray,
    *,
    bounds: list[int],
    trusted: list[int],
) -> Story:
    """Give the walked events their ticks, and note what they mean for the events of runs.

    `clock` adds up the delta times of the runs of all tracks. Offsets take away those of the
    tracks before, and add those of walked events. `bounds`: the first event of each run.
    """
    story = Story()
    stop = TrackStart(len(tracks.walked), len(tracks.runs))
    for track, (start, after) in enumerate(pairwise([*tracks.starts, stop])):
        # Each track begins at tick 0.
        place = bounds[start.runs]
        offset = -int(clock[place])
        story.offsets[place] = offset
        for event in tracks.walked[start.walked : after.walked]:
            place = bounds[event.runs]
            if place > trusted[track]:
                break
            offset += event.delta
            story.offsets[place] = offset
            tick = int(clock[place]) + offset
            events.add_meta(track, tick, event.kind, event.content)
            if event.kind >> 4 == PROGRAM:
                voice = track << 4 | event.kind & 15
                story.programs[voice].append((place, event.content[0]))
            elif event.kind == META_SPECIFIC and event.content == EMPTY_PART:
                story.empty_parts.append(track)

        last = min(bounds[after.runs], trusted[track])
        story.ends.append(int(clock[last]) + offset)
    return story


def _add_offsets(tick: np.ndarray, offsets: dict[int, int]) -> None:
    """Add each offset to the ticks, in place, from its event to that of the next one."""
    stops = [*offsets, len(tick)][1:]
    for (first, offset), stop in zip(offsets.items(), stops, strict=True):
        tick[first:stop] += offset
