"""pyproject.toml, constraints.txt, environment.yml and the Makefile agree.

A wheel holds everything.
"""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import MatchSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
CONDA_LINES = [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
PIP_LINES = next(line["pip"] for line in ENVIRONMENT["dependencies"] if isinstance(line, dict))
CONDA_NAMES = {
    "pytorch": "torch",
    "matplotlib-base": "matplotlib",
}  # conda-forge's name: the registry's
CONDA_ONLY = {"python", "pip", "fluidsynth"}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed here")


def floors(*extras: str) -> dict[str, str]:
    """Normalised name: specifier of everything that pomkit and these extras ask for."""
    found: dict[str, str] = {}
    optional = PROJECT["optional-dependencies"]
    for line in PROJECT["dependencies"] + [line for extra in extras for line in optional[extra]]:
        requirement = Requirement(line)
        if requirement.name == "pomkit":
            found |= floors(*requirement.extras)
        else:
            found[canonicalize_name(requirement.name)] = str(requirement.specifier)
    return found


def constraints() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len({canonicalize_name(pin.name) for pin in pins}) == len(pins)
    return {canonicalize_name(pin.name): pin for pin in pins}


def run(*command: str) -> str:
    """What a command prints that runs in the repository's root."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("line", CONDA_LINES)
def test_conda_line_is_a_match_spec(line):
    spec = MatchSpec(line, strict=True)
    assert spec.name is not None
    name, _, version = line.partition(" ")
    assert spec.name.normalized == name
    assert (spec.version is None) == (not version)


@pytest.mark.parametrize("line", PIP_LINES)
def test_pip_line_is_a_requirement(line):
    assert Requirement(line).specifier


def test_environment_has_the_packages_and_floors_of_pyproject():
    listed = {}
    for line in CONDA_LINES + PIP_LINES:
        # A marker may stand behind a requirement of pip.
        name, _, version = line.partition(";")[0].strip().partition(" ")
        if name not in CONDA_ONLY:
            listed[canonicalize_name(CONDA_NAMES.get(name, name))] = version
    assert listed == floors("lab", "k-diffusion")


def test_environment_python_is_that_of_pyproject():
    python = next(line for line in CONDA_LINES if line.startswith("python "))
    assert python.removeprefix("python ").startswith(PROJECT["requires-python"] + ",")


def test_every_dependency_is_pinned_above_its_floor():
    pins = constraints()
    for name, floor in floors("dev", "score").items():
        (pin,) = pins[name].specifier
        assert pin.operator == "=="
        assert Requirement(f"{name}{floor}").specifier.contains(pin.version), name
        assert not Version(pin.version).local, f"{name}: a local version ties the pin to one index"


def test_k_diffusion_is_pinned_alike_and_always_without_its_dependencies():
    (pin,) = constraints()["k-diffusion"].specifier
    assert "k-diffusion" not in floors("dev")
    for file in ("pyproject.toml", "environment.yml"):
        text = (ROOT / file).read_text()
        lines = [
            line for line in text.splitlines() if "pip install" in line and "k-diffusion" in line
        ]
        assert lines, file
        assert all(f"--no-deps k-diffusion=={pin.version}" in line for line in lines), file
    assert "--no-deps k-diffusion" in (ROOT / "Makefile").read_text()


def test_colab_keeps_its_own_packages():
    """What Colab has satisfies the floors: pip leaves its packages in peace."""
    asked = floors("widgets")
    lines = (ROOT / "tests" / "colab.txt").read_text().splitlines()
    there = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {"torch", "numpy", "ipywidgets", "matplotlib"} <= there.keys()
    for name, version in there.items():
        assert Requirement(f"{name}{asked.get(name, '')}").specifier.contains(version), name
    assert "jupyterlab" not in asked


@needs_make
def test_makefile_has_its_targets_and_runs_pytest_last():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert {"setup", "demo", "test", "lab", "clean"} <= targets
    plan = run("make", "--no-print-directory", "-n", "test")
    last = plan.splitlines()[-1]
    assert "-m pytest notebooks tests" in last
    # The cells of a notebook run in one process, in their order.
    assert "--dist loadfile" in last
    assert all(tool in plan for tool in ("-m ruff check", "-m mypy", "--nbval-lax"))
    assert "make test" in (ROOT / ".ci" / "run").read_text()


# The variables of `make demo`, and parts of the command that it then runs.
# fmt: off
DEMOS = [
    ((), ["-m pomkit", '--out "out"']),
    (("MIDI=my song.mid", "MASK=bars:8-12", "OUT=there",
      "MODEL=tiny-edm", "SEED=3", "ARGS=--steps 5"),
     ['-m pomkit "my song.mid" --mask "bars:8-12"', '--out "there"',
      '--model "tiny-edm"', "--seed 3", "--steps 5"]),
]
# fmt: on


@needs_make
@pytest.mark.parametrize(("variables", "expected"), DEMOS)
def test_make_demo_passes_its_variables_on(variables, expected):
    plan = run("make", "--no-print-directory", "-n", "demo", *variables)
    command = plan[plan.rindex("-m pomkit") :]
    for part in expected:
        assert part in command


def test_a_wheel_holds_the_package_and_the_assets(tmp_path):
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"pomkit-{PROJECT['version']}-py3-none-any.whl"
    held = set(zipfile.ZipFile(wheel).namelist())
    assets = [
        f for f in (ROOT / "assets").rglob("*") if f.is_file() and "__pycache__" not in f.parts
    ]
    assert {f"pomkit/{f.relative_to(ROOT).as_posix()}" for f in assets} <= held
    assert {f.relative_to(ROOT).as_posix() for f in (ROOT / "pomkit").rglob("*.py")} <= held
    assert not [name for name in held if "__pycache__" in name or not name.startswith("pomkit")]
    (points,) = [name for name in held if name.endswith("entry_points.txt")]
    assert "pomkit = pomkit.__main__:main" in zipfile.ZipFile(wheel).read(points).decode()


def test_nothing_is_left_undone_and_the_address_stands_in_one_place():
    # fmt: off
    names = ("pyproject.toml", "constraints.txt", "Makefile", "environment.yml", "LICENSE",
             "CONTRIBUTING.md", ".gitignore", ".ci/run")
    # fmt: on
    text = "\n".join((ROOT / name).read_text() for name in names)
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    assert text.count("github.com/") == 1
    assert list(PROJECT["urls"]) == ["Repository"]
    assert PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


@pytest.mark.parametrize("path", sorted((ROOT / "assets").rglob("*.json")), ids=lambda p: p.stem)
def test_no_card_or_report_names_a_folder_of_the_machine_that_made_it(path):
    assert not re.findall(r'"/[^"]+/[^"]*"', path.read_text(encoding="utf-8"))
