"""What has to change in the notes of a file, so that it says what a song says.

`find_edits` compares the rows of a source with those that are wanted, as multisets of onset,
duration, pitch, velocity and part. Rows that are equal are let be, to the tick. The others:

- Where the source has a row of the same part, pitch and onset, its notes stay, and only their
  velocity or their end changes.
- All other notes that are no longer wanted are removed, all other rows that are wanted are added.
- A row that ends where a note lost its end takes over its very tick. So a long note of which a
  part is composed anew ends as it did.
- A note that a re-strike of its pitch cuts, in the steps of a song, may sound longer in its file.
  Where that re-strike is removed or new, it ends there in the file as well.

A **line** is a pitch of a part. `splicer` brings the edits into the file.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .file_notes import FileNotes, ends_of, keys_of
from .tables import DURATION_ROW, ONSET_ROW, PART_ROW, PITCH_ROW, VELOCITY_ROW


class AddedRow(NamedTuple):
    """A row that the file does not have."""

    onset: int  # step
    end: int  # step
    pitch: int
    velocity: int
    part: int
    end_tick: int | None  # of the note whose end it takes over; None: that of its step


@dataclass
class Edits:
    """What changes in the notes of a file; notes are numbered as in `FileNotes`.

    Attributes:
        removed: the notes that go.
        ends: note -> the tick at which it ends, earlier than it did.
        longer: note -> the tick up to which it shall sound, where there is room.
        velocities: note -> its velocity.
        added: the rows that are new.
        held: how many rows the pedal holds longer than they shall last.
        moved: how many rows end at a step for which the file has no tick.
    """

    removed: set[int] = field(default_factory=set)
    ends: dict[int, int] = field(default_factory=dict)
    longer: dict[int, int] = field(default_factory=dict)
    velocities: dict[int, int] = field(default_factory=dict)
    added: list[AddedRow] = field(default_factory=list)
    held: int = 0
    moved: int = 0


class Comparison(NamedTuple):
    """The rows that are wanted beside those of the source.

    Attributes:
        wanted: int64 (5, wanted), in order.
        old: the row of the source of the same onset, pitch and part, or -1, int64 (wanted,).
        removed: the rows of the source that are not wanted, int64 (removed,).
        lines: those in which anything differs, int64 (lines,).
    """

    wanted: np.ndarray
    old: np.ndarray
    removed: np.ndarray
    lines: np.ndarray


def compare_rows(rows: np.ndarray, wanted: np.ndarray) -> Comparison:
    """Find what differs between the rows of a source and those that are wanted.

    Args:
        rows: of the source, int64 (5, rows), in order.
        wanted: int64 (5, wanted), in order.
    """
    # Both have one row at most for each onset, pitch and part.
    keys = keys_of(rows)
    wanted_keys = keys_of(wanted)
    place = keys.searchsorted(wanted_keys)
    is_old = np.append(keys, -1)[place] == wanted_keys
    old = np.where(is_old, place, -1)

    is_same = is_old.copy()
    for row in (DURATION_ROW, VELOCITY_ROW):
        is_same[is_old] &= rows[row, old[is_old]] == wanted[row, is_old]
    is_removed = np.ones(len(keys), bool)
    is_removed[old[is_old]] = False

    changing = [lines_of(wanted)[~is_same], lines_of(rows)[is_removed]]
    lines = np.unique(np.concatenate(changing))
    return Comparison(wanted, old, is_removed.nonzero()[0], lines)


def lines_of(columns: np.ndarray) -> np.ndarray:
    """Part and pitch of notes, (5, notes), as one number each, int64 (notes,)."""
    return columns[PART_ROW] << 7 | columns[PITCH_ROW]


def find_edits(notes: FileNotes, key_ends: Sequence[int], comparison: Comparison) -> Edits:
    """What has to change in the notes of a file.

    Args:
        notes: of the file.
        key_ends: the tick at which the key of each note comes up: with a pedal, `notes.end` is
            later.
        comparison: of `notes.rows` with the rows that are wanted.
    """
    search = _Search(notes, key_ends, comparison)
    for row in comparison.removed.tolist():
        search.remove(row)

    # Ends are handed on once all notes that lose theirs are known.
    lines = _wanted_by_line(comparison)
    for line in lines:
        search.change_kept(line)
    for line in lines:
        search.add_new(line)
    return search.edits


class _Wanted(NamedTuple):
    """A row that is wanted."""

    onset: int
    end: int
    pitch: int
    velocity: int
    part: int
    old: int  # the row of the source, or -1


class _Row(NamedTuple):
    """A row of the source."""

    end: int  # step
    pitch: int
    velocity: int
    part: int


def _wanted_by_line(comparison: Comparison) -> list[list[_Wanted]]:
    """The wanted rows of each line in which anything differs, in their order."""
    wanted = comparison.wanted
    lines = lines_of(wanted)
    chosen = np.isin(lines, comparison.lines).nonzero()[0]
    onset = wanted[ONSET_ROW]
    others = wanted[[PITCH_ROW, VELOCITY_ROW, PART_ROW]]
    table = np.stack([onset, ends_of(wanted), *others, comparison.old])  # (6, wanted)

    by_line = defaultdict(list)
    rows = table[:, chosen].T.tolist()
    for line, row in zip(lines[chosen].tolist(), rows, strict=True):
        by_line[line].append(_Wanted(*row))
    return list(by_line.values())


class _Search:
    """The rows in question, and the edits found so far."""

    def __init__(self, notes: FileNotes, key_ends: Sequence[int], comparison: Comparison) -> None:
        self.edits = Edits()
        self._grid = notes.grid
        self._key_ends = key_ends
        self._starts: list[int] = notes.start.tolist()
        self._ends: list[int] = notes.end.tolist()
        self._velocities: list[int] = notes.velocity.tolist()
        self._end_steps: list[int] = notes.grid.spans_of(notes.start, notes.end)[1].tolist()

        # All rows of the source in lines in which anything differs, and their notes.
        rows = np.isin(lines_of(notes.rows), comparison.lines).nonzero()[0]
        others = notes.rows[[PITCH_ROW, VELOCITY_ROW, PART_ROW]]
        table = np.stack([ends_of(notes.rows), *others])  # (4, rows)
        found = [_Row(*row) for row in table[:, rows].T.tolist()]
        self._rows = dict(zip(rows.tolist(), found, strict=True))
        self._members = notes.members(rows)
        # The ends that notes have lost, in ticks, by part, pitch and step.
        self._lost_ends: dict[tuple[int, int, int], int] = {}

    def remove(self, row: int) -> None:
        """All notes of a row of the source go."""
        self.edits.removed.update(self._members[row])
        self._lose_end(row)

    def change_kept(self, line: Sequence[_Wanted]) -> None:
        """The wanted rows of a line that the source has, too, get their velocities and ends."""
        for row, following in zip(line, [*line[1:], None], strict=True):
            if row.old < 0:
                continue
            self._set_velocity(row)

            # A re-strike that stays cuts it, as it did.
            is_cut = following is not None and following.old >= 0 and following.onset == row.end
            if self._end_of(row) > row.end and not is_cut:
                self._shorten(row)

    def add_new(self, line: Sequence[_Wanted]) -> None:
        """The wanted rows of a line that are new come, and those that shall last longer do."""
        for row in line:
            if row.old < 0:
                tick = self._lost_end_of(row, self._grid.tick_of(row.onset))
                self.edits.added.append(AddedRow(*row[:5], end_tick=tick))
            elif self._end_of(row) < row.end:
                self._lengthen(row)

    def _end_of(self, row: _Wanted) -> int:
        """The step at which the notes of a row of the source end, re-strikes aside."""
        return max(self._end_steps[i] for i in self._members[row.old])

    def _set_velocity(self, row: _Wanted) -> None:
        """The loudest notes of a row get its velocity, and none stays louder."""
        before = self._rows[row.old].velocity
        if before == row.velocity:
            return
        for i in self._members[row.old]:
            if self._velocities[i] == before or self._velocities[i] > row.velocity:
                self.edits.velocities[i] = row.velocity

    def _shorten(self, row: _Wanted) -> None:
        """Move the end of a row to an earlier step."""
        self._lose_end(row.old)
        tick = self._grid.tick_of(row.end)
        latest = 0
        for i in self._members[row.old]:
            if self._key_ends[i] > tick:
                self.edits.ends[i] = max(tick, self._starts[i] + 1)
            key_end = self.edits.ends.get(i, self._key_ends[i])
            latest = max(latest, self._grid.end_of(self._starts[i], key_end))

        # What lasts longer than its key is held by the pedal.
        unmoved = [i for i in self._members[row.old] if i not in self.edits.ends]
        is_held = any(self._ends[i] > self._key_ends[i] for i in unmoved)
        self.edits.held += is_held
        self.edits.moved += latest != row.end and not is_held

    def _lengthen(self, row: _Wanted) -> None:
        """Move the end of a row to a later step: that of its note which ends last."""
        last = max(self._members[row.old], key=self._ends.__getitem__)
        start = self._starts[last]
        tick = self._lost_end_of(row, start)
        if tick is None:
            tick = self._grid.tick_of(row.end)
        self.edits.longer[last] = tick
        self.edits.moved += self._grid.end_of(start, tick) != row.end

    def _lose_end(self, row: int) -> None:
        """Remember the end of a row that is removed or shortened, if a re-strike has not cut it."""
        end, pitch, _, part = self._rows[row]
        last = max(self._members[row], key=self._key_ends.__getitem__)
        tick = self._key_ends[last]
        if self._grid.end_of(self._starts[last], tick) == end:
            self._lost_ends[part, pitch, end] = tick

    def _lost_end_of(self, row: _Wanted, start: int) -> int | None:
        """The tick that another note has lost and at which this one, from `start` on, can end."""
        tick = self._lost_ends.get((row.part, row.pitch, row.end))
        if tick is None or tick <= start or self._grid.end_of(start, tick) != row.end:
            return None
        return tick
