"""How well the sound of music is written down: note F1 of DiffRoll beside simpler ways.

    python tests/benchmarks/transcription.py runs/diffroll/model.safetensors
        --sounds runs/sounds.safetensors [--once runs/diffroll-once/model.safetensors]
        [--count 48] [--split test] [--seed 0]

Windows of 64 columns of songs held back are played by pomkit's own synthesiser and transcribed. A
note is right if its pitch is and its onset lies within 50 ms (mir_eval); offsets do not count. All
knobs, thresholds and temperatures, are chosen on as many windows of the validation split.

- "harmonic sum": a note begins where the summed loudness of a pitch's harmonics rises enough and
  no neighbour rises more: no learning, two thresholds;
- "linear map": each onset is a weighted sum of three columns of the spectrogram, by ridge
  regression on the recordings of training, against a threshold. It is strong, because one
  synthesiser plays each note alike: whatever a network reaches is to be read beside it;
- "once": the same network trained to answer in one call, its probabilities against a threshold;
- "diffroll": 16 calls; "diffroll, one call" is the same weights asked once;
- "no sound": DiffRoll that hears nothing, which is chance;
- "gap": the sound of the middle 16 columns is not told, and their cells are open like all others:
  F1 outside of the gap beside that with all sound, and inside, where it composes.

The sound is of one synthesiser and one soundfont, in training and here. The figures do not carry
over to recordings. The table goes to assets/reports/transcription.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mir_eval
import numpy as np
import torch
from three_readers import find_archive

from pomkit import inpaint, load_model, masks
from pomkit.data.mixture import Mixture
from pomkit.files import write
from pomkit.ladder.recordings import Recordings
from pomkit.ladder.sound import (
    COLUMN,
    FRAMES,
    SOUND_RATE,
    log_mel,
    sound_of,
    stft,
    to_log,
)
from pomkit.ladder.system import HIDDEN, HIGHEST, ONSET, ROW_COUNT, WINDOW, window_cells
from pomkit.play.audio import sound_name

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "assets" / "reports" / "transcription.json"
GAP = slice(24, 40)  # columns
THRESHOLDS = np.linspace(0.1, 0.8, 15)
TEMPERATURES = (0.1, 0.3, 0.5, 1.0)
HARMONICS = 6
FALL = 0.7  # weight of each harmonic, of the one before
RIDGE = 3.0


class Piece:
    """A window, its sound and the notes that are looked for."""

    def __init__(self, picture: np.ndarray, scale: Any) -> None:
        self.picture = picture
        self.onsets = window_cells(picture) == ONSET
        audio = sound_of(picture)
        self.mel = log_mel(audio, scale).numpy()
        self.loudness = to_log(stft(torch.from_numpy(audio)).abs()).numpy()


def pieces_of(data: str, split: str, count: int, scale: Any, seed: int) -> list[Piece]:
    """Windows of a split, not transposed."""
    windows = Mixture(data, progress=False).windows(split, WINDOW, semitones=(0, 0), seed=seed)
    return [Piece(windows[i].picture, scale) for i in range(count)]


def f1(wanted: np.ndarray, found: np.ndarray) -> float:
    """mir_eval's note F1 of onset cells, bool (64, columns); 1 where nothing is and was found."""
    if not wanted.any() or not found.any():
        return float(wanted.any() == found.any())
    notes = []
    for onsets in (wanted, found):
        rows, columns = np.nonzero(onsets)
        begin = columns * COLUMN / SOUND_RATE
        pitches = mir_eval.util.midi_to_hz(HIGHEST - rows)
        notes += [np.stack([begin, begin + 0.1], axis=1), pitches]
    measure = mir_eval.transcription.precision_recall_f1_overlap
    return float(measure(*notes, offset_ratio=None)[2])


def mean_f1(pieces: Sequence[Piece], ask: Callable[[Piece], np.ndarray]) -> tuple[float, float]:
    """The mean F1 over pieces, and half of its 95 % interval."""
    values = np.array([f1(piece.onsets, ask(piece)) for piece in pieces])
    return float(values.mean()), float(1.96 * values.std() / np.sqrt(len(values)))


def harmonic_rise(piece: Piece) -> np.ndarray:
    """How much the harmonics of each pitch grow louder from column to column, float (64, 64)."""
    frequency = 440 * 2 ** ((HIGHEST - np.arange(ROW_COUNT) - 69) / 12)
    salience = np.zeros((ROW_COUNT, piece.loudness.shape[1]))
    for harmonic in range(1, HARMONICS + 1):
        place = np.rint(frequency * harmonic * 2048 / SOUND_RATE).astype(int)
        inside = place < len(piece.loudness)
        salience[inside] += FALL ** (harmonic - 1) * (piece.loudness[place[inside]] + 1) / 2
    columns = salience.reshape(ROW_COUNT, -1, FRAMES).mean(axis=2)
    rise = np.diff(columns, axis=1, prepend=0)
    beside = np.maximum(np.roll(rise, 1, axis=0), np.roll(rise, -1, axis=0))
    return np.where(rise >= beside, rise, 0)


def near_columns(mel: np.ndarray) -> np.ndarray:
    """The frames of three columns about each, 0 to 1, and a 1: float (width, 12 bins + 1)."""
    columns = mel.reshape(len(mel), -1, FRAMES).transpose(1, 0, 2).reshape(-1, len(mel) * FRAMES)
    beside = np.pad((columns + 1) / 2, ((1, 1), (0, 0)))
    return np.concatenate([beside[:-2], beside[1:-1], beside[2:], np.ones((len(columns), 1))], 1)


def fit_linear(recordings: Recordings, count: int) -> np.ndarray:
    """The weights of the linear map from spectrograms to onsets, float (12 bins + 1, 64)."""
    outer: Any = 0
    inner: Any = 0
    for number in range(min(count, len(recordings))):
        x = near_columns(recordings[number].mel)
        outer = outer + x.T @ (recordings[number].cells == ONSET).T
        inner = inner + x.T @ x
    return np.linalg.solve(inner + RIDGE * np.eye(len(inner)), outer)


def sure_onsets(model: Any, piece: Piece) -> np.ndarray:
    """The probability of an onset of each cell with all others hidden, float (64, 64)."""
    cells = torch.full((1, ROW_COUNT, WINDOW), HIDDEN)
    with torch.inference_mode():
        logits = model(cells, torch.from_numpy(piece.mel)[None], torch.ones(1))
    return logits.softmax(1)[0, ONSET].numpy()


def transcribed(model: Any, piece: Piece, mel: np.ndarray | None, **how: Any) -> np.ndarray:
    """Where notes begin in what a model writes down, bool (64, 64)."""
    mask = masks.everything(piece.picture)
    out = inpaint(model, np.zeros_like(piece.picture), mask, mel=mel, seed=0, top_p=1.0, **how)
    return window_cells(out[0]) == ONSET


def best(values: Sequence[float], score: Callable[[float], float]) -> float:
    """The value with the highest score."""
    return max(values, key=score)


def with_threshold(
    valid: Sequence[Piece], test: Sequence[Piece], strength: Callable[[Piece], np.ndarray]
) -> dict[str, float]:
    """F1 of a strength above the threshold that is best on validation windows."""
    top = float(np.quantile([strength(piece).max() for piece in valid], 0.9))
    known = {id(piece): strength(piece) for piece in [*valid, *test]}

    def score(threshold: float) -> float:
        return mean_f1(valid, lambda piece: known[id(piece)] > threshold)[0]

    threshold = best((THRESHOLDS * top).tolist(), score)
    mean, half = mean_f1(test, lambda piece: known[id(piece)] > threshold)
    return {"f1": mean, "half": half, "threshold": threshold}


def with_calls(
    model: Any, test: Sequence[Piece], told: Callable[[Piece], Any], how: dict[str, Any]
) -> dict[str, float]:
    """F1 of a model that is told something of each piece's sound."""
    mean, half = mean_f1(test, lambda piece: transcribed(model, piece, told(piece), **how))
    return {"f1": mean, "half": half, **how}


def with_gap(model: Any, test: Sequence[Piece], how: dict[str, Any]) -> dict[str, Any]:
    """F1 outside and inside of a gap in the sound, beside the same columns with all sound."""
    rows: dict[str, list[float]] = {"outside": [], "outside, all told": [], "inside": []}
    outside = np.ones(WINDOW, bool)
    outside[GAP] = False
    for piece in test:
        told = piece.mel.copy()
        told[:, FRAMES * GAP.start : FRAMES * GAP.stop] = np.nan
        deaf = transcribed(model, piece, told, **how)
        whole = transcribed(model, piece, piece.mel, **how)
        rows["outside"].append(f1(piece.onsets[:, outside], deaf[:, outside]))
        rows["outside, all told"].append(f1(piece.onsets[:, outside], whole[:, outside]))
        rows["inside"].append(f1(piece.onsets[:, GAP], deaf[:, GAP]))
    return {name: float(np.mean(values)) for name, values in rows.items()}


def main() -> int:
    """Print the table and write it."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model")
    p.add_argument("--sounds", required=True, help="recordings of training")
    p.add_argument("--fit", type=int, default=600, help="recordings that the linear map sees")
    p.add_argument("--once", default="", help="a model that was trained with once")
    p.add_argument("--count", type=int, default=48, help="windows of each split")
    p.add_argument("--split", default="test")
    p.add_argument("--archive", type=Path)
    p.add_argument("--seed", type=int, default=0)
    o = p.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)

    model = load_model(o.model, "cpu")
    data = str(find_archive(o.archive))
    valid = pieces_of(data, "valid", o.count, model.scale, o.seed)
    test = pieces_of(data, o.split, o.count, model.scale, o.seed)

    table: dict[str, Any] = {"harmonic sum": with_threshold(valid, test, harmonic_rise)}
    weights = fit_linear(Recordings(o.sounds), o.fit)
    table["linear map"] = with_threshold(
        valid, test, lambda piece: (near_columns(piece.mel) @ weights).T
    )
    if o.once:
        once = load_model(o.once, "cpu")
        table["once"] = with_threshold(valid, test, lambda piece: sure_onsets(once, piece))
    table["diffroll, one call"] = with_threshold(
        valid, test, lambda piece: sure_onsets(model, piece)
    )

    def score(temperature: float) -> float:
        return mean_f1(
            valid, lambda piece: transcribed(model, piece, piece.mel, temperature=temperature)
        )[0]

    temperature = best(TEMPERATURES, score)
    how = {"temperature": temperature}
    for name, told in (("diffroll", lambda piece: piece.mel), ("no sound", lambda piece: None)):
        table[name] = with_calls(model, test, told, how)
    table["gap"] = with_gap(model, test, how)

    for name, row in table.items():
        print(f"{name:20}", *(f"{key} {value:.3f}" for key, value in row.items()))
    report = {"command": shlex.join(["python", *sys.argv]), "sound": sound_name(), "table": table}
    report |= {"windows": o.count, "split": o.split}
    write(REPORT, json.dumps(report, indent=1).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
