"""Checkpoints: what is saved is loaded; what is damaged is refused with one clear error."""

import json

import pytest
import torch

from pomkit import CheckpointError, load_model, save_model
from pomkit.cells import Cells
from pomkit.checkpoint import model_names
from pomkit.model import HDiT, HDiTConfig, Level


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    config = HDiTConfig(
        Cells.in_channels(2),
        4,
        (8, 16),
        (Level(1, 32, 64, d_head=16),),
        mapping_width=16,
        mapping_d_ff=32,
    )
    model = Cells(HDiT(config), (50, 100), width=64)
    torch.nn.init.normal_(model.network.patch_out.linear.weight)
    return model, save_model(tmp_path / "toy", model, {"data": "none"})


def test_save_and_load(saved):
    model, path = saved
    again = load_model(path, "cpu")
    assert (
        again.process == "cells"
        and again.card == {"data": "none"}
        and again.velocities == (50, 100)
        and again.width == 64
    )
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert not again.training
    x = torch.zeros(1, 128, 64, dtype=torch.long), torch.zeros(1, 3, 128, 64), torch.ones(1)
    assert torch.equal(model(*x), again(*x))
    assert (
        load_model(path.with_suffix(""), "cpu").width
        == load_model(path.with_suffix(".json"), "cpu").width
        == 64
    )


def test_half_precision_files_load_as_float32(saved, tmp_path):
    path = save_model(tmp_path / "half", saved[0], dtype=torch.float16)
    assert path.stat().st_size < 0.7 * saved[1].stat().st_size
    assert all(p.dtype == torch.float32 for p in load_model(path, "cpu").parameters())


@pytest.mark.parametrize("place", [0.02, 0.5, 0.99])
def test_a_flipped_byte_is_found(saved, place):
    data = bytearray(saved[1].read_bytes())
    data[int(place * len(data))] ^= 1
    saved[1].write_bytes(data)
    with pytest.raises(CheckpointError, match=r"toy\.safetensors is damaged"):
        load_model(saved[1])


def test_other_faults(saved, tmp_path):
    path = saved[1]
    spec = json.loads(path.with_suffix(".json").read_text())

    def with_json(text):
        path.with_suffix(".json").write_text(text)
        with pytest.raises(CheckpointError) as error:
            load_model(path)
        return str(error.value)

    other = json.loads(json.dumps(spec))
    other["network"]["levels"][0]["width"] = 48
    assert "architecture" in with_json(json.dumps(other))
    assert "architecture" in with_json(json.dumps(spec | {"process": "gan"}))
    assert "architecture" in with_json(
        json.dumps({k: v for k, v in spec.items() if k != "network"})
    )
    assert "format" in with_json(json.dumps(spec | {"format": "other"}))
    assert "toy.json" in with_json("{")
    assert "format" in with_json("[]")
    path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match="missing"):
        load_model(path)
    with pytest.raises(CheckpointError, match="no model 'giant'"):
        load_model("giant")


@pytest.mark.parametrize("name", ["tiny", "tiny-edm", "tiny-edm-pixels"])
def test_shipped_models_load_and_have_cards(name):
    model = load_model(name, "cpu")
    assert name in model_names() and model.process == ("edm" if "edm" in name else "cells")
    assert {
        "data",
        "songs",
        "steps",
        "pictures",
        "hours",
        "train_loss",
        "valid_loss",
        "evaluation",
    } <= set(model.card)
