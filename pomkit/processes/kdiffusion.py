"""A bridge to k-diffusion's samplers (github.com/crowsonkb/k-diffusion, MIT), by name, where it is installed.
Its package would import torchvision, clip and more at once. Only its sampling module is wanted, so that is loaded alone, and
nothing of it stays in `sys.modules`: a program's own `import k_diffusion` is not disturbed."""

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

INSTALL = "pip install torchdiffeq torchsde trampoline scipy\npip install --no-deps k-diffusion==0.1.1.post1"
# Named by its utils, never used by its samplers, and often not to be loaded: empty modules serve.
UNUSED = [
    "torchvision" + name for name in ("", ".datasets", ".transforms", ".transforms.functional")
]


@lru_cache(maxsize=1)
def load() -> ModuleType:
    """k-diffusion's sampling module; OptionError with the install commands where something is missing."""
    before = set(sys.modules)
    try:
        if (spec := importlib.util.find_spec("k_diffusion")) is not None:
            sys.modules.setdefault(
                "k_diffusion", importlib.util.module_from_spec(spec)
            )  # its __init__ does not run
        if "torchvision" not in sys.modules:
            sys.modules.update({name: ModuleType(name) for name in UNUSED})
        return importlib.import_module("k_diffusion.sampling")
    except ImportError as error:
        raise OptionError(
            f"k-diffusion is not installed ({error}). To install it:\n{INSTALL}"
        ) from error
    finally:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("k_diffusion", "torchvision"):
                del sys.modules[name]


def names() -> list[str]:
    """The names of k-diffusion's samplers; OptionError where it is not installed."""
    return sorted(
        name.removeprefix("sample_") for name in vars(load()) if name.startswith("sample_")
    )


def sampler(name: str) -> Callable[..., Tensor]:
    """k-diffusion's `sample_NAME` with our contract (see `edm.sample_heun`); OptionError for another name.
    Keywords in its own signature (eta, s_churn, order ...) are its options, all others go to the denoiser. Samplers that
    choose their own levels (dpm_fast, dpm_adaptive) take the first and the last level above 0 from `sigmas`."""
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
        def finite(x: Tensor, sigma: Tensor, **conditions: Any) -> Tensor:
            """The denoiser; PomkitError where it answers NaN, on which an adaptive sampler would search for ever."""
            denoised = denoiser(x, sigma, **conditions)
            if denoised.isnan().any():
                raise PomkitError(
                    f"The model answered NaN at sigma {float(sigma[0]):.3g}; use another one."
                )
            return denoised

        levels = sigmas[sigmas > 0]
        conditions = {key: value for key, value in keywords.items() if key not in parameters}
        keywords = {"noise_sampler": noise_sampler(x), "n": max(len(levels) - 1, 1)} | keywords
        options = {key: value for key, value in keywords.items() if key in parameters} | {
            "extra_args": conditions,
            "callback": callback,
            "disable": True,
        }
        with torch.random.fork_rng([x.device] if x.is_cuda else [], enabled=generator is not None):
            if generator is not None:  # the samplers draw from torch's own generator
                torch.manual_seed(
                    int(torch.randint(2**62, (), generator=generator, device=generator.device))
                )
            if "sigmas" in parameters:
                return sample(denoiser, x, sigmas, **options)
            if len(levels) > 1:
                x = sample(finite, x, float(levels[-1]), float(levels[0]), **options)
            return x if sigmas[-1] > 0 else denoiser(x, levels[-1].expand(len(x)), **conditions)

    return run


def noise_sampler(x: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Increments of one Brownian motion per unit of standard deviation, drawn from torch's own generator."""
    last = 0.0, 0.0, x  # what was asked before: from, to, and the answer

    def increment(sigma: Tensor, sigma_next: Tensor) -> Tensor:
        nonlocal last
        start, end, noise = float(sigma), float(sigma_next), torch.randn_like(x)
        if (
            last[0] == start > last[1] > end
        ):  # two stages: to a level between, then the whole way; both must agree
            share = (start - last[1]) / (start - end)
            noise = share**0.5 * last[2] + (1 - share) ** 0.5 * noise
        last = start, end, noise
        return noise

    return increment
