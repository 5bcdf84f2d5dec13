"""Bad files made by hand: what no reader of MIDI likes to meet. `make` writes one by its name.

Every file must give MidiError or a Song with a truthful report, in 2 s and 300 MB; `surprise` says
where more than that is known of what has to come out.
"""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import midi_files as m

ONE = m.track(m.note(0, 480, 60), m.note(480, 960, 64))
EMPTY = m.track()
OPEN = m.track(m.note(0, 480, 60), m.note(480, 960, 64), close=False)[
    8:
]  # events without an end of track
ERROR, SONG, EITHER = "MidiError", "Song", ""
FILES: dict[str, tuple[Callable[..., Any], str]] = {}


def repeated(
    event: bytes, before: bytes = b"", after: bytes = b"\0\xff\x2f\0"
) -> Callable[[int], bytes]:
    """A file of about so many bytes whose one track is this event over and over, after one note."""

    def build(size: int) -> bytes:
        start = b"\0\x90\x3c\x50\x81\x00\x80\x3c\x40" + before
        return m.midi(
            m.chunk(b"MTrk", start + event * ((size - 60) // len(event)) + after), division=96
        )

    return build


def add(name: str, data: bytes | Callable[..., Any], outcome: str = EITHER) -> None:
    FILES[name] = (data if callable(data) else lambda size, data=data: data), outcome


def bomb(size: int, start: bytes = b"") -> bytes:
    """A gzip file that unpacks to a hundred times `size` of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(2**20)
    return (
        packer.compress(start)
        + b"".join(packer.compress(block) for _ in range(max(size // 10**4, 20)))
        + packer.flush()
    )


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


whole = m.midi(ONE)
# fmt: off
# --------------------------------------------------------------------------- not MIDI, or not quite
add("empty file", b"", ERROR)
add("one byte", b"M", ERROR)
add("text", b"This is no music.\n" * 20, ERROR)
add("a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, ERROR)
add("zeros", lambda size: bytes(size), ERROR)
add("ones", lambda size: b"\xff" * size, ERROR)
add("header and zeros", lambda size: m.header() + bytes(size), EITHER)
add("header and ones", lambda size: m.header() + b"\xff" * size, EITHER)
add("track of zeros", lambda size: m.midi(m.chunk(b"MTrk", bytes(size))), ERROR)
add("track of ones", lambda size: m.midi(m.chunk(b"MTrk", b"\xff" * size)), ERROR)
add("track of 0x80", lambda size: m.midi(m.chunk(b"MTrk", b"\x80" * size)), ERROR)
add("track of 0x90", lambda size: m.midi(m.chunk(b"MTrk", b"\x90" * size)), ERROR)
add("MThd over and over", lambda size: whole[:14] * (size // 14))
add("MTrk over and over", lambda size: m.header(3) + b"MTrk" * (size // 4))
add("empty chunks over and over",
    lambda size: m.header(1) + m.chunk(b"XXXX", b"") * (size // 8) + ONE, EITHER)
add("only a header", m.header(1), ERROR)
add("no tracks", m.midi(), ERROR)
add("no notes", m.midi(EMPTY), ERROR)
add("only drums", m.midi(m.track(m.note(0, 9, 36, channel=9))), EITHER)
add("header of 2 bytes", m.chunk(b"MThd", b"\0\1") + ONE, ERROR)
add("header of 0 bytes", m.chunk(b"MThd", b"") + ONE, ERROR)
add("header of 8 bytes", m.midi(ONE, extra=b"\0\0"), SONG)
add("header of 300 bytes", m.midi(ONE, extra=bytes(294)), SONG)
add("header of 4 GB", b"MThd\xff\xff\xff\xff" + whole[8:], ERROR)
add("header of minus one, signed", b"MThd\xff\xff\xff\xfe" + whole[8:], ERROR)
add("format 3", m.midi(ONE, format=3))
add("format 65535", m.midi(ONE, format=65535))
add("format 0 with three tracks", m.midi(ONE, ONE, ONE, format=0))
# ------------------------------------------------------------------------------------ lying lengths
add("track of 4 GB", m.header() + m.chunk(b"MTrk", ONE[8:], 2**32 - 1))
add("track of 2 GB", m.header() + m.chunk(b"MTrk", ONE[8:], 2**31 - 1))
add("track too short by one", m.header() + m.chunk(b"MTrk", ONE[8:], len(ONE) - 9))
add("track that swallows the next", m.header(2) + m.chunk(b"MTrk", ONE[8:], 2 * len(ONE) - 8) + ONE)
add("track of no bytes", m.header() + m.chunk(b"MTrk", ONE[8:], 0))
add("other chunk of 4 GB", m.header() + m.chunk(b"XFIH", b"x", 2**32 - 1) + ONE)
add("bytes after the end", whole + b"\0" * 1000)
add("a second file after the end", whole + whole)
add("MIDI in the middle", b"\0" * 128 + whole, ERROR)
add("track without an end", m.midi(m.track(m.note(0, 480), close=False)))
add("events after the end of track",
    m.midi(m.chunk(b"MTrk", ONE[8:] + b"\0\x90\x3c\x50\x10\x80\x3c\x40")))
for kind, label in ((0xF0, "sysex"), (0xF7, "escape")):
    for length in (b"\xff\xff\xff\x7f", b"\x81\x80\x80\x00", b"\x80" * 30 + b"\x05", b"\xff" * 30):
        body = OPEN + b"\0" + bytes([kind]) + length + b"abc"
        add(f"{label} of length {length[:5].hex()}", m.midi(m.chunk(b"MTrk", body)))
for length in (b"\xff\xff\xff\x7f", b"\x90\x80\x80\x00", b"\xff" * 10):
    add(f"meta of length {length[:4].hex()}",
        m.midi(m.chunk(b"MTrk", OPEN + b"\0\xff\x01" + length)))
add("endless number as delta",
    lambda size: m.midi(m.chunk(b"MTrk", b"\0\x90\x3c\x50" + b"\x80" * size)))
add("endless number of 0xff as delta",
    lambda size: m.midi(m.chunk(b"MTrk", b"\0\x90\x3c\x50" + b"\xff" * size)))
add("number of five bytes",
    m.midi(m.chunk(b"MTrk", b"\0\x90\x3c\x50\x81\x80\x80\x80\x00\x80\x3c\x40\0\xff\x2f\0")))
add("number of six bytes",
    m.midi(m.chunk(b"MTrk", b"\0\x90\x3c\x50\xff\xff\xff\xff\xff\x7f\x80\x3c\x40\0\xff\x2f\0")))
for size in (0, 1, 2, 4, 5, 200):
    for kind in (0x51, 0x58, 0x59, 0x54, 0x2F, 0x00, 0x20, 0x21):
        add(f"meta {kind:02x} of {size} bytes",
            m.midi(m.track(m.meta(0, kind, bytes(size)), m.note(0, 480))))
# --------------------------------------------------------------------------------------- bad events
add("data before any status", m.midi(m.chunk(b"MTrk", b"\0\x3c\x50" + ONE[8:])))
add("status instead of data", m.midi(m.chunk(b"MTrk", b"\0\x90\x90\x3c\x50" + ONE[8:])))
add("data of 0xff", m.midi(m.chunk(b"MTrk", b"\0\x90\xff\xff" + ONE[8:])))
add("real-time bytes among the events", m.midi(m.chunk(b"MTrk", b"\0\xf8\0\xfe\0\xfa" + ONE[8:])))
add("system common",
    m.midi(m.chunk(b"MTrk", b"\0\xf1\x10\0\xf2\x01\x02\0\xf3\x05\0\xf6" + ONE[8:])))
add("undefined status", m.midi(m.chunk(b"MTrk", b"\0\xf4\0\xf5\0\xf9\0\xfd" + ONE[8:])))
add("note-offs only", m.midi(m.track([m.off(i, i % 128) for i in range(1000)])), ERROR)
add("cut in a note", whole[:-10])
add("cut in a header", whole[:11], ERROR)
add("cut in a chunk's head", whole[:18], ERROR)
# ------------------------------------------------------------------------------ times and divisions
add("2**20 columns",
    m.midi(m.track(m.note(0, 480), m.note(120 * 2**20 - 120, 120 * 2**20)), division=480))
add("2**20 columns and a few",
    m.midi(m.track(m.note(0, 480), m.note(120 * 2**20 + 9600, 120 * 2**20 + 9700)), division=480))
add("two notes almost 2**20 columns apart",
    m.midi(m.track(m.note(0, 96), m.note(2**20 * 24 - 200, 2**20 * 24 - 100)), division=96))
add("the same in bars of two ticks",
    m.midi(m.track(m.meter(0, 2, 4), m.note(0, 1), m.note(2**18 - 10, 2**18 - 9)), division=1))
add("one delta of 2**28 - 1", m.midi(m.track(m.note(0, 96), m.note(2**28 - 1, 2**28)), division=96),
    ERROR)
add("end of track at 2**28 - 1, a note open",
    m.midi(m.track(m.on(0, 60), end=2**28 - 1), division=96), ERROR)
add("end of track at 2**28 - 1, no note open",
    m.midi(m.track(m.note(0, 96), end=2**28 - 1), division=96), SONG)
add("a meter at 2**28 - 1", m.midi(m.track(m.note(0, 96), m.meter(2**28 - 1, 3, 4)), division=96),
    SONG)
add("a meter at 2**28 - 1, one tick a beat",
    m.midi(m.track(m.note(0, 1), m.meter(2**28 - 1, 3, 4)), division=1), SONG)
add("a chord at 2**28 - 1", m.midi(m.track(m.note(0, 96), m.marker(0, "C:maj"),
    m.marker(2**28 - 1, "G:maj")), division=96))
add("deltas beyond 2**63", repeated(b"\xff\xff\xff\x7f\x90\x3c\x50"), ERROR)
add("deltas beyond 2**32 in metas", repeated(b"\xff\xff\xff\x7f\xff\x01\0"))
add("a note after deltas beyond 2**32", repeated(b"\xff\xff\xff\x7f\xff\x01\0",
    after=b"\0\x90\x3c\x50\x10\x80\x3c\x40\0\xff\x2f\0"), ERROR)
for division in (0, 1, 2, 3, 7, 32767):
    add(f"division {division}", m.midi(ONE, division=division), ERROR if division == 0 else SONG)
for frames in (0, 1, 23, 24, 25, 29, 30, 31, 60, 127, 128):
    for ticks in (0, 1, 40, 80, 255):
        whole_frames = frames in (24, 25, 29, 30) and ticks
        legal = SONG if whole_frames else ERROR if ticks == 0 and frames else EITHER
        add(f"SMPTE {frames} x {ticks}", m.midi(ONE, division=m.smpte(frames, ticks) | 0x8000),
            legal)
for micros in (0, 1, 2**24 - 1):
    add(f"tempo of {micros} microseconds",
        m.midi(m.track(m.meta(0, 0x51, micros.to_bytes(3, "big")), m.note(0, 480))), SONG)
for shape in ((0, 0), (0, 2), (4, 255), (255, 0), (255, 255), (1, 8), (3, 6), (1, 2), (1, 0),
    (128, 7), (5, 31), (7, 64)):
    add(f"meter {shape}",
        m.midi(m.track(m.meta(0, 0x58, bytes([*shape, 24, 8])), m.note(0, 48000))), SONG)
add("meters of 2/4 over 2**20 steps", m.midi(m.track(m.meter(0, 2, 4), m.note(0, 480),
    m.note(2**20 * 24 - 96, 2**20 * 24)), division=96))
# -------------------------------------------------------------------------------------- many things
add("65535 tracks claimed", m.midi(ONE, claimed=65535))
add("no track claimed", m.midi(ONE, claimed=0))
add("65535 empty tracks", lambda size: m.midi(*[EMPTY] * 65535), ERROR)
add("65535 tracks, all of one name", lambda size: m.midi(*[
    m.track(m.name("x"), m.note(0, 480, i % 128)) for i in range(min(65535, size // 45))]), EITHER)
add("65535 tracks without a name",
    lambda size: m.midi(*[m.track(m.note(0, 480, 60))] * min(65535, size // 30)))
add("65535 tracks, named like numbered ones", lambda size: m.midi(*[
    m.track(m.name(f"part {i // 2}"), m.note(0, 480, i % 128))
    for i in range(min(65535, size // 50))]))
add("tracks of no bytes", lambda size: m.midi(*[b"MTrk\0\0\0\0"] * min(65535, size // 8)))
add("more tracks than 65535",
    lambda size: m.midi(*[m.track(m.note(0, 48, 60))] * (size // 22), claimed=65535))
add("note-ons", repeated(b"\0\x3c\x50", b"\0\x90\x3c\x50"))
add("note-ons, one a tick", repeated(b"\1\x3c\x50", b"\0\x90\x3c\x50"))
add("note-ons without running status", repeated(b"\0\x90\x3c\x50"))
add("notes", repeated(b"\0\x3c\x50\0\x3c\0", b"\0\x90\x3c\x50\0\x3c\0"))
add("notes, one a tick", repeated(b"\0\x3c\x50\1\x3c\0", b"\0\x90\x3c\x50\0\x3c\0"))
add("note-offs", repeated(b"\0\x3c\0", b"\0\x90\x3c\0"))
add("notes on every pitch and channel", lambda size: repeated(
    b"".join(b"\0" + bytes([0x90 | c, p, 80]) for c in range(16) for p in range(128)))(size))
add("drums", repeated(b"\0\x99\x24\x50\1\x89\x24\x40"))
add("bends", repeated(b"\0\0\x40", b"\0\xe0\0\x40"))
add("controllers", repeated(b"\0\x07\x40", b"\0\xb0\7\x40"))
add("pedals", repeated(b"\0\x40\x7f\1\x40\0", b"\0\xb0\x40\0"))
add("pedals and notes", repeated(b"\0\xb0\x40\x7f\0\x90\x3c\x50\1\x80\x3c\x40\1\xb0\x40\0"))
add("pedal down, then notes",
    repeated(b"\0\x3c\x50\0\x3c\0", b"\0\xb0\x40\x7f\0\x90\x3c\x50\0\x3c\0"))
add("programs", repeated(b"\0\x07", b"\0\xc0\7"))
add("programs with a status", repeated(b"\0\xc0\7"))
add("programs and notes", lambda size: repeated(b"".join(
    bytes([0, 0xC0, i, 0, 0x90, 60, 80, 1, 0x80, 60, 64]) for i in range(128)))(size))
add("pressures", repeated(b"\0\x07", b"\0\xd0\7"))
add("texts of no bytes", repeated(b"\0\xff\1\0"))
add("a long text", lambda size: m.midi(m.track(m.text(0, "x" * size), m.note(0, 480))))
add("a long track name", lambda size: m.midi(m.track(m.name("x" * size), m.note(0, 480))))
add("a long marker", lambda size: m.midi(m.track(m.marker(0, "C:" + "(" * size), m.note(0, 480))))
add("a long chord", lambda size: m.midi(m.track(m.marker(0, "C:maj(" + "9," * (size // 2) + "9)"),
    m.note(0, 480))))
add("tempos", repeated(b"\0\xff\x51\3\7\xa1\x20"))
add("meters", repeated(b"\0\xff\x58\4\3\2\x18\x08"))
add("meters, one a bar", repeated(b"\x60\xff\x58\4\2\3\x18\x08\x60\xff\x58\4\2\2\x18\x08"))
add("track names", repeated(b"\0\xff\3\1x"))
add("markers", repeated(b"\0\xff\6\1N"))
add("chords", repeated(b"\x18\xff\6\5C:maj\x18\xff\6\5G:min"))
add("chords of many kinds", lambda size: m.midi(m.track(m.note(0, 96, 60),
    [m.marker(i, f"C:maj({i % 97},{i % 89},{i % 83})/{i % 79}") for i in range(size // 28)]),
    division=96))
add("lyrics", repeated(b"\1\xff\5\3la "))
add("chords as lyrics", repeated(b"\1\xff\5\5C:maj"))
add("system exclusives", repeated(b"\0\xf0\1\xf7"))
add("escapes of no bytes", repeated(b"\0\xf7\0"))
add("ends of track", repeated(b"\0\xff\x2f\0"))
add("everything in turn", repeated(b"\0\xc0\7\0\x90\x3c\x50\1\x80\x3c\x40\0\xff\1\0\0\xd0\7"))
# ----------------------------------------------------------------------------------------- wrappers
packed = gzip.compress(whole, mtime=0)
add("gzip cut", packed[:-12])
add("gzip cut early", packed[:20], ERROR)
add("gzip with a wrong checksum", patched(packed, len(packed) - 8, b"\0\0\0\0"))
add("gzip of a text", gzip.compress(b"no music"), ERROR)
add("gzip of nothing", gzip.compress(b""), ERROR)
add("gzip and bytes after it", packed + bytes(100))
add("gzip in gzip", gzip.compress(packed))
add("gzip of a RIFF", gzip.compress(m.riff(whole)), SONG)
add("gzip bomb", bomb, ERROR)
add("gzip bomb that begins as MIDI", lambda size: bomb(size, m.header()))
add("gzip bomb that begins as a song", lambda size: bomb(size, whole))
add("gzip bomb in a RIFF", lambda size: m.riff(bomb(size)), ERROR)
riff = m.riff(whole)
add("RIFF with a chunk before", m.riff(whole, b"LIST" + struct.pack("<I", 5) + b"INFOx\0"), SONG)
add("RIFF of WAVE", patched(riff, 8, b"WAVE"), ERROR)
add("RIFF of 4 GB", patched(riff, 4, b"\xff" * 4))
add("RIFF of no bytes", patched(riff, 4, b"\0" * 4))
add("RIFF whose data is 4 GB", patched(riff, 16, b"\xff" * 4))
add("RIFF whose data is short", patched(riff, 16, b"\x20\0\0\0"))
add("RIFF whose data is empty", patched(riff, 16, b"\0\0\0\0"))
add("RIFF without data", riff[:12], ERROR)
add("RIFF whose chunk before is 4 GB", m.riff(whole, b"LIST\xff\xff\xff\xff"), ERROR)
add("RIFF of chunks without bytes",
    lambda size: b"RIFF" + struct.pack("<I", size) + b"RMID" + b"LIST\0\0\0\0" * (size // 8))
add("RIFF in RIFF", m.riff(riff))
# fmt: on


# ----------------------------------------------------------------- what is no file, or no plain one
def directory(path: Path) -> None:
    path.mkdir()


def missing(path: Path) -> None:
    pass


def unreadable(path: Path) -> None:
    path.write_bytes(whole)
    path.chmod(0)


def sparse(path: Path) -> None:
    """8 GB to read, nothing on the disk."""
    with path.open("wb") as file:
        file.write(whole)
        file.truncate(8 << 30)


def pipe(path: Path) -> None:
    """A named pipe that nobody writes to."""
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path)


PATHS: dict[str, Callable[[Path], None]] = {
    "a directory": directory,
    "a missing file": missing,
    "an unreadable file": unreadable,
    "a file of 8 GB": sparse,
    "a link to itself": loop,
    "a device without an end": endless,
    "a pipe without a writer": pipe,
}
FILES |= {label: (build, ERROR) for label, build in PATHS.items()}


def possible(name: str) -> bool:
    """Whether this machine can make the file, and whether it is bad here."""
    if name == "an unreadable file":
        return hasattr(os, "geteuid") and os.geteuid() != 0  # nothing is unreadable to root
    if name in PATHS and os.name == "nt":
        return name in ("a directory", "a missing file")
    return name != "a device without an end" or os.path.exists("/dev/zero")


def make(name: str, folder: Path, megabytes: float) -> Path:
    """Write the file of this name, the large ones `megabytes` long, and return its path."""
    path = folder / (name.replace(" ", "_").replace("/", "_") + ".mid")
    build = FILES[name][0]
    if name in PATHS:
        build(path)
    else:
        path.write_bytes(build(int(megabytes * 1e6)))
    return path


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def surprise(name: str, answer: dict[str, Any], **wanted: Any) -> str:
    """Where the outcome is known and another came out."""
    due = FILES[name][1]
    return (
        f"{due} was due, {answer['kind']} came"
        if due and answer["kind"] != due and not wanted.get("salvage")
        else ""
    )
