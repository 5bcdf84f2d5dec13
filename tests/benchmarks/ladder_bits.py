"""The bits of systems of the ladder on held-out songs, and what Coconet's samplers are worth.

    python tests/benchmarks/ladder_bits.py bits runs/pixelcnn/model runs/tokens/model [--count 200]
    python tests/benchmarks/ladder_bits.py samplers runs/coconet/model --scorer runs/pixelcnn/model

`bits`: windows of 64 x 64 cells of POP909's validation split, in their own key. Beside the systems
stand tables without a network, which count the training split (`ladder.counting`), and each system
on the same windows with their pitches shuffled among their notes: one that has learned music needs
more bits for these.

`samplers`: the middle half of such windows is composed by each method of a Coconet, at several
numbers of calls, from the same seeds; a scorer that did not compose says how many bits the windows
have then. Fewer is not always better: real ones stand beside them, and so does their lit share.

Each figure with its 95 % bootstrap interval over windows; differences are paired.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from three_readers import find_archive

from pomkit import inpaint, load_model, masks
from pomkit.data.mixture import Mixture
from pomkit.ladder.counting import CONTEXTS, StateTable
from pomkit.ladder.system import WINDOW, window_cells
from pomkit.ladder.tokens import LENGTH, STRIKE, decode_tokens, encode_tokens
from pomkit.processes.states import ONSET
from pomkit.training import VALID_SEED

FITTED = 2000  # training windows that are counted
ROWS = [
    ("uncover", 1), ("uncover", 16), ("uncover", 64), ("gibbs", 16), ("gibbs", 64), ("gibbs", 256),
    ("one", 64), ("one", 512),
]  # fmt: skip


def pictures_of(archive: Path, split: str, count: int, seed: int) -> list[np.ndarray]:
    """Pictures of windows of a split, in their own key."""
    windows = Mixture(str(archive), "", False).windows(split, WINDOW, semitones=(0, 0), seed=seed)
    return [windows[number].picture for number in range(count)]


def cells_of_all(pictures: list[np.ndarray]) -> torch.Tensor:
    """Their cells, int64 (windows, 64, 64)."""
    return torch.from_numpy(np.stack([window_cells(picture) for picture in pictures]))


def shuffled(cells: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Windows whose notes have exchanged their pitches; notes that now meet are cut or hidden."""
    rng = np.random.default_rng(seed)
    result = []
    for each in cells.numpy():
        tokens = encode_tokens(each)
        is_pitch = (tokens >= STRIKE) & (tokens < LENGTH)
        tokens[is_pitch] = rng.permutation(tokens[is_pitch])
        # Drawn in the order of time, as `decode_tokens` does, and made canonical.
        drawn = decode_tokens(tokens)
        result.append(decode_tokens(encode_tokens(drawn)))
    return torch.from_numpy(np.stack(result))


def interval(values: np.ndarray) -> str:
    """A mean and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(2000, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{values.mean():8.1f} [{low:.1f}, {high:.1f}]"


@torch.no_grad()
def bits_of(model, cells: torch.Tensor) -> np.ndarray:
    """The bits of windows, float (windows,), 16 at a time; a bound's random numbers have a seed."""
    generator = torch.Generator().manual_seed(0)
    parts = [model.bits(part, generator) for part in cells.split(16)]
    return torch.cat(parts).double().numpy()


def show(name: str, bits: np.ndarray, cells: torch.Tensor) -> None:
    """Print a row: bits a window, a note, a cell."""
    notes = int((cells == ONSET).sum())
    note = f"{bits.sum() / notes:6.2f} a note"
    print(f"{name:44} {interval(bits)}  {note}  {bits.sum() / cells.numel():.4f} a cell")


def compare_bits(arguments: argparse.Namespace, archive: Path) -> None:
    """The table of bits."""
    cells = cells_of_all(pictures_of(archive, "valid", arguments.count, VALID_SEED))
    train = cells_of_all(pictures_of(archive, "train", FITTED, 0))
    for context in CONTEXTS:
        bits = StateTable(context).fit(train).bits(cells).numpy()
        show(f"counted, given {context}", bits, cells)

    others = shuffled(cells)
    for name in arguments.models:
        model = load_model(name)
        show(f"{name} ({model.likelihood})", bits_of(model, cells), cells)
        show("  the pitches shuffled", bits_of(model, others), others)


def compare_samplers(arguments: argparse.Namespace, archive: Path) -> None:
    """The table of samplers."""
    pictures = pictures_of(archive, "valid", arguments.count, VALID_SEED)
    scorer = load_model(arguments.scorer)
    model = load_model(arguments.models[0])
    mask = masks.bars(WINDOW, 2, 3)
    reference = None
    for method, calls in [("real", 0), *ROWS]:
        made = pictures
        if method != "real":
            made = [
                inpaint(model, picture, mask, method=method, calls=calls, seed=seed)[0]
                for seed, picture in enumerate(pictures)
            ]
        cells = cells_of_all(made)
        bits = bits_of(scorer, cells)
        reference = bits if (method, calls) == ("uncover", 1) else reference
        than = "" if reference is None else f"  than one shot {interval(bits - reference)}"
        lit = float((cells[..., 16:48] > 0).float().mean())
        print(f"{method:8} {calls:4} {interval(bits)}  lit {100 * lit:.1f} %{than}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["bits", "samplers"])
    parser.add_argument("models", nargs="+", help="of systems with a likelihood, or one Coconet")
    parser.add_argument("--scorer", help="samplers: a system with exact bits")
    parser.add_argument("--count", type=int, default=200, help="windows")
    parser.add_argument("--archive", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    archive = find_archive(arguments.archive)
    {"bits": compare_bits, "samplers": compare_samplers}[arguments.what](arguments, archive)


if __name__ == "__main__":
    main()
