"""Sound as a picture: log-mel spectrograms, and sound made of them again.

A spectrogram says how loud each frequency is in each moment. Here a column of a picture, an eighth
of a second at 120 BPM, has `FRAMES` moments, and frequencies are gathered in mel bins: fine below,
coarse above, as we hear. Loudness is a logarithm, brought from `FAINTEST` to 1 into [-1, 1].

    audio = sound_of(picture)                  # float32 (samples,), 16 kHz, a column is 2,000
    mel = log_mel(audio)                       # float32 (80, 4 * width)
    again = audio_of(mel)                      # float32 (samples,), by Griffin-Lim

Two things are lost on the way: phases, which `griffin_lim` finds again as well as it can, and
what lies inside a mel bin. Laws: silence in, silence out; frames 4 c to 4 c + 3 are of column c.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError, check_range, check_whole
from ..music.picture import parse
from ..play.audio import synthesize

SOUND_RATE = 16000  # Hz
TEMPO = 120.0  # BPM: so a column of 16ths is an eighth of a second
COLUMN = 2000  # (samples)
FRAMES = 4  # of a column (int)
HOP = COLUMN // FRAMES  # (samples)
FRAME_SIZE = 2048  # samples that a frame sees, and the size of the Fourier transform (int)
FREQUENCIES = FRAME_SIZE // 2 + 1  # of the Fourier transform, from 0 Hz to half the rate (int)
FAINTEST = 1e-4  # of an amplitude of 1: what is softer is silence (float)
# Of POP909's spectrograms, between -1 and 1: their mean, and how far they are from it.
MEL_CENTRE = -0.4
MEL_SPREAD = 0.4
ITERATIONS = 32
# The share of the last change that Griffin-Lim goes on by. At 0 it is the plain one.
MOMENTUM = 0.99


@dataclass(frozen=True)
class MelScale:
    """Which frequencies are heard, and how finely.

    Args:
        bins: how many.
        low: where the first one begins, in Hz.
        high: where the last one ends, in Hz.

    Raises:
        OptionError: a number does not fit.
    """

    bins: int = 80
    low: float = 30.0
    high: float = 8000.0

    def __post_init__(self) -> None:
        check_whole("bins of a mel scale", self.bins, 1, FREQUENCIES)
        check_range("the top of a mel scale", self.high, 1, SOUND_RATE / 2, unit="Hz")
        check_range("the foot of a mel scale", self.low, 0, self.high - 1, unit="Hz")

    def to_dict(self) -> dict[str, Any]:
        """The scale as JSON can hold it; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MelScale":
        """Read what `to_dict` wrote; OptionError for other fields."""
        try:
            return cls(**values)
        except TypeError as fault:
            raise OptionError(f"{dict(values)} is no mel scale; give what to_dict wrote") from fault


USUAL_SCALE = MelScale()


def hz_of_mel(mel: Tensor) -> Tensor:
    """The frequencies of places on the mel scale, in Hz, float like `mel`.

    Source: O'Shaughnessy 1987, Speech Communication; the inverse of 2595 log10(1 + f / 700).
    """
    return 700 * (10 ** (mel / 2595) - 1)


def mel_of_hz(frequency: Tensor) -> Tensor:
    """The places of frequencies, in Hz, on the mel scale, float like `frequency`."""
    return 2595 * (1 + frequency / 700).log10()


@lru_cache(maxsize=8)
def mel_bank(scale: MelScale = USUAL_SCALE) -> Tensor:
    """How much of each frequency falls into each mel bin: triangles, as high as 1.

    A triangle rises from the centre of the one before and falls to that of the next.

    Args:
        scale: which bins.

    Returns:
        float32 (bins, 1025).
    """
    low, high = mel_of_hz(torch.tensor([scale.low, scale.high], dtype=torch.float64)).tolist()
    edges = hz_of_mel(torch.linspace(low, high, scale.bins + 2, dtype=torch.float64))
    frequency = torch.linspace(0, SOUND_RATE / 2, FREQUENCIES, dtype=torch.float64)

    centre = edges[1:-1, None]
    rising = (frequency - edges[:-2, None]) / (centre - edges[:-2, None])
    falling = (edges[2:, None] - frequency) / (edges[2:, None] - centre)
    return torch.minimum(rising, falling).clamp(min=0).float()


@lru_cache(maxsize=8)
def bank_inverse(scale: MelScale = USUAL_SCALE) -> Tensor:
    """The best linear way back from mel bins to frequencies, float32 (1025, bins)."""
    return torch.linalg.pinv(mel_bank(scale).double()).float()


def stft(audio: Tensor) -> Tensor:
    """The short-time Fourier transform: of each frame, the sine waves that it is made of.

    Frame f is centred on sample f * HOP. A sine wave of amplitude 1 has about 1/2.

    Args:
        audio: float (..., samples), of whole columns.

    Returns:
        complex (..., 1025, frames).
    """
    window = torch.hann_window(FRAME_SIZE)
    flat = audio.reshape(-1, audio.shape[-1])  # (n, samples)
    how: Any = {"window": window, "pad_mode": "constant", "return_complex": True}
    # The frame behind the last column is no one's.
    waves = torch.stft(flat, FRAME_SIZE, HOP, **how)[..., :-1] / window.sum()
    return waves.reshape(*audio.shape[:-1], *waves.shape[1:])  # (..., 1025, frames)


def istft(waves: Tensor) -> Tensor:
    """The inverse of `stft`: complex (..., 1025, frames) -> float (..., samples)."""
    window = torch.hann_window(FRAME_SIZE)
    frames = waves.shape[-1]
    flat = waves.reshape(-1, FREQUENCIES, frames) * window.sum()  # (n, 1025, frames)
    audio = torch.istft(flat, FRAME_SIZE, HOP, window=window, length=frames * HOP)
    return audio.reshape(*waves.shape[:-2], -1)  # (..., samples)


def log_mel(audio: Tensor | np.ndarray, scale: MelScale = USUAL_SCALE) -> Tensor:
    """The log-mel spectrogram of sound.

    Args:
        audio: float (..., samples) at 16 kHz, in [-1, 1]; what is no whole column is cut off.
        scale: which bins.

    Returns:
        float32 (..., bins, frames), in [-1, 1]; silence is -1.

    Raises:
        OptionError: this is no sound, or less than a column.
    """
    audio = torch.as_tensor(audio).float()
    columns = audio.shape[-1] // COLUMN if audio.ndim else 0
    if columns < 1:
        raise OptionError(
            f"sound of shape {tuple(audio.shape)} has no column; give floats (samples,), "
            f"{COLUMN} for each column"
        )
    waves = stft(audio[..., : columns * COLUMN])
    return to_log(mel_bank(scale) @ waves.abs())


def to_log(amplitude: Tensor) -> Tensor:
    """Amplitudes as loudness: FAINTEST and below becomes -1, 1 and above becomes 1; float like."""
    quietest = torch.tensor(FAINTEST).log()
    return 1 - 2 * amplitude.clamp(FAINTEST, 1).log() / quietest


def from_log(loudness: Tensor) -> Tensor:
    """The inverse of `to_log`, but -1 and below is no sound at all: 0; float like `loudness`."""
    quietest = torch.tensor(FAINTEST).log()
    amplitude = ((1 - loudness.clamp(-1, 1)) / 2 * quietest).exp()
    return amplitude * (loudness > -1)


def magnitudes_of(mel: Tensor, scale: MelScale = USUAL_SCALE) -> Tensor:
    """The frequencies' amplitudes that a log-mel spectrogram asks for.

    Args:
        mel: float (..., bins, frames), in [-1, 1].
        scale: which bins they are.

    Returns:
        float (..., 1025, frames), at least 0.
    """
    return (bank_inverse(scale) @ from_log(mel)).clamp(min=0)


def griffin_lim(
    magnitude: Tensor,
    iterations: int = ITERATIONS,
    *,
    momentum: float = MOMENTUM,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sound of given magnitudes: take the phases that the sound itself has, again and again.

    Args:
        magnitude: float (..., 1025, frames), at least 0.
        iterations: how often.
        momentum: how far each change is carried on; 0 is the plain algorithm, whose spectral
            convergence never rises.
        generator: of the first phases.

    Returns:
        float (..., samples).

    Source: Griffin and Lim 1984, IEEE TASSP 32(2); with momentum: Perraudin et al. 2013, WASPAA.
    """
    turns = torch.rand(magnitude.shape, generator=generator)
    phase = torch.polar(torch.ones_like(magnitude), 2 * torch.pi * turns.to(magnitude))
    before = torch.zeros_like(phase)
    for _ in range(iterations):
        heard = stft(istft(magnitude * phase))
        onward = heard + momentum * (heard - before)
        phase = onward / onward.abs().clamp(min=1e-12)
        before = heard
    return istft(magnitude * phase)


def spectral_convergence(audio: Tensor, magnitude: Tensor) -> float:
    """How far the magnitudes of sound are from those asked for: 0 is there, 1 is silence.

    Args:
        audio: float (..., samples).
        magnitude: float (..., 1025, frames).
    """
    return float((stft(audio).abs() - magnitude).norm() / magnitude.norm().clamp(min=1e-12))


def audio_of(
    mel: Tensor | np.ndarray,
    scale: MelScale = USUAL_SCALE,
    *,
    iterations: int = ITERATIONS,
    seed: int = 0,
) -> np.ndarray:
    """The sound of a log-mel spectrogram.

    Args:
        mel: float (bins, frames), in [-1, 1].
        scale: which bins they are.
        iterations: of Griffin-Lim.
        seed: of its first phases.

    Returns:
        float32 (samples,), in [-1, 1], `HOP` samples for each frame.
    """
    magnitude = magnitudes_of(torch.as_tensor(mel).float(), scale)
    generator = torch.Generator().manual_seed(seed)
    return griffin_lim(magnitude, iterations, generator=generator).clamp(-1, 1).numpy()


def sound_of(picture: np.ndarray, sound: str = "auto") -> np.ndarray:
    """What a picture sounds like, from its first column to its last one.

    Args:
        picture: uint8 (128, width, 3), on a grid of 16ths.
        sound: as in `pomkit.synthesize`.

    Returns:
        float32 (2000 width,), at 16 kHz.

    Raises:
        OptionError: the sound is unknown or too long.
        PictureError: this is no picture.
    """
    both = synthesize(parse(picture), SOUND_RATE, TEMPO, sound)  # (samples, 2)
    audio = np.zeros(picture.shape[1] * COLUMN, np.float32)
    length = min(len(both), len(audio))
    audio[:length] = both[:length].mean(axis=1)
    return audio


def mel_of(
    picture: np.ndarray, scale: MelScale = USUAL_SCALE, *, sound: str = "auto"
) -> np.ndarray:
    """The log-mel spectrogram of a picture's sound.

    Args:
        picture: uint8 (128, width, 3).
        scale: which bins.
        sound: as in `pomkit.synthesize`.

    Returns:
        float32 (bins, 4 width), in [-1, 1].

    Raises:
        OptionError: the sound is unknown or too long.
        PictureError: this is no picture.
    """
    return log_mel(sound_of(picture, sound), scale).numpy()


def spectral_flux(mel: np.ndarray) -> float:
    """How much a spectrogram changes from frame to frame: the mean rise of a bin.

    What is blurred in time has less of it, whatever its error is.

    Args:
        mel: float (..., bins, frames).
    """
    return float(np.diff(mel, axis=-1).clip(min=0).mean())


def seconds_of_columns(columns: int) -> float:
    """How long so many columns sound, in seconds."""
    return columns * COLUMN / SOUND_RATE


def check_mel(mel: Any, scale: MelScale) -> np.ndarray:
    """A spectrogram as an option: float32 (bins, frames), NaN where it is unknown.

    Args:
        mel: what was given.
        scale: which bins it should have.

    Raises:
        OptionError: it has another shape, or holds other values.
    """
    try:
        values = np.array(mel, np.float32)
    except (TypeError, ValueError):
        values = np.zeros(0, np.float32)
    if values.ndim != 2 or len(values) != scale.bins or values.shape[1] % FRAMES:
        raise OptionError(
            f"mel is {np.shape(values)}; give float ({scale.bins}, {FRAMES} * width), "
            "as sound.log_mel makes it, NaN where it is unknown"
        )
    if np.nanmax(np.abs(values), initial=0) > 1:
        raise OptionError("mel leaves [-1, 1]; give what sound.log_mel makes, NaN where unknown")
    return values
