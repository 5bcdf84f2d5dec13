"""The family "edm" by its heads: what the network says, pixels or cells.

    family("edm").from_options(TrainOptions(head="cells"))      # a CategoricalDenoiser
    family("edm").from_spec(spec)                               # by spec["head"]

A specification without a head is of version 0.1.0, which knew pixels alone.
"""

from collections.abc import Mapping
from typing import Any

from ..errors import check_choice
from .categorical import CategoricalDenoiser
from .cells import Cells
from .contract import Model, check_rows, local_head
from .edm import Denoiser, GaussianNoise

HEADS: dict[str, type[GaussianNoise]] = {"cells": CategoricalDenoiser, "pixels": Denoiser}


def named_head(name: str) -> type[GaussianNoise]:
    """The class of a head; OptionError for an unknown name."""
    check_choice("head", name, HEADS)
    return HEADS[name]


class Edm(GaussianNoise):
    """The family itself: it makes models of either head, and has none of its own."""

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Model:
        """A model with fresh weights from what a head's `spec` gave."""
        return named_head(spec.get("head", "pixels")).from_spec(spec)

    @classmethod
    def from_options(cls, options: Any) -> Model:
        """A model with fresh weights for a training run; OptionError for an unknown head."""
        head = named_head(options.head)
        check_rows(head, options)
        return head.from_options(options)

    @classmethod
    def begin_with(cls, model: Model, options: Any) -> Model:
        """The model itself, but for the cells head the weights of a cells model.

        Of both heads only that one takes the bar's position.

        Args:
            model: a trained model.
            options: the `TrainOptions` of the run.

        Raises:
            OptionError: whole rows are asked for of a head that knows no cells.
        """
        if options.head == "cells" and isinstance(model, Cells):
            model = CategoricalDenoiser.from_cells(model, local_head(options, usual=True))
        if options.bar_position and isinstance(model, CategoricalDenoiser):
            model = model.told_of_bars()
        return super().begin_with(model, options)
