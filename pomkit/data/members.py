"""The files of a corpus: from folders, globs, single paths, and tar or zip archives.

`find_members` walks through them and gives a `Member` for every MIDI file, without reading those on
disk: whatever process reads the file does that. What cannot be opened is a Member, too, whose
content is the error, so that a bad file never stops the others.

    for member in find_members(["songs/", "more/*.mid", "pop909.tar.xz"]):
        print(member.name)

Annotations are text files beside a MIDI file, in POP909's layout (see `pop909`). An archive is read
in one pass, in whatever order it was packed; so the files of a folder are held until one outside
of that folder comes, and then go on together with the annotations among them.
"""

import glob
import io
import os
import posixpath
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import MidiError, OptionError, PomkitError
from ..files import AnyPath
from ..music.midi_codes import MAX_BYTES

ARCHIVES = (".tar", ".tar.xz", ".txz", ".tar.gz", ".tgz", ".tar.bz2", ".zip")

# A path of a MIDI file, its name as a group; "._x.mid" is what macOS leaves in archives.
MIDI_FILE = re.compile(
    r"^(?:.*[/\\])?(?!\._)([^/\\]*)\.(?:midi?|rmi|kar)(?:\.gz)?$", re.IGNORECASE | re.DOTALL
)
ANNOTATIONS = ("beat_midi.txt", "chord_midi.txt")
WANTED = re.compile("|".join([MIDI_FILE.pattern, *ANNOTATIONS]), MIDI_FILE.flags)

# So many files of one folder in an archive wait for their annotations, no more.
MOST_HELD = 200

Content = bytes | PomkitError


@dataclass(frozen=True)
class Member:
    """A file to read.

    Attributes:
        name: its path on disk, or in the archive.
        content: of a file in an archive its bytes, or the error that came instead.
        annotations: of a file in an archive those beside it: name -> content.
    """

    name: str
    content: Content | None = None
    annotations: Mapping[str, Content] = field(default_factory=dict)

    def source(self) -> str | io.BytesIO:
        """What `read_midi` takes: the path, or an open file that knows its name.

        Raises:
            PomkitError: the file could not be opened, or be read from its archive.
        """
        if self.content is None:
            return self.name
        file = io.BytesIO(_checked(self.content))
        file.name = self.name
        return file

    def read(self) -> bytes:
        """The file's bytes; raises as `source`, or OSError."""
        return Path(self.name).read_bytes() if self.content is None else _checked(self.content)

    def read_annotations(self) -> list[bytes] | None:
        """The texts of `ANNOTATIONS` beside the file; None unless all are there.

        Raises:
            PomkitError, OSError: one of them cannot be read.
        """
        if self.content is not None:
            there = [name for name in ANNOTATIONS if name in self.annotations]
            texts = [_checked(self.annotations[name]) for name in there]
        else:
            paths = [Path(self.name).with_name(name) for name in ANNOTATIONS]
            texts = [path.read_bytes() for path in paths if path.is_file()]
        return texts if len(texts) == len(ANNOTATIONS) else None


def _checked(content: Content) -> bytes:
    """The content; if it is an error, raise that."""
    if isinstance(content, PomkitError):
        raise content
    return content


def is_midi(path: str) -> bool:
    """Whether the path is that of a MIDI file, by its ending."""
    return MIDI_FILE.search(path) is not None


def song_name(path: str) -> str:
    """The name of a MIDI file without folders and endings; another text stays as it is."""
    return MIDI_FILE.sub(r"\1", path)


def find_members(paths: Iterable[AnyPath], archives: bool = True) -> Iterator[Member]:
    """Give the MIDI files of all paths, one after the other.

    Args:
        paths: folders, which are read to their depths; globs; MIDI files; archives.
        archives: also look into archives; without, the walk is quick.
    """
    for given in paths:
        path = os.fspath(given)
        matches = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        for match in matches or [path]:
            if os.path.isdir(match):
                yield from folder_members(match)
            elif is_midi(match):
                yield Member(match)
            elif archives and match.lower().endswith(ARCHIVES):
                yield from archive_members(match)


def folder_members(path: str) -> Iterator[Member]:
    """Give the MIDI files of a folder and of all folders in it, by their names."""
    faults: list[OSError] = []
    for folder, folders, names in os.walk(path, onerror=faults.append):
        # `os.walk` goes on in the order of this list.
        folders.sort()
        yield from (Member(os.path.join(folder, name)) for name in sorted(names) if is_midi(name))

    for fault in faults:
        place = fault.filename
        advice = f"{place} cannot be read ({fault.strerror}); check its permissions"
        yield Member(place, MidiError(advice))


def archive_members(path: str) -> Iterator[Member]:
    """Give the MIDI files of an archive, each with the annotations of its folder, in one pass."""
    # Folder -> name -> content.
    held: dict[str, dict[str, Content]] = {}
    damage = None
    try:
        for name, content in _contents(path):
            folder = posixpath.dirname(name)

            # A folder is complete when a file outside of it comes.
            for other in list(held):
                if not _is_inside(folder, other) or len(held[other]) >= MOST_HELD:
                    yield from _complete(other, held.pop(other))
            held.setdefault(folder, {})[name] = content
    except Exception as fault:
        damage = OptionError(f"{path} is damaged or no archive ({fault}); get it again")

    # Of a damaged archive comes what was whole, and then the error.
    for folder, files in held.items():
        yield from _complete(folder, files)
    if damage:
        yield Member(path, damage)


def _is_inside(folder: str, other: str) -> bool:
    """Whether a folder of an archive is `other` or stands in it; all stand in the nameless one."""
    return not other or f"{folder}/".startswith(f"{other}/")


def _complete(folder: str, files: Mapping[str, Content]) -> Iterator[Member]:
    """The MIDI files among the files of a folder, with the annotations among them."""
    paths = {name: posixpath.join(folder, name) for name in ANNOTATIONS}
    annotations = {name: files[path] for name, path in paths.items() if path in files}
    for name, content in files.items():
        if is_midi(name):
            yield Member(name, content, annotations)


def _contents(path: str) -> Iterator[tuple[str, Content]]:
    """Names and contents of the MIDI files and annotations of an archive."""
    if path.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as zipped:
            for name in sorted(filter(WANTED.search, zipped.namelist())):
                yield name, _content(name, partial(zipped.open, name))
        return

    with tarfile.open(path) as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # it would remember them all
            if member.isfile() and WANTED.search(member.name):
                yield member.name, _content(member.name, partial(tar.extractfile, member))


def _content(name: str, opener: Callable[[], Any]) -> Content:
    """The bytes of a file in an archive (of one that is too large, enough to show it)."""
    try:
        return opener().read(MAX_BYTES + 1)
    except Exception as fault:
        return OptionError(f"{name} cannot be read from its archive ({fault}); pack it again")
