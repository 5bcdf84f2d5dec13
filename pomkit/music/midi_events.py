"""Standard MIDI files (SMF 1.0), read exactly and quickly: bytes in, tables of ticks out.

A file may be packed by gzip or wrapped as RIFF or MacBinary. It begins with a header chunk, which
names the format, the number of tracks and the division of time; its tracks are chunks, too.
`read_events` unpacks it, reads the header, has `midi_tracks` and `midi_runs` read the tracks and
`midi_notes` make notes of them, and says what was not as it should be:

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
from .midi_mend import MAX_MENDED, TRACK_KIND, clipped_bytes, end_of_track
from .midi_notes import add_notes
from .midi_runs import decode_runs
from .midi_tracks import Tracks

HEAD_BYTES = 8  # of every chunk, in bytes: four of its kind, four of its length
FRAME_RATES = (24, 25, 29, 30)
MACBINARY_HEAD = 128  # bytes
HIGHEST_DATA = 127
# So many characters of a text that cannot be read are told.
MAX_SHOWN = 40
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
        data: the file, as it is or packed by gzip or in RIFF or MacBinary.
        name: what error messages call it.
        salvage: of a damaged track take what came before the damage, of one with data above 127
            all, and say so in `remarks`.
        pedal: notes last until controller 64 of their track and channel is released.

    Raises:
        MidiError: the data are no MIDI file, or damaged and not to be salvaged; it names the byte.
    """
    data = _unpack(data, name)
    header = _read_header(data, name)
    tracks, events = _decode(data, header, pedal)
    damage = _damage(header, tracks)
    unfilled = [
        f"track {track + 1}, byte {byte}: its length is {length}, which cannot be"
        for track, (byte, length) in tracks.unfilled.items()
    ]
    first_damage = "".join((unfilled + damage)[:1])

    # Data above 127 are mended; what else is damaged stays so.
    clipped = _clipped_bytes(tracks)
    if clipped:
        mended = bytearray(data)
        for byte in clipped:
            mended[byte] = HIGHEST_DATA
        tracks, events = _decode(bytes(mended), header, pedal)
        events.source = data
        events.counts["clipped"] = len(clipped)
        damage = _damage(header, tracks)

    if first_damage and not salvage:
        raise MidiError(
            f"{name} cannot be read whole ({first_damage}); export it again"
            f"{_what_salvage_gives(events)}"
        )
    events.remarks += _remarks(header, tracks)
    if events.unknown_texts:
        told = f"{_count(len(events.unknown_texts), 'name or text')} in no known encoding, shown as"
        events.remarks.append(f"{told} bytes: {events.unknown_texts[0][:MAX_SHOWN]}")
    events.remarks += [f"{told}: read to its end" for told in unfilled[:MAX_TOLD]]
    if clipped:
        told = f"{_count(len(clipped), 'data byte')} above 127 read as 127"
        events.remarks.append(f"{told}, the first at byte {clipped[0]}")
    events.remarks += [
        f"salvaged what came before the damage: {fault}" for fault in damage[:MAX_TOLD]
    ]
    return events


def _decode(data: bytes, header: Header, pedal: bool) -> tuple[Tracks, Events]:
    """The tracks of a file, and what they say."""
    tracks = _walk_tracks(data, header)
    events = Events(header.per_beat, source=data, tracks=tracks.spans, held=pedal)
    messages = decode_runs(tracks, events)
    add_notes(events, messages, pedal=pedal)
    return tracks, events


def _damage(header: Header, tracks: Tracks) -> list[str]:
    """What is wrong with the tracks so that not all can be read."""
    faults = sorted(tracks.damage.items())
    damage = [f"track {track + 1}, byte {byte}: {fault}" for track, (byte, fault) in faults]
    if len(tracks) < header.tracks:
        damage.append(f"only {len(tracks)} of its {header.tracks} tracks are there")
    return damage


def _clipped_bytes(tracks: Tracks) -> list[int]:
    """Where damaged tracks have data above 127 and are whole but for them: bytes of the file."""
    spans = [
        tracks.spans[track] for track in sorted(tracks.damage) if _is_length_true(tracks, track)
    ]
    if sum(stop - first for first, stop in spans) > MAX_MENDED:
        return []
    return [byte for first, stop in spans for byte in clipped_bytes(tracks.data, first, stop)]


def _is_length_true(tracks: Tracks, track: int) -> bool:
    """Whether a track is as long as it says, or says nothing: else bytes of it may be lost."""
    first, stop = tracks.spans[track]
    length = int.from_bytes(tracks.data[first - 4 : first], "big")
    return stop - first == length or track in tracks.unfilled


def _what_salvage_gives(events: Events) -> str:
    """The end of the error on a damaged file: what the option would read of it."""
    count = events.notes.shape[1]
    if not count:
        return " (salvage=True finds no notes in it)"
    clipped = events.counts.get("clipped", 0)
    data = f" ({_count(clipped, 'data byte')} above 127 read as 127)" if clipped else ""
    return f", or take {_count(count, 'note')} with salvage=True{data}"


def _count(number: int, noun: str) -> str:
    """So many things in words: "1 note", "2 notes"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _unpack(data: bytes, name: str) -> bytes:
    """The standard MIDI file inside gzip, MacBinary or RIFF; MidiError where there is none."""
    if data[:2] == b"\x1f\x8b":
        data = _unpack_gzip(data, name)
    if _is_macbinary(data):
        data = _unpack_macbinary(data)
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


def _is_macbinary(data: bytes) -> bool:
    """Whether the head of a file of old Macintosh systems stands before a MIDI or RIFF file."""
    name_length = data[1] if len(data) > MACBINARY_HEAD else 0
    is_head = data[0:1] == data[74:75] == data[82:83] == b"\0" and 1 <= name_length <= 63
    return is_head and data[MACBINARY_HEAD : MACBINARY_HEAD + 4] in (b"MThd", b"RIFF")


def _unpack_macbinary(data: bytes) -> bytes:
    """The file inside MacBinary; where its length is not told, or lies, all to the end."""
    inside = data[MACBINARY_HEAD:]
    length = int.from_bytes(data[83:87], "big")
    return inside[:length] if 0 < length <= len(inside) else inside


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

    # Chunk by chunk, as far as there are any.
    while at < len(data):
        kind = data[at : at + 4]
        first = at + HEAD_BYTES
        length = int.from_bytes(data[at + 4 : first], "big")
        stop = first + length
        if kind == TRACK_KIND and first <= len(data):
            end = end_of_track(data, first, length)
            if end != min(stop, len(data)):
                tracks.unfilled[len(tracks)] = (at + 4, length)
                stop = end
            tracks.walk(first, end, cut=stop > len(data))
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
