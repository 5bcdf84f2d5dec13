"""How edits of notes come into the bytes of a file.

    splicer = Splicer(song, events, notes)       # of one file, `FileNotes` beside it
    splicer.change(edits)                        # what `find_edits` found
    data = splicer.copy.to_bytes()
    tuple(splicer.remarks())                     # what could not be kept, counted

The notes that stay come first: those that get another end, then those that last longer as far as
there is room; new ones (`new_notes`) get the room that is left.

The laws: notes of one track, channel and pitch are read first in, first out, so their ends stay in
the order of their starts; a note without an end in the file lasts to where its track ended.
`splice` calls this.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from .channel_events import ChannelEvents, groups_of
from .channel_room import PITCH_BITS, Room
from .effects import Stretch, effects_on
from .file_notes import FileNotes
from .midi_codes import NOTE_OFF, NOTE_ON, Events
from .midi_copy import FileCopy
from .midi_write import Score
from .new_notes import Homes, NewNote, fit
from .note_edits import Edits

# How hard the key of a new note is released: the middle, which means nothing.
RELEASE_VELOCITY = 64

# What is told of a file beside the notes that are right, and of how many notes.
REMARKS = {
    "cut": "new notes cut, since their channel and pitch sound already or are ended there",
    "dropped": "new notes left out, since their channel and pitch sound already",
    "merged": "notes left out, since their part has the same pitch at the same step",
    "moved": "notes moved, since the ticks of the file are coarser than the grid",
    "program": "new notes with another program than their part's: their channel has it there",
    "held": "changed notes that last longer, since the sustain pedal holds them",
    "pedal": "new notes that the sustain pedal holds or colours",
    "bend": "new notes on a channel that is bent there",
    "volume": "new notes on a channel whose volume is 0 there",
    "expression": "new notes on a channel whose expression is 0 there",
    "channels": "new parts on a channel that others have, since none is free",
}


class Splicer:
    """A file in which notes change.

    Attributes:
        copy: the file.
        counts: what is to be told of the changes, by the names of REMARKS.
        key_ends: when the key of each of its notes comes up, in ticks.
    """

    def __init__(self, song: Score, events: Events, notes: FileNotes) -> None:
        self.copy = FileCopy(events)
        self.counts: Counter[str] = Counter()
        self._events = events
        self._notes = notes
        self._channels = ChannelEvents.of(events)
        self._homes = Homes(song, events, self.copy, notes)
        self._starts: list[int] = notes.start.tolist()

        # The voice and pitch of each note as one number.
        group = np.array(groups_of(events), np.int64)[notes.track]
        self._lines = (group << 4 | notes.channel) << PITCH_BITS | notes.pitch

        # The events that start and end each note. One without an end, or that a controller ends,
        # has no note-off: -1.
        start, end = events.pairs
        ends_note = np.append(self._channels.ends_note, False)
        self._note_ons: list[int] = start.tolist()
        self._note_offs: list[int] = np.where(ends_note[end], end, -1).tolist()

        # When the key of each note comes up; without an end it does with its track.
        ticks = np.append(self._channels.tick, 0)
        track_ends = events.track_ends[notes.track]
        self.key_ends: list[int] = np.where(end < 0, track_ends, ticks[end]).tolist()

    def change(self, edits: Edits) -> None:
        """Bring edits into the file."""
        self.counts.update(held=edits.held, moved=edits.moved)
        ends = list(self.key_ends)
        for i, tick in edits.ends.items():
            ends[i] = tick

        # What stays gets its ends first, then new notes get the room that is left.
        self._keep_order(edits, ends)
        self._lengthen(edits, ends)
        added = [self._homes.place(row) for row in edits.added]
        room = self._room(edits, ends, {note.line for note in added})
        placed = fit(added, room, self._notes.grid, self.counts)
        self.counts["channels"] += self._homes.crowded

        self._write_changes(edits, ends)
        self._write_notes(placed)
        self._end_unended(edits)
        self._count_effects(edits, ends, placed)
        self._count_programs(placed)

    def remarks(self) -> Iterator[str]:
        """A sentence for each count."""
        return (f"{text}: {self.counts[key]}" for key, text in REMARKS.items() if self.counts[key])

    # Where notes end

    def _keep_order(self, edits: Edits, ends: list[int]) -> None:
        """Let notes that are moved end in the order in which they start: first in, first out.

        Where notes of one track, channel and pitch overlap, an end is read as that of the first of
        them. So those that start before one whose end is moved must not end after it.
        """
        if not edits.ends:
            return
        notes = self._notes
        keys = (notes.track << 4 | notes.channel) << PITCH_BITS | notes.pitch
        touched = np.unique(keys[list(edits.ends)])
        chosen = np.isin(keys, touched).nonzero()[0]
        order = chosen[self._events.pairs[0][chosen].argsort()]

        # From the last one to the first: none ends after the one that starts next.
        next_end: dict[int, int] = {}
        for i, key in zip(order[::-1].tolist(), keys[order[::-1]].tolist(), strict=True):
            if i in edits.removed:
                continue
            bound = next_end.get(key, ends[i])
            if ends[i] > bound:
                ends[i] = edits.ends[i] = max(bound, self._starts[i])
            next_end[key] = ends[i]

    def _lengthen(self, edits: Edits, ends: list[int]) -> None:
        """Let notes last longer, as far as there is room."""
        if not edits.longer:
            return
        lines = {i: int(self._lines[i]) for i in edits.longer}
        room = self._room(edits, ends, set(lines.values()))
        grid = self._notes.grid
        for i, tick in edits.longer.items():
            end = room.reach(lines[i], self._starts[i], tick)
            self.counts["cut"] += grid.step_of(end) < grid.step_of(tick)
            if end > ends[i]:
                ends[i] = edits.ends[i] = end

    def _room(self, edits: Edits, ends: Sequence[int], lines: set[int]) -> Room:
        """Where some lines are free of the notes that stay."""
        room = Room()
        wanted = np.fromiter(lines, np.int64)
        chosen = np.isin(self._lines, wanted).nonzero()[0]
        order = chosen[self._notes.start[chosen].argsort(kind="stable")]
        for i, line in zip(order.tolist(), self._lines[order].tolist(), strict=True):
            if i not in edits.removed:
                # A note without length takes a tick.
                room.add(line, self._starts[i], max(ends[i], self._starts[i] + 1))

        # Ends without a note.
        channels = self._channels
        is_stray = channels.ends_note
        _, end = self._events.pairs
        is_stray[end[end >= 0]] = False
        event_lines = channels.voice << PITCH_BITS | channels.key
        for event in (is_stray & np.isin(event_lines, wanted)).nonzero()[0].tolist():
            room.close(int(event_lines[event]), int(channels.tick[event]))

        # Controllers that end all notes of a channel.
        is_lift = channels.lifts_keys & np.isin(channels.voice, wanted >> PITCH_BITS)
        for event in is_lift.nonzero()[0].tolist():
            room.lift(int(channels.voice[event]), int(channels.tick[event]))
        return room

    # Bytes

    def _write_changes(self, edits: Edits, ends: Sequence[int]) -> None:
        """Change the events of the notes that are there already."""
        for i in edits.removed:
            self._remove_end(i)
            self._replace(self._note_ons[i], b"")
        for i, velocity in edits.velocities.items():
            start = self._event(self._note_ons[i])
            self._replace(self._note_ons[i], start[:2] + bytes([velocity]))
        for i in edits.ends:
            self._move_end(i, ends[i])

    def _event(self, event: int) -> bytes:
        """The bytes of an event of `ChannelEvents`."""
        track = int(self._channels.track[event])
        return self.copy.tracks[track].events[self.copy.number_of(event, track)][1]

    def _replace(self, event: int, other: bytes) -> None:
        """Put other bytes in the place of an event of `ChannelEvents`."""
        track = int(self._channels.track[event])
        self.copy.tracks[track].other[self.copy.number_of(event, track)] = other

    def _remove_end(self, i: int) -> bytes:
        """Take the note-off of a note out, if it has one; the one that it had or could have."""
        event = self._note_offs[i]
        if event >= 0:
            self._replace(event, b"")
            return self._event(event)
        notes = self._notes
        return bytes([NOTE_OFF << 4 | notes.channel[i], notes.pitch[i], RELEASE_VELOCITY])

    def _move_end(self, i: int, tick: int) -> None:
        """Move the end of a note to a tick."""
        message = self._remove_end(i)
        track = self.copy.tracks[self._notes.track[i]]
        # Ends stand first at their tick, but not before their own note.
        is_after = tick > self._starts[i]
        (track.ends if is_after else track.starts).append((tick, message))

    def _write_notes(self, placed: Iterable[NewNote]) -> None:
        """Put new notes into their tracks."""
        for note in placed:
            channel = note.home.channel
            pitch = note.row.pitch
            start = bytes([NOTE_ON << 4 | channel, pitch, note.row.velocity])
            end = bytes([NOTE_OFF << 4 | channel, pitch, RELEASE_VELOCITY])
            note.home.track.starts.append((note.start, start))
            note.home.track.ends.append((note.end, end))

    def _end_unended(self, edits: Edits) -> None:
        """Where a track ends at another tick than it did, its notes without an end get one."""
        unended = (self._events.pairs[1] < 0).nonzero()[0]
        for i in unended.tolist():
            track = self._notes.track[i]
            end = int(self._events.track_ends[track])
            stays = i not in edits.removed and i not in edits.ends
            if stays and self.copy.tracks[track].end != end:
                self._move_end(i, end)

    # What is to be told

    def _count_effects(self, edits: Edits, ends: Sequence[int], placed: Sequence[NewNote]) -> None:
        """Count the new notes that controllers act on, and the moved ends that a pedal holds."""
        new = [Stretch(note.home.voice, note.start, note.end) for note in placed]
        self.counts.update(effects_on(self._channels, new))
        voices = self._lines >> PITCH_BITS
        moved = [Stretch(int(voices[i]), ends[i], ends[i]) for i in edits.ends]
        self.counts["held"] += effects_on(self._channels, moved).get("pedal", 0)

    def _count_programs(self, placed: Sequence[NewNote]) -> None:
        """Count the new notes for which their channel has the program of another part."""
        ticks: dict[tuple[int, int], list[int]] = defaultdict(list)
        programs: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0])
        for track, channel, tick, program in self._events.programs:
            ticks[track, channel].append(tick)
            programs[track, channel].append(program)

        # The last change of program that is not after a note holds for it.
        parts = self._notes.parts
        for note in placed:
            if note.row.part < len(parts):
                track, channel, program = parts[note.row.part]
                number = bisect_right(ticks[track, channel], note.start)
                self.counts["program"] += programs[track, channel][number] != program
