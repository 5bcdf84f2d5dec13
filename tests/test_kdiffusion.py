"""The bridge to k-diffusion: its samplers run by name on our denoisers, and ours agree."""

import sys

import pytest
import torch
from conftest import gaussian_oracle, seeded

from pomkit.errors import OptionError, PomkitError
from pomkit.networks.attention import Level
from pomkit.networks.hdit import HDiT, HDiTConfig
from pomkit.processes import kdiffusion
from pomkit.processes.edm import Denoiser
from pomkit.processes.samplers import get_sampler, repaint
from pomkit.processes.schedules import karras_sigmas


def available():
    try:
        return bool(kdiffusion.names())
    except OptionError:
        return False


installed = pytest.mark.skipif(not available(), reason="k-diffusion is not installed (see README)")
MEAN = torch.tensor([0.1, -0.2, 0.3, 0.0], dtype=torch.float64)
COV = 0.25 * 0.8 ** (torch.arange(4.0, dtype=torch.float64)[:, None] - torch.arange(4.0)).abs()
oracle = gaussian_oracle(MEAN, COV)  # pixels laid out as 1 x 2 x 2
DETERMINISTIC = ("dpm_2", "dpm_adaptive", "dpm_fast", "dpmpp_2m", "euler", "heun", "lms")
SIGMAS = karras_sigmas(20, 0.01, 20.0).double()


def start(n):
    return SIGMAS[0] * torch.randn(n, 1, 2, 2, dtype=torch.float64, generator=seeded())


def network_denoiser():
    torch.manual_seed(0)
    config = HDiTConfig(
        patch=(8, 16), mapping_width=32, mapping_d_ff=64, levels=(Level(1, 32, 64, d_head=16),)
    )
    denoiser = Denoiser(HDiT(config))
    for parameter in denoiser.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    return denoiser


@installed
def test_loading_leaves_no_module_behind():
    kdiffusion.load.cache_clear()
    before = {name: sys.modules.get(name) for name in kdiffusion.UNUSED}
    assert kdiffusion.load().sample_euler
    assert not [name for name in sys.modules if name.startswith("k_diffusion")]
    assert {name: sys.modules.get(name) for name in kdiffusion.UNUSED} == before


@installed
def test_what_a_program_has_imported_itself_is_used_and_kept(monkeypatch):
    own = kdiffusion.load()
    monkeypatch.setitem(sys.modules, "k_diffusion.sampling", own)
    kdiffusion.load.cache_clear()
    assert kdiffusion.load() is own
    assert sys.modules["k_diffusion.sampling"] is own


@installed
@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m"])
def test_ours_are_its_samplers(name):
    denoiser, sigmas = network_denoiser(), karras_sigmas(8)
    x = sigmas[0] * torch.randn(1, 3, 32, 64, generator=seeded())
    theirs, ours = (
        get_sampler(prefix + name)(denoiser, x, sigmas) for prefix in ("k_diffusion:", "")
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    exact_theirs, exact_ours = (
        get_sampler(prefix + name)(oracle, start(9), SIGMAS) for prefix in ("k_diffusion:", "")
    )
    torch.testing.assert_close(exact_ours, exact_theirs, rtol=0, atol=1e-10)


@installed
@pytest.mark.parametrize("name", ["euler", "heun"])
def test_our_churn_is_its_churn_on_the_same_noise(name):
    samples = []
    for prefix in ("k_diffusion:", ""):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            samples.append(
                get_sampler(prefix + name)(oracle, start(9), SIGMAS, s_churn=6, s_noise=0.9)
            )
    torch.testing.assert_close(*samples, rtol=0, atol=1e-10)


@installed
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_our_2m_sde_is_its_2m_sde_on_the_same_noise(eta):
    def noise_sampler(sigma, sigma_next):
        return torch.randn(9, 1, 2, 2, dtype=torch.float64, generator=seeded(int(1e6 * sigma)))

    options = {"eta": eta, "s_noise": 0.9, "noise_sampler": noise_sampler}
    theirs = get_sampler("k_diffusion:dpmpp_2m_sde")(oracle, start(9), SIGMAS, **options)
    ours = get_sampler("dpmpp_2m_sde")(oracle, start(9), SIGMAS, **options)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@installed
def test_our_2m_sde_is_its_2m_sde_in_distribution():
    moments = []
    for prefix in ("k_diffusion:", ""):
        sample = get_sampler(prefix + "dpmpp_2m_sde")
        samples = sample(oracle, start(4000), SIGMAS, generator=seeded(1)).flatten(1)
        moments.append((samples.mean(0), samples.T.cov()))
    (mean, cov), (our_mean, our_cov) = moments
    assert (mean - our_mean).norm() < 0.05 * cov.diagonal().sum().sqrt()
    assert (cov - our_cov).norm() < 0.08 * cov.norm()


@installed
@pytest.mark.parametrize("name", kdiffusion.names() if available() else [])
def test_every_sampler_recovers_a_gaussian_and_obeys_its_seed(name):
    sample = get_sampler(f"k_diffusion:{name}")
    state = torch.get_rng_state()
    first, again, other = (
        sample(oracle, start(2000), SIGMAS, generator=seeded(seed)).flatten(1) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name in DETERMINISTIC)
    assert (first.mean(0) - MEAN).norm() < 0.1 * COV.diagonal().sum().sqrt()
    assert (first.T.cov() - COV).norm() < (0.45 if "euler" in name else 0.25) * COV.norm()


@installed
def test_churn_of_its_samplers_obeys_the_seed():
    sample = get_sampler("k_diffusion:euler")
    plain, first, again, other = (
        sample(oracle, start(5), SIGMAS, generator=seeded(seed), s_churn=churn)
        for seed, churn in ((1, 0), (1, 20), (1, 20), (2, 20))
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)
    assert not torch.allclose(first, plain, atol=1e-3)


@installed
def test_conditions_and_callback_pass_through(capfd):
    told, asked = [], []

    def denoiser(x, sigma, **conditions):
        asked.append(conditions)
        return oracle(x, sigma)

    get_sampler("k_diffusion:dpmpp_3m_sde")(
        denoiser, start(2), SIGMAS, told.append, eta=0.5, mask="mask"
    )
    assert [event["i"] for event in told] == list(range(20))
    assert {"sigma", "x", "denoised"} <= told[0].keys()
    assert asked == [{"mask": "mask"}] * 20
    assert capfd.readouterr().err == ""  # no progress bar


@installed
@pytest.mark.parametrize("name", ["dpm_fast", "dpm_adaptive"])
def test_samplers_with_levels_of_their_own_end_clean_or_at_the_last_level(name):
    sample, x = get_sampler(f"k_diffusion:{name}"), start(500)
    assert torch.equal(sample(oracle, x, SIGMAS[[0, -1]]), oracle(x, SIGMAS[:1].expand(500)))
    noisy = sample(oracle, x, SIGMAS[:12])
    expected = COV + SIGMAS[11] ** 2 * torch.eye(4)
    assert (noisy.flatten(1).T.cov() - expected).norm() < 0.25 * expected.norm()


@installed
@pytest.mark.parametrize("name", ["dpmpp_3m_sde", "dpmpp_sde", "dpm_fast", "dpm_adaptive"])
def test_by_name_on_our_denoiser_inside_repaint(name):
    x0 = torch.rand(2, 3, 32, 64, generator=seeded()) * 2 - 1
    mask = torch.zeros(1, 1, 32, 64, dtype=torch.bool)
    mask[..., 5:25, 10:50] = True
    options = {"U": 2, "sampler": f"k_diffusion:{name}"}

    def compose():
        denoiser = network_denoiser()
        return repaint(denoiser, x0, mask, karras_sigmas(4), generator=seeded(2), **options)

    first, again = compose(), compose()
    assert torch.equal(first, again)
    assert first.isfinite().all()
    assert torch.equal(first.masked_fill(mask, 0), x0.masked_fill(mask, 0))


@installed
def test_an_adaptive_sampler_does_not_search_for_ever():
    with pytest.raises(PomkitError, match="NaN"):
        get_sampler("k_diffusion:dpm_adaptive")(lambda x, sigma: x * float("nan"), start(2), SIGMAS)


@installed
def test_a_name_that_it_has_not():
    with pytest.raises(OptionError, match="dpmpp_3m_sde"):
        get_sampler("k_diffusion:magic")


@installed
def test_increments_of_a_two_stage_sampler_agree():
    x = torch.zeros(20000, 1, 1, 1)
    noise = kdiffusion.BrownianIncrements(x)
    high, middle, low = torch.tensor([10.0, 4.0, 2.0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, whole, after = noise(high, middle), noise(high, low), noise(low, torch.tensor(1.0))
    assert float((first * whole).mean()) == pytest.approx(
        (6 / 8) ** 0.5, abs=0.03
    )  # sqrt of the shared time
    assert float(whole.var()) == pytest.approx(1, abs=0.04)
    assert abs(float((whole * after).mean())) < 0.03


@pytest.mark.parametrize("missing", ["k_diffusion", "torchsde"])
def test_not_installed_is_said_with_the_commands(monkeypatch, missing):
    kdiffusion.load.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    assert not available()
    with pytest.raises(OptionError) as error:
        get_sampler("k_diffusion:euler")
    assert "pip install torchdiffeq torchsde trampoline scipy" in str(error.value)
    assert "pip install --no-deps k-diffusion==0.1.1.post1" in str(error.value)
