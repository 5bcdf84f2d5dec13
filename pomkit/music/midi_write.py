"""Songs as standard MIDI files: one track for each part, after a head track for what all share.

The head track holds tempi, meters, keys, and the chords as markers ("C:maj7"; "X" ends a chord that
no other follows). A part's track holds its name, its program and its notes, on a channel of its
own; drums stand on channel 10. What is written is read back the same:

    data = midi_bytes(song)
    read_midi(data) == song

Not only notes and chords are: meters, keys, programs and parts are equal, and tempi to the
microsecond a beat. A song that names no tempo is written at 120 BPM. Times are ticks, counted
exactly from steps. `Song.to_midi` calls this for songs that were read from no file; the others are
spliced into theirs (`splice`).
"""

import io
import warnings
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Protocol

import mido
import numpy as np

from ..errors import check_range
from .chords import NO_CHORD, UNKNOWN_CHORD, Chord
from .grid import DEFAULT_BPM, KeySign, Meter, Tempo
from .midi_codes import DRUMS, EMPTY_PART, PITCHED
from .tables import TEMPI

# Of the files that pomkit writes.
TICKS_PER_BEAT = 480
# So many ticks a step has at most: MAX_STEPS must fit a delta time.
MAX_TICKS = 240
# So many ticks pretty_midi takes in a file.
MAX_PRETTY = 10**7

Message = tuple[int, Any]  # step, mido's message
Rows = Sequence[tuple[int, int, int, int, int]]  # rows of NOTE_DTYPE


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

    @property
    def tempi(self) -> tuple[Tempo, ...]:
        """(step, BPM) of each."""

    @property
    def keys(self) -> tuple[KeySign, ...]:
        """(step, name) of each."""

    @property
    def programs(self) -> tuple[int, ...]:
        """The program of each part."""

    @property
    def channels(self) -> tuple[int, ...]:
        """The channel of each part."""

    def time_signatures(self) -> list[Meter]:
        """(step, numerator, denominator) of each."""


def midi_bytes(song: Score, *, bpm: float | None = None) -> bytes:
    """The standard MIDI file of a song.

    Args:
        song: the Song.
        bpm: one tempo instead of the song's, beats a minute, 4 to 1000.

    Raises:
        OptionError: the tempo is out of its range.
    """
    tracks = [_head_track(song, check_tempo(bpm) or song.tempi)]
    instruments = zip(song.parts, song.programs, separate_channels(song), strict=True)
    for number, (name, program, channel) in enumerate(instruments):
        notes = song.notes[song.notes["part"] == number].tolist()
        first = mido.Message("program_change", program=program, channel=channel)
        tracks.append([*_name_track(name, notes), (0, first), *_play(notes, channel)])

    return _file_of(tracks, song.steps_per_beat, MAX_TICKS)


def head_bytes(song: Score, *, bpm: float | None = None) -> bytes:
    """The same as `midi_bytes`, without parts, and within the ticks that pretty_midi takes.

    Args:
        song: the Song.
        bpm: one tempo instead of the song's, beats a minute, 4 to 1000.

    Raises:
        OptionError: the tempo is out of its range.
    """
    track = _head_track(song, check_tempo(bpm) or song.tempi)
    most = MAX_PRETTY // (track[-1][0] + 1)
    return _file_of([track], song.steps_per_beat, max(most, 1))


def _file_of(tracks: Sequence[Sequence[Message]], steps_per_beat: int, most: int) -> bytes:
    """The file of these tracks; a step has so many ticks at most."""
    per_step = min(TICKS_PER_BEAT // steps_per_beat, most)
    file = mido.MidiFile(ticks_per_beat=per_step * steps_per_beat)
    for track in tracks:
        deltas = np.diff([0, *(step * per_step for step, _ in track)]).tolist()
        messages = (message for _, message in track)
        file.tracks.append(mido.MidiTrack(map(_at, messages, deltas)))

    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def check_tempo(bpm: float | None) -> tuple[Tempo, ...]:
    """The tempi that one tempo makes; none if it is None; OptionError if it is out of its range."""
    if bpm is None:
        return ()
    check_range("bpm", bpm, *TEMPI, unit="beats per minute")
    return ((0, bpm),)


def separate_channels(song: Score) -> list[int]:
    """A channel for each part: its own, but a free one where a part before it has that.

    There are 15 for pitched parts. Of more parts those with the same program share one, and where
    there is none, those of different programs; a warning tells that.
    """
    free = [channel for channel in PITCHED if channel not in song.channels]
    # The program on each channel.
    taken: dict[int, int] = {}
    channels = []
    crowded = 0
    for channel, program in zip(song.channels, song.programs, strict=True):
        if channel in taken and channel != DRUMS:
            alike = [other for other in taken if taken[other] == program and other != DRUMS]
            crowded += not free and not alike
            channel = free.pop(0) if free else next(iter(alike), channel)
        taken.setdefault(channel, program)
        channels.append(channel)

    if crowded:
        warnings.warn(
            f"a MIDI file has 15 channels for pitched parts: {crowded} of {len(channels)} parts "
            "share one with a part of another program, and may sound like that",
            stacklevel=2,
        )
    return channels


def _at(message: Any, delta: int) -> Any:
    """The message, `delta` ticks after the one before it."""
    return message.copy(time=delta)


def _head_track(song: Score, tempi: Sequence[Tempo]) -> list[Message]:
    """Tempi, meters, keys and chords, in the order of their steps."""
    track = []
    for step, bpm in tempi or [(0, DEFAULT_BPM)]:
        track.append((step, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))))
    for step, above, below in song.time_signatures():
        sign = mido.MetaMessage("time_signature", numerator=above, denominator=below)
        track.append((step, sign))
    for step, key in song.keys:
        track.append((step, mido.MetaMessage("key_signature", key=key)))
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


def _name_track(name: str, notes: Rows) -> list[Message]:
    """How the track of a part begins: its name, and a mark if it has no notes."""
    # mido writes text as latin-1; so UTF-8 comes out as it is.
    text = name.encode().decode("latin-1")
    track = [(0, mido.MetaMessage("track_name", name=text))]
    if not notes:
        track.append((0, mido.MetaMessage("sequencer_specific", data=EMPTY_PART)))
    return track


def _play(notes: Rows, channel: int) -> list[Message]:
    """The notes of a part in the order of their steps."""
    ends: list[Message] = []
    strikes: list[Message] = []
    for onset, duration, pitch, velocity, _ in notes:
        key = {"note": pitch, "channel": channel}
        ends.append((onset + duration, mido.Message("note_off", velocity=64, **key)))
        strikes.append((onset, mido.Message("note_on", velocity=velocity, **key)))

    # The sort is stable: at one step, notes end before others begin.
    return sorted(ends + strikes, key=itemgetter(0))
