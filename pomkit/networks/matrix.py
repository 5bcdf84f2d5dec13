"""A matrix times every token, by the quicker of two ways with the same answer.

    up = linear(96, 288)        # as nn.Linear without a bias: the same weights, the same answer
    up(x)                       # float (..., 288) of x, float (..., 96)

On a CPU torch multiplies matrices of 32-bit floats with Intel's MKL, which reaches less than half
of what an AMD processor with AVX-512 can do. A convolution with a kernel of one pixel is the same
sum, and for that torch asks oneDNN, which reaches nearly all. tests/benchmarks/hdit_speed.py
measures what it brings.
"""

import platform
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# From this many pictures on torch convolves with oneDNN in one thread, too.
PICTURES = 16
# Below this many products a call of oneDNN costs more than it saves.
LEAST_PRODUCTS = 16_000_000


def is_slow_with_mkl() -> bool:
    """Whether this is an AMD processor with AVX-512, and torch has both MKL and oneDNN."""
    libraries = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    if not libraries or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        processor = Path("/proc/cpuinfo").read_text()
    except OSError:
        processor = platform.processor()
    return "AuthenticAMD" in processor


SLOW_WITH_MKL = is_slow_with_mkl()


class Linear(nn.Linear):
    """`nn.Linear`, by `multiply`."""

    def forward(self, x: Tensor) -> Tensor:
        """The matrix times every token of x, float (..., in_features), plus the bias if any."""
        return multiply(x, self.weight, self.bias)


linear = partial(Linear, bias=False)


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A matrix times every token.

    Args:
        x: float (..., width).
        weight: float (out_width, width).
        bias: float (out_width,), which is added; None: nothing is.

    Returns:
        float (..., out_width).
    """
    tokens = x.numel() // x.shape[-1]
    is_large = tokens * weight.numel() >= LEAST_PRODUCTS and tokens % PICTURES == 0
    is_exact = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if not (SLOW_WITH_MKL and is_large and is_exact and x.device.type == "cpu"):
        return F.linear(x, weight, bias)

    # Channels stand last in memory before and after: nothing is copied.
    pixels = x.reshape(PICTURES, 1, -1, x.shape[-1])  # (PICTURES, 1, tokens, width)
    by_channel = pixels.permute(0, 3, 1, 2)  # (PICTURES, width, 1, tokens)
    answer = F.conv2d(by_channel, weight[..., None, None], bias)  # (PICTURES, out_width, 1, tokens)
    return answer.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)  # (..., out_width)
