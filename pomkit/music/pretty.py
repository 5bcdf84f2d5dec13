"""pretty_midi's objects: a song as one, and one as `Events`, from which a song is made.

Its times are seconds, a song's are steps; so a tempo is needed on the way out, and on the way in
its own tempo map gives the ticks. `Song.to_pretty_midi` and `Song.from_pretty_midi` call this.
"""

from typing import Any

import numpy as np

from .midi_codes import DRUMS, Events, is_drums
from .midi_write import TICKS_PER_BEAT, Score


def pretty_midi_of(song: Score, bpm: float) -> Any:
    """A pretty_midi.PrettyMIDI of a song: one piano instrument for each part.

    Args:
        song: the Song.
        bpm: the tempo, beats a minute.
    """
    import pretty_midi

    midi = pretty_midi.PrettyMIDI(resolution=TICKS_PER_BEAT, initial_tempo=bpm)
    step = 60 / bpm / song.steps_per_beat  # in seconds
    for number, name in enumerate(song.parts):
        instrument = pretty_midi.Instrument(0, is_drum=is_drums(name), name=name)
        notes = song.notes[song.notes["part"] == number]
        for onset, duration, pitch, velocity, _ in notes.tolist():
            end = (onset + duration) * step
            instrument.notes.append(pretty_midi.Note(velocity, pitch, onset * step, end))
        midi.instruments.append(instrument)

    midi.time_signature_changes = [
        pretty_midi.TimeSignature(numerator, denominator, onset * step)
        for onset, numerator, denominator in song.time_signatures()
    ]
    return midi


def events_of(midi: Any) -> Events:
    """What a pretty_midi.PrettyMIDI says, as a file would: its instruments are the parts."""
    tick = midi.time_to_tick
    events = Events(float(midi.resolution))

    notes = []
    for number, instrument in enumerate(midi.instruments):
        events.parts.append((number, DRUMS * instrument.is_drum, instrument.program))
        events.names[number] = instrument.name
        notes += [
            (tick(note.start), tick(note.end), note.pitch, note.velocity, number)
            for note in instrument.notes
        ]
    events.notes = np.array(sorted(notes), np.int64).reshape(-1, 5).T  # (5, notes)

    events.tempos = [(0, int(60e6 / tempo)) for tempo in midi.get_tempo_changes()[1][:1]]
    events.meters = [
        (tick(meter.time), meter.numerator, meter.denominator)
        for meter in midi.time_signature_changes
    ]
    return events
