"""Laws of the measures."""
import numpy as np
import pytest
from conftest import make_song

from pomkit import Song, masks, metrics, render
from pomkit.notes import NOTE_DTYPE


def scale_song(root, steps=(0, 2, 4, 5, 7, 9, 11), octave=5):
    weights = [4, 1, 2, 2, 3, 2, 1]                                  # the tonic and the fifth sound longest
    notes = [(2 * i, weights[i % 7], 12 * octave + root + steps[i % 7], 80, 0) for i in range(64)]
    return Song(np.array(notes, NOTE_DTYPE))


@pytest.mark.parametrize("root", range(12))
def test_the_scale_is_found_in_every_key_and_octave(root):
    wanted = np.roll(np.isin(np.arange(12), [0, 2, 4, 5, 7, 9, 11]), root)
    for octave in (3, 5):
        assert np.array_equal(metrics.scale_of(render(scale_song(root, octave=octave))), wanted)


def test_unchanged_music_measures_like_itself_and_real_beats_chance(rng):
    before = render(scale_song(2), width=128)
    mask = masks.bars(before, 3, 6)
    same = metrics.adherence(before, before, mask)
    assert same.onsets == same.onsets_before > 0 and same.in_scale == same.in_scale_before == 1.0
    assert same.on_grid == 1.0 and same.changed_outside == 0
    chance = metrics.adherence(before, metrics.shuffled(before, mask, rng), mask)
    assert chance.onsets == same.onsets and chance.in_scale < 0.9 and chance.on_grid < 0.8 and chance.changed_outside == 0


def test_leaks_are_counted(rng):
    before = render(make_song(rng), width=128)
    after = before.copy()
    after[60, 5] = (99, 0, 0) if before[60, 5, 0] != 99 else (98, 0, 0)
    assert metrics.adherence(before, after, masks.bars(before, 3, 6)).changed_outside == 1


def test_an_empty_region_has_no_shares():
    empty = np.zeros((128, 64, 3), np.uint8)
    result = metrics.adherence(empty, empty, masks.everything(empty))
    assert result.onsets == 0 and np.isnan(result.in_scale)
