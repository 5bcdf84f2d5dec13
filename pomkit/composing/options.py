"""The options of `inpaint`, checked against what a model knows.

    inpaint(model, picture, mask, n=4, temperature=0.9)

An option that is not given, or has its neutral value (`NEUTRAL`), has no effect. One that the
model's family does not know is an error, and the error says which ones it knows.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ..errors import OptionError, check_choice, check_range, check_whole
from ..processes.contract import Model, Options, methods_of, names_of

MOST = {"n": 1024, "calls": 10000, "U": 1000, "jump": 10000}
# What stands for "not given", beside None.
NEUTRAL = {"U": 1, "jump": 1, "guidance": 1.0, "temperature": 1.0}
DENSEST = 9999  # notes per bar


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
        given: name -> value; None, or a neutral value, is not given. `n` is checked, too.

    Raises:
        OptionError: an option is foreign to the family, or its value does not fit.
    """
    wishes = {name: value for name, value in given.items() if is_given(name, value)}
    if "steps" in wishes:
        wishes["calls"] = one_of_two_names(wishes)

    foreign = [name for name in wishes if name not in model.options | {"n"}]
    if foreign:
        raise OptionError(
            f"{foreign[0]} is no option of {model.process} models; leave it out, they know "
            f"{names_of(model.options)}"
        )

    method = wishes.setdefault("method", methods_of(model)[0])
    check_choice("for this model the method", method, methods_of(model))
    wishes.setdefault("calls", model.methods[method])
    for name, most in MOST.items():
        check_whole(name, wishes.get(name, 1), 1, most)
    check_range("density", wishes.get("density", 0), 0, DENSEST, unit="onsets per masked bar")

    wishes.pop("n", None)
    known = {field.name for field in fields(Options)}
    own = {name: wishes.pop(name) for name in list(wishes) if name not in known}
    return model.check(Options(**wishes, own=own))


def is_given(name: str, value: Any) -> bool:
    """Whether an option asks for something: None and neutral values do not."""
    if value is None:
        return False
    return name not in NEUTRAL or not np.isscalar(value) or value != NEUTRAL[name]


def one_of_two_names(wishes: dict[str, Any]) -> Any:
    """The network calls, which `steps` asks for as well; OptionError for both."""
    if "calls" in wishes:
        raise OptionError(
            f"calls={wishes['calls']} and steps={wishes['steps']} are two names of one option; "
            "give one of them"
        )
    return wishes.pop("steps")
