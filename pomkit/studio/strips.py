"""Rows of small pictures under the roll: the whole song, the candidates, the kept pictures.

A `Strip` asks for its thumbnails whenever it is drawn, and says which one was clicked.

    strip = Strip(thumbnails=lambda: history_thumbnails(session), pick=session.go)
    strip.draw(low=36, high=84, colours="picture")
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data.mask_mix import onsets_per_bar
from ..music.bars import bars_around
from .canvas import DARK, FONT, LETTER, WIDTH, Viewport, draw_notes, drawing, fill_rects
from .controls import Canvas
from .editor import State
from .session import Session

STRIP = 84  # pixels, the height of a row of small pictures
TITLE = 14  # pixels, the height of their titles


class Thumbnail(NamedTuple):
    """A small picture.

    Attributes:
        state: whose picture it is.
        before: the one before, from which new notes differ.
        title: over it.
        present: whether it is the one that the roll shows.
        steps: the part of it that is shown; None: all.
    """

    state: State
    before: State
    title: str
    present: bool = False
    steps: slice | None = None

    @property
    def width(self) -> int:
        """Steps of its picture."""
        return self.state.mask.shape[1]

    @property
    def look(self) -> tuple[Any, ...]:
        """What it looks like: two of the same look are drawn alike."""
        cut = self.steps and (self.steps.start, self.steps.stop)
        return (Same(self.state.picture), Same(self.before.picture), self.title, self.present, cut)


class Same(NamedTuple):
    """An array that is never written to, equal to itself alone."""

    array: np.ndarray

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.array is other.array


def candidate_thumbnails(session: Session) -> list[Thumbnail]:
    """The candidates of the last composition, cut to what was composed."""
    before = session.history[-1].before
    if not len(session.candidates):
        return []
    cut = bars_around(before.mask, before.bars)
    thumbnails = []
    for i, state in enumerate(session.candidate_states):
        notes = onsets_per_bar(state.picture, before.mask, before.bars)
        title = f"{i + 1}: {notes:.1f} notes a bar"
        thumbnails.append(Thumbnail(state, before, title, i == session.chosen, cut))
    return thumbnails


def history_thumbnails(session: Session) -> list[Thumbnail]:
    """The kept pictures."""
    takes = zip(session.history, session.take_names, strict=True)
    return [
        Thumbnail(take.state, take.before, name, place == session.place)
        for place, (take, name) in enumerate(takes)
    ]


class Strip:
    """A canvas with small pictures side by side, drawn again when one of them has changed.

    Args:
        thumbnails: gives what is to be shown.
        pick: is called with the number of the one that was clicked.
        needed: how many there must be at least; with fewer the strip is hidden.
        guarded: makes of a callback one whose errors are told.
    """

    def __init__(
        self,
        thumbnails: Callable[[], Sequence[Thumbnail]],
        pick: Callable[[int], Any],
        *,
        needed: int = 2,
        guarded: Callable[[Callable[..., Any]], Callable[..., None]],
    ) -> None:
        self._thumbnails = thumbnails
        self._pick = pick
        self._needed = needed
        self._drawn: tuple[Any, ...] = ()
        self.canvas = Canvas(width=WIDTH, height=STRIP, layout={"max_width": "100%"})
        self.canvas.on_mouse_down(guarded(self._click))

    def _click(self, x: float, y: float) -> None:
        """Pick what lies at a pixel."""
        self._pick(int(x / WIDTH * len(self._thumbnails())))

    def draw(self, low: int, high: int, colours: str, *, again: bool = False) -> None:
        """Draw all of it.

        Args:
            low: the lowest pitch that is shown.
            high: the highest pitch that is shown.
            colours: a key of `plot.COLOURS`.
            again: draw what has not changed, too, as for a page that was opened.
        """
        thumbnails = self._thumbnails()
        looks = (low, high, colours, *(thumbnail.look for thumbnail in thumbnails))
        if looks == self._drawn and not again:
            return
        self._drawn = looks

        # Side by side, each with its title over it.
        self.canvas.layout.display = "" if len(thumbnails) >= self._needed else "none"
        size = WIDTH / max(len(thumbnails), 1)
        with drawing():
            self.canvas.clear()
            self.canvas.font = FONT
            for i, thumbnail in enumerate(thumbnails):
                first, stop, _ = (thumbnail.steps or slice(None)).indices(thumbnail.width)
                zoom = (size - 4) / (stop - first)
                row = (STRIP - TITLE) / (high + 1 - low)
                view = Viewport(i * size, TITLE, zoom, row, first, stop, low, high)
                draw_thumbnail(self.canvas, view, thumbnail, colours=colours)


def draw_thumbnail(canvas: Any, view: Viewport, thumbnail: Thumbnail, *, colours: str) -> None:
    """Draw one small picture and its title.

    Args:
        canvas: of ipycanvas.
        view: where it lies.
        thumbnail: what it shows.
        colours: a key of `plot.COLOURS`.
    """
    length = view.zoom * (view.right - view.left)
    frame = "#c2185b" if thumbnail.present else "#5f6368"
    fill_rects(canvas, frame, view.x, 0, length, TITLE)
    fill_rects(canvas, DARK, view.x, TITLE, length, STRIP)
    draw_notes(canvas, view, thumbnail.state, before=thumbnail.before, colours=colours)

    letters = int((length + 4) / LETTER)
    canvas.fill_style = "white"
    canvas.fill_text(thumbnail.title[:letters], view.x + 4, 11)
