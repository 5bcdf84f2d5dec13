"""Whether POP909's annotated bars and chords lie where the music changes: a figure a song, and a measurement over all.

Run by hand: python tests/benchmarks/annotation_plot.py [--songs 001 034 ...] [--out FOLDER] [--data ARCHIVE]. Draws the notes
of a stretch of each song with its bar lines and chord spans (chord tones shaded in their span), to be looked at. Over all songs
it prints how far annotated downbeats and chord changes lie from the nearest note onset, and which share of the sounding time is
of the chord that is written there, beside the same with the annotation moved by some steps: not moved should be best.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from pomkit import Song, data
from pomkit.music.chords import chord_tones


def draw(song: Song, start: int, width: int, path: Path) -> None:
    """Notes (grey), those of the chord written there in green, bar lines, chord spans with their tones shaded."""
    figure, ax = plt.subplots(figsize=(18, 7))
    n = song.notes[
        (song.notes["onset"] < start + width)
        & (song.notes["onset"] + song.notes["duration"] > start)
    ]
    low, high = int(n["pitch"].min()) - 2, int(n["pitch"].max()) + 2
    for onset, duration, label in song.chords:
        if onset + duration <= start or onset >= start + width:
            continue
        for pitch in range(low, high):
            if chord_tones(label)[1][pitch % 12]:
                ax.add_patch(
                    Rectangle((onset, pitch - 0.5), duration, 1, color="gold", alpha=0.25, lw=0)
                )
        ax.axvline(onset, color="tab:orange", lw=1, ls=":")
        if onset >= start:
            ax.text(onset + 0.3, high + 0.4, label, fontsize=8, rotation=30)
    for onset, duration, pitch, _, _ in n.tolist():
        tones = [chord_tones(label)[1] for a, d, label in song.chords if a <= onset < a + d]
        inside = bool(tones) and bool(tones[0][pitch % 12])
        ax.add_patch(
            Rectangle(
                (onset, pitch - 0.4), duration - 0.15, 0.8, color="tab:green" if inside else "0.35"
            )
        )
    for number, line in enumerate(song.bars, 1):
        if start <= line < start + width:
            ax.axvline(line, color="tab:blue", lw=1.5)
            ax.text(line, low - 0.4, str(number), color="tab:blue", fontsize=8, va="top")
    ax.set(xlim=(start, start + width), ylim=(low - 1, high + 1), ylabel="pitch", xlabel="step")
    about = f"{song.name}: {song.source_tempo:.0f} BPM in the file, bars of {song.meter}, phase {song.report.phase:.3f}"
    figure.suptitle(about, y=1.0)
    figure.savefig(path, dpi=75, bbox_inches="tight")
    plt.close(figure)


def distance(at: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    """Steps from each place, between the first and the last onset, to the nearest onset."""
    at = at[(at >= onsets[0]) & (at <= onsets[-1])]
    after = np.searchsorted(onsets, at).clip(1, len(onsets) - 1)
    return np.minimum(np.abs(at - onsets[after - 1]), np.abs(onsets[after] - at))


def in_chord(song: Song, shift: int) -> tuple[int, int]:
    """Sounding steps of notes on tones of the chord written there (moved by `shift` steps), and all that are under a chord."""
    end = song.end + abs(shift)
    tones, known = np.zeros((end, 12), bool), np.zeros(end, bool)
    for onset, duration, label in song.chords:
        root, bits = chord_tones(label)
        if root >= 0:
            span = slice(max(onset + shift, 0), max(onset + duration + shift, 0))
            tones[span], known[span] = bits, True
    n = song.notes
    step = (
        np.repeat(n["onset"], n["duration"])
        + np.arange(n["duration"].sum())
        - np.repeat(np.cumsum(n["duration"]) - n["duration"], n["duration"])
    )
    pitch = np.repeat(n["pitch"], n["duration"])
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
        draw(
            songs[name],
            bars[first],
            bars[first + options.bars] - bars[first],
            options.out / f"annotation_{name}.png",
        )
    for what in ("bars", "chords"):
        found = []
        for song in songs.values():
            at = (
                np.array(song.bars)
                if what == "bars"
                else np.array([c.onset for c in song.chords if c.label != "N"])
            )
            found.append(distance(at, np.unique(song.notes["onset"])))
        every = np.concatenate(found)
        shares = np.bincount(np.minimum(every, 4), minlength=5) / len(every)
        print(
            f"{what}: {len(every)} in {len(found)} songs; steps to the nearest onset: mean {every.mean():.3f}; "
            + ", ".join(f"{'>= 4' if i == 4 else i}: {share:.1%}" for i, share in enumerate(shares))
            + f"; songs with a mean above 1: {[n for n, d in zip(songs, found, strict=True) if d.mean() > 1]}"
        )
    shifts = (0, -8, -4, -2, -1, 1, 2, 4, 8)
    counts = np.array([[in_chord(song, shift) for shift in shifts] for song in songs.values()])
    share = counts[..., 0] / counts[..., 1]
    print(
        "share of the sounding time on tones of the chord written there, by the steps that the annotation is moved: "
        + ", ".join(
            f"{s}: {x:.4f}"
            for s, x in zip(shifts, counts[..., 0].sum(0) / counts[..., 1].sum(0), strict=True)
        )
    )
    best = np.array(shifts)[share.argmax(axis=1)]
    print(
        "best shift of a song:",
        {int(s): int((best == s).sum()) for s in shifts},
        "; better moved:",
        {n: int(b) for n, b, r in zip(songs, best, share, strict=True) if r.max() > r[0] + 0.02},
    )


if __name__ == "__main__":
    main()
