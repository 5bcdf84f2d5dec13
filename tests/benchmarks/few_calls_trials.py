"""Two ways to learn for few network calls, beside training as it is: what do they bring?

    python tests/benchmarks/few_calls_trials.py [--minutes 10] [--count 16] [--calls 2,4,8,16]
        [--init tiny] [--runs runs/few-calls] [--archive pop909.tar.xz]

Three short trainings go on from the same weights, with the same windows, for as many CPU minutes:

- "more": as it is. A control.
- "soft": a hidden cell shows what the last call said of it (soft masks, arXiv 2510.17206). In
  training the call before is asked about the same window with more hidden, for half of the windows.
- "distilled": four calls at once (SDTT, arXiv 2410.21035). A teacher, the weights that all begin
  with, uncovers a quarter of the region in four calls; the pupil, which sees only the beginning,
  is to say of each cell what the teacher said when its turn came.

Each then composes windows of POP909's validation split, the annotated chords shown, in as many
calls as `--calls` says, in random order and in Halton's. The measures and intervals are those of
`orders`; each row stands against "more" with as many calls in the same order.

It writes assets/reports/few_calls_trials.json. It takes three times the minutes, and six more.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from claims import PARTS, ROOT, Options, write
from orders import Orders, row_of
from three_readers import find_archive
from torch import Tensor

from pomkit import data, load_model
from pomkit.networks.hdit import widened
from pomkit.processes import cells as cells_module
from pomkit.processes.cells import Cells
from pomkit.processes.uncover import Walk
from pomkit.training import Trainer, TrainOptions

ARMS = ("more", "soft", "distilled")
ORDERS = ("random", "halton")
# The teacher's calls, and the share of the region that it uncovers in them.
TEACHER_CALLS = 4
TEACHER_SHARE = 0.25
# The call before a soft mask's had at most so much more of the region hidden.
SOFT_SHARE = 0.25


class SoftCells(Cells):
    """Cells whose hidden ones show what was last said of them, in `states` more channels."""

    def inputs(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        cells, told = super().inputs(*arguments)
        return cells, with_guess(told, self.states)

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        told = with_guess(batch["chords"], self.states)
        region = batch["mask"]
        noise = batch["noise"]
        t = batch["t"]

        # The call before: of half of the windows, with more hidden.
        earlier = (t + SOFT_SHARE * noise[:, 0, 0]).clamp(max=1)  # (batch,)
        hidden = region & (noise < earlier[:, None, None])
        seen = torch.where(hidden, self.states, batch["cells"])
        with torch.no_grad():
            said = forward(seen, told, earlier, in_rows=False).float().softmax(1)
        is_shown = (noise[:, 1, 0] < 0.5)[:, None, None, None]
        still = region & (noise < t[:, None, None])
        told[:, -self.states :] = said * (still[:, None] & is_shown)
        return super().loss(batch | {"chords": told}, forward, options)


class SoftWalk(Walk):
    """A walk that shows hidden cells what the last call said of them."""

    def ask(self) -> Tensor:
        logits = super().ask()
        shown = logits.softmax(1) * self.hidden[:, None]
        self.chords = torch.cat([self.chords[:, : -shown.shape[1]], shown.to(self.chords)], 1)
        return logits


class Pupil(Cells):
    """Cells that learn what a teacher says in several calls."""

    teacher: tuple[Cells, ...] = ()  # in a tuple, so that it is no part of the model

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        hidden = batch["mask"] & (batch["noise"] < batch["t"][:, None, None])
        wanted = self.wanted(batch, hidden)
        seen = torch.where(hidden, self.states, batch["cells"])
        said = forward(seen, batch["chords"], batch["t"], in_rows=False).float().log_softmax(1)
        nats = F.kl_div(said, wanted, reduction="none").sum(1) * hidden  # (batch, 128, width)
        size = batch["mask"].flatten(1).sum(1).clamp(min=1)  # (batch,)
        return nats.flatten(1).sum(1) / (batch["t"] * size * np.log(2))

    @torch.no_grad()
    def wanted(self, batch: dict[str, Tensor], hidden: Tensor) -> Tensor:
        """What the teacher says of each hidden cell in its turn, float (batch, states, 128, width).

        Args:
            batch: of training.
            hidden: bool (batch, 128, width), what is hidden at the beginning.
        """
        (teacher,) = self.teacher
        cells = torch.where(hidden, self.states, batch["cells"])
        left = hidden
        t = batch["t"]
        found = None
        for call in range(1, TEACHER_CALLS + 1):
            p = teacher(cells, batch["chords"], t).softmax(1)
            found = p if found is None else torch.where(left[:, None], p, found)

            # The cells whose turn it is are drawn as the teacher says.
            t = (batch["t"] - TEACHER_SHARE * call / TEACHER_CALLS).clamp(min=0)
            new = left & (batch["noise"] >= t[:, None, None])
            drawn = (p.log() - torch.empty_like(p).exponential_().log()).argmax(1)
            cells = torch.where(new, drawn, cells)
            left = left & ~new
        return found


def with_guess(told: Tensor, states: int) -> Tensor:
    """What is told, float (batch, told, 128, width), with nothing said of the cells yet."""
    return torch.cat([told, told.new_zeros(len(told), states, *told.shape[2:])], 1)


def as_arm(model: Cells, arm: str, teacher: Cells) -> None:
    """Make a model learn in an arm's way, in place; at first it answers as before."""
    if arm == "soft":
        old = model.network
        model.network = widened(old, at=old.config.in_channels, more=model.states)
        model.__class__ = SoftCells
    if arm == "distilled":
        model.__class__ = Pupil
        model.teacher = (teacher,)


class ArmTrainer(Trainer):
    """A trainer of one arm."""

    arm = ""

    def _make_model(self) -> None:
        super()._make_model()
        teacher = deepcopy(self.model).eval()
        as_arm(self.model, self.arm, teacher)
        if self.arm == "soft":  # the optimiser of the wider network
            groups = self.model.parameter_groups(1e-3)
            optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
            self.wrapped, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        self.ema = deepcopy(self.model).eval()


def trained(arm: str, init: str, archive: Path, minutes: float, out: Path) -> Cells:
    """The model of some CPU minutes of an arm."""
    torch.set_num_threads(1)
    run = out / arm
    options = TrainOptions(
        data=str(archive),
        out=str(run),
        process="cells",
        init=init,
        minutes=minutes,
        warmup=50,
        cooldown=0.5,
        lr=3e-4,
        batch=16,
        width=256,
        precision="bf16",
        sample_every=10**6,
        save_every=50,
        valid_windows=32,
        threads=1,
        seed=3,
    )
    trainer_class = type("Trainer", (ArmTrainer,), {"arm": arm})
    trainer = trainer_class(options, resume=(run / "state.safetensors").exists())
    trainer.run()
    return trainer.ema


def compared(rows: list[str]) -> dict[str, str]:
    """The reference of each row: "more" with as many calls in the same order."""
    found = {row: ", ".join(["more", *row.split(", ")[1:]]) for row in rows}
    return found | dict.fromkeys(("real", "permuted"), rows[-1])


class Trials(Orders):
    """A bench whose rows stand against "more"."""

    def references(self, name: str) -> dict[str, str]:
        return compared(list(PARTS[name][1]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10, help="CPU minutes of each training")
    parser.add_argument("--init", default="tiny", help="a cells model without a pair head")
    parser.add_argument("--count", type=int, default=16, help="windows a task")
    parser.add_argument("--calls", default="2,4,8,16")
    parser.add_argument("--tasks", default="loop middle,melody")
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "few-calls")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "reports")
    o = parser.parse_args()
    if load_model(o.init).pair_head is not None:
        parser.error(f"{o.init} has a pair head: its last channel is the region, not a guess")
    archive = find_archive(o.archive)
    models = {arm: trained(arm, o.init, archive, o.minutes, o.runs) for arm in ARMS}

    rows: dict[str, tuple[str, Options]] = {}
    for arm in ARMS:
        for order in ORDERS:
            for calls in o.calls.split(","):
                rows[f"{arm}, {order}, {calls} calls"] = (arm, row_of(order, int(calls))[1])
    PARTS["few"] = (tuple(o.tasks.split(",")), rows, next(iter(rows)))
    songs = list(data.read_corpus(archive, progress=False).split("valid").songs)
    names = {"cells": o.init} | {arm: str(o.runs / arm / "model.safetensors") for arm in ARMS}
    bench = Trials(songs, [], {"cells": o.init}, o.count, o.seed)
    for arm in ARMS:
        bench.weights[arm] = f"{arm}, {o.minutes:g} minutes from {names['cells']}"
        bench.models[arm] = models[arm]
        models[arm].register_forward_hook(bench._count)
    cells_module.Walk = walk_of
    command = f"python tests/benchmarks/few_calls_trials.py --minutes {o.minutes:g}"
    command += f" --count {o.count} --calls {o.calls} --tasks '{o.tasks}' --seed {o.seed}"
    report = {"command": command, "split": "valid"}
    write(o.out / "few_calls_trials.json", report | bench.part("few"))


def walk_of(model: Any, *rest: Any) -> Walk:
    """A walk that fits the model: a soft one where its network takes what was said."""
    owner = getattr(model, "__self__", model)
    return SoftWalk(model, *rest) if isinstance(owner, SoftCells) else Walk(model, *rest)


if __name__ == "__main__":
    main()
