"""What a drag over the roll does with a tool in hand.

A front end says a `Gesture`: the tool's name, the path of the pointer as points (step, pitch),
whether it erases. `perform` does it to an editor, as one level of undo. This is the seam between
page and program: whatever draws the page, a gesture goes in and the editor's mask comes out.

    perform(editor, Gesture("box", [(16, 60), (31, 72)]))
    editor.mask

While the mouse is down, a `Drag` collects the points and shows the mask as it will be.
Read on: `painter`, a front end that does so.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import check_choice
from ..music import masks
from ..music.pixels import PITCHES, Mask
from .editor import HIGHEST_PITCH, LOWEST_PITCH, Editor, Points, State

PRESETS = ("melody", "accompaniment", "continuation", "loop middle", "chords", "all")
PitchRange = tuple[int, int]
StepRange = tuple[int, int]


class Gesture(NamedTuple):
    """A drag that has ended.

    Attributes:
        tool: its name in `TOOLS`.
        path: of the pointer, points (step, pitch), one at least.
        erase: take out of the mask, or delete a note.
        radius: of the brush and the line, in cells.
        part: who plays what the pencil writes, as in `Editor.add_note`.
    """

    tool: str
    path: Points
    erase: bool = False
    radius: float = 2.0
    part: str | None = None


def perform(editor: Editor, gesture: Gesture) -> None:
    """Do what a gesture says; OptionError for a tool that does not exist."""
    check_choice("tool", gesture.tool, TOOLS)
    TOOLS[gesture.tool].perform(editor, gesture)


# Where a path lies


def corners(width: int, path: Points) -> tuple[PitchRange, StepRange]:
    """The box from the first point of a path to the last, inside a picture of `width` steps.

    Returns:
        Pitches (lowest, highest), both included, and steps (first, after the last).
    """
    highest = (width - 1, PITCHES - 1)
    ends = np.clip(np.round([path[0], path[-1]]), 0, highest).astype(int)  # (2 ends, 2)
    first, low = ends.min(axis=0).tolist()
    last, high = ends.max(axis=0).tolist()
    return (low, high), (first, last + 1)


def bar_range(width: int, bars: Sequence[int], path: Points) -> tuple[int, int]:
    """The bars from the first point of a path to the last, both included.

    Args:
        width: of the picture, in steps.
        bars: the steps of its bar lines.
        path: points (step, pitch).
    """
    _, (start, stop) = corners(width, path)
    first, last = np.searchsorted(bars, (start, stop - 1), side="right").tolist()
    return max(first, 1), max(last, 1)


# Tools


class Tool:
    """What a drag marks. `tip` says it in words; `grows`: a path's region is that of its pieces."""

    tip = ""
    grows = False

    def region(self, editor: Editor, gesture: Gesture) -> Mask:
        """The cells that a gesture covers, bool (128, width)."""
        raise NotImplementedError

    def perform(self, editor: Editor, gesture: Gesture) -> None:
        """Paint them."""
        editor.paint(self.region(editor, gesture), gesture.erase)

    def preview(self, state: State, region: Mask, erase: bool) -> Mask:
        """The mask as it will be after painting a region, bool (128, width) both."""
        painted = state.painted
        return state.selected(painted & ~region if erase else painted | region).mask


class Brush(Tool):
    """Paints along the path."""

    tip = "paint freely"
    grows = True

    def region(self, editor: Editor, gesture: Gesture) -> Mask:
        """The cells near the path, bool (128, width)."""
        return masks.stroke(editor.width, gesture.path, gesture.radius)


class Line(Tool):
    """Paints straight from the first point to the last."""

    tip = "as wide as the brush"

    def region(self, editor: Editor, gesture: Gesture) -> Mask:
        """The cells near the line, bool (128, width)."""
        ends = [gesture.path[0], gesture.path[-1]]
        return masks.stroke(editor.width, ends, gesture.radius)


class Box(Tool):
    """Paints a rectangle."""

    tip = "from corner to corner"

    def region(self, editor: Editor, gesture: Gesture) -> Mask:
        """The cells of the rectangle, bool (128, width)."""
        pitches, steps = corners(editor.width, gesture.path)
        return masks.box(editor.width, pitches, steps)


class Polygon(Tool):
    """Paints the inside of the path."""

    tip = "drag round a region, or click its corners and at last the first one again"

    def region(self, editor: Editor, gesture: Gesture) -> Mask:
        """The cells inside, bool (128, width); a thin line until there are three corners."""
        if len(gesture.path) > 2:
            return masks.polygon(editor.width, gesture.path)
        return masks.stroke(editor.width, gesture.path, 0.5)


class Bars(Tool):
    """Paints whole bars."""

    tip = "drag over bars: always so on the ruler above"

    def region(self, editor: Editor, gesture: Gesture) -> Mask:
        """The cells of the bars, bool (128, width)."""
        bars = editor.state.bars
        first, last = bar_range(editor.width, bars, gesture.path)
        return masks.bars(editor.width, first, last, bars)


class Pitches(Tool):
    """Paints whole rows."""

    tip = "drag over pitches: always so on the keys"

    def region(self, editor: Editor, gesture: Gesture) -> Mask:
        """The cells of the rows, bool (128, width)."""
        pitches, _ = corners(editor.width, gesture.path)
        return masks.box(editor.width, pitches)


class Pencil(Tool):
    """Writes a note, moves the one under the first point, or deletes it."""

    tip = "draw a note, or drag one elsewhere; with the eraser a click deletes one"

    def region(self, editor: Editor, gesture: Gesture) -> Mask:
        """The cells of the note as it comes to lie, bool (128, width)."""
        pitch, steps = self.place(editor, gesture, editor.note_at(*gesture.path[0]))
        return masks.box(editor.width, (pitch, pitch), steps)

    def place(self, editor: Editor, gesture: Gesture, number: int | None) -> tuple[int, StepRange]:
        """Where the note comes to lie: its pitch, and its steps, half-open.

        Args:
            editor: whose song it is.
            gesture: what was drawn.
            number: of the note in `editor.song.notes` that is moved; None: a new one, as long as
                the drag.
        """
        ends = np.round([gesture.path[0], gesture.path[-1]]).astype(int)  # (2 ends, 2)
        (x, y), (to_x, to_y) = ends.tolist()
        if number is None:
            _, steps = corners(editor.width, [(x, y), (max(to_x, x), y)])
            return y, steps

        onset, duration, pitch, _, _ = editor.song.notes[number].tolist()
        onset = min(max(onset + to_x - x, 0), editor.width - 1)
        pitch = min(max(pitch + to_y - y, LOWEST_PITCH), HIGHEST_PITCH)
        return pitch, (onset, min(onset + duration, editor.width))

    def perform(self, editor: Editor, gesture: Gesture) -> None:
        """Write, move or delete the note; a click on one without the eraser does nothing."""
        number = editor.note_at(*gesture.path[0])
        pitch, (start, stop) = self.place(editor, gesture, number)
        moves = np.ptp(np.round(gesture.path), axis=0).any()
        if number is None and not gesture.erase:
            editor.add_note(start, pitch, max(stop - start, 2), part=gesture.part)
        elif number is not None and gesture.erase:
            editor.remove_note(number)
        elif number is not None and moves:
            editor.move_note(number, start, pitch)

    def preview(self, state: State, region: Mask, erase: bool) -> Mask:
        """The mask with the note over it, bool (128, width)."""
        return state.mask | region


class Length(Tool):
    """Moves the beginning or the end of the note under the first point."""

    tip = "drag a note's beginning or end"

    def region(self, editor: Editor, gesture: Gesture) -> Mask:
        """The cells of the note as it comes to be, bool (128, width); none where no note is."""
        number = editor.note_at(*gesture.path[0])
        if number is None:
            return np.zeros_like(editor.state.mask)
        pitch = int(editor.song.notes["pitch"][number])
        return masks.box(editor.width, (pitch, pitch), self.place(editor, gesture, number))

    def place(self, editor: Editor, gesture: Gesture, number: int) -> StepRange:
        """The steps of note `number` of `editor.song.notes` afterwards, half-open: one at least."""
        onset, duration, *_ = editor.song.notes[number].tolist()
        end = min(onset + duration, editor.width)
        step, to_step = (round(point[0]) for point in (gesture.path[0], gesture.path[-1]))

        # The half of the note that is taken says which end moves.
        if step >= onset + duration // 2:
            return onset, min(max(to_step + 1, onset + 1), editor.width)
        return min(max(to_step, 0), end - 1), end

    def perform(self, editor: Editor, gesture: Gesture) -> None:
        """Make the note longer or shorter; nothing happens where no note is."""
        number = editor.note_at(*gesture.path[0])
        if number is not None:
            editor.resize_note(number, *self.place(editor, gesture, number))

    def preview(self, state: State, region: Mask, erase: bool) -> Mask:
        """The mask with the note over it, bool (128, width)."""
        return state.mask | region


TOOLS: dict[str, Tool] = {
    "brush": Brush(),
    "line": Line(),
    "box": Box(),
    "polygon": Polygon(),
    "bars": Bars(),
    "pitches": Pitches(),
    "pencil": Pencil(),
    "length": Length(),
}
# Those that change notes; all others change the mask.
NOTE_TOOLS = ("pencil", "length")


# While the mouse is down


class Drag:
    """The drag that goes on: presses, moves and releases come in, a Gesture comes out.

    A polygon may be clicked corner by corner: then its gesture ends with the click on the first
    corner, and its path stays between the clicks.
    """

    def __init__(self, editor: Editor) -> None:
        self.held = False
        self._editor = editor
        self._gesture = Gesture("", [])
        self._region = np.zeros_like(editor.state.mask)
        self._pressed = 0  # points before the last press, int

    def press(
        self, tool: str, point: tuple[float, float], *, erase: bool, radius: float = 2.0
    ) -> None:
        """Begin at a point (step, pitch), or go on with an open polygon.

        Args:
            tool: its name in `TOOLS`.
            point: where the pointer is.
            erase: as in Gesture.
            radius: as in Gesture.
        """
        path = self._gesture.path
        if not (path and self._gesture.tool == tool == "polygon"):
            path = []
            self._region = np.zeros_like(self._editor.state.mask)
        self._gesture = Gesture(tool, path, erase, radius)
        self._pressed = len(path)
        self.held = True
        self.move(point)

    def move(self, point: tuple[float, float]) -> None:
        """Go on to a point (step, pitch); nothing where the mouse is not down."""
        if not self.held:
            return
        path = [*self._gesture.path, point]
        self._gesture = self._gesture._replace(path=path)

        # A stroke of the brush may be long: only its newest piece is drawn.
        tool = TOOLS[self._gesture.tool]
        if tool.grows:
            piece = self._gesture._replace(path=path[-2:])
            self._region = self._region | tool.region(self._editor, piece)
        else:
            self._region = tool.region(self._editor, self._gesture)

    def release(self) -> Gesture | None:
        """End, and give what was drawn; None where nothing was, or where a corner follows."""
        if not self.held:
            return None
        self.held = False
        gesture = self._gesture
        if gesture.tool == "polygon" and not self._is_round(gesture.path):
            return None
        self._gesture = gesture._replace(path=[])
        return gesture

    def _is_round(self, path: Points) -> bool:
        """Whether a polygon was drawn in one drag, or its first corner was clicked again."""
        extent = np.ptp(path[self._pressed :], axis=0).max()
        from_first = np.hypot(*np.subtract(path[-1], path[0]))
        return bool(extent > 3 or (from_first < 3 and len(path) > 3))

    def mask(self) -> Mask:
        """The editor's mask, bool (128, width), as it will be when the drag has ended."""
        state = self._editor.state
        if not self._gesture.path or self._region.shape != state.mask.shape:
            return state.mask
        tool = TOOLS[self._gesture.tool]
        return tool.preview(state, self._region, self._gesture.erase)
