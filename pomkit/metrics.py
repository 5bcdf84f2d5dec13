"""Measures of pictures: what stands inside a mask, and whether it fits the song around it. numpy only."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .picture import PITCHES, check_picture, read_spans

# Krumhansl and Kessler's key profiles (Krumhansl 1990, table 4.1): how well each pitch class fits a key, from its tonic.
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


class Adherence(NamedTuple):
    """What `adherence` measures of one inpainting; shares are 0-1, nan where there is nothing to divide by."""

    onsets: int
    onsets_before: int
    onsets_per_bar: float
    onsets_per_bar_before: float
    in_scale: float
    in_scale_before: float
    on_grid: float
    on_grid_before: float
    changed_outside: int


def pitch_class_weights(picture: np.ndarray, border: int = 8) -> np.ndarray:
    """Sounding steps of each pitch class, int (12,)."""
    spans = read_spans(picture, border=border)
    sounding = (spans.onset | spans.sustain).sum(axis=1)
    return np.bincount((127 - np.arange(PITCHES)) % 12, sounding, minlength=12).astype(int)


def scale_of(picture: np.ndarray, border: int = 8) -> np.ndarray:
    """The seven pitch classes of the picture's most likely key, bool (12,): Krumhansl-Schmuckler on sounding time.

    A minor key counts as its natural minor scale, so it is the scale of its relative major.
    """
    weights = pitch_class_weights(picture, border)
    if weights.std() == 0:
        return np.ones(12, bool)
    keys = [(np.corrcoef(weights, np.roll(profile, tonic))[0, 1], (tonic + shift) % 12)
            for profile, shift in ((MAJOR, 0), (MINOR, 3)) for tonic in range(12)]
    scale = np.zeros(12, bool)
    scale[(np.array([0, 2, 4, 5, 7, 9, 11]) + max(keys)[1]) % 12] = True
    return scale


def grid_phase(picture: np.ndarray, grid: int = 2, border: int = 8) -> int:
    """Where the song's grid of `grid` steps (2: eighth notes) lies: the phase 0..grid-1 that holds most onsets."""
    columns = np.nonzero(read_spans(picture, border=border).onset)[1]
    return int(np.bincount(columns % grid, minlength=grid).argmax())


def adherence(before: np.ndarray, after: np.ndarray, mask: np.ndarray, song: np.ndarray | None = None, start: int = 0,
              grid: int = 2, border: int = 8) -> Adherence:
    """How the composed region of `after` compares with the real one of `before`, uint8 (128, width, 3) each.

    Counted on the notes that begin inside `mask`, bool (128, width): onsets, onsets per masked bar of 16 steps, the share
    in the song's scale (`scale_of`) and the share on its grid (`grid_phase`), both taken from `song`, a picture of which
    `before` shows the columns from `start` on (default: `before` itself). `changed_outside`: pixels outside the mask that
    differ, which must be 0.
    """
    for picture in (before, after):
        check_picture(picture)
    song = before if song is None else song
    scale, phase = scale_of(song, border), grid_phase(song, grid, border)
    bars = max(int(mask[border:PITCHES - border].any(axis=0).sum()), 1) / 16

    def measure(picture: np.ndarray) -> tuple[int, float, float, float]:
        row, column = np.nonzero(read_spans(picture, border=border).onset & mask)
        if not len(row):
            return 0, 0.0, float("nan"), float("nan")
        return (len(row), len(row) / bars, float(scale[(127 - row) % 12].mean()),
                float(((column + start) % grid == phase).mean()))

    new, old = measure(after), measure(before)
    outside = int((before[~mask] != after[~mask]).any(axis=-1).sum())
    return Adherence(new[0], old[0], new[1], old[1], new[2], old[2], new[3], old[3], outside)


def shuffled(picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator, border: int = 8) -> np.ndarray:
    """Chance: the picture with the masked notes' onsets at random cells of the mask, one step long; same count."""
    spans = read_spans(picture, border=border)
    cells = np.flatnonzero(mask[border:PITCHES - border]) + border * picture.shape[1]
    begins = (spans.onset & mask).ravel()
    places = rng.choice(cells, min(int(begins.sum()), len(cells)), replace=False)
    out = np.where(mask[..., None], 0, picture).astype(np.uint8)
    out.reshape(-1, 3)[places, 0] = 2 * rng.permutation(spans.velocity.ravel()[begins])[:len(places)]
    return out
