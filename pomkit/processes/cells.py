"""The cells process: absorbing diffusion on the cells of a picture.

Every pixel is a cell: off, sustain, an onset in one of a few velocity bins, or hidden. Training
hides each cell of a region with probability t and scores the hidden ones by cross-entropy, a bound
on the likelihood (Austin et al. 2021, arXiv 2107.03006, section 3; Hoogeboom et al. 2022, arXiv
2110.02037). Sampling begins with the region hidden and uncovers it in a few calls (`uncover`).

    model = Cells(HDiT(config), width=256)
    logits = model(cells, chords, t)               # float (batch, states, 128, width)
    bits = cell_bound(model, cells, chords, region, model.states, t)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.windows import Window
from ..errors import OptionError
from ..music import masks
from ..music.bars import BAR_CHANNELS, bar_position
from ..music.recall import RECALL_CHANNELS
from ..music.tables import BAR
from ..networks.hdit import HDiT, HDiTConfig, widened
from ..networks.local import Local
from . import chain
from .contract import (
    Composed,
    Drawn,
    Model,
    Options,
    Report,
    known_memory,
    known_position,
    local_head,
    onsets_asked,
    sized_network,
    told_memory,
    told_position,
    told_spec,
)
from .orders import ORDER_OPTIONS
from .pairs import PAIR_RATE, PairHead, Pairs
from .states import (  # noqa: F401
    CHORD_CHANNELS,
    ONSET,
    REGION_CHANNELS,
    VELOCITIES,
    bits_of_kinds,
    chord_channels,
    decode_cells,
    encode_cells,
    told_channels,
)
from .uncover import CALLS, CellModel, Uncovering, Walk, sample_cells  # noqa: F401
from .wide import blended

# The default of top_p. At .9 there is no room for as many notes as a model expects; at 1 there are
# more odd ones.
TOP_P = 0.95
# The default temperature, and how much colder the first call is: what is settled first decides
# whether bars of the song come back, and whether a melody moves by steps; what is settled last,
# how long notes are.
TEMPERATURE = 1.0
WARMING = 0.35


class Cells(Model):
    """A network that tells the state of every hidden cell; a family of the process contract."""

    process = "cells"
    learns_rows = True
    usual_temperature = TEMPERATURE
    usual_warming = WARMING
    options = frozenset(
        ["calls", "method", "U", "jump", "density", "busiest", "guidance", "temperature", "top_p"]
        + ["rule", "pitch_bias", *ORDER_OPTIONS]
    )

    def __init__(
        self,
        network: HDiT,
        velocities: Sequence[int] = VELOCITIES,
        width: int = 512,
        *,
        whole_rows: bool = False,
        pair_head: Pairs | None = None,
    ) -> None:
        """Take a network of the right channels.

        Args:
            network: takes `in_channels(bins)` channels, or those with the bar's position, and
                gives one for each state.
            velocities: the MIDI velocity of each onset bin.
            width: columns that are learned.
            whole_rows: whether the network learned with the chain: a sustain follows a note.
            pair_head: the shape of a head by which notes hear each other; the network is then told
                which cells are composed. None: there is none.

        Raises:
            OptionError: the network has other channels.
        """
        super().__init__(network, width, network.config.span)
        self.velocities = tuple(velocities)
        self.states = ONSET + len(self.velocities)
        self.whole_rows = whole_rows

        bins = len(self.velocities)
        channels = (network.config.in_channels, network.config.out_channels)
        told = {}
        has_pairs = pair_head is not None
        for bars, recalls in product((False, True), repeat=2):
            told[self.in_channels(bins, bars, recalls, has_pairs), self.states] = (bars, recalls)
        if channels not in told:
            wanted = (self.in_channels(bins, pairs=has_pairs), self.states)
            raise OptionError(
                f"{bins} velocity bins need a network with {wanted} channels, "
                f"not {channels}; give another network, or other velocities"
            )
        self.bar_position, self.recalls = told[channels]
        self.pair_head = PairHead(pair_head, self.states) if pair_head else None

    @staticmethod
    def in_channels(
        bins: int, bar_position: bool = False, recalls: bool = False, pairs: bool = False
    ) -> int:
        """Channels of the network's input: states, hidden, the chord's, perhaps more.

        Args:
            bins: of the velocity of an onset.
            bar_position: it is told where in its bar each column is.
            recalls: it is told what the rest of the song says of a window.
            pairs: there is a pair head, so it is told which cells are composed.
        """
        told = BAR_CHANNELS * bar_position + RECALL_CHANNELS * recalls + REGION_CHANNELS * pairs
        return ONSET + bins + 1 + CHORD_CHANNELS + told

    def forward(self, cells: Tensor, chords: Tensor, t: Tensor, *, in_rows: bool = True) -> Tensor:
        """Say how likely each state of each cell is.

        Args:
            cells: int64 (batch, 128, width), states, or hidden (= `states`).
            chords: float (batch, told, 128, width), see `states.told_channels`.
            t: float (batch,), the hidden share of the region.
            in_rows: where the network learned with the chain, give the states of whole rows;
                False: what the chain is made of.

        Returns:
            Logits, float (batch, states, 128, width).
        """
        one_hot = chords.new_zeros(len(cells), self.states + 1, *cells.shape[1:])
        one_hot.scatter_(1, cells[:, None], 1)
        if self.pair_head is None:
            logits = self.network(torch.cat([one_hot, chords], dim=1), t).float()
        else:
            # A hidden cell is one of the region, whatever is told.
            rest, region = chords.tensor_split([-REGION_CHANNELS], dim=1)
            region = torch.maximum(region, one_hot[:, self.states :])
            logits = self.network(torch.cat([one_hot, rest, region], dim=1), t)
            logits = self.pair_head(logits, one_hot, region, t)
        if not (self.whole_rows and in_rows):
            return logits
        hidden = cells[:, None] == self.states
        return chain.in_whole_rows(logits, hidden, one_hot[:, : self.states])

    def told(self, picture: np.ndarray, mask: np.ndarray | None = None) -> Tensor:
        """What the network is told of a picture that is all there is, in bars of 4/4.

        Args:
            picture: uint8 (128, width, 3).
            mask: bool (128, width), or None; where it covers chord rows the chord is unknown.

        Returns:
            float (1, told, 128, width): its chords; where in its bar each column is, if the network
            takes that; zeros for what other bars of its song say; and which cells are composed.
        """
        height, width = picture.shape[:2]
        position = memory = None
        if self.bar_position:
            position = bar_position(None, (), width, self.steps_per_beat)
        if self.recalls:
            memory = np.zeros((RECALL_CHANNELS, height, width), bool)
        nowhere = np.zeros((height, width), bool)
        region = self.told_region(nowhere if mask is None else mask)
        more = {"memory": memory, "region": region}
        return torch.from_numpy(told_channels(picture, mask, position, **more))[None]

    def told_region(self, mask: np.ndarray) -> np.ndarray | None:
        """The cells of a mask that are composed, bool (128, width); None: it is not told."""
        return None if self.pair_head is None else mask & masks.everything(mask)

    def encode(self, picture: np.ndarray) -> np.ndarray:
        """The cells of a picture, uint8 (128, width, 3): int64 (128, width); see `states`."""
        return encode_cells(picture, self.velocities)

    def decode(
        self, cells: np.ndarray, picture: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, int]:
        """A picture with the masked cells drawn in, and how many were cleared.

        Args:
            cells: int64 (128, width).
            picture: uint8 (128, width, 3).
            mask: bool (128, width), True = draw.
        """
        return decode_cells(cells, picture, mask, self.velocities)

    # The process contract.

    @property
    def methods(self) -> Mapping[str, int]:
        """It uncovers cells; this is where its default number of calls is decided."""
        return {"uncover": CALLS}

    def check(self, options: Options) -> Options:
        """The options, with notes from the likeliest `TOP_P`; OptionError for an unknown order."""
        Uncovering(**options.own)
        return replace(options, top_p=TOP_P) if options.top_p is None else options

    def compose(
        self, canvas: np.ndarray, region: np.ndarray, options: Options, report: Report
    ) -> Drawn:
        """Compose a region of pictures, uint8 (n, 128, width, 3); see `Process.compose`."""
        notes = region & ~masks.chords(region)
        if options.end is not None:
            notes[:, options.end :] = False
        cells, chords = self.inputs(canvas, region, options)
        mask = torch.from_numpy(notes).to(self.device)
        asked = onsets_asked(options, notes.any(axis=0).sum() / BAR)

        def draw(states: Tensor) -> Drawn:
            pairs = zip(states.cpu().numpy(), canvas, strict=True)
            return [self.decode(each, picture, notes) for each, picture in pairs]

        def tell(event: dict[str, Any]) -> None:
            report(event, partial(draw, event["cells"]))

        whole = blended(self, self.span, notes, options.lines)
        plan = plan_of(options) | asked | {"together": self.whole_rows}
        walk = Walk(whole, Uncovering(**plan), options.generator)
        walk.begin(cells, chords, mask, self.states)
        drawn = draw(walk.run(tell))
        bits = torch.stack([walk.surprise, walk.entropy]).sum((2, 3)).T.tolist()  # (n, 2)
        return [Composed(*each, *both) for each, both in zip(drawn, bits, strict=True)]

    def inputs(
        self, canvas: np.ndarray, region: np.ndarray, options: Options
    ) -> tuple[Tensor, Tensor]:
        """What is known of pictures, arguments as `compose`'s.

        Returns:
            The states, int64 (n, 128, width), and what is told beside them, (n, told, ...).
        """
        states = np.stack([self.encode(picture) for picture in canvas])
        # Behind the picture's end nothing is known.
        if options.end is not None:
            states[:, :, options.end :] = self.states

        position = known_position(self, options, region.shape[1])
        memory = known_memory(self, options, len(canvas), region.shape[1])
        memories = [None] * len(canvas) if memory is None else memory
        ask = partial(told_channels, region=self.told_region(region))
        pairs = zip(canvas, memories, strict=True)
        channels = np.stack([ask(one, region, position, memory=more) for one, more in pairs])
        return torch.from_numpy(states).to(self.device), torch.from_numpy(channels).to(self.device)

    @torch.inference_mode()
    def surprise(self, picture: np.ndarray, hidden: np.ndarray, options: Options) -> np.ndarray:
        """What hidden cells are likely to be, float32 (3, 128, width); see `Process.surprise`."""
        cells, chords = self.inputs(picture[None], hidden, options)
        mask = torch.from_numpy(hidden).to(self.device)
        ask = blended(self, self.span, hidden, options.lines)
        all_hidden = chords.new_ones(1)
        logits = ask(torch.where(mask, self.states, cells), chords, all_hidden)
        return bits_of_kinds(logits)[0].cpu().numpy()  # (3, 128, width)

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """A window's cells, chords, mask, and what decides which of them are hidden.

        Arrays are of shape (128, width), the chords (told, 128, width); see `Process.example`.
        """
        # The chord rows are no cells.
        region = window.mask & masks.everything(window.picture)
        noise = rng.random(region.shape, np.float32)
        cells = self.encode(window.picture)
        position = told_position(self, window, rng)
        memory = told_memory(self, window, rng)
        composed = self.told_region(window.mask)
        chords = told_channels(
            window.picture, window.mask, position, memory=memory, region=composed
        )
        t = np.float32(1 - u**options.hidden_power)
        hiding = {"mask": region, "t": t, "noise": noise}
        return hiding | {"cells": cells, "chords": chords}

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """Bits per cell of the region, float (batch,): which cells are hidden, the item says."""
        t = batch["t"]
        mask = batch["mask"]
        hidden = mask & (batch["noise"] < t[:, None, None])

        cells = batch["cells"]
        seen = torch.where(hidden, self.states, cells)
        logits = forward(seen, batch["chords"], t, in_rows=False)
        nats = chain.surprise(logits, cells, hidden, whole_rows=self.whole_rows)  # (batch, h)
        size = mask.flatten(1).sum(1).clamp(min=1)  # (batch,)
        return nats.sum(1) / (t * size * math.log(2))

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs: the network's configuration, the width, the velocities."""
        cells = {"velocities": list(self.velocities), "whole_rows": self.whole_rows}
        pairs = {"pair_head": asdict(self.pair_head.config)} if self.pair_head else {}
        return super().spec() | cells | pairs | told_spec(self)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "Cells":
        """A model with fresh weights from what `spec` gave."""
        network = HDiT(HDiTConfig.from_dict(spec["network"]))
        pairs = Pairs(**spec["pair_head"]) if spec.get("pair_head") else None
        rest = {"whole_rows": spec.get("whole_rows", False), "pair_head": pairs}
        return cls(network, spec["velocities"], spec["width"], **rest)

    @classmethod
    def from_options(cls, options: Any) -> "Cells":
        """A model with fresh weights for a training run; OptionError for an unknown size."""
        in_channels = cls.in_channels(
            len(VELOCITIES), options.bar_position, options.memory, options.pairs
        )
        network = sized_network(
            options.model,
            in_channels=in_channels,
            out_channels=ONSET + len(VELOCITIES),
            local=local_head(options, usual=False),
        )
        rest: dict[str, Any] = {"whole_rows": options.whole_rows}
        pair_head = Pairs() if options.pairs else None
        return cls(network, VELOCITIES, options.width, **rest, pair_head=pair_head)

    @classmethod
    def begin_with(cls, model: Model, options: Any) -> Model:
        """A cells model that is told more, with more of a head, where these are asked for."""
        if isinstance(model, Cells):
            local = local_head(options, usual=False)
            pairs = Pairs() if options.pairs else None
            more = {"recalls": options.memory, "pair_head": pairs}
            model = model.extended(options.bar_position, local, **more)
        return super().begin_with(model, options)

    def extended(
        self,
        bar_position: bool,
        local: Local | None,
        *,
        recalls: bool = False,
        pair_head: Pairs | None = None,
    ) -> "Cells":
        """A model with more inputs, or more of a head, that at first answers as this one.

        Args:
            bar_position: it is told where in its bar each column is.
            local: of a fresh local head, where this one has none; None: it gets none.
            recalls: it is told what the rest of the song says of a window.
            pair_head: the shape of a fresh pair head, where this one has none; None: it gets none.

        Returns:
            The model itself where it has all that already.
        """
        network = self.network
        bars = BAR_CHANNELS if bar_position and not self.bar_position else 0
        recall = RECALL_CHANNELS if recalls and not self.recalls else 0
        region = REGION_CHANNELS if pair_head and not self.pair_head else 0
        if not bars + recall + region and (local is None or network.config.local):
            return self

        # The bar's position stands before the memory, and both before the region.
        bins = len(self.velocities)
        place = self.in_channels(bins, self.bar_position)
        network = widened(network, at=place, more=bars, local=local)
        place = self.in_channels(bins, self.bar_position or bool(bars), self.recalls)
        network = widened(network, at=place, more=recall)
        network = widened(network, at=network.config.in_channels, more=region)

        shape = self.pair_head.config if self.pair_head else pair_head
        rest: dict[str, Any] = {"whole_rows": self.whole_rows, "pair_head": shape}
        new = Cells(network, self.velocities, self.width, **rest)
        if self.pair_head and new.pair_head:
            new.pair_head.load_state_dict(self.pair_head.state_dict())
        return new

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The optimiser's groups: the network's, and one of the pair head, which learns faster."""
        groups = super().parameter_groups(weight_decay)
        if self.pair_head:
            pairs = {"params": list(self.pair_head.parameters()), "lr_scale": PAIR_RATE}
            groups.append(pairs | {"weight_decay": 0.0})
        return groups


def plan_of(options: Options) -> dict[str, Any]:
    """The options of `inpaint` as those of `Uncovering`, but for the number of onsets."""
    names = ["calls", "U", "jump", "temperature", "guidance", "top_p", "pitch_bias", "start"]
    plan = {name: getattr(options, name) for name in names}
    rule = () if options.rule is None else options.rule
    return plan | {**options.own, "rule": rule, "whole_notes": True}


def cell_bound(
    model: CellModel,
    cells: Tensor,
    chords: Tensor,
    region: Tensor,
    hidden_state: int,
    t: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A bound on -log2 p(region | rest), in bits per cell, at hiding probabilities t.

    Hides each cell of the region with probability t, and divides the summed cross-entropy of the
    hidden cells by t and by the size of the region. Its mean over uniform t is the bound.

    Args:
        model: (cells, chords, t) -> logits, float (batch, states, h, w).
        cells: int64 (batch, h, w).
        chords: float (batch, told, h, w).
        region: bool (batch, h, w), the cells that are scored.
        hidden_state: the number of the state "hidden".
        t: float (batch,), above 0.
        generator: of the random numbers.

    Returns:
        float (batch,).

    Source: Hoogeboom et al. 2022 (arXiv 2110.02037), equation 7, in continuous time.
    """
    u = torch.rand(cells.shape, generator=generator).to(cells.device)
    hidden = region & (u < t[:, None, None])
    logits = model(torch.where(hidden, hidden_state, cells), chords, t)
    nats = F.cross_entropy(logits, cells, reduction="none") * hidden
    size = region.flatten(1).sum(1).clamp(min=1)  # (batch,)
    return nats.flatten(1).sum(1) / (t * size * math.log(2))  # (batch,)
