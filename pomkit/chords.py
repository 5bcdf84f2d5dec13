"""Chords: labels in Harte syntax, the palette of labels that a picture can hold, and estimation from notes."""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .errors import OptionError

ROOTS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
# Pitch classes above the root of every chord quality that a picture can hold; the earlier one wins a tie.
QUALITIES: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7), "min": (0, 3, 7), "7": (0, 4, 7, 10), "maj7": (0, 4, 7, 11), "min7": (0, 3, 7, 10),
    "sus4": (0, 5, 7), "sus2": (0, 2, 7), "dim": (0, 3, 6), "aug": (0, 4, 8), "hdim7": (0, 3, 6, 10),
    "dim7": (0, 3, 6, 9), "maj6": (0, 4, 7, 9), "min6": (0, 3, 7, 9), "minmaj7": (0, 3, 7, 11),
}
NO_CHORD = "N"
UNKNOWN_CHORD = "X"        # Harte's sign for "not known": ends a chord in the markers of a MIDI file


class Chord(NamedTuple):
    """A chord label over a span of steps: onset and duration in steps, label in Harte syntax ("C:maj7", "N")."""

    onset: int
    duration: int
    label: str


@lru_cache(maxsize=4096)
def reduce_chord(label: str) -> str:
    """The palette's nearest label to a chord in Harte syntax: "C#:9/3" -> "Db:7"; OptionError if it is no chord.

    Extensions and the bass are left out; of the qualities that a picture can hold, the one that differs in the fewest
    chord tones is taken. Syntax: Harte et al. 2005, parsed by mir_eval.
    """
    import mir_eval

    try:
        root, tones, _ = mir_eval.chord.encode(label, reduce_extended_chords=True)
    except Exception as fault:
        raise OptionError(f"{label!r} is no chord in Harte syntax; write it like C:maj, F#:min7, Bb:7 or N") from fault
    if root < 0:
        return NO_CHORD
    distance = [int((chord_bits(q) != (np.asarray(tones) > 0)).sum()) for q in QUALITIES]
    return f"{ROOTS[root % 12]}:{list(QUALITIES)[int(np.argmin(distance))]}"


def chord_bits(quality: str) -> np.ndarray:
    """The chord tones of a palette quality above its root, bool (12,)."""
    bits = np.zeros(12, bool)
    bits[list(QUALITIES[quality])] = True
    return bits


def chord_tones(label: str) -> tuple[int, np.ndarray]:
    """Root pitch class (-1: no chord) and chord tones bool (12,) by pitch class, of any label in Harte syntax."""
    label = reduce_chord(label)
    if label == NO_CHORD:
        return -1, np.zeros(12, bool)
    name, quality = label.split(":")
    root = ROOTS.index(name)
    return root, np.roll(chord_bits(quality), root)


def transpose_chord(label: str, semitones: int) -> str:
    """The label moved by `semitones`, reduced to the palette's labels."""
    label = reduce_chord(label)
    if label == NO_CHORD:
        return label
    root, quality = label.split(":")
    return f"{ROOTS[(ROOTS.index(root) + semitones) % 12]}:{quality}"


def estimate_chords(notes: np.ndarray, end: int, span: int = 8) -> tuple[Chord, ...]:
    """Chords estimated from notes (NOTE_DTYPE) per `span` steps up to `end`, by template matching on sounding time.

    Each span's pitch-class durations (the lowest note counts double: it is the likely root) are held against the
    normalised templates of the palette's triads and sevenths; spans without notes get no chord; equal ones are joined.
    """
    count = -(-end // span)
    weight = np.zeros((count, 12))
    lowest = np.full(count, 128)
    for onset, duration, pitch, _, _ in notes.tolist():
        for i in range(onset // span, min(-(-(onset + duration) // span), count)):
            weight[i, pitch % 12] += min(onset + duration, (i + 1) * span) - max(onset, i * span)
            lowest[i] = min(lowest[i], pitch)
    sounding = lowest < 128
    weight[sounding, lowest[sounding] % 12] *= 2
    labels, templates = [], []
    for quality in ("maj", "min", "7", "maj7", "min7", "sus4", "dim", "hdim7"):
        for root, name in enumerate(ROOTS):
            tones = np.roll(chord_bits(quality), root) + 0.2 * (np.arange(12) == root)
            templates.append((tones - tones.mean()) / np.linalg.norm(tones - tones.mean()))
            labels.append(f"{name}:{quality}")
    best = (weight @ np.stack(templates, axis=1)).argmax(axis=1)
    chords = [Chord(i * span, min(span, end - i * span), labels[best[i]]) for i in range(count) if sounding[i]]
    return tidy_chords(chords)[0]


def tidy_chords(chords: Sequence[Chord]) -> tuple[tuple[Chord, ...], int]:
    """Palette labels, no overlaps, equal neighbours joined; and how many chords were reduced or cut."""
    out: list[Chord] = []
    changed = 0
    chords = sorted(chords)
    for i, (onset, duration, label) in enumerate(chords):
        end = min([onset + duration] + [c.onset for c in chords[i + 1:i + 2]])
        reduced = reduce_chord(label)
        changed += reduced != label or end != onset + duration
        if end <= onset:
            continue
        if out and out[-1].label == reduced and out[-1].onset + out[-1].duration == onset:
            onset = out.pop().onset
        out.append(Chord(onset, end - onset, reduced))
    return tuple(out), changed


def chords_from_markers(markers: Sequence[tuple[int, str]], length: int) -> tuple[Chord, ...]:
    """Chords from MIDI markers (step, text): texts like "C:maj7" or "N"; each lasts to the next marker or "X"."""
    found = [(step, text.strip()) for step, text in sorted(markers, key=lambda m: m[0])]
    found = [(s, t) for s, t in found if t in (NO_CHORD, UNKNOWN_CHORD) or ":" in t and _is_chord(t)]
    ends = [step for step, _ in found[1:]] + [length][:len(found)]
    return tuple(Chord(s, e - s, t) for (s, t), e in zip(found, ends, strict=True) if t != UNKNOWN_CHORD and e > s)


def _is_chord(text: str) -> bool:
    try:
        reduce_chord(text)
    except OptionError:
        return False
    return True
