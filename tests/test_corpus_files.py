"""Corpora as files: one or shards, damaged ones, other processes and clusters."""

import contextlib
import multiprocessing
import os
import pickle
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import all_same, make_song, same

import pomkit
from pomkit import OptionError, PomkitError, ReadReport, Song, data
from pomkit.data import Corpus, read_corpus, reading, store


def rich(seed: int) -> Song:
    """A song in which everything is there that a Song can have."""
    song = make_song(np.random.default_rng(seed), end=400)
    remarks = ("one", "two")
    report = ReadReport(phase=0.123456789, quantisation_error=1e-3, kept=200, remarks=remarks)
    return Song(
        song.notes,
        song.chords,
        parts=("Flöte", "", "drums"),
        bars=(0, 36, 72, 120),
        steps_per_beat=12,
        name=f"song{seed}",
        source_tempo=97.3,
        report=report,
        meters=((0, 3, 4), (72, 4, 4)),
    )


def test_saved_and_loaded_songs_are_equal(tmp_path):
    songs = [rich(i) for i in range(5)]
    loaded = Corpus.load(Corpus(songs).save(tmp_path / "deep" / "corpus"))
    assert all_same(loaded.songs, songs)
    assert [song.report for song in loaded.songs] == [song.report for song in songs]
    assert loaded.rows == Corpus(songs).rows
    again = Corpus.load(loaded.split("train").save(tmp_path / "train"))
    assert all_same(again.songs, loaded.split("train").songs)
    assert len(Corpus.load(Corpus().save(tmp_path / "empty")).songs) == 0


def test_the_file_is_compact_plain_safetensors(folder, tmp_path):
    from safetensors import safe_open

    read = read_corpus(folder, progress=False)
    path = read.save(tmp_path / "corpus")
    with safe_open(path, "np") as file:
        assert {k: str(file.get_tensor(k).dtype) for k in store.NOTE_COLUMNS} == {
            "onset": "int32",
            "duration": "int32",
            "pitch": "uint8",
            "velocity": "uint8",
            "part": "uint16",
        }
        assert file.metadata() == store.CORPUS_FORMAT
        notes = sum(len(s.notes) for s in read.songs)
        assert file.get_slice("pitch").get_shape() == [notes]
        assert path.stat().st_size < 12 * notes + len(file.get_tensor("text")) + 4000


def test_songs_are_a_lazy_sequence(folder):
    songs = read_corpus(folder, progress=False).songs
    listed = list(songs)
    assert len(songs) == 6
    assert all_same(listed, songs)
    assert same(songs[-1], listed[5])
    assert all_same(songs[1:4], listed[1:4])
    assert all_same(songs[::-2], listed[::-2])
    assert listed[2] in songs
    with pytest.raises(IndexError):
        songs[6]


def test_a_window_touches_only_its_song(tmp_path, monkeypatch):
    loaded = Corpus.load(Corpus([rich(i) for i in range(20)]).save(tmp_path / "corpus"))
    windows = data.Windows(loaded.songs, 64)
    counts = []
    notes = store.Shard.notes

    def counted(shard, place):
        read = notes(shard, place)
        counts.append(len(read))
        return read

    monkeypatch.setattr(store.Shard, "notes", counted)
    windows[3]
    assert len(counts) == 1
    assert 0 < counts[0] <= 200


@pytest.mark.parametrize(
    "method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()]
)
def test_a_loaded_corpus_goes_to_other_processes_as_its_path(tmp_path, method):
    read = Corpus([rich(i) for i in range(30)])
    loaded = Corpus.load(read.save(tmp_path / "corpus"))
    assert len(pickle.dumps(loaded.songs)) < 5000 < len(pickle.dumps(read.songs))
    assert all_same(pickle.loads(pickle.dumps(read.songs)), read.songs)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert all_same(pool.map(loaded.songs.__getitem__, range(30)), read.songs)


def test_data_loader_workers_see_the_same_windows(tmp_path):
    torch = pytest.importorskip("torch")
    loaded = Corpus.load(Corpus([rich(i) for i in range(4)]).save(tmp_path / "corpus"))
    windows = data.Windows(loaded.songs, 64)
    loader = torch.utils.data.DataLoader(windows, sampler=range(6), batch_size=None, num_workers=2)
    for i, window in enumerate(loader):
        assert np.array_equal(window[0], windows[i].picture)
        assert np.array_equal(window[1], windows[i].mask)


def damaged(good: bytes) -> dict[str, bytes]:
    """What may stand where a corpus file should, by what is wrong with it."""
    length = int.from_bytes(good[:8], "little")
    no_json = good[:8] + b"x" * length + good[8 + length :]
    newer = good.replace(b'"version":"1"', b'"version":"2"')
    assert newer != good

    return {
        "empty": b"",
        "cut in the header": good[:40],
        "cut in the data": good[:-100],
        "a lying length": b"\xff" * 8 + good[8:],
        "no JSON": no_json,
        "foreign": b"MThd" + bytes(100),
        "newer": newer,
        "another safetensors": safetensors_of(x=np.zeros(3)),
        "zeros": bytes(len(good)),
    }


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
    uses = [
        lambda corpus: list(corpus.songs),
        lambda corpus: corpus.rows,
        lambda corpus: corpus.split("train"),
        lambda corpus: corpus.save(tmp_path / "copy"),
    ]

    rng = np.random.default_rng(0)
    for i in range(150):
        # Every second file is bad in its head.
        bad = bytearray(good)
        for at in rng.integers(0, len(bad) if i % 2 else 1200, 8):
            bad[at] = rng.integers(0, 256)
        path = tmp_path / f"{i}"
        path.write_bytes(bad)
        for use in uses:
            with contextlib.suppress(PomkitError):
                use(Corpus.load(path))


@pytest.mark.parametrize(
    ("text", "names"), [(b"a.mid", 1), (b"a\0b\0c", 3), (b"", 1), (b"a\0b\0", 3)]
)
def test_as_many_names_as_files_or_one_clear_error(text, names):
    """Names too many were left out, so that files had those of others."""
    tensors = dict(store.pack([store.song_entry("x", rich(i)) for i in range(2)]).tensors)
    tensors["files"] = np.frombuffer(text, "u1")
    with pytest.raises(OptionError, match=f"it has {names} names for 2 files"):
        Corpus(shards=[store.Shard(tensors)])


def test_a_name_is_one_name_whatever_stands_in_it(tmp_path):
    names = ["", "a\0b", "\0", "Flöte"]
    songs = [replace(rich(i), name=name) for i, name in enumerate(names)]
    loaded = Corpus.load(Corpus(songs).save(tmp_path / "corpus"))
    assert sorted(loaded.files) == sorted(["", "a b", " ", "Flöte"])
    assert sorted(song.name for song in loaded.songs) == sorted(names)


@pytest.mark.parametrize("shards", [10**9, 2, 0, -1, "1", None, 1.0, [1]])
def test_an_index_that_lies_is_one_clear_error_at_once(tmp_path, shards):
    """A list of a thousand million paths was made first; of no shards came an empty corpus."""
    Corpus([rich(1)]).save(tmp_path / "000000.safetensors")
    store.write_index(tmp_path, shards)
    tracemalloc.start()
    try:
        with pytest.raises(OptionError, match="is no corpus that can be read"):
            Corpus.load(tmp_path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10**6


def test_shards_hold_what_memory_would(folder, tmp_path, small_chunks):
    out = tmp_path / "out"
    in_memory = read_corpus(folder, workers=1, progress=False)
    for workers in (1, 2):
        built = read_corpus(folder, workers=workers, out=out, progress=False)
        assert all_same(built.songs, in_memory.songs)
        assert built.rows == in_memory.rows
        assert len(list(out.glob("*.safetensors"))) == 4

    # What an older build left is taken away; what is of another kind stays.
    for name in ("000123.safetensors", ".000004.safetensors.x1", "model.safetensors"):
        (out / name).write_bytes(b"left by an older build, or of another kind")
    read_corpus(folder / "song0.mid", out=out, progress=False)
    left = sorted(path.name for path in out.iterdir())
    assert left == ["000000.safetensors", "corpus.json", "model.safetensors"]
    assert len(Corpus.load(out).songs) == 1


def test_workers_change_nothing(folder, small_chunks):
    one, two = (read_corpus(folder, workers=n, progress=False) for n in (1, 2))
    assert all_same(one.songs, two.songs)
    assert one.rows == two.rows


def test_a_few_files_are_read_in_this_process(folder, monkeypatch):
    here = []
    job = reading._job
    monkeypatch.setattr(reading, "_job", lambda *a: here.append(os.getpid()) or job(*a))
    read_corpus(folder, workers=8, progress=False)
    assert here == [os.getpid()]


KILLED = """
import os, sys, time, threading
from pomkit import files
from pomkit.data import reading
reading.CHUNK = 1
real = files.write_atomically
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
files.write_atomically = slow
reading.read_corpus(sys.argv[1], workers=1, out=sys.argv[2], progress=False)
"""


def test_an_interrupted_build_leaves_no_half_shard_and_no_corpus(folder, tmp_path):
    out = tmp_path / "out"
    root = Path(pomkit.__file__).parents[1]
    command = [sys.executable, "-c", KILLED, folder, out]
    done = subprocess.run(command, cwd=root, timeout=60)
    assert done.returncode == -9

    # The shards are whole ones, but no corpus.
    shards = sorted(out.glob("*.safetensors"))
    assert len(shards) == 3
    for shard in shards:
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
    # What is open stays.
    assert all_same(loaded.songs, [rich(1), rich(2)])
    store._open.cache_clear()
    with pytest.raises(PomkitError, match="another one than was opened"):
        list(pickle.loads(sent))
    assert all_same(Corpus.load(tmp_path / "corpus").songs, [rich(3)])


def test_a_dask_cluster_reads_a_corpus(folder, tmp_path, small_chunks):
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    import joblib

    expected = read_corpus(folder, workers=1, progress=False)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        in_memory = read_corpus(folder, progress=False)
        on_disk = read_corpus(folder, out=tmp_path / "out", progress=False)
        done = client.run(
            lambda dask_worker: sum("memory" in event for event in dask_worker.state.log)
        )
    assert all_same(in_memory.songs, expected.songs)
    assert all_same(on_disk.songs, expected.songs)

    # Two processes have done the four jobs of both.
    assert len(done) == 2
    assert sum(done.values()) >= 8
