"""The widget of the page, without a page: what it sends down, and what it does with a message."""

import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("anywidget")
from pomkit.studio.roll import PAGE, SCRIPTS, Roll  # noqa: E402


@pytest.fixture
def roll():
    """A widget that keeps what it is told, in `heard`, and what it sends, in `sent`."""
    heard, sent = [], []
    made = Roll(lambda message, data: heard.append((message, data)))
    made.send = lambda content, buffers=None: sent.append((content, buffers))
    made.heard, made.sent = heard, sent
    yield made
    made.close()


def test_tables_are_told_as_bytes_wherever_they_lie(roll):
    notes = np.array([(0, 4, 60, 80, 1, 0), (300, 70_000, 72, 127, 0, 1)])
    roll.show("notes", notes)
    assert np.frombuffer(roll.notes, "<i4").reshape(-1, 6).tolist() == notes.tolist()
    roll.show("candidates", {"tables": [notes, notes[:0]], "chosen": 1})
    assert roll.candidates == {"tables": [roll.notes, b""], "chosen": 1}
    roll.show("live", None)
    assert roll.live == b""


def test_a_message_is_handed_on_and_then_answered(roll):
    message = {"do": "open", "name": "a.mid", "view": 7, "n": 3}
    roll._handle_custom_msg(message, [memoryview(b"MThd")])
    assert roll.heard == [(message, [b"MThd"])]
    assert roll.sent == [({"do": "done", "view": 7, "n": 3}, None)]


def test_a_message_that_fails_is_answered_too(roll):
    roll._act = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        roll._receive(roll, {"do": "ping", "view": 1, "n": 1}, [])
    assert [content["do"] for content, _ in roll.sent] == ["done"]


def test_bytes_go_to_the_page_that_asked(roll):
    roll.answer({"do": "save", "view": 5, "n": 9}, "file", b"RIFF", name="a.wav")
    assert roll.sent == [({"do": "file", "view": 5, "name": "a.wav"}, [b"RIFF"])]


def test_the_scripts_are_one_small_module_that_loads_nothing():
    module = Roll._esm
    assert {path.name for path in PAGE.glob("*.js")} == set(SCRIPTS)
    assert len(module.encode()) < 200_000
    assert re.findall(r"^export\b.*", module, re.M) == ["export default { render };"]
    assert not re.search(r"^import\b|\bimport\(|https?://(?!www\.w3\.org/2000/svg)", module, re.M)


def test_without_anywidget_the_error_offers_the_painter():
    code = (
        "import sys; sys.modules['anywidget'] = None\n"
        "import pomkit\nprint(pomkit.MaskPainter(16).mask.shape)\n"
        "try:\n    import pomkit.studio.roll\nexcept pomkit.PomkitError as fault:\n    print(fault)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "(128, 16)" in done.stdout
    assert "pip install 'pomkit[widgets]', or paint with pomkit.MaskPainter" in done.stdout
