"""Scores that music21 brings along become a corpus; most of it is tested without music21."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_song

from pomkit import PomkitError, Song, read_midi
from pomkit.data import scores, songs, split_of


def measure(left="", right=""):
    """A measure with repeat signs, as music21 has them."""
    sides = [SimpleNamespace(direction=side) if side else None for side in (left, right)]
    return SimpleNamespace(leftBarline=sides[0], rightBarline=sides[1])


class Score:
    """A score with endings: (numbers, measures) each."""

    def __init__(self, *endings):
        self.endings = endings

    def recurse(self):
        return self

    def getElementsByClass(self, name):
        for numbers, measures in self.endings:
            yield SimpleNamespace(numberRange=numbers, getSpannedElements=lambda m=measures: m)


def test_repeats_are_played():
    plain = [measure() for _ in range(3)]
    assert scores.played_order(plain, Score()) == [0, 1, 2]

    # AABB, the first repeat without a sign at its beginning.
    bars = [measure(), measure(right="end"), measure(left="start"), measure(right="end"), measure()]
    assert scores.played_order(bars, Score()) == [0, 1, 0, 1, 2, 3, 2, 3, 4]


def test_endings_are_played_in_their_turn():
    bars = [measure("start"), measure(), measure(right="end"), measure(), measure()]
    score = Score(([1], [bars[2]]), ([2], [bars[3]]))
    assert scores.played_order(bars, score) == [0, 1, 2, 0, 1, 3, 4]

    # A second repeat with endings of its own.
    bars += [measure("start"), measure(right="end"), measure()]
    score = Score(([1], [bars[2]]), ([2], [bars[3]]), ([1], [bars[6]]), ([2], [bars[7]]))
    assert scores.played_order(bars, score) == [0, 1, 2, 0, 1, 3, 4, 5, 6, 5, 7]


def test_a_bar_that_a_repeat_cuts_in_two_is_one_bar():
    # A pickup, and the same before the repeat: 2 + 12 + 10 | 2 + 12 + 10.
    lines = [0, 2, 14, 24, 26, 38, 48]
    assert scores.joined_bars(lines, [12] * 6) == (0, 2, 14, 26, 38)

    # What does not fill a bar stays.
    assert scores.joined_bars([0, 12, 18, 30], [12] * 3) == (0, 12, 18)


def test_a_tune_comes_once_in_whatever_key_and_rhythm():
    one = make_song(np.random.default_rng(1), end=300, chords=False)
    other = make_song(np.random.default_rng(2), end=300, chords=False)
    notes = one.transpose(3).notes.copy()
    notes["onset"] = notes["onset"] * 2 + 6
    same = Song(notes, name="same")
    one = Song(one.notes, name="one")
    other = Song(other.notes, name="other")
    kept = list(scores.without_twins([one, same, other]))
    assert [getattr(each, "name", "") for each in kept] == ["one", "same", "other"]
    assert kept[1] == scores.Failure("same", "the tune of one")
    assert isinstance(kept[2], Song)


def test_what_pomkit_ships_stays_unseen():
    shipped = read_midi(songs()["ode_to_joy"]).transpose(-2)
    found = list(scores.without_twins([Song(shipped.notes, name="mine")]))
    assert found == [scores.Failure("mine", "the tune of ode_to_joy")]


def test_the_movements_of_a_work_are_in_one_split():
    splits = {split_of(f"work{i}") for i in range(60)}
    assert splits == {"train", "valid", "test"}
    for i in range(60):
        assert {split_of(f"work{i}--movement{k}") for k in range(5)} == {split_of(f"work{i}")}


def test_works_are_found_by_collection(tmp_path):
    quartet = tmp_path / "mozart" / "k80" / "movement2.mxl"
    book = tmp_path / "oneills1850" / "0001-0050.abc"
    tune = tmp_path / "ryansMammoth" / "ReelOfTulloch.abc"
    foreign = tmp_path / "bach" / "bwv66.6.mxl"
    for path in (quartet, book, tune, foreign):
        path.parent.mkdir(parents=True)
        path.write_text("X: 1\nK:G\n")
    book.write_text("".join(f"X: {i}\nK:G\nGABc|\n\n" for i in range(1, 14)))
    works = scores.find_works(tmp_path)
    assert [work.name for work in works] == [
        "mozart_k80--movement2", "ryan_ReelOfTulloch", "oneill_0001", "oneill_0007", "oneill_0013"
    ]  # fmt: skip
    assert works[-1].number == 13


def test_the_report_tells_terms_and_failures(tmp_path):
    works = [scores.Work(f"ryan_{i}", tmp_path) for i in range(3)]
    song = make_song(np.random.default_rng(1), end=100, chords=False)
    kept = [Song(song.notes, name="ryan_0", meters=((0, 6, 8),))]
    lost = [scores.Failure("ryan_1", "the tune of ryan_0"), scores.Failure("ryan_2", "bad 12")]
    report = scores.report_of(works, kept, lost)
    row = report["collections"]["ryan"]
    assert (row["works"], row["songs"], row["metres"]) == (3, 1, {"6/8": 1})
    assert sum(row["failures"].values()) == 2
    assert set(report["left_out"]) >= {"bach", "palestrina", "essenFolksong"}

    path = tmp_path / "music21.corpus"
    path.with_suffix(".json").write_text(json.dumps(report))
    assert scores.licence_of(path)["ryan"]["terms"] == scores.CHAMBERS
    assert scores.licence_of(tmp_path / "pop909.zip") == {}


def test_without_music21_it_is_said_what_to_install(monkeypatch):
    def missing(module):
        raise ImportError("no module")

    monkeypatch.setattr(scores.importlib, "import_module", missing)
    with pytest.raises(PomkitError, match=r"pip install .*pomkit\[score\]"):
        scores.convert_all("x.corpus")


def test_a_score_becomes_a_song(tmp_path):
    pytest.importorskip("music21", reason="music21 is not installed here")
    path = tmp_path / "tune.abc"
    path.write_text(
        "X:1\nT:A tune\nM:6/8\nL:1/8\nK:Em\n"
        "E|EFG B2B|c3-c2B|AGF E2D|B,3-B,2:|\n|:d|efg a3|b6|g3f3|e5:|\n"
    )
    song = scores.convert(scores.Work("tune", path))
    assert isinstance(song, Song)
    assert song.meters == ((0, 6, 8),)
    assert song.keys == ((0, "Em"),)
    assert song.bars[:4] == (0, 2, 14, 26)
    assert len(song.bars) == 17
    tied = song.notes[song.notes["onset"] == 14][0]
    assert (tied["pitch"], tied["duration"]) == (72, 10)
    assert song.end == 2 * 48 + 2 * 48
