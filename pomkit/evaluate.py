"""Measure a model on held-out songs: `python -m pomkit.evaluate MODEL --data CORPUS` writes the figures into its card."""
import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice, zip_longest
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from . import masks, metrics, plot
from .checkpoint import Model, card_path, load_model
from .data import Windows, read_corpus
from .errors import OptionError, PomkitError
from .files import write_atomically
from .notes import Song
from .picture import render
from .sample import inpaint, methods_of

TASKS: dict[str, Callable[[Song, int, int], np.ndarray]] = {
    "middle bars": lambda song, start, width: masks.bars(width, width // 64 + 1, width // 16 - width // 64),
    "melody": lambda song, start, width: masks.melody(song, start=start, width=width),
    "accompaniment": lambda song, start, width: masks.accompaniment(song, start=start, width=width),
    "continuation": lambda song, start, width: masks.continuation(width, width // 2),
}
MEASURES = ("onsets_per_bar", "in_scale", "on_grid")


def held_out(songs: Sequence[Song], width: int, count: int, seed: int = 0) -> list[tuple[Song, int, np.ndarray]]:
    """`count` windows (song, start, picture): one a song in turn, at a random bar line where the music is dense enough."""
    rng = np.random.default_rng(seed)
    starts = [rng.permutation(Windows([song], width).starts[0]) for song in songs]
    windows = ((song, int(start), render(song, int(start), width)) for turn in zip_longest(*starts)
               for song, start in zip(songs, turn, strict=True) if start is not None)
    dense = (w for w in windows if (w[2][8:120, :, 0] > 0).sum() >= width / 2)  # no intros and endings
    return list(islice(dense, count))


def evaluate(model: Model, songs: Sequence[Song], count: int = 48, methods: Sequence[str] | None = None,
             tasks: Sequence[str] | None = None, seed: int = 0, progress: bool = True, **options: Any) -> dict[str, Any]:
    """Onsets per masked bar, share in the song's scale and share on its eighth-note grid, inside the mask.

    For each task and method: the median over windows of the ratio of onsets to the real music's, and the means of the
    shares (notes pooled), with bootstrap 95 % intervals over windows. Beside them "real" (the music that was there) and
    "chance" (as many notes, at random cells of the mask). See `metrics.adherence`.
    """
    windows = held_out(songs, model.width, count, seed)
    table: dict[str, Any] = {}
    for task in tasks or TASKS:
        if task not in TASKS:
            raise OptionError(f"task {task!r} is unknown; choose from {', '.join(TASKS)}")
        rows: dict[str, list[metrics.Adherence]] = {}
        for i, (song, start, picture) in enumerate(tqdm(windows, desc=task, unit="window", disable=not progress)):
            mask = TASKS[task](song, start, model.width)
            whole = render(song)
            results = {"chance": metrics.shuffled(picture, mask, np.random.default_rng((seed, i)))}
            results |= {method: inpaint(model, picture, mask, seed=seed + i, method=method, **options)[0]
                        for method in methods or methods_of(model)}
            for name, after in results.items():
                rows.setdefault(name, []).append(metrics.adherence(picture, after, mask, whole, start))
        table[task] = {"real": summary(rows["chance"], before=True)} | {k: summary(v) for k, v in rows.items()}
    return table


def summary(rows: Sequence[metrics.Adherence], before: bool = False) -> dict[str, Any]:
    """Pooled figures of many windows, each with its bootstrap 95 % interval over windows."""
    tail = "_before" if before else ""
    columns = dict(zip(metrics.Adherence._fields, np.nan_to_num(np.array(rows, float).T), strict=True))
    onsets, real = columns["onsets" + tail], columns["onsets_before"]
    picks = np.random.default_rng(0).integers(0, len(rows), (1000, len(rows)))
    out: dict[str, Any] = {"onsets_over_real_median": round(float(np.median(onsets / np.maximum(real, 1))), 3)}
    for key in MEASURES:
        value, weight = columns[key + tail], np.ones(len(rows)) if key == "onsets_per_bar" else onsets
        means = (value * weight)[picks].sum(1) / np.maximum(weight[picks].sum(1), 1e-9)
        out[key] = round(float((value * weight).sum() / max(weight.sum(), 1e-9)), 4)
        out[key + "_95"] = [round(float(x), 4) for x in np.quantile(means, (0.025, 0.975))]
    return out | {"changed_outside": int(columns["changed_outside"].sum())}


def as_markdown(table: dict[str, Any]) -> str:
    """The table for people."""
    head = "| task | | onsets / real (median) | onsets a bar | in the song's scale | on the eighth-note grid |"
    lines = [head, "|---" * 6 + "|"]
    for task, rows in table.items():
        for name, row in rows.items():
            cells = [f"{row[k]:.3f} ({row[k + '_95'][0]:.3f}-{row[k + '_95'][1]:.3f})" for k in MEASURES]
            lines.append(f"| {task} | {name} | {row['onsets_over_real_median']:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; exit code 2 and one line where the input is bad."""
    p = argparse.ArgumentParser("python -m pomkit.evaluate", description=__doc__.splitlines()[0],
                                formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("model", help="a shipped model's name or the path of a .safetensors file")
    p.add_argument("--data", required=True, help="corpus: a folder, glob or tar/zip archive")
    p.add_argument("--split", default="valid", help="which songs: train, valid or test")
    p.add_argument("--count", type=int, default=48, help="windows for each task")
    p.add_argument("--steps", type=int, default=None, help="network calls in one pass (default: by method)")
    p.add_argument("--temperature", type=float, default=1.0, help="cells only")
    p.add_argument("--seed", type=int, default=0, help="seed of windows and samples")
    p.add_argument("--write-card", action="store_true", help="put the figures into the model's .json file")
    o = p.parse_args(arguments)
    try:
        songs = read_corpus(o.data).split(o.split).songs
        model, started = load_model(o.model), time.monotonic()
        options = {"seed": o.seed, "steps": o.steps, "temperature": o.temperature}
        table = evaluate(model, songs, o.count, **options)
        print(as_markdown(table))
        if o.write_card:
            path, minutes = card_path(o.model), round((time.monotonic() - started) / 60, 1)
            spec = json.loads(path.read_text())
            spec["card"]["evaluation"] = {"split": o.split, "windows": o.count, **options, "minutes": minutes, "tasks": table}
            with write_atomically(path) as file:
                file.write(json.dumps(spec, indent=1).encode() + b"\n")
            mask = TASKS["middle bars"](songs[0], 0, model.width)
            plot.save_pairs(path.with_suffix(".png"), [(picture, inpaint(model, picture, mask, **options)[0])
                                                       for *_, picture in held_out(songs, model.width, 4, o.seed)], mask)
    except PomkitError as fault:
        print(f"pomkit.evaluate: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
