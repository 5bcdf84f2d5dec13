"""How notes become samples: by FluidSynth, by midirenderer, or by tones of our own.

A `Performance` says what is to be played and when, in samples. Each way takes one and gives the
sound, float32 (samples, 2), neither scaled nor faded:

    score = performance_of(song, rate=44100)
    audio = tones(score)
    audio = by_fluidsynth(score, font)
    audio = by_midirenderer(score, font)

FluidSynth is a library of the system. midirenderer is a wheel that holds the synthesiser
(rustysynth). Both play a soundfont. A part is played with its program, drums with their kit; plain
tones know one sound, and a knock for drums. `audio` chooses among them.
"""

import ctypes
import io
import math
import os
import sys
import threading
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError
from ..music.grid import Tempo, seconds_of
from ..music.midi_codes import DRUMS, PITCHED
from ..music.midi_write import check_tempo
from ..music.song import Song

RELEASE = 1.5  # seconds that ring on after the last note, whatever the sound
MAX_SAMPLES = 2**26  # of a channel (float32): 25 minutes at 44.1 kHz, half a gigabyte
PIANO = 0  # program of a part that names none (int)
GAIN = 1.5  # loudness of FluidSynth (float)
WHEEL_GAIN = 2.0  # with it midirenderer is as loud as FluidSynth (float)
# midirenderer always gives this rate; a tick of the file that it plays is one sample.
WHEEL_RATE = 48000  # Hz
TICKS = WHEEL_RATE // 2  # a beat, of half a second
# Volumes (controller 7) that midirenderer is asked for until nothing is cut off. The sound goes by
# their squares.
VOLUMES = (127, 64, 32, 16)
FULL = 32766  # of 16 bits: louder than this may have been cut off
_fluidsynth_lock = threading.Lock()


@dataclass(frozen=True)
class Performance:
    """What is to be played: notes with their times in samples, and the size of the sound.

    Attributes:
        notes: NOTE_DTYPE (n,).
        begin: float (n,).
        held: float (n,), how long the key is down.
        end: float (n,).
        channel: int (n,), 0-15; 9 are drums.
        program: int (n,), 0-127.
        samples: of the whole sound.
        rate: in Hz.
    """

    notes: np.ndarray
    begin: np.ndarray
    held: np.ndarray
    end: np.ndarray
    channel: np.ndarray
    program: np.ndarray
    samples: int
    rate: int


def performance_of(song: Song, rate: int, bpm: float | None = None) -> Performance:
    """A song's notes in samples, by its tempi or by one tempo.

    Args:
        song: the Song.
        rate: in Hz.
        bpm: beats a minute throughout; None: the song's tempi, 120 where it names none.

    Raises:
        OptionError: the tempo is out of its range.
    """
    # The way leads by beats, so that a time is the same number on every grid.
    notes = song.notes
    tempi = check_tempo(bpm) or song.tempi
    begin = _seconds_of(notes["onset"], tempi, song.steps_per_beat) * rate
    end = _seconds_of(notes["onset"] + notes["duration"], tempi, song.steps_per_beat) * rate

    # Pitched parts take the pitched channels in turn. What two of them share changes its program
    # before a note that needs another one.
    part = notes["part"]
    channel = np.array(PITCHED)[part % len(PITCHED)]
    is_drums = np.array(song.channels, int)[part] == DRUMS
    channel[is_drums] = DRUMS
    program = np.array(song.programs, int)[part]

    samples = round(end.max(initial=0) + RELEASE * rate)
    return Performance(notes, begin, end - begin, end, channel, program, samples, rate)


def _seconds_of(steps: np.ndarray, tempi: Sequence[Tempo], steps_per_beat: int) -> np.ndarray:
    """When steps sound, counted by beats, in seconds."""
    changes = [(step / steps_per_beat, bpm) for step, bpm in tempi]
    return seconds_of(steps / steps_per_beat, changes, 1)


def key_events(score: Performance) -> np.ndarray:
    """Ends and onsets in their order.

    At the same time ends come before onsets, else a restruck note would end at once.

    Returns:
        int (2 n, 5): time in samples, channel, pitch, velocity (0: an end), program.
    """
    notes = score.notes
    time = np.rint(np.r_[score.end, score.begin])  # (2 n,)
    velocity = np.r_[0 * notes["velocity"], notes["velocity"]]  # (2 n,)
    columns = [
        time,
        np.tile(score.channel, 2),
        np.tile(notes["pitch"], 2),
        velocity,
        np.tile(score.program, 2),
    ]
    order = np.lexsort((velocity > 0, time))
    return np.stack(columns, axis=1).astype(int)[order]


# FluidSynth


def by_fluidsynth(score: Performance, font: Path) -> np.ndarray:
    """The notes through FluidSynth, float32 (samples, 2).

    Args:
        score: what is to be played.
        font: a soundfont.

    Raises:
        OptionError: FluidSynth cannot read the soundfont.
        ImportError: there is no pyfluidsynth, or no library.
    """
    if sys.platform == "darwin" and os.path.isdir("/opt/homebrew"):
        # pyfluidsynth does not look there by itself.
        os.environ.setdefault("HOMEBREW_PREFIX", "/opt/homebrew")
    import fluidsynth

    library = ctypes.CDLL(fluidsynth.lib)
    events = key_events(score)
    audio = np.zeros((score.samples, 2), np.float32)
    with _fluidsynth_lock:
        # It would print its complaints; a failure shows in what its functions return.
        for level in (1, 2, 3):
            library.fluid_set_log_function(level, None, None)
        synth = fluidsynth.Synth(gain=GAIN, samplerate=float(score.rate))
        try:
            if synth.sfload(str(font)) < 0:
                raise OptionError(
                    f"{font} is no soundfont that FluidSynth can read; name another one"
                )
            _play(library, synth, events, audio)
        finally:
            synth.delete()
    return audio


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
    playing: dict[int, int] = {}
    for time, channel, pitch, velocity, program in events.tolist():
        write(now, time)
        if velocity and playing.get(channel) != program:
            synth.program_change(channel, program)
            playing[channel] = program
        synth.noteon(channel, pitch, velocity)
        now = time
    write(now, len(audio))


# midirenderer


def by_midirenderer(score: Performance, font: Path) -> np.ndarray:
    """The notes through midirenderer, float32 (samples, 2).

    Args:
        score: what is to be played.
        font: a soundfont.

    Raises:
        OptionError: the sound is too long for it.
        RuntimeError: it cannot read the soundfont.
        ImportError: there is no midirenderer.
    """
    import midirenderer

    ratio = WHEEL_RATE / score.rate
    seconds = score.samples / score.rate
    if seconds * WHEEL_RATE > MAX_SAMPLES:
        raise OptionError(
            f"{seconds / 60:.0f} minutes of sound are too many for midirenderer; "
            "cut the song, or choose sound 'tones'"
        )

    # What is too loud is cut off at 16 bits. Then all of it is asked for once more, softer.
    data = font.read_bytes()
    for volume in VOLUMES:
        sound = midirenderer.render_wave_from(data, _midi_of(score, ratio, volume))
        with wave.open(io.BytesIO(sound)) as file:
            frames = file.readframes(file.getnframes())
        levels = np.frombuffer(frames, "<i2").reshape(-1, 2)  # (samples, 2)
        if not len(levels) or max(levels.max(), -int(levels.min())) < FULL:
            break
    return _resampled(levels, score, WHEEL_GAIN / 32768 * (VOLUMES[0] / volume) ** 2)


def _midi_of(score: Performance, ratio: float, volume: int) -> bytes:
    """A score as a MIDI file whose ticks are samples of WHEEL_RATE."""
    import mido

    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500_000)])
    for channel in np.unique(score.channel).tolist():
        for control, value in ((7, volume), (11, 127)):
            track.append(
                mido.Message("control_change", channel=channel, control=control, value=value)
            )

    now = 0
    playing: dict[int, int] = {}
    for time, channel, pitch, velocity, program in key_events(score).tolist():
        if velocity and playing.get(channel) != program:
            track.append(mido.Message("program_change", channel=channel, program=program))
            playing[channel] = program
        tick = round(time * ratio)
        key = {"channel": channel, "note": pitch, "velocity": velocity}
        # The change of program stands before the pause, which changes nothing that sounds on.
        track.append(mido.Message("note_on", time=tick - now, **key))
        now = tick

    track.append(mido.MetaMessage("end_of_track", time=round(score.samples * ratio) - now))
    out = io.BytesIO()
    mido.MidiFile(type=0, ticks_per_beat=TICKS, tracks=[track]).save(file=out)
    return out.getvalue()


def _resampled(levels: np.ndarray, score: Performance, gain: float) -> np.ndarray:
    """Sound of 16 bits (samples, 2) from WHEEL_RATE to the score's rate and length, float32."""
    from scipy.signal import resample_poly

    common = math.gcd(score.rate, WHEEL_RATE)
    audio = np.zeros((score.samples, 2), np.float32)
    for side in range(2):
        sound = levels[:, side] * np.float32(gain)  # (samples,)
        if score.rate != WHEEL_RATE:
            sound = resample_poly(sound, score.rate // common, WHEEL_RATE // common)
        length = min(len(sound), score.samples)
        audio[:length, side] = sound[:length]
    return audio


# Our own tones


def tones(score: Performance) -> np.ndarray:
    """Our own sound, float32 (samples, 2): decaying tones, low ones left, high ones right."""
    pitches = score.notes["pitch"]
    start = np.rint(score.begin).astype(int)
    # After 20 seconds a tone is not heard any more.
    held = np.rint(score.held).astype(int).clip(1, 20 * score.rate)

    # A key that is let go damps its string.
    damp = np.exp(-np.arange(score.rate // 4) / (0.05 * score.rate))

    # The notes of one pitch are cut from one tone.
    audio = np.zeros((score.samples, 2), np.float32)
    is_drums = score.channel == DRUMS
    kinds = np.unique(np.stack([pitches, is_drums]), axis=1).T  # (kinds, 2)
    for pitch, drums in kinds.tolist():
        same = np.flatnonzero((pitches == pitch) & (is_drums == drums))
        length = held[same].max() + len(damp)
        tone = _knock(pitch, length, score.rate) if drums else _tone(pitch, length, score.rate)
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


def _knock(pitch: int, samples: int, rate: int) -> np.ndarray:
    """A drum, float (samples, 2): noise that dies away in a tenth of a second."""
    noise = np.random.default_rng(pitch).uniform(-0.7, 0.7, samples)
    knock = noise * np.exp(-np.arange(samples) / (0.03 * rate))
    return np.stack([knock, knock], axis=1)  # (samples, 2)
