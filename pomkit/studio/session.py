"""A session of composing, without any widget: music, settings, candidates, takes, sounds, files.

    session = Session("tiny", song)
    session.editor.add_bars(9, 12)                      # or session.perform(gesture)
    session.inpaint(n=4, seed=1)
    session.choose(2)
    session.save("new.mid")

This is the seam between a front end and the program. A front end says what the person did:
`perform` takes a drag of the mouse, `set` a setting, `start`, `stop`, `choose`, `go` the rest. It
shows what it then finds here: `editor.state`, `candidates`, `history`, `settings`, `status`,
`message`. Who calls `observe` is told what has changed, as one of `EVENTS`, in the thread in which
it changed.

The law: composing changes the marked cells and nothing else, whatever is painted meanwhile.
Read on: `panel`, a front end of widgets.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..composing.region import inpaint
from ..composing.song import grid_advice
from ..errors import OptionError, PomkitError, check_choice
from ..files import AnyPath
from ..music.grid import DEFAULT_BPM
from ..music.pixels import BORDER, PITCHES, Picture, row_of_pitch
from ..music.song import Song
from ..music.tables import NOTE_DTYPE
from ..play.audio import LISTEN_RATE, mp3, synthesize
from ..processes.checkpoint import load_model, model_names
from ..processes.contract import Model, methods_of
from .editor import LOCK, Editor, Music, State, first_state
from .sampling import SETTINGS, defaults, density_order, options_of
from .storage import Contents, Take, open_contents, save_contents
from .tools import Gesture, perform

FRAME = 0.2  # seconds between live pictures, at least
# So many parts stand in the title of a song by their names.
PARTS_NAMED = 6
# The fields of a Song beside its notes that are heard.
HEARD = ("tempi", "steps_per_beat", "parts", "programs", "channels")
# What observers are told, and what to look at then.
EVENTS = {
    "state": "editor.state, and with it history, candidates, place, chosen",
    "live": "live: the picture while it is composed",
    "status": "status: what the composing thread does",
    "message": "message: a text or an error for the person",
    "settings": "settings, and with the model the methods that it has",
    "music": "other music is here: the view should fit it",
}


class Status(NamedTuple):
    """What the composing thread does.

    Attributes:
        busy: whether it composes.
        share: how much is done, 0 to 1.
        remaining: the time left, in words.
    """

    busy: bool = False
    share: float = 0.0
    remaining: str = ""


class Session:
    """Music, a model, and all that was composed.

    Args:
        model: a model or its name.
        music: a Song, a picture uint8 (128, width, 3), or a number of steps of silence.
        mask: bool (128, width), True = regenerate; None: nothing is marked.
        bars: the steps of the bar lines; None: the Song's, else those of 4/4.

    Attributes:
        editor: the music and the mask.
        settings: a value of each of `SETTINGS`.
        dice: whether every composition draws a seed of its own.
        candidates: of the last composition, uint8 (n, 128, width, 3).
        chosen: the number of the candidate that was chosen.
        history: the kept pictures, from the first on.
        place: the number of the present one.
        live: the picture while it is composed, uint8 (128, width, 3), or None.
        status: what the composing thread does.
        message: the last text or error for the person.
        error: what ended the last composition, or None.
        model_names: the models to choose from.

    Raises:
        CheckpointError: there is no such model.
        PictureError, OptionError: as Editor.
    """

    def __init__(
        self,
        model: Model | str = "tiny",
        music: Music = 256,
        mask: np.ndarray | None = None,
        bars: Sequence[int] | None = None,
    ) -> None:
        name = model if isinstance(model, str) else "given"
        self._models = {name: load_model(model) if isinstance(model, str) else model}
        self.model_names = [*dict.fromkeys([name, *model_names()])]
        self.settings = defaults() | {"model": name, "method": methods_of(self._models[name])[0]}
        self.dice = True

        self.editor = Editor(music, mask, bars)
        self.history = [Take(self.editor.state, self.editor.state, {})]
        self.place = 0
        self.candidates = np.zeros((0, PITCHES, 1, 3), np.uint8)
        self.chosen = 0

        self.live: Picture | None = None
        self.status = Status()
        self.message: str | Exception = ""
        self.error: Exception | None = None
        self._thread = threading.Thread()
        # Not `is_alive`: Python forgets a thread whose `join` was interrupted.
        self._idle = threading.Event()
        self._idle.set()
        self._closed = False
        self._halt = threading.Event()
        self._next_frame = 0.0  # seconds, when the next live picture is due
        self._observers: list[Callable[[str], None]] = []
        self.editor.observe(partial(self._tell, "state"))

    def observe(self, act: Callable[[str], None]) -> None:
        """Let `act` be called with the name of every event of `EVENTS`."""
        self._observers.append(act)

    def _tell(self, event: str) -> None:
        """Tell all observers of an event."""
        for act in self._observers:
            act(event)

    # What a person wishes

    def perform(self, gesture: Gesture) -> None:
        """Do what a drag of the mouse says, to the mask or the notes; OptionError."""
        perform(self.editor, gesture)

    @property
    def model(self) -> Model:
        """The chosen model."""
        return self._models[self.settings["model"]]

    def set(self, **settings: Any) -> None:
        """Change settings by name, as in `session.set(n=4, key_lock=1)`.

        Another model brings its own method.

        Raises:
            OptionError: there is no such setting, or no such value of it: a number outside its
                range, too.
            CheckpointError: the model cannot be read.
        """
        for name, value in settings.items():
            check_choice("setting", name, SETTINGS)
            value = SETTINGS[name].fit(value)
            if value == self.settings[name]:
                continue
            if name == "method":
                check_choice("for this model the method", value, methods_of(self.model))
            if name == "model":
                self._take_model(value)
            self.settings[name] = value
            self._tell("settings")

    def _take_model(self, name: str) -> None:
        """Load a model when it is first wished, and take its usual method."""
        check_choice("model", name, self.model_names)
        if name not in self._models:
            self._models[name] = load_model(name)
        self.settings["method"] = methods_of(self._models[name])[0]

    # Composing

    @property
    def composing(self) -> bool:
        """Whether the thread composes."""
        return not self._idle.is_set()

    def inpaint(self, **settings: Any) -> np.ndarray:
        """Compose the mask, wait, and return the candidates.

        Args:
            settings: changes the session's, as `set` does.

        Returns:
            uint8 (n, 128, width, 3); the first one is chosen.

        Raises:
            OptionError: nothing is marked, or a setting does not exist.
        """
        self.start(**settings)
        return self.wait()

    def start(self, **settings: Any) -> None:
        """Begin to compose in a thread; OptionError while it does, and after `close`."""
        if self._closed:
            raise OptionError("this studio was closed; make another one")
        if self.composing:
            raise OptionError("it is composing already; stop it first, or wait")
        self.set(**settings)
        if self.dice and "seed" not in settings:
            self.set(seed=int(np.random.default_rng().integers(2**31)))

        self._halt.clear()
        self.error = None
        self._report(Status(True, remaining="begins ..."))
        self._idle.clear()
        self._thread = in_background(self._compose, self.editor.state, dict(self.settings))

    def advice(self) -> str:
        """What to know before the chosen model composes this music, "" where there is nothing."""
        return grid_advice(self.model, self.editor.state.song)

    def stop(self) -> None:
        """End composing within one network call; the picture stays as it was."""
        self._halt.set()

    def wait(self) -> np.ndarray:
        """Wait for the end of composing; who interrupts the waiting stops it.

        Returns:
            The candidates, uint8 (n, 128, width, 3).

        Raises:
            Exception: the error that ended it.
        """
        try:
            self._idle.wait()
        except KeyboardInterrupt:
            self.stop()
            self._idle.wait()
            raise
        if self.error:
            raise self.error
        return self.candidates

    def close(self) -> None:
        """End composing, for good."""
        self._closed = True
        self.stop()
        self._idle.wait()

    def _compose(self, before: State, settings: dict[str, Any]) -> None:
        """What the thread does: it composes, and tells how that ended."""
        try:
            self.say(self._compose_candidates(before, settings))
        except InterruptedError:
            self.say("Stopped; the picture is as it was.")
        except Exception as fault:
            self.error = in_plain_words(fault)
            self.say(self.error)
        finally:
            try:
                self.live = None
                self._report(Status())
                self._tell("live")
            finally:
                self._idle.set()

    def _compose_candidates(self, before: State, settings: dict[str, Any]) -> str:
        """Compose, keep the candidates, take the first, and say how it went."""
        if not before.mask.any():
            raise OptionError("nothing is marked; paint over what shall be new, then press Inpaint")
        model = self._models[settings["model"]]
        options = options_of(model, before, settings)
        advice = grid_advice(model, before.song)
        if advice:
            self.say(advice)
        hear = partial(self._hear, time.monotonic())
        pictures = inpaint(
            model, before.picture, before.mask, bars=before.bars, callback=hear, **options
        )
        candidates = np.asarray(pictures)
        if settings["rank"]:
            candidates = candidates[density_order(candidates, before, settings["density"])]

        with LOCK:
            # Other music may have been opened since the last network call.
            if self._halt.is_set():
                raise InterruptedError
            self.candidates = candidates
            self.live = None
            self.history.append(Take(before, before, settings))
            self._choose(0)
        said = f"{len(pictures)} composed in {pictures.seconds:.1f} s with seed {pictures.seed}"
        return "; ".join(filter(None, [said + self._losses_in_words(), advice]))

    def _losses_in_words(self) -> str:
        """How much of the song could not be kept, to follow another text; "" where all was."""
        losses = self.editor.state.report.losses
        if not losses:
            return ""
        notes = "note or end of a note was" if losses == 1 else "notes or ends of notes were"
        return f"; {losses} {notes} not kept, see song.report.remarks"

    def _hear(self, started: float, event: dict[str, Any]) -> None:
        """The sampler's callback: progress, a live picture now and then, the end where wished."""
        if self._halt.is_set():
            raise InterruptedError
        share = (event["i"] + 1) / event["n"]
        now = time.monotonic()
        seconds_left = (now - started) * (1 / share - 1)
        self._report(Status(True, share, f"{share:.0%}, {seconds_left:.0f} s left"))

        if now > self._next_frame:
            self.live = event["preview"]()[0]
            self._next_frame = now + FRAME
            self._tell("live")

    def _report(self, status: Status) -> None:
        """Tell observers how far it is."""
        self.status = status
        self._tell("status")

    def say(self, message: str | Exception) -> None:
        """Leave a text or an error for the person."""
        self.message = message
        self._tell("message")

    # Candidates and takes

    def choose(self, number: int) -> None:
        """Take a candidate of the last composition into the picture.

        Notes that were drawn outside the mask meanwhile stay.

        Raises:
            OptionError: there is no such candidate for this picture.
        """
        self._choose(number)
        self.say(f"candidate {number + 1}{self._losses_in_words()}")

    def _choose(self, number: int) -> None:
        """Take a candidate, as `choose` does."""
        with LOCK:
            take = self.history[-1]
            state = self.editor.state
            same_size = take.before.mask.shape == state.mask.shape
            if not 0 <= number < len(self.candidates) or not same_size:
                raise OptionError(
                    f"there is no candidate {number} for this picture; "
                    f"the last one had {len(self.candidates)}"
                )

            # Only what was marked then: what was drawn beside it meanwhile stays.
            marked = take.before.mask
            picture = np.where(marked[..., None], self.candidates[number], state.picture)
            state = state.redrawn(picture, marked)
            self.history[-1] = take._replace(state=state._replace(mask=marked))
            self.place = len(self.history) - 1
            self.chosen = number
            self.editor.take(state)

    def go(self, place: int) -> None:
        """Take a kept picture, its mask too, from `history`; OptionError for none."""
        if not 0 <= place < len(self.history):
            raise OptionError(f"there is no kept picture {place}; there are {len(self.history)}")
        self.place = place
        self.editor.take(self.history[place].state)

    def turn(self, by: int) -> None:
        """Go back (-1) or forward (+1) among the kept pictures."""
        self.go(min(max(self.place + by, 0), len(self.history) - 1))

    def before(self) -> Picture:
        """The picture that the present one was made from, or the present one.

        Returns:
            uint8 (128, width, 3), as wide as the present one.
        """
        return self._state_before().picture

    @property
    def title(self) -> str:
        """The song in one line: its name, tempo, metre and parts, "duo, 90 BPM, 6/8: ..."."""
        state = self.editor.state
        song = state.song
        tempi = [bpm for _, bpm in song.tempi] or [DEFAULT_BPM]
        slowest, fastest = (f"{bpm:.4g}" for bpm in (min(tempi), max(tempi)))
        tempo = slowest if slowest == fastest else f"{slowest} to {fastest}"
        facts = [song.name, f"{tempo} BPM", song.meter]
        line = ", ".join(filter(None, facts))
        if state.origin is None:
            return line

        # The first parts by name, of the others how many there are.
        others = len(song.parts) - PARTS_NAMED
        more = [f"{others} more"] if others > 0 else []
        return f"{line}: {', '.join([*song.parts[:PARTS_NAMED], *more])}"

    def _state_before(self) -> State:
        """The state that the present one was made from, or, of another width, the present one."""
        present = self.editor.state
        before = self.history[self.place].before
        return before if before.picture.shape == present.picture.shape else present

    # Sound

    def sound(self, what: str = "now") -> bytes:
        """MP3 of the song "now", as it was "before", or of the "new" notes alone.

        It has the song's tempi and instruments.

        Raises:
            OptionError: there is no such sound.
        """
        check_choice("sound", what, ("now", "before", "new"))
        before = self._state_before()
        state = before if what == "before" else self.editor.state
        song = state.song
        notes = song.notes
        if what == "new":
            changed = (state.picture != before.picture).any(axis=2)  # (128, width)
            # There are chords, whatever notes have such pitches.
            changed[:BORDER] = False
            changed[-BORDER:] = False
            notes = notes[changed[row_of_pitch(notes["pitch"]), notes["onset"]]]
        return _mp3(notes.tobytes(), *(getattr(song, sign) for sign in HEARD))

    # Music and files

    def load(
        self, music: Music, mask: np.ndarray | None = None, bars: Sequence[int] | None = None
    ) -> None:
        """Take other music, with a mask (128, width) and bar lines, and begin a new history."""
        self._begin(Contents(first_state(music, mask, bars)))

    def contents(self) -> Contents:
        """All that a file keeps."""
        return Contents(self.editor.state, self.history, self.place, self.settings)

    def save(self, path: AnyPath) -> Path:
        """Write what a path's end asks for, atomically.

        Args:
            path: ends with .mid (the song), .wav (its sound), .png (the picture), .mask.png (with
                the mask as white paint), or .npz (all: kept pictures, masks, settings, seeds).

        Raises:
            OptionError: it ends otherwise.
        """
        path = save_contents(path, self.contents())
        told = ""
        if path.suffix.lower() == ".mid":
            remarks = self.editor.state.song.to_midi().remarks
            told = in_number(remarks, "song.to_midi().remarks")
        self.say(f"{path.name} is saved{told}")
        return path

    def open(self, source: AnyPath | bytes, name: str = "") -> None:
        """Take a MIDI file, a picture (white paint: the mask) or a saved studio.

        Args:
            source: its path, or its bytes.
            name: of the file, where bytes are given.

        Raises:
            MidiError, PictureError: it cannot be read, or is none of these.
        """
        contents = open_contents(source, name)
        self._begin(contents)
        for setting, value in contents.settings.items():
            # A model may not be here any more; then the present one stays.
            try:
                self.set(**{setting: value})
            except PomkitError:
                continue

        name = name or (Path("the file") if isinstance(source, bytes) else Path(source)).name
        told = in_number(self.editor.state.song.report.remarks, "song.report.remarks")
        self.say("; ".join(filter(None, [f"{name} is open{told}", self.advice()])))

    def _begin(self, contents: Contents) -> None:
        """Go on with what was read or loaded; what is being composed is thrown away."""
        self.stop()
        self.history = [*contents.takes] or [Take(contents.state, contents.state, {})]
        self.place = contents.place
        self.candidates = self.candidates[:0]
        self.editor.take(contents.state)
        self._tell("music")


def in_number(remarks: Sequence[str], where: str) -> str:
    """How many remarks there are, and where, to follow another text; "" for none."""
    noun = "remark" if len(remarks) == 1 else "remarks"
    return f"; {len(remarks)} {noun} on it, see {where}" if remarks else ""


def in_background(act: Callable[..., None], *arguments: Any) -> threading.Thread:
    """Do what takes a while in a thread of its own."""
    thread = threading.Thread(target=act, args=arguments, name="pomkit studio", daemon=True)
    thread.start()
    return thread


def in_plain_words(fault: Exception) -> Exception:
    """The error, or, where memory is short, one that says what to do."""
    if isinstance(fault, MemoryError) or "memory" in str(fault):
        return PomkitError(
            f"not enough memory ({fault}); take fewer candidates or a shorter picture"
        )
    return fault


@lru_cache(maxsize=12)
def _mp3(notes: bytes, *signs: Any) -> bytes:
    """The sound of notes (NOTE_DTYPE), given as bytes, with the `HEARD` of their song, as MP3."""
    song = Song(np.frombuffer(notes, NOTE_DTYPE), **dict(zip(HEARD, signs, strict=True)))
    return mp3(synthesize(song, LISTEN_RATE), LISTEN_RATE)
