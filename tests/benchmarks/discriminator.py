"""Can a small network tell composed regions from real ones? AUC by view, with controls beside it.

    python tests/benchmarks/discriminator.py [models] [--task "loop middle"] [--count 300]
        [--split valid] [--options '{"tiny-edm": {"calls": 40}}'] [--views region inside around]
        [--chords annotated estimated none] [--ways '{"halton 4": {"calls": 4, "order": "halton"}}']

Each model composes the same windows of held-out songs, and `pomkit.judge.tell_apart` trains its
networks on them. .5: they cannot tell; 1: they always can. Beside the models stand

- "real": other windows of the same songs, taken for composed ones: it must be near .5;
- "permuted": the real notes, their pitches dealt anew: no music, it must be near 1.

With `--chords` every model composes them once for each way that files come: with the annotated
chords, with chords estimated from the song as it is, and with none (`pomkit.judge.tasks.CHORDS`).
With `--ways` every model composes them once as it does by default, and once more in each way: a
name and options of `inpaint`, or "voices": so many notes at once, as `compose` takes it.
Rows of the same windows are also compared two by two, over the same draws of songs.

A table is worth reading only if these two are where they must be. The value depends on the songs,
the windows and their number, so only rows of one table are compared.

What was composed is kept in out/discriminator by weights, windows and options, and is not composed
again; an interrupted run goes on where it was. So are the rows, until pomkit/judge/discriminator.py
changes. The tables go to assets/reports/discriminator.json, one a task and split; what gave each
model away is drawn in out/discriminator. (Empty that folder after a change of the samplers
themselves.) Of a model trained by pomkit, name the .safetensors file.

The controls and a model take about three minutes each on a quiet core, after the composing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import time
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from three_readers import find_archive
from tqdm.auto import tqdm

from pomkit import data, inpaint, load_model
from pomkit.composing.options import check_options
from pomkit.composing.voices import with_voices
from pomkit.files import write
from pomkit.judge import discriminator
from pomkit.judge.baselines import permuted
from pomkit.judge.discriminator import VIEWS, Verdict, tell_apart
from pomkit.judge.evidence import draw_evidence, of_kinds
from pomkit.judge.intervals import interval_of
from pomkit.judge.tasks import CHORDS, TASKS, TestWindow, as_brought, held_out, song_around
from pomkit.processes.checkpoint import card_path
from pomkit.processes.orders import ORDER_OPTIONS

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "out" / "discriminator"
REPORT = ROOT / "assets" / "reports" / "discriminator.json"
SOURCE = Path(discriminator.__file__).read_bytes()
KEEP_EVERY = 10  # windows
CONTROLS = {"real": (0.45, 0.55), "permuted": (0.95, 1.0)}
Options = dict[str, Any]
# A real window, the region and the composed twin of each pair, and its song: (n, ...) each.
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Bench:
    """Windows of held-out songs with a task's masks, and what models composed there.

    Attributes:
        windows: the first `count` are composed, the others are the other real ones.
        masks: bool (windows, 128, width).
        songs: the number of each window's song, int (windows,).
    """

    def __init__(self, songs: list[Any], task: str, count: int, seed: int) -> None:
        width = TASKS[task].width or 256
        self.count, self.seed = count, seed
        self.windows: list[TestWindow] = []
        found = []
        for window in held_out(songs, width, 2 * count, seed):
            mask = TASKS[task].mask_of(window.song, window.start, width)
            if mask.any():
                self.windows.append(window)
                found.append(mask)
        self.masks = np.array(found)
        self.corpus = [task, width, *(song.name for song in songs)]
        numbers = {id(song): number for number, song in enumerate(songs)}
        self.songs = np.array([numbers[id(window.song)] for window in self.windows])

    def real(self) -> np.ndarray:
        """The real windows that are composed, uint8 (count, 128, width, 3)."""
        return np.stack([window.picture for window in self.windows[: self.count]])

    def pairs(self, row: str, options: Options, chords: str = "annotated") -> Pairs:
        """What is told apart in a row: "real", "permuted", or a model's name or path."""
        if row == "real":
            return self.other_real()
        real, masks = self.real(), self.masks[: self.count]
        if row == "permuted":
            drawn = [
                permuted(picture, mask, np.random.default_rng((self.seed, i)))
                for i, (picture, mask) in enumerate(zip(real, masks, strict=True))
            ]
            composed = np.stack(drawn)
        else:
            composed = self.compose(row, options, chords)
        return real, masks, composed, self.songs[: self.count]

    def other_real(self) -> Pairs:
        """Every second window of each song beside the one before it; the region is that of both."""
        one, other = [], []
        for song in np.unique(self.songs):
            windows = np.flatnonzero(self.songs == song).tolist()
            one += windows[0 : len(windows) - 1 : 2]
            other += windows[1::2]
        pictures = np.stack([window.picture for window in self.windows])
        region = self.masks[one] | self.masks[other]
        return pictures[one], region, pictures[other], self.songs[one]

    def compose(self, name: str, options: Options, chords: str) -> np.ndarray:
        """Compose the windows by a model, or take what is kept: uint8 (count, 128, width, 3)."""
        card = json.loads(card_path(name).read_text())
        model = load_model(name)
        usual = [dict(model.methods), ORDER_OPTIONS, model.usual_temperature]
        usual += [model.usual_warming, check_options(model, {}).top_p]
        asked = json.dumps([card["sha256"], options, self.seed, chords, self.corpus, usual])
        key = hashlib.sha256(asked.encode()).hexdigest()
        path = CACHE / f"{name_of(name)}-{key[:16]}.npz"
        kept = list(np.load(path)["pictures"]) if path.is_file() else []

        # The first windows are the same, however many are asked for.
        windows = self.windows[: self.count]
        for i in tqdm(range(len(kept), len(windows)), desc=f"{name}, {chords}", mininterval=10):
            shown = as_brought(windows[i], chords)
            here = told(options) | {"seed": self.seed + i}
            if model.recalls:
                here = {"whole": song_around(windows[i], chords)} | here
            made = inpaint(model, shown, self.masks[i], **here)
            kept.append(np.asarray(made[0]))
            if (i + 1) % KEEP_EVERY == 0 or i + 1 == len(windows):
                write(path, partial(np.savez_compressed, pictures=np.array(kept)))
        return np.array(kept[: self.count])


def told(options: Options) -> dict[str, Any]:
    """Options of `inpaint`; "voices", a number, becomes the rule that `compose` makes of it."""
    limit = options.get("voices", 0)
    rest = {name: value for name, value in options.items() if name != "voices"}
    return rest | {"rule": with_voices(None, limit)} if limit else rest


def name_of(model: str) -> str:
    """What a row is called: a shipped model's name, or the folder of a run."""
    card = card_path(model)
    return card.parent.name if card.stem == "model" else card.stem


def judged(row: str, pairs: Pairs, views: list[str], seed: int, figure: Path) -> dict[str, Any]:
    """A row of the table, or what is kept of it; draws what gave it away, for "region"."""
    asked = json.dumps([views, seed]).encode() + SOURCE
    key = hashlib.sha256(asked + b"".join(array.tobytes() for array in pairs)).hexdigest()
    path = CACHE / f"row-{key[:16]}.json"
    if path.is_file():
        return json.loads(path.read_text())

    began = time.process_time()
    verdict: Verdict = tell_apart(*pairs, views=views, seed=seed)
    auc = {view: [round(x, 4) for x in values] for view, values in verdict.auc.items()}
    draws = {view: values.round(5).tolist() for view, values in verdict.draws.items()}
    result = {"windows": len(pairs[0]), "auc": auc, "draws": draws}
    if row not in CONTROLS and "region" in views:
        draw_evidence(figure, verdict, title=row)
        result["kinds"] = of_kinds(verdict)
    result["cpu_minutes"] = round((time.process_time() - began) / 60, 2)
    write(path, json.dumps(result).encode())
    return result


def table(rows: dict[str, Any], views: list[str]) -> str:
    """The rows as Markdown, and whether the controls are where they must be."""
    lines = ["| | windows | " + " | ".join(views) + " |", "|---" * (2 + len(views)) + "|"]
    for row, result in rows.items():
        cells = ["{:.3f} ({:.3f} to {:.3f})".format(*result["auc"][view]) for view in views]
        lines.append(f"| {row} | {result['windows']} | {' | '.join(cells)} |")
    for row, (low, high) in CONTROLS.items():
        if row in rows:
            values = [rows[row]["auc"][view][0] for view in views]
            holds = all(low <= value <= high for value in values)
            lines.append(f"{row} within {low} to {high}: {'yes' if holds else 'NO'}")
    return "\n".join(lines)


def differences(draws: dict[str, Any], views: list[str]) -> dict[str, Any]:
    """How much more each row of models is told from real music than each row before it.

    Args:
        draws: row -> view -> the AUC of all songs, then of each draw; all of the same windows.
        views: which views.
    """
    found = {}
    for other, one in combinations(draws, 2):
        less = {view: np.subtract(draws[one][view], draws[other][view]) for view in views}
        found[f"{one} - {other}"] = {
            view: [round(x, 4) for x in interval_of(values)] for view, values in less.items()
        }
    return found


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("models", nargs="*", default=["tiny"], help="names or paths")
    p.add_argument("--task", default="loop middle", choices=TASKS)
    p.add_argument("--count", type=int, default=300, help="windows")
    p.add_argument("--split", default="valid")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--views", nargs="+", default=list(VIEWS), choices=VIEWS)
    p.add_argument("--chords", nargs="+", default=["annotated"], choices=CHORDS)
    p.add_argument("--options", type=json.loads, default={}, help="model -> options of inpaint")
    p.add_argument("--ways", type=json.loads, default={}, help="name -> options of inpaint")
    p.add_argument("--archive", type=Path, default=None)
    a = p.parse_args()
    torch.set_num_threads(1)
    corpus = data.read_corpus(find_archive(a.archive), progress=False)
    bench = Bench(list(corpus.split(a.split).songs), a.task, a.count, a.seed)

    rows: dict[str, Any] = {}
    draws: dict[str, Any] = {}
    asked = [(name, "annotated", "") for name in CONTROLS]
    asked += product(a.models, a.chords, ["", *a.ways])
    for name, chords, way in asked:
        options = a.options.get(name, {}) | a.ways.get(way, {})
        row = name if name in CONTROLS else name_of(name)
        if chords != "annotated":
            row += f", chords {chords}"
        if way:
            row += f", {way}"
        figure = CACHE / f"{row}-{a.task}-{a.split}.png".replace(" ", "_")
        pairs = bench.pairs(name, options, chords)
        rows[row] = judged(row, pairs, a.views, a.seed, figure)
        spread = rows[row].pop("draws")
        if name not in CONTROLS:
            draws[row] = spread
            weights = json.loads(card_path(name).read_text())["sha256"][:12]
            rows[row] |= {"weights": weights, "options": options, "chords": chords}
        print(table({row: rows[row]}, a.views), flush=True)

    print("\n" + table(rows, a.views))
    report = json.loads(REPORT.read_text()) if REPORT.is_file() else {}
    name = f"{a.task}, {a.split}" + (", as brought" if a.chords != ["annotated"] else "")
    name += ", in other ways" if a.ways else ""
    report[name] = {
        "command": "python tests/benchmarks/discriminator.py " + shlex.join(sys.argv[1:]),
        "songs": len(np.unique(bench.songs)),
        "seed": a.seed,
        "rows": rows,
        "differences": differences(draws, a.views),
    }
    for pair, values in report[name]["differences"].items():
        print(pair, values)
    write(REPORT, json.dumps(report, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
