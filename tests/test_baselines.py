"""The baselines: they keep to the mask, and do what their names say."""

import numpy as np
import pytest

from pomkit import Chord, Song, baselines, masks, metrics, render
from pomkit.music.tables import NOTE_DTYPE

SCALE = np.array([0, 2, 4, 5, 7, 9, 11])


def make(seed, root=0, upbeat=0):
    """A melody of eighths over one chord a bar, twelve bars, the parts named."""
    rng = np.random.default_rng(seed)
    roots = rng.choice([0, 5, 7, 9], 12)
    low = [
        (upbeat + 16 * bar + 4 * beat, 4, 48 + root + (chord + tone) % 12, 70, 0)
        for bar, chord in enumerate(roots)
        for beat in range(4)
        for tone in (0, 7)
    ]
    high = [(upbeat + 2 * i, 2, 72 + root + SCALE[rng.integers(7)], 90, 1) for i in range(96)]
    return Song(
        np.array(low + high, NOTE_DTYPE),
        (Chord(upbeat, 192, "C:maj"),),
        ("PIANO", "MELODY"),
        tuple(range(upbeat, upbeat + 200, 16)),
        name=str(seed),
    )


SONGS = [make(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def training():
    return baselines.Training(SONGS)


def windows():
    for task, mask in (
        ("all", masks.bars(128, 3, 6)),
        ("melody", masks.melody(SONGS[0], start=32, width=128)),
        ("accompaniment", masks.accompaniment(SONGS[0], start=32, width=128)),
    ):
        yield task, render(SONGS[0], 32, 128), mask


@pytest.mark.parametrize(("task", "picture", "mask"), list(windows()))
def test_all_leave_what_is_known_and_are_the_same_again(training, task, picture, mask):
    def everyone():
        rng = np.random.default_rng(0)
        melody = [baselines.Markov(training)(picture, mask, rng)] if task == "melody" else []
        return [
            baselines.permuted(picture, mask, rng),
            baselines.copied(picture, mask, SONGS[0], 32, task),
            baselines.nearest(picture, mask, training, task, rng),
            *melody,
        ]

    for result, again in zip(everyone(), everyone(), strict=True):
        assert np.array_equal(result, again) and result.dtype == np.uint8
        assert np.array_equal(result[~mask], picture[~mask])
        assert metrics.adherence(picture, mask, result).onsets > 0


def test_permuted_fools_the_features_and_keeps_no_line(rng):
    picture, mask = render(make(3), 0, 192), masks.everything(192)
    clips = [metrics.describe([p]) for p in (picture, baselines.permuted(picture, mask, rng))]
    assert clips[1]["onsets_per_beat"] == pytest.approx(clips[0]["onsets_per_beat"], rel=0.08)
    assert clips[1]["scale_consistency"] == pytest.approx(clips[0]["scale_consistency"], abs=0.02)
    assert clips[1]["pitch_range"] == clips[0]["pitch_range"]
    found = metrics.adherence(picture, baselines.permuted(picture, mask, rng), mask)
    assert found.note_f1 < 0.5


def test_copied_takes_the_bars_before(rng):
    song = make(1)
    picture = render(song, 32, 128)
    mask = masks.bars(128, 5, 6)  # of the song the bars 7 and 8
    result = baselines.copied(picture, mask, song, 32, "all")
    assert np.array_equal(result[8:120, 64:96], picture[8:120, 32:64])
    again = baselines.copied(
        render(song, 0, 128), masks.bars(128, 2, 5), song, 0, "all"
    )  # one bar is there: four times
    for bar in range(1, 5):
        assert np.array_equal(again[8:120, 16 * bar : 16 * bar + 16], render(song, 0, 16)[8:120])
    first = baselines.copied(
        render(song, 0, 128), masks.bars(128, 1, 2), song, 0, "all"
    )  # nothing before: what follows
    assert np.array_equal(first[8:120, :32], render(song, 32, 32)[8:120])


@pytest.mark.parametrize("semitones", [-5, 0, 4])
def test_nearest_finds_the_music_itself_in_any_key(training, semitones):
    song = SONGS[4].transpose(semitones)
    picture = render(song, 32, 128)
    mask = masks.bars(128, 4, 5)
    found = baselines.nearest(picture, mask, training, "all", np.random.default_rng(0))
    assert np.array_equal(found[8:120], picture[8:120])
    lead = masks.melody(song, start=32, width=128)
    assert (
        metrics.adherence(
            picture,
            baselines.nearest(picture, lead, training, "melody", np.random.default_rng(0)),
            lead,
        ).note_f1
        == 1
    )


def test_nearest_goes_by_chords_where_no_note_is_known():
    pieces = [
        Song(
            np.array(
                [(16 * bar, 16, 60 + tone + up, 80, 0) for bar in range(8) for tone in (0, 4, 7)],
                NOTE_DTYPE,
            )
        )
        for up in (0, 1)
    ]
    unlike = Song(np.array([(4 * i, 4, 60 + i % 12, 80, 0) for i in range(32)], NOTE_DTYPE))
    training = baselines.Training([unlike, pieces[0]])
    picture = np.zeros((128, 64, 3), np.uint8)
    picture[:] = render(Song(pieces[1].notes, (Chord(0, 128, "Db:maj"),)), 0, 64)
    found = baselines.nearest(
        picture, masks.everything(64), training, "all", np.random.default_rng(0)
    )
    assert metrics.adherence(picture, found, masks.everything(64)).chord_tones == 1


def test_songs_lie_on_their_bars_and_apart():
    training = baselines.Training([make(0, upbeat=3), make(1, upbeat=12)])
    assert set(training.notes["onset"][training.kinds["accompaniment"]] % 4) == {0}
    last = training.notes["onset"][training.notes["part"] == 0].max()
    assert training.notes["onset"][training.notes["part"] == 1].min() > last
    assert (training.song_of_bar[training.notes["onset"] // 16] == training.notes["part"]).all()
    assert training.tonic.tolist() == [0, 0]


def test_a_markov_chain_says_only_what_it_has_heard(training):
    chain = baselines.Markov(training)
    picture, mask = render(SONGS[2], 0, 128), masks.box(128, (60, 100))
    result = chain(picture, mask, np.random.default_rng(3))
    notes, _ = metrics.read_clips([result], mask)
    assert (
        len(notes) == 64
        and (notes["duration"] == 2).all()
        and set(notes["onset"]) == set(range(0, 128, 2))
    )
    heard = {
        tuple(song.notes["pitch"][song.notes["part"] == 1][i : i + 3])
        for song in SONGS
        for i in range(94)
    }
    pitches = notes["pitch"][np.argsort(notes["onset"])].tolist()
    assert all(tuple(pitches[i : i + 3]) in heard for i in range(2, 62))
