"""How many notes models compose in the shipped songs where there were how many.

    python tests/benchmarks/shipped_songs.py [--models tiny,small] [--seeds 3] [--out FILE.json]
        [--memory]

Sparse songs, and songs in 3/4, are where models for full 4/4 pop fail. Each line of the table is a
song and a mask; a column is a model; a cell is notes composed / notes that were there, the mean
over the seeds, with the least and the most. The songs are unseen: no model learns from them, and
`pomkit.data.scores` leaves out their tunes. As a user asks: `compose`, no chords estimated, all
options as they are.

`--memory`: the melodies instead, four bars at a time, the rest of the melody known; with what the
song says elsewhere of these bars, and without it (`whole=False`). A line is four bars; at the end
the mean of |log2| of (notes composed + 1) / (notes that were there + 1).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import pomkit
from pomkit.music import masks
from pomkit.music.pixels import read_spans

# Song, words for the mask: those on which models failed first, then two in 4/4 as a control.
CASES = [
    ("amazing_grace", "melody"),
    ("amazing_grace", "bars:5-8"),
    ("satie_gymnopedie_1", "melody"),
    ("satie_gymnopedie_1", "accompaniment"),
    ("petzold_minuet_g", "melody"),
    ("petzold_minuet_g", "accompaniment"),
    ("auld_lang_syne", "melody"),
    ("auld_lang_syne", "bars:5-8"),
    ("ode_to_joy", "melody"),
    ("bach_prelude_c", "bars:5-8"),
]

# Songs whose melodies are composed four bars at a time.
MELODIES = (
    "auld_lang_syne",
    "amazing_grace",
    "ode_to_joy",
    "petzold_minuet_g",
    "satie_gymnopedie_1",
)
BARS = 4


def onsets(picture, mask):
    """How many notes begin in a mask."""
    return int((read_spans(picture).onset & mask).sum())


def measure(model, song, words, seeds):
    """Notes that were there, and those composed with each seed."""
    mask = masks.from_text(words, song)
    inside = mask & masks.everything(mask)
    there = onsets(pomkit.render(song, width=mask.shape[1]), inside)
    composed = []
    for seed in seeds:
        songs = pomkit.compose(model, song, mask, seed=seed)
        composed.append(onsets(songs.pictures[0], inside))
    return there, composed


def pieces(song):
    """Masks of a melody's bars, four at a time: (first bar, bool (128, width))."""
    melody = masks.from_text("melody", song)
    lines = song.bar_lines()
    columns = np.arange(melody.shape[1])
    for first in range(0, len(lines) - BARS, BARS):
        inside = (columns >= lines[first]) & (columns < lines[first + BARS])
        yield first + 1, melody & inside


def compare_memory(model, songs, seeds):
    """Print each piece of each melody, composed with and without memory, and how far off it is."""
    off = {"memory": [], "no memory": []}
    for name, song in songs.items():
        for first, mask in pieces(song):
            there = onsets(pomkit.render(song, width=mask.shape[1]), mask)
            if not there:
                continue
            said = [f"{name}, bars {first}-{first + BARS - 1}: {there} notes"]
            for row, options in (("memory", {}), ("no memory", {"whole": False})):
                made = [pomkit.compose(model, song, mask, seed=seed, **options) for seed in seeds]
                counts = [onsets(each.pictures[0], mask) for each in made]
                off[row] += [abs(np.log2((count + 1) / (there + 1))) for count in counts]
                said.append(f"{row} {np.mean(counts):.1f}")
            print("; ".join(said), flush=True)
    for row, values in off.items():
        print(f"{row}: mean |log2| {np.mean(values):.2f} of {len(values)} melodies of {BARS} bars")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--models", default="tiny,small,tiny-edm")
    p.add_argument("--seeds", type=int, default=3, help="seeds 1, 2, ...")
    p.add_argument("--out", help="write the numbers to this file, as JSON")
    p.add_argument("--memory", action="store_true", help="melodies with and without memory")
    o = p.parse_args()
    if o.memory:
        found = pomkit.data.songs()
        songs = {name: pomkit.read_midi(found[name]) for name in MELODIES}
        for name in o.models.split(","):
            print(name)
            compare_memory(pomkit.load_model(name), songs, range(1, o.seeds + 1))
        return

    names = o.models.split(",")
    columns = [Path(name).stem for name in names]
    seeds = range(1, o.seeds + 1)
    paths = pomkit.data.songs()
    rows = [{"song": song, "mask": words} for song, words in CASES]
    started = time.process_time()
    for name, column in zip(names, columns, strict=True):
        model = pomkit.load_model(name)
        for row in rows:
            song = pomkit.read_midi(paths[row["song"]])
            row["metre"] = song.meter
            row["there"], row[column] = measure(model, song, row["mask"], seeds)
            print(column, row["song"], row["mask"], row["there"], row[column], flush=True)

        # Of each model as soon as it is measured: another may take long.
        if o.out:
            found = {"seeds": list(seeds), "rows": rows}
            Path(o.out).write_text(json.dumps(found, indent=1) + "\n")

    print("| song | metre | mask | there |", *(f"{column} |" for column in columns))
    print("|---" * (4 + len(columns)) + "|")
    for row in rows:
        cells = []
        for column in columns:
            ratios = np.array(row[column]) / row["there"]
            cells.append(f"{ratios.mean():.2f} ({ratios.min():.2f}-{ratios.max():.2f}) |")
        print(f"| {row['song']} | {row['metre']} | {row['mask']} | {row['there']} |", *cells)
    print(f"{time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    main()
