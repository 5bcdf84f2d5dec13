"""Figures for people: a picture with bars, pitch names, chords and mask; input, mask and result; a loss.
Everything is matplotlib, imported with the first figure; `save_png` writes a picture itself, a pixel a cell."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OptionError, PictureError, check_choice
from ..files import AnyPath, write
from ..music.chords import Chord
from ..music.masks import check_mask
from ..music.palette import palette, read_chords
from ..music.picture import render
from ..music.pixels import PITCHES, check_picture
from ..music.song import Song
from ..music.tables import NOTE_DTYPE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Onset, sustained; the same of new notes. "picture": the model's red and green; "safe" (Okabe, Ito): for all colour vision.
COLOURS = {
    "picture": ((255, 50, 40), (60, 215, 80), (255, 255, 255), (80, 170, 255)),
    "safe": ((240, 228, 66), (86, 180, 233), (255, 255, 255), (230, 110, 20)),
}
BLACK_KEYS, BACKGROUND, WHITE_KEYS = (1, 3, 6, 8, 10), (10, 10, 14), (20, 20, 26)
GRID: dict[str, Any] = {"color": "white", "linewidth": 0.6}
PIXELS: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest"}
SHORT = {
    "maj": "",
    "min": "m",
    "min7": "m7",
    "hdim7": "ø",
    "dim": "°",
    "dim7": "°7",
    "maj6": "6",
    "min6": "m6",
}


def new_figure(width: float, height: float, dpi: int = 110, shown: bool = False) -> "Figure":
    """An empty figure of `width` x `height` inches, one that a notebook shows or not."""
    import matplotlib.pyplot as plt

    return (plt.figure if shown else plt.Figure)(
        figsize=(width, height), dpi=dpi, layout="constrained"
    )


def show(
    music: Song | np.ndarray,
    mask: np.ndarray | None = None,
    ax: "Axes | None" = None,
    bars: Sequence[int] | None = None,
    title: str | None = None,
    *,
    before: np.ndarray | None = None,
    crop: bool | tuple[int, int] = True,
    legend: bool = True,
    colours: str = "picture",
    border: int = 8,
    steps_per_beat: int = 4,
) -> "Axes":
    """Draw a Song or a picture, uint8 (128, width, 3), as a piano roll for people, and return the Axes: steps by MIDI pitches.
    `mask`, bool (128, width), is laid over it; with `before`, the picture before inpainting, notes that differ are coloured as
    new. Bars are numbered from 1 at the steps in `bars` (None: the Song's, else 4/4 at `steps_per_beat`). `crop` True shows the
    pitches in use, False all, (low, high) these. `colours` "safe" suits colour-blind eyes. PictureError, OptionError."""
    song = (
        music
        if isinstance(music, Song)
        else Song(np.zeros(0, NOTE_DTYPE), steps_per_beat=steps_per_beat)
    )
    picture = render(music, border=border) if isinstance(music, Song) else music
    check_picture(picture)
    check_choice("colours", colours, COLOURS)
    region = np.zeros(picture.shape[:2], bool) if mask is None else check_mask(mask, picture)
    before = picture if before is None else before
    if before.shape != picture.shape:
        raise PictureError(
            f"the picture before is {before.shape}, this one {picture.shape}; make them match"
        )
    new = (picture != before).any(axis=2)
    if not isinstance(crop, tuple):
        crop = _pitches_in_use([picture], region, border) if crop else (0, PITCHES - 1)
    if ax is None:
        ax = new_figure(12, 4.2, shown=True).subplots()
    ax.imshow(
        _canvas(picture, new, colours, border),
        extent=(0, picture.shape[1], -0.5, PITCHES - 0.5),
        **PIXELS,
    )
    _draw_grid(
        ax,
        song.bar_lines(picture.shape[1]) if bars is None else np.unique(bars),
        picture.shape[1],
        *crop,
    )
    if region.any():
        _draw_mask(ax, region)
    height = 6.0
    if crop[1] < PITCHES - border:  # the chord rows are cut off: a strip on top shows them
        height = _draw_chords(ax, read_chords(picture, border), region[:border])
    if legend:
        _draw_legend(
            ax,
            colours,
            mask is not None,
            bool(new.any()),
            loc="upper right",
            bbox_to_anchor=(1, -0.06),
        )
    if title:
        ax.set_title(title, loc="left", fontsize=11, pad=height)
    return ax


def side_by_side(
    before: np.ndarray,
    mask: np.ndarray,
    after: np.ndarray,
    path: AnyPath | None = None,
    bars: Sequence[int] | None = None,
) -> "tuple[Axes, ...]":
    """Input, mask and result below each other (in a row if narrower than 10 bars), with the new notes marked.
    `before` and `after` are pictures, uint8 (128, width, 3), `mask` is bool (128, width). With `path` the figure is written
    there as PNG, atomically, and not shown. Returns the three Axes; raises as `show`."""
    for picture in (before, after):
        check_picture(picture)
    (width, height), grid = ((12, 10), (3, 1)) if before.shape[1] >= 160 else ((15, 4.6), (1, 3))
    figure = new_figure(width, height, shown=path is None)
    common: dict[str, Any] = dict(
        bars=bars, crop=_pitches_in_use([before, after], mask), legend=False
    )
    axes = tuple(figure.subplots(*grid).ravel())
    show(before, None, axes[0], title="input", **common)
    show(before, mask, axes[1], title="mask", **common)
    show(after, mask, axes[2], title="result", before=before, **common)
    _draw_legend(figure, "picture", masked=True, new=True, loc="outside lower right")
    if path is not None:
        write(path, partial(figure.savefig, format="png"))
    return axes


def save_pairs(
    path: AnyPath, pairs: Sequence[tuple[np.ndarray, np.ndarray]], mask: np.ndarray
) -> Path:
    """Write pairs of pictures, before and after inpainting the same mask, as one figure of rows, atomically."""
    figure = new_figure(15, 3 * len(pairs), 90)
    for axes, (before, after) in zip(
        figure.subplots(len(pairs), 2, squeeze=False), pairs, strict=True
    ):
        show(before, None, axes[0], legend=False)
        show(after, mask, axes[1], before=before, legend=False)
    return write(path, partial(figure.savefig, format="png"))


def loss_plot(
    path: AnyPath,
    steps: Sequence[int],
    losses: Sequence[float],
    valid: Sequence[tuple[int, float]] | None = None,
) -> Path:
    """Write a training's losses against its steps as PNG, atomically; `valid`: (step, loss) on other data."""
    x, y = np.asarray(steps, float), np.asarray(losses, float)
    if x.shape != y.shape or x.ndim != 1:
        raise OptionError(f"{len(x)} steps and {len(y)} losses; give one loss a step")
    ax = (figure := new_figure(8, 4)).subplots()
    ax.plot(x, y, color="0.75", linewidth=0.8, label="training")
    if (n := len(y) // 50) > 1:
        ax.plot(
            x[n - 1 :],
            np.convolve(y, np.ones(n) / n, "valid"),
            color="C0",
            label=f"training, mean of {n}",
        )
    if valid:
        ax.plot(*np.transpose(valid), "o-", color="C1", markersize=4, label="validation")
    finite = y[np.isfinite(y)]
    if len(finite) > 1:  # a few outliers do not set the scale
        ax.set_ylim(*np.quantile(finite, (0, 0.99)) + np.array([-0.1, 0.3]) * (finite.std() + 1e-9))
    ax.set(xlabel="step", ylabel="loss")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return write(path, partial(figure.savefig, format="png"))


def save_png(path: AnyPath, picture: np.ndarray, scale: int = 1) -> Path:
    """Write a picture, uint8 (128, width, 3), as PNG with `scale` x `scale` pixels a cell, atomically."""
    from PIL import Image

    check_picture(picture)
    if not (isinstance(scale, int) and 1 <= scale <= 64):
        raise OptionError(f"scale is {scale}; choose 1 to 64 pixels a cell")
    return write(
        path,
        partial(
            Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1)).save, format="png"
        ),
    )


def _canvas(picture: np.ndarray, new: np.ndarray, colours: str, border: int) -> np.ndarray:
    """The picture in colours that read well, uint8 (128, width, 3): quiet notes lifted, key rows shaded."""
    canvas = np.full(picture.shape, WHITE_KEYS, float)
    canvas[np.isin((127 - np.arange(PITCHES)) % 12, BLACK_KEYS)] = BACKGROUND
    onset, loud = picture[..., 0] > picture[..., 1], picture[..., :2].max(axis=-1)  # (128, width)
    colour = np.array(COLOURS[colours])[np.where(onset, 0, 1) + 2 * new]  # (128, width, 3)
    canvas[loud > 0] = (colour * (0.45 + 0.55 * loud / 254)[..., None])[loud > 0]
    rows = np.r_[:border, PITCHES - border : PITCHES]
    canvas[rows] = picture[rows]
    return canvas.clip(0, 255).astype(np.uint8)


def _pitches_in_use(
    pictures: Sequence[np.ndarray], mask: np.ndarray, border: int = 8
) -> tuple[int, int]:
    """Lowest and highest pitch to show: all notes, and the mask unless it is as high as the picture."""
    used = np.any([picture[..., :2].any(axis=(1, 2)) for picture in pictures], axis=0)  # (128,)
    if mask[border : PITCHES - border].any(axis=1).mean() < 0.8:
        used |= mask.any(axis=1)
    used[:border] = used[PITCHES - border :] = False
    pitches = 127 - np.flatnonzero(used) if used.any() else np.array([60])
    low, high = int(pitches.min()) - 3, int(pitches.max()) + 3
    spread = max(28 - (high - low), 0) // 2  # show two octaves at least
    return max(low - spread, border), min(high + spread, PITCHES - 1 - border)


def _draw_grid(ax: "Axes", lines: np.ndarray, width: int, low: int, high: int) -> None:
    """Bar lines (steps) with numbers from 1, a line under every C, and the names of the octaves."""
    lines = lines[(lines >= 0) & (lines < width)]
    every = next(n for n in 2 ** np.arange(21) if len(lines) / n <= 34)
    numbers, octaves = np.arange(0, len(lines), every), np.arange(0, PITCHES, 12)
    ax.vlines(lines[numbers], -0.5, PITCHES - 0.5, alpha=0.28, **GRID)
    ax.vlines(lines, -0.5, PITCHES - 0.5, alpha=0.28 / every**2, **GRID)
    ax.hlines(octaves - 0.5, 0, width, alpha=0.28, **GRID)
    ax.set_xticks(lines[numbers], [str(n + 1) for n in numbers], fontsize=8)
    ax.set_yticks(octaves, [f"C{n - 1}" for n in range(len(octaves))], fontsize=8)
    ax.set(xlim=(0, width), ylim=(low - 0.5, high + 0.5), ylabel="pitch")
    ax.set_xlabel("bar", loc="left")
    ax.tick_params(length=2)
    ax.spines[:].set_visible(False)


def _draw_mask(ax: "Axes", mask: np.ndarray) -> None:
    """Lay white glass over the cells of a mask, bool (128, width), and draw its outline."""
    ax.imshow(mask[..., None] * (1, 1, 1, 0.2), extent=ax.images[0].get_extent(), **PIXELS)
    upright, level = (
        np.nonzero(np.diff(mask, axis=axis, prepend=False, append=False)) for axis in (1, 0)
    )  # edges: row, x
    faint = 0.45 if len(upright[0]) > 500 else 1.0  # a mask full of holes would hide the notes
    line: dict[str, Any] = dict(
        colors="white", alpha=faint, linewidth=0.9 * faint, capstyle="round"
    )
    ax.vlines(upright[1], 127.5 - upright[0], 126.5 - upright[0], **line)
    ax.hlines(127.5 - level[0], level[1], level[1] + 1, **line)


def _draw_chords(ax: "Axes", chords: Sequence[Chord], mask: np.ndarray) -> float:
    """A strip of the chords' colours and names over the Axes, white where `mask`, (border, width), is; its height in points."""
    place = ax.get_xaxis_transform()  # x in steps, y in heights of the Axes
    strip = partial(
        ax.broken_barh, yrange=(1.005, 0.025), transform=place, clip_on=False
    )  # bottom and height
    inches = ax.bbox.width / ax.figure.dpi / ax.get_xlim()[1]  # of a step, about
    many = min((c.duration for c in chords), default=0) * inches < 0.4
    for onset, duration, label in chords:
        strip([(onset, duration)], facecolors=[np.array(palette()[label]) / 255])
        root, _, quality = label.partition(":")
        ax.text(
            onset,
            1.04,
            root + SHORT.get(quality, quality),
            transform=place,
            fontsize=6.5 if many else 8,
            rotation=90 if many else 0,
            va="bottom",
            color="0.25",
        )
    if mask.any():
        edges = np.flatnonzero(np.diff(mask.any(axis=0), prepend=False, append=False))
        strip(
            list(zip(edges[::2], np.diff(edges)[::2], strict=True)),
            facecolors="white",
            edgecolors="0.4",
            alpha=0.7,
        )
    return 6 if not chords else 38 if many else 24


def _draw_legend(
    place: "Axes | Figure", colours: str, masked: bool, new: bool, **where: Any
) -> None:
    """What the colours mean, in one row of keys."""
    from matplotlib.patches import Patch

    names = ["note begins", "note sounds on", "new note begins", "new note sounds on"][
        : 4 if new else 2
    ]
    keys = [
        Patch(
            facecolor=(red / 255, green / 255, blue / 255),
            edgecolor="0.3",
            linewidth=0.5,
            label=name,
        )
        for name, (red, green, blue) in zip(names, COLOURS[colours], strict=False)
    ]
    if masked:
        keys.append(
            Patch(facecolor="0.25", edgecolor="black", linewidth=0.9, label="to regenerate")
        )
    place.legend(
        handles=keys,
        ncols=len(keys),
        frameon=False,
        fontsize=8,
        handlelength=1,
        handleheight=1,
        **where,
    )
