"""Laws of the cells process, with networks that know the truth of tiny distributions."""

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import make_song, seeded
from scipy import stats

from pomkit import OptionError, render
from pomkit.music.chords import chord_tones
from pomkit.networks.attention import Level
from pomkit.networks.hdit import HDiT, HDiTConfig
from pomkit.processes.cells import Cells, cell_bound
from pomkit.processes.controls import likeliest, onset_bias
from pomkit.processes.schedules import uncovering
from pomkit.processes.states import ONSET, SUSTAIN, onset_odds
from pomkit.processes.uncover import choose, sample_cells

SHAPE, STATES, HIDDEN = (2, 3), 2, 2


class Exact:
    """A network that knows the exact p(cell | visible cells).

    The distribution is one over all 2^6 pictures of 2 x 3 binary cells.
    """

    def __init__(self, p: np.ndarray) -> None:
        self.pictures = torch.tensor(list(itertools.product(range(STATES), repeat=6)))  # (64, 6)
        self.p = torch.tensor(p)

    def __call__(self, cells, chords, t):
        flat = cells.reshape(len(cells), 1, 6)
        fits = ((flat == self.pictures) | (flat == HIDDEN)).all(-1) * self.p  # (batch, 64)
        one = torch.nn.functional.one_hot(self.pictures, STATES).to(fits)  # (64, 6, 2)
        marginal = torch.einsum("bk,kcs->bsc", fits / fits.sum(1, keepdim=True), one)
        return marginal.clamp(min=1e-30).log().reshape(-1, STATES, *SHAPE).float()


@pytest.fixture
def exact() -> Exact:
    weights = np.random.default_rng(5).gamma(0.5, size=64) + 1e-3
    return Exact(weights / weights.sum())


NO_CHORDS = torch.zeros(1, 3, *SHAPE)


def sample_exactly(exact, known, mask, seed, **options):
    """Samples (n, 2, 3) with the exact network, and no chords."""
    chords = NO_CHORDS.expand(len(known), -1, -1, -1)
    return sample_cells(exact, known, chords, mask, HIDDEN, generator=seeded(seed), **options)


def test_one_cell_at_a_time_reproduces_the_distribution(exact):
    n = 6000
    everything = torch.ones(SHAPE, dtype=torch.bool)
    cells = sample_exactly(exact, torch.full((n, *SHAPE), 0), everything, seed=1, steps=6)
    counts = np.bincount(
        (cells.reshape(n, 6).numpy() * 2 ** np.arange(5, -1, -1)).sum(1), minlength=64
    )
    expected = n * exact.p.numpy()
    big = expected > 5  # chi-square needs cells that are not rare
    observed = np.r_[counts[big], counts[~big].sum()]
    assert stats.chisquare(observed, np.r_[expected[big], expected[~big].sum()]).pvalue > 1e-3


def test_all_at_once_does_not(exact):
    n = 6000  # the law above can fail: independent cells are not the truth
    everything = torch.ones(SHAPE, dtype=torch.bool)
    cells = sample_exactly(exact, torch.full((n, *SHAPE), 0), everything, seed=1, steps=1)
    counts = np.bincount(
        (cells.reshape(n, 6).numpy() * 2 ** np.arange(5, -1, -1)).sum(1), minlength=64
    )
    assert stats.chisquare(counts, n * exact.p.numpy()).pvalue < 1e-6


def test_inpainting_follows_the_conditional_and_redoing_keeps_it(exact):
    known = torch.tensor([[1, 0, 1], [0, 0, 0]])
    mask = torch.tensor([[False, False, False], [True, True, False]])
    agrees = (exact.pictures[:, [0, 1, 2, 5]] == torch.tensor([1, 0, 1, 0])).all(1)
    pairs = (exact.pictures[:, 3] * 2 + exact.pictures[:, 4]).numpy()
    wanted = np.bincount(pairs, weights=(agrees * exact.p).numpy(), minlength=4)
    for U in (1, 3):
        n = 4000
        cells = sample_exactly(exact, known.expand(n, -1, -1), mask, seed=U, steps=2, U=U)
        assert (cells[:, ~mask] == known[~mask]).all()
        counts = np.bincount((cells[:, 1, 0] * 2 + cells[:, 1, 1]).numpy(), minlength=4)
        assert stats.chisquare(counts, n * wanted / wanted.sum()).pvalue > 1e-3


def test_the_bound_of_the_true_conditional_is_the_likelihood(exact):
    """E over t and hidden sets of cross-entropy / t = -log2 p(x).

    Here the expectation is summed over all 2^6 sets.
    """
    picture = exact.pictures[37].reshape(1, *SHAPE)
    total = 0.0
    for bits in itertools.product((False, True), repeat=6):
        k = sum(bits)
        if not k:
            continue
        hidden = torch.tensor(bits).reshape(1, *SHAPE)
        logits = exact(torch.where(hidden, HIDDEN, picture), NO_CHORDS, torch.ones(1))
        nats = (torch.nn.functional.cross_entropy(logits, picture, reduction="none") * hidden).sum()
        # The integral of t^(k-1) (1-t)^(6-k).
        total += float(nats) * math.gamma(k) * math.gamma(7 - k) / math.gamma(7)
    assert total == pytest.approx(-math.log(float(exact.p[37])), rel=1e-5)
    t = torch.rand(20000, generator=torch.Generator().manual_seed(0)).clamp(min=1e-4)
    region = torch.ones(20000, *SHAPE, dtype=torch.bool)
    pictures = picture.expand(20000, -1, -1)
    chords = NO_CHORDS.expand(20000, -1, -1, -1)
    estimate = 6 * cell_bound(exact, pictures, chords, region, HIDDEN, t, seeded(2))
    error = float(estimate.std() / math.sqrt(20000))
    assert float(estimate.mean()) == pytest.approx(total / math.log(2), abs=4 * error)


def test_uncovering_is_a_plain_list_from_nothing_to_all():
    assert uncovering(100, 4) == [0, 8, 30, 62, 100]
    assert uncovering(3, 50) == [0, 1, 2, 3]
    for cells, steps in ((1000, 20), (7, 6), (65536, 80)):
        counts = uncovering(cells, steps)
        assert counts[0] == 0
        assert counts[-1] == cells
        assert all(a <= b for a, b in itertools.pairwise(counts))
        first, last = counts[1] - counts[0], counts[-1] - counts[-2]
        assert first <= last
    with pytest.raises(OptionError):
        uncovering(10, 0)


def test_choose_takes_exactly_so_many_of_those():
    among = torch.rand(4, 9, 11, generator=torch.Generator().manual_seed(0)) < 0.4
    chosen = choose(among, 7)
    assert (chosen.flatten(1).sum(1) == 7).all()
    assert not (chosen & ~among).any()


def test_onset_bias_reaches_the_count_asked_for():
    odds, hidden = torch.randn(3, 20, 20), torch.rand(3, 20, 20) < 0.5
    for wanted in (5.0, 60.0, 150.0):
        bias = onset_bias(odds, hidden, torch.full((3,), wanted))
        assert torch.allclose(
            ((odds + bias[:, None, None]).sigmoid() * hidden).sum((1, 2)),
            torch.full((3,), wanted),
            atol=0.05,
        )


def flat_model(onset: float = 0.05):
    """A network for 128 x 64 cells that knows nothing but how rare onsets are."""
    p = torch.tensor([1 - 2 * onset, onset] + [onset / 4] * 4).log()
    return lambda cells, chords, t: (
        p[None, :, None, None].expand(len(cells), -1, *cells.shape[1:]).clone()
    )


NOTHING = torch.zeros(1, 128, 64, dtype=torch.long)  # an empty picture's cells
EVERYTHING = torch.ones(128, 64, dtype=torch.bool)


def sample_freely(network, cells, mask=EVERYTHING, **options):
    """Cells (n, 128, 64) by a network of six states, without chords, with seed 0."""
    chords = torch.zeros(len(cells), 3, 128, 64)
    return sample_cells(network, cells, chords, mask, 6, generator=seeded(0), **options)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("density, temperature", [(4.0, 1.0), (40.0, 1.0), (None, 0.5)])
def test_density_and_temperature(density, temperature, whole):
    cells, mask = torch.zeros(4, 128, 64, dtype=torch.long), torch.zeros(128, 64, dtype=torch.bool)
    mask[20:100, 8:56] = True
    asked = {"density": density, "temperature": temperature, "whole_notes": whole}
    out = sample_freely(flat_model(), cells, mask, steps=10, **asked)
    onsets = ((out >= ONSET) & mask).flatten(1).sum(1).float().mean()
    wanted = 0.05 * int(mask.sum()) if density is None else density
    assert float(onsets) == pytest.approx(wanted, rel=0.25, abs=2)
    assert not (out == 6).any()


def test_whole_notes_are_whole_even_from_a_network_that_knows_no_grammar():
    p = torch.tensor([0.5, 0.4] + [0.1 / 4] * 4).log()
    cells, mask = torch.zeros(2, 128, 64, dtype=torch.long), torch.zeros(128, 64, dtype=torch.bool)
    mask[20:100, 8:56] = True
    # Known sustain at the mask's right edge.
    cells[:, 40, 56:60] = SUSTAIN
    cells[:, 41, 57:60] = SUSTAIN

    def flat(cells, chords, t):
        return p[None, :, None, None].expand(len(cells), -1, *cells.shape[1:]).clone()

    for whole in (True, False):
        out = sample_freely(flat, cells, mask, steps=8, whole_notes=whole)
        before = torch.nn.functional.pad(out, (1, 0))[..., :-1]
        orphans = (out == SUSTAIN) & (before == 0) & mask
        assert (out[:, ~mask] == cells[:, ~mask]).all()
        assert not (out == 6).any()
        assert bool(orphans.any()) != whole
        if whole:
            assert (out[:, 40, 55] != 0).all()
            assert (out[:, 41, 56] == 0).all()  # a beginning where the mask may give one


def test_pitch_bias_locks_the_pitch_classes():
    bias = torch.full((12,), -30.0)
    bias[[0, 4, 7]] = 0
    out = sample_freely(flat_model(), NOTHING, steps=5, pitch_bias=bias)
    rows = torch.nonzero(out[0] >= ONSET)[:, 0]
    assert len(rows) > 50
    assert set(((127 - rows) % 12).tolist()) == {0, 4, 7}
    # Nor does a sustain that was drawn early ask for a beginning elsewhere.
    whole = sample_freely(flat_model(), NOTHING, steps=5, pitch_bias=bias, whole_notes=True)
    rows = torch.nonzero(whole[0] >= ONSET)[:, 0]
    assert len(rows) > 50
    assert set(((127 - rows) % 12).tolist()) == {0, 4, 7}
    with pytest.raises(OptionError, match="pitch_bias"):
        sample_freely(flat_model(), out, steps=5, pitch_bias=torch.zeros(5))


def test_likeliest_takes_the_fewest_cells_that_hold_the_share():
    p = torch.tensor([[[0.4, 0.1], [0.2, 0.3]], [[1.0, 0.0], [0.0, 0.0]]])
    for share, wanted in ((0.3, "1000"), (0.65, "1001"), (0.85, "1011"), (1.0, "1111")):
        assert likeliest(p, share)[0].flatten().tolist() == [int(digit) for digit in wanted]
        assert share == 1 or likeliest(p, share)[1].flatten().tolist() == [1, 0, 0, 0]
    random = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0)) ** 4
    kept = likeliest(random, 0.9)
    held = (random * kept).flatten(1).sum(1) / random.flatten(1).sum(1)
    assert (held >= 0.9).all()
    assert (held < 0.91).all()
    assert random[kept].min() > random[0][~kept[0]].min()


def test_top_p_keeps_to_likely_cells_and_holds_the_number():
    odds = torch.full((128, 64), -9.0)
    odds[60, ::2] = -1.0  # 32 likely cells; the thousands of others hold 15 % of the onsets

    def model(cells, chords, t):
        logits = torch.zeros(len(cells), 6, 128, 64)
        logits[:, SUSTAIN], logits[:, ONSET:] = -30, odds - math.log(4)
        return logits

    nothing = NOTHING.expand(40, -1, -1)
    free = sample_freely(model, nothing, steps=4, top_p=1.0) >= ONSET
    likely = sample_freely(model, nothing, steps=4, top_p=0.8) >= ONSET
    assert int(free[:, :60].sum()) > 10
    assert not likely[:, :60].any()
    assert int(likely.sum()) == pytest.approx(int(free.sum()), rel=0.15)
    with pytest.raises(OptionError, match="top_p"):
        sample_freely(model, free.long(), top_p=0.0)


def test_a_rule_may_forbid_anything():
    def no_onset_in_even_columns(logits, level, view):
        logits[:, ONSET:, :, ::2] = -1e9
        return logits

    out = sample_freely(flat_model(), NOTHING, steps=5, rule=no_onset_in_even_columns)
    assert not (out[..., ::2] >= ONSET).any()
    assert (out[..., 1::2] >= ONSET).any()


@pytest.fixture
def tiny() -> Cells:
    config = HDiTConfig(
        Cells.in_channels(4),
        6,
        (8, 16),
        (Level(1, 32, 64, d_head=16),),
        mapping_width=16,
        mapping_d_ff=32,
    )
    return Cells(HDiT(config), width=64)


def test_encode_and_decode_are_inverse_up_to_the_velocity_bin(tiny, rng):
    picture = render(make_song(rng, end=64, chords=False), width=64)
    cells = tiny.encode(picture)
    everything = np.zeros((128, 64), bool)
    everything[8:120] = True
    again, cleared = tiny.decode(cells, picture, everything)
    assert cleared == 0
    assert np.array_equal(again.any(axis=2), picture.any(axis=2))
    assert np.array_equal(again[..., 0] > 0, picture[..., 0] > 0)
    nearest = np.array(tiny.velocities)[
        np.abs(picture[..., 0][..., None] // 2 - np.array(tiny.velocities)).argmin(-1)
    ]
    assert np.array_equal(again[..., 0], np.where(picture[..., 0] > 0, 2 * nearest, 0))
    nothing, _ = tiny.decode(cells, picture, np.zeros((128, 64), bool))
    assert np.array_equal(nothing, picture)


def test_orphan_sustain_is_cleared_and_counted(tiny):
    cells = np.zeros((128, 64), np.int64)
    cells[50, 10], cells[50, 11:14], cells[60, 20:23] = ONSET, SUSTAIN, SUSTAIN
    picture, cleared = tiny.decode(
        cells, np.zeros((128, 64, 3), np.uint8), np.ones((128, 64), bool)
    )
    assert cleared == 3
    assert picture[50, 10:14].any(axis=1).all()
    assert not picture[60].any()


def test_a_new_sustain_after_a_known_note_takes_its_velocity(tiny):
    picture = np.zeros((128, 64, 3), np.uint8)
    picture[50, 10, 0] = 254
    mask = np.zeros((128, 64), bool)
    mask[:, 11:] = True
    cells = tiny.encode(picture)
    cells[50, 11] = SUSTAIN
    assert tiny.decode(cells, picture, mask)[0][50, 11].tolist() == [0, 254, 0]


def test_chord_channels_say_root_tones_and_what_is_known(rng):
    from pomkit.music.palette import read_chords
    from pomkit.processes.states import chord_channels

    picture = render(make_song(rng), 0, 64)
    mask = np.zeros((128, 64), bool)
    mask[:8, 40:] = True
    channels = chord_channels(picture, mask)
    known = np.zeros(64, bool)
    for onset, duration, label in read_chords(picture):
        root, tones = chord_tones(label)
        for column in range(onset, min(onset + duration, 40)):
            known[column] = True
            assert np.array_equal(channels[1, ::-1, column][:12] > 0, tones)
            assert np.flatnonzero(channels[0, ::-1, column][:12]).tolist() == (
                [] if root < 0 else [root]
            )
    assert np.array_equal(channels[2].all(axis=0), known)
    assert not channels[:, :, 40:].any()


def test_wrong_channels_are_refused():
    with pytest.raises(OptionError, match="channels"):
        Cells(
            HDiT(
                HDiTConfig(levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32)
            )
        )


def test_logits_know_the_odds():
    logits = torch.randn(2, 6, 3, 4)
    p = logits.softmax(1)[:, ONSET:].sum(1)
    assert torch.allclose(onset_odds(logits), torch.logit(p), atol=1e-5)
