"""The rungs that ship: small, whole, loaded by name, with a card that says how they learned."""

import json

import pytest
import torch

from pomkit import load_model
from pomkit.files import assets_dir
from pomkit.ladder.system import System

FILES = sorted((assets_dir() / "models" / "ladder").glob("*.safetensors"))
each_rung = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def test_they_are_small():
    """At most .65 MB each, 5 MB together: what is larger is remade by its command."""
    sizes = [path.stat().st_size for path in FILES]
    assert sizes
    assert max(sizes) <= 650_000
    assert sum(sizes) <= 5_000_000


@each_rung
def test_it_loads_by_its_name(path):
    model = load_model(f"ladder/{path.stem}", "cpu")
    assert isinstance(model, System)
    assert model.size == "tiny"
    assert all(torch.isfinite(weights).all() for weights in model.parameters())


@each_rung
def test_its_card_says_how_it_was_trained_and_what_half_precision_cost(path):
    card = json.loads(path.with_suffix(".json").read_text())["card"]
    assert card["options"]["minutes"] == 15
    assert card["cpu_minutes"] == pytest.approx(15, abs=0.5)
    before, after = list(card["shipped"].values())[1:]
    assert before is None or after == pytest.approx(before, rel=0.005)
