"""Training a model, resumable to the same weights (notebooks 05, 11).

Reading order: trainer.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__, {"trainer": "Trainer TrainOptions TrainSet loss_of new_model VALID_SEED"}
)
