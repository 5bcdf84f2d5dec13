"""POP909's annotations: beats and chords that people and programs heard become bars and chords.

Beside each MIDI file of POP909 (Wang et al., ISMIR 2020, arXiv 2008.07142) stand two texts:

    beat_midi.txt     a line a beat: seconds, and two flags, 1.0 where a beat is strong: the first
                      flag counts in halves of a bar of 4/4 or in whole bars of 3/4, the second in
                      bars of 4/4
    chord_midi.txt    a line a chord: from and to in seconds, label in Harte syntax

Their seconds are those of the MIDI file's own tempo map, so they become steps exactly.
"""

import io
from dataclasses import replace

import numpy as np

from ..errors import MidiError, OptionError
from ..music.chords import Chord, chord_tones
from ..music.midi_codes import Events
from ..music.midi_events import read_events
from ..music.song import Song
from .members import Member

# A MIDI file's tempo, in microseconds a beat, until it names one.
DEFAULT_TEMPO = 500_000
FOR_EVER = 2**31  # ticks


def annotate(song: Song, member: Member) -> Song:
    """The song with the bars and chords of the annotations beside its file, if there are any.

    Args:
        song: as it was read from the file.
        member: the file.

    Raises:
        MidiError: the annotations are not in POP909's form.
        PomkitError, OSError: they or the file cannot be read.
    """
    annotations = member.read_annotations()
    if annotations is None:
        return song

    beats, chords = annotations
    tempo_map = TempoMap(read_events(member.read(), member.name))
    try:
        bars = _bars(song, tempo_map, beats)
        labels = _chords(song, tempo_map, chords)
    except (ValueError, IndexError, OptionError) as fault:
        raise MidiError(
            f"{member.name}: its beat_midi.txt or chord_midi.txt is not in POP909's form "
            f"({fault}); get them again, or take them away"
        ) from fault

    # The time signatures of the file, and what reading said of them, are no longer true.
    remarks = [remark for remark in song.report.remarks if "time signature" not in remark]
    report = replace(song.report, remarks=tuple(remarks))
    return replace(song, bars=bars, chords=labels, meters=(), report=report)


class TempoMap:
    """When each tick of a MIDI file sounds: between changes of tempo, time runs evenly."""

    def __init__(self, events: Events) -> None:
        changes = [(0, DEFAULT_TEMPO), *sorted(events.tempos, key=lambda change: change[0])]
        tick, pace = np.array(changes, float).T  # (changes + 1,), pace in microseconds a beat
        tick = np.append(tick, tick[-1] + FOR_EVER)
        passed = np.cumsum(np.diff(tick) * pace)

        self.per_beat = events.per_beat  # ticks a beat
        self.ticks = tick  # (changes + 2,)
        self.seconds = np.append(0, passed) / 1e6 / events.per_beat  # (changes + 2,)

    def beats(self, seconds: np.ndarray) -> np.ndarray:
        """Seconds as beats from the file's beginning, float, of the same shape (any, ...)."""
        return np.interp(seconds, self.seconds, self.ticks) / self.per_beat


def _steps(song: Song, tempo_map: TempoMap, seconds: np.ndarray) -> np.ndarray:
    """Seconds as steps of the song's grid, whose phase was taken out; int, of the same shape."""
    # Also what is no number at all is not below.
    if not (np.abs(seconds) < tempo_map.seconds[-1]).all():
        raise ValueError("a time is no number of seconds")
    beats = tempo_map.beats(seconds)
    steps = song.steps_per_beat * beats - song.report.phase
    return np.maximum(np.rint(steps), 0).astype(int)


def _bars(song: Song, tempo_map: TempoMap, text: bytes) -> tuple[int, ...]:
    """The steps of the bar lines that beat_midi.txt names."""
    rows = np.loadtxt(io.BytesIO(text), ndmin=2)  # (beats, 3)
    steps = _steps(song, tempo_map, rows[:, 0])  # (beats,)
    lines = steps[rows[:, 2] > 0]

    # In 3/4 each strong beat begins a bar.
    strong = steps[rows[:, 1] > 0]
    if len(strong) > 2:
        distance = np.median(np.diff(strong))
        if distance == 3 * song.steps_per_beat:
            lines = strong
    return tuple(np.unique(lines).tolist())


def _chords(song: Song, tempo_map: TempoMap, text: bytes) -> tuple[Chord, ...]:
    """The chords that chord_midi.txt names, those that last a step or more."""
    rows = np.loadtxt(io.BytesIO(text), str, comments=None, ndmin=2)  # (chords, 3)
    seconds = rows[:, :2].astype(float)  # (chords, 2)
    spans = _steps(song, tempo_map, seconds)  # (chords, 2)

    chords = []
    for (first, end), label in zip(spans.tolist(), rows[:, 2], strict=True):
        # Refuses what is no chord, which else would be found out when the song is drawn.
        chord_tones(str(label))
        if end > first:
            chords.append(Chord(first, end - first, str(label)))
    return tuple(chords)
