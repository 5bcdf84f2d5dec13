"""The studio in JupyterLab, with a real mouse and keys: ink, sound, composing, files, what survives."""

import importlib.util
import itertools
import json
import os
import statistics
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import pomkit
from pomkit import masks

from .pointer import is_stroke, mask_of, painted, until

# fmt: off
CELLS = ["""import numpy as np
import pomkit
song = pomkit.read_midi(pomkit.data.songs()["auld_lang_syne"])
model = pomkit.load_model("tiny")
after_stop = []
model.register_forward_pre_hook(lambda *_: after_stop.append(studio.session._halt.is_set()))
painter = studio = pomkit.Studio(model, song)
studio""", """import anywidget
class Empty(anywidget.AnyWidget):
    _esm = '''export default {render({el}) {
        const canvas = document.createElement("canvas"), g = canvas.getContext("2d");
        Object.assign(canvas, {className: "empty", width: 800, height: 100});
        el.append(canvas);
        let at = null;
        canvas.onpointermove = (event) => {
            if (!at) requestAnimationFrame(() => { g.fillRect(at[0] - 8, at[1] - 8, 16, 16); at = null; });
            at = [event.offsetX, event.offsetY];
        };
    }}'''
Empty()"""]
# fmt: on
THREADS = "sum(t.name == 'pomkit studio' for t in threading.enumerate())"


@pytest.fixture(scope="module", autouse=True)
def opened(desk):
    desk.open()
    desk.run_all()


@pytest.fixture
def clean(desk):
    """The studio as the cell made it, the brush in hand, and the roll in focus."""
    desk.page.set_viewport_size({"width": 1280, "height": 1000})
    musics = desk.ask(
        "studio.roll.musics",
        "studio.session.stop(); studio.session._idle.wait()",
        "studio.load(song)",
        "studio.set(n=1, steps=0, U=1)",
    )
    current = f"desk.musics === {musics} && desk.waiting.size === 0 && !desk.extent"
    until(lambda: desk.of_page(current), "the page is up to date")
    desk.of_page(
        "[desk.player.pause(), desk.setLoop(null), desk.setTool('brush'), desk.setRadius(2), desk.fit(), "
        "desk.more.root.hidden = desk.help.hidden = true, desk.draw(), desk.takeFocus()].length"
    )
    desk.box(".pomkit-studio .ink")
    return desk


# Painting


def test_a_stroke_marks_what_is_under_it_to_one_cell_and_is_undone(clean):
    clean.drag((20, 70), (60, 50), steps=40)
    mask = painted(clean)
    assert is_stroke(mask, [(20, 70), (60, 50)])
    clean.shot("stroke")
    clean.page.keyboard.press("m")
    until(lambda: clean.ask("studio.part") == "melody", "it is cut to the melody")
    clean.button("Undo")
    until(lambda: clean.of_page("desk.part") == "all", "the page shows that this is undone")
    clean.button("Undo")
    until(lambda: not mask_of(clean).any(), "the stroke is undone")
    clean.page.keyboard.press("Control+Shift+Z")
    until(lambda: (mask_of(clean) == mask).all(), "it is done again")


@pytest.mark.parametrize(
    ("key", "points", "expected"),
    [
        ("2", [(30, 72), (50, 60)], masks.box(512, (60, 72), (30, 51))),
        ("1", [(20, None), (70, None)], masks.bars(512, 2, 5)),  # on the ruler
        ("1", [(-1, 60), (-1, 71)], masks.box(512, (60, 71))),  # on the keys
        (
            "3",
            [(30, 60), (50, 60), (50, 72), (30, 72), (30, 61)],
            masks.box(512, (61, 71), (31, 50)),
        ),
    ],
)
def test_shapes(clean, key, points, expected):
    clean.page.keyboard.press(key)
    clean.drag(*points)
    mask = painted(clean)
    if key == "3":  # its edge is not to the last cell
        assert mask[expected].all()
        assert not mask[~masks.box(512, (59, 73), (29, 52))].any()
    else:
        assert (mask == expected).all()


def test_a_lasso_by_its_corners_is_open_until_it_is_closed(clean):
    corners = [(20, 50), (60, 50), (40, 65)]
    clean.page.keyboard.press("3")
    clean.click(*corners)
    clean.page.keyboard.press("Escape")
    clean.click(*corners)
    clean.shot("lasso")
    assert not mask_of(clean).any()
    clean.page.keyboard.press("Enter")
    # Of 300 cells a row of 41 lies on the edge: clicks are not at cells' centres to the last bit.
    assert (painted(clean) ^ masks.polygon(512, corners)).sum() < 90
    clean.click((80, 50), (100, 50))
    clean.page.mouse.dblclick(*clean.at(90, 65))
    until(lambda: mask_of(clean)[127 - 53, 90], "a double click closes it")


def test_a_right_drag_and_alt_erase_and_a_drag_goes_on_outside(clean):
    clean.drag((20, None), (70, None))
    full = painted(clean)
    clean.drag((40, 60), (40, 66), button="right")
    until(lambda: not mask_of(clean)[127 - 63, 40], "it erases")
    until(lambda: not clean.page.locator(".lm-Menu").count(), "the page shows it")
    clean.page.keyboard.down("Alt")
    clean.drag((50, 60), (50, 66))
    clean.page.keyboard.up("Alt")
    until(lambda: not mask_of(clean)[127 - 63, 50], "so does Alt")
    mask = mask_of(clean)
    assert (mask <= full).all() and mask[127 - 75, 40]
    clean.page.mouse.move(*clean.at(30, 56))
    clean.page.mouse.down()
    clean.page.mouse.move(3, 300, steps=3)  # out of the panel, and released there
    clean.page.mouse.up()
    clean.page.mouse.move(*clean.at(100, 50), steps=5)
    until(lambda: clean.of_page("desk.waiting.size === 0"), "the stroke has ended")
    assert not mask_of(clean)[:, 90:].any()


def test_a_drag_beyond_the_edge_scrolls(clean):
    x, y = clean.at(70, None)
    seen = clean.of_page("desk.view.right")
    clean.page.mouse.move(x, y)
    clean.page.mouse.down()
    box = clean.page.locator(".ink").bounding_box()
    clean.page.mouse.move(box["x"] + box["width"] + 12, y, steps=5)
    until(lambda: clean.of_page("desk.view.left") > 40, "it scrolls")
    clean.page.mouse.up()
    columns = np.flatnonzero(painted(clean).any(axis=0))
    assert columns[0] == 64 and columns[-1] > seen


def test_a_finger_paints(clean):
    clean.touch(*((step, 60) for step in range(20, 40)))
    mask = painted(clean)
    assert mask[127 - 60, 20:40].all() and not mask[:, 45:].any()


def test_the_pencil_draws_moves_stretches_and_deletes_notes(clean):
    clean.ask("0", "studio.load(128)")
    clean.page.keyboard.press("4")
    until(lambda: clean.of_page("desk.song.width") == 128, "it is empty")

    def notes():
        return clean.ask("[n[:3] for n in studio.song.notes.tolist()]")

    def shows(expected, what):
        until(lambda: notes() == expected, what)
        until(lambda: clean.of_page("desk.now.length") == len(expected), "the page shows it")

    clean.drag((16, 64), (23, 64))
    shows([[16, 8, 64]], "a note is drawn")
    clean.drag((20, 64), (36, 67))
    shows([[32, 8, 67]], "it is moved")
    x, y = clean.at(39, 67)
    zoom = clean.of_page("desk.view.zoom")
    clean.page.mouse.move(x + zoom * 0.4, y)
    clean.page.mouse.down()
    clean.page.mouse.move(*clean.at(43, 67), steps=6)
    clean.page.mouse.up()
    shows([[32, 12, 67]], "its end is dragged")
    clean.shot("pencil")
    clean.page.mouse.dblclick(*clean.at(36, 67))
    shows([], "a double click deletes it")


# Keys


def test_keys_stay_inside_and_tab_and_saving_do_not(clean):
    cells = clean.page.locator(".jp-Cell").count()
    clean.page.click("button[data-tool=box]")
    for key in ("x", "d", "d", "a", "b", "Delete", "Shift+Enter", "ArrowUp", "z"):
        clean.page.keyboard.press(key)
    until(lambda: clean.of_page("!desk.get('doubt').busy && !desk.waiting.size"), "all is done")
    until(lambda: clean.page.locator(".jp-Cell").count() == cells, "the page shows it")
    until(lambda: clean.page.locator(".pomkit-studio").count() == 1, "the page shows it")
    clean.page.keyboard.press("Control+s")
    dirty = clean.page.locator(".lm-TabBar-tab.jp-mod-dirty")
    until(lambda: dirty.count() == 0, "the notebook is saved")
    clean.of_page("[desk.setPart('all'), desk.takeFocus()].length")
    for _ in range(60):
        clean.page.keyboard.press("Tab")
        if not clean.page.evaluate("document.activeElement.closest('.pomkit-studio')"):
            break
    else:
        raise AssertionError("Tab does not leave the studio")


def test_the_loop_by_keys_alone(clean):
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight"):
        clean.page.keyboard.press(key)
    until(lambda: (mask_of(clean) == masks.bars(512, 3, 4)).all(), "two bars are marked")
    clean.ask("0", "studio.set(n=2, steps=4)")
    clean.page.keyboard.press("c")
    until(lambda: clean.ask("len(studio.candidates)") == 2, "it has composed")
    until(lambda: clean.of_page("desk.player.playing"), "it plays by itself")
    clean.page.keyboard.press(".")
    until(lambda: clean.ask("studio.chosen") == 1, "the next candidate")
    clean.page.keyboard.press("Space")
    until(lambda: not clean.of_page("desk.player.playing"), "the page shows it")
    clean.page.keyboard.press("k")
    until(lambda: not mask_of(clean).any(), "it is kept")
    clean.page.keyboard.press("?")
    clean.page.wait_for_selector(".pomkit-studio .help:visible")
    clean.shot("keys")
    clean.page.keyboard.press("Escape")
    until(
        lambda: clean.page.locator(".pomkit-studio .help:visible").count() == 0, "the page shows it"
    )


# Latency


WATCH = """(name) => {
    const canvas = document.querySelector(name), context = canvas.getContext("2d");
    const found = window.latency = {pending: [], all: []};
    const pixel = (at) => context.getImageData(...at, 1, 1).data.join();
    canvas.addEventListener("pointermove", (event) => {
        if (window.latency !== found) return;
        const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
        const at = [Math.round((event.clientX - box.left) * scale), Math.round((event.clientY - box.top) * scale)];
        found.pending.push({at, then: performance.now(), before: pixel(at)});
    });
    (function frame() {
        if (window.latency === found) requestAnimationFrame(frame);
        found.pending = found.pending.filter(({at, then, before}) => {
            if (pixel(at) === before) return true;
            found.all.push(performance.now() - then);
        });
    })();
}"""


def latency(page, what, name, places):
    """The milliseconds of moves with the mouse down over a canvas, their median, printed."""
    page.mouse.move(*places[0])
    page.mouse.down()
    page.wait_for_timeout(200)
    page.evaluate(WATCH, name)
    for place in places[1:]:
        page.mouse.move(*place)
        page.wait_for_timeout(12)
    page.wait_for_timeout(400)
    page.mouse.up()
    took = sorted(page.evaluate("latency.all"))
    page.evaluate("window.latency = null")
    assert len(took) >= 0.9 * (len(places) - 1), what
    median, p90 = statistics.median(took), took[int(0.9 * len(took))]
    print(f"\n{what}: median {median:.1f} ms, p90 {p90:.1f}, {len(took)} moves")
    return median


def test_a_move_reaches_the_screen_at_once_even_if_the_kernel_is_busy(clean, tmp_path):
    """Milliseconds from a pointer event to the first frame in which the pixel under it has changed.

    Beside it an empty widget that fills one rectangle at a move.
    """
    page = clean.page

    def line(pitch):
        return [clean.at(step, pitch) for step in range(4, 92, 3)]

    clean.of_page("desk.setRadius(1)")
    page.wait_for_timeout(1000)
    idle = latency(page, "idle", ".ink", line(55))
    clean.ask("0", "studio.preset('bars:20')", "studio.start(n=4, steps=64, U=4)")
    until(lambda: clean.of_page("desk.wasBusy && desk.view.left > 0"), "the roll goes to bar 20")
    clean.of_page("[desk.fit(), desk.draw()].length")
    latency(page, "while it composes", ".ink", line(60))
    until(lambda: clean.of_page("desk.waiting.size === 0"), "the kernel knows the stroke")
    clean.ask("0", "studio.stop()", "studio.session._idle.wait()", "studio.clear()")
    until(lambda: clean.of_page("desk.waiting.size === 0 && !desk.extent"), "nothing is marked")

    # The kernel does nothing else until the file is there.
    free = tmp_path / "free"
    code = f"import os, time\nwhile not os.path.exists({str(free)!r}): time.sleep(0.05)"
    clean.client.execute(code, silent=True)
    page.wait_for_timeout(200)
    busy = latency(page, "while the kernel is busy", ".ink", line(65))
    page.wait_for_selector("text=the kernel is busy")
    shown = np.array(clean.of_page("[...desk.shownCells()]"), bool).reshape(128, 512)
    free.touch()
    until(lambda: clean.of_page("desk.waiting.size === 0"), "the kernel answers")
    assert (mask_of(clean) ^ shown).sum() <= 4

    page.locator(".empty").scroll_into_view_if_needed()
    box = clean.box(".empty")
    places = [(box["x"] + x, box["y"] + 50) for x in range(50, 750, 24)]
    empty = latency(page, "an empty widget", ".empty", places)
    assert max(idle, busy) < max(60, 3 * empty)


# Composing and sound


def test_a_new_melody_of_bars_5_to_8_is_heard_after_three_actions(clean):
    clean.page.set_viewport_size({"width": 1280, "height": 800})
    clean.page.locator(".pomkit-studio").evaluate("it => it.scrollIntoView({block: 'end'})")
    clean.page.wait_for_timeout(300)
    top = clean.page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop")
    before = np.array(clean.ask("studio.picture.tolist()", "studio.set(n=2, steps=6)"))
    clean.page.click("button[aria-label=melody]")
    clean.drag((70, None), (120, None))
    clean.page.click("text=Compose")
    until(lambda: clean.of_page("desk.player.synth.level()") > 0, "it sounds")
    assert 48 <= clean.of_page("desk.player.position()") < 80  # from a bar before
    assert clean.page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop") == top
    until(
        lambda: clean.page.locator(".words").inner_text() == "bars 5-8, melody", "the page shows it"
    )
    until(
        lambda: (
            clean.page.locator(".takes button").all_inner_texts()[-1] == "bars 5-8, melody, take 1"
        ),
        "the page shows it",
    )
    expected = masks.bars(512, 5, 8) & masks.melody(
        song := pomkit.read_midi(pomkit.data.songs()["auld_lang_syne"]), width=512
    )
    assert len(song.notes)
    assert (mask_of(clean) == expected).all()
    after = np.array(clean.ask("studio.picture.tolist()"))
    assert (after[~expected] == before[~expected]).all() and (after != before).any()
    clean.shot("composed")

    compares_and_turns(clean)


def compares_and_turns(clean):
    """Assert that A/B and another candidate are seen and heard at once in the page."""
    new = clean.of_page("desk.notes().filter((note) => note.fresh).length")
    clean.of_page("desk.player.play(200)")
    clean.page.keyboard.press("\\")
    assert 48 <= clean.of_page("desk.player.position()") < 128  # back at what has changed
    assert new and not clean.of_page("desk.notes().filter((note) => note.fresh).length")
    clean.page.keyboard.press("\\")
    clean.button("Next candidate")
    until(lambda: clean.page.locator(".number").inner_text() == "2 of 2", "the page shows it")
    until(lambda: clean.ask("studio.chosen") == 1, "the kernel knows it")
    notes = clean.ask("sorted(n[:3] for n in studio.song.notes.tolist() if n[0] < 512)")
    shown = "desk.notes().map((note) => [note.onset, note.duration, note.pitch])"
    until(lambda: sorted(clean.of_page(shown)) == notes, "the page shows it")
    clean.page.keyboard.press("Space")


def test_a_stroke_is_composed_on_release_and_a_choice_is_heard(clean):
    clean.ask("0", "studio.set(n=2, steps=2)", "count = studio.composed")
    clean.page.keyboard.press("r")
    clean.drag((34, None), (44, None))
    until(lambda: clean.ask("studio.composed - count") == 1, "it composes by itself")
    until(lambda: clean.of_page("desk.player.playing && desk.offers() === 2"), "it plays")

    # Another stroke while it composes: what is under way ends, and all that is marked is composed.
    clean.ask("0", "studio.set(n=4, steps=64, U=9)")
    clean.drag((50, None), (60, None))
    until(lambda: clean.ask("studio.session.composing"), "it composes again")
    clean.ask("0", "studio.set(n=2, steps=2, U=1)")
    clean.drag((66, None), (76, None))
    until(lambda: clean.ask("studio.composed - count") == 2, "it composes all")
    assert clean.ask("studio.take_names[-1]") == "bars 3-5, take 1"
    clean.page.keyboard.press("r")
    until(lambda: clean.of_page("desk.offers()") == 2, "they are offered")
    clean.of_page("desk.player.pause()")
    clean.page.keyboard.press(".")
    until(lambda: clean.of_page("desk.player.playing"), "the page shows it")
    assert 16 <= clean.of_page("desk.player.position()") < 40
    clean.of_page("desk.player.pause()")


def test_odd_notes_are_shown_and_the_oddest_bar_is_marked(clean):
    clean.ask("0", "studio.add_note(100, 13, 4)", "studio.add_note(107, 115, 4)")
    until(lambda: clean.of_page("desk.waiting.size === 0"), "the notes are there")
    clean.button("Show what the model finds odd")
    until(lambda: clean.of_page("desk.oddNotes().length") > 400, "they are shown")
    clean.shot("odd")
    bar = clean.ask("studio.session.message").split("bar is ")[1]
    clean.button("Mark the oddest bar")
    until(lambda: clean.ask("studio.session.mask_in_words()") == f"bar {bar}, all pitches", "it is")
    clean.page.keyboard.press("o")
    until(lambda: not clean.of_page("desk.oddNotes().length"), "the page shows it")


def test_doubt_says_how_far_it_is_and_stops_while_one_paints(clean):
    wait = "hook = model.register_forward_pre_hook(lambda *_: (calls.acquire(timeout=60), None)[1])"
    clean.ask("0", "calls = threading.Semaphore(2)", wait)
    clean.button("Show what the model finds odd")
    until(lambda: clean.of_page("desk.get('doubt').share") == 2 / 8, "two calls of eight are done")
    progress = clean.page.locator(".legend progress:visible").evaluate("it => it.value")
    assert progress == clean.ask("studio.session.doubt_status.share") < 0.5
    clean.drag((20, 70), (60, 50), steps=10)
    mask = painted(clean)
    clean.shot("asked")
    clean.button("Stop asking the model")
    until(lambda: clean.of_page("desk.waiting.size === 0"), "the kernel knows it")
    clean.ask("0", "hook.remove()", "calls.release()")
    clean.page.wait_for_selector(".message:has-text('Stopped; what is odd')")
    until(lambda: clean.page.locator(".legend:visible").count() == 0, "the page shows it")
    assert not clean.ask("studio.session.doubting")
    assert (mask_of(clean) == mask).all()


def test_parts_are_muted_alone_written_and_composed_and_drums_are_a_strip(clean):
    clean.ask(
        "0",
        "notes = [(4 * i, 4, 72, 80, 0) for i in range(32)] + [(0, 128, 40, 80, 1)]",
        "notes += [(4 * i, 1, 36, 90, 2) for i in range(32)]",
        "band = pomkit.Song(notes, parts=('flute', 'bass', 'drums'), channels=(0, 1, 9))",
        "studio.open(band.to_midi().data, 'band.mid')",
    )
    until(lambda: clean.of_page("desk.drums.length") == 32, "the drums are there")
    until(lambda: clean.of_page("desk.notes().length") == 33, "the page shows it")
    heard = "[...new Set(desk.heard().map((note) => note.part))].sort()"
    until(lambda: clean.of_page(heard) == [0, 1, 2], "the page shows it")
    clean.button("mute bass")
    until(lambda: clean.of_page(heard) == [0, 2], "the page shows it")
    until(lambda: clean.ask("studio.heard_parts") == ["flute", "drums"], "the kernel knows it")
    clean.button("solo drums")
    until(lambda: clean.of_page(heard) == [2], "the page shows it")
    clean.shot("parts")

    # By keys: the line of the parts is one stop.
    clean.of_page("desk.takeFocus()")
    for key in ("p", "ArrowLeft", "Enter"):
        clean.page.keyboard.press(key)
    until(
        lambda: clean.of_page("[desk.muted.has('drums'), desk.alone.has('drums')]") == [True, True],
        "the page shows it",
    )
    clean.button("the pencil writes bass")
    clean.drag((16, 64), (23, 64))
    written = "[16, 8, 64, 90, 1] in [[*note] for note in studio.song.notes.tolist()]"
    until(lambda: clean.ask(written), "the bass has a new note")
    clean.button("compose flute only")
    until(lambda: clean.ask("studio.part") == "flute", "the flute is composed")


def test_composing_is_seen_live_and_painting_goes_on_and_esc_stops(clean):
    clean.ask(
        "0", "studio.preset('bars:3-7')", "studio.set(n=4, steps=64, U=9)", "after_stop.clear()"
    )
    until(lambda: clean.of_page("desk.extent !== null"), "bars are marked")
    clean.page.keyboard.press("Control+Enter")
    until(lambda: clean.of_page("desk.live.length"), "live notes")
    clean.shot("composing")
    clean.drag((20, 80), (24, 80))
    until(lambda: mask_of(clean)[127 - 80, 22], "painting while it composes")
    assert clean.ask("studio.session.composing", "after_stop.clear()")
    clean.page.keyboard.press("Escape")
    until(lambda: not clean.ask("studio.session.composing"), "it has stopped")
    assert clean.ask("sum(after_stop)") <= 1
    assert clean.ask("len(studio.history)") == 1
    clean.page.wait_for_selector("text=Stopped")


def test_nothing_is_marked_is_said_until_one_paints(clean):
    clean.page.keyboard.press("c")
    clean.page.wait_for_selector(".message.wrong:has-text('nothing is marked')")
    clean.shot("error")
    clean.drag((20, 80), (24, 80))
    until(lambda: not clean.page.locator(".message.wrong").count(), "it is gone")


def test_playing_looping_and_following(clean):
    """Four bars at 60 BPM last 16 s, each one after them, at 240, lasts 1 s."""
    clean.ask(
        "0",
        "notes = [(step, 4, 60, 80, 0) for step in range(0, 256, 4)]",
        "studio.load(pomkit.Song(notes, tempi=[(0, 60), (64, 240)]))",
    )
    until(lambda: clean.of_page("desk.song.width") == 256, "it is there")
    until(
        lambda: (
            clean.of_page("[8, 16, 20].map((second) => desk.clock.step(second))") == [32, 64, 128]
        ),
        "the page shows it",
    )
    clean.click((100, None))
    until(lambda: clean.of_page("desk.player.position()") > 101, "a click on the ruler plays")
    until(lambda: clean.of_page("desk.player.synth.level()") > 0, "the page shows it")
    until(
        lambda: clean.of_page("desk.player.position() > 140 && desk.view.left > 0"),
        "the roll follows",
    )
    clean.page.keyboard.press("Space")
    at = clean.of_page("desk.player.position()")
    clean.page.wait_for_timeout(200)
    assert clean.of_page("desk.player.position()") == at
    clean.of_page("[desk.fit(), desk.draw()].length")
    clean.page.keyboard.down("Alt")
    clean.drag((68, None), (90, None))
    clean.page.keyboard.up("Alt")
    until(lambda: clean.of_page("desk.loop") == [64, 96], "the page shows it")
    clean.page.keyboard.press("Space")
    seen = []

    def loops():
        seen.append(clean.of_page("desk.player.position()"))
        return any(after < before for before, after in zip(seen, seen[1:], strict=False))

    until(loops, "it goes back")
    assert all(63 < step < 97 for step in seen)
    assert not mask_of(clean).any()
    clean.shot("playing")


# Looks


def test_it_is_low_wide_and_sharp(clean):
    size = "[desk.root.offsetHeight, desk.view.right - desk.view.left, desk.ink.width / desk.ink.clientWidth]"
    clean.page.set_viewport_size({"width": 1280, "height": 800})
    until(lambda: clean.of_page("desk.root.offsetHeight <= 640"), "it is low")
    clean.page.set_viewport_size({"width": 1920, "height": 1080})
    until(lambda: clean.of_page("(desk.view.right - desk.view.left) / 16 >= 12"), "it is wide")
    until(lambda: clean.of_page(size)[2] == 1, "the page shows it")
    clean.shot("wide")
    clean.page.set_viewport_size({"width": 800, "height": 900})
    until(lambda: clean.of_page("desk.root.scrollWidth <= desk.root.clientWidth"), "it is narrow")


# What of the panel is cut off, or lies over something else.
CLUTTER = """() => {
    const {desk} = document.querySelector(".pomkit-studio"), frame = desk.root.getBoundingClientRect();
    const all = desk.root.querySelectorAll("button, select, input, output, progress, .title, .name, .words, .message");
    const seen = [...all].filter((it) => it.checkVisibility() && !it.closest(".takes, .band"));
    const name = (it) => it.ariaLabel || it.dataset.setting || it.innerText || it.className;
    const boxes = seen.map((it) => [it, it.getBoundingClientRect()]).filter(([, box]) => box.width);
    const isOut = (box, {left, right} = frame) => box.left < left - 1 || box.right > right + 1;
    const isCut = (it) => it.matches("button") && it.scrollWidth > it.clientWidth + 1;
    const cut = boxes.filter(([it, box]) => isOut(box) || isCut(it)).map(([it]) => name(it));
    const layer = (it) => it.closest(".floating, .legend, .sheet, .corner");
    const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
    const pairs = boxes.flatMap(([it, box], i) => boxes.slice(i + 1)
        .filter(([other, its]) => layer(it) === layer(other) && over(box, its)).map(([other]) => [name(it), name(other)]));
    const wide = [...desk.root.querySelectorAll(".sheet, .line:not(.band)")]
        .filter((it) => it.checkVisibility() && it.scrollWidth > it.clientWidth + 1).map((it) => it.className);
    return [cut, pairs, wide];
}"""


@pytest.mark.parametrize(("width", "height", "ratio"), [(853, 533, 1.5), (800, 900, 1)])
def test_nothing_is_cut_off_at_150_per_cent_or_in_a_narrow_window(clean, width, height, ratio):
    """A browser at 150 % shows 1280 x 800 pixels as 853 x 533, each of them 1.5 pixels wide."""
    clean.ask("0", "studio.add_bars(3, 4)", "studio.inpaint(n=2, steps=2, seed=1)")
    until(lambda: clean.of_page("desk.offers()") == 2, "all of the panel is there")
    screen = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": False}
    devtools = clean.context.new_cdp_session(clean.page)
    devtools.send("Emulation.setDeviceMetricsOverride", screen)
    until(lambda: clean.of_page("desk.root.offsetWidth") < width, "the panel is narrow")
    sharp = f"desk.ink.width === Math.round(desk.ink.clientWidth * {ratio})"
    until(lambda: clean.of_page(sharp), "it is as sharp as the screen")
    clutter = [clean.page.evaluate(CLUTTER)]
    for sheet in ("toggleMore", "toggleHelp"):
        clean.of_page(f"desk.{sheet}()")
        clutter.append(clean.page.evaluate(CLUTTER))
    clean.of_page("desk.toggleHelp()")
    devtools.send("Emulation.clearDeviceMetricsOverride")
    assert clutter == [[[], [], []]] * 3


CONTRASTS = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => numbers(colour).slice(0, 3).map((value) => value / 255)
        .map((value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
    const under = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        const parts = numbers(colour);
        return parts.length === 4 && parts[3] === 0 ? under(element.parentElement) : colour;
    };
    const texts = [...document.querySelectorAll(".pomkit-studio :is(button, span, select, output, kbd)")]
        .filter((it) => it.innerText && it.offsetParent && !it.closest(":disabled, .unused"));
    return texts.map((it) => {
        const [a, b] = [light(getComputedStyle(it).color), light(under(it))].sort((x, y) => y - x);
        return [it.innerText.slice(0, 30), (a + 0.05) / (b + 0.05)];
    });
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read_and_controls_have_names(clean, theme):
    clean.page.evaluate(
        f"document.body.dataset.jpThemeLight = {json.dumps(str(theme == 'light').lower())}"
    )
    until(
        lambda: clean.page.locator(f".pomkit-studio[data-theme={theme}]").count(), "the theme is on"
    )
    clean.of_page("desk.toggleMore()")
    clean.page.wait_for_timeout(200)
    faint = [each for each in clean.page.evaluate(CONTRASTS) if each[1] < 4.5]
    clean.shot(theme)
    clean.page.evaluate("document.body.dataset.jpThemeLight = 'true'")
    assert not faint
    nameless = clean.page.evaluate("""() => [...document.querySelectorAll(
        ".pomkit-studio :is(button, select, input, [role=application], [role=toolbar], progress)")]
        .filter((it) => !it.ariaLabel && !it.labels?.length && !it.innerText).map((it) => it.outerHTML)""")
    assert not nameless


def axe_core():
    """The script of axe-core, which looks for what hinders people with disabilities; else a skip."""
    found = importlib.util.find_spec("axe_playwright_python")
    folder = Path(found.origin).parent if found else Path("axe_playwright_python")
    path = Path(os.environ.get("POMKIT_AXE", folder / "axe.min.js"))
    if not path.exists():
        pytest.skip("axe-core is not there: pip install axe-playwright-python, or set POMKIT_AXE")
    return path.read_text(encoding="utf-8")


AXE = """async () => {
    const {violations, passes} = await axe.run(".pomkit-studio");
    const grave = violations.filter(({impact}) => ["serious", "critical"].includes(impact));
    return [passes.length, grave.map(({id, nodes}) => [id, nodes.map(({html}) => html)])];
}"""


def test_axe_finds_nothing_serious(clean):
    clean.page.evaluate(axe_core())
    clean.ask("0", "studio.add_bars(3, 4)", "studio.inpaint(n=2, steps=2, seed=1)")
    until(lambda: clean.of_page("desk.offers()") == 2, "all of the panel is there")
    clean.ask("0", "studio.doubt()")
    until(lambda: clean.of_page("desk.odd.length"), "the page knows the doubt")
    clean.of_page("desk.oddShown = true")
    sheets = ("more.root", "help", "legend.root")
    for theme, sheet in itertools.product(("light", "dark"), sheets):
        is_light = json.dumps(str(theme == "light").lower())
        clean.page.evaluate(f"document.body.dataset.jpThemeLight = {is_light}")
        clean.of_page(f"desk.{sheet}.hidden = false")
        clean.of_page("desk.update()")
        shown = f"desk.root.dataset.theme === '{theme}' && desk.{sheet}.checkVisibility()"
        until(lambda shown=shown: clean.of_page(shown), "it is shown")
        looked_at, grave = clean.page.evaluate(AXE)
        clean.of_page("desk.more.root.hidden = desk.help.hidden = true")
        clean.page.evaluate("document.body.dataset.jpThemeLight = 'true'")
        assert looked_at > 15
        assert not grave, (theme, sheet)


# Files, and what survives


def test_files_in_and_out(clean, tmp_path):
    other = pomkit.Song([(0, 8, 60, 80, 0), (8, 8, 64, 80, 0), (16, 112, 67, 80, 0)], name="other")
    other.write_midi(tmp_path / "other.mid")
    (tmp_path / "broken.mid").write_bytes(b"no music at all")

    def upload(name):
        with clean.page.expect_file_chooser() as chooser:
            clean.button("Open a file")
        chooser.value.set_files(tmp_path / name)

    upload("broken.mid")
    clean.page.wait_for_selector("text=is no MIDI file", timeout=60000)
    assert clean.ask("len(studio.song.notes)") > 400
    upload("other.mid")
    until(lambda: clean.ask("studio.song.name") == "other", "the file is open")
    clean.ask("0", "studio.add_note(40, 72, 5)")
    for label, suffix in (
        ("MIDI", ".mid"),
        ("sound, WAV", ".wav"),
        ("picture with mask, PNG", ".mask.png"),
    ):
        with clean.page.expect_download(timeout=60000) as download:
            clean.page.select_option("select[aria-label='Save as']", label=label)
        assert download.value.suggested_filename == f"other_new{suffix}"
        download.value.save_as(tmp_path / f"saved{suffix}")
    assert [list(n) for n in pomkit.read_midi(tmp_path / "saved.mid").notes.tolist()] == clean.ask(
        "studio.song.notes.tolist()"
    )
    assert (tmp_path / "saved.wav").stat().st_size > 1e6


def test_the_fine_sound_plays(clean):
    clean.ask("0", "studio.load(pomkit.render(song, 128, 128))")
    until(lambda: clean.of_page("desk.song.width") == 128, "it is there")
    clean.page.keyboard.press("Space")
    clean.page.keyboard.press("f")
    until(
        lambda: clean.of_page("desk.player.track !== null && desk.player.track !== undefined"),
        "it plays",
    )
    until(lambda: clean.of_page("desk.player.synth.level()") > 0, "and sounds")
    clean.page.keyboard.press("f")
    until(lambda: clean.of_page("desk.player.fine") is None, "the page shows it")


def test_running_the_cell_again_ends_what_composes_and_leaves_one_panel(clean):
    clean.ask("0", "studio.preset('bars:3-7')", "old = studio", "studio.start(n=4, steps=64, U=9)")
    clean.page.click(".jp-Cell .jp-InputArea-editor")
    clean.page.keyboard.press("Control+Enter")
    until(lambda: clean.ask("studio is not old"), "the cell has run again")
    until(
        lambda: clean.ask("not old.session.composing") and clean.ask(THREADS) == 0,
        "the old thread has ended",
    )
    until(lambda: clean.page.locator(".pomkit-studio").count() == 1, "one panel is left")


def test_a_page_opened_again_shows_the_same_and_a_restart_leaves_nothing(clean):
    clean.ask("0", "studio.add_bars(3, 4)", "studio.inpaint(steps=3, seed=1)")
    clean.page.mouse.move(5, 5)
    clean.page.keyboard.press("Control+s")
    until(
        lambda: clean.page.locator(".lm-TabBar-tab.jp-mod-dirty").count() == 0,
        "the notebook is saved",
    )
    shown = "[desk.now, [...desk.cells], desk.get('takes').names]"
    until(lambda: clean.of_page("desk.get('takes').names.length") == 2, "it is shown")
    before = clean.of_page(shown)
    clean.page.close()
    clean.page = clean.context.new_page()
    clean.page.goto(clean.url + "lab/tree/t.ipynb", timeout=120000)
    clean.page.wait_for_selector(".pomkit-studio .ink", timeout=120000)
    until(lambda: clean.of_page(shown) == before, "the same is shown")
    clean.box(".pomkit-studio .ink")
    clean.drag((40, 80), (60, 80))
    until(lambda: mask_of(clean)[127 - 80, 50], "and can be painted on")
    clean.shot("again")

    clean.ask("0", "studio.start(n=4, steps=64, U=9)")
    (kernel,) = json.load(urllib.request.urlopen(clean.url + "api/kernels"))
    process = clean.ask("os.getpid()")
    urllib.request.urlopen(
        urllib.request.Request(
            clean.url + f"api/kernels/{kernel['id']}/restart", data=b"{}", method="POST"
        )
    )
    until(
        lambda: not Path(f"/proc/{process}").exists(), "the old kernel is gone, its threads with it"
    )
    assert [
        f.name for f in (clean.folder / "work").iterdir() if not f.name.startswith(".ipynb")
    ] == ["t.ipynb"]
    assert not [f for f in (clean.folder / "tmp").rglob("*") if f.is_file()]
