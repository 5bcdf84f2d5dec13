"""The network: the hourglass diffusion transformer (notebook 04).

Reading order: hdit.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(__name__, {"hdit": "HDiT HDiTConfig Level CONFIGS"})
