"""Who plays a new note: a picture shows all parts as one, so the part has to be found.

`Players` finds the part that is nearest by pitch and time:

    players = Players.of(song)                   # or of some of its parts
    players.nearest(columns)                     # the number of a part for each note

The law: drums get no new notes, and where a channel changes its program in the middle of a file,
the part whose program it has at that time gets them. So a note is read again as what it was meant
for. Read on in `changes`, which asks here.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import OptionError
from .midi_codes import DRUMS
from .midi_events import read_events
from .song import Parts, Song
from .tables import PART_ROW, columns_of

# A beat between two notes counts as half a semitone, so a bar of 4/4 as two.
SEMITONES_A_BEAT = 0.5


@dataclass(frozen=True)
class ProgramTimes:
    """When the parts of a MIDI file have their programs: one channel may change its own.

    Attributes:
        parts: (track, channel, program) of each part of the song.
        changes: (track, channel) -> (tick, program) of each change, in their order.
        ticks_per_step: of the file.
        phase: of the notes against the grid, in steps.
    """

    parts: list[tuple[int, int, int]]
    changes: dict[tuple[int, int], list[tuple[int, int]]]
    ticks_per_step: float
    phase: float

    @classmethod
    def of(cls, song: Song, candidates: Sequence[int]) -> "ProgramTimes | None":
        """The times that a song's file tells; None: it has none, or needs none.

        Args:
            song: which was read from a file, or not.
            candidates: the numbers of the parts in question.
        """
        channels = [song.channels[number] for number in candidates if number < len(song.channels)]
        if song.source is None or song.read_as is None or len({*channels}) == len(channels):
            return None
        events = read_events(song.source, song.name, song.read_as.salvage)
        parts = [part for part in events.parts if song.read_as.drums or part[1] != DRUMS]
        if len(parts) != len(song.parts):
            return None

        changes = defaultdict(list)
        for track, channel, tick, program in events.programs:
            changes[track, channel].append((tick, program))
        per_step = events.per_beat / song.steps_per_beat
        return cls(parts, changes, per_step, song.report.phase)

    def in_force(self, step: int, candidates: np.ndarray) -> np.ndarray:
        """Those of the parts `candidates`, int (parts,), that have their program at a step.

        Where none has, all of them.
        """
        tick = round((step + self.phase) * self.ticks_per_step)
        playing = []
        for number in candidates.tolist():
            track, channel, program = self.parts[number]
            passed = [each for when, each in self.changes.get((track, channel), ()) if when <= tick]
            present = passed[-1] if passed else 0
            if present == program:
                playing.append(number)
        return np.array(playing) if playing else candidates


@dataclass(frozen=True)
class Players:
    """Which part plays a new note: the one that is nearest by pitch and time.

    How far a part is from a note is told by its nearest note: the semitones between the two, and
    half a semitone for each beat between the onset of the new note and the sound of the other.
    Notes that were removed count, too; of equal parts the first one wins. Drums get no new notes,
    and no part gets one while its channel plays with the program of another.

    Attributes:
        columns: the notes of the parts in question, int64 (5, notes).
        candidates: the numbers of these parts, in the order of the file.
        steps_per_beat: the grid.
        programs: when each part has its program; None: always.
    """

    columns: np.ndarray
    candidates: np.ndarray
    steps_per_beat: int
    programs: ProgramTimes | None = None

    @classmethod
    def of(cls, song: Song, part: Parts | None = None) -> "Players":
        """The parts of a song that may play new notes.

        Args:
            song: whose parts they are.
            part: names or numbers of those in question, or one, which may be drums; None: all.

        Raises:
            OptionError: all parts are drums.
        """
        parts = range(max(len(song.parts), 1))
        if part is not None:
            candidates = song.part_numbers(part)
        else:
            candidates = [i for i in parts if song.channels[i : i + 1] != (DRUMS,)]
        if not candidates:
            raise OptionError(
                f"song {song.name!r} has no part for new notes but drums; name one with part="
            )
        columns = columns_of(song.notes)
        columns = columns[:, np.isin(columns[PART_ROW], candidates)]  # (5, notes)
        times = ProgramTimes.of(song, candidates)
        return cls(columns, np.array(candidates), song.steps_per_beat, times)

    def nearest(self, new: np.ndarray) -> np.ndarray:
        """The number of the part that plays each of the notes (5, notes), int (notes,)."""
        return np.array([self._nearest_of(*note[:3]) for note in new.T.tolist()], int)

    def _nearest_of(self, onset: int, _: int, pitch: int) -> int:
        """The number of the part that plays a note."""
        first, duration, pitches, _, parts = self.columns
        last = first + duration
        gap = np.maximum(np.maximum(first - onset, onset - last), 0)  # steps
        distance = np.abs(pitches - pitch) + SEMITONES_A_BEAT * gap / self.steps_per_beat

        # Where no part has its program, any may play.
        allowed = self.candidates
        if self.programs is not None:
            allowed = self.programs.in_force(onset, self.candidates)
            is_allowed = np.zeros(self.candidates.max() + 1, bool)
            is_allowed[allowed] = True
            distance = np.where(is_allowed[parts], distance, np.inf)

        # Of the notes that are equally near, the one of the first part.
        nearest = parts[(distance <= distance.min(initial=np.inf)) & np.isfinite(distance)]
        return int(nearest.min()) if len(nearest) else int(allowed[0])
