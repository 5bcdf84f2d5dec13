"""Corpora that can be downloaded: pinned by what their files hold, resumed where a download broke off."""

import hashlib
import os
import re
import shutil
import urllib.request
import zipfile
from http.client import HTTPException
from pathlib import Path

import platformdirs
from tqdm.auto import tqdm

from ..errors import OptionError, check_choice
from ..files import write_atomically
from .corpus import ARCHIVES

# A zip, the paths wanted of it, whom to thank, and what pins their content (git's archives are not byte-stable): the sha256 of
# the lines "<sha256 of a file>  <path>" by path. 30 of POP909's 909 songs have no pinned content: everyone has the same 879.
UNPINNED = (
    "002|081|262|268|276|328|334|341|395|396|400|424|476|542|546|571|614|637|642|682|729|778|783|784|797|827|839|865"
    "|890|896"
)
CORPORA = {
    "pop909": dict(
        url="https://codeload.github.com/music-x-lab/POP909-Dataset/zip/d83e6edba6872a704f5d3b8b32f5cb540088dae6",
        paths=rf"POP909/(?!{UNPINNED})(\d\d\d)/(\1\.mid|((beat|chord)_(audio|midi)|key_audio)\.txt)",
        sha256="352a03a7013facfc724fa4c87699c6a50e2fbf36a53ec3f4d4441d5512277efd",
        credit="POP909, MIT licence, (c) 2020 Music X Lab. Please cite Wang et al., POP909, ISMIR 2020, arXiv 2008.07142.",
    )
}


def fetch(name: str, progress: bool = True) -> Path:
    """The archive or folder of a corpus: where POMKIT_DATA says (default: the user's cache), else downloaded to there.
    A download that broke off goes on where it stopped at the next call. Only files of the pinned content are kept, as a zip.
    Raises OptionError without a network, or where the content is another one."""
    check_choice("corpus", name, CORPORA)
    folder, url = (
        Path(os.environ.get("POMKIT_DATA") or platformdirs.user_cache_dir("pomkit")),
        CORPORA[name]["url"],
    )
    if there := [
        path for ending in (*ARCHIVES, "") if (path := folder / f"{name}{ending}").exists()
    ]:
        return there[0]
    part, path = folder / f".{name}.part", folder / f"{name}.zip"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(url, part, progress)
        _keep_pinned(part, path, **CORPORA[name])
    except Exception as fault:
        if not isinstance(fault, OSError | HTTPException) or getattr(fault, "code", 0) == 416:
            part.unlink(missing_ok=True)  # a wrong content, or nothing to go on from
        raise OptionError(
            f"corpus {name} is not in {folder} and could not be fetched from {url} ({fault}); call again to go "
            f"on, or put a copy there as a folder {name}, or set POMKIT_DATA to where it is"
        ) from fault
    part.unlink()
    return path


def _download(url: str, part: Path, progress: bool) -> None:
    """Fill `part`, from its end on where the server can do that, else from the beginning."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        have, length = have if answer.status == 206 else 0, answer.headers["Content-Length"]
        total = have + int(length) if length else None
        with (
            open(part, "ab" if have else "wb") as file,
            tqdm.wrapattr(
                file, "write", total=total, initial=have, desc="downloading", disable=not progress
            ) as counted,
        ):
            shutil.copyfileobj(answer, counted)
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"it broke off after {part.stat().st_size} of {total} bytes")


def _keep_pinned(archive: Path, path: Path, url: str, paths: str, sha256: str, credit: str) -> None:
    """Write the wanted files of a downloaded zip to another one, if their content is the pinned one; else OptionError."""
    with (
        zipfile.ZipFile(archive) as zipped,
        write_atomically(path) as file,
        zipfile.ZipFile(file, "w") as kept,
    ):
        names, lines = {name.partition("/")[2]: name for name in zipped.namelist()}, []
        for name in sorted(n for n in names if re.fullmatch(paths, n)):
            content = zipped.read(names[name])
            kept.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
            lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
        kept.comment = f"{credit} {url}".encode()
        if (found := hashlib.sha256("".join(lines).encode()).hexdigest()) != sha256:
            raise OptionError(f"its {len(lines)} files have sha256 {found} instead of {sha256}")
    print(credit)
