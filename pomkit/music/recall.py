"""What a song says elsewhere of the bars that are composed: its memory.

Music repeats itself, and a window of some bars cannot show it. So for each bar of a window that bar
of the whole song is looked for that is most like it, as far as both are known: by their chords, and
by the notes beside the mask. Bars that follow each other are looked for together, since a verse
comes back as a whole. A bar that is silent where music is asked for is no answer.

    known = KnownSong.of(picture, unknown, lines)
    planes = recall(known, 512, 256)          # bool (3, 128, 256): onsets, sustains, known

A known song is a song, or a picture, with what is not known of it. No bar is recalled from itself,
and nothing that is not known is recalled. Who composes a window, and has its song, gives the song
beside it:

    inpaint(model, render(song, start, 512), mask, whole=WholeSong.of(song, start))
"""

from dataclasses import dataclass

import numpy as np

from .bars import Lines, lines_until
from .harmony import chords_by_step, viterbi
from .palette import read_chords
from .picture import render
from .pixels import PITCHES, Picture, read_spans
from .song import Song
from .tables import BAR

# Planes that `recall` gives.
RECALL_CHANNELS = 3
# How far away a bar may be, in bars.
FARTHEST_BAR = 128
# Steps of a bar that are compared; longer ones are compared as far as that.
COMPARED_STEPS = 2 * BAR
# The notes of two bars, all alike, count as much as so many bars of equal chords.
NOTES_WORTH = 2.0
# What it costs to go on elsewhere than at the bar after the last one.
LEAP_COST = 1.0
# What nearness is worth, a bar: it decides between equals.
NEARNESS = 1e-3
OUT_OF_QUESTION = -1e9
UNTOLD_CHORD = -2


@dataclass(frozen=True)
class KnownSong:
    """All that is known of a song, in columns.

    Attributes:
        onset: bool (128, width), where a note begins; False where nothing is known.
        sustain: bool (128, width), where one sounds on.
        known: bool (128, width).
        chord: int (width,), `chords_by_step`'s numbers; UNTOLD_CHORD where none is known.
        lines: columns of the bar lines, int (bars + 1,), from 0 to the width or beyond.
    """

    onset: np.ndarray
    sustain: np.ndarray
    known: np.ndarray
    chord: np.ndarray
    lines: np.ndarray

    @classmethod
    def of(cls, picture: Picture, unknown: np.ndarray, lines: Lines | None = None) -> "KnownSong":
        """The sheet of a picture.

        Args:
            picture: uint8 (128, width, 3).
            unknown: bool (128, width), True = not known; in the chord rows it hides the chord.
            lines: columns of the bar lines; None: those of 4/4.
        """
        width = picture.shape[1]
        spans = read_spans(picture)
        chord, _ = chords_by_step(read_chords(picture), width)
        chord[unknown[0]] = UNTOLD_CHORD
        known = ~unknown
        whole = lines_until(lines, width)
        return cls(spans.onset & known, spans.sustain & known, known, chord, whole)

    def bars(self, plane: np.ndarray, which: slice, length: int, blank: int = 0) -> np.ndarray:
        """A plane cut into bars.

        Args:
            plane: of the sheet, (..., width).
            which: bars, by number.
            length: columns of a bar.
            blank: what stands behind the end of a shorter bar.

        Returns:
            (bars, ..., length), like the plane.
        """
        width = plane.shape[-1]
        column = self.lines[which, None] + np.arange(length)  # (bars, length)
        end = self.lines[which.start + 1 : which.stop + 1, None]
        inside = (column < end) & (column < width)
        cut = plane[..., np.minimum(column, width - 1)]  # (..., bars, length)
        return np.moveaxis(np.where(inside, cut, blank), -2, 0)  # (bars, ..., length)


@dataclass(frozen=True)
class WholeSong:
    """A song of which a picture is a part.

    Attributes:
        picture: of the whole song, uint8 (128, w, 3).
        at: the column of the song where the part begins.
        lines: columns of the song's bar lines, int (lines,), from 0 on.
    """

    picture: Picture
    at: int
    lines: np.ndarray

    @classmethod
    def of(cls, song: Song, at: int) -> "WholeSong":
        """A song, and the step where a part of it begins."""
        picture = render(song)
        return cls(picture, at, lines_until(song.bar_lines(), picture.shape[1]))

    def around(self, parts: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The whole song with a part as it is now.

        Args:
            parts: candidates of the part, uint8 (n, 128, width, 3).
            unknown: bool (128, width), what is not known of them.

        Returns:
            Pictures of the whole, uint8 (n, 128, w, 3); what is not known of it, bool (128, w).
        """
        stop = self.at + parts.shape[2]
        more = max(stop - self.picture.shape[1], 0)
        whole = np.pad(self.picture, ((0, 0), (0, more), (0, 0)))
        pictures = np.repeat(whole[None], len(parts), axis=0)
        pictures[:, :, self.at : stop] = parts
        hidden = np.zeros(whole.shape[:2], bool)
        hidden[:, self.at : stop] = unknown
        return pictures, hidden


def recall(sheet: KnownSong, start: int, width: int) -> np.ndarray:
    """What a window is reminded of, bar by bar.

    Args:
        sheet: of the song, the window with it.
        start: the window's first column, a bar line.
        width: of the window; what lies beyond the song is reminded of nothing.

    Returns:
        bool (RECALL_CHANNELS, 128, width): onsets, sustains, and where these are known.
    """
    first = int(np.searchsorted(sheet.lines, start, side="right")) - 1
    last = int(np.searchsorted(sheet.lines, start + width))
    last = min(last, len(sheet.lines) - 1)
    planes = np.zeros((RECALL_CHANNELS, PITCHES, width), bool)
    if last <= first:
        return planes

    source = source_bars(sheet, first, last)
    long = np.diff(sheet.lines).tolist()
    sheets = np.stack([sheet.onset, sheet.sustain, sheet.known])
    for bar, other in zip(range(first, last), source, strict=True):
        if other < 0:
            continue
        at = int(sheet.lines[bar]) - start
        begin = int(sheet.lines[other])
        length = min(long[bar], long[other], width - at)
        skip = max(-at, 0)
        there = sheets[..., begin + skip : begin + length]
        planes[..., at + skip : at + skip + there.shape[-1]] = there
    return planes


def near_bars(lines: np.ndarray, start: int, width: int) -> slice:
    """The columns of a song that a window can recall anything of, from one bar line to another.

    Args:
        lines: columns of the bar lines, increasing, int (lines,).
        start: the window's first column.
        width: of the window.
    """
    first = int(np.searchsorted(lines, start, side="right")) - 1
    last = int(np.searchsorted(lines, start + width))
    # Behind the last line the song goes on to its end.
    last = min(last + FARTHEST_BAR, len(lines) - 1)
    stop = int(lines[last]) if last < len(lines) - 1 else np.iinfo(int).max
    return slice(int(lines[max(first - FARTHEST_BAR, 0)]), stop)


def source_bars(sheet: KnownSong, first: int, last: int) -> np.ndarray:
    """The bar that is most like each bar from `first` on: int (last - first,); -1 for none.

    Args:
        sheet: of the song.
        first: a bar.
        last: the bar behind the last one.
    """
    # The bars that may be recalled.
    low = max(first - FARTHEST_BAR, 0)
    high = min(last + FARTHEST_BAR, len(sheet.lines) - 1)
    likeness = likenesses(sheet, slice(first, last), slice(low, high))  # (wanted, others)

    # To recall nothing is worth nothing, and costs nothing to go on with.
    others = high - low
    score = np.pad(likeness, ((0, 0), (0, 1)))  # (wanted, others + 1)
    move = np.full((others + 1, others + 1), -LEAP_COST)
    move[np.arange(others - 1), np.arange(1, others)] = 0
    move[others, others] = 0
    path = viterbi(score[:, None], move)[:, 0]  # (wanted,)
    is_none = (path == others) | (score[np.arange(len(path)), path] <= OUT_OF_QUESTION)
    return np.where(is_none, -1, path + low)


def likenesses(sheet: KnownSong, wanted: slice, others: slice) -> np.ndarray:
    """How like bars are to others, as far as both are known: float32 (wanted, others).

    The share of equal chords, and NOTES_WORTH times the F1 of the onsets. Out are the bar itself, a
    bar that does not know half of what is unknown in the wanted one, and one that is silent there.

    Args:
        sheet: of the song.
        wanted: bars, by number.
        others: bars, by number.
    """
    longest = int(np.diff(sheet.lines[wanted.start : wanted.stop + 1]).max(initial=1))
    length = min(longest, COMPARED_STEPS)

    def flat(plane: np.ndarray, bars: slice) -> np.ndarray:
        cut = sheet.bars(plane, bars, length)
        return cut.reshape(len(cut), -1).astype(np.float32)  # (bars, 128 length)

    known = flat(sheet.known, wanted)
    others_known = flat(sheet.known, others)
    onset = flat(sheet.onset, wanted)
    others_onset = flat(sheet.onset, others)

    # F1 of the onsets among the cells that both bars know.
    hits = onset @ others_onset.T  # (wanted, others)
    here = onset @ others_known.T
    there = known @ others_onset.T
    f1 = 2 * hits / np.maximum(here + there, 1)

    # The share of a bar's steps with equal chords.
    chord = sheet.bars(sheet.chord, wanted, length, UNTOLD_CHORD)  # (wanted, length)
    others_chord = sheet.bars(sheet.chord, others, length, UNTOLD_CHORD)  # (others, length)
    told = chord > UNTOLD_CHORD
    equal = (chord[:, None] == others_chord[None]) & told[:, None]
    inside = sheet.bars(np.ones(len(sheet.chord), bool), wanted, length)  # (wanted, length)
    chords = equal.sum(axis=2) / np.maximum(inside.sum(axis=1), 1)[:, None]  # (wanted, others)

    # Of what is to be composed at least half must be known there.
    cells = np.repeat(inside[:, None], PITCHES, axis=1).reshape(
        len(known), -1
    )  # (wanted, 128 length)
    unknown = cells - known
    wanting = unknown.sum(axis=1, keepdims=True)  # (wanted, 1)
    covered = unknown @ others_known.T >= wanting / 2

    # Who asks for music is not reminded of silence: an introduction is often like a verse.
    others_sounding = np.maximum(others_onset, flat(sheet.sustain, others))
    sounding = unknown @ others_sounding.T > 0
    is_answer = covered & (sounding | (wanting == 0))

    numbers = np.arange(len(sheet.lines) - 1)
    distance = numbers[wanted, None] - numbers[None, others]  # (wanted, others)
    likeness = chords + NOTES_WORTH * f1 - NEARNESS * np.abs(distance)
    return np.where(is_answer & (distance != 0), likeness, OUT_OF_QUESTION).astype(np.float32)
