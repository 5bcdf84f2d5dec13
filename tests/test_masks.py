"""Masks: True = regenerate; inclusive bars and pitches, half-open steps; never only the answer's own cells."""

import numpy as np
import pytest
from conftest import make_song

from pomkit import OptionError, PictureError, Song, masks, render
from pomkit.music.tables import GRIDS, NOTE_DTYPE


@pytest.fixture
def two_parts() -> Song:
    notes = [(4 * i, 4, 72 + i % 5, 90, 0) for i in range(32)] + [
        (8 * i, 8, 48 + i % 7, 60, 1) for i in range(16)
    ]
    notes += [(16, 4, 74, 60, 1)]  # an accompaniment note among the melody
    return Song(np.array(notes, NOTE_DTYPE), parts=("MELODY", "PIANO"))


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
    assert np.flatnonzero(masks.bars(64, 1, 1, bars=[0, 10, 20]).any(axis=0)).tolist() == list(
        range(10)
    )


@pytest.mark.parametrize("grid", GRIDS)
def test_bars_of_a_song_have_four_beats_on_every_grid(grid):
    song = Song(np.array([(0, 10 * grid, 60, 80, 0)], NOTE_DTYPE), steps_per_beat=grid)
    for mask in (masks.bars(song, 2), masks.from_text("bars:2", song)):
        assert mask.shape == (128, 10 * grid)
        assert np.flatnonzero(mask.any(axis=0)).tolist() == list(range(4 * grid, 8 * grid))
    assert np.array_equal(masks.bars(render(song), 3, bars=song.bar_lines()), masks.bars(song, 3))


def test_melody_and_accompaniment_cover_a_range_but_not_each_other(two_parts):
    melody, rest = masks.melody(two_parts), masks.accompaniment(two_parts)
    picture = render(two_parts)
    lead, back = render(two_parts, parts=[0]).any(axis=2), render(two_parts, parts=[1]).any(axis=2)
    assert melody[lead & ~back].all()
    assert rest[back & ~lead].all()
    assert not (melody & back).any()
    assert not (rest & lead).any()
    assert melody.sum() > 3 * lead.sum()  # more than the notes: the answer is not given away
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
    a, b, p = np.array([10, 67.0]), np.array([40, 47.0]), np.stack([x, y], -1)
    t = np.clip(((p - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
    assert np.array_equal(mask, ((p - a - t[..., None] * (b - a)) ** 2).sum(-1) <= 9)
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


def test_words_of_the_command_line(two_parts):
    width = two_parts.end
    for text, mask in {
        "bars:2-3": masks.bars(width, 2, 3),
        "bars:2": masks.bars(width, 2),
        "melody": masks.melody(two_parts),
        "continuation:40": masks.continuation(width, 40),
        "continuation": masks.continuation(width, 64),
        "box:60-72,8-32": masks.box(width, (60, 72), (8, 32)),
        "melody+bars:1": masks.melody(two_parts) | masks.bars(width, 1),
    }.items():
        assert np.array_equal(masks.from_text(text, two_parts), mask), text
    for text in (
        "verse",
        "bars:x-y",
        "bars:1-2-3",
        "all:1",
        "bars:0-2",
        "bars:3-99",
        "box:1-2",
        "",
        "melody:3",
    ):
        with pytest.raises(OptionError):
            masks.from_text(text, two_parts)


def test_a_part_of_a_song_counts_its_bars_from_its_first_bar_line(two_parts):
    """Columns 0 to 5 belong to the bar before: bar 1 begins at the song's step 16."""
    mask = masks.from_text("bars:1", two_parts, start=10, width=60)
    assert np.flatnonzero(mask.any(axis=0)).tolist() == list(range(6, 22))
    middle = masks.from_text("continuation", two_parts, start=10, width=60)
    assert np.flatnonzero(middle.any(axis=0)).min() == 22  # of the bar lines 6, 22, 38 and 54


def test_bad_masks(two_parts):
    picture = render(two_parts)
    for mask in (np.zeros((128, 3), bool), np.zeros(picture.shape[:2]), np.zeros((3, 3), bool)):
        with pytest.raises(PictureError):
            masks.check_mask(mask, picture)
    for call in (
        lambda: masks.box(10, (5, 3)),
        lambda: masks.box(10, steps=(5, 50)),
        lambda: masks.continuation(10, 10),
        lambda: masks.stroke(10, []),
        lambda: masks.stroke(10, [(1, float("nan"))]),
        lambda: masks.polygon(10, [(1, 2)]),
        lambda: masks.melody(two_parts, "tuba"),
        lambda: masks.box(0),
    ):
        with pytest.raises(OptionError):
            call()
