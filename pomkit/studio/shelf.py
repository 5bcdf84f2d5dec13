"""What is kept of one piece of music: the takes, and what else was offered beside each of them.

    shelf = Shelf([first])
    shelf.add(Take(before, before, settings), Offer(before, pictures))
    shelf.offer(1).states[2]                     # what the third candidate makes of the music

A composition gives several candidates, and one of them becomes the take. The others stay: who goes
back to a take may choose another one of its candidates. Only the marked columns of them are kept.

The law: `offer(place).pictures` are the candidates to the bit.
Read on: `session`, which has a shelf.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..music.pixels import PITCHES, Picture
from .editor import State
from .storage import Take

NO_PICTURES = np.zeros((0, PITCHES, 1, 3), np.uint8)


class Offer:
    """The candidates of one composition.

    Args:
        before: what they were composed from; outside its mask they are as its picture.
        pictures: uint8 (n, 128, width, 3).
        chords_shown: chords that the model was shown for these, and which the song does not name.
    """

    def __init__(self, before: State, pictures: np.ndarray, chords_shown: int = 0) -> None:
        self.before = before
        self.pictures = pictures
        self.chords_shown = chords_shown

    @cached_property
    def states(self) -> list[State]:
        """The states that the candidates would make of the one that they were composed from."""
        heard = max(self.before.chords_shown, self.chords_shown)
        before = self.before._replace(chords_shown=heard)
        return [self._state(before, picture) for picture in self.pictures]

    def _state(self, before: State, picture: Picture) -> State:
        """The state that a candidate, uint8 (128, width, 3), makes of the one before."""
        return before.redrawn(picture, before.mask, part=before.part)


class Folded(NamedTuple):
    """An offer that is not looked at: its marked columns alone.

    Attributes:
        before: as of the offer.
        columns: the marked ones, bool (width,).
        part: of the pictures, uint8 (n, 128, columns, 3).
        chords_shown: as of the offer.
    """

    before: State
    columns: np.ndarray
    part: np.ndarray
    chords_shown: int

    @classmethod
    def of(cls, offer: Offer) -> "Folded":
        """What has to be kept of an offer."""
        columns = np.array(offer.before.mask.any(axis=0))  # (width,)
        part = offer.pictures[:, :, columns]  # (n, 128, columns, 3)
        return cls(offer.before, columns, part, offer.chords_shown)

    def unfold(self) -> Offer:
        """The offer as it was."""
        pictures = np.repeat(self.before.picture[None], len(self.part), axis=0)
        pictures[:, :, self.columns] = self.part
        return Offer(self.before, pictures, self.chords_shown)


class Shelf:
    """What is kept of one piece of music.

    Args:
        takes: the kept pictures, from the first on.

    Attributes:
        takes: these.
    """

    def __init__(self, takes: list[Take]) -> None:
        self.takes = takes
        self._folded: dict[int, Folded] = {}
        self._open: tuple[int, Offer] | None = None

    def add(self, take: Take, offer: Offer) -> None:
        """Keep a take, and the candidates of which it is one."""
        self.takes.append(take)
        place = len(self.takes) - 1
        self._folded[place] = Folded.of(offer)
        self._open = place, offer

    def has_offer(self, place: int) -> bool:
        """Whether the candidates of a take are here: those of files are not."""
        return place in self._folded

    def offer(self, place: int) -> Offer | None:
        """The candidates of a take; None: they are not here."""
        if place not in self._folded:
            return None
        if self._open is None or self._open[0] != place:
            self._open = place, self._folded[place].unfold()
        return self._open[1]


class Mark(NamedTuple):
    """What is present on a shelf: undo brings it back with the state.

    Attributes:
        shelf: of the present music.
        place: the number of the take that the present picture was made from.
        take: that take, as it was then.
    """

    shelf: Shelf
    place: int
    take: Take
