"""The studio: paint, compose, listen, paint again (notebook 08).

Reading order: editor, controls, canvas, tools, painter, sampling, mixer, oddness, storage, shelf,
session, view, roll, panel.

Without a front end:

- `editor`: masks and notes by hand, undo.
- `tools`: what a drag of the mouse does to an editor.
- `sampling`: the settings, and what a model is asked for.
- `mixer`: which parts are heard, and the drums of a file.
- `oddness`: what a model finds odd.
- `storage`: what is kept, and its files.
- `shelf`: the takes, and the candidates beside each.
- `session`: an editor, a model, candidates, takes, sounds; all that a front end needs.
- `view`: a session as plain values.

With widgets:

- `controls`: buttons, sliders, and the line that tells errors.
- `canvas`: drawing of roll, notes and ink.
- `painter`: an editor on a canvas.
- `roll`: the page of the studio, one widget with its scripts.
- `panel`: the studio, a session with its page.
"""

from typing import Any

from ..faces import face

__all__, _face, __dir__ = face(
    __name__,
    {
        "editor": "Editor",
        "tools": "Gesture",
        "painter": "MaskPainter",
        "sampling": "SETTINGS KEY_NAMES options_of",
        "mixer": "Mix",
        "storage": "Take SAVERS IMAGES",
        "shelf": "",
        "session": "Session FRAME",
        "view": "",
        "canvas": "STRIP TITLE",
        "panel": "Studio OPEN",
    },
)


def __getattr__(name: str) -> Any:
    return _face({"KEYS": "KEY_NAMES"}.get(name, name))
