"""The songs that come with pomkit: public-domain pieces, as MIDI files.

    song = read_midi("auld_lang_syne")           # or songs()["auld_lang_syne"], the path

A file of such a name in the working folder comes first. `assets/songs/README.md` says where the
songs come from.
"""

from pathlib import Path

from ..files import AnyPath, assets_dir

# An error names so many letters of the shipped songs at most.
NAMES_SHOWN = 170


def songs() -> dict[str, Path]:
    """The shipped public-domain pieces: name -> MIDI file."""
    return {path.stem: path for path in sorted((assets_dir() / "songs").glob("*.mid"))}


def shipped_or(path: AnyPath) -> AnyPath:
    """The path of a shipped song where its name is given, and no file is there; else the path."""
    # The folder is looked at only for what may be a name, not for each file of a corpus.
    name = str(path)
    shipped = songs().get(name) if name.isidentifier() else None
    return path if shipped is None or Path(path).exists() else shipped


def names_in_words() -> str:
    """The names of the shipped songs as an error tells them, the last ones left out."""
    names = ", ".join(songs())
    if len(names) <= NAMES_SHOWN:
        return names
    return names[: names.rindex(",", 0, NAMES_SHOWN)] + " ..."
