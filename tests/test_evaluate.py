"""The judge: real music measures as itself, chance below it, and the figures land in the card."""
import json

import numpy as np
import pytest
import torch

from pomkit import OptionError, Song, data, evaluate, load_model, save_model
from pomkit.cells import Cells
from pomkit.model import HDiT, HDiTConfig, Level
from pomkit.notes import NOTE_DTYPE

SCALE = np.array([0, 2, 4, 5, 7, 9, 11])


@pytest.fixture
def songs():
    """Three songs of eighth notes in C major, an upbeat of 3 steps before the first bar."""
    rng = np.random.default_rng(0)
    return [Song(np.array([(3 + 2 * i, 2, 60 + SCALE[rng.integers(7)], 80, 1) for i in range(150)]
                          + [(3 + 2 * i, 2, 48 + (0, 4, 7)[i % 3], 80, 0) for i in range(150)], NOTE_DTYPE),
                 parts=("PIANO", "MELODY"), bars=tuple(range(3, 300, 16)), name=str(k)) for k in range(3)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = HDiTConfig(Cells.in_channels(4), 6, (8, 16), (Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32)
    return Cells(HDiT(config), width=64).eval()


def test_real_is_one_chance_is_not_and_nothing_leaks(model, songs):
    table = evaluate.evaluate(model, songs, count=6, progress=False, steps=2)
    assert set(table) == set(evaluate.TASKS)
    for rows in table.values():
        assert set(rows) == {"real", "chance", "uncover"}
        assert rows["real"]["onsets_over_real_median"] == rows["real"]["in_scale"] == rows["real"]["on_grid"] == 1
        assert rows["chance"]["onsets_over_real_median"] == 1
        assert rows["chance"]["in_scale"] < 0.8 and rows["chance"]["on_grid"] < 0.8
        low, high = rows["chance"]["in_scale_95"]
        assert low <= rows["chance"]["in_scale"] <= high
        assert all(row["changed_outside"] == 0 for row in rows.values())
    assert "| middle bars | chance |" in evaluate.as_markdown(table)


def test_windows_are_fixed_and_begin_on_bars(songs):
    windows = evaluate.held_out(songs, 64, 6)
    assert [(s.name, start) for s, start, _ in windows] == [(s.name, start) for s, start, _ in evaluate.held_out(songs, 64, 6)]
    assert all(start % 16 == 3 for _, start, _ in windows) and len({s.name for s, _, _ in windows}) == 3


def test_the_command_writes_the_card(model, songs, tmp_path, capsys):
    for song in songs:
        song.write_midi(tmp_path / "songs" / f"{song.name}.mid")
    path = save_model(tmp_path / "model", model, {"data": "toy"})
    split = next(data.split_of(s.name) for s in songs)
    assert evaluate.main([str(path), "--data", str(tmp_path / "songs"), "--split", split, "--count", "2", "--steps", "2",
                          "--write-card"]) == 0
    assert "| melody | real |" in capsys.readouterr().out
    card = load_model(path, "cpu").card
    assert path.with_suffix(".png").exists()
    assert card["data"] == "toy" and card["evaluation"]["windows"] == 2 and json.dumps(card)
    assert evaluate.main([str(path), "--data", str(tmp_path / "nothing")]) == 2
    with pytest.raises(OptionError, match="task"):
        evaluate.evaluate(model, songs, tasks=["dance"], progress=False)
