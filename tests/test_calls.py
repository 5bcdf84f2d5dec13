"""Odd values of options: a right result, or one clear error of the family, never anything else."""

import pickle

import numpy as np
import pytest
import torch
from conftest import make_song

from pomkit import (
    OptionError,
    PictureError,
    PomkitError,
    generate,
    inpaint,
    load_model,
    masks,
    parse,
    render,
)
from pomkit.errors import LONGEST, LONGEST_VALUE, check_choice, check_range, check_whole, shown

NAN = float("nan")
ODD = {
    "text": "x",
    "long text": "x" * 10**5,
    "NaN": NAN,
    "numpy's NaN": np.float32("nan"),
    "infinity": float("inf"),
    "below": -7,
    "above": 10**30,
    "huge": 10**5000,
    "list": [1, 2],
    "long list": [1] * 10**5,
    "array": np.array([1, 2]),
    "array of one": np.array([1]),
    "tensor": torch.ones(2),
    "dict": {},
    "bytes": b"1",
    "complex": 1j,
    "object": object(),
    "whole": np.int64(1),
    "unsigned": np.uint8(1),
    "single": np.float32(0.5),
}
SAMPLING = [
    "n", "seed", "calls", "steps", "method", "U", "jump", "density", "guidance", "temperature",
    "top_p", "rule", "pitch_bias", "bars", "sampler", "unknown",
]  # fmt: skip


@pytest.fixture(scope="module")
def music():
    picture = render(make_song(np.random.default_rng(0)), 0, 64)
    return load_model("tiny"), picture, masks.bars(picture, 2)


def answer(act):
    """What is given, or the error of the family, whose message is short and says what to do."""
    try:
        return act()
    except PomkitError as fault:
        assert 10 < len(str(fault)) <= LONGEST
        return fault


@pytest.mark.parametrize("name", SAMPLING)
def test_an_odd_value_of_an_option_gives_a_picture_or_a_plain_error(music, name):
    model, picture, mask = music
    usual = {"calls": 1, "seed": 1} if name != "steps" else {"seed": 1}
    for value in ODD.values():
        out = answer(lambda: inpaint(model, picture, mask, **(usual | {name: value})))  # noqa: B023
        if not isinstance(out, PomkitError):
            assert out.shape[1:] == picture.shape
            assert (out[:, ~mask] == picture[~mask]).all()


@pytest.mark.parametrize("name", ["density", "guidance", "temperature", "top_p"])
@pytest.mark.parametrize("value", [NAN, np.float64("nan"), float("inf"), "1", [1.0]])
def test_what_is_no_finite_number_is_refused(music, name, value):
    with pytest.raises(OptionError, match=name):
        inpaint(*music, calls=1, **{name: value})


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "1", 1.5, [1], NAN])
def test_a_seed_is_a_whole_number(music, value):
    with pytest.raises(OptionError, match="seed"):
        inpaint(*music, calls=1, seed=value)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
def test_numpys_whole_numbers_are_whole_numbers(music, kind):
    model, picture, mask = music
    out = inpaint(model, picture, mask, n=kind(2), calls=kind(1), seed=kind(3), U=kind(1))
    assert np.array_equal(out, inpaint(model, picture, mask, n=2, calls=1, seed=3))
    assert type(out.seed) is int


def test_the_largest_seed_composes(music):
    assert inpaint(*music, calls=1, seed=2**64 - 1).seed == 2**64 - 1


def test_a_result_that_was_pickled_knows_how_it_was_made(music):
    out = inpaint(*music, calls=1, seed=5)
    again = pickle.loads(pickle.dumps(out))
    assert np.array_equal(again, out)
    assert (again.seed, again.seconds) == (5, out.seconds)
    assert np.array_equal(again.refused, out.refused)


def test_a_models_name_is_a_model(music):
    model, picture, mask = music
    out = inpaint("tiny", picture, mask, calls=1, seed=1)
    assert np.array_equal(out, inpaint(model, picture, mask, calls=1, seed=1))
    assert generate("tiny", width=64, calls=1).shape == (1, 128, 64, 3)


@pytest.mark.parametrize("model", ["no such model", None, 3, [1]])
def test_what_is_no_model_is_refused(music, model):
    assert isinstance(answer(lambda: inpaint(model, *music[1:])), PomkitError)


def test_no_bar_lines_are_those_of_4_4(music):
    model, picture, mask = music
    out = inpaint(model, picture, mask, bars=(), calls=1, seed=1)
    assert np.array_equal(out, inpaint(model, picture, mask, calls=1, seed=1))
    assert np.array_equal(masks.bars(64, 2, 3, bars=()), masks.bars(64, 2, 3))


def test_a_list_as_picture_is_refused_in_few_words(music):
    with pytest.raises(PictureError) as fault:
        parse(music[1].tolist())
    assert len(str(fault.value)) <= LONGEST


def test_a_long_message_keeps_its_beginning_and_the_remedy():
    text = str(OptionError("what is wrong " + "x" * 1000 + "; do this"))
    assert len(text) == LONGEST
    assert text.startswith("what is wrong")
    assert text.endswith("; do this")


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_a_value_is_shown_in_few_characters(value):
    assert 0 < len(shown(value)) <= LONGEST_VALUE


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_every_check_takes_every_value(value):
    answer(lambda: check_choice("what", value, ("a", 1)))
    answer(lambda: check_choice("what", value, {"a": 1}))
    answer(lambda: check_range("what", value, 0, 4))
    answer(lambda: check_whole("what", value, 0, 4))
