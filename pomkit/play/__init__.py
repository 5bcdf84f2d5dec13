"""See a song and hear it (notebook 00).

Reading order: plot, figures, synths, audio.

- `plot`: a picture with bars, pitch names, chords and mask, for people.
- `figures`: a notebook's figures wide, with large text, safe colours and an alt text.
- `synths`: how notes become samples: FluidSynth, midirenderer, plain tones.
- `audio`: the first of them that plays here; a Song at its own tempi, with its instruments.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "plot": "show side_by_side save_png loss_plot",
        "figures": "legible_figures",
        "audio": "synthesize listen write_wav",
    },
)
