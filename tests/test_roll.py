"""The widget of the page, without a page: what it sends down, and what it does with a message."""

import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("anywidget")
from pomkit.music.tables import NOTE_DTYPE  # noqa: E402
from pomkit.studio.roll import PAGE, SCRIPTS, Roll, note_table, packed  # noqa: E402


@pytest.fixture
def roll():
    """A widget that keeps what it is told, in `heard`, and what it sends, in `sent`."""
    heard, sent = [], []
    made = Roll(lambda message, data: heard.append((message, data)))
    made.send = lambda content, buffers=None: sent.append((content, buffers))
    made.heard, made.sent = heard, sent
    yield made
    made.close()


def test_notes_are_told_as_six_numbers_each():
    notes = np.array([(0, 4, 60, 80, 1), (300, 70_000, 72, 127, 0)], NOTE_DTYPE)
    table = np.frombuffer(note_table(notes, np.array([False, True])), "<i4").reshape(-1, 6)
    assert table.tolist() == [[0, 4, 60, 80, 1, 0], [300, 70_000, 72, 127, 0, 1]]
    assert note_table(notes[:0], np.zeros(0, bool)) == b""


@pytest.mark.parametrize("width", [1, 8, 13])
def test_cells_are_told_as_bits_row_by_row(width):
    cells = np.random.default_rng(width).random((128, width)) < 0.5
    bits = np.frombuffer(packed(cells), np.uint8).reshape(128, -1)
    assert np.array_equal(np.unpackbits(bits, axis=1)[:, :width], cells)


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
