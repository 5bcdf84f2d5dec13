"""What can be mended in a damaged MIDI file: data above 127, and tracks without a length.

Data of channel messages has 7 bits: 0 to 127. Some programs write more (a volume of 255, a pitch of
200), and players go on with 127. `clipped_bytes` finds such bytes. The danger is to take a real
status for data, or data for a status, and to read nonsense from there on. So it reads a track as a
player does, one event after the other:

- A byte above 127 is data where the event before it still lacks data. After a delta time it is
  always a status, even if a program left the status out there (running status) and meant a pitch
  above 127: no player can tell.
- A track with such bytes is believed as a whole or not at all: every event has its data, and the
  last one is the end of the track and ends with it, to the byte. Where bytes were lost or added,
  it does not.

A recorder that was switched off leaves the length of its track at 0 or at 4 GB: `end_of_track` says
where such a track ends.

    stop = end_of_track(data, first, 0)
    clipped_bytes(data, first, stop)        # [25]: the byte 25 of the file is to be read as 127
"""

from .midi_codes import DATA_BYTES, META, META_END, OF_RUN, SYSTEM_EXCLUSIVE, TOLD_LENGTH

TRACK_KIND = b"MTrk"
# Reading one event after the other is slow: larger tracks would take too much time.
MAX_MENDED = 2**20  # bytes
# A number has so many bytes at most.
LONGEST_NUMBER = 4


class _Broken(Exception):
    """The track cannot be read to its end."""


def end_of_track(data: bytes, first: int, length: int) -> int:
    """The byte after the last one of a track.

    Args:
        data: the file.
        first: the track's first byte.
        length: how many bytes it says to have. What cannot be (0 bytes before an event, more than
            the file has) was never filled in: then the track goes on to the next one or to the
            end.
    """
    stop = first + length
    if length and stop <= len(data):
        return stop

    next_track = data.find(TRACK_KIND, first)
    last = len(data) if next_track < 0 else next_track
    if _begins_event(data[first : min(first + LONGEST_NUMBER + 1, last)]):
        return last
    return first if not length else len(data)


def _begins_event(data: bytes) -> bool:
    """Whether bytes are a delta time and a status."""
    after = next((i + 1 for i, byte in enumerate(data) if byte < 128), len(data))
    return after < len(data) and data[after] > 127


def clipped_bytes(data: bytes, first: int, stop: int) -> list[int]:
    """Where a track has data above 127, if it can be read to its end with 127 in their places.

    Args:
        data: the file.
        first: the track's first byte.
        stop: the byte after its last one.

    Returns:
        Bytes of the file; none where the track is damaged otherwise, or too large.
    """
    if stop - first > MAX_MENDED:
        return []
    try:
        places = _walk_track(data[first:stop])
    except (_Broken, IndexError):
        return []
    return [first + place for place in places]


def _walk_track(track: bytes) -> list[int]:
    """The places of data above 127 in a track that is whole but for them."""
    places: list[int] = []
    at = 0
    running = 0
    while at < len(track):
        _, at = _number(track, at)
        status = running
        if track[at] > 127:
            status = track[at]
            at += 1

        # A meta or system event leaves the running status as it is, as in `midi_tracks`.
        if status >= SYSTEM_EXCLUSIVE:
            start = at
            at = _end_of_system_event(track, at, status)
            if status == META and track[start] == META_END:
                if at == len(track):
                    return places
                raise _Broken
            continue
        if not status:
            raise _Broken
        running = status
        stop = at + (2 if DATA_BYTES[status] == OF_RUN else 1)
        places += [i for i in range(at, stop) if track[i] > 127]
        at = stop

    raise _Broken


def _end_of_system_event(track: bytes, at: int, status: int) -> int:
    """The byte after a meta or system event whose status stands before byte `at`."""
    if status == META:
        at += 1
    length = DATA_BYTES[status]
    if length == TOLD_LENGTH:
        length, at = _number(track, at)
    return at + length


def _number(track: bytes, at: int) -> tuple[int, int]:
    """A number of one to four bytes, and the byte after it."""
    value = 0
    for i in range(at, at + LONGEST_NUMBER):
        byte = track[i]
        value = value << 7 | byte & 127
        if byte < 128:
            return value, i + 1
    raise _Broken
