"""The studio's page: one widget, drawn, painted and played in the browser by `page/*.js`.

A `Roll` carries traits down to the page and messages up from it. It knows no session: the traits
are the pieces of `view`, and each message is handed to a function.

    roll = Roll(act)                    # act({"do": "gesture", "tool": "box", ...}, [])
    roll.show("notes", piece(session, "notes"))

The page draws ink and plays notes by itself; at the end of a drag it sends a gesture, and shows it
until the kernel has answered. So there is one truth, the session's, and no waiting.

Only this file needs anywidget, which by its own word runs in JupyterLab, Notebook, Colab, VS Code
and marimo. Tests drive the page in JupyterLab 4, Notebook 7 and Voila; in the others nobody has
tried it. `tests/browser/proof.py`, a small widget, says whether one has what the page needs.
Read on: `panel`, which gives it a session.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PomkitError
from ..music.pixels import PITCHES, Mask

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
SCRIPTS = ("basics.js", "sound.js", "drawing.js", "hand.js", "panels.js", "parts.js", "desk.js")

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
        song, notes, before, drums, live, mask, mix, doubt, takes, candidates, settings, status:
            pieces of `view`, tables of notes as bytes.
        dice: whether every composition draws a seed of its own.
        musics: how many pieces of music were opened: for another one the page begins anew.
    """

    _esm = one_module()
    _css = (PAGE / "page.css").read_text(encoding="utf-8")

    song = traitlets.Dict().tag(sync=True)
    notes = traitlets.Bytes().tag(sync=True)
    before = traitlets.Bytes().tag(sync=True)
    drums = traitlets.Bytes().tag(sync=True)
    live = traitlets.Bytes().tag(sync=True)
    mix = traitlets.Dict().tag(sync=True)
    doubt = traitlets.Dict().tag(sync=True)
    mask = traitlets.Dict().tag(sync=True)
    takes = traitlets.Dict().tag(sync=True)
    candidates = traitlets.Dict().tag(sync=True)
    settings = traitlets.List(traitlets.Dict()).tag(sync=True)
    status = traitlets.Dict().tag(sync=True)
    dice = traitlets.Bool(True).tag(sync=True)
    musics = traitlets.Int().tag(sync=True)

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

    def show(self, name: str, piece: Any) -> None:
        """Let the page show a piece of `view` by its name."""
        setattr(self, name, trait_of(piece))

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


def trait_of(piece: Any) -> Any:
    """A piece of `view` as its trait holds it; None, of a table, as no bytes."""
    return b"" if piece is None else plain(piece)


def plain(value: Any) -> Any:
    """A piece of `view` as a trait holds it: tables as bytes, int32 little-endian; None as none."""
    if isinstance(value, np.ndarray):
        return value.astype("<i4").tobytes()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


# Without a kernel

STEP = 3  # pixels
ROW = 5  # pixels
SHEET = (253, 253, 254)
BAR_LINE = (185, 193, 204)
NOTE = (61, 90, 128)
NEW_NOTE = (198, 81, 2)
# What is marked lets so much of red, green and blue through.
TINT = (1, 0.84, 0.71)


def still(notes: np.ndarray, mask: Mask, bars: Sequence[int]) -> bytes:
    """A picture of the roll, for a notebook that is opened without a kernel.

    Args:
        notes: a table of notes of `view`, int32 (notes, 6).
        mask: bool (128, width).
        bars: the steps of the bar lines.

    Returns:
        PNG.
    """
    from PIL import Image

    cells = np.full((*mask.shape, 3), SHEET, np.uint8)  # (128, width, 3)
    cells[mask] = np.multiply(SHEET, TINT)
    low = PITCHES // 2
    high = PITCHES // 2
    for onset, duration, pitch, _, _, is_new in notes.tolist():
        cells[PITCHES - 1 - pitch, onset : onset + duration] = NEW_NOTE if is_new else NOTE
        low = min(low, pitch)
        high = max(high, pitch)

    # Only the pitches in use, enlarged, with bar lines and a gap between rows.
    seen = cells[PITCHES - 1 - high : PITCHES - low]
    image = seen.repeat(ROW, axis=0).repeat(STEP, axis=1)
    image[:, [STEP * bar for bar in bars]] = BAR_LINE
    image[::ROW] = np.maximum(image[::ROW], 235)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", optimize=True)
    return file.getvalue()
