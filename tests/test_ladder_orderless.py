"""Coconet: its loss is the mean over orders; what the samplers keep; how far a cell sees."""

import math
from itertools import permutations, product

import numpy as np
import pytest
import torch
from conftest import make_song, seeded

from pomkit import OptionError, inpaint, masks, render
from pomkit.ladder.orderless import (
    Coconet,
    Convolutions,
    draw_again,
    of_whole_notes,
    shrinking,
    singles,
)
from pomkit.ladder.restoring import hidden_bits
from pomkit.ladder.system import HIDDEN
from pomkit.processes.cells import cell_bound
from pomkit.processes.states import OFF, ONSET, SUSTAIN

D = 4
SETS = torch.tensor(list(product([False, True], repeat=D)))  # (16, 4): which cells are hidden


def arbitrary(seed=0):
    """A model of 1 x 4 cells that is a table: logits of its own for everything that is seen."""
    table = torch.randn(4**D, 3, D, generator=seeded(seed), dtype=torch.float64)

    def ask(cells, told, t):
        return table[cells.flatten(1) @ (4 ** torch.arange(D))][:, :, None]  # (batch, 3, 1, 4)

    return ask


PICTURE = torch.tensor([[[ONSET, SUSTAIN, OFF, ONSET]]])  # (1, 1, 4)


def nats_of_order(ask, order) -> float:
    """The surprise of the picture when its cells are filled one after the other."""
    seen = torch.full_like(PICTURE, HIDDEN)
    nats = 0.0
    for place in order:
        state = PICTURE[0, 0, place]
        nats -= ask(seen, None, None)[0, :, 0, place].log_softmax(0)[state].item()
        seen[0, 0, place] = state
    return nats


def mean_over_sets(loss, weight) -> float:
    """The mean of a loss of all hidden sets, by their probability."""
    return float((loss * weight).sum())


def levels():
    """Points and weights of quadrature for t between 0 and 1."""
    points, weights = np.polynomial.legendre.leggauss(8)
    return zip((points + 1) / 2, weights / 2, strict=True)


def test_the_loss_is_the_mean_over_orders_and_the_bound_of_cells():
    """Three ways to say it: all 24 orders, all 16 hidden sets at all t, and Coconet's weights."""
    ask = arbitrary()
    by_order = np.mean([nats_of_order(ask, order) for order in permutations(range(D))])

    # The loss in training, at every t and for every hidden set, by the set's probability.
    sizes = SETS.sum(1).double()
    cells = PICTURE.expand(len(SETS), 1, D)
    mask = torch.ones_like(cells, dtype=torch.bool)
    noise = torch.where(SETS, -1.0, 2.0)[:, None]
    by_level = 0.0
    for t, weight in levels():
        share = t**sizes * (1 - t) ** (D - sizes)
        batch = {"cells": cells, "mask": mask, "noise": noise, "told": None}
        batch["t"] = torch.full((len(SETS),), t, dtype=torch.float64)
        bits = hidden_bits(ask, batch) * D
        by_level += weight * mean_over_sets(bits, share) * math.log(2)

    # Coconet's: the number of hidden cells is uniform, and the sum counts D / number.
    logits = ask(torch.where(SETS[:, None], HIDDEN, cells), None, None)
    nats = torch.nn.functional.cross_entropy(logits, cells, reduction="none")[:, 0]
    summed = (nats * SETS).sum(1) * D / sizes.clamp(min=1)
    ways = torch.tensor([math.comb(D, int(size)) for size in sizes])
    by_number = mean_over_sets(summed, (sizes > 0).double() / (D * ways))

    assert by_level == pytest.approx(by_order, abs=1e-9)
    assert by_number == pytest.approx(by_order, abs=1e-9)


def test_the_bound_of_cells_is_that_mean_too():
    """Drawn, not summed: `cell_bound` at many levels comes near the mean over orders."""
    ask = arbitrary()
    by_order = np.mean([nats_of_order(ask, order) for order in permutations(range(D))])
    n = 60000
    t = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    cells = PICTURE.expand(n, 1, D)
    region = torch.ones_like(cells, dtype=torch.bool)
    bits = cell_bound(ask, cells, cells, region, HIDDEN, t, seeded(1)) * D
    assert bits.mean().item() * math.log(2) == pytest.approx(by_order, rel=0.02)


# Samplers: a joint distribution of 1 x 3 cells, and its conditionals

JOINT = torch.rand(27, generator=seeded(7), dtype=torch.float64).pow(4)
JOINT /= JOINT.sum()
TRIPLES = torch.tensor(list(product(range(3), repeat=3)))  # (27, 3)


def conditionals(cells):
    """log p(state of a cell | the cells that are seen), float (batch, 3, 1, 3)."""
    seen = cells[:, 0, None]  # (batch, 1, 3)
    fits = ((seen == TRIPLES) | (seen == HIDDEN)).all(-1)  # (batch, 27)
    is_state = TRIPLES[:, None] == torch.arange(3)[:, None]  # (27, 3 states, 3 cells)
    p = torch.einsum("bn,nsc->bsc", fits * JOINT, is_state.double())
    return p.log()[:, :, None]


def counts_of(cells) -> torch.Tensor:
    return (cells[:, 0] @ torch.tensor([9, 3, 1])).bincount(minlength=27)


def chi_square(counts) -> float:
    expected = JOINT * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


def sampled(blocks_of, n=20000, calls=12):
    start = TRIPLES[torch.multinomial(JOINT, n, True, generator=seeded(1))][:, None]
    region = torch.ones(n, 1, 3, dtype=torch.bool)
    blocks = iter(list(blocks_of(region, calls + 1))[1:])  # the first one hides all
    return draw_again(conditionals, start, blocks, calls=calls, generator=seeded(2))


def test_one_cell_at_a_time_keeps_the_joint_and_several_at_once_do_not():
    """Chi-square with 26 degrees of freedom: 54 is passed once in a thousand times."""
    one = sampled(lambda region, calls: singles(region, calls, 1, seeded(3)))
    two = sampled(lambda region, calls: singles(region, calls, 2, seeded(3)))
    blocks = sampled(lambda region, calls: shrinking(region, calls, seeded(3)))
    assert chi_square(counts_of(one)) < 54
    assert chi_square(counts_of(two)) > 200
    assert chi_square(counts_of(blocks)) > 200


def test_shrinking_blocks_come_nearer_to_the_joint_than_one_shot():
    n = 20000
    region = torch.ones(n, 1, 3, dtype=torch.bool)
    hidden = torch.full((n, 1, 3), HIDDEN)

    def distance(calls):
        blocks = shrinking(region, calls, seeded(3))
        drawn = draw_again(conditionals, hidden, blocks, calls=calls, generator=seeded(4))
        return (counts_of(drawn) / n - JOINT).abs().sum().item()

    assert distance(24) < 0.6 * distance(1)


def test_blocks_shrink_to_a_tenth():
    region = torch.ones(1, 64, 64, dtype=torch.bool)
    region[:, :, :10] = False
    sizes = [int(block.sum()) for block in shrinking(region, 20, seeded())]
    assert sizes[0] == region.sum()
    assert sizes[1] / sizes[0] == pytest.approx(0.84, abs=0.03)
    assert np.mean(sizes[14:]) / sizes[0] == pytest.approx(0.1, abs=0.01)
    assert not any((block & ~region).any() for block in shrinking(region, 20, seeded()))


def test_notes_that_are_seen_stay_whole():
    cells = torch.tensor([[[ONSET, HIDDEN, SUSTAIN, OFF, HIDDEN, ONSET]]])
    p = of_whole_notes(torch.zeros(1, 3, 1, 6), cells).softmax(1)[0, :, 0]
    assert p[:, 1].tolist() == [0, 0.5, 0.5]
    assert p[:, 4].tolist() == [0.5, 0, 0.5]


# The network


def test_a_cell_sees_as_far_as_the_network_says_and_no_farther():
    network = Convolutions(4, (1, 2)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(), dtype=torch.float64))
    x = torch.randn(1, 4, 64, 64, dtype=torch.float64, generator=seeded(1), requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x, torch.ones(1))[0, :, 32, 32].sum(), x)
    seen = gradient.abs().sum((0, 1)) > 0
    away = (torch.arange(64) - 32).abs()
    farthest = torch.maximum(away[:, None], away)  # (64, 64)
    assert network.reach == 7
    assert seen[farthest <= 7].all()
    assert not seen[farthest > 7].any()
    assert Coconet().network.reach >= 32


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Coconet("toy").eval()


@pytest.mark.parametrize("method", ["gibbs", "one"])
def test_as_many_calls_are_told_as_are_asked_for(rng, model, method):
    picture = render(make_song(rng), 0, 64)
    events = []
    mask = masks.bars(picture, 2)
    inpaint(model, picture, mask, method=method, calls=5, seed=0, callback=events.append)
    assert [(event["i"], event["n"]) for event in events] == [(i, 5) for i in range(5)]


def test_behind_the_end_nothing_is_drawn(rng, model):
    """A picture of 40 columns is composed in a window of 64: what is not there stays hidden."""
    picture = render(make_song(rng, end=40), 0, 40)
    seen = []
    restore = model.restore
    model.restore = lambda cells: (seen.append(cells), restore(cells))[1]
    inpaint(model, picture, masks.bars(picture, 2), method="gibbs", calls=3, seed=0)
    assert len(seen) == 3
    assert all((cells[..., 40:] == HIDDEN).all() for cells in seen)
    assert all((cells[..., :16] != HIDDEN).all() for cells in seen)


def test_options_of_another_method_are_one_clear_error(rng, model):
    picture = render(make_song(rng), 0, 64)
    mask = masks.bars(picture, 2)
    with pytest.raises(OptionError, match="leave it out or choose the method 'one'"):
        inpaint(model, picture, mask, block=4)
    with pytest.raises(OptionError, match="leave it out or choose the method 'uncover'"):
        inpaint(model, picture, mask, method="gibbs", top_p=0.5)
    with pytest.raises(OptionError, match="block is 0"):
        inpaint(model, picture, mask, method="one", block=0)


def test_bits_are_a_bound_of_whole_windows(model):
    cells = torch.zeros(2, 64, 64, dtype=torch.int64)
    bits = model.bits(cells, seeded())
    assert bits.shape == (2,)
    assert torch.equal(bits, model.bits(cells, seeded()))
    assert (bits > 0).all()
