"""How like the real melody a composed one is, in its phrases and not note by note.

    tokens = line_of(notes)               # the highest notes, as moves and lengths
    bleu(line_of(composed), line_of(real))

BLEU counts how many runs of one to four tokens also stand in the reference, wherever they stand
there. A token here is how far the line moves and how long it stays, so a phrase that comes one bar
later or in another key still counts. Two good melodies have little in common: the value says how
much of the real one came back, not how good the other one is.

Source: Papineni et al. 2002, "BLEU", doi 10.3115/1073083.1073135; one is added to the counts of
runs of two and more (Lin and Och 2004), since a melody of some bars is a short text. Read on in
`metrics`.
"""

import math
from collections import Counter

import numpy as np

from .clips import Notes

LONGEST_RUN = 4
Token = tuple[int, int]  # semitones from the note before, steps up to the next note


def line_of(notes: Notes) -> list[Token]:
    """The line of highest notes as moves and lengths, a token for each note but the first.

    Args:
        notes: NOTE_DTYPE (notes,), of one clip. The last note is as long as it sounds.
    """
    order = np.lexsort((notes["pitch"], notes["onset"]))
    onset = notes["onset"][order].astype(int)
    # Of the notes that begin together the last one is the highest.
    highest = np.diff(onset, append=-1) != 0
    line = notes[order][highest]

    moves = np.diff(line["pitch"].astype(int))
    lengths = np.append(np.diff(line["onset"]), line["duration"][-1:])
    return list(zip(moves.tolist(), lengths[1:].tolist(), strict=True))


def bleu(composed: list[Token], reference: list[Token]) -> float:
    """BLEU of a line against a reference: 0, nothing in common, to 1, the same.

    Args:
        composed: the line, see `line_of`.
        reference: the real line.
    """
    if not composed or not reference:
        return 0.0
    total = 0.0
    for length in range(1, LONGEST_RUN + 1):
        runs = runs_of(composed, length)
        shared = (runs & runs_of(reference, length)).total()
        added = int(length > 1)
        total += math.log(max(shared + added, 1e-9) / (runs.total() + added))

    # Otherwise a single right token would be a perfect line.
    brevity = min(0.0, 1 - len(reference) / len(composed))
    return math.exp(brevity + total / LONGEST_RUN)


def runs_of(line: list[Token], length: int) -> Counter[tuple[Token, ...]]:
    """How often each run of so many tokens stands in a line."""
    return Counter(tuple(line[i : i + length]) for i in range(len(line) - length + 1))
