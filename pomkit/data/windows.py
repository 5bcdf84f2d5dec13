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
from ..music.picture import render
from ..music.pixels import Mask, Picture
from ..music.song import Song
from .mask_mix import MASK_MIX, draw_kind, onsets_per_bar, random_mask

# The kind of mask under which chords are always shown.
CHORDS_ONLY = "chords only"


class Window(NamedTuple):
    """A training example.

    Attributes:
        picture: uint8 (128, width, 3).
        mask: bool (128, width).
        density: onsets a masked bar, see `onsets_per_bar`.
        song: the name of the song that it comes from.
        start: its first step in that song.
        semitones: by how many it was transposed.
    """

    picture: Picture
    mask: Mask
    density: float
    song: str
    start: int
    semitones: int


class Windows:
    """Windows of songs at random bar lines, transposed, each with a random mask.

    They start on bar lines (`Song.bars`), else no model learns the metre. A song is drawn by its
    share of bars. There is a window for each bar line at which one may start; any index
    may be asked for, and gives another draw.

    Args:
        songs: a list, or the songs of a corpus, which are then read one at a time.
        width: of a window, in steps.
        semitones: the range of transposition, both ends included.
        seed: another one, other windows.
        chord_dropout: a share. So many windows are shown without chords, and in as many others the
            chord rows are masked; never where the mask is of the kind "chords only".
        mix: kinds of masks and their shares, see `random_mask`.

    Raises:
        OptionError: no song has notes.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        width: int = 512,
        semitones: tuple[int, int] = (-6, 5),
        seed: int = 0,
        *,
        chord_dropout: float = 0.25,
        mix: Mapping[str, float] = MASK_MIX,
    ) -> None:
        self.songs = songs
        self.width = width
        self.semitones = semitones
        self.seed = seed
        self.chord_dropout = chord_dropout
        self.mix = mix
        self.starts = [self._starts(song) for song in songs]
        if not len(self):
            raise OptionError(
                f"none of the {len(songs)} songs has notes: there are no songs with notes to draw "
                "windows from; give others"
            )
        self.share = np.cumsum([len(starts) for starts in self.starts]) / len(self)  # (songs,)

    def _starts(self, song: Song) -> np.ndarray:
        """The bar lines where a window may start, int32 (starts,); none in a song without notes."""
        lines = np.array(song.bars or song.bar_lines(), np.int32)
        last = max(song.end - self.width, 0) + 4 * song.steps_per_beat
        lines = lines[lines <= last]
        if not len(song.notes):
            return lines[:0]
        return lines if len(lines) else np.zeros(1, np.int32)

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
        notes = self._notes(song, start)
        chords = () if hide_chords else song.chords
        song = replace(song, notes=notes, chords=chords).transpose(semitones)

        picture = render(song, start, self.width)
        mask = random_mask(rng, song, start, self.width, {kind: 1})
        if mask_chords:
            mask |= masks.chords(self.width)
        return Window(picture, mask, onsets_per_bar(picture, mask), song.name, start, semitones)

    def _notes(self, song: Song, start: int) -> np.ndarray:
        """The song's notes in the window only, (notes,), which makes all that follows cheap."""
        first = song.notes["onset"]
        end = first + song.notes["duration"]
        inside = (first < start + self.width) & (end > start)
        return song.notes[inside]
