"""Autoencoders: through a narrow place, out of noise, and with two faders.

- `Autoencoder`: 64 numbers for a window, and the window again. It has no idea of which numbers
  there are, so it cannot compose; a mask is answered by a search.
- `DenoisingAutoencoder`: one noise level, one call. It is Gaussian diffusion (`processes.edm`) with
  a single step, to the bit, and says the mean of all that could be there: grey.
- `Faders`: a variational autoencoder. Its first latent rises with how often notes begin, its second
  with how many begin together (Music FaderNets, Tan and Herremans 2020, arXiv 2007.15474), by a
  term that compares all windows of a batch (Pati and Lerch 2020, arXiv 2004.05485). That orders the
  latents, but the decoder may still read the same from the 62 others. So a second term sets each
  window's faders to those of another window, and asks for the other one's attributes.

    model = pomkit.load_model("runs/faders/model")
    busier = model.moved(cells, rhythm=2.0)                # int64 (batch, 64, 64)
    pomkit.generate(model, width=64, rhythm=-1.0, notes=1.0)

Many noise levels in a chain are a diffusion model, whatever the coordinates: `ddpm_sigmas` and
`to_vp` turn those of DDPM (arXiv 2006.11239) into those of `edm`.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.windows import Window
from ..errors import check_range
from ..networks.hdit import HDiT
from ..processes.contract import Options
from ..processes.samplers import repaint
from ..processes.states import OFF, ONSET, SUSTAIN
from .gan import SEARCH_CALLS, Critic, Generator, searched, shares
from .restoring import SIZES, small_hdit
from .system import CELL_STATES, ROW_COUNT, WINDOW, Request, System

LATENT = 64
CELL_COUNT = ROW_COUNT * WINDOW
NATS_PER_BIT = math.log(2)
# Planes of a denoised window: what sounds, and what begins. Silence is -1.
INK_PLANES = 2
SINGLE_SIGMA = 2.0
# A cell sounds where its mean is above this share.
HALF_SURE = 0.5
FADERS = ("rhythm", "notes")
# A fader goes so far from the middle, in standard deviations.
FARTHEST = 4.0


# Through a narrow place.


class Coder(nn.Module):
    """An encoder to latents, and a decoder, the generator of `gan`, back to logits."""

    def __init__(self, width: int, numbers: int = LATENT) -> None:
        """Take the channels of the largest layers, and how many numbers the encoder gives."""
        super().__init__()
        self.layers = Critic(CELL_STATES, width).layers
        self.last = nn.Linear(8 * width * 16, numbers)
        self.decoder = Generator(LATENT, width)

    def encode(self, cells: Tensor) -> Tensor:
        """The numbers of windows: float (batch, numbers) of int64 (batch, 64, 64)."""
        return self.last(self.layers(shares(cells)).flatten(1))  # (batch, numbers)

    def forward(self, z: Tensor) -> Tensor:
        """Logits of each state, float (batch, 3, 64, 64), of latents, float (batch, 64)."""
        return self.decoder(z)


class Autoencoder(System):
    """A window through 64 numbers; see the module's guide."""

    process = "autoencoder"
    answers = {"any": "L"}
    methods = {"search": SEARCH_CALLS}
    sizes = {"tiny": {"width": 24}, "toy": {"width": 4}}

    def build(self, width: int, **weights: float) -> nn.Module:
        """The encoder and the decoder."""
        return Coder(width)

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """Bits per cell of the window once its numbers are known, float (batch,)."""
        cells = batch["cells"]
        logits = forward(self.network.encode(cells))
        return cell_nats(logits, cells) / (CELL_COUNT * NATS_PER_BIT)

    def fill(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """Look for numbers whose window agrees: int64 (batch, 64, 64); see `System.fill`."""
        z = torch.randn(len(cells), LATENT, generator=request.generator).to(self.device)
        calls = request.options.calls
        z = request.options.temperature * z
        return searched(self.network, cells, mask, z, calls=calls, tell=request.tell)


def cell_nats(logits: Tensor, cells: Tensor) -> Tensor:
    """The surprise of all cells, in nats, float (batch,).

    Args:
        logits: float (batch, 3, h, w).
        cells: int64 (batch, h, w).
    """
    return F.cross_entropy(logits, cells, reduction="none").flatten(1).sum(1)  # (batch,)


# Out of noise.


class DenoisingAutoencoder(System):
    """One noise level, one call: what sounds where it is masked, on average."""

    process = "dae"
    answers = {"any": "N"}
    methods = {"denoise": 1}
    options = frozenset(["calls", "method", "threshold"])
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = SIZES
    traits: ClassVar[Mapping[str, Any]] = {"sigma": SINGLE_SIGMA}

    def build(self, sigma: float, **numbers: Any) -> HDiT:
        """A small HDiT, of `numbers` as in `small_hdit`; OptionError for no noise level `sigma`."""
        check_range("sigma", sigma, 1e-3, 1e3)
        return small_hdit(2 * INK_PLANES + 1, answers=INK_PLANES, **numbers)

    def forward(self, x: Tensor, sigma: Tensor, known: Tensor, mask: Tensor) -> Tensor:
        """Denoise windows: a denoiser of `edm`'s contract, at its one noise level.

        Args:
            x: float (batch, 2, 64, 64), noisy.
            sigma: float (batch,).
            known: float like x, clean.
            mask: bool (batch, 1, 64, 64), True = not known.

        Returns:
            float like x; where the mask is False, the known planes.
        """
        scaled = x / (sigma.reshape(-1, 1, 1, 1) ** 2 + 1).sqrt()  # (batch, 1, 1, 1)
        seen = (torch.where(mask, scaled, 0), torch.where(mask, 0, known), mask.to(x))
        answer = self.network(torch.cat(seen, dim=1), torch.ones_like(sigma)).float()
        return torch.where(mask, answer, known)

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """What `System.example` gives, and noise, (2, 64, 64); see `Process.example`."""
        example = super().example(window, u, rng, options)
        # A mask may lie beyond the pitches: then all is denoised.
        if not example["mask"].any():
            example["mask"] = np.ones_like(example["mask"])
        noise = rng.standard_normal((INK_PLANES, ROW_COUNT, WINDOW), np.float32)
        return example | {"noise": noise}

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """The squared error in the masked cells, float (batch,)."""
        clean = inks(batch["cells"])
        mask = batch["mask"][:, None]
        sigma = clean.new_full((len(clean),), self.own["sigma"])
        denoised = forward(clean + self.own["sigma"] * batch["noise"], sigma, clean, mask)
        error = ((denoised - clean) ** 2).flatten(1).sum(1)  # (batch,)
        return error / (INK_PLANES * mask.flatten(1).sum(1))  # (batch,)

    def check(self, options: Options) -> Options:
        """The options as they are; OptionError for a threshold outside 0 to 1."""
        check_range("threshold", options.own.get("threshold", HALF_SURE), 0, 1)
        return options

    def denoised(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """The mean of what may stand there, float (batch, 2, 64, 64): edm's sampler, in one step.

        Args:
            cells: int64 (batch, 64, 64).
            mask: bool (64, 64), True = not known.
            request: how.
        """
        known = inks(torch.where(mask, OFF, cells))
        hidden = mask.expand(len(cells), 1, -1, -1)
        conditions = {"known": known, "mask": hidden}
        sigmas = known.new_tensor([self.own["sigma"], 0.0])

        def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
            return self(x, sigma, **conditions)

        return repaint(denoiser, known, hidden, sigmas, middle=-1.0, generator=request.generator)

    def fill(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """Denoise, and read what is above the threshold: (batch, 64, 64); see `System.fill`."""
        threshold = request.options.own.get("threshold", HALF_SURE)
        made = read_inks(self.denoised(cells, mask, request), threshold)
        request.tell(torch.where(mask, made, cells))
        return made


def inks(cells: Tensor) -> Tensor:
    """Which cells sound and which begin, -1 or 1: float (batch, 2, h, w) of int64 (batch, h, w)."""
    return torch.stack([cells > OFF, cells == ONSET], dim=1) * 2.0 - 1


def read_inks(x: Tensor, threshold: float = HALF_SURE) -> Tensor:
    """Cells of what sounds and begins with more than a share: int64 (batch, h, w).

    Args:
        x: float (batch, 2, h, w), between -1 and 1.
        threshold: the share, from 0 to 1.
    """
    sounding, begins = ((x + 1) / 2 > threshold).unbind(1)
    return with_onsets(sounding, begins)


def with_onsets(sounding: Tensor, begins: Tensor) -> Tensor:
    """Cells of what sounds, each note with an onset: int64 like bool (batch, h, w).

    Args:
        sounding: bool (batch, h, w).
        begins: bool like it: where a sounding cell begins a note, even inside one.
    """
    after_silence = ~F.pad(sounding, (1, -1))
    states = torch.where(begins | after_silence, ONSET, SUSTAIN)
    return torch.where(sounding, states, OFF)


def ddpm_sigmas(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Tensor:
    """The noise levels of DDPM as those of `edm`, float (steps + 1,), falling to 0.

    Args:
        steps: of the chain.
        first: the variance that its first step adds.
        last: that of its last step.

    Source: Ho et al. 2020 (arXiv 2006.11239), section 4; alpha_bar is their product of 1 - beta.
    """
    beta = torch.linspace(first, last, steps, dtype=torch.float64)
    alpha_bar = (1 - beta).cumprod(0)
    rising = (1 / alpha_bar - 1).sqrt()
    return torch.cat([rising.flip(0), rising.new_zeros(1)]).float()


def to_vp(x: Tensor, sigma: Tensor) -> Tensor:
    """What DDPM has where `edm` has x at noise level sigma: x / sqrt(1 + sigma^2), like x.

    Args:
        x: float (batch, ...).
        sigma: a number, float ().
    """
    return x / (1 + sigma**2).sqrt()


# With faders.


class Faders(Autoencoder):
    """A variational autoencoder whose first two latents are faders; see the module's guide."""

    process = "faders"
    answers = {"everything": "N", "any": "L"}
    options = Autoencoder.options | set(FADERS)
    traits: ClassVar[Mapping[str, Any]] = {"beta": 0.2, "pull": 0.1, "swap": 0.1}
    likelihood = "bound"

    def build(self, width: int, **weights: float) -> nn.Module:
        """The encoder, to a mean and a variance of each latent, and the decoder.

        Args:
            width: channels of the largest layers.
            weights: `beta`, of the latents' divergence from a normal distribution; `pull`, of the
                faders' order; `swap`, of what windows have with the faders of others.

        Raises:
            OptionError: a weight is below 0.
        """
        for name, weight in weights.items():
            check_range(name, weight, 0, 1e3)
        return Coder(width, 2 * LATENT)

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """What `System.example` gives, and noise of the latents, (64,); see `Process.example`."""
        noise = rng.standard_normal(LATENT, np.float32)
        return super().example(window, u, rng, options) | {"noise": noise}

    def encoded(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of windows' latents, float (batch, 64) each, of (batch, 64, 64)."""
        mean, log_variance = self.network.encode(cells).chunk(2, dim=1)
        return mean, log_variance

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """Bits per cell, with the latents' divergence and the faders' term: float (batch,)."""
        cells = batch["cells"]
        mean, log_variance = self.encoded(cells)
        z = mean + (log_variance / 2).exp() * batch["noise"]
        nats = cell_nats(forward(z), cells)
        nats = nats + self.own["beta"] * latent_divergence(mean, log_variance)
        values = attributes(cells)
        faders = z[:, : len(FADERS)]
        order = disorder(mean[:, : len(FADERS)], values)

        # The faders of the next window of the batch.
        moved = torch.cat([faders.roll(1, 0), z[:, len(FADERS) :]], dim=1)
        missed = disobedience(forward(moved), values.roll(1, 0))
        terms = self.own["pull"] * order + self.own["swap"] * missed
        return nats / (CELL_COUNT * NATS_PER_BIT) + terms

    @torch.no_grad()
    def bits(self, cells: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A bound on the bits of windows, (batch, 64, 64), of one draw of latents: (batch,)."""
        mean, log_variance = self.encoded(cells)
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        nats = cell_nats(self.network(mean + (log_variance / 2).exp() * noise), cells)
        return (nats + latent_divergence(mean, log_variance)) / NATS_PER_BIT

    def check(self, options: Options) -> Options:
        """The options as they are; OptionError for a fader far beyond what a window has."""
        for name in FADERS:
            given = options.own.get(name, 0.0)
            check_range(name, given, -FARTHEST, FARTHEST, unit="(0 is as usual)")
        return options

    @torch.no_grad()
    def moved(self, cells: Tensor, **faders: float) -> Tensor:
        """Encode windows, set faders, and decode: int64 like cells, (batch, 64, 64).

        Args:
            cells: int64 (batch, 64, 64).
            faders: values by name, "rhythm" and "notes"; one that is not named stays.
        """
        return likeliest_cells(self.network(with_faders(self.encoded(cells)[0], faders)))

    def fill(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """Draw latents, or look for some, with faders set: (batch, 64, 64); see `System.fill`."""
        faders = {name: request.options.own[name] for name in FADERS if name in request.options.own}
        z = torch.randn(len(cells), LATENT, generator=request.generator).to(self.device)
        z = request.options.temperature * z

        def draw(latents: Tensor) -> Tensor:
            return self.network(with_faders(latents, faders))

        calls = request.options.calls
        how: dict[str, Any] = {"calls": calls, "tell": request.tell, "read": likeliest_cells}
        return searched(draw, cells, mask, z, **how)


def with_faders(z: Tensor, faders: Mapping[str, float]) -> Tensor:
    """Latents, float (batch, 64), with some of the FADERS set: a new tensor like them."""
    kept = torch.ones_like(z)
    added = torch.zeros_like(z)
    for name, value in faders.items():
        kept[:, FADERS.index(name)] = 0
        added[:, FADERS.index(name)] = value
    return z * kept + added


def attributes(cells: Tensor) -> Tensor:
    """What the faders stand for: in which share of steps notes begin, and how many in such a step.

    FaderNets counts all notes, but that rises with the rhythm: these two can move alone.

    Args:
        cells: int64 (batch, 64, 64).

    Returns:
        float (batch, 2).
    """
    onsets = (cells == ONSET).sum(1)  # (batch, 64)
    steps = (onsets > 0).sum(1)  # (batch,)
    together = onsets.sum(1) / steps.clamp(min=1)
    return torch.stack([steps / cells.shape[2], together], dim=1)


def latent_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """How far normal latents are from the standard ones, in nats: float (batch,).

    Args:
        mean: float (batch, latent).
        log_variance: float like it.

    Source: Kingma and Welling 2014 (arXiv 1312.6114), appendix B.
    """
    each = mean**2 + log_variance.exp() - 1 - log_variance
    return each.sum(1) / 2


def disorder(z: Tensor, values: Tensor) -> Tensor:
    """How badly latents stand in the order of what they shall stand for: float (batch,).

    Of each window against all others: the squared difference of tanh(z_i - z_j) and the sign of
    what the two differ by.

    Args:
        z: float (batch, k).
        values: float like it.

    Source: Pati and Lerch 2020 (arXiv 2004.05485), equation 3.
    """
    apart = (z[:, None] - z[None]).tanh()  # (batch, batch, k)
    wanted = (values[:, None] - values[None]).sign()
    return ((apart - wanted) ** 2).mean((1, 2))


def disobedience(logits: Tensor, wanted: Tensor) -> Tensor:
    """How far decoded windows are from the attributes that were asked for: float (batch,).

    The mean squared distance, each attribute in units of its standard deviation in the batch.

    Args:
        logits: float (batch, 3, h, w).
        wanted: float (batch, 2), as of `attributes`.
    """
    got = decoded_attributes(logits)  # (batch, 2)
    scale = wanted.std(0).clamp(min=1e-3)
    return (((got - wanted) / scale) ** 2).mean(1)


def decoded_attributes(logits: Tensor) -> Tensor:
    """The `attributes` of the likeliest cells, with the gradient of the expected ones: (batch, 2).

    Args:
        logits: float (batch, 3, h, w).
    """
    begins = logits.softmax(1)[:, ONSET]
    step = 1 - (1 - begins).prod(1)  # (batch, w)
    together = begins.sum((1, 2)) / step.sum(1).clamp(min=1e-3)
    expected = torch.stack([step.mean(1), together], dim=1)  # (batch, 2)

    # What is read counts, but reading has no gradient.
    read = attributes(likeliest_cells(logits.detach()))
    return expected + (read - expected).detach()


def likeliest_cells(logits: Tensor) -> Tensor:
    """As many sounding cells as are expected, those that are likeliest: int64 (batch, h, w).

    Where nothing is sure, the likeliest state of every single cell is silence.

    Args:
        logits: float (batch, 3, h, w).
    """
    p = logits.softmax(1)
    sounds = 1 - p[:, OFF]
    expected = sounds.flatten(1).sum(1).round().long()  # (batch,)
    rank = sounds.flatten(1).argsort(1, descending=True).argsort(1)  # (batch, h * w)
    chosen = (rank < expected[:, None]).reshape(sounds.shape)  # (batch, h, w)
    return with_onsets(chosen, p[:, ONSET] > p[:, SUSTAIN])
