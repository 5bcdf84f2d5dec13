"""Training: `python -m pomkit.train --data CORPUS --out runs/NAME`; resumable to the same weights.
Everything random depends on the seed and the window's number, the whole state is one atomically written file: a killed run goes
on with `--resume` as if nothing had happened, and `accelerate launch -m pomkit.train` steps as one device with all windows."""

import hashlib
import json
import time
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm.auto import tqdm

from ..composing.region import inpaint, to_pixels
from ..data.reading import read_corpus
from ..data.windows import Windows
from ..errors import CheckpointError, OptionError, PomkitError, check_choice
from ..files import assets_dir, write
from ..music import masks
from ..networks.hdit import CONFIGS
from ..play import plot
from ..processes.cells import ONSET, VELOCITIES, Cells, cell_bound, chord_channels
from ..processes.checkpoint import Model, build_model, load_model, save_model, spec_of
from ..processes.edm import denoising_loss, sample_sigma

VALID_SEED = 10**6  # the validation windows are drawn apart from all training windows


@dataclass(frozen=True)
class TrainOptions:
    """What a training run is made of; every field is an option of the command line."""

    data: str = field(
        default="",
        metadata={"help": "corpus: a folder, glob, tar/zip archive (default: the shipped songs)"},
    )
    out: str = field(
        default="runs/tiny",
        metadata={"help": "run folder: state, model, loss plot, sample pictures"},
    )
    process: str = field(default="cells", metadata={"help": "cells or edm"})
    model: str = field(default="tiny", metadata={"help": f"network size: {', '.join(CONFIGS)}"})
    init: str = field(
        default="",
        metadata={"help": "fine-tune this checkpoint, by name or path; its process and width hold"},
    )
    width: int = field(default=256, metadata={"help": "steps (16ths) of a window"})
    steps: int = field(default=10000, metadata={"help": "optimiser steps in all"})
    batch: int = field(default=16, metadata={"help": "windows a step and process"})
    lr: float = field(default=1e-3, metadata={"help": "AdamW learning rate (the paper: 5e-4)"})
    warmup: int = field(default=200, metadata={"help": "steps of linear warm-up"})
    cooldown: float = field(
        default=0.2,
        metadata={"help": "share of the steps, at the end, in which the rate falls to 0"},
    )
    weighting: str = field(
        default="unit", metadata={"help": "edm: loss weight: unit, soft-min-snr, edm, snr"}
    )
    density: str = field(
        default="lognormal:-0.6,1.3", metadata={"help": "edm: density of sigma, KIND[:a,b]"}
    )
    sigma_data: float = field(
        default=0.5, metadata={"help": "edm: spread of the pixels about `centre`"}
    )
    centre: float = field(
        default=-1.0,
        metadata={"help": "edm: the pixel that is 0 to the network; -1: black (the paper: 0)"},
    )
    conditioned: bool = field(
        default=True, metadata={"help": "edm: known pixels and mask as input channels"}
    )
    seed: int = field(default=0, metadata={"help": "seed of everything random"})
    precision: str = field(
        default="auto",
        metadata={"help": "no, bf16, fp16; auto: bf16 on a GPU that has it, else no"},
    )
    threads: int = field(default=0, metadata={"help": "CPU threads (0: all)"})
    compile: bool = field(
        default=False, metadata={"help": "torch.compile the network: for a GPU and long runs"}
    )
    loaders: int = field(
        default=0, metadata={"help": "processes that draw windows (0: the training process)"}
    )
    save_every: int = field(default=500, metadata={"help": "steps between saved states"})
    sample_every: int = field(default=2000, metadata={"help": "steps between sample pictures"})
    valid_windows: int = field(default=64, metadata={"help": "validation windows a measurement"})


@dataclass(eq=False)
class TrainSet(Dataset):
    """Windows and the random numbers of their losses, without end: what an item holds depends on its index alone.
    Of each `batch` windows in turn, one has its noise level (edm: of density `sigmas`) in each `batch`-th part of the range."""

    windows: Windows
    model: Model
    batch: int
    sigmas: str

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture, mask, density, *_ = self.windows[index]
        rng = np.random.default_rng(
            (self.windows.seed, index, 1)
        )  # the window's own is without the 1
        u = (index % self.batch + rng.random()) / self.batch
        if not isinstance(self.model, Cells):
            density = density if rng.random() < 0.5 else np.nan  # half the time unknown
            return {
                "mask": mask[None],
                "x0": to_pixels(picture),
                "noise": rng.standard_normal((3, *mask.shape), np.float32),
                "sigma": sample_sigma(self.sigmas, torch.tensor(u)),
                "density": np.float32(density),
            }
        return {
            "mask": mask & masks.everything(picture),
            "t": np.float32(1 - u),  # chord rows: no cells
            "cells": self.model.encode(picture),
            "chords": chord_channels(picture, mask),
            "noise": rng.random(mask.shape, np.float32),
        }


def loss_of(model: Any, batch: dict[str, Tensor], options: TrainOptions) -> Tensor:
    """Loss of a batch of TrainSet, float (batch,): bits per hidden cell (cells) or the weighted denoising error (edm)."""
    mask, noise = batch["mask"], batch["noise"]
    if options.process == "cells":
        t, states = (
            batch["t"],
            getattr(model, "module", model).states,
        )  # out of accelerate's wrapper
        hidden = mask & (noise < t[:, None, None])
        bits = cell_bound(
            lambda cells, chords, _: model(cells, chords, t),
            batch["cells"],
            batch["chords"],
            hidden,
            states,
            torch.ones_like(t),
        )  # of each hidden cell: which ones, the item has said
        return bits * hidden.sum((1, 2)) / (t * mask.sum((1, 2)).clamp(min=1))
    x0 = batch["x0"]
    conditions = (
        {"region": mask, "known": x0, "mask": mask, "density": batch["density"]}
        if options.conditioned
        else {}
    )
    return denoising_loss(model, x0, noise, batch["sigma"], options.weighting, **conditions)


def new_model(options: TrainOptions) -> Model:
    """The model that the options begin with: a fresh one, or that of `init`."""
    if options.init:
        return load_model(options.init, "cpu").train()
    check_choice("model", options.model, CONFIGS)
    channels = {"in_channels": 7, "mapping_cond_dim": 2} if options.conditioned else {}
    if options.process == "cells":
        channels = {
            "in_channels": Cells.in_channels(len(VELOCITIES)),
            "out_channels": ONSET + len(VELOCITIES),
        }
    return build_model(
        asdict(options)
        | {"network": CONFIGS[options.model].to_dict() | channels, "velocities": VELOCITIES}
    )


class Trainer:
    """One run: `Trainer(options).run()` trains, saves and draws as it goes; `resume=True` goes on from the state."""

    def __init__(self, options: TrainOptions, resume: bool = False, progress: bool = True) -> None:
        if options.init:
            own = spec_of(load_model(options.init))
            options = replace(
                options, **{name: own[name] for name in own.keys() & vars(options).keys()}
            )
        self.options, self.out = options, Path(options.out)
        state = self.out / "state.safetensors"
        if resume != state.exists():
            raise OptionError(
                f"{state} does not exist, so there is nothing to resume; leave --resume out"
                if resume
                else f"{state} exists; add --resume to go on with it, or choose another --out"
            )
        torch.set_num_threads(options.threads or torch.get_num_threads())
        auto = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
        precision = auto if options.precision == "auto" else options.precision
        self.accelerator = Accelerator(
            mixed_precision=precision, cpu=not torch.accelerator.is_available()
        )
        self.progress = progress and self.accelerator.is_main_process
        corpus = read_corpus(options.data or assets_dir() / "songs", progress=self.progress)
        train, valid = (
            corpus.split(s).songs if options.data else corpus.songs for s in ("train", "valid")
        )  # few ship: all
        self.windows = Windows(train, options.width, seed=options.seed)
        self.valid = Windows(valid or train, options.width, semitones=(0, 0), seed=VALID_SEED)
        torch.manual_seed(options.seed)
        self.model: Model = new_model(options).to(self.accelerator.device)
        self.optimizer: Any = torch.optim.AdamW(
            self.model.network.param_groups(1e-3), betas=(0.9, 0.95)
        )
        self.step, self.seconds, self.speed = (
            0,
            0.0,
            dict[str, float](),
        )  # speed: since it began or resumed
        self.log, self.valid_log = list[tuple[int, float]](), list[tuple[int, float]]()
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        self.ema = deepcopy(self.model).eval()  # its weights are judged, drawn with and shipped
        if resume:
            self._load(state)
        if options.compile:
            self.model.network.compile()

    def rate(self, step: int) -> float:
        """Factor on the learning rate: linear warm-up, constant, linear cool-down to 0."""
        o = self.options
        return min(1.0, (step + 1) / max(o.warmup, 1)) * min(
            1.0, (o.steps - step) / max(o.cooldown * o.steps, 1)
        )

    def run(self) -> Path:
        """Train to the last step; the path of the finished model (EMA weights)."""
        o, first, before, started = (
            self.options,
            self.step,
            self.seconds,
            time.monotonic() - self.seconds,
        )
        order = np.arange(o.steps * self.accelerator.num_processes * o.batch).reshape(
            o.steps, -1, o.batch
        )
        loader = DataLoader(
            TrainSet(self.windows, self.model, order[0].size, o.density),
            num_workers=o.loaders,
            batch_sampler=list(order[first:, self.accelerator.process_index]),
        )
        bar = tqdm(
            loader,
            f"training {o.process}",
            o.steps,
            initial=first,
            smoothing=0.05,
            disable=not self.progress,
        )
        recent, waited, free = list[float](), 0.0, time.monotonic()
        for batch in bar:
            batch = send_to_device(batch, self.accelerator.device)
            waited += time.monotonic() - free
            recent.append(self._train_step(batch))  # it reads the loss, so the device has finished
            self.step += 1
            self.seconds = time.monotonic() - started
            self.speed = {
                "pictures_per_second": round(
                    (self.step - first) * order[0].size / (self.seconds - before), 1
                ),
                "waiting_for_data": round(waited / (self.seconds - before), 3),
            }
            saving, drawing = (
                self.step % every == 0 or self.step == o.steps
                for every in (o.save_every, o.sample_every)
            )
            if saving or self.step % 50 == 0:
                self.log.append((self.step, float(np.mean(recent))))
                bar.set_postfix(loss=f"{self.log[-1][1]:.4f}", **self.speed)
                recent = []
            if saving and self.accelerator.is_main_process:
                self._save()
            if drawing and self.accelerator.is_main_process:
                self._draw()
            free = time.monotonic()
        return self.out / "model.safetensors"

    def _train_step(self, batch: dict[str, Tensor]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * self.rate(self.step) * group["lr_scale"]
        with self.accelerator.autocast():
            loss = loss_of(self.wrapped, batch, self.options).mean()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        decay = min(0.9999, 1 - (1 + self.step) ** -0.75)
        torch._foreach_lerp_(
            list(self.ema.state_dict().values()), list(self.model.state_dict().values()), 1 - decay
        )
        if not np.isfinite(value := self.accelerator.reduce(loss.detach(), "mean").item()):
            raise PomkitError(
                f"the loss is {value} at step {self.step}; resume from the last state with a lower --lr"
            )
        return value

    @torch.inference_mode()
    def valid_loss(self) -> float:
        """Loss of the EMA weights on fixed validation windows with fixed noise."""
        n = self.options.valid_windows
        loader = DataLoader(
            Subset(TrainSet(self.valid, self.model, n, self.options.density), range(n)), 16
        )
        losses = [
            loss_of(self.ema, send_to_device(batch, self.accelerator.device), self.options)
            for batch in loader
        ]
        return float(torch.cat(losses).mean())

    def _save(self) -> None:
        o = self.options
        self.valid_log.append((self.step, self.valid_loss()))
        parts = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            **{
                f"optimizer.{name}": self.optimizer.state[p]
                for name, p in self.model.named_parameters()
            },
        }
        tensors = {
            f"{part}.{k}": v.cpu().contiguous()
            for part, values in parts.items()
            for k, v in values.items()
        }
        info = {
            "step": self.step,
            "seconds": self.seconds,
            "log": self.log,
            "valid": self.valid_log,
            "options": asdict(o),
        }
        write(self.out / "state.safetensors", save(tensors, {"info": json.dumps(info)}))
        names, gpu = (
            "\n".join(sorted(song.name for song in self.windows.songs)),
            torch.cuda.is_available(),
        )
        card = {
            "options": {k: v for k, v in asdict(o).items() if k not in ("data", "out")},
            "data": Path(o.data).name if o.data else "the shipped songs",
            "songs": len(self.windows.songs),
            "songs_sha256": hashlib.sha256(names.encode()).hexdigest()[:12],
            "curve": self.valid_log,
            "device": torch.cuda.get_device_name()
            if gpu
            else f"CPU, {torch.get_num_threads()} threads",
            "steps": self.step,
            "pictures": self.step * o.batch * self.accelerator.num_processes,
            "hours": round(self.seconds / 3600, 3),
            "train_loss": self.log[-1][1],
            "valid_loss": self.valid_log[-1][1],
            **self.speed,
        }
        save_model(self.out / "model", self.ema, card)
        steps, losses = zip(*self.log, strict=True)
        plot.loss_plot(self.out / "loss.png", steps, losses, valid=self.valid_log)

    def _load(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                info = json.loads(file.metadata()["info"])
                tensors = {k: file.get_tensor(k).to(self.accelerator.device) for k in file.keys()}  # noqa: SIM118 (no dict)
            names = [
                "model.",
                "ema.",
                *(f"optimizer.{name}." for name, _ in self.model.named_parameters()),
            ]
            model, ema, *states = (
                {k.removeprefix(n): v for k, v in tensors.items() if k.startswith(n)} for n in names
            )
            self.model.load_state_dict(model)
            self.ema.load_state_dict(ema)
            self.optimizer.state.update(zip(self.model.parameters(), states, strict=True))
        except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as fault:
            raise CheckpointError(
                f"{path} is damaged or of another architecture ({str(fault).splitlines()[0][:150]}); "
                "resume with the options it was made with, or start anew in another --out"
            ) from fault
        self.step, self.seconds, self.log, self.valid_log = (
            info[key] for key in ("step", "seconds", "log", "valid")
        )

    def _draw(self) -> None:
        """Four validation windows and their middle half composed anew: what the model can do by now, as a figure."""
        width = self.options.width
        mask = masks.bars(width, width // 64 + 1, width // 16 - width // 64)
        pairs = [
            (picture := self.valid[i].picture, inpaint(self.ema, picture, mask, seed=i)[0])
            for i in range(4)
        ]
        plot.save_pairs(self.out / f"samples_{self.step:07d}.png", pairs, mask)
