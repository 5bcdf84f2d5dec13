"""A cascade: first the skeleton of the whole song, then its notes. Whole-Song, in the small.

A skeleton is the melody note and the bass note of each half bar. One network writes skeletons of 32
bars, 64 half bars at a sight; a second one, of windows of 64 steps as all systems have them, writes
the notes and is told the skeleton. So the music may have a plan that no window can see. Both
networks restore hidden cells, as in `restoring`.

    bones = skeleton(window_cells(picture))                        # int (2, half bars), pitches
    inpaint(model, picture, mask, skeleton=bones)              # the same song with other notes
    form = in_form(bones, "AABA", bars=8)                      # a form, by copying half bars
    inpaint(model, picture, mask, method="flat")               # no skeleton: plain cells

The laws: without a skeleton the second network is plain cells, whatever the skeleton was; a
skeleton that is given is told as it is.

    python -m pomkit.train --process cascade --width 512

Source: Wang et al. 2024 (arXiv 2405.09901), which has four levels, and phrase labels.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.windows import Window
from ..errors import OptionError, check_whole
from ..music import masks
from ..music.tables import BAR
from ..processes.contract import Drawn, Options, Report
from ..processes.uncover import CALLS, sample_cells
from .restoring import Restorer, cell_channels, hidden_bits, small_hdit
from .system import (
    CELL_STATES,
    HIDDEN,
    HIGHEST,
    LOWEST,
    OFF,
    ROW_COUNT,
    ROWS,
    WINDOW,
    Request,
    cut_window,
    window_cells,
)

HALF = BAR // 2  # columns of a half bar
SONG = WINDOW * HALF  # columns of the longest skeleton that is seen at once
# States of a skeleton's cells.
BASS_STATE = 1
MELODY_STATE = 2
# There is no such note.
NO_NOTE = 0
# It may be any, or none.
ANY_NOTE = -1
# What is told of a cell: the melody's note, the bass's note, whether the skeleton is known.
BONE_PLANES = 3
# So many training windows are told no skeleton.
FLAT_SHARE = 0.25
# Of both networks.
TOY = {"width": 32, "depth": 1, "patch": (8, 8)}
NETWORKS: dict[str, dict[str, Any]] = {
    "tiny": {
        "bones": {"width": 32, "depth": 3, "patch": (4, 4)},
        "notes": {"width": 64, "depth": 3, "patch": (2, 8)},
    },
    "toy": {"bones": TOY, "notes": TOY},
}
# Of so many training skeletons a part is known, and of the others nothing.
PART_SHARE = 0.5
# Half bars of known skeleton that are seen before those that are composed.
KNOWN_BEFORE = 32


class Levels(nn.Module):
    """The two networks of a cascade.

    Args:
        bones: of the network of skeletons: width, depth and patch, as `small_hdit` takes them.
        notes: of the network of notes.
    """

    def __init__(self, *, bones: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        super().__init__()
        self.bones = small_hdit(1 + CELL_STATES, **bones)
        self.notes = small_hdit(1 + CELL_STATES + BONE_PLANES, **notes)

    def param_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The optimiser's groups of parameters, see `HDiT.param_groups`."""
        return self.bones.param_groups(weight_decay) + self.notes.param_groups(weight_decay)


class Cascade(Restorer):
    """A system that writes a skeleton, then the notes."""

    process = "cascade"
    planes = BONE_PLANES
    methods = {"cascade": CALLS, "flat": CALLS}
    options = Restorer.options | {"skeleton"}
    sizes = NETWORKS

    def __init__(self, size: str = "tiny", **own: Any) -> None:
        """Build both networks; arguments, and what they raise, as `System`'s."""
        super().__init__(size, **own)
        # Songs are laid out so that a skeleton sees as much as it can.
        self.width = SONG
        self.span = SONG

    def build(self, **numbers: Any) -> nn.Module:
        """Both networks; `numbers`: arguments of `Levels`."""
        return Levels(**numbers)

    def forward(self, cells: Tensor, told: Tensor | None, t: Tensor) -> Tensor:
        """Say how likely each state of each cell is, of notes, or of a skeleton.

        Args:
            cells: int64 (batch, 64, 64), states, or HIDDEN.
            told: float (batch, 3, 64, 64), see `bone_planes`, zeros where nothing is told; None:
                the cells are those of a skeleton.
            t: float (batch,), the hidden share of the region.

        Returns:
            Logits, float (batch, 3, 64, 64).
        """
        one_hot = cell_channels(cells, t)
        if told is None:
            return self.network.bones(one_hot, t).float()
        return self.network.notes(torch.cat([one_hot, told], dim=1), t).float()

    def check(self, options: Options) -> Options:
        """The options, with the skeleton checked; OptionError."""
        own = dict(options.own)
        if "skeleton" in own:
            own["skeleton"] = check_skeleton(own["skeleton"])
            if options.method == "flat":
                raise OptionError(
                    "method='flat' asks for music without a skeleton; leave the skeleton out, or "
                    "choose method='cascade'"
                )
        return replace(super().check(options), own=own)

    def compose(
        self, canvas: np.ndarray, region: np.ndarray, options: Options, report: Report
    ) -> Drawn:
        """Compose a region of pictures, uint8 (n, 128, width, 3); see `Process.compose`."""
        notes = region & ~masks.chords(region)
        if options.method == "flat" or not notes[ROWS].any():
            return super().compose(canvas, region, options, report)

        # The skeleton of what is known, with the half bars that are composed left open.
        blank = [np.where(notes[..., None], 0, each).astype(np.uint8) for each in canvas]
        known = np.stack([skeleton(window_cells(each)) for each in blank])  # (n, 2, half bars)
        known[..., half_bars_of(notes[ROWS])] = ANY_NOTE
        wish = wished(options, known.shape[-1])
        known = np.where(wish != ANY_NOTE, wish, known)

        # First the bones, then the notes; both are told as calls of one walk.
        counter = Counter(report, lambda: [(each, 0) for each in blank], options.calls)
        bones = self.compose_skeleton(known, options, counter.tell)
        own = {**options.own, "bones": bones, "bones_start": options.start}
        return super().compose(canvas, region, replace(options, own=own), counter.pass_on)

    def compose_skeleton(
        self, known: np.ndarray, options: Options, tell: Callable[[dict[str, Any]], None]
    ) -> np.ndarray:
        """Fill the unknown notes of skeletons, 64 half bars after another.

        Args:
            known: int (n, 2, half bars), pitches, NO_NOTE or ANY_NOTE.
            options: how.
            tell: is told of each call, as `sample_cells` does.

        Returns:
            int like `known`, without ANY_NOTE.
        """
        bones = known.copy()
        while (bones == ANY_NOTE).any():
            # The next stretch, with some of what is settled in view.
            first = int(np.flatnonzero((bones == ANY_NOTE).any(axis=(0, 1)))[0])
            start = max(min(first - KNOWN_BEFORE, bones.shape[-1] - WINDOW), 0)
            part = bones[..., start : start + WINDOW]
            filled = self.fill_skeleton(part, options, tell)
            bones[..., start : start + WINDOW] = np.where(part == ANY_NOTE, filled, part)
        return bones

    def fill_skeleton(
        self, bones: np.ndarray, options: Options, tell: Callable[[dict[str, Any]], None]
    ) -> np.ndarray:
        """Skeletons of at most 64 half bars without unknown notes.

        Args:
            bones: int (n, 2, half bars).
            options: how.
            tell: is told of each call.

        Returns:
            int like `bones`; what was known may have changed.
        """
        # What lies behind the end is hidden, and is not composed.
        count = bones.shape[-1]
        states = np.full((len(bones), ROW_COUNT, WINDOW), HIDDEN)
        states[:, :, :count] = [bone_cells(each) for each in bones]
        mask = torch.zeros(ROW_COUNT, WINDOW, dtype=torch.bool)
        mask[:, :count] = torch.from_numpy((bones == ANY_NOTE).any(axis=(0, 1)))

        def ask(cells: Tensor, nothing: Tensor, t: Tensor) -> Tensor:
            return self(cells, None, t)

        place = self.device
        cells = torch.from_numpy(states).to(place)
        nothing = torch.zeros(len(bones), 0, ROW_COUNT, WINDOW, device=place)
        wishes: dict[str, Any] = {"calls": options.calls, "temperature": options.temperature}
        wishes |= {"generator": options.generator, "callback": tell}
        filled = sample_cells(ask, cells, nothing, mask.to(place), HIDDEN, **wishes)
        return np.stack([bones_of(each)[:, :count] for each in filled.cpu().numpy()])

    def told_of(self, cells: Tensor, request: Request) -> Tensor:
        """The skeleton of a window, float (batch, 3, 64, 64); see `Restorer.told_of`."""
        bones = request.options.own.get("bones")
        if bones is None:
            return self.untold(cells)
        first = request.options.start - request.options.own["bones_start"]
        planes = np.stack([bone_planes(each, first) for each in bones])  # (n, 3, 64, 64)
        return torch.from_numpy(planes).to(self.device)

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """64 columns of notes with their skeleton, and a skeleton of up to 64 half bars.

        All cells, masks and noise are (64, 64), what is told (3, 64, 64); see `Process.example`.
        """
        # The plan: a skeleton of the whole window.
        cells = bone_cells(skeleton(window_cells(window.picture))[:, :WINDOW])
        count = cells.shape[1]
        there = np.zeros((ROW_COUNT, WINDOW), bool)
        there[:, :count] = True

        # A few half bars in a row are hidden, or all.
        start = int(rng.integers(count))
        stop = int(rng.integers(start, count)) + 1
        some = slice(start, stop) if rng.random() < PART_SHARE else slice(count)
        region = np.zeros((ROW_COUNT, WINDOW), bool)
        region[:, some] = True

        plan = {"bones_there": there, "bones_mask": region}
        plan["bones"] = np.pad(cells, ((0, 0), (0, WINDOW - count)))
        plan["bones_noise"] = rng.random(region.shape, np.float32)
        return super().example(window, u, rng, options) | plan

    def learned(
        self, window: Window, rng: np.random.Generator, options: Any
    ) -> dict[str, np.ndarray]:
        """The cells, the region, (64, 64) each, and the skeleton; see `Restorer.learned`."""
        window = cut_window(window, rng)
        cells = window_cells(window.picture)
        told = bone_planes(skeleton(cells), 0) * np.float32(rng.random() >= FLAT_SHARE)
        return {"cells": cells, "mask": window.mask[ROWS], "told": told}

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """Bits per cell of the notes, and of the skeleton, added: float (batch,)."""
        # What lies behind a skeleton's end is hidden to the network, and is not scored.
        bones = {"t": batch["t"], "noise": batch["bones_noise"], "told": ~batch["bones_there"]}
        bones |= {"cells": batch["bones"], "mask": batch["bones_mask"]}

        def of_bones(cells: Tensor, beyond: Tensor, t: Tensor) -> Tensor:
            return forward(cells.masked_fill(beyond, HIDDEN), None, t)

        return hidden_bits(forward, batch) + hidden_bits(of_bones, bones)


class Counter:
    """Tells of the calls of both networks as of one walk.

    Args:
        report: what is told, see `Process.compose`.
        draw: gives the pictures while there are only bones.
        later: calls of the second network that are expected.
    """

    def __init__(self, report: Report, draw: Callable[[], Drawn], later: int) -> None:
        self.report = report
        self.draw = draw
        self.later = later
        self.calls = 0

    def tell(self, event: dict[str, Any]) -> None:
        """Tell of a call of the first network."""
        left = event["n"] - event["i"] - 1
        self.report({"i": self.calls, "n": self.calls + 1 + left + self.later}, self.draw)
        self.calls += 1

    def pass_on(self, event: dict[str, Any], draw: Callable[[], Drawn]) -> None:
        """Tell of a call of the second one."""
        place = {"i": self.calls + event["i"], "n": self.calls + event["n"]}
        self.report(event | place, draw)


# Skeletons.


def skeleton(cells: np.ndarray) -> np.ndarray:
    """The melody note and the bass note of each half bar.

    Of the highest sounding notes of a half bar's columns the melody note is the one that sounds in
    most of them; of several, the highest. So it is with the lowest ones and the bass note; where
    one pitch would be both, there is no bass.

    Args:
        cells: int64 (64, width), without hidden ones; eight columns are a half bar.

    Returns:
        int64 (2, half bars): pitches, or NO_NOTE, of the melody and of the bass.
    """
    half_bars = -(-cells.shape[1] // HALF)
    padded = np.pad(cells != OFF, ((0, 0), (0, half_bars * HALF - cells.shape[1])))
    sounding = padded.reshape(ROW_COUNT, half_bars, HALF)  # (64, half bars, 8)

    # Of each column the highest and the lowest row that sounds.
    top = sounding & (sounding.cumsum(axis=0) == 1)
    bottom = sounding & (sounding[::-1].cumsum(axis=0)[::-1] == 1)
    melody = most_frequent_row(top.sum(axis=2))
    bass = ROW_COUNT - 1 - most_frequent_row(bottom.sum(axis=2)[::-1])

    silent = ~sounding.any(axis=(0, 2))  # (half bars,)
    bones = np.stack([HIGHEST - melody, HIGHEST - bass])
    bones[1, melody == bass] = NO_NOTE
    bones[:, silent] = NO_NOTE
    return bones


def most_frequent_row(counts: np.ndarray) -> np.ndarray:
    """The first row with the largest count in each column, int (n,) of (64, n)."""
    return counts.argmax(axis=0)


def bone_cells(bones: np.ndarray) -> np.ndarray:
    """A skeleton, int (2, half bars), as cells: off, bass or melody; int64 (64, half bars).

    Half bars of which any note is ANY_NOTE are HIDDEN.
    """
    melody, bass = bones
    columns = np.arange(bones.shape[1])
    cells = np.full((ROW_COUNT, bones.shape[1]), OFF, np.int64)
    for notes, state in ((bass, BASS_STATE), (melody, MELODY_STATE)):
        there = notes > NO_NOTE
        cells[HIGHEST - notes[there], columns[there]] = state
    cells[:, (bones == ANY_NOTE).any(axis=0)] = HIDDEN
    return cells


def bones_of(cells: np.ndarray) -> np.ndarray:
    """The skeleton that cells, int64 (64, half bars), say: the inverse of `bone_cells`.

    Of several melody notes of a half bar the highest counts, of several bass notes the lowest.

    Returns:
        int64 (2, half bars), without ANY_NOTE.
    """
    melody = cells == MELODY_STATE
    bass = cells == BASS_STATE
    highest = np.where(melody.any(axis=0), HIGHEST - melody.argmax(axis=0), NO_NOTE)
    lowest = np.where(bass.any(axis=0), LOWEST + bass[::-1].argmax(axis=0), NO_NOTE)
    return np.stack([highest, lowest])


def bone_planes(bones: np.ndarray, first: int) -> np.ndarray:
    """What the network of the notes is told of a skeleton in 64 columns.

    Args:
        bones: int (2, half bars).
        first: the column of the skeleton at which the window begins.

    Returns:
        float32 (3, 64, 64): where the melody's note is, where the bass's is, where both are known.
    """
    half_bar = (first + np.arange(WINDOW)) // HALF
    inside = (half_bar >= 0) & (half_bar < bones.shape[1])
    planes = np.zeros((BONE_PLANES, ROW_COUNT, WINDOW), np.float32)
    columns = np.flatnonzero(inside)
    for plane, notes in zip(planes, bones, strict=False):
        pitch = notes[half_bar[inside]]
        there = pitch > NO_NOTE
        plane[HIGHEST - pitch[there], columns[there]] = 1
    known = (bones != ANY_NOTE).all(axis=0)
    planes[2, :, columns] = known[half_bar[inside], None]
    return planes


def in_form(bones: np.ndarray, form: str, bars: int) -> np.ndarray:
    """A skeleton in a form like "AABA": its parts, copied.

    Args:
        bones: int (2, half bars): the part A, then B, and so on, `bars` bars each.
        form: letters from A on.
        bars: of each part.

    Returns:
        int (2, 2 * bars * letters).

    Raises:
        OptionError: a letter's bars are not there.
    """
    check_whole("bars of a part", bars, 1, 10_000)
    parts = []
    for letter in form:
        start = 2 * bars * (ord(letter) - ord("A"))
        if start < 0 or start + 2 * bars > bones.shape[1]:
            raise OptionError(
                f"form {form!r} asks for part {letter!r}, but {bones.shape[1] / 2:g} bars hold the "
                f"parts of {bars} bars from A on; give a longer skeleton, or other letters"
            )
        parts.append(bones[:, start : start + 2 * bars])
    return np.concatenate(parts, axis=1) if parts else bones[:, :0]


def kept_share(asked: np.ndarray, got: np.ndarray) -> float:
    """The share of a skeleton's notes that music has kept.

    Args:
        asked: int (2, half bars); NO_NOTE and ANY_NOTE do not count.
        got: int (2, half bars), the skeleton of the music.
    """
    count = min(asked.shape[1], got.shape[1])
    counted = asked[:, :count] > NO_NOTE
    same = (asked[:, :count] == got[:, :count]) & counted
    return float(same.sum() / max(counted.sum(), 1))


def half_bars_of(mask: np.ndarray) -> np.ndarray:
    """The half bars in which a mask, bool (64, width), has a cell: bool (half bars,)."""
    starts = np.arange(0, mask.shape[1], HALF)
    return np.logical_or.reduceat(mask.any(axis=0), starts)


def wished(options: Options, half_bars: int) -> np.ndarray:
    """The skeleton that was asked for, on the canvas of a region: int (2, half bars).

    Half bars are counted from the first whole bar on. After an upbeat, where that is not the
    picture's first step, each takes what was asked for the half bar in which it begins.

    Args:
        options: with the skeleton of the picture, and where in it the canvas begins.
        half_bars: of the canvas.
    """
    wish = np.full((2, half_bars), ANY_NOTE)
    asked = options.own.get("skeleton")
    if asked is None:
        return wish
    places = (options.start + HALF * np.arange(half_bars)) // HALF
    inside = (places >= 0) & (places < asked.shape[1])
    wish[:, inside] = asked[:, places[inside]]
    return wish


def check_skeleton(bones: Any) -> np.ndarray:
    """A skeleton as an option, int64 (2, half bars); OptionError where it is none."""
    try:
        notes = np.array(bones)
    except (TypeError, ValueError):
        notes = np.zeros(0)
    allowed = [ANY_NOTE, NO_NOTE, *range(LOWEST, HIGHEST + 1)]
    fits = notes.ndim == 2 and len(notes) == 2 and notes.dtype.kind in "iu"
    if not fits or not np.isin(notes, allowed).all():
        raise OptionError(
            f"skeleton of shape {np.shape(notes)} does not fit; give whole numbers (2, half bars), "
            f"pitches {LOWEST} to {HIGHEST}, {NO_NOTE} for none, {ANY_NOTE} for any"
        )
    return notes.astype(np.int64)
