"""How far music may depart from what stands there: a strength for each pixel, a graded mask.

A pixel of strength 1 is composed from nothing. One of strength .5 is held, like the known ones,
until half of the noise levels are left: what was decided above stays. So a region can be varied
instead of replaced, and a mask can have a soft edge.

    inpaint(model, picture, mask, strength=0.5)
    inpaint(model, picture, mask, strength=grades)      # float (128, width), 0 to 1

Law: strength 1 changes nothing, to the bit; strength 0 gives the same cells back.

Source: SDEdit (arXiv 2108.01073); by pixel as in Differential Diffusion (arXiv 2306.00950).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError, shown
from ..music.pixels import PITCHES
from .contract import Options


def check_strength(strength: Any) -> np.ndarray:
    """A strength as an array, float32 () or (128, width); OptionError where it is none."""
    try:
        share = np.asarray(strength, np.float32)
    except (TypeError, ValueError, OverflowError):
        share = np.full(1, np.nan, np.float32)
    is_picture = share.ndim == 2 and len(share) == PITCHES
    in_range = ((share >= 0) & (share <= 1)).all()
    if not in_range or not (share.ndim == 0 or is_picture):
        raise OptionError(
            f"strength is {shown(strength)}; give a number from 0 to 1, or such numbers of shape "
            f"({PITCHES}, width)"
        )
    return share


def strength_of(options: Options, width: int) -> Tensor:
    """The strength in a window of so many columns, float32 () or (128, width).

    Where the picture is not, it is 1.

    Raises:
        OptionError: it is of a picture of another width.
    """
    share = check_strength(options.own.get("strength", 1.0))
    if share.ndim == 0:
        return torch.from_numpy(share)
    end = width if options.end is None else options.end
    if options.end is not None and options.start + end != share.shape[1]:
        raise OptionError(
            f"strength has {share.shape[1]} columns, the picture {options.start + end}; give one "
            "number for each pixel"
        )

    window = np.ones((len(share), width), np.float32)
    first = max(-options.start, 0)
    here = share[:, options.start + first : options.start + min(width, end)]
    window[:, first : first + here.shape[1]] = here
    return torch.from_numpy(window)


def opening_levels(sigmas: Tensor, strength: Tensor | float) -> Tensor:
    """The noise level from which on a pixel is composed, float like `strength`.

    Args:
        sigmas: float (n + 1,), falling, the last one 0.
        strength: from 0 to 1; 1 opens at the first level, 0 never.
    """
    n = len(sigmas) - 1
    share = torch.as_tensor(strength, dtype=torch.float32, device=sigmas.device)
    # The index of that level.
    first = n - (n * share).round().long()
    return torch.where(first < n, sigmas[first], -1.0)
