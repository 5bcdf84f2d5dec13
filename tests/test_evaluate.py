"""The judge: real music measures as itself, chance below it, and what it found is written down."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pomkit import Chord, OptionError, Song, data, evaluate, load_model, parse, render, save_model
from pomkit.cells import Cells
from pomkit.judge.tasks import as_brought
from pomkit.model import HDiT, HDiTConfig, Level
from pomkit.music.palette import read_chords
from pomkit.music.tables import NOTE_DTYPE

SCALE = np.array([0, 2, 4, 5, 7, 9, 11])


def make_songs(count, seed=0):
    """Songs of eighth notes in C major with their chord; an upbeat of 3 steps before bar 1."""
    rng = np.random.default_rng(seed)
    songs = []
    for number in range(count):
        high = [(3 + 2 * i, 2, 60 + SCALE[rng.integers(7)], 80, 1) for i in range(300)]
        low = [(3 + 2 * i, 2, 48 + (0, 4, 7)[i % 3], 80, 0) for i in range(300)]
        notes = np.array(high + low, NOTE_DTYPE)
        chords = (Chord(3, 600, "C:maj"),)
        bars = tuple(range(3, 600, 16))
        songs.append(Song(notes, chords, ("PIANO", "MELODY"), bars, name=f"{seed}.{number}"))
    return songs


def sparse_song():
    """A song with too few notes for any window of the judge."""
    return Song(np.array([(0, 4, 60, 80, 0), (500, 4, 72, 80, 0)], NOTE_DTYPE), name="sparse")


@pytest.fixture
def songs():
    return make_songs(3)


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = HDiTConfig(
        Cells.in_channels(4),
        6,
        (8, 16),
        (Level(1, 32, 64, d_head=16),),
        mapping_width=16,
        mapping_d_ff=32,
    )
    return Cells(HDiT(config), width=64).eval()


@pytest.fixture
def judge(model, songs):
    return evaluate.Judge(model, songs, make_songs(3, 1), count=6, progress=False, steps=2)


@pytest.mark.parametrize("task", evaluate.TASKS)
def test_real_is_itself_chance_is_not_and_nothing_leaks(judge, task):
    rows = judge(task)
    assert {"real halves", "real", "chance", "permuted", "nearest", "uncover"} <= set(rows)
    assert ("copy" in rows) == (task not in ("unconditional", "chords only"))
    assert ("markov" in rows) == (task == "melody")
    real = rows["real"]
    chance = rows["chance"]
    assert real["density"] == [1, 1, 1]
    assert chance["density"] == [1, 1, 1]
    assert real["note_f1"] == [1, 1, 1]

    # Every value lies in its interval, and outside the mask nothing changes.
    for row in list(rows)[1:]:
        assert rows[row]["changed_outside"] == [0, 0, 0]
    for row in rows.values():
        for value, low, high in row.values():
            assert low <= value <= high or value == pytest.approx(low, abs=0.1)

    width = 512 if task == "loop middle" else 64
    for before, mask, after in judge.samples:
        assert before.shape == (128, width, 3)
        assert after.shape == (128, width, 3)
        assert np.array_equal(before[~mask], after[~mask])
    assert len(judge.samples) == (2 if task in evaluate.SHAPES else 6)
    text = evaluate.as_markdown({task: rows})
    assert f"| {task} | chance | 1 |" in text
    assert len(text.splitlines()) == 2 + len(rows)


def test_where_nothing_is_known_no_key_grid_or_chords_are_asked_for(judge):
    real = judge("unconditional")["real"]
    assert not {"in_scale", "on_grid", "chord_tones", "chord_accuracy_over_real"} & set(real)


def test_chance_is_below_real_music(judge):
    rows = judge("loop middle")
    real = {name: values[0] for name, values in rows["real"].items()}
    chance = {name: values[0] for name, values in rows["chance"].items()}
    assert real["in_scale"] == 1
    assert real["on_grid"] == 1
    assert real["chord_accuracy_over_real"] == 1
    assert chance["in_scale"] < 0.8
    assert chance["on_grid"] < 0.8
    assert chance["in_scale_minus_real"] == pytest.approx(chance["in_scale"] - 1, abs=1e-3)
    assert chance["chord_tones"] < real["chord_tones"]
    assert chance["overlapping_area"] < real["overlapping_area"]
    assert chance["kld"] > real["kld"]


def test_a_row_stands_there_for_each_way_that_files_come(model, songs, monkeypatch):
    """What the model is shown is no change of the picture, and the chords to keep stay known."""
    shown = []

    def silence(model, picture, mask, **options):
        shown.append(len(read_chords(picture)))
        return np.where(mask[..., None], 0, picture)[None].astype(np.uint8)

    monkeypatch.setattr("pomkit.judge.judging.inpaint", silence)
    ways = ("annotated", "none", "estimated")
    judge = evaluate.Judge(model, songs, count=1, progress=False, chords=ways)
    rows = judge("loop middle")
    names = ["uncover", "uncover, chords none", "uncover, chords estimated"]
    assert [row for row in rows if row.startswith("uncover")] == names
    annotated, none, estimated = shown
    assert annotated == 1
    assert none == 0
    assert estimated >= 1
    assert all(rows[name]["changed_outside"] == [0, 0, 0] for name in names)
    assert all("chord_accuracy" in rows[name] for name in names)


def test_the_chords_that_a_model_is_shown_do_not_change_what_it_is_held_against(model, songs):
    judge = evaluate.Judge(model, songs, count=4, progress=False, chords=("none",), steps=2)
    alone = evaluate.Judge(model, songs, count=4, progress=False, steps=2)
    rows = judge("continuation")
    assert rows["real"] == alone("continuation")["real"]
    assert "uncover" not in rows
    for before, mask, after in judge.samples:
        assert np.array_equal(before[~mask], after[~mask])


def test_fragments_and_voice_leading_stand_beside_the_real_music(judge):
    rows = judge("melody")
    for row in ("real", "chance", "permuted", "copy", "nearest", "uncover"):
        assert {"note_length_over_real", "leaps", "turns", "broken_notes"} <= set(rows[row])
    assert rows["real"]["note_length_over_real"] == [1, 1, 1]
    assert rows["real"]["one_step_notes_minus_real"] == [0, 0, 0]
    assert rows["chance"]["note_length_over_real"][0] == pytest.approx(0.5)
    assert rows["chance"]["one_step_notes_minus_real"][0] == pytest.approx(1)
    assert rows["chance"]["leaps"][0] > rows["real"]["leaps"][0]


def test_melodies_share_sequences_with_the_training_songs(judge):
    assert judge("melody")["real"]["longest_shared"][0] >= 2


def test_an_unknown_task_is_told(judge):
    with pytest.raises(OptionError, match="task"):
        judge("dance")


@pytest.mark.parametrize("task", evaluate.TASKS)
def test_a_task_without_a_window_has_no_rows(model, task):
    result = evaluate.Judge(model, [sparse_song()], progress=False).judge_task(task)
    assert result.rows == {}
    assert result.samples == []


def test_intervals_come_from_songs_and_are_the_same_again(model, songs):
    first, again = (
        evaluate.Judge(model, songs, count=6, progress=False, steps=2)("continuation")
        for _ in range(2)
    )
    assert first == again
    assert "nearest" not in first
    assert "longest_shared" not in first["real"]
    value, low, high = first["chance"]["in_scale"]
    assert low < value < high
    _, low, high = first["real halves"]["overlapping_area"]
    assert low <= high


def test_windows_are_fixed_and_begin_on_bars(songs):
    windows = evaluate.held_out(songs, 64, 6)
    again = evaluate.held_out(songs, 64, 6)
    places = [(song.name, start) for song, start, _ in windows]
    assert places == [(song.name, start) for song, start, _ in again]
    assert all(start % 16 == 3 for _, start in places)
    assert len({name for name, _ in places}) == 3


def test_a_file_without_chords_shows_none_and_the_same_notes(songs):
    window = evaluate.held_out(songs, 64, 1)[0]
    shown = as_brought(window, "none")
    assert read_chords(window.picture)
    assert read_chords(shown) == ()
    assert np.array_equal(shown[8:120], window.picture[8:120])


def test_annotated_chords_are_those_of_the_window(songs):
    for window in evaluate.held_out(songs, 64, 3):
        assert np.array_equal(as_brought(window, "annotated"), window.picture)


def test_estimated_chords_are_what_a_user_without_any_would_get(songs):
    """They are read from the notes: other annotations do not change them."""
    song, start, picture = evaluate.held_out(songs, 64, 1)[0]
    other = replace(song, chords=(Chord(0, 600, "F#:maj"),))
    one, another = (
        as_brought(evaluate.Window(each, start, picture), "estimated") for each in (song, other)
    )
    assert read_chords(one)
    assert np.array_equal(one, another)
    assert np.array_equal(one, render(replace(song, chords=()).with_chords(), start, 64))


def test_the_shapes_are_drawn_alike_at_any_width():
    small, large = (
        np.array([evaluate.drawn(name, None, 0, width) for name in evaluate.SHAPES])
        for width in (128, 512)
    )
    assert small.shape == (6, 128, 128)
    assert large.shape == (6, 128, 512)
    assert small.any(axis=(1, 2)).all()
    assert large.any(axis=(1, 2)).all()
    assert not small[:, :8].any()
    assert not large[:, 120:].any()

    rising, falling = (127 - mask[:, (40, 470)].argmax(axis=0) for mask in large[:2])
    assert rising[0] < rising[1]
    assert falling[0] > falling[1]
    # Rising and falling line are of one size, all others not.
    assert np.unique(large.sum(axis=(1, 2))).size == 5


@pytest.fixture
def command(model, songs, tmp_path):
    """The command line for a saved model and a corpus of the songs of one split; `--out` is out."""
    folder = tmp_path / "songs"
    for song in songs:
        song.write_midi(folder / f"{song.name}.mid")

    path = save_model(tmp_path / "model", model, {"data": "toy"})
    split = data.split_of(songs[0].name)
    data_options = ["--data", str(folder), "--split", split]
    return [
        str(path),
        *data_options,
        "--count",
        "2",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "out"),
    ]


@pytest.fixture
def asked(monkeypatch):
    """The tasks that were judged, in their order."""
    tasks = []
    judge_task = evaluate.Judge.judge_task

    def noted(self, task):
        tasks.append(task)
        return judge_task(self, task)

    monkeypatch.setattr(evaluate.Judge, "judge_task", noted)
    return tasks


def read_report(folder):
    return json.loads((folder / "report.json").read_text())


def test_the_command_goes_on_where_it_stopped(command, asked, tmp_path, capsys):
    assert evaluate.main([*command, "--tasks", "melody"]) == 0
    assert "| melody | real |" in capsys.readouterr().out
    first = read_report(tmp_path / "out")
    assert list(first["tasks"]) == ["melody"]
    assert first["settings"]["steps"] == 2
    assert first["settings"]["chords"] == ["annotated", "none"]
    assert "uncover, chords none" in first["tasks"]["melody"]

    # With other settings it begins again; with the same it adds what is missing.
    hot = [*command, "--temperature", "0.9"]
    asked.clear()
    assert evaluate.main([*hot, "--tasks", "melody", "--write-card"]) == 0
    assert asked == ["melody"]
    assert evaluate.main([*hot, "--tasks", "melody", "arch"]) == 0
    assert asked == ["melody", "arch"]
    assert list(read_report(tmp_path / "out")["tasks"]) == asked


def test_a_task_that_is_named_twice_is_judged_once(command, asked, tmp_path):
    assert evaluate.main([*command, "--tasks", "melody", "melody"]) == 0
    assert asked == ["melody"]
    assert list(read_report(tmp_path / "out")["tasks"]) == ["melody"]


def test_the_command_writes_report_samples_and_card(command, tmp_path):
    assert evaluate.main([*command, "--tasks", "melody", "continuation", "--write-card"]) == 0
    out = tmp_path / "out"
    tables = read_report(out)["tasks"]
    assert tables["melody"]["uncover"]["changed_outside"] == [0, 0, 0]
    text = (out / "report.md").read_text()
    assert "| continuation | permuted |" in text
    assert "overlapping area" in text
    assert "How to read it" in text
    assert (out / "measures.png").stat().st_size > 10000

    samples = out / "samples" / "melody"
    assert len(list(samples.glob("*.mid"))) == 2
    assert len(list(samples.glob("*.wav"))) == 2
    assert len(parse(samples / "0.png").notes) >= 0

    card = load_model(command[0], "cpu").card
    assert (tmp_path / "model.png").exists()
    assert card["data"] == "toy"
    assert card["evaluation"]["windows"] == 2
    assert card["evaluation"]["tasks"]["continuation"]["real"]["note F1"] == "1"


def test_a_card_is_written_where_no_task_has_a_window(command, songs, tmp_path):
    """It failed for the figure beside the card, which shows samples of "continuation"."""
    for song in songs:
        Song(sparse_song().notes).write_midi(tmp_path / "songs" / f"{song.name}.mid")
    assert evaluate.main([*command, "--tasks", "continuation", "melody", "--write-card"]) == 0
    assert read_report(tmp_path / "out")["tasks"] == {"continuation": {}, "melody": {}}
    card = load_model(command[0], "cpu").card
    assert card["evaluation"]["tasks"] == {"continuation": {}, "melody": {}}
    assert not (tmp_path / "model.png").exists()


def test_wrong_requests_are_told(model, tmp_path, capsys):
    path = str(save_model(tmp_path / "model", model))
    assert evaluate.main([path, "--data", str(tmp_path / "nothing")]) == 2
    with pytest.raises(OptionError, match="chords"):
        evaluate.Judge(model, make_songs(3), chords=("guessed",))
    for wrong in (["--dance", "2"], ["--steps"], ["--picture", "1"]):
        with pytest.raises(SystemExit):
            evaluate.main([path, "--data", "x", *wrong])
        assert "temperature" in capsys.readouterr().err
