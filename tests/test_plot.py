"""Figures: what is drawn where, which colours it has, and that files come whole."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from pomkit import Chord, OptionError, PictureError, Song, masks, render, show
from pomkit.music.tables import GRIDS
from pomkit.plot import COLOURS, loss_plot, save_png, side_by_side

NOTES = [(0, 8, 60, 127, 0), (8, 8, 64, 127, 0), (16, 16, 67, 127, 0), (40, 24, 72, 127, 0)]
SONG = Song(NOTES, (Chord(0, 16, "C:maj"), Chord(16, 48, "A:min7")))


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def canvas(ax, low=0, high=127):
    """The colours in which the Axes show pitches `low` to `high`, from the highest, (pitches, width, 3)."""
    return ax.images[0].get_array()[127 - high : 128 - low]


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def test_bars_are_numbered_from_one_and_octaves_named():
    ax = show(SONG, crop=False)
    assert labels(ax.get_xticklabels()) == ["1", "2", "3", "4"]
    assert ax.get_xticks().tolist() == [0, 16, 32, 48]
    octaves = dict(zip(labels(ax.get_yticklabels()), ax.get_yticks(), strict=True))
    assert octaves["C4"] == 60
    assert octaves["C1"] == 24
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("bar", "pitch")


def test_bar_lines_come_from_the_song_the_argument_or_four_four():
    waltz = Song(NOTES, bars=(0, 12, 24, 36, 48, 60))
    assert show(waltz).get_xticks().tolist() == [0, 12, 24, 36, 48, 60]
    assert show(render(waltz)).get_xticks().tolist() == [0, 16, 32, 48]
    assert show(render(waltz), bars=[4, 20, 36]).get_xticks().tolist() == [4, 20, 36]


@pytest.mark.parametrize("grid", GRIDS)
def test_bars_have_four_beats_on_every_grid(grid):
    music = Song([(0, 9 * grid, 60, 80, 0)], steps_per_beat=grid)
    for ax in (show(music), show(render(music), steps_per_beat=grid)):
        assert ax.get_xticks().tolist() == [0, 4 * grid, 8 * grid]
        assert labels(ax.get_xticklabels()) == ["1", "2", "3"]


def test_the_odder_a_note_is_the_brighter_it_is_drawn():
    picture = render(SONG)
    doubt = np.zeros(picture.shape[:2], np.float32)
    for pitch, start, length, bits in ((60, 0, 8, 1.0), (64, 8, 8, 6.0), (67, 16, 16, 12.0)):
        doubt[127 - pitch, start : start + length] = bits
    ax = show(picture, doubt=doubt)
    colour = ax.images[1].get_array()
    onsets = colour[[127 - 60, 127 - 64, 127 - 67], [0, 8, 16], :3].sum(1)
    assert onsets[0] < onsets[1] < onsets[2]
    assert (colour[127 - 60, 1, :3] < colour[127 - 60, 0, :3]).all()
    assert (colour[..., 3] == (doubt > 0)).all()
    assert ax.figure.axes[1].get_ylabel() == "doubt (bits)"
    assert len(show(picture, doubt=doubt, legend=False).figure.axes) == 1


@pytest.mark.parametrize("doubt", [np.zeros((128, 3)), np.zeros((128, 64), "U1"), 7, "x"])
def test_what_is_no_doubt_of_the_picture_is_refused(doubt):
    with pytest.raises(PictureError, match="pomkit.doubt"):
        show(render(SONG), doubt=doubt)


def test_many_bars_are_numbered_sparsely():
    ax = show(Song([(0, 4, 60, 80, 0), (16 * 199, 16, 60, 80, 0)]))
    numbers = [int(text) for text in labels(ax.get_xticklabels())]
    assert len(numbers) <= 34
    assert numbers[:3] == [1, 9, 17]


@pytest.mark.parametrize("colours", sorted(COLOURS))
def test_notes_are_drawn_where_they_sound(colours):
    drawn = canvas(show(SONG, crop=False, colours=colours)).astype(int)
    onset, sustained = COLOURS[colours][:2]
    assert drawn[127 - 60, 0].tolist() == list(onset)
    assert (drawn[127 - 60, 1:8] == sustained).all()
    assert (drawn[127 - 60, 8:].max(axis=-1) < 40).all()


def test_a_quiet_note_is_darker_but_visible():
    loud, quiet = (
        canvas(show(Song([(0, 4, 60, velocity, 0)]), crop=False)) for velocity in (127, 1)
    )
    assert loud[67, 2].sum() > quiet[67, 2].sum() > 2 * quiet[67 - 4, 2].sum()


def test_colours_safe_differ_in_lightness():
    """The four kinds of note stay apart even in grey."""
    grey = np.sort(np.array(COLOURS["safe"]) @ (0.2126, 0.7152, 0.0722))
    assert np.diff(grey).min() > 25


def test_new_notes_are_marked_only_where_something_changed():
    before = render(SONG)
    after = before.copy()
    after[127 - 76, 20] = (254, 0, 0)
    after[127 - 76, 21:24] = (0, 254, 0)
    drawn = canvas(show(after, before=before, crop=False)).astype(int)
    assert drawn[127 - 76, 20].tolist() == list(COLOURS["safe"][2])
    assert (drawn[127 - 76, 21:24] == COLOURS["safe"][3]).all()
    drawn[127 - 76, 20:24] = canvas(show(before, crop=False))[127 - 76, 20:24]
    assert np.array_equal(drawn, canvas(show(before, crop=False)))


def test_the_mask_is_glass_with_an_outline():
    picture = render(SONG)
    mask = masks.box(picture, (60, 64), (8, 24))
    ax = show(picture, mask)
    glass = ax.images[1].get_array()
    assert np.array_equal(glass[..., 3] > 0, mask)
    upright, level = [
        np.array(c.get_segments()) for c in ax.collections if isinstance(c, LineCollection)
    ][-2:]
    assert (len(upright), len(level)) == (2 * 5, 2 * 16)
    outline = np.r_[upright, level]
    assert outline.reshape(-1, 2).min(axis=0).tolist() == [8, 59.5]
    assert outline.reshape(-1, 2).max(axis=0).tolist() == [24, 64.5]
    assert "to regenerate" in labels(ax.get_legend().get_texts())


def test_crop_shows_the_notes_and_the_mask():
    low, high = show(SONG).get_ylim()
    assert 8 < low < 60
    assert 72 < high < 119
    assert show(SONG, masks.box(SONG, (90, 100), (0, 8))).get_ylim()[1] > 100
    assert show(SONG, masks.bars(SONG, 1)).get_ylim() == (
        low,
        high,
    )  # a mask as high as the picture
    assert show(SONG, crop=(40, 90)).get_ylim() == (39.5, 90.5)
    assert show(SONG, crop=False).get_ylim() == (-0.5, 127.5)


def test_chords_are_named_above():
    texts = {text.get_text(): text.get_position()[0] for text in show(SONG).texts}
    assert texts == {"C": 0, "Am7": 16}
    assert not show(SONG, crop=False).texts  # there the border rows show them


def test_given_axes_are_drawn_into_and_nothing_is_shown():
    figure, (left, right) = plt.subplots(1, 2)
    assert show(SONG, ax=right, title="right") is right
    assert right.get_title(loc="left") == "right"
    assert not left.images
    assert plt.get_fignums() == [figure.number]


def test_an_empty_picture_can_be_shown():
    assert show(np.zeros((128, 1, 3), np.uint8)).get_ylim()[0] < 60


@pytest.mark.parametrize("width", [64, 512])
def test_side_by_side_writes_a_labelled_figure(tmp_path, width):
    before = render(SONG, width=width)
    after = before.copy()
    after[127 - 70, 33] = (200, 0, 0)
    path = tmp_path / "new" / "side_by_side.png"
    axes = side_by_side(before, masks.bars(before, 3), after, path)
    assert [ax.get_title(loc="left") for ax in axes] == ["input", "mask", "result"]
    assert len({ax.get_ylim() for ax in axes}) == 1
    assert all(labels(ax.get_xticklabels())[:3] == ["1", "2", "3"] for ax in axes)
    assert [f.name for f in path.parent.iterdir()] == ["side_by_side.png"]
    assert Image.open(path).width >= 1200
    assert plt.get_fignums() == []  # written, not shown


def test_side_by_side_without_a_path_is_shown():
    picture = render(SONG)
    side_by_side(picture, masks.bars(picture, 1), picture)
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("scale", [1, 3])
def test_save_png_keeps_every_pixel(tmp_path, scale):
    picture = np.random.default_rng(0).integers(0, 256, (128, 40, 3), dtype=np.uint8)
    read = np.asarray(Image.open(save_png(tmp_path / "picture.png", picture, scale)))
    assert read.shape == (128 * scale, 40 * scale, 3)
    assert np.array_equal(read[::scale, ::scale], picture)
    assert np.array_equal(read[scale - 1 :: scale, scale - 1 :: scale], picture)


def test_a_painted_picture_comes_back_from_its_png(tmp_path):
    picture = render(SONG)
    mask = masks.box(picture, (50, 70), (10, 30))
    path = save_png(tmp_path / "mask.png", masks.paint(picture, mask))
    assert np.array_equal(masks.from_image(Image.open(path)), mask)


@pytest.mark.parametrize("count", [0, 1, 7, 500])
def test_loss_plot(tmp_path, count):
    losses = 1 / np.arange(1, count + 1)
    path = loss_plot(
        tmp_path / "loss.png", range(count), losses, [(count // 2, 0.5)] if count else None
    )
    assert Image.open(path).size == (880, 440)


def test_bad_input():
    picture = render(SONG)
    with pytest.raises(PictureError):
        show(picture[:64])
    with pytest.raises(PictureError):
        show(picture, np.zeros((128, 3), bool))
    with pytest.raises(PictureError):
        show(picture, before=picture[:, :8])
    with pytest.raises(OptionError):
        show(picture, colours="sepia")
    with pytest.raises(OptionError, match="steps_per_beat"):
        show(picture, steps_per_beat=5)
    with pytest.raises(OptionError):
        save_png("never.png", picture, scale=0)
    with pytest.raises(OptionError):
        loss_plot("never.png", [1, 2], [0.5])
