"""A bridge to the samplers of k-diffusion, by name, where it is installed.

    sample = sampler("dpmpp_3m_sde")        # the contract of our own samplers (see `edm`)
    x = sample(denoiser, x, sigmas, generator=generator)

k-diffusion's package would import torchvision, clip and more at once. Only its module of samplers
is wanted, so that one is loaded alone, and nothing of it stays in `sys.modules`: a program's own
`import k_diffusion` is not disturbed. Source: github.com/crowsonkb/k-diffusion (MIT).
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ..errors import OptionError, PomkitError, check_choice

INSTALL = (
    "pip install torchdiffeq torchsde trampoline scipy\n"
    "pip install --no-deps k-diffusion==0.1.1.post1"
)
# Named by its utils, never used by its samplers, and often not to be loaded: empty modules serve.
UNUSED = [
    "torchvision",
    "torchvision.datasets",
    "torchvision.transforms",
    "torchvision.transforms.functional",
]


@lru_cache(maxsize=1)
def load() -> ModuleType:
    """k-diffusion's module of samplers; OptionError, with the commands, where a part is missing."""
    before = set(sys.modules)
    try:
        # An empty package in its place: its `__init__` does not run.
        spec = importlib.util.find_spec("k_diffusion")
        if spec is not None:
            sys.modules.setdefault("k_diffusion", importlib.util.module_from_spec(spec))

        if "torchvision" not in sys.modules:
            sys.modules.update({name: ModuleType(name) for name in UNUSED})
        return importlib.import_module("k_diffusion.sampling")
    except ImportError as error:
        raise OptionError(
            f"k-diffusion is not installed ({error}); to install it:\n{INSTALL}"
        ) from error
    finally:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("k_diffusion", "torchvision"):
                del sys.modules[name]


def names() -> list[str]:
    """The names of k-diffusion's samplers; OptionError where it is not installed."""
    prefix = "sample_"
    return sorted(name.removeprefix(prefix) for name in vars(load()) if name.startswith(prefix))


def sampler(name: str) -> Callable[..., Tensor]:
    """k-diffusion's `sample_NAME` with the contract of our own samplers (see `edm.sample_heun`).

    Keywords in its own signature (eta, s_churn, order ...) are its options; all others go to the
    denoiser. Samplers that choose their own levels (dpm_fast, dpm_adaptive) take the first level
    and the last one above 0 from `sigmas`.

    Args:
        name: one of `names()`.

    Returns:
        A function of (denoiser, x, sigmas, callback) with an answer like x, (batch, c, h, w).

    Raises:
        OptionError: there is no such sampler, or k-diffusion is not installed.
    """
    check_choice("k-diffusion's sampler", name, names())
    sample = getattr(load(), f"sample_{name}")
    parameters = inspect.signature(sample).parameters

    def run(
        denoiser: Callable[..., Tensor],
        x: Tensor,
        sigmas: Tensor,
        callback: Callable[..., None] | None = None,
        *,
        generator: torch.Generator | None = None,
        **keywords: Any,
    ) -> Tensor:
        levels = sigmas[sigmas > 0]  # (levels,)
        conditions = {key: value for key, value in keywords.items() if key not in parameters}

        # What every sampler may ask for, and what was asked for.
        options = {"noise_sampler": BrownianIncrements(x), "n": max(len(levels) - 1, 1)} | keywords
        options = {key: value for key, value in options.items() if key in parameters}
        options |= {"extra_args": conditions, "callback": callback, "disable": True}

        with torch.random.fork_rng([x.device] if x.is_cuda else [], enabled=generator is not None):
            if generator is not None:
                _seed_torch_from(generator)
            if "sigmas" in parameters:
                return sample(denoiser, x, sigmas, **options)
            if len(levels) > 1:
                ends = (float(levels[-1]), float(levels[0]))
                x = sample(_finite(denoiser), x, *ends, **options)
            return x if sigmas[-1] > 0 else denoiser(x, levels[-1].expand(len(x)), **conditions)

    return run


def _seed_torch_from(generator: torch.Generator) -> None:
    """Seed torch's own generator, from which k-diffusion draws, with a number from another one."""
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    torch.manual_seed(int(seed))


def _finite(denoiser: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The denoiser; PomkitError on NaN, where an adaptive sampler would search for ever."""

    def checked(x: Tensor, sigma: Tensor, **conditions: Any) -> Tensor:
        denoised = denoiser(x, sigma, **conditions)
        if denoised.isnan().any():
            raise PomkitError(
                f"the model answered NaN at sigma {float(sigma[0]):.3g}; use another one"
            )
        return denoised

    return checked


class BrownianIncrements:
    """Increments of one Brownian motion per unit of standard deviation, from torch's own generator.

    A sampler of two stages asks for the noise to a level between, then for that of the whole way
    from the same start. The second answer then agrees with the first: it consists of it and of
    fresh noise for the rest of the way, each by its share of the time.
    """

    def __init__(self, x: Tensor) -> None:
        self.start = 0.0
        self.end = 0.0
        self.noise = x

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """The noise, like x, on the way from one level to the next one."""
        start = float(sigma)
        end = float(sigma_next)
        noise = torch.randn_like(self.noise)
        if self.start == start > self.end > end:
            share = (start - self.end) / (start - end)
            noise = share**0.5 * self.noise + (1 - share) ** 0.5 * noise

        self.start = start
        self.end = end
        self.noise = noise
        return noise
