"""The runs of all tracks of a MIDI file, decoded as arrays: every event with its time.

`midi_tracks` has noted where runs of events begin and stop, and the walked events between them.
`decode_runs` reads the runs of all tracks together, in stages that stand below in this order:

1. `_lay_out` counts the events of each run; `_split_events` cuts out their three bytes.
2. `_sort_high_bytes` says what each byte above 127 is: the modulo-3 idea.
3. `_told_statuses` takes the statuses that are written, `_repeat_statuses` fills in those that
   are left out: **running status** is the last one, repeated.
4. `_broken_runs`, `_misplaced_bytes` and `_events_without_status` find what cannot be, and
   `_note_damage` from where on a track is not to be trusted.
5. `_add_up_deltas` turns the delta times of the runs into ticks.
6. `_place_walked` puts the walked events among those of the runs, and finds by how many ticks
   they move each run; `_tell_walked` notes what they say.

`midi_notes` goes on with what comes out, the `Messages`.

In the shapes, "tracks", "runs", "walked", "events" (of runs) and "high" (bytes above 127 in runs)
are lengths.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .midi_codes import EMPTY_PART, META_PORT, META_SPECIFIC, PROGRAM, Events
from .midi_tracks import IN_DATA, IN_DELTA, IN_STATUS, Tracks, indices_of

HIGH_BYTES = bytes(range(128, 256))

# With so many tracks or fewer, track, channel and pitch fit into 16 bits: 5 + 4 + 7.
TRACKS_IN_16_BITS = 32


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


class _Placed(NamedTuple):
    """Where the walked events stand among those of the runs, and what they add to the time."""

    track: np.ndarray  # int64 (walked,)
    place: np.ndarray  # the event of the runs that follows it (walked,)
    tick: np.ndarray  # int64 (walked,)
    is_trusted: np.ndarray  # whether it is before the damage of its track, bool (walked,)
    offset: np.ndarray  # what is added to the ticks of each run, int64 (runs,)
    ends: np.ndarray  # the tick at which each track ends, int64 (tracks,)


@dataclass
class Story:
    """What the walked events mean for the events of runs.

    Attributes:
        ends: the tick at which each track ends, int64 (tracks,).
        changes: the changes of program: (voice, event of the runs from which on, program).
        empty_parts: tracks that are marked as parts without notes.
    """

    ends: np.ndarray
    changes: list[tuple[int, int, int]] = field(default_factory=list)
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
        status[np.arange(len(status)) >= trusted[table.track]] = 0

    # When each event happens.
    clock = _add_up_deltas(table.delta, high)
    placed = _place_walked(tracks, runs, clock, trusted)
    story = _tell_walked(tracks, events, placed)
    tick = clock[1:]
    tick += placed.offset.repeat(runs.events)

    voice = table.track << 4 | status & 15
    return Messages(status >> 4, voice, table.key, table.value, tick, story)


def _lay_out(tracks: Tracks) -> _Runs:
    """Count the events of each run: an event has three bytes below 128."""
    first = np.array(tracks.run_first, np.int64)
    stop = np.array(tracks.run_stop, np.int64)
    run_bounds = np.array([*tracks.runs_before, len(first)])  # (tracks + 1,)
    track = _numbers(run_bounds)
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


def _numbers(bounds: np.ndarray) -> np.ndarray:
    """For the things between bounds, (n + 1,), the number of their stretch, from 0 to n - 1."""
    lengths = bounds[1:] - bounds[:-1]
    return np.arange(len(lengths)).repeat(lengths)


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
    small = len(tracks) <= TRACKS_IN_16_BITS
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


def _note_damage(tracks: Tracks, faults: list[_Fault], count: int) -> np.ndarray:
    """Note the first fault of each track: from which of the `count` events on each is lost."""
    trusted = np.full(len(tracks), count)
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


def _place_walked(tracks: Tracks, runs: _Runs, clock: np.ndarray, trusted: np.ndarray) -> _Placed:
    """Find the ticks of the walked events, and what they add to those of the runs.

    `clock` adds up the delta times of the runs of all tracks; offsets take away those of the
    tracks before, and add those of walked events. `trusted` has an event for each track, (tracks,).
    """
    # The runs and the walked events of a track stand between two bounds.
    run_bounds = np.array([*tracks.runs_before, len(runs.first)])  # (tracks + 1,)
    walked_bounds = np.array([*tracks.walked_before, len(tracks.walked.kind)])  # (tracks + 1,)
    start = walked_bounds[:-1]
    track = _numbers(walked_bounds)

    # The delta times of the walked events before each of them, and of all: (walked + 1,).
    total = np.array([0, *tracks.walked.delta], np.int64).cumsum()
    # Each track begins at tick 0.
    bounds = np.concatenate([runs.events_before, [len(clock) - 1]])  # (runs + 1,)
    first = bounds[run_bounds]  # the first event of the runs of each track, (tracks + 1,)
    base = -clock[first[:-1]] - total[start]

    # A walked event counts for the runs after it.
    runs_before = np.array(tracks.walked.runs, np.int64)
    place = bounds[runs_before]
    tick = clock[place] + base[track] + total[1:]
    walked_before_run = runs_before.searchsorted(np.arange(len(runs.first)), side="right")
    offset = base[runs.track] + total[walked_before_run]

    # A damaged track ends where it is no longer trusted.
    is_trusted = place <= trusted[track]
    trusted_walked = np.bincount(track[is_trusted], minlength=len(tracks))
    last = np.minimum(first[1:], trusted)
    ends = clock[last] + base + total[start + trusted_walked]
    return _Placed(track, place, tick, is_trusted, offset, ends)


def _tell_walked(tracks: Tracks, events: Events, placed: _Placed) -> Story:
    """Put what the walked events say into `events`, and tell what they mean for the runs."""
    story = Story(placed.ends)
    walked = tracks.walked
    numbers = (placed.is_trusted, placed.track, placed.place, placed.tick)
    columns = (column.tolist() for column in numbers)
    rows = zip(*columns, walked.kind, walked.content, strict=True)

    for is_trusted, track, place, tick, kind, content in rows:
        if not is_trusted:
            continue
        if kind >> 4 == PROGRAM:
            story.changes.append((track << 4 | kind & 15, place, content[0]))
            events.programs.append((track, kind & 15, tick, content[0]))
        elif kind == META_SPECIFIC and content == EMPTY_PART:
            story.empty_parts.append(track)
        else:
            events.add_meta(track, tick, kind, content)
        if kind == META_PORT and content:
            events.ports[track] = content[0]
    return story
