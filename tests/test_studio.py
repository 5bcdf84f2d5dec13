"""The studio by calls, without a front end: composing in a thread, stopping, errors, candidates, history, sound, files."""

import io
import threading
import time

import numpy as np
import pytest
from conftest import make_song

import pomkit
from pomkit import CheckpointError, MidiError, OptionError, PictureError, PomkitError, masks, parse
from pomkit.data import onsets_per_bar, songs

pytest.importorskip("ipycanvas")
from pomkit.studio import SAVERS, SETTINGS, Studio, options_of  # noqa: E402
from pomkit.studio import panel as module  # noqa: E402

MODEL = pomkit.load_model("tiny", "cpu")
SONG = pomkit.read_midi(songs()["auld_lang_syne"])


@pytest.fixture
def studio():
    made = Studio(MODEL, pomkit.render(SONG, 128, 128))
    made.add_bars(3, 4)
    yield made
    made.close()
    assert not made._thread.is_alive()
    end = time.monotonic() + 60  # a sound may still be in the making
    while left := [t for t in threading.enumerate() if t.name == "pomkit studio"]:
        assert time.monotonic() < end, left
        time.sleep(0.01)


def settings_of(studio):
    return {name: studio.value(name) for name in SETTINGS}


def test_it_composes_the_mask_and_nothing_else(studio):
    before, mask = studio.picture, studio.mask
    found = studio.inpaint(n=2, seed=5, steps=6)
    assert found.shape == (2, 128, 128, 3)
    assert np.array_equal(studio.picture, found[0]) and (studio.picture != before).any()
    assert all(np.array_equal(each[~mask], before[~mask]) for each in found)
    assert np.array_equal(
        found, pomkit.inpaint(MODEL, before, mask, n=2, seed=5, steps=6, bars=range(0, 128, 16))
    )
    studio.choose(1)
    assert np.array_equal(studio.picture, found[1]) and np.array_equal(studio.before(), before)
    assert len(studio.history) == 2 and np.array_equal(studio.history[1].state.picture, found[1])
    studio.undo()
    studio.undo()
    assert np.array_equal(studio.picture, before) and np.array_equal(studio.mask, mask)


def test_seeds(studio):
    studio.inpaint(seed=7, steps=4)
    take = studio.history[-1]
    studio.go(0)
    studio.load(take.before.picture, take.before.mask, take.before.bars)
    studio.inpaint(**take.settings)
    assert np.array_equal(studio.picture, take.state.picture) and take.settings["seed"] == 7
    studio.inpaint(steps=4)  # the dice are on: another seed, and it is told
    assert studio.history[-1].settings["seed"] not in (7, 0)
    assert str(studio.history[-1].settings["seed"]) in studio.message.value


def test_painting_goes_on_while_it_composes_and_notes_drawn_meanwhile_stay(studio):
    mask, hold = studio.mask, threading.Event()
    hear, studio._hear = studio._hear, lambda *a: (hold.wait(60), hear(*a))
    studio.start(steps=4, seed=1)
    studio.add_stroke([(10, 60), (20, 60)])
    studio.add_note(2, 90, 6)
    with pytest.raises(OptionError, match="composing already"):
        studio.start()
    hold.set()
    studio.wait()
    assert studio.mask[127 - 60, 15] and studio.note_at(4, 90) is not None
    assert np.array_equal(studio.picture[mask], studio.candidates[0][mask])
    assert (studio.picture[~mask] != studio.candidates[0][~mask]).any()


def test_stop_answers_within_one_call_and_the_picture_stays(studio):
    before, calls = studio.picture, []
    hook = MODEL.register_forward_pre_hook(lambda *_: calls.append(studio._halt.is_set()))
    studio.start(steps=64, U=10, n=2)
    while not calls:
        time.sleep(0.01)
    studio.stop()
    studio.wait()
    hook.remove()
    assert sum(calls) <= 1 and len(calls) < 64
    assert (
        np.array_equal(studio.picture, before)
        and len(studio.history) == 1
        and "Stopped" in studio.message.value
    )
    studio.inpaint(steps=2)  # and it lives on
    assert len(studio.history) == 2


def test_what_was_composed_for_other_music_is_thrown_away(studio):
    hold, hear = threading.Event(), studio._hear
    studio._hear = lambda *a: (hear(*a), hold.wait(60))  # it has passed its last look at Stop
    studio.start(steps=1, seed=1)
    other = pomkit.render(SONG, 0, 128)  # of the same size
    studio.load(other)
    hold.set()
    studio.wait()
    assert (
        np.array_equal(studio.picture, other)
        and len(studio.history) == 1
        and not len(studio.candidates)
    )


def test_what_is_marked_is_brought_into_view(studio):
    studio.load(SONG)
    studio.add_bars(20, 21)
    studio.inpaint(steps=1)
    assert studio.view.left <= 19 * 16 < studio.view.right


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (MemoryError("no room"), "fewer candidates"),
        (RuntimeError("CUDA out of memory. Tried"), "fewer candidates"),
        (ValueError("odd"), "ValueError: odd"),
        (OptionError("steps is 0; choose more"), "steps is 0; choose more"),
    ],
)
def test_errors_are_told_and_raised_and_the_studio_lives_on(studio, monkeypatch, fault, told):
    def fail(*_, **__):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(module, "inpaint", fail)
        with pytest.raises(
            type(fault) if "memory" not in str(fault) + str(type(fault)).lower() else PomkitError
        ):
            studio.inpaint()
    assert told in studio.message.value and not studio.controls["start"].disabled
    studio.inpaint(steps=2)
    assert studio.error is None and len(studio.history) == 2


def test_bad_wishes(studio):
    with pytest.raises(OptionError, match="setting 'tempo'"):
        studio.inpaint(tempo=3)
    studio.clear()
    with pytest.raises(OptionError, match="nothing is marked"):
        studio.inpaint()
    for call in (lambda: studio.choose(0), lambda: studio.go(1), lambda: studio.save("x.mp4")):
        with pytest.raises(OptionError, match="there|choose"):
            call()
    with pytest.raises(CheckpointError):
        Studio("no such model", 64)


def test_live_pictures_and_progress(studio, monkeypatch):
    monkeypatch.setattr(module, "FRAME", 0)
    seen, redraw = [], studio.redraw

    def watch():
        seen.append((studio._live is not None and studio._live.copy(), studio.value("progress")))
        redraw()

    monkeypatch.setattr(studio, "redraw", watch)
    before, mask = studio.picture, studio.mask
    studio.inpaint(steps=6)
    live = [(picture, share) for picture, share in seen if picture is not False]
    assert len(live) == 6 and [share for _, share in live] == sorted(share for _, share in live)
    assert all(np.array_equal(picture[~mask], before[~mask]) for picture, _ in live)
    assert studio.value("progress") == 0 and studio.value("remaining") == ""


def test_candidates_in_the_order_of_density(studio):
    studio.inpaint(n=4, seed=3, steps=4, density=12.0, rank=True)
    mask = studio.history[-1].before.mask
    off = [abs(onsets_per_bar(each, mask) - 12) for each in studio.candidates]
    assert off == sorted(off)


def test_settings_become_options_of_inpaint(studio):
    settings = settings_of(studio) | {
        "key_lock": 1.0,
        "chord_lock": 0.5,
        "steps": 0,
        "density": 0.0,
    }
    options = options_of(MODEL, studio._state, settings)
    assert len(options["rule"]) == 2 and options["steps"] is None is options["density"]
    edm = pomkit.load_model("tiny-edm", "cpu")
    assert not {"rule", "temperature"} & set(options_of(edm, studio._state, settings))
    studio.inpaint(seed=2, steps=6, key_lock=1.0, key="B:maj")
    new = (studio.picture != studio.before()).any(axis=2)
    notes = studio.song.notes
    fresh = notes[new[127 - notes["pitch"], notes["onset"]]]
    assert len(fresh) and np.isin(fresh["pitch"] % 12, [11, 1, 3, 4, 6, 8, 10]).all()


def test_the_other_model(studio):
    studio.set(model="tiny-edm")
    assert studio.controls["temperature"].disabled and studio.controls["method"].options == (
        "conditioned",
        "repaint",
    )
    before, mask = studio.picture, studio.mask
    studio.inpaint(steps=2, method="repaint")
    assert np.array_equal(studio.picture[~mask], before[~mask])
    studio.set(model="given")
    assert not studio.controls["temperature"].disabled and studio.value("method") == "uncover"


def test_history_goes_back_and_forward(studio):
    pictures = [studio.picture]
    for seed in (1, 2):
        studio.inpaint(seed=seed, steps=3)
        pictures.append(studio.picture)
    studio.turn(-1)
    assert np.array_equal(studio.picture, pictures[1]) and studio.place == 1
    studio.turn(-1)
    studio.turn(-1)
    assert np.array_equal(studio.picture, pictures[0]) and studio.place == 0
    studio.turn(+1)
    assert np.array_equal(studio.picture, pictures[1])
    click = studio.strips["history"]._handle_frontend_event
    click(None, {"event": "mouse_down", "x": 800, "y": 30}, [])
    assert studio.place == 2 and np.array_equal(studio.picture, pictures[2])
    studio.controls["aside"].value = True
    assert np.array_equal(studio.shown()[0], studio.history[2].before.picture)


def test_sound_of_now_before_and_what_is_new(studio):
    import soundfile

    studio.inpaint(seed=1, steps=4)
    sounds = {
        what: soundfile.read(io.BytesIO(studio.sound(what)))[0] for what in ("now", "before", "new")
    }
    assert all(np.abs(sound).max() > 0.01 for sound in sounds.values())
    assert not np.array_equal(sounds["now"][:20000], sounds["new"][:20000])
    first = studio.song.notes["onset"][0]
    rate, start = 22050, 32 * 0.125  # what is new begins in bar 3
    assert first < 4 and np.abs(sounds["new"][: int((start - 0.2) * rate)]).max() < 1e-3
    studio.listen("new")
    end = time.monotonic() + 60
    while not studio.audio.value and time.monotonic() < end:
        time.sleep(0.02)
    assert bytes(studio.audio.value) == studio.sound("new") and studio.counts["sounds"] == 1
    studio.inpaint(
        seed=1, steps=4, n=2
    )  # a click on a candidate takes it, and who listens hears it
    studio.strips["candidates"]._handle_frontend_event(
        None, {"event": "mouse_down", "x": 700, "y": 50}, []
    )
    assert studio.chosen == 1 and np.array_equal(studio.picture, studio.candidates[1])
    while studio.counts["sounds"] < 2 and time.monotonic() < end:
        time.sleep(0.02)
    assert studio.counts["sounds"] == 2


@pytest.mark.parametrize("suffix", SAVERS)
def test_files(studio, tmp_path, suffix):
    studio.inpaint(seed=1, steps=3)
    path = studio.save(tmp_path / f"it{suffix}")
    assert path.stat().st_size > 100 and [f.name for f in tmp_path.iterdir()] == [f"it{suffix}"]
    if suffix == ".wav":
        return
    other = Studio(MODEL, 64)
    for source in (path, path.read_bytes()):
        other.load(64)
        other.open(source)
        outside = (
            ~studio.mask if suffix == ".mask.png" else slice(None)
        )  # white paint covers what is under it
        assert np.array_equal(other.picture[outside], studio.picture[outside])
    assert np.array_equal(
        other.mask, studio.mask if suffix in (".mask.png", ".npz") else 0 * other.mask
    )
    other.close()


def test_a_saved_studio_is_the_same_studio(studio, tmp_path):
    studio.inpaint(seed=1, steps=3, key_lock=0.5)
    studio.inpaint(seed=2, n=3)
    studio.turn(-1)
    studio.add_stroke([(3, 60), (9, 70)])
    studio.save(tmp_path / "it.npz")
    other = Studio(MODEL, 64)
    other.open(tmp_path / "it.npz")
    assert np.array_equal(other.picture, studio.picture) and np.array_equal(other.mask, studio.mask)
    assert other.place == 1 and settings_of(other) == settings_of(studio)
    for a, b in zip(other.history, studio.history, strict=True):
        assert a.settings == b.settings
        assert all(
            np.array_equal(x, y)
            for s, t in zip(a[:2], b[:2], strict=True)
            for x, y in zip(s, t, strict=True)
        )
    other.turn(+1)
    assert np.array_equal(other.picture, studio.history[2].state.picture)
    other.close()


@pytest.mark.parametrize(
    "data", [b"", b"no music", b"MThd", b"PK\x03\x04 broken", b"\x89PNG broken", b"GIF8"]
)
def test_a_bad_file_is_told_and_changes_nothing(studio, data, tmp_path):
    before = studio.picture
    with pytest.raises((MidiError, PictureError)):
        studio.open(data, "x.mid")
    studio.guarded(studio.open)(data)
    assert (
        "color" in studio.message.value
        and np.array_equal(studio.picture, before)
        and not studio.history[1:]
    )
    with pytest.raises(PictureError, match="cannot be read"):
        studio.open(tmp_path / "not there.mid")


def test_damaged_studios_are_refused(studio, tmp_path):
    path = studio.save(tmp_path / "it.npz")
    whole = path.read_bytes()
    for cut in (len(whole) // 2, len(whole) - 30):
        with pytest.raises(PictureError, match="saved studio"):
            studio.open(whole[:cut])
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
            studio.open(tmp_path / "bad.npz")
    assert np.array_equal(studio.picture, parts["picture0"])


@pytest.mark.parametrize("version", [7, 8])
def test_upload_as_ipywidgets_7_and_8_give_it(studio, version, tmp_path, monkeypatch):
    data = (SONG.write_midi(tmp_path / "my song.mid")).read_bytes()
    found = (
        ({"name": "my song.mid", "content": memoryview(data)},)
        if version == 8
        else {"my song.mid": {"metadata": {"name": "my song.mid"}, "content": data}}
    )

    class Upload:
        value = found

    monkeypatch.setitem(studio.controls, "upload", Upload())
    studio._upload()
    assert studio.song.name == "my song" and np.array_equal(
        studio.song.notes, SONG.canonical().notes
    )
    assert not studio.controls["upload"].value and type(studio.controls["upload"].value) is type(
        found
    )


def test_a_download_leaves_no_file_behind(studio, tmp_path, monkeypatch):
    import base64
    import re
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    studio.load(SONG)
    studio._offer(".mid")
    name, data = re.search(r'download="(.*?)".*base64,(.*?)"', studio.link.value).groups()
    read = pomkit.read_midi(base64.b64decode(data))
    assert name == f"{SONG.name}.mid" and np.array_equal(
        read.canonical().notes, SONG.canonical().notes
    )
    assert list(tmp_path.iterdir()) == []


def test_an_empty_roll_with_some_notes_is_filled(studio):
    studio.load(128)
    for step in (0, 16, 32, 48):
        studio.add_note(step, 60 + step // 8, 8)
    drawn = (studio.picture != 0).any(axis=2)
    studio.preset("all")
    studio.mask = studio.mask & ~drawn
    studio.inpaint(seed=1, steps=6)
    assert (
        np.array_equal(studio.picture[drawn], studio.before()[drawn]) and len(studio.song.notes) > 8
    )
    assert parse(studio.picture) == studio.song


def test_a_random_song_of_any_width_can_be_opened(tmp_path):
    for seed, width in ((0, 1), (1, 17), (2, 700)):
        made = Studio(
            MODEL,
            pomkit.render(
                make_song(np.random.default_rng(seed), end=width).canonical(), width=width
            ),
        )
        made.mask = masks.everything(width)
        made.inpaint(steps=1, seed=1)
        assert made.picture.shape == (128, width, 3)
        made.close()
