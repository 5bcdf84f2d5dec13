"""Who is heard: parts that are muted, parts that are alone, and the drums of the file.

    mix = Mix(alone=frozenset({"violin"}))
    mix.hears("bass")                            # False

`read_midi` leaves drums out, since they have no pitches that a model could learn. They stay in the
file, so they should be heard with it: `drums_of` reads them again, on the grid of the song, and
`with_drums` puts them beside its parts.

The law: a mix changes what sounds, and never the music.
Read on: `session`, which has a mix and makes the sounds.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from ..errors import PomkitError
from ..music.grid import ReadOptions, quantise
from ..music.midi_codes import DRUMS
from ..music.midi_events import read_events
from ..music.song import Song
from ..music.splice import PART_SIGNS
from ..music.tables import NOTE_DTYPE

NO_DRUMS = Song(np.zeros(0, NOTE_DTYPE))


class Mix(NamedTuple):
    """Which parts are heard, by their names.

    Attributes:
        muted: these are not heard.
        alone: where there are some, only these are heard, muted or not.
    """

    muted: frozenset[str] = frozenset()
    alone: frozenset[str] = frozenset()

    def hears(self, part: str) -> bool:
        """Whether a part is heard."""
        return part in self.alone if self.alone else part not in self.muted


def drums_of(song: Song | None) -> Song:
    """The drums that the file of a song has and the song has not: notes and parts alone.

    Args:
        song: as `read_midi` read it; None, or one without a file: there are none.
    """
    options = (song.read_as if song else None) or ReadOptions()
    if song is None or song.source is None or options.drums:
        return NO_DRUMS
    return _drums_in(song.source, song.steps_per_beat, options)


@lru_cache(maxsize=4)
def _drums_in(source: bytes, steps_per_beat: int, options: ReadOptions) -> Song:
    """The drums in the bytes of a MIDI file; none where it cannot be read with them."""
    try:
        events = read_events(source, "the file", salvage=options.salvage, pedal=options.pedal)
        if not any(channel == DRUMS for _, channel, _ in events.parts):
            return NO_DRUMS

        # On the grid of the pitched notes, whatever the drums lie on.
        read = partial(quantise, events, "the file", steps_per_beat=steps_per_beat)
        phase = read(drums=False, phase=options.phase)["report"].phase
        song = Song.unchecked(read(drums=True, phase=phase))
    except PomkitError:
        return NO_DRUMS
    used = np.unique(song.notes["part"]).tolist()
    numbers = [part for part in used if song.channels[part] == DRUMS]
    return only_parts(song, numbers)


def only_parts(song: Song, numbers: Sequence[int]) -> Song:
    """The notes of some parts by their numbers, in a Song of these parts alone."""
    notes = song.notes[np.isin(song.notes["part"], numbers)]
    notes["part"] = np.searchsorted(numbers, notes["part"])
    signs: dict[str, Any] = {}
    for sign in PART_SIGNS:
        values = getattr(song, sign)
        signs[sign] = tuple(values[number] for number in numbers)
    return Song(notes, **signs)


def with_drums(song: Song, drums: Song) -> Song:
    """A song with the drums of its file as further parts, to be heard."""
    if not drums.parts:
        return song
    notes = drums.notes.copy()
    notes["part"] += len(song.parts)
    signs: dict[str, Any] = {}
    for sign in PART_SIGNS:
        signs[sign] = (*getattr(song, sign), *getattr(drums, sign))
    return replace(song, notes=np.concatenate([song.notes, notes]), **signs)
