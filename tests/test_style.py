"""The rules for a line, a function and a file that ruff does not know; see CONTRIBUTING.md."""

import json

import pytest

from tests import style

# What each file still breaks: rule -> count. A count may only fall, and a file that is in order
# leaves the list. `python -m tests.test_style` writes it anew; it refuses to let a count rise.
RATCHET = style.ROOT / "tests" / "style_ratchet.json"
ALLOWED: dict[str, dict[str, int]] = json.loads(RATCHET.read_text())
# One word with the same meaning in several places: the entry points of the commands, and the
# functions that make a mask, or a rule, out of chords.
SHARED_NAMES = {"main", "run", "chords"}
FILES = {path.relative_to(style.ROOT).as_posix(): path for path in style.files()}


def counts(path) -> dict[str, int]:
    """How often a file breaks each rule, where it does."""
    report = style.measure(path)
    found = {rule: report.count(rule) for rule in style.RULES}
    dense = report.nodes / max(report.code_lines, 1)
    found["nodes per line"] = int(dense > style.MOST_NODES_A_LINE_OF_A_FILE)
    return {rule: count for rule, count in found.items() if count}


@pytest.mark.parametrize("name", FILES)
def test_a_file_keeps_the_rules(name):
    allowed = ALLOWED.get(name, {})
    worse = {rule: n for rule, n in counts(FILES[name]).items() if n > allowed.get(rule, 0)}
    faults = [fault for fault in style.measure(FILES[name]).faults if fault[0] in worse]
    assert not worse, "\n".join(f"{name}:{line}: {rule}: {what}" for rule, line, what in faults)


def test_one_name_has_one_meaning():
    allowed = ALLOWED.get("names with two meanings", {})
    assert set(style.names_with_two_meanings()) <= SHARED_NAMES | set(allowed)


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


def write_ratchet() -> None:
    """Write down what is still broken; a count that has risen is an error."""
    now = {name: found for name, path in FILES.items() if (found := counts(path))}
    for name, allowed in ALLOWED.items():
        risen = [rule for rule in allowed if now.get(name, {}).get(rule, 0) > allowed[rule]]
        if risen:
            raise SystemExit(f"{name}: {', '.join(risen)} rose; mend it instead")

    twice = set(style.names_with_two_meanings()) - SHARED_NAMES
    if twice:
        now["names with two meanings"] = dict.fromkeys(sorted(twice), 1)
    RATCHET.write_text(json.dumps(now, indent=1) + "\n")


if __name__ == "__main__":
    write_ratchet()
