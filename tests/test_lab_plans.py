"""The lab plans: every block finds the names it needs; on request, every block is run."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "notebooks")]

import course  # noqa: E402
import lab_plans  # noqa: E402

PAGE = lab_plans.PAGE.read_text(encoding="utf-8")
BLOCKS = lab_plans.blocks(PAGE)
PLANS = sorted({block.plan for block in BLOCKS})


def test_plans_are_found():
    assert len(PLANS) >= 3
    assert len(BLOCKS) >= 14


@pytest.mark.parametrize("block", BLOCKS, ids=[block.name for block in BLOCKS])
def test_a_block_has_the_names_it_needs(block):
    (path,) = course.find([block.notebook])
    cells = lab_plans.cells_of(course.read(path), block)
    assert lab_plans.undefined([cell.source for cell in cells]) == []


@pytest.mark.skipif(
    not os.environ.get("POMKIT_LAB_PLANS"),
    reason="POMKIT_LAB_PLANS=1 runs every block of the lab plans, which takes minutes",
)
@pytest.mark.parametrize("notebook", sorted({block.notebook for block in BLOCKS}))
def test_blocks_run_in_a_fresh_kernel(notebook):
    (path,) = course.find([notebook])
    parts = [block for block in BLOCKS if block.notebook == notebook]
    failed = {name: error for name, error in lab_plans.run(path, parts).items() if error}
    assert failed == {}


def test_every_plan_has_slack_and_a_long_one_has_breaks():
    plans = PAGE.partition("<!-- plans -->")[2].partition("<!-- /plans -->")[0]
    for title, table in re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", plans, re.M | re.S):
        rows = re.findall(r"^\| *(\d+) *\| *(.+?) *\|$", table, re.M)
        together = sum(int(minutes) for minutes, _ in rows)
        words = {"Two": 120, "Three": 180, "Four": 240}
        assert together == words.get(title.split()[0], 45), title
        assert "slack" in [what for _, what in rows], title
        assert len([1 for _, what in rows if what == "break"]) >= together // 120, title


# The tool itself


def small(*sections):
    """A notebook: a set-up cell, then a section for each source."""
    cells = [nbformat.v4.new_code_cell("import os\nbase = 1")]
    for number, source in enumerate(sections, 1):
        cells.append(nbformat.v4.new_markdown_cell(f"words\n\n## {number} · A title"))
        cells.append(nbformat.v4.new_code_cell(source))
    return nbformat.v4.new_notebook(cells=cells)


# fmt: off
SOURCES = [                                  # cells, and the names that they lack
    (["x = base", "print(x, os)"], []),
    (["print(x)", "x = 1"], ["x"]),
    (["def f(mask): return mask", "print(mask)"], ["mask"]),
    (["def f(): return mask", "mask = 1"], ["mask"]),
    (["[i for i in range(3)]", "i"], ["i"]),
    (["class A: pass\nimport numpy as np", "A(), np"], []),
    (["for k in 'ab': pass\nwith open(k) as f: pass", "k, f"], []),
    (["[(q := i) for i in range(3)]", "q"], []),
    (["%matplotlib inline\n!ls", "display(1)"], []),
]
# fmt: on


@pytest.mark.parametrize(("sources", "lacking"), SOURCES)
def test_names_that_are_missing(sources, lacking):
    assert lab_plans.undefined(["import os\nbase = 1", *sources]) == lacking


def test_a_row_is_read():
    row = "go on with 05, sections 1, 3 to 5 and 9, exercises 05-1 and 05-2; listen"
    assert lab_plans.block("p", row) == ("p", "05", ("1", "3", "4", "5", "9"), ("e05-1", "e05-2"))
    row = "08, section 1 and tasks 1 to 3, in pairs"
    assert lab_plans.block("p", row).sections == ("1", "Task 1", "Task 2", "Task 3")
    assert lab_plans.block("p", "00, everyone hears a result") is None
    assert lab_plans.block("p", "break") is None


def test_a_block_holds_its_sections_only():
    nb = small("one", "two", "three")
    cells = lab_plans.cells_of(nb, lab_plans.Block("p", "90", ("1", "3"), ()))
    assert [cell.source for cell in cells] == ["import os\nbase = 1", "one", "three"]


def test_a_task_is_no_part_of_the_section_before_it():
    nb = small("one", "two")
    nb.cells[-2].source = "## Task 2 · A line"
    parts = [lab_plans.Block("p", "90", named, ()) for named in (("1",), ("Task 2",))]
    taken = [[cell.source for cell in lab_plans.cells_of(nb, part)][1:] for part in parts]
    assert taken == [["one"], ["two"]]


@pytest.mark.parametrize("row", ["90, section 7", "90, section 1, exercise 90-1"])
def test_a_plan_that_names_what_is_not_there_is_refused(row):
    with pytest.raises(ValueError, match="mend the plan"):
        lab_plans.cells_of(small("one"), lab_plans.block("p", row))
