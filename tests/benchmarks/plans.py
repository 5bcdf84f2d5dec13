"""Does music keep the plan that it is given: a skeleton, a form, a texture?

    python tests/benchmarks/plans.py --cascade runs/cascade/model.safetensors
        --texture runs/texture/model.safetensors [--count 24] [--split test]

Of songs held back, 32 bars each:

- "kept": the share of a skeleton's notes that stand in the music which the cascade composes to it:
  that of the song itself; with the skeleton hidden (method flat) it is chance;
- "form": a form A A B A of four bars each is copied from the song's skeleton and composed. Two
  phrases are as alike as the F1 of their onsets, by step and pitch: pairs A-A, pairs A-B, and the
  same pairs in flat music of the same song's first phrase;
- "texture": the correlation of the onsets a step asked for and got, the accompaniment's and
  melody's pitches all new: with the texture told, and not told.

The rows go to assets/reports/plans.json; what another command wrote there stays.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from three_readers import find_archive
from tqdm.auto import tqdm

from pomkit import inpaint, load_model, masks
from pomkit.data.mixture import Mixture
from pomkit.files import write
from pomkit.ladder.cascade import in_form, kept_share, skeleton
from pomkit.ladder.system import ONSET, window_cells
from pomkit.ladder.texture import agreement, texture_of
from pomkit.music.tables import BAR

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "assets" / "reports" / "plans.json"
SONG = 32 * BAR
FORM = "AABA"
PHRASE = 4  # bars


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """The F1 of the onsets of two phrases, cells (64, width)."""
    both = ((one == ONSET) & (other == ONSET)).sum()
    return float(2 * both / max((one == ONSET).sum() + (other == ONSET).sum(), 1))


def likeness(cells: np.ndarray) -> dict[str, float]:
    """How alike the pairs of phrases with the same letter, and with others, are."""
    width = PHRASE * BAR
    phrases = [cells[:, i * width : (i + 1) * width] for i in range(len(FORM))]
    same, other = [], []
    for i, j in combinations(range(len(FORM)), 2):
        (same if FORM[i] == FORM[j] else other).append(alike(phrases[i], phrases[j]))
    return {"A-A": float(np.mean(same)), "A-B": float(np.mean(other))}


def judge_cascade(model: Any, windows: Any, count: int) -> dict[str, float]:
    """The share of kept notes, and the likeness of phrases."""
    rows: dict[str, list[float]] = {}
    for number in tqdm(range(count), "cascade"):
        picture = windows[number].picture
        bones = skeleton(window_cells(picture))
        everything = masks.everything(picture)
        for method, asked in (("cascade", {"skeleton": bones}), ("flat", {})):
            out = inpaint(model, picture, everything, method=method, seed=number, **asked)
            got = skeleton(window_cells(out[0]))
            rows.setdefault(f"kept, {method}", []).append(kept_share(bones, got))

        # The form: one phrase is known, the others are written.
        form = in_form(bones, FORM, PHRASE)
        width = form.shape[1] * BAR // 2
        known = picture[:, :width]
        later = masks.continuation(known, PHRASE * BAR)
        for method, asked in (("cascade", {"skeleton": form}), ("flat", {})):
            out = inpaint(model, known, later, method=method, seed=number, **asked)
            for pair, value in likeness(window_cells(out[0])).items():
                rows.setdefault(f"{pair}, {method}", []).append(value)
    return {name: float(np.mean(values)) for name, values in rows.items()}


def judge_texture(model: Any, windows: Any, count: int) -> dict[str, float]:
    """The correlation of the texture asked for and got, told and not told."""
    rows: dict[str, list[float]] = {"told": [], "not told": []}
    for number in tqdm(range(count), "texture"):
        picture = windows[number].picture[:, : 8 * BAR]
        asked = texture_of(window_cells(picture))
        mask = masks.everything(picture)
        for name, wish in (("told", {"texture": asked}), ("not told", {})):
            out = inpaint(model, picture, mask, seed=number, **wish)
            rows[name].append(agreement(asked, texture_of(window_cells(out[0]))))
    return {name: float(np.mean(values)) for name, values in rows.items()}


def main() -> int:
    """Print the table and write it."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--cascade", default="")
    p.add_argument("--texture", default="")
    p.add_argument("--count", type=int, default=24)
    p.add_argument("--split", default="test")
    p.add_argument("--archive", type=Path)
    o = p.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)

    windows = Mixture(str(find_archive(o.archive)), progress=False).windows(
        o.split, SONG, semitones=(0, 0)
    )
    command = shlex.join(["python", *sys.argv])
    report = json.loads(REPORT.read_text()) if REPORT.is_file() else {}
    for name, judge in (("cascade", judge_cascade), ("texture", judge_texture)):
        if getattr(o, name):
            row = judge(load_model(getattr(o, name), "cpu"), windows, o.count)
            print(name, {key: round(value, 3) for key, value in row.items()})
            report[name] = {"command": command, "songs": o.count, **row}
    write(REPORT, json.dumps(report, indent=1).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
