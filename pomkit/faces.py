"""Lazy faces: names that are imported when they are first used, and the paths of older versions.

`import pomkit` shall be quick and must not need torch, so no `__init__` of pomkit imports its
modules. It calls `face` instead, which gives it the two hooks that Python asks for missing names:

    __all__, __getattr__, __dir__ = face(__name__, {"song": "Song read_midi", "masks": ""})

From then on `Song` and `read_midi` are names of the folder, and so are its modules `song` and
`masks`; each is imported at its first use.

`keep_old_paths` does the same for modules of an older version that have moved or were divided:
`from pomkit.notes import Song` goes on working. Python looks for a module with the finders in
`sys.meta_path`, one after the other; an `OldPaths` stands last there and knows the old names.
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
            A module with a dot before it stands beside the package, and is no name of it.

    Returns:
        The three of them. `__getattr__` raises AttributeError for a name that nobody gives.
    """
    home_of = {}
    for home, given in homes.items():
        home_of.update(dict.fromkeys(given.split(), home))
    modules = [home for home in homes if not home.startswith(".")]
    public = sorted({*home_of, *modules})

    def get(name: str) -> Any:
        if name in home_of:
            value = getattr(import_module(f".{home_of[name]}", package), name)
        elif name in modules:
            value = import_module(f".{name}", package)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")

        # Kept as a plain attribute: Python does not ask `__getattr__` a second time.
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return public, get, names


def keep_old_paths(
    package: str, old: Mapping[str, str], renamed: Mapping[str, Mapping[str, str]]
) -> None:
    """Let `import package.old` go on working.

    Args:
        package: whose paths they are.
        old: old module -> the modules, parted by spaces, where its names stand today.
        renamed: old module -> old name -> today's name.
    """
    sys.meta_path.append(OldPaths(package, old, renamed))


class OldPaths(MetaPathFinder, Loader):
    """Finds and makes modules by the paths of an older version."""

    def __init__(
        self, package: str, old: Mapping[str, str], renamed: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.package = package
        self.renamed = renamed
        self.homes: dict[str, list[str]] = {}
        for name, homes in old.items():
            self.homes[name] = [f"{package}.{home}" for home in homes.split()]

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Say whether this finder makes the module `fullname`: Python asks every finder."""
        package, _, name = fullname.rpartition(".")
        is_old = package == self.package and name in self.homes
        return ModuleSpec(fullname, self) if is_old else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make the module that stands for the old one."""
        name = spec.name.rpartition(".")[2]
        return OldModule(spec.name, self.homes[name], self.renamed.get(name, {}))

    def exec_module(self, module: ModuleType) -> None:
        """Take the real module instead where one file became one file and kept its names."""
        name = module.__name__.rpartition(".")[2]
        homes = self.homes[name]
        if len(homes) == 1 and name not in self.renamed:
            sys.modules[module.__name__] = import_module(homes[0])


class OldModule(ModuleType):
    """A module of an older version that was divided: its names stand in other modules now.

    It holds no names itself. To read, set or delete one is to do so where it stands today, so a
    program that replaces a function by its old path replaces the one that pomkit calls.
    """

    _homes: Sequence[str]
    _renamed: Mapping[str, str]
    _holders: dict[str, list[ModuleType]]

    def __init__(self, name: str, homes: Sequence[str], renamed: Mapping[str, str]) -> None:
        super().__init__(name, f"An older path; its names stand in {', '.join(homes)} now.")
        vars(self).update(_homes=homes, _renamed=renamed, _holders={})

    def __getattr__(self, name: str) -> Any:
        holders = self._holders_of(name)
        if not holders:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(holders[0], self._today(name))

    def __setattr__(self, name: str, value: Any) -> None:
        holders = self._holders_of(name)
        if not holders:
            super().__setattr__(name, value)
        for holder in holders:
            setattr(holder, self._today(name), value)

    def __delattr__(self, name: str) -> None:
        holders = self._holders_of(name)
        if not holders:
            super().__delattr__(name)
        for holder in holders:
            delattr(holder, self._today(name))

    def __dir__(self) -> Iterable[str]:
        names = set(self._renamed)
        for home in map(import_module, self._homes):
            names.update(name for name in vars(home) if not name.startswith("_"))
        return sorted(names)

    def _today(self, name: str) -> str:
        """What an old name is called today."""
        return self._renamed.get(name, name)

    def _holders_of(self, name: str) -> list[ModuleType]:
        """The modules in which an old name stands, remembered: it may be deleted and set again."""
        if name in self._holders or name.startswith("__"):
            return self._holders.get(name, [])

        today = self._today(name)
        homes = map(import_module, self._homes)
        holders = [home for home in homes if today in vars(home)]
        if holders:
            self._holders[name] = holders
        return holders
