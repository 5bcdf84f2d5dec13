"""Judge a model on held-out songs: `python -m pomkit.evaluate MODEL --data CORPUS --out report/`.

The command; what it does stands in `pomkit.judge`, whose names are also reached from here.

    python -m pomkit.evaluate --ladder --data CORPUS            # all systems in one table
    python -m pomkit.evaluate MODEL --data CORPUS --submit ANNA # a file of scores to hand in
    python -m pomkit.evaluate --leaderboard FOLDER              # the table of a class
"""

import argparse
import inspect
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

import pomkit

from .composing.region import inpaint
from .data.corpus import Corpus
from .data.reading import read_corpus
from .errors import OptionError, PomkitError, exit_code
from .files import assets_dir, write
from .judge.answers import as_table, pool_answers
from .judge.baselines import Training
from .judge.intervals import DRAWS  # noqa: F401
from .judge.judging import Judge, Row, Sample, Tables  # noqa: F401
from .judge.leaderboard import board_text, read_board, split_hash, submission
from .judge.listening import CLIPS, make_test
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
from .judge.rungs import Held, add_rung, open_table, table_text, write_table
from .judge.tasks import CHORDS, SHAPES, TASKS, X, held_out  # noqa: F401
from .judge.tasks import TestWindow as Window  # noqa: F401
from .judge.tasks import shape_cells as drawn  # noqa: F401
from .play import plot
from .play.audio import sound_name
from .processes.checkpoint import card_path, load_model, model_names
from .processes.contract import methods_of

# Windows for each task.
COUNT = 48
# The same with --quick.
QUICK_COUNT = 12
# Samples in the figure beside a model's card.
PAIRS = 4
# Options of `inpaint` that the judge itself sets.
JUDGES_OWN = {"n", "seed", "callback", "chords", "bars"}
# Held-out windows whose bits are asked for, for each that is composed.
BITS_WINDOWS = 4
# The shipped model that stands beside the ladder.
BESIDE = "tiny"
# What --chords may ask for: rows with the annotated chords, and rows as most files come.
BOTH = ("annotated", "none")


def run(o: argparse.Namespace, options: dict[str, Any]) -> dict[str, Any]:
    """Judge a model; write every task as soon as it is done; go on where the same run stopped.

    Args:
        o: what `main` reads from the command line.
        options: those of `inpaint` that were given; `method`: only this one is judged.

    Returns:
        The report.
    """
    corpus = read_corpus(o.data)
    model = load_model(o.model)
    card = card_path(o.model)
    methods = [options.pop("method")] if "method" in options else methods_of(model)
    count = getattr(o, "count", COUNT)
    count = min(count, QUICK_COUNT) if o.quick else count
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
    for task in tasks_of(o, judge):
        if task not in report["tasks"]:
            samples = add_task(judge, task, report, o.out)
            if o.write_card and samples and task == "continuation":
                pairs = [(sample.before, sample.after) for sample in samples[:PAIRS]]
                plot.save_pairs(card.with_suffix(".png"), pairs, samples[0].mask)

    draw_measures(o.out / "measures.png", report["tasks"], list(judge.model_rows))
    print(as_markdown(report["tasks"]))
    if o.write_card:
        write_card(card, report)
    return report


def tasks_of(o: argparse.Namespace, judge: Judge) -> list[str]:
    """The tasks that are asked for; where that is all of them, those that the model answers.

    A task without a window stays, and gets no rows.
    """
    if o.tasks != list(TASKS):
        return list(o.tasks)
    known = []
    for name, task in TASKS.items():
        if judge.can_answer(task) or not judge.choose(task):
            known.append(name)
    return known


def judge_ladder(o: argparse.Namespace) -> None:
    """Judge all checkpoints of a folder on one table; arguments as of `run`."""
    from .ladder.counting import COUNTED, baseline_bits, per_unit, spread_windows

    paths = checkpoints_of(Path(o.ladder))
    corpus = read_corpus(o.data)
    count = getattr(o, "count", COUNT)
    count = min(count, QUICK_COUNT) if o.quick else count
    settings = {"split": o.split, "split_sha256": split_hash(corpus.split(o.split).songs)}
    settings |= {"windows": count, "seed": o.seed, "tuned": o.tune}
    report = open_table(o.out, settings)

    # The songs are made ready once for all rungs.
    songs = list(corpus.split(o.split).songs)
    training = list(corpus.split("train").songs)
    cells = spread_windows(songs, BITS_WINDOWS * count)
    if training and not report["baselines"]:
        report["baselines"] = baseline_bits(spread_windows(training, COUNTED), cells)
    prepared = Training(training) if training else None
    tuning = corpus.split("valid").songs
    held = Held(songs, prepared, cells, per_unit, count, o.seed, tuning=tuning)

    for name, path in tqdm(paths.items(), "ladder", unit="rung"):
        judge_checkpoint(report, name, path, held=held, o=o)
    print(table_text(report))


def judge_checkpoint(
    report: dict[str, Any], name: str, path: str, *, held: Held, o: argparse.Namespace
) -> None:
    """Add one checkpoint to the table of the ladder; one that fails is named there, not fatal.

    Args:
        report: what `open_table` gives.
        name: of the row.
        path: of the checkpoint, or the name of a shipped model.
        held: what it is judged with.
        o: arguments as of `run`.
    """
    try:
        weights = json.loads(card_path(path).read_text())["sha256"][:12]
        rung = report["rungs"].get(name, {})
        if rung.get("weights") == weights and rung.get("is_done"):
            return
        if rung.get("weights") != weights:
            report["rungs"][name] = {"weights": weights, "tasks": {}}
        model = load_model(path)
        add_rung(report, name, model, held, tuned=o.tune, save=lambda: write_table(o.out, report))
    except (PomkitError, OSError, ValueError, KeyError) as fault:
        failed = report["rungs"].setdefault(name, {"tasks": {}})
        failed["fault"] = " ".join(str(fault).split())[:200]
        write_table(o.out, report)


def checkpoints_of(folder: Path) -> dict[str, str]:
    """The checkpoints in a folder and below it, name -> path, and the shipped model beside them.

    A file model.safetensors bears the name of its folder, as `pomkit.train` writes it.

    Raises:
        OptionError: there is none.
    """
    paths = {}
    for path in sorted(folder.rglob("*.safetensors")):
        if path.with_suffix(".json").is_file():
            paths[path.parent.name if path.stem == "model" else path.stem] = str(path)
    if not paths:
        raise OptionError(
            f"{folder} holds no checkpoint (NAME.safetensors with NAME.json); give --ladder FOLDER"
        )
    return paths | ({BESIDE: BESIDE} if BESIDE in model_names() else {})


def submit(o: argparse.Namespace, report: dict[str, Any]) -> None:
    """Write the file of scores that a student hands in; `report`: what `run` gives."""
    model = load_model(o.model)
    corpus: Corpus = read_corpus(o.data)
    songs = split_hash(corpus.split(o.split).songs)
    name = o.submit or report["settings"]["model"]
    entry = submission(name, model, report, songs, version=pomkit.__version__)
    path = write(o.out / f"{Path(name).name}.json", json.dumps(entry, indent=1).encode() + b"\n")
    print(f"hand in {path}")


def show_board(o: argparse.Namespace) -> None:
    """Make one table of a folder of scores, print it, and write leaderboard.json and .md."""
    board = read_board(o.leaderboard)
    text = board_text(board)
    print(text)
    write(o.out / "leaderboard.json", json.dumps(board, indent=1).encode() + b"\n")
    write(o.out / "leaderboard.md", text.encode() + b"\n")


def make_listening_test(o: argparse.Namespace, options: dict[str, Any]) -> None:
    """Make a listening test of the first task that is asked for; arguments as of `run`."""
    corpus = read_corpus(o.data)
    model = load_model(o.model)
    methods = [options.pop("method")] if "method" in options else methods_of(model)[:1]
    chords = ["annotated" if o.chords == "both" else o.chords]
    songs = corpus.split(o.split).songs
    training = corpus.split("train").songs
    count = getattr(o, "count", CLIPS)
    judge = Judge(model, songs, training, count, methods, o.seed, chords=chords, **options)

    task = "loop middle" if o.tasks == list(TASKS) else o.tasks[0]
    key = make_test(o.listening, judge, task=task, count=count)
    page = o.listening / "page"
    print(f"{len(key['clips'])} clips of {', '.join(key['systems'])}, played by {sound_name()}")
    print(f"give {page} to who listens, and keep {o.listening / 'key.json'}; answers are pooled by")
    print(f"python -m pomkit.evaluate --listening-answers {o.listening / 'answers'}")


def pool(o: argparse.Namespace) -> None:
    """Pool the answers to a listening test, print them, and write listening.json and .md."""
    pooled = pool_answers(o.listening_answers)
    table = as_table(pooled)
    print(table)
    write(o.out / "listening.json", json.dumps(pooled, indent=1).encode() + b"\n")
    write(o.out / "listening.md", table.encode() + b"\n")


def chosen_work(o: argparse.Namespace, options: dict[str, Any]) -> None:
    """Do what the command line asks for; OptionError where the model or the corpus is missing."""
    if o.listening_answers is not None:
        pool(o)
        return
    if o.leaderboard is not None:
        show_board(o)
        return

    # All that follows needs songs.
    if o.ladder is not None and o.data is not None:
        judge_ladder(o)
        return
    if o.model is None or o.data is None:
        raise OptionError("a model or --data is missing; give a model's name and a corpus")
    if o.listening is not None:
        make_listening_test(o, options)
        return
    report = run(o, options)
    if o.submit is not None:
        submit(o, report)


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


def judge_options() -> argparse.ArgumentParser:
    """The command line of a judge."""
    p = argparse.ArgumentParser(
        "python -m pomkit.evaluate",
        # Not the docstring, which python -OO strips.
        description="Judge a model on held-out songs, task after task.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = p.add_argument
    add("model", nargs="?", help="a shipped model's name or the path of a .safetensors file")
    add("--data", help="corpus: a folder, glob, tar/zip archive, or pop909")
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
    count = f"windows for each task (default: {COUNT}; of drawn shapes a third), or clips ({CLIPS})"
    add("--count", type=int, default=argparse.SUPPRESS, help=count)
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


def add_listening(p: argparse.ArgumentParser) -> None:
    """Ears instead of figures: the options of a listening test."""
    p.add_argument(
        "--listening",
        type=Path,
        metavar="FOLDER",
        help="make a blind listening test there instead: a page with clips, and a key apart",
    )
    p.add_argument(
        "--listening-answers",
        type=Path,
        metavar="FOLDER",
        help="pool the files of answers in a folder instead; the key lies there or one above",
    )


def add_tables(p: argparse.ArgumentParser) -> None:
    """Many models in one table: the options of the ladder and of a class."""
    p.add_argument(
        "--ladder",
        nargs="?",
        const=str(assets_dir() / "models" / "ladder"),
        metavar="FOLDER",
        help="judge all checkpoints of a folder instead, in one table: ladder.md and ladder.json; "
        "without a folder those that are shipped",
    )

    # The settings that most people leave alone, and what a class needs.
    tune = "with --ladder: look for the best method and temperature of each first"
    p.add_argument("--tune", action="store_true", help=tune)
    p.add_argument(
        "--submit",
        nargs="?",
        const="",
        metavar="NAME",
        help="write the scores into one file NAME.json in --out, too, to hand in",
    )
    p.add_argument(
        "--leaderboard",
        type=Path,
        metavar="FOLDER",
        help="make one table of a folder of such files instead: leaderboard.md and .json",
    )


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
    p = judge_options()
    add_listening(p)
    add_tables(p)
    own = add_sampling(p)
    o = p.parse_args(arguments)
    options = {name: value for name, value in vars(o).items() if name in own}
    return exit_code("pomkit.evaluate", lambda: chosen_work(o, options))


if __name__ == "__main__":
    sys.exit(main())
