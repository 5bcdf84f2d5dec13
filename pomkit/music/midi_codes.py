"""What the bytes of a MIDI file mean, and the record of what a file says.

A standard MIDI file (SMF 1.0) is a header and tracks. A track is a list of events, each one a
delta time (ticks since the event before), a status byte and data. The upper half of a status
below F0 says what happens, the lower half on which of 16 channels:

    90 3C 50    note-on (9), channel 0, pitch 60 (3C), velocity 80 (50)
    80 3C 40    note-off (8), channel 0, pitch 60, release velocity 64
    FF 51 ...   a meta event (FF) of type 51: the tempo

Here stand these numbers by name, the limits of what is read, and `Events`, the tables that
reading fills. `midi_tracks` and `midi_runs` read the tracks, `midi_events` whole files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .midi_text import decode_text

# A larger file, unpacked, would need arrays of too much memory.
MAX_BYTES = 3 * 2**20
# More events that break runs (see midi_tracks) would take too much time.
MAX_WALKED = 100_000

# The upper half of a status byte below F0.
NOTE_OFF = 0x8
NOTE_ON = 0x9
AFTERTOUCH = 0xA
CONTROL = 0xB
PROGRAM = 0xC
PRESSURE = 0xD
BEND = 0xE

# Status bytes whose data begins with its length.
SYSTEM_EXCLUSIVE = 0xF0
ESCAPE = 0xF7
META = 0xFF

# How many bytes of data follow each status that breaks a run (see midi_tracks), or why not so many.
OF_RUN = -2  # a status of runs, with two bytes; 0 to 127 are no status and stand for one of these
TOLD_LENGTH = -1
DATA_BYTES = {
    **dict.fromkeys(range(0xC0), OF_RUN),
    **dict.fromkeys(range(0xC0, 0xE0), 1),
    **dict.fromkeys(range(0xE0, 0xF0), OF_RUN),
    **dict.fromkeys(range(0xF0, 0x100), 0),
    0xF1: 1,
    0xF2: 2,
    0xF3: 1,
    **dict.fromkeys((SYSTEM_EXCLUSIVE, ESCAPE, META), TOLD_LENGTH),
}

# The types of meta events.
META_TEXTS = range(0x01, 0x10)
META_NAME = 0x03
META_LYRIC = 0x05
META_MARKER = 0x06
META_PORT = 0x21
META_END = 0x2F
META_TEMPO = 0x51
META_METER = 0x58
META_KEY = 0x59
META_SPECIFIC = 0x7F

# Content of a sequencer-specific event (7D: no maker): pomkit's mark for a part without notes.
EMPTY_PART = b"\x7dpomkit"
# The channel that General MIDI calls 10.
DRUMS = 9
# The channels of all other instruments.
PITCHED = tuple(channel for channel in range(16) if channel != DRUMS)
# The controller of the sustain pedal, and the lowest value at which the pedal is down.
PEDAL_CONTROLLER = 64
PEDAL_DOWN = 64
# Controllers that end notes: one silences a channel at once, the other and those above it (which
# change the mode of a channel) lift its keys. One puts the pedal up.
ALL_SOUND_OFF = 120
RESET_CONTROLLERS = 121
ALL_NOTES_OFF = 123

# Keys by how many sharps they have, from 7 flats to 7 sharps: those of major, then of minor.
MOST_SHARPS = 7
MAJOR_KEYS = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
MINOR_KEYS = tuple(f"{name}m" for name in (*MAJOR_KEYS[3:], "G#", "D#", "A#"))
KEY_SIGNS = (MAJOR_KEYS, MINOR_KEYS)


@dataclass
class Events:
    """What a file says, times in ticks.

    Attributes:
        per_beat: ticks of a beat; in SMPTE's time, of half a second.
        notes: int64 (5, notes), rows: start, end, pitch, velocity, index in `parts`.
        parts: (track, channel, program) of each part.
        programs: (track, channel, tick, program) of every change, in their order.
        names: track -> its name.
        tempos: (tick, microseconds of a beat).
        meters: (tick, numerator, denominator).
        keys: (tick, name of the key: "Em", "F#").
        markers: (tick, text).
        lyrics: (tick, text).
        skipped: the kinds of the meta and system events that say nothing of these (`Walked.kind`).
        held: whether notes last while the pedal is down.
        counts: of what else there is, by the names that `ReadReport` gives it.
        remarks: what is not as the standard has it.
        unknown_texts: names and texts whose encoding is not known, as they are shown.
        source: the file itself, unpacked; None: there is none.
        messages: kind, voice (track << 4 | channel), key, value and tick of all events of runs
            (see midi_tracks), in the order of the file, int (events,) each.
        pairs: which of these starts each note, and which one ends it, int64 (notes,) each; -1:
            none.
        tracks: the first byte of each track, and the byte after its last one.
        track_ends: the tick at which each track ends, int64 (tracks,).
        ports: track -> the port that it plays on.
    """

    per_beat: float
    notes: np.ndarray = field(default_factory=lambda: np.zeros((5, 0), np.int64))
    parts: list[tuple[int, int, int]] = field(default_factory=list)
    programs: list[tuple[int, int, int, int]] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    meters: list[tuple[int, int, int]] = field(default_factory=list)
    keys: list[tuple[int, str]] = field(default_factory=list)
    markers: list[tuple[int, str]] = field(default_factory=list)
    lyrics: list[tuple[int, str]] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    held: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    unknown_texts: list[str] = field(default_factory=list)
    source: bytes | None = None
    messages: tuple[np.ndarray, ...] = ()
    pairs: tuple[np.ndarray, ...] = ()
    tracks: list[tuple[int, int]] = field(default_factory=list)
    track_ends: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ports: dict[int, int] = field(default_factory=dict)

    def add_meta(self, track: int, tick: int, kind: int, content: bytes) -> None:
        """Take in a meta or system event; what says nothing of interest is `skipped`.

        Args:
            track: the number of its track, from 0.
            tick: when it happens.
            kind: its type, one of META_NAME, META_TEMPO and so on, or its status.
            content: its data.
        """
        if kind == META_END:
            return

        # Anything that is cut short, or tells of no key, is skipped.
        if kind == META_NAME:
            self.names.setdefault(track, self._text(content))
        elif kind == META_MARKER:
            self.markers.append((tick, self._text(content)))
        elif kind == META_LYRIC:
            self.lyrics.append((tick, self._text(content)))
        elif kind == META_TEMPO and len(content) == 3:
            self.tempos.append((tick, int.from_bytes(content, "big")))
        elif kind == META_METER and len(content) >= 2:
            # The denominator is told as a power of two; a lying one must not fill the memory.
            self.meters.append((tick, content[0], 2 ** min(content[1], 15)))
        elif kind == META_KEY and len(content) == 2 and _key_name(*content):
            self.keys.append((tick, _key_name(*content)))
        else:
            self.skipped.append(kind)

    def _text(self, content: bytes) -> str:
        """A text as it can be read, or else shown."""
        text, is_known = decode_text(content)
        if not is_known:
            self.unknown_texts.append(text)
        return text


class WrittenMidi(NamedTuple):
    """A standard MIDI file, and what is to be told of it.

    Attributes:
        data: the file.
        remarks: sentences on what of a song could not be kept, or acts on what is new.
    """

    data: bytes
    remarks: tuple[str, ...] = ()


def _key_name(sharps: int, minor: int) -> str:
    """The name of the key that two bytes tell; "" where there is none."""
    # The byte is signed: 255 is one flat.
    place = (sharps + 128) % 256 - 128 + MOST_SHARPS
    is_key = 0 <= place < len(MAJOR_KEYS) and minor < len(KEY_SIGNS)
    return KEY_SIGNS[minor][place] if is_key else ""


def transpose_key(name: str, semitones: int) -> str:
    """The name of a key so many semitones higher, with 6 flats to 6 sharps.

    Args:
        name: one of MAJOR_KEYS or MINOR_KEYS.
        semitones: any number.
    """
    if semitones % 12 == 0:
        return name
    row = KEY_SIGNS[name.endswith("m")]
    # A semitone is seven fifths, and each fifth is a sharp more.
    sharps = row.index(name) - MOST_SHARPS + 7 * semitones
    return row[(sharps + 6) % 12 - 6 + MOST_SHARPS]


def is_drums(name: str) -> bool:
    """Whether a part of this name is played on the drums' channel."""
    return name.startswith("drums") or "(drums)" in name


def fill_channels(given: Sequence[int], names: Sequence[str]) -> tuple[int, ...]:
    """One channel for each part: drums have theirs, and no other part has it.

    Args:
        given: the channels of the first parts, none or more.
        names: of the parts.

    Returns:
        The given ones where they can be; the others are free ones, in their order, and once all
        are taken, all of them anew.
    """
    free = [channel for channel in PITCHED if channel not in given] or PITCHED
    channels = []
    taken = 0
    for number, name in enumerate(names):
        told = given[number] if number < len(given) else DRUMS
        if is_drums(name):
            channels.append(DRUMS)
        elif told != DRUMS:
            channels.append(told)
        else:
            channels.append(free[taken % len(free)])
            taken += 1
    return tuple(channels)


def part_names(events: Events, kept: list[int]) -> tuple[str, ...]:
    """Name the parts so that no two names are equal and `is_drums` holds of the drums alone.

    Args:
        events: what the file says.
        kept: the indices in `events.parts` of the parts to name.

    Returns:
        For each one its track's name, or "part 3" where the track has none, with a number
        after it where the name would stand twice.
    """
    counts: dict[str, int] = {}  # name -> how often it was wanted (a count)
    for number, i in enumerate(kept):
        track, channel, _ = events.parts[i]
        name = events.names.get(track) or ("drums" if channel == DRUMS else f"part {number}")
        if channel != DRUMS:
            name = name.replace("drums", "Drums")
        elif not is_drums(name):
            name += " (drums)"

        # The second "Piano" is "Piano 2", unless a track has that very name: then "Piano 3".
        count = counts.get(name, 0) + 1
        counts[name] = count
        while count > 1 and f"{name} {count}" in counts:
            count += 1
        counts[f"{name} {count}" if count > 1 else name] = count
    return tuple(counts)
