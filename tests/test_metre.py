"""The metre: windows on bars of every metre, and models that are told where bars begin."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_song

from pomkit import OptionError, Song, compose, inpaint, load_model, masks, render, save_model
from pomkit.composing import region
from pomkit.composing.options import check_options
from pomkit.data import Windows, random_mask
from pomkit.data.windows import with_silence
from pomkit.music.bars import BAR_CHANNELS, bar_position, later_meters
from pomkit.networks.attention import Level
from pomkit.networks.hdit import HDiT, HDiTConfig
from pomkit.networks.local import Local
from pomkit.processes.categorical import CategoricalDenoiser
from pomkit.processes.cells import Cells
from pomkit.processes.states import told_channels
from pomkit.training.examples import TrainSet
from pomkit.training.options import TrainOptions

WIDTH = 64
SHAPE = dict(
    patch=(8, 16), levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32
)


def shaken(model):
    """The model with random weights everywhere: a new network answers zeros."""
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def cells_model(bar_position=False, local=None):
    channels = Cells.in_channels(4, bar_position)
    return shaken(Cells(HDiT(HDiTConfig(channels, 6, local=local, **SHAPE)), width=WIDTH))


def noise_model(bar_position=False):
    channels = CategoricalDenoiser.in_channels(4, bar_position)
    network = HDiT(HDiTConfig(channels, 6, local=Local(), **SHAPE))
    return shaken(CategoricalDenoiser(network, width=WIDTH))


def song_in(meters, bars=(), end=400):
    song = make_song(np.random.default_rng(2), end=end, chords=False)
    return replace(song, meters=meters, bars=bars)


@pytest.mark.parametrize(
    "meter, bar, beat",
    [((4, 4), 16, 4), ((3, 4), 12, 4), ((2, 4), 8, 4), ((6, 8), 12, 6), ((2, 2), 16, 8)],
)
def test_a_column_is_told_its_bar_and_beat_in_every_metre(meter, bar, beat):
    song = song_in(((0, *meter),))
    position = bar_position(song.bar_lines(), song.meters, WIDTH)
    columns = np.arange(WIDTH)
    assert position.shape == (BAR_CHANNELS, WIDTH)
    assert np.array_equal(position[0] > 0, columns % bar == 0)
    assert np.array_equal(position[1] > 0, columns % beat == 0)
    angle = np.arctan2(position[2], position[3]) / (2 * np.pi) % 1
    assert np.allclose(angle * bar % bar, columns % bar, atol=1e-4)

    # Nothing known is all 0, which no column is.
    assert (position[2] ** 2 + position[3] ** 2).min() > 0.99


def test_without_bars_those_of_four_quarters_are_told():
    assert np.array_equal(
        bar_position(None, (), WIDTH), bar_position(range(0, 64, 16), ((0, 4, 4),), WIDTH)
    )


def test_a_change_of_metre_is_told_where_it_stands():
    lines = [0, 16, 28, 40, 48]
    position = bar_position(lines, ((0, 4, 4), (16, 6, 8), (40, 2, 4)), 56)
    assert np.flatnonzero(position[0]).tolist() == [0, 16, 28, 40, 48]
    assert np.flatnonzero(position[1]).tolist() == [
        *(0, 4, 8, 12), *range(16, 40, 6), *(40, 44, 48, 52)
    ]  # fmt: skip


def test_meters_move_with_the_music():
    meters = ((0, 3, 4), (24, 6, 8), (48, 4, 4))
    assert later_meters(meters, 8) == ((0, 3, 4), (32, 6, 8), (56, 4, 4))
    assert later_meters(meters, -30) == ((0, 6, 8), (18, 4, 4))


# Windows


@pytest.mark.parametrize("meter, bar", [((3, 4), 12), ((6, 8), 12), ((2, 4), 8), ((2, 2), 16)])
def test_windows_begin_on_bars_and_are_masked_by_bars(meter, bar):
    song = song_in(((0, *meter),))
    windows = Windows([song], WIDTH, mix={"bars": 1.0}, chord_dropout=0)
    seen = set()
    for i in range(40):
        window = windows[i]
        assert window.start % bar == 0
        assert window.bars == (*range(0, WIDTH, bar), -(-WIDTH // bar) * bar)
        assert window.meters[0][1:] == meter
        columns = window.mask.any(axis=0)
        edges = np.flatnonzero(np.diff(np.r_[0, columns, 0]))
        assert all(edge % bar == 0 or edge == WIDTH for edge in edges.tolist())
        seen.add(window.start)
    assert len(seen) > 10


def test_a_pickup_is_made_a_whole_bar_by_silence():
    """As `inpaint` has it: the window begins with the bar that the pickup ends."""
    bars = (0, 4, *range(16, 200, 12))
    song = song_in(((0, 3, 4),), bars)
    windows = Windows([song], WIDTH, semitones=(0, 0))
    first = next(window for i in range(200) if (window := windows[i]).start < 0)
    assert first.start == -8
    assert first.bars[:3] == (0, 12, 24)
    assert not first.picture[8:120, :8].any()
    assert np.array_equal(first.picture[:, 8:], render(song, 0, WIDTH - 8))
    assert {windows[i].start % 12 for i in range(100)} == {4}

    # The layout of the same song.
    model = cells_model(True)
    mask = masks.everything(WIDTH)
    layout = region.lay_out(model, render(song, 0, WIDTH), mask, bars[:6], meters=song.meters)
    assert layout.lead == 8
    told = bar_position(first.bars, first.meters, WIDTH)
    assert np.array_equal(layout.position[:, :WIDTH], told)


def test_silence_before_a_song_grows_its_first_bar():
    song = song_in(((0, 3, 4), (40, 4, 4)), (0, 4, 16, 28, 40, 56))
    later = with_silence(song, 8)
    assert later.bars[:6] == (0, 12, 24, 36, 48, 64)
    assert later.meters == ((0, 3, 4), (48, 4, 4))
    assert np.array_equal(later.notes["onset"], song.notes["onset"] + 8)
    assert with_silence(song, 0) is song


def test_masks_of_bars_end_with_the_window_where_no_bar_does():
    song = song_in(((0, 3, 4),))
    drawn = [random_mask(np.random.default_rng(i), song, 0, 64, {"bars": 1.0}) for i in range(60)]
    ends = {int(np.flatnonzero(mask.any(axis=0))[-1]) + 1 for mask in drawn}
    assert ends <= {12, 24, 36, 48, 60, 64}
    assert 64 in ends


# Models that are told


def test_models_that_are_not_told_answer_as_before():
    """Whatever metre is given, bit for bit."""
    model = load_model("tiny-edm")
    assert not model.bar_position
    assert "bar_position" not in model.spec()
    picture = render(song_in(((0, 6, 8),)), 0, 64)
    mask = masks.box(64, (40, 80), (16, 40))
    options = dict(seed=1, calls=2, bars=(0, 16, 32, 48))
    plain = inpaint(model, picture, mask, **options)
    told = inpaint(model, picture, mask, **options, meters=((0, 6, 8), (32, 2, 2)))
    assert np.array_equal(plain, told)


@pytest.mark.parametrize("local", [None, Local()])
def test_weights_without_the_position_answer_as_before(local):
    old = cells_model(local=local)
    new = old.extended(bar_position=True, local=Local())
    assert new.bar_position
    assert new.network.config.local

    cells = torch.randint(0, 7, (2, 128, WIDTH))
    chords = torch.rand(2, 3, 128, WIDTH)
    told = torch.cat([chords, torch.randn(2, BAR_CHANNELS, 128, WIDTH)], 1)
    t = torch.tensor([0.3, 0.9])
    with torch.inference_mode():
        before = old(cells, chords, t)
        after = new.eval()(cells, told, t)
    assert torch.allclose(before, after, atol=1e-4)
    assert new.extended(bar_position=True, local=None) is new


def test_weights_of_the_noise_model_without_the_position_answer_as_before():
    old = noise_model()
    old.offset.fill_(0.25)
    new = old.told_of_bars()
    x = torch.randn(2, 3, 128, WIDTH)
    chords = torch.rand(2, 3, 128, WIDTH)
    told = torch.cat([chords, torch.randn(2, BAR_CHANNELS, 128, WIDTH)], 1)
    with torch.inference_mode():
        before = old(x, torch.tensor([0.4, 3.0]), chords=chords)
        after = new.eval()(x, torch.tensor([0.4, 3.0]), chords=told)
    assert torch.allclose(before, after, atol=1e-4)
    assert new.told_of_bars() is new


@pytest.mark.parametrize("make", [cells_model, noise_model])
def test_a_told_model_hears_the_metre_and_is_saved_with_that(make, tmp_path):
    model = make(True)
    again = load_model(save_model(tmp_path / "told", model))
    assert again.bar_position
    assert again.spec()["bar_position"] is True

    song = song_in(((0, 3, 4),), end=WIDTH)
    mask = masks.box(WIDTH, (40, 80), (16, 40))
    told = compose(again, song, mask, seed=1, calls=3).pictures
    assert np.array_equal(told, compose(model, song, mask, seed=1, calls=3).pictures)

    # In four quarters, which is what nobody says anything else about, it composes something else.
    plain = inpaint(again, render(song, 0, WIDTH), mask, seed=1, calls=3)
    assert not np.array_equal(told, plain)
    eighths = inpaint(
        again, render(song, 0, WIDTH), mask, seed=1, calls=3, bars=range(0, 72, 12),
        meters=((0, 6, 8),),
    )  # fmt: skip
    assert not np.array_equal(told, eighths)


@pytest.mark.parametrize("make", [cells_model, noise_model])
def test_training_tells_the_position_and_sometimes_nothing(make):
    song = song_in(((0, 3, 4),))
    model = make(True)
    windows = Windows([song], WIDTH)
    items = [TrainSet(windows, model, 4)[i]["chords"] for i in range(40)]
    untold = [not item[3:].any() for item in items]
    assert 0 < sum(untold) < 20
    for i, item in enumerate(items):
        assert item.shape == (3 + BAR_CHANNELS, 128, WIDTH)
        position = bar_position(windows[i].bars, windows[i].meters, WIDTH)
        if not untold[i]:
            assert np.array_equal(item[3:], told_channels(windows[i].picture, None, position)[3:])


@pytest.mark.parametrize("make", [cells_model, noise_model])
def test_a_told_model_composes_where_nobody_knows_the_metre(make):
    """As programs that call `compose` of the contract themselves do."""
    model = make(True)
    options = check_options(model, {"calls": 2})
    options = replace(options, generator=torch.Generator().manual_seed(1))
    canvas = np.zeros((1, 128, WIDTH, 3), np.uint8)
    mask = masks.box(WIDTH, (40, 80), (16, 40))
    ((drawn, *_),) = model.compose(canvas, mask, options, lambda event, draw: None)
    assert drawn.shape == canvas.shape[1:]


def test_what_is_no_metre_is_refused():
    picture = np.zeros((128, WIDTH, 3), np.uint8)
    with pytest.raises(OptionError, match="denominator of meters"):
        inpaint(cells_model(True), picture, masks.everything(WIDTH), meters=((0, 3, 5),))


def test_runs_ask_for_the_position_and_a_head_by_their_options():
    options = TrainOptions(bar_position=True, local_head="on", model="tiny")
    assert Cells.from_options(options).bar_position
    begun = Cells.begin_with(cells_model(), options)
    assert begun.bar_position
    assert begun.network.config.local == Local()
    untouched = cells_model()
    assert Cells.begin_with(untouched, TrainOptions()) is untouched


def test_a_song_without_notes_in_the_first_bars_has_bars_all_the_same():
    song = Song([(100, 4, 60, 80, 0)], meters=((0, 3, 4),))
    bars, meters = song.metre_from(24, 24)
    assert bars == [12, 24]
    assert meters == [(0, 3, 4)]
