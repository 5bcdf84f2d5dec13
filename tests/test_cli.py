"""The command line: the six files, and exit code 2 with one line for bad input."""

import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pomkit import data, masks, read_midi, render
from pomkit.__main__ import DEMO_MASK, DEMO_SONG, main
from pomkit.errors import exit_code

FILES = {"input.png", "mask.png", "result.png", "side_by_side.png", "result.mid", "result.wav"}


def picture(path):
    return np.array(Image.open(path).convert("RGB"))


def test_the_demo_leaves_six_files_and_new_notes_inside_the_mask_only(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--steps", "8"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == FILES
    before, after = picture(tmp_path / "input.png"), picture(tmp_path / "result.png")
    mask = masks.from_image(picture(tmp_path / "mask.png"))
    song = read_midi(data.songs()[DEMO_SONG])
    assert np.array_equal(before, render(song)) and np.array_equal(
        mask, masks.from_text(DEMO_MASK, song)
    )
    assert np.array_equal(before[~mask], after[~mask])
    new = (after[..., 0] > 0) & (before[..., 0] == 0) & mask
    assert new.any()
    result = read_midi(tmp_path / "result.mid")
    with wave.open(str(tmp_path / "result.wav")) as sound:
        seconds = sound.getnframes() / sound.getframerate()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16) / 32768
    ((_, tempo),) = result.tempi
    length = result.end / 4 * 60 / tempo
    assert length - 0.01 <= seconds <= length + 2.01
    assert 0.05 <= np.abs(samples).max() <= 1 and np.abs(samples).mean() > 1e-3
    said = capsys.readouterr().out
    assert "composed" in said and "seconds" in said and "make lab" in said


@pytest.mark.parametrize(
    "mask",
    ["melody", "accompaniment", "continuation", "bars:2-3", "box:60-72,16-64", "melody+bars:1"],
)
def test_masks_of_the_command_line(mask, tmp_path):
    assert (
        main(
            [
                DEMO_SONG,
                "--mask",
                mask,
                "--out",
                str(tmp_path),
                "--steps",
                "2",
                "--width",
                "128",
                "--quiet",
            ]
        )
        == 0
    )


def test_a_painted_image_is_a_mask(tmp_path):
    song = read_midi(data.songs()[DEMO_SONG])
    before = render(song)
    painted = str(tmp_path / "painted.png")
    Image.fromarray(masks.paint(before, masks.bars(before, 2, 3))).save(painted)
    assert (
        main(
            [
                DEMO_SONG,
                "--mask",
                painted,
                "--out",
                str(tmp_path / "out"),
                "--steps",
                "2",
                "--quiet",
            ]
        )
        == 0
    )


def test_the_other_process_and_its_methods(tmp_path):
    for method in ("conditioned", "repaint"):
        assert (
            main(
                [
                    "--model",
                    "tiny-edm",
                    "--method",
                    method,
                    "--steps",
                    "3",
                    "--out",
                    str(tmp_path),
                    "--quiet",
                ]
            )
            == 0
        )
        assert {p.name for p in tmp_path.iterdir()} == FILES


BAD = [
    ["nowhere.mid"],
    ["--mask", "bars:0-3"],
    ["--mask", "verse"],
    ["--mask", "missing.png"],
    ["--steps", "0"],
    ["--model", "gigantic"],
    ["--sampler", "euler"],
    ["--model", "tiny-edm", "--sampler", "unheard-of"],
    ["--U", "0"],
    ["--width", "0"],
    ["--start", "-1"],
    ["--candidates", "0"],
    ["--temperature", "0"],
]


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_input_is_one_line_and_exit_code_2(arguments, tmp_path, capsys):
    assert main([*arguments, "--out", str(tmp_path / "out"), "--quiet"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in error if line.startswith("pomkit:")]) == 1


def test_from_outside_no_traceback(tmp_path):
    (tmp_path / "song.mid").write_text("no music")
    done = subprocess.run(
        [sys.executable, "-m", "pomkit", str(tmp_path / "song.mid")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr and "song.mid" in done.stderr
    helped = subprocess.run(
        [sys.executable, "-m", "pomkit", "--help"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert helped.returncode == 0 and "16th" in helped.stdout and "default" in helped.stdout


def test_a_cut_file_is_refused_and_salvaged_when_asked(tmp_path, capsys):
    whole = data.songs()["auld_lang_syne"].read_bytes()
    (tmp_path / "cut.mid").write_bytes(whole[: len(whole) * 3 // 4])
    arguments = [str(tmp_path / "cut.mid"), "--mask", "bars:2-3", "--width", "64", "--steps", "2"]
    arguments += ["--out", str(tmp_path / "out")]
    assert (
        main(arguments) == 2
        and "salvage" in capsys.readouterr().err
        and not (tmp_path / "out").exists()
    )
    assert main([*arguments, "--salvage"]) == 0
    assert (
        "salvaged what came before the damage" in capsys.readouterr().out
        and (tmp_path / "out" / "result.mid").exists()
    )


@pytest.mark.parametrize("module", ["pomkit", "pomkit.train", "pomkit.evaluate"])
def test_the_commands_need_no_docstrings(module):
    asked = subprocess.run(
        [sys.executable, "-OO", "-m", module, "--help"], capture_output=True, text=True
    )
    assert asked.returncode == 0
    assert "usage" in asked.stdout


def test_ctrl_c_is_one_line_and_exit_code_130(capsys):
    def work():
        raise KeyboardInterrupt

    assert exit_code("pomkit", work) == 130
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("pomkit: interrupted")


INTERRUPTER = """
import os, signal, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            # In a text that `exec` runs, as dataclasses are made of.
            exec("os.kill(os.getpid(), signal.SIGINT)\\nfor _ in range(10**7): pass")

# What was begun in the background of a shell ignores Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupter())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_ctrl_c_while_torch_is_imported_is_one_line_and_exit_code_130(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTER)
    package = Path(data.__file__).parents[2]
    paths = os.pathsep.join([str(tmp_path), str(package)])
    run = subprocess.run(
        [sys.executable, "-m", "pomkit", "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        cwd=tmp_path,
    )
    assert run.returncode == 130
    assert run.stderr.strip().splitlines() == [
        "pomkit: interrupted; every file is whole or not there"
    ]
    assert not (tmp_path / "out").exists()


def test_the_command_line_waits_with_what_takes_long_to_import():
    code = (
        "import sys, pomkit.__main__ as command; command.parser()\n"
        "print(sys.modules.keys() & {'numpy', 'tqdm'})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
