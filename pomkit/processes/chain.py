"""The chain: exact sums over all rows of cells in which every sustain follows a note.

The cells of a row have weights exp(logits), and one law: a sustain follows an onset or a sustain.
So a row is a Markov chain, and what it needs to know of the past is one number, how likely the cell
before sounds. What is summed here over six states and 256 columns would be 6^256 rows.

    p = marginals(logits)                 # of each state, float (batch, states, h, w)
    cells = best_rows(logits)             # the likeliest rows, int64 (batch, h, w)
    nats = log_likelihood(logits, cells)  # of whole rows, float (batch, h)

Known cells take part as logits in which all other states are impossible (`with_known`). `begin`
says what stands before the first column: 0 where the song begins, so that no sustain may stand
there; 1, where a sustain may. `end` says what stands behind the last one: 0 where a sustain does,
so that the last cell must sound; 1 where anything may.

Source: forward-backward, Rabiner 1989, "A tutorial on hidden Markov models", section III.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .states import OFF, ONSET, SUSTAIN, box_of

# Log-weight of what is impossible; sums of some of them are still finite.
IMPOSSIBLE = -1e4
LEAST_WEIGHT = 1e-30
# A state that no row can have is as likely as this: its logarithm stays finite.
LEAST_LIKELY = 1e-12
# Columns that are walked one after the other; the blocks of so many are walked together.
BLOCK = 16

Edge = Tensor | float


class Weights(NamedTuple):
    """Weights of the cells of rows, each float (width, batch, h); they add up to 1 in a cell.

    Attributes:
        off: of silence.
        sustain: of a sustain.
        onset: of an onset of any velocity.
        size: the logarithm of what they were divided by.
    """

    off: Tensor
    sustain: Tensor
    onset: Tensor
    size: Tensor


def weights_of(logits: Tensor) -> Weights:
    """The weights of rows, from logits float (batch, states, h, w)."""
    onset = logits[:, ONSET:].logsumexp(1)
    by_kind = torch.stack([logits[:, OFF], logits[:, SUSTAIN], onset])
    by_column = by_kind.movedim(-1, 1)  # (3, w, batch, h)
    size = by_column.logsumexp(0)
    off, sustain, onset = (by_column - size).exp()
    return Weights(off, sustain, onset, size)


Columns = tuple[Tensor, Tensor, Tensor]


def carry(free: Tensor, other: Tensor, onset: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """Carry a number through rows: how likely something is, given all that came before.

    What is carried is a number s in [0, 1], and behind a cell it is
    (free s + onset) / (free s + onset + other).

    Args:
        free, other, onset: weights of the cells, float (w, batch, h).
        first: the number before the first column, float (batch, h).

    Returns:
        The number before each column and behind the last one, float (w + 1, batch, h), and the
        logarithm of the weight of all, float (batch, h).
    """
    # All blocks of columns at once, from either thing that may stand before: a few long operations,
    # not many short ones.
    columns = (in_blocks(free, 0), in_blocks(other, 1), in_blocks(onset, 0))
    nothing = torch.zeros_like(columns[0][0])
    either = torch.stack([nothing, nothing + 1])
    shares, weights = walk(columns, either)
    sizes = weights.log().sum(0)  # (2, blocks, batch, h)

    # From block to block only the number at the seam is carried.
    seams = [first]
    total = torch.zeros_like(first)
    for share, size in zip(shares[-1].unbind(1), sizes.unbind(1), strict=True):
        joined, weight = mix(share, size, seams[-1])
        seams.append(joined)
        total = total + weight

    # Then through all blocks once more, from what truly stands before each.
    shares, _ = walk(columns, torch.stack(seams[:-1]))
    inside = shares[:-1].movedim(0, 1).flatten(0, 1)  # (blocks * length, batch, h)
    behind = torch.cat([inside, seams[-1][None]])
    # What fills the last block up is left out.
    return behind[: len(free) + 1], total


def walk(columns: Columns, share: Tensor) -> tuple[Tensor, Tensor]:
    """Carry a number through the columns of blocks; see `carry`.

    Args:
        columns: free, other, onset, each float (length, blocks, batch, h).
        share: the number before the first column, float (..., blocks, batch, h).

    Returns:
        The number before each column and behind the last one, float (length + 1, ...), and the
        weight of each column, float (length, ...).
    """
    shares = [share]
    weights = []
    for free, other, onset in zip(*columns, strict=True):
        held = torch.addcmul(onset, free, share)
        weight = (held + other).clamp_(min=LEAST_WEIGHT)
        share = held / weight
        shares.append(share)
        weights.append(weight)
    return torch.stack(shares), torch.stack(weights)


def in_blocks(columns: Tensor, rest: float) -> Tensor:
    """Columns, float (w, batch, h), as blocks: float (length, blocks, batch, h).

    What is missing in the last block is filled with `rest`.
    """
    blocks = -(-len(columns) // BLOCK)
    missing = columns.new_full((blocks * BLOCK - len(columns), *columns.shape[1:]), rest)
    filled = torch.cat([columns, missing])
    by_block = filled.reshape(blocks, BLOCK, *columns.shape[1:])  # (blocks, length, batch, h)
    return by_block.movedim(1, 0)  # (length, blocks, batch, h)


def mix(share: Tensor, size: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of two walks, weighted by how likely each is, and the logarithm of their weight.

    Args:
        share: what the walk from 0 and that from 1 carry, float (2, ...).
        size: the logarithms of their weights, float (2, ...).
        first: how likely the walk from 1 is before its weight is known.
    """
    largest = size.amax(0)
    from_zero, from_one = (size - largest).exp()
    from_one = from_one * first
    both = (from_zero * (1 - first) + from_one).clamp(min=LEAST_WEIGHT)
    zero, one = share
    return zero + (one - zero) * (from_one / both), both.log() + largest


def sounding_before(weights: Weights, begin: Edge = 0.0) -> tuple[Tensor, Tensor]:
    """The forward pass: what the past says of each column.

    Args:
        weights: of the rows.
        begin: what stands before the first column.

    Returns:
        How likely the cell before a column sounds, float (w + 1, batch, h), the last one behind
        the row; and the logarithm of the weight of all rows, float (batch, h).
    """
    row = torch.zeros_like(weights.off[0])
    first = row + begin
    # A sustain goes on only where something sounds.
    sounds, total = carry(weights.sustain, weights.off, weights.onset, first)
    return sounds, total + weights.size.sum(0)


def both_passes(weights: Weights, begin: Edge, end: Edge) -> tuple[Tensor, Tensor]:
    """The forward and the backward pass, in one walk: what past and future say of each column.

    Args:
        weights: of the rows.
        begin: what stands before the first column.
        end: what stands behind the last column.

    Returns:
        How likely the cell before a column sounds, and how much likelier the future is after
        silence than after a note: float (w, batch, h) both. The latter is never more than 1, since
        a note may be followed by whatever follows silence.
    """
    off, sustain, onset, _ = weights
    # Backwards silence stands for the sustain: a future that begins with it needs no note.
    free = torch.cat([sustain, off.flip(0)], dim=1)  # (w, 2 batch, h)
    other = torch.cat([off, sustain.flip(0)], dim=1)  # (w, 2 batch, h)
    onsets = torch.cat([onset, onset.flip(0)], dim=1)  # (w, 2 batch, h)
    row = torch.zeros_like(off[0])
    edges = torch.cat([row + begin, row + end])
    shares, _ = carry(free, other, onsets, edges)
    before, after = shares[:-1].chunk(2, dim=1)
    return before, after.flip(0)


def marginals(logits: Tensor, begin: Edge = 0.0, end: Edge = 1.0) -> Tensor:
    """How likely each state of each cell is in a whole row: float like the logits.

    Args:
        logits: float (batch, states, h, w).
        begin: what stands before the first column, see the module; float or (batch, h).
        end: what stands behind the last column.
    """
    off, sustain, onset = kinds_of(logits, begin, end)
    # Among the onsets the velocities are as they were.
    velocity = logits[:, ONSET:].softmax(1)
    return torch.cat([off[:, None], sustain[:, None], onset[:, None] * velocity], dim=1)


def kinds_of(logits: Tensor, begin: Edge = 0.0, end: Edge = 1.0) -> Tensor:
    """How likely each cell is silence, a sustain, an onset: float (3, batch, h, w).

    Args:
        logits: float (batch, states, h, w).
        begin: what stands before the first column, see the module; float or (batch, h).
        end: what stands behind the last column.
    """
    weights = weights_of(logits)
    before, after = both_passes(weights, begin, end)
    by_kind = torch.stack([weights.off * after, weights.sustain * before, weights.onset])
    by_kind = by_kind / by_kind.sum(0).clamp(min=LEAST_WEIGHT)
    return by_kind.movedim(1, -1)  # (3, batch, h, w)


def log_likelihood(logits: Tensor, cells: Tensor, begin: Edge = 0.0, end: Edge = 1.0) -> Tensor:
    """The log-likelihood of whole rows, in nats: float (batch, h).

    Args:
        logits: float (batch, states, h, w).
        cells: int64 (batch, h, w), the states of rows that keep the law.
        begin: what stands before the first column, see the module.
        end: what stands behind the last column.
    """
    weights = weights_of(logits)
    before, total = sounding_before(weights, begin)
    # Behind the row anything may follow a note, and what `end` says follows silence.
    last = before[-1] + (1 - before[-1]) * end
    row = logits.gather(1, cells[:, None])[:, 0].sum(-1)  # (batch, h)
    return row - total - last.clamp(min=LEAST_WEIGHT).log()


def best_rows(logits: Tensor, begin: Edge = 0.0, end: Edge = 1.0) -> Tensor:
    """The likeliest rows, by Viterbi's algorithm: int64 (batch, h, w); arguments as `marginals`'s.

    A state's weight is its own: the onsets' velocities do not add up.
    """
    velocity = logits[:, ONSET:].max(1)
    silent = _impossible_where(torch.zeros_like(logits[:, OFF, :, 0]) + begin == 1)
    sounds = _impossible_where(torch.zeros_like(silent) + begin == 0)

    # The best row up to each column, with its last cell silent or sounding.
    came_from_sound = []
    is_sustain = []
    by_kind = torch.stack([logits[:, OFF], logits[:, SUSTAIN], velocity.values])
    columns = by_kind.movedim(-1, 1)  # (3, w, batch, h)
    for off, sustain, onset in zip(*columns, strict=True):
        came_from_sound.append(sounds > silent)
        any_before = torch.maximum(silent, sounds)
        held = sounds + sustain
        struck = any_before + onset
        is_sustain.append(held > struck)
        silent = any_before + off
        sounds = torch.maximum(held, struck)

    # Back along the best row.
    silent = silent + _impossible_where(torch.zeros_like(silent) + end == 0)
    now = sounds > silent
    rows = []
    for held, sound, bin_ in zip(
        is_sustain[::-1],
        came_from_sound[::-1],
        velocity.indices.movedim(-1, 0).flip(0),
        strict=True,
    ):
        state = torch.where(held, SUSTAIN, ONSET + bin_)
        rows.append(torch.where(now, state, OFF))
        now = sound | (now & held)
    return torch.stack(rows[::-1], dim=-1)  # (batch, h, w)


def drawn_rows(
    logits: Tensor,
    begin: Edge = 0.0,
    end: Edge = 1.0,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw whole rows, each by its likelihood: int64 (batch, h, w); arguments as `marginals`'s.

    Args:
        logits: float (batch, states, h, w).
        begin: what stands before the first column.
        end: what stands behind the last column.
        generator: of the random numbers.
    """
    weights = weights_of(logits)
    before, _ = sounding_before(weights, begin)
    silent = torch.zeros_like(before[0]) + end
    luck = torch.rand(weights.off.shape, generator=generator).to(logits)

    # From the last column back: what comes after is drawn, and what came before is summed.
    kinds = []
    for i in range(len(weights.off) - 1, -1, -1):
        off = weights.off[i] * silent
        held = off + weights.sustain[i] * before[i]
        place = luck[i] * (held + weights.onset[i])
        kind = (place >= off).long() + (place >= held).long()
        silent = (kind != SUSTAIN).to(logits)
        kinds.append(kind)
    kind = torch.stack(kinds[::-1], dim=-1)  # (batch, h, w)

    velocity = _drawn_bins(logits[:, ONSET:].softmax(1), generator)
    return torch.where(kind == ONSET, ONSET + velocity, kind)


def drawn_together(p: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Draw whole rows of which the marginals are told: int64 (batch, h, w).

    They tell the chain: a sustain needs a cell before it that sounds, so where that one does, it
    goes on with probability p(sustain) / p(sounds before); whatever does not go on is an onset or
    silence, in the proportion of their marginals.

    Args:
        p: the marginals, float (batch, states, h, w), as `marginals` gives them; a known cell has
            the probability 1.
        generator: of the random numbers.
    """
    off = p[:, OFF]
    sustain = p[:, SUSTAIN]
    onset = p[:, ONSET:].sum(1)  # (batch, h, w)
    sounding = sustain + onset
    # Before the first column anything may stand, so there a sustain may, too.
    shifted = sounding[..., :-1]
    before = F.pad(shifted, (1, 0), value=1.0)

    # What each cell does if it can go on, and what it does if not.
    luck = torch.rand((2, *onset.shape), generator=generator).to(p)
    goes_on = luck[0] * before < sustain
    begins = luck[1] * (off + onset) < onset

    # A cell sounds if a note begins at it, or one began before and went on ever since.
    width = p.shape[-1]
    column = torch.arange(width, device=p.device).expand_as(begins)
    last_begin = torch.where(begins, column, -1).cummax(-1).values
    last_break = torch.where(goes_on, -1, column).cummax(-1).values
    sounds = last_begin >= last_break
    sounds_before = F.pad(sounds[..., :-1], (1, 0), value=True)
    is_sustain = goes_on & sounds_before

    bins = _drawn_bins(p[:, ONSET:], generator)
    cells = torch.where(begins, ONSET + bins, OFF)
    return torch.where(is_sustain, SUSTAIN, cells)


def _drawn_bins(p: Tensor, generator: torch.Generator | None) -> Tensor:
    """A velocity bin of each cell, int64 (batch, h, w), by p, float (batch, bins, h, w)."""
    noise = torch.rand(p.shape, generator=generator).to(p)
    waits = -noise.clamp(LEAST_WEIGHT, 1 - 1e-7).log()
    # The first of exponential clocks that run at the rates p.
    return (p / waits).argmax(1)


def with_known(logits: Tensor, mask: Tensor, known: Tensor) -> Tensor:
    """The logits, with the known cells as what they are: float (batch, states, h, w).

    Args:
        logits: float (batch, states, h, w).
        mask: bool (batch, 1, h, w), True = not known.
        known: int64 (batch, h, w), the states.
    """
    other = F.one_hot(known, logits.shape[1]).movedim(-1, 1) == 0  # (batch, states, h, w)
    return torch.where(mask, logits, IMPOSSIBLE * other.to(logits))


def in_whole_rows(logits: Tensor, mask: Tensor, shown: Tensor) -> Tensor:
    """The log-probabilities of states in rows where every sustain follows a note.

    Args:
        logits: float (batch, states, h, w), what the chain is made of.
        mask: bool (batch, 1, h, w), True = composed.
        shown: float like logits, the known cells one-hot.

    Returns:
        float like logits.
    """
    part = box_of(mask)
    if part is None:
        return logits
    rows, columns = part
    is_other = IMPOSSIBLE * (1 - shown[:, :, rows])  # (batch, states, rows, w)
    asked = logits[:, :, rows, columns]
    inside = torch.where(mask[:, :, rows, columns], asked, is_other[..., columns])

    # What stands on both sides is known; at the picture's edges anything may.
    begin = 1.0 if columns.start == 0 else 1 - shown[:, OFF, rows, columns.start - 1]
    is_last = columns.stop == shown.shape[-1]
    end = 1.0 if is_last else 1 - shown[:, SUSTAIN, rows, columns.stop]
    off, sustain, onset = kinds_of(inside, begin, end).clamp(min=LEAST_LIKELY).log()

    # Among the onsets the velocities are as they were.
    out = logits.clone()
    out[:, OFF, rows, columns] = off
    out[:, SUSTAIN, rows, columns] = sustain
    alone = inside[:, ONSET:].logsumexp(1)  # (batch, rows, columns)
    out[:, ONSET:, rows, columns] = inside[:, ONSET:] + (onset - alone)[:, None]
    return out


def surprise(logits: Tensor, cells: Tensor, mask: Tensor, *, whole_rows: bool) -> Tensor:
    """How unlikely the masked cells are, in nats: float (batch, h), summed over each row.

    Args:
        logits: float (batch, states, h, w).
        cells: int64 (batch, h, w), the states.
        mask: bool (batch, h, w), True = counted; the other cells are known.
        whole_rows: as parts of whole rows, given what is known of them; False: one by one.
    """
    if whole_rows:
        return -log_likelihood(with_known(logits, mask[:, None], cells), cells, begin=1.0)
    nats = F.cross_entropy(logits, cells, reduction="none") * mask
    return nats.sum(-1)


def _impossible_where(flags: Tensor) -> Tensor:
    """-inf where the flags are True, else 0: float like them."""
    return torch.zeros_like(flags, dtype=torch.float32).masked_fill(flags, -math.inf)
