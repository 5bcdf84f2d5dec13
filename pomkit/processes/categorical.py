"""Gaussian noise on pixels with a categorical head: the network says which cell a pixel is.

Brought to the colours c_k of its states, a pixel of a picture is one of a few. So the best guess of
a noisy pixel is their mean under what is known of it:

    D(x; sigma) = sum_k p_k c_k,   p = softmax(F_k + log prior_k - |x - c_k|^2 / (2 sigma^2))

The last term is the pixel's own evidence, and exact. The network F need only say what the
surroundings say: how much likelier they make each state than it is anywhere. Law: with
the true F, D is the mean of the posterior. It is trained by cross-entropy ("score interpolation",
Dieleman et al. 2022, arXiv 2211.15089).

    model = CategoricalDenoiser(HDiT(config), width=256)
    denoised = model(x, sigma, chords=chords)       # like x, float (batch, 3, 128, width)

The contract is that of `edm`: every sampler, and RePaint, run on it unchanged. Read on: `states`
(what the states are), `networks.local` (how notes become whole).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..data.windows import Window
from ..errors import OptionError, check_choice, check_range
from ..music import masks
from ..music.bars import BAR_CHANNELS
from ..music.pixels import BORDER
from ..music.tables import BAR
from ..networks.hdit import HDiT, HDiTConfig, widened
from ..networks.local import Local
from . import chain
from .cells import Cells
from .contract import (
    Drawn,
    Options,
    known_position,
    local_head,
    onsets_asked,
    sized_network,
    told_position,
    told_spec,
)
from .controls import Wishes
from .edm import GaussianNoise, to_pixels
from .orders import ORDER_OPTIONS
from .samplers import Denoise, normal_like
from .schedules import settling_sigmas
from .states import (
    CHORD_CHANNELS,
    ONSET,
    VELOCITIES,
    bits_of_kinds,
    box_of,
    decode_cells,
    encode_cells,
    state_colours,
    told_channels,
)
from .steering import WHOLE_NOTES, Steering
from .wide import blended

# How often a cell of POP909 is off, sustain, an onset of any velocity.
SHARES = (0.9637, 0.0266, 0.0097)
# Where the noise of the sampler ends and begins: below there is nothing left to decide, above
# nothing can be told.
SIGMA_MIN = 0.05
SIGMA_MAX = 25.0
# About the pixels' standard deviation from black, for the noisy pixels as input.
SPREAD = 0.2
# At this noise the network's condition is one half: as if half of the cells were hidden.
HALF_HIDDEN = 0.6
# Half of a region's bits are open to the network at about this noise (edm_studies.py, sigma), and
# there the sampler's levels are dense. So as many notes are drawn as the network says, from 8 calls
# on; by Karras' levels a sampler with fresh noise loses a quarter in 20.
HALF_OPEN = 1.0
# Channels of a noisy pixel: red and green. Blue is nothing but noise.
INKS = 2


class CategoricalDenoiser(GaussianNoise):
    """A network that tells what the surroundings say of every pixel's state.

    It composes notes of the velocities of its bins. Masked chord rows are estimated from the notes.
    """

    head = "cells"
    learns_rows = True
    options = frozenset(["sampler", "strength", "whole_notes"]) | Cells.options - {*ORDER_OPTIONS}
    sampler = "dpmpp_2m_sde_half"
    # When every sustain is made to follow a note: what measured best (tests/benchmarks).
    whole_notes: ClassVar[str] = "last"
    sigma_density = "loguniform:0.08,25"

    colours: Tensor  # (states, 3), in [-1, 1]
    prior: Tensor  # (states,)
    offset: Tensor  # (states,), added to the network's answer

    def __init__(
        self,
        network: HDiT,
        velocities: Sequence[int] = VELOCITIES,
        width: int = 512,
        *,
        shares: Sequence[float] = SHARES,
        sigma_min: float = SIGMA_MIN,
        sigma_max: float = SIGMA_MAX,
        whole_rows: bool = False,
    ) -> None:
        """Take a network of the right channels.

        Args:
            network: takes `in_channels(bins)` channels and gives one for each state.
            velocities: the MIDI velocity of each onset bin.
            width: columns that are learned.
            shares: how often a cell is off, sustain, an onset; together 1.
            sigma_min: the last noise level of the sampler above 0.
            sigma_max: its first one.
            whole_rows: whether the network learned with the chain: a sustain follows a note.

        Raises:
            OptionError: the network has other channels, or a number does not fit.
        """
        super().__init__(network, width, network.config.span)
        self.velocities = tuple(velocities)
        bins = len(self.velocities)
        self.states = ONSET + bins

        channels = (network.config.in_channels, network.config.out_channels)
        wanted = (self.in_channels(bins), self.states)
        with_bars = (self.in_channels(bins, True), self.states)
        if channels not in (wanted, with_bars):
            raise OptionError(
                f"{bins} velocity bins need a network with {wanted} channels, not {channels}; "
                "give another network, or other velocities"
            )
        self.bar_position = channels == with_bars
        check_range("sigma_min", sigma_min, 1e-6, sigma_max)
        check_range("the least share of a state", min(shares), 1e-9, 1)
        self.shares = tuple(shares)
        self.sigma_min = sigma_min
        self.sigma_max = sigma_max
        self.whole_rows = whole_rows

        off, sustain, onset = shares
        prior = torch.tensor([off, sustain, *[onset / bins] * bins])
        colours = to_pixels(state_colours(self.velocities)[None])[:, 0].T  # (states, 3)
        self.register_buffer("colours", colours, persistent=False)
        self.register_buffer("prior", prior / prior.sum(), persistent=False)
        self.register_buffer("offset", torch.zeros(self.states))

    @staticmethod
    def in_channels(bins: int, bar_position: bool = False) -> int:
        """Channels of the network's input: those of `Cells`, red and green."""
        return Cells.in_channels(bins, bar_position) + INKS

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        known: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        chords: Tensor | None = None,
        as_logits: bool = False,
        in_rows: bool = True,
    ) -> Tensor:
        """Denoise pictures.

        Args:
            x: float (batch, 3, height, width), the noisy pictures.
            sigma: float (batch,), above 0.
            known: float like x, clean pictures in the colours of their states; or the states, float
                (batch, states, height, width), 0 or 1.
            mask: bool (batch, 1, height, width), True = composed; None, as `known`: all but the
                chord rows is.
            chords: float (batch, told, height, width), see `states.told_channels`; None = nothing
                is told.
            as_logits: give the states' log-odds instead, float (batch, states, height, width).
            in_rows: where the network learned with the chain, give the states of whole rows;
                False: what the chain is made of.

        Returns:
            float like x; where the mask is False, the known pixels.

        Raises:
            OptionError: known pixels without a mask, or the reverse.
        """
        if (known is None) != (mask is None):
            raise OptionError("known and mask belong together; give both or neither")
        mask = notes_mask(x) if mask is None else mask.expand_as(x[:, :1])
        if known is None:
            known = torch.full_like(x, -1)
        # A sampler turns the known pixels to states once, not at every call.
        shown = known if known.shape[1] == self.states else self.one_hot(known)
        if chords is None:
            told = CHORD_CHANNELS + (BAR_CHANNELS if self.bar_position else 0)
            chords = x.new_zeros(len(x), told, *x.shape[2:])
        levels = sigma.to(x).reshape(-1, 1, 1, 1)  # (batch, 1, 1, 1)

        # What the pixel alone says: log-odds of each state, (batch, states, height, width).
        prior = self.prior.to(x)[:, None, None]
        alone = self.evidence(x) / levels**2 + prior.log()

        # What the surroundings say. The network sees 0 where a pixel says nothing.
        news = alone.softmax(1) - prior
        ink = (x[:, :INKS] + 1) / (levels**2 + SPREAD**2).sqrt()
        seen = (torch.where(mask, news, shown), mask.to(x), chords.to(x), torch.where(mask, ink, 0))
        # A local head is asked for what is composed, no more.
        is_local = self.network.config.local is not None
        asked = {"part": box_of(mask)} if is_local and not self.training else {}
        answer = self.network(torch.cat(seen, dim=1), hidden_share(sigma.to(x)), **asked)

        logits = answer.to(x) + self.offset.to(x)[:, None, None] + alone
        if self.whole_rows and in_rows:
            logits = chain.in_whole_rows(logits, mask, shown)
        if as_logits:
            return logits
        return self.mean_colour(torch.where(mask, logits.softmax(1), shown))

    def evidence(self, x: Tensor) -> Tensor:
        """How near pixels, float (batch, 3, h, w), are to each colour: -|x - c|^2 / 2 by state.

        Without what all states share: |x|^2, counted from black, and blue.

        Returns:
            float (batch, states, h, w).
        """
        colours = self.colours[:, :INKS].to(x) + 1  # (states, 2)
        squares = (colours**2).sum(1)
        constant = colours.sum(1) - squares / 2  # (states,): pixels are counted from -1 here
        red, green = colours[:, :, None, None].unbind(1)  # (states, 1, 1) each
        alone = torch.addcmul(constant[:, None, None], x[:, :1], red)
        return torch.addcmul(alone, x[:, 1:2], green)

    def nearest(self, x: Tensor) -> Tensor:
        """The state whose colour is nearest: int64 (batch, h, w), of float (batch, 3, h, w)."""
        # Much faster on a CPU than argmax, which is slow along this axis.
        evidence = self.evidence(x)
        most = evidence[:, 0]
        state = torch.zeros_like(most, dtype=torch.int64)  # (batch, h, w)
        for k in range(1, self.states):
            state[evidence[:, k] > most] = k
            most = torch.maximum(most, evidence[:, k])
        return state

    def one_hot(self, x: Tensor) -> Tensor:
        """The nearest state, float (batch, states, h, w), 0 or 1, of float (batch, 3, h, w)."""
        evidence = self.evidence(x)
        return (evidence == evidence.amax(1, keepdim=True)).to(x)

    def mean_colour(self, p: Tensor) -> Tensor:
        """The mean of the colours under p, float (batch, states, h, w): (batch, 3, h, w)."""
        # Not a matrix product, which may be rounded to half precision.
        mean = torch.full_like(p[:, :3], -1)  # (batch, 3, h, w)
        for ink in range(INKS):
            # Black is -1, and so are the colours of most states in one of the inks.
            above = self.colours[:, ink].to(p) + 1  # (states,)
            for state in above.nonzero()[:, 0].tolist():
                mean[:, ink] += p[:, state] * above[state]
        return mean

    # The process contract.

    def check(self, options: Options) -> Options:
        """The options, with all notes allowed; OptionError for an unknown `whole_notes`."""
        options = super().check(options)
        check_choice("whole_notes", options.own.get("whole_notes", self.whole_notes), WHOLE_NOTES)
        return replace(options, top_p=1.0) if options.top_p is None else options

    def denoiser(self, x0: Tensor, mask: Tensor, region: np.ndarray, options: Options) -> Denoise:
        """What the sampler asks at every call: the states, bent by what is asked for.

        Args:
            x0: float (n, 3, 128, width), the known pixels.
            mask: bool (n, 1, 128, width), True = not known.
            region: bool (128, width), of each: what is composed of that, all up to the end.
            options: how.
        """
        plan = controls_of(options, region.any(axis=0).sum() / BAR)
        is_told = options.method == "conditioned"
        seen = {"known": self.one_hot(x0), "mask": mask} if is_told else {}
        ask = partial(self, as_logits=True)
        answer = blended(ask, self.span, region, options.lines)
        whole_notes = options.own.get("whole_notes", self.whole_notes)
        steering = Steering(self, answer, plan, conditions=seen, whole_notes=whole_notes)
        steering.begin(x0, mask, options.end)
        return steering

    @torch.inference_mode()
    def surprise(self, picture: np.ndarray, hidden: np.ndarray, options: Options) -> np.ndarray:
        """What hidden cells are likely to be, float32 (3, 128, width); see `Process.surprise`.

        A cell is hidden by so much noise that its pixel tells nothing.
        """
        behind = np.zeros_like(hidden)
        if options.end is not None:
            behind[:, options.end :] = True
        unknown = hidden | self.composed(behind)
        x0 = self.encode(picture[None]).to(self.device)  # (1, 3, 128, width)
        mask = torch.from_numpy(unknown).to(self.device)[None, None]  # (1, 1, 128, width)

        noise = normal_like(x0, options.generator)
        noisy = torch.where(mask, self.middle + self.sigma_max * noise, x0)
        told = self.conditions(picture[None], hidden, options) | {"known": x0, "mask": mask}
        ask = blended(partial(self, as_logits=True), self.span, hidden, options.lines)
        logits = ask(noisy, x0.new_full((1,), self.sigma_max), **told)
        return bits_of_kinds(logits)[0].cpu().numpy()  # (3, 128, width)

    @property
    def middle(self) -> Tensor | float:
        """The mean colour where nothing is known, float (3, 1, 1).

        About it the first noise lies: noise about another colour is a first sign of notes, or of
        none, and ends in a tenth too many.
        """
        return self.mean_colour(self.prior[None, :, None, None])[0]

    def levels(self, calls: int) -> Tensor:
        """The noise levels of a sampler, float (calls + 1,): most where cells are decided."""
        return settling_sigmas(calls, self.sigma_min, self.sigma_max, HALF_OPEN)

    def composed(self, region: np.ndarray) -> np.ndarray:
        """The cells of a region, bool (128, width), that are composed: not the chord rows."""
        return region & ~masks.chords(region)

    def encode(self, canvas: np.ndarray) -> Tensor:
        """Pictures, uint8 (n, 128, width, 3), as float32 (n, 3, 128, width): colours of states."""
        states = np.stack([encode_cells(picture, self.velocities) for picture in canvas])
        return to_pixels(state_colours(self.velocities)[states])

    def decode(self, x: Tensor, canvas: np.ndarray, region: np.ndarray) -> Drawn:
        """The nearest states to x, float (n, 3, 128, width); see `GaussianNoise.decode`."""
        pairs = zip(self.nearest(x).cpu().numpy(), canvas, strict=True)
        return [decode_cells(cells, picture, region, self.velocities) for cells, picture in pairs]

    def conditions(
        self, canvas: np.ndarray, region: np.ndarray, options: Options
    ) -> dict[str, Tensor]:
        """What is told of pictures, uint8 (n, 128, width, 3): float (n, told, 128, width)."""
        position = known_position(self, options, region.shape[1])
        channels = np.stack([told_channels(picture, region, position) for picture in canvas])
        return {"chords": torch.from_numpy(channels).to(self.device)}

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """A window's cells, chords and mask, noise and its level; see `Process.example`.

        Cells and mask are of shape (128, width), the noise (3, 128, width), the chords that or
        (7, 128, width).
        """
        # The chord rows are no cells.
        region = window.mask & masks.everything(window.picture)
        noise = rng.standard_normal((3, *region.shape), np.float32)
        noises = {"noise": noise, "sigma": self.level_of(u, options)}
        cells = encode_cells(window.picture, self.velocities)
        position = told_position(self, window, rng)
        chords = told_channels(window.picture, window.mask, position)
        return noises | {"mask": region, "cells": cells, "chords": chords}

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """The cross-entropy of the region, float (batch,), in bits per cell."""
        cells = batch["cells"]
        mask = batch["mask"]
        x0 = self.colours[cells].movedim(-1, 1)  # (batch, 3, h, w)
        levels = batch["sigma"].reshape(-1, 1, 1, 1)  # (batch, 1, 1, 1)

        conditions = {"known": x0, "mask": mask[:, None], "chords": batch["chords"]}
        noisy = x0 + levels * batch["noise"]
        ask = {"as_logits": True, "in_rows": False}
        logits = forward(noisy, batch["sigma"], **conditions, **ask)

        nats = chain.surprise(logits, cells, mask, whole_rows=self.whole_rows)
        size = mask.flatten(1).sum(1).clamp(min=1)  # (batch,)
        return nats.flatten(1).sum(1) / (size * math.log(2))  # (batch,)

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs: the network's configuration, the width, the states, the noise."""
        states = {"velocities": list(self.velocities), "shares": list(self.shares)}
        noise = {"sigma_min": self.sigma_min, "sigma_max": self.sigma_max}
        rows = {"whole_rows": self.whole_rows}
        return super().spec() | states | noise | rows | told_spec(self)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "CategoricalDenoiser":
        """A model with fresh weights from what `spec` gave."""
        network = HDiT(HDiTConfig.from_dict(spec["network"]))
        own = {name: spec[name] for name in ("shares", "sigma_min", "sigma_max")}
        whole_rows = spec.get("whole_rows", False)
        return cls(network, spec["velocities"], spec["width"], whole_rows=whole_rows, **own)

    @classmethod
    def from_options(cls, options: Any) -> "CategoricalDenoiser":
        """A model with fresh weights for a training run; OptionError for an unknown size."""
        in_channels = cls.in_channels(len(VELOCITIES), options.bar_position)
        network = sized_network(
            options.model,
            in_channels=in_channels,
            out_channels=ONSET + len(VELOCITIES),
            local=local_head(options, usual=True),
        )
        return cls(network, VELOCITIES, options.width, whole_rows=options.whole_rows)

    @classmethod
    def from_cells(cls, model: Cells, local: Local | None) -> "CategoricalDenoiser":
        """A model with the weights of a cells model: at high noise both answer alike.

        Where a noisy pixel says nothing, it is a hidden cell: the same inputs, and two channels for
        its red and green, of weight 0.

        Args:
            model: the cells model.
            local: of a fresh local head, where the cells model has none.

        Raises:
            OptionError: the cells model is told what this head does not take.
        """
        unknown = {"the song's memory": model.recalls, "a pair head": model.pair_head is not None}
        for name, learned in unknown.items():
            if learned:
                raise OptionError(
                    f"this cells model learned with {name}, which edm does not take; begin with "
                    "one that did not"
                )
        at = model.network.config.in_channels
        network = widened(model.network, at=at, more=INKS, local=local)
        new = cls(network, model.velocities, model.width)

        new.whole_rows = model.whole_rows
        # A cells model says how likely a state is, this head how much likelier than anywhere.
        new.offset.copy_(-new.prior.log())
        return new

    def told_of_bars(self) -> "CategoricalDenoiser":
        """A model that takes the bar's position as well, and at first answers as this one."""
        if self.bar_position:
            return self
        at = self.network.config.in_channels - INKS
        network = widened(self.network, at=at, more=BAR_CHANNELS)
        names = ("shares", "sigma_min", "sigma_max", "whole_rows")
        own = {name: getattr(self, name) for name in names}
        new = type(self)(network, self.velocities, self.width, **own)
        new.offset.copy_(self.offset)
        return new


def controls_of(options: Options, bars: float) -> Wishes:
    """The options of `inpaint` as controls.

    Args:
        options: how.
        bars: how many of 16 steps are composed; the density is of one.
    """
    names = ["temperature", "guidance", "top_p", "pitch_bias", "start"]
    plan = {name: getattr(options, name) for name in names}
    rule = () if options.rule is None else options.rule
    return Wishes(**plan, rule=rule, **onsets_asked(options, bars))


def notes_mask(x: Tensor) -> Tensor:
    """Everything but the chord rows of pictures, (batch, c, h, w): bool (batch, 1, h, w)."""
    mask = torch.zeros_like(x[:, :1], dtype=torch.bool)
    mask[:, :, BORDER:-BORDER] = True
    return mask


def hidden_share(sigma: Tensor) -> Tensor:
    """The network's noise condition, float like sigma: from 0, all is told, to 1, all is hidden."""
    return sigma**2 / (sigma**2 + HALF_HIDDEN**2)
