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
from .judge.intervals import DRAWS  # noqa: F401
from .judge.judging import Judge, Row, Sample, Tables  # noqa: F401
from .judge.report import (  # noqa: F401
    COLUMNS,
    as_markdown,
    cell,
    draw_measures,
    open_report,
    write_card,
    write_report,
    write_samples,
)
from .judge.tasks import CHORDS, SHAPES, TASKS, X, held_out  # noqa: F401
from .judge.tasks import TestWindow as Window  # noqa: F401
from .judge.tasks import shape_cells as drawn  # noqa: F401
from .play import plot
from .processes.checkpoint import card_path, load_model
from .processes.contract import methods_of

# Windows for each task with --quick.
QUICK_COUNT = 12
# Samples in the figure beside a model's card.
PAIRS = 4
# Options of `inpaint` that the judge itself sets.
JUDGES_OWN = {"n", "seed", "callback", "chords", "bars"}
# What --chords may ask for: rows with the annotated chords, and rows as most files come.
BOTH = ("annotated", "none")


def run(o: argparse.Namespace, options: dict[str, Any]) -> None:
    """Judge a model; write every task as soon as it is done; go on where the same run stopped.

    Args:
        o: what `main` reads from the command line.
        options: those of `inpaint` that were given; `method`: only this one is judged.
    """
    corpus = read_corpus(o.data)
    model = load_model(o.model)
    card = card_path(o.model)
    methods = [options.pop("method")] if "method" in options else methods_of(model)
    count = min(o.count, QUICK_COUNT) if o.quick else o.count
    chords = list(BOTH) if o.chords == "both" else [o.chords]
    weights = json.loads(card.read_text())["sha256"]
    settings = {
        "model": card.stem,
        "weights": weights[:12],
        "split": o.split,
        "windows": count,
        "seed": o.seed,
        "methods": methods,
        "chords": chords,
        **options,
    }

    songs = corpus.split(o.split).songs
    training = corpus.split("train").songs
    judge = Judge(model, songs, training, count, methods, o.seed, chords=chords, **options)
    report = open_report(o.out, settings)
    for task in o.tasks:
        if task not in report["tasks"]:
            samples = add_task(judge, task, report, o.out)
            if o.write_card and samples and task == "continuation":
                pairs = [(sample.before, sample.after) for sample in samples[:PAIRS]]
                plot.save_pairs(card.with_suffix(".png"), pairs, samples[0].mask)

    draw_measures(o.out / "measures.png", report["tasks"], list(judge.model_rows))
    print(as_markdown(report["tasks"]))
    if o.write_card:
        write_card(card, report)


def add_task(judge: Judge, task: str, report: dict[str, Any], out: Path) -> list[Sample]:
    """Judge a task, add it to the report, and write the report and the samples.

    Args:
        judge: of the model.
        task: one of `TASKS`.
        report: what `open_report` gives.
        out: the folder of the report.

    Returns:
        The samples that were composed.
    """
    started = time.monotonic()
    result = judge.judge_task(task)
    report["tasks"][task] = result.rows
    write_samples(out / "samples" / task.replace(" ", "_"), result.samples)
    report["minutes"] = round(report["minutes"] + (time.monotonic() - started) / 60, 2)
    write_report(out, report)
    return result.samples


def command_line() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        "python -m pomkit.evaluate",
        # Not the docstring, which python -OO strips.
        description="Judge a model on held-out songs, task after task.",
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

    # What is asked, and how much of it.
    add("--split", default="valid", help="which songs: train, valid or test")
    add("--tasks", nargs="+", default=list(TASKS), metavar="TASK", help="which tasks")
    add("--count", type=int, default=48, help="windows for each task; of drawn shapes a third")
    quick = f"at most {QUICK_COUNT} windows for each task: minutes on two cores"
    add("--quick", action="store_true", help=quick)
    add("--seed", type=int, default=0, help="seed of windows and samples")
    add(
        "--chords",
        default="both",
        choices=[*CHORDS, "both"],
        help="what the model is shown: annotated chords, those estimated from the song as it is, "
        "none, as in most files; both: annotated, and once more with none",
    )
    add("--write-card", action="store_true", help="put the table into the model's .json file")
    return p


def add_sampling(p: argparse.ArgumentParser) -> set[str]:
    """Make whatever `inpaint` understands an option, too; gives the names of these."""
    parameters = inspect.signature(inpaint).parameters.values()
    own = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - JUDGES_OWN
    for name in sorted(own):
        p.add_argument(
            f"--{name}",
            type=str if name in ("method", "sampler") else json.loads,
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help="see pomkit.inpaint",
        )
    return own


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; exit code 2 and one line where the input is bad."""
    p = command_line()
    own = add_sampling(p)
    o = p.parse_args(arguments)
    options = {name: value for name, value in vars(o).items() if name in own}
    return exit_code("pomkit.evaluate", lambda: run(o, options))


if __name__ == "__main__":
    sys.exit(main())
