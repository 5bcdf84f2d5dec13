"""The mouse and the finger of the browser tests, over the roll of a studio or a painter.

`Pointer` is the half of a `Desk` (conftest) that presses, drags and touches at cells; `mask_of` and
`painted` tell what came of it in the kernel.
"""

import os
import time

import numpy as np

from pomkit import masks

WAIT = int(
    os.environ.get("POMKIT_WAIT", 120)
)  # seconds for anything at all: the machine may be busy
# Where a cell of the studio's roll lies.
PLACE = """([step, pitch]) => {
    const {desk} = document.querySelector(".pomkit-studio"), {view} = desk;
    const box = desk.ink.getBoundingClientRect();
    const x = step < 0 ? 20 : view.across(step + 0.5);
    const y = pitch === null ? 30 : view.down(pitch - 0.5);
    return [box.left + x, box.top + y];
}"""


def until(check, what, seconds=WAIT):
    """Poll until `check()` is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return found


class Pointer:
    """Needs `page`, `context` and `ask` of a Desk."""

    def box(self, what="canvas"):
        """Where an element lies, once it stands still."""
        element = self.page.locator(what).first
        element.scroll_into_view_if_needed()
        boxes = [None]

        def still():
            boxes.append(element.bounding_box())
            return boxes[-1] == boxes[-2]

        until(still, f"{what} stands still")
        return boxes[-1]

    def at(self, step, pitch):
        """The page's pixel at the middle of a cell; step -1: the keys, pitch None: the ruler."""
        if self.page.locator(".pomkit-studio").count():
            return self.page.evaluate(PLACE, [step, pitch])
        x, y, zoom, row, left, _, _, high = self.ask("list(painter.view)")
        box = self.box()
        scale = box["width"] / self.ask("painter.canvas.width")
        px, py = (
            20 if step < 0 else x + (step + 0.5 - left) * zoom,
            25 if pitch is None else y + (high - pitch + 0.5) * row,
        )
        return box["x"] + px * scale, box["y"] + py * scale

    def drag(self, *points, steps=25, button="left"):
        """Press the mouse at the first (step, pitch), move through the others, release."""
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=steps)
        self.page.mouse.up(button=button)

    def click(self, *corners):
        """Click the mouse at one (step, pitch) after the other."""
        for corner in corners:
            self.page.mouse.click(*self.at(*corner))

    def touch(self, *points):
        """Put a finger down at the first (step, pitch), draw it through the others, lift it."""
        session = self.context.new_cdp_session(self.page)
        places = [self.at(*point) for point in points]

        def send(kind, *touched):
            there = [{"x": x, "y": y} for x, y in touched]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": there})

        send("touchStart", places[0])
        for place in places:
            send("touchMove", place)
        send("touchEnd")


def mask_of(desk):
    """The painter's mask in the kernel."""
    shape, packed = desk.ask("[painter.mask.shape, numpy.packbits(painter.mask).tolist()]")
    return np.unpackbits(np.array(packed, np.uint8)).reshape(shape).astype(bool)


def painted(desk):
    """The mask, once something is painted and the mouse is up."""
    held = "'drag' in dir(painter) and painter.drag.held"
    until(lambda: mask_of(desk).any() and not desk.ask(held), "something is painted")
    return mask_of(desk)


def is_stroke(mask, points):
    """Whether a mask is a brush of radius 2 along points, to one cell."""
    wide, narrow = (masks.stroke(mask.shape[1], points, radius) for radius in (3, 1))
    return mask[narrow].all() and not mask[~wide].any()
