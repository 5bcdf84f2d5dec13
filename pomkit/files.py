"""Files are written whole or not at all, and where the shipped files lie.

All of pomkit writes through this module. A reader never sees half a file, and what stood at a path
stays there when the writing fails.

    write("out/song.mid", content)              # bytes, or a function that fills the open file
    with write_atomically("out/a.wav") as file:
        file.write(content)
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

AnyPath = str | os.PathLike[str]


@contextlib.contextmanager
def write_atomically(path: AnyPath) -> Iterator[IO[bytes]]:
    """Open a binary file that takes its place at `path` only when all is written.

    Missing folders are made. Until then the bytes go to a hidden file in the same folder, because
    only there can a file be renamed in one indivisible step.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.urandom(4).hex()}"
    try:
        with open(temporary, "xb") as file:
            yield file

            # On the disk before the rename: a power cut must not leave an empty file.
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(path: AnyPath, content: bytes | Callable[[IO[bytes]], object]) -> Path:
    """Write a file atomically and return its path.

    Args:
        path: where it shall stand.
        content: its bytes, or a function that writes them into the open file.
    """
    with write_atomically(path) as file:
        if callable(content):
            content(file)
        else:
            file.write(content)
    return Path(path)


def assets_dir() -> Path:
    """The folder of the shipped songs and models: in the package, or beside it in a clone."""
    package = Path(__file__).resolve().parent
    inside = package / "assets"
    return inside if inside.is_dir() else package.parent / "assets"
