"""The process contract: what a family of models answers, so that nobody else asks which it is.

A *process* is a way to learn music and to compose it: hiding cells, Gaussian noise on pixels, or
one of your own. Sampling, training, checkpoints, the judge and the studio speak to a model only
through the names of `Process`. A new family is one file with a class that has them, and one line
in `registry.FAMILIES`; CONTRIBUTING.md says how, step by step.

    model.methods                      # {"uncover": 16}: ways to answer a mask, calls of one pass
    "temperature" in model.options     # does `inpaint(..., temperature=0.9)` make sense for it?
    model.compose(canvas, region, options, report)     # fill the region of some pictures
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..data.windows import Window
from ..errors import OptionError, check_choice
from ..music.bars import BAR_CHANNELS, bar_position
from ..music.pixels import PITCHES
from ..music.recall import RECALL_CHANNELS
from ..networks.hdit import CONFIGS, HDiT
from ..networks.local import Local

# Of so many training windows a model is not told where the bars are.
UNTOLD_SHARE = 0.15

Callback = Callable[[dict[str, Any]], None]  # is told of every network call


class Composed(NamedTuple):
    """One candidate of a region. A pair of its first two serves as well.

    Attributes:
        picture: uint8 (128, width, 3).
        cleared: cells inside the region that were no music.
        surprise: how unlikely the model held what it drew, in bits; NaN: it does not say.
        entropy: the surprise that was to be expected on its way, in bits.
    """

    picture: np.ndarray
    cleared: int
    surprise: float = math.nan
    entropy: float = math.nan


# Of each candidate what `Composed` holds.
Drawn = Sequence[tuple[Any, ...]]
# Takes an event, and what draws the state of the window.
Report = Callable[[dict[str, Any], Callable[[], Drawn]], None]


@dataclass(frozen=True)
class Options:
    """How a region shall be composed: the options of `inpaint`, checked, with their defaults.

    Attributes:
        method: one of the model's `methods`.
        calls: network calls in one pass.
        U: times that each block of calls is walked (RePaint's resampling, arXiv 2201.09865).
        jump: calls of a block.
        sampler: the name of a sampler; None is the family's own.
        density: onsets in 16 masked steps, a bar of 4/4, whatever bars the song has: as the models
            learned it; None is as learned.
        busiest: so many at most, where `density` is None; None: any number.
        guidance: weight of the known surroundings; 1 is as learned.
        temperature: below 1 plays safe, above 1 takes risks.
        top_p: share of the probability from which notes are drawn.
        rule: functions that bend what is drawn, see `rules`.
        pitch_bias: float (12,), added to the log-odds of each pitch class.
        own: options that this family alone knows, by name.
        generator: where all random numbers come from.
        start: the step of the picture at which the window begins.
        lines: columns of the window's bar lines, int (lines,), from 0 on; None: those of 4/4.
        end: the column of the window at which the picture ends; what lies behind it is unknown,
            is not composed, and does not count. None: nowhere.
        position: where in its bar each column of the window is, float32 (4, width), as
            `bars.bar_position` says it; None: not known.
        memory: what the rest of each picture says of the window, bool (n, 3, 128, width), as
            `music.recall` finds it; None: not known.
    """

    method: str
    calls: int
    U: int = 1
    jump: int = 1
    sampler: str | None = None
    density: float | None = None
    busiest: float | None = None
    guidance: float = 1.0
    temperature: float = 1.0
    top_p: float | None = None
    rule: Any = None
    pitch_bias: Any = None
    own: Mapping[str, Any] = field(default_factory=dict)
    generator: torch.Generator | None = None
    start: int = 0
    lines: np.ndarray | None = None
    end: int | None = None
    position: np.ndarray | None = None
    memory: np.ndarray | None = None


class Process(Protocol):
    """What a family of models answers; arrays are of pictures 128 pixels high.

    Attributes:
        process: the family's name, as in `--process`.
        options: the names of `inpaint`'s options that it knows. All families take n, seed,
            chords, bars, meters and callback, which are not named here.
        composes_chords: whether it composes masked chord rows itself; else they are estimated
            from the notes.
        trains: whether it learns; if not, it needs no `example` and no `loss`.
        parts: what an optimiser step steps in turn: name -> the prefix of its parameters' names.
            The loss of the first one, which every step must step, is the loss of the run.
        usual_temperature: the temperature at which it composes unless another one is asked for.
        usual_warming: and how much colder it begins then, see `uncover.Uncovering`.
        card: what is known of the trained model: plain JSON values.
        width: columns that it learned.
        steps_per_beat: the grid of the music that it learned.
        span: columns of the widest picture that it composes at once.
        unit: the widths of windows are multiples of it.
        grain: a picture that is narrower than a window is composed at a multiple of it.
    """

    process: ClassVar[str]
    options: ClassVar[frozenset[str]]
    composes_chords: ClassVar[bool]
    trains: ClassVar[bool]
    parts: ClassVar[Mapping[str, str]]
    usual_temperature: ClassVar[float]
    usual_warming: ClassVar[float]
    card: dict[str, Any]
    width: int
    steps_per_beat: int
    span: int

    @property
    def unit(self) -> int:
        """Columns: the widths of windows are multiples of it."""

    @property
    def grain(self) -> int:
        """Columns: a picture narrower than a window is composed at a multiple of it."""

    @property
    def methods(self) -> Mapping[str, int]:
        """How it can answer a mask: name -> network calls in one pass, the default first."""

    def check(self, options: Options) -> Options:
        """The options with the family's own defaults; OptionError where they do not fit."""

    def check_mask(self, mask: np.ndarray) -> None:
        """Raise OptionError for a mask, bool (128, width), that the family cannot answer."""

    def compose(
        self, canvas: np.ndarray, region: np.ndarray, options: Options, report: Report
    ) -> Drawn:
        """Compose a region of pictures anew.

        Args:
            canvas: uint8 (n, 128, width, 3), the pictures. What lies under the region is still
                there, so that a known note that goes on behind it keeps its beginning. Do not
                look at it otherwise.
            region: bool (128, width), True = compose.
            options: how.
            report: call it at each network call as `report({"i": i, "n": n}, draw)`: call i of n,
                and a function that gives what `compose` would return now. Progress bars and live
                pictures come from it.

        Returns:
            For each picture what `Composed` holds: the composed one, uint8 (128, width, 3), how
            many cells inside the region were no music and were cleared, and what it knows of how
            likely that was.
        """

    def surprise(self, picture: np.ndarray, hidden: np.ndarray, options: Options) -> np.ndarray:
        """How surprising each kind of cell would be in hidden cells, given all the others.

        Args:
            picture: uint8 (128, width, 3). Do not look at it where it is hidden.
            hidden: bool (128, width), True = not known; no chord rows.
            options: where the window begins, where bars do, where the picture ends.

        Returns:
            float32 (3, 128, width): -log2 of how likely a cell is silence, a sustain, an onset of
            any velocity. Only the hidden cells count.

        Raises:
            OptionError: the family does not know.
        """

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """What training needs of a window: arrays by name.

        Args:
            window: picture, mask and density.
            u: in [0, 1), evenly spread over a batch: how much is hidden, or how loud the noise.
            rng: for all other random numbers of the example.
            options: the `TrainOptions` of the run.
        """

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """The loss of each example of a batch, float (batch,).

        Args:
            batch: examples, collated.
            forward: calls the model's own `forward`; the model may be wrapped for several devices.
            options: the `TrainOptions` of the run.

        Where there are several `parts`, it is told which one's loss, as `part`. The parameters of
        the others are constants meanwhile: they get no gradients.
        """

    def turns(self, step: int) -> Sequence[str]:
        """The parts that are stepped at an optimiser step, in their order."""

    def after_step(self, part: str) -> None:
        """Do what must be done with the weights of a part each time it was stepped."""

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs to make the same architecture again: plain JSON values."""

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "Model":
        """A model with fresh weights from what `spec` gave."""

    @classmethod
    def from_options(cls, options: Any) -> "Model":
        """A model with fresh weights for a training run with these `TrainOptions`."""

    @classmethod
    def begin_with(cls, model: "Model", options: Any) -> "Model":
        """The model with which a run begins that fine-tunes `model`; see `Model.begin_with`."""

    def parameter_groups(self, weight_decay: float) -> Iterable[dict[str, Any]]:
        """AdamW's groups of parameters, with `lr_scale` and `weight_decay` each.

        A group may have more of AdamW's options, such as `betas`.
        """


class Model(nn.Module):
    """What the families share: a network, how wide it learned, and defaults of the contract.

    A family derives from it, sets `process` and `options`, and writes `methods`, `compose`,
    `example`, `loss`, `spec`, `from_spec` and `from_options`; see `Process`.

    Attributes:
        steps_per_beat: the grid of the music that it learned: 16ths, unless its specification says
            otherwise.
        learns_rows: whether it can learn whole rows, see `chain`; `whole_rows`: whether it did.
        bar_position: whether it is told where in its bar each column is.
        recalls: whether it is told what the rest of the song says of a window, see `music.recall`.
    """

    process: ClassVar[str]
    options: ClassVar[frozenset[str]] = frozenset()
    composes_chords: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    parts: ClassVar[Mapping[str, str]] = {"all": ""}
    usual_temperature: ClassVar[float] = 1.0
    usual_warming: ClassVar[float] = 0.0
    learns_rows: ClassVar[bool] = False
    whole_rows: bool = False
    steps_per_beat: int = 4
    bar_position: bool = False
    recalls: bool = False

    def __init__(self, network: Any, width: int, span: int | None = None) -> None:
        """Keep the network and the widths.

        Args:
            network: an nn.Module.
            width: columns that are learned.
            span: columns of the widest picture that is composed at once; None is `width`.
        """
        super().__init__()
        self.network = network
        self.width = width
        self.span = max(width, span or 0)
        self.card: dict[str, Any] = {}

    @property
    def unit(self) -> int:
        """Columns: the widths of windows are multiples of it."""
        return self.network.multiple[1] if hasattr(self.network, "multiple") else 1

    @property
    def grain(self) -> int:
        """Columns: a picture narrower than a window is composed at a multiple of it."""
        return self.network.grain[1] if hasattr(self.network, "grain") else self.unit

    @property
    def methods(self) -> Mapping[str, int]:
        """How it can answer a mask: name -> network calls in one pass, the default first."""
        raise NotImplementedError(f"{type(self).__name__} must name its methods")

    def check(self, options: Options) -> Options:
        """The options as they are: this family has nothing to add to them."""
        return options

    def check_mask(self, mask: np.ndarray) -> None:
        """Raise nothing: the family answers every mask, bool (128, width)."""

    def compose(
        self, canvas: np.ndarray, region: np.ndarray, options: Options, report: Report
    ) -> Drawn:
        """Compose a region of pictures, uint8 (n, 128, width, 3); see `Process.compose`."""
        raise NotImplementedError(f"{type(self).__name__} must write compose")

    def surprise(self, picture: np.ndarray, hidden: np.ndarray, options: Options) -> np.ndarray:
        """What hidden cells are likely to be, float32 (3, 128, width); see `Process.surprise`.

        Raises:
            OptionError: this family does not know.
        """
        raise OptionError(
            f"{type(self).__name__} does not say how likely a note is; give a cells model, or edm "
            "with the head cells"
        )

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """What training needs of a window: arrays by name; see `Process.example`."""
        raise NotImplementedError(f"{type(self).__name__} must write example")

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """The loss of each example of a batch, float (batch,); see `Process.loss`."""
        raise NotImplementedError(f"{type(self).__name__} must write loss")

    def turns(self, step: int) -> Sequence[str]:
        """The parts that are stepped at an optimiser step: all of them."""
        return list(self.parts)

    def after_step(self, part: str) -> None:
        """Do nothing with the weights of a part that was stepped."""

    def spec(self) -> dict[str, Any]:
        """The process, the width, the grid; and the configuration of a network that has one."""
        spec = {"process": self.process, "width": self.width}
        spec["steps_per_beat"] = self.steps_per_beat
        if hasattr(self.network, "config"):
            spec["network"] = self.network.config.to_dict()
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "Model":
        """A model with fresh weights from what `spec` gave."""
        raise NotImplementedError(f"{cls.__name__} must write from_spec")

    @classmethod
    def from_options(cls, options: Any) -> "Model":
        """A model with fresh weights for a training run with these `TrainOptions`."""
        raise NotImplementedError(f"{cls.__name__} must write from_options")

    @classmethod
    def begin_with(cls, model: "Model", options: Any) -> "Model":
        """The model with which a run begins that fine-tunes another: that one itself.

        A family that can take over the weights of another one makes a model of its own of them.

        Args:
            model: a trained model, of any family.
            options: the `TrainOptions` of the run; its `process` is this family.

        Raises:
            OptionError: it shall learn whole rows and cannot.
        """
        check_rows(type(model), options)
        if options.whole_rows:
            model.whole_rows = True
        return model

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The optimiser's groups of parameters; a network may know better which decay."""
        if hasattr(self.network, "param_groups"):
            return self.network.param_groups(weight_decay)
        return [{"params": list(self.parameters()), "lr_scale": 1.0, "weight_decay": weight_decay}]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def sized_network(size: str, **changes: Any) -> HDiT:
    """An HDiT of one of the sizes in CONFIGS, with some fields changed; OptionError."""
    check_choice("model", size, CONFIGS)
    return HDiT(replace(CONFIGS[size], **changes))


def check_rows(model: type[Model], options: Any) -> None:
    """Raise OptionError where a model shall learn whole rows that knows no states of cells."""
    if options.whole_rows and not model.learns_rows:
        raise OptionError(
            f"whole_rows is True, but {model.__name__} knows no states of cells; "
            "leave it out, or choose cells, or edm with the head cells"
        )


def local_head(options: Any, *, usual: bool, noise: str = "log") -> Local | None:
    """The local head that a new network gets, or None.

    Args:
        options: the `TrainOptions` of the run; `local_head` is "on", "off" or "auto".
        usual: whether it gets one where that is "auto".
        noise: how the head takes the network's noise condition, see `Local`.

    Raises:
        OptionError: `local_head` is something else.
    """
    check_choice("local_head", options.local_head, ("auto", "on", "off"))
    wanted = usual if options.local_head == "auto" else options.local_head == "on"
    return Local(noise=noise) if wanted else None


def told_position(model: Model, window: Window, rng: np.random.Generator) -> np.ndarray | None:
    """Where in its bar each column of a training window is, as a model is told it.

    Args:
        model: says whether it is told at all.
        window: with its bars and meters.
        rng: draws the windows of which nothing is told, so that a model can do without.

    Returns:
        float32 (4, width), see `bars.bar_position`, or zeros; None for a model that is not told.
    """
    if not model.bar_position:
        return None
    width = window.picture.shape[1]
    position = bar_position(window.bars, window.meters, width, model.steps_per_beat)
    return position * np.float32(rng.random() >= UNTOLD_SHARE)


def known_position(model: Model, options: Options, width: int) -> np.ndarray | None:
    """Where in its bar each column of a window is, as a model is told it that composes there.

    Args:
        model: says whether it is told at all.
        options: may hold the position.
        width: columns of the window.

    Returns:
        float32 (4, width), zeros where it is not known; None for a model that is not told.
    """
    if not model.bar_position:
        return None
    unknown = np.zeros((BAR_CHANNELS, width), np.float32)
    return unknown if options.position is None else options.position


def told_memory(model: Model, window: Window, rng: np.random.Generator) -> np.ndarray | None:
    """What the rest of its song says of a training window, as a model is told it.

    Args:
        model: says whether it is told at all.
        window: with its memory.
        rng: draws the windows of which nothing is told, so that a model can do without.

    Returns:
        bool (3, 128, width), see `music.recall`, or zeros; None for a model that is not told.
    """
    if not model.recalls:
        return None
    planes = window.memory
    if not planes.shape[2]:
        planes = np.zeros((len(planes), *window.picture.shape[:2]), bool)
    return np.asarray(planes & (rng.random() >= UNTOLD_SHARE))


def onsets_asked(options: Options, bars: float) -> dict[str, Any]:
    """How many onsets a region shall have, "density", and how many at most, "busiest".

    Args:
        options: say both of 16 steps, or None.
        bars: how many times 16 steps the region has.
    """
    asked = {"density": options.density, "busiest": options.busiest}
    return {name: None if rate is None else rate * bars for name, rate in asked.items()}


def known_memory(model: Model, options: Options, n: int, width: int) -> np.ndarray | None:
    """What the rest of pictures says of a window, as a model is told it that composes there.

    Args:
        model: says whether it is told at all.
        options: may hold the memory.
        n: how many pictures.
        width: columns of the window.

    Returns:
        bool (n, 3, 128, width), zeros where it is not known; None for a model that is not told.
    """
    if not model.recalls:
        return None
    if options.memory is None:
        return np.zeros((n, RECALL_CHANNELS, PITCHES, width), bool)
    return options.memory


def told_spec(model: Model) -> dict[str, Any]:
    """What a specification says of what a model is told: nothing of what it is not."""
    names = ("bar_position", "recalls")
    return {name: True for name in names if getattr(model, name)}


def methods_of(model: Process) -> list[str]:
    """The methods by which a model can inpaint, its default first."""
    return list(model.methods)


def names_of(options: Sequence[str] | frozenset[str]) -> str:
    """Names in a sentence: "a, b and c"."""
    *first, last = sorted(options)
    return f"{', '.join(first)} and {last}" if first else last
