"""From a file's ticks to the steps of a grid: what is rounded, what it costs, where bars stand.

`quantise` makes the fields of a Song from `Events`. Steps come from ticks, never from seconds, so
every song stands at 120 BPM. A file may lie off its grid by a constant *phase* (a player who is
late by the same time everywhere). It is measured and taken out. The `ReadReport` tells it, and
every loss:

    fields = quantise(events, "song.mid", steps_per_beat=4, drums=False)
    fields["report"].phase, fields["report"].merged

Bars and time signatures lead to each other: `bars_of_meters` and `meters_of_bars`; which signatures
are believed says `believe_meters`. Read on in `song`, which keeps the fields, and in `midi`, which
reads files.
"""

import cmath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from ..errors import MidiError
from .chords import Chord, MarkedChords, chord_signs, read_markers
from .midi_codes import DRUMS, META_TEXTS, PRESSURE, SYSTEM_EXCLUSIVE, Events, part_names
from .tables import DURATION_ROW, GRIDS, MAX_STEPS, ONSET_ROW, in_order, notes_of, untangle

MAX_PARTS = 2**16
# The tempo of what names none.
DEFAULT_BPM = 120.0
# Changes of time signature that are believed.
MAX_METERS = 4096
# Numerator and denominator where a file names none.
COMMON_TIME = (4, 4)
# The note that no bar is counted in a smaller one than: a 64th.
SHORTEST_NOTE = 64
# Bars of more beats are believed only now and then, and of more than `LONGEST_BAR` never.
LONG_BAR = 16
LONGEST_BAR = 64
# So many bars in a row may be as short as a beat, or as long as that.
FEW_BARS = 4
# So many names of chords that are not understood are told.
MOST_NAMES = 6
# An onset farther than this from a grid has missed it, in steps.
FAR = 0.2
# The share of onsets that may miss a grid which fits.
MOST_MISSED = 0.03
# So many onsets are enough to judge a grid by.
ONSETS_TO_JUDGE = 250

Meter = tuple[int, int, int]  # step, numerator, denominator
Tempo = tuple[int, float]  # step, BPM
KeySign = tuple[int, str]  # step, name of the key


@dataclass(frozen=True)
class ReadOptions:
    """How a file was read: the options of `read_midi` beside the grid.

    Attributes:
        drums: channel 10 was kept, too.
        pedal: notes last until the sustain pedal is released.
        salvage: of a damaged file what can be read was taken.
        phase: of the notes against the grid, in steps, if it was given; None: it was measured.
    """

    drums: bool = False
    pedal: bool = False
    salvage: bool = False
    phase: float | None = None


@dataclass(frozen=True)
class ReadReport:
    """What reading or `Song.canonical` did.

    `kept + merged + dropped` is the number of notes that were given.

    Attributes:
        phase: constant offset of the notes from the grid that was taken out, in steps.
        quantisation_error: mean distance of the onsets from the grid after that, in steps.
        kept: notes of the song.
        merged: notes that shared pitch and step with another note.
        shortened: notes cut by a re-strike of their pitch.
        dropped: notes outside the pitches or parts asked for.
        drums: of these, notes left out as drums.
        zero_length: notes of no length in the file, now a step.
        unended: notes without an end in the file, now to the end of their track.
        pedals: presses of the sustain pedal in the file.
        bends: pitch bends in the file.
        controllers: changes of other controllers in the file.
        clipped: bytes of data above 127 in a damaged file, read as 127.
        pressures: messages of aftertouch and channel pressure.
        releases: release velocities that differ from the usual ones, 0 and 64.
        programs: program changes that no note follows.
        signs: changes of tempo, meter or key that another one at the same step replaces, that
            cannot be, or that stand after the end.
        lyrics: those that name no chord.
        markers: those that name no chord.
        texts: other texts, and names of tracks that are no parts.
        system: system messages, exclusive ones mostly.
        others: all other meta events.
        better_grid: steps per beat that would fit better, else those in use.
        chords_changed: labels reduced or cut.
        chords_dropped: chords that were left out: those that a file names and that are not
            understood, or all, since the picture has no chord rows.
        remarks: sentences on what else was unusual.
    """

    phase: float = 0.0
    quantisation_error: float = 0.0
    kept: int = 0
    merged: int = 0
    shortened: int = 0
    dropped: int = 0
    drums: int = 0
    zero_length: int = 0
    unended: int = 0
    pedals: int = 0
    bends: int = 0
    controllers: int = 0
    clipped: int = 0
    pressures: int = 0
    releases: int = 0
    programs: int = 0
    signs: int = 0
    lyrics: int = 0
    markers: int = 0
    texts: int = 0
    system: int = 0
    others: int = 0
    better_grid: int = 4
    chords_changed: int = 0
    chords_dropped: int = 0
    remarks: tuple[str, ...] = ()


# What a song does not keep, by its count in `ReadReport`.
LOSSES = {
    "pedals": "presses of the sustain pedal",
    "bends": "pitch bends",
    "controllers": "changes of controllers",
    "pressures": "messages of aftertouch",
    "releases": "release velocities",
    "programs": "program changes that no note follows",
    "signs": "further changes of tempo, meter or key",
    "lyrics": "lyrics that name no chord",
    "markers": "markers that name no chord",
    "texts": "other texts",
    "system": "system messages",
    "others": "other meta events",
}


class Signs(TypedDict):
    """The fields of a Song that its picture does not show, as `Song` explains them."""

    source_tempo: float | None
    tempi: tuple[Tempo, ...]
    keys: tuple[KeySign, ...]
    programs: tuple[int, ...]
    channels: tuple[int, ...]
    source: bytes | None
    read_as: ReadOptions | None


class SongFields(Signs):
    """The fields of a Song by name, as `Song` explains them."""

    notes: np.ndarray
    chords: tuple[Chord, ...]
    parts: tuple[str, ...]
    bars: tuple[int, ...]
    steps_per_beat: int
    name: str
    report: ReadReport
    meters: tuple[Meter, ...]


class Phase(NamedTuple):
    """How onsets lie on a grid.

    Attributes:
        shift: their constant offset, in (-.5, .5] steps; 0 where they have none.
        error: their mean distance from the grid without it, in steps.
        missed: the share of them that is then farther than `FAR` from it.
    """

    shift: float
    error: float
    missed: float


def quantise(
    events: Events, name: str, *, steps_per_beat: int, drums: bool, phase: float | None = None
) -> SongFields:
    """The fields of a Song from what a file says: ticks to steps, and what that cost.

    Args:
        events: the file's notes, texts and meters, in ticks.
        name: of the file, for errors; without folder and ending it is the song's name.
        steps_per_beat: one of GRIDS.
        drums: keep channel 10, too.
        phase: of the notes against the grid, in steps; None: it is measured.

    Raises:
        MidiError: the file holds no notes, too many parts, or is too long.
    """
    parts = [i for i, (_, channel, _) in enumerate(events.parts) if drums or channel != DRUMS]
    ticks = notes_of_parts(events, parts)  # rows: start, end, pitch, velocity, part
    if not ticks.size:
        raise MidiError(f"{name} {_why_empty(events)}")
    per_step = events.per_beat / steps_per_beat
    _check_size(ticks, per_step, len(parts), name)

    # Notes: the phase is taken out; then a pitch of a part sounds once at a time.
    title = Path(name).stem
    lie = measure_phase(ticks[0] / per_step, phase)
    columns = in_order(to_steps(ticks, per_step, lie.shift), title)
    columns, merged, shortened = untangle(columns)

    # Chords last to the end of the notes at most, bars to the end of both.
    end = int((columns[ONSET_ROW] + columns[DURATION_ROW]).max())
    chords, unknown = _chords_of_texts(events, per_step, end)
    if chords:
        end = max(end, chords[-1].onset + chords[-1].duration)
    told = _in_steps(events.meters, per_step, end)
    meters, remark = believe_meters(told, steps_per_beat, end)
    bars = () if remark and not meters else bars_of_meters(meters, steps_per_beat, end)

    # What it cost.
    counts = {"kept": columns.shape[1], "merged": merged, "shortened": shortened}
    counts["chords_dropped"] = len(unknown)
    counts |= _count_words(events, len(unknown))
    counts["signs"] = _lost_signs(events, per_step, end)
    remarks = (remark, _tell_unknown(unknown))
    report = _report(
        events, ticks, lie, steps_per_beat=steps_per_beat, counts=counts, remarks=remarks
    )

    signs = _signs(events, parts, per_step, end)
    return SongFields(
        notes=notes_of(columns),
        chords=chords,
        parts=part_names(events, parts),
        bars=bars,
        steps_per_beat=steps_per_beat,
        name=title,
        report=report,
        meters=meters,
        **signs,
    )


def notes_of_parts(events: Events, parts: Sequence[int]) -> np.ndarray:
    """The notes of some parts, numbered anew from 0, in ticks.

    Args:
        events: what the file says.
        parts: the indices in `events.parts` of those parts.

    Returns:
        int64 (5, notes), rows as in `Events.notes`.
    """
    if len(parts) == len(events.parts):
        return events.notes
    numbers = np.full(len(events.parts), -1)
    numbers[parts] = np.arange(len(parts))
    part = numbers[events.notes[4]]
    ticks = events.notes[:, part >= 0]  # (5, notes)
    ticks[4] = part[part >= 0]
    return ticks


def _why_empty(events: Events) -> str:
    """The rest of the sentence that says that a file holds no notes."""
    drums = events.notes.shape[1]
    why = "".join(f" ({remark})" for remark in events.remarks)
    if drums:
        why = f" but {drums} of drums (drums=True keeps them)"
    return f"holds no notes{why}; choose a file with at least one pitched note"


def _check_size(ticks: np.ndarray, per_step: float, parts: int, name: str) -> None:
    """MidiError where a file has too many parts or steps."""
    if parts > MAX_PARTS:
        raise MidiError(f"{name} has {parts} parts, more than {MAX_PARTS}; split it")
    # Half a step less would be rounded to it.
    if ticks[1].max() / per_step >= MAX_STEPS - 0.5:
        raise MidiError(
            f"{name} is longer than {MAX_STEPS} steps; "
            "cut out the part that you need, or check its time division"
        )


def to_steps(ticks: np.ndarray, per_step: float, shift: float) -> np.ndarray:
    """Notes in ticks as columns in steps; each lasts a step or more.

    Args:
        ticks: int64 (5, notes), rows as in `Events.notes`.
        per_step: ticks of a step.
        shift: the phase that is taken out, in steps.

    Returns:
        int64 (5, notes).
    """
    start, end, *others = ticks
    onset = np.maximum(np.rint(start / per_step - shift), 0)
    duration = np.maximum(np.rint(end / per_step - shift) - onset, 1)
    columns = np.empty(ticks.shape, np.int64)
    for row, values in enumerate([onset, duration, *others]):
        columns[row] = values
    return columns


def _chords_of_texts(events: Events, per_step: float, end: int) -> MarkedChords:
    """The chords that a file's markers name, or else its lyrics; the last one lasts to `end`."""
    for texts in (events.markers, events.lyrics):
        steps = [(min(round(tick / per_step), MAX_STEPS), text) for tick, text in texts]
        marked = read_markers(steps, end)
        if marked.chords:
            return marked
    return MarkedChords((), ())


def _tell_unknown(texts: Sequence[str]) -> str:
    """The remark on chords that are not understood; "" where there are none."""
    if not texts:
        return ""
    names = list(dict.fromkeys(texts))
    told = ", ".join(names[:MOST_NAMES]) + (" ..." if len(names) > MOST_NAMES else "")
    count = "1 chord" if len(texts) == 1 else f"{len(texts)} chords"
    return f"{count} not understood and left out: {told}"


def _in_steps(told: Sequence[tuple[Any, ...]], per_step: float, end: int) -> tuple[Any, ...]:
    """Tempos, meters or keys, (tick, ...) each, as (step, ...): those before step `end`."""
    if not told:
        return ()
    # The sort is stable: of several at one step the file's last one holds.
    last = {round(tick / per_step): rest for tick, *rest in sorted(told, key=itemgetter(0))}
    return tuple((step, *rest) for step, rest in last.items() if step < end)


def _signs(events: Events, parts: Sequence[int], per_step: float, end: int) -> Signs:
    """What is kept of a file beside notes, chords and bars; `parts`: the indices of those kept."""
    paces = [(tick, pace) for tick, pace in events.tempos if pace]
    tempi = tuple((step, 60e6 / pace) for step, pace in _in_steps(paces, per_step, end))
    first = tempi[0][1] if tempi else None
    keys = _in_steps(events.keys, per_step, end)

    instruments = [events.parts[i] for i in parts]
    channels = tuple(channel for _, channel, _ in instruments)
    programs = tuple(program for _, _, program in instruments)
    return Signs(
        source_tempo=first,
        tempi=tempi,
        keys=keys,
        programs=programs,
        channels=channels,
        source=events.source,
        read_as=None,
    )


def _report(
    events: Events,
    ticks: np.ndarray,
    phase: Phase,
    *,
    steps_per_beat: int,
    counts: dict[str, int],
    remarks: Sequence[str],
) -> ReadReport:
    """All that reading did: to `counts` come drums, notes without length, and a better grid."""
    start, end, *_ = ticks
    is_good = phase.missed <= MOST_MISSED
    beats = start / events.per_beat  # (notes,)
    better, advice = (steps_per_beat, "") if is_good else better_grid(beats, steps_per_beat)

    drums = events.notes.shape[1] - ticks.shape[1]
    left_out = f"{drums} notes of drums left out" if drums else ""
    # Aftertouch is of one key or of a whole channel.
    pressures = counts.get("pressures", 0) + events.counts.get("pressures", 0)
    counts = counts | events.counts | {"pressures": pressures}
    losses = _tell_losses(events, counts)
    remarks = (*events.remarks, *filter(None, (left_out, *remarks, advice)), *losses)
    counts["dropped"] = counts["drums"] = drums
    counts["zero_length"] = int(np.count_nonzero(start == end))
    counts["better_grid"] = better
    return ReadReport(phase.shift, phase.error, remarks=remarks, **counts)


def _tell_losses(events: Events, counts: dict[str, int]) -> list[str]:
    """A line for each thing that a song does not keep."""
    where = "not in the picture, kept in the file" if events.source else "not in the picture"
    told = LOSSES.keys() - {"pedals"} if events.held else LOSSES.keys()
    lost = [name for name in LOSSES if name in told and counts.get(name)]
    return [f"{LOSSES[name]} ({counts[name]}): {where}" for name in lost]


def _count_words(events: Events, unknown: int) -> dict[str, int]:
    """How many texts and other events a song does not keep, by the names of `ReadReport`.

    `unknown`: how many texts are chords that are not understood, which are told by themselves.
    """
    # Chords come from the markers, or else from the lyrics.
    signs = chord_signs(text for _, text in events.markers)
    sung = set() if signs else chord_signs(text for _, text in events.lyrics)
    counts: Counter[str] = Counter()
    counts["markers"] = sum(text not in signs for _, text in events.markers)
    counts["lyrics"] = sum(text not in sung for _, text in events.lyrics)
    counts["markers" if signs else "lyrics"] -= unknown

    # The name of a track without notes is no name of a part.
    counts["texts"] = len(events.names.keys() - {track for track, _, _ in events.parts})
    for kind, count in Counter(events.skipped).items():
        counts[_sort_of(kind)] += count
    return dict(counts)


def _sort_of(kind: int) -> str:
    """The count of `ReadReport` that an event of this kind belongs to."""
    if kind >= SYSTEM_EXCLUSIVE:
        return "system"
    if kind >> 4 == PRESSURE:
        return "pressures"
    return "texts" if kind in META_TEXTS else "others"


def _lost_signs(events: Events, per_step: float, end: int) -> int:
    """How many changes of tempo, meter or key `_in_steps` leaves out; repeats do not count."""
    tempos = [(tick, pace) for tick, pace in events.tempos if pace]
    lost = len(events.tempos) - len(tempos)
    for told in (tempos, events.meters, events.keys):
        rows = {(round(tick / per_step), *rest) for tick, *rest in told}
        kept = {step for step, *_ in rows if step < end}
        lost += len(rows) - len(kept)
    return lost


def measure_phase(onsets: np.ndarray, shift: float | None = None) -> Phase:
    """How onsets lie on the grid of whole steps.

    The shift is the circular mean of the onsets' distances from the grid. It is taken only where
    they agree (a resultant of at least .5) and where the error falls by it.

    Args:
        onsets: in steps, float (notes,), one or more.
        shift: if it is known, in steps; None: it is measured.
    """
    distance = onsets - np.rint(onsets)  # (notes,)
    is_known = shift is not None
    agrees = True
    if shift is None:
        # Single precision is four times as quick.
        angle = (2 * np.pi * distance).astype(np.float32)
        resultant = complex(np.cos(angle).sum(), np.sin(angle).sum())
        shift = cmath.phase(resultant) / (2 * np.pi)
        agrees = abs(resultant) >= 0.5 * len(distance)

    before = np.abs(distance)
    after = distance - shift
    after = np.abs(after - np.rint(after))
    if not is_known and not (agrees and after.sum() < before.sum()):
        shift = 0.0
        after = before
    missed = np.count_nonzero(after > FAR) / len(distance)
    return Phase(shift, float(after.sum()) / len(distance), missed)


def better_grid(beats: np.ndarray, steps_per_beat: int) -> tuple[int, str]:
    """The coarsest grid that holds the present one and all but `MOST_MISSED` of the onsets.

    Args:
        beats: onsets in beats, float (notes,).
        steps_per_beat: the present grid.

    Returns:
        Steps per beat, the present ones where no grid fits; what to tell the reader, or "".
    """
    beats = beats[:: len(beats) // ONSETS_TO_JUDGE + 1]
    for grid in GRIDS:
        if grid % steps_per_beat or measure_phase(beats * grid).missed > MOST_MISSED:
            continue
        if grid == steps_per_beat:
            return grid, ""
        return grid, f"steps_per_beat={grid} would fit its onsets better"
    return (
        steps_per_beat,
        "its onsets lie on no grid (played freely?): they were moved to the nearest steps",
    )


def seconds_of(
    steps: np.ndarray, tempi: Sequence[tuple[float, float]], steps_per_beat: int
) -> np.ndarray:
    """When steps sound: the sum of what all steps before them last.

    Args:
        steps: float or int (n,), 0 or more.
        tempi: (step, BPM) in the order of their steps; before the first one it is 120 BPM.
        steps_per_beat: the grid.

    Returns:
        Seconds from step 0, float (n,).
    """
    starts, before, paces = np.array(clock_of(tempi, steps_per_beat)).T  # (tempi,) each
    last = starts.searchsorted(steps, side="right") - 1
    return before[last] + (steps - starts[last]) * paces[last]


def clock_of(
    tempi: Sequence[tuple[float, float]], steps_per_beat: int
) -> list[tuple[float, float, float]]:
    """When steps sound, as a table that a page can read, too.

    Args:
        tempi: (step, BPM) in the order of their steps; before the first one it is 120 BPM.
        steps_per_beat: the grid.

    Returns:
        A line for each tempo: its step, the second at which that sounds, the seconds of a step.
    """
    clock = [(0.0, 0.0, 60 / DEFAULT_BPM / steps_per_beat)]
    for step, bpm in tempi:
        start, second, pace = clock[-1]
        second += (step - start) * pace
        clock.append((step, second, 60 / bpm / steps_per_beat))
    return clock


def believe_meters(
    meters: Sequence[Meter], steps_per_beat: int, end: int
) -> tuple[tuple[Meter, ...], str]:
    """The time signatures that music can have, with 4/4 for each stretch where one cannot be.

    A bar of less than a beat or more than 16 beats, and one of a single beat ("1/4"), is believed
    where it holds for a few bars among others: a pickup, a first ending, a cadenza. Throughout a
    song it is not: POP909 says 1/4 in nearly all of its songs.

    Args:
        meters: in the order of their steps.
        steps_per_beat: the grid.
        end: of the song, in steps.

    Returns:
        The signatures, none where no bar can be made of them; what is wrong, or "".
    """
    if len(meters) > MAX_METERS:
        return (), f"{len(meters)} time signatures, more than music has: bars of 4/4 assumed"

    if all(_is_plausible(above, below, None) for _, above, below in meters):
        return tuple(meters), ""

    # A signature that is told again goes on: it is judged with what came before.
    stretches = [list(group) for _, group in groupby(meters, key=itemgetter(1, 2))]
    stops = [stretch[0][0] for stretch in stretches[1:]] + [end]
    is_alone = len(stretches) == 1 and meters[0][0] == 0
    believed: list[Meter] = []
    doubted: list[Meter] = []
    for stretch, stop in zip(stretches, stops, strict=True):
        step, numerator, denominator = stretch[0]
        beats = (stop - step) / steps_per_beat
        if _is_plausible(numerator, denominator, None if is_alone else beats):
            believed += stretch
        else:
            doubted.append(stretch[0])
            believed.append((step, *COMMON_TIME))

    if not doubted:
        return tuple(meters), ""
    step, numerator, denominator = doubted[0]
    remark = f"implausible time signature {numerator}/{denominator}"
    if len(doubted) == len(stretches):
        return (), f"{remark}: bars of 4/4 assumed"
    more = f" and {len(doubted) - 1} more" if len(doubted) > 1 else ""
    return tuple(believed), f"{remark} at step {step}{more}: bars of 4/4 assumed there"


def _is_plausible(numerator: int, denominator: int, beats: float | None) -> bool:
    """Whether music can have this signature for so many beats; None: for the whole song."""
    if numerator < 1 or denominator > SHORTEST_NOTE:
        return False
    bar = 4 * numerator / denominator
    if numerator > 1 and 1 <= bar <= LONG_BAR:
        return True
    # A step is rounded: so the stretch may seem longer by one.
    return beats is not None and bar <= LONGEST_BAR and beats <= FEW_BARS * bar + 1


def bars_of_meters(meters: Sequence[Meter], steps_per_beat: int, end: int) -> tuple[int, ...]:
    """The bar lines that time signatures ask for.

    Args:
        meters: in the order of their steps, such as `believe_meters` gives; before the first one
            bars are of 4/4.
        steps_per_beat: the grid.
        end: of the song, in steps.

    Returns:
        Steps of the bar lines, through the first one at or after `end`.
    """
    if not meters or meters[0][0] > 0:
        meters = [(0, *COMMON_TIME), *meters]
    nexts = [*(step for step, _, _ in meters[1:]), end]

    lines: set[int] = set()
    for (step, numerator, denominator), after in zip(meters, nexts, strict=True):
        bar = numerator * 4 * steps_per_beat / denominator  # in steps
        # The song's last bar is closed by a line, any other bar by the line that begins the next.
        count = int(np.ceil((min(after, end) - step) / bar))
        count = max(count, int(step < end), 0) + (after == end)
        lines.update(np.rint(step + bar * np.arange(count)).astype(int).tolist())
    return tuple(sorted(lines))


def meters_of_bars(lines: np.ndarray, steps_per_beat: int) -> list[Meter]:
    """A time signature wherever the length of a bar changes.

    Args:
        lines: steps of the bar lines, int (bars + 1,), two or more.
        steps_per_beat: the grid.
    """
    lengths = np.diff(lines)  # (bars,)
    changes = np.flatnonzero(np.diff(lengths)) + 1
    return [
        (int(lines[bar]), *_time_signature(int(lengths[bar]), steps_per_beat))
        for bar in (0, *changes)
    ]


def _time_signature(bar: int, steps_per_beat: int) -> tuple[int, int]:
    """Numerator and denominator of a bar of so many steps, in the largest notes that fill it."""
    # A beat is a quarter; it has one quarter, two 8ths, and so on.
    whole = (notes for notes in (1, 2, 4, 8) if bar * notes % steps_per_beat == 0)
    notes = next(whole, 8)
    numerator = bar * notes // steps_per_beat
    return min(max(numerator, 1), 255), 4 * notes
