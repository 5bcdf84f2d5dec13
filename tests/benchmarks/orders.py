"""Orders of uncovering at few network calls: which cells a call settles, which it hides again.

    python tests/benchmarks/orders.py [--cells tiny] [--count 24] [--calls 2,4,8,16]
        [--tasks "loop middle,melody"] [--rows random,halton,entropy,"random remask .5"]

Windows of POP909's validation split, the annotated chords shown. Rows are an order, with the share
of the settled cells that is hidden again; each at every number of calls. Overlapping area, chord
accuracy, notes over the real ones, mean note length, the share of notes of one step less that of
the real ones; each with a 95 % bootstrap interval over songs, and with its difference from the
random order at as many calls over the same draws. One call more settles what is broken.

It writes assets/reports/orders.json. What was composed is kept, see `claims`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from claims import PARTS, ROOT, Bench, Draws, Options, write
from three_readers import find_archive

from pomkit import data, parse
from pomkit.music.pixels import row_of_pitch

ROWS = ("random", "halton", "entropy", "random remask .5")
SHOWN = ("overlapping_area", "chord_accuracy", "density", "note_length", "one_step")


def row_of(name: str, calls: int) -> tuple[str, Options]:
    """A row of the table: the model, and the options of `inpaint`."""
    order, _, remask = name.partition(" remask ")
    options: Options = {"steps": calls, "top_p": 0.95, "order": order}
    if remask:
        options["remask"] = float(remask)
    return "cells", options


class Orders(Bench):
    """A bench whose rows stand against the random order at as many calls."""

    def references(self, name: str) -> dict[str, str]:
        """The reference of each row."""
        rows = PARTS[name][1]
        calls = {row: row.rpartition(", ")[2] for row in rows}
        found = {row: f"random, {calls[row]}" for row in rows}
        return found | dict.fromkeys(("real", "permuted"), next(reversed(rows)))

    def measure(self, task: str, made: dict[str, np.ndarray]) -> Draws:
        """Every row's measures, and the share of notes of one step less that of the real ones."""
        found = super().measure(task, made)
        real = self.one_step(task, made["real"])
        for row, pictures in made.items():
            found[row]["one_step"] = self.one_step(task, pictures) - real
        return found

    def one_step(self, task: str, pictures: np.ndarray) -> np.ndarray:
        """The share of notes inside the masks that last one step, over draws of songs."""
        windows, regions, count = self.task(task)
        rows = []
        for picture, mask in zip(pictures, regions, strict=False):
            notes = parse(picture).notes
            length = notes["duration"][mask[row_of_pitch(notes["pitch"]), notes["onset"]]]
            rows.append((np.count_nonzero(length == 1), len(length)))
        names = np.array([window.song.name for window in windows[:count]])
        songs, number = np.unique(names, return_inverse=True)
        rng = np.random.default_rng(self.seed)
        draws = [
            np.ones(len(songs)),
            *rng.multinomial(len(songs), np.ones(len(songs)) / len(songs), 200),
        ]
        weights = np.array(draws)[:, number]  # (1 + 200, count)
        short, all_notes = (weights @ np.array(rows)).T
        return short / np.maximum(all_notes, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", default="tiny")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--calls", default="2,4,8,16")
    parser.add_argument("--tasks", default="loop middle,melody")
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--count", type=int, default=24, help="windows a task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "reports" / "orders.json")
    o = parser.parse_args()
    rows = {
        f"{name}, {calls} calls": row_of(name, int(calls))
        for calls in o.calls.split(",")
        for name in o.rows.split(",")
    }
    PARTS.clear()
    PARTS["orders"] = (tuple(o.tasks.split(",")), rows, next(iter(rows)))
    corpus = data.read_corpus(find_archive(o.archive), progress=False)
    songs = list(corpus.split("valid").songs)

    began = time.process_time()
    report = Orders(songs, [], {"cells": o.cells}, o.count, o.seed).part("orders")
    command = f"python tests/benchmarks/orders.py --cells {o.cells} --count {o.count}"
    command += f" --rows '{o.rows}' --calls {o.calls} --tasks '{o.tasks}' --seed {o.seed}"
    settings: dict[str, Any] = {"command": command, "split": "valid"}
    report = settings | report | {"cpu_seconds": round(time.process_time() - began, 1)}
    write(o.out, report)
    for task, table in report["tasks"].items():
        print(task)
        for row, values in table.items():
            print(f"{row:32}", {key: values.get(key) for key in SHOWN})


if __name__ == "__main__":
    main()
