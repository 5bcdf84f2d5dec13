"""Lazy faces: a folder's names, imported when first used, and the paths of older versions.

`import pomkit` shall be quick and needs no torch, so no `__init__` imports its modules at once.
`face` gives a package what it needs for that; `keep_old_paths` lets `pomkit.cells`, as attribute
and as import, find what stands elsewhere today.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def face(
    package: str, homes: Mapping[str, str]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Make `__all__`, `__getattr__` and `__dir__` of a package whose names load when first used.

    Args:
        package: the package's `__name__`.
        homes: module -> the names that it gives, parted by spaces; the modules are names, too.
            A module with a dot before it stands beside the package.
    """
    where = {name: module for module, names in homes.items() for name in names.split()}
    public = sorted({*where, *(module for module in homes if module[0] != ".")})

    def get(name: str) -> Any:
        if name in where:
            value = getattr(import_module(f".{where[name]}", package), name)
        elif name in public:
            value = import_module(f".{name}", package)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        sys.modules[package].__dict__[name] = value
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return public, get, names


class OldModule(ModuleType):
    """A module of an older version that was divided: its names come from where they stand now."""

    def __init__(self, name: str, homes: Sequence[str], renamed: Mapping[str, str]) -> None:
        super().__init__(name, f"An older path; its names stand in {', '.join(homes)} now.")
        self._homes, self._renamed = homes, renamed

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            wanted = self._renamed.get(name, name)
            for module in map(import_module, self._homes):
                if wanted in vars(module):
                    return vars(module)[wanted]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __dir__(self) -> Iterable[str]:
        names = {name for module in map(import_module, self._homes) for name in vars(module)}
        return sorted({*(name for name in names if not name.startswith("_")), *self._renamed})


class OldPaths(MetaPathFinder, Loader):
    """Finds modules by the paths of an older version: `old` names them and their homes today."""

    def __init__(
        self, package: str, old: Mapping[str, str], renamed: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.package, self.old, self.renamed = package, old, renamed

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        known = package == self.package and name in self.old
        return ModuleSpec(fullname, self) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        name = spec.name.rpartition(".")[2]
        homes = [f"{self.package}.{home}" for home in self.old[name].split()]
        return OldModule(spec.name, homes, self.renamed.get(name, {}))

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.rpartition(".")[2]
        homes = self.old[name].split()
        if len(homes) == 1 and name not in self.renamed:  # one file for one file: the same module
            sys.modules[module.__name__] = import_module(f"{self.package}.{homes[0]}")


def keep_old_paths(
    package: str, old: Mapping[str, str], renamed: Mapping[str, Mapping[str, str]]
) -> None:
    """Let `import package.old` go on working.

    Args:
        package: whose paths they are.
        old: module -> the modules, parted by spaces, where its names stand today.
        renamed: module -> old name -> today's name.
    """
    sys.meta_path.append(OldPaths(package, old, renamed))
