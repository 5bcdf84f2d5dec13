"""Sampling of the cells process: begin with the region hidden, uncover it in a few calls.

Each call asks the network about all hidden cells, bends its answer (temperature, density, rules),
draws every hidden cell from it, and keeps a part of them: as many as `uncovering` says (MaskGIT,
arXiv 2202.04200), which ones the order says (`orders`). Known cells never change.

`sample_cells` is the loop, and `Walk` holds what changes on the way. A call changes the logits in
this order: guidance (`Walk.ask`); temperature, pitch bias, fragments, nucleus and the number of
onsets (`Walk.changes`); the rules (`Walk.settle`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, check_choice, check_range
from . import chain
from .contract import Callback
from .controls import (
    Wishes,
    expected_onsets,
    favour_pitches,
    guide,
    hold_onsets,
    keep_likeliest,
    sharpen,
)
from .orders import ORDERS, choose, first_of, halton_rank, hidden_again, surest
from .schedules import repaint_schedule, uncovering
from .states import OFF, ONSET, SUSTAIN, Draft, onset_odds

CellModel = Callable[[Tensor, Tensor, Tensor], Tensor]  # (cells, chords, t) -> logits
# Network calls in one pass: the default here and of `Cells.methods`, which `inpaint` asks.
CALLS = 8
# The largest share by which the first call may be colder: it cannot be without any warmth.
WARMEST = 0.99
# A state that the network excludes is as likely as this: 40 bits.
LEAST_LOG = -28.0


@dataclass(frozen=True, kw_only=True)
class Uncovering(Wishes):
    """How cells are uncovered; OptionError for values that do not fit.

    Attributes:
        calls: network calls in one pass.
        U: times that each block of calls is walked: again with more known around it.
        jump: calls of a block.
        order: one of `orders.ORDERS`.
        remask: share of the settled cells that a call hides again, of as many as it can.
        warming: by what share of the temperature the first call is colder, of all cells hidden;
            it rises to the whole temperature as they are settled.
        whole_notes: forbids sustains that follow no note. Cells that do not fit together are
            drawn again. It holds the number of onsets, too: a sustain that is drawn early forces
            an onset before it.
        together: the network's answers are the marginals of whole rows (see `chain`): the cells of
            a call are drawn together, so that none is broken, where no rule decides.
    """

    calls: int = CALLS
    U: int = 1
    jump: int = 1
    order: str = "halton"
    remask: float = 0.0
    warming: float = 0.0
    whole_notes: bool = False
    together: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("order", self.order, ORDERS)
        check_range("remask", self.remask, 0, 1, unit="(a share)")
        check_range("warming", self.warming, 0, WARMEST, unit="(a share)")

    @property
    def holds_onsets(self) -> bool:
        """Whether the number of onsets must be held: something else would change it."""
        return super().holds_onsets or self.whole_notes


def sample_cells(
    model: CellModel,
    cells: Tensor,
    chords: Tensor,
    mask: Tensor,
    hidden_state: int,
    calls: int | None = None,
    *,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    **options: Any,
) -> Tensor:
    """Fill the masked cells; the others stay as they are.

    Args:
        model: (cells, chords, t) -> logits, float (batch, states, h, w).
        cells: int64 (batch, h, w), the states.
        chords: float (batch, 3, h, w), see `states.chord_channels`.
        mask: bool (h, w), True = fill.
        hidden_state: the number of the state "hidden".
        calls: network calls in one pass; None: CALLS. `steps` is its older name.
        generator: of all random numbers.
        callback: is given {"i", "n", "cells", "logits"} at each call.
        options: those of `Uncovering`.

    Returns:
        int64 (batch, h, w).

    Raises:
        OptionError: an option does not fit.
    """
    plan = Uncovering(calls=one_number(calls, options.pop("steps", None)), **options)
    walk = Walk(model, plan, generator)
    walk.begin(cells, chords, mask, hidden_state)
    return walk.run(callback)


def one_number(calls: int | None, steps: int | None) -> int:
    """The network calls, which have two names; OptionError where both are given."""
    if calls is not None and steps is not None:
        raise OptionError(f"calls={calls} and steps={steps} are two names of one option; give one")
    if steps is not None:
        return steps
    return CALLS if calls is None else calls


class Walk:
    """One run of `sample_cells`: the cells so far, and what a call changes of them.

    Attributes:
        surprise: of each settled cell, -log2 of how likely the network held it at that call, before
            anything bent its answer; float (batch, h, w), in bits.
        entropy: the surprise that was to be expected there, float (batch, h, w), in bits.
    """

    def __init__(
        self, model: CellModel, plan: Uncovering, generator: torch.Generator | None
    ) -> None:
        self.model = model
        self.plan = plan
        self.generator = generator
        self.goal: Any = None

    def begin(self, cells: Tensor, chords: Tensor, mask: Tensor, hidden_state: int) -> None:
        """Hide the masked cells, int64 (batch, h, w); for the arguments see `sample_cells`."""
        self.chords = chords
        self.mask = mask
        self.hidden_state = hidden_state
        self.total = int(mask.sum())
        self.counts = uncovering(self.total, self.plan.calls)
        self.last = len(self.counts) - 1

        self.hidden = mask.expand_as(cells).clone()
        self.cells = torch.where(self.hidden, hidden_state, cells)

        # Of each cell: whether its onset counts for the density, and how likely it was.
        self.counted = torch.zeros_like(self.hidden)
        self.surprise = torch.zeros_like(self.hidden, dtype=torch.float32)
        self.entropy = torch.zeros_like(self.surprise)
        if self.plan.order == "halton":
            batch, h, w = self.hidden.shape
            self.rank = halton_rank(batch, h, w, self.generator)

    @torch.inference_mode()
    def run(self, callback: Callback | None = None) -> Tensor:
        """Uncover all cells, int64 (batch, h, w); `callback`: see `sample_cells`."""
        if not self.total:
            return self.cells.clone()

        path = repaint_schedule(self.last, self.plan.U, self.plan.jump)
        # One more call settles what is broken.
        levels = path + [self.last] * self.plan.whole_notes
        for i, (level, after) in enumerate(pairwise(levels)):
            if after < level:
                self.go_back(level, after)
                continue
            if not self.hidden.any():
                break
            said = logits = self.ask()
            for change in self.changes():
                logits = change(logits)
            before = self.hidden
            logits = self.settle(logits, level, after)
            self.note_surprise(said, before)
            if callback is not None and i < len(path) - 1:
                callback({"i": i, "n": len(path) - 1, "cells": self.cells, "logits": logits})
        return torch.where(self.hidden, OFF, self.cells)

    def note_surprise(self, said: Tensor, before: Tensor) -> None:
        """Keep how unlikely each cell was that this call settled, and how open it was.

        Args:
            said: what the network said, float (batch, states, h, w).
            before: bool (batch, h, w), the cells that were hidden then.
        """
        log_p = said.log_softmax(1).clamp(min=LEAST_LOG)
        drawn = self.cells.clamp(max=said.shape[1] - 1)
        bits = log_p.gather(1, drawn[:, None])[:, 0] / -math.log(2)
        entropy = (log_p.exp() * log_p).sum(1) / -math.log(2)
        new = before & ~self.hidden
        self.surprise = torch.where(new, bits, self.surprise)
        self.entropy = torch.where(new, entropy, self.entropy)

    def go_back(self, level: int, after: int) -> None:
        """Hide a random part of the new cells again, down to an earlier level."""
        number = self.counts[level] - self.counts[after]
        self.hidden |= choose(self.mask & ~self.hidden, number, self.generator)
        self.cells = torch.where(self.hidden, self.hidden_state, self.cells)

    def hidden_count(self) -> Tensor:
        """How many cells of each picture are hidden, int64 (batch,)."""
        return self.hidden.flatten(1).sum(1)  # (batch,)

    def ask(self) -> Tensor:
        """What the network says of the cells, guided: logits, float (batch, states, h, w)."""
        t = (self.hidden_count() / self.total).to(self.chords)
        logits = self.model(self.cells, self.chords, t)

        # As many onsets as are asked for, or as the first call expects before anything bends it.
        if self.goal is None:
            self.goal = self.plan.onsets_wanted(expected_onsets(logits, self.hidden))
        if self.plan.guidance != 1:
            blind = torch.where(self.mask, self.cells, self.hidden_state)
            free = self.model(blind, torch.zeros_like(self.chords), t)
            logits = guide(logits, free, self.plan.guidance)
        return logits

    def changes(self) -> list[Callable[[Tensor], Tensor]]:
        """The changes of a call's logits, float (batch, states, h, w), in their order."""
        plan = self.plan
        changes: list[Callable[[Tensor], Tensor]] = [self.sharpen]
        if plan.pitch_bias is not None:
            changes.append(self.favour_pitches)
        if plan.whole_notes:
            changes.append(self.forbid_fragments)
        if plan.top_p < 1:
            changes.append(self.keep_likeliest)
        if plan.holds_onsets:
            changes.append(self.hold_onsets)
        return changes

    def sharpen(self, logits: Tensor) -> Tensor:
        """Divide the logits, float (batch, states, h, w), by the temperature of this call."""
        plan = self.plan
        if not plan.warming:
            return sharpen(logits, plan.temperature)
        hidden = (self.hidden_count() / self.total).to(logits)  # (batch,)
        temperature = plan.temperature * (1 - plan.warming * hidden)
        return logits / temperature[:, None, None, None]

    def favour_pitches(self, logits: Tensor) -> Tensor:
        """Add the bias of each pitch class to the logits, float (batch, states, h, w)."""
        return favour_pitches(logits, self.hidden, self.plan.pitch_bias)

    def forbid_fragments(self, logits: Tensor) -> Tensor:
        """Forbid what would be no note, in logits of shape (batch, states, h, w)."""
        # A sustain right after a visible off cell, and an off cell right before a visible sustain.
        before = F.pad(self.cells, (1, -1), value=OFF)
        after = F.pad(self.cells, (-1, 1), value=OFF)
        logits[:, SUSTAIN].masked_fill_(before == OFF, -math.inf)
        logits[:, OFF].masked_fill_(after == SUSTAIN, -math.inf)
        return logits

    def keep_likeliest(self, logits: Tensor) -> Tensor:
        """Forbid onsets outside the nucleus, in logits of shape (batch, states, h, w)."""
        return keep_likeliest(logits, self.hidden, self.plan.top_p)

    def hold_onsets(self, logits: Tensor) -> Tensor:
        """Bias the onsets so that as many come as shall; logits float (batch, states, h, w)."""
        placed = (self.counted & ~self.hidden).flatten(1).sum(1)  # (batch,)
        wanted = (self.goal - placed).clamp(min=0)
        is_asked = self.plan.asks_for_onsets
        return hold_onsets(logits, self.hidden, wanted, fewer_sustains=is_asked)

    def settle(self, logits: Tensor, level: int, after: int) -> Tensor:
        """Draw all hidden cells and keep a part of them.

        Args:
            logits: float (batch, states, h, w).
            level: cells uncovered so far, as a place in `counts`.
            after: those after this call.

        Returns:
            The logits as the rules left them, float (batch, states, h, w).
        """
        # Gumbel-max: the state with the largest logit + noise is a draw from softmax(logits).
        noise = gumbel_like(logits, self.generator)
        drawn = as_learned = self.draw(logits, noise)
        new = self.choose_new(logits, level, after)
        back = self.choose_back(level, after)
        region = self.mask.expand_as(self.hidden)
        for change in self.plan.rules:
            # What lies behind the picture's end is hidden for good: to a rule it is silent.
            outside = ~self.hidden & (self.cells == self.hidden_state)
            cells = torch.where(outside, OFF, self.cells)
            seen = (cells, self.hidden, new, noise, self.chords)
            draft = Draft(*seen, self.plan.start, mask=region, drawn=new)
            logits = change(logits, level, draft)
            drawn = (logits + noise).max(1).indices

        # What a rule takes away is made up elsewhere only where a number was asked for.
        onsets = (as_learned if self.plan.density is None else drawn) >= ONSET
        self.counted = torch.where(new, onsets, self.counted)
        self.cells = torch.where(new, drawn, self.cells)
        if self.plan.whole_notes:
            new = self.hide_broken(new)
        self.hidden = self.hidden & ~new | back
        self.cells = torch.where(back, self.hidden_state, self.cells)
        return logits

    def draw(self, logits: Tensor, noise: Tensor) -> Tensor:
        """Draw all cells: int64 (batch, h, w).

        Args:
            logits: float (batch, states, h, w).
            noise: Gumbel's, like the logits, for cells that are drawn one by one.
        """
        if not self.plan.together or self.plan.rules:
            return (logits + noise).max(1).indices
        states = logits.shape[1]
        is_known = ~self.hidden & (self.cells < self.hidden_state)
        surely = F.one_hot(self.cells.clamp(max=states - 1), states).to(logits)
        p = torch.where(is_known[:, None], surely.movedim(-1, 1), logits.softmax(1))  # (batch, ...)
        return chain.drawn_together(p, generator=self.generator)

    def choose_new(self, logits: Tensor, level: int, after: int) -> Tensor:
        """Which hidden cells this call settles, bool (batch, h, w): at the end, all of them.

        Args:
            logits: float (batch, states, h, w).
            level: cells uncovered so far, as a place in `counts`.
            after: those after this call.
        """
        if after == self.last:
            return self.hidden
        number = self.counts[after] - self.counts[level]
        left = self.total - self.counts[level]
        if self.plan.order == "entropy":
            share = number / left if number > 1 else 0.0
            return surest(onset_odds(logits), self.hidden, share)

        # Broken notes of earlier calls, which were hidden again, are late.
        late = int(self.hidden_count().max()) - left
        number += late + hidden_again(self.plan.remask, self.counts[level], left - number)
        if self.plan.order == "halton":
            return first_of(self.rank, self.hidden, number)
        return choose(self.hidden, number, self.generator)

    def choose_back(self, level: int, after: int) -> Tensor:
        """Which settled cells this call hides again, bool (batch, h, w); arguments as above."""
        left = self.total - self.counts[after]
        number = hidden_again(self.plan.remask, self.counts[level], left)
        if not number:
            return torch.zeros_like(self.hidden)
        return choose(self.mask & ~self.hidden, number, self.generator)

    def hide_broken(self, new: Tensor) -> Tensor:
        """Hide new sustains that follow no note again; the other new cells, bool (batch, h, w).

        Two cells that are drawn at once may not fit together.
        """
        before = F.pad(self.cells, (1, -1), value=OFF)
        broken = new & (self.cells == SUSTAIN) & (before == OFF)
        self.cells = torch.where(broken, self.hidden_state, self.cells)
        return new & ~broken


def gumbel_like(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """Gumbel noise in the shape of the logits, from uniform numbers: float like them."""
    noise = torch.rand(logits.shape, generator=generator).to(logits).clamp_(1e-20, 1 - 1e-7)
    return noise.log_().neg_().log_().neg_()
