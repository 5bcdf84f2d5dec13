"""The lecturer's pages: what they promise is there, in one form, as the course's page says."""

import re
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "notebooks")]

import course  # noqa: E402
import lab_plans  # noqa: E402

FOLDER = course.HERE / "lecturer"
NUMBERS = [path.stem[:2] for path in course.find()]


def page(name):
    return (FOLDER / name).read_text(encoding="utf-8")


def rows(text, columns):
    """The rows of the tables with this many columns, without titles."""
    found = re.findall(r"^\|(.+)\|$", text, re.MULTILINE)
    split = [[cell.strip() for cell in row.split("|")] for row in found]
    rules = [i for i, row in enumerate(split) if set("".join(row)) <= {"-"}]
    titles = {*rules, *(i - 1 for i in rules)}
    return [row for i, row in enumerate(split) if i not in titles and len(row) == columns]


def test_every_page_is_listed():
    listed = set(re.findall(r"\]\((\w+\.md)\)", page("README.md")))
    assert listed == {path.name for path in FOLDER.glob("*.md")} - {"README.md"}


# Quizzes


@pytest.mark.parametrize("number", NUMBERS)
def test_five_questions_for_each_notebook(number):
    section = re.search(rf"^## {number} · .+?(?=^## |\Z)", page("quizzes.md"), re.M | re.S)[0]
    questions = re.split(r"^### ", section, flags=re.MULTILINE)[1:]
    assert [q.splitlines()[0] for q in questions] == [f"{number}-Q{i}" for i in range(1, 6)]
    for question in questions:
        options = re.findall(r"^- ([abc])\) (\S.*)$", question, re.MULTILINE)
        assert [letter for letter, _ in options] == ["a", "b", "c"]
        assert len({text for _, text in options}) == 3
        assert re.search(r"^\*\*Answer: [abc]\.\*\* \S", question, re.MULTILINE), question


# Slides, glossary, projects, rubric


def test_slides_are_numbered_and_few_words():
    slides = page("slides.md").split("\n---\n")[1:]
    titles = [re.match(r"\s*## (\d+) · \S", slide) for slide in slides]
    assert [int(title[1]) for title in titles] == [*range(1, 26)]
    assert max(len(slide.split()) for slide in slides) <= 70


def test_the_glossary_has_25_words_in_order():
    words = [row[0] for row in rows(page("glossary.md"), 2)]
    assert len(words) == 25
    assert len({*words}) == 25
    assert words == sorted(words)


def test_ten_projects_with_data_and_measure():
    projects = rows(page("projects.md"), 5)
    assert [row[0] for row in projects] == [str(i) for i in range(1, 11)]
    assert all(all(row) for row in projects)


def test_the_rubric_adds_up():
    criteria = rows(page("rubric.md"), 4)
    assert len(criteria) == 5
    assert "Ten points" in page("rubric.md")


def test_a_model_answer_for_each_notebook():
    answers = rows(page("answers.md"), 3)
    assert [row[0] for row in answers] == NUMBERS
    asked = {n for n in NUMBERS if "**In three sentences**" in course_text(n)}
    silent = re.search(r"^The answers of ([\d, and]+) are for", page("answers.md"), re.MULTILINE)
    assert {*NUMBERS} - asked == {*re.findall(r"\d\d", silent[1] if silent else "")}


def course_text(number):
    (path,) = course.find([number])
    cells = course.read(path).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


# Run sheets


def test_run_sheets_are_the_plans():
    """The same blocks with the same minutes, each beginning where the one before it ends."""
    plans = lab_plans.PAGE.read_text(encoding="utf-8")
    for title in ("Two hours", "Three hours", "Four hours"):
        ours, theirs = (
            re.search(rf"^##+ {title}.+?(?=^##|\Z)", text, re.M | re.S)[0]
            for text in (page("run_sheets.md"), plans)
        )
        sheet, plan = rows(ours, 5), rows(theirs, 2)
        assert [row[1] for row in sheet] == [row[0] for row in plan]
        for mine, other in zip(sheet, plan, strict=True):
            block = lab_plans.block("", other[1])
            sections = lab_plans.block("", mine[2])
            assert not block or block.sections == (sections.sections if sections else ())
        clock = [int(h) * 60 + int(m) for h, m in (row[0].split(":") for row in sheet)]
        minutes = [int(row[1]) for row in sheet]
        assert clock == [sum(minutes[:i]) for i in range(len(minutes))]
