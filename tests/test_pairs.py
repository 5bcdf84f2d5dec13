"""The pair head: it hears what a convolution hears, only so far, and learns what follows what."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_song, seeded

from pomkit import OptionError, inpaint, load_model, masks, render, save_model
from pomkit.data.windows import Windows
from pomkit.networks.hdit import HDiT, HDiTConfig, Level
from pomkit.processes.categorical import CategoricalDenoiser
from pomkit.processes.cells import Cells
from pomkit.processes.pairs import PairHead, Pairs
from pomkit.processes.states import ONSET, SUSTAIN
from pomkit.training import TrainOptions, TrainSet, new_model

TOY = HDiTConfig(
    patch=(8, 16), levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32
)
STATES = 6
HIDDEN = STATES
WIDTH = 64
SMALL = Pairs(rows=5, columns=7, rounds=1)


def shown_of(cells: torch.Tensor) -> torch.Tensor:
    """Cells, int64 (batch, h, w), as the head sees them, float (batch, STATES + 1, h, w)."""
    return F.one_hot(cells, STATES + 1).movedim(-1, 1).float()


def question(height=20, width=24, seed=0):
    """Logits, random cells of which some are hidden, the region of both, and t."""
    generator = seeded(seed)
    cells = torch.randint(0, STATES + 1, (2, height, width), generator=generator)
    composed = torch.rand(2, 1, height, width, generator=generator) < 0.6
    composed |= (cells == HIDDEN)[:, None]
    logits = torch.randn(2, STATES, height, width, generator=generator)
    return logits, shown_of(cells), composed.float(), torch.tensor([0.2, 0.9])


def random_head(config: Pairs, seed=0) -> PairHead:
    head = PairHead(config, STATES)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(std=0.3, generator=seeded(seed))
    return head.eval()


def test_a_fresh_head_changes_no_answer():
    logits, *rest = question()
    assert torch.equal(PairHead(Pairs(), STATES)(logits, *rest), logits)


@pytest.mark.parametrize("config", [SMALL, Pairs(1, 1, 1), Pairs(9, 3, 1), Pairs(41, 49, 1)])
def test_it_hears_what_a_convolution_hears(config):
    logits, shown, composed, t = question()
    head = random_head(config)
    onset = shown[:, ONSET:STATES].sum(1, keepdim=True)
    sustain = shown[:, SUSTAIN : SUSTAIN + 1]
    chances = logits.softmax(1) * shown[:, HIDDEN:]
    begins = chances[:, ONSET:].sum(1, keepdim=True)
    heard = [onset * composed, onset * (1 - composed), sustain, begins, chances[:, 1:2]]

    edges = (config.rows // 2, config.columns // 2)
    said = F.conv2d(torch.cat(heard, 1), head.kernels[0], head.bias[0], padding=edges)
    said = said * (1 + head.loudness[0] * t.log()[:, None])[..., None, None]
    with torch.no_grad():
        more = head(logits, shown, composed, t) - logits
    torch.testing.assert_close(more[:, :1], torch.zeros_like(more[:, :1]))
    torch.testing.assert_close(more[:, 1:2], said[:, :1], rtol=0, atol=1e-4)
    # An onset is as much likelier at every velocity.
    torch.testing.assert_close(more[:, 2:], said[:, 1:].expand(-1, 4, -1, -1), rtol=0, atol=1e-4)


def test_two_rounds_are_one_round_after_the_other():
    logits, *rest = question()
    both = random_head(replace(SMALL, rounds=2))
    for number in (0, 1):
        alone = PairHead(SMALL, STATES)
        weights = {name: value[number : number + 1] for name, value in both.state_dict().items()}
        alone.load_state_dict(weights)
        with torch.no_grad():
            logits = alone(logits, *rest)
    with torch.no_grad():
        torch.testing.assert_close(both(question()[0], *rest), logits, rtol=0, atol=1e-4)


def test_a_note_is_heard_as_far_as_the_kernel_reaches_and_no_farther():
    cells = torch.zeros(1, 20, 24, dtype=torch.int64)
    composed = torch.ones(1, 1, 20, 24)
    logits = torch.zeros(1, STATES, 20, 24)
    head = random_head(SMALL)
    with_note = cells.clone()
    with_note[0, 9, 11] = ONSET
    with torch.no_grad():
        change = head(logits, shown_of(with_note), composed, torch.ones(1))
        change = change - head(logits, shown_of(cells), composed, torch.ones(1))
    heard = change[0, 1:3].abs().amax(0) > 1e-4
    rows, columns = np.nonzero(heard.numpy())
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 11, 8, 14)


def test_a_shifted_picture_gets_the_same_answer_shifted():
    def answer(row: int, column: int) -> torch.Tensor:
        cells = torch.full((1, 32, 40), HIDDEN)
        cells[0, row, column] = ONSET + 1
        logits = torch.zeros(1, STATES, 32, 40)
        with torch.no_grad():
            return head(logits, shown_of(cells), torch.ones(1, 1, 32, 40), torch.ones(1))

    head = random_head(SMALL)
    one = answer(12, 15)[..., 8:18, 9:22]
    other = answer(15, 20)[..., 11:21, 14:27]
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_it_learns_that_a_note_follows_another_two_rows_higher():
    torch.manual_seed(0)
    head = PairHead(SMALL, STATES)
    optimiser = torch.optim.Adam(head.parameters(), 0.1)
    height, width = 24, 16
    rng = np.random.default_rng(0)
    for _ in range(60):
        cells = torch.zeros(8, height, width, dtype=torch.int64)
        for number, row in enumerate(rng.integers(4, 20, 8)):
            cells[number, row, 5] = ONSET
            cells[number, row - 2, 8] = ONSET
        shown = cells.clone()
        shown[:, :, 8] = HIDDEN
        logits = torch.zeros(8, STATES, height, width)
        composed = (shown == HIDDEN)[:, None].float()
        said = head(logits, shown_of(shown), composed, torch.ones(8))
        loss = F.cross_entropy(said[..., 8], cells[..., 8])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    begins = said[..., 8].softmax(1)[:, ONSET]
    assert torch.equal(begins.argmax(1), cells[..., 8].argmax(1))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"rows": 24}, "odd numbers"),
        ({"columns": 0}, "whole numbers"),
        ({"rounds": 1.5}, "whole numbers"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(shape, said):
    with pytest.raises(OptionError, match=said):
        Pairs(**shape)


def pair_model(seed=0) -> Cells:
    torch.manual_seed(seed)
    config = replace(TOY, in_channels=Cells.in_channels(4, pairs=True), out_channels=STATES)
    model = Cells(HDiT(config), width=WIDTH, pair_head=SMALL).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture
def picture(rng):
    return render(make_song(rng), 0, WIDTH)


def test_a_model_keeps_its_pair_head_in_a_file(tmp_path, picture):
    model = pair_model()
    again = load_model(save_model(tmp_path / "pairs", model))
    assert again.spec() == model.spec()
    cells = torch.randint(0, STATES + 1, (1, 128, WIDTH))
    told = model.told(picture, masks.everything(picture))
    with torch.no_grad():
        answers = [each(cells, told, torch.ones(1)) for each in (model, again)]
    torch.testing.assert_close(*answers)


def test_a_model_that_gets_a_pair_head_answers_as_before():
    torch.manual_seed(0)
    config = replace(TOY, in_channels=Cells.in_channels(4), out_channels=STATES)
    plain = Cells(HDiT(config), width=WIDTH).eval()
    for parameter in plain.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    more = plain.extended(True, None, recalls=True, pair_head=Pairs())
    assert more.extended(True, None, recalls=True, pair_head=Pairs()) is more
    cells = torch.randint(0, STATES + 1, (2, 128, WIDTH))
    chords = torch.rand(2, 3, 128, WIDTH)
    region = (torch.rand(2, 1, 128, WIDTH) < 0.5).float()
    told = torch.cat([chords, torch.rand(2, 7, 128, WIDTH), region], 1)
    t = torch.tensor([0.3, 0.9])
    with torch.no_grad():
        torch.testing.assert_close(more(cells, told, t), plain(cells, chords, t))


def test_a_model_that_gets_more_keeps_what_its_pair_head_learned(picture):
    model = pair_model()
    more = model.extended(True, None, recalls=True)
    assert torch.equal(more.pair_head.kernels, model.pair_head.kernels)
    cells = torch.randint(0, STATES + 1, (1, 128, WIDTH))
    region = masks.bars(picture, 2, 3)
    with torch.no_grad():
        answers = [each(cells, each.told(picture, region), torch.ones(1)) for each in (model, more)]
    torch.testing.assert_close(*answers)


def test_it_is_told_which_cells_are_composed(picture):
    model = pair_model()
    region = masks.everything(picture) & masks.continuation(picture, 32)
    told = model.told(picture, masks.continuation(picture, 32))
    assert np.array_equal(told[0, -1].numpy() > 0, region)
    assert not model.told(picture)[0, -1].any()

    # What is known counts otherwise where it was composed just now than where it was given.
    cells = torch.from_numpy(model.encode(picture))[None]
    here, there = told.clone(), told.clone()
    there[:, -1] = 0
    with torch.no_grad():
        assert not torch.allclose(
            model(cells, here, torch.ones(1)), model(cells, there, torch.ones(1))
        )

        # A hidden cell is composed, whatever is told.
        hidden = cells.masked_fill(torch.from_numpy(region), HIDDEN)
        answers = [model(hidden, each, torch.ones(1)) for each in (here, there)]
    torch.testing.assert_close(*answers)


def test_training_tells_the_region_of_each_window(rng):
    windows = Windows([make_song(rng)], WIDTH, seed=0)
    item = TrainSet(windows, pair_model(), 4)[0]
    assert np.array_equal(item["chords"][-1] > 0, item["mask"])


def test_pictures_wider_than_a_window_are_composed_with_it(rng):
    picture = render(make_song(rng), 0, 4 * WIDTH)
    mask = masks.box(picture, (50, 80), (20, 200))
    made = inpaint(pair_model(), picture, mask, calls=2, seed=0)[0]
    assert (made[~mask] == picture[~mask]).all()


def test_only_a_cells_model_gets_one():
    with pytest.raises(OptionError, match="pairs is asked for"):
        new_model(TrainOptions(process="edm", pairs=True))
    with pytest.raises(OptionError, match="a pair head, which edm does not take"):
        CategoricalDenoiser.from_cells(pair_model(), None)
