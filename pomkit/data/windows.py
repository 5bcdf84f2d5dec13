"""Training windows: a stretch of a song as a picture, and a mask over it.

    windows = Windows(corpus.split("train").songs, width=512, seed=0)
    picture, mask, *_ = windows[7]

`Windows` is a data set as torch wants them (`len` and an index), but needs no torch.

The law: window i depends on (seed, i) alone. So several processes may draw windows at the same
time, and a training that was broken off and resumed sees what an unbroken one sees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..errors import OptionError
from ..music import masks
from ..music.bars import later_lines, later_meters, lines_until, missing_of_upbeat
from ..music.grid import Meter
from ..music.midi_codes import DRUMS
from ..music.picture import render
from ..music.pixels import PITCHES, Mask, Picture
from ..music.recall import RECALL_CHANNELS, KnownSong, recall
from ..music.song import Song
from ..music.tables import BAR, columns_of
from .mask_mix import MASK_MIX, draw_kind, onsets_per_bar, random_mask

# The kind of mask under which chords are always shown.
CHORDS_ONLY = "chords only"

# How busy music is, is counted in so many songs, and told by so many quantiles.
MOST_COUNTED = 400
QUANTILES = 21

# What a window holds of the rest of its song where nobody asks for it.
NO_MEMORY = np.zeros((RECALL_CHANNELS, PITCHES, 0), bool)


class Window(NamedTuple):
    """A training example.

    Attributes:
        picture: uint8 (128, width, 3).
        mask: bool (128, width).
        density: onsets a masked bar, see `onsets_per_bar`.
        song: the name of the song that it comes from.
        start: its first step in that song; below 0 where silence makes a whole bar of a pickup.
        semitones: by how many it was transposed.
        bars: columns of the bar lines, from 0 to the first one at or after the width.
        meters: (column, numerator, denominator), as a Song has them.
        notes: those that sound in it, transposed, int64 (5, notes), see `tables.notes_of`: their
            onsets count from the song's first step, so a note begins at column `onset - start`.
        parts: the names of the song's parts, which the notes' `part` counts.
        memory: what the rest of the song says, bool (3, 128, width), see `music.recall`; of no
            columns where `Windows.recalls` does not ask for it.
    """

    picture: Picture
    mask: Mask
    density: float
    song: str
    start: int
    semitones: int
    bars: tuple[int, ...]
    meters: tuple[Meter, ...]
    notes: np.ndarray
    parts: tuple[str, ...]
    memory: np.ndarray = NO_MEMORY


class Windows:
    """Windows of songs at random bar lines, transposed, each with a random mask.

    They start on bar lines (`Song.bars`) of whatever metre, else no model learns the metre; before
    a pickup there is the silence that makes a whole bar of it, as `inpaint` has it. A song is drawn
    by its share of bars. There is a window for each bar line at which one may start; any index may
    be asked for, and gives another draw.

    Args:
        songs: a list, or the songs of a corpus, which are then read one at a time.
        width: of a window, in steps.
        semitones: the range of transposition, both ends included.
        seed: another one, other windows.
        chord_dropout: a share. So many windows are shown without chords, and in as many others the
            chord rows are masked; never where the mask is of the kind "chords only".
        mix: kinds of masks and their shares, see `random_mask`.
        groups: of songs that stand together, how many they are, and their share of all windows;
            None: every song is drawn by its bars.

    Attributes:
        recalls: whether a window holds what the rest of its song says of it; False at first.

    Raises:
        OptionError: no song has notes.
    """

    recalls = False

    def __init__(
        self,
        songs: Sequence[Song],
        width: int = 512,
        semitones: tuple[int, int] = (-6, 5),
        seed: int = 0,
        *,
        chord_dropout: float = 0.25,
        mix: Mapping[str, float] = MASK_MIX,
        groups: Sequence[tuple[int, float]] | None = None,
    ) -> None:
        self.songs = songs
        self.width = width
        self.semitones = semitones
        self.seed = seed
        self.chord_dropout = chord_dropout
        self.mix = mix

        # Where windows may start, and how often a song is drawn.
        places = [self._starts(song) for song in songs]
        self.leads = [lead for lead, _ in places]
        self.starts = [starts for _, starts in places]
        if not len(self):
            raise OptionError(
                f"none of the {len(songs)} songs has notes: there are no songs with notes to draw "
                "windows from; give others"
            )
        sizes = np.array([len(starts) for starts in self.starts])  # (songs,)
        total = np.cumsum(sizes if groups is None else weighted(sizes, groups))  # (songs,)
        self.share = total / total[-1]  # (songs,)

    def _starts(self, song: Song) -> tuple[int, np.ndarray]:
        """The silence before a pickup, and the bar lines where a window may start.

        Returns:
            Steps, and int32 (starts,), counted with that silence; none in a song without notes.
        """
        lines = np.array(song.bars or song.bar_lines(), np.int32)
        lead = 0 if lines[:1].any() else missing_of_upbeat(lines)
        lines = later_lines(lines, lead) if lead else lines
        last = max(song.end + lead - self.width, 0) + 4 * song.steps_per_beat
        lines = lines[lines <= last]
        if not len(song.notes):
            return 0, lines[:0]
        return lead, lines if len(lines) else np.zeros(1, np.int32)

    def __len__(self) -> int:
        return sum(map(len, self.starts))

    def __getitem__(self, index: int) -> Window:
        # All that is drawn for the window itself, in an order that must not change.
        rng = np.random.default_rng((self.seed, index))
        number = int(np.searchsorted(self.share, rng.random(), side="right"))
        start = int(rng.choice(self.starts[number]))
        semitones = int(rng.integers(*self.semitones, endpoint=True))
        kind = draw_kind(rng, self.mix)
        hide_chords, mask_chords = rng.random(2) < self.chord_dropout
        if kind == CHORDS_ONLY:
            hide_chords = mask_chords = False

        song = self.songs[number]
        lead = self.leads[number]
        first = start - lead
        lines, meters = song.metre_from(first, self.width)
        bars = tuple(lines_until(lines, self.width).tolist())

        chords = () if hide_chords else song.chords
        whole = replace(song, chords=chords)
        song = replace(whole, notes=self._notes(song, first)).transpose(semitones)
        # Plain numbers, which every loader of data can turn to a tensor.
        columns = columns_of(song.notes)
        place = (song.name, first, semitones, bars, tuple(meters), columns, song.parts)
        song = with_silence(song, lead)

        picture = render(song, start, self.width)
        mask = random_mask(rng, song, start, self.width, {kind: 1})
        if mask_chords:
            mask |= masks.chords(self.width)
        density = onsets_per_bar(picture, mask)
        memory = NO_MEMORY
        if self.recalls:
            memory = recalled(with_silence(whole.transpose(semitones), lead), start, mask)
        return Window(picture, mask, density, *place, memory)

    def _notes(self, song: Song, start: int) -> np.ndarray:
        """The song's notes in the window only, (notes,), which makes all that follows cheap."""
        first = song.notes["onset"]
        end = first + song.notes["duration"]
        inside = (first < start + self.width) & (end > start)
        return song.notes[inside]


def recalled(song: Song, start: int, mask: Mask) -> np.ndarray:
    """What a song says of a window of it, the masked cells not known: bool (3, 128, width).

    Args:
        song: whole.
        start: the step at which the window begins, a bar line.
        mask: bool (128, width), of the window.
    """
    width = mask.shape[1]
    end = max(song.end, start + width)
    unknown = np.zeros((PITCHES, end), bool)
    unknown[:, start : start + width] = mask
    lines = lines_until(song.bar_lines(), end)
    sheet = KnownSong.of(render(song, 0, end), unknown, lines)
    return recall(sheet, start, width)


def weighted(sizes: np.ndarray, groups: Sequence[tuple[int, float]]) -> np.ndarray:
    """How often songs are drawn, so that each group has its share, float (songs,).

    Args:
        sizes: of each song how often, beside the others of its group, int (songs,).
        groups: how many songs, and their share of all; one after the other.
    """
    ends = np.cumsum([count for count, _ in groups])
    parts = []
    for part, (_, share) in zip(np.split(sizes, ends[:-1]), groups, strict=True):
        parts.append(part * share / max(part.sum(), 1))
    return np.concatenate(parts)  # (songs,)


def with_silence(song: Song, steps: int) -> Song:
    """A song that begins so many steps later; its first bar grows by them.

    Args:
        song: with its bar lines.
        steps: how many; 0 changes nothing.
    """
    if not steps:
        return song
    notes = song.notes.copy()
    notes["onset"] += steps
    chords = [chord._replace(onset=chord.onset + steps) for chord in song.chords]
    bars = later_lines(song.bar_lines(), steps).tolist()
    meters = later_meters(song.meters, steps)
    return replace(song, notes=notes, chords=tuple(chords), bars=tuple(bars), meters=meters)


def usual_densities(songs: Sequence[Song], width: int) -> list[float]:
    """How busy music is: the onsets in 16 steps of windows side by side, as quantiles.

    Args:
        songs: at most MOST_COUNTED of them are counted, spread over all.
        width: of a window, in steps.

    Returns:
        The least, then 5 %, 10 % and so on to the greatest: 21 numbers, rounded; none where there
        is no window with notes.
    """
    rates: list[float] = []
    for i in np.unique(np.linspace(0, len(songs) - 1, min(len(songs), MOST_COUNTED)).astype(int)):
        song = songs[int(i)]
        drums = [number for number, channel in enumerate(song.channels) if channel == DRUMS]
        heard = song.notes[~np.isin(song.notes["part"], drums)]
        # Notes of several parts at one step and pitch are one cell of a picture.
        places = np.unique(np.stack([heard["onset"], heard["pitch"]]), axis=1)
        counts = np.bincount(places[0] // width)
        # The last window is hardly ever full.
        whole = counts[:-1] if len(counts) > 1 else counts
        rates += (whole[whole > 0] * BAR / width).tolist()
    shares = np.linspace(0, 1, QUANTILES)
    return [round(float(rate), 2) for rate in np.quantile(rates, shares)] if rates else []
