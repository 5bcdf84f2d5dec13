"""Checkpoints: NAME.safetensors (weights) and NAME.json (architecture, sha256 of the weights, model card)."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from ..errors import CheckpointError, OptionError, check_choice
from ..files import AnyPath, assets_dir, write
from ..networks.hdit import HDiT, HDiTConfig
from .cells import Cells
from .edm import Denoiser

FORMAT = "pomkit-1"
Model = Cells | Denoiser


def build_model(spec: dict[str, Any]) -> Model:
    """A model with fresh weights from its specification: process, network, width and the process's own options."""
    check_choice("process", spec["process"], ("cells", "edm"))
    network = HDiT(HDiTConfig.from_dict(spec["network"]))
    if spec["process"] == "cells":
        return Cells(network, spec["velocities"], spec["width"])
    return Denoiser(
        network, spec["sigma_data"], spec["conditioned"], spec["width"], spec.get("centre", 0.0)
    )


def spec_of(model: Model) -> dict[str, Any]:
    """The specification from which `build_model` makes the same architecture again; plain JSON values."""
    own = (
        {"velocities": list(model.velocities)}
        if isinstance(model, Cells)
        else {
            "sigma_data": model.sigma_data,
            "centre": model.centre,
            "conditioned": model.conditioned,
        }
    )
    return {
        "process": model.process,
        "width": model.width,
        "network": model.network.config.to_dict(),
        **own,
    }


def save_model(
    path: AnyPath,
    model: Model,
    card: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write PATH.safetensors, its floating-point weights as `dtype`, and PATH.json, atomically."""
    path = Path(path).with_suffix(".safetensors")
    data = save(
        {
            k: v.to("cpu", dtype if v.is_floating_point() else None).contiguous()
            for k, v in model.state_dict().items()
        }
    )
    spec = {
        "format": FORMAT,
        "sha256": hashlib.sha256(data).hexdigest(),
        **spec_of(model),
        "parameters": sum(p.numel() for p in model.parameters()),
        "card": card or model.card,
    }
    write(path, data)
    write(path.with_suffix(".json"), json.dumps(spec, indent=1).encode() + b"\n")
    return path


def load_model(name: AnyPath, device: str | torch.device | None = None) -> Model:
    """Load a shipped model by name ("tiny", "tiny-edm"), or any by the path of its .safetensors or .json file, for evaluation,
    to `device` (default: a CUDA GPU where there is one, else the CPU); it has `.process` and `.card`. CheckpointError."""
    weights = (path := card_path(name)).with_suffix(".safetensors")
    try:
        spec, data = json.loads(path.read_text()), weights.read_bytes()
    except (OSError, ValueError) as fault:
        raise CheckpointError(
            f"{path} or {weights.name} is missing or damaged ({fault}); get both files again"
        ) from fault
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of format {FORMAT}; get it again or train anew"
        )
    if hashlib.sha256(data).hexdigest() != spec.get("sha256"):
        raise CheckpointError(
            f"{weights} is damaged or not the one that {path.name} tells of (sha256); get both files again"
        )
    try:
        model = build_model(spec)
        model.load_state_dict(load(data))  # half-precision weights become float32
    except (OptionError, KeyError, TypeError, RuntimeError) as fault:
        reason = str(fault).splitlines()[0][:200]
        raise CheckpointError(
            f"{weights} has another architecture than {path.name} says ({reason}); get both anew"
        ) from fault
    model.card = spec.get("card", {})
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()


def model_names() -> list[str]:
    """The names of the shipped models."""
    return sorted(p.stem for p in (assets_dir() / "models").glob("*.safetensors"))


def card_path(name: AnyPath) -> Path:
    """The .json file of a model, by the model's name or by the path of either of its files; CheckpointError."""
    path = Path(name)
    if path.suffix in (".safetensors", ".json"):
        return path.with_suffix(".json")
    for card in (Path(f"{path}.json"), assets_dir() / "models" / f"{path}.json"):
        if card.exists():
            return card
    raise CheckpointError(
        f"there is no model {str(name)!r}; choose one of {', '.join(model_names())} or a .safetensors file"
    )
