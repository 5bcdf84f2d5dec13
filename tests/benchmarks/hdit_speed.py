"""How fast HDiT is beside the authors' own code: same configurations, same weights, in turn.

    python tests/benchmarks/hdit_speed.py --reference FOLDER [--before FOLDER] [--turns 40]
        [--only tiny small] [--out assets/reports]

FOLDER of `--reference` is a checkout of github.com/crowsonkb/k-diffusion; of `--before`, an older
checkout of pomkit. "plain" is ours without the convolutions of `networks.matrix`. First every
network must give the same answer as ours, to 1e-4. Then they take turns, so that other work on the
machine slows all of them alike. Measured is the processor's time of one thread, the least over all
turns:

- forward: one network call without gradients.
- training: a network call with gradients, the way back, and a step of AdamW.

Nothing is compiled. The three small shapes are those of tests/parity; `tiny` and `small` are those
of `CONFIGS` with 10 channels in and no local head (one picture of 512 columns forward, eight of 256
in training). A ratio above 1 means that ours is faster. Writes assets/reports/hdit_speed.json.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from claims import ROOT, write
from torch import Tensor, nn

from pomkit.networks import matrix
from pomkit.networks.attention import Level
from pomkit.networks.hdit import CONFIGS, HDiT, HDiTConfig

sys.path.insert(0, str(ROOT))
from tests.original import our_weights

# Channels of cells that are told of chords alone, and of the answer.
CELLS = {"in_channels": 10, "out_channels": 6}
ORIGINAL = "k_diffusion.models.image_transformer_v2"


@dataclass(frozen=True)
class Case:
    """A configuration and the pictures that it is measured with.

    Args:
        config: of the network.
        forward: pictures, rows and columns of a network call.
        training: the same of a training step.
    """

    config: HDiTConfig
    forward: tuple[int, int, int]
    training: tuple[int, int, int]


def parity_case(name: str, size: tuple[int, int]) -> Case:
    """One of the configurations in tests/parity, on pictures of its own size (rows, columns)."""
    facts = json.loads((ROOT / f"tests/parity/{name}.json").read_text())["config"]
    levels = tuple(Level(x["depth"], x["width"], x["d_ff"], *x["attn"]) for x in facts["levels"])
    mapping = {f"mapping_{key}": value for key, value in facts["mapping"].items()}
    mapping["mapping_cond_dim"] = facts["mapping_cond_dim"]
    config = HDiTConfig(patch=tuple(facts["patch"]), levels=levels, **mapping)
    return Case(config, (2, *size), (2, *size))


def shipped_case(name: str) -> Case:
    """A network of cells, of the size that a shipped model has."""
    return Case(replace(CONFIGS[name], **CELLS), (1, 128, 512), (8, 128, 256))


def cases() -> dict[str, Case]:
    """What is measured, by name."""
    return {
        "global, with a condition": parity_case("global_only_cond", (64, 128)),
        "windows and global": parity_case("window_global_p4", (32, 128)),
        "three levels": parity_case("three_levels_p2x4", (32, 64)),
        "tiny": shipped_case("tiny"),
        "small": shipped_case("small"),
    }


def load_original(folder: Path) -> ModuleType:
    """The original's module, without what it does not need here.

    Args:
        folder: a checkout of k-diffusion.
    """
    os.environ["K_DIFFUSION_USE_COMPILE"] = "0"
    for name in ("k_diffusion", "k_diffusion.models"):
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[name] = package
    # `layers` imports these at once, and the network calls none of them.
    for name in ("dctorch", "dctorch.functional", "k_diffusion.sampling", "k_diffusion.utils"):
        sys.modules[name] = ModuleType(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    return importlib.import_module(ORIGINAL)


def load_before(folder: Path) -> ModuleType:
    """`networks.hdit` of an older checkout, beside today's."""
    today = {name: module for name, module in sys.modules.items() if name.startswith("pomkit")}
    for name in today:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module("pomkit.networks.hdit")
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.startswith("pomkit")]:
            del sys.modules[name]
        sys.modules.update(today)
    if not Path(module.__file__ or "").is_relative_to(folder):
        raise SystemExit(f"{folder} holds no pomkit with networks/hdit.py")
    return module


def make_original(original: Any, config: HDiTConfig) -> nn.Module:
    """The original's network of our configuration."""
    kinds = {
        "global": lambda level: original.GlobalAttentionSpec(level.d_head),
        "shifted-window": lambda level: original.ShiftedWindowAttentionSpec(
            level.d_head, level.window
        ),
        "none": lambda level: original.NoAttentionSpec(),
    }
    levels = [
        original.LevelSpec(
            level.depth, level.width, level.d_ff, kinds[level.attention](level), dropout=0.0
        )
        for level in config.levels
    ]
    mapping = original.MappingSpec(
        config.mapping_depth, config.mapping_width, config.mapping_d_ff, dropout=0.0
    )
    return original.ImageTransformerDenoiserModelV2(
        levels,
        mapping,
        config.in_channels,
        config.out_channels,
        config.patch,
        mapping_cond_dim=config.mapping_cond_dim,
    )


class Runner:
    """A network that is called and trained, and the least seconds that either took.

    Args:
        call: the network's answer to a picture, a noise level and a condition or None.
        groups: of AdamW.
        convolves: whether it may multiply large matrices by convolutions, where it can.
    """

    def __init__(
        self, call: Callable[..., Tensor], groups: list[dict[str, Any]], *, convolves: bool = True
    ) -> None:
        self.call = call
        self.convolves = convolves and matrix.SLOW_WITH_MKL
        self.optimizer = torch.optim.AdamW(groups, lr=1e-5)
        self.seconds = {"forward": float("inf"), "training": float("inf")}

    def forward(self, inputs: tuple[Tensor | None, ...]) -> Tensor:
        """The answer, without gradients."""
        with torch.no_grad():
            return self.call(*inputs)

    def training(self, inputs: tuple[Tensor | None, ...]) -> None:
        """One training step towards zeros."""
        self.optimizer.zero_grad()
        self.call(*inputs).square().mean().backward()
        self.optimizer.step()

    def measure(self, what: str, inputs: tuple[Tensor | None, ...]) -> None:
        """Run one of the two, and keep its time if it is the least."""
        with mock.patch.object(matrix, "SLOW_WITH_MKL", self.convolves):
            start = time.process_time()
            getattr(self, what)(inputs)
            taken = time.process_time() - start
        self.seconds[what] = min(self.seconds[what], taken)


def make_runners(original: Any, before: Any, config: HDiTConfig) -> dict[str, Runner]:
    """Networks of one configuration with the same weights: theirs, and ours in all ways."""
    torch.manual_seed(0)
    theirs = make_original(original, config)
    for parameter in theirs.parameters():
        if parameter.ndim > 1:  # those that start at zero, too
            nn.init.normal_(parameter, std=0.5 * parameter.shape[1] ** -0.5)
    weights = {name: value.detach().clone() for name, value in theirs.named_parameters()}
    weights["time_emb.weight"] = theirs.time_emb.weight.clone()
    state = our_weights(weights, config)

    def call_theirs(x: Tensor, sigma: Tensor, cond: Tensor | None) -> Tensor:
        return theirs(x, sigma, mapping_cond=cond)

    runners = {"theirs": Runner(call_theirs, theirs.param_groups(1e-5))}
    makers = {"ours": (HDiT, HDiTConfig), "plain": (HDiT, HDiTConfig)}
    if before:
        makers["before"] = (before.HDiT, before.HDiTConfig)
    for name, (network_class, config_class) in makers.items():
        network = network_class(config_class.from_dict(config.to_dict()))
        network.load_state_dict({key: value.clone() for key, value in state.items()})

        def call(x: Tensor, sigma: Tensor, cond: Tensor | None, network: Any = network) -> Tensor:
            return network(x, sigma.log() / 4, cond)

        runners[name] = Runner(call, network.param_groups(0.01), convolves=name == "ours")
    return runners


def make_inputs(
    config: HDiTConfig, size: tuple[int, int, int]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Random pictures (pictures, channels, rows, columns), noise levels, conditions or None."""
    count, rows, columns = size
    x = torch.randn(count, config.in_channels, rows, columns)
    wanted = config.mapping_cond_dim
    return x, torch.rand(count) + 0.1, torch.randn(count, wanted) if wanted else None


def error(answer: Tensor, expected: Tensor) -> float:
    """The relative error in the Euclidean norm."""
    return float((answer - expected).norm() / expected.norm())


def measure(case: Case, original: Any, before: Any, turns: int) -> dict[str, Any]:
    """Milliseconds and ratios of one case, and the largest relative error of the answers."""
    runners = make_runners(original, before, case.config)
    inputs = {
        "forward": make_inputs(case.config, case.forward),
        "training": make_inputs(case.config, case.training),
    }

    # Every network has run before it is measured, and gives the same answer.
    answers = {name: runner.forward(inputs["forward"]) for name, runner in runners.items()}
    largest = max(error(answer, answers["theirs"]) for answer in answers.values())
    if largest > 1e-4:
        raise SystemExit(f"the answers differ by {largest:.1e}; nothing was measured")

    row: dict[str, Any] = {"error": float(f"{largest:.1e}")}
    for what, batch in inputs.items():
        for _ in range(turns):
            for runner in runners.values():
                runner.measure(what, batch)
        least = {name: runner.seconds[what] for name, runner in runners.items()}
        row[what] = {f"{name}, ms": round(1e3 * value, 2) for name, value in least.items()}
        for name in list(least)[1:]:
            row[what][f"theirs / {name}"] = round(least["theirs"] / least[name], 2)
    return row


def cells(part: dict[str, float]) -> str:
    """Two cells of the printed table: our time, and the ratios."""
    before = part.get("theirs / before")
    others = f"plain {part['theirs / plain']:.2f}" + (f", before {before:.2f}" if before else "")
    return f"{part['ours, ms']:.2f} | {part['theirs / ours']:.2f} ({others})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True, help="a checkout of k-diffusion")
    parser.add_argument("--before", type=Path, default=None, help="an older checkout of pomkit")
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--only", nargs="*", default=list(cases()), choices=list(cases()))
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "reports")
    o = parser.parse_args()

    torch.set_num_threads(1)
    original = load_original(o.reference.resolve())
    before = load_before(o.before.resolve()) if o.before else None
    print(f"Processor time of one thread, the least of {o.turns} turns; ratios are theirs / ours\n")
    print("| | forward, ms | ratio | training step, ms | ratio |\n|---|---|---|---|---|")
    rows = {}
    for name in o.only:
        row = rows[name] = measure(cases()[name], original, before, o.turns)
        print(f"| {name} | {cells(row['forward'])} | {cells(row['training'])} |", flush=True)

    options = f" --before FOLDER --turns {o.turns}" if o.before else f" --turns {o.turns}"
    command = "python tests/benchmarks/hdit_speed.py --reference FOLDER" + options
    if set(o.only) == set(cases()):
        report = {
            "command": command,
            "torch": torch.__version__,
            "threads": 1,
            "AMD processor with AVX-512": matrix.SLOW_WITH_MKL,
            "cases": rows,
        }
        write(o.out / "hdit_speed.json", report)


if __name__ == "__main__":
    main()
