"""The law parse(render(c)) == c, the paper's variants, and bad pictures."""
import numpy as np
import pytest
from conftest import make_song
from hypothesis import given, settings
from hypothesis import strategies as st

from pomkit import Chord, OptionError, PictureError, Song, data, fold, from_binary, parse, read_midi, render, to_binary, unfold
from pomkit.chords import estimate_chords
from pomkit.notes import NOTE_DTYPE
from pomkit.picture import palette

NOTE = st.tuples(st.integers(0, 60), st.integers(1, 30), st.integers(0, 127), st.integers(1, 127), st.integers(0, 2))
CHORD = st.tuples(st.integers(0, 60), st.integers(1, 30), st.sampled_from(list(palette()) + ["C:9", "E:min/b3"]))


@settings(max_examples=200, deadline=None)
@given(st.lists(NOTE, max_size=40), st.lists(CHORD, max_size=6), st.integers(0, 12))
def test_parse_inverts_render(notes, chords, border):
    song = Song(np.array(notes, NOTE_DTYPE), tuple(Chord(*c) for c in chords)).canonical(border=border)
    again = parse(render(song, border=border), border=border)
    assert again == song and again.report.dropped == 0


def test_parse_inverts_render_on_shipped_songs():
    for path in data.songs().values():
        song = read_midi(path)
        for parts in (None, *([i] for i in range(len(song.parts)))):
            c = song.canonical(parts)
            assert parse(render(song, parts=parts)) == c
            assert c.report.kept + c.report.merged + c.report.dropped == len(song.notes)


def test_parse_inverts_render_on_a_corpus(corpus_archive):
    songs = data.read_corpus(corpus_archive, progress=False).songs
    assert len(songs) == 879
    for song in songs[::9]:
        for parts in (None, [0], ["PIANO"]):
            c = song.canonical(parts)
            assert parse(render(c)) == c and len(c.chords) > 10
            assert c.report.kept + c.report.merged + c.report.dropped == len(song.notes)


def test_a_note_is_red_then_green_at_twice_its_velocity():
    picture = render(Song(np.array([(2, 3, 60, 100, 0)], NOTE_DTYPE)), width=8)
    expected = np.zeros((128, 8, 3), np.uint8)
    expected[67, 2] = (200, 0, 0)
    expected[67, 3:5] = (0, 200, 0)
    assert np.array_equal(picture, expected)
    early = render(Song(np.array([(2, 3, 60, 100, 0)], NOTE_DTYPE)), width=8, onsets="early")
    assert early[67, 1].tolist() == [255, 0, 0] and (early[67, 2:5] == (0, 200, 0)).all()


def test_windows_are_columns_of_the_whole_and_a_sounding_note_begins_anew(rng):
    song = make_song(rng).canonical()
    whole, part = render(song), render(song, 100, 64)
    same = (part == whole[:, 100:164]).all(axis=2)
    assert same[:, 1:].all()
    cut = ~same[:, 0]
    assert cut.any() and (part[cut, 0, 0] > 0).all() and (whole[cut, 100, 1] > 0).all()


def test_early_onsets_lose_little_and_count_nothing_new(rng):
    song = Song(np.array([(i * 5 + 1, 3, 40 + i, 64, 0) for i in range(20)], NOTE_DTYPE)).canonical()
    assert parse(render(song, onsets="early"), onsets="early") == song       # unambiguous where notes leave gaps


def test_fold_is_invertible_and_as_in_the_paper(rng):
    picture = rng.integers(0, 256, (128, 512, 3), dtype=np.uint8)
    square = fold(picture)
    assert square.shape == (256, 256, 3) and np.array_equal(square[:128], picture[:, :256])
    assert np.array_equal(square[128:, 0], picture[:, 511]) and np.array_equal(unfold(square), picture)


def test_black_and_white_keeps_what_one_bit_can(rng):
    song = Song(np.array([(0, 4, 31, 80, 0), (8, 8, 94, 80, 0), (60, 9, 60, 80, 0), (3, 3, 30, 80, 0)], NOTE_DTYPE))
    image = to_binary(song)
    assert image.shape == (64, 64) and set(np.unique(image)) == {0, 255}
    assert from_binary(image).notes[["onset", "duration", "pitch"]].tolist() == [(0, 4, 31), (8, 8, 94), (60, 4, 60)]


def test_palette_is_invertible_and_never_looks_like_paint():
    colours = np.array([(0, 0, 0), *palette().values()], float)
    distance = np.linalg.norm(colours[:, None] - colours, axis=-1) + 1e9 * np.eye(len(colours))
    assert len(palette()) == 12 * 14 + 1 and distance.min() > 12
    song = Song(np.zeros(0, NOTE_DTYPE), tuple(Chord(i * 3, 3, label) for i, label in enumerate(palette())))
    noisy = render(song).astype(int) + np.random.default_rng(0).integers(-5, 6, (128, song.end, 3))
    assert [c.label for c in parse(np.clip(noisy, 0, 255).astype(np.uint8), threshold=10).chords] == list(palette())


def test_orphan_green_is_refused_and_counted():
    picture = np.zeros((128, 10, 3), np.uint8)
    picture[60, 4:7, 1] = 100
    song = parse(picture)
    assert len(song.notes) == 0 and song.report.dropped == 3


def test_estimated_chords_survive_the_picture():
    song = read_midi(next(iter(data.songs().values())))
    with_chords = Song(song.notes, estimate_chords(song.notes, song.end)).canonical()
    assert parse(render(with_chords)).chords == with_chords.chords != ()


@pytest.mark.parametrize("picture", [np.zeros((128, 4), np.uint8), np.zeros((64, 4, 3), np.uint8), np.zeros((128, 4, 3)),
                                     np.zeros((128, 0, 3), np.uint8), "no picture", None])
def test_bad_pictures(picture):
    with pytest.raises(PictureError):
        parse(picture)


def test_bad_options():
    song = Song(np.zeros(0, NOTE_DTYPE))
    for options in ({"onsets": "late"}, {"width": 0}, {"width": 2**21}, {"start": -1}, {"border": 99}):
        with pytest.raises(OptionError):
            render(song, **options)
    with pytest.raises(PictureError, match="even"):
        fold(np.zeros((128, 5, 3), np.uint8))
    with pytest.raises(PictureError):
        unfold(np.zeros((128, 4, 3), np.uint8))
