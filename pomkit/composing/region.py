"""`inpaint` and `generate`: a picture in, pictures out, whatever family the model is of.

    result = inpaint(load_model("tiny"), picture, mask, n=4, seed=1)
    result[0]                          # uint8 (128, width, 3), bit-identical outside the mask

The stages: `lay_out` puts the picture on a canvas on which windows begin with bars, as in training,
`compose_windows` fills the mask, part after part where it is too wide for one, and `finish` puts
the rest of the picture back.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch

from ..errors import OptionError, check_choice, check_whole, shown
from ..music import masks
from ..music.bars import (
    bar_position,
    half_bars,
    later_lines,
    later_meters,
    lines_until,
    missing_of_upbeat,
)
from ..music.chords import Chord
from ..music.grid import Meter
from ..music.harmony import estimate_chords
from ..music.palette import paint_chords
from ..music.picture import parse
from ..music.pixels import PITCHES, check_picture
from ..music.recall import RECALL_CHANNELS, KnownSong, WholeSong, near_bars, recall
from ..music.song import Song
from ..music.tables import BAR, MAX_STEPS, NOTE_DTYPE
from ..processes.checkpoint import load_model
from ..processes.contract import Callback, Composed, Drawn, Model, Options
from ..processes.wide import lay_windows, line_after, reach_of
from .busyness import density_from_nothing
from .options import check_options, refuse_positional

# The largest block, in bytes, of which glibc learns that blocks of its size come and go.
LEARNED_BLOCK = 31 << 20
# By what share the first call is colder, at most, where nothing is known.
WARMING_FROM_NOTHING = 0.15
# A window may begin inside a bar that is longer than this, in steps.
LONGEST_UNCUT = 4 * BAR
# The numbers of composed pictures by which they can be put in order.
RANKED_BY = ("entropy", "surprise", "refused")


class Pictures(np.ndarray):
    """Composed pictures, uint8 (n, 128, width, 3), that remember how.

    Attributes:
        seed: of all random numbers.
        refused: int (n,), the pixels or cells inside the mask that were no music,
            such as a sustained note that never began, and were cleared.
        surprise: float (n,), how unlikely the model held what it drew, in bits, before anything
            bent its answer; NaN where the family does not say. Cells that it drew in one call
            count as if they knew nothing of each other.
        entropy: float (n,), the surprise that was to be expected on the way, in bits.
        seconds: how long it took.
    """

    seed: int
    refused: np.ndarray
    surprise: np.ndarray
    entropy: np.ndarray
    seconds: float

    def ranked(self, by: str) -> "Pictures":
        """The candidates in another order, the lowest first: of its numbers each keeps its own.

        The surest is not the best: a discriminator finds the candidates of which `tiny` was least
        sure the most real ones (assets/models/README.md).

        Args:
            by: "entropy": those first of which the model was surest on its way; "surprise": those
                that it held likeliest; "refused".

        Returns:
            uint8 (n, 128, width, 3).

        Raises:
            OptionError: `by` is something else, or the model did not say.
        """
        check_choice("by", by, RANKED_BY)
        if np.isnan(getattr(self, by)).any():
            raise OptionError(
                f"this model does not say its {by}; give a cells model, or choose by='refused'"
            )
        order = np.argsort(getattr(self, by), kind="stable")
        result = cast(Pictures, self[order])
        vars(result).update({name: getattr(self, name)[order] for name in RANKED_BY})
        return result

    def __array_finalize__(self, source: Any) -> None:
        self.__dict__ |= getattr(source, "__dict__", {})

    def __reduce__(self) -> tuple[Any, ...]:
        """How to make it again: as numpy's arrays, and with the attributes, which those lose."""
        make, arguments, state = cast(tuple[Any, Any, Any], super().__reduce__())
        return make, arguments, (state, self.__dict__)

    def __setstate__(self, state: Any) -> None:
        """Take up what `__reduce__` gave."""
        array, attributes = state
        super().__setstate__(array)
        self.__dict__ |= attributes


# fmt: off
def inpaint(
    model: Model | str, picture: np.ndarray, mask: np.ndarray, *positional: Any,
    n: int = 1, seed: int | None = None, calls: int | None = None, steps: int | None = None,
    method: str | None = None, U: int = 1, jump: int = 1, sampler: str | None = None,
    density: float | None = None, busiest: float | None = None,
    guidance: float = 1.0, temperature: float | None = None,
    top_p: float | None = None, rule: Any = None, pitch_bias: Any = None,
    chords: Sequence[Chord] | None = None, bars: Sequence[int] | None = None,
    meters: Sequence[Meter] = (), whole: WholeSong | bool | None = None,
    callback: Callback | None = None, **own: Any,
) -> Pictures:
    # fmt: on
    """Compose the masked region of a picture anew; the rest is returned bit-identical.

    Which options a model knows stands in `model.options`; another one is an OptionError. Masked
    chord rows are composed by edm's pixels head; with all others they are estimated from the
    notes. Where `chords` are given, the chord rows show these, masked or not.

    Args:
        model: what `load_model` gives, or what it takes: a name, or a path.
        picture: uint8 (128, width, 3), of any width.
        mask: bool (128, width), True = regenerate.
        positional: nothing; all that follows is given by name.
        n: how many candidates.
        seed: of all random numbers, a whole number of 64 bits; None draws one, see the result's
            `.seed`.
        calls: network calls in one pass; None is the method's own number.
        steps: the older name of `calls`.
        method: "uncover" for cells; "conditioned" (one pass, where the model learned it) or
            "repaint" for edm. See `model.methods`.
        U: times that each block of calls is walked (RePaint's resampling, arXiv 2201.09865).
        jump: calls of a block.
        sampler: edm: its name, see `samplers.get_sampler`.
        density: onsets in 16 masked steps, a bar of 4/4, whatever bars the song has; None: as many
            as the model expects; where neither a note nor a chord is known, as many as one of the
            windows has that it learned from, which the seed chooses (`density_from_nothing`).
        busiest: not edm's pixels head: so many at most, where no density is asked for.
        guidance: weight of the known surroundings; 1 is as learned.
        temperature: not edm's pixels head: 1 is as learned, below 1 plays safe, above 1 takes
            risks; None: the model's own, `model.usual_temperature`, of cells with `warming`.
        top_p: not edm's pixels head: share of the probability from which notes are drawn.
        rule: not edm's pixels head: a function that bends what is drawn, or several, see `rules`.
        pitch_bias: not edm's pixels head: float (12,), added to the log-odds of notes by pitch
            class from C.
        chords: written into the chord rows first.
        bars: steps of the picture's bar lines, on which windows begin; None: those of 4/4, from
            column 0 on. A model that learned with `--bar-position` sees them.
        meters: (step, numerator, denominator) of the picture, as a Song has them: which notes such
            a model takes for beats; before the first one they are quarters.
        whole: the song of which the picture is a part, for a model that learned with `--memory`;
            None: the picture is all there is. False: nothing is looked up in other bars, so that
            bars that come back in the song are composed anew, and not as they were.
        callback: is given {"i", "n", "preview"} at each call; preview() are the pictures so far.
        own: options that the model's family alone knows: `order` and `remask` of cells, see
            `processes.orders`, and `warming`, by what share of the temperature the first call is
            colder; `strength` of edm, see `processes.strength`; `whole_notes` of edm's cells head.

    Returns:
        uint8 (n, 128, width, 3).

    Raises:
        PictureError: the picture or the mask has another shape or type.
        OptionError: an option does not fit, or is foreign to the model.
    """
    started = time.monotonic()
    keep_freed_memory()
    refuse_positional("inpaint", positional)
    model = model_of(model)
    check_picture(picture)
    mask = masks.check_mask(mask, picture)
    own |= dict(n=n, calls=calls, steps=steps, method=method, U=U, jump=jump, sampler=sampler)
    own |= dict(density=density, busiest=busiest, guidance=guidance)
    own |= dict(temperature=temperature, top_p=top_p)
    options = check_options(model, own | dict(rule=rule, pitch_bias=pitch_bias))
    seed = seed_of(seed)
    options = replace(options, generator=torch.Generator().manual_seed(seed))

    if chords is not None:
        mask = mask & ~masks.chords(picture)
        picture = picture.copy()
        paint_chords(picture, chords)
    model.check_mask(mask)
    layout = lay_out(model, picture, mask, bars, meters=meters)
    layout = replace(layout, whole=memory_source(whole, layout))
    if not layout.is_anything_known:
        if density is None and busiest is None:
            options = replace(options, density=density_from_nothing(model, seed=seed))
        options = with_less_warming(options, own)
    canvas, counts = compose_windows(model, layout, options, n=n, callback=callback)
    result = finish(model, canvas, picture, mask, bars=bars)
    vars(result).update(counts, seed=seed, seconds=time.monotonic() - started)
    return result


def with_less_warming(options: Options, given: Mapping[str, Any]) -> Options:
    """The options for music before which nothing is known; `given`: what the caller asked for.

    A cold beginning makes what is known come back. Where nothing is, it repeats a few pitches.
    """
    usual = options.own.get("warming", 0.0)
    if given.get("warming") is not None or usual <= WARMING_FROM_NOTHING:
        return options
    return replace(options, own={**options.own, "warming": WARMING_FROM_NOTHING})


def model_of(model: Any) -> Model:
    """A model, or the one of a name or path; OptionError where it is neither."""
    if isinstance(model, str | os.PathLike):
        return load_model(model)
    if not hasattr(model, "compose"):
        raise OptionError(f"model is {shown(model)}; give what load_model gives, or a name")
    return cast(Model, model)


@cache
def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next call; what it does is done once.

    On Linux it else gives large blocks back to the system at once, and takes them anew at the next
    operation, page by page: a quarter of the time of a call of edm. It learns from the first large
    block that is freed.
    """
    torch.empty(LEARNED_BLOCK, dtype=torch.uint8)


def seed_of(seed: Any) -> int:
    """A seed as Python's number; None: one that is drawn; OptionError where it is none."""
    if seed is None:
        return int(np.random.default_rng().integers(2**31))
    check_whole("seed", seed, -(2**63), 2**64 - 1)
    return int(seed)


def generate(
    model: Model | str,
    width: int = 512,
    n: int = 1,
    *,
    seed: int | None = None,
    chords: Sequence[Chord] | None = None,
    **options: Any,
) -> Pictures:
    """Compose pictures from nothing.

    Args:
        model: what `load_model` gives, or what it takes: a name, or a path.
        width: steps.
        n: how many.
        seed: of all random numbers; None draws one.
        chords: written into the chord rows; None: the model composes them, too.
        options: those of `inpaint`.

    Returns:
        uint8 (n, 128, width, 3).

    Raises:
        OptionError: an option does not fit, or is foreign to the model.
    """
    check_whole("width", width, 1, MAX_STEPS, unit="steps")
    empty = np.zeros((PITCHES, width, 3), np.uint8)
    mask = masks.everything(empty, chords=chords is None)
    return inpaint(model, empty, mask, n=n, seed=seed, chords=chords, **options)


@dataclass(frozen=True)
class Layout:
    """A picture on a canvas that begins with a whole bar.

    Attributes:
        canvas: uint8 (128, w, 3), the picture with silence before and after it.
        todo: bool (128, w), True = compose; what lies beyond the end is unknown, too.
        windows: the columns to settle, part after part.
        reach: columns that are composed together, from the start of a part.
        lead: columns of silence before the picture.
        width: columns of the picture.
        lines: columns of the bar lines, on which windows begin, int (lines,), from 0 on.
        position: where in its bar each column is, float32 (4, w), see `bars.bar_position`.
        whole: the song of which the picture is a part; where none is known, the picture; None:
            nothing is looked up.
    """

    canvas: np.ndarray
    todo: np.ndarray
    windows: list[slice]
    reach: int
    lead: int
    width: int
    lines: np.ndarray
    position: np.ndarray
    whole: WholeSong | None

    @property
    def is_anything_known(self) -> bool:
        """Whether a note or a chord stands in a cell that is not composed."""
        return bool((self.canvas.any(-1) & ~self.todo).any())

    @property
    def visible(self) -> slice:
        """The columns of the picture."""
        return slice(self.lead, self.lead + self.width)

    def options_of(self, window: slice, options: Options) -> Options:
        """The options of one window: where it begins, where bars do, where the picture ends."""
        lines = self.lines[self.lines >= window.start] - window.start
        end = self.visible.stop - window.start
        position = self.position[:, window.start : window.start + self.reach]
        start = window.start - self.lead
        return replace(options, start=start, lines=lines, end=end, position=position)

    def memory_of(self, window: slice, canvas: np.ndarray, todo: np.ndarray) -> np.ndarray:
        """What the rest of pictures, or of their song, says of a window, bool (n, 3, 128, reach).

        Args:
            window: the columns that are settled.
            canvas: uint8 (n, 128, w, 3), the pictures so far.
            todo: bool (128, w), what is not known of them.
        """
        if self.whole is None:
            return np.zeros((len(canvas), RECALL_CHANNELS, PITCHES, self.reach), bool)

        inside = self.visible
        canvas, todo = self.whole.around(canvas[:, :, inside], todo[:, inside])
        lines = self.whole.lines
        start = window.start - self.lead + self.whole.at

        # Silence before the song's beginning is reminded of nothing.
        before = max(-start, 0)
        reach = self.reach - before
        near = near_bars(lines, start + before, reach)
        close = lines[(lines >= near.start) & (lines < near.stop)] - near.start
        sheets = [KnownSong.of(one[:, near], todo[:, near], close) for one in canvas]
        planes = np.stack([recall(each, start + before - near.start, reach) for each in sheets])
        return np.pad(planes, ((0, 0), (0, 0), (0, 0), (before, 0)))

    def memory_without(self, window: slice, hidden: np.ndarray) -> np.ndarray:
        """What the rest says of a window's hidden cells, bool (1, 3, 128, reach).

        Args:
            window: the columns that are settled.
            hidden: bool (128, reach), all that is not known of the picture.
        """
        todo = np.zeros_like(self.todo)
        todo[:, self.visible.stop :] = True
        todo[:, window.start : window.start + self.reach] |= hidden
        return self.memory_of(window, self.canvas[None], todo)


def memory_source(whole: Any, layout: Layout) -> WholeSong | None:
    """Where a model looks up other bars.

    Args:
        whole: the option of `inpaint`.
        layout: knows the picture.

    Returns:
        A song; None: it looks up nothing.

    Raises:
        OptionError: `whole` is something else.
    """
    if whole is None or whole is True:
        return layout.whole
    if whole is False:
        return None
    if not isinstance(whole, WholeSong):
        raise OptionError(f"whole is {shown(whole)}; give WholeSong.of(song, start), or False")
    return whole


def lay_out(
    model: Model,
    picture: np.ndarray,
    mask: np.ndarray,
    bars: Sequence[int] | None,
    *,
    meters: Sequence[Meter] = (),
) -> Layout:
    """Put a picture on a canvas, and say which windows are composed.

    Args:
        model: its width and unit decide.
        picture: uint8 (128, width, 3).
        mask: bool (128, width), True = compose.
        bars: steps of the bar lines; None: those of 4/4.
        meters: (step, numerator, denominator) of the picture, by their steps.
    """
    # Silence before an upbeat makes a whole bar of it.
    known = bar_steps(bars)
    lead = missing_of_upbeat(lines_until(known, picture.shape[1]))
    todo = np.pad(mask, ((0, 0), (lead, 0)))

    # The windows of one call shall begin on bar lines, too: the last one ends with the canvas.
    lines = places_to_begin(known, lead, todo.shape[1])
    reach = reach_of(todo, model.width, model.unit, model.grain, lines=lines)
    if reach > model.span:
        reach = line_after(lines, reach - model.span) + model.span

    # The last window may reach beyond the picture's end.
    windows = list(lay_windows(todo, reach, model.width // 4, lines))
    tail = max([0] + [window.start + reach - todo.shape[1] for window in windows])
    todo = np.pad(todo, ((0, 0), (0, tail)), constant_values=True)
    canvas = np.pad(picture, ((0, 0), (lead, tail), (0, 0)))

    # What a model may be told of the metre, upbeat and tail included.
    signs = later_meters(meter_signs(meters), lead)
    bar_lines = lines_until(known, picture.shape[1])
    later = later_lines(bar_lines, lead)
    position = bar_position(later, signs, canvas.shape[1], model.steps_per_beat)
    whole = WholeSong(picture, 0, bar_lines)
    return Layout(canvas, todo, windows, reach, lead, picture.shape[1], lines, position, whole)


def places_to_begin(bars: np.ndarray, lead: int, width: int) -> np.ndarray:
    """The columns of a canvas on which a window may begin: bar lines, and some in very long bars.

    Args:
        bars: steps of the bar lines, int (lines,).
        lead: columns of the canvas before step 0.
        width: columns of the canvas, the lead included.

    Returns:
        Increasing, int (lines,), from 0 on, none farther than LONGEST_UNCUT from the next.
    """
    lines = lines_until(bars, width) + lead
    lines[0] = 0
    inside = [np.zeros(0, int)]
    for start, stop in pairwise(lines.tolist()):
        if stop - start > LONGEST_UNCUT:
            inside.append(np.arange(start, min(stop, width), BAR))
    return np.unique(np.concatenate([lines, *inside]))


def bar_steps(bars: Any) -> np.ndarray:
    """Steps of bar lines as an array, int (lines,); None: only step 0; OptionError for others."""
    lines = np.asarray([0] if bars is None else bars)
    is_list = lines.ndim == 1 and (lines.size == 0 or lines.dtype.kind in "ui")
    if not is_list:
        raise OptionError(f"bars is {shown(bars)}; give the steps of the bar lines, whole numbers")
    return lines.astype(int)


def meter_signs(meters: Any) -> tuple[Meter, ...]:
    """Time signatures as a Song keeps them; OptionError for others."""
    return Song(np.zeros(0, NOTE_DTYPE), meters=meters).meters


def compose_windows(
    model: Model, layout: Layout, options: Options, *, n: int, callback: Callback | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Compose the windows of a layout, each with the last one's music known.

    Args:
        model: composes.
        layout: see `lay_out`.
        options: how.
        n: how many candidates.
        callback: is told of every network call.

    Returns:
        The picture's columns, uint8 (n, 128, width, 3); and by name, (n,), what `Pictures` tells
        of each: summed over the windows.
    """
    canvas = np.repeat(layout.canvas[None], n, axis=0)
    todo = layout.todo.copy()
    refused = np.zeros(n, int)
    bits = np.zeros((2, n))
    for number, window in enumerate(layout.windows):
        inside = slice(window.start, window.start + layout.reach)
        reporter = Reporter(callback, canvas, inside, layout, number)
        here = layout.options_of(window, options)
        if model.recalls:
            here = replace(here, memory=layout.memory_of(window, canvas, todo))
        drawn = model.compose(canvas[:, :, inside], todo[:, inside].copy(), here, reporter.report)

        pictures, cleared, *said = zip(*(Composed(*each) for each in drawn), strict=True)
        settled = window.stop - window.start
        canvas[:, :, window] = np.array(pictures)[:, :, :settled]
        todo[:, window] = False
        refused += cleared
        bits += said
    counts = {"refused": refused, "surprise": bits[0], "entropy": bits[1]}
    return np.ascontiguousarray(canvas[:, :, layout.visible]), counts


@dataclass(frozen=True)
class Reporter:
    """Tells `inpaint`'s callback of one window's calls, as calls of the whole picture.

    Attributes:
        callback: what is told; None: nothing.
        canvas: uint8 (n, 128, w, 3), all windows that are finished.
        inside: the columns of this window.
        layout: of the picture.
        number: of this window.
    """

    callback: Callback | None
    canvas: np.ndarray
    inside: slice
    layout: Layout
    number: int

    def report(self, event: dict[str, Any], draw: Callable[[], Drawn]) -> None:
        """Pass an event on; `draw` draws the window as it is now."""
        if self.callback is None:
            return
        calls = event["n"]
        windows = len(self.layout.windows)
        place = {"i": self.number * calls + event["i"], "n": windows * calls}
        self.callback(event | place | {"preview": partial(self.preview, draw)})

    def preview(self, draw: Callable[[], Drawn]) -> np.ndarray:
        """The pictures so far, uint8 (n, 128, width, 3)."""
        whole = self.canvas.copy()
        whole[:, :, self.inside] = [each[0] for each in draw()]
        return whole[:, :, self.layout.visible]


def finish(
    model: Model,
    result: np.ndarray,
    picture: np.ndarray,
    mask: np.ndarray,
    *,
    bars: Sequence[int] | None = None,
) -> Pictures:
    """Estimate chords where nobody composed them, and put the rest of the picture back.

    Args:
        model: may compose chord rows itself.
        result: uint8 (n, 128, width, 3), composed; changed in place.
        picture: uint8 (128, width, 3), as it was.
        mask: bool (128, width), True = composed.
        bars: steps of the bar lines, as `inpaint` takes them; None: those of 4/4.
    """
    hidden = mask & masks.chords(mask)
    if hidden.any() and not model.composes_chords:
        for music, guess in zip(result, guessed_chords(result, bars), strict=True):
            music[hidden] = guess[hidden]
    result[:, ~mask] = picture[~mask]
    return result.view(Pictures)  # (n, 128, width, 3)


def guessed_chords(
    pictures: np.ndarray, bars: Sequence[int] | None = None
) -> Iterator[np.ndarray]:
    """The chord rows that pictures' notes ask for, each uint8 (128, width, 3).

    Args:
        pictures: uint8 (n, 128, width, 3).
        bars: steps of the bar lines: there is a chord for each half bar; None: those of 4/4.
    """
    width = pictures.shape[2]
    edges = half_bars(lines_until(bar_steps(bars), width), BAR // 4)
    edges = np.append(edges[edges < width], width)
    for music in pictures:
        guess = np.zeros_like(music)
        paint_chords(guess, estimate_chords(parse(music).notes, edges))
        yield guess
