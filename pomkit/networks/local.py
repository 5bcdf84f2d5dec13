"""The local head: what holds for single pixels, said at full resolution.

A token of 2 x 32 pixels cannot say "a sustain follows its onset" for each of its 64 pixels. Two
convolutions along time can: they see what came into the network and what it answers, and add to
the answer. The last one begins at zero, so that a new local head changes nothing.

    head = LocalHead(Local(), in_channels=12, out_channels=6)
    answer = head(x, network(x, c_noise), c_noise)     # float (batch, 6, 128, width)

It is an option of every HDiT (`HDiTConfig.local`), and learns at LOCAL_RATE times its rate.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError, check_choice

# Rows and columns of a picture, with start and stop.
Part = tuple[slice, slice]

LOCAL_RATE = 4.0
# A share of hidden cells is counted from here on.
LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Local:
    """The shape of a local head.

    Args:
        width: channels between the two convolutions.
        look: columns that the first one sees, an odd number.
        say: columns that the second one sees, an odd number.
        noise: how it takes the noise condition: "log" of it, where that is a share above 0, or
            "linear", where it is a logarithm already.

    Raises:
        OptionError: a value does not fit.
    """

    width: int = 32
    look: int = 9
    say: int = 7
    noise: str = "log"

    def __post_init__(self) -> None:
        sizes = (self.width, self.look, self.say)
        if any(type(size) is not int or size < 1 for size in sizes):
            raise OptionError(f"a local head of {sizes}; give whole numbers of at least 1")
        if self.look % 2 == 0 or self.say % 2 == 0:
            raise OptionError(f"a local head sees {self.look} and {self.say}; give odd numbers")
        check_choice("noise of a local head", self.noise, ("log", "linear"))


class LocalHead(nn.Module):
    """Two convolutions along time, on the input and the output of a network.

    Args:
        config: its shape.
        in_channels: of the network's input.
        out_channels: of the network's output.
    """

    def __init__(self, config: Local, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.config = config
        seen = in_channels + out_channels
        self.look = nn.Conv2d(seen, config.width, (1, config.look), padding=(0, config.look // 2))
        self.noise = nn.Linear(1, config.width)
        self.say = nn.Conv2d(
            config.width, out_channels, (1, config.say), padding=(0, config.say // 2)
        )
        for parameter in (*self.say.parameters(), *self.noise.parameters()):
            nn.init.zeros_(parameter)

    def forward(
        self, x: Tensor, output: Tensor, c_noise: Tensor, part: Part | None = None
    ) -> Tensor:
        """The network's answer, with the rules of single pixels.

        Args:
            x: float (batch, in_channels, height, width), what came into the network.
            output: float (batch, out_channels, height, width), its answer.
            c_noise: float (batch,), its noise condition.
            part: the rows and columns of interest; the rest stays as the network has it. None: all.

        Returns:
            float like `output`.
        """
        if part is not None:
            return self.within(x, output, c_noise, part)
        level = c_noise.float()
        if self.config.noise == "log":
            level = level.clamp(min=LEAST_SHARE).log()
        shift = self.noise(level[:, None])[..., None, None]  # (batch, width, 1, 1)
        # On a CPU a convolution is twice as fast where the channels of a pixel stand together.
        seen = torch.cat([x, output], 1).contiguous(memory_format=torch.channels_last)
        hidden = self.look(seen).add_(shift)
        # So is GELU seven times as fast: it runs along memory.
        by_pixel = hidden.permute(0, 2, 3, 1)  # (batch, height, width, channels)
        by_channel = F.gelu(by_pixel).permute(0, 3, 1, 2)  # (batch, channels, height, width)
        return output + self.say(by_channel)

    def within(self, x: Tensor, output: Tensor, c_noise: Tensor, part: Part) -> Tensor:
        """The same in a part of the picture only, which costs less.

        Args:
            x: float (batch, in_channels, height, width).
            output: float (batch, out_channels, height, width).
            c_noise: float (batch,).
            part: rows and columns.
        """
        rows, columns = part
        # As far as both convolutions look, what stands beside the columns is seen.
        beside = self.config.look // 2 + self.config.say // 2
        first = max(columns.start - beside, 0)
        around = slice(first, columns.stop + beside)
        said = self(x[..., rows, around], output[..., rows, around], c_noise)

        answer = output.clone()
        start = columns.start - first
        stop = columns.stop - first
        answer[..., rows, columns] = said[..., start:stop]
        return answer
