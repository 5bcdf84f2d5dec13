"""Is the candidate that a model holds likeliest the one that sounds most real? Against chance.

    python tests/benchmarks/ranking.py [--cells tiny] [--count 60] [--n 4] [--task "loop middle"]

A model composes each window n times. The discriminator's networks learn to tell the first
candidates from the real windows, and are asked about all candidates of songs that they did not
learn from: the lower the score, the more real. Of each window one candidate is chosen by a number
that the model tells of its own walk, the lowest or the highest:

- entropy, surprise: as `inpaint` gives them; also for each note composed;
- excess: surprise - entropy, how much odder it is than was to be expected;
- notes: how many there are, as a control.

A row gives the AUC (.5 = cannot be told from real) of what was chosen, its mean score less that of
all candidates with its 95 % interval over songs, and the mean rank correlation within a window of
number and score. "chance" is the first candidate.

It writes assets/reports/ranking.json; what was composed is kept in out/ranking. About five minutes
of a quiet core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claims import write
from scipy.stats import spearmanr
from three_readers import find_archive
from tqdm.auto import tqdm

from pomkit import data, files, inpaint, load_model
from pomkit.judge.discriminator import Verdict, read_states, score_states, tell_apart
from pomkit.judge.intervals import auc_over_songs, interval_of
from pomkit.judge.tasks import TASKS, TestWindow, held_out
from pomkit.music.pixels import BORDER, PITCHES
from pomkit.processes.checkpoint import card_path
from pomkit.processes.states import ONSET, encode_cells

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "out" / "ranking"
DRAWS = 200
VIEW = "region"


def composed(
    name: str, windows: list[TestWindow], masks: np.ndarray, n: int, key: str
) -> dict[str, np.ndarray]:
    """n candidates of each window, uint8 (windows, n, 128, width, 3), and what is told of them."""
    path = CACHE / f"{Path(name).stem}-{key}.npz"
    if path.is_file():
        return dict(np.load(path))
    model = load_model(name)
    found: dict[str, list[Any]] = {"pictures": [], "entropy": [], "surprise": []}
    for i, window in enumerate(tqdm(windows, mininterval=10)):
        made = inpaint(model, window.picture, masks[i], n=n, seed=i)
        found["pictures"].append(np.asarray(made))
        found["entropy"].append(made.entropy)
        found["surprise"].append(made.surprise)
    arrays = {key: np.array(values) for key, values in found.items()}
    files.write(path, partial(np.savez_compressed, **arrays))
    return arrays


def scored(verdict: Verdict, pictures: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The networks' log-odds of pictures (windows, 128, width, 3), float (windows,)."""
    first, columns = verdict.first[VIEW], verdict.states[VIEW].shape[-1]
    shown = read_states(pictures) & masks[:, None]
    states = torch.from_numpy(shown[..., BORDER : PITCHES - BORDER, first : first + columns])
    scores = np.zeros(len(pictures))
    for fold, network in enumerate(verdict.networks[VIEW]):
        here = verdict.folds == fold
        scores[here] = score_states(network, states[torch.from_numpy(here)])
    return scores


def notes_in(pictures: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Onsets in the masks of candidates (windows, n, 128, width, 3), float (windows, n)."""
    counts = [
        [(encode_cells(picture) >= ONSET)[mask].sum() for picture in candidates]
        for candidates, mask in zip(pictures, masks, strict=True)
    ]
    return np.maximum(np.array(counts, float), 1)


def over_songs(values: np.ndarray, songs: np.ndarray, seed: int) -> list[float]:
    """The mean of windows' values, and its interval over songs: [value, low, high]."""
    names = np.unique(songs)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(names), np.ones(len(names)) / len(names), DRAWS)
    counts = np.vstack([np.ones(len(names), int), weights])[:, np.searchsorted(names, songs)]
    means = counts @ values / np.maximum(counts.sum(1), 1)
    return [round(value, 3) for value in interval_of(means)]


def table(
    numbers: dict[str, np.ndarray], scores: np.ndarray, verdict: Verdict, songs: np.ndarray
) -> dict[str, Any]:
    """A row for each way to choose: its AUC, its score less the mean, its rank correlation."""
    real = verdict.scores[VIEW][0]
    each = np.arange(len(scores))
    rows: dict[str, Any] = {}
    for name, values in {"chance": np.zeros_like(scores), **numbers}.items():
        for end, sign in (("lowest", 1), ("highest", -1)):
            pick = (sign * values).argmin(axis=1)
            chosen = scores[each, pick]
            auc = auc_over_songs(real, chosen, songs, verdict.folds)
            row = {"AUC": [round(value, 3) for value in auc]}
            row["score - mean"] = over_songs(chosen - scores.mean(1), songs, 0)
            rows[f"{end} {name}" if name in numbers else name] = row
        if name in numbers:
            pairs = zip(values, scores, strict=True)
            ranks = np.nan_to_num([spearmanr(*pair)[0] for pair in pairs])
            rows[f"lowest {name}"]["rank correlation"] = over_songs(ranks, songs, 0)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", default="tiny")
    parser.add_argument("--count", type=int, default=60, help="windows")
    parser.add_argument("--n", type=int, default=4, help="candidates")
    parser.add_argument("--task", default="loop middle")
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "reports" / "ranking.json")
    o = parser.parse_args()
    began = time.process_time()
    songs = list(data.read_corpus(find_archive(o.archive), progress=False).split("valid").songs)
    width = TASKS[o.task].width or 256
    windows = held_out(songs, width, o.count, o.seed)
    masks = np.stack([TASKS[o.task].mask_of(w.song, w.start, width) for w in windows])
    _, names = np.unique([window.song.name for window in windows], return_inverse=True)

    weights = json.loads(card_path(o.cells).read_text())["sha256"]
    model = load_model(o.cells)
    usual = [model.usual_temperature, model.usual_warming]
    asked = json.dumps([weights, o.count, o.n, o.task, o.seed, *usual])
    key = hashlib.sha256(asked.encode()).hexdigest()[:16]
    made = composed(o.cells, windows, masks, o.n, key)
    pictures = made["pictures"]
    real = np.stack([window.picture for window in windows])
    verdict = tell_apart(real, masks, pictures[:, 0], names, views=[VIEW], seed=o.seed)
    scores = np.stack([scored(verdict, pictures[:, k], masks) for k in range(o.n)], axis=1)

    notes = notes_in(pictures, masks)
    numbers = {name: made[name] for name in ("entropy", "surprise")}
    numbers["excess"] = made["surprise"] - made["entropy"]
    numbers |= {f"{name} a note": made[name] / notes for name in ("entropy", "surprise")}
    rows = table(numbers | {"notes": notes}, scores, verdict, names)
    command = f"python tests/benchmarks/ranking.py --cells {o.cells} --count {o.count} --n {o.n}"
    command += f" --task '{o.task}' --seed {o.seed}"
    report = {"command": command, "split": "valid", "rows": rows}
    write(o.out, report | {"cpu_seconds": round(time.process_time() - began, 1)})
    for name, row in rows.items():
        print(f"{name:24}", row)


if __name__ == "__main__":
    main()
