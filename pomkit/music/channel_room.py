"""Where a pitch of a channel is free: the same channel and pitch never sound twice at once.

A MIDI channel knows a pitch once: where it is struck again before it has ended, most players end
both notes at the first note-off. So a note that is added is cut, and where that does not help,
left out:

    room = Room()
    room.add(line, 0, 480)                       # what sounds there already
    room.close(line, 960)                        # an end without a note that is in the file
    room.find(line, 400, 1200)                   # (480, 960): what is free of that, or None

A **line** is a pitch of a voice (see `channel_events`) as one number: voice << 7 | pitch.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from typing import NamedTuple

PITCH_BITS = 7


class Span(NamedTuple):
    """A stretch of time."""

    start: int  # tick
    end: int  # tick


class Room:
    """When the lines of a file are free."""

    def __init__(self) -> None:
        self._starts: dict[int, list[int]] = defaultdict(list)
        # For each note that starts, the latest end of it and all before it.
        self._ends: dict[int, list[int]] = defaultdict(list)
        self._closes: dict[int, list[int]] = defaultdict(list)
        self._lifts: dict[int, list[int]] = defaultdict(list)

    def add(self, line: int, start: int, end: int) -> None:
        """Take in a note that stays; notes come in the order of their starts."""
        ends = self._ends[line]
        latest = max(end, ends[-1]) if ends else end
        ends.append(latest)
        self._starts[line].append(start)

    def close(self, line: int, tick: int) -> None:
        """Take in an event that ends whatever sounds on a line."""
        insort(self._closes[line], tick)

    def lift(self, voice: int, tick: int) -> None:
        """Take in an event that ends whatever sounds on all lines of a voice."""
        insort(self._lifts[voice], tick)

    def find(self, line: int, start: int, end: int) -> Span | None:
        """What is free of a stretch, from its first free tick on; None: nothing."""
        starts = self._starts[line]
        ends = self._ends[line]

        # After the notes that begin before it, as long as one of them sounds.
        number = bisect_right(starts, start)
        while number and ends[number - 1] > start:
            start = ends[number - 1]
            number = bisect_right(starts, start)
        return self._cut(line, start, end)

    def reach(self, line: int, start: int, end: int) -> int:
        """How far up to `end` a note that is there already, from `start` on, can sound."""
        free = self._cut(line, start, end)
        return free.end if free else start

    def _cut(self, line: int, start: int, end: int) -> Span | None:
        """The stretch up to the next note or the next event that ends it."""
        voice = line >> PITCH_BITS
        for ticks in (self._starts[line], self._closes[line], self._lifts[voice]):
            following = bisect_right(ticks, start)
            if following < len(ticks):
                end = min(end, ticks[following])
        return Span(start, end) if start < end else None
