"""Ship finished rungs of the ladder: 16-bit weights, and the bits of music before and after.

    python tests/benchmarks/ship_rungs.py pixelcnn=runs/ladder/pixelcnn coconet=runs/ladder/coconet
        [--archive pop909.tar.xz] [--count 32]

Each becomes assets/models/ladder/NAME.safetensors and .json, which `load_model("ladder/NAME")`
loads. Its card then says, under "shipped": bits per note of so many windows of POP909's validation
songs with 32-bit and with 16-bit weights, where the rung gives bits. One that is larger than MOST
bytes is not shipped: its command remakes it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from three_readers import find_archive

from pomkit import load_model
from pomkit.data.reading import read_corpus
from pomkit.ladder.counting import per_unit, spread_windows
from pomkit.processes.checkpoint import save_model

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "assets" / "models" / "ladder"
MOST = 650_000  # bytes of a file of weights
BATCH = 8


@torch.no_grad()
def note_bits(model: Any, cells: torch.Tensor) -> float | None:
    """Bits per note of windows, int64 (windows, 64, 64); None where a rung gives none."""
    if model.likelihood == "none":
        return None
    generator = torch.Generator().manual_seed(0)
    parts = [model.bits(part, generator).double() for part in cells.split(BATCH)]
    return round(per_unit(torch.cat(parts), cells)["note"], 4)


def ship(name: str, run: Path, cells: torch.Tensor) -> None:
    """Write one rung, and print its row."""
    model = load_model(run / "model.safetensors", "cpu")
    with tempfile.TemporaryDirectory() as folder:
        half = save_model(Path(folder) / name, model, dtype=torch.float16)
        size = half.stat().st_size
        after = note_bits(load_model(half, "cpu"), cells)
    facts = {"windows": len(cells), "bits a note": note_bits(model, cells)}
    facts |= {"bits a note, 16-bit weights": after}
    if size > MOST:
        print(f"{name}: {size:,} bytes are more than {MOST:,}; it is remade by its command", facts)
        return
    save_model(FOLDER / name, model, model.card | {"shipped": facts}, torch.float16)
    print(f"{name}: {size:,} bytes", facts)


def main() -> None:
    """Ship what is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", help="NAME=FOLDER, the folder of a finished training")
    parser.add_argument("--count", type=int, default=32, help="windows")
    parser.add_argument("--archive", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpus = read_corpus(find_archive(arguments.archive))
    cells = spread_windows(corpus.split("valid").songs, arguments.count)
    for each in arguments.runs:
        name, _, folder = each.partition("=")
        ship(name, Path(folder), cells)


if __name__ == "__main__":
    main()
