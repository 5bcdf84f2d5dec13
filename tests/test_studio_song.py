"""The song of a studio: the one that was opened, but for the cells that were composed or drawn."""

import io

import midi_files as m
import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pomkit
from pomkit import OptionError, Song, masks, read_midi, render
from pomkit.composing.region import Pictures
from pomkit.music.changes import ChangeReport
from pomkit.studio import Gesture, Session
from pomkit.studio import session as module
from pomkit.studio.editor import Editor
from pomkit.studio.session import losses_in_words
from pomkit.studio.storage import open_contents, save_contents

MODEL = pomkit.load_model("tiny", "cpu")
SIGNS = ("name", "parts", "tempi", "meters", "keys", "bars", "programs", "channels", "source")
QUICK = {"seed": 1, "steps": 2}


# Some notes are beside the grid.
DUO = m.duo(late=7)


@pytest.fixture
def session():
    """A session on the duo, of which the bars 3 and 4 are marked."""
    made = Session(MODEL, 16)
    made.open(DUO, "duo.mid")
    made.editor.add_bars(3, 4)
    made.set(n=1)
    yield made
    made.close()


def signs(song):
    return {name: getattr(song, name) for name in SIGNS}


def outside(song, mask):
    """The notes without a cell in the mask."""
    cells = [
        mask[127 - pitch, onset : onset + duration].any()
        for onset, duration, pitch, *_ in song.notes.tolist()
    ]
    return song.notes[~np.array(cells)].tolist()


# Nothing touched


def test_a_song_that_was_only_opened_is_the_song_itself(session):
    song = session.editor.song
    assert np.array_equal(song.notes, read_midi(DUO).notes)
    assert signs(song) == signs(read_midi(DUO)) | {"name": "duo"}
    assert song.source == DUO


def test_what_a_picture_cannot_hold_is_in_the_song():
    """Pitches of the border rows, one pitch in two parts, another grid."""
    notes = [(0, 8, 2, 80, 0), (0, 8, 60, 80, 0), (0, 5, 60, 90, 1), (3, 4, 60, 70, 1)]
    song = Song(notes, parts=("a", "b"), steps_per_beat=12)
    state = Editor(song).state
    assert state.song is song
    assert len(pomkit.parse(state.picture).notes) == 2


def test_a_title_says_which_song_it_is(session):
    assert session.title == "duo, 90 BPM, 6/8: violin, bass"
    notes = [(0, 16, 60, 80, part) for part in range(9)]
    session.load(Song(notes, tempi=[(0, 90), (4, 60), (8, 112.56)]))
    assert session.title == (
        "60 to 112.6 BPM, 4/4: part 0, part 1, part 2, part 3, part 4, part 5, 3 more"
    )
    session.load(64)
    assert session.title == "120 BPM, 4/4"


def test_what_reading_a_file_lost_is_told(session, tmp_path):
    session.open(DUO, "duo.mid")
    assert session.message.startswith("duo.mid is open")
    assert "remark" not in session.message
    bent = mido.MidiFile(file=io.BytesIO(DUO))
    bent.tracks[1].insert(1, mido.Message("pitchwheel", pitch=99))
    bent.save(tmp_path / "bent.mid")
    session.open(tmp_path / "bent.mid")
    assert "bent.mid is open; 1 remark on it, see studio.song.report.remarks" in session.message
    assert "bend" in session.editor.song.report.remarks[0]


def test_bars_that_are_given_are_the_songs():
    song = Editor(Song([(0, 48, 60, 80, 0)]), bars=[0, 12, 24, 36]).song
    assert song.bar_lines().tolist() == [0, 12, 24, 36, 48]


# Composing


def test_a_studio_composes_the_song_that_compose_gives(session):
    song, mask = session.editor.song, session.editor.mask
    session.inpaint(n=2, **QUICK)
    composed = pomkit.compose(MODEL, song, mask, n=2, seed=1, calls=2)
    for number, expected in enumerate(composed):
        session.choose(number)
        assert session.editor.song == expected
        assert session.editor.song.report == expected.report
        assert session.history[1].state.song == expected
    assert composed[0] != composed[1]


def test_what_is_not_composed_stays_part_by_part(session):
    before, mask = session.editor.song, session.editor.mask
    session.inpaint(**QUICK)
    after = session.editor.song
    assert after != before
    assert outside(after, mask) == outside(before, mask)
    assert signs(after) == signs(before)


def test_one_part_may_be_composed(session):
    """The mask decides, as everywhere: of bar 3 the violin's rows."""
    before = session.editor.song
    session.editor.mask = masks.box(session.editor.width, (66, 90), (24, 36))
    session.inpaint(**QUICK)
    after = session.editor.song
    bass = before.select("bass")
    assert np.array_equal(after.notes[after.select("bass")], before.notes[bass])
    assert outside(after, session.editor.mask) == outside(before, session.editor.mask)


def test_undo_brings_the_song_itself_back_and_redo_the_composed_one(session):
    before = session.editor.song
    session.inpaint(**QUICK)
    after = session.editor.song
    session.editor.undo()
    assert session.editor.song is before
    session.editor.redo()
    assert session.editor.song is after
    session.go(0)
    assert np.array_equal(session.editor.song.notes, before.notes)


def test_a_second_region_leaves_the_first_one(session):
    first = session.editor.mask
    session.inpaint(**QUICK)
    once = session.editor.song
    session.editor.mask = masks.bars(session.editor.width, 7, 8, session.editor.state.bars)
    session.inpaint(**QUICK)
    assert np.array_equal(session.editor.state.touched, first | session.editor.mask)
    assert outside(session.editor.song, session.editor.mask) == outside(once, session.editor.mask)


def test_a_note_drawn_while_it_composes_is_in_the_song(session):
    begin = session._compose_candidates

    def draw_and_compose(*what):
        session.editor.add_note(0, 100, 3)
        return begin(*what)

    session._compose_candidates = draw_and_compose
    session.inpaint(n=2, **QUICK)
    for number in (0, 1):
        session.choose(number)
        assert (0, 3, 100, 90, 0) in session.editor.song.notes.tolist()


def test_what_could_not_be_kept_is_told(session, monkeypatch):
    """Silence from the middle of a note on: it ends there, and the message says so."""
    session.load(Song([(0, 32, 60, 80, 0), (8, 4, 70, 80, 1)]))
    session.editor.add_box(steps=(8, 16))
    silence = np.where(session.editor.mask[..., None], 0, session.editor.picture)
    answer = silence.astype(np.uint8)[None].view(Pictures)
    answer.__dict__.update(seconds=0.0, seed=1)
    monkeypatch.setattr(module, "inpaint", lambda *_, **__: answer)
    session.inpaint(seed=1)
    song = session.editor.song
    assert song.notes.tolist() == [(0, 8, 60, 80, 0)]
    assert session.editor.state.report.losses == 2
    assert "; 1 old note now ends where new ones begin" in session.message
    assert len(song.report.remarks) == 3  # and the chords that the model was shown
    session.editor.undo()
    assert not session.editor.state.report.losses


def test_losses_are_told_in_plain_words_and_once():
    lost = ChangeReport(ended=3, tails=1, cut=2, dropped=1, prolonged=4)
    told = (
        "3 old notes now end where new ones begin; 2 new notes shortened and 1 new note left out, "
        "as an old one has the same pitch there"
    )
    assert losses_in_words(lost, ChangeReport()) == told
    assert losses_in_words(lost, lost) == ""
    assert losses_in_words(ChangeReport(prolonged=4), ChangeReport()) == ""
    dropped = ChangeReport(dropped=2)
    assert (
        losses_in_words(dropped, lost)
        == "1 new note left out, as an old one has the same pitch there"
    )


def test_a_song_on_another_grid_is_told_before_it_is_composed(session):
    session.load(read_midi(DUO, steps_per_beat=12))
    session.editor.add_bars(3)
    said = []
    session.observe(lambda event: event == "message" and said.append(session.message))
    session.inpaint(**QUICK)
    assert "steps_per_beat=4" in said[0]
    assert "1 composed" in said[-1]
    assert said[0] in said[-1]


# Notes by hand


def test_a_note_that_is_drawn_goes_to_the_nearest_part(session):
    before = session.editor.song
    session.editor.add_note(4, 45, 2)
    session.editor.add_note(4, 88, 2)
    added = {*session.editor.song.notes.tolist()} - {*before.notes.tolist()}
    assert added == {(4, 2, 45, 90, 1), (4, 2, 88, 90, 0)}
    assert signs(session.editor.song) == signs(before)


def test_a_note_that_is_moved_keeps_its_part(session):
    """A note of the bass among those of the violin."""
    editor = session.editor
    number = int(np.flatnonzero(editor.song.select("bass"))[5])
    moved = editor.song.notes[number].tolist()
    editor.move_note(number, 20, 90)
    notes = editor.song.notes.tolist()
    assert (20, moved[1], 90, moved[3], 1) in notes
    assert moved not in notes
    editor.move_note(editor.note_at(20, 90), 30, 92)
    assert (30, moved[1], 92, moved[3], 1) in editor.song.notes.tolist()


def test_what_is_composed_over_a_moved_note_forgets_its_part():
    editor = Editor(Song([(0, 4, 40, 80, 0), (0, 4, 80, 80, 1)]))
    editor.move_note(0, 0, 79)
    assert editor.song.notes["part"].tolist() == [0, 1]
    region = masks.box(4, (70, 90))
    editor.take(editor.state.redrawn(editor.picture, region))
    assert editor.state.homes == {}


def test_notes_that_are_one_in_the_picture_move_and_go_as_one():
    song = Song([(0, 4, 60, 80, 0), (0, 4, 60, 90, 1), (8, 4, 64, 80, 2)])
    editor = Editor(song)
    editor.move_note(editor.note_at(2, 60), 4, 62)
    assert editor.song.notes.tolist() == [
        (4, 4, 62, 90, 0),
        (4, 4, 62, 90, 1),
        (8, 4, 64, 80, 2),
    ]
    editor.move_note(2, 4, 62)
    assert editor.song.notes["part"].tolist() == [0, 1, 2]
    editor.remove_note(1)
    assert not len(editor.song.notes)


def test_of_notes_in_one_cell_the_seen_one_is_taken():
    editor = Editor(Song([(0, 8, 60, 80, 0), (4, 2, 60, 80, 1), (4, 4, 60, 80, 2)]))
    assert [editor.note_at(step, 60) for step in (0, 4, 7)] == [0, 2, 2]


def test_a_note_that_the_picture_does_not_show_is_not_moved():
    editor = Editor(Song([(0, 8, 2, 80, 0), (0, 8, 60, 80, 0)]))
    with pytest.raises(OptionError, match="does not show"):
        editor.move_note(0, 4, 62)
    with pytest.raises(OptionError, match="does not show"):
        editor.remove_note(0)


step, pitch = st.integers(0, 60), st.integers(50, 74)
note = st.tuples(step, st.integers(1, 12), pitch, st.integers(1, 127), st.integers(0, 2))
edit = st.one_of(
    st.tuples(st.just("add_note"), step, pitch, st.integers(1, 9)),
    st.tuples(st.just("move_note"), st.integers(0, 99), step, pitch),
    st.tuples(st.just("remove_note"), st.integers(0, 99)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(note, min_size=4, max_size=14), st.lists(edit, min_size=1, max_size=6))
def test_notes_without_a_touched_cell_stay_and_the_picture_is_the_songs(notes, edits):
    song = Song([(0, 72, 20, 80, 0), *notes], parts=("a", "b", "c"))
    editor = Editor(song)
    for name, number, *others in edits:
        if name != "add_note":
            number %= len(editor.song.notes)
        getattr(editor, name)(number, *others)
        kept = outside(song, editor.state.touched)
        assert {*kept} <= {*editor.song.notes.tolist()}
        if not editor.state.report.losses:
            assert np.array_equal(render(editor.song, width=editor.width), editor.picture)
        if not len(editor.song.notes):
            break
    while editor.undo():
        pass
    assert editor.song is song


# Sound and files


def test_the_sound_has_the_songs_tempi_and_instruments(session, monkeypatch):
    heard = []
    monkeypatch.setattr(module, "synthesize", lambda song, rate: heard.append(song))
    monkeypatch.setattr(module, "mp3", lambda audio, rate: b"mp3")
    module._mp3.cache_clear()
    session.inpaint(**QUICK)
    for what in ("now", "before", "new"):
        session.sound(what)
    module._mp3.cache_clear()
    now, before, new = heard
    assert np.array_equal(now.notes, session.editor.song.notes)
    assert np.array_equal(before.notes, read_midi(DUO).notes)
    assert {*new.notes.tolist()} == {*now.notes.tolist()} - {*before.notes.tolist()}
    for song in heard:
        assert (song.tempi, song.programs) == (before.tempi, (40, 32))
        assert song.tempi[0][1] == pytest.approx(90)


def test_a_picture_sounds_as_a_piano(session, monkeypatch):
    heard = []
    monkeypatch.setattr(module, "synthesize", lambda song, rate: heard.append(song))
    monkeypatch.setattr(module, "mp3", lambda audio, rate: b"mp3")
    module._mp3.cache_clear()
    session.load(session.editor.picture)
    session.sound()
    module._mp3.cache_clear()
    assert (heard[0].programs, heard[0].tempi) == ((0,), ())


def test_untouched_or_undone_the_file_is_the_one_that_was_opened(session, tmp_path):
    assert session.save(tmp_path / "same.mid").read_bytes() == DUO
    session.inpaint(**QUICK)
    session.editor.add_note(0, 100, 3)
    assert session.save(tmp_path / "new.mid").read_bytes() != DUO
    session.editor.undo()
    session.editor.undo()
    assert session.save(tmp_path / "undone.mid").read_bytes() == DUO


def ticks(data):
    """Notes and other events of a file, by their ticks: two sets."""
    notes, others = set(), set()
    for number, track in enumerate(mido.MidiFile(file=io.BytesIO(data)).tracks):
        tick, begun = 0, {}
        for message in track:
            tick += message.time
            if message.type == "note_on":
                begun[message.note] = (tick, message.velocity)
            elif message.type == "note_off":
                notes.add((number, message.note, *begun.pop(message.note), tick))
            else:
                others.add((number, tick, str(message.copy(time=0))))
    return notes, others


def test_the_composed_file_is_the_users_file_with_what_changed(session, tmp_path):
    """Bars 3 and 4 of 6/8 last from tick 2880 to 5760."""
    session.inpaint(**QUICK)
    path = session.save(tmp_path / "new.mid")
    saved = read_midi(path)
    song = session.editor.song
    for name in ("parts", "tempi", "meters", "programs", "channels"):
        assert getattr(saved, name) == getattr(song, name)
    assert np.array_equal(saved.notes, song.notes)

    old_notes, old_others = ticks(DUO)
    new_notes, new_others = ticks(path.read_bytes())
    assert new_others == old_others
    inside = {note for note in old_notes ^ new_notes if 2880 <= note[2] < 5760}
    assert old_notes ^ new_notes == inside
    assert old_notes & inside
    assert new_notes & inside


def test_what_a_file_could_not_keep_is_told_when_it_is_saved(session, tmp_path):
    """The pitch wheel is bent: a new note sounds bent, too."""
    bent = mido.MidiFile(file=io.BytesIO(DUO))
    bent.tracks[1].insert(1, mido.Message("pitchwheel", pitch=99))
    bent.save(tmp_path / "bent.mid")
    session.open(tmp_path / "bent.mid")
    session.save(tmp_path / "same.mid")
    assert "song.to_midi" not in session.message
    session.editor.add_note(4, 88, 2)
    session.save(tmp_path / "new.mid")
    assert len(session.editor.song.to_midi().remarks) == 1
    assert session.message == "new.mid is saved; 1 remark on it, see studio.song.to_midi().remarks"


def same_state(one, two):
    """Whether all of two states is equal, their songs with all that they keep."""
    assert signs(one.song) == signs(two.song)
    assert one.song.read_as == two.song.read_as
    assert one.song.report == two.song.report
    assert one.homes == two.homes
    return all(np.array_equal(x, y) for x, y in zip(one, two, strict=True))


def test_a_saved_studio_keeps_the_song_with_all_that_was_done(session, tmp_path):
    session.inpaint(n=2, **QUICK)
    editor = session.editor
    editor.move_note(editor.note_at(1, 40), 2, 90)
    editor.add_note(5, 50, 3)
    other = Session(MODEL, 16)
    other.open(session.save(tmp_path / "all.npz"))
    assert same_state(other.editor.state, editor.state)
    assert editor.state.homes == {(2, 90): [1]}
    for one, two in zip(other.history, session.history, strict=True):
        assert same_state(one.state, two.state)
        assert same_state(one.before, two.before)
    assert other.history[0].state.song.source == DUO

    # And it goes on as it was.
    one, two = (each.save(tmp_path / "new.mid").read_bytes() for each in (session, other))
    assert one == two
    other.go(0)
    assert np.array_equal(other.editor.song.notes, read_midi(DUO).notes)


# One part


def test_a_part_cuts_what_is_painted_and_another_one_cuts_it_anew(session):
    editor = session.editor
    whole, song, width = editor.mask, editor.song, editor.width
    editor.part = "melody"
    assert np.array_equal(editor.mask, whole & masks.melody(song, width=width))
    assert session.mask_in_words() == "bars 3-4, melody"
    editor.add_bars(6)
    editor.part = "bass"
    both = whole | masks.bars(width, 6, 6, editor.state.bars)
    assert np.array_equal(editor.mask, both & masks.melody(song, "bass", width=width))
    editor.part = None
    assert np.array_equal(editor.mask, both)
    for _ in range(4):
        editor.undo()
    assert editor.part is None
    assert np.array_equal(editor.mask, whole)
    editor.redo()
    assert editor.part == "melody"


def test_every_gesture_stays_within_the_part(session):
    editor = session.editor
    cells = masks.melody(editor.song, "bass", width=editor.width)
    editor.clear()
    editor.part = "bass"
    for gesture in [
        lambda: editor.add_box((30, 90), (0, 40)),
        lambda: session.perform(Gesture("brush", [(30, 40), (60, 44)], radius=9)),
        lambda: editor.preset("all"),
        lambda: editor.add_bars(1, 2, erase=True),
        editor.invert,
    ]:
        before = editor.mask
        gesture()
        assert not (editor.mask & ~cells).any()
        assert not np.array_equal(editor.mask, before)


def test_a_mask_that_is_set_is_of_all_parts(session):
    editor = session.editor
    editor.part = "bass"
    editor.mask = masks.everything(editor.width)
    assert editor.part is None
    assert np.array_equal(editor.mask, masks.everything(editor.width))


def test_there_must_be_such_a_part(session):
    before = session.editor.state
    with pytest.raises(OptionError, match="no part 'harp'"):
        session.editor.part = "harp"
    assert session.editor.state is before


def test_new_notes_go_into_the_chosen_part_as_compose_has_it(session):
    """A composer that writes high notes for the bass: the nearest part were the violin."""
    editor = session.editor
    editor.part = "bass"
    mask, before = editor.mask, editor.song
    picture = editor.picture
    picture[mask] = 0
    picture[127 - 44, 24:28] = (90, 90, 0)
    picture[127 - 44, 24, 1] = 0
    answer = picture[None].view(Pictures)
    answer.__dict__.update(seconds=0.0, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "inpaint", lambda *_, **__: answer)
        session.inpaint(seed=1)
    after = editor.song
    violin = before.select("violin")
    assert np.array_equal(after.notes[after.select("violin")], before.notes[violin])


def test_the_chosen_part_composes_what_compose_gives_for_it(session):
    editor = session.editor
    song = editor.song
    editor.part = "bass"
    session.inpaint(voices="free", **QUICK)
    (expected,) = pomkit.compose(
        MODEL, song, editor.mask, part="bass", voices=None, seed=1, calls=2
    )
    assert editor.song == expected
    assert session.take_names == ["the beginning", "bars 3-4, bass, take 1"]


def test_the_pencil_writes_for_the_part_that_is_said(session):
    editor = session.editor
    near_the_bass = (4, 45)
    editor.add_note(*near_the_bass, part="violin")
    session.perform(Gesture("pencil", [(6, 46), (8, 46)], part="violin"))
    editor.part = "melody"
    editor.add_note(9, 47)
    written = [note for note in editor.song.notes.tolist() if 45 <= note[2] <= 47]
    violins = [note for note in written if note[3] == 90]
    assert [(note[0], note[2], note[4]) for note in violins] == [(4, 45, 0), (6, 46, 0), (9, 47, 0)]
    editor.add_note(12, 80, part="accompaniment")
    assert (12, 2, 80, 90, 1) in editor.song.notes.tolist()
    with pytest.raises(OptionError, match="no part 'harp'"):
        editor.add_note(4, 60, part="harp")


def test_a_saved_studio_keeps_the_chosen_part(session, tmp_path):
    editor = session.editor
    editor.part = "bass"
    other = Session(MODEL, 16)
    other.open(session.save(tmp_path / "all.npz"))
    assert same_state(other.editor.state, editor.state)
    other.editor.part = None
    editor.part = None
    assert np.array_equal(other.editor.mask, editor.mask)


def test_some_parts_are_heard(session, monkeypatch):
    heard = []
    monkeypatch.setattr(module, "synthesize", lambda song, rate: heard.append(song))
    monkeypatch.setattr(module, "mp3", lambda audio, rate: b"mp3")
    module._mp3.cache_clear()
    song = session.editor.song
    for parts in ("bass", [0], ["violin", "bass"]):
        session.sound(parts=parts)
        assert np.array_equal(heard.pop().notes, song.notes[song.select(parts)])
    module._mp3.cache_clear()
    with pytest.raises(OptionError, match="no part 'harp'"):
        session.sound(parts="harp")


def test_a_damaged_list_of_touched_cells_is_refused(session, tmp_path):
    contents = session.contents()
    with np.load(save_contents(tmp_path / "all.npz", contents)) as file:
        parts = dict(file)
    for name, bad in {"touched0": parts["touched0"][:, 1:], "homes0": np.zeros((1, 2))}.items():
        np.savez(tmp_path / "bad.npz", **parts | {name: bad})
        with pytest.raises(pomkit.PictureError, match="saved studio"):
            open_contents(tmp_path / "bad.npz")
