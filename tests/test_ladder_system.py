"""What all systems of the ladder share: windows, masks, ways to answer, parts trained in turn."""

from itertools import product

import numpy as np
import pytest
import torch
from conftest import make_song, seeded
from safetensors.torch import load_file
from torch import nn

from pomkit import OptionError, Song, inpaint, masks, render
from pomkit.data.windows import Windows
from pomkit.errors import PomkitWarning
from pomkit.ladder import answering
from pomkit.ladder.system import (
    HIDDEN,
    ROWS,
    WINDOW,
    System,
    cut_window,
    has_shape,
    window_cells,
    with_beginnings,
)
from pomkit.processes.registry import FAMILIES
from pomkit.processes.states import OFF, ONSET, SUSTAIN
from pomkit.train import command_line
from pomkit.training import Trainer, TrainOptions


class Echo(System):
    """Fills the mask with onsets and remembers what it was shown."""

    process = "echo"
    answers = {"any": "N"}
    methods = {"fill": 1}
    sizes = {"tiny": {}}
    traits = {"loud": False}

    def build(self, loud):
        return nn.Linear(1, 1)

    def fill(self, cells, mask, request):
        self.seen = [*getattr(self, "seen", []), (cells, mask, request)]
        filled = torch.where(mask, ONSET, cells)
        request.tell(filled)
        return filled


def onsets(picture: np.ndarray) -> np.ndarray:
    return picture[..., 0] > 0


# Windows


def test_the_cells_are_those_of_the_known_pitches(rng):
    song = Song([(0, 2, 95, 80, 0), (4, 2, 32, 80, 0), (8, 2, 96, 80, 0), (12, 2, 31, 80, 0)])
    cells = window_cells(render(song, 0, 16))
    assert cells.shape == (64, 16)
    assert cells[0, :2].tolist() == [ONSET, SUSTAIN]
    assert cells[63, 4:6].tolist() == [ONSET, SUSTAIN]
    assert (cells != OFF).sum() == 4


def test_a_region_inside_a_window_is_filled_and_nothing_else(rng):
    picture = render(make_song(rng), 0, WINDOW)
    mask = masks.box(picture, (50, 80), (10, 40))
    model = Echo()
    out = inpaint(model, picture, mask)[0]
    assert (onsets(out) & mask).sum() == mask.sum()
    assert (out[~mask] == picture[~mask]).all()
    ((cells, asked, _),) = model.seen
    assert np.array_equal(asked.numpy(), mask[ROWS])
    assert (cells[0][asked] == HIDDEN).all()
    known = with_beginnings(window_cells(picture))[~mask[ROWS]]
    assert np.array_equal(cells[0][~asked].numpy(), known)


@pytest.mark.parametrize("width", [16, 40, 64, 80, 200, 1200])
def test_a_wide_region_is_filled_from_left_to_right_each_cell_once(rng, width):
    """With what was composed before in view; behind the picture's end all is asked for."""
    picture = render(make_song(rng, end=width), 0, width)
    model = Echo()
    mask = masks.everything(picture)
    out = inpaint(model, picture, mask)[0]
    assert np.array_equal(onsets(out)[ROWS], np.ones((64, width), bool))
    starts = [request.options.start for *_, request in model.seen]
    assert starts == sorted(set(starts))
    assert len(model.seen) == max(-(-(width - 32) // 32), 1)
    for cells, asked, request in model.seen:
        start, end = request.options.start, request.options.end
        assert end == min(WINDOW, width - start)
        assert asked[:, end:].all()
        assert (cells[0][~asked] == ONSET).all()
        assert start == 0 or not asked[:, :32].any()


@pytest.mark.parametrize("bars", [[0, 24, 48, 72, 96, 120], [0, 100, 200], [0, 7]])
@pytest.mark.parametrize("first", [0, 37, 99, 110])
def test_every_region_is_reached_whatever_the_bars_are(rng, bars, first):
    picture = render(make_song(rng, end=120), 0, 120)
    mask = masks.box(picture, (40, 90), (first, 119))
    model = Echo()
    out = inpaint(model, picture, mask, bars=bars)[0]
    assert (onsets(out) & mask).sum() == mask.sum()
    assert (out[~mask] == picture[~mask]).all()


def test_calls_of_all_windows_are_told_as_one_row(rng):
    picture = render(make_song(rng, end=200), 0, 200)
    events = []
    inpaint(Echo(), picture, masks.everything(picture), callback=events.append)
    assert [event["i"] for event in events] == list(range(len(events)))
    assert [event["n"] for event in events] == [len(events)] * len(events)
    assert events[0]["preview"]()[0][ROWS, 64:].sum() == 0
    assert onsets(events[0]["preview"]()[0])[ROWS, :64].all()


def test_masked_notes_beyond_the_known_pitches_become_off_and_are_told_once():
    song = Song([(0, 4, 100, 80, 0), (4, 4, 25, 80, 0), (8, 4, 110, 80, 0), (12, 4, 60, 80, 0)])
    picture = render(song, 0, 64)
    mask = masks.box(picture, (20, 105), (0, 63))
    model = Echo()
    with pytest.warns(PomkitWarning, match="from 25 to 100") as told:
        out = inpaint(model, picture, mask)[0]
        inpaint(model, picture, mask)
    assert len(told) == 1
    beyond = mask.copy()
    beyond[ROWS] = False
    assert not out[beyond].any()
    assert (out[~mask] == picture[~mask]).all()


@pytest.mark.filterwarnings("error")
def test_nothing_is_told_where_nothing_is_lost():
    picture = render(Song([(0, 4, 100, 80, 0), (4, 4, 60, 80, 0)]), 0, 64)
    inpaint(Echo(), picture, masks.box(picture, (20, 99), (0, 63)))
    inpaint(Echo(), picture, masks.bars(picture, 2, 3))


def test_composed_notes_have_one_velocity_and_known_ones_keep_theirs(rng):
    picture = render(make_song(rng), 0, 64)
    mask = masks.bars(picture, 2)
    out = inpaint(Echo(), picture, mask)[0]
    inside = mask.copy()
    inside[: ROWS.start] = inside[ROWS.stop :] = False
    assert set(out[inside][:, 0].tolist()) == {170}


def test_masked_chord_rows_are_estimated(rng):
    picture = render(Song([(0, 64, 60, 80, 0), (0, 64, 64, 80, 0), (0, 64, 67, 80, 0)]), 0, 64)
    mask = masks.chords(picture)
    out = inpaint(Echo(), picture, mask)[0]
    assert out[mask].any()
    assert (out[~mask] == picture[~mask]).all()


@pytest.mark.parametrize("width", [64, 100, 256])
def test_a_training_window_of_any_width_is_cut_on_a_bar_line(rng, width):
    windows = Windows([make_song(rng, end=400)], width, seed=1)
    for number in range(8):
        window = windows[number]
        cut = cut_window(window, np.random.default_rng(number))
        start = cut.start - window.start
        assert start in (*window.bars, 0)
        assert cut.picture.shape == (128, WINDOW, 3)
        assert cut.bars[0] == 0
        assert cut.bars[-1] >= WINDOW
        before = window_cells(window.picture)[:, start : start + WINDOW]
        assert np.array_equal(window_cells(cut.picture), with_beginnings(before))
        assert np.array_equal(cut.mask, window.mask[:, start : start + WINDOW])


def test_windows_that_are_too_narrow_are_one_clear_error():
    with pytest.raises(OptionError, match="width is 48; echo models learn windows of 64 steps"):
        Echo.from_options(TrainOptions(width=48))


def test_options_of_ones_own_are_checked_and_kept():
    with pytest.raises(OptionError, match="for echo models the option 'quiet' is unknown"):
        Echo(quiet=True)
    with pytest.raises(OptionError, match="model 'huge' is unknown"):
        Echo("huge")
    again = Echo.from_spec(Echo(loud=True).spec())
    assert again.own == {"loud": True}


# Which masks

SHAPE_OF = {
    "everything": np.ones((64, 64), bool),
    "continuation": np.arange(64) >= np.full((64, 1), 20),
    "columns": np.isin(np.arange(64), [3, 4, 9]) & np.ones((64, 1), bool),
    "below": np.arange(64)[:, None] >= np.full(64, 30),
}


def test_shapes_are_told_apart():
    known = {
        "everything": {"everything", "continuation", "columns", "below", "any"},
        "continuation": {"continuation", "columns", "any"},
        "columns": {"columns", "any"},
        "below": {"below", "any"},
    }
    names = [*SHAPE_OF, "any"]
    found = {
        name: {shape for shape in names if has_shape(mask, shape)}
        for name, mask in SHAPE_OF.items()
    }
    assert found == known
    box = SHAPE_OF["below"] & SHAPE_OF["continuation"]
    assert {shape for shape in names if has_shape(box, shape)} == {"any"}


def test_a_mask_that_is_not_answered_is_one_clear_error(rng):
    class Ahead(Echo):
        process = "ahead"
        answers = {"continuation": "N"}

    picture = render(make_song(rng), 0, 64)
    match = "ahead models do not answer; give one that hides all pitches from one column"
    with pytest.raises(OptionError, match=match):
        inpaint(Ahead(), picture, masks.bars(picture, 2))
    for mask in (masks.continuation(picture, 16), masks.everything(picture)):
        assert inpaint(Ahead(), picture, mask).shape == (1, 128, 64, 3)
    elsewhere = masks.box(picture, (10, 20), (0, 9))
    assert (inpaint(Ahead(), picture, elsewhere)[0][~elsewhere] == picture[~elsewhere]).all()


# Ways to answer: an autoregressive model that is a table, over 2 x 3 cells in time order.

STATES = 3
H, W = 2, 3
ORDER = torch.arange(H * W).reshape(W, H).T.contiguous()  # (2, 3): column by column


def table(seed: int = 0):
    """Logits that depend on all cells before a cell, in a way of their own for each history."""
    weights = torch.randn(H * W, H * W, STATES, STATES, generator=seeded(seed), dtype=torch.float64)

    def ask(cells):
        flat = cells.mT.flatten(1)  # (batch, 6), in the order
        logits = torch.zeros(len(cells), H * W, STATES, dtype=torch.float64)
        for at in range(H * W):
            for before in range(at):
                logits[:, at] += weights[at, before][flat[:, before]]
        return logits.reshape(-1, W, H, STATES).permute(0, 3, 2, 1)  # (batch, states, 2, 3)

    return ask


ALL = torch.tensor(list(product(range(STATES), repeat=H * W))).reshape(-1, H, W)  # (729, 2, 3)


def test_the_probabilities_of_all_pictures_sum_to_one():
    nats = answering.log_probability(table()(ALL), ALL, torch.ones(H, W, dtype=torch.bool))
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-12)


def one_by_one(ask, cells, mask, u):
    """Draw the masked cells one after the other."""
    cells = torch.where(mask, OFF, cells)
    for place in range(H * W):
        here = (place == ORDER) & mask
        cells = torch.where(here, answering.draw_state(ask(cells), u), cells)
    return cells


MASKS = [
    [[1, 1, 1], [1, 1, 1]],
    [[0, 1, 1], [0, 1, 1]],
    [[1, 1, 1], [0, 0, 0]],
    [[1, 0, 0], [0, 1, 0]],
]


@pytest.mark.parametrize("mask", MASKS)
def test_the_fixed_point_is_what_is_drawn_one_by_one(mask):
    mask = torch.tensor(mask, dtype=torch.bool)
    ask = table()
    cells = ALL[torch.randint(len(ALL), (500,), generator=seeded(1))]
    u = torch.rand(500, H, W, generator=seeded(2), dtype=torch.float64)
    told = []
    drawn, calls = answering.fixed_point(
        ask, cells, mask, u, tell=lambda state, left: told.append(left)
    )
    assert torch.equal(drawn, one_by_one(ask, cells, mask, u))
    assert torch.equal(drawn[:, ~mask], cells[:, ~mask])
    assert calls == len(told) <= mask.sum() + 1
    assert told[-1] == 0
    assert all(left > 0 for left in told[:-1])


def test_the_state_that_is_drawn_has_its_probability():
    logits = torch.tensor([0.2, 0.5, 0.3]).log().reshape(1, 3, 1, 1)
    u = torch.linspace(0, 1, 1001)[:-1].reshape(-1, 1, 1)
    counts = answering.draw_state(logits.expand(1000, 3, 1, 1), u).flatten().bincount()
    assert counts.tolist() == pytest.approx([200, 500, 300], abs=1)


def posterior(ask, mask, known) -> torch.Tensor:
    """The exact p(masked cells | known cells) of the table: float (729,), 0 where they differ."""
    nats = answering.log_probability(ask(ALL), ALL, torch.ones(H, W, dtype=torch.bool))
    fits = (known == ALL)[:, ~mask].all(1)
    return torch.where(fits, nats, -torch.inf).softmax(0)


def shares(drawn: torch.Tensor) -> torch.Tensor:
    """How often each of all pictures was drawn, float (729,)."""
    digits = drawn.flatten(1) @ (STATES ** torch.arange(H * W - 1, -1, -1))
    return digits.bincount(minlength=len(ALL)) / len(drawn)


@pytest.mark.parametrize("stages", [1, 4])
def test_many_particles_answer_as_the_posterior_does_and_a_clamp_does_not(stages):
    """A mask of the first row: of each masked cell the one below it comes later, and is known."""
    mask = torch.tensor(MASKS[2], dtype=torch.bool)
    ask = table(3)
    known = ALL[300]
    cells = known.expand(2000, H, W)
    exact = posterior(ask, mask, known)
    clamped = answering.clamp(ask, cells, mask, generator=seeded(4))
    weighed, worth = answering.particles(
        ask, cells, mask, ORDER, count=48, stages=stages, generator=seeded(5)
    )
    assert (shares(weighed) - exact).abs().sum() < 0.15
    assert (shares(clamped) - exact).abs().sum() > 0.3
    assert torch.equal(weighed[:, ~mask], cells[:, ~mask])
    assert ((worth >= 1) & (worth <= 48)).all()


def test_where_nothing_known_comes_later_one_particle_is_enough():
    mask = torch.tensor(MASKS[1], dtype=torch.bool)
    told = []
    _, worth = answering.particles(
        table(),
        ALL[:4],
        mask,
        ORDER,
        count=9,
        generator=seeded(),
        tell=lambda *a, **k: told.append(k),
    )
    assert worth.tolist() == [1.0] * 4
    assert told == [{}] * len(told)


def test_stages_divide_the_masked_cells_and_follow_the_order():
    mask = torch.tensor(MASKS[2], dtype=torch.bool)
    parts = answering.stages_of(mask, ORDER, 3)
    assert [int((part & mask).sum()) for part in parts] == [1, 1, 1]
    assert torch.equal(torch.stack(parts).sum(0), torch.ones(H, W, dtype=torch.int64))
    assert all(ORDER[a].max() < ORDER[b].min() for a, b in zip(parts, parts[1:], strict=False))


def test_weights_that_differ_little_are_worth_all_particles():
    assert answering.effective_size(torch.zeros(1, 8)).item() == pytest.approx(8)
    one = torch.tensor([[0.0] + [-1e3] * 7])
    assert answering.effective_size(one).item() == pytest.approx(1)


def test_a_latent_search_finds_the_picture_that_is_known():
    """Latents that are the log-odds of an onset: the known half of the picture decides theirs."""
    target = torch.randint(2, (3, 4, 6), generator=seeded()) * ONSET
    known = torch.zeros(4, 6, dtype=torch.bool)
    known[:, :3] = True

    def draw(z):
        odds = 4 * z.reshape(-1, 4, 6)
        return torch.stack([-odds, torch.full_like(odds, -9), odds], 1)

    told = []
    with torch.no_grad():
        z, cost = answering.latent_search(
            draw, target, ~known, torch.zeros(3, 24), calls=60, tell=lambda *a: told.append(a[1])
        )
    found = draw(z).argmax(1)
    assert torch.equal(found[:, known], target[:, known])
    assert (cost < 24 * np.log(3)).all()
    assert told == list(range(59, -1, -1))


# Training in turn


class Pair(System):
    """Two weights that pull at each other: `left` at every step, `right` at each third."""

    process = "pair"
    answers = {"any": "N"}
    methods = {"fill": 1}
    sizes = {"tiny": {}}
    parts = {"left": "network.left", "right": "network.right"}

    def build(self):
        network = nn.ParameterDict({"left": torch.ones(3), "right": torch.full((3,), 2.0)})
        network.register_buffer("count", torch.tensor(0))
        return network

    def turns(self, step):
        return ["left", "right"] if step % 3 == 2 else ["left"]

    def after_step(self, part):
        self.network.count += 1
        self.done = [*getattr(self, "done", []), part]
        with torch.no_grad():
            self.network[part].clamp_(-1.5, 1.5)

    def loss(self, batch, forward, options, part):
        lit = (batch["cells"] > 0).float().mean((1, 2))
        product = (self.network["left"] * self.network["right"]).sum() * (1 + lit)
        product.sum().backward(retain_graph=True) if torch.is_grad_enabled() else None
        other = "right" if part == "left" else "left"
        assert self.network[other].grad is None
        self.network[part].grad = None
        return product if part == "left" else -product

    def fill(self, cells, mask, request):
        return torch.where(mask, OFF, cells)


def pair_options(out, **changes) -> TrainOptions:
    common = dict(process="pair", width=WINDOW, batch=2, save_every=4, sample_every=100, threads=1)
    return TrainOptions(out=str(out), **common | dict(valid_windows=2, lr=0.1, steps=8) | changes)


@pytest.fixture
def pair(monkeypatch, undrawn):
    monkeypatch.setitem(FAMILIES, "pair", Pair)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_parts_are_stepped_in_turn_and_gradients_do_not_leak(pair, tmp_path):
    trainer = Trainer(pair_options(tmp_path), progress=False)
    trainer.run()
    assert trainer.model.done == ["left", "left", "left", "right"] * 2 + ["left", "left"]
    ages = [trainer.optimizer.state[trainer.model.network[part]]["step"] for part in Pair.parts]
    assert ages == [8, 2]
    assert trainer.ema.network.count == trainer.model.network.count == 10


def test_a_run_of_two_parts_resumes_to_the_same_weights(pair, tmp_path):
    whole = Trainer(pair_options(tmp_path / "whole"), progress=False).run()
    half = Trainer(pair_options(tmp_path / "parts"), progress=False)
    save = half._save

    def save_and_stop():
        save()
        raise KeyboardInterrupt

    half._save = save_and_stop
    with pytest.raises(KeyboardInterrupt):
        half.run()
    parts = Trainer(pair_options(tmp_path / "parts"), resume=True, progress=False).run()
    one, other = load_file(whole), load_file(parts)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one["network.left"].tolist() != [1.0] * 3


def test_a_run_ends_with_its_minutes_of_cpu_time(pair, tmp_path, monkeypatch):
    """A clock that every step takes a second of: 0.1 minutes are 6 steps, and the rate falls."""
    clock = iter(range(10**6))
    monkeypatch.setattr("time.process_time", lambda: float(next(clock)))
    o = pair_options(tmp_path, minutes=0.1, steps=2, cooldown=0.5, warmup=0)
    trainer = Trainer(o, progress=False)
    rates = []
    average = trainer._average
    monkeypatch.setattr(
        trainer, "_average", lambda: (rates.append(trainer.rate(trainer.step)), average())
    )
    trainer.run()
    assert trainer.step == 6
    assert rates == pytest.approx([1, 1, 1, 1, 2 / 3, 1 / 3])
    assert trainer.ema.card == {}
    again = Trainer(o, resume=True, progress=False)
    again.run()
    assert again.step == 6


def test_minutes_are_an_option_of_the_command_and_a_number(pair, tmp_path):
    assert command_line().parse_args(["--minutes", "15"]).minutes == 15
    with pytest.raises(OptionError, match="minutes is -1"):
        Trainer(pair_options(tmp_path, minutes=-1), progress=False)
