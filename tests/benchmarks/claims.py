"""The paper's claims, measured: one JSON file a claim in assets/reports.

    python tests/benchmarks/claims.py [calls] [chords] [U] [shapes] [graded] [bits]
        [--cells tiny] [--edm tiny-edm] [--count 24]

Notebook 09 draws its figures from these files.

- calls: what a network call buys; edm by RePaint with 20 to 95 calls, edm conditioned and cells
  with 5 to 80.
- chords: whether the music follows the chord borders; by RePaint, conditioned, with guidance, and
  with the borders hidden.
- U: RePaint's resampling against density and coherence, in all three ways to compose.
- shapes: masks that leave the training distribution, from the loop's middle to scattered dots. The
  `strangeness` of a task is 1 - the largest intersection over union of its mask with any of 2,000
  training masks.
- graded: masks with grades between known and composed (`processes.strength`): one strength for
  the whole region, and edges along which it rises. `note_f1` says how much of the music stayed.
- bits: the bound on the bits per pixel of a cells model, on the test split, beside two plain codes.
  With --width 256 the windows, the hiding probabilities and the hidden cells are the same for every
  model, and models are compared window by window; written to bits_SPLIT_WIDTH.json.

Windows, masks and measures are those of `pomkit.judge`. So are the rows "real" and "permuted" (real
rhythm, pitches dealt anew: no music). A value stands with its 95 % bootstrap interval over songs.
A row stands with its difference from its `reference` over the same draws: the row that it varies
("cells" of "cells, U 4"), else the part's. "mean" is over a part's tasks. Network calls are
counted, not assumed.

What was composed is kept in out/claims, and not composed again with the same weights and options:
an interrupted run goes on, and a new checkpoint costs its own rows only. POP909's archive is looked
for as in the other benchmarks.
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
from pomkit.data.windows import recalled
from pomkit.files import write_atomically
from pomkit.judge.baselines import permuted
from pomkit.judge.clips import read_clips
from pomkit.judge.intervals import DRAWS
from pomkit.judge.likeness import compare
from pomkit.judge.metrics import MEASURES, Region
from pomkit.judge.statistics import describe
from pomkit.judge.tasks import TASKS, TestWindow, held_out
from pomkit.music.bars import bar_position
from pomkit.music.pixels import BORDER, PITCHES
from pomkit.music.tables import BAR
from pomkit.processes.cells import cell_bound
from pomkit.processes.checkpoint import card_path
from pomkit.processes.schedules import stratified_t
from pomkit.processes.states import told_channels

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "out" / "claims"
Options = dict[str, Any]
# Row -> measure -> the value, then those of 200 bootstrap samples.
Draws = dict[str, dict[str, np.ndarray]]
# Row -> measure -> value, low, high.
Table = dict[str, dict[str, list[float]]]
DESCRIBED = ("groove_consistency", "pitch_class_entropy", "polyphony", "note_length")
LEFT_OUT = ("onsets_per_bar", "filled")
INPAINTING = ("melody", "accompaniment", "continuation", "loop middle")
REPAINT = {"method": "repaint", "steps": 48, "U": 2, "jump": 5}  # 2 (48 - 1) + 1 = 95 calls
# As `inpaint` does; written out, since it names what is kept.
CELLS = {"steps": 8, "top_p": 0.95, "order": "halton"}
CONDITIONED = {"method": "conditioned", "steps": 20}
CONDITIONED_CALLS = {
    f"edm conditioned, {n} calls": ("edm", CONDITIONED | {"steps": n}) for n in (5, 10, 20, 40)
}
# One call more settles what is broken.
CELLS_CALLS = {f"cells, {n} calls": ("cells", CELLS | {"steps": n - 1}) for n in (5, 10, 20, 40)}
GUIDED = {
    f"edm conditioned, guidance {g:g}": ("edm", CONDITIONED | {"guidance": g})
    for g in (1.5, 2.0, 3.0)
}
CELLS_GUIDED = {
    f"cells, guidance {g:g}": ("cells", CELLS | {"guidance": g}) for g in (1.5, 2.0, 3.0)
}
SHORT_REPAINT = {"method": "repaint", "steps": 20}
REPAINT_U = {f"edm RePaint, U {u}": ("edm", SHORT_REPAINT | {"U": u}) for u in (2, 4, 8)}
GRADED = {
    f"edm conditioned, strength {share:g}": ("edm", CONDITIONED | {"strength": share})
    for share in (0.8, 0.6, 0.4, 0.2)
}
SOFT = {
    f"edm conditioned, soft edges of {steps} steps": ("edm", CONDITIONED | {"soft": steps})
    for steps in (16, 64)
}
# Part: its tasks; its rows, each a model and options of `inpaint` ("hidden": the chord border is
# not shown; "soft": steps along which strength rises from a region's edge); the reference row.
# fmt: off
PARTS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, Options]], str]] = {
    "calls": (INPAINTING, {
        "edm RePaint, 95 calls": ("edm", REPAINT),
        "edm RePaint, 20 calls": ("edm", SHORT_REPAINT),
        **CONDITIONED_CALLS, **CELLS_CALLS}, "edm RePaint, 95 calls"),
    "chords": (("loop middle", "chords only"), {
        "edm RePaint": ("edm", REPAINT), "edm conditioned": ("edm", CONDITIONED),
        **GUIDED, "cells": ("cells", CELLS), **CELLS_GUIDED,
        "edm RePaint, borders hidden": ("edm", REPAINT | {"hidden": True}),
        "edm conditioned, borders hidden": ("edm", CONDITIONED | {"hidden": True}),
        "cells, borders hidden": ("cells", CELLS | {"hidden": True})}, "edm RePaint"),
    "U": (("loop middle",), {
        "edm RePaint": ("edm", SHORT_REPAINT), **REPAINT_U,
        "edm RePaint, jump 5, U 4": ("edm", SHORT_REPAINT | {"U": 4, "jump": 5}),
        "edm conditioned": ("edm", CONDITIONED),
        **{f"edm conditioned, U {u}": ("edm", CONDITIONED | {"U": u}) for u in (2, 4)},
        "cells": ("cells", CELLS),
        **{f"cells, U {u}": ("cells", CELLS | {"U": u}) for u in (2, 4, 8)}}, "edm RePaint"),
    "shapes": (("loop middle", "diverging lines", "arch", "blob", "scattered dots"), {
        "edm RePaint": ("edm", REPAINT), "edm conditioned": ("edm", CONDITIONED),
        "edm conditioned, guidance 2": ("edm", CONDITIONED | {"guidance": 2.0}),
        "cells": ("cells", CELLS),
        "cells, guidance 1.5": ("cells", CELLS | {"guidance": 1.5})}, "edm RePaint"),
    "graded": (("loop middle", "melody"), {
        "edm conditioned": ("edm", CONDITIONED), **GRADED, **SOFT}, "edm conditioned"),
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
            chosen, regions = [], []
            for window in windows:
                mask = TASKS[name].mask_of(window.song, window.start, width)
                if mask.any() and window.song.chords:
                    chosen.append(window)
                    regions.append(mask)
            self.tasks[name] = chosen, np.array(regions), min(self.count, len(chosen))
        return self.tasks[name]

    def compose(self, task: str, which: str, options: Options) -> tuple[np.ndarray, np.ndarray]:
        """Compose the windows of a task.

        Returns:
            Pictures uint8 (count, 128, width, 3); network calls and CPU seconds (count, 2).
        """
        windows, regions, count = self.task(task)
        model = self.models[which]
        usual = {"U": 1, "temperature": model.usual_temperature, "warming": model.usual_warming}
        asked = usual | options
        names = [self.weights[which], task, len(self.songs), self.seed, asked]
        learned = self.models["cells"].width
        key = json.dumps(names if self.width == learned else [*names, self.width])
        path = CACHE / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
        kept = dict(np.load(path)) if path.is_file() else {"pictures": [], "cost": []}
        pictures, cost = list(kept["pictures"]), list(kept["cost"])
        rest = {name: value for name, value in options.items() if name not in ("hidden", "soft")}
        for i in tqdm(range(len(pictures), count), desc=f"{task}: {which} {options}"):
            picture = windows[i].picture
            mask = regions[i]
            if "hidden" in options:
                mask = mask | masks.chords(picture) & mask.any(axis=0)
            if "soft" in options:
                rest["strength"] = soft_edges(regions[i], options["soft"])
            self.calls, began = 0, time.process_time()
            result = inpaint(self.models[which], picture, mask, seed=self.seed + i, **rest)
            made = np.asarray(result[0])
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
            pairs = zip(measured, pictures, strict=True)
            counts = np.array([region.measure(picture) for region, picture in pairs])
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

    def references(self, name: str) -> dict[str, str]:
        """The reference of each row of a part: the row that it varies, else the part's."""
        _, rows, fallback = PARTS[name]
        stems = {row: row.rpartition(", ")[0] for row in ("real", "permuted", *rows)}
        return {row: stem if stem in rows else fallback for row, stem in stems.items()}

    def part(self, name: str) -> dict[str, Any]:
        """The report of a part."""
        tasks, rows, _ = PARTS[name]
        reference = self.references(name)
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
        """1 - the largest intersection over union of a task's first mask with a training mask.

        The task's mask is taken as the model sees it.
        """
        wanted = {}
        for task in tasks:
            mask = self.task(task)[1][0]
            first = int(mask.any(axis=0).argmax())
            start = min(max(first - self.width // 4, 0), mask.shape[1] - self.width)
            start = start // BAR * BAR
            wanted[task] = mask[BORDER : PITCHES - BORDER, start : start + self.width]
        drawn = data.Windows(self.training, self.width, seed=self.seed)
        best = dict.fromkeys(tasks, 0.0)
        for i in range(masks_drawn):
            seen = drawn[i].mask[BORDER : PITCHES - BORDER]
            best = {
                task: max(best[task], float((seen & mask).sum() / (seen | mask).sum()))
                for task, mask in wanted.items()
            }
        return {task: round(1 - overlap, 3) for task, overlap in best.items()}


def soft_edges(mask: np.ndarray, steps: int) -> np.ndarray:
    """A strength that rises along so many steps from each end of a region: float32 (128, width)."""
    inside = mask.any(axis=0)
    column = np.arange(len(inside))
    outside = np.append(column[~inside], [-1, len(inside)])
    distance = np.abs(column[:, None] - outside).min(axis=1)  # (width,), 0 outside
    share = np.minimum(distance / (steps + 1), 1)
    return np.broadcast_to(share.astype(np.float32), mask.shape)


def bootstrap(songs: int, there: np.ndarray, seed: int) -> np.ndarray:
    """How often each song counts, float (1 + 200, songs).

    First once, then in 200 bootstrap samples of those that are `there`.
    """
    draws = np.ones((1 + DRAWS, songs))
    draws[1:] = 0
    n = len(there)
    draws[1:, there] = np.random.default_rng(seed).multinomial(n, np.ones(n) / n, DRAWS)
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
    model: Any,
    songs: list[Any],
    training: list[Any],
    seed: int,
    *,
    passes: int = 8,
    width: int | None = None,
    every: int = 1,
) -> dict[str, Any]:
    """Bits per pixel of the 112 playable rows of whole windows; see `cell_bound`.

    The windows go one after the other through every song. All notes are hidden, with and without
    the chords; then the middle half. Beside them stand the exact code lengths of two plain codes,
    counted on the training songs: each cell by its pitch alone, and by its pitch and the cell
    before it.

    With `width` the windows are alike for all models, and so are the hiding probabilities t and
    the cells that are hidden: then models are compared window by window ("by_song" holds what is
    added up).

    Args:
        model: a cells model.
        songs: their windows are coded.
        training: the plain codes are counted on them.
        seed: of what is hidden.
        passes: draws of t for each window.
        width: of the windows, in steps; None: the model's own.
        every: only every so manieth window of a song.
    """
    is_alike = width is not None
    width, generator = width or model.width, torch.Generator().manual_seed(seed)
    quarter = width // 4
    regions = {
        "all, chords not known": (masks.everything(width), True),
        "all, chords known": (masks.everything(width), False),
        "middle half, chords known": (masks.box(width, steps=(quarter, 3 * quarter)), False),
    }
    first = np.ones((128, 1, model.states))  # add-one: nothing is impossible
    second = np.ones((128, model.states, model.states))
    for song in tqdm(training, desc="counting"):
        cells = model.encode(render(song, border=0))  # (128, width), nothing in the border rows
        rows = np.arange(128)[:, None]
        np.add.at(first, (rows, np.zeros_like(cells), cells), 1)
        np.add.at(second, (rows[:, :1], cells[:, :-1], cells[:, 1:]), 1)
    length = {
        name: -np.log2(t / t.sum(axis=2, keepdims=True))
        for name, t in (("pitch", first), ("before", second))
    }
    rows, totals = np.arange(128)[:, None], []  # of songs: bits of each code, pixels, onsets
    for number, song in enumerate(tqdm(songs, desc="bits")):
        spent: dict[str, list[tuple[float, float, float]]] = {}
        begin = song.bars[0] if song.bars else 0
        for start in range(begin, max(song.end - width, begin) + 1, every * width):
            if is_alike:
                # The same draws, whatever a model took before.
                generator.manual_seed(seed + 2**20 * number + start)
            picture = render(song, start, width)
            cells = model.encode(picture)
            metre = song.metre_from(start, width)
            position = bar_position(*metre, width) if model.bar_position else None
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
                unknown = masks.chords(width) if hide else None
                memory = None
                if model.recalls:
                    hidden = mask if unknown is None else mask | unknown
                    memory = recalled(song, start, hidden)
                more = {"memory": memory, "region": model.told_region(mask)}
                told = told_channels(picture, unknown, position, **more)
                chords = torch.from_numpy(told)
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
    result = {
        "songs": n,
        "windows": int(found[:, 0, 1].sum() / 112 / width),
        "passes": passes,
        "velocity_bins": len(model.velocities),
        "codes": interval_table(rates),
    }
    if is_alike:
        result["width"] = width
        result["by_song"] = {code: found[:, i].round(2).tolist() for i, code in enumerate(spent)}
    return result


def bits_apart(one: dict[str, Any], other: dict[str, Any], seed: int) -> dict[str, Any]:
    """How many bits per pixel one model needs more than another one: code -> [value, low, high].

    Both are what `bits` gives for the same windows: over the same draws of songs.
    """
    apart = {}
    for code in one["by_song"]:
        pair = np.array([one["by_song"][code], other["by_song"][code]])  # (2, songs, 3)
        n = pair.shape[1]
        total = np.tensordot(bootstrap(n, np.arange(n), seed), pair, (1, 1))  # (draws, 2, 3)
        rate = total[..., 0] / total[..., 1]
        difference = rate[:, 0] - rate[:, 1]
        ends = np.quantile(difference[1:], (0.025, 0.975))
        apart[code] = [round(float(x), 5) for x in (difference[0], *ends)]
    return apart


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
    parser.add_argument("--width", type=int, default=None, help="bits: of all models' windows")
    parser.add_argument("--every", type=int, default=1, help="bits: every so manieth window")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "reports")
    o = parser.parse_args()
    corpus = data.read_corpus(find_archive(o.archive), progress=False)
    training = list(corpus.split("train").songs)
    for part in o.parts or PARTS:
        split = o.split or ("test" if part == "bits" else "valid")
        is_alike = part == "bits" and o.width is not None
        path = o.out / (f"bits_{split}_{o.width}.json" if is_alike else f"{part}.json")
        songs = list(corpus.split(split).songs)
        began = time.monotonic()
        models = f"--cells {o.cells}"
        if part != "bits":
            models += f" --edm {o.edm} --count {o.count}"
        command = f"python tests/benchmarks/claims.py {part} {models} --seed {o.seed}"
        command += f" --split {split}"
        settings = {"command": command, "split": split, "seed": o.seed}

        if part == "bits":
            report = json.loads(path.read_text()) if path.is_file() else {}
            weights = json.loads(card_path(o.cells).read_text())["sha256"][:12]
            model = load_model(o.cells)
            row = bits(model, songs, training, o.seed, width=o.width, every=o.every)
            name = Path(o.cells).stem
            report[name] = settings | {"weights": weights} | row
            if is_alike:
                settings["command"] += f" --width {o.width} --every {o.every}"
                report[name] |= settings
                others = {key: report[key] for key in report if key not in (name, "differences")}
                report["differences"] = report.get("differences", {}) | {
                    f"{name} - {key}": bits_apart(report[name], each, o.seed)
                    for key, each in others.items()
                    if each["windows"] == row["windows"]
                }
            write(path, report)
            continue

        names = {"cells": o.cells, "edm": o.edm}
        bench = Bench(songs, training, names, o.count, o.seed)
        cards = {}
        for which, weights in bench.weights.items():
            cards[which] = {"name": Path(names[which]).stem, "weights": weights}
        report = settings | {"models": cards} | bench.part(part)
        write(path, report | {"minutes": round((time.monotonic() - began) / 60, 2)})


if __name__ == "__main__":
    main()
