"""DiffRoll: music restored from its sound; with the sound left out, composed.

The network of `restoring` is told a log-mel spectrogram. With all cells hidden that is
transcription; with cells and sound known in part it fills the gap; without sound it composes. In
training spans of the spectrogram are left out, and whole ones: the original left out whole ones
alone, and met gaps first when it was used. Cells that are known stay as they are.

    mel = log_mel(sound)                                  # float32 (80, 4 * width), see `sound`
    inpaint(model, picture, masks.everything(picture), mel=mel)       # transcription
    mel[:, 64:128] = np.nan                               # columns 16 to 31 are not heard

The law: where the sound is not known, the answer does not depend on it. It learns the sound of one
synthesiser and one soundfont, and does not carry over to recordings of real pianos.

    python -m pomkit.train --process diffroll --own '{"sounds": "runs/sounds.safetensors"}'

Source: Cheuk et al. 2023 (DiffRoll, arXiv 2210.05148); with absorbing noise, as here: Kim et al.
2025 (D3RM, arXiv 2501.05068).
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.windows import Window
from ..music.tables import BAR
from ..processes.contract import Options
from ..processes.uncover import CALLS
from .recordings import take_of
from .restoring import Restorer, cell_channels, joined_groups, small_hdit
from .sound import FRAMES, MEL_CENTRE, MEL_SPREAD, MelScale, check_mel
from .system import (
    CELL_STATES,
    ONSET,
    ROW_COUNT,
    ROWS,
    WINDOW,
    Request,
    System,
    with_beginnings,
)

# Of the training windows so many are told no sound, and so many a sound with gaps.
DEAF_SHARE = 0.15
GAPS_SHARE = 0.25
WIDEST_GAP = WINDOW // 2  # columns
# In so many windows all cells are hidden alike, as in transcription; else in a mask.
WHOLE_SHARE = 0.5


class Hearing(nn.Module):
    """A network that says the states of hidden cells, told the sound.

    Convolutions along time make of the sound what it says of each cell by itself, logits, and
    planes beside them; an HDiT sees the planes and the cells, and adds what the surroundings say.
    A weighted sum of three columns of sound goes straight to the logits of onsets: with one
    synthesiser it says most by itself, and it is learned first.

    Args:
        bins: of the spectrogram.
        ears: channels of the convolutions.
        planes: that the HDiT sees.
        width: channels of its tokens.
        depth: its layers.
        patch: cells of a token, (pitch, time).
    """

    def __init__(
        self, *, bins: int, ears: int, planes: int, width: int, depth: int, patch: tuple[int, int]
    ) -> None:
        super().__init__()
        first = nn.Conv1d(FRAMES * (bins + 1), ears, 3, padding=1)
        second = nn.Conv1d(ears, ears, 3, padding=1)
        last = nn.Conv1d(ears, (CELL_STATES + planes) * ROW_COUNT, 1)
        self.direct = nn.Conv1d(FRAMES * (bins + 1), ROW_COUNT, 3, padding=1)
        self.listen = nn.Sequential(first, nn.GELU(), second, nn.GELU(), last)
        self.surroundings = small_hdit(1 + CELL_STATES + planes, width, depth, patch)

    def param_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """The optimiser's groups of parameters, see `HDiT.param_groups`."""
        return joined_groups(self.surroundings, [self.listen, self.direct], weight_decay)

    def forward(self, cells: Tensor, mel: Tensor, t: Tensor) -> Tensor:
        """Say how likely each state of each cell is.

        Args:
            cells: int64 (batch, 64, 64), states, or HIDDEN.
            mel: float (batch, bins, 256), NaN where it is not known.
            t: float (batch,), the hidden share of the region.

        Returns:
            Logits, float (batch, 3, 64, 64).
        """
        sound = by_columns(mel)
        heard = self.listen(sound).unflatten(1, (-1, ROW_COUNT))  # (batch, 3 + planes, 64, 64)
        seen = torch.cat([cell_channels(cells, heard), heard[:, CELL_STATES:]], dim=1)

        logits = heard[:, :CELL_STATES] + self.surroundings(seen, t)
        logits[:, ONSET] += self.direct(sound)
        return logits


def by_columns(mel: Tensor) -> Tensor:
    """A spectrogram as one vector a column: the frames' bins, and whether each frame is known.

    Args:
        mel: float (batch, bins, frames), NaN where it is not known.

    Returns:
        float (batch, values, columns), 4 * (bins + 1) values, about 0 and as far from it as 1;
        what is not known is 0, the mean.
    """
    known = ~mel.isnan().any(1, keepdim=True)  # (batch, 1, frames)
    even = (mel - MEL_CENTRE) / MEL_SPREAD
    planes = torch.cat([even.masked_fill(~known, 0), known.to(mel)], dim=1)
    apart = planes.unflatten(-1, (-1, FRAMES))  # (batch, bins + 1, columns, 4)
    return apart.movedim(-1, 1).flatten(1, 2)  # (batch, values, columns)


class DiffRoll(Restorer):
    """A system that transcribes, fills gaps, continues and composes.

    With `--own '{"once": true}'` it learns to answer in one call: all cells are always hidden, and
    all sound is known. That is the plain transcriber, with which DiffRoll was compared.
    """

    process = "diffroll"
    methods = {"uncover": CALLS, "once": 1}
    options = Restorer.options | {"mel"}
    sizes = {
        "tiny": {"ears": 44, "planes": 4, "width": 64, "depth": 2, "patch": (2, 8)},
        "toy": {"ears": 32, "planes": 2, "width": 32, "depth": 1, "patch": (8, 8)},
    }
    traits = {"bins": MelScale().bins, "once": False}

    def build(self, **numbers: Any) -> nn.Module:
        """The network; `numbers`: arguments of `Hearing`, and `once`, which changes nothing."""
        return Hearing(**{name: each for name, each in numbers.items() if name != "once"})

    @property
    def scale(self) -> MelScale:
        """The mel scale that it hears on."""
        return MelScale(self.own["bins"])

    def forward(self, cells: Tensor, told: Tensor, t: Tensor) -> Tensor:
        """Logits, float (batch, 3, 64, 64), of cells (batch, 64, 64); see `Hearing.forward`.

        Args:
            cells: states, or HIDDEN.
            told: the spectrogram, float (batch, bins, 256), NaN where it is not known.
            t: float (batch,), the hidden share.
        """
        return self.network(cells, told, t).float()

    def untold(self, cells: Tensor) -> Tensor:
        """No sound: NaN, float (batch, bins, 256), for cells (batch, 64, 64)."""
        shape = (len(cells), self.scale.bins, FRAMES * WINDOW)
        return torch.full(shape, torch.nan, device=cells.device)

    def told_of(self, cells: Tensor, request: Request) -> Tensor:
        """The sound of the window's columns, float (batch, bins, 256); see `Restorer.told_of`."""
        told = self.untold(cells)
        mel = request.options.own.get("mel")
        if mel is None:
            return told

        # The picture's columns that the window has.
        start = request.options.start
        first = max(start, 0)
        last = min(start + WINDOW, mel.shape[1] // FRAMES)
        here = slice(FRAMES * (first - start), FRAMES * max(last - start, first - start))
        there = slice(FRAMES * first, FRAMES * max(last, first))
        told[..., here] = torch.from_numpy(mel[:, there]).to(told)
        return told

    def check(self, options: Options) -> Options:
        """The options, with the spectrogram checked; OptionError."""
        own = dict(options.own)
        if "mel" in own:
            own["mel"] = check_mel(own["mel"], self.scale)
        return replace(super().check(options), own=own)

    def learned(
        self, window: Window, rng: np.random.Generator, options: Any
    ) -> dict[str, np.ndarray]:
        """The cells, the region, (64, 64) each, and the sound; see `Restorer.learned`."""
        take = take_of(window, rng, options.own.get("sounds", ""), self.scale)
        starts = np.arange(0, take.cells.shape[1] - WINDOW + 1, BAR)
        take = take.part(int(rng.choice(starts)))
        lesson = {"cells": with_beginnings(take.cells), "told": take.mel}

        whole = rng.random() < WHOLE_SHARE or self.own["once"]
        columns = min(WINDOW, window.mask.shape[1])
        lesson["mask"] = np.full((ROW_COUNT, WINDOW), whole)
        lesson["mask"][:, :columns] |= window.mask[ROWS, :columns]
        if not self.own["once"]:
            lesson["told"] = with_gaps(take.mel, rng)
        return lesson

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """As `Restorer.example`; to answer in one call, all cells are hidden.

        Args:
            window: see `Process.example`, as the others; arrays are (64, 64).
            u: how little is hidden.
            rng: for what is drawn.
            options: the `TrainOptions` of the run.
        """
        return super().example(window, 0.0 if self.own["once"] else u, rng, options)

    @classmethod
    def from_options(cls, options: Any) -> System:
        """A model with fresh weights for a training run; `sounds` is of the run alone."""
        own = {name: value for name, value in options.own.items() if name != "sounds"}
        return super().from_options(replace(options, own=own))


def with_gaps(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A spectrogram as a training window is told it: whole, with gaps, or not at all.

    Args:
        mel: float32 (bins, frames).
        rng: decides.

    Returns:
        float32 (bins, frames), NaN where it is not told.
    """
    told = mel.copy()
    chance = rng.random()
    if chance < DEAF_SHARE:
        told[:] = np.nan
    elif chance < DEAF_SHARE + GAPS_SHARE:
        for _ in range(rng.integers(1, 3)):
            width = int(rng.integers(1, WIDEST_GAP + 1))
            start = int(rng.integers(0, WINDOW - width + 1))
            told[:, FRAMES * start : FRAMES * (start + width)] = np.nan
    return told
