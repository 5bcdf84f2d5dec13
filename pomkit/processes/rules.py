"""Rules: what a model composes, bent at every call of sampling, without training.

A rule is a function (logits, level, draft) -> logits, given to `inpaint` as `rule=`, alone or in a
list. It may change the logits, float (batch, states, 128, width), in place; `draft` is a
`states.Draft`. The functions of this module make rules:

    pomkit.inpaint(model, picture, mask, rule=[rules.key("C:maj"), rules.polyphony(4)])

A `dial` from 0 (no effect) to 1 (never) takes that share off the odds of what a rule is against.
What is known stays, and a known note may sound on.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, check_range, check_whole, refused, shown
from ..music.chords import Chord, chord_tones, reduce_chord
from ..music.palette import paint_chords
from ..music.pixels import PITCHES, pitch_of_row
from ..music.tables import MAX_STEPS
from .sketch import Sketch
from .states import (
    NEVER,
    OFF,
    ONSET,
    SUSTAIN,
    Draft,
    Rule,
    chord_channels,
    favour,
    forbid,
    onset_odds,
)

# Log-odds that a lock gives the other notes of a step at most, to keep the rhythm.
MOST_RAISED = 1.5
# Log-odds of sounding from which on undecided cells compete for the room that polyphony leaves.
RIVAL_ODDS = -1.0
PITCH = pitch_of_row(torch.arange(PITCHES))[:, None]  # of every row, (128, 1)
SCALES = {"maj": (0, 2, 4, 5, 7, 9, 11), "min": (0, 2, 3, 5, 7, 8, 10)}


def key(scale: str | Iterable[int], dial: float = 1.0) -> Rule:
    """Key lock: no new notes off the scale; others take their place.

    Args:
        scale: "C:maj", "A:min" (natural), or pitch classes 0-11.
        dial: from 0 (no effect) to 1 (never).

    Raises:
        OptionError: the text is no key, or the dial is outside 0 to 1.
    """
    classes = scale_classes(scale) if isinstance(scale, str) else scale
    outside = ~torch.isin(PITCH % 12, torch.tensor(sorted(classes)))
    cost = _cost(dial) * outside  # (128, 1)
    return lambda logits, level, draft: against(logits, draft, cost.to(logits))


def scale_classes(name: str) -> list[int]:
    """The pitch classes of a key, "C:maj" or "A:min"; OptionError where it is none."""
    root, _, mode = reduce_chord(name).partition(":")
    if mode not in SCALES:
        raise OptionError(
            f"{name!r} is no key; write it like C:maj or F#:min, or give pitch classes"
        )
    tonic, _ = chord_tones(root + ":maj")
    return [(degree + tonic) % 12 for degree in SCALES[mode]]


def chords(given: Sequence[Chord] | None = None, dial: float = 1.0) -> Rule:
    """Chord lock: new notes begin on tones of their step's chord; the rhythm stays.

    It is free where no chord is known, and under "N".

    Args:
        given: chords by step of the picture; None is what its chord rows show.
        dial: from 0 (no effect) to 1 (never); OptionError outside.
    """
    cost = _cost(dial)

    def rule(logits: Tensor, level: int, draft: Draft) -> Tensor:
        tones = draft.chords[:, 1]  # (batch, 128, width)
        if given is not None:
            rows = np.zeros((PITCHES, logits.shape[-1], 3), np.uint8)
            paint_chords(rows, given, draft.start)
            tones = torch.from_numpy(chord_channels(rows)[1]).to(logits)  # (128, width)
        foreign = tones.amax(-2, keepdim=True) - tones
        return against(logits, draft, cost * foreign)

    return rule


def pitches(low: int, high: int, dial: float = 1.0) -> Rule:
    """Pitch range: no new notes outside it; what is lost is not made up.

    Args:
        low: the lowest MIDI pitch that may come.
        high: the highest one.
        dial: from 0 (no effect) to 1 (never); OptionError outside.
    """
    cost = _cost(dial) * (PITCH.lt(low) | PITCH.gt(high))  # (128, 1)
    return lambda logits, level, draft: favour(logits, draft.hidden, cost.to(logits))


def known_ends() -> Rule:
    """Known notes end where they end: none sounds on into the mask.

    In the first column of a masked stretch they may: a note of the part that is composed may be
    tied over the line where the mask begins.
    """

    def rule(logits: Tensor, level: int, draft: Draft) -> Tensor:
        known = (draft.cells >= SUSTAIN) & ~draft.mask  # (batch, 128, width)
        inside = draft.mask.expand_as(known).any(1, keepdim=True)  # (batch, 1, width)
        after = F.pad(known & inside, (1, -1))
        # A note that is known on both sides stays whole.
        tied = F.pad(known & (draft.cells == SUSTAIN), (-1, 1))
        return forbid(logits, slice(SUSTAIN, ONSET), draft.hidden & after & ~tied)

    return rule


def polyphony(most: int, known: bool = True) -> Rule:
    """Maximum polyphony: at most `most` notes sound in a step.

    It must be the last rule of a list.

    Args:
        most: so many.
        known: whether notes outside the mask count; without them it is the voices of a part that
            is composed among others.
    """

    def rule(logits: Tensor, level: int, draft: Draft) -> Tensor:
        # Cells that are sure to sound: settled notes, and hidden cells that a sustain follows.
        forced = draft.hidden & (F.pad(draft.cells, (-1, 1)) == SUSTAIN)
        settled = ~draft.hidden & (draft.cells >= SUSTAIN)
        if not known:
            settled = settled & draft.mask
        sounding = settled | forced

        # Of the cells that would sound, the strongest may, as many as there is room for.
        value, state = (logits + draft.noise).max(1)
        free = draft.new & ~forced
        space = most - sounding.sum(1)
        taken = _strongest(value, free & draft.drawn & (state >= SUSTAIN), space)

        # Where nothing is decided yet, only those that come near to sounding compete.
        odds = logits[:, SUSTAIN:].logsumexp(1) - logits[:, OFF]
        open_still = free & ~draft.drawn
        rivals = open_still & (odds > RIVAL_ODDS)
        taken |= _strongest(odds, rivals, space)
        taken |= open_still & ~rivals & (space > 0)[:, None]
        forbid(logits, slice(SUSTAIN, None), free & ~taken)

        # A sustain wants a note in the step before, and there must be room for that, too.
        room = F.pad(most - (sounding | taken).sum(1), (1, -1))
        sustained = draft.new & (taken | forced) & (state == SUSTAIN)
        reaching = sustained & F.pad(draft.hidden & ~forced & ~taken, (1, -1))
        too_many = reaching & ~_strongest(value, reaching, room)
        return forbid(logits, slice(SUSTAIN, ONSET), too_many)

    return rule


def rhythm(columns: Iterable[int]) -> Rule:
    """A rhythm: new notes begin in these steps and in no other, at least one in each.

    It comes behind rules of pitches, so that it forces notes that these allow. Where the mask does
    not reach a step, nothing is asked of it. A known note that goes on behind the mask and can
    begin in none of the steps begins where it must.

    Args:
        columns: steps of the picture.

    Raises:
        OptionError: there is none, or one is no whole number at or above 0.
    """
    return Sketch(tuple(sorted(picture_steps("columns", columns))))


def contour(pitches: Mapping[int, int]) -> Rule:
    """A rhythm, as `rhythm` holds it, and the order of a melody: it rises, falls and stays.

    The melody is the highest note that begins in each of the steps, of those that are composed; no
    other one sounds above it there. Only the order counts, not how far it goes: `{0: 60, 8: 64,
    12: 64}` rises, then repeats its note. It comes behind rules of pitches.

    Args:
        pitches: step of the picture -> MIDI pitch.

    Raises:
        OptionError: a step or a pitch is no whole number at or above 0; when it composes, that the
            masked rows are too few for such a melody.
    """
    if not isinstance(pitches, Mapping):
        raise OptionError(f"pitches is {shown(pitches)}; give steps and pitches, like {{0: 60}}")
    steps = sorted(picture_steps("pitches", pitches))
    heights = [pitches[step] for step in steps]
    for pitch in heights:
        check_whole("pitch", pitch, 0, PITCHES - 1)
    return Sketch(tuple(steps), tuple(map(int, heights)))


def picture_steps(what: str, given: Iterable[int]) -> set[int]:
    """Steps of a picture, each once; OptionError where they are none; `what` names the option."""
    remedy = "give steps of the picture, whole numbers from 0 on"
    with refused(what, given, remedy):
        steps = list(given)
    if not steps:
        raise OptionError(f"{what} is {shown(given)}; {remedy}")
    for step in steps:
        check_whole(f"a step of {what}", step, 0, MAX_STEPS)
    return {int(step) for step in steps}


def lone_off_beats(beat: int = 4) -> Rule:
    """Example of a rule of one's own: no two notes begin together between the beats.

    Unless a sustain needs it. A beat is `beat` steps.
    """

    def rule(logits: Tensor, level: int, draft: Draft) -> Tensor:
        off_beat = torch.arange(logits.shape[-1], device=logits.device) % beat > 0
        occupied = (~draft.hidden & (draft.cells >= ONSET)).any(1)  # (batch, width)
        favour(logits, draft.hidden, NEVER * (occupied & off_beat)[:, None])

        # Of the onsets that would be drawn now, the strongest of a step stays.
        value, state = (logits + draft.noise).max(1)
        wants = draft.new & (state >= ONSET) & off_beat
        too_many = wants & ~_strongest(value, wants, 1 - occupied.int())
        return forbid(logits, slice(ONSET, None), too_many)

    return rule


def echo(period: int = 32) -> Rule:
    """Example of a rule of one's own: call and response.

    Phrases of `period` steps go in pairs that have one rhythm: notes begin in a step of one where
    they do in the other, known or composed.
    """

    def rule(logits: Tensor, level: int, draft: Draft) -> Tensor:
        # The step of the other phrase that stands at the same place, where there is one.
        column = torch.arange(logits.shape[-1], device=logits.device)
        phrase = (column + draft.start).div(period, rounding_mode="floor")
        partner = column + period * (1 - phrase % 2 * 2)
        paired = (partner >= 0) & (partner < len(column))
        partner = partner.clamp(0, len(column) - 1)

        # Where the partner begins a note, push to about one onset; where it is silent, to none.
        begins = (~draft.hidden & (draft.cells >= ONSET)).any(1)  # (batch, width)
        silent = ~begins & ~draft.hidden.any(1)
        lacking = -_onsets(logits, draft).log().clamp(max=0)
        push = (begins[:, partner] & ~begins) * lacking
        bias = torch.where(silent[:, partner], NEVER, push) * paired
        return favour(logits, draft.hidden, bias[:, None])

    return rule


def against(logits: Tensor, draft: Draft, bias: Tensor) -> Tensor:
    """Lower notes, and raise the other notes of a step by as much as the step loses.

    Args:
        logits: float (batch, states, h, w), changed in place.
        draft: the window.
        bias: float, at most 0, broadcastable to (batch, h, w), on the log-odds.

    Returns:
        The same logits; others are raised by MOST_RAISED at most.
    """
    before = _onsets(logits, draft)
    after = _onsets(favour(logits, draft.hidden, bias), draft)
    raised = (before / after).log().clamp(0, MOST_RAISED)
    return favour(logits, draft.hidden, raised[:, None])


def _onsets(logits: Tensor, draft: Draft) -> Tensor:
    """How many onsets are expected in the hidden cells of a column, (batch, w), never quite 0."""
    return (onset_odds(logits).sigmoid() * draft.hidden).sum(1).clamp(min=1e-9)


def _cost(dial: float) -> float:
    """The log-odds that a dial takes away; OptionError outside 0 to 1."""
    check_range("dial", dial, 0, 1, unit="(never)")
    return math.log1p(-dial) if dial < 1 else NEVER


def _strongest(value: Tensor, among: Tensor, room: Tensor) -> Tensor:
    """The strongest cells of `among` in each column, as many as there is room for.

    Args:
        value: float (batch, h, w), how strong.
        among: bool (batch, h, w).
        room: int (batch, w).

    Returns:
        bool (batch, h, w).
    """
    rank = value.masked_fill(~among, -math.inf).argsort(1, descending=True).argsort(1)
    return among & (rank < room[:, None])
