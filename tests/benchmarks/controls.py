"""How far the controls of cells and edm do what is asked, and what their samplers are worth.

    python tests/benchmarks/controls.py [sampler] [rules] [speed] [--model tiny] [--seeds 1]
        [--archive pop909.tar.xz]

Windows of POP909's validation split; all notes of the middle half are hidden, chords are known.
All windows of a row are composed in one batch; rows are means over seeds. The columns:

- onsets: over the real music's (pooled).
- scale, grid: notes in the song's scale, and on its eighth-note grid (`metrics.adherence`).
- chord: chord tones among the onsets.
- length, one step: mean note length in steps; share of notes of one step.
- sounding: notes that sound, a step.
- bits: the bound on the masked cells under the model itself (for edm: under `tiny`), in bits for
  each real note. Parts that do not fit together cost more than the real music, dull music less.
- area: mean overlapping area with the real music (`likeness.compare`).
- s: seconds for a window.

A row of the second table names a share (or a number) and the control that asks for it. In front
stands what the real music has of it, and what comes without and with the control.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from three_readers import find_archive

from pomkit import Chord, data, inpaint, load_model, masks, parse, render, rules
from pomkit.composing.options import check_options
from pomkit.judge.clips import read_clips
from pomkit.judge.likeness import compare
from pomkit.judge.metrics import adherence
from pomkit.judge.tasks import held_out
from pomkit.music.chords import chord_tones
from pomkit.music.pixels import BORDER, PITCHES, read_spans, row_of_pitch
from pomkit.music.tables import BAR
from pomkit.processes.cells import cell_bound
from pomkit.processes.schedules import stratified_t
from pomkit.processes.states import chord_channels

SAMPLER: list[dict[str, Any]] = [
    *({"calls": n} for n in (2, 5, 10, 12, 16, 20, 40)),
    {"calls": 10, "U": 2},  # 19 calls in all
    {"calls": 5, "U": 4},  # 17 calls in all
    *({"temperature": t} for t in (0.8, 0.9)),
    *({"top_p": p} for p in (0.8, 0.9, 0.95)),
]
Asked = Callable[[np.ndarray], float]


class Bench:
    """Windows, their cells and chords, and what to measure of a composed set of pictures.

    A set is uint8 (count, 128, width, 3).
    """

    def __init__(self, model: Any, songs: list[Any], count: int, width: int = 256) -> None:
        self.model = model
        self.scorer = model if model.process == "cells" else load_model("tiny")
        self.mask = masks.bars(width, width // 64 + 1, width // 16 - width // 64)
        songs_, self.starts, self.real = zip(*held_out(songs, width, count), strict=True)
        self.whole = [render(song) for song in songs_]
        self.chords = torch.from_numpy(np.stack([chord_channels(p) for p in self.real]))
        self.columns = self.mask.any(axis=0)

    def compose(self, seed: int = 0, **options: Any) -> np.ndarray:
        checked = check_options(self.model, {"top_p": 1.0} | options)
        checked = replace(checked, generator=torch.Generator().manual_seed(seed))
        canvas = np.stack(self.real)
        drawn = self.model.compose(canvas, self.mask.copy(), checked, lambda event, draw: None)
        return np.stack([each[0] for each in drawn])

    def notes(self, picture: np.ndarray) -> np.ndarray:
        """The notes that begin in the mask."""
        notes = parse(picture).notes
        return notes[self.mask[row_of_pitch(notes["pitch"]), notes["onset"]]]

    def begins(self, picture: np.ndarray) -> np.ndarray:
        """How many notes begin in each masked column."""
        return read_spans(picture).onset[:, self.columns].sum(axis=0)

    def sounding(self, picture: np.ndarray) -> np.ndarray:
        """How many notes sound in each masked column."""
        cells = picture[BORDER : PITCHES - BORDER, self.columns]
        return cells.any(axis=2).sum(axis=0)

    def on_chord(self, i: int, notes: np.ndarray) -> np.ndarray:
        """Which notes of window i are tones of the chord of their step."""
        return self.chords[i, 1].numpy()[row_of_pitch(notes["pitch"]), notes["onset"]] > 0

    @torch.inference_mode()
    def bits(self, pictures: np.ndarray) -> float:
        """The bound on -log2 p of the masked cells under a cells model.

        In bits for a note of the real music.
        """
        model = self.scorer
        cells = torch.from_numpy(np.stack([model.encode(p) for p in pictures]))
        region = torch.from_numpy(self.mask).expand_as(cells)
        bounds = []
        for seed in range(6):
            generator = torch.Generator().manual_seed(seed)
            t = stratified_t(len(cells), generator)
            t = t[torch.randperm(len(cells), generator=generator)]
            bounds.append(cell_bound(model, cells, self.chords, region, model.states, t, generator))
        notes = sum(len(self.notes(p)) for p in self.real)
        return float(torch.stack(bounds).mean() * region.sum() / notes)

    def measure(self, pictures: np.ndarray) -> dict[str, float]:
        """What is measured of a set: column -> value."""
        found = []
        windows = zip(self.real, pictures, self.whole, self.starts, strict=True)
        for before, after, whole, start in windows:
            found.append(adherence(before, self.mask, after, whole, start))
        onsets = np.array([f.onsets for f in found])
        notes = [self.notes(p) for p in pictures]
        length = np.concatenate([n["duration"] for n in notes])
        tones = np.concatenate([self.on_chord(i, n) for i, n in enumerate(notes)])
        area, _ = compare(read_clips(pictures, self.mask), read_clips(self.real, self.mask))["mean"]
        return {
            "onsets": onsets.sum() / sum(f.onsets_before for f in found),
            "scale": np.nansum([f.in_scale * f.onsets for f in found]) / onsets.sum(),
            "grid": np.nansum([f.on_grid * f.onsets for f in found]) / onsets.sum(),
            "chord": tones.mean(),
            "length": length.mean(),
            "one step": (length == 1).mean(),
            "sounding": np.mean([self.sounding(p).mean() for p in pictures]),
            "bits": self.bits(pictures),
            "area": float(area),
        }

    def row(
        self,
        name: str,
        asked: Asked | None = None,
        free: np.ndarray | None = None,
        seeds: int = 1,
        **options: Any,
    ) -> None:
        """Print a row.

        `asked`, what is asked for, and `free`, the pictures without the control, are for the
        columns in front.
        """
        rows = []
        for seed in range(seeds):
            started = time.perf_counter()
            pictures = self.compose(seed, **options)
            seconds = (time.perf_counter() - started) / len(pictures)
            front = []
            if asked is not None:
                front = [asked(np.stack(self.real)), asked(free), asked(pictures)]
            rows.append([*front, *self.measure(pictures).values(), seconds])
        show(name, *np.mean(rows, axis=0))


def show(name: str, *values: float) -> None:
    print(f"| {name} | " + " | ".join(f"{v:.3f}" for v in values) + " |", flush=True)


def head(bench: Bench, *columns: str) -> None:
    real = bench.measure(np.stack(bench.real))
    titles = [*columns, *real, "s"]
    print(f"\n| {' | '.join(titles)} |\n" + "|---" * len(titles) + "|")
    show("real" + " |" * (len(columns) - 1), *real.values())


def sampler(bench: Bench, seeds: int) -> None:
    head(bench, "sampler")
    for options in SAMPLER:
        bench.row(", ".join(f"{k}={v}" for k, v in options.items()), seeds=seeds, **options)


def pooled(shares: Iterable[np.ndarray]) -> float:
    """The share over all notes of all pictures."""
    return float(np.concatenate(list(shares)).mean())


def controls(bench: Bench, seeds: int, calls: int) -> None:
    """What is asked for, each with its share: without the control, and at several settings."""
    bars = bench.columns.sum() / BAR

    def pitch_share(good: Callable[[np.ndarray], np.ndarray]) -> Asked:
        def share(pictures: np.ndarray) -> float:
            return pooled(good(bench.notes(p)["pitch"]) for p in pictures)

        return share

    def column_share(
        count: Callable[[np.ndarray], np.ndarray], good: Callable[[np.ndarray], np.ndarray]
    ) -> Asked:
        return lambda pictures: float(np.mean([good(count(p)).mean() for p in pictures]))

    def chord_share(pictures: np.ndarray) -> float:
        return pooled(bench.on_chord(i, bench.notes(p)) for i, p in enumerate(pictures))

    def given_share(pictures: np.ndarray) -> float:
        tones = np.array([chord_tones(chord.label)[1] for chord in wish])
        notes = [bench.notes(p) for p in pictures]
        return pooled(tones[n["onset"] // BAR, n["pitch"] % 12] for n in notes)

    def same_rhythm(pictures: np.ndarray) -> float:
        """Columns in which both phrases begin notes, of those in which any does.

        The phrases are of 32 steps; there are two pairs.
        """
        begun = np.stack([bench.begins(p) > 0 for p in pictures])
        pairs = begun.reshape(len(pictures), -1, 2, 32)  # (pictures, pairs, 2, steps)
        return float(pairs.all(axis=2).sum() / pairs.any(axis=2).sum())

    def per_bar(pictures: np.ndarray) -> float:
        return float(np.mean([len(bench.notes(p)) / bars for p in pictures]))

    white = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11))
    in_c = pitch_share(lambda p: white[p % 12])
    in_range = pitch_share(lambda p: (p >= 60) & (p <= 84))
    off = np.arange(bench.columns.sum()) % 4 > 0
    wish = [Chord(BAR * i, BAR, ("C:maj", "A:min", "F:maj", "G:7")[i % 4]) for i in range(16)]
    single = column_share(bench.begins, lambda count: count[off] < 2)
    rows: list[tuple[str, Asked, dict[str, Any]]] = []
    for d in (0.5, 0.9, 1.0):
        rows += [(f"in C:maj: key, dial {d}", in_c, {"rule": rules.key("C:maj", d)})]
    bias = torch.from_numpy(np.where(white, 0, -30.0)).float()
    rows += [("in C:maj: pitch_bias -30", in_c, {"pitch_bias": bias})]
    for d in (0.25, 0.5, 0.75, 0.9, 1.0):
        rows += [(f"chord tones: chords, dial {d}", chord_share, {"rule": rules.chords(None, d)})]
    rows += [("tones of C, Am, F, G7: chords(given)", given_share, {"rule": rules.chords(wish)})]
    for d in (0.9, 1.0):
        rows += [(f"C4 to C6: pitches, dial {d}", in_range, {"rule": rules.pitches(60, 84, d)})]
    for n in (1, 2, 3, 4, 6):
        few = column_share(bench.sounding, lambda count, n=n: count <= n)
        rows += [(f"steps with <= {n} notes: polyphony({n})", few, {"rule": rules.polyphony(n)})]
    rows += [
        ("off-beats with <= 1 onset: lone_off_beats", single, {"rule": rules.lone_off_beats()})
    ]
    rows += [("one rhythm in both phrases: echo(32)", same_rhythm, {"rule": rules.echo(32)})]
    every = [rules.key("C:maj"), rules.chords(None, 0.5), rules.polyphony(4)]
    rows += [("in C:maj: key, chords .5, polyphony 4", in_c, {"rule": every})]
    for n in (5, 10, 20, 40):
        density = {"density": n}
        both = density | {"rule": rules.pitches(60, 84)}
        rows += [(f"onsets a bar: density {n}", per_bar, density)]
        rows += [(f"onsets a bar: density {n}, pitches 60-84", per_bar, both)]
    head(bench, "asked: control", "real", "without", "with")
    free = bench.compose(0, calls=calls)
    show("no control | | |", *bench.measure(free).values())
    for name, asked, given in rows:
        bench.row(name, asked, free, seeds, calls=calls, **given)


def speed(model: Any, bench: Bench) -> None:
    """Seconds to compose 16 and 32 bars of a picture of 512 columns, the best of three.

    With as many threads as torch has.
    """
    picture = np.concatenate([bench.real[0], bench.real[1]], axis=1)
    regions = {"16 of 32 bars": masks.bars(512, 9, 24), "32 bars": masks.everything(picture)}
    for name, mask in regions.items():
        best = min(inpaint(model, picture, mask, seed=seed).seconds for seed in range(3))
        print(f"{name}, {torch.get_num_threads()} threads, default steps, n = 1: {best:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="sampler, rules, speed; default all")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--count", type=int, default=24, help="windows")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=16, help="network calls, for the rules")
    options = parser.parse_args()
    model = load_model(options.model)
    corpus = data.read_corpus(find_archive(options.archive), progress=False)
    songs = list(corpus.split("valid").songs)
    bench = Bench(model, songs, options.count, model.width)
    parts = options.parts or ["sampler", "rules", "speed"]
    if "sampler" in parts:
        sampler(bench, options.seeds)
    if "rules" in parts:
        controls(bench, options.seeds, options.steps)
    if "speed" in parts:
        speed(model, bench)


if __name__ == "__main__":
    main()
