"""Corpora: what is read from where, duplicates and splits, files and shards, clusters, downloads."""
import contextlib
import csv
import gzip
import hashlib
import http.server
import io
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import make_song

from pomkit import OptionError, PomkitError, Song, corpus, data, read_midi
from pomkit.corpus import Corpus, fetch, fingerprint, read_corpus, split_of
from pomkit.data import SPLITS

COUNTED = ("kept", "merged", "shortened", "dropped")
COLUMNS = {"file", *COUNTED, "error", "meter", "steps", "key", "bars", "chords", "phase", "quantisation_error", "split",
           "duplicate_of"}


def same(a: Song, b: Song) -> bool:
    """Everything of the songs is equal, not only what == compares."""
    return repr(vars(a)) == repr(vars(b)) and a == b


def all_same(a, b) -> bool:
    return len(a) == len(b) and all(map(same, a, b))


@pytest.fixture
def folder(tmp_path):
    """Six songs, a bad file, a text, and a folder that is called like a MIDI file."""
    for i in range(6):
        make_song(np.random.default_rng(i), end=200).write_midi(tmp_path / "songs" / f"song{i}.mid")
    (tmp_path / "songs" / "bad.mid").write_bytes(b"MThd and nothing more")
    (tmp_path / "songs" / "notes.txt").write_text("no music")
    (tmp_path / "songs" / "x.mid").mkdir()
    return tmp_path / "songs"


@pytest.fixture
def small_chunks(monkeypatch):
    """Several jobs and shards of a few files, so that processes are worth starting."""
    monkeypatch.setattr(corpus, "CHUNK", 2)


def archive(folder: Path, path: Path) -> Path:
    """The folder in an archive, in an order that is not that of the names."""
    files = sorted((f for f in folder.rglob("*") if f.is_file()), reverse=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for file in files:
                zipped.write(file, f"songs/{file.relative_to(folder)}")
    else:
        packing = {".xz": "xz", ".txz": "xz", ".gz": "gz", ".tgz": "gz", ".bz2": "bz2"}.get(path.suffix, "")
        with tarfile.open(path, f"w:{packing}") as tar:
            for file in files:
                tar.add(file, f"songs/{file.relative_to(folder)}")
    return path


# What is read

@pytest.mark.parametrize("source", ["folder", "glob", "list", *corpus.ARCHIVES])
def test_folders_globs_lists_and_archives_give_the_same_songs(folder, tmp_path, source):
    paths = {"folder": folder, "glob": f"{folder}/*.mid",
             "list": [str(folder / "bad.mid"), *sorted(folder.glob("song*"))[::-1]]}
    read = read_corpus(paths.get(source) or archive(folder, tmp_path / f"songs{source}"), progress=False)
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
        assert (row["steps"], row["chords"], row["meter"]) == (expected.end, len(expected.chords), expected.meter)
        assert row["split"] == split_of(song.name) and row["bars"] == len(expected.bar_lines()) - 1
        assert re.fullmatch(r"[A-G][b#]?:(maj|min)", row["key"])
    assert read.rows[0]["kept"] == 0 and read.rows[0]["split"] == "" and "bad.mid" in read.rows[0]["error"]


def test_the_report_is_a_table_with_pandas_and_csv_without(folder, monkeypatch):
    pandas = pytest.importorskip("pandas")
    read = read_corpus(folder, progress=False)
    table = read.report
    assert isinstance(table, pandas.DataFrame) and table["kept"].sum() == sum(len(s.notes) for s in read.songs)
    monkeypatch.setitem(sys.modules, "pandas", None)
    text = read.report
    assert isinstance(text, str)
    again = list(csv.DictReader(io.StringIO(text)))
    assert [row["file"] for row in again] == list(table["file"]) and [int(r["kept"]) for r in again] == list(table["kept"])


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
    (tmp_path / f"cut{ending}").write_bytes(whole[:len(whole) * 2 // 3])
    try:
        read = read_corpus(tmp_path / f"cut{ending}", progress=False)
    except OptionError as fault:                     # an archive whose index stands at its end, or packed as one block
        assert "damaged" in str(fault) and ending in (".zip", ".tar.xz")
    else:
        assert 0 < len(read.songs) < 6 and any("damaged" in row["error"] for row in read.rows)


def test_one_bad_file_never_stops_it(folder, monkeypatch):
    """Also where the reader itself would fail in a way that nobody thought of."""
    real = corpus.read_midi
    monkeypatch.setattr(corpus, "read_midi", lambda source, **o: 1 / 0 if "song2" in str(source) else real(source, **o))
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
    assert songs["001"].chords[4] == (16, 8, "B:maj")            # 2.7220 to 4.0553 s at 90 BPM
    assert np.bincount(np.diff(songs["034"].bars)).argmax() == 12 and "3/4" in songs["034"].meter


def annotated(folder: Path, tempo: int) -> Path:
    """A song of 32 beats with a tempo change after beat 8, and its annotations in seconds, as in POP909."""
    import mido

    midi = mido.MidiFile(ticks_per_beat=480)
    midi.tracks.append(mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=tempo),
                                       mido.MetaMessage("set_tempo", tempo=2 * tempo, time=8 * 480)]))
    midi.tracks.append(mido.MidiTrack([mido.Message("note_on", note=60, velocity=80),
                                       mido.Message("note_off", note=60, time=480)] * 32))
    folder.mkdir(parents=True)
    midi.save(folder / "song.mid")
    seconds = np.r_[np.arange(8), 8 + 2 * np.arange(25)] * tempo / 1e6
    beats = [f"{s} {float(i % 2 == 0)} {float(i % 4 == 0)}" for i, s in enumerate(seconds[:-1])]
    labels = ["C:maj", "G:7", "A:min", "N", "F:maj", "C:maj", "G:7", "C:maj"]
    chords = [f"{a} {b} {label}" for a, b, label in zip(seconds[:-4:4], seconds[4::4], labels, strict=True)]
    (folder / "beat_midi.txt").write_text("\n".join(beats))
    (folder / "chord_midi.txt").write_text("\n".join(chords))
    return folder


@pytest.mark.parametrize("grid", [4, 12])
@pytest.mark.parametrize("kind", ["folder", ".zip", ".tar"])
def test_annotated_seconds_follow_the_tempo_map(tmp_path, grid, kind):
    where = annotated(tmp_path / "songs" / "001", 431_000).parent
    paths = where if kind == "folder" else archive(where, tmp_path / f"songs{kind}")
    song, = read_corpus(paths, steps_per_beat=grid, progress=False).songs
    assert song.bars == tuple(range(0, 32 * grid, 4 * grid))
    assert [c.onset for c in song.chords] == list(song.bars) and song.chords[1] == (4 * grid, 4 * grid, "G:7")


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
def test_annotations_are_found_wherever_they_stand_in_an_archive(tmp_path, ending):
    """Archives of a folder tree come in any order of a folder's files and of the folders in it."""
    annotated(tmp_path / "songs" / "001", 500_000)
    annotated(tmp_path / "songs" / "001" / "Versions", 500_000)
    (tmp_path / "songs" / "001" / "Versions" / "beat_midi.txt").unlink()
    (tmp_path / "songs" / "song.mid").write_bytes((tmp_path / "songs" / "001" / "song.mid").read_bytes())
    for order in (1, -1):
        with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar, zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
            for name in ["song.mid", "001/song.mid", "001/Versions/chord_midi.txt", "001/Versions/song.mid",
                         "001/beat_midi.txt", "001/chord_midi.txt"][::order]:
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
    assert [split_of(n) for n in ("001", "010", "100", "567")] == ["train", "train", "train", "train"]


def moved(song: Song, steps: int, semitones: int, name: str) -> Song:
    notes = song.notes.copy()
    notes["onset"] += steps
    notes["pitch"] += semitones
    return Song(notes, parts=song.parts, name=name)


@pytest.fixture
def narrow():
    """Songs in the middle of the keyboard, so that transposition drops nothing."""
    rng = np.random.default_rng(7)
    return [Song([(int(o), int(d), int(p), 80, 0) for o, d, p in zip(rng.integers(0, 200, 60), rng.integers(1, 9, 60),
                                                                   rng.integers(50, 70, 60), strict=True)]) for _ in range(40)]


def test_a_fingerprint_knows_notes_but_for_pitch_and_start(narrow):
    assert len({fingerprint(s) for s in narrow}) == len(narrow)
    for song in narrow[:8]:
        copies = [moved(song, steps, semitones, "") for steps in (0, 1, 77) for semitones in (-5, 0, 9)]
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
    songs = [moved(a, 0, 0, by_split["test"][0]), moved(a, 8, 3, by_split["train"][0]),            # divided: to train
             moved(b, 0, 0, by_split["test"][1]), moved(b, 1, -2, by_split["test"][2]),            # together: they stay
             moved(c, 0, 0, by_split["valid"][0]), moved(c, 0, 1, by_split["test"][3]),            # divided: to train
             moved(d, 0, 0, by_split["valid"][1]), moved(e, 0, 0, by_split["test"][4])]
    read = Corpus(songs)
    split = {row["file"]: row["split"] for row in read.rows}
    assert [split[s.name] for s in songs] == ["train", "train", "test", "test", "train", "train", "valid", "test"]
    pairs = {frozenset((row["file"], row["duplicate_of"])) for row in read.rows if row["duplicate_of"]}
    assert pairs == {frozenset(s.name for s in songs[i:i + 2]) for i in (0, 2, 4)}
    parts = {name: read.split(name) for name in SPLITS}
    assert sorted(s.name for part in parts.values() for s in part.songs) == sorted(s.name for s in songs)
    for name, part in parts.items():
        assert {row["split"] for row in part.rows} == {name} and all_same(part.split(name).songs, part.songs)
    with pytest.raises(OptionError, match="unknown"):
        read.split("everything")


def test_songs_without_duplicates_are_where_their_names_put_them(folder):
    read = read_corpus(folder, progress=False)
    assert all(s.name in [x.name for x in read.split(split_of(s.name)).songs] for s in read.songs)


# One file, shards, processes

def rich(seed: int) -> Song:
    """A song in which everything is there that a Song can have."""
    song = make_song(np.random.default_rng(seed), end=400)
    return Song(song.notes, song.chords, ("Flöte", "", "drums"), (0, 36, 72, 120), 12, f"song{seed}", 97.3,
                corpus.ReadReport(phase=0.123456789, quantisation_error=1e-3, kept=200, remarks=("one", "two")),
                ((0, 3, 4), (72, 4, 4)))


def test_saved_and_loaded_songs_are_equal(tmp_path):
    songs = [rich(i) for i in range(5)]
    loaded = Corpus.load(Corpus(songs).save(tmp_path / "deep" / "corpus"))
    assert all_same(loaded.songs, songs) and [s.report for s in loaded.songs] == [s.report for s in songs]
    assert loaded.rows == Corpus(songs).rows
    again = Corpus.load(loaded.split("train").save(tmp_path / "train"))
    assert all_same(again.songs, loaded.split("train").songs)
    assert len(Corpus.load(Corpus().save(tmp_path / "empty")).songs) == 0


def test_the_file_is_compact_plain_safetensors(folder, tmp_path):
    from safetensors import safe_open

    read = read_corpus(folder, progress=False)
    path = read.save(tmp_path / "corpus")
    with safe_open(path, "np") as file:
        assert {k: str(file.get_tensor(k).dtype) for k in corpus.NOTES} == {
            "onset": "int32", "duration": "int32", "pitch": "uint8", "velocity": "uint8", "part": "uint16"}
        assert file.metadata() == corpus.FORMAT
        notes = sum(len(s.notes) for s in read.songs)
        assert file.get_slice("pitch").get_shape() == [notes]
        assert path.stat().st_size < 12 * notes + len(file.get_tensor("text")) + 4000


def test_songs_are_a_lazy_sequence(folder):
    songs = read_corpus(folder, progress=False).songs
    listed = list(songs)
    assert len(songs) == 6 and all_same(listed, songs) and same(songs[-1], listed[5])
    assert all_same(songs[1:4], listed[1:4]) and all_same(songs[::-2], listed[::-2]) and listed[2] in songs
    with pytest.raises(IndexError):
        songs[6]


def test_a_window_touches_only_its_song(tmp_path, monkeypatch):
    loaded = Corpus.load(Corpus([rich(i) for i in range(20)]).save(tmp_path / "corpus"))
    windows = data.Windows(loaded.songs, 64)
    read, entry = [], corpus._entry
    monkeypatch.setattr(corpus, "_entry", lambda tables, row: read.append(len(entry(tables, row)[1])) or entry(tables, row))
    windows[3]
    assert len(read) == 1 and 0 < read[0] <= 200


@pytest.mark.parametrize("method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()])
def test_a_loaded_corpus_goes_to_other_processes_as_its_path(tmp_path, method):
    read = Corpus([rich(i) for i in range(30)])
    loaded = Corpus.load(read.save(tmp_path / "corpus"))
    assert len(pickle.dumps(loaded.songs)) < 5000 < len(pickle.dumps(read.songs))
    assert all_same(pickle.loads(pickle.dumps(read.songs)), read.songs)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert all_same(pool.map(loaded.songs.__getitem__, range(30)), read.songs)


def test_data_loader_workers_see_the_same_windows(tmp_path):
    torch = pytest.importorskip("torch")
    windows = data.Windows(Corpus.load(Corpus([rich(i) for i in range(4)]).save(tmp_path / "corpus")).songs, 64)
    loader = torch.utils.data.DataLoader(windows, sampler=range(6), batch_size=None, num_workers=2)
    for i, window in enumerate(loader):
        assert np.array_equal(window[0], windows[i].picture) and np.array_equal(window[1], windows[i].mask)


def damaged(good: bytes) -> dict[str, bytes]:
    length = int.from_bytes(good[:8], "little")
    newer = good.replace(b'"version":"1"', b'"version":"2"')
    assert newer != good
    return {"empty": b"", "cut in the header": good[:40], "cut in the data": good[:-100],
            "a lying length": b"\xff" * 8 + good[8:], "no JSON": good[:8] + b"x" * length + good[8 + length:],
            "foreign": b"MThd" + bytes(100), "newer": newer,
            "another safetensors": safetensors_of(x=np.zeros(3)), "zeros": bytes(len(good))}


def safetensors_of(**tensors):
    from safetensors.numpy import save

    return save(tensors)


def test_damaged_foreign_and_newer_files_are_one_clear_error(tmp_path):
    good = Corpus([rich(i) for i in range(3)]).save(tmp_path / "good").read_bytes()
    for name, content in damaged(good).items():
        path = tmp_path / "x.safetensors"
        path.write_bytes(content)
        with pytest.raises(PomkitError, match="x.safetensors is no corpus that can be read"):
            Corpus.load(path)
        if name == "newer":
            with pytest.raises(PomkitError, match="'version': '2'.*update pomkit"):
                Corpus.load(path)
    for nothing in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(PomkitError, match="no corpus that can be read"):
            Corpus.load(nothing)


def test_whatever_bytes_are_changed_only_pomkit_errors_come(tmp_path):
    good = Corpus([rich(i) for i in range(3)]).save(tmp_path / "good").read_bytes()
    rng = np.random.default_rng(0)
    for i in range(150):
        bad = bytearray(good)
        for at in rng.integers(0, len(bad) if i % 2 else 1200, 8):
            bad[at] = rng.integers(0, 256)
        path = tmp_path / f"{i}"
        path.write_bytes(bad)
        for use in (lambda c: list(c.songs), lambda c: c.rows, lambda c: c.split("train"), lambda c: c.save(tmp_path / "copy")):
            with contextlib.suppress(PomkitError):
                use(Corpus.load(path))


def test_shards_hold_what_memory_would(folder, tmp_path, small_chunks):
    out = tmp_path / "out"
    in_memory = read_corpus(folder, workers=1, progress=False)
    for workers in (1, 2):
        built = read_corpus(folder, workers=workers, out=out, progress=False)
        assert all_same(built.songs, in_memory.songs) and built.rows == in_memory.rows
        assert len(list(out.glob("*.safetensors"))) == 4
    for name in ("000123.safetensors", ".000004.safetensors.x1", "model.safetensors"):
        (out / name).write_bytes(b"left by an older build, or of another kind")
    read_corpus(folder / "song0.mid", out=out, progress=False)
    assert sorted(p.name for p in out.iterdir()) == ["000000.safetensors", "corpus.json", "model.safetensors"]
    assert len(Corpus.load(out).songs) == 1


def test_workers_change_nothing(folder, small_chunks):
    one, two = (read_corpus(folder, workers=n, progress=False) for n in (1, 2))
    assert all_same(one.songs, two.songs) and one.rows == two.rows


def test_a_few_files_are_read_in_this_process(folder, monkeypatch):
    here = []
    monkeypatch.setattr(corpus, "_job", lambda *a, job=corpus._job: here.append(os.getpid()) or job(*a))
    read_corpus(folder, workers=8, progress=False)
    assert here == [os.getpid()]


KILLED = """
import os, sys, time, threading
from pomkit import corpus
corpus.CHUNK = 1
real = corpus.write_atomically
count = 0
import contextlib
@contextlib.contextmanager
def slow(path):
    global count
    with real(path) as file:
        yield file
        count += 1
        if count == 4:
            os.kill(os.getpid(), 9)          # in the middle of the fourth shard
corpus.write_atomically = slow
corpus.read_corpus(sys.argv[1], workers=1, out=sys.argv[2], progress=False)
"""


def test_an_interrupted_build_leaves_no_half_shard_and_no_corpus(folder, tmp_path):
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, folder, out], cwd=Path(corpus.__file__).parents[1], timeout=60)
    assert done.returncode == -9
    shards = sorted(out.glob("*.safetensors"))
    assert len(shards) == 3
    for shard in shards:                                     # whole ones
        assert len(Corpus.load(shard).files) == 1
    with pytest.raises(PomkitError, match="no corpus that can be read"):
        Corpus.load(out)
    assert len(read_corpus(folder, out=out, progress=False).songs) == 6
    assert sorted(p.name for p in out.iterdir()) == ["000000.safetensors", "corpus.json"]


def test_a_corpus_that_was_replaced_is_not_mixed_with_the_new_one(tmp_path):
    loaded = Corpus.load(Corpus([rich(1), rich(2)]).save(tmp_path / "corpus"))
    sent = pickle.dumps(loaded.songs)
    Corpus([rich(3)]).save(tmp_path / "corpus")
    os.utime(tmp_path / "corpus", ns=(1, 1))
    assert all_same(loaded.songs, [rich(1), rich(2)])         # what is open stays
    corpus._opened.cache_clear()
    with pytest.raises(PomkitError, match="another one than was opened"):
        list(pickle.loads(sent))
    assert all_same(Corpus.load(tmp_path / "corpus").songs, [rich(3)])


def test_a_dask_cluster_reads_a_corpus(folder, tmp_path, small_chunks):
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    import joblib

    expected = read_corpus(folder, workers=1, progress=False)
    with (distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
          distributed.Client(cluster) as client, joblib.parallel_config(backend="dask")):
        in_memory = read_corpus(folder, progress=False)
        on_disk = read_corpus(folder, out=tmp_path / "out", progress=False)
        done = client.run(lambda dask_worker: sum("memory" in event for event in dask_worker.state.log))
    assert all_same(in_memory.songs, expected.songs) and all_same(on_disk.songs, expected.songs)
    assert len(done) == 2 and sum(done.values()) >= 8        # two processes have done the four jobs of both


# Downloads

class Server(http.server.ThreadingHTTPServer):
    """Serves `content`, breaking off after `limit` bytes an answer; with or without Range; notes what was asked for."""

    def __init__(self, content: bytes, limit: int | None = None, ranges: bool = True, length: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.limit, self.ranges, self.length, self.asked = content, limit, ranges, length, []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/repository.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        s = self.server
        asked = self.headers["Range"]
        s.asked.append(asked)
        start = int(asked[6:-1]) if asked and s.ranges else 0
        if start and start >= len(s.content):
            self.send_error(416)
            return
        self.send_response(206 if asked and s.ranges else 200)
        if s.length:
            self.send_header("Content-Length", str(len(s.content) - start))
        self.end_headers()
        self.wfile.write(s.content[start:][:s.limit])
        self.close_connection = True

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A small repository as a zip, known to pomkit as "tiny"; a function that serves it."""
    rng = np.random.default_rng(0)
    files = {"SONGS/001/001.mid": make_song(rng).write_midi(tmp_path / "a.mid").read_bytes(),
             "SONGS/003/003.mid": make_song(rng).write_midi(tmp_path / "b.mid").read_bytes(), "SONGS/003/key_audio.txt": b"key"}
    others = {"SONGS/002/002.mid": b"not pinned", "SONGS/001/versions/other.mid": b"not wanted", "README.md": rng.bytes(30_000)}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for name, content in sorted((files | others).items(), reverse=True):
            zipped.writestr(f"Repository-0123/{name}", content)
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    monkeypatch.setenv("POMKIT_DATA", str(tmp_path / "data"))
    servers = []

    def serve(pinned="", **options):
        servers.append(Server(packed.getvalue(), **options))
        monkeypatch.setitem(corpus.CORPORA, "tiny", dict(
            url=servers[-1].url, paths=r"SONGS/(?!002)(\d\d\d)/(\1\.mid|key_audio\.txt)", credit="made by nobody",
            sha256=pinned or hashlib.sha256(lines.encode()).hexdigest()))
        return servers[-1]

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_fetch_downloads_once_and_keeps_what_is_pinned(repository, tmp_path, capsys):
    server = repository()
    path = fetch("tiny", progress=False)
    assert path == tmp_path / "data" / "tiny.zip" and "made by nobody" in capsys.readouterr().out
    with zipfile.ZipFile(path) as kept:
        assert kept.namelist() == ["SONGS/001/001.mid", "SONGS/003/003.mid", "SONGS/003/key_audio.txt"]
    assert [s.name for s in read_corpus(path, progress=False).songs] == ["001", "003"]
    server.shutdown()
    assert fetch("tiny") == path and server.asked == [None]
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.zip"]


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(repository, tmp_path, ranges, length):
    server = repository(limit=20_000, ranges=ranges, length=length)
    fault = "broke off after 20000 of" if length else "not a zip"                  # no length: the zip tells
    with pytest.raises(OptionError, match=fault):
        fetch("tiny", progress=False)
    assert not (tmp_path / "data" / "tiny.zip").exists()
    server.limit = None
    assert fetch("tiny", progress=False).exists()
    assert server.asked == [None, "bytes=20000-" if length else None]


def test_a_download_that_was_whole_but_not_checked_begins_again(repository, tmp_path):
    server = repository()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".tiny.part").write_bytes(bytes(10**6))
    with pytest.raises(OptionError, match="416"):
        fetch("tiny", progress=False)
    assert fetch("tiny", progress=False).exists() and server.asked == ["bytes=1000000-", None]


def test_another_content_is_refused(repository, tmp_path):
    server = repository(pinned="0" * 64)
    with pytest.raises(OptionError, match="3 files have sha256"):
        fetch("tiny", progress=False)
    server.content = b"<html>Log in to this network"
    with pytest.raises(OptionError, match="not a zip"):
        fetch("tiny", progress=False)
    assert list((tmp_path / "data").iterdir()) == []


def test_without_a_network_fetch_says_what_to_do(repository, tmp_path):
    server = repository()
    server.shutdown()
    server.server_close()
    with pytest.raises(OptionError, match="could not be fetched.*POMKIT_DATA"):
        fetch("tiny", progress=False)
    with pytest.raises(OptionError, match="unknown"):
        fetch("everything")


@pytest.mark.parametrize("ending", ["", ".tar.xz", ".zip"])
def test_fetch_takes_what_is_there(tmp_path, monkeypatch, ending):
    monkeypatch.setenv("POMKIT_DATA", str(tmp_path))
    (tmp_path / f"pop909{ending}").mkdir()
    assert fetch("pop909") == tmp_path / f"pop909{ending}"


def test_pop909_is_pinned_by_its_content(corpus_archive, tmp_path):
    """The pinned hash and paths fit the archive at hand, packed as the repository's zip would be, with more beside."""
    with tarfile.open(corpus_archive) as tar, zipfile.ZipFile(tmp_path / "repository.zip", "w") as zipped:
        for member in tar:
            if member.isfile():
                zipped.writestr("POP909-Dataset-d83e6ed/" + member.name.removeprefix("pop909/"), tar.extractfile(member).read())
        for number in ("002", "896"):
            zipped.writestr(f"POP909-Dataset-d83e6ed/POP909/{number}/{number}.mid", b"one of the 30")
        zipped.writestr("POP909-Dataset-d83e6ed/POP909/001/versions/001-v1.mid", b"another version")
    source = corpus.CORPORA["pop909"]
    assert "d83e6edba6872a704f5d3b8b32f5cb540088dae6" in source["url"] and len(corpus.UNPINNED.split("|")) == 30
    corpus._keep_pinned(tmp_path / "repository.zip", tmp_path / "pop909.zip", **source)
    with zipfile.ZipFile(tmp_path / "pop909.zip") as kept:
        assert len(kept.namelist()) == 5274
