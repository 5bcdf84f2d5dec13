"""`compose`: a Song in, Songs out; all that is not composed stays, in the file, too."""

import pickle

import midi_files as m
import numpy as np
import pytest
from splice_laws import found

import pomkit
from pomkit import OptionError, PictureError, Song, masks, render
from pomkit.__main__ import main
from pomkit.composing.voices import most_at_once
from pomkit.music.changes import ChangeReport

QUICK = {"calls": 2, "seed": 1}


@pytest.fixture(scope="module")
def model():
    return pomkit.load_model("tiny", "cpu")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A violin and a bass, 90 BPM, 6/8."""
    path = tmp_path_factory.mktemp("own") / "own.mid"
    path.write_bytes(m.duo())
    return path


@pytest.fixture(scope="module")
def song(path):
    return pomkit.read_midi(path)


def outside(song, mask):
    """The notes without a cell in the mask."""
    cells = [
        mask[127 - pitch, onset : onset + duration].any()
        for onset, duration, pitch, *_ in song.notes.tolist()
    ]
    return song.notes[~np.array(cells)].tolist()


def picture_notes(picture, mask):
    """The notes that a picture has within a mask."""
    return pomkit.parse(np.where(mask[..., None], picture, np.uint8(0))).notes


def test_a_song_in_songs_out(model, song):
    songs = pomkit.compose(model, song, "bars:3-5", 2, **QUICK)
    assert isinstance(songs, list)
    assert len(songs) == 2
    for new in songs:
        assert isinstance(new, Song)
        assert new != song
        for name in ("name", "parts", "tempi", "meters", "bars", "programs", "source", "read_as"):
            assert getattr(new, name) == getattr(song, name)
        assert outside(new, songs.mask) == outside(song, songs.mask)


def test_it_composes_what_inpaint_composes(model, song):
    mask = masks.bars(song, 3, 5)
    songs = pomkit.compose(model, song, mask, n=2, chords=None, busiest=None, **QUICK)
    bars, meters = song.metre_from(0, song.end)
    pictures = pomkit.inpaint(model, render(song), mask, n=2, bars=bars, meters=meters, **QUICK)
    assert np.array_equal(songs.pictures, pictures)
    assert songs.seed == 1
    assert songs.refused.tolist() == pictures.refused.tolist()
    assert songs.seconds > 0

    # In the mask notes begin where the picture has it.
    for new, picture in zip(songs, pictures, strict=True):
        struck = render(new)[..., 0] > 0
        assert np.array_equal(struck[mask], (picture[..., 0] > 0)[mask])


def test_a_song_without_chords_is_composed_with_those_that_are_heard_in_it(model, song):
    """As if its file named them; but they come neither into the picture nor into the song."""
    mask = masks.bars(song, 3, 5)
    songs = pomkit.compose(model, song, mask, **QUICK)
    named = song.with_chords()
    told = pomkit.compose(model, named, mask, **QUICK)
    assert song.chords == ()
    assert named.chords
    assert np.array_equal(songs.pictures[0][8:120], told.pictures[0][8:120])
    assert np.array_equal(songs.pictures[0][~mask], render(song)[~mask])
    assert songs[0].chords == ()
    assert songs[0].to_midi().data == told[0].to_midi().data


def test_the_report_says_how_many_chords_the_model_was_shown(model, song):
    songs = pomkit.compose(model, song, "bars:3-5", **QUICK)
    count = len(song.with_chords().chords)
    sentence = f"chords estimated from the song, which names none, and shown to the model: {count}"
    assert songs.reports[0].chords_shown == count
    assert sentence in songs[0].report.remarks
    assert ChangeReport(chords_shown=count).losses == 0


@pytest.mark.parametrize("off", [None, False])
def test_no_chords_are_heard_where_nobody_wants_them(model, song, off):
    songs = pomkit.compose(model, song, "bars:3-5", chords=off, busiest=None, **QUICK)
    bars, meters = song.metre_from(0, song.end)
    picture = pomkit.inpaint(model, render(song), songs.mask, bars=bars, meters=meters, **QUICK)
    assert np.array_equal(songs.pictures, picture)
    assert songs.reports[0].chords_shown == 0


def test_chords_that_the_song_names_are_the_ones_that_count(model, song):
    named = song.with_chords()
    songs = [pomkit.compose(model, named, "bars:3-5", chords=on, **QUICK) for on in (True, None)]
    assert songs[0] == songs[1]
    assert songs[0].reports[0].chords_shown == 0


def test_chords_may_be_asked_for(model, song):
    asked = [pomkit.Chord(0, song.end, "F#:maj")]
    songs = pomkit.compose(model, song, "bars:3-5", chords=asked, **QUICK)
    assert songs.reports[0].chords_shown == 0
    assert pomkit.picture.read_chords(songs.pictures[0]) == tuple(asked)


def test_masked_chord_rows_are_composed_and_not_heard(model, song):
    """Who asks for chords in a region gets them in the song; outside it stays without."""
    mask = masks.bars(song, 3, 5, chords=True)
    (new,) = pomkit.compose(model, song, mask, **QUICK)
    start, end = song.bar_lines()[[2, 5]].tolist()
    assert new.chords
    assert all(start <= onset and onset + long <= end for onset, long, _ in new.chords)


def test_an_excerpt_is_shown_the_chords_of_its_own_bars(model, song):
    mask = masks.everything(24)
    songs = pomkit.compose(model, song, mask, start=36, **QUICK)
    told = pomkit.compose(model, song.with_chords(), mask, start=36, **QUICK)
    assert np.array_equal(songs.pictures[0][8:120], told.pictures[0][8:120])


def test_the_same_seed_gives_the_same_songs(model, song):
    first = pomkit.compose(model, song, "bars:3", calls=2)
    again = pomkit.compose("tiny", song, "bars:3", calls=2, seed=first.seed)
    assert first == again


def test_one_part_alone_may_change(model, song):
    for part in ("bass", 1, ["bass"]):
        (new,) = pomkit.compose(model, song, "bars:3-5", part=part, **QUICK)
        assert np.array_equal(new.notes[new.select(0)], song.notes[song.select(0)])
        assert not np.array_equal(new.notes[new.select(1)], song.notes[song.select(1)])


def test_a_part_that_is_composed_alone_keeps_its_number_of_voices(model, song):
    """The bass plays one note at a time; asked for so many notes, it would play several."""
    busy = {"density": 16, "seed": 5, "n": 4, "calls": 4}
    voices = {}
    for wish in ("as the part", None, 2):
        songs = pomkit.compose(model, song, "bars:3-5", part="bass", voices=wish, **busy)
        voices[wish] = max(most_at_once(new.notes[new.select("bass")]) for new in songs)
    assert voices["as the part"] == most_at_once(song.notes[song.select("bass")]) == 1
    assert voices[2] == 2
    assert voices[None] > 2


@pytest.mark.parametrize("mask", ["melody", "accompaniment"])
def test_a_mask_that_is_that_of_a_part_keeps_its_number_of_voices(model, song, mask):
    busy = {"density": 16, "seed": 5, "n": 2, "calls": 4}
    voices = {}
    for wish in ("as the part", None):
        songs = pomkit.compose(model, song, mask, voices=wish, **busy)
        new = [picture_notes(picture, songs.mask) for picture in songs.pictures]
        voices[wish] = max(most_at_once(notes) for notes in new)
    assert voices["as the part"] == 1
    assert voices[None] > 1


@pytest.mark.parametrize("wrong", [0, 1.5, True, "free"])
def test_a_number_of_voices_that_is_none_is_refused(model, song, wrong):
    with pytest.raises(pomkit.OptionError, match="voices"):
        pomkit.compose(model, song, "bars:3-5", part="bass", voices=wrong, **QUICK)


def test_an_excerpt_is_composed_with_start_and_a_narrower_mask(model, song):
    mask = masks.everything(24)
    songs = pomkit.compose(model, song, mask, start=36, **QUICK)
    notes = [each.notes.tolist() for each in (song, songs[0])]
    apart = [[n for n in table if n[0] + n[1] <= 36 or n[0] >= 60] for table in notes]
    assert apart[0] == apart[1]
    assert notes[0] != notes[1]


def test_a_mask_may_go_on_behind_the_song(model, song):
    mask = masks.continuation(song.end + 24, song.end)
    (new,) = pomkit.compose(model, song, mask, **QUICK)
    assert outside(new, mask) == song.notes.tolist()


def test_an_empty_mask_changes_nothing(model, song):
    empty = np.zeros((128, song.end), bool)
    for new in pomkit.compose(model, song, empty, 2, **QUICK):
        assert new == song


def test_what_was_not_kept_is_told(model, song):
    songs = pomkit.compose(model, song, "bars:3-5", **QUICK)
    told = songs[0].report.remarks[len(song.report.remarks) :]
    assert told == songs.reports[0].remarks()


def test_composed_songs_are_pickled_whole(model, song):
    songs = pomkit.compose(model, song, "bars:3", **QUICK)
    again = pickle.loads(pickle.dumps(songs))
    assert again == songs
    assert again.seed == songs.seed
    assert again.reports == songs.reports


def test_bad_input_is_refused(model, song):
    with pytest.raises(OptionError, match="was given ndarray, no Song"):
        pomkit.compose(model, render(song), "bars:3")
    with pytest.raises(OptionError, match="no part 'flute'"):
        pomkit.compose(model, song, "bars:3", part="flute")
    with pytest.raises(OptionError, match="is not understood"):
        pomkit.compose(model, song, "verse")
    with pytest.raises(OptionError, match="start"):
        pomkit.compose(model, song, masks.everything(24), start=-4)
    with pytest.raises(PictureError, match="the mask is"):
        pomkit.compose(model, song, np.zeros((64, 64), bool))
    with pytest.raises(PictureError, match="the mask is"):
        pomkit.compose(model, song, np.zeros((128, 96)))
    with pytest.raises(OptionError, match="is no option"):
        pomkit.compose(model, song, "bars:3", sampler="euler")


def test_the_command_line_gives_the_users_file_back(path, song, tmp_path, capsys):
    arguments = ["--mask", "bars:3-5", "--calls", "2", "--out", str(tmp_path)]
    assert main([str(path), *arguments, "--part", "bass"]) == 0
    result = pomkit.read_midi(tmp_path / "result.mid")
    for name in ("parts", "tempi", "meters", "programs", "channels"):
        assert getattr(result, name) == getattr(song, name)
    assert np.array_equal(result.notes[result.select(0)], song.notes[song.select(0)])
    assert not np.array_equal(result.notes, song.notes)

    songs = pomkit.compose("tiny", song, "bars:3-5", part=1, calls=2, seed=0)
    said = capsys.readouterr().out
    assert all(remark in said for remark in songs.reports[0].remarks())
    assert all(remark in said for remark in songs[0].to_midi().remarks)
    assert result == songs[0]

    # The file itself: tempo, meter, names, programs, and every note without a cell in the mask.
    before, after = path.read_bytes(), (tmp_path / "result.mid").read_bytes()
    assert found(after).others == found(before).others
    assert after == songs[0].to_midi().data
    start, end = song.bar_lines()[[2, 5]] * 120
    walked = [m.walk(data) for data in (before, after)]
    notes = [[n for n in each if n.end <= start or n.start >= end] for each in walked]
    assert notes[0] == notes[1]
    assert len(notes[0]) == 60


def test_the_command_line_says_which_chords_it_heard_and_leaves_them_out_of_the_file(
    path, song, tmp_path, capsys
):
    arguments = [str(path), "--mask", "bars:3", "--calls", "2", "--out", str(tmp_path)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert f"and shown to the model: {len(song.with_chords().chords)}" in said
    assert "pixels changed outside the mask: 0" in said
    assert pomkit.read_midi(tmp_path / "result.mid").chords == ()
    assert main([*arguments, "--chords", "none"]) == 0
    assert "shown to the model" not in capsys.readouterr().out


def test_the_command_line_knows_parts_by_number_and_refuses_others(path, tmp_path, capsys):
    arguments = ["--mask", "bars:3", "--calls", "2", "--out", str(tmp_path), "--quiet"]
    assert main([str(path), *arguments, "--part", "0", "--part", "bass"]) == 0
    assert main([str(path), *arguments, "--part", "2"]) == 2
    assert "no part 2" in capsys.readouterr().err
