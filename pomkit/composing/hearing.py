"""What a model is shown of the chords of a song that names none: those that are heard in its notes.

    shown = show_chords(song, render(song), mask)
    pictures = inpaint(model, shown.picture, mask)
    shown.take_back(pictures)

The models learned music with its chords in view, and most files name none. Then the chords are
estimated from the song as it is, before anything is composed, and painted into a copy of its
picture. What stands in the region now counts as well: it is composed anew on the same harmony.

The law: the chord rows come back as they were. Nothing of an estimate reaches the song, its picture
or its file; who wants it there takes `song.with_chords()`, or reads the file with `estimate=True`.
"""

from dataclasses import dataclass

import numpy as np

from ..music import masks
from ..music.palette import paint_chords, read_chords
from ..music.pixels import Mask, Picture
from ..music.song import Song


@dataclass(frozen=True)
class ShownChords:
    """A picture with the chords that a model is shown.

    Attributes:
        picture: for the model, uint8 (128, width, 3).
        before: as it was given, uint8 (128, width, 3).
        known: the cells of the chord rows outside the mask, bool (128, width).
        song: with the chords that are shown.
        count: how many chords were estimated; 0: the picture is as it was given.
    """

    picture: Picture
    before: Picture
    known: Mask
    song: Song
    count: int = 0

    def take_back(self, pictures: np.ndarray) -> None:
        """Put the chord rows back as they were given, in place.

        Args:
            pictures: uint8 (128, width, 3), or (n, 128, width, 3).
        """
        if self.count:
            pictures[..., self.known, :] = self.before[self.known]


def show_chords(
    song: Song, picture: Picture, mask: Mask, *, start: int = 0, wanted: bool = True
) -> ShownChords:
    """Paint estimated chords into a copy of a picture, where its song names none.

    Args:
        song: as it is before anything is composed.
        picture: of the song, uint8 (128, width, 3).
        mask: bool (128, width), True = compose; masked chord rows stay unknown.
        start: the step of the song that is column 0.
        wanted: whether any chords shall be shown that the song does not name.
    """
    known = masks.chords(mask) & ~mask
    if song.chords or not wanted:
        return ShownChords(picture, picture, known, song)
    heard = song.with_chords()
    shown = picture.copy()
    paint_chords(shown, heard.chords, start)
    return ShownChords(shown, picture, known, heard, len(read_chords(shown)))
