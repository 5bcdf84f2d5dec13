"""Autoregressive systems: each cell, or each token, given all before it. Their likelihood is exact.

- `PixelCNN` reads cells in one of two orders: in time (column by column, from low to high), or in
  raster order (pitch by pitch, from high to low), as the first one read pixels. Two stacks of gated
  convolutions see all that came before and nothing else.
- `TokenTransformer` reads a text of tokens (`tokens`) with attention that knows how far back each
  token is.

    model = PixelCNN(order="time")
    bits = model.bits(cells)               # float (batch,), of whole windows

The laws: what is said of a cell has no gradient from it or from later ones; the probabilities of
all pictures sum to 1; tokens that the grammar, or the known cells, forbid have probability 0.

Sources: van den Oord et al. 2016 (gated PixelCNN, arXiv 1606.05328); Salimans et al. 2017
(PixelCNN++, 1701.05517); Huang et al. 2018 (Music Transformer, 1809.04281).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.windows import Window
from ..errors import check_choice, check_whole
from ..networks.attention import FeedForward, RMSNorm, linear
from ..processes.contract import Options
from ..processes.states import OFF, SUSTAIN
from .answering import MOST_CALLS, STAGES, clamp, effective_size, particles, resampled
from .system import CELL_STATES, ROW_COUNT, WINDOW, Request, System
from .tokens import (
    END,
    VOCABULARY,
    Reading,
    decode_tokens,
    encode_tokens,
    token_columns,
)

READING_ORDERS = ("time", "raster")
# The logit of what cannot be: a sustain that follows no note.
NEVER_LOGIT = -30.0
# Particles of each picture, where nobody asks for another number.
PARTICLES = 16
# Tokens that are drawn for a window at most.
MOST_TOKENS = 1024
MOST_PARTICLES = 1024


class Autoregressive(System):
    """What both kinds share: any mask by clamping or by particles, and exact bits."""

    answers = {"continuation": "N", "any": "PC"}
    options = System.options | {"particles"}
    likelihood = "exact"

    def check(self, options: Options) -> Options:
        """The options as they are; OptionError for a number of particles that cannot be."""
        check_whole("particles", options.own.get("particles", PARTICLES), 1, MOST_PARTICLES)
        return options


# PixelCNN.


class GatedLayer(nn.Module):
    """One layer of both stacks: `above` sees the rows before, `beside` this row so far, and above.

    Args:
        width: channels.
        dilation: how far apart the cells are that a convolution sees.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.look_above = nn.Conv2d(width, 2 * width, (2, 3), dilation=dilation)
        self.look_beside = nn.Conv2d(width, 2 * width, (1, 2), dilation=dilation)
        self.tell_beside = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, above: Tensor, beside: Tensor) -> tuple[Tensor, Tensor]:
        """The two stacks, float (batch, width, h, w) each, one layer on."""
        reach = self.dilation
        rows = self.look_above(F.pad(above, (reach, reach, reach, 0)))
        row = self.look_beside(F.pad(beside, (reach, 0, 0, 0))) + self.tell_beside(rows)
        return above + gated(rows), beside + self.out(gated(row))


def gated(x: Tensor) -> Tensor:
    """tanh of one half of the channels times sigmoid of the other: (batch, width, h, w)."""
    value, gate = x.chunk(2, dim=1)
    return value.tanh() * gate.sigmoid()


class TwoStacks(nn.Module):
    """Logits of each cell of a picture from the cells before it: rows from the top, left to right.

    Args:
        width: channels.
        dilations: of the layers.
        rows: of the pictures.
        columns: of the pictures.
    """

    def __init__(
        self, width: int, dilations: Sequence[int], rows: int = ROW_COUNT, columns: int = WINDOW
    ) -> None:
        super().__init__()
        self.first_above = nn.Conv2d(CELL_STATES, width, (1, 3))
        self.first_beside = nn.Conv2d(CELL_STATES, width, (1, 1))
        # Where a cell is: pitches differ, and so do the steps of a bar.
        self.row = nn.Parameter(torch.zeros(width, rows, 1))
        self.column = nn.Parameter(torch.zeros(width, 1, columns))
        self.layers = nn.ModuleList(GatedLayer(width, dilation) for dilation in dilations)
        self.out = nn.Conv2d(width, CELL_STATES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float (batch, 3, h, w), of one-hot cells like them."""
        # Shifted by a row, and by a column: no cell sees itself.
        place = self.row + self.column
        above = self.first_above(F.pad(x, (1, 1, 1, 0))[:, :, :-1]) + place
        beside = self.first_beside(F.pad(x, (1, 0))[..., :-1]) + above
        for layer in self.layers:
            above, beside = layer(above, beside)
        return self.out(F.gelu(beside))


class PixelCNN(Autoregressive):
    """Cells one after the other, in time or in raster order; a system of the ladder."""

    process = "pixelcnn"
    methods = {"particles": STAGES * MOST_CALLS, "clamp": MOST_CALLS}
    sizes = {
        "tiny": {"width": 24, "dilations": (1, 2, 4, 8, 16, 1)},
        "toy": {"width": 8, "dilations": (1,)},
    }
    traits = {"order": "time"}

    def build(self, width: int, dilations: Sequence[int], order: str) -> nn.Module:
        """Two stacks, and the order in which they read.

        Args:
            width: channels.
            dilations: of the layers.
            order: one of `READING_ORDERS`.

        Raises:
            OptionError: there is no such order.
        """
        check_choice("order", order, READING_ORDERS)
        return TwoStacks(width, dilations)

    def turned(self, x: Tensor) -> Tensor:
        """Cells, or what is said of them, (..., 64, 64), as the network reads them: like them."""
        return x.mT.flip(-1) if self.own["order"] == "time" else x

    def turned_back(self, x: Tensor) -> Tensor:
        """The inverse of `turned`, (..., 64, 64)."""
        return x.flip(-1).mT if self.own["order"] == "time" else x

    @property
    def order(self) -> Tensor:
        """The place of each cell in the order, int64 (64, 64)."""
        places = torch.arange(ROW_COUNT * WINDOW).reshape(ROW_COUNT, WINDOW)  # (64, 64)
        return self.turned_back(places)

    def forward(self, cells: Tensor) -> Tensor:
        """Logits of each cell, float (batch, 3, 64, 64), from those before it, int64 (batch, ...).

        In both orders the cell one step earlier is known: after silence there is no sustain.
        """
        one_hot = F.one_hot(cells, CELL_STATES).movedim(-1, 1).float()  # (batch, 3, 64, 64)
        # With its states side by side in memory, bfloat16 convolutions have gradients of NaN.
        read = self.turned(one_hot).contiguous()
        logits = self.turned_back(self.network(read).float())
        return possible(logits, cells)

    def fill(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """Fill the masked cells, bool (64, 64), of int64 (batch, 64, 64)."""
        options = request.options
        known = torch.where(mask, OFF, cells)
        how: dict[str, Any] = {"generator": request.generator, "tell": request.tell}
        how |= {"calls": options.calls, "temperature": options.temperature}
        if options.method == "clamp":
            return clamp(self, known, mask, **how)
        count = options.own.get("particles", PARTICLES)
        order = self.order.to(mask.device)
        return particles(self, known, mask, order, count=count, **how)[0]

    def bits(self, cells: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The exact bits of windows, int64 (batch, 64, 64): float (batch,)."""
        nats = F.cross_entropy(self(cells), cells, reduction="none")
        return nats.flatten(1).sum(1) / math.log(2)  # (batch,)

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """Bits per cell, float (batch,)."""
        nats = F.cross_entropy(forward(batch["cells"]), batch["cells"], reduction="none")
        return nats.flatten(1).mean(1) / math.log(2)  # (batch,)


def possible(logits: Tensor, cells: Tensor) -> Tensor:
    """Logits without sustains that follow silence.

    Args:
        logits: float (batch, 3, h, w).
        cells: int64 (batch, h, w).
    """
    after_silence = F.pad(cells, (1, -1), value=OFF) == OFF
    is_sustain = torch.arange(CELL_STATES, device=cells.device) == SUSTAIN
    impossible = after_silence[:, None] & is_sustain[:, None, None]
    return logits.masked_fill(impossible, NEVER_LOGIT)


# Tokens.


def skew(scores: Tensor) -> Tensor:
    """Turn products with distances into products with places.

    Args:
        scores: float (..., m, t), of the last m of t tokens with the embedding of each distance,
            from t - 1 to 0.

    Returns:
        float (..., m, t), with the token at each place. What stands at later places is no product.

    Source: Huang et al. 2018 (arXiv 1809.04281), section 3.4.1.
    """
    rows, columns = scores.shape[-2:]
    padded = F.pad(scores, (1, 0))  # (..., m, t + 1)
    row = padded.flatten(-2)  # (..., cells)
    return row[..., rows:].unflatten(-1, (rows, columns))  # (..., m, t)


class RelativeAttention(nn.Module):
    """Causal self-attention in which every distance has an embedding that is learned.

    Args:
        width: channels of a token.
        heads: of attention.
        reach: the farthest distance that has an embedding of its own, and one more.
    """

    def __init__(self, width: int, heads: int, reach: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = RMSNorm(width)
        self.qkv = linear(width, 3 * width)
        self.out = linear(width, width)
        self.distance = nn.Parameter(torch.randn(heads, reach, width // heads) * 0.02)

    def forward(self, x: Tensor, past: list[Tensor]) -> Tensor:
        """x plus what its tokens have seen.

        Args:
            x: float (batch, m, width), the last tokens.
            past: keys and values of those before, float (batch, heads, t - m, d) each, or nothing;
                those of x are added.
        """
        m = x.shape[1]
        qkv = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1))  # (batch, m, 3, heads, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (batch, heads, m, d) each
        if past:
            k = torch.cat([past[0], k], 2)
            v = torch.cat([past[1], v], 2)
        past[:] = [k, v]

        # Farther than the farthest is as far as that.
        t = k.shape[2]
        far = torch.arange(t - 1, -1, -1, device=x.device).clamp(max=self.distance.shape[1] - 1)
        scores = q @ k.mT + skew(q @ self.distance[:, far].mT)
        is_later = torch.ones(m, t, dtype=torch.bool, device=x.device).triu(t - m + 1)
        weights = (scores / math.sqrt(q.shape[-1])).masked_fill(is_later, -math.inf).softmax(-1)
        seen = (weights @ v).transpose(1, 2).flatten(2)  # (batch, m, width)
        return x + self.out(seen)


class Transformer(nn.Module):
    """Logits of the next token after each of a row.

    Args:
        width: channels of a token.
        depth: layers.
        heads: of attention.
        reach: see `RelativeAttention`.
    """

    def __init__(self, width: int, depth: int, heads: int, reach: int) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, width)
        self.column = nn.Embedding(WINDOW + 1, width)
        self.attentions = nn.ModuleList(
            RelativeAttention(width, heads, reach) for _ in range(depth)
        )
        self.branches = nn.ModuleList(FeedForward(width, 2 * width) for _ in range(depth))
        self.norm = RMSNorm(width)
        self.out = nn.Linear(width, VOCABULARY)
        nn.init.normal_(self.token.weight, std=0.5)
        nn.init.normal_(self.column.weight, std=0.5)

    def forward(
        self, tokens: Tensor, columns: Tensor, past: list[list[Tensor]] | None = None
    ) -> Tensor:
        """Logits of the token after each.

        Args:
            tokens: int64 (batch, m), the last ones of rows; the first of a row is END.
            columns: int64 (batch, m), at which column a row is after each, -1 at first.
            past: of each layer what `RelativeAttention` keeps of the tokens before; they are added.

        Returns:
            float (batch, m, VOCABULARY).
        """
        x = self.token(tokens) + self.column(columns + 1)
        past = [[] for _ in self.attentions] if past is None else past
        for attention, branch, kept in zip(self.attentions, self.branches, past, strict=True):
            x = branch(attention(x, kept))
        return self.out(self.norm(x)).float()


class TokenTransformer(Autoregressive):
    """Music as a text of steps, pitches and lengths; a system of the ladder."""

    process = "tokens"
    # A call draws a token; particles are weighed in one more.
    methods = {"particles": MOST_TOKENS + 1, "clamp": MOST_TOKENS}
    sizes = {
        "tiny": {"width": 80, "depth": 3, "heads": 4, "reach": 256},
        "toy": {"width": 32, "depth": 1, "heads": 2, "reach": 64},
    }
    # Tokens of a row that are learned; of 300 windows of POP909 98 in 100 have no more.
    most_tokens = 320

    def build(self, width: int, depth: int, heads: int, reach: int) -> nn.Module:
        """The transformer; for width, depth, heads and reach see `Transformer`."""
        return Transformer(width, depth, heads, reach)

    def example(
        self, window: Window, u: float, rng: np.random.Generator, options: Any
    ) -> dict[str, Any]:
        """The tokens of a window, their columns, and how many count: int64 (321,), (321,), ().

        A row begins with END, which says that nothing came before; see `Process.example`.
        """
        cells = super().example(window, u, rng, options)["cells"]
        row = np.full(self.most_tokens + 1, END, np.int64)
        tokens = encode_tokens(cells)[: self.most_tokens]
        row[1 : len(tokens) + 1] = tokens
        return {"tokens": row, "columns": token_columns(row), "count": np.int64(len(tokens))}

    def loss(self, batch: dict[str, Tensor], forward: Any, options: Any) -> Tensor:
        """Bits per cell of the window, float (batch,), before the grammar says what cannot be."""
        tokens = batch["tokens"]
        longest = int(batch["count"].max())
        logits = forward(tokens[:, :longest], batch["columns"][:, :longest])
        after = tokens[:, 1 : longest + 1]
        nats = F.cross_entropy(logits.mT, after, reduction="none")  # (batch, longest)
        counts = torch.arange(longest, device=tokens.device) < batch["count"][:, None]
        return (nats * counts).sum(1) / (ROW_COUNT * WINDOW * math.log(2))

    def bits(self, cells: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The exact bits of windows, int64 (batch, 64, 64): float (batch,)."""
        return torch.stack([self.bits_of_row(encode_tokens(each)) for each in cells.cpu().numpy()])

    def bits_of_row(self, tokens: np.ndarray) -> Tensor:
        """The bits of a row of tokens, int64 (tokens,), among those of the grammar: float ()."""
        reading = Reading()
        allowed = []
        for token in tokens.tolist():
            allowed.append(reading.allowed())
            reading.push(token)

        row = np.insert(tokens, 0, END)
        inputs = torch.from_numpy(np.stack([row, token_columns(row)])[:, None, :-1]).to(self.device)
        logits = self(*inputs)[0]  # (tokens, VOCABULARY)
        may = torch.from_numpy(np.stack(allowed)).to(self.device)
        nats = F.cross_entropy(
            logits.masked_fill(~may, -math.inf), inputs.new_tensor(tokens), reduction="sum"
        )
        return nats / math.log(2)

    def fill(self, cells: Tensor, mask: Tensor, request: Request) -> Tensor:
        """Fill the masked cells, bool (64, 64), of int64 (batch, 64, 64)."""
        count = 1
        if request.options.method == "particles" and known_later(mask):
            count = request.options.own.get("particles", PARTICLES)
        writer = Writer(self, cells, request, count)
        writer.write()
        return resampled(writer.cells(), writer.weights, 1, request.generator).to(cells.device)


def known_later(mask: Tensor) -> bool:
    """Whether a cell is known in a column from the first masked one on; mask: bool (64, 64)."""
    first = int(mask.any(0).nonzero()[0, 0])
    return not bool(mask[:, first:].all())


class Writer:
    """Rows of tokens that are drawn together, each so that it says the known cells as they are.

    Attributes:
        rows: int64 (batch * count, tokens), the rows so far, END first.
        weights: float (batch, count), in nats: how likely the model found it, at each token, that
            the known cells would stay as they are.
    """

    def __init__(
        self, model: TokenTransformer, cells: Tensor, request: Request, count: int
    ) -> None:
        """Begin rows.

        Args:
            model: asked for the next token.
            cells: int64 (batch, 64, 64), HIDDEN where they are free.
            request: how.
            count: rows of each picture.
        """
        self.model = model
        self.request = request
        self.count = count
        known = cells.cpu().numpy().repeat(count, axis=0)
        self.readings = [Reading(each) for each in known]
        self.rows = np.full((len(known), 1), END)
        self.weights = torch.zeros(len(cells), count, dtype=torch.float64)
        # What the network keeps of the tokens that it was given, and what was allowed after those
        # that it was not given yet.
        self.past: list[list[Tensor]] = [[] for _ in model.network.attentions]
        self.given = 0
        self.pending: list[np.ndarray] = []

    @property
    def is_over(self) -> bool:
        """Whether all rows have come to their end."""
        return all(reading.is_over for reading in self.readings)

    def write(self) -> None:
        """Draw the rows to their end, or as far as the calls reach."""
        weighs = self.count > 1
        calls = max(self.request.options.calls - weighs, 1)
        allowed = self.go_on()
        for call in range(1, calls + 1):
            if self.is_over:
                break
            self.push(self.draw(self.ask()[:, -1], allowed))
            allowed = self.go_on()

            # About one more call is expected for each column that is left.
            columns = [reading.column for reading in self.readings if not reading.is_over]
            left = 0 if call == calls or not columns else max(WINDOW - min(columns), 1)
            self.request.tell(self.cells()[:: self.count], left + weighs)

        # What came after the last call was not weighed yet.
        if weighs:
            self.ask()
            worth = effective_size(self.weights).tolist()
            self.request.tell(self.cells()[:: self.count], 0, effective=worth)

    def go_on(self) -> np.ndarray:
        """Take tokens as long as no row has a choice; what is allowed then, (rows, VOCABULARY)."""
        while True:
            allowed = np.stack([reading.allowed() for reading in self.readings])
            # Rows that are over wait for the others: nothing is at stake for them.
            waits = np.array([reading.is_over for reading in self.readings])
            self.pending.append(allowed | waits[:, None])
            if self.is_over or (allowed.sum(axis=1) > 1).any():
                return allowed
            self.push(allowed.argmax(axis=1))

    def push(self, tokens: np.ndarray) -> None:
        """Take the next token of each row, int64 (rows,)."""
        for reading, token in zip(self.readings, tokens.tolist(), strict=True):
            reading.push(token)
        self.rows = np.concatenate([self.rows, tokens[:, None]], axis=1)

    def ask(self) -> Tensor:
        """Give the network the tokens that are new to it, and weigh what had been allowed.

        Returns:
            Logits of the token after each of them, float (rows, m, VOCABULARY).
        """
        new = slice(self.given, self.rows.shape[1])
        inputs = [self.rows[:, new], token_columns(self.rows)[:, new]]
        tensors = [torch.from_numpy(each).to(self.model.device) for each in inputs]
        logits = self.model(*tensors, self.past).cpu()
        self.given = new.stop

        may = torch.from_numpy(np.stack(self.pending, axis=1))  # (rows, m, VOCABULARY)
        share = logits.masked_fill(~may, -math.inf).logsumexp(-1) - logits.logsumexp(-1)
        self.weights += share.double().sum(1).reshape(self.weights.shape)  # (batch, count)
        self.pending = []
        return logits

    def draw(self, logits: Tensor, allowed: np.ndarray) -> np.ndarray:
        """Draw the next tokens among those allowed, bool (rows, VOCABULARY): int64 (rows,)."""
        may = torch.from_numpy(allowed)
        p = (logits / self.request.options.temperature).masked_fill(~may, -math.inf).softmax(-1)
        chosen = torch.multinomial(p, 1, generator=self.request.generator)
        return chosen[:, 0].numpy()

    def cells(self) -> Tensor:
        """What the rows say so far: int64 (rows, 64, 64)."""
        return torch.from_numpy(np.stack([decode_tokens(row[1:]) for row in self.rows]))
