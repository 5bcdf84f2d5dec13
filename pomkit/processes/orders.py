"""Orders of uncovering: which hidden cells a call settles, and which settled ones it hides again.

    rank = halton_rank(4, 128, 256)                  # float (4, 128, 256): the lowest come first
    new = first_of(rank, hidden, 100)                # of the hidden cells, the next hundred
    new = surest(onset_odds(logits), hidden, 0.25)   # those that hold a quarter of what is open

- "random": any cell is as likely as any other to be next.
- "halton": every next cell is far from those before it, so cells of one call say little of each
  other. They are the points of Halton's sequence (arXiv 2503.17076).
- "entropy": the surest cells first, by the entropy of their onsets, and as many in a call as keep
  its sum under a budget (arXiv 2505.24857). It does not ask how likely the drawn state is.

Measured on validation windows (tests/benchmarks/orders.py, discriminator.py): by "halton" notes are
longer, as real ones are, and 4 calls are as hard to tell from real music as 16 by "random". So
"halton" is the default, with 8 calls. "entropy" has no more notes of one step than real music in
2 calls, and too few notes in 16. To hide cells again makes more notes of one step.

Laws: with one cell a call and a network that knows p(cell | visible cells), every order draws
from the joint distribution, because none looks at what is drawn in a hidden cell. Hiding random
cells again (`hidden_again`) keeps it, too.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ORDERS = ("random", "halton", "entropy")
# The options of `inpaint` that are about a walk through cells, with their neutral values.
ORDER_OPTIONS = {"order": "halton", "remask": 0.0, "warming": 0.0}


def first_of(rank: Tensor, among: Tensor, number: int) -> Tensor:
    """The cells of each picture that come first.

    Args:
        rank: float (batch, h, w), from 0 to 1; lower ones come first.
        among: bool (batch, h, w), the cells to choose from.
        number: how many; all of them where there are fewer.

    Returns:
        bool (batch, h, w).
    """
    ranks = (rank.to(among.device) + ~among).flatten(1)  # (batch, h * w)
    first = ranks.topk(min(number, ranks.shape[1]), dim=1, largest=False, sorted=False).indices
    chosen = torch.zeros_like(among).flatten(1).scatter(1, first, True)  # (batch, h * w)
    return chosen.reshape(among.shape) & among  # (batch, h, w)


def choose(among: Tensor, number: int, generator: torch.Generator | None = None) -> Tensor:
    """Choose `number` random cells of each picture.

    Args:
        among: bool (batch, h, w), the cells to choose from.
        number: how many; all of them where there are fewer.
        generator: of the random numbers.

    Returns:
        bool (batch, h, w).
    """
    return first_of(torch.rand(among.shape, generator=generator), among, number)


def halton_rank(batch: int, h: int, w: int, generator: torch.Generator | None = None) -> Tensor:
    """The place of each cell in Halton's sequence: steps in base 2, pitches in base 3.

    Point i of the sequence lies at the mirrored digits of i: in column c of 2^a if i is the mirror
    of c, modulo 2^a; in row r of 3^b if i is the mirror of r, modulo 3^b. The Chinese remainder
    theorem gives the one i below 2^a 3^b that is both.

    Args:
        batch: pictures; each has the sequence moved by its own random step.
        h: rows.
        w: columns.
        generator: of the moves.

    Returns:
        float64 (batch, h, w), from 0 to 1; no two cells of a picture have the same.
    """
    places = []
    moduli = []
    for size, base in ((h, 3), (w, 2)):
        digits = next(n for n in range(64) if base**n >= size)
        modulus = base**digits
        move = torch.randint(modulus, (batch, 1), generator=generator)
        places.append(mirrored((torch.arange(size) + move) % modulus, base, digits))
        moduli.append(modulus)

    row, column = places  # (batch, h), (batch, w)
    threes, twos = moduli
    of_row = row * (twos * pow(twos, -1, threes))  # is `row` modulo 3^b, 0 modulo 2^a
    of_column = column * (threes * pow(threes, -1, twos))
    place = (of_row[:, :, None] + of_column[:, None]) % (threes * twos)  # (batch, h, w)
    return place.double() / (threes * twos)


def mirrored(number: Tensor, base: int, digits: int) -> Tensor:
    """Whole numbers with their digits in a base from back to front: int64 like `number`."""
    mirror = torch.zeros_like(number)
    for _ in range(digits):
        mirror = mirror * base + number % base
        number = number // base
    return mirror


def surest(odds: Tensor, hidden: Tensor, share: float) -> Tensor:
    """The surest cells of each picture that together hold a share of the entropy, at least one.

    Args:
        odds: float (batch, h, w), log-odds of an onset.
        hidden: bool (batch, h, w), the cells to choose from.
        share: from 0 to 1, of the entropy of all of them.

    Returns:
        bool (batch, h, w).
    """
    entropy = onset_entropy(odds).flatten(1)  # (batch, h * w)
    is_open = hidden.flatten(1)  # (batch, h * w)
    by_entropy = torch.where(is_open, entropy, torch.inf).argsort(dim=1)
    spent = (entropy * is_open).gather(1, by_entropy).cumsum(1)

    fits = spent < share * spent[:, -1:]
    fits[:, 0] = True
    chosen = torch.zeros_like(fits).scatter(1, by_entropy, fits)
    return chosen.reshape(hidden.shape) & hidden  # (batch, h, w)


def onset_entropy(odds: Tensor) -> Tensor:
    """How open it is whether a note begins, in bits: float like `odds`, its log-odds."""
    nats = F.softplus(odds) - odds * odds.sigmoid()
    return nats.nan_to_num() / math.log(2)


def hidden_again(remask: float, settled: int, left: int) -> int:
    """How many settled cells a call hides again.

    A cell must be hidden after the call as often as the schedule says, so no more can be hidden
    again than are left hidden then.

    Args:
        remask: the share of what is possible, from 0 to 1.
        settled: cells that are settled before the call.
        left: cells that shall be hidden after it.

    Source: ReMDM (arXiv 2503.00307), the bound on sigma and its rescaled schedule.
    """
    return int(remask * min(settled, left))
