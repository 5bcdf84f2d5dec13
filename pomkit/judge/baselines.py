"""What anyone would try first: earlier bars copied, the best matching training bars, a Markov chain; and how to fool a judge.
Each fills the masked cells of a picture, uint8 (128, width, 3), and leaves the others; the judge measures them like a model."""

from collections.abc import Sequence

import numpy as np

from ..music.harmony import chords_by_step, tonic_of
from ..music.masks import melody_notes
from ..music.palette import read_chords
from ..music.picture import render
from ..music.pixels import PITCHES, draw_spans, read_spans
from ..music.song import Song
from ..music.tables import NOTE_DTYPE
from .metrics import BAR, read_clips

HALF = BAR // 2


class Training:
    """The notes of many songs on one axis of time, song after song, all bar lines on multiples of 16 steps. `notes`:
    NOTE_DTYPE, `part` the song's number; `kinds`: which are of "all", "melody", "accompaniment"; `song_of_bar`: (bars,);
    `tonic`: of each song, see `tonic_of`; `lines`: for `metrics.longest_shared`, all notes, and the melodies as more parts."""

    def __init__(self, songs: Sequence[Song]) -> None:
        tables, melody, bars, tonics = [np.zeros(0, NOTE_DTYPE)], [np.zeros(0, bool)], [0], []
        for number, song in enumerate(songs):
            notes = song.notes.copy()
            notes["part"] = number
            phase = int(np.bincount(np.asarray(song.bars or (0,)) % BAR).argmax())
            notes["onset"] += -phase % BAR + BAR * bars[-1]
            bars.append(bars[-1] + -(-(song.end + BAR) // BAR))
            tables.append(notes)
            melody.append(melody_notes(song))
            tonics.append(tonic_of(song.notes))
        self.notes, lead = np.concatenate(tables), np.concatenate(melody)
        alone = self.notes[lead]
        alone["part"] += len(tonics)
        self.lines = np.concatenate([self.notes, alone])
        self.kinds = {"all": np.ones(len(lead), bool), "melody": lead, "accompaniment": ~lead}
        self.song_of_bar, self.tonic = (
            np.repeat(np.arange(len(tonics)), np.diff(bars)),
            np.array(tonics, int),
        )
        self.chroma = {
            kind: chroma(self.notes[chosen], bars[-1]) for kind, chosen in self.kinds.items()
        }


def chroma(notes: np.ndarray, bars: int) -> np.ndarray:
    """Steps that the pitch classes of notes that begin in each half bar sound there, float32 (bars, 24)."""
    place = notes["onset"] // HALF * 12 + notes["pitch"] % 12
    return (
        np.bincount(place, np.minimum(notes["duration"], HALF), 24 * bars)[: 24 * bars]
        .reshape(bars, 24)
        .astype(np.float32)
    )


def draw(picture: np.ndarray, mask: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """The picture with the masked cells redrawn: those of `notes` (NOTE_DTYPE) that begin in the mask, cut where it ends."""
    width = picture.shape[1]
    inside = (
        (notes["onset"] >= 0)
        & (notes["onset"] < width)
        & (notes["pitch"] >= 0)
        & (notes["pitch"] < PITCHES)
    )
    spans = read_spans(
        np.where(mask[..., None], render(Song(notes[inside]), 0, width), 0).astype(np.uint8)
    )
    return np.where(
        mask[..., None], draw_spans(spans.onset, spans.sustain, spans.velocity), picture
    ).astype(np.uint8)


def permuted(picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """No music, made to fool a judge: the real notes inside the mask, their pitches dealt anew among them. The statistics of
    `metrics.describe` stay what they were; every line and every chord is gone."""
    notes, _ = read_clips([picture], mask)
    for _ in range(50):  # in pairs that stay inside the mask
        one, other = rng.permutation(len(notes))[: len(notes) // 2 * 2].reshape(2, -1)
        onset, pitch = notes["onset"], notes["pitch"].copy()
        ok = mask[127 - pitch[one], onset[other]] & mask[127 - pitch[other], onset[one]]
        notes["pitch"][one[ok]], notes["pitch"][other[ok]] = pitch[other[ok]], pitch[one[ok]]
    return draw(picture, mask, notes)


def copied(picture: np.ndarray, mask: np.ndarray, song: Song, start: int, kind: str) -> np.ndarray:
    """The bars before the masked columns, as many as these or, repeated, as there are; without any, the bars after them.
    Of `song`, of which the picture shows the columns from `start` on, the notes of `kind` are copied."""
    columns = start + np.flatnonzero(mask.any(axis=0))[[0, -1]]
    first, length = int(columns[0]), -(-int(columns[1] + 1 - columns[0]) // BAR) * BAR
    period = min(length, first // BAR * BAR) or length
    source = first - period if first >= BAR else first + length
    notes = (
        song.notes if kind == "all" else song.notes[melody_notes(song) ^ (kind == "accompaniment")]
    )
    notes = notes[(notes["onset"] >= source) & (notes["onset"] < source + period)]
    again = np.tile(notes, -(-length // period))
    again["onset"] += (
        first - source - start + period * (np.arange(len(again)) // max(len(notes), 1))
    )
    return draw(picture, mask, again)


def nearest(
    picture: np.ndarray, mask: np.ndarray, training: Training, kind: str, rng: np.random.Generator
) -> np.ndarray:
    """The notes of `kind` of the training bars, in whatever key, that match best: by the cosine of the `chroma` of the known
    notes and the training notes of the other kind; where no note is known, of the known chords; without these, any bars."""
    width = picture.shape[1]
    bars = -(-width // BAR)
    known = chroma(read_clips([picture], ~mask).notes, bars)  # (bars, 24)
    if not known.any():
        _, tones = chords_by_step(
            read_chords(np.where(mask[..., None], 0, picture).astype(np.uint8)), bars * BAR
        )
        known = tones.reshape(bars, 2, HALF, 12).sum(axis=2, dtype=np.float32).reshape(bars, 24)
    there = training.chroma[
        {"all": "all", "melody": "accompaniment", "accompaniment": "melody"}[kind]
    ]
    starts = np.arange(len(there) - bars + 1)
    starts = starts[training.song_of_bar[starts] == training.song_of_bar[starts + bars - 1]]
    score, size = np.zeros((len(starts), 12), np.float32), np.full(len(starts), 1e-9)
    for bar in np.flatnonzero(known.any(axis=1)):
        keys = np.stack(
            [np.roll(known[bar].reshape(2, 12), -key, axis=1).ravel() for key in range(12)], axis=1
        )
        score += there[starts + bar] @ keys  # (starts, 24) @ (24, keys)
        size += (there[starts + bar] ** 2).sum(axis=1)
    score = score / np.sqrt(size)[:, None] + 1e-6 * rng.random(score.shape)
    if not len(starts):  # no song is as long
        return draw(picture, mask, training.notes[:0])
    best, key = np.unravel_index(score.argmax(), score.shape)
    notes = training.notes[training.kinds[kind]]  # in order of time: songs follow each other
    begin = BAR * starts[best]
    notes = notes[(notes["onset"] >= begin) & (notes["onset"] < begin + width)]
    notes["onset"] -= begin
    notes["pitch"] += (key + 6) % 12 - 6
    return draw(picture, mask, notes)


class Markov:
    """An order-2 Markov chain on the training melodies: a note follows the two before it as it did somewhere there.
    A note's state: its pitch above the song's tonic, the steps to the next note (at most 32) and its duration."""

    def __init__(self, training: Training) -> None:
        notes = training.notes[training.kinds["melody"]]
        wait = np.diff(notes["onset"], append=0)  # notes are in order of time
        wait = np.where(
            np.diff(notes["part"], append=-1) == 0, wait, notes["duration"]
        )  # between songs: no rest
        self.notes, self.wait = (
            notes[wait > 0],
            np.minimum(wait[wait > 0], 2 * BAR),
        )  # of a chord, the last note
        self.height = self.notes["pitch"] - training.tonic[self.notes["part"]]
        state = np.unique(
            [self.height, self.wait, self.notes["duration"]], axis=1, return_inverse=True
        )[1].reshape(-1)
        self.pair = state[:-2] * (len(notes) + 1) + state[1:-1]  # of the note and the next
        on_bar = np.flatnonzero(self.notes["onset"][:-2] % BAR == 0)
        self.begins = on_bar if len(on_bar) else np.arange(len(self.pair))

    def __call__(
        self, picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Fill the mask with a melody that begins on its first column, in the key of the known notes."""
        tonic = tonic_of(read_clips([picture], ~mask).notes)
        step, width, out = int(mask.any(axis=0).argmax()), picture.shape[1], []
        here = int(rng.choice(self.begins)) if len(self.begins) else 0
        while step < width and len(self.begins):  # too few notes to learn from: silence
            pitch = self.height[here] + tonic - 12 * (tonic > 5)
            out.append((step, self.notes["duration"][here], pitch, self.notes["velocity"][here], 0))
            step += int(self.wait[here])
            before = min(max(here - 1, 0), len(self.pair) - 1)  # the note and the one before it
            here = int(rng.choice(np.flatnonzero(self.pair == self.pair[before]))) + 2
        return draw(picture, mask, np.array(out, NOTE_DTYPE))
