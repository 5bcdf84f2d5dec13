"""Cell states: every pixel as one of a few: off, sustain, or an onset in a velocity bin.

What the processes share that speak of states: encoding and decoding, chords as input channels, and
what a rule of sampling sees. A hidden cell is in the state after the last.

    cells = encode_cells(picture, VELOCITIES)                         # int64 (128, width)
    picture, cleared = decode_cells(cells, picture, mask, VELOCITIES)
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..music.harmony import chords_by_step
from ..music.palette import read_chords
from ..music.pixels import BORDER, PITCHES, belonging, draw_spans, pitch_of_row, read_spans
from ..networks.local import Part

OFF = 0
SUSTAIN = 1
# The first of the onsets: velocity bin b is state ONSET + b.
ONSET = 2
# What each velocity bin is played with: near the quartiles of pop piano.
VELOCITIES = (60, 78, 90, 108)
CHORD_CHANNELS = 3
# Which cells are composed.
REGION_CHANNELS = 1
# What a sustain is drawn with as a state, whatever its note: the middle of pop piano.
SUSTAIN_VELOCITY = 85
# Log-odds: never drawn where anything else can be.
NEVER = -60.0
# No logit counts as lower: an excluded one is minus infinity.
LEAST_RIVAL = -1e4


class Draft(NamedTuple):
    """What a rule may look at: one window while it is composed.

    Attributes:
        cells: int64 (batch, h, w), the states so far, known or drawn.
        hidden: bool (batch, h, w), the cells still to be drawn.
        new: bool (batch, h, w), those of them that this call settles.
        noise: float (batch, states, h, w); the state with the largest logit + noise is drawn.
        chords: float (batch, told, h, w), see `told_channels`.
        start: the step of the picture at which the window begins; windows begin on bar lines.
        mask: bool (batch, h, w), the cells that are composed at all; a single True: all.
        drawn: bool (batch, h, w), those of them whose state this call decides for good. While noise
            is taken away that is no cell before the last call, then every one. A single True: all.
    """

    cells: Tensor
    hidden: Tensor
    new: Tensor
    noise: Tensor
    chords: Tensor
    start: int
    mask: Tensor = torch.tensor(True)
    drawn: Tensor = torch.tensor(True)


Rule = Callable[[Tensor, int, Draft], Tensor]  # (logits, level, draft) -> logits


def encode_cells(picture: np.ndarray, velocities: Sequence[int] = VELOCITIES) -> np.ndarray:
    """Turn a picture into cell states; the chord rows are off.

    Args:
        picture: uint8 (128, width, 3).
        velocities: the MIDI velocity of each onset bin; an onset takes the nearest one.

    Returns:
        int64 (128, width).
    """
    spans = read_spans(picture)
    distance = np.abs(spans.velocity[..., None].astype(int) - np.array(velocities))
    onset_state = ONSET + distance.argmin(-1)  # (128, width)
    states = np.where(spans.onset, onset_state, np.where(spans.sustain, SUSTAIN, OFF))
    return states.astype(np.int64)


def state_colours(velocities: Sequence[int] = VELOCITIES) -> np.ndarray:
    """The colour of each state: black, green, and red for each velocity bin.

    `state_colours()[encode_cells(picture)]` is the picture, brought to the colours of its states.

    Args:
        velocities: the MIDI velocity of each onset bin.

    Returns:
        uint8 (states, 3), RGB.
    """
    colours = np.zeros((ONSET + len(velocities), 3), np.uint8)
    colours[SUSTAIN, 1] = 2 * SUSTAIN_VELOCITY
    colours[ONSET:, 0] = 2 * np.asarray(velocities)
    return colours


def decode_cells(
    cells: np.ndarray,
    picture: np.ndarray,
    mask: np.ndarray,
    velocities: Sequence[int] = VELOCITIES,
) -> tuple[np.ndarray, int]:
    """Draw the masked cells into a picture.

    Args:
        cells: int64 (128, width); hidden cells are drawn black.
        picture: uint8 (128, width, 3); a known note keeps its own velocity.
        mask: bool (128, width), True = draw.
        velocities: the MIDI velocity of each onset bin.

    Returns:
        uint8 (128, width, 3), and how many sustain cells inside the mask followed no note and
        were cleared.
    """
    hidden = ONSET + len(velocities)
    onset = (cells >= ONSET) & (cells < hidden)
    sustain, _ = belonging(onset, cells == SUSTAIN)
    cleared = int(((cells == SUSTAIN) & ~sustain & mask).sum())

    known = read_spans(picture)
    loudness = np.array([0] * ONSET + [*velocities, 0], np.uint8)
    velocity = np.where(mask | ~known.onset, loudness[cells], known.velocity)
    drawn = draw_spans(onset, sustain, velocity)
    return np.where(mask[..., None], drawn, picture), cleared


def chord_channels(picture: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """The chords of a picture's border rows as input: root, chord tones, known; by pitch and step.

    Args:
        picture: uint8 (128, width, 3).
        mask: bool (128, width), or None; where it covers chord rows the chord is unknown.

    Returns:
        float32 (3, 128, width). Where a chord is unknown all three are 0; where there is surely
        none ("N") only the third is 1.
    """
    code, tones = chords_by_step(read_chords(picture), picture.shape[1])
    root = np.where(code < 0, -1, code % 12)
    pitch_class = pitch_of_row(np.arange(PITCHES)) % 12
    known = np.broadcast_to(code > -2, picture.shape[:2])
    planes = [pitch_class[:, None] == root, tones.T[pitch_class], known]
    channels = np.stack(planes).astype(np.float32)  # (3, 128, width)
    if mask is not None:
        channels[:, :, chord_columns(mask)] = 0
    return channels


def told_channels(
    picture: np.ndarray,
    mask: np.ndarray | None,
    position: np.ndarray | None,
    *,
    memory: np.ndarray | None = None,
    region: np.ndarray | None = None,
) -> np.ndarray:
    """What a network is told beside the cells: chords, bars, what the song says, the region.

    Args:
        picture: uint8 (128, width, 3).
        mask: bool (128, width), or None; where it covers chord rows the chord is unknown.
        position: float32 (4, width), see `bars.bar_position`; None: the network does not take it.
        memory: bool (3, 128, width), see `recall`; None: the network does not take it.
        region: bool (128, width), the cells that are composed; None: the network does not take it.

    Returns:
        float32 (told, 128, width): `chord_channels`, then the position, the same in all rows, then
        the memory, then the region.
    """
    told = [chord_channels(picture, mask)]
    if position is not None:
        told.append(np.broadcast_to(position[:, None], (len(position), *picture.shape[:2])))
    if memory is not None:
        told.append(memory.astype(np.float32))
    if region is not None:
        told.append(region[None].astype(np.float32))
    return np.concatenate(told)  # (told, 128, width)


def chord_columns(mask: np.ndarray) -> np.ndarray:
    """The columns where a mask, bool (128, width), covers chord rows: bool (width,)."""
    rows = np.concatenate([mask[:BORDER], mask[-BORDER:]])  # (2 * BORDER, width)
    return np.asarray(rows.any(axis=0))


def forbid(logits: Tensor, states: slice, where: Tensor) -> Tensor:
    """Let states not be drawn in some cells, however unlikely the others are there.

    Args:
        logits: float (batch, states, h, w), changed in place.
        states: which ones.
        where: bool (batch, h, w).

    Returns:
        The same logits; the states are NEVER below the likeliest other one.
    """
    others = logits.clone()
    others[:, states] = -math.inf
    ceiling = others.amax(1).clamp(LEAST_RIVAL, 0) + NEVER  # (batch, h, w)
    logits[:, states] = torch.where(where[:, None], ceiling[:, None], logits[:, states])
    return logits


def favour(logits: Tensor, hidden: Tensor, bias: Tensor) -> Tensor:
    """Change the log-odds of notes that begin at a cell, in place.

    Of onsets, and of a sustain that wants its note to begin at the hidden cell before it; else a
    quarter of the notes came in that way.

    Args:
        logits: float (batch, states, h, w).
        hidden: bool (batch, h, w), the cells still to be drawn.
        bias: float, broadcastable to (batch, h, w).

    Returns:
        The same logits.
    """
    logits[:, ONSET:] += bias.unsqueeze(-3)
    logits[:, SUSTAIN] += F.pad(bias * hidden, (1, -1))
    return logits


def onset_odds(logits: Tensor) -> Tensor:
    """Log-odds of an onset of any velocity: float (batch, h, w) of (batch, states, h, w)."""
    return logits[:, ONSET:].logsumexp(1) - logits[:, :ONSET].logsumexp(1)


def bits_of_kinds(logits: Tensor) -> Tensor:
    """How surprising silence, a sustain, an onset of any velocity would be: -log2 p.

    Args:
        logits: float (batch, states, h, w).

    Returns:
        float (batch, 3, h, w).
    """
    onset = logits[:, ONSET:].logsumexp(1, keepdim=True)
    by_kind = torch.cat([logits[:, :ONSET], onset], dim=1)  # (batch, 3, h, w)
    return (logits.logsumexp(1, keepdim=True) - by_kind) / math.log(2)


def box_of(mask: Tensor) -> Part | None:
    """The rows and columns in which any mask, bool (batch, 1, h, w), has a cell; None: has none."""
    present = mask.flatten(0, 1).any(0)  # (h, w)
    if not present.any():
        return None
    rows, columns = (present.any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
