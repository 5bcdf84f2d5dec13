"""Songs as sound: FluidSynth where its library and a soundfont are found, else tones of our own; `sound_name()` says which.
FluidSynth is tried with one note before it is trusted: its library may be missing, or a font damaged."""

import ctypes
import importlib.util
import io
import logging
import os
import sys
import threading
import wave
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError, PomkitError, check_choice, check_range
from ..files import AnyPath, write_atomically
from ..music.picture import parse
from ..music.song import Song
from ..music.tables import NOTE_DTYPE, TEMPI

SOUNDS = ("auto", "fluidsynth", "tones")
RELEASE = 1.5  # seconds that ring on after the last note, whatever the sound
MAX_SAMPLES = 2**26  # a channel: 25 minutes at 44.1 kHz, half a gigabyte
QUIETEST, LOUDEST = 0.05, 0.95  # peaks outside are scaled to these; between them velocity decides
LISTEN_RATE = 22050  # Hz; `listen` embeds 40 kbit/s: 5 kB a second, 6.7 kB in a notebook's text
FONT_FOLDERS = (
    "/usr/share/sounds/sf2",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
    f"{sys.prefix}/share/soundfonts",
)
PIANO, GAIN = 0, 1.5  # MIDI program; FluidSynth's loudness
_fluidsynth_lock = threading.Lock()


def synthesize(
    music: Song | np.ndarray,
    sample_rate: int = 44100,
    bpm: float = 120,
    sound: str = "auto",
    *,
    steps_per_beat: int = 4,
) -> np.ndarray:
    """The sound of a Song or a picture, every part on a piano: float32 (samples, 2), stereo, in [-1, 1].
    It lasts to the end of the last note and `RELEASE` seconds more; it peaks at 0.05 to 0.95 (0: no notes). `sample_rate` in Hz
    (8000 to 96000), `bpm` in beats a minute, `steps_per_beat` of a picture (a Song knows its own). `sound`: "fluidsynth",
    "tones" (sine waves that decay) or "auto", the first of these that works. Raises OptionError, PictureError."""
    song = music if isinstance(music, Song) else parse(music, steps_per_beat=steps_per_beat)
    check_range("sample_rate", sample_rate, 8000, 96000, unit="Hz")
    check_range("bpm", bpm, *TEMPI)
    rate, onset, duration = int(sample_rate), song.notes["onset"], song.notes["duration"]
    # In samples, by way of beats: a time is the same number on every grid.
    begin, held, end = (
        steps / song.steps_per_beat * (60 / bpm) * rate
        for steps in (onset, duration, onset + duration)
    )
    samples = round(end.max(initial=0) + RELEASE * rate)
    if samples > MAX_SAMPLES:
        raise OptionError(
            f"{samples / rate / 60:.0f} minutes of sound are too many; cut the song, or lower sample_rate"
        )
    font = _font(sound)
    if not len(song.notes):
        return np.zeros((samples, 2), np.float32)
    audio = (
        _fluidsynth(song.notes, begin, end, samples, rate, font)
        if font
        else _tones(song.notes, begin, held, samples, rate)
    )
    audio[-(rate // 20) :] *= np.linspace(1, 0, rate // 20, dtype=np.float32)[
        :, None
    ]  # no click at the end
    peak = max(float(np.abs(audio).max()), 1e-9)
    return audio * np.float32(np.clip(peak, QUIETEST, LOUDEST) / peak)


def sound_name(sound: str = "auto") -> str:
    """What `synthesize` plays with on this machine, "FluidSynth, TimGM6mb" or "plain tones"; OptionError."""
    font = _font(sound)
    return f"FluidSynth, {font.resolve().stem}" if font else "plain tones"


def listen(
    music: Song | np.ndarray, bpm: float = 120, sound: str = "auto", *, steps_per_beat: int = 4
) -> Any:
    """A player for a notebook (IPython's Audio), the sound embedded as MP3, mono, 5 kB a second; prints which sound it is.
    Options and errors are those of `synthesize`, and PomkitError where the encoder or IPython is missing."""
    audio = synthesize(music, LISTEN_RATE, bpm, sound, steps_per_beat=steps_per_beat)
    player = _needed("IPython.display").Audio(data=mp3(audio))
    player.mimetype = "audio/mpeg"  # IPython takes any bytes for a WAV
    print(f"sound: {sound_name(sound)}; {len(audio) / LISTEN_RATE:.1f} s")
    return player


def mp3(audio: np.ndarray, rate: int = LISTEN_RATE) -> bytes:
    """Sound, float (samples, channels) in [-1, 1], as MP3, mono, 5 kB a second; PomkitError where the encoder is missing."""
    file = io.BytesIO()
    options: dict[str, Any] = {
        "format": "MP3",
        "bitrate_mode": "CONSTANT",
        "compression_level": 0.8,
    }
    _needed("soundfile").write(file, audio.mean(axis=1), rate, **options)
    return file.getvalue()


def _needed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as fault:
        raise PomkitError(
            f"there is no {module} ({fault}); run: pip install soundfile ipython"
        ) from fault


def write_wav(path: AnyPath, audio: np.ndarray, sample_rate: int = 44100) -> Path:
    """Write sound, float (samples,) or (samples, channels) in [-1, 1], atomically as a WAV; OptionError."""
    audio = np.asarray(audio)
    if (
        audio.ndim not in (1, 2) or audio.dtype.kind != "f" or not np.abs(audio).max(initial=0) <= 1
    ):  # NaN is caught too
        raise OptionError(
            f"sound is floats (samples, channels) in [-1, 1]; reshape or scale this {audio.dtype} {audio.shape}"
        )
    with write_atomically(path) as file, wave.open(file, "wb") as out:
        out.setparams(
            (1 if audio.ndim == 1 else audio.shape[1], 2, int(sample_rate), 0, "NONE", "")
        )  # 2 bytes a sample
        out.writeframes(np.rint(audio * 32767).astype("<i2").tobytes())
    return Path(path)


def _font(sound: str) -> Path | None:
    """The soundfont that FluidSynth plays, None: tones. One that the variable POMKIT_SOUNDFONT names is the only one to try."""
    return _probe(sound, os.environ.get("POMKIT_SOUNDFONT", ""))


@lru_cache(maxsize=16)
def _probe(sound: str, own_font: str) -> Path | None:
    check_choice("sound", sound, SOUNDS)
    if own_font and not Path(own_font).is_file():
        raise OptionError(
            f"POMKIT_SOUNDFONT names {own_font}, which is no file; name a soundfont (.sf2)"
        )
    if sound == "tones":
        return None
    note = np.array([(0, 4, 69, 100, 0)], NOTE_DTYPE)
    fault = "no soundfont"
    for font in [Path(own_font)] if own_font else _fonts():
        try:
            if (
                np.abs(
                    _fluidsynth(note, note["onset"], np.array([11025]), 22050, 22050, font)
                ).max()
                > 1e-4
            ):
                return font
            fault = f"{font} is silent"
        except (
            ImportError,
            OSError,
            AttributeError,
            OptionError,
        ) as problem:  # no library or a bad font
            fault = str(problem)
    advice = "pip install pyfluidsynth, and apt install fluidsynth, brew install fluid-synth or conda install fluidsynth"
    if sound == "fluidsynth":
        raise OptionError(
            f"FluidSynth does not play here ({fault}); {advice}, or choose sound 'auto'"
        )
    logging.getLogger("pomkit").warning(
        "FluidSynth does not play here (%s), plain tones do. To have it: %s", fault, advice
    )
    return None


def _fonts() -> Iterator[Path]:
    """The system's default soundfont (or its first), then the small one that ships inside pretty_midi."""
    found = sorted(font for folder in FONT_FOLDERS for font in Path(folder).glob("*.sf2"))
    yield from sorted(found, key=lambda font: not font.stem.lower().startswith("default"))[:1]
    spec = importlib.util.find_spec("pretty_midi")
    for folder in (spec and spec.submodule_search_locations) or []:
        yield from Path(folder).glob("*.sf2")


def _fluidsynth(
    notes: np.ndarray, begin: np.ndarray, end: np.ndarray, samples: int, rate: int, font: Path
) -> np.ndarray:
    """Notes through FluidSynth, which writes the samples between two events straight into their place."""
    if sys.platform == "darwin" and os.path.isdir(
        "/opt/homebrew"
    ):  # pyfluidsynth must be told of it
        os.environ.setdefault("HOMEBREW_PREFIX", "/opt/homebrew")
    import fluidsynth

    library, pointer = ctypes.CDLL(fluidsynth.lib), ctypes.c_void_p
    channel = notes["part"] % 15 + (notes["part"] % 15 > 8)  # channel 9 is the drums'
    loud = np.r_[0 * notes["velocity"], notes["velocity"]]  # a velocity of 0 ends a note
    events = np.stack(
        [np.rint(np.r_[end, begin]), *np.tile([channel, notes["pitch"]], 2), loud], axis=1
    ).astype(int)
    events = events[
        np.lexsort((loud > 0, events[:, 0]))
    ]  # at the same time ends come before onsets
    out = np.zeros((samples, 2), np.float32)
    left, right = (pointer(out.ctypes.data + 4 * side) for side in (0, 1))
    with _fluidsynth_lock:
        for level in (1, 2, 3):  # a failure shows in what it returns
            library.fluid_set_log_function(level, None, None)
        synth = fluidsynth.Synth(gain=GAIN, samplerate=float(rate))
        try:
            number = synth.sfload(str(font))
            if number < 0:
                raise OptionError(f"{font} is no soundfont that FluidSynth can read")
            for c in np.unique(channel).tolist():
                synth.program_select(c, number, 0, PIANO)
            now = 0
            for time, c, pitch, velocity in [*events.tolist(), (samples, 0, 0, 0)]:
                place = (
                    left,
                    2 * now,
                    2,
                    right,
                    2 * now,
                    2,
                )  # pointer, offset, stride of each side
                library.fluid_synth_write_float(pointer(synth.synth), time - now, *place)
                synth.noteon(c, pitch, velocity)
                now = time
        finally:
            synth.delete()
    return out


def _tones(
    notes: np.ndarray, begin: np.ndarray, held: np.ndarray, samples: int, rate: int
) -> np.ndarray:
    """Our own sound: five decaying harmonics a note, low notes on the left and high ones on the right."""
    out = np.zeros((samples, 2), np.float32)
    start, held = (
        np.rint(begin).astype(int),
        np.rint(held).astype(int).clip(1, 20 * rate),
    )  # inaudible by then
    damp = np.exp(-np.arange(rate // 4) / (0.05 * rate))[:, None]  # once the key is let go
    for pitch in np.unique(notes["pitch"]).tolist():
        same = np.flatnonzero(notes["pitch"] == pitch)
        t = np.arange(held[same].max() + len(damp)) / rate
        f = 440 * 2 ** ((pitch - 69) / 12)
        wave_ = sum(
            0.5**k * np.sin(2 * np.pi * k * f * t) * np.exp(-t * (0.6 * k + f / 700))
            for k in range(1, 6)
            if k * f < rate / 2
        )
        pan = np.pi / 2 * np.interp(pitch, (21, 108), (0.2, 0.8))  # constant power
        tone = np.outer(wave_ * np.minimum(t / 0.005, 1), (np.cos(pan), np.sin(pan)))  # (t, 2)
        for i in same.tolist():
            note = tone[: held[i] + len(damp)] * 0.8 * (notes["velocity"][i] / 127) ** 1.5
            note[held[i] :] *= damp
            out[start[i] : start[i] + len(note)] += note[: samples - start[i]]
    return out
