"""Music from nothing is as busy as the music that a model learned from."""

import numpy as np
import pytest
import torch
from conftest import make_song

from pomkit import Chord, Song, generate, inpaint, masks, render
from pomkit.composing.busyness import density_from_nothing
from pomkit.data.windows import usual_densities
from pomkit.networks.hdit import HDiT, HDiTConfig, Level
from pomkit.processes.cells import Cells

TOY = HDiTConfig(
    in_channels=Cells.in_channels(4), out_channels=6, patch=(8, 16),
    levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32,
)  # fmt: skip
WIDTH = 64
BARS = WIDTH // 16
DENSITIES = [4.0, 8.0, 24.0]


def even_song(per_bar: int, bars: int, part: int = 0) -> Song:
    """A song with so many notes in each bar, one after the other."""
    steps = [16 * bar + 16 * i // per_bar for bar in range(bars) for i in range(per_bar)]
    return Song([(step, 1, 60 + i % 12, 80, part) for i, step in enumerate(steps)])


@pytest.fixture
def model() -> Cells:
    torch.manual_seed(0)
    model = Cells(HDiT(TOY), width=WIDTH).eval()
    model.card = {"densities": DENSITIES}
    return model


def onsets(picture: np.ndarray) -> int:
    return int(((picture[..., 0] > 0) & masks.everything(picture)).sum())


def test_windows_are_counted_side_by_side():
    songs = [even_song(4, 8), even_song(8, 8)]
    quantiles = usual_densities(songs, WIDTH)
    assert len(quantiles) == 21
    # Of each song the last window, which may not be full, is left out.
    assert (quantiles[0], quantiles[10], quantiles[-1]) == (4.0, 6.0, 8.0)
    assert usual_densities([even_song(3, 2)], WIDTH)[10] == pytest.approx(3 * 2 / BARS)


def test_a_note_that_two_parts_share_is_counted_once():
    one = even_song(4, 8)
    doubled = Song(np.concatenate([one.notes, even_song(4, 8, part=1).notes]))
    assert usual_densities([doubled], WIDTH) == usual_densities([one], WIDTH)


def test_of_songs_without_notes_nothing_is_known():
    assert usual_densities([Song([])], WIDTH) == []
    assert usual_densities([], WIDTH) == []


def test_music_from_nothing_is_as_busy_as_one_of_the_windows(model):
    for seed in range(5):
        wanted = density_from_nothing(model, seed=seed)
        assert DENSITIES[0] <= wanted <= DENSITIES[-1]
        assert onsets(generate(model, WIDTH, seed=seed)[0]) == pytest.approx(
            wanted * BARS, abs=0.1 * wanted * BARS + 1
        )
    drawn = [density_from_nothing(model, seed=seed) for seed in range(400)]
    # Half of the windows are below the middle quantile.
    assert np.mean(np.array(drawn) < DENSITIES[1]) == pytest.approx(0.5, abs=0.08)
    assert density_from_nothing(model, seed=-1) == density_from_nothing(model, seed=2**64 - 1)


def test_who_asks_for_a_number_gets_it(model):
    assert onsets(generate(model, WIDTH, seed=1, density=2)[0]) == 2 * BARS
    del model.card["densities"]
    assert density_from_nothing(model, seed=1) is None


def test_where_something_is_known_the_model_says_how_busy_it_is(model, rng):
    picture = render(make_song(rng), 0, WIDTH)
    empty = np.zeros_like(picture)
    cases = {
        "notes": (picture, masks.continuation(picture, 32), {}),
        "chords": (empty, masks.everything(empty), {"chords": [Chord(0, WIDTH, "C:maj")]}),
        "a limit": (empty, masks.everything(empty), {"busiest": 1.0}),
    }
    for shown, mask, options in cases.values():
        model.card = {"densities": DENSITIES}
        with_card = inpaint(model, shown, mask, seed=3, **options)
        model.card = {}
        assert np.array_equal(with_card, inpaint(model, shown, mask, seed=3, **options))

    # A picture in which nothing sounds says nothing either, however much of it is masked.
    model.card = {"densities": [12.0, 12.0]}
    made = inpaint(model, empty, masks.continuation(empty, 32), seed=3)[0]
    assert onsets(made) == 24
