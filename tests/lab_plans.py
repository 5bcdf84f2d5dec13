"""The blocks of the lab plans: which cells a class runs, and that they run in a fresh kernel.

    python tests/lab_plans.py        runs every block of every plan, with small numbers

The plans stand in notebooks/README.md, between `<!-- plans -->` and `<!-- /plans -->`. A table is a
plan. A row that begins with a notebook's number is a block: "07, sections 1, 5 and 10, exercises
07-3 and 07-4", or "08, section 1 and tasks 1 to 3". A class runs the cells before section 1, then
those of the sections and tasks that are named, in their order. Blocks of one notebook in one plan
share a kernel.
"""

from __future__ import annotations

import builtins
import json
import os
import re
import subprocess
import symtable
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "notebooks")]

import course  # noqa: E402
from IPython.core.inputtransformer2 import TransformerManager  # noqa: E402

PAGE = course.HERE / "README.md"
HEADING = re.compile(r"^## (Task )?(\d+) · ", re.MULTILINE)
KNOWN = {*dir(builtins), "display", "get_ipython", "__file__", "__name__"}


class Block(NamedTuple):
    """What a plan takes of one notebook: its number, sections ("2", "Task 2") and exercises."""

    plan: str
    notebook: str
    sections: tuple[str, ...]
    exercises: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.plan}: {self.notebook} sections {', '.join(self.sections)}"


def numbers(text: str) -> Iterator[int]:
    """The numbers of a phrase like "1, 3 to 5 and 10"."""
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", text):
        yield from range(int(first), int(last or first) + 1)


def block(plan: str, row: str) -> Block | None:
    """What a row of a plan takes of a notebook; None where it takes nothing, or all of it."""
    begins = re.match(r"(?:go on with )?(\d\d)\b", row)
    named: list[str] = []
    for kind, before in (("section", ""), ("task", "Task ")):
        found = re.search(rf"{kind}s? ([\d, toand]+)", row)
        named += [f"{before}{number}" for number in numbers(found[1] if found else "")]
    if not begins or not named:
        return None
    exercises = re.findall(r"\b(\d\d-\d)\b", row)
    return Block(plan, begins[1], tuple(named), tuple(f"e{e}" for e in exercises))


def blocks(page: str) -> list[Block]:
    """The blocks of all plans of a page; those of one notebook in one plan are joined."""
    plans = page.partition("<!-- plans -->")[2].partition("<!-- /plans -->")[0]
    found: dict[tuple[str, str], Block] = {}
    for title, rows in re.findall(
        r"^### (.+?)\n(.*?)(?=^### |\Z)", plans, re.MULTILINE | re.DOTALL
    ):
        for row in re.findall(r"^\| *\d+ *\| *(.+?) *\|$", rows, re.MULTILINE):
            part = block(title, row)
            if part:
                key = (title, part.notebook)
                before = found.get(key, part._replace(sections=(), exercises=()))
                found[key] = before._replace(
                    sections=before.sections + part.sections,
                    exercises=before.exercises + part.exercises,
                )
    return [*found.values()]


def cells_of(nb: Any, part: Block) -> list[Any]:
    """The code cells that a block runs, in their order.

    Raises:
        ValueError: the notebook has no such section, or an exercise lies outside of the sections.
    """
    section, taken, there = "", [], {""}
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for kind, number in HEADING.findall(cell.source):
                section = kind + number
                there.add(section)
        elif "colab" not in cell.metadata.get("tags", ()) and section in ("", *part.sections):
            taken.append(cell)

    missing = [*{*part.sections} - there]
    graded = {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in taken}
    missing += [name for name in part.exercises if name not in graded]
    if missing:
        raise ValueError(f"{part.name}: its sections do not hold {missing}; mend the plan")
    return taken


def undefined(sources: Sequence[str]) -> list[str]:
    """Names that the cells read before any of them defines them, in the order of the cells."""
    known, found = set(KNOWN), []
    for source in sources:
        code = TransformerManager().transform_cell(source)
        top = symtable.symtable(code, "cell", "exec")
        known |= _made(top)
        found += sorted(_read(top) - known)
    return found


def _made(scope: symtable.SymbolTable) -> set[str]:
    """The names of the kernel that a cell defines: on its own level, or by := further in."""
    at_top = scope.get_type() == "module"
    found = set()
    for symbol in scope.get_symbols():
        is_made = symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
        if is_made and (at_top or symbol.is_declared_global() or symbol.is_global()):
            found.add(symbol.get_name())
    return found.union(*(_made(inner) for inner in scope.get_children()))


def _read(scope: symtable.SymbolTable) -> set[str]:
    """The names of the kernel that a cell reads: on its own level, or in its functions."""
    at_top = scope.get_type() == "module"
    symbols = [symbol for symbol in scope.get_symbols() if symbol.is_referenced()]
    found = {symbol.get_name() for symbol in symbols if at_top or symbol.is_global()}
    return found.union(*(_read(inner) for inner in scope.get_children()))


def run(path: Path, parts: Sequence[Block]) -> dict[str, Any]:
    """Run blocks of one notebook in a fresh process; the error that ends each, or None."""
    nb = course.read(path)
    cases = [[part.name, "", [cell.source for cell in cells_of(nb, part)]] for part in parts]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("exercises.py")), "--run"],
        cwd=path.parent,
        env=os.environ | {"POMKIT_FAST": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        input=json.dumps({"setup": [], "cases": cases}),
        text=True,
        capture_output=True,
    )
    if done.returncode:
        raise RuntimeError(f"{path.name}: {done.stderr[-2000:]}")
    return {name: error for name, _, error in json.loads(done.stdout.splitlines()[-1])}


def main() -> int:
    failed = 0
    every = blocks(PAGE.read_text(encoding="utf-8"))
    for path in course.find(sorted({part.notebook for part in every})):
        parts = [part for part in every if part.notebook == path.stem[:2]]
        for name, error in run(path, parts).items():
            print(f"{name}: {error or 'runs'}", flush=True)
            failed += bool(error)
    return failed


if __name__ == "__main__":
    sys.exit(main())
