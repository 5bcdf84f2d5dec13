"""Sliders and sketches: does the music follow what is asked for, and nothing else?

    python tests/benchmarks/sliders.py faders runs/faders/model
    python tests/benchmarks/sliders.py density tiny
    python tests/benchmarks/sliders.py sketch tiny
    python tests/benchmarks/sliders.py dae runs/dae/model
        [--count 48] [--archive pop909.tar.xz]

Windows of POP909's validation split.

- faders: each fader at nine positions from -2 to 2, the rest of a window's latents as encoded.
  Spearman's correlation of the position with its own attribute, and with the other one (the leak);
  the mean over windows, and pooled over them. Beside it the error of the reconstruction.
- density: the same for the option `density`, at nine values, of any model that has it.
- sketch: two bars composed anew, alone, with the rhythm of their melody, and with its contour:
  shares of windows in which rhythm and contour are kept, the F1 of the notes against the real
  ones, and the share of notes in the scale of the window.
- dae: the lit share against the threshold, that of the real cells, and how much ten candidates
  differ.

Each part writes assets/reports/sliders_PART.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from three_readers import find_archive
from tqdm.auto import tqdm

from pomkit import inpaint, load_model, masks, parse, rules
from pomkit.data.mixture import Mixture
from pomkit.files import write
from pomkit.ladder.autoencoder import FADERS, attributes
from pomkit.ladder.system import ROWS, cut_window, window_cells
from pomkit.music.tables import BAR
from pomkit.processes.states import ONSET
from pomkit.training import VALID_SEED

ROOT = Path(__file__).resolve().parents[2]
POSITIONS = np.linspace(-2, 2, 9)
DENSITIES = np.linspace(2, 34, 9)  # onsets in 16 steps
THRESHOLDS = np.linspace(0.05, 0.95, 19)
CANDIDATES = 10


def windows_of(args: argparse.Namespace, width: int) -> Any:
    """Validation windows."""
    mixture = Mixture(str(find_archive(args.archive)), "", False)
    return mixture.windows("valid", width, semitones=(0, 0), seed=VALID_SEED)


def report(part: str, rows: dict[str, Any]) -> None:
    """Print what was measured and write it down."""
    text = json.dumps({"command": shlex.join(sys.argv), **rows}, indent=1)
    print(text)
    write(ROOT / "assets" / "reports" / f"sliders_{part}.json", text.encode())


def correlations(positions: np.ndarray, got: np.ndarray) -> dict[str, Any]:
    """Spearman's correlation of positions (n,) with attributes (windows, n, 2)."""
    row: dict[str, Any] = {}
    for k, name in enumerate(FADERS):
        each = [spearmanr(positions, window[:, k]).statistic for window in got]
        pooled = spearmanr(np.tile(positions, len(got)), got[:, :, k].ravel()).statistic
        row[name] = {"mean": float(np.nanmean(each)), "pooled": float(pooled)}
        row[name]["values"] = got[:, :, k].mean(axis=0).round(3).tolist()
    return row


def faders(args: argparse.Namespace) -> None:
    """The two faders of a variational autoencoder."""
    model = load_model(args.model, "cpu")
    windows = windows_of(args, 64)
    cells = torch.from_numpy(
        np.stack([window_cells(windows[i].picture) for i in range(args.count)])
    )
    rows: dict[str, Any] = {}
    for name in FADERS:
        moved = [attributes(model.moved(cells, **{name: at})).numpy() for at in POSITIONS.tolist()]
        rows[name] = correlations(POSITIONS, np.stack(moved, axis=1))
    same = model.moved(cells)
    rows["lit"] = {
        "real": float((cells > 0).float().mean()),
        "made": float((same > 0).float().mean()),
    }
    rows["wrong cells"] = float((same != cells).float().mean())
    rows["bits a window"] = float(model.bits(cells, torch.Generator().manual_seed(0)).mean())
    report("faders", rows)


def density(args: argparse.Namespace) -> None:
    """The option `density` of `inpaint`, all cells composed anew."""
    model = load_model(args.model)
    windows = windows_of(args, max(model.width, 64))
    got = []
    for number in tqdm(range(args.count), "density"):
        picture = windows[number].picture
        mask = masks.everything(picture)
        made = []
        for value in DENSITIES.tolist():
            out = inpaint(model, picture, mask, seed=number, density=value)[0]
            made.append(attributes(torch.from_numpy(window_cells(out))[None])[0].numpy())
        got.append(made)
    report("density", correlations(DENSITIES, np.array(got)))


# Sketches


def melody_of(picture: np.ndarray, mask: np.ndarray) -> dict[int, int]:
    """The highest onset of each masked step: step -> pitch."""
    begins = (picture[..., 0] > 0) & mask
    return {
        int(step): int(127 - begins[:, step].argmax()) for step in np.flatnonzero(begins.any(0))
    }


def f1(one: np.ndarray, other: np.ndarray) -> float:
    """Of onsets, bool (128, width)."""
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))


def judge_sketch(real: np.ndarray, out: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """What was kept of the real melody."""
    wanted = melody_of(real, mask)
    made = melody_of(out, mask)
    common = [step for step in wanted if step in made]
    order = [np.sign(np.diff([of[step] for step in common])) for of in (wanted, made)]
    notes = parse(out).notes
    inside = notes[mask[127 - notes["pitch"], notes["onset"]]]
    classes = np.unique(parse(real).notes["pitch"] % 12)
    return {
        "rhythm kept": float(list(wanted) == list(made)),
        "contour kept": float(len(common) == len(wanted) and np.array_equal(*order)),
        "note F1": f1((real[..., 0] > 0) & mask, (out[..., 0] > 0) & mask),
        "in the window's pitch classes": float(np.isin(inside["pitch"] % 12, classes).mean()),
    }


def sketch(args: argparse.Namespace) -> None:
    """Rhythm and contour as rules."""
    model = load_model(args.model)
    windows = windows_of(args, model.width)
    rows: dict[str, list[dict[str, float]]] = {}
    for number in tqdm(range(args.count), "sketch"):
        picture = windows[number].picture
        mask = masks.bars(picture, 3, 4)
        mask[: ROWS.start] = False
        mask[ROWS.stop :] = False
        melody = melody_of(picture, mask)
        if len(melody) < 3 or max(melody) >= 4 * BAR:
            continue
        asked = {"none": None, "rhythm": rules.rhythm(melody), "contour": rules.contour(melody)}
        for name, rule in asked.items():
            out = inpaint(model, picture, mask, seed=number, rule=rule)[0]
            rows.setdefault(name, []).append(judge_sketch(picture, out, mask))
    means = {
        name: {key: float(np.nanmean([each[key] for each in found])) for key in found[0]}
        for name, found in rows.items()
    }
    report("sketch", means | {"windows": len(rows["none"])})


def dae(args: argparse.Namespace) -> None:
    """What a mean leaves of sparse notes."""
    model = load_model(args.model, "cpu")
    windows = windows_of(args, 64)
    lit = np.zeros((args.count, len(THRESHOLDS)))
    real = np.zeros(args.count)
    apart = np.zeros(args.count)
    for number in tqdm(range(args.count), "dae"):
        picture = cut_window(windows[number], np.random.default_rng(number)).picture
        mask = masks.bars(picture, 2, 3)
        inside = mask.copy()
        inside[: ROWS.start] = inside[ROWS.stop :] = False
        real[number] = (picture[inside] > 0).any(-1).mean()
        for k, threshold in enumerate(THRESHOLDS.tolist()):
            out = inpaint(model, picture, mask, seed=number, threshold=threshold)[0]
            lit[number, k] = (out[inside] > 0).any(-1).mean()
        several = inpaint(model, picture, mask, seed=number, n=CANDIDATES)
        cells = np.stack([window_cells(each) == ONSET for each in several])[:, :, 16:48]
        apart[number] = cells.std(axis=0).mean()
    rows = dict(zip(THRESHOLDS.round(2).tolist(), lit.mean(axis=0).round(5).tolist(), strict=True))
    spread = float(apart.mean())
    report("dae", {"lit by threshold": rows, "real": float(real.mean()), "spread": spread})


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Sliders and sketches, measured.")
    parts = {"faders": faders, "density": density, "sketch": sketch, "dae": dae}
    parser.add_argument("part", choices=parts)
    parser.add_argument("model", help="a name or a path")
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--archive", default=None)
    args = parser.parse_args()
    parts[args.part](args)


if __name__ == "__main__":
    main()
