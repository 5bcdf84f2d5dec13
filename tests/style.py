"""How much one line of the package asks of its reader: the measures that ruff does not have.

`python -m tests.style` prints a line per file and the figures of the whole package;
`python -m tests.style pomkit/music` those of a folder, with every place that breaks a rule.
The rules stand in CONTRIBUTING.md; tests/test_style.py holds the package to them.
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pomkit"

MOST_NODES = 40  # syntax nodes of a statement
MOST_LINES = 40  # code lines of a function
MOST_COLUMNS = 100
MOST_POSITIONAL = 4
MOST_NODES_A_LINE = 12  # in the package
MOST_NODES_A_LINE_OF_A_FILE = 15  # a short one may be all formulas
LONG_BODY = 15  # lines of a body that needs paragraphs

SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Expr)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ARRAYS = re.compile(r"\b(ndarray|Tensor|Picture|Pictures|Mask)\b")
# Functions whose positional form stands in published notebooks.
POSITIONAL_BEFORE = {
    "adherence", "cell_bound", "copied", "denoising_loss", "nearest", "random_mask", "rotary",
    "sample_cells", "seam_mask",
}  # fmt: skip
SHAPE = re.compile(r"\([^()]*,[^()]*\)|\(\w+,\)|\blike\b|\bshape\b|\bscalar\b")
RESHAPING = re.compile(
    r"\.(reshape|permute|movedim|moveaxis|swapaxes|view|flatten|unflatten)\(|np\.moveaxis\("
)
TRAILING = re.compile(
    r"\(.*\)|\b(steps?|pixels?|bytes?|seconds?|semitones?|hours?|minutes?|Hz|BPM|ticks?|bars?"
    r"|rows?|columns?|bits?|calls?|cells?|notes?|bool|int\d*|float\d*)\b|^# (noqa|type:|pragma|fmt:)"
)


@dataclass
class Report:
    """What was counted in one file, or in many added up, and where rules are broken."""

    code_lines: int = 0
    nodes: int = 0
    statements: int = 0
    assignments: int = 0
    long_bodies: int = 0
    reshaping_lines: int = 0
    public_functions: int = 0
    faults: list[tuple[str, int, str]] = field(default_factory=list)  # rule, line, what

    def count(self, rule: str) -> int:
        return sum(found == rule for found, *_ in self.faults)

    def figures(self) -> dict[str, float]:
        """The figures of the table in CONTRIBUTING.md: shares are between 0 and 1."""
        return {
            "nodes per line": self.nodes / max(self.code_lines, 1),
            "big statements": self.count("big statement") / max(self.statements, 1),
            "long lines": self.count("long line"),
            "tuple assignments": self.count("tuple assignment") / max(self.assignments, 1),
            "paragraphs": 1 - self.count("no paragraphs") / max(self.long_bodies, 1),
            "shapes on reshaping lines": 1 - self.count("no shape") / max(self.reshaping_lines, 1),
            "long functions": self.count("long function"),
            "docstrings": 1 - self.docstring_faults() / max(self.public_functions, 1),
        }

    def docstring_faults(self) -> int:
        """How many public functions have a docstring that says too little."""
        return len({line for rule, line, _ in self.faults if rule == "docstring"})


@cache
def measure(path: Path) -> Report:
    """Measure one file."""
    text = path.read_text()
    source = Source(text)
    report = Report(
        code_lines=len(source.code),
        nodes=sum(1 for _ in ast.walk(source.tree)),
        statements=len(source.statements()),
        assignments=sum(isinstance(node, ast.Assign) for node in ast.walk(source.tree)),
    )
    for check in CHECKS:
        report.faults += [(check.__name__.replace("_", " "), *fault) for fault in check(source)]
    report.long_bodies = sum(1 for _ in source.long_bodies())
    report.reshaping_lines = sum(1 for _ in source.reshaping_lines())
    report.public_functions = sum(1 for _ in source.public_functions())
    return report


class Source:
    """A file's text, its syntax tree, and which of its lines are code."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.splitlines()
        self.tree = ast.parse(text)
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        self.comments = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}
        self.code = {
            number
            for number, line in enumerate(self.lines, 1)
            if line.strip() and not line.strip().startswith("#")
        } - set(self.docstring_lines())

    def docstring_lines(self) -> Iterator[int]:
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)) and ast.get_docstring(node):
                yield from range(node.body[0].lineno, node.body[0].end_lineno + 1)

    def functions(self) -> Iterator[ast.FunctionDef]:
        yield from (node for node in ast.walk(self.tree) if isinstance(node, FUNCTIONS))

    def statements(self) -> list[ast.stmt]:
        """Assignments, returns and expressions, but no docstrings and no tables of literals."""
        return [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, SIMPLE)
            and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        ]

    def long_bodies(self) -> Iterator[tuple[ast.FunctionDef, list[str]]]:
        """Functions whose bodies need paragraphs, with the bodies' lines."""
        for function in self.functions():
            body = function.body[1:] if ast.get_docstring(function) else function.body
            if body and function.end_lineno - body[0].lineno + 1 >= LONG_BODY:
                yield function, self.lines[body[0].lineno - 1 : function.end_lineno]

    def reshaping_lines(self) -> Iterator[ast.stmt]:
        """Statements that change the shape of an array in one of their lines."""
        for statement in self.statements():
            lines = self.lines[statement.lineno - 1 : statement.end_lineno]
            if any(RESHAPING.search(line.partition("#")[0]) for line in lines):
                yield statement

    def public_functions(self) -> Iterator[ast.FunctionDef]:
        """Top-level functions and methods of top-level classes without an underscore."""
        for node in self.tree.body:
            if isinstance(node, FUNCTIONS) and not node.name.startswith("_"):
                yield node
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                inner = (child for child in node.body if isinstance(child, FUNCTIONS))
                yield from (child for child in inner if not child.name.startswith("_"))


Faults = Iterator[tuple[int, str]]


def long_line(source: Source) -> Faults:
    for number, line in enumerate(source.lines, 1):
        if len(line) > MOST_COLUMNS:
            yield number, f"{len(line)} columns"


def long_function(source: Source) -> Faults:
    for function in source.functions():
        lines = sum(function.lineno <= line <= function.end_lineno for line in source.code)
        if lines > MOST_LINES:
            yield function.lineno, f"{function.name} has {lines} code lines"


def big_statement(source: Source) -> Faults:
    for statement in source.statements():
        nodes = sum(1 for _ in ast.walk(statement))
        if nodes > MOST_NODES and not is_literal_table(statement):
            yield statement.lineno, f"{nodes} syntax nodes"


def is_literal_table(statement: ast.stmt) -> bool:
    """A constant of the module, written down: a dict, list, tuple, set, or a package's face."""
    value = getattr(statement, "value", None)
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.col_offset:
        return False
    is_face = isinstance(value, ast.Call) and ast.unparse(value.func) == "face"
    return is_face or isinstance(value, ast.Dict | ast.List | ast.Tuple | ast.Set)


def tuple_assignment(source: Source) -> Faults:
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Tuple):
            continue
        if isinstance(node.value, ast.Tuple) and not is_swap(node):
            yield node.lineno, ast.unparse(node)[:60]


def is_swap(node: ast.Assign) -> bool:
    """The same names on both sides, in another order."""
    left, right = ast.dump(node.targets[0]), ast.dump(node.value)
    return sorted(re.findall(r"id='\w+'", left)) == sorted(re.findall(r"id='\w+'", right))


def no_paragraphs(source: Source) -> Faults:
    for function, lines in source.long_bodies():
        if all(line.strip() for line in lines):
            yield function.lineno, f"{function.name} has no blank line"


def no_shape(source: Source) -> Faults:
    for statement in source.reshaping_lines():
        numbers = range(statement.lineno, statement.end_lineno + 1)
        comments = [source.comments[n].string for n in numbers if n in source.comments]
        if not any(SHAPE.search(comment) for comment in comments):
            yield statement.lineno, source.lines[statement.lineno - 1].strip()[:60]


def trailing_comment(source: Source) -> Faults:
    for number, token in source.comments.items():
        if number in source.code and not TRAILING.search(token.string):
            yield number, token.string[:60]


def positional(source: Source) -> Faults:
    for function in source.functions():
        names = [a.arg for a in [*function.args.posonlyargs, *function.args.args]]
        count = len([name for name in names if name not in ("self", "cls")])
        known = function.name.startswith("__") or function.name in POSITIONAL_BEFORE
        if count > MOST_POSITIONAL and not known:
            yield function.lineno, f"{function.name} has {count} positional parameters"


def guide(source: Source) -> Faults:
    if not ast.get_docstring(source.tree):
        yield 1, "the module has no docstring"


def docstring(source: Source) -> Faults:
    for function in source.public_functions():
        said = ast.get_docstring(function) or ""
        if not said:
            yield function.lineno, f"{function.name} has no docstring"
            continue
        yield from ((function.lineno, fault) for fault in unsaid(function, said))


def unsaid(function: ast.FunctionDef, said: str) -> Iterator[str]:
    """What a docstring should say and does not: arguments, shapes, errors."""
    args = function.args
    named = [a for a in [*args.posonlyargs, *args.args, *args.kwonlyargs] if a.arg != "self"]
    if len(named) > 3 and "see `" not in said:
        missing = [a.arg for a in named if a.arg != "cls" and a.arg not in said]
        if missing:
            yield f"{function.name}: the docstring does not name {', '.join(missing)}"
    notes = [ast.unparse(a.annotation) for a in named if a.annotation]
    notes += [ast.unparse(function.returns)] if function.returns else []
    if any(ARRAYS.search(note) for note in notes) and not SHAPE.search(said):
        yield f"{function.name}: an array without its shape"
    if raises(function) and "Error" not in said and "raises as" not in said.lower():
        yield f"{function.name}: the error that it raises is not named"


def raises(function: ast.FunctionDef) -> bool:
    """Whether the function itself raises, or checks its arguments, which raises."""
    for node in ast.walk(function):
        raised = node.exc if isinstance(node, ast.Raise) else None
        if isinstance(raised, ast.Call) and ast.unparse(raised.func).endswith("Error"):
            return ast.unparse(raised.func) != "NotImplementedError"
        if isinstance(node, ast.Call) and re.match(r"check_\w+$", ast.unparse(node.func)):
            return True
    return False


CHECKS = (
    long_line, long_function, big_statement, tuple_assignment, no_paragraphs, no_shape,
    trailing_comment, positional, guide, docstring,
)  # fmt: skip
RULES = [check.__name__.replace("_", " ") for check in CHECKS]


def error_messages(path: Path) -> Iterator[tuple[int, str]]:
    """The line and text of every error of pomkit's own family that a file raises.

    What is filled in stands as "{}". The reasons of `raise ... from`, inside another message, are
    ValueErrors and the like and are not among them.
    """
    family = ("PomkitError", "MidiError", "PictureError", "CheckpointError", "OptionError")
    for node in ast.walk(ast.parse(path.read_text())):
        raised = node.exc if isinstance(node, ast.Raise) else None
        if not isinstance(raised, ast.Call) or ast.unparse(raised.func) not in family:
            continue
        text = raised.args[0] if raised.args else None
        if isinstance(text, ast.Constant):
            yield node.lineno, str(text.value)
        if isinstance(text, ast.JoinedStr):
            parts = [v.value if isinstance(v, ast.Constant) else "{}" for v in text.values]
            yield node.lineno, "".join(map(str, parts))


# What to do about each fault.
HINTS = {
    "long line": f"at most {MOST_COLUMNS} columns, in code and docstrings",
    "long function": f"at most {MOST_LINES} code lines: name a stage, make it a function",
    "big statement": f"at most {MOST_NODES} syntax nodes: give a part of it a name",
    "tuple assignment": "one assignment a line, unless it swaps names",
    "no paragraphs": f"a body of {LONG_BODY} lines has blank lines; a comment heads each stage",
    "no shape": "a line with reshape, movedim, view, flatten ... ends in its shape: # (n, 128, width)",
    "trailing comment": "only shapes and units stand behind code; other comments stand above it",
    "positional": f"at most {MOST_POSITIONAL} parameters by position, the rest behind a *",
    "guide": "a module begins with a docstring: what it holds, its law, an example",
    "docstring": "say what it does; name each argument, or `see `Name.method``; give the shape of "
    "every array, (n, 128, width, 3), and the errors",
}


def files(*folders: str) -> list[Path]:
    """The Python files of the package, or of the folders and files named."""
    roots = [Path(folder).resolve() for folder in folders] or [PACKAGE]
    return sorted(f for root in roots for f in ([root] if root.is_file() else root.rglob("*.py")))


def total(reports: list[Report]) -> Report:
    """All reports added up."""
    whole = Report()
    for report in reports:
        for name, value in vars(report).items():
            setattr(whole, name, getattr(whole, name) + value)
    return whole


def names_with_two_meanings() -> dict[str, list[str]]:
    """Public top-level names that more than one file of the package defines."""
    homes: dict[str, list[str]] = {}
    for path in files():
        for name in set(defined(ast.parse(path.read_text()))):
            homes.setdefault(name, []).append(path.relative_to(PACKAGE).as_posix())
    return {name: found for name, found in sorted(homes.items()) if len(found) > 1}


def defined(tree: ast.Module) -> Iterator[str]:
    """The public names that a module itself defines: functions, classes, constants."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, *FUNCTIONS)):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def main(*folders: str) -> int:
    """Print the figures: a line per file, or every fault where folders are named.

    The exit code is 1 where a rule is broken.
    """
    reports = {path: measure(path) for path in files(*folders)}
    for path, report in reports.items():
        name = path.relative_to(ROOT).as_posix()
        if folders:
            for rule, line, what in sorted(report.faults, key=lambda fault: fault[1]):
                print(f"{name}:{line}: {rule}: {what}")
        counts = Counter(rule for rule, *_ in report.faults)
        dense = f"{report.nodes / max(report.code_lines, 1):.1f} nodes per line"
        print(name, dense, *(f"{rule}: {count}" for rule, count in counts.items()), sep="; ")
    whole = total(list(reports.values()))
    print(f"{len(reports)} files, {whole.code_lines} code lines")
    for name, value in whole.figures().items():
        print(f"{name}: {value:.3g}")
    for rule in {rule for rule, *_ in whole.faults}:
        print(f"{rule}: {HINTS[rule]}")
    print("names that more than one file defines:", names_with_two_meanings())
    return int(bool(whole.faults))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
