"""Controls on Gaussian noise with a categorical head, and the same controls on cells.

What is asked for comes, whatever the network says: here it says nothing but how rare notes are.
"""

import hashlib

import numpy as np
import pytest
import torch
from conftest import make_song, seeded
from torch import nn

from pomkit import Chord, OptionError, inpaint, masks, parse, render, rules
from pomkit.networks.hdit import HDiT, HDiTConfig, Level
from pomkit.processes.categorical import CategoricalDenoiser
from pomkit.processes.controls import Wishes, guide, sharpen
from pomkit.processes.edm import to_pixels
from pomkit.processes.states import ONSET, onset_odds
from pomkit.processes.steering import Steering
from pomkit.processes.uncover import sample_cells

WIDTH = 64
BARS = 4
EMPTY = np.zeros((128, WIDTH, 3), np.uint8)
SHARES = (0.93, 0.05, 0.02)
# Onsets in two pictures by such a head.
EXPECTED = 0.02 * 2 * 112 * WIDTH


def toy_model(shares=SHARES) -> CategoricalDenoiser:
    """A head whose network answers 0 everywhere."""
    levels = (Level(1, 32, 64, d_head=16),)
    shape = {"patch": (8, 16), "levels": levels, "mapping_width": 16, "mapping_d_ff": 32}
    network = HDiT(HDiTConfig(CategoricalDenoiser.in_channels(4), 6, **shape))
    nn.init.zeros_(network.patch_out.linear.weight)
    return CategoricalDenoiser(network, width=WIDTH, shares=shares).eval()


@pytest.fixture(scope="module")
def model() -> CategoricalDenoiser:
    return toy_model()


def compose(model, picture=EMPTY, mask=None, **options) -> np.ndarray:
    """Pictures (2, 128, 64, 3) composed in eight calls.

    The toy knows no rule of whole notes: a chain would make notes of its stray sustains.
    """
    mask = masks.everything(picture) if mask is None else mask
    usual = {"n": 2, "seed": 3, "calls": 8, "whole_notes": "off"}
    return inpaint(model, picture, mask, **usual | options)


def notes_of(pictures: np.ndarray) -> np.ndarray:
    return np.concatenate([parse(picture).notes for picture in pictures])


# One code for both families


@pytest.mark.parametrize(
    "asked, expected",
    [
        ({}, "0d6fc0f7dcbb"),
        ({"whole_notes": True, "temperature": 0.8}, "9ee6a176d05a"),
        ({"density": 40.0, "top_p": 0.9}, "8c5875085126"),
        ({"guidance": 2.0, "pitch_bias": torch.arange(12.0)}, "c4fe6f91a6b9"),
        (
            {
                "rule": [rules.key("C:maj"), rules.polyphony(3)],
                "density": 30.0,
                "whole_notes": True,
            },
            "71822339cd8b",
        ),
    ],
)
def test_cells_are_sampled_as_before_the_controls_were_shared(asked, expected):
    p = torch.tensor([0.85, 0.1] + [0.05 / 4] * 4).log()
    out = sample_cells(
        lambda cells, chords, t: p[None, :, None, None].expand(len(cells), -1, 128, WIDTH).clone(),
        torch.zeros(2, 128, WIDTH, dtype=torch.long),
        torch.zeros(2, 3, 128, WIDTH),
        torch.ones(128, WIDTH, dtype=torch.bool),
        6,
        calls=6,
        order="random",
        generator=seeded(7),
        **asked,
    )
    given = hashlib.sha256(out.numpy().astype(np.uint8).tobytes()).hexdigest()
    assert given.startswith(expected)


def test_the_temperature_leaves_the_evidence_alone():
    said = torch.randn(1, 6, 2, 3, generator=seeded())
    evidence = torch.randn(1, 6, 2, 3, generator=seeded(1))
    sharp = sharpen(said + evidence, 0.5, evidence)
    torch.testing.assert_close(sharp, 2 * said + evidence)
    assert torch.equal(sharpen(said, 0.5), said / 0.5)


# What is asked for comes


def test_without_a_wish_it_is_the_head_itself(model):
    x = torch.randn(2, 3, 128, WIDTH, generator=seeded())
    sigma = torch.tensor([0.5, 5.0])
    mask = torch.from_numpy(masks.everything(EMPTY)).expand(2, 1, -1, -1)
    x0 = to_pixels(np.stack([EMPTY, EMPTY]))

    def answer(x, sigma, **conditions):
        return model(x, sigma, as_logits=True)

    steering = Steering(model, answer, Wishes())
    steering.begin(x0, mask)
    expected = model(x, sigma).masked_fill(~mask, 0)
    torch.testing.assert_close(steering(x, sigma).masked_fill(~mask, 0), expected)


@pytest.mark.parametrize("density", [5, 10, 20, 40])
def test_the_density_asked_for_comes(model, density):
    onsets = len(notes_of(compose(model, calls=16, density=density)))
    assert onsets / (2 * BARS) == pytest.approx(density, rel=0.1)


def test_a_temperature_keeps_the_number_of_notes(model):
    for temperature in (0.7, 1.3):
        onsets = len(notes_of(compose(model, temperature=temperature, calls=16)))
        assert onsets == pytest.approx(EXPECTED, rel=0.2)


@pytest.mark.parametrize("whole_notes", ["off", "last"])
def test_a_key_lock_holds(model, whole_notes):
    asked = {"rule": rules.key("C:maj"), "whole_notes": whole_notes}
    pitches = notes_of(compose(model, **asked))["pitch"]
    assert set(pitches % 12) == {0, 2, 4, 5, 7, 9, 11}


def test_a_pitch_bias_locks_pitch_classes(model):
    bias = np.where(np.isin(np.arange(12), (0, 4, 7)), 0, -30.0)
    pitches = notes_of(compose(model, pitch_bias=bias))["pitch"]
    assert set(pitches % 12) == {0, 4, 7}


def test_a_chord_lock_follows_the_chords(model):
    chords = [Chord(0, 32, "C:maj"), Chord(32, 32, "D:min")]
    notes = notes_of(compose(model, chords=chords, rule=rules.chords()))
    for first, tones in ((0, {0, 4, 7}), (32, {2, 5, 9})):
        inside = (notes["onset"] >= first) & (notes["onset"] < first + 32)
        assert set(notes["pitch"][inside] % 12) == tones


def test_a_maximum_polyphony_holds():
    model = toy_model((0.93, 0.01, 0.06))
    free, held = (compose(model, rule=rule) for rule in (None, rules.polyphony(2)))
    most = [np.any(pictures[:, 8:120], axis=-1).sum(axis=1).max() for pictures in (free, held)]
    assert most[0] > 4
    assert most[1] == 2


def test_a_maximum_above_the_music_takes_few_notes_away():
    """In loud noise nothing is sure to sound: a limit must not take that for silence."""
    model = toy_model((0.93, 0.01, 0.06))
    free = compose(model)
    most = np.any(free[:, 8:120], axis=-1).sum(axis=1).max()
    held = compose(model, rule=rules.polyphony(int(most)))
    assert len(notes_of(held)) > 0.9 * len(notes_of(free))


def test_a_number_is_reached_within_a_rule(model):
    asked = {"rule": rules.pitches(60, 84), "density": 20, "calls": 24}
    notes = notes_of(compose(model, **asked))
    assert np.isin(notes["pitch"], np.arange(60, 85)).all()
    assert len(notes) / (2 * BARS) == pytest.approx(20, rel=0.1)


def test_onsets_come_in_the_likeliest_cells(model):
    pictures = compose(model, top_p=0.5, calls=16)
    assert len(notes_of(pictures)) == pytest.approx(EXPECTED, rel=0.2)


def test_guidance_weighs_what_it_sees_by_state(model, rng):
    picture = render(make_song(rng), 0, WIDTH)
    x0 = model.encode(picture[None])
    mask = torch.from_numpy(masks.bars(picture, 2, 3))[None, None]
    seeing = torch.randn(1, 6, 128, WIDTH, generator=seeded(1))
    blind = torch.randn(1, 6, 128, WIDTH, generator=seeded(2))

    def answer(x, sigma, known=None, **conditions):
        return blind if known is None else seeing

    seen = {"known": x0, "mask": mask}
    steering = Steering(model, answer, Wishes(guidance=2.0), conditions=seen)
    steering.begin(x0, mask)
    logits = steering.ask(x0, torch.ones(1), {"chords": torch.zeros(1, 3, 128, WIDTH)})
    torch.testing.assert_close(logits.softmax(1), guide(seeing, blind, 2.0).softmax(1))


def test_what_lies_behind_the_end_of_a_picture_is_not_counted(model):
    narrow = np.zeros((128, 40, 3), np.uint8)
    pictures = inpaint(model, narrow, masks.everything(narrow), n=2, seed=1, calls=16, density=20)
    assert len(notes_of(pictures)) / (2 * 40 / 16) == pytest.approx(20, rel=0.1)


def test_repaint_obeys_too(model, rng):
    picture = render(make_song(rng), 0, WIDTH)
    mask = masks.bars(picture, 2, 3)
    asked = {"method": "repaint", "U": 2, "calls": 8, "rule": rules.key("C:maj")}
    out = compose(model, picture, mask, **asked)
    onset = (out[..., 0] > 0) & mask
    rows = np.nonzero(onset)[1]
    assert len(rows)
    assert set((127 - rows) % 12) <= {0, 2, 4, 5, 7, 9, 11}


# Whole notes


@pytest.mark.parametrize("whole_notes, refused", [("off", True), ("last", False), ("calls", False)])
def test_whole_notes_are_whole_even_from_a_head_that_knows_no_rule(whole_notes, refused, rng):
    model = toy_model((0.5, 0.4, 0.1))
    picture = render(make_song(rng), 0, WIDTH)
    mask = masks.bars(picture, 2, 3)
    out = inpaint(model, picture, mask, seed=1, calls=6, whole_notes=whole_notes)
    assert (out.refused[0] > 0) == refused
    assert np.array_equal(out[0][~mask], picture[~mask])


def test_options_that_do_not_fit_are_refused(model):
    with pytest.raises(OptionError, match="whole_notes 'often' is unknown; choose one of off"):
        compose(model, whole_notes="often")
    with pytest.raises(OptionError, match="onsets is no option of edm models; leave it out"):
        compose(model, onsets="early")
    with pytest.raises(OptionError, match="rule is 3"):
        compose(model, rule=3)
    with pytest.raises(OptionError, match="guidance needs method='conditioned'"):
        compose(model, method="repaint", guidance=2.0)


def test_the_toy_knows_how_rare_notes_are(model):
    with torch.inference_mode():
        logits = model(torch.zeros(1, 3, 128, WIDTH), torch.full((1,), 1e6), as_logits=True)
    assert float(onset_odds(logits).sigmoid().mean()) == pytest.approx(SHARES[2], rel=1e-2)
    assert logits.shape[1] == ONSET + 4
