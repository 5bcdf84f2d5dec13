"""A MIDI file as lists of its own bytes, in which single events are changed and no others.

`midi_write` makes files of songs. Here a file stays what it is: its header, its tracks, chunks of
other kinds and bytes after its end are copied, and only tracks in which something changed are put
together anew.

    copy = FileCopy(events)                      # of `midi_events.read_events`
    copy.tracks[1].remove(7)                     # the event number 7 of the second track
    copy.tracks[1].ends.append((480, note_off))  # an event at tick 480
    data = copy.to_bytes()

The law: every event that is not touched keeps its track, its tick and its bytes, and events of one
tick keep their order. At one tick, added ends of notes stand before all others, and added starts
after them. A track that leaves out repeated statuses (running status) goes on to do so, and one
that has no end gets one. `splice` decides what changes.
"""

import struct
from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from .channel_events import FORMAT_BYTE
from .midi_codes import (
    DATA_BYTES,
    META,
    META_END,
    OF_RUN,
    SYSTEM_EXCLUSIVE,
    TOLD_LENGTH,
    Events,
)

# The bytes of a header after which the number of tracks ends, and at which the division begins.
COUNT_STOP = 12
DIVISION_BYTE = 12
MOST_TRACKS = 2**16 - 1
# The largest delta time, and the event that divides a larger one: a text without letters.
MAX_DELTA = 2**28 - 1
EMPTY_TEXT = b"\xff\x01\x00"
END_OF_TRACK = bytes([META, META_END, 0])

Event = tuple[int, bytes]  # tick, status and data
REMOVED = b""


class TrackContent(NamedTuple):
    """What a track holds.

    Attributes:
        events: all begin with a status.
        rest: the bytes after the end of the track, which are no events.
        is_running: whether the track leaves out statuses.
    """

    events: list[Event]
    rest: bytes
    is_running: bool


class MetaEvent(NamedTuple):
    """A meta event of a file; its number is that among the events of its track."""

    track: int
    number: int
    tick: int
    content: bytes


class TrackCopy:
    """The events of a track, and what shall change in it.

    Attributes:
        first: the track's first byte in the file.
        stop: the byte after its last one.
        other: what stands for events that are changed, by their numbers; REMOVED for none.
        ends: added events that stand before all others of their ticks.
        starts: added events that stand after all others of their ticks.
    """

    def __init__(self, data: bytes = b"", first: int = 0, stop: int = 0) -> None:
        self._data = data
        self.first = first
        self.stop = stop
        self.other: dict[int, bytes] = {}
        self.ends: list[Event] = []
        self.starts: list[Event] = []

    @classmethod
    def new(cls, events: Sequence[Event]) -> "TrackCopy":
        """A track that the file does not have."""
        track = cls()
        track._content = TrackContent(list(events), b"", is_running=False)
        return track

    @cached_property
    def _content(self) -> TrackContent:
        """What the file has here; it is read when it is first asked for."""
        return _read_track(self._data, self.first, self.stop)

    @property
    def events(self) -> list[Event]:
        """The events that the file has here."""
        return self._content.events

    @cached_property
    def channel_numbers(self) -> list[int]:
        """The numbers of those events that `ChannelEvents` holds, too."""
        return [i for i, (_, event) in enumerate(self.events) if DATA_BYTES[event[0]] == OF_RUN]

    @property
    def has_changed(self) -> bool:
        """Whether anything in the track is changed."""
        return bool(self.other or self.ends or self.starts)

    @property
    def end(self) -> int:
        """The tick at which the track ends with all changes."""
        last = self.events[-1][0] if self.events else 0
        return max([last, *(tick for tick, _ in self.ends + self.starts)])

    def remove(self, number: int) -> None:
        """Take the event of this number out; the others keep their ticks and numbers."""
        self.other[number] = REMOVED

    def to_bytes(self) -> bytes:
        """The track with its changes, as the content of a chunk."""
        # The file's own events, less the end of the track, and which of all come first at a tick.
        own = self.events
        is_closed = bool(own) and _is_end(own[-1][1])
        rows = [(tick, 1, self.other.get(i, event)) for i, (tick, event) in enumerate(own)]
        rows = [row for row in rows[: len(rows) - is_closed] if row[2] != REMOVED]
        rows += [(tick, 0, event) for tick, event in self.ends]
        rows += [(tick, 2, event) for tick, event in self.starts]

        # The sort is stable: events of one tick keep their order.
        rows.sort(key=itemgetter(0, 1))
        timed = [(tick, event) for tick, _, event in rows]
        timed.append((self.end, own[-1][1] if is_closed else END_OF_TRACK))
        return _written(timed, running=self._content.is_running) + self._content.rest


class FileCopy:
    """A MIDI file and what shall change in it.

    Attributes:
        tracks: its tracks.
        added: the events of further tracks.
    """

    def __init__(self, events: Events) -> None:
        assert events.source is not None
        self._data = events.source
        self.tracks = [TrackCopy(self._data, *span) for span in events.tracks]
        self.added: list[TrackCopy] = []

        # How many channel events are in the tracks before each one.
        track = events.messages[1].astype(np.int64) >> 4
        counts = np.bincount(track, minlength=len(self.tracks))
        self._events_before: list[int] = (counts.cumsum() - counts).tolist()

    @property
    def format(self) -> int:
        """0: one track; 1: tracks side by side; 2: patterns, each by itself."""
        return self._data[FORMAT_BYTE]

    @property
    def is_smpte(self) -> bool:
        """Whether time is counted in frames of film."""
        return self._data[DIVISION_BYTE] > 127

    def number_of(self, event: int, track: int) -> int:
        """The number that an event of `ChannelEvents` has among all events of its track."""
        return self.tracks[track].channel_numbers[event - self._events_before[track]]

    def metas(self, kind: int) -> Iterator[MetaEvent]:
        """The meta events of one type."""
        for track, copy in enumerate(self.tracks):
            for number, (tick, event) in enumerate(copy.events):
                if event[0] == META and event[1] == kind:
                    _, first = _read_number(event, 2)
                    yield MetaEvent(track, number, tick, event[first:])

    def to_bytes(self) -> bytes:
        """The file with all changes."""
        count = min(len(self.tracks) + len(self.added), MOST_TRACKS)
        told = struct.pack(">H", count) if self.added else self._data[COUNT_STOP - 2 : COUNT_STOP]
        pieces = [self._data[: COUNT_STOP - 2], told]
        at = COUNT_STOP
        for number, track in enumerate(self.tracks):
            # A length that lies must not hide a track that is added behind.
            is_last = self.added and number == len(self.tracks) - 1
            if track.has_changed or is_last:
                old = self._data[track.first : track.stop]
                content = track.to_bytes() if track.has_changed else old
                length = struct.pack(">I", len(content))
                pieces += [self._data[at : track.first - len(length)], length, content]
                at = track.stop

        for track in self.added:
            content = track.to_bytes()
            pieces += [b"MTrk", struct.pack(">I", len(content)), content]
        return b"".join(pieces) + self._data[at:]


def meta(kind: int, content: bytes) -> bytes:
    """A meta event.

    Args:
        kind: its type.
        content: its data.
    """
    return bytes([META, kind]) + _number(len(content)) + content


def _read_track(data: bytes, first: int, stop: int) -> TrackContent:
    """The events of the track between two bytes of a file that `read_events` has read."""
    events: list[Event] = []
    is_running = False
    at = first
    tick = 0
    running = 0
    while at < stop:
        delta, at = _read_number(data, at)
        tick += delta
        status = data[at]
        if status > 127:
            at += 1
        else:
            status = running
            is_running = True
        if status < SYSTEM_EXCLUSIVE:
            running = status

        end = _end_of_event(data, at, status)
        event = bytes([status]) + data[at:end]
        events.append((tick, event))
        at = end
        if status == META and _is_end(event):
            break
    return TrackContent(events, data[at:stop], is_running)


def _written(events: Sequence[Event], *, running: bool) -> bytes:
    """Events with delta times between them; `running`: repeated statuses are left out."""
    pieces = []
    now = 0
    status = 0
    for tick, event in events:
        delta = _delta(tick - now)
        pieces += delta
        now = tick

        # A meta or system event ends the running status, and so does one that divides a delta time.
        is_repeated = running and event[0] == status and len(delta) == 1
        pieces.append(event[1:] if is_repeated else event)
        status = event[0] if event[0] < SYSTEM_EXCLUSIVE else 0
    return b"".join(pieces)


def _is_end(event: bytes) -> bool:
    """Whether an event ends its track; the reader passes over the highest bit of its type."""
    return event[0] == META and event[1] & 127 == META_END


def _end_of_event(data: bytes, at: int, status: int) -> int:
    """The byte after an event of this status, whose data begin at byte `at`."""
    length = DATA_BYTES[status]
    if length == OF_RUN:
        return at + 2
    if length != TOLD_LENGTH:
        return at + length
    length, at = _read_number(data, at + (status == META))
    return at + length


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    """The number of 7 bits a byte at byte `at`, and the byte after it."""
    value = data[at] & 127
    while data[at] > 127:
        at += 1
        value = value << 7 | data[at] & 127
    return value, at + 1


def _number(value: int) -> bytes:
    """A number as 7 bits a byte."""
    digits = [value & 127]
    while value > 127:
        value >>= 7
        digits.append(value & 127 | 128)
    return bytes(reversed(digits))


def _delta(ticks: int) -> list[bytes]:
    """A delta time, and as many events without a meaning as it takes to divide a large one."""
    pieces = []
    while ticks > MAX_DELTA:
        pieces += [_number(MAX_DELTA), EMPTY_TEXT]
        ticks -= MAX_DELTA
    return [*pieces, _number(ticks)]
