"""Which form of a pair head says most of what a network of large tokens leaves unsaid.

    python tests/benchmarks/pair_trials.py [--model runs/before/model] [--steps 300] [--batch 8]
        [--archive pop909.tar.xz] [--out assets/reports]

A cells model without a pair head is held still. Beside it each form begins at zero and learns, all
of them on the same batches, each with its own optimiser. So what differs is the form alone.

Scored are, on validation windows that are the same for each form:

- the bits of a note where melodies are hidden, and where bars are;
- how likely a leap of 5 semitones and more is to the model from one note of a melody to the next,
  where the first of them is known and the second is hidden, beside how often there is one.

Forms: kernels of several sizes, one to three rounds; "not told": notes that were composed and notes
that were given sound alike to it.

Writes assets/reports/pair_trials.json.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claims import ROOT, write
from three_readers import find_archive
from torch import Tensor
from torch.utils.data import default_collate

from pomkit import data, load_model
from pomkit.data.mask_mix import MASK_MIX
from pomkit.processes import chain
from pomkit.processes.pairs import PairHead, Pairs
from pomkit.processes.states import ONSET
from pomkit.train import VALID_SEED
from pomkit.training import TrainOptions
from pomkit.training.examples import TrainSet

RATE = 3e-3
LEAP = 5
# Longer silences are no steps of a melody.
MOST_STEPS = 8
SHIPS = "25 x 33, two rounds, ships"
FORMS: dict[str, tuple[Pairs, bool]] = {
    # The shape, and whether it is told which cells are composed.
    SHIPS: (Pairs(), True),
    "25 x 33, one round": (Pairs(rounds=1), True),
    "25 x 33, three rounds": (Pairs(rounds=3), True),
    "49 x 65, two rounds": (Pairs(49, 65), True),
    "1 x 33, two rounds: the same pitch only": (Pairs(1, 33), True),
    "25 x 1, two rounds: the same step only": (Pairs(25, 1), True),
    "25 x 33, two rounds, not told": (Pairs(), False),
}
SEEN_MIX = MASK_MIX | {"melody": 0.3}
SCORED = {"melody": {"melody": 1.0}, "bars": {"bars": 1.0}}


class Trials:
    """A model that stands still, and the forms that learn beside it."""

    def __init__(self, model: Any) -> None:
        self.model = model.requires_grad_(False)
        self.heads = {name: PairHead(shape, model.states) for name, (shape, _) in FORMS.items()}
        self.optimisers = {
            name: torch.optim.AdamW(head.parameters(), RATE, weight_decay=0.0)
            for name, head in self.heads.items()
        }

    def ask(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The hidden cells, bool (batch, h, w), and the model's own logits."""
        hidden = batch["mask"] & (batch["noise"] < batch["t"][:, None, None])
        seen = torch.where(hidden, self.model.states, batch["cells"])
        with torch.no_grad():
            return hidden, self.model(seen, batch["chords"], batch["t"], in_rows=False)

    def answer(self, name: str, batch: dict[str, Tensor], hidden: Tensor, alone: Tensor) -> Tensor:
        """The logits with a form behind the model."""
        seen = torch.where(hidden, self.model.states, batch["cells"])
        shown = alone.new_zeros(len(seen), self.model.states + 1, *seen.shape[1:])
        shown.scatter_(1, seen[:, None], 1)
        _, is_told = FORMS[name]
        composed = batch["mask"] if is_told else hidden
        return self.heads[name](alone, shown, composed[:, None], batch["t"])

    def learn(self, batch: dict[str, Tensor], rate: float) -> None:
        """One step of every form."""
        hidden, alone = self.ask(batch)
        size = batch["mask"].flatten(1).sum(1).clamp(min=1)
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = RATE * rate
            optimiser.zero_grad()
            logits = self.answer(name, batch, hidden, alone)
            (bits_of(logits, batch, hidden) / size).mean().backward()
            optimiser.step()

    @torch.no_grad()
    def score(self, batches: dict[str, list[dict[str, Tensor]]]) -> dict[str, dict[str, float]]:
        """Bits a note by kind of mask, and the leaps of melodies, of each form and of none."""
        scores: dict[str, dict[str, float]] = {name: {} for name in ("none", *self.heads)}
        for kind, some in batches.items():
            totals = {name: np.zeros(2) for name in scores}
            leaps: dict[str, list[list[float]]] = {name: [] for name in scores}
            for batch in some:
                hidden, alone = self.ask(batch)
                notes = int(((batch["cells"] >= ONSET) & batch["mask"]).sum())
                for name in scores:
                    logits = alone
                    if name != "none":
                        logits = self.answer(name, batch, hidden, alone)
                    totals[name] += (float(bits_of(logits, batch, hidden).sum()), notes)
                    leaps[name] += leaps_of(logits, batch, hidden)
            for name, (bits, notes) in totals.items():
                scores[name][f"{kind}: bits a note"] = round(bits / notes, 3)
                if kind == "melody":
                    likely, real = np.mean(leaps[name], axis=0)
                    scores[name] |= {"leaps expected": round(likely, 3), "real": round(real, 3)}
        return scores


def bits_of(logits: Tensor, batch: dict[str, Tensor], hidden: Tensor) -> Tensor:
    """The loss of cells: bits of the region of each window, float (batch,)."""
    nats = chain.surprise(logits, batch["cells"], hidden, whole_rows=False).sum(1)
    return nats / (batch["t"] * math.log(2))


def leaps_of(logits: Tensor, batch: dict[str, Tensor], hidden: Tensor) -> list[list[float]]:
    """From each known note of a region to a hidden one after it: how likely a leap is, and if."""
    found = []
    chances = logits.softmax(1)[:, ONSET:].sum(1) * hidden
    onsets = (batch["cells"] >= ONSET) & batch["mask"]
    for number, onset in enumerate(onsets):
        columns = torch.nonzero(onset.any(0))[:, 0].tolist()
        for before, after in zip(columns, columns[1:], strict=False):
            first = int(torch.nonzero(onset[:, before])[-1])
            second = int(torch.nonzero(onset[:, after])[-1])
            is_known = not hidden[number, first, before] and hidden[number, second, after]
            if not is_known or after - before > MOST_STEPS:
                continue
            row = chances[number, :, after].numpy()
            is_leap = abs(np.arange(len(row)) - first) >= LEAP
            likely = row[is_leap].sum() / max(row.sum(), 1e-9)
            found.append([float(likely), float(abs(second - first) >= LEAP)])
    return found


def batches_of(model: Any, songs: Any, count: int, *, batch: int, **windows: Any) -> Iterator[Any]:
    """Batches of examples, one after another."""
    some = data.Windows(songs, model.width, **windows)
    some.recalls = model.recalls
    items = TrainSet(some, model, batch, TrainOptions())
    for i in range(count):
        yield default_collate([items[batch * i + j] for j in range(batch)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny", help="a cells model without a pair head")
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "reports")
    o = parser.parse_args()

    corpus = data.read_corpus(find_archive(o.archive), progress=False)
    model = load_model(o.model)
    if model.process != "cells" or model.pair_head is not None:
        parser.error(f"{o.model} is no cells model without a pair head")
    trials = Trials(model)
    songs = corpus.split("valid").songs
    valid = {
        kind: list(batches_of(model, songs, 5, batch=8, seed=VALID_SEED, mix=mix))
        for kind, mix in SCORED.items()
    }
    began = time.process_time()
    report: dict[str, Any] = {"steps": o.steps, "batch": o.batch, "rate": RATE, "scores": {}}
    songs = corpus.split("train").songs
    drawn = batches_of(model, songs, o.steps, batch=o.batch, seed=7, mix=SEEN_MIX)
    for step, batch in enumerate(drawn):
        if step % 100 == 0:
            report["scores"][step] = trials.score(valid)
            print(step, json.dumps(report["scores"][step], indent=1), flush=True)
        trials.learn(batch, min((step + 1) / 10, 2 * (1 - step / o.steps), 1.0))
    report["scores"][o.steps] = trials.score(valid)
    report["cpu_minutes"] = round((time.process_time() - began) / 60, 2)
    print(json.dumps(report["scores"][o.steps], indent=1))
    write(o.out / "pair_trials.json", report)


if __name__ == "__main__":
    main()
