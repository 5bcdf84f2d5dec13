"""See a song and hear it (notebook 00).

Reading order: plot, audio.

- `plot`: a picture with bars, pitch names, chords and mask, for people.
- `audio`: FluidSynth where it is found, else plainer tones.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {"plot": "show side_by_side save_png loss_plot", "audio": "synthesize listen write_wav"},
)
