"""The songs that come with pomkit: public-domain pieces, as MIDI files.

    song = read_midi(songs()["auld_lang_syne"])

`assets/songs/README.md` says where they come from.
"""

from pathlib import Path

from ..files import assets_dir


def songs() -> dict[str, Path]:
    """The shipped public-domain pieces: name -> MIDI file."""
    return {path.stem: path for path in sorted((assets_dir() / "songs").glob("*.mid"))}
