"""Masks: True = regenerate; bars and pitches are inclusive, steps half-open.

A mask never covers the answer's own cells alone.
"""

import numpy as np
import pytest
from conftest import make_song

from pomkit import OptionError, PictureError, Song, masks, render
from pomkit.music.tables import GRIDS, NOTE_DTYPE


@pytest.fixture
def two_parts() -> Song:
    melody = [(4 * i, 4, 72 + i % 5, 90, 0) for i in range(32)]
    piano = [(8 * i, 8, 48 + i % 7, 60, 1) for i in range(16)]
    among_the_melody = [(16, 4, 74, 60, 1)]
    notes = np.array(melody + piano + among_the_melody, NOTE_DTYPE)
    return Song(notes, parts=("MELODY", "PIANO"))


def test_box_is_inclusive_in_pitch_and_half_open_in_steps():
    mask = masks.box(100, pitch=(60, 72), steps=(10, 20))
    assert mask.shape == (128, 100)
    assert mask.sum() == 13 * 10
    assert mask[127 - 60, 10]
    assert mask[127 - 72, 19]
    assert not mask[127 - 60, 20]
    assert not mask[127 - 73, 10]


def test_bars_count_from_one_and_include_both():
    mask = masks.bars(64, 2, 3)
    assert np.flatnonzero(mask.any(axis=0)).tolist() == list(range(16, 48))
    assert not mask[:8].any()
    assert masks.bars(64, 2, 3, chords=True)[:, 20].all()
    waltz = Song(np.array([(0, 36, 60, 80, 0)], NOTE_DTYPE), bars=(0, 12, 24))
    assert np.flatnonzero(masks.bars(waltz, 2).any(axis=0)).tolist() == list(range(12, 24))
    first = masks.bars(64, 1, 1, bars=[0, 10, 20])
    assert np.flatnonzero(first.any(axis=0)).tolist() == list(range(10))


@pytest.mark.parametrize("grid", GRIDS)
def test_bars_of_a_song_have_four_beats_on_every_grid(grid):
    song = Song(np.array([(0, 10 * grid, 60, 80, 0)], NOTE_DTYPE), steps_per_beat=grid)
    for mask in (masks.bars(song, 2), masks.from_text("bars:2", song)):
        assert mask.shape == (128, 10 * grid)
        assert np.flatnonzero(mask.any(axis=0)).tolist() == list(range(4 * grid, 8 * grid))
    assert np.array_equal(masks.bars(render(song), 3, bars=song.bar_lines()), masks.bars(song, 3))


def test_melody_and_accompaniment_cover_a_range_but_not_each_other(two_parts):
    melody = masks.melody(two_parts)
    rest = masks.accompaniment(two_parts)
    picture = render(two_parts)
    lead = render(two_parts, parts=[0]).any(axis=2)
    back = render(two_parts, parts=[1]).any(axis=2)

    assert melody[lead & ~back].all()
    assert rest[back & ~lead].all()
    assert not (melody & back).any()
    assert not (rest & lead).any()
    # More than the notes: the answer is not given away.
    assert melody.sum() > 3 * lead.sum()
    rows = np.flatnonzero(melody.any(axis=1))
    assert (127 - rows.max(), 127 - rows.min()) == (72 - 5, 76 + 5)
    assert picture.shape[:2] == melody.shape


def test_skyline_of_one_part(two_parts):
    one = two_parts.canonical()
    chosen = masks.melody_notes(one)
    assert set(one.notes["pitch"][chosen]) >= {72, 76}
    assert (one.notes["pitch"][chosen] >= 60).all()


def test_continuation_and_chords():
    assert np.flatnonzero(masks.continuation(100, keep=60).any(axis=0)).min() == 60
    chords = masks.chords(30)
    assert chords[:8].all()
    assert chords[120:].all()
    assert not chords[8:120].any()
    assert (masks.everything(30) ^ masks.everything(30, chords=True) == chords).all()


def test_stroke_is_the_set_of_cells_within_a_radius():
    mask = masks.stroke(60, [(10, 60), (40, 80)], radius=3)
    y, x = np.mgrid[:128, :60]
    a = np.array([10, 67.0])
    line = np.array([40, 47.0]) - a
    from_a = np.stack([x, y], -1) - a
    t = np.clip((from_a @ line) / (line @ line), 0, 1)
    squared_distance = ((from_a - t[..., None] * line) ** 2).sum(-1)
    assert np.array_equal(mask, squared_distance <= 9)
    assert masks.stroke(60, [(5, 60)], radius=1).sum() == 5


def test_polygon_contains_its_middle_and_corners():
    mask = masks.polygon(60, [(10, 50), (40, 50), (40, 70), (10, 70)])
    assert mask.sum() == 31 * 21
    assert mask[127 - 60, 25]
    assert mask[127 - 50, 10]


def test_paint_and_from_image_are_inverse(rng):
    picture = render(make_song(rng))
    mask = masks.stroke(picture, [(20, 40), (200, 90)], 6) | masks.chords(picture, (30, 60))
    assert np.array_equal(masks.from_image(masks.paint(picture, mask)), mask)
    assert not masks.from_image(picture).any()
    blue = picture.copy()
    blue[mask] = (0, 0, 255)
    assert np.array_equal(masks.from_image(blue), mask)


# fmt: off
WORDS = {
    "bars:2-3": lambda song: masks.bars(song.end, 2, 3),
    "bars:2": lambda song: masks.bars(song.end, 2),
    "melody": lambda song: masks.melody(song),
    "continuation:40": lambda song: masks.continuation(song.end, 40),
    "continuation": lambda song: masks.continuation(song.end, 64),
    "box:60-72,8-32": lambda song: masks.box(song.end, (60, 72), (8, 32)),
    "melody+bars:1": lambda song: masks.melody(song) | masks.bars(song.end, 1),
}
NO_WORDS = [
    "verse", "bars:x-y", "bars:1-2-3", "all:1", "bars:0-2", "bars:3-99", "box:1-2", "", "melody:3",
]
# fmt: on


@pytest.mark.parametrize("text", WORDS)
def test_words_of_the_command_line(two_parts, text):
    assert np.array_equal(masks.from_text(text, two_parts), WORDS[text](two_parts))


@pytest.mark.parametrize("text", NO_WORDS)
def test_words_that_are_not_understood(two_parts, text):
    with pytest.raises(OptionError):
        masks.from_text(text, two_parts)


def test_a_part_of_a_song_counts_its_bars_from_its_first_bar_line(two_parts):
    """Columns 0 to 5 belong to the bar before: bar 1 begins at the song's step 16."""
    mask = masks.from_text("bars:1", two_parts, start=10, width=60)
    assert np.flatnonzero(mask.any(axis=0)).tolist() == list(range(6, 22))
    middle = masks.from_text("continuation", two_parts, start=10, width=60)
    # Of the bar lines 6, 22, 38 and 54.
    assert np.flatnonzero(middle.any(axis=0)).min() == 22


def test_bad_masks(two_parts):
    picture = render(two_parts)
    for mask in (np.zeros((128, 3), bool), np.zeros(picture.shape[:2]), np.zeros((3, 3), bool)):
        with pytest.raises(PictureError):
            masks.check_mask(mask, picture)


# fmt: off
BAD_CALLS = [
    lambda: masks.box(10, (5, 3)),
    lambda: masks.box(10, steps=(5, 50)),
    lambda: masks.box(0),
    lambda: masks.continuation(10, 10),
    lambda: masks.stroke(10, []),
    lambda: masks.stroke(10, [(1, float("nan"))]),
    lambda: masks.polygon(10, [(1, 2)]),
]
# fmt: on


@pytest.mark.parametrize("call", BAD_CALLS)
def test_bad_options(call):
    with pytest.raises(OptionError):
        call()


def test_an_unknown_part(two_parts):
    with pytest.raises(OptionError):
        masks.melody(two_parts, "tuba")
