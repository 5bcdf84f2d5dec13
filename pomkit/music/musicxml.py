"""A song as MusicXML, which notation programs read: written by music21.

`notation` decides how the song stands on staves; here its bars, pieces and signs become music21's
objects, and these a file:

    text = musicxml_of(song)

A part has its name and its program, a keyboard two staves, drums a staff without pitches. Tempi,
time signatures, keys and chords stand where the song has them. Pitches are those that sound; which
of C# and Db is written, the key decides. music21 belongs to the extra `score`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import numpy as np

from ..errors import OptionError, PomkitError
from ..files import AnyPath, write
from .chords import NO_CHORD, Chord, reduce_chord
from .grid import KeySign
from .midi_codes import DRUMS
from .notation import (
    Notated,
    Piece,
    ScoreBar,
    Staff,
    Tone,
    Voice,
    cut_at_tempi,
    is_compound,
    score_bars,
    staves_of,
    told_tempi,
)
from .spelling import bass_of, key_of, lowest_fifth, octave_of, pitch_class, sharps_of, spell

INSTALL_SCORE = 'pip install "pomkit[score]"'
XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
SUFFIXES = (".musicxml", ".xml")

# MusicXML's names of the qualities of chords.
CHORD_KINDS = {
    "maj": "major",
    "min": "minor",
    "7": "dominant-seventh",
    "maj7": "major-seventh",
    "min7": "minor-seventh",
    "sus4": "suspended-fourth",
    "sus2": "suspended-second",
    "dim": "diminished",
    "aug": "augmented",
    "hdim7": "half-diminished-seventh",
    "dim7": "diminished-seventh",
    "maj6": "major-sixth",
    "min6": "minor-sixth",
    "minmaj7": "minor-major-seventh",
}
# Where drums stand on their staff, and with which head: the keys of General MIDI. All others stand
# in its middle.
DRUM_PLACES = {
    **dict.fromkeys((35, 36), ("F4", "normal")),
    **dict.fromkeys((38, 40), ("C5", "normal")),
    **dict.fromkeys((37, 39), ("C5", "x")),
    41: ("G4", "normal"),
    43: ("A4", "normal"),
    45: ("B4", "normal"),
    47: ("D5", "normal"),
    48: ("E5", "normal"),
    50: ("E5", "normal"),
    42: ("G5", "x"),
    46: ("G5", "circle-x"),
    44: ("D4", "x"),
    **dict.fromkeys((49, 52, 55, 57), ("A5", "x")),
    **dict.fromkeys((51, 53, 59), ("F5", "x")),
    56: ("E5", "triangle"),
}
ELSEWHERE = ("B4", "diamond")
# The highest mean pitch of notes that stand under each clef.
CLEFS = ((36, "Bass8vbClef"), (58, "BassClef"), (88, "TrebleClef"), (127, "Treble8vaClef"))


class Named(Notated, Protocol):
    """What a score shows of a Song, beside its notes and bars."""

    @property
    def name(self) -> str:
        """The title."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts."""

    @property
    def keys(self) -> tuple[KeySign, ...]:
        """(step, name) of each."""


def of_extra(module: str) -> Any:
    """A module of the extra `score`; PomkitError where it is missing."""
    try:
        return import_module(module)
    except (ImportError, OSError) as fault:
        raise PomkitError(
            f"a score needs {module}, which is not there ({fault}); run: {INSTALL_SCORE}"
        ) from fault


def write_musicxml(song: Named, path: AnyPath | None = None) -> str:
    """The MusicXML of a song, in a file too where a path is given.

    Args:
        song: the Song.
        path: of the file, ".musicxml" or ".xml"; its folders are made.

    Raises:
        OptionError: the song is too long for a score, or the file's name ends otherwise.
        PomkitError: music21 is missing.
    """
    if path is not None and Path(path).suffix.lower() not in SUFFIXES:
        raise OptionError(f"{path} is no name for MusicXML; end it in .musicxml")
    text = musicxml_of(song)
    if path is not None:
        write(path, text.encode())
    return text


def musicxml_of(song: Named) -> str:
    """The MusicXML of a song.

    Args:
        song: the Song.

    Raises:
        OptionError: it is too long for a score, or has no part.
        PomkitError: music21 is missing.
    """
    if not song.parts:
        raise OptionError("a song without notes and parts has no score; give it a note")
    music21 = of_extra("music21")
    bars = score_bars(song)
    writer = ScoreWriter(music21, song, bars)
    for part in range(len(song.parts)):
        cut = bars if part else cut_at_tempi(song, bars)
        writer.add_part(part, staves_of(song, part, cut))
    writer.add_signs()

    exporters = import_module("music21.musicxml.m21ToXml")
    root = exporters.ScoreExporter(writer.score, makeNotation=False).parse()
    _unsign(root)
    _name_drums(root)
    _lead_signs(root)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f"{XML_HEAD}\n{text}\n"


def _unsign(root: ElementTree.Element) -> None:
    """Take out what music21 puts in where nothing is known: a title, and itself as composer."""
    places = [root, *root.findall("identification")]
    for place in places:
        headings = [*place.findall("movement-title"), *place.findall("creator")]
        for heading in headings:
            if "Music21" in (heading.text or ""):
                place.remove(heading)


def _name_drums(root: ElementTree.Element) -> None:
    """Give every stroke on a drum its instrument: music21 gives the strokes of a chord but one."""
    for note in root.iter("note"):
        instrument, dot, _ = note.get("id", "").partition(".")
        if not dot:
            continue
        del note.attrib["id"]
        for told in note.findall("instrument"):
            note.remove(told)

        # Behind the pitch, the duration and the ties.
        tags = [child.tag for child in note]
        place = max(tags.index(tag) for tag in ("duration", "tie") if tag in tags)
        note.insert(place + 1, ElementTree.Element("instrument", id=instrument))


def _lead_signs(root: ElementTree.Element) -> None:
    """Put a sign that stands within a note before that note, where it keeps its staff.

    music21 puts it behind the note, with a negative offset; verovio then takes it for one of the
    next staff.
    """
    for measure in root.iter("measure"):
        for sign in [*measure.findall("harmony"), *measure.findall("direction")]:
            offset = sign.find("offset")
            if offset is None or not (offset.text or "").startswith("-"):
                continue

            # Of a chord only the first note bears no mark.
            number = list(measure).index(sign) - 1
            while number > 0 and measure[number].find("chord") is not None:
                number -= 1

            back = int(measure[number].findtext("duration") or 0)
            offset.text = str(int(offset.text or 0) + back)
            measure.remove(sign)
            measure.insert(number, sign)


# music21's objects


class ScoreWriter:
    """Puts the staves of a song into a score of music21.

    Attributes:
        score: music21's Score.
    """

    def __init__(self, music21: Any, song: Named, bars: Sequence[ScoreBar]) -> None:
        """Begin a score.

        Args:
            music21: the module.
            song: the Song.
            bars: as `score_bars` gives them.
        """
        self.music21 = music21
        self.song = song
        self.names = [_printable(name) for name in song.parts]
        self.bars = bars
        self.keys = self._told_keys()
        self.score = music21.stream.Score()
        self.score.metadata = music21.metadata.Metadata(title=_printable(song.name))
        # The measures of each staff, as many as there are bars.
        self.staves: list[list[Any]] = []
        # Strokes on drums that have an id.
        self.hits = 0

    def add_part(self, number: int, staves: Sequence[Staff]) -> None:
        """Add a part to the score.

        Args:
            number: of the part.
            staves: as `staves_of` gives them.
        """
        is_drums = self.song.channels[number] == DRUMS
        make = self.music21.stream.Part if len(staves) == 1 else self.music21.stream.PartStaff
        written = []
        for place, staff in enumerate(staves):
            part = make(id=f"part {number + 1}, staff {place + 1}")
            part.partName = self.names[number]
            instruments = self._drums(number, staff) if is_drums else self._instrument(number)
            for instrument in instruments.values():
                part.insert(0, instrument)
            self._fill(part, staff, instruments, is_drums)
            self.score.insert(0, part)
            written.append(part)

        # A brace makes them one part.
        if len(staves) > 1:
            group = self.music21.layout.StaffGroup(written, symbol="brace")
            group.name = self.names[number]
            self.score.insert(0, group)

    def _instrument(self, number: int) -> dict[int, Any]:
        """The instrument of a part, under the number -1."""
        pretty_midi = import_module("pretty_midi")
        program = self.song.programs[number]
        instrument = self.music21.instrument.Instrument(self.names[number])
        instrument.midiProgram = program
        instrument.midiChannel = self.song.channels[number]
        instrument.instrumentName = pretty_midi.program_to_instrument_name(program)
        return {-1: self._named(instrument, number, "")}

    def _drums(self, number: int, staff: Staff) -> dict[int, Any]:
        """The instruments of a part of drums, by their keys."""
        pretty_midi = import_module("pretty_midi")
        drums = {}
        for key in sorted(set(staff.pitches)):
            # music21 tells instruments of a part by their classes.
            kind = type(f"Drum{key}", (self.music21.instrument.UnpitchedPercussion,), {})
            drum = kind()
            drum.percMapPitch = key
            drum.midiChannel = DRUMS
            drum.midiProgram = None
            name = pretty_midi.note_number_to_drum_name(key)
            drum.instrumentName = name or f"Drum {key}"
            drums[key] = self._named(drum, number, f"-{key}")
        return drums

    def _named(self, instrument: Any, number: int, suffix: str) -> Any:
        """An instrument with the names that music21 would draw by chance, and its own channel."""
        instrument.partName = self.names[number]
        instrument.instrumentAbbreviation = ""
        instrument.partId = f"P{number + 1}"
        instrument.instrumentId = f"P{number + 1}-I{number + 1}{suffix}"
        channel = instrument.midiChannel
        instrument.autoAssignMidiChannel = lambda usedChannels=(): channel
        return instrument

    def _fill(self, part: Any, staff: Staff, instruments: dict[int, Any], is_drums: bool) -> None:
        """Fill a part with the measures of a staff."""
        clef = "PercussionClef" if is_drums else _clef_of(staff.pitches)
        measures = []
        sign = None
        for bar, voices in zip(self.bars, staff.bars, strict=True):
            measure = self.music21.stream.Measure(number=bar.number)
            if bar.number == 1:
                measure.clef = getattr(self.music21.clef, clef)()
            if bar.sign != sign:
                numerator, denominator = bar.sign
                time = self.music21.meter.TimeSignature(f"{numerator}/{denominator}")
                measure.timeSignature = time
                sign = bar.sign
            if bar.missing:
                measure.paddingLeft = float(bar.missing)
                measure.showNumber = self.music21.stream.enums.ShowNumber.NEVER
            self._fill_measure(measure, bar, voices, instruments)
            part.append(measure)
            measures.append(measure)

        if not is_drums:
            self._add_keys(measures)
        measures[-1].rightBarline = "final"
        part.makeBeams(inPlace=True, setStemDirections=False)
        if not is_drums:
            part.makeAccidentals(inPlace=True)
        self.staves.append(measures)

    def _fill_measure(
        self, measure: Any, bar: ScoreBar, voices: Sequence[Voice], instruments: dict[int, Any]
    ) -> None:
        """Put the voices of a bar into its measure."""
        if not voices:
            rest = self.music21.note.Rest(quarterLength=bar.length)
            rest.fullMeasure = True
            measure.insert(0, rest)

        for number, voice in enumerate(voices):
            place = measure
            if len(voices) > 1:
                place = self.music21.stream.Voice(id=number + 1)
                measure.insert(0, place)
            for piece in voice:
                written = self._note_of(piece, instruments)
                # The rests of a lower voice would only stand in the way.
                if number and not piece.tones:
                    written.style.hideObjectOnPrint = True
                if piece.tones and (len(voices) > 1 or -1 not in instruments):
                    written.stemDirection = "down" if number else "up"
                place.insert(piece.begin, written)

    def _note_of(self, piece: Piece, instruments: dict[int, Any]) -> Any:
        """A piece as a note, chord or rest of music21."""
        duration = self._duration_of(piece)
        if not piece.tones:
            return self.music21.note.Rest(duration=duration)
        is_drums = -1 not in instruments
        notes = []
        for tone in piece.tones:
            drum = instruments.get(tone.pitch)
            note = self._hit(tone, drum) if is_drums else self._note(tone)
            if tone.tie:
                note.tie = self.music21.tie.Tie(tone.tie)
            notes.append(note)

        if len(notes) == 1:
            notes[0].duration = duration
            return notes[0]
        make = self.music21.percussion.PercussionChord if is_drums else self.music21.chord.Chord
        chord = make(notes)
        chord.duration = duration
        return chord

    def _note(self, tone: Tone) -> Any:
        """A pitch as a note of music21."""
        name = spell(tone.pitch, lowest_fifth(self._key_at(tone.onset)))
        pitch = self.music21.pitch.Pitch(_in_music21(name))
        pitch.octave = octave_of(tone.pitch, name)
        return self.music21.note.Note(pitch)

    def _hit(self, tone: Tone, drum: Any) -> Any:
        """A stroke on a drum as a note of music21; its id tells which drum."""
        place, head = DRUM_PLACES.get(tone.pitch, ELSEWHERE)
        note = self.music21.note.Unpitched(displayName=place)
        note.notehead = head
        self.hits += 1
        note.id = f"{drum.instrumentId}.{self.hits}"
        return note

    def _duration_of(self, piece: Piece) -> Any:
        """How long a piece is, and the sign for it."""
        length = piece.length * 3 / 2 if piece.triplet else piece.length
        duration = self.music21.duration.Duration(length)
        if piece.triplet:
            tuplet = self.music21.duration.Tuplet(3, 2, duration.type)
            tuplet.type = piece.bracket or None
            duration.appendTuplet(tuplet)
        return duration

    # What stands over the staves

    def _told_keys(self) -> list[KeySign]:
        """(step, name) of the keys in force: the song's, and before its first one an estimate."""
        keys = list(self.song.keys)
        if keys and keys[0][0] == 0:
            return keys
        is_pitched = np.array(self.song.channels)[self.song.notes["part"]] != DRUMS
        return [(0, key_of(self.song.notes[is_pitched])), *keys]

    def _key_at(self, step: int) -> str:
        """The key in force at a step."""
        number = bisect_right([begin for begin, _ in self.keys], step)
        return self.keys[max(number - 1, 0)][1]

    def _bar_at(self, step: int) -> int:
        """The number of the bar in which a step lies, from 0."""
        return max(bisect_right([bar.begin for bar in self.bars], step) - 1, 0)

    def _add_keys(self, measures: Sequence[Any]) -> None:
        """The key signatures, each at the bar line where it is or the next one."""
        begins = [bar.begin for bar in self.bars]
        for step, name in self.keys:
            number = bisect_left(begins, step)
            if number == len(begins):
                continue
            mode = "minor" if name.endswith("m") else "major"
            signature = self.music21.key.KeySignature(sharps_of(name)).asKey(mode)
            measures[number].keySignature = signature

    def add_signs(self) -> None:
        """Put chords over the first staff, and tempi over whichever has a note there."""
        told = told_tempi(self.song)
        for step, bpm in self.song.tempi:
            sign = self.bars[self._bar_at(step)].sign
            mark = self._tempo_mark(bpm, sign, (step, bpm) in told)
            self._insert(step, mark, self.staves)
        for chord in self.song.chords:
            self._insert(chord.onset, self._chord_symbol(chord), self.staves[:1])

    def _insert(self, step: int, sign: Any, staves: Sequence[Sequence[Any]]) -> None:
        """Put a sign over a note or rest that begins there, in the first of the staves with one.

        Not every program heeds a sign between two notes. What lies behind the last bar is left out.
        """
        number = self._bar_at(step)
        bar = self.bars[number]
        offset = Fraction(step - bar.begin, self.song.steps_per_beat)
        if offset >= bar.length:
            return
        measures = [staff[number] for staff in staves]
        voices = [voice for measure in measures for voice in (*measure.voices, measure)]
        places = (voice for voice in voices if _begins(voice, offset))
        next(places, voices[0]).insert(offset, sign)

    def _tempo_mark(self, bpm: float, sign: tuple[int, int], is_told: bool) -> Any:
        """A metronome mark, by the dotted quarter in 6/8; or only its sound."""
        if not is_told:
            return self.music21.tempo.MetronomeMark(numberSounding=bpm)
        quarters = 4 * 3 / sign[1] if is_compound(sign) else 1.0
        mark = self.music21.tempo.MetronomeMark(
            number=_short(bpm / quarters), referent=self.music21.duration.Duration(quarters)
        )
        mark.numberSounding = bpm / quarters
        return mark

    def _chord_symbol(self, chord: Chord) -> Any:
        """A chord's symbol, with its bass where the label names one."""
        root, _, quality = reduce_chord(chord.label).partition(":")
        if root == NO_CHORD:
            return self.music21.harmony.NoChord()
        name = spell(pitch_class(root), lowest_fifth(self._key_at(chord.onset)))
        bass = bass_of(chord.label, name)
        symbol = self.music21.harmony.ChordSymbol(
            root=_in_music21(name), bass=bass and _in_music21(bass), kind=CHORD_KINDS[quality]
        )
        symbol.writeAsChord = False
        return symbol


def _printable(text: str) -> str:
    """A text without what no XML can hold."""
    return "".join(letter for letter in text if letter.isprintable())


def _in_music21(name: str) -> str:
    """A name as music21 writes it: "B-" is B flat."""
    return name.replace("b", "-")


def _begins(place: Any, offset: Fraction) -> bool:
    """Whether a note or rest of a measure or voice begins at an offset, in quarters."""
    return any(note.offset == offset for note in place.notesAndRests)


def _clef_of(pitches: Sequence[int]) -> str:
    """The clef under which pitches stand best."""
    mean = sum(pitches) / len(pitches) if pitches else 71
    return next(name for highest, name in CLEFS if mean <= highest)


def _short(bpm: float) -> float:
    """A tempo as a mark shows it: whole where it is nearly so."""
    return round(bpm) if abs(bpm - round(bpm)) < 0.01 else round(bpm, 1)
