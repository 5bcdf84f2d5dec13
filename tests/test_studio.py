"""The studio without a page: what messages say to the session, and what the page is told.

What a session does stands in test_session.py.
"""

import base64
import io
import pydoc
import tempfile
import threading
import time

import numpy as np
import pytest
from PIL import Image

import pomkit
from pomkit import OptionError, masks
from pomkit.data import songs
from pomkit.music.grid import clock_of, seconds_of

pytest.importorskip("ipycanvas")
pytest.importorskip("anywidget")
from pomkit.studio import KEY_NAMES, Session, Studio, panel  # noqa: E402
from pomkit.studio import session as module  # noqa: E402
from pomkit.studio.editor import Delegate  # noqa: E402
from pomkit.studio.panel import new_name  # noqa: E402
from pomkit.studio.roll import NEW_NOTE, NOTE, STEP, Roll, plain  # noqa: E402
from pomkit.studio.view import PIECES, mask_of_bits, piece  # noqa: E402

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
    """What the page is told of the settings."""
    return {setting["name"]: setting["value"] for setting in studio.roll.settings}


def known_to(studio):
    """The settings that the page offers."""
    return {setting["name"] for setting in studio.roll.settings if setting["known"]}


def act(studio, do, data=(), **words):
    """What a page sends."""
    studio.roll._handle_custom_msg({"do": do, "view": 1, "n": 1, **words}, [*data])


def told(studio):
    """The text or error that the page shows."""
    return studio.roll.status["message"]


def table(notes):
    """A table of notes as the page reads it, int32 (notes, 6)."""
    return np.frombuffer(notes, "<i4").reshape(-1, 6)


def soon(check):
    """Wait until something is so."""
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def sent(studio, monkeypatch):
    """What is sent to pages beside traits, as (content, buffers)."""
    messages = []
    send = lambda content, buffers=None: messages.append((content, buffers))  # noqa: E731
    monkeypatch.setattr(studio.roll, "send", send)
    return messages


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
    inner |= {"put_aside", "left_over"}
    assert not [name for name in public - inner if not hasattr(studio, name)]


def test_a_page_finds_all_it_shows_from_the_first(monkeypatch):
    opened = []
    monkeypatch.setattr(Roll, "open", lambda roll: opened.append(roll.get_state()))
    made = Studio(MODEL, SONG)
    made.close()
    (state,) = opened
    for name in PIECES:
        assert state[name] == getattr(made.roll, name)
        assert state[name] or name in ("live", "drums")


def test_an_old_name_is_still_found():
    assert pomkit.studio.KEYS is KEY_NAMES


def test_the_page_shows_the_session(studio):
    studio.inpaint(n=2, seed=1, steps=2)
    for name in PIECES:
        expected = piece(studio.session, name)
        expected = b"" if expected is None else plain(expected)
        assert getattr(studio.roll, name) == expected, name


def test_a_gesture_of_the_page_is_that_of_the_session(studio):
    path = [[16, 60], [40, 72]]
    act(studio, "gesture", tool="box", path=path, erase=False, radius=2)
    assert np.array_equal(studio.mask, masks.bars(128, 3, 4) | masks.box(128, (60, 72), (16, 41)))
    assert mask_of_bits(studio.roll.mask["bits"], 128).tolist() == studio.mask.tolist()
    act(studio, "gesture", tool="box", path=path, erase=True, radius=2)
    act(studio, "undo")
    act(studio, "undo")
    assert np.array_equal(studio.mask, masks.bars(128, 3, 4))
    assert studio.roll.mask["words"] == "bars 3-4, all pitches"
    act(studio, "redo")
    assert studio.mask[127 - 60, 16]


def test_a_part_and_words_mark(studio):
    act(studio, "part", name="melody")
    assert studio.part == "melody"
    within = mask_of_bits(studio.roll.mask["within"], 128)
    assert np.array_equal(studio.mask, masks.bars(128, 3, 4) & within)
    act(studio, "part", name="all")
    assert studio.part is None
    assert studio.roll.mask["within"] == b""
    for words, expected in (
        ("clear", np.zeros((128, 128), bool)),
        ("invert", masks.everything(128)),
        ("chords", masks.chords(128)),
    ):
        act(studio, "mark", words=words)
        assert np.array_equal(studio.mask, expected), words


def test_the_marked_notes_are_deleted_in_one_level_of_undo(studio):
    notes = studio.song.notes
    act(studio, "empty")
    marked = (notes["onset"] >= 32) & (notes["onset"] < 64)
    assert marked.any()
    assert len(table(studio.roll.notes)) == np.count_nonzero(~marked)
    studio.undo()
    assert np.array_equal(studio.song.notes, notes)


def test_a_setting_of_the_page_is_the_sessions_and_the_reverse(studio):
    assert settings_of(studio) == studio.session.settings
    act(studio, "set", name="n", value=2)
    act(studio, "set", name="key", value="D:min")
    assert studio.session.settings["n"] == 2
    assert studio.session.settings["key"] == "D:min"
    studio.set(n=1, density=4)
    assert settings_of(studio)["density"] == 4
    act(studio, "dice", value=False)
    assert not studio.roll.dice
    studio.inpaint(steps=1)
    assert studio.history[-1].settings == settings_of(studio)
    assert studio.history[-1].settings["seed"] == 0


def test_the_seed_that_was_drawn_is_shown(studio):
    studio.inpaint(steps=1)
    assert settings_of(studio)["seed"] == studio.history[-1].settings["seed"] != 0
    assert str(settings_of(studio)["seed"]) in told(studio)


def test_a_seed_that_is_typed_in_the_page_is_kept(studio):
    act(studio, "set", name="steps", value=2)
    assert studio.roll.dice
    act(studio, "set", name="seed", value=7)
    assert not studio.roll.dice
    studio.inpaint()
    assert settings_of(studio)["seed"] == 7


def test_what_the_model_does_not_know_is_not_offered(studio):
    locks = {"temperature", "key_lock", "key", "chord_lock"}
    assert locks <= known_to(studio)
    act(studio, "set", name="model", value="tiny-edm-pixels")
    assert not locks & known_to(studio)
    assert "guidance" in known_to(studio)
    act(studio, "set", name="method", value="repaint")
    assert settings_of(studio)["method"] == "repaint"
    studio.set(model="given")
    assert locks <= known_to(studio)
    assert settings_of(studio)["method"] == "uncover"


def test_a_model_that_cannot_be_read_is_told_and_the_one_before_stays(studio, monkeypatch):
    def fail(name):
        raise pomkit.CheckpointError(f"{name} is damaged")

    monkeypatch.setattr(module, "load_model", fail)
    act(studio, "set", name="model", value="tiny-edm")
    assert "damaged" in told(studio)
    assert studio.roll.status["wrong"]
    assert settings_of(studio)["model"] == studio.session.settings["model"] == "given"


def test_progress_while_it_composes_and_stop(studio, monkeypatch):
    hold = threading.Event()
    hear = studio.session._hear
    monkeypatch.setattr(studio.session, "_hear", lambda *a: (hear(*a), hold.wait(60)))
    studio.set(steps=4)
    act(studio, "compose")
    soon(lambda: studio.roll.status["share"] > 0)
    assert studio.roll.status["busy"]
    assert "25%" in studio.roll.status["remaining"]
    act(studio, "compose")
    assert "composing already" in told(studio)
    act(studio, "stop")
    hold.set()
    studio.wait()
    assert "Stopped" in told(studio)
    assert studio.roll.status["busy"] is False
    assert studio.roll.status["share"] == 0
    assert studio.roll.takes["composed"] == 0


@pytest.mark.parametrize(
    ("fault", "text"),
    [(ValueError("odd"), "ValueError: odd"), (OptionError("steps is 0"), "steps is 0")],
)
def test_errors_are_told_in_the_panel(studio, monkeypatch, fault, text):
    def fail(*_, **__):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(module, "inpaint", fail)
        with pytest.raises(type(fault)):
            studio.inpaint()
    assert (told(studio), studio.roll.status["wrong"]) == (text, True)
    studio.add_bars(1)
    assert (told(studio), studio.roll.status["wrong"]) == ("", False)


def test_a_message_that_cannot_be_done_is_told(studio):
    act(studio, "choose", number=5)
    assert "there is no candidate 5" in told(studio)
    act(studio, "dance")
    assert "dance" in told(studio)


def test_live_notes_are_shown(studio, monkeypatch):
    monkeypatch.setattr(module, "FRAME", 0)
    shown = []
    studio.roll.observe(lambda change: shown.append(change.new), "live")
    mask, before = studio.mask, table(studio.roll.notes)
    studio.inpaint(steps=6)
    assert len(shown) > 1
    assert shown[-1] == b""
    outside = before[~mask[127 - before[:, 2], before[:, 0]]]
    for each in shown[:-1]:
        live = table(each)
        stays = live[~mask[127 - live[:, 2], live[:, 0]]]
        assert np.array_equal(stays[:, [0, 2]], outside[:, [0, 2]])


def test_candidates_and_takes_are_chosen_in_the_page(studio):
    act(studio, "set", name="n", value=2)
    studio.inpaint(seed=1, steps=3)
    assert studio.roll.takes["composed"] == 1
    act(studio, "choose", number=1)
    assert studio.roll.candidates["chosen"] == 1
    assert np.array_equal(studio.picture, studio.candidates[1])
    act(studio, "go", place=0)
    assert studio.roll.takes["place"] == 0
    assert studio.roll.candidates["chosen"] == -1
    act(studio, "go", place=1)
    assert np.array_equal(studio.picture, studio.candidates[1])
    assert studio.roll.takes["composed"] == 1


def test_other_music_is_told(studio):
    studio.inpaint(steps=1)
    studio.load(SONG)
    assert studio.roll.musics == 1
    assert studio.roll.song["width"] == 512
    studio.undo()
    assert studio.roll.musics == 2
    assert studio.roll.song["width"] == 128
    assert len(studio.roll.takes["names"]) == 2


def test_python_lets_the_page_play(studio, sent):
    studio.listen("new")
    assert sent == [({"do": "play", "what": "new"}, None)]
    with pytest.raises(OptionError, match="sound"):
        studio.listen("loud")
    other = Session(MODEL, 64)
    studio.sounds_now()
    other.sounds_now()
    assert sent[-1] == ({"do": "silence"}, None)


def test_the_fine_sound_goes_to_the_page(studio, sent):
    act(studio, "fine", what="now")
    soon(lambda: any(content["do"] == "fine" for content, _ in sent))
    (data,) = [buffers for content, buffers in sent if content["do"] == "fine"]
    assert data == [studio.sound("now")]


def test_a_mix_and_the_pencils_part_come_from_the_page(studio, sent):
    notes = [(0, 4, 72, 80, 0), (0, 16, 40, 80, 1)]
    studio.load(pomkit.Song(notes, parts=("flute", "bass")))
    act(studio, "mix", muted=["bass"], alone=[])
    assert studio.heard_parts == ["flute"]
    assert studio.roll.mix == {"muted": ["bass"], "alone": []}
    act(studio, "gesture", tool="pencil", path=[[8, 71]], erase=False, radius=2, part="bass")
    assert (8, 2, 71, 90, 1) in studio.song.notes.tolist()
    act(studio, "save", suffix=".wav", heard=True)
    soon(lambda: any(content["do"] == "file" for content, _ in sent))


def test_the_page_asks_for_doubt_in_a_thread_and_stops_it(studio, sent, monkeypatch):
    goes_on = threading.Event()

    def slow(model, picture, *, callback, **options):
        goes_on.wait(60)
        callback({"i": 0, "n": 2})

    monkeypatch.setattr(module, "doubt", slow)
    act(studio, "doubt", mark=True)
    soon(lambda: studio.roll.doubt["busy"])
    act(studio, "gesture", tool="box", path=[[2, 60], [5, 70]], erase=False, radius=2)
    assert studio.mask[127 - 65, 3]
    act(studio, "stop doubt")
    goes_on.set()
    soon(lambda: not studio.roll.doubt["busy"])
    soon(lambda: told(studio) == "Stopped; what is odd is not known.")
    assert not studio.roll.status["wrong"]
    assert studio.mask[127 - 65, 3]


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
    assert again.roll.takes["bring_back"] == ""
    assert after.roll.takes["bring_back"] == "1 take of auld_lang_syne"
    assert "1 take of auld_lang_syne is kept" in told(after)
    Shell.run = 2
    once_more, last = (Studio(MODEL, SONG.canonical()) for _ in range(2))
    act(last, "bring back")
    assert np.array_equal(last.picture, picture)
    assert last.history[1].settings["seed"] == 4
    for studio in (once_more, last):
        studio.close()


def test_a_stroke_tells_the_mask_and_nothing_that_is_large(studio):
    """However many takes there are, and without reading a picture."""
    studio.inpaint(n=2, steps=1)
    take = studio.history[1]
    for seed in range(40):
        picture = take.state.picture.copy()
        picture[60, seed] = 0
        studio.history.append(take._replace(state=take.state._replace(picture=picture)))
    studio.add_bars(1)
    shown = []
    studio.roll.show = lambda name, value: shown.append(name)
    studio.add_stroke([(3, 60), (9, 66)])
    studio.undo()
    assert set(shown) == {"mask", "takes", "status"}
    studio.add_note(4, 70)
    assert {"notes", "song"} <= set(shown)


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


def test_a_file_of_the_page_is_opened_and_a_bad_one_is_told(studio, tmp_path):
    before = studio.picture
    act(studio, "open", [b"no music"], name="bad.mid")
    assert studio.roll.status["wrong"]
    assert np.array_equal(studio.picture, before)
    data = SONG.write_midi(tmp_path / "my song.mid").read_bytes()
    act(studio, "open", [memoryview(data)], name="my song.mid")
    assert np.array_equal(studio.song.notes, SONG.notes)
    assert studio.roll.song["title"] == "my song, 84 BPM, 4/4: MELODY, PIANO"


def test_a_download_leaves_no_file_behind(studio, sent, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    studio.load(SONG)
    act(studio, "save", suffix=".mid")
    soon(lambda: any(content["do"] == "file" for content, _ in sent))
    ((content, (data,)),) = [each for each in sent if each[0]["do"] == "file"]
    assert content["name"] == f"{SONG.name}_new.mid"
    saved = studio.save(tmp_path / "saved.mid")
    assert data == saved.read_bytes()
    saved.unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("title", "taken", "expected"),
    [
        ("waltz", (), "waltz_new.mid"),
        ("waltz", ("waltz_new.mid", "waltz_new_2.mid"), "waltz_new_3.mid"),
        ("waltz_new", (), "waltz_new_2.mid"),
        ("waltz_new_9", ("waltz_new_10.mid",), "waltz_new_11.mid"),
        ("my waltz/2", ("my_waltz_2.mid",), "my_waltz_2_new.mid"),
        ("_new", (), "_new_2.mid"),
        ("anew", (), "anew_new.mid"),
    ],
)
def test_a_download_is_not_named_as_what_was_opened(title, taken, expected):
    assert new_name(title, ".mid", taken) == expected


def test_help_shows_each_call_of_a_session_and_of_an_editor():
    shown = pydoc.render_doc(Studio, renderer=pydoc.plaintext)
    assert "inpaint(self, **settings: Any) -> numpy.ndarray" in shown
    assert "Paint whole bars, `first` to `last`, both included." in shown
    delegates = [
        name
        for kind in Studio.__mro__
        for name, it in vars(kind).items()
        if isinstance(it, Delegate)
    ]
    assert len(delegates) > 60
    assert [name for name in delegates if not getattr(Studio, name).__doc__] == []


def test_muted_parts_are_saved_too_and_that_is_said(studio, tmp_path):
    notes = [(0, 4, 72, 80, 0), (0, 16, 40, 80, 1)]
    studio.load(pomkit.Song(notes, parts=("flute", "bass")))
    studio.save(tmp_path / "a.mid")
    assert "muted" not in told(studio)
    studio.mix(muted=["bass"])
    studio.save(tmp_path / "a.mid")
    assert told(studio) == "a.mid is saved; muted parts are saved, too"
    studio.save(tmp_path / "a.wav", studio.heard_parts)
    assert "muted" not in told(studio)


def test_the_page_is_told_when_each_column_sounds(studio):
    """The playhead's clock: a line for each tempo, from step 0 on."""
    assert studio.roll.song["clock"] == [[0.0, 0.0, 0.125]]
    tempi = [(0, 60.0), (8, 240.0)]
    assert clock_of(tempi, 4) == [(0, 0, 0.125), (0, 0, 0.25), (8, 2, 0.0625)]
    assert seconds_of(np.array([4, 8, 24]), tempi, 4).tolist() == [1, 2, 3]


def test_a_notebook_without_a_kernel_has_a_picture(studio):
    studio.inpaint(seed=1, steps=3)
    data, _ = studio._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == studio.roll.model_id
    image = np.array(Image.open(io.BytesIO(base64.b64decode(data["image/png"]))))
    assert image.shape[1] == STEP * 128
    assert {NOTE, NEW_NOTE} <= {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()}
