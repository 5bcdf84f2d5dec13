"""Training: `python -m pomkit.train --data CORPUS --out runs/NAME`; resumable to the same weights.

Everything random depends on (seed, step) alone and the whole state is one atomically written file, so a run that was
killed goes on with `--resume` as if nothing had happened.
"""
from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from . import plot
from .cells import ONSET, VELOCITIES, Cells, cell_bound, chord_channels, stratified_t
from .checkpoint import Model, build_model, save_model
from .data import Windows, assets_dir, read_corpus
from .edm import denoising_loss, sample_sigma
from .errors import CheckpointError, OptionError, PomkitError
from .files import write_atomically
from .masks import bars, everything
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


class TrainSet(Dataset):
    """The first `count` windows as tensors: what an item holds depends on its index alone."""

    def __init__(self, windows: Windows, model: Model, count: int) -> None:
        self.windows, self.model, self.count = windows, model, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        window = self.windows[index]
        item = {"mask": torch.from_numpy(window.mask)}
        if isinstance(self.model, Cells):
            item["cells"] = torch.from_numpy(self.model.encode(window.picture, self.windows.border))
            item["chords"] = torch.from_numpy(chord_channels(window.picture, window.mask, self.windows.border))
            item["mask"] &= torch.from_numpy(everything(self.windows.width, border=self.windows.border))   # no cells there
        else:
            item["x0"] = to_pixels(window.picture)
            item["density"] = torch.tensor(window.density, dtype=torch.float32)
        return item


def loss_of(model: Any, batch: dict[str, Tensor], options: TrainOptions, generator: torch.Generator) -> Tensor:
    """Loss of a batch, float (batch,): bits per hidden cell (cells) or the weighted denoising error (edm)."""
    if options.process == "cells":
        mask = batch["mask"]
        t = stratified_t(len(mask), generator).to(mask.device)
        hidden_state = model_of(model).states
        return cell_bound(model, batch["cells"], batch["chords"], mask, hidden_state, t, generator)
    x0 = batch["x0"]
    kind, _, numbers = options.density.partition(":")
    sigma = sample_sigma(kind, len(x0), generator, *map(float, numbers.split(",") if numbers else ())).to(x0.device)
    noise = torch.randn(x0.shape, generator=generator).to(x0.device)
    if not options.conditioned:
        return denoising_loss(model, x0, noise, sigma, options.weighting)
    mask = batch["mask"][:, None]                                                          # (b, 1, 128, width)
    known = torch.rand(len(x0), generator=generator).to(x0.device) < 0.5                   # half the time: density unknown
    density = torch.where(known, batch["density"], torch.nan)
    return denoising_loss(model, x0, noise, sigma, options.weighting, region=mask, known=x0, mask=mask, density=density)


def model_of(model: Any) -> Any:
    """The model inside what accelerate may have wrapped around it."""
    return getattr(model, "module", model)


def new_model(options: TrainOptions) -> Model:
    """A fresh model for the options."""
    if options.process not in ("cells", "edm"):
        raise OptionError(f"process {options.process!r} is unknown; choose cells or edm")
    if options.model not in CONFIGS:
        raise OptionError(f"model {options.model!r} is unknown; choose one of {', '.join(CONFIGS)}")
    network = CONFIGS[options.model].to_dict()
    if options.process == "cells":
        network |= {"in_channels": Cells.in_channels(len(VELOCITIES)), "out_channels": ONSET + len(VELOCITIES)}
        return build_model({"process": "cells", "width": options.width, "network": network, "velocities": VELOCITIES})
    network |= {"in_channels": 7, "mapping_cond_dim": 2} if options.conditioned else {}
    return build_model({"process": "edm", "width": options.width, "network": network, "sigma_data": 0.5,
                        "conditioned": options.conditioned})


class Trainer:
    """One run: `Trainer(options).run()` trains, saves and draws as it goes; `resume=True` goes on from the state."""

    def __init__(self, options: TrainOptions, resume: bool = False, progress: bool = True) -> None:
        self.options, self.progress, self.out = options, progress, Path(options.out)
        state = self.out / "state.safetensors"
        if state.exists() and not resume:
            raise OptionError(f"{state} exists; add --resume to go on with it, or choose another --out")
        if resume and not state.exists():
            raise OptionError(f"{state} does not exist, so there is nothing to resume; leave --resume out")
        if options.threads:
            torch.set_num_threads(options.threads)
        precision = options.precision
        if precision == "auto":
            precision = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
        self.accelerator = Accelerator(mixed_precision=precision)
        corpus = read_corpus(options.data or assets_dir() / "songs", progress=progress and self.accelerator.is_main_process)
        train, valid = corpus.split("train").songs, corpus.split("valid").songs
        if not options.data:
            train = valid = corpus.songs                  # a handful of songs: too few to divide
        self.windows = Windows(train, options.width, seed=options.seed)
        self.valid = Windows(valid or train, options.width, semitones=(0, 0), seed=VALID_SEED)
        torch.manual_seed(options.seed)
        self.model: Model = new_model(options)
        self.ema = {k: v.detach().clone().float() for k, v in self.model.state_dict().items()}
        groups = self.model.network.param_groups(options.weight_decay)
        for group in groups:
            group["lr"] = options.lr
        self.optimizer: Any = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.95))
        self.step, self.seconds = 0, 0.0
        self.log: list[tuple[int, float]] = []
        self.valid_log: list[tuple[int, float]] = []
        if resume:
            self._load(state)
        self.model.to(self.accelerator.device)
        self.ema = {k: v.to(self.accelerator.device) for k, v in self.ema.items()}
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)

    def rate(self, step: int) -> float:
        """Factor on the learning rate: linear warm-up, constant, linear cool-down to 0."""
        o = self.options
        return min(1.0, (step + 1) / max(o.warmup, 1)) * min(1.0, (o.steps - step) / max(o.cooldown * o.steps, 1))

    def run(self) -> Path:
        """Train to the last step; the path of the finished model (EMA weights)."""
        o, rank, world = self.options, self.accelerator.process_index, self.accelerator.num_processes
        started, before = time.monotonic(), self.seconds
        bar = tqdm(total=o.steps, initial=self.step, desc=f"training {o.process}", unit="step", smoothing=0.05,
                   disable=not (self.progress and self.accelerator.is_main_process))
        indices = [i for step in range(self.step, o.steps)
                   for i in range((step * world + rank) * o.batch, (step * world + rank + 1) * o.batch)]
        data = TrainSet(self.windows, self.model, o.steps * world * o.batch)
        loader = DataLoader(data, o.batch, sampler=indices, num_workers=o.loaders)
        recent: list[float] = []
        for batch in loader:
            recent.append(self._train_step({k: v.to(self.accelerator.device) for k, v in batch.items()},
                                           generator_for(o.seed, self.step * world + rank)))
            self.step += 1
            self.seconds = before + time.monotonic() - started
            bar.update()
            saving = self.step % o.save_every == 0 or self.step == o.steps
            if self.step % 50 == 0 or saving:
                self.log.append((self.step, float(np.mean(recent))))
                bar.set_postfix(loss=f"{self.log[-1][1]:.4f}")
                recent = []
            if saving:
                self._save()
            if (self.step % o.sample_every == 0 or self.step == o.steps) and self.accelerator.is_main_process:
                self._draw()
        bar.close()
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
        with torch.no_grad():
            names, new = zip(*((k, v) for k, v in self.model.state_dict().items() if v.is_floating_point()), strict=True)
            torch._foreach_lerp_([self.ema[k] for k in names], list(new), 1 - decay)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise PomkitError(f"the loss is {value} at step {self.step}; resume from the last state with a lower --lr")
        return value

    @torch.inference_mode()
    def valid_loss(self) -> float:
        """Loss of the EMA weights on fixed validation windows with fixed noise."""
        with self._ema_weights():
            data = TrainSet(self.valid, self.model, self.options.valid_windows)
            losses = [loss_of(self.model, {k: v.to(self.accelerator.device) for k, v in batch.items()}, self.options,
                              generator_for(VALID_SEED, i)) for i, batch in enumerate(DataLoader(data, 16))]
        return float(torch.cat(losses).mean())

    @contextmanager
    def _ema_weights(self) -> Iterator[None]:
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema)
        self.model.eval()
        try:
            yield
        finally:
            self.model.load_state_dict(own)
            self.model.train()

    def _save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        loss = self.valid_loss()
        self.valid_log.append((self.step, loss))
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{name}.{key}"] = torch.as_tensor(value)
        info = {"step": self.step, "seconds": self.seconds, "log": self.log, "valid": self.valid_log,
                "options": asdict(self.options)}
        with write_atomically(self.out / "state.safetensors") as file:
            file.write(save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"info": json.dumps(info)}))
        save_model(self.out / "model", self.model, self._card(), self.ema)
        steps, losses = zip(*self.log, strict=True)
        plot.loss_plot(self.out / "loss.png", steps, losses, valid=self.valid_log)

    def _card(self) -> dict[str, Any]:
        return {"options": {k: v for k, v in asdict(self.options).items() if k not in ("data", "out")},
                "data": Path(self.options.data).name if self.options.data else "the shipped songs",
                "songs": len(self.windows.songs), "steps": self.step, "pictures": self.step * self.options.batch
                * self.accelerator.num_processes, "hours": round(self.seconds / 3600, 3),
                "train_loss": self.log[-1][1] if self.log else None, "valid_loss": self.valid_log[-1][1]}

    def _load(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                info = json.loads(file.metadata()["info"])
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (not a dict)
            self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
            self.ema = {k[4:]: v for k, v in tensors.items() if k.startswith("ema.")}
            for name, parameter in self.model.named_parameters():
                prefix = f"optimizer.{name}."
                state = {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)}
                if state:
                    self.optimizer.state[parameter] = state
        except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as fault:
            raise CheckpointError(f"{path} is damaged or of another architecture ({str(fault).splitlines()[0][:150]}); "
                                  "resume with the options it was made with, or start anew in another --out") from fault
        self.step, self.seconds = info["step"], info["seconds"]
        self.log = [tuple(x) for x in info["log"]]
        self.valid_log = [tuple(x) for x in info["valid"]]

    def _draw(self) -> None:
        """Four validation windows and their middle half composed anew: what the model can do by now, as a figure."""
        count, pairs = self.options.width // 16, []
        mask = bars(self.options.width, count // 4 + 1, count - count // 4)
        with self._ema_weights():
            for i in range(4):
                picture = self.valid[i].picture
                pairs.append((picture, inpaint(self.model, picture, mask, seed=i)[0]))
        plot.save_pairs(self.out / f"samples_{self.step:07d}.png", pairs, mask)


def generator_for(seed: int, step: int) -> torch.Generator:
    """A generator that depends on (seed, step) alone."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1))


def parser() -> argparse.ArgumentParser:
    """The command line: one option for each field of TrainOptions."""
    p = argparse.ArgumentParser("python -m pomkit.train", description=__doc__.splitlines()[0],
                                formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for f in fields(TrainOptions):
        name, kind = "--" + f.name.replace("_", "-"), type(f.default)
        if kind is bool:
            p.add_argument(name, action=argparse.BooleanOptionalAction, default=f.default, help=f.metadata["help"])
        else:
            p.add_argument(name, type=kind, default=f.default, help=f.metadata["help"])
    p.add_argument("--resume", action="store_true", help="go on from the state in the run folder")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; exit code 2 and one line where the input is bad."""
    values = vars(parser().parse_args(arguments))
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
