"""A sketch: when the notes of a melody begin, and whether it rises or falls, held without training.

Chen et al. 2020 ("Music SketchNet", arXiv 2008.01291) trained a network that takes the rhythm, or
the pitches, of the bars that it fills in. Here both are a rule (see `rules`), and the law holds by
construction: notes begin in the steps that are given, at least one in each, and in no other; the
highest of those that begin together rise, fall and stay as the pitches that are given do.

    sketch = Sketch((0, 4, 8), (60, 64, 62))
    pomkit.inpaint(model, picture, mask, rule=sketch)

Cells are settled in any order, so the rule looks ahead. A sustain is drawn only where a note can
still begin before it. At every call a whole melody is chosen that the cells still allow: the notes
that this call does not settle may be other ones later, but some melody is always left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError
from .states import NEVER, OFF, ONSET, SUSTAIN, Draft, onset_odds

# Log-odds beyond these, which three rules together reach, count as these: sums stay finite.
SUREST = 4 * -NEVER


class Grid(NamedTuple):
    """What a call may still do to each cell of a window, all bool (batch, h, w).

    Attributes:
        free: may still become anything.
        later: those of them that a later call settles.
        onset: a note of the region that began at an earlier call.
        sounding: known or settled, and not silent.
        sustained: those of them that are no onsets.
    """

    free: Tensor
    later: Tensor
    onset: Tensor
    sounding: Tensor
    sustained: Tensor


def grid_of(draft: Draft) -> Grid:
    """The cells of a draft, by what a call may do to them."""
    # Before the last call of Gaussian noise nothing is settled at all.
    is_open = draft.hidden | draft.drawn if draft.drawn.any() else draft.mask
    begun = ~is_open & (draft.cells >= ONSET)
    sustained = ~is_open & (draft.cells == SUSTAIN)
    later = is_open & ~draft.drawn
    return Grid(is_open, later, begun & draft.mask, begun | sustained, sustained)


@dataclass(frozen=True, eq=False)
class Sketch:
    """A rule: notes begin in some steps alone, in the order of some pitches; see `rules`.

    Attributes:
        steps: of the picture, increasing.
        pitches: MIDI pitches of these steps, of which only the order counts; None: any order.
    """

    steps: tuple[int, ...]
    pitches: tuple[int, ...] | None = None

    # A cell that sounds may be silenced again, while noise is taken away.
    bends_sounding: ClassVar[bool] = True

    def __call__(self, logits: Tensor, level: int, draft: Draft) -> Tensor:
        """Bend logits, float (batch, states, h, w), in place; see `rules`.

        Raises:
            OptionError: the masked rows hold no melody of that order.
        """
        columns, pitches = self.inside(draft)
        in_time = self.in_time(draft, columns)
        grid = grid_of(draft)

        # Above the melody no note begins.
        begin = in_time.clone()
        melody: Tensor | None = None
        if pitches is not None and len(columns):
            melody = self.melody(logits, draft, grid, columns)  # (batch, notes)
            highest = melody if draft.drawn.any() else self.highest(draft, columns, melody)
            rows = torch.arange(logits.shape[2], device=logits.device)[:, None]
            begin[:, :, columns] &= rows >= highest[:, None]
        logits[:, ONSET:].masked_fill_((draft.mask & ~begin)[:, None], NEVER)

        if not draft.drawn.any():
            return push(logits, draft, begin)
        forced = self.forced(logits, draft, begin, melody=melody, columns=columns)
        raised = logits.amax(1) - logits[:, ONSET:].amax(1) - NEVER
        logits[:, ONSET:] += torch.where(forced, raised, 0)[:, None]
        return foresee(logits, draft, begin, in_time & ~begin)

    def inside(self, draft: Draft) -> tuple[Tensor, np.ndarray | None]:
        """The columns of the window in which notes begin, and their pitches.

        Returns:
            int64 (notes,), those with masked cells; and int (notes,), or None.
        """
        masked = draft.mask[0].any(0).cpu().numpy()  # (w,)
        columns = np.array(self.steps, int) - draft.start
        there = (columns >= 0) & (columns < len(masked))
        there[there] = masked[columns[there]]
        pitches = None if self.pitches is None else np.array(self.pitches, int)[there]
        return torch.from_numpy(columns[there]).to(draft.mask.device), pitches

    def signs(self, draft: Draft) -> list[int]:
        """Between the notes of a window: 1 where the melody rises, -1 where it falls, 0 else."""
        _, pitches = self.inside(draft)
        return [] if pitches is None else np.sign(np.diff(pitches)).tolist()

    def melody(self, logits: Tensor, draft: Draft, grid: Grid, columns: Tensor) -> Tensor:
        """Choose a melody that the cells allow: the rows of its notes, int64 (batch, notes).

        Args:
            logits: float (batch, states, h, w).
            draft: the window.
            grid: of it.
            columns: of the notes, int64 (notes,).

        Raises:
            OptionError: there is none.
        """
        # The highest note of a column: one that has begun, or a cell above it.
        begun = grid.onset[:, :, columns]  # (batch, h, notes)
        is_free = grid.free[:, :, columns]
        onsets = begun.cumsum(1)
        first_begun = begun & (onsets == 1)
        allowed = first_begun | is_free & (onsets == 0)

        # It is no lower than what sounds there, or must, since a settled sustain follows it.
        in_time = self.in_time(draft, columns)
        sustained = grid.sustained & draft.mask
        must = sustained | unbegun(sustained, grid.free, in_time)
        allowed = allowed & none_above(must[:, :, columns])

        # How likely each cell is to be the highest onset, by what the network says.
        odds = onset_odds(logits)[:, :, columns].clamp(-SUREST, SUREST)
        silent = F.logsigmoid(-odds) * is_free
        silent_above = silent.cumsum(1) - silent
        weight = F.logsigmoid(odds) * is_free + silent_above + draft.noise[:, ONSET][:, :, columns]

        # If that leaves a melody, a known note that goes on behind the mask begins in time, and
        # what other rules forbid stays forbidden.
        signs = self.signs(draft)
        known = unbegun(grid.sustained, grid.free, in_time)
        for wish in (none_above(known[:, :, columns]), odds > NEVER / 2):
            wanted = allowed & wish
            enough = narrowed(wanted, signs).any(1).all(1)  # (batch,)
            allowed = torch.where(enough[:, None, None], wanted, allowed)
        return chosen_rows(allowed, weight, signs)

    def in_time(self, draft: Draft, columns: Tensor) -> Tensor:
        """The masked cells of some columns, int64 (notes,): bool (batch, h, w)."""
        cells = torch.zeros_like(draft.mask)
        cells[:, :, columns] = draft.mask[:, :, columns]
        return cells

    def highest(self, draft: Draft, columns: Tensor, melody: Tensor) -> Tensor:
        """The highest row that each note may have while nothing is settled, int64 (batch, notes).

        Args:
            draft: the window.
            columns: of the notes, int64 (notes,).
            melody: rows of the likeliest one, int64 (batch, notes); it holds where a note sounds.
        """
        begun = draft.mask & ~draft.hidden & (draft.cells >= ONSET)
        decided = begun[:, :, columns].any(1)  # (batch, notes)
        rows = torch.arange(draft.mask.shape[1], device=melody.device)[:, None]
        as_decided = ~decided[:, None] | (rows == melody[:, None])
        allowed = draft.mask[:, :, columns] & as_decided

        # Both ways, so that each note leaves room for all others.
        signs = self.signs(draft)
        allowed = narrowed(allowed, signs)
        back = narrowed(allowed.flip(2), [-sign for sign in reversed(signs)])
        return back.flip(2).int().argmax(1)

    def forced(
        self,
        logits: Tensor,
        draft: Draft,
        begin: Tensor,
        *,
        melody: Tensor | None,
        columns: Tensor,
    ) -> Tensor:
        """The cells that become onsets at this call, bool (batch, h, w).

        Args:
            logits: float (batch, states, h, w).
            draft: the window.
            begin: bool (batch, h, w), where notes may begin.
            melody: rows of the melody's notes, int64 (batch, notes), or None.
            columns: of these notes, int64 (notes,).
        """
        grid = grid_of(draft)
        rows = torch.arange(logits.shape[2], device=logits.device)[:, None]
        forced = torch.zeros_like(begin)
        if melody is not None:
            forced[:, :, columns] = rows == melody[:, None]
            return forced & draft.drawn & ~grid.onset

        # Of each column without an onset, the strongest cell.
        begins_now = draft.drawn & ((logits + draft.noise).argmax(1) >= ONSET)
        lacking = ~(begins_now | grid.onset).any(1, keepdim=True)
        candidates = begin & grid.free
        strength = onset_odds(logits).clamp(-SUREST, SUREST) + draft.noise[:, ONSET]
        strength = strength.masked_fill(~candidates, -torch.inf)
        strongest = rows == strength.argmax(1, keepdim=True)
        return strongest & candidates & lacking & draft.drawn


def push(logits: Tensor, draft: Draft, begin: Tensor) -> Tensor:
    """Raise the onsets of columns without one to about one, in place.

    Args:
        logits: float (batch, states, h, w).
        draft: the window, while noise is taken away.
        begin: bool (batch, h, w), where notes may begin.
    """
    likely = onset_odds(logits).sigmoid() * begin
    expected = likely.sum(1, keepdim=True).clamp(min=1e-9)
    begun = draft.mask & ~draft.hidden & (draft.cells >= ONSET)
    lacking = -expected.log().clamp(max=0) * ~begun.any(1, keepdim=True)
    logits[:, ONSET:] += (lacking * begin)[:, None]
    return logits


def foresee(logits: Tensor, draft: Draft, begin: Tensor, blocked: Tensor) -> Tensor:
    """Draw no sustain before which no note can begin any more, in place.

    Args:
        logits: float (batch, states, h, w).
        draft: the window.
        begin: bool (batch, h, w), where notes may begin.
        blocked: bool (batch, h, w), where no note may begin nor sound on.
    """
    # A cell that a settled sustain wants to sound sounds, if a note can begin before it.
    grid = grid_of(draft)
    silent = ~grid.free & ~grid.sounding
    beginnings = grid.sounding | begin & grid.free
    ends = silent | blocked & grid.free
    can = begin | (last(beginnings) > last(ends))
    needed = unbegun(grid.sustained, grid.free, begin) & can & ~blocked
    logits[:, OFF].masked_fill_(needed & draft.drawn, -SUREST)

    # What each cell will be: a place where a note begins or sounds, a silence, or open.
    state = (logits + draft.noise).argmax(1)
    begins_now = draft.drawn & (state >= ONSET)
    silent_now = draft.drawn & ~needed & (state < SUSTAIN)
    begins = grid.sounding | begins_now | (needed | grid.later) & begin
    ends = silent | silent_now | grid.free & blocked
    alone = last(begins) <= last(ends)
    stray = alone & (~needed | begin) | blocked
    logits[:, SUSTAIN].masked_fill_(stray & draft.drawn, -SUREST)
    return logits


def none_above(cells: Tensor) -> Tensor:
    """Where none of some cells stands above in its column: bool like them, (batch, h, columns)."""
    return cells.cumsum(1) - cells.int() == 0


def last(flags: Tensor) -> Tensor:
    """Of each cell, the last column before it with a flag, from 1, int64 like flags; 0: none.

    Args:
        flags: bool (batch, h, w).
    """
    numbers = torch.arange(1, flags.shape[-1] + 1, device=flags.device)
    latest = (flags * numbers).cummax(-1).values
    return F.pad(latest, (1, -1))


def unbegun(sustained: Tensor, free: Tensor, begin: Tensor) -> Tensor:
    """The open cells that must sound, since a sustain after them has no beginning yet.

    Args:
        sustained: bool (batch, h, w), settled sustains.
        free: bool (batch, h, w), cells that are open.
        begin: bool (batch, h, w), where notes may begin.

    Returns:
        bool (batch, h, w): back to the first cell where a note may begin.
    """
    stop = last((~free | begin).flip(-1))
    wanted = last(sustained.flip(-1))
    return free & ((wanted > 0) & (stop == wanted)).flip(-1)


def narrowed(allowed: Tensor, signs: Sequence[int]) -> Tensor:
    """The rows of each note from which a melody of that order can go on to the last note.

    Args:
        allowed: bool (batch, h, notes); row 0 is the highest pitch.
        signs: between the notes, 1 where the melody rises, -1 where it falls, 0 where it stays.

    Returns:
        bool (batch, h, notes).

    Source: arc consistency (Mackworth 1977), which is exact on a chain.
    """
    notes = list(allowed.unbind(2))
    for i in reversed(range(len(signs))):
        notes[i] = notes[i] & supported(notes[i + 1], -signs[i])
    return torch.stack(notes, dim=2)


def supported(rows: Tensor, sign: int) -> Tensor:
    """The rows that stand so to at least one of some rows, bool (batch, h).

    Args:
        rows: bool (batch, h).
        sign: 1: above one of them in pitch, -1: below, 0: the same.
    """
    if not sign:
        return rows
    # Row 0 is the highest pitch: above a row are the rows before it.
    counted = rows.flip(1).cumsum(1).flip(1) if sign > 0 else rows.cumsum(1)
    return counted - rows.int() > 0


def chosen_rows(allowed: Tensor, weight: Tensor, signs: Sequence[int]) -> Tensor:
    """Choose a row for each note, from left to right, so that the order holds.

    Args:
        allowed: bool (batch, h, notes).
        weight: float (batch, h, notes); the largest one that fits is chosen.
        signs: between the notes, see `narrowed`.

    Returns:
        int64 (batch, notes).

    Raises:
        OptionError: no rows fit.
    """
    possible = narrowed(allowed, signs)
    if not possible.any(1).all():
        raise OptionError(
            f"the masked rows hold no melody of {len(signs) + 1} notes that rises and falls like "
            "that; mask more pitches, or give fewer notes"
        )
    fits = possible[:, :, 0]
    rows: list[Tensor] = []
    for i in range(len(signs) + 1):
        if i:
            here = torch.zeros_like(fits).scatter(1, rows[-1][:, None], True)  # (batch, h)
            fits = possible[:, :, i] & supported(here, signs[i - 1])
        rows.append(weight[:, :, i].masked_fill(~fits, -torch.inf).argmax(1))
    return torch.stack(rows, dim=1)
