"""Intervals over songs, and how well scores tell two sets apart.

    draws = draw_songs(songs, count=50, seed=0)        # how often each song counts
    value, low, high = auc_over_songs(real_scores, composed_scores, songs, folds)

Windows of one song are alike, so chance acts on songs: an interval comes from songs that are drawn
again with replacement, each with all its windows (bootstrap).

Two models that composed the same windows are compared draw by draw: a hard song is hard for both,
so the interval of their difference is narrower than their own intervals are.

    one = auc_draws(real_scores, composed_scores, songs, folds)
    other = auc_draws(real_scores_of_other, scores_of_other, songs, folds)
    value, low, high = interval_of(one - other)

Read on in `likeness`.
"""

import numpy as np

# Draws of songs.
DRAWS = 200
# Between these quantiles are 95 % of the draws.
INTERVAL = (0.025, 0.975)


def draw_songs(songs: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """How often each song counts: first every song once, then as drawn with replacement.

    Args:
        songs: the numbers of the songs that are drawn from, with repeats, int (windows,).
        count: how many songs there are in all.
        seed: of the draws.

    Returns:
        float (1 + DRAWS, count).
    """
    rng = np.random.default_rng(seed)
    there = np.unique(songs)
    shares = np.ones(len(there)) / len(there)
    draws = np.ones((1 + DRAWS, count))
    draws[1:, there] = rng.multinomial(len(there), shares, DRAWS)
    return draws


def wins(real: np.ndarray, composed: np.ndarray) -> np.ndarray:
    """Whether each composed score is above each real one, float (k, n); 1/2 where they are equal.

    Args:
        real: scores, float (n,).
        composed: scores, float (k,).
    """
    difference = composed[:, None] - real  # (k, n)
    return (1 + np.sign(difference)) / 2


def rank_auc(real: np.ndarray, composed: np.ndarray) -> float:
    """The share of pairs in which the composed score is above the real one: the area under ROC.

    Equal sets give .5; where every composed score is higher it is 1. Swapped sets give 1 - AUC.

    Args:
        real: scores, float (n,).
        composed: scores, float (k,).

    Source: Mann and Whitney 1947; Hanley and McNeil 1982, doi 10.1148/radiology.143.1.7063747.
    """
    return float(wins(real, composed).mean())


def auc_draws(
    real: np.ndarray,
    composed: np.ndarray,
    songs: np.ndarray,
    folds: np.ndarray,
    *,
    seed: int = 0,
) -> np.ndarray:
    """The AUC over pairs of one fold: of all songs, then of each draw of songs.

    Scores of different folds come from different networks, so they are not compared. Equal songs
    and seeds give the same draws, whatever the scores are.

    Args:
        real: scores of real windows, float (n,).
        composed: scores of their composed twins, float (n,).
        songs: the number of each window's song, int (n,).
        folds: the number of each window's fold, int (n,).
        seed: of the draws.

    Returns:
        float (1 + DRAWS,).
    """
    # Pairs and wins, added up by the two songs that meet.
    counted = folds[:, None] == folds  # (n, n)
    won = wins(real, composed) * counted  # (n, n)
    count = int(songs.max()) + 1
    of_song = np.eye(count)[songs]  # (n, songs)
    pairs_by_song = of_song.T @ counted @ of_song  # (songs, songs)
    wins_by_song = of_song.T @ won @ of_song  # (songs, songs)

    # A pair counts as often as both of its songs were drawn.
    draws = draw_songs(songs, count, seed)
    above = np.einsum("di,ij,dj->d", draws, wins_by_song, draws)
    below = np.einsum("di,ij,dj->d", draws, pairs_by_song, draws)
    return above / below


def interval_of(draws: np.ndarray) -> list[float]:
    """The value of all songs, and its 95 % bootstrap interval: [value, low, high].

    Args:
        draws: the value of all songs, then that of each draw, float (1 + DRAWS,).
    """
    return [float(number) for number in (draws[0], *np.nanquantile(draws[1:], INTERVAL))]


def auc_over_songs(
    real: np.ndarray,
    composed: np.ndarray,
    songs: np.ndarray,
    folds: np.ndarray,
    *,
    seed: int = 0,
) -> list[float]:
    """The AUC over pairs of one fold, and its 95 % bootstrap interval over songs.

    Args:
        real: scores of real windows, float (n,).
        composed: scores of their composed twins, float (n,).
        songs: the number of each window's song, int (n,).
        folds: the number of each window's fold, int (n,).
        seed: of the draws.

    Returns:
        [value, low, high].
    """
    return interval_of(auc_draws(real, composed, songs, folds, seed=seed))
