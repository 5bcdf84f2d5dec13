"""Which of C# and Db is written: the names of pitches in a key.

Names lie on a circle of fifths: ... Bb, F, C, G, D, A, E, B, F#, C# ... A key writes every pitch
with the name that is nearest to its own notes:

    spell(61, lowest_fifth("D"))     # "C#"
    spell(61, lowest_fifth("Ab"))    # "Db"
    key_of(song.notes)               # "Em": the key of notes that name none
"""

import numpy as np

from .harmony import estimate_key
from .midi_codes import MAJOR_KEYS, MINOR_KEYS, MOST_SHARPS

# Letters in the order of fifths; after B the circle begins again, a sharp higher.
LETTERS = "FCGDAEB"
# A key spells the twelve pitches from so many fifths below its tonic on: C major with Eb, Bb, F ...
# C#, G#. A minor key counts from its relative major: A minor has Bb, F ... G#, D#.
FIRST_FIFTH = -3
FIRST_FIFTH_OF_MINOR = -2
# Of fewer pitches (without their octaves) no key is estimated.
PITCHES_OF_A_KEY = 5


def key_of(notes: np.ndarray) -> str:
    """The key to write notes in, estimated: the one with the fewest flats or sharps.

    Args:
        notes: NOTE_DTYPE (notes,).

    Returns:
        Like "Em"; "C" where there are too few pitches for an estimate.
    """
    if len(np.unique(notes["pitch"] % 12)) < PITCHES_OF_A_KEY:
        return "C"
    root, _, mode = estimate_key(notes).partition(":")
    names = MINOR_KEYS if mode == "min" else MAJOR_KEYS
    same = [name for name in names if pitch_class(name) == pitch_class(root)]
    return min(same, key=lambda name: abs(sharps_of(name)))


def sharps_of(key: str) -> int:
    """How many sharps a key has, like "Em"; flats count below 0."""
    names = MINOR_KEYS if key.endswith("m") else MAJOR_KEYS
    return names.index(key) - MOST_SHARPS


def fifths_of(name: str) -> int:
    """How many fifths a name lies above C: "D" 2, "Bb" -2."""
    return LETTERS.index(name[0]) - 1 + len(LETTERS) * (name.count("#") - name.count("b"))


def pitch_class(name: str) -> int:
    """The pitch class of a name like "Bb", or of the tonic of "C#m"."""
    return 7 * fifths_of(name) % 12


def lowest_fifth(key: str) -> int:
    """The lowest name that a key spells with, in fifths above C: -3 (Eb) in C major."""
    first = FIRST_FIFTH_OF_MINOR if key.endswith("m") else FIRST_FIFTH
    return sharps_of(key) + first


def spell(pitch: int, lowest: int) -> str:
    """The name of a pitch, without its octave: "Bb", "F##".

    Args:
        pitch: in semitones above any C.
        lowest: the lowest name that is used, in fifths above C: -3 is Eb.
    """
    # Seven semitones are a fifth, and seven fifths a semitone.
    fifths = lowest + (7 * pitch - lowest) % 12
    alter, letter = divmod(fifths + 1, len(LETTERS))
    return LETTERS[letter] + "#" * alter + "b" * -alter


def octave_of(pitch: int, name: str) -> int:
    """The octave that is written behind a name: 4 from middle C on, where B# is still 3.

    Args:
        pitch: 0-127.
        name: its name, as `spell` gives it.
    """
    return (pitch - name.count("#") + name.count("b")) // 12 - 1


def bass_of(label: str, root: str) -> str | None:
    """The bass that a chord's label names ("C:maj/3"), None where it is the root.

    Args:
        label: in Harte syntax.
        root: the name of its root; the bass is spelled as in the major key of that.
    """
    if "/" not in label:
        return None
    import mir_eval

    _, _, above = mir_eval.chord.encode(label, reduce_extended_chords=True)
    fifths = fifths_of(root)
    return spell(7 * fifths + int(above), fifths + FIRST_FIFTH) if above else None
