"""Laws of the sketch: the rhythm is kept, and the melody's order, whatever the network says."""

import numpy as np
import pytest
import torch
from conftest import make_song, seeded
from test_rules import WIDTH, compose, pitches_of
from test_steering import EMPTY, notes_of, toy_model
from test_steering import compose as denoise

from pomkit import OptionError, masks, render, rules
from pomkit.processes.sketch import last, narrowed, unbegun
from pomkit.processes.states import ONSET, SUSTAIN
from pomkit.processes.uncover import sample_cells

STEPS = [0, 3, 8, 9, 17, 30, 31, 46, 60]
# It rises, falls, stays, and has runs that need room: four notes up, three down.
MELODY = dict(zip(STEPS, [60, 62, 62, 64, 67, 70, 65, 64, 50], strict=True))


def onsets_of(cells: np.ndarray) -> np.ndarray:
    """Where notes begin, bool (batch, 128, width)."""
    return cells >= ONSET


def rhythms(onsets: np.ndarray) -> list[list[int]]:
    """The steps in which notes begin, of each picture."""
    return [np.flatnonzero(each.any(axis=0)).tolist() for each in onsets]


def skyline(onsets: np.ndarray, steps) -> np.ndarray:
    """The pitch of the highest onset of each step, int (batch, steps)."""
    return 127 - onsets[:, :, list(steps)].argmax(axis=1)


def order(pitches) -> np.ndarray:
    return np.sign(np.diff(pitches, axis=-1))


def strays(cells: np.ndarray) -> int:
    """Sustains that follow no note."""
    before = np.pad(cells, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
    return int(((cells == SUSTAIN) & (before == 0)).sum())


@pytest.mark.parametrize("U", [1, 3])
@pytest.mark.parametrize("sustain", [0.0, 0.6])
@pytest.mark.parametrize(
    "make", [lambda: rules.rhythm(STEPS), lambda: rules.contour(MELODY)], ids=["rhythm", "contour"]
)
def test_notes_begin_in_these_steps_and_in_each_of_them(make, sustain, U):
    for seed in range(2):
        out = compose(make(), sustain=sustain, seed=seed, U=U)
        assert rhythms(onsets_of(out)) == [STEPS, STEPS]
        assert strays(out) == 0
    assert sustain < 0.5 or (out == SUSTAIN).sum() > (out >= ONSET).sum()


@pytest.mark.parametrize("U, onset", [(1, 0.001), (1, 0.2), (3, 0.03)])
def test_the_melody_rises_and_falls_as_the_pitches_do(U, onset):
    rule = rules.contour(MELODY)
    for seed in range(2):
        out = compose(rule, onset=onset, sustain=0.4, seed=seed, U=U)
        assert (order(skyline(onsets_of(out), STEPS)) == order(list(MELODY.values()))).all()


def test_nothing_sounds_above_the_melody_as_it_begins():
    out = compose(rules.contour(MELODY), onset=0.1, sustain=0.6)
    sounding = (out > 0)[:, :, STEPS]
    assert (127 - sounding.argmax(axis=1) == skyline(onsets_of(out), STEPS)).all()


def test_a_free_melody_does_not_keep_the_order():
    out = compose(rules.rhythm(STEPS), onset=0.1)
    assert (order(skyline(onsets_of(out), STEPS)) != order(list(MELODY.values()))).any()


def test_only_the_masked_steps_count_and_what_is_known_does_not():
    cells = torch.zeros(128, WIDTH, dtype=torch.long)
    cells[40, [5, 9]] = ONSET  # a known voice above, one of its notes in a step of the sketch
    mask = torch.zeros(128, WIDTH, dtype=torch.bool)
    mask[50:80, 4:40] = True
    inside = [step for step in STEPS if 4 <= step < 40]
    out = compose(rules.contour(MELODY), cells, mask, onset=0.005)[:, 50:80]
    assert rhythms(onsets_of(out)) == [inside, inside]
    heights = 127 - 50 - onsets_of(out)[:, :, inside].argmax(axis=1)
    assert (order(heights) == order([MELODY[step] for step in inside])).all()


def test_steps_are_those_of_the_picture_not_of_the_window():
    out = compose(rules.rhythm([20, 21, 70]), start=16)
    assert rhythms(onsets_of(out)) == [[4, 5, 54]] * 2


def test_a_tight_melody_finds_the_only_rows_there_are():
    mask = torch.zeros(128, WIDTH, dtype=torch.bool)
    mask[60:64] = True
    rule = rules.contour({0: 1, 8: 2, 16: 3, 24: 4, 32: 4, 40: 0})
    for seed in range(2):
        out = compose(rule, mask=mask, seed=seed)
        heights = 127 - skyline(onsets_of(out), [0, 8, 16, 24, 32])
        assert (heights == [63, 62, 61, 60, 60]).all()
    with pytest.raises(OptionError, match="hold no melody of 5 notes"):
        compose(rules.contour({0: 1, 8: 2, 16: 3, 24: 4, 32: 5}), mask=mask)


@pytest.mark.parametrize(
    "make", [lambda: rules.rhythm(STEPS), lambda: rules.contour(MELODY)], ids=["rhythm", "contour"]
)
def test_it_holds_where_few_cells_are_in_the_nucleus(make):
    """A nucleus takes as much off the odds of an onset as a rule does: fault of the first form."""
    p = torch.full((6, 128, WIDTH), 1e-3)
    p[0] = 0.6
    p[1] = 0.4
    p[2:, 60:64] = 0.02
    out = sample_cells(
        lambda cells, chords, t: p.log().expand(len(cells), -1, -1, -1),
        torch.zeros(4, 128, WIDTH, dtype=torch.long),
        torch.zeros(4, 3, 128, WIDTH),
        torch.ones(128, WIDTH, dtype=torch.bool),
        6,
        calls=6,
        rule=make(),
        top_p=0.3,
        whole_notes=True,
        generator=seeded(),
    ).numpy()
    assert rhythms(onsets_of(out)) == [STEPS] * 4
    assert strays(out) == 0


def test_what_is_forced_obeys_the_rules_before_it():
    sketch = rules.contour(MELODY)
    out = compose([rules.key("C:maj"), sketch], sustain=0, onset=0.002, top_p=0.5)
    assert rhythms(onsets_of(out)) == [STEPS, STEPS]
    assert set(pitches_of(out) % 12) <= {0, 2, 4, 5, 7, 9, 11}


def test_seeds_differ_and_candidates_do():
    out = compose(rules.contour(MELODY))
    assert not np.array_equal(*skyline(onsets_of(out), STEPS))


def test_a_known_note_that_goes_on_behind_the_mask_begins_in_the_rhythm():
    cells = torch.zeros(128, WIDTH, dtype=torch.long)
    cells[64, 40:48] = SUSTAIN
    mask = torch.zeros(128, WIDTH, dtype=torch.bool)
    mask[:, 16:40] = True
    # A melody that falls would like to end below the known note.
    for rule in (rules.rhythm([20, 33]), rules.contour({20: 62, 33: 60})):
        for seed in range(2):
            out = compose(rule, cells, mask, seed=seed, sustain=0.3)
            assert rhythms(onsets_of(out)) == [[20, 33]] * 2
            assert strays(out) == 0


# Gaussian noise with a head that says which cell a pixel is


@pytest.mark.parametrize("method", ["conditioned", "repaint"])
@pytest.mark.parametrize("whole_notes", ["off", "last", "calls"])
def test_it_holds_while_noise_is_taken_away(method, whole_notes):
    asked = {"method": method, "whole_notes": whole_notes, "rule": rules.contour(MELODY)}
    out = denoise(toy_model(), **asked)
    onsets = (out[..., 0] > 0)[:, 8:120]
    assert rhythms(onsets) == [STEPS, STEPS]
    heights = 119 - onsets[:, :, STEPS].argmax(axis=1)
    assert (order(heights) == order(list(MELODY.values()))).all()


def test_it_holds_in_a_part_of_a_picture(rng):
    picture = render(make_song(rng), 0, WIDTH)
    mask = masks.box(picture, (50, 90), (16, 48))
    out = denoise(toy_model(), picture, mask, rule=rules.rhythm(STEPS), calls=4)
    inside = (out[..., 0] > 0) & mask
    # At the edge a known note may go on whose beginning was under the mask.
    assert all(set(found) >= {17, 30, 31, 46} for found in rhythms(inside))
    assert all(set(found) <= {17, 30, 31, 46, 47} for found in rhythms(inside))
    assert (out[:, ~mask] == picture[~mask]).all()


def test_a_sketch_takes_no_notes_from_silence_elsewhere():
    notes = notes_of(denoise(toy_model(), EMPTY, rule=rules.rhythm(STEPS)))
    assert set(notes["onset"]) == set(STEPS)


# The parts


def test_the_last_flag_before_a_cell():
    flags = torch.tensor([[[0, 1, 0, 0, 1, 0]]], dtype=torch.bool)
    assert last(flags).tolist() == [[[0, 0, 2, 2, 2, 5]]]


def test_a_sustain_wants_the_cells_back_to_where_a_note_can_begin():
    sustained, free, begin = torch.zeros(3, 1, 1, 7, dtype=torch.bool)
    sustained[..., 5] = True
    free[..., 1:5] = True
    begin[..., [0, 2]] = True
    assert unbegun(sustained, free, begin)[0, 0].int().tolist() == [0, 0, 1, 1, 1, 0, 0]


def test_a_melody_leaves_room_for_the_notes_after_it():
    """Three rows, three notes up: each has one row; of two up and one down the last has two."""
    everywhere = torch.ones(1, 3, 3, dtype=torch.bool)
    assert narrowed(everywhere, [1, 1])[0, :, 0].tolist() == [False, False, True]
    assert narrowed(everywhere, [1, -1])[0, :, 0].tolist() == [False, True, True]
    assert narrowed(everywhere, [0, 0]).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: rules.rhythm([]),
        lambda: rules.rhythm([1.5]),
        lambda: rules.rhythm([-1]),
        lambda: rules.rhythm(3),
        lambda: rules.rhythm("abc"),
        lambda: rules.contour([60, 62]),
        lambda: rules.contour({0: 128}),
        lambda: rules.contour({0: "C"}),
        lambda: rules.contour({}),
    ],
)
def test_what_is_no_sketch_is_refused(make):
    with pytest.raises(OptionError):
        make()
