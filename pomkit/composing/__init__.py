"""Composing: picture in, pictures out (notebooks 07, 10).

Reading order: region.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(__name__, {"region": "inpaint generate Pictures"})
