"""What a walk tells of its own: how likely the model held what it drew. Laws on a tiny world."""

import math
import pickle

import numpy as np
import pytest
import torch
from conftest import seeded
from test_cells import NO_CHORDS, SHAPE
from test_orders import EVERYTHING, NOTHING_KNOWN, Kinds

from pomkit import OptionError, inpaint, load_model, masks
from pomkit.processes.states import ONSET
from pomkit.processes.uncover import Uncovering, Walk


@pytest.fixture
def exact() -> Kinds:
    weights = np.random.default_rng(5).gamma(0.5, size=64) + 1e-3
    return Kinds(weights / weights.sum())


def walked(exact, mask=EVERYTHING, n=4000, **options) -> Walk:
    """A walk that is at its end; the cells were silent, and a masked one is hidden first."""
    walk = Walk(exact, Uncovering(**options), seeded(3))
    walk.begin(NOTHING_KNOWN.expand(n, -1, -1), NO_CHORDS.expand(n, -1, -1, -1), mask, ONSET + 1)
    walk.run()
    return walk


def bits_of_joint(exact, cells) -> torch.Tensor:
    """-log2 of the probability of pictures (n, 2, 3) of onsets and silence."""
    weights = 2 ** torch.arange(5, -1, -1)
    numbers = ((cells == ONSET).reshape(-1, 6) * weights).sum(1)
    return -exact.p[numbers].log2()


@pytest.mark.parametrize("order", ["random", "halton", "entropy"])
def test_cell_by_cell_the_surprise_is_that_of_the_whole(exact, order):
    walk = walked(exact, n=500, calls=6, order=order)
    wanted = bits_of_joint(exact, walk.cells)
    assert torch.allclose(walk.surprise.sum((1, 2)).double(), wanted, atol=1e-3)


def test_on_average_it_is_as_large_as_was_expected(exact):
    walk = walked(exact, calls=6)
    true_entropy = -(exact.p * exact.p.log2()).sum()
    surprise, entropy = walk.surprise.sum((1, 2)), walk.entropy.sum((1, 2))
    error = 4 * float(surprise.std()) / math.sqrt(len(surprise))
    assert float(surprise.mean()) == pytest.approx(float(true_entropy), abs=error)
    assert float(entropy.mean()) == pytest.approx(float(true_entropy), abs=error)


def test_cells_that_are_hidden_again_count_once(exact):
    """Of a cell that is walked over twice the last draw counts, given what was known then."""
    once, twice = walked(exact, calls=3, U=1), walked(exact, calls=3, U=4)
    assert float(twice.surprise.mean()) == pytest.approx(float(once.surprise.mean()), rel=0.1)


def test_known_cells_do_not_count(exact):
    mask = EVERYTHING.clone()
    mask[0] = False
    walk = walked(exact, mask, n=50, calls=2)
    assert not walk.surprise[:, 0].any()
    assert not walk.entropy[:, 0].any()
    assert (walk.surprise[:, 1] > 0).all()
    nothing = walked(exact, torch.zeros(SHAPE, dtype=torch.bool), n=2)
    assert not nothing.surprise.any()


PICTURE = np.zeros((128, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def made():
    return inpaint(load_model("tiny"), PICTURE, masks.bars(PICTURE, 2), n=4, seed=2, calls=2)


def test_composed_pictures_tell_it(made):
    assert made.surprise.shape == made.entropy.shape == (4,)
    assert (made.surprise > 0).all()
    assert (made.entropy > 0).all()
    kept = pickle.loads(pickle.dumps(made))
    assert np.array_equal(kept.surprise, made.surprise)


@pytest.mark.parametrize("by", ["entropy", "surprise", "refused"])
def test_ranked_each_candidate_keeps_its_numbers(made, by):
    ranked = made.ranked(by)
    order = np.argsort(getattr(made, by), kind="stable")
    assert np.array_equal(ranked, made[order])
    assert np.array_equal(getattr(ranked, by), np.sort(getattr(made, by)))
    assert np.array_equal(ranked.surprise, made.surprise[order])
    assert ranked.seed == made.seed


def test_gaussian_noise_does_not_say():
    made = inpaint(load_model("tiny-edm"), PICTURE, masks.bars(PICTURE, 2), n=2, calls=1)
    assert np.isnan(made.surprise).all()
    assert made.ranked("refused").shape == made.shape
    with pytest.raises(OptionError, match="cells model"):
        made.ranked("entropy")


def test_there_is_no_other_order(made):
    with pytest.raises(OptionError, match="by"):
        made.ranked("beauty")
