"""The one exception family: every message names what was given, what is wrong with it and what to do."""

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
    """Raise OptionError unless `given` is one of `choices`."""
    if given not in choices:
        raise OptionError(
            f"{what} {given!r} is unknown; choose one of {', '.join(map(str, choices))}"
        )


def check_range(what: str, given: float, low: float, high: float, unit: str = "") -> None:
    """Raise OptionError unless low <= `given` <= high (NaN is outside)."""
    if not low <= given <= high:
        raise OptionError(f"{what} is {given}; choose {low} to {high} {unit}".rstrip())


def exit_code(program: str, work: Callable[[], object]) -> int:
    """Do a program's work: 0, or 2 and one line on stderr where the input is bad."""
    try:
        work()
    except (PomkitError, OSError) as fault:
        advice = (
            ""
            if isinstance(fault, PomkitError)
            else "; check the path, its permissions and the disk"
        )
        print(f"{program}: {fault}{advice}", file=sys.stderr)
        return 2
    return 0
