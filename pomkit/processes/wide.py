"""Pictures wider than what a model learned: which windows are composed, and how they are blended.

A window begins on a bar line, as in training. Windows of one call overlap by half and are blended
(MultiDiffusion, arXiv 2302.08113); a region too wide even for that is composed part after part.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..music.tables import BAR

# Composed together at most, so that memory stays bounded.
MOST_WINDOWS = 16


def reach_of(mask: np.ndarray, width: int, unit: int, grain: int | None = None) -> int:
    """How many columns a model composes together: the masked ones and a quarter window beside.

    A picture that is narrower than what the model learned is composed at its own width.

    Args:
        mask: bool (128, w), True = compose.
        width: columns that the model learned.
        unit: what it returns is a multiple of it; the network's own.
        grain: of a picture that is narrower than that, a multiple of this; None: of `unit`.

    Returns:
        Columns: at least `width`, or all there are, at most MOST_WINDOWS times `width`.
    """
    if grain is None:
        grain = unit
    whole = rounded_up(mask.shape[1], grain)
    columns = np.flatnonzero(mask.any(axis=0))
    if not len(columns):
        return min(width, whole)

    beside = width // 4
    first = max((columns[0] - beside) // BAR * BAR, 0)
    last = min(columns[-1] + 1 + beside, mask.shape[1])
    wanted = max(rounded_up(last - first, unit), width)
    return int(min(wanted, whole, MOST_WINDOWS * width))


def rounded_up(columns: int, unit: int) -> int:
    """The first multiple of a unit that is no fewer columns."""
    return -(-columns // unit) * unit


def lay_windows(mask: np.ndarray, width: int, before: int) -> Iterator[slice]:
    """What is composed in turn, until all masked columns are settled.

    Args:
        mask: bool (128, w), True = compose.
        width: columns of a window.
        before: columns of a window, at least, that are there only to be heard.

    Yields:
        Slices start:stop of the columns that a window settles; the window itself is `width`
        columns from start, a multiple of 16.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    last_start = max(0, -(-(mask.shape[1] - width) // BAR) * BAR)
    while len(columns):
        start = min(max((int(columns[0]) - before) // BAR * BAR, 0), last_start)
        all_inside = columns[-1] < start + width
        stop = start + width - (0 if all_inside else before)
        yield slice(start, stop)
        columns = columns[columns >= stop]


def blended(model: Callable[..., Tensor], width: int, region: np.ndarray) -> Callable[..., Tensor]:
    """A model of `width` columns as one of wider pictures: its windows, averaged in every call.

    Windows lie half a window apart; a column is the mean of those that hold it, with weights that
    fall towards a window's edges. Where a window would compose nothing it is left out, and
    columns that no window holds are 0.

    Args:
        model: (*tensors, **conditions) -> float (..., w); tensors of the picture's width are cut.
        width: columns that it learned.
        region: bool (128, w), True = compose.

    Returns:
        A function like `model`, for tensors of the region's width.

    Source: MultiDiffusion (arXiv 2302.08113).
    """
    whole = region.shape[1]
    width = min(width, whole)
    if whole == width:
        return model

    places = (*range(0, whole - width, width // 2), whole - width)
    starts = [at for at in places if region[:, at : at + width].any()]
    weight = 1 - torch.arange(1 - width, width, 2).abs() / width  # (width,): a triangle
    total = torch.zeros(whole)
    for at in starts:
        total[at : at + width] += weight

    def cut(value: Any, at: int) -> Any:
        wide = torch.is_tensor(value) and value.shape[-1:] == (whole,)
        return value[..., at : at + width] if wide else value

    def call(*inputs: Tensor, **conditions: Any) -> Tensor:
        outputs = []
        for at in starts:
            parts = [cut(x, at) for x in inputs]
            outputs.append(model(*parts, **{key: cut(v, at) for key, v in conditions.items()}))

        sums = outputs[0].new_zeros(*outputs[0].shape[:-1], whole)
        for at, output in zip(starts, outputs, strict=True):
            sums[..., at : at + width] += output * weight.to(output)
        return sums / total.clamp(min=1e-6).to(sums)

    return call
