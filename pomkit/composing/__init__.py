"""Composing: a picture in, pictures out; a Song in, Songs out (notebooks 07, 10).

Reading order: options, busyness, region, doubting, hearing, voices, song, former.

- `options`: what `inpaint` may be given, checked against what a model knows.
- `busyness`: how busy music becomes where nobody says it.
- `region`: `inpaint` and `generate`.
- `doubting`: how odd each note of a picture is to a model.
- `hearing`: the chords that a model is shown where a song names none.
- `voices`: how many voices a part may have.
- `song`: `compose`, which changes the region of a song and keeps all else.
- `former`: tables for programs that were written for version 0.1.0.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "options": "check_options",
        "busyness": "busiest_of",
        "region": "inpaint generate Pictures",
        "doubting": "doubt doubtful",
        "hearing": "show_chords ShownChords",
        "voices": "most_at_once",
        "song": "compose ComposedSongs",
    },
)
