"""A song, its picture, and the masks over it: numpy alone (notebook 01).

Reading order: tables, pixels, chords, harmony, midi_text, midi_codes, midi_mend, midi_tracks,
midi_runs, midi_notes, midi_events, grid, bars, midi_write, file_notes, channel_events, midi_copy,
channel_room, effects, note_edits, new_notes, splicer, splice, pretty, notation, spelling, musicxml,
engraving, song, shipped, midi, palette, images, picture, binary, masks, mask_words, recall,
players, changes.

- `tables`: what a note is; notes in order and without overlaps.
- `pixels`: what a cell of a picture means; cells to notes and back.
- `chords`: labels in Harte syntax; `harmony`: chords and key estimated from notes.
- `midi_text`: texts in any encoding. `midi_codes`: the bytes of MIDI by name. `midi_mend`: what
  can be mended in damaged files. `midi_tracks`: a way through the tracks of a file; `midi_runs`:
  their events as arrays; `midi_notes`: notes made of these; `midi_events`: a whole MIDI file as
  tables of ticks.
- `grid`: ticks to steps, bars and time signatures, and the report of every loss.
- `bars`: bar lines, and what they say of masks and beats.
- `midi_write`, `pretty`: a song as a MIDI file; as pretty_midi's object, and back.
- `file_notes`: the notes of a file beside the rows of its Song; `note_edits`: what changes in them.
- `channel_events`, `channel_room`, `effects`: what a file's channels play, where they are free, and
  what acts on their notes; `new_notes`: where new notes come to stand.
- `midi_copy`: a file as lists of its own bytes; `splicer`: the edits in them. `splice`: all of that
  together, a Song's changes in the file that it came from.
- `notation`: how a song stands on staves; `spelling`: the names of pitches in a key; `musicxml`: a
  song as a file for notation programs; `engraving`: as sheet music.
- `song`: Song, the table of notes on a grid of steps; `shipped`: those that come with pomkit;
  `midi`: `read_midi`, a file as a Song.
- `palette`: the colours of chords; `images`: any image of a picture as that picture.
- `picture`: `render` and `parse`, exact inverses of each other.
- `binary`: the Stanford form, 64 x 64 in black and white.
- `masks`: the region to compose, bool (128, width), True = regenerate.
- `mask_words`: the parts of a song by their words, and a mask in words.
- `recall`: the bars of a song that are most like those of a window: its memory.
- `players`: the part that plays a new note.
- `changes`: what a composed picture changes in a song, part by part.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "tables": "",
        "pixels": "fold unfold",
        "chords": "Chord",
        "harmony": "",
        "midi_text": "",
        "midi_codes": "WrittenMidi",
        "midi_mend": "",
        "midi_tracks": "",
        "midi_runs": "",
        "midi_notes": "",
        "midi_events": "read_events",
        "grid": "ReadReport",
        "bars": "",
        "midi_write": "",
        "file_notes": "",
        "channel_events": "",
        "midi_copy": "",
        "channel_room": "",
        "effects": "",
        "note_edits": "",
        "new_notes": "",
        "splicer": "",
        "splice": "",
        "pretty": "",
        "notation": "",
        "spelling": "",
        "musicxml": "",
        "engraving": "",
        "song": "Song",
        "shipped": "",
        "midi": "read_midi",
        "palette": "",
        "images": "",
        "picture": "render parse",
        "binary": "to_binary from_binary split_binary binary_losses",
        "masks": "",
        "mask_words": "",
        "recall": "",
        "players": "",
        "changes": "with_region ChangeReport",
    },
)
