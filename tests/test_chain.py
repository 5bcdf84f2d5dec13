"""Laws of the chain: it is what counting all rows gives.

The oracle: all 1,024 rows of five cells in four states, those out that break the law.
"""

from itertools import pairwise, product

import pytest
import torch
from conftest import seeded
from scipy import stats
from torch import nn

from pomkit.processes import chain
from pomkit.processes.states import OFF, ONSET, SUSTAIN

STATES = 4
LENGTH = 5
ROWS = torch.tensor(list(product(range(STATES), repeat=LENGTH)))  # (1024, 5)
LOGITS = torch.randn(3, STATES, 2, LENGTH, dtype=torch.float64, generator=seeded(3))
# What stands before and behind the row: see the module.
EDGES = [(0.0, 1.0), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0)]
edges = pytest.mark.parametrize("begin, end", EDGES)


def is_whole(row: list[int], begin: float, end: float) -> bool:
    """Whether every sustain of a row follows a note, with what stands on both sides of it."""
    cells = [SUSTAIN if begin else OFF, *row, OFF if end else SUSTAIN]
    return all(before != OFF for before, cell in pairwise(cells) if cell == SUSTAIN)


def log_weights(begin: float, end: float, logits=LOGITS) -> torch.Tensor:
    """The log-weight of every row, -inf where it breaks the law: (3, 2, 1024)."""
    whole = torch.tensor([is_whole(row, begin, end) for row in ROWS.tolist()])
    sums = torch.zeros(*logits.shape[::2], len(ROWS), dtype=logits.dtype)
    for i in range(LENGTH):
        sums += logits[:, ROWS[:, i], :, i].movedim(1, -1)
    return sums.masked_fill(~whole, -torch.inf)


@edges
def test_the_marginals_are_those_of_all_rows(begin, end):
    p = log_weights(begin, end).softmax(-1)
    has = nn.functional.one_hot(ROWS, STATES).double()  # (1024, 5, 4)
    expected = torch.einsum("bhr,rik->bkhi", p, has)
    torch.testing.assert_close(chain.marginals(LOGITS, begin, end), expected)


@edges
def test_the_likelihood_is_that_of_all_rows(begin, end):
    expected = log_weights(begin, end).log_softmax(-1)
    for number in range(0, len(ROWS), 7):
        if expected[0, 0, number].isfinite():
            cells = ROWS[number].expand(3, 2, LENGTH)
            given = chain.log_likelihood(LOGITS, cells, begin, end)
            torch.testing.assert_close(given, expected[:, :, number])


@edges
def test_the_best_row_is_the_best_of_all(begin, end):
    best = ROWS[log_weights(begin, end).argmax(-1)]
    assert torch.equal(chain.best_rows(LOGITS, begin, end), best)


@edges
def test_the_draws_come_as_often_as_they_are_likely(begin, end):
    n = 4000
    one = LOGITS[:1, :, :1]
    p = log_weights(begin, end, one).softmax(-1)[0, 0]
    rows = chain.drawn_rows(one.expand(n, -1, -1, -1), begin, end, generator=seeded(1))[:, 0]
    counts = (rows * STATES ** torch.arange(LENGTH - 1, -1, -1)).sum(1).bincount(minlength=len(p))
    assert not counts[p == 0].any()
    often = n * p > 5
    seen = [*counts[often].tolist(), int(counts[~often].sum())]
    expected = torch.cat([p[often], p[~often].sum()[None]])
    assert stats.chisquare(seen, n * expected / expected.sum()).pvalue > 1e-3


LAWFUL = torch.tensor([is_whole(row, 0.0, 1.0) for row in ROWS.tolist()])
# How often each row really comes: some are a hundred times likelier than others.
REAL = torch.rand(len(ROWS), dtype=torch.float64, generator=seeded(5)) ** 4 * LAWFUL
REAL /= REAL.sum()
REAL_SHARES = torch.einsum("r,rik->ki", REAL, nn.functional.one_hot(ROWS, STATES).double())


def expected_counts(p: torch.Tensor) -> torch.Tensor:
    """How many sustains and onsets are expected in a row, of shares (4, 5): (2,)."""
    return torch.stack([p[SUSTAIN].sum(), p[ONSET:].sum()])


def test_learned_with_the_chain_the_expected_counts_are_the_real_ones():
    logits = torch.zeros(1, STATES, 1, LENGTH, dtype=torch.float64, requires_grad=True)
    rows = ROWS[LAWFUL]
    optimiser = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def nats() -> torch.Tensor:
        optimiser.zero_grad()
        each = chain.log_likelihood(logits.expand(len(rows), -1, -1, -1), rows[:, None])[:, 0]
        loss = -(REAL[LAWFUL] * each).sum()
        loss.backward()
        return loss

    optimiser.step(nats)
    learned = expected_counts(chain.marginals(logits.detach())[0, :, 0])
    torch.testing.assert_close(learned, expected_counts(REAL_SHARES), rtol=0.03, atol=0)


def test_on_top_of_what_knows_the_rule_already_the_chain_loses_sustains():
    twice = chain.marginals(REAL_SHARES.log()[None, :, None])[0, :, 0]
    assert expected_counts(twice)[0] < 0.9 * expected_counts(REAL_SHARES)[0]


def test_known_cells_are_neighbours_like_any_others():
    known = torch.tensor([[[0, 0, 0, 0, 1], [0, 2, 0, 0, 0]]]).expand(3, -1, -1)
    mask = torch.tensor([[True, True, True, True, False], [True, False, True, True, True]])
    p = chain.marginals(chain.with_known(LOGITS, mask[None, None], known))
    hidden = (ROWS[:, None] == known[0]) | mask  # (1024, 2, 5)
    weights = log_weights(0.0, 1.0).masked_fill(~hidden.all(-1).T, -torch.inf).softmax(-1)
    has = nn.functional.one_hot(ROWS, STATES).double()
    torch.testing.assert_close(p, torch.einsum("bhr,rik->bkhi", weights, has))
    assert (p[:, OFF, 0, 3] == 0).all()


def test_where_no_sustain_hangs_in_the_air_the_chain_changes_nothing():
    logits = LOGITS.clone()
    logits[:, SUSTAIN] = chain.IMPOSSIBLE
    torch.testing.assert_close(chain.marginals(logits), logits.softmax(1))


def test_certain_cells_in_single_precision_stay_certain():
    logits = torch.full((1, STATES, 1, 300), chain.IMPOSSIBLE)
    cells = torch.full((1, 1, 300), SUSTAIN)
    cells[..., 0] = 2
    logits.scatter_(1, cells[:, None], 0.0)
    assert torch.equal(chain.marginals(logits).argmax(1), cells)
    assert torch.equal(chain.best_rows(logits), cells)
    assert chain.log_likelihood(logits, cells).abs().max() < 1e-3


@pytest.mark.parametrize("begin", [0.0, 1.0])
def test_rows_drawn_by_their_marginals_are_those_of_the_chain(begin):
    """10,000 draws of one row against the probability of each of its 1,024 possibilities."""
    n = 10_000
    one = LOGITS[:1, :, :1]
    begun = torch.full((1, STATES, 1, 1), chain.IMPOSSIBLE, dtype=one.dtype)
    begun[:, SUSTAIN if begin else OFF] = 0
    p = chain.marginals(torch.cat([begun, one], -1), 1.0)
    rows = chain.drawn_together(p.expand(n, -1, -1, -1), generator=seeded(2))[:, 0, 1:]

    expected = log_weights(begin, 1.0)[0, 0].softmax(-1)
    number = (rows * STATES ** torch.arange(LENGTH - 1, -1, -1)).sum(1)
    counts = torch.bincount(number, minlength=len(ROWS)).double()
    assert counts[expected == 0].sum() == 0
    often = expected * n > 5
    seen = torch.cat([counts[often], counts[~often].sum()[None]])
    wanted = torch.cat([expected[often], expected[~often].sum()[None]]) * n
    assert stats.chisquare(seen, wanted).pvalue > 1e-3
