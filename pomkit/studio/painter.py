"""The mask painter: an Editor on a canvas of ipycanvas, with a piano's keys, bars and chords around the picture."""

import html
import json
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import PomkitError
from ..music import masks
from ..music.chords import ROOTS
from ..music.palette import palette, read_chords
from ..music.picture import parse
from ..music.pixels import PITCHES
from ..play.plot import BLACK_KEYS, COLOURS, SHORT
from .editor import BORDER, LOCK, Editor, Music, Points

try:
    import ipywidgets as ui
    from ipycanvas import MultiCanvas
    from ipycanvas.canvas import _CANVAS_MANAGER as MANAGER
    from IPython.display import display
except ImportError as fault:
    raise PomkitError(
        f"the painter and the studio need ipywidgets and ipycanvas ({fault}); "
        "run: pip install 'pomkit[widgets]'"
    ) from fault

WIDTH, HEIGHT, KEYS, RULER = (
    840,
    520,
    46,
    38,
)  # in pixels: the canvas, its piano keys, its ruler of chords and bars
PICTURE, INK, FONT = 0, 1, "11px sans-serif"  # layers of the canvas
PAUSE = 0.01  # seconds between drawings of a drag, so that none queue up
DARK, PAPER, GLASS = "#202124", "#e8eaed", "rgba(255, 255, 255, 0.3)"  # glass: over what is marked
# What a drag marks with each tool: its tooltip; the path of the pointer -> mask.
TOOLS: dict[str, tuple[str, Callable[["MaskPainter", Points], np.ndarray]]] = {
    "brush": (
        "paint freely",
        lambda me, path: masks.stroke(me.width, path[-2:], me.value("radius")),
    ),  # what is new
    "line": (
        "as wide as the brush",
        lambda me, path: masks.stroke(me.width, [path[0], path[-1]], me.value("radius")),
    ),
    "box": ("from corner to corner", lambda me, path: masks.box(me.width, *me.corners(path))),
    "polygon": (
        "drag round a region, or click its corners and at last the first one again",
        lambda me, path: (
            masks.polygon(me.width, path) if len(path) > 2 else masks.stroke(me.width, path, 0.5)
        ),
    ),
    "bars": (
        "drag over bars: always so on the ruler above",
        lambda me, path: masks.bars(me.width, *me.bar_range(path), me._state.bars),
    ),
    "pitches": (
        "drag over pitches: always so on the keys",
        lambda me, path: masks.box(me.width, me.corners(path)[0]),
    ),
    "pencil": (
        "draw a note, or drag one elsewhere; with the eraser a click deletes one",
        lambda me, path: masks.box(me.width, *me.written(path)),
    ),
}
PRESETS = ("melody", "accompaniment", "continuation", "loop middle", "chords", "all")
WIDE = {
    "layout": {"width": "275px"},
    "style": {"description_width": "85px"},
}  # the looks of a setting


class View(namedtuple("View", "x y zoom row left right low high")):
    """Where cells lie on a canvas: the pixel (x, y) of its corner, pixels a step and a semitone, the first step that it shows
    and, half-open, the last, the lowest pitch and the highest."""

    def cell(self, x: float, y: float) -> tuple[float, float]:
        """The point (step, pitch) at a pixel."""
        return self.left + (x - self.x) / self.zoom - 0.5, self.high + 0.5 - (y - self.y) / self.row

    def across(self, step: Any) -> Any:
        """The pixel where a step begins; steps that are not shown lie at the edge."""
        return self.x + (np.clip(step, self.left, self.right) - self.left) * self.zoom

    def rectangles(
        self, pitch: np.ndarray, start: np.ndarray, stop: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Which spans of steps are seen, bool (n,), and their rectangles in pixels: x, y, width, height."""
        x, end = self.across(start), self.across(stop)
        seen = (x < end) & (self.low <= pitch) & (pitch <= self.high)
        height = np.full(np.count_nonzero(seen), max(self.row - (self.row > 4), 1))
        return seen, [
            x[seen],
            self.y + (self.high - pitch[seen]) * self.row,
            (end - x)[seen],
            height,
        ]


class MaskPainter(Editor):
    """An Editor on a canvas: paint masks and notes with the mouse or a finger; `painter.mask` is what was painted.
    Arguments and errors are those of Editor; PomkitError where ipycanvas is missing. Everything also works by calls."""

    def __init__(
        self, music: Music = 256, mask: np.ndarray | None = None, bars: Sequence[int] | None = None
    ) -> None:
        super().__init__(music, mask, bars)
        if "google.colab" in sys.modules:
            sys.modules["google.colab"].output.enable_custom_widget_manager()
        self._path: list[
            tuple[float, float]
        ] = []  # of the drag that goes on, what it marks, its tool
        self._region, self._tool, self._held, self._since = self._state.mask, "", False, 0
        self._grabbed: int | None = None  # the note that the pencil moves
        self._at, self._drawn = (
            (0.0, 0.0),
            0.0,
        )  # where the pointer was last, in pixels; when it was drawn
        self.canvas = MultiCanvas(2, width=WIDTH, height=HEIGHT, layout={"max_width": "100%"})
        self.message, self.facts = ui.HTML(), ui.HTML(layout={"display": "none"})
        self.controls: dict[str, Any] = {}
        self.panel = ui.VBox(
            [
                self.row(
                    tool=ui.ToggleButtons(
                        options=list(TOOLS),
                        tooltips=[tip for tip, _ in TOOLS.values()],
                        style={"button_width": "auto"},
                    ),
                    eraser=ui.ToggleButton(
                        description="eraser", icon="eraser", tooltip="take out of the mask"
                    ),
                    radius=slider(0.5, 12, 2.0, "radius", "of the brush, in cells"),
                ),
                self.row(
                    undo=self.button(self.undo, "", "undo", "undo"),
                    redo=self.button(self.redo, "", "repeat", "redo"),
                    invert=self.button(self.invert, "invert", tip="mark what is not marked"),
                    clear=self.button(self.clear, "clear", tip="mark nothing"),
                    preset=ui.Dropdown(
                        options=[("preset ...", ""), *zip(PRESETS, PRESETS, strict=True)]
                    ),
                    colours=ui.Dropdown(
                        options=[("red and green", "picture"), ("colour-blind safe", "safe")]
                    ),
                ),
                self.canvas,
                self.row(
                    left=ui.IntSlider(description="scroll", readout=False, layout={"flex": "1"}),
                    zoom=slider(2, 24, 8, "zoom", "pixels a step"),
                    pitches=ui.IntRangeSlider(
                        min=BORDER, max=127 - BORDER, value=(36, 84), description="pitches", **WIDE
                    ),
                ),
                self.message,
                self.facts,
            ]
        )
        self.canvas.on_client_ready(self.redraw)
        self.canvas.on_mouse_wheel(lambda x, y: self.scroll((x or y) / self.value("zoom")))
        for mouse, touch, act in (
            ("down", "start", self._press),
            ("move", "move", self._drag),
            ("up", "end", self._release),
            ("out", "cancel", self._release),
        ):
            getattr(self.canvas, f"on_mouse_{mouse}")(self.guarded(act))
            getattr(self.canvas, f"on_touch_{touch}")(
                self.guarded(lambda touches, act=act: act(*(touches or [self._at])[0]))
            )
        self.on_change(
            colours=self.redraw,
            left=self.redraw,
            zoom=self.redraw,
            pitches=self.redraw,
            preset=self._preset,
        )
        self.fit()

    def _ipython_display_(self) -> None:
        display(self.panel)

    def row(self, **controls: Any) -> Any:
        """A row of controls, from now on known by their names."""
        self.controls |= controls
        for control in controls.values():
            control.layout.width = control.layout.width or (
                "160px" if isinstance(control, ui.Dropdown) else "auto"
            )
        return ui.HBox([*controls.values()], layout={"flex_flow": "row wrap"})

    def button(
        self, act: Callable[[], Any], text: str, icon: str = "", tip: str = "", **more: Any
    ) -> Any:
        """A button that does something."""
        button = ui.Button(description=text, icon=icon, tooltip=tip, **more)
        button.on_click(self.guarded(lambda _: act()))
        return button

    def on_change(self, **acts: Callable[[], Any]) -> None:
        """Let something be done when a control is set."""
        for name, act in acts.items():
            self.controls[name].observe(self.guarded(lambda _, act=act: act()), "value")

    def value(self, name: str) -> Any:
        """What a control is set to."""
        return self.controls[name].value

    def guarded(self, act: Callable[..., Any]) -> Callable[..., None]:
        """`act`, its errors told in the panel: a front end's callbacks have no other place for them."""

        def call(*arguments: Any) -> None:
            try:
                act(*arguments)
            except Exception as fault:
                self.tell(fault)

        return call

    def tell(self, what: str | Exception) -> None:
        """Show a text or an error under the canvas."""
        text = html.escape(
            f"{what}" if isinstance(what, str | PomkitError) else f"{type(what).__name__}: {what}"
        )
        self.message.value = (
            f'<b style="color: #c5221f">{text}</b>' if isinstance(what, Exception) else text
        )

    def fit(self) -> None:
        """Show the pitches in use, three octaves at least."""
        pitch = self.song.notes["pitch"]
        low, high = int(min(pitch, default=60)), int(max(pitch, default=72))
        more = max((36 - (high - low)) // 2, 4)
        self.controls["pitches"].value = max(low - more, BORDER), min(high + more, 127 - BORDER)
        self.redraw()

    def scroll(self, steps: float) -> None:
        """Move the view by some steps."""
        left = self.controls["left"]
        left.value = min(max(round(left.value + steps), 0), left.max)

    @property
    def view(self) -> View:
        """What the canvas shows."""
        left, zoom, (low, high) = (self.value(name) for name in ("left", "zoom", "pitches"))
        right = min(left + (WIDTH - KEYS) // zoom, self.width)
        return View(KEYS, RULER, zoom, (HEIGHT - RULER) / (high + 1 - low), left, right, low, high)

    def corners(self, path: Points) -> tuple[tuple[int, int], tuple[int, int]]:
        """The box from the first point to the last, inside the picture: pitches inclusive, steps half-open."""
        ends = np.clip(np.round([path[0], path[-1]]), 0, (self.width - 1, PITCHES - 1)).astype(int)
        (first, low), (last, high) = ends.min(axis=0).tolist(), ends.max(axis=0).tolist()
        return (low, high), (first, last + 1)

    def bar_range(self, path: Points) -> tuple[int, int]:
        """The bars from the first point to the last."""
        _, (start, stop) = self.corners(path)
        first, last = np.searchsorted(self._state.bars, (start, stop - 1), side="right").tolist()
        return max(first, 1), max(last, 1)

    def written(self, path: Points) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where the pencil's note comes to lie: the grabbed one moved, else a new one as long as the drag."""
        (x, y), (to_x, to_y) = np.round([path[0], path[-1]]).astype(int).tolist()
        if self._grabbed is None:
            return (y, y), self.corners([(x, y), (max(to_x, x), y)])[1]
        onset, duration, pitch, _, _ = self.song.notes[self._grabbed].tolist()
        onset, pitch = (
            min(max(onset + to_x - x, 0), self.width - 1),
            min(max(pitch + to_y - y, BORDER), 127 - BORDER),
        )
        return (pitch, pitch), (onset, min(onset + duration, self.width))

    def _press(self, x: float, y: float) -> None:
        tool = "bars" if y < RULER else "pitches" if x < KEYS else self.value("tool")
        if not (self._path and self._tool == tool == "polygon"):  # else: its next corner
            self._path, self._tool, self._region = [], tool, np.zeros_like(self._state.mask)
            self._grabbed = self.note_at(*self.view.cell(x, y)) if tool == "pencil" else None
        self._held, self._since = True, len(self._path)
        self._drag(x, y)

    def _drag(self, x: float, y: float) -> None:
        self._at = x, y
        if self._held:
            self._path.append(self.view.cell(x, y))
            region = TOOLS[self._tool][1](self, self._path)
            self._region = self._region | region if self._tool == "brush" else region
        if time.monotonic() - self._drawn > PAUSE:
            with drawing():
                self._draw_ink(self.view, self._at)
            self._drawn = time.monotonic()

    def _release(self, x: float, y: float) -> None:
        if not self._held:
            return
        self._held, path, erase = False, self._path, self.value("eraser")
        dragged, closed = (
            np.ptp(path[self._since :], axis=0).max() > 3,
            np.hypot(*np.subtract(path[-1], path[0])) < 3,
        )
        if self._tool == "polygon" and not (dragged or closed and len(path) > 3):
            return  # its next corner follows
        self._path = []
        if self._tool != "pencil":
            return self.paint(self._region, erase)
        (pitch, _), (start, stop) = self.written(path)
        if self._grabbed is None and not erase:
            self.add_note(start, pitch, max(stop - start, 2))
        elif self._grabbed is not None and erase:
            self.remove_note(self._grabbed)
        elif self._grabbed is not None and np.ptp(np.round(path), axis=0).any():
            self.move_note(self._grabbed, start, pitch)

    def _preset(self) -> None:
        if words := self.value("preset"):
            self.controls["preset"].value = ""
            self.preset(words)

    def shown(self) -> tuple[np.ndarray, np.ndarray]:
        """The picture to draw and the one before, from which new notes differ."""
        return self._state.picture, self._state.picture

    def redraw(self, **facts: Any) -> None:
        """Draw all, after a change and when a page opens, and tell the page where the picture lies, with other `facts`."""
        with LOCK:
            self.controls["left"].max = max(self.width - (WIDTH - KEYS) // self.value("zoom"), 0)
            view, (picture, before) = self.view, self.shown()
            facts |= view._asdict() | {
                "of": WIDTH,
                "width": self.width,
                "bars": [*self._state.bars, self.width],
            }
            self.facts.value = f"<i class='pomkit-facts' data-facts='{json.dumps(facts)}'></i>"
            with drawing():
                self._draw_roll(self.canvas[PICTURE], view, picture)
                draw_notes(self.canvas[PICTURE], view, picture, before, self.value("colours"))
                self._draw_ink(view)

    def _draw_roll(self, canvas: Any, view: View, picture: np.ndarray) -> None:
        """Rows, beats, bar lines, piano keys; above them the chords and the numbers of the bars."""
        pitch, step, bars = (
            np.arange(view.low, view.high + 1),
            np.arange(view.left, view.right),
            np.array(self._state.bars),
        )
        black, y, x = (
            np.isin(pitch % 12, BLACK_KEYS),
            view.y + (view.high - pitch) * view.row,
            view.across(step),
        )
        for style, *sides in (
            (DARK, 0, 0, WIDTH, HEIGHT),
            ("#0a0a0e", KEYS, RULER, len(step) * view.zoom, HEIGHT),
            ("#16161c", KEYS, y[~black], len(step) * view.zoom, view.row - 1),
            ("#34343c", x[step % 4 == 0], RULER, 1, HEIGHT),
            ("#85858f", x[np.isin(step, bars)], RULER, 1, HEIGHT),
            ("#f8f9fa", 0, RULER, KEYS - 1, HEIGHT),
            (DARK, 0, y[black], KEYS * 0.6, view.row),
            ("#9aa0a6", 0, y[np.isin(pitch % 12, (0, 5))] + view.row, KEYS - 1, 1),
        ):  # under C and F
            fill_rects(canvas, style, *sides)
        canvas.fill_style, canvas.font = DARK, FONT
        for c in pitch[pitch % 12 == 0].tolist():
            canvas.fill_text(
                f"C{c // 12 - 1}", KEYS - 20, view.y + (view.high + 1 - c) * view.row - 1
            )
        for onset, duration, label in read_chords(picture):
            x, end = view.across(onset), view.across(onset + duration)
            if x < end:
                fill_rects(
                    canvas, "#" + bytes(palette()[label]).hex(), x, 0, end - x - 1, RULER // 2
                )
                root, _, quality = label.partition(":")
                canvas.fill_style = PAPER
                canvas.fill_text(
                    (root + SHORT.get(quality, quality))[: int((end - x) / 6)], float(x) + 3, 13
                )
        canvas.fill_style = PAPER
        for number in range(0, len(bars), -(-28 // (16 * view.zoom))):
            if view.left <= bars[number] < view.right:
                canvas.fill_text(f"{number + 1}", float(view.across(bars[number])) + 2, RULER - 6)

    def _draw_ink(self, view: View, pointer: tuple[float, float] | None = None) -> None:
        """What is marked, with the drag that goes on; chord rows over the chords; pitch, bar and beat under the pointer."""
        canvas, mask = self.canvas[INK], self._state.mask
        if self._path and self._region.shape == mask.shape:
            mask = (
                mask & ~self._region
                if self.value("eraser") and self._tool != "pencil"
                else mask | self._region
            )
        canvas.clear()
        x, y, length, _ = view.rectangles(*runs(mask))[1]
        fill_rects(canvas, GLASS, x, y, length, view.row)
        _, start, stop = runs(mask[:1])
        fill_rects(
            canvas, GLASS, view.across(start), 0, view.across(stop) - view.across(start), RULER // 2
        )
        if pointer:
            step, pitch = map(round, view.cell(*pointer))
            bar, _ = self.bar_range([(step, 0)])
            note = f"{ROOTS[pitch % 12]}{pitch // 12 - 1}, " * (pointer[1] >= RULER)
            left, top = min(pointer[0] + 14, WIDTH - 92), max(pointer[1] - 24, 2)
            fill_rects(canvas, "#fff8c4", left, top, 90, 18)
            canvas.fill_style, canvas.font = DARK, FONT
            canvas.fill_text(
                f"{note}bar {bar}:{max(step - self._state.bars[bar - 1], 0) // 4 + 1}",
                left + 4,
                top + 13,
            )


@contextmanager
def drawing() -> Iterator[None]:
    """Send all that is drawn inside as one message: ipycanvas has one buffer for all canvases and threads.
    The message names its canvas anew, so that a page that was opened since the last one can follow."""
    with LOCK:
        MANAGER._caching, MANAGER._current_canvas = True, None
        try:
            yield
            MANAGER.flush()
        finally:
            MANAGER._caching = False


def slider(low: float, high: float, value: float, text: str, tip: str = "") -> Any:
    """A slider of whole numbers, or, where `value` is a float, in steps of 0.1."""
    kind = ui.FloatSlider if isinstance(value, float) else ui.IntSlider
    return kind(min=low, max=high, value=value, description=text, tooltip=tip, **WIDE)


def fill_rects(canvas: Any, style: str, *sides: Any) -> None:
    """Fill rectangles (x, y, width, height), numbers or arrays, with one colour."""
    canvas.fill_style = style
    sides = np.broadcast_arrays(*np.atleast_1d(*sides))
    if sides[0].size:
        canvas.fill_rects(*sides)


def runs(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The runs of True in the rows of a mask, bool (128, width): pitch, first step, step after the last."""
    row, edge = np.nonzero(np.diff(cells, axis=1, prepend=False, append=False))
    return 127 - row[::2], edge[::2], edge[1::2]


def draw_notes(
    canvas: Any, view: View, picture: np.ndarray, before: np.ndarray, colours: str
) -> None:
    """Draw a picture's notes on a canvas of ipycanvas, in the colours of new ones where `before` was another picture."""
    notes = parse(picture).notes
    pitch, onset, loud = notes["pitch"], notes["onset"], 0.45 + 0.55 * notes["velocity"] / 127
    new = (
        (picture != before).any(axis=2)[127 - pitch, onset]
        if before.shape == picture.shape
        else np.zeros(len(notes), int)
    )
    for kind, stop in (
        (1, onset + notes["duration"]),
        (0, onset + 1),
    ):  # all of a note, then its onset
        seen, place = view.rectangles(pitch, onset, stop)
        if seen.any():
            colour = np.array(COLOURS[colours])[kind + 2 * new] * loud[:, None]  # (notes, 3)
            canvas.fill_styled_rects(*place, colour[seen].astype(np.uint8))
