"""How near the sound that spectrogram diffusion draws comes to the synthesiser's.

    python tests/benchmarks/notes_to_sound.py runs/spectrogram/model.safetensors
        --sounds runs/sounds.safetensors [--count 32] [--split test]

Windows of 128 columns of songs held back are drawn, and compared with the log-mel spectrogram of
the synthesiser's sound, in the second half, which has a past. Error is the mean absolute
difference in dB. Flux is how much a bin rises from frame to frame, over the real one's: what is
blurred has less than 1. Beside it stand

- "mean spectrum": the mean of each bin wherever anything sounds, of the recordings of training;
- "ridge": linear regression from three columns of notes to a column of the spectrogram, which is
  near to the least error that there is, and blurred;
- "Griffin-Lim": the sound made of the true spectrogram, heard again: the ceiling of what is drawn;
- "drawn, heard again": the same of what the model draws.

The table goes to assets/reports/notes_to_sound.json.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from three_readers import find_archive
from tqdm.auto import tqdm

from pomkit import load_model
from pomkit.data.mixture import Mixture
from pomkit.files import write
from pomkit.ladder.recordings import Recordings
from pomkit.ladder.sound import FAINTEST, FRAMES, audio_of, log_mel, mel_of, spectral_flux
from pomkit.ladder.spectrogram import note_planes
from pomkit.ladder.system import WINDOW, window_cells, with_beginnings
from pomkit.play.audio import sound_name

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "assets" / "reports" / "notes_to_sound.json"
# From -1 to 1 is as many decibels.
DECIBELS = -20 * math.log10(FAINTEST)
RIDGE = 30.0


def features(cells: np.ndarray) -> np.ndarray:
    """Three columns of notes about each column, and a 1: float (width, 3 * 128 + 1)."""
    planes = note_planes(with_beginnings(cells)).reshape(-1, cells.shape[1])
    near = [np.roll(planes, shift, axis=1) for shift in (1, 0, -1)]
    near[0][:, 0] = 0
    near[2][:, -1] = 0
    return np.concatenate([*near, np.ones((1, cells.shape[1]))]).T


def targets(mel: np.ndarray) -> np.ndarray:
    """The four frames of each column, float (width, 4 * bins)."""
    return mel.reshape(len(mel), -1, FRAMES).transpose(1, 0, 2).reshape(-1, len(mel) * FRAMES)


def fit_ridge(recordings: Recordings, count: int) -> np.ndarray:
    """The weights of the regression, float (features, 4 * bins)."""
    outer: Any = 0
    inner: Any = 0
    for number in range(min(count, len(recordings))):
        x = features(recordings[number].cells)
        outer = outer + x.T @ targets(recordings[number].mel)
        inner = inner + x.T @ x
    return np.linalg.solve(inner + RIDGE * np.eye(len(inner)), outer)


def mean_spectrum(recordings: Recordings, count: int) -> np.ndarray:
    """The mean of each bin where anything sounds, float (bins,)."""
    frames = [recordings[number].mel for number in range(min(count, len(recordings)))]
    joined = np.concatenate(frames, axis=1)
    return joined[:, (joined > -1).any(axis=0)].mean(axis=1)


def by_ridge(weights: np.ndarray, cells: np.ndarray, bins: int) -> np.ndarray:
    """The regression's spectrogram, float (bins, 4 * width)."""
    columns = (features(cells) @ weights).reshape(-1, bins, FRAMES)
    return columns.transpose(1, 0, 2).reshape(bins, -1).clip(-1, 1)


def main() -> int:
    """Print the table and write it."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model")
    p.add_argument("--sounds", required=True, help="recordings of training")
    p.add_argument("--count", type=int, default=32)
    p.add_argument("--fit", type=int, default=600, help="recordings that the baselines see")
    p.add_argument("--split", default="test")
    p.add_argument("--archive", type=Path)
    o = p.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)

    model = load_model(o.model, "cpu")
    recordings = Recordings(o.sounds)
    weights = fit_ridge(recordings, o.fit)
    mean = mean_spectrum(recordings, o.fit)
    windows = Mixture(str(find_archive(o.archive)), progress=False).windows(
        o.split, 2 * WINDOW, semitones=(0, 0)
    )

    # Error and flux of each window, by name; the second half counts.
    half = slice(FRAMES * WINDOW, None)
    rows: dict[str, list[tuple[float, float]]] = {}
    for number in tqdm(range(o.count)):
        picture = windows[number].picture
        real = mel_of(picture, model.scale)
        cells = window_cells(picture)
        drawn = model.draw(picture, seed=number)
        shown = {
            "mean spectrum": np.repeat(mean[:, None], real.shape[1], axis=1),
            "ridge": by_ridge(weights, cells, model.scale.bins),
            "drawn": drawn,
            "drawn, heard again": log_mel(audio_of(drawn, model.scale), model.scale).numpy(),
            "Griffin-Lim": log_mel(audio_of(real, model.scale), model.scale).numpy(),
        }
        flux = spectral_flux(real[:, half])
        for name, mel in shown.items():
            error = DECIBELS / 2 * np.abs(mel - real)[:, half].mean()
            ratio = spectral_flux(mel[:, half]) / max(flux, 1e-9)
            rows.setdefault(name, []).append((float(error), float(ratio)))

    table = {}
    for name, values in rows.items():
        error, ratio = np.mean(values, axis=0)
        table[name] = {"error in dB": round(float(error), 3), "flux": round(float(ratio), 3)}
        print(f"{name:20}", table[name])
    report = {"command": shlex.join(["python", *sys.argv]), "sound": sound_name(), "table": table}
    write(REPORT, json.dumps(report | {"windows": o.count}, indent=1).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
