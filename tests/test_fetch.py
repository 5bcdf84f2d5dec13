"""Downloads of corpora, from a server on this machine."""

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile

import numpy as np
import pytest
from conftest import make_song

from pomkit import OptionError
from pomkit.data import CORPORA, fetch, read_corpus
from pomkit.data.downloads import UNPINNED, _keep_pinned


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`, and notes in `asked` what was asked for.

    An answer breaks off after `limit` bytes. `ranges`: whether the server knows Range; `length`:
    whether it says how long the answer is.
    """

    def __init__(
        self, content: bytes, limit: int | None = None, ranges: bool = True, length: bool = True
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.limit = limit
        self.ranges = ranges
        self.length = length
        self.asked = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/repository.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        s = self.server
        asked = self.headers["Range"]
        s.asked.append(asked)
        start = int(asked[6:-1]) if asked and s.ranges else 0
        if start and start >= len(s.content):
            self.send_error(416)
            return
        self.send_response(206 if asked and s.ranges else 200)
        if s.length:
            self.send_header("Content-Length", str(len(s.content) - start))
        self.end_headers()
        self.wfile.write(s.content[start:][: s.limit])
        self.close_connection = True

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A small repository as a zip, known to pomkit as "tiny"; a function that serves it."""
    rng = np.random.default_rng(0)
    files = {
        "SONGS/001/001.mid": make_song(rng).write_midi(tmp_path / "a.mid").read_bytes(),
        "SONGS/003/003.mid": make_song(rng).write_midi(tmp_path / "b.mid").read_bytes(),
        "SONGS/003/key_audio.txt": b"key",
    }
    others = {
        "SONGS/002/002.mid": b"not pinned",
        "SONGS/001/versions/other.mid": b"not wanted",
        "README.md": rng.bytes(30_000),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for name, content in sorted((files | others).items(), reverse=True):
            zipped.writestr(f"Repository-0123/{name}", content)
    lines = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in sorted(files.items())
    )
    monkeypatch.setenv("POMKIT_DATA", str(tmp_path / "data"))
    servers = []

    def serve(pinned="", **options):
        servers.append(Server(packed.getvalue(), **options))
        tiny = dict(
            url=servers[-1].url,
            paths=r"SONGS/(?!002)(\d\d\d)/(\1\.mid|key_audio\.txt)",
            credit="made by nobody",
            sha256=pinned or hashlib.sha256(lines.encode()).hexdigest(),
        )
        monkeypatch.setitem(CORPORA, "tiny", tiny)
        return servers[-1]

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_fetch_downloads_once_and_keeps_what_is_pinned(repository, tmp_path, capsys):
    server = repository()
    path = fetch("tiny", progress=False)
    assert path == tmp_path / "data" / "tiny.zip"
    assert "made by nobody" in capsys.readouterr().out
    with zipfile.ZipFile(path) as kept:
        assert kept.namelist() == [
            "SONGS/001/001.mid",
            "SONGS/003/003.mid",
            "SONGS/003/key_audio.txt",
        ]
    for place in (path, "tiny"):
        assert [s.name for s in read_corpus(place, progress=False).songs] == ["001", "003"]
    server.shutdown()
    assert fetch("tiny") == path
    assert server.asked == [None]
    assert sorted(p.name for p in path.parent.iterdir()) == ["tiny.zip"]


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(repository, tmp_path, ranges, length):
    server = repository(limit=20_000, ranges=ranges, length=length)
    fault = "broke off after 20000 of" if length else "not a zip"  # no length: the zip tells
    with pytest.raises(OptionError, match=fault):
        fetch("tiny", progress=False)
    assert not (tmp_path / "data" / "tiny.zip").exists()
    server.limit = None
    assert fetch("tiny", progress=False).exists()
    assert server.asked == [None, "bytes=20000-" if length else None]


def test_a_download_that_was_whole_but_not_checked_begins_again(repository, tmp_path):
    server = repository()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".tiny.part").write_bytes(bytes(10**6))
    with pytest.raises(OptionError, match="416"):
        fetch("tiny", progress=False)
    assert fetch("tiny", progress=False).exists()
    assert server.asked == ["bytes=1000000-", None]


def test_another_content_is_refused(repository, tmp_path):
    server = repository(pinned="0" * 64)
    with pytest.raises(OptionError, match="3 files have sha256"):
        fetch("tiny", progress=False)
    server.content = b"<html>Log in to this network"
    with pytest.raises(OptionError, match="not a zip"):
        fetch("tiny", progress=False)
    assert list((tmp_path / "data").iterdir()) == []


def test_without_a_network_fetch_says_what_to_do(repository, tmp_path):
    server = repository()
    server.shutdown()
    server.server_close()
    with pytest.raises(OptionError, match="could not be fetched.*POMKIT_DATA"):
        fetch("tiny", progress=False)
    with pytest.raises(OptionError, match="unknown"):
        fetch("everything")


@pytest.mark.parametrize("ending", ["", ".tar.xz", ".zip"])
def test_fetch_takes_what_is_there(tmp_path, monkeypatch, ending):
    monkeypatch.setenv("POMKIT_DATA", str(tmp_path))
    (tmp_path / f"pop909{ending}").mkdir()
    assert fetch("pop909") == tmp_path / f"pop909{ending}"


def test_pop909_is_pinned_by_its_content(corpus_archive, tmp_path):
    """The pinned hash and paths fit the archive at hand.

    It is packed as the repository's zip would be, with more files beside.
    """
    with (
        tarfile.open(corpus_archive) as tar,
        zipfile.ZipFile(tmp_path / "repository.zip", "w") as zipped,
    ):
        for member in tar:
            if member.isfile():
                zipped.writestr(
                    "POP909-Dataset-d83e6ed/" + member.name.removeprefix("pop909/"),
                    tar.extractfile(member).read(),
                )
        for number in ("002", "896"):
            zipped.writestr(
                f"POP909-Dataset-d83e6ed/POP909/{number}/{number}.mid", b"one of the 30"
            )
        zipped.writestr("POP909-Dataset-d83e6ed/POP909/001/versions/001-v1.mid", b"another version")
    source = CORPORA["pop909"]
    assert "d83e6edba6872a704f5d3b8b32f5cb540088dae6" in source["url"]
    assert len(UNPINNED.split("|")) == 30
    _keep_pinned(tmp_path / "repository.zip", tmp_path / "pop909.zip", source)
    with zipfile.ZipFile(tmp_path / "pop909.zip") as kept:
        assert len(kept.namelist()) == 5274
