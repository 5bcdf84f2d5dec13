"""Composing: a picture in, pictures out; a Song in, Songs out (notebooks 07, 10).

Reading order: options, region, song, former.

- `options`: what `inpaint` may be given, checked against what a model knows.
- `region`: `inpaint` and `generate`.
- `song`: `compose`, which changes the region of a song and keeps all else.
- `former`: tables for programs that were written for version 0.1.0.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "options": "check_options",
        "region": "inpaint generate Pictures",
        "song": "compose ComposedSongs",
    },
)
