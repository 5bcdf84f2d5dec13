"""Rules for the cells process: what a model composes, bent at every step of sampling, without training.
A rule is a function (logits, level, view) -> logits, given to `inpaint` as `rule=`, alone or in a list. It may change the
logits, float (batch, states, 128, width), in place; `view` is a `cells.View`. The functions of this module make rules:
`rule=[rules.key("C:maj"), rules.polyphony(4)]`. A `dial` from 0 (no effect) to 1 (never) takes that share off the odds of what
a rule is against. What is known stays, and a known note may sound on."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, check_range
from ..music.chords import Chord, chord_tones, reduce_chord
from ..music.palette import paint_chords
from ..music.pixels import PITCHES
from .cells import ONSET, SUSTAIN, Rule, View, chord_channels, favour, onset_odds

NEVER = -60.0  # log-odds: never drawn where anything else can be
MOST = 1.5  # log-odds that a lock gives the other notes of a step at most, to keep the rhythm
PITCH = 127 - torch.arange(PITCHES)[:, None]  # of every row, (128, 1)
SCALES = {"maj": (0, 2, 4, 5, 7, 9, 11), "min": (0, 2, 3, 5, 7, 8, 10)}


def key(scale: str | Iterable[int], dial: float = 1.0) -> Rule:
    """Key lock: no new notes off the scale, "C:maj", "A:min" (natural) or pitch classes 0-11; others take their place."""
    if isinstance(scale, str):
        name, _, mode = reduce_chord(scale).partition(":")
        if mode not in SCALES:
            raise OptionError(
                f"{scale!r} is no key; write it like C:maj or F#:min, or give pitch classes"
            )
        scale = [(step + chord_tones(name + ":maj")[0]) % 12 for step in SCALES[mode]]
    cost = _cost(dial) * ~torch.isin(PITCH % 12, torch.tensor(sorted(scale)))  # (128, 1)
    return lambda logits, level, view: against(logits, view, cost.to(logits))


def chords(given: Sequence[Chord] | None = None, dial: float = 1.0) -> Rule:
    """Chord lock: new notes begin on tones of the chord of their step; others take their place, so the rhythm stays.
    `given`: chords by step of the picture (None: what its chord rows show). Free where no chord is known, and under "N"."""
    cost = _cost(dial)

    def rule(logits: Tensor, level: int, view: View) -> Tensor:
        tones = view.chords[:, 1]  # (batch, 128, width)
        if given is not None:
            rows = np.zeros((PITCHES, logits.shape[-1], 3), np.uint8)
            paint_chords(rows, given, view.start)
            tones = torch.from_numpy(chord_channels(rows)[1]).to(logits)  # (128, width)
        return against(logits, view, cost * (tones.amax(-2, keepdim=True) - tones))

    return rule


def pitches(low: int, high: int, dial: float = 1.0) -> Rule:
    """Pitch range: no new notes below MIDI pitch `low` or above `high`; what is lost is not made up."""
    cost = _cost(dial) * (PITCH.lt(low) | PITCH.gt(high))  # (128, 1)
    return lambda logits, level, view: favour(logits, view.hidden, cost.to(logits))


def polyphony(most: int) -> Rule:
    """Maximum polyphony: at most `most` notes sound in a step, known ones counted, if it is the last rule of a list."""

    def rule(logits: Tensor, level: int, view: View) -> Tensor:
        forced = view.hidden & (
            F.pad(view.cells, (-1, 1)) == SUSTAIN
        )  # sure to sound: a sustain follows
        sounding = (~view.hidden & (view.cells >= SUSTAIN)) | forced
        value, state = (logits + view.noise).max(1)
        taken = _strongest(value, view.new & ~forced & (state >= SUSTAIN), most - sounding.sum(1))
        logits[:, SUSTAIN:].masked_fill_((view.new & ~forced & ~taken)[:, None], NEVER)
        room = F.pad(
            most - (sounding | taken).sum(1), (1, -1)
        )  # in the step before: a sustain wants one there too
        reaching = (
            view.new
            & (taken | forced)
            & (state == SUSTAIN)
            & F.pad(view.hidden & ~forced & ~taken, (1, -1))
        )
        logits[:, SUSTAIN].masked_fill_(reaching & ~_strongest(value, reaching, room), NEVER)
        return logits

    return rule


def lone_off_beats(beat: int = 4) -> Rule:
    """Example of an own rule: between the beats (every `beat` steps) no two notes begin together, unless a sustain needs it."""

    def rule(logits: Tensor, level: int, view: View) -> Tensor:
        off_beat = torch.arange(logits.shape[-1], device=logits.device) % beat > 0
        begun = (~view.hidden & (view.cells >= ONSET)).any(1)  # (batch, width)
        favour(logits, view.hidden, NEVER * (begun & off_beat)[:, None])
        value, state = (logits + view.noise).max(1)  # what will be drawn
        wants = view.new & (state >= ONSET) & off_beat
        logits[:, ONSET:].masked_fill_(
            (wants & ~_strongest(value, wants, 1 - begun.int()))[:, None], NEVER
        )
        return logits

    return rule


def echo(period: int = 32) -> Rule:
    """Example of an own rule: call and response. Phrases of `period` steps go in pairs that have one rhythm: notes begin in a
    step of one where they do in the other, known or composed."""

    def rule(logits: Tensor, level: int, view: View) -> Tensor:
        column = torch.arange(logits.shape[-1], device=logits.device)
        partner = column + period * (
            1 - (column + view.start).div(period, rounding_mode="floor") % 2 * 2
        )
        paired, partner = (
            (partner >= 0) & (partner < len(column)),
            partner.clamp(0, len(column) - 1),
        )
        begins = (~view.hidden & (view.cells >= ONSET)).any(1)  # (batch, width)
        silent = ~begins & ~view.hidden.any(1)  # all of it is visible, and nothing begins
        push = (begins[:, partner] & ~begins) * -_onsets(logits, view).log().clamp(
            max=0
        )  # to about one onset
        return favour(
            logits, view.hidden, (torch.where(silent[:, partner], NEVER, push) * paired)[:, None]
        )

    return rule


def against(logits: Tensor, view: View, bias: Tensor) -> Tensor:
    """`favour` with a bias <= 0, and the other notes of a step raised by as much as the step loses, at most by MOST."""
    before = _onsets(logits, view)
    lost = before / _onsets(favour(logits, view.hidden, bias), view)
    return favour(logits, view.hidden, lost.log().clamp(0, MOST)[:, None])


def _onsets(logits: Tensor, view: View) -> Tensor:
    """How many onsets are expected in the hidden cells of each column, float (batch, w), never quite 0."""
    return (onset_odds(logits).sigmoid() * view.hidden).sum(1).clamp(min=1e-9)


def _cost(dial: float) -> float:
    check_range("dial", dial, 0, 1, unit="(never)")
    return math.log1p(-dial) if dial < 1 else NEVER


def _strongest(value: Tensor, among: Tensor, room: Tensor) -> Tensor:
    """The strongest cells of `among`, bool (batch, h, w), as many in each column as there is `room`, int (batch, w)."""
    rank = value.masked_fill(~among, -math.inf).argsort(1, descending=True).argsort(1)
    return among & (rank < room[:, None])
