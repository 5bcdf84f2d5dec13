"""Build the songs' MIDI files from their texts.

    python assets/songs/build.py [NAME ...] [--check | --show]

The text format stands in README.md. A bar that does not add up, an unknown pitch, a broken tie, or
a key struck while its part still holds it: each is refused with file, voice and bar. The bytes
depend on the text alone.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
try:
    import pomkit  # noqa: F401
except ImportError:  # a clone that is not installed
    sys.path.insert(0, str(HERE.parents[1]))

from pomkit.errors import PomkitError  # noqa: E402
from pomkit.files import write_atomically  # noqa: E402
from pomkit.music.chords import Chord, reduce_chord  # noqa: E402
from pomkit.music.song import Song  # noqa: E402
from pomkit.music.tables import NOTE_DTYPE  # noqa: E402

FIELDS = ("title", "composer", "year", "key", "meter", "tempo", "parts", "source", "remarks")
DYNAMICS = {"pp": 44, "p": 54, "mp": 64, "mf": 74, "f": 88, "ff": 102}  # velocities
DOWNBEAT, HALF_BAR, BEAT, OFF_BEAT, ACCENT = 8, 5, 3, -3, 12  # added by the place in the bar
NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
PITCH = re.compile(r"([A-G])(##?|bb?)?(\d)")
TOKEN = re.compile(
    r"""\s*(?: \((?P<dynamic>\w+)\) | (?P<accent>>?)(?P<pitches>\[[^\]]+\]|[A-G][\#b]*\d|r)
                       (?::(?P<length>\d+))?(?P<tie>~?) )(?=\s|$)""",
    re.X,
)


class ScoreError(PomkitError):
    """A song's text breaks a rule of the format."""


class Score(NamedTuple):
    """A song's text, read.

    Attributes:
        name: the song's.
        header: field -> text.
        voices: voice ("RIGHT", "LEFT.2", "chords") -> the text of every bar.
    """

    name: str
    header: dict[str, str]
    voices: dict[str, list[str]]

    @property
    def meter(self) -> tuple[int, int]:
        """Length of a bar and of a beat in 16ths."""
        numerator, denominator = map(int, self.header["meter"].split("/"))
        return 16 * numerator // denominator, 16 // denominator

    @property
    def parts(self) -> dict[str, int]:
        """The parts' names and what each adds to its velocities, from "MELODY +6, PIANO -6"."""
        pairs = [part.split() for part in self.header["parts"].split(",")]
        return {name: int(offset[0]) if offset else 0 for name, *offset in pairs}


def read_score(path: Path) -> Score:
    """Read a song's text, with its copies and patterns written out.

    Raises:
        ScoreError: the text breaks a rule; its file and line are named.
    """
    score = Score(path.stem, {}, {})
    patterns: dict[str, str] = {}
    first, last = 1, 0  # the bars of the block that is being read
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        word, _, rest = (s.strip() for s in line.partition(":"))
        try:
            if not line.strip() or line.startswith("#"):
                continue
            if block := re.fullmatch(r"bars (\d+)-(\d+)", line.strip()):
                _close_block(score.voices, first, last)
                if int(block[1]) != last + 1 or int(block[2]) <= last:
                    raise ScoreError(f"{line.strip()!r} cannot follow bar {last}")
                first, last = int(block[1]), int(block[2])
            elif word.startswith("pattern "):
                patterns[word.split()[1]] = rest
            elif last == 0:
                score.header[word] = (
                    f"{score.header[word]} {rest}" if word in score.header else rest
                )
            elif word != "chords" and word.split(".")[0] not in score.parts:
                raise ScoreError(f"{word!r} is no part; the header names {', '.join(score.parts)}")
            else:
                bars = score.voices.setdefault(word, [""] * (first - 1))
                for text in map(str.strip, rest.strip("| ").split("|")):
                    bars += _copied(text, word, score.voices) or [
                        text if word == "chords" else _expanded(text, patterns)
                    ]
        except ScoreError as fault:
            raise ScoreError(f"{path.name}, line {number}: {fault}") from None
    try:
        _close_block(score.voices, first, last)
    except ScoreError as fault:
        raise ScoreError(f"{path.name}: {fault}") from None
    if missing := [field for field in FIELDS if field not in score.header]:
        raise ScoreError(f"{path.name} lacks {', '.join(missing)} in its header")
    return score


def _close_block(voices: dict[str, list[str]], first: int, last: int) -> None:
    """A voice has all bars of a block, or none: then it rests."""
    for voice, bars in voices.items():
        if len(bars) == first - 1:
            bars += [""] * (last - first + 1)
        elif len(bars) != last:
            raise ScoreError(
                f"{voice} has {len(bars) - first + 1} bars in the block of bars {first}-{last}"
            )


def _copied(text: str, voice: str, voices: dict[str, list[str]]) -> list[str]:
    """The bars that a copy stands for, or [] where the text is no copy.

    "=3-6" copies bars of this voice, "=LEFT 3" of another one; "(p) =3-6" plays all of them p.
    """
    match = re.fullmatch(r"(\(\w+\))? *=(?:(\S+) )?(\d+)(?:-(\d+))?", text)
    if not match:
        return []
    source = voices.get(match[2] or voice, [])
    start = int(match[3])
    stop = int(match[4] or match[3])
    if not 0 < start <= stop <= len(source):
        raise ScoreError(f"{text!r} copies bars that are not written yet")
    copy = source[start - 1 : stop]
    if match[1]:
        copy = [re.sub(r"\(\w+\)\s*", "", bar) for bar in copy]
        copy[0] = f"{match[1]} {copy[0]}"
    return copy


def _expanded(text: str, patterns: dict[str, str]) -> str:
    """A bar with its patterns written out.

    "arp(C3 G3)" puts C3 and G3 in the place of a and b in the pattern arp.
    """

    def write_out(match: re.Match[str]) -> str:
        name = match[1]
        if name not in patterns:
            raise ScoreError(f"the pattern {name!r} is not defined")
        given = match[2].split()
        wanted = set(re.findall(r"\b[a-q]\b", patterns[name]))
        if len(wanted) != len(given):
            raise ScoreError(
                f"{match[0]!r} gives {len(given)} pitches; the pattern has {len(wanted)}"
            )

        def pitch_for(letter: re.Match[str]) -> str:
            return given[ord(letter[0]) - ord("a")]

        return re.sub(r"\b[a-q]\b", pitch_for, patterns[name])

    return re.sub(r"\b(\w+)\(([^)]*)\)", write_out, text)


def midi_pitch(name: str) -> int:
    """The MIDI number of a pitch name, C4 = 60; ScoreError."""
    match = PITCH.fullmatch(name)
    if not match:
        raise ScoreError(f"{name!r} is no pitch; write it like C4, F#5 or Bb3")
    letter, accidental, octave = match[1], match[2] or "", int(match[3])
    semitones = accidental.count("#") - accidental.count("b")
    return 12 * (octave + 1) + NATURAL[letter] + semitones


def make_song(score: Score) -> Song:
    """The Song of a read text; ScoreError with file, voice and bar."""
    bar, beat = score.meter
    count = max(len(bars) for bars in score.voices.values())
    rows: list[list[int]] = []
    chords: list[Chord] = []
    for voice, bars in score.voices.items():
        try:
            if voice == "chords":
                chords = list(_chords(bars, bar))
            else:
                part = list(score.parts).index(voice.split(".")[0])
                rows += _notes(bars, bar, beat, part, list(score.parts.values())[part])
        except ScoreError as fault:
            raise ScoreError(f"{score.name}, {voice}: {fault}") from None
    notes = np.array([tuple(row) for row in rows], NOTE_DTYPE)
    _refuse_doubles(notes, score, bar)
    lines = tuple(range(0, bar * count + 1, bar))
    return Song(notes, tuple(chords), tuple(score.parts), lines, name=score.name)


def _notes(bars: Sequence[str], bar: int, beat: int, part: int, offset: int) -> list[list[int]]:
    """Rows of NOTE_DTYPE of one voice."""
    rows: list[list[int]] = []
    held: list[list[int]] = []  # the rows that a tie lengthens
    loudness = DYNAMICS["mf"]
    for number, text in enumerate(bars, 1):
        step, length, place = 0, 0, 0
        while place < len(text.rstrip()):
            token = TOKEN.match(text, place)
            if not token:
                raise ScoreError(f"bar {number}: {text[place:].strip()!r} is not understood")
            place = token.end()
            if token["dynamic"]:
                if token["dynamic"] not in DYNAMICS:
                    raise ScoreError(
                        f"bar {number}: {token['dynamic']!r} is none of {', '.join(DYNAMICS)}"
                    )
                loudness = DYNAMICS[token["dynamic"]]
                continue
            length = int(token["length"] or length)  # without a length: that of the note before
            if not length:
                raise ScoreError(f"bar {number}: its first note needs a length")
            names = [] if token["pitches"] == "r" else token["pitches"].strip("[]").split()
            pitches = [midi_pitch(name) for name in names]
            if held:
                if sorted(pitches) != sorted(row[2] for row in held):
                    raise ScoreError(f"bar {number}: a tie leads to other pitches")
                for row in held:
                    row[1] += length
                new = held
            else:
                accent = ACCENT if token["accent"] else 0
                velocity = loudness + offset + _stress(step, bar, beat) + accent
                velocity = min(max(velocity, 1), 127)
                onset = bar * (number - 1) + step
                new = [[onset, length, pitch, velocity, part] for pitch in pitches]
                rows += new
            held = new if token["tie"] else []
            step += length
        if text and step != bar:
            raise ScoreError(f"bar {number} holds {step} sixteenths; its meter wants {bar}")
        if not text and held:
            raise ScoreError(f"bar {number}: a tie leads into an empty bar")
    if held:
        raise ScoreError("the last note is tied to nothing")
    return rows


def _stress(step: int, bar: int, beat: int) -> int:
    """What the place in the bar adds to a velocity."""
    if step == 0:
        return DOWNBEAT
    if beat == 4 and bar == 16 and step == 8:
        return HALF_BAR
    if step % beat == 0:
        return BEAT
    return OFF_BEAT if step % 2 else 0


def _chords(bars: Sequence[str], bar: int) -> Iterator[Chord]:
    """Chords of the chords line; equal neighbours are joined.

    Chords without "*n" share their bar equally.
    """
    held: Chord | None = None
    for number, text in enumerate(bars, 1):
        names = [word.partition("*") for word in text.split()]
        lengths = [int(n) if n else bar // len(names) for _, _, n in names]
        if names and sum(lengths) != bar:
            raise ScoreError(f"bar {number} holds {sum(lengths)} sixteenths; its meter wants {bar}")
        step = bar * (number - 1)
        for (label, _, _), length in zip(names, lengths, strict=True):
            reduce_chord(label)  # raises where it is no chord
            if held and held.label == label and held.onset + held.duration == step:
                held = held._replace(duration=held.duration + length)
            else:
                if held:
                    yield held
                held = Chord(step, length, label)
            step += length
    if held:
        yield held


def _refuse_doubles(notes: np.ndarray, score: Score, bar: int) -> None:
    """Refuse a key that is struck while it sounds in its own part.

    A MIDI track could not say which of the two notes ends.
    """
    notes = notes[np.lexsort((notes["onset"], notes["pitch"], notes["part"]))]
    same = (np.diff(notes["part"]) == 0) & (np.diff(notes["pitch"]) == 0)
    early = np.flatnonzero(same & (np.diff(notes["onset"]) < notes["duration"][:-1]))
    if len(early):
        note = notes[early[0] + 1]
        part, (number, step) = list(score.parts)[note["part"]], divmod(note["onset"], bar)
        raise ScoreError(
            f"{score.name}, {part}: bar {number + 1} strikes pitch {note['pitch']} "
            f"at sixteenth {step} while it still sounds"
        )


def midi_bytes(path: Path) -> bytes:
    """The MIDI file of a song's text, at the text's tempo."""
    score = read_score(path)
    with tempfile.TemporaryDirectory() as folder:
        tempo = float(score.header["tempo"])
        return make_song(score).write_midi(Path(folder) / "song.mid", bpm=tempo).read_bytes()


def show(score: Score) -> Iterator[str]:
    """A table to read with the printed score beside it: every bar, its chords and its voices."""
    yield "\n".join(f"{field}: {text}" for field, text in score.header.items())
    for number in range(max(len(bars) for bars in score.voices.values())):
        for i, (voice, bars) in enumerate(score.voices.items()):
            yield f"{number + 1 if i == 0 else '':>4}  {voice:9} {bars[number] or '-'}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, check or show; 1 where a committed file differs from its text."""
    parser = argparse.ArgumentParser(description="Build the songs' MIDI files from their texts.")
    parser.add_argument("names", nargs="*", help="songs (default: all)")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a .mid is stale"
    )
    parser.add_argument("--show", action="store_true", help="write nothing; print every bar")
    options = parser.parse_args(arguments)
    stale = []
    for path in [HERE / f"{name}.txt" for name in options.names] or sorted(HERE.glob("*.txt")):
        if options.show:
            print("\n".join(show(read_score(path))))
            continue
        data, target = midi_bytes(path), path.with_suffix(".mid")
        if not target.exists() or target.read_bytes() != data:
            stale.append(target.name)
            if not options.check:
                with write_atomically(target) as file:
                    file.write(data)
    if not options.show:
        what = "differ from their texts" if options.check else "written"
        print(f"{what}: {', '.join(stale) or 'none'}")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (PomkitError, OSError) as fault:
        sys.exit(f"build.py: {fault}")
