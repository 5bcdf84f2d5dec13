"""The ladder's table: baselines that are counted, every rung on one judge, and a class's scores."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from conftest import make_song

from pomkit import OptionError, Song
from pomkit.ladder.counting import (
    CONTEXTS,
    StateTable,
    baseline_bits,
    per_unit,
    song_windows,
    spread_windows,
    window_starts,
)
from pomkit.music.tables import NOTE_DTYPE
from pomkit.processes.states import ONSET, SUSTAIN


def tiny_corpus():
    """Two windows, (2, 64, 64), silent but for 4 cells of one row: by hand this can be counted."""
    cells = torch.zeros(2, 64, 64, dtype=torch.int64)
    cells[0, 5, :3] = torch.tensor([ONSET, SUSTAIN, SUSTAIN])
    cells[1, 5, 10] = ONSET
    return cells


def plain_song(steps=192):
    """A note of one step at every fourth step, from step 0 on."""
    notes = [(step, 1, 60, 80, 0) for step in range(0, steps, 4)]
    return Song(np.array(notes, NOTE_DTYPE), name="plain")


@pytest.fixture(scope="module")
def windows():
    songs = [make_song(np.random.default_rng(i), count=150) for i in range(4)]
    return spread_windows(songs, 16)


def entropy(*counts):
    """Bits of so many cells of each state, coded with their own shares."""
    return -sum(count * math.log2(count / sum(counts)) for count in counts if count)


# What the 8,192 cells of the tiny corpus cost by each table, counted by hand: 2 onsets, 2 sustains,
# all in row 5; after silence 2 onsets, after the 2 onsets 1 sustain, after the 2 sustains 1.
BY_HAND = {
    "nothing": entropy(8188, 2, 2),
    "pitch": entropy(124, 2, 2),
    "cell before": entropy(8186, 2) + 2 * entropy(1, 1),
    "cell before and pitch": entropy(122, 2) + 2 * entropy(1, 1),
}


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_tables_equal_a_count_by_hand(context):
    cells = tiny_corpus()
    table = StateTable(context).fit(cells, pseudocount=0)
    assert table.bits(cells).sum().item() == pytest.approx(BY_HAND[context], rel=1e-9)


def test_more_context_never_costs_more_where_it_was_counted(windows):
    bits = {}
    for context in CONTEXTS:
        table = StateTable(context).fit(windows, pseudocount=0)
        bits[context] = table.bits(windows).sum()
    assert bits["nothing"] > bits["pitch"] > bits["cell before and pitch"]
    assert bits["nothing"] > bits["cell before"] > bits["cell before and pitch"]


@pytest.mark.parametrize("context", CONTEXTS)
def test_probabilities_sum_to_1(windows, context):
    """In every context; and over all ways in which one row of four columns can be."""
    table = StateTable(context).fit(windows)
    assert table.share.sum(1).numpy() == pytest.approx(1, abs=1e-12)

    rows = torch.zeros(81, 64, 4, dtype=torch.int64)
    rows[:, 30] = torch.tensor(list(product(range(3), repeat=4)))
    others = torch.zeros(1, 64, 4, dtype=torch.int64)
    silence = table.share[table.contexts_of(others), others][0, 30]
    total = (table.bits(others) - table.bits(rows)).exp2().sum() * silence.prod()
    assert total.item() == pytest.approx(1, abs=1e-9)


def test_a_note_s_share_is_all_bits_over_all_onsets():
    cells = tiny_corpus()
    shares = per_unit(torch.tensor([10.0, 6.0]), cells)
    assert shares == {"cell": 16 / 8192, "window": 8.0, "note": 8.0}
    assert "note" not in per_unit(torch.ones(2), cells * 0)


def test_songs_are_cut_at_bar_lines_into_windows_that_begin_anew():
    assert list(window_starts(range(0, 140, 12), 140)) == [0, 72]
    assert list(window_starts([0, 16, 32], 40)) == []
    song = Song(np.array([(0, 100, 60, 80, 0), (120, 8, 62, 80, 0)], NOTE_DTYPE))
    first, second = song_windows(song)
    assert first[35, 0] == ONSET
    assert second[35, 0] == ONSET
    assert second[35, 1] == SUSTAIN


def test_what_is_held_out_is_measured_with_what_was_counted_elsewhere(windows):
    cells = spread_windows([plain_song()], 2)
    assert cells.shape == (2, 64, 64)
    alike = baseline_bits(cells, cells)
    strange = baseline_bits(windows, cells)
    assert list(alike) == list(CONTEXTS)
    assert all(alike[context]["note"] < strange[context]["note"] for context in CONTEXTS)
    assert all(np.isfinite(shares["note"]) for shares in strange.values())


def test_songs_that_are_too_short_are_told():
    with pytest.raises(OptionError, match="longer"):
        spread_windows([plain_song(40)], 3)
