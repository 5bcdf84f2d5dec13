"""Songs as sound: by FluidSynth where it plays, else by tones of our own.

    audio = synthesize(song)               # float32 (samples, 2)
    write_wav("song.wav", audio)
    listen(song)                           # a player in a notebook; says which sound it is

FluidSynth needs its library and a soundfont. Neither is trusted before one note has been heard: the
library may be missing, a font damaged. What plays on this machine says `sound_name`. The same music
has the same samples every time, and a tune the same on every grid.
"""

import ctypes
import importlib.util
import io
import logging
import os
import sys
import threading
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError, PomkitError, check_choice, check_range
from ..files import AnyPath, write_atomically
from ..music.picture import parse
from ..music.pixels import Picture
from ..music.song import Song
from ..music.tables import NOTE_DTYPE, TEMPI

SOUNDS = ("auto", "fluidsynth", "tones")
RELEASE = 1.5  # seconds that ring on after the last note, whatever the sound
MAX_SAMPLES = 2**26  # of a channel (float32): 25 minutes at 44.1 kHz, half a gigabyte
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
PIANO = 0  # MIDI program (int)
GAIN = 1.5  # loudness of FluidSynth (float)
INSTALL_FLUIDSYNTH = (
    "pip install pyfluidsynth, and apt install fluidsynth, brew install fluid-synth "
    "or conda install fluidsynth"
)
_fluidsynth_lock = threading.Lock()


def synthesize(
    music: Song | Picture,
    sample_rate: int = 44100,
    bpm: float = 120,
    sound: str = "auto",
    *,
    steps_per_beat: int = 4,
) -> np.ndarray:
    """The sound of music, every part on a piano.

    It lasts to the end of the last note and `RELEASE` seconds more. Its peak is 0.05 to 0.95, and 0
    where there are no notes.

    Args:
        music: a Song, or a picture, uint8 (128, width, 3).
        sample_rate: in Hz, 8000 to 96000.
        bpm: beats a minute.
        sound: "fluidsynth", "tones" (sine waves that decay), or "auto", the first that works.
        steps_per_beat: of a picture (a Song knows its own).

    Returns:
        float32 (samples, 2), left and right, in [-1, 1].

    Raises:
        OptionError: a value is out of its range, the sound is too long or not to be had.
        PictureError: this is no picture.
    """
    song = music if isinstance(music, Song) else parse(music, steps_per_beat=steps_per_beat)
    check_range("sample_rate", sample_rate, 8000, 96000, unit="Hz")
    check_range("bpm", bpm, *TEMPI, unit="beats per minute")
    rate = int(sample_rate)
    score = _score(song, bpm, rate)
    if score.samples > MAX_SAMPLES:
        raise OptionError(
            f"{score.samples / rate / 60:.0f} minutes of sound are too many; "
            "cut the song, or lower sample_rate"
        )

    font = _font(sound)
    if not len(song.notes):
        return np.zeros((score.samples, 2), np.float32)
    audio = _fluidsynth(score, font) if font else _tones(score)

    # The last 50 ms fade out, else the end would click.
    fade = np.linspace(1, 0, rate // 20, dtype=np.float32)
    audio[-len(fade) :] *= fade[:, None]  # (samples, 2)

    peak = max(float(np.abs(audio).max()), 1e-9)
    return audio * np.float32(np.clip(peak, QUIETEST, LOUDEST) / peak)


def sound_name(sound: str = "auto") -> str:
    """What `synthesize` plays with, "FluidSynth, TimGM6mb" or "plain tones"; OptionError."""
    font = _font(sound)
    return f"FluidSynth, {font.resolve().stem}" if font else "plain tones"


def listen(
    music: Song | Picture, bpm: float = 120, sound: str = "auto", *, steps_per_beat: int = 4
) -> Any:
    """A player for a notebook; prints which sound it is.

    The sound is embedded as MP3, mono, 5 kB a second.

    Args:
        music: a Song, or a picture, uint8 (128, width, 3).
        bpm: beats a minute.
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


def _font(sound: str) -> Path | None:
    """The soundfont that FluidSynth plays, None: tones.

    One that the variable POMKIT_SOUNDFONT names is the only one to try.
    """
    return _probe(sound, os.environ.get("POMKIT_SOUNDFONT", ""))


@lru_cache(maxsize=16)
def _probe(sound: str, own_font: str) -> Path | None:
    """Look once for a soundfont that FluidSynth plays, and say where there is none."""
    check_choice("sound", sound, SOUNDS)
    if own_font and not Path(own_font).is_file():
        raise OptionError(
            f"POMKIT_SOUNDFONT names {own_font}, which is no file; name a soundfont (.sf2)"
        )
    if sound == "tones":
        return None

    font, fault = _first_that_plays([Path(own_font)] if own_font else _fonts())
    if font:
        return font
    if sound == "fluidsynth":
        raise OptionError(
            f"FluidSynth does not play here ({fault}); {INSTALL_FLUIDSYNTH}, or choose sound 'auto'"
        )
    logging.getLogger("pomkit").warning(
        "FluidSynth does not play here (%s), plain tones do. To have it: %s",
        fault,
        INSTALL_FLUIDSYNTH,
    )
    return None


def _first_that_plays(fonts: Iterable[Path]) -> tuple[Path | None, str]:
    """The first soundfont with which FluidSynth makes a note heard, and why the others do not."""
    note = np.array([(0, 4, 69, 100, 0)], NOTE_DTYPE)
    begin = np.array([0])
    end = np.array([11025])
    score = _Score(note, begin, end, end, samples=22050, rate=22050)

    fault = "no soundfont"
    for font in fonts:
        try:
            if np.abs(_fluidsynth(score, font)).max() > 1e-4:
                return font, ""
            fault = f"{font} is silent"
        except (ImportError, OSError, AttributeError, OptionError) as problem:
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


# How the two sounds are made.


@dataclass(frozen=True)
class _Score:
    """What is to be played: notes with their times in samples, and the size of the sound."""

    notes: np.ndarray  # NOTE_DTYPE (n,)
    begin: np.ndarray  # float (n,)
    held: np.ndarray  # float (n,), how long the key is down
    end: np.ndarray  # float (n,)
    samples: int
    rate: int  # Hz


def _score(song: Song, bpm: float, rate: int) -> _Score:
    """A song's notes in samples.

    The way leads by beats, so that a time is the same number on every grid.
    """

    def samples_of(steps: np.ndarray) -> np.ndarray:
        return steps / song.steps_per_beat * (60 / bpm) * rate

    onset = song.notes["onset"]
    duration = song.notes["duration"]
    end = samples_of(onset + duration)
    samples = round(end.max(initial=0) + RELEASE * rate)
    return _Score(song.notes, samples_of(onset), samples_of(duration), end, samples, rate)


def _fluidsynth(score: _Score, font: Path) -> np.ndarray:
    """The notes through FluidSynth, float32 (samples, 2)."""
    if sys.platform == "darwin" and os.path.isdir("/opt/homebrew"):
        # pyfluidsynth does not look there by itself.
        os.environ.setdefault("HOMEBREW_PREFIX", "/opt/homebrew")
    import fluidsynth

    library = ctypes.CDLL(fluidsynth.lib)
    events = _events(score)
    audio = np.zeros((score.samples, 2), np.float32)
    with _fluidsynth_lock:
        # It would print its complaints; a failure shows in what its functions return.
        for level in (1, 2, 3):
            library.fluid_set_log_function(level, None, None)
        synth = fluidsynth.Synth(gain=GAIN, samplerate=float(score.rate))
        try:
            _load_pianos(synth, font, np.unique(events[:, 1]).tolist())
            _play(library, synth, events, audio)
        finally:
            synth.delete()
    return audio


def _events(score: _Score) -> np.ndarray:
    """Ends and onsets in their order, int (2 n, 4): time in samples, channel, pitch, velocity.

    An end has velocity 0. At the same time ends come before onsets, else a restruck note would end
    at once.
    """
    notes = score.notes
    channel = notes["part"] % 15
    channel = channel + (channel > 8)  # (n,); channel 9 is the drums'

    time = np.rint(np.r_[score.end, score.begin])  # (2 n,)
    velocity = np.r_[0 * notes["velocity"], notes["velocity"]]  # (2 n,)
    columns = [time, np.tile(channel, 2), np.tile(notes["pitch"], 2), velocity]
    order = np.lexsort((velocity > 0, time))
    return np.stack(columns, axis=1).astype(int)[order]


def _load_pianos(synth: Any, font: Path, channels: list[int]) -> None:
    """Load a soundfont and give every channel its piano; OptionError where it cannot be read."""
    number = synth.sfload(str(font))
    if number < 0:
        raise OptionError(f"{font} is no soundfont that FluidSynth can read; name another one")
    for channel in channels:
        synth.program_select(channel, number, 0, PIANO)


def _play(library: Any, synth: Any, events: np.ndarray, audio: np.ndarray) -> None:
    """Let FluidSynth write the samples between events straight into `audio`, (samples, 2)."""
    pointer = ctypes.c_void_p(synth.synth)
    left = ctypes.c_void_p(audio.ctypes.data)
    right = ctypes.c_void_p(audio.ctypes.data + 4)  # bytes

    def write(begin: int, end: int) -> None:
        # Left and right alternate: either side begins at 2 * begin and goes on by 2.
        places = (left, 2 * begin, 2, right, 2 * begin, 2)
        library.fluid_synth_write_float(pointer, end - begin, *places)

    now = 0
    for time, channel, pitch, velocity in events.tolist():
        write(now, time)
        synth.noteon(channel, pitch, velocity)
        now = time
    write(now, len(audio))


def _tones(score: _Score) -> np.ndarray:
    """Our own sound, float32 (samples, 2): decaying tones, low ones left, high ones right."""
    pitches = score.notes["pitch"]
    start = np.rint(score.begin).astype(int)
    # After 20 seconds a tone is not heard any more.
    held = np.rint(score.held).astype(int).clip(1, 20 * score.rate)

    # A key that is let go damps its string.
    damp = np.exp(-np.arange(score.rate // 4) / (0.05 * score.rate))

    # The notes of one pitch are cut from one tone.
    audio = np.zeros((score.samples, 2), np.float32)
    for pitch in np.unique(pitches).tolist():
        same = np.flatnonzero(pitches == pitch)
        tone = _tone(pitch, held[same].max() + len(damp), score.rate)
        for i in same.tolist():
            loudness = (score.notes["velocity"][i] / 127) ** 1.5
            note = tone[: held[i] + len(damp)] * 0.8 * loudness
            note[held[i] :] *= damp[:, None]  # (samples, 2)
            end = start[i] + len(note)
            audio[start[i] : end] += note[: score.samples - start[i]]
    return audio


def _tone(pitch: int, samples: int, rate: int) -> np.ndarray:
    """A key that is held, float (samples, 2): five harmonics, the higher the sooner gone."""
    t = np.arange(samples) / rate  # (samples,), seconds
    f = 440 * 2 ** ((pitch - 69) / 12)  # Hz
    tone = np.zeros(samples)
    for k in range(1, 6):
        # Above half the rate a harmonic would come back as another pitch.
        if k * f < rate / 2:
            decay = np.exp(-t * (0.6 * k + f / 700))
            tone += 0.5**k * np.sin(2 * np.pi * k * f * t) * decay
    tone *= np.minimum(t / 0.005, 1)

    # Constant power: the squares of both sides add up to 1.
    angle = np.pi / 2 * np.interp(pitch, (21, 108), (0.2, 0.8))
    return np.outer(tone, (np.cos(angle), np.sin(angle)))
