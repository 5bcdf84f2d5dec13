"""The discriminator: its ranks, its folds, what it finds, and what it does not care about."""

import numpy as np
import pytest
import torch

from pomkit import OptionError, Song, masks, render
from pomkit.judge import draw_evidence, rank_auc, tell_apart
from pomkit.judge.discriminator import (
    BAR,
    EDGE,
    Examiner,
    assign_folds,
    read_states,
    region_around,
    region_inside,
)
from pomkit.judge.evidence import KINDS, of_kinds, struck_again
from pomkit.judge.intervals import auc_draws, auc_over_songs, draw_songs, interval_of
from pomkit.music.tables import NOTE_DTYPE

WIDTH = 64
MASK = masks.bars(WIDTH, 2, 3)
SONGS = np.repeat(np.arange(12), 4)
QUICK = {"views": ("region",), "updates": 30}
PLANTED = 100  # a pitch that no song has


def song_window(seed, velocity=None):
    """Four bars of random notes of one to four steps."""
    rng = np.random.default_rng(seed)
    notes = np.zeros(40, NOTE_DTYPE)
    notes["onset"] = 2 * rng.integers(0, WIDTH // 2, 40)
    notes["duration"] = rng.integers(1, 5, 40)
    notes["pitch"] = rng.integers(45, 80, 40)
    notes["velocity"] = velocity or rng.integers(1, 128, 40)
    return render(Song(notes), 0, WIDTH)


def planted(picture):
    """The picture with every onset of the region doubled in one row."""
    columns = (picture[8:120, :, 0] > 0).any(axis=0) & MASK.any(axis=0)
    marked = picture.copy()
    marked[127 - PLANTED, columns] = (160, 0, 0)
    return marked


REAL = np.stack([song_window(seed) for seed in range(len(SONGS))])
OTHERS = np.stack([song_window(1000 + seed) for seed in range(len(SONGS))])
MARKED = np.stack([planted(picture) for picture in REAL])


@pytest.fixture(scope="module")
def verdict():
    return tell_apart(REAL, MASK, MARKED, SONGS, **QUICK)


def test_equal_sets_have_half_and_separable_ones_all(rng):
    scores = rng.normal(size=50)
    assert rank_auc(scores, scores) == 0.5
    assert rank_auc(scores, scores + 100) == 1
    assert rank_auc(scores, scores - 100) == 0


def test_swapped_scores_have_the_rest_even_with_ties(rng):
    one = rng.integers(0, 5, 40)
    other = rng.integers(1, 6, 30)
    assert rank_auc(one, other) == pytest.approx(1 - rank_auc(other, one))
    assert rank_auc(one, other) > 0.5


def test_the_rank_does_not_care_about_the_scale(rng):
    one, other = rng.normal(size=(2, 40))
    assert rank_auc(np.exp(one), np.exp(other)) == rank_auc(one, other)


def test_the_auc_is_the_mean_over_pairs_of_one_fold(rng):
    real, composed = rng.normal(size=(2, 48))
    folds = assign_folds(SONGS)
    value, low, high = auc_over_songs(real, composed, SONGS, folds)
    each = [rank_auc(real[folds == fold], composed[folds == fold]) for fold in range(3)]
    assert value == pytest.approx(np.mean(each))
    assert low < value < high


def test_a_drawn_song_counts_with_all_its_windows(rng):
    """The draws of one fold, counted once more with the windows themselves repeated."""
    real, composed = rng.normal(size=(2, 48))
    _, low, high = auc_over_songs(real, composed, SONGS, np.zeros(48, int), seed=3)
    values = []
    for draw in draw_songs(SONGS, 12, seed=3)[1:]:
        times = draw[SONGS].astype(int)
        values.append(rank_auc(real.repeat(times), composed.repeat(times)))
    assert (low, high) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))))


def test_a_difference_is_of_the_same_draws(rng):
    """Each draw's AUC less the other's, counted once more with the windows themselves repeated."""
    real, one, other = rng.normal(size=(3, 48))
    folds = np.zeros(48, int)
    pair = [auc_draws(real, scores, SONGS, folds, seed=3) for scores in (one, other)]
    value, low, high = interval_of(pair[0] - pair[1])
    differences = []
    for draw in draw_songs(SONGS, 12, seed=3)[1:]:
        times = draw[SONGS].astype(int)
        known = real.repeat(times)
        wins = [rank_auc(known, scores.repeat(times)) for scores in (one, other)]
        differences.append(wins[0] - wins[1])
    assert value == pytest.approx(rank_auc(real, one) - rank_auc(real, other))
    assert (low, high) == pytest.approx(tuple(np.quantile(differences, (0.025, 0.975))))


def test_what_is_hard_for_both_is_no_difference(rng):
    """Songs differ by much, the two sets by a little: their difference is much surer than they."""
    real = rng.normal(size=48)
    one = real + rng.normal(size=12)[SONGS]
    folds = np.zeros(48, int)
    pair = [auc_draws(real, scores, SONGS, folds) for scores in (one, one + 0.05)]
    _, low, high = interval_of(pair[0] - pair[1])
    _, own_low, own_high = interval_of(pair[0])
    assert high - low < (own_high - own_low) / 4


def test_a_verdict_less_itself_is_nothing(verdict):
    assert verdict.minus(verdict) == [0, 0, 0]


def test_a_verdict_less_another_has_the_other_sign(verdict):
    other = tell_apart(REAL, MASK, OTHERS, SONGS, **QUICK | {"updates": 3})
    value, low, high = verdict.minus(other)
    assert value == pytest.approx(verdict.auc["region"][0] - other.auc["region"][0])
    less = other.minus(verdict)
    assert (value, low, high) == pytest.approx((-less[0], -less[2], -less[1]))


def test_verdicts_of_other_windows_do_not_pair(verdict):
    fewer = tell_apart(REAL[:12], MASK, OTHERS[:12], SONGS[::4], views=("region",), updates=1)
    with pytest.raises(OptionError, match="do not pair"):
        verdict.minus(fewer)


def test_folds_share_no_song_and_are_alike_in_size():
    folds = assign_folds(SONGS, seed=5)
    assert all(len(set(folds[song == SONGS])) == 1 for song in range(12))
    assert np.bincount(folds).tolist() == [16, 16, 16]
    assert not np.array_equal(folds, assign_folds(SONGS, seed=6))


def test_a_planted_artefact_is_found(verdict):
    assert verdict.auc["region"][0] > 0.9


def test_the_planted_notes_are_what_gave_it_away(verdict):
    shares = []
    for index in range(8):
        notes, weight = verdict.weigh(index)
        is_planted = notes["pitch"] == PLANTED
        shares.append(weight[is_planted].mean() > weight[~is_planted].mean())
    assert np.mean(shares) > 0.8


def test_a_weight_is_what_the_log_odds_lose(verdict):
    notes, weight = verdict.weigh(2)
    states = verdict.states["region"][1, 2].float().clone()
    network = verdict.networks["region"][verdict.folds[2]]
    row = 127 - notes["pitch"][0] - 8
    start = notes["onset"][0] - verdict.first["region"]
    with torch.no_grad():
        whole = network(states[None])
        states[:, row, start : start + notes["duration"][0]] = 0
        rest = network(states[None])
    assert float(whole - rest) == pytest.approx(float(weight[0]), abs=1e-5)
    assert float(whole) == pytest.approx(float(verdict.scores["region"][1, 2]), abs=1e-5)


def test_music_of_one_kind_is_not_told_apart():
    value, low, high = tell_apart(REAL, MASK, OTHERS, SONGS, **QUICK).auc["region"]
    assert low < 0.5 < high
    assert value == pytest.approx(0.5, abs=0.15)


def test_equal_sets_are_not_told_apart():
    found = tell_apart(REAL, MASK, REAL, SONGS, views=("region",), updates=2)
    assert found.auc["region"] == [0.5, 0.5, 0.5]


def test_swapped_sets_are_told_apart_as_well(verdict):
    swapped = tell_apart(MARKED, MASK, REAL, SONGS, **QUICK)
    assert swapped.auc["region"][0] == pytest.approx(verdict.auc["region"][0], abs=0.03)


def test_the_seed_decides(verdict):
    quick = QUICK | {"updates": 3}
    once = tell_apart(REAL, MASK, OTHERS, SONGS, **quick)
    again = tell_apart(REAL, MASK, OTHERS, SONGS, **quick)
    other = tell_apart(REAL, MASK, OTHERS, SONGS, seed=1, **quick)
    assert np.array_equal(once.scores["region"], again.scores["region"])
    assert once.auc == again.auc
    assert not np.array_equal(once.scores["region"], other.scores["region"])


def test_the_random_numbers_of_others_are_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    tell_apart(REAL[:12], MASK, OTHERS[:12], SONGS[::4], views=("region",), updates=1)
    assert torch.equal(torch.rand(3), expected)


def test_velocity_does_not_matter():
    loud, quiet = (np.stack([song_window(7, velocity)]) for velocity in (127, 20))
    assert not np.array_equal(loud, quiet)
    assert np.array_equal(read_states(loud), read_states(quiet))


def test_sustain_without_a_note_is_not_shown():
    picture = np.zeros((128, WIDTH, 3), np.uint8)
    picture[60, 10:20, 1] = 160
    assert not read_states([picture]).any()


def test_the_region_alone_hides_what_stands_around_it():
    around = REAL.copy()
    around[:, :, 48:] = OTHERS[:, :, 48:]
    quick = QUICK | {"updates": 2}
    once = tell_apart(REAL, MASK, OTHERS, SONGS, **quick)
    again = tell_apart(around, MASK, OTHERS, SONGS, **quick)
    assert np.array_equal(once.scores["region"], again.scores["region"])


def melody_masks(count, rng):
    """Masks as of melodies: a band of pitches in every column, of each window another one."""
    found = np.zeros((count, 128, WIDTH), bool)
    for mask, top in zip(found, rng.integers(40, 60, count), strict=True):
        mask[top : top + 20] = True
        mask[top + 5, ::3] = False
    return found


def test_every_window_shows_the_cells_of_its_own_mask(rng):
    bands = melody_masks(12, rng)
    found = tell_apart(REAL[:12], bands, OTHERS[:12], SONGS[::4], updates=1)
    seen = found.states["region"].numpy()  # (2, 12, 2, 112, WIDTH)
    outside = ~bands[:, None, 8:120]
    assert not (seen & outside).any()
    assert (seen == (read_states(REAL[:12])[:, :, 8:120] & ~outside)[None])[0].all()
    assert seen[1].any()


def test_where_a_mask_runs_through_all_columns_its_surroundings_are_all_notes(rng):
    """So "around" hears whether a melody fits its accompaniment; there is no edge to leave out."""
    band = melody_masks(1, rng)[0]
    assert region_around(band).all()
    assert np.array_equal(region_inside(band), band)


def test_views_are_the_region_less_a_beat_or_with_a_bar_more():
    mask = masks.bars(160, 4, 6)
    inside = np.flatnonzero(region_inside(mask).any(axis=0))
    assert (inside[0], inside[-1]) == (48 + EDGE, 95 - EDGE)
    around = np.flatnonzero(region_around(mask).all(axis=0))
    assert (around[0], around[-1]) == (48 - BAR, 95 + BAR)


def test_the_end_of_a_window_is_no_edge_of_its_region():
    mask = masks.bars(64, 3, 4)
    inside = np.flatnonzero(region_inside(mask).any(axis=0))
    assert (inside[0], inside[-1]) == (32 + EDGE, 63)


def test_a_new_network_has_no_opinion():
    states = torch.rand(3, 2, 112, 32)
    assert Examiner()(states).tolist() == [0, 0, 0]


def test_kinds_of_notes_are_counted(verdict):
    kinds = of_kinds(verdict, count=6)
    assert set(kinds) == set(KINDS)
    lengths = [kinds[name] for name in list(KINDS)[:5]]
    assert np.nansum(lengths, axis=0)[:2] == pytest.approx([1, 1], abs=0.001)
    real, composed, *_ = kinds["C5 and above"]
    assert composed > real


def test_a_broken_note_is_struck_again():
    notes = np.array([(0, 2, 60, 90, 0), (2, 2, 60, 90, 0), (4, 1, 62, 90, 0)], NOTE_DTYPE)
    assert struck_again(notes).tolist() == [False, True, False]


def test_the_figure_is_a_picture(verdict, tmp_path):
    path = draw_evidence(tmp_path / "evidence.png", verdict, title="planted", pairs=2)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"songs": SONGS[1:]}, "fit together"),
        ({"composed": MARKED[:, :, :32]}, "fit together"),
        ({"songs": SONGS % 2}, "2 songs"),
        ({"masks": MASK[:, 1:]}, "masks of"),
        ({"masks": ~np.ones_like(MASK)}, "masks of"),
        ({"views": ("nowhere",)}, "nowhere"),
        ({"updates": 0}, "updates"),
    ],
)
def test_sets_that_do_not_fit_are_refused(change, what):
    given = {"real": REAL, "masks": MASK, "composed": MARKED, "songs": SONGS} | change
    with pytest.raises(OptionError, match=what):
        tell_apart(**given)
