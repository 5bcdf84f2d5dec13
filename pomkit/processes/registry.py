"""The families of models by name: a new one is a line here.

family("cells")                    # the class Cells, imported now
FAMILIES["mine"] = "my_module:Mine"         # or the class itself
"""

from importlib import import_module

from ..errors import check_choice
from .contract import Model

# Name -> where its class is, "module:Class"; a dot before the module means this package.
FAMILIES: dict[str, str | type[Model]] = {
    "cells": ".processes.cells:Cells",
    "edm": ".processes.heads:Edm",
    "pixelcnn": ".ladder.autoregressive:PixelCNN",
    "tokens": ".ladder.autoregressive:TokenTransformer",
    "coconet": ".ladder.orderless:Coconet",
    "wgan": ".ladder.gan:Wgan",
    "midinet": ".ladder.gan:Midinet",
    "musegan": ".ladder.gan:Musegan",
    "autoencoder": ".ladder.autoencoder:Autoencoder",
    "dae": ".ladder.autoencoder:DenoisingAutoencoder",
    "faders": ".ladder.autoencoder:Faders",
    "diffroll": ".ladder.diffroll:DiffRoll",
    "spectrogram": ".ladder.spectrogram:SpectrogramDiffusion",
    "texture": ".ladder.texture:Texture",
    "cascade": ".ladder.cascade:Cascade",
}


def family(process: str) -> type[Model]:
    """The class of a family, imported when it is asked for; OptionError for an unknown name."""
    check_choice("process", process, FAMILIES)
    home = FAMILIES[process]
    if not isinstance(home, str):
        return home
    module, _, name = home.partition(":")
    return getattr(import_module(module, __package__.partition(".")[0]), name)
