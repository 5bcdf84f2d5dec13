"""The network: the hourglass diffusion transformer (notebook 04).

Reading order: matrix, attention, local, hdit.

- `matrix`: a matrix times every token, as fast as the processor can.
- `attention`: the layers: norm, attention, feed-forward.
- `local`: rules of single pixels, beside the tokens.
- `hdit`: the hourglass that they form, and its configurations.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__, {"attention": "Level", "local": "Local", "hdit": "HDiT HDiTConfig CONFIGS"}
)
