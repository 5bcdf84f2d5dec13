"""A discriminator: can a small network tell composed regions from real ones?

    verdict = tell_apart(real, masks, composed, songs)
    verdict.auc["region"]              # [value, low, high]: .5: it cannot tell, 1: it always can
    notes, weight = verdict.weigh(0)   # what gave the first composition away

Statistics and overlapping areas see one measure at a time; a network sees what they miss. So that
it learns music and not circumstances:

- Both classes go through the same encoding and decoding, and have no velocity.
- A real window and its composed twin are in one fold, with all windows of their song. Of three
  folds two train a network, which is asked about the third.
- There are three `VIEWS`: the region alone; without its edge columns, so that no seam gives it
  away; with a bar on either side, so that the network hears whether the region fits in.
- Masks may differ by window, as those of melodies do: twins share one, so it says nothing. Where a
  mask runs through all columns, "around" shows the whole window: the melody with its accompaniment.

The value depends on the songs, the number of windows and the network: only rows of one table are
compared, and only where two controls stand beside them. Real music against other real music must
come to about .5, and `baselines.permuted` near 1. It measures; what ships is never trained on it.
Read on in `evidence`, which draws what gave a composition away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError, check_choice, check_whole
from ..music.pixels import BORDER, PITCHES, Mask, Picture, notes_of_spans, row_of_pitch
from ..music.tables import BAR
from ..processes.states import ONSET, SUSTAIN, decode_cells, encode_cells
from .clips import Notes
from .intervals import auc_draws, interval_of

FOLDS = 3
# Columns at either end of a region that "inside" does not show: a beat.
EDGE = 4
# How long a network trains, and on how many windows at once, each with its twin.
UPDATES = 150
BATCH = 16
LEARNING_RATE = 2e-3
WARM_UP = 20
# A window is shown in other keys, at most so many semitones away.
SEMITONES = 6
# Pictures that a trained network reads at once.
READ = 64


def region_alone(mask: Mask) -> Mask:
    """The masked cells, bool (128, width)."""
    return mask


def region_inside(mask: Mask) -> Mask:
    """The masked cells that are not within a beat of an unmasked column, bool (128, width)."""
    columns: Any = mask.any(axis=0)
    return mask & ~_widened(~columns, EDGE)


def region_around(mask: Mask) -> Mask:
    """All cells of the masked columns and of a bar on either side, bool (128, width)."""
    columns: Any = mask.any(axis=0)
    return np.broadcast_to(_widened(columns, BAR), mask.shape)


def _widened(columns: np.ndarray, reach: int) -> np.ndarray:
    """Columns that are at most `reach` away from one of `columns`, bool (width,)."""
    counts = np.convolve(columns, np.ones(2 * reach + 1))
    return counts[reach : reach + len(columns)] > 0.5


# Name of a view -> which cells of a window it shows, of its mask.
VIEWS: dict[str, Callable[[Mask], Mask]] = {
    "region": region_alone,
    "inside": region_inside,
    "around": region_around,
}


class Examiner(nn.Module):
    """A convolutional network that gives each picture the log-odds of being composed.

    It begins with log-odds of 0 for everything. Three convolutions halve the picture; the mean and
    the largest value of every channel are what it judges by, so where something stands matters
    little. The first convolution spans an octave and six steps.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        first, second, third = channels
        layers = _layer(2, first, (13, 6))
        layers += _layer(first, second, (5, 4))
        layers += _layer(second, third, (5, 4))
        self.layers = nn.Sequential(*layers)
        self.answer = nn.Linear(2 * third, 1)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Log-odds of being composed, float (n,).

        Args:
            states: float (n, 2, rows, columns), 1 where a note begins; where one is carried on.
        """
        maps = self.layers(states)  # (n, channels, rows / 8, columns / 8)
        pooled = [maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))]
        return self.answer(torch.cat(pooled, dim=1))[:, 0]


def _layer(inputs: int, outputs: int, kernel: tuple[int, int]) -> list[nn.Module]:
    """A convolution that halves a picture, its normalisation and its activation."""
    height, width = kernel
    padding = (height // 2, width // 2 - 1)
    convolution = nn.Conv2d(inputs, outputs, kernel, 2, padding)
    return [convolution, nn.GroupNorm(4, outputs), nn.GELU()]


@dataclass(frozen=True)
class Verdict:
    """How well real and composed windows were told apart.

    Attributes:
        auc: view -> [value, low, high], a 95 % bootstrap interval over songs.
        scores: view -> log-odds of being composed, float (2, n): real windows, then their twins.
            A window's score is that of the network that did not train on its song.
        folds: the fold of each window, int (n,).
        networks: view -> the network that was asked about each fold.
        states: view -> what it showed, bool (2, n, 2, rows, columns): begins, carried on.
        first: view -> the first column that it showed.
        draws: view -> the AUC of all songs, then of each draw of songs, float (1 + DRAWS,).
    """

    auc: dict[str, list[float]]
    scores: dict[str, np.ndarray]
    folds: np.ndarray
    networks: dict[str, list[Examiner]] = field(repr=False)
    states: dict[str, Tensor] = field(repr=False)
    first: dict[str, int] = field(repr=False)
    draws: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def minus(self, other: "Verdict", view: str = "region") -> list[float]:
        """The difference of two AUCs on the same windows, drawn together: [value, low, high].

        Args:
            other: of the same windows and seed, composed otherwise.
            view: one of `VIEWS`.

        Raises:
            OptionError: the other verdict is of other windows.
        """
        alike = np.array_equal(self.folds, other.folds)
        if not alike or view not in self.draws or view not in other.draws:
            raise OptionError(
                f"verdicts of {len(self.folds)} and {len(other.folds)} windows in the view {view} "
                "do not pair; give two of the same songs, windows, views and seed"
            )
        return interval_of(self.draws[view] - other.draws[view])

    def weigh(
        self, index: int, composed: bool = True, view: str = "region"
    ) -> tuple[Notes, np.ndarray]:
        """How much each note speaks for a composition: by how much the log-odds fall without it.

        Args:
            index: the number of the window.
            composed: whether its composed twin is asked about, or the real window.
            view: one of `VIEWS`.

        Returns:
            The notes that the view shows, NOTE_DTYPE (notes,), and their weights, float (notes,):
            above 0 what gave it away, below 0 what sounds real.
        """
        states = self.states[view][int(composed), index]  # (2, rows, columns)
        notes = _notes_of_states(states)
        row = row_of_pitch(notes["pitch"]) - BORDER
        start = notes["onset"]
        end = start + notes["duration"]

        # The same picture again and again, each time without one note.
        without = states.repeat(len(notes), 1, 1, 1)  # (notes, 2, rows, columns)
        for i in range(len(notes)):
            without[i, :, row[i], start[i] : end[i]] = False
        network = self.networks[view][self.folds[index]]
        whole = score_states(network, states[None])
        weight = whole - score_states(network, without)

        notes["onset"] += self.first[view]
        return notes, weight


def tell_apart(
    real: Sequence[Picture] | np.ndarray,
    masks: Mask,
    composed: Sequence[Picture] | np.ndarray,
    songs: Sequence[Any] | np.ndarray,
    *,
    views: Sequence[str] = tuple(VIEWS),
    updates: int = UPDATES,
    seed: int = 0,
) -> Verdict:
    """Train networks to tell composed regions from real ones, and ask them about other songs.

    It is deterministic, and alike for both sets: swapped, they are told apart as well.

    Args:
        real: uint8 (n, 128, width, 3).
        masks: the regions, bool (128, width) or (n, 128, width).
        composed: the same windows, their regions composed, uint8 (n, 128, width, 3).
        songs: which song each window is of, (n,): numbers or names.
        views: which of `VIEWS`.
        updates: how long each network trains, in batches.
        seed: of the folds, the networks and the draws.

    Raises:
        OptionError: the sets do not fit together, or they are of fewer than three songs.
        PictureError: what is given is no picture.
    """
    masks = _checked_masks(real, masks, composed, songs)
    for view in views:
        check_choice("view", view, VIEWS)
    check_whole("updates", updates, 1, 10**6, unit="batches")
    _, song = np.unique(np.asarray(songs), return_inverse=True)
    song = song.reshape(-1)  # (n,)
    folds = assign_folds(song, seed)

    read = np.stack([read_states(real), read_states(composed)])  # (2, n, 2, 128, width)
    verdict = Verdict({}, {}, folds, {}, {}, {})
    for view in views:
        shown = np.stack([VIEWS[view](mask) for mask in masks])  # (n, 128, width)
        columns = _columns_shown(shown)
        seen = (read & shown[:, None])[..., BORDER : PITCHES - BORDER, columns]
        states = torch.from_numpy(seen)  # (2, n, 2, rows, columns)
        networks, scores = _examine(states, folds, updates, seed)
        draws = auc_draws(scores[0], scores[1], song, folds, seed=seed)
        verdict.draws[view] = draws
        verdict.auc[view] = interval_of(draws)
        verdict.scores[view] = scores
        verdict.networks[view] = networks
        verdict.states[view] = states
        verdict.first[view] = columns.start
    return verdict


def assign_folds(songs: np.ndarray, seed: int = 0) -> np.ndarray:
    """Deal songs to three folds at random, all windows of a song to one: int (n,).

    Args:
        songs: the number of each window's song, int (n,).
        seed: of the dealing.
    """
    names, number = np.unique(songs, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    return (order % FOLDS)[number.reshape(-1)]  # (n,)


def read_states(pictures: Sequence[Picture] | np.ndarray) -> np.ndarray:
    """What both classes are reduced to: where notes begin, and where they are carried on.

    Each picture is encoded, decoded and encoded again, so that no trace of its making is left.

    Args:
        pictures: uint8 (n, 128, width, 3).

    Returns:
        bool (n, 2, 128, width): a note begins; a note is carried on.
    """
    states = []
    for picture in pictures:
        everywhere = np.ones(picture.shape[:2], bool)
        drawn, _ = decode_cells(encode_cells(picture), picture, everywhere)
        cells = encode_cells(drawn)
        states.append(np.stack([cells >= ONSET, cells == SUSTAIN]))
    return np.stack(states)


def train_examiner(states: Tensor, updates: int = UPDATES, seed: int = 0) -> Examiner:
    """Train a network to give composed windows higher log-odds than real ones.

    A window and its twin stand in one batch, moved by the same interval.

    Args:
        states: bool (2, n, 2, rows, columns): real windows, then their composed twins.
        updates: batches.
        seed: of the first weights, the order and the intervals.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Examiner()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.01)

    for update, chosen in enumerate(_batches(states.shape[1], updates, generator)):
        moves = torch.randint(-SEMITONES, SEMITONES + 1, (BATCH,), generator=generator)
        windows = transposed(states[:, chosen], moves)  # (2, BATCH, 2, rows, columns)
        share = min((update + 1) / WARM_UP, 1) * (1 - update / updates)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * share

        with torch.autocast("cpu", torch.bfloat16):
            log_odds = network(windows.flatten(0, 1)).float()  # (2 * BATCH,)
        of_real, of_composed = log_odds.chunk(2)
        loss = F.softplus(of_real).mean() + F.softplus(-of_composed).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def transposed(states: Tensor, moves: Tensor) -> Tensor:
    """Move each window by its own interval, both twins alike.

    Args:
        states: bool (2, n, 2, rows, columns).
        moves: semitones downwards, int (n,).

    Returns:
        float (2, n, 2, rows, columns).
    """
    moved = [torch.roll(states[:, i], move, 2) for i, move in enumerate(moves.tolist())]
    return torch.stack(moved, dim=1).float()


@torch.inference_mode()
def score_states(network: Examiner, states: Tensor) -> np.ndarray:
    """Log-odds of being composed, float (n,), of bool (n, 2, rows, columns)."""
    scores = [network(part.float()) for part in states.split(READ)]
    return torch.cat(scores).numpy() if scores else np.zeros(0, np.float32)


def _batches(windows: int, updates: int, generator: torch.Generator) -> Tensor:
    """Which windows each update sees, int (updates, BATCH): all in turn, in an order drawn anew."""
    rounds = -(-updates * BATCH // windows)
    orders = [torch.randperm(windows, generator=generator) for _ in range(rounds)]
    order = torch.cat(orders)[: updates * BATCH]
    return order.reshape(updates, BATCH)  # (updates, BATCH)


def _examine(
    states: Tensor, folds: np.ndarray, updates: int, seed: int
) -> tuple[list[Examiner], np.ndarray]:
    """Train a network for each fold on the others; give them and all scores, float (2, n)."""
    networks = []
    scores = np.zeros(states.shape[:2], np.float32)
    for fold in range(FOLDS):
        here = folds == fold
        network = train_examiner(states[:, ~here], updates, seed)
        for side in (0, 1):
            scores[side, here] = score_states(network, states[side, here])
        networks.append(network)
    return networks, scores


def _columns_shown(shown: Mask) -> slice:
    """The bars that hold all columns that a view shows of any window; the first bar if none."""
    columns = np.flatnonzero(shown.any(axis=(0, 1)))
    if not len(columns):
        return slice(0, BAR)
    first = int(columns[0]) // BAR * BAR
    last_bar = int(columns[-1]) // BAR
    return slice(first, BAR * (last_bar + 1))


def _notes_of_states(states: Tensor) -> Notes:
    """The notes of bool (2, rows, columns), NOTE_DTYPE (notes,), in columns of the view."""
    whole = np.pad(states.numpy(), ((0, 0), (BORDER, BORDER), (0, 0)))  # (2, 128, columns)
    onset, sustain = whole
    return notes_of_spans(onset, sustain, onset.astype(np.uint8))


def _checked_masks(real: Any, masks: Any, composed: Any, songs: Any) -> np.ndarray:
    """The mask of each window, bool (n, 128, width); OptionError where the sets do not fit."""
    shapes = {np.shape(picture) for picture in (*real, *composed)}
    if len(shapes) != 1 or not len(real) == len(composed) == len(songs):
        raise OptionError(
            f"{len(real)} real windows, {len(composed)} composed ones, {len(songs)} songs, "
            f"{len(shapes)} shapes: they do not fit together; give as many of each, of one width"
        )
    different = len(np.unique(np.asarray(songs)))
    if different < FOLDS:
        raise OptionError(
            f"windows of {different} songs cannot be dealt to {FOLDS} folds; "
            "give windows of more songs"
        )

    shape = (len(real), *np.shape(real[0])[:2])
    masks = np.asarray(masks)
    if masks.dtype != bool or masks.shape not in (shape, shape[1:]) or not masks.any():
        raise OptionError(
            f"masks of {masks.dtype} {masks.shape} do not fit {shape[0]} windows or hide nothing; "
            "give bool (128, width), or one such for each window"
        )
    return np.broadcast_to(masks, shape)
