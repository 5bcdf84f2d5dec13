"""The recipe of CONTRIBUTING from a mask idea to a judged model works as it stands there."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

import pomkit
from pomkit import masks
from pomkit.data import mask_mix
from pomkit.judge import tasks

ROOT = Path(__file__).parents[1]
RECIPE = (ROOT / "CONTRIBUTING.md").read_text().partition("### Try a mask idea next week")[2]
CODE = re.search(r"```python\n(.*?)```", RECIPE, re.DOTALL)[1]
LINES = re.search(r"```\n(python comb\.py.*?)```", RECIPE, re.DOTALL)[1].splitlines()


@pytest.fixture
def idea(monkeypatch, undrawn):
    """The names of comb.py; what it registers is taken back afterwards."""
    threads = torch.get_num_threads()
    for registry in (mask_mix.SHAPE_KINDS, mask_mix.MASK_MIX, tasks.TASKS):
        for name in [*registry, "comb", "every second beat"]:
            if name in registry:
                monkeypatch.setitem(registry, name, registry[name])
            else:
                monkeypatch.setitem(registry, name, None)
                del registry[name]
    names = {"__name__": "comb"}
    exec(compile(CODE, "comb.py", "exec"), names)
    yield names
    torch.set_num_threads(threads)


def test_every_second_beat_is_hidden(idea):
    mask = idea["comb"](64)
    assert mask[60].tolist() == ([True] * 4 + [False] * 4) * 8
    assert (mask == (mask & masks.everything(64))).all()


def test_training_draws_it_in_many_sizes(idea):
    song = pomkit.Song([(0, 4, 60, 80, 0), (60, 4, 72, 80, 0)])
    rng = np.random.default_rng(0)
    drawn = [mask_mix.random_mask(rng, song, 0, 64, {"comb": 1.0}) for _ in range(30)]
    assert len({int(mask.sum()) for mask in drawn}) >= 4
    assert sum(mask_mix.MASK_MIX.values()) == pytest.approx(1)


def test_the_commands_run_in_their_order(idea, tmp_path, monkeypatch):
    """Each line of the recipe, with two steps and one window instead of many."""
    monkeypatch.chdir(tmp_path)
    for line in LINES:
        words = shlex.split(line.partition("#")[0].replace("CORPUS", str(ROOT / "assets/songs")))
        command = "train" if "pomkit.train" in words else words[2]
        rest = words[3:]
        if command == "train":
            rest += ["--steps", "2", "--batch", "1", "--save-every", "2", "--valid-windows", "1"]
            rest += ["--threads", "1"]
        elif command == "evaluate":
            rest += ["--split", "train", "--count", "1", "--calls", "1"]
            rest.remove("--quick")
        assert not idea["COMMANDS"][command](rest), line
    assert (tmp_path / "comb.png").is_file()
    for name in ("before", "comb", "same"):
        assert "every second beat" in (tmp_path / "out" / name / "report.md").read_text()
