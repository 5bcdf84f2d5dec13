"""Standard MIDI files (SMF 1.0), read exactly and quickly: bytes in, tables of ticks out.

A file may be packed by gzip or wrapped as RIFF. It begins with a header chunk, which names the
format, the number of tracks and the division of time; its tracks are chunks, too. `read_events`
unpacks it, reads the header, has `midi_tracks` and `midi_runs` read the tracks and `midi_notes`
make notes of them, and says what was not as it should be:

    events = read_events(Path("song.mid").read_bytes())
    events.notes[0] / events.per_beat       # the onsets of all notes, in beats
    events.remarks                          # what the standard does not allow and was passed over

Ticks become steps in `grid`.
"""

import gzip
import io
import struct
import zlib
from typing import NamedTuple

from ..errors import MidiError
from .midi_codes import MAX_BYTES, Events
from .midi_notes import add_notes
from .midi_runs import decode_runs
from .midi_tracks import Tracks

HEAD_BYTES = 8  # of every chunk, in bytes: four of its kind, four of its length
FRAME_RATES = (24, 25, 29, 30)
# What is told of the damage at most: one remark a track.
MAX_TOLD = 8


class Header(NamedTuple):
    """What the header chunk of a file says."""

    format: int  # 0: one track; 1: tracks side by side; 2: patterns (a track each, bars of notes)
    tracks: int
    per_beat: float  # ticks
    smpte: bool  # whether ticks are fractions of a frame (True), or of a beat
    stop: int  # byte after the chunk


def read_events(
    data: bytes, name: str = "the bytes given", salvage: bool = False, pedal: bool = False
) -> Events:
    """Read what a standard MIDI file says of notes, metre, tempo, names and texts.

    Notes of one track, channel and pitch end first in, first out, or with the track.

    Args:
        data: the file, as it is or packed by gzip or in RIFF.
        name: what error messages call it.
        salvage: of a damaged track take what came before the damage, and say so in `remarks`.
        pedal: notes last until controller 64 of their track and channel is released.

    Raises:
        MidiError: the data are no MIDI file, or damaged and not to be salvaged; it names the byte.
    """
    data = _unpack(data, name)
    header = _read_header(data, name)
    tracks = _walk_tracks(data, header)
    events = Events(header.per_beat, source=data)
    messages = decode_runs(tracks, events)
    add_notes(events, messages, pedal=pedal)

    faults = sorted(tracks.damage.items())
    damage = [f"track {track + 1}, byte {byte}: {fault}" for track, (byte, fault) in faults]
    count = len(tracks)
    if count < header.tracks:
        damage.append(f"only {count} of its {header.tracks} tracks are there")
    if damage and not salvage:
        raise MidiError(
            f"{name} cannot be read whole ({damage[0]}); export it again, "
            "or take the rest with salvage=True"
        )
    events.remarks += _remarks(header, tracks)
    events.remarks += [
        f"salvaged what came before the damage: {fault}" for fault in damage[:MAX_TOLD]
    ]
    return events


def _unpack(data: bytes, name: str) -> bytes:
    """The standard MIDI file inside a gzip or RIFF wrapper; MidiError where there is none."""
    if data[:2] == b"\x1f\x8b":
        data = _unpack_gzip(data, name)
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        data = _unpack_riff(data)

    if len(data) > MAX_BYTES:
        raise MidiError(
            f"{name} has more than {MAX_BYTES >> 20} MiB; cut out the part that you need"
        )
    if not data:
        raise MidiError(f"{name} is empty; choose a standard MIDI file (.mid)")
    if data[:4] != b"MThd":
        raise MidiError(
            f"{name} is no MIDI file (it does not begin with MThd); "
            "choose a standard MIDI file (.mid)"
        )
    return data


def _unpack_gzip(data: bytes, name: str) -> bytes:
    """What is packed by gzip, as far as one byte more than a file may have; MidiError."""
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(data)).read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as fault:
        raise MidiError(f"{name} is a damaged gzip file ({fault}); get it again") from fault


def _unpack_riff(data: bytes) -> bytes:
    """What stands in the chunk "data" of a RIFF file; where its length lies, all to the end."""
    at = 12
    while at < len(data) and data[at : at + 4] != b"data":
        length = int.from_bytes(data[at + 4 : at + HEAD_BYTES], "little")
        at += HEAD_BYTES + length + length % 2  # chunks begin at even bytes
    length = int.from_bytes(data[at + 4 : at + HEAD_BYTES], "little")
    inside = data[at + HEAD_BYTES :]

    # The length is to be believed where a chunk of the MIDI file ends with it.
    end = 0
    while end < min(length, len(inside)):
        end += HEAD_BYTES + int.from_bytes(inside[end + 4 : end + HEAD_BYTES], "big")
    return inside[:length] if end == length > 0 else inside


def _read_header(data: bytes, name: str) -> Header:
    """What the header of a file says; MidiError where that cannot be."""
    length = int.from_bytes(data[4:HEAD_BYTES], "big")
    if len(data) < 14 or length < 6:
        raise MidiError(f"{name} has no whole MIDI header; export it again")
    kind, tracks, division = struct.unpack(">HHH", data[HEAD_BYTES:14])

    # The highest bit of the division tells SMPTE time: minus the frames a second, ticks a frame.
    smpte = bool(division & 0x8000)
    frames = 256 - (division >> 8)
    ticks = division & 0xFF
    impossible = smpte and (frames not in FRAME_RATES or not ticks)
    if kind > 2 or not division or impossible:
        raise MidiError(
            f"{name} has MIDI format {kind} and time division {division}, which cannot be; "
            "export it as format 1"
        )

    # In SMPTE time a beat is half a second: 120 BPM. 29 stands for the 29.97 frames of NTSC.
    per_beat = float(division)
    if smpte:
        rate = 30000 / 1001 if frames == 29 else frames
        per_beat = rate * ticks / 2
    return Header(kind, tracks, per_beat, smpte, HEAD_BYTES + length)


def _walk_tracks(data: bytes, header: Header) -> Tracks:
    """Walk the tracks of a file, pass over chunks of other kinds, and count what is ignored."""
    tracks = Tracks(data)
    at = header.stop
    while at < len(data):
        kind = data[at : at + 4]
        first = at + HEAD_BYTES
        stop = first + int.from_bytes(data[at + 4 : first], "big")
        if kind == b"MTrk" and first <= len(data):
            tracks.walk(first, min(stop, len(data)), cut=stop > len(data))
        elif len(tracks) >= header.tracks or not kind.isalnum():
            break  # junk after the last track, or instead of one (bytes of no chunk)
        at = stop
    tracks.ignored += max(len(data) - at, 0)
    return tracks


def _remarks(header: Header, tracks: Tracks) -> list[str]:
    """What is not as the standard has it and does no harm."""
    count = len(tracks)
    remarks = []
    if header.smpte:
        remarks.append("time in SMPTE frames: its seconds are laid on a grid of 120 BPM")
    if header.format == 2:
        remarks.append("format 2: its patterns are parts that all start at step 0")
    if count > header.tracks:
        remarks.append(f"{count} tracks read, though the header says {header.tracks}")
    if tracks.ignored:
        remarks.append(f"{tracks.ignored} bytes after the ends of tracks ignored")
    return remarks
