"""What a Song keeps beside notes, chords and bars: tempi, meters, keys, instruments, its file."""

import gzip
import json
import pickle
from dataclasses import replace

import midi_files as m
import mido
import numpy as np
import pytest

from pomkit import Chord, OptionError, Song, parse, read_midi, render
from pomkit.data import Corpus, read_corpus
from pomkit.music.grid import ReadOptions
from pomkit.music.midi_codes import MAJOR_KEYS, MINOR_KEYS, transpose_key
from pomkit.studio.editor import first_state
from pomkit.studio.storage import Contents, Take, open_contents, save_contents

NOTES = [(0, 4, 60, 80, 0), (4, 4, 64, 80, 1), (8, 8, 36, 90, 2)]
SIGNS = ("source_tempo", "tempi", "meters", "keys", "programs", "channels", "source", "read_as")

# A trio in 6/8 at 90 BPM: two changes at one tick, tempo 0, a second meter at the same step.
HEAD = m.track(
    m.tempo(0, 100), m.tempo(0, 90), m.tempo(960, 150), m.meta(1440, 0x51, b"\0\0\0"),
    m.meter(0, 4, 4), m.meter(0, 6, 8), m.key(0, 1, 1), m.key(720, 2, 0), m.key(720, -2, 0),
    m.meta(960, 0x59, b"\x09\0"),
)  # fmt: skip
VIOLIN = m.track(m.name("Violin"), m.program(0, 40, 2), m.note(0, 960, 72, channel=2))
BASS = m.track(m.name("Bass"), m.program(0, 32, 5), m.note(480, 1440, 40, channel=5))
KIT = m.track(m.name("Kit"), m.program(0, 8, 9), m.note(0, 1440, 36, channel=9))
TRIO = m.midi(HEAD, VIOLIN, BASS, KIT)


def signs(song: Song) -> dict:
    return {name: getattr(song, name) for name in SIGNS}


def test_reading_keeps_tempi_meters_keys_instruments_and_the_file():
    song = read_midi(TRIO, drums=True)
    assert [step for step, _ in song.tempi] == [0, 8]
    assert [bpm for _, bpm in song.tempi] == pytest.approx([90, 150], rel=1e-5)
    assert song.source_tempo == song.tempi[0][1]
    assert song.meters == ((0, 6, 8),)
    assert song.keys == ((0, "Em"), (6, "Bb"))
    assert song.parts == ("Violin", "Bass", "Kit (drums)")
    assert song.programs == (40, 32, 8)
    assert song.channels == (2, 5, 9)
    assert song.source == TRIO
    assert song.read_as == ReadOptions(drums=True)


def test_parts_left_out_have_no_program_or_channel():
    song = read_midi(TRIO)
    assert (song.programs, song.channels) == ((40, 32), (2, 5))


@pytest.mark.parametrize("wrap", [gzip.compress, m.riff, bytearray])
def test_the_source_is_the_unpacked_file(wrap):
    assert read_midi(wrap(TRIO)).source == TRIO


def test_how_a_file_was_read_goes_with_its_source():
    assert read_midi(TRIO, pedal=True, salvage=True).read_as == ReadOptions(False, True, True)


def test_every_name_of_a_key_is_that_of_mido():
    for minor, names in enumerate((MAJOR_KEYS, MINOR_KEYS)):
        for sharps, name in enumerate(names, -7):
            told = mido.MetaMessage("key_signature", key=name).bytes()[3:]
            assert told == [sharps % 256, minor]
            events = m.track(m.key(0, sharps, minor), m.note(0, 480, 60))
            assert read_midi(m.midi(events)).keys == ((0, name),)


def test_keys_that_cannot_be_are_passed_over():
    bad = [m.meta(0, 0x59, data) for data in (b"", b"\x08\0", b"\xf8\0", b"\1\2", b"\1\0\0")]
    assert read_midi(m.midi(m.track(bad, m.note(0, 480, 60)))).keys == ()


def tonic(name: str) -> int:
    """The pitch class of a key."""
    return {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[name[0]] + (
        name.count("#") - name.count("b")
    )


def test_a_transposed_key_has_the_right_tonic_and_mode():
    for name in (*MAJOR_KEYS, *MINOR_KEYS):
        for semitones in range(-13, 14):
            moved = transpose_key(name, semitones)
            assert (tonic(moved) - tonic(name) - semitones) % 12 == 0
            assert moved.endswith("m") == name.endswith("m")
        assert transpose_key(name, 24) == name


def test_a_song_by_hand_is_completed():
    song = Song(NOTES, parts=("Flute", "drums", "Bass"))
    assert (song.programs, song.channels) == ((0, 0, 0), (0, 9, 1))
    assert Song(NOTES, programs=(7,), channels=(1,)).channels == (1, 0, 2)
    assert Song(NOTES, programs=(7, 8, 9, 10)).programs == (7, 8, 9)
    assert Song([]).channels == ()


def test_drums_alone_have_the_channel_of_drums():
    song = Song(NOTES, parts=("Flute", "drums", "Bass"), channels=(9, 3, 3))
    assert song.channels == (0, 9, 3)
    many = Song([(0, 1, 60, 80, part) for part in range(40)])
    assert many.channels[:15] == (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15)
    assert many.channels[15:30] == many.channels[:15]


def test_tempi_and_keys_stand_in_order_and_one_a_step():
    song = Song(NOTES, tempi=((8, 90), (0, 80), (8, 100)), keys=((4, "C"), (0, "Am"), (4, "F")))
    assert song.tempi == ((0, 80), (8, 100))
    assert song.keys == ((0, "Am"), (4, "F"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"tempi": ((0, 0.0),)},
        {"tempi": ((0, float("nan")),)},
        {"tempi": ((-1, 90),)},
        {"keys": ((0, "H"),)},
        {"keys": ((2**21, "C"),)},
        {"programs": (128,)},
        {"programs": (-1,)},
        {"channels": (16,)},
        {"channels": (-1,)},
    ],
)
def test_what_no_file_can_hold_is_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Song(NOTES, **wrong)


def test_other_notes_and_chords_in_the_same_song():
    song = read_midi(TRIO, drums=True)
    other = song.with_notes([(0, 2, 50, 60, 1)])
    assert other.notes["pitch"].tolist() == [50]
    assert (signs(other), other.parts, other.bars) == (signs(song), song.parts, song.bars)
    chords = [Chord(0, 4, "C:maj")]
    assert song.with_notes(song.notes, chords).chords == tuple(chords)
    assert other.with_notes(other.notes).chords == other.chords
    assert signs(song.with_chords()) == signs(song)


def test_what_is_another_piece_has_no_source():
    song = read_midi(TRIO, drums=True)
    for other in (song.canonical(), song.transpose(2), song.without_source()):
        assert other.source is other.read_as is None
        assert (other.tempi, other.meters) == (song.tempi, song.meters)
    assert parse(render(song)).source is None
    assert song.canonical().keys == song.without_source().keys == song.keys
    assert song.transpose(2).keys == ((0, "F#m"), (6, "C"))
    assert song.transpose(2).programs == song.programs
    assert (song.canonical().programs, song.canonical().channels) == ((0,), (0,))


def test_the_source_is_neither_compared_nor_told_but_pickled():
    song = read_midi(TRIO, drums=True)
    assert song == song.without_source()
    assert "MThd" not in repr(song)
    assert signs(pickle.loads(pickle.dumps(song))) == signs(song)
    assert signs(replace(song, name="other")) == signs(song)


def test_a_corpus_keeps_the_signs_and_drops_the_sources(tmp_path):
    path = tmp_path / "trio.mid"
    path.write_bytes(TRIO)
    song = read_midi(TRIO, drums=True)
    read = read_corpus(path, progress=False, drums=True)
    for corpus in (read, Corpus([song]), Corpus.load(read.save(tmp_path / "corpus"))):
        (kept,) = corpus.songs
        assert signs(kept) == signs(song.without_source())


def test_a_corpus_without_signs_is_opened(monkeypatch):
    """As version 0.1.0 wrote it."""
    from pomkit.data import store

    new = ("tempi", "keys", "programs", "channels")
    fields = store._fields
    monkeypatch.setattr(
        store, "_fields", lambda song: {k: v for k, v in fields(song).items() if k not in new}
    )
    (kept,) = Corpus([read_midi(TRIO, drums=True)]).songs
    assert (kept.tempi, kept.keys, kept.programs) == ((), (), (0, 0, 0))
    assert np.array_equal(kept.notes, read_midi(TRIO, drums=True).notes)


def test_a_studio_keeps_the_song_that_was_opened(tmp_path):
    song = read_midi(TRIO, drums=True)
    (tmp_path / "trio.mid").write_bytes(TRIO)
    opened = open_contents(tmp_path / "trio.mid")
    assert opened.state.origin.source == TRIO
    assert opened.state.song.tempi == song.tempi
    assert (opened.state.song.meters, opened.state.song.keys) == (song.meters, song.keys)

    again = open_contents(save_contents(tmp_path / "all.npz", opened)).state.origin
    assert again == opened.state.origin
    assert signs(again) == signs(opened.state.origin)
    assert (again.parts, again.bars) == (opened.state.origin.parts, opened.state.origin.bars)


def test_a_studio_saves_one_origin_of_many_states(tmp_path):
    first, second = first_state(read_midi(TRIO)), first_state(Song(NOTES))
    blank = first_state(64)
    takes = [Take(first, first, {}), Take(second, blank, {})]
    path = save_contents(tmp_path / "all.npz", Contents(first, takes))
    with np.load(path) as file:
        assert sum(name.startswith("origin_source") for name in file.files) == 2
    again = open_contents(path)
    assert again.takes[0].before.origin is again.state.origin
    assert signs(again.takes[1].state.origin) == signs(second.origin)
    assert again.takes[1].before.origin is None


def test_a_state_file_without_origins_is_opened(tmp_path):
    """As version 0.1.0 wrote it."""
    path = save_contents(tmp_path / "all.npz", Contents(first_state(read_midi(TRIO))))
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if not name.startswith("origin")}
    about = json.loads(str(arrays["about"]))
    del about["origins"]
    np.savez(tmp_path / "old.npz", **(arrays | {"about": np.array(json.dumps(about))}))
    state = open_contents(tmp_path / "old.npz").state
    assert state.origin is None
    assert state.song == read_midi(TRIO).canonical()
