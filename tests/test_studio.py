"""The studio by calls, without a page: what its controls say to the session, and what it shows.

What a session does stands in test_session.py.
"""

import json
import re
import threading
import time

import numpy as np
import pytest

import pomkit
from pomkit import OptionError
from pomkit.data import songs
from pomkit.music.grid import clock_of, seconds_of

pytest.importorskip("ipycanvas")
from pomkit.studio import KEY_NAMES, SETTINGS, Session, Studio, editor, panel  # noqa: E402
from pomkit.studio import session as module  # noqa: E402
from pomkit.studio import strips as module_of_strips  # noqa: E402

MODEL = pomkit.load_model("tiny", "cpu")
SONG = pomkit.read_midi(songs()["auld_lang_syne"])


@pytest.fixture
def studio():
    """A studio on eight bars, of which the third and the fourth are marked."""
    made = Studio(MODEL, pomkit.render(SONG, 128, 128))
    made.add_bars(3, 4)
    made.set(n=1)
    yield made
    made.close()
    assert not made.session.composing
    end = time.monotonic() + 60  # a sound may still be in the making
    while left := [t for t in threading.enumerate() if t.name == "pomkit studio"]:
        assert time.monotonic() < end, left
        time.sleep(0.01)


def settings_of(studio):
    """What the controls show."""
    return {name: studio.value(name) for name in SETTINGS}


def click(strip, x):
    """What a page sends for a click on a strip."""
    event = {"event": "mouse_down", "x": x, "y": 30}
    strip.canvas._handle_frontend_event(None, event, [])


def soon(check):
    """Wait until something is so."""
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_every_call_of_a_session_works_on_a_studio(studio):
    before, mask = studio.picture, studio.mask
    candidates = studio.inpaint(n=2, seed=5, steps=6)
    assert np.array_equal(studio.picture, candidates[0])
    assert np.array_equal(studio.picture[~mask], before[~mask])
    studio.choose(1)
    assert studio.chosen == 1
    assert np.array_equal(studio.picture, studio.candidates[1])
    assert np.array_equal(studio.before(), before)
    assert len(studio.history) == 2
    studio.turn(-1)
    assert studio.place == 0
    assert np.array_equal(studio.picture, before)
    public = {name for name in vars(Session) if not name.startswith("_")}
    inner = {"observe", "perform", "say", "contents", "model", "composing"}
    inner |= {"put_aside", "left_over", "state_before"}
    assert not [name for name in public - inner if not hasattr(studio, name)]


def test_an_old_name_is_still_found():
    assert pomkit.studio.KEYS is KEY_NAMES


def test_what_is_marked_is_brought_into_view(studio):
    studio.load(SONG)
    studio.add_bars(20, 21)
    studio.inpaint(steps=1)
    assert studio.view.left <= 19 * 16 < studio.view.right


def test_a_control_says_its_setting_and_shows_what_the_session_has(studio):
    assert settings_of(studio) == studio.session.settings
    studio.controls["n"].value = 3
    studio.controls["key"].value = "D:min"
    assert studio.session.settings["n"] == 3
    assert studio.session.settings["key"] == "D:min"
    studio.set(n=8, density=4)
    assert studio.value("n") == 8
    assert studio.value("density") == 4
    studio.controls["dice"].value = False
    studio.inpaint(steps=1)
    assert studio.history[-1].settings == settings_of(studio)
    assert studio.history[-1].settings["seed"] == 0


def test_the_seed_that_was_drawn_is_shown(studio):
    studio.inpaint(steps=1)
    assert studio.value("seed") == studio.history[-1].settings["seed"] != 0
    assert str(studio.value("seed")) in studio.message.value


def test_what_the_model_does_not_know_is_disabled(studio):
    locks = ("temperature", "key_lock", "key", "chord_lock")
    studio.controls["model"].value = "tiny-edm-pixels"
    assert all(studio.controls[name].disabled for name in locks)
    assert not studio.controls["guidance"].disabled
    assert studio.controls["method"].options == ("conditioned", "repaint")
    studio.set(method="repaint")
    assert studio.value("method") == "repaint"
    studio.set(model="given")
    assert not any(studio.controls[name].disabled for name in locks)
    assert studio.value("method") == "uncover"


def test_a_model_that_cannot_be_read_is_told_and_the_one_before_stays(studio, monkeypatch):
    def fail(name):
        raise pomkit.CheckpointError(f"{name} is damaged")

    monkeypatch.setattr(module, "load_model", fail)
    studio.controls["model"].value = "tiny-edm"
    assert "damaged" in studio.message.value
    assert studio.value("model") == studio.session.settings["model"] == "given"


def test_buttons_and_progress_while_it_composes(studio, monkeypatch):
    hold = threading.Event()
    hear = studio.session._hear
    monkeypatch.setattr(studio.session, "_hear", lambda *a: (hear(*a), hold.wait(60)))
    studio.start(steps=4, seed=1)
    soon(lambda: studio.value("progress") > 0)
    assert studio.controls["start"].disabled
    assert not studio.controls["stop"].disabled
    assert "25%" in studio.value("remaining")
    with pytest.raises(OptionError, match="composing already"):
        studio.start()
    studio.controls["stop"].click()
    hold.set()
    studio.wait()
    assert "Stopped" in studio.message.value
    assert not studio.controls["start"].disabled
    assert studio.controls["stop"].disabled
    assert studio.value("progress") == 0
    assert studio.value("remaining") == ""


@pytest.mark.parametrize(
    ("fault", "told"),
    [(ValueError("odd"), "ValueError: odd"), (OptionError("steps is 0"), "steps is 0")],
)
def test_errors_are_told_in_the_panel(studio, monkeypatch, fault, told):
    def fail(*_, **__):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(module, "inpaint", fail)
        with pytest.raises(type(fault)):
            studio.inpaint()
    assert f">{told}</b>" in studio.message.value
    assert not studio.controls["start"].disabled


def test_live_pictures_are_drawn(studio, monkeypatch):
    monkeypatch.setattr(module, "FRAME", 0)
    drawn = []
    redraw = studio.painter.redraw
    monkeypatch.setattr(studio.painter, "redraw", lambda: (drawn.append(studio.shown()), redraw()))
    before, mask = studio.picture, studio.mask
    studio.inpaint(steps=6)
    assert len(drawn) == 6 + 1  # and once more, when it is done
    assert all(np.array_equal(state.picture[~mask], before[~mask]) for state, _ in drawn)
    assert np.array_equal(drawn[-1][0].picture, studio.picture)


def test_a_click_on_a_kept_picture_goes_there(studio):
    for seed in (1, 2):
        studio.inpaint(seed=seed, steps=3)
    last = studio.picture
    studio.go(0)
    click(studio.strips["history"], 800)
    assert studio.place == 2
    assert np.array_equal(studio.picture, last)
    studio.controls["aside"].value = True
    assert np.array_equal(studio.shown()[0].picture, studio.history[2].before.picture)


def test_whoever_listens_hears_another_candidate_at_once(studio):
    studio.inpaint(seed=1, steps=4, n=2)
    studio.listen("new")
    soon(lambda: len(studio.audio.value))
    assert bytes(studio.audio.value) == studio.sound("new")
    assert studio.counts["sounds"] == 1
    click(studio.strips["candidates"], 700)
    assert studio.chosen == 1
    assert np.array_equal(studio.picture, studio.candidates[1])
    soon(lambda: studio.counts["sounds"] == 2)


def test_strips_that_have_nothing_to_choose_from_are_hidden(studio):
    def shown():
        strips = studio.strips.items()
        return [name for name, strip in strips if strip.canvas.layout.display != "none"]

    assert shown() == ["overview"]
    studio.inpaint(n=2, steps=1)
    assert shown() == ["overview", "candidates", "history"]
    studio.load(64)
    assert shown() == ["overview"]


def facts_of(studio):
    """What the page is told, beside what the painter tells."""
    return json.loads(re.search("data-facts='(.*?)'", studio._counts.value)[1])


def test_another_file_opens_at_bar_1_and_undo_goes_back(studio):
    studio.inpaint(steps=1)
    studio._offer(".mid")
    studio.controls["left"].value = 16
    before = studio.view
    studio.load(SONG)
    assert studio.view.left == 0
    assert studio.link.value == ""
    assert facts_of(studio)["musics"] == 1
    studio.controls["left"].value = 128
    studio.undo()
    assert studio.view.left == 0
    assert studio.view._replace(left=0, right=0) == before._replace(left=0, right=0)
    assert facts_of(studio)["musics"] == 2
    assert len(studio.history) == 2


def test_a_sound_begins_a_bar_before_the_mask(studio):
    studio.listen()
    soon(lambda: studio.counts["sounds"])
    assert facts_of(studio)["from"] == 16
    studio.clear()
    studio.listen()
    soon(lambda: studio.counts["sounds"] == 2)
    assert facts_of(studio)["from"] is None


def test_the_button_is_disabled_where_nothing_can_be_composed_and_says_why(studio):
    start = studio.controls["start"]
    assert not start.disabled
    assert start.tooltip == "compose bars 3-4, all pitches"
    studio.clear()
    assert start.disabled
    assert "nothing is marked" in start.tooltip


def test_an_error_is_shown_until_one_paints(studio):
    studio.guarded(studio.choose)(5)
    assert "there is no candidate 5" in studio.message.value
    studio.add_bars(1)
    assert studio.message.value == ""


def test_strips_mark_what_undo_brings_back(studio):
    studio.inpaint(n=2, steps=1)

    def marked():
        strips = (module_of_strips.candidate_thumbnails, module_of_strips.history_thumbnails)
        return [[each.present for each in strip(studio.session)] for strip in strips]

    assert marked() == [[True, False], [False, True]]
    studio.choose(1)
    assert marked() == [[False, True], [False, True]]
    studio.undo()
    studio.undo()
    assert marked() == [[False, False], [True, False]]


def test_a_cell_that_runs_again_offers_the_last_takes(monkeypatch):
    class Shell:
        run = 0

        def get_parent(self):
            return {"metadata": {"cellId": "one"}, "header": {"msg_id": str(Shell.run)}}

    monkeypatch.setattr(panel, "get_ipython", Shell)
    first, second = (Studio(MODEL, SONG.canonical()) for _ in range(2))
    for studio in (first, second):
        studio.add_bars(1)
    second.inpaint(steps=1, n=1, seed=4)
    picture = second.picture
    Shell.run = 1
    again, after = (Studio(MODEL, SONG.canonical()) for _ in range(2))
    assert first.session._closed
    assert second.session._closed
    assert again.controls["bring_back"].layout.display == "none"
    assert after.controls["bring_back"].layout.display == ""
    assert "1 take of auld_lang_syne is kept" in after.message.value
    Shell.run = 2
    once_more, last = (Studio(MODEL, SONG.canonical()) for _ in range(2))
    last.controls["bring_back"].click()
    assert np.array_equal(last.picture, picture)
    assert last.history[1].settings["seed"] == 4
    for studio in (once_more, last):
        studio.close()


def count_calls(monkeypatch, *names):
    """Lists of the pictures that functions of the editor read from now on."""
    calls = []
    for name in names:
        real = getattr(editor, name)
        monkeypatch.setattr(
            editor, name, lambda what, real=real: (calls.append(what), real(what))[1]
        )
    return calls


def test_drawing_again_reads_no_picture_and_draws_no_strip(studio, monkeypatch):
    """However many takes there are."""
    studio.inpaint(n=2, steps=1)
    take = studio.history[1]
    for seed in range(40):
        picture = take.state.picture.copy()
        picture[60, seed] = 0
        studio.history.append(take._replace(state=take.state._replace(picture=picture)))
    studio.redraw()
    parsed = count_calls(monkeypatch, "parse")
    drawn = []
    thumbnail = module_of_strips.draw_thumbnail
    monkeypatch.setattr(
        module_of_strips, "draw_thumbnail", lambda *a, **k: (drawn.append(a), thumbnail(*a, **k))
    )
    studio.redraw()
    studio.controls["zoom"].value = 12
    studio.add_stroke([(3, 60), (9, 66)])
    studio.undo()
    assert (parsed, drawn) == ([], [])
    studio.controls["pitches"].value = (50, 70)
    assert parsed == []
    assert len(drawn) == 1 + 2 + 42
    drawn.clear()
    studio.add_note(4, 70)
    assert len(parsed) == 1
    assert len(drawn) == 1  # the overview


def test_a_page_that_opens_gets_all_strips(studio, monkeypatch):
    drawn = []
    monkeypatch.setattr(module_of_strips, "draw_thumbnail", lambda *a, **k: drawn.append(a))
    strip = studio.strips["history"].canvas
    strip._handle_frontend_event(None, {"event": "client_ready"}, [])
    assert len(drawn) == 2


def test_a_saved_studio_shows_its_settings(studio, tmp_path):
    studio.inpaint(seed=1, steps=3, key_lock=0.5)
    studio.save(tmp_path / "it.npz")
    other = Studio(MODEL, 64)
    other.open(tmp_path / "it.npz")
    assert settings_of(other) == settings_of(studio)
    assert np.array_equal(other.picture, studio.picture)
    assert np.array_equal(other.mask, studio.mask)
    assert len(other.history) == 2
    other.close()


def test_a_bad_file_is_told(studio):
    before = studio.picture
    studio.guarded(studio.open)(b"no music")
    assert "color" in studio.message.value
    assert np.array_equal(studio.picture, before)


@pytest.mark.parametrize("version", [7, 8])
def test_upload_as_ipywidgets_7_and_8_give_it(studio, version, tmp_path, monkeypatch):
    data = (SONG.write_midi(tmp_path / "my song.mid")).read_bytes()
    uploads = (
        ({"name": "my song.mid", "content": memoryview(data)},)
        if version == 8
        else {"my song.mid": {"metadata": {"name": "my song.mid"}, "content": data}}
    )

    class Upload:
        value = uploads

    monkeypatch.setitem(studio.controls, "upload", Upload())
    studio._upload()
    assert studio.song.name == "my song"
    assert np.array_equal(studio.song.notes, SONG.notes)
    assert "my song, 84 BPM, 4/4: MELODY, PIANO" in studio.heading.value
    assert not studio.controls["upload"].value
    assert type(studio.controls["upload"].value) is type(uploads)


def test_a_download_leaves_no_file_behind(studio, tmp_path, monkeypatch):
    import base64
    import re
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    studio.load(SONG)
    studio._offer(".mid")
    name, data = re.search(r'download="(.*?)".*base64,(.*?)"', studio.link.value).groups()
    read = pomkit.read_midi(base64.b64decode(data))
    assert name == f"{SONG.name}.mid"
    saved = studio.save(tmp_path / "saved.mid")
    assert base64.b64decode(data) == saved.read_bytes()
    saved.unlink()
    assert np.array_equal(read.canonical().notes, SONG.canonical().notes)
    assert studio.counts["files"] == 1
    assert list(tmp_path.iterdir()) == []


def test_the_page_is_told_when_each_column_sounds(studio):
    """The playhead's clock: a line for each tempo, from step 0 on."""
    facts = json.loads(re.search("data-facts='(.*?)'", studio.painter.facts.value)[1])
    assert facts["clock"] == [[0.0, 0.0, 0.125]]
    tempi = [(0, 60.0), (8, 240.0)]
    assert clock_of(tempi, 4) == [(0, 0, 0.125), (0, 0, 0.25), (8, 2, 0.0625)]
    assert seconds_of(np.array([4, 8, 24]), tempi, 4).tolist() == [1, 2, 3]
