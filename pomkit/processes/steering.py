"""Steering: Gaussian noise with a categorical head, bent at every call.

Such a head says at every call how likely each state of each pixel is. So all that bends the cells
process bends this one, too (`controls`, `rules`, `chain`): the logits are changed, and the answer
is the mean colour under what they say then. A denoiser of this kind obeys the contract of `edm`:

    denoiser = Steering(head, answer, plan)
    denoiser.begin(x0, mask)
    denoised = denoiser(x, sigma, chords=chords)

Two things differ from `uncover`. What a pixel's own noise says is evidence, not a wish: the
temperature leaves it alone. And no cell is settled for good: what a rule sees as drawn is what the
last call held likely, and a cell that sounds there it leaves alone.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from . import chain
from .controls import (
    Wishes,
    expected_onsets,
    favour_pitches,
    guide,
    keep_likeliest,
    onset_bias,
    sharpen,
    shift_onsets,
)
from .states import OFF, ONSET, SUSTAIN, Draft, Rule, onset_odds

# A cell that sounds with less than this probability is silent to a rule.
SURELY_SILENT = 1e-3
# Down to this noise level the number of onsets is held, where nobody asks for one.
HELD_ABOVE = 0.3
# If rules take onsets away, so many times the number is asked for at most.
MOST_ASKED = 8.0
# When every sustain is made to follow a note: never, at the last call, at every call.
WHOLE_NOTES = ("off", "last", "calls")


class Head(Protocol):
    """What is asked of a head: how states and pixels (batch, 3, h, w) belong together."""

    states: int
    sigma_min: float

    def evidence(self, x: Tensor) -> Tensor:
        """What pixels say of each state at noise level 1, float (batch, states, h, w)."""

    def nearest(self, x: Tensor) -> Tensor:
        """The nearest state, int64 (batch, h, w)."""

    def mean_colour(self, p: Tensor) -> Tensor:
        """The mean colour under p, float (batch, states, h, w): (batch, 3, h, w)."""


class Steering:
    """A denoiser whose answer obeys controls.

    Args:
        head: turns states to pixels and back.
        answer: (x, sigma, **conditions) -> logits, float (batch, states, h, w).
        plan: what is asked for.
        conditions: of every call, beside those that it is given: what the network sees.
        whole_notes: one of WHOLE_NOTES.
    """

    def __init__(
        self,
        head: Head,
        answer: Callable[..., Tensor],
        plan: Wishes,
        *,
        conditions: dict[str, Any] | None = None,
        whole_notes: str = "off",
    ) -> None:
        self.head = head
        self.answer = answer
        self.plan = plan
        self.conditions = conditions or {}
        self.whole_notes = whole_notes

    def begin(self, x0: Tensor, mask: Tensor, columns: int | None = None) -> None:
        """Hide the masked cells.

        Args:
            x0: float (batch, 3, h, w), the known pixels.
            mask: bool (batch, 1, h, w), True = composed.
            columns: behind these nothing is counted and no rule looks; None: no such end.
        """
        self.mask = mask
        self.known = self.head.nearest(x0)
        self.region = mask[:, 0].clone()
        if columns is not None:
            self.region[..., columns:] = False

        # What a rule sees as drawn, and as still to be drawn.
        self.cells = torch.where(self.region, self.head.states, self.known)
        self.hidden = self.region
        self.free = self.region
        self.level = 0
        self.goal: Any = None
        self.asked: Any = None
        self.bias: Any = None

    def __call__(self, x: Tensor, sigma: Tensor, **conditions: Any) -> Tensor:
        """The mean colour of what may stand behind noisy pixels; see `edm` for the contract."""
        logits = self.ask(x, sigma, conditions)
        levels = sigma.to(x).reshape(-1, 1, 1, 1)  # (batch, 1, 1, 1)
        for change in self.changes(lambda: self.head.evidence(x) / levels**2, float(sigma.max())):
            logits = change(logits)
        is_last = float(sigma.max()) <= self.head.sigma_min * 1.001
        logits = self.obey_rules(logits, conditions.get("chords"), is_last)
        self.level += 1

        if self.whole_notes != "off" and is_last:
            return self.read_whole(logits)
        if self.whole_notes == "calls":
            p = chain.marginals(chain.with_known(logits, self.mask, self.known))
            return self.head.mean_colour(p)
        return self.head.mean_colour(logits.softmax(1))

    def read_whole(self, logits: Tensor) -> Tensor:
        """The colours of the likeliest rows of whole notes, float (batch, 3, h, w).

        Args:
            logits: float (batch, states, h, w), of the last call.
        """
        whole = chain.with_known(logits, self.mask, self.known)
        # What was asked for holds: a sustain that follows no note goes, and no note comes for it.
        plan = self.plan
        if plan.rules or plan.pitch_bias is not None or plan.density is not None:
            is_none = (logits.argmax(1) < ONSET)[:, None] & self.mask
            whole[:, ONSET:].masked_fill_(is_none, chain.IMPOSSIBLE)

        best = chain.best_rows(whole)
        one_hot = F.one_hot(best, self.head.states).movedim(-1, 1)  # (batch, states, h, w)
        return self.head.mean_colour(one_hot.to(logits))

    def ask(self, x: Tensor, sigma: Tensor, conditions: dict[str, Any]) -> Tensor:
        """What the head says, guided: logits, float (batch, states, h, w).

        Args:
            x: float (batch, 3, h, w), the noisy pixels.
            sigma: float (batch,).
            conditions: of this call.
        """
        logits = self.answer(x, sigma, **conditions, **self.conditions)

        # As many onsets as are asked for, or as the first call expects before anything bends it.
        if self.goal is None:
            self.goal = self.plan.onsets_wanted(expected_onsets(logits, self.region))
            self.asked = self.goal
        if self.plan.guidance != 1:
            free = self.answer(x, sigma)
            logits = guide(logits, free, self.plan.guidance)
        # Silence is 0, so that what a rule forbids stays below it however sure a pixel is.
        return logits - logits[:, :1]

    def changes(
        self, evidence: Callable[[], Tensor], sigma: float
    ) -> list[Callable[[Tensor], Tensor]]:
        """The changes of a call's logits, float (batch, states, h, w), in their order.

        Args:
            evidence: what the pixels alone say, like the logits; worked out where it is needed.
            sigma: the noise level.
        """
        plan = self.plan
        changes: list[Callable[[Tensor], Tensor]] = []
        if plan.temperature != 1:
            changes.append(lambda logits: sharpen(logits, plan.temperature, evidence()))
        if plan.pitch_bias is not None:
            changes.append(self.favour_pitches)
        if plan.top_p < 1:
            changes.append(self.keep_likeliest)
        if plan.holds_onsets or plan.guidance != 1:
            changes.append(partial(self.hold_onsets, sigma=sigma))
        return changes

    def favour_pitches(self, logits: Tensor) -> Tensor:
        """Add the bias of each pitch class to what does not sound yet.

        Args:
            logits: float (batch, states, h, w).
        """
        bent = favour_pitches(logits.clone(), self.hidden, self.plan.pitch_bias)
        return torch.where(self.free[:, None], bent, logits)

    def keep_likeliest(self, logits: Tensor) -> Tensor:
        """Forbid onsets outside the nucleus, but for those that are as good as settled.

        Args:
            logits: float (batch, states, h, w).
        """
        is_open = self.region & (onset_odds(logits) < 0)
        return keep_likeliest(logits, is_open, self.plan.top_p)

    def hold_onsets(self, logits: Tensor, sigma: float) -> Tensor:
        """Bias the onsets so that as many are expected as shall be.

        At low noise, where most is decided, the last ones would be notes that nothing speaks for:
        only a number that a person asks for is reached at that price.

        Args:
            logits: float (batch, states, h, w).
            sigma: the noise level.
        """
        is_asked = self.plan.asks_for_onsets
        if self.bias is None or is_asked or sigma > HELD_ABOVE:
            self.bias = onset_bias(onset_odds(logits), self.region, self.asked)
        return shift_onsets(logits, self.bias, is_asked)

    def obey_rules(self, logits: Tensor, chords: Tensor | None, is_last: bool) -> Tensor:
        """Apply the rules to the cells that do not sound yet, and take down what is likely now.

        Args:
            logits: float (batch, states, h, w).
            chords: float (batch, 3, h, w); None is unknown.
            is_last: whether this call decides.
        """
        if not self.plan.rules and self.plan.pitch_bias is None:
            return logits
        if chords is None:
            chords = logits.new_zeros(len(logits), 3, *logits.shape[2:])
        drawn = self.region if is_last else torch.zeros_like(self.region)
        for rule in self.plan.rules:
            logits = self.obey(rule, logits, chords, drawn)

        # What a rule takes away is made up elsewhere only where a number was asked for.
        if self.plan.density is not None:
            left = expected_onsets(logits, self.region).clamp(min=1e-3)
            self.asked = (self.goal**2 / left).clamp(max=MOST_ASKED * self.goal)
        self.take_down(logits)
        return logits

    def obey(self, rule: Rule, logits: Tensor, chords: Tensor, drawn: Tensor) -> Tensor:
        """Apply a rule to cells that do not sound yet, or to all where it knows of those that do.

        Args:
            rule: is asked; one that has a true `bends_sounding` bends whatever it likes.
            logits: float (batch, states, h, w).
            chords: float (batch, 3, h, w).
            drawn: bool (batch, h, w), the cells that this call decides.
        """
        # Nothing is drawn before the end: the likeliest state is what would be.
        noise = torch.zeros_like(logits)
        seen = (self.cells, self.hidden, self.free, noise, chords)
        draft = Draft(*seen, self.plan.start, mask=self.region, drawn=drawn)
        bent = rule(logits.clone(), self.level, draft)
        if getattr(rule, "bends_sounding", False):
            return torch.where(self.region[:, None], bent, logits)
        obeyed = torch.where(self.free[:, None], bent, logits)
        # Where a note goes on, the rule says whether another one may begin.
        goes_on = self.region & (self.cells == SUSTAIN)
        begins = torch.where(goes_on[:, None], bent[:, ONSET:], obeyed[:, ONSET:])
        return torch.cat([obeyed[:, :ONSET], begins], dim=1)

    def take_down(self, logits: Tensor) -> None:
        """Take down which cells a call, logits float (batch, states, h, w), holds likely."""
        likeliest = logits.argmax(1)
        is_silent = logits.softmax(1)[:, OFF] > 1 - SURELY_SILENT
        self.free = self.region & (likeliest < SUSTAIN)
        self.hidden = self.free & ~is_silent
        drawn = torch.where(self.hidden, self.head.states, likeliest)
        self.cells = torch.where(self.region, drawn, self.known)
