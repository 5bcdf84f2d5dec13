"""Every public name of version 0.1.0 is still found by its old path, as attribute and by import."""

import json
import random
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from unittest import mock

import pytest

import pomkit

ROOT = Path(__file__).parents[1]
# Module -> its public names, written down before the modules went into folders.
OLD: dict[str, list[str]] = json.loads((ROOT / "tests" / "names_of_0_1_0.json").read_text())
TOP = OLD.pop("__init__")


@pytest.mark.parametrize("module", OLD)
def test_an_old_module_has_all_its_names(module):
    found = import_module(f"pomkit.{module}")
    missing = [name for name in OLD[module] if not hasattr(found, name)]
    assert not missing


# Prints module -> what Python complains of. Each begins without any file of pomkit, as in a Python
# that has just been started. The libraries stay loaded: they took most of the time.
IMPORTS = """
import json
import sys
import traceback

FORMS = '''
import pomkit.{module}
from pomkit import {module} as one
from pomkit.{module} import {name}
assert one is pomkit.{module}
assert one.{name} is {name}
'''

def forget_pomkit():
    for loaded in [name for name in sys.modules if name.partition(".")[0] == "pomkit"]:
        del sys.modules[loaded]
    sys.meta_path[:] = [f for f in sys.meta_path if type(f).__module__ != "pomkit.faces"]

complaints = {}
for module, name in json.loads(sys.argv[1]).items():
    forget_pomkit()
    try:
        exec(FORMS.format(module=module, name=name), {})
    except BaseException:
        complaints[module] = traceback.format_exc()
print(json.dumps(complaints))
"""


@pytest.fixture(scope="module")
def complaints() -> dict[str, str]:
    """Module -> complaint, of the modules that have one; one Python imports them all."""
    names = json.dumps({module: OLD[module][-1] for module in OLD})
    command = [sys.executable, "-c", IMPORTS, names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", OLD)
def test_an_old_module_is_imported_in_every_form(module, complaints):
    assert module not in complaints, complaints[module]


def test_the_package_has_all_its_names():
    assert set(TOP) - {"__version__"} <= set(pomkit.__all__)
    assert not [name for name in TOP if not hasattr(pomkit, name)]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = import_module("pomkit.metrics").no_such_name
    with pytest.raises(ImportError):
        import_module("pomkit.no_such_module")


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ("pomkit.model.rotary", "pomkit.networks.attention.rotary"),
        ("pomkit.model.PIXELS", "pomkit.networks.hdit.PIXEL_AXES"),
    ],
)
def test_what_is_replaced_by_its_old_path_is_replaced_where_it_stands(old, today):
    before = resolve_name(old)
    with mock.patch(old, "another"):
        assert resolve_name(today) == "another"
        assert resolve_name(old) == "another"
    assert resolve_name(today) is before
    assert resolve_name(old) is before


def test_an_old_module_takes_new_names_itself():
    module = import_module("pomkit.model")
    module.new_name = 1
    assert module.new_name == 1
    del module.new_name
    assert not hasattr(module, "new_name")


@pytest.mark.parametrize("seed", range(3))
def test_no_name_hides_another(seed):
    """Whatever is touched first: an imported file takes its name in its folder from then on."""
    modules = set(OLD) - {"__main__"}  # no attribute, then as now
    names = [f"{module}.{name}" for module in sorted(modules) for name in OLD[module]]
    names += [name for name in TOP if name != "__version__"]
    random.Random(seed).shuffle(names)
    code = """
import sys
from functools import reduce
import pomkit
import types
def find(path): return reduce(getattr, path.split("."), pomkit)
kinds = {path: isinstance(find(path), types.ModuleType) for path in sys.argv[1:]}
again = {path: isinstance(find(path), types.ModuleType) for path in sys.argv[1:]}
assert kinds == again
hidden = [path for path, kind in kinds.items() if kind and "." in path]
assert not hidden, hidden
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_file_bears_the_name_of_a_function():
    files = {path.stem for path in (ROOT / "pomkit").rglob("*.py")}
    folders = {path.parent.name for path in (ROOT / "pomkit").rglob("__init__.py")}
    faces = [pomkit, *(import_module(f"pomkit.{folder}") for folder in folders - {"pomkit"})]
    for module in faces:
        for name in module.__all__:
            value = getattr(module, name)
            assert name not in files | folders or not callable(value), name
