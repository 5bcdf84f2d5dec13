"""The studio's page: one widget, drawn, painted and played in the browser by `page/*.js`.

A `Roll` carries traits down to the page and messages up from it. It knows no session: `panel` sets
the traits, and gives it the function that a message is handed to.

    roll = Roll(act)                        # act({"do": "gesture", "tool": "box", ...}, [])
    roll.notes = note_table(song.notes, new)
    roll.mask = packed(mask)

The page draws ink and plays notes by itself; at the end of a drag it sends a gesture, and shows it
until the kernel has answered. So there is one truth, the session's, and no waiting.

Only this file needs anywidget. Read on: `panel`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PomkitError
from ..music.pixels import Mask

try:
    import anywidget
    import traitlets
except ImportError as fault:
    raise PomkitError(
        f"the studio needs anywidget ({fault}); run: pip install 'pomkit[widgets]', or paint with "
        "pomkit.MaskPainter and compose with pomkit.inpaint"
    ) from fault

PAGE = Path(__file__).with_name("page")
# In this order they are one module: a widget takes one file.
SCRIPTS = ("basics.js", "sound.js", "drawing.js", "hand.js", "panels.js", "desk.js")

# A message of the page.
Words = dict[str, Any]
Act = Callable[[Words, Sequence[bytes]], None]


def one_module() -> str:
    """The page's scripts as one ECMAScript module."""
    return "\n".join((PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)


class Roll(anywidget.AnyWidget):
    """The widget of a studio: its traits are what the page shows.

    Args:
        act: is called with every message of the page, and the bytes that came with it.

    Attributes:
        song: facts of the song, see `panel`.
        notes: the notes, as `note_table` gives them.
        before: the same of the picture before.
        live: the same of the picture that is being composed; none: nothing is.
        candidates: the same of every candidate.
        mask: the mask, as `packed` gives it.
        within: the cells of the chosen part; none: all parts.
        words: the mask in words.
        chosen: the number of the candidate that is in the picture.
        takes: the names of the kept pictures.
        place: the number of the present one.
        composed: how many times something was composed.
        settings: the session's settings.
        controls: what can be set, and how.
        status: whether it composes, how much is done, the time left.
        message: a text, and whether it tells an error.
        can: whether there is something to undo, and to redo.
    """

    _esm = one_module()
    _css = (PAGE / "page.css").read_text(encoding="utf-8")

    song = traitlets.Dict().tag(sync=True)
    notes = traitlets.Bytes().tag(sync=True)
    before = traitlets.Bytes().tag(sync=True)
    live = traitlets.Bytes().tag(sync=True)
    candidates = traitlets.List(traitlets.Bytes()).tag(sync=True)
    mask = traitlets.Bytes().tag(sync=True)
    within = traitlets.Bytes().tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)
    chosen = traitlets.Int().tag(sync=True)
    takes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    place = traitlets.Int().tag(sync=True)
    composed = traitlets.Int().tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    controls = traitlets.List(traitlets.Dict()).tag(sync=True)
    status = traitlets.Dict().tag(sync=True)
    message = traitlets.Dict().tag(sync=True)
    can = traitlets.Dict().tag(sync=True)

    def __init__(self, act: Act, **traits: Any) -> None:
        super().__init__(**traits)
        self._act = act
        self.on_msg(self._receive)

    def _receive(self, _: Any, message: Words, buffers: Sequence[Any]) -> None:
        """Hand a message on, then say that it is done: the page waits for that."""
        try:
            self._act(message, [bytes(each) for each in buffers or ()])
        finally:
            self.answer(message, "done", n=message.get("n", 0))

    def answer(self, message: Words, do: str, data: bytes = b"", **words: Any) -> None:
        """Send something to the page that sent a message.

        Args:
            message: that one.
            do: what the page shall do: "done", "file" or "fine".
            data: bytes for it.
            words: what it must know.
        """
        content = {"do": do, "view": message.get("view"), **words}
        self.send(content, [data] if data else None)


def note_table(notes: np.ndarray, new: np.ndarray) -> bytes:
    """Notes for the page.

    Args:
        notes: NOTE_DTYPE (notes,), in the order of their onsets.
        new: which of them are new, bool (notes,).

    Returns:
        int32 (notes, 6), little-endian: onset, duration, pitch, velocity, part, whether it is new.
    """
    names = ("onset", "duration", "pitch", "velocity", "part")
    columns = [notes[name] for name in names]
    return np.stack([*columns, new], axis=1).astype("<i4").tobytes()  # (notes, 6)


def packed(cells: Mask) -> bytes:
    """Cells, bool (128, width), as bits, each row filled up to whole bytes."""
    return np.packbits(cells, axis=1).tobytes()
