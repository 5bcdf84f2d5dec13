"""Pictures wider than what a model learned: which windows are composed, and how they are blended.

A window begins on a bar line of the song, as in training. Windows of one call overlap by half and
are blended (MultiDiffusion, arXiv 2302.08113); a region too wide even for that is composed part
after part. Where nobody says where the bars are, they are of 4/4: `BAR` columns each.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..music.tables import BAR

# Composed together at most, so that memory stays bounded.
MOST_WINDOWS = 16


def line_before(lines: np.ndarray | None, column: int) -> int:
    """The last bar line at or before a column; `lines`: int (lines,), from 0 on; None: of 4/4."""
    if lines is None:
        return column // BAR * BAR
    return int(lines[np.searchsorted(lines, column, side="right") - 1])


def line_after(lines: np.ndarray | None, column: int) -> int:
    """The first bar line, of int (lines,), at or after a column; none: the column itself."""
    if lines is None:
        return -(-column // BAR) * BAR
    at = np.searchsorted(lines, column)
    return int(lines[at]) if at < len(lines) else column


def reach_of(
    mask: np.ndarray,
    width: int,
    unit: int,
    grain: int | None = None,
    *,
    lines: np.ndarray | None = None,
) -> int:
    """How many columns a model composes together: the masked ones and a quarter window beside.

    A picture that is narrower than what the model learned is composed at its own width.

    Args:
        mask: bool (128, w), True = compose.
        width: columns that the model learned.
        unit: what it returns is a multiple of it; the network's own.
        grain: of a picture that is narrower than that, a multiple of this; None: of `unit`.
        lines: columns of the bar lines, int (lines,), from 0 on; None: those of 4/4.

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
    first = line_before(lines, max(int(columns[0]) - beside, 0))
    last = min(columns[-1] + 1 + beside, mask.shape[1])
    wanted = max(rounded_up(last - first, unit), width)
    return int(min(wanted, whole, MOST_WINDOWS * width))


def rounded_up(columns: int, unit: int) -> int:
    """The first multiple of a unit that is no fewer columns."""
    return -(-columns // unit) * unit


def lay_windows(
    mask: np.ndarray, width: int, before: int, lines: np.ndarray | None = None
) -> Iterator[slice]:
    """What is composed in turn, until all masked columns are settled.

    Args:
        mask: bool (128, w), True = compose.
        width: columns of a window.
        before: columns of a window, at least, that are there only to be heard.
        lines: columns of the bar lines, int (lines,), from 0 on and none far from the next; None:
            those of 4/4.

    Yields:
        Slices start:stop of the columns that a window settles; the window itself is `width`
        columns from start, a bar line.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    last_start = line_after(lines, max(mask.shape[1] - width, 0))
    while len(columns):
        start = min(line_before(lines, max(int(columns[0]) - before, 0)), last_start)
        all_inside = columns[-1] < start + width
        stop = start + width - (0 if all_inside else before)
        yield slice(start, stop)
        columns = columns[columns >= stop]


def places_of(whole: int, width: int, lines: np.ndarray | None = None) -> list[int]:
    """Where the windows of one call begin: half a window apart at most, on bar lines.

    The last one ends with the picture, wherever that is.

    Args:
        whole: columns of the picture.
        width: columns of a window.
        lines: columns of the bar lines, int (lines,), from 0 on; None: windows lie exactly half a
            window apart.
    """
    places = [0]
    while places[-1] + width < whole:
        after = places[-1] + max(width // 2, 1)
        line = after if lines is None else line_before(lines, after)
        places.append(line if line > places[-1] else after)
    places[-1] = max(whole - width, 0)
    return places


def blended(
    model: Callable[..., Tensor],
    width: int,
    region: np.ndarray,
    lines: np.ndarray | None = None,
) -> Callable[..., Tensor]:
    """A model of `width` columns as one of wider pictures: its windows, averaged in every call.

    Windows lie half a window apart; a column is the mean of those that hold it, with weights that
    fall towards a window's edges. Where a window would compose nothing it is left out, and
    columns that no window holds are 0.

    Args:
        model: (*tensors, **conditions) -> float (..., w); tensors of the picture's width are cut.
        width: columns that it learned.
        region: bool (128, w), True = compose.
        lines: columns of the bar lines, see `places_of`.

    Returns:
        A function like `model`, for tensors of the region's width.

    Source: MultiDiffusion (arXiv 2302.08113).
    """
    whole = region.shape[1]
    width = min(width, whole)
    if whole == width:
        return model

    places = places_of(whole, width, lines)
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
