"""What is written is read again as the same Song: any Song, on every grid, and what was read of every kind of file."""

import fuzz_midi
import midi_files as m
import mido
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_midi import GRIDS, ZOO, accounted, rows

from pomkit import Chord, Song, read_midi
from pomkit.music.chords import QUALITIES, ROOTS
from pomkit.music.tables import NOTE_DTYPE

LABELS = [
    "N",
    *[f"{r}:{q}" for r in ROOTS for q in QUALITIES],
    "C:9",
    "F#:maj/5",
    "Bb:min11",
    "D:maj(9)",
    "Gb:7/b7",
]
NAMES = [
    "Piano",
    "Flöte",
    "主旋律",
    "drums",
    "Bass (drums)",
    "part 1",
    "part 0",
    "Piano 2",
    "N",
    "C:maj",
    "a b",
]


@st.composite
def songs(draw):
    """A Song as a file can hold it: at any grid, no two notes of a part, pitch and step, none longer than to the next."""
    grid = draw(st.sampled_from(GRIDS))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    onsets = draw(
        st.dictionaries(
            st.tuples(st.integers(0, len(names) - 1), st.integers(0, 127), st.integers(0, 900)),
            st.tuples(st.integers(1, 127), st.integers(1, 99)),
            min_size=1,
            max_size=30,
        )
    )
    found = []
    for (part, pitch, onset), (velocity, length) in onsets.items():
        after = min(
            (o for p, q, o in onsets if (p, q) == (part, pitch) and o > onset), default=5000
        )
        found.append((onset, min(length, after - onset), pitch, velocity, part))
    chords, now = [], 0
    spans = st.tuples(st.integers(0, 9), st.integers(1, 300), st.sampled_from(LABELS))
    for gap, length, label in draw(st.lists(spans, max_size=6)):
        chords.append(Chord(now + gap, length, label))
        now += gap + length
    beats = draw(st.lists(st.sampled_from((2, 3, 4, 4, 5)), max_size=9))
    bars = np.cumsum([0, *beats]) * grid if beats else ()
    return Song(np.array(found, NOTE_DTYPE), tuple(chords), tuple(names), tuple(bars), grid)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(song=songs(), bpm=st.sampled_from((40, 120, 333)))
def test_write_then_read_gives_the_same_song_on_every_grid(song, bpm, tmp_path):
    path = song.write_midi(tmp_path / "song.mid", bpm=bpm)
    again = read_midi(path, song.steps_per_beat, drums=True)
    assert again == song
    assert rows(again) == rows(song)
    assert again.chords == song.chords
    assert len(again.parts) == len(song.parts)
    assert again.steps_per_beat == song.steps_per_beat
    assert again.bar_lines(song.end).tolist() == song.bar_lines(song.end).tolist()
    assert again.source_tempo == pytest.approx(bpm, rel=1e-5)
    assert again.report.kept == len(song.notes)
    assert again.report.better_grid in GRIDS
    assert m.note_ons(path.read_bytes()) == len(song.notes) == len(m.walk(path.read_bytes()))
    if set(song.notes["part"]) == set(range(len(song.parts))):  # else mido sees fewer parts
        assert m.disagreement(path.read_bytes()) == ""
        assert again.parts == song.parts
    step = 60 / bpm / song.steps_per_beat
    assert mido.MidiFile(path).length >= (
        song.notes["onset"] + song.notes["duration"]
    ).max() * step * (1 - 1e-5)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_longest_song_is_written_and_read_again(grid, tmp_path):
    """At one step a beat its last tick stands beyond what a variable-length number holds, if a beat had 480 ticks."""
    song = Song(
        np.array([(0, 1, 60, 80, 0), (2**20 - 3, 2, 62, 80, 0)], NOTE_DTYPE), steps_per_beat=grid
    )
    path = song.write_midi(tmp_path / "song.mid")
    assert read_midi(path, grid) == song
    assert m.note_ons(path.read_bytes()) == 2


@pytest.mark.parametrize("grid", GRIDS)
def test_pretty_midi_and_back_on_every_grid(grid):
    song = read_midi(ZOO["drums"], grid, drums=True)
    pm = song.to_pretty_midi()
    assert {i.is_drum for i in pm.instruments} == {True, False}
    assert max(n.start for i in pm.instruments for n in i.notes) == pytest.approx(
        song.notes["onset"].max() * 0.5 / grid
    )
    again = Song.from_pretty_midi(pm, steps_per_beat=grid, drums=True)
    assert sorted(n[:4] for n in rows(again)) == sorted(n[:4] for n in rows(song))
    assert set(again.parts) == set(song.parts)


def test_forty_parts_survive(tmp_path):
    notes = np.array([(i, 2, 60, 80, i) for i in range(40)], NOTE_DTYPE)
    song = Song(notes, parts=tuple(f"p{i}" for i in range(40)))
    again = read_midi(song.write_midi(tmp_path / "song.mid"))
    assert again == song
    assert again.parts == song.parts
    assert 9 not in {n.channel for n in m.walk((tmp_path / "song.mid").read_bytes())}


@pytest.mark.parametrize("feature", ZOO)
@pytest.mark.parametrize("grid", [1, 4, 12])
def test_what_was_read_is_written_and_read_again(feature, grid, tmp_path):
    song = read_midi(ZOO[feature], steps_per_beat=grid, drums=True)
    assert accounted(song.report) == len(m.walk(ZOO[feature]))
    assert fuzz_midi.untruth(song, drums=True) == ""
    again = read_midi(song.write_midi(tmp_path / "again.mid"), grid, drums=True)
    assert again == song
    assert again.parts == song.parts
    assert again.steps_per_beat == song.steps_per_beat == grid
    assert again.meter == song.meter
    assert again.bar_lines(song.end).tolist() == song.bar_lines(song.end).tolist()
