"""Many models in one table: the same windows of 64 steps, the same baselines, what each one costs.

    held = Held(valid_songs, Training(train_songs), cells, per_unit, count=24)
    report = open_table(folder, settings)
    add_rung(report, "coconet", load_model(path), held, save=write)
    write_table(folder, report)                       # ladder.json and ladder.md

The law: what a model cannot answer, or does not know, is an empty cell and never a zero. A table
that was broken off goes on task by task where its settings are the same.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import write
from ..music import masks
from ..music.pixels import Mask
from ..music.song import Song
from ..processes.contract import Model, methods_of
from .baselines import Training
from .judging import Judge
from .report import HOW_TO_READ, as_markdown
from .tasks import TASKS, Task

# Columns of a window.
RUNG_WIDTH = 64


def middle_of_window(song: Song, start: int, width: int) -> Mask:
    """Half of the window, in its middle, is hidden, bool (128, width)."""
    # The same columns in every song, so that windows can be compared.
    return masks.bars(width, 2, 3)


# What every model of the table is asked, in windows of 64 steps.
RUNG_TASKS: dict[str, Task] = {
    "continuation": TASKS["continuation"]._replace(width=RUNG_WIDTH),
    "loop middle": Task("all", middle_of_window, width=RUNG_WIDTH),
    "melody": TASKS["melody"]._replace(width=RUNG_WIDTH),
    "accompaniment": TASKS["accompaniment"]._replace(width=RUNG_WIDTH),
    "everything": TASKS["unconditional"]._replace(width=RUNG_WIDTH),
}
# Tried where the best temperature is looked for, on so many windows of another seed.
TEMPERATURES = (0.8, 0.9, 1.0, 1.1)
TUNED_ON = 8
TUNING_SEED = 10**6
# Windows on which calls and seconds are counted, and windows whose bits are asked for at once.
COST_WINDOWS = 2
BITS_BATCH = 8
# The columns of the table of rungs: what a record holds -> the title.
RUNG_COLUMNS = {
    "process": "process",
    "note": "bits a note",
    "likelihood": "kind of bits",
    "cell": "bits a cell",
    "method": "method",
    "temperature": "temperature",
    "calls": "calls a window",
    "seconds": "CPU seconds a window",
    "parameters": "parameters",
    "megabytes": "MB",
    "fault": "not judged",
}
HOW_TO_READ_RUNGS = """\
Bits are those of held-out windows of 64 x 64 cells, each off, sustain or onset: "exact", or a
"bound" from above; "none": the model gives none of such cells. Bits a note: those of all windows
over the number of onsets in them. "counted" rows use no network (`ladder.counting`): they are
counted on training songs and measured on the same windows. Calls and CPU seconds (of all threads)
are those of the first task that a model answers. An empty cell: it does not answer that task, or
does not know that option."""


@dataclass(frozen=True)
class Held:
    """What models are judged with.

    Attributes:
        songs: held out.
        training: of the training songs; None: the baselines that need them are left out.
        cells: windows for the bits, int64 (windows, 64, 64).
        per_unit: (bits of windows, the windows) -> bits by unit, as `ladder.counting.per_unit`.
        count: windows that are composed for each task.
        seed: of windows and samples.
        progress: whether bars show how far it is.
        tuning: songs on which methods and temperatures are chosen; empty: those that are held out,
            which flatters what is chosen.
    """

    songs: list[Song]
    training: Training | None
    cells: Tensor
    per_unit: Callable[[Tensor, Tensor], dict[str, float]]
    count: int
    seed: int = 0
    progress: bool = True
    tuning: Sequence[Song] = ()

    def judge(self, model: Model, method: str, **options: Any) -> Judge:
        """The judge of one method of a model, with options of `inpaint`."""
        told: dict[str, Any] = {"progress": self.progress, **options}
        known: Any = self.training or ()
        return Judge(model, self.songs, known, self.count, [method], self.seed, **told)


class Tally:
    """Counts network calls; its `count` is a callback of `inpaint`."""

    def __init__(self) -> None:
        self.calls = 0

    def count(self, event: dict[str, Any]) -> None:
        """Count a call."""
        self.calls += 1


def open_table(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Read a folder's ladder.json if it has the same settings, or begin a new table."""
    path = folder / "ladder.json"
    report = json.loads(path.read_text()) if path.is_file() else {}
    if report.get("settings") == settings:
        return report
    return {"settings": settings, "baselines": {}, "reference": {}, "rungs": {}}


def add_rung(
    report: dict[str, Any],
    name: str,
    model: Model,
    held: Held,
    *,
    tuned: bool = False,
    save: Callable[[], None],
) -> None:
    """Judge a model at every task that it answers; what stands in the table is not done again.

    Args:
        report: what `open_table` gives.
        name: of the row.
        model: what is judged.
        held: with what.
        tuned: look for its best method and temperature first.
        save: is called whenever something was added.
    """
    rung = report["rungs"].setdefault(name, {"tasks": {}})
    if "method" not in rung:
        rung |= facts_of(model) | bits_of_model(model, held)
        rung |= best_choice(model, held) if tuned else usual_choice(model)
        save()

    judge = held.judge(model, rung["method"], **sampling_of(rung))
    for task_name, task in RUNG_TASKS.items():
        if task_name in rung["tasks"] or not judge.can_answer(task):
            continue
        if "calls" not in rung:
            rung |= cost_of(model, rung, held, task)
        rows = judge.judge_task(task_name, task).rows
        rung["tasks"][task_name] = rows.pop(next(iter(judge.model_rows)))
        report["reference"].setdefault(task_name, rows)
        save()
    rung["is_done"] = True
    rung.pop("fault", None)
    save()


def facts_of(model: Model) -> dict[str, Any]:
    """What a model is: its process, its parameters, its size as 32-bit numbers."""
    parameters = sum(weights.numel() for weights in model.parameters())
    facts: dict[str, Any] = {"process": model.process, "parameters": parameters}
    return facts | {"megabytes": round(4 * parameters / 1e6, 2)}


def usual_choice(model: Model) -> dict[str, Any]:
    """A model's default method, and the temperature as learned where it knows one."""
    knows = "temperature" in model.options
    return {"method": methods_of(model)[0], "temperature": 1.0 if knows else None}


def sampling_of(choice: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `inpaint` beside the method that a choice stands for."""
    temperature = choice["temperature"]
    return {} if temperature is None else {"temperature": temperature}


def best_choice(model: Model, held: Held) -> dict[str, Any]:
    """The method and the temperature whose music overlaps most with real music.

    First methods are compared that take no more calls than the default one, then temperatures of
    the best of them: on a few windows of the first task that the model answers.

    Args:
        model: whose choice it is.
        held: what it is judged with; windows of another seed, and of the songs for tuning, are
            used.

    Returns:
        "method" and "temperature", and "tried", a record of each choice with its overlapping area.
    """
    few = min(TUNED_ON, held.count)
    songs = list(held.tuning) or held.songs
    seed = held.seed + TUNING_SEED
    others = replace(held, songs=songs, count=few, seed=seed, training=None)
    usual = usual_choice(model)
    task = first_task(held.judge(model, usual["method"]))
    if task is None:
        return usual

    most = model.methods[usual["method"]]
    methods = [name for name in methods_of(model) if model.methods[name] <= most]
    tried = [scored(model, usual | {"method": name}, others, task) for name in methods]
    best = max(tried, key=lambda choice: choice["overlapping_area"])

    # The temperature as learned was tried already.
    if usual["temperature"] is not None:
        for temperature in TEMPERATURES:
            choice = {"method": best["method"], "temperature": temperature}
            if temperature != usual["temperature"]:
                tried.append(scored(model, choice, others, task))
        best = max(tried, key=lambda choice: choice["overlapping_area"])
    return {"method": best["method"], "temperature": best["temperature"], "tried": tried}


def first_task(judge: Judge) -> Task | None:
    """The first task of the table that the judge's model answers."""
    return next((task for task in RUNG_TASKS.values() if judge.can_answer(task)), None)


def scored(model: Model, choice: dict[str, Any], held: Held, task: Task) -> dict[str, Any]:
    """A choice of method and temperature with its overlapping area at a task.

    Args:
        model: which is asked.
        choice: "method" and "temperature".
        held: what it is judged with.
        task: what it is asked.
    """
    judge = held.judge(model, choice["method"], **sampling_of(choice))
    rows = judge.judge_task("which choice", task).rows
    area, *_ = rows[choice["method"]]["overlapping_area"]
    return choice | {"overlapping_area": area}


def cost_of(model: Model, choice: dict[str, Any], held: Held, task: Task) -> dict[str, Any]:
    """Network calls and seconds of CPU time, of all threads, for each window of a task.

    Args:
        model: which is asked.
        choice: "method" and "temperature".
        held: what it is judged with.
        task: what it is asked; there is a window of it.
    """
    tally = Tally()
    few = replace(held, count=COST_WINDOWS, training=None)
    judge = few.judge(model, choice["method"], callback=tally.count, **sampling_of(choice))
    questions = judge.choose(task)[:COST_WINDOWS]
    started = time.process_time()
    for number, question in enumerate(questions):
        judge.compose(number, question, choice["method"])
    seconds = (time.process_time() - started) / len(questions)
    return {"calls": round(tally.calls / len(questions), 1), "seconds": round(seconds, 3)}


def bits_of_model(model: Any, held: Held) -> dict[str, Any]:
    """What a model says of held-out windows.

    Args:
        model: a system of the ladder, or a model that gives no bits of such cells.
        held: has the windows.

    Returns:
        "likelihood": "exact", "bound" or "none"; and unless it is "none" what `per_unit` gives.
    """
    likelihood = getattr(model, "likelihood", "none")
    if likelihood == "none":
        return {"likelihood": "none"}
    generator = torch.Generator().manual_seed(held.seed)
    parts = []
    with torch.no_grad():
        for windows in held.cells.split(BITS_BATCH):
            parts.append(model.bits(windows.to(model.device), generator).double().cpu())
    return {"likelihood": likelihood, **held.per_unit(torch.cat(parts), held.cells)}


def write_table(folder: Path, report: dict[str, Any]) -> None:
    """Write ladder.json and ladder.md of what is finished so far, atomically."""
    write(folder / "ladder.json", json.dumps(report, indent=1).encode() + b"\n")
    write(folder / "ladder.md", table_text(report).encode() + b"\n")


def table_text(report: dict[str, Any]) -> str:
    """A table of rungs, and one of every task, in Markdown."""
    lines = [["rung", *RUNG_COLUMNS.values()], ["---"] * (1 + len(RUNG_COLUMNS))]
    lines += [[name, *rung_cells(record)] for name, record in records_of(report)]
    rungs = "\n".join(f"| {' | '.join(line)} |" for line in lines)

    tables = {}
    for task, reference in report["reference"].items():
        judged = {name: rung["tasks"].get(task, {}) for name, rung in report["rungs"].items()}
        tables[task] = reference | judged
    summary = ", ".join(f"{name}: {value}" for name, value in report["settings"].items())
    parts = ["# The ladder", summary, rungs, "## Tasks", as_markdown(tables)]
    parts += ["## How to read it", HOW_TO_READ_RUNGS, HOW_TO_READ]
    return "\n\n".join(parts)


def records_of(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of the table of rungs: those that were counted, then the models."""
    for context, shares in report["baselines"].items():
        yield f"counted, given {context}", shares | {"likelihood": "exact", "parameters": 0}
    yield from report["rungs"].items()


def rung_cells(record: Mapping[str, Any]) -> list[str]:
    """The cells of a row of the table of rungs; "" for what is not known."""
    return [short(record.get(column)) for column in RUNG_COLUMNS]


def short(value: Any) -> str:
    """A value in a table: numbers with three decimals, whole ones without."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.3f}".removesuffix(".000") if isinstance(value, float) else str(value)
