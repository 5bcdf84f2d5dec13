"""Files are written whole or not at all."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

AnyPath = str | os.PathLike[str]


@contextlib.contextmanager
def write_atomically(path: AnyPath) -> Iterator[IO[bytes]]:
    """Open a binary file that takes its place at `path` only when all is written (temporary file, fsync, rename)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.urandom(4).hex()}"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(path: AnyPath, content: bytes | Callable[[IO[bytes]], object]) -> Path:
    """Write bytes, or what a function writes into the open file, atomically to `path`, which is returned."""
    with write_atomically(path) as file:
        if callable(content):
            content(file)
        else:
            file.write(content)
    return Path(path)


def assets_dir() -> Path:
    """The folder of the shipped songs and models: inside the installed package, or beside it in a clone."""
    here = Path(__file__).resolve().parent
    return next(
        (p for p in (here / "assets", here.parent / "assets") if p.is_dir()), here.parent / "assets"
    )
