"""The scores of a class: each student hands in one file, and a folder of them becomes a table.

    write(folder / "anna.json", as_bytes(submission("anna", model, report, split_hash(songs))))
    board = read_board(folder)              # rows, best first, and the files that do not fit
    print(board_text(board))

The law: only what was measured alike stands in one table. Most files of a folder have the same
split (by a hash of its songs), windows and seed; one that has others, or is damaged, is named
below the table with the reason, and stops nobody.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..music.song import Song
from ..processes.contract import Model
from .report import cell

SUBMISSION_FORMAT = "pomkit-scores-1"
# What files must share to stand in one table.
COMPARED = ("split", "split_sha256", "windows", "seed")
# The measure by which the table is ordered.
ORDERED_BY = "overlapping_area"
# What must stand in a file, and of which type it is.
FIELDS: dict[str, type] = {
    "name": str,
    "version": str,
    "split": str,
    "split_sha256": str,
    "windows": int,
    "seed": int,
    "process": str,
    "parameters": int,
    "tasks": dict,
}


def split_hash(songs: Sequence[Song]) -> str:
    """A hash of the notes of songs, in whatever order these stand: 12 hexadecimal digits."""
    digests = [hashlib.sha256(song.notes.tobytes()).hexdigest() for song in songs]
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:12]


def submission(
    name: str, model: Model, report: dict[str, Any], split_sha256: str, *, version: str
) -> dict[str, Any]:
    """What a student hands in: scores, how they were measured, and the model's card.

    Args:
        name: of the student, or of the model.
        model: what was judged.
        report: of the judge, with "settings" and "tasks".
        split_sha256: what `split_hash` says of the held-out songs.
        version: of pomkit.
    """
    settings = report["settings"]
    scores = {}
    for task, rows in report["tasks"].items():
        judged = (row for row in rows if row.partition(",")[0] in settings["methods"])
        first = next(judged, None)
        if first is not None:
            scores[task] = {"row": first, **rows[first]}

    parameters = sum(weights.numel() for weights in model.parameters())
    facts: dict[str, Any] = {"format": SUBMISSION_FORMAT, "name": name, "version": version}
    facts |= {"split_sha256": split_sha256, "process": model.process, "parameters": parameters}
    facts |= {known: settings[known] for known in ("split", "windows", "seed")}
    return facts | {"settings": settings, "tasks": scores, "card": model.card}


def read_board(folder: Path) -> dict[str, Any]:
    """Read a folder of submissions.

    Args:
        folder: with .json files.

    Returns:
        "measured": what all rows share; "tasks": the names of those that all rows have;
        "rows": submissions, the best first, each with its "mean" over these tasks; "refused":
        file name -> why it is no row.

    Raises:
        OptionError: there is no such folder, or no file in it fits.
    """
    refused: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(read_submission(path) | {"file": path.name})
        except (OSError, ValueError) as fault:
            refused[path.name] = " ".join(str(fault).split())[:200]
    if not found:
        raise OptionError(
            f"{folder} holds no file that --submit wrote ({len(refused)} others); give the folder "
            "of a class"
        )

    # What most files have in common is what is compared.
    groups = Counter(measured(each) for each in found)
    usual, _ = groups.most_common(1)[0]
    rows = [each for each in found if measured(each) == usual]
    for each in found:
        differs = [
            name
            for name, own, theirs in zip(COMPARED, measured(each), usual, strict=True)
            if own != theirs
        ]
        if differs:
            refused[each["file"]] = f"measured otherwise than the others: {', '.join(differs)}"
    tasks = [task for task in rows[0]["tasks"] if all(task in row["tasks"] for row in rows)]
    return {
        "measured": dict(zip(COMPARED, usual, strict=True)),
        "tasks": tasks,
        "rows": ordered(rows, tasks),
        "refused": refused,
    }


def measured(entry: dict[str, Any]) -> tuple[Any, ...]:
    """How a submission was measured: the values of `COMPARED`."""
    return tuple(entry[name] for name in COMPARED)


def read_submission(path: Path) -> dict[str, Any]:
    """Read a file that a student handed in.

    Raises:
        OptionError: it is no such file, or damaged.
    """
    try:
        entry = json.loads(path.read_text("utf-8"))
    except ValueError as fault:
        raise OptionError(f"{path.name} is no JSON; write it anew with --submit") from fault
    if not isinstance(entry, dict) or entry.get("format") != SUBMISSION_FORMAT:
        raise OptionError(f"{path.name} is no {SUBMISSION_FORMAT}; write it anew with --submit")

    # What the table shows must be there.
    for field, kind in FIELDS.items():
        if not isinstance(entry.get(field), kind):
            raise OptionError(
                f"{path.name} has no {field} that is of type {kind.__name__}; write it anew with "
                "--submit"
            )
    for task, scores in entry["tasks"].items():
        if not is_score(scores):
            raise OptionError(
                f"{path.name} has no {ORDERED_BY} with an interval at {task!r}; write it anew with "
                "--submit"
            )
    return entry


def is_score(scores: Any) -> bool:
    """Whether the scores of a task have the measure that orders the table, with its interval."""
    values = scores.get(ORDERED_BY) if isinstance(scores, dict) else None
    if not isinstance(values, list) or len(values) != 3:
        return False
    return all(isinstance(value, int | float) for value in values)


def ordered(rows: list[dict[str, Any]], tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Submissions with their mean over tasks, the best first; without a task, by name."""
    for row in rows:
        scores = [row["tasks"][task][ORDERED_BY][0] for task in tasks]
        row["mean"] = round(sum(scores) / len(scores), 4) if scores else None
    return sorted(rows, key=lambda row: (-(row["mean"] or 0), row["name"]))


def board_text(board: dict[str, Any]) -> str:
    """The table of a class in Markdown, with the files that do not fit below it."""
    tasks = list(dict.fromkeys(task for row in board["rows"] for task in row["tasks"]))
    lines = [["", "name", "process", "parameters", "mean", *tasks]]
    lines.append(["---"] * len(lines[0]))
    for place, row in enumerate(board["rows"], 1):
        mean = "" if row["mean"] is None else f"{row['mean']:.3f}"
        facts = [str(place), row["name"], row["process"], str(row["parameters"]), mean]
        lines.append(facts + [cell(row["tasks"].get(task, {}).get(ORDERED_BY)) for task in tasks])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)

    summary = ", ".join(f"{name}: {value}" for name, value in board["measured"].items())
    common = ", ".join(board["tasks"]) or "none, so they are not ordered"
    parts = ["# Leaderboard", summary, table]
    parts.append(f"Overlapping area with real music; mean over the tasks of all: {common}.")
    if board["refused"]:
        parts.append("Not in the table:")
        parts.append("\n".join(f"- {file}: {why}" for file, why in board["refused"].items()))
    return "\n\n".join(parts)
