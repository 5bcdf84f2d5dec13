"""The lowest rung: what is known of a cell by counting alone, without a network.

How often each state came in the training songs, perhaps at each pitch, perhaps after each state of
the cell one step before. What a network says must take fewer bits than these on songs that neither
has seen, or it has learned nothing but to go on.

    table = StateTable("cell before and pitch").fit(train_cells)
    table.bits(cells)                      # float (batch,), of whole windows

The law: given all cells before it, the probabilities of a cell sum to 1, so that the bits may stand
beside the exact ones of other systems.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import check_choice
from ..processes.states import OFF
from .system import CELL_STATES, ROW_COUNT

# What is known of a cell: name -> whether its pitch is, and the cell before.
CONTEXTS = {
    "nothing": (False, False),
    "pitch": (True, False),
    "cell before": (False, True),
    "cell before and pitch": (True, True),
}
# What is added to every count, so that what never came is not impossible.
PSEUDOCOUNT = 0.5


class StateTable:
    """How often each state came after each context.

    Attributes:
        share: float64 (contexts, 3), of each context the share of each state.
    """

    def __init__(self, context: str) -> None:
        """Count nothing yet: all states are alike.

        Args:
            context: one of `CONTEXTS`.

        Raises:
            OptionError: there is no such context.
        """
        check_choice("context", context, CONTEXTS)
        self.knows_pitch, self.knows_before = CONTEXTS[context]
        self.share = torch.ones(ROW_COUNT * CELL_STATES, CELL_STATES).double() / CELL_STATES

    def contexts_of(self, cells: Tensor) -> Tensor:
        """The number of each cell's context; cells and it: int64 (batch, 64, width)."""
        numbers = torch.zeros_like(cells)
        if self.knows_pitch:
            numbers += torch.arange(ROW_COUNT)[:, None] * CELL_STATES
        if self.knows_before:
            numbers += F.pad(cells, (1, -1), value=OFF)
        return numbers

    def fit(self, cells: Tensor) -> "StateTable":
        """Count the states of cells, int64 (batch, 64, width), and return the table itself."""
        pairs = self.contexts_of(cells) * CELL_STATES + cells
        found = pairs.flatten().bincount(minlength=self.share.numel())  # (contexts * 3,)
        counts = found.reshape(self.share.shape).double() + PSEUDOCOUNT  # (contexts, 3)
        self.share = counts / counts.sum(1, keepdim=True)
        return self

    def bits(self, cells: Tensor) -> Tensor:
        """The bits of windows, int64 (batch, 64, width): float64 (batch,)."""
        share = self.share[self.contexts_of(cells), cells]
        return -share.log2().flatten(1).sum(1)  # (batch,)
