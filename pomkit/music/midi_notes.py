"""From the messages of MIDI tracks to notes: their ends, the sustain pedal, their parts.

A MIDI file says when a key goes down and when it comes up. `add_notes` makes notes of that:

1. `_pair_notes` finds the end of each note, **first in, first out**: where a pitch is struck again
   before it has ended, the first end is that of the first note. In most files nothing overlaps,
   and one sort finds all pairs (`_pair`); in the others a queue for each pitch (`_pair_in_turn`).
2. A note without an end lasts as long as its track.
3. `_hold` makes notes last while the pedal is down, where that is asked for.
4. `_sort_parts` tells parts apart by track, channel and program.

In the shapes, "events" (of runs) and "notes" are lengths. Some numbers are packed, so that one
sort or one comparison does for several things:

    voice = track << 4 | channel
    line = voice << 7 | pitch
    part = voice << 7 | program
"""

from collections import defaultdict, deque
from typing import NamedTuple

import numpy as np

from .midi_codes import (
    AFTERTOUCH,
    ALL_NOTES_OFF,
    ALL_SOUND_OFF,
    BEND,
    CONTROL,
    NOTE_OFF,
    NOTE_ON,
    PEDAL_CONTROLLER,
    PEDAL_DOWN,
    RESET_CONTROLLERS,
    Events,
)
from .midi_runs import Messages, Story
from .midi_tracks import indices_of

# The controllers on which it depends how long a pedal holds notes.
PEDAL_MOVES = (PEDAL_CONTROLLER, ALL_SOUND_OFF, RESET_CONTROLLERS)


class _Pairs(NamedTuple):
    """Notes by the events that start and end them, int64 (notes,) each."""

    start: np.ndarray
    end: np.ndarray  # -1 for notes without an end


def add_notes(events: Events, messages: Messages, *, pedal: bool = False) -> None:
    """Make notes of the messages, and put them, their parts and the counts into `events`.

    Args:
        events: gets `notes`, int64 (5, notes), their `messages` and `pairs`, `parts`, `counts`.
        messages: the events of all runs, (events,) each.
        pedal: whether notes last until the sustain pedal is released.
    """
    controls = indices_of(messages.kind == CONTROL)
    number = messages.key[controls]
    lifts = controls[(number == ALL_SOUND_OFF) | (number >= ALL_NOTES_OFF)]
    start, end = _pair_notes(messages, lifts)
    voice = messages.voice[start]
    stop = messages.tick[end]

    # A note without an end lasts as long as its track.
    unended = end < 0
    if unended.any():
        stop = np.where(unended, messages.story.ends[voice >> 4], stop)

    if pedal and (number == PEDAL_CONTROLLER).any():
        moves = controls[np.isin(number, PEDAL_MOVES)]
        _hold(stop, voice, messages, moves)

    part = _sort_parts(events, messages.story, voice, start)
    onset = messages.tick[start]
    pitch = messages.key[start]
    velocity = messages.value[start]
    columns = [onset, stop, pitch, velocity, part]
    events.notes = np.array(columns, np.int64)  # (5, notes)
    events.messages = messages[:5]
    events.pairs = (start, end)
    events.track_ends = messages.story.ends
    events.counts = _counts(messages, controls, unended)
    events.counts["programs"] = _count_unused(events, messages.story)


def _pair_notes(messages: Messages, lifts: np.ndarray) -> _Pairs:
    """Find the notes in the messages; `lifts`: the events that lift all keys of their voice."""
    # The kinds of note-off and note-on differ in their last bit.
    is_note = messages.kind >> 1 == NOTE_OFF >> 1
    # A note-on without velocity is a note-off.
    is_on = messages.kind == NOTE_ON
    is_start = is_on & (messages.value > 0)
    is_end = is_note ^ is_start

    line = messages.voice << 7 | messages.key
    pairs = _pair(line, is_start, is_end)
    if len(lifts):
        return _end_by_controllers(pairs, messages, lifts, on=is_start, off=is_end)
    return pairs


def _end_by_controllers(
    pairs: _Pairs, messages: Messages, lifts: np.ndarray, *, on: np.ndarray, off: np.ndarray
) -> _Pairs:
    """End the notes that sound where all keys of their voice are lifted.

    Args:
        pairs: the notes without that.
        messages: all events, (events,).
        lifts: the events that lift the keys, int64 (lifts,).
        on: which events start notes, bool (events,).
        off: which events end notes, bool (events,).
    """
    # Voice and event as one number: so the next lift of the same voice is found for all at once.
    place = messages.voice.astype(np.int64) << 32 | np.arange(len(messages.voice))
    place_of_lift = np.sort(place[lifts])
    number = place_of_lift.searchsorted(place)  # lifts before each event (events,)
    following = np.append(place_of_lift, -1)[number[pairs.start]]
    same_voice = following >> 32 == messages.voice[pairs.start]
    lift = following & (2**32 - 1)

    # In most files no note sounds there.
    unended = pairs.end < 0
    if not (same_voice & (unended | (lift < pairs.end))).any():
        return pairs

    # A key that was lifted is a new line: what ended it before is the end of no other note.
    line = number << 7 | messages.key
    line = messages.voice.astype(np.int64) << 32 | line
    start, end = _pair(line, on, off)
    return _Pairs(start, np.where((end < 0) & same_voice, lift, end))


def _pair(line: np.ndarray, on: np.ndarray, off: np.ndarray) -> _Pairs:
    """Find the end of every note: first in, first out.

    Args:
        line: a number for the track, channel and pitch of each event, int (events,).
        on: which events start notes, bool (events,).
        off: which events end notes, bool (events,).
    """
    start = indices_of(on)
    stop = indices_of(off)

    # Stable sorts by line put the n-th start of each line and its n-th end in the same place, if
    # every note has an end and none is struck again before it.
    start_order = line[start].argsort(kind="stable")
    stop_order = line[stop].argsort(kind="stable")
    begin = start[start_order]
    finish = stop[stop_order]
    if not _are_pairs(line, begin, finish):
        return _Pairs(start, _pair_in_turn(line, on, off))

    end = np.empty_like(start)
    end[start_order] = finish
    return _Pairs(start, end)


def _are_pairs(line: np.ndarray, begin: np.ndarray, finish: np.ndarray) -> bool:
    """Whether each of these ends is on the line of its start, and after it."""
    if len(begin) != len(finish):
        return False
    same_line = line[begin] == line[finish]
    after = begin < finish
    return bool(same_line.all() and after.all())


def _pair_in_turn(line: np.ndarray, on: np.ndarray, off: np.ndarray) -> np.ndarray:
    """The same in any file, one event after the other: the event that ends each note, or -1."""
    end = np.full(np.count_nonzero(on), -1)
    waiting: dict[int, deque[int]] = defaultdict(deque)  # line -> its notes that have no end yet
    number = on.cumsum() - 1
    events = indices_of(on | off)
    columns = (events, line[events], on[events], number[events])
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for event, key, starts, note in rows:
        queue = waiting[key]
        if starts:
            queue.append(note)
        elif queue:
            first = queue.popleft()
            end[first] = event
    return end


def _counts(messages: Messages, controls: np.ndarray, unended: np.ndarray) -> dict[str, int]:
    """How often a file has what a Song does not keep, by the names of `ReadReport`."""
    is_pedal = messages.key[controls] == PEDAL_CONTROLLER
    is_down = messages.value[controls] >= PEDAL_DOWN
    # 0 and 64 are what is written where no release velocity is known.
    releases = messages.value[messages.kind == NOTE_OFF] & 63
    masks = {
        "unended": unended,
        "pedals": is_pedal & is_down,
        "bends": messages.kind == BEND,
        "pressures": messages.kind == AFTERTOUCH,
        "releases": releases,
    }
    counts = {name: int(np.count_nonzero(mask)) for name, mask in masks.items()}
    return counts | {"controllers": len(controls) - int(np.count_nonzero(is_pedal))}


def _count_unused(events: Events, story: Story) -> int:
    """How many changes of program no note follows."""
    parts = set(events.parts)
    changes = [(voice >> 4, voice & 15, program) for voice, _, program in story.changes]
    return sum(change not in parts for change in changes)


def _hold(stop: np.ndarray, voice: np.ndarray, messages: Messages, moves: np.ndarray) -> None:
    """Let notes that end while the pedal of their voice is down last until it is released.

    All voices are looked up at once, by keys that order moves and ends by voice, then by time.

    `moves`: the events of PEDAL_MOVES, int64 (moves,): what presses or releases a pedal, and what
    silences a voice, pedal or not.
    `stop` (ticks, changed in place) and `voice` are those of the notes, (notes,). Where no
    release comes, the notes last until the last one of their voice ends.
    """
    moves = moves[messages.voice[moves].argsort(kind="stable")]
    move_voice = messages.voice[moves].astype(np.int64)
    note_voice = voice.astype(np.int64)
    ticks = np.concatenate([messages.tick[moves], stop])
    _, rank = np.unique(ticks, return_inverse=True)
    move_key = move_voice * len(ticks) + rank[: len(moves)]
    note_key = note_voice * len(ticks) + rank[len(moves) :]

    # The last move of its voice before each note's end says whether the pedal is down there.
    silences = messages.key[moves] == ALL_SOUND_OFF
    is_down = _pedal_after(messages, moves, silences)
    last = move_key.searchsorted(note_key, side="right") - 1
    held = (last >= 0) & (move_voice[last] == note_voice) & is_down[last]
    held &= ~silences[last] | (move_key[last] < note_key)
    notes = indices_of(held)

    # The next release after each move: the least index, behind it, of a move that ends notes.
    never = len(moves)
    release = np.where(is_down & ~silences, never, np.arange(never))
    release = np.minimum.accumulate(release[::-1])[::-1]
    release = np.append(release, never)[last[notes] + 1]
    same_voice = np.append(move_voice, -1)[release] == note_voice[notes]
    release_tick = np.append(messages.tick[moves], 0)[release]

    # Where none comes in that voice: the end of its last note.
    _, number = np.unique(note_voice, return_inverse=True)
    last_end = np.zeros(len(note_voice), np.int64)
    np.maximum.at(last_end, number, stop)
    until = np.where(same_voice, release_tick, last_end[number[notes]])
    stop[notes] = np.maximum(stop[notes], until)


def _pedal_after(messages: Messages, moves: np.ndarray, silences: np.ndarray) -> np.ndarray:
    """Whether the pedal is down after each move, bool (moves,); what silences leaves it as it is.

    The moves of each voice stand together, in the order of the file.
    """
    is_pedal = messages.key[moves] == PEDAL_CONTROLLER
    is_pressed = is_pedal & (messages.value[moves] >= PEDAL_DOWN)
    if not silences.any():
        return is_pressed
    numbers = np.where(silences, -1, np.arange(len(moves)))
    before = np.maximum.accumulate(numbers)
    same_voice = messages.voice[moves[before]] == messages.voice[moves]
    return (before >= 0) & same_voice & is_pressed[before]


def _sort_parts(events: Events, story: Story, voice: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Put the parts into `events`, and say which of them each note is in, int64 (notes,).

    They stand by track, then by first appearance. `voice` and `start` (events of the runs) are
    those of the notes, (notes,).
    """
    code = _part_codes(story, voice, start)

    # Notes of one part mostly stand together: look each stretch up, not each note.
    is_bound = np.ones(len(code) + 1, bool)
    is_bound[1:-1] = code[1:] != code[:-1]
    bounds = indices_of(is_bound)
    lengths = bounds[1:] - bounds[:-1]
    played = code[bounds[:-1]].tolist()

    # A part without notes has the instrument that its track names.
    empty = []
    if story.empty_parts:
        told = {voice >> 4: voice << 7 | program for voice, _, program in story.changes}
        empty = [told.get(track, track << 11) for track in story.empty_parts]
    first_come = dict.fromkeys(played + empty)
    codes = sorted(first_come, key=lambda c: c >> 11)
    events.parts = [(c >> 11, c >> 7 & 15, c & 127) for c in codes]
    index = {c: i for i, c in enumerate(codes)}
    part = np.array([index[c] for c in played], np.int64)
    return part.repeat(lengths)


def _part_codes(story: Story, voice: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The voice and the program of each note as one number, (notes,)."""
    code = voice << 7
    changes = np.array(story.changes, np.int64).reshape(-1, 3)  # (changes, 3)
    if not changes[:, 2].any():
        return code

    # Voice and event as one number: the last change that is not after a note holds for it. Of
    # several at one event a stable sort leaves the last one last.
    since = changes[:, 0] << 32 | changes[:, 1]
    order = since.argsort(kind="stable")
    when = voice.astype(np.int64) << 32 | start
    last = since[order].searchsorted(when, side="right") - 1

    # Before the first change of its voice a note has program 0.
    number, _, program = changes[order[last]].T  # (notes,) each
    follows = (last >= 0) & (number == voice)
    code += np.where(follows, program, 0).astype(code.dtype)
    return code
