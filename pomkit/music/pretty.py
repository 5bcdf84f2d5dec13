"""pretty_midi's objects: a song as one, and one as `Events`, from which a song is made.

Its times are seconds, a song's are steps: the tempi lead from one to the other, on the way out and
on the way in. Parts, programs, drums, tempi, meters and keys go with the notes (keys by their
number: pretty_midi takes F# and Gb for one). `Song.to_pretty_midi` and `Song.from_pretty_midi` call
this.
"""

import io
from typing import Any

import numpy as np

from .grid import seconds_of
from .midi_codes import DRUMS, PEDAL_CONTROLLER, PEDAL_DOWN, Events, fill_channels, transpose_key
from .midi_write import Score, check_tempo, head_bytes


def pretty_midi_of(song: Score, bpm: float | None) -> Any:
    """A pretty_midi.PrettyMIDI of a song: an instrument for each part.

    Args:
        song: the Song.
        bpm: one tempo instead of the song's, beats a minute; None: the song's.

    Raises:
        OptionError: the tempo is out of its range.
    """
    import pretty_midi

    # From a file without notes it takes tempi, meters and keys.
    midi = pretty_midi.PrettyMIDI(io.BytesIO(head_bytes(song, bpm=bpm)))
    notes = song.notes
    tempi = check_tempo(bpm) or song.tempi
    onsets = seconds_of(notes["onset"], tempi, song.steps_per_beat)  # (notes,)
    ends = seconds_of(notes["onset"] + notes["duration"], tempi, song.steps_per_beat)  # (notes,)

    parts = zip(song.parts, song.programs, song.channels, strict=True)
    midi.instruments = [
        pretty_midi.Instrument(program, is_drum=channel == DRUMS, name=name)
        for name, program, channel in parts
    ]
    for note, onset, end in zip(notes.tolist(), onsets.tolist(), ends.tolist(), strict=True):
        _, _, pitch, velocity, part = note
        midi.instruments[part].notes.append(pretty_midi.Note(velocity, pitch, onset, end))
    return midi


def events_of(midi: Any) -> Events:
    """What a pretty_midi.PrettyMIDI says, as a file would: its instruments are the parts."""
    tick = midi.time_to_tick
    events = Events(float(midi.resolution))

    # A channel for each instrument, as a file would have it.
    drums = ["drums" if instrument.is_drum else "" for instrument in midi.instruments]
    channels = fill_channels((), drums)

    notes = []
    for number, instrument in enumerate(midi.instruments):
        events.parts.append((number, channels[number], instrument.program))
        events.names[number] = instrument.name
        notes += [
            (tick(note.start), tick(note.end), note.pitch, note.velocity, number)
            for note in instrument.notes
        ]
    events.notes = np.array(sorted(notes), np.int64).reshape(-1, 5).T  # (5, notes)

    # What a song has no place for.
    changes = [change for each in midi.instruments for change in each.control_changes]
    pedals = [change for change in changes if change.number == PEDAL_CONTROLLER]
    events.counts["bends"] = sum(len(each.pitch_bends) for each in midi.instruments)
    events.counts["controllers"] = len(changes) - len(pedals)
    events.counts["pedals"] = sum(change.value >= PEDAL_DOWN for change in pedals)
    events.lyrics = [(tick(lyric.time), lyric.text) for lyric in midi.lyrics]

    times, tempi = midi.get_tempo_changes()
    paces = np.rint(60e6 / tempi).astype(int)
    events.tempos = list(zip(map(tick, times), paces.tolist(), strict=True))
    events.meters = [
        (tick(meter.time), meter.numerator, meter.denominator)
        for meter in midi.time_signature_changes
    ]
    # Its numbers are the semitones above C, from 12 on for minor.
    for change in midi.key_signature_changes:
        tonic = "Cm" if change.key_number >= 12 else "C"
        name = transpose_key(tonic, change.key_number)
        events.keys.append((tick(change.time), name))
    return events
