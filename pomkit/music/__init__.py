"""A song, its picture, and the masks over it: numpy alone (notebook 01).

Reading order: tables, chords, midi_events, song, pixels, picture, masks.

- `tables`: what a note is; notes in order and without overlaps.
- `chords`: labels in Harte syntax, and chords and key estimated from notes.
- `midi_events`: the bytes of a MIDI file as tables of ticks.
- `song`: Song, the table of notes on a grid of steps; MIDI in and out.
- `pixels`: what a cell means; onset and sustain cells to notes and back; the one border.
- `picture`: `render` and `parse`, exact inverses of each other.
- `masks`: the region to compose, bool (128, width), True = regenerate.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "tables": "",
        "chords": "Chord",
        "midi_events": "read_events",
        "song": "Song ReadReport read_midi",
        "pixels": "fold unfold",
        "picture": "render parse to_binary from_binary split_binary binary_losses",
        "masks": "",
    },
)
