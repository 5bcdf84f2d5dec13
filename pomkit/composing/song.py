"""`compose`: a Song in, Songs out: the region of a mask composed anew, all else as it was.

    songs = compose("tiny", read_midi("own.mid"), "bars:9-12", n=4, seed=1)
    songs[0].write_midi("new.mid")       # own.mid with other notes in its bars 9 to 12
    songs.reports[0].remarks()           # a sentence for each thing that was not kept

The song is drawn as a picture, `inpaint` composes that, and `music.changes` says what the picture
changes in the song: which notes go, which come, and in which part. Tempi, metres, instruments, the
file that the song was read from, and every note without a cell in the mask stay.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import OptionError
from ..music import masks
from ..music.changes import ChangeReport, mask_of_parts, with_region
from ..music.picture import render
from ..music.pixels import Mask
from ..music.song import Parts, Song
from ..processes.contract import Model
from .region import Pictures, inpaint


class ComposedSongs(list[Song]):
    """Composed songs that remember how.

    Attributes:
        pictures: what the model composed, uint8 (n, 128, width, 3).
        mask: what it was asked to compose, without the cells of other parts, bool (128, width).
        reports: what each song did not keep.
    """

    pictures: Pictures
    mask: Mask
    reports: tuple[ChangeReport, ...]

    @property
    def seed(self) -> int:
        """The seed of all random numbers."""
        return self.pictures.seed

    @property
    def refused(self) -> np.ndarray:
        """The cells inside the mask that were no music and were cleared, int (n,)."""
        return self.pictures.refused

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.pictures.seconds


def compose(
    model: Model | str,
    song: Song,
    mask: np.ndarray | str,
    n: int = 1,
    *,
    part: Parts | None = None,
    start: int = 0,
    **options: Any,
) -> ComposedSongs:
    """Compose a region of a song anew; nothing outside it changes.

    New notes go to the part that is nearest by pitch and time, never to drums (see
    `music.players`). What could not be kept stands in the songs' `report.remarks`, too.

    Args:
        model: what `load_model` gives, or what it takes: a name, or a path.
        song: what is composed.
        mask: bool (128, width), True = regenerate; or words, like "bars:9-12" or "melody", as
            `masks.from_text` reads them.
        n: how many candidates.
        part: names or numbers of the only parts that may change, or one; None: all. The model
            sees the other parts.
        start: the step of the song that is column 0 of the mask.
        options: those of `inpaint`, such as seed. `bars` are the song's where they are not given.

    Returns:
        The n songs; they remember the seed, the composed pictures and the reports.

    Raises:
        PictureError: the mask has another shape or type.
        OptionError: an option does not fit, or is foreign to the model; there is no such part.
    """
    if not isinstance(song, Song):
        raise OptionError(
            f"compose was given {type(song).__name__}, no Song; "
            "read one with read_midi, or give a picture to inpaint"
        )

    # The picture that the model sees: all parts, whatever may change.
    mask = mask_of_parts(song, mask_of(mask, song, start), part, start=start)
    width = mask.shape[1]
    picture = render(song, start, width)
    lines = song.bar_lines(start + width) - start
    options = {"bars": lines[lines >= 0].tolist()} | options
    pictures = inpaint(model, picture, mask, n=n, **options)

    changes = [with_region(song, mask, after, start=start, part=part) for after in pictures]
    songs = ComposedSongs(with_remarks(changed, report) for changed, report in changes)
    songs.pictures = pictures
    songs.mask = mask
    songs.reports = tuple(report for _, report in changes)
    return songs


def mask_of(mask: np.ndarray | str, song: Song, start: int) -> Mask:
    """The mask that an array or words mean.

    Args:
        mask: bool (128, width), or words.
        song: what they are about.
        start: the step of the song that is column 0.

    Returns:
        bool (128, width).

    Raises:
        PictureError: the array has another shape or type.
        OptionError: the words are not understood.
    """
    if isinstance(mask, str):
        return masks.from_text(mask, song, start)
    width = np.shape(mask)[1] if np.ndim(mask) == 2 else song.end - start
    return masks.check_mask(mask, width)


def with_remarks(song: Song, report: ChangeReport) -> Song:
    """The song, which tells in its own report what composing it did not keep."""
    remarks = (*song.report.remarks, *report.remarks())
    return replace(song, report=replace(song.report, remarks=remarks))
