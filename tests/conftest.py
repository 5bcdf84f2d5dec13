"""Songs and models that many tests use."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pomkit import Chord, Song
from pomkit.data import reading
from pomkit.music.chords import QUALITIES, ROOTS
from pomkit.music.tables import NOTE_DTYPE


def make_song(
    rng: np.random.Generator, count: int = 200, end: int = 300, parts: int = 3, chords: bool = True
) -> Song:
    """A random song that has what is difficult in songs.

    Notes overlap and are struck again, some twice at one pitch and step, some in the border rows.
    """
    notes = np.zeros(count, NOTE_DTYPE)
    notes["onset"] = rng.integers(0, end, count)
    notes["duration"] = rng.integers(1, 40, count)
    notes["pitch"] = np.clip(rng.normal(60, 25, count).astype(int), 0, 127)
    notes["velocity"] = rng.integers(1, 128, count)
    notes["part"] = rng.integers(0, parts, count)
    palette = [f"{root}:{quality}" for root in ROOTS for quality in QUALITIES]
    labels = ["N", *palette, "C:9", "F#:maj/5", "Bb:min11"]
    found, step = [], 0
    while chords and step < end:
        length = int(rng.integers(1, 24))
        if rng.random() < 0.8:
            found.append(Chord(step, length + int(rng.integers(0, 3)), str(rng.choice(labels))))
        step += length
    return Song(notes, tuple(found), tuple(f"p{i}" for i in range(parts)))


def gaussian_oracle(mean, covariance):
    """The denoiser E[x0 | x] of Gaussian data.

    Flattened, x0 ~ N(mean, covariance); x = x0 + sigma eps.
    """
    values, vectors = torch.linalg.eigh(covariance)

    def oracle(x, sigma, **conditions):
        z = (x.flatten(1) - mean) @ vectors
        return ((z * values / (values + sigma[:, None] ** 2)) @ vectors.T + mean).reshape(x.shape)

    return oracle


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def corpus_archive() -> Path:
    """The POP909 archive, where one is at hand.

    It is looked for in POMKIT_DATA, and in shared/data inside and beside the checkout.
    """
    root = Path(__file__).resolve().parent.parent
    named = os.environ.get("POMKIT_DATA", "")
    for folder in (named, root / "shared" / "data", root.parent / "shared" / "data"):
        if folder and (Path(folder) / "pop909.tar.xz").is_file():
            return Path(folder) / "pop909.tar.xz"
    pytest.skip("no corpus archive at hand (set POMKIT_DATA to the folder of pop909.tar.xz)")


def same(a: Song, b: Song) -> bool:
    """Everything of the songs is equal, not only what == compares."""
    return repr(vars(a)) == repr(vars(b)) and a == b


def all_same(a, b) -> bool:
    return len(a) == len(b) and all(map(same, a, b))


@pytest.fixture
def folder(tmp_path):
    """Six songs, a bad file, a text, and a folder that is called like a MIDI file."""
    for i in range(6):
        make_song(np.random.default_rng(i), end=200).write_midi(tmp_path / "songs" / f"song{i}.mid")
    (tmp_path / "songs" / "bad.mid").write_bytes(b"MThd and nothing more")
    (tmp_path / "songs" / "notes.txt").write_text("no music")
    (tmp_path / "songs" / "x.mid").mkdir()
    return tmp_path / "songs"


@pytest.fixture
def undrawn(monkeypatch):
    """Runs of training without figures, which would take most of the time of a short one."""
    monkeypatch.setattr("pomkit.training.trainer.Trainer._draw", lambda self: None)
    monkeypatch.setattr("pomkit.play.plot.loss_plot", lambda *arguments, **options: None)


@pytest.fixture
def small_chunks(monkeypatch):
    """Several jobs and shards of a few files, so that processes are worth starting."""
    monkeypatch.setattr(reading, "CHUNK", 2)
