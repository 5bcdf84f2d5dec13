"""Laws of the rules: what they forbid never comes, and what they do not concern stays.

This holds whatever the network says.
"""

import numpy as np
import pytest
import torch
from conftest import seeded

from pomkit import Chord, OptionError, rules
from pomkit.music.palette import paint_chords
from pomkit.processes.states import ONSET, SUSTAIN, chord_channels
from pomkit.processes.uncover import sample_cells

HIDDEN, WIDTH = 6, 64
PITCH = 127 - np.arange(128)


def compose(
    rule=(), cells=None, mask=None, chords=None, onset=0.03, sustain=0.15, seed=0, n=2, **options
):
    """Compose with a network that says the same of every cell.

    It is as if it had learned nothing but how rare notes are.
    """
    p = torch.tensor([1 - onset - sustain, sustain] + [onset / 4] * 4).log()
    cells = torch.zeros(128, WIDTH, dtype=torch.long) if cells is None else cells
    mask = torch.ones(128, WIDTH, dtype=torch.bool) if mask is None else mask
    chords = torch.zeros(3, 128, WIDTH) if chords is None else chords
    out = sample_cells(
        lambda c, chords, t: p[None, :, None, None].expand(len(c), -1, *c.shape[1:]),
        cells.expand(n, -1, -1),
        chords.expand(n, -1, -1, -1),
        mask,
        HIDDEN,
        **{"steps": 6, "whole_notes": True} | options,
        rule=rule,
        generator=seeded(seed),
    )
    assert (out[:, ~mask] == cells[~mask]).all()
    assert not (out == HIDDEN).any()
    return out.numpy()


def pitches_of(out):
    return PITCH[np.nonzero(out >= ONSET)[1]]


@pytest.mark.parametrize(
    "make",
    [
        lambda dial: rules.key("C:maj", dial),
        lambda dial: rules.pitches(50, 70, dial),
        lambda dial: rules.chords((Chord(0, WIDTH, "C:maj"),), dial),
    ],
)
def test_a_dial_turns_from_nothing_to_never(make):
    free, none, some, full = (
        compose(rule, sustain=0) for rule in ((), make(0.0), make(0.8), make(1.0))
    )
    assert np.array_equal(free, none)  # at 0 the very same picture
    good = {int(p) for p in pitches_of(full)}
    shares = [np.isin(pitches_of(out), list(good)).mean() for out in (free, some, full)]
    assert shares[0] < shares[1] - 0.1
    assert shares[1] < 1
    assert shares[2] == 1
    assert len(good) > 10
    odds = [share / (1 - share) for share in shares[:2]]
    assert odds[1] / odds[0] == pytest.approx(
        5, rel=0.2
    )  # the odds of what is unwanted fall to a fifth


@pytest.mark.parametrize(
    "scale, wanted",
    [
        ("C:maj", {0, 2, 4, 5, 7, 9, 11}),
        ("A:min", {0, 2, 4, 5, 7, 9, 11}),
        ("C#:maj", {1, 3, 5, 6, 8, 10, 0}),
        ([0, 3, 6], {0, 3, 6}),
    ],
)
def test_key_lock_keeps_to_the_scale_and_keeps_the_rhythm(scale, wanted):
    out, free = compose(rules.key(scale), sustain=0), compose(sustain=0)
    assert set(pitches_of(out) % 12) == wanted
    lost = len(pitches_of(out)) / len(
        pitches_of(free)
    )  # others take the place of the notes off the scale
    assert lost == pytest.approx(1, abs=0.15)


def test_chord_lock_follows_each_step_and_leaves_free_what_has_no_chord():
    wish = (Chord(0, 16, "C:maj"), Chord(16, 16, "D:min7"), Chord(32, 16, "N"))
    picture = np.zeros((128, WIDTH, 3), np.uint8)
    paint_chords(picture, wish)
    seen = compose(rules.chords(), chords=torch.from_numpy(chord_channels(picture)))
    moved = [Chord(c.onset + 16, c.duration, c.label) for c in wish]
    for out in (seen, compose(rules.chords(wish)), compose(rules.chords(moved), start=16)):
        every = set(range(12))
        for first, tones in ((0, {0, 4, 7}), (16, {2, 5, 9, 0}), (32, every), (48, every)):
            assert set(pitches_of(out[:, :, first : first + 16]) % 12) == tones


def test_a_pitch_range_takes_notes_away_and_makes_up_for_none():
    out, free = compose(rules.pitches(40, 80)), compose()
    assert pitches_of(out).min() == 40
    assert pitches_of(out).max() == 80
    assert len(pitches_of(out)) / len(pitches_of(free)) == pytest.approx(41 / 128, rel=0.2)


def test_density_is_reached_within_a_rule():
    """What a rule takes is caught up with in the steps after it, up to what one step can do."""
    free, out = (
        compose(rules.pitches(30, 110), sustain=0, onset=0.01, steps=16, n=8, **density)
        for density in ({}, {"density": 80.0})
    )
    assert np.isin(pitches_of(out), np.arange(30, 111)).all()
    assert len(pitches_of(free)) / 8 < 60
    assert len(pitches_of(out)) / 8 == pytest.approx(80, rel=0.15)


@pytest.mark.parametrize("most", [0, 1, 3, 6])
@pytest.mark.parametrize("U", [1, 3])
def test_polyphony_is_never_exceeded_but_by_what_is_known(most, U):
    cells, mask = (
        torch.zeros(128, WIDTH, dtype=torch.long),
        torch.zeros(128, WIDTH, dtype=torch.bool),
    )
    mask[10:110, 8:56] = True
    cells[5, 20], cells[5, 21:30] = ONSET, SUSTAIN  # a known note beside the mask
    cells[60, 4], cells[60, 5:8], cells[70, 56:60] = (
        ONSET,
        SUSTAIN,
        SUSTAIN,
    )  # one that may sound on, one to be begun
    for seed in range(4):
        out = compose(rules.polyphony(most), cells, mask, seed=seed, U=U)
        sounding = (out > 0).sum(axis=1)  # (batch, width)
        known = (cells.numpy() > 0).sum(axis=0)
        known[55] += 1  # the note of row 70 cannot begin elsewhere
        assert (sounding[:, 8:56] <= np.maximum(most, known[8:56])).all()
        assert most == 0 or sounding[:, 8:56].mean() > most / 2  # and there is room for as many
        assert not (
            (out == SUSTAIN)
            & (np.pad(out, ((0, 0), (0, 0), (1, 0)))[:, :, :-1] == 0)
            & mask.numpy()
        ).any()


def test_polyphony_holds_where_a_note_could_hardly_begin():
    """A sustain that is drawn forces an onset, and the network excludes onsets."""
    out = compose(rules.polyphony(1), onset=1e-29, sustain=0.4, n=8)
    assert (out > 0).sum(axis=1).max() == 1


def test_polyphony_of_a_part_leaves_out_what_others_play():
    cells = torch.zeros(128, WIDTH, dtype=torch.long)
    mask = torch.zeros(128, WIDTH, dtype=torch.bool)
    mask[20:100, 8:56] = True
    cells[[5, 8], 0], cells[[5, 8], 1:] = ONSET, SUSTAIN  # two voices beside the mask
    of_all, of_part = (
        compose(rules.polyphony(1, known=known), cells, mask, onset=0.1)[
            :, mask.numpy().any(axis=1)
        ]
        for known in (True, False)
    )
    assert not of_all.any()
    voices = (of_part > 0).sum(axis=1)  # (n, width)
    assert voices.max() == 1
    assert voices[:, 8:56].mean() > 0.5


def test_known_notes_do_not_sound_on_into_a_part_that_is_composed():
    cells = torch.zeros(128, WIDTH, dtype=torch.long)
    mask = torch.zeros(128, WIDTH, dtype=torch.bool)
    mask[20:100, 8:56] = True
    # Two notes that end within the stretch, one that ends at its beginning, one with a gap in it.
    for row, first, end in ((30, 10, 14), (40, 20, 21), (50, 2, 8), (60, 30, 36)):
        cells[row, first], cells[row, first + 1 : end] = ONSET, SUSTAIN
        mask[row, first:end] = False
    mask[60, 33] = True
    cells[60, 33] = 0

    ends = {"within": (30, 14), "short": (40, 21), "at the line": (50, 8), "gap": (60, 33)}
    found = {}
    for name, rule in (("free", ()), ("held", rules.known_ends())):
        out = compose(rule, cells, mask, sustain=0.6, n=8)
        found[name] = {
            end: (out[:, row, column] == SUSTAIN).any() for end, (row, column) in ends.items()
        }
    assert all(found["free"].values())
    assert found["held"] == {"within": False, "short": False, "at the line": True, "gap": True}


def test_a_limit_beyond_reach_changes_nothing():
    assert np.array_equal(compose(rules.polyphony(128)), compose())


def test_no_two_notes_begin_together_off_the_beat():
    begun = (compose(rules.lone_off_beats(), sustain=0) >= ONSET).sum(axis=1)
    off = np.arange(WIDTH) % 4 > 0
    assert begun[:, off].max() == 1
    assert begun[:, ~off].max() > 1


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("start", [0, 32, -16])
def test_echo_repeats_the_rhythm(known, start):
    cells, mask = (
        torch.zeros(128, WIDTH, dtype=torch.long),
        torch.ones(128, WIDTH, dtype=torch.bool),
    )
    if known:
        cells[60, [0, 3, 7, 16, 20, 40, 44]] = ONSET
        mask[:, :16] = mask[:, 32:48] = False
    echoed, free = (
        compose(rule, cells, mask, onset=0.004, sustain=0, start=start, steps=16, n=4)
        for rule in (rules.echo(16), ())
    )
    first = -start % 32  # phrases go in pairs from step 0 of the picture

    def same(out):
        begins = (out >= ONSET).any(axis=1)[:, first : WIDTH - first]
        pairs = begins.reshape(4, -1, 2, 16)
        return pairs.all(axis=2).sum() / pairs.any(axis=2).sum()

    assert same(echoed) > (0.8 if known else 0.75)
    assert same(free) < 0.5


def test_a_rule_foresees_what_will_be_drawn():
    """Hard rules rest on this: logits + noise decides, and `new` is what this step settles.

    Rules follow one another.
    """
    seen, events = [], []

    def watch(logits, level, view):
        assert not (view.new & ~view.hidden).any()
        assert (view.cells[view.hidden] == HIDDEN).all()
        assert view.start == 48
        seen.append((level, view.new.clone(), (logits + view.noise).argmax(1)))
        return logits

    compose(
        [rules.key("C:maj"), watch],
        callback=lambda e: events.append(e["cells"].clone()),
        start=48,
        whole_notes=False,
    )
    assert [level for level, *_ in seen] == list(range(6))
    for (_, new, drawn), cells in zip(seen, events, strict=True):
        assert (cells[new] == drawn[new]).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: rules.key("C:sus4"),
        lambda: rules.key("H"),
        lambda: rules.key("C:maj", 1.5),
        lambda: rules.chords(dial=-0.1),
        lambda: compose(rule=[3]),
        lambda: compose(rule=3),
    ],
)
def test_what_is_no_rule_is_refused(make):
    with pytest.raises(OptionError):
        make()
