"""How a song is written on staves: its bars, voices, and notes of values that have a sign.

A note of a song lasts any number of steps. On paper it has to end with its bar, and there is no
sign for five 16ths: such a note is written as several that are tied. Notes that overlap need two
voices. All of this is decided here, with plain numbers and without a library:

    bars = score_bars(song)
    staves = staves_of(song, part=0, bars=bars)
    staves[0].bars[0]                # the voices of the first bar, each a list of Pieces

The law: the pieces of a voice fill its bar, and tied together they are the notes that went in, with
their onsets, durations and pitches. Times within a bar are fractions of a quarter. `musicxml`
writes what stands here.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np

from ..errors import OptionError
from .chords import Chord
from .grid import Meter, Tempo, meters_of_bars
from .midi_codes import DRUMS
from .tables import columns_of, notes_of, untangle

# Programs of keyboards, which are written on two staves: pianos, organs.
KEYBOARDS = (*range(8), *range(16, 24))
# Where the hands part; they need two staves where either has this share of the notes, well below or
# above.
MIDDLE_C = 60
LOW_HAND = 55
HIGH_HAND = 64
SHARE_OF_A_HAND = 0.1
# A larger score would take minutes. Notes that cross a bar line count twice, and every part's bars.
MAX_SIGNS = 20_000

QUARTER = Fraction(1)
# A triplet's note is written as one that is half as long again.
TRIPLET = Fraction(3, 2)
# In quarters: a breve, and a 256th.
LONGEST_VALUE_WRITTEN = Fraction(8)
SHORTEST_VALUE_WRITTEN = Fraction(1, 64)
# A change of tempo by less than this share is heard, but no mark tells it.
UNTOLD_TEMPO = 0.03
# What is off the grid of halves, quarters and so on is a triplet.
THREE = 3
# Into so many parts a beat is cut, one after the other.
HALVES = (2, 4, 8, 16, 32)
THIRDS = (3, 6, 12, 24)


class Notated(Protocol):
    """What is needed of a Song."""

    @property
    def notes(self) -> np.ndarray:
        """NOTE_DTYPE (notes,), sorted."""

    @property
    def chords(self) -> tuple[Chord, ...]:
        """The chords, sorted."""

    @property
    def tempi(self) -> tuple[Tempo, ...]:
        """(step, BPM) of each."""

    @property
    def steps_per_beat(self) -> int:
        """The grid."""

    @property
    def programs(self) -> tuple[int, ...]:
        """The program of each part."""

    @property
    def channels(self) -> tuple[int, ...]:
        """The channel of each part."""

    def bar_lines(self) -> np.ndarray:
        """Steps of the bar lines, int (bars + 1,)."""

    def time_signatures(self) -> list[Meter]:
        """(step, numerator, denominator) of each."""


class ScoreBar(NamedTuple):
    """A bar of a score.

    Attributes:
        number: from 1, as masks count them.
        begin: its first step.
        length: in quarters.
        sign: numerator and denominator in force.
        missing: quarters that a pickup lacks at its beginning.
        marks: where notes and rests are cut in any case, in quarters.
    """

    number: int
    begin: int
    length: Fraction
    sign: tuple[int, int]
    missing: Fraction = Fraction(0)
    marks: tuple[Fraction, ...] = ()


class BarNote(NamedTuple):
    """A note, or the part of it that lies in one bar.

    Attributes:
        begin: in the bar, in quarters.
        end: the same.
        pitch: 0-127.
        onset: of the whole note, in steps.
        comes: it goes on from the bar before.
        goes: it goes on in the next bar.
    """

    begin: Fraction
    end: Fraction
    pitch: int
    onset: int
    comes: bool
    goes: bool


class Tone(NamedTuple):
    """A pitch of a piece.

    Attributes:
        pitch: 0-127.
        onset: of the whole note, in steps.
        tie: "start", "stop", "continue" or "".
    """

    pitch: int
    onset: int
    tie: str


class Piece(NamedTuple):
    """A note, chord or rest as it is written.

    Attributes:
        begin: in the bar, in quarters.
        length: in quarters.
        tones: from low to high; none: a rest.
        triplet: whether it is written half as long again, under a bracket.
        bracket: "start", "stop", "startStop" or "".
    """

    begin: Fraction
    length: Fraction
    tones: tuple[Tone, ...]
    triplet: bool = False
    bracket: str = ""


# Begin, end, and what sounds.
NoteGroup = tuple[Fraction, Fraction, tuple[BarNote, ...]]
Voice = list[Piece]


class Staff(NamedTuple):
    """A staff: the voices of each bar, the upper one first; and all its pitches.

    Attributes:
        bars: a list of voices for each bar; an empty one is a whole bar of rest.
        pitches: of its notes, for its clef.
    """

    bars: list[list[Voice]]
    pitches: tuple[int, ...]


@dataclass(frozen=True)
class Ruler:
    """Where the notes of a bar may be cut.

    Attributes:
        unit: the beat, or the 8th of a compound bar; in quarters.
        beat: what is felt as one; in quarters.
        half: half a bar of four beats, else a beat; in quarters.
        compound: whether a beat has three units.
    """

    unit: Fraction
    beat: Fraction
    half: Fraction
    compound: bool

    def crossings(self, is_rest: bool) -> Iterator[tuple[Fraction, Fraction]]:
        """(distance, grain): what crosses a multiple of one lies on multiples of the other."""
        yield self.half, self.half if is_rest else self.beat
        if self.beat > self.unit:
            yield self.beat, self.beat if is_rest or self.compound else self.unit
        yield self.unit, self.unit if is_rest else self.unit / 2

    def distances(self, triplet: bool) -> Iterator[Fraction]:
        """The distances of the places at which to cut, the best first."""
        yield from (self.half, self.beat, self.unit)
        yield from (self.unit / part for part in (THIRDS if triplet else HALVES))


# Bars


def score_bars(song: Notated) -> list[ScoreBar]:
    """The bars of a song, each with the time signature that it is written in.

    A first bar that is shorter than the next is a pickup and has the next one's signature.

    Args:
        song: the Song.

    Raises:
        OptionError: a score of the song would be too large.
    """
    lines = song.bar_lines()
    count = len(lines) - 1
    _check_size(song, lines)

    told = song.time_signatures()
    own = meters_of_bars(lines, song.steps_per_beat)
    lengths = [Fraction(int(steps), song.steps_per_beat) for steps in np.diff(lines)]
    bars = []
    for number, begin in enumerate(lines[:-1].tolist()):
        sign = _sign_at(told, begin)
        if _quarters(sign) != lengths[number]:
            sign = _sign_at(own, begin)
        bars.append(ScoreBar(number + 1, begin, lengths[number], sign))

    if count > 1 and lengths[0] < lengths[1]:
        sign = bars[1].sign
        bars[0] = bars[0]._replace(sign=sign, missing=_quarters(sign) - lengths[0])
    return bars


def _check_size(song: Notated, lines: np.ndarray) -> None:
    """Raise OptionError where a score would take minutes; lines are steps, int (bars + 1,)."""
    first, last = _bars_of(song.notes, lines[:-1])
    crossed = int((last - first + 1).sum())
    bars = (len(lines) - 1) * len(song.programs)
    signs = crossed + bars + len(song.chords) + len(song.tempi)
    _check_signs(signs, f"{len(song.notes)} notes, {len(lines) - 1} bars")


def _check_signs(signs: int, what: str) -> None:
    """Raise OptionError where so many signs are too many for a score."""
    if signs > MAX_SIGNS:
        raise OptionError(
            f"{what} need {signs} signs, too many for a score, which has at most {MAX_SIGNS}; "
            "cut the song or leave out parts"
        )


def _bars_of(notes: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last bar of notes, NOTE_DTYPE (notes,); bars begin at int (bars,)."""
    ends = notes["onset"] + notes["duration"]  # (notes,)
    first = np.searchsorted(begins, notes["onset"], "right") - 1
    return first, np.searchsorted(begins, ends, "left") - 1


def _sign_at(signs: Sequence[Meter], step: int) -> tuple[int, int]:
    """Numerator and denominator in force at a step."""
    number = bisect_right([begin for begin, _, _ in signs], step)
    _, numerator, denominator = signs[max(number - 1, 0)]
    return numerator, denominator


def _quarters(sign: tuple[int, int]) -> Fraction:
    """How long a bar of a time signature is, in quarters."""
    return Fraction(4 * sign[0], sign[1])


def is_compound(sign: tuple[int, int]) -> bool:
    """Whether three 8ths or shorter notes are felt as one beat: 6/8, 9/8, 12/8."""
    numerator, denominator = sign
    return denominator >= 8 and numerator > THREE and numerator % THREE == 0


def _ruler(sign: tuple[int, int]) -> Ruler:
    """Where to cut the notes of a bar with this time signature."""
    numerator, denominator = sign
    counted = Fraction(4, denominator)
    compound = is_compound(sign)
    beat = THREE * counted if compound else counted
    beats = numerator // THREE if compound else numerator
    return Ruler(
        unit=min(counted, QUARTER),
        beat=beat,
        half=2 * beat if beats == 4 else beat,
        compound=compound,
    )


def told_tempi(song: Notated) -> list[Tempo]:
    """The changes of tempo that a mark tells, (step, BPM): those that are not small.

    Args:
        song: the Song.
    """
    told: list[Tempo] = []
    for step, bpm in song.tempi:
        before = told[-1][1] if told else 0.0
        if abs(bpm - before) > UNTOLD_TEMPO * before:
            told.append((step, bpm))
    return told


def cut_at_tempi(song: Notated, bars: Sequence[ScoreBar]) -> list[ScoreBar]:
    """The bars with marks where the tempo changes and no note begins.

    Programs heed a tempo only where a note or a rest begins, so one staff must be cut there.

    Args:
        song: the Song.
        bars: as `score_bars` gives them.
    """
    busy = {*song.notes["onset"].tolist(), *(bar.begin for bar in bars)}
    begins = [bar.begin for bar in bars]
    marks: dict[int, list[Fraction]] = {}
    for step, _ in told_tempi(song):
        number = bisect_right(begins, step) - 1
        place = Fraction(step - begins[number], song.steps_per_beat)
        if step not in busy and place < bars[number].length:
            marks.setdefault(number, []).append(place)
    return [bar._replace(marks=tuple(marks.get(n, ()))) for n, bar in enumerate(bars)]


# Staves


def staves_of(song: Notated, part: int, bars: Sequence[ScoreBar]) -> list[Staff]:
    """The staves of a part, from top to bottom: two for a keyboard whose hands lie apart.

    Args:
        song: the Song.
        part: its number.
        bars: as `score_bars` gives them.

    Raises:
        OptionError: so many of its notes overlap that their score would be too large.
    """
    # A pitch sounds once at a time in a part.
    columns, _, _ = untangle(columns_of(song.notes[song.notes["part"] == part]))
    notes = notes_of(columns)
    if song.channels[part] == DRUMS:
        return [_staff(notes, bars, song.steps_per_beat, drums=True)]

    hands = [notes]
    if song.programs[part] in KEYBOARDS and _needs_two_staves(notes["pitch"]):
        is_low = notes["pitch"] < MIDDLE_C
        hands = [notes[~is_low], notes[is_low]]
    return [_staff(hand, bars, song.steps_per_beat) for hand in hands]


def _needs_two_staves(pitches: np.ndarray) -> bool:
    """Whether pitches (notes,) are those of two hands."""
    low = np.count_nonzero(pitches < LOW_HAND)
    high = np.count_nonzero(pitches > HIGH_HAND)
    return bool(min(low, high) > SHARE_OF_A_HAND * len(pitches))


def _staff(
    notes: np.ndarray, bars: Sequence[ScoreBar], steps_per_beat: int, drums: bool = False
) -> Staff:
    """The staff of some notes, NOTE_DTYPE (notes,)."""
    written: list[list[Voice]] = []
    signs = 0
    bar_notes = _cut_at_bars(notes, bars, steps_per_beat)
    for bar, within in zip(bars, bar_notes, strict=True):
        ruler = _ruler(bar.sign)
        voices = [_hits(within, bar, ruler)] if drums else _voices(within)
        voices = [voice for voice in voices if voice]
        is_odd = bar.marks or bar.length != _quarters(bar.sign)
        if is_odd and not voices:
            voices = [[]]
        written.append([_write(voice, bar, ruler) for voice in voices])
        signs += sum(len(piece.tones) for voice in written[-1] for piece in voice)
        _check_signs(signs, f"{len(notes)} notes on a staff")
    return Staff(written, tuple(notes["pitch"].tolist()))


def _cut_at_bars(
    notes: np.ndarray, bars: Sequence[ScoreBar], steps_per_beat: int
) -> list[list[BarNote]]:
    """What each bar holds of some notes, NOTE_DTYPE (notes,)."""
    begins = np.array([bar.begin for bar in bars])
    first, last = _bars_of(notes, begins)
    cut: list[list[BarNote]] = [[] for _ in bars]
    for note, *numbers in zip(notes.tolist(), first.tolist(), last.tolist(), strict=True):
        for number in range(numbers[0], numbers[1] + 1):
            cut[number].append(_bar_note(note, bars[number], steps_per_beat))
    return cut


def _bar_note(note: Sequence[int], bar: ScoreBar, steps_per_beat: int) -> BarNote:
    """The part of a note, a row of NOTE_DTYPE, that lies in a bar."""
    onset, duration, pitch, _, _ = note
    begin = Fraction(onset - bar.begin, steps_per_beat)
    end = begin + Fraction(duration, steps_per_beat)
    comes = begin < 0
    goes = end > bar.length
    return BarNote(max(begin, Fraction(0)), min(end, bar.length), pitch, onset, comes, goes)


# Voices


def _hits(notes: Sequence[BarNote], bar: ScoreBar, ruler: Ruler) -> list[NoteGroup]:
    """Drums of a bar: each lasts to the next one, or to the end of its beat."""
    struck = [note for note in notes if not note.comes]
    begins = sorted({note.begin for note in struck})
    events = []
    for begin, following in zip(begins, [*begins[1:], bar.length], strict=False):
        place = begin + bar.missing
        beat_end = (place // ruler.unit + 1) * ruler.unit - bar.missing
        end = min(following, beat_end)
        here = (note for note in struck if note.begin == begin)
        hits = tuple(note._replace(end=end, goes=False) for note in here)
        events.append((begin, end, hits))
    return events


def _voices(notes: Sequence[BarNote]) -> list[list[NoteGroup]]:
    """The notes of a bar in one voice or two, the upper one first.

    What needs more voices is written as one, in which every note is cut where another one begins or
    ends.
    """
    upper: list[NoteGroup] = []
    lower: list[NoteGroup] = []
    for cluster in _clusters(notes):
        two = _two_voices(cluster)
        if two is None:
            upper += _sliced(cluster)
        else:
            upper += two[0]
            lower += two[1]
    return [upper, lower]


def _clusters(notes: Iterable[BarNote]) -> Iterator[list[BarNote]]:
    """Clusters of notes, parted wherever nothing sounds on."""
    cluster: list[BarNote] = []
    reach = Fraction(0)
    for note in sorted(notes):
        if cluster and note.begin >= reach:
            yield cluster
            cluster = []
        cluster.append(note)
        reach = max(reach, note.end)
    if cluster:
        yield cluster


def _two_voices(cluster: Sequence[BarNote]) -> tuple[list[NoteGroup], list[NoteGroup]] | None:
    """The chords of a cluster in two voices; None where these are too few."""
    chords: dict[tuple[Fraction, Fraction], list[BarNote]] = {}
    for note in cluster:
        chords.setdefault((note.begin, note.end), []).append(note)
    events = [(begin, end, tuple(chord)) for (begin, end), chord in chords.items()]
    # Of those that begin together the higher one goes first.
    events.sort(key=lambda event: (event[0], -_height([event])))

    # First fit.
    voices: tuple[list[NoteGroup], list[NoteGroup]] = ([], [])
    for event in events:
        free = [voice for voice in voices if not voice or voice[-1][1] <= event[0]]
        if not free:
            return None
        free[0].append(event)

    first, second = voices
    if second and _height(second) > _height(first):
        return second, first
    return voices


def _height(events: Iterable[NoteGroup]) -> float:
    """The mean pitch of events."""
    pitches = [note.pitch for _, _, notes in events for note in notes]
    return sum(pitches) / len(pitches)


def _sliced(cluster: Sequence[BarNote]) -> list[NoteGroup]:
    """A cluster as one voice: what sounds between each beginning or end and the next one."""
    edges = sorted({edge for note in cluster for edge in (note.begin, note.end)})
    tones = sum(bisect_left(edges, note.end) - bisect_left(edges, note.begin) for note in cluster)
    _check_signs(tones, f"{len(cluster)} notes that overlap in a bar")

    events = []
    for begin, end in zip(edges, edges[1:], strict=False):
        sounding = tuple(note for note in cluster if note.begin < end and note.end > begin)
        events.append((begin, end, sounding))
    return events


# Values that have a sign


def _write(events: Sequence[NoteGroup], bar: ScoreBar, ruler: Ruler) -> Voice:
    """A voice of a bar: rests between its events, everything cut to values that have a sign."""
    # Rests fill the gaps.
    filled: list[NoteGroup] = []
    now = Fraction(0)
    for begin, end, notes in [*events, (bar.length, bar.length, ())]:
        if begin > now:
            filled.append((now, begin, ()))
        if notes:
            filled.append((begin, end, notes))
        now = end

    filled = [part for event in filled for part in _parted(event, bar.marks)]

    # A beat that is cut at a third has triplets. The beats of a pickup are counted from its end.
    places = {edge + bar.missing for begin, end, _ in filled for edge in (begin, end)}
    triplets = {place // ruler.unit for place in places if _is_third(place / ruler.unit)}

    pieces = []
    for begin, end, notes in filled:
        cuts = _cuts(begin + bar.missing, end + bar.missing, ruler, triplets, is_rest=not notes)
        for first, last in zip(cuts, cuts[1:], strict=False):
            tones = _tones(notes, first - bar.missing, last - bar.missing)
            is_triplet = first // ruler.unit in triplets
            piece = Piece(first - bar.missing, last - first, tones, is_triplet)
            pieces.append(piece)
    return _bracketed(pieces, bar, ruler)


def _parted(event: NoteGroup, marks: Iterable[Fraction]) -> Iterator[NoteGroup]:
    """An event, cut at the marks within it."""
    begin, end, notes = event
    edges = [begin, *(mark for mark in marks if begin < mark < end), end]
    for first, last in zip(edges, edges[1:], strict=False):
        yield first, last, notes


def _is_third(place: Fraction) -> bool:
    """Whether a place of a beat is not on the grid of halves, quarters and so on."""
    return place.denominator % THREE == 0


def _tones(notes: Sequence[BarNote], begin: Fraction, end: Fraction) -> tuple[Tone, ...]:
    """The tones of a piece of some notes, tied where these were cut."""
    tones = []
    for note in sorted(notes, key=lambda note: note.pitch):
        before = note.comes or note.begin < begin
        after = note.goes or note.end > end
        tie = {(True, True): "continue", (True, False): "stop", (False, True): "start"}
        tones.append(Tone(note.pitch, note.onset, tie.get((before, after), "")))
    return tuple(tones)


def _cuts(
    begin: Fraction, end: Fraction, ruler: Ruler, triplets: set[int], *, is_rest: bool
) -> list[Fraction]:
    """The edges of the pieces that something is written in, `begin` and `end` among them."""
    # Triplets stay within their beat.
    beats = (edge * ruler.unit for number in triplets for edge in (number, number + 1))
    edges = sorted({begin, end, *(edge for edge in beats if begin < edge < end)})

    cuts = [begin]
    for first, last in zip(edges, edges[1:], strict=False):
        triplet = first // ruler.unit in triplets
        cuts += _cut(first, last, ruler, triplet=triplet, is_rest=is_rest)
    return cuts


def _cut(
    begin: Fraction, end: Fraction, ruler: Ruler, *, triplet: bool, is_rest: bool
) -> list[Fraction]:
    """The ends of the pieces of a span, `end` the last one."""
    if _has_sign(begin, end, ruler, triplet=triplet, is_rest=is_rest):
        return [end]
    for distance in ruler.distances(triplet):
        place = (begin // distance + 1) * distance
        if place >= end:
            continue
        # From a place of this kind go as far as possible, else only to the next one.
        if begin % distance == 0:
            place = _last_before(end, distance)
        before = _cut(begin, place, ruler, triplet=triplet, is_rest=is_rest)
        return before + _cut(place, end, ruler, triplet=triplet, is_rest=is_rest)
    return [end]


def _last_before(end: Fraction, distance: Fraction) -> Fraction:
    """The last multiple of a distance before a place."""
    return (-(-end // distance) - 1) * distance


def _has_sign(
    begin: Fraction, end: Fraction, ruler: Ruler, *, triplet: bool, is_rest: bool
) -> bool:
    """Whether a span can be written as one note, and shows the beats well enough."""
    length = end - begin
    if not _is_value(length * TRIPLET if triplet else length):
        return False
    if triplet:
        return True
    for distance, grain in ruler.crossings(is_rest):
        crosses = (begin // distance + 1) * distance < end
        if crosses and (begin % grain or end % grain):
            return False
    return True


def _is_value(length: Fraction) -> bool:
    """Whether a length in quarters has a sign: a plain note or a dotted one."""
    if not SHORTEST_VALUE_WRITTEN <= length <= LONGEST_VALUE_WRITTEN:
        return False
    return _is_power_of_two(length) or _is_power_of_two(length * 2 / THREE)


def _is_power_of_two(number: Fraction) -> bool:
    """Whether a fraction is 1, 2, 4 and so on, or 1/2, 1/4 and so on."""
    return all(part & (part - 1) == 0 for part in number.as_integer_ratio())


def _bracketed(pieces: Sequence[Piece], bar: ScoreBar, ruler: Ruler) -> Voice:
    """Pieces with brackets over the triplets of each beat."""
    beats = [(piece.begin + bar.missing) // ruler.unit for piece in pieces]
    voice = []
    for number, piece in enumerate(pieces):
        before = beats[number - 1] if number else None
        after = beats[number + 1] if number + 1 < len(beats) else None
        starts = beats[number] != before
        stops = beats[number] != after
        words = {(True, True): "startStop", (True, False): "start", (False, True): "stop"}
        bracket = words.get((starts, stops), "") if piece.triplet else ""
        voice.append(piece._replace(bracket=bracket))
    return voice
