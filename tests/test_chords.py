"""Chords and keys from notes: laws of transposition and time, accuracy on POP909, and chords among a MIDI file's texts."""

import numpy as np
import pytest
from conftest import make_song

from pomkit import Chord, Song, data, read_midi
from pomkit.music.chords import QUALITIES, ROOTS, chords_from_markers, reduce_chord
from pomkit.music.harmony import estimate_chords, estimate_key, viterbi
from pomkit.music.tables import NOTE_DTYPE

PLAIN = ("maj", "min", "7", "maj7", "min7", "sus4", "dim")


def notes_of(*rows):
    return np.array(list(rows), NOTE_DTYPE)


@pytest.mark.parametrize("quality", PLAIN)
def test_a_chord_in_root_position_is_named(quality):
    for shift, root in enumerate(ROOTS):
        notes = notes_of(*((0, 8, 48 + shift + tone, 80, 0) for tone in QUALITIES[quality]))
        assert estimate_chords(notes, 8) == (Chord(0, 8, f"{root}:{quality}"),)


def test_estimates_move_with_the_notes():
    """Law: transposed notes have the transposed chords and key, later notes the later chords."""
    for path in data.songs().values():
        song = read_midi(path)
        chords, key = estimate_chords(song.notes, song.bar_lines()), estimate_key(song.notes)
        for semitones in (-5, 1, 6):
            moved = Song(song.notes, chords, steps_per_beat=song.steps_per_beat).transpose(
                semitones
            )
            assert estimate_chords(moved.notes, song.bar_lines()) == moved.chords
            root, mode = key.split(":")
            assert (
                estimate_key(moved.notes) == f"{ROOTS[(ROOTS.index(root) + semitones) % 12]}:{mode}"
            )
        later = song.notes.copy()
        later["onset"] += 32
        assert estimate_chords(later, song.bar_lines() + 32) == tuple(
            Chord(o + 32, d, label) for o, d, label in chords
        )


def test_spans_are_counted_once_and_only_where_notes_sound(rng):
    notes = make_song(rng).notes
    assert estimate_chords(notes, 300) == estimate_chords(notes, np.r_[np.arange(0, 300, 8), 300])
    assert (
        estimate_chords(notes[:0], 64)
        == estimate_chords(notes, 0)
        == estimate_chords(notes, [5])
        == ()
    )
    hole = notes[(notes["onset"] + notes["duration"] <= 96) | (notes["onset"] >= 160)]
    chords = estimate_chords(hole, np.arange(0, 400, 16))
    assert all(c.onset + c.duration <= 96 or c.onset >= 160 for c in chords)
    assert estimate_chords(notes_of((20, 8, 60, 80, 0)), [0, 8, 16]) == ()  # beyond the last edge
    assert [c[:2] for c in estimate_chords(notes_of((2, 20, 60, 80, 0)), [6, 12, 18])] == [(6, 12)]


def test_viterbi_finds_the_best_path(rng):
    """Against all 4**5 paths."""
    score, move = rng.normal(size=(5, 2, 4)), rng.normal(size=(4, 4))
    paths = np.array(np.meshgrid(*[range(4)] * 5)).reshape(5, -1)
    for row, path in enumerate(viterbi(score, move).T):
        total = score[np.arange(5)[:, None], row, paths].sum(axis=0) + move[
            paths[:-1], paths[1:]
        ].sum(axis=0)
        assert np.array_equal(paths[:, total.argmax()], path)


def test_keys():
    scale = (0, 2, 4, 5, 7, 9, 11, 12)
    c_major = notes_of(
        *((4 * i, 4 + 4 * (t % 12 == 0), 60 + t, 80, 0) for i, t in enumerate(scale))
    )
    assert estimate_key(c_major) == "C:maj"
    assert estimate_key(c_major[:0]) == ""
    keys = {name: estimate_key(read_midi(path).notes) for name, path in data.songs().items()}
    assert keys["bach_prelude_c"] == "C:maj"
    assert keys["petzold_minuet_g"] == "G:maj"
    assert keys["beethoven_fuer_elise"] == "A:min"
    assert keys["petzold_minuet_g_minor"] == "G:min"


def test_words_are_no_chords():
    lyrics = [(0, "A"), (2, "N"), (4, "E"), (6, "X"), (8, "la: la"), (9, "N:")]
    assert (
        chords_from_markers(lyrics, 32) == () == chords_from_markers([(0, "A:verse"), (4, "N")], 32)
    )
    assert chords_from_markers([*lyrics, (12, "C:maj7"), (16, "X"), (20, "N")], 32) == (
        Chord(2, 4, "N"),
        Chord(12, 4, "C:maj7"),
        Chord(20, 12, "N"),
    )
    assert chords_from_markers([(4, "N"), (8, "X")], 8) == (
        Chord(4, 4, "N"),
    )  # as write_midi writes it
    assert chords_from_markers([(0, "C:" + "(" * 10**6), (0, "C:((((")], 9) == ()


def test_chords_are_found_in_pop909(corpus_archive):
    songs = data.read_corpus(corpus_archive, progress=False).split("valid").songs
    right = total = 0
    for song in songs:
        known, guess = np.full(song.end, "", object), np.full(song.end, "N", object)
        for line, chords in ((known, song.chords), (guess, song.with_chords().chords)):
            for onset, duration, label in chords:
                line[onset : onset + duration] = reduce_chord(label).split(":")[0]
        right, total = right + (known == guess)[known != ""].sum(), total + (known != "").sum()
    assert right / total > 0.9
