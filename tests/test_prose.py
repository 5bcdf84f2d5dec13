"""The course's words: planted slips are found, and the converted notebooks hold."""

import sys
from pathlib import Path

import nbformat
import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "notebooks")]

import course  # noqa: E402
import prose  # noqa: E402

FOLDER = Path(course.__file__).parent


def notebook(text, printed="", code="", tags=("figures",)):
    """A notebook of one text cell, a cell that has printed, and a cell of code."""
    made = nbformat.v4.new_code_cell("print()")
    made.metadata.tags = [*tags]
    made.outputs = [nbformat.v4.new_output("stream", text=printed)]
    cells = [nbformat.v4.new_markdown_cell(text), made, nbformat.v4.new_code_cell(code)]
    return nbformat.v4.new_notebook(cells=cells)


# Figures

# fmt: off
TRUE = [                                     # text, what a cell printed
    ("0.53<!--copied--> of the notes", "copied = 0.5312"),
    ("53<!--copied--> % of the notes", "copied = 53.1"),
    ("-0.006<!--change-->", "change = -0.0061"),
    ("−0.006<!--change-->", "change = -0.0061"),
    ("6.1<!--ratio--> times slower", "ratio = 6.114"),
    ("six<!--ratio--> times slower", "ratio = 6.114"),
    ("about 2,500<!--bits-->", "bits = 2,468.3"),
    ("from 18<!--low--> to 24<!--high--> seconds", "low = 18\nhigh = 24.2"),
    ("1<!--tiny-->", "tiny = 9.6e-01"),
    ("two<!--merged--> notes", "a table above\nmerged = 2\nand more"),
    ("1.5<!--half-->", "half = 1.45"),       # half-way: either is right
    ("4<!--given--> GB, 0.7<!--given--> by the paper", ""),
]
UNTRUE = [                                   # text, what a cell printed, the fault
    ("0.53<!--copied-->", "copied = 0.54", "0.53 is written, but copied = 0.54"),
    ("0.530<!--copied-->", "copied = 0.5312", "0.530 is written"),
    ("seven<!--ratio--> times slower", "ratio = 6.114", "seven is written"),
    ("about 2,500<!--bits-->", "bits = 2000", "2,500 is written"),
    ("2,500<!--bits-->", "bits = 2468.3", "2,500 is written"),
    ("-0.006<!--change-->", "change = 0.006", "-0.006 is written"),
    ("0.53<!--copied-->", "", "prints “copied = ...”"),
    ("0.53<!--copied-->", "copied: 0.53", "prints “copied = ...”"),
    ("0.53<!--a-->", "a = 0.53\na = 0.6", "printed 2 times"),
    ("only .53 of it", "", ".53 names no figure"),
    ("only 0.53 of it", "", "0.53 names no figure"),
    ("97 % of the pixels", "", "97 names no figure"),
    ("97% of the pixels", "", "97 names no figure"),
    ("20 per cent", "", "20 names no figure"),
    ("it took 14 s.", "", "14 names no figure"),
    ("it took 14 seconds.", "", "14 names no figure"),
    ("| a | 14 ms |", "", "14 names no figure"),
    ("3x faster", "", "3 names no figure"),
    ("six times slower", "", "six names no figure"),
    ("seven or eight times slower", "", "eight names no figure"),
    ("a < 0.5 and b > 3", "", "0.5 names no figure"),
    ("18 to 24 kB", "", "18 names no figure"),
]
FREED = [
    "# 02 · A heading with 4 bars", "In 2019 and 1685-1750", "4/4 at bar 12",
    "`0.53` and\n```\n0.53\n```", "$x = 0.53$ and $$0.53 \\%$$", "[paper](https://x.y/1.25)",
    "arXiv:2206.00364", "doi 10.1007/s00521-018-3849-7", "see section 2.3",
    "equation (4.1), Algorithm 1",
    "version 0.1.0, Python 3.13", "1. first\n2. second", "128 x 512 pixels", "a six-chord song",
    "**Time**: 1.5 minutes on 1 CPU core. GPU: not measured.", "MIT 6.S184", "C4, 16ths, 7th chord",
    "<img width=\"0.5\" alt=\"x\">",
]
# fmt: on


@pytest.mark.parametrize(("text", "printed"), TRUE)
def test_a_true_figure_passes(text, printed):
    assert prose.untrue(notebook(text, printed)) == []


@pytest.mark.parametrize(("text", "printed", "fault"), UNTRUE)
def test_a_planted_slip_is_found(text, printed, fault):
    assert fault in " ".join(prose.untrue(notebook(text, printed)))


@pytest.mark.parametrize("text", FREED)
def test_what_measures_nothing_is_free(text):
    assert prose.untrue(notebook(text)) == []


def test_a_number_that_code_sets_is_free():
    assert prose.untrue(notebook("at 0.5 and .25", code="for sigma in (0.5, 0.25): pass")) == []
    assert len(prose.untrue(notebook("at 0.5 and .25", code="x = 10.5; y = 0.251"))) == 2
    assert len(prose.untrue(notebook("0.5 % of it", code="x = 0.5"))) == 1


def test_only_tagged_cells_print_figures():
    assert len(prose.untrue(notebook("0.5<!--a-->", "a = 0.5", tags=()))) == 1


def test_an_offence_names_its_cell_and_the_words_around_it():
    (fault,) = prose.untrue(notebook("The model is right at 97 % of the pixels."))
    assert fault.startswith("cell 0, “The model is right at 97 % of the pixels.”")


def test_publishing_refuses_an_untrue_figure(tmp_path, monkeypatch):
    nb = notebook("# 90 · Small\n\n**Time**: 1 minute.\n\n3<!--sum--> notes")
    nb.cells[1].source = "print('sum = 4')"
    course.write(nb, tmp_path / "90_small.ipynb")
    monkeypatch.setattr(prose, "TRUE_TO_FIGURES", ("90",))
    with pytest.raises(course.Refused, match="3 is written, but sum = 4 was printed"):
        course.refresh(tmp_path / "90_small.ipynb")


@pytest.mark.parametrize("number", prose.TRUE_TO_FIGURES)
def test_the_figures_of_converted_notebooks(number):
    (path,) = course.find([number])
    assert prose.untrue(course.read(path)) == []


# Sentences

# fmt: off
SENTENCES = [                                # text, sentences, words
    ("One two three. Four five!", 2, 5),
    ("One two (e.g. three) is 0.5 of it.", 1, 8),
    ("With `x = 1. Y` here. $a. B$ there.", 2, 5),
    ("# A heading. More\n\nOne two.\n\n| a. B | c |\n|---|---|", 1, 2),
    ("- one two\n- three four\n  five", 2, 5),
    ("```\nno. Words\n```\nOne [two three](x.md).<!--name-->", 1, 3),
]
# fmt: on


@pytest.mark.parametrize(("text", "sentences", "words"), SENTENCES)
def test_sentences_are_counted(text, sentences, words):
    found = prose.measure([text])
    assert (found.sentences, found.words) == (sentences, words)


def test_what_is_hard_to_read_is_found():
    assert prose.measure(["One two. " * 60]).readable
    assert not prose.measure(["One two. " * 61]).readable
    assert prose.measure([" ".join(["word"] * 15) + "."]).readable
    assert not prose.measure([" ".join(["word"] * 16) + "."]).readable


def test_the_table_marks_what_is_hard_to_read(tmp_path):
    (tmp_path / "long.md").write_text(" ".join(["word"] * 20) + ".\n")
    (tmp_path / "short.md").write_text("A short one.\n")
    lines = prose.table([tmp_path / "long.md", tmp_path / "short.md"]).splitlines()
    assert [line.endswith("!") for line in lines] == [False, True, False]


@pytest.mark.parametrize("name", prose.READABLE)
def test_readable_files_stay_readable(name):
    (path,) = course.find([name]) if name.isdigit() else [FOLDER / name]
    found = prose.measure(prose.markdown(path))
    assert found.mean <= prose.LONGEST_MEAN
    assert found.longest <= prose.LONGEST_PARAGRAPH, found.begins


@pytest.mark.parametrize(
    ("text", "printed", "after"),
    [
        ("loses 2<!--n--> notes", 3, "loses 3<!--n--> notes"),
        ("loses 0.53<!--n--> bits", 0.6149, "loses 0.61<!--n--> bits"),
        ("about 2,500<!--n--> notes", 3149, "about 3,100<!--n--> notes"),
        ("Two<!--n--> notes", 3, "Three<!--n--> notes"),
        ("two<!--n--> notes", 13, "13<!--n--> notes"),
        ("of 0.53<!--n-->", 0.529, "of 0.53<!--n-->"),
        ("of 7<!--given--> bits", 3, "of 7<!--given--> bits"),
    ],
)
def test_printed_values_are_put_into_the_text(text, printed, after):
    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("print(n)")]
    )
    nb.cells[1].metadata.tags = ["figures"]
    nb.cells[1].outputs = [nbformat.v4.new_output("stream", text=f"n = {printed}\n")]
    changes = prose.correct(nb)
    assert nb.cells[0].source == after
    assert len(changes) == (text != after)
