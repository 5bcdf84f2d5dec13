"""How a system answers a mask that it was not made for.

An autoregressive system says how likely each state of a cell is, given all cells before it in some
order. Given those before: so known cells can be forced while it draws (`fixed_point`, a clamp),
but what is drawn does not look at the known cells that come later. `particles` cures that: it
draws several, weighs each by how well the known later cells follow, and keeps one by its weight.
For infinitely many this is exact. A system that makes pictures of latents, and can do nothing
else, looks for latents whose picture agrees with what is known (`latent_search`).

    u = torch.rand(cells.shape, generator=generator)
    drawn, calls = fixed_point(ask, cells, mask, u)

The laws: `fixed_point` equals drawing one cell after the other with the same `u`. Known cells come
back as they were. On tiny pictures the particles' share of each answer nears the posterior.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..processes.states import OFF

# cells, int64 (batch, h, w) -> logits of each state, float (batch, states, h, w), where those of a
# cell depend on the cells before it alone.
Ask = Callable[[Tensor], Tensor]
# Is told of a network call, see `system.Request`.
Tell = Callable[..., None]
# Network calls of a fixed point at most; all that are needed are mostly far fewer.
MOST_CALLS = 256
# Stages of particles.
STAGES = 4
# So many are needed in most windows: what a progress bar is told.
USUAL_CALLS = 24


def draw_state(logits: Tensor, u: Tensor) -> Tensor:
    """The state of each cell at which the summed probability passes u: a draw, where u is random.

    Args:
        logits: float (batch, states, h, w).
        u: float (batch, h, w), in [0, 1).

    Returns:
        int64 (batch, h, w).
    """
    passed = logits.softmax(1).cumsum(1)[:, :-1]  # (batch, states - 1, h, w)
    return (u[:, None] >= passed).sum(1)


def say_nothing(cells: Tensor, left: int = 0, **more: Any) -> None:
    """Tell nobody of a network call that gave these cells, int64 (batch, h, w)."""


def fixed_point(
    ask: Ask,
    cells: Tensor,
    mask: Tensor,
    u: Tensor,
    *,
    calls: int = MOST_CALLS,
    temperature: float = 1.0,
    tell: Tell = say_nothing,
) -> tuple[Tensor, int]:
    """Draw the masked cells of an autoregressive model, each given all before it, in a few calls.

    Every call draws all masked cells from what the model says of the last draw, always with the
    same `u`. The first cell is right after one call, the second after two at most, and so on; most
    are right at once. Where nothing changes any more, all are: the answer is that of drawing one
    cell after the other with the same `u`.

    Args:
        ask: the model.
        cells: int64 (batch, h, w); what stands under the mask is not looked at.
        mask: bool (h, w), True = draw; the other cells are forced.
        u: float (batch, h, w), in [0, 1): the random numbers.
        calls: at most; an answer that is cut short is near to the right one.
        temperature: divides the logits.
        tell: is told of each call.

    Returns:
        int64 (batch, h, w), and how many calls it took, the one that changed nothing included.

    Source: Song et al. 2021 (arXiv 2002.03629), section 4.
    """
    drawn = torch.where(mask, OFF, cells)
    open_rows = torch.arange(len(cells), device=cells.device)
    for call in range(1, calls + 1):
        # Of pictures in which nothing changed any more nobody is asked.
        before = drawn[open_rows]
        logits = ask(before) / temperature
        after = torch.where(mask, draw_state(logits, u[open_rows]), before)
        drawn[open_rows] = after
        open_rows = open_rows[(after != before).flatten(1).any(1)]  # (open,)

        is_last = call == calls or not len(open_rows)
        tell(drawn.clone(), 0 if is_last else max(USUAL_CALLS - call, 1))
        if is_last:
            break
    return drawn, call


def clamp(
    ask: Ask, cells: Tensor, mask: Tensor, *, generator: torch.Generator | None = None, **how: Any
) -> Tensor:
    """Draw the masked cells with the known ones forced.

    Where no known cell comes after a masked one this is exact.

    Args:
        ask: the model.
        cells: int64 (batch, h, w).
        mask: bool (h, w), True = draw.
        generator: of the random numbers.
        how: more arguments of `fixed_point`.

    Returns:
        int64 (batch, h, w).
    """
    u = torch.rand(cells.shape, generator=generator).to(cells.device)
    return fixed_point(ask, cells, mask, u, **how)[0]


def log_probability(logits: Tensor, cells: Tensor, scored: Tensor) -> Tensor:
    """The log-probability of some cells, float (batch,), in nats.

    Args:
        logits: float (batch, states, h, w).
        cells: int64 (batch, h, w).
        scored: bool (h, w), those that count.
    """
    states = torch.where(scored, cells, OFF)
    nats = F.cross_entropy(logits, states, reduction="none") * scored
    return -nats.flatten(1).sum(1)  # (batch,)


def particles(
    ask: Ask,
    cells: Tensor,
    mask: Tensor,
    order: Tensor,
    *,
    count: int,
    stages: int = STAGES,
    generator: torch.Generator | None = None,
    calls: int = STAGES * MOST_CALLS,
    temperature: float = 1.0,
    tell: Tell = say_nothing,
) -> tuple[Tensor, Tensor]:
    """Draw the masked cells so that the known later ones follow from them: sequential Monte Carlo.

    Of each picture `count` particles are drawn, stage after stage. Each is weighed by how likely
    the known cells up to the next stage are after it. Where few particles hold most of the weight,
    all are drawn anew from among them. In the end one is chosen by its weight.

    Args:
        ask: the model.
        cells: int64 (batch, h, w).
        mask: bool (h, w), True = draw; somewhere it is.
        order: int64 (h, w), the place of each cell in the order of the model.
        count: particles of each picture; 1 is a clamp.
        stages: into how many parts the masked cells are divided.
        generator: of all random numbers.
        calls: of all stages together, at most.
        temperature: divides the logits with which cells are drawn.
        tell: is told of each call.

    Returns:
        int64 (batch, h, w), and how many particles the last choice was worth, float (batch,):
        near `count` is good, near 1 says that more are needed.

    Source: Doucet and Johansen 2009, "A tutorial on particle filtering and smoothing", section 4.
    """
    later = ~mask & (order > order[mask].min())
    if not later.any():
        count = 1
    parts = stages_of(mask, order, stages)
    swarm = cells.repeat_interleave(count, 0)
    weights = torch.zeros(len(cells), count, dtype=torch.float64)  # (batch, count), in nats
    for number, part in enumerate(parts):
        # Where the weights make few particles of many, the others begin again from those.
        if number and (effective_size(weights) < count / 2).any():
            swarm = resampled(swarm, weights, count, generator)
            weights = torch.zeros_like(weights)

        rest = (len(parts) - number - 1) * USUAL_CALLS + int(count > 1)
        here: dict[str, Any] = {
            "calls": max(calls // len(parts), 1),
            "tell": of_the_first(tell, count, rest),
        }
        u = torch.rand(swarm.shape, generator=generator).to(swarm.device)
        swarm, _ = fixed_point(ask, swarm, mask & part, u, temperature=temperature, **here)
        if count > 1:
            nats = log_probability(ask(swarm), swarm, later & part)
            weights += nats.reshape(weights.shape).cpu()  # (batch, count)
            tell(swarm[::count], rest - 1, effective=effective_size(weights).tolist())
    return resampled(swarm, weights, 1, generator), effective_size(weights)


def stages_of(mask: Tensor, order: Tensor, stages: int) -> list[Tensor]:
    """Cells from the first masked one on, divided so that each part has as many masked ones.

    Args:
        mask: bool (h, w), True = draw.
        order: int64 (h, w), the place of each cell.
        stages: how many parts, or as many as there are masked cells.

    Returns:
        bool (h, w) each. A part begins with a masked cell, the last one ends with the last cell.
    """
    places = order[mask].sort().values  # (masked,)
    firsts = [int(chunk[0]) for chunk in places.chunk(stages)]
    ends = [*firsts[1:], int(order.max()) + 1]
    pairs = zip(firsts, ends, strict=True)
    return [(order >= first) & (order < end) for first, end in pairs]


def of_the_first(tell: Tell, count: int, rest: int) -> Tell:
    """Tell of the first of each `count` particles, with `rest` more calls expected later."""

    def pass_on(swarm: Tensor, left: int = 0, **more: Any) -> None:
        tell(swarm[::count], left + rest, **more)

    return pass_on


def effective_size(weights: Tensor) -> Tensor:
    """How many equal weights would be worth as much: float (batch,) of nats (batch, count)."""
    return 1 / weights.softmax(1).square().sum(1)


def resampled(
    swarm: Tensor, weights: Tensor, number: int, generator: torch.Generator | None
) -> Tensor:
    """Particles drawn anew by their weights.

    Args:
        swarm: (batch * count, ...).
        weights: float (batch, count), in nats.
        number: how many of each picture.
        generator: of the random numbers.

    Returns:
        (batch * number, ...).
    """
    batch, count = weights.shape
    chosen = torch.multinomial(weights.softmax(1), number, True, generator=generator)
    places = chosen + count * torch.arange(batch)[:, None]  # (batch, number)
    return swarm[places.flatten().to(swarm.device)]  # (batch * number, ...)


def latent_search(
    draw: Callable[[Tensor], Tensor],
    cells: Tensor,
    mask: Tensor,
    z: Tensor,
    *,
    calls: int,
    rate: float = 0.1,
    tell: Tell = say_nothing,
) -> tuple[Tensor, Tensor]:
    """Look for latents whose picture agrees with the known cells, by gradient descent.

    What is lowered is the surprise of the known cells plus that of the latents, which come from a
    normal distribution; the best latents on the way are kept.

    Args:
        draw: latents, float (batch, size) -> logits of each state, float (batch, states, h, w).
        cells: int64 (batch, h, w).
        mask: bool (h, w), True = not known.
        z: float (batch, size), where to begin.
        calls: of `draw`.
        rate: Adam's.
        tell: is told of each call.

    Returns:
        The best latents, float (batch, size), and their cost in nats, float (batch,).
    """
    best = z.clone()
    least = torch.full((len(z),), torch.inf, device=z.device)
    z = z.clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=rate)
    for call in range(calls):
        with torch.enable_grad():
            logits = draw(z)
            of_latents = 0.5 * z.flatten(1).square().sum(1)  # (batch,)
            cost = of_latents - log_probability(logits, cells, ~mask)
            (z.grad,) = torch.autograd.grad(cost.sum(), z)

        # This call's latents are kept where they are the best so far.
        cost = cost.detach()
        is_better = cost < least
        best[is_better] = z.detach()[is_better]
        least = torch.where(is_better, cost, least)
        tell(torch.where(mask, logits.argmax(1), cells), calls - call - 1)
        adam.step()
    return best, least
