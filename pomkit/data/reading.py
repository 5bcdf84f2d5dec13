"""Reading a corpus: many files at once, on one machine or many.

The files go to processes in chunks. Each chunk becomes a shard, in memory or on disk; which process
read it, and when, changes nothing: the corpus is in the order of the files' names.

    corpus = read_corpus(["songs/", "pop909.tar.xz"])
    large = read_corpus("lakh/", out="lakh.corpus")     # memory stays flat

Nothing that is wrong with a file stops the others: it stands in the corpus's report.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs
from tqdm.auto import tqdm

from ..errors import OptionError, PomkitError
from ..files import AnyPath
from ..music.midi import read_midi
from ..music.song import Song
from .corpus import Corpus
from .downloads import CORPORA, fetch
from .members import ARCHIVES, Member, find_members, song_name
from .pop909 import annotate
from .store import (
    NO_NOTES,
    Entry,
    Shard,
    error_entry,
    is_saved,
    pack,
    prepare_folder,
    shard_path,
    song_entry,
    write_index,
)

# So many files are a job, and a shard.
CHUNK = 200

Chunk = Sequence[Member]


def read_corpus(
    paths: AnyPath | Sequence[AnyPath],
    workers: int | None = None,
    progress: bool = True,
    out: AnyPath | None = None,
    *,
    steps_per_beat: int = 4,
    drums: bool = False,
    pedal: bool = False,
    salvage: bool = False,
    estimate: bool = False,
) -> Corpus:
    """Read every MIDI file of folders, globs, single files and tar or zip archives.

    A bad file is reported, never fatal. Annotations in POP909's layout (`beat_midi.txt` and
    `chord_midi.txt` beside the MIDI file) become bars and chords.

    Args:
        paths: one path or many. A single path of a corpus that was saved before is opened as it is,
            whatever the options say. "pop909": the corpus of that name, which `fetch` downloads
            unless it is at hand.
        workers: processes; None: as many as cores, or as `joblib.parallel_config` says. With its
            backend "dask" or "ray" a cluster reads, all of whose machines must see the folders.
        progress: show a bar.
        out: a folder for the shards of the corpus, so that memory stays flat; `Corpus.load` opens
            it later.
        steps_per_beat: the grid; this and all that follow are options of `read_midi`.
        drums: keep drums as parts, too.
        pedal: notes last until the sustain pedal is released.
        salvage: of a damaged file take what can be read.
        estimate: estimate the chords where a file names none.

    Raises:
        OptionError: there is no such grid, or no MIDI file.
    """
    # Where there is no such grid, say so once and not of every file.
    Song(NO_NOTES, steps_per_beat=steps_per_beat)
    options = dict(
        steps_per_beat=steps_per_beat, drums=drums, pedal=pedal, salvage=salvage, estimate=estimate
    )
    if isinstance(paths, str | os.PathLike):
        paths = [_at_hand(paths, progress)]
        if is_saved(paths[0]):
            return Corpus.load(paths[0])
    paths = list(paths)

    # Two chunks tell whether there is anything to read, and enough for several processes.
    chunks = _chunks(paths)
    head = list(islice(chunks, 2))
    if not head:
        raise OptionError(
            f"no MIDI file found in {', '.join(map(str, paths))}; "
            "name a folder, a glob, or an archive"
        )

    folder = None if out is None else Path(out).absolute()
    if folder:
        prepare_folder(folder)
    jobs = _jobs(chain(head, chunks), options, folder)

    # The work, and a bar that shows how far it is.
    shards = []
    parallel = Parallel(_workers(workers, len(head)), return_as="generator")
    total = sum(1 for _ in find_members(paths, archives=False)) or None
    with tqdm(total=total, desc="reading", unit="file", disable=not progress) as bar:
        for count, shard in parallel(jobs):
            bar.update(count)
            shards.append(shard)
    return _whole(shards, folder)


def _at_hand(path: AnyPath, progress: bool) -> AnyPath:
    """A path as it is, or where the corpus of that name stands."""
    is_name = str(path) in CORPORA and not os.path.exists(path)
    return fetch(str(path), progress) if is_name else path


def _chunks(paths: Iterable[AnyPath]) -> Iterator[Chunk]:
    """The files to read, CHUNK at a time."""
    members = find_members(paths)
    return iter(lambda: list(islice(members, CHUNK)), [])


def _workers(wish: int | None, chunks: int) -> int | None:
    """How many processes shall work, as joblib counts them (-1: one a core)."""
    # One chunk is not worth a process.
    if chunks == 1:
        return 1
    alone = wish is None and effective_n_jobs(None) == 1
    return -1 if alone else wish


def _jobs(chunks: Iterable[Chunk], options: dict[str, Any], folder: Path | None) -> Iterator[Any]:
    """The calls of `_job` that joblib shall make; chunk i becomes shard i."""
    for number, chunk in enumerate(chunks):
        path = shard_path(folder, number) if folder else None
        yield delayed(_job)(chunk, options, path)


def _job(chunk: Chunk, options: dict[str, Any], path: Path | None) -> tuple[int, Shard | None]:
    """Read files, in whatever process: how many, and their shard unless it is written to `path`."""
    shard = pack([_read(member, options) for member in chunk])
    if path is None:
        return len(chunk), shard
    Corpus(shards=[shard]).save(path)
    return len(chunk), None


def _read(member: Member, options: dict[str, Any]) -> Entry:
    """The entry of a file; whatever is wrong with it, the others are read."""
    try:
        song = read_midi(member.source(), **options).without_source()
        song = replace(song, name=song_name(member.name))
        return song_entry(member.name, annotate(song, member))
    except PomkitError as fault:
        return error_entry(member.name, str(fault))
    except Exception as fault:
        return error_entry(member.name, f"{type(fault).__name__}: {fault}")


def _whole(shards: Sequence[Shard | None], folder: Path | None) -> Corpus:
    """The corpus of all shards, which stand in `folder` or in memory."""
    if folder:
        write_index(folder, len(shards))
        corpus = Corpus.load(folder)
    else:
        corpus = Corpus(shards=[shard for shard in shards if shard is not None])

    # Where only archives stand in it, there was not one file in them.
    if all(name.lower().endswith(ARCHIVES) for name in corpus.files):
        raise OptionError(corpus.rows[0]["error"])
    return corpus
