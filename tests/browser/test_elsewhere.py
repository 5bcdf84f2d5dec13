"""The studio in Notebook 7 and in Voila."""

import contextlib

import numpy as np
import pytest

from pomkit import masks

from .pointer import is_stroke, mask_of, painted, until

# One cell: where the studio is, the proof is, too, whatever the page does with cells out of sight.
CELLS = [
    """import numpy as np
import pomkit
from tests.browser.proof import Proof
painter = studio = pomkit.Studio("tiny", pomkit.read_midi(pomkit.data.songs()["auld_lang_syne"]))
proof = Proof()
display(studio, proof)"""
]

# The same bytes, as other front ends hand them to a page.
AS_BYTES = """(() => {
    const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    const pairs = (it) => Object.entries(it).map(([name, each]) => [name, convert(each)]);
    const all = (it) => it?.constructor === Object ? Object.fromEntries(pairs(it)) : it;
    const convert = (it) => it instanceof DataView ? bytes(it) : all(it);
    const shown = () => JSON.stringify([desk.now, [...desk.cells], desk.odd]);
    const {model} = desk, before = shown();
    desk.model = {get: (name) => convert(model.get(name))};
    desk.readAll();
    desk.readOdd();
    const after = shown();
    desk.model = model;
    return [before === after, desk.now.length, desk.cells.some(Boolean), desk.odd.length];
})()"""


def first_stroke(desk, start, end, tries=3):
    """The mask after a stroke; on a slow machine the page may still move when the mouse comes."""
    for _ in range(tries):
        desk.box(".pomkit-studio .ink")
        desk.drag(start, end, steps=40)
        with contextlib.suppress(AssertionError):
            until(lambda: mask_of(desk).any(), "the first stroke is there", seconds=30)
            break
    return painted(desk)


@pytest.mark.parametrize("desk", ["notebook", "voila"], indirect=True)
def test_painting_and_composing(desk):
    desk.open()
    desk.run_all() if desk.kind == "notebook" else desk.wait_for_canvas()
    mask = first_stroke(desk, (20, 70), (60, 50))
    assert is_stroke(mask, [(20, 70), (60, 50)])
    until(lambda: has_focus(desk, ".pomkit-studio"), "keys are the studio's")
    if desk.kind == "notebook":
        for key in ("x", "d", "d"):
            desk.page.keyboard.press(key)
    desk.page.keyboard.press("Control+z")
    until(lambda: not desk.ask("bool(studio.mask.any())"), "the stroke is undone")
    desk.drag((40, None), (70, None))
    mask = painted(desk)
    assert np.array_equal(mask, masks.bars(512, 3, 5))
    before = np.array(desk.ask("studio.picture.tolist()", "studio.set(n=1, steps=8)"))
    desk.page.keyboard.press("c")
    composed = "len(studio.history) == 2 and not studio.session.composing"
    until(lambda: desk.ask(composed), "it has composed")
    after = np.array(desk.ask("studio.picture.tolist()"))
    assert (after[~mask] == before[~mask]).all() and (after != before).any()
    until(lambda: desk.of_page("desk.player.synth.level()") > 0, "it plays")
    desk.shot(desk.kind)
    says_the_same_of_other_bytes(desk)
    has_all_ticks(desk)


def has_focus(desk, what):
    """Whether keys go to an element of the page, or into it."""
    return desk.page.evaluate("what => !!document.activeElement.closest(what)", what)


def says_the_same_of_other_bytes(desk):
    """Assert that a page shows the same where bytes come as another kind of view."""
    desk.ask("0", "studio.doubt()")
    until(lambda: desk.of_page("desk.odd.length"), "the doubt is there")
    is_same, notes, is_marked, odd = desk.of_page(AS_BYTES)
    assert is_same
    assert notes > 400 and odd > 400
    assert is_marked


def has_all_ticks(desk):
    """Assert that the front end does the seven things that a studio needs."""
    desk.box(".proof button")
    desk.page.click(".proof button")
    desk.page.locator(".proof").focus()
    until(lambda: has_focus(desk, ".proof"), "keys are the proof's")
    desk.page.keyboard.press("x")
    ticks = desk.page.locator(".proof")
    until(lambda: ticks.inner_text().count("✓") == 7, "all ticks are there")
    assert "✗" not in ticks.inner_text()
