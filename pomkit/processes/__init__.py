"""How a model learns and composes (notebooks 03, 06, 07).

Reading order: contract, registry, schedules, strength, kdiffusion, samplers, densities, wide,
states, controls, chain, edm, orders, uncover, pairs, cells, steering, categorical, heads, sketch,
rules, checkpoint.

- `contract`: what every family of models answers; `registry`: the families by name.
- `schedules`: levels of noise, numbers of cells: plain lists; `strength`: graded masks.
- `samplers`: from noise to a picture, and RePaint; `kdiffusion`: others by name.
- `densities`: noise in training.
- `wide`: pictures wider than what a model learned.
- `controls`, `rules`: what bends sampling, without training; `sketch`: a rhythm and a contour, held
  by a rule; `chain`: rows of whole notes.
- `edm`: the paper's process, Gaussian noise on pixels.
- `states`, `uncover`, `cells`: absorbing diffusion on cells {off, sustain, onset}; `orders`: which
  cells are uncovered first; `pairs`: what notes say to each other, a head of cells.
- `categorical`: Gaussian noise again, with a head that says which cell a pixel is; `heads`: the
  family's heads by name; `steering`: how controls bend it.
- `checkpoint`: models as files.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "contract": "Model Options Process",
        "registry": "FAMILIES family",
        "schedules": "karras_sigmas repaint_schedule uncovering",
        "strength": "",
        "kdiffusion": "",
        "samplers": "SAMPLERS get_sampler repaint",
        "densities": "",
        "wide": "",
        "states": "Draft",
        "controls": "",
        "chain": "",
        "edm": "Denoiser",
        "orders": "ORDERS halton_rank",
        "uncover": "sample_cells",
        "pairs": "Pairs",
        "cells": "Cells",
        "steering": "",
        "categorical": "CategoricalDenoiser",
        "heads": "",
        "sketch": "Sketch",
        "rules": "",
        "checkpoint": "load_model save_model model_names",
    },
)
