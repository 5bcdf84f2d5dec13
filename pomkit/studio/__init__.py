"""The studio: paint, compose, listen, paint again (notebook 08).

Reading order: editor, painter, panel.

- `editor`: masks and notes by hand, undo; no front end.
- `painter`: the editor on a canvas.
- `panel`: the studio, with a model, candidates, sound and files.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "editor": "Editor",
        "painter": "MaskPainter",
        "panel": "Studio Take SETTINGS SAVERS OPEN options_of FRAME STRIP TITLE IMAGES KEYS",
    },
)
