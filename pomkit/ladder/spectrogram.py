"""Spectrogram diffusion: notes to sound. A network draws the log-mel spectrogram of a picture.

Gaussian noise on spectrograms, with edm's preconditioning, loss and samplers. The network is told
the notes, and the spectrogram of the window before. It draws sound and composes no notes: it
answers no mask of a picture. Columns of its own picture, the spectrogram, it can fill (`mel`).

    mel = model.draw(picture, seed=1)            # float32 (80, 4 * width)
    audio = audio_of(mel, model.scale)           # float32 (samples,), by Griffin-Lim, see `sound`

The laws: silence in, silence out; frames that are given come back as they were.

    python -m pomkit.train --process spectrogram --own '{"sounds": "runs/sounds.safetensors"}'

Source: Hawthorne et al. 2022 (arXiv 2206.05408), whose decoder has 1,000 steps of DDPM and cross
attention where this one has edm's sampler and a convolution.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.windows import Window
from ..errors import OptionError, check_whole
from ..music.pixels import check_picture
from ..music.tables import BAR
from ..play.synths import RELEASE
from ..processes.densities import sample_sigma
from ..processes.edm import denoising_loss, scalings
from ..processes.samplers import repaint
from ..processes.schedules import karras_sigmas
from .recordings import take_of
from .restoring import joined_groups, small_hdit
from .sound import COLUMN, FRAMES, MEL_CENTRE, MEL_SPREAD, SOUND_RATE, MelScale, check_mel
from .system import OFF, ONSET, ROW_COUNT, ROWS, WINDOW, System, window_cells, with_beginnings

MEL_SIGMA_MIN = 0.01
MEL_SIGMA_MAX = 20.0
SIGMA_DENSITY = "lognormal:-1.2,1.3"
CALLS_OF_DRAWING = 20
# So many training windows are not told the window before.
FIRST_SHARE = 0.15
# What is told of a cell: that a note begins, that one sounds.
NOTE_PLANES = 2
# A note is heard for so long after its end.
RINGING = int(RELEASE * SOUND_RATE / COLUMN)  # columns


class Drawing(nn.Module):
    """A network for spectrograms: convolutions spread the notes over bins, an HDiT does the rest.

    Args:
        bins: of the spectrogram.
        kinds: channels between the two convolutions.
        planes: spectrograms that the notes are spread to; the first one is added to the answer.
        width: channels of a token.
        depth: layers.
        patch: a token's (bins, frames).
    """

    def __init__(
        self,
        *,
        bins: int,
        kinds: int,
        planes: int,
        width: int,
        depth: int,
        patch: tuple[int, int],
    ) -> None:
        super().__init__()
        self.bins = bins
        first = nn.Conv1d(NOTE_PLANES * ROW_COUNT, kinds, 3, padding=1)
        self.spread = nn.Sequential(first, nn.GELU(), nn.Conv1d(kinds, planes * bins * FRAMES, 1))
        # It sees the noisy picture, the notes, the window before, and whether that is known.
        self.draw = small_hdit(1 + planes + 2, width, depth, patch, answers=1, noise="linear")

    def param_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The optimiser's groups of parameters, see `HDiT.param_groups`."""
        return joined_groups(self.draw, [self.spread], weight_decay)

    def forward(self, x: Tensor, c_noise: Tensor, notes: Tensor, previous: Tensor) -> Tensor:
        """The network's answer F, float (batch, 1, bins, frames).

        Args:
            x: float (batch, 1, bins, frames), scaled.
            c_noise: float (batch,).
            notes: float (batch, 2, 64, columns): where notes begin, where they sound.
            previous: float (batch, bins, frames), about the centre; NaN where it is not known.
        """
        spread = self.spread(notes.flatten(1, 2))  # (batch, planes * bins * 4, columns)
        spread = spread.unflatten(1, (-1, self.bins, FRAMES))  # (batch, planes, bins, 4, columns)
        heard = spread.movedim(3, -1).flatten(-2)  # (batch, planes, bins, frames)

        # Mirrored, the end of the window before lies at the beginning of this one.
        mirrored = previous.flip(-1)[:, None]
        known = ~mirrored.isnan()
        seen = [x, heard, mirrored.masked_fill(~known, 0), known.to(x)]
        return heard[:, :1] + self.draw(torch.cat(seen, dim=1), c_noise)


class SpectrogramDiffusion(System):
    """A system that draws the sound of notes."""

    process = "spectrogram"
    methods = {"draw": CALLS_OF_DRAWING}
    options = frozenset(["calls", "method"])
    sizes = {
        "tiny": {"kinds": 56, "planes": 2, "width": 64, "depth": 3, "patch": (8, 8)},
        "toy": {"kinds": 16, "planes": 1, "width": 32, "depth": 1, "patch": (16, 32)},
    }
    traits = {"bins": MelScale().bins}
    sigma_data = MEL_SPREAD

    def build(self, **numbers: Any) -> nn.Module:
        """The network; `numbers`: arguments of `Drawing`."""
        return Drawing(**numbers)

    @property
    def scale(self) -> MelScale:
        """The mel scale on which it draws."""
        return MelScale(self.own["bins"])

    def forward(self, x: Tensor, sigma: Tensor, *, notes: Tensor, previous: Tensor) -> Tensor:
        """Denoise spectrograms: EDM's c_skip x + c_out F(c_in x), about the centre.

        Args:
            x: float (batch, 1, bins, frames), with noise of standard deviation sigma.
            sigma: float (batch,), above 0.
            notes: float (batch, 2, 64, columns), see `note_planes`.
            previous: float (batch, bins, frames), the window before, NaN where it is not known.

        Returns:
            float like `x`.
        """
        x = x - MEL_CENTRE
        levels = sigma.float().reshape(-1, 1, 1, 1)  # (batch, 1, 1, 1)
        c_skip, c_out, c_in = scalings(levels, self.sigma_data)
        output = self.network(c_in * x, sigma.float().log() / 4, notes, previous - MEL_CENTRE)
        return c_skip * x + c_out * output.float() + MEL_CENTRE

    @torch.inference_mode()
    def draw(
        self,
        picture: np.ndarray,
        *,
        calls: int = CALLS_OF_DRAWING,
        seed: int = 0,
        mel: Any = None,
        sampler: str = "heun",
    ) -> np.ndarray:
        """Draw the log-mel spectrogram of a picture, window by window, each told the one before.

        Args:
            picture: uint8 (128, width, 3); notes outside of the pitches 32 to 95 are not heard.
            calls: noise levels of a window.
            seed: of the noise.
            mel: float (bins, 4 * width): frames that are known, the others NaN; None: none is.
            sampler: see `samplers.get_sampler`.

        Returns:
            float32 (bins, 4 * width), in [-1, 1].

        Raises:
            PictureError: this is no picture.
            OptionError: an option does not fit.
        """
        check_picture(picture)
        check_whole("calls", calls, 1, 1000)
        cells = window_cells(picture)
        width = cells.shape[1]
        wanted = np.full((self.scale.bins, FRAMES * width), np.nan, np.float32)
        if mel is not None:
            given = check_mel(mel, self.scale)[:, : FRAMES * width]
            wanted[:, : given.shape[1]] = given

        # What no note reaches is silent, and is known to be.
        silent = np.repeat(~audible(cells), FRAMES)  # (frames,)
        wanted[:, silent & np.isnan(wanted).any(axis=0)] = -1

        generator = torch.Generator().manual_seed(seed)
        how = {"generator": generator, "sampler": sampler}
        sigmas = karras_sigmas(calls, MEL_SIGMA_MIN, MEL_SIGMA_MAX).to(self.device)
        for start in range(0, width, WINDOW):
            self.draw_window(wanted, cells, start, sigmas=sigmas, how=how)
        return wanted.clip(-1, 1)

    def draw_window(
        self,
        mel: np.ndarray,
        cells: np.ndarray,
        start: int,
        *,
        sigmas: Tensor,
        how: Mapping[str, Any],
    ) -> None:
        """Fill the unknown frames of one window, in place.

        Args:
            mel: float32 (bins, frames) of the whole picture, NaN where it is not known.
            cells: int64 (64, width).
            start: the window's first column.
            sigmas: float (calls + 1,), the levels of noise.
            how: options of `samplers.repaint`.
        """
        frames = slice(FRAMES * start, FRAMES * min(start + WINDOW, cells.shape[1]))
        wanted = padded(mel[:, frames], FRAMES * WINDOW, after=-1)
        unknown = np.isnan(wanted).any(axis=0)
        before = mel[:, max(frames.start - FRAMES * WINDOW, 0) : frames.start]

        # What the network is told.
        notes = note_planes(padded(cells[:, start : start + WINDOW], WINDOW, after=OFF))
        previous = padded(before, FRAMES * WINDOW, before=np.nan)
        told = {}
        for name, each in (("notes", notes), ("previous", previous)):
            told[name] = torch.from_numpy(each)[None].to(self.device)

        x0 = torch.from_numpy(np.where(unknown, 0, wanted))[None, None].to(self.device)
        mask = torch.from_numpy(unknown).to(self.device)
        x = repaint(partial(self.__call__, **told), x0, mask, sigmas, middle=MEL_CENTRE, **how)
        drawn = x[0, 0].clamp(-1, 1).cpu().numpy()  # (bins, frames)
        mel[:, frames] = drawn[:, : frames.stop - frames.start]

    # The process contract.

    def check_mask(self, mask: np.ndarray) -> None:
        """Raise OptionError for every mask, bool (128, width), that asks for notes."""
        if mask[ROWS].any():
            raise OptionError(
                "spectrogram models answer no mask: they draw sound, not notes; call "
                "model.draw(picture), or give the mask to a model of another process"
            )

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """A spectrogram, noise and its level, and what is told; see `Process.example`.

        Spectrograms and noise are float32 (1, bins, frames), the one before (bins, frames), the
        notes (2, 64, 64).
        """
        take = take_of(window, rng, options.own.get("sounds", ""), self.scale)
        starts = np.arange(0, take.cells.shape[1] - WINDOW + 1, BAR)
        start = int(rng.choice(starts))
        here = take.part(start)
        before = take.mel[:, FRAMES * max(start - WINDOW, 0) : FRAMES * start]
        if rng.random() < FIRST_SHARE:
            before = before[:, :0]

        noise = rng.standard_normal((1, *here.mel.shape), np.float32)
        sigma = sample_sigma(SIGMA_DENSITY, torch.tensor(u)).numpy()
        notes = note_planes(with_beginnings(here.cells))
        previous = padded(before, FRAMES * WINDOW, before=np.nan)
        told = {"notes": notes, "previous": previous}
        return {"x0": here.mel[None], "noise": noise, "sigma": sigma} | told

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """The weighted denoising error, float (batch,)."""
        told = {name: batch[name] for name in ("notes", "previous")}
        return denoising_loss(forward, batch["x0"], batch["noise"], batch["sigma"], "unit", **told)

    @classmethod
    def from_options(cls, options: Any) -> System:
        """A model with fresh weights for a training run; `sounds` is of the run alone."""
        own = {name: value for name, value in options.own.items() if name != "sounds"}
        return super().from_options(replace(options, own=own))


def note_planes(cells: np.ndarray) -> np.ndarray:
    """Where notes begin and where they sound: float32 (2, 64, width) of cells, (64, width)."""
    return np.stack([cells == ONSET, cells != OFF]).astype(np.float32)  # (2, 64, width)


def audible(cells: np.ndarray) -> np.ndarray:
    """The columns in which a note sounds or rings, bool (width,), of cells, int64 (64, width)."""
    sounding = np.flatnonzero((cells != OFF).any(axis=0))
    heard = np.zeros(cells.shape[1] + RINGING + 1, bool)
    for later in range(RINGING + 1):
        heard[sounding + later] = True
    return heard[: cells.shape[1]]


def padded(array: np.ndarray, width: int, **beyond: float) -> np.ndarray:
    """An array (..., n) of n columns, at most `width`, as one of `width`, filled up on one side.

    Args:
        array: what is filled up.
        width: columns.
        beyond: `before` or `after`: what stands there.
    """
    missing = width - array.shape[-1]
    sides = [(0, 0)] * (array.ndim - 1) + [(missing, 0) if "before" in beyond else (0, missing)]
    (value,) = beyond.values()
    return np.pad(array, sides, constant_values=value)
