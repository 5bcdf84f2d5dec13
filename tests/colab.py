"""Run notebooks as Colab does: the first cell installs pomkit among Colab's own versions.

    python -m venv colab                                # any folder
    colab/bin/pip install -r tests/colab.txt nbclient   # torch as a CPU build of any version
    python -m tests.colab colab 00 08                   # which notebooks; none: 00

Each notebook runs in a folder of its own, beside a copy of this repository, with a stand-in for
the module `google.colab`. So the set-up cell does here what it does there, except that it
finds the repository and need not clone it. What is printed: whether every cell ran, and which
packages pip changed. Colab's page, its sound and its widgets are not tried by this.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What Python imports first, so that the set-up cell believes to be in Colab.
STAND_IN = {
    "google/__init__.py": "",
    "google/colab/__init__.py": "",
    "google/colab/output.py": (
        "class _widgets:\n    _installed_url = None\n\n"
        "def enable_custom_widget_manager():\n    print('widgets are on')\n"
    ),
    "sitecustomize.py": "import google.colab\n",
}
RUN = """
import json, sys
import nbformat
from nbclient import NotebookClient
source, out = sys.argv[1:]
nb = nbformat.read(source, 4)
client = NotebookClient(nb, timeout=3000, kernel_name="python3", allow_errors=True)
client.execute()
nbformat.write(nb, out)
"""


def packages(python: Path) -> set[str]:
    """The packages of an environment, with their versions."""
    command = [python, "-m", "pip", "list", "--format", "json"]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return {f"{package['name']} {package['version']}" for package in listed}


def lay_out(folder: Path) -> None:
    """A copy of the repository and the stand-in for Colab's module, in an empty folder."""
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    for name in filter(None, files):
        target = folder / "pomkit" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    for name, text in STAND_IN.items():
        target = folder / "stand_in" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def try_one(venv: Path, number: str, folder: Path) -> list[str]:
    """Run a notebook in a laid-out folder; what went wrong in it, a line per fault."""
    (source,) = (folder / "pomkit" / "notebooks").glob(f"{number}_*.ipynb")
    out = folder / source.name
    paths = {
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "stand_in"),
        "POMKIT_FAST": "1",
    }
    subprocess.run(
        [venv / "bin" / "python", "-c", RUN, source, out],
        cwd=folder,
        env=os.environ | paths,
        check=True,
    )

    faults = []
    for i, cell in enumerate(json.loads(out.read_text(encoding="utf-8"))["cells"]):
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                faults.append(f"cell {i}: {output['ename']}: {output['evalue']}")
            elif output.get("name") == "stderr":
                faults.append(f"cell {i}: {''.join(output['text'])[:300]}")
    return faults


def main(arguments: Sequence[str]) -> int:
    venv, *numbers = arguments
    before = packages(Path(venv).resolve() / "bin" / "python")
    failed = 0
    for number in numbers or ["00"]:
        with tempfile.TemporaryDirectory() as folder:
            lay_out(Path(folder))
            faults = try_one(Path(venv).resolve(), number, Path(folder))
        print(f"{number}: {'every cell ran' if not faults else ''}", *faults, sep="\n  ")
        failed += bool(faults)

    after = packages(Path(venv).resolve() / "bin" / "python")
    names = {package.split()[0] for package in after - before}
    changed = sorted(p for p in before - after if p.split()[0] in names)
    print("pip installed:", ", ".join(sorted(after - before)) or "nothing")
    print("pip changed:", ", ".join(changed) or "nothing that was there")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
