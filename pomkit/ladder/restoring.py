"""Systems that restore hidden cells: `cells` on windows of 64 x 64, told more than the cells.

Each learns as `processes.cells` does: some cells of a region are hidden, the network says what they
are, and its cross-entropy bounds the likelihood. It composes by uncovering a hidden region in a few
calls. What it is told beside the cells, a system says itself: the sound of the music, its texture,
a skeleton. Some training windows are told nothing of it, so that it can do without.

    class Restless(Restorer):
        process = "restless"
        planes = 1                                        # told: float (batch, 1, 64, 64)

        def told_of(self, cells, request): ...            # when it composes
        def learned(self, window, rng, options): ...      # when it learns

The laws: where nothing is told, the answer does not depend on what could have been told. With the
planes left out this is Coconet's and `cells`' loss: the mean over all orders of uncovering.
Source: Uria et al. 2014 (arXiv 1310.1757); Hoogeboom et al. 2022 (arXiv 2110.02037).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.windows import Window
from ..networks.attention import Level
from ..networks.hdit import HDiT, HDiTConfig
from ..networks.local import Local
from ..processes.cells import TOP_P, cell_bound
from ..processes.schedules import stratified_t
from ..processes.uncover import CALLS, sample_cells
from .system import (
    CELL_STATES,
    HIDDEN,
    ROW_COUNT,
    ROWS,
    WINDOW,
    Request,
    System,
    cut_window,
    window_cells,
)

# Levels at which a bound is measured: one hidden share of each.
BOUND_LEVELS = 16
SIZES: dict[str, Mapping[str, Any]] = {
    "tiny": {"width": 64, "depth": 4, "patch": (2, 8)},
    "toy": {"width": 32, "depth": 1, "patch": (8, 8)},
}


class Restorer(System):
    """A network that says the state of every hidden cell of a window.

    A subclass sets `process` and `planes`, and writes `told_of` and `learned`.

    Attributes:
        planes: channels, (64, 64) each, of what it is told beside the cells.
    """

    answers = {"any": "N"}
    methods = {"uncover": CALLS}
    likelihood = "bound"
    options = frozenset(["calls", "method", "temperature", "top_p"])
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = SIZES
    planes: ClassVar[int] = 0

    def build(self, **numbers: Any) -> nn.Module:
        """An HDiT of one level; `numbers`: its width, depth and patch, see `small_hdit`."""
        return small_hdit(1 + CELL_STATES + self.planes, **numbers)

    def forward(self, cells: Tensor, told: Tensor, t: Tensor) -> Tensor:
        """Say how likely each state of each cell is.

        Args:
            cells: int64 (batch, 64, 64), states, or HIDDEN.
            told: float (batch, planes, 64, 64); zeros where nothing is told.
            t: float (batch,), the hidden share of the region.

        Returns:
            Logits, float (batch, 3, 64, 64).
        """
        return self.network(torch.cat([cell_channels(cells, told), told], dim=1), t).float()

    def told_of(self, cells: Tensor, request: Request) -> Tensor:
        """What the network is told beside the cells when it composes.

        Args:
            cells: int64 (batch, 64, 64); masked cells are HIDDEN.
            request: what was asked for.

        Returns:
            float (batch, planes, 64, 64), or what else `forward` takes.
        """
        return self.untold(cells)

    def untold(self, cells: Tensor) -> Tensor:
        """What `forward` is told where nothing is told.

        Args:
            cells: int64 (batch, 64, 64).

        Returns:
            float (batch, planes, 64, 64).
        """
        return torch.zeros(len(cells), self.planes, ROW_COUNT, WINDOW, device=cells.device)

    def learned(
        self, window: Window, rng: np.random.Generator, options: Any
    ) -> dict[str, np.ndarray]:
        """A training example: the cells, and what the network is told of them.

        Args:
            window: of 64 columns or more.
            rng: for what is drawn and left out.
            options: the `TrainOptions` of the run.

        Returns:
            "cells", int64 (64, 64), "mask", bool (64, 64), the region in which cells are hidden,
            and "told", float32 (planes, 64, 64) or what else `forward` takes.
        """
        window = cut_window(window, rng)
        told = np.zeros((self.planes, ROW_COUNT, WINDOW), np.float32)
        return {"cells": window_cells(window.picture), "mask": window.mask[ROWS], "told": told}

    def fill(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """Uncover the masked cells of windows, (batch, 64, 64); see `System.fill`."""
        options = request.options
        # Behind the picture's end nothing is known, and nothing is composed or counted.
        inside = mask.clone()
        inside[:, WINDOW if options.end is None else options.end :] = False

        def tell(event: dict[str, Any]) -> None:
            request.tell(event["cells"], event["n"] - event["i"] - 1)

        told = self.told_of(cells, request)
        wishes: dict[str, Any] = {"calls": options.calls, "temperature": options.temperature}
        wishes["top_p"] = TOP_P if options.top_p is None else options.top_p
        wishes |= {"whole_notes": True, "generator": request.generator, "callback": tell}
        return sample_cells(self, cells, told, inside, HIDDEN, **wishes)

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """What `learned` gives, and what decides which cells are hidden; see `Process.example`.

        Cells, mask and noise are of shape (64, 64).
        """
        lesson = self.learned(window, rng, options)
        # A mask may lie beyond the pitches: then all is restored.
        if not lesson["mask"].any():
            lesson["mask"] = np.ones_like(lesson["mask"])
        noise = rng.random(lesson["mask"].shape, np.float32)
        return lesson | {"t": np.float32(1 - u), "noise": noise}

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """Bits per cell of the region, float (batch,): which cells are hidden, the item says."""
        return hidden_bits(forward, batch)

    @torch.inference_mode()
    def bits(self, cells: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A bound on the bits of windows of which nothing is told, float (batch,).

        Args:
            cells: int64 (batch, 64, 64), without hidden ones.
            generator: says which cells are hidden.
        """
        nothing = self.untold(cells)
        region = torch.ones_like(cells, dtype=torch.bool)
        total = cells.new_zeros(len(cells), dtype=torch.float)
        for level in stratified_t(BOUND_LEVELS, generator).tolist():
            t = total.new_full((len(cells),), level)
            total += cell_bound(self, cells, nothing, region, HIDDEN, t, generator)
        return total / BOUND_LEVELS * ROW_COUNT * WINDOW


def small_hdit(
    channels: int,
    width: int,
    depth: int,
    patch: tuple[int, int],
    *,
    answers: int = CELL_STATES,
    noise: str = "log",
) -> HDiT:
    """A small network for pictures: an HDiT of one level with a local head.

    Args:
        channels: that come in.
        width: channels of a token.
        depth: layers.
        patch: cells of a token, (pitch, time).
        answers: channels of the answer.
        noise: how the local head takes the noise condition, see `Local`.
    """
    level = Level(depth, width, 3 * width, d_head=16)
    config = HDiTConfig(
        channels,
        answers,
        patch=patch,
        levels=(level,),
        mapping_depth=1,
        mapping_width=width,
        mapping_d_ff=2 * width,
        local=Local(noise=noise),
    )
    return HDiT(config)


def joined_groups(
    network: HDiT, others: Sequence[nn.Module], weight_decay: float
) -> list[dict[str, Any]]:
    """The optimiser's groups of an HDiT and of modules beside it; see `HDiT.param_groups`.

    Args:
        network: knows which of its weights decay, and how fast they learn.
        others: all of whose weights decay.
        weight_decay: of what decays.
    """
    weights = [each for module in others for each in module.parameters()]
    beside = {"params": weights, "lr_scale": 1.0, "weight_decay": weight_decay}
    return [*network.param_groups(weight_decay), beside]


def cell_channels(cells: Tensor, like: Tensor) -> Tensor:
    """Cells as channels: one for each state, one for hidden.

    Args:
        cells: int64 (batch, 64, width).
        like: a tensor of the right type and device.

    Returns:
        float (batch, 4, 64, width).
    """
    one_hot = like.new_zeros(len(cells), 1 + CELL_STATES, *cells.shape[1:])
    return one_hot.scatter_(1, cells[:, None], 1)


def hidden_bits(forward: Any, batch: dict[str, Tensor]) -> Tensor:
    """The cross-entropy of the hidden cells, in bits per cell of the region, float (batch,).

    Args:
        forward: (cells, told, t) -> logits.
        batch: cells, mask and noise, (batch, 64, 64); t, (batch,); told, as `forward` takes it.
    """
    t = batch["t"]
    mask = batch["mask"]
    cells = batch["cells"]
    hidden = mask & (batch["noise"] < t[:, None, None])
    logits = forward(torch.where(hidden, HIDDEN, cells), batch["told"], t)
    nats = F.cross_entropy(logits, cells, reduction="none") * hidden
    size = mask.flatten(1).sum(1).clamp(min=1)  # (batch,)
    return nats.flatten(1).sum(1) / (t * size * math.log(2))  # (batch,)
