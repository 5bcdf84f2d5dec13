"""Measures of pictures: what stands inside a mask, and whether it fits the song around it. numpy only."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .chords import KEY_PROFILES
from .picture import PITCHES, read_spans


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


def scale_of(picture: np.ndarray, border: int = 8) -> np.ndarray:
    """The seven pitch classes of the picture's most likely key, bool (12,): Krumhansl-Schmuckler on sounding time.

    A minor key counts as its natural minor scale, so it is the scale of its relative major.
    """
    spans = read_spans(picture, border=border)
    row = np.nonzero(spans.onset | spans.sustain)[0]
    weights = np.bincount((127 - row) % 12, minlength=12)                    # sounding steps of each pitch class
    if weights.std() == 0:
        return np.ones(12, bool)
    _, tonic = max((np.corrcoef(weights, np.roll(KEY_PROFILES[mode], tonic))[0, 1], (tonic + shift) % 12)
                   for mode, shift in (("maj", 0), ("min", 3)) for tonic in range(12))
    return np.isin(np.arange(12), (np.array([0, 2, 4, 5, 7, 9, 11]) + tonic) % 12)


def grid_phase(picture: np.ndarray, grid: int = 2, border: int = 8) -> int:
    """Where the song's grid of `grid` steps (2: eighth notes) lies: the phase 0..grid-1 that holds most onsets."""
    columns = np.nonzero(read_spans(picture, border=border).onset)[1]
    return int(np.bincount(columns % grid, minlength=grid).argmax())


def adherence(before: np.ndarray, after: np.ndarray, mask: np.ndarray, song: np.ndarray | None = None, start: int = 0,
              grid: int = 2, border: int = 8) -> Adherence:
    """How the composed region of `after` compares with the real one of `before`, uint8 (128, width, 3) each.

    Counted on the notes that begin inside `mask`, bool (128, width): onsets, onsets per masked bar of 16 steps, the share in
    the song's scale (`scale_of`) and on its grid (`grid_phase`), both taken from `song`, a picture of which `before` shows the
    columns from `start` on (default: `before` itself). `changed_outside`: pixels outside the mask that differ; must be 0.
    """
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
