"""A session as plain values: all that a page needs to draw it, without a widget.

    piece(session, "notes")                      # int32 (notes, 6)
    piece(session, "mask")["words"]              # "bars 5-8, melody"
    for name in CHANGES["state"]: ...            # what may have changed with an event

Each of `PIECES` is one function of a session. What they give are numbers, texts, lists and dicts
that JSON knows, tables of notes, and bytes; nobody needs to know more than this file to write a
front end. A table of notes has the columns `TABLE_COLUMNS`; steps count from 0, pitches are MIDI
numbers.

The law: `mask_of_bits` gives back the mask, and the notes of a table are those of the song that the
picture shows.
Read on: `roll`, the page, and `panel`, which shows it these.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..data.mask_mix import onsets_per_bar
from ..errors import PomkitError
from ..music import mask_words
from ..music.chords import Chord
from ..music.grid import clock_of
from ..music.midi_codes import DRUMS
from ..music.palette import palette
from ..music.pixels import PITCHES, Mask
from ..music.song import Song
from ..music.tables import ONSET_ROW, PART_ROW, PITCH_ROW
from ..processes.contract import methods_of
from .editor import HIGHEST_PITCH, LOWEST_PITCH, State, new_among
from .oddness import bits_of_notes
from .sampling import SETTINGS, Setting, knows
from .session import Session

# Of a table of notes; new is 1 where the picture before has no such note.
TABLE_COLUMNS = ("onset", "duration", "pitch", "velocity", "part", "new")
VALUE_KINDS = {bool: "bool", int: "int", float: "float", str: "text"}


def piece(session: Session, name: str) -> Any:
    """What `PIECES` tells of a session by one name."""
    return PIECES[name](session)


# Notes


def table_of(state: State, before: State) -> np.ndarray:
    """The notes that a picture shows, each in its part.

    Args:
        state: whose notes they are.
        before: notes that its picture lacks are new; of another size: none is.

    Returns:
        int32 (notes, 6), the `TABLE_COLUMNS`, by onset.
    """
    notes = state.song.notes
    pitch = notes["pitch"]
    is_seen = (pitch >= LOWEST_PITCH) & (pitch <= HIGHEST_PITCH)
    notes = notes[is_seen & (notes["onset"] < state.mask.shape[1])]
    is_new = new_among(notes, state.picture, before.picture)
    fields = [notes[name] for name in TABLE_COLUMNS[:-1]]
    return np.stack([*fields, is_new], axis=1).astype(np.int32)  # (notes, 6)


def tell_notes(session: Session) -> np.ndarray:
    """The notes of the present picture, int32 (notes, 6)."""
    return table_of(session.editor.state, session.state_before())


def tell_notes_before(session: Session) -> np.ndarray:
    """The notes of the picture that the present one was made from, int32 (notes, 6)."""
    before = session.state_before()
    return table_of(before, before)


def tell_live(session: Session) -> np.ndarray | None:
    """The notes of the picture while it is composed, int32 (notes, 6), or None.

    Those that stay are told in their parts, new ones in the chosen part.
    """
    live = session.live_state
    if live is None:
        return None
    # The song is told when it is done; the picture alone knows no parts.
    present = session.editor.state
    seen = live._replace(origin=None, touched=None, changed=None)
    table = table_of(seen, present)
    known = table_of(present, present)
    numbers = mask_words.part_numbers(live.song, live.part) if live.part else []
    table[:, PART_ROW] = numbers[0] if numbers else 0

    # A note that stays is known by where it begins.
    places = table[:, ONSET_ROW] * PITCHES + table[:, PITCH_ROW]
    known_places = known[:, ONSET_ROW] * PITCHES + known[:, PITCH_ROW]
    order = known_places.argsort(kind="stable")
    found = np.append(order, -1)[known_places.searchsorted(places, sorter=order)]
    stays = np.append(known_places, -1)[found] == places
    table[stays, PART_ROW] = known[found[stays], PART_ROW]
    return table


# The song


def tell_song(session: Session) -> dict[str, Any]:
    """What is under the notes: bars, beats, chords, and when each step sounds.

    Returns:
        title, name, width in steps; bars and beats, the steps at which they begin; clock, a line
        (step, second, seconds of a step) for each tempo; parts, each with name, program, channel,
        whether it is drums, and whether these stay beside the picture; chords (onset, duration,
        label, colour); low and high, the pitches that are used; steps_per_beat.
    """
    state = session.editor.state
    pitch = state.read.notes["pitch"]
    drums = session.drums

    told: dict[str, Any] = {
        "title": session.title,
        "name": state.name,
        "width": state.mask.shape[1],
    }
    told |= {"bars": list(state.bars), "beats": state.beats.tolist()}
    told["clock"] = clock_of(state.tempi, state.steps_per_beat)
    told["steps_per_beat"] = state.steps_per_beat
    told["parts"] = [*tell_parts(state.song), *tell_parts(drums, beside=True)]
    told["chords"] = [tell_chord(chord) for chord in state.read.chords]

    # Of silence, the octave from C4 on.
    told["low"] = int(min(pitch, default=60))
    told["high"] = int(max(pitch, default=72))
    return told


def tell_chord(chord: Chord) -> tuple[int, int, str, str]:
    """Onset, duration and label of a chord, and its colour, "#rrggbb"."""
    return (*chord, "#" + bytes(palette()[chord.label]).hex())


def tell_parts(song: Song, beside: bool = False) -> list[dict[str, Any]]:
    """Name, program and channel of each part, whether it is drums, and stands beside the picture.

    Args:
        song: whose parts they are.
        beside: what to say of the last.
    """
    told = []
    for number, name in enumerate(song.parts):
        channel = song.channels[number]
        part = {"name": name, "program": song.programs[number], "channel": channel}
        told.append(part | {"drums": channel == DRUMS, "beside": beside})
    return told


def tell_drums(session: Session) -> np.ndarray:
    """The drums of the file that are no notes of the song, int32 (notes, 6).

    Their parts follow those of the song.
    """
    drums = session.drums.notes
    fields = [drums[name] for name in TABLE_COLUMNS[:-1]]
    table = np.stack([*fields, np.zeros_like(drums["part"])], axis=1).astype(np.int32)
    table[:, 4] += len(session.editor.state.song.parts)
    return table


def tell_doubt(session: Session) -> dict[str, Any]:
    """What the model finds odd.

    Returns:
        table: onset, duration, pitch and doubt in tenths of a bit of each note, int32 (notes, 4);
        none where the model was not asked about the present picture. busy, whether it is asked;
        share from 0 to 1 and remaining, in words, how far it is; obstacle, why it cannot be.
    """
    bits = session.doubted
    notes = session.editor.state.read.notes
    if bits is None:
        notes = notes[:0]
    fields = [notes[name] for name in ("onset", "duration", "pitch")]
    tenths = np.zeros(0) if bits is None else 10 * bits_of_notes(bits, notes)
    table = np.stack([*fields, tenths.round()], axis=1).astype(np.int32)  # (notes, 4)
    told = {"table": table, "obstacle": session.doubt_obstacle}
    return told | session.doubt_status._asdict()


def tell_mix(session: Session) -> dict[str, list[str]]:
    """Which parts are muted, and which are heard alone, by their names."""
    return {"muted": sorted(session.mixed.muted), "alone": sorted(session.mixed.alone)}


# The mask


def bits_of_mask(mask: Mask) -> bytes:
    """A mask, bool (128, width), as bits: rows of whole bytes, the first step the highest bit."""
    return np.packbits(mask, axis=1).tobytes()


def mask_of_bits(bits: bytes, width: int) -> Mask:
    """The mask, bool (128, width), that `bits_of_mask` told."""
    rows = np.frombuffer(bits, np.uint8).reshape(PITCHES, -1)  # (128, bytes)
    return np.unpackbits(rows, axis=1, count=width).astype(bool)


def tell_mask(session: Session) -> dict[str, Any]:
    """What is marked.

    Returns:
        bits, as `bits_of_mask`; words; part, the chosen one or None, and parts to choose from;
        within, the bits of that part's cells (none: all); start and stop, of the marked steps
        (0, 0: none); listen, the step from which one listens (-1: none); undo and redo, whether
        there is something.
    """
    editor = session.editor
    state = editor.state
    start, stop = marked_steps(state.mask)
    listen = session.listen_from

    # What, of which part, where, and whether it can be taken back.
    told: dict[str, Any] = {"bits": bits_of_mask(state.mask), "words": session.mask_in_words()}
    told |= {"part": state.part, "parts": mask_words.part_words(state.song)}
    told["within"] = bits_of_mask(state.part_cells) if state.part else b""
    told |= {"start": start, "stop": stop, "listen": -1 if listen is None else listen}
    return told | {"undo": editor.can_undo, "redo": editor.can_redo}


def marked_steps(mask: Mask) -> tuple[int, int]:
    """The first marked step of a mask, bool (128, width), and that after the last; 0, 0: none."""
    columns = np.flatnonzero(mask.any(axis=0))
    return (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 0)


# Takes and candidates


def tell_takes(session: Session) -> dict[str, Any]:
    """The kept pictures.

    Returns:
        names; tips, how each was made; place, the number of the present one; bring_back, what
        could be, in words; composed, how many times something was.
    """
    return {
        "names": session.take_names,
        "tips": [take.origin for take in session.history],
        "place": session.place,
        "bring_back": session.aside,
        "composed": session.composed,
    }


def tell_candidates(session: Session) -> dict[str, Any]:
    """The candidates of the present take, else of the last one.

    Returns:
        tables of the notes that the song has with each, int32 (notes, 6); chosen (-1: another
        picture is present); start and stop of the composed steps; notes_per_bar that each has
        there.
    """
    before = session.history[session.offered].before
    start, stop = marked_steps(before.mask)
    states = session.candidate_states
    tables = [table_of(state, before) for state in states]
    busy = [onsets_per_bar(state.picture, before.mask, before.bars) for state in states]
    chosen = -1 if session.chosen is None else session.chosen
    told = {"tables": tables, "notes_per_bar": busy, "chosen": chosen}
    return told | {"start": start, "stop": stop}


# Wishes, and how it goes


def tell_settings(session: Session) -> list[dict[str, Any]]:
    """Each of `SETTINGS`, with what it is set to."""
    return [tell_setting(session, setting) for setting in SETTINGS.values()]


def tell_setting(session: Session, setting: Setting) -> dict[str, Any]:
    """A setting.

    Returns:
        name, label, paper (the word of the papers), tip, kind ("bool", "int", "float", "text"),
        value, default, low, high, choices, learned (the value that means "auto", or None), known
        (whether the model takes it), primary (whether it is wished often).
    """
    name = setting.name
    told = {each: getattr(setting, each) for each in ("tip", "default", "low", "high", "learned")}
    told |= {"name": name, "label": setting.text, "paper": name, "primary": setting.is_primary}
    told["kind"] = VALUE_KINDS[type(setting.default)]
    told["value"] = session.settings[name]
    told["known"] = knows(session.model, name)

    # The models decide about some.
    choices = {"model": session.model_names, "method": list(methods_of(session.model))}
    told["choices"] = choices.get(name, list(setting.choices))
    return told


def tell_status(session: Session) -> dict[str, Any]:
    """How far composing is, and what there is to say.

    Returns:
        busy, share from 0 to 1, remaining in words; message, and whether it is wrong, an error;
        obstacle, why composing cannot begin; advice, what to know before it does.
    """
    message = session.message
    text = f"{message}"
    if isinstance(message, Exception) and not isinstance(message, PomkitError):
        text = f"{type(message).__name__}: {message}"
    told = {"message": text, "wrong": isinstance(message, Exception)}
    return {**session.status._asdict(), **told} | tell_composing(session)


def tell_composing(session: Session) -> dict[str, str]:
    """Why composing cannot begin, and what to know before it does."""
    return {"obstacle": session.obstacle, "advice": session.advice()}


PIECES: dict[str, Callable[[Session], Any]] = {
    "song": tell_song,
    "notes": tell_notes,
    "before": tell_notes_before,
    "drums": tell_drums,
    "doubt": tell_doubt,
    "mix": tell_mix,
    "mask": tell_mask,
    "takes": tell_takes,
    "candidates": tell_candidates,
    "settings": tell_settings,
    "status": tell_status,
    "live": tell_live,
}
# The pieces that may have changed with each of the session's events.
CHANGES = {
    "state": ("song", "notes", "before", "drums", "mask", "takes", "candidates", "status", "doubt"),
    "live": ("live",),
    "status": ("status",),
    "message": ("status", "takes"),
    "settings": ("settings", "status", "doubt"),
    "music": tuple(PIECES),
    "doubt": ("doubt",),
    "mix": ("mix",),
    "silence": (),
}
