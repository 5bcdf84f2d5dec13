"""The session, without any widget: composing in a thread, stopping, errors, takes, sound, files."""

import io
import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import make_song

import pomkit
from pomkit import CheckpointError, MidiError, OptionError, PictureError, PomkitError, masks, parse
from pomkit.composing.busyness import busiest_of
from pomkit.data import onsets_per_bar, songs
from pomkit.studio import SAVERS, SETTINGS, Gesture, Session, options_of
from pomkit.studio import session as module
from pomkit.studio.sampling import knows
from pomkit.studio.session import EVENTS

MODEL = pomkit.load_model("tiny", "cpu")
SONG = pomkit.read_midi(songs()["auld_lang_syne"])


@pytest.fixture
def session():
    """A session on eight bars, of which the third and the fourth are marked."""
    made = Session(MODEL, pomkit.render(SONG, 128, 128))
    made.editor.add_bars(3, 4)
    made.set(n=1)
    yield made
    made.close()
    assert not made.composing
    end = time.monotonic() + 60
    while left := [t for t in threading.enumerate() if t.name == "pomkit studio"]:
        assert time.monotonic() < end, left
        time.sleep(0.01)


def test_a_session_needs_no_widgets():
    code = (
        "import sys; sys.modules['ipycanvas'] = sys.modules['ipywidgets'] = None\n"
        "import pomkit\nprint(pomkit.studio.Session('tiny', 16).editor.width)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "16"


def test_it_composes_the_mask_and_nothing_else(session):
    editor = session.editor
    before, mask = editor.picture, editor.mask
    song_before = editor.state.song
    candidates = session.inpaint(n=2, seed=5, steps=6)
    assert candidates.shape == (2, 128, 128, 3)
    assert np.array_equal(editor.picture, candidates[0])
    assert (editor.picture != before).any()
    assert all(np.array_equal(each[~mask], before[~mask]) for each in candidates)
    most = busiest_of(song_before, mask)
    how = {"n": 2, "seed": 5, "steps": 6, "busiest": most}
    same = pomkit.inpaint(MODEL, before, mask, bars=range(0, 128, 16), **how)
    assert np.array_equal(candidates, same)

    session.choose(1)
    assert np.array_equal(editor.picture, candidates[1])
    assert np.array_equal(session.before(), before)
    assert len(session.history) == 2
    assert np.array_equal(session.history[1].state.picture, candidates[1])
    editor.undo()
    editor.undo()
    assert np.array_equal(editor.picture, before)
    assert np.array_equal(editor.mask, mask)


def test_seeds(session):
    session.inpaint(seed=7, steps=4)
    take = session.history[-1]
    session.go(0)
    session.load(take.before.picture, take.before.mask, take.before.bars)
    session.inpaint(**take.settings)
    assert np.array_equal(session.editor.picture, take.state.picture)
    assert take.settings["seed"] == 7

    session.inpaint(steps=4)  # the dice are on: another seed, and it is told
    seed = session.history[-1].settings["seed"]
    assert seed not in (7, 0)
    assert str(seed) in session.message

    session.dice = False
    session.inpaint(steps=1)
    assert session.history[-1].settings["seed"] == seed


def test_a_gesture_goes_in_and_a_mask_comes_out(session):
    told = []
    session.observe(told.append)
    session.editor.clear()
    session.perform(Gesture("box", [(16, 60), (31, 72)]))
    assert np.array_equal(session.editor.mask, masks.box(128, (60, 72), (16, 32)))
    session.perform(Gesture("pencil", [(2, 90), (7, 90)]))
    assert session.editor.note_at(4, 90) is not None
    assert told == ["state"] * 3


def test_observers_are_told_of_everything(session, monkeypatch):
    monkeypatch.setattr(module, "FRAME", 0)
    told = []
    session.observe(told.append)
    session.inpaint(n=2, steps=3)
    session.choose(1)
    session.doubt()
    session.mix(muted=session.players)
    session.load(64)
    session.sounds_now()
    Session(MODEL, 16).sounds_now()
    assert set(told) == set(EVENTS)


def test_live_pictures_and_progress(session, monkeypatch):
    monkeypatch.setattr(module, "FRAME", 0)
    live, shares = [], []

    def watch(event):
        if event == "live" and session.live is not None:
            live.append(session.live.copy())
            shares.append(session.status.share)

    session.observe(watch)
    before, mask = session.editor.picture, session.editor.mask
    session.inpaint(steps=6)
    assert len(live) == 6
    assert shares == sorted(shares)
    assert all(np.array_equal(picture[~mask], before[~mask]) for picture in live)
    assert session.live is None
    assert session.status == (False, 0, "")


def test_painting_goes_on_while_it_composes_and_notes_drawn_meanwhile_stay(session):
    editor = session.editor
    mask, hold = editor.mask, threading.Event()
    hear, session._hear = session._hear, lambda *a: (hold.wait(60), hear(*a))
    session.start(steps=4, seed=1)
    editor.add_stroke([(10, 60), (20, 60)])
    editor.add_note(2, 90, 6)
    with pytest.raises(OptionError, match="composing already"):
        session.start()
    hold.set()
    session.wait()
    assert editor.mask[127 - 60, 15]
    assert editor.note_at(4, 90) is not None
    assert np.array_equal(editor.picture[mask], session.candidates[0][mask])
    assert (editor.picture[~mask] != session.candidates[0][~mask]).any()


def test_stop_answers_within_one_call_and_the_picture_stays(session):
    before, calls = session.editor.picture, []
    hook = MODEL.register_forward_pre_hook(lambda *_: calls.append(session._halt.is_set()))
    session.start(steps=64, U=10, n=2)
    while not calls:
        time.sleep(0.01)
    session.stop()
    session.wait()
    hook.remove()
    assert sum(calls) <= 1
    assert len(calls) < 64
    assert np.array_equal(session.editor.picture, before)
    assert len(session.history) == 1
    assert "Stopped" in session.message
    session.inpaint(steps=2)  # and it lives on
    assert len(session.history) == 2


def test_what_was_composed_for_other_music_is_thrown_away(session):
    hold, hear = threading.Event(), session._hear
    session._hear = lambda *a: (hear(*a), hold.wait(60))  # it has passed its last look at Stop
    session.start(steps=1, seed=1)
    other = pomkit.render(SONG, 0, 128)  # of the same size
    session.load(other)
    hold.set()
    session.wait()
    assert np.array_equal(session.editor.picture, other)
    assert len(session.history) == 1
    assert not len(session.candidates)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (MemoryError("no room"), "fewer candidates"),
        (RuntimeError("CUDA out of memory. Tried"), "fewer candidates"),
        (ValueError("odd"), "odd"),
        (OptionError("steps is 0; choose more"), "steps is 0; choose more"),
    ],
)
def test_errors_are_told_and_raised_and_the_session_lives_on(session, monkeypatch, fault, told):
    def fail(*_, **__):
        raise fault

    short_of_memory = told == "fewer candidates"
    with monkeypatch.context() as patch:
        patch.setattr(module, "inpaint", fail)
        with pytest.raises(PomkitError if short_of_memory else type(fault)):
            session.inpaint()
    assert told in str(session.message)
    assert isinstance(session.message, Exception)
    assert not session.status.busy
    session.inpaint(steps=2)
    assert session.error is None
    assert len(session.history) == 2


def test_bad_wishes(session):
    with pytest.raises(OptionError, match="setting 'tempo'"):
        session.inpaint(tempo=3)
    session.editor.clear()
    with pytest.raises(OptionError, match="nothing is marked"):
        session.inpaint()
    with pytest.raises(CheckpointError):
        Session("no such model", 64)
    with pytest.raises(OptionError, match="there is no candidate"):
        session.choose(0)
    with pytest.raises(OptionError, match="there is no kept picture"):
        session.go(1)
    with pytest.raises(OptionError, match="choose a name"):
        session.save("x.mp4")
    with pytest.raises(OptionError, match="sound 'old'"):
        session.sound("old")


def test_settings_outside_their_ranges_are_refused(session):
    session.set(rank=1)
    assert session.settings["rank"] is True
    for name, bad in (
        ("n", 64),
        ("n", "many"),
        ("seed", 2**40),
        ("seed", -1),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("key", "H:maj"),
        ("method", "magic"),
        ("model", "mine"),
    ):
        before = dict(session.settings)
        with pytest.raises(OptionError):
            session.set(**{name: bad})
        assert session.settings == before


def test_an_interrupt_stops_what_is_composed(session, monkeypatch):
    before = session.editor.picture
    idle = session._idle
    waiting = idle.wait
    interrupts = [KeyboardInterrupt]

    def wait():
        if interrupts:
            raise interrupts.pop()
        return waiting()

    monkeypatch.setattr(idle, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        session.inpaint(seed=1, steps=64)
    assert not session.composing
    assert np.array_equal(session.editor.picture, before)
    assert len(session.history) == 1
    session.inpaint(seed=2, steps=2)
    assert [take.settings.get("seed") for take in session.history] == [None, 2]


def test_a_closed_session_says_so(session):
    session.close()
    with pytest.raises(OptionError, match="was closed"):
        session.inpaint(steps=1)


def test_candidates_in_the_order_of_density(session):
    session.inpaint(n=4, seed=3, steps=4, density=12.0, rank=True)
    mask = session.history[-1].before.mask
    distance = [abs(onsets_per_bar(each, mask) - 12) for each in session.candidates]
    assert distance == sorted(distance)


def test_settings_become_options_of_inpaint(session):
    state = session.editor.state
    settings = session.settings | {"key_lock": 1.0, "chord_lock": 0.5}
    options = options_of(MODEL, state, settings)
    assert len(options["rule"]) == 2
    assert options["calls"] is None
    assert options["density"] is None
    edm = pomkit.load_model("tiny-edm-pixels", "cpu")
    assert not {"rule", "temperature"} & set(options_of(edm, state, settings))

    session.inpaint(seed=2, steps=6, key_lock=1.0, key="B:maj")
    new = (session.editor.picture != session.before()).any(axis=2)
    notes = session.editor.song.notes
    fresh = notes[new[127 - notes["pitch"], notes["onset"]]]
    assert len(fresh)
    assert np.isin(fresh["pitch"] % 12, [11, 1, 3, 4, 6, 8, 10]).all()


def test_another_model_brings_its_method(session):
    session.set(model="tiny-edm")
    assert session.settings["method"] == "conditioned"
    before, mask = session.editor.picture, session.editor.mask
    session.inpaint(steps=2, method="repaint")
    assert np.array_equal(session.editor.picture[~mask], before[~mask])
    session.set(model="given")
    assert session.settings["method"] == "uncover"


def test_history_goes_back_and_forward(session):
    pictures = [session.editor.picture]
    for seed in (1, 2):
        session.inpaint(seed=seed, steps=3)
        pictures.append(session.editor.picture)
    for by, place in ((-1, 1), (-1, 0), (-1, 0), (1, 1), (1, 2), (1, 2)):
        session.turn(by)
        assert session.place == place
        assert np.array_equal(session.editor.picture, pictures[place])


def test_sound_of_now_before_and_what_is_new(session):
    import soundfile

    session.inpaint(seed=1, steps=4)
    sounds = {
        what: soundfile.read(io.BytesIO(session.sound(what)))[0]
        for what in ("now", "before", "new")
    }
    assert all(np.abs(sound).max() > 0.01 for sound in sounds.values())
    assert not np.array_equal(sounds["now"][:20000], sounds["new"][:20000])
    rate, start = 22050, 32 * 0.125  # what is new begins in bar 3
    assert session.editor.song.notes["onset"][0] < 4
    assert np.abs(sounds["new"][: int((start - 0.2) * rate)]).max() < 1e-3


# Files


@pytest.mark.parametrize("suffix", SAVERS)
def test_files(session, tmp_path, suffix):
    session.inpaint(seed=1, steps=3)
    path = session.save(tmp_path / f"it{suffix}")
    assert path.stat().st_size > 100
    assert [f.name for f in tmp_path.iterdir()] == [f"it{suffix}"]
    if suffix == ".wav":
        return

    other, editor = Session(MODEL, 64), session.editor
    keeps_mask = suffix in (".mask.png", ".npz")
    # White paint covers what is under it.
    seen = ~editor.mask if suffix == ".mask.png" else np.ones_like(editor.mask)
    for source in (path, path.read_bytes()):
        other.load(64)
        other.open(source)
        assert np.array_equal(other.editor.picture[seen], editor.picture[seen])
        assert np.array_equal(other.editor.mask, editor.mask if keeps_mask else 0 * editor.mask)


def equal(one, two):
    """Whether two states are equal in every field."""
    return all(np.array_equal(x, y) for x, y in zip(one, two, strict=True))


def test_a_saved_studio_is_the_same_studio(session, tmp_path):
    session.inpaint(seed=1, steps=3, key_lock=0.5)
    session.inpaint(seed=2, n=3)
    session.turn(-1)
    session.editor.add_stroke([(3, 60), (9, 70)])
    session.save(tmp_path / "it.npz")
    other = Session(MODEL, 64)
    other.open(tmp_path / "it.npz")
    assert equal(other.editor.state, session.editor.state)
    assert other.place == 1
    assert other.settings == session.settings
    for one, two in zip(other.history, session.history, strict=True):
        assert one.settings == two.settings
        assert equal(one.state, two.state)
        assert equal(one.before, two.before)
    other.turn(+1)
    assert np.array_equal(other.editor.picture, session.history[2].state.picture)


def test_a_studio_that_version_0_1_0_saved_can_be_opened(session, tmp_path):
    """The format written down: arrays of every state, the rest as JSON."""
    first, second = pomkit.render(SONG, 0, 64), pomkit.render(SONG, 64, 64)
    mask, bars = masks.bars(64, 2), np.arange(0, 64, 16)
    made = {"seed": 3, "n": 2, "method": "uncover"}
    now = {"n": 2, "key": "D:min", "model": "not here", "method": "uncover", "steps": 12}
    about = {"place": 1, "now": now, "takes": [{}, made], "states": 5}
    arrays = {"about": np.array(json.dumps(about))}
    for i, picture in enumerate((second, first, first, second, first)):
        arrays |= {f"picture{i}": picture, f"mask{i}": mask, f"bars{i}": bars}
        arrays |= {f"name{i}": np.array("an old one")}
    np.savez_compressed(tmp_path / "old.npz", **arrays)

    session.open(tmp_path / "old.npz")
    assert np.array_equal(session.editor.picture, second)
    assert np.array_equal(session.editor.mask, mask)
    assert session.editor.song.name == "an old one"
    assert session.place == 1
    assert [take.settings for take in session.history] == [{}, made]
    assert np.array_equal(session.before(), first)
    wanted = now | {"model": "given"}  # a model that is not here is left out
    assert {name: session.settings[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "data", [b"", b"no music", b"MThd", b"PK\x03\x04 broken", b"\x89PNG broken", b"GIF8"]
)
def test_a_bad_file_changes_nothing(session, data, tmp_path):
    before = session.editor.picture
    with pytest.raises((MidiError, PictureError)):
        session.open(data, "x.mid")
    assert np.array_equal(session.editor.picture, before)
    assert not session.history[1:]
    with pytest.raises(PictureError, match="cannot be read"):
        session.open(tmp_path / "not there.mid")


def test_damaged_studios_are_refused(session, tmp_path):
    path = session.save(tmp_path / "it.npz")
    whole = path.read_bytes()
    for cut in (len(whole) // 2, len(whole) - 30):
        with pytest.raises(PictureError, match="saved studio"):
            session.open(whole[:cut])
    with np.load(path) as file:
        parts = dict(file)
    for name, bad in {
        "about": np.array("{}"),
        "name1": np.array([{}], object),
        "picture0": np.zeros(3),
        "mask1": parts["mask1"][:, 1:],
        "picture1": np.array([{}], object),
    }.items():
        np.savez(tmp_path / "bad.npz", **parts | {name: bad})
        with pytest.raises(PictureError, match="saved studio"):
            session.open(tmp_path / "bad.npz")
    assert np.array_equal(session.editor.picture, parts["picture0"])


def test_an_empty_roll_with_some_notes_is_filled(session):
    editor = session.editor
    session.load(128)
    for step in (0, 16, 32, 48):
        editor.add_note(step, 60 + step // 8, 8)
    drawn = (editor.picture != 0).any(axis=2)
    editor.preset("all")
    editor.mask = editor.mask & ~drawn
    session.inpaint(seed=1, steps=6)
    assert np.array_equal(editor.picture[drawn], session.before()[drawn])
    assert len(editor.song.notes) > 8
    assert parse(editor.picture) == editor.song


@pytest.mark.parametrize(("seed", "width"), [(0, 1), (1, 17), (2, 700)])
def test_a_random_song_of_any_width_can_be_composed(seed, width):
    song = make_song(np.random.default_rng(seed), end=width).canonical()
    session = Session(MODEL, pomkit.render(song, width=width))
    session.editor.mask = masks.everything(width)
    session.inpaint(steps=1, seed=1)
    assert session.editor.picture.shape == (128, width, 3)


def test_music_without_chords_is_composed_with_those_that_are_heard_in_it(session):
    """They steer what is composed, and leave no trace on the picture, live or finished."""
    silent = SONG.with_notes(SONG.notes, chords=()).without_source()
    picture, bars = pomkit.render(silent, 128, 128), range(0, 128, 16)
    session.load(picture, masks.bars(128, 3, 4), bars)
    before, song = session.editor.picture, session.editor.song
    lives = []
    session.observe(lambda event: lives.append(session.live) if event == "live" else None)
    session.inpaint(seed=5, steps=6)
    told = pomkit.inpaint(
        MODEL, before, session.editor.mask, seed=5, steps=6, bars=bars,
        chords=song.with_chords().chords, busiest=busiest_of(song, session.editor.mask),
    )  # fmt: skip
    heard = session.candidates[0]
    assert np.array_equal(heard[8:120], told[0][8:120])
    assert all(not live[:8].any() for live in [*lives, heard] if live is not None)
    assert "chords heard in the song were shown" in session.message

    plain = session.inpaint(seed=5, steps=6, heard_chords=False)
    assert "chords heard" not in session.message
    assert not np.array_equal(plain[0], heard)


@pytest.mark.parametrize(("wish", "whole"), [(True, None), (False, False)])
def test_a_model_with_a_memory_can_be_kept_from_the_rest_of_the_song(session, wish, whole):
    """The setting is the `whole` of `inpaint`."""
    editor = session.editor
    before, mask = editor.picture, editor.mask
    given = dict(seed=5, calls=4, busiest=busiest_of(editor.song, mask))
    (composed,) = session.inpaint(seed=5, steps=4, repeats=wish)
    bars = editor.state.bars
    told = pomkit.inpaint(MODEL, before, mask, whole=whole, bars=bars, **given)
    assert np.array_equal(composed, told[0])


def test_a_model_without_a_memory_does_not_know_that_bars_can_come_back():
    edm = pomkit.load_model("tiny-edm", "cpu")
    assert [knows(each, "repeats") for each in (MODEL, edm)] == [True, False]


def test_the_first_settings_are_in_their_ranges():
    for name, setting in SETTINGS.items():
        assert setting.fit(setting.default) == setting.default, name
