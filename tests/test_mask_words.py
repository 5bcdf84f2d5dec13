"""The parts of a song by their words, and masks in words."""

from dataclasses import replace

import numpy as np
import pytest

from pomkit import OptionError, Song, masks
from pomkit.music import mask_words

WALTZ = Song(
    [(bar * 12, 4, 72, 80, 0) for bar in range(8)]
    + [(bar * 12, 12, pitch, 60, 1) for bar in range(8) for pitch in (48, 52)]
    + [(bar * 12, 12, 36, 60, 2) for bar in range(8)],
    parts=("air", "harp", "bass"),
    meters=[(0, 3, 4)],
)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((128, 96), bool), "nothing"),
        (masks.bars(WALTZ, 5, 7), "bars 5-7, all pitches"),
        (masks.bars(WALTZ, 8), "bar 8, all pitches"),
        (masks.bars(WALTZ, 2, chords=True), "bar 2, all pitches and chords"),
        (masks.chords(96, (12, 24)), "bar 2, chords"),
        (masks.bars(WALTZ, 5, 8) & masks.melody(WALTZ), "bars 5-8, melody"),
        (masks.bars(WALTZ, 5, 8) & masks.accompaniment(WALTZ), "bars 5-8, accompaniment"),
        (masks.bars(WALTZ, 1, 8) & masks.melody(WALTZ, "bass"), "bars 1-8, bass"),
        (masks.box(96, (60, 79), (12, 24)), "bar 2, C4 to G5"),
        (masks.box(96, (60, 60), (13, 24)), "in bar 2, C4"),
        (masks.box(96, None, (30, 40)), "in bars 3-4, all pitches"),
        (
            masks.box(96, (60, 70), (30, 40)) | masks.box(96, (66, 79), (96 - 13, 96 - 10)),
            "2 places in bars 3-8, C4 to G5",
        ),
    ],
)
def test_a_mask_in_words(mask, words):
    assert mask_words.in_words(mask, WALTZ) == words


def test_a_mask_of_a_picture_in_words():
    assert mask_words.in_words(masks.bars(64, 2)) == "bar 2, all pitches"
    assert mask_words.in_words(masks.box(64, (60, 70), (0, 12)), bars=[0, 12]) == "bar 1, C4 to Bb4"


def test_a_part_by_its_word():
    assert mask_words.part_words(WALTZ) == ["melody", "accompaniment", "air", "harp", "bass"]
    assert mask_words.part_words(Song([(0, 4, 60, 80, 0)])) == ["melody", "accompaniment"]
    for word, mask, numbers in [
        ("melody", masks.melody(WALTZ), [0]),
        ("accompaniment", masks.accompaniment(WALTZ), [1, 2]),
        ("harp", masks.melody(WALTZ, "harp"), [1]),
    ]:
        assert np.array_equal(mask_words.part_cells(WALTZ, word), mask)
        assert mask_words.part_numbers(WALTZ, word) == numbers
    for ask in (mask_words.part_cells, mask_words.part_numbers):
        with pytest.raises(OptionError, match="no part 'drum'"):
            ask(WALTZ, "drum")


def test_a_part_that_is_called_as_a_word_is_that_part():
    song = Song([(0, 4, 60, 80, 0), (0, 4, 72, 80, 1), (0, 4, 40, 80, 2)])
    song = replace(song, parts=("accompaniment", "lead", "bass"))
    assert mask_words.part_numbers(song, "accompaniment") == [0]
    assert mask_words.part_words(song) == ["melody", "accompaniment", "lead", "bass"]
