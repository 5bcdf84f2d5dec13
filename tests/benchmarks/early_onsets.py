"""Does the paper's first drawing of onsets decide what RePaint's U does?

    python tests/benchmarks/early_onsets.py [--minutes 10] [--count 12] [--archive pop909.tar.xz]

In the paper an onset was first a pixel (255, 0, 0) in the column before its note ("early"),
here it is the note's own first pixel ("start"). The paper hears more notes with more U, our pixels
head fewer. So `tiny-edm-pixels` goes on from its weights on either kind of picture, for the same
CPU minutes and with the same windows, and composes the middle of held-out loops by RePaint with 20
levels. A region is one column longer to the left for both, so that an early onset has room.

Writes assets/reports/early_onsets.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claims import PARTS, ROOT, Bench, Options, write
from three_readers import find_archive
from torch import Tensor

from pomkit import data, parse, render
from pomkit.processes.contract import Drawn
from pomkit.processes.edm import INK_THRESHOLD, Denoiser, to_picture
from pomkit.training import Trainer, TrainOptions

START = "tiny-edm-pixels"
STYLES = ("start", "early")
TIMES = (1, 2, 4)
TASK = "loop middle"


def early_of(picture: np.ndarray) -> np.ndarray:
    """The same music with early onsets, uint8 (128, width, 3)."""
    return render(parse(picture), 0, picture.shape[1], onsets="early")


class EarlyDenoiser(Denoiser):
    """The pixels head on pictures with early onsets; from outside it takes and gives ours."""

    def encode(self, canvas: np.ndarray) -> Tensor:
        return super().encode(np.stack([early_of(picture) for picture in canvas]))

    def decode(self, x: Tensor, canvas: np.ndarray, region: np.ndarray) -> Drawn:
        drawn = []
        for picture, known in zip(to_picture(x), canvas, strict=True):
            song = parse(picture, onsets="early", threshold=INK_THRESHOLD)
            ours = render(song, 0, picture.shape[1])
            drawn.append((np.where(region[..., None], ours, known), 0))
        return drawn

    def example(self, window: Any, u: float, rng: Any, options: Any) -> dict[str, Any]:
        return super().example(window._replace(picture=early_of(window.picture)), u, rng, options)


class OneColumnMore(Bench):
    """A bench whose regions reach one column further to the left."""

    def compose(self, task: str, which: str, options: Options) -> tuple[np.ndarray, np.ndarray]:
        windows, regions, count = self.task(task)
        wider = regions | np.roll(regions, -1, axis=2)
        self.tasks[task] = windows, wider, count
        made = super().compose(task, which, options)
        self.tasks[task] = windows, regions, count
        return made


def trained(style: str, archive: Path, minutes: float, out: Path) -> Path:
    """The checkpoint of some minutes more on pictures of a style."""
    torch.set_num_threads(1)
    run = out / style
    options = TrainOptions(
        data=str(archive),
        out=str(run),
        process="edm",
        head="pixels",
        init=START,
        minutes=minutes,
        warmup=50,
        lr=5e-4,
        batch=16,
        precision="bf16",
        sample_every=10**6,
        save_every=100,
        threads=1,
        seed=3,
    )
    trainer = Trainer(options, resume=(run / "state.safetensors").exists())
    if style == "early":
        for model in (trainer.model, trainer.ema):
            model.__class__ = EarlyDenoiser
    return trainer.run()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10, help="CPU minutes of training")
    parser.add_argument("--count", type=int, default=12, help="windows")
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "early-onsets")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "reports")
    o = parser.parse_args()
    archive = find_archive(o.archive)
    names = {style: str(trained(style, archive, o.minutes, o.runs)) for style in STYLES}

    songs = list(data.read_corpus(archive, progress=False).split("valid").songs)
    bench = OneColumnMore(songs, [], {"cells": "tiny"} | names, o.count, o.seed)
    bench.models["early"].__class__ = EarlyDenoiser
    rows: dict[str, tuple[str, Options]] = {}
    for style in STYLES:
        walk = {"method": "repaint", "steps": 20}
        rows[style] = (style, walk)
        rows |= {f"{style}, U {U}": (style, walk | {"U": U}) for U in TIMES[1:]}
    PARTS["early"] = ((TASK,), rows, "start")
    command = f"python tests/benchmarks/early_onsets.py --minutes {o.minutes:g} --count {o.count}"
    report = {"command": f"{command} --seed {o.seed}", "split": "valid"}
    write(o.out / "early_onsets.json", report | bench.part("early"))


if __name__ == "__main__":
    main()
