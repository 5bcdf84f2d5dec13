"""The floors of the package: who may import whom, what runs without torch, what `import` costs."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pomkit

PACKAGE = Path(__file__).parents[1] / "pomkit"
FOLDERS = [name for name in pomkit.FLOORS if (PACKAGE / name).is_dir()]
WITHOUT_TORCH = ["errors", "files", "faces", "music", "play", "data"]
HEAVY = [
    "torch", "matplotlib", "mido", "pretty_midi", "scipy", "mir_eval", "IPython", "ipywidgets",
    "ipycanvas", "anywidget", "soundfile", "accelerate", "PIL", "platformdirs", "tqdm", "joblib",
    "pandas", "safetensors", "music21", "verovio",
]  # fmt: skip
FILES = sorted(
    f.relative_to(PACKAGE).as_posix() for f in PACKAGE.rglob("*.py") if f.name != "__init__.py"
)


def reading_order(folder: str) -> list[str]:
    """The files of a folder as its `__init__` names them: "Reading order: one, two."."""
    text = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text())) or ""
    found = re.search(r"Reading order: ([\w,\s]+)\.", text)
    assert found, f"{folder}/__init__.py names no reading order"
    return re.split(r",\s*", found[1])


ORDER = [
    f"{floor}.{file}" if floor in FOLDERS else floor
    for floor in pomkit.FLOORS
    for file in (reading_order(floor) if floor in FOLDERS else [""])
]


def imported(source: str, module: str) -> Iterator[str]:
    """The pomkit modules, as "folder.file", that a module's source imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name.removeprefix("pomkit.") for a in node.names if "pomkit." in a.name)
        if not isinstance(node, ast.ImportFrom):
            continue
        base = (node.module or "").removeprefix("pomkit").removeprefix(".")
        if node.level:
            above = module.split(".")[: -node.level]
            base = ".".join([*above, *([node.module] if node.module else [])])
        elif not (node.module or "").startswith("pomkit"):
            continue
        whole = base == "" or base in FOLDERS  # then what is imported are modules
        yield from ([f"{base}.{a.name}".strip(".") for a in node.names] if whole else [base])


def run(code: str, *arguments: str) -> str:
    """What a fresh Python prints that runs `code` with the repository first on its path."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_walk_sees_every_form_of_import():
    lines = [
        "from . import a",
        "from .b import x",
        "from .. import errors",
        "from ..data.c import y",
        "import os",
        "def f():",
        "    import pomkit.play.d",
        "    from pomkit.files import y",
        "    from pomkit.play import e",
    ]
    found = set(imported("\n".join(lines), "music.here"))
    assert found == {"music.a", "music.b", "errors", "data.c", "play.d", "files", "play.e"}


def test_every_file_stands_on_a_floor():
    assert {file.removesuffix(".py").replace("/", ".") for file in FILES} == set(ORDER)


@pytest.mark.parametrize("file", FILES)
def test_a_file_imports_only_what_stands_above_it(file):
    module = file.removesuffix(".py").replace("/", ".")
    above = set(ORDER[: ORDER.index(module)])
    assert set(imported((PACKAGE / file).read_text(), module)) <= above


def test_the_floors_without_torch_work_without_torch():
    """With torch blocked they import, and a song goes to a picture, a mask, sound, and back."""
    modules = [m for m in ORDER if m.partition(".")[0] in WITHOUT_TORCH]
    out = run(
        """
import sys
sys.modules["torch"] = None
from importlib import import_module
for name in sys.argv[1:]:
    import_module("pomkit." + name)
import pomkit
song = pomkit.Song([(0, 4, 60, 80, 0), (4, 4, 64, 90, 0)]).canonical()
picture = pomkit.render(song)
assert pomkit.parse(picture) == song
assert pomkit.masks.bars(picture, 1).any()
assert len(pomkit.synthesize(song, sound="tones"))
print("done", sys.modules["torch"])
""",
        *modules,
    )
    assert out.strip() == "done None"


def test_import_pomkit_is_quick_and_loads_nothing_heavy():
    """Under 0.3 s of CPU time beyond Python's start, best of five: another task can only add."""
    code = """
import time
started = time.process_time()
import pomkit
took = time.process_time() - started
import json, sys
print(json.dumps([took, [name for name in sys.argv[1:] if name in sys.modules]]))
"""
    runs = [json.loads(run(code, *HEAVY)) for _ in range(5)]
    assert all(loaded == [] for _, loaded in runs)
    assert min(took for took, _ in runs) < 0.3


def test_reading_and_drawing_songs_loads_no_torch():
    code = """
import sys
import pomkit
pomkit.parse(pomkit.render(pomkit.Song([(0, 4, 60, 80, 0)])))
assert "torch" not in sys.modules and "matplotlib" not in sys.modules
pomkit.show
assert "torch" not in sys.modules and "matplotlib" not in sys.modules
"""
    run(code)


def test_every_public_name_resolves():
    out = run(
        "import pomkit; print(all(getattr(pomkit, name) is not None for name in pomkit.__all__))"
    )
    assert out.strip() == "True"
