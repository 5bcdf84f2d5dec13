"""What a session keeps, over undo, other music and a cell that runs again; names of takes."""

import threading

import numpy as np
import pytest

import pomkit
from pomkit import OptionError, Song, masks
from pomkit.composing.voices import most_at_once
from pomkit.studio import Gesture, Session, options_of
from pomkit.studio.sampling import SETTINGS, order_of

MODEL = pomkit.load_model("tiny", "cpu")
QUICK = {"steps": 1, "n": 2}
WALTZ = Song(
    [(bar * 12, 4, 72 + bar % 5, 80, 0) for bar in range(8)]
    + [(bar * 12, 12, 48, 60, 1) for bar in range(8)],
    parts=("air", "bass"),
    meters=[(0, 3, 4)],
    name="waltz",
)


@pytest.fixture
def session():
    """A session on a waltz, of which the bars 3 and 4 are marked."""
    made = Session(MODEL, WALTZ)
    made.editor.add_bars(3, 4)
    yield made
    made.close()


def told_by(session):
    """The events that a session tells from now on."""
    told = []
    session.observe(told.append)
    return told


# Undo brings back what was shown


def test_undo_goes_back_to_the_take_and_the_candidate_that_were_present(session):
    session.inpaint(seed=1, **QUICK)
    session.choose(1)
    session.inpaint(seed=2, **QUICK)
    editor = session.editor
    shown = []
    while True:
        shown.append((session.place, session.chosen, session.history[1].chosen))
        if not editor.undo():
            break
    assert shown == [(2, 0, 1), (1, 1, 1), (1, 0, 0), (0, None, 0), (0, None, 0)]
    while editor.redo():
        pass
    assert (session.place, session.chosen) == (2, 0)
    assert session.history[1].chosen == 1
    assert len(session.history) == 3


def test_a_take_is_the_candidate_that_undo_left(session):
    session.inpaint(seed=1, **QUICK)
    first = session.editor.picture
    session.choose(1)
    session.editor.undo()
    session.go(0)
    session.go(1)
    assert np.array_equal(session.editor.picture, first)
    assert session.chosen == 0


def test_the_picture_before_follows_undo(session):
    begin = session.editor.picture
    session.inpaint(seed=1, **QUICK)
    session.inpaint(seed=2, **QUICK)
    session.editor.undo()
    assert np.array_equal(session.before(), begin)


# Other music


def test_undo_of_an_opened_song_brings_back_all_there_was(session):
    session.inpaint(seed=1, **QUICK)
    candidates, song, before = session.candidates, session.editor.song, session.before()
    names = session.take_names
    told = told_by(session)
    session.load(64)
    assert session.take_names == ["the beginning"]
    assert not len(session.candidates)
    assert told.count("music") == 1

    session.editor.undo()
    assert told.count("music") == 2
    assert session.editor.song is song
    assert session.take_names == names
    assert (session.place, session.chosen) == (1, 0)
    assert session.candidates is candidates
    assert np.array_equal(session.before(), before)

    session.editor.redo()
    assert session.take_names == ["the beginning"]
    session.editor.undo()
    session.inpaint(seed=2, **QUICK)
    assert session.take_names[1:] == ["bars 3-4, take 1", "bars 3-4, take 2"]


def test_takes_are_not_put_away_without_a_word(session, tmp_path):
    path = WALTZ.write_midi(tmp_path / "again.mid")
    session.open(path)
    assert "take" not in session.message
    session.editor.add_bars(1)
    session.inpaint(seed=1, **QUICK)
    session.open(path)
    assert "1 take of again are kept" not in session.message
    assert "1 take of again is kept; undo or bring_back()" in session.message
    session.editor.undo()
    assert session.aside == ""
    session.inpaint(seed=2, **QUICK)
    session.load(64)
    assert "2 takes of again are kept; undo or bring_back()" in session.message


def test_takes_that_were_put_aside_are_brought_back(session):
    with pytest.raises(OptionError, match="nothing to bring back"):
        session.bring_back()
    session.inpaint(seed=1, **QUICK)
    picture = session.editor.picture
    session.load(64)
    assert session.aside == "1 take of waltz"
    session.bring_back()
    assert session.aside == ""
    assert np.array_equal(session.editor.picture, picture)
    assert session.take_names == ["the beginning", "bars 3-4, take 1"]
    assert session.message == "1 take of waltz is back"
    session.editor.undo()
    assert session.editor.width == 64


def test_undo_of_other_music_throws_away_what_is_composed_for_it(session):
    session.load(WALTZ, masks.bars(WALTZ, 5))
    hold, hear = threading.Event(), session._hear
    session._hear = lambda *a: (hear(*a), hold.wait(60))
    session.start(seed=1, **QUICK)
    session.editor.undo()
    hold.set()
    session.wait()
    assert session.take_names == ["the beginning"]
    session.editor.redo()
    assert session.take_names == ["the beginning"]


def test_what_another_session_left_is_taken_up(session):
    assert session.left_over() is None
    session.inpaint(seed=1, **QUICK)
    other = Session(MODEL, 64)
    other.put_aside(session.left_over())
    assert "1 take of waltz is kept; bring_back()" in other.message
    again = Session(MODEL, 64)  # the cell runs once more, and nothing was done between
    again.put_aside(other.left_over())
    again.bring_back()
    assert np.array_equal(again.editor.picture, session.editor.picture)
    assert again.settings["seed"] == 1


# Words


def test_takes_are_named_by_what_they_changed(session):
    editor = session.editor
    session.inpaint(seed=1, **QUICK)
    session.inpaint(seed=2, **QUICK)
    editor.part = "melody"
    session.inpaint(seed=3, **QUICK)
    editor.clear()
    editor.part = None
    editor.add_box((60, 79), (12, 20))
    session.inpaint(seed=4, **QUICK)
    assert session.take_names == [
        "the beginning",
        "bars 3-4, take 1",
        "bars 3-4, take 2",
        "bars 3-4, melody, take 1",
        "in bar 2, C4 to G5, take 1",
    ]


def test_takes_and_states_are_shown_in_one_line(session):
    session.inpaint(seed=1, **QUICK)
    first, last = session.history
    assert repr(first) == "Take(not composed)"
    assert repr(last) == "Take(bars 3-4, model='given', n=2, seed=1)"
    state = session.editor.state
    assert repr(state) == f"State('waltz', 96 steps, marked: {state.words})"
    session.editor.clear()
    assert repr(session.editor.state) == "State('waltz', 96 steps, marked: nothing)"


def test_the_mask_is_said_as_it_was_painted_though_the_notes_are_others_now(session):
    editor = session.editor
    assert session.mask_in_words() == "bars 3-4, all pitches"
    editor.part = "melody"
    assert session.mask_in_words() == "bars 3-4, melody"
    session.inpaint(seed=3, **QUICK)
    assert session.mask_in_words() == "bars 3-4, melody"


def test_what_hinders_composing_is_said(session):
    assert session.obstacle == ""
    session.editor.clear()
    assert "nothing is marked" in session.obstacle
    session.editor.undo()
    hold, hear = threading.Event(), session._hear
    session._hear = lambda *a: (hold.wait(60), hear(*a))
    session.start(seed=1, **QUICK)
    assert "composing already" in session.obstacle
    hold.set()
    session.wait()
    assert session.obstacle == ""
    session.close()
    assert "was closed" in session.obstacle


def test_an_error_is_gone_when_one_paints(session):
    session.editor.clear()
    with pytest.raises(OptionError):
        session.inpaint()
    assert isinstance(session.message, OptionError)
    told = told_by(session)
    session.editor.add_bars(1)
    assert session.message == ""
    assert told == ["message", "state"]


@pytest.mark.parametrize("change", ["undo", "redo", "go", "paint", "choose"])
def test_what_was_said_of_other_music_is_gone(session, change):
    editor = session.editor
    session.inpaint(seed=1, **QUICK)
    session.choose(1)
    editor.undo()
    session.say("old words")
    acts = {
        "undo": editor.undo,
        "redo": editor.redo,
        "go": lambda: session.go(1),
        "paint": lambda: editor.add_bars(6),
        "choose": lambda: session.choose(1),
    }
    acts[change]()
    said = {"go": "bars 3-4, take 1 is shown", "choose": "candidate 2 of 2"}
    assert session.message.split(";")[0] == said.get(change, "")


def test_a_take_that_is_chosen_again_has_its_candidates(session):
    first = session.inpaint(seed=1, **QUICK).copy()
    session.choose(1)
    session.editor.add_bars(6)
    second = session.inpaint(seed=2, **QUICK).copy()
    session.go(1)
    assert session.chosen == 1
    assert np.array_equal(session.candidates, first)
    session.choose(0)
    assert (session.place, session.chosen, session.history[1].chosen) == (1, 0, 0)
    assert np.array_equal(session.editor.picture, first[0])
    session.go(2)
    assert np.array_equal(session.candidates, second)
    assert session.candidate_states is session.candidate_states
    session.go(0)
    assert session.chosen is None
    session.choose(1)
    assert session.place == 2


def test_another_mask_leaves_the_candidates(session):
    candidates = session.inpaint(seed=1, **QUICK)
    session.editor.add_bars(6)
    mask = session.editor.mask
    session.choose(1)
    assert np.array_equal(session.editor.picture, candidates[1])
    assert np.array_equal(session.editor.mask, mask)


def test_a_stroke_beside_the_chosen_part_changes_nothing_and_is_told(session):
    session.editor.part = "air"
    state = session.editor.state
    session.perform(Gesture("brush", [(80, 20), (84, 22)]))
    assert session.editor.state is state
    assert session.message == "nothing of air is there; the mask is as it was"
    session.perform(Gesture("brush", [(80, 74), (84, 75)]))
    assert session.editor.mask[127 - 74, 82]
    assert session.message == ""


def test_bars_of_a_part_are_called_so_though_its_notes_are_others(session):
    session.editor.part = "air"
    high = Song([(24, 4, 100, 80, 0)])
    session.editor.take(
        session.editor.state.redrawn(pomkit.render(high, 0, 96), state_mask(session))
    )
    session.editor.add_bars(5)
    assert session.mask_in_words() == "bars 3-5, air"


def state_mask(session):
    """The mask of the present state, bool (128, width)."""
    return session.editor.state.mask


def test_a_part_of_one_voice_is_composed_with_one_voice(session):
    """Seed 5 gives two voices where a sustain forces an onset that the network excludes."""
    session.editor.part = "air"
    voices = {}
    for wish in ("free", "as the part"):
        session.inpaint(seed=5, n=8, voices=wish, density=12, temperature=1.5)
        songs = [state.song for state in session.candidate_states]
        voices[wish] = {most_at_once(song.notes[song.select("air")]) for song in songs}
        assert ("1 voice at most, as air has" in session.message) == (wish == "as the part")
        session.editor.undo()
    assert voices["as the part"] == {1}
    assert max(voices["free"]) > 1


def test_a_model_that_takes_no_rules_is_not_said_to_hold_the_voices(session):
    session.editor.part = "air"
    session.set(model="tiny-edm-pixels")
    session.inpaint(n=1, steps=1)
    assert "voice" not in session.message


# Sound


def test_one_listens_from_a_bar_before_the_mask(session):
    assert session.listen_from == 12
    session.editor.clear()
    assert session.listen_from is None
    session.editor.add_bars(1)
    assert session.listen_from == 0


def test_one_session_sounds_at_a_time(session):
    other = Session(MODEL, 16)
    told = [told_by(session), told_by(other)]
    session.sounds_now()
    session.sounds_now()
    assert told == [[], []]
    other.sounds_now()
    assert told == [["silence"], []]
    session.sounds_now()
    assert told == [["silence"], ["silence"]]


# Candidates


def test_three_candidates_are_composed(session):
    assert len(session.inpaint(steps=1)) == 3


def with_onsets(*counts):
    """Pictures of one bar with so many notes each."""
    pictures = np.zeros((len(counts), 128, 16, 3), np.uint8)
    for picture, count in zip(pictures, counts, strict=True):
        picture[60 : 60 + count, 0, 0] = 200
    return pictures


@pytest.mark.parametrize(("percentile", "first"), [(100, 9), (50, 5), (1, 2), (75, 7), (0, 5)])
def test_the_busiest_of_n_comes_first(percentile, first):
    counts = (5, 2, 9, 7, 3)
    state = Session(MODEL, 16, masks.everything(16)).editor.state
    settings = {"percentile": percentile, "rank": False, "density": 0}
    order = order_of(with_onsets(*counts), state, settings)
    assert counts[order[0]] == first
    assert sorted(order) == [0, 1, 2, 3, 4]


def test_auto_leaves_it_to_the_model(session):
    """A setting that says which value is as learned asks for nothing but the song's own bound."""
    names = {"density": "Busy-ness", "temperature": "Wildness"}
    for name, label in names.items():
        assert SETTINGS[name].label == label
        assert SETTINGS[name].is_primary
    learned = {name: s.learned for name, s in SETTINGS.items() if s.learned is not None}
    options = options_of(MODEL, session.editor.state, session.settings | learned)
    others = ("n", "seed", "method", "busiest")
    asked = {name: value for name, value in options.items() if name not in others}
    assert asked == {
        "U": 1, "calls": None, "density": None, "guidance": 1, "rule": None, "temperature": None
    }  # fmt: skip
