"""Corpora: read in parallel on one machine or many, kept as tables of notes, divided without leaks."""

import contextlib
import copy
import csv
import functools
import glob
import hashlib
import io
import json
import os
import posixpath
import re
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from safetensors import safe_open
from safetensors.numpy import save
from tqdm.auto import tqdm

from ..errors import MidiError, OptionError, PomkitError, check_choice
from ..files import AnyPath, write
from ..music.chords import Chord
from ..music.grid import ReadReport
from ..music.harmony import estimate_key
from ..music.midi import read_midi
from ..music.midi_events import MAX_BYTES, read_events
from ..music.song import Song
from ..music.tables import NOTE_DTYPE

ARCHIVES = (".tar", ".tar.xz", ".txz", ".tar.gz", ".tgz", ".tar.bz2", ".zip")
MIDI_FILE = re.compile(
    r"^(?:.*[/\\])?(?!\._)([^/\\]*)\.(?:midi?|rmi|kar)(?:\.gz)?$", re.IGNORECASE | re.DOTALL
)
ANNOTATIONS = ("beat_midi.txt", "chord_midi.txt")
WANTED = re.compile("|".join([MIDI_FILE.pattern, *ANNOTATIONS]), re.IGNORECASE)  # of an archive
SPLITS = {"train": (0.0, 0.90), "valid": (0.90, 0.95), "test": (0.95, 1.0)}
CHUNK = 200  # files of a job, and of a shard
SHARD, FINISHED = "{:0>6}.safetensors", "corpus.json"
# A corpus file: the notes; what else there is of each file as JSON; places, int64 (files, 5): a fingerprint (0: no song), where
# the notes and the text of the file begin, where they end; the files' names with zero bytes between.
FORMAT = {"format": "pomkit corpus", "version": "1"}
NOTES = {"onset": "<i4", "duration": "<i4", "pitch": "u1", "velocity": "u1", "part": "<u2"}
TENSORS = (*NOTES, "text", "places", "files")
Table = Callable[[], dict[str, Any]]  # gives tensors, of memory or as slices of a file
Entry = tuple[str, int, bytes, np.ndarray]  # of a file: name, fingerprint, text, notes
File = (
    tuple[str] | tuple[str, Any, Any, Any]
)  # to read: name; out of an archive also content, annotations
NOTHING = np.zeros(0, NOTE_DTYPE)


def split_of(name: str) -> str:
    """ "train", "valid" or "test" for a song by a hash of its name: the same everywhere, 90 : 5 : 5."""
    share = int(hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8], 16) / 16**8
    return next(split for split, (low, high) in SPLITS.items() if low <= share < high)


def fingerprint(song: Song) -> int:
    """64 bits that songs share whose notes are equal up to transposition and leading silence, whatever their parts."""
    n = song.notes[np.lexsort([song.notes[key] for key in ("duration", "pitch", "onset")])]
    rows = np.stack([n["onset"], n["pitch"], n["duration"]], axis=1).astype("<i4")  # (notes, 3)
    rows[:, :2] -= rows[:1, :2]
    return (
        int.from_bytes(
            hashlib.blake2b(rows.tobytes(), digest_size=8).digest(), "little", signed=True
        )
        or 1
    )


@contextlib.contextmanager
def _damage_told(what: object) -> Iterator[None]:
    """Whatever can fail on a corpus file that does not hold what it should becomes one OptionError."""
    try:
        yield
    except Exception as fault:
        raise OptionError(
            f"{what} is no corpus that can be read ({fault}); save or build it again"
        ) from fault


@functools.cache
def _opened(path: Path, changed: int) -> dict[str, Any]:
    """The tensors of a corpus file, memory-mapped, in whatever process: slices of them are read when they are asked for."""
    with _damage_told(path):
        file: Any = safe_open(path, "np")
        said = file.metadata() or {}
        if said != FORMAT or path.stat().st_mtime_ns != changed:
            raise OptionError(
                f"it is {said}, or another one than was opened, and not {FORMAT}: if it is newer, update pomkit"
            )
        return {
            key: (file.get_slice if key in (*NOTES, "text") else file.get_tensor)(key)
            for key in TENSORS
        }


def _entry(tables: Sequence[Table], row: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Text and notes of a file: `row` is its table and its places there."""
    number, _, note, char, note_end, char_end = row.tolist()
    tensors, notes = tables[number](), np.zeros(note_end - note, NOTE_DTYPE)
    for key in NOTES if len(notes) else ():  # safetensors has no empty slice at the end
        notes[key] = tensors[key][note:note_end]
    return bytes(tensors["text"][char:char_end]), notes


def _described(name: str, song: Song | None, error: str = "") -> Entry:
    """The entry of a file, whose text is what the report adds to the song's own, and what the song has beside its notes."""
    there = song or Song(NOTHING)
    rest = {f.name: getattr(there, f.name) for f in fields(Song) if f.name != "notes"} | {
        "report": asdict(there.report)
    }
    row = {
        "error": error,
        "meter": there.meter if song else "",
        "steps": there.end,
        "chords": len(there.chords),
        "bars": len(there.bar_lines()) - 1 if song else 0,
        "key": estimate_key(there.notes),
    }
    return (
        name,
        fingerprint(song) if song else 0,
        json.dumps([row, rest], default=np.generic.item).encode(),
        there.notes,
    )


def _table(entries: Sequence[Entry]) -> Table:
    names, fingerprints, texts, notes = zip(*entries, strict=True) if entries else ((), (), (), ())
    joined = np.concatenate([NOTHING, *notes])
    sizes = np.array(
        [(len(n), len(text)) for n, text in zip(notes, texts, strict=True)], "i8"
    ).reshape(-1, 2)
    ends = sizes.cumsum(axis=0)
    return functools.partial(
        dict,
        {key: joined[key].astype(kind) for key, kind in NOTES.items()},
        text=np.frombuffer(b"".join(texts), "u1"),
        places=np.column_stack([np.array(fingerprints, "i8"), ends - sizes, ends]),
        files=np.frombuffer("\0".join(names).encode("utf-8", "surrogateescape"), "u1"),
    )


@dataclass(eq=False)
class Songs(Sequence[Song]):
    """The songs of a corpus, each read when it is asked for; a slice is such a sequence again."""

    tables: Sequence[Table]
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, at: Any) -> Any:
        row = self.places[at]
        if isinstance(at, slice):
            return Songs(self.tables, row)
        with _damage_told("a file of the corpus"):
            text, notes = _entry(self.tables, row)
            rest = json.loads(text)[1]
            report = rest["report"] | {"remarks": tuple(rest["report"]["remarks"])}
            return Song(
                notes,
                **rest
                | {"report": ReadReport(**report), "meters": tuple(map(tuple, rest["meters"]))},
            )


class Corpus:
    """Songs in the order of their files' names, and a report of every file, also of one that failed.
    What `read_corpus` and `Corpus.load` give; `Corpus(songs)` makes one of songs at hand. A note takes 12 bytes, on disk where
    the corpus was loaded, until its song is asked for: a corpus may be larger than memory."""

    def __init__(self, songs: Iterable[Song] = (), tables: Sequence[Table] = ()) -> None:
        self.tables = tables or [_table([_described(song.name, song) for song in songs])]
        places, files = [], []
        for number, table in enumerate(self.tables):
            tensors = table()
            with _damage_told("a file of the corpus"):
                places.append(np.insert(tensors["places"], 0, number, axis=1))  # (files, 6)
                files += (
                    bytes(tensors["files"])
                    .decode("utf-8", "surrogateescape")
                    .split("\0")[: len(places[-1])]
                )
        order = sorted(range(len(files)), key=files.__getitem__)
        self.places, self.files = np.concatenate(places)[order], [files[i] for i in order]

    def __repr__(self) -> str:
        return f"Corpus({len(self.songs)} songs of {len(self.files)} files)"

    @property
    def songs(self) -> Songs:
        """The songs, read lazily."""
        return Songs(self.tables, self.places[self.places[:, 1] != 0])

    @property
    @_damage_told("a file of the corpus")
    def rows(self) -> tuple[dict[str, Any], ...]:
        """For every file its name, split, the first file with the same notes, error, meter, key, what reading counted, ..."""
        rows = []
        for file, row, (split, twin) in zip(self.files, self.places, self._placed(), strict=True):
            more, song = json.loads(_entry(self.tables, row)[0])
            rows.append(
                {
                    "file": file,
                    "split": split,
                    "duplicate_of": twin,
                    **more,
                    **song["report"],
                    "remarks": "; ".join(song["report"]["remarks"]),
                }
            )
        return tuple(rows)

    @property
    def report(self) -> Any:
        """The rows as a pandas.DataFrame; where pandas is missing, as CSV text."""
        rows, text = self.rows, io.StringIO(newline="")
        with contextlib.suppress(ImportError):
            import pandas

            return pandas.DataFrame(rows)
        csv.writer(text).writerows(
            [*rows[:1], *(row.values() for row in rows)]
        )  # a row's keys are the header
        return text.getvalue()

    def _placed(self) -> list[tuple[str, str]]:
        """Of each file the split ("" without a song), and the first file with the same notes unless it is itself the first."""
        same, placed = defaultdict(list), [("", "")] * len(self.files)
        for i in np.flatnonzero(self.places[:, 1]).tolist():
            same[self.places[i, 1]].append(i)
        for group in same.values():
            split, *others = {split_of(MIDI_FILE.sub(r"\1", self.files[i])) for i in group}
            for i in group:
                placed[i] = (
                    "train" if others else split,
                    self.files[group[0]] if i != group[0] else "",
                )
        return placed

    def split(self, name: str) -> "Corpus":
        """What belongs to "train", "valid" or "test" by `split_of`; duplicates that this would divide are all in "train"."""
        check_choice("split", name, SPLITS)
        part, chosen = (
            copy.copy(self),
            [i for i, (split, _) in enumerate(self._placed()) if split == name],
        )
        part.places, part.files = self.places[chosen], [self.files[i] for i in chosen]
        return part

    def save(self, path: AnyPath) -> Path:
        """Write all of it to one safetensors file, atomically; the tables pass through memory."""
        with _damage_told("a file of the corpus"):
            files = zip(self.files, self.places, strict=True)
            entries = [(file, int(row[1]), *_entry(self.tables, row)) for file, row in files]
        return write(path, save(_table(entries)(), FORMAT))

    @classmethod
    def load(cls, path: AnyPath) -> "Corpus":
        """Open a file of `save` or a folder of `read_corpus(..., out=)`; OptionError if damaged, foreign or unfinished."""
        path = Path(path).absolute()  # other processes may stand elsewhere
        with _damage_told(path):
            shards = json.loads((path / FINISHED).read_text())["shards"] if path.is_dir() else 0
            paths = [path / SHARD.format(number) for number in range(shards)] or [path]
            tables = [functools.partial(_opened, p, p.stat().st_mtime_ns) for p in paths]
        return cls(tables=tables)


def read_corpus(
    paths: AnyPath | Sequence[AnyPath],
    workers: int | None = None,
    progress: bool = True,
    out: AnyPath | None = None,
    steps_per_beat: int = 4,
    drums: bool = False,
    pedal: bool = False,
    salvage: bool = False,
    estimate: bool = False,
) -> Corpus:
    """Read every MIDI file of folders, globs, single files and tar/zip archives; a bad file is reported, never fatal.
    Annotations in POP909's layout (`beat_midi.txt`, `chord_midi.txt` beside the MIDI file) become bars and chords. `workers`:
    processes (None: as many as cores, or as `joblib.parallel_config` says; with its backend "dask" or "ray" a cluster reads,
    all of whose machines must see the folders). `out`: a folder for shards of the corpus, so that memory stays flat; later
    `Corpus.load` opens it. The other options are those of `read_midi`. Raises OptionError where nothing is found."""
    Song(NOTHING, steps_per_beat=steps_per_beat)  # if there is no such grid, say so once
    options = dict(
        steps_per_beat=steps_per_beat, drums=drums, pedal=pedal, salvage=salvage, estimate=estimate
    )
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files, folder, tables = _files(paths), Path(out).absolute() if out is not None else None, []
    chunks = iter(lambda: list(islice(files, CHUNK)), [])
    head = list(islice(chunks, 2))
    if not head:
        raise OptionError(
            f"no MIDI file found in {', '.join(map(str, paths))}; name a folder, a glob, or an archive"
        )
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob(FINISHED), *folder.glob(f"*{SHARD.format('[0-9]' * 6)}*")):
            old.unlink()
    if workers is None and effective_n_jobs(None) == 1 or len(head) == 1:
        workers = -1 if len(head) > 1 else 1  # one chunk is not worth a process
    jobs = (
        delayed(_job)(chunk, options, folder and folder / SHARD.format(i))
        for i, chunk in enumerate(chain(head, chunks))
    )
    with tqdm(
        total=sum(1 for _ in _files(paths, archives=False)) or None,
        desc="reading",
        unit="file",
        disable=not progress,
    ) as bar:
        for count, table in Parallel(workers, return_as="generator")(jobs):
            bar.update(count)
            tables.append(table)
    if folder:
        write(folder / FINISHED, json.dumps({"shards": len(tables)}).encode())
    corpus = Corpus.load(folder) if folder else Corpus(tables=tables)
    if all(name.lower().endswith(ARCHIVES) for name in corpus.files):
        raise OptionError(corpus.rows[0]["error"])  # there was not one file in them
    return corpus


def _job(
    files: Sequence[File], options: dict[str, Any], shard: Path | None
) -> tuple[int, Table | None]:
    """Read files, in whatever process: how many, and their table if it is not written to a shard."""
    table = _table([_read(options, *file) for file in files])
    if shard:
        Corpus(tables=[table]).save(shard)
    return len(files), None if shard else table


def _files(paths: Iterable[AnyPath], archives: bool = True) -> Iterator[File]:
    """The files to read, one after the other, and for whatever cannot be opened one whose content is the error."""
    for path in (os.fspath(p) for p in paths):
        for found in (
            [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True)) or [path]
        ):
            if os.path.isdir(found):
                faults: list[OSError] = []
                for folder, folders, names in os.walk(found, onerror=faults.append):
                    folders.sort()
                    yield from (
                        (os.path.join(folder, name),)
                        for name in sorted(names)
                        if MIDI_FILE.search(name)
                    )
                for fault in faults:
                    error = MidiError(
                        f"{fault.filename} cannot be read ({fault.strerror}); check its permissions"
                    )
                    yield fault.filename, error, None, None
            elif MIDI_FILE.search(found):
                yield (found,)
            elif archives and found.lower().endswith(ARCHIVES):
                yield from _archived(found)


def _archived(path: str) -> Iterator[File]:
    """The MIDI files of an archive in one pass, with the annotations of their folder, held until one outside of it comes."""
    held: dict[str, dict[str, Any]] = {}  # by folder, then by name

    def complete(folder: str) -> Iterator[File]:
        files = held.pop(folder)
        beats, chords = (files.pop(posixpath.join(folder, name), None) for name in ANNOTATIONS)
        return (
            (name, content, beats, chords)
            for name, content in files.items()
            if MIDI_FILE.search(name) or name == path
        )

    for name, content in _members(path):
        here = posixpath.dirname(name)
        for folder in [
            f for f in held if f and not f"{here}/".startswith(f"{f}/") or len(held[f]) >= CHUNK
        ]:
            yield from complete(folder)
        held.setdefault(here, {})[name] = content
    yield from chain.from_iterable(map(complete, list(held)))


def _members(path: str) -> Iterator[tuple[str, Any]]:
    """Names and contents of what is wanted of an archive (of a file that is too large, what shows that), or errors."""
    try:
        if path.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as zipped:
                yield from (
                    (name, _content(zipped.open, name))
                    for name in sorted(filter(WANTED.search, zipped.namelist()))
                )
        else:
            with tarfile.open(path) as tar:
                while (member := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # it would remember them all
                    if member.isfile() and WANTED.search(member.name):
                        yield member.name, _content(tar.extractfile, member)
    except Exception as fault:
        yield path, OptionError(f"{path} is damaged or no archive ({fault}); get it again")


def _content(opened: Callable[[Any], Any], member: Any) -> bytes | OptionError:
    try:
        return opened(member).read(MAX_BYTES + 1)
    except Exception as fault:
        return OptionError(f"{member} cannot be read from its archive ({fault}); pack it again")


def _read(
    options: dict[str, Any], name: str, content: Any = None, beats: Any = None, chords: Any = None
) -> Entry:
    """The entry of a file; whatever is wrong with it, the others are read."""
    try:
        if isinstance(content, PomkitError):
            raise content
        source: Any = name if content is None else io.BytesIO(content)
        if content is None:
            beside = (Path(name).with_name(annotation) for annotation in ANNOTATIONS)
            beats, chords = (path.read_bytes() if path.is_file() else None for path in beside)
        else:
            source.name = name  # for errors to name it
        song = replace(read_midi(source, **options), name=MIDI_FILE.sub(r"\1", name))
        if beats is not None and chords is not None:
            song = _annotated(song, name, content or Path(name).read_bytes(), beats, chords)
        return _described(name, song)
    except Exception as fault:
        return _described(
            name,
            None,
            f"{'' if isinstance(fault, PomkitError) else type(fault).__name__ + ': '}{fault}",
        )


def _annotated(song: Song, name: str, content: bytes, beat_text: bytes, chord_text: bytes) -> Song:
    """Bars and chords from POP909's annotations, whose seconds are those of the MIDI file's own tempo map."""
    events = read_events(content, name)
    tick, pace = np.array(
        [(0, 500000), *sorted(events.tempos, key=lambda t: t[0])], float
    ).T  # pace: microseconds a beat
    tick = np.append(tick, tick[-1] + 2**31)
    second = np.append(0, np.cumsum(np.diff(tick) * pace)) / 1e6 / events.per_beat

    def steps(seconds: np.ndarray) -> np.ndarray:
        beats = np.interp(seconds, second, tick) / events.per_beat
        return np.maximum(np.rint(song.steps_per_beat * beats - song.report.phase), 0).astype(int)

    try:
        rows = np.loadtxt(
            io.BytesIO(chord_text), str, comments=None, ndmin=2
        )  # from and to in seconds, label
        found = tuple(
            Chord(int(a), int(b - a), str(label))
            for (a, b), label in zip(steps(rows[:, :2].astype(float)), rows[:, 2], strict=True)
            if b > a
        )
        beats = np.loadtxt(io.BytesIO(beat_text), ndmin=2)  # seconds, two flags of strong beats
        half, whole = (steps(beats[beats[:, i] > 0, 0]) for i in (1, 2))
    except (ValueError, IndexError) as fault:
        raise MidiError(
            f"{name}: its beat_midi.txt or chord_midi.txt is not in POP909's form ({fault})"
        ) from fault
    three_four = (
        len(half) > 2 and np.median(np.diff(half)) == 3 * song.steps_per_beat
    )  # there a strong beat is a bar
    remarks = tuple(
        remark for remark in song.report.remarks if "time signature" not in remark
    )  # no longer true
    return replace(
        song,
        bars=tuple(np.unique(half if three_four else whole).tolist()),
        chords=found,
        meters=(),
        report=replace(song.report, remarks=remarks),
    )
