"""inpaint and generate: one mask API over both processes."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import edm
from .cells import Cells, chord_channels, sample_cells
from .checkpoint import Model
from .chords import Chord, estimate_chords
from .errors import OptionError
from .masks import check_mask, everything
from .masks import chords as chord_rows
from .picture import MAX_STEPS, PITCHES, check_picture, draw_spans, paint_chords, parse, read_chords, read_spans

Callback = Callable[[dict[str, Any]], None]
BAR = 16                       # windows begin on bars of 4/4, as in training
INK = 20                       # a generated pixel below this (of 255) is black, as in the paper
METHODS = {"cells": ("uncover",), "edm": ("conditioned", "repaint")}
STEPS = {"uncover": 20, "conditioned": 20, "repaint": 40}
FOREIGN = {"cells": ("sampler",), "edm": ("temperature", "rule", "pitch_bias")}


class Pictures(np.ndarray):
    """Composed pictures, uint8 (n, 128, width, 3), that remember how: `.seed`, `.refused` (n,), `.seconds`.

    `refused`: pixels (edm) or cells (cells) inside the mask that were no music, such as a sustained note that never
    began, and were cleared.
    """

    seed: int
    refused: np.ndarray
    seconds: float

    def __array_finalize__(self, source: Any) -> None:
        for key in ("seed", "refused", "seconds"):
            setattr(self, key, getattr(source, key, None))


def inpaint(model: Model, picture: np.ndarray, mask: np.ndarray, n: int = 1, seed: int | None = None,
            steps: int | None = None, U: int = 1, jump: int = 1, method: str | None = None, sampler: str | None = None,
            density: float | None = None, guidance: float = 1.0, temperature: float = 1.0, rule: Any = None,
            pitch_bias: Any = None, chords: Sequence[Chord] | None = None, bars: Sequence[int] | None = None,
            border: int = 8, callback: Callback | None = None) -> Pictures:
    """Compose the masked region of a picture n times, uint8 (n, 128, width, 3); the rest is returned bit-identical.

    `picture`: uint8 (128, width, 3) of any width; `mask`: bool (128, width), True = regenerate. `seed` None draws one (it
    is in the result's `.seed`). `steps`: network calls in one pass (default: by method); `U`, `jump`: RePaint's resampling
    (arXiv 2201.09865), each `jump` steps done U times. `method`: "uncover" for cells; "conditioned" (one pass, where the
    model was trained for it) or "repaint" for edm. `sampler`: edm only, see `edm.SAMPLERS`, or "k_diffusion:NAME".
    `density`: onsets per masked bar of 16 steps. `guidance`: weight of the known surroundings (1 = as learned).
    `temperature`, `pitch_bias`, `rule`: cells only, see `cells.sample_cells`. `chords`: written into the chord rows first.
    `bars`: steps of the picture's bar lines, to lay windows on them. Masked chord rows are composed by edm, and in cells
    estimated from the notes. `callback({i, n, preview, ...})`: at each step; preview() gives the pictures so far.
    Raises PictureError, OptionError.
    """
    started = time.monotonic()
    check_picture(picture)
    mask = check_mask(mask, picture)
    method, steps = _check_options(model, method, steps, n, U, jump, guidance, density,
                                   {"sampler": sampler, "temperature": None if temperature == 1 else temperature,
                                    "rule": rule, "pitch_bias": pitch_bias})
    seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed
    generator = torch.Generator().manual_seed(seed)
    if chords is not None:
        picture, mask = picture.copy(), mask & ~chord_rows(picture, border=border)
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
        region = todo[:, inside].copy()
        options = {"steps": steps, "U": U, "jump": jump, "guidance": guidance, "generator": generator}
        report = _reporter(callback, number, len(windows), canvas, inside, visible)
        if isinstance(model, Cells):
            options |= {"density": density, "temperature": temperature, "rule": rule, "pitch_bias": pitch_bias}
            drawn, cleared = _uncover(model, canvas[:, :, inside], region, border, options, report)
        else:
            options |= {"density": density, "sampler": sampler or "dpmpp_2m", "method": method}
            drawn, cleared = _denoise(model, canvas[:, :, inside], region, border, options, report)
        commit = slice(window.start, min(window.stop, todo.shape[1]))
        canvas[:, :, commit] = drawn[:, :, :commit.stop - commit.start]
        todo[:, commit] = False
        refused += cleared
    result = np.ascontiguousarray(canvas[:, :, visible])
    if isinstance(model, Cells) and border:
        _refill_chords(result, mask, border)
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
    mask = everything(empty, chords=chords is None, border=border)
    return inpaint(model, empty, mask, n, seed, border=border, chords=chords, **options)


def lay_windows(mask: np.ndarray, width: int) -> Iterator[slice]:
    """Where a model of `width` columns composes a wider picture: slices start:stop of columns to be settled in turn.

    The window begins at `start` and is `width` wide, of which columns up to `stop` are settled; the next one begins a
    quarter window or more before them, so it hears what came before. Starts are multiples of 16.
    """
    columns = np.flatnonzero(mask.any(axis=0))
    last_start = max(0, -(-(mask.shape[1] - width) // BAR) * BAR)
    while len(columns):
        start = (int(columns[0]) - width // 4) // BAR * BAR
        start = min(max(start, 0), last_start)
        beyond = columns[columns >= start + width]
        stop = start + (3 * width // 4 if len(beyond) else width)
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
    if border:
        paint_chords(tidy, read_chords(picture, border), border=border)
    return np.where(mask[..., None], tidy, picture), cleared


def _uncover(model: Cells, canvas: np.ndarray, region: np.ndarray, border: int, options: dict[str, Any],
             report: Callback | None) -> tuple[np.ndarray, np.ndarray]:
    """One window by the cells process: pictures (n, 128, width, 3) and cells cleared (n,)."""
    device = next(model.parameters()).device
    notes = region.copy()
    notes[:border] = notes[PITCHES - border:] = False
    cells = torch.from_numpy(np.stack([model.encode(p, border) for p in canvas])).to(device)
    chords = torch.from_numpy(np.stack([chord_channels(p, region, border) for p in canvas])).to(device)
    if options["density"] is not None:
        options["density"] *= notes.any(axis=0).sum() / BAR
    if options["pitch_bias"] is not None:
        options["pitch_bias"] = torch.as_tensor(np.asarray(options["pitch_bias"], np.float32))

    def draw(cells: Tensor) -> tuple[np.ndarray, np.ndarray]:
        pairs = [model.decode(c, p, notes, border) for c, p in zip(cells.cpu().numpy(), canvas, strict=True)]
        return np.stack([p for p, _ in pairs]), np.array([cleared for _, cleared in pairs])

    step = None if report is None else lambda e: report(e | {"preview": lambda: draw(e["cells"])[0]})
    inside = torch.from_numpy(notes).to(device)
    cells = sample_cells(model, cells, chords, inside, model.states, whole_notes=True, callback=step, **options)
    return draw(cells)


def _denoise(model: edm.Denoiser, canvas: np.ndarray, region: np.ndarray, border: int, options: dict[str, Any],
             report: Callback | None) -> tuple[np.ndarray, np.ndarray]:
    """One window by the edm process, conditioned or by RePaint: pictures (n, 128, width, 3) and pixels cleared (n,)."""
    device, generator = next(model.parameters()).device, options["generator"]
    x0 = to_pixels(canvas).to(device)
    mask = torch.from_numpy(region).to(device)[None, None].expand(len(x0), 1, -1, -1)
    conditions: dict[str, Any] = {}
    if options["density"] is not None:
        conditions["density"] = torch.full((len(x0),), float(options["density"]), device=device)
    sigmas = edm.karras_sigmas(options["steps"]).to(device)
    denoiser: Any = model
    if options["method"] == "conditioned":
        denoiser = seeing(model, x0, mask, options["guidance"])

    def draw(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
        pairs = [clean(p, region, border) for p in to_picture(torch.where(mask, x, x0))]
        return np.stack([p for p, _ in pairs]), np.array([cleared for _, cleared in pairs])

    step = None if report is None else lambda e: report(e | {"preview": lambda: draw(e["denoised"])[0]})
    with torch.inference_mode():
        x = edm.repaint(denoiser, x0, mask, sigmas, U=options["U"], jump=options["jump"], sampler=options["sampler"],
                        generator=generator, callback=step, **conditions)
    return draw(x)


def seeing(model: edm.Denoiser, known: Tensor, mask: Tensor, guidance: float = 1.0) -> Callable[..., Tensor]:
    """The denoiser that sees the known pixels, with classifier-free guidance on them (arXiv 2207.12598): u + g (c - u)."""
    def denoiser(x: Tensor, sigma: Tensor, **conditions: Any) -> Tensor:
        conditional = model(x, sigma, known=known, mask=mask, **conditions)
        if guidance == 1:
            return conditional
        free = model(x, sigma, **conditions)
        return free + guidance * (conditional - free)

    return denoiser


def _refill_chords(pictures: np.ndarray, mask: np.ndarray, border: int) -> None:
    """Masked chord rows: chords estimated from the notes, in place."""
    columns = mask[:border].any(axis=0) | mask[PITCHES - border:].any(axis=0)
    if not columns.any():
        return
    for picture in pictures:
        guess = np.zeros_like(picture)
        paint_chords(guess, estimate_chords(parse(picture, border=border).notes, picture.shape[1]), border=border)
        for rows in (slice(0, border), slice(PITCHES - border, PITCHES)):
            picture[rows] = np.where(mask[rows, :, None], guess[rows], picture[rows])


def _reporter(callback: Callback | None, number: int, count: int, canvas: np.ndarray, inside: slice,
              visible: slice) -> Callback | None:
    """The callback with its counts taken over all windows and its preview over the whole picture."""
    if callback is None:
        return None

    def report(event: dict[str, Any]) -> None:
        def preview() -> np.ndarray:
            whole = canvas.copy()
            whole[:, :, inside] = event["preview"]()
            return whole[:, :, visible]

        n = event["n"]
        callback(event | {"i": number * n + event["i"], "n": count * n, "preview": preview})

    return report


def _check_options(model: Model, method: str | None, steps: int | None, n: int, U: int, jump: int, guidance: float,
                   density: float | None, special: dict[str, Any]) -> tuple[str, int]:
    """The method and its number of steps; OptionError for what does not exist or is foreign to the process."""
    process = model.process
    for key in FOREIGN[process]:
        if special[key] is not None:
            other = "edm" if process == "cells" else "cells"
            raise OptionError(f"{key} is an option of {other} models, this one is {process}; leave it out")
    if method is None:
        method = "repaint" if process == "edm" and not getattr(model, "conditioned", False) else METHODS[process][0]
    if method not in METHODS[process]:
        raise OptionError(f"method {method!r} does not exist for a model of process {process}; "
                          f"choose one of {', '.join(METHODS[process])}")
    if method == "conditioned" and not getattr(model, "conditioned", False):
        raise OptionError("this model was trained without known pixels; use method='repaint'")
    if method == "repaint" and guidance != 1:
        raise OptionError("guidance needs method='conditioned'; RePaint's network does not see the known pixels")
    steps = STEPS[method] if steps is None else steps
    for name, value, most in (("n", n, 1024), ("steps", steps, 10000), ("U", U, 1000), ("jump", jump, 10000)):
        if not isinstance(value, int | np.integer) or not 1 <= value <= most:
            raise OptionError(f"{name} is {value!r}; choose a whole number from 1 to {most}")
    if density is not None and not 0 <= density < 10000:
        raise OptionError(f"density is {density}; choose onsets per masked bar, 0 or more")
    if special["sampler"] is not None:
        edm.get_sampler(special["sampler"])
    return method, int(steps)
