"""How much of what models compose comes back, over 64 bars: beside real songs and plain copies.

    python tests/benchmarks/structure.py [models] [--count 24] [--split valid]
        [--chords annotated none] [--seed 0]

Of every song with 64 bars the bars 1 to 16 are known, and each model composes the bars 17 to 64 as
one wide region. A bar repeats if at least 80 % of its onsets stand in an earlier bar, see
`pomkit.judge.structure`: exactly, in its rhythm, in its contour; any earlier bar, or the one 1, 2,
4 or 8 bars before. Counted are the bars that were composed. Beside the models stand

- "real": the song itself;
- "copy": the 16 known bars three times more, which is too much of it;
- "nearest": the training bars whose first 16 bars match best: real structure, of another song;
- "permuted": the real notes, their pitches dealt anew: the rhythm comes back, the rest does not.

A value stands with its 95 % bootstrap interval over songs, and once more over the real songs' with
the same draws ("over_real"; 1 is as much as real). What was composed is kept in out/structure by
weights and options. The table goes to assets/reports/structure.json, the pictures of one song to
assets/pictures/structure.png.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from three_readers import find_archive
from tqdm.auto import tqdm

from pomkit import data, inpaint, load_model, masks, render
from pomkit.composing.options import check_options
from pomkit.files import write
from pomkit.judge.baselines import Training, nearest, permuted, redraw
from pomkit.judge.clips import read_clips
from pomkit.judge.intervals import draw_songs, interval_of
from pomkit.judge.structure import count_repeats, draw_structure
from pomkit.judge.tasks import CHORDS, TestWindow, as_brought
from pomkit.processes.checkpoint import card_path
from pomkit.processes.orders import ORDER_OPTIONS

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "out" / "structure"
REPORT = ROOT / "assets" / "reports" / "structure.json"
PICTURE = ROOT / "assets" / "pictures" / "structure.png"
KNOWN = 16  # bars
BARS = 64
COUNTED = np.arange(BARS) >= KNOWN


class Piece(NamedTuple):
    """The first 64 bars of a song.

    Attributes:
        window: the song, where its first bar begins, and the picture of the bars.
        lines: steps of the bar lines in the picture, int (65,).
        mask: the bars that are composed, bool (128, width).
    """

    window: TestWindow
    lines: np.ndarray
    mask: np.ndarray


def find_pieces(songs: list[Any], count: int) -> list[Piece]:
    """The first songs that have so many bars."""
    found = []
    for song in songs:
        lines = song.bar_lines()
        start = song.bars[0] if song.bars else 0
        lines = lines[lines >= start][: BARS + 1]
        if len(lines) > BARS:
            width = int(lines[-1] - start)
            picture = render(song, start, width)
            mask = masks.box(width, steps=(int(lines[KNOWN] - start), width))
            found.append(Piece(TestWindow(song, start, picture), lines - start, mask))
    return found[:count]


def copied_bars(piece: Piece) -> np.ndarray:
    """The known bars again and again, each in a bar of the song: uint8 (128, width, 3)."""
    notes = read_clips([piece.window.picture]).notes
    bar = np.searchsorted(piece.lines, notes["onset"], side="right") - 1
    copies = []
    for number in range(KNOWN, BARS):
        copy = notes[bar == number % KNOWN]
        copy["onset"] += piece.lines[number] - piece.lines[number % KNOWN]
        copies.append(copy[copy["onset"] < piece.lines[number + 1]])
    return redraw(piece.window.picture, piece.mask, np.concatenate(copies))


class Composer:
    """Composes pieces by a model, and keeps what it composed."""

    def __init__(self, name: str, chords: str, seed: int) -> None:
        card = json.loads(card_path(name).read_text())
        self.weights = card["sha256"][:12]
        self.name, self.chords, self.seed = name, chords, seed
        self.model = load_model(name)
        self.seconds = 0.0

    def __call__(self, number: int, piece: Piece) -> np.ndarray:
        """One piece, uint8 (128, width, 3); its number is the seed."""
        shown = as_brought(piece.window, self.chords)
        usual = [dict(self.model.methods), ORDER_OPTIONS, self.model.usual_temperature]
        usual += [self.model.usual_warming, check_options(self.model, {}).top_p]
        asked = [self.weights, self.seed + number, shown.shape, usual]
        key = hashlib.sha256(json.dumps(asked).encode() + shown.tobytes() + piece.mask.tobytes())
        path = CACHE / f"{Path(self.name).stem}-{key.hexdigest()[:16]}.npz"
        if path.is_file():
            return np.load(path)["picture"]

        began = time.process_time()
        seed = self.seed + number
        made = inpaint(self.model, shown, piece.mask, seed=seed, bars=piece.lines.tolist())
        picture = np.where(piece.mask[..., None], np.asarray(made[0]), piece.window.picture)
        self.seconds += time.process_time() - began
        write(path, partial(np.savez_compressed, picture=picture))
        return picture


def measure(pieces: list[Piece], pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Measure -> numerators and denominators, float (songs, 2)."""
    rows = []
    for piece, picture in zip(pieces, pictures, strict=True):
        counts: dict[str, tuple[float, float]] = {}
        counts |= count_repeats(read_clips([picture]).notes, piece.lines, COUNTED)
        inside = read_clips([picture], piece.mask).notes
        counts["notes a bar"] = (len(inside), BARS - KNOWN)
        counts["note length"] = (inside["duration"].sum(), len(inside))
        counts["one-step notes"] = ((inside["duration"] == 1).sum(), len(inside))
        rows.append(counts)
    return {name: np.array([row[name] for row in rows], float) for name in rows[0]}


def table_of(counts: dict[str, dict[str, np.ndarray]], seed: int) -> dict[str, Any]:
    """Row -> "values" and "over_real": measure -> [value, low, high]."""
    songs = len(next(iter(counts["real"].values())))
    draws = draw_songs(np.arange(songs), songs, seed)  # (1 + DRAWS, songs)
    shares = {
        row: {name: np.divide(*(draws @ pairs).T) for name, pairs in measures.items()}
        for row, measures in counts.items()
    }
    rows = {}
    for row, measures in shares.items():
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = {name: share / shares["real"][name] for name, share in measures.items()}
        rows[row] = {"values": rounded(measures), "over_real": rounded(ratios)}
    return rows


def rounded(draws: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Each measure's value and interval to four decimals; what is not defined is left out."""
    found = {}
    for name, each in draws.items():
        if np.isfinite(each[0]):
            defined = np.where(np.isfinite(each), each, np.nan)
            found[name] = [round(x, 4) for x in interval_of(defined)]
    return found


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("models", nargs="*", default=["tiny"], help="names or paths")
    p.add_argument("--count", type=int, default=24, help="songs")
    p.add_argument("--split", default="valid")
    p.add_argument("--chords", nargs="+", default=["annotated"], choices=CHORDS)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--drawn", type=int, default=None, help="the number of the song in the picture")
    p.add_argument("--archive", type=Path, default=None)
    a = p.parse_args()
    torch.set_num_threads(1)
    corpus = data.read_corpus(find_archive(a.archive), progress=False)
    pieces = find_pieces(list(corpus.split(a.split).songs), a.count)
    training = Training(list(corpus.split("train").songs))

    # Every row's pictures, one a song.
    rng = [np.random.default_rng((a.seed, number)) for number in range(len(pieces))]
    made: dict[str, list[np.ndarray]] = {
        "real": [piece.window.picture for piece in pieces],
        "copy": [copied_bars(piece) for piece in pieces],
        "nearest": [
            nearest(piece.window.picture, piece.mask, training, "all", each)
            for piece, each in zip(pieces, rng, strict=True)
        ],
        "permuted": [
            permuted(piece.window.picture, piece.mask, each)
            for piece, each in zip(pieces, rng, strict=True)
        ],
    }
    models = {}
    for name in a.models:
        for chords in a.chords:
            row = Path(name).stem + ("" if chords == "annotated" else f", chords {chords}")
            composer = Composer(name, chords, a.seed)
            todo = tqdm(pieces, row, mininterval=10)
            made[row] = [composer(number, piece) for number, piece in enumerate(todo)]
            models[row] = {"weights": composer.weights, "cpu_seconds": round(composer.seconds, 1)}

    rows = table_of({row: measure(pieces, pictures) for row, pictures in made.items()}, a.seed)
    for row, table in rows.items():
        for name, (value, low, high) in table["over_real"].items():
            print(f"{row:24} {name:16} {table['values'][name][0]:.3f}", end="")
            print(f"  over real {value:.3f} ({low:.3f} to {high:.3f})")
    write_report(a, pieces, rows, models)

    # By default the song whose share of repeats is the middle one.
    exact = measure(pieces, made["real"])["exact, any"]
    middle = int(np.argsort(exact[:, 0] / exact[:, 1])[len(pieces) // 2])
    chosen = middle if a.drawn is None else a.drawn
    drawn = {row: read_clips([pictures[chosen]]).notes for row, pictures in made.items()}
    name = pieces[chosen].window.song.name
    title = f"song {name}, 64 bars, those behind the lines composed"
    draw_structure(PICTURE, drawn, pieces[chosen].lines, first=KNOWN + 1, title=title)


def write_report(a: argparse.Namespace, pieces: list[Piece], rows: Any, models: Any) -> None:
    """Write the table; it says which songs, weights and command it comes from."""
    report = {
        "command": "python tests/benchmarks/structure.py " + shlex.join(sys.argv[1:]),
        "split": a.split,
        "seed": a.seed,
        "songs": [piece.window.song.name for piece in pieces],
        "bars": [KNOWN + 1, BARS],
        "weights": models,
        "rows": rows,
    }
    write(REPORT, json.dumps(report, indent=1).encode() + b"\n")
    print(f"wrote {REPORT}")


if __name__ == "__main__":
    main()
