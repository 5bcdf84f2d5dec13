"""What a studio's model finds odd: shown with the picture that it is of, and marked by the bar."""

import numpy as np
import pytest
import torch

import pomkit
from pomkit import OptionError, Song, masks
from pomkit.composing.doubting import DOUBT_CALLS
from pomkit.processes.contract import Model
from pomkit.studio import Session, view
from pomkit.studio import session as module
from pomkit.studio.oddness import can_doubt, oddest_bar

MODEL = pomkit.load_model("tiny", "cpu")
# Bar 3 is as all the others, but for three notes far off the key and the beat.
SONG = Song(
    [(4 * i, 4, 60 + (0, 4, 7, 4)[i % 4], 80, 0) for i in range(24)]
    + [(33, 1, 97, 80, 0), (38, 1, 27, 80, 0), (43, 1, 102, 80, 0)]
)


@pytest.fixture
def session():
    """A session on the song, with nothing marked."""
    made = Session(MODEL, SONG)
    yield made
    made.close()


class Silent(Model):
    """A model that does not say how likely a note is."""

    methods = {"copy": 1}  # noqa: RUF012


def test_the_doubt_is_that_of_the_model_and_its_oddest_bar_is_marked(session):
    told = []
    session.observe(told.append)
    bits = session.doubt()
    state = session.editor.state
    expected = pomkit.doubt(MODEL, state.picture, bars=state.bars, meters=state.meters)
    assert np.array_equal(bits, expected)
    assert session.doubt() is bits
    assert told.count("doubt") == DOUBT_CALLS + 2
    session.mark_oddest()
    assert np.array_equal(session.editor.mask, masks.bars(96, 3))
    session.editor.undo()
    assert not session.editor.mask.any()


def test_one_odd_note_is_no_odd_bar_and_silence_has_none(session):
    state = session.editor.state
    bits = np.ones(state.mask.shape, np.float32)
    bits[127 - 60, 0] = 6
    bits[:, 64:80] = 4
    assert oddest_bar(bits, state) == 5
    with pytest.raises(OptionError, match="nothing sounds"):
        Session(MODEL, 32).mark_oddest()


def test_of_a_chosen_part_its_oddest_bar_is_marked(session, monkeypatch):
    notes = [
        (16 * bar, 8, pitch, 80, part) for bar in range(6) for part, pitch in ((0, 80), (1, 40))
    ]
    session.load(Song(notes, parts=("flute", "bass")))
    bits = np.ones(session.editor.mask.shape, np.float32)
    bits[127 - 40, 16:32] = 9
    bits[127 - 80, 64:80] = 5
    monkeypatch.setattr(module, "doubt", lambda *_, **__: bits)
    session.mark_oddest()
    assert session.mask_in_words() == "bar 2, all pitches"
    session.editor.clear()
    session.editor.part = "flute"
    session.mark_oddest()
    assert session.mask_in_words() == "bar 5, flute"


def test_of_a_mask_the_oddest_bar_is_marked_and_no_other_cell(session, monkeypatch):
    bits = np.ones(session.editor.mask.shape, np.float32)
    bits[:, 32:48] = 9
    bits[:, 64:80] = 5
    monkeypatch.setattr(module, "doubt", lambda *_, **__: bits)
    session.editor.add_box((60, 70), (56, 90))
    session.mark_oddest()
    assert np.array_equal(session.editor.mask, masks.box(96, (60, 70), (64, 80)))
    assert session.message == "bar 5 is the oddest marked one"
    session.editor.mask = masks.box(96, (90, 96), (0, 20))
    with pytest.raises(OptionError, match="nothing sounds"):
        session.mark_oddest()


def test_no_bar_is_marked_for_notes_that_are_others_by_then(session, monkeypatch):
    def while_something_is_drawn(*given, **options):
        session.editor.add_note(2, 80)
        return pomkit.doubt(*given, **options)

    monkeypatch.setattr(module, "doubt", while_something_is_drawn)
    with pytest.raises(OptionError, match="ask it again"):
        session.mark_oddest()
    assert not session.editor.mask.any()
    assert session.doubted is None


def test_one_sees_how_far_it_is_and_paints_meanwhile(session):
    shares = []
    remaining = []

    def watch(event):
        doubt = view.piece(session, "doubt")
        if event == "doubt" and doubt["busy"]:
            shares.append(doubt["share"])
            remaining.append(doubt["remaining"])
            session.editor.add_bars(len(shares) % 6 + 1)

    session.observe(watch)
    bits = session.doubt()
    assert shares == [i / DOUBT_CALLS for i in range(DOUBT_CALLS + 1)]
    assert remaining[-1] == "100%, 0 s left"
    assert session.doubted is bits
    assert session.editor.mask.any()
    assert not view.piece(session, "doubt")["busy"]


@pytest.mark.parametrize("stop", ["stop", "stop_doubt"])
def test_it_is_stopped_within_one_call_and_asked_again(session, stop):
    def at_once(event):
        if event == "doubt":
            getattr(session, stop)()

    session.observe(at_once)
    calls = []
    hook = MODEL.register_forward_pre_hook(lambda *_: calls.append(session.doubting))
    with pytest.raises(InterruptedError):
        session.doubt()
    hook.remove()
    assert len(calls) == 1
    assert session.doubted is None
    assert not session.doubting
    assert str(session.message) == "Stopped; what is odd is not known."
    session._observers.remove(at_once)
    assert session.doubt().any()


def test_a_model_is_asked_once_at_a_time(session):
    refused = []

    def again(event):
        if event == "doubt" and session.doubting:
            with pytest.raises(OptionError, match="asked what it finds odd already"):
                session.doubt()
            refused.append(True)

    session.observe(again)
    session.doubt()
    assert len(refused) == DOUBT_CALLS + 1


def test_the_page_is_told_of_each_note_until_the_picture_is_another_one(session):
    assert not len(view.piece(session, "doubt")["table"])
    bits = session.doubt()
    table = view.piece(session, "doubt")["table"]
    notes = session.editor.state.read.notes
    expected = [list(note) for note in notes[["onset", "duration", "pitch"]].tolist()]
    assert table[:, :3].tolist() == expected
    assert table[:, 3].max() == round(10 * float(bits.max()))
    session.editor.add_bars(1)
    assert session.doubted is bits
    session.editor.add_note(2, 80)
    assert session.doubted is None
    session.editor.undo()
    assert session.doubted is bits


def test_a_model_that_cannot_say_so_is_told(session):
    assert can_doubt(MODEL)
    assert session.doubt_obstacle == ""
    session._models["silent"] = Silent(torch.nn.Linear(1, 1), width=256)
    session.settings["model"] = "silent"
    assert "does not say" in view.piece(session, "doubt")["obstacle"]
    with pytest.raises(OptionError, match="does not say how likely"):
        session.doubt()
    assert not session.doubting
