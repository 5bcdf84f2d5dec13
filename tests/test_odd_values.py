"""Odd values of what people call: it works, or one error of the family says what to do.

`test_calls` does the same for the options of `inpaint`.
"""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_song

from pomkit import (
    PomkitError,
    Song,
    listen,
    load_model,
    masks,
    parse,
    read_midi,
    render,
    synthesize,
)
from pomkit.errors import LONGEST
from pomkit.music.tables import MAX_STEPS


class Unspeakable:
    """What cannot even be shown."""

    def __repr__(self):
        raise RuntimeError("no words")


ODD = {
    "None": None,
    "text": "x",
    "empty text": "",
    "long text": "x" * 10**5,
    "NaN": float("nan"),
    "numpy's NaN": np.float32("nan"),
    "infinity": float("inf"),
    "minus infinity": -float("inf"),
    "negative": -7,
    "zero": 0,
    "one": 1,
    "a half": 0.5,
    "above": 10**30,
    "huge": 10**5000,
    "complex": 1j,
    "true": True,
    "numpy's true": np.bool_(True),
    "whole": np.int64(1),
    "unsigned": np.uint8(1),
    "single": np.float32(0.5),
    "list": [1, 2],
    "empty list": [],
    "list of None": [None],
    "list of texts": ["x"],
    "uneven list": [[1, 2], [3]],
    "list of huge": [10**30, 10**31],
    "long list": [1] * 10**5,
    "empty tuple": (),
    "range": range(3),
    "dict": {"a": 1},
    "set": {1},
    "array": np.array([1, 2]),
    "array of one": np.array([1]),
    "array of no axes": np.array(1),
    "empty array": np.zeros(0),
    "floats": np.zeros((128, 8)),
    "mask": np.zeros((128, 8), bool),
    "picture": np.zeros((128, 8, 3), np.uint8),
    "picture of no width": np.zeros((128, 0, 3), np.uint8),
    "objects": np.array([None, "x"], object),
    "tensor": torch.ones(2),
    "bytes": b"1",
    "object": object(),
    "unspeakable": Unspeakable(),
    "type": int,
    "function": len,
    "no file": Path("/nowhere"),
    "folder": Path(__file__).parent,
    "song without notes": Song([]),
}
SONG = make_song(np.random.default_rng(0), count=40, end=60)
PICTURE = render(SONG)
ALL = masks.everything(PICTURE)
NOTE = (0, 4, 60, 80, 0)
SHORT = Song([NOTE])
POINTS = [(1, 60), (8, 62), (4, 70)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return SONG.write_midi(tmp_path_factory.mktemp("odd") / "song.mid")


def use_song(**fields):
    """Make a song and do with it what most programs do."""
    song = Song(**({"notes": [NOTE]} | fields))
    assert repr(song)
    return render(song), song.transpose(1), song.bar_lines(64)


# What is called, and its usual arguments; each of them takes every odd value once.
CALLS = {
    "render": (
        render,
        dict(song=SONG, start=0, width=8, parts=None, onsets="start", border=8),
    ),
    "parse": (
        parse,
        dict(picture=PICTURE, onsets="start", border=8, threshold=0, steps_per_beat=4),
    ),
    "synthesize": (
        synthesize,
        dict(music=SHORT, sample_rate=8000, bpm=240, sound="tones", steps_per_beat=4),
    ),
    "listen": (listen, dict(music=SHORT, bpm=240, sound="tones", steps_per_beat=4)),
    "load_model": (load_model, dict(name="tiny", device="cpu")),
    "Song": (
        use_song,
        dict(
            notes=[NOTE],
            chords=(),
            parts=(),
            bars=(),
            steps_per_beat=4,
            name="",
            source_tempo=None,
            report=SONG.report,
            meters=(),
            tempi=(),
            keys=(),
            programs=(),
            channels=(),
            source=None,
            read_as=None,
        ),
    ),
    "a note": (
        lambda **note: Song([tuple(note.values())]),
        dict(onset=0, duration=4, pitch=60, velocity=80, part=0),
    ),
    "a chord": (
        lambda **chord: use_song(chords=[tuple(chord.values())]),
        dict(onset=0, duration=4, label="C:maj"),
    ),
    "a meter": (
        lambda **meter: use_song(meters=[tuple(meter.values())]),
        dict(step=0, numerator=3, denominator=4),
    ),
    "a tempo": (lambda **tempo: use_song(tempi=[tuple(tempo.values())]), dict(step=0, bpm=90)),
    "a bar line": (lambda step: use_song(bars=[0, step]), dict(step=16)),
    "read_midi": (
        read_midi,
        dict(steps_per_beat=4, drums=False, pedal=False, salvage=False, estimate=False, phase=0),
    ),
    "the source of read_midi": (lambda given: read_midi(given), dict(given=None)),
    "box": (masks.box, dict(picture=PICTURE, pitch=(40, 60), steps=(0, 8))),
    "a pair": (
        lambda low, first: masks.box(PICTURE, (low, 60), (first, 8)),
        dict(low=40, first=0),
    ),
    "everything": (masks.everything, dict(picture=PICTURE, chords=False)),
    "bars": (masks.bars, dict(picture=PICTURE, first=1, last=2, bars=[0, 16, 32], chords=False)),
    "continuation": (masks.continuation, dict(picture=PICTURE, keep=16, chords=False)),
    "chords": (masks.chords, dict(picture=PICTURE, steps=(0, 8))),
    "melody": (masks.melody, dict(song=SONG, part=0, start=0, width=32)),
    "accompaniment": (masks.accompaniment, dict(song=SONG, part=0, start=0, width=32)),
    "melody_notes": (masks.melody_notes, dict(song=SONG, part=0)),
    "stroke": (masks.stroke, dict(picture=PICTURE, points=POINTS, radius=2.0)),
    "polygon": (masks.polygon, dict(picture=PICTURE, points=POINTS)),
    "a point": (
        lambda stroke, polygon: (
            masks.stroke(PICTURE, [(stroke, 60)]),
            masks.polygon(PICTURE, [*POINTS, (60, polygon)]),
        ),
        dict(stroke=1, polygon=60),
    ),
    "from_image": (masks.from_image, dict(image=PICTURE)),
    "paint": (masks.paint, dict(picture=PICTURE, mask=ALL)),
    "from_text": (masks.from_text, dict(text="melody", song=SONG, start=0, width=32)),
    "check_mask": (masks.check_mask, dict(mask=ALL, picture=PICTURE)),
}
PLACES = [(name, argument) for name, (_, usual) in CALLS.items() for argument in usual]
# What they answer with, in bytes, at most: a mask of the widest picture.
LARGEST = 128 * MAX_STEPS


@pytest.mark.parametrize(("name", "argument"), PLACES)
def test_an_odd_value_works_or_is_refused_in_plain_words(file, name, argument):
    call, usual = CALLS[name]
    first = [file] if name == "read_midi" else []
    for value in ODD.values():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = call(*first, **(usual | {argument: value}))
        except PomkitError as fault:
            said = str(fault)
            assert 10 < len(said) <= LONGEST
            # What is wrong, and what to do.
            assert ";" in said
        else:
            assert getattr(answer, "nbytes", 0) <= LARGEST


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: render(None), "the song is None; give a Song"),
        (lambda: render(SONG, start=1.5), "start is 1.5; choose a whole number from 0"),
        (lambda: render(SONG, parts=[["x"]]), "names or numbers of parts"),
        (lambda: render(SONG, parts="x"), "has no part 'x'; its parts are"),
        (lambda: parse(PICTURE, threshold="x"), "threshold is 'x'; choose 0 to 255"),
        (lambda: Song("x"), "notes is 'x'; give onset, duration, pitch, velocity and part"),
        (lambda: Song([NOTE], parts="violin"), "parts is 'violin'; give the names"),
        (lambda: Song([NOTE], bars=[None]), r"bars is \[None\]; give whole numbers"),
        (lambda: Song([NOTE], tempi=[(0,)]), r"tempi is \[\(0,\)\]; give 2 values each"),
        (lambda: Song([NOTE], name=3), "name is 3; give a text"),
        (lambda: masks.box(PICTURE, pitch=60), "pitch is 60; give two whole numbers"),
        (lambda: masks.everything("x"), "no size of 'x'; give a picture"),
        (lambda: masks.everything(10**9), "steps from 1 to 1048576"),
        (lambda: masks.melody(PICTURE), "the song is .*; give a Song"),
        (lambda: masks.polygon(PICTURE, "abc"), "points is 'abc'; give"),
        (lambda: masks.stroke(PICTURE, [(1e300, 60)]), "in or beside the picture"),
        (lambda: load_model(None), "the model's name is None; give a model's name"),
        (lambda: load_model("tiny", "abacus"), "device is 'abacus'; choose"),
        (lambda: read_midi(b"", drums=np.zeros(2)), r"drums is array.*; choose True or False"),
    ],
)
def test_the_words_name_value_and_remedy(call, words):
    with pytest.raises(PomkitError, match=words):
        call()


def test_numpys_numbers_are_numbers():
    one = np.int64(1)
    assert np.array_equal(render(SONG, one, np.uint8(8)), render(SONG, 1, 8))
    assert np.array_equal(masks.bars(PICTURE, one), masks.bars(PICTURE, 1))
    assert np.array_equal(masks.continuation(np.int32(64), one), masks.continuation(64, 1))
    assert np.array_equal(render(SONG, parts=one), render(SONG, parts=1))
    assert np.array_equal(render(SONG, parts=np.array([0, 1])), render(SONG, parts=[0, 1]))
