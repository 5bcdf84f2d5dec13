"""Adversarial networks: are sparse pictures why they go black, do they collapse, do they listen?

    python tests/benchmarks/gans.py sparsity [--minutes 8] [--dilate -2 6 64]
    python tests/benchmarks/gans.py wgan MODEL ...
    python tests/benchmarks/gans.py midinet MODEL ...
    python tests/benchmarks/gans.py musegan MODEL
        [--count 256] [--archive pop909.tar.xz] [--out runs/sparsity]

Windows of 64 x 64 of POP909: training windows for "sparsity", else those of the validation split.

- sparsity: the same WGAN trained on notes that are shortened or prolonged by so many steps, so that
  3.7, 12 and 23 % of the cells are lit (as they are: 5.8 %), for so many CPU minutes each. At every
  saved state, the lit share of 64 samples: if sparsity is what makes them black, only the first
  goes black. Draws out/sparsity.png. An interrupted run goes on.
- wgan: of samples and real windows the lit share and the mean distance of two of them (a sample set
  that has collapsed has under half of the real one); and what the critic thinks of real windows as
  they are, and blurred over 3 and 5 cells: it should fall.
- midinet: semitones across the bar line, of the real melody, of the one that is made, and of one
  that is made to another bar; and how many cells differ between these two. Models with and without
  `context` stand side by side.
- musegan: the lit share of each track, made and real; and the tonal distance of pairs of tracks: of
  the same sample, of two different samples, and of real windows.

Each part writes assets/reports/gan_PART.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from three_readers import find_archive
from torch.utils.data import default_collate

from pomkit import load_model
from pomkit.data.mixture import Mixture
from pomkit.files import write
from pomkit.ladder.gan import known_planes, shares
from pomkit.ladder.tracks import TRACKS, tonal_distance
from pomkit.training import VALID_SEED, Trainer, TrainOptions, TrainSet

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 64


def report(part: str, rows: dict[str, Any]) -> None:
    """Print what was measured and write it down."""
    text = json.dumps({"command": shlex.join(sys.argv), **rows}, indent=1)
    print(text)
    write(ROOT / "assets" / "reports" / f"gan_{part}.json", text.encode())


def batch_of(model: Any, archive: Path, count: int) -> dict[str, torch.Tensor]:
    """Validation examples of a model, collated."""
    windows = Mixture(str(archive), "", False).windows(
        "valid", 64, semitones=(0, 0), seed=VALID_SEED
    )
    items = TrainSet(windows, model, count, TrainOptions(process=model.process))
    return default_collate([items[i] for i in range(count)])


# Sparsity


def lit_share(model: Any) -> float:
    """The share of sounding cells in samples, always of the same latents."""
    z = torch.randn(SAMPLES, model.latent, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return float((model.network(z).argmax(1) > 0).float().mean())


def train_sparse(dilate: int, options: TrainOptions) -> dict[str, Any]:
    """Train one GAN, and take down the lit share at every saved state."""
    out = Path(options.out)
    log = out / "lit.json"
    resume = (out / "state.safetensors").exists()
    curve = json.loads(log.read_text()) if log.exists() else []
    trainer = Trainer(options, resume)
    save = trainer._save

    def save_and_look() -> None:
        save()
        curve.append((trainer.step, lit_share(trainer.model.eval()), lit_share(trainer.ema)))
        trainer.model.train()
        write(log, json.dumps(curve).encode())

    trainer._save = save_and_look
    if not trainer.is_over:
        trainer.run()
    real = [trainer.model.example(trainer.windows[i], 0.5, np.random.default_rng(i), options)
            for i in range(SAMPLES)]  # fmt: skip
    lit = float(np.mean([(each["cells"] > 0).mean() for each in real]))
    return {"dilate": dilate, "real": lit, "steps_lit_averaged": curve}


def sparsity(args: argparse.Namespace) -> None:
    """Three runs, one figure."""
    archive = find_archive(args.archive)
    rows = []
    for dilate in args.dilate:
        options = TrainOptions(
            data=str(archive), out=f"{args.out}/{dilate}", process="wgan", width=64, batch=16,
            minutes=args.minutes, threads=1, precision="bf16", lr=2e-3, warmup=20,
            save_every=100, sample_every=10**6, valid_windows=16,
            own={"loss": args.loss, "dilate": dilate},
        )  # fmt: skip
        rows.append(train_sparse(dilate, options))

    figure, axes = plt.subplots(figsize=(6, 3.5))
    for row in rows:
        steps, lit, _ = zip(*row["steps_lit_averaged"], strict=True)
        (line,) = axes.plot(steps, lit, label=f"{row['real']:.0%} lit")
        axes.axhline(row["real"], color=line.get_color(), linestyle=":")
    axes.set(xlabel="critic steps", ylabel="lit share of samples", ylim=(0, None))
    axes.legend(title="training windows (dotted)")
    (ROOT / "out").mkdir(exist_ok=True)
    figure.savefig(ROOT / "out" / "sparsity.png", dpi=150, bbox_inches="tight")
    report("sparsity", {"runs": rows})


# Samples


def distance(lit: torch.Tensor) -> float:
    """The mean share of cells in which two pictures differ, bool (n, 64, 64)."""
    flat = lit.flatten(1).float()
    apart = torch.cdist(flat, flat, p=1) / flat.shape[1]
    return float(apart.sum() / (len(flat) * (len(flat) - 1)))


@torch.no_grad()
def wgan(args: argparse.Namespace) -> None:
    """Lit share, distance, blur."""
    rows = {}
    for path in args.models:
        model = load_model(path, "cpu")
        batch = batch_of(model, find_archive(args.archive), args.count)
        real = batch["cells"] > 0
        made = model.network(batch["z"]).argmax(1) > 0
        row = {"own": model.own, "parameters": sum(p.numel() for p in model.parameters())}
        row |= {"lit": float(made.float().mean()), "lit_real": float(real.float().mean())}
        row |= {"apart": distance(made), "apart_real": distance(real)}
        planes = shares(batch["cells"])
        for size in (1, 3, 5):
            blurred = F.avg_pool2d(planes, size, 1, size // 2, count_include_pad=False)
            row[f"critic_blur_{size}"] = float(model.network.critic(blurred).mean())
        row["critic_made"] = float(model.network.critic(model.made(batch)).mean())
        rows[path] = row
    report("wgan", rows)


def edge_pitch(cells: torch.Tensor, last: bool) -> np.ndarray:
    """The pitch of the highest note that begins last, or first, in bars (n, 64, 16); NaN: none."""
    found = np.full(len(cells), np.nan)
    for i, bar in enumerate(cells.numpy() == 2):
        columns = np.flatnonzero(bar.any(axis=0))
        if len(columns):
            found[i] = 95 - bar[:, columns[-1 if last else 0]].argmax()
    return found


@torch.no_grad()
def midinet(args: argparse.Namespace) -> None:
    """Seams."""
    rows = {}
    for path in args.models:
        model = load_model(path, "cpu")
        batch = model.bars_of(batch_of(model, find_archive(args.archive), args.count))
        before = edge_pitch(batch["before"], last=True)
        bars = {"real": batch["cells"]}
        bars["made"] = model.bar(batch)
        foreign = {"before": batch["before"].roll(1, 0)}
        bars["made to another bar"] = model.bar(batch | foreign)

        row: dict[str, Any] = {"own": model.own}
        for name, each in bars.items():
            seam = np.abs(edge_pitch(each, last=False) - before)
            row[name] = {"seam": float(np.nanmean(seam)), "bars": int((~np.isnan(seam)).sum())}
            row[name]["onsets"] = float((each == 2).float().sum() / len(each))
        changed = bars["made"] != bars["made to another bar"]
        row["cells that hear the bar before"] = float(changed.float().mean())
        rows[path] = row
    report("midinet", rows)


def distances(tracks: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """The tonal distance of each pair of tracks, bool (n, 3, 64, 64), of one set and the other."""
    return {
        f"{TRACKS[a]}-{TRACKS[b]}": tonal_distance(tracks[:, a], other[:, b])
        for a, b in combinations(range(len(TRACKS)), 2)
    }


@torch.no_grad()
def musegan(args: argparse.Namespace) -> None:
    """Tracks."""
    rows = {}
    for path in args.models:
        model = load_model(path, "cpu")
        batch = batch_of(model, find_archive(args.archive), args.count)
        nothing = known_planes(batch["cells"], torch.zeros_like(batch["cells"], dtype=torch.bool))
        alone = torch.zeros_like(batch["which"])
        made = model.network(batch["z"], nothing, alone).argmax(2) > 0
        row: dict[str, Any] = {}
        for name, tracks in (("made", made), ("real", batch["tracks"] > 0)):
            lit = tracks.float().mean((0, 2, 3)).tolist()
            row[name] = {"lit": dict(zip(TRACKS, lit, strict=True))}
            row[name]["together"] = distances(tracks.numpy(), tracks.numpy())
            row[name]["mixed"] = distances(tracks.numpy(), tracks.roll(1, 0).numpy())
        rows[path] = row
    report("musegan", rows)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Adversarial networks, measured.")
    parser.add_argument("part", choices=["sparsity", "wgan", "midinet", "musegan"])
    parser.add_argument("models", nargs="*", help="paths of models")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--dilate", type=int, nargs="+", default=[-2, 6, 64])
    parser.add_argument("--loss", default="gp", help="sparsity: ns, clip or gp")
    parser.add_argument("--out", default="runs/sparsity")
    parser.add_argument("--archive", default=None)
    args = parser.parse_args()
    parts = {"sparsity": sparsity, "wgan": wgan, "midinet": midinet, "musegan": musegan}
    parts[args.part](args)


if __name__ == "__main__":
    main()
