"""Corpora: what is read from where, duplicates and splits, files and shards, clusters, downloads."""

import csv
import gzip
import io
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

COUNTED = ("kept", "merged", "shortened", "dropped")
COLUMNS = {
    "file",
    *COUNTED,
    "error",
    "meter",
    "steps",
    "key",
    "bars",
    "chords",
    "phase",
    "quantisation_error",
    "split",
    "duplicate_of",
}


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
    paths = {
        "folder": folder,
        "glob": f"{folder}/*.mid",
        "list": [str(folder / "bad.mid"), *sorted(folder.glob("song*"))[::-1]],
    }
    read = read_corpus(
        paths.get(source) or archive(folder, tmp_path / f"songs{source}"), progress=False
    )
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
        assert (row["steps"], row["chords"], row["meter"]) == (
            expected.end,
            len(expected.chords),
            expected.meter,
        )
        assert row["split"] == split_of(song.name) and row["bars"] == len(expected.bar_lines()) - 1
        assert re.fullmatch(r"[A-G][b#]?:(maj|min)", row["key"])
    assert (
        read.rows[0]["kept"] == 0
        and read.rows[0]["split"] == ""
        and "bad.mid" in read.rows[0]["error"]
    )


def test_the_report_is_a_table_with_pandas_and_csv_without(folder, monkeypatch):
    pandas = pytest.importorskip("pandas")
    read = read_corpus(folder, progress=False)
    table = read.report
    assert isinstance(table, pandas.DataFrame) and table["kept"].sum() == sum(
        len(s.notes) for s in read.songs
    )
    monkeypatch.setitem(sys.modules, "pandas", None)
    text = read.report
    assert isinstance(text, str)
    again = list(csv.DictReader(io.StringIO(text)))
    assert [row["file"] for row in again] == list(table["file"]) and [
        int(r["kept"]) for r in again
    ] == list(table["kept"])


def test_nothing_and_damaged_archives(folder, tmp_path):
    with pytest.raises(OptionError, match="no MIDI file"):
        read_corpus(tmp_path / "nowhere")
    (tmp_path / "x.tar.xz").write_bytes(b"not an archive")
    with pytest.raises(OptionError, match=r"x\.tar\.xz is damaged"):
        read_corpus(tmp_path / "x.tar.xz", progress=False)
    with pytest.raises(OptionError, match="steps_per_beat"):
        read_corpus(folder, steps_per_beat=5)
    read = read_corpus([folder, tmp_path / "x.tar.xz"], progress=False)
    assert len(read.songs) == 6 and "x.tar.xz is damaged" in read.rows[-1]["error"]


@pytest.mark.parametrize("ending", [".tar", ".tar.xz", ".tar.gz", ".zip"])
def test_of_a_cut_archive_comes_what_was_whole_and_a_row_that_says_so(folder, tmp_path, ending):
    whole = archive(folder, tmp_path / f"songs{ending}").read_bytes()
    (tmp_path / f"cut{ending}").write_bytes(whole[: len(whole) * 2 // 3])
    try:
        read = read_corpus(tmp_path / f"cut{ending}", progress=False)
    except OptionError as fault:  # an archive whose index stands at its end, or packed as one block
        assert "damaged" in str(fault) and ending in (".zip", ".tar.xz")
    else:
        assert 0 < len(read.songs) < 6 and any("damaged" in row["error"] for row in read.rows)


def test_one_bad_file_never_stops_it(folder, monkeypatch):
    """Also where the reader itself would fail in a way that nobody thought of."""
    real = reading.read_midi
    monkeypatch.setattr(
        reading,
        "read_midi",
        lambda source, **o: 1 / 0 if "song2" in str(source) else real(source, **o),
    )
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
    assert {"bad.mid", "gone.mid"} <= set(errors) and "nowhere" not in [s.name for s in read.songs]
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    assert "ermission" in errors["song1.mid"] and "ermission" in errors["x.mid"]


def test_a_zip_bomb_is_a_row(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("bomb.mid", b"MThd" + bytes(2**26))
        song = make_song(np.random.default_rng(0)).write_midi(tmp_path / "song.mid")
        zipped.write(song, "song.mid")
    read = read_corpus(tmp_path / "bomb.zip", progress=False)
    assert [s.name for s in read.songs] == ["song"] and read.rows[0]["error"]


def test_names_that_are_no_text_survive(folder, tmp_path):
    odd = os.fsdecode(b"caf\xe9.mid")
    try:
        (folder / "song0.mid").rename(folder / odd)
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    loaded = Corpus.load(read_corpus(folder, progress=False).save(tmp_path / "corpus"))
    assert str(folder / odd) in loaded.files and len(loaded.split("train").songs) <= 6


def test_options_reach_the_reader(folder):
    fine = read_corpus(folder, steps_per_beat=12, progress=False).songs[0]
    assert fine.steps_per_beat == 12 and fine == read_midi(folder / "song0.mid", steps_per_beat=12)
    bare = Song(fine.notes, steps_per_beat=12).write_midi(folder / "bare.mid")
    assert not read_corpus(bare, progress=False).songs[0].chords
    assert read_corpus(bare, progress=False, estimate=True).songs[0].chords


# Annotations


def test_annotations_give_bars_and_chords(corpus_archive):
    read = read_corpus(corpus_archive, progress=False)
    assert len(read.songs) == 879 and not any(row["error"] for row in read.rows)
    songs = {s.name: s for s in read.songs}
    # Its beat_midi.txt begins 0.0553 s (= the phase), 0.7220 s ...: beats of 4 steps, a strong one every 16.
    assert songs["001"].bars[:4] == (0, 16, 32, 48) and songs["001"].meter == "4/4"
    assert songs["001"].chords[4] == (16, 8, "B:maj")  # 2.7220 to 4.0553 s at 90 BPM
    assert np.bincount(np.diff(songs["034"].bars)).argmax() == 12 and "3/4" in songs["034"].meter


def annotated(folder: Path, tempo: int) -> Path:
    """A song of 32 beats with a tempo change after beat 8, and its annotations in seconds, as in POP909."""
    import mido

    midi = mido.MidiFile(ticks_per_beat=480)
    midi.tracks.append(
        mido.MidiTrack(
            [
                mido.MetaMessage("set_tempo", tempo=tempo),
                mido.MetaMessage("set_tempo", tempo=2 * tempo, time=8 * 480),
            ]
        )
    )
    midi.tracks.append(
        mido.MidiTrack(
            [
                mido.Message("note_on", note=60, velocity=80),
                mido.Message("note_off", note=60, time=480),
            ]
            * 32
        )
    )
    folder.mkdir(parents=True)
    midi.save(folder / "song.mid")
    seconds = np.r_[np.arange(8), 8 + 2 * np.arange(25)] * tempo / 1e6
    beats = [f"{s} {float(i % 2 == 0)} {float(i % 4 == 0)}" for i, s in enumerate(seconds[:-1])]
    labels = ["C:maj", "G:7", "A:min", "N", "F:maj", "C:maj", "G:7", "C:maj"]
    chords = [
        f"{a} {b} {label}"
        for a, b, label in zip(seconds[:-4:4], seconds[4::4], labels, strict=True)
    ]
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
    assert [c.onset for c in song.chords] == list(song.bars) and song.chords[1] == (
        4 * grid,
        4 * grid,
        "G:7",
    )


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
def test_annotations_are_found_wherever_they_stand_in_an_archive(tmp_path, ending):
    """Archives of a folder tree come in any order of a folder's files and of the folders in it."""
    annotated(tmp_path / "songs" / "001", 500_000)
    annotated(tmp_path / "songs" / "001" / "Versions", 500_000)
    (tmp_path / "songs" / "001" / "Versions" / "beat_midi.txt").unlink()
    (tmp_path / "songs" / "song.mid").write_bytes(
        (tmp_path / "songs" / "001" / "song.mid").read_bytes()
    )
    for order in (1, -1):
        with (
            tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar,
            zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped,
        ):
            for name in [
                "song.mid",
                "001/song.mid",
                "001/Versions/chord_midi.txt",
                "001/Versions/song.mid",
                "001/beat_midi.txt",
                "001/chord_midi.txt",
            ][::order]:
                tar.add(tmp_path / "songs" / name, name)
                zipped.write(tmp_path / "songs" / name, name)
        read = read_corpus(tmp_path / f"x{ending}", progress=False)
        chords = {row["file"]: row["chords"] for row in read.rows}
        assert chords == {"001/song.mid": 8, "001/Versions/song.mid": 0, "song.mid": 0}


def test_bad_annotations_are_an_error_of_their_song(tmp_path):
    (annotated(tmp_path / "a", 500_000) / "beat_midi.txt").write_text("at once\n")
    annotated(tmp_path / "b", 500_000)
    read = read_corpus(tmp_path, progress=False)
    assert len(read.songs) == 1 and "POP909's form" in read.rows[0]["error"]


# Duplicates and splits


def test_the_split_is_fixed_disjoint_and_of_the_right_size():
    names = [f"{i:03}" for i in range(909)]
    count = {s: sum(split_of(n) == s for n in names) for s in SPLITS}
    assert sum(count.values()) == 909 and 780 < count["train"] < 850
    assert [split_of(n) for n in ("001", "010", "100", "567")] == [
        "train",
        "train",
        "train",
        "train",
    ]


def moved(song: Song, steps: int, semitones: int, name: str) -> Song:
    notes = song.notes.copy()
    notes["onset"] += steps
    notes["pitch"] += semitones
    return Song(notes, parts=song.parts, name=name)


@pytest.fixture
def narrow():
    """Songs in the middle of the keyboard, so that transposition drops nothing."""
    rng = np.random.default_rng(7)
    return [
        Song(
            [
                (int(o), int(d), int(p), 80, 0)
                for o, d, p in zip(
                    rng.integers(0, 200, 60),
                    rng.integers(1, 9, 60),
                    rng.integers(50, 70, 60),
                    strict=True,
                )
            ]
        )
        for _ in range(40)
    ]


def test_a_fingerprint_knows_notes_but_for_pitch_and_start(narrow):
    assert len({fingerprint(s) for s in narrow}) == len(narrow)
    for song in narrow[:8]:
        copies = [
            moved(song, steps, semitones, "") for steps in (0, 1, 77) for semitones in (-5, 0, 9)
        ]
        assert {fingerprint(copy) for copy in copies} == {fingerprint(song)}
        changed = song.notes.copy()
        changed["duration"][3] += 1
        assert fingerprint(Song(changed)) != fingerprint(song)
        parts = song.notes.copy()
        parts["part"] = np.arange(len(parts)) % 3
        parts["velocity"] = 11
        assert fingerprint(Song(parts)) == fingerprint(song)


def test_duplicates_are_found_and_never_divided(narrow):
    by_split = {s: [n for n in (f"{i:03}" for i in range(400)) if split_of(n) == s] for s in SPLITS}
    a, b, c, d, e = narrow[:5]
    songs = [
        moved(a, 0, 0, by_split["test"][0]),
        moved(a, 8, 3, by_split["train"][0]),  # divided: to train
        moved(b, 0, 0, by_split["test"][1]),
        moved(b, 1, -2, by_split["test"][2]),  # together: they stay
        moved(c, 0, 0, by_split["valid"][0]),
        moved(c, 0, 1, by_split["test"][3]),  # divided: to train
        moved(d, 0, 0, by_split["valid"][1]),
        moved(e, 0, 0, by_split["test"][4]),
    ]
    read = Corpus(songs)
    split = {row["file"]: row["split"] for row in read.rows}
    assert [split[s.name] for s in songs] == [
        "train",
        "train",
        "test",
        "test",
        "train",
        "train",
        "valid",
        "test",
    ]
    pairs = {
        frozenset((row["file"], row["duplicate_of"])) for row in read.rows if row["duplicate_of"]
    }
    assert pairs == {frozenset(s.name for s in songs[i : i + 2]) for i in (0, 2, 4)}
    parts = {name: read.split(name) for name in SPLITS}
    assert sorted(s.name for part in parts.values() for s in part.songs) == sorted(
        s.name for s in songs
    )
    for name, part in parts.items():
        assert {row["split"] for row in part.rows} == {name} and all_same(
            part.split(name).songs, part.songs
        )
    with pytest.raises(OptionError, match="unknown"):
        read.split("everything")


def test_songs_without_duplicates_are_where_their_names_put_them(folder):
    read = read_corpus(folder, progress=False)
    assert all(s.name in [x.name for x in read.split(split_of(s.name)).songs] for s in read.songs)
