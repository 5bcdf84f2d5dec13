"""How fast files are read and drawn, beside pretty_midi and symusic.

All is done in one process, over the whole POP909 archive.

    python tests/benchmarks/reading_speed.py [--archive pop909.tar.xz] [--songs 879]

The archive is unpacked into memory first. Every song then goes through three readers:

(a) pomkit.read_midi, and pomkit.render of the whole song;
(b) pretty_midi.PrettyMIDI, and get_piano_roll(fs=8);
(c) symusic's Score.from_midi, and its piano roll on the same grid.

They take turns song by song, so that whatever else the machine does falls on all three alike.
Processor time is taken: the best of five runs a song for (a) and (c), the only one for (b). Then
comes pomkit.render(song, start, 512) of loaded songs.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import symusic

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from three_readers import find_archive, midi_in  # noqa: E402

import pomkit  # noqa: E402

WINDOWS = 5000


def ours(data: bytes) -> Any:
    return pomkit.render(pomkit.read_midi(data))


def prettys(data: bytes) -> Any:
    return pretty_midi.PrettyMIDI(io.BytesIO(data)).get_piano_roll(fs=8)


def symusics(data: bytes) -> Any:
    score = symusic.Score.from_midi(data).resample(4)
    return score.pianoroll(modes=["onset", "frame"], pitch_range=[0, 128], encode_velocity=True)


def seconds(job: Callable[[bytes], Any], data: bytes, times: int = 1) -> float:
    """Processor time of the shortest of so many runs."""
    took = []
    for _ in range(times):
        start = time.process_time()
        job(data)
        took.append(time.process_time() - start)
    return min(took)


def window_seconds(songs: list[pomkit.Song]) -> list[float]:
    """Processor time to draw each of `WINDOWS` windows of 512 columns."""
    rng = np.random.default_rng(0)
    took = []
    for i in range(WINDOWS):
        song = songs[i % len(songs)]
        start = int(rng.integers(0, max(song.end - 512, 1)))
        began = time.process_time()
        pomkit.render(song, start, 512)
        took.append(time.process_time() - began)
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    archive = "pop909.tar.xz (else: in POMKIT_DATA, or shared/data)"
    parser.add_argument("--archive", type=Path, help=archive)
    parser.add_argument("--songs", type=int, help="only the first so many")
    a = parser.parse_args()
    warnings.simplefilter("ignore")
    files = list(midi_in(find_archive(a.archive)).values())[: a.songs]
    for job in (ours, prettys, symusics):
        job(files[0])  # imports, first calls
    rows = []
    for f in files:
        rows.append((seconds(ours, f, 5), seconds(prettys, f), seconds(symusics, f, 5)))
    took = np.sum(rows, axis=0)
    size = sum(map(len, files)) / 1e6
    print(f"{len(files)} songs, {size:.1f} MB, read and drawn, seconds of processor time:")
    for label, total in zip(("pomkit", "pretty_midi", "symusic"), took, strict=True):
        print(f"  {label:12} {total:8.3f}   {total / took[0]:7.2f} times pomkit's")
    songs = [pomkit.read_midi(f) for f in files[:200]]
    median = float(np.median(window_seconds(songs))) * 1e6
    claims = {
        "at least 40 times faster than pretty_midi": took[1] >= 40 * took[0],
        "within 4 times of symusic": took[0] <= 4 * took[2],
        "a window of 512 columns in under 100 microseconds (median)": median < 100,
    }
    print(
        f"  a window of 512 columns from a loaded song: {median:.0f} microseconds, "
        f"median of {WINDOWS}"
    )
    for claim, holds in claims.items():
        print(f"  {'holds' if holds else 'FAILS'}: {claim}")
    return not all(claims.values())


if __name__ == "__main__":
    sys.exit(main())
