"""The trainings for a GPU that the course gives: two steps of each on the CPU, with small windows.

The commands are read from the text of notebooks 05 and 11. Only their size is changed: steps,
width, batch, loaders, and the compiler, which takes minutes.
"""

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from pomkit import load_model, train

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "notebooks")]

import course  # noqa: E402

FENCED = re.compile(r"^```\w+\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^!?(?:python|\{sys\.executable\}) -m pomkit\.train (.*)$", re.MULTILINE)
SIZES = {"steps": 2, "width": 64, "batch": 1, "loaders": 0, "save-every": 2, "valid-windows": 1}
SMALL = [word for name, value in SIZES.items() for word in (f"--{name}", str(value))]
SMALL += ["--threads", "1", "--warmup", "1", "--no-compile"]
FOUND = {
    (number, i): words
    for number in ("05", "11")
    for i, words in enumerate(
        command
        for cell in course.read(course.find([number])[0]).cells
        if cell.cell_type == "markdown"
        for block in FENCED.findall(cell.source)
        for command in COMMAND.findall(block)
    )
}


@pytest.fixture(autouse=True)
def threads(undrawn):
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def option(words, name):
    """The value of an option in a command's words, or None."""
    return words[words.index(name) + 1] if name in words else None


def trained(words, out, data, **changes):
    """Run a command of the text with small numbers, and load what it leaves behind."""
    words = [*words, *SMALL, "--data", data, "--out", str(out)]
    for name, value in changes.items():
        words += [f"--{name}", value]
    assert train.main(words) == 0
    return load_model(out / "model.safetensors", "cpu")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Three songs in a folder of their own: a corpus that is read at once."""
    folder = tmp_path_factory.mktemp("songs")
    for path in sorted((ROOT / "assets" / "songs").glob("*.mid"))[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    return str(folder)


def words_of(key):
    """The words of a command, as a shell would divide them; braces are Jupyter's."""
    return [word for word in shlex.split(FOUND[key]) if word != "{again}"]


def test_both_notebooks_walk_through_tiny_edm_and_reference():
    for number in ("05", "11"):
        text = " ".join(words for (where, _), words in FOUND.items() if where == number)
        assert "edm" in text
        assert "reference" in text


@pytest.mark.parametrize("key", FOUND, ids=lambda key: f"{key[0]}-{key[1]}")
def test_two_steps_of_each_command(key, songs, tmp_path):
    words = words_of(key)
    init = option(words, "--init")
    changes = {}
    if init and init.startswith("runs/reference"):
        # It goes on from the run of notebook 05: make a short one first.
        first = next(FOUND[other] for other in FOUND if "runs/reference " in FOUND[other] + " ")
        trained(shlex.split(first), tmp_path / "reference", songs)
        changes["init"] = str(tmp_path / "reference" / "model")
    elif init:
        # The checkpoint's own width holds.
        changes["width"] = str(load_model(init, "cpu").width)

    model = trained(words, tmp_path / "run", songs, **changes)
    process = option(words, "--process") or ("edm" if init and "edm" in init else model.process)
    assert model.process == process
    if option(words, "--head"):
        assert model.head == option(words, "--head")
    with safe_open(tmp_path / "run" / "state.safetensors", "pt") as state:
        assert state.keys()
