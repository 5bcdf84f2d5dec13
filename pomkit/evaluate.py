"""Judge a model on held-out songs: `python -m pomkit.evaluate MODEL --data CORPUS --out report/`.

The command; what it does stands in `pomkit.judge`, whose names are also reached from here.
"""

import argparse
import inspect
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .composing.region import inpaint
from .data.reading import read_corpus
from .errors import exit_code
from .files import write
from .judge.judging import (  # noqa: F401
    COLUMNS,
    DRAWS,
    SHAPES,
    TASKS,
    Judge,
    Row,
    Tables,
    Window,
    X,
    as_markdown,
    cell,
    draw_measures,
    drawn,
    held_out,
    write_report,
    write_samples,
)
from .play import plot
from .processes.checkpoint import card_path, load_model
from .processes.contract import methods_of


def run(o: argparse.Namespace, options: dict[str, Any]) -> None:
    """Judge the model; write every task as soon as it is done; go on where a run with the same settings stopped."""
    corpus, model, path = read_corpus(o.data), load_model(o.model), card_path(o.model)
    spec, log, count = (
        json.loads(path.read_text()),
        o.out / "report.json",
        min(o.count, 12 if o.quick else o.count),
    )
    methods = [options.pop("method")] if "method" in options else methods_of(model)
    settings = {
        "model": path.stem,
        "weights": spec["sha256"][:12],
        "split": o.split,
        "windows": count,
        "seed": o.seed,
        "methods": methods,
        **options,
    }
    judge = Judge(
        model,
        corpus.split(o.split).songs,
        corpus.split("train").songs,
        count,
        methods,
        o.seed,
        **options,
    )
    report = json.loads(log.read_text()) if log.is_file() else {}
    if report.get("settings") != settings:
        report = {"settings": settings, "minutes": 0, "tasks": {}}
    for task in [task for task in o.tasks if task not in report["tasks"]]:
        started = time.monotonic()
        report["tasks"][task] = judge(task)
        write_samples(o.out / "samples" / task.replace(" ", "_"), judge.samples)
        if o.write_card and task == "continuation":
            pairs = [(before, after) for before, _, after in judge.samples[:4]]
            plot.save_pairs(path.with_suffix(".png"), pairs, judge.samples[0][1])
        report["minutes"] = round(report["minutes"] + (time.monotonic() - started) / 60, 2)
        write_report(o.out, report)
    draw_measures(o.out / "measures.png", report["tasks"])
    print(as_markdown(report["tasks"]))
    if o.write_card:
        spec["card"]["evaluation"] = {
            **settings,
            "minutes": report["minutes"],
            "tasks": {
                task: {
                    row: {title: cell(found[key]) for key, title in COLUMNS.items() if key in found}
                    for row, found in rows.items()
                }
                for task, rows in report["tasks"].items()
            },
        }
        write(path, json.dumps(spec, indent=1).encode() + b"\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; exit code 2 and one line where the input is bad."""
    p = argparse.ArgumentParser(
        "python -m pomkit.evaluate",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = p.add_argument
    add("model", help="a shipped model's name or the path of a .safetensors file")
    add("--data", required=True, help="corpus: a folder, glob or tar/zip archive")
    add(
        "--out",
        type=Path,
        default=Path("out/report"),
        help="folder for report.md, report.json, figures and samples; "
        "what stands in its report.json with the same settings is not done again",
    )
    add("--split", default="valid", help="which songs: train, valid or test")
    add("--tasks", nargs="+", default=list(TASKS), metavar="TASK", help="which tasks")
    add("--count", type=int, default=48, help="windows for each task; of drawn shapes a third")
    add(
        "--quick",
        action="store_true",
        help="at most 12 windows for each task: minutes on two cores",
    )
    add("--seed", type=int, default=0, help="seed of windows and samples")
    add("--write-card", action="store_true", help="put the table into the model's .json file")
    own = set(inspect.signature(inpaint).parameters) - {
        "model",
        "picture",
        "mask",
        "n",
        "seed",
        "callback",
    }
    for name in sorted(own):
        add(
            f"--{name}",
            type=str if name in ("method", "sampler") else json.loads,
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help="see pomkit.inpaint",
        )
    o = p.parse_args(arguments)
    return exit_code(
        "pomkit.evaluate",
        lambda: run(o, {name: value for name, value in vars(o).items() if name in own}),
    )


if __name__ == "__main__":
    sys.exit(main())
