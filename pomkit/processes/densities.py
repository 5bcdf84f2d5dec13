"""Noise in training: how often each level is drawn, and what an error there weighs.

sample_sigma("lognormal:-0.6,1.3", 16)         # float (16,), ascending
"""

import inspect
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import OptionError, check_choice

# The weight of the network's squared error. A weight of 1 there is EDM's lambda on the denoised
# picture, (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 = 1 / c_out^2; hence its two names.
WEIGHTINGS: dict[str, Callable[[Tensor, float], Tensor]] = {
    **dict.fromkeys(("edm", "unit"), lambda sigma, sigma_data: torch.ones_like(sigma)),
    "snr": lambda sigma, sigma_data: sigma_data**2 / (sigma**2 + sigma_data**2),
    "soft-min-snr": lambda sigma, sigma_data: (
        (sigma * sigma_data / (sigma**2 + sigma_data**2)) ** 2
    ),
}


def lognormal(u: Tensor, P_mean: float = -1.2, P_std: float = 1.2) -> Tensor:
    """Levels whose logarithm is normal, float like u (EDM, arXiv 2206.00364, Table 1)."""
    return (P_mean + P_std * torch.special.ndtri(u)).exp()


def loguniform(u: Tensor, sigma_min: float = 0.01, sigma_max: float = 80.0) -> Tensor:
    """Levels whose logarithm is uniform, float like u."""
    return sigma_min * (sigma_max / sigma_min) ** u


def cosine_interpolated(
    u: Tensor,
    image_d: float = 256,
    noise_d_low: float = 32,
    noise_d_high: float = 256,
    *,
    sigma_data: float = 0.5,
    sigma_min: float = 1e-3,
    sigma_max: float = 1e3,
) -> Tensor:
    """Levels from one shifted cosine schedule to another.

    Args:
        u: float, quantiles in (0, 1).
        image_d: the pictures' width.
        noise_d_low: the width that the schedule of high noise is shifted to.
        noise_d_high: the width that the schedule of low noise is shifted to.
        sigma_data: the data's standard deviation.
        sigma_min: the lowest level.
        sigma_max: the highest level.

    Returns:
        float like u.

    Source: "simple diffusion" (arXiv 2301.11093), section 2.3.
    """

    def log_snr(noise_d: float) -> Tensor:
        # Shifted to a width of noise_d: snr = ratio^2 / tan(angle)^2.
        ratio = noise_d / image_d
        low = math.atan(sigma_min / sigma_data * ratio)
        high = math.atan(sigma_max / sigma_data * ratio)
        return -2 * (low + u * (high - low)).tan().log() + 2 * math.log(ratio)

    # Low noise first, then high.
    mixed = torch.lerp(log_snr(noise_d_high), log_snr(noise_d_low), u)
    return sigma_data * (-mixed / 2).exp()


# A density of noise levels is its quantile function: uniform numbers in, sigmas out.
DENSITIES: dict[str, Callable[..., Tensor]] = {
    "lognormal": lognormal,
    "loguniform": loguniform,
    "cosine-interpolated": cosine_interpolated,
}


def sample_sigma(
    kind: str, n: int | Tensor, generator: torch.Generator | None = None, **named: float
) -> Tensor:
    """Draw the noise levels of a batch.

    Args:
        kind: one of DENSITIES, "KIND" or "KIND:a,b" with its parameters.
        n: how many: one from each n-th part of the density, ascending; or their quantiles, a
            tensor of uniform numbers in [0, 1).
        generator: of the random numbers.
        named: parameters of the density by name.

    Returns:
        float (n,).

    Raises:
        OptionError: the density or a parameter is unknown.
    """
    kind, _, numbers = kind.partition(":")
    check_choice("density of sigma", kind, DENSITIES)
    u = n if isinstance(n, Tensor) else spread_quantiles(n, generator)
    try:
        parameters = parameters_of(kind, numbers) | named
        return DENSITIES[kind](u.clamp(1e-7, 1 - 1e-7), **parameters).float()
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"density of sigma {kind!r} with {numbers or named}: {error}; give numbers, as in "
            "lognormal:-0.6,1.3"
        ) from error


def parameters_of(kind: str, numbers: str) -> dict[str, float]:
    """The numbers after "KIND:" by the names of the density's parameters; ValueError."""
    names = list(inspect.signature(DENSITIES[kind]).parameters)[1:]
    values = [float(number) for number in numbers.split(",")] if numbers else []
    if len(values) > len(names):
        raise ValueError(f"{len(values)} numbers where it takes {len(names)}")
    return dict(zip(names, values, strict=False))


def spread_quantiles(n: int, generator: torch.Generator | None) -> Tensor:
    """One uniform number from each n-th part of [0, 1), ascending: float64 (n,)."""
    return (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
