"""The paper's process: Gaussian noise on pixels (Karras et al. 2022, "EDM", arXiv 2206.00364).

A denoiser is any callable `denoiser(x, sigma, **conditions) -> denoised`: x float (batch, c,
height, width) with noise of standard deviation sigma, float (batch,); denoised is its best guess
of the clean picture. It is k-diffusion's contract, so every sampler runs on every denoiser
(`samplers`). Noise in training stands in `densities`. `GaussianNoise` is what the family shares;
the paper's head, `Denoiser`, answers pixels; that of `categorical` says which cell a pixel is.

    model = Denoiser(HDiT(config), sigma_data=0.5, centre=-1)
    denoised = model(x, sigma)
    loss = denoising_loss(model, x0, noise, sigma)             # float (batch,)
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..data.windows import Window
from ..errors import OptionError, check_choice, check_range
from ..music.palette import paint_chords, read_chords
from ..music.pixels import BORDER, draw_spans, read_spans
from ..networks.hdit import HDiT, HDiTConfig
from .contract import Drawn, Model, Options, Report, local_head, sized_network
from .densities import WEIGHTINGS, sample_sigma
from .samplers import Denoise, repaint
from .schedules import karras_sigmas
from .strength import check_strength, strength_of
from .wide import blended

# A generated pixel at or below this (of 255) is black, as in the paper.
INK_THRESHOLD = 20
# Numbers that tell the network how dense the music shall be: log(1 + density) / 3, known or not.
DENSITY_INPUTS = 2


def scalings(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor]:
    """EDM's c_skip, c_out and c_in, each like sigma (Table 1)."""
    total = sigma**2 + sigma_data**2
    c_skip = sigma_data**2 / total
    c_out = sigma * sigma_data / total.sqrt()
    return c_skip, c_out, total.rsqrt()


class GaussianNoise(Model):
    """What both heads of the family share: composing from noise, in one pass or by RePaint.

    A head derives from it, sets `head`, and writes `forward`, and what it makes of pictures:
    `encode`, `decode` and `conditions`; see `Denoiser`.
    """

    process = "edm"
    head: ClassVar[str]
    # What is asked for where the options name none.
    sampler: ClassVar[str] = "dpmpp_2m"
    sigma_density: ClassVar[str]
    conditioned: bool = True
    sigma_min: float = 0.01
    sigma_max: float = 80.0

    @property
    def methods(self) -> Mapping[str, int]:
        """By RePaint; and in one pass, if the model has learned to see the known pixels."""
        return {"conditioned": 20, "repaint": 40} if self.conditioned else {"repaint": 40}

    def check(self, options: Options) -> Options:
        """The options as they are; OptionError for RePaint with guidance, or a wrong strength."""
        check_strength(options.own.get("strength", 1.0))
        if options.method == "repaint" and options.guidance != 1:
            raise OptionError(
                "guidance needs method='conditioned'; RePaint's network does not see the known "
                "pixels"
            )
        return options

    def encode(self, canvas: np.ndarray) -> Tensor:
        """Pictures, uint8 (n, 128, width, 3), as what is noised: float32 (n, 3, 128, width)."""
        raise NotImplementedError(f"{type(self).__name__} must write encode")

    def decode(self, x: Tensor, canvas: np.ndarray, region: np.ndarray) -> Drawn:
        """What was composed, as music.

        Args:
            x: float (n, 3, 128, width), clean.
            canvas: uint8 (n, 128, width, 3), the pictures as they were.
            region: bool (128, width), True = composed.
        """
        raise NotImplementedError(f"{type(self).__name__} must write decode")

    def conditions(
        self, canvas: np.ndarray, region: np.ndarray, options: Options
    ) -> dict[str, Tensor]:
        """What the head is told beside the noisy pictures; arguments as `compose`'s.

        Args:
            canvas: uint8 (n, 128, width, 3), the pictures.
            region: bool (128, width), True = compose.
            options: how.
        """
        raise NotImplementedError(f"{type(self).__name__} must write conditions")

    def composed(self, region: np.ndarray) -> np.ndarray:
        """The cells of a region, bool (128, width), that this head composes: all of them."""
        return region

    def denoiser(self, x0: Tensor, mask: Tensor, region: np.ndarray, options: Options) -> Denoise:
        """What the sampler asks at every call.

        Args:
            x0: float (n, 3, 128, width), the known pixels.
            mask: bool (n, 1, 128, width), True = not known.
            region: bool (128, width), of each: what is composed of that, all up to the end.
            options: how.
        """
        denoiser = blended(self, self.span, region, options.lines)
        if options.method == "conditioned":
            return guided(denoiser, x0, mask, options.guidance)
        return denoiser

    @property
    def middle(self) -> Tensor | float:
        """The pixel about which the first noise lies, float (3, 1, 1) or a number."""
        return 0.0

    def levels(self, calls: int) -> Tensor:
        """The noise levels of a sampler of so many steps, float (calls + 1,), falling to 0."""
        return karras_sigmas(calls, self.sigma_min, self.sigma_max)

    @torch.inference_mode()
    def compose(
        self, canvas: np.ndarray, region: np.ndarray, options: Options, report: Report
    ) -> Drawn:
        """Compose a region of pictures, uint8 (n, 128, width, 3); see `Process.compose`."""
        wishes: dict[str, Any] = self.conditions(canvas, region, options)
        region = self.composed(region)
        x0 = self.encode(canvas).to(self.device)

        # Behind the picture's end nothing is composed or counted. The network is told that it is
        # unknown: with silence there, told as known, music ends before the picture does.
        inside = region.copy()
        if options.end is not None:
            inside[:, options.end :] = False
        both = torch.from_numpy(np.stack([region, inside])).to(self.device)
        unknown, mask = (cells.expand(len(x0), 1, -1, -1) for cells in both)
        denoiser = self.denoiser(x0, unknown, inside, options)
        wishes["strength"] = strength_of(options, region.shape[1]).to(self.device)

        def draw(x: Tensor) -> Drawn:
            return self.decode(torch.where(mask, x, x0), canvas, inside)

        def tell(event: dict[str, Any]) -> None:
            report(event, partial(draw, event["denoised"]))

        sigmas = self.levels(options.calls).to(self.device)
        wishes["sampler"] = options.sampler or self.sampler
        wishes |= {"U": options.U, "jump": options.jump, "generator": options.generator}
        wishes |= {"middle": self.middle, "callback": tell}
        return draw(repaint(denoiser, x0, mask, sigmas, **wishes))

    def level_of(self, u: float, options: Any) -> Tensor:
        """The noise level of an example, the u-quantile of the density asked for: shape (1,)."""
        density = options.sigma_density
        return sample_sigma(self.sigma_density if density == "auto" else density, torch.tensor(u))

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs: the network's configuration, the width, the head."""
        return super().spec() | {"head": self.head}


class Denoiser(GaussianNoise):
    """The paper's head: a network with EDM's preconditioning, which answers pixels.

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) (EDM, Table 1). It meets pixels as
    differences from `centre`: most of music is black, -1.
    """

    head = "pixels"
    options = frozenset(
        ["calls", "method", "U", "jump", "sampler", "density", "guidance", "strength"]
    )
    composes_chords = True
    sigma_density = "lognormal:-0.6,1.3"

    def __init__(
        self,
        network: HDiT,
        sigma_data: float = 0.5,
        conditioned: bool = False,
        width: int = 512,
        *,
        centre: float = 0.0,
    ) -> None:
        """Take a network of the right channels.

        Args:
            network: as many output channels as pixels have; inputs see `conditioned`.
            sigma_data: the pixels' standard deviation about the centre.
            conditioned: it also sees the known picture, masked pixels set to 0, and the mask
                (0 or 1): 7 input channels for RGB.
            width: columns that are learned.
            centre: the pixel that is 0 to the network.

        Raises:
            OptionError: the network has other channels, or sigma_data is not above 0.
        """
        super().__init__(network, width, network.config.span)
        inputs = network.config.in_channels
        outputs = network.config.out_channels
        wanted = 2 * outputs + 1 if conditioned else outputs
        if inputs != wanted:
            raise OptionError(
                f"conditioned={conditioned} needs {wanted} input channels for {outputs} of "
                f"output, not {inputs}; give another network"
            )
        check_range("sigma_data, the data's standard deviation,", sigma_data, 1e-6, 1e6)
        self.sigma_data = sigma_data
        self.conditioned = conditioned
        self.centre = centre

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        known: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        density: Tensor | None = None,
    ) -> Tensor:
        """Denoise pictures.

        Args:
            x: float (batch, c, height, width), the noisy pictures.
            sigma: float (batch,), above 0.
            known: float like x, clean pictures.
            mask: bool (batch, 1, height, width), True = composed; None, as `known`: everything is.
            density: float (batch,), onsets per masked bar; NaN or None = unknown.

        Returns:
            float like x.

        Raises:
            OptionError: a condition was not learned.
        """
        if (known is None) != (mask is None):
            raise OptionError("known and mask belong together; give both or neither")
        if known is not None and not self.conditioned:
            raise OptionError(
                "this model was trained without known pixels; inpaint with RePaint instead"
            )

        sigma = sigma.float()
        x = x - self.centre
        levels = sigma.reshape(-1, 1, 1, 1)  # (batch, 1, 1, 1)
        c_skip, c_out, c_in = scalings(levels, self.sigma_data)
        inputs = c_in * x
        if self.conditioned:
            inputs = torch.cat((inputs, *self.shown(x, known, mask)), 1)
        output = self.network(inputs, sigma.log() / 4, self.density_input(density, x))
        return c_skip * x + c_out * output + self.centre

    def shown(self, x: Tensor, known: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """What a conditioned network sees beside the noisy picture.

        Args:
            x: float (batch, c, height, width).
            known: float like x, or None.
            mask: bool (batch, 1, height, width), or None.

        Returns:
            The known pixels about the centre, like x, 0 where they are masked; and the mask,
            float (batch, 1, height, width).
        """
        plane = x[:, :1]
        if known is None or mask is None:
            return torch.zeros_like(x), torch.ones_like(plane)
        mask = mask.expand_as(plane)
        return (known - self.centre).masked_fill(mask, 0), mask.to(x)

    def density_input(self, density: Tensor | None, x: Tensor) -> Tensor | None:
        """The density, float (batch,), as the network takes it: float (batch, 2) like x, or None.

        Raises:
            OptionError: the density was not learned.
        """
        if density is None:
            return None
        if self.network.config.mapping_cond_dim != DENSITY_INPUTS:
            raise OptionError("this model was trained without the density; leave it out")
        amount = density.nan_to_num().log1p() / 3
        return torch.stack((amount, ~density.isnan()), 1).to(x)

    # The process contract.

    def encode(self, canvas: np.ndarray) -> Tensor:
        """Pictures, uint8 (n, 128, width, 3), as pixels: float32 (n, 3, 128, width)."""
        return to_pixels(canvas)

    def decode(self, x: Tensor, canvas: np.ndarray, region: np.ndarray) -> Drawn:
        """Pixels, float (n, 3, 128, width), as music in the region; see `GaussianNoise.decode`."""
        return [clean(picture, region) for picture in to_picture(x)]

    def conditions(
        self, canvas: np.ndarray, region: np.ndarray, options: Options
    ) -> dict[str, Tensor]:
        """The density, float (n,), of pictures (n, 128, width, 3), where one is asked for."""
        if options.density is None:
            return {}
        density = torch.full((len(canvas),), float(options.density), device=self.device)
        return {"density": density}

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """A window's pixels and mask, noise and its level, and the density, half the time.

        Pixels and noise are float32 (3, 128, width), the mask bool (1, 128, width); see
        `Process.example`; `u`, `rng` and `options` are as there.
        """
        # Half the time the density is unknown.
        density = window.density if rng.random() < 0.5 else np.nan
        noise = rng.standard_normal((3, *window.mask.shape), np.float32)
        return {
            "mask": window.mask[None],
            "x0": to_pixels(window.picture),
            "noise": noise,
            "sigma": self.level_of(u, options),
            "density": np.float32(density),
        }

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """The weighted denoising error, float (batch,): of the region, where masks are learned."""
        x0 = batch["x0"]
        conditions: dict[str, Any] = {}
        if self.conditioned:
            mask = batch["mask"]
            conditions = {"region": mask, "known": x0, "mask": mask, "density": batch["density"]}
        return denoising_loss(
            forward, x0, batch["noise"], batch["sigma"], options.weighting, **conditions
        )

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs: the network's configuration, the width, the parametrisation."""
        own = {
            "sigma_data": self.sigma_data,
            "centre": self.centre,
            "conditioned": self.conditioned,
        }
        return super().spec() | own

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "Denoiser":
        """A model with fresh weights from what `spec` gave."""
        network = HDiT(HDiTConfig.from_dict(spec["network"]))
        centre = spec.get("centre", 0.0)
        return cls(network, spec["sigma_data"], spec["conditioned"], spec["width"], centre=centre)

    @classmethod
    def from_options(cls, options: Any) -> "Denoiser":
        """A model with fresh weights for a training run; OptionError for an unknown size."""
        channels = {"in_channels": 7, "mapping_cond_dim": DENSITY_INPUTS}
        local = local_head(options, usual=False, noise="linear")
        changes = channels if options.conditioned else {}
        network = sized_network(options.model, local=local, **changes)
        return cls(
            network,
            options.sigma_data,
            options.conditioned,
            options.width,
            centre=options.centre,
        )


def guided(denoiser: Denoise, x0: Tensor, mask: Tensor, guidance: float) -> Denoise:
    """A denoiser that sees the known pixels, and follows them more, or less, than it learned to.

    u + g (c - u), where u does not see them.

    Args:
        denoiser: takes `known` and `mask` among its conditions.
        x0: float (batch, c, height, width), the known pictures.
        mask: bool (batch, 1, height, width), True = composed.
        guidance: g; 1 is as learned.

    Source: classifier-free guidance (arXiv 2207.12598).
    """

    def call(x: Tensor, sigma: Tensor, **conditions: Any) -> Tensor:
        seeing = denoiser(x, sigma, known=x0, mask=mask, **conditions)
        if guidance == 1:
            return seeing
        blind = denoiser(x, sigma, **conditions)
        return blind + guidance * (seeing - blind)

    return call


def denoising_loss(
    denoiser: Denoise,
    x0: Tensor,
    noise: Tensor,
    sigma: Tensor,
    weighting: str = "soft-min-snr",
    region: Tensor | None = None,
    **conditions: Any,
) -> Tensor:
    """The weighted denoising error of each picture.

    It is the network's error, (D - x0) / c_out, squared, times one of WEIGHTINGS.

    Args:
        denoiser: (x, sigma, **conditions) -> denoised; its `sigma_data` is taken, else 0.5.
        x0: float (batch, c, height, width), clean pictures.
        noise: standard normal numbers like x0.
        sigma: float (batch,).
        weighting: one of WEIGHTINGS.
        region: bool (batch, 1, height, width), where the error is averaged; None = everywhere.
        conditions: go to the denoiser.

    Returns:
        float (batch,).

    Raises:
        OptionError: the weighting is unknown.

    Source: EDM, equation 8.
    """
    check_choice("weighting", weighting, WEIGHTINGS)
    # `module`: in a wrapper for several devices.
    sigma_data = getattr(getattr(denoiser, "module", denoiser), "sigma_data", 0.5)
    c_out = scalings(sigma, sigma_data)[1]
    weight = WEIGHTINGS[weighting](sigma, sigma_data) / c_out**2

    noisy = x0 + sigma.reshape(-1, 1, 1, 1) * noise  # (batch, c, height, width)
    denoised = denoiser(noisy, sigma, **conditions)
    error = (denoised.float() - x0).square().mean(1, keepdim=True)
    region = torch.ones_like(error, dtype=torch.bool) if region is None else region.expand_as(error)
    size = region.flatten(1).sum(1).clamp(min=1)  # (batch,)
    return weight * (error * region).flatten(1).sum(1) / size  # (batch,)


def to_pixels(picture: np.ndarray) -> Tensor:
    """Turn pictures into pixels: uint8 (..., 128, width, 3) -> float32 (..., 3, 128, width).

    255 becomes 1, 0 becomes -1.
    """
    planes = torch.from_numpy(np.ascontiguousarray(picture)).movedim(-1, -3)  # (..., 3, 128, width)
    return planes.float() / 127.5 - 1


def to_picture(x: Tensor) -> np.ndarray:
    """The inverse of `to_pixels`, clipped.

    float (..., 3, 128, width) -> uint8 (..., 128, width, 3).
    """
    levels = ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.movedim(-3, -1).cpu().numpy()  # (..., 128, width, 3)


def clean(picture: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Make music of a generated picture inside the mask.

    Red or green above INK_THRESHOLD is ink, and the stronger counts. A run of green that no red
    pixel begins is no note: all of it is cleared. Chord rows take the palette's colours.

    Args:
        picture: uint8 (128, width, 3).
        mask: bool (128, width), True = made music.

    Returns:
        uint8 (128, width, 3), and how many inked pixels were cleared.
    """
    spans = read_spans(picture, threshold=INK_THRESHOLD)
    tidy = draw_spans(spans.onset, spans.sustain, spans.velocity)
    paint_chords(tidy, read_chords(picture))

    ink = (picture[..., :2] > INK_THRESHOLD).any(axis=2)
    stray = ink & ~(spans.onset | spans.sustain) & mask
    cleared = int(stray[BORDER:-BORDER].sum())
    return np.where(mask[..., None], tidy, picture), cleared
