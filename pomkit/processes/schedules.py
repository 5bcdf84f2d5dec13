"""Schedules are plain lists: which level of noise, or how many cells, at which call.

They can be printed, plotted and asserted:

    karras_sigmas(3, 0.1, 10)          # tensor([10.0, 1.5, 0.1, 0.0])
    settling_sigmas(3, 0.1, 10, 0.6)   # tensor([10.0, 0.61, 0.1, 0.0])
    uncovering(1000, 4)                # [0, 77, 293, 618, 1000]
    repaint_schedule(4, U=2)           # [0, 1, 0, 1, 2, 1, 2, 3, 2, 3, 4]
"""

import math

import torch
from torch import Tensor

from ..errors import OptionError


def karras_sigmas(
    n: int, sigma_min: float = 0.01, sigma_max: float = 80.0, rho: float = 7.0
) -> Tensor:
    """The noise levels of n steps: sigma_max down to sigma_min, then 0.

    Args:
        n: how many steps.
        sigma_min: the last level above 0.
        sigma_max: the first level.
        rho: above 1 makes the steps shorter at low noise.

    Returns:
        float (n + 1,), falling.

    Raises:
        OptionError: n is below 1, or not 0 < sigma_min <= sigma_max.

    Source: EDM (arXiv 2206.00364), equation 5.
    """
    check_levels(n, sigma_min, sigma_max)
    low = sigma_min ** (1 / rho)
    high = sigma_max ** (1 / rho)
    levels = torch.linspace(high, low, n, dtype=torch.float64) ** rho
    return torch.cat((levels, levels.new_zeros(1))).float()


def settling_sigmas(n: int, sigma_min: float, sigma_max: float, half: float) -> Tensor:
    """The noise levels of n steps, most where most is decided: about sigma = half.

    Pixels that are one of a few colours are all open above some level and all settled below
    another. sigma^2 / (sigma^2 + half^2), the share that is still open, falls evenly here.

    Args:
        n: how many steps.
        sigma_min: the last level above 0.
        sigma_max: the first level.
        half: the level at which half is open.

    Returns:
        float (n + 1,), falling.

    Raises:
        OptionError: n is below 1, or not 0 < sigma_min <= sigma_max.
    """
    check_levels(n, sigma_min, sigma_max)
    first, last = (sigma**2 / (sigma**2 + half**2) for sigma in (sigma_max, sigma_min))
    shares = torch.linspace(first, last, n, dtype=torch.float64)
    levels = half * (shares / (1 - shares)).sqrt()
    return torch.cat((levels, levels.new_zeros(1))).float()


def check_levels(n: int, sigma_min: float, sigma_max: float) -> None:
    """Raise OptionError where n levels cannot fall from sigma_max to sigma_min."""
    if n < 1 or not 0 < sigma_min <= sigma_max:
        raise OptionError(
            f"{n} steps from sigma {sigma_max} to {sigma_min}; "
            "give 1 or more and 0 < sigma_min <= sigma_max"
        )


def repaint_schedule(n: int, U: int = 1, jump: int = 1) -> list[int]:
    """RePaint's walk over the levels 0 (all noise) to n (clean), with jumps back.

    Each block of `jump` levels is walked U times, by U - 1 jumps back, but none from the clean
    picture: blocks end at level n - 1, the first one may be shorter, the last level is reached
    once. So the walk has U (n - 1) + 1 steps forward, whatever `jump`.

    Args:
        n: how many levels.
        U: times that each block is walked.
        jump: levels of a block.

    Returns:
        The level at each place of the walk.

    Raises:
        OptionError: a number is below 1.

    Source: RePaint (arXiv 2201.09865), Algorithm 1.
    """
    if min(n, U, jump) < 1:
        raise OptionError(f"{n} steps, U={U}, jump={jump}; give whole numbers above 0")

    path = [0]
    start = 0
    for end in range((n - 2) % jump + 1, n, jump):  # the last level of each block, (blocks,)
        path += range(start + 1, end + 1)
        path += list(range(start, end + 1)) * (U - 1)
        start = end
    return [*path, n]


def uncovering(cells: int, calls: int) -> list[int]:
    """How many cells are uncovered at each level: the cosine schedule, few at first.

    The first choices bind all others, so few are made at once. With as many calls as cells it is
    one cell at a time.

    Args:
        cells: how many cells are hidden.
        calls: network calls; at least 1.

    Returns:
        A rising list from 0 to `cells`: a number for each call, and one more; of fewer cells than
        calls, one for each cell and one more.

    Raises:
        OptionError: there is no call.

    Source: MaskGIT (arXiv 2202.04200), section 3.3.
    """
    if calls < 1:
        raise OptionError(f"calls is {calls}; choose at least 1")
    if calls >= cells:
        return list(range(cells + 1))

    angles = [math.pi / 2 * i / calls for i in range(calls)]
    return [cells - math.floor(cells * math.cos(angle)) for angle in angles] + [cells]


def stratified_t(n: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw n hiding probabilities in (0, 1], one in each n-th part: less variance for the loss.

    Args:
        n: how many.
        generator: of the random numbers.

    Returns:
        float (n,), falling.
    """
    return 1 - (torch.arange(n) + torch.rand(n, generator=generator)) / n
