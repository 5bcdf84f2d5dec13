"""How alike two sets of pictures are: overlapping area and KLD of their features.

    area, divergence = compare(composed, real)["mean"]

A feature is a measure of `statistics`. Compared are not its values but the distances between clips:
those from composed to real clips ("inter") with those among real clips ("intra"). If the composed
clips are like real ones, they are as far from real clips as real clips are from each other.

    distances -> histograms -> densities (kernel) -> areas

Source: Yang and Lerch 2020, "On the evaluation of generative models in music",
doi 10.1007/s00521-018-3849-7. Read on in `structure`, which looks for bars that come back.
"""

from typing import Any, NamedTuple

import numpy as np

from .clips import PictureSet
from .statistics import describe

# The measures that are compared: numbers or histograms of each clip.
FEATURES = (
    "pitch_count",
    "pitch_range",
    "onsets_per_beat",
    "inter_onset_interval",
    "pitch_classes",
    "note_lengths",
)
# Bins of the densities of distances.
BINS = 256
# Keeps the logarithm of an empty bin finite.
TINY = 1e-10


class Smoothing(NamedTuple):
    """How histograms of distances become densities.

    Attributes:
        centres: the middle of each bin, float (BINS,).
        kernel: what a distance in one bin adds to the others, float (BINS, BINS).
    """

    centres: np.ndarray
    kernel: np.ndarray


def compare(
    generated: PictureSet,
    real: PictureSet,
    songs: Any = None,
    real_songs: Any = None,
    *,
    weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Compare a set with real music: overlapping area and KLD of each of `FEATURES`.

    With densities q of the distances from generated to real clips and p of those among real clips,
    the overlapping area is the integral of min(p, q), the KLD that of p log(p / q). Equal sets give
    (1, 0). No distance is within a song.

    Args:
        generated: uint8 (n, 128, width, 3), or Clips.
        real: uint8 (k, 128, width, 3), or Clips.
        songs: the song of each generated clip, a number from 0, (n,). None: clip i is of song i.
        real_songs: the song of each real clip, (k,), as `songs`.
        weights: how often each song counts, float (draws, 2, songs): in the generated set and in
            the real one. None: once.

    Returns:
        Feature -> float (2,), overlapping area and KLD, and "mean", that of all features. With
        `weights` (2, draws). nan where all clips are of one song.

    Raises:
        OptionError: a set's pictures are of different widths, or there are none.
    """
    values = describe(generated)
    real_values = describe(real)
    song = _numbers(songs, len(values["pitch_count"]))
    real_song = _numbers(real_songs, len(real_values["pitch_count"]))
    others = real_song[:, None] != real_song  # (k, k)

    draws = np.ones((1, 2, 1)) if weights is None else weights
    real_draws = draws[:, (1, 1)]

    alike = {}
    for name in FEATURES:
        # Distances from generated to real clips, and among real clips.
        inter = distances(values[name], real_values[name])
        intra = distances(real_values[name], real_values[name])
        centres, kernel = smoothing_of(inter, intra[others])

        # Their densities, and how much of these is common.
        counts = _histograms(inter, (song, real_song), centres, draws)
        real_counts = _histograms(intra, (real_song, real_song), centres, real_draws)
        q = _densities(counts, kernel)
        p = _densities(real_counts, kernel)
        alike[name] = np.stack([overlapping_area(p, q), divergence(p, q)])  # (2, draws)

    alike["mean"] = np.mean(list(alike.values()), axis=0)
    if weights is None:
        return {name: value[:, 0] for name, value in alike.items()}
    return alike


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean distances between a feature's values, float (n, k); nan counts as 0.

    Args:
        a: of n clips, (n,) or (n, kinds).
        b: of k clips, (k,) or (k, kinds).
    """
    rows = np.nan_to_num(a).reshape(len(a), 1, -1)  # (n, 1, kinds)
    others = np.nan_to_num(b).reshape(len(b), -1)  # (k, kinds)
    difference = rows - others  # (n, k, kinds)
    return np.linalg.norm(difference, axis=-1)


def smoothing_of(inter: np.ndarray, intra: np.ndarray) -> Smoothing:
    """Bins for all distances and a Gaussian kernel, whose width is Scott's rule for the real ones.

    Args:
        inter: distances from generated to real clips, float (n, k).
        intra: distances among real clips of different songs, float (pairs,).
    """
    pairs = len(intra)
    largest = max(
        float(inter.max()),
        float(intra.max(initial=0)),
        1e-6,
    )

    # Scott's rule: standard deviation * pairs ** -1/5; equal distances still need some width.
    deviation = float(intra.std()) if pairs else 0
    width = max(deviation, largest / BINS) * max(pairs, 1) ** -0.2

    # The kernel spreads beyond the distances.
    margin = 3 * width
    centres = np.linspace(-margin, largest + margin, BINS)
    bin_width = np.diff(centres)[0]
    distance = centres[:, None] - centres  # (BINS, BINS)
    deviations = distance / max(width, bin_width)
    return Smoothing(centres, np.exp(-0.5 * deviations**2))


def overlapping_area(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The sum of min(p, q), 1 for equal densities p and q: (draws, BINS) -> (draws,)."""
    return np.minimum(q, p).sum(axis=1)


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The sum of p log(p / q), Kullback and Leibler's, in nats; (draws, BINS) -> (draws,)."""
    ratio = (p + TINY) / (q + TINY)
    return (p * np.log(ratio)).sum(axis=1)


def _numbers(songs: Any, count: int) -> np.ndarray:
    """The song of each of `count` clips, int (count,); without `songs` each is of its own."""
    if songs is None:
        return np.arange(count)
    return np.asarray(songs)


def _histograms(
    distance: np.ndarray,
    songs: tuple[np.ndarray, np.ndarray],
    centres: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Count distances between clips of different songs in bins, float (draws, BINS).

    Args:
        distance: float (n, k).
        songs: of the clips of the rows, int (n,), and of the columns, int (k,).
        centres: of the bins, float (BINS,).
        weights: how often a song counts in rows and columns, float (draws, 2, songs).
    """
    a, b = songs
    count = weights.shape[2]
    bin_width = centres[1] - centres[0]
    nearest_bin = np.rint((distance - centres[0]) / bin_width).astype(int)

    # A histogram for each pair of songs; where one weight stands for all songs, % 1 joins them.
    a = a[:, None]  # (n, 1)
    pair = (a % count) * count + b % count  # (n, k)
    cell = pair * BINS + nearest_bin
    cells = cell[a != b]  # (pairs,)
    by_pair = np.bincount(cells, minlength=count * count * BINS)
    by_pair = by_pair.reshape(count, count, BINS)  # (songs, songs, BINS)

    # Every draw of songs is a weighted sum of these.
    weight, other_weight = np.moveaxis(weights, 1, 0)  # (draws, songs) each
    rows = np.tensordot(weight, by_pair, 1)  # (draws, songs, BINS)
    return (rows * other_weight[..., None]).sum(axis=1)


def _densities(histograms: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Smooth histograms and let each sum to 1, float (draws, BINS); nan where one is empty."""
    smooth = histograms @ kernel
    with np.errstate(invalid="ignore"):
        return smooth / smooth.sum(axis=1, keepdims=True)
