"""The baselines: they keep to the mask, and do what their names say."""

import itertools

import numpy as np
import pytest

from pomkit import Chord, Song, baselines, masks, metrics, render
from pomkit.music.tables import NOTE_DTYPE

SCALE = np.array([0, 2, 4, 5, 7, 9, 11])


def make(seed, root=0, upbeat=0):
    """A melody of eighths over one chord a bar, twelve bars, the parts named."""
    rng = np.random.default_rng(seed)
    roots = rng.choice([0, 5, 7, 9], 12)
    low = []
    for beat, tone in itertools.product(range(48), (0, 7)):
        pitch = 48 + root + (roots[beat // 4] + tone) % 12
        low.append((upbeat + 4 * beat, 4, pitch, 70, 0))
    high = []
    for eighth in range(96):
        high.append((upbeat + 2 * eighth, 2, 72 + root + SCALE[rng.integers(7)], 90, 1))

    notes = np.array(low + high, NOTE_DTYPE)
    chords = (Chord(upbeat, 192, "C:maj"),)
    bars = tuple(range(upbeat, upbeat + 200, 16))
    return Song(notes, chords, ("PIANO", "MELODY"), bars, name=str(seed))


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
        assert np.array_equal(result, again)
        assert result.dtype == np.uint8
        assert np.array_equal(result[~mask], picture[~mask])
        assert metrics.adherence(picture, mask, result).onsets > 0


def test_permuted_fools_the_features_and_keeps_no_line(rng):
    picture = render(make(3), 0, 192)
    mask = masks.everything(192)
    real = metrics.describe([picture])
    fooled = metrics.describe([baselines.permuted(picture, mask, rng)])
    assert fooled["onsets_per_beat"] == pytest.approx(real["onsets_per_beat"], rel=0.08)
    assert fooled["scale_consistency"] == pytest.approx(real["scale_consistency"], abs=0.02)
    assert fooled["pitch_range"] == real["pitch_range"]
    found = metrics.adherence(picture, baselines.permuted(picture, mask, rng), mask)
    assert found.note_f1 < 0.5


def test_copied_takes_the_bars_before(rng):
    song = make(1)
    picture = render(song, 32, 128)
    mask = masks.bars(128, 5, 6)  # bars 7 and 8 of the song
    result = baselines.copied(picture, mask, song, 32, "all")
    assert np.array_equal(result[8:120, 64:96], picture[8:120, 32:64])

    # One bar is there: it comes four times.
    beginning = render(song, 0, 128)
    again = baselines.copied(beginning, masks.bars(128, 2, 5), song, 0, "all")
    for bar in range(1, 5):
        assert np.array_equal(again[8:120, 16 * bar : 16 * bar + 16], beginning[8:120, :16])

    # There is nothing before: what follows comes.
    first = baselines.copied(beginning, masks.bars(128, 1, 2), song, 0, "all")
    assert np.array_equal(first[8:120, :32], beginning[8:120, 32:64])


@pytest.mark.parametrize("semitones", [-5, 0, 4])
def test_nearest_finds_the_music_itself_in_any_key(training, semitones):
    song = SONGS[4].transpose(semitones)
    picture = render(song, 32, 128)
    mask = masks.bars(128, 4, 5)
    found = baselines.nearest(picture, mask, training, "all", np.random.default_rng(0))
    assert np.array_equal(found[8:120], picture[8:120])

    lead = masks.melody(song, start=32, width=128)
    found = baselines.nearest(picture, lead, training, "melody", np.random.default_rng(0))
    assert metrics.adherence(picture, lead, found).note_f1 == 1


def test_nearest_goes_by_chords_where_no_note_is_known():
    # A piece that is one chord, and the same a semitone higher, which only shows its chord.
    triads = np.zeros((8, 3), NOTE_DTYPE)
    triads["onset"] = 16 * np.arange(8)[:, None]
    triads["duration"] = 16
    triads["pitch"] = (60, 64, 67)
    triads["velocity"] = 80
    like = Song(triads)
    higher = Song(like.transpose(1).notes, (Chord(0, 128, "Db:maj"),))

    unlike = Song(np.array([(4 * i, 4, 60 + i % 12, 80, 0) for i in range(32)], NOTE_DTYPE))
    training = baselines.Training([unlike, like])
    picture = render(higher, 0, 64)
    mask = masks.everything(64)
    result = baselines.nearest(picture, mask, training, "all", np.random.default_rng(0))
    assert metrics.adherence(picture, mask, result).chord_tones == 1


def test_songs_lie_on_their_bars_and_apart():
    training = baselines.Training([make(0, upbeat=3), make(1, upbeat=12)])
    onset = training.notes["onset"]
    song = training.notes["part"]
    assert set(onset[training.kinds["accompaniment"]] % 4) == {0}
    assert onset[song == 1].min() > onset[song == 0].max()
    assert (training.song_of_bar[onset // 16] == song).all()
    assert training.tonic.tolist() == [0, 0]


def test_a_markov_chain_says_only_what_it_has_heard(training):
    chain = baselines.Markov(training)
    picture = render(SONGS[2], 0, 128)
    mask = masks.box(128, (60, 100))
    result = chain(picture, mask, np.random.default_rng(3))
    notes, _ = metrics.read_clips([result], mask)
    assert len(notes) == 64
    assert (notes["duration"] == 2).all()
    assert set(notes["onset"]) == set(range(0, 128, 2))

    heard = set()
    for song in SONGS:
        melody = song.notes["pitch"][song.notes["part"] == 1].tolist()
        heard |= set(zip(melody, melody[1:], melody[2:], strict=False))
    pitches = notes["pitch"][np.argsort(notes["onset"])].tolist()
    assert set(zip(pitches[2:], pitches[3:], pitches[4:], strict=False)) <= heard
