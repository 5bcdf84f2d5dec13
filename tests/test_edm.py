"""The paper's process: preconditioning, losses, noise levels, samplers and RePaint.

All are held to closed forms. The oracle: where the data are Gaussian, the best denoiser and the
distribution of the samples are known exactly.
"""

import math
from functools import partial

import pytest
import torch
from conftest import gaussian_oracle, seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pomkit.errors import OptionError
from pomkit.networks.hdit import HDiT, HDiTConfig
from pomkit.processes.densities import WEIGHTINGS, cosine_interpolated, sample_sigma
from pomkit.processes.edm import Denoiser, denoising_loss
from pomkit.processes.samplers import (
    SAMPLERS,
    get_sampler,
    repaint,
    sample_dpmpp_2m,
    sample_dpmpp_2m_sde,
    sample_euler,
    sample_heun,
)
from pomkit.processes.schedules import karras_sigmas, repaint_schedule, settling_sigmas

STEP = torch.arange(4.0, dtype=torch.float64)
MEAN = torch.tensor([0.1, -0.2, 0.3, 0.0], dtype=torch.float64)
COV = (
    0.25 * 0.95 ** (STEP[:, None] - STEP).abs()
)  # four strongly correlated pixels, laid out as 1 x 2 x 2
oracle = gaussian_oracle(MEAN, COV)
STOCHASTIC = {
    "euler": partial(sample_euler, s_churn=20),
    "heun": partial(sample_heun, s_churn=20),
    "dpmpp_2m_sde": sample_dpmpp_2m_sde,
}


def normal(n, seed=0):
    return torch.randn(n, 1, 2, 2, dtype=torch.float64, generator=seeded(seed))


class Spy(nn.Module):
    """A network that remembers what it was given and answers with some of it."""

    def __init__(self, **config):
        super().__init__()
        self.config = HDiTConfig(**config)

    def forward(self, x, c_noise, mapping_cond=None):
        self.x, self.c_noise, self.mapping_cond = x, c_noise, mapping_cond
        return x[:, :3].sin()


# Preconditioning


def test_preconditioning_is_table_1():
    spy, sd = Spy(), 0.5
    x, sigma = torch.randn(3, 3, 4, 4), torch.tensor([0.01, 0.5, 80.0])
    denoised = Denoiser(spy, sd)(x, sigma)
    for i, s in enumerate(sigma.tolist()):
        scaled = x[i] / math.sqrt(s**2 + sd**2)
        torch.testing.assert_close(spy.x[i], scaled)
        assert float(spy.c_noise[i]) == pytest.approx(math.log(s) / 4)
        expected = sd**2 / (s**2 + sd**2) * x[i] + s * sd / math.sqrt(s**2 + sd**2) * scaled.sin()
        torch.testing.assert_close(denoised[i], expected)
    assert spy.mapping_cond is None


def test_known_pixels_and_mask_reach_the_network():
    spy = Spy(in_channels=7)
    denoiser = Denoiser(spy, conditioned=True)
    x, known, sigma = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4), torch.ones(2)
    mask = torch.rand(2, 1, 4, 4) < 0.5
    denoiser(x, sigma, known=known, mask=mask)
    assert torch.equal(spy.x[:, 3:6], torch.where(mask, 0, known))
    assert torch.equal(spy.x[:, 6:], mask.float())
    denoiser(x, sigma)
    assert not spy.x[:, 3:6].any()
    assert (spy.x[:, 6] == 1).all()


def test_the_network_meets_the_centre_as_zero():
    spy, b = Spy(in_channels=7), -1.0
    x = torch.randn(2, 3, 4, 4)
    known = torch.randn(2, 3, 4, 4)
    sigma = torch.ones(2)
    mask = torch.rand(2, 1, 4, 4) < 0.5
    shifted = Denoiser(spy, 0.15, True, centre=b)(x, sigma, known=known, mask=mask)
    assert torch.equal(spy.x[:, 3:6], torch.where(mask, 0, known - b))
    plain = Denoiser(spy, 0.15, True)(x - b, sigma, known=known - b, mask=mask)
    torch.testing.assert_close(shifted, plain + b)
    black = Denoiser(spy, 0.15, True, centre=b)(torch.full_like(x, b), sigma)
    assert not spy.x[:, :6].any()  # an all-black picture is all zeros
    assert (black == b).all()


def test_density_is_a_condition_of_two_numbers():
    spy = Spy(mapping_cond_dim=2)
    Denoiser(spy)(
        torch.randn(3, 3, 4, 4), torch.ones(3), density=torch.tensor([0.0, 12.0, math.nan])
    )
    assert spy.mapping_cond.tolist() == [[0, 1], pytest.approx([math.log(13) / 3, 1]), [0, 0]]


def test_conditions_that_the_model_has_not_are_refused():
    x, sigma, mask = (
        torch.randn(1, 3, 4, 4),
        torch.ones(1),
        torch.ones(1, 1, 4, 4, dtype=torch.bool),
    )
    with pytest.raises(OptionError, match="without known pixels"):
        Denoiser(Spy())(x, sigma, known=x, mask=mask)
    with pytest.raises(OptionError, match="both or neither"):
        Denoiser(Spy(in_channels=7), conditioned=True)(x, sigma, mask=mask)
    with pytest.raises(OptionError, match="density"):
        Denoiser(Spy())(x, sigma, density=torch.ones(1))
    with pytest.raises(OptionError, match="7 input channels"):
        Denoiser(Spy(), conditioned=True)
    with pytest.raises(OptionError, match="sigma_data"):
        Denoiser(Spy(), sigma_data=0)


# Training


@pytest.mark.parametrize("weighting", ["edm", "unit"])
def test_weight_one_is_edms_lambda_on_the_denoised_picture(weighting):
    x0, noise, sigma = (
        torch.randn(3, 3, 4, 4),
        torch.randn(3, 3, 4, 4),
        torch.tensor([0.05, 0.5, 5.0]),
    )
    denoiser = Denoiser(Spy(), 0.7)
    denoised = denoiser(x0 + sigma[:, None, None, None] * noise, sigma)
    lambda_ = (sigma**2 + 0.7**2) / (sigma * 0.7) ** 2
    expected = lambda_ * (denoised - x0).square().flatten(1).mean(1)
    torch.testing.assert_close(denoising_loss(denoiser, x0, noise, sigma, weighting), expected)


def test_the_other_weights_relative_to_one():
    x0, noise, sigma = (
        torch.randn(3, 3, 4, 4),
        torch.randn(3, 3, 4, 4),
        torch.tensor([0.05, 0.5, 5.0]),
    )
    loss = {name: denoising_loss(Denoiser(Spy()), x0, noise, sigma, name) for name in WEIGHTINGS}
    torch.testing.assert_close(loss["snr"] / loss["unit"], 0.25 / (sigma**2 + 0.25))
    torch.testing.assert_close(
        loss["soft-min-snr"] / loss["unit"], sigma**2 * 0.25 / (sigma**2 + 0.25) ** 2
    )
    with pytest.raises(OptionError, match="soft-min-snr"):
        denoising_loss(Denoiser(Spy()), x0, noise, sigma, "heavy")


def test_loss_of_a_region_sees_only_the_region():
    x0, sigma = torch.randn(2, 3, 4, 4), torch.ones(2)
    noise, region = torch.randn(2, 3, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    region[:, :, 1:3, 2:] = True
    denoiser = Denoiser(Spy())
    loss = denoising_loss(denoiser, x0, noise, sigma, "unit", region)
    inside = denoising_loss(denoiser, x0[:, :, 1:3, 2:], noise[:, :, 1:3, 2:], sigma, "unit")
    torch.testing.assert_close(loss, inside)
    assert not denoising_loss(denoiser, x0, noise, sigma, "unit", torch.zeros_like(region)).any()


def test_the_oracle_has_the_least_loss():
    x0 = (MEAN + normal(4000, 1).flatten(1) @ torch.linalg.cholesky(COV).T).reshape(-1, 1, 2, 2)
    sigma = torch.full((4000,), 0.4, dtype=torch.float64)
    for other in (
        lambda x, s: oracle(x, 1.3 * s),
        lambda x, s: oracle(x, s / 1.3),
        lambda x, s: oracle(x, s) + 0.1,
    ):
        best, worse = (
            denoising_loss(d, x0, normal(4000, 2), sigma, "unit").mean() for d in (oracle, other)
        )
        assert best < worse


# Density, its parameters, its cumulative distribution.
# fmt: off
DISTRIBUTIONS = [
    ("lognormal", (-1.0, 1.4), lambda s: torch.special.ndtr((s.log() + 1.0) / 1.4)),
    ("loguniform", (0.01, 80.0), lambda s: (s / 0.01).log() / math.log(8000)),
    ("cosine-interpolated", (64, 64, 64, 0.5, 1e-9, 1e9), lambda s: (s / 0.5).atan() * 2 / math.pi),
]
# fmt: on


@pytest.mark.parametrize(("kind", "parameters", "cdf"), DISTRIBUTIONS)
def test_noise_levels_follow_their_density_one_in_each_stratum(kind, parameters, cdf):
    u = cdf(sample_sigma(f"{kind}:{','.join(map(str, parameters))}", 200, seeded()).double())
    assert (u.mul(200) - torch.arange(200) - 0.5).abs().max() < 0.502


def test_interpolated_cosine_goes_from_the_high_to_the_low_shift():
    u = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
    levels, low, high = (
        cosine_interpolated(u, 256, a, b) for a, b in ((32, 256), (32, 32), (256, 256))
    )
    assert levels.tolist() == pytest.approx(
        (high * (low / high) ** u).tolist()
    )  # a mean of ln(snr)
    assert levels[[0, -1]].tolist() == pytest.approx([1e-3, 1e3])
    assert (
        low[2] > 7 * high[2]
    )  # 8 times the noise does to a large picture what 1 does to a small one


def test_noise_levels_at_given_quantiles():
    u = torch.tensor([0.9, 0.5, 0.1])
    assert sample_sigma("lognormal:-0.6,1.3", u).log().tolist() == pytest.approx(
        [-0.6 + 1.3 * 1.2815516, -0.6, -0.6 - 1.3 * 1.2815516], abs=1e-5
    )


def test_noise_levels_are_reproducible_and_named():
    assert torch.equal(
        sample_sigma("lognormal", 8, seeded()), sample_sigma("lognormal", 8, seeded())
    )
    assert torch.equal(
        sample_sigma("lognormal", 8, seeded(), P_mean=0.5),
        sample_sigma("lognormal:0.5", 8, seeded()),
    )
    with pytest.raises(OptionError, match="loguniform"):
        sample_sigma("flat", 8)
    with pytest.raises(OptionError, match="loguniform"):
        sample_sigma("loguniform:1,2,3", 8)
    with pytest.raises(OptionError, match="could not convert"):
        sample_sigma("lognormal:wide", 8)
    with pytest.raises(OptionError, match="P_std"):
        sample_sigma("loguniform", 8, P_std=1.0)


# Sampling


def test_karras_levels():
    sigmas = karras_sigmas(5, 0.02, 50.0, 3.0)
    assert sigmas.shape == (6,)
    assert sigmas[-1] == 0
    roots = sigmas[:-1].double() ** (1 / 3)
    assert roots.diff().tolist() == pytest.approx([(0.02 ** (1 / 3) - 50 ** (1 / 3)) / 4] * 4)
    assert karras_sigmas(1).tolist() == pytest.approx([80, 0])
    for wrong in ((0,), (5, 0.0), (5, 2.0, 1.0)):
        with pytest.raises(OptionError):
            karras_sigmas(*wrong)


def test_settling_levels_open_evenly():
    sigmas = settling_sigmas(9, 0.05, 25.0, 0.6)
    assert sigmas[[0, -2, -1]].tolist() == pytest.approx([25, 0.05, 0])
    share = sigmas[:-1] ** 2 / (sigmas[:-1] ** 2 + 0.36)
    torch.testing.assert_close(share.diff(), share.diff().mean().expand(8), rtol=1e-4, atol=0)
    assert settling_sigmas(1, 0.05, 25.0, 0.6).tolist() == pytest.approx([25, 0])
    with pytest.raises(OptionError, match="0 steps from sigma 25.0 to 0.05"):
        settling_sigmas(0, 0.05, 25.0, 0.6)


def distance(samples, mean=MEAN, cov=COV):
    """How far samples (n, 1, 2, 2) are from N(mean, cov).

    Two relative errors: of the mean, and of the covariance.
    """
    flat = samples.flatten(1)
    flat = flat[:, : len(mean)] if len(mean) == flat.shape[1] else flat[:, 1:3]
    return (
        float((flat.mean(0) - mean).norm() / cov.diagonal().sum().sqrt()),
        float((flat.T.cov() - cov).norm() / cov.norm()),
    )


@pytest.mark.parametrize(
    ("name", "n"), [("euler", 160), ("heun", 40), ("dpmpp_2m", 40), ("dpmpp_2m_sde", 160)]
)
def test_samplers_recover_a_gaussian(name, n):
    # 3000 samples: standard errors about .02 (mean) and .03 (covariance).
    sigmas = karras_sigmas(n, 0.01, 20.0).double()
    samples = get_sampler(name)(oracle, normal(3000) * sigmas[0], sigmas, generator=seeded(1))
    mean, cov = distance(samples)
    assert mean < 0.06
    assert cov < 0.1


@pytest.mark.parametrize(("name", "n"), [("euler", 320), ("heun", 80)])
def test_churn_keeps_the_distribution_and_changes_the_sample(name, n):
    sample, sigmas = get_sampler(name), karras_sigmas(n, 0.01, 20.0).double()
    x = normal(3000) * sigmas[0]
    plain, churned, never = (
        sample(oracle, x, sigmas, generator=seeded(1), **options)
        for options in ({}, {"s_churn": 20}, {"s_churn": 20, "s_tmin": 1e9})
    )
    assert (plain - churned).square().mean().sqrt() > 0.2
    assert torch.equal(plain, never)
    mean, cov = distance(churned)
    assert mean < 0.06
    assert cov < 0.1


@pytest.mark.parametrize("name", list(STOCHASTIC))
def test_same_seed_same_sample(name):
    sigmas = karras_sigmas(8).double()
    first, again, other = (
        STOCHASTIC[name](oracle, normal(5) * 80, sigmas, generator=seeded(s)) for s in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


def test_the_sde_without_noise_is_2m():
    sigmas, x = karras_sigmas(8).double(), normal(5) * 80
    still = sample_dpmpp_2m_sde(oracle, x, sigmas, eta=0)
    assert torch.equal(still, sample_dpmpp_2m(oracle, x, sigmas))


def test_order_of_convergence():
    """Twice the steps: half the error for Euler, a quarter for second order.

    The error is that against a very fine solution.
    """

    def solve(name, n):
        return get_sampler(name)(
            oracle, normal(50) * 20, karras_sigmas(n, 0.01, 20.0).double()[:-1]
        )

    fine = solve("heun", 1000)
    for name, order in (("euler", 1), ("heun", 2), ("dpmpp_2m", 2)):
        coarse, better = (float((solve(name, n) - fine).norm()) for n in (40, 80))
        assert 0.7 * 2**order < coarse / better < 1.5 * 2**order


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_callback_tells_every_step_and_conditions_reach_the_denoiser(name):
    sigmas, x, told, asked = karras_sigmas(6).double(), normal(2) * 80, [], []

    def denoiser(x, sigma, **conditions):
        asked.append((sigma.tolist(), conditions))
        return oracle(x, sigma)

    get_sampler(name)(denoiser, x, sigmas, told.append, colour="red")
    assert [event["i"] for event in told] == list(range(6))
    assert [float(event["sigma"]) for event in told] == sigmas[:-1].tolist()
    assert all(event["x"].shape == event["denoised"].shape == x.shape for event in told)
    assert torch.equal(told[0]["x"], x)
    assert len(asked) == (11 if name == "heun" else 6)
    assert all(conditions == {"colour": "red"} and len(sigma) == 2 for sigma, conditions in asked)


def test_unknown_sampler_lists_the_known():
    with pytest.raises(OptionError, match="dpmpp_2m_sde"):
        get_sampler("magic")


# RePaint


def test_schedules_in_full():
    assert repaint_schedule(1, U=5, jump=3) == [0, 1]
    assert repaint_schedule(3) == [0, 1, 2, 3]
    assert repaint_schedule(3, U=2) == [0, 1, 0, 1, 2, 1, 2, 3]
    assert repaint_schedule(3, U=3, jump=2) == [0, 1, 2, 0, 1, 2, 0, 1, 2, 3]
    assert repaint_schedule(4, U=2, jump=2) == [0, 1, 0, 1, 2, 3, 1, 2, 3, 4]
    assert repaint_schedule(4, U=2, jump=9) == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    for wrong in ((0,), (3, 0), (3, 1, 0)):
        with pytest.raises(OptionError):
            repaint_schedule(*wrong)


@given(n=st.integers(1, 60), U=st.integers(1, 6), jump=st.integers(1, 70))
@settings(deadline=None)
def test_laws_of_the_schedule(n, U, jump):
    path = repaint_schedule(n, U, jump)
    moves = [b - a for a, b in zip(path, path[1:], strict=False)]
    backs = [-move for move in moves if move < 0]
    assert path[0] == 0
    assert path[-1] == n
    assert path.count(n) == 1
    assert all(move == 1 for move in moves if move > 0)
    assert all(back <= jump for back in backs)
    assert len(moves) - len(backs) == U * (n - 1) + 1
    assert len(backs) == (U - 1) * math.ceil((n - 1) / jump)


def conditional():
    """Mean and covariance of the middle two pixels where the outer two are .8 and .6."""
    u, k = [1, 2], [0, 3]
    gain = COV[u][:, k] @ torch.linalg.inv(COV[k][:, k])
    known = torch.tensor([0.8, 0.6], dtype=torch.float64)
    return MEAN[u] + gain @ (known - MEAN[k]), COV[u][:, u] - gain @ COV[k][:, u]


X0 = torch.tensor([0.8, 7.0, -7.0, 0.6], dtype=torch.float64).reshape(
    1, 1, 2, 2
)  # 7 and -7 must not matter
MIDDLE = torch.tensor([False, True, True, False]).reshape(1, 1, 2, 2)


@pytest.mark.parametrize("name", ["dpmpp_2m", "heun", "dpmpp_2m_sde"])
def test_resampling_comes_nearer_to_the_true_conditional(name):
    sigmas = karras_sigmas(40, 0.01, 10.0).double()
    x0 = X0.expand(3000, -1, -1, -1)

    def far_from_the_truth(U):
        x = repaint(oracle, x0, MIDDLE, sigmas, U=U, sampler=name, generator=seeded())
        return distance(x, *conditional())

    once, often = far_from_the_truth(1), far_from_the_truth(4)
    assert once[0] > 0.6
    assert once[1] > 0.8
    assert often[0] < once[0] / 3
    assert often[1] < once[1] / 3


def test_much_resampling_reaches_the_true_conditional():
    sigmas = karras_sigmas(40, 0.01, 10.0).double()
    samples = repaint(oracle, X0.expand(3000, -1, -1, -1), MIDDLE, sigmas, U=30, generator=seeded())
    mean, cov = distance(samples, *conditional())
    assert mean < 0.1
    assert cov < 0.15


@pytest.mark.parametrize("options", [{}, {"U": 3, "jump": 2}, {"sampler": "heun"}])
def test_bit_identical_outside_the_mask(options):
    x0, mask = normal(6, 9), torch.rand(6, 1, 2, 2, generator=seeded()) < 0.5
    result = repaint(oracle, x0, mask, karras_sigmas(7).double(), generator=seeded(), **options)
    assert torch.equal(result[~mask], x0[~mask])
    assert not torch.isclose(result[mask], x0[mask]).any()


def test_an_empty_mask_returns_the_input_without_a_call():
    x0 = normal(3)
    result = repaint(
        None, x0, torch.zeros(3, 1, 2, 2, dtype=torch.bool), karras_sigmas(5).double(), U=3
    )
    assert torch.equal(result, x0)
    assert result is not x0


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_same_seed_same_picture(name):
    call = partial(repaint, oracle, normal(3), MIDDLE, karras_sigmas(9).double(), U=2, sampler=name)
    assert torch.equal(call(generator=seeded(5)), call(generator=seeded(5)))
    assert not torch.allclose(call(generator=seeded(5)), call(generator=seeded(6)))


def test_every_jump_back_begins_a_new_sampler_call():
    """So a multistep sampler starts without history; and the noise level fits where it starts."""
    sigmas, calls = karras_sigmas(4, 0.1, 5.0).double(), []

    def sampler(denoiser, x, sigmas, callback=None, generator=None, **conditions):
        calls.append((sigmas.tolist(), float((x - oracle_mean).flatten(1)[:, 1:3].std())))
        denoised = denoiser(x, sigmas[0].expand(len(x)), **conditions)
        assert torch.equal(denoised.flatten(1)[:, [0, 3]], x0.flatten(1)[:, [0, 3]])
        return oracle_mean + sigmas[-1] * normal(
            len(x), len(calls)
        )  # perfect, at the level asked for

    x0 = X0.expand(4000, -1, -1, -1)
    oracle_mean = torch.zeros_like(x0)
    repaint(oracle, x0, MIDDLE, sigmas, U=2, jump=2, sampler=sampler, generator=seeded())
    walks = [(0, 1), (0, 3), (1, 4)]
    assert [levels for levels, _ in calls] == [sigmas[a : b + 1].tolist() for a, b in walks]
    assert [spread for _, spread in calls] == pytest.approx(
        [float(sigmas[a]) for a, _ in walks], rel=0.05
    )


def test_known_pixels_are_shown_at_the_level_of_the_unknown():
    x0, levels, noises = X0.expand(4000, -1, -1, -1), [], []

    def denoiser(x, sigma, **conditions):
        noises.append(((x - x0).flatten(1)[:, [0, 3]] / sigma[:, None]).flatten())
        levels.append(float(sigma[0]))
        return oracle(x, sigma)

    sigmas = karras_sigmas(8, 0.05, 20.0).double()
    repaint(denoiser, x0, MIDDLE, sigmas, U=2, sampler="heun", generator=seeded())
    assert len(levels) == 2 * (2 * 7) + 1
    assert levels[:4] == sigmas[[0, 1, 0, 1]].tolist()
    # Standard normal numbers, new ones in each call: their covariance is the identity.
    identity = torch.eye(len(levels), dtype=torch.float64)
    torch.testing.assert_close(torch.stack(noises).cov(), identity, rtol=0, atol=0.07)


def test_repaint_passes_conditions_and_counts_the_whole_walk():
    told, seen = [], []

    def denoiser(x, sigma, known, mask):
        seen.append((known, mask))
        return oracle(x, sigma)

    repaint(
        denoiser,
        normal(2),
        MIDDLE,
        karras_sigmas(5).double(),
        U=3,
        jump=2,
        generator=seeded(),
        callback=told.append,
        known="known",
        mask="mask",
    )
    assert [event["i"] for event in told] == list(range(13))
    assert {event["n"] for event in told} == {13}
    assert set(seen) == {("known", "mask")}
    assert len(seen) == 13
    assert "denoised" in told[0]


def test_a_real_network_through_the_whole_chain():
    torch.manual_seed(0)
    config = HDiTConfig(
        in_channels=7, patch=(8, 16), mapping_cond_dim=2, mapping_width=32, mapping_d_ff=64
    )
    denoiser = Denoiser(HDiT(config), conditioned=True)
    for parameter in denoiser.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    x0, mask = torch.rand(2, 3, 64, 256) * 2 - 1, torch.zeros(1, 1, 64, 256, dtype=torch.bool)
    mask[..., 20:30, 100:200] = True
    with torch.inference_mode():
        result = repaint(
            denoiser,
            x0,
            mask,
            karras_sigmas(3),
            generator=seeded(),
            known=x0,
            mask=mask,
            density=torch.tensor([5.0, math.nan]),
        )
    assert result.isfinite().all()
    assert result.dtype == torch.float32
    assert torch.equal(result.masked_fill(mask, 0), x0.masked_fill(mask, 0))
