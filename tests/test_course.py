"""The course: every notebook has its form and fresh outputs, and links hold.

Every exercise's check tells right from wrong.
"""

import ast
import base64
import functools
import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from copy import deepcopy
from pathlib import Path

import nbformat
import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "notebooks")]

import course  # noqa: E402
import slips  # noqa: E402
from exercises import proofs  # noqa: E402

ROOT = Path(__file__).parents[1]
PATHS = course.find()
PAGES = [
    path
    for where in ("*.md", "notebooks/*.md", "notebooks/lecturer/*.md", "assets/**/*.md")
    for path in sorted(ROOT.glob(where))
]
SHORT = {"00": (15, 25), "08": (15, 32)}  # cells of the notebooks that are not lessons; the others:
CELLS = (40, 62)
EXERCISES = {"00": 0, "08": 0, "09": 2, "10": 2, "11": 2}  # at least; the others:
MOST_LINES, MOST_OF_A_FUNCTION = 16, 15
# Names and file endings that codespell takes for mistakes.
SPELLED = "ons,bui,ba,nd,ue,hist,thi,te,ser,som,ot,fo,lama"
COLAB = """# On Colab only: fetch pomkit, install it and FluidSynth, \
and work in the course's folder. Anywhere else this cell does nothing.
import sys
if "google.colab" in sys.modules:
    !apt-get -qq install fluidsynth > /dev/null
    ![ -d pomkit ] || git clone -q https://github.com/OWNER/pomkit
    !pip install -q "./pomkit[widgets]"
    %cd -q pomkit/notebooks
    from google.colab import output
    output.enable_custom_widget_manager()"""
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/OWNER/pomkit/blob/main/notebooks/{0}.ipynb) "
    "[source]({0}.ipynb)"
)

each_notebook = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


@functools.cache
def read(path):
    return course.read(path)


@functools.cache
def proved(path):
    return proofs(path)


def prose(nb):
    return "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")


def code_cells(nb):
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def has_tag(cell, *tags):
    return bool({*tags} & {*cell.metadata.get("tags", ())})


def tree(cell):
    return ast.parse(TransformerManager().transform_cell(cell.source))


# The form


@each_notebook
def test_header(path):
    nb, stem = read(path), path.stem
    nbformat.validate(deepcopy(nb))
    head, code = nb.cells[0].source, code_cells(nb)
    assert re.match(rf"# {stem[:2]} · \S", head)
    assert BADGE.format(stem) in head
    assert "[all notebooks](README.md)" in head
    for line in ("What you will (learn|do)", "What you need", "Time"):
        assert len(re.findall(rf"^\*\*{line}\*\*:", head, re.MULTILINE)) == 1, line
    assert has_tag(code[0], "colab")
    assert code[0].source == COLAB
    assert has_tag(code[1], "setup")
    assert "pomkit.__version__" in "".join(cell.source for cell in course.tagged(nb, "setup"))
    assert all(
        part in prose(nb)
        for part in (("## Summary", "## References") if stem[:2] not in SHORT else ())
    )


@each_notebook
def test_neighbours(path):
    i, head = PATHS.index(path), read(path).cells[0].source
    for word, other in (("before", i - 1), ("next", i + 1)):
        if 0 <= other < len(PATHS):
            assert re.search(rf"{word}: \[[^]]+\]\({PATHS[other].name}\)", head), (
                f"{word}: {PATHS[other].name}"
            )


@each_notebook
def test_cells_are_short_and_half_are_prose(path):
    nb = read(path)
    low, high = SHORT.get(path.stem[:2], CELLS)
    assert low <= len(nb.cells) <= high
    assert 0.35 <= sum(cell.cell_type == "markdown" for cell in nb.cells) / len(nb.cells) <= 0.65
    for cell in code_cells(nb):
        lines = [
            line
            for line in cell.source.splitlines()
            if line.strip() and not line.strip().startswith("#")
        ]
        assert (
            len(lines) <= MOST_LINES
            or has_tag(cell, "setup", "teaches")
            or "nbgrader" in cell.metadata
        ), cell.source


@each_notebook
def test_no_long_definitions(path):
    for cell in code_cells(read(path)):
        for node in ast.walk(tree(cell)) if not has_tag(cell, "teaches") else ():
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                length = node.end_lineno - node.lineno + 1
                assert length <= MOST_OF_A_FUNCTION, (
                    f"{node.name} has {length} lines; tag the cell teaches if it does"
                )


@each_notebook
def test_exercises_are_marked_for_nbgrader(path):
    from nbgrader.nbgraderformat import MetadataValidator

    nb, number = read(path), path.stem[:2]
    MetadataValidator().validate_nb(deepcopy(nb))
    tasks = course.exercises(nb)
    assert len(tasks) >= EXERCISES.get(number, 3)
    assert [task.name for task in tasks] == [f"e{number}-{i}" for i in range(1, len(tasks) + 1)]
    headings = re.findall(rf"^### Exercise {number}-(\d+) · \S", prose(nb), re.MULTILINE)
    assert [int(i) for i in headings] == [*range(1, len(tasks) + 1)]
    for _, answer, check in tasks:
        assert re.search(r"### BEGIN SOLUTION\n(.*\n)+?\s*### END SOLUTION", answer.source)
        seen, hidden = re.split("### BEGIN HIDDEN TESTS\n", check.source)
        assert "assert" in seen
        assert "assert" in hidden
        assert hidden.rstrip().endswith("\n### END HIDDEN TESTS")
        assert check.metadata.nbgrader.points > 0
        assert check.metadata.nbgrader.grade
        assert check.metadata.nbgrader.locked
        assert "SOLUTION" not in answer.metadata.pomkit.wrong


@each_notebook
def test_who_is_stuck_can_run_on(path):
    """Only its check uses a name that an exercise's answer defines.

    Other cells may use it if another cell defines it too.
    """
    nb = read(path)
    tasks = course.exercises(nb)
    checks = {id(task.check) for task in tasks}
    answers = {
        name for task in tasks for node in tree(task.answer).body for name in names(node, ast.Store)
    }
    others = [cell for cell in code_cells(nb) if "nbgrader" not in cell.metadata]
    answers -= {name for cell in others for name in names(tree(cell), ast.Store)}
    for cell in others:
        assert id(cell) not in checks, cell.source
        assert not answers & names(tree(cell), ast.Load), cell.source


def names(node, context):
    """The names that are read, or defined, in a piece of code."""
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}
    if context is ast.Store:
        found |= {n.name for n in ast.walk(node) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    return found


# The outputs


@each_notebook
def test_outputs_are_fresh_and_fit_to_publish(path):
    nb = read(path)
    fresh = course.fresh(nb)
    assert fresh, (
        f"its source changed after its outputs: python notebooks/course.py refresh {path.stem[:2]}"
    )
    assert course.flaws(nb) == []
    assert {*nb.metadata} == {"kernelspec", "language_info", "pomkit"}
    assert [cell.execution_count for cell in code_cells(nb)] == [*range(1, len(code_cells(nb)) + 1)]
    facts = nb.metadata.pomkit
    assert f"**Time**: {course.about(facts.minutes)} on {facts.device}." in nb.cells[0].source
    assert len({cell.id for cell in nb.cells}) == len(nb.cells)


@each_notebook
def test_pictures_can_be_read_in_a_room_and_have_an_alt_text(path):
    """A notebook in the list is stale: call `legible_figures` in its set-up, and refresh it."""
    nb = read(path)
    is_small = path.stem[:2] in course.STILL_SMALL
    calls = "pomkit.legible_figures()" in "".join(c.source for c in course.tagged(nb, "setup"))
    assert calls != is_small, f"{path.stem[:2]} in STILL_SMALL: {is_small}; its set-up: {calls}"
    if is_small:
        pytest.skip(f"{path.stem[:2]} has small figures until it is refreshed")
    assert course.illegible(nb) == []


@each_notebook
def test_exact_cells_print_text_alone(path):
    """nbval leaves images out; sounds and widgets differ from run to run.

    A semicolon at the end of a cell means nothing to it.
    """
    for cell in code_cells(read(path)):
        if "NBVAL_CHECK_OUTPUT" in cell.source or has_tag(cell, "nbval-check-output"):
            kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
            assert cell.outputs
            assert kinds <= {"text/plain", "image/png"}
            assert course.PANEL not in str(cell.outputs)
            assert not cell.source.rstrip().endswith(";"), (
                f"begin the last line with _ = :\n{cell.source}"
            )


# The exercises, in one process a notebook


TASKS = [(path, task.name) for path in PATHS for task in course.exercises(course.read(path))]


@pytest.mark.parametrize(("path", "name"), TASKS, ids=[name for _, name in TASKS])
def test_the_check_tells_right_from_wrong(path, name):
    assert proved(path)[name] == []


@pytest.mark.parametrize(("path", "name"), TASKS, ids=[name for _, name in TASKS])
def test_five_slips_are_planted(path, name):
    (answer,) = [task.answer for task in course.exercises(read(path)) if task.name == name]
    planted = slips.with_slips(name, answer.source)
    assert slips.FORGOTTEN in planted
    assert len({*planted.values()} - {answer.source}) >= 6


@each_notebook
def test_student_copy(path):
    nb = read(path)
    copy = course.released(nb)
    nbformat.validate(copy)
    text = nbformat.writes(copy)
    assert not [
        word for word in ("SOLUTION", "HIDDEN TESTS", '"wrong"', "colab-badge") if word in text
    ]
    assert not any(cell.outputs for cell in code_cells(copy))
    by_name = {
        cell.metadata.nbgrader.grade_id: cell for cell in copy.cells if "nbgrader" in cell.metadata
    }
    for name, answer, check in course.exercises(nb):
        assert "raise NotImplementedError()" in by_name[name].source
        (solution,) = re.findall(
            r"### BEGIN SOLUTION\n(.*)### END SOLUTION", answer.source, re.DOTALL
        )
        assert solution.strip() not in text
        assert solution.strip() not in by_name[name].source
        assert (
            by_name[f"{name}-check"].source.rstrip()
            == check.source.partition("### BEGIN HIDDEN")[0].rstrip()
        )


# Words, links, equations


def anchors(page):
    """The anchors of a page's headings, as GitHub and as Jupyter write them."""
    text = page.read_text(encoding="utf-8") if page.suffix == ".md" else prose(course.read(page))
    for title in re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE
    ):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)|[*`]", r"\1", title).strip()
        yield plain.replace(" ", "-")
        yield "".join(
            c
            for c in plain.lower().replace(" ", "-")
            if c in "-_" or unicodedata.category(c)[0] in "LN"
        )


def dead_links(page, text, folder=None):
    """The relative links of a text that lead nowhere."""
    for link in course.links(text):
        file, _, anchor = link.partition("#")
        target = (folder or page.parent) / file if file else page
        if (
            not target.exists()
            or anchor
            and target.suffix in (".md", ".ipynb")
            and anchor not in anchors(target)
        ):
            yield link


@each_notebook
def test_links_of_a_notebook(path):
    assert [*dead_links(path, prose(read(path)))] == []


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_of_a_page(page):
    assert [*dead_links(page, page.read_text(encoding="utf-8"))] == []


def test_links_of_the_student_copies(tmp_path):
    course.student(tmp_path, PATHS)
    for page in (*tmp_path.glob("*.ipynb"), tmp_path / "README.md"):
        text = prose(course.read(page)) if page.suffix == ".ipynb" else page.read_text()
        assert [*dead_links(page, text)] == []


@each_notebook
def test_equations_are_balanced(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            assert unbalanced(cell.source) is None, cell.source


def unbalanced(text):
    """The first equation of a markdown text that does not close, or None.

    Where the dollars do not come in pairs, a sentence that says so.
    """
    text = re.sub(r"\\\$", "", course.CODE.sub("", text))
    displayed = text.split("$$")
    inline = "".join(displayed[::2]).split("$")
    if len(displayed) % 2 == 0 or len(inline) % 2 == 0:
        return "an odd number of dollars"
    for equation in displayed[1::2] + inline[1::2]:
        braces = re.sub(r"\\[{}]", "", equation)
        if not equation.strip() or braces.count("{") != braces.count("}") or "\n\n" in equation:
            return equation
        begun = re.findall(r"\\begin\{(\w+\*?)\}", equation)
        if begun != re.findall(r"\\end\{(\w+\*?)\}", equation)[::-1]:
            return equation
        if len(re.findall(r"\\left\b", equation)) != len(re.findall(r"\\right\b", equation)):
            return equation
    return None


@each_notebook
def test_sources_name_no_machine(path):
    text = prose(read(path)) + "\n".join(cell.source for cell in code_cells(read(path)))
    assert not [place for place in (ROOT, Path.home(), Path(sys.prefix)) if f"{place}/" in text]


def test_spelling(tmp_path):
    for path in PATHS:
        (tmp_path / f"{path.stem}.md").write_text(
            "\n\n".join(cell.source for cell in read(path).cells), encoding="utf-8"
        )
    places = [*PAGES, *(ROOT / "pomkit").rglob("*.py"), ROOT / "notebooks" / "course.py", tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", "-L", SPELLED, *places],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stdout, done.stdout + done.stderr


# The tool and the tests themselves, on a course that is made up


def cell(kind, source, tags=(), graded=None, wrong=None, **output):
    made = getattr(nbformat.v4, f"new_{kind}_cell")(source)
    made.metadata.tags = [*tags]
    if graded:
        solution = not graded.endswith("-check")
        # fmt: off
        made.metadata.nbgrader = {
            "schema_version": 3, "grade_id": graded, "task": False,
            "solution": solution, "grade": not solution, "locked": not solution,
        }
        # fmt: on
        if not solution:
            made.metadata.nbgrader["points"] = 2
    if wrong:
        made.metadata.pomkit = {"wrong": wrong}
    return made


ANSWER = (
    'def twice(x):\n    """Twice x."""\n'
    "    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
)
CHECK = (
    'assert twice(3) == 6, f"twice(3) is {twice(3)}; two times three is 6"\nprint("Right.")\n'
    "### BEGIN HIDDEN TESTS\nassert twice(BASE) == 10\n### END HIDDEN TESTS"
)
WRONG = "def twice(x):\n    return x + 2"


def small(*tasks, last="1 + 1"):
    """A notebook: (answer, check, wrong answer) of each exercise."""
    title = "# 90 · Small\n**Time**: 7 minutes on a slate. GPU: not measured."
    setup = (
        "%matplotlib inline\nBASE = 5\n"
        "print('pomkit', end=' ', flush=True)\nprint('0.1.0 on the CPU')"
    )
    cells = [cell("markdown", title), cell("code", setup, ["setup"])]
    for i, (answer, check, wrong) in enumerate(tasks, 1):
        cells.append(cell("code", answer, graded=f"e90-{i}", wrong=wrong))
        cells.append(cell("code", check, graded=f"e90-{i}-check"))
    return nbformat.v4.new_notebook(cells=[*cells, cell("code", last)])


@pytest.fixture
def folder(tmp_path):
    """A course of one notebook."""
    (tmp_path / "README.md").write_text("before\n<!-- timings -->\nold\n<!-- /timings -->\nafter\n")
    course.write(small((ANSWER, CHECK, WRONG)), tmp_path / "90_small.ipynb")
    return tmp_path


# fmt: off
BAD = [                                                  # exercises, and what is wrong with them
    ((ANSWER, CHECK, WRONG), ""),
    ((ANSWER, "print('Right.')", WRONG),
     "the check accepts the unsolved cell; the check accepts the wrong answer"),
    ((ANSWER, CHECK.replace("6,", "7,"), WRONG),
     "the solution fails the check: .*; the solution fails the check"),
    ((ANSWER, CHECK.replace("10", "11"), WRONG), "the solution fails the check"),
    ((ANSWER, CHECK, "def twice(x):\n    return x + x"), "the check accepts the wrong answer"),
    ((ANSWER, CHECK, "def twice(x):\n    return y"), "ends with NameError"),
    ((ANSWER, CHECK, None), "there is no wrong answer"),
    ((ANSWER, CHECK.replace("; two times three is 6", ""), WRONG), "teaches nothing")]
# fmt: on


def test_bad_exercises_are_caught(tmp_path):
    path = tmp_path / "90_small.ipynb"
    course.write(small(*(task for task, _ in BAD)), path)
    for (_, fault), found in zip(BAD, proofs(path).values(), strict=True):
        assert re.search(fault, "; ".join(found)) if fault else not found


def test_slips_that_a_check_accepts_are_caught(tmp_path, monkeypatch):
    path = tmp_path / "90_small.ipynb"
    planted = [("seen", "2 * x", "3 * x"), ("not seen", "2 * x", "2 * x if x < 9 else 0")]
    monkeypatch.setitem(slips.SLIPS, "e90-1", planted)
    course.write(small((ANSWER, CHECK, WRONG)), path)
    (found,) = proofs(path).values()
    assert found == ["the check accepts the answer with the slip “not seen”"]


def test_a_slip_that_is_not_in_the_solution_is_refused(monkeypatch):
    monkeypatch.setitem(slips.SLIPS, "e90-1", [("gone", "4 * x", "3 * x")])
    with pytest.raises(ValueError, match=r"e90-1, gone: the solution has no '4 \* x'"):
        slips.with_slips("e90-1", ANSWER)


def test_refresh(folder):
    path = folder / "90_small.ipynb"
    assert not course.fresh(course.read(path))
    speed = os.environ.get("POMKIT_FAST")
    (folder / "out" / "90_small" / "an earlier run").mkdir(parents=True)
    course.refresh(path)
    nb = course.read(path)
    assert not (folder / "out" / "90_small").exists()  # the time is that of a first run
    assert os.environ.get("POMKIT_FAST") == speed  # what runs after it runs as before
    assert course.fresh(nb)
    assert course.flaws(nb) == []
    assert re.search(
        r"\n\*\*Time\*\*: under 1 minute on \d+ CPU cores?\. GPU: not measured\.$",
        nb.cells[0].source,
    )
    assert [c.execution_count for c in code_cells(nb)] == [1, 2, 3, 4]
    assert [output.text for output in nb.cells[1].outputs] == ["pomkit 0.1.0 on the CPU\n"]
    assert "90_small" in course.timings(folder)
    assert "old" not in (folder / "README.md").read_text()
    before = path.read_text()
    course.refresh(path, fast=True)
    assert course.fresh(course.read(path))
    assert not course.fresh(course.read(folder / "out" / "fast" / path.name))
    assert json.loads(before)["cells"] == json.loads(path.read_text())["cells"]


def test_a_busy_machine_keeps_the_times_of_a_quiet_one(folder):
    path = folder / "90_small.ipynb"
    nb = course.read(path)
    nb.metadata.pomkit = {"minutes": 7.25, "device": "a slate"}
    course.write(nb, path)
    course.refresh(path, busy=True)
    nb = course.read(path)
    assert course.fresh(nb)
    assert nb.metadata.pomkit.minutes == 7.25
    assert "**Time**: about 7 minutes on a slate." in nb.cells[0].source


def test_a_figure_is_made_smaller_once():
    """Published again, it keeps its bytes."""
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    once = course.smaller(base64.b64encode(file.getvalue()).decode())
    assert len(once) < len(base64.b64encode(file.getvalue()))
    assert course.smaller(once) == once


def test_retelling_runs_the_exercises_alone(folder):
    path = folder / "90_small.ipynb"
    course.refresh(path)
    nb = course.read(path)
    nb.cells[0].source += "\n\nMore words."
    nb.cells[3].source = nb.cells[3].source.replace("Right.", "Well done.")
    nb.cells[-1].outputs[0].data["text/plain"] = "as it was"
    course.write(nb, path)
    course.retell(path)
    nb = course.read(path)
    assert course.fresh(nb)
    assert nb.cells[3].outputs[0].text == "Well done.\n"
    assert nb.cells[-1].outputs[0].data["text/plain"] == "as it was"
    nb.cells[-1].source = "1 + 3"
    course.write(nb, path)
    with pytest.raises(course.Refused, match="code that is no exercise changed"):
        course.retell(path)


def test_stale_outputs_are_seen():
    nb = small()
    nb.metadata.pomkit = {"source": course.digest(nb)}
    assert course.fresh(nb)
    nb.cells[0].source = nb.cells[0].source.replace("7 minutes", "about 9 minutes")
    assert course.fresh(nb)
    nb.cells[-1].source = "1 + 2"
    assert not course.fresh(nb)


def test_refresh_refuses_an_error(folder):
    path = folder / "90_small.ipynb"
    course.write(small(last="1 / 0"), path)
    before = path.read_text()
    with pytest.raises(course.Refused, match="cell 2 ends with an error"):
        course.refresh(path)
    assert path.read_text() == before


ADDRESS = {"text/plain": "<object at 0x7f0123456789>"}
SOUND = {"text/html": "<audio src='data:audio/mp3;base64,aa/tmp/b+/'>"}
# fmt: off
OUTPUTS = [                                              # an output, and what is wrong with it
    (dict(output_type="error", ename="E", evalue="e", traceback=["e"]), "an error"),
    (dict(output_type="stream", name="stderr", text="so"), "stderr"),
    (dict(output_type="stream", text="saved /home/someone/x.mid"), "a path of this machine"),
    (dict(output_type="display_data", data=ADDRESS), "an object's address"),
    (dict(output_type="stream", text="UserWarning: so"), "a warning"),
    (dict(output_type="display_data", data={"image/png": "x" * 900_000}), "MB"),
    (dict(output_type="display_data", data=SOUND), None),
]
# fmt: on


@pytest.mark.parametrize(("output", "fault"), OUTPUTS)
def test_unfit_outputs_are_seen(output, fault):
    nb = small()
    nb.cells[-1].outputs = [nbformat.v4.new_output(**output)]
    found = course.flaws(nb)
    assert len(found) == (1 if fault else 0)
    assert not fault or fault in found[0]


def shown(width, **facts):
    """A notebook that shows a picture."""
    file = io.BytesIO()
    Image.new("RGB", (width, 300)).save(file, "PNG")
    data = {"image/png": base64.b64encode(file.getvalue()).decode()}
    nb = small()
    nb.cells[-1].outputs = [
        nbformat.v4.new_output("display_data", data=data, metadata={"image/png": facts})
    ]
    return nb


SEEN = {"alt": "two lines that part", "points": 12.0}
# fmt: off
PICTURES = [                                             # width, what it says, what is wrong
    (900, SEEN, None),
    (899, SEEN, "899 pixels wide"),
    (960, SEEN | {"alt": ""}, "no alt text"),
    (960, SEEN | {"points": 8.0}, "text of 8.0 points"),
]
# fmt: on


@pytest.mark.parametrize(("width", "facts", "fault"), PICTURES)
def test_illegible_pictures_are_seen(width, facts, fault):
    found = course.illegible(shown(width, **facts))
    assert len(found) == (1 if fault else 0)
    assert not fault or fault in found[0]


def test_a_picture_in_html_needs_an_alt_text():
    nb = small()
    for html, count in (("<img src='a.png'>", 1), ("<img src='a.png' alt='a song'>", 0)):
        nb.cells[-1].outputs = [nbformat.v4.new_output("display_data", data={"text/html": html})]
        assert len(course.illegible(nb)) == count


# fmt: off
EQUATIONS = [
    ("$x$ and $$y_{1}$$", True), ("`$` $x$", True), ("$x and y", False), ("$$x$", False),
    ("$\\frac{1{2}$", False), ("$\\begin{aligned} x$", False), ("$\\left( x$", False),
]
# fmt: on


@pytest.mark.parametrize(("text", "right"), EQUATIONS)
def test_unbalanced_equations_are_seen(text, right):
    assert (unbalanced(text) is None) == right


def test_dead_links_are_seen(tmp_path):
    page = tmp_path / "a.md"
    page.write_text(
        "# A heading · here\n[x](a.md) [y](#a-heading--here) [z](https://x.y) `[q](none)`"
    )
    assert [*dead_links(page, page.read_text())] == []
    assert [*dead_links(page, "[x](b.md) [y](#none) ![z](c.png)")] == ["b.md", "#none", "c.png"]


def test_notebooks_are_collected_once_and_run_fast():
    """nbval takes the course, not the students' copies nor what the notebooks leave in out/."""
    makefile = (ROOT / "Makefile").read_text()
    assert "POMKIT_FAST=1" in next(line for line in makefile.splitlines() if "--nbval-lax" in line)
    assert {"student", "out"} <= {
        *re.findall(r'"(\w+)"', (ROOT / "pyproject.toml").read_text().partition("norecursedirs")[2])
    }
    assert os.path.commonpath([ROOT / "notebooks", *PATHS]) == str(ROOT / "notebooks")


def test_the_readme_shows_the_notebooks_own_figures():
    covers, readme = course.covers(), (ROOT / "README.md").read_text()
    assert len(covers) == len(PATHS) - 1  # the studio shows itself
    for picture, png in covers:
        assert picture.read_bytes() == png, (
            f"{picture.name} is another figure: python notebooks/course.py timings"
        )
        assert f"assets/pictures/{picture.name}" in readme
