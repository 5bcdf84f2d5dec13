"""`compose`: a Song in, Songs out: the region of a mask composed anew, all else as it was.

    songs = compose("tiny", read_midi("own.mid"), "bars:9-12", n=4, seed=1)
    songs[0].write_midi("new.mid")       # own.mid with other notes in its bars 9 to 12
    songs.reports[0].remarks()           # a sentence for each thing that was not kept

The song is drawn as a picture, `inpaint` composes that, and `music.changes` says what the picture
changes in the song: which notes go, which come, and in which part. Tempi, metres, instruments, the
file that the song was read from, and every note without a cell in the mask stay.

A song that names no chords is shown to the model with those that are heard in it (`hearing`).
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OptionError, PomkitWarning, shown
from ..music import mask_words, masks
from ..music.changes import ChangeReport, mask_of_parts, with_region
from ..music.chords import Chord
from ..music.picture import render
from ..music.pixels import Mask
from ..music.recall import WholeSong
from ..music.song import Parts, Song
from ..processes.contract import Model
from .busyness import busiest_of
from .hearing import show_chords
from .region import Pictures, inpaint, model_of
from .voices import AS_THE_PART, voices_limit, with_voices


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
    chords: Sequence[Chord] | bool | None = True,
    voices: int | str | None = AS_THE_PART,
    **options: Any,
) -> ComposedSongs:
    """Compose a region of a song anew; nothing outside it changes.

    New notes go to the part that is nearest by pitch and time, never to drums (see
    `music.players`). What could not be kept stands in the songs' `report.remarks`, too. Where the
    song's grid is not the one that the model learned, a PomkitWarning says so first.

    Where the song names no chords, the model is shown those that are estimated from it as it is;
    the report says how many. They are written neither into the song nor into its file.

    Args:
        model: what `load_model` gives, or what it takes: a name, or a path.
        song: what is composed.
        mask: bool (128, width), True = regenerate; or words, like "bars:9-12" or "melody", as
            `masks.from_text` reads them.
        n: how many candidates.
        part: names or numbers of the only parts that may change, or one; None: all. The model
            sees the other parts.
        start: the step of the song that is column 0 of the mask.
        chords: True: the song's own, or else estimated ones. None or False: the song's own only.
            Others are written into the picture first, as by `inpaint`.
        voices: how many composed notes may sound at once, for models that obey rules. "as the
            part": where one part is composed, by `part` or by a mask like "melody", as many as
            that has. None: any number.
        options: those of `inpaint`, such as seed. `bars`, `meters` and `whole` are the song's where
            they are not given, and so is `busiest`, see `busyness`; give None for as many notes as
            the model likes. `whole=False`: bars that come back in the song are composed anew.

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

    model = model_of(model)
    advice = grid_advice(model, song)
    if advice:
        warnings.warn(advice, PomkitWarning, stacklevel=2)

    # The picture that the model sees: all parts, whatever may change.
    mask = mask_of_parts(song, mask_of(mask, song, start), part, start=start)
    width = mask.shape[1]
    picture = render(song, start, width)
    bars, meters = song.metre_from(start, width)
    told: dict[str, Any] = {"bars": bars, "meters": meters}
    options = told | options
    if not isinstance(chords, bool):
        options["chords"] = chords

    # Chords that are only heard are shown to the model, and taken back from what it gives.
    shown = show_chords(song, picture, mask, start=start, wanted=chords is True)
    options = as_the_song(options, model, shown.song, mask, start=start, part=part, voices=voices)
    pictures = inpaint(model, shown.picture, mask, n=n, **options)
    shown.take_back(pictures)

    changes = [with_region(song, mask, after, start=start, part=part) for after in pictures]
    changes = [changed.noting(chords_shown=shown.count) for changed in changes]
    songs = ComposedSongs(changed.with_remarks() for changed in changes)
    songs.pictures = pictures
    songs.mask = mask
    songs.reports = tuple(changed.report for changed in changes)
    return songs


def as_the_song(
    options: dict[str, Any],
    model: Model,
    song: Song,
    mask: Mask,
    *,
    start: int,
    part: Parts | None,
    voices: int | str | None,
) -> dict[str, Any]:
    """Options of `inpaint`, and those that are taken from the song where nobody gives them.

    They are the song around, for a model that recalls it; `busiest`; and a rule of the voices.

    Args:
        options: those that are given.
        model: it must know them.
        song: what is composed, with the chords that the model is shown.
        mask: bool (128, width), the region.
        start: the step of the song that is column 0.
        part: the parts that may change.
        voices: as `compose` takes it.
    """
    if model.recalls:
        options = {"whole": WholeSong.of(song, start)} | options
    if "busiest" in model.options and options.get("density") is None:
        options = {"busiest": busiest_of(song, mask, start)} | options

    limit = voices_limit(voices, notes_of_one(song, mask, start, part))
    if limit and "rule" in model.options:
        options = options | {"rule": with_voices(options.get("rule"), limit)}
    return options


def notes_of_one(song: Song, mask: Mask, start: int, part: Parts | None) -> np.ndarray | None:
    """The notes of the one part that is composed; None: there are several.

    Args:
        song: whose parts they are.
        mask: bool (128, width), what is composed: that of the melody, of a part, or any other one.
        start: the step of the song that is column 0.
        part: the parts that may change; None: the mask says it.

    Returns:
        NOTE_DTYPE (notes,), or None.
    """
    if part is None:
        word = mask_words.part_of_mask(mask, song, start)
        return song.notes[mask_words.part_notes(song, word)] if word else None
    return song.notes[song.select(part)] if len(song.part_numbers(part)) == 1 else None


def grid_advice(model: Model, song: Song) -> str:
    """What to know before a model composes a song whose grid it did not learn; "" where it did.

    Args:
        model: its `steps_per_beat` is the grid that it learned.
        song: its grid, and the one that its report says would fit better.
    """
    learned = model.steps_per_beat
    name = shown(song.name) if song.name else "the song"
    kept = ""
    if song.source is not None:
        kept = " (notes outside the mask keep their own ticks in the file)"

    if song.steps_per_beat != learned:
        return (
            f"{name} has {song.steps_per_beat} steps a beat, and this model takes {learned} for "
            f"one, so it hears the song at another speed; read it with steps_per_beat={learned}"
            f"{kept}"
        )
    better = song.report.better_grid
    if better <= learned:
        return ""
    lost = "triplets" if better % 3 == 0 else "shorter notes"
    return (
        f"{name} fits {better} steps a beat better than the {learned} that this model learned, so "
        f"what it composes has no {lost}; leave bars that need them out of the mask{kept}"
    )


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
