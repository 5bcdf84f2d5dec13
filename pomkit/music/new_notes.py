"""Where new notes come to stand in a file: on which track and channel, and from when to when.

    homes = Homes(song, events, copy, file_notes)
    notes = [homes.place(row) for row in edits.added]       # rows as notes in ticks
    placed = fit(notes, room, file_notes.grid, counts)      # those that have room

A part's new notes go where its old ones are. A part that the file does not have gets a track of its
own, with its name and program, or stands in the one track of a file of format 0. Steps become
ticks by the phase of the source: so what is new lies as the file lies.

The law: a note that is not read as its row says is counted, by the names of `splicer.REMARKS`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from .channel_events import ChannelEvents, groups_of
from .channel_room import PITCH_BITS, Room
from .file_notes import FileNotes, TickGrid
from .midi_codes import DRUMS, META_NAME, PITCHED, PROGRAM, Events
from .midi_copy import END_OF_TRACK, FileCopy, TrackCopy, meta
from .midi_write import Score
from .note_edits import AddedRow


@dataclass(frozen=True)
class Home:
    """Where the notes of a part stand.

    Attributes:
        track: where its events go.
        channel: 0 to 15.
        voice: the channel among those of all groups (see `channel_events`).
    """

    track: TrackCopy
    channel: int
    voice: int


@dataclass(slots=True)
class NewNote:
    """A note on its way into the file; its line is its voice and pitch as one number."""

    row: AddedRow
    home: Home
    line: int
    start: int  # tick
    end: int  # tick
    is_cut: bool = False

    def move(self, start: int, end: int) -> None:
        """Let it sound from one tick to another; it is cut where these are not its own."""
        self.is_cut |= (start, end) != (self.start, self.end)
        self.start = start
        self.end = end


class Homes:
    """Where the parts of a song stand in its file, those that come to it as well.

    Attributes:
        crowded: how many parts came that share a channel, since none is free.
    """

    def __init__(self, song: Score, events: Events, copy: FileCopy, notes: FileNotes) -> None:
        self.crowded = 0
        self._song = song
        self._copy = copy
        self._grid = notes.grid
        self._homes: dict[int, Home] = {}
        groups = groups_of(events)
        for number, (track, channel, _) in enumerate(notes.parts):
            voice = groups[track] << 4 | channel
            self._homes[number] = Home(copy.tracks[track], channel, voice)

        # All channels that the file speaks of, parts or not.
        channels = ChannelEvents.of(events)
        self._taken = {voice & 15 for voice in set(channels.voice.tolist())}
        self._taken |= {channel for _, channel, _, _ in events.programs}

    def place(self, row: AddedRow) -> NewNote:
        """A row as a note in its part, in ticks, a tick long or more."""
        if row.part not in self._homes:
            self._homes[row.part] = self._new_home(row.part)
        home = self._homes[row.part]
        line = home.voice << PITCH_BITS | row.pitch
        start = self._grid.tick_of(row.onset)
        end = self._grid.tick_of(row.end) if row.end_tick is None else row.end_tick
        return NewNote(row, home, line, start, max(end, start + 1))

    def _new_home(self, part: int) -> Home:
        """Where a part stands that the file does not have."""
        channel = self._free_channel(self._song.channels[part])
        self._taken.add(channel)
        program = (0, bytes([PROGRAM << 4 | channel, self._song.programs[part]]))
        if self._copy.format == 0:
            track = self._copy.tracks[0]
            track.starts.append(program)
            return Home(track, channel, channel)

        name = (0, meta(META_NAME, self._song.parts[part].encode()))
        track = TrackCopy.new([name, program, (0, END_OF_TRACK)])
        self._copy.added.append(track)
        return Home(track, channel, channel)

    def _free_channel(self, wanted: int) -> int:
        """A channel that the file does not use: the one wanted if it can be, drums always."""
        if wanted == DRUMS or wanted not in self._taken:
            return wanted
        free = [channel for channel in PITCHED if channel not in self._taken]
        self.crowded += not free
        return free[0] if free else wanted


def fit(
    added: Sequence[NewNote], room: Room, grid: TickGrid, counts: Counter[str]
) -> list[NewNote]:
    """Those of the new notes that have room: in the order of their starts, the others are cut.

    Args:
        added: the new notes.
        room: where the file has room for them.
        grid: of the song.
        counts: gets how many were "cut", "dropped" and "moved".
    """
    placed: list[NewNote] = []
    before_on_line: dict[int, NewNote] = {}
    for note in sorted(added, key=attrgetter("start")):
        free = room.find(note.line, note.start, note.end)
        before = before_on_line.get(note.line)
        if free is None or not _keeps_onset(note, free.start, before, grid):
            counts["dropped"] += 1
            continue
        note.move(*free)

        # A new note is cut by the next one on its line.
        if before is not None and before.end > note.start:
            before.move(before.start, note.start)
        before_on_line[note.line] = note
        placed.append(note)
    _count_shifts(placed, grid, counts)
    return placed


def _keeps_onset(note: NewNote, start: int, before: NewNote | None, grid: TickGrid) -> bool:
    """Whether a note can begin at a tick: on its own step, and after the new one before it."""
    is_late = start != note.start and grid.step_of(start) != note.row.onset
    return not is_late and (before is None or before.start < start)


def _count_shifts(placed: Sequence[NewNote], grid: TickGrid, counts: Counter[str]) -> None:
    """Count the notes that are read otherwise than their rows say."""
    ticks = np.array([(note.start, note.end) for note in placed], np.int64)
    ticks = ticks.reshape(-1, 2)  # (notes, 2)
    spans = grid.spans_of(*ticks.T).T.tolist()  # (notes, 2)
    for note, span in zip(placed, spans, strict=True):
        if span != [note.row.onset, note.row.end]:
            counts["cut" if note.is_cut else "moved"] += 1
