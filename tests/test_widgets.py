"""The editor's laws, the tools', and the painter's: its callbacks are called as a page calls them."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import make_song
from hypothesis import given, settings
from hypothesis import strategies as st

from pomkit import OptionError, PictureError, Song, masks, parse, render
from pomkit.play.plot import COLOURS
from pomkit.studio.editor import Editor, EditorCalls
from pomkit.studio.tools import PRESETS, TOOLS, Drag, Gesture, perform

WIDTH = 96
step, pitch = st.integers(0, WIDTH - 1), st.integers(8, 119)
points = st.lists(st.tuples(st.floats(-9, WIDTH + 9), st.floats(0, 127)), min_size=3, max_size=6)
ordered = st.tuples(pitch, pitch).map(lambda pair: tuple(sorted(pair)))
# Every operation, as (name, arguments); a note is told by a number taken modulo how many there are.
operation = st.one_of(
    st.tuples(st.just("add_stroke"), points, st.floats(0.5, 9), st.booleans()),
    st.tuples(st.just("add_polygon"), points, st.booleans()),
    st.tuples(st.just("add_box"), ordered, st.just((3, 50)), st.booleans()),
    st.tuples(st.just("add_bars"), st.integers(1, 3), st.integers(3, 6), st.booleans()),
    st.tuples(st.just("preset"), st.sampled_from(PRESETS)),
    st.tuples(st.just("add_note"), step, pitch, st.integers(1, 40), st.integers(1, 127)),
    st.tuples(st.just("move_note"), st.integers(0, 99), step, pitch),
    st.tuples(st.just("remove_note"), st.integers(0, 99)),
    st.tuples(st.sampled_from(["invert", "clear"])),
)


def editor(seed=0) -> Editor:
    return Editor(
        render(
            make_song(np.random.default_rng(seed), count=30, end=WIDTH - 40).canonical(),
            width=WIDTH,
        )
    )


def do(edit: Editor, name: str, *arguments) -> None:
    if name in ("move_note", "remove_note"):
        arguments = (arguments[0] % len(edit.song.notes), *arguments[1:])
    getattr(edit, name)(*arguments)


def state(edit: Editor) -> tuple[bytes, bytes]:
    return edit.picture.tobytes(), edit.mask.tobytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(operation, min_size=1, max_size=12))
def test_undo_takes_back_everything_and_redo_does_it_again(operations):
    edit = editor()
    states = [state(edit)]
    for each in operations:
        do(edit, *each)
        states.append(state(edit))
    for expected in states[-2::-1]:
        assert edit.undo()
        assert state(edit) == expected
    assert not edit.undo()
    assert state(edit) == states[0]
    for expected in states[1:]:
        assert edit.redo()
        assert state(edit) == expected
    assert not edit.redo()
    assert state(edit) == states[-1]


@settings(max_examples=60, deadline=None)
@given(st.lists(operation, min_size=1, max_size=12))
def test_the_picture_stays_what_render_can_draw_and_the_mask_what_inpaint_takes(operations):
    edit = editor()
    for each in operations:
        do(edit, *each)
        assert np.array_equal(render(parse(edit.picture), width=WIDTH), edit.picture)
        assert masks.check_mask(edit.mask, edit.picture) is not None


def test_fifty_levels_of_undo_and_a_new_operation_ends_redo():
    edit = editor()
    for i in range(60):
        edit.add_box((60, 61), (i, i + 1))
    assert all(edit.undo() for _ in range(60))
    assert not edit.mask.any()
    edit.redo()
    edit.clear()
    assert not edit.redo()


def test_operations_are_the_masks_of_the_same_names():
    edit, song = editor(), editor().song
    for name, arguments, expected in [
        ("add_stroke", ([(3, 60), (40, 72)], 3), masks.stroke(WIDTH, [(3, 60), (40, 72)], 3)),
        ("add_box", ((50, 60), (4, 9)), masks.box(WIDTH, (50, 60), (4, 9))),
        (
            "add_polygon",
            ([(3, 60), (40, 72), (50, 40)],),
            masks.polygon(WIDTH, [(3, 60), (40, 72), (50, 40)]),
        ),
        ("add_bars", (2, 3), masks.bars(WIDTH, 2, 3)),
        ("preset", ("melody",), masks.melody(song, width=WIDTH)),
        ("preset", ("loop middle",), masks.bars(WIDTH, 2, 5)),
        ("preset", ("chords+bars:1",), masks.chords(WIDTH) | masks.bars(WIDTH, 1)),
    ]:
        edit.clear()
        getattr(edit, name)(*arguments)
        assert np.array_equal(edit.mask, expected), name
    edit.invert()
    assert np.array_equal(
        edit.mask, (masks.chords(WIDTH) | masks.bars(WIDTH, 1)) ^ masks.everything(WIDTH)
    )
    edit.add_bars(2, 6, erase=True)
    assert np.array_equal(edit.mask, masks.chords(WIDTH))


def test_bars_of_the_song_are_the_editors():
    edit = Editor(Song([(0, 96, 60, 80, 0)], bars=(0, 12, 24, 36, 48, 60, 72, 84)))
    edit.add_bars(2)
    assert np.array_equal(np.flatnonzero(edit.mask.any(axis=0)), np.arange(12, 24))
    assert edit.song.bars == (0, 12, 24, 36, 48, 60, 72, 84)


def test_notes_by_hand():
    edit = Editor(64)
    edit.add_note(4, 60, 8)
    assert edit.song.notes.tolist() == [(4, 8, 60, 90, 0)]
    assert edit.note_at(4, 60) == edit.note_at(11, 60) == 0
    assert edit.note_at(12, 60) is edit.note_at(4, 61) is None
    edit.add_note(8, 60, 2)  # struck again: the first one ends
    assert edit.song.notes[["onset", "duration"]].tolist() == [(4, 4), (8, 2)]
    edit.move_note(0, 20, 72)
    edit.remove_note(edit.note_at(8, 60))
    assert edit.song.notes.tolist() == [(20, 4, 72, 90, 0)]
    for bad in ((64, 60), (-1, 60), (0, 7), (0, 120)):
        with pytest.raises(OptionError, match="choose a step"):
            edit.add_note(*bad)


def test_the_length_of_a_note_by_hand():
    edit = Editor(64)
    edit.add_note(8, 60, 8)
    for path, expected in [
        ([(15, 60), (19, 60)], (8, 12)),  # its end
        ([(18, 60), (2, 66)], (8, 1)),  # as short as can be
        ([(8, 60), (40, 60)], (8, 33)),
        ([(9, 60), (5, 60)], (5, 36)),  # its beginning
        ([(30, 60), (99, 60)], (5, 59)),  # to the end of the picture
        ([(30, 61), (33, 61)], (5, 59)),  # where no note is nothing happens
    ]:
        perform(edit, Gesture("length", path))
        assert edit.song.notes[["onset", "duration"]].tolist() == [expected]
    with pytest.raises(OptionError, match="ends after|end after"):
        edit.resize_note(0, 9, 9)


def test_the_notes_of_the_mask_are_deleted():
    edit = editor()
    edit.add_bars(2)
    begins = edit.song.notes["onset"] // 16 == 1
    others = edit.song.notes[~begins]
    assert begins.any()
    edit.delete_marked()
    assert np.array_equal(edit.song.notes, others)
    edit.delete_marked()
    edit.undo()
    assert len(edit.song.notes) == len(begins)


def test_what_is_given_and_what_is_taken_is_not_shared():
    picture, mask = editor().picture, masks.bars(WIDTH, 2)
    edit = Editor(picture, mask)
    picture[:], mask[:] = 0, False
    edit.mask[:], edit.picture[:] = True, 0
    assert np.array_equal(edit.mask, masks.bars(WIDTH, 2))
    assert edit.picture.any()


def test_whoever_observes_an_editor_is_told_of_every_change():
    edit, told = editor(), []
    edit.observe(lambda: told.append(edit.mask.sum()))
    edit.add_bars(1)
    edit.undo()
    edit.load(64)
    assert told == [112 * 16, 0, 0]


def test_a_class_with_an_editor_has_all_its_calls():
    public = {name for name in vars(Editor) if not name.startswith("_")}
    assert public - {"take", "observe", "beside"} == set(vars(EditorCalls)) & public


@pytest.mark.parametrize(
    "bad", [np.zeros((128, 16)), np.zeros((64, 64, 3), np.uint8), np.zeros((128, 0, 3), np.uint8)]
)
def test_a_bad_picture_is_refused(bad):
    with pytest.raises(PictureError):
        Editor(bad)
    edit = editor()
    with pytest.raises(PictureError):
        edit.load(bad)
    with pytest.raises(PictureError):
        edit.mask = np.zeros((128, WIDTH + 1), bool)
    assert not edit.undo()


# The tools


def test_a_gesture_does_what_the_call_of_its_name_does():
    path = [(10.2, 72.4), (20.0, 50.0), (30.3, 60.1)]
    ends = [path[0], path[-1]]
    expected = {
        "brush": masks.stroke(WIDTH, path, 3),
        "line": masks.stroke(WIDTH, ends, 3),
        "box": masks.box(WIDTH, (60, 72), (10, 31)),
        "polygon": masks.polygon(WIDTH, path),
        "bars": masks.bars(WIDTH, 1, 2),
        "pitches": masks.box(WIDTH, (60, 72)),
    }
    assert set(TOOLS) == {*expected, "pencil", "length"}
    for tool, mask in expected.items():
        edit = Editor(WIDTH)
        perform(edit, Gesture(tool, path, radius=3))
        assert np.array_equal(edit.mask, mask), tool
        perform(edit, Gesture(tool, path, erase=True, radius=3))
        assert not edit.mask.any(), tool
        assert edit.undo(), tool
        assert np.array_equal(edit.mask, mask), tool
    with pytest.raises(OptionError, match="tool 'spoon' is unknown"):
        perform(edit, Gesture("spoon", path))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(TOOLS)),
    st.lists(st.tuples(st.floats(0, WIDTH - 1), st.floats(9, 118)), min_size=2, max_size=9),
    st.booleans(),
)
def test_the_mask_that_a_drag_shows_is_the_mask_that_its_gesture_makes(tool, path, erase):
    edit = editor()
    edit.preset("bars:2-3")
    drag = Drag(edit)
    drag.press(tool, path[0], erase=erase, radius=2.5)
    for point in path[1:]:
        drag.move(point)
    shown, gesture = drag.mask(), drag.release()
    if gesture is None:  # an open polygon
        assert tool == "polygon"
        return
    assert gesture == Gesture(tool, path, erase, 2.5)
    perform(edit, gesture)
    if tool not in ("pencil", "length"):  # these change notes and leave the mask
        assert np.array_equal(edit.mask, shown)


def test_a_drag_over_other_music_shows_its_mask():
    edit = Editor(WIDTH)
    drag = Drag(edit)
    drag.press("box", (3, 60), erase=False)
    edit.load(32)
    assert np.array_equal(drag.mask(), edit.mask)


def test_a_view_maps_pixels_and_cells():
    pytest.importorskip("ipycanvas")
    from pomkit.studio.canvas import Viewport, runs

    view = Viewport(40, 30, 8, 10, 16, 48, 40, 80)
    _, (x, y, width, height) = view.rectangles(np.array([60]), np.array([20]), np.array([24]))
    assert (width[0], height[0]) == (32, 9)
    assert view.cell(x[0] + 4, y[0] + 5) == (20, 60)
    seen, (x, _, width, _) = view.rectangles(
        np.array([60, 60, 90]), np.array([0, 60, 20]), np.array([20, 70, 30])
    )
    assert seen.tolist() == [True, False, False]
    assert (x[0], width[0]) == (40, 32)
    cells = masks.stroke(64, [(3, 60), (40, 72)], 3)
    again = np.zeros_like(cells)
    for row, start, stop in zip(*runs(cells), strict=True):
        again[127 - row, start:stop] = True
    assert np.array_equal(again, cells)


# The painter


def pixel(painter, step, pitch):
    view = painter.view
    return view.x + (step + 0.5 - view.left) * view.zoom, view.y + (
        view.high - pitch + 0.5
    ) * view.row


def drag(painter, *points):
    """What a page sends for a drag, through the canvas' own dispatcher."""

    def send(event, x, y):
        painter.canvas[-1]._handle_frontend_event(None, {"event": event, "x": x, "y": y}, [])

    send("mouse_down", *points[0])
    for point in points[1:]:
        send("mouse_move", *point)
    send("mouse_up", *points[-1])


@pytest.fixture
def painter():
    pytest.importorskip("ipycanvas")
    from pomkit import MaskPainter

    return MaskPainter(editor().picture)


def test_a_drag_paints_what_the_tool_says(painter):
    a, b = (10, 72), (30, 60)
    expected = {
        "brush": masks.stroke(WIDTH, [a, b], 2),
        "line": masks.stroke(WIDTH, [a, b], 2),
        "box": masks.box(WIDTH, (60, 72), (10, 31)),
        "bars": masks.bars(WIDTH, 1, 2),
        "pitches": masks.box(WIDTH, (60, 72)),
    }
    for tool, mask in expected.items():
        painter.controls["tool"].value = tool
        drag(painter, pixel(painter, *a), pixel(painter, *b))
        assert np.array_equal(painter.mask, mask), tool
        painter.controls["eraser"].value = True
        drag(painter, pixel(painter, *a), pixel(painter, *b))
        assert not painter.mask.any(), tool
        painter.controls["eraser"].value = False
    drag(painter, (pixel(painter, 20, 60)[0], 20), (pixel(painter, 40, 60)[0], 20))  # on the ruler
    assert np.array_equal(painter.mask, masks.bars(WIDTH, 2, 3))


def test_a_polygon_and_the_pencil(painter):
    painter.controls["tool"].value = "polygon"
    corners = [(10, 50), (40, 50), (25, 70)]
    for corner in [*corners, corners[0]]:
        assert not painter.mask.any()
        drag(painter, pixel(painter, *corner))
    assert (painter.mask ^ masks.polygon(WIDTH, corners)).sum() <= 2
    painter.load(WIDTH)
    painter.controls["tool"].value = "pencil"
    drag(painter, pixel(painter, 16, 64), pixel(painter, 23, 64))
    drag(painter, pixel(painter, 18, 64), pixel(painter, 34, 67))
    assert painter.song.notes[["onset", "duration", "pitch"]].tolist() == [(32, 8, 67)]
    undo = len(painter.editor._past)
    drag(painter, pixel(painter, 36, 67))  # a click on a note changes nothing
    assert len(painter.editor._past) == undo
    painter.controls["eraser"].value = True
    drag(painter, pixel(painter, 36, 67))
    assert not len(painter.song.notes)


def test_a_stroke_ends_outside_and_a_finger_paints(painter):
    handle = painter.canvas[-1]._handle_frontend_event
    (x, y), (x2, y2) = pixel(painter, 10, 60), pixel(painter, 20, 60)
    for event, at in (
        ("mouse_down", (x, y)),
        ("mouse_move", (x2, y2)),
        ("mouse_out", (x2, y2)),
        ("mouse_move", (x2 + 99, y2)),
    ):
        handle(None, {"event": event, "x": at[0], "y": at[1]}, [])
    assert np.array_equal(painter.mask, masks.stroke(WIDTH, [(10, 60), (20, 60)], 2))
    painter.clear()
    for event, touches in (("start", [(x, y)]), ("move", [(x2, y2)]), ("end", [])):
        handle(
            None, {"event": f"touch_{event}", "touches": [{"x": a, "y": b} for a, b in touches]}, []
        )
    assert np.array_equal(painter.mask, masks.stroke(WIDTH, [(10, 60), (20, 60)], 2))


def test_buttons_presets_and_looks(painter):
    painter.controls["preset"].value = "melody"
    assert np.array_equal(painter.mask, masks.melody(painter.song, width=WIDTH))
    assert painter.controls["preset"].value == ""
    painter.controls["clear"].click()
    assert not painter.mask.any()
    painter.controls["undo"].click()
    assert painter.mask.any()
    for name, value in (
        ("zoom", 24),
        ("left", 30),
        ("pitches", (50, 70)),
        *(("colours", c) for c in COLOURS),
    ):
        painter.controls[name].value = value
    assert painter.view.left == 30
    assert painter.view.right == min(30 + 794 // 24, WIDTH)
    painter.canvas[-1]._handle_frontend_event(None, {"event": "mouse_wheel", "x": 0, "y": -240}, [])
    assert painter.view.left == 20
    drag(painter, pixel(painter, 22, 60), pixel(painter, 30, 60))
    assert painter.mask[127 - 60, 22:31].all()


def test_an_error_is_told_in_the_panel(painter):
    painter.guarded(painter.add_note)(500, 60)
    assert "choose a step" in painter.message.value
    assert painter.message.value.startswith("<b style")


def test_an_error_while_drawing_does_not_silence_the_canvas(painter, monkeypatch):
    sent = []
    with monkeypatch.context() as patch:
        patch.setattr(painter, "_draw_ink", lambda view: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            painter.redraw()
    monkeypatch.setattr(
        type(painter.canvas._canvas_manager), "send", lambda self, *a, **k: sent.append(a)
    )
    painter.redraw()
    assert len(sent) == 1
    assert not painter.canvas._canvas_manager._caching
    painter.canvas[0].fill_rect(0, 0, 1, 1)  # and what is drawn by others is sent at once
    assert len(sent) >= 2


def test_a_long_song_is_drawn_in_a_moment(painter):
    import time

    painter.load(make_song(np.random.default_rng(1), count=6000, end=3000))
    painter.preset("melody")
    took = []
    for _ in range(5):
        started = time.perf_counter()
        painter.redraw()
        took.append(time.perf_counter() - started)
    assert min(took) < 0.15


def test_without_ipycanvas_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['ipycanvas'] = sys.modules['ipywidgets'] = None\n"
        "import pomkit\nprint(pomkit.editor.Editor(16).mask.shape)\n"
        "try:\n    pomkit.MaskPainter(16)\nexcept pomkit.PomkitError as fault:\n    print(fault)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "(128, 16)" in done.stdout and "pip install 'pomkit[widgets]'" in done.stdout
