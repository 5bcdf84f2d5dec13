"""Absorbing diffusion on cells: the second process of pomkit.
Every pixel of a picture is a cell: off, sustain, an onset in one of a few velocity bins, or hidden. Training hides each cell of
a region with probability t and scores the hidden ones by cross-entropy, a bound on the likelihood (Austin et al. 2021, arXiv
2107.03006, section 3; Hoogeboom et al. 2022, arXiv 2110.02037); sampling begins with the region hidden and uncovers it in N
steps (Chang et al. 2022, arXiv 2202.04200, on the cosine schedule). Known cells never change."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError
from ..music.harmony import chords_by_step
from ..music.palette import read_chords
from ..music.pixels import PITCHES, belonging, draw_spans, read_spans
from ..networks.hdit import HDiT
from .edm import Callback, repaint_schedule

OFF, SUSTAIN, ONSET = (
    0,
    1,
    2,
)  # an onset in velocity bin b is state ONSET + b; hidden is the state after the last
VELOCITIES = (
    60,
    78,
    90,
    108,
)  # what each velocity bin is played with (near the quartiles of pop piano)

CellModel = Callable[[Tensor, Tensor, Tensor], Tensor]  # (cells, chords, t) -> logits


class View(NamedTuple):
    """What a rule may look at: one window in one step of sampling."""

    cells: Tensor  # int64 (batch, h, w): the states so far, known or drawn; hidden cells are in the state after the last
    hidden: Tensor  # bool (batch, h, w): the cells still to be drawn
    new: Tensor  # bool (batch, h, w): those of them that this step settles
    noise: Tensor  # float (batch, states, h, w): the state with the largest logit + noise is drawn
    chords: Tensor  # float (batch, 3, h, w), see `chord_channels`
    start: int  # the step of the picture at which the window begins; windows begin on bar lines


Rule = Callable[
    [Tensor, int, View], Tensor
]  # (logits, level, view) -> logits; may change them in place


class Cells(nn.Module):
    """A network that tells every hidden cell's state: `forward(cells, chords, t) -> logits`; it takes states + 1 + 3 channels
    and gives one a state. `velocities`: the MIDI velocity of each onset bin; `width`: learned columns."""

    process = "cells"

    def __init__(
        self, network: HDiT, velocities: Sequence[int] = VELOCITIES, width: int = 512
    ) -> None:
        super().__init__()
        self.network, self.velocities, self.width = network, tuple(velocities), width
        self.states, self.span = ONSET + len(self.velocities), max(width, network.config.span)
        self.card: dict[str, Any] = {}
        found = (network.config.in_channels, network.config.out_channels)
        if found != (wanted := (self.in_channels(len(self.velocities)), self.states)):
            raise OptionError(
                f"{len(self.velocities)} velocity bins need a network with {wanted} channels, not {found}"
            )

    @staticmethod
    def in_channels(bins: int) -> int:
        """Channels of the network's input: one a state, one for hidden, and the three of the chord (`chord_channels`)."""
        return ONSET + bins + 1 + 3

    def forward(self, cells: Tensor, chords: Tensor, t: Tensor) -> Tensor:
        """Logits float (batch, states, 128, width) of `cells`, int64 (batch, 128, width), states or hidden (= `states`);
        `chords`: float (batch, 3, 128, width), see `chord_channels`; `t`: float (batch,), hidden share of the region."""
        one_hot = chords.new_zeros(len(cells), self.states + 1, *cells.shape[1:]).scatter_(
            1, cells[:, None], 1
        )
        return self.network(torch.cat([one_hot, chords], dim=1), t).float()

    def encode(self, picture: np.ndarray, border: int = 8) -> np.ndarray:
        """A picture's cells, int64 (128, width): an onset takes the bin of the nearest velocity, the border rows are off."""
        spans = read_spans(picture, border=border)
        nearest = np.abs(spans.velocity[..., None].astype(int) - np.array(self.velocities)).argmin(
            -1
        )
        return np.where(spans.onset, ONSET + nearest, np.where(spans.sustain, SUSTAIN, OFF)).astype(
            np.int64
        )

    def decode(
        self, cells: np.ndarray, picture: np.ndarray, mask: np.ndarray, border: int = 8
    ) -> tuple[np.ndarray, int]:
        """`picture` with the masked cells drawn in, and how many sustain cells without a note before them were cleared."""
        onset = (cells >= ONSET) & (
            cells < self.states
        )  # hidden cells (of a preview) are drawn black
        known, bins = (
            read_spans(picture, border=border),
            np.array([0] * ONSET + [*self.velocities, 0], np.uint8),
        )
        velocity = np.where(
            mask | ~known.onset, bins[cells], known.velocity
        )  # a known note keeps its own velocity
        sustain, _ = belonging(onset, cells == SUSTAIN)
        cleared = int(((cells == SUSTAIN) & ~sustain & mask).sum())
        return np.where(mask[..., None], draw_spans(onset, sustain, velocity), picture), cleared


def chord_channels(
    picture: np.ndarray, mask: np.ndarray | None = None, border: int = 8
) -> np.ndarray:
    """The chords of a picture's border as input, float32 (3, 128, width): root, chord tones, known; by pitch and step. Where
    the chord rows are masked or black all three are 0; where there is surely no chord ("N") only the third is 1."""
    code, tones = chords_by_step(read_chords(picture, border), picture.shape[1])
    pitch_class, root = (127 - np.arange(PITCHES)) % 12, np.where(code < 0, -1, code % 12)
    known = np.broadcast_to(code > -2, picture.shape[:2])
    channels = np.stack([pitch_class[:, None] == root, tones.T[pitch_class], known]).astype(
        np.float32
    )
    if mask is not None:
        channels[:, :, mask[:border].any(axis=0) | mask[PITCHES - border :].any(axis=0)] = 0
    return channels


def cell_bound(
    model: CellModel,
    cells: Tensor,
    chords: Tensor,
    region: Tensor,
    hidden_state: int,
    t: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The bound on -log2 p(region | rest) a cell, at hiding probabilities t: (batch,), bits per pixel. Hides each cell of
    `region` (bool (batch, h, w)) with probability t (batch,) and gives sum of the hidden cells' cross-entropy / t / size of the
    region; its mean over uniform t is the bound (arXiv 2110.02037, equation 7, in continuous time)."""
    hidden = region & (
        torch.rand(cells.shape, generator=generator).to(cells.device) < t[:, None, None]
    )
    logits = model(torch.where(hidden, hidden_state, cells), chords, t)
    nats = F.cross_entropy(logits, cells, reduction="none") * hidden
    return nats.flatten(1).sum(1) / (t * region.flatten(1).sum(1).clamp(min=1) * math.log(2))


def stratified_t(n: int, generator: torch.Generator | None = None) -> Tensor:
    """n hiding probabilities, uniform in (0, 1], one in each n-th part: less variance for the loss."""
    return 1 - (torch.arange(n) + torch.rand(n, generator=generator)) / n


def uncovering(cells: int, steps: int) -> list[int]:
    """How many of `cells` are uncovered at each level, a plain list from 0 to `cells`: the cosine schedule, few at first, when
    each choice binds all others; with as many steps as cells one at a time. OptionError."""
    if steps < 1:
        raise OptionError(f"steps is {steps}; choose at least 1")
    if steps >= cells:
        return list(range(cells + 1))
    return [cells - math.floor(cells * math.cos(math.pi / 2 * i / steps)) for i in range(steps)] + [
        cells
    ]


@torch.inference_mode()
def sample_cells(
    model: CellModel,
    cells: Tensor,
    chords: Tensor,
    mask: Tensor,
    hidden_state: int,
    steps: int = 16,
    U: int = 1,
    jump: int = 1,
    temperature: float = 1.0,
    density: float | None = None,
    pitch_bias: Tensor | None = None,
    guidance: float = 1.0,
    top_p: float = 1.0,
    rule: Rule | Sequence[Rule] = (),
    whole_notes: bool = False,
    start: int = 0,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Fill the masked cells, int64 (batch, h, w); the others stay as they are. `mask` bool (h, w). Each step of
    `edm.repaint_schedule(steps, U, jump)` draws all hidden cells and keeps a random part of them, as many as `uncovering` says;
    going back hides a random part again (U > 1: redone with more known around it). `temperature` sharpens which notes, not how
    many: the number of onsets that the first call expects, or `density`, is held by a bias on their log-odds. `pitch_bias`:
    float (12,), by pitch class, see `favour`. `guidance` g: logits = u + g (c - u), u without the known cells and chords (arXiv
    2207.12598). `top_p`: onsets only in the fewest cells that hold this share of all that are expected. `rule`: functions that
    may change anything (`View`, `pomkit.rules`); what they take is not made up elsewhere, unless `density` asks for a number.
    `whole_notes` forbids what is no note, draws cells that contradict each other again, and holds the number of onsets too: a
    sustain drawn early makes sure of one. `start`: see `View`. `callback({i, n, cells, logits})`: each step. OptionError."""
    if temperature <= 0 or not 0 < top_p <= 1:
        raise OptionError(
            f"temperature is {temperature}, top_p {top_p}; choose numbers above 0 (1 = as learned), top_p to 1"
        )
    rules = list(rule) if isinstance(rule, Sequence) else [rule]
    if not all(map(callable, rules)):
        raise OptionError(
            f"rule is {rule!r}; give a function of (logits, level, view) or a list of such functions"
        )
    if pitch_bias is not None and np.shape(pitch_bias) != (12,):
        raise OptionError(
            f"pitch_bias has shape {tuple(np.shape(pitch_bias))}; give 12 numbers, one a pitch class from C"
        )
    total = int(mask.sum())
    if not total:
        return cells.clone()
    counts = uncovering(total, steps)
    last = len(counts) - 1
    path = repaint_schedule(last, U, jump)
    hidden = mask.expand_as(cells).clone()
    cells = torch.where(hidden, hidden_state, cells)
    begun = torch.zeros_like(hidden)  # onsets that count for the density
    for i, (level, after) in enumerate(
        pairwise(path + [last] * whole_notes)
    ):  # one more call settles what is broken
        if after < level:  # back: hide some of the new cells again
            hidden |= choose(mask & ~hidden, counts[level] - counts[after], generator)
            cells = torch.where(hidden, hidden_state, cells)
            continue
        if not hidden.any():
            break
        t = (hidden.flatten(1).sum(1) / total).to(chords)
        logits = model(cells, chords, t)
        if i == 0:  # as many as the model expects by now, unguided
            goal = (
                (onset_odds(logits).sigmoid() * hidden).flatten(1).sum(1)
                if density is None
                else density
            )
        if guidance != 1:
            free = model(torch.where(mask, cells, hidden_state), torch.zeros_like(chords), t)
            logits = free + guidance * (logits - free)
        logits = logits / temperature
        if pitch_bias is not None:
            pitch_class = torch.arange(cells.shape[1]).flip(0) % 12  # row 0 is the highest pitch
            logits = favour(
                logits, hidden, torch.as_tensor(pitch_bias).to(logits)[pitch_class, None]
            )
        if whole_notes:
            logits[:, SUSTAIN].masked_fill_(
                F.pad(cells, (1, -1), value=OFF) == OFF, -math.inf
            )  # after a visible off cell
            logits[:, OFF].masked_fill_(
                F.pad(cells, (-1, 1), value=OFF) == SUSTAIN, -math.inf
            )  # before a visible sustain
        if top_p < 1:
            likely = likeliest(onset_odds(logits).sigmoid() * hidden, top_p)
            logits[:, ONSET:].masked_fill_((hidden & ~likely)[:, None], -math.inf)
        if density is not None or temperature != 1 or top_p < 1 or whole_notes:
            placed = (begun & ~hidden).flatten(1).sum(1)
            shift = onset_bias(onset_odds(logits), hidden, (goal - placed).clamp(min=0))[
                :, None, None
            ]
            logits[:, ONSET:] += shift[:, None]
            if density is not None:  # fewer notes: fewer sustains that want a beginning
                logits[:, SUSTAIN] += shift.clamp(max=0)
        noise = torch.rand(logits.shape, generator=generator).to(logits).clamp_(1e-20, 1 - 1e-7)
        noise = noise.log_().neg_().log_().neg_()
        drawn = meant = (logits + noise).max(1).indices  # Gumbel-max: a draw from softmax(logits)
        late = hidden.flatten(1).sum(1).max().item() - (
            total - counts[level]
        )  # fragments of earlier steps, hidden again
        new = (
            hidden
            if after == last
            else choose(hidden, counts[after] - counts[level] + int(late), generator)
        )
        for change in rules:
            logits = change(logits, level, View(cells, hidden, new, noise, chords, start))
            drawn = (logits + noise).max(1).indices
        begun = torch.where(new, (meant if density is None else drawn) >= ONSET, begun)
        cells = torch.where(new, drawn, cells)
        if whole_notes:  # two cells drawn at once may not fit together
            broken = new & (cells == SUSTAIN) & (F.pad(cells, (1, -1), value=OFF) == OFF)
            cells, new = torch.where(broken, hidden_state, cells), new & ~broken
        hidden = hidden & ~new
        if callback is not None and i < len(path) - 1:
            callback({"i": i, "n": len(path) - 1, "cells": cells, "logits": logits})
    return torch.where(hidden, OFF, cells)


def favour(logits: Tensor, hidden: Tensor, bias: Tensor) -> Tensor:
    """The logits, changed in place, with `bias`, broadcastable to (batch, h, w), on the log-odds of notes that begin at a cell:
    of onsets, and of a sustain that wants its note to begin at the hidden cell before it (else a quarter came in that way)."""
    logits[:, ONSET:] += bias.unsqueeze(-3)
    logits[:, SUSTAIN] += F.pad(bias * hidden, (1, -1))
    return logits


def choose(among: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """`count` random cells of `among`, bool (batch, h, w), for each picture of the batch."""
    rank = torch.rand(among.shape, generator=generator).to(among.device) + ~among
    first = rank.flatten(1).topk(count, dim=1, largest=False, sorted=False).indices
    return torch.zeros_like(among).flatten(1).scatter(1, first, True).reshape(among.shape) & among


def likeliest(p: Tensor, share: float) -> Tensor:
    """The fewest cells of each picture that hold `share` of the sum of p (batch, h, w): bool, the same shape."""
    ranked = p.flatten(1).sort(dim=1, descending=True).values
    last = (
        (ranked.cumsum(1) < share * ranked.sum(1, keepdim=True))
        .sum(1, keepdim=True)
        .clamp(max=ranked.shape[1] - 1)
    )
    return p >= ranked.gather(1, last)[..., None]


def onset_odds(logits: Tensor) -> Tensor:
    """Log-odds of an onset of any velocity, float (batch, h, w)."""
    return logits[:, ONSET:].logsumexp(1) - logits[:, :ONSET].logsumexp(1)


def onset_bias(odds: Tensor, hidden: Tensor, wanted: Tensor) -> Tensor:
    """The bias (batch,) on the onsets' log-odds with which `wanted` (batch,) onsets are expected in the hidden cells."""
    low, high = (
        torch.full_like(wanted, -12.0, dtype=odds.dtype),
        torch.full_like(wanted, 12.0, dtype=odds.dtype),
    )
    odds = odds.masked_fill(~hidden, -math.inf).flatten(1)
    for _ in range(24):  # bisection: the sum rises with the bias
        middle = (low + high) / 2
        expected = (odds + middle[:, None]).sigmoid().sum(1)
        low, high = (
            torch.where(expected < wanted, middle, low),
            torch.where(expected < wanted, high, middle),
        )
    return (low + high) / 2
