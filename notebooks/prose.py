"""What holds of the course's words: figures are true, sentences are short.

**Figures.** A measured number in a text cell is printed by a code cell; the tool compares the two.
The code cell has the tag `figures` and prints lines of the form `name = value`:

    print(f"merged_notes = {merged}")

The text names that line in a comment behind the number, which no reader sees:

    The canon loses 2<!--merged_notes--> notes.

The value is rounded to the digits of the text. After "about", the last zeros of a whole number are
no digits: "about 2,500" is true of 2,468. A number with a decimal point, a unit, % or "times" must
have such a comment. Free are the patterns of `FREE`, and numbers with a decimal point and without a
unit that a code cell of the same notebook sets. A number that is defined, or that a source reports,
says so: `<!--given-->`.

**Sentences.** `measure` counts the words of sentences and paragraphs, without code, formulas,
tables and headings. An inline formula or a piece of inline code counts as one word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

# The notebooks whose figures are held to their cells, and the files that are easy to read. These
# lists may only grow.
TRUE_TO_FIGURES: tuple[str, ...] = (
    "00",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "07",
    "08",
    "09",
    "10",
    "11",
    "12",
    "13",
)
READABLE: tuple[str, ...] = (
    *TRUE_TO_FIGURES,
    "README.md",
    "lecturer/README.md",
    "lecturer/answers.md",
    "lecturer/blind_test.md",
    "lecturer/glossary.md",
    "lecturer/if_it_fails.md",
    "lecturer/projects.md",
    "lecturer/quizzes.md",
    "lecturer/rights.md",
    "lecturer/rubric.md",
    "lecturer/run_sheets.md",
    "lecturer/slides.md",
)

GIVEN = "given"  # the comment behind a number that nobody here measured
LONGEST_MEAN = 15  # words of a sentence, on average
LONGEST_PARAGRAPH = 120  # words

FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
INLINE_CODE = re.compile(r"`[^`\n]*`")
DISPLAYED = re.compile(r"\$\$.*?\$\$", re.DOTALL)
FORMULA = re.compile(r"(?<!\\)\$[^$]+\$")

# Numbers that need no cell behind them, each with its reason.
FREE = {
    "a block of code is not prose": FENCED,
    "code says what is set": INLINE_CODE,
    "a formula is derived, not measured": DISPLAYED,
    "so is one in a line": FORMULA,
    "an address": re.compile(r"(?<=\]\()[^()\s]+(?=\))|</?[a-z][^>]*>|https?://\S+"),
    "the number of a paper on arXiv": re.compile(r"\b\d{4}\.\d{4,5}\b"),
    "a document's identifier": re.compile(r"\bdoi:?\s*10\.\S+"),
    "the number of a place in a text": re.compile(
        r"\b(?:section|equation|eq\.|algorithm|figure|table|appendix|chapter|version|Python|op\.)s?"
        r"\s+\(?\d[\d.]*\d?\)?",
        re.IGNORECASE,
    ),
    "the number of a list's item": re.compile(r"^\s*(?:\| )?\d+\.(?=\s)", re.MULTILINE),
    "the header's line on time, which the tool writes": re.compile(
        r"^\*\*Time\*\*:.*$", re.MULTILINE
    ),
}

# fmt: off
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve")
# fmt: on
UNIT = re.compile(
    r"(?<=\d)x\b|\s*(?:%|(?:per ?cent|times|ms|s|seconds?|min|minutes?|h|hours?"
    r"|[kMG]B|bytes?|k?Hz|dB|bits?|nats?)\b)"
)
TIMES = re.compile(r"\s*times\b")  # a number in words speaks of a measurement here only
DIGITS = r"(?<![\w.,])[-−]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+)(?!\.\d|\d|[A-Za-wyz_])"
NUMBER = re.compile(rf"{DIGITS}|\b(?i:{'|'.join(WORDS)})\b")
COMMENT = re.compile(r"<!--\s*([\w-]+)\s*-->")
JOINED = re.compile(r"\s*(?:to|and|or|,|-|–)\s*")  # between the numbers of a range
PRINTED = re.compile(r"^(\w+) = ([-+]?[\d.,]+(?:e[-+]?\d+)?)\s*$", re.MULTILINE)
SETTING = re.compile(r"(?<![\w.])(?:\d+\.\d*|\.\d+)(?![\w.])")


class Number(NamedTuple):
    """A number in a text, its comment or "", and what speaks of a measurement: a unit, a point."""

    written: str
    name: str
    unit: bool
    point: bool
    about: bool
    around: str


@dataclass(frozen=True)
class Words:
    """The words and sentences of a text, and its longest paragraph: words and beginning."""

    words: int
    sentences: int
    longest: int
    begins: str

    @property
    def mean(self) -> float:
        return self.words / max(self.sentences, 1)

    @property
    def readable(self) -> bool:
        return self.mean <= LONGEST_MEAN and self.longest <= LONGEST_PARAGRAPH


# Figures


def numbers(text: str) -> list[Number]:
    """The numbers of a markdown text, without those that `FREE` lets pass."""
    for pattern in FREE.values():
        text = pattern.sub(lambda hit: " " * len(hit[0]), text)

    found: list[Number] = []
    follows = None  # the number behind the one that is looked at
    for hit in reversed([*NUMBER.finditer(text)]):
        comment = COMMENT.match(text, hit.end())
        end = comment.end() if comment else hit.end()
        joined = JOINED.match(text, end)
        in_range = follows is not None and joined is not None and joined.end() == follows.start()
        unit = UNIT if hit[0][-1].isdigit() else TIMES
        has_unit = bool(unit.match(text, end)) or (in_range and found[-1].unit)
        has_point = "." in hit[0] or (in_range and found[-1].point)

        about = bool(re.search(r"\b(?:about|almost|nearly|around|some)\s+$", text[: hit.start()]))
        around = COMMENT.sub("", text[max(hit.start() - 40, 0) : hit.end() + 30])
        name = comment[1] if comment else ""
        found.append(Number(hit[0], name, has_unit, has_point, about, " ".join(around.split())))
        follows = hit
    return found[::-1]


def value(written: str) -> float:
    """What a number in digits or in a word says."""
    if written.lower() in WORDS:
        return float(WORDS.index(written.lower()))
    return float(written.replace(",", "").replace("−", "-"))


def agrees(number: Number, printed: float) -> bool:
    """Whether a printed value, rounded to the digits of the text, is the number of the text."""
    digits = number.written.replace(",", "")
    place = len(digits.partition(".")[2])
    if number.about and not place and digits.isdigit():
        place = len(digits.rstrip("0")) - len(digits)
    # A value that lies half-way may be rounded either way.
    return abs(printed - value(number.written)) <= 0.5 * 10.0**-place * (1 + 1e-9)


def figures(nb: Any) -> dict[str, list[float]]:
    """What the cells tagged `figures` print, by name: one value a name, if all is well."""
    found: dict[str, list[float]] = {}
    for cell in nb.cells:
        if "figures" in cell.metadata.get("tags", ()):
            for output in cell.get("outputs", ()):
                for name, printed in PRINTED.findall(output.get("text", "")):
                    found.setdefault(name, []).append(float(printed.replace(",", "")))
    return found


def settings(nb: Any) -> set[float]:
    """The numbers with a decimal point that stand in the notebook's code."""
    code = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "code")
    return {float(written) for written in SETTING.findall(code)}


def untrue(nb: Any) -> list[str]:
    """What is wrong with the figures in a notebook's text: the cell, the place, and the remedy."""
    known, free, found = figures(nb), settings(nb), []
    for name, values in known.items():
        if len(values) > 1:
            found.append(
                f"the figure {name} is printed {len(values)} times; give each its own name"
            )
    for i, cell in enumerate(nb.cells):
        if cell.cell_type == "markdown":
            for number in numbers(cell.source):
                fault = _fault(number, known, free)
                if fault:
                    found.append(f"cell {i}, “{number.around}”: {fault}")
    return found


def _fault(number: Number, known: dict[str, list[float]], free: set[float]) -> str:
    """What is wrong with one number, or nothing."""
    written, name = number.written, number.name
    if name == GIVEN:
        return ""
    if not name:
        is_set = value(written) in free
        if not number.unit and (is_set or not number.point):
            return ""
        return f"{written} names no figure; write {written}<!--name--> after a line “name = value”"
    if name not in known:
        return f"no cell tagged figures prints “{name} = ...”"
    if not agrees(number, known[name][0]):
        return f"{written} is written, but {name} = {known[name][0]:g} was printed"
    return ""


TAGGED = re.compile(rf"({NUMBER.pattern})(?=<!--\s*([\w-]+)\s*-->)")


def correct(nb: Any) -> list[str]:
    """Put the printed values into a notebook's text, each with the digits of the number before it.

    Whether the sentence around it is still true, only a reader can say.

    Returns:
        A line per number that changed: the cell, the figure, the number before and after.
    """
    known, changes = figures(nb), []
    for i, cell in enumerate(nb.cells):
        if cell.cell_type != "markdown":
            continue

        def renew(hit: re.Match[str], text: str = cell.source, where: int = i) -> str:
            written, name = hit[1], hit[2]
            about = bool(re.search(r"\babout\s+$", text[: hit.start()]))
            number = Number(written, name, False, False, about, "")
            if name not in known or agrees(number, known[name][0]):
                return written
            new = _as_written(number, known[name][0])
            changes.append(f"cell {where}, {name}: {written} -> {new}")
            return new

        cell.source = TAGGED.sub(renew, cell.source)
    return changes


def _as_written(number: Number, printed: float) -> str:
    """A printed value in the form of a number of the text: word or digits, so many decimals."""
    old = number.written
    if old.lower() in WORDS and 0 <= round(printed) < len(WORDS):
        word = WORDS[round(printed)]
        return word.capitalize() if old[0].isupper() else word

    digits = old.replace(",", "")
    place = len(digits.partition(".")[2])
    if number.about and not place and digits.isdigit():
        place = len(digits.rstrip("0")) - len(digits)  # the zeros after "about" are no digits
    new = f"{round(printed, place):,.{max(place, 0)}f}"
    return new if "," in old or abs(printed) >= 10_000 else new.replace(",", "")


# Sentences


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs and list items of a markdown text, as plain words."""
    text = FENCED.sub("\n\n", text)
    text = DISPLAYED.sub(" formula ", text)
    text = INLINE_CODE.sub("code", FORMULA.sub("formula", text))
    text = re.sub(r"<!--.*?-->|<[^>]+>", "", text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text)
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if not re.match(r"\s*(?:\||#|---)", line)]
        # Every item of a list is read by itself.
        items = re.split(r"^\s*(?:[-*+]|\d+\.)\s+", "\n".join(lines), flags=re.MULTILINE)
        for item in items:
            plain = " ".join(re.sub(r"[*_>]", " ", item).split())
            if re.search(r"[A-Za-z]{2}", plain):
                yield plain


# A full stop behind these does not end a sentence.
SHORTENED = re.compile(r"\b(e\.g|i\.e|vs|eq|eqs|no|cf|al|op|fig|etc)\.", re.IGNORECASE)


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph of plain words."""
    kept = SHORTENED.sub(lambda hit: hit[0].replace(".", ""), paragraph)
    parts = re.split(r"(?<=[.!?])[\"”')]*\s+(?=[\"“'(A-Z0-9]|code\b|formula\b)", kept)
    return [part for part in parts if words(part)]


def words(text: str) -> int:
    return len(re.findall(r"[\w'’][\w'’.,:/%-]*", text))


def measure(texts: Iterable[str]) -> Words:
    """The words, sentences and longest paragraph of markdown texts."""
    every = [paragraph for text in texts for paragraph in paragraphs(text)]
    counts = [words(sentence) for paragraph in every for sentence in sentences(paragraph)]
    longest = max(every, key=words, default="")
    return Words(sum(counts), len(counts), words(longest), longest[:50])


def markdown(path: Path) -> list[str]:
    """The markdown of a page, or of a notebook's text cells."""
    if path.suffix == ".md":
        return [path.read_text(encoding="utf-8")]
    nb = nbformat.read(path, 4)
    return [cell.source for cell in nb.cells if cell.cell_type == "markdown"]


def table(paths: Iterable[Path]) -> str:
    """A line per file: the mean sentence and the longest paragraph, in words."""
    lines = [f"{'file':32}{'words':>7}{'a sentence':>12}{'longest':>9}  paragraph"]
    for path in paths:
        found = measure(markdown(path))
        mark = "" if found.readable else " !"
        sizes = f"{found.words:7}{found.mean:12.1f}{found.longest:9}"
        lines.append(f"{path.name:32}{sizes}  {found.begins}{mark}")
    return "\n".join(lines)
