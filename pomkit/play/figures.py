"""Figures that a whole room can read, and that also speak to those who do not see them.

A notebook calls this once, behind `%matplotlib inline`:

    pomkit.legible_figures()

From then on every figure that it shows is at least 900 pixels wide, no text in it is smaller than
12 points, its colours are ones that all eyes tell apart, and the picture carries an alt text: a
sentence that says what is drawn. Titles that are wider than their panel are broken into lines, and
of numbers that would run into each other every second one is left out.

The law: the figure shows the same data as before. Only its size, its text and its layout change.
Read on in `plot`, which draws the piano rolls.
"""

import re
import textwrap
import warnings
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# Of a picture, in pixels, and of any text in it, in points.
LEAST_WIDTH = 900
LEAST_POINTS = 12
# Pixels per inch of figures that a notebook shows. In inches: a narrower figure is enlarged to this
# width, but not beyond this height.
DPI = 80
PAGE_WIDTH = 11.5
PAGE_HEIGHT = 5.2
# How often a figure that is too low for its text gets higher.
MOST_TRIES = 4
# Characters of an alt text.
LONGEST_ALT = 700
# Okabe and Ito's colours, which all eyes tell apart, in the order of matplotlib's own names.
SAFE_CYCLE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
STYLE: Any = {
    "figure.dpi": DPI,
    "figure.constrained_layout.use": True,
    "font.size": LEAST_POINTS,
    "axes.titlesize": LEAST_POINTS,
    "figure.titlesize": LEAST_POINTS,
    "legend.fontsize": LEAST_POINTS,
}
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def legible_figures() -> None:
    """Show every figure from now on wide, with large text, in safe colours, with an alt text.

    Outside of a notebook only matplotlib's settings change.
    """
    import matplotlib.pyplot as plt
    from cycler import cycler
    from matplotlib.figure import Figure

    plt.rcParams.update(STYLE)
    plt.rcParams["axes.prop_cycle"] = cycler(color=SAFE_CYCLE)

    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None:
        shell.display_formatter.formatters["image/png"].for_type(Figure, as_png)


def as_png(figure: "Figure") -> tuple[bytes, dict[str, Any]] | None:
    """A figure as a legible PNG, with its alt text: what a notebook shows of it.

    Args:
        figure: is enlarged if it is small, see `make_legible`.

    Returns:
        The bytes, and the picture's metadata: `alt`, and `points`, the size of the smallest text.
        None for a figure without Axes.
    """
    from matplotlib.transforms import Bbox

    if not figure.axes:
        return None
    make_legible(figure)

    # The whole figure, and what stands out of it: no label is cut.
    _lay_out(figure)
    outside = figure.get_tightbbox()
    box = Bbox.union([figure.bbox_inches, outside])
    file = BytesIO()
    figure.savefig(file, format="png", dpi=figure.dpi, bbox_inches=box)
    points = min(map(_points, _texts(figure)), default=LEAST_POINTS)
    return file.getvalue(), {"alt": alt_text(figure), "points": points}


def make_legible(figure: "Figure") -> None:
    """Enlarge a small figure and its small text, and mend what then runs into each other.

    Args:
        figure: is changed in place. One that is legible stays as it is.
    """
    figure.set_dpi(max(figure.dpi, DPI))
    width, height = figure.get_size_inches()
    factor = max(PAGE_WIDTH, LEAST_WIDTH / figure.dpi) / width
    if factor > 1:
        figure.set_size_inches(factor * width, min(factor * height, max(height, PAGE_HEIGHT)))

    # Ticks are made anew whenever the figure is drawn, so their Axes are told the size.
    _lay_out(figure)
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            labels = axis.get_ticklabels(which="both")
            if any(_points(label) < LEAST_POINTS for label in labels):
                axis.set_tick_params(which="both", labelsize=LEAST_POINTS)
    for text in _texts(figure):
        text.set_fontsize(max(_points(text), LEAST_POINTS))

    # Each mending needs to know where the last one left the Axes.
    for mend in (_break_titles, _break_labels, _thin_out, _turn):
        _lay_out(figure)
        for ax in figure.axes:
            mend(ax)


def _lay_out(figure: "Figure") -> None:
    """Place everything; a figure that is too low for its text gets higher."""
    for _ in range(MOST_TRIES):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="constrained_layout not applied")
            try:
                figure.draw_without_rendering()
                return
            except UserWarning:
                width, height = figure.get_size_inches()
                figure.set_size_inches(width, 1.25 * height)


def alt_text(figure: "Figure") -> str:
    """The alt text of a figure: how many panels it has, and what is drawn in each.

    Args:
        figure: its titles, axis labels, legends and the limits of its axes are read. The label of
            an Axes (`ax.set_label`), if it has one, says what is drawn in it: `show` sets it.

    Returns:
        Some plain sentences, at most 700 characters.
    """
    panels = [ax for ax in figure.axes if ax.axison and not _is_colour_bar(ax)]
    said = [_panel(ax) for ax in panels or figure.axes]
    if len(said) > 1:
        count = _number(len(said)).capitalize()
        said = [f"{count} panels", *(f"{i}: {panel}" for i, panel in enumerate(said, 1))]
    title = figure.get_suptitle()
    if title:
        said.insert(0, _plain(title))

    bars = [_plain(ax.get_ylabel() or ax.get_xlabel()) for ax in figure.axes if _is_colour_bar(ax)]
    said += [f"The colours show {bar}" for bar in bars if bar]
    text = ". ".join(part[:1].upper() + part[1:] for part in said) + "."
    return text if len(text) <= LONGEST_ALT else text[: LONGEST_ALT - 4].rstrip() + " ..."


# What is drawn, in words


def _is_colour_bar(ax: "Axes") -> bool:
    return hasattr(ax, "_colorbar") or ax.get_label() == "<colorbar>"


def _plain(text: str) -> str:
    """A label without the signs of formulas and without line breaks."""
    return " ".join(re.sub(r"\\(?:mathrm|mathbf|mathdefault|text)?|[${}]", "", text).split())


def _number(count: int) -> str:
    return COUNTS[count] if count < len(COUNTS) else str(count)


def _panel(ax: "Axes") -> str:
    """What one panel shows: its title, its kind, its axes, its legend."""
    titles = [_plain(ax.get_title(loc=loc)) for loc in ("left", "center", "right")]
    own = str(ax.get_label())
    parts = [title for title in titles if title] + [own if own else _kind(ax)]
    if own:
        return ", ".join(parts)

    for name, axis, limits in (("x", ax.xaxis, ax.get_xlim()), ("y", ax.yaxis, ax.get_ylim())):
        label = _plain(axis.get_label_text())
        if label or len(axis.get_ticklocs()):
            parts.append(f"{name}{': ' * bool(label)}{label}{_reach(axis, limits)}")

    legend = ax.get_legend()
    entries = [_plain(text.get_text()) for text in legend.get_texts()] if legend else []
    if entries:
        parts.append("drawn are " + "; ".join(entries))
    return ", ".join(parts)


def _kind(ax: "Axes") -> str:
    """What sort of chart it is, by what stands in it."""
    meshes = [drawn for drawn in ax.collections if "Mesh" in type(drawn).__name__]
    areas = [drawn for drawn in ax.collections if "Poly" in type(drawn).__name__]
    clouds = [drawn for drawn in ax.collections if "Path" in type(drawn).__name__]
    lines = [line for line in ax.lines if np.unique(line.get_xdata(orig=False)).size > 1]
    bars = sum(len(container) for container in ax.containers)

    kinds = {"line": len(lines), "bar": bars, "area": len(areas)}
    words = [f"{_number(n)} {kind}{'s' * (n > 1)}" for kind, n in kinds.items() if n]
    words = ["points"] * bool(clouds) + words
    if ax.images or meshes:
        return "an image" + (" with " + " and ".join(words) if words else "")
    return "a chart with " + " and ".join(words) if words else "a drawing"


def _reach(axis: Any, limits: tuple[float, float]) -> str:
    """From where to where an axis goes: words, if its ticks are words."""
    labels = [_plain(label.get_text()) for label in axis.get_ticklabels()]
    named = [label for label in labels if re.search(r"[A-Za-z]{2}", label)]
    if named:
        return f" ({', '.join(named)})" if len(named) <= 12 else f" ({len(named)} names)"
    low, high = sorted(limits)
    return f" from {low:,.3g} to {high:,.3g}" + ", logarithmic" * (axis.get_scale() == "log")


# What runs into each other


def _texts(figure: "Figure") -> "list[Text]":
    """All texts of a figure that can be seen."""
    from matplotlib.text import Text

    found = figure.findobj(Text, include_self=False)
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def _points(text: "Text") -> float:
    return float(text.get_fontsize())


def _break(text: "Text", room: float, length: float) -> None:
    """Break a text of `length` pixels into lines that fit into `room` pixels."""
    words = text.get_text()
    if length > room > 0 and "\n" not in words and " " in words and words.count("$") == 0:
        text.set_text(textwrap.fill(words, max(int(len(words) * room / length), 8)))


def _break_titles(ax: "Axes") -> None:
    """Titles and labels that are wider than their panel get more lines."""
    room = 1.05 * ax.get_window_extent().width
    titles = [getattr(ax, name) for name in ("title", "_left_title", "_right_title")]
    for text in (*titles, ax.xaxis.label):
        _break(text, room, text.get_window_extent().width)


def _break_labels(ax: "Axes") -> None:
    """So do labels at the side that are higher than their panel."""
    room = 1.1 * ax.get_window_extent().height
    _break(ax.yaxis.label, room, ax.yaxis.label.get_window_extent().height)


def _seen(axis: Any) -> "list[Text]":
    """The tick labels of an axis that can be seen, in their order."""
    low, high = sorted(axis.get_view_interval())
    labels = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
    shown = [(where, text) for where, text in labels if low <= where <= high and text.get_text()]
    return [text for _, text in sorted(shown, key=lambda pair: pair[0]) if text.get_visible()]


def _collide(texts: "Iterable[Text]", upright: bool = False) -> bool:
    """Whether neighbours in a row (or a column) of texts touch, or nearly so."""
    boxes = [text.get_window_extent() for text in texts]
    spans = sorted((box.y0, box.y1) if upright else (box.x0, box.x1) for box in boxes)
    ends = [end for _, end in spans[:-1]]
    begins = [begin for begin, _ in spans[1:]]
    gap = 0 if upright else 5
    return any(begin < end + gap for begin, end in zip(begins, ends, strict=True))


def _thin_out(ax: "Axes") -> None:
    """Of numbers beside an axis that run into each other, every second one is left out."""
    for axis, upright in ((ax.xaxis, False), (ax.yaxis, True)):
        shown = _seen(axis)
        numbers = all(not re.search(r"[A-Za-z]{2}", text.get_text()) for text in shown)
        if not numbers or not _collide(shown, upright):
            continue

        # Fixed places and words, so that drawing again does not bring them back.
        low, high = sorted(axis.get_view_interval())
        places = [where for where in axis.get_ticklocs() if low <= where <= high]
        labels = [text.get_text() for text in shown]
        if len(places) != len(labels):
            continue
        every = next(n for n in 2 ** np.arange(1, 20) if not _collide(shown[::n], upright))
        kept = [label if i % every == 0 else "" for i, label in enumerate(labels)]
        axis.set_ticks(places, kept)


def _turn(ax: "Axes") -> None:
    """Words below an axis that run into each other are turned, each in one line."""
    shown = _seen(ax.xaxis)
    if len(shown) < 2 or not _collide(shown) or any(text.get_rotation() for text in shown):
        return
    labels = [" ".join(text.get_text().split()) for text in ax.get_xticklabels()]
    ax.set_xticks(ax.get_xticks(), labels, rotation=30, ha="right", rotation_mode="anchor")
