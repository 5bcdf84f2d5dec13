"""Checkpoints: NAME.safetensors (weights) and NAME.json (architecture, sha256, model card).

    model = load_model("tiny")                     # a shipped one, or the path of a file
    save_model("runs/mine/model", model, card={"data": "my songs"})

Nothing is unpickled. The family of a model stands in its specification, and makes the model anew.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from ..errors import CheckpointError, OptionError, check_choice, check_kind, refused, shown
from ..files import AnyPath, assets_dir, write
from ..music.tables import GRIDS
from .contract import Model
from .registry import family

CHECKPOINT_FORMAT = "pomkit-1"


def build_model(spec: Mapping[str, Any]) -> Model:
    """A model with fresh weights from its specification: process, network, width and the rest.

    Raises:
        OptionError: the process, a part of the network or the grid is unknown.
    """
    model = family(spec["process"]).from_spec(spec)
    # Older specifications do not name the grid.
    grid = spec.get("steps_per_beat", model.steps_per_beat)
    check_choice("steps_per_beat", grid, GRIDS)
    model.steps_per_beat = grid
    return model


def spec_of(model: Model) -> dict[str, Any]:
    """The specification from which `build_model` makes the same architecture: JSON values."""
    return model.spec()


def save_model(
    path: AnyPath,
    model: Model,
    card: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a model's two files, each whole or not at all.

    Args:
        path: of the files, with or without a suffix.
        model: the model.
        card: what is known of it, JSON values; None is `model.card`.
        dtype: of the floating-point weights in the file.

    Returns:
        The path of the .safetensors file.
    """
    path = Path(path).with_suffix(".safetensors")
    weights = {}
    for name, value in model.state_dict().items():
        kind = dtype if value.is_floating_point() else None
        weights[name] = value.to("cpu", kind).contiguous()
    data = save(weights)

    parameters = sum(p.numel() for p in model.parameters())
    spec: dict[str, Any] = {"format": CHECKPOINT_FORMAT, "sha256": hashlib.sha256(data).hexdigest()}
    spec |= {**model.spec(), "parameters": parameters, "card": card or model.card}
    write(path, data)
    write(path.with_suffix(".json"), json.dumps(spec, indent=1).encode() + b"\n")
    return path


def load_model(name: AnyPath, device: str | torch.device | None = None) -> Model:
    """Load a model for evaluation; it has `.process` and `.card`.

    Args:
        name: of a shipped model ("tiny", "tiny-edm", "ladder/pixelcnn"), or the path of either of
            its files.
        device: where it shall be; None is a CUDA GPU where there is one, else the CPU.

    Raises:
        CheckpointError: a file is missing, damaged, foreign, or of another architecture.
        OptionError: there is no such device.
    """
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    remedy = f"choose {usual!r}, or another one that torch has here"
    with refused("device", device, remedy):
        place = torch.device(usual if device is None else device)

    path = card_path(name)
    spec, data = read_files(path)
    weights = path.with_suffix(".safetensors")
    try:
        model = build_model(spec)
        # Half-precision weights become float32.
        model.load_state_dict(load(data))
    except (OptionError, KeyError, TypeError, RuntimeError) as fault:
        reason = str(fault).splitlines()[0][:200]
        raise CheckpointError(
            f"{weights} has another architecture than {path.name} says ({reason}); get both anew"
        ) from fault
    model.card = spec.get("card", {})
    with refused("device", device, remedy):
        return model.to(place).eval()


def read_files(path: Path) -> tuple[dict[str, Any], bytes]:
    """The specification and the bytes of the weights of a checkpoint, checked.

    Args:
        path: of the .json file.

    Raises:
        CheckpointError: a file is missing, damaged or foreign.
    """
    weights = path.with_suffix(".safetensors")
    try:
        spec = json.loads(path.read_text())
        data = weights.read_bytes()
    except (OSError, ValueError) as fault:
        raise CheckpointError(
            f"{path} or {weights.name} is missing or damaged ({fault}); get both files again"
        ) from fault

    if not isinstance(spec, dict) or spec.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of format {CHECKPOINT_FORMAT}; get it again or train anew"
        )
    if hashlib.sha256(data).hexdigest() != spec.get("sha256"):
        raise CheckpointError(
            f"{weights} is damaged or not the one that {path.name} tells of (sha256); "
            "get both files again"
        )
    return spec, data


def model_names() -> list[str]:
    """The names of the shipped models."""
    return sorted(p.stem for p in (assets_dir() / "models").glob("*.safetensors"))


def card_path(name: AnyPath) -> Path:
    """The .json file of a model, by the model's name or by the path of either of its files.

    Raises:
        CheckpointError: there is no such model.
    """
    remedy = "give a model's name, or the path of its file"
    check_kind("the model's name", name, str | os.PathLike, remedy)
    path = Path(name)
    if path.suffix in (".safetensors", ".json"):
        return path.with_suffix(".json")
    for card in (Path(f"{path}.json"), assets_dir() / "models" / f"{path}.json"):
        if os.path.exists(card):
            return card
    names = ", ".join(model_names())
    raise CheckpointError(
        f"there is no model {shown(str(name))}; choose one of {names}, a rung of the ladder as "
        "'ladder/coconet', or a .safetensors file"
    )
