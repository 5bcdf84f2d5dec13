"""Training a model, resumable to the same weights (notebooks 05, 11).

Reading order: options, examples, state, trainer.

- `options`: what a run is made of.
- `examples`: what a model learns from, and what that costs.
- `state`: a run as a file; the card of its model.
- `trainer`: the loop.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "options": "TrainOptions",
        "examples": "TrainSet loss_of new_model",
        "state": "",
        "trainer": "Trainer VALID_SEED",
    },
)
