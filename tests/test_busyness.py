"""How busy music may become: a bound from the song, and models that keep it."""

import numpy as np
import pytest
import torch
from conftest import seeded

from pomkit import OptionError, Song, compose, inpaint, load_model, masks, read_midi, render
from pomkit.composing.busyness import busiest_of
from pomkit.music.pixels import read_spans
from pomkit.processes.states import ONSET
from pomkit.processes.uncover import sample_cells


def song_of(rates, bar=16, **more):
    """A song whose bars have so many notes, from the first step of each on."""
    notes = [
        (number * bar + step, 1, 60, 80, 0)
        for number, rate in enumerate(rates)
        for step in range(rate)
    ]
    return Song(notes, bars=range(0, bar * (len(rates) + 1), bar), **more)


def test_a_quarter_of_the_bars_with_notes_is_busier():
    assert busiest_of(song_of([2, 0, 2, 2, 0, 2]), masks.everything(96)) == 2
    assert busiest_of(song_of([1, 2, 3, 4, 5]), masks.everything(80)) == 4


def test_a_bar_counts_as_what_it_would_have_in_16_steps():
    assert busiest_of(song_of([3, 3], bar=12), masks.everything(24)) == pytest.approx(4)


def test_of_a_part_its_own_notes_count():
    melody = [(bar * 16, 8, 76, 90, 0) for bar in range(8)]
    chords = [
        (bar * 16 + at, 4, pitch, 60, 1)
        for bar in range(8)
        for at in (0, 8)
        for pitch in (48, 52, 55)
    ]
    song = Song(melody + chords, parts=("tune", "chords"), bars=range(0, 144, 16))
    assert busiest_of(song, masks.everything(128)) == 7
    assert busiest_of(song, masks.melody(song, width=128)) == 1
    assert busiest_of(song, masks.accompaniment(song, width=128)) == 6


def test_drums_and_empty_songs_say_nothing():
    assert busiest_of(Song([]), masks.everything(16)) is None
    drums = song_of([9, 9], parts=("drums",), channels=(9,))
    assert busiest_of(drums, masks.everything(32)) is None


def composed(onset=0.03, **options):
    """How many onsets a network gives that says the same of every cell, a picture."""
    p = torch.tensor([1 - onset, 1e-9] + [onset / 4] * 4).log()
    out = sample_cells(
        lambda c, chords, t: p[None, :, None, None].expand(len(c), -1, *c.shape[1:]),
        torch.zeros(8, 128, 64, dtype=torch.long),
        torch.zeros(8, 3, 128, 64),
        torch.ones(128, 64, dtype=torch.bool),
        6,
        generator=seeded(0),
        **options,
    )
    return (out >= ONSET).sum().item() / 8


def test_there_are_no_more_onsets_than_the_bound_and_fewer_stay_as_they_are():
    free = composed()
    assert free == pytest.approx(0.03 * 128 * 64, rel=0.1)
    assert composed(busiest=60) == pytest.approx(60, rel=0.1)
    assert composed(onset=0.005, busiest=60) == pytest.approx(41, rel=0.15)
    assert composed(busiest=60, density=90) == pytest.approx(90, rel=0.1)


@pytest.mark.parametrize("name", ["tiny", "tiny-edm"])
def test_models_keep_the_bound(name):
    picture = np.zeros((128, 64, 3), np.uint8)
    mask = masks.everything(picture)
    made = inpaint(load_model(name), picture, mask, n=3, seed=1, calls=6, busiest=3)
    assert np.count_nonzero(read_spans(made[0]).onset) <= 18
    total = sum(np.count_nonzero(read_spans(np.asarray(each)).onset) for each in made)
    assert total / 3 == pytest.approx(12, rel=0.35)
    with pytest.raises(OptionError, match="busiest"):
        inpaint(load_model(name), picture, mask, busiest=-1)


def test_a_slow_song_stays_slow_unless_one_says_otherwise():
    song = read_midi("amazing_grace")
    mask = masks.melody(song)
    there = np.count_nonzero(read_spans(render(song)).onset & mask)
    counts = {}
    options_of = {"usual": {}, "free": {"busiest": None}, "asked": {"density": 20}}
    for name, options in options_of.items():
        (picture,) = compose("tiny", song, mask, seed=1, calls=4, voices=None, **options).pictures
        counts[name] = np.count_nonzero(read_spans(np.asarray(picture)).onset & mask) / there
    assert counts["usual"] < 1.6
    assert counts["free"] > 3
    assert counts["asked"] > 3
