"""Orders of uncovering: laws with networks that know the truth of tiny distributions."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import make_song, seeded
from scipy import stats
from test_cells import HIDDEN, NO_CHORDS, SHAPE, STATES, Exact

from pomkit import OptionError, inpaint, load_model, masks, render
from pomkit.processes.orders import (
    ORDERS,
    first_of,
    halton_rank,
    hidden_again,
    onset_entropy,
    surest,
)
from pomkit.processes.states import ONSET
from pomkit.processes.uncover import Uncovering, Walk, sample_cells

EVERYTHING = torch.ones(SHAPE, dtype=torch.bool)
NOTHING_KNOWN = torch.zeros(1, *SHAPE, dtype=torch.long)


class Kinds(Exact):
    """The same world in states that have an onset: silence, a sustain (never), an onset."""

    def __call__(self, cells, chords, t):
        seen = torch.where(cells == ONSET, 1, torch.where(cells == ONSET + 1, HIDDEN, 0))
        off, onset = super().__call__(seen, chords, t).unbind(1)
        return torch.stack([off, torch.full_like(off, -80.0), onset], dim=1)


@pytest.fixture
def exact() -> Kinds:
    weights = np.random.default_rng(5).gamma(0.5, size=64) + 1e-3
    return Kinds(weights / weights.sum())


def is_the_distribution(cells: torch.Tensor, exact: Exact) -> bool:
    """Whether samples (n, 2, 3) are drawn from what the network knows, by chi-square."""
    bits = (cells == ONSET).reshape(-1, 6).numpy() * 2 ** np.arange(5, -1, -1)
    counts = np.bincount(bits.sum(1), minlength=STATES**6)
    expected = len(cells) * exact.p.numpy()
    big = expected > 5
    observed = np.r_[counts[big], counts[~big].sum()]
    return stats.chisquare(observed, np.r_[expected[big], expected[~big].sum()]).pvalue > 1e-3


def sample(exact, seed, n=6000, calls=6, **options):
    known = NOTHING_KNOWN.expand(n, -1, -1)
    chords = NO_CHORDS.expand(n, -1, -1, -1)
    hidden = ONSET + 1
    asked = {"generator": seeded(seed), **options}
    return sample_cells(exact, known, chords, EVERYTHING, hidden, calls, **asked)


@pytest.mark.parametrize("order", ORDERS)
def test_one_cell_at_a_time_draws_the_joint_whatever_the_order(exact, order):
    assert is_the_distribution(sample(exact, 1, order=order), exact)


@pytest.mark.parametrize("order", ORDERS)
def test_all_at_once_does_not(exact, order):
    assert not is_the_distribution(sample(exact, 1, calls=1, order=order), exact)


def walked(exact, counts, remask, n=6000):
    """Samples (n, 2, 3) of a walk with these numbers of settled cells, and the hidden ones."""
    walk = Walk(exact, Uncovering(remask=remask), seeded(2))
    walk.begin(NOTHING_KNOWN.expand(n, -1, -1), NO_CHORDS.expand(n, -1, -1, -1), EVERYTHING, 3)
    walk.counts = counts
    walk.last = len(counts) - 1
    hidden = [walk.hidden_count()]
    for level, after in pairwise(range(len(counts))):
        walk.settle(walk.ask(), level, after)
        hidden.append(walk.hidden_count())
    return walk.cells, torch.stack(hidden)


def test_hiding_cells_again_keeps_the_joint(exact):
    # Where three are settled and three are left, a call draws one cell and hides another again.
    counts = [0, 1, 2, 3, 3, 3, 3, 3, 4, 5, 6]
    assert hidden_again(0.34, 3, 3) == 1
    assert sum(hidden_again(0.34, a, 6 - b) for a, b in pairwise(counts)) == 4
    cells, _ = walked(exact, counts, remask=0.34)
    assert is_the_distribution(cells, exact)


def test_hiding_again_draws_settled_cells_anew(exact):
    counts = [0, 1, 2, 3, 3, 3, 3, 3, 4, 5, 6]
    redrawn, _ = walked(exact, counts, remask=0.34, n=50)
    once, _ = walked(exact, counts, remask=0.0, n=50)
    assert (redrawn != once).any()


@pytest.mark.parametrize("remask", [0.3, 1.0])
def test_after_each_call_as_many_are_hidden_as_the_schedule_says(exact, remask):
    counts = [0, 1, 3, 4, 6]
    _, hidden = walked(exact, counts, remask, n=5)
    assert (hidden == 6 - torch.tensor(counts)[:, None]).all()


def test_no_more_is_hidden_again_than_can_be():
    assert hidden_again(1.0, 10, 3) == 3
    assert hidden_again(1.0, 2, 30) == 2
    assert hidden_again(0.5, 100, 40) == 20
    assert hidden_again(1.0, 100, 0) == hidden_again(1.0, 0, 100) == hidden_again(0.0, 50, 50) == 0


@pytest.mark.parametrize(("h", "w"), [(1, 1), (2, 3), (9, 8), (12, 5), (128, 48)])
def test_the_halton_order_is_a_permutation_of_the_cells_by_its_seed(h, w):
    rank = halton_rank(3, h, w, seeded(7))
    assert rank.shape == (3, h, w)
    assert rank.min() >= 0
    assert rank.max() < 1
    assert all(len(each.unique()) == h * w for each in rank)
    assert torch.equal(rank, halton_rank(3, h, w, seeded(7)))


def test_the_halton_order_differs_by_seed_and_picture():
    rank = halton_rank(2, 27, 16, seeded(0))
    assert not torch.equal(rank[0], rank[1])
    assert not torch.equal(rank, halton_rank(2, 27, 16, seeded(1)))


def mirrored_digits(number: int, base: int, digits: int) -> int:
    return int(np.base_repr(number, base).zfill(digits)[::-1], base)


def test_its_points_are_those_of_halton_moved_as_a_whole():
    """Point i lies at i's mirrored digits, base 2 for columns and base 3 for rows."""
    order = halton_rank(1, 27, 16, seeded(3))[0].flatten().argsort()
    rows, columns = order // 16, order % 16
    wanted_rows = torch.tensor([mirrored_digits(i % 27, 3, 3) for i in range(27 * 16)])
    wanted_columns = torch.tensor([mirrored_digits(i % 16, 2, 4) for i in range(27 * 16)])
    assert ((wanted_rows - rows) % 27).unique().numel() == 1
    assert ((wanted_columns - columns) % 16).unique().numel() == 1


def test_its_first_cells_are_spread_evenly():
    rank = halton_rank(1, 27, 32, seeded(4))
    first = first_of(rank, torch.ones(1, 27, 32, dtype=torch.bool), 72)[0].int()
    # Boxes of 3 rows and 4 columns hold one of the first 72 points each, wherever the boxes begin.
    boxes = [
        first.roll((down, right), (0, 1)).reshape(9, 3, 8, 4).sum((1, 3))
        for down in range(3)
        for right in range(4)
    ]
    assert any((box == 1).all() for box in boxes)


def test_the_surest_cells_hold_no_more_than_the_share():
    odds = torch.randn(4, 20, 30, generator=seeded(1)) * 4
    hidden = torch.rand(4, 20, 30, generator=seeded(2)) < 0.7
    entropy = onset_entropy(odds)
    for share in (0.05, 0.4, 0.9):
        chosen = surest(odds, hidden, share)
        assert not (chosen & ~hidden).any()
        for each, open_, bits in zip(chosen, hidden, entropy, strict=True):
            spent = bits[each].sum() / bits[open_].sum()
            assert spent <= share + 1e-5
            # One more would be too many, and it would be less sure.
            following = bits[open_ & ~each].min()
            assert spent + following / bits[open_].sum() >= share - 1e-5
            assert bits[each].max() <= following
    assert (surest(odds, hidden, 0.0).flatten(1).sum(1) == 1).all()


def test_the_entropy_of_a_coin_is_a_bit():
    odds = torch.tensor([0.0, np.log(3), -np.log(3), 200.0, -np.inf])
    quarter = -0.25 * np.log2(0.25) - 0.75 * np.log2(0.75)
    assert onset_entropy(odds).tolist() == pytest.approx([1, quarter, quarter, 0, 0], abs=1e-6)


@pytest.mark.parametrize("options", [{"order": "random"}, {"order": "entropy"}, {"remask": 0.5}])
def test_composed_in_any_order_the_rest_stays_and_the_seed_decides(options):
    model = load_model("tiny")
    picture = render(make_song(np.random.default_rng(0), chords=False), 0, 64)
    mask = masks.bars(picture, 2, 3)
    made = inpaint(model, picture, mask, seed=5, calls=3, **options)
    assert (made[:, ~mask] == picture[~mask]).all()
    assert np.array_equal(made, inpaint(model, picture, mask, seed=5, calls=3, **options))
    assert not np.array_equal(made, inpaint(model, picture, mask, seed=5, calls=3))
    assert not made.refused.any()


def test_a_first_call_is_colder_by_the_warming():
    cells = torch.zeros(2, 8, 16, dtype=torch.long)
    logits = torch.randn(2, 3, 8, 16, generator=seeded(3))
    mask = torch.ones(8, 16, dtype=torch.bool)

    def drawn(calls, **options):
        told = torch.zeros(2, 3, 8, 16)
        how = {"generator": seeded(4), "temperature": 1.2, **options}
        return sample_cells(lambda *_: logits.clone(), cells, told, mask, 3, calls, **how)

    # All cells are hidden at the only call.
    assert torch.equal(drawn(1, warming=0.5), drawn(1, temperature=0.6))
    assert not torch.equal(drawn(1, warming=0.5), drawn(1))
    # Later calls are warmer.
    assert not torch.equal(drawn(4, warming=0.5), drawn(4, temperature=0.6))
    walk = Walk(None, Uncovering(warming=0.5, temperature=1.2), None)
    walk.begin(cells, torch.zeros(2, 3, 8, 16), mask, 3)
    walk.hidden[0, :, 4:] = False
    walk.hidden[1] = False
    sharp = walk.sharpen(logits)
    torch.testing.assert_close(sharp[0], logits[0] / (1.2 * (1 - 0.5 / 4)))
    torch.testing.assert_close(sharp[1], logits[1] / 1.2)


def test_haltons_order_is_the_default():
    model = load_model("tiny")
    picture = np.zeros((128, 64, 3), np.uint8)
    mask = masks.everything(picture)
    usual = inpaint(model, picture, mask, seed=1, calls=3)
    asked = inpaint(model, picture, mask, seed=1, calls=3, order="halton", remask=0.0)
    assert np.array_equal(usual, asked)


@pytest.mark.parametrize(
    "wrong",
    [{"order": "raster"}, {"order": 7}, {"remask": -0.1}, {"remask": 1.5}, {"remask": "x"}]
    + [{"warming": -0.1}, {"warming": 1.0}, {"warming": float("nan")}, {"warming": "cold"}],
)
def test_unknown_orders_are_refused(wrong):
    picture = np.zeros((128, 32, 3), np.uint8)
    with pytest.raises(OptionError, match=next(iter(wrong))):
        inpaint("tiny", picture, masks.bars(picture, 2), calls=1, **wrong)


def test_gaussian_noise_has_no_order():
    picture = np.zeros((128, 32, 3), np.uint8)
    with pytest.raises(OptionError, match="order is no option"):
        inpaint("tiny-edm", picture, masks.bars(picture, 2), calls=1, order="halton")
