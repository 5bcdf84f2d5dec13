"""Songs as sound: by a synthesiser with a soundfont where one plays, else by tones of our own.

    audio = synthesize(song)               # float32 (samples, 2)
    write_wav("song.wav", audio)
    listen(song)                           # a player in a notebook; says which sound it is

A Song sounds at its own tempi with its own instruments, a picture as a piano at 120 BPM. The first
that plays is taken: FluidSynth, which needs a library of the system; midirenderer, which comes as a
wheel; plain tones. Both synthesisers need a soundfont, and pretty_midi brings a small one. None is
trusted before one note has been heard: a library may be missing, a font damaged. What plays on this
machine says `sound_name`. The same music has the same samples every time, and a tune the same on
every grid. How notes become samples stands in `synths`.
"""

import importlib.util
import io
import logging
import os
import sys
import wave
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import OptionError, PomkitError, check_choice, check_range
from ..files import AnyPath, write_atomically
from ..music.picture import parse
from ..music.pixels import Picture
from ..music.song import Song
from ..music.tables import NOTE_DTYPE
from .synths import (
    GAIN,
    MAX_SAMPLES,
    PIANO,
    RELEASE,
    Performance,
    by_fluidsynth,
    by_midirenderer,
    performance_of,
    tones,
)

__all__ = [
    "GAIN",
    "PIANO",
    "LISTEN_RATE",
    "RELEASE",
    "SOUNDS",
    "listen",
    "mp3",
    "sound_name",
    "synthesize",
    "write_wav",
]

SOUNDS = ("auto", "fluidsynth", "midirenderer", "tones")
# Peaks outside of these are scaled to them; between them the velocities decide.
QUIETEST = 0.05
LOUDEST = 0.95
# `listen` embeds 40 kbit/s: 5 kB a second, 6.7 kB in a notebook's text.
LISTEN_RATE = 22050  # Hz
FONT_FOLDERS = (
    "/usr/share/sounds/sf2",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
    f"{sys.prefix}/share/soundfonts",
)
INSTALL_FLUIDSYNTH = (
    "pip install pyfluidsynth, and apt install fluidsynth, brew install fluid-synth "
    "or conda install fluidsynth"
)
INSTALL_MIDIRENDERER = "pip install midirenderer"


class Synth(NamedTuple):
    """A synthesiser that plays here.

    Attributes:
        name: for people.
        play: makes samples of a score, with a soundfont.
        font: the soundfont.
    """

    name: str
    play: Callable[[Performance, Path], np.ndarray]
    font: Path


def synthesize(
    music: Song | Picture,
    sample_rate: int = 44100,
    bpm: float | None = None,
    sound: str = "auto",
    *,
    steps_per_beat: int = 4,
) -> np.ndarray:
    """The sound of music: a Song with its own tempi and instruments, a picture as a piano.

    It lasts to the end of the last note and `RELEASE` seconds more. Its peak is 0.05 to 0.95, and 0
    where there are no notes.

    Args:
        music: a Song, or a picture, uint8 (128, width, 3).
        sample_rate: in Hz, 8000 to 96000.
        bpm: beats a minute throughout; None: a Song's own tempi, 120 where it names none and for
            a picture.
        sound: "fluidsynth", "midirenderer", "tones" (sine waves that decay), or "auto", the first
            of them that works.
        steps_per_beat: of a picture (a Song knows its own).

    Returns:
        float32 (samples, 2), left and right, in [-1, 1].

    Raises:
        OptionError: a value is out of its range, the sound is too long or not to be had.
        PictureError: this is no picture.
    """
    song = music if isinstance(music, Song) else parse(music, steps_per_beat=steps_per_beat)
    check_range("sample_rate", sample_rate, 8000, 96000, unit="Hz")
    rate = int(sample_rate)
    score = performance_of(song, rate, bpm)
    if score.samples > MAX_SAMPLES:
        raise OptionError(
            f"{score.samples / rate / 60:.0f} minutes of sound are too many; "
            "cut the song, or lower sample_rate"
        )

    synth = _synth(sound)
    if not len(song.notes):
        return np.zeros((score.samples, 2), np.float32)
    audio = synth.play(score, synth.font) if synth else tones(score)

    # The last 50 ms fade out, else the end would click.
    fade = np.linspace(1, 0, rate // 20, dtype=np.float32)
    audio[-len(fade) :] *= fade[:, None]  # (samples, 2)

    peak = max(float(np.abs(audio).max()), 1e-9)
    return audio * np.float32(np.clip(peak, QUIETEST, LOUDEST) / peak)


def sound_name(sound: str = "auto") -> str:
    """What `synthesize` plays with, "FluidSynth, TimGM6mb" or "plain tones"; OptionError."""
    synth = _synth(sound)
    return f"{synth.name}, {synth.font.resolve().stem}" if synth else "plain tones"


def listen(
    music: Song | Picture, bpm: float | None = None, sound: str = "auto", *, steps_per_beat: int = 4
) -> Any:
    """A player for a notebook; prints which sound it is.

    The sound is embedded as MP3, mono, 5 kB a second.

    Args:
        music: a Song, or a picture, uint8 (128, width, 3).
        bpm: beats a minute throughout; None: a Song's own tempi, a picture's 120.
        sound: as in `synthesize`.
        steps_per_beat: of a picture.

    Returns:
        IPython's Audio.

    Raises:
        PomkitError: as `synthesize`, and where the encoder or IPython is missing.
    """
    audio = synthesize(music, LISTEN_RATE, bpm, sound, steps_per_beat=steps_per_beat)
    player = _import("IPython.display").Audio(data=mp3(audio))
    # IPython takes any bytes for a WAV.
    player.mimetype = "audio/mpeg"
    print(f"sound: {sound_name(sound)}; {len(audio) / LISTEN_RATE:.1f} s")
    return player


def mp3(audio: np.ndarray, rate: int = LISTEN_RATE) -> bytes:
    """Sound as MP3, mono, 5 kB a second.

    Args:
        audio: float (samples, channels) in [-1, 1].
        rate: in Hz.

    Raises:
        PomkitError: the encoder is missing.
    """
    file = io.BytesIO()
    options: dict[str, Any] = {
        "format": "MP3",
        "bitrate_mode": "CONSTANT",
        "compression_level": 0.8,
    }
    _import("soundfile").write(file, audio.mean(axis=1), rate, **options)
    return file.getvalue()


def write_wav(path: AnyPath, audio: np.ndarray, sample_rate: int = 44100) -> Path:
    """Write sound as a WAV of 16 bits, whole or not at all, and return its path.

    Args:
        path: of the WAV.
        audio: float (samples,) or (samples, channels) in [-1, 1].
        sample_rate: in Hz.

    Raises:
        OptionError: this is no sound.
    """
    audio = np.asarray(audio)
    is_sound = audio.ndim in (1, 2) and audio.dtype.kind == "f"
    # "Not at most 1" instead of "above 1": it holds for NaN, too.
    if not is_sound or not np.abs(audio).max(initial=0) <= 1:
        raise OptionError(
            "sound is floats (samples, channels) in [-1, 1]; "
            f"reshape or scale this {audio.dtype} {audio.shape}"
        )

    channels = 1 if audio.ndim == 1 else audio.shape[1]
    with write_atomically(path) as file, wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)  # bytes
        out.setframerate(int(sample_rate))
        out.writeframes(np.rint(audio * 32767).astype("<i2").tobytes())
    return Path(path)


def _import(module: str) -> Any:
    """A module of a package that pomkit can do without; PomkitError where it is missing."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as fault:
        raise PomkitError(
            f"there is no {module} ({fault}); run: pip install soundfile ipython"
        ) from fault


# Which sound plays here.


def _synth(sound: str) -> Synth | None:
    """The synthesiser that plays, None: tones.

    A soundfont that the variable POMKIT_SOUNDFONT names is the only one to try.
    """
    check_choice("sound", sound, SOUNDS)
    return _probe(sound, os.environ.get("POMKIT_SOUNDFONT", ""))


@lru_cache(maxsize=16)
def _probe(sound: str, own_font: str) -> Synth | None:
    """Look once for a synthesiser and a soundfont that play, and say where there are none."""
    if own_font and not Path(own_font).is_file():
        raise OptionError(
            f"POMKIT_SOUNDFONT names {own_font}, which is no file; name a soundfont (.sf2)"
        )
    if sound == "tones":
        return None

    faults = []
    for name, play, remedy in _synths():
        if sound not in ("auto", name.lower()):
            continue
        font, fault = _first_that_plays(play, [Path(own_font)] if own_font else _fonts())
        if font:
            return Synth(name, play, font)
        if sound != "auto":
            raise OptionError(f"{name} does not play here ({fault}); {remedy}, or choose 'auto'")
        faults.append(f"{name} does not play here ({fault}); to have it: {remedy}")

    logging.getLogger("pomkit").warning("plain tones play. %s", ". ".join(faults))
    return None


def _synths() -> list[tuple[str, Callable[[Performance, Path], np.ndarray], str]]:
    """The synthesisers in the order in which they are tried: name, how it plays, how to get it."""
    return [
        ("FluidSynth", by_fluidsynth, INSTALL_FLUIDSYNTH),
        ("midirenderer", by_midirenderer, INSTALL_MIDIRENDERER),
    ]


def _first_that_plays(
    play: Callable[[Performance, Path], np.ndarray], fonts: Iterable[Path]
) -> tuple[Path | None, str]:
    """The first soundfont with which a note is heard, and why the others do not play."""
    score = performance_of(Song(np.array([(0, 4, 69, 100, 0)], NOTE_DTYPE)), rate=22050)

    fault = "no soundfont"
    for font in fonts:
        try:
            if np.abs(play(score, font)).max() > 1e-4:
                return font, ""
            fault = f"{font} is silent"
        except (ImportError, OSError, AttributeError, RuntimeError, OptionError) as problem:
            # There is no library, or the font is damaged.
            fault = str(problem)
    return None, fault


def _fonts() -> Iterator[Path]:
    """The system's default soundfont (or its first), then the small one inside pretty_midi."""
    fonts = sorted(font for folder in FONT_FOLDERS for font in Path(folder).glob("*.sf2"))
    yield from sorted(fonts, key=lambda font: not font.stem.lower().startswith("default"))[:1]

    spec = importlib.util.find_spec("pretty_midi")
    for folder in (spec and spec.submodule_search_locations) or []:
        yield from Path(folder).glob("*.sf2")
