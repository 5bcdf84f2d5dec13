"""The one exception family, and the checks that raise it.

Whatever pomkit refuses on purpose is a PomkitError, so one `except pomkit.PomkitError` is enough.
Every message says what was given and what is wrong with it and, after a semicolon, what to do.

    check_range("bpm", 0, 4, 999)    # OptionError: bpm is 0; choose 4 to 999
"""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from reprlib import Repr
from types import UnionType
from typing import Any

# Looks at a few items of a collection only.
SHORT_REPR = Repr()

# The exit code of a program that Ctrl-C ended: 128 + SIGINT, as shells have it.
INTERRUPTED = 130
# Characters of a message, and of a value in it.
LONGEST = 300
LONGEST_VALUE = 60


class PomkitError(Exception):
    """Base of all errors that pomkit raises on purpose; a message has at most `LONGEST` characters.

    Of a longer one the middle goes: how it begins and what to do, at its end, stay.
    """

    def __str__(self) -> str:
        return shortened(super().__str__(), LONGEST)


class MidiError(PomkitError):
    """A MIDI file cannot be read or written."""


class PictureError(PomkitError):
    """An image, picture or mask has the wrong shape, type or content."""


class CheckpointError(PomkitError):
    """A checkpoint is missing, damaged or of another architecture."""


class OptionError(PomkitError, ValueError):
    """An option has a value that does not exist or does not fit the other options."""


class PomkitWarning(UserWarning):
    """Something can be done, but not as well as who asks for it may think."""


def shortened(text: str, most: int) -> str:
    """A text without its middle, where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    head = (most - 5) // 2
    return f"{text[:head]} ... {text[len(text) - (most - 5 - head) :]}"


def shown(value: object) -> str:
    """A value as a message shows it: its `repr`, or of a large one the beginning or the type."""
    try:
        text = SHORT_REPR.repr(value)
    # Whoever wrote the class of the value may raise what they like.
    except Exception:
        text = f"of type {type(value).__name__}"
    return shortened(" ".join(text.split()), LONGEST_VALUE)


def check_choice(what: str, given: object, choices: Collection[object]) -> None:
    """Raise OptionError unless `given` is one of `choices`; `what` names the option."""
    try:
        known = not getattr(given, "shape", ()) and given in choices
    # What cannot be compared, as a list with the names in a dict, is none of them.
    except (TypeError, ValueError):
        known = False
    if not known:
        names = ", ".join(map(str, choices))
        raise OptionError(f"{what} {shown(given)} is unknown; choose one of {names}")


def check_range(what: str, given: Any, low: float, high: float, *, unit: str = "") -> None:
    """Raise OptionError unless `given` is a number in a range (NaN never is).

    Args:
        what: the option's name, for the message.
        given: its value; numpy's numbers are numbers, too.
        low: the smallest value that is allowed.
        high: the largest one.
        unit: what the message says behind the two bounds.

    Raises:
        OptionError: `given` is no number, below `low` or above `high`.
    """
    is_number = isinstance(given, Real)
    if not is_number or not low <= given <= high:
        raise OptionError(f"{what} is {shown(given)}; choose {low} to {high} {unit}".rstrip())


def check_whole(what: str, given: Any, low: int, high: int, *, unit: str = "") -> None:
    """Raise OptionError unless `given` is a whole number in a range; arguments as `check_range`'s.

    Args:
        what: the option's name, for the message.
        given: its value; numpy's whole numbers are whole numbers, too.
        low: the smallest value that is allowed.
        high: the largest one.
        unit: what the message says behind the two bounds.

    Raises:
        OptionError: `given` is no whole number, below `low` or above `high`.
    """
    is_whole = isinstance(given, Integral)
    if not is_whole or not low <= given <= high:
        text = f"{what} is {shown(given)}; choose a whole number from {low} to {high} {unit}"
        raise OptionError(text.rstrip())


def check_flag(what: str, given: object) -> None:
    """Raise OptionError unless `given` is true or false; `what` names the option."""
    with refused(what, given, "choose True or False"):
        bool(given)


def check_kind(what: str, given: object, kind: type | UnionType, remedy: str) -> None:
    """Raise OptionError unless `given` is of a kind; `remedy` says what to give instead."""
    if not isinstance(given, kind):
        raise OptionError(f"{what} is {shown(given)}; {remedy}")


@contextmanager
def refused(what: str, given: object, remedy: str) -> Iterator[None]:
    """Make an OptionError of what Python and numpy raise of an odd value meanwhile.

    Args:
        what: the option's name, for the message.
        given: its value.
        remedy: what to give instead.

    Raises:
        OptionError: what is done inside fails because of the type, the size or the number of
            values of `given`.
    """
    try:
        yield
    except PomkitError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as fault:
        raise OptionError(f"{what} is {shown(given)}; {remedy}") from fault


def exit_code(program: str, work: Callable[[], object]) -> int:
    """Do a program's work and return its exit code.

    Args:
        program: its name, which begins the line on stderr.
        work: what is to be done.

    Returns:
        0; 2 where `work` raised a PomkitError or an OSError; 130 where Ctrl-C ended it. One line on
        stderr says why.
    """
    try:
        work()
    except PomkitError as fault:
        print(f"{program}: {fault}", file=sys.stderr)
    except OSError as fault:
        print(f"{program}: {fault}; check the path, its permissions and the disk", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted; every file is whole or not there", file=sys.stderr)

        # Where the interrupt met a text that `exec` ran, as dataclasses are made of, Python would
        # die of the signal at its end. A text that runs to its end makes it forget that.
        exec("")
        return INTERRUPTED
    else:
        return 0
    return 2
