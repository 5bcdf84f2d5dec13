"""Generative adversarial networks: one critic's interface, several generators.

A generator turns random latents into cells, a critic tells made windows from real ones, and each
learns from the other in turn. None of them says how likely a picture is.

- `Wgan`: a window of 64 x 64. `loss="ns"` is DCGAN (arXiv 1511.06434), "clip" the Wasserstein GAN
  (arXiv 1701.07875), "gp" the one with a gradient penalty (arXiv 1704.00028); `style` makes the
  generator that of StyleGAN2, small (arXiv 1912.04958).
- `Midinet`: a melody bar by bar, told the bar before and the chord (arXiv 1703.10847).
- `Musegan`: three tracks under one critic (arXiv 1709.06298).

A critic sees shares of states: a real cell is all one state, a made one a softmax. So its slopes
reach the generator, and sampling takes the likeliest state.

    python -m pomkit.train --process wgan --width 64 --own '{"loss": "gp"}'

A mask is answered by looking for latents whose picture agrees with what is known (`latent_search`),
which is then pasted; Midinet only continues, and Musegan composes a track to what is known of the
others.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.windows import Window
from ..errors import check_choice, check_whole
from ..processes.states import OFF, ONSET, SUSTAIN, chord_channels
from ..processes.wide import line_before
from .answering import Tell, latent_search, of_the_first
from .system import CELL_STATES, ROW_COUNT, ROWS, WINDOW, Request, System, cut_window
from .tracks import TRACKS, prolonged, skyline_cells, track_cells

GAN_LOSSES = ("ns", "clip", "gp")
# Weights of a clipped critic are at most this (arXiv 1701.07875, Algorithm 1).
CLIPPED_TO = 0.01
PENALTY_WEIGHT = 10.0
CRITIC_STEPS = 5  # of the Wasserstein losses, for each step of the generator
# Adam's rates, as shares of --lr, and its memory.
RATES = {"ns": 0.2, "clip": 0.2, "gp": 0.3}
BETAS = (0.5, 0.9)
# Of the leaky ReLUs.
SLOPE = 0.2
SEARCH_CALLS = 32
# The mapping network of StyleGAN2 learns slowly.
MAPPING_RATE = 0.01
# MidiNet: real bars are worth so much to its critic; the generator matches the mean real bar, and
# what the critic makes of it, with these weights.
REAL_LABEL = 0.9
MATCHED_BARS = 0.1
MATCHED_FEATURES = 0.01
BAR_WIDTH = 16
# Drawing a window takes longer than learning from a bar of it.
BARS_A_WINDOW = 4
# Uniform numbers are at least so far from 0 and 1.
NEAR_0 = 1e-6
# MuseGAN's logits lie between this and its negative.
MOST_LOGIT = 8.0
# 12 tones, and whether they are known.
TOLD_OF_CHORDS = 13


def shares(cells: Tensor) -> Tensor:
    """Cells, int64 (..., h, w), as shares of states: float (..., 3, h, w), 0 or 1."""
    known = cells.clamp(max=CELL_STATES - 1)
    return F.one_hot(known, CELL_STATES).movedim(-1, -3).float()  # (..., 3, h, w)


# What the two say of each other.


def critic_loss(kind: str, real: Tensor, made: Tensor, label: float = 1.0) -> Tensor:
    """How badly a critic tells real from made, float (batch,).

    Args:
        kind: one of GAN_LOSSES.
        real: float (batch,), its scores of real windows.
        made: float (batch,), of made ones.
        label: what real ones are worth, where the loss is "ns".
    """
    if kind != "ns":
        return made - real
    return label * F.softplus(-real) + (1 - label) * F.softplus(real) + F.softplus(made)


def generator_loss(kind: str, made: Tensor) -> Tensor:
    """How little a critic is deceived, float (batch,), of its scores of made windows, (batch,)."""
    return F.softplus(-made) if kind == "ns" else -made


def gradient_penalty(critic: Any, real: Tensor, made: Tensor, mix: Tensor) -> Tensor:
    """How far a critic's slope is from 1 between real and made: (|gradient| - 1)^2, float (batch,).

    Args:
        critic: pictures -> scores, float (batch,).
        real: float (batch, ...).
        made: like it.
        mix: float (batch,), the share of the real one.

    Source: Gulrajani et al. 2017 (arXiv 1704.00028), equation 3.
    """
    learning = torch.is_grad_enabled()
    share = mix.reshape(-1, *[1] * (real.dim() - 1))  # (batch, 1, ...)
    with torch.enable_grad():
        between = (share * real + (1 - share) * made).detach().requires_grad_()
        scores = critic(between)
        (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=learning)
    return (slope.float().flatten(1).norm(dim=1) - 1) ** 2  # (batch,)


# Networks.


class Critic(nn.Module):
    """Four convolutions of stride 2 and a score, as in DCGAN: a window becomes one number."""

    def __init__(self, channels: int, width: int, normed: bool = False) -> None:
        """Take the channels of a window, those of the first layer, and whether batches count."""
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for number, (inside, outside) in enumerate(zip(widths, widths[1:], strict=False)):
            layers.append(nn.Conv2d(inside, outside, 4, 2, 1))
            if normed and number:
                layers.append(nn.BatchNorm2d(outside))
            layers.append(nn.LeakyReLU(SLOPE))
        self.layers = nn.Sequential(*layers)
        self.score = nn.Conv2d(8 * width, 1, 4)

    def forward(self, pictures: Tensor) -> Tensor:
        """The scores of pictures, float (batch, channels, 64, 64): float (batch,); high is real."""
        return self.score(self.layers(pictures)).flatten().float()  # (batch,)


def doubled(inside: int, outside: int, normed: bool = False) -> nn.Sequential:
    """A layer that doubles height and width, with a ReLU."""
    norm = nn.BatchNorm2d(outside) if normed else nn.Identity()
    return nn.Sequential(nn.ConvTranspose2d(inside, outside, 4, 2, 1), norm, nn.ReLU())


class Generator(nn.Module):
    """Four transposed convolutions, as in DCGAN: latents become a window."""

    def __init__(self, latent: int, width: int, normed: bool = False) -> None:
        """Take the number of latents, the channels of the last layer, and whether batches count."""
        super().__init__()
        self.width = width
        self.first = nn.Linear(latent, 8 * width * 16)
        widths = [8 * width, 4 * width, 2 * width, width]
        pairs = zip(widths, widths[1:], strict=False)
        self.layers = nn.Sequential(*(doubled(a, b, normed) for a, b in pairs))
        self.last = nn.ConvTranspose2d(width, CELL_STATES, 4, 2, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Logits of each state, float (batch, 3, 64, 64), of latents, float (batch, latent)."""
        x = F.relu(self.first(z)).reshape(len(z), 8 * self.width, 4, 4)  # (batch, c, 4, 4)
        return self.last(self.layers(x))


class ModulatedConv(nn.Module):
    """A convolution whose kernels a style scales, and which are then brought to length 1.

    So independent inputs of variance 1 leave it with variance 1, whatever the style.

    Source: Karras et al. 2020 (arXiv 1912.04958), equations 1 and 3.
    """

    def __init__(self, inside: int, outside: int, style: int, size: int = 3) -> None:
        """Take the channels, the numbers of a style, and the size of the kernels."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outside, inside, size, size))
        self.scale = nn.Linear(style, inside)
        nn.init.ones_(self.scale.bias)

    def kernels(self, style: Tensor) -> Tensor:
        """The kernels of each example, float (batch, outside, inside, size, size)."""
        scaled = self.weight * self.scale(style)[:, None, :, None, None]
        length = scaled.square().sum((2, 3, 4), keepdim=True).add(1e-8).sqrt()
        return scaled / length

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Convolve, float (batch, inside, h, w), by the styles, float (batch, style)."""
        batch = len(x)
        kernels = self.kernels(style)
        joined = x.flatten(0, 1)[None]  # (1, batch * inside, h, w)
        padding = self.weight.shape[-1] // 2
        out = F.conv2d(joined, kernels.flatten(0, 1), padding=padding, groups=batch)  # (1, c, h, w)
        return out.reshape(batch, -1, *x.shape[2:])  # (batch, outside, h, w)


class StyledGenerator(nn.Module):
    """StyleGAN2, small: a mapping network of two layers, a learned start, modulated kernels."""

    def __init__(self, latent: int, width: int) -> None:
        """Take the number of latents and the channels of the last layer."""
        super().__init__()
        first = nn.Linear(latent, latent)
        second = nn.Linear(latent, latent)
        self.mapping = nn.Sequential(first, nn.LeakyReLU(SLOPE), second, nn.LeakyReLU(SLOPE))
        self.start = nn.Parameter(torch.randn(1, 8 * width, 4, 4))
        widths = [8 * width, 4 * width, 2 * width, width, width]
        pairs = zip(widths, widths[1:], strict=False)
        self.layers = nn.ModuleList(ModulatedConv(a, b, latent) for a, b in pairs)
        self.biases = nn.ParameterList(torch.zeros(b, 1, 1) for b in widths[1:])
        self.last = nn.Conv2d(width, CELL_STATES, 1)

    def forward(self, z: Tensor) -> Tensor:
        """Logits of each state, float (batch, 3, 64, 64), of latents, float (batch, latent)."""
        style = self.mapping(F.normalize(z, dim=1) * z.shape[1] ** 0.5)
        x = self.start.expand(len(z), -1, -1, -1)
        for layer, bias in zip(self.layers, self.biases, strict=True):
            larger = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = F.leaky_relu(layer(larger, style) + bias, SLOPE) * 2**0.5
        return self.last(x)


class Pair(nn.Module):
    """A generator and its critic."""

    def __init__(self, generator: nn.Module, critic: nn.Module) -> None:
        """Keep both."""
        super().__init__()
        self.generator = generator
        self.critic = critic

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the generator makes of its inputs: float, logits of states, (batch, ..., h, w)."""
        return self.generator(*inputs)


# Systems.


class Adversarial(System):
    """What all three share: how both parts are trained.

    A subclass writes `build`, `made` and `real`, what its critic is shown, and `fill`.

    Attributes:
        latent: how many random numbers a window is made of.
        label: what real windows are worth to a critic whose loss is "ns".
    """

    parts = {"critic": "network.critic.", "generator": "network.generator."}
    latent: ClassVar[int] = 64
    label: ClassVar[float] = 1.0

    @property
    def kind(self) -> str:
        """Which of GAN_LOSSES: DCGAN's, unless the system has others."""
        return self.own.get("loss", "ns")

    def real(self, batch: dict[str, Tensor]) -> Tensor:
        """What a critic is shown of real windows, float (batch, channels, h, w)."""
        raise NotImplementedError(f"{type(self).__name__} must write real")

    def made(self, batch: dict[str, Tensor]) -> Tensor:
        """What a critic is shown of made windows, float like `real`'s."""
        raise NotImplementedError(f"{type(self).__name__} must write made")

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """Cells and a mask, (64, 64), latents and a mixture's share; see `Process.example`."""
        z = rng.standard_normal(self.latent, np.float32)
        random = {"z": z, "mix": np.float32(rng.random())}
        return super().example(window, u, rng, options) | random

    def loss(
        self, batch: dict[str, Tensor], forward: Any, options: Any, part: str = "critic"
    ) -> Tensor:
        """The loss of the critic or of the generator, float (batch,); see `Process.loss`."""
        critic = self.network.critic
        if part == "generator":
            made = self.made(batch)
            return generator_loss(self.kind, critic(made)) + self.extra(batch, made)

        # The critic's loss, of what the generator makes without learning of it.
        with torch.no_grad():
            made = self.made(batch)
        real = self.real(batch)
        loss = critic_loss(self.kind, critic(real), critic(made), self.label)
        if self.kind == "gp":
            loss = loss + PENALTY_WEIGHT * gradient_penalty(critic, real, made, batch["mix"])
        return loss

    def extra(self, batch: dict[str, Tensor], made: Tensor) -> Tensor | float:
        """What else a generator is asked of what it made, (batch, c, h, w): nothing."""
        return 0.0

    def turns(self, step: int) -> Sequence[str]:
        """The critic at every step, the generator at each fifth one of the Wasserstein losses."""
        if self.kind == "ns" or step % CRITIC_STEPS == CRITIC_STEPS - 1:
            return list(self.parts)
        return ["critic"]

    def after_step(self, part: str) -> None:
        """Clip the critic's weights where its loss wants that."""
        if part == "critic" and self.kind == "clip":
            with torch.no_grad():
                for weight in self.network.critic.parameters():
                    weight.clamp_(-CLIPPED_TO, CLIPPED_TO)

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """One group, and one of a mapping network: Adam without decay, with little memory."""
        mapping = [p for name, p in self.named_parameters() if ".mapping." in name]
        slow = set(map(id, mapping))
        rest = [p for p in self.parameters() if id(p) not in slow]
        common: dict[str, Any] = {"weight_decay": 0.0, "betas": BETAS}
        rate = RATES[self.kind]
        groups = [{"params": rest, "lr_scale": rate} | common]
        slower = {"params": mapping, "lr_scale": rate * MAPPING_RATE} | common
        return [*groups, slower] if mapping else groups

    def random(self, count: int, request: Request) -> Tensor:
        """Latents, float (count, latent), the colder the nearer to 0."""
        z = torch.randn(count, self.latent, generator=request.generator)
        return request.options.temperature * z.to(self.device)


def likeliest_states(logits: Tensor) -> Tensor:
    """The likeliest state of each cell: int64 (batch, h, w) of float (batch, 3, h, w)."""
    return logits.argmax(1)


def searched(
    draw: Any,
    cells: Tensor,
    mask: Tensor,
    z: Tensor,
    *,
    calls: int,
    tell: Tell,
    read: Callable[[Tensor], Tensor] = likeliest_states,
) -> Tensor:
    """Make windows that agree with the known cells: int64 (batch, 64, 64).

    Args:
        draw: latents -> logits of states, float (batch, 3, 64, 64).
        cells: int64 (batch, 64, 64).
        mask: bool (64, 64), True = not known.
        z: float (batch, latent), where the search begins.
        calls: network calls, the last one included, which makes the picture.
        tell: is told of each.
        read: logits -> the cells that they stand for.
    """
    # Where nothing is known there is nothing to look for.
    if calls > 1 and not mask.all():
        z, _ = latent_search(draw, cells, mask, z, calls=calls - 1, tell=of_the_first(tell, 1, 1))
    made = read(draw(z))
    tell(torch.where(mask, made, cells))
    return made


class Wgan(Adversarial):
    """A window of cells from latents, with the loss that is asked for; see the module's guide."""

    process = "wgan"
    answers = {"everything": "N", "any": "L"}
    methods = {"search": SEARCH_CALLS}
    sizes = {"tiny": {"width": 10}, "toy": {"width": 4}}
    traits: ClassVar[Mapping[str, Any]] = {"loss": "gp", "style": False, "dilate": 0}

    def build(self, width: int, loss: str, style: bool, dilate: int) -> nn.Module:
        """The generator and the critic.

        Args:
            width: channels of the largest layers.
            loss: one of GAN_LOSSES.
            style: whether the generator is that of StyleGAN2.
            dilate: notes of the training windows are so many steps longer, see `prolonged`.

        Raises:
            OptionError: the loss is unknown, or `dilate` is no whole number.
        """
        check_choice("loss", loss, GAN_LOSSES)
        check_whole("dilate", dilate, -WINDOW, WINDOW)
        normed = loss == "ns"
        plain = Generator(self.latent, width, normed)
        generator = StyledGenerator(self.latent, width) if style else plain
        return Pair(generator, Critic(CELL_STATES, width, normed))

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """Cells, (64, 64), with notes of another length if asked; see `Adversarial.example`."""
        example = super().example(window, u, rng, options)
        return example | {"cells": prolonged(example["cells"], self.own["dilate"])}

    def real(self, batch: dict[str, Tensor]) -> Tensor:
        """The states of real windows, float (batch, 3, 64, 64)."""
        return shares(batch["cells"])

    def made(self, batch: dict[str, Tensor]) -> Tensor:
        """The states of made windows, float (batch, 3, 64, 64)."""
        return self.network(batch["z"]).softmax(1)

    def fill(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """Look for latents, and paste their picture, int64 (batch, 64, 64); see `System.fill`."""
        z = self.random(len(cells), request)
        calls = request.options.calls
        return searched(self.network, cells, mask, z, calls=calls, tell=request.tell)


# MidiNet.


class BarGenerator(nn.Module):
    """A bar from latents, a chord, and the bar before, which joins at four depths.

    A melody has one voice: at a step it is silent, or sounds in one of 64 rows. So the layers end
    in the odds of one of them at each step, as the paper's do, and in whether a note begins; not
    in states of independent cells, which soon are all silent, and learn nothing from there. What
    sounds is drawn by these odds.
    """

    def __init__(self, latent: int, width: int) -> None:
        """Take the number of latents and the channels of the layers."""
        super().__init__()
        halving = [nn.Conv2d(width, width, (1, 2), (1, 2)) for _ in range(3)]
        self.before = nn.ModuleList([nn.Conv2d(CELL_STATES, width, (ROW_COUNT, 1)), *halving])

        self.first = nn.Linear(latent + TOLD_OF_CHORDS, 4 * width)
        self.second = nn.Linear(4 * width, 4 * width)
        inside = 3 * width + TOLD_OF_CHORDS
        layers = [nn.ConvTranspose2d(inside, 2 * width, (1, 2), (1, 2)) for _ in range(3)]
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv2d(inside, 2 + ROW_COUNT, 1)

    def forward(self, z: Tensor, before: Tensor, chord: Tensor) -> Tensor:
        """Of each step whether a note begins, silence, and the rows: logits, (batch, 66, 16).

        Args:
            z: float (batch, latent).
            before: float (batch, 3, 64, 16), the bar before.
            chord: float (batch, 13).
        """
        # The bar before, as 16, 8, 4 and 2 columns.
        depths = [before]
        for layer in self.before:
            depths.append(F.leaky_relu(layer(depths[-1]), SLOPE))

        x = F.relu(self.first(torch.cat([z, chord], dim=1)))
        x = F.relu(self.second(x)).reshape(len(z), -1, 1, 2)  # (batch, 2 * width, 1, 2)
        layers = [*self.layers, self.last]
        for layer, joined in zip(layers, reversed(depths[1:]), strict=True):
            told = chord[:, :, None, None].expand(-1, -1, 1, x.shape[3])
            x = layer(torch.cat([x, joined, told], dim=1))
            x = x if layer is self.last else F.relu(x)
        return x[:, :, 0]


def perturbed(logits: Tensor, noise: Tensor) -> Tensor:
    """Logits with noise: the likeliest choice is then one that is drawn by their odds.

    Args:
        logits: float (batch, 66, 16), see `BarGenerator`.
        noise: float like them, uniform between 0 and 1.

    Source: Jang et al. 2017 (arXiv 1611.01144), equation 1.
    """
    u = noise.clamp(NEAR_0, 1 - NEAR_0)
    gumbel = -torch.log(-torch.log(u[:, 1:]))
    return logits + torch.cat([torch.logit(u[:, :1]), gumbel], dim=1)


def certain(p: Tensor, choice: Tensor) -> Tensor:
    """What was chosen, float like `choice`, 0 or 1, which learns as its probabilities would.

    Args:
        p: float (batch, ..., steps), the probabilities.
        choice: float like p, 1 for what was chosen.

    Source: Bengio et al. 2013 (arXiv 1308.3432), the straight-through estimator.
    """
    return choice + p - p.detach()


def line_shares(logits: Tensor) -> Tensor:
    """The states of a melody's cells, float (batch, 3, 64, 16): 0 or 1, with slopes.

    A critic tells blends of notes from notes at sight, and the way out of that is silence.

    Args:
        logits: float (batch, 66, 16), see `BarGenerator`.
    """
    begins = certain(logits[:, :1].sigmoid(), (logits[:, :1] > 0).float())  # (batch, 1, 16)
    likeliest = F.one_hot(logits[:, 1:].argmax(1), 1 + ROW_COUNT).transpose(1, 2)
    choice = certain(logits[:, 1:].softmax(1), likeliest.float())  # (batch, 65, 16)
    sounding = choice[:, 1:]
    onset = begins * sounding
    return torch.stack([1 - sounding, sounding - onset, onset], dim=1)


def line_cells(logits: Tensor, before: Tensor) -> Tensor:
    """The likeliest cells of a melody, int64 (batch, 64, 16): what does not sound on begins.

    Args:
        logits: float (batch, 66, 16), see `BarGenerator`.
        before: int64 (batch, 64, 16), the cells of the bar before.
    """
    choice = F.one_hot(logits[:, 1:].argmax(1), 1 + ROW_COUNT).transpose(1, 2)  # (batch, 65, 16)
    sounding = choice[:, 1:] > 0
    earlier = torch.cat([before[..., -1:] > OFF, sounding[..., :-1]], dim=2)
    begins = sounding & ((logits[:, :1] > 0) | ~earlier)
    return torch.where(begins, ONSET, torch.where(sounding, SUSTAIN, OFF))


def bars_at(plane: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The bars that begin at some columns: (bars, ..., 16) of (..., width)."""
    return np.stack([plane[..., start : start + BAR_WIDTH] for start in starts])


class BarCritic(nn.Module):
    """Tells real bars from made ones, told the chord and, if it shall see it, the bar before."""

    def __init__(self, width: int, columns: int) -> None:
        """Take the channels of the first layer, and the columns that it is shown."""
        super().__init__()
        first = nn.Conv2d(CELL_STATES + TOLD_OF_CHORDS, width, (ROW_COUNT, 2), (1, 2))
        second = nn.Conv2d(width, 4 * width, (1, 4), (1, 2), (0, 1))
        self.layers = nn.Sequential(first, nn.LeakyReLU(SLOPE), second, nn.LeakyReLU(SLOPE))

        hidden = nn.Linear(width * columns, 8 * width)
        score = nn.Linear(8 * width, 1)
        self.score = nn.Sequential(nn.Flatten(), hidden, nn.LeakyReLU(SLOPE), score)

    def features(self, bars: Tensor) -> Tensor:
        """What it makes of bars: (batch, c, 1, columns / 4) of (batch, channels, 64, columns)."""
        return self.layers(bars)

    def forward(self, bars: Tensor) -> Tensor:
        """The scores of bars, float (batch, channels, 64, columns): float (batch,)."""
        return self.score(self.features(bars)).flatten().float()  # (batch,)


def chord_vector(chords: Tensor) -> Tensor:
    """The chord of some columns: how long each tone is in it, and whether it is known.

    Args:
        chords: float (batch, 3, 64, columns), see `states.chord_channels`.

    Returns:
        float (batch, 13).
    """
    # The rows of one octave, from C upwards.
    octave = chords[:, 1, 24:36].flip(1)  # (batch, 12, columns)
    return torch.cat([octave, chords[:, 2, :1]], dim=1).mean(-1)


class Midinet(Adversarial):
    """A melody, bar by bar: each is made of latents, the chord, and the bar before.

    A bar is 16 steps; in other metres it walks in steps of 16 from a bar line on. The paper's loss
    is "ns"; with it the number of notes swings.
    """

    process = "midinet"
    answers = {"continuation": "N"}
    methods = {"bars": WINDOW // BAR_WIDTH}
    sizes = {"tiny": {"width": 20}, "toy": {"width": 4}}
    traits: ClassVar[Mapping[str, Any]] = {"loss": "gp", "context": False}
    latent = 32
    label = REAL_LABEL

    def build(self, width: int, loss: str, context: bool) -> nn.Module:
        """The generator and the critic.

        Args:
            width: channels of the layers.
            loss: one of GAN_LOSSES.
            context: whether the critic sees the bar before, too.

        Raises:
            OptionError: the loss is unknown.
        """
        check_choice("loss", loss, GAN_LOSSES)
        columns = 2 * BAR_WIDTH if context else BAR_WIDTH
        return Pair(BarGenerator(self.latent, width), BarCritic(width, columns))

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """Four bars of a window's melody, (4, ...) each, as `bars_of` says.

        Arguments: see `Adversarial.example`.
        """
        cut = cut_window(window, rng)
        melody = track_cells(cut)[TRACKS.index("MELODY")]
        before = np.pad(melody, ((0, 0), (BAR_WIDTH, 0)))
        chords = chord_channels(cut.picture, cut.mask)[:, ROWS]

        lines = [line for line in cut.bars if line + BAR_WIDTH <= WINDOW]
        starts = rng.choice(lines, BARS_A_WINDOW)
        planes = {"cells": melody, "before": before, "chords": chords}
        bars = {name: bars_at(plane, starts) for name, plane in planes.items()}
        random = {"noise": (BARS_A_WINDOW, 2 + ROW_COUNT, BAR_WIDTH), "mix": (BARS_A_WINDOW,)}
        drawn = {name: rng.random(shape, np.float32) for name, shape in random.items()}
        z = rng.standard_normal((BARS_A_WINDOW, self.latent), np.float32)
        return bars | drawn | {"z": z}

    @staticmethod
    def bars_of(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The bars of a batch of windows, bar by bar.

        Returns:
            "cells" and "before", int64 (bars, 64, 16), the melody of a bar and of the one before;
            "chords", float (bars, 3, 64, 16); "z", float (bars, latent); "noise", float (bars, 66,
            16); "mix", float (bars,).
        """
        return {name: each.flatten(0, 1) for name, each in batch.items()}  # (bars, ...)

    def loss(
        self, batch: dict[str, Tensor], forward: Any, options: Any, part: str = "critic"
    ) -> Tensor:
        """The mean loss of each window's bars, float (batch,); see `Adversarial.loss`."""
        loss = super().loss(self.bars_of(batch), forward, options, part)  # (bars,)
        return loss.unflatten(0, (-1, BARS_A_WINDOW)).mean(1)  # (batch,)

    def shown(self, bars: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """What the critic is shown of bars, float (batch, 3, 64, 16): (batch, 16, 64, 16 or 32)."""
        if self.own["context"]:
            bars = torch.cat([shares(batch["before"]), bars], dim=3)
        chord = chord_vector(batch["chords"])[:, :, None, None]
        return torch.cat([bars, chord.expand(-1, -1, *bars.shape[2:])], dim=1)

    def real(self, batch: dict[str, Tensor]) -> Tensor:
        """What the critic is shown of real bars, float (batch, 16, 64, 16 or 32)."""
        return self.shown(shares(batch["cells"]), batch)

    def made(self, batch: dict[str, Tensor]) -> Tensor:
        """What the critic is shown of made bars, float (batch, 16, 64, 16 or 32)."""
        chord = chord_vector(batch["chords"])
        before = shares(batch["before"])
        logits = self.network(batch["z"], before, chord)
        return self.shown(line_shares(perturbed(logits, batch["noise"])), batch)

    def bar(self, inputs: dict[str, Tensor], temperature: float = 1.0) -> Tensor:
        """Draw a bar, int64 (batch, 64, 16).

        Args:
            inputs: "z", "before", "chords" and "noise", as `bars_of` says.
            temperature: divides the logits.
        """
        before = inputs["before"]
        logits = self.network(inputs["z"], shares(before), chord_vector(inputs["chords"]))
        return line_cells(perturbed(logits / temperature, inputs["noise"]), before)

    def extra(self, batch: dict[str, Tensor], made: Tensor) -> Tensor:
        """Feature matching, float (): the mean bar of (batch, c, 64, w) is asked to be as real."""
        real = self.real(batch)
        features = self.network.critic.features
        bars = (real.mean(0) - made.mean(0)).square().sum()
        seen = (features(real).mean(0) - features(made).mean(0)).square().sum()
        return MATCHED_BARS * bars + MATCHED_FEATURES * seen

    def fill(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """Make bar after bar, int64 (batch, 64, 64), of what stands before; see `System.fill`."""
        known = torch.where(mask, OFF, cells).cpu().numpy()
        melody = torch.from_numpy(skyline_cells(known)).to(cells)
        melody = F.pad(melody, (BAR_WIDTH, BAR_WIDTH))  # (batch, 64, 96)
        first = int(mask.any(0).nonzero()[0])
        starts = range(line_before(request.options.lines, first), WINDOW, BAR_WIDTH)

        # What is made in the first bar before the mask is not kept.
        kept = F.pad(mask, (BAR_WIDTH, BAR_WIDTH), value=True)
        for number, start in enumerate(starts):
            columns = slice(start, start + BAR_WIDTH)
            z = self.random(len(cells), request)
            shape = (len(cells), 2 + ROW_COUNT, BAR_WIDTH)
            noise = torch.rand(shape, generator=request.generator).to(self.device)
            told = {"before": melody[:, :, columns], "chords": request.chords[..., columns]}
            bar = self.bar(told | {"z": z, "noise": noise}, request.options.temperature)
            here = slice(start + BAR_WIDTH, start + 2 * BAR_WIDTH)
            melody[:, :, here] = torch.where(kept[:, here], bar, melody[:, :, here])
            now = torch.where(mask, melody[:, :, BAR_WIDTH:-BAR_WIDTH], cells)
            request.tell(now, len(starts) - number - 1)
        return now


# MuseGAN.


class TrackGenerator(nn.Module):
    """Three tracks from shared and private latents, and what is known of other tracks."""

    def __init__(self, latent: int, width: int) -> None:
        """Take the number of latents, a fourth of them for each, and the channels of the heads."""
        super().__init__()
        self.private = latent // 4
        first = nn.Conv2d(CELL_STATES + 1, width, 4, 2, 1)
        second = nn.Conv2d(width, 2 * width, 4, 2, 1)
        self.given = nn.Sequential(first, nn.LeakyReLU(SLOPE), second, nn.LeakyReLU(SLOPE))

        self.shared = self.trunk(latent - len(TRACKS) * self.private, 2 * width)
        self.own = nn.ModuleList(self.trunk(self.private + len(TRACKS), width) for _ in TRACKS)
        self.heads = nn.ModuleList(self.head(5 * width, width) for _ in TRACKS)

    @staticmethod
    def head(inside: int, width: int) -> nn.Sequential:
        """Features, float (batch, inside, 16, 16), to logits of states, (batch, 3, 64, 64)."""
        last = nn.ConvTranspose2d(width, CELL_STATES, 4, 2, 1)
        return nn.Sequential(doubled(inside, width), last)

    @staticmethod
    def trunk(latent: int, width: int) -> nn.Sequential:
        """Latents, float (batch, latent), to features, float (batch, width, 16, 16)."""
        start = nn.Sequential(nn.Linear(latent, 2 * width * 16), nn.ReLU())
        square = nn.Unflatten(1, (2 * width, 4, 4))
        return nn.Sequential(start, square, doubled(2 * width, width), doubled(width, width))

    def forward(self, z: Tensor, given: Tensor, which: Tensor) -> Tensor:
        """Logits of each track's states, float (batch, 3 tracks, 3 states, 64, 64).

        Args:
            z: float (batch, latent).
            given: float (batch, 4, 64, 64), the shares of states of known cells, and which are.
            which: float (batch, 3), 1 for the track that is composed to what is given; all 0: all
                are made together.
        """
        private = self.private
        told = [self.shared(z[:, len(TRACKS) * private :]), self.given(given)]
        tracks = []
        for number, (own, head) in enumerate(zip(self.own, self.heads, strict=True)):
            mine = z[:, number * private : (number + 1) * private]
            features = own(torch.cat([mine, which], dim=1))
            tracks.append(head(torch.cat([*told, features], dim=1)))
        # Within bounds: a state that has become certain would learn no more, and tracks are sparse.
        return MOST_LOGIT * torch.tanh(torch.stack(tracks, dim=1) / MOST_LOGIT)


def merged(logits: Tensor) -> Tensor:
    """Several tracks as one picture: log-probabilities of its states, float (batch, 3, h, w).

    A cell is off where all tracks are, an onset where any is, else a sustain.

    Args:
        logits: float (batch, tracks, 3, h, w).
    """
    log_p = logits.log_softmax(2)
    off = log_p[:, :, 0].sum(1)
    no_onset = torch.logsumexp(log_p[:, :, :2], dim=2).sum(1)

    # Differences of probabilities, kept above 0.
    sustain = no_onset.exp() - off.exp()
    onset = -torch.expm1(no_onset)
    rest = torch.stack([sustain, onset], dim=1).clamp(min=1e-12).log()
    return torch.cat([off[:, None], rest], dim=1)


def merged_cells(tracks: Tensor) -> Tensor:
    """The cells of several tracks as one picture: int64 (batch, h, w) of (batch, tracks, h, w)."""
    return tracks.amax(1)


class Musegan(Adversarial):
    """Three tracks under one critic; a track can be composed to what is known of the others."""

    process = "musegan"
    answers = {"everything": "N", "any": "LN"}
    methods = {"search": SEARCH_CALLS}
    options = System.options | {"track"}
    sizes = {"tiny": {"width": 13}, "toy": {"width": 4}}
    traits: ClassVar[Mapping[str, Any]] = {"loss": "gp"}

    def build(self, width: int, loss: str) -> nn.Module:
        """The generator and the critic; `loss` is one of GAN_LOSSES, OptionError for another."""
        check_choice("loss", loss, GAN_LOSSES)
        critic = Critic(len(TRACKS) * CELL_STATES, width, loss == "ns")
        return Pair(TrackGenerator(self.latent, width), critic)

    def check(self, options: Any) -> Any:
        """The options as they are; OptionError for an unknown track."""
        if "track" in options.own:
            check_choice("track", options.own["track"], TRACKS)
        return options

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """Tracks, (3, 64, 64), the one to be composed, the known cells, latents and a share.

        In half of the windows one track is composed, to the others as far as they are known.
        Arguments: see `Adversarial.example`.
        """
        cut = cut_window(window, rng)
        example = super().example(cut, u, rng, options)
        tracks = track_cells(cut)
        which = np.zeros(len(TRACKS), np.float32)
        known = np.zeros((ROW_COUNT, WINDOW), bool)
        if rng.random() < 0.5:
            which[rng.integers(len(TRACKS))] = 1
            known = ~cut.mask[ROWS] if rng.random() < 0.5 else ~known
        return example | {"tracks": tracks, "which": which, "known": known}

    def tracks_shown(self, batch: dict[str, Tensor]) -> Tensor:
        """The shares of states of real tracks, float (batch, 3, 3, 64, 64)."""
        return shares(batch["tracks"])

    def real(self, batch: dict[str, Tensor]) -> Tensor:
        """The states of real tracks, float (batch, 9, 64, 64)."""
        return self.tracks_shown(batch).flatten(1, 2)  # (batch, 9, 64, 64)

    def made(self, batch: dict[str, Tensor]) -> Tensor:
        """The states of made tracks, float (batch, 9, 64, 64); given ones are real."""
        which = batch["which"]
        others = torch.where(which[:, :, None, None] > 0, OFF, batch["tracks"])
        given = known_planes(merged_cells(others), batch["known"])
        made = self.network(batch["z"], given, which).softmax(2)

        composed = (which > 0) | (which.sum(1, keepdim=True) == 0)  # (batch, 3)
        tracks = torch.where(composed[:, :, None, None, None], made, self.tracks_shown(batch))
        return tracks.flatten(1, 2)  # (batch, 9, 64, 64)

    def fill(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """Make all tracks, or the one that is asked for: int64 (batch, 64, 64); see `System`."""
        z = self.random(len(cells), request)
        which = z.new_zeros(len(cells), len(TRACKS))
        track = request.options.own.get("track")
        if track is None:
            nothing = z.new_zeros(len(cells), CELL_STATES + 1, *cells.shape[1:])
            draw = lambda latents: merged(self.network(latents, nothing, which))  # noqa: E731
            calls = request.options.calls
            return searched(draw, cells, mask, z, calls=calls, tell=request.tell)

        # One track, to what is known of all others.
        number = TRACKS.index(track)
        which[:, number] = 1
        given = known_planes(cells, ~mask.expand_as(cells))
        made = self.network(z, given, which)[:, number].argmax(1)
        request.tell(torch.where(mask, made, cells))
        return made


def known_planes(cells: Tensor, known: Tensor) -> Tensor:
    """Known cells for a network: shares of states, 0 where unknown, and which are known.

    Args:
        cells: int64 (batch, h, w).
        known: bool (batch, h, w).

    Returns:
        float (batch, 4, h, w).
    """
    plane = known[:, None].float()
    return torch.cat([shares(cells) * plane, plane], dim=1)
