"""The notes of a MIDI file beside the rows of the Song that is read from it.

A Song's row is made of one note of its file or of several that share part, pitch and step. So
that a row can be changed in the file, `FileNotes` remembers which notes it is made of, and
`TickGrid` leads from ticks to steps and back:

    notes = FileNotes.of(events, ReadOptions(), steps_per_beat=4, name="song.mid")
    notes.members([12])                          # the notes of row 12
    notes.grid.tick_of(8)                        # where step 8 stands in the file

The law: `notes_of(notes.rows)` are the notes of the Song. `splice` goes on with them.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .grid import ReadOptions, measure_phase, notes_of_parts, to_steps
from .midi_codes import DRUMS, Events
from .tables import DURATION_ROW, ONSET_ROW, PART_ROW, PITCH_ROW, in_order, untangle

# In a key stand, from the highest bits down: onset, pitch (7 bits) and part (16).
_PART_BITS = 16
_PITCH_BITS = 7


@dataclass(frozen=True)
class TickGrid:
    """Ticks to steps and back, as `grid.quantise` counts them.

    Attributes:
        per_step: ticks of a step.
        shift: the phase of the notes against the grid, in steps.
    """

    per_step: float
    shift: float

    def tick_of(self, step: int) -> int:
        """The tick at which a step begins, 0 or later."""
        return max(round((step + self.shift) * self.per_step), 0)

    def step_of(self, tick: float) -> int:
        """The step that a tick is rounded to."""
        return max(round(tick / self.per_step - self.shift), 0)

    def end_of(self, start: float, end: float) -> int:
        """The step at which a note from tick `start` to tick `end` ends."""
        return max(self.step_of(end), self.step_of(start) + 1)

    def spans_of(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The steps at which many notes begin and end.

        Args:
            start: ticks, int (notes,).
            end: ticks, int (notes,).

        Returns:
            int64 (2, notes).
        """
        ticks = np.stack([start, end])  # (2, notes)
        spans = np.rint(ticks / self.per_step - self.shift).astype(np.int64)
        onset = np.maximum(spans[0], 0)
        return np.stack([onset, np.maximum(spans[1], onset + 1)])


@dataclass(frozen=True)
class FileNotes:
    """All notes of a file, those left out of the Song as well.

    Attributes:
        grid: of the Song.
        start: the tick of each, int64 (notes,).
        end: the tick at which it was read to end, int64 (notes,).
        pitch: int64 (notes,).
        velocity: int64 (notes,).
        track: int64 (notes,).
        channel: int64 (notes,).
        row: the row of each; -1: it is left out; int64 (notes,).
        rows: the notes of the Song, int64 (5, rows), rows as in `tables.columns_of`.
        parts: (track, channel, program) of the Song's parts.
    """

    grid: TickGrid
    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    track: np.ndarray
    channel: np.ndarray
    row: np.ndarray
    rows: np.ndarray
    parts: list[tuple[int, int, int]]

    @classmethod
    def of(
        cls, events: Events, options: ReadOptions, *, steps_per_beat: int, name: str
    ) -> "FileNotes":
        """The notes of a file.

        Args:
            events: what the file says.
            options: how the Song was read from it.
            steps_per_beat: of the Song.
            name: of the song, for errors.
        """
        # The same stages as in `grid.quantise`.
        numbered = enumerate(events.parts)
        parts = [i for i, (_, channel, _) in numbered if options.drums or channel != DRUMS]
        ticks = notes_of_parts(events, parts)  # (5, notes kept)
        per_step = events.per_beat / steps_per_beat
        shift = measure_phase(ticks[0] / per_step, options.phase).shift if ticks.size else 0.0
        grid = TickGrid(per_step, shift)
        steps = to_steps(ticks, per_step, grid.shift)
        rows, _, _ = untangle(in_order(steps, name))

        # Each row has a key of its own, in order.
        start, end, pitch, velocity, part = events.notes
        row = np.full(len(start), -1)
        is_kept = np.isin(part, parts)
        row[is_kept] = keys_of(rows).searchsorted(keys_of(steps))

        places = np.array(events.parts, np.int64).reshape(-1, 3)  # (parts, 3)
        track, channel, _ = places[part].T  # (notes,) each
        kept_parts = [events.parts[i] for i in parts]
        return cls(
            grid, start, end, pitch, velocity, track, channel, row=row, rows=rows, parts=kept_parts
        )

    def members(self, rows: Iterable[int]) -> dict[int, list[int]]:
        """The notes that some rows are made of, in the order of the file, by row."""
        notes = np.isin(self.row, np.fromiter(rows, np.int64)).nonzero()[0]
        members = defaultdict(list)
        for note, row in zip(notes.tolist(), self.row[notes].tolist(), strict=True):
            members[row].append(note)
        return members


def keys_of(columns: np.ndarray) -> np.ndarray:
    """Onset, pitch and part of notes as one number each, which orders them like `in_order`.

    Args:
        columns: int64 (5, notes), rows as in `tables.columns_of`.

    Returns:
        int64 (notes,).
    """
    line = columns[PITCH_ROW] << _PART_BITS | columns[PART_ROW]
    return columns[ONSET_ROW] << (_PART_BITS + _PITCH_BITS) | line


def ends_of(columns: np.ndarray) -> np.ndarray:
    """The steps at which notes end, int64 (notes,)."""
    return columns[ONSET_ROW] + columns[DURATION_ROW]
