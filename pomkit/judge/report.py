"""What the judge found, written down: Markdown and JSON tables, a figure, pictures and sound.

    report = open_report(folder, settings)
    report["tasks"]["melody"] = judge("melody")
    write_report(folder, report)  # report.json and report.md

A report is a dict that is written as it is to report.json: "settings", "minutes" and "tasks", the
tables. `HOW_TO_READ` is the reader's guide to rows and columns, which report.md ends with.

Where a measure has a line in `COLUMNS`, it stands in the main table, else under "Sets".
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write
from ..music.picture import parse
from ..play import audio, plot
from .judging import Row, Sample, Tables

COLUMNS = {
    "density": "notes / real",
    "overlapping_area": "overlapping area",
    "kld": "KLD",
    "in_scale": "in scale",
    "on_grid": "on 8th grid",
    "chord_accuracy": "chord accuracy",
    "chord_tones": "chord tones",
    "note_length_over_real": "note length / real",
    "one_step_notes_minus_real": "one-step notes - real",
    "filled": "mask filled",
    "note_f1": "note F1",
    "longest_shared": "longest shared",
    "changed_outside": "leak",
}
# Of the figure; a leak is 0 in every row, so it needs no panel.
PANELS = {name: title for name, title in COLUMNS.items() if name != "changed_outside"}
# How many pictures of a task are written.
SAMPLES = 8
RATE = 22050  # Hz
HOW_TO_READ = """\
All is counted on the notes that begin inside the mask. In brackets: 95 % bootstrap intervals over
songs. Rows:

- "real halves": real songs against other real songs, halves drawn at random. With few songs this
  ceiling is low.
- "real": the music that was there, measured like a model; "chance": its notes at random cells of
  the mask; "permuted": no music, made to fool the measures: its pitches dealt anew among its notes.
- "copy": the bars before the mask; "nearest": the training bars whose surroundings match best;
  "markov": an order-2 chain.
- "uncover", "conditioned", "repaint": the model, which is shown the annotated chords where they are
  not masked; "chords none", "chords estimated": shown none, as in most files, or those that are
  estimated from the song as it is.

Columns:

- overlapping area, KLD: mean of six features' inter- against intra-set distances, to real windows
  of other songs (`metrics.compare`); in "sets" each feature's overlapping area, and the means of
  `metrics.describe`.
- in scale, on 8th grid: of the whole song; chord accuracy: root and kind of third, estimated from
  the result, are the known chord's; chord tones: notes that belong to it; note F1: against the
  music that was there (`metrics.Region`).
- note length / real, one-step notes - real: fragments; in "sets" also broken notes, which begin
  where one of their pitch ends, and the voice leading of the highest notes: leaps of more than 7
  semitones, turns, mean interval (`judge.statistics`).
- longest shared: notes of the longest sequence that also stands in a training song; leak: pixels
  changed outside the mask."""


def open_report(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Read a folder's report.json if it has the same settings, or begin a new report."""
    path = folder / "report.json"
    report = json.loads(path.read_text()) if path.is_file() else {}
    if report.get("settings") == settings:
        return report
    return {"settings": settings, "minutes": 0, "tasks": {}}


def write_report(out: Path, report: dict[str, Any]) -> None:
    """Write report.json and report.md of what is finished so far, atomically."""
    tables = report["tasks"]
    settings = report["settings"]
    more = {name: name.replace("_", " ") for name in _measures(tables) if name not in COLUMNS}
    summary = ", ".join(f"{name}: {value}" for name, value in settings.items())
    text = [
        f"# {settings['model']}",
        summary,
        as_markdown(tables),
        "## Sets",
        as_markdown(tables, more),
        "## How to read it",
        HOW_TO_READ,
    ]

    write(out / "report.json", json.dumps(report, indent=1).encode())
    write(out / "report.md", "\n\n".join(text).encode() + b"\n")


def write_card(path: Path, report: dict[str, Any]) -> None:
    """Put a report's main tables into a model's card, the .json file at `path`, atomically."""
    spec = json.loads(path.read_text())
    tasks = {}
    for task, rows in report["tasks"].items():
        tasks[task] = {row: _titled(measures) for row, measures in rows.items()}
    spec["card"]["evaluation"] = {
        **report["settings"],
        "minutes": report["minutes"],
        "tasks": tasks,
    }
    write(path, json.dumps(spec, indent=1).encode() + b"\n")


def as_markdown(tables: Tables, columns: dict[str, str] = COLUMNS) -> str:
    """A table for people: a line for each task and row; `columns`: measure -> title."""
    lines = [["task", "", *columns.values()], ["---"] * (len(columns) + 2)]
    for task, rows in tables.items():
        for row, measures in rows.items():
            lines.append([task, row, *(cell(measures.get(name)) for name in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(values: Sequence[float] | None) -> str:
    """One cell of a table, like "0.976 (0.959 to 0.988)"; "" where there is nothing."""
    texts = [f"{value:.3f}".removesuffix(".000") for value in values or ()]
    if not texts:
        return ""
    value, low, high = texts
    return value if value == low == high else f"{value} ({low} to {high})"


def draw_measures(path: Path, tables: Tables, model_rows: Sequence[str] = ()) -> None:
    """Write a figure with a panel a measure: tasks downwards, a dot with its interval for each row.

    Args:
        path: of the PNG file, which is written atomically.
        tables: task -> row -> measure -> [value, low, high].
        model_rows: the rows that are the model's; their dots are larger.
    """
    figure = plot.new_figure(16, 4 + 1.1 * len(tables), 90)
    panels = figure.subplots(2, -(-len(PANELS) // 2), sharey=True).ravel()
    rows = list(dict.fromkeys(row for table in tables.values() for row in table))
    for ax, (name, title) in zip(panels, PANELS.items(), strict=False):
        for i, row in enumerate(rows):
            dot = (
                {"fmt": "D", "markersize": 6}
                if row in model_rows
                else {"fmt": "o", "markersize": 4}
            )
            height = (i + 0.5) / len(rows) * 0.8 - 0.4
            values = [table.get(row, {}).get(name, [np.nan] * 3) for table in tables.values()]
            _draw_row(ax, np.array(values), height, color=f"C{i}", label=row, **dot)

        ax.set_title(title, loc="left", fontsize=10)
        ax.set(yticks=range(len(tables)), yticklabels=list(tables), ylim=(len(tables) - 0.5, -0.5))
        ax.grid(axis="x", alpha=0.3)

    for ax in panels[len(PANELS) :]:
        ax.remove()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(rows), frameon=False, loc="outside upper center")
    write(path, partial(figure.savefig, format="png"))


def write_samples(folder: Path, samples: Sequence[Sample]) -> None:
    """Write the first samples as picture, MIDI and sound, and the very first as a figure.

    Args:
        folder: where the files go: 0.png, 0.mid, 0.wav, and so on.
        samples: pictures before and after, uint8 (128, width, 3), and the mask, bool (128, width),
            in the order before, mask, after.
    """
    for i, (before, mask, after) in enumerate(samples[:SAMPLES]):
        plot.save_png(folder / f"{i}.png", after)
        parse(after).write_midi(folder / f"{i}.mid")
        sound = audio.synthesize(after, RATE).mean(axis=1)  # (samples,)
        audio.write_wav(folder / f"{i}.wav", sound, RATE)
        if i == 0:
            plot.side_by_side(before, mask, after, folder / "0_side_by_side.png")


def _measures(tables: Tables) -> list[str]:
    """The measures of all rows, each once, in the order in which they are met."""
    names = (name for rows in tables.values() for row in rows.values() for name in row)
    return list(dict.fromkeys(names))


def _titled(measures: Row) -> dict[str, str]:
    """The main table's cells of a row: title -> text."""
    return {title: cell(measures[name]) for name, title in COLUMNS.items() if name in measures}


def _draw_row(ax: Any, values: np.ndarray, height: float, **look: Any) -> None:
    """Draw a row's dot and interval at every task, `values` float (tasks, 3)."""
    value = values[:, 0]
    interval = np.abs(values[:, 1:] - values[:, :1]).T  # (2, tasks)
    ax.errorbar(value, np.arange(len(values)) + height, xerr=interval, linewidth=1, **look)
