"""What a model learns from: windows with the random numbers of their losses, and the loss.

    items = TrainSet(Windows(songs, 256), model, batch=8)
    loss = loss_of(model, default_collate([items[i] for i in range(8)]), options)    # float (8,)

What an example holds and what it costs, the model's family says (`processes.contract`).
"""

import contextlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from ..data.windows import Windows
from ..errors import OptionError
from ..music import masks
from ..music.tables import BAR
from ..processes.checkpoint import load_model
from ..processes.contract import Model
from ..processes.registry import family
from .options import TrainOptions


@dataclass(eq=False)
class TrainSet(Dataset):
    """Windows and the random numbers of their losses, without end.

    What an item holds depends on its index alone. Of each `batch` windows in turn, one has its
    noise level, or hidden share, in each `batch`-th part of the range.

    Attributes:
        windows: the training windows.
        model: its family says what an example holds.
        batch: windows over which the levels are spread.
        options: of the run; a text stands for options with that density of sigma.
    """

    windows: Windows
    model: Model
    batch: int
    options: TrainOptions | str = field(default_factory=TrainOptions)

    def __post_init__(self) -> None:
        if isinstance(self.options, str):
            self.options = TrainOptions(sigma_density=self.options)

    def __getitem__(self, index: int) -> dict[str, Any]:
        window = self.windows[index]
        # The 1 makes these numbers others than those that the window was drawn with.
        rng = np.random.default_rng((self.windows.seed, index, 1))
        u = (index % self.batch + rng.random()) / self.batch
        return self.model.example(window, u, rng, self.options)


def loss_of(
    model: Any, batch: dict[str, Tensor], options: TrainOptions, part: str | None = None
) -> Tensor:
    """The loss of each item of a batch of TrainSet, float (batch,).

    Bits per hidden cell (cells), or the weighted denoising error (edm).

    Args:
        model: the model, perhaps wrapped for several devices.
        batch: items of TrainSet, collated.
        options: of the run.
        part: whose loss, where the model has several parts; None: the first one's.
    """
    family_model = getattr(model, "module", model)
    if len(family_model.parts) == 1:
        return family_model.loss(batch, model, options)
    part = next(iter(family_model.parts)) if part is None else part
    return family_model.loss(batch, model, options, part=part)


def new_model(options: TrainOptions) -> Model:
    """The model that a run begins with: a fresh one, or what its family makes of that of `init`.

    Raises:
        OptionError: the process or the size is unknown, or the model cannot be told what the
            options say.
        CheckpointError: `init` cannot be loaded.
    """
    if options.init:
        learned = load_model(options.init, "cpu")
        model = family(options.process).begin_with(learned, options).train()
    else:
        model = family(options.process).from_options(options)
    check_told(model, options)
    return model


def check_told(model: Model, options: TrainOptions) -> None:
    """Raise OptionError where a run shall tell a model what it cannot take."""
    taken = {
        "bar_position": model.bar_position,
        "memory": model.recalls,
        "pairs": "pair_head" in model.spec(),
    }
    for name, is_taken in taken.items():
        if getattr(options, name) and not is_taken:
            raise OptionError(
                f"{name} is asked for, and this {model.process} model does not take it; leave it "
                "out, or train another process"
            )


def mask_to_draw(model: Model, width: int) -> np.ndarray | None:
    """The first of some masks of a picture of a width that a model answers, bool (128, width).

    The middle half, the second half, or all; None: it composes no notes.
    """
    # The same columns in every song: bars of training's frame, 16 steps each.
    middle = masks.bars(width, width // (4 * BAR) + 1, width // BAR - width // (4 * BAR))
    for mask in (middle, masks.continuation(width, width // 2), masks.everything(width)):
        with contextlib.suppress(OptionError):
            model.check_mask(mask)
            return mask
    return None
