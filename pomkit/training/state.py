"""The state of a run in one file, written whole or not at all; and the card of its model.

A killed run goes on from its state as if nothing had happened.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..errors import CheckpointError
from ..files import write
from .options import TrainOptions


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: optimiser steps done.
        seconds: spent on them, all parts of the run together.
        cpu_seconds: of CPU time, all threads together, on the steps and their data.
        log: (step, training loss), means since the entry before.
        valid: (step, validation loss).
    """

    step: int = 0
    seconds: float = 0.0
    log: list[tuple[int, float]] = field(default_factory=list)
    valid: list[tuple[int, float]] = field(default_factory=list)
    cpu_seconds: float = 0.0


def save_state(
    path: Path, progress: Progress, options: TrainOptions, parts: dict[str, dict[str, torch.Tensor]]
) -> None:
    """Write the state of a run: tensors of any shape.

    Args:
        path: of the file.
        progress: how far the run is.
        options: of the run.
        parts: name of a part -> its tensors by name.
    """
    tensors: dict[str, torch.Tensor] = {}
    for part, values in parts.items():
        named = {f"{part}.{name}": value for name, value in values.items()}
        tensors |= {name: value.cpu().contiguous() for name, value in named.items()}
    info = {**asdict(progress), "options": asdict(options)}
    write(path, save(tensors, {"info": json.dumps(info)}))


def load_state(
    path: Path, names: list[str], device: torch.device
) -> tuple[Progress, dict[str, dict[str, torch.Tensor]]]:
    """Read what `save_state` wrote: tensors of any shape.

    Args:
        path: of the file.
        names: of the parts that are wanted.
        device: of the tensors.

    Returns:
        How far the run is, and the parts: name -> tensors by name.

    Raises:
        CheckpointError: the file is damaged.
    """
    with damage_told(path), safe_open(path, "pt") as file:
        info = json.loads(file.metadata()["info"])
        keys = list(file.keys())
        tensors = {key: file.get_tensor(key).to(device) for key in keys}
        known = {each.name for each in fields(Progress)}
        progress = Progress(**{name: info[name] for name in info.keys() & known})

    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name in names:
        prefix = f"{name}."
        parts[name] = {
            k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)
        }
    return progress, parts


@contextlib.contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turn whatever fails on a state into one CheckpointError."""
    try:
        yield
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as fault:
        reason = str(fault).splitlines()[0][:150]
        raise CheckpointError(
            f"{path} is damaged or of another architecture ({reason}); resume with the options it "
            "was made with, or start anew in another --out"
        ) from fault


def without_folders(value: Any) -> Any:
    """The last two parts of an absolute path: a card goes to others; anything else as it is."""
    if not isinstance(value, str) or not Path(value).is_absolute():
        return value
    return "/".join(Path(value).parts[-2:])


def make_card(
    progress: Progress, options: TrainOptions, songs: list[str], pictures: int
) -> dict[str, Any]:
    """What is known of a trained model, JSON values.

    Args:
        progress: of its run.
        options: of its run.
        songs: the names of the songs that it learned from.
        pictures: how many windows it saw.
    """
    gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    names = "\n".join(sorted(songs))
    shown = {k: v for k, v in asdict(options).items() if k not in ("data", "out")}
    shown["init"] = without_folders(shown["init"])
    shown["own"] = {name: without_folders(value) for name, value in shown["own"].items()}
    card: dict[str, Any] = {"options": shown}

    # What it learned from.
    corpora = [Path(name).name for name in options.data.split(",")]
    card["data"] = ", ".join(corpora) if options.data else "the shipped songs"
    card["songs"] = len(songs)
    card["songs_sha256"] = hashlib.sha256(names.encode()).hexdigest()[:12]

    # How it went.
    card["curve"] = progress.valid
    card["device"] = device
    card["steps"] = progress.step
    card["pictures"] = pictures
    card["hours"] = round(progress.seconds / 3600, 3)
    card["cpu_minutes"] = round(progress.cpu_seconds / 60, 2)
    card["train_loss"] = progress.log[-1][1]
    card["valid_loss"] = progress.valid[-1][1]
    return card
