"""Laws of the autoencoders: one step of edm to the bit, coordinates, divergences, faders."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import gaussian_oracle, make_song, seeded
from torch import distributions
from torch.utils.data import default_collate

from pomkit import OptionError, inpaint, masks, render
from pomkit.data import Windows
from pomkit.ladder.autoencoder import (
    LATENT,
    Autoencoder,
    DenoisingAutoencoder,
    Faders,
    attributes,
    ddpm_sigmas,
    decoded_attributes,
    disobedience,
    disorder,
    inks,
    latent_divergence,
    likeliest_cells,
    read_inks,
    to_vp,
    with_faders,
)
from pomkit.ladder.system import ONSET, Request, window_cells
from pomkit.processes.contract import Options
from pomkit.processes.samplers import sample_dpmpp_2m, sample_euler
from pomkit.training import TrainOptions

WIDTH = 64


@pytest.fixture(scope="module")
def cells() -> torch.Tensor:
    """Windows of random songs, (6, 64, 64), some busier than others."""
    songs = [make_song(np.random.default_rng(i), count=40 * (i + 1)) for i in range(6)]
    drawn = [Windows([song], WIDTH, seed=i)[i].picture for i, song in enumerate(songs)]
    return torch.from_numpy(np.stack([window_cells(picture) for picture in drawn]))


@pytest.fixture(scope="module")
def dae() -> DenoisingAutoencoder:
    torch.manual_seed(0)
    model = DenoisingAutoencoder("toy").eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    return model


@pytest.fixture(scope="module")
def faders() -> Faders:
    torch.manual_seed(0)
    model = Faders("toy").eval()
    for parameter in model.parameters():
        parameter.data *= 2
    return model


HIDDEN = torch.zeros(64, 64, dtype=torch.bool)
HIDDEN[10:50, 16:48] = True


def request(seed: int = 0, **own) -> Request:
    options = Options("denoise", 1, own=own, generator=seeded(seed))
    return Request(options, torch.zeros(1, 3, 64, 64), lambda *_: None)


# Out of noise


@torch.no_grad()
def test_a_denoising_autoencoder_is_edm_with_one_step(dae, cells):
    """To the bit, from the same noise: DPM-Solver++ and the answer itself are one."""
    made = dae.denoised(cells, HIDDEN, request(5))
    known = inks(torch.where(HIDDEN, 0, cells))
    hidden = HIDDEN.expand(len(cells), 1, -1, -1)
    sigma = torch.full((len(cells),), 2.0)
    start = torch.where(hidden, -1.0, known) + 2 * torch.randn(known.shape, generator=seeded(5))
    assert torch.equal(made, dae(start, sigma, known, hidden))
    levels = torch.tensor([2.0, 0.0])
    stepped = sample_dpmpp_2m(dae, start, levels, known=known, mask=hidden)
    assert torch.equal(made, stepped)


@torch.no_grad()
def test_known_cells_come_back_and_noise_on_them_is_not_seen(dae, cells):
    known = inks(cells)
    hidden = HIDDEN.expand(len(cells), 1, -1, -1)
    sigma = torch.full((len(cells),), 2.0)
    noise = torch.randn(known.shape, generator=seeded())
    one = dae(known + noise, sigma, known, hidden)
    other = dae(known + torch.where(hidden, noise, 9.0), sigma, known, hidden)
    assert torch.equal(one, other)
    assert torch.equal(one.movedim(1, -1)[:, ~HIDDEN], known.movedim(1, -1)[:, ~HIDDEN])


def test_the_mean_is_the_best_answer_to_noise():
    """A network that learned nothing but how often cells sound has an error of 4 p (1 - p)."""
    sounds = torch.rand(4, 64, 64, generator=seeded()) < 0.2
    batch = {"cells": 2 * sounds.long(), "mask": torch.ones(4, 64, 64, dtype=torch.bool)}
    batch["noise"] = torch.randn(4, 2, 64, 64, generator=seeded(1))
    model = DenoisingAutoencoder("toy")
    share = sounds.float().mean().item()

    def error(guess: float) -> float:
        answer = torch.full((4, 2, 64, 64), guess)
        return model.loss(batch, lambda *_: answer, TrainOptions()).mean().item()

    best = 2 * share - 1
    assert error(best) == pytest.approx(4 * share * (1 - share), rel=1e-4)
    assert error(best) < min(error(best - 0.05), error(best + 0.05))
    # And what is below one half is silence.
    assert not read_inks(torch.full((1, 2, 64, 64), best)).any()


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_a_higher_threshold_leaves_fewer_notes(threshold, cells):
    x = torch.rand(2, 2, 64, 64, generator=seeded()) * 2 - 1
    lit = (read_inks(x, threshold) > 0).float().mean().item()
    assert lit == pytest.approx(1 - threshold, abs=0.03)
    assert torch.equal(read_inks(inks(cells), threshold), cells)


def test_the_threshold_is_an_option(dae):
    picture = render(make_song(np.random.default_rng(0)), 0, WIDTH)
    mask = masks.box(picture, (50, 80), (10, 40))
    few = inpaint(dae, picture, mask, seed=0, threshold=1.0)
    many = inpaint(dae, picture, mask, seed=0, threshold=0.0)
    assert (few[0][mask] > 0).sum() < (many[0][mask] > 0).sum()
    with pytest.raises(OptionError, match="threshold is 2"):
        inpaint(dae, picture, mask, threshold=2)


# Coordinates


def test_the_two_coordinates_of_diffusion_are_one_process():
    """DDIM in DDPM's coordinates is Euler's step in edm's, each picture divided by its length."""
    mean = torch.randn(12, generator=seeded(), dtype=torch.float64)
    root = torch.randn(12, 12, generator=seeded(1), dtype=torch.float64)
    oracle = gaussian_oracle(mean, root @ root.T / 12)
    sigmas = ddpm_sigmas()[::50].double()
    x = sigmas[0] * torch.randn(3, 12, generator=seeded(2), dtype=torch.float64)
    seen = []
    sample_euler(oracle, x, sigmas, callback=lambda event: seen.append(event["x"]))

    # Ho et al.'s coordinates: x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps.
    vp = to_vp(x, sigmas[0])
    for i, (now, after) in enumerate(pairwise(sigmas[:-1])):
        assert torch.allclose(vp, to_vp(seen[i], now), atol=1e-5)
        alpha, alpha_after = 1 / (1 + now**2), 1 / (1 + after**2)
        denoised = oracle(vp / alpha.sqrt(), now.expand(3))
        eps = (vp - alpha.sqrt() * denoised) / (1 - alpha).sqrt()
        vp = alpha_after.sqrt() * denoised + (1 - alpha_after).sqrt() * eps


def test_the_levels_of_ddpm_are_those_of_its_paper():
    """Of the last step nearly nothing of the picture is left; the first adds .0001."""
    sigmas = ddpm_sigmas()
    assert len(sigmas) == 1001
    assert (sigmas[:-1] > sigmas[1:]).all()
    assert 1 / (1 + sigmas[0].item() ** 2) == pytest.approx(4.04e-5, rel=0.01)
    assert sigmas[-2].item() == pytest.approx((1e-4 / (1 - 1e-4)) ** 0.5, rel=1e-3)


# With faders


def test_the_divergence_is_that_of_normal_distributions():
    mean, log_variance = torch.randn(2, 5, 8, generator=seeded())
    ours = distributions.Normal(mean, (log_variance / 2).exp())
    standard = distributions.Normal(torch.zeros(5, 8), torch.ones(5, 8))
    expected = distributions.kl_divergence(ours, standard).sum(1)
    assert torch.allclose(latent_divergence(mean, log_variance), expected, atol=1e-5)
    assert not latent_divergence(torch.zeros(2, 8), torch.zeros(2, 8)).any()


def test_latents_in_order_cost_nothing_and_others_do():
    values = torch.tensor([[0.1], [0.4], [0.2], [0.9]])
    assert disorder(50 * values, values).max() < 1e-6
    assert disorder(torch.zeros(4, 1), values).mean() == pytest.approx(12 / 16)
    assert (disorder(-50 * values, values) > disorder(50 * values, values)).all()
    assert disorder(torch.ones(3, 2), torch.ones(3, 2)).eq(0).all()


def test_the_attributes_are_counted_by_hand():
    cells = torch.zeros(2, 64, 64, dtype=torch.long)
    cells[0, [3, 9, 20], 0] = 2
    cells[0, 3, 1:5] = 1
    cells[0, 5, 32] = 2
    assert attributes(cells).tolist() == [[2 / 64, 2.0], [0.0, 0.0]]


def test_what_is_read_has_the_attributes_of_its_cells_and_a_gradient(cells):
    """Sure logits are read as their cells; more of an onset in a silent step is a fuller rhythm."""
    logits = (30 * F.one_hot(cells, 3).permute(0, 3, 1, 2).float()).requires_grad_()
    assert torch.allclose(decoded_attributes(logits), attributes(cells))
    assert disobedience(logits, attributes(cells)).max() < 1e-9

    logits = torch.zeros(1, 3, 64, 64, requires_grad=True)
    decoded_attributes(logits - torch.tensor([0.0, 9, 9])[:, None, None])[0, 0].backward()
    assert logits.grad is not None
    assert (logits.grad[:, ONSET] > 0).all()


def test_a_batch_that_has_what_others_have_asks_nothing_of_the_decoder(cells):
    """The distance is in standard deviations of the batch, so its unit does not matter."""
    values = attributes(cells)
    logits = 30 * F.one_hot(cells, 3).permute(0, 3, 1, 2).float()
    off = values + values.std(0) * torch.tensor([2.0, 0.0])
    assert torch.allclose(disobedience(logits, off), torch.full((len(cells),), 2.0), rtol=1e-3)


def test_the_bound_is_the_loss_in_bits(faders, cells):
    """With weights of 1 and 0 both are the same bound, of the same latents."""
    model = Faders("toy", beta=1.0, pull=0.0, swap=0.0).eval()
    model.load_state_dict(faders.state_dict())
    noise = torch.randn(len(cells), LATENT, generator=seeded(3))
    with torch.no_grad():
        loss = model.loss({"cells": cells, "noise": noise}, model, TrainOptions())
    assert torch.allclose(model.bits(cells, seeded(3)), 4096 * loss, rtol=1e-4)


def test_a_fader_at_its_own_value_changes_nothing(faders, cells):
    mean, _ = faders.encoded(cells[:1])
    own = {"rhythm": mean[0, 0].item(), "notes": mean[0, 1].item()}
    assert torch.equal(faders.moved(cells[:1], **own), faders.moved(cells[:1]))
    assert not torch.equal(faders.moved(cells[:1], rhythm=4.0), faders.moved(cells[:1]))
    z = torch.randn(2, LATENT, generator=seeded())
    assert torch.equal(with_faders(z, {"notes": 0.5})[:, [0, 2]], z[:, [0, 2]])


def test_faders_move_apart_after_some_steps(cells):
    """The term alone brings the first two latents into the order of the attributes."""
    torch.manual_seed(0)
    model = Faders("toy", pull=1.0, swap=0.0)
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    batch = {"cells": cells, "noise": torch.zeros(len(cells), LATENT)}
    for _ in range(60):
        adam.zero_grad()
        model.loss(batch, model, TrainOptions()).mean().backward()
        adam.step()
    latents = model.encoded(cells)[0][:, :2].detach()
    wanted = attributes(cells)
    for k in range(2):
        in_order = wanted[latents[:, k].argsort(), k]
        assert (in_order[1:] >= in_order[:-1]).all()


def test_the_decoder_learns_to_obey_the_faders_of_other_windows(cells):
    """The second term alone: windows take on the attributes of those whose faders they get."""
    torch.manual_seed(0)
    model = Faders("toy", pull=0.0, swap=1.0)
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    batch = {"cells": cells, "noise": torch.zeros(len(cells), LATENT)}
    losses = []
    for _ in range(40):
        adam.zero_grad()
        loss = model.loss(batch, model, TrainOptions()).mean()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2


def test_faders_are_options(faders):
    picture = np.zeros((128, WIDTH, 3), np.uint8)
    whole = masks.everything(picture)
    low, high = (inpaint(faders, picture, whole, seed=0, rhythm=value) for value in (-3, 3))
    assert not np.array_equal(low, high)
    with pytest.raises(OptionError, match=r"notes is 9; choose -4.0 to 4.0"):
        inpaint(faders, picture, whole, notes=9)
    with pytest.raises(OptionError, match="beta is -1"):
        Faders("toy", beta=-1)


def test_as_many_cells_sound_as_are_expected():
    logits = (
        torch.randn(3, 3, 16, 16, generator=seeded()) - torch.tensor([0.0, 3, 4])[:, None, None]
    )
    made = likeliest_cells(logits)
    expected = (1 - logits.softmax(1)[:, 0]).flatten(1).sum(1).round()
    assert torch.equal((made > 0).flatten(1).sum(1).float(), expected)
    before = torch.nn.functional.pad(made, (1, -1))
    assert not ((made == 1) & (before == 0)).any()
    assert (logits.argmax(1) > 0).float().sum() < expected.sum() / 2


# Through a narrow place


def test_an_autoencoder_learns_its_windows_by_heart(cells):
    torch.manual_seed(0)
    model = Autoencoder("toy")
    adam = torch.optim.Adam(model.parameters(), lr=5e-3)
    batch = default_collate([{"cells": each} for each in cells[:2]])
    losses = []
    for _ in range(80):
        adam.zero_grad()
        loss = model.loss(batch, model, TrainOptions()).mean()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.35 * losses[0]
    assert losses[0] == pytest.approx(np.log2(3), abs=0.25)
