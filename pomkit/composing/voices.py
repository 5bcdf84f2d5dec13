"""How many voices a part has: as many may it have where it is composed anew.

    limit = most_at_once(song.notes[song.notes["part"] == 0])      # 1: a flute
    inpaint(model, picture, mask, rule=rules.polyphony(limit, known=False))

The picture shows a model all parts merged, so nothing tells it that the region is a flute's.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import OptionError, shown
from ..processes import rules

# The value of the option "voices" that takes the number from the song.
AS_THE_PART = "as the part"


def most_at_once(notes: np.ndarray) -> int:
    """How many notes, NOTE_DTYPE (notes,), sound in a step at most."""
    onset = notes["onset"]
    change = np.zeros(int((onset + notes["duration"]).max(initial=0)) + 1, int)
    np.add.at(change, onset, 1)
    np.add.at(change, onset + notes["duration"], -1)
    return int(change.cumsum().max())


def voices_limit(voices: int | str | None, notes: np.ndarray | None) -> int:
    """The number that an option "voices" means.

    Args:
        voices: "as the part"; or a number from 1; or None for any number.
        notes: those of the one part that is composed, NOTE_DTYPE (notes,); None: there is no one.

    Returns:
        How many notes may sound at once; 0: any number.

    Raises:
        OptionError: it is something else.
    """
    if voices is None:
        return 0
    if voices == AS_THE_PART:
        return 0 if notes is None else most_at_once(notes)
    if isinstance(voices, bool) or not isinstance(voices, int | np.integer) or voices < 1:
        raise OptionError(
            f"voices is {shown(voices)}; choose a whole number from 1, {AS_THE_PART!r}, or None"
        )
    return int(voices)


def with_voices(rule: Any, limit: int) -> list[Callable[..., Any]]:
    """The rules of an option `rule`, and behind them, where they must stand, those of the voices.

    The notes of other parts are not prolonged: they would count as a voice, and are not kept.

    Args:
        rule: None, a rule, or several.
        limit: so many notes at once; 0: any number.
    """
    found = [] if rule is None else [rule] if callable(rule) else list(rule)
    if not limit:
        return found
    return [*found, rules.known_ends(), rules.polyphony(limit, known=False)]
