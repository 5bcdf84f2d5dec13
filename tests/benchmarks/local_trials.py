"""Which form of a local head says most of what a network of large tokens leaves unsaid.

    python tests/benchmarks/local_trials.py [--model tiny-edm] [--steps 150] [--batch 8]
        [--archive pop909.tar.xz] [--out assets/reports]

The network of an edm model with the cells head is held still, without its local head. Beside it
each form begins at zero and learns, all of them on the same batches, each with its own optimiser.
So what differs is the form alone, and all forms together cost little more than one training. The
network had learned beside a local head of the shape that ships; that may favour this shape.

Scored are the bits a cell of the region on validation windows, the same windows, masks and noise
for each, and how far the sustains that are expected are from the real ones. Forms:

- "time W x (LOOK, SAY)": W channels between two convolutions along time; "ships" is (9, 7).
- "time and pitch": the first one sees three rows, too.
- "no noise condition": it is not told how noisy the pixels are.

Writes assets/reports/local_trials.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from claims import ROOT, write
from three_readers import find_archive
from torch import Tensor, nn
from torch.utils.data import default_collate

from pomkit import data, load_model
from pomkit.networks.local import Local, LocalHead
from pomkit.train import VALID_SEED
from pomkit.training import TrainOptions
from pomkit.training.examples import TrainSet

RATE = 2e-3  # four times the rate of the training that ships
SHIPS = "time 32 x (9, 7), ships"
FORMS: dict[str, tuple[Local, int, bool]] = {
    # The shape, rows that the first convolution sees, whether it is told the noise.
    "time 8 x (9, 7)": (Local(8), 1, True),
    "time 16 x (9, 7)": (Local(16), 1, True),
    SHIPS: (Local(), 1, True),
    "time 32 x (5, 3)": (Local(32, 5, 3), 1, True),
    "time 32 x (17, 15)": (Local(32, 17, 15), 1, True),
    "time and pitch 32 x (3 x 9, 7)": (Local(), 3, True),
    "time 32 x (9, 7), no noise condition": (Local(), 1, False),
}


class Form(LocalHead):
    """A local head whose first convolution may see more rows, and that may not hear the noise."""

    def __init__(self, local: Local, rows: int, hears: bool, channels: tuple[int, int]) -> None:
        super().__init__(local, *channels)
        self.hears = hears
        if rows > 1:
            shape = (rows, local.look)
            padding = (rows // 2, local.look // 2)
            self.look = nn.Conv2d(sum(channels), local.width, shape, padding=padding)

    def forward(self, x: Tensor, output: Tensor, c_noise: Tensor) -> Tensor:
        return super().forward(x, output, c_noise if self.hears else torch.ones_like(c_noise))


class Trials:
    """A network that stands still, and the forms that learn beside it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.network = model.network
        self.network.local = None
        config = self.network.config
        channels = (config.in_channels, config.out_channels)
        torch.manual_seed(0)
        self.forms = {name: Form(*form, channels) for name, form in FORMS.items()}
        self.optimisers = {
            name: torch.optim.AdamW(form.parameters(), RATE, weight_decay=0.0)
            for name, form in self.forms.items()
        }
        self.seen: tuple[Tensor, ...] = ()
        self.network.register_forward_hook(lambda _, given, answer: self.take(*given, answer))

    def take(self, x: Tensor, c_noise: Tensor, answer: Tensor) -> None:
        """Keep what came into the network and what it answered."""
        self.seen = (x, answer.float(), c_noise)

    @torch.no_grad()
    def alone(self, batch: dict[str, Tensor]) -> Tensor:
        """The logits without any local head, float (batch, states, h, w)."""
        x0 = self.model.colours[batch["cells"]].movedim(-1, 1)
        noisy = x0 + batch["sigma"].reshape(-1, 1, 1, 1) * batch["noise"]
        known = {"known": x0, "mask": batch["mask"][:, None], "chords": batch["chords"]}
        return self.model(noisy, batch["sigma"], **known, as_logits=True)

    def logits(self, alone: Tensor, form: Form) -> Tensor:
        """The logits with a form beside the network."""
        x, answer, c_noise = self.seen
        return alone + form(x, answer, c_noise) - answer

    def learn(self, batch: dict[str, Tensor], rate: float) -> None:
        """One step of every form."""
        alone = self.alone(batch)
        for name, form in self.forms.items():
            for group in self.optimisers[name].param_groups:
                group["lr"] = RATE * rate
            self.optimisers[name].zero_grad()
            bits_of(self.logits(alone, form), batch).mean().backward()
            self.optimisers[name].step()

    @torch.no_grad()
    def score(self, batches: list[dict[str, Tensor]]) -> dict[str, dict[str, float]]:
        """Bits a cell, and expected over real sustains, of each form and of none."""
        sums = {name: torch.zeros(4) for name in ("no local head", *self.forms)}
        for batch in batches:
            alone = self.alone(batch)
            for name, total in sums.items():
                given = self.logits(alone, self.forms[name]) if name in self.forms else alone
                total[0] += bits_of(given, batch).sum()
                total[1] += len(given)
                total[2] += (given.softmax(1)[:, 1] * batch["mask"]).sum()
                total[3] += ((batch["cells"] == 1) & batch["mask"]).sum()
        return {
            name: {
                "bits": round(float(total[0] / total[1]), 5),
                "sustains expected / real": round(float(total[2] / total[3]), 3),
                "parameters": sum(p.numel() for p in self.forms[name].parameters())
                if name in self.forms
                else 0,
            }
            for name, total in sums.items()
        }


def bits_of(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """The loss of edm's cells head: bits a cell of the region, float (batch,)."""
    nats = F.cross_entropy(logits, batch["cells"], reduction="none") * batch["mask"]
    size = batch["mask"].flatten(1).sum(1).clamp(min=1)
    return nats.flatten(1).sum(1) / size / 0.6931472


def batches_of(model: Any, songs: Any, count: int, *, batch: int, seed: int) -> Any:
    """Batches of examples, one after another."""
    items = TrainSet(data.Windows(songs, model.width, seed=seed), model, batch, TrainOptions())
    for i in range(count):
        yield default_collate([items[batch * i + j] for j in range(batch)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny-edm", help="an edm model of the cells head")
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "reports")
    o = parser.parse_args()

    corpus = data.read_corpus(find_archive(o.archive), progress=False)
    model = load_model(o.model)
    trials = Trials(model)
    valid = list(batches_of(model, corpus.split("valid").songs, 4, batch=8, seed=VALID_SEED))
    began = time.process_time()
    report: dict[str, Any] = {"steps": o.steps, "batch": o.batch, "rate": RATE, "scores": {}}
    drawn = batches_of(model, corpus.split("train").songs, o.steps, batch=o.batch, seed=7)
    for step, batch in enumerate(drawn):
        if step % 50 == 0:
            report["scores"][step] = trials.score(valid)
            print(step, json.dumps(report["scores"][step], indent=1), flush=True)
        trials.learn(batch, min((step + 1) / 10, 2 * (1 - step / o.steps), 1.0))
    report["scores"][o.steps] = trials.score(valid)
    report["cpu_minutes"] = round((time.process_time() - began) / 60, 2)
    print(json.dumps(report["scores"][o.steps], indent=1))
    write(o.out / "local_trials.json", report)


if __name__ == "__main__":
    main()
