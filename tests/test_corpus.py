"""Corpora: what is read from where, annotations, duplicates and splits."""

import csv
import gzip
import io
import itertools
import os
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import all_same, make_song

from pomkit import OptionError, Song, read_midi
from pomkit.data import (
    ARCHIVES,
    SPLITS,
    Corpus,
    fingerprint,
    read_corpus,
    reading,
    split_of,
)
from pomkit.music.tables import NOTE_DTYPE

COUNTED = ("kept", "merged", "shortened", "dropped")
# fmt: off
COLUMNS = {
    "file", *COUNTED, "error", "meter", "steps", "key", "bars", "chords", "phase",
    "quantisation_error", "split", "duplicate_of",
}
# fmt: on


def archive(folder: Path, path: Path) -> Path:
    """The folder in an archive, in an order that is not that of the names."""
    files = sorted((f for f in folder.rglob("*") if f.is_file()), reverse=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for file in files:
                zipped.write(file, f"songs/{file.relative_to(folder)}")
    else:
        packing = {".xz": "xz", ".txz": "xz", ".gz": "gz", ".tgz": "gz", ".bz2": "bz2"}.get(
            path.suffix, ""
        )
        with tarfile.open(path, f"w:{packing}") as tar:
            for file in files:
                tar.add(file, f"songs/{file.relative_to(folder)}")
    return path


# What is read


@pytest.mark.parametrize("source", ["folder", "glob", "list", *ARCHIVES])
def test_folders_globs_lists_and_archives_give_the_same_songs(folder, tmp_path, source):
    listed = sorted(folder.glob("song*"))[::-1]
    paths = {
        "folder": folder,
        "glob": f"{folder}/*.mid",
        "list": [str(folder / "bad.mid"), *listed],
    }
    where = paths.get(source) or archive(folder, tmp_path / f"songs{source}")
    read = read_corpus(where, progress=False)
    assert [s.name for s in read.songs] == [f"song{i}" for i in range(6)]
    assert all_same(read.songs, read_corpus(folder, progress=False).songs)
    assert [bool(row["error"]) for row in read.rows] == [True] + [False] * 6


def test_a_folder_is_read_to_its_depths_and_single_files_too(folder):
    (folder / "x.mid" / "deep").mkdir()
    (folder / "song3.mid").rename(folder / "x.mid" / "deep" / "SONG3.MIDI")
    (folder / "song4.mid.gz").write_bytes(gzip.compress((folder / "song4.mid").read_bytes()))
    (folder / "._song5.mid").write_bytes(b"what macOS leaves in archives")
    names = [s.name for s in read_corpus(folder, progress=False).songs]
    assert names == ["song0", "song1", "song2", "song4", "song4", "song5", "SONG3"]
    assert len(read_corpus(folder / "song0.mid", progress=False).songs) == 1


def test_the_report_says_what_reading_did(folder):
    read = read_corpus(folder, progress=False)
    for row in read.rows:
        assert set(row) >= COLUMNS
    for row, song in zip(read.rows[1:], read.songs, strict=True):
        expected = read_midi(row["file"])
        assert [row[k] for k in COUNTED] == [getattr(expected.report, k) for k in COUNTED]
        assert row["steps"] == expected.end
        assert row["chords"] == len(expected.chords)
        assert row["meter"] == expected.meter
        assert row["split"] == split_of(song.name)
        assert row["bars"] == len(expected.bar_lines()) - 1
        assert re.fullmatch(r"[A-G][b#]?:(maj|min)", row["key"])

    bad = read.rows[0]
    assert bad["kept"] == 0
    assert bad["split"] == ""
    assert "bad.mid" in bad["error"]


def test_the_report_is_a_table_with_pandas_and_csv_without(folder, monkeypatch):
    pandas = pytest.importorskip("pandas")
    read = read_corpus(folder, progress=False)
    table = read.report
    assert isinstance(table, pandas.DataFrame)
    assert table["kept"].sum() == sum(len(song.notes) for song in read.songs)
    monkeypatch.setitem(sys.modules, "pandas", None)
    text = read.report
    assert isinstance(text, str)
    again = list(csv.DictReader(io.StringIO(text)))
    assert [row["file"] for row in again] == list(table["file"])
    assert [int(row["kept"]) for row in again] == list(table["kept"])


def test_nothing_and_damaged_archives(folder, tmp_path):
    with pytest.raises(OptionError, match="no MIDI file"):
        read_corpus(tmp_path / "nowhere")
    (tmp_path / "x.tar.xz").write_bytes(b"not an archive")
    with pytest.raises(OptionError, match=r"x\.tar\.xz is damaged"):
        read_corpus(tmp_path / "x.tar.xz", progress=False)
    with pytest.raises(OptionError, match="steps_per_beat"):
        read_corpus(folder, steps_per_beat=5)
    read = read_corpus([folder, tmp_path / "x.tar.xz"], progress=False)
    assert len(read.songs) == 6
    assert "x.tar.xz is damaged" in read.rows[-1]["error"]


@pytest.mark.parametrize("ending", [".tar", ".tar.xz", ".tar.gz", ".zip"])
def test_of_a_cut_archive_comes_what_was_whole_and_a_row_that_says_so(folder, tmp_path, ending):
    whole = archive(folder, tmp_path / f"songs{ending}").read_bytes()
    (tmp_path / f"cut{ending}").write_bytes(whole[: len(whole) * 2 // 3])
    try:
        read = read_corpus(tmp_path / f"cut{ending}", progress=False)
    except OptionError as fault:
        # An archive whose index stands at its end, or that is packed as one block.
        assert "damaged" in str(fault)
        assert ending in (".zip", ".tar.xz")
    else:
        assert 0 < len(read.songs) < 6
        assert any("damaged" in row["error"] for row in read.rows)


def test_one_bad_file_never_stops_it(folder, monkeypatch):
    """Also where the reader itself would fail in a way that nobody thought of."""
    real = reading.read_midi

    def failing(source, **options):
        return 1 / 0 if "song2" in str(source) else real(source, **options)

    monkeypatch.setattr(reading, "read_midi", failing)
    read = read_corpus(folder, progress=False)
    assert len(read.songs) == 5
    assert "ZeroDivisionError" in next(row["error"] for row in read.rows if "song2" in row["file"])


def test_a_file_that_may_not_be_read_is_a_row(folder):
    (folder / "gone.mid").symlink_to(folder / "nowhere.mid")
    (folder / "song1.mid").chmod(0)
    (folder / "x.mid").chmod(0)
    try:
        read = read_corpus(folder, progress=False)
    finally:
        (folder / "x.mid").chmod(0o755)
    errors = {os.path.basename(row["file"]): row["error"] for row in read.rows if row["error"]}
    assert {"bad.mid", "gone.mid"} <= set(errors)
    assert "nowhere" not in [song.name for song in read.songs]
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    assert "ermission" in errors["song1.mid"]
    assert "ermission" in errors["x.mid"]


def test_a_zip_bomb_is_a_row(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("bomb.mid", b"MThd" + bytes(2**26))
        song = make_song(np.random.default_rng(0)).write_midi(tmp_path / "song.mid")
        zipped.write(song, "song.mid")
    read = read_corpus(tmp_path / "bomb.zip", progress=False)
    assert [song.name for song in read.songs] == ["song"]
    assert read.rows[0]["error"]


def test_names_that_are_no_text_survive(folder, tmp_path):
    odd = os.fsdecode(b"caf\xe9.mid")
    try:
        (folder / "song0.mid").rename(folder / odd)
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    loaded = Corpus.load(read_corpus(folder, progress=False).save(tmp_path / "corpus"))
    assert str(folder / odd) in loaded.files
    assert len(loaded.split("train").songs) <= 6


def test_options_reach_the_reader(folder):
    fine = read_corpus(folder, steps_per_beat=12, progress=False).songs[0]
    assert fine.steps_per_beat == 12
    assert fine == read_midi(folder / "song0.mid", steps_per_beat=12)
    bare = Song(fine.notes, steps_per_beat=12).write_midi(folder / "bare.mid")
    assert not read_corpus(bare, progress=False).songs[0].chords
    assert read_corpus(bare, progress=False, estimate=True).songs[0].chords


# Annotations


def test_annotations_give_bars_and_chords(corpus_archive):
    read = read_corpus(corpus_archive, progress=False)
    assert len(read.songs) == 879
    assert not any(row["error"] for row in read.rows)
    songs = {song.name: song for song in read.songs}

    # Its beat_midi.txt begins 0.0553 s (= the phase), 0.7220 s ...: beats of 4 steps, and a strong
    # one every 16. The chord sounds from 2.7220 to 4.0553 s at 90 BPM.
    assert songs["001"].bars[:4] == (0, 16, 32, 48)
    assert songs["001"].meter == "4/4"
    assert songs["001"].chords[4] == (16, 8, "B:maj")
    assert np.bincount(np.diff(songs["034"].bars)).argmax() == 12
    assert "3/4" in songs["034"].meter


def annotated(folder: Path, tempo: int) -> Path:
    """A song of 32 beats, twice as slow after beat 8, with annotations in seconds as in POP909."""
    import mido

    slower = mido.MetaMessage("set_tempo", tempo=2 * tempo, time=8 * 480)
    tempos = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=tempo), slower])
    begin = mido.Message("note_on", note=60, velocity=80)
    end = mido.Message("note_off", note=60, time=480)
    midi = mido.MidiFile(ticks_per_beat=480)
    midi.tracks += [tempos, mido.MidiTrack([begin, end] * 32)]
    folder.mkdir(parents=True)
    midi.save(folder / "song.mid")

    # Two beats are half a bar and have the first flag, four are a bar and have both.
    seconds = np.r_[np.arange(8), 8 + 2 * np.arange(25)] * tempo / 1e6
    flags = ["1.0 1.0", "0.0 0.0", "1.0 0.0", "0.0 0.0"] * 8
    beats = [f"{second} {flag}" for second, flag in zip(seconds[:-1], flags, strict=True)]
    labels = ["C:maj", "G:7", "A:min", "N", "F:maj", "C:maj", "G:7", "C:maj"]
    spans = zip(seconds[:-4:4], seconds[4::4], labels, strict=True)
    chords = [f"{first} {last} {label}" for first, last, label in spans]
    (folder / "beat_midi.txt").write_text("\n".join(beats))
    (folder / "chord_midi.txt").write_text("\n".join(chords))
    return folder


@pytest.mark.parametrize("grid", [4, 12])
@pytest.mark.parametrize("kind", ["folder", ".zip", ".tar"])
def test_annotated_seconds_follow_the_tempo_map(tmp_path, grid, kind):
    where = annotated(tmp_path / "songs" / "001", 431_000).parent
    paths = where if kind == "folder" else archive(where, tmp_path / f"songs{kind}")
    (song,) = read_corpus(paths, steps_per_beat=grid, progress=False).songs
    assert song.bars == tuple(range(0, 32 * grid, 4 * grid))
    assert [chord.onset for chord in song.chords] == list(song.bars)
    assert song.chords[1] == (4 * grid, 4 * grid, "G:7")


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
def test_annotations_are_found_wherever_they_stand_in_an_archive(tmp_path, ending):
    """Archives of a folder tree come in any order of a folder's files and of the folders in it."""
    songs = tmp_path / "songs"
    annotated(songs / "001", 500_000)
    annotated(songs / "001" / "Versions", 500_000)
    (songs / "001" / "Versions" / "beat_midi.txt").unlink()
    (songs / "song.mid").write_bytes((songs / "001" / "song.mid").read_bytes())
    names = [
        "song.mid",
        "001/song.mid",
        "001/Versions/chord_midi.txt",
        "001/Versions/song.mid",
        "001/beat_midi.txt",
        "001/chord_midi.txt",
    ]
    for order in (names, names[::-1]):
        with (
            tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar,
            zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped,
        ):
            for name in order:
                tar.add(songs / name, name)
                zipped.write(songs / name, name)

        read = read_corpus(tmp_path / f"x{ending}", progress=False)
        chords = {row["file"]: row["chords"] for row in read.rows}
        assert chords == {"001/song.mid": 8, "001/Versions/song.mid": 0, "song.mid": 0}


def test_bad_annotations_are_an_error_of_their_song(tmp_path):
    (annotated(tmp_path / "a", 500_000) / "beat_midi.txt").write_text("at once\n")
    annotated(tmp_path / "b", 500_000)
    read = read_corpus(tmp_path, progress=False)
    assert len(read.songs) == 1
    assert "POP909's form" in read.rows[0]["error"]


# fmt: off
# A column is missing, is no text, is no time (it was the step -2**63), is no chord to be drawn.
BAD_ANNOTATIONS = [
    ("beat_midi.txt", b"0 1\n"),
    ("beat_midi.txt", b"0 1 1\n1 1\n"),
    ("beat_midi.txt", b"\xff\xfe\x00\x01"),
    ("beat_midi.txt", b"nan 1 1\n"),
    ("beat_midi.txt", b"inf 1 1\n"),
    ("beat_midi.txt", b"1e300 1 1\n"),
    ("chord_midi.txt", b"0 1\n"),
    ("chord_midi.txt", b"a b C:maj\n"),
    ("chord_midi.txt", b"nan 1 C:maj\n"),
    ("chord_midi.txt", b"0 1e300 C:maj\n"),
    ("chord_midi.txt", b"0 4 H:dur\n"),
    ("chord_midi.txt", b"0 4 \xff\n"),
]
# fmt: on


@pytest.mark.parametrize(("name", "text"), BAD_ANNOTATIONS)
def test_whatever_stands_in_bad_annotations_the_error_names_the_file(tmp_path, name, text):
    (annotated(tmp_path / "a", 500_000) / name).write_bytes(text)
    (row,) = read_corpus(tmp_path, progress=False).rows
    assert row["error"].startswith(f"{row['file']}: its beat_midi.txt or chord_midi.txt is not in")
    assert row["error"].endswith("; get them again, or take them away")


@pytest.mark.parametrize(("ending", "fault"), [(".zip", "Bad CRC-32"), (".tar", "unexpected end")])
def test_an_annotation_that_cannot_be_unpacked_is_an_error_of_its_song(tmp_path, ending, fault):
    """It was a TypeError, and in a tar file the text named no file."""
    folder = annotated(tmp_path / "songs" / "001", 500_000)
    text = (folder / "beat_midi.txt").read_bytes()
    path = archive(folder.parent, tmp_path / f"songs{ending}")
    content = path.read_bytes()
    middle = content.index(text) + len(text) // 2
    rest = b"?" + content[middle + 1 :]
    path.write_bytes(content[:middle] + (rest if ending == ".zip" else b""))

    errors = {row["file"]: row["error"] for row in read_corpus(path, progress=False).rows}
    start = f"songs/001/beat_midi.txt cannot be read from its archive ({fault}"
    assert errors["songs/001/song.mid"].startswith(start)
    assert errors["songs/001/song.mid"].endswith("); pack it again")


# Duplicates and splits


def test_the_split_is_fixed_disjoint_and_of_the_right_size():
    names = [f"{i:03}" for i in range(909)]
    count = {s: sum(split_of(n) == s for n in names) for s in SPLITS}
    assert sum(count.values()) == 909
    assert 780 < count["train"] < 850
    assert {split_of(name) for name in ("001", "010", "100", "567")} == {"train"}


def moved(song: Song, steps: int, semitones: int, name: str) -> Song:
    notes = song.notes.copy()
    notes["onset"] += steps
    notes["pitch"] += semitones
    return Song(notes, parts=song.parts, name=name)


@pytest.fixture
def narrow():
    """Songs in the middle of the keyboard, so that transposition drops nothing."""
    rng = np.random.default_rng(7)
    songs = []
    for _ in range(40):
        notes = np.zeros(60, NOTE_DTYPE)
        notes["onset"] = rng.integers(0, 200, 60)
        notes["duration"] = rng.integers(1, 9, 60)
        notes["pitch"] = rng.integers(50, 70, 60)
        notes["velocity"] = 80
        songs.append(Song(notes))
    return songs


def test_a_fingerprint_knows_notes_but_for_pitch_and_start(narrow):
    assert len({fingerprint(s) for s in narrow}) == len(narrow)
    for song in narrow[:8]:
        for steps, semitones in itertools.product((0, 1, 77), (-5, 0, 9)):
            assert fingerprint(moved(song, steps, semitones, "")) == fingerprint(song)

        changed = song.notes.copy()
        changed["duration"][3] += 1
        assert fingerprint(Song(changed)) != fingerprint(song)
        parts = song.notes.copy()
        parts["part"] = np.arange(len(parts)) % 3
        parts["velocity"] = 11
        assert fingerprint(Song(parts)) == fingerprint(song)


def test_duplicates_are_found_and_never_divided(narrow):
    numbers = [f"{i:03}" for i in range(400)]
    train, valid, test = ([n for n in numbers if split_of(n) == split] for split in SPLITS)
    a, b, c, d, e = narrow[:5]
    # fmt: off
    # Song, steps, semitones, name -> the split. Twins that their names would divide go to train.
    table = [
        (a, 0, 0, test[0], "train"), (a, 8, 3, train[0], "train"),
        (b, 0, 0, test[1], "test"), (b, 1, -2, test[2], "test"),
        (c, 0, 0, valid[0], "train"), (c, 0, 1, test[3], "train"),
        (d, 0, 0, valid[1], "valid"),
        (e, 0, 0, test[4], "test"),
    ]
    # fmt: on
    songs = [moved(*song) for *song, _ in table]
    names = [song.name for song in songs]
    read = Corpus(songs)
    split = {row["file"]: row["split"] for row in read.rows}
    assert [split[name] for name in names] == [row[-1] for row in table]

    twins = [row for row in read.rows if row["duplicate_of"]]
    pairs = {frozenset((row["file"], row["duplicate_of"])) for row in twins}
    assert pairs == {frozenset(names[i : i + 2]) for i in (0, 2, 4)}

    parts = {name: read.split(name) for name in SPLITS}
    assert sorted(s.name for part in parts.values() for s in part.songs) == sorted(names)
    for name, part in parts.items():
        assert {row["split"] for row in part.rows} == {name}
        assert all_same(part.split(name).songs, part.songs)
    with pytest.raises(OptionError, match="unknown"):
        read.split("everything")


def test_songs_without_duplicates_are_where_their_names_put_them(folder):
    read = read_corpus(folder, progress=False)
    for song in read.songs:
        assert song.name in [each.name for each in read.split(split_of(song.name)).songs]
