"""What the systems of the ladder share: cells in, cells out, in windows of 64 x 64.

A system speaks of one thing alone: a window of cells, int64 (batch, 64, 64), each off, sustain or
onset, at the pitches 95 (row 0) to 32. That is where 99.8 % of the sounding cells of POP909 lie.
`System` does the rest once for all: pictures to cells and back, windows, chords, reports.

    class Coin(System):
        process = "coin"
        answers = {"any": "N"}
        methods = {"toss": 1}
        sizes = {"tiny": {}}

        def build(self):
            return torch.nn.Linear(1, 1)

        def fill(self, cells, mask, request):
            tossed = torch.rand(cells.shape, generator=request.generator) < 0.05
            filled = torch.where(mask, ONSET * tossed, cells)
            request.tell(filled)
            return filled

The laws: what lies under a mask is never seen, and what lies outside it is never changed. A region
that is wider than a window is composed window by window, from left to right, each of them with the
music before it in view. Masked cells at other pitches become off, which a warning tells once.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..data.windows import Window
from ..errors import OptionError, PomkitWarning, check_choice
from ..music import masks
from ..music.bars import later_meters, lines_until
from ..music.pixels import pitch_of_row, row_of_pitch
from ..processes.contract import Drawn, Model, Options, Report
from ..processes.states import OFF, ONSET, SUSTAIN, chord_channels, decode_cells, encode_cells
from ..processes.wide import line_before

LOWEST = 32
HIGHEST = 95
ROW_COUNT = HIGHEST - LOWEST + 1
# The rows of a picture that a system sees.
ROWS = slice(row_of_pitch(HIGHEST), row_of_pitch(LOWEST) + 1)
# Columns of a window.
WINDOW = 64
# Columns of known music before a region, where there are any and the region is wide.
CONTEXT = 32
# A window begins at most so many columns before the first cell that it composes.
MOST_CONTEXT = 48
CELL_STATES = 3
HIDDEN = CELL_STATES
# What the one bin of onsets is played with: the middle of pop piano.
LOUDNESS = 85

# How a mask is answered, by letter.
ANSWERS = {
    "N": "natively",
    "C": "by clamping: known cells are forced while it draws, and seen only once they are past",
    "P": "by particles: several clamped draws, weighed by how well the known later cells follow",
    "G": "by Gibbs sampling",
    "L": "by a search among its latents, whose picture is then pasted",
    "R": "by a rule",
}
# Shapes of masks within the 64 rows, in words.
MASK_SHAPES = {
    "everything": "all cells",
    "continuation": "all pitches from one column on to the end",
    "columns": "all pitches of some columns",
    "below": "all columns from one pitch on downwards",
    "any": "any mask",
}


@dataclass(frozen=True)
class Request:
    """What is asked of a system beside the cells of a window.

    Attributes:
        options: those of `inpaint`, for this window: `method`, `calls`, `temperature`, `own`; and
            `start`, `lines`, `end`, `position` counted from the window's first column.
        chords: float32 (batch, 3, 64, 64), see `states.chord_channels`.
        tell: call it after each network call with the cells so far, int64 (batch, 64, 64), and how
            many more calls of this window are expected; named extras reach the callback.
    """

    options: Options
    chords: Tensor
    tell: Callable[..., None]

    @property
    def generator(self) -> torch.Generator | None:
        """Where all random numbers come from; on the CPU."""
        return self.options.generator


class System(Model):
    """A system of the ladder: it fills windows of cells.

    A subclass sets `process`, `answers`, `methods` and `sizes`, writes `build` and `fill`, and, to
    learn, `loss`. Its network is what `build` makes. The weights of parts that are trained in
    turn, as a GAN's, have names that begin with "network.".

    Attributes:
        answers: which masks it can answer: a shape of `MASK_SHAPES` -> letters of `ANSWERS`.
        sizes: network sizes by name -> arguments of `build`; "tiny" is the one that is trained, a
            "toy" one is for tests.
        traits: options of its own in training, `--own`, with their defaults; arguments of `build`.
        likelihood: whether `bits` is "exact", a "bound", or there is "none".
    """

    answers: ClassVar[Mapping[str, str]] = {}
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    traits: ClassVar[Mapping[str, Any]] = {}
    likelihood: ClassVar[str] = "none"
    options = frozenset(["calls", "method", "temperature"])

    def __init__(self, size: str = "tiny", **own: Any) -> None:
        """Build the network.

        Args:
            size: one of `sizes`.
            own: values of `traits`.

        Raises:
            OptionError: there is no such size, or no such option.
        """
        check_choice("model", size, self.sizes)
        for name in own:
            check_choice(f"for {self.process} models the option", name, self.traits)
        values = {**self.traits, **own}
        super().__init__(self.build(**self.sizes[size], **values), WINDOW)
        self.size = size
        self.own = values
        self._told_of_rows = False

    def build(self, *none: Any, **numbers: Any) -> nn.Module:
        """The network, of the numbers of a size and the values of the traits."""
        raise NotImplementedError(f"{type(self).__name__} must write build")

    def fill(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """Fill the masked cells of windows.

        Args:
            cells: int64 (batch, 64, 64); masked cells are HIDDEN.
            mask: bool (64, 64), True = fill; what lies behind the picture's end is masked as well.
            request: what else is known.

        Returns:
            int64 (batch, 64, 64); what it says of cells that are not masked does not count.
        """
        raise NotImplementedError(f"{type(self).__name__} must write fill")

    def bits(self, cells: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """How surprising windows are, or a bound on it, in bits each.

        Args:
            cells: int64 (batch, 64, 64), without hidden ones.
            generator: of random numbers, where a bound needs them.

        Returns:
            float (batch,).

        Raises:
            OptionError: the system has no likelihood.
        """
        raise OptionError(f"{self.process} models give no likelihood; ask another system for bits")

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the network says."""
        return self.network(*inputs, **options)

    # The process contract.

    @property
    def unit(self) -> int:
        """Columns: windows of any width may come, since they are cut to 64."""
        return 1

    @property
    def grain(self) -> int:
        """Columns: as `unit`."""
        return 1

    def check_mask(self, mask: np.ndarray) -> None:
        """Raise OptionError for a mask, bool (128, width), of a shape that it does not answer."""
        inside = mask[ROWS]
        if not inside.any() or any(has_shape(inside, shape) for shape in self.answers):
            return
        known = " or ".join(MASK_SHAPES[shape] for shape in self.answers)
        raise OptionError(
            f"the mask has a shape that {self.process} models do not answer; "
            f"give one that hides {known} between the pitches {LOWEST} and {HIGHEST}"
        )

    def compose(
        self, canvas: np.ndarray, region: np.ndarray, options: Options, report: Report
    ) -> Drawn:
        """Compose a region of pictures, uint8 (n, 128, width, 3); see `Process.compose`."""
        notes = region & ~masks.chords(region)
        end = notes.shape[1] if options.end is None else options.end
        notes[:, end:] = False
        states = np.stack([encode_cells(picture, (LOUDNESS,)) for picture in canvas])
        self.warn_of_rows(states, notes)
        states[:, notes] = OFF

        def draw(inside: np.ndarray) -> Drawn:
            states[:, ROWS, :end] = inside
            pairs = zip(states, canvas, strict=True)
            return [decode_cells(each, picture, notes, (LOUDNESS,)) for each, picture in pairs]

        # What lies behind the picture's end is unknown, and is no part of the passage.
        known = states[:, ROWS, :end].copy()
        passage = Passage(known, notes[ROWS, :end].copy(), draw, report)
        channels = np.stack([chord_channels(picture, region) for picture in canvas])
        chords = channels[:, :, ROWS, :end]  # (n, 3, 64, end)
        for columns in passage.windows(options.lines):
            shown = torch.from_numpy(cut_columns(chords, columns, 0)).to(self.device)
            here = window_options(options, columns, end)
            request = Request(here, shown, partial(passage.tell, columns))
            cells = torch.from_numpy(passage.seen(columns)).to(self.device)
            mask = torch.from_numpy(passage.asked(columns)).to(self.device)
            with torch.no_grad():
                passage.settle(columns, self.fill(cells, mask, request))
        return draw(passage.cells)

    def warn_of_rows(self, states: np.ndarray, notes: np.ndarray) -> None:
        """Say once that masked notes at pitches that the system does not know become off.

        Args:
            states: int64 (n, 128, width), the cells of pictures.
            notes: bool (128, width), True = compose.
        """
        beyond = notes.copy()
        beyond[ROWS] = False
        lost = np.flatnonzero((beyond & (states != OFF).any(axis=0)).any(axis=1))
        if self._told_of_rows or not len(lost):
            return
        pitches = sorted(int(pitch_of_row(row)) for row in lost[[0, -1]])
        warnings.warn(
            f"{self.process} models know the pitches {LOWEST} to {HIGHEST}; masked notes at others "
            f"(here from {pitches[0]} to {pitches[1]}) become silent",
            PomkitWarning,
            stacklevel=2,
        )
        self._told_of_rows = True

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """The cells and the mask of 64 columns, (64, 64) each; see `Process.example`."""
        window = cut_window(window, rng)
        return {"cells": window_cells(window.picture), "mask": window.mask[ROWS]}

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs: the size and the system's own options."""
        return super().spec() | {"size": self.size, "own": dict(self.own)}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "System":
        """A model with fresh weights from what `spec` gave."""
        return cls(spec["size"], **spec["own"])

    @classmethod
    def from_options(cls, options: Any) -> "System":
        """A model with fresh weights for a training run; OptionError for narrow windows."""
        if options.width < WINDOW:
            raise OptionError(
                f"width is {options.width}; {cls.process} models learn windows of {WINDOW} steps, "
                "choose that or more"
            )
        return cls(options.model, **options.own)


# Cells and windows.


def window_cells(picture: np.ndarray) -> np.ndarray:
    """The cells of a picture, uint8 (128, width, 3), at the known pitches: int64 (64, width)."""
    return encode_cells(picture, (LOUDNESS,))[ROWS]


def with_beginnings(cells: np.ndarray) -> np.ndarray:
    """Cells, int64 (..., 64, width), whose notes all begin within: as a picture is rendered."""
    whole = cells.copy()
    first = whole[..., 0]
    first[first == SUSTAIN] = ONSET
    return whole


def cut_window(window: Window, rng: np.random.Generator) -> Window:
    """64 columns of a training window, from one of its bar lines on.

    Args:
        window: at least so wide; one that is no wider is returned as it is.
        rng: chooses the bar line.
    """
    width = window.picture.shape[1]
    if width == WINDOW:
        return window
    starts = [line for line in window.bars if line + WINDOW <= width]
    start = int(rng.choice(starts))
    columns = slice(start, start + WINDOW)
    picture = picture_from(window.picture, columns)
    mask = window.mask[:, columns]
    cut = window._replace(picture=picture, mask=mask, start=window.start + start)

    # The metre of what is left.
    lines = [line - start for line in window.bars if start <= line < columns.stop]
    bars = tuple(lines_until(lines, WINDOW).tolist())
    meters = [meter for meter in window.meters if meter[0] < columns.stop]
    return cut._replace(bars=bars, meters=later_meters(meters, -start))


def picture_from(picture: np.ndarray, columns: slice) -> np.ndarray:
    """Columns of a picture, uint8 (128, width, 3), in which every note begins: like it."""
    part = picture[:, columns].copy()
    rows = masks.everything(part)[:, 0]
    first = part[rows, 0]  # (rows, 3)
    part[rows, 0, 0] = first.max(axis=1)
    part[rows, 0, 1:] = 0
    return part


def has_shape(mask: np.ndarray, shape: str) -> bool:
    """Whether a mask, bool (64, width), has one of the `MASK_SHAPES`."""
    if shape == "any":
        return True
    if shape == "below":
        mask = mask.T  # (width, 64)
    full = np.asarray(mask.all(axis=0))  # (columns,)
    if not np.array_equal(full, mask.any(axis=0)):
        return False
    if shape == "columns":
        return True
    if shape == "everything":
        return bool(full.all())
    # From the first full one on, all are full: what is full never ends.
    return bool((full[1:] >= full[:-1]).all())


def cut_columns(array: np.ndarray, columns: slice, beyond: Any) -> np.ndarray:
    """Columns of an array, (..., width), that may reach beyond it: (..., columns).

    Args:
        array: what is cut.
        columns: from a start within the array to any stop.
        beyond: what stands behind the array's end.
    """
    part = array[..., columns]
    missing = columns.stop - columns.start - part.shape[-1]
    sides = [(0, 0)] * (part.ndim - 1) + [(0, missing)]
    return np.pad(part, sides, constant_values=beyond)


def window_options(options: Options, columns: slice, end: int) -> Options:
    """The options of a region as those of one of its windows.

    Args:
        options: of the region.
        columns: of the window.
        end: the column at which the picture ends.
    """
    lines = None
    if options.lines is not None:
        lines = options.lines[options.lines >= columns.start] - columns.start
    position = None
    if options.position is not None:
        position = cut_columns(options.position, columns, 0)
    start = options.start + columns.start
    last = min(end, columns.stop) - columns.start
    return replace(options, start=start, end=last, lines=lines, position=position)


class Passage:
    """The cells of pictures while they are composed window by window, and what was told of it.

    Attributes:
        cells: int64 (n, 64, width), as they are by now.
        todo: bool (64, width), what is still to be composed.
    """

    def __init__(
        self,
        cells: np.ndarray,
        todo: np.ndarray,
        draw: Callable[[np.ndarray], Drawn],
        report: Report,
    ) -> None:
        """Take the cells, (n, 64, width), the mask, (64, width), how they are drawn and told."""
        self.cells = cells
        self.todo = todo
        self.draw = draw
        self.report = report
        self.calls = 0
        self.settled_windows = 0

    def windows(self, lines: np.ndarray | None) -> Iterator[slice]:
        """The windows in their order: where one begins depends on what the last one settled.

        Args:
            lines: columns of the bar lines, int (lines,), from 0 on; None: those of 4/4.
        """
        while self.todo.any():
            first = int(np.flatnonzero(self.todo.any(axis=0))[0])
            latest = max(self.todo.shape[1] - WINDOW, 0)
            wanted = max(min(first - CONTEXT, latest), 0)
            start = line_before(lines, wanted)
            # In a very long bar no line is near enough.
            if first - start > MOST_CONTEXT:
                start = wanted
            yield slice(start, start + WINDOW)

    def asked(self, columns: slice) -> np.ndarray:
        """What a window fills, bool (64, 64); behind the picture's end nothing is known."""
        return cut_columns(self.todo, columns, True)

    def seen(self, columns: slice) -> np.ndarray:
        """What a window shows, int64 (n, 64, 64)."""
        cells = np.where(self.todo, HIDDEN, self.cells)
        return with_beginnings(cut_columns(cells, columns, HIDDEN))

    def settle(self, columns: slice, filled: Tensor) -> None:
        """Take over the masked cells of a window, int64 (n, 64, 64)."""
        self.cells = self.placed(columns, filled)
        self.todo[:, columns] = False
        self.settled_windows += 1

    def placed(self, columns: slice, filled: Tensor) -> np.ndarray:
        """All cells, int64 (n, 64, width), with those of a window, (n, 64, 64), filled in."""
        cells = self.cells.copy()
        here = cells[..., columns]
        part = filled.cpu().numpy()[..., : here.shape[-1]]
        cells[..., columns] = np.where(self.todo[:, columns], part, here)
        return cells

    def tell(self, columns: slice, filled: Tensor, left: int = 0, **more: Any) -> None:
        """Tell of a network call.

        Args:
            columns: of the window.
            filled: int64 (n, 64, 64), its cells so far.
            left: more calls of it that are expected.
            more: what else the callback is told.
        """
        later = self.todo[:, columns.stop :].any(axis=0).sum()
        windows = -(-int(later) // (WINDOW - CONTEXT))
        mean = -(-(self.calls + 1 + left) // (self.settled_windows + 1))
        event = {"i": self.calls, "n": self.calls + 1 + left + windows * mean}
        cells = self.placed(columns, filled)
        self.report(event | more, partial(self.draw, cells))
        self.calls += 1
