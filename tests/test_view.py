"""A session as plain values: what a page is told is what the session has."""

import json

import numpy as np
import pytest

import pomkit
from pomkit import Song, masks, render
from pomkit.studio import SETTINGS, Session, view
from pomkit.studio.session import EVENTS

MODEL = pomkit.load_model("tiny", "cpu")
JIG = Song(
    [(bar * 12 + 2 * i, 2, 72 + i, 80, 0) for bar in range(6) for i in range(6)]
    + [(bar * 12, 12, pitch, 60, 1) for bar in range(6) for pitch in (3, 48, 52)]
    + [(bar * 12, 1, 36, 90, 2) for bar in range(6)],
    parts=("fiddle", "harp", "drums"),
    programs=(40, 46, 0),
    channels=(0, 1, 9),
    meters=[(0, 6, 8)],
    tempi=[(0, 90), (24, 60)],
    name="jig",
)


@pytest.fixture
def session():
    """A session on a jig, of which the bars 3 and 4 are marked."""
    made = Session(MODEL, JIG.with_chords())
    made.editor.add_bars(3, 4)
    yield made
    made.close()


def plain(value):
    """A value as JSON gives it back; bytes and arrays, which travel apart, are left out."""
    return json.loads(json.dumps(value, default=lambda _: None))


def test_every_event_names_pieces_and_every_piece_is_plain(session):
    session.inpaint(n=2, steps=1, seed=1)
    assert set(view.CHANGES) == set(EVENTS)
    assert {name for names in view.CHANGES.values() for name in names} == set(view.PIECES)
    for name in view.PIECES:
        told = view.piece(session, name)
        if isinstance(told, np.ndarray):
            assert told.dtype == np.int32
            assert told.flags.c_contiguous
        else:
            assert plain(told) == plain(plain(told))


def test_the_song(session):
    told = view.piece(session, "song")
    assert told["title"] == "jig, 60 to 90 BPM, 6/8: fiddle, harp, drums"
    assert told["width"] == 72
    assert told["bars"] == [0, 12, 24, 36, 48, 60]
    assert told["beats"] == list(range(0, 72, 6))
    assert [line[0] for line in told["clock"]] == [0, 0, 24]
    assert told["clock"][-1][2] == pytest.approx(0.25)
    fiddle = {"name": "fiddle", "program": 40, "channel": 0, "drums": False, "beside": False}
    assert told["parts"][0] == fiddle
    assert [part["drums"] for part in told["parts"]] == [False, False, True]
    assert (told["low"], told["high"]) == (36, 77)
    onset, duration, label, colour = told["chords"][0]
    assert (onset, label in pomkit.music.chords.LABELS) == (0, True)
    assert len(colour) == 7


def test_notes_are_those_that_the_picture_shows_with_their_parts(session):
    table = view.piece(session, "notes")
    assert table.shape[1] == len(view.TABLE_COLUMNS)
    seen = JIG.notes[JIG.notes["pitch"] > 7]
    assert table[:, :5].tolist() == [list(note) for note in seen.tolist()]
    assert not table[:, 5].any()


def test_new_notes_are_told_until_they_are_undone(session):
    before = view.piece(session, "notes")
    session.inpaint(n=1, steps=2, seed=1)
    table = view.piece(session, "notes")
    new = table[table[:, 5] == 1]
    inside = (table[:, 0] >= 24) & (table[:, 0] < 48)
    assert len(new)
    assert not table[~inside, 5].any()
    assert view.piece(session, "before").tolist() == before.tolist()
    session.editor.undo()
    assert view.piece(session, "notes").tolist() == before.tolist()


def test_notes_of_a_picture_are_its_notes():
    made = Session(MODEL, render(JIG))
    notes = made.editor.song.notes.tolist()
    assert view.piece(made, "notes")[:, :5].tolist() == [list(note) for note in notes]


@pytest.mark.parametrize("width", [1, 8, 9, 71])
def test_the_mask_comes_back_from_its_bits(width):
    mask = np.random.default_rng(width).random((128, width)) < 0.5
    bits = view.bits_of_mask(mask)
    assert len(bits) == 128 * -(-width // 8)
    assert np.array_equal(view.mask_of_bits(bits, width), mask)


def test_the_mask_in_bits_and_words(session):
    told = view.piece(session, "mask")
    assert np.array_equal(view.mask_of_bits(told["bits"], 72), session.editor.mask)
    assert told["words"] == "bars 3-4, all pitches"
    assert (told["start"], told["stop"], told["listen"]) == (24, 48, 12)
    assert (told["part"], told["undo"], told["redo"]) == (None, True, False)
    assert told["parts"] == ["melody", "accompaniment", "fiddle", "harp", "drums"]
    assert told["within"] == b""
    session.editor.part = "harp"
    within = view.piece(session, "mask")["within"]
    cells = masks.melody(JIG, "harp")
    assert np.array_equal(view.mask_of_bits(within, 72), cells)
    session.editor.undo()
    session.editor.undo()
    told = view.piece(session, "mask")
    assert (told["start"], told["stop"], told["listen"]) == (0, 0, -1)
    assert (told["undo"], told["redo"]) == (False, True)


def test_takes_and_candidates(session):
    assert view.piece(session, "takes")["names"] == ["the beginning"]
    assert view.piece(session, "candidates")["tables"] == []
    pictures = session.inpaint(n=2, steps=2, seed=1)
    session.choose(1)
    told = view.piece(session, "takes")
    assert told["names"] == ["the beginning", "bars 3-4, take 1"]
    assert told["tips"] == ["", "model 'given', n 2, seed 1"]
    assert (told["place"], told["bring_back"], told["composed"]) == (1, "", 1)
    told = view.piece(session, "candidates")
    assert (told["chosen"], told["start"], told["stop"]) == (1, 24, 48)
    everywhere = zip(told["tables"], pictures, told["notes_per_bar"], strict=True)
    for table, picture, density in everywhere:
        places = {(onset, pitch) for onset, _, pitch, *_ in table.tolist()}
        row, step = np.nonzero((picture[..., 0] > 0) & masks.everything(72))
        assert places == {(int(s), 127 - int(r)) for r, s in zip(row, step, strict=True)}
        inside = [each for each in places if 24 <= each[0] < 48]
        assert density == len(inside) / 2
    assert np.array_equal(told["tables"][1], view.piece(session, "notes"))
    session.load(64)
    assert view.piece(session, "takes")["bring_back"] == "1 take of jig"


def test_settings_have_plain_names_and_the_papers(session):
    told = {each["name"]: each for each in view.piece(session, "settings")}
    assert list(told) == list(SETTINGS)
    assert told["density"]["label"] == "Busy-ness"
    assert told["density"]["paper"] == "density"
    assert told["density"]["learned"] == 0
    assert (told["n"]["kind"], told["n"]["value"]) == ("int", 3)
    assert told["rank"]["kind"] == "bool"
    assert "uncover" in told["method"]["choices"]
    assert [name for name, each in told.items() if each["primary"]] == ["density", "temperature"]
    session.set(model="tiny-edm-pixels", n=2)
    told = {each["name"]: each for each in view.piece(session, "settings")}
    assert not told["temperature"]["known"]
    assert told["n"]["value"] == 2


def test_status_says_what_is_wrong_and_what_hinders(session):
    assert view.piece(session, "status") == {
        "busy": False,
        "share": 0.0,
        "remaining": "",
        "message": "",
        "wrong": False,
        "obstacle": "",
        "advice": "",
    }
    session.editor.clear()
    session.say(ValueError("odd"))
    told = view.piece(session, "status")
    assert (told["message"], told["wrong"]) == ("ValueError: odd", True)
    assert "nothing is marked" in told["obstacle"]


def test_the_live_picture(session, monkeypatch):
    from pomkit.studio import session as module

    monkeypatch.setattr(module, "FRAME", 0)
    tables = []
    session.observe(lambda event: event == "live" and tables.append(view.piece(session, "live")))
    kept = view.piece(session, "notes")
    kept = kept[(kept[:, 0] + kept[:, 1] <= 24) | (kept[:, 0] >= 48)]
    session.inpaint(n=1, steps=3, seed=1)
    *live, last = tables
    assert last is None
    assert len(live) == 3
    known = {(onset, pitch): part for onset, _, pitch, _, part, _ in kept.tolist()}
    for table in live:
        assert known.items() <= {(row[0], row[2]): row[4] for row in table.tolist()}.items()
        places = {*map(tuple, table[:, [0, 2]].tolist())}
        assert {*map(tuple, kept[:, [0, 2]].tolist())} <= places
        assert not (table[table[:, 0] < 24, 5]).any()
