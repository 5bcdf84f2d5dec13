"""Prove that the checks of the course's exercises tell right from wrong.

    python tests/exercises.py 03

The numbers are those of notebooks; none means all.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))

import course  # noqa: E402
from slips import SLIPS, with_slips  # noqa: E402

MESSAGE = 30  # characters of a check's message, at least: it has to teach
SLIP = "slip: "


def without(cell: Any, *preprocessors: str) -> str:
    """A cell's source after nbgrader's preprocessors of these names."""
    from nbgrader import preprocessors as nbgrader

    nb = nbformat.v4.new_notebook(cells=[deepcopy(cell)], metadata=deepcopy(course.PUBLIC))
    for name in preprocessors:
        nb, _ = getattr(nbgrader, name)().preprocess(nb, {})
    return nb.cells[0].source


def cases(task: course.Exercise) -> dict[str, tuple[str, str]]:
    """What is run, each after the set-up cells: an answer, and a check.

    The check is the whole one, or what students see of it.
    """
    seen = without(task.check, "ClearHiddenTests")
    facts = task.answer.metadata.get("pomkit", {})
    wrong = facts.get("wrong", "raise SystemError('there is no wrong answer')")
    known = {
        "solved": (task.answer.source, task.check.source),
        "solved, seen": (task.answer.source, seen),
        "unsolved": (without(task.answer, "ClearSolutions"), seen),
        "wrong": (wrong, seen),
    }
    slips = with_slips(task.name, task.answer.source) if task.name in SLIPS else {}
    return known | {f"{SLIP}{what}": (answer, seen) for what, answer in slips.items()}


def judge(errors: dict[str, tuple[str, str] | None]) -> list[str]:
    """What is wrong with an exercise, from the kind and message of the error that ended each case.

    The solution must pass the check, whole and as students see it. The check that students see
    must refuse the unsolved cell. It must refuse the wrong answer, and every answer with a slip,
    with an assertion whose message teaches.
    """
    found = []
    for case in ("solved", "solved, seen"):
        if errors[case]:
            found.append(f"the solution fails the check: {errors[case]}")
    if not errors["unsolved"]:
        found.append("the check accepts the unsolved cell")
    for case, error in errors.items():
        if case == "wrong" or case.startswith(SLIP):
            found += refusal(case.removeprefix(SLIP), error)
    return found


def refusal(case: str, error: tuple[str, str] | None) -> list[str]:
    """What is wrong with the answer of a check to a wrong answer, or to one with a slip."""
    answer = "the wrong answer" if case == "wrong" else f"the answer with the slip “{case}”"
    kind, message = error or ("", "")
    if not kind:
        return [f"the check accepts {answer}"]
    if kind != "AssertionError":
        return [f"{answer} ends with {kind}: {message}, not with an assertion of the check"]
    if len(message) < MESSAGE:
        return [f"the check's message to {answer} teaches nothing: {message!r}"]
    return []


def proofs(path: Path) -> dict[str, list[str]]:
    """What is wrong with each exercise of a notebook, by grade_id.

    Its cells run in a fresh process, in its folder.
    """
    nb = course.read(path)
    setup = [cell.source for cell in course.tagged(nb, "setup")]
    runs = []
    for task in course.exercises(nb):
        runs += [[task.name, name, cells] for name, cells in cases(task).items()]
    plan = {"setup": setup, "cases": runs}
    env = os.environ | {"POMKIT_FAST": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, __file__, "--run"],
        cwd=path.parent,
        env=env,
        input=json.dumps(plan),
        text=True,
        capture_output=True,
    )
    if done.returncode:
        raise RuntimeError(f"{path.name}: {done.stderr[-2000:]}")
    errors: dict[str, dict[str, tuple[str, str] | None]] = {}
    for task, name, error in json.loads(done.stdout.splitlines()[-1]):
        errors.setdefault(task, {})[name] = error
    return {task: judge(found) for task, found in errors.items()}


def run(plan: dict[str, Any]) -> list[tuple[str, str, tuple[str, str] | None]]:
    """Run the cases of a plan in this process, each in the state that the set-up cells left."""
    from IPython.core.interactiveshell import InteractiveShell

    class Shell(InteractiveShell):
        def enable_gui(self, gui: str | None = None) -> None:
            """Nothing, so that %matplotlib works without a front end."""

    shell = Shell.instance()

    def first_error(cells: Sequence[str]) -> tuple[str, str] | None:
        for source in cells:
            silence = io.StringIO()
            with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
                result = shell.run_cell(source)
            if error := result.error_before_exec or result.error_in_exec:
                return type(error).__name__, str(error)
        return None

    if error := first_error(plan["setup"]):
        raise SystemExit(f"the set-up cells end with {error}")
    start, errors = dict(shell.user_ns), []
    for task, name, cells in plan["cases"]:
        shell.user_ns.clear()
        shell.user_ns.update(start)
        errors.append((task, name, first_error(cells)))
    return errors


def main(names: Sequence[str]) -> int:
    if names == ["--run"]:
        print(json.dumps(run(json.load(sys.stdin))))
        return 0
    failed = 0
    for path in course.find(names):
        for task, faults in proofs(path).items():
            verdict = "; ".join(faults) or "right passes, unsolved and wrong do not"
            print(f"{path.stem} {task}: {verdict}", flush=True)
            failed += bool(faults)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
