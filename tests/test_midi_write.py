"""What is written is read again as the same Song: any Song, on every grid, and what was read of every kind of file."""

import fuzz_midi
import midi_files as m
import mido
import numpy as np
import pretty_midi
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_midi import GRIDS, ZOO, accounted, rows

from pomkit import Chord, OptionError, Song, read_midi
from pomkit.music.chords import QUALITIES, ROOTS
from pomkit.music.grid import seconds_of
from pomkit.music.midi_codes import MAJOR_KEYS, MINOR_KEYS, transpose_key
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
    again = read_midi(song.write_midi(tmp_path / "again.mid", plain=True), grid, drums=True)
    assert again == song
    assert again.parts == song.parts
    assert again.steps_per_beat == song.steps_per_beat == grid
    assert again.meter == song.meter
    assert again.bar_lines(song.end).tolist() == song.bar_lines(song.end).tolist()


def random_song(seed: int) -> Song:
    """A song with tempi, meters, keys, drums and a part without notes, on a grid of its own."""
    rng = np.random.default_rng(seed)
    grid = int(rng.choice(GRIDS))
    parts = 1 + seed % 12
    onsets = rng.integers(0, 60, 30) * grid
    rows = [
        (onset, 1 + i % grid, 30 + i, 1 + i, rng.integers(0, parts))
        for i, onset in enumerate(onsets.tolist())
    ]
    names = [f"Stimme {i}" + " (drums)" * (rng.random() < 0.2) for i in range(parts)]
    steps = [0, *sorted(rng.choice(np.arange(1, onsets.max() + 1), 5, replace=False).tolist())]
    return Song(
        np.array(rows, NOTE_DTYPE),
        (Chord(0, 4, "C:maj"), Chord(8, 8, "A:min7")),
        (*names, "silent"),
        steps_per_beat=grid,
        meters=tuple((s, int(rng.integers(2, 8)), 4) for s in steps[::2]),
        tempi=tuple((s, float(rng.uniform(10, 400))) for s in steps[seed % 2 :]),
        keys=tuple((s, str(rng.choice(MAJOR_KEYS + MINOR_KEYS))) for s in steps[:3]),
        programs=tuple(rng.integers(0, 128, parts + 1).tolist()),
        channels=tuple(rng.permutation(15)[: parts + 1].tolist()),
    )


@pytest.mark.parametrize("seed", range(40))
def test_all_that_a_song_holds_is_written_and_read_again(seed, tmp_path):
    song = random_song(seed)
    path = song.write_midi(tmp_path / "song.mid", plain=True)
    again = read_midi(path, song.steps_per_beat, drums=True)
    assert again.notes.tolist() == song.notes.tolist()
    for field in ("chords", "parts", "meters", "keys", "programs", "channels"):
        assert getattr(again, field) == getattr(song, field), field
    assert [step for step, _ in again.tempi] == [step for step, _ in song.tempi]
    for (_, bpm), (_, wanted) in zip(again.tempi, song.tempi, strict=True):
        assert abs(60e6 / bpm - 60e6 / wanted) <= 1


@pytest.mark.parametrize("seed", range(10))
def test_pretty_midi_has_the_same_tempi_meters_keys_and_instruments(seed):
    song = random_song(seed)
    pm = song.to_pretty_midi()
    again = Song.from_pretty_midi(pm, steps_per_beat=song.steps_per_beat, drums=True)
    assert again.notes.tolist() == song.notes.tolist()
    for field in ("parts", "meters", "programs"):
        assert getattr(again, field) == getattr(song, field), field
    names = [transpose_key("Cm" if "m" in name else "C", place(name)) for _, name in song.keys]
    assert again.keys == tuple(zip((step for step, _ in song.keys), names, strict=True))
    wanted = song.tempi if song.tempi[0][0] == 0 else ((0, 120), *song.tempi)
    assert [step for step, _ in again.tempi] == [step for step, _ in wanted]
    for (_, bpm), (_, tempo) in zip(again.tempi, wanted, strict=True):
        assert abs(60e6 / bpm - 60e6 / tempo) <= 2


def place(key: str) -> int:
    """The semitones of a key above C."""
    names = (MAJOR_KEYS, MINOR_KEYS)["m" in key]
    return 7 * (names.index(key) - names.index("Cm" if "m" in key else "C"))


def test_the_tempo_map_gives_the_seconds_of_pretty_midi(tmp_path):
    """Oracle: pretty_midi reads the file that was written."""
    song = random_song(3)
    read = pretty_midi.PrettyMIDI(str(song.write_midi(tmp_path / "song.mid", plain=True)))
    wanted = sorted(note.start for part in read.instruments for note in part.notes)
    made = sorted(note.start for part in song.to_pretty_midi().instruments for note in part.notes)
    assert made == pytest.approx(wanted, rel=1e-5)
    assert seconds_of(np.array([0, 8, 16]), ((4, 60), (12, 240)), 4).tolist() == [0, 1.5, 2.75]


def test_a_tempo_asked_for_replaces_all_of_them(tmp_path):
    song = random_song(4)
    again = read_midi(song.write_midi(tmp_path / "song.mid", bpm=75), song.steps_per_beat)
    assert again.tempi == ((0, 75),)
    assert song.to_pretty_midi(bpm=75).get_tempo_changes()[1] == pytest.approx([75])
    for write in (song.to_pretty_midi, lambda bpm: song.write_midi(tmp_path / "x.mid", bpm)):
        with pytest.raises(OptionError, match="bpm is 3"):
            write(bpm=3)


def test_a_song_without_a_tempo_is_written_at_120(tmp_path):
    path = Song([(0, 4, 60, 80, 0)]).write_midi(tmp_path / "song.mid")
    assert read_midi(path).tempi == ((0, 120),)


def heard(song: Song, path) -> list[set[int]]:
    """The channels of each track of the file that is written."""
    file = mido.MidiFile(song.write_midi(path, plain=True))
    return [{e.channel for e in track if not e.is_meta} for track in file.tracks[1:]]


def test_each_part_has_its_own_channel(tmp_path):
    notes = [(0, 4, 60 + part, 80, part) for part in range(5)]
    names = ("a", "b", "drums", "c", "d")
    own = Song(notes, parts=names, channels=(5, 0, 9, 3, 14))
    assert heard(own, tmp_path / "a.mid") == [{5}, {0}, {9}, {3}, {14}]
    same = Song(notes, parts=names, channels=(0, 0, 9, 1, 1))
    assert heard(same, tmp_path / "b.mid") == [{0}, {2}, {9}, {1}, {3}]


def test_more_than_15_parts_share_channels_and_that_is_said(tmp_path, recwarn):
    notes = [(0, 4, 40 + part, 80, part) for part in range(20)]
    alike = Song(notes, programs=[part % 15 for part in range(20)])
    channels = heard(alike, tmp_path / "a.mid")
    assert not recwarn.list
    assert channels[15:] == channels[:5]
    with pytest.warns(UserWarning, match="5 of 20 parts"):
        heard(Song(notes, programs=range(20)), tmp_path / "b.mid")
