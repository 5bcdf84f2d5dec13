"""Chords and keys from notes: laws of transposition and time, accuracy on POP909, and chords among a MIDI file's texts."""

import midi_files as m
import numpy as np
import pytest
from conftest import make_song

from pomkit import Chord, OptionError, Song, data, read_midi
from pomkit.music.chords import (
    QUALITIES,
    ROOTS,
    chord_tones,
    chords_from_markers,
    read_markers,
    reduce_chord,
)
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


QUALITY_NAMES = sorted(
    {*QUALITIES, "9", "11", "13", "maj9", "min9", "min11", "maj13", "1", "5", "maj(9)", "(3,5)"}
)
BASSES = ("1", "b2", "2", "b3", "3", "4", "b5", "5", "#5", "6", "b7", "7", "b9", "9", "11", "13")


@pytest.mark.parametrize("quality", QUALITY_NAMES)
@pytest.mark.parametrize("root", ["C", "F#", "Bb"])
def test_a_bass_note_does_not_change_the_quality(root, quality):
    label = f"{root}:{quality}"
    reduced = reduce_chord(label)
    for bass in BASSES:
        assert reduce_chord(f"{label}/{bass}") == reduced, bass
        assert chord_tones(f"{label}/{bass}")[1].tolist() == chord_tones(label)[1].tolist(), bass


def test_a_palette_s_label_keeps_its_quality_over_any_bass():
    for root in ROOTS:
        for quality in QUALITIES:
            found = {reduce_chord(f"{root}:{quality}/{bass}") for bass in BASSES}
            assert found == {f"{root}:{quality}"}


@pytest.mark.parametrize("label", ["C:maj/", "C:maj/H", "C:maj/3/5", "C:maj/99", "/3", "C:aug7/3"])
def test_a_wrong_bass_is_refused(label):
    with pytest.raises(OptionError, match="Harte"):
        reduce_chord(label)


def test_accidentals_of_unicode_are_understood():
    assert reduce_chord("B♭:min7") == "Bb:min7"
    assert reduce_chord("F♯:maj/♭7") == "F#:maj"
    assert reduce_chord("B𝄫:7") == "A:7"
    assert chords_from_markers([(0, "E♭:maj"), (8, "C♯:min(♭9)")], 16) == (
        Chord(0, 8, "Eb:maj"),
        Chord(8, 8, "C#:min(b9)"),
    )


# fmt: off
UNKNOWN = {  # text -> whether it is told as a chord that is not understood
    "C:aug7": True, "D:mystery": True, "F#:7alt": True, "B♭:maj9♯11": True,
    "F": True, "Am": True, "F#m7": True, "B♭sus4": True, "C/E": True, "G7(b9)": True, "Dmaj7": True,
    "verse": False, "Amen": False, "Chorus 2": False, "la": False, "Bridge": False, "A:": False,
    "C:" + "9" * 60: False,
}
# fmt: on


@pytest.mark.parametrize("text", UNKNOWN)
def test_a_chord_that_is_not_understood_ends_the_one_before_it(text):
    markers = [(0, "C:maj"), (16, text), (32, "F:maj")]
    found = read_markers(markers, 48)
    first = Chord(0, 16 if UNKNOWN[text] else 32, "C:maj")
    assert found.chords == chords_from_markers(markers, 48) == (first, Chord(32, 16, "F:maj"))
    assert len(found.unknown) == UNKNOWN[text]


def test_what_stands_beside_a_chord_does_not_end_it():
    """A rehearsal mark at the chord's own step, a lone letter among words."""
    beside = [(0, "A"), (0, "C:maj"), (16, "C:maj"), (16, "B")]
    chords = (Chord(0, 16, "C:maj"), Chord(16, 32, "C:maj"))
    assert read_markers(beside, 48) == (chords, ())
    words = [(0, "C:maj"), (16, "A"), (20, "verse"), (24, "C:aug7")]
    assert read_markers(words, 48) == ((Chord(0, 24, "C:maj"),), ("C:aug7",))


def test_the_report_of_a_file_counts_and_names_the_chords_that_are_not_understood():
    texts = ["C:aug7", "F:maj", "Bb:what", "G♭:maj", "C:aug7"]
    markers = [m.marker(1920 * bar, text) for bar, text in enumerate(texts)]
    song = read_midi(m.midi(m.track(markers, m.note(0, 9600))))
    assert song.chords == (Chord(16, 16, "F:maj"), Chord(48, 16, "Gb:maj"))
    assert song.report.chords_dropped == 3
    assert "3 chords not understood and left out: C:aug7, Bb:what" in song.report.remarks


def test_drums_are_not_heard_in_chords():
    """A drum's number is no pitch: a file read with its drums has the same chords."""
    harmony = notes_of(*((0, 16, pitch, 80, 0) for pitch in (48, 52, 55)))
    drums = notes_of(*((4 * i, 4, 37, 127, 1) for i in range(4)))
    alone = Song(harmony, parts=("piano",), channels=(0,)).with_chords()
    both = Song(
        np.concatenate([harmony, drums]), parts=("piano", "drums"), channels=(0, 9)
    ).with_chords()
    assert alone.chords == (Chord(0, 16, "C:maj"),)
    assert both.chords == alone.chords


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
