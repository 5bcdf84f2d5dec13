"""pomkit: make music by painting. A song is a picture; a diffusion model composes what you mark.

    song = pomkit.read_midi("song.mid")
    mask = pomkit.masks.bars(song, 9, 12)
    result = pomkit.inpaint(pomkit.load_model("tiny"), pomkit.render(song), mask)

The folders follow the course: music (a song and its picture), play (see it, hear it), data,
networks, processes (how a model learns and composes), composing, ladder (other systems, to compare
with), training, judge, studio. A folder imports only from those before it. Everything public is
also reached from here and is imported when first used, so `import pomkit` is quick and needs no
torch.
"""

from typing import TYPE_CHECKING, Any

from .faces import face, keep_old_paths

__version__ = "0.1.0"

# Reading order of the folders and of the files beside them.
FLOORS = [
    "errors",
    "files",
    "faces",
    "music",
    "play",
    "data",
    "networks",
    "processes",
    "composing",
    "ladder",
    "training",
    "judge",
    "studio",
    "train",
    "evaluate",
    "__main__",
]

_HOMES = {
    "errors": "PomkitError MidiError PictureError CheckpointError OptionError",
    "files": "",
    "music": "Chord Song ReadReport read_midi render parse fold unfold to_binary from_binary "
    "split_binary binary_losses",
    "play": "show legible_figures synthesize listen",
    "data": "",
    "networks": "",
    "processes": "load_model save_model",
    "composing": "inpaint generate compose doubt",
    "ladder": "",
    "training": "",
    "judge": "",
    "studio": "Studio MaskPainter",
    "train": "",
    "evaluate": "",
}
# The modules of version 0.1.0, and where their names stand today.
OLD_PATHS = {
    "audio": "play.audio",
    "baselines": "judge.baselines",
    "cells": "processes.states processes.controls processes.schedules processes.uncover "
    "processes.cells",
    "checkpoint": "processes.checkpoint",
    "chords": "music.chords music.harmony music.tables",
    "corpus": "data.corpus data.store data.members data.reading",
    "editor": "studio.editor studio.storage",
    "edm": "processes.contract processes.schedules processes.samplers processes.densities "
    "processes.edm",
    "fetch": "data.downloads",
    "kdiffusion": "processes.kdiffusion",
    "masks": "music.masks",
    "metrics": "judge.clips judge.statistics judge.likeness judge.metrics music.harmony",
    "midi": "music.midi_codes music.midi_tracks music.midi_runs music.midi_notes music.midi_events",
    "model": "networks.attention networks.hdit",
    "notes": "music.tables music.grid music.song music.midi music.midi_write",
    "picture": "music.picture music.pixels music.palette music.images music.binary",
    "plot": "play.plot",
    "rules": "processes.rules",
    "sample": "processes.contract processes.wide processes.edm processes.cells composing.former "
    "composing.options composing.region music.tables",
    "widgets": "studio.painter studio.canvas studio.tools studio.controls",
}
# Module of 0.1.0 -> old name -> today's name.
RENAMED: dict[str, dict[str, str]] = {
    "baselines": {"draw": "redraw", "HALF": "HALF_BAR"},
    "cells": {"View": "Draft"},
    "checkpoint": {"FORMAT": "CHECKPOINT_FORMAT"},
    "chords": {"MARKER": "CHORD_MARKER"},
    "corpus": {
        "FINISHED": "INDEX_FILE",
        "FORMAT": "CORPUS_FORMAT",
        "File": "Member",
        "NOTES": "NOTE_COLUMNS",
        "NOTHING": "NO_NOTES",
        "SHARD": "SHARD_FILE",
        "Table": "Shard",
    },
    "editor": {"begun": "first_state"},
    "edm": {"draw": "normal_like"},
    "midi": {
        "OFF": "NOTE_OFF",
        "ON": "NOTE_ON",
        "NAME": "META_NAME",
        "LYRIC": "META_LYRIC",
        "MARKER": "META_MARKER",
        "END": "META_END",
        "TEMPO": "META_TEMPO",
        "METER": "META_METER",
        "SPECIFIC": "META_SPECIFIC",
    },
    "kdiffusion": {"noise_sampler": "BrownianIncrements"},
    "metrics": {"Set": "PictureSet"},
    "model": {
        "PIXELS": "PIXEL_AXES",
        "TOKENS": "TOKEN_AXES",
        "local": "local_level",
        "pocket": "pocket_config",
    },
    "plot": {"PIXELS": "IMSHOW_OPTIONS"},
    "notes": {"LEAST": "LOWEST_VALUES", "MOST": "HIGHEST_VALUES"},
    "picture": {"from_image": "read_image"},
    "rules": {"MOST": "MOST_RAISED"},
    "sample": {"INK": "INK_THRESHOLD"},
    "widgets": {
        "INK": "INK_LAYER",
        "KEYS": "PIANO_WIDTH",
        "PICTURE": "PICTURE_LAYER",
        "View": "Viewport",
    },
}
keep_old_paths(__name__, OLD_PATHS, RENAMED)

__all__, _face, __dir__ = face(__name__, {**_HOMES, **dict.fromkeys(OLD_PATHS, "")})

if TYPE_CHECKING:
    from .composing.doubting import doubt
    from .composing.region import generate, inpaint
    from .composing.song import compose
    from .errors import CheckpointError, MidiError, OptionError, PictureError, PomkitError
    from .music import masks
    from .music.binary import binary_losses, from_binary, split_binary, to_binary
    from .music.chords import Chord
    from .music.grid import ReadReport
    from .music.midi import read_midi
    from .music.picture import parse, render
    from .music.pixels import fold, unfold
    from .music.song import Song
    from .play.audio import listen, synthesize
    from .play.plot import show
    from .processes import rules
    from .processes.checkpoint import load_model, save_model
    from .studio.painter import MaskPainter
    from .studio.panel import Studio


def __getattr__(name: str) -> Any:
    return _face(name)
