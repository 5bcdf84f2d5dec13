"""What acts on the notes of a channel: pedal, bends and volume that stay where the file has them.

Notes that are added to a file sound as its controllers say, and these are not changed. So what
acts on the new notes has to be told:

    effects_on(channels, [Stretch(voice=2, start=480, end=960)])

Controllers are looked up for all notes at once: what each of them says last before a note begins,
and what it says while the note sounds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .channel_events import ChannelEvents
from .midi_codes import BEND, CONTROL, PEDAL_CONTROLLER, PEDAL_DOWN, RESET_CONTROLLERS

VOLUME = 7
EXPRESSION = 11
# A bend of nothing, in the middle of 14 bits.
CENTRE = 0x2000


class Stretch(NamedTuple):
    """When a voice sounds."""

    voice: int
    start: int  # tick
    end: int  # tick


class _Moves(NamedTuple):
    """The events that move one controller of all voices, (moves,) each."""

    voice: np.ndarray
    tick: np.ndarray
    acts: np.ndarray  # whether it is then out of its place of rest, bool (moves,)


def effects_on(channels: ChannelEvents, stretches: Sequence[Stretch]) -> dict[str, int]:
    """How many notes each controller of a file acts on.

    Args:
        channels: the events of the file.
        stretches: when the notes sound.

    Returns:
        The number of notes by "pedal", "bend", "volume" and "expression"; 0 is left out.
    """
    if not stretches:
        return {}
    table = np.array(stretches, np.int64).T  # (3, notes)
    counts = {name: _count(moves, table) for name, moves in _moves_of(channels).items()}
    return {name: count for name, count in counts.items() if count}


def _moves_of(channels: ChannelEvents) -> dict[str, _Moves]:
    """The moves of each controller."""
    _, _, _, key, value, _ = channels
    is_control = channels.kind == CONTROL
    is_reset = is_control & (key == RESET_CONTROLLERS)

    is_pedal = is_control & (key == PEDAL_CONTROLLER)
    pedal = _moves(channels, is_pedal | is_reset, is_pedal & (value >= PEDAL_DOWN))

    # The two bytes of a bend are its lower and its upper bits.
    is_bend = channels.kind == BEND
    is_bent = (value << 7 | key) != CENTRE
    bend = _moves(channels, is_bend | is_reset, is_bend & is_bent)

    is_volume = is_control & (key == VOLUME)
    volume = _moves(channels, is_volume, is_volume & (value == 0))

    is_expression = is_control & (key == EXPRESSION)
    expression = _moves(channels, is_expression | is_reset, is_expression & (value == 0))
    return {"pedal": pedal, "bend": bend, "volume": volume, "expression": expression}


def _moves(channels: ChannelEvents, moves: np.ndarray, acts: np.ndarray) -> _Moves:
    """The events that move a controller, and those that bring it out of rest, bool (events,)."""
    return _Moves(channels.voice[moves], channels.tick[moves], acts[moves])


def _count(moves: _Moves, stretches: np.ndarray) -> int:
    """On how many stretches, (3, notes), a controller acts."""
    voice, start, end = stretches  # (notes,) each

    # Voice and tick as one number: so all are looked up at once. The sort is stable.
    last = max(int(moves.tick.max(initial=0)), int(end.max())) + 1
    place = moves.voice * last + moves.tick
    order = place.argsort(kind="stable")
    place = place[order]
    acts = np.append(moves.acts[order], False)
    voices = np.append(moves.voice[order], -1)

    # What is said last up to the start; nothing, where that is of another voice.
    after = place.searchsorted(voice * last + start, side="right")
    acts_before = acts[after - 1] & (voices[after - 1] == voice)

    # What is said from then on up to the end.
    acting = np.append(0, acts.cumsum())
    until = place.searchsorted(voice * last + end, side="left")
    acts_within = acting[np.maximum(until, after)] > acting[after]
    return int(np.count_nonzero(acts_before | acts_within))
