"""Corpora that can be downloaded: pinned by what their files hold, resumed where it broke off.

    corpus = read_corpus("pop909")            # or read_corpus(fetch("pop909"))

The law: everyone who fetches a corpus has the same files, or gets an error. Nothing is downloaded
unless it is asked for by its name, and never twice.
"""

import hashlib
import os
import re
import shutil
import urllib.request
import zipfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import platformdirs
from tqdm.auto import tqdm

from ..errors import OptionError, check_choice
from ..files import write_atomically
from .members import ARCHIVES

# 30 of POP909's 909 songs have no pinned content: everyone has the same 879.
UNPINNED = (
    "002|081|262|268|276|328|334|341|395|396|400|424|476|542|546"
    "|571|614|637|642|682|729|778|783|784|797|827|839|865|890|896"
)
# Of each corpus a zip, the paths wanted of it (a pattern), what pins their content, and whom to
# thank. Git's archives are not byte-stable, so the content is pinned, not the zip: by the sha256 of
# the lines "<sha256 of a file>  <path>", sorted by path.
CORPORA = {
    "pop909": dict(
        url="https://codeload.github.com/music-x-lab/POP909-Dataset/zip/"
        "d83e6edba6872a704f5d3b8b32f5cb540088dae6",
        paths=rf"POP909/(?!{UNPINNED})(\d\d\d)/"
        r"(\1\.mid|((beat|chord)_(audio|midi)|key_audio)\.txt)",
        sha256="352a03a7013facfc724fa4c87699c6a50e2fbf36a53ec3f4d4441d5512277efd",
        credit="POP909, MIT licence, (c) 2020 Music X Lab. Please cite Wang et al., POP909, "
        "ISMIR 2020, arXiv 2008.07142.",
    )
}

# A server's answer that its file is no longer than what is there already.
NOTHING_LEFT = 416
PARTIAL = 206


def fetch(name: str, progress: bool = True) -> Path:
    """Give the archive or folder of a corpus; where it is not at hand, download it.

    A download that broke off goes on where it stopped at the next call. Only files of the pinned
    content are kept, as a zip.

    Args:
        name: one of `CORPORA`.
        progress: show a bar.

    Returns:
        Where it stands: in the folder that POMKIT_DATA names, else in the user's cache.

    Raises:
        OptionError: there is no such corpus, no network, or the content is another one.
    """
    check_choice("corpus", name, CORPORA)
    folder = Path(os.environ.get("POMKIT_DATA") or platformdirs.user_cache_dir("pomkit"))
    for ending in (*ARCHIVES, ""):
        copy = folder / f"{name}{ending}"
        if copy.exists():
            return copy

    source = CORPORA[name]
    part = folder / f".{name}.part"
    path = folder / f"{name}.zip"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(source["url"], part, progress)
        _keep_pinned(part, path, source)
    except Exception as fault:
        if not _can_go_on(fault):
            part.unlink(missing_ok=True)
        raise OptionError(
            f"corpus {name} could not be fetched ({fault}) from {source['url']}; call again to go "
            f"on, or put a copy into {folder} as a folder {name}, or set POMKIT_DATA to where it is"
        ) from fault

    part.unlink()
    return path


def _can_go_on(fault: Exception) -> bool:
    """Whether what is downloaded is good as far as it goes: the network or the disk failed."""
    broke_off = isinstance(fault, OSError | HTTPException)
    return broke_off and getattr(fault, "code", None) != NOTHING_LEFT


def _download(url: str, part: Path, progress: bool) -> None:
    """Fill `part`, from its end on where the server can do that, else from the beginning."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        if answer.status != PARTIAL:
            have = 0
        length = answer.headers["Content-Length"]
        total = have + int(length) if length else None

        with open(part, "ab" if have else "wb") as file:
            bar = dict(total=total, initial=have, desc="downloading", disable=not progress)
            with tqdm.wrapattr(file, "write", **bar) as counted:
                shutil.copyfileobj(answer, counted)

    size = part.stat().st_size
    if total is not None and size < total:
        raise ConnectionError(f"it broke off after {size} of {total} bytes")


def _keep_pinned(archive: Path, path: Path, source: Mapping[str, str]) -> None:
    """Write the wanted files of a downloaded zip to another one; OptionError if they are others."""
    lines = []
    with (
        zipfile.ZipFile(archive) as zipped,
        write_atomically(path) as file,
        zipfile.ZipFile(file, "w") as kept,
    ):
        # Git puts all files into one folder, whose name says nothing.
        members = {name.partition("/")[2]: name for name in zipped.namelist()}
        for name in sorted(members):
            if re.fullmatch(source["paths"], name):
                content = zipped.read(members[name])
                kept.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
                lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
        kept.comment = f"{source['credit']} {source['url']}".encode()

        # An error here leaves no file: it is not in its place yet.
        sha256 = hashlib.sha256("".join(lines).encode()).hexdigest()
        if sha256 != source["sha256"]:
            raise OptionError(
                f"its {len(lines)} files have sha256 {sha256[:12]} instead of "
                f"{source['sha256'][:12]}"
            )
    print(source["credit"])
