"""Songs as standard MIDI files: one track for each part, after a head track for what all share.

The head track holds tempo, meters, and the chords as markers ("C:maj7"; "X" ends a chord that no
other follows). Drums stand on channel 10. What is written is read back the same:

    write_midi("song.mid", song, bpm=100)
    read_midi("song.mid") == song

Times are ticks, counted exactly from steps. `Song.write_midi` calls this.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import mido
import numpy as np

from ..errors import check_range
from ..files import AnyPath, write
from .chords import NO_CHORD, UNKNOWN_CHORD, Chord
from .grid import Meter
from .midi_codes import DRUMS, EMPTY_PART, is_drums
from .tables import TEMPI

# Of the files that pomkit writes.
TICKS_PER_BEAT = 480

Message = tuple[int, Any]  # step, mido's message


class Score(Protocol):
    """What a writer needs of a Song."""

    @property
    def notes(self) -> np.ndarray:
        """NOTE_DTYPE (notes,), sorted."""

    @property
    def chords(self) -> tuple[Chord, ...]:
        """The chords, sorted."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts."""

    @property
    def steps_per_beat(self) -> int:
        """The grid."""

    def time_signatures(self) -> list[Meter]:
        """(step, numerator, denominator) of each."""


def write_midi(path: AnyPath, song: Score, *, bpm: float) -> Path:
    """Write a song as a standard MIDI file, whole or not at all.

    Args:
        path: of the file; its folders are made.
        song: the Song.
        bpm: the tempo, beats a minute, 4 to 1000.

    Returns:
        The path.

    Raises:
        OptionError: the tempo is out of its range.
    """
    check_range("bpm", bpm, *TEMPI, unit="beats per minute")
    tracks = [_head_track(song, bpm)]
    for number, name in enumerate(song.parts):
        notes = song.notes[song.notes["part"] == number].tolist()
        tracks.append(_part_track(name, notes))

    # MAX_STEPS must fit a delta time: at one step a beat, a beat is 240 ticks.
    per_beat = min(TICKS_PER_BEAT, 240 * song.steps_per_beat)
    file = mido.MidiFile(ticks_per_beat=per_beat)
    for track in tracks:
        ticks = [step * per_beat // song.steps_per_beat for step, _ in track]
        deltas = np.diff([0, *ticks]).tolist()
        messages = (message for _, message in track)
        file.tracks.append(mido.MidiTrack(map(_at, messages, deltas)))
    return write(path, lambda out: file.save(file=out))


def _at(message: Any, delta: int) -> Any:
    """The message, `delta` ticks after the one before it."""
    return message.copy(time=delta)


def _head_track(song: Score, bpm: float) -> list[Message]:
    """Tempo, meters and chords, in the order of their steps."""
    track = [(0, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm)))]
    for step, above, below in song.time_signatures():
        sign = mido.MetaMessage("time_signature", numerator=above, denominator=below)
        track.append((step, sign))
    for step, text in _markers(song.chords):
        track.append((step, mido.MetaMessage("marker", text=text)))
    return sorted(track, key=itemgetter(0))


def _markers(chords: Sequence[Chord]) -> Iterable[tuple[int, str]]:
    """The chords as markers (step, text), and "X" where one ends before the next begins."""
    nexts = [chord.onset for chord in chords[1:]]
    for number, (onset, duration, label) in enumerate(chords):
        # A bare root could be the name of a section: "A".
        is_clear = ":" in label or label == NO_CHORD
        yield onset, label if is_clear else f"{label}:maj"
        end = onset + duration
        if number == len(nexts) or nexts[number] > end:
            yield end, UNKNOWN_CHORD


def _part_track(name: str, notes: Sequence[tuple[int, int, int, int, int]]) -> list[Message]:
    """The track of a part: its name, then its notes in the order of their steps."""
    # mido writes text as latin-1; so UTF-8 comes out as it is.
    text = name.encode().decode("latin-1")
    track = [(0, mido.MetaMessage("track_name", name=text))]
    if not notes:
        track.append((0, mido.MetaMessage("sequencer_specific", data=EMPTY_PART)))

    channel = DRUMS if is_drums(name) else 0
    ends: list[Message] = []
    strikes: list[Message] = []
    for onset, duration, pitch, velocity, _ in notes:
        key = {"note": pitch, "channel": channel}
        ends.append((onset + duration, mido.Message("note_off", velocity=64, **key)))
        strikes.append((onset, mido.Message("note_on", velocity=velocity, **key)))

    # The sort is stable: at one step, notes end before others begin.
    return track + sorted(ends + strikes, key=itemgetter(0))
