"""Training: `python -m pomkit.train --data CORPUS --out runs/NAME`; resumable to the same weights.

The command; what it does stands in `pomkit.training`, whose names are also reached from here.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import Field, fields
from typing import Any

from .errors import exit_code
from .training.examples import TrainSet, loss_of, new_model  # noqa: F401
from .training.options import TrainOptions
from .training.trainer import VALID_SEED, Trainer  # noqa: F401

# Options that had another name in version 0.1.0.
OLDER_NAMES = {"sigma_density": "--density"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: one option for each field of TrainOptions.

    Returns:
        The exit code: 2, and one line on stderr, where the input is bad.
    """
    values = vars(command_line().parse_args(arguments))
    resume = values.pop("resume")

    def work() -> None:
        print("the model is", Trainer(TrainOptions(**values), resume).run())

    return exit_code("pomkit.train", work)


def command_line() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        "python -m pomkit.train",
        # Not the docstring, which python -OO strips.
        description="Train a model; with --resume, go on where it was stopped.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    for field in fields(TrainOptions):
        names = ["--" + field.name.replace("_", "-")]
        if field.name in OLDER_NAMES:
            names.append(OLDER_NAMES[field.name])
        p.add_argument(*names, dest=field.name, help=field.metadata["help"], **kind_of(field))
    p.add_argument("--resume", action="store_true", help="go on from the state in the run folder")
    return p


def read_json(text: str) -> Any:
    """The value of an option that is written as JSON; ArgumentTypeError, which argparse tells."""
    try:
        return json.loads(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no JSON ({fault}); write it like '{{\"channels\": 12}}'"
        ) from fault


def kind_of(field: Field) -> dict[str, Any]:
    """How the command line reads a field: its type and default."""
    if field.default_factory is dict:
        return {"type": read_json, "default": {}}
    if isinstance(field.default, bool):
        return {"action": argparse.BooleanOptionalAction, "default": field.default}
    return {"type": type(field.default), "default": field.default}


if __name__ == "__main__":
    sys.exit(main())
