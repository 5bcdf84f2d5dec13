"""How a model learns and composes: Gaussian noise on pixels, and hiding cells (notebooks 03, 06, 07).

Reading order: kdiffusion, edm, cells, rules, checkpoint.

- `kdiffusion`: a bridge to k-diffusion's samplers, where it is installed.
- `edm`: Gaussian noise: preconditioning, losses, samplers, RePaint.
- `cells`: absorbing diffusion on cells {off, sustain, onset}.
- `rules`: what bends sampling, without training.
- `checkpoint`: models as files.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "kdiffusion": "",
        "edm": "Denoiser",
        "cells": "Cells",
        "rules": "",
        "checkpoint": "load_model save_model model_names",
    },
)
