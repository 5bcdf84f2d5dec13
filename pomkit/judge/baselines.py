"""What anyone would try first, and one way to fool a judge.

    training = Training(songs)
    result = nearest(picture, mask, training, "melody", rng)

- `copied`: the bars before the mask once more.
- `nearest`: the training bars whose surroundings match best.
- `Markov`: a chain of order 2 on the training melodies.
- `permuted`: no music; made to have the statistics of the real notes.

Each fills the masked cells of a picture, uint8 (128, width, 3), and leaves the others as they are;
the judge measures them like a model. Read on in `tasks`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from ..music.harmony import HALF_BAR, chords_by_step, tonic_of
from ..music.masks import melody_notes
from ..music.palette import read_chords
from ..music.picture import render
from ..music.pixels import PITCHES, Mask, Picture, draw_spans, read_spans, row_of_pitch
from ..music.song import Song
from ..music.tables import BAR, NOTE_DTYPE
from .clips import Notes, count_bars, read_clips

LONGEST_WAIT = 2 * BAR  # steps
SWAPS = 50  # rounds of `permuted`: in each, every note is in one pair (but an odd one)
# The notes that are known where notes of a kind are hidden.
KNOWN_KIND = {"all": "all", "melody": "accompaniment", "accompaniment": "melody"}


class Training:
    """The notes of many songs on one axis of time, song after song.

    All bar lines are multiples of 16 steps.

    Attributes:
        notes: NOTE_DTYPE (notes,), in order of time; `part` is the number of the song.
        lines: for `metrics.longest_shared`: all notes, and the melodies once more as more parts.
        kinds: "all", "melody", "accompaniment" -> which notes are of it, bool (notes,).
        chroma: kind -> what sounds in each half bar, float32 (bars, 24), see `chroma`.
        song_of_bar: the number of the song, int (bars,).
        tonic: of each song, see `tonic_of`, int (songs,).
    """

    def __init__(self, songs: Sequence[Song]) -> None:
        # Every song begins on the first bar line after the song before it; it may take one bar
        # more than it has, for the upbeat.
        bars = [count_bars(song.end + BAR) for song in songs]
        first_bars = np.cumsum([0, *bars])
        self.song_of_bar = np.repeat(np.arange(len(songs)), bars)

        tables = [np.zeros(0, NOTE_DTYPE)]
        melodies = [np.zeros(0, bool)]
        for number, song in enumerate(songs):
            notes = song.notes.copy()
            notes["part"] = number
            notes["onset"] += _upbeat(song) + BAR * first_bars[number]
            tables.append(notes)
            melodies.append(melody_notes(song))

        self.notes = np.concatenate(tables)
        self.tonic = np.array([tonic_of(song.notes) for song in songs], int)
        lead = np.concatenate(melodies)
        self.kinds = {
            "all": np.ones(len(lead), bool),
            "melody": lead,
            "accompaniment": ~lead,
        }
        self.chroma = {}
        for kind, chosen in self.kinds.items():
            self.chroma[kind] = chroma(self.notes[chosen], first_bars[-1])

        alone = self.notes[lead]
        alone["part"] += len(songs)
        self.lines = np.concatenate([self.notes, alone])


def _upbeat(song: Song) -> int:
    """By how many steps a song has to move so that most of its bar lines are multiples of 16."""
    lines = np.asarray(song.bars or (0,))
    votes = np.bincount(lines % BAR)
    phase = int(votes.argmax())
    return -phase % BAR


def chroma(notes: Notes, bars: int) -> np.ndarray:
    """Count the steps that each pitch class sounds in each half bar.

    Args:
        notes: NOTE_DTYPE (notes,); each counts where it begins, for at most 8 steps.
        bars: how many bars there are.

    Returns:
        float32 (bars, 24): 12 pitch classes of the first half, 12 of the second.
    """
    half_bar = notes["onset"] // HALF_BAR
    pitch_class = notes["pitch"] % 12
    steps = np.minimum(notes["duration"], HALF_BAR)

    # Notes may begin after the last bar: these are cut off.
    size = 24 * bars
    counts = np.bincount(12 * half_bar + pitch_class, steps, size)[:size]
    return counts.reshape(bars, 24).astype(np.float32)  # (bars, 24)


def redraw(
    picture: Picture,
    mask: Mask,
    notes: Notes,
) -> Picture:
    """Redraw the masked cells of a picture with notes, cut where the mask ends.

    Args:
        picture: uint8 (128, width, 3).
        mask: bool (128, width).
        notes: NOTE_DTYPE (notes,); those that begin inside the mask are drawn.

    Returns:
        uint8 (128, width, 3): `picture` outside the mask.
    """
    width = picture.shape[1]
    notes = _between(notes, 0, width)
    pitch = notes["pitch"]
    there = (pitch >= 0) & (pitch < PITCHES)
    whole = render(Song(notes[there]), 0, width)

    # What is left of the notes inside the mask: sustain without its onset goes, too.
    hidden = mask[..., None]  # (128, width, 1)
    inside = np.where(hidden, whole, 0).astype(np.uint8)
    onset, sustain, velocity, *_ = read_spans(inside)
    drawing = draw_spans(onset, sustain, velocity)
    return np.where(hidden, drawing, picture).astype(np.uint8)


def _between(notes: Notes, start: int, end: int) -> Notes:
    """The notes that begin from the step `start` on and before `end`."""
    onset = notes["onset"]
    return notes[(onset >= start) & (onset < end)]


def permuted(
    picture: Picture,
    mask: Mask,
    rng: Generator,
) -> Picture:
    """No music, made to fool a judge: the real notes inside the mask, their pitches dealt anew.

    The statistics of `describe` stay nearly what they were; every line and every chord is gone.

    Args:
        picture: uint8 (128, width, 3).
        mask: bool (128, width).
        rng: deals the pitches.

    Returns:
        uint8 (128, width, 3): `picture` outside the mask.
    """
    notes = read_clips([picture], mask).notes
    onset = notes["onset"]
    pitch = notes["pitch"]  # (notes,), a view: what changes here changes `notes`
    pairs = len(notes) // 2
    for _ in range(SWAPS):
        order = rng.permutation(len(notes))
        one = order[:pairs]
        other = order[pairs : 2 * pairs]

        # Two notes swap their pitches where both stay inside the mask.
        row = row_of_pitch(pitch)
        one_stays = mask[row[other], onset[one]]
        other_stays = mask[row[one], onset[other]]
        swap = one_stays & other_stays
        one = one[swap]
        other = other[swap]
        pitch[one], pitch[other] = pitch[other], pitch[one]
    return redraw(picture, mask, notes)


def copied(
    picture: Picture,
    mask: Mask,
    song: Song,
    start: int,
    kind: str,
) -> Picture:
    """Repeat the bars before the masked columns; where there are none, the bars after them.

    As many bars are taken as are masked, or all that there are, which are then repeated.

    Args:
        picture: uint8 (128, width, 3).
        mask: bool (128, width), not empty.
        song: the song that the picture shows.
        start: the step of the song where the picture begins.
        kind: which notes are copied: all, melody or accompaniment.

    Returns:
        uint8 (128, width, 3): `picture` outside the mask.
    """
    # The masked steps of the song, in whole bars.
    columns = np.flatnonzero(mask.any(axis=0))
    first = start + int(columns[0])
    end = start + int(columns[-1]) + 1
    length = BAR * count_bars(end - first)

    # The bars that are copied: from `source` on, `period` steps.
    bars_before = first // BAR
    if bars_before:
        period = min(length, BAR * bars_before)
        source = first - period
    else:
        period = length
        source = first + length
    notes = _between(_notes_of_kind(song, kind), source, source + period)

    # One copy after the other, until the mask is full.
    copies = np.tile(notes, -(-length // period))
    number = np.arange(len(copies)) // max(len(notes), 1)
    copies["onset"] += first - source - start
    copies["onset"] += period * number
    return redraw(picture, mask, copies)


def _notes_of_kind(song: Song, kind: str) -> Notes:
    """All notes of a song, those of its melody, or those of the accompaniment."""
    if kind == "all":
        return song.notes
    lead = melody_notes(song)
    return song.notes[~lead if kind == "accompaniment" else lead]


def nearest(
    picture: Picture,
    mask: Mask,
    training: Training,
    kind: str,
    rng: Generator,
) -> np.ndarray:
    """Copy the notes of those training bars whose surroundings match best, in whatever key.

    Bars match by the cosine of the `chroma` of what is known: of the known notes and the training
    notes of the other kind; where no note is known, of the known chords; without these, any bars.

    Args:
        picture: uint8 (128, width, 3).
        mask: bool (128, width).
        training: where the bars are looked for.
        kind: which notes are hidden: all, melody or accompaniment.
        rng: decides between bars that match equally.

    Returns:
        uint8 (128, width, 3): `picture` outside the mask, where nothing is added if no song is as
        long as the picture.
    """
    width = picture.shape[1]
    bars = count_bars(width)

    # Where the picture could begin: its first and last bar are of one song.
    song = training.song_of_bar
    starts = np.arange(len(song) - bars + 1)
    ends = starts + bars - 1
    starts = starts[song[starts] == song[ends]]
    if not len(starts):
        return redraw(picture, mask, training.notes[:0])

    # The bars and the key that match best.
    known = _known_chroma(picture, mask, bars)
    chroma_of_bars = training.chroma[KNOWN_KIND[kind]]
    score = _match(known, chroma_of_bars, starts)
    score += 1e-6 * rng.random(score.shape)
    best, key = np.unravel_index(score.argmax(), score.shape)

    # Songs follow each other: a stretch of time is a stretch of one song.
    begin = BAR * starts[best]
    notes = training.notes[training.kinds[kind]]
    notes = _between(notes, begin, begin + width)
    notes["onset"] -= begin
    notes["pitch"] += (key + 6) % 12 - 6  # the nearer way: -6 to 5 semitones
    return redraw(picture, mask, notes)


def _known_chroma(picture: Picture, mask: Mask, bars: int) -> np.ndarray:
    """The `chroma` of the notes outside the mask, or else of the chords, float32 (bars, 24)."""
    notes = read_clips([picture], ~mask).notes
    known = chroma(notes, bars)
    if known.any():
        return known

    visible = np.where(mask[..., None], 0, picture).astype(np.uint8)
    chords = read_chords(visible)
    _, tones = chords_by_step(chords, bars * BAR)  # (steps, 12)
    halves = tones.reshape(bars, 2, HALF_BAR, 12)  # (bars, halves, steps, 12)
    steps = halves.sum(axis=2, dtype=np.float32)  # (bars, halves, 12)
    return steps.reshape(bars, 24)  # (bars, 24)


def _match(
    known: np.ndarray,
    chroma_of_bars: np.ndarray,
    starts: np.ndarray,
) -> np.ndarray:
    """How well training bars match what is known, in every key, float (starts, 12 keys).

    Args:
        known: the picture's chroma, float32 (bars, 24).
        chroma_of_bars: of all training bars, float32 (training bars, 24).
        starts: the training bars where the picture could begin, int (starts,).
    """
    score = np.zeros((len(starts), 12), np.float32)
    size = np.full(len(starts), 1e-9)
    for bar in np.flatnonzero(known.any(axis=1)):
        # Training music moved up by `key` is alike if it is like known music moved down by it.
        halves = known[bar].reshape(2, 12)  # (halves, 12)
        moved = [np.roll(halves, -key, axis=1) for key in range(12)]
        keys = np.reshape(moved, (12, 24)).T  # (24, keys)

        there = chroma_of_bars[starts + bar]  # (starts, 24)
        score += there @ keys
        size += (there**2).sum(axis=1)
    return score / np.sqrt(size)[:, None]


class Markov:
    """A Markov chain of order 2: a note follows the two before it as it did in a training melody.

    The state of a note is its pitch above the song's tonic, the steps to the next note (at most
    32) and its duration.

    Attributes:
        notes: the training melodies, NOTE_DTYPE (notes,), of a chord the last note.
        wait: steps from each note to the next, at most 32, int (notes,).
        height: semitones of each note above its song's tonic, int (notes,).
        pair: the states of each note and the next as one number, int (notes - 2,).
        begins: notes from which a melody may begin, int (begins,).
    """

    def __init__(self, training: Training) -> None:
        notes = training.notes[training.kinds["melody"]]

        # Steps to the next note; there is no rest between songs.
        wait = np.diff(notes["onset"], append=0)
        ends_song = np.diff(notes["part"], append=-1) != 0
        wait = np.where(ends_song, notes["duration"], wait)

        # What begins together with the next note is left out.
        apart = wait > 0
        self.notes = notes[apart]
        self.wait = np.minimum(wait[apart], LONGEST_WAIT)
        song = self.notes["part"]
        self.height = self.notes["pitch"] - training.tonic[song]

        # Equal states have equal numbers.
        states = [self.height, self.wait, self.notes["duration"]]
        _, state = np.unique(states, axis=1, return_inverse=True)
        state = state.reshape(-1)  # (notes,)
        self.pair = state[:-2] * (len(notes) + 1) + state[1:-1]

        # A melody begins like a bar, if any training melody does.
        position = self.notes["onset"][:-2] % BAR
        self.begins = np.flatnonzero(position == 0)
        if not len(self.begins):
            self.begins = np.arange(len(self.pair))

    def __call__(
        self,
        picture: Picture,
        mask: Mask,
        rng: Generator,
    ) -> np.ndarray:
        """Fill the mask with a melody that begins on its first column, in the key of what is known.

        Args:
            picture: uint8 (128, width, 3).
            mask: bool (128, width).
            rng: draws the notes.

        Returns:
            uint8 (128, width, 3): `picture` outside the mask; silence inside if there were too few
            training notes to learn from.
        """
        if not len(self.begins):
            return redraw(picture, mask, self.notes[:0])

        # The nearer tonic: -6 to 5 semitones away.
        known = read_clips([picture], ~mask).notes
        tonic = (tonic_of(known) + 6) % 12 - 6

        step = int(mask.any(axis=0).argmax())
        note = int(rng.choice(self.begins))
        steps = []
        chosen = []
        while step < picture.shape[1]:
            steps.append(step)
            chosen.append(note)
            step += int(self.wait[note])
            note = self._next(note, rng)

        melody = self.notes[chosen]
        melody["onset"] = steps
        melody["pitch"] = self.height[chosen] + tonic
        melody["part"] = 0
        return redraw(picture, mask, melody)

    def _next(self, note: int, rng: Generator) -> int:
        """Draw a note that came after the same two: this one and the one before it."""
        before = min(max(note - 1, 0), len(self.pair) - 1)
        same = np.flatnonzero(self.pair == self.pair[before])
        return int(rng.choice(same)) + 2
