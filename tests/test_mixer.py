"""Who is heard in a studio: muted parts, parts alone, and the drums that a file has besides."""

import numpy as np
import pytest
import soundfile

import pomkit
from pomkit import OptionError, Song, read_midi
from pomkit.studio import Mix, Session, view
from pomkit.studio import session as module
from pomkit.studio.mixer import drums_of, with_drums
from pomkit.studio.storage import open_contents

MODEL = pomkit.load_model("tiny", "cpu")
# The drums lie between the steps, the other parts on them.
BAND = Song(
    [(4 * i, 4, 72 + i % 5, 80, 0) for i in range(16)]
    + [(16 * bar, 16, 40, 70, 1) for bar in range(4)]
    + [(4 * i, 1, 36 + 6 * (i % 2), 100, 2) for i in range(16)],
    parts=("flute", "bass", "drums"),
    programs=(73, 32, 0),
    channels=(0, 1, 9),
    tempi=[(0, 90)],
    name="band",
)
FILE = BAND.to_midi().data


@pytest.fixture
def session():
    """A session on the file of the band, as a person opens it: without its drums."""
    made = Session(MODEL, 16)
    made.open(FILE, "band.mid")
    made.set(n=1)
    yield made
    made.close()


@pytest.fixture
def played(monkeypatch):
    """The songs that are made to sound."""
    songs = []
    monkeypatch.setattr(module, "synthesize", lambda song, *rate: songs.append(song))
    monkeypatch.setattr(module, "mp3", lambda audio, rate: b"mp3")
    module._mp3.cache_clear()
    yield songs
    module._mp3.cache_clear()


def test_the_drums_of_a_file_are_those_that_reading_it_with_drums_gives():
    drums = drums_of(read_midi(FILE))
    beaten = BAND.notes[BAND.notes["part"] == 2]
    assert drums.notes[["onset", "pitch", "velocity"]].tolist() == (
        beaten[["onset", "pitch", "velocity"]].tolist()
    )
    assert drums.parts == ("drums",)
    whole = with_drums(read_midi(FILE), drums)
    assert whole == read_midi(FILE, drums=True)
    assert whole.channels == (0, 1, 9)


def test_there_are_none_where_the_song_has_them_or_the_file_has_not():
    pitched = BAND.with_notes(BAND.notes[BAND.notes["part"] < 2]).to_midi().data
    for song in (None, BAND, read_midi(FILE, drums=True), read_midi(pitched)):
        assert drums_of(song).parts == ()


def test_a_mix_names_who_is_heard(session):
    told = []
    session.observe(told.append)
    assert session.heard_parts == ["flute", "bass", "drums"]
    session.mix(muted=["bass"])
    session.mix(muted=["bass"])
    assert (session.heard_parts, told) == (["flute", "drums"], ["mix"])
    session.mix(muted=["bass"], alone=["bass"])
    assert session.heard_parts == ["bass"]
    assert view.piece(session, "mix") == {"muted": ["bass"], "alone": ["bass"]}
    with pytest.raises(OptionError, match="harp"):
        session.mix(alone=["harp"])
    assert session.heard_parts == ["bass"]
    session.editor.undo()
    assert session.mixed == Mix()


def test_the_sound_obeys_the_mix_and_the_music_stays(session, played):
    song = session.editor.song
    whole = with_drums(song, session.drums)
    session.mix(alone=["bass", "drums"])
    session.sound()
    assert np.array_equal(played[-1].notes, whole.notes[whole.select(["bass", "drums"])])
    session.sound(parts=session.players)
    assert np.array_equal(played[-1].notes, whole.notes)
    assert session.editor.song is song
    assert session.editor.song.to_midi().data == FILE


def test_parts_that_are_not_heard_are_in_every_saved_file(session, tmp_path):
    session.editor.add_bars(2)
    session.inpaint(seed=1, steps=2)
    song = session.editor.song
    session.mix(muted=session.players)
    assert session.heard_parts == []
    saved = session.save(tmp_path / "muted.mid").read_bytes()
    assert saved == song.to_midi().data
    for drums, parts in ((False, {0, 1}), (True, {0, 1, 2})):
        notes = read_midi(saved, drums=drums).notes
        assert set(notes["part"].tolist()) == parts
    kept = open_contents(session.save(tmp_path / "muted.npz")).state
    assert np.array_equal(kept.song.notes, song.notes)


def test_new_notes_sound_without_drums(session, played):
    session.editor.add_note(9, 90)
    session.sound("new")
    assert played[-1].notes[["onset", "pitch"]].tolist() == [(9, 90)]
    session.editor.add_bars(2)
    session.inpaint(seed=1, steps=2)
    session.sound("new")
    assert len(played[-1].notes)
    assert not (played[-1].notes["part"] == 2).any()


def test_a_sound_is_saved_with_all_parts_or_those_that_are_heard(session, tmp_path):
    session.mix(alone=["drums"])
    lengths = []
    for parts in (None, session.heard_parts, ["flute"]):
        path = session.save(tmp_path / "it.wav", parts)
        lengths.append(soundfile.read(path)[0])
    assert not np.array_equal(lengths[0], lengths[1][: len(lengths[0])])
    assert np.abs(lengths[1]).max() > 0.01
    with pytest.raises(OptionError, match="sound alone"):
        session.save(tmp_path / "it.mid", ["flute"])


def test_the_page_is_told_of_the_drums_and_of_a_studio_that_was_saved_too(session, tmp_path):
    table = view.piece(session, "drums")
    assert table[:, [0, 2, 4]].tolist() == [[4 * i, 36 + 6 * (i % 2), 2] for i in range(16)]
    beside = [part["beside"] for part in view.piece(session, "song")["parts"]]
    assert beside == [False, False, True]
    contents = open_contents(session.save(tmp_path / "all.npz"))
    assert len(drums_of(contents.state.origin).notes) == 16
