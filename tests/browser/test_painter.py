"""The mask painter in JupyterLab, with a real mouse."""

import pytest

from pomkit import masks

from .pointer import is_stroke, mask_of, painted, until

# fmt: off
CELLS = ["""import numpy as np
import pomkit
song = pomkit.read_midi(pomkit.data.songs()["auld_lang_syne"])
painter = pomkit.MaskPainter(song)
painter"""]
# fmt: on


@pytest.fixture(scope="module", autouse=True)
def opened(desk):
    desk.open()
    desk.run_all()


@pytest.fixture
def clean(desk):
    """The painter as the cell made it, the brush in hand."""
    desk.ask(
        "0",
        "painter.load(song)",
        "first = {'tool': 'brush', 'eraser': False, 'radius': 2, 'zoom': 8, 'left': 0}",
        "for name, value in first.items(): painter.controls[name].value = value",
    )
    return desk


def test_a_stroke_marks_what_is_under_it_to_one_cell_and_is_undone(clean):
    clean.drag((20, 70), (60, 50), steps=40)
    mask = painted(clean)
    assert is_stroke(mask, [(20, 70), (60, 50)])
    clean.shot("stroke")
    clean.button("undo")
    until(lambda: not mask_of(clean).any(), "the stroke is undone")
    clean.button("repeat")
    until(lambda: (mask_of(clean) == mask).all(), "it is done again")


@pytest.mark.parametrize(
    ("tool", "points", "expected"),
    [
        ("box", [(30, 72), (50, 60)], masks.box(512, (60, 72), (30, 51))),
        ("line", [(30, 72), (50, 60)], masks.stroke(512, [(30, 72), (50, 60)], 2)),
        ("brush", [(20, None), (70, None)], masks.bars(512, 2, 5)),  # on the ruler
        ("brush", [(-1, 60), (-1, 71)], masks.box(512, (60, 71))),  # on the keys
    ],
)
def test_shapes(clean, tool, points, expected):
    clean.page.click(f"button:text-is('{tool}')")
    clean.drag(*points)
    mask = painted(clean)
    if tool == "line":
        assert (
            mask ^ expected
        ).sum() <= 12  # the ends of a line are not at cell centres to the last bit
    else:
        assert (mask == expected).all()


def test_a_polygon_by_its_corners_and_one_drawn_round(clean):
    corners = [(20, 50), (60, 50), (40, 75)]
    clean.page.click("button:text-is('polygon')")
    clean.click(*corners, corners[0])
    first = painted(clean)
    assert (
        first ^ masks.polygon(512, corners)
    ).sum() < 90  # of 1,000: clicks are not at cells' centres to the last bit
    clean.drag((70, 50), (90, 50), (90, 70), (70, 70), (71, 52))
    until(lambda: mask_of(clean)[127 - 60, 80], "the second one is there")
    assert not (mask_of(clean) & ~first & ~masks.box(512, (49, 71), (69, 92))).any()


def test_the_eraser_and_a_release_outside(clean):
    clean.drag((20, None), (70, None))
    full = painted(clean)
    clean.button("eraser")
    clean.page.mouse.move(*clean.at(40, 60))
    clean.page.mouse.down()
    clean.page.mouse.move(*clean.at(40, 66), steps=10)
    x, y = clean.at(40, 66)
    clean.page.mouse.move(x - 900, y, steps=3)  # out of the canvas, and released there
    clean.page.mouse.up()
    until(lambda: not clean.ask("painter.drag.held"), "the stroke has ended")
    mask = mask_of(clean)
    assert not mask[127 - 66 : 128 - 60, 40].any() and (mask <= full).all() and mask[127 - 90, 40]
    clean.page.mouse.move(*clean.at(50, 80), steps=5)  # nothing is painted any more
    assert (mask_of(clean) == mask).all()


def test_a_finger_paints(clean):
    clean.touch(*((step, 60) for step in range(20, 40)))
    mask = painted(clean)
    assert mask[127 - 60, 20:40].all() and not mask[:, 45:].any()


def test_the_pencil_draws_moves_and_deletes_notes(clean):
    clean.ask("0", "painter.load(128)", "painter.fit()")
    clean.page.click("button:text-is('pencil')")

    def notes():
        return clean.ask("[n[:3] for n in painter.song.notes.tolist()]")

    clean.drag((16, 64), (23, 64))
    until(lambda: notes() == [[16, 8, 64]], "a note is drawn")
    clean.drag((18, 64), (34, 67))
    until(lambda: notes() == [[32, 8, 67]], "it is moved")
    clean.click((8, 60))
    until(lambda: notes() == [[8, 2, 60], [32, 8, 67]], "a click is a short note")
    clean.button("eraser")
    clean.click((36, 67))
    until(lambda: notes() == [[8, 2, 60]], "one is deleted")
    clean.shot("pencil")
