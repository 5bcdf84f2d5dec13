"""Memory and speed of building a corpus of many files.

    python tests/benchmarks/corpus_memory.py [--files 20000] [--workers 2] [--tar]

The files are all different; they are made from the shipped songs, and read with out=. Printed is
the memory of all processes together at every tenth of the way, its peak, and files per second;
then the same for opening the result and drawing 1,000 windows from it. The memory is the
proportional set size: what processes share counts once. Linux only; needs psutil.
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
    """Files that all differ.

    Each is a song, transposed by -6 to 5 semitones, moved by whole bars, with a longer note.
    """
    for i, song in zip(range(count), itertools.cycle(songs), strict=False):
        n = song.notes.copy()
        n["onset"] += 16 * (i % 7)
        n["pitch"] = np.clip(n["pitch"] + i // len(songs) % 12 - 6, 0, 127)
        n["duration"][i % len(n)] += 1 + i // 97
        path = folder / f"{i // 1000:03}" / f"{i:06}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(midi_bytes(n))


def midi_bytes(n: np.ndarray) -> bytes:
    """The notes as a MIDI file of one track, all deltas four bytes long.

    It is made with arrays, because 20,000 are wanted.
    """
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
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480)
    return header + b"MTrk" + struct.pack(">I", len(track)) + track


class Watch(threading.Thread):
    """Measures, every .2 s, the memory of this process and of its children.

    A sample is (seconds, bytes of this process, bytes of all).
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, int, int]] = []
        self.running = True
        self.started = time.perf_counter()

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
    temporary = "where the files are made and stay (default: a temporary folder)"
    parser.add_argument("--folder", type=Path, help=temporary)
    packed = "read them out of one .tar.gz instead of a folder"
    parser.add_argument("--tar", action="store_true", help=packed)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        source = make_files(folder, options.files, options.tar)
        measure_reading(source, folder / "corpus", options.workers)
        measure_windows(folder / "corpus")


def make_files(folder: Path, count: int, packed: bool) -> Path:
    """Make the files unless they are there; the folder or the archive to read."""
    songs = [read_midi(path) for path in data.songs().values()]
    if not (folder / "files").exists():
        copies(songs, count, folder / "files")
    if not packed:
        return folder / "files"

    archive = folder / "files.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(folder / "files", "files")
    return archive


def measure_reading(source: Path, out: Path, workers: int) -> None:
    """Read the files into a corpus; print its speed, and the memory on the way."""
    watch = Watch()
    watch.start()
    started = time.perf_counter()
    corpus = data.read_corpus(source, workers=workers, out=out)
    took = time.perf_counter() - started
    curve = watch.stop()

    megabytes = sum(p.stat().st_size for p in out.iterdir()) / 1e6
    shards = len(list(out.glob("*.safetensors")))
    speed = len(corpus.files) / took
    print(
        f"{corpus}: {took:.1f} s, {speed:.0f} files/s with {workers} workers; "
        f"{shards} shards, {megabytes:.0f} MB"
    )

    tenths = []
    for share in np.linspace(0, 1, 11):
        _, main, total = curve[int(share * (len(curve) - 1))]
        tenths.append(f"{share:.0%} {main / 1e6:.0f}/{total / 1e6:.0f}")
    print("memory in MB, this process / all:", ", ".join(tenths))
    _, main, total = curve.max(axis=0) / 1e6
    print(f"peak: this process {main:.0f} MB, all {total:.0f} MB")


def measure_windows(corpus: Path) -> None:
    """Open a corpus and draw 1,000 windows from it; print the times and the memory."""
    before = psutil.Process().memory_info().rss / 1e6
    started = time.perf_counter()
    windows = data.Windows(data.Corpus.load(corpus).split("train").songs)
    opened = time.perf_counter() - started

    started = time.perf_counter()
    for i in range(1000):
        windows[i]
    milliseconds = time.perf_counter() - started  # of one, as there are 1,000
    after = psutil.Process().memory_info().rss / 1e6
    print(
        f"opened, divided and all bars found in {opened:.1f} s; a window {milliseconds:.2f} ms; "
        f"memory {before:.0f} -> {after:.0f} MB (with mapped pages)"
    )


if __name__ == "__main__":
    main()
