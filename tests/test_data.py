"""Windows of songs, and the masks of training."""

import numpy as np
import pytest
from conftest import make_song

from pomkit import OptionError, Song, masks, parse
from pomkit.data import MASK_MIX, Corpus, Windows, draw_kind, onsets_per_bar, random_mask


def assert_same_window(one, other):
    assert np.array_equal(one.picture, other.picture)
    assert np.array_equal(one.mask, other.mask)
    assert np.array_equal(one.notes, other.notes)
    said, others = (window._replace(picture=0, mask=0, notes=0) for window in (one, other))
    assert said == others


def test_windows_depend_on_their_index_alone_and_start_on_bars(rng):
    songs = [make_song(np.random.default_rng(i), end=900) for i in range(3)]
    windows = Windows(songs, 128, seed=4)
    others = Windows(songs, 128, seed=4)
    for i in (0, 7, 3, 10**7):
        one = windows[i]
        assert_same_window(one, others[i])
        assert one.picture.shape == (128, 128, 3)
        assert one.mask.any()
        assert one.start % 16 == 0
        assert one.density == onsets_per_bar(one.picture, one.mask)
    assert len({windows[i].picture.tobytes() for i in range(40)}) > 35
    assert {windows[i].semitones for i in range(200)} == set(range(-6, 6))


def test_transposition_moves_notes_and_chords(rng):
    song = make_song(rng, end=200).canonical(border=20)
    for i in range(20):
        w = Windows([song], 256, chord_dropout=0)[i]
        back = parse(w.picture).transpose(-w.semitones)
        assert back == song.canonical() if w.start == 0 else len(back.notes) > 0


@pytest.mark.parametrize("kind", MASK_MIX)
def test_every_kind_of_mask_hides_something_and_never_the_chords(kind):
    song = make_song(np.random.default_rng(1), end=256)
    sizes = []
    for seed in range(30):
        mask = random_mask(np.random.default_rng(seed), song, 0, 256, {kind: 1.0})
        assert mask.shape == (128, 256)
        assert mask.any()
        assert not (mask & masks.chords(256)).any()
        sizes.append(mask.mean())
    assert len(set(sizes)) > 3 or kind in ("all", "chords only")

    # Even in silence.
    silence = Song(song.notes[:0])
    assert random_mask(np.random.default_rng(0), silence, 0, 64, {kind: 1.0}).any()


@pytest.mark.parametrize("part", [masks.melody, masks.accompaniment])
def test_a_part_is_hidden_whole_or_in_runs_of_bars(part):
    song = make_song(np.random.default_rng(1), end=256)
    whole = part(song, width=256) & masks.everything(256)
    used = whole.any(axis=0)
    seen = []
    for seed in range(60):
        mask = random_mask(np.random.default_rng(seed), song, 0, 256, {part.__name__: 1.0})
        columns = mask.any(axis=0)

        # Of a column all or nothing, and runs begin and end at bar lines or where the part does.
        assert not (mask & ~whole).any()
        assert np.array_equal(mask, whole & columns)
        for edge in np.flatnonzero(np.diff(np.r_[0, columns & used, 0])):
            assert edge % 16 == 0 or not used[max(edge - 1, 0) : edge + 1].all()
        seen.append(np.array_equal(mask, whole))
    assert 10 < sum(seen) < 50


def test_kinds_of_masks_are_drawn_by_their_shares_and_unknown_ones_refused():
    song = make_song(np.random.default_rng(1), end=256)
    drawn = [draw_kind(np.random.default_rng(seed), MASK_MIX) for seed in range(2000)]
    assert sum(MASK_MIX.values()) == pytest.approx(1)
    for kind, share in MASK_MIX.items():
        assert drawn.count(kind) / 2000 == pytest.approx(share, abs=0.035)
    with pytest.raises(OptionError, match="chords only"):
        random_mask(np.random.default_rng(0), song, 0, 64, {"holes": 1.0})


def test_chords_only_hides_every_note_and_no_chord():
    song = make_song(np.random.default_rng(3), end=600).canonical()
    windows = Windows([song], 128, chord_dropout=0.9, mix={"chords only": 1.0})
    for i in range(20):
        picture, mask, *_ = windows[i]
        assert np.array_equal(mask, masks.everything(picture))
        assert picture[:8].any()

    # Of other kinds, chords are left out or hidden.
    windows = Windows([song], 128, chord_dropout=0.9, mix={"all": 1.0})
    others = [windows[i] for i in range(20)]
    assert not all(window.picture[:8].any() for window in others)
    assert any(window.mask[:8].all() for window in others)


def test_windows_of_a_corpus_are_those_of_its_songs(tmp_path):
    """Lazily from memory, from a file, or from a list: the same windows.

    Songs without notes are never drawn.
    """
    songs = [make_song(np.random.default_rng(i), end=700) for i in range(3)]
    songs[1] = type(songs[1])(songs[1].notes[:0], name="empty")
    corpus = Corpus(songs)
    loaded = Corpus.load(corpus.save(tmp_path / "corpus"))
    several = [Windows(s, 128, seed=3) for s in (list(corpus.songs), corpus.songs, loaded.songs)]
    assert len({len(w) for w in several}) == 1

    for i in range(30):
        first, *others = (w[i] for w in several)
        assert first.song != "empty"
        for other in others:
            assert_same_window(first, other)
    with pytest.raises(OptionError, match="no songs with notes"):
        Windows(songs[1:2])


def test_windows_start_on_bars_of_any_grid():
    song = make_song(np.random.default_rng(5), end=900, chords=False)
    fine = type(song)(song.notes, steps_per_beat=12)
    assert all(Windows([fine], 96)[i].start % 48 == 0 for i in range(20))
    waltz = type(song)(song.notes, bars=tuple(range(0, 900, 12)))
    assert {Windows([waltz], 96)[i].start % 12 for i in range(20)} == {0}


def test_a_sparse_song_may_begin_at_every_bar(rng):
    """Also one with fewer notes than bars; without notes it has no window."""
    song = Song([(0, 4, 60, 80, 0), (150, 4, 64, 80, 0)], bars=tuple(range(0, 160, 16)))
    assert len(Windows([song], 64).starts[0]) == 7
    assert len(Windows([song, Song([])], 64).starts[1]) == 0
