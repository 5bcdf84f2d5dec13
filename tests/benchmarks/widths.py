"""Pictures wider than what a model learned: how the music is, and what it costs.

    python tests/benchmarks/widths.py [--cells tiny] [--edm tiny-edm] [--count 12]
        [--archive pop909.tar.xz]

The second half of a window is composed, the first one and the chords are known; 16 calls. Windows
of POP909's validation split, as wide as said; songs that are shorter do not take part. Each model
composes up to `model.span` columns at once. Measures as in `claims`, each with its 95 % interval.

- cpu_seconds: of one window, one thread.
- memory: of a process of its own, how many bytes composing adds to its largest size; also for a
  width that no song has.

Writes assets/reports/widths.json.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from claims import PARTS, ROOT, Bench, write
from three_readers import find_archive

from pomkit import data

WIDTHS = (256, 512, 1024)
WIDER = (*WIDTHS, 2048, 4096)
CALLS = 16
TASK = "continuation"
ROWS = {
    "cells": ("cells", {"calls": CALLS}),
    "edm": ("edm", {"calls": CALLS, "method": "conditioned"}),
}
# Composes one picture, with two calls, in a fresh process.
MEMORY = """
import resource, sys
import numpy as np
import pomkit
model, width = pomkit.load_model(sys.argv[1]), int(sys.argv[2])
picture = np.zeros((128, width, 3), np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pomkit.inpaint(model, picture, pomkit.masks.bars(picture, width // 32 + 1, width // 16), calls=2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def memory_of(name: str, width: int) -> int:
    """Megabytes that composing half of a picture adds to a process."""
    command = [sys.executable, "-c", MEMORY, name, str(width)]
    kilobytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return round(int(kilobytes) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", default="tiny")
    parser.add_argument("--edm", default="tiny-edm")
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--count", type=int, default=12, help="windows of each width")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "reports")
    o = parser.parse_args()
    corpus = data.read_corpus(find_archive(o.archive), progress=False)
    songs = list(corpus.split("valid").songs)
    names = {"cells": o.cells, "edm": o.edm}
    PARTS["widths"] = ((TASK,), ROWS, "cells")

    command = f"python tests/benchmarks/widths.py --cells {o.cells} --edm {o.edm} --count {o.count}"
    report: dict[str, Any] = {"command": f"{command} --seed {o.seed}", "split": "valid"}
    report["memory, MB"] = {
        which: {str(width): memory_of(name, width) for width in WIDER}
        for which, name in names.items()
    }
    bench = Bench(songs, [], names, o.count, o.seed)
    report["learned"] = {which: model.width for which, model in bench.models.items()}
    report["widths"] = {}
    for width in WIDTHS:
        bench.width = width
        bench.tasks.clear()
        part = bench.part("widths")
        keep = {key: part[key] for key in ("rows", "windows", "tasks", "differences")}
        report["widths"][str(width)] = keep
    write(o.out / "widths.json", report)


if __name__ == "__main__":
    main()
