"""What a corpus keeps of its files: tables of notes and texts, in memory and on disk.

An `Entry` is what is kept of one file: its notes, their fingerprint, and a `Record` of all the
rest. A `Shard` holds the entries of some files as a few long arrays, 12 bytes a note:

    onset, duration    int32 (notes,), in steps
    pitch, velocity    uint8 (notes,)
    part               uint16 (notes,)
    text               uint8 (bytes,): the records as JSON, one after the other
    places             int64 (files, 5): of each file its fingerprint (0: no song came of it), where
                       its notes and its text begin, where its notes and its text end
    files              uint8 (bytes,): the files' names with zero bytes between

A corpus file holds the same arrays (safetensors). A `ShardFile` is such a file: it is mapped into
memory, slices are read when they are asked for, and other processes get its path only. A corpus
larger than memory is a folder of such files, with an index that is written when all are whole.

The law: what is packed comes out as it went in.

    shard = pack([song_entry("a.mid", song)])
    place = shard.places()[0]
    shard.record(place).rebuild(shard.notes(place)) == song

Read on in `members` (where the files come from) and `corpus` (what is done with them).
"""

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.recfunctions import unstructured_to_structured
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import OptionError
from ..files import AnyPath, write
from ..music.grid import ReadReport
from ..music.harmony import estimate_key
from ..music.song import Song
from ..music.tables import NOTE_DTYPE

CORPUS_FORMAT = {"format": "pomkit corpus", "version": "1"}
NOTE_COLUMNS = {"onset": "<i4", "duration": "<i4", "pitch": "u1", "velocity": "u1", "part": "<u2"}
TENSORS = (*NOTE_COLUMNS, "text", "places", "files")
WHOLE = ("places", "files")

# Where a file's notes and text stand: the number of its shard, then the columns of `places`.
PLACE = np.dtype(
    [
        ("shard", "i8"),
        ("fingerprint", "i8"),
        ("first_note", "i8"),
        ("first_byte", "i8"),
        ("end_note", "i8"),
        ("end_byte", "i8"),
    ]
)

SHARD_FILE = "{:0>6}.safetensors"
INDEX_FILE = "corpus.json"
# The fields of a Song that JSON holds as lists of lists.
SIGNS = {"meters", "tempi", "keys"}
NO_NOTES = np.zeros(0, NOTE_DTYPE)


# One file


def fingerprint(song: Song) -> int:
    """64 bits that say which songs have the same notes, whatever their key and start.

    Songs share it whose notes are equal up to transposition and leading silence. Parts and
    velocities do not count.

    Args:
        song: with any number of notes.

    Returns:
        A signed 64-bit number, never 0.
    """
    order = np.lexsort([song.notes[key] for key in ("duration", "pitch", "onset")])
    notes = song.notes[order]
    rows = np.stack([notes["onset"], notes["pitch"], notes["duration"]], axis=1)  # (notes, 3)
    rows = rows.astype("<i4")

    # Onsets and pitches count from those of the first note.
    rows[:, :2] -= rows[:1, :2]
    digest = hashlib.blake2b(rows.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


@dataclass(frozen=True)
class Record:
    """What is kept of a file beside its notes.

    Attributes:
        error: why no song came of the file; "" if one did.
        meter: the song's, as `Song.meter` tells it.
        steps, chords, bars: how many the song has.
        key: the estimated one.
        song: the fields of the Song but the notes.
    """

    error: str
    meter: str
    steps: int
    chords: int
    bars: int
    key: str
    song: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """What a corpus's report says of the file beside what reading it counted."""
        return {key: value for key, value in vars(self).items() if key != "song"}

    def to_json(self) -> bytes:
        """The record as a corpus file holds it: the JSON of [summary, song]."""
        return json.dumps([self.summary(), self.song], default=np.generic.item).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Record":
        """The inverse of `to_json`."""
        summary, song = json.loads(text)
        return cls(**summary, song=song)

    def rebuild(self, notes: np.ndarray) -> Song:
        """The song itself.

        Args:
            notes: its notes, NOTE_DTYPE (notes,).
        """
        report = dict(self.song["report"])
        report["remarks"] = tuple(report["remarks"])
        changed: dict[str, Any] = {"report": ReadReport(**report)}
        for key in SIGNS & self.song.keys():
            changed[key] = tuple(tuple(sign) for sign in self.song[key])
        return Song(notes, **{**self.song, **changed})


@dataclass(frozen=True, eq=False)
class Entry:
    """All that is kept of one file.

    Attributes:
        name: of the file.
        fingerprint: of the song; 0 where none came of it.
        text: the Record as JSON.
        notes: NOTE_DTYPE (notes,).
    """

    name: str
    fingerprint: int
    text: bytes
    notes: np.ndarray


def song_entry(name: str, song: Song) -> Entry:
    """The entry of a file that was read."""
    bars = len(song.bar_lines()) - 1
    key = estimate_key(song.notes)
    values = _fields(song)
    record = Record("", song.meter, song.end, len(song.chords), bars, key, values)
    return Entry(name, fingerprint(song), record.to_json(), song.notes)


def error_entry(name: str, error: str) -> Entry:
    """The entry of a file of which no song came."""
    key = estimate_key(NO_NOTES)
    values = _fields(Song(NO_NOTES))
    record = Record(error, meter="", steps=0, chords=0, bars=0, key=key, song=values)
    return Entry(name, 0, record.to_json(), NO_NOTES)


def _fields(song: Song) -> dict[str, Any]:
    """The song's fields but the notes and its file, the report as a dict."""
    names = {field.name for field in fields(Song)} - {"notes", "source", "read_as"}
    values = {name: getattr(song, name) for name in sorted(names)}
    values["report"] = asdict(song.report)
    return values


# Many files


class Shard:
    """The entries of some files as arrays in memory."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self._tensors = tensors

    @property
    def tensors(self) -> Mapping[str, Any]:
        """The arrays that the module's head lists, by name."""
        return self._tensors

    def places(self, number: int = 0) -> np.ndarray:
        """Where each file's notes and text stand.

        Args:
            number: that of this shard in its corpus.

        Returns:
            PLACE (files,), in the order of `names`.
        """
        rows = np.insert(self.tensors["places"], 0, number, axis=1)  # (files, 6)
        return unstructured_to_structured(rows, PLACE, casting="safe")  # (files,)

    def names(self) -> list[str]:
        """The files' names; OptionError if there are more or fewer than files."""
        count = len(self.tensors["places"])
        text = bytes(self.tensors["files"]).decode("utf-8", "surrogateescape")

        # Split, an empty text is one empty name, or none.
        names = text.split("\0") if text or count else []
        if len(names) != count:
            raise OptionError(f"it has {len(names)} names for {count} files")
        return names

    def notes(self, place: np.void) -> np.ndarray:
        """The notes of a file.

        Args:
            place: a record of `places`.

        Returns:
            NOTE_DTYPE (notes,).
        """
        first, end = place[["first_note", "end_note"]].item()
        notes = np.zeros(end - first, NOTE_DTYPE)
        tensors = self.tensors

        # safetensors gives no empty slice at the end of a file.
        if len(notes):
            for key in NOTE_COLUMNS:
                notes[key] = tensors[key][first:end]
        return notes

    def text(self, place: np.void) -> bytes:
        """The record of a file as JSON; `place` as in `notes`."""
        first, end = place[["first_byte", "end_byte"]].item()
        return bytes(self.tensors["text"][first:end])

    def record(self, place: np.void) -> Record:
        """The record of a file; `place` as in `notes`."""
        return Record.from_json(self.text(place))

    def entry(self, name: str, place: np.void) -> Entry:
        """All that is kept of a file; `place` as in `notes`."""
        return Entry(name, int(place["fingerprint"]), self.text(place), self.notes(place))

    def save(self, path: AnyPath) -> Path:
        """Write a corpus file, atomically, and return its path."""
        return write(path, save(dict(self.tensors), CORPUS_FORMAT))


def pack(entries: Sequence[Entry]) -> Shard:
    """Put entries together to a shard, in their order."""
    notes = np.concatenate([NO_NOTES, *(entry.notes for entry in entries)])
    tensors = {key: notes[key].astype(kind) for key, kind in NOTE_COLUMNS.items()}
    tensors["text"] = np.frombuffer(b"".join(entry.text for entry in entries), "u1")

    # A file begins where the one before it ends.
    pairs = [(len(entry.notes), len(entry.text)) for entry in entries]
    sizes = np.array(pairs, "i8").reshape(-1, 2)  # (files, 2)
    ends = sizes.cumsum(axis=0)
    fingerprints = np.array([entry.fingerprint for entry in entries], "i8")
    tensors["places"] = np.column_stack([fingerprints, ends - sizes, ends])  # (files, 5)

    # No name may look like two.
    names = "\0".join(entry.name.replace("\0", " ") for entry in entries)
    tensors["files"] = np.frombuffer(names.encode("utf-8", "surrogateescape"), "u1")
    return Shard(tensors)


class ShardFile(Shard):
    """A corpus file; it is opened where it is first used, in whatever process.

    When it was changed last is remembered, so that no other file is taken for it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.changed = path.stat().st_mtime_ns

    @property
    def tensors(self) -> Mapping[str, Any]:
        """The arrays that the module's head lists, by name; the long ones give slices."""
        return _open(self.path, self.changed)


@functools.cache
def _open(path: Path, changed: int) -> Mapping[str, Any]:
    """The tensors of a corpus file, memory-mapped, if it is the one that changed at that time."""
    with explain_damage(path):
        file: Any = safe_open(path, "np")
        form = file.metadata() or {}
        if form != CORPUS_FORMAT:
            raise OptionError(f"it is {form} and not {CORPUS_FORMAT}: if newer, update pomkit")
        if path.stat().st_mtime_ns != changed:
            raise OptionError("it is another one than was opened")

        # Places and names are needed at once; the rest is long, and slices of it do.
        tensors = {key: file.get_slice(key) for key in TENSORS}
        return tensors | {key: file.get_tensor(key) for key in WHOLE}


class _Damage(OptionError):
    """A file that does not hold what it should, and the error names it."""


@contextlib.contextmanager
def explain_damage(what: object) -> Iterator[None]:
    """Make one OptionError of all that can fail on a file that does not hold what it should.

    Where one stands inside another, the inner one speaks: it knows the file.
    """
    try:
        yield
    except _Damage:
        raise
    except Exception as fault:
        raise _Damage(
            f"{what} is no corpus that can be read ({fault}); save or build it again"
        ) from fault


# A folder of corpus files


def shard_path(folder: Path, number: int) -> Path:
    """Where shard `number` of a corpus stands."""
    return folder / SHARD_FILE.format(number)


def prepare_folder(folder: Path) -> None:
    """Make the folder of a corpus, and take away what an older one has left there."""
    folder.mkdir(parents=True, exist_ok=True)

    # With the stars also files that were never finished.
    shards = f"*{SHARD_FILE.format('[0-9]' * 6)}*"
    for old in (*folder.glob(INDEX_FILE), *folder.glob(shards)):
        old.unlink()


def write_index(folder: Path, shards: int) -> None:
    """Say that the folder is a whole corpus of so many shards."""
    write(folder / INDEX_FILE, json.dumps({"shards": shards}).encode())


def is_saved(path: AnyPath) -> bool:
    """Whether a path is that of a corpus file, or of a folder of them; no error for others."""
    path = Path(path)
    if path.is_dir():
        return (path / INDEX_FILE).is_file()
    try:
        with safe_open(path, "np") as file:
            return (file.metadata() or {}).get("format") == CORPUS_FORMAT["format"]
    except (OSError, SafetensorError):
        return False


def open_shards(path: AnyPath) -> list[ShardFile]:
    """The shards of a corpus file or of a whole folder of them.

    Raises:
        OptionError: it is missing, damaged, or a folder without an index.
    """
    # Absolute, because other processes may stand elsewhere.
    path = Path(path).absolute()
    with explain_damage(path):
        if not path.is_dir():
            return [ShardFile(path)]
        count = json.loads((path / INDEX_FILE).read_text())["shards"]
        if count < 1:
            raise OptionError(f"its index tells of {count} shards")
        return [ShardFile(shard_path(path, number)) for number in range(count)]
