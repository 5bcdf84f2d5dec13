"""The mask painter: an Editor on a canvas, with a piano's keys, bars and chords around the picture.

    painter = MaskPainter(song)
    painter                        # in a notebook: paint with the mouse or a finger
    painter.mask                   # what was painted
    painter.add_bars(9, 12)        # the same by a call

A painter draws and listens; what a drag does stands in `tools`, what it changes in `editor`.
Read on: `panel`, the studio.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..music.chords import pitch_name
from .canvas import (
    HEIGHT,
    INK_LAYER,
    PIANO_WIDTH,
    PICTURE_LAYER,
    RULER,
    WIDTH,
    Viewport,
    draw_chords,
    draw_ink,
    draw_label,
    draw_notes,
    draw_roll,
    drawing,
)
from .controls import WIDE, Controls, MultiCanvas, display, slider, ui
from .editor import (
    HIGHEST_PITCH,
    LOCK,
    LOWEST_PITCH,
    Delegate,
    Editor,
    EditorCalls,
    Music,
)
from .tools import PRESETS, TOOLS, Drag, bar_range, perform

PAUSE = 0.01  # seconds between drawings of a drag, so that none queue up


class MaskPainter(EditorCalls):
    """Paint masks and notes on a canvas; every call of Editor works on a painter too.

    Args:
        music: a Song, a picture uint8 (128, width, 3), a number of steps of silence, or an Editor
            to be shown.
        mask: bool (128, width), True = regenerate; None: nothing is marked.
        bars: the steps of the bar lines; None: the Song's, else those of 4/4.

    Attributes:
        editor: what is painted on.
        drag: the drag of the mouse that goes on.
        controls: the widgets by their names.
        canvas: the roll, of ipycanvas.
        panel: all of it, for a page.

    Raises:
        PictureError, OptionError: as Editor.
        PomkitError: ipycanvas is missing.
    """

    message = Delegate("controls", Controls, "The line that tells errors, a widget.")
    row = Delegate("controls", Controls)
    button = Delegate("controls", Controls)
    on_change = Delegate("controls", Controls)
    value = Delegate("controls", Controls)
    guarded = Delegate("controls", Controls)
    tell = Delegate("controls", Controls)

    def __init__(
        self,
        music: Music | Editor = 256,
        mask: np.ndarray | None = None,
        bars: Sequence[int] | None = None,
    ) -> None:
        if "google.colab" in sys.modules:
            sys.modules["google.colab"].output.enable_custom_widget_manager()
        self.editor = music if isinstance(music, Editor) else Editor(music, mask, bars)
        self.drag = Drag(self.editor)
        self._pointer = (0.0, 0.0)  # pixels (x, y)
        self._drawn_at = 0.0  # seconds, when the ink was drawn last

        self.canvas = MultiCanvas(2, width=WIDTH, height=HEIGHT, layout={"max_width": "100%"})
        self.controls = Controls()
        self.panel = ui.VBox(
            [
                self._tool_row(),
                self._edit_row(),
                self.canvas,
                self._view_row(),
                self.message,
            ]
        )
        self._wire_canvas()
        self._wire_controls()
        self.editor.observe(self.redraw)
        self.fit()

    def _ipython_display_(self) -> None:
        display(self.panel)

    # The panel

    def _tool_row(self) -> Any:
        """What the mouse does."""
        tools = ui.ToggleButtons(
            options=list(TOOLS),
            tooltips=[tool.tip for tool in TOOLS.values()],
            style={"button_width": "auto"},
        )
        eraser = ui.ToggleButton(
            description="eraser", icon="eraser", tooltip="take out of the mask"
        )
        radius = slider(0.5, 12, 2.0, text="radius", tip="of the brush, in cells")
        return self.row(tool=tools, eraser=eraser, radius=radius)

    def _edit_row(self) -> Any:
        """What is done to the mask at once, and the colours."""
        presets = [("preset ...", ""), *((words, words) for words in PRESETS)]
        colours = [("colour-blind safe", "safe"), ("red and green", "picture")]
        steps = {
            "undo": self.button(self.undo, "", "undo", "undo"),
            "redo": self.button(self.redo, "", "repeat", "redo"),
        }
        marks = {
            "invert": self.button(self.invert, "invert", tip="mark what is not marked"),
            "clear": self.button(self.clear, "clear", tip="mark nothing"),
            "preset": ui.Dropdown(options=presets),
        }
        return self.row(**steps, **marks, colours=ui.Dropdown(options=colours))

    def _view_row(self) -> Any:
        """Which part of the picture is seen."""
        pitches = ui.IntRangeSlider(
            min=LOWEST_PITCH, max=HIGHEST_PITCH, value=(36, 84), description="pitches", **WIDE
        )
        return self.row(
            left=ui.IntSlider(description="scroll", readout=False, layout={"flex": "1"}),
            zoom=slider(2, 24, 8, text="zoom", tip="pixels a step"),
            pitches=pitches,
        )

    def _wire_canvas(self) -> None:
        """Listen to the mouse, a finger, and pages that open."""
        self.canvas.on_client_ready(self.redraw)
        self.canvas.on_mouse_wheel(lambda x, y: self.scroll((x or y) / self.value("zoom")))
        for mouse, touch, act in (
            ("down", "start", self._press),
            ("move", "move", self._move),
            ("up", "end", self._release),
            ("out", "cancel", self._release),
        ):
            getattr(self.canvas, f"on_mouse_{mouse}")(self.guarded(act))
            getattr(self.canvas, f"on_touch_{touch}")(self.guarded(self._first_finger(act)))

    def _first_finger(self, act: Callable[[float, float], None]) -> Callable[[list], None]:
        """`act` for touches: the first finger's place, or, where none is left, the last one."""
        return lambda touches: act(*(touches or [self._pointer])[0])

    def _wire_controls(self) -> None:
        """Draw again when another part is to be seen, or in other colours."""
        looks = ("colours", "left", "zoom", "pitches")
        self.on_change(**dict.fromkeys(looks, self.redraw), preset=self._preset)

    def _preset(self) -> None:
        """Mark what was chosen, and let the menu show its title again."""
        words = self.value("preset")
        if words:
            self.controls["preset"].value = ""
            self.preset(words)

    # What is seen

    @property
    def view(self) -> Viewport:
        """What the canvas shows."""
        left = self.value("left")
        zoom = self.value("zoom")
        low, high = self.value("pitches")
        right = min(left + (WIDTH - PIANO_WIDTH) // zoom, self.width)
        row = (HEIGHT - RULER) / (high + 1 - low)
        return Viewport(PIANO_WIDTH, RULER, zoom, row, left, right, low, high)

    def fit(self) -> None:
        """Show the pitches in use, three octaves at least."""
        pitch = self.song.notes["pitch"]
        low = int(min(pitch, default=60))
        high = int(max(pitch, default=72))
        margin = max((36 - (high - low)) // 2, 4)
        pitches = max(low - margin, LOWEST_PITCH), min(high + margin, HIGHEST_PITCH)
        self.controls["pitches"].value = pitches
        self.redraw()

    def scroll(self, steps: float) -> None:
        """Move the view by some steps."""
        left = self.controls["left"]
        left.value = min(max(round(left.value + steps), 0), left.max)

    # The mouse

    def _press(self, x: float, y: float) -> None:
        """The mouse goes down at a pixel: the ruler and the keys are tools of their own."""
        tool = self.value("tool")
        if x < PIANO_WIDTH:
            tool = "pitches"
        if y < RULER:
            tool = "bars"
        self.drag.press(
            tool,
            self.view.cell(x, y),
            erase=self.value("eraser"),
            radius=self.value("radius"),
        )
        self._draw_pointer(x, y)

    def _move(self, x: float, y: float) -> None:
        """The mouse moves to a pixel, with or without a button."""
        self.drag.move(self.view.cell(x, y))
        self._draw_pointer(x, y)

    def _release(self, x: float, y: float) -> None:
        """The button is up: the drag becomes one operation of the editor."""
        gesture = self.drag.release()
        if gesture is not None:
            perform(self.editor, gesture)

    # Drawing

    def redraw(self) -> None:
        """Draw all, after a change and when a page opens."""
        with LOCK:
            self.controls["left"].max = max(
                self.width - (WIDTH - PIANO_WIDTH) // self.value("zoom"), 0
            )
            view = self.view
            state = self.state
            canvas = self.canvas[PICTURE_LAYER]
            with drawing():
                draw_roll(canvas, view, state.bars, state.beats)
                draw_chords(canvas, view, state.read.chords)
                draw_notes(canvas, view, state, before=state, colours=self.value("colours"))
                self._draw_ink(view)

    def _draw_ink(self, view: Viewport) -> None:
        """Draw the mask, with the drag that goes on."""
        draw_ink(self.canvas[INK_LAYER], view, self.drag.mask())

    def _draw_pointer(self, x: float, y: float) -> None:
        """Draw the ink anew with a label at the pointer, unless that was done a moment ago."""
        self._pointer = (x, y)
        if time.monotonic() - self._drawn_at > PAUSE:
            with drawing():
                self._draw_ink(self.view)
                draw_label(self.canvas[INK_LAYER], self._pointer, self._place_in_words(x, y))
            self._drawn_at = time.monotonic()

    def _place_in_words(self, x: float, y: float) -> str:
        """Pitch, bar and beat at a pixel; on the ruler there is no pitch."""
        step, pitch = map(round, self.view.cell(x, y))
        bars = self.state.bars
        bar, _ = bar_range(self.width, bars, [(step, 0)])
        first, last = np.searchsorted(self.state.beats, (bars[bar - 1], step), side="right")
        beat = max(int(last - first), 0) + 1
        note = f"{pitch_name(pitch)}, " if y >= RULER else ""
        return f"{note}bar {bar}:{beat}"
