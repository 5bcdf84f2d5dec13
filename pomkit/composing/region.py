"""inpaint and generate: one mask API over both processes."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError, check_choice, check_range
from ..music import masks
from ..music.chords import Chord
from ..music.harmony import estimate_chords
from ..music.palette import paint_chords, read_chords
from ..music.picture import parse
from ..music.pixels import PITCHES, check_picture, draw_spans, read_spans
from ..music.tables import MAX_STEPS
from ..processes import edm
from ..processes.cells import Cells, chord_channels, sample_cells
from ..processes.checkpoint import Model

Callback = Callable[[dict[str, Any]], None]
Drawn = list[
    tuple[np.ndarray, int]
]  # of each candidate: its picture (128, width, 3), and cells or pixels cleared
BAR = 16  # windows begin on bars of 4/4, as in training
INK = 20  # a generated pixel below this (of 255) is black, as in the paper
METHODS = {
    "cells": {"uncover": 16},
    "edm": {"conditioned": 20, "repaint": 40},
}  # and their network calls in one pass
TOP_P = 0.9  # of cells; measured: nearer to real music than 1 in every task, and to the chords
ONLY = {
    "sampler": "edm",
    "temperature": "cells",
    "top_p": "cells",
    "rule": "cells",
    "pitch_bias": "cells",
}


class Pictures(np.ndarray):
    """Composed pictures, uint8 (n, 128, width, 3), that remember how: `.seed`, `.seconds`, and `.refused` (n,), the pixels
    (edm) or cells (cells) inside the mask that were no music, such as a sustained note that never began, and were cleared."""

    seed: int
    refused: np.ndarray
    seconds: float

    def __array_finalize__(self, source: Any) -> None:
        self.__dict__ |= getattr(source, "__dict__", {})


def inpaint(
    model: Model,
    picture: np.ndarray,
    mask: np.ndarray,
    n: int = 1,
    seed: int | None = None,
    steps: int | None = None,
    U: int = 1,
    jump: int = 1,
    method: str | None = None,
    sampler: str | None = None,
    density: float | None = None,
    guidance: float = 1.0,
    temperature: float = 1.0,
    top_p: float | None = None,
    rule: Any = None,
    pitch_bias: Any = None,
    chords: Sequence[Chord] | None = None,
    bars: Sequence[int] | None = None,
    border: int = 8,
    callback: Callback | None = None,
) -> Pictures:
    """Compose the masked region of a picture n times, uint8 (n, 128, width, 3); the rest is returned bit-identical.
    `picture`: uint8 (128, width, 3) of any width; `mask`: bool (128, width), True = regenerate. `seed` None draws one (it is in
    the result's `.seed`). `steps`: network calls in one pass; `U`, `jump`: RePaint's resampling (arXiv 2201.09865), each `jump`
    steps done U times. `method`: "uncover" for cells; "conditioned" (one pass, where the model was trained for it) or "repaint"
    for edm. `sampler`: edm only, see `edm.get_sampler`. `density`: onsets per masked bar of 16 steps. `guidance`: weight of the
    known surroundings (1 = as learned). Cells only: `temperature`, `top_p` (.9), `pitch_bias`, see `cells.sample_cells`;
    `rule`, see `pomkit.rules`. `chords`: written into the chord rows first. `bars`: steps of the picture's bar lines, on which
    windows begin. Masked chord rows are composed by edm, and in cells estimated from the notes. `callback({i, n, preview})`: at
    each step; preview() gives the pictures so far. Raises PictureError, OptionError."""
    started = time.monotonic()
    check_picture(picture)
    mask = masks.check_mask(mask, picture)
    options = _checked(
        model,
        n=n,
        steps=steps,
        U=U,
        jump=jump,
        method=method,
        sampler=sampler,
        density=density,
        rule=rule,
        pitch_bias=pitch_bias,
        guidance=guidance,
        top_p=top_p,
        temperature=None if temperature == 1 else temperature,
    )
    seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed
    options |= {"border": border, "generator": torch.Generator().manual_seed(seed)}
    compose = (
        partial(_uncover, model, **options)
        if isinstance(model, Cells)
        else partial(_denoise, model, **options)
    )
    if chords is not None:
        picture, mask = picture.copy(), mask & ~masks.chords(picture)
        paint_chords(picture, chords, border=border)
    phases = np.bincount(np.asarray([0] if bars is None else bars, int) % BAR)
    lead = -int(phases.argmax()) % BAR  # silence before an upbeat: bars lie on 0, 16 ..
    todo = np.pad(mask, ((0, 0), (lead, 0)))
    reach = reach_of(todo, model.width, model.network.multiple[1])
    windows = list(lay_windows(todo, reach, model.width // 4))
    tail = max([0] + [w.start + reach - todo.shape[1] for w in windows])
    todo = np.pad(
        todo, ((0, 0), (0, tail)), constant_values=True
    )  # what lies beyond the end is unknown too
    canvas = np.repeat(np.pad(picture, ((0, 0), (lead, tail), (0, 0)))[None], n, axis=0)
    visible, refused = slice(lead, lead + picture.shape[1]), np.zeros(n, int)
    for number, window in enumerate(windows):
        inside = slice(window.start, window.start + reach)
        report = partial(_report, callback, canvas, inside, visible, number, len(windows))
        made = compose(
            canvas[:, :, inside], todo[:, inside].copy(), report=report, start=window.start - lead
        )
        drawn, cleared = zip(*made, strict=True)
        canvas[:, :, window] = np.array(drawn)[:, :, : window.stop - window.start]
        todo[:, window] = False
        refused += cleared
    result = np.ascontiguousarray(canvas[:, :, visible])
    if isinstance(model, Cells) and (hidden := mask & masks.chords(mask)).any():
        for music in result:
            guess, notes = np.zeros_like(music), parse(music, border=border).notes
            paint_chords(guess, estimate_chords(notes, music.shape[1]), border=border)
            music[hidden] = guess[hidden]
    result[:, ~mask] = picture[~mask]
    out = result.view(Pictures)
    out.seed, out.refused, out.seconds = seed, refused, time.monotonic() - started
    return out


def generate(
    model: Model,
    width: int = 512,
    n: int = 1,
    seed: int | None = None,
    border: int = 8,
    chords: Sequence[Chord] | None = None,
    **options: Any,
) -> Pictures:
    """Compose n pictures of `width` steps from nothing, uint8 (n, 128, width, 3); options as in `inpaint`."""
    check_range("width", width, 1, MAX_STEPS, unit="steps")
    empty = np.zeros((PITCHES, width, 3), np.uint8)
    mask = masks.everything(empty, chords=chords is None)
    return inpaint(model, empty, mask, n, seed, border=border, chords=chords, **options)


def reach_of(mask: np.ndarray, width: int, unit: int) -> int:
    """How many columns a model of `width` columns composes together: the masked ones and a quarter window on either side, in
    multiples of `unit`, the network's; at most 16 windows, so that memory stays bounded."""
    columns, beside = np.flatnonzero(mask.any(axis=0)), width // 4
    if not len(columns):
        return width
    needed = min(columns[-1] + 1 + beside, mask.shape[1]) - max(
        (columns[0] - beside) // BAR * BAR, 0
    )
    return int(np.clip(-(-needed // unit) * unit, width, 16 * width))


def lay_windows(mask: np.ndarray, width: int, before: int) -> Iterator[slice]:
    """What is composed in turn: slices start:stop of columns to be settled, where `width` columns from `start` are composed;
    starts are multiples of 16. Each begins `before` columns or more before the first of these, to hear what came before."""
    columns = np.flatnonzero(mask.any(axis=0))
    last_start = max(0, -(-(mask.shape[1] - width) // BAR) * BAR)
    while len(columns):
        start = min(max((int(columns[0]) - before) // BAR * BAR, 0), last_start)
        stop = start + width - (0 if columns[-1] < start + width else before)
        yield slice(start, stop)
        columns = columns[columns >= stop]


def blended(model: Callable[..., Tensor], width: int, region: np.ndarray) -> Callable[..., Tensor]:
    """A model of `width` columns as one of wider pictures: its windows, half a window apart, are averaged column by column with
    weights that fall to their edges (MultiDiffusion, arXiv 2302.08113), in every call; where `region` (128, w) is empty, 0."""
    width = min(width, whole := region.shape[1])
    starts = [
        at
        for at in (*range(0, whole - width, width // 2), whole - width)
        if region[:, at : at + width].any()
    ]
    weight = 1 - (torch.arange(1 - width, width, 2).abs() / width)  # (width,): a triangle
    total = torch.zeros(whole)
    for at in starts:
        total[at : at + width] += weight

    def call(*inputs: Tensor, **conditions: Any) -> Tensor:
        def cut(value: Any, at: int) -> Any:
            return (
                value[..., at : at + width]
                if torch.is_tensor(value) and value.shape[-1:] == (whole,)
                else value
            )

        outputs = [
            model(*(cut(x, at) for x in inputs), **{k: cut(v, at) for k, v in conditions.items()})
            for at in starts
        ]
        sums = outputs[0].new_zeros(*outputs[0].shape[:-1], whole)
        for at, output in zip(starts, outputs, strict=True):
            sums[..., at : at + width] += output * weight.to(output)
        return sums / total.clamp(min=1e-6).to(sums)

    return model if whole == width else call


def to_pixels(picture: np.ndarray) -> Tensor:
    """uint8 (..., 128, width, 3) -> float32 (..., 3, 128, width) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture)).movedim(-1, -3).float() / 127.5 - 1


def to_picture(x: Tensor) -> np.ndarray:
    """float (..., 3, 128, width) -> uint8 (..., 128, width, 3), the inverse of `to_pixels`, clipped."""
    return (
        ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1).cpu().numpy()
    )


def clean(picture: np.ndarray, mask: np.ndarray, border: int = 8) -> tuple[np.ndarray, int]:
    """A generated picture made music inside the mask, and how many inked pixels were cleared: red or green above INK is ink,
    the stronger counts; green without a red or green pixel before it is no note. Chord rows take the palette's colours."""
    spans = read_spans(picture, border=border, threshold=INK)
    tidy = draw_spans(spans.onset, spans.sustain, spans.velocity)
    ink = (picture[..., :2] > INK).any(axis=2)
    cleared = int((ink & ~(spans.onset | spans.sustain) & mask)[border : PITCHES - border].sum())
    paint_chords(tidy, read_chords(picture, border), border=border)
    return np.where(mask[..., None], tidy, picture), cleared


def _uncover(
    model: Cells,
    canvas: np.ndarray,
    region: np.ndarray,
    *,
    border: int,
    report: Callable[..., None],
    method: str,
    density: float | None = None,
    **options: Any,
) -> Drawn:
    """One window by the cells process."""
    device = next(model.parameters()).device
    cells = torch.from_numpy(np.stack([model.encode(p, border) for p in canvas])).to(device)
    chords = torch.from_numpy(np.stack([chord_channels(p, region, border) for p in canvas])).to(
        device
    )
    notes = region & ~masks.chords(region)
    onsets = None if density is None else density * notes.any(axis=0).sum() / BAR

    def draw(cells: Tensor) -> Drawn:
        return [
            model.decode(c, p, notes, border)
            for c, p in zip(cells.cpu().numpy(), canvas, strict=True)
        ]

    whole, mask = blended(model, model.span, notes), torch.from_numpy(notes).to(device)
    return draw(
        sample_cells(
            whole,
            cells,
            chords,
            mask,
            model.states,
            density=onsets,
            whole_notes=True,
            callback=lambda e: report(e, partial(draw, e["cells"])),
            **options,
        )
    )


@torch.inference_mode()
def _denoise(
    model: edm.Denoiser,
    canvas: np.ndarray,
    region: np.ndarray,
    *,
    border: int,
    report: Callable[..., None],
    start: int,
    method: str,
    steps: int,
    guidance: float,
    density: float | None = None,
    **options: Any,
) -> Drawn:
    """One window by the edm process, conditioned or by RePaint."""
    device = next(model.parameters()).device
    x0 = to_pixels(canvas).to(device)
    mask = torch.from_numpy(region).to(device).expand(len(x0), 1, -1, -1)
    if density is not None:
        options["density"] = torch.full((len(x0),), float(density), device=device)
    denoiser = blended(model, model.span, region)

    def guided(
        x: Tensor, sigma: Tensor, **conditions: Any
    ) -> Tensor:  # u + g (c - u), arXiv 2207.12598
        seeing = denoiser(x, sigma, known=x0, mask=mask, **conditions)
        if guidance == 1:
            return seeing
        blind = denoiser(x, sigma, **conditions)
        return blind + guidance * (seeing - blind)

    def draw(x: Tensor) -> Drawn:
        return [clean(p, region, border) for p in to_picture(torch.where(mask, x, x0))]

    return draw(
        edm.repaint(
            guided if method == "conditioned" else denoiser,
            x0,
            mask,
            edm.karras_sigmas(int(steps)).to(device),
            callback=lambda e: report(e, partial(draw, e["denoised"])),
            **options,
        )
    )


def _report(
    callback: Callback | None,
    canvas: np.ndarray,
    inside: slice,
    visible: slice,
    number: int,
    count: int,
    event: dict[str, Any],
    draw: Callable[[], Drawn],
) -> None:
    """Tell the callback of a step, its counts taken over all windows and its preview over the whole picture."""

    def preview() -> np.ndarray:
        whole = canvas.copy()
        whole[:, :, inside] = [picture for picture, _ in draw()]
        return whole[:, :, visible]

    if callback is not None:
        callback(
            event
            | {"i": number * event["n"] + event["i"], "n": count * event["n"], "preview": preview}
        )


def methods_of(model: Model) -> list[str]:
    """The methods by which a model can inpaint, its default first."""
    return [
        m
        for m in METHODS[model.process]
        if m != "conditioned" or getattr(model, "conditioned", False)
    ]


def _checked(model: Model, **options: Any) -> dict[str, Any]:
    """The options that are given, with method and steps; OptionError for what does not exist or is foreign to the process."""
    process, methods, given = (
        model.process,
        methods_of(model),
        {k: v for k, v in options.items() if v is not None},
    )
    if foreign := [name for name in given if ONLY.get(name, process) != process]:
        raise OptionError(
            f"{foreign[0]} is an option of {ONLY[foreign[0]]} models, this one is {process}; leave it out"
        )
    method = given.setdefault("method", methods[0])
    given = ({"top_p": TOP_P} if process == "cells" else {}) | given
    check_choice("for this model the method", method, methods)
    if method == "repaint" and given["guidance"] != 1:
        raise OptionError(
            "guidance needs method='conditioned'; RePaint's network does not see the known pixels"
        )
    given.setdefault("steps", METHODS[process][method])
    for name, most in {"n": 1024, "steps": 10000, "U": 1000, "jump": 10000}.items():
        if not isinstance(given[name], int | np.integer) or not 1 <= given[name] <= most:
            raise OptionError(f"{name} is {given[name]!r}; choose a whole number from 1 to {most}")
    check_range("density", given.get("density", 0), 0, 9999, unit="onsets per masked bar")
    return {name: value for name, value in given.items() if name != "n"}
