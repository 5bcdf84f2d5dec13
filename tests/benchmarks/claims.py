"""The paper's claims, measured: one JSON file a claim in assets/reports, from which notebook 09 draws its figures.

    python tests/benchmarks/claims.py [calls] [chords] [U] [shapes] [bits] [--cells tiny] [--edm tiny-edm] [--count 24]

- calls: what a network call buys; edm by RePaint with 20 to 95, edm conditioned and cells with 5 to 80.
- chords: does the music follow the chord borders; RePaint, conditioned, with guidance, and with the borders hidden.
- U: RePaint's resampling against density and coherence, in all three ways to compose.
- shapes: masks that leave the training distribution, from the loop's middle to scattered dots. `strangeness` of a task:
  1 - the largest intersection over union of its mask with any of 2,000 training masks.
- bits: the bound on the bits per pixel of a cells model, on the test split, beside two plain codes.

Windows, masks and measures are the judge's (`pomkit.evaluate`, `Region`, `compare`), so are the rows "real"
and "permuted" (real rhythm, pitches dealt anew: no music). A value stands with its 95 % bootstrap interval over songs, and a
row with its difference from its `reference` over the same draws: the row that it varies ("cells" of "cells, U 4"), else the
part's. "mean": over a part's tasks. Network calls are counted, not assumed. What was composed is kept in out/claims and not
composed again with the same weights and options: an interrupted run goes on, and a new checkpoint costs its own rows only.
POP909's archive is looked for as in the other benchmarks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from three_readers import find_archive
from tqdm.auto import tqdm

from pomkit import data, inpaint, load_model, masks, render
from pomkit.files import write_atomically
from pomkit.judge.baselines import permuted
from pomkit.judge.clips import read_clips
from pomkit.judge.judging import DRAWS
from pomkit.judge.likeness import compare
from pomkit.judge.metrics import MEASURES, Region
from pomkit.judge.statistics import describe
from pomkit.judge.tasks import TASKS, TestWindow, held_out
from pomkit.processes.cells import cell_bound
from pomkit.processes.checkpoint import card_path
from pomkit.processes.schedules import stratified_t
from pomkit.processes.states import chord_channels

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "out" / "claims"
Options = dict[str, Any]
Draws = dict[
    str, dict[str, np.ndarray]
]  # row -> measure -> value, then those of 200 bootstrap samples
Table = dict[str, dict[str, list[float]]]  # row -> measure -> value, low, high
DESCRIBED = ("groove_consistency", "pitch_class_entropy", "polyphony", "note_length")
LEFT_OUT = ("onsets_per_bar", "filled")
INPAINTING = ("melody", "accompaniment", "continuation", "loop middle")
REPAINT = {"method": "repaint", "steps": 48, "U": 2, "jump": 5}  # 2 (48 - 1) + 1 = 95 calls
CELLS = {"steps": 16, "top_p": 0.9}  # as `inpaint` does; written out, since it names what is kept
CONDITIONED = {"method": "conditioned", "steps": 20}
# Part: tasks; rows: which model, options of inpaint ("hidden": their chord border is not shown); the row that is the reference.
# fmt: off
PARTS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, Options]], str]] = {
    "calls": (INPAINTING, {
        "edm RePaint, 95 calls": ("edm", REPAINT),
        "edm RePaint, 20 calls": ("edm", {"method": "repaint", "steps": 20}),
        **{f"edm conditioned, {n} calls": ("edm", {"method": "conditioned", "steps": n}) for n in (5, 10, 20, 40)},
        **{f"cells, {n} calls": ("cells", CELLS | {"steps": n - 1}) for n in (5, 10, 20, 40)}},     # one more settles the rest
        "edm RePaint, 95 calls"),
    "chords": (("loop middle", "chords only"), {
        "edm RePaint": ("edm", REPAINT), "edm conditioned": ("edm", CONDITIONED),
        **{f"edm conditioned, guidance {g:g}": ("edm", CONDITIONED | {"guidance": g}) for g in (1.5, 2.0, 3.0)},
        "cells": ("cells", CELLS), **{f"cells, guidance {g:g}": ("cells", CELLS | {"guidance": g}) for g in (1.5, 2.0, 3.0)},
        "edm RePaint, borders hidden": ("edm", REPAINT | {"hidden": True}),
        "edm conditioned, borders hidden": ("edm", CONDITIONED | {"hidden": True}),
        "cells, borders hidden": ("cells", CELLS | {"hidden": True})}, "edm RePaint"),
    "U": (("loop middle",), {
        "edm RePaint": ("edm", {"method": "repaint", "steps": 20}),
        **{f"edm RePaint, U {u}": ("edm", {"method": "repaint", "steps": 20, "U": u}) for u in (2, 4, 8)},
        "edm RePaint, jump 5, U 4": ("edm", {"method": "repaint", "steps": 20, "U": 4, "jump": 5}),
        "edm conditioned": ("edm", CONDITIONED),
        **{f"edm conditioned, U {u}": ("edm", CONDITIONED | {"U": u}) for u in (2, 4)},
        "cells": ("cells", CELLS), **{f"cells, U {u}": ("cells", CELLS | {"U": u}) for u in (2, 4, 8)}}, "edm RePaint"),
    "shapes": (("loop middle", "diverging lines", "arch", "blob", "scattered dots"), {
        "edm RePaint": ("edm", REPAINT), "edm conditioned": ("edm", CONDITIONED),
        "edm conditioned, guidance 2": ("edm", CONDITIONED | {"guidance": 2.0}),
        "cells": ("cells", CELLS), "cells, guidance 1.5": ("cells", CELLS | {"guidance": 1.5})}, "edm RePaint"),
}
# fmt: on


class Bench:
    """Composes windows of held-out songs by any row of a part, and measures what was composed."""

    def __init__(
        self, songs: list[Any], training: list[Any], names: dict[str, str], count: int, seed: int
    ) -> None:
        self.songs, self.training, self.count, self.seed = songs, training, count, seed
        self.models = {which: load_model(name) for which, name in names.items()}
        self.weights = {
            which: json.loads(card_path(name).read_text())["sha256"][:12]
            for which, name in names.items()
        }
        self.width, self.calls = self.models["cells"].width, 0
        self.tasks: dict[str, tuple[list[TestWindow], np.ndarray, int]] = {}
        for model in self.models.values():
            model.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.calls += 1

    def task(self, name: str) -> tuple[list[TestWindow], np.ndarray, int]:
        """Real windows and their masks; music is composed for the first so many."""
        if name not in self.tasks:
            width = 512 if name == "loop middle" else self.width
            windows = held_out(self.songs, width, 4 * self.count, self.seed)
            found = [
                (w, mask)
                for w in windows
                if (mask := TASKS[name][1](w[0], w[1], width)).any() and w[0].chords
            ]
            self.tasks[name] = (
                [w for w, _ in found],
                np.array([mask for _, mask in found]),
                min(self.count, len(found)),
            )
        return self.tasks[name]

    def compose(self, task: str, which: str, options: Options) -> tuple[np.ndarray, np.ndarray]:
        """Pictures uint8 (count, 128, width, 3), as the judge's `compositions`; network calls and CPU seconds (count, 2)."""
        windows, regions, count = self.task(task)
        key = json.dumps(
            [
                self.weights[which],
                task,
                len(self.songs),
                self.seed,
                options | {"U": options.get("U", 1)},
            ]
        )
        path = CACHE / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
        kept = dict(np.load(path)) if path.is_file() else {"pictures": [], "cost": []}
        pictures, cost = list(kept["pictures"]), list(kept["cost"])
        rest = {name: value for name, value in options.items() if name != "hidden"}
        for i in tqdm(range(len(pictures), count), desc=f"{task}: {which} {options}"):
            picture, self.calls, began = windows[i][2], 0, time.process_time()
            hidden = masks.chords(picture) & regions[i].any(axis=0) & ("hidden" in options)
            made = np.asarray(
                inpaint(
                    self.models[which], picture, regions[i] | hidden, seed=self.seed + i, **rest
                )[0]
            )
            pictures.append(np.where(regions[i][..., None], made, picture))
            cost.append((self.calls, time.process_time() - began))
            with write_atomically(path) as file:
                np.savez_compressed(file, pictures=np.array(pictures), cost=np.array(cost))
        return np.array(pictures[:count]), np.array(cost[:count])

    def measure(self, task: str, made: dict[str, np.ndarray]) -> Draws:
        """Every row's measures, each over all draws of songs, float (1 + 200,)."""
        windows, regions, count = self.task(task)
        songs = np.array([self.songs.index(w[0]) for w in windows])
        draws = bootstrap(len(self.songs), np.unique(songs[:count]), self.seed)
        against, regions_made = np.stack([draws, np.ones_like(draws)], axis=1), regions[:count]
        measured = [
            Region(w[2], mask, render(w[0]), w[1])
            for w, mask in zip(windows[:count], regions, strict=False)
        ]
        reference = read_clips([w[2] for w in windows], regions)
        by_song, found = np.eye(len(self.songs))[songs[:count]], {}
        for row, pictures in made.items():
            clips = read_clips(pictures, regions_made)
            area = compare(clips, reference, songs[:count], songs, weights=against)["mean"][0]
            counts = np.array(
                [
                    region.measure(picture)
                    for region, picture in zip(measured, pictures, strict=True)
                ]
            )
            described = describe(clips)
            values = {
                "overlapping_area": np.append(area[0], area[1:] - area[1:].mean() + area[0])
            }  # as in Judge.table
            parts = dict(zip(MEASURES, counts.transpose(2, 1, 0), strict=True))  # (2, count) each
            parts |= {
                key: np.stack([np.nan_to_num(described[key]), ~np.isnan(described[key])])
                for key in DESCRIBED
            }
            with np.errstate(invalid="ignore", divide="ignore"):
                values |= {
                    key: np.divide(*(part @ by_song @ draws.T))
                    for key, part in parts.items()
                    if key not in LEFT_OUT
                }
            found[row] = values
        return found

    def part(self, name: str) -> dict[str, Any]:
        """The report of a part."""
        tasks, rows, fallback = PARTS[name]
        stems = {row: row.rpartition(", ")[0] for row in ("real", "permuted", *rows)}
        reference = {row: stem if stem in rows else fallback for row, stem in stems.items()}
        cost: dict[str, list[np.ndarray]] = {row: [] for row in rows}
        draws: dict[str, Draws] = {}
        for task in tasks:
            windows, regions, count = self.task(task)
            made = {"real": np.stack([w[2] for w in windows[:count]])}
            made["permuted"] = np.stack(
                [
                    permuted(w[2], mask, np.random.default_rng((self.seed, i)))
                    for i, (w, mask) in enumerate(zip(windows[:count], regions, strict=False))
                ]
            )
            for row, (which, options) in rows.items():
                made[row], spent = self.compose(task, which, options)
                cost[row].append(spent.mean(axis=0))
            draws[task] = self.measure(task, made)
        draws["mean"] = {
            row: {
                key: np.mean([draws[t][row][key] for t in tasks], axis=0)
                for key in draws[tasks[0]][row]
            }
            for row in draws[tasks[0]]
        }
        calls, seconds = np.mean([*cost.values()], axis=1).T.round(3).tolist()
        return {
            "rows": {
                row: {
                    "model": which,
                    "options": options,
                    "calls": calls[i],
                    "cpu_seconds": seconds[i],
                }
                for i, (row, (which, options)) in enumerate(rows.items())
            },
            "windows": {task: self.task(task)[2] for task in tasks},
            "reference": reference,
            "strangeness": self.strangeness(tasks) if name == "shapes" else {},
            "mask_mix": dict(data.MASK_MIX),
            "tasks": {task: interval_table(found) for task, found in draws.items()},
            "differences": {
                task: interval_table(less(found, reference)) for task, found in draws.items()
            },
        }

    def strangeness(self, tasks: Sequence[str], masks_drawn: int = 2000) -> dict[str, float]:
        """1 - the largest intersection over union of a task's first mask, as the model sees it, with a training mask."""
        wanted = {}
        for task in tasks:
            mask = self.task(task)[1][0]
            start = (
                min(
                    max(int(mask.any(axis=0).argmax()) - self.width // 4, 0),
                    mask.shape[1] - self.width,
                )
                // 16
                * 16
            )
            wanted[task] = mask[8:120, start : start + self.width]
        drawn, best = (
            data.Windows(self.training, self.width, seed=self.seed),
            dict.fromkeys(tasks, 0.0),
        )
        for i in range(masks_drawn):
            seen = drawn[i].mask[8:120]
            best = {
                task: max(best[task], float((seen & mask).sum() / (seen | mask).sum()))
                for task, mask in wanted.items()
            }
        return {task: round(1 - overlap, 3) for task, overlap in best.items()}


def bootstrap(songs: int, there: np.ndarray, seed: int) -> np.ndarray:
    """How often each song counts: once, then in 200 bootstrap samples of those that are `there`, float (1 + 200, songs)."""
    draws = np.ones((1 + DRAWS, songs))
    draws[1:] = 0
    draws[1:, there] = np.random.default_rng(seed).multinomial(
        len(there), np.ones(len(there)) / len(there), DRAWS
    )
    return draws


def less(found: Draws, reference: dict[str, str]) -> Draws:
    """Every row's measures less those of its reference."""
    return {
        row: {key: found[row][key] - found[reference[row]][key] for key in found[row]}
        for row in found
    }


def interval_table(found: Draws) -> Table:
    """Value and 95 % interval of every row's measures; what is not defined is left out."""
    return {
        row: {
            key: [round(float(x), 4) for x in (v[0], *np.nanquantile(v[1:], (0.025, 0.975)))]
            for key, v in measures.items()
            if np.isfinite(v[0])
        }
        for row, measures in found.items()
    }


@torch.inference_mode()
def bits(
    model: Any, songs: list[Any], training: list[Any], seed: int, passes: int = 8
) -> dict[str, Any]:
    """Bits per pixel of the 112 playable rows of whole windows, one after the other through every song; see `cell_bound`.

    All notes hidden, with and without the chords, and the middle half hidden. Beside them the exact code lengths of two plain
    codes, counted on the training songs: each cell by its pitch alone, and by its pitch and the cell before it.
    """
    width, generator = model.width, torch.Generator().manual_seed(seed)
    quarter = width // 4
    regions = {
        "all, chords not known": (masks.everything(width), True),
        "all, chords known": (masks.everything(width), False),
        "middle half, chords known": (masks.box(width, steps=(quarter, 3 * quarter)), False),
    }
    first = np.ones((128, 1, model.states))  # add-one: nothing is impossible
    second = np.ones((128, model.states, model.states))
    for song in tqdm(training, desc="counting"):
        cells, rows = model.encode(render(song, border=0), 0), np.arange(128)[:, None]
        np.add.at(first, (rows, np.zeros_like(cells), cells), 1)
        np.add.at(second, (rows[:, :1], cells[:, :-1], cells[:, 1:]), 1)
    length = {
        name: -np.log2(t / t.sum(axis=2, keepdims=True))
        for name, t in (("pitch", first), ("before", second))
    }
    rows, totals = np.arange(128)[:, None], []  # of songs: bits of each code, pixels, onsets
    for song in tqdm(songs, desc="bits"):
        spent: dict[str, list[tuple[float, float, float]]] = {}
        begin = song.bars[0] if song.bars else 0
        for start in range(begin, max(song.end - width, begin) + 1, width):
            picture = render(song, start, width)
            cells = model.encode(picture)
            before = np.pad(cells, ((0, 0), (1, 0)))[:, :-1]
            codes = {
                "each cell by its pitch": length["pitch"][rows, 0, cells],
                "and by the cell before it": length["before"][rows, before, cells],
            }
            onset = cells >= 2
            for name, code in codes.items():
                spent.setdefault(name, []).append((code[8:120].sum(), 112 * width, onset.sum()))
            for name, (mask, hide) in regions.items():
                region = torch.from_numpy(mask).expand(passes, -1, -1)
                chords = torch.from_numpy(
                    chord_channels(picture, masks.chords(width) if hide else None)
                )
                bound = cell_bound(
                    model,
                    torch.from_numpy(cells).expand(passes, -1, -1),
                    chords.expand(passes, -1, -1, -1),
                    region,
                    model.states,
                    stratified_t(passes, generator),
                    generator,
                ).mean()
                spent.setdefault(name, []).append(
                    (float(bound) * mask.sum(), mask.sum(), (onset & mask).sum())
                )
        totals.append([np.sum(windows, axis=0) for windows in spent.values()])
    n, found = len(songs), np.array(totals)  # (songs, codes, 3)
    total = np.tensordot(bootstrap(n, np.arange(n), seed), found, 1)  # (1 + 200, codes, 3)
    rates = {
        name: {
            "bits_per_pixel": total[:, i, 0] / total[:, i, 1],
            "bits_per_note": total[:, i, 0] / total[:, i, 2],
        }
        for i, name in enumerate(spent)
    }
    return {
        "songs": n,
        "windows": int(found[:, 0, 1].sum() / 112 / width),
        "passes": passes,
        "velocity_bins": len(model.velocities),
        "codes": interval_table(rates),
    }


def write(path: Path, report: dict[str, Any]) -> None:
    """The report as JSON, lists of numbers on a line."""
    text = re.sub(
        r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), json.dumps(report, indent=1)
    )
    with write_atomically(path) as file:
        file.write(text.encode() + b"\n")
    print(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}, bits; default all but bits")
    parser.add_argument("--cells", default="tiny", help="the cells model, a name or path")
    parser.add_argument("--edm", default="tiny-edm", help="the edm model, a name or path")
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--count", type=int, default=24, help="windows a task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default=None, help="default valid, for bits test")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "reports")
    o = parser.parse_args()
    corpus = data.read_corpus(find_archive(o.archive), progress=False)
    training = list(corpus.split("train").songs)
    for part in o.parts or PARTS:
        split, path, names = (
            o.split or ("test" if part == "bits" else "valid"),
            o.out / f"{part}.json",
            vars(o),
        )
        songs, began = list(corpus.split(split).songs), time.monotonic()
        settings = {
            "command": f"python tests/benchmarks/claims.py {part} --cells {o.cells} --edm {o.edm} --count {o.count} "
            f"--seed {o.seed} --split {split}",
            "split": split,
            "seed": o.seed,
        }
        if part == "bits":
            report = json.loads(path.read_text()) if path.is_file() else {}
            model = load_model(o.cells)
            settings["command"] = (
                f"python tests/benchmarks/claims.py bits --cells {o.cells} --seed {o.seed} --split {split}"
            )
            weights = json.loads(card_path(o.cells).read_text())["sha256"][:12]
            write(
                path,
                report
                | {
                    Path(o.cells).stem: settings
                    | {"weights": weights}
                    | bits(model, songs, training, o.seed)
                },
            )
            continue
        bench = Bench(
            songs, training, {which: names[which] for which in ("cells", "edm")}, o.count, o.seed
        )
        report = (
            settings
            | {
                "models": {
                    which: {"name": Path(names[which]).stem, "weights": bench.weights[which]}
                    for which in bench.weights
                }
            }
            | bench.part(part)
        )
        write(path, report | {"minutes": round((time.monotonic() - began) / 60, 2)})


if __name__ == "__main__":
    main()
