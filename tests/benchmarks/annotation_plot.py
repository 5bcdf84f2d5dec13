"""Whether POP909's annotated bars and chords lie where the music changes.

    python tests/benchmarks/annotation_plot.py [--songs 001 034 ...] [--out FOLDER] [--data ARCHIVE]

Draws the notes of a stretch of each song with its bar lines and chord spans, to be looked at; the
chord tones are shaded in their span. Over all songs it prints how far annotated downbeats and
chord changes lie from the nearest note onset. It also prints which share of the sounding time
belongs to the chord that is written there, with the annotation as it is and moved by some steps:
not moved should be best.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from pomkit import Song, data
from pomkit.music.chords import chord_tones

SHIFTS = (0, -8, -4, -2, -1, 1, 2, 4, 8)


def draw(song: Song, start: int, width: int, path: Path) -> None:
    """Draw notes, bar lines, and chord spans with their tones shaded.

    Notes are grey, and green where they belong to the chord that is written there.
    """
    figure, ax = plt.subplots(figsize=(18, 7))
    onset = song.notes["onset"]
    n = song.notes[(onset < start + width) & (onset + song.notes["duration"] > start)]
    low = int(n["pitch"].min()) - 2
    high = int(n["pitch"].max()) + 2
    for onset, duration, label in song.chords:
        if onset + duration <= start or onset >= start + width:
            continue
        for pitch in range(low, high):
            if chord_tones(label)[1][pitch % 12]:
                corner = (onset, pitch - 0.5)
                ax.add_patch(Rectangle(corner, duration, 1, color="gold", alpha=0.25, lw=0))
        ax.axvline(onset, color="tab:orange", lw=1, ls=":")
        if onset >= start:
            ax.text(onset + 0.3, high + 0.4, label, fontsize=8, rotation=30)
    for onset, duration, pitch, _, _ in n.tolist():
        tones = [chord_tones(label)[1] for a, d, label in song.chords if a <= onset < a + d]
        inside = bool(tones) and bool(tones[0][pitch % 12])
        colour = "tab:green" if inside else "0.35"
        ax.add_patch(Rectangle((onset, pitch - 0.4), duration - 0.15, 0.8, color=colour))
    for number, line in enumerate(song.bars, 1):
        if start <= line < start + width:
            ax.axvline(line, color="tab:blue", lw=1.5)
            ax.text(line, low - 0.4, str(number), color="tab:blue", fontsize=8, va="top")
    ax.set(xlim=(start, start + width), ylim=(low - 1, high + 1), ylabel="pitch", xlabel="step")
    about = (
        f"{song.name}: {song.source_tempo:.0f} BPM in the file, bars of {song.meter}, "
        f"phase {song.report.phase:.3f}"
    )
    figure.suptitle(about, y=1.0)
    figure.savefig(path, dpi=75, bbox_inches="tight")
    plt.close(figure)


def distance(at: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    """Steps from each place, between the first and the last onset, to the nearest onset."""
    at = at[(at >= onsets[0]) & (at <= onsets[-1])]
    after = np.searchsorted(onsets, at).clip(1, len(onsets) - 1)
    return np.minimum(np.abs(at - onsets[after - 1]), np.abs(onsets[after] - at))


def in_chord(song: Song, shift: int) -> tuple[int, int]:
    """How many sounding steps of notes are on tones of their chord, and are under a chord at all.

    `shift`: by so many steps the chords are moved.
    """
    end = song.end + abs(shift)
    tones = np.zeros((end, 12), bool)
    known = np.zeros(end, bool)
    for onset, duration, label in song.chords:
        root, bits = chord_tones(label)
        if root >= 0:
            span = slice(max(onset + shift, 0), max(onset + duration + shift, 0))
            tones[span] = bits
            known[span] = True

    # Every step of every note: the note's onset, and how many of its steps came before.
    n = song.notes
    length = n["duration"]
    first = np.repeat(np.cumsum(length) - length, length)
    step = np.repeat(n["onset"], length) + np.arange(length.sum()) - first
    pitch = np.repeat(n["pitch"], length)
    return int((tones[step, pitch % 12] & known[step]).sum()), int(known[step].sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--songs", nargs="*", default=["001", "008", "034", "088", "237", "819"])
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--data", default=None)
    parser.add_argument("--bars", type=int, default=12)
    parser.add_argument("--first", type=int, default=12, help="number of the first bar drawn")
    options = parser.parse_args()
    corpus = data.read_corpus(options.data or data.fetch("pop909"))
    songs = {song.name: song for song in corpus.songs}
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.songs:
        bars = songs[name].bars
        first = min(options.first, len(bars) - options.bars - 1)
        width = bars[first + options.bars] - bars[first]
        draw(songs[name], bars[first], width, options.out / f"annotation_{name}.png")
    print_distances("bars", songs, lambda song: song.bars)
    print_distances("chords", songs, chord_changes)
    print_shares(songs)


def chord_changes(song: Song) -> list[int]:
    """The steps at which chords begin, without those that say "no chord"."""
    return [chord.onset for chord in song.chords if chord.label != "N"]


def print_distances(
    what: str, songs: dict[str, Song], places_of: Callable[[Song], Sequence[int]]
) -> None:
    """Print how far places of the songs lie from the nearest note onset, in steps."""
    found = {}
    for name, song in songs.items():
        found[name] = distance(np.array(places_of(song)), np.unique(song.notes["onset"]))
    every = np.concatenate(list(found.values()))
    counts = np.bincount(np.minimum(every, 4), minlength=5)
    names = ("0", "1", "2", "3", ">= 4")
    shares = [f"{n}: {x:.1%}" for n, x in zip(names, counts / len(every), strict=True)]
    far = [name for name, steps in found.items() if steps.mean() > 1]
    print(
        f"{what}: {len(every)} in {len(found)} songs; steps to the nearest onset: "
        f"mean {every.mean():.3f}; {', '.join(shares)}; songs with a mean above 1: {far}"
    )


def print_shares(songs: dict[str, Song]) -> None:
    """Print the share of the sounding time on tones of its chord, by shifts of the annotation."""
    counts = []
    for song in songs.values():
        counts.append([in_chord(song, shift) for shift in SHIFTS])
    right, known = np.moveaxis(np.array(counts), -1, 0)  # (songs, shifts) each
    totals = zip(SHIFTS, right.sum(axis=0) / known.sum(axis=0), strict=True)
    print(
        "share of the sounding time on tones of the chord written there, by the steps that the "
        "annotation is moved: " + ", ".join(f"{shift}: {share:.4f}" for shift, share in totals)
    )

    # Songs whose annotation would fit better somewhere else.
    share = right / known
    best = np.array(SHIFTS)[share.argmax(axis=1)]
    songs_by_shift = {shift: int((best == shift).sum()) for shift in SHIFTS}
    better = share.max(axis=1) > share[:, 0] + 0.02
    moved = {name: int(best[i]) for i, name in enumerate(songs) if better[i]}
    print("best shift of a song:", songs_by_shift, "; better moved:", moved)


if __name__ == "__main__":
    main()
