"""Training: it learns, it saves whole files, and a killed run resumes to the same weights as an unbroken one."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pomkit import CheckpointError, OptionError, load_model, train
from pomkit.model import CONFIGS, HDiTConfig, Level

TOY = HDiTConfig(patch=(8, 16), levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32)
ROOT = Path(__file__).resolve().parent.parent
COMMAND = """
import sys
from pomkit import train
from pomkit.model import CONFIGS, HDiTConfig, Level
CONFIGS["toy"] = HDiTConfig.from_dict({toy!r})
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def toy_size(monkeypatch):
    monkeypatch.setitem(CONFIGS, "toy", TOY)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def options(out, **changes):
    return train.TrainOptions(**{"out": str(out), "model": "toy", "width": 64, "batch": 4, "steps": 12, "save_every": 4,
                                 "lr": 1e-2, "sample_every": 100, "warmup": 2, "valid_windows": 4, "threads": 1} | changes)


def arguments(o):
    words = []
    for key, value in vars(o).items():
        name = key.replace("_", "-")
        words += [f"--{name}" if value else f"--no-{name}"] if isinstance(value, bool) else [f"--{name}", str(value)]
    return words


@pytest.mark.parametrize("process", ["cells", "edm"])
def test_a_run_killed_at_any_moment_ends_with_the_same_weights(process, tmp_path):
    whole = options(tmp_path / "whole", process=process)
    train.Trainer(whole, progress=False).run()
    broken = options(tmp_path / "broken", process=process)
    command = [sys.executable, "-c", COMMAND.format(toy=TOY.to_dict()), *arguments(broken)]
    state = tmp_path / "broken" / "state.safetensors"
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    resumed = train.Trainer(broken, resume=True, progress=False)
    assert 4 <= resumed.step <= 12
    resumed.run()
    a, b = load_file(tmp_path / "whole" / "model.safetensors"), load_file(tmp_path / "broken" / "model.safetensors")
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    infos = [json.loads((tmp_path / x / "model.json").read_text())["card"] for x in ("whole", "broken")]
    assert infos[0]["valid_loss"] == infos[1]["valid_loss"] and infos[0]["steps"] == 12


@pytest.mark.parametrize("process", ["cells", "edm"])
def test_one_batch_can_be_learned(process, tmp_path):
    trainer = train.Trainer(options(tmp_path, process=process, steps=120, cooldown=0.5), progress=False)
    batch = torch.utils.data.default_collate([train.TrainSet(trainer.windows, trainer.model, 4)[i] for i in range(4)])
    trainer.model.train()
    first = [trainer._train_step(batch, train.generator_for(0, i)) for i in range(120)]
    assert np.mean(first[-20:]) < 0.6 * np.mean(first[:3])


def test_the_chord_rows_are_no_cells(tmp_path):
    trainer = train.Trainer(options(tmp_path), progress=False)
    items = [train.TrainSet(trainer.windows, trainer.model, 40)[i] for i in range(40)]
    assert any(trainer.windows[i].mask[:8].any() for i in range(40))              # masked chords are drawn, but not scored
    assert not any(item["mask"][:8].any() or item["mask"][120:].any() for item in items)


def test_what_a_run_leaves_behind(tmp_path):
    path = train.Trainer(options(tmp_path, sample_every=6), progress=False).run()
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"state.safetensors", "model.safetensors", "model.json", "loss.png", "samples_0000006.png",
                     "samples_0000012.png"}
    model = load_model(path)
    assert model.process == "cells" and model.card["steps"] == 12 and model.width == 64


def test_a_run_is_not_overwritten_and_nothing_is_not_resumed(tmp_path):
    with pytest.raises(OptionError, match="nothing to resume"):
        train.Trainer(options(tmp_path), resume=True, progress=False)
    (tmp_path / "state.safetensors").write_bytes(b"rubbish")
    with pytest.raises(OptionError, match="--resume"):
        train.Trainer(options(tmp_path), progress=False)
    with pytest.raises(CheckpointError, match="state.safetensors"):
        train.Trainer(options(tmp_path), resume=True, progress=False)


@pytest.mark.parametrize("wrong", [{"process": "gan"}, {"model": "huge"}, {"data": "no/such/folder"}])
def test_bad_options(wrong, tmp_path, capsys):
    assert train.main(arguments(options(tmp_path / "x", **wrong))) == 2
    assert "pomkit.train:" in capsys.readouterr().err


def test_the_rate_warms_up_and_cools_down(tmp_path):
    trainer = train.Trainer(options(tmp_path, steps=100, warmup=10, cooldown=0.2), progress=False)
    rates = [trainer.rate(i) for i in range(100)]
    assert rates[0] == 0.1 and rates[9:80] == [1.0] * 71 and rates[-1] == pytest.approx(0.05)


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and all(f"--{name.replace('_', '-')}" in text for name in vars(options("x")))
