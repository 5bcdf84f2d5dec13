"""How an array lies in memory never counts: Fortran order, negative strides, gaps, read-only.

A new function that takes a picture or a mask needs one line in `FUNCTIONS`.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import make_song
from PIL import Image

from pomkit import Chord, Song, masks, parse, render
from pomkit.data import onsets_per_bar
from pomkit.judge import baselines, metrics
from pomkit.judge.clips import read_clips
from pomkit.judge.likeness import compare
from pomkit.judge.statistics import describe
from pomkit.music import pixels
from pomkit.music.binary import from_binary, split_binary
from pomkit.music.images import read_image
from pomkit.music.palette import paint_chords, read_chords
from pomkit.play import audio, plot
from pomkit.processes import states
from pomkit.studio import Editor

WIDTH = 128


def seeded() -> np.random.Generator:
    return np.random.default_rng(5)


def jpeg(picture: np.ndarray) -> np.ndarray:
    """The picture as it comes out of a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=85)
    return np.array(Image.open(file))


def scene() -> dict[str, Any]:
    """Arrays of every kind that pomkit takes, all C-ordered."""
    song = make_song(np.random.default_rng(1), end=3 * WIDTH)
    picture = render(song, 32, WIDTH)
    spans = pixels.read_spans(picture)
    mask = masks.bars(picture, 3, 6) | masks.stroke(picture, [(5, 40), (60, 90)], 4)
    alpha = np.full((128, WIDTH, 1), 200, np.uint8)

    return {
        "picture": picture,
        "other": render(song, 160, WIDTH),
        "mask": mask,
        "painted": masks.paint(picture, mask),
        "square": pixels.fold(picture),
        "grey": picture.max(axis=2),
        "clear": np.concatenate([picture, alpha], axis=2),
        "noisy": jpeg(picture),
        "pages": split_binary(song),
        "onset": spans.onset,
        "sustain": spans.sustain,
        "velocity": spans.velocity,
        "onsets": np.stack([spans.onset, spans.onset[:, ::-1]]),
        "cells": states.encode_cells(picture),
        "set": np.stack([picture, render(song, 64, WIDTH), render(song, 160, WIDTH)]),
        "set_masks": np.stack([mask, ~mask, masks.everything(mask)]),
    }


SCENE = scene()
SONGS = [make_song(np.random.default_rng(seed), end=400) for seed in range(3)]
TRAINING = baselines.Training(SONGS)
MARKOV = baselines.Markov(TRAINING)
CHORDS = (Chord(0, 40, "C:maj"), Chord(64, 32, "A:min"))


def content(song: Song) -> tuple:
    return song.notes, song.chords, song.report


# fmt: off
# What is called -> the arrays of the scene that it takes.
FUNCTIONS: list[tuple[str, Callable[..., Any], str]] = [
    # pomkit.music
    ("read_spans", pixels.read_spans, "picture"),
    ("read_spans, early", lambda p: pixels.read_spans(p, "early"), "picture"),
    ("painted", pixels.painted, "painted"),
    ("draw_spans", pixels.draw_spans, "onset sustain velocity"),
    ("runs_of_spans", pixels.runs_of_spans, "onset sustain"),
    ("belonging", pixels.belonging, "onset sustain"),
    ("belonging, of many", lambda onset: pixels.belonging(onset, ~onset), "onsets"),
    ("notes_of_spans", pixels.notes_of_spans, "onset sustain velocity"),
    ("notes_of_spans, of many",
     lambda onset: pixels.notes_of_spans(onset, ~onset, onset * np.uint8(9)), "onsets"),
    ("fold", pixels.fold, "picture"),
    ("unfold", pixels.unfold, "square"),
    ("parse", lambda p: content(parse(p)), "picture"),
    ("parse, folded", lambda p: content(parse(p)), "square"),
    ("parse, grey", lambda p: content(parse(p)), "grey"),
    ("parse, transparent", lambda p: content(parse(p)), "clear"),
    ("parse, a JPEG", lambda p: content(parse(p)), "noisy"),
    ("read_image", read_image, "picture"),
    ("read_image, painted", read_image, "painted"),
    ("read_image, grey", read_image, "grey"),
    ("read_image, a JPEG", read_image, "noisy"),
    ("from_binary", lambda pages: content(from_binary(pages)), "pages"),
    ("read_chords", read_chords, "picture"),
    ("masks.from_image", masks.from_image, "painted"),
    ("masks.from_image, transparent", masks.from_image, "clear"),
    ("masks.paint", masks.paint, "picture mask"),
    ("masks.check_mask", masks.check_mask, "mask picture"),
    ("masks.everything", masks.everything, "picture"),
    ("masks.bars", lambda p: masks.bars(p, 2, 3), "picture"),
    ("masks.chords", masks.chords, "mask"),
    # pomkit.data and pomkit.processes
    ("onsets_per_bar", onsets_per_bar, "picture mask"),
    ("encode_cells", states.encode_cells, "picture"),
    ("decode_cells", states.decode_cells, "cells picture mask"),
    ("chord_channels", states.chord_channels, "picture mask"),
    ("chord_columns", states.chord_columns, "mask"),
    # pomkit.judge
    ("read_clips", lambda p, m: read_clips([p], m), "picture mask"),
    ("read_clips, of many", read_clips, "set set_masks"),
    ("describe", lambda p: describe([p]), "picture"),
    ("describe, of many", describe, "set set_masks"),
    ("compare", lambda p, other: compare([p, other], [other, p]), "picture other"),
    ("compare, of many", lambda p: compare(p, p), "set"),
    ("adherence", lambda p, m, q: vars(metrics.adherence(p, m, q, q)), "picture mask other"),
    ("Region.counts", lambda p, q, m: metrics.Region(p, m).counts(q), "picture other mask"),
    ("scale_of", metrics.scale_of, "picture"),
    ("shuffled", lambda p, m: metrics.shuffled(p, m, seeded()), "picture mask"),
    ("redraw", lambda p, m: baselines.redraw(p, m, SONGS[0].notes), "picture mask"),
    ("permuted", lambda p, m: baselines.permuted(p, m, seeded()), "picture mask"),
    ("copied", lambda p, m: baselines.copied(p, m, SONGS[0], 32, "all"), "picture mask"),
    ("nearest", lambda p, m: baselines.nearest(p, m, TRAINING, "all", seeded()), "picture mask"),
    ("Markov", lambda p, m: MARKOV(p, m, seeded()), "picture mask"),
    # pomkit.play and pomkit.studio
    ("synthesize", lambda p: audio.synthesize(p, 8000, sound="tones"), "picture"),
    ("Editor", lambda p, m: content(Editor(p, m).song), "picture mask"),
]
# fmt: on


def apart(array: np.ndarray) -> np.ndarray:
    """The same values as every second column of a wider array."""
    return array.repeat(2, axis=1)[:, ::2]


def mirrored(array: np.ndarray) -> np.ndarray:
    """The same values, which stand in memory from right to left and upside down."""
    return array[::-1, ::-1].copy()[::-1, ::-1]


def read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS = [np.asfortranarray, mirrored, apart, read_only]
of_every_layout = pytest.mark.parametrize("lay", LAYOUTS, ids=lambda lay: lay.__name__)


@of_every_layout
@pytest.mark.parametrize(("name", "function", "names"), FUNCTIONS, ids=[f[0] for f in FUNCTIONS])
def test_the_result_is_that_of_a_plain_array(name, function, names, lay):
    plain = [SCENE[each].copy() for each in names.split()]
    laid = [lay(array) for array in plain]
    expected = function(*plain)
    np.testing.assert_equal(function(*laid), expected)
    np.testing.assert_equal(laid, [SCENE[each] for each in names.split()])


@pytest.mark.parametrize("lay", LAYOUTS[:3], ids=lambda lay: lay.__name__)
def test_chords_are_painted_into_a_picture_of_any_layout(lay):
    plain = SCENE["picture"].copy()
    laid = lay(SCENE["picture"])
    paint_chords(plain, CHORDS)
    paint_chords(laid, CHORDS)
    assert np.array_equal(laid, plain)
    assert read_chords(laid) == CHORDS


@of_every_layout
def test_a_picture_is_written_as_it_is(tmp_path, lay):
    plot.save_png(tmp_path / "x.png", lay(SCENE["picture"]))
    assert np.array_equal(np.array(Image.open(tmp_path / "x.png")), SCENE["picture"])


@of_every_layout
def test_chance_has_as_many_notes_as_the_music(lay):
    """They were lost where the picture was not C-ordered."""
    picture = lay(SCENE["picture"])
    mask = lay(SCENE["mask"])
    chance = metrics.shuffled(picture, mask, seeded())
    count = metrics.adherence(picture, mask, chance).onsets
    assert count == len(read_clips([SCENE["picture"]], SCENE["mask"]).notes) > 20
