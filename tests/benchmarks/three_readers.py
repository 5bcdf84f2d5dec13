"""`read_midi` held to mido and pretty_midi on every song of the POP909 archive, tick for tick.

    python tests/benchmarks/three_readers.py [--archive pop909.tar.xz] [--every 1]

Each song is also written and read again, on every grid.
"""

from __future__ import annotations

import argparse
import os
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))


def find_archive(named: Path | None) -> Path:
    """The archive named, or the one in POMKIT_DATA or in shared/data.

    The latter is looked for inside and beside the checkout.
    """
    named_folder = os.environ.get("POMKIT_DATA", "")
    folders = [named_folder, ROOT / "shared" / "data", ROOT.parent / "shared" / "data"]
    for path in [named] if named else [Path(f) / "pop909.tar.xz" for f in folders if f]:
        if path and path.is_file():
            return path
    sys.exit(
        "no archive: name it with --archive, or set POMKIT_DATA to the folder of pop909.tar.xz"
    )


def midi_in(archive: Path) -> dict[str, bytes]:
    """Every MIDI file of a tar archive by name, unpacked into memory."""
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.endswith(".mid") and (file := tar.extractfile(member)):
                found[member.name] = file.read()
    return dict(sorted(found.items()))


def main() -> int:
    import midi_files as m
    from tqdm import tqdm

    import pomkit

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--archive", type=Path, help="pop909.tar.xz (else: in POMKIT_DATA, or shared/data)"
    )
    parser.add_argument("--every", type=int, default=1, help="only every n-th song")
    a = parser.parse_args()
    files = list(midi_in(find_archive(a.archive)).items())[:: a.every]
    notes, differ, faults = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for name, data in tqdm(files, disable=None):
            real, problem = m.note_ons(data), m.disagreement(data)
            notes += real or 0
            differ += not m.same_rule(data)
            for grid in (1, 2, 3, 4, 6, 8, 12, 24):
                song = pomkit.read_midi(data, grid)
                r = song.report
                if r.kept + r.merged + r.dropped != real:
                    problem += f"; at {grid} steps a beat {r.kept} kept + {r.merged} merged"
                    problem += f" + {r.dropped} dropped of {real}"
                written = song.write_midi(Path(folder) / "x.mid", plain=True)
                if pomkit.read_midi(written, grid) != song:
                    problem += f"; at {grid} steps a beat another Song after writing and reading"
            if problem:
                faults += 1
                tqdm.write(f"{name}: {problem}")
    print(
        f"{len(files)} songs, {notes} notes: {faults} with a disagreement; in {differ} the rule of "
        "pretty_midi for overlapping, unended and zero-length notes gives others than first in, "
        "first out"
    )
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
