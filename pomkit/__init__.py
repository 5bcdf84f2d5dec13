"""pomkit: make music by painting. A song is a picture; a diffusion transformer composes the region that you mark.
Everything public is reached from here and imported when first used, so `import pomkit` is quick and needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "errors": ("PomkitError", "MidiError", "PictureError", "CheckpointError", "OptionError"),
    "chords": ("Chord",),
    "notes": ("Song", "ReadReport", "read_midi"),
    "plot": ("show",),
    "audio": ("synthesize", "listen"),
    "studio": ("Studio",),
    "picture": (
        "render",
        "parse",
        "fold",
        "unfold",
        "to_binary",
        "from_binary",
        "split_binary",
        "binary_losses",
    ),
    "checkpoint": ("load_model", "save_model"),
    "sample": ("inpaint", "generate"),
    "widgets": ("MaskPainter",),
}
_MODULES = (
    "masks",
    "midi",
    "corpus",
    "data",
    "metrics",
    "plot",
    "model",
    "edm",
    "cells",
    "sample",
    "train",
    "evaluate",
    "audio",
    "picture",
    "notes",
    "chords",
    "checkpoint",
    "errors",
    "rules",
    "baselines",
    "editor",
    "widgets",
    "studio",
)
_WHERE = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted({*_WHERE, *_MODULES})

if TYPE_CHECKING:
    from . import (
        audio,
        baselines,
        cells,
        checkpoint,
        chords,
        corpus,
        data,
        editor,
        edm,
        errors,
        evaluate,
        masks,
        metrics,
        midi,
        model,
        notes,
        picture,
        plot,
        rules,
        sample,
        studio,
        train,
        widgets,
    )  # isort: skip  # isort: skip
    from .audio import listen, synthesize
    from .checkpoint import load_model, save_model
    from .chords import Chord
    from .errors import CheckpointError, MidiError, OptionError, PictureError, PomkitError
    from .notes import ReadReport, Song, read_midi
    from .picture import (
        binary_losses,
        fold,
        from_binary,
        parse,
        render,
        split_binary,
        to_binary,
        unfold,
    )
    from .plot import show
    from .sample import generate, inpaint
    from .studio import Studio
    from .widgets import MaskPainter


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        globals()[name] = getattr(import_module(f".{_WHERE[name]}", __name__), name)
    elif name in _MODULES:
        globals()[name] = import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
