"""Does a model's doubt find wrong notes? AUC over notes, by kind of mistake.

    python tests/benchmarks/doubt.py [models] [--count 48] [--exact 20] [--split valid]

Windows of held-out songs, 256 columns, with the annotated chords. In each, one note in twenty is
moved: by a semitone, by a step (a 16th), by an octave, up or down, to where nothing sounds. All
notes are then ordered by their doubt: 1 if every wrong note stands above every right one, .5 by
chance. The interval is over songs.

Beside it, on fewer windows as they are, what the few calls cost: the rank correlation of the
doubt of 8 calls with that of one note a call, the mean over windows, the least, and that of all
notes; and the doubt of a right note.

It writes assets/reports/doubt.json. A model takes about a minute of a quiet core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from claims import write
from scipy.stats import spearmanr
from three_readers import find_archive

from pomkit import Song, data, doubt, load_model, parse, render
from pomkit.judge.intervals import interval_of, rank_auc
from pomkit.judge.tasks import TestWindow, held_out
from pomkit.music.pixels import BORDER, PITCHES, row_of_pitch

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "assets" / "reports" / "doubt.json"
WIDTH = 256
SHARE = 0.05
DRAWS = 200
# Kind of mistake -> semitones, steps.
MISTAKES = {"a semitone": (1, 0), "a 16th": (0, 1), "an octave": (12, 0)}


def plant(
    picture: np.ndarray, mistake: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Move some notes of a picture: the new one, its notes, and which of them are wrong."""
    notes = parse(picture).notes.copy()
    wrong = np.zeros(len(notes), bool)
    semitones, steps = mistake
    sounds = picture[..., :2].any(axis=2)
    wanted = round(SHARE * len(notes))
    for i in rng.permutation(len(notes)):
        sign = rng.choice((-1, 1))
        pitch, onset = notes["pitch"][i] + sign * semitones, notes["onset"][i] + sign * steps
        stop = onset + notes["duration"][i]
        inside = BORDER <= pitch < PITCHES - BORDER and onset >= 0 and stop <= picture.shape[1]
        if wrong.sum() == wanted or not inside:
            continue
        # Its own cells do not count, and it shall not touch a note before or after it.
        there = sounds.copy()
        own = slice(notes["onset"][i], notes["onset"][i] + notes["duration"][i])
        there[row_of_pitch(notes["pitch"][i]), own] = False
        if not there[row_of_pitch(pitch), max(onset - 1, 0) : stop + 1].any():
            notes["pitch"][i], notes["onset"][i], wrong[i] = pitch, onset, True
            sounds = there
            sounds[row_of_pitch(pitch), onset:stop] = True

    planted = render(Song(notes), 0, picture.shape[1])
    for rows in (slice(0, BORDER), slice(PITCHES - BORDER, PITCHES)):
        planted[rows] = picture[rows]
    return planted, notes, wrong


def of_notes(bits: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """The doubt of each note, float (notes,)."""
    return bits[row_of_pitch(notes["pitch"]), notes["onset"]]


def auc_over_songs(scores: list[tuple[Any, np.ndarray, np.ndarray]], seed: int) -> list[float]:
    """AUC over all notes: [value, low, high], by draws of songs.

    Args:
        scores: of each window its song, the doubt of the right notes and of the wrong ones.
        seed: of the draws.
    """
    names = sorted({song for song, _, _ in scores})
    rng = np.random.default_rng(seed)
    draws = [names, *(rng.choice(names, len(names)).tolist() for _ in range(DRAWS))]
    found = []
    for chosen in draws:
        windows = [scores[i] for name in chosen for i in range(len(scores)) if scores[i][0] == name]
        right, wrong = (np.concatenate([w[side] for w in windows]) for side in (1, 2))
        found.append(rank_auc(right, wrong))
    return [round(value, 3) for value in interval_of(np.array(found))]


def find_mistakes(model: Any, windows: list[TestWindow], seed: int) -> dict[str, list[float]]:
    """AUC by kind of mistake."""
    rows = {}
    for kind, mistake in MISTAKES.items():
        scores = []
        for i, window in enumerate(windows):
            rng = np.random.default_rng((seed, i))
            picture, notes, wrong = plant(window.picture, mistake, rng)
            bits = of_notes(doubt(model, picture, seed=seed), notes)
            scores.append((window.song.name, bits[~wrong], bits[wrong]))
        rows[kind] = auc_over_songs(scores, seed)
        print(kind, rows[kind], flush=True)
    return rows


def compare_calls(model: Any, windows: list[TestWindow], seed: int) -> dict[str, Any]:
    """Few calls against one note a call: rank correlations, and the doubt of right notes."""
    pairs = []
    for window in windows:
        notes = parse(window.picture).notes
        few = of_notes(doubt(model, window.picture, seed=seed), notes)
        alone = of_notes(doubt(model, window.picture, calls=None, seed=seed), notes)
        pairs.append(np.stack([few, alone]))
    each = [float(spearmanr(*pair)[0]) for pair in pairs]
    few, alone = np.concatenate(pairs, axis=1)
    quartiles = np.quantile(alone, (0.25, 0.5, 0.75, 0.95))
    row = {
        "rank correlation, mean of windows": round(float(np.mean(each)), 3),
        "rank correlation, least of windows": round(min(each), 3),
        "rank correlation, all notes": round(float(spearmanr(few, alone)[0]), 3),
        "bits, 8 calls - one note a call": round(float((few - alone).mean()), 3),
        "bits of a note, quantiles .25 .5 .75 .95": quartiles.round(2).tolist(),
    }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=["tiny"])
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--count", type=int, default=48, help="windows with mistakes")
    parser.add_argument("--exact", type=int, default=20, help="windows with one note a call")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args()
    corpus = data.read_corpus(find_archive(o.archive), progress=False)
    songs = [song for song in corpus.split(o.split).songs if song.chords]
    windows = held_out(songs, WIDTH, o.count, o.seed)
    report = json.loads(REPORT.read_text()) if REPORT.is_file() else {}

    for name in o.models:
        began = time.process_time()
        model = load_model(name)
        command = f"python tests/benchmarks/doubt.py {name} --count {o.count} --exact {o.exact}"
        command += f" --split {o.split} --seed {o.seed}"
        row: dict[str, Any] = {"command": command, "windows": len(windows)}
        row["AUC over notes [value, low, high]"] = find_mistakes(model, windows, o.seed)
        row["few calls"] = compare_calls(model, windows[: o.exact], o.seed)
        row["cpu_seconds"] = round(time.process_time() - began, 1)
        report[f"{Path(name).stem}, {o.split}"] = row
        write(REPORT, report)


if __name__ == "__main__":
    main()
