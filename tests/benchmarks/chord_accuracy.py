"""How well chords and keys are estimated, against POP909's annotations, on one split.

    python tests/benchmarks/chord_accuracy.py [--archive pop909.tar.xz] [--split valid]

Chords: `Song.with_chords` (half bars) against `chord_midi.txt`, weighted by time, over the steps
that the annotation covers. Compared are root, thirds and majmin, as mir_eval.chord does it, without
the labels that a comparison leaves out; and the share of steps with the palette's exact label.

Keys: `estimate_key` against `key_audio.txt`, for songs of a single key.
"""

from __future__ import annotations

import argparse
import tarfile
from collections import Counter
from pathlib import Path

import mir_eval
import numpy as np
from three_readers import find_archive

from pomkit import Song, data
from pomkit.music.chords import reduce_chord
from pomkit.music.harmony import estimate_key


def same_label(known: list[str], found: list[str]) -> np.ndarray:
    """1 where the annotated label, reduced to the palette, is the estimated one, else 0."""
    pairs = zip(known, found, strict=True)
    return np.array([float(reduce_chord(k) == f) for k, f in pairs])


COMPARISONS = {
    "root": mir_eval.chord.root,
    "thirds": mir_eval.chord.thirds,
    "majmin": mir_eval.chord.majmin,
    "palette": same_label,
}


def label_pairs(songs: list[Song]) -> Counter[tuple[str, str]]:
    """How many steps have which annotated and which estimated label.

    Without an estimate the second is "N".
    """
    pairs: Counter[tuple[str, str]] = Counter()
    for song in songs:
        known = np.full(song.end, "", object)
        found = np.full(song.end, "N", object)
        for line, chords in ((known, song.chords), (found, song.with_chords().chords)):
            for onset, duration, label in chords:
                line[onset : onset + duration] = label
        pairs.update((k, f) for k, f in zip(known, found, strict=True) if k)
    return pairs


def accuracy(pairs: Counter[tuple[str, str]]) -> dict[str, float]:
    """Share of the steps that agree, for every comparison."""
    known, found = (list(side) for side in zip(*pairs, strict=True))
    steps = np.array(list(pairs.values()))
    shares = {}
    for name, compare in COMPARISONS.items():
        score = compare(known, found)
        counted = score >= 0  # mir_eval gives -1 to what it leaves out
        right = (score * steps)[counted].sum()
        shares[name] = float(right / steps[counted].sum())
    return shares


def keys(archive: Path, songs: list[Song]) -> tuple[int, int]:
    """How many songs of a single annotated key are estimated right, and how many there are."""
    right = total = 0
    names = {song.name: song for song in songs}
    with tarfile.open(archive) as tar:
        for member in tar:
            song = names.get(Path(member.name).parent.name)
            if song is None or not member.name.endswith("key_audio.txt"):
                continue
            lines = tar.extractfile(member).read().decode().splitlines()
            annotated = {line.split()[2] for line in lines if line.strip()}
            if len(annotated) == 1:
                root, mode = annotated.pop().split(":")
                root = reduce_chord(root + ":maj").split(":")[0]  # as pomkit spells it
                total += 1
                right += estimate_key(song.notes) == f"{root}:{mode}"
    return right, total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--split", default="valid", choices=data.SPLITS)
    options = parser.parse_args()
    archive = find_archive(options.archive)
    songs = list(data.read_corpus(archive, progress=False).split(options.split).songs)
    for name, share in accuracy(label_pairs(songs)).items():
        print(f"{options.split}: {name:8s} {100 * share:.1f} % of the time, {len(songs)} songs")
    right, total = keys(archive, songs)
    share = 100 * right / total
    print(
        f"{options.split}: key right in {right} of the {total} songs with a single one "
        f"({share:.0f} %)"
    )


if __name__ == "__main__":
    main()
