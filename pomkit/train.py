"""Training: `python -m pomkit.train --data CORPUS --out runs/NAME`; resumable to the same weights.

The command; what it does stands in `pomkit.training`, whose names are also reached from here.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields

from .errors import exit_code
from .training.trainer import (  # noqa: F401
    VALID_SEED,
    Trainer,
    TrainOptions,
    TrainSet,
    loss_of,
    new_model,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: one option for each field of TrainOptions; exit code 2 and one line where the input is bad."""
    p = argparse.ArgumentParser(
        "python -m pomkit.train",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    for f in fields(TrainOptions):
        kind = (
            {"action": argparse.BooleanOptionalAction}
            if isinstance(f.default, bool)
            else {"type": type(f.default)}
        )
        p.add_argument(
            "--" + f.name.replace("_", "-"), default=f.default, help=f.metadata["help"], **kind
        )
    p.add_argument("--resume", action="store_true", help="go on from the state in the run folder")
    values = vars(p.parse_args(arguments))
    resume = values.pop("resume")
    return exit_code(
        "pomkit.train", lambda: print("the model is", Trainer(TrainOptions(**values), resume).run())
    )


if __name__ == "__main__":
    sys.exit(main())
