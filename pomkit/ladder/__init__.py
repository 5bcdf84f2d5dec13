"""The ladder: other systems of image-based music generation, small, on one contract (notebook 12).

Each of them is a process: `python -m pomkit.train --process NAME` trains it, `load_model` loads it,
`inpaint` composes with it. Nothing imports this folder; the package can be read without it.

Reading order: system, answering.

- `system`: what all of them share: cells in, cells out, windows of 64 x 64, which masks.
- `answering`: how a system answers a mask that it was not made for.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "system": "System",
        "answering": "",
    },
)
