"""Controls: what a person asks of the music beyond what a model learned, at every call.

A model that speaks of states says at every call how likely each state of each cell is. Controls
bend these logits; how the music is then drawn from them is the process's own: `uncover` settles
some cells at each call, `steering` takes the mean colour of the states.

    plan = Wishes(temperature=0.8, density=40)
    logits = sharpen(logits, plan.temperature)
    logits = hold_onsets(logits, hidden, torch.tensor([40.0]))

The order is: guidance, temperature, pitch bias, nucleus, the number of onsets, rules.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError, shown
from .states import NEVER, ONSET, SUSTAIN, Rule, favour, onset_odds

BISECTIONS = 24
# Of onsets, on their log-odds.
WIDEST_BIAS = 12.0


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What is asked for; OptionError for values that do not fit.

    Attributes:
        temperature: sharpens which notes there are, not how many.
        density: how many onsets there shall be, known ones not counted; None is as many as the
            first call expects.
        busiest: how many onsets there shall be at most, where `density` is None; None: any number.
        pitch_bias: float (12,), added to the log-odds of notes by pitch class from C.
        guidance: g in u + g (c - u), where u does not see the known cells and chords (arXiv
            2207.12598).
        top_p: onsets come only in the fewest cells that hold this share of all that are expected.
        rule: a function, or several, that may change anything, see `rules`. If a rule takes notes
            away, no others come instead, unless `density` asks for a number.
        start: the step of the picture at which the window begins.
    """

    temperature: float = 1.0
    density: float | None = None
    busiest: float | None = None
    pitch_bias: Any = None
    guidance: float = 1.0
    top_p: float = 1.0
    rule: Rule | Sequence[Rule] = ()
    start: int = 0

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not 0 < self.top_p <= 1:
            raise OptionError(
                f"temperature is {self.temperature}, top_p {self.top_p}; "
                "choose numbers above 0 (1 = as learned), top_p to 1"
            )

        if not all(map(callable, self.rules)):
            raise OptionError(
                f"rule is {shown(self.rule)}; give a function of (logits, level, draft) or a list "
                "of such functions"
            )

        if self.pitch_bias is not None and np.shape(self.pitch_bias) != (12,):
            raise OptionError(
                f"pitch_bias has shape {tuple(np.shape(self.pitch_bias))}; "
                "give 12 numbers, one for each pitch class from C"
            )

    @property
    def rules(self) -> list[Rule]:
        """The rules as a list."""
        return list(self.rule) if isinstance(self.rule, Sequence) else [self.rule]

    @property
    def holds_onsets(self) -> bool:
        """Whether the number of onsets must be held: something else would change it."""
        return self.asks_for_onsets or self.temperature != 1 or self.top_p < 1

    @property
    def asks_for_onsets(self) -> bool:
        """Whether somebody says how many onsets there shall be, or how many at most."""
        return self.density is not None or self.busiest is not None

    def onsets_wanted(self, expected: Tensor) -> Tensor:
        """How many onsets there shall be: float (batch,).

        Args:
            expected: how many the first call expects, float (batch,).
        """
        if self.density is not None:
            return torch.full_like(expected, self.density)
        return expected if self.busiest is None else expected.clamp(max=self.busiest)


def guide(seeing: Tensor, blind: Tensor, guidance: float) -> Tensor:
    """What a model says, with more weight, or less, on what it sees.

    Args:
        seeing: logits of the model, any shape.
        blind: the same where it does not see what is known.
        guidance: 1 is as learned.

    Source: classifier-free guidance (arXiv 2207.12598).
    """
    return blind + guidance * (seeing - blind)


def sharpen(logits: Tensor, temperature: float, evidence: Tensor | None = None) -> Tensor:
    """Divide logits by a temperature, but for the part that a cell's own pixel says.

    Args:
        logits: float (batch, states, h, w).
        temperature: above 0.
        evidence: float like `logits`, the part that stays; None is none.

    Returns:
        float like `logits`.
    """
    if evidence is None:
        return logits / temperature
    return evidence + (logits - evidence) / temperature


def favour_pitches(logits: Tensor, hidden: Tensor, pitch_bias: Any) -> Tensor:
    """Add the bias of each pitch class to logits, in place; arguments as `states.favour`'s.

    Args:
        logits: float (batch, states, h, w).
        hidden: bool (batch, h, w), the cells still to be drawn.
        pitch_bias: float (12,), from C.
    """
    # Row 0 is the highest pitch.
    pitch_class = torch.arange(logits.shape[2]).flip(0) % 12
    bias = torch.as_tensor(pitch_bias).to(logits)
    return favour(logits, hidden, bias[pitch_class, None])


def keep_likeliest(logits: Tensor, hidden: Tensor, top_p: float) -> Tensor:
    """Forbid onsets outside the nucleus, in place.

    Args:
        logits: float (batch, states, h, w).
        hidden: bool (batch, h, w), the cells still to be drawn.
        top_p: the share of the expected onsets that the nucleus holds.
    """
    likely = likeliest(onset_odds(logits).sigmoid() * hidden, top_p)
    # What they were to each other stays, for rules that want a note there all the same.
    logits[:, ONSET:] += NEVER * (hidden & ~likely)[:, None]
    return logits


def hold_onsets(
    logits: Tensor, hidden: Tensor, wanted: Tensor, fewer_sustains: bool = False
) -> Tensor:
    """Bias the onsets so that as many are expected as are wanted, in place.

    Args:
        logits: float (batch, states, h, w).
        hidden: bool (batch, h, w), the cells that count.
        wanted: float (batch,), onsets.
        fewer_sustains: see `shift_onsets`.
    """
    bias = onset_bias(onset_odds(logits), hidden, wanted)
    return shift_onsets(logits, bias, fewer_sustains)


def shift_onsets(logits: Tensor, bias: Tensor, fewer_sustains: bool = False) -> Tensor:
    """Add a bias of each picture to the onsets, in place.

    Args:
        logits: float (batch, states, h, w).
        bias: float (batch,).
        fewer_sustains: where there shall be fewer notes, fewer sustains want a beginning, too.
    """
    shift = bias[:, None, None]  # (batch, 1, 1)
    logits[:, ONSET:] += shift[:, None]
    if fewer_sustains:
        logits[:, SUSTAIN] += shift.clamp(max=0)
    return logits


def likeliest(p: Tensor, share: float) -> Tensor:
    """The fewest cells of each picture that hold a share of the sum of p: bool (batch, h, w).

    Args:
        p: float (batch, h, w), at least 0.
        share: between 0 and 1.
    """
    # numpy sorts numbers 30 times as fast as torch does on a CPU.
    rising = np.sort(p.flatten(1).cpu().numpy(), axis=1)  # (batch, h * w)
    ranked = torch.from_numpy(rising[:, ::-1].copy()).to(p)  # (batch, h * w)
    wanted = share * ranked.sum(1, keepdim=True)
    last = (ranked.cumsum(1) < wanted).sum(1, keepdim=True).clamp(max=ranked.shape[1] - 1)
    return p >= ranked.gather(1, last)[..., None]


def onset_bias(odds: Tensor, hidden: Tensor, wanted: Tensor) -> Tensor:
    """The bias on the onsets' log-odds with which as many are expected as are wanted.

    Args:
        odds: float (batch, h, w), log-odds of an onset.
        hidden: bool (batch, h, w), the cells that count.
        wanted: float (batch,), onsets.

    Returns:
        float (batch,), by bisection: the sum rises with the bias.
    """
    low = torch.full_like(wanted, -WIDEST_BIAS, dtype=odds.dtype)
    high = torch.full_like(wanted, WIDEST_BIAS, dtype=odds.dtype)
    odds = odds.masked_fill(~hidden, -math.inf).flatten(1)  # (batch, h * w)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        too_few = (odds + middle[:, None]).sigmoid().sum(1) < wanted
        low = torch.where(too_few, middle, low)
        high = torch.where(too_few, high, middle)
    return (low + high) / 2


def expected_onsets(logits: Tensor, hidden: Tensor) -> Tensor:
    """How many onsets are expected in the hidden cells: float (batch,).

    Args:
        logits: float (batch, states, h, w).
        hidden: bool (batch, h, w).
    """
    return (onset_odds(logits).sigmoid() * hidden).flatten(1).sum(1)  # (batch,)
