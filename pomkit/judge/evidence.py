"""What gave compositions away: notes in colours, and kinds of notes.

    verdict = tell_apart(real, masks, composed, songs)
    draw_evidence("evidence.png", verdict)

A note's weight is by how much the network's log-odds of "composed" fall when it is taken away
(`Verdict.weigh`): no more than the network's reason, but it can be looked at and heard. `of_kinds`
adds it up: how common each kind of note is in real and composed windows, and what it weighs.

**A new kind** is a line in `KINDS`.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import AnyPath, write
from ..music.pixels import PITCHES, row_of_pitch
from ..play import plot
from .clips import Notes
from .discriminator import Verdict
from .statistics import struck_again

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Windows in the figure, each beside its twin.
IN_FIGURE = 4
# Windows whose notes are weighed for the kinds.
WEIGHED = 48


def _long(low: int, high: int) -> Callable[[Notes], np.ndarray]:
    """Notes of `low` to `high` steps."""
    return lambda notes: (notes["duration"] >= low) & (notes["duration"] <= high)


def _of_pitch(low: int, high: int) -> Callable[[Notes], np.ndarray]:
    """Notes of the pitches `low` to `high`."""
    return lambda notes: (notes["pitch"] >= low) & (notes["pitch"] <= high)


def _together(low: int, high: int) -> Callable[[Notes], np.ndarray]:
    """Notes that begin together with others, `low` to `high` of them at once."""

    def chosen(notes: Notes) -> np.ndarray:
        _, place, count = np.unique(notes["onset"], return_inverse=True, return_counts=True)
        at_once = count[place.reshape(-1)]  # (notes,)
        return (at_once >= low) & (at_once <= high)

    return chosen


def _on_line(lines: int, apart: int) -> Callable[[Notes], np.ndarray]:
    """Notes that begin on every `lines`-th step, but not on every `apart`-th."""
    return lambda notes: (notes["onset"] % lines == 0) & (notes["onset"] % apart > 0)


# Name of a kind -> which notes of a window are of it, bool (notes,).
KINDS: dict[str, Callable[[Notes], np.ndarray]] = {
    "1 step long": _long(1, 1),
    "2 steps": _long(2, 2),
    "3 and 4 steps": _long(3, 4),
    "5 to 8 steps": _long(5, 8),
    "longer": _long(9, 10**6),
    "struck again at once": struck_again,
    "on a beat": lambda notes: notes["onset"] % 4 == 0,
    "on an eighth between": _on_line(2, 4),
    "on a 16th between": lambda notes: notes["onset"] % 2 == 1,
    "begins alone": _together(1, 1),
    "with one other": _together(2, 2),
    "with two or three": _together(3, 4),
    "with more": _together(5, 10**6),
    "below C3": _of_pitch(0, 47),
    "C3 to B4": _of_pitch(48, 71),
    "C5 and above": _of_pitch(72, 127),
}


def of_kinds(
    verdict: Verdict, view: str = "region", count: int = WEIGHED
) -> dict[str, list[float]]:
    """Say how common each kind of note is, and what it weighs.

    Args:
        verdict: what `tell_apart` gives.
        view: the view whose network weighs.
        count: how many windows are looked at.

    Returns:
        Kind -> [share of the real notes, share of the composed ones, mean weight in real windows,
        mean weight in composed ones]; nan where there is no such note.
    """
    windows = range(min(count, len(verdict.folds)))
    counts = np.zeros((2, len(KINDS)))  # (real and composed, kinds)
    weights = np.zeros((2, len(KINDS)))
    totals = np.zeros((2, 1))
    for side in (0, 1):
        for index in windows:
            notes, weight = verdict.weigh(index, bool(side), view)
            chosen = np.array([kind(notes) for kind in KINDS.values()])  # (kinds, notes)
            counts[side] += chosen.sum(axis=1)
            weights[side] += chosen @ weight
            totals[side] += len(notes)

    with np.errstate(invalid="ignore", divide="ignore"):
        shares = counts / totals
        weights = weights / counts
    columns = np.concatenate([shares, weights]).T  # (kinds, 4)
    return {kind: row.round(4).tolist() for kind, row in zip(KINDS, columns, strict=True)}


def draw_evidence(
    path: AnyPath,
    verdict: Verdict,
    view: str = "region",
    *,
    title: str = "",
    pairs: int = IN_FIGURE,
) -> Path:
    """Draw the compositions that gave themselves away most beside their real twins, as PNG.

    Red notes speak for a composition, blue ones for real music. Below: of each kind of note how
    common it is, and what it weighs.

    Args:
        path: of the PNG file, which is written atomically.
        verdict: what `tell_apart` gives.
        view: the view whose network weighs.
        title: what was composed, and by whom.
        pairs: how many compositions.
    """
    scores = verdict.scores[view]
    surest = np.argsort(-scores[1], kind="stable")[:pairs]
    height = 2.4 * len(surest)
    figure = plot.new_figure(16, height + 5, 90)
    parts: Any = figure.subfigures(2, 1, height_ratios=[height, 5])
    upper, lower = parts

    # Twins stand side by side.
    axes = upper.subplots(len(surest), 2, squeeze=False)
    for line, index in zip(axes, surest.tolist(), strict=True):
        for ax, side, name in zip(line, (1, 0), ("composed", "real"), strict=True):
            notes, weight = verdict.weigh(index, bool(side), view)
            _draw_notes(ax, notes, weight)
            log_odds = scores[side, index]
            ax.set_title(f"{name}, window {index}, log-odds {log_odds:+.1f}", fontsize=9)

    value, low, high = verdict.auc[view]
    auc = f"AUC {value:.3f} ({low:.3f} to {high:.3f})"
    figure.suptitle(f"{title}, {view}: {auc}. Red speaks for a composition, blue for real music")
    common, heavy = lower.subplots(1, 2, sharey=True)
    _draw_kinds(common, heavy, of_kinds(verdict, view))
    return write(path, partial(figure.savefig, format="png"))


def _draw_notes(ax: "Axes", notes: Notes, weight: np.ndarray) -> None:
    """Draw notes in the colours of their weights, with a dark line where each begins."""
    start = notes["onset"]
    end = start + notes["duration"]
    row = row_of_pitch(notes["pitch"])
    grid = np.full((PITCHES, int(end.max(initial=1))), np.nan)
    for i, value in enumerate(weight):
        grid[row[i], start[i] : end[i]] = value

    # The colours' ends are those of the heaviest notes but a few.
    limit = float(np.quantile(np.abs(weight), 0.98)) if len(weight) else 1.0
    ax.imshow(grid, "coolwarm", aspect="auto", vmin=-limit, vmax=limit, interpolation="nearest")
    ax.vlines(start - 0.5, row - 0.5, row + 0.5, color="0.1", linewidth=0.8)
    if len(notes):
        ax.set_xlim(start.min() - 1, end.max())
        ax.set_ylim(row.max() + 2, row.min() - 2)
    ax.set_facecolor("0.93")
    ax.set_yticks([])


def _draw_kinds(common: "Axes", heavy: "Axes", kinds: dict[str, list[float]]) -> None:
    """Draw how common each kind is in one panel, and what it weighs in the other."""
    values = np.array(list(kinds.values())).T  # (4, kinds)
    place = np.arange(len(kinds))
    panels = ((common, values[:2], "share of the notes"), (heavy, values[2:], "mean weight"))
    for ax, (real, composed), label in panels:
        ax.barh(place - 0.2, real, 0.4, color="C0", label="real")
        ax.barh(place + 0.2, composed, 0.4, color="C3", label="composed")
        ax.axvline(0, color="0.3", linewidth=0.8)
        ax.set_xlabel(label)
        ax.spines[["top", "right"]].set_visible(False)
    common.set_yticks(place, list(kinds))
    common.set_ylim(len(kinds) - 0.5, -0.5)
    common.legend(frameon=False, loc="upper right")
