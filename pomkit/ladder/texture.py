"""Texture: music in which as many notes begin at each step as are asked for.

The network of `restoring` is told the chords and the texture: how many notes begin in each column.
Both can be left out, in part or wholly. It is Polyffusion's external control, in the small.

    counts = texture_of(window_cells(picture))                     # float32 (width,)
    inpaint(model, picture, mask, texture=counts)              # the rhythm stays, the notes change
    inpaint(model, picture, mask, texture=np.full(64, 2.0))    # two notes at every step

The law: where no texture is asked for, the answer does not depend on what it was. How well it does
what it is asked, `agreement` measures.

    python -m pomkit.train --process texture --width 64

Source: Min et al. 2023 (Polyffusion, arXiv 2307.10304). It leaves the condition out for whole
batches; here each window draws for itself.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.windows import Window
from ..errors import OptionError
from ..processes.contract import Options
from ..processes.states import CHORD_CHANNELS, chord_channels
from .restoring import Restorer
from .system import ONSET, ROW_COUNT, ROWS, WINDOW, Request, cut_window, window_cells

# The texture as planes: how many notes, and whether that is known.
TEXTURE_PLANES = 2
# Of the training windows so many are told no texture, and so many one with a gap.
FREE_SHARE = 0.25
GAP_SHARE = 0.25
# So many notes are 1 to the network.
FULL_TEXTURE = np.log1p(6.0)


class Texture(Restorer):
    """A system that composes with chords and a texture given."""

    process = "texture"
    planes = CHORD_CHANNELS + TEXTURE_PLANES
    options = Restorer.options | {"texture"}

    def told_of(self, cells: Tensor, request: Request) -> Tensor:
        """Chords and texture of a window, float (batch, 5, 64, 64); see `Restorer.told_of`."""
        counts = np.full(WINDOW, np.nan, np.float32)
        asked = request.options.own.get("texture")
        if asked is not None:
            steps = request.options.start + np.arange(WINDOW)
            inside = (steps >= 0) & (steps < len(asked))
            counts[inside] = asked[steps[inside]]
        planes = torch.from_numpy(texture_planes(counts)).to(request.chords)
        planes = planes.expand(len(cells), -1, -1, -1)  # (batch, 2, 64, 64)
        return torch.cat([request.chords, planes], dim=1)

    def check(self, options: Options) -> Options:
        """The options, with the texture checked; OptionError."""
        own = dict(options.own)
        if "texture" in own:
            own["texture"] = check_texture(own["texture"])
        return replace(super().check(options), own=own)

    def learned(
        self, window: Window, rng: np.random.Generator, options: Any
    ) -> dict[str, np.ndarray]:
        """The cells, the region, (64, 64) each, chords and texture; see `Restorer.learned`."""
        window = cut_window(window, rng)
        cells = window_cells(window.picture)
        chords = chord_channels(window.picture, window.mask)[:, ROWS]
        counts = texture_of(cells)
        chance = rng.random()
        if chance < FREE_SHARE:
            counts[:] = np.nan
        elif chance < FREE_SHARE + GAP_SHARE:
            start, stop = np.sort(rng.integers(0, WINDOW + 1, 2))
            counts[start:stop] = np.nan
        told = np.concatenate([chords, texture_planes(counts)])  # (5, 64, 64)
        return {"cells": cells, "mask": window.mask[ROWS], "told": told}


def texture_of(cells: np.ndarray) -> np.ndarray:
    """How many notes begin in each column, float32 (width,), of cells, int64 (64, width)."""
    return (cells == ONSET).sum(axis=0).astype(np.float32)


def texture_planes(counts: np.ndarray) -> np.ndarray:
    """A texture as the network is told it.

    Args:
        counts: float (width,), onsets of each column, NaN where nothing is asked.

    Returns:
        float32 (2, 64, width): the logarithm of the number, 0 where it is not known; known or not.
    """
    known = ~np.isnan(counts)
    amount = np.log1p(np.where(known, counts, 0)) / FULL_TEXTURE
    planes = np.stack([amount, known]).astype(np.float32)  # (2, width)
    return np.repeat(planes[:, None], ROW_COUNT, axis=1)  # (2, 64, width)


def agreement(asked: np.ndarray, got: np.ndarray) -> float:
    """The correlation of the textures asked for and got, from -1 to 1; 0 where one is constant.

    Args:
        asked: float (width,), NaN where nothing was asked.
        got: float (width,).
    """
    known = ~np.isnan(asked)
    pair = np.stack([asked[known], got[known]])  # (2, known)
    if pair.shape[1] < 2 or (pair.std(axis=1) == 0).any():
        return 0.0
    return float(np.corrcoef(pair)[0, 1])


def check_texture(texture: Any) -> np.ndarray:
    """A texture as an option: float32 (width,), NaN where nothing is asked; OptionError."""
    try:
        counts = np.array(texture, np.float32)
    except (TypeError, ValueError):
        counts = np.zeros((0, 0), np.float32)
    fits = counts.ndim == 1 and len(counts)
    # "Not below" and "not above" hold for NaN, too.
    if not fits or (counts < 0).any() or (counts > ROW_COUNT).any():
        raise OptionError(
            f"texture of shape {np.shape(counts)} does not fit; give the number of onsets, 0 to "
            f"{ROW_COUNT}, of each step of the picture, NaN where it is free"
        )
    return counts
