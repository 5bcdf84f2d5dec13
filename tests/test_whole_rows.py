"""The cells head that learned with the chain: its states are those of whole rows.

The oracle is the chain over full rows, which test_chain holds to counting.
"""

import numpy as np
import pytest
import torch
from conftest import make_song, seeded
from test_categorical import WIDTH, options, toy_size, with_random_weights  # noqa: F401

from pomkit import inpaint, masks, parse, render, save_model
from pomkit.errors import OptionError
from pomkit.processes import chain
from pomkit.processes.categorical import CategoricalDenoiser
from pomkit.processes.checkpoint import load_model
from pomkit.processes.heads import Edm
from pomkit.processes.states import encode_cells
from pomkit.training import TrainOptions, new_model

WHOLE = {"whole_rows": True}
CELLS = TrainOptions(process="cells", model="toy", width=WIDTH, **WHOLE)


@pytest.fixture
def model() -> CategoricalDenoiser:
    torch.manual_seed(0)
    return with_random_weights(new_model(options(**WHOLE)))


@pytest.fixture
def picture(rng) -> np.ndarray:
    return render(make_song(rng), 0, WIDTH)


REGIONS = {
    "bars": masks.bars(WIDTH, 2, 3),
    "the end": masks.continuation(WIDTH, 20),
    "all": masks.everything(WIDTH),
    "a stroke": masks.stroke(WIDTH, [(5, 40), (50, 90)], 4),
}


def asked(model: CategoricalDenoiser, picture: np.ndarray, region: np.ndarray, sigma: float):
    """Noisy pixels, their level and what is known."""
    x0 = model.encode(picture[None])
    noisy = x0 + sigma * torch.randn(x0.shape, generator=seeded(2))
    mask = torch.from_numpy(region)[None, None]
    return (noisy, torch.full((1,), sigma)), {"known": x0, "mask": mask}


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
@pytest.mark.parametrize("sigma", [0.2, 1.0, 20.0])
def test_its_answer_is_the_mean_over_whole_rows(model, picture, region, sigma):
    where, known = asked(model, picture, region, sigma)
    cells = torch.from_numpy(encode_cells(picture))[None]
    raw = model(*where, **known, as_logits=True, in_rows=False)
    p = chain.marginals(chain.with_known(raw, known["mask"], cells), begin=1.0)

    # Only what is composed differs from the known pixels.
    expected = torch.where(known["mask"], model.mean_colour(p), known["known"])
    torch.testing.assert_close(model(*where, **known), expected, rtol=0, atol=2e-4)


def test_where_nothing_is_composed_the_picture_comes_back(model, picture):
    where, known = asked(model, picture, np.zeros((128, WIDTH), bool), 1.0)
    assert torch.equal(model(*where, **known), known["known"])


def batch_of(picture: np.ndarray, region: np.ndarray) -> dict[str, torch.Tensor]:
    """A batch of one window at noise level 1."""
    return {
        "cells": torch.from_numpy(encode_cells(picture))[None],
        "mask": torch.from_numpy(region)[None],
        "chords": torch.zeros(1, 3, 128, WIDTH),
        "noise": torch.randn(1, 3, 128, WIDTH, generator=seeded(4)),
        "sigma": torch.ones(1),
    }


def test_its_loss_is_less_than_that_of_cells_one_by_one(model, picture):
    """Rows that break the rule are none of its possibilities, so the others are likelier."""
    batch = batch_of(picture, masks.everything(WIDTH))
    whole = model.loss(batch, model, options(**WHOLE))
    model.whole_rows = False
    by_cell = model.loss(batch, model, options())
    assert float(whole.detach()) < float(by_cell.detach())


def test_the_loss_of_one_cell_is_its_surprise_given_all_others(model, picture):
    region = np.zeros((128, WIDTH), bool)
    region[67, 20] = True
    batch = batch_of(picture, region)
    x0 = model.encode(picture[None])
    mask = batch["mask"][:, None]
    ask = {"known": x0, "mask": mask, "chords": batch["chords"], "as_logits": True}
    raw = model(x0 + batch["noise"], batch["sigma"], **ask, in_rows=False)

    p = chain.marginals(chain.with_known(raw, mask, batch["cells"]), begin=1.0)
    state = batch["cells"][batch["mask"]].item()
    said = p.movedim(1, -1)[batch["mask"]][0, state]
    loss = model.loss(batch, model, options(**WHOLE)).detach()
    assert float(loss) == pytest.approx(float(-said.detach().log2()), rel=1e-4)


def test_it_is_remembered_by_specification_and_file(model, tmp_path):
    assert Edm.from_spec(model.spec()).whole_rows
    older = {name: value for name, value in model.spec().items() if name != "whole_rows"}
    assert not Edm.from_spec(older).whole_rows
    path = save_model(tmp_path / "whole", model)
    assert load_model(path).whole_rows


def test_a_model_that_did_not_learn_rows_can_be_fine_tuned_to_them(tmp_path):
    path = save_model(tmp_path / "cells", new_model(options()))
    tuned = new_model(options(init=str(path), **WHOLE))
    assert tuned.whole_rows
    again = save_model(tmp_path / "rows", tuned)
    assert new_model(options(init=str(again))).whole_rows


def test_pixels_know_no_rows():
    with pytest.raises(OptionError, match="whole_rows is True, but Denoiser knows no states"):
        new_model(options(head="pixels", **WHOLE))


def hide(cells: torch.Tensor, region: np.ndarray) -> torch.Tensor:
    return cells.masked_fill(torch.from_numpy(region), 6)


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_hidden_cells_are_told_as_parts_of_whole_rows(picture, region):
    torch.manual_seed(0)
    model = with_random_weights(new_model(CELLS))
    cells = torch.from_numpy(encode_cells(picture))[None]
    seen = (hide(cells, region), torch.zeros(1, 3, 128, WIDTH), torch.ones(1))
    raw = model(*seen, in_rows=False)
    mask = torch.from_numpy(region)[None, None]
    p = chain.marginals(chain.with_known(raw, mask, cells), begin=1.0)
    inside = mask.expand_as(p)
    torch.testing.assert_close(model(*seen).softmax(1)[inside], p[inside], rtol=0, atol=2e-4)


def test_cells_remember_it_and_hand_it_on(tmp_path):
    path = save_model(tmp_path / "cells", new_model(CELLS))
    assert load_model(path).whole_rows
    begun = new_model(options(init=str(path)))
    assert isinstance(begun, CategoricalDenoiser)
    assert begun.whole_rows


@pytest.mark.parametrize("density", [None, 6])
def test_cells_of_whole_rows_compose(picture, density):
    torch.manual_seed(0)
    model = with_random_weights(new_model(CELLS))
    region = masks.bars(picture, 2, 3)
    out = inpaint(model, picture, region, seed=1, steps=4, density=density)
    assert np.array_equal(out[0][~region], picture[~region])
    assert out.refused[0] == 0


@pytest.mark.parametrize("method", ["conditioned", "repaint"])
def test_it_composes_whole_notes_and_keeps_the_rest(model, picture, method):
    region = masks.bars(picture, 2, 3)
    out = inpaint(model, picture, region, seed=1, steps=4, method=method)
    assert np.array_equal(out[0][~region], picture[~region])
    assert out.refused[0] == 0
    assert len(parse(out[0]).notes)
