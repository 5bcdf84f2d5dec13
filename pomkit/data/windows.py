"""Songs to learn from: the shipped pieces, corpora, and training windows with their masks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import OptionError
from ..files import assets_dir
from ..music import masks
from ..music.picture import render
from ..music.pixels import PITCHES
from ..music.song import Song

MASK_MIX = {
    "all": 0.2,
    "chords only": 0.08,
    "bars": 0.22,
    "melody": 0.1,
    "accompaniment": 0.1,
    "rectangles": 0.1,
    "strokes": 0.1,
    "polygons": 0.08,
    "noise": 0.02,
}  # how often training draws which: see `random_mask`


def songs() -> dict[str, Path]:
    """The shipped public-domain pieces: name -> MIDI file."""
    return {p.stem: p for p in sorted((assets_dir() / "songs").glob("*.mid"))}


class Window(NamedTuple):
    """A training example: picture uint8 (128, width, 3), mask bool (128, width), onsets per masked bar, its origin."""

    picture: np.ndarray
    mask: np.ndarray
    density: float
    song: str
    start: int
    semitones: int


class Windows:
    """Windows of songs at random bar lines, transposed, each with a random mask; item i depends on (seed, i) alone, so a
    resumed training sees what an unbroken one sees. `width` in steps; `semitones`: the range of transposition, inclusive;
    `chord_dropout`: share of windows shown without chords, and again the share whose chord rows are masked (never of "chords
    only"). Windows start on bar lines (`Song.bars`), else no model learns the metre. A song is drawn by its share of bars."""

    def __init__(
        self,
        songs: Sequence[Song],
        width: int = 512,
        semitones: tuple[int, int] = (-6, 5),
        seed: int = 0,
        border: int = 8,
        chord_dropout: float = 0.25,
        mix: Mapping[str, float] = MASK_MIX,
    ) -> None:
        self.songs, self.width, self.semitones, self.seed = songs, width, semitones, seed
        self.border, self.chord_dropout, self.mix = border, chord_dropout, mix
        self.starts = [self._starts(s) for s in songs]
        if not len(self):
            raise OptionError("there are no songs with notes to draw windows from")
        self.share = np.cumsum([len(s) for s in self.starts]) / len(self)

    def _starts(self, song: Song) -> np.ndarray:
        lines = np.array(song.bars or song.bar_lines(), np.int32)
        lines = lines[lines <= max(song.end - self.width, 0) + 4 * song.steps_per_beat]
        return (lines if len(lines) else np.zeros(1, np.int32))[
            : len(song.notes)
        ]  # without notes: none

    def __len__(self) -> int:
        return sum(map(len, self.starts))

    def __getitem__(self, index: int) -> Window:
        rng = np.random.default_rng((self.seed, index))
        which = int(np.searchsorted(self.share, rng.random(), side="right"))
        song, start = self.songs[which], int(rng.choice(self.starts[which]))
        semitones, kind = (
            int(rng.integers(*self.semitones, endpoint=True)),
            draw_kind(rng, self.mix),
        )
        unseen, masked = (rng.random(2) < self.chord_dropout) & (kind != "chords only")
        n = song.notes  # cut first: the rest is then cheap
        near = (n["onset"] < start + self.width) & (n["onset"] + n["duration"] > start)
        song = replace(song, notes=n[near], chords=() if unseen else song.chords).transpose(
            semitones
        )
        picture = render(song, start, self.width, border=self.border)
        mask = random_mask(rng, song, start, self.width, {kind: 1}, self.border)
        if masked:
            mask |= masks.chords(self.width)
        return Window(
            picture, mask, onsets_per_bar(picture, mask, self.border), song.name, start, semitones
        )


def onsets_per_bar(picture: np.ndarray, mask: np.ndarray, border: int = 8) -> float:
    """Onsets inside the mask per masked bar: bars of 16 steps, counted as masked columns / 16."""
    notes = mask & masks.everything(mask)
    return float(((picture[..., 0] > 0) & notes).sum() * 16 / max(notes.any(axis=0).sum(), 1))


def draw_kind(rng: np.random.Generator, mix: Mapping[str, float]) -> str:
    """A kind of mask, drawn from `mix` (kind: share)."""
    return str(rng.choice(list(mix), p=np.array(list(mix.values())) / sum(mix.values())))


def random_mask(
    rng: np.random.Generator,
    song: Song,
    start: int,
    width: int,
    mix: Mapping[str, float] = MASK_MIX,
    border: int = 8,
) -> np.ndarray:
    """A mask as training draws them, bool (128, width), of a kind drawn from `mix` (kind: share); or OptionError.
    "all", "chords only": everything, where the latter's chords are always shown; "bars": one to three runs of bars; "melody",
    "accompaniment": a part (of a song of one part: the skyline), half the time in runs of bars only; "rectangles": 2-8;
    "strokes": 2-5 bent brush strokes; "polygons": 1-4 of 3-8 corners; "noise": each cell with a random probability."""
    kind, mask, inside = (
        draw_kind(rng, mix),
        np.zeros((PITCHES, width), bool),
        masks.everything(width),
    )
    if kind in ("all", "chords only"):
        mask[:] = True
    elif kind in ("bars", "melody", "accompaniment"):
        for _ in range(rng.integers(1, 4)):
            length = 16 * int(rng.integers(1, max(width // 32, 1) + 1))
            first = 16 * int(rng.integers(0, max((width - length) // 16, 0) + 1))
            mask[:, first : first + length] = True
        if kind != "bars":
            part = (masks.melody if kind == "melody" else masks.accompaniment)(
                song, start=start, width=width
            )
            mask = part & mask if rng.random() < 0.5 and (part & mask).any() else part
    elif kind == "rectangles":
        for _ in range(rng.integers(2, 9)):
            low, left = rng.integers(border, 120 - border), rng.integers(0, width - 4)
            mask[low : low + rng.integers(4, 49), left : left + rng.integers(4, width // 2)] = True
    elif kind == "strokes":
        for _ in range(rng.integers(2, 6)):
            points = rng.uniform((0, 30), (width, 100), (rng.integers(2, 7), 2))
            mask |= masks.stroke(
                width, np.sort(points, axis=0) if rng.random() < 0.5 else points, rng.uniform(2, 12)
            )
    elif kind == "polygons":
        for _ in range(rng.integers(1, 5)):
            turn = np.sort(
                rng.uniform(0, 2 * np.pi, rng.integers(3, 9))
            )  # the corners' directions from a centre
            reach = rng.uniform(0.3, 1, (len(turn), 1)) * rng.uniform(
                (8, 4), (width / 3, 30)
            )  # in steps and pitches
            mask |= masks.polygon(
                width,
                rng.uniform((0, 30), (width, 100)) + reach * np.c_[np.cos(turn), np.sin(turn)],
            )
    elif kind == "noise":
        mask = rng.random((PITCHES, width)) < rng.uniform(0.1, 0.9)
    else:
        raise OptionError(f"mask kind {kind!r} is unknown; choose from {', '.join(MASK_MIX)}")
    mask = mask & inside
    return mask if mask.any() else inside  # nothing to learn from an empty mask
