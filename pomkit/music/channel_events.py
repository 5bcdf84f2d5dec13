"""The events of a file's channels as arrays: notes, controllers and bends, on which channel, when.

They stand in the order of the file, as `Events.pairs` counts them:

    channels = ChannelEvents.of(events)          # of `midi_events.read_events`
    channels.tick[channels.kind == CONTROL]      # when controllers change

The tracks of a file share its channels. Only the patterns of format 2 do not, nor tracks on
different ports. `groups_of` tells them apart, and a **voice** is a channel of such a group, as one
number. `channel_room` and `effects` look up here what sounds on a voice and what acts on it.
"""

from typing import NamedTuple

import numpy as np

from .midi_codes import ALL_NOTES_OFF, ALL_SOUND_OFF, CONTROL, NOTE_OFF, NOTE_ON, Events

FORMAT_BYTE = 9  # byte of a file that tells its format
PATTERNS = 2


def groups_of(events: Events) -> list[int]:
    """A number for each track; those with the same one share their channels."""
    count = len(events.tracks)
    if events.source and events.source[FORMAT_BYTE] == PATTERNS:
        return list(range(count))
    return [events.ports.get(track, 0) for track in range(count)]


class ChannelEvents(NamedTuple):
    """The events of all channels, in the order of the file, (events,) each."""

    kind: np.ndarray  # NOTE_ON, CONTROL and so on (events,)
    track: np.ndarray
    voice: np.ndarray  # group << 4 | channel (events,)
    key: np.ndarray  # a pitch, or the number of a controller (events,)
    value: np.ndarray
    tick: np.ndarray

    @classmethod
    def of(cls, events: Events) -> "ChannelEvents":
        """The channels' events of a file that was read."""
        kind, voice_of_track, key, value, tick = events.messages
        track = voice_of_track.astype(np.int64) >> 4
        group = np.array(groups_of(events), np.int64)[track]
        voice = group << 4 | voice_of_track & 15
        return cls(kind, track, voice, key.astype(np.int64), value.astype(np.int64), tick)

    @property
    def ends_note(self) -> np.ndarray:
        """Which of them are ends of notes, bool (events,): a note-on of no velocity is one."""
        return (self.kind == NOTE_OFF) | ((self.kind == NOTE_ON) & (self.value == 0))

    @property
    def lifts_keys(self) -> np.ndarray:
        """Which of them are controllers that end all notes of their channel, bool (events,)."""
        is_lift = (self.key == ALL_SOUND_OFF) | (self.key >= ALL_NOTES_OFF)
        return (self.kind == CONTROL) & is_lift
