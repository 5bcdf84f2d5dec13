"""See a song and hear it (notebook 00).

Reading order: plot, synths, audio.

- `plot`: a picture with bars, pitch names, chords and mask, for people.
- `synths`: how notes become samples: FluidSynth, midirenderer, plain tones.
- `audio`: the first of them that plays here; a Song at its own tempi, with its instruments.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {"plot": "show side_by_side save_png loss_plot", "audio": "synthesize listen write_wav"},
)
