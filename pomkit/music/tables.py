"""The note table: what one note is, how notes are ordered, and how overlaps are settled.

A song's notes are one numpy table, `NOTE_DTYPE`, a record for each note. Time is counted in
**steps**: 16ths where a beat has four of them. For arithmetic the same notes stand as *columns*,
one int64 row for each field, because numpy is many times slower on records:

    columns = columns_of(notes)  # (5, notes)
    columns[PITCH_ROW] += 12
    notes = notes_of(in_order(columns, name))

`notes_of(columns_of(notes))` gives the notes back. Read on in `song`, which keeps such a table.
"""

import numpy as np

from ..errors import OptionError

BAR = 16  # steps of a bar of 4/4 at 4 steps a beat
# Steps per beat: quarters, 8ths, their triplets, 16ths, and so on to the triplets of 64ths.
GRIDS = (1, 2, 3, 4, 6, 8, 12, 24)
# No song is longer: a lying MIDI file could otherwise ask for gigabytes of columns.
MAX_STEPS = 2**20
BORDERS = (0, 32)  # rows
TEMPI = (4, 1000)  # BPM

NOTE_DTYPE = np.dtype(
    [
        ("onset", "i4"),
        ("duration", "i4"),
        ("pitch", "i4"),
        ("velocity", "i4"),
        ("part", "i4"),
    ]
)
ONSET_ROW, DURATION_ROW, PITCH_ROW, VELOCITY_ROW, PART_ROW = range(5)  # rows of a table of columns
NOTE_RANGES = {
    "onset": (0, MAX_STEPS - 1),
    "duration": (1, MAX_STEPS),
    "pitch": (0, 127),
    "velocity": (1, 127),
    "part": (0, 2**16 - 1),
}
LOWEST_VALUES, HIGHEST_VALUES = np.array(list(NOTE_RANGES.values())).T

# Notes are sorted by one number each. It holds, from the highest bits down: onset (20 bits),
# pitch (7), part (16) and duration - 1 (20). A shift is the number of bits that stand below.
_PART_SHIFT = 20
_PITCH_SHIFT = _PART_SHIFT + 16
_ONSET_SHIFT = _PITCH_SHIFT + 7
# A line is one pitch of one part: part (16 bits), then pitch (7).
_LINE_BITS = 16 + 7
# Its onsets go below it in one number, with a bit to spare: so two lines lie more than MAX_STEPS
# apart, farther than any note reaches.
_LINE_SHIFT = 21


def columns_of(notes: np.ndarray) -> np.ndarray:
    """The columns of a note table, as a copy.

    Args:
        notes: NOTE_DTYPE (notes,).

    Returns:
        int64 (5, notes), rows ONSET_ROW, DURATION_ROW, PITCH_ROW, VELOCITY_ROW, PART_ROW.
    """
    records = np.ascontiguousarray(notes)
    values = records.view("i4").reshape(-1, len(NOTE_RANGES))  # (notes, 5)
    return values.T.astype(np.int64, order="C")


def notes_of(columns: np.ndarray) -> np.ndarray:
    """The inverse of `columns_of`.

    Args:
        columns: integers (5, notes).

    Returns:
        NOTE_DTYPE (notes,), read-only.
    """
    notes = columns.T.astype("i4", order="C").view(NOTE_DTYPE).reshape(-1)  # (notes,)
    notes.flags.writeable = False
    return notes


def ranges(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The numbers first, first + 1, ..., `count` of them, of every pair one after the other.

    Args:
        first: int (pairs,).
        count: int (pairs,), 0 or more.

    Returns:
        int (sum of count,).
    """
    offsets = first + count - count.cumsum()  # (pairs,)
    return np.arange(count.sum()) + offsets.repeat(count)


def in_order(columns: np.ndarray, name: str) -> np.ndarray:
    """The notes sorted by onset, pitch, part, duration and velocity.

    Args:
        columns: int64 (5, notes); may come back as they are.
        name: of the song, for the error.

    Returns:
        int64 (5, notes).

    Raises:
        OptionError: a value is outside its range in NOTE_RANGES.
    """
    _check_ranges(columns, name)
    onset, duration, pitch, velocity, part = columns
    # All but the velocity in one number: see the shifts above.
    place = onset << _ONSET_SHIFT
    place |= pitch << _PITCH_SHIFT
    place |= part << _PART_SHIFT
    place |= duration - 1
    if (place[1:] > place[:-1]).all():
        return columns

    # A stable sort is quick on what comes part by part.
    order = place.argsort(kind="stable")
    place = place[order]

    # Notes equal in all of this go by velocity.
    same = place[1:] == place[:-1]
    if same.any():
        tied = np.concatenate([same, [False]])
        tied[1:] |= same
        rows = order[tied]
        order[tied] = rows[np.lexsort((velocity[rows], place[tied]))]
    return columns.take(order, axis=1)


def _check_ranges(columns: np.ndarray, name: str) -> None:
    """OptionError where a value is outside its range in NOTE_RANGES."""
    too_low = np.minimum.reduce(columns, axis=1, initial=1) < LOWEST_VALUES
    too_high = np.maximum.reduce(columns, axis=1, initial=1) > HIGHEST_VALUES
    outside = too_low | too_high  # (5,)
    if outside.any():
        key = list(NOTE_RANGES)[outside.argmax()]
        low, high = NOTE_RANGES[key]
        raise OptionError(f"song {name!r}: a note's {key} is outside {low} to {high}; correct it")


def untangle(columns: np.ndarray) -> tuple[np.ndarray, int, int]:
    """One note for each part, pitch and step, that ends where its pitch begins again.

    Args:
        columns: int64 (5, notes), in order; the durations may be changed in place.

    Returns:
        The columns, int64 (5, notes left), still in order; how many notes were merged into
        another; how many were shortened.
    """
    columns, merged = _merge_equal_places(columns)
    reach = _steps_to_next_strike(columns)
    shortened = int(np.count_nonzero(columns[DURATION_ROW] > reach))
    columns[DURATION_ROW] = np.minimum(columns[DURATION_ROW], reach)
    return columns, merged, shortened


def _merge_equal_places(columns: np.ndarray) -> tuple[np.ndarray, int]:
    """One note for each onset, pitch and part, the loudest and longest; how many went into it."""
    place = columns[ONSET_ROW] << _LINE_BITS | _lines(columns)
    is_first = np.ones(len(place), bool)
    np.not_equal(place[1:], place[:-1], out=is_first[1:])
    merged = len(place) - int(np.count_nonzero(is_first))
    if not merged:
        return columns, 0

    # Each further note of a place gives what it has to the first one there.
    further = (~is_first).nonzero()[0]
    target = is_first.cumsum()[further] - 1
    kept = columns.take(is_first.nonzero()[0], axis=1)
    for row in (DURATION_ROW, VELOCITY_ROW):
        np.maximum.at(kept[row], target, columns[row].take(further))
    return kept, merged


def _steps_to_next_strike(columns: np.ndarray) -> np.ndarray:
    """For every note the steps until its part strikes its pitch again, else MAX_STEPS or more."""
    # Line by line, each in time. Numbers of 16 bits are sorted by radix, which is quicker.
    line = _lines(columns)
    small = line.max(initial=0) < 2**16
    key = line.astype("u2") if small else line
    order = key.argsort(kind="stable")

    strikes = (line << _LINE_SHIFT | columns[ONSET_ROW])[order]
    reach = np.full(len(order), MAX_STEPS, np.int64)
    reach[order[:-1]] = strikes[1:] - strikes[:-1]
    return reach


def _lines(columns: np.ndarray) -> np.ndarray:
    """The line of each note: one number for each pitch of each part, int64 (notes,)."""
    return columns[PART_ROW] << 7 | columns[PITCH_ROW]
