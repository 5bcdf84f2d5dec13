"""Tables of version 0.1.0 that nothing here asks any more: a model answers for itself now.

`model.methods` and `model.options` say what these said for the two families of that version.
"""

# Process -> method -> network calls of one pass.
METHODS = {"cells": {"uncover": 16}, "edm": {"conditioned": 20, "repaint": 40}}
# Option of `inpaint` -> the only process that knew it.
ONLY = {
    "sampler": "edm",
    "temperature": "cells",
    "top_p": "cells",
    "rule": "cells",
    "pitch_bias": "cells",
}
