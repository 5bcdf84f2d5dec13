"""Drawing on canvases of ipycanvas: piano keys, bars, chords, notes, what is marked.

A `Viewport` says where cells lie on a canvas; each function draws one thing through it. What is
drawn inside `with drawing():` reaches the page as one message.

    with drawing():
        draw_roll(canvas, view, bars)
        draw_notes(canvas, view, state, before=state, colours="safe")

Read on: `painter`, which draws the roll.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..music.chords import Chord
from ..music.palette import palette
from ..music.pixels import Mask, pitch_of_row
from ..music.tables import BAR
from ..play.plot import BLACK_KEYS, COLOURS, SHORT
from .controls import _CANVAS_MANAGER
from .editor import LOCK, State, new_among

WIDTH = 840  # pixels of a canvas
HEIGHT = 520  # pixels
PIANO_WIDTH = 46  # pixels of the keys at the left
RULER = 38  # pixels of the chords and the numbers of bars at the top
# Pixels of a row of small pictures and of their titles, for who draws such.
STRIP = 84
TITLE = 14
PICTURE_LAYER = 0
INK_LAYER = 1
FONT = "11px sans-serif"
LETTER = 6  # pixels, the width of one
DARK = "#202124"
PAPER = "#e8eaed"
# Over what is marked.
GLASS = "rgba(255, 255, 255, 0.3)"


class Viewport(NamedTuple):
    """Where cells lie on a canvas.

    Attributes:
        x: the pixel of its left edge.
        y: the pixel of its upper edge.
        zoom: pixels of a step.
        row: pixels of a semitone.
        left: the first step that it shows.
        right: the step after the last that it shows.
        low: the lowest pitch that it shows.
        high: the highest pitch that it shows.
    """

    x: float
    y: float
    zoom: float
    row: float
    left: int
    right: int
    low: int
    high: int

    def cell(self, x: float, y: float) -> tuple[float, float]:
        """The point (step, pitch) at a pixel."""
        steps = (x - self.x) / self.zoom
        rows = (y - self.y) / self.row
        return self.left + steps - 0.5, self.high + 0.5 - rows

    def across(self, step: Any) -> Any:
        """The pixel where a step begins; steps that are not shown lie at the edge."""
        shown = np.clip(step, self.left, self.right)
        return self.x + (shown - self.left) * self.zoom

    def down(self, pitch: Any) -> Any:
        """The pixel where the row of a pitch begins."""
        return self.y + (self.high - pitch) * self.row

    def rectangles(
        self, pitch: np.ndarray, start: np.ndarray, stop: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Where spans of steps lie.

        Args:
            pitch: of each span, int (n,).
            start: its first step, int (n,).
            stop: the step after its last, int (n,).

        Returns:
            Which spans are seen, bool (n,), and the rectangles of those, in pixels: x, y, width
            and height, (seen,) each.
        """
        x = self.across(start)
        end = self.across(stop)
        in_range = (self.low <= pitch) & (pitch <= self.high)
        seen = in_range & (x < end)

        # A thin line is left between rows that are high enough for one.
        height = max(self.row - (self.row > 4), 1)
        heights = np.full(np.count_nonzero(seen), height)
        lengths = (end - x)[seen]
        return seen, [x[seen], self.down(pitch[seen]), lengths, heights]


@contextmanager
def drawing() -> Iterator[None]:
    """Send all that is drawn inside as one message.

    ipycanvas has one buffer for all canvases and threads. The message names its canvas anew, so
    that a page that was opened since the last one can follow.
    """
    with LOCK:
        _CANVAS_MANAGER._caching = True
        _CANVAS_MANAGER._current_canvas = None
        try:
            yield
            _CANVAS_MANAGER.flush()
        finally:
            _CANVAS_MANAGER._caching = False


def fill_rects(canvas: Any, style: str, *sides: Any) -> None:
    """Fill rectangles (x, y, width, height), numbers or arrays, with one colour."""
    canvas.fill_style = style
    sides = np.broadcast_arrays(*np.atleast_1d(*sides))
    if sides[0].size:
        canvas.fill_rects(*sides)


# The roll


def draw_roll(canvas: Any, view: Viewport, bars: Sequence[int], beats: np.ndarray) -> None:
    """Draw all that lies under and around the notes: rows, beats, bar lines, piano keys.

    Args:
        canvas: of ipycanvas.
        view: what is shown.
        bars: the steps of the bar lines.
        beats: the steps at which beats begin, int (beats,).
    """
    pitch = np.arange(view.low, view.high + 1)
    is_black = np.isin(pitch % 12, BLACK_KEYS)
    white_rows = view.down(pitch[~is_black])
    length = (view.right - view.left) * view.zoom
    fill_rects(canvas, DARK, 0, 0, WIDTH, HEIGHT)
    fill_rects(canvas, "#0a0a0e", PIANO_WIDTH, RULER, length, HEIGHT)
    fill_rects(canvas, "#16161c", PIANO_WIDTH, white_rows, length, view.row - 1)

    # A line on every beat, and a lighter one on every bar.
    step = np.arange(view.left, view.right)
    beat_lines = view.across(step[np.isin(step, beats)])
    bar_lines = view.across(step[np.isin(step, bars)])
    fill_rects(canvas, "#34343c", beat_lines, RULER, 1, HEIGHT)
    fill_rects(canvas, "#85858f", bar_lines, RULER, 1, HEIGHT)
    draw_keys(canvas, view)
    draw_bar_numbers(canvas, view, bars)


def draw_keys(canvas: Any, view: Viewport) -> None:
    """Draw the piano's keys at the left edge, every C named."""
    pitch = np.arange(view.low, view.high + 1)
    is_black = np.isin(pitch % 12, BLACK_KEYS)
    black_rows = view.down(pitch[is_black])
    fill_rects(canvas, "#f8f9fa", 0, RULER, PIANO_WIDTH - 1, HEIGHT)
    fill_rects(canvas, DARK, 0, black_rows, PIANO_WIDTH * 0.6, view.row)

    # No black key lies between B and C, E and F: there a line parts the white ones.
    is_c_or_f = np.isin(pitch % 12, (0, 5))
    rows = view.down(pitch[is_c_or_f])
    edges = rows + view.row
    fill_rects(canvas, "#9aa0a6", 0, edges, PIANO_WIDTH - 1, 1)

    canvas.fill_style = DARK
    canvas.font = FONT
    for c in pitch[pitch % 12 == 0].tolist():
        octave = c // 12 - 1
        lower_edge = view.down(c - 1)
        canvas.fill_text(f"C{octave}", PIANO_WIDTH - 20, lower_edge - 1)


def draw_bar_numbers(canvas: Any, view: Viewport, bars: Sequence[int]) -> None:
    """Write the numbers of the bars on the ruler, as many as there is room for."""
    canvas.fill_style = PAPER
    canvas.font = FONT
    # Each needs 28 pixels.
    usual = float(np.median(np.diff(bars))) if len(bars) > 1 else BAR
    stride = int(-(-28 // (usual * view.zoom)))
    for number in range(0, len(bars), stride):
        if view.left <= bars[number] < view.right:
            x = float(view.across(bars[number])) + 2
            canvas.fill_text(f"{number + 1}", x, RULER - 6)


def draw_chords(canvas: Any, view: Viewport, chords: Sequence[Chord]) -> None:
    """Draw chords on the ruler."""
    for onset, duration, label in chords:
        x = view.across(onset)
        end = view.across(onset + duration)
        if x >= end:
            continue
        rgb = palette()[label]
        colour = "#" + bytes(rgb).hex()
        fill_rects(canvas, colour, x, 0, end - x - 1, RULER // 2)

        root, _, quality = label.partition(":")
        text = root + SHORT.get(quality, quality)
        letters = int((end - x) / LETTER)
        canvas.fill_style = PAPER
        canvas.fill_text(text[:letters], float(x) + 3, 13)


def draw_notes(canvas: Any, view: Viewport, state: State, *, before: State, colours: str) -> None:
    """Draw the notes of a picture.

    Args:
        canvas: of ipycanvas.
        view: what is shown.
        state: its picture is drawn.
        before: notes that its picture lacks have the colours of new ones. Where it has another
            size: none has.
        colours: a key of `plot.COLOURS`.
    """
    notes = state.read.notes
    pitch = notes["pitch"]
    onset = notes["onset"]
    loudness = 0.45 + 0.55 * notes["velocity"] / 127
    new = new_among(notes, state.picture, before.picture).astype(int)

    # The whole of every note, then its onset over it.
    colour_table = np.array(COLOURS[colours])
    for kind, stop in ((1, onset + notes["duration"]), (0, onset + 1)):
        seen, place = view.rectangles(pitch, onset, stop)
        if seen.any():
            colour = colour_table[kind + 2 * new]  # (notes, 3)
            colour = colour * loudness[:, None]
            canvas.fill_styled_rects(*place, colour[seen].astype(np.uint8))


# The ink


def runs(cells: Mask) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The runs of True in the rows of a mask.

    Args:
        cells: bool (128, width), or fewer rows from the top.

    Returns:
        Pitch, first step, and step after the last, int (runs,) each.
    """
    changes = np.diff(cells, axis=1, prepend=False, append=False)
    row, edge = np.nonzero(changes)
    starts = edge[::2]
    stops = edge[1::2]
    return pitch_of_row(row[::2]), starts, stops


def draw_ink(canvas: Any, view: Viewport, mask: Mask) -> None:
    """Draw what is marked, bool (128, width), and nothing else; chord rows lie on the ruler."""
    canvas.clear()
    _, (x, y, length, _) = view.rectangles(*runs(mask))
    fill_rects(canvas, GLASS, x, y, length, view.row)

    _, start, stop = runs(mask[:1])
    left = view.across(start)
    right = view.across(stop)
    fill_rects(canvas, GLASS, left, 0, right - left, RULER // 2)


def draw_label(canvas: Any, pointer: tuple[float, float], text: str) -> None:
    """Write a text beside the pointer, which is at a pixel (x, y)."""
    x, y = pointer
    left = min(x + 14, WIDTH - 92)
    top = max(y - 24, 2)
    fill_rects(canvas, "#fff8c4", left, top, 90, 18)
    canvas.fill_style = DARK
    canvas.font = FONT
    canvas.fill_text(text, left + 4, top + 13)
