"""Reading MIDI files as Songs.

    song = read_midi("song.mid")          # or "auld_lang_syne", a song that comes with pomkit
    song.report          # every loss, counted
    song.write_midi("again.mid")

What is written and read again is the same song. `midi_events` reads the bytes, `grid` brings
ticks to steps; here stand the way from a path to bytes, and both together.
"""

import os
from pathlib import Path
from typing import IO, Any

from ..errors import MidiError, check_choice, check_flag, check_range, shown
from ..files import AnyPath
from .grid import ReadOptions, quantise
from .midi_codes import MAX_BYTES
from .midi_events import read_events
from .shipped import names_in_words, shipped_or
from .song import Song
from .tables import GRIDS

# How far notes can lie from the grid, in steps.
PHASES = (-0.5, 0.5)
# So many letters are no name of a song.
LONGEST_WORD = 60


def read_midi(
    source: AnyPath | bytes | IO[bytes],
    steps_per_beat: int = 4,
    *,
    drums: bool = False,
    pedal: bool = False,
    salvage: bool = False,
    estimate: bool = False,
    phase: float | None = None,
) -> Song:
    """Read a MIDI file as a Song on a grid of steps.

    Onsets and ends are rounded to steps after the file's constant phase against the grid is taken
    out. Each track, channel and program is a part. What was done stands in `song.report`.

    Args:
        source: path, bytes or open binary file; gzip, RIFF and MacBinary, too. The name of a song
            that comes with pomkit is one, too, where no file of that name is there.
        steps_per_beat: of the grid, one of GRIDS; 4 means that a step is a 16th.
        drums: keep channel 10 as parts, too.
        pedal: notes last until the sustain pedal is released.
        salvage: of a damaged file take what can be read; data above 127 are read as 127.
        estimate: estimate the chords where the file names none as markers or lyrics.
        phase: how far the notes lie behind the grid, in steps, -0.5 to 0.5, as another song's
            `report.phase` tells; None: it is measured. So two files are read on one grid.

    Raises:
        MidiError: the file cannot be read; it names file, fault and remedy.
        OptionError: there is no such grid, or the phase is out of its range.
    """
    check_choice("steps_per_beat", steps_per_beat, GRIDS)
    if phase is not None:
        check_range("phase", phase, *PHASES, unit="steps")
    flags = {"drums": drums, "pedal": pedal, "salvage": salvage, "estimate": estimate}
    for option, value in flags.items():
        check_flag(option, value)
    if isinstance(source, str):
        source = shipped_or(source)
    data, name = _read_bytes(source)
    events = read_events(data, name, salvage=salvage, pedal=pedal)
    fields = quantise(events, name, steps_per_beat=steps_per_beat, drums=drums, phase=phase)
    fields["read_as"] = ReadOptions(drums, pedal, salvage, phase)
    song = Song.unchecked(fields)
    return song.with_chords() if estimate and not song.chords else song


def _read_bytes(source: Any) -> tuple[bytes, str]:
    """The bytes, one more than a file may have at most, and what to call them; MidiError."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "the bytes given"

    is_open = hasattr(source, "read")
    name = getattr(source, "name", "the file given") if is_open else source
    name = str(name) if isinstance(name, str | os.PathLike) else shown(name)
    try:
        data = _read_file(source) if is_open else _read_path(source, name)
    except (OSError, ValueError, TypeError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        remedy = "check the path and its permissions"
        # A word alone may be meant as the name of a shipped song.
        if isinstance(source, str) and source.isidentifier() and len(source) < LONGEST_WORD:
            remedy = f"give a path, or a shipped song: {names_in_words()}"
        raise MidiError(f"{name} cannot be read ({reason}); {remedy}") from fault
    if not isinstance(data, bytes):
        raise MidiError(f"{name} is open as text; open it in binary mode ('rb')")
    return data, name


def _read_path(path: AnyPath, name: str) -> bytes:
    """The bytes of the file at a path; MidiError where no file stands there."""
    if Path(path).exists() and not Path(path).is_file():
        raise MidiError(f"{name} is a folder or device, not a file; choose a MIDI file in it")
    with open(path, "rb") as file:
        return _read_file(file)


def _read_file(file: IO[bytes]) -> bytes:
    """The bytes of an open file; of one that is open as text, something else."""
    data = file.read(MAX_BYTES + 1)
    # A pipe gives less than it is asked for.
    while isinstance(data, bytes) and len(data) <= MAX_BYTES:
        more = file.read(MAX_BYTES + 1 - len(data))
        if not more:
            break
        data += more
    return data
