"""The judge: real music measures as itself, chance below it, and what it found is written down."""

import json

import numpy as np
import pytest
import torch

from pomkit import Chord, OptionError, Song, data, evaluate, load_model, parse, save_model
from pomkit.cells import Cells
from pomkit.model import HDiT, HDiTConfig, Level
from pomkit.music.tables import NOTE_DTYPE

SCALE = np.array([0, 2, 4, 5, 7, 9, 11])


def make_songs(count, seed=0):
    """Songs of eighth notes in C major, an upbeat of 3 steps before the first bar, with their chord."""
    rng = np.random.default_rng(seed)
    return [
        Song(
            np.array(
                [(3 + 2 * i, 2, 60 + SCALE[rng.integers(7)], 80, 1) for i in range(300)]
                + [(3 + 2 * i, 2, 48 + (0, 4, 7)[i % 3], 80, 0) for i in range(300)],
                NOTE_DTYPE,
            ),
            (Chord(3, 600, "C:maj"),),
            ("PIANO", "MELODY"),
            tuple(range(3, 600, 16)),
            name=f"{seed}.{k}",
        )
        for k in range(count)
    ]


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


def test_real_is_itself_chance_is_not_and_nothing_leaks(model, songs):
    judge = evaluate.Judge(model, songs, make_songs(3, 1), count=6, progress=False, steps=2)
    for task in evaluate.TASKS:
        rows = judge(task)
        assert {"real halves", "real", "chance", "permuted", "nearest", "uncover"} <= set(rows)
        assert ("copy" in rows) == (task not in ("unconditional", "chords only")) and (
            "markov" in rows
        ) == (task == "melody")
        real, chance = rows["real"], rows["chance"]
        assert real["density"] == chance["density"] == [1, 1, 1] and real["note_f1"] == [1, 1, 1]
        if task == "unconditional":  # no key, grid or chords are asked for
            assert not {"in_scale", "on_grid", "chord_tones", "chord_accuracy_over_real"} & set(
                real
            )
        elif task == "loop middle":
            assert (
                real["in_scale"][0]
                == real["on_grid"][0]
                == real["chord_accuracy_over_real"][0]
                == 1
            )
            assert chance["in_scale"][0] < 0.8 and chance["on_grid"][0] < 0.8
            assert chance["in_scale_minus_real"][0] == pytest.approx(
                chance["in_scale"][0] - 1, abs=1e-3
            )
            assert chance["chord_tones"][0] < real["chord_tones"][0]
            assert (
                chance["overlapping_area"][0] < real["overlapping_area"][0]
                and chance["kld"][0] > real["kld"][0]
            )
        assert real["longest_shared"][0] >= 2 if task == "melody" else True
        for row in list(rows)[1:]:
            assert rows[row]["changed_outside"] == [0, 0, 0]
        assert all(
            low <= value <= high or value == pytest.approx(low, abs=0.1)
            for row in rows.values()
            for value, low, high in row.values()
        )
        width = 512 if task == "loop middle" else 64
        assert all(
            before.shape == after.shape == (128, width, 3)
            and np.array_equal(before[~mask], after[~mask])
            for before, mask, after in judge.samples
        )
        assert len(judge.samples) == (2 if task in evaluate.SHAPES else 6)
        text = evaluate.as_markdown({task: rows})
        assert f"| {task} | chance | 1 |" in text and len(text.splitlines()) == 2 + len(rows)
    with pytest.raises(OptionError, match="task"):
        judge("dance")


def test_intervals_come_from_songs_and_are_the_same_again(model, songs):
    first, again = (
        evaluate.Judge(model, songs, count=6, progress=False, steps=2)("continuation")
        for _ in range(2)
    )
    assert first == again and "nearest" not in first and "longest_shared" not in first["real"]
    value, low, high = first["chance"]["in_scale"]
    assert low < value < high
    assert (
        first["real halves"]["overlapping_area"][1] <= first["real halves"]["overlapping_area"][2]
    )


def test_windows_are_fixed_and_begin_on_bars(songs):
    windows = evaluate.held_out(songs, 64, 6)
    assert [(s.name, start) for s, start, _ in windows] == [
        (s.name, start) for s, start, _ in evaluate.held_out(songs, 64, 6)
    ]
    assert (
        all(start % 16 == 3 for _, start, _ in windows)
        and len({s.name for s, _, _ in windows}) == 3
    )


def test_the_shapes_are_drawn_alike_at_any_width():
    small, large = (
        np.array([evaluate.drawn(name, None, 0, width) for name in evaluate.SHAPES])
        for width in (128, 512)
    )
    assert small.shape == (6, 128, 128) and large.shape == (6, 128, 512)
    assert (
        small.any(axis=(1, 2)).all()
        and large.any(axis=(1, 2)).all()
        and not small[:, :8].any()
        and not large[:, 120:].any()
    )
    rising, falling = (127 - mask[:, (40, 470)].argmax(axis=0) for mask in large[:2])
    assert rising[0] < rising[1] and falling[0] > falling[1]
    assert (
        np.unique(large.sum(axis=(1, 2))).size == 5
    )  # rising and falling line are of one size, all others not


def test_the_command_writes_report_samples_and_card_and_goes_on(
    model, songs, tmp_path, capsys, monkeypatch
):
    for song in songs:
        song.write_midi(tmp_path / "songs" / f"{song.name}.mid")
    path, out = save_model(tmp_path / "model", model, {"data": "toy"}), tmp_path / "report"
    split = data.split_of(songs[0].name)
    command = [
        str(path),
        "--data",
        str(tmp_path / "songs"),
        "--split",
        split,
        "--count",
        "2",
        "--steps",
        "2",
        "--out",
        str(out),
    ]
    assert evaluate.main([*command, "--tasks", "melody"]) == 0
    assert "| melody | real |" in capsys.readouterr().out
    first = json.loads((out / "report.json").read_text())
    assert list(first["tasks"]) == ["melody"] and first["settings"]["steps"] == 2
    asked = []
    judge_task = evaluate.Judge.judge_task
    monkeypatch.setattr(
        evaluate.Judge,
        "judge_task",
        lambda self, task: asked.append(task) or judge_task(self, task),
    )
    assert (
        evaluate.main(
            [*command, "--tasks", "melody", "continuation", "--write-card", "--temperature", "0.9"]
        )
        == 0
    )
    assert asked == ["melody", "continuation"]  # other settings: from the beginning
    assert (
        evaluate.main(
            [*command, "--tasks", "melody", "continuation", "arch", "--temperature", "0.9"]
        )
        == 0
    )
    assert asked == ["melody", "continuation", "arch"]
    report = json.loads((out / "report.json").read_text())
    assert list(report["tasks"]) == asked and report["tasks"]["melody"]["uncover"][
        "changed_outside"
    ] == [0, 0, 0]
    text = (out / "report.md").read_text()
    assert "| arch | permuted |" in text and "overlapping area" in text and "How to read it" in text
    assert (out / "measures.png").stat().st_size > 10000
    count = len(list((out / "samples" / "melody").glob("*.mid")))
    assert count == 2 == len(list((out / "samples" / "melody").glob("*.wav")))
    assert len(parse(out / "samples" / "melody" / "0.png").notes) >= 0
    card = load_model(path, "cpu").card
    assert (
        path.with_suffix(".png").exists()
        and card["data"] == "toy"
        and card["evaluation"]["windows"] == 2
    )
    assert card["evaluation"]["tasks"]["continuation"]["real"]["note F1"] == "1"


def test_wrong_requests_are_told(model, tmp_path, capsys):
    path = str(save_model(tmp_path / "model", model))
    assert evaluate.main([path, "--data", str(tmp_path / "nothing")]) == 2
    for wrong in (["--dance", "2"], ["--steps"], ["--picture", "1"]):
        with pytest.raises(SystemExit):
            evaluate.main([path, "--data", "x", *wrong])
        assert "temperature" in capsys.readouterr().err
