"""The studio in JupyterLab, with a real mouse: painting, composing, listening, files, and what survives."""

import json
import statistics
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import pomkit
from pomkit import masks

from .conftest import mask_of, painted, until

# fmt: off
CELLS = ["""import numpy as np
import pomkit
song = pomkit.read_midi(pomkit.data.songs()["auld_lang_syne"])
model = pomkit.load_model("tiny")
after_stop = []
model.register_forward_pre_hook(lambda *_: after_stop.append(studio.session._halt.is_set()))
painter = studio = pomkit.Studio(model, song)
studio""", """from ipycanvas import Canvas
bare = Canvas(width=840, height=520, layout={"width": "100%"})
bare.on_mouse_move(lambda x, y: bare.fill_rect(x - 8, y - 8, 16, 16))
bare"""]
# fmt: on
THREADS = "sum(t.name == 'pomkit studio' for t in threading.enumerate())"


@pytest.fixture(scope="module", autouse=True)
def opened(desk):
    desk.open()
    desk.run_all()


@pytest.fixture
def clean(desk):
    """The studio as the cell made it, the brush in hand."""
    desk.ask(
        "0",
        "studio.session.stop(); studio.session._idle.wait()",
        "studio.load(song)",
        "studio.set(n=1, steps=0, U=1)",
        "for name, value in {'tool': 'brush', 'eraser': False, 'radius': 2, 'zoom': 8, 'left': 0}.items():",
        "    studio.controls[name].value = value",
    )
    return desk


def test_a_stroke_marks_what_is_under_it_to_one_cell_and_is_undone(clean):
    clean.drag((20, 70), (60, 50), steps=40)
    mask = painted(clean)
    wide, narrow = (masks.stroke(512, [(20, 70), (60, 50)], radius) for radius in (3, 1))
    assert mask[narrow].all() and not mask[~wide].any()
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
    for corner in [*corners, corners[0]]:
        clean.page.mouse.click(*clean.at(*corner))
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
    session = clean.context.new_cdp_session(clean.page)
    points = [clean.at(step, 60) for step in range(20, 40)]

    def touch(kind, *at):
        session.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in at]},
        )

    touch("touchStart", points[0])
    for point in points:
        touch("touchMove", point)
    touch("touchEnd")
    mask = painted(clean)
    assert mask[127 - 60, 20:40].all() and not mask[:, 45:].any()


def test_the_pencil_draws_moves_and_deletes_notes(clean):
    clean.ask("0", "studio.load(128)", "studio.fit()")
    clean.page.click("button:text-is('pencil')")

    def notes():
        return clean.ask("[n[:3] for n in studio.song.notes.tolist()]")

    clean.drag((16, 64), (23, 64))
    until(lambda: notes() == [[16, 8, 64]], "a note is drawn")
    clean.drag((18, 64), (34, 67))
    until(lambda: notes() == [[32, 8, 67]], "it is moved")
    clean.page.mouse.click(*clean.at(8, 60))
    until(lambda: notes() == [[8, 2, 60], [32, 8, 67]], "a click is a short note")
    clean.button("eraser")
    clean.page.mouse.click(*clean.at(36, 67))
    until(lambda: notes() == [[8, 2, 60]], "one is deleted")
    clean.shot("pencil")


WATCH = """(which) => {
    const canvas = [...document.querySelectorAll("canvas")].at(which), context = canvas.getContext("2d");
    const found = window.latency = {pending: [], all: []};
    const pixel = (at) => context.getImageData(...at, 1, 1).data.join();
    canvas.addEventListener("mousemove", (event) => {
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


def test_a_move_reaches_the_screen_at_once(clean):
    """Milliseconds from a mouse event in the page to the first frame in which the pixel under it has changed.

    The mouse moves some forty times a second. On a busy machine even a bare canvas, where a move fills one
    rectangle, may need 50 ms; then the painter may take half as much again.
    """
    page = clean.page

    def latency(what, which, places):
        page.mouse.move(*places[0])
        page.mouse.down()
        page.wait_for_timeout(300)
        page.evaluate(WATCH, which)
        started = time.monotonic()
        for place in places[1:]:
            page.mouse.move(*place)
            page.wait_for_timeout(12)
        rate = (len(places) - 1) / (time.monotonic() - started)
        page.wait_for_timeout(1000)
        page.mouse.up()
        found = page.evaluate("latency.all")
        print(
            f"\n{what}: median {statistics.median(found):.1f} ms, worst {max(found):.1f}, {len(found)} of {len(places) - 1} "
            f"moves, {rate:.0f} a second"
        )
        assert len(found) >= 0.9 * (len(places) - 1)
        return statistics.median(found)

    clean.ask("0", "studio.controls['radius'].value = 1")
    idle = latency("idle", 0, [clean.at(step, 55) for step in range(6, 94, 2)])  # two cells a move
    page.locator("canvas").last.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = page.locator("canvas").last.bounding_box()
    bare = latency(
        "a bare canvas", -1, [(box["x"] + x, box["y"] + 100) for x in range(50, 750, 16)]
    )
    assert idle < max(50, 1.5 * bare)
    clean.ask("0", "studio.preset('bars:7-10')", "studio.start(n=4, steps=64, U=4)")
    latency("while it composes", 0, [clean.at(step, 60) for step in range(6, 94, 2)])
    assert clean.ask("studio.session.composing")


def test_composing_is_seen_live_and_painting_goes_on(clean):
    before = clean.ask(
        "studio.picture.tolist()", "studio.preset('bars:3-7')", "studio.set(n=4, steps=40, U=2)"
    )
    clean.button("Inpaint")
    images = set()
    until(lambda: images.add(clean.image()) or len(images) > 3, "live pictures")
    clean.shot("composing")
    assert clean.ask("studio.session.composing")
    clean.drag((20, 80), (24, 80))
    until(lambda: mask_of(clean)[127 - 80, 22], "painting while it composes")
    assert clean.ask("studio.session.composing")
    clean.page.mouse.move(*clean.at(110, 60))
    until(lambda: not clean.ask("studio.session.composing"), "it has composed")
    outside = ~np.array(clean.ask("studio.history[-1].before.mask.tolist()"))
    after = np.array(clean.ask("studio.picture.tolist()"))
    assert (
        mask_of(clean)[127 - 80, 22]
        and len(clean.ask("[c.shape[0] for c in studio.candidates]")) == 4
    )
    assert (after[outside] == np.array(before)[outside]).all() and (after != np.array(before)).any()
    clean.shot("composed")
    strip = clean.box("canvas >> nth=1")
    clean.page.mouse.click(
        strip["x"] + strip["width"] * 0.6, strip["y"] + 40
    )  # the third candidate
    until(lambda: clean.ask("studio.chosen") == 2, "a candidate is chosen")
    assert clean.ask("bool((studio.picture == studio.candidates[2])[~studio.state.mask].all())")


def test_stop(clean):
    clean.ask("0", "studio.preset('bars:3-7')", "studio.set(n=4, steps=64, U=9)")
    clean.button("Inpaint")
    until(lambda: clean.ask("studio.value('progress')") > 0, "it composes")
    clean.ask("0", "after_stop.clear()")
    clean.button("Stop")
    until(lambda: not clean.ask("studio.session.composing"), "it has stopped")
    assert clean.ask("sum(after_stop)") <= 1
    assert clean.ask("len(studio.history)") == 1 and "Stopped" in clean.ask("studio.message.value")


def test_an_error_is_told_in_the_panel(clean):
    clean.button("Inpaint")
    clean.page.wait_for_selector("text=nothing is marked", timeout=60000)
    clean.shot("error")


AUDIO = "document.querySelector('audio')"


def test_listening(clean):
    clean.ask(
        "0",
        "studio.load(pomkit.render(song, 128, 256), pomkit.masks.bars(256, 5, 8))",
        "studio.inpaint(steps=4, seed=1)",
    )
    clean.button("Listen")

    def now():
        return clean.page.evaluate(f"{AUDIO}.currentTime")

    def head(where):
        return clean.page.evaluate(
            f"parseFloat(document.querySelector('.pomkit-on-{where}').style.left)"
        )

    first = until(now, "the sound plays")
    until(lambda: now() > first + 0.5, "it goes on")
    places = head("roll"), head("strip")
    until(lambda: head("roll") > places[0] and head("strip") > places[1], "both playheads move")
    clean.shot("playing")
    strip = clean.box(".pomkit-strip")

    def bar(number):  # its place on the strip, of 16 bars
        return strip["x"] + strip["width"] * (number - 1) / 16, strip["y"] + 40

    clean.page.mouse.click(*bar(9.05))
    until(lambda: 16 <= now() < 24, "a click on the strip seeks")
    clean.page.mouse.move(*bar(3.3))
    clean.page.mouse.down()
    clean.page.mouse.move(*bar(3.8), steps=5)
    clean.page.mouse.up()
    seen = []
    until(
        lambda: (
            seen.append(now()) or any(b < a for a, b in zip(seen, seen[1:], strict=False) if a < 7)
        ),
        "bar 3 is looped",
    )
    assert all(3.9 < at < 6.2 for at in seen[1:])
    clean.page.mouse.click(*bar(12))
    until(lambda: now() > 21, "a click outside ends the loop")
    clean.page.mouse.click(*bar(6))
    until(lambda: 10 <= now() < 14, "it has sought")
    clean.button("only new")
    until(
        lambda: clean.ask("studio.counts['sounds']") == 2 and now() > 10,
        "another sound goes on at the same place",
    )
    until(lambda: not clean.page.evaluate(f"{AUDIO}.paused"), "it plays")
    clean.page.evaluate(f"{AUDIO}.pause()")


def test_the_playhead_follows_the_tempi(clean):
    """Four bars at 60 BPM last 16 s, each one after them, at 240, lasts 1 s."""
    clean.ask(
        "0",
        "tempi = [(0, 60), (64, 240)]",
        "notes = [(step, 4, 60, 80, 0) for step in range(0, 256, 4)]",
        "studio.load(pomkit.Song(notes, tempi=tempi))",
        "studio.audio.value = b''",
    )
    clean.button("Listen")
    until(lambda: clean.page.evaluate(f"{AUDIO}.duration") > 27, "the sound is there")
    strip = clean.box(".pomkit-strip")
    clean.page.evaluate(f"{AUDIO}.pause()")

    def place_of(second):
        """The step that the playhead on the strip shows, once it stands still."""
        clean.page.evaluate(f"{AUDIO}.currentTime = {second}")
        clean.page.wait_for_timeout(300)
        x = clean.box(".pomkit-on-strip")["x"] - strip["x"]
        return 256 * x / strip["width"]

    assert abs(place_of(8) - 32) < 1
    assert abs(place_of(16) - 64) < 1
    assert abs(place_of(20) - 128) < 1
    clean.page.mouse.click(strip["x"] + strip["width"] * 0.75, strip["y"] + 40)
    clean.page.wait_for_timeout(300)
    assert abs(clean.page.evaluate(f"{AUDIO}.currentTime") - 24) < 0.1
    clean.shot("tempi")


def test_files_in_and_out(clean, tmp_path):
    other = pomkit.Song([(0, 8, 60, 80, 0), (8, 8, 64, 80, 0), (16, 112, 67, 80, 0)], name="other")
    other.write_midi(tmp_path / "other.mid")
    (tmp_path / "broken.mid").write_bytes(b"no music at all")

    def upload(name):
        with clean.page.expect_file_chooser() as chooser:
            clean.button("open")
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
            clean.page.select_option("select:has(option:text-is('MIDI'))", label=label)
        assert download.value.suggested_filename == f"other{suffix}"
        download.value.save_as(tmp_path / f"saved{suffix}")
    assert [list(n) for n in pomkit.read_midi(tmp_path / "saved.mid").notes.tolist()] == clean.ask(
        "studio.song.notes.tolist()"
    )
    assert (tmp_path / "saved.wav").stat().st_size > 1e6


def test_running_the_cell_again_ends_what_composes_and_leaves_one_panel(clean):
    clean.ask("0", "studio.preset('bars:3-7')", "old = studio", "studio.start(n=4, steps=64, U=9)")
    clean.page.click(".jp-Cell .jp-InputArea-editor")
    clean.page.keyboard.press("Control+Enter")
    until(lambda: clean.ask("studio is not old"), "the cell has run again")
    until(
        lambda: clean.ask("not old.session.composing") and clean.ask(THREADS) == 0,
        "the old thread has ended",
    )
    until(lambda: clean.page.locator("canvas.pomkit-roll").count() == 1, "one panel is left")


def test_a_page_opened_again_shows_the_same_and_a_restart_leaves_nothing(clean):
    clean.ask(
        "0",
        "studio.add_bars(3, 4)",
        "studio.inpaint(steps=3, seed=1)",
        "studio.controls['zoom'].value = 5",
    )
    clean.page.mouse.move(5, 5)
    clean.page.keyboard.press("Control+s")
    until(
        lambda: clean.page.locator(".lm-TabBar-tab.jp-mod-dirty").count() == 0,
        "the notebook is saved",
    )
    clean.ask("0", "studio.redraw()")
    clean.page.wait_for_timeout(1000)
    before = clean.image()
    clean.page.close()
    clean.page = clean.context.new_page()
    clean.page.goto(clean.url + "lab/tree/t.ipynb", timeout=120000)
    clean.page.wait_for_selector("canvas.pomkit-roll", timeout=120000)
    until(lambda: clean.image() == before, "the same picture is shown")
    clean.drag((40, 90), (60, 90))
    until(lambda: mask_of(clean)[127 - 90, 50], "and can be painted on")
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
