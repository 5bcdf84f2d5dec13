"""A Song's changes, spliced into the very file that it was read from: all else stays as it is.

`splice` compares the notes of a song with those of its source, and changes in the bytes of the
file only what differs:

    data, remarks = splice(song)                 # as `Song.to_midi` does

- A row of the source that the song no longer has loses its note-on and note-off.
- A row that the song has besides gets both, in the track and on the channel of its part.
- A row that became shorter, longer, louder or softer keeps its note-on; its end is moved, or its
  velocity changed. `note_edits` says which notes of the file that are.

The law: all other events keep their track, their tick and their bytes; an unchanged song gives its
source; `read_midi` of the result gives the notes of the song, on the grid and phase of its source,
but for what the remarks count. What is added never sounds on a channel and pitch that sound
already (`channel_room`): a new note is cut there, or left out. Controllers, bends and pedal stay,
and the remarks name those that act on new notes (`effects`).

Read on in `file_notes`, the notes that a row is made of, and in `midi_copy`, which changes bytes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import MidiError, OptionError
from .channel_events import PATTERNS
from .chords import Chord
from .file_notes import FileNotes
from .grid import Meter, ReadOptions, quantise
from .midi_codes import MAX_BYTES, META_TEMPO, WrittenMidi
from .midi_copy import FileCopy, meta
from .midi_events import read_events
from .midi_write import Score, check_tempo, midi_bytes
from .note_edits import compare_rows, find_edits
from .splicer import Splicer
from .tables import columns_of, in_order, untangle

# What a song says beside its notes and chords, and what it says of each part.
FILE_SIGNS = ("tempi", "meters", "keys")
PART_SIGNS = ("parts", "programs", "channels")


HELD_OTHERWISE = "notes that the sustain pedal holds otherwise than the song has them"


class Spliceable(Score, Protocol):
    """What `splice` needs of a Song."""

    @property
    def name(self) -> str:
        """The name of the song, for errors."""

    @property
    def source(self) -> bytes | None:
        """The standard MIDI file that it was read from."""

    @property
    def meters(self) -> tuple[Meter, ...]:
        """(step, numerator, denominator), as the file has them."""

    @property
    def read_as(self) -> ReadOptions | None:
        """How that was read."""


def splice(song: Spliceable, bpm: float | None = None) -> WrittenMidi:
    """The file that a song was read from, with what changed in it.

    Of a damaged file, what could be read is written as a new file.

    Args:
        song: the Song; it has a source.
        bpm: one tempo instead of the file's, beats a minute, 4 to 1000.

    Raises:
        OptionError: the song has no source, or the tempo is out of its range.
    """
    tempi = check_tempo(bpm)
    if song.source is None:
        raise OptionError(f"song {song.name!r} has no source; write it with plain=True")
    options = song.read_as or ReadOptions()
    try:
        events = read_events(song.source, song.name, pedal=options.pedal)
    except MidiError:
        remark = "the file is damaged: what could be read of it is written as a new one"
        return WrittenMidi(midi_bytes(song, bpm=bpm), (remark,))

    # What differs, in steps.
    notes = FileNotes.of(events, options, steps_per_beat=song.steps_per_beat, name=song.name)
    wanted, merged, shortened = untangle(in_order(columns_of(song.notes), song.name))
    comparison = compare_rows(notes.rows, wanted)
    told = quantise(
        events,
        song.name,
        steps_per_beat=song.steps_per_beat,
        drums=options.drums,
        phase=options.phase,
    )
    remarks = _unwritten(song, told, with_tempi=not tempi)
    if not (len(comparison.lines) or tempi):
        return WrittenMidi(song.source, remarks)

    # What differs, in bytes.
    splicer = Splicer(song, events, notes)
    splicer.counts.update(merged=merged, cut=shortened)
    splicer.change(find_edits(notes, splicer.key_ends, comparison))
    if tempi and splicer.copy.is_smpte:
        remarks += ("the tempo stays as it is, since the file counts time in SMPTE frames",)
    elif tempi:
        _set_tempo(splicer.copy, tempi[0][1])
    data = splicer.copy.to_bytes()
    if options.pedal and len(data) <= MAX_BYTES:
        remarks += _held_otherwise(data, song, notes, wanted)
    return WrittenMidi(data, (*splicer.remarks(), *remarks))


def _held_otherwise(
    data: bytes, song: Spliceable, notes: FileNotes, wanted: np.ndarray
) -> tuple[str, ...]:
    """What is to be told where a pedal decides how long notes last, those that stay as well.

    A pedal that is never released holds to the last note of its channel, which may be a new one.

    Args:
        data: the file with the changes.
        song: the Song.
        notes: of the source.
        wanted: the rows of the song, int64 (5, wanted).
    """
    options = ReadOptions(drums=True, pedal=True, phase=notes.grid.shift)
    events = read_events(data, song.name, pedal=True)
    again = FileNotes.of(events, options, steps_per_beat=song.steps_per_beat, name=song.name)

    # Without their parts, which may have other numbers.
    rows = Counter(zip(*again.rows[:4].tolist(), strict=True))
    missing = Counter(zip(*wanted[:4].tolist(), strict=True)) - rows
    count = missing.total()
    return (f"{HELD_OTHERWISE}: {count}",) if count else ()


def _unwritten(song: Spliceable, told: Mapping[str, Any], *, with_tempi: bool) -> tuple[str, ...]:
    """A sentence for each thing beside the notes that the song has otherwise than its file.

    Args:
        song: the Song.
        told: the fields of a Song that its file gives.
        with_tempi: whether tempi count.
    """
    # Parts that come to the file are written.
    parts = len(told["parts"])
    others = [name for name in FILE_SIGNS if getattr(song, name) != told[name]]
    others += [name for name in PART_SIGNS if getattr(song, name)[:parts] != told[name]]
    if not with_tempi:
        others = [name for name in others if name != "tempi"]

    # How long the last chord lasts depends on the notes.
    if _places(song.chords) != _places(told["chords"]):
        others.append("chords")
    return tuple(
        f"{name} stay as the file has them; plain=True writes the song's" for name in others
    )


def _places(chords: Sequence[Chord]) -> list[tuple[int, str]]:
    """Where chords begin, and their labels."""
    return [(chord.onset, chord.label) for chord in chords]


def _set_tempo(copy: FileCopy, bpm: float) -> None:
    """One tempo from tick 0 on instead of all that a file has; of patterns, each has its own."""
    message = meta(META_TEMPO, round(60e6 / bpm).to_bytes(3, "big"))
    told = list(copy.metas(META_TEMPO))
    first = min((event.track for event in told), default=0)
    tracks = range(len(copy.tracks)) if copy.format == PATTERNS else [first]
    for event in told:
        copy.tracks[event.track].remove(event.number)

    # It takes the place of one at tick 0, or else comes first.
    for track in tracks:
        at_0 = [event.number for event in told if event.track == track and event.tick == 0]
        if at_0:
            copy.tracks[track].other[at_0[0]] = message
        else:
            copy.tracks[track].ends.insert(0, (0, message))
