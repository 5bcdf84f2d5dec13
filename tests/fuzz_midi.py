"""A seeded mutation fuzzer for read_midi: whatever the bytes, MidiError or a truthful Song.

    python tests/fuzz_midi.py --count 20000            # the songs in assets and others, mutated
    python tests/fuzz_midi.py --seed 4711 --save x.mid # one input again, written to x.mid
    python tests/fuzz_midi.py --bad                    # the files of tests/bad_files.py, full size

Inputs run in a child process, so that a crash of native code, a hang or an allocation of gigabytes
is one more finding; the child's address space is limited where the platform can (Linux, macOS).
A finding is anything but a MidiError that names file, fault and remedy or a Song with a truthful
report, within 2 s (of processor time) and 300 MB.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import numbers
import os
import random
import re
import select
import subprocess
import sys
import tempfile
import time
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import midi_files as m

SECONDS, MEGABYTES, PATIENCE = 2.0, 300, 60
GRIDS = (1, 2, 3, 4, 6, 8, 12, 24)


# ----------------------------------------------------------------------------------- inputs by seed
@lru_cache(maxsize=1)
def seeds() -> list[bytes]:
    """The files that are mutated: the songs of assets/, and files that use what those do not."""
    songs = Path(__file__).resolve().parent.parent / "assets" / "songs"
    # fmt: off
    busy = m.track(m.name("Busy"), m.note(0, 480, 60), m.note(240, 700, 60), m.note(480, 480, 62),
        m.pedal(0, 960), m.program(480, 40), m.note(480, 960, 64), m.bend(500),
        m.aftertouch(510, 64), m.pressure(520), m.sysex(600), m.control(610, 7, 100),
        m.note(0, 100, 36, channel=9), m.on(900, 72), running=True)
    words = m.track(m.text(0, "@KMIDI"), m.tempo(0, 90), m.tempo(960, 140), m.meter(0, 3, 4),
        m.meter(1440, 6, 8), m.key(0), m.marker(0, "C:maj"), m.marker(960, "G:7/3"),
        m.lyric(0, "A:min"), m.marker(1900, "X"))
    plain = m.track([m.note(120 * i, 120 * i + 100, 48 + i % 30, release=None) for i in range(40)],
        running=True, width=3)
    return [p.read_bytes() for p in sorted(songs.glob("*.mid"))] + [m.midi(words, busy),
        m.midi(busy, format=0), m.midi(busy, plain, format=2),
        m.midi(plain, division=96, extra=b"\0\0"), m.midi(busy, division=m.smpte(25, 40)),
        m.midi(plain, words, division=32767), m.riff(m.midi(words, plain, busy)),
        gzip.compress(m.midi(busy, words), mtime=0), m.midi(*[plain] * 20)]
    # fmt: on


def mutated(seed: int) -> bytes:
    """The input of this seed: one of `seeds`, flipped, cut, stuffed, spliced one to eight times."""
    rng = random.Random(seed)
    data = bytearray(rng.choice(seeds()))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        at = rng.choice((rng.randrange(len(data) + 1), min(rng.randrange(64), len(data))))
        size = min(rng.choice((1, 2, 4, 16, 200)), len(data) - at)
        kind = rng.randrange(9)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = rng.choice(
                (0, 0x7F, 0x80, 0x90, 0xB0, 0xC0, 0xF0, 0xF7, 0xFF, rng.randrange(256))
            )
        elif kind == 2:
            del data[at : at + size]
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 30)))
        elif kind == 5:
            data[at:at] = data[at : at + size] * rng.choice((1, 3, 100))
        elif kind == 6:
            other = rng.choice(seeds())
            cut = rng.randrange(len(other))
            data[at:] = other[cut:]
        elif kind == 7:  # a length that lies
            where = [i.start() + 4 for i in re.finditer(b"MTrk|MThd|RIFF|data", bytes(data))]
            if where:
                place = rng.choice(where)
                data[place : place + 4] = rng.choice(
                    (
                        b"\0\0\0\0",
                        b"\0\0\0\1",
                        b"\xff" * 4,
                        b"\x7f\xff\xff\xff",
                        b"\x80\0\0\0",
                        rng.randbytes(4),
                        b"\0\0" + rng.randbytes(2),
                    )
                )
        else:
            data[at : at + 4] = rng.choice(
                (b"\xff\xff\xff\x7f", b"\x80" * 4, b"\xff" * 4, b"\xff\x2f\x00\xff")
            )
    if rng.random() < 0.03:
        return gzip.compress(bytes(data), 1, mtime=0)
    return m.riff(bytes(data)) if rng.random() < 0.03 else bytes(data)


def options(seed: int) -> dict[str, Any]:
    rng = random.Random(-seed)
    return {
        "steps_per_beat": rng.choice((4, 4, 4, *GRIDS)),
        "drums": rng.random() < 0.3,
        "pedal": rng.random() < 0.3,
        "estimate": rng.random() < 0.05,
    }


# ------------------------------------------------------------------------- what must hold of a Song
def untruth(song: Any, drums: bool = False) -> str:
    """What is wrong with a Song and its report, by itself ("" if nothing)."""
    r, notes = song.report, song.notes
    counts = (
        r.kept,
        r.merged,
        r.shortened,
        r.dropped,
        r.drums,
        r.zero_length,
        r.unended,
        r.pedals,
        r.bends,
        r.controllers,
        *(getattr(r, name) for name in ("pressures", "releases", "programs", "signs", "system")),
        *(getattr(r, name) for name in ("lyrics", "markers", "texts", "others")),
    )
    faults = {
        f"counts {counts}": all(isinstance(c, numbers.Integral) and c >= 0 for c in counts),
        f"kept {r.kept} of {len(notes)}": r.kept == len(notes) > 0,
        f"shortened {r.shortened}, kept {r.kept}": r.shortened <= r.kept,
        f"drums {r.drums}, dropped {r.dropped}": drums or r.drums <= r.dropped,
        f"phase {r.phase}, error {r.quantisation_error}": abs(r.phase) <= 0.5
        and 0 <= r.quantisation_error <= 0.5,
        f"better grid {r.better_grid}": r.better_grid in GRIDS,
        f"tempo {song.source_tempo}": song.source_tempo is None or 0 < song.source_tempo < math.inf,
        f"end {song.end}": 0 < song.end <= 2**20,
        f"{len(song.parts)} parts": len(set(song.parts)) == len(song.parts)
        and all(song.parts)
        and set(notes["part"].tolist()) == set(range(len(song.parts))),
        f"meter {song.meter!r}": isinstance(song.meter, str)
        and re.fullmatch(r"\d+/\d+( \d+/\d+)*", song.meter),
        f"remarks {r.remarks!r}"[:200]: all(isinstance(x, str) and x for x in r.remarks)
        and len(str(r.remarks)) < 2000,
        "bars": list(song.bars) == sorted(set(song.bars)) and all(b >= 0 for b in song.bars),
    }
    pitches = notes[["part", "pitch", "onset"]]
    faults["two notes of a part, pitch and step"] = len(set(pitches.tolist())) == len(notes)
    return "; ".join(fault for fault, holds in faults.items() if not holds)


def unusual(report: Any) -> list[str]:
    """The remarks but those on what every picture leaves out."""
    return [remark for remark in report.remarks if "not in the picture" not in remark]


def against_file(song: Any, data: bytes) -> str:
    """What the report hides about the bytes: notes not accounted for, damage not mentioned."""
    r, real = song.report, m.note_ons(data, strict=False)
    if (
        real is not None
        and r.kept + r.merged + r.dropped != real
        and (m.note_ons(data) or not unusual(r))
    ):
        return (
            f"{r.kept} kept + {r.merged} merged + {r.dropped} dropped, but {real} notes in the file"
        )
    if real is None and not unusual(r) and data[:4] == b"MThd":
        return "the file is damaged and the report does not say so"
    return ""


def bare_message(text: str, names: tuple[str, ...]) -> str:
    """What a MidiError's message lacks of: file, fault; remedy."""
    fault, _, remedy = text.partition("; ")
    if not any(n in fault for n in names):
        return f"the message does not name the file: {text!r}"
    whole_ = len(fault) > 12 and len(remedy) > 7 and "\n" not in text
    return "" if whole_ else f"the message lacks a fault or a remedy: {text!r}"


# ---------------------------------------------------------------------------------------- the child
def peak(reset: bool = False) -> float:
    """Peak memory of this process in MB since the last reset; 0 if unknown (not Linux)."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    except (OSError, TypeError):
        return 0.0


def limit_memory(megabytes: int = 1500) -> None:
    """No more than this on top of what the process has; nothing where there is no such limit."""
    try:
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * 2**20, resource.RLIM_INFINITY))
    except (ImportError, OSError, ValueError):
        pass


def read(source: Any, names: tuple[str, ...], **wanted: Any) -> tuple[dict[str, Any], Any]:
    """One read_midi: what came out, how long it took and how much it held; and the Song, if any."""
    import pomkit

    answer: dict[str, Any] = {"problem": "", "text": ""}
    peak(reset=True)
    before, start = peak(), time.process_time()
    song = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            song = pomkit.read_midi(source, **wanted)
        answer["kind"] = "Song"
    except pomkit.MidiError as fault:
        answer |= {
            "kind": "MidiError",
            "text": str(fault),
            "problem": bare_message(str(fault), names),
        }
    except BaseException as fault:
        answer |= {
            "kind": type(fault).__name__,
            "text": str(fault),
            "problem": f"{type(fault).__name__}: {fault}"[:300],
        }
    answer |= {"seconds": time.process_time() - start, "megabytes": peak() - before}
    if song is not None:
        r = song.report
        answer |= {
            "notes": r.kept + r.merged + r.dropped,
            "kept": r.kept,
            "parts": len(song.parts),
            "remarks": list(r.remarks),
            "problem": untruth(song, wanted.get("drums", False)),
        }
    if answer["seconds"] > SECONDS or answer["megabytes"] > MEGABYTES:
        answer["problem"] += f" took {answer['seconds']:.2f} s, {answer['megabytes']:.0f} MB"
    return answer, song


def try_path(path: str, **wanted: Any) -> dict[str, Any]:
    answer, song = read(path, (Path(path).name,), **wanted)
    if song is not None and not answer["problem"] and os.path.getsize(path) < 2**18:
        answer["problem"] = against_file(song, Path(path).read_bytes())
    return answer


def try_seed(seed: int) -> dict[str, Any]:
    """Read the seed's input as it is and with salvage=True; hold both to the bytes."""
    import pomkit

    data, wanted = mutated(seed), options(seed)
    strict, song = read(data, ("bytes",), **wanted)
    saved, rest = read(data, ("bytes",), salvage=True, **wanted)
    if problem := strict["problem"] or saved["problem"]:
        return strict | {"problem": problem}
    if song is not None:
        problem = against_file(song, data) or (
            "" if rest == song else "salvage=True changes a file that can be read"
        )
    elif rest is not None:
        problem = "" if unusual(rest.report) else "salvaged, and the report does not say so"
    kept = song if song is not None else rest
    if kept is not None and not problem and seed % 10 == 0:
        with tempfile.TemporaryDirectory() as folder:
            try:
                file = kept.write_midi(Path(folder) / "again.mid", plain=True)
                again = pomkit.read_midi(file, kept.steps_per_beat, drums=True)
                problem = "" if again == kept else "write_midi and read_midi give another Song"
                if song is not None and song.to_midi().data != song.source:
                    problem = "an unchanged song is not written as its file"
            except Exception as fault:
                problem = f"write_midi or reading it again: {type(fault).__name__}: {fault}"
    return strict | {
        "kind": strict["kind"] if rest is None else "Song" if song is not None else "salvaged",
        "problem": problem,
    }


def child() -> None:
    """Answer one JSON line for every JSON line that comes in."""
    import pomkit

    for data in seeds():  # everything imported and warm, then the limit
        pomkit.read_midi(data, estimate=True)
    limit_memory()
    for line in sys.stdin:
        request = json.loads(line)
        answer = try_seed(request["seed"]) if "seed" in request else try_path(**request)
        print(json.dumps(answer, default=str), flush=True)


# --------------------------------------------------------------------------------------- the parent
class Child:
    """A process that reads what it is told; started anew when it crashes or is silent too long."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *fault: object) -> None:
        self.stop()

    def stop(self) -> int | None:
        if self.process is None:
            return None
        self.process.kill()
        code, self.process = self.process.wait(), None
        return code

    def ask(self, patience: float = PATIENCE, **request: Any) -> dict[str, Any]:
        if self.process is None:
            threads = dict.fromkeys(
                ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
            )
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--child"],
                stdin=subprocess.PIPE,
                text=True,
                stdout=subprocess.PIPE,
                env=os.environ | threads,
            )
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin and stdout
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            ready = os.name == "nt" or select.select([stdout], [], [], patience)[0]
            line = stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = True, ""
        if line:
            return json.loads(line)
        if not ready:
            self.stop()
            return {"kind": "hang", "problem": f"no answer within {patience:.0f} s"}
        code = self.process.wait()
        self.process = None
        return {"kind": "crash", "problem": f"the process died with exit code {code}"}


def fuzz(
    count: int, first: int = 0, progress: bool = False
) -> tuple[dict[int, str], dict[str, int]]:
    """Findings by seed, and how many inputs ended how."""
    findings, outcomes = {}, dict.fromkeys(("MidiError", "Song", "salvaged"), 0)
    with Child() as reader:
        for seed in range(first, first + count):
            answer = reader.ask(seed=seed)
            outcomes[answer["kind"]] = outcomes.get(answer["kind"], 0) + 1
            if answer["problem"]:
                findings[seed] = answer["problem"]
                if progress:
                    print(f"seed {seed}: {answer['problem']}", flush=True)
    return findings, outcomes


def try_bad(megabytes: float = 10, progress: bool = True) -> dict[str, str]:
    """Every hand-made bad file, read plainly, salvaged, with everything on: problems by name."""
    import bad_files

    problems, worst = {}, {"seconds": (0.0, ""), "megabytes": (0.0, "")}
    with tempfile.TemporaryDirectory() as folder, Child() as reader:
        for name in filter(bad_files.possible, bad_files.FILES):
            path = bad_files.make(name, Path(folder), megabytes)
            for wanted in (
                {},
                {"salvage": True},
                {"drums": True, "pedal": True, "estimate": True, "steps_per_beat": 24},
                {"estimate": True, "steps_per_beat": 1},
            ):
                answer = reader.ask(path=str(path), **wanted)
                problem = answer["problem"] or bad_files.surprise(name, answer, **wanted)
                if problem:
                    problems[f"{name} {wanted}"] = problem
                for what in worst:
                    worst[what] = max(worst[what], (answer.get(what, 0.0), name))
                if progress:
                    said = answer.get("text") or answer.get("remarks", "")
                    took = f"{answer.get('seconds', 0):5.2f} s"
                    used = f"{answer.get('megabytes', 0):5.0f} MB"
                    print(
                        f"{answer['kind']:10} {took} {used}  {name} "
                        f"{wanted or ''} {said} {problem and '<== ' + problem}"[:400],
                        flush=True,
                    )
            bad_files.remove(path)
    if progress:
        print(f"{len(bad_files.FILES)} files, {len(problems)} problems; worst {worst}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20000, help="how many inputs")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--seed", type=int, help="only this input, here in this process")
    parser.add_argument("--save", type=Path, help="where --seed writes its input")
    parser.add_argument("--bad", action="store_true", help="the hand-made bad files instead")
    parser.add_argument("--megabytes", type=float, default=10, help="size of the largest of them")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.child:
        child()
    elif a.bad:
        return bool(try_bad(a.megabytes))
    elif a.seed is not None:
        if a.save:
            a.save.write_bytes(mutated(a.seed))
        print(f"{len(mutated(a.seed))} bytes, options {options(a.seed)}: {try_seed(a.seed)}")
    else:
        start = time.perf_counter()
        findings, outcomes = fuzz(a.count, a.first, progress=True)
        took = time.perf_counter() - start
        ends = ", ".join(f"{n} {kind}" for kind, n in outcomes.items())
        print(f"{a.count} inputs in {took:.0f} s: {ends}; {len(findings)} findings")
        return bool(findings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
