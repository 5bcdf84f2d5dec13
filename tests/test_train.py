"""Training: it learns, it saves whole files, and a killed run resumes.

It then comes to the same weights as an unbroken run.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pomkit import CheckpointError, OptionError, load_model, train
from pomkit.networks.attention import Level
from pomkit.networks.hdit import CONFIGS, HDiTConfig
from pomkit.processes.densities import sample_sigma
from pomkit.training import TrainSet
from pomkit.training.state import Progress, make_card

TOY = HDiTConfig(
    patch=(8, 16), levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32
)
ROOT = Path(__file__).resolve().parent.parent
COMMAND = """
import sys
from pomkit import train
from pomkit.networks.hdit import CONFIGS, HDiTConfig
from pomkit.play import plot
plot.save_pairs = plot.loss_plot = lambda *arguments, **options: None
CONFIGS["toy"] = HDiTConfig.from_dict({toy!r})
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def toy_size(monkeypatch, undrawn):
    monkeypatch.setitem(CONFIGS, "toy", TOY)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def options(out, **changes):
    # fmt: off
    small = dict(
        out=str(out), model="toy", width=64, batch=4, steps=12, save_every=4, lr=1e-2,
        sample_every=100, warmup=2, valid_windows=4, threads=1,
    )
    # fmt: on
    return train.TrainOptions(**small | changes)


def arguments(o):
    words = []
    for key, value in vars(o).items():
        name = key.replace("_", "-")
        words += (
            [f"--{name}" if value else f"--no-{name}"]
            if isinstance(value, bool)
            else [f"--{name}", str(value)]
        )
    return words


@pytest.mark.parametrize("process", ["cells", "edm"])
def test_a_run_killed_at_any_moment_ends_with_the_same_weights(process, tmp_path):
    whole = options(tmp_path / "whole", process=process)
    train.Trainer(whole, progress=False).run()
    broken = options(tmp_path / "broken", process=process)
    command = [sys.executable, "-c", COMMAND.format(toy=TOY.to_dict()), *arguments(broken)]
    state = tmp_path / "broken" / "state.safetensors"
    child = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    resumed = train.Trainer(broken, resume=True, progress=False)
    assert 4 <= resumed.step <= 12
    resumed.run()
    a, b = (
        load_file(tmp_path / "whole" / "model.safetensors"),
        load_file(tmp_path / "broken" / "model.safetensors"),
    )
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    infos = [
        json.loads((tmp_path / x / "model.json").read_text())["card"] for x in ("whole", "broken")
    ]
    assert all(
        infos[0][key] == infos[1][key]
        for key in ("valid_loss", "curve", "songs_sha256", "device", "pictures")
    )
    assert infos[0]["steps"] == 12
    assert infos[0]["curve"][-1] == [12, infos[0]["valid_loss"]]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_nearly_all_is_hidden_as_often_as_asked_and_all_runs_are_measured_alike(power, tmp_path):
    o = options(tmp_path / str(power), process="cells", steps=0, hidden_power=power)
    trainer = train.Trainer(o, progress=False)
    items = TrainSet(trainer.windows, trainer.model, 64, o)
    shares = np.array([items[i]["t"] for i in range(64)])
    # P(1 - u^power > t) = (1 - t)^(1 / power), u uniform
    for t in (0.25, 0.5, 0.9):
        assert np.mean(shares > t) == pytest.approx((1 - t) ** (1 / power), abs=1 / 32)

    plain = train.Trainer(options(tmp_path / "plain", process="cells", steps=0), progress=False)
    assert trainer.valid_loss() == plain.valid_loss()


@pytest.mark.parametrize("power", [0, -1, 11, float("nan")])
def test_an_odd_power_of_the_hidden_share_is_refused(power, tmp_path):
    with pytest.raises(OptionError, match="hidden_power"):
        train.Trainer(options(tmp_path, hidden_power=power), progress=False)


@pytest.mark.parametrize("process", ["cells", "edm"])
def test_one_batch_can_be_learned(process, tmp_path):
    o = options(
        tmp_path, process=process, steps=120, cooldown=0.5, sigma_data=0.15
    )  # .15: the notes' spread about black
    trainer = train.Trainer(o, progress=False)
    items = train.TrainSet(trainer.windows, trainer.model, 4, "loguniform")
    batch = torch.utils.data.default_collate([items[i] for i in range(4)])
    trainer.model.train()
    first, again = [], torch.Generator().manual_seed(0)
    for _ in range(120):  # the same windows, each time with other noise
        fresh = (
            {"t": torch.rand(4, generator=again)}
            if process == "cells"
            else {"sigma": sample_sigma("lognormal:-0.6,1.3", 4, again)}
        )
        draw = torch.rand if process == "cells" else torch.randn
        first.append(
            trainer._train_step(
                batch | fresh | {"noise": draw(batch["noise"].shape, generator=again)}
            )
        )
    assert np.mean(first[-20:]) < 0.6 * np.mean(first[:3])


def test_two_processes_step_as_one_with_both_their_windows(tmp_path):
    """`accelerate launch`, gloo on the CPU: the losses and the weights are those of one process.

    Both train with the same global batch.
    """

    def run_of(process, n):
        out = tmp_path / process / str(n)
        return options(out, process=process, steps=6, save_every=3, batch=8 // n)

    runs = {(process, n): run_of(process, n) for process in ("cells", "edm") for n in (1, 2)}
    train.Trainer(runs["cells", 1], progress=False).run()
    train.Trainer(runs["edm", 1], progress=False).run()
    script = tmp_path / "toy.py"
    commands = [arguments(runs[process, 2]) for process in ("cells", "edm")]
    both = f"for words in {commands!r}:\n    assert train.main(words) == 0"
    text = COMMAND.format(toy=TOY.to_dict())
    script.write_text(text.replace("sys.exit(train.main(sys.argv[1:]))", both))
    launch = (
        "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 "
        "--mixed_precision no --dynamo_backend no --main_process_port 0"
    )
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *launch.split(), str(script)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for process in ("cells", "edm"):
        one, two = (tmp_path / process / str(n) for n in (1, 2))
        infos = []
        for folder in (one, two):
            with safe_open(folder / "state.safetensors", "pt") as file:
                infos.append(json.loads(file.metadata()["info"]))
        assert infos[1]["options"]["batch"] == 4
        assert [step for step, _ in infos[1]["log"]] == [3, 6]
        for key in ("log", "valid"):
            assert np.allclose(infos[0][key], infos[1][key], rtol=1e-4)
        assert load_model(two / "model").card["pictures"] == 6 * 8
        a, b = (load_file(folder / "model.safetensors") for folder in (one, two))
        assert all(torch.allclose(a[k], b[k], atol=1e-3) for k in a)


def test_the_card_says_how_long_the_device_waits_for_data(tmp_path, monkeypatch):
    """A clock on which a window takes one second, a step three, and nothing else any."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], process_time=time.process_time)
    monkeypatch.setattr("pomkit.training.trainer.time", clock)

    def takes(seconds, function):
        def slow(*arguments):
            now[0] += seconds
            return function(*arguments)

        return slow

    for owner, name, seconds in (
        (train.TrainSet, "__getitem__", 1),
        (train.Trainer, "_train_step", 3),
    ):
        monkeypatch.setattr(owner, name, takes(seconds, getattr(owner, name)))
    o = options(tmp_path, steps=3, batch=2, valid_windows=1, save_every=100)
    card = load_model(train.Trainer(o, progress=False).run()).card
    assert card["waiting_for_data"] == 2 / (2 + 3)
    assert card["pictures_per_second"] == 2 / (2 + 3)


def test_a_compiled_network_is_saved_like_any_other(tmp_path):
    plain, compiled = (options(tmp_path / str(c), compile=c, steps=3) for c in (False, True))
    with torch.compiler.set_stance(
        "force_eager"
    ):  # no compiler is needed: what is held is the wiring
        a, b = (load_file(train.Trainer(o, progress=False).run()) for o in (plain, compiled))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_the_parametrisation_of_edm_is_saved_and_the_shipped_model_keeps_its_own(tmp_path):
    model = load_model(
        train.Trainer(
            options(tmp_path, process="edm", head="pixels", steps=1, sigma_data=0.15),
            progress=False,
        ).run()
    )
    assert (model.sigma_data, model.centre) == (0.15, -1.0)
    spec = json.loads((ROOT / "assets" / "models" / "tiny-edm-pixels.json").read_text())
    shipped = load_model("tiny-edm-pixels")
    assert (shipped.sigma_data, shipped.centre) == (spec["sigma_data"], spec.get("centre", 0.0))


def test_the_chord_rows_are_no_cells(tmp_path):
    trainer = train.Trainer(options(tmp_path), progress=False)
    items = [train.TrainSet(trainer.windows, trainer.model, 4, "loguniform")[i] for i in range(40)]
    assert any(
        trainer.windows[i].mask[:8].any() for i in range(40)
    )  # masked chords are drawn, but not scored
    assert not any(item["mask"][:8].any() or item["mask"][120:].any() for item in items)


def test_what_a_run_leaves_behind(tmp_path, monkeypatch):
    monkeypatch.undo()  # with figures
    monkeypatch.setitem(CONFIGS, "toy", TOY)
    path = train.Trainer(options(tmp_path, steps=4, sample_every=2), progress=False).run()
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {
        "state.safetensors",
        "model.safetensors",
        "model.json",
        "loss.png",
        "samples_0000002.png",
        "samples_0000004.png",
    }
    model = load_model(path)
    assert model.process == "cells"
    assert model.card["steps"] == 4
    assert model.width == 64


def test_a_run_learns_the_masks_that_it_is_asked_to(tmp_path):
    """Only bars are hidden: of all rows, and in the validation windows, too."""
    run = train.Trainer(options(tmp_path, mask_mix={"bars": 1, "noise": 0}), progress=False)
    for windows in (run.windows, run.valid):
        for number in range(5):
            rows = windows[number].mask[12:-12]
            assert (rows == rows[:1]).all()
            assert not rows.all()


@pytest.mark.parametrize(
    "mix, told",
    [
        ({"bras": 1}, "'bras'; choose from all, chords only"),
        ({"bars": -1}, "share of bars masks is -1"),
        ({"bars": True}, "share of bars masks is True"),
        ({"bars": 0}, "all masks are 0"),
        ("bars", "'bars'; choose from"),
    ],
)
def test_masks_that_do_not_exist_are_refused(tmp_path, mix, told):
    with pytest.raises(OptionError, match=re.escape(told)):
        train.Trainer(options(tmp_path, mask_mix=mix), progress=False)


def test_a_run_is_not_overwritten_and_nothing_is_not_resumed(tmp_path):
    with pytest.raises(OptionError, match="nothing to resume"):
        train.Trainer(options(tmp_path), resume=True, progress=False)
    (tmp_path / "state.safetensors").write_bytes(b"rubbish")
    with pytest.raises(OptionError, match="--resume"):
        train.Trainer(options(tmp_path), progress=False)
    with pytest.raises(CheckpointError, match="state.safetensors"):
        train.Trainer(options(tmp_path), resume=True, progress=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"process": "gan"},
        {"model": "huge"},
        {"data": "no/such/folder"},
        {"process": "edm", "sigma_density": "lognormal:wide"},
    ],
)
def test_bad_options(wrong, tmp_path, capsys):
    assert train.main(arguments(options(tmp_path / "x", **wrong))) == 2
    assert "pomkit.train:" in capsys.readouterr().err


def test_the_rate_warms_up_and_cools_down(tmp_path):
    trainer = train.Trainer(options(tmp_path, steps=100, warmup=10, cooldown=0.2), progress=False)
    rates = [trainer.rate(i) for i in range(100)]
    assert rates[0] == 0.1
    assert rates[9:80] == [1.0] * 71
    assert rates[-1] == pytest.approx(0.05)


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(f"--{name.replace('_', '-')}" in text for name in vars(options("x")))


@pytest.mark.parametrize("process", ["cells", "edm"])
def test_fine_tuning_begins_with_the_weights_of_a_checkpoint_and_takes_over_what_it_is(
    process, tmp_path
):
    first = train.Trainer(options(tmp_path / "first", process=process), progress=False).run()
    tuned = options(
        tmp_path / "tuned",
        init=str(first),
        process="edm",
        head="pixels",
        width=128,
        centre=0.5,
        lr=0.0,
        steps=4,
    )
    trainer = train.Trainer(tuned, progress=False)
    assert (trainer.options.process, trainer.options.width, trainer.windows.width) == (
        process,
        64,
        64,
    )
    a, b = load_file(first), load_file(trainer.run())
    assert a.keys() == b.keys()
    assert all(torch.allclose(a[k], b[k], atol=1e-6) for k in a)  # at a rate of 0 nothing changes
    again = train.Trainer(tuned, resume=True, progress=False)
    assert again.step == 4
    with pytest.raises(CheckpointError, match="no model 'tinny'"):
        train.Trainer(options(tmp_path / "other", init="tinny"), progress=False)


def test_training_leaves_the_processor_as_it_was(tmp_path):
    """Denormal numbers are rounded to 0 in a step, and nowhere else."""
    train.Trainer(options(tmp_path, steps=1), progress=False).run()
    assert torch.tensor(torch.finfo(torch.float32).tiny) / 2 > 0


def test_a_card_names_no_folder_of_the_machine(tmp_path):
    first = tmp_path / "mine" / "model"
    own = {"sounds": "/home/someone/sounds.safetensors", "order": "time", "rate": 3}
    progress = Progress(step=1, log=[(1, 0.5)], valid=[(1, 0.5)])
    card = make_card(progress, options(tmp_path / "out", init=str(first), own=own), ["a"], 4)
    assert card["options"]["init"] == "mine/model"
    told = {"sounds": "someone/sounds.safetensors", "order": "time", "rate": 3}
    assert card["options"]["own"] == told
    named = options(tmp_path / "out", init="tiny")
    assert make_card(progress, named, ["a"], 4)["options"]["init"] == "tiny"
