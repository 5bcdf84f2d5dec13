"""The studio in Notebook 7 and in Voila."""

import numpy as np
import pytest

from pomkit import masks

from .pointer import is_stroke, painted, until

CELLS = [
    """import numpy as np
import pomkit
painter = studio = pomkit.Studio("tiny", pomkit.read_midi(pomkit.data.songs()["auld_lang_syne"]))
display(studio)"""
]


@pytest.mark.parametrize("desk", ["notebook", "voila"], indirect=True)
def test_painting_and_composing(desk):
    desk.open()
    desk.run_all() if desk.kind == "notebook" else desk.wait_for_canvas()
    desk.box(".pomkit-studio .ink")
    desk.drag((20, 70), (60, 50), steps=40)
    mask = painted(desk)
    assert is_stroke(mask, [(20, 70), (60, 50)])
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
