"""The categorical head of edm: exact where the network is, the same contract, the same samplers.

The oracle: rows of three pixels in three states, few enough to count. There the true answer of the
network, the mean of the posterior and the distribution of the samples are known.
"""

import math
from itertools import product

import numpy as np
import pytest
import torch
from conftest import make_song, seeded
from torch import nn

from pomkit import OptionError, Song, inpaint, masks, render, save_model
from pomkit.composing.region import guessed_chords
from pomkit.networks.hdit import CONFIGS, HDiT, HDiTConfig, Level
from pomkit.networks.local import Local
from pomkit.processes import kdiffusion
from pomkit.processes.categorical import HALF_HIDDEN, SPREAD, CategoricalDenoiser, hidden_share
from pomkit.processes.cells import Cells
from pomkit.processes.edm import Denoiser
from pomkit.processes.heads import Edm
from pomkit.processes.samplers import get_sampler, repaint
from pomkit.processes.schedules import karras_sigmas
from pomkit.processes.states import ONSET, SUSTAIN, encode_cells, state_colours
from pomkit.training import TrainOptions, new_model
from pomkit.training.options import with_init

TOY = HDiTConfig(
    patch=(8, 16), levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32
)
WIDTH = 64
ONE_VELOCITY = (85,)
STATES = 3
PIXELS = 3
ROWS = torch.tensor(list(product(range(STATES), repeat=PIXELS)))  # (27, 3)
# Whether row r has state k at pixel i: (27, 3, 3).
HAS = nn.functional.one_hot(ROWS, STATES).double()
# Any distribution will do: some rows are a hundred times likelier than others.
JOINT = torch.rand(len(ROWS), dtype=torch.float64, generator=seeded(5)) ** 4
JOINT /= JOINT.sum()


@pytest.fixture(autouse=True)
def toy_size(monkeypatch):
    monkeypatch.setitem(CONFIGS, "toy", TOY)


def options(**changes) -> TrainOptions:
    return TrainOptions(process="edm", model="toy", width=WIDTH, **changes)


def with_random_weights(model):
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.1)
    return model.eval()


def with_silent_network(model):
    nn.init.zeros_(model.network.patch_out.linear.weight)
    nn.init.zeros_(model.network.local.say.weight)
    return model


@pytest.fixture
def model() -> CategoricalDenoiser:
    torch.manual_seed(0)
    return with_random_weights(new_model(options()))


@pytest.fixture
def picture(rng) -> np.ndarray:
    return render(make_song(rng), 0, WIDTH)


def ink_colours() -> torch.Tensor:
    """Red and green of each state of the toy, counted from black: float64 (3, 2)."""
    return torch.from_numpy(state_colours(ONE_VELOCITY)[:, :2] / 127.5)


def likelihoods(ink: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """ln p(pixel | its state) + something: (n, 3 states, 3 pixels), of ink (n, 2, 1, 3)."""
    distance = (ink[:, None, :, 0] - ink_colours()[..., None]).square().sum(2)
    return -distance / (2 * sigma[:, None, None] ** 2)


def posterior(like: torch.Tensor) -> torch.Tensor:
    """ln p(row, pixels): (n, 27)."""
    return JOINT.log() + sum(like[:, ROWS[:, i], i] for i in range(PIXELS))


class Surroundings(nn.Module):
    """The true F: by how much all other pixels make a state likelier than it is anywhere."""

    config = HDiTConfig(in_channels=CategoricalDenoiser.in_channels(1), out_channels=STATES)
    log_prior = torch.zeros(STATES)

    def forward(self, seen, share):
        sigma = HALF_HIDDEN * (share / (1 - share)).sqrt()
        ink = seen[:, -2:] * (sigma**2 + SPREAD**2).sqrt()[:, None, None, None]
        like = likelihoods(ink, sigma)
        whole = posterior(like)
        top = whole.amax(1, keepdim=True)
        sums = torch.einsum("nr,rik->nki", (whole - top).exp(), HAS)
        answer = sums.clamp(min=1e-300).log() + top[..., None] - like
        answer -= self.log_prior[:, None]
        return answer[:, :, None]


def exact_model() -> tuple[CategoricalDenoiser, dict[str, torch.Tensor]]:
    """The head with the true F, and the conditions under which it composes three pixels."""
    model = CategoricalDenoiser(Surroundings(), ONE_VELOCITY, PIXELS)
    model.network.log_prior = model.prior.double().log()
    everything = torch.ones(1, 1, 1, PIXELS, dtype=torch.bool)
    return model, {"known": torch.zeros(1, 3, 1, PIXELS).double(), "mask": everything}


# The oracle


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.0, 4.0, 25.0])
def test_with_the_true_network_it_is_the_mean_of_the_posterior(sigma):
    model, conditions = exact_model()
    n = 200
    levels = torch.full((n,), sigma, dtype=torch.float64)
    noise = torch.randn(n, 3, 1, PIXELS, dtype=torch.float64, generator=seeded())
    rows = ROWS[torch.multinomial(JOINT, n, replacement=True, generator=seeded(1))]
    x = model.colours.double()[rows].movedim(-1, 1)[:, :, None] + sigma * noise

    p = posterior(likelihoods(x[:, :2] + 1, levels)).softmax(1)
    mean = torch.einsum("nr,rpc->ncp", p, ink_colours()[ROWS]) - 1
    denoised = model(x, levels, **conditions)
    torch.testing.assert_close(denoised[:, :2, 0], mean, rtol=0, atol=1e-6)
    assert (denoised[:, 2] == -1).all()


def test_the_sampler_recovers_the_distribution():
    model, conditions = exact_model()
    n = 5000
    sigmas = karras_sigmas(200, model.sigma_min, model.sigma_max).double()
    x = sigmas[0] * torch.randn(n, 3, 1, PIXELS, dtype=torch.float64, generator=seeded())
    sampler = get_sampler("dpmpp_2m_sde")
    samples = sampler(model, x - 1, sigmas, generator=seeded(1), **conditions)

    states = model.nearest(samples)[:, 0]
    numbers = (states * torch.tensor([9, 3, 1])).sum(1)
    counts = numbers.bincount(minlength=len(ROWS)).double()
    # Rows that are expected less than five times count as one.
    rare = n * JOINT < 5
    seen = torch.cat([counts[~rare], counts[rare].sum()[None]])
    expected = n * torch.cat([JOINT[~rare], JOINT[rare].sum()[None]])
    chi_square = ((seen - expected) ** 2 / expected).sum()
    freedom = torch.tensor((len(seen) - 1) / 2, dtype=torch.float64)
    assert torch.special.gammaincc(freedom, chi_square / 2) > 0.001


@pytest.mark.parametrize("calls", [8, 16, 32])
def test_as_many_pixels_end_in_each_state_as_the_network_says(calls):
    network = HDiT(HDiTConfig(**vars(TOY) | {"in_channels": 12, "out_channels": 6}))
    model = CategoricalDenoiser(network, width=WIDTH)
    sigmas = model.levels(calls)

    def alone(x, sigma):
        logits = model.evidence(x) / sigma.reshape(-1, 1, 1, 1) ** 2
        return model.mean_colour((logits + model.prior.log()[:, None, None]).softmax(1))

    x = model.middle + sigmas[0] * torch.randn(50, 3, 80, 80, generator=seeded())
    out = get_sampler(model.sampler)(alone, x, sigmas, generator=seeded(1))
    states = model.nearest(out)
    ends = [(states == SUSTAIN).float().mean(), (states >= ONSET).float().mean()]
    for end, share in zip(ends, model.shares[1:], strict=True):
        assert float(end) == pytest.approx(share, rel=0.1)


# What it says


def test_in_pure_noise_only_the_network_speaks(model):
    x = torch.randn(2, 3, 128, WIDTH, generator=seeded())
    sigma = torch.full((2,), 1e6)
    heard = {}
    model.network.register_forward_hook(lambda _, __, answer: heard.update(answer=answer))
    p = model(sigma[0] * x, sigma, as_logits=True).softmax(1)
    expected = (heard["answer"] + model.prior.log()[:, None, None]).softmax(1)
    torch.testing.assert_close(p, expected, rtol=1e-3, atol=1e-6)


def test_blue_is_only_noise(model):
    x = torch.randn(2, 3, 128, WIDTH, generator=seeded())
    other = torch.cat([x[:, :2], torch.randn(2, 1, 128, WIDTH)], dim=1)
    sigma = torch.tensor([0.3, 3.0])
    denoised = model(x, sigma)
    assert (denoised[:, 2] == -1).all()
    assert torch.equal(denoised, model(other, sigma))


def test_known_pixels_and_chord_rows_are_returned(model, picture):
    x0 = model.encode(picture[None])
    mask = torch.from_numpy(masks.bars(picture, 2, 3))[None, None]
    sigma = torch.ones(1)
    denoised = model(torch.randn(x0.shape), sigma, x0, mask)
    torch.testing.assert_close(denoised.masked_fill(mask, 0), x0.masked_fill(mask, 0))
    assert (model(torch.randn(x0.shape), sigma)[:, :, [0, 7, 120, 127]] == -1).all()


def test_half_precision_does_not_touch_the_evidence(model, picture):
    with_silent_network(model)
    x = model.encode(picture[None])
    sigma = torch.full((1,), 0.05)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(x, sigma, as_logits=True)
    torch.testing.assert_close(half, model(x, sigma, as_logits=True), rtol=0, atol=1e-2)


def test_a_state_is_the_nearest_colour(model, picture):
    states = torch.from_numpy(encode_cells(picture))[None]
    assert torch.equal(model.nearest(model.encode(picture[None])), states)
    assert torch.equal(model.one_hot(model.encode(picture[None])).argmax(1), states)


def test_what_does_not_fit_is_refused():
    network = HDiT(TOY)
    with pytest.raises(OptionError, match="4 velocity bins"):
        CategoricalDenoiser(network)
    model = new_model(options())
    with pytest.raises(OptionError, match="both or neither"):
        model(torch.zeros(1, 3, 128, WIDTH), torch.ones(1), mask=torch.ones(1, 1, 128, WIDTH) > 0)
    with pytest.raises(OptionError, match="head 'tail' is unknown; choose one of cells, pixels"):
        new_model(options(head="tail"))
    with pytest.raises(OptionError, match="local_head 'maybe'"):
        new_model(options(local_head="maybe"))


# Training


def test_the_loss_is_bits_per_cell_of_the_region(model, picture):
    with_silent_network(model)
    states = torch.from_numpy(encode_cells(picture))[None]
    region = torch.from_numpy(masks.bars(picture, 2, 3))[None]
    batch = {"cells": states, "mask": region, "chords": torch.zeros(1, 3, 128, WIDTH)}
    noise = torch.randn(1, 3, 128, WIDTH, generator=seeded())
    loss = model.loss(batch | {"noise": noise, "sigma": torch.full((1,), 1e6)}, model, options())
    expected = -model.prior[states[region]].log2().mean()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-3)


def test_the_density_of_sigma_is_the_heads_own_unless_one_is_asked_for():
    told = [
        float(new_model(o).level_of(u, o))
        for o in (options(), options(head="pixels"), options(sigma_density="loguniform:1,4"))
        for u in (0.0, 0.5)
    ]
    middle = [math.sqrt(0.08 * 25), math.exp(-0.6), 2.0]
    assert told[0] == pytest.approx(0.08, rel=1e-4)
    assert told[1::2] == pytest.approx(middle, rel=1e-4)


def random_cells(local: Local | None) -> Cells:
    config = {"in_channels": Cells.in_channels(4), "out_channels": 6, "local": local}
    return with_random_weights(Cells(HDiT(HDiTConfig(**vars(TOY) | config)), width=WIDTH))


@pytest.mark.parametrize("local", [None, Local()])
def test_begun_with_a_cells_model_both_answer_alike_at_high_noise(local, picture, tmp_path):
    cells = random_cells(local)
    save_model(tmp_path / "cells", cells)
    asked = with_init(options(init=str(tmp_path / "cells"), seed=1))
    model = new_model(asked).eval()
    assert isinstance(model, CategoricalDenoiser)
    assert (asked.process, asked.head, asked.width) == ("edm", "cells", WIDTH)

    region = torch.from_numpy(masks.bars(picture, 2, 3))[None]
    states = torch.from_numpy(encode_cells(picture))[None]
    chords = torch.rand(1, 3, 128, WIDTH)
    said = cells(states.masked_fill(region, cells.states), chords, torch.ones(1)).log_softmax(1)
    sigma = torch.full((1,), 1e5)
    noisy = sigma * torch.randn(1, 3, 128, WIDTH)
    known = {"known": model.encode(picture[None]), "mask": region[:, None], "chords": chords}
    answer = model(noisy, sigma, **known, as_logits=True).log_softmax(1)
    inside = region[:, None].expand_as(said)
    torch.testing.assert_close(answer[inside], said[inside], rtol=0, atol=1e-3)


def test_a_cells_model_is_fine_tuned_as_itself_where_no_head_asks_for_it(tmp_path):
    save_model(tmp_path / "cells", random_cells(None))
    for changes in ({"process": "cells"}, {"head": "pixels"}):
        asked = TrainOptions(**{"process": "edm", "init": str(tmp_path / "cells")} | changes)
        assert with_init(asked).process == "cells"
        assert isinstance(new_model(asked), Cells)


def test_a_specification_without_a_head_is_of_pixels():
    spec = new_model(options(head="pixels")).spec()
    assert spec.pop("head") == "pixels"
    assert isinstance(Edm.from_spec(spec), Denoiser)


def test_the_network_is_told_how_much_is_hidden():
    share = hidden_share(torch.tensor([0.0, HALF_HIDDEN, 1e6]))
    assert share.tolist() == pytest.approx([0, 0.5, 1])


# Composing


def test_known_pixels_take_the_colours_of_their_states(model, rng):
    picture = render(make_song(rng), 0, WIDTH)
    quiet = np.where(picture > 40, 40, picture)
    colours = model.encode(quiet[None]).movedim(1, -1).reshape(-1, 3)  # (pixels, 3)
    nearest = torch.cdist(colours, model.colours).amin(1)
    assert (nearest == 0).all()
    assert (colours[:, 1] > 0).any()


def test_a_quiet_song_is_composed_like_a_loud_one(rng):
    song = make_song(rng)
    network = HDiT(HDiTConfig(**vars(TOY) | {"in_channels": 9, "out_channels": STATES}))
    model = with_random_weights(CategoricalDenoiser(network, ONE_VELOCITY, WIDTH))
    results = []
    for velocity in (20, 85):
        notes = song.notes.copy()
        notes["velocity"] = velocity
        picture = render(Song(notes, song.chords, song.parts), 0, WIDTH)
        mask = masks.bars(picture, 2, 3)
        for method in model.methods:
            out = inpaint(model, picture, mask, seed=1, calls=3, method=method)[0]
            assert np.array_equal(out[~mask], picture[~mask])
            results.append(out)
    quiet, loud = (
        [encode_cells(each, ONE_VELOCITY) for each in results[i : i + 2]] for i in (0, 2)
    )
    assert np.array_equal(quiet, loud)


def test_the_noise_goes_from_its_own_first_level_to_its_own_last(model, picture):
    mask = masks.bars(picture, 2, 3)
    told = []
    inpaint(model, picture, mask, seed=1, calls=4, callback=told.append)
    levels = [float(event["sigma"]) for event in told]
    assert (levels[0], levels[-1]) == pytest.approx((25, 0.05))
    assert told[0]["preview"]().shape == (1, 128, WIDTH, 3)


def test_masked_chord_rows_are_estimated(model, picture):
    mask = masks.everything(picture, chords=True)
    out = inpaint(model, picture, mask, seed=1, calls=2)
    guess = next(guessed_chords(np.asarray(out)))
    rows = masks.chords(picture)
    assert np.array_equal(out[0][rows], guess[rows])


def test_composed_velocities_are_those_of_the_bins(model, picture):
    mask = masks.everything(picture)
    out = inpaint(model, picture, mask, seed=1, calls=2)[0]
    assert set(np.unique(out[8:120, :, 0])) <= {0, *(2 * v for v in model.velocities)}


# Samplers


def installed() -> bool:
    try:
        return bool(kdiffusion.names())
    except OptionError:
        return False


# At low noise the head is steep: single precision is multiplied by 1 / sigma^2.
ROUNDED = 1e-3
needs_k_diffusion = pytest.mark.skipif(not installed(), reason="k-diffusion is not installed")


@needs_k_diffusion
@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m"])
def test_our_samplers_are_k_diffusions(model, name):
    sigmas = karras_sigmas(6, model.sigma_min, model.sigma_max)
    x = sigmas[0] * torch.randn(1, 3, 128, WIDTH, generator=seeded())
    ours = get_sampler(name)(model, x, sigmas)
    theirs = get_sampler("k_diffusion:" + name)(model, x, sigmas)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=ROUNDED)


@needs_k_diffusion
def test_our_2m_sde_is_k_diffusions_on_the_same_noise(model):
    def noise_sampler(sigma, sigma_next):
        return torch.randn(1, 3, 128, WIDTH, generator=seeded(int(1e6 * sigma)))

    sigmas = karras_sigmas(6, model.sigma_min, model.sigma_max)
    x = sigmas[0] * torch.randn(1, 3, 128, WIDTH, generator=seeded())
    ours = get_sampler("dpmpp_2m_sde")(model, x, sigmas, noise_sampler=noise_sampler)
    sampler = get_sampler("k_diffusion:dpmpp_2m_sde")
    theirs = sampler(model, x, sigmas, noise_sampler=noise_sampler)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=ROUNDED)


@needs_k_diffusion
def test_a_sampler_by_name_composes(model, picture):
    mask = masks.bars(picture, 2, 3)
    given = {"sampler": "k_diffusion:dpmpp_3m_sde", "calls": 4, "seed": 1}
    out = inpaint(model, picture, mask, **given)
    assert np.array_equal(out, inpaint(model, picture, mask, **given))
    assert np.array_equal(out[0][~mask], picture[~mask])


def test_repaint_returns_the_known_pixels(model, picture):
    x0 = model.encode(picture[None])
    mask = torch.from_numpy(masks.bars(picture, 2, 3))[None, None]
    sigmas = karras_sigmas(4, model.sigma_min, model.sigma_max)
    result = repaint(model, x0, mask, sigmas, U=2, generator=seeded())
    assert torch.equal(result.masked_fill(mask, 0), x0.masked_fill(mask, 0))
    assert (model.nearest(result)[:, :8] == 0).all()
