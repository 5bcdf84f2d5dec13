"""Measures of pictures: of one set, between two sets, and of what stands inside a mask. numpy only.
Sets are pictures of one width, uint8 (n, 128, width, 3). With `masks`, bool (128, width) or one for each picture, only notes
that begin inside count. A bar is 16 steps from column 0; shares are 0-1, and nan where there is nothing to divide by."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ..errors import OptionError
from ..music.harmony import MAJOR, chords_by_step, estimate_chords, tonic_of
from ..music.palette import read_chords
from ..music.pixels import PITCHES, read_spans
from ..music.tables import NOTE_DTYPE

BAR = 16
LENGTHS = (
    1,
    2,
    3,
    4,
    6,
    8,
    12,
    16,
    24,
    32,
)  # classes of the note-length histogram begin here, in steps
FEATURES = (
    "pitch_count",
    "pitch_range",
    "onsets_per_beat",
    "inter_onset_interval",
    "pitch_classes",
    "note_lengths",
)
MEASURES = (
    "density",
    "onsets_per_bar",
    "in_scale",
    "on_grid",
    "filled",
    "chord_accuracy",
    "chord_tones",
    "note_f1",
    "changed_outside",
)
BINS = 256  # of the densities of distances


class Clips(NamedTuple):
    """The notes of n pictures: NOTE_DTYPE with the picture's number as `part`, and the columns that count, bool (n, width)."""

    notes: np.ndarray
    columns: np.ndarray


Set = Sequence[np.ndarray] | np.ndarray | Clips


def read_clips(pictures: Set, masks: np.ndarray | None = None, border: int = 8) -> Clips:
    """The notes of pictures of one width (which begin inside `masks`); OptionError where the widths differ."""
    if isinstance(pictures, Clips):
        return pictures
    if len({np.shape(p) for p in pictures}) != 1:
        raise OptionError(
            f"{len(pictures)} pictures of different width or none; give one or more of one width"
        )
    spans = zip(*(read_spans(p, border=border)[:3] for p in pictures), strict=True)
    onset, sustain, velocity = (np.stack(cells) for cells in spans)  # (n, 128, width)
    mask: Any = np.broadcast_to(True if masks is None else masks, onset.shape)
    cells = np.flatnonzero(onset | sustain)  # row by row: a note's cells stand together
    heads = np.flatnonzero(onset.reshape(-1)[cells])
    place = np.unravel_index(cells[heads], onset.shape)
    notes = np.zeros(len(heads), NOTE_DTYPE)
    notes["part"], notes["pitch"], notes["onset"] = place[0], 127 - place[1], place[2]
    notes["duration"], notes["velocity"] = np.diff(heads, append=len(cells)), velocity[place]
    return Clips(notes[mask[place]], mask[:, border : PITCHES - border].any(axis=1))


def describe(pictures: Set, masks: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Statistics of each picture, name -> float (n,), nan where it has no notes; their means are the set's.
    As in muspy (Dong et al. 2020, arXiv 2008.01951): `pitch_class_entropy` -sum p log2 p over the shares of the pitch classes;
    `scale_consistency`: largest share of notes in one major or natural minor scale; `polyphony`: notes a step where any sounds;
    `groove_consistency`: 1 - the mean distance of neighbouring bars' onset patterns (Wu and Yang 2020, arXiv 2008.01307) on 16
    positions a bar; a finer grid gives larger values, and muspy counts one empty bar more where the last note ends on a bar
    line. `onsets_per_beat` of 4 steps; `pitch_classes_per_bar` of the notes that begin in it; means of `note_length` in steps
    and `velocity`. For `compare` also distinct pitches, their range in semitones, mean steps between onsets (the width where
    there is one or none), and shares of the pitch classes (n, 12) and note lengths (n, 10; `LENGTHS`)."""
    notes, columns = read_clips(pictures, masks)
    (n, width), clip, pitch, start = columns.shape, notes["part"], notes["pitch"], notes["onset"]
    bars = -(-width // BAR)
    rhythm, used, moves = (
        np.zeros((n, bars, BAR), bool),
        np.zeros((n, bars, PITCHES), bool),
        np.zeros((n, width + 1), int),
    )
    rhythm[clip, start // BAR, start % BAR] = used[clip, start // BAR, pitch] = True
    classes = (
        np.pad(used, ((0, 0), (0, 0), (0, 4))).reshape(n, bars, 11, 12).any(axis=2)
    )  # 128 pitches: 10 2/3 octaves
    np.add.at(moves, (clip, start), 1)
    np.add.at(moves, (clip, start + notes["duration"]), -1)
    sounding = moves.cumsum(axis=1)
    heard: Any = (
        np.pad(columns, ((0, 0), (0, bars * BAR - width))).reshape(n, bars, BAR).any(axis=2)
    )
    pairs = heard[:, 1:] & heard[:, :-1]
    apart = (np.mean(rhythm[:, 1:] ^ rhythm[:, :-1], axis=2) * pairs).sum(axis=1)
    count, struck, pitches = np.bincount(clip, minlength=n), rhythm.reshape(n, -1), used.any(axis=1)
    gaps = struck.sum(axis=1) - 1
    scales = np.array([np.isin(np.arange(12), (MAJOR + i) % 12) for i in range(12)])

    def extent(flags: Any) -> np.ndarray:  # from the first to the last of each row
        return flags.shape[1] - 1 - flags[:, ::-1].argmax(axis=1) - flags.argmax(axis=1)

    with np.errstate(invalid="ignore"):  # 0 / 0 is nan, as it should be
        share = (
            np.bincount(12 * clip + pitch % 12, minlength=12 * n).reshape(n, 12) / count[:, None]
        )
        kind = len(LENGTHS) * clip + np.searchsorted(LENGTHS, notes["duration"], side="right") - 1
        return {
            "pitch_class_entropy": -(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1),
            "scale_consistency": (share @ scales.T).max(axis=1),
            "groove_consistency": 1 - apart / pairs.sum(axis=1),
            "polyphony": sounding.sum(axis=1) / (sounding > 0).sum(axis=1),
            "onsets_per_beat": 4 * count / columns.sum(axis=1),
            "pitch_classes_per_bar": classes.sum(axis=(1, 2)) / heard.sum(axis=1),
            "note_length": np.bincount(clip, notes["duration"], n) / count,
            "velocity": np.bincount(clip, notes["velocity"], n) / count,
            "pitch_count": pitches.sum(axis=1),
            "pitch_range": extent(pitches) * (count > 0),
            "inter_onset_interval": np.where(gaps > 0, extent(struck) / np.maximum(gaps, 1), width),
            "pitch_classes": share,
            "note_lengths": np.bincount(kind, minlength=len(LENGTHS) * n).reshape(n, -1)
            / count[:, None],
        }


def compare(
    generated: Set,
    real: Set,
    songs: Any = None,
    real_songs: Any = None,
    weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """How alike two sets are: feature -> (overlapping area, KLD), and their "mean"; (1, 0) for equal sets.
    Yang and Lerch 2020 (doi 10.1007/s00521-018-3849-7): densities p of the Euclidean distances of a feature (`FEATURES`) among
    real clips, q from generated to real ones, by Gaussian kernels (Scott's rule for the real distances); OA = integral of
    min(p, q), KLD = integral of p log(p / q). `songs`, `real_songs`: the clips' songs, numbers from 0 (default: clip i is of
    song i); no distance is within a song. `weights` (draws, 2, songs): how often a song counts; values are then (2, draws)."""
    sets = [describe(each) for each in (generated, real)]
    song_a, song_b = (
        np.arange(len(each["pitch_count"])) if given is None else np.asarray(given)
        for given, each in zip((songs, real_songs), sets, strict=True)
    )
    draws = np.ones((1, 2, 1)) if weights is None else weights
    out = {}
    for name in FEATURES:
        a, b = (np.nan_to_num(each[name]).reshape(len(each[name]), -1) for each in sets)
        inter, intra = (
            np.linalg.norm(each[:, None] - b, axis=-1) for each in (a, b)
        )  # distances (clips, real clips)
        spread = intra[song_b[:, None] != song_b]
        top = max(float(inter.max()), float(spread.max(initial=0)), 1e-6)
        width = (
            max(float(spread.std()) if len(spread) else 0, top / BINS) * max(len(spread), 1) ** -0.2
        )
        centre = np.linspace(
            -3 * width, top + 3 * width, BINS
        )  # the kernel spreads beyond the distances
        kernel = np.exp(-0.5 * ((centre[:, None] - centre) / max(width, np.diff(centre)[0])) ** 2)
        inter = _histograms(inter, song_a, song_b, centre, draws) @ kernel
        intra = _histograms(intra, song_b, song_b, centre, draws[:, (1, 1)]) @ kernel
        with np.errstate(invalid="ignore"):  # of one song: nan
            inter, intra = (
                density / density.sum(axis=1, keepdims=True) for density in (inter, intra)
            )
        out[name] = np.stack(
            [
                np.minimum(inter, intra).sum(axis=1),
                (intra * np.log((intra + 1e-10) / (inter + 1e-10))).sum(axis=1),
            ]
        )
    out["mean"] = np.mean(list(out.values()), axis=0)
    return out if weights is not None else {name: value[:, 0] for name, value in out.items()}


def _histograms(
    distances: np.ndarray, a: np.ndarray, b: np.ndarray, centre: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Histograms (draws, BINS) of the distances between clips of songs `a` and others `b`, by `weights` (draws, 2, songs)."""
    near, count = (
        np.rint((distances - centre[0]) / (centre[1] - centre[0])).astype(int),
        weights.shape[2],
    )
    cell = ((a[:, None] % count) * count + b % count) * BINS + near  # of one song all: % 1
    histogram = np.bincount(cell[a[:, None] != b], minlength=count * count * BINS).reshape(
        count, count, BINS
    )
    return (np.tensordot(weights[:, 0], histogram, 1) * weights[:, 1, :, None]).sum(axis=1)


def scale_of(picture: np.ndarray, border: int = 8) -> np.ndarray:
    """The seven pitch classes of a picture's likeliest key (of minor the natural ones), bool (12,); without notes all."""
    notes, _ = read_clips([picture], border=border)
    return np.isin(np.arange(12), (MAJOR + tonic_of(notes)) % 12) | (len(notes) == 0)


class Region:
    """The masked cells of a picture, with what compositions of them are held against; the arguments are `adherence`'s."""

    def __init__(
        self,
        before: np.ndarray,
        mask: np.ndarray,
        song: np.ndarray | None = None,
        start: int = 0,
        grid: int = 2,
        border: int = 8,
    ) -> None:
        song, width = before if song is None else song, before.shape[1]
        self.before, self.mask, self.border, self.cells = (
            before,
            mask,
            border,
            mask[border : PITCHES - border],
        )
        self.onset, self.scale = (
            read_spans(before, border=border).onset & mask,
            scale_of(song, border),
        )
        phases = np.bincount(
            read_clips([song], border=border).notes["onset"] % grid, minlength=grid
        )
        self.on_grid = (
            np.arange(width) + start
        ) % grid == phases.argmax()  # the song's grid: where most of its notes begin
        self.chords, self.tones = chords_by_step(read_chords(before, border), width)
        hidden = mask[:border].any(axis=0) | mask[PITCHES - border :].any(axis=0)
        self.chords[hidden | ~self.cells.any(axis=0)] = -1

    def measure(self, picture: np.ndarray) -> np.ndarray:
        """Numerators and denominators of `MEASURES`, float (2, 9), so that shares of many pictures pool by adding them up.
        Of the notes that begin inside the mask: their number over the real music's; over the masked bars; in the song's scale;
        on its grid; in the known chord of their step. `filled`: masked cells that sound. `chord_accuracy`: masked steps whose
        chord, by `estimate_chords` from the whole picture, has the known one's root and third. `note_f1`: 2 hits / (notes +
        real notes), by pitch and step. `changed_outside`: pixels, over 1. All hidden: no scale or grid is asked for."""
        mask, spans, known = self.mask, read_spans(picture, border=self.border), self.chords >= 0
        onset, notes = spans.onset & mask, read_clips([picture], border=self.border).notes
        row, column = np.nonzero(onset)
        pitch_class, n, real = (127 - row) % 12, len(row), int(self.onset.sum())
        asked, guess = (
            n * (not mask.all()),
            chords_by_step(estimate_chords(notes, picture.shape[1]), picture.shape[1])[0],
        )
        return np.array(
            [
                (n, real),
                (n, self.cells.any(axis=0).sum() / BAR),
                (self.scale[pitch_class].sum(), asked),
                (self.on_grid[column].sum(), asked),
                (((spans.onset | spans.sustain) & mask).sum(), self.cells.sum()),
                ((guess == self.chords)[known].sum(), known.sum()),
                ((self.tones[column, pitch_class] & known[column]).sum(), known[column].sum()),
                (2 * (onset & self.onset).sum(), n + real),
                ((self.before[~mask] != picture[~mask]).any(axis=-1).sum(), 1),
            ],
            float,
        ).T


def adherence(
    before: np.ndarray,
    after: np.ndarray,
    mask: np.ndarray,
    song: np.ndarray | None = None,
    start: int = 0,
    grid: int = 2,
    border: int = 8,
) -> SimpleNamespace:
    """How the composed region of `after` compares with the real one of `before`, uint8 (128, width, 3) each.
    Counted as in `Region.measure`, `mask` bool (128, width). The song's scale (`scale_of`) and grid of `grid` steps (2: eighth
    notes) come from `song`, a picture of which `before` shows the columns from `start` on (default: `before` itself), the known
    chords from the chord rows of `before`. Gives `MEASURES` and the number of `onsets` as attributes, of the music before with
    `_before`. `changed_outside`: pixels outside the mask that differ; must be 0."""
    region, values = Region(before, mask, song, start, grid, border), dict[str, Any]()
    for tail, picture in (("", after), ("_before", before)):
        above, below = region.measure(picture)
        with np.errstate(invalid="ignore", divide="ignore"):
            values |= {
                name + tail: share
                for name, share in zip(MEASURES, (above / below).tolist(), strict=True)
            }
        values["onsets" + tail] = int(above[0])
    return SimpleNamespace(**values | {"changed_outside": int(values["changed_outside"])})


def longest_shared(clips: np.ndarray, corpus: np.ndarray, count: int) -> np.ndarray:
    """How many notes the longest sequence has that a clip shares with any part of the corpus, int (count,). Both are notes
    (NOTE_DTYPE), `part` the number of the clip (below `count`) or sequence. A sequence is the highest note of every step,
    shared where intervals to the next note and durations are: n-grams of these, longer by one until none is left."""
    notes, part = (
        np.concatenate([clips, corpus]),
        np.append(clips["part"], corpus["part"] + count).astype(np.int64),
    )
    order = np.lexsort((-notes["pitch"], notes["onset"], part))
    order = order[
        np.diff(part[order] << 32 | notes["onset"][order], prepend=-1) > 0
    ]  # the highest of every step
    pitch, duration, part = notes["pitch"][order], notes["duration"][order], part[order]
    token = (np.diff(pitch, append=0) + PITCHES) * 64 + np.minimum(
        duration, 63
    )  # interval and duration, above 1
    token = np.where(
        np.diff(part, append=-1) == 0, token, part >= count
    )  # nothing is shared across an end
    longest, at, key = np.zeros(count, int), np.arange(len(token)), np.zeros(len(token), int)
    for n in range(len(token)):  # at: where shared n-grams begin; key: which they are
        _, key = np.unique(key * 2**15 + token[at + n], return_inverse=True)
        here, there = (
            np.bincount(key[side], minlength=len(key)) > 0
            for side in (part[at] < count, part[at] >= count)
        )
        shared = (here & there)[key]
        at, key = at[shared], key[shared]
        if not len(at):
            break
        longest[part[at[part[at] < count]]] = n + 2  # n + 1 intervals
    return longest


def shuffled(
    picture: np.ndarray, mask: np.ndarray, rng: np.random.Generator, border: int = 8
) -> np.ndarray:
    """Chance: the picture with the masked notes' onsets at random cells of the mask, one step long; same count."""
    spans = read_spans(picture, border=border)
    cells = np.flatnonzero(mask[border : PITCHES - border]) + border * picture.shape[1]
    begins = (spans.onset & mask).ravel()
    places = rng.choice(cells, min(int(begins.sum()), len(cells)), replace=False)
    out = np.where(mask[..., None], 0, picture).astype(np.uint8)
    out.reshape(-1, 3)[places, 0] = (
        2 * rng.permutation(spans.velocity.ravel()[begins])[: len(places)]
    )
    return out
