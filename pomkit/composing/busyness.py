"""How busy music becomes where nobody says it: as its song, or as songs that a model learned from.

    limit = busiest_of(song, mask)                # onsets in 16 steps
    inpaint(model, picture, mask, busiest=limit)
    rate = density_from_nothing(model, seed=1)

A model learned how many notes the songs of its corpus have, and cannot know that this one is a slow
hymn: where the whole melody is hidden, nothing tells it so. The song does. Law: three quarters of
the bars that have notes of the composed kind are no busier than the limit, so music that goes on as
the song does is hardly touched by it.

Where nothing at all is known, there is no song to ask. A model that learned pop songs and tunes of
one voice then expects the mean of both, which is neither. So the number of notes is drawn first,
from those of the windows that it learned from, and then the music.
"""

from typing import Any

import numpy as np

from ..music import mask_words
from ..music.midi_codes import DRUMS
from ..music.pixels import Mask
from ..music.song import Song
from ..music.tables import BAR

# So many of the bars with notes are no busier than the limit.
SHARE = 0.75
# So that the draw is another one than those of the music with the same seed.
DENSITY_DRAW = 17


def busiest_of(song: Song, mask: Mask, start: int = 0, *, part: str | None = None) -> float | None:
    """The onsets in 16 steps that are exceeded in a quarter of a song's bars with notes.

    Where the mask is that of a part, or of the melody or the accompaniment, the notes of that part
    count, else all that have a pitch.

    Args:
        song: with the notes that are there now.
        mask: bool (128, width), what is composed.
        start: the step of the song that is column 0 of the mask.
        part: a word of `part_words`, where it is known; None: the one whose mask it is, if any.

    Returns:
        Onsets; None where there are none to count.
    """
    part = part or mask_words.part_of_mask(mask, song, start)
    if part:
        counted = mask_words.part_notes(song, part)
    else:
        drums = [number for number, channel in enumerate(song.channels) if channel == DRUMS]
        counted = ~np.isin(song.notes["part"], drums)

    # Bars of all lengths, by what they would have in 16 steps.
    lines = song.bar_lines()
    in_bar, _ = np.histogram(song.notes["onset"][counted], lines)  # (bars,)
    rate = in_bar * BAR / np.diff(lines)
    rate = rate[in_bar > 0]
    return float(np.quantile(rate, SHARE)) if len(rate) else None


def density_from_nothing(model: Any, *, seed: int) -> float | None:
    """Onsets in 16 steps for music before which nothing is known.

    Args:
        model: its card may hold "densities", see `data.windows.usual_densities`.
        seed: decides, among the windows that it learned from, as busy as which one the music is.

    Returns:
        Onsets; None where the card does not say it, or the model cannot be asked for a number.
    """
    quantiles = model.card.get("densities")
    if not quantiles or "density" not in model.options:
        return None
    u = np.random.default_rng((seed % 2**64, DENSITY_DRAW)).random()
    return float(np.interp(u, np.linspace(0, 1, len(quantiles)), quantiles))
