"""What the README and CONTRIBUTING say of the code is true."""

import re
from pathlib import Path

from tests import style

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
READING = README.partition("## Reading the code")[2].partition("\n## ")[0]


def test_the_readme_is_short():
    assert len(README.splitlines()) < 200


def test_the_reading_path_has_ten_files_and_as_many_lines_as_it_says():
    files = [
        style.PACKAGE / name for name in re.findall(r"^\| `([\w/]+\.py)`", READING, re.MULTILINE)
    ]
    lines, code = (
        int(number.replace(",", ""))
        for number in re.findall(r"([\d,]+) (?:lines together|of them code)", READING)
    )
    assert len(files) == 10
    # To a hundred, so that not every comment changes the README.
    assert abs(lines - sum(len(file.read_text().splitlines()) for file in files)) <= 100
    assert abs(code - sum(style.measure(file).code_lines for file in files)) <= 100


def test_the_figures_of_the_table_are_those_of_the_code():
    whole = style.total([style.measure(path) for path in style.files()]).figures()
    table = CONTRIBUTING.partition("| the package's code |")[2].partition("\n\n")[0]
    shown = [line.split("|")[3].strip() for line in table.splitlines()[2:]]
    assert shown == [
        f"{whole['nodes per line']:.1f}",
        f"{100 * whole['big statements']:.1f} %",
        f"{whole['long lines']}",
        f"{100 * whole['tuple assignments']:.1f} %",
        f"{100 * whole['paragraphs']:.0f} %",
        "all" if whole["shapes on reshaping lines"] == 1 else "not all",
        f"{whole['long functions']}",
    ]
