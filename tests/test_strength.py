"""Graded masks: strength 1 is a plain mask, 0 none, and between them the noise decides.

The oracle: independent pixels of a normal distribution, of which the exact denoiser is known. Along
the deterministic walk a pixel that opens at sigma ends at (x0 + sigma z) / sqrt(1 + sigma^2).
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_song, seeded

from pomkit import OptionError, inpaint, masks, render
from pomkit.networks.hdit import CONFIGS, HDiTConfig, Level
from pomkit.processes.samplers import repaint
from pomkit.processes.schedules import karras_sigmas
from pomkit.processes.states import encode_cells
from pomkit.training import TrainOptions, new_model

TOY = HDiTConfig(
    patch=(8, 16), levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32
)
WIDTH = 64
COLUMNS = 3 * WIDTH + 9
CALLS = 6


@pytest.fixture(scope="module", params=["cells", "pixels"])
def model(request):
    torch.manual_seed(0)
    CONFIGS["toy"] = TOY
    options = TrainOptions(process="edm", model="toy", width=WIDTH, head=request.param)
    model = new_model(options).eval()
    del CONFIGS["toy"]
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture
def picture(rng):
    song = make_song(rng, count=400, end=COLUMNS)
    # The pixels head takes what is almost black for black.
    notes = song.notes.copy()
    notes["velocity"] = np.maximum(notes["velocity"], 40)
    return render(replace(song, notes=notes), 0, COLUMNS)


def cells(picture):
    return encode_cells(picture, (85,))


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_a_normal_pixel_ends_where_the_exact_walk_ends(strength):
    sigmas = karras_sigmas(200, 0.01, 10.0)
    start = sigmas[200 - round(200 * strength)]
    x0 = torch.full((1, 1, 100, 200), 1.5)

    def exact(x, sigma):
        return x / (1 + sigma.reshape(-1, 1, 1, 1) ** 2)

    mask = torch.ones_like(x0, dtype=torch.bool)
    given = {"strength": strength, "sampler": "heun", "generator": seeded(1)}
    x = repaint(exact, x0, mask, sigmas, **given)
    scale = (1 + start**2).sqrt()
    # At strength 1 the first noise lies about `middle`, 0, and nothing is known of x0.
    mean = 0.0 if strength == 1 else 1.5 / scale
    assert abs(x.mean() - mean) < 0.03
    assert abs(x.std() - start / scale) < 0.03


@pytest.mark.parametrize("method", ["conditioned", "repaint"])
def test_strength_one_everywhere_is_the_plain_mask(model, picture, method):
    mask = masks.everything(picture)
    given = {"method": method, "calls": CALLS, "seed": 3}
    if method not in model.methods:
        pytest.skip("this head was not told of known pixels")
    plain = inpaint(model, picture, mask, **given)
    graded = inpaint(model, picture, mask, strength=np.ones(mask.shape), **given)
    assert np.array_equal(plain, graded)


def test_strength_zero_keeps_the_cells(model, picture):
    result = inpaint(model, picture, masks.everything(picture), strength=0, calls=CALLS, seed=1)
    assert np.array_equal(cells(result[0]), cells(picture))


def test_each_pixel_has_its_own_strength_in_every_window(model, picture):
    # An upbeat and three windows: the strength must be cut where the picture is.
    strength = np.ones((128, COLUMNS))
    strength[:, 40:90] = 0
    strength[64:, 130:] = 0
    lines = list(range(9, COLUMNS, 16))
    mask = masks.everything(picture)
    given = {"bars": lines, "calls": CALLS, "seed": 1}
    result = inpaint(model, picture, mask, strength=strength, **given)[0]
    changed = cells(result) != cells(picture)
    held = strength == 0
    # A note that began in the open part may not sound on: a broken end is cleared.
    after = np.roll(held, 1, axis=1) & held
    assert not (changed & after & (cells(result) > 0)).any()
    assert changed[~held].any()


def test_a_low_strength_departs_less(model, picture):
    mask = masks.everything(picture)
    changes = []
    for strength in (0.0, 0.4, 1.0):
        result = inpaint(model, picture, mask, strength=strength, calls=10, seed=2)
        changes.append(int((cells(result[0]) != cells(picture)).sum()))
    assert changes == sorted(changes)
    assert changes[0] < changes[2]


@pytest.mark.parametrize("wrong", [-0.1, 1.5, np.nan, "much", np.ones(7), np.ones((64, 12))])
def test_a_wrong_strength_is_refused(model, picture, wrong):
    with pytest.raises(OptionError, match="give a number from 0 to 1"):
        inpaint(model, picture, masks.everything(picture), strength=wrong)


@pytest.mark.parametrize("columns", [COLUMNS - 1, COLUMNS + 1])
def test_a_strength_of_another_width_is_refused(model, picture, columns):
    with pytest.raises(OptionError, match=f"strength has {columns} columns"):
        inpaint(model, picture, masks.everything(picture), strength=np.ones((128, columns)))
