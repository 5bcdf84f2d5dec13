"""Figures for people: a picture as a piano roll, input beside result, the losses of a training.

In a piano roll x counts steps and y MIDI pitches. Notes are brighter than in the model's picture,
bars are numbered, octaves named, and the cells of a mask lie under white glass:

    show(song)
    show(result, mask, before=picture)      # the new notes in a colour of their own
    show(picture, doubt=pomkit.doubt(model, picture))       # the odd notes bright

Everything is drawn by matplotlib, which is imported with the first figure; only `save_png` writes
a picture as it is, a pixel for a cell. Files are written whole or not at all.
"""

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
from ..music.pixels import BORDER, PITCHES, Mask, Picture, check_picture, pitch_of_row
from ..music.song import Song
from ..music.tables import NOTE_DTYPE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DrawOptions = dict[str, Any]  # keyword arguments of matplotlib, by name (str)

# Onset and sustain, then the same of new notes. "safe": colours that all eyes tell apart, warm ones
# for the notes that were there and cold ones for new notes; "picture": what the model sees.
COLOURS = {
    "picture": ((255, 50, 40), (60, 215, 80), (255, 255, 255), (80, 170, 255)),
    "safe": ((240, 228, 66), (230, 110, 20), (255, 255, 255), (86, 180, 233)),
}
COLOUR_NAMES = ("note begins", "note sounds on", "new note begins", "new note sounds on")
BLACK_KEYS = (1, 3, 6, 8, 10)  # semitones above C
BACKGROUND = (10, 10, 14)  # RGB, the rows of the black keys
WHITE_KEYS = (20, 20, 26)  # RGB, the rows of the white ones
GRID: DrawOptions = {"color": "white", "linewidth": 0.6}
IMSHOW_OPTIONS: DrawOptions = {"aspect": "auto", "interpolation": "nearest"}
BELOW_AXES: DrawOptions = {"loc": "upper right", "bbox_to_anchor": (1, -0.08)}
KEY_OPTIONS: DrawOptions = {"handlelength": 1, "handleheight": 1}
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
# Points of all text, which a room can read; and how many inches a digit takes, a letter of a
# chord's name, a name that stands upright, and a key of the legend.
TEXT_POINTS = 12
DIGIT_ROOM = 0.09
LETTER_ROOM = 0.12
UPRIGHT_ROOM = 0.2
KEY_ROOM = 1.8
# At the least how many pitches are shown (a bit over two octaves), and of how many cell edges the
# outline of a mask may consist before it hides the notes.
LEAST_PITCHES = 28
MOST_CLEAR_EDGES = 500
# The doubt, in bits, from which on a note is as bright as can be: a chance of one in 4,096.
MOST_DOUBT = 12.0


def new_figure(width: float, height: float, dpi: int = 110, shown: bool = False) -> "Figure":
    """An empty figure.

    Args:
        width: in inches.
        height: in inches.
        dpi: pixels an inch.
        shown: whether a notebook shows it at the end of the cell.
    """
    import matplotlib.pyplot as plt

    make = plt.figure if shown else plt.Figure
    return make(figsize=(width, height), dpi=dpi, layout="constrained")


def show(
    music: Song | Picture,
    mask: Mask | None = None,
    ax: "Axes | None" = None,
    bars: Sequence[int] | None = None,
    *,
    title: str | None = None,
    before: Picture | None = None,
    doubt: np.ndarray | None = None,
    crop: bool | tuple[int, int] = True,
    legend: bool = True,
    colours: str = "safe",
    border: int = BORDER,
    steps_per_beat: int = 4,
) -> "Axes":
    """Draw music as a piano roll for people: x counts steps, y MIDI pitches.

    Args:
        music: a Song, or a picture, uint8 (128, width, 3).
        mask: bool (128, width), laid over it; None: no mask.
        ax: the Axes to draw into; None: those of a new figure, which a notebook shows.
        bars: the steps at which bars begin, numbered from 1; None: those of the Song, for a picture
            a bar every four beats.
        title: what stands above, on the left.
        before: the picture before inpainting, of the same shape; what differs from it is drawn in
            the colours of new notes.
        doubt: float (128, width), in bits, as `pomkit.doubt` gives it: notes are drawn by it, the
            odd ones bright, and a bar beside them says how odd; None: in their own colours.
        crop: True shows the pitches in use, False all of them, (low, high) these.
        legend: whether the colours are explained below.
        colours: "safe", which suits colour-blind eyes, or "picture", the red and green that the
            model sees.
        border: rows of chord colours at the top and at the bottom of a picture.
        steps_per_beat: of a picture (a Song knows its own).

    Returns:
        The Axes.

    Raises:
        PictureError: the picture, the mask, the doubt or the picture before does not fit.
        OptionError: `colours`, `border` or `steps_per_beat` has no such value.
    """
    song, picture = _song_and_picture(music, border, steps_per_beat)
    check_choice("colours", colours, COLOURS)
    region = np.zeros(picture.shape[:2], bool) if mask is None else check_mask(mask, picture)
    new = _new_cells(picture, before)
    width = picture.shape[1]
    low, high = _limits(crop, picture, region, border)

    # The notes, the lines over them, and the glass over both.
    ax = new_figure(12, 4.2, shown=True).subplots() if ax is None else ax
    canvas = _canvas(picture, new, colours, border)
    ax.imshow(canvas, extent=(0, width, -0.5, PITCHES - 0.5), **IMSHOW_OPTIONS)
    if doubt is not None:
        _draw_doubt(ax, picture, doubt, legend)
    lines = song.bar_lines(width) if bars is None else np.unique(bars)
    _draw_grid(ax, lines, width, (low, high))
    _draw_mask(ax, region)

    # Where the chord rows are cut off, a strip on top shows them.
    above = 6.0
    if high < PITCHES - border:
        above = _draw_chords(ax, read_chords(picture, border), region[:border])
    if legend and doubt is None:
        _draw_legend(ax, colours, mask is not None, bool(new.any()), **BELOW_AXES)
    if title:
        ax.set_title(title, loc="left", fontsize=TEXT_POINTS, pad=above)
    ax.set_label(_in_words(ax, lines, region, is_new=bool(new.any()), is_doubted=doubt is not None))
    return ax


def side_by_side(
    before: Picture,
    mask: Mask,
    after: Picture,
    path: AnyPath | None = None,
    *,
    bars: Sequence[int] | None = None,
) -> "tuple[Axes, ...]":
    """Draw input, mask and result below each other, the new notes in a colour of their own.

    Pictures of less than ten bars stand in a row.

    Args:
        before: the input, uint8 (128, width, 3).
        mask: bool (128, width).
        after: the result, of the same shape as the input.
        path: where the figure is written as PNG; None: a notebook shows it.
        bars: the steps at which bars begin, as in `show`.

    Returns:
        The three Axes.

    Raises:
        PictureError: a picture or the mask does not fit.
    """
    check_picture(before)
    check_picture(after)

    if before.shape[1] >= 160:
        figure = new_figure(12, 10, shown=path is None)
        axes = tuple(figure.subplots(3, 1))
    else:
        figure = new_figure(15, 4.6, shown=path is None)
        axes = tuple(figure.subplots(1, 3))

    crop = _pitches_in_use([before, after], mask, BORDER)
    options: DrawOptions = dict(bars=bars, crop=crop, legend=False)
    show(before, None, axes[0], title="input", **options)
    show(before, mask, axes[1], title="mask", **options)
    show(after, mask, axes[2], title="result", before=before, **options)
    _draw_legend(figure, "safe", masked=True, new=True, loc="outside lower right")

    if path is not None:
        write(path, partial(figure.savefig, format="png"))
    return axes


def save_pairs(path: AnyPath, pairs: Sequence[tuple[Picture, Picture]], mask: Mask) -> Path:
    """Write pairs of pictures as one figure, a row a pair, and return its path.

    Args:
        path: of the PNG.
        pairs: before and after inpainting, each uint8 (128, width, 3).
        mask: bool (128, width), the same for all.
    """
    figure = new_figure(15, 3 * len(pairs), 90)
    rows = figure.subplots(len(pairs), 2, squeeze=False)
    for (left, right), (before, after) in zip(rows, pairs, strict=True):
        show(before, None, left, legend=False)
        show(after, mask, right, before=before, legend=False)
    return write(path, partial(figure.savefig, format="png"))


def loss_plot(
    path: AnyPath,
    steps: Sequence[int],
    losses: Sequence[float],
    valid: Sequence[tuple[int, float]] | None = None,
) -> Path:
    """Draw the losses of a training as PNG and return its path.

    Args:
        path: of the PNG.
        steps: the training's steps, (n,).
        losses: the loss at each of them, (n,).
        valid: pairs (step, loss), the loss on other data.

    Raises:
        OptionError: there is not one loss a step.
    """
    x = np.asarray(steps, float)
    y = np.asarray(losses, float)
    if x.shape != y.shape or x.ndim != 1:
        raise OptionError(f"{len(x)} steps and {len(y)} losses; give one loss a step")

    figure = new_figure(8, 4)
    ax = figure.subplots()
    ax.plot(x, y, color="0.75", linewidth=0.8, label="training")

    # Single batches differ much: a running mean over a fiftieth of the training shows the way.
    window = len(y) // 50
    if window > 1:
        running_mean = np.convolve(y, np.ones(window) / window, "valid")
        ax.plot(x[window - 1 :], running_mean, color="C0", label=f"training, mean of {window}")
    if valid:
        ax.plot(*np.transpose(valid), "o-", color="C1", markersize=4, label="validation")

    # A few outliers shall not set the scale.
    finite = y[np.isfinite(y)]  # (up to n,)
    if len(finite) > 1:
        low, high = np.quantile(finite, (0, 0.99))
        spread = finite.std() + 1e-9
        ax.set_ylim(low - 0.1 * spread, high + 0.3 * spread)

    ax.set(xlabel="step", ylabel="loss")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return write(path, partial(figure.savefig, format="png"))


def save_png(path: AnyPath, picture: Picture, scale: int = 1) -> Path:
    """Write a picture as PNG and return its path.

    Args:
        path: of the PNG.
        picture: uint8 (128, width, 3).
        scale: a cell becomes `scale` x `scale` pixels, 1 to 64.

    Raises:
        PictureError: this is no picture.
        OptionError: `scale` is no whole number in its range.
    """
    from PIL import Image

    check_picture(picture)
    if not (isinstance(scale, int) and 1 <= scale <= 64):
        raise OptionError(f"scale is {scale}; choose 1 to 64 pixels a cell")
    enlarged = picture.repeat(scale, axis=0).repeat(scale, axis=1)
    return write(path, partial(Image.fromarray(enlarged).save, format="png"))


def _song_and_picture(
    music: Song | Picture, border: int, steps_per_beat: int
) -> tuple[Song, Picture]:
    """A Song and its picture; of a picture, a Song without notes; PictureError for others."""
    if isinstance(music, Song):
        return music, render(music, border=border)
    song = Song(np.zeros(0, NOTE_DTYPE), steps_per_beat=steps_per_beat)
    check_picture(music)
    return song, music


def _new_cells(picture: Picture, before: Picture | None) -> np.ndarray:
    """Where a picture differs from the one before, bool (128, width)."""
    if before is None:
        return np.zeros(picture.shape[:2], bool)
    if before.shape != picture.shape:
        raise PictureError(
            f"the picture before is {before.shape}, this one {picture.shape}; make them match"
        )
    return (picture != before).any(axis=2)  # (128, width)


def _limits(
    crop: bool | tuple[int, int], picture: Picture, mask: Mask, border: int
) -> tuple[int, int]:
    """Lowest and highest pitch to show: what `crop` of `show` means."""
    if isinstance(crop, tuple):
        return crop
    if crop:
        return _pitches_in_use([picture], mask, border)
    return 0, PITCHES - 1


def _pitches_in_use(pictures: Sequence[Picture], mask: Mask, border: int) -> tuple[int, int]:
    """Lowest and highest pitch to show: of all notes, and of a mask that leaves pitches out."""
    in_use = np.any([picture[..., :2].any(axis=(1, 2)) for picture in pictures], axis=0)  # (128,)
    if mask[border : PITCHES - border].any(axis=1).mean() < 0.8:
        in_use |= mask.any(axis=1)
    in_use[:border] = False
    in_use[PITCHES - border :] = False

    pitches = pitch_of_row(np.flatnonzero(in_use)) if in_use.any() else np.array([60])
    low = int(pitches.min()) - 3
    high = int(pitches.max()) + 3
    missing = max(LEAST_PITCHES - (high - low), 0) // 2  # rows on either side
    return max(low - missing, border), min(high + missing, PITCHES - 1 - border)


def _canvas(picture: Picture, new: np.ndarray, colours: str, border: int) -> Picture:
    """A picture in colours that read well, uint8 (128, width, 3)."""
    # Rows as dark as the keys of a piano.
    canvas = np.full(picture.shape, WHITE_KEYS, float)
    tone = pitch_of_row(np.arange(PITCHES)) % 12
    canvas[np.isin(tone, BLACK_KEYS)] = BACKGROUND

    # The softest note keeps almost half of its colour, so that it can be seen.
    red = picture[..., 0]
    green = picture[..., 1]
    is_onset = red > green  # (128, width)
    loudness = np.maximum(red, green)  # (128, width), 0 to 254
    kind = np.where(is_onset, 0, 1) + 2 * new  # (128, width), place in the table of colours
    colour = np.array(COLOURS[colours])[kind]  # (128, width, 3)
    brightness = 0.45 + 0.55 * loudness / 254  # (128, width)
    sounds = loudness > 0
    canvas[sounds] = (colour * brightness[..., None])[sounds]

    # The chord rows as they are.
    canvas[:border] = picture[:border]
    canvas[PITCHES - border :] = picture[PITCHES - border :]
    return canvas.clip(0, 255).astype(np.uint8)


def _draw_grid(ax: "Axes", lines: np.ndarray, width: int, pitches: tuple[int, int]) -> None:
    """Bar lines (steps) with numbers from 1, a line under every C, and the names of the octaves."""
    lines = lines[(lines >= 0) & (lines < width)]
    octaves = np.arange(0, PITCHES, 12)

    # Of many bars every second, fourth ... has a number; lines without one are fainter.
    room = DIGIT_ROOM * (len(str(len(lines))) + 1)
    most_numbers = max(_inches(ax) / room, 1)
    every = next(n for n in 2 ** np.arange(21) if len(lines) / n <= most_numbers)
    counts = np.arange(0, len(lines), every)
    ax.vlines(lines[counts], -0.5, PITCHES - 0.5, alpha=0.28, **GRID)
    ax.vlines(lines, -0.5, PITCHES - 0.5, alpha=0.28 / every**2, **GRID)
    ax.hlines(octaves - 0.5, 0, width, alpha=0.28, **GRID)

    # The octave of MIDI pitch 0 is number -1.
    size: DrawOptions = {"fontsize": TEXT_POINTS}
    ax.set_xticks(lines[counts], [str(count + 1) for count in counts], **size)
    ax.set_yticks(octaves, [f"C{n - 1}" for n in range(len(octaves))], **size)
    ax.set(xlim=(0, width), ylim=(pitches[0] - 0.5, pitches[1] + 0.5))
    ax.set_ylabel("pitch", **size)
    ax.set_xlabel("bar", loc="left", **size)
    ax.tick_params(length=2)
    ax.spines[:].set_visible(False)


def _draw_doubt(ax: "Axes", picture: Picture, doubt: np.ndarray, legend: bool) -> None:
    """Draw notes by their doubt, float (128, width), and beside them what its colours mean."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    doubt = np.asarray(doubt)
    if doubt.shape != picture.shape[:2] or doubt.dtype.kind not in "fiu":
        raise PictureError(
            f"the doubt is {doubt.dtype} {doubt.shape}, the picture {picture.shape[:2]}; "
            "give what pomkit.doubt says of it"
        )

    # Where a note begins it is brighter than where it sounds on.
    shades = ScalarMappable(Normalize(0, MOST_DOUBT, clip=True), colormaps["plasma"])
    colour = shades.to_rgba(doubt)  # (128, width, 4)
    goes_on = picture[..., 0] <= picture[..., 1]
    colour[goes_on, :3] *= 0.7
    colour[..., 3] = doubt > 0
    ax.imshow(colour, extent=ax.images[0].get_extent(), **IMSHOW_OPTIONS)
    if legend:
        options: DrawOptions = dict(extend="max", pad=0.01, fraction=0.03, label="doubt (bits)")
        ax.figure.colorbar(shades, ax=ax, **options).outline.set_visible(False)


def _draw_mask(ax: "Axes", mask: Mask) -> None:
    """Lay white glass over the cells of a mask, bool (128, width), and draw its outline."""
    if not mask.any():
        return
    glass = mask[..., None] * (1, 1, 1, 0.2)  # (128, width, 4), RGBA
    ax.imshow(glass, extent=ax.images[0].get_extent(), **IMSHOW_OPTIONS)

    # An edge is where a cell and the one before it differ.
    upright_row, upright_x = np.nonzero(np.diff(mask, axis=1, prepend=False, append=False))
    level_row, level_x = np.nonzero(np.diff(mask, axis=0, prepend=False, append=False))

    # A mask full of holes has so many edges that they would hide the notes.
    alpha = 0.45 if len(upright_row) > MOST_CLEAR_EDGES else 1.0
    line: DrawOptions = {
        "colors": "white",
        "alpha": alpha,
        "linewidth": 0.9 * alpha,
        "capstyle": "round",
    }
    top = pitch_of_row(upright_row) + 0.5
    ax.vlines(upright_x, top, top - 1, **line)
    ax.hlines(pitch_of_row(level_row) + 0.5, level_x, level_x + 1, **line)


def _draw_chords(ax: "Axes", chords: Sequence[Chord], mask: Mask) -> float:
    """A strip of chords over the Axes, white where `mask`, (border, width), is; its height (pt)."""
    place = ax.get_xaxis_transform()  # x in steps, y in heights of the Axes
    strip = partial(ax.broken_barh, yrange=(1.005, 0.025), transform=place, clip_on=False)

    # Names stand upright where they would run into each other.
    inches = _inches(ax) / ax.get_xlim()[1]  # of a step, about
    names = [_short_name(chord.label) for chord in chords]
    shortest = min((chord.duration for chord in chords), default=0)
    narrow = shortest * inches < LETTER_ROOM * max(map(len, names), default=0)
    rooms = [(UPRIGHT_ROOM if narrow else LETTER_ROOM * len(name)) / inches for name in names]

    for onset, duration, label in chords:
        strip([(onset, duration)], facecolors=[np.array(palette()[label]) / 255])
    font: DrawOptions = {"fontsize": TEXT_POINTS, "rotation": 90 if narrow else 0}
    named = _with_room([chord.onset for chord in chords], rooms)
    for number in named:
        onset = chords[number].onset
        ax.text(onset, 1.04, names[number], transform=place, va="bottom", color="0.25", **font)

    if mask.any():
        edges = np.flatnonzero(np.diff(mask.any(axis=0), prepend=False, append=False))
        runs = list(zip(edges[::2], np.diff(edges)[::2], strict=True))  # (begin, length)
        strip(runs, facecolors="white", edgecolors="0.4", alpha=0.7)

    if not named:
        return 6.0
    longest = max(len(names[number]) for number in named)
    return 12.0 + 0.65 * TEXT_POINTS * longest if narrow else 28.0


def _with_room(places: Sequence[int], rooms: Sequence[float]) -> list[int]:
    """Which of some names have room beside those before them; none, if most of them have not."""
    kept = []
    free_from = 0.0
    for number, (place, room) in enumerate(zip(places, rooms, strict=True)):
        if place >= free_from:
            kept.append(number)
            free_from = place + room
    return kept if 2 * len(kept) >= len(places) else []


def _inches(ax: "Axes") -> float:
    """How wide the Axes are, about: the layout may change it later."""
    return float(ax.bbox.width / ax.figure.dpi)


def _in_words(ax: "Axes", lines: np.ndarray, mask: Mask, *, is_new: bool, is_doubted: bool) -> str:
    """What a piano roll shows, for its alt text; `lines` are the steps at which bars begin."""
    width = mask.shape[1]
    low, high = (round(pitch) for pitch in ax.get_ylim())
    bars = int(np.count_nonzero((lines >= 0) & (lines < width)))
    words = [f"a piano roll, bars 1 to {bars}" if bars > 1 else f"a piano roll of {width} steps"]
    words.append(f"pitches {low} to {high}")

    if mask.any():
        columns = np.flatnonzero(mask.any(axis=0))
        first, last = np.searchsorted(lines, [columns[0], columns[-1]], side="right")
        words.append(f"the marked region lies in bars {first} to {last}")
    if is_new:
        words.append("what is new has colours of its own")
    if is_doubted:
        words.append("odd notes are bright")
    return ", ".join(words)


def _short_name(label: str) -> str:
    """A chord label in Harte's syntax as musicians write it: "A:min7" is "Am7"."""
    root, _, quality = label.partition(":")
    return root + SHORT.get(quality, quality)


def _draw_legend(
    place: "Axes | Figure", colours: str, masked: bool, new: bool, **where: Any
) -> None:
    """What the colours mean, in one row of keys."""
    from matplotlib.patches import Patch

    keys = []
    for name, (red, green, blue) in zip(COLOUR_NAMES, COLOURS[colours], strict=True):
        if new or not name.startswith("new"):
            rgb = (red / 255, green / 255, blue / 255)
            keys.append(Patch(facecolor=rgb, edgecolor="0.3", linewidth=0.5, label=name))
    if masked:
        key = Patch(facecolor="0.25", edgecolor="black", linewidth=0.9, label="to regenerate")
        keys.append(key)

    inches = place.bbox.width / place.figure.dpi
    in_a_row = max(min(len(keys), int(inches / KEY_ROOM)), 1)
    place.legend(
        handles=keys,
        ncols=in_a_row,
        frameon=False,
        fontsize=TEXT_POINTS,
        **KEY_OPTIONS,
        **where,
    )
