"""What stands inside a mask, held against what stood there before.

    result = adherence(before, mask, after)
    result.in_scale, result.note_f1

A measure is a function of a `Region`, the masked cells and what is known about them, and of the
`Filling` of its mask. It gives a `Count`: a numerator and a denominator, so that the shares of many
pictures are pooled by adding up both. A share is nan where its denominator is 0.

**A new measure** is one function and one line in `REGION_MEASURES`. `adherence` then gives it, and
the judge reports it with an interval; a line in `report.COLUMNS` puts it into the main table.

Beside these: `longest_shared`, which finds what was copied from a corpus, and `shuffled`, which
shows what chance gives. Read on in `baselines`.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..music.harmony import MAJOR, chords_by_step, estimate_chords, tonic_of
from ..music.palette import read_chords
from ..music.pixels import (
    BORDER,
    PITCHES,
    Mask,
    Picture,
    notes_of_spans,
    pitch_of_row,
    read_spans,
)
from ..music.tables import BAR
from .clips import Notes, count_bars, read_clips
from .melodies import bleu, line_of

Count = tuple[float, float]  # (numerator, denominator)


class Region:
    """The masked cells of a picture, with what compositions of them are held against.

    Attributes:
        before: the picture, uint8 (128, width, 3).
        mask: bool (128, width).
        cells: the mask's rows that hold notes, bool (112, width).
        columns: the masked columns, bool (width,).
        onset: the real notes' onsets inside the mask, bool (128, width).
        line: the real notes' highest line inside the mask, see `melodies`.
        scale: the pitch classes of the song's scale, bool (12,).
        on_grid: the steps that are on the song's grid, bool (width,).
        chords: the chord of each step as `chords_by_step` counts it, int (width,); -1 where
            none is known.
        known: the masked steps whose chord is known, bool (width,).
        tones: the tones of the chords, bool (width, 12).
    """

    def __init__(
        self,
        before: Picture,
        mask: Mask,
        song: Picture | None = None,
        start: int = 0,
        grid: int = 2,
    ) -> None:
        """Prepare a region; the arguments are those of `adherence`."""
        song = before if song is None else song
        width = before.shape[1]
        self.before = before
        self.mask = mask
        self.cells = mask[BORDER : PITCHES - BORDER]
        self.columns = self.cells.any(axis=0)
        self.onset = read_spans(before).onset & mask
        self.line = line_of(read_clips([before], mask).notes)
        self.scale = scale_of(song)

        # The song's grid begins where most of its notes do.
        onset = read_clips([song]).notes["onset"]
        phase = np.bincount(onset % grid, minlength=grid).argmax()
        steps = np.arange(width) + start
        self.on_grid = steps % grid == phase

        # A chord is known where its colour is not masked, and asked for where notes are.
        self.chords, self.tones = chords_by_step(read_chords(before), width)
        hidden = mask[:BORDER].any(axis=0) | mask[PITCHES - BORDER :].any(axis=0)
        self.chords[hidden | ~self.columns] = -1
        self.known = self.chords >= 0

    def counts(self, picture: Picture) -> dict[str, Count]:
        """Measure a composition of this region, uint8 (128, width, 3), by every measure."""
        filling = Filling(picture, self.mask)
        counts = {}
        for name, measure in REGION_MEASURES.items():
            counts[name] = measure(self, filling)
        return counts

    def measure(self, picture: Picture) -> np.ndarray:
        """The same as numerators and denominators of `MEASURES`, float (2, measures)."""
        counts = self.counts(picture)
        return np.array(list(counts.values()), float).T


class Filling:
    """What a picture has inside a mask.

    Attributes:
        picture: uint8 (128, width, 3).
        onset: onsets inside the mask, bool (128, width).
        sounding: cells inside the mask that sound, bool (128, width).
        step: of each note that begins inside, int (notes,).
        pitch_class: of each note that begins inside, int (notes,).
        count: how many notes begin inside.
        rated: how many of them have a scale and a grid to keep: none if the mask hides everything.
        chords: of each step the chord of the whole picture, as estimated, int (width,).
        line: the highest line of the notes that begin inside, see `melodies`.
        begins: the steps at which a note begins, inside or outside, bool (width,).
    """

    def __init__(self, picture: Picture, mask: Mask) -> None:
        spans = read_spans(picture)
        width = picture.shape[1]
        self.picture = picture
        self.onset = spans.onset & mask
        self.sounding = (spans.onset | spans.sustain) & mask
        self.line = line_of(read_clips([picture], mask).notes)
        self.begins: Any = spans.onset.any(axis=0)

        row, self.step = np.nonzero(self.onset)
        self.pitch_class = pitch_of_row(row) % 12
        self.count = len(row)
        self.rated = 0 if mask.all() else self.count

        notes = notes_of_spans(spans.onset, spans.sustain, spans.velocity)
        self.chords, _ = chords_by_step(estimate_chords(notes, width), width)


def count_to_real(region: Region, filling: Filling) -> Count:
    """Notes over the real music's notes."""
    return filling.count, region.onset.sum()


def count_to_bars(region: Region, filling: Filling) -> Count:
    """Notes over the masked columns, in bars of 16 steps, whatever bars the song has."""
    bars = region.columns.sum() / BAR
    return filling.count, bars


def notes_in_scale(region: Region, filling: Filling) -> Count:
    """Notes in the song's scale, over all."""
    in_scale = region.scale[filling.pitch_class]  # (notes,)
    return in_scale.sum(), filling.rated


def notes_on_grid(region: Region, filling: Filling) -> Count:
    """Notes on the song's grid, over all."""
    on_grid = region.on_grid[filling.step]  # (notes,)
    return on_grid.sum(), filling.rated


def cells_filled(region: Region, filling: Filling) -> Count:
    """Masked cells that sound, over all masked cells."""
    return filling.sounding.sum(), region.cells.sum()


def chords_kept(region: Region, filling: Filling) -> Count:
    """Masked steps whose estimated chord has the known one's root and third, over those known."""
    same = filling.chords == region.chords  # (width,)
    kept = same & region.known
    return kept.sum(), region.known.sum()


def notes_in_chord(region: Region, filling: Filling) -> Count:
    """Notes that belong to the known chord of their step, over those where one is known."""
    known = region.known[filling.step]  # (notes,)
    in_chord = region.tones[filling.step, filling.pitch_class]
    right = in_chord & known
    return right.sum(), known.sum()


def notes_recalled(region: Region, filling: Filling) -> Count:
    """F1 of the notes against the real ones, by pitch and step: 2 hits / (notes + real notes)."""
    hits = filling.onset & region.onset
    real = region.onset.sum()
    return 2 * hits.sum(), filling.count + real


def phrases_recalled(region: Region, filling: Filling) -> Count:
    """BLEU of the highest line against the real one, over 1."""
    return bleu(filling.line, region.line), 1


def rhythm_kept(region: Region, filling: Filling) -> Count:
    """Steps at which neighbouring bars agree whether a note begins, over all such steps.

    Of each pair of bars at least one is masked, somewhere.

    Source: the grooving pattern similarity of Wu and Yang 2020 (arXiv 2008.01307), section 5.
    """
    width = region.mask.shape[1]
    bars = count_bars(width)
    missing = (0, bars * BAR - width)
    begins: Any = np.pad(filling.begins, missing).reshape(bars, BAR)  # (bars, 16)
    masked: Any = np.pad(region.columns, missing).reshape(bars, BAR)  # (bars, 16)

    agree = ~(begins[1:] ^ begins[:-1])  # (bars - 1, 16)
    is_masked = masked.any(axis=1)
    pairs = is_masked[1:] | is_masked[:-1]
    return agree[pairs].sum(), BAR * pairs.sum()


def pixels_leaked(region: Region, filling: Filling) -> Count:
    """Pixels outside the mask that differ, over 1; must be 0."""
    differ = (region.before != filling.picture).any(axis=-1)  # (128, width)
    leaked = differ & ~region.mask
    return leaked.sum(), 1


# Name of a measure -> the function that counts it.
REGION_MEASURES: dict[str, Callable[[Region, Filling], Count]] = {
    "density": count_to_real,
    "onsets_per_bar": count_to_bars,
    "in_scale": notes_in_scale,
    "on_grid": notes_on_grid,
    "filled": cells_filled,
    "chord_accuracy": chords_kept,
    "chord_tones": notes_in_chord,
    "note_f1": notes_recalled,
    "melody_bleu": phrases_recalled,
    "rhythm_consistency": rhythm_kept,
    "changed_outside": pixels_leaked,
}
MEASURES = tuple(REGION_MEASURES)


def adherence(
    before: Picture,
    mask: Mask,
    after: Picture,
    song: Picture | None = None,
    start: int = 0,
    *,
    grid: int = 2,
) -> SimpleNamespace:
    """Measure how the composed region of `after` compares with the real one of `before`.

    Args:
        before: uint8 (128, width, 3); its chord rows say which chords are known.
        mask: bool (128, width), True where `after` was composed.
        after: uint8 (128, width, 3).
        song: the picture of the whole song, uint8 (128, any width, 3), from which its scale and
            grid are taken. None: `before`.
        start: the step of `song` where `before` begins.
        grid: steps from one line of the grid to the next; 2: eighth notes.

    Returns:
        The shares of `MEASURES` and the number of `onsets` as attributes, of the music before with
        `_before`; `changed_outside`: how many pixels outside the mask differ, which must be 0.
    """
    # Version 0.1.0 had the mask last; that order is understood, too.
    if np.asarray(after).dtype == bool:
        mask, after = after, mask

    region = Region(before, mask, song, start, grid)
    values: dict[str, Any] = {}
    for tail, picture in (("", after), ("_before", before)):
        above, below = region.measure(picture)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = (above / below).tolist()
        names = [name + tail for name in MEASURES]
        values |= zip(names, shares, strict=True)
        values["onsets" + tail] = int(above[0])

    values["changed_outside"] = int(values["changed_outside"])
    return SimpleNamespace(**values)


def scale_of(picture: Picture) -> np.ndarray:
    """The seven pitch classes of a picture's likeliest key, bool (12,); all of them without notes.

    Of a minor key these are the natural ones.
    """
    notes = read_clips([picture]).notes
    if not len(notes):
        return np.ones(12, bool)
    scale = np.zeros(12, bool)
    scale[(MAJOR + tonic_of(notes)) % 12] = True
    return scale


def longest_shared(clips: Notes, corpus: Notes, count: int) -> np.ndarray:
    """Find the longest sequence of notes that each clip shares with any part of the corpus.

    A sequence is the highest note of every step. It is shared where the intervals to the next note
    and the durations are, so in any key. n-grams of these are counted, longer by one each time,
    until none is shared.

    Args:
        clips: notes, NOTE_DTYPE (notes,); `part` is the number of the clip, below `count`.
        corpus: notes, NOTE_DTYPE (notes,); `part` is the number of the sequence.
        count: how many clips there are.

    Returns:
        How many notes the longest shared sequence has, int (count,); 0 where nothing is shared.
    """
    part = np.append(clips["part"], corpus["part"] + count).astype(np.int64)
    token, part = _tokens(np.concatenate([clips, corpus]), part, count)

    # Where shared n-grams begin, and which n-gram it is.
    begin = np.arange(len(token))
    key = np.zeros(len(token), int)

    longest = np.zeros(count, int)
    for n in range(len(token)):
        # The n-gram that was, and one token more: numbered anew, so numbers stay small.
        _, key = np.unique(key * 2**15 + token[begin + n], return_inverse=True)

        # Which n-grams there are in clips, and which in the corpus.
        in_clip = part[begin] < count
        clip_has = np.bincount(key[in_clip], minlength=len(key)) > 0
        corpus_has = np.bincount(key[~in_clip], minlength=len(key)) > 0
        in_both = clip_has & corpus_has
        shared = in_both[key]

        begin = begin[shared]
        key = key[shared]
        if not len(begin):
            break
        clip = part[begin]
        longest[clip[clip < count]] = n + 2  # n + 1 intervals, so one note more
    return longest


def _tokens(notes: Notes, part: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The highest note of every step as a token, int (tokens,), and its part, int (tokens,).

    A token is the interval to the next note with the duration, one number above 1. The last note of
    a part has none: it is 0 in clips and 1 in the corpus (`part` from `count` on), never shared.
    """
    # In order of part and step, the highest first, of which only that one stays.
    order = np.lexsort((-notes["pitch"], notes["onset"], part))
    notes = notes[order]
    part = part[order]
    moment = part << 32 | notes["onset"]
    highest = np.diff(moment, prepend=-1) > 0
    notes = notes[highest]
    part = part[highest]

    # The interval is above 0, the duration below 64.
    interval = np.diff(notes["pitch"], append=0) + PITCHES
    duration = np.minimum(notes["duration"], 63)
    token = interval * 64 + duration
    ends = np.diff(part, append=-1) != 0
    return np.where(ends, part >= count, token), part


def shuffled(picture: Picture, mask: Mask, rng: np.random.Generator) -> Picture:
    """Chance: as many notes as begin inside the mask, at random cells of it, one step long.

    Args:
        picture: uint8 (128, width, 3).
        mask: bool (128, width).
        rng: draws the cells, and which has which velocity.

    Returns:
        uint8 (128, width, 3): `picture` outside the mask.
    """
    spans = read_spans(picture)
    onset = (spans.onset & mask).reshape(-1)  # (128 width,)
    velocity = spans.velocity.reshape(-1)[onset]  # (notes,)

    # Cells are numbered row by row; the border rows hold no notes.
    border = BORDER * picture.shape[1]
    cells = np.flatnonzero(mask[BORDER : PITCHES - BORDER]) + border
    count = min(len(velocity), len(cells))
    places = rng.choice(cells, count, replace=False)

    result = np.where(mask[..., None], 0, picture).astype(np.uint8, order="C")
    red = result.reshape(-1, 3)[:, 0]  # (128 width,)
    red[places] = 2 * rng.permutation(velocity)[:count]
    return result
