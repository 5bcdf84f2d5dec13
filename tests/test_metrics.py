"""Laws of the measures."""

import numpy as np
import pytest
from conftest import make_song
from hypothesis import given, settings
from hypothesis import strategies as st

from pomkit import Chord, OptionError, Song, masks, render
from pomkit.judge.clips import read_clips
from pomkit.judge.likeness import compare
from pomkit.judge.melodies import bleu, line_of
from pomkit.judge.metrics import adherence, longest_shared, scale_of, shuffled
from pomkit.judge.statistics import describe
from pomkit.music.tables import BAR, NOTE_DTYPE

# What muspy 0.5.0 gives for `muspy_clip(seed)`, seeds 0 to 2: one number for each of KEYS. Its
# Music has resolution 4; groove consistency is at 16 steps a measure; pitch classes are counted
# in each bar, then averaged.
# fmt: off
KEYS = ("pitch_class_entropy", "scale_consistency", "groove_consistency", "polyphony",
        "pitch_classes_per_bar", "pitch_count", "pitch_range")
MUSPY = {
    0: (2.8995549443028787, 0.8166666666666667, 0.5625, 2.440677966101695, 5.625, 29, 45),
    1: (2.87480489987343, 0.85, 0.5267857142857143, 2.5132743362831858, 4.875, 28, 47),
    2: (2.7717378341715246, 0.9166666666666666, 0.4642857142857143, 2.305084745762712,
        4.25, 27, 47),
}
# fmt: on
OF_PITCH_CLASSES = ("pitch_class_entropy", "scale_consistency", "pitch_classes_per_bar")


def muspy_clip(seed):
    """Eight bars of 60 random notes.

    The last note ends inside the last bar: only then does muspy count as many bars as we do.
    """
    rng, n = np.random.default_rng(seed), 60
    notes = np.zeros(n, NOTE_DTYPE)
    notes["onset"], notes["duration"] = rng.integers(0, 120, n), rng.integers(1, 9, n)
    notes["pitch"] = rng.choice([0, 2, 4, 5, 7, 9, 11, 6], n) + 12 * rng.integers(3, 7, n)
    notes["velocity"] = rng.integers(30, 120, n)
    notes["duration"] = np.minimum(notes["duration"], 127 - notes["onset"])
    notes[0] = (112, 15, 60, 80, 0)
    return render(Song(notes), 0, 128)


def picture_of(rows, width=32):
    return render(Song(np.array(rows, NOTE_DTYPE)), 0, width)


def scale_song(root, steps=(0, 2, 4, 5, 7, 9, 11), octave=5):
    weights = [4, 1, 2, 2, 3, 2, 1]  # the tonic and the fifth sound longest
    notes = [(2 * i, weights[i % 7], 12 * octave + root + steps[i % 7], 80, 0) for i in range(64)]
    return Song(np.array(notes, NOTE_DTYPE))


def music(seed, semitones=0, count=12, width=64):
    """A set of clips: diatonic, on even steps, each of its own density and register."""
    rng, out = np.random.default_rng(seed), []
    for _ in range(count):
        n, low = int(rng.integers(20, 45)), int(rng.integers(3, 5))
        pitch = (
            12 * rng.integers(low, low + 3, n) + rng.choice([0, 2, 4, 5, 7, 9, 11], n) + semitones
        )
        onset = 2 * rng.integers(0, width // 2, n)
        duration = rng.integers(1, 6, n)
        rows = zip(onset, duration, pitch, [80] * n, [0] * n, strict=True)
        out.append(picture_of(list(rows), width))
    return np.array(out)


@pytest.mark.parametrize("seed", MUSPY)
def test_the_statistics_are_muspys(seed):
    found = describe([muspy_clip(seed)])
    assert [found[key][0] for key in KEYS] == pytest.approx(MUSPY[seed])


def test_values_by_hand():
    """Bar 1: C4 for 8 steps at 0 with E4 for 4 at 4; bar 2: C5 at 16 (the end)."""
    found = describe([picture_of([(0, 8, 60, 80, 0), (4, 4, 64, 100, 0), (16, 16, 72, 60, 0)])])
    value = {key: found[key][0] for key in found}
    assert value["pitch_class_entropy"] == pytest.approx(
        -(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))
    )
    assert value["scale_consistency"] == 1
    assert value["polyphony"] == pytest.approx((8 + 4 + 16) / 24)
    assert value["groove_consistency"] == pytest.approx(1 - 1 / 16)  # patterns {0, 4} and {0}
    assert value["onsets_per_beat"] == pytest.approx(3 / 8)
    assert value["pitch_classes_per_bar"] == 1.5
    assert value["note_length"] == pytest.approx(28 / 3)
    assert value["velocity"] == pytest.approx(80)
    assert value["pitch_count"] == 3
    assert value["pitch_range"] == 12
    assert value["inter_onset_interval"] == 8
    assert value["note_lengths"].tolist() == pytest.approx(
        [0, 0, 0, 1 / 3, 0, 1 / 3, 0, 1 / 3, 0, 0]
    )
    assert value["pitch_classes"].argmax() == 0
    assert value["pitch_classes"].sum() == pytest.approx(1)


def test_fragments_by_hand():
    """C4 of six steps in three pieces, an E4 of one step, and a G4 after a rest of the same."""
    rows = [(0, 3, 60, 80, 0), (3, 1, 60, 80, 0), (4, 2, 60, 80, 0), (8, 1, 64, 80, 0)]
    rows += [(10, 2, 67, 80, 0), (13, 2, 67, 80, 0)]
    found = describe([picture_of(rows)])
    assert found["one_step_notes"][0] == 2 / 6
    assert found["broken_notes"][0] == 2 / 6


def test_whole_notes_have_no_fragments_and_their_pieces_only():
    whole = [(8 * i, 8, 60 + i, 80, 0) for i in range(4)]
    pieces = [(8 * i + j, 1, 60 + i, 80, 0) for i in range(4) for j in range(8)]
    found = describe([picture_of(whole), picture_of(pieces)])
    assert found["one_step_notes"].tolist() == [0, 1]
    assert found["broken_notes"].tolist() == [0, 7 / 8]


def test_notes_of_other_clips_break_none():
    """The one ends where the other begins, but in another picture."""
    found = describe([picture_of([(0, 4, 60, 80, 0)]), picture_of([(4, 4, 60, 80, 0)])])
    assert found["broken_notes"].tolist() == [0, 0]


def test_voice_leading_by_hand():
    """The highest notes: C5 E5 E5 C6 D5 F5; below them an accompaniment, which does not count."""
    line = [72, 76, 76, 84, 74, 77]
    rows = [(4 * i, 4, pitch, 80, 0) for i, pitch in enumerate(line)]
    rows += [(4 * i, 4, 48, 80, 0) for i in range(6)]
    found = describe([picture_of(rows)])
    assert found["leaps"][0] == 2 / 5  # +4 0 +8 -10 +3
    assert found["turns"][0] == 2 / 3
    assert found["mean_interval"][0] == 25 / 5


@pytest.mark.parametrize("seed", range(3))
def test_a_line_upside_down_or_backwards_moves_alike(seed):
    rng = np.random.default_rng(seed)
    line = rng.integers(50, 80, 16).tolist()
    turned = [130 - pitch for pitch in line]
    clips = [
        picture_of([(2 * i, 2, pitch, 80, 0) for i, pitch in enumerate(each)])
        for each in (line, turned, line[::-1])
    ]
    found = describe(clips)
    for name in ("leaps", "turns", "mean_interval"):
        assert found[name] == pytest.approx(found[name][0]), name


def test_a_line_without_a_move_leads_no_voice():
    found = describe([picture_of([(0, 4, 60, 80, 0)]), picture_of([])])
    assert np.isnan(found["leaps"]).all()
    assert np.isnan(found["turns"]).all()
    assert np.isnan(found["mean_interval"]).all()


def test_silence_has_no_statistics_but_numbers():
    found = describe(np.zeros((2, 128, 40, 3), np.uint8))
    assert np.isnan(found["pitch_class_entropy"]).all()
    assert (found["onsets_per_beat"] == 0).all()
    assert (found["pitch_range"] == 0).all()
    assert (found["inter_onset_interval"] == 40).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(-6, 6))
def test_transposition_changes_no_statistic_and_an_octave_none_of_pitch_classes(seed, semitones):
    set_ = music(seed, count=3)
    moved, higher = (describe(np.roll(set_, -by, axis=1)) for by in (semitones, 12))
    for key, value in describe(set_).items():
        if key != "pitch_classes":
            assert moved[key] == pytest.approx(value), key
        assert higher[key] == pytest.approx(value), key
    scattered = [
        picture_of([(0, 4, 60, 80, 0), (4, 4, 67, 80, 0), (8, 8, 64, 80, 0)]),
        picture_of([(0, 4, 36, 80, 0), (4, 4, 79, 80, 0), (8, 8, 52, 80, 0)]),
    ]  # the same in other octaves
    found = describe(scattered)
    assert all(found[key][0] == pytest.approx(found[key][1]) for key in OF_PITCH_CLASSES)


def test_only_notes_that_begin_inside_the_mask_count():
    picture = picture_of([(0, 8, 60, 80, 0), (4, 20, 64, 100, 0), (16, 16, 72, 60, 0)])
    clips = read_clips([picture], masks.box(picture, steps=(4, 16)))
    assert clips.notes[["onset", "duration", "pitch"]].tolist() == [(4, 20, 64)]
    assert clips.columns.sum() == 12
    with pytest.raises(OptionError, match="width"):
        read_clips([picture, picture[:, :16]])


def test_a_set_is_like_itself_and_its_order_does_not_matter(rng):
    real, other = music(1), music(2)
    for oa, kld in compare(real, real).values():
        assert oa == pytest.approx(1)
        assert kld == pytest.approx(0, abs=1e-9)
    songs = np.arange(12) // 2
    plain = compare(other, real, songs, songs)
    order = rng.permutation(12)
    for key, value in compare(other[order], real, songs[order], songs).items():
        assert value == pytest.approx(plain[key])
    for key, value in compare(
        np.roll(other, 3, axis=1), np.roll(real, 3, axis=1), songs, songs
    ).items():
        assert value == pytest.approx(plain[key], abs=1e-6), (
            key
        )  # distances do not feel a transposition
    assert all(0 < oa < 1 and kld > 0 for oa, kld in plain.values())


def test_densities_are_those_of_scipy():
    """Two sets of equal spread: our overlapping area is that of two Gaussian kernel estimates.

    Both estimates have the same bandwidth.
    """
    stats = pytest.importorskip("scipy.stats")
    real, made = music(1), music(2)
    a, b = (describe(s)["pitch_range"].astype(float) for s in (made, real))
    apart = ~np.eye(12, dtype=bool)
    intra, inter = (np.abs(x[:, None] - b)[apart] for x in (b, a))
    width = intra.std() * len(intra) ** -0.2
    x = np.linspace(-4 * width, max(intra.max(), inter.max()) + 4 * width, 4000)
    p, q = (stats.gaussian_kde(d, width / d.std(ddof=1))(x) for d in (intra, inter))
    step = x[1] - x[0]
    oa, kld = compare(made, real)["pitch_range"]
    assert oa == pytest.approx(np.minimum(p, q).sum() * step, abs=0.01)
    assert kld == pytest.approx((p * np.log((p + 1e-10) / (q + 1e-10))).sum() * step, abs=0.02)


def test_weights_count_songs():
    """A song that weighs nothing might as well not be there.

    One set in halves is less like itself than as a whole.
    """
    real, made, songs = music(1), music(2), np.arange(12) // 2
    weights = np.ones((1, 2, 6))
    weights[0, 0, 3:] = 0  # of the generated only songs 0 to 2
    part = compare(made, real, songs, songs, weights=weights)
    for key, value in compare(made[:6], real, songs[:6], songs).items():
        if key in (
            "pitch_count",
            "note_lengths",
            "pitch_range",
        ):  # of the others the largest distance sets the bins
            assert part[key][:, 0] == pytest.approx(value, abs=0.03)
    assert np.isnan(
        compare(made, real, songs * 0, songs * 0)["mean"]
    ).all()  # one song: no distances


def test_chance_is_less_like_real_music(rng):
    real, made = music(1), music(2)
    everywhere = masks.everything(64)
    chance = np.array([shuffled(picture, everywhere, rng) for picture in made])
    (oa, kld), (low, high) = (
        compare(made, real)["mean"],
        compare(chance, real)["mean"],
    )
    assert low < oa - 0.2
    assert high > kld
    ours, theirs = describe(made), describe(chance)
    assert theirs["scale_consistency"].mean() < ours["scale_consistency"].mean() - 0.1
    assert theirs["onsets_per_beat"] == pytest.approx(ours["onsets_per_beat"])


@pytest.mark.parametrize("root", range(12))
def test_the_scale_is_found_in_every_key_and_octave(root):
    wanted = np.roll(np.isin(np.arange(12), [0, 2, 4, 5, 7, 9, 11]), root)
    for octave in (3, 5):
        assert np.array_equal(scale_of(render(scale_song(root, octave=octave))), wanted)


def test_unchanged_music_measures_like_itself_and_real_beats_chance(rng):
    before = render(scale_song(2), width=128)
    mask = masks.bars(before, 3, 6)
    same = adherence(before, mask, before)
    assert same.onsets == same.onsets_before > 0
    assert same.in_scale == same.in_scale_before == 1.0
    assert same.on_grid == 1.0
    assert same.changed_outside == 0
    assert same.note_f1 == 1
    chance = adherence(before, mask, shuffled(before, mask, rng))
    assert chance.onsets == same.onsets
    assert chance.in_scale < 0.9
    assert chance.on_grid < 0.8
    assert chance.changed_outside == 0
    assert chance.note_f1 < 0.3
    assert chance.filled < chance.filled_before


def chord_song(
    labels=("C:maj", "A:min", "F:maj", "G:maj"),
    tones=((0, 4, 7), (9, 0, 4), (5, 9, 0), (7, 11, 2)),
    up=0,
):
    """A bar of each chord, its tones on every beat."""
    notes = [
        (16 * bar + 4 * beat, 4, 48 + tone + up, 80, 0)
        for bar, chord in enumerate(tones)
        for beat in range(4)
        for tone in chord
    ]
    chords = tuple(Chord(16 * bar, 16, label) for bar, label in enumerate(labels))
    return Song(np.array(notes, NOTE_DTYPE), chords)


@pytest.mark.parametrize("up", [0, 12])
def test_chords_are_followed_or_not(up):
    before = render(chord_song(up=up))
    right = adherence(before, masks.bars(before, 2, 3), before)
    assert right.chord_accuracy == right.chord_accuracy_before == right.chord_tones == 1
    wrong = before.copy()
    wrong[:, 16:48] = np.roll(before[:, 16:48], 1, axis=0)  # two bars a semitone too low ...
    wrong[:8], wrong[120:] = before[:8], before[120:]
    found = adherence(before, masks.bars(before, 2, 3), wrong)
    assert found.chord_accuracy == 0
    assert found.chord_tones < 0.3
    assert found.chord_tones_before == 1
    half = adherence(before, masks.bars(before, 2, 4), wrong)  # ... of three
    assert half.chord_accuracy == pytest.approx(1 / 3)
    unknown = adherence(before, masks.bars(before, 2, 3, chords=True), wrong)
    assert np.isnan(unknown.chord_accuracy)
    assert np.isnan(unknown.chord_tones)


def test_the_share_of_a_shape_that_holds_notes_and_f1_by_hand():
    before = picture_of([(0, 4, 60, 80, 0), (8, 4, 62, 80, 0)])
    after = picture_of([(0, 8, 60, 80, 0), (4, 2, 60, 80, 0), (8, 4, 64, 80, 0)])
    mask = masks.box(before, (59, 64), (0, 16))
    found = adherence(before, mask, after)
    assert found.filled == pytest.approx((6 + 4) / (6 * 16))
    assert found.filled_before == pytest.approx(8 / 96)
    assert found.onsets == 3
    assert found.note_f1 == pytest.approx(2 / 5)
    assert found.density == 1.5
    assert found.onsets_per_bar == 3


def test_leaks_are_counted(rng):
    before = render(make_song(rng), width=128)
    after = before.copy()
    after[60, 5] = (99, 0, 0) if before[60, 5, 0] != 99 else (98, 0, 0)
    assert adherence(before, masks.bars(before, 3, 6), after).changed_outside == 1


def test_an_empty_region_has_no_shares():
    empty = np.zeros((128, 64, 3), np.uint8)
    result = adherence(empty, masks.everything(empty), empty)
    assert result.onsets == 0
    assert np.isnan(result.in_scale)
    assert np.isnan(result.chord_tones)
    assert np.isnan(result.note_f1)


def melody(pitches, durations, part=0, start=0):
    onset = start + np.cumsum([0, *durations[:-1]])
    return np.array(
        [(o, d, p, 80, part) for o, d, p in zip(onset, durations, pitches, strict=True)], NOTE_DTYPE
    )


def test_the_longest_shared_sequence():
    corpus = np.concatenate(
        [melody([60, 62, 64, 65, 67, 69], [2, 2, 4, 4, 2, 8]), melody([50, 49], [1, 1], 1, 60)]
    )
    clips = np.concatenate(
        [
            melody([72, 74, 76, 77], [2, 2, 4, 4], 0),  # the first four, an octave higher: shared
            melody(
                [60, 62, 64, 65], [2, 3, 4, 4], 1
            ),  # another duration second: two notes from 62, 64, 65
            melody([30], [4], 2),  # one note has no interval
            melody([69, 50, 49], [8, 1, 1], 3),  # sequences do not run across the corpus' parts
            np.concatenate(
                [melody([40, 42, 44], [2, 2, 4], 4), melody([20, 20, 20], [2, 2, 2], 4)]
            ),
        ]
    )  # below the top voice
    # The last duration of a sequence does not matter: what follows it is not known.
    assert longest_shared(clips, corpus, 6).tolist() == [4, 2, 0, 2, 3, 0]
    assert longest_shared(corpus, corpus, 2).tolist() == [6, 2]
    assert longest_shared(clips[:0], corpus, 1).tolist() == [0]
    moved = clips.copy()
    moved["onset"] += BAR
    moved["pitch"] += 5
    assert longest_shared(moved, corpus, 6).tolist() == [4, 2, 0, 2, 3, 0]


def test_the_older_order_of_arguments_is_understood(rng):
    before = render(make_song(rng), 0, 64)
    mask = masks.bars(before, 2, 3)
    after = shuffled(before, mask, rng)
    assert adherence(before, after, mask) == adherence(before, mask, after)


# Melodies


def line(*notes):
    """Notes of one clip, as (onset, duration, pitch)."""
    return np.array([(*note, 90, 0) for note in notes], NOTE_DTYPE)


TUNE = line(*((4 * i, 4, 60 + pitch) for i, pitch in enumerate((0, 2, 4, 5, 7, 4, 0, 2, 9, 7))))


def test_a_line_is_its_highest_notes_as_moves_and_lengths():
    chord = line((0, 4, 60), (0, 4, 48), (4, 2, 62), (4, 4, 50), (8, 3, 59))
    assert line_of(chord) == [(2, 4), (-3, 3)]


@pytest.mark.parametrize("semitones, steps", [(0, 0), (5, 0), (-3, 16)])
def test_a_melody_in_another_key_or_later_is_the_same_to_bleu(semitones, steps):
    moved = TUNE.copy()
    moved["pitch"] += semitones
    moved["onset"] += steps
    assert bleu(line_of(moved), line_of(TUNE)) == pytest.approx(1)


def test_bleu_is_what_its_formula_says():
    """Half of the tokens, two of three pairs (with the one that is added), no more."""
    real = [(1, 4), (2, 4), (3, 4), (4, 4)]
    other = [(1, 4), (2, 4), (9, 4), (8, 4)]
    precisions = [2 / 4, (1 + 1) / (3 + 1), (0 + 1) / (2 + 1), (0 + 1) / (1 + 1)]
    assert bleu(other, real) == pytest.approx(np.prod(precisions) ** (1 / 4))


def test_a_short_line_pays_for_its_brevity():
    real = line_of(TUNE)
    assert bleu(real[:4], real) == pytest.approx(np.exp(1 - len(real) / 4))


def test_an_empty_line_has_nothing_in_common():
    assert bleu([], line_of(TUNE)) == 0
    assert bleu(line_of(TUNE), line_of(TUNE[:1])) == 0


def test_the_same_rhythm_in_every_bar_is_consistent_and_a_shifted_one_is_not():
    onsets = [16 * bar + step for bar in range(4) for step in (0, 4, 8)]
    song = Song([(onset, 2, 60, 90, 0) for onset in onsets])
    before = render(song, 0, 64)
    mask = masks.bars(before, 3, 3)
    assert adherence(before, mask, before).rhythm_consistency == 1

    moved = [onset + (32 <= onset < 48) for onset in onsets]
    after = render(Song([(onset, 2, 60, 90, 0) for onset in moved]), 0, 64)
    # Six of sixteen steps differ, in both pairs of bars.
    assert adherence(before, mask, after).rhythm_consistency == pytest.approx(10 / 16)
