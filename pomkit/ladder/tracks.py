"""Tracks: a window's melody, bridge and piano as cells of their own, and how their tones agree.

A picture knows no parts. A system that learns them takes them from the window's notes:

    tracks = track_cells(window)                         # int64 (3, 64, 64): MELODY, BRIDGE, PIANO
    distance = tonal_distance(tracks[0] > 0, tracks[2] > 0)

POP909's parts have these names. Of another song the melody is what `masks.melody_notes` takes for
it, and the rest is the piano's.
"""

import math

import numpy as np

from ..data.windows import Window
from ..music import masks
from ..music.pixels import PITCHES, row_of_pitch
from ..music.song import Song
from ..music.tables import notes_of
from ..processes.states import ONSET, SUSTAIN
from .system import ROWS

TRACKS = ("MELODY", "BRIDGE", "PIANO")
BEAT_STEPS = 4
# Radii of the circles of fifths, of minor and of major thirds, and the angle of a semitone on each.
RADII = np.array([1.0, 1.0, 0.5])
ANGLES = math.pi * np.array([7 / 6, 3 / 2, 2 / 3])


def track_cells(window: Window) -> np.ndarray:
    """The cells of each of the TRACKS of a window, int64 (3, 64, width)."""
    width = window.picture.shape[1]
    all_notes = notes_of(window.notes)
    track = track_numbers(all_notes, window.parts)
    notes = [all_notes[track == number] for number in range(len(TRACKS))]
    return np.stack([cells_of_notes(each, window.start, width) for each in notes])


def track_numbers(notes: np.ndarray, parts: tuple[str, ...]) -> np.ndarray:
    """Which of the TRACKS each note is in, int (notes,).

    Args:
        notes: as a Song has them, (notes,).
        parts: the names that their `part` counts.
    """
    if not len(notes):
        return np.zeros(0, int)
    is_melody = masks.melody_notes(Song(notes, parts=parts))
    names = np.array([name.upper() for name in parts] or [""])
    is_bridge = names[notes["part"]] == "BRIDGE"
    rest = np.where(is_bridge, TRACKS.index("BRIDGE"), TRACKS.index("PIANO"))
    return np.where(is_melody & ~is_bridge, TRACKS.index("MELODY"), rest)


def cells_of_notes(notes: np.ndarray, start: int, width: int) -> np.ndarray:
    """The cells of notes, int64 (64, width); a note that began before begins in column 0.

    Args:
        notes: as a Song has them, (notes,).
        start: the step that is column 0.
        width: columns.
    """
    cells = np.zeros((PITCHES, width), np.int64)
    for note in np.sort(notes, order="onset"):
        first = int(note["onset"]) - start
        stop = min(first + int(note["duration"]), width)
        first = max(first, 0)
        if first < stop:
            row = row_of_pitch(int(note["pitch"]))
            cells[row, first:stop] = SUSTAIN
            cells[row, first] = ONSET
    return cells[ROWS]


def skyline_cells(cells: np.ndarray) -> np.ndarray:
    """The highest note that begins in each column, with its sustains: cells like (n, 64, width).

    Args:
        cells: int64 (n, 64, width); hidden cells count as off.
    """
    begins = cells == ONSET
    highest = begins & (begins.cumsum(axis=1) == 1)
    kept = np.zeros_like(highest)
    sounding = np.zeros_like(highest[:, :, 0])
    for column in range(cells.shape[2]):
        goes_on = sounding & (cells[:, :, column] == SUSTAIN)
        sounding = highest[:, :, column] | goes_on
        kept[:, :, column] = sounding
    return np.where(kept, cells, 0)


def prolonged(cells: np.ndarray, steps: int) -> np.ndarray:
    """Cells whose notes are some steps longer, or shorter, where there is room.

    Args:
        cells: int64 (..., width).
        steps: by so many each note is prolonged, until the next one; below 0: shortened, to one
            step at least.

    Returns:
        int64 like cells.
    """
    cells = cells.copy()
    for _ in range(abs(steps)):
        if steps > 0:
            free = (cells[..., 1:] == 0) & (cells[..., :-1] > 0)
            cells[..., 1:][free] = SUSTAIN
            continue
        after = np.concatenate([cells[..., 1:], np.zeros_like(cells[..., :1])], axis=-1)
        cells[(cells == SUSTAIN) & (after != SUSTAIN)] = 0
    return cells


def tonal_centroid(chroma: np.ndarray) -> np.ndarray:
    """Where tones lie on the circles of fifths and thirds: float (..., 6) of chroma (..., 12).

    Source: Harte, Sandler and Gasser 2006, "Detecting harmonic change in musical audio", section 4.
    """
    turns = ANGLES[:, None] * np.arange(12)  # (3, 12)
    axes = np.stack([np.sin(turns), np.cos(turns)], axis=1) * RADII[:, None, None]
    share = chroma / np.maximum(chroma.sum(axis=-1, keepdims=True), 1e-9)
    return share @ axes.reshape(6, 12).T  # (..., 6)


def chroma_by_beat(sounding: np.ndarray) -> np.ndarray:
    """How long each pitch class sounds in each beat, float (..., beats, 12).

    Args:
        sounding: bool (..., 64, width), at the pitches of the ladder.
    """
    beats = sounding.shape[-1] // BEAT_STEPS
    whole = sounding[..., : beats * BEAT_STEPS]
    by_beat = whole.reshape(*whole.shape[:-1], beats, BEAT_STEPS).sum(-1)  # (..., 64, beats)
    pitch_class = (PITCHES - 1 - np.arange(PITCHES)[ROWS]) % 12
    by_pitch = np.swapaxes(by_beat, -1, -2)  # (..., beats, 64)
    return by_pitch @ np.eye(12)[pitch_class]


def tonal_distance(one: np.ndarray, other: np.ndarray) -> float:
    """How far the tones of two tracks are apart, the mean over beats in which both sound.

    Args:
        one: bool (..., 64, width), its sounding cells.
        other: like it.

    Returns:
        0 for the same tones, octaves aside; about 1 for unrelated ones; NaN where no beat has both.

    Source: Dong et al. 2018 ("MuseGAN", arXiv 1709.06298), section 5.
    """
    first = chroma_by_beat(one)
    second = chroma_by_beat(other)
    both = np.asarray(first.any(axis=-1) & second.any(axis=-1))  # (..., beats)
    if not both.any():
        return math.nan
    apart = tonal_centroid(first) - tonal_centroid(second)
    distance = np.linalg.norm(apart, axis=-1)  # (..., beats)
    return float(distance[both].mean())
