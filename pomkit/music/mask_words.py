"""The parts of a song by their words, and a mask in words.

A person says "the melody of bars 5 to 8". `part_words` lists the words for the parts of a song,
`part_cells` gives the cells in which one of them may be composed, and `part_numbers` the numbers of
its parts. `in_words` says a mask the other way round:

    mask = masks.bars(song, 5, 8) & part_cells(song, "melody")
    in_words(mask, song)                                     # "bars 5-8, melody"

Read on: `masks`, which makes masks; `studio.editor`, which cuts them to a part.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .bars import lines_until
from .chords import pitch_name
from .masks import accompaniment, everything, melody, melody_notes
from .pixels import Mask, pitch_of_row
from .song import Song

EVERY_PITCH = "all pitches"
# The words for a part that every song has.
PART_MASKS: dict[str, Callable[..., Mask]] = {"melody": melody, "accompaniment": accompaniment}


def part_words(song: Song) -> list[str]:
    """What `part_cells` knows of a song: "melody", "accompaniment", and its parts by their names.

    One part alone holds both, so its name tells no more; a song without notes has no parts.
    """
    if not len(song.notes):
        return []
    used = np.unique(song.notes["part"]).tolist()
    names = [song.parts[number] for number in used] if len(used) > 1 else []
    return list(dict.fromkeys([*PART_MASKS, *names]))


def part_cells(song: Song, part: str, width: int | None = None, start: int = 0) -> Mask:
    """The cells in which one part may be composed: its range, without the cells of the others.

    Args:
        song: whose part it is.
        part: its name, or "melody", or "accompaniment".
        width: how many steps (None: to the song's end).
        start: the step that is column 0.

    Returns:
        bool (128, width).

    Raises:
        OptionError: there is no such part.
    """
    if part in song.parts or part not in PART_MASKS:
        return melody(song, part, start, width)
    return PART_MASKS[part](song, start=start, width=width)


def part_numbers(song: Song, part: str) -> list[int]:
    """The numbers of the parts that a word of `part_words` means; OptionError for another word."""
    if part in song.parts or part not in PART_MASKS:
        return song.part_numbers(part)
    return np.unique(song.notes["part"][part_notes(song, part)]).tolist()


def part_notes(song: Song, part: str) -> np.ndarray:
    """Which notes a word of `part_words` means, bool (notes,); OptionError for another word."""
    if part in song.parts or part not in PART_MASKS:
        return song.select(part)
    is_melody = melody_notes(song)
    return is_melody if part == "melody" else ~is_melody


# A mask in words


def in_words(
    mask: Mask,
    song: Song | None = None,
    *,
    bars: Sequence[int] | np.ndarray | None = None,
    part: str | None = None,
) -> str:
    """A mask in words: "bars 5-7, all pitches", "bars 5-8, melody", "in bar 3, C4 to G5".

    Marked steps that do not hang together are told as so many places.

    Args:
        mask: bool (128, width).
        song: what it is a mask of: its bars and its parts are named. None: no part is.
        bars: steps of the bar lines (None: the Song's, else bars of 4/4).
        part: the word of `part_words` that is preferred where several fit.

    Returns:
        The words; "nothing" where nothing is marked.
    """
    columns = np.array(mask.any(axis=0))  # (width,)
    if not columns.any():
        return "nothing"
    if bars is None and song is not None:
        bars = song.bar_lines()
    lines = lines_until(bars, mask.shape[1])

    # Where it is: whole bars, or places within bars.
    edges = np.flatnonzero(np.diff(columns, prepend=False, append=False)).tolist()
    start = edges[0]
    stop = edges[-1]
    first, last = np.searchsorted(lines, (start, stop - 1), side="right").tolist()
    where = f"bars {first}-{last}" if last > first else f"bar {first}"
    places = len(edges) // 2
    if places > 1:
        where = f"{places} places in {where}"
    elif start > lines[first - 1] or stop < min(int(lines[last]), len(columns)):
        where = f"in {where}"
    return f"{where}, {_rows_in_words(mask, columns, song, part)}"


def _rows_in_words(mask: Mask, columns: np.ndarray, song: Song | None, part: str | None) -> str:
    """Which rows a mask has, in words: "all pitches", "melody", "C4 to G5".

    Args:
        mask: bool (128, width).
        columns: those in which something is marked, bool (width,).
        song: whose parts are looked for; None: none is.
        part: the word that is preferred.
    """
    note_rows = everything(mask)
    notes = mask & note_rows
    if not notes.any():
        return "chords"
    row = np.flatnonzero(notes.any(axis=1))
    ends = [pitch_name(int(pitch_of_row(end))) for end in (row[-1], row[0])]
    words = " to ".join(dict.fromkeys(ends))

    # What has a word of its own is not told by its pitches.
    if np.array_equal(notes, note_rows & columns):
        words = EVERY_PITCH
    elif song is not None:
        words = _part_in_words(notes, columns, song, part) or words
    return words + (" and chords" if (mask & ~note_rows).any() else "")


def part_of_mask(mask: Mask, song: Song, start: int = 0) -> str:
    """The word of `part_words` whose cells a mask has, in the columns where it has any; "": none.

    Args:
        mask: bool (128, width).
        song: whose parts are looked for.
        start: the step of the song that is column 0 of the mask.
    """
    notes = np.pad(mask & everything(mask), ((0, 0), (start, 0)))
    columns = np.array(notes.any(axis=0))  # (start + width,)
    whole = np.array_equal(notes, everything(notes) & columns)
    return "" if whole or not columns.any() else _part_in_words(notes, columns, song, None)


def _part_in_words(notes: Mask, columns: np.ndarray, song: Song, preferred: str | None) -> str:
    """The part whose cells are marked in some columns, "" where it is none.

    Args:
        notes: what is marked, without chord rows, bool (128, width).
        columns: those in which something is marked, bool (width,).
        song: whose parts are looked for.
        preferred: the word that is tried first.
    """
    # One column tells of most parts that they are others.
    first = int(columns.argmax())
    column = notes[:, first : first + 1]  # (128, 1)
    for part in sorted(part_words(song), key=lambda word: word != preferred):
        if not np.array_equal(column, part_cells(song, part, 1, first)):
            continue
        if np.array_equal(notes, part_cells(song, part, len(columns)) & columns):
            return part
    return ""
