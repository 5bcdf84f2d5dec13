"""Chords: labels in Harte syntax, and the 169 labels that a picture can hold.

A label is a root, a colon and a quality ("C:maj7"), or "N" where there is no chord. A MIDI file and
a person may write any label of Harte et al. (2005); a picture holds one of `LABELS`, and
`reduce_chord` names the nearest. Chords have an onset and a duration in steps.

    reduce_chord("C#:9/3")                       # "Db:7"
    root, tones = chord_tones("A:min")           # 9, and True at the pitch classes 9, 0 and 4
    transpose_chord("Bb:7", 3)                   # "Db:7"

Read on: `harmony`, which estimates chords and keys from notes; `palette`, which paints chords.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..errors import OptionError

ROOTS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

# Pitch classes above the root of every quality that a picture can hold; the earlier wins a tie.
QUALITIES: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "sus4": (0, 5, 7),
    "sus2": (0, 2, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "hdim7": (0, 3, 6, 10),
    "dim7": (0, 3, 6, 9),
    "maj6": (0, 4, 7, 9),
    "min6": (0, 3, 7, 9),
    "minmaj7": (0, 3, 7, 11),
}
# The same as bool (12,), True at the pitch classes above the root.
TONES = {quality: np.isin(np.arange(12), tones) for quality, tones in QUALITIES.items()}

NO_CHORD = "N"
UNKNOWN_CHORD = "X"  # Harte's sign (not known): ends a chord in the markers of a MIDI file
LABELS = (NO_CHORD, *(f"{root}:{quality}" for root in ROOTS for quality in QUALITIES))

# A text that is meant as a chord: a lone "A" may be a section of a song, a lone "N" a syllable.
CHORD_MARKER = re.compile(r"[A-G][#b]*:\S{1,30}")
# The name of a chord in other ways of writing: "F#m7", "Bbsus4", "C/E"; also a lone "A".
BARE_NAME = re.compile(
    r"[A-G][#b]*(m|M|mi|min|ma|maj|dim|aug|sus[24]?|add|alt|5|6|7|9|11|13|[-+°ø△Δ(),/#b]|/[A-G])*"
)
# More characters have no names of chords.
LONGEST_NAME = 32
# Accidentals of Unicode, as Harte syntax writes them.
ACCIDENTALS = str.maketrans({"♭": "b", "♯": "#", "𝄫": "bb", "𝄪": "##", "♮": ""})


def pitch_name(pitch: int) -> str:
    """A pitch as people say it: 60 is "C4"."""
    return f"{ROOTS[pitch % 12]}{pitch // 12 - 1}"


class Chord(NamedTuple):
    """A chord over a span of steps.

    Attributes:
        onset: its first step.
        duration: in steps.
        label: in Harte syntax, like "C:maj7" or "N".
    """

    onset: int
    duration: int
    label: str


class MarkedChords(NamedTuple):
    """The chords that texts of a MIDI file name.

    Attributes:
        chords: those that are understood, by onset.
        unknown: the texts of the others, in their order.
    """

    chords: tuple[Chord, ...]
    unknown: tuple[str, ...]


@lru_cache(maxsize=4096)
def reduce_chord(label: str) -> str:
    """The label of the palette that is nearest to a chord.

    Extensions and bass are left out. The quality wins that differs in the fewest tones.

    Args:
        label: a chord in Harte syntax, like "C#:9/3" or "D♭:9".

    Returns:
        One of `LABELS`, like "Db:7".

    Raises:
        OptionError: `label` is no chord.

    Source: the syntax is that of Harte et al. 2005, parsed by mir_eval.
    """
    if label in LABELS:
        return label
    # Imported only here: it is slow to import and seldom needed.
    import mir_eval

    try:
        plain = label.translate(ACCIDENTALS)
        mir_eval.chord.validate_chord_label(plain)
        # mir_eval counts the bass among the tones.
        upper, _, _ = plain.partition("/")
        root, tones, _ = mir_eval.chord.encode(upper, reduce_extended_chords=True)
    except Exception as fault:
        raise OptionError(
            f"{label!r} is no chord in Harte syntax; write it like C:maj, F#:min7, Bb:7 or N"
        ) from fault
    if root < 0:
        return NO_CHORD

    sounding = np.asarray(tones) > 0
    differences = [(TONES[quality] != sounding).sum() for quality in QUALITIES]
    nearest = list(QUALITIES)[int(np.argmin(differences))]
    return f"{ROOTS[root % 12]}:{nearest}"


def chord_tones(label: str) -> tuple[int, np.ndarray]:
    """The root and the tones of a chord.

    Args:
        label: any label in Harte syntax.

    Returns:
        The root's pitch class (-1: no chord), and the tones by pitch class, bool (12,).
    """
    name, _, quality = reduce_chord(label).partition(":")
    if not quality:
        return -1, np.zeros(12, bool)
    root = ROOTS.index(name)
    return root, np.roll(TONES[quality], root)


def transpose_chord(label: str, semitones: int) -> str:
    """The label moved by `semitones`, reduced to the palette's labels."""
    name, _, quality = reduce_chord(label).partition(":")
    if not quality:
        return NO_CHORD
    root = (ROOTS.index(name) + semitones) % 12
    return f"{ROOTS[root]}:{quality}"


def tidy_chords(chords: Sequence[Chord]) -> tuple[tuple[Chord, ...], int]:
    """Chords as a picture holds them: labels of the palette, no overlaps, equal neighbours joined.

    Args:
        chords: in any order; where two overlap, the later one cuts the earlier.

    Returns:
        The chords by onset, and how many of those given were reduced or cut.
    """
    ordered = [Chord(*chord) for chord in sorted(chords)]
    ends = [chord.onset + chord.duration for chord in ordered]
    tidy: list[Chord] = []
    changed = 0
    for i, (onset, duration, label) in enumerate(ordered):
        following = ordered[i + 1].onset if i + 1 < len(ordered) else ends[i]
        end = min(ends[i], following)
        reduced = reduce_chord(label)
        changed += reduced != label or end != onset + duration
        if end <= onset:
            continue

        # An equal neighbour goes on instead of beginning again.
        if tidy and tidy[-1].label == reduced and tidy[-1].onset + tidy[-1].duration == onset:
            onset = tidy.pop().onset
        tidy.append(Chord(onset, end - onset, reduced))
    return tuple(tidy), changed


def chords_from_markers(markers: Sequence[tuple[int, str]], length: int) -> tuple[Chord, ...]:
    """Chords from the markers or lyrics of a MIDI file; each lasts to the next one or to "X".

    Args:
        markers: (step, text), like (16, "C:maj7"), (32, "N").
        length: the step at which the last chord ends.
    """
    return read_markers(markers, length).chords


def read_markers(markers: Sequence[tuple[int, str]], length: int) -> MarkedChords:
    """The same, and the chords that are not understood: each stands for an "X".

    The texts are words, and there are no chords, unless one of them is a chord beyond doubt (it has
    a colon), or all of them are "N" and "X", as pomkit writes them.

    Args:
        markers: (step, text), like (16, "C:maj7"), (32, "N"), (48, "C:aug7").
        length: the step at which the last chord ends.
    """
    ordered = sorted(markers, key=lambda marker: marker[0])
    texts = [(step, text.strip().translate(ACCIDENTALS)) for step, text in ordered]
    words = {text for _, text in texts}
    sure = chord_signs(words)
    if not sure:
        return MarkedChords((), ())

    # What begins with a chord that is understood may have another text beside it.
    places = {step for step, text in texts if text in sure}
    meant = _names_of_chords(words) - sure
    unknown = [(step, text) for step, text in texts if text in meant and step not in places]

    known = [(step, text) for step, text in texts if text in sure]
    ends = [(step, UNKNOWN_CHORD) for step, _ in unknown]
    beginnings = sorted(known + ends, key=lambda beginning: beginning[0])
    stops = [step for step, _ in beginnings[1:]] + [length]
    spans = zip(beginnings, stops, strict=True)
    chords = [Chord(step, stop - step, text) for (step, text), stop in spans]
    kept = (c for c in chords if c.label != UNKNOWN_CHORD and c.duration > 0)
    return MarkedChords(tuple(kept), tuple(text for step, text in unknown if step < length))


def _names_of_chords(words: set[str]) -> set[str]:
    """Which words are meant as chords, understood or not."""
    short = {word for word in words if len(word) <= LONGEST_NAME}
    meant = {word for word in short if CHORD_MARKER.fullmatch(word) or BARE_NAME.fullmatch(word)}

    # Among other words a lone letter is a syllable or a section.
    if words - meant - {NO_CHORD, UNKNOWN_CHORD}:
        meant = {word for word in meant if len(word) > 1}
    return meant


def chord_signs(texts: Iterable[str]) -> set[str]:
    """Those of a file's texts that begin or end a chord, by the rule of `read_markers`."""
    words = {text: text.strip().translate(ACCIDENTALS) for text in texts}
    if not words:
        return set()
    found = set(words.values())
    named = {word for word in found if CHORD_MARKER.fullmatch(word) and _is_chord(word)}
    signs = {NO_CHORD, UNKNOWN_CHORD}
    if not named and found != signs:
        return set()
    return {text for text, word in words.items() if word in named | signs}


def _is_chord(text: str) -> bool:
    """Whether a text is a chord in Harte syntax."""
    try:
        reduce_chord(text)
    except OptionError:
        return False
    return True
