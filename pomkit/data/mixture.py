"""Several corpora to learn from at once, each with a share of the windows.

    mixture = Mixture("pop909,music21.corpus", "2:1")
    windows = mixture.windows("train", width=256, seed=0)      # two of three come from pop

Each corpus is divided for itself, so that a song is in the split in which it always is. A window
depends on the seed and its index alone, as those of one corpus do: a run may be resumed.
"""

import bisect
import os
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..music.song import Song
from .corpus import Corpus
from .downloads import CORPORA
from .members import ARCHIVES
from .reading import read_corpus
from .scores import licence_of
from .windows import Windows


class JoinedSongs(Sequence[Song]):
    """The songs of several sequences, one after the other; each is read when it is asked for."""

    def __init__(self, parts: Sequence[Sequence[Song]]) -> None:
        self.parts = parts
        self.ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"song {index} of {len(self)}")
        part = bisect.bisect_right(self.ends, index)
        return self.parts[part][index - self.ends[part]]


class Mixture:
    """Corpora with their shares.

    Args:
        data: their paths, with commas between; a path that holds a comma itself stands alone.
        mix: their shares, like "2:1"; "": all alike.
        progress: show a bar while they are read.

    Raises:
        OptionError: there are more shares than corpora, or fewer; one is no number above 0; a
            corpus cannot be read.
    """

    def __init__(self, data: str, mix: str = "", progress: bool = True) -> None:
        self.names = [data] if os.path.exists(data) else data.split(",")
        self.shares = shares_of(mix, len(self.names))
        self.corpora: list[Corpus] = [read_corpus(name, progress=progress) for name in self.names]

    def windows(self, split: str, width: int, **options: Any) -> Windows:
        """The windows of a split of all corpora.

        Args:
            split: "train", "valid" or "test". Of a corpus that has no song there, "train" serves.
            width: of a window, in steps.
            options: those of `Windows`.
        """
        parts = [part_of(corpus, split) for corpus in self.corpora]
        if len(parts) == 1:
            return Windows(parts[0], width, **options)
        groups = [(len(part), share) for part, share in zip(parts, self.shares, strict=True)]
        return Windows(JoinedSongs(parts), width, groups=groups, **options)

    def describe(self) -> list[dict[str, Any]]:
        """What a model's card says of each corpus, JSON values: its name, songs, share, terms."""
        rows = []
        for name, share, corpus in zip(self.names, self.shares, self.corpora, strict=True):
            row: dict[str, Any] = {"data": Path(name).name, "share": round(share, 3)}
            row |= {"songs": len(part_of(corpus, "train")), "terms": terms_of(name)}
            rows.append(row)
        return rows


def part_of(corpus: Corpus, split: str) -> Sequence[Song]:
    """The songs of a split; those of "train" where it has none."""
    return corpus.split(split).songs or corpus.split("train").songs


def shares_of(mix: str, count: int) -> list[float]:
    """The shares of so many corpora, together 1; OptionError where `mix` does not tell them."""
    words = mix.split(":") if mix else ["1"] * count
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(0 < number < float("inf") for number in numbers):
        raise OptionError(
            f"mix is {mix!r} for {count} corpora; give a number above 0 for each, like "
            f"{':'.join('1' * count)}"
        )
    return [number / sum(numbers) for number in numbers]


def terms_of(name: str) -> Any:
    """On which terms a corpus may be used, as far as it is known; "" where it is not."""
    licences = licence_of(name)
    if licences:
        return licences
    stem = Path(name).name
    for ending in ARCHIVES:
        stem = stem.removesuffix(ending)
    return CORPORA.get(stem, {}).get("credit", "")
