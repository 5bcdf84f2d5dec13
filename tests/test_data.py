"""Corpora, the split by song, windows and their masks."""
import tarfile
import zipfile

import numpy as np
import pytest
from conftest import make_song

from pomkit import OptionError, data, masks, parse
from pomkit.data import MASK_MIX, SPLITS, Windows, onsets_per_bar, random_mask, read_corpus, split_of


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        make_song(np.random.default_rng(i), end=200).write_midi(tmp_path / "songs" / f"song{i}.mid")
    (tmp_path / "songs" / "bad.mid").write_bytes(b"MThd and nothing more")
    (tmp_path / "songs" / "notes.txt").write_text("no music")
    return tmp_path / "songs"


def test_folders_globs_and_archives_give_the_same_songs(folder, tmp_path):
    with tarfile.open(tmp_path / "songs.tar.xz", "w:xz") as tar:
        tar.add(folder, "songs")
    with zipfile.ZipFile(tmp_path / "songs.zip", "w") as zipped:
        for path in folder.iterdir():
            zipped.write(path, f"songs/{path.name}")
    corpora = [read_corpus(p, progress=False) for p in
               (folder, f"{folder}/*.mid", tmp_path / "songs.tar.xz", tmp_path / "songs.zip", sorted(folder.glob("*.mid")))]
    for corpus in corpora:
        assert [s.name for s in corpus.songs] == [f"song{i}" for i in range(6)]
        assert corpus.songs == corpora[0].songs
        assert [bool(row["error"]) for row in corpus.report] == [True] + [False] * 6


def test_workers_change_nothing(folder):
    many = [folder] * 20
    assert read_corpus(many, workers=2, progress=False).songs == read_corpus(many, workers=1, progress=False).songs


def test_nothing_and_damaged_archives(tmp_path):
    with pytest.raises(OptionError, match="no MIDI file"):
        read_corpus(tmp_path)
    (tmp_path / "x.tar.xz").write_bytes(b"not an archive")
    with pytest.raises(OptionError, match=r"x\.tar\.xz is damaged"):
        read_corpus(tmp_path / "x.tar.xz")


def test_the_split_is_fixed_disjoint_and_of_the_right_size():
    names = [f"{i:03}" for i in range(909)]
    count = {s: sum(split_of(n) == s for n in names) for s in SPLITS}
    assert sum(count.values()) == 909 and 780 < count["train"] < 850
    assert [split_of(n) for n in ("001", "010", "100", "567")] == ["train", "train", "train", "train"]


def test_annotations_give_bars_and_chords(corpus_archive):
    corpus = read_corpus(corpus_archive, progress=False)
    song = next(s for s in corpus.songs if s.name == "001")
    # Its beat_midi.txt begins 0.0553 s (= the phase), 0.7220 s ...: beats of 4 steps, a strong one every 16.
    assert song.bars[:4] == (0, 16, 32, 48)
    assert song.chords[4] == (16, 8, "B:maj")            # 2.7220 to 4.0553 s at 90 BPM
    waltz = next(s for s in corpus.songs if s.name == "034")
    assert np.bincount(np.diff(waltz.bars)).argmax() == 12
    assert not any(row["error"] for row in corpus.report)


def test_windows_depend_on_their_index_alone_and_start_on_bars(rng):
    songs = [make_song(np.random.default_rng(i), end=900) for i in range(3)]
    a, b = Windows(songs, 128, seed=4), Windows(songs, 128, seed=4)
    for i in (0, 7, 3, 10**7):
        x, y = a[i], b[i]
        assert np.array_equal(x.picture, y.picture) and np.array_equal(x.mask, y.mask) and x[2:] == y[2:]
        assert x.picture.shape == (128, 128, 3) and x.mask.any() and x.start % 16 == 0
        assert x.density == onsets_per_bar(x.picture, x.mask)
    assert len({a[i].picture.tobytes() for i in range(40)}) > 35
    assert {a[i].semitones for i in range(200)} == set(range(-6, 6))


def test_transposition_moves_notes_and_chords(rng):
    song = make_song(rng, end=200).canonical(border=20)
    for i in range(20):
        w = Windows([song], 256, chord_dropout=0)[i]
        back = parse(w.picture).transpose(-w.semitones)
        assert back == song.canonical() if w.start == 0 else len(back.notes) > 0


@pytest.mark.parametrize("kind", MASK_MIX)
def test_every_kind_of_mask_hides_something_and_never_the_chords(kind):
    song = make_song(np.random.default_rng(1), end=256)
    sizes = []
    for seed in range(30):
        mask = random_mask(np.random.default_rng(seed), song, 0, 256, {kind: 1.0})
        assert mask.shape == (128, 256) and mask.any() and not (mask & masks.chords(256)).any()
        sizes.append(mask.mean())
    assert len(set(sizes)) > 3 or kind in ("all", "melody", "accompaniment")


def test_fetch_finds_an_archive_and_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("POMKIT_DATA", str(tmp_path))
    with pytest.raises(OptionError, match="POP909-Dataset"):
        data.fetch("pop909")
    (tmp_path / "pop909.tar.xz").write_bytes(b"")
    assert data.fetch("pop909") == tmp_path / "pop909.tar.xz"
    with pytest.raises(OptionError, match="unknown"):
        data.fetch("everything")
