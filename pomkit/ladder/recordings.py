"""Recordings: windows of songs with their sound, synthesised once, so that training need not wait.

    python -m pomkit.ladder.recordings --data pop909 --out runs/sounds.safetensors

Of every song of the training and validation splits a few windows are played by pomkit's own
synthesiser (`sound.sound_of`) and kept as cells and log-mel spectrograms. A system that learns from
sound takes a recording of the song that a training window is of, or, where there is none, has the
window played on the spot, which is slow.

    recordings = open_recordings("runs/sounds.safetensors")
    take = recordings.draw("001.mid", rng)        # cells (64, 128), mel (80, 512)

The file is mapped into memory and its parts are read when they are asked for. The law: a take is
what playing its window gives, rounded to 16 bits.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from tqdm.auto import tqdm

from ..data.mixture import Mixture, part_of
from ..data.reading import read_corpus
from ..data.windows import Window, Windows
from ..errors import OptionError, check_whole, exit_code
from ..files import AnyPath, assets_dir, write
from ..music.song import Song
from ..play.audio import sound_name
from .sound import FRAMES, USUAL_SCALE, MelScale, mel_of
from .system import WINDOW, window_cells

RECORDINGS_FORMAT = {"format": "pomkit recordings", "version": "1"}
# Of all spectrograms together.
MOST_BYTES = 2**29
# A recording is two windows of a system long: the second one has a past.
RECORDED = 2 * WINDOW  # columns


class Recording(NamedTuple):
    """A window and what it sounds like.

    Attributes:
        cells: int64 (64, width).
        mel: float32 (bins, 4 width), in [-1, 1].
    """

    cells: np.ndarray
    mel: np.ndarray

    def part(self, start: int, width: int = WINDOW) -> "Recording":
        """Columns of it; where it ends before, there is silence."""
        missing = max(start + width - self.cells.shape[1], 0)
        cells = np.pad(self.cells, ((0, 0), (0, missing)))
        mel = np.pad(self.mel, ((0, 0), (0, FRAMES * missing)), constant_values=-1)
        frames = slice(FRAMES * start, FRAMES * (start + width))
        return Recording(cells[:, start : start + width], mel[:, frames])


def play(window: Window, scale: MelScale = USUAL_SCALE) -> Recording:
    """Play a window now."""
    return Recording(window_cells(window.picture), mel_of(window.picture, scale))


class Recordings:
    """A file of recordings.

    Attributes:
        scale: the mel scale of its spectrograms.
        sound: what played them, for people.
        songs: of each take the name of its song.
    """

    def __init__(self, path: AnyPath) -> None:
        """Open a file.

        Args:
            path: of the file.

        Raises:
            OptionError: there is none, or it holds no recordings.
        """
        # Mapped: nothing is read yet but the texts.
        try:
            self._file: Any = safe_open(path, "np")
            texts = self._file.metadata() or {}
            names = json.loads(texts["songs"])
            scale = json.loads(texts["scale"])
            known = texts["format"] == RECORDINGS_FORMAT["format"]
        except (OSError, SafetensorError, KeyError, ValueError) as fault:
            reason = str(fault)[:80]
            raise OptionError(
                f"{path} holds no recordings ({reason}); make a file of them with "
                "python -m pomkit.ladder.recordings"
            ) from fault
        if not known:
            raise OptionError(
                f"{path} holds no recordings; give what pomkit.ladder.recordings made"
            )

        self.scale = MelScale.from_dict(scale)
        self.sound = texts["sound"]
        self.songs: list[str] = names

        # Which takes each song has.
        self._takes: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            self._takes.setdefault(name, []).append(number)

    def __len__(self) -> int:
        return len(self.songs)

    def __getitem__(self, number: int) -> Recording:
        if not 0 <= number < len(self):
            # That is how a loop over them ends.
            raise IndexError(f"take {number} of {len(self)}")
        cells = self._file.get_slice("cells")[number : number + 1][0]
        mel = self._file.get_slice("mel")[number : number + 1][0]
        return Recording(cells.astype(np.int64), mel.astype(np.float32))

    def __contains__(self, song: str) -> bool:
        return song in self._takes

    def draw(self, song: str, rng: np.random.Generator) -> Recording:
        """One of the takes of a song, which must have some."""
        return self[int(rng.choice(self._takes[song]))]


@lru_cache(maxsize=4)
def open_recordings(path: str) -> Recordings:
    """The recordings of a file, opened once; OptionError."""
    return Recordings(path)


def take_of(
    window: Window, rng: np.random.Generator, path: str, scale: MelScale = USUAL_SCALE
) -> Recording:
    """A take of the song that a training window is of: a recording, or the window played now.

    Args:
        window: any width.
        rng: chooses one of the song's recordings.
        path: of a file of recordings; "": there is none.
        scale: the mel scale that is wanted.

    Raises:
        OptionError: the file holds no recordings, or on another scale.
    """
    if not path:
        return play(window, scale)
    recordings = open_recordings(path)
    if recordings.scale != scale:
        raise OptionError(
            f"{path} holds spectrograms of {recordings.scale}, and this model wants {scale}; "
            "record the songs again"
        )
    return recordings.draw(window.song, rng) if window.song in recordings else play(window, scale)


def record(
    songs: Iterable[Song], each: int, path: AnyPath, *, scale: MelScale = USUAL_SCALE, seed: int = 0
) -> Recordings:
    """Play some windows of every song and write them to a file.

    Args:
        songs: with any number of notes; those without are left out.
        each: windows of a song.
        path: of the file.
        scale: which mel bins are kept.
        seed: says which windows.

    Returns:
        The recordings, opened.

    Raises:
        OptionError: they would be too large, or no song has notes.
    """
    check_whole("windows of each song", each, 1, 1000)
    cells: list[np.ndarray] = []
    mels: list[np.ndarray] = []
    names: list[str] = []
    for number, song in enumerate(songs):
        for window in windows_of(song, each, seed=seed, first=number * each):
            take = play(window, scale)
            cells.append(take.cells.astype(np.int8))
            mels.append(take.mel.astype(np.float16))
            names.append(window.song)
            check_size(len(mels) * mels[0].nbytes)
    if not names:
        raise OptionError("no song has notes; give others")

    tensors = {"cells": np.stack(cells), "mel": np.stack(mels)}
    texts = {"songs": json.dumps(names), "scale": json.dumps(scale.to_dict())}
    write(path, save(tensors, RECORDINGS_FORMAT | texts | {"sound": sound_name()}))
    return Recordings(path)


def windows_of(song: Song, each: int, *, seed: int, first: int) -> Iterator[Window]:
    """Some windows of a song, at random bar lines and transposed; none of a song without notes.

    Args:
        song: the song.
        each: how many.
        seed: another one, other windows.
        first: the number of the first one.
    """
    if len(song.notes):
        windows = Windows([song], RECORDED, seed=seed)
        yield from (windows[first + i] for i in range(each))


def check_size(size: int) -> None:
    """Raise OptionError where the spectrograms, of so many bytes, become too large."""
    if size > MOST_BYTES:
        raise OptionError(
            f"the recordings pass {MOST_BYTES >> 20} MB; record fewer windows of each song"
        )


def songs_of(data: str) -> Sequence[Song]:
    """The songs of the training and validation splits; "": the shipped ones; raises as Mixture."""
    if not data:
        return list(read_corpus(assets_dir() / "songs", progress=False).songs)
    songs: list[Song] = []
    for corpus in Mixture(data).corpora:
        songs += part_of(corpus, "train")
        songs += part_of(corpus, "valid")
    return songs


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: record a corpus; the exit code is 2 where the input is bad."""
    p = argparse.ArgumentParser(
        "python -m pomkit.ladder.recordings",
        description="Play windows of songs once, for systems that learn from sound.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    p.add_argument("--data", default="", help="a corpus, as in pomkit.train; none: shipped songs")
    p.add_argument("--out", default="runs/sounds.safetensors", help="the file")
    p.add_argument("--each", type=int, default=2, help="windows of each song")
    p.add_argument("--bins", type=int, default=USUAL_SCALE.bins, help="mel bins")
    p.add_argument("--seed", type=int, default=0, help="says which windows")
    o = p.parse_args(arguments)

    def work() -> None:
        songs = tqdm(songs_of(o.data), "playing songs")
        scale = MelScale(o.bins)
        recordings = record(songs, o.each, o.out, scale=scale, seed=o.seed)
        print(f"{len(recordings)} recordings by {recordings.sound} in {o.out}")

    return exit_code("pomkit.ladder.recordings", work)


if __name__ == "__main__":
    sys.exit(main())
