"""The one exception family, and the checks that raise it.

Whatever pomkit refuses on purpose is a PomkitError, so one `except pomkit.PomkitError` is enough.
Every message says what was given and what is wrong with it and, after a semicolon, what to do.

    check_range("bpm", 0, 4, 999)    # OptionError: bpm is 0; choose 4 to 999
"""

import sys
from collections.abc import Callable, Collection


class PomkitError(Exception):
    """Base of all errors that pomkit raises on purpose."""


class MidiError(PomkitError):
    """A MIDI file cannot be read or written."""


class PictureError(PomkitError):
    """An image, picture or mask has the wrong shape, type or content."""


class CheckpointError(PomkitError):
    """A checkpoint is missing, damaged or of another architecture."""


class OptionError(PomkitError, ValueError):
    """An option has a value that does not exist or does not fit the other options."""


def check_choice(what: str, given: object, choices: Collection[object]) -> None:
    """Raise OptionError unless `given` is one of `choices`; `what` names the option."""
    if given not in choices:
        names = ", ".join(map(str, choices))
        raise OptionError(f"{what} {given!r} is unknown; choose one of {names}")


def check_range(what: str, given: float, low: float, high: float, *, unit: str = "") -> None:
    """Raise OptionError unless `given` is in a range (NaN never is).

    Args:
        what: the option's name, for the message.
        given: its value.
        low: the smallest value that is allowed.
        high: the largest one.
        unit: what the message says behind the two bounds.

    Raises:
        OptionError: `given` is below `low` or above `high`.
    """
    if not low <= given <= high:
        raise OptionError(f"{what} is {given}; choose {low} to {high} {unit}".rstrip())


def exit_code(program: str, work: Callable[[], object]) -> int:
    """Do a program's work and return its exit code.

    Args:
        program: its name, which begins the line on stderr.
        work: what is to be done.

    Returns:
        0, or 2 where `work` raised a PomkitError or an OSError: one line on stderr says why.
    """
    try:
        work()
    except PomkitError as fault:
        print(f"{program}: {fault}", file=sys.stderr)
    except OSError as fault:
        print(f"{program}: {fault}; check the path, its permissions and the disk", file=sys.stderr)
    else:
        return 0
    return 2
