"""The course's tool: run and publish the notebooks, make the students' copies, write timings.

    python notebooks/course.py refresh    run what has changed, publish the outputs, do "timings"
    python notebooks/course.py retell     if only text and exercises have changed: run the exercises
    python notebooks/course.py student    by nbgrader's rules: the copies in notebooks/student
    python notebooks/course.py timings    only write the table of timings in notebooks/README.md
    python notebooks/course.py figures    numbers in the text that no cell prints like that
    python notebooks/course.py sentences  how long sentences and paragraphs are

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
import prose

from pomkit.files import write_atomically

HERE = Path(__file__).resolve().parent
LARGEST = 900_000  # bytes of a notebook with its outputs
LEAST_WIDTH, LEAST_POINTS = 900, 12  # of a picture that a room can read, and of its text
# Notebooks whose set-up does not call `pomkit.legible_figures()` yet. This list may only shrink.
STILL_SMALL: tuple[str, ...] = ()
# The header's first sentence on time.
TIME = re.compile(r"^\*\*Time\*\*:.*?(\.(?=\s|$)|$)", re.MULTILINE)
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
    missing = [name for name in names if not any(_means(name, path) for path in every)]
    if missing:
        stems = ", ".join(path.stem for path in every)
        raise SystemExit(f"there is no notebook {', '.join(missing)}; there are {stems}")
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
    """A hash over all that the outputs were made from.

    These are the types and sources of the cells, without the line on time.
    """
    cells = [[cell.cell_type, TIME.sub("", cell.source)] for cell in nb.cells]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def frame(nb: Any) -> str:
    """A hash over the code that is no exercise: what all outputs but those of exercises need."""
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    sources = [cell.source for cell in code if "nbgrader" not in cell.metadata]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def tagged(nb: Any, tag: str) -> list[Any]:
    return [cell for cell in nb.cells if tag in cell.metadata.get("tags", ())]


def exercises(nb: Any) -> list[Exercise]:
    """The exercises: a solution cell, and the cell that checks it.

    The grade_id of the second is that of the first with "-check" behind it.
    """
    cells = [cell for cell in nb.cells if "nbgrader" in cell.metadata]
    graded = {cell.metadata.nbgrader.grade_id: cell for cell in cells}
    found = []
    for name, cell in graded.items():
        if cell.metadata.nbgrader.solution:
            found.append(Exercise(name, cell, graded[f"{name}-check"]))
    return found


def links(text: str) -> list[str]:
    """The links of a markdown text that are relative, or lead to an anchor of it."""
    return [link for link in LINK.findall(CODE.sub("", text)) if not re.match(r"[a-z]+:", link)]


def texts(output: Any) -> Iterator[str]:
    """What an output shows as text."""
    printed = {kind: output.get(kind, "") for kind in ("text", "traceback")}
    for kind, text in {**printed, **output.get("data", {})}.items():
        if kind.startswith("image/") and not kind.endswith("svg+xml"):
            continue
        if isinstance(text, list):
            text = "".join(text)
        elif not isinstance(text, str):
            text = json.dumps(text)
        yield re.sub(r"base64,[\w+/=]+", "", text)


def flaws(nb: Any) -> list[str]:
    """Why a notebook's outputs may not be published; empty if they may."""
    found = []
    for i, cell in enumerate(nb.cells):
        for output in cell.get("outputs", ()):
            if output.output_type == "error" or output.get("name") == "stderr":
                kind = output.get("name", "an error")
                found.append(f"cell {i} has an output of {kind}: {' '.join(texts(output))[:200]}")
            found += [f"cell {i} shows {what}" for what in unfit(output)]

    size = len(nbformat.writes(nb).encode())
    if size > LARGEST:
        sizes = [len(json.dumps(cell.get("outputs", ()))) for cell in nb.cells]
        biggest = sizes.index(max(sizes))
        found.append(
            f"{size / 1e6:.2f} MB is more than {LARGEST / 1e6} MB; cell {biggest} holds the most"
        )
    return found


def refusals(nb: Any, number: str, fast: bool = False) -> list[str]:
    """Why a notebook may not be published: its outputs, the numbers in its text, its pictures."""
    found = flaws(nb)
    if not fast and number in prose.TRUE_TO_FIGURES:
        found += prose.untrue(nb)
    if number not in STILL_SMALL:
        found += illegible(nb)
    return found


def unfit(output: Any) -> Iterator[str]:
    """What an output shows that no published text may hold, with the words around it."""
    for what, sign in UNFIT.items():
        for text in texts(output):
            hit = sign.search(text)
            if hit:
                yield f"{what}: {text[max(hit.start() - 40, 0) : hit.end() + 40]!r}"


def illegible(nb: Any) -> list[str]:
    """What is wrong with a notebook's pictures for a projector, or for one who does not see them.

    What `pomkit.legible_figures` shows is wide, has large text, and says so in its metadata.
    """
    found = []
    for i, cell in enumerate(nb.cells):
        for output in cell.get("outputs", ()):
            for kind in output.get("data", {}):
                if kind.startswith("image/"):
                    facts = output.metadata.get(kind, {})
                    found += [f"cell {i}: {fault}" for fault in _small(output.data[kind], facts)]
            if re.search(r"<img(?![^>]*\balt=)", " ".join(texts(output))):
                found.append(f"cell {i}: a picture in HTML has no alt text")
    return found


def _small(image: str, facts: Any) -> Iterator[str]:
    """What is wrong with one picture; `facts` is what its output says of it."""
    from PIL import Image

    width = Image.open(io.BytesIO(base64.b64decode(image))).width
    if width < LEAST_WIDTH:
        yield f"a picture is {width} pixels wide; {LEAST_WIDTH} are the least"
    if len(facts.get("alt", "")) < 10:
        yield "a picture has no alt text"
    if facts.get("points", 0) < LEAST_POINTS:
        yield f"text of {facts.get('points', 0)} points; {LEAST_POINTS} are the least"


# Refreshing


def fresh(nb: Any) -> bool:
    return nb.metadata.get("pomkit", {}).get("source") == digest(nb)


def smaller(png: str) -> str:
    """A figure, PNG in base64, in 256 colours, which it hardly ever has more of: half the bytes."""
    from PIL import Image

    file = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(png)))
    if image.mode == "P":  # it was made smaller before
        return png
    image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return min(base64.b64encode(file.getvalue()).decode(), png, key=len)


def normalise(nb: Any) -> None:
    """Take out what differs from one run or machine to the next and says nothing to a reader."""
    nb.metadata = nbformat.from_dict(deepcopy(PUBLIC) | {"pomkit": nb.metadata.get("pomkit", {})})
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, 1):
        cell.execution_count = count
        streams = groupby(cell.outputs, lambda output: output.get("name", id(output)))
        cell.outputs = [reduce(_join, outputs) for _, outputs in streams]
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            shown = output.get("data", {})
            if "image/png" in shown:
                shown["image/png"] = smaller(shown["image/png"])
            if WIDGET in shown:  # without its kernel it shows an error message
                output.data = nbformat.from_dict({"text/plain": PANEL})
    for cell in nb.cells:
        kept = {key: value for key, value in cell.metadata.items() if key in KEPT}
        cell.metadata = nbformat.from_dict(kept)


def _join(stream: Any, more: Any) -> Any:
    """Two pieces of one stream: where it is cut differs from run to run."""
    stream.text += more.text
    return stream


def execute(nb: Any, folder: Path, fast: bool = False) -> float:
    """Run a notebook in a fresh kernel; how many minutes that took.

    `fast`: with the small numbers of the tests.
    """
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
        failed = [any(o.output_type == "error" for o in c.get("outputs", ())) for c in nb.cells]
        i = failed.index(True)
        raise Refused(f"cell {i} ends with an error\n{COLOUR.sub('', str(fault))}") from None
    return (time.monotonic() - start) / 60


def device(nb: Any) -> str:
    """What the notebook ran on, as its set-up cell printed it.

    Instead of "the CPU" it is the number of cores.
    """
    outputs = [output for cell in tagged(nb, "setup")[:1] for output in cell.outputs]
    printed = " ".join(text for output in outputs for text in texts(output))
    name = re.search(r"^pomkit \S+ on (.+)$", printed, re.MULTILINE)
    if name and "CPU" not in name[1]:
        return name[1].strip(" .")

    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    cores = int(os.environ.get("OMP_NUM_THREADS", cores))
    return f"{cores} CPU core" + "s" * (cores > 1)


def about(minutes: float) -> str:
    """A time in words."""
    whole = round(minutes)
    return "under 1 minute" if minutes < 0.75 else f"about {whole} minute" + "s" * (whole > 1)


def refresh(path: Path, fast: bool = False, busy: bool = False, correct: bool = False) -> float:
    """Run a notebook and publish its outputs in place; the minutes it took.

    A fast run publishes nothing: it goes to out/fast beside the notebook, and the notebook only
    notes how long it took. On a busy machine the time of the last quiet run is kept. `correct`
    puts the printed values into the text, and prints which: read these sentences again.

    Raises:
        Refused: the notebook shall not be published as it is; the file is left alone.
    """
    nb = read(path)
    before = deepcopy(nb)
    facts = dict(nb.metadata.get("pomkit", {}))
    if not fast:  # what an earlier run trained would save time
        shutil.rmtree(path.parent / "out" / path.stem, ignore_errors=True)
    # As it is kept: what the page says of it and what the record says must round alike.
    minutes = round(execute(nb, path.parent, fast), 2)
    for change in prose.correct(nb) if correct and not fast else ():
        print(f"  {change}", flush=True)

    if fast:
        target = path.parent / "out" / "fast" / path.name
        nb.metadata["pomkit"] = {"fast": True}
        before.metadata["pomkit"] = facts | {"fast_seconds": round(60 * minutes)}
    else:
        target = path
        # A busy machine measures itself, not the notebook.
        known = facts if busy else {}
        minutes, where = known.get("minutes", minutes), known.get("device", device(nb))
        sentence = f"**Time**: {about(minutes)} on {where}."
        nb.cells[0].source = TIME.sub(sentence, nb.cells[0].source, count=1)
        measured = {"source": digest(nb), "frame": frame(nb), "minutes": minutes, "device": where}
        nb.metadata["pomkit"] = facts | measured

    normalise(nb)
    found = refusals(nb, path.stem[:2], fast)
    if read(path).cells != before.cells:
        found.append("the file was changed meanwhile")
    if found:
        raise Refused("\n".join(found))
    write(nb, target)
    if fast:
        write(before, path)
    return minutes


def retell(path: Path) -> None:
    """Publish a notebook whose text and exercises have changed, and nothing else.

    The exercises run, after the set-up cells, as the tests run them; all other outputs stay.

    Raises:
        Refused: other code changed as well, or the notebook shall not be published as it is.
    """
    nb = read(path)
    if nb.metadata.get("pomkit", {}).get("frame") != frame(nb):
        raise Refused("code that is no exercise changed since its outputs were made; refresh it")

    # The set-up cells and the exercises, as a notebook of their own.
    needed = [cell for cell in nb.cells if "nbgrader" in cell.metadata]
    needed += tagged(nb, "setup")
    part = nbformat.from_dict(nb | {"cells": [deepcopy(c) for c in nb.cells if c in needed]})
    execute(part, path.parent)
    ran = {cell.id: cell.outputs for cell in part.cells}
    for cell in nb.cells:
        if "nbgrader" in cell.metadata:
            cell.outputs = ran[cell.id]

    nb.metadata.pomkit["source"] = digest(nb)
    normalise(nb)
    found = refusals(nb, path.stem[:2])
    if found:
        raise Refused("\n".join(found))
    write(nb, path)


# The students' copies


# nbgrader's preprocessors for a student's copy, in their order.
# fmt: off
RELEASING = ("LockCells", "ClearSolutions", "ClearOutput", "ClearHiddenTests", "ComputeChecksums",
             "CheckCellMetadata")
# fmt: on


def released(nb: Any) -> Any:
    """The students' copy of a notebook.

    It is without solutions, hidden tests, outputs, wrong answers, and the badge that leads to the
    solved notebook.
    """
    from nbgrader import preprocessors as nbgrader

    nb = deepcopy(nb)
    nb.metadata.pop("pomkit", None)
    for cell in nb.cells:
        cell.metadata.pop("pomkit", None)
    for name in RELEASING:
        nb, _ = getattr(nbgrader, name)().preprocess(nb, {})
    nb.cells[0].source = BADGE.sub("", nb.cells[0].source)
    return nb


def student(out: Path, paths: Iterable[Path]) -> None:
    """Write the students' copies, the page that lists them, and all files that they link to."""
    root = HERE.parent
    about_all = (HERE / "README.md").read_text(encoding="utf-8")
    listed = about_all.partition("<!-- course -->\n")[2].partition("<!-- /course -->")[0]
    page = "# The course\n\n" + listed
    notebooks = {path.name: released(read(path)) for path in paths}

    def carry(link: re.Match[str]) -> str:
        source = (HERE / link[0].partition("#")[0]).resolve()
        if re.match(r"[a-z]+:|#", link[0]) or source.parent == HERE or not source.is_file():
            return link[0]
        target = out / source.relative_to(HERE if HERE in source.parents else root)
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
    rows = []
    minutes = seconds = 0.0
    for path in find(folder=folder):
        nb = read(path)
        facts = nb.metadata.get("pomkit", {})
        minutes += facts.get("minutes", 0)
        seconds += facts.get("fast_seconds", 0)
        rows.append([f"[{path.stem}]({path.name})", *_times(facts), *_sizes(nb, path)])

    titles = ["notebook", "full run", "as tests run it", "cells", "exercises", "points", "kB"]
    sums = [sum(row[i] for row in rows) for i in range(3, 7)]
    together = ["together", f"{minutes:.0f} min", f"{seconds / 60:.1f} min", *sums]
    lines = [" | ".join(map(str, row)) for row in (titles, ["---"] * 7, *rows, together)]
    table = "".join(f"| {line} |\n" for line in lines)

    page = folder / "README.md"
    head, mark, rest = page.read_text(encoding="utf-8").partition("<!-- timings -->\n")
    with write_atomically(page) as file:
        file.write((head + mark + table + rest[rest.index("<!-- /timings -->") :]).encode())
    return table


def _times(facts: Any) -> tuple[str, str]:
    """How long a notebook took in full, and as tests run it."""
    full = fast = "not measured"
    if "minutes" in facts:
        full = "{minutes:.1f} min on {device}".format(**facts)
    if "fast_seconds" in facts:
        fast = "{fast_seconds} s".format(**facts)
    return full, fast


def _sizes(nb: Any, path: Path) -> tuple[int, int, int, int]:
    """A notebook's cells, exercises, points and kilobytes."""
    tasks = exercises(nb)
    points = sum(task.check.metadata.nbgrader.points for task in tasks)
    return len(nb.cells), len(tasks), points, round(path.stat().st_size / 1000)


def covers(folder: Path = HERE) -> list[tuple[Path, bytes]]:
    """The README's picture of each notebook: its file and its bytes.

    It is the first figure of the notebook's cell that is tagged "cover".
    """
    pictures = folder.parent / "assets" / "pictures"
    found = []
    for path in find(folder=folder):
        for cell in tagged(read(path), "cover"):
            if cell.outputs:
                shown = [output.get("data", {}) for output in cell.outputs]
                figures = [data["image/png"] for data in shown if "image/png" in data]
                target = pictures / f"course_{path.stem[:2]}.png"
                found.append((target, base64.b64decode(figures[0])))
    return found


# The command line


COMMANDS = ("refresh", "retell", "student", "timings", "figures", "sentences")


def offences(paths: Iterable[Path]) -> int:
    """Print what is wrong with the figures in the text of notebooks; how many of those fail.

    Only the notebooks in `prose.TRUE_TO_FIGURES` can fail: the others are still to be converted.
    """
    failed = 0
    for path in paths:
        found = prose.untrue(read(path))
        held = path.stem[:2] in prose.TRUE_TO_FIGURES
        print(f"{path.stem}: {len(found)}" + ("" if held else ", not yet held"))
        for fault in found:
            print(f"  {fault}")
        failed += held and bool(found)
    return failed


def publish(paths: Iterable[Path], given: argparse.Namespace) -> int:
    """Refresh or retell notebooks, say how each went, and how many were refused."""
    failed = 0
    for path in paths:
        if not (given.names or given.all or given.fast) and fresh(read(path)):
            continue
        try:
            if given.command == "retell":
                retell(path)
                print(f"{path.stem}: its exercises ran", flush=True)
            else:
                minutes = refresh(path, given.fast, given.busy, given.correct)
                print(f"{path.stem}: {60 * minutes:.0f} s", flush=True)
        except Refused as fault:
            print(f"{path.stem} is refused: {fault}", flush=True)
            failed += 1
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("names", nargs="*", help="notebooks: 03, 03_noise_and_denoising or a path")
    parser.add_argument(
        "--all", action="store_true", help="refresh: also those whose outputs are fresh"
    )
    parser.add_argument(
        "--fast", action="store_true", help="refresh: with the tests' small numbers, into out/fast"
    )
    parser.add_argument(
        "--busy",
        action="store_true",
        help="refresh: other programs are running; keep the times of the last quiet run",
    )
    parser.add_argument(
        "--correct",
        action="store_true",
        help="refresh: put the printed values into the text, and say which numbers changed",
    )
    parser.add_argument("--out", type=Path, default=HERE / "student", help="student: the folder")
    given = parser.parse_intermixed_args(arguments)
    paths, failed = find(given.names), 0
    if given.command == "student":
        student(given.out.resolve(), paths)
    elif given.command == "figures":
        failed = offences(paths)
    elif given.command == "sentences":
        print(prose.table(paths if given.names else [*paths, *sorted(HERE.rglob("*.md"))]))
    elif given.command in ("refresh", "retell"):
        failed = publish(paths, given)
    if given.command in ("timings", "refresh"):
        for path, png in covers():
            path.write_bytes(png)
        print(timings())
    return failed


if __name__ == "__main__":
    sys.exit(main())
