"""The pair head: what notes say to each other across pitch and time.

A token holds two pitches and two bars of them, and shares a small vector among them. So a network
of such tokens says well how much music is where, and poorly which pitch follows which: in its
melodies a leap is twice as likely as in real ones. The pair head says what it leaves out. Every
note, settled or expected, makes notes around it likelier or less likely, by how far off they are in
pitch and in time alone. That is a random field with pairwise terms; the answer is one of a few
rounds of its mean field: expect notes, hear what they say to each other, expect anew.

    head = PairHead(Pairs(), states=6)
    logits = head(logits, shown, composed, t)      # float (batch, 6, 128, width)

It begins at zero, so that a new pair head changes nothing. It is an option of the cells process
(`Cells`), and learns at PAIR_RATE times its network's rate.

Source: Kraehenbuehl and Koltun 2011 (arXiv 1210.5644), section 3; rounds as layers: Zheng et al.
2015 (arXiv 1502.03240).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import OptionError
from ..networks.local import LEAST_SHARE
from .states import ONSET

PAIR_RATE = 4.0
# What is heard: onsets composed so far, onsets given, sustains; onsets and sustains expected.
KNOWN = 3
EXPECTED = 2
# What is said: how much likelier a sustain becomes, and an onset.
SAID = 2


@dataclass(frozen=True)
class Pairs:
    """The shape of a pair head.

    Args:
        rows: pitches between which notes hear each other, an odd number: 25 is an octave up and
            an octave down.
        columns: steps between which they do, an odd number: 33 is a bar before and a bar after.
        rounds: how often they do, one after the other.

    Raises:
        OptionError: a value does not fit.
    """

    rows: int = 25
    columns: int = 33
    rounds: int = 2

    def __post_init__(self) -> None:
        sizes = (self.rows, self.columns, self.rounds)
        if any(type(size) is not int or size < 1 for size in sizes):
            raise OptionError(f"a pair head of {sizes}; give whole numbers of at least 1")
        if self.rows % 2 == 0 or self.columns % 2 == 0:
            raise OptionError(f"a pair head hears {self.rows} x {self.columns}; give odd numbers")


class PairHead(nn.Module):
    """Rounds of a mean field on the answer of a network.

    Args:
        config: its shape.
        states: of a cell: off, sustain, and one for each onset bin.
    """

    def __init__(self, config: Pairs, states: int) -> None:
        super().__init__()
        self.config = config
        self.states = states
        shape = (config.rounds, SAID, KNOWN + EXPECTED, config.rows, config.columns)
        self.kernels = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(config.rounds, SAID))
        # How much louder all of it is where more, or fewer, cells are hidden.
        self.loudness = nn.Parameter(torch.zeros(config.rounds, SAID))
        # The kernels' Fourier transforms, and of which weights they are.
        self.kept: tuple[tuple[Any, ...], Tensor] | None = None

    def forward(self, logits: Tensor, shown: Tensor, composed: Tensor, t: Tensor) -> Tensor:
        """The network's answer, after all notes have heard each other.

        Args:
            logits: float (batch, states, height, width), the network's answer.
            shown: float (batch, states + 1, height, width), 0 or 1: the states that it saw, the
                last of them hidden.
            composed: float (batch, 1, height, width), 0 or 1: the cells that are composed.
            t: float (batch,), the hidden share of the composed cells.

        Returns:
            float32 like `logits`.
        """
        logits = logits.float()
        known, hidden = self.known(shown.float(), composed.float())
        level = t.float().clamp(min=LEAST_SHARE).log()[:, None]  # (batch, 1)

        # All convolutions are products of Fourier transforms: the kernels are large.
        size = self.room(shown.shape[2:])
        known_waves = torch.fft.rfft2(known, s=size)
        rounds = zip(self.kernel_waves(size), self.bias, self.loudness, strict=True)
        for kernel, bias, loudness in rounds:
            expected = torch.fft.rfft2(self.expected(logits, hidden), s=size)
            heard = torch.cat([known_waves, expected], 1)
            said = self.correlated(heard, kernel, size)[..., : shown.shape[2], : shown.shape[3]]
            said = (said + bias[:, None, None]) * (1 + loudness * level)[..., None, None]

            # An onset is as much likelier at every velocity.
            off, sustain, begin = logits.split([1, 1, self.states - ONSET], 1)
            logits = torch.cat([off, sustain + said[:, :1], begin + said[:, 1:]], 1)
        return logits

    def known(self, shown: Tensor, composed: Tensor) -> tuple[Tensor, Tensor]:
        """The notes that are settled, and where nothing is; arguments as `forward`'s.

        Returns:
            Onsets composed so far, onsets given, and sustains, float (batch, KNOWN, height, width);
            the hidden cells, float (batch, 1, height, width).
        """
        off, sustain, _, hidden = shown.split([1, 1, self.states - ONSET, 1], 1)
        # Faster than a sum over all velocities.
        onset = 1 - off - sustain - hidden
        here = onset * composed
        return torch.cat([here, onset - here, sustain], 1), hidden

    def expected(self, logits: Tensor, hidden: Tensor) -> Tensor:
        """How likely an onset and a sustain are in each hidden cell; 0 where it is not hidden.

        Args:
            logits: float (batch, states, height, width).
            hidden: float (batch, 1, height, width), 0 or 1.

        Returns:
            float (batch, EXPECTED, height, width).
        """
        off, sustain, _ = logits.softmax(1).split([1, 1, self.states - ONSET], 1)
        return torch.cat([1 - off - sustain, sustain], 1) * hidden

    def kernel_waves(self, size: tuple[int, int]) -> Tensor:
        """The kernels' Fourier transforms, conjugate; kept from call to call while nothing learns.

        Args:
            size: height and width to which the kernels are filled up with zeros.

        Returns:
            complex (rounds, SAID, KNOWN + EXPECTED, height, waves).
        """
        if torch.is_grad_enabled():
            return torch.fft.rfft2(self.kernels, s=size).conj()

        # Whatever is written into the weights changes their version.
        weights = (self.kernels.data_ptr(), self.kernels._version, self.kernels.device, size)
        if self.kept is None or self.kept[0] != weights:
            self.kept = (weights, torch.fft.rfft2(self.kernels, s=size).conj())
        return self.kept[1]

    def room(self, shape: torch.Size) -> tuple[int, int]:
        """Height and width of a picture and, behind it, of what kernels see beyond its edges."""
        height, width = shape
        return (
            quick(height + self.config.rows // 2),
            quick(width + self.config.columns // 2),
        )

    def correlated(self, heard: Tensor, kernel: Tensor, size: tuple[int, int]) -> Tensor:
        """What a convolution gives, of Fourier transforms.

        Args:
            heard: complex (batch, channels, height, waves), of the picture.
            kernel: complex (said, channels, height, waves), of the kernels, conjugate.
            size: height and width of both before they were transformed.

        Returns:
            float (batch, said, *size); what is behind the picture means nothing.
        """
        # Faster than a product of matrices.
        mixed = (heard[:, None] * kernel).sum(2)
        answer = torch.fft.irfft2(mixed, s=size)
        # The kernel's middle stands over the cell that it speaks to.
        return answer.roll((self.config.rows // 2, self.config.columns // 2), (-2, -1))


def quick(length: int) -> int:
    """The first multiple of 16 from here on: of such lengths a Fourier transform is quick."""
    return -(-length // 16) * 16
