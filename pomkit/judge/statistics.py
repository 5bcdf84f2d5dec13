"""Statistics of each picture of a set, one function a measure.

    values = describe(pictures)
    values["polyphony"].mean()

A measure takes `ClipGrids`, the notes of n clips laid out on bars and steps, and gives a number for
each clip, (n,), or shares, (n, kinds). It is nan where there is nothing to divide by. A bar is 16
steps from column 0; a beat is 4. Shares are 0-1.

**A new measure** is one function and one line in `STATISTICS`. The judge then reports its mean in
the table of sets, with an interval. A name in `likeness.FEATURES` makes `compare` use it as well.

Most measures are those of muspy (Dong et al. 2020, arXiv 2008.01951). Two groups are not:
*fragments* (notes of one step, and notes that begin where one of their pitch ends: a long note in
pieces), and the *voice leading* of the line of highest notes, which is the melody where only that
is looked at.
Read on in `likeness`, which compares two sets.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ..music.harmony import MAJOR
from ..music.pixels import PITCHES, Mask
from ..music.tables import BAR
from .clips import Clips, Notes, PictureSet, count_bars, read_clips

BEAT = 4  # steps
OCTAVES = 11  # of 12 semitones; the last one is not whole
# Classes of the note-length histogram begin here, in steps.
LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
# The pitch classes of every major scale, which are those of every natural minor one, too.
ABOVE = (np.arange(12) - np.arange(12)[:, None]) % 12  # semitones above the tonic, (12, 12)
MAJOR_SCALES = np.isin(ABOVE, MAJOR)  # (tonics, pitch classes)

# A move of the highest notes by more semitones is a leap: more than a fifth.
LEAP = 7

Values = np.ndarray  # a number for each clip, (n,), or shares of kinds, (n, kinds)


class ClipGrids:
    """The notes of n clips on grids of bars and steps: what several measures share.

    A grid is computed when a measure first asks for it.

    Attributes:
        notes: of all clips, NOTE_DTYPE (notes,).
        clip: the clip of each note, int (notes,).
        pitch, onset, duration, velocity: of each note, int (notes,).
        columns: the columns that count, bool (n, width).
        n, width, bars: how many clips, steps and bars there are.
    """

    def __init__(self, clips: Clips) -> None:
        notes, self.columns = clips
        self.notes = notes
        self.clip = notes["part"]
        self.pitch = notes["pitch"]
        self.onset = notes["onset"]
        self.duration = notes["duration"]
        self.velocity = notes["velocity"]
        self.n, self.width = self.columns.shape
        self.bars = count_bars(self.width)

    @cached_property
    def count(self) -> Values:
        """How many notes each clip has, int (n,)."""
        return np.bincount(self.clip, minlength=self.n)

    @cached_property
    def onsets(self) -> Values:
        """Where notes begin, bool (n, bars, 16)."""
        grid = np.zeros((self.n, self.bars, BAR), bool)
        bar, position = np.divmod(self.onset, BAR)
        grid[self.clip, bar, position] = True
        return grid

    @cached_property
    def pitches(self) -> Values:
        """Which pitches begin in each bar, bool (n, bars, 128)."""
        grid = np.zeros((self.n, self.bars, PITCHES), bool)
        grid[self.clip, self.onset // BAR, self.pitch] = True
        return grid

    @cached_property
    def sounding(self) -> Values:
        """How many notes sound at each step, int (n, width + 1)."""
        change = np.zeros((self.n, self.width + 1), int)
        end = self.onset + self.duration
        np.add.at(change, (self.clip, self.onset), 1)
        np.add.at(change, (self.clip, end), -1)
        return change.cumsum(axis=1)

    @cached_property
    def open_bars(self) -> Values:
        """Bars with a column that counts, bool (n, bars)."""
        missing = self.bars * BAR - self.width
        whole = np.pad(self.columns, ((0, 0), (0, missing)))
        bars: Any = whole.reshape(self.n, self.bars, BAR)  # (n, bars, 16)
        return bars.any(axis=2)

    @cached_property
    def class_shares(self) -> Values:
        """Shares of the pitch classes among the notes, float (n, 12)."""
        return self.shares(self.pitch % 12, 12)

    @cached_property
    def moves(self) -> tuple[Values, Values]:
        """The moves of each clip's highest notes: their clips and semitones, int (moves,) each."""
        order = np.lexsort((self.pitch, self.onset, self.clip))
        clip = self.clip[order]
        onset = self.onset[order]
        pitch = self.pitch[order]

        # Of the notes that begin together the last one is the highest.
        other_clip = np.diff(clip, append=-1) != 0
        highest = other_clip | (np.diff(onset, append=-1) != 0)
        clip = clip[highest]
        interval = np.diff(pitch[highest])
        inside = np.diff(clip) == 0
        return clip[1:][inside], interval[inside]

    def share_of_moves(self, clip: Values, chosen: Values) -> Values:
        """What share of each clip's moves is chosen, or their mean, float (n,).

        Args:
            clip: of each move, int (moves,).
            chosen: bool (moves,), or a number of each move.
        """
        total = np.bincount(clip, chosen, self.n)
        return total / np.bincount(clip, minlength=self.n)

    def shares(self, kind: Values, kinds: int) -> Values:
        """Shares of `kinds` kinds among the notes, (n, kinds); `kind`: of each note, (notes,)."""
        place = kinds * self.clip + kind
        counts = np.bincount(place, minlength=kinds * self.n)
        counts = counts.reshape(self.n, kinds)  # (n, kinds)
        return counts / self.count[:, None]

    def mean(self, values: Values) -> Values:
        """The mean over each clip's notes, float (n,), of `values`, (notes,)."""
        total = np.bincount(self.clip, values, self.n)
        return total / self.count


def entropy_of_classes(clips: ClipGrids) -> Values:
    """-sum p log2 p over the shares p of the pitch classes, in bits, (n,). Source: muspy."""
    share = clips.class_shares
    bits = np.log2(np.where(share > 0, share, 1))
    return -(share * bits).sum(axis=1)


def scale_consistency(clips: ClipGrids) -> Values:
    """The largest share of notes in one major or natural minor scale, (n,). Source: muspy."""
    return (clips.class_shares @ MAJOR_SCALES.T).max(axis=1)


def groove_consistency(clips: ClipGrids) -> Values:
    """1 - the mean distance of neighbouring bars' onset patterns on 16 positions a bar, (n,).

    A finer grid gives larger values. muspy counts one empty bar more where the last note ends on
    a bar line.

    Source: Wu and Yang 2020, arXiv 2008.01307.
    """
    one = slice(None, -1)
    other = slice(1, None)
    changes = clips.onsets[:, other] ^ clips.onsets[:, one]
    distance = changes.mean(axis=2)  # (n, bars - 1)
    pairs = clips.open_bars[:, other] & clips.open_bars[:, one]
    return 1 - (distance * pairs).sum(axis=1) / pairs.sum(axis=1)


def mean_polyphony(clips: ClipGrids) -> Values:
    """Notes a step, over the steps where any sounds, (n,). Source: muspy."""
    steps = (clips.sounding > 0).sum(axis=1)
    return clips.sounding.sum(axis=1) / steps


def onsets_per_beat(clips: ClipGrids) -> Values:
    """Notes that begin in a beat of 4 steps, over the columns that count, (n,)."""
    return BEAT * clips.count / clips.columns.sum(axis=1)


def classes_per_bar(clips: ClipGrids) -> Values:
    """Different pitch classes of the notes that begin in a bar, the mean over bars, (n,)."""
    missing = 12 * OCTAVES - PITCHES
    whole = np.pad(clips.pitches, ((0, 0), (0, 0), (0, missing)))
    octaves = whole.reshape(clips.n, clips.bars, OCTAVES, 12)  # (n, bars, octaves, 12)
    classes = octaves.any(axis=2)  # (n, bars, 12)
    return classes.sum(axis=(1, 2)) / clips.open_bars.sum(axis=1)


def mean_length(clips: ClipGrids) -> Values:
    """The mean length of the notes in steps, (n,)."""
    return clips.mean(clips.duration)


def mean_velocity(clips: ClipGrids) -> Values:
    """The mean velocity of the notes, 1-127, (n,)."""
    return clips.mean(clips.velocity)


def pitch_count(clips: ClipGrids) -> Values:
    """How many different pitches there are, (n,). Source: Yang and Lerch 2020; muspy."""
    return clips.pitches.any(axis=1).sum(axis=1)


def pitch_range(clips: ClipGrids) -> Values:
    """From the lowest to the highest pitch, in semitones, (n,). Source: Yang and Lerch 2020."""
    return _extent(clips.pitches.any(axis=1)) * (clips.count > 0)


def inter_onset_interval(clips: ClipGrids) -> Values:
    """The mean number of steps from one onset to the next, (n,); the width where there is none.

    Notes that begin together are one onset. Source: Yang and Lerch 2020.
    """
    onsets = clips.onsets.reshape(clips.n, -1)  # (n, 16 bars)
    gaps = onsets.sum(axis=1) - 1
    interval = _extent(onsets) / np.maximum(gaps, 1)
    return np.where(gaps > 0, interval, clips.width)


def class_histogram(clips: ClipGrids) -> Values:
    """Shares of the pitch classes, C first, (n, 12). Source: Yang and Lerch 2020."""
    return clips.class_shares


def length_histogram(clips: ClipGrids) -> Values:
    """Shares of the note lengths in the classes of `LENGTHS`, (n, 10). Source: as above."""
    after = np.searchsorted(LENGTHS, clips.duration, side="right")
    return clips.shares(after - 1, len(LENGTHS))


def one_step_notes(clips: ClipGrids) -> Values:
    """The share of notes that last one step, (n,)."""
    return clips.mean(clips.duration == 1)


def broken_notes(clips: ClipGrids) -> Values:
    """The share of notes that begin where a note of their pitch ends, (n,).

    In real music these are notes struck again; where there are more, long notes fell to pieces.
    """
    return clips.mean(struck_again(clips.notes))


def struck_again(notes: Notes) -> np.ndarray:
    """Notes that begin where a note of the same pitch ends, bool (notes,): one note may be broken.

    Args:
        notes: NOTE_DTYPE (notes,); `part` is the number of the clip.
    """
    # One number for each clip, pitch and step.
    line = notes["part"].astype(np.int64) * PITCHES + notes["pitch"]
    begin = line * 2**32 + notes["onset"]
    end = begin + notes["duration"]
    return np.isin(begin, end)


def leaps(clips: ClipGrids) -> Values:
    """The share of moves of the highest notes by more than 7 semitones, (n,)."""
    clip, interval = clips.moves
    return clips.share_of_moves(clip, np.abs(interval) > LEAP)


def turns(clips: ClipGrids) -> Values:
    """How often the highest notes change from rising to falling, or back, over the chances, (n,).

    A move by 0 semitones is left out.
    """
    clip, interval = clips.moves
    moving = interval != 0
    clip = clip[moving]
    rises = interval[moving] > 0
    inside = np.diff(clip) == 0
    changes = np.diff(rises.astype(int)) != 0
    return clips.share_of_moves(clip[1:][inside], changes[inside])


def mean_interval(clips: ClipGrids) -> Values:
    """How far the highest notes move, up or down, the mean in semitones, (n,)."""
    clip, interval = clips.moves
    return clips.share_of_moves(clip, np.abs(interval))


# Name of a measure -> the function that computes it.
STATISTICS: dict[str, Callable[[ClipGrids], Values]] = {
    "pitch_class_entropy": entropy_of_classes,
    "scale_consistency": scale_consistency,
    "groove_consistency": groove_consistency,
    "polyphony": mean_polyphony,
    "onsets_per_beat": onsets_per_beat,
    "pitch_classes_per_bar": classes_per_bar,
    "note_length": mean_length,
    "velocity": mean_velocity,
    "pitch_count": pitch_count,
    "pitch_range": pitch_range,
    "inter_onset_interval": inter_onset_interval,
    "pitch_classes": class_histogram,
    "note_lengths": length_histogram,
    "one_step_notes": one_step_notes,
    "broken_notes": broken_notes,
    "leaps": leaps,
    "turns": turns,
    "mean_interval": mean_interval,
}


def describe(pictures: PictureSet, masks: Mask | None = None) -> dict[str, Values]:
    """Measure each picture of a set by every measure of `STATISTICS`; the set's value is the mean.

    Args:
        pictures: uint8 (n, 128, width, 3), or Clips.
        masks: bool (128, width) or (n, 128, width): only notes that begin inside count.

    Returns:
        Name -> numbers (n,), or shares (n, kinds); nan where a picture has no notes.

    Raises:
        OptionError: the pictures are of different widths, or there are none.
    """
    clips = ClipGrids(read_clips(pictures, masks))
    # 0 / 0 is nan, as it should be.
    with np.errstate(invalid="ignore"):
        return {name: measure(clips) for name, measure in STATISTICS.items()}


def _extent(flags: Any) -> Values:
    """How far it is from the first to the last True of each row, (n,); `flags`: bool (n, k)."""
    first = flags.argmax(axis=1)
    from_behind = flags[:, ::-1].argmax(axis=1)
    return flags.shape[1] - 1 - from_behind - first
