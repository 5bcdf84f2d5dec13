"""The ladder's table: baselines that are counted, every rung on one judge, and a class's scores."""

import json
import math
from argparse import Namespace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_song

from pomkit import OptionError, Song, evaluate, save_model
from pomkit.data import read_corpus
from pomkit.data.corpus import split_of
from pomkit.judge import rungs as rungs_module
from pomkit.judge.leaderboard import split_hash
from pomkit.judge.rungs import RUNG_TASKS, Held, best_choice
from pomkit.ladder.counting import (
    CONTEXTS,
    StateTable,
    baseline_bits,
    per_unit,
    song_windows,
    spread_windows,
    window_starts,
)
from pomkit.music.tables import NOTE_DTYPE
from pomkit.processes.registry import FAMILIES, family
from pomkit.processes.states import ONSET, SUSTAIN


def tiny_corpus():
    """Two windows, (2, 64, 64), silent but for 4 cells of one row: by hand this can be counted."""
    cells = torch.zeros(2, 64, 64, dtype=torch.int64)
    cells[0, 5, :3] = torch.tensor([ONSET, SUSTAIN, SUSTAIN])
    cells[1, 5, 10] = ONSET
    return cells


def plain_song(steps=192):
    """A note of one step at every fourth step, from step 0 on."""
    notes = [(step, 1, 60, 80, 0) for step in range(0, steps, 4)]
    return Song(np.array(notes, NOTE_DTYPE), name="plain")


@pytest.fixture(scope="module")
def windows():
    songs = [make_song(np.random.default_rng(i), count=150) for i in range(4)]
    return spread_windows(songs, 16)


def entropy(*counts):
    """Bits of so many cells of each state, coded with their own shares."""
    return -sum(count * math.log2(count / sum(counts)) for count in counts if count)


# What the 8,192 cells of the tiny corpus cost by each table, counted by hand: 2 onsets, 2 sustains,
# all in row 5; after silence 2 onsets, after the 2 onsets 1 sustain, after the 2 sustains 1.
BY_HAND = {
    "nothing": entropy(8188, 2, 2),
    "pitch": entropy(124, 2, 2),
    "cell before": entropy(8186, 2) + 2 * entropy(1, 1),
    "cell before and pitch": entropy(122, 2) + 2 * entropy(1, 1),
}


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_tables_equal_a_count_by_hand(context):
    cells = tiny_corpus()
    table = StateTable(context).fit(cells, pseudocount=0)
    assert table.bits(cells).sum().item() == pytest.approx(BY_HAND[context], rel=1e-9)


def test_more_context_never_costs_more_where_it_was_counted(windows):
    bits = {}
    for context in CONTEXTS:
        table = StateTable(context).fit(windows, pseudocount=0)
        bits[context] = table.bits(windows).sum()
    assert bits["nothing"] > bits["pitch"] > bits["cell before and pitch"]
    assert bits["nothing"] > bits["cell before"] > bits["cell before and pitch"]


@pytest.mark.parametrize("context", CONTEXTS)
def test_probabilities_sum_to_1(windows, context):
    """In every context; and over all ways in which one row of four columns can be."""
    table = StateTable(context).fit(windows)
    assert table.share.sum(1).numpy() == pytest.approx(1, abs=1e-12)

    rows = torch.zeros(81, 64, 4, dtype=torch.int64)
    rows[:, 30] = torch.tensor(list(product(range(3), repeat=4)))
    others = torch.zeros(1, 64, 4, dtype=torch.int64)
    silence = table.share[table.contexts_of(others), others][0, 30]
    total = (table.bits(others) - table.bits(rows)).exp2().sum() * silence.prod()
    assert total.item() == pytest.approx(1, abs=1e-9)


def test_a_note_s_share_is_all_bits_over_all_onsets():
    cells = tiny_corpus()
    shares = per_unit(torch.tensor([10.0, 6.0]), cells)
    assert shares == {"cell": 16 / 8192, "window": 8.0, "note": 8.0}
    assert "note" not in per_unit(torch.ones(2), cells * 0)


def test_songs_are_cut_at_bar_lines_into_windows_that_begin_anew():
    assert list(window_starts(range(0, 140, 12), 140)) == [0, 72]
    assert list(window_starts([0, 16, 32], 40)) == []
    song = Song(np.array([(0, 100, 60, 80, 0), (120, 8, 62, 80, 0)], NOTE_DTYPE))
    first, second = song_windows(song)
    assert first[35, 0] == ONSET
    assert second[35, 0] == ONSET
    assert second[35, 1] == SUSTAIN


def test_what_is_held_out_is_measured_with_what_was_counted_elsewhere(windows):
    cells = spread_windows([plain_song()], 2)
    assert cells.shape == (2, 64, 64)
    alike = baseline_bits(cells, cells)
    strange = baseline_bits(windows, cells)
    assert list(alike) == list(CONTEXTS)
    assert all(alike[context]["note"] < strange[context]["note"] for context in CONTEXTS)
    assert all(np.isfinite(shares["note"]) for shares in strange.values())


def test_songs_that_are_too_short_are_told():
    with pytest.raises(OptionError, match="longer"):
        spread_windows([plain_song(40)], 3)


# Every rung on one judge.


def song_of_eighths(number):
    """Eighth notes in C major over a broken chord, for 8 bars of a window and more."""
    rng = np.random.default_rng(number)
    scale = np.array([0, 2, 4, 5, 7, 9, 11])
    high = [(2 * i, 2, 60 + scale[rng.integers(7)], 80, 1) for i in range(160)]
    low = [(2 * i, 2, 48 + (0, 4, 7)[i % 3], 80, 0) for i in range(160)]
    bars = tuple(range(0, 320, 16))
    notes = np.array(high + low, NOTE_DTYPE)
    return Song(notes, (), ("PIANO", "MELODY"), bars, name=f"song {number}")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder of songs of which some are for training and some are held out, and those."""
    folder = tmp_path_factory.mktemp("songs")
    for number in range(200):
        song = song_of_eighths(number)
        if number < 4 or split_of(song.name) == "valid":
            song.write_midi(folder / f"{song.name}.mid")
    assert len(read_corpus(folder).split("valid").songs) >= 2
    return folder


@pytest.fixture(scope="module")
def rungs(tmp_path_factory):
    """A folder of toy checkpoints: any mask and a bound, continuations alone, and a damaged one."""
    folder = tmp_path_factory.mktemp("ladder")
    for number, name in enumerate(("coconet", "midinet")):
        torch.manual_seed(number)
        save_model(folder / name, family(name)("toy"), {"data": "nothing"})
    save_model(folder / "broken", family("pixelcnn")("toy"))
    (folder / "broken.safetensors").write_bytes(b"no weights")
    return folder


@pytest.fixture
def ask(corpus, tmp_path, monkeypatch):
    """Runs the command on the corpus; its --out is the test's own folder."""
    monkeypatch.setattr(evaluate, "BESIDE", "none of the shipped ones")
    shared = ["--data", str(corpus), "--count", "2", "--out", str(tmp_path / "out")]
    return lambda *arguments: evaluate.main([*map(str, arguments), *shared])


def read(path):
    return json.loads(path.read_text())


def test_the_ladder_is_one_table_with_empty_cells_for_what_is_not_answered(ask, rungs, tmp_path):
    assert ask("--ladder", rungs) == 0
    report = read(tmp_path / "out" / "ladder.json")
    coconet = report["rungs"]["coconet"]
    midinet = report["rungs"]["midinet"]
    assert list(coconet["tasks"]) == list(RUNG_TASKS)
    assert list(midinet["tasks"]) == ["continuation", "everything"]
    assert all(rows["changed_outside"] == [0, 0, 0] for rows in coconet["tasks"].values())
    assert {"real", "permuted", "nearest", "chance"} <= set(report["reference"]["melody"])

    # Bits are those of the same windows, or there are none.
    assert list(report["baselines"]) == list(CONTEXTS)
    assert coconet["likelihood"] == "bound"
    assert coconet["note"] > report["baselines"]["nothing"]["note"]
    assert midinet["likelihood"] == "none"
    assert "note" not in midinet
    assert midinet["calls"] >= 1
    assert "damaged" in report["rungs"]["broken"]["fault"]

    text = (tmp_path / "out" / "ladder.md").read_text()
    assert "| counted, given cell before and pitch |" in text
    row = next(line for line in text.splitlines() if line.startswith("| melody | midinet |"))
    assert set(row.removeprefix("| melody | midinet |")) == {"|", " "}


def test_a_table_goes_on_where_it_stopped(ask, rungs, tmp_path, monkeypatch):
    folder = tmp_path / "one"
    save_model(folder / "midinet", family("midinet")("toy"))
    assert ask("--ladder", folder) == 0
    first = read(tmp_path / "out" / "ladder.json")
    monkeypatch.setattr("pomkit.judge.judging.inpaint", None)
    assert ask("--ladder", folder) == 0
    assert read(tmp_path / "out" / "ladder.json") == first


def test_the_best_choice_has_the_largest_area_on_the_songs_for_tuning(monkeypatch):
    areas = {("uncover", 1.0): 0.5, ("once", 1.0): 0.6, ("once", 0.9): 0.7, ("once", 1.1): 0.2}
    asked = []

    def score(model, choice, held, task):
        asked.append((choice["method"], choice["temperature"]))
        assert held.songs == [other]
        return choice | {"overlapping_area": areas.get(asked[-1], 0.1)}

    monkeypatch.setattr(rungs_module, "scored", score)
    model = family("diffroll")("toy")
    song, other = song_of_eighths(0), song_of_eighths(1)
    held = Held([song], None, torch.zeros(0), per_unit, count=2, progress=False, tuning=[other])
    choice = best_choice(model, held)
    assert (choice["method"], choice["temperature"]) == ("once", 0.9)
    assert len(choice["tried"]) == len(asked) == 5
    assert len(set(asked)) == 5


# A class.


@pytest.fixture(scope="module")
def handed_in(corpus, rungs, tmp_path_factory):
    """The file that --submit writes for the smallest rung, which only continues."""
    out = tmp_path_factory.mktemp("out")
    what = [rungs / "midinet.safetensors", "--submit", "anna", "--tasks", "continuation"]
    shared = ["--data", corpus, "--count", "2", "--chords", "annotated", "--out", out]
    assert evaluate.main([*map(str, what), *map(str, shared)]) == 0
    return read(out / "anna.json")


def test_what_is_handed_in_says_how_it_was_measured(handed_in, corpus):
    held = read_corpus(corpus).split("valid").songs
    assert handed_in["name"] == "anna"
    assert handed_in["process"] == "midinet"
    assert handed_in["seed"] == 0
    assert handed_in["version"]
    assert handed_in["split_sha256"] == split_hash(held) == split_hash(list(held)[::-1])
    assert split_hash(list(held)[1:]) != split_hash(held)
    assert list(handed_in["tasks"]) == ["continuation"]
    assert handed_in["card"] == {"data": "nothing"}


def test_without_tasks_those_are_judged_that_the_model_answers():
    judge = evaluate.Judge(family("midinet")("toy"), [song_of_eighths(0)], count=1, progress=False)
    asked = evaluate.tasks_of(Namespace(tasks=list(evaluate.TASKS)), judge)
    assert "melody" not in asked
    assert {"unconditional", "continuation"} <= set(asked)
    assert evaluate.tasks_of(Namespace(tasks=["melody"]), judge) == ["melody"]


def test_a_class_is_one_table_and_what_does_not_fit_is_named(handed_in, tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()

    def put(name, area, **changes):
        task = handed_in["tasks"]["continuation"] | {"overlapping_area": [area, area, area]}
        entry = handed_in | {"name": name, "tasks": {"continuation": task}} | changes
        (folder / f"{name}.json").write_text(json.dumps(entry))

    put("anna", 0.4)
    put("ben", 0.7)
    put("carl", 0.9, split_sha256="other songs")
    put("dora", 0.9, tasks={"continuation": {"overlapping_area": 1}})
    (folder / "eve.json").write_text("{")
    (folder / "fay.json").write_text("[]")
    out = tmp_path / "table"
    assert evaluate.main(["--leaderboard", str(folder), "--out", str(out)]) == 0

    board = read(out / "leaderboard.json")
    assert [row["name"] for row in board["rows"]] == ["ben", "anna"]
    assert board["tasks"] == ["continuation"]
    assert set(board["refused"]) == {"carl.json", "dora.json", "eve.json", "fay.json"}
    assert "split_sha256" in board["refused"]["carl.json"]
    text = (out / "leaderboard.md").read_text()
    assert "| 1 | ben | midinet |" in text
    assert "- eve.json: " in text


def test_an_empty_folder_is_one_clear_error(ask, tmp_path, capsys):
    assert evaluate.main(["--leaderboard", str(tmp_path)]) == 2
    assert "--submit" in capsys.readouterr().err
    assert ask("--ladder", tmp_path) == 2
    assert "no checkpoint" in capsys.readouterr().err


# The guide in CONTRIBUTING.


def guide_code():
    """The whole rung that CONTRIBUTING shows."""
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
    guide = text.partition("### Your own rung in 60 lines")[2]
    return guide.partition("```python\n")[2].partition("```")[0]


@pytest.fixture
def guide(monkeypatch):
    """What the code of the guide defines; the family is gone after the test."""
    monkeypatch.setitem(FAMILIES, "columns", "soon:Soon")
    names = {"__name__": "columns"}
    exec(compile(guide_code(), "columns.py", "exec"), names)
    return names


def test_the_rung_of_the_guide_has_at_most_60_lines_of_code():
    assert len([line for line in guide_code().splitlines() if line.strip()]) <= 60


def test_the_rung_of_the_guide_sees_no_later_column(guide, windows):
    model = guide["Columns"]("toy").eval()
    with torch.no_grad():
        before = model(windows[:1])
        other = windows[:1].clone()
        other[..., 20] = (other[..., 20] + 1) % 3
        after = model(other)
    assert torch.equal(before[..., :21], after[..., :21])
    assert not torch.equal(before[..., 21], after[..., 21])


def test_the_rung_of_the_guide_is_trained_and_judged_beside_counted_tables(
    guide, corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluate, "BESIDE", "none of the shipped ones")
    shared = ["--data", str(corpus), "--out"]
    few = ["--steps", "40", "--batch", "8", "--warmup", "1", "--lr", "0.01"]
    how = ["--process", "columns", "--model", "toy", "--width", "64", "--valid-windows", "4"]
    runs = tmp_path / "runs"
    assert guide["COMMANDS"]["train"]([*how, *few, *shared, str(runs / "columns")]) == 0

    out = tmp_path / "out"
    arguments = ["--ladder", str(runs), "--count", "2", *shared, str(out)]
    assert guide["COMMANDS"]["evaluate"](arguments) == 0
    report = read(out / "ladder.json")
    rung = report["rungs"]["columns"]
    assert list(rung["tasks"]) == list(RUNG_TASKS)
    assert rung["calls"] == 32
    assert rung["likelihood"] == "exact"
    assert rung["note"] < report["baselines"]["nothing"]["note"]
