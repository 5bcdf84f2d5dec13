"""Figures that a notebook shows: wide, with large text and an alt text, and the same data."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

import pomkit
from pomkit import Chord, Song, masks, render
from pomkit.play.figures import LEAST_POINTS, LEAST_WIDTH, alt_text, as_png, make_legible
from pomkit.play.plot import COLOURS

SONG = Song([(0, 8, 60, 127, 0), (16, 16, 67, 127, 0), (40, 24, 72, 127, 0)])


@pytest.fixture(autouse=True)
def style():
    plt.switch_backend("agg")
    with plt.rc_context():
        pomkit.legible_figures()
        yield
    plt.close("all")


def small_texts():
    """A small figure: everything in it is written in 7 points."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(5, 2))
    left.plot([1, 2, 3], [4, 5, 6], label="a line")
    left.legend(fontsize=7)
    left.set_title("a title", fontsize=7)
    left.set_xlabel("words below", fontsize=7)
    left.tick_params(labelsize=7)
    right.bar([0, 1], [3, 4])
    right.annotate("a note", (0, 3), fontsize=7)
    return figure


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(as_png(figure)[0])))


def overlap(texts):
    """Whether two neighbours in a row of texts lie over each other."""
    spans = sorted((text.get_window_extent().x0, text.get_window_extent().x1) for text in texts)
    return any(later[0] < now[1] for now, later in zip(spans, spans[1:], strict=False))


def test_a_small_figure_becomes_wide_and_its_text_large():
    png, facts = as_png(small_texts())
    assert Image.open(io.BytesIO(png)).width >= LEAST_WIDTH
    assert facts["points"] >= LEAST_POINTS


def test_a_song_is_shown_legibly_too():
    _, axes = plt.subplots(1, 3, figsize=(8, 2))
    for ax in axes:
        pomkit.show(SONG, masks.bars(SONG, 2), ax, title="a song")
    png, facts = as_png(axes[0].figure)
    assert Image.open(io.BytesIO(png)).width >= LEAST_WIDTH
    assert facts["points"] >= LEAST_POINTS


def test_a_figure_that_is_legible_stays_as_it_is():
    figure, ax = plt.subplots(figsize=(13, 4))
    ax.plot([1, 2, 3])
    once = pixels(figure)
    make_legible(figure)
    assert figure.get_size_inches().tolist() == [13, 4]
    assert np.array_equal(once, pixels(figure))


def test_the_data_stay_the_same():
    figure = small_texts()
    before = [line.get_xydata() for line in figure.axes[0].lines]
    make_legible(figure)
    assert np.array_equal(before, [line.get_xydata() for line in figure.axes[0].lines])


def test_no_label_is_cut():
    """Words that stand out of the figure make the picture larger."""
    figure, ax = plt.subplots(figsize=(12, 3))
    ax.text(1.02, 0.5, "words beside the figure", transform=ax.transAxes)
    ax.text(0.5, -0.9, "words below the figure", transform=ax.transAxes)
    border = pixels(figure)[:, :, :3]
    edges = np.r_[border[0], border[-1], border[:, 0], border[:, -1]]
    assert (edges == 255).all()


def test_a_title_wider_than_its_panel_gets_two_lines():
    figure, axes = plt.subplots(1, 5, figsize=(11.5, 2))
    for ax in axes:
        ax.set_title("a title that needs more room")
    make_legible(figure)
    assert all("\n" in ax.get_title() for ax in axes)
    assert not overlap([ax.title for ax in axes])


def test_numbers_that_run_into_each_other_are_thinned_out():
    figure, axes = plt.subplots(1, 5, figsize=(11.5, 2))
    axes[0].set_xticks(range(0, 9000, 500), [str(n) for n in range(0, 9000, 500)])
    make_legible(figure)
    figure.draw_without_rendering()
    shown = [label for label in axes[0].get_xticklabels() if label.get_text()]
    assert shown[0].get_text() == "0"
    assert 2 <= len(shown) < 18
    assert not overlap(shown)


def test_words_that_run_into_each_other_are_turned():
    figure, axes = plt.subplots(1, 4, figsize=(11.5, 2))
    axes[0].bar(["one\nthing", "another thing", "a third one", "the last"], [1, 2, 3, 4])
    make_legible(figure)
    figure.draw_without_rendering()
    assert axes[0].get_xticklabels()[0].get_text() == "one thing"
    assert {label.get_rotation() for label in axes[0].get_xticklabels()} == {30}


def test_the_alt_text_says_what_is_drawn():
    said = alt_text(small_texts())
    assert said.startswith("Two panels. 1: a title, a chart with one line, x: words below from ")
    assert "drawn are a line" in said
    assert "2: a chart with two bars" in said


def test_the_alt_text_of_a_song():
    song = Song(SONG.notes, (Chord(0, 64, "C:maj"),))
    after = render(song)
    after[127 - 76, 20] = (254, 0, 0)
    ax = pomkit.show(after, masks.bars(song, 2, 3), before=render(song), title="after")
    assert alt_text(ax.figure) == (
        "After, a piano roll, bars 1 to 4, pitches 54 to 82, the marked region lies in "
        "bars 2 to 3, what is new has colours of its own."
    )


@pytest.mark.parametrize(
    ("label", "words"), [("$\\sigma$, $10^{2}$", "sigma, 10^2"), ("two\nlines", "two lines")]
)
def test_formulas_in_the_alt_text_are_plain(label, words):
    _, ax = plt.subplots()
    ax.set_xlabel(label)
    assert f"x: {words} from 0 to 1" in alt_text(ax.figure)


def test_lines_of_nothing_and_of_words_are_described_too():
    _, ax = plt.subplots()
    ax.plot([], [], "o", label="none")
    ax.plot(["one", "two"], [1, 2])
    assert alt_text(ax.figure).startswith("A chart with one line")


def test_a_colour_bar_is_no_panel():
    figure, ax = plt.subplots()
    figure.colorbar(ax.imshow(np.eye(4)), label="how often")
    assert alt_text(figure).startswith("An image")
    assert alt_text(figure).endswith("The colours show how often.")


def test_the_safe_colours_are_the_default():
    drawn = pomkit.show(SONG, crop=False).images[0].get_array()
    assert drawn[127 - 60, 0].tolist() == list(COLOURS["safe"][0])


def test_a_figure_without_axes_is_not_shown():
    assert as_png(plt.figure()) is None
