"""How long 32 bars take, beside an older checkout of pomkit, in the same run and in turn.

    python tests/benchmarks/speed.py [models] [--before FOLDER] [--turns 5] [--threads 2]
        [--ways '{"halton 6": {"calls": 6, "order": "halton"}}']

Each model composes a picture of 512 columns from nothing, in a process of its own that has loaded
it and composed once before. Then the processes take turns, so that other work on the machine slows
all of them alike. A row gives the least seconds on the clock and of CPU time over the turns, and
both as a ratio to the model's row of the older checkout. `--ways` adds rows with other options.

The older checkout is a folder, as `git worktree add --detach FOLDER COMMIT` makes one. It prints
the table; nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# What a process does: it composes once for every line that it reads, and says how long it took.
WORKER = """
import json, sys, time
import numpy as np, torch
import pomkit
torch.set_num_threads(int(sys.argv[2]))
model = pomkit.load_model(sys.argv[1])
options = json.loads(sys.argv[3])
picture = np.zeros((128, 512, 3), np.uint8)
mask = pomkit.masks.everything(picture)
pomkit.inpaint(model, picture, mask, seed=0, **options)
for line in sys.stdin:
    clock, cpu = time.perf_counter(), time.process_time()
    pomkit.inpaint(model, picture, mask, seed=0, **options)
    print(json.dumps([time.perf_counter() - clock, time.process_time() - cpu]), flush=True)
"""


class Composer:
    """A process that composes 32 bars whenever it is asked.

    Attributes:
        clock, cpu: the least seconds so far.
    """

    def __init__(self, folder: Path, model: str, threads: int, options: dict[str, Any]) -> None:
        arguments = [model, str(threads), json.dumps(options)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            env=os.environ | {"PYTHONPATH": str(folder)},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.clock = self.cpu = float("inf")

    def compose(self) -> None:
        """Compose once, and keep the time if it is the least."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        clock, cpu = json.loads(self.process.stdout.readline())
        self.clock = min(self.clock, clock)
        self.cpu = min(self.cpu, cpu)

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["tiny", "small"], help="names or paths")
    parser.add_argument("--before", type=Path, default=None, help="an older checkout")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--ways", type=json.loads, default={}, help="name -> options of inpaint")
    o = parser.parse_args()

    ways = {"": {}} | o.ways
    composers = {}
    for model, way in product(o.models, ways):
        row = f"{model}, {way}" if way else model
        composers[row] = Composer(ROOT, model, o.threads, ways[way])
    if o.before:
        for model in o.models:
            composers[f"{model}, before"] = Composer(o.before.resolve(), model, o.threads, {})
    for _ in range(o.turns):
        for composer in composers.values():
            composer.compose()

    print(f"32 bars, {o.threads} threads, the least of {o.turns} turns\n")
    print("| | seconds | CPU seconds | over before | CPU over before |\n|---|---|---|---|---|")
    for row, composer in composers.items():
        cells = [f"{composer.clock:.2f}", f"{composer.cpu:.2f}"]
        before = composers.get(f"{row.partition(', ')[0]}, before")
        if before:
            cells += [f"{composer.clock / before.clock:.2f}", f"{composer.cpu / before.cpu:.2f}"]
        print(f"| {row} | {' | '.join(cells)} |")
        composer.close()


if __name__ == "__main__":
    main()
