"""Training: one loop for every process, resumable to the same weights.

    Trainer(TrainOptions(data="songs/", out="runs/mine", steps=2000)).run()

Everything random depends on the seed and on the window's number, and the whole state is one
atomically written file: a killed run goes on with `resume=True` as if nothing had happened, and
`accelerate launch -m pomkit.train` steps as one device with all windows. Read on: `examples` (what
is learned), `state` (the file, the card), `processes.contract` (what a family of models says).
"""

import atexit
import contextlib
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from ..composing.region import inpaint
from ..data.mask_mix import MASK_MIX, check_mix
from ..data.mixture import Mixture, part_of
from ..data.reading import read_corpus
from ..data.windows import Windows, usual_densities
from ..errors import OptionError, PomkitError, check_range
from ..files import assets_dir
from ..play import plot
from ..processes.checkpoint import save_model
from ..processes.contract import Model
from .examples import TrainSet, loss_of, mask_to_draw, new_model
from .options import TrainOptions, with_init
from .state import Progress, damage_told, load_state, make_card, save_state

# The validation windows are drawn apart from all training windows.
VALID_SEED = 10**6
# The paper's average of weights: 1 - (1 + step)^-power, at most MOST_DECAY.
EMA_POWER = 0.75
MOST_DECAY = 0.9999
WEIGHT_DECAY = 1e-3
LARGEST_GRADIENT = 1.0
LOG_EVERY = 50  # steps
WINDOWS_DRAWN = 4
MOST_MINUTES = 60 * 24 * 365
# The exponents of --hidden-power that are taken.
HIDDEN_POWERS = (0.1, 10.0)


class Trainer:
    """One run: `Trainer(options).run()` trains, saves and draws as it goes."""

    def __init__(self, options: TrainOptions, resume: bool = False, progress: bool = True) -> None:
        """Read the songs, make the model, or go on from the state of a run folder.

        Args:
            options: of the run.
            resume: go on from the state in `options.out`.
            progress: show bars.

        Raises:
            OptionError: there is a state and no `resume`, or the reverse; an option is unknown.
            CheckpointError: the state, or the model to fine-tune, cannot be loaded.
        """
        self.options = with_init(options)
        self.out = Path(options.out)
        state = self.out / "state.safetensors"
        check_state(state, resume)

        check_range("minutes", self.options.minutes, 0, MOST_MINUTES)
        check_range("hidden_power", self.options.hidden_power, *HIDDEN_POWERS)
        torch.set_num_threads(options.threads or torch.get_num_threads())
        self.accelerator = Accelerator(
            mixed_precision=precision_of(options), cpu=not torch.accelerator.is_available()
        )
        if self.accelerator.num_processes > 1:
            atexit.register(leave_the_others)
        self.progress = progress and self.accelerator.is_main_process
        self.windows, self.valid = self._read_windows()
        self._make_model()
        if resume:
            self._load(state)
        if options.compile:
            self.model.network.compile()

    def _read_windows(self) -> tuple[Windows, Windows]:
        """Training and validation windows; of the shipped songs, which are few, all serve both."""
        o = self.options
        self.corpora: list[dict[str, Any]] = []
        mix = check_mix(o.mask_mix or MASK_MIX)
        apart: dict[str, Any] = {"semitones": (0, 0), "seed": VALID_SEED, "mix": mix}
        if not o.data:
            songs = read_corpus(assets_dir() / "songs", progress=self.progress).songs
            self.densities = usual_densities(songs, o.width)
            return Windows(songs, o.width, seed=o.seed, mix=mix), Windows(songs, o.width, **apart)

        mixture = Mixture(o.data, o.mix, self.progress)
        self.corpora = mixture.describe()
        # Music from nothing is as busy as that of the corpus that is named first.
        self.densities = usual_densities(part_of(mixture.corpora[0], "train"), o.width)
        train = mixture.windows("train", o.width, seed=o.seed, mix=mix)
        return train, mixture.windows("valid", o.width, **apart)

    def _make_model(self) -> None:
        """The model, its optimiser, and the average of its weights."""
        torch.manual_seed(self.options.seed)
        self.model: Model = new_model(self.options).to(self.accelerator.device)
        if not self.model.trains:
            raise OptionError(f"{self.model.process} models do not learn; choose another process")
        for windows in (self.windows, self.valid):
            windows.recalls = self.model.recalls
        check_devices(self.model, self.options, self.accelerator.num_processes)
        groups = self.model.parameter_groups(WEIGHT_DECAY)
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
        self.wrapped, self.optimizer = self.accelerator.prepare(self.model, optimizer)
        # The average is judged, drawn with and shipped.
        self.ema = deepcopy(self.model).eval()
        self.reached = Progress()
        self.speed: dict[str, float] = {}

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.reached.step

    @property
    def log(self) -> list[tuple[int, float]]:
        """(step, training loss), the mean since the entry before."""
        return self.reached.log

    @property
    def valid_log(self) -> list[tuple[int, float]]:
        """(step, validation loss)."""
        return self.reached.valid

    def rate(self, step: int) -> float:
        """Factor on the learning rate: linear warm-up, constant, linear cool-down to 0."""
        o = self.options
        warmup = (step + 1) / max(o.warmup, 1)
        cooldown = (o.steps - step) / max(o.cooldown * o.steps, 1)
        if o.minutes:
            cooldown = (1 - self.spent) / max(o.cooldown, 1e-6)
        return min(1.0, warmup) * min(1.0, max(cooldown, 0.0))

    @property
    def spent(self) -> float:
        """How much of its minutes of CPU time a run has spent; from 1 on it ends."""
        return self.reached.cpu_seconds / (60 * self.options.minutes)

    @property
    def is_over(self) -> bool:
        """Whether the last step is done."""
        if self.options.minutes:
            return self.spent >= 1
        return self.step >= self.options.steps

    def run(self) -> Path:
        """Train to the last step, or until the minutes are over.

        Returns:
            The path of the finished model: the averaged weights.

        Raises:
            PomkitError: the loss is not finite.
        """
        o = self.options
        clock = Clock(self.reached, self.pictures_per_step)
        steps = None if o.minutes else o.steps
        bar = tqdm(
            self._batches(), f"training {o.process}", steps, initial=self.step,
            smoothing=0.05, disable=not self.progress,
        )  # fmt: skip
        recent: list[float] = []
        for batch in bar:
            batch = send_to_device(batch, self.accelerator.device)
            clock.begin_step()
            # It reads the loss, so the device has finished.
            recent.append(self._train_step(batch))
            self.reached.step += 1
            self.speed = clock.end_step()

            saving = self._due(o.save_every)
            if saving or self.step % LOG_EVERY == 0:
                self.log.append((self.step, float(np.mean(recent))))
                bar.set_postfix(loss=f"{self.log[-1][1]:.4f}", **self.speed)
                recent = []
            if saving and self.accelerator.is_main_process:
                self._save()
            if self._due(o.sample_every) and self.accelerator.is_main_process:
                self._draw()
            clock.wait_for_data()
            if self.is_over:
                break
        return self.out / "model.safetensors"

    @property
    def pictures_per_step(self) -> int:
        """Windows of one optimiser step, on all devices together."""
        return self.options.batch * self.accelerator.num_processes

    def _due(self, every: int) -> bool:
        """Whether something is done now that is done every so many steps, and at the end."""
        return self.step % every == 0 or self.is_over

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """The batches of the steps that are left, those of this device."""
        o = self.options
        items = TrainSet(self.windows, self.model, self.pictures_per_step, o)
        return iter(DataLoader(items, num_workers=o.loaders, batch_sampler=self._numbers()))

    def _numbers(self) -> Iterator[list[int]]:
        """The numbers of the windows of each step that is left, those of this device."""
        o = self.options
        place = self.accelerator.process_index * o.batch
        step = self.step
        while (self.spent < 1) if o.minutes else (step < o.steps):
            first = step * self.pictures_per_step + place
            yield list(range(first, first + o.batch))
            step += 1

    def _train_step(self, batch: dict[str, Tensor]) -> float:
        """One step of the optimiser, of each part in turn; the loss of the first one."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * self.rate(self.step) * group["lr_scale"]
        losses = [self._step_part(batch, part) for part in self.model.turns(self.step)]
        self._average()

        for loss in losses:
            value = self.accelerator.reduce(loss, "mean").item()
            if not np.isfinite(value):
                raise PomkitError(
                    f"the loss is {value} at step {self.step}; "
                    "resume from the last state with a lower --lr"
                )
        return self.accelerator.reduce(losses[0], "mean").item()

    def _step_part(self, batch: dict[str, Tensor], part: str) -> Tensor:
        """Step one part of the model; its loss, float ()."""
        # The weights of the others are constants: they get no gradients, and AdamW leaves them.
        if len(self.model.parts) > 1:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(name.startswith(self.model.parts[part]))
        with flushed_denormals():
            with self.accelerator.autocast():
                loss = loss_of(self.wrapped, batch, self.options, part).mean()
            self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.after_step(part)
        return loss.detach()

    def _average(self) -> None:
        """Move the averaged weights towards the present ones."""
        decay = min(MOST_DECAY, 1 - (1 + self.step) ** -EMA_POWER)
        pairs = zip(self.ema.state_dict().values(), self.model.state_dict().values(), strict=True)
        averages: list[Tensor] = []
        present: list[Tensor] = []
        for average, now in pairs:
            # Counters, as of a batch norm, have no average.
            if not average.is_floating_point():
                average.copy_(now)
                continue
            averages.append(average)
            present.append(now)
        torch._foreach_lerp_(averages, present, 1 - decay)

    @torch.no_grad()
    def valid_loss(self) -> float:
        """Loss of the averaged weights on fixed validation windows with fixed noise."""
        n = self.options.valid_windows
        # Every run is measured at the same hidden shares.
        options = replace(self.options, hidden_power=1.0)
        items = Subset(TrainSet(self.valid, self.model, n, options), range(n))
        losses = []
        for batch in DataLoader(items, 16):
            batch = send_to_device(batch, self.accelerator.device)
            losses.append(loss_of(self.ema, batch, self.options))
        return float(torch.cat(losses).mean())

    def _save(self) -> None:
        """Write the state, the model with its card, and the plot of the losses."""
        self.valid_log.append((self.step, self.valid_loss()))
        save_state(self.out / "state.safetensors", self.reached, self.options, self._state_parts())
        songs = [song.name for song in self.windows.songs]
        pictures = self.step * self.pictures_per_step
        card = make_card(self.reached, self.options, songs, pictures)
        card["corpora"] = self.corpora
        card["densities"] = self.densities
        save_model(self.out / "model", self.ema, card | self.speed)
        steps, losses = zip(*self.log, strict=True)
        plot.loss_plot(self.out / "loss.png", steps, losses, valid=self.valid_log)

    def _state_parts(self) -> dict[str, dict[str, Tensor]]:
        """What the state holds: the weights, their average, the optimiser's moments."""
        parts = {"model": self.model.state_dict(), "ema": self.ema.state_dict()}
        for name, parameter in self.model.named_parameters():
            parts[f"optimizer.{name}"] = self.optimizer.state[parameter]
        return parts

    def _load(self, path: Path) -> None:
        """Go on from a state."""
        optimizer = [f"optimizer.{name}" for name, _ in self.model.named_parameters()]
        names = ["model", "ema", *optimizer]
        reached, parts = load_state(path, names, self.accelerator.device)
        with damage_told(path):
            self.model.load_state_dict(parts["model"])
            self.ema.load_state_dict(parts["ema"])
            moments = [parts[name] for name in optimizer]
            pairs = zip(self.model.parameters(), moments, strict=True)
            self.optimizer.state.update(pairs)
        self.reached = reached

    def _draw(self) -> None:
        """Some validation windows, a part of each composed anew, as a figure."""
        mask = mask_to_draw(self.ema, self.options.width)
        methods = self.ema.methods
        quickest = min(methods, key=lambda name: methods[name])
        if mask is None:
            return
        pairs = []
        for i in range(WINDOWS_DRAWN):
            window = self.valid[i]
            metre: dict[str, Any] = {"bars": window.bars, "meters": window.meters}
            after = inpaint(self.ema, window.picture, mask, seed=i, method=quickest, **metre)[0]
            pairs.append((window.picture, after))
        plot.save_pairs(self.out / f"samples_{self.step:07d}.png", pairs, mask)


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Round denormal numbers to 0 meanwhile, and leave the processor as it was.

    The gradients of what is nearly certain are such numbers, and a CPU is slow on them: a step of
    edm's cells head took three to seven times as long.
    """
    half_of_least = torch.tensor(torch.finfo(torch.float32).tiny) / 2
    before = not half_of_least.bool().item()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


class Clock:
    """How long a run has taken, and how much of that it waited for data."""

    def __init__(self, reached: Progress, pictures_per_step: int) -> None:
        self.reached = reached
        self.pictures_per_step = pictures_per_step
        self.first_step = reached.step
        self.seconds_before = reached.seconds
        self.started = time.monotonic() - reached.seconds
        self.waited = 0.0
        self.wait_for_data()

    def wait_for_data(self) -> None:
        """The device is free: what follows is waiting."""
        self.free = time.monotonic()
        self.cpu = time.process_time()

    def begin_step(self) -> None:
        """The data are there."""
        self.waited += time.monotonic() - self.free

    def end_step(self) -> dict[str, float]:
        """The step is done: the speed since the run began or resumed."""
        self.reached.seconds = time.monotonic() - self.started
        self.reached.cpu_seconds += time.process_time() - self.cpu
        spent = self.reached.seconds - self.seconds_before
        pictures = (self.reached.step - self.first_step) * self.pictures_per_step
        return {
            "pictures_per_second": round(pictures / spent, 1),
            "waiting_for_data": round(self.waited / spent, 3),
        }


def leave_the_others() -> None:
    """End what binds this process to those that train with it."""
    # Its threads must end before the interpreter does, else the process may abort at its exit.
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def check_devices(model: Model, options: TrainOptions, devices: int) -> None:
    """Raise OptionError where several devices would share what one alone can do."""
    if devices == 1 or not (options.minutes or len(model.parts) > 1):
        return
    what = "--minutes" if options.minutes else f"training {model.process} models"
    raise OptionError(f"{what} was asked of {devices} devices and needs one alone; start one")


def check_state(state: Path, resume: bool) -> None:
    """Raise OptionError unless there is a state to resume, or none and nothing to resume."""
    if resume and not state.exists():
        raise OptionError(
            f"{state} does not exist, so there is nothing to resume; leave --resume out"
        )
    if state.exists() and not resume:
        raise OptionError(f"{state} exists; add --resume to go on with it, or choose another --out")


def precision_of(options: TrainOptions) -> str:
    """The precision of the arithmetic: bf16 where a GPU has it, unless the options say more."""
    if options.precision != "auto":
        return options.precision
    capable = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16" if capable else "no"
