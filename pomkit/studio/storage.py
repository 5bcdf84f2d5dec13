"""What a studio keeps, and its files: songs, sounds, pictures, and whole studios to open again.

`Contents` are all that is kept. A studio's file (.npz) holds the arrays of every state, each Song
that was opened, with its file, once, and, as JSON, the rest; nothing in it is unpickled.

    save_contents("all.npz", contents)
    open_contents("all.npz").takes

The law: contents that were saved as .npz and opened are the same.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.store import Record, song_entry
from ..errors import OptionError, PictureError
from ..files import AnyPath, write_atomically
from ..music import masks
from ..music.grid import ReadOptions
from ..music.images import read_image
from ..music.mask_words import EVERY_PITCH
from ..music.midi import read_midi
from ..music.picture import parse, render
from ..music.song import Song
from ..play.audio import synthesize, write_wav
from ..play.plot import save_png
from .editor import State, first_state
from .mixer import drums_of, with_drums

# How the files begin that `read_image` reads, and that of a studio.
IMAGES = (b"\x89PNG", b"\xff\xd8", b"GIF8", b"BM")
# After eight bytes, which tell a RIFF file.
WEBP = b"WEBP"
ZIP = b"PK"
# The settings of a take that its one line names.
SHOWN = ("model", "n", "seed")


class Take(NamedTuple):
    """A picture that was kept, and how it was made: with `before` and `settings` it can be again.

    Attributes:
        state: what was kept.
        before: what it was made from.
        settings: what the model was asked for; empty: nothing was composed.
        chosen: which of the candidates it is; files do not keep those.
    """

    state: State
    before: State
    settings: dict[str, Any]
    chosen: int = 0

    def __repr__(self) -> str:
        asked = self._asked("=")
        return f"Take({', '.join([self.words or 'not composed', *asked])})"

    def _asked(self, between: str) -> list[str]:
        """Those of the settings that are `SHOWN`, with what they were set to."""
        shown = [name for name in SHOWN if name in self.settings]
        return [f"{name}{between}{self.settings[name]!r}" for name in shown]

    @property
    def origin(self) -> str:
        """How it was made: "model 'tiny', n 3, seed 7"; "" where nothing was composed."""
        return ", ".join(self._asked(" "))

    @property
    def words(self) -> str:
        """What was composed: "bars 5-8", "bars 5-8, melody"; "" where nothing was."""
        return self.before.words.removesuffix(f", {EVERY_PITCH}") if self.settings else ""


class Contents(NamedTuple):
    """All that a studio keeps.

    Attributes:
        state: the music and the mask.
        takes: the kept pictures; none: only the state.
        place: the number of the present take.
        settings: a value of each setting; none: as they are.
    """

    state: State
    takes: Sequence[Take] = ()
    place: int = 0
    settings: dict[str, Any] = {}


# Writing


def save_contents(path: AnyPath, contents: Contents) -> Path:
    """Write what the end of a path asks for, atomically; a key of `SAVERS`, else OptionError."""
    for suffix, save in SAVERS.items():
        if str(path).lower().endswith(suffix):
            save(path, contents)
            return Path(path)
    raise OptionError(f"{path}: choose a name that ends with one of {', '.join(SAVERS)}")


def save_song(path: AnyPath, contents: Contents) -> None:
    """Write the song as MIDI: the file that was opened, with what has changed."""
    contents.state.song.write_midi(path)


def save_sound(path: AnyPath, contents: Contents) -> None:
    """Write the song's sound as WAV, with the drums of its file."""
    drums = drums_of(contents.state.origin)
    write_wav(path, synthesize(with_drums(contents.state.song, drums)))


def save_painted(path: AnyPath, contents: Contents) -> None:
    """Write the picture as PNG, with the mask as white paint."""
    save_png(path, masks.paint(contents.state.picture, contents.state.mask))


def save_picture(path: AnyPath, contents: Contents) -> None:
    """Write the picture as PNG."""
    save_png(path, contents.state.picture)


def save_studio(path: AnyPath, contents: Contents) -> None:
    """Write all of it, to be opened again."""
    states = [contents.state]
    for take in contents.takes:
        states += [take.state, take.before]
    about = {
        "place": contents.place,
        "now": contents.settings,
        "takes": [take.settings for take in contents.takes],
    }
    save_states(path, states, about)


def save_states(path: AnyPath, states: Sequence[State], about: dict[str, Any]) -> None:
    """Write states, and `about` (JSON values), to one .npz file, atomically."""
    # States have few origins, which are large.
    opened = [state.origin for state in states if state.origin is not None]
    origins = list({id(origin): origin for origin in opened}.values())
    arrays: dict[str, Any] = {}
    for i, origin in enumerate(origins):
        arrays |= _origin_arrays(origin, i)
    places = []
    for i, state in enumerate(states):
        arrays |= _state_arrays(state, i)
        same = (k for k, origin in enumerate(origins) if origin is state.origin)
        places.append(next(same, None))
    words = json.dumps(about | {"states": len(states), "origins": places})
    with write_atomically(path) as file:
        np.savez_compressed(file, about=np.array(words), **arrays)


def _state_arrays(state: State, i: int) -> dict[str, Any]:
    """The arrays that hold state number `i`, but for the song that was opened."""
    arrays = {"picture": state.picture, "mask": state.mask, "bars": state.bars, "name": state.name}
    if state.part is not None:
        arrays |= {"part": state.part, "selection": state.painted}
    if state.chords_shown:
        arrays["chords_shown"] = state.chords_shown
    if state.touched is not None:
        homes = [(*place, part) for place, parts in state.homes.items() for part in parts]
        arrays["touched"] = state.touched
        arrays["homes"] = np.array(homes, np.int64).reshape(-1, 3)  # (homes, 3)
    return {f"{name}{i}": array for name, array in arrays.items()}


def _origin_arrays(song: Song, i: int) -> dict[str, np.ndarray]:
    """The arrays that hold the song number `i` that was opened."""
    entry = song_entry(song.name, song)
    read_as = asdict(song.read_as) if song.read_as else None
    text = np.frombuffer(entry.text, np.uint8)
    source = np.frombuffer(song.source or b"", np.uint8)
    options = np.array(json.dumps(read_as))
    arrays = {"notes": entry.notes, "text": text, "source": source, "read_as": options}
    return {f"origin_{name}{i}": array for name, array in arrays.items()}


# What a studio can be saved as; the first suffix that fits counts.
SAVERS: dict[str, Callable[[AnyPath, Contents], None]] = {
    ".mid": save_song,
    ".wav": save_sound,
    ".mask.png": save_painted,
    ".png": save_picture,
    ".npz": save_studio,
}


# Reading


def open_contents(source: AnyPath | bytes, name: str = "") -> Contents:
    """Read a MIDI file, a picture (white paint: the mask) or a saved studio.

    Args:
        source: its path, or its bytes.
        name: of the file, where bytes are given: a song is named after it.

    Raises:
        MidiError, PictureError: the file cannot be read, or is none of these.
    """
    if isinstance(source, bytes):
        data = source
    else:
        data = read_bytes(source)
        name = Path(source).name

    if data.startswith(ZIP):
        return open_studio(data)
    if data.startswith(IMAGES) or data[8:12] == WEBP:
        image = read_image(data)
        picture = render(parse(image), width=image.shape[1])
        return Contents(first_state(picture, masks.from_image(image)))
    return Contents(first_state(replace(read_midi(data), name=Path(name).stem)))


def read_bytes(path: AnyPath) -> bytes:
    """The bytes of a file; PictureError where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as fault:
        raise PictureError(
            f"{fault.filename} cannot be read ({fault.strerror}); check the path"
        ) from fault


def open_studio(data: bytes) -> Contents:
    """The contents in the bytes of a studio's file; PictureError where it is damaged."""
    (state, *states), about = load_states(data)
    settings = about.get("takes", ())
    takes = [Take(*each) for each in zip(states[::2], states[1::2], settings, strict=False)]
    place = min(int(about.get("place", 0)), len(takes) - 1)
    return Contents(state, takes, max(place, 0), about.get("now", {}))


def load_states(data: bytes) -> tuple[list[State], dict[str, Any]]:
    """The states, at least one, and `about`, that `save_states` wrote; PictureError."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            count = max(about["states"], 1)
            return _states(file, about, count), about
    # numpy and zip raise many kinds of errors, which all mean the same.
    except Exception as fault:
        raise PictureError(
            f"this is no saved studio, or a damaged one ({fault}); save it again as .npz"
        ) from fault


def _states(file: Any, about: dict[str, Any], count: int) -> list[State]:
    """So many states of an open .npz file, with their origins; older files have none."""
    places = about.get("origins", [None] * count)
    numbers = {place for place in places if place is not None}
    origins = {number: _origin(file, number) for number in numbers}
    return [_state(file, i, origins.get(places[i])) for i in range(count)]


def _origin(file: Any, i: int) -> Song:
    """Song number `i` that was opened."""
    song = Record.from_json(file[f"origin_text{i}"].tobytes()).rebuild(file[f"origin_notes{i}"])
    read_as = json.loads(str(file[f"origin_read_as{i}"]))
    source = file[f"origin_source{i}"].tobytes() or None
    return replace(song, source=source, read_as=ReadOptions(**read_as) if read_as else None)


def _state(file: Any, i: int, origin: Song | None) -> State:
    """State number `i` of an open .npz file, checked.

    Args:
        file: the file.
        i: its number.
        origin: the song that was opened.
    """
    picture = file[f"picture{i}"]
    state = first_state(picture, file[f"mask{i}"], file[f"bars{i}"])
    state = state._replace(name=str(file[f"name{i}"]))
    if f"part{i}" in file:
        selection = masks.check_mask(file[f"selection{i}"], picture)
        state = state._replace(part=str(file[f"part{i}"]), selection=selection)
    if f"chords_shown{i}" in file:
        state = state._replace(chords_shown=int(file[f"chords_shown{i}"]))
    if origin is None:
        return state

    # What is drawn again is as it was.
    begun = first_state(origin)
    kept = ("mask", "bars", "name", "part", "selection", "chords_shown")
    again = {name: getattr(state, name) for name in kept}
    state = begun._replace(**again)
    touched = masks.check_mask(file[f"touched{i}"], picture)
    homes: dict[tuple[int, int], list[int]] = {}
    for step, pitch, part in file[f"homes{i}"].tolist():
        homes.setdefault((step, pitch), []).append(part)
    return state.redrawn(picture, touched, homes)
