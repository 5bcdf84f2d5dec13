"""The paper's process: Gaussian noise on pixels (Karras et al. 2022, "EDM", arXiv 2206.00364), and RePaint.
A denoiser is any callable `denoiser(x, sigma, **conditions) -> denoised`: x float (batch, channels, height, width) with noise
of standard deviation sigma (batch,), denoised its best guess of the clean picture. It is k-diffusion's contract, so every
sampler here and there runs on every denoiser."""

import math
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import OptionError, check_choice, check_range
from ..networks.hdit import HDiT
from . import kdiffusion

Denoise = Callable[..., Tensor]
Sampler = Callable[..., Tensor]
Callback = Callable[[dict[str, Any]], None]


def scalings(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor]:
    """EDM's c_skip, c_out and c_in (Table 1), each like sigma."""
    total = sigma**2 + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data / total.sqrt(), total.rsqrt()


class Denoiser(nn.Module):
    """A network with EDM's preconditioning (Table 1): D(x; sigma) = c_skip x + c_out F(c_in x; c_noise). It meets pixels as
    differences from `centre` (most of music is black, -1); sigma_data is their spread about it. `conditioned`: it also sees the
    known picture with the masked pixels set to 0, and the mask (0 or 1): 7 input channels for RGB."""

    process = "edm"

    def __init__(
        self,
        network: HDiT,
        sigma_data: float = 0.5,
        conditioned: bool = False,
        width: int = 512,
        centre: float = 0.0,
    ) -> None:
        super().__init__()
        inputs, outputs = network.config.in_channels, network.config.out_channels
        if inputs != (wanted := 2 * outputs + 1 if conditioned else outputs):
            raise OptionError(
                f"conditioned={conditioned} needs {wanted} input channels for {outputs} of output, not {inputs}."
            )
        check_range("sigma_data, the data's standard deviation,", sigma_data, 1e-6, 1e6)
        self.network, self.sigma_data, self.centre = network, sigma_data, centre
        self.conditioned, self.width, self.span = (
            conditioned,
            width,
            max(width, network.config.span),
        )
        self.card: dict[str, Any] = {}

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        known: Tensor | None = None,
        mask: Tensor | None = None,
        density: Tensor | None = None,
    ) -> Tensor:
        """The denoised pictures, float (batch, c, height, width), like x, the noisy ones; sigma: float (batch,), above 0.
        known: clean pictures like x, mask: bool (batch, 1, height, width), True = to be composed; both None = everything is.
        density: float (batch,), onsets per masked bar, NaN or None = unknown. OptionError for conditions not learned."""
        if (known is None) != (mask is None):
            raise OptionError("known and mask belong together; give both or neither.")
        sigma, x = sigma.float(), x - self.centre
        c_skip, c_out, c_in = scalings(sigma.reshape(-1, 1, 1, 1), self.sigma_data)
        inputs = c_in * x
        if self.conditioned:
            mask = (
                torch.ones_like(x[:, :1], dtype=torch.bool)
                if mask is None
                else mask.expand_as(x[:, :1])
            )
            shown = (
                torch.zeros_like(x) if known is None else (known - self.centre).masked_fill(mask, 0)
            )
            inputs = torch.cat((inputs, shown, mask.to(x)), 1)  # (batch, 2 c + 1, height, width)
        elif known is not None:
            raise OptionError(
                "This model was trained without known pixels; inpaint with RePaint instead."
            )
        if density is not None:
            if self.network.config.mapping_cond_dim != 2:
                raise OptionError("This model was trained without the density; leave it out.")
            density = torch.stack((density.nan_to_num().log1p() / 3, ~density.isnan()), 1).to(
                x
            )  # (batch, 2)
        return c_skip * x + c_out * self.network(inputs, sigma.log() / 4, density) + self.centre


# Weights on the network's squared error in training. A weight of 1 there is EDM's lambda on the denoised picture,
# (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 = 1 / c_out^2; hence its two names.
WEIGHTINGS: dict[str, Callable[[Tensor, float], Tensor]] = {
    **dict.fromkeys(("edm", "unit"), lambda sigma, sigma_data: torch.ones_like(sigma)),
    "snr": lambda sigma, sigma_data: sigma_data**2 / (sigma**2 + sigma_data**2),
    "soft-min-snr": lambda sigma, sigma_data: (
        (sigma * sigma_data / (sigma**2 + sigma_data**2)) ** 2
    ),
}


def denoising_loss(
    denoiser: Denoise,
    x0: Tensor,
    noise: Tensor,
    sigma: Tensor,
    weighting: str = "soft-min-snr",
    region: Tensor | None = None,
    **conditions: Any,
) -> Tensor:
    """The weighted denoising error of each picture, float (batch,) (EDM, equation 8). x0, noise: float (batch, c, height,
    width), clean pictures and standard normal numbers; sigma: float (batch,); region: bool (batch, 1, height, width), where it
    is averaged, None = all. It is the network's error, (D - x0) / c_out, squared and times one of WEIGHTINGS (OptionError)."""
    check_choice("weighting", weighting, WEIGHTINGS)
    sigma_data = getattr(
        getattr(denoiser, "module", denoiser), "sigma_data", 0.5
    )  # module: in a wrapper for several GPUs
    weight = WEIGHTINGS[weighting](sigma, sigma_data) / scalings(sigma, sigma_data)[1] ** 2
    denoised = denoiser(x0 + sigma.reshape(-1, 1, 1, 1) * noise, sigma, **conditions)
    error = (denoised.float() - x0).square().mean(1, keepdim=True)  # (batch, 1, height, width)
    region = torch.ones_like(error, dtype=torch.bool) if region is None else region.expand_as(error)
    return weight * (error * region).flatten(1).sum(1) / region.flatten(1).sum(1).clamp(min=1)


def lognormal(u: Tensor, P_mean: float = -1.2, P_std: float = 1.2) -> Tensor:
    """ln(sigma) is normal (EDM, Table 1)."""
    return (P_mean + P_std * torch.special.ndtri(u)).exp()


def loguniform(u: Tensor, sigma_min: float = 0.01, sigma_max: float = 80.0) -> Tensor:
    """ln(sigma) is uniform."""
    return sigma_min * (sigma_max / sigma_min) ** u


def cosine_interpolated(
    u: Tensor,
    image_d: float = 256,
    noise_d_low: float = 32,
    noise_d_high: float = 256,
    sigma_data: float = 0.5,
    sigma_min: float = 1e-3,
    sigma_max: float = 1e3,
) -> Tensor:
    """From one shifted cosine schedule to another, for pictures `image_d` wide ("simple diffusion", arXiv 2301.11093, 2.3)."""

    def log_snr(
        noise_d: float,
    ) -> Tensor:  # shifted to a width of noise_d: snr = ratio^2 / tan(angle)^2
        ratio = noise_d / image_d
        low, high = (math.atan(sigma / sigma_data * ratio) for sigma in (sigma_min, sigma_max))
        return -2 * (low + u * (high - low)).tan().log() + 2 * math.log(ratio)

    return (
        sigma_data * (-torch.lerp(log_snr(noise_d_high), log_snr(noise_d_low), u) / 2).exp()
    )  # low noise first, then high


# A density of noise levels is its quantile function: uniform numbers in, sigmas out.
DENSITIES = {
    "lognormal": lognormal,
    "loguniform": loguniform,
    "cosine-interpolated": cosine_interpolated,
}


def sample_sigma(
    kind: str, n: int | Tensor, generator: torch.Generator | None = None, **named: float
) -> Tensor:
    """Training noise levels, float (n,), of one of DENSITIES, "KIND" or "KIND:a,b"; n: how many, one from each n-th part of it,
    ascending, or their quantiles, uniform numbers in [0, 1). OptionError for unknown kinds or parameters."""
    kind, _, numbers = kind.partition(":")
    check_choice("density", kind, DENSITIES)
    u = (
        n
        if isinstance(n, Tensor)
        else (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
    )
    try:
        parameters = map(float, numbers.split(",") if numbers else ())
        return DENSITIES[kind](u.clamp(1e-7, 1 - 1e-7), *parameters, **named).float()
    except (TypeError, ValueError) as error:
        raise OptionError(f"density {kind!r}: {error}.") from error


def karras_sigmas(
    n: int, sigma_min: float = 0.01, sigma_max: float = 80.0, rho: float = 7.0
) -> Tensor:
    """The noise levels of n steps, float (n + 1,): sigma_max down to sigma_min, then 0 (EDM, equation 5)."""
    if n < 1 or not 0 < sigma_min <= sigma_max:
        raise OptionError(
            f"{n} steps from sigma {sigma_max} to {sigma_min}; give 1 or more and 0 < sigma_min <= sigma_max."
        )
    ramp = (
        torch.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), n, dtype=torch.float64)
        ** rho
    )
    return torch.cat((ramp, ramp.new_zeros(1))).float()


def draw(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal numbers like a tensor, drawn where the generator lives (a CPU's also serves a GPU)."""
    device = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(
        like.device
    )


@torch.no_grad()
def sample_heun(
    denoiser: Denoise,
    x: Tensor,
    sigmas: Tensor,
    callback: Callback | None = None,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    second_order: bool = True,
    generator: torch.Generator | None = None,
    **conditions: Any,
) -> Tensor:
    """Heun's method, two calls a step (EDM, Algorithm 2): x at sigmas[-1], float like x.
    x: float (batch, c, height, width) at noise level sigmas[0]; sigmas: float (n + 1,), falling; callback({"i", "sigma", "x",
    "denoised"}) at each step; conditions go to the denoiser. s_churn > 0 adds noise at the levels from s_tmin to s_tmax and
    takes it away again, from `generator`: more variety. Without the correction (`second_order`) it is Euler's method."""
    n = len(sigmas) - 1
    for i, (sigma, after) in enumerate(pairwise(sigmas)):
        if s_churn > 0 and s_tmin <= sigma <= s_tmax:
            sigma = sigma * (1 + min(s_churn / n, math.sqrt(2) - 1))
            x = x + (sigma**2 - sigmas[i] ** 2).sqrt() * s_noise * draw(x, generator)
        denoised = denoiser(x, sigma.expand(len(x)), **conditions)
        if callback is not None:
            callback({"i": i, "sigma": sigma, "x": x, "denoised": denoised})
        slope = (x - denoised) / sigma
        x_next = x + (after - sigma) * slope
        if second_order and after > 0:
            slope_next = (x_next - denoiser(x_next, after.expand(len(x)), **conditions)) / after
            x_next = x + (after - sigma) * (slope + slope_next) / 2
        x = x_next
    return x


@torch.no_grad()
def sample_dpmpp_2m_sde(
    denoiser: Denoise,
    x: Tensor,
    sigmas: Tensor,
    callback: Callback | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    noise_sampler: Sampler | None = None,
    generator: torch.Generator | None = None,
    **conditions: Any,
) -> Tensor:
    """DPM-Solver++(2M) for the SDE, midpoint form, one call a step (arXiv 2211.01095); as `sample_heun`, and eta: share of
    fresh noise, 0 = the deterministic 2M (Algorithm 2); noise_sampler(sigma, sigma_next): draws it, by default `generator`."""
    previous, h_previous = None, sigmas.new_zeros(())
    for i, (sigma, after) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma.expand(len(x)), **conditions)
        if callback is not None:
            callback({"i": i, "sigma": sigma, "x": x, "denoised": denoised})
        ratio = after / sigma
        decay, h = (
            ratio ** (1 + eta),
            -ratio.log(),
        )  # h: the step in -ln(sigma), infinite where it ends at 0
        guess = denoised
        if previous is not None and after > 0:
            guess = denoised + (denoised - previous) * h / (2 * h_previous)
        x = decay * x + (1 - decay) * guess
        if eta and after > 0:
            fresh = draw(x, generator) if noise_sampler is None else noise_sampler(sigma, after)
            x = x + after * (1 - ratio ** (2 * eta)).sqrt() * s_noise * fresh
        previous, h_previous = denoised, h
    return x


sample_euler = partial(
    sample_heun, second_order=False
)  # one call a step: EDM's Algorithm 2 without the correction
sample_dpmpp_2m = partial(sample_dpmpp_2m_sde, eta=0.0)  # it has no use for `generator`
SAMPLERS: dict[str, Sampler] = {
    "euler": sample_euler,
    "heun": sample_heun,
    "dpmpp_2m": sample_dpmpp_2m,
    "dpmpp_2m_sde": sample_dpmpp_2m_sde,
}


def get_sampler(name: str) -> Sampler:
    """A sampler by name: one of SAMPLERS, or "k_diffusion:NAME" for k-diffusion's; else OptionError."""
    if name.startswith("k_diffusion:"):
        return kdiffusion.sampler(name.removeprefix("k_diffusion:"))
    check_choice("sampler", name, (*SAMPLERS, "k_diffusion:NAME"))
    return SAMPLERS[name]


def repaint_schedule(n: int, U: int = 1, jump: int = 1) -> list[int]:
    """The walk over the noise levels 0 (all noise) to n (clean): a plain list of level indices. Each block of `jump` levels is
    walked U times, by U - 1 jumps back, but none from the clean picture (arXiv 2201.09865, Algorithm 1): blocks end at level n
    - 1, the first may be shorter, the last step is taken once. So it has U (n - 1) + 1 steps, whatever `jump`. OptionError."""
    if min(n, U, jump) < 1:
        raise OptionError(f"{n} steps, U={U}, jump={jump}; give whole numbers above 0.")
    path, start = [0], 0
    for end in range((n - 2) % jump + 1, n, jump):  # the last level of each block
        path += list(range(start + 1, end + 1)) + list(range(start, end + 1)) * (U - 1)
        start = end
    return [*path, n]


@torch.no_grad()
def repaint(
    denoiser: Denoise,
    x0: Tensor,
    mask: Tensor,
    sigmas: Tensor,
    /,
    U: int = 1,
    jump: int = 1,
    sampler: str | Sampler = "dpmpp_2m",
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    **conditions: Any,
) -> Tensor:
    """RePaint (arXiv 2201.09865, Algorithm 1) in sigma space: pictures like x0, equal to it outside the mask.
    x0: float (batch, c, height, width); mask: bool, broadcastable to it, True = compose; sigmas: float (n + 1,), the last 0; U,
    jump: see `repaint_schedule`; sampler: a name or a function with that contract (so options go in by functools.partial);
    callback({"i", "n", "sigma", "x", "denoised"}): i counts the n steps of the whole walk; conditions go to the denoiser."""
    if not mask.any():
        return x0.clone()
    run = get_sampler(sampler) if isinstance(sampler, str) else sampler
    mask = mask.expand_as(x0)
    path = repaint_schedule(len(sigmas) - 1, U, jump)
    backs = [i for i, (level, after) in enumerate(pairwise(path), 1) if after < level]
    walks = [
        path[a:b] for a, b in pairwise([0, *backs, len(path)])
    ]  # what falls between the jumps back
    steps, done = len(path) - len(walks), count()

    def clamped(x: Tensor, sigma: Tensor, **conditions: Any) -> Tensor:
        """The denoiser, with the known pixels put back at the same noise level before and clean after."""
        x = torch.where(mask, x, x0 + sigma.reshape(-1, 1, 1, 1) * draw(x, generator))
        return torch.where(mask, denoiser(x, sigma, **conditions), x0)

    step = (
        None if callback is None else lambda event: callback(event | {"i": next(done), "n": steps})
    )
    x, level = torch.where(mask, 0, x0) + sigmas[0] * draw(x0, generator), 0
    for start, *_, end in walks:
        if start < level:  # jump back, from the noise level reached to that of `start`
            x = x + (sigmas[start] ** 2 - sigmas[level] ** 2).sqrt() * draw(x, generator)
        x, level = (
            run(
                clamped,
                x,
                sigmas[start : end + 1],
                callback=step,
                generator=generator,
                **conditions,
            ),
            end,
        )
    return torch.where(mask, x, x0)
