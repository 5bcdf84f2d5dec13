"""Samplers: from noise to a picture, down a list of noise levels; and RePaint.

One contract, k-diffusion's: `denoiser(x, sigma, **conditions) -> denoised`, with x float (batch,
c, height, width) at noise level sigma, float (batch,); and
`sampler(denoiser, x, sigmas, callback, **options) -> x` at the last level.

    sigmas = karras_sigmas(20)
    x = sigmas[0] * torch.randn(1, 3, 128, 256)
    picture = get_sampler("dpmpp_2m")(denoiser, x, sigmas)
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise
from typing import Any

import torch
from torch import Tensor

from ..errors import check_choice
from . import kdiffusion
from .contract import Callback
from .schedules import repaint_schedule
from .strength import opening_levels

Denoise = Callable[..., Tensor]
Sampler = Callable[..., Tensor]


def normal_like(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw standard normal numbers in the shape of a tensor.

    They are drawn where the generator lives: one on the CPU serves a GPU, too.

    Args:
        like: a tensor of the shape, dtype and device that is wanted.
        generator: of the random numbers; None is torch's own.
    """
    device = like.device if generator is None else generator.device
    noise = torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype)
    return noise.to(like.device)


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
    """Heun's method: two calls a level, without noise unless `s_churn` is above 0.

    Args:
        denoiser: (x, sigma, **conditions) -> denoised, like x.
        x: float (batch, c, height, width), at noise level sigmas[0].
        sigmas: float (n + 1,), falling.
        callback: is given {"i", "sigma", "x", "denoised"} at each level.
        s_churn: how much noise is added and taken away again: more variety.
        s_tmin: it is added at the levels from here
        s_tmax: to here.
        s_noise: its standard deviation.
        second_order: without the correction it is Euler's method, one call a level.
        generator: of the noise.
        conditions: go to the denoiser.

    Returns:
        x at noise level sigmas[-1], float like x.

    Source: EDM (arXiv 2206.00364), Algorithm 2.
    """
    n = len(sigmas) - 1
    for i, (sigma, after) in enumerate(pairwise(sigmas)):
        # Churn: up to a higher noise level first (lines 5 and 6).
        if s_churn > 0 and s_tmin <= sigma <= s_tmax:
            sigma = sigma * (1 + min(s_churn / n, math.sqrt(2) - 1))
            fresh = normal_like(x, generator)
            x = x + (sigma**2 - sigmas[i] ** 2).sqrt() * s_noise * fresh

        # Euler's step along dx / dsigma (lines 7 and 8).
        denoised = denoiser(x, sigma.expand(len(x)), **conditions)
        if callback is not None:
            callback({"i": i, "sigma": sigma, "x": x, "denoised": denoised})
        slope = (x - denoised) / sigma
        x_next = x + (after - sigma) * slope

        # The correction: the mean of the slopes at both ends (lines 10 and 11).
        if second_order and after > 0:
            denoised = denoiser(x_next, after.expand(len(x)), **conditions)
            slope_next = (x_next - denoised) / after
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
    """DPM-Solver++(2M) for the SDE, in its midpoint form: one call a level.

    Args:
        denoiser: (x, sigma, **conditions) -> denoised, like x.
        x: float (batch, c, height, width), at noise level sigmas[0].
        sigmas: float (n + 1,), falling.
        callback: is given {"i", "sigma", "x", "denoised"} at each level.
        eta: share of fresh noise; 0 is the deterministic 2M (Algorithm 2).
        s_noise: the standard deviation of the fresh noise.
        noise_sampler: (sigma, sigma_next) -> noise like x; None draws it from `generator`.
        generator: of the noise.
        conditions: go to the denoiser.

    Returns:
        x at noise level sigmas[-1], float like x.

    Source: DPM-Solver++ (arXiv 2211.01095).
    """
    previous = None
    h_previous = sigmas.new_zeros(())
    for i, (sigma, after) in enumerate(pairwise(sigmas)):
        denoised = denoiser(x, sigma.expand(len(x)), **conditions)
        if callback is not None:
            callback({"i": i, "sigma": sigma, "x": x, "denoised": denoised})

        # h is the step in -ln(sigma), infinite where it ends at 0.
        ratio = after / sigma
        decay = ratio ** (1 + eta)
        h = -ratio.log()

        # Second order: go on as the last two answers changed.
        guess = denoised
        if previous is not None and after > 0:
            guess = denoised + (denoised - previous) * h / (2 * h_previous)
        x = decay * x + (1 - decay) * guess

        # Fresh noise makes up for what the decay took beyond the next level.
        if eta and after > 0:
            if noise_sampler is None:
                fresh = normal_like(x, generator)
            else:
                fresh = noise_sampler(sigma, after)
            x = x + after * (1 - ratio ** (2 * eta)).sqrt() * s_noise * fresh
        previous = denoised
        h_previous = h
    return x


# One call a level: EDM's Algorithm 2 without the correction.
sample_euler = partial(sample_heun, second_order=False)
# The deterministic 2M has no use for `generator`.
sample_dpmpp_2m = partial(sample_dpmpp_2m_sde, eta=0.0)
# With few calls fresh noise costs notes; half of it costs few.
sample_dpmpp_2m_sde_half = partial(sample_dpmpp_2m_sde, eta=0.5)
SAMPLERS: dict[str, Sampler] = {
    "euler": sample_euler,
    "heun": sample_heun,
    "dpmpp_2m": sample_dpmpp_2m,
    "dpmpp_2m_sde": sample_dpmpp_2m_sde,
    "dpmpp_2m_sde_half": sample_dpmpp_2m_sde_half,
}


def get_sampler(name: str) -> Sampler:
    """A sampler by name: one of SAMPLERS, or "k_diffusion:NAME" for k-diffusion's.

    Raises:
        OptionError: there is none of that name, or k-diffusion is not installed.
    """
    if name.startswith("k_diffusion:"):
        return kdiffusion.sampler(name.removeprefix("k_diffusion:"))
    check_choice("sampler", name, (*SAMPLERS, "k_diffusion:NAME"))
    return SAMPLERS[name]


@torch.no_grad()
def repaint(
    denoiser: Denoise,
    x0: Tensor,
    mask: Tensor,
    sigmas: Tensor,
    /,
    *,
    U: int = 1,
    jump: int = 1,
    sampler: str | Sampler = "dpmpp_2m",
    middle: Tensor | float = 0.0,
    strength: Tensor | float = 1.0,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    **conditions: Any,
) -> Tensor:
    """RePaint in sigma space: compose the mask, holding the rest at the same noise level.

    Args:
        denoiser: (x, sigma, **conditions) -> denoised, like x.
        x0: float (batch, c, height, width), the known pictures.
        mask: bool, broadcastable to x0, True = compose.
        sigmas: float (n + 1,), falling, the last one 0.
        U: times that each block of levels is walked, see `repaint_schedule`.
        jump: levels of a block.
        sampler: a name, or a function with a sampler's contract (options: functools.partial).
        middle: the pixel, broadcastable to x0, about which the first noise lies.
        strength: a number, or float broadcastable to x0, from 0 to 1: a masked pixel is held like
            the known ones until this share of the levels is left.
        generator: of the noise.
        callback: is given {"i", "n", "sigma", "x", "denoised"}; i counts the n steps of the walk.
        conditions: go to the denoiser.

    Returns:
        Pictures, float like x0 and equal to it outside the mask.

    Raises:
        OptionError: an unknown sampler, or U or jump below 1.

    Source: RePaint (arXiv 2201.09865), Algorithm 1; strength: SDEdit (arXiv 2108.01073), and by
        pixel as in Differential Diffusion (arXiv 2306.00950).
    """
    if not mask.any():
        return x0.clone()

    run = get_sampler(sampler) if isinstance(sampler, str) else sampler
    mask = mask.expand_as(x0)
    walks = forward_walks(repaint_schedule(len(sigmas) - 1, U, jump))
    opens = opening_levels(sigmas, strength)
    clamped = holding_known(denoiser, x0, mask, generator, opens=opens)
    tell = None if callback is None else counted(callback, walks)

    is_new = mask & (opens >= sigmas[0])
    x = torch.where(is_new, middle, x0) + sigmas[0] * normal_like(x0, generator)
    level = 0
    for start, *_, end in walks:
        # Jump back, from the noise level that was reached to that of `start`.
        if start < level:
            added = (sigmas[start] ** 2 - sigmas[level] ** 2).sqrt()
            x = x + added * normal_like(x, generator)
        x = run(
            clamped, x, sigmas[start : end + 1], callback=tell, generator=generator, **conditions
        )
        level = end
    return torch.where(mask, x, x0)


def forward_walks(path: list[int]) -> list[list[int]]:
    """A walk over levels, cut where it jumps back: each part only goes forward."""
    steps = enumerate(pairwise(path), 1)
    backs = [i for i, (level, after) in steps if after < level]
    return [path[a:b] for a, b in pairwise([0, *backs, len(path)])]


def holding_known(
    denoiser: Denoise,
    x0: Tensor,
    mask: Tensor,
    generator: torch.Generator | None,
    *,
    opens: Tensor,
) -> Denoise:
    """The denoiser, with the known pixels at the same noise level before it and clean after.

    Args:
        denoiser: (x, sigma, **conditions) -> denoised.
        x0: float (batch, c, height, width), the known pictures.
        mask: bool like x0, True = composed.
        generator: of the known pixels' noise.
        opens: broadcastable to x0, the level above which a masked pixel is held as well.
    """

    def clamped(x: Tensor, sigma: Tensor, **conditions: Any) -> Tensor:
        levels = sigma.reshape(-1, 1, 1, 1)  # (batch, 1, 1, 1)
        is_open = mask & (levels <= opens)
        x = torch.where(is_open, x, x0 + levels * normal_like(x, generator))
        return torch.where(is_open, denoiser(x, sigma, **conditions), x0)

    return clamped


def counted(callback: Callback, walks: list[list[int]]) -> Callback:
    """A callback for the parts of a walk, that is told the step in the whole of it."""
    numbers = count()
    steps = sum(len(walk) - 1 for walk in walks)

    def tell(event: dict[str, Any]) -> None:
        callback(event | {"i": next(numbers), "n": steps})

    return tell
