"""Structure: what repeats, what repeats in part, and what the rules of empty bars say."""

import numpy as np
import pytest

from pomkit import OptionError
from pomkit.judge import count_repeats, draw_structure, similarity
from pomkit.judge.structure import DISTANCES, LEAST_MOVES, WAYS
from pomkit.music.tables import NOTE_DTYPE

BAR = 16
# A bar: step, pitch. Its highest notes make five moves, of all kinds but one.
TUNE = [(0, 60), (0, 48), (3, 64), (6, 62), (8, 62), (8, 55), (11, 69), (14, 67)]


def lay_bars(bars, length=BAR):
    """Notes of bars one after the other; a bar is a list of (step, pitch)."""
    rows = [
        (number * length + step, 1, pitch, 80, 0)
        for number, bar in enumerate(bars)
        for step, pitch in bar
    ]
    return np.array(rows, NOTE_DTYPE)


def lines_of(count, length=BAR):
    return np.arange(count + 1) * length


def random_bar(seed):
    """Eight notes at random; no two bars have much in common."""
    rng = np.random.default_rng(seed)
    steps = rng.choice(BAR, 8, replace=False)
    return list(zip(steps.tolist(), rng.integers(36, 84, 8).tolist(), strict=True))


def shares(bars, **options):
    counts = count_repeats(lay_bars(bars), lines_of(len(bars)), **options)
    return {name: above / below for name, (above, below) in counts.items() if below}


def moved(bar, semitones):
    return [(step, pitch + semitones) for step, pitch in bar]


def test_one_bar_again_and_again_repeats_in_every_way():
    assert set(shares([TUNE] * 12).values()) == {1}
    assert len(shares([TUNE] * 12)) == len(WAYS) * (1 + len(DISTANCES))


def test_bars_that_differ_repeat_nothing():
    found = shares([random_bar(seed) for seed in range(12)])
    assert found["exact, any"] == 0
    assert found["contour, 1"] == 0


def test_a_transposed_bar_has_rhythm_and_contour_alone():
    found = shares([TUNE, moved(TUNE, 5)])
    assert found["exact, any"] == 0
    assert found["rhythm, any"] == 1
    assert found["contour, any"] == 1


def test_another_rhythm_has_the_contour_alone():
    other = [(step + (step > 0), pitch) for step, pitch in TUNE]
    found = shares([TUNE, other])
    assert found["rhythm, any"] == 0
    assert found["exact, any"] == 0
    assert found["contour, any"] == 1


def test_other_pitches_have_the_rhythm_alone(rng):
    other = [(step, int(rng.integers(36, 84))) for step, _ in TUNE]
    found = shares([TUNE, other])
    assert found["exact, any"] == 0
    assert found["rhythm, any"] == 1
    assert found["contour, any"] == 0


def test_a_chord_in_place_of_a_note_is_another_rhythm():
    """Else nearly all bars of full music had one rhythm."""
    chords = [(step, pitch) for step in (0, 4, 8, 12) for pitch in (48, 52, 55)]
    line = [(step, 60) for step in (0, 4, 8, 12)]
    assert shares([line, chords])["rhythm, any"] == 0
    assert shares([chords, line])["rhythm, any"] == 1


def test_bars_in_another_order_come_back_but_not_as_far_away(rng):
    song = [random_bar(number // 2) for number in range(32)]
    order = rng.permutation(32)
    there = shares(song)
    shuffled = shares([song[i] for i in order])
    assert there["exact, any"] == shuffled["exact, any"] == 16 / 31
    assert there["exact, 1"] == 16 / 31
    assert shuffled["exact, 1"] < 0.2


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_passage_comes_back_as_far_away_as_it_is_long(distance):
    passage = [random_bar(seed) for seed in range(distance)]
    found = shares(passage * 3)
    for other in DISTANCES:
        assert found.get(f"exact, {other}") == (other % distance == 0) or other > 2 * distance


def test_a_bar_repeats_with_four_fifths_of_its_notes_and_not_with_less():
    five = [(0, 60), (2, 62), (4, 64), (6, 65), (8, 67)]
    four = [*five[:4], (8, 50)]
    three = [*five[:3], (6, 51), (8, 50)]
    assert shares([five, four])["exact, any"] == 1
    assert shares([five, three])["exact, any"] == 0


def test_a_bar_without_a_beginning_note_is_not_counted():
    """Nor is it repeated: two silent bars are no repeat."""
    counts = count_repeats(lay_bars([TUNE, [], [], TUNE, []]), lines_of(5))
    assert counts["exact, any"] == (1, 1)
    assert counts["exact, 1"] == (0, 1)
    assert counts["rhythm, 2"] == (0, 1)
    assert count_repeats(lay_bars([[]] * 4), lines_of(4))["exact, any"] == (0, 0)


def test_a_bar_of_few_moves_has_no_contour():
    few = TUNE[: LEAST_MOVES + 1]
    counts = count_repeats(lay_bars([few, few]), lines_of(2))
    assert counts["contour, any"] == (0, 0)
    assert counts["exact, any"] == (1, 1)


def test_only_the_bars_that_are_asked_about_count_and_may_repeat_any():
    song = [TUNE, random_bar(1), TUNE, random_bar(2), TUNE]
    counted = np.array([False, False, False, True, True])
    counts = count_repeats(lay_bars(song), lines_of(5), counted)
    assert counts["exact, any"] == (1, 2)


def test_bars_are_as_long_as_their_lines_say():
    bar = [(0, 60), (3, 64), (6, 62), (9, 69), (11, 70)]
    counts = count_repeats(lay_bars([bar] * 4, 12), lines_of(4, 12))
    assert counts["exact, 1"] == (3, 3)
    assert count_repeats(lay_bars([bar] * 4, 12), lines_of(3, 16))["exact, 1"] == (0, 2)


def test_similarity_is_whole_on_the_diagonal_and_says_what_is_in_what():
    half = TUNE[:4]
    share = similarity(lay_bars([TUNE, half, []]), lines_of(3))
    assert share.diagonal()[:2].tolist() == [1, 1]
    assert share[1, 0] == 1
    assert share[0, 1] == 0.5
    assert np.isnan(share[2]).all()


def test_what_stands_outside_the_bars_does_not_count():
    notes = lay_bars([TUNE] * 4)
    lines = np.array([16, 32, 48])
    assert count_repeats(notes, lines)["exact, any"] == (1, 1)


def test_the_figure_is_written(tmp_path):
    notes = lay_bars([TUNE, random_bar(1), [], TUNE])
    path = draw_structure(tmp_path / "a.png", {"real": notes}, lines_of(4), first=3)
    assert path.stat().st_size > 5000


def test_wrong_requests_are_told():
    notes = lay_bars([TUNE])
    with pytest.raises(OptionError, match="way"):
        similarity(notes, lines_of(2), "form")
    with pytest.raises(OptionError, match="lines"):
        similarity(notes, np.array([0, 0, 16]))
    with pytest.raises(OptionError, match="counted"):
        count_repeats(notes, lines_of(2), np.ones(3, bool))
