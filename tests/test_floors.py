"""The floors of the package: who may import whom, what runs without torch, and what `import pomkit` costs."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pomkit"
ORDER = [
    "errors",
    "files",
    "chords",
    "midi",
    "notes",
    "picture",
    "masks",
    "editor",
    "corpus",
    "fetch",
    "data",
    "metrics",
    "baselines",
    "plot",
    "model",
    "kdiffusion",
    "edm",
    "cells",
    "rules",
    "checkpoint",
    "sample",
    "train",
    "audio",
    "evaluate",
    "widgets",
    "studio",
    "__main__",
]
WITHOUT_TORCH = [*ORDER[: ORDER.index("model")], "audio"]
HEAVY = [
    "torch",
    "matplotlib",
    "mido",
    "pretty_midi",
    "scipy",
    "mir_eval",
    "IPython",
    "ipywidgets",
    "ipycanvas",
    "soundfile",
    "accelerate",
    "PIL",
    "platformdirs",
    "tqdm",
    "joblib",
    "pandas",
    "safetensors",
]
MODULES = sorted(f.stem for f in PACKAGE.glob("*.py") if f.stem != "__init__")


def imported(source: str) -> set[str]:
    """The pomkit modules that a module's source imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("pomkit."):
            module = node.module.removeprefix("pomkit").removeprefix(".")
            found |= {module} if module else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("pomkit.")
            }
    return found


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
        "import os",
        "def f():",
        "    import pomkit.c",
        "    from pomkit.d import y",
        "    from pomkit import e",
    ]
    assert imported("\n".join(lines)) == {"a", "b", "c", "d", "e"}


def test_every_module_stands_on_a_floor():
    assert set(MODULES) <= set(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_above_it(module):
    above = set(ORDER[: ORDER.index(module)])
    assert imported((PACKAGE / f"{module}.py").read_text()) <= above


def test_the_floors_without_torch_work_without_torch():
    """With torch blocked, F0, F1 and the sound import, and a song goes to a picture, a mask, sound, back."""
    modules = [m for m in WITHOUT_TORCH if m in MODULES]
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
    """Under 0.3 s beyond Python's start, best of five: what else the machine does can only add."""
    code = """
import time
started = time.perf_counter()
import pomkit
took = time.perf_counter() - started
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
