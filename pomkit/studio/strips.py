"""Rows of small pictures under the roll: the whole song, the candidates, the kept pictures.

A `Strip` asks for its thumbnails whenever it is drawn, and says which one was clicked.

    strip = Strip(thumbnails=lambda: history_thumbnails(session), pick=session.go)
    strip.draw(low=36, high=84, colours="picture")
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..data.mask_mix import onsets_per_bar
from ..music.bars import bars_around
from ..music.pixels import Picture
from .canvas import DARK, FONT, LETTER, WIDTH, Viewport, draw_notes, drawing, fill_rects
from .controls import Canvas
from .session import Session

STRIP = 84  # pixels, the height of a row of small pictures
TITLE = 14  # pixels, the height of their titles


class Thumbnail(NamedTuple):
    """A small picture.

    Attributes:
        picture: uint8 (128, width, 3).
        before: the one before, from which new notes differ, of the same size.
        title: over it.
        present: whether it is the one that the roll shows.
    """

    picture: Picture
    before: Picture
    title: str
    present: bool = False


def candidate_thumbnails(session: Session) -> list[Thumbnail]:
    """The candidates of the last composition, cut to what was composed."""
    before = session.history[-1].before
    if not len(session.candidates):
        return []
    cut = bars_around(before.mask, before.bars)
    was = before.picture[:, cut]
    thumbnails = []
    for i, picture in enumerate(session.candidates):
        notes = onsets_per_bar(picture, before.mask, before.bars)
        title = f"{i + 1}: {notes:.1f} notes a bar"
        thumbnails.append(Thumbnail(picture[:, cut], was, title, i == session.chosen))
    return thumbnails


def history_thumbnails(session: Session) -> list[Thumbnail]:
    """The kept pictures."""
    thumbnails = []
    for i, take in enumerate(session.history):
        title = f"seed {take.settings['seed']}" if take.settings else "the beginning"
        before = take.before.picture
        thumbnails.append(Thumbnail(take.state.picture, before, title, i == session.place))
    return thumbnails


class Strip:
    """A canvas with small pictures side by side.

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
        self.canvas = Canvas(width=WIDTH, height=STRIP, layout={"max_width": "100%"})
        self.canvas.on_mouse_down(guarded(self._click))

    def _click(self, x: float, y: float) -> None:
        """Pick what lies at a pixel."""
        self._pick(int(x / WIDTH * len(self._thumbnails())))

    def draw(self, low: int, high: int, colours: str) -> None:
        """Draw all of it.

        Args:
            low: the lowest pitch that is shown.
            high: the highest pitch that is shown.
            colours: a key of `plot.COLOURS`.
        """
        thumbnails = self._thumbnails()
        self.canvas.layout.display = "" if len(thumbnails) >= self._needed else "none"
        size = WIDTH / max(len(thumbnails), 1)
        with drawing():
            self.canvas.clear()
            self.canvas.font = FONT
            for i, thumbnail in enumerate(thumbnails):
                width = thumbnail.picture.shape[1]
                zoom = (size - 4) / width
                row = (STRIP - TITLE) / (high + 1 - low)
                view = Viewport(i * size, TITLE, zoom, row, 0, width, low, high)
                draw_thumbnail(self.canvas, view, thumbnail, colours=colours)


def draw_thumbnail(canvas: Any, view: Viewport, thumbnail: Thumbnail, *, colours: str) -> None:
    """Draw one small picture and its title.

    Args:
        canvas: of ipycanvas.
        view: where it lies.
        thumbnail: what it shows.
        colours: a key of `plot.COLOURS`.
    """
    length = view.zoom * view.right
    frame = "#c2185b" if thumbnail.present else "#5f6368"
    fill_rects(canvas, frame, view.x, 0, length, TITLE)
    fill_rects(canvas, DARK, view.x, TITLE, length, STRIP)
    draw_notes(canvas, view, thumbnail.picture, before=thumbnail.before, colours=colours)

    letters = int((length + 4) / LETTER)
    canvas.fill_style = "white"
    canvas.fill_text(thumbnail.title[:letters], view.x + 4, 11)
