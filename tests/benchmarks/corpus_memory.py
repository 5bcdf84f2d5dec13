"""Memory and speed of building a corpus of many files: 20,000 different ones, made from the shipped songs, read with out=.

Run by hand: python tests/benchmarks/corpus_memory.py [--files 20000] [--workers 2] [--tar]. Prints the memory of all
processes together (proportional set size, so that what processes share counts once) at every tenth of the way, its peak, and
files per second; then the same for opening the result and drawing 1,000 windows from it. Linux only; needs psutil.
"""

import argparse
import itertools
import struct
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from pomkit import Song, data, read_midi


def copies(songs: list[Song], count: int, folder: Path) -> None:
    """Files that all differ: a song transposed by -6 to 5 semitones, moved by whole bars, one note made longer."""
    for i, song in zip(range(count), itertools.cycle(songs), strict=False):
        n = song.notes.copy()
        n["onset"] += 16 * (i % 7)
        n["pitch"] = np.clip(n["pitch"] + i // len(songs) % 12 - 6, 0, 127)
        n["duration"][i % len(n)] += 1 + i // 97
        path = folder / f"{i // 1000:03}" / f"{i:06}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(midi_bytes(n))


def midi_bytes(n: np.ndarray) -> bytes:
    """The notes as a MIDI file of one track, all deltas four bytes long: made with arrays, because 20,000 are wanted."""
    tick = np.concatenate([n["onset"] + n["duration"], n["onset"]]) * 120  # the ends first
    velocity = np.concatenate([0 * n["velocity"], n["velocity"]])
    order = np.argsort(tick, kind="stable")
    delta = np.diff(tick[order], prepend=0)
    columns = [
        128 | delta >> 21,
        128 | delta >> 14 & 127,
        128 | delta >> 7 & 127,
        delta & 127,
        np.full(len(delta), 0x90),
        np.tile(n["pitch"], 2)[order],
        velocity[order],
    ]
    track = np.stack(columns, axis=1).astype(np.uint8).tobytes() + bytes([0, 0xFF, 0x2F, 0])
    return (
        b"MThd"
        + struct.pack(">IHHH", 6, 0, 1, 480)
        + b"MTrk"
        + struct.pack(">I", len(track))
        + track
    )


class Watch(threading.Thread):
    """Samples, every .2 s, the memory in bytes of this process and its children: (seconds, main, all)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, int, int]] = []
        self.running, self.started = True, time.perf_counter()

    def run(self) -> None:
        main = psutil.Process()
        while self.running:
            sizes = []
            for process in (main, *main.children(recursive=True)):
                try:
                    sizes.append(process.memory_full_info().pss)
                except psutil.Error:
                    continue
            self.samples.append((time.perf_counter() - self.started, sizes[0], sum(sizes)))
            time.sleep(0.2)

    def stop(self) -> np.ndarray:
        self.running = False
        self.join()
        return np.array(self.samples)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--folder",
        type=Path,
        help="where the files are made and stay (default: a temporary folder)",
    )
    parser.add_argument(
        "--tar", action="store_true", help="read them out of one .tar.gz instead of a folder"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        songs = [read_midi(path) for path in data.songs().values()]
        if not (folder / "files").exists():
            copies(songs, options.files, folder / "files")
        source = folder / "files"
        if options.tar:
            source = folder / "files.tar.gz"
            with tarfile.open(source, "w:gz", compresslevel=1) as tar:
                tar.add(folder / "files", "files")
        watch = Watch()
        watch.start()
        started = time.perf_counter()
        corpus = data.read_corpus(source, workers=options.workers, out=folder / "corpus")
        took = time.perf_counter() - started
        curve = watch.stop()
        size = sum(p.stat().st_size for p in (folder / "corpus").iterdir())
        print(
            f"{corpus}: {took:.1f} s, {len(corpus.files) / took:.0f} files/s with {options.workers} workers; "
            f"{sum(1 for _ in (folder / 'corpus').glob('*.safetensors'))} shards, {size / 1e6:.0f} MB"
        )
        print(
            "memory in MB, this process / all:",
            ", ".join(
                f"{share:.0%} {main / 1e6:.0f}/{total / 1e6:.0f}"
                for share, (_, main, total) in (
                    (s, curve[int(s * (len(curve) - 1))]) for s in np.linspace(0, 1, 11)
                )
            ),
        )
        print(
            f"peak: this process {curve[:, 1].max() / 1e6:.0f} MB, all {curve[:, 2].max() / 1e6:.0f} MB"
        )
        before = psutil.Process().memory_info().rss
        started = time.perf_counter()
        windows = data.Windows(data.Corpus.load(folder / "corpus").split("train").songs)
        opened = time.perf_counter() - started
        started = time.perf_counter()
        for i in range(1000):
            windows[i]
        print(
            f"opened, divided and all bars found in {opened:.1f} s; a window {time.perf_counter() - started:.2f} ms; "
            f"memory {before / 1e6:.0f} -> {psutil.Process().memory_info().rss / 1e6:.0f} MB (with mapped pages)"
        )


if __name__ == "__main__":
    main()
