"""A corpus: many songs, read when they are asked for, and divided without leaks.

    corpus = read_corpus("songs/")             # see `reading`; or Corpus(songs) of songs at hand
    corpus.report                              # what reading did to every file
    train = corpus.split("train").songs        # a sequence of songs
    corpus.save("songs.corpus"); Corpus.load("songs.corpus")

Two laws. A song's split depends on its name alone, so that it is the same on every machine and does
not change when songs are added. And songs that are the same music (equal up to transposition and
leading silence, see `fingerprint`) are never in two splits: a model must not be tested on what it
has learned.

The notes stand in the tables of `store`; nothing of a song is in memory until it is asked for.
"""

import contextlib
import copy
import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import check_choice
from ..files import AnyPath
from ..music.song import Song
from .members import song_name
from .store import Shard, explain_damage, open_shards, pack, song_entry

# What stands after it in a name is a movement: the movements of a work belong together.
MOVEMENT = "--"
SPLITS = {"train": (0.0, 0.90), "valid": (0.90, 0.95), "test": (0.95, 1.0)}
A_FILE = "a file of the corpus"


def split_of(name: str) -> str:
    """The split that a song belongs to by a hash of its name: the same everywhere, 90 : 5 : 5.

    Args:
        name: the song's, without folders and ending; what follows MOVEMENT in it does not count.

    Returns:
        "train", "valid" or "test".
    """
    work = name.partition(MOVEMENT)[0] or name
    digest = hashlib.sha256(work.encode("utf-8", "surrogateescape")).hexdigest()
    share = int(digest[:8], 16) / 16**8
    return next(split for split, (low, high) in SPLITS.items() if low <= share < high)


class Songs(Sequence[Song]):
    """The songs of a corpus, each read when it is asked for; a slice is such a sequence again."""

    def __init__(self, shards: Sequence[Shard], places: np.ndarray) -> None:
        self.shards = shards
        self.places = places  # PLACE (songs,)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        place = self.places[index]
        if isinstance(index, slice):
            return Songs(self.shards, place)
        shard = self.shards[place["shard"]]
        with explain_damage(A_FILE):
            return shard.record(place).rebuild(shard.notes(place))


class Corpus:
    """Songs in the order of their files' names, and a report of every file, also of a failed one.

    `read_corpus` and `Corpus.load` give one; `Corpus(songs)` makes one of songs at hand. A note
    takes 12 bytes, on disk where the corpus was loaded: a corpus may be larger than memory.

    Args:
        songs: songs at hand; their names stand for file names.
        shards: instead of songs, the tables that hold the corpus.

    Raises:
        OptionError: a shard is damaged.
    """

    def __init__(self, songs: Iterable[Song] = (), shards: Sequence[Shard] = ()) -> None:
        self.shards = shards or [pack([song_entry(song.name, song) for song in songs])]
        with explain_damage(A_FILE):
            files = [name for shard in self.shards for name in shard.names()]
            places = [shard.places(number) for number, shard in enumerate(self.shards)]
        order = sorted(range(len(files)), key=files.__getitem__)

        self.files = [files[i] for i in order]
        self.places = np.concatenate(places)[order]  # PLACE (files,)

    def __repr__(self) -> str:
        return f"Corpus({len(self.songs)} songs of {len(self.files)} files)"

    @property
    def songs(self) -> Songs:
        """The songs, read lazily."""
        return Songs(self.shards, self.places[self.places["fingerprint"] != 0])

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """What is known of every file.

        Returns:
            For every file a dict: "file" (its name), "split", "duplicate_of" (the first file with
            the same notes), "error", "meter", "steps", "chords", "bars", "key", and the counts
            and "remarks" of the song's `ReadReport`.

        Raises:
            OptionError: a file of the corpus is damaged.
        """
        rows = []
        with explain_damage(A_FILE):
            files = zip(self.files, self.places, self._divide(), strict=True)
            for file, place, (split, twin) in files:
                record = self.shards[place["shard"]].record(place)
                report = record.song["report"]
                row = {"file": file, "split": split, "duplicate_of": twin}
                row |= record.summary() | report
                row["remarks"] = "; ".join(report["remarks"])
                rows.append(row)
        return tuple(rows)

    @property
    def report(self) -> Any:
        """The rows as a pandas.DataFrame; where pandas is missing, as CSV text."""
        rows = self.rows
        with contextlib.suppress(ImportError):
            import pandas

            return pandas.DataFrame(rows)

        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerows(rows[:1])  # a row's keys are the header
        writer.writerows(row.values() for row in rows)
        return text.getvalue()

    def split(self, name: str) -> "Corpus":
        """The part of the corpus that one split has.

        Songs belong where `split_of` puts them; songs with the same notes that this would divide
        are all in "train".

        Args:
            name: "train", "valid" or "test".

        Raises:
            OptionError: there is no such split.
        """
        check_choice("split", name, SPLITS)
        chosen = [i for i, (split, _) in enumerate(self._divide()) if split == name]
        part = copy.copy(self)
        part.places = self.places[chosen]
        part.files = [self.files[i] for i in chosen]
        return part

    def _divide(self) -> list[tuple[str, str]]:
        """Of every file its split ("" without a song), and the first file with the same notes.

        The latter is "" where the file is itself the first.
        """
        # The numbers of the files that share a fingerprint.
        groups = defaultdict(list)
        for i, fingerprint in enumerate(self.places["fingerprint"].tolist()):
            if fingerprint:
                groups[fingerprint].append(i)

        # A group that its names would divide goes to training as a whole.
        division = [("", "")] * len(self.files)
        for group in groups.values():
            splits = {split_of(song_name(self.files[i])) for i in group}
            split = splits.pop() if len(splits) == 1 else "train"
            first, *twins = group
            division[first] = (split, "")
            for twin in twins:
                division[twin] = (split, self.files[first])
        return division

    def save(self, path: AnyPath) -> Path:
        """Write all of it to one corpus file, atomically; the tables pass through memory.

        Args:
            path: of the file; folders are made.

        Returns:
            The path.

        Raises:
            OptionError: a file that it was loaded from is damaged.
        """
        entries = []
        with explain_damage(A_FILE):
            for file, place in zip(self.files, self.places, strict=True):
                shard = self.shards[place["shard"]]
                entries.append(shard.entry(file, place))
        return pack(entries).save(path)

    @classmethod
    def load(cls, path: AnyPath) -> "Corpus":
        """Open a file of `save`, or a folder of `read_corpus(..., out=)`.

        Raises:
            OptionError: it is damaged, foreign or unfinished.
        """
        return cls(shards=open_shards(path))
