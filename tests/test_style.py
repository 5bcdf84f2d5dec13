"""The rules for a line, a function and a file that ruff does not know; see CONTRIBUTING.md."""

import pytest

from tests import style

# One word with the same meaning in several places: the entry points of the commands, and the
# functions that make a mask, or a rule, out of chords.
SHARED_NAMES = {"main", "run", "chords", "command_line"}
FILES = {path.relative_to(style.ROOT).as_posix(): path for path in style.files()}


@pytest.mark.parametrize("name", FILES)
def test_a_file_keeps_the_rules(name):
    report = style.measure(FILES[name])
    faults = [f"{name}:{line}: {rule}: {what}" for rule, line, what in report.faults]
    assert not faults, "\n".join(faults)
    assert report.nodes / max(report.code_lines, 1) <= style.MOST_NODES_A_LINE_OF_A_FILE


def test_the_package_is_not_dense():
    whole = style.total([style.measure(path) for path in FILES.values()])
    assert whole.figures()["nodes per line"] <= style.MOST_NODES_A_LINE


def test_one_name_has_one_meaning():
    assert set(style.names_with_two_meanings()) <= SHARED_NAMES


# Names that may begin a sentence of an error.
NAMES = ("FluidSynth", "POMKIT_")


@pytest.mark.parametrize("name", FILES)
def test_an_error_says_what_to_do_in_one_form(name):
    """What was given, what is wrong with it; and after a semicolon what to do. No full stop."""
    for line, text in style.error_messages(FILES[name]):
        place = f"{name}:{line}: {text}"
        assert not text.endswith("."), place
        assert text.startswith(NAMES) or not text[:2].istitle(), place
        # "it is damaged": the reason inside another error's message.
        reason = text.startswith(("it ", "its ")) or not text.replace("{}", "").strip()
        assert reason or ";" in text or ": " in text, place


BROKEN = '''
def f(a, b, c, d, e):
    a, b = c.reshape(2, 3), d  # look at this
    return a


def g(picture: np.ndarray) -> np.ndarray:
    """Do something."""
    raise OptionError("no")
'''


def test_the_measures_see_what_they_shall(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN + "x = " + "+".join(["1"] * 60) + "\n")
    found = {rule for rule, *_ in style.measure(path).faults}
    assert found == {
        "tuple assignment", "no shape", "trailing comment", "positional", "guide", "docstring",
        "big statement", "long line",
    }  # fmt: skip


def test_a_swap_and_a_shape_are_no_faults(tmp_path):
    path = tmp_path / "fine.py"
    path.write_text('"""A guide."""\na, b = b, a\nx = y.reshape(2, 3)  # (2, 3)\n')
    assert not style.measure(path).faults
