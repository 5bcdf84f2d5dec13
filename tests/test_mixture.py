"""Several corpora at once: shares, splits, and what a model's card says of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_song

from pomkit import OptionError, load_model, train
from pomkit.data import Corpus, Windows, read_corpus, split_of
from pomkit.data.mixture import JoinedSongs, Mixture, shares_of
from pomkit.networks.attention import Level
from pomkit.networks.hdit import CONFIGS, HDiTConfig

TOY = HDiTConfig(
    patch=(8, 16), levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32
)


def corpus_of(name, count, end):
    songs = []
    for i in range(count):
        song = make_song(np.random.default_rng(i + 100 * count), end=end, chords=False)
        songs.append(replace(song, name=f"{name}{i}"))
    return Corpus(songs)


@pytest.fixture
def two(tmp_path):
    """A corpus of many long songs, and one of few short ones: their paths with a comma between."""
    corpus_of("few", 30, 600).save(tmp_path / "long.corpus")
    corpus_of("many", 40, 80).save(tmp_path / "short.corpus")
    return f"{tmp_path / 'long.corpus'},{tmp_path / 'short.corpus'}"


def test_each_corpus_has_its_share_of_the_windows_whatever_its_size(two):
    for mix, wanted in (("1:3", 0.25), ("", 0.5)):
        windows = Mixture(two, mix, progress=False).windows("train", 64, seed=1)
        drawn = [windows[i].song.startswith("few") for i in range(400)]
        assert np.mean(drawn) == pytest.approx(wanted, abs=0.07)


def test_songs_are_in_the_splits_in_which_they_always_are(two):
    mixture = Mixture(two, progress=False)
    for split in ("train", "valid", "test"):
        windows = mixture.windows(split, 64, seed=1)
        assert {split_of(song.name) for song in windows.songs} == {split}
    names = [song.name for song in mixture.windows("train", 64).songs]
    assert any(name.startswith("few") for name in names)
    assert any(name.startswith("many") for name in names)


def test_windows_of_one_corpus_are_what_they_were(two, tmp_path):
    path = tmp_path / "long.corpus"
    mixed = Mixture(str(path), progress=False).windows("train", 64, seed=4)
    plain = Windows(read_corpus(path, progress=False).split("train").songs, 64, seed=4)
    for i in range(20):
        assert np.array_equal(mixed[i].picture, plain[i].picture)
        assert mixed[i].start == plain[i].start


def test_a_saved_corpus_is_read_like_any_other(tmp_path):
    corpus = corpus_of("a", 3, 100)
    again = read_corpus(corpus.save(tmp_path / "any name"), progress=False)
    assert [song.name for song in again.songs] == ["a0", "a1", "a2"]
    (tmp_path / "other").write_bytes(b"no corpus")
    with pytest.raises(OptionError, match="no MIDI file"):
        read_corpus(tmp_path / "other")


@pytest.mark.parametrize("mix", ["1", "1:2:3", "0:1", "1:-1", "a:b", "1:inf", "1:nan"])
def test_shares_that_do_not_fit_are_refused(mix):
    with pytest.raises(OptionError, match="for 2 corpora"):
        shares_of(mix, 2)


def test_shares_are_parts_of_one():
    assert shares_of("2:1", 2) == pytest.approx([2 / 3, 1 / 3])
    assert shares_of("", 4) == [0.25] * 4


def test_joined_songs_stand_one_after_the_other():
    joined = JoinedSongs([["a", "b"], [], ["c"]])
    assert list(joined) == ["a", "b", "c"]
    assert joined[2] == "c"
    with pytest.raises(IndexError):
        joined[3]


def test_a_run_learns_from_a_mixture_goes_on_and_names_its_corpora(
    two, tmp_path, monkeypatch, undrawn
):
    monkeypatch.setitem(CONFIGS, "toy", TOY)
    terms = {"ryan": {"title": "Ryan's", "terms": "free", "songs": 40}}
    (tmp_path / "short.json").write_text(json.dumps({"collections": terms}))
    options = dict(
        data=two, mix="2:1", model="toy", width=64, batch=4, lr=1e-2, warmup=2, valid_windows=4,
        threads=1, save_every=2, sample_every=100, steps=2, bar_position=True, local_head="on",
    )  # fmt: skip
    whole = train.TrainOptions(**options, out=str(tmp_path / "whole"))
    card = load_model(train.Trainer(whole, progress=False).run()).card
    assert card["data"] == "long.corpus, short.corpus"
    assert [row["data"] for row in card["corpora"]] == ["long.corpus", "short.corpus"]
    assert [row["share"] for row in card["corpora"]] == [0.667, 0.333]
    assert [row["terms"] for row in card["corpora"]] == ["", terms]

    # It goes on with the windows that follow.
    longer = replace(whole, steps=4)
    resumed = train.Trainer(longer, resume=True, progress=False)
    assert resumed.step == 2
    assert resumed.model.bar_position
    fresh = Mixture(two, "2:1", progress=False).windows("train", 64)
    for i in range(8, 16):
        assert np.array_equal(resumed.windows[i].picture, fresh[i].picture)
