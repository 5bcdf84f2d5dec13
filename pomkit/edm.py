"""The paper's process: Gaussian noise on pixels (Karras et al. 2022, "EDM", arXiv 2206.00364), and RePaint.

A denoiser is any callable `denoiser(x, sigma, **conditions) -> denoised`: x float (batch, channels, height,
width) with noise of standard deviation sigma (batch,), denoised its best guess of the clean picture. It is
k-diffusion's contract, so every sampler here and there runs on every denoiser.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .errors import OptionError
from .model import HDiT

Denoise = Callable[..., Tensor]
Sampler = Callable[..., Tensor]
Callback = Callable[[dict[str, Any]], None]


def per_picture(values: Tensor) -> Tensor:
    """(batch,) -> (batch, 1, 1, 1)."""
    return values.reshape(-1, 1, 1, 1)


class Denoiser(nn.Module):
    """A network with EDM's preconditioning (Table 1): D(x; sigma) = c_skip x + c_out F(c_in x; c_noise).

    With `conditioned` the network also sees the known pixels: its input is the noisy picture (c channels),
    the known picture with the masked pixels set to 0 (c), and the mask as 0 or 1 (1), so 7 channels for RGB.
    """

    process = "edm"

    def __init__(self, network: HDiT, sigma_data: float = 0.5, conditioned: bool = False,
                 width: int = 512) -> None:
        super().__init__()
        inputs, outputs = network.config.in_channels, network.config.out_channels
        wanted = 2 * outputs + 1 if conditioned else outputs
        if inputs != wanted:
            raise OptionError(f"conditioned={conditioned} with {outputs} output channels needs {wanted} "
                              f"input channels; the network has {inputs}.")
        if not sigma_data > 0:
            raise OptionError(f"sigma_data is {sigma_data}; give the data's standard deviation, above 0.")
        self.network, self.sigma_data, self.conditioned, self.width = network, sigma_data, conditioned, width
        self.card: dict[str, Any] = {}

    def forward(self, x: Tensor, sigma: Tensor, known: Tensor | None = None, mask: Tensor | None = None,
                density: Tensor | None = None) -> Tensor:
        """The denoised pictures, float (batch, c, height, width), the shape of x.

        x: noisy pictures; sigma: float (batch,), above 0. known: clean pictures like x, mask: bool (batch, 1,
        height, width), True = to be composed; both None = everything is. density: float (batch,), onsets per
        masked bar, NaN = unknown, None = unknown for all. OptionError for conditions that the network was not
        trained with.
        """
        sigma = sigma.float()
        c_skip, c_out, c_in = scalings(sigma, self.sigma_data)
        inputs = per_picture(c_in) * x
        if (known is None) != (mask is None):
            raise OptionError("known and mask belong together; give both or neither.")
        if self.conditioned:
            if known is None or mask is None:
                known, mask = torch.zeros_like(x), torch.ones_like(x[:, :1], dtype=torch.bool)
            mask = mask.expand_as(x[:, :1])
            inputs = torch.cat((inputs, known.masked_fill(mask, 0), mask.to(x)), 1)  # (batch, 2 c + 1, h, w)
        elif known is not None:
            raise OptionError("This model was trained without known pixels; inpaint with RePaint instead.")
        output = self.network(inputs, sigma.log() / 4, self.density_condition(density, x))
        return per_picture(c_skip) * x + per_picture(c_out) * output

    def density_condition(self, density: Tensor | None, x: Tensor) -> Tensor | None:
        """What the network is told of the density: float (batch, 2), ln(1 + density) / 3 or 0; 1 if known."""
        if density is None:
            return None
        if self.network.config.mapping_cond_dim != 2:
            raise OptionError("This model was trained without the density; leave it out.")
        known = ~density.isnan()
        return torch.stack((torch.where(known, density, 0).log1p() / 3, known), 1).to(x)  # (batch, 2)


def scalings(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor]:
    """EDM's c_skip, c_out and c_in (Table 1), each like sigma."""
    total = sigma**2 + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data / total.sqrt(), total.rsqrt()


# Training

# Weights on the network's squared error. A weight of 1 there is EDM's lambda on the denoised picture,
# (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 = 1 / c_out^2; hence its two names.
WEIGHTINGS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "edm": lambda sigma, sigma_data: torch.ones_like(sigma),
    "unit": lambda sigma, sigma_data: torch.ones_like(sigma),
    "snr": lambda sigma, sigma_data: sigma_data**2 / (sigma**2 + sigma_data**2),
    "soft-min-snr": lambda sigma, sigma_data: (sigma * sigma_data / (sigma**2 + sigma_data**2)) ** 2,
}


def denoising_loss(denoiser: Denoise, x0: Tensor, noise: Tensor, sigma: Tensor,
                   weighting: str = "soft-min-snr", region: Tensor | None = None,
                   **conditions: Any) -> Tensor:
    """The weighted denoising error of each picture, float (batch,) (EDM, equation 8).

    x0, noise: float (batch, c, height, width), clean pictures and standard normal numbers; sigma: float
    (batch,); region: bool (batch, 1, height, width), where the error is averaged, None = everywhere. The
    error is the network's, (D - x0) / c_out, squared and times one of WEIGHTINGS; OptionError for another.
    """
    if weighting not in WEIGHTINGS:
        raise OptionError(f"weighting {weighting!r} does not exist; choose one of {', '.join(WEIGHTINGS)}.")
    inner = getattr(denoiser, "module", denoiser)  # out of a wrapper for several GPUs
    sigma_data = getattr(inner, "sigma_data", 0.5)
    weight = WEIGHTINGS[weighting](sigma, sigma_data) / scalings(sigma, sigma_data)[1] ** 2
    denoised = denoiser(x0 + per_picture(sigma) * noise, sigma, **conditions)
    error = (denoised.float() - x0).square().mean(1, keepdim=True)  # (batch, 1, height, width)
    region = torch.ones_like(error, dtype=torch.bool) if region is None else region.expand_as(error)
    return weight * (error * region).flatten(1).sum(1) / region.flatten(1).sum(1).clamp(min=1)


def lognormal(u: Tensor, P_mean: float = -1.2, P_std: float = 1.2) -> Tensor:
    """ln(sigma) is normal (EDM, Table 1)."""
    return (P_mean + P_std * torch.special.ndtri(u)).exp()


def loguniform(u: Tensor, sigma_min: float = 0.01, sigma_max: float = 80.0) -> Tensor:
    """ln(sigma) is uniform."""
    return sigma_min * (sigma_max / sigma_min) ** u


def cosine_interpolated(u: Tensor, image_d: float = 256, noise_d_low: float = 32, noise_d_high: float = 256,
                        sigma_data: float = 0.5, sigma_min: float = 1e-3, sigma_max: float = 1e3) -> Tensor:
    """The shifted cosine schedules of "simple diffusion" (arXiv 2301.11093, section 2.3), interpolated.

    For pictures `image_d` wide: the schedule shifted to a width of `noise_d_high` at the low noise levels, to
    one of `noise_d_low` at the high ones.
    """
    def log_snr(noise_d: float) -> Tensor:  # the cosine schedule's snr is 1 / tan(angle)^2; shift: ratio^2
        ratio = noise_d / image_d
        low, high = (math.atan(sigma / sigma_data * ratio) for sigma in (sigma_min, sigma_max))
        return -2 * (low + u * (high - low)).tan().log() + 2 * math.log(ratio)

    return sigma_data * (-torch.lerp(log_snr(noise_d_high), log_snr(noise_d_low), u) / 2).exp()


# A density of noise levels is its quantile function: uniform numbers in, sigmas out.
DENSITIES: dict[str, Callable[..., Tensor]] = {
    "lognormal": lognormal, "loguniform": loguniform, "cosine-interpolated": cosine_interpolated}


def sample_sigma(kind: str, n: int, generator: torch.Generator | None = None, *parameters: float,
                 **named: float) -> Tensor:
    """n noise levels for training, float (n,), drawn from one of DENSITIES with its parameters.

    Stratified, one from each n-th part of the distribution, so that the loss of a batch varies less;
    ascending. OptionError for another kind or parameters that it has not.
    """
    if kind not in DENSITIES:
        raise OptionError(f"density {kind!r} does not exist; choose one of {', '.join(DENSITIES)}.")
    u = (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n  # (n,) in [0, 1)
    try:
        return DENSITIES[kind](u.clamp(1e-7, 1 - 1e-7), *parameters, **named).float()
    except TypeError as error:
        raise OptionError(f"density {kind!r}: {error}.") from error


# Sampling

def karras_sigmas(n: int, sigma_min: float = 0.01, sigma_max: float = 80.0, rho: float = 7.0) -> Tensor:
    """The noise levels of n steps, float (n + 1,): sigma_max down to sigma_min, then 0 (EDM, equation 5)."""
    if n < 1 or not 0 < sigma_min <= sigma_max:
        raise OptionError(f"{n} steps from sigma {sigma_max} to {sigma_min}; give 1 step or more, and "
                          "0 < sigma_min <= sigma_max.")
    ramp = torch.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), n, dtype=torch.float64) ** rho
    return torch.cat((ramp, ramp.new_zeros(1))).float()


def draw(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers like a tensor, drawn where the generator lives (a CPU's also serves a GPU)."""
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def report(callback: Callback | None, i: int, sigma: Tensor, x: Tensor, denoised: Tensor) -> None:
    """Tell the callback, where there is one, of a step."""
    if callback is not None:
        callback({"i": i, "sigma": sigma, "x": x, "denoised": denoised})


@torch.no_grad()
def sample_heun(denoiser: Denoise, x: Tensor, sigmas: Tensor, callback: Callback | None = None, *,
                s_churn: float = 0.0, s_tmin: float = 0.0, s_tmax: float = math.inf, s_noise: float = 1.0,
                second_order: bool = True, generator: torch.Generator | None = None,
                **conditions: Any) -> Tensor:
    """Heun's method, two calls a step (EDM, Algorithm 2): x at sigmas[-1], float like x.

    x: float (batch, c, height, width) at noise level sigmas[0]; sigmas: float (n + 1,), falling;
    callback({"i", "sigma", "x", "denoised"}) at each step; conditions go to the denoiser. s_churn > 0 adds
    noise at the levels from s_tmin to s_tmax and takes it away again, from `generator`: more variety.
    """
    n = len(sigmas) - 1
    for i in range(n):
        sigma, after = sigmas[i], sigmas[i + 1]
        if s_churn > 0 and s_tmin <= sigma <= s_tmax:
            sigma = sigma * (1 + min(s_churn / n, math.sqrt(2) - 1))
            x = x + (sigma**2 - sigmas[i] ** 2).sqrt() * s_noise * draw(x, generator)
        denoised = denoiser(x, sigma.expand(len(x)), **conditions)
        report(callback, i, sigma, x, denoised)
        slope = (x - denoised) / sigma
        x_next = x + (after - sigma) * slope
        if second_order and after > 0:
            slope_next = (x_next - denoiser(x_next, after.expand(len(x)), **conditions)) / after
            x_next = x + (after - sigma) * (slope + slope_next) / 2
        x = x_next
    return x


def sample_euler(denoiser: Denoise, x: Tensor, sigmas: Tensor, callback: Callback | None = None,
                 **options: Any) -> Tensor:
    """Euler's method, one call a step: EDM's Algorithm 2 without the correction; options as `sample_heun`."""
    return sample_heun(denoiser, x, sigmas, callback, second_order=False, **options)


@torch.no_grad()
def sample_dpmpp_2m_sde(denoiser: Denoise, x: Tensor, sigmas: Tensor, callback: Callback | None = None, *,
                        eta: float = 1.0, s_noise: float = 1.0,
                        noise_sampler: Callable[[Tensor, Tensor], Tensor] | None = None,
                        generator: torch.Generator | None = None, **conditions: Any) -> Tensor:
    """DPM-Solver++(2M) for the SDE, midpoint form, one call a step (arXiv 2211.01095): x at sigmas[-1].

    Arguments as in `sample_heun`; eta: share of fresh noise, 0 = the deterministic 2M; noise_sampler(sigma,
    sigma_next): where its standard normal numbers come from, by default `generator`.
    """
    previous: Tensor | None = None
    h_previous = sigmas.new_zeros(())
    for i in range(len(sigmas) - 1):
        sigma, after = sigmas[i], sigmas[i + 1]
        denoised = denoiser(x, sigma.expand(len(x)), **conditions)
        report(callback, i, sigma, x, denoised)
        ratio = after / sigma
        decay, h = ratio ** (1 + eta), -ratio.log()  # h: the step in -ln(sigma), infinite where it ends at 0
        guess = denoised
        if previous is not None and after > 0:
            guess = denoised + (denoised - previous) * h / (2 * h_previous)
        x = decay * x + (1 - decay) * guess
        if eta and after > 0:
            fresh = draw(x, generator) if noise_sampler is None else noise_sampler(sigma, after)
            x = x + after * (1 - ratio ** (2 * eta)).sqrt() * s_noise * fresh
        previous, h_previous = denoised, h
    return x


def sample_dpmpp_2m(denoiser: Denoise, x: Tensor, sigmas: Tensor, callback: Callback | None = None, *,
                    generator: torch.Generator | None = None, **conditions: Any) -> Tensor:
    """DPM-Solver++(2M), one call a step (arXiv 2211.01095, Algorithm 2); it has no use for `generator`."""
    return sample_dpmpp_2m_sde(denoiser, x, sigmas, callback, eta=0.0, **conditions)


SAMPLERS: dict[str, Sampler] = {
    "euler": sample_euler, "heun": sample_heun,
    "dpmpp_2m": sample_dpmpp_2m, "dpmpp_2m_sde": sample_dpmpp_2m_sde}


def get_sampler(name: str) -> Sampler:
    """A sampler by name: one of SAMPLERS, or "k_diffusion:NAME" for k-diffusion's; else OptionError."""
    if name.startswith("k_diffusion:"):
        from . import kdiffusion

        return kdiffusion.sampler(name.removeprefix("k_diffusion:"))
    if name not in SAMPLERS:
        raise OptionError(f"sampler {name!r} does not exist; choose one of {', '.join(SAMPLERS)}, or "
                          "k_diffusion:NAME.")
    return SAMPLERS[name]


# RePaint

def repaint_schedule(n: int, U: int = 1, jump: int = 1) -> list[int]:
    """The walk over the noise levels 0 (all noise) to n (clean): a plain list of level indices.

    Each block of `jump` levels is walked U times, by U - 1 jumps back. As in the paper (Lugmayr et al.
    2022, arXiv 2201.09865, Algorithm 1: "u < U and t > 1") nothing jumps back from the clean picture: the
    blocks end at level n - 1, the first may be shorter, and the last step is taken once. So the steps are
    U (n - 1) + 1, whatever `jump`. OptionError for numbers below 1.
    """
    if min(n, U, jump) < 1:
        raise OptionError(f"{n} steps, U={U}, jump={jump}; give whole numbers above 0.")
    path, start = [0], 0
    for end in range((n - 2) % jump + 1, n, jump):  # the last level of each block
        path += list(range(start + 1, end + 1)) + list(range(start, end + 1)) * (U - 1)
        start = end
    return [*path, n]


def descents(path: list[int]) -> list[tuple[int, int]]:
    """The (first, last) levels of the falling stretches between a path's jumps back."""
    turns = [i for i in range(1, len(path)) if path[i] < path[i - 1]]
    return [(path[a], path[b - 1]) for a, b in zip([0, *turns], [*turns, len(path)], strict=True)]


@torch.no_grad()
def repaint(denoiser: Denoise, x0: Tensor, mask: Tensor, sigmas: Tensor, /, U: int = 1, jump: int = 1,
            sampler: str | Sampler = "dpmpp_2m", generator: torch.Generator | None = None,
            callback: Callback | None = None, **conditions: Any) -> Tensor:
    """RePaint (arXiv 2201.09865, Algorithm 1) in sigma space: pictures like x0, equal to it outside the mask.

    x0: float (batch, c, height, width); mask: bool, broadcastable to it, True = compose; sigmas: float
    (n + 1,), the last one 0; U, jump: see `repaint_schedule`; sampler: a name or a function with that
    contract (so options go in by functools.partial); callback({"i", "n", "sigma", "x", "denoised"}): i
    counts the steps of the whole walk, n is their number; conditions go to the denoiser.
    """
    if not mask.any():
        return x0.clone()
    run = get_sampler(sampler) if isinstance(sampler, str) else sampler
    mask = mask.expand_as(x0)

    walks = descents(repaint_schedule(len(sigmas) - 1, U, jump))
    steps, done = sum(end - start for start, end in walks), itertools.count()

    def clamped(x: Tensor, sigma: Tensor, **conditions: Any) -> Tensor:
        """The denoiser, with the known pixels put back at the same noise level before and clean after."""
        x = torch.where(mask, x, x0 + per_picture(sigma) * draw(x, generator))
        return torch.where(mask, denoiser(x, sigma, **conditions), x0)

    def step(event: dict[str, Any]) -> None:
        if callback is not None:
            callback(event | {"i": next(done), "n": steps})

    x, level = torch.where(mask, 0, x0) + sigmas[0] * draw(x0, generator), 0
    for start, end in walks:
        if start < level:  # jump back, from the noise level reached to that of `start`
            x = x + (sigmas[start] ** 2 - sigmas[level] ** 2).sqrt() * draw(x, generator)
        x = run(clamped, x, sigmas[start:end + 1], callback=step, generator=generator, **conditions)
        level = end
    return torch.where(mask, x, x0)
