"""The course's tool: run the notebooks and publish their outputs, make the students' copies, write the table of timings.

    python notebooks/course.py refresh          run what has changed, publish the outputs, write the table of timings
    python notebooks/course.py student          the students' copies, by nbgrader's rules, in notebooks/student
    python notebooks/course.py timings          only write the table of timings in notebooks/README.md

A notebook is named by its number, name or path; none means all of them.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

from pomkit.files import write_atomically

HERE = Path(__file__).resolve().parent
LARGEST = 800_000  # bytes of a notebook with its outputs
TIME = re.compile(
    r"^\*\*Time\*\*:.*?(\.(?=\s|$)|$)", re.MULTILINE
)  # the header's first sentence on time
LINK = re.compile(r"(?<=\]\()[^()\s]+(?=\))|(?<=src=\")[^\"]+|(?<=href=\")[^\"]+")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
BADGE = re.compile(r"\[!\[Open in Colab\]\(\S+?\)\]\(\S+?\)\s*")
PUBLIC = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "name": "python",
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "pygments_lexer": "ipython3",
    },
}
# What no published text may hold. Bytes of pictures and sounds are not text.
UNFIT = {
    "a path of this machine": re.compile(
        r"(?<![\w.])/(home|Users|root|tmp|work|var|opt)/\w|:\\+Users|site-packages|\.venv/"
    ),
    "a warning": re.compile(r"\b[A-Z]\w*Warning\b"),
    "an object's address (end the line with a semicolon)": re.compile(r"\bat 0x[0-9a-f]{6,}"),
}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal
KEPT = ("tags", "nbgrader", "pomkit")  # metadata of cells
WIDGET = "application/vnd.jupyter.widget-view+json"
PANEL = "(sliders and buttons: run this cell to use them)"


class Exercise(NamedTuple):
    """An exercise: its grade_id, the cell with the solution, the cell that checks it."""

    name: str
    answer: Any
    check: Any


class Refused(Exception):
    """A notebook that shall not be published as it is."""


# Reading a notebook


def find(names: Sequence[str] = (), folder: Path = HERE) -> list[Path]:
    """The notebooks of the course in order, or those that are named."""
    every = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if missing := [name for name in names if not any(_means(name, path) for path in every)]:
        raise SystemExit(
            f"there is no notebook {', '.join(missing)}; there are {', '.join(path.stem for path in every)}"
        )
    return [path for path in every if not names or any(_means(name, path) for name in names)]


def _means(name: str, path: Path) -> bool:
    stem = Path(name).name.removesuffix(".ipynb")
    return stem in (path.stem, path.stem[:2])


def read(path: Path) -> Any:
    return nbformat.read(path, 4)


def write(nb: Any, path: Path) -> None:
    nbformat.validate(nb)
    with write_atomically(path) as file:
        file.write(nbformat.writes(nb).encode().rstrip() + b"\n")


def digest(nb: Any) -> str:
    """A hash over all that the outputs were made from: the types and sources of the cells, but not the line on time."""
    cells = [[cell.cell_type, TIME.sub("", cell.source)] for cell in nb.cells]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def tagged(nb: Any, tag: str) -> list[Any]:
    return [cell for cell in nb.cells if tag in cell.metadata.get("tags", ())]


def exercises(nb: Any) -> list[Exercise]:
    """The exercises: a solution cell and the cell whose grade_id is the same with "-check" behind it."""
    graded = {
        cell.metadata.nbgrader.grade_id: cell for cell in nb.cells if "nbgrader" in cell.metadata
    }
    return [
        Exercise(name, cell, graded[f"{name}-check"])
        for name, cell in graded.items()
        if cell.metadata.nbgrader.solution
    ]


def links(text: str) -> list[str]:
    """The links of a markdown text that are relative, or lead to an anchor of it."""
    return [link for link in LINK.findall(CODE.sub("", text)) if not re.match(r"[a-z]+:", link)]


def texts(output: Any) -> Iterator[str]:
    """What an output shows as text."""
    data = {
        "text": output.get("text", ""),
        "traceback": output.get("traceback", ""),
        **output.get("data", {}),
    }
    for kind, text in data.items():
        if not kind.startswith("image/") or kind.endswith("svg+xml"):
            whole = (
                text
                if isinstance(text, str)
                else "".join(text)
                if isinstance(text, list)
                else json.dumps(text)
            )
            yield re.sub(r"base64,[\w+/=]+", "", whole)


def flaws(nb: Any) -> list[str]:
    """Why a notebook's outputs may not be published; empty if they may."""
    found = []
    for i, cell in enumerate(nb.cells):
        for output in cell.get("outputs", ()):
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(
                    f"cell {i} has an output of {output.get('name', 'an error')}: {' '.join(texts(output))[:200]}"
                )
            found += [
                f"cell {i} shows {what}: {text[max(hit.start() - 40, 0) : hit.end() + 40]!r}"
                for what, sign in UNFIT.items()
                for text in texts(output)
                if (hit := sign.search(text))
            ]
    if (size := len(nbformat.writes(nb).encode())) > LARGEST:
        biggest = max(
            range(len(nb.cells)), key=lambda i: len(json.dumps(nb.cells[i].get("outputs", ())))
        )
        found.append(
            f"{size / 1e6:.2f} MB is more than {LARGEST / 1e6} MB; cell {biggest} holds the most"
        )
    return found


# Refreshing


def fresh(nb: Any) -> bool:
    return nb.metadata.get("pomkit", {}).get("source") == digest(nb)


def smaller(png: str) -> str:
    """A figure, PNG in base64, in 256 colours, which it hardly ever has more of: half the bytes."""
    from PIL import Image

    file, image = io.BytesIO(), Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return min(base64.b64encode(file.getvalue()).decode(), png, key=len)


def normalise(nb: Any) -> None:
    """Take out what differs from one run or machine to the next and says nothing to a reader."""
    nb.metadata = nbformat.from_dict(deepcopy(PUBLIC) | {"pomkit": nb.metadata.get("pomkit", {})})
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, 1):
        cell.execution_count, streams = (
            count,
            groupby(cell.outputs, lambda output: output.get("name", id(output))),
        )
        cell.outputs = [reduce(_join, outputs) for _, outputs in streams]
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            if png := output.get("data", {}).get("image/png"):
                output.data["image/png"] = smaller(png)
            if output.get("data", {}).pop(
                WIDGET, None
            ):  # a widget without its kernel is an error message
                output.data = nbformat.from_dict({"text/plain": PANEL})
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key in KEPT}
        )


def _join(stream: Any, more: Any) -> Any:
    """Two pieces of one stream: where it is cut differs from run to run."""
    stream.text += more.text
    return stream


def execute(nb: Any, folder: Path, fast: bool = False) -> float:
    """Run a notebook in a fresh kernel; how many minutes that took. `fast` with the small numbers of the tests."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    client = NotebookClient(
        nb,
        timeout=3600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    start = time.monotonic()
    try:
        client.execute(env=os.environ | {"POMKIT_FAST": str(int(fast))})
    except CellExecutionError as fault:
        i = next(
            i
            for i, cell in enumerate(nb.cells)
            if any(o.output_type == "error" for o in cell.get("outputs", ()))
        )
        raise Refused(f"cell {i} ends with an error\n{COLOUR.sub('', str(fault))}") from None
    return (time.monotonic() - start) / 60


def device(nb: Any) -> str:
    """What the notebook ran on, as its set-up cell printed it; the number of cores instead of "the CPU"."""
    seen = " ".join(
        text
        for cell in tagged(nb, "setup")[:1]
        for output in cell.outputs
        for text in texts(output)
    )
    name = re.search(r"^pomkit \S+ on (.+)$", seen, re.MULTILINE)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    cores = int(os.environ.get("OMP_NUM_THREADS", cores))
    return (
        name[1].strip(" .")
        if name and "CPU" not in name[1]
        else f"{cores} CPU core" + "s" * (cores > 1)
    )


def about(minutes: float) -> str:
    return (
        "under 1 minute"
        if minutes < 0.75
        else f"about {round(minutes)} minute" + "s" * (round(minutes) > 1)
    )


def refresh(path: Path, fast: bool = False) -> float:
    """Run a notebook and publish its outputs in place, or raise Refused and leave the file alone; the minutes it took.

    A fast run publishes nothing: it goes to out/fast beside the notebook, and the notebook only notes how long it took.
    """
    nb = read(path)
    before, facts = deepcopy(nb), dict(nb.metadata.get("pomkit", {}))
    if not fast:  # what an earlier run trained would save time
        shutil.rmtree(path.parent / "out" / path.stem, ignore_errors=True)
    minutes = execute(nb, path.parent, fast)
    if fast:
        target, nb.metadata["pomkit"] = path.parent / "out" / "fast" / path.name, {"fast": True}
        before.metadata["pomkit"] = facts | {"fast_seconds": round(60 * minutes)}
    else:
        target, where = path, device(nb)
        nb.cells[0].source = TIME.sub(
            f"**Time**: {about(minutes)} on {where}.", nb.cells[0].source, count=1
        )
        nb.metadata["pomkit"] = facts | {
            "source": digest(nb),
            "minutes": round(minutes, 2),
            "device": where,
        }
    normalise(nb)
    if found := flaws(nb) + ["the file was changed meanwhile"] * (read(path).cells != before.cells):
        raise Refused("\n".join(found))
    write(nb, target)
    if fast:
        write(before, path)
    return minutes


# The students' copies


def released(nb: Any) -> Any:
    """The students' copy: without solutions, hidden tests, outputs, wrong answers and the badge to the solved notebook."""
    from nbgrader import preprocessors as nbgrader

    nb = deepcopy(nb)
    nb.metadata.pop("pomkit", None)
    for cell in nb.cells:
        cell.metadata.pop("pomkit", None)
    for name in (
        "LockCells",
        "ClearSolutions",
        "ClearOutput",
        "ClearHiddenTests",
        "ComputeChecksums",
        "CheckCellMetadata",
    ):
        nb, _ = getattr(nbgrader, name)().preprocess(nb, {})
    nb.cells[0].source = BADGE.sub("", nb.cells[0].source)
    return nb


def student(out: Path, paths: Iterable[Path]) -> None:
    """Write the students' copies, the page that lists them, and beside them all files that they link to."""
    root, about_all = HERE.parent, (HERE / "README.md").read_text(encoding="utf-8")
    page = (
        "# The course\n\n"
        + about_all.partition("<!-- course -->\n")[2].partition("<!-- /course -->")[0]
    )
    notebooks = {path.name: released(read(path)) for path in paths}

    def carry(link: re.Match[str]) -> str:
        source = (HERE / link[0].partition("#")[0]).resolve()
        if re.match(r"[a-z]+:|#", link[0]) or source.parent == HERE or not source.is_file():
            return link[0]
        target = out / source.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return link[0].replace("../", "", 1)

    for name, nb in notebooks.items():
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                cell.source = LINK.sub(carry, cell.source)
        write(nb, out / name)
    (out / "README.md").write_text(LINK.sub(carry, page), encoding="utf-8")
    print(f"{len(notebooks)} notebooks in {out}")


# The table


def timings(folder: Path = HERE) -> str:
    """Write the table of timings between its marks in README.md, and return it."""
    rows = [
        ["notebook", "full run", "as tests run it", "cells", "exercises", "points", "kB"],
        ["---"] * 7,
    ]
    minutes = seconds = 0.0
    for path in find(folder=folder):
        nb = read(path)
        facts, tasks = nb.metadata.get("pomkit", {}), exercises(nb)
        minutes, seconds = minutes + facts.get("minutes", 0), seconds + facts.get("fast_seconds", 0)
        rows.append(
            [
                f"[{path.stem}]({path.name})",
                "{minutes:.1f} min on {device}".format(**facts)
                if "minutes" in facts
                else "not measured",
                "{fast_seconds} s".format(**facts) if "fast_seconds" in facts else "not measured",
                len(nb.cells),
                len(tasks),
                sum(task.check.metadata.nbgrader.points for task in tasks),
                round(path.stat().st_size / 1000),
            ]
        )
    rows.append(
        [
            "together",
            f"{minutes:.0f} min",
            f"{seconds / 60:.1f} min",
            *(sum(row[i] for row in rows[2:]) for i in range(3, 7)),
        ]
    )
    table = "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)
    page = folder / "README.md"
    head, mark, rest = page.read_text(encoding="utf-8").partition("<!-- timings -->\n")
    with write_atomically(page) as file:
        file.write((head + mark + table + rest[rest.index("<!-- /timings -->") :]).encode())
    return table


def covers(folder: Path = HERE) -> list[tuple[Path, bytes]]:
    """The README's picture of each notebook: its file, and the first figure of the notebook's cell that is tagged "cover"."""
    found = [
        (
            path,
            next(
                output.data["image/png"]
                for output in cell.outputs
                if "image/png" in output.get("data", {})
            ),
        )
        for path in find(folder=folder)
        for cell in tagged(read(path), "cover")
        if cell.outputs
    ]
    pictures = folder.parent / "assets" / "pictures"
    return [
        (pictures / f"course_{path.stem[:2]}.png", base64.b64decode(png)) for path, png in found
    ]


# The command line


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["refresh", "student", "timings"])
    parser.add_argument("names", nargs="*", help="notebooks: 03, 03_noise_and_denoising or a path")
    parser.add_argument(
        "--all", action="store_true", help="refresh: also those whose outputs are fresh"
    )
    parser.add_argument(
        "--fast", action="store_true", help="refresh: with the tests' small numbers, into out/fast"
    )
    parser.add_argument("--out", type=Path, default=HERE / "student", help="student: the folder")
    given = parser.parse_intermixed_args(arguments)
    paths, failed = find(given.names), 0
    if given.command == "student":
        student(given.out.resolve(), paths)
    elif given.command == "refresh":
        for path in paths:
            if not (given.names or given.all or given.fast) and fresh(read(path)):
                continue
            try:
                print(f"{path.stem}: {60 * refresh(path, given.fast):.0f} s", flush=True)
            except Refused as fault:
                print(f"{path.stem} is refused: {fault}", flush=True)
                failed += 1
    if given.command in ("timings", "refresh"):
        for path, png in covers():
            path.write_bytes(png)
        print(timings())
    return failed


if __name__ == "__main__":
    sys.exit(main())
