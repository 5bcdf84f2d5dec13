"""The options of `inpaint`, checked against what a model knows.

    inpaint(model, picture, mask, n=4, temperature=0.9)

An option that is not given is the model's own. One that the model's family does not know is an
error, and the error says which ones it knows; with its neutral value (`NEUTRAL`) it passes.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ..errors import OptionError, check_choice, check_range, check_whole, shown
from ..processes.contract import Model, Options, methods_of, names_of

MOST = {"n": 1024, "calls": 10000, "U": 1000, "jump": 10000}
# Values that ask for nothing, so that a model may be asked for them that does not know the option.
NEUTRAL = {"U": 1, "jump": 1, "guidance": 1.0, "temperature": 1.0}
DENSEST = 9999  # notes in 16 steps
# Numbers: the lowest and the highest one, and what they count.
RANGES = {
    "density": (0, DENSEST, "onsets in 16 masked steps"),
    "busiest": (0, DENSEST, "onsets in 16 masked steps at most"),
    "guidance": (-1000, 1000, "(1 is as learned)"),
    "temperature": (1e-6, 1000, "(1 is as learned)"),
    "top_p": (1e-9, 1, "(a share of the probability)"),
}


def refuse_positional(function: str, extra: tuple[Any, ...]) -> None:
    """Raise OptionError where options of a function were given by position."""
    if extra:
        raise OptionError(
            f"{function} takes its options by name; write "
            f"{function}(model, picture, mask, n={extra[0]!r}, seed=1)"
        )


def check_options(model: Model, given: Mapping[str, Any]) -> Options:
    """Check the options of `inpaint` and fill in what a model's family has as defaults.

    Args:
        model: whose options they are.
        given: name -> value; None is not given. `n` is checked, too.

    Raises:
        OptionError: an option is foreign to the family, or its value does not fit.
    """
    wishes = {name: value for name, value in given.items() if value is not None}
    if "steps" in wishes:
        wishes["calls"] = one_of_two_names(wishes)
    drop_foreign(model, wishes)
    if "temperature" in model.options and "temperature" not in wishes:
        wishes["temperature"] = model.usual_temperature
        if model.usual_warming:
            wishes.setdefault("warming", model.usual_warming)

    method = wishes.setdefault("method", methods_of(model)[0])
    check_choice("for this model the method", method, methods_of(model))
    wishes.setdefault("calls", model.methods[method])
    for name, most in MOST.items():
        if name in wishes:
            check_whole(name, wishes[name], 1, most)
            wishes[name] = int(wishes[name])
    for name, (low, high, unit) in RANGES.items():
        if name in wishes:
            check_range(name, wishes[name], low, high, unit=unit)
            wishes[name] = float(wishes[name])
    if "pitch_bias" in wishes:
        wishes["pitch_bias"] = check_bias(wishes["pitch_bias"])

    wishes.pop("n", None)
    known = {field.name for field in fields(Options)}
    own = {name: wishes.pop(name) for name in list(wishes) if name not in known}
    return model.check(Options(**wishes, own=own))


def check_bias(bias: Any) -> np.ndarray:
    """A bias of each pitch class, float (12,); OptionError where it is none."""
    try:
        numbers = np.asarray(bias, float)
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros(0)
    if numbers.shape != (12,) or not np.isfinite(numbers).all():
        raise OptionError(
            f"pitch_bias is {shown(bias)}; give 12 numbers, one for each pitch class from C"
        )
    return numbers


def drop_foreign(model: Model, wishes: dict[str, Any]) -> None:
    """Leave out, in place, neutral options that a model does not know; OptionError for others."""
    for name in wishes.keys() - model.options - {"n"}:
        value = wishes.pop(name)
        if name not in NEUTRAL or not np.isscalar(value) or value != NEUTRAL[name]:
            raise OptionError(
                f"{name} is no option of {model.process} models; leave it out, they know "
                f"{names_of(model.options)}"
            )


def one_of_two_names(wishes: dict[str, Any]) -> Any:
    """The network calls, which `steps` asks for as well; OptionError for both."""
    if "calls" in wishes:
        raise OptionError(
            f"calls={shown(wishes['calls'])} and steps={shown(wishes['steps'])} are two names of "
            "one option; give one of them"
        )
    return wishes.pop("steps")
