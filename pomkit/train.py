"""Training: `python -m pomkit.train --data CORPUS --out runs/NAME`; resumable to the same weights.

Everything random depends on (seed, step) alone and the whole state is one atomically written file, so a run that was
killed goes on with `--resume` as if nothing had happened.
"""
import argparse
import json
import sys
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from . import masks, plot
from .cells import ONSET, VELOCITIES, Cells, cell_bound, chord_channels, stratified_t
from .checkpoint import Model, build_model, save_model
from .data import Windows, assets_dir, read_corpus
from .edm import denoising_loss, sample_sigma
from .errors import CheckpointError, OptionError, PomkitError
from .files import write_atomically
from .model import CONFIGS
from .sample import inpaint, to_pixels

VALID_SEED = 10**6          # the validation windows are drawn apart from all training windows


@dataclass(frozen=True)
class TrainOptions:
    """What a training run is made of; every field is an option of the command line."""

    data: str = field(default="", metadata={"help": "corpus: a folder, glob, tar/zip archive (default: the shipped songs)"})
    out: str = field(default="runs/tiny", metadata={"help": "run folder: state, model, loss plot, sample pictures"})
    process: str = field(default="cells", metadata={"help": "cells or edm"})
    model: str = field(default="tiny", metadata={"help": f"network size: {', '.join(CONFIGS)}"})
    width: int = field(default=256, metadata={"help": "steps (16ths) of a window"})
    steps: int = field(default=10000, metadata={"help": "optimiser steps in all"})
    batch: int = field(default=16, metadata={"help": "windows a step and process"})
    lr: float = field(default=1e-3, metadata={"help": "AdamW learning rate (the paper: 5e-4)"})
    weight_decay: float = field(default=1e-3, metadata={"help": "AdamW weight decay"})
    warmup: int = field(default=200, metadata={"help": "steps of linear warm-up"})
    cooldown: float = field(default=0.2, metadata={"help": "share of the steps, at the end, in which the rate falls to 0"})
    clip: float = field(default=1.0, metadata={"help": "gradient norm at which to clip"})
    ema_power: float = field(default=0.75, metadata={"help": "EMA decay = 1 - (1 + step) ** -power"})
    ema_max: float = field(default=0.9999, metadata={"help": "largest EMA decay"})
    weighting: str = field(default="unit", metadata={"help": "edm: loss weight: unit, soft-min-snr, edm, snr"})
    density: str = field(default="lognormal:-0.6,1.3", metadata={"help": "edm: density of sigma, KIND[:a,b]"})
    conditioned: bool = field(default=True, metadata={"help": "edm: known pixels and mask as input channels"})
    seed: int = field(default=0, metadata={"help": "seed of everything random"})
    precision: str = field(default="auto", metadata={"help": "no, bf16, fp16; auto: bf16 on a GPU that has it, else no"})
    threads: int = field(default=0, metadata={"help": "CPU threads (0: all)"})
    loaders: int = field(default=0, metadata={"help": "processes that draw windows (0: the training process)"})
    save_every: int = field(default=500, metadata={"help": "steps between saved states"})
    sample_every: int = field(default=2000, metadata={"help": "steps between sample pictures"})
    valid_windows: int = field(default=64, metadata={"help": "validation windows a measurement"})


@dataclass(eq=False)
class TrainSet(Dataset):
    """The first `count` windows as DataLoader stacks them: what an item holds depends on its index alone."""

    windows: Windows
    model: Model
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture, mask, density, *_ = self.windows[index]
        if not isinstance(self.model, Cells):
            return {"mask": mask, "x0": to_pixels(picture), "density": np.float32(density)}
        border = self.windows.border
        return {"mask": mask & masks.everything(picture, border=border),                            # no cells in the chord rows
                "cells": self.model.encode(picture, border), "chords": chord_channels(picture, mask, border)}


def loss_of(model: Any, batch: dict[str, Tensor], options: TrainOptions, generator: torch.Generator) -> Tensor:
    """Loss of a batch, float (batch,): bits per hidden cell (cells) or the weighted denoising error (edm)."""
    if options.process == "cells":
        t = stratified_t(len(batch["mask"]), generator).to(batch["mask"].device)
        hidden_state = getattr(model, "module", model).states                            # out of accelerate's wrapper
        return cell_bound(model, batch["cells"], batch["chords"], batch["mask"], hidden_state, t, generator)
    x0, conditions = batch["x0"], {}
    kind, _, numbers = options.density.partition(":")
    sigma = sample_sigma(kind, len(x0), generator, *map(float, numbers.split(",") if numbers else ())).to(x0.device)
    noise = torch.randn(x0.shape, generator=generator).to(x0.device)
    if options.conditioned:
        mask = batch["mask"][:, None]                                                          # (b, 1, 128, width)
        known = torch.rand(len(x0), generator=generator).to(x0.device) < 0.5               # half the time: density unknown
        density = torch.where(known, batch["density"], torch.nan)
        conditions = {"region": mask, "known": x0, "mask": mask, "density": density}
    return denoising_loss(model, x0, noise, sigma, options.weighting, **conditions)


def new_model(options: TrainOptions) -> Model:
    """A fresh model for the options."""
    if options.model not in CONFIGS:
        raise OptionError(f"model {options.model!r} is unknown; choose one of {', '.join(CONFIGS)}")
    if options.process == "cells":
        channels = {"in_channels": Cells.in_channels(len(VELOCITIES)), "out_channels": ONSET + len(VELOCITIES)}
    else:
        channels = {"in_channels": 7, "mapping_cond_dim": 2} if options.conditioned else {}
    return build_model({"process": options.process, "width": options.width,
                        "network": CONFIGS[options.model].to_dict() | channels,
                        "velocities": VELOCITIES, "sigma_data": 0.5, "conditioned": options.conditioned})


def generator_for(seed: int, step: int) -> torch.Generator:
    """A generator that depends on (seed, step) alone."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1))


class Trainer:
    """One run: `Trainer(options).run()` trains, saves and draws as it goes; `resume=True` goes on from the state."""

    def __init__(self, options: TrainOptions, resume: bool = False, progress: bool = True) -> None:
        self.options, self.out = options, Path(options.out)
        state = self.out / "state.safetensors"
        if resume != state.exists():
            raise OptionError(f"{state} does not exist, so there is nothing to resume; leave --resume out" if resume else
                              f"{state} exists; add --resume to go on with it, or choose another --out")
        if options.threads:
            torch.set_num_threads(options.threads)
        auto = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
        self.accelerator = Accelerator(mixed_precision=auto if options.precision == "auto" else options.precision)
        self.progress = progress and self.accelerator.is_main_process
        corpus = read_corpus(options.data or assets_dir() / "songs", progress=self.progress)
        # A handful of shipped songs is too few to divide.
        train, valid = (corpus.split(s).songs if options.data else corpus.songs for s in ("train", "valid"))
        self.windows = Windows(train, options.width, seed=options.seed)
        self.valid = Windows(valid or train, options.width, semitones=(0, 0), seed=VALID_SEED)
        torch.manual_seed(options.seed)
        self.model: Model = new_model(options).to(self.accelerator.device)
        groups = self.model.network.param_groups(options.weight_decay)
        self.optimizer: Any = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.95))
        self.step, self.seconds = 0, 0.0
        self.log: list[tuple[int, float]] = []
        self.valid_log: list[tuple[int, float]] = []
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        self.ema = deepcopy(self.model).eval()                                  # its weights are judged, drawn with and shipped
        if resume:
            self._load(state)

    def rate(self, step: int) -> float:
        """Factor on the learning rate: linear warm-up, constant, linear cool-down to 0."""
        o = self.options
        return min(1.0, (step + 1) / max(o.warmup, 1)) * min(1.0, (o.steps - step) / max(o.cooldown * o.steps, 1))

    def run(self) -> Path:
        """Train to the last step; the path of the finished model (EMA weights)."""
        o, world, started = self.options, self.accelerator.num_processes, time.monotonic() - self.seconds
        draws = [step * world + self.accelerator.process_index for step in range(self.step, o.steps)]
        loader = DataLoader(TrainSet(self.windows, self.model, o.steps * world * o.batch), num_workers=o.loaders,
                            batch_sampler=[list(range(i * o.batch, (i + 1) * o.batch)) for i in draws])
        bar = tqdm(loader, f"training {o.process}", o.steps, initial=self.step, unit="step", smoothing=0.05,
                   disable=not self.progress)
        recent: list[float] = []
        for draw, batch in zip(draws, bar, strict=True):
            recent.append(self._train_step(send_to_device(batch, self.accelerator.device), generator_for(o.seed, draw)))
            self.step += 1
            self.seconds = time.monotonic() - started
            saving, drawing = (self.step % every == 0 or self.step == o.steps for every in (o.save_every, o.sample_every))
            if saving or self.step % 50 == 0:
                self.log.append((self.step, float(np.mean(recent))))
                bar.set_postfix(loss=f"{self.log[-1][1]:.4f}")
                recent = []
            if saving and self.accelerator.is_main_process:
                self._save()
            if drawing and self.accelerator.is_main_process:
                self._draw()
        return self.out / "model.safetensors"

    def _train_step(self, batch: dict[str, Tensor], generator: torch.Generator) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * self.rate(self.step) * group["lr_scale"]
        with self.accelerator.autocast():
            loss = loss_of(self.wrapped, batch, self.options, generator).mean()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        decay = min(self.options.ema_max, 1 - (1 + self.step) ** -self.options.ema_power)
        torch._foreach_lerp_(list(self.ema.state_dict().values()), list(self.model.state_dict().values()), 1 - decay)
        if not np.isfinite(value := loss.item()):
            raise PomkitError(f"the loss is {value} at step {self.step}; resume from the last state with a lower --lr")
        return value

    @torch.inference_mode()
    def valid_loss(self) -> float:
        """Loss of the EMA weights on fixed validation windows with fixed noise."""
        loader = DataLoader(TrainSet(self.valid, self.model, self.options.valid_windows), 16)
        losses = [loss_of(self.ema, send_to_device(batch, self.accelerator.device), self.options, generator_for(VALID_SEED, i))
                  for i, batch in enumerate(loader)]
        return float(torch.cat(losses).mean())

    def _save(self) -> None:
        o = self.options
        self.valid_log.append((self.step, self.valid_loss()))
        parts = {"model": self.model.state_dict(), "ema": self.ema.state_dict(),
                 **{f"optimizer.{name}": self.optimizer.state[p] for name, p in self.model.named_parameters()}}
        tensors = {f"{part}.{k}": v.cpu().contiguous() for part, values in parts.items() for k, v in values.items()}
        info = {"step": self.step, "seconds": self.seconds, "log": self.log, "valid": self.valid_log, "options": asdict(o)}
        with write_atomically(self.out / "state.safetensors") as file:
            file.write(save(tensors, {"info": json.dumps(info)}))
        card = {"options": {k: v for k, v in asdict(o).items() if k not in ("data", "out")},
                "data": Path(o.data).name if o.data else "the shipped songs", "songs": len(self.windows.songs),
                "steps": self.step, "pictures": self.step * o.batch * self.accelerator.num_processes,
                "hours": round(self.seconds / 3600, 3), "train_loss": self.log[-1][1], "valid_loss": self.valid_log[-1][1]}
        save_model(self.out / "model", self.ema, card)
        steps, losses = zip(*self.log, strict=True)
        plot.loss_plot(self.out / "loss.png", steps, losses, valid=self.valid_log)

    def _load(self, path: Path) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        try:
            with safe_open(path, "pt") as file:
                info = json.loads(file.metadata()["info"])
                tensors = {k: file.get_tensor(k).to(self.accelerator.device) for k in file.keys()}  # noqa: SIM118 (no dict)
            self.model.load_state_dict(part("model."))
            self.ema.load_state_dict(part("ema."))
            self.optimizer.state.update({p: part(f"optimizer.{name}.") for name, p in self.model.named_parameters()})
        except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as fault:
            raise CheckpointError(f"{path} is damaged or of another architecture ({str(fault).splitlines()[0][:150]}); "
                                  "resume with the options it was made with, or start anew in another --out") from fault
        self.step, self.seconds, self.log, self.valid_log = (info[key] for key in ("step", "seconds", "log", "valid"))

    def _draw(self) -> None:
        """Four validation windows and their middle half composed anew: what the model can do by now, as a figure."""
        width = self.options.width
        mask = masks.bars(width, width // 64 + 1, width // 16 - width // 64)
        pairs = [(picture := self.valid[i].picture, inpaint(self.ema, picture, mask, seed=i)[0]) for i in range(4)]
        plot.save_pairs(self.out / f"samples_{self.step:07d}.png", pairs, mask)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: one option for each field of TrainOptions; exit code 2 and one line where the input is bad."""
    p = argparse.ArgumentParser("python -m pomkit.train", description=__doc__.splitlines()[0],
                                formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for f in fields(TrainOptions):
        kind = {"action": argparse.BooleanOptionalAction} if isinstance(f.default, bool) else {"type": type(f.default)}
        p.add_argument("--" + f.name.replace("_", "-"), default=f.default, help=f.metadata["help"], **kind)
    p.add_argument("--resume", action="store_true", help="go on from the state in the run folder")
    values = vars(p.parse_args(arguments))
    resume = values.pop("resume")
    try:
        path = Trainer(TrainOptions(**values), resume).run()
    except PomkitError as fault:
        print(f"pomkit.train: {fault}", file=sys.stderr)
        return 2
    print(f"the model is {path}, its losses {path.with_name('loss.png')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
