"""inpaint and generate: one mask API over both processes."""
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import edm, masks
from .cells import Cells, chord_channels, sample_cells
from .checkpoint import Model
from .chords import Chord, estimate_chords
from .errors import OptionError
from .picture import MAX_STEPS, PITCHES, check_picture, draw_spans, paint_chords, parse, read_chords, read_spans

Callback = Callable[[dict[str, Any]], None]
Drawn = tuple[np.ndarray, np.ndarray]        # pictures (n, 128, width, 3), and cells or pixels cleared (n,)
BAR = 16                       # windows begin on bars of 4/4, as in training
INK = 20                       # a generated pixel below this (of 255) is black, as in the paper
METHODS = {"cells": {"uncover": 16}, "edm": {"conditioned": 20, "repaint": 40}}      # and their network calls in one pass
FOREIGN = {"cells": ("sampler",), "edm": ("temperature", "top_p", "rule", "pitch_bias")}


class Pictures(np.ndarray):
    """Composed pictures, uint8 (n, 128, width, 3), that remember how: `.seed`, `.refused` (n,), `.seconds`.

    `refused`: pixels (edm) or cells (cells) inside the mask that were no music, such as a sustained note that never
    began, and were cleared.
    """

    seed: int
    refused: np.ndarray
    seconds: float

    def __array_finalize__(self, source: Any) -> None:
        self.__dict__ |= getattr(source, "__dict__", {})


def inpaint(model: Model, picture: np.ndarray, mask: np.ndarray, n: int = 1, seed: int | None = None,
            steps: int | None = None, U: int = 1, jump: int = 1, method: str | None = None, sampler: str | None = None,
            density: float | None = None, guidance: float = 1.0, temperature: float = 1.0, top_p: float = 1.0,
            rule: Any = None, pitch_bias: Any = None, chords: Sequence[Chord] | None = None, bars: Sequence[int] | None = None,
            border: int = 8, callback: Callback | None = None) -> Pictures:
    """Compose the masked region of a picture n times, uint8 (n, 128, width, 3); the rest is returned bit-identical.

    `picture`: uint8 (128, width, 3) of any width; `mask`: bool (128, width), True = regenerate. `seed` None draws one (it is in
    the result's `.seed`). `steps`: network calls in one pass (default: by method); `U`, `jump`: RePaint's resampling (arXiv
    2201.09865), each `jump` steps done U times. `method`: "uncover" for cells; "conditioned" (one pass, where the model was
    trained for it) or "repaint" for edm. `sampler`: edm only, see `edm.SAMPLERS`, or "k_diffusion:NAME". `density`: onsets per
    masked bar of 16 steps. `guidance`: weight of the known surroundings (1 = as learned). `temperature`, `top_p`,
    `pitch_bias`: cells only, see `cells.sample_cells`; so `rule`, a function or a list of them: see `pomkit.rules`. `chords`:
    written into the chord rows first. `bars`: steps of the picture's bar lines, to lay windows on them. Masked chord rows are
    composed by edm, and in cells estimated from the notes. `callback({i, n, preview, ...})`: at each step; preview() gives the
    pictures so far. Raises PictureError, OptionError.
    """
    started = time.monotonic()
    check_picture(picture)
    mask = masks.check_mask(mask, picture)
    options = _checked(model, n=n, steps=steps, U=U, jump=jump, method=method, sampler=sampler, density=density, rule=rule,
                       pitch_bias=pitch_bias, guidance=guidance, temperature=None if temperature == 1 else temperature,
                       top_p=None if top_p == 1 else top_p)
    seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed
    options |= {"border": border, "generator": torch.Generator().manual_seed(seed)}
    compose = partial(_uncover, model, **options) if isinstance(model, Cells) else partial(_denoise, model, **options)
    if chords is not None:
        picture, mask = picture.copy(), mask & ~masks.chords(picture, border=border)
        paint_chords(picture, chords, border=border)
    phases = np.bincount(np.asarray([0] if bars is None else bars, int) % BAR)
    lead = -int(phases.argmax()) % BAR                                       # silence before an upbeat: bars lie on 0, 16 ..
    todo = np.pad(mask, ((0, 0), (lead, 0)))
    windows = list(lay_windows(todo, model.width))
    tail = max([0] + [w.start + model.width - todo.shape[1] for w in windows])
    todo = np.pad(todo, ((0, 0), (0, tail)), constant_values=True)           # what lies beyond the end is unknown too
    canvas = np.repeat(np.pad(picture, ((0, 0), (lead, tail), (0, 0)))[None], n, axis=0)
    visible, refused = slice(lead, lead + picture.shape[1]), np.zeros(n, int)
    for number, window in enumerate(windows):
        inside = slice(window.start, window.start + model.width)
        report = partial(_report, callback, canvas, inside, visible, number, len(windows))
        drawn, cleared = compose(canvas[:, :, inside], todo[:, inside].copy(), report=report, start=window.start - lead)
        canvas[:, :, window] = drawn[:, :, :window.stop - window.start]
        todo[:, window] = False
        refused += cleared
    result = np.ascontiguousarray(canvas[:, :, visible])
    if isinstance(model, Cells) and (hidden := mask & masks.chords(mask, border=border)).any():
        for music in result:
            guess, notes = np.zeros_like(music), parse(music, border=border).notes
            paint_chords(guess, estimate_chords(notes, music.shape[1]), border=border)
            music[hidden] = guess[hidden]
    result[:, ~mask] = picture[~mask]
    out = result.view(Pictures)
    out.seed, out.refused, out.seconds = seed, refused, time.monotonic() - started
    return out


def generate(model: Model, width: int = 512, n: int = 1, seed: int | None = None, border: int = 8,
             chords: Sequence[Chord] | None = None, **options: Any) -> Pictures:
    """Compose n pictures of `width` steps from nothing, uint8 (n, 128, width, 3); options as in `inpaint`."""
    if not 1 <= width <= MAX_STEPS:
        raise OptionError(f"width is {width}; choose 1 to {MAX_STEPS} steps")
    empty = np.zeros((PITCHES, width, 3), np.uint8)
    mask = masks.everything(empty, chords=chords is None, border=border)
    return inpaint(model, empty, mask, n, seed, border=border, chords=chords, **options)


def lay_windows(mask: np.ndarray, width: int) -> Iterator[slice]:
    """Where a model of `width` columns composes a wider picture: slices start:stop of columns to be settled in turn.

    The window begins at `start` and is `width` wide, of which columns up to `stop` are settled; the next one begins a
    quarter window or more before them, so it hears what came before. Starts are multiples of 16.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    last_start = max(0, -(-(mask.shape[1] - width) // BAR) * BAR)
    while len(columns):
        start = min(max((int(columns[0]) - width // 4) // BAR * BAR, 0), last_start)
        stop = start + (width if columns[-1] < start + width else 3 * width // 4)
        yield slice(start, stop)
        columns = columns[columns >= stop]


def to_pixels(picture: np.ndarray) -> Tensor:
    """uint8 (..., 128, width, 3) -> float32 (..., 3, 128, width) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture)).movedim(-1, -3).float() / 127.5 - 1


def to_picture(x: Tensor) -> np.ndarray:
    """float (..., 3, 128, width) -> uint8 (..., 128, width, 3), the inverse of `to_pixels`, clipped."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1).cpu().numpy()


def clean(picture: np.ndarray, mask: np.ndarray, border: int = 8) -> tuple[np.ndarray, int]:
    """A generated picture made music inside the mask, and how many inked pixels were cleared.

    Red or green above 20 of 255 is ink, the stronger of the two counts; green without a red or green pixel before it is
    no note; blue is none. Chord rows take the nearest colour of the palette.
    """
    spans = read_spans(picture, border=border, threshold=INK)
    tidy = draw_spans(spans.onset, spans.sustain, spans.velocity)
    ink = (picture[..., :2] > INK).any(axis=2)
    cleared = int((ink & ~(spans.onset | spans.sustain) & mask)[border:PITCHES - border].sum())
    paint_chords(tidy, read_chords(picture, border), border=border)
    return np.where(mask[..., None], tidy, picture), cleared


def _uncover(model: Cells, canvas: np.ndarray, region: np.ndarray, *, border: int, report: Callable[..., None], method: str,
             density: float | None = None, **options: Any) -> Drawn:
    """One window by the cells process."""
    device = next(model.parameters()).device
    cells = torch.from_numpy(np.stack([model.encode(p, border) for p in canvas])).to(device)
    chords = torch.from_numpy(np.stack([chord_channels(p, region, border) for p in canvas])).to(device)
    notes = region & ~masks.chords(region, border=border)
    onsets = None if density is None else density * notes.any(axis=0).sum() / BAR

    def draw(cells: Tensor) -> Drawn:
        return _stacked(model.decode(c, p, notes, border) for c, p in zip(cells.cpu().numpy(), canvas, strict=True))

    return draw(sample_cells(model, cells, chords, torch.from_numpy(notes).to(device), model.states, density=onsets,
                             whole_notes=True, callback=lambda e: report(e, partial(draw, e["cells"])), **options))


@torch.inference_mode()
def _denoise(model: edm.Denoiser, canvas: np.ndarray, region: np.ndarray, *, border: int, report: Callable[..., None],
             start: int, method: str, steps: int, guidance: float, density: float | None = None, **options: Any) -> Drawn:
    """One window by the edm process, conditioned or by RePaint."""
    device = next(model.parameters()).device
    x0 = to_pixels(canvas).to(device)
    mask = torch.from_numpy(region).to(device).expand(len(x0), 1, -1, -1)
    conditions: dict[str, Any] = {} if density is None else {"density": torch.full((len(x0),), float(density), device=device)}
    denoiser = seeing(model, x0, mask, guidance) if method == "conditioned" else model

    def draw(x: Tensor) -> Drawn:
        return _stacked(clean(p, region, border) for p in to_picture(torch.where(mask, x, x0)))

    return draw(edm.repaint(denoiser, x0, mask, edm.karras_sigmas(int(steps)).to(device),
                            callback=lambda e: report(e, partial(draw, e["denoised"])), **options, **conditions))


def _stacked(pairs: Iterable[tuple[np.ndarray, int]]) -> Drawn:
    pictures, cleared = zip(*pairs, strict=True)
    return np.stack(pictures), np.array(cleared)


def seeing(model: edm.Denoiser, known: Tensor, mask: Tensor, guidance: float = 1.0) -> Callable[..., Tensor]:
    """The denoiser that sees the known pixels, with classifier-free guidance on them (arXiv 2207.12598): u + g (c - u)."""
    def denoiser(x: Tensor, sigma: Tensor, **conditions: Any) -> Tensor:
        conditional = model(x, sigma, known=known, mask=mask, **conditions)
        if guidance == 1:
            return conditional
        free = model(x, sigma, **conditions)
        return free + guidance * (conditional - free)

    return denoiser


def _report(callback: Callback | None, canvas: np.ndarray, inside: slice, visible: slice, number: int, count: int,
            event: dict[str, Any], draw: Callable[[], Drawn]) -> None:
    """Tell the callback of a step, its counts taken over all windows and its preview over the whole picture."""
    def preview() -> np.ndarray:
        whole = canvas.copy()
        whole[:, :, inside] = draw()[0]
        return whole[:, :, visible]

    if callback is not None:
        n = event["n"]
        callback(event | {"i": number * n + event["i"], "n": count * n, "preview": preview})


def methods_of(model: Model) -> list[str]:
    """The methods by which a model can inpaint, its default first."""
    return [m for m in METHODS[model.process] if m != "conditioned" or getattr(model, "conditioned", False)]


def _checked(model: Model, n: int, **options: Any) -> dict[str, Any]:
    """The options that are given, with method and steps; OptionError for what does not exist or is foreign to the process."""
    process, options = model.process, {key: value for key, value in options.items() if value is not None}
    if foreign := [key for key in FOREIGN[process] if key in options]:
        raise OptionError(f"{foreign[0]} is an option of {'edm' if process == 'cells' else 'cells'} models, this one is "
                          f"{process}; leave it out")
    method = options.setdefault("method", methods_of(model)[0])
    if method not in METHODS[process]:
        raise OptionError(f"method {method!r} does not exist for a model of process {process}; "
                          f"choose one of {', '.join(METHODS[process])}")
    if method not in methods_of(model):
        raise OptionError("this model was trained without known pixels; use method='repaint'")
    if method == "repaint" and options["guidance"] != 1:
        raise OptionError("guidance needs method='conditioned'; RePaint's network does not see the known pixels")
    options.setdefault("steps", METHODS[process][method])
    for name, most in {"n": 1024, "steps": 10000, "U": 1000, "jump": 10000}.items():
        value = n if name == "n" else options.get(name)
        if not isinstance(value, int | np.integer) or not 1 <= value <= most:
            raise OptionError(f"{name} is {value!r}; choose a whole number from 1 to {most}")
    if not 0 <= options.get("density", 0) < 10000:
        raise OptionError(f"density is {options['density']}; choose onsets per masked bar, 0 or more")
    edm.get_sampler(options.get("sampler", "dpmpp_2m"))
    return options
