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

The laws: composing changes the marked cells and nothing else, whatever is painted meanwhile. Undo
brings back what was shown with the music, too: which take and which candidate is present, and the
takes of a song that another one has replaced. No take is lost without a word: `bring_back`.
Read on: `view`, all of it as plain values; `panel`, the studio with its page.
"""

import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..composing.doubting import doubt
from ..composing.hearing import ShownChords, show_chords
from ..composing.region import inpaint
from ..composing.song import grid_advice
from ..errors import OptionError, PomkitError, check_choice
from ..files import AnyPath
from ..music import masks
from ..music.bars import bars_around
from ..music.changes import ChangeReport
from ..music.grid import DEFAULT_BPM
from ..music.pixels import Picture
from ..music.song import Parts, Song
from ..music.tables import NOTE_DTYPE
from ..play.audio import LISTEN_RATE, mp3, synthesize, write_wav
from ..processes.checkpoint import load_model, model_names
from ..processes.contract import Model, methods_of
from .editor import LOCK, Editor, Music, State, first_state, new_among
from .mixer import Mix, drums_of, with_drums
from .oddness import CANNOT_DOUBT, Oddness, bits_of_notes, can_doubt, oddest_bar
from .sampling import SETTINGS, defaults, knows, options_of, order_of, voices_of
from .shelf import NO_PICTURES, Mark, Offer, Shelf
from .storage import Contents, Take, open_contents, save_contents
from .tools import NOTE_TOOLS, Gesture, perform

CLOSED = "this studio was closed; make another one"
COMPOSING = "it is composing already; stop it first, or wait"
DOUBTING = "the model is asked what it finds odd already; stop it first, or wait"
CHANGED = "the notes have changed while the model was asked; ask it again"
NOTHING_MARKED = "nothing is marked; paint over what shall be new"
NO_ODD_BAR = "no bar can be the oddest where nothing sounds"
BRING_BACK = "bring_back() takes them up again"
# The name of a take that was not composed.
BEGINNING = "the beginning"
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
    "music": "other music is here: the view should fit it, from bar 1 on",
    "doubt": "doubted, doubt_status: what the model finds odd, and how far it is",
    "mix": "mixed: which parts are heard",
    "silence": "another session sounds now: what this one plays shall stop",
}


class Status(NamedTuple):
    """What the model does: it composes, or says what it finds odd.

    Attributes:
        busy: whether it does.
        share: how much is done, 0 to 1.
        remaining: the time left, in words.
    """

    busy: bool = False
    share: float = 0.0
    remaining: str = ""


def status_of(event: dict[str, Any], started: float) -> Status:
    """How far it is after a network call.

    Args:
        event: what a callback is told, {"i", "n"}: the number of the call, and of all.
        started: seconds, when it began, as `time.monotonic` gives them.
    """
    share = (event["i"] + 1) / event["n"]
    seconds_left = (time.monotonic() - started) * (1 / share - 1)
    return Status(True, share, f"{share:.0%}, {seconds_left:.0f} s left")


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
        composed: how many times something was composed.
        mixed: which parts are heard.
        live_state: the state while it is composed, or None.
        status: what the composing thread does.
        doubt_status: how far the model has said what it finds odd.
        message: the last text or error for the person.
        error: what ended the last composition, or None.
        model_names: the models to choose from.

    Raises:
        CheckpointError: there is no such model.
        PictureError, OptionError: as Editor.
    """

    _sounding: ClassVar[Callable[[], "Session | None"]] = lambda: None

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
        first = Take(self.editor.state, self.editor.state, {})
        self.editor.beside = Mark(Shelf([first]), 0, first)
        self._shelf = self._mark.shelf
        self._aside: Contents | None = None
        # Undo may bring those back, too, with this shelf.
        self._aside_from: Shelf | None = None

        self.composed = 0
        self.mixed = Mix()
        self.doubt_status = Status()
        self._odd: Oddness | None = None
        self._doubt_halt = threading.Event()
        self.live_state: State | None = None
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
        self.editor.observe(self._follow)

    def observe(self, act: Callable[[str], None]) -> None:
        """Let `act` be called with the name of every event of `EVENTS`."""
        self._observers.append(act)

    def _tell(self, event: str) -> None:
        """Tell all observers of an event."""
        for act in self._observers:
            act(event)

    def _follow(self) -> None:
        """Tell that there may be another state, perhaps of other music."""
        mark = self._mark
        with LOCK:
            # Undo may have brought another candidate of the same take back.
            mark.shelf.takes[mark.place] = mark.take
            is_other = mark.shelf is not self._shelf
            self._shelf = mark.shelf

        # What is composed is not for this music; what was put aside may be back.
        if is_other:
            self.stop()
            self.mixed = Mix()
        if is_other and mark.shelf is self._aside_from:
            self._aside = self._aside_from = None
        # What was said is of the music as it was; who knows more says it afterwards.
        if self.message != "":
            self.say("")
        self._tell("state")
        if is_other:
            self._tell("music")

    # What is kept, and what of it is present

    @property
    def _mark(self) -> Mark:
        """What is present."""
        return self.editor.beside

    @property
    def history(self) -> list[Take]:
        """The kept pictures of the present music, from the first on."""
        return self._mark.shelf.takes

    @property
    def place(self) -> int:
        """The number of the kept picture that the present one was made from."""
        return self._mark.place

    @property
    def offered(self) -> int:
        """The number of the take whose candidates are offered.

        The present one; where that has none, as the beginning, the last one.
        """
        mark = self._mark
        return mark.place if mark.shelf.has_offer(mark.place) else len(mark.shelf.takes) - 1

    @property
    def _offer(self) -> Offer | None:
        """The candidates that are offered, or None."""
        return self._mark.shelf.offer(self.offered)

    @property
    def candidates(self) -> np.ndarray:
        """Those of the present take, else of the last one, uint8 (n, 128, width, 3)."""
        offer = self._offer
        return NO_PICTURES if offer is None else offer.pictures

    @property
    def chosen(self) -> int | None:
        """The number of the candidate that is present; None: another picture is."""
        mark = self._mark
        return mark.take.chosen if mark.shelf.has_offer(mark.place) else None

    @property
    def candidate_states(self) -> list[State]:
        """What each candidate would make of the music that it was composed for."""
        offer = self._offer
        return [] if offer is None else offer.states

    @property
    def take_names(self) -> list[str]:
        """The kept pictures in words: "the beginning", "bars 5-8, take 1", "bars 5-8, take 2"."""
        count = Counter[str]()
        names = []
        for take in self.history:
            count[take.words] += 1
            names.append(f"{take.words}, take {count[take.words]}" if take.words else BEGINNING)
        return names

    @property
    def live(self) -> Picture | None:
        """The picture while it is composed, uint8 (128, width, 3), or None."""
        return None if self.live_state is None else self.live_state.picture

    # What a person wishes

    def perform(self, gesture: Gesture) -> None:
        """Do what a drag of the mouse says, to the mask or the notes; OptionError.

        A stroke beside the chosen part changes nothing, and that is said.
        """
        state = self.editor.state
        perform(self.editor, gesture)
        if self.editor.state is state and state.part and gesture.tool not in NOTE_TOOLS:
            self.say(f"nothing of {state.part} is there; the mask is as it was")

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
            raise OptionError(CLOSED)
        if self.composing:
            raise OptionError(COMPOSING)
        self.set(**settings)
        if self.dice and "seed" not in settings:
            self.set(seed=int(np.random.default_rng().integers(2**31)))

        self._halt.clear()
        self.error = None
        self._report(Status(True, remaining="begins ..."))
        self._idle.clear()
        with LOCK:
            began = self.editor.state, self._mark.shelf
        self._thread = in_background(self._compose, *began, dict(self.settings))

    @property
    def obstacle(self) -> str:
        """Why composing cannot begin now, in words; "" where it can."""
        if self._closed:
            return CLOSED
        if self.status.busy:
            return COMPOSING
        return "" if self.editor.state.mask.any() else NOTHING_MARKED

    def advice(self) -> str:
        """What to know before the chosen model composes this music, "" where there is nothing."""
        return grid_advice(self.model, self.editor.state.song)

    def stop(self) -> None:
        """End composing and `doubt` within one network call; the picture stays as it was."""
        self._halt.set()
        self.stop_doubt()

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

    def _compose(self, before: State, shelf: Shelf, settings: dict[str, Any]) -> None:
        """What the thread does: it composes, and tells how that ended."""
        try:
            self.say(self._compose_candidates(before, shelf, settings))
        except InterruptedError:
            self.say("Stopped; the picture is as it was.")
        except Exception as fault:
            self.error = in_plain_words(fault)
            self.say(self.error)
        finally:
            try:
                self.live_state = None
                self._report(Status())
                self._tell("live")
            finally:
                self._idle.set()

    def _compose_candidates(self, before: State, shelf: Shelf, settings: dict[str, Any]) -> str:
        """Compose, keep the candidates, take the first, and say how it went."""
        if not before.mask.any():
            raise OptionError(NOTHING_MARKED)
        model = self._models[settings["model"]]
        options = options_of(model, before, settings)
        advice = grid_advice(model, before.song)
        if advice:
            self.say(advice)
        shown = show_chords(
            before.song, before.picture, before.mask, wanted=settings["heard_chords"]
        )
        hear = partial(self._hear, time.monotonic(), before, shown)
        options |= {"bars": before.bars, "meters": before.meters}
        if not settings["repeats"]:
            options["whole"] = False
        pictures = inpaint(model, shown.picture, before.mask, callback=hear, **options)
        shown.take_back(pictures)
        candidates = np.asarray(pictures)
        candidates = candidates[order_of([*candidates], before, settings)]

        with LOCK:
            # Other music may have been opened since the last network call.
            if self._halt.is_set() or shelf is not self._mark.shelf:
                raise InterruptedError
            self.live_state = None
            self.composed += 1
            shelf.add(Take(before, before, settings), Offer(before, candidates, shown.count))
            self._choose(0, len(shelf.takes) - 1)
        said = f"{len(pictures)} composed in {pictures.seconds:.1f} s with seed {pictures.seed}"
        heard = f"{shown.count} chords heard in the song were shown to the model"
        limit = voices_of(before, settings) if knows(model, "voices") else 0
        voices = voices_in_words(before.part, limit)
        told = [said, voices, self._losses_in_words(), heard if shown.count else "", advice]
        return "; ".join(filter(None, told))

    def _losses_in_words(self) -> str:
        """Which notes the present take has cut or left out; "" where it did not."""
        take = self._mark.take
        return losses_in_words(take.state.report, take.before.report)

    def _hear(
        self, started: float, before: State, shown: ShownChords, event: dict[str, Any]
    ) -> None:
        """The sampler's callback: progress, a live picture now and then, the end where wished."""
        if self._halt.is_set():
            raise InterruptedError
        self._report(status_of(event, started))

        now = time.monotonic()
        if now > self._next_frame:
            live = event["preview"]()[0]
            shown.take_back(live)
            self.live_state = before._replace(picture=live)
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
        """Take one of the `candidates` into the picture.

        Notes that were drawn outside the mask meanwhile stay.

        Raises:
            OptionError: there is no such candidate for this picture.
        """
        self._choose(number, self.offered)
        count = len(self.candidates)
        told = [f"candidate {number + 1} of {count}", self._losses_in_words()]
        self.say("; ".join(filter(None, told)))

    def _choose(self, number: int, place: int) -> None:
        """Take a candidate of the take at a place, as `choose` does."""
        with LOCK:
            shelf = self._mark.shelf
            offer = shelf.offer(place)
            count = len(offer.pictures) if offer else 0
            state = self.editor.state
            same_size = offer and offer.before.mask.shape == state.mask.shape
            if offer is None or not same_size or not 0 <= number < count:
                raise OptionError(
                    f"there is no candidate {number} for this picture; its take had {count}"
                )

            # Only what was marked then: what was drawn beside it meanwhile stays.
            marked = offer.before.mask
            picture = np.where(marked[..., None], offer.pictures[number], state.picture)
            state = state._replace(chords_shown=max(state.chords_shown, offer.chords_shown))
            state = state.redrawn(picture, marked, part=offer.before.part)
            kept = state._replace(mask=marked)
            take = shelf.takes[place]._replace(state=kept, chosen=number)
            self.editor.take(state, Mark(shelf, place, take))

    def go(self, place: int) -> None:
        """Take a kept picture, its mask too, from `history`; OptionError for none."""
        if not 0 <= place < len(self.history):
            raise OptionError(f"there is no kept picture {place}; there are {len(self.history)}")
        take = self.history[place]
        self.editor.take(take.state, Mark(self._mark.shelf, place, take))
        self.say(f"{self.take_names[place]} is shown")

    def turn(self, by: int) -> None:
        """Go back (-1) or forward (+1) among the kept pictures."""
        self.go(min(max(self.place + by, 0), len(self.history) - 1))

    def before(self) -> Picture:
        """The picture that the present one was made from, or the present one.

        Returns:
            uint8 (128, width, 3), as wide as the present one.
        """
        return self.state_before().picture

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

    def state_before(self) -> State:
        """The state that the present one was made from, or, of another width, the present one."""
        present = self.editor.state
        before = self._mark.take.before
        return before if before.picture.shape == present.picture.shape else present

    def mask_in_words(self) -> str:
        """What is marked, "bars 5-8, melody", for the music that it was marked in."""
        state = self.editor.state
        before = self._mark.take.before
        return before.words if state.mask is before.mask else state.words

    # Doubt

    @property
    def doubted(self) -> np.ndarray | None:
        """What the model said of the present picture, as `doubt` gives it, float32 (128, width).

        None: it was not asked; the doubt of another picture, or of another model, does not count.
        """
        odd = self._odd
        is_present = odd and odd.picture is self.editor.state.picture and odd.model is self.model
        return odd.bits if odd and is_present else None

    @property
    def doubting(self) -> bool:
        """Whether the model is asked what it finds odd."""
        return self.doubt_status.busy

    @property
    def doubt_obstacle(self) -> str:
        """Why the model cannot be asked what it finds odd, in words; "" where it can."""
        return "" if can_doubt(self.model) else CANNOT_DOUBT

    def doubt(self) -> np.ndarray:
        """Ask the model how odd each note is, given all the others, and show it.

        In a thread it can be stopped, and one can paint meanwhile.

        Returns:
            float32 (128, width), on all cells of a note its doubt in bits, as `pomkit.doubt`.

        Raises:
            OptionError: the model does not say how likely a note is, or is asked already.
            InterruptedError: it was stopped.
        """
        known = self.doubted
        if known is not None:
            return known
        with LOCK:
            if self.doubting:
                raise OptionError(DOUBTING)
            self._doubt_halt.clear()
            self.doubt_status = Status(True, remaining="begins ...")

        # The picture may be another one when the answer is there.
        state = self.editor.state
        try:
            self._tell("doubt")
            self._odd = self._ask_doubt(state)
        except InterruptedError:
            self.say("Stopped; what is odd is not known.")
            raise
        finally:
            self.doubt_status = Status()
            self._tell("doubt")
        bits = self._odd.bits
        self.say(self._doubt_in_words(state, bits) if self.doubted is bits else CHANGED)
        return bits

    def _ask_doubt(self, state: State) -> Oddness:
        """Ask the model what is odd in a state, telling how far it is."""
        started = time.monotonic()
        model = self.model

        def hear(event: dict[str, Any]) -> None:
            if self._doubt_halt.is_set():
                raise InterruptedError
            self.doubt_status = status_of(event, started)
            self._tell("doubt")

        picture = state.picture
        bits = doubt(model, picture, bars=state.bars, meters=state.meters, callback=hear)
        return Oddness(picture, model, bits)

    def stop_doubt(self) -> None:
        """End `doubt`, which runs in a thread, within one network call."""
        self._doubt_halt.set()

    def _doubt_in_words(self, state: State, bits: np.ndarray) -> str:
        """How odd the oddest note of a state is, and which bar is the oddest one."""
        notes = state.read.notes
        if not len(notes):
            return "there are no notes that could be odd"
        most = bits_of_notes(bits, notes).max()
        bar = oddest_bar(bits, state)
        said = f"the oddest note has {most:.1f} bits"
        return said if bar is None else f"{said}; the oddest{of_the_mask(state)} bar is {bar}"

    def mark_oddest(self) -> None:
        """Mark the bar that is the oddest to the model, and nothing else; it is asked first.

        Where something is marked, only its notes count, and only of it the bar is marked. Where a
        part is chosen, its notes alone count, and are marked.

        Raises:
            OptionError: there are no notes, or they are others now than when the model was asked;
                the model does not say how likely one is.
            InterruptedError: it was stopped.
        """
        bits = self.doubt()
        with LOCK:
            state = self.editor.state
            if self.doubted is not bits:
                raise OptionError(CHANGED)
            bar = oddest_bar(bits, state)
            if bar is None:
                raise OptionError(f"{NO_ODD_BAR}; open or write music, or mark other bars")
            selection = masks.bars(state.mask.shape[1], bar, bar, state.bars)
            if state.mask.any():
                selection &= state.painted
            self.editor.take(state.selected(selection))
        self.say(f"bar {bar} is the oddest{of_the_mask(state)} one")

    # Sound

    @property
    def listen_from(self) -> int | None:
        """The step from which one listens: a bar before the mask; None: nothing is marked."""
        state = self.editor.state
        return bars_around(state.mask, state.bars).start if state.mask.any() else None

    def sounds_now(self) -> None:
        """Say that this session sounds; the one that sounded is told the event "silence"."""
        other = Session._sounding()
        Session._sounding = weakref.ref(self)
        if other is not None and other is not self:
            other._tell("silence")

    @property
    def drums(self) -> Song:
        """The drums that the opened file has and the song has not: they are heard with it."""
        return drums_of(self.editor.state.origin)

    @property
    def players(self) -> list[str]:
        """The parts that can be heard, by their names: those of the song, and its file's drums."""
        return [*self.editor.state.song.parts, *self.drums.parts]

    @property
    def heard_parts(self) -> list[str]:
        """The parts that are heard, by their names."""
        return [part for part in self.players if self.mixed.hears(part)]

    def mix(self, muted: Iterable[str] = (), alone: Iterable[str] = ()) -> None:
        """Let some parts be heard and others not, until other music is opened.

        `mix(muted=["drums"])` leaves one out, `mix(alone=["flute"])` plays one alone, and `mix()`
        lets all be heard.

        Args:
            muted: names of parts that are not heard.
            alone: where there are some, only these are heard.

        Raises:
            OptionError: there is no such part.
        """
        mixed = Mix(frozenset(muted), frozenset(alone))
        for part in sorted(mixed.muted | mixed.alone):
            check_choice("part", part, self.players)
        if mixed != self.mixed:
            self.mixed = mixed
            self._tell("mix")

    def sound(self, what: str = "now", parts: Parts | None = None) -> bytes:
        """MP3 of the song "now", as it was "before", or of the "new" notes alone.

        It has the song's tempi and instruments, and the drums of its file.

        Args:
            what: "now", "before" or "new".
            parts: names or numbers of the parts that are heard, or one; None: those that `mix`
                lets be heard.

        Raises:
            OptionError: there is no such sound, or no such part.
        """
        check_choice("sound", what, ("now", "before", "new"))
        song = self._played(what, self.heard_parts if parts is None else parts)
        return _mp3(song.notes.tobytes(), *(getattr(song, sign) for sign in HEARD))

    def _played(self, what: str, parts: Parts) -> Song:
        """The song "now", "before", or its "new" notes, of some parts, with the drums."""
        before = self.state_before()
        state = before if what == "before" else self.editor.state
        song = state.song
        drums = self.drums
        if what == "new":
            song = song.with_notes(song.notes[new_among(song.notes, state.picture, before.picture)])
            drums = drums.with_notes(drums.notes[:0])
        song = with_drums(song, drums)
        return song.with_notes(song.notes[song.select(parts)])

    # Music and files

    def load(
        self, music: Music, mask: np.ndarray | None = None, bars: Sequence[int] | None = None
    ) -> None:
        """Take other music, with a mask (128, width) and bar lines, and begin a new history.

        The takes that there were are put aside: undo and `bring_back` have them.
        """
        kept = self._begin(Contents(first_state(music, mask, bars)))
        if kept:
            self.say(kept)

    def contents(self) -> Contents:
        """All that a file keeps."""
        return Contents(self.editor.state, [*self.history], self.place, dict(self.settings))

    def save(self, path: AnyPath, parts: Parts | None = None) -> Path:
        """Write what a path's end asks for, atomically.

        Args:
            path: ends with .mid (the song), .wav (its sound), .png (the picture), .mask.png (with
                the mask as white paint), or .npz (all: kept pictures, masks, settings, seeds).
            parts: names or numbers of the parts that a sound has, such as `heard_parts`; None: all.

        Raises:
            OptionError: it ends otherwise; parts are asked for of what is no sound.
        """
        if parts is None:
            path = save_contents(path, self.contents())
        else:
            path = self._save_parts(Path(path), parts)
        told = ""
        if path.suffix.lower() == ".mid":
            remarks = self.editor.state.song.to_midi().remarks
            told = in_number(remarks, "studio.song.to_midi().remarks")
        is_heard_whole = parts is not None or self.heard_parts == self.players
        if path.suffix.lower() in (".mid", ".wav") and not is_heard_whole:
            told += "; muted parts are saved, too"
        self.say(f"{path.name} is saved{told}")
        return path

    def _save_parts(self, path: Path, parts: Parts) -> Path:
        """Write the sound of some parts; OptionError where the path is that of another file."""
        if path.suffix.lower() != ".wav":
            raise OptionError(f"{path.name}: some parts are saved as sound alone; choose .wav")
        write_wav(path, synthesize(self._played("now", parts)))
        return path

    def open(self, source: AnyPath | bytes, name: str = "") -> None:
        """Take a MIDI file, a picture (white paint: the mask) or a saved studio.

        The takes that there were are put aside: undo and `bring_back` have them.

        Args:
            source: its path, or its bytes.
            name: of the file, where bytes are given.

        Raises:
            MidiError, PictureError: it cannot be read, or is none of these.
        """
        contents = open_contents(source, name)
        kept = self._begin(contents)
        name = name or (Path("the file") if isinstance(source, bytes) else Path(source)).name
        told = in_number(self.editor.state.song.report.remarks, "studio.song.report.remarks")
        self.say("; ".join(filter(None, [f"{name} is open{told}", kept, self.advice()])))

    def put_aside(self, contents: Contents | None) -> None:
        """Keep what another studio had, for `bring_back`, and say so; None: it had nothing."""
        if contents is not None:
            self._aside = contents
            self._aside_from = None
            self.say(f"{takes_of(contents, 'kept')}; {BRING_BACK}")

    @property
    def aside(self) -> str:
        """What `bring_back` would take up, in words, "3 takes of waltz"; "" for nothing."""
        return takes_of(self._aside) if self._aside else ""

    def left_over(self) -> Contents | None:
        """What another session may take up after this one: its takes, or those put aside."""
        return self.contents() if len(self.history) > 1 else self._aside

    def bring_back(self) -> None:
        """Take up the takes that were put aside, and put aside the present ones.

        Aside are those of the music that was open before, or of the studio that an earlier run of
        the same notebook cell has made.

        Raises:
            OptionError: there are none.
        """
        if self._aside is None:
            raise OptionError("no takes were put aside; there is nothing to bring back")
        contents = self._aside
        self._aside = self._aside_from = None
        kept = self._begin(contents)
        self.say("; ".join(filter(None, [takes_of(contents, "back"), kept])))

    def _begin(self, contents: Contents) -> str:
        """Go on with what was read or loaded; what is being composed is thrown away.

        Returns:
            What to say of the takes that there were; "" where there were none.
        """
        self.stop()
        kept = ""
        if len(self.history) > 1:
            self._aside = self.contents()
            self._aside_from = self._mark.shelf
            kept = f"{takes_of(self._aside, 'kept')}; undo or {BRING_BACK}"

        takes = [*contents.takes] or [Take(contents.state, contents.state, {})]
        mark = Mark(Shelf(takes), contents.place, takes[contents.place])
        self.editor.take(contents.state, mark)
        for setting, value in contents.settings.items():
            # A model may not be here any more; then the present one stays.
            try:
                self.set(**{setting: value})
            except PomkitError:
                continue
        return kept


def of_the_mask(state: State) -> str:
    """What to say behind "the oddest" where something is marked."""
    return " marked" if state.mask.any() else ""


def voices_in_words(part: str | None, voices: int) -> str:
    """How many voices a part was composed with, as it has; "" where it was free (0)."""
    if not voices:
        return ""
    return f"{voices} {'voice' if voices == 1 else 'voices'} at most, as {part} has"


def losses_in_words(report: ChangeReport, before: ChangeReport) -> str:
    """Which notes composing has cut or left out, and why; "" where there are none.

    Args:
        report: of the song now.
        before: of the song that was composed from: what that had lost is not told again.
    """
    # A note that ends sooner may have lost what sounded behind the region, too.
    ends = max(report.ended - before.ended, report.tails - before.tails)
    shorter = report.cut - before.cut
    left_out = report.dropped - before.dropped
    yours = f"{of_notes(ends, 'old')} now {'ends' if ends == 1 else 'end'} where new ones begin"
    cut = f"{of_notes(shorter, 'new')} shortened" if shorter > 0 else ""
    dropped = f"{of_notes(left_out, 'new')} left out" if left_out > 0 else ""
    new = " and ".join(filter(None, [cut, dropped]))
    why = f"{new}, as an old one has the same pitch there" if new else ""
    return "; ".join(filter(None, [yours if ends > 0 else "", why]))


def of_notes(count: int, kind: str) -> str:
    """So many notes in words: "1 old note", "3 new notes"."""
    return f"{count} {kind} note{'' if count == 1 else 's'}"


def takes_of(contents: Contents, where: str = "") -> str:
    """How many compositions are kept, and of what: "3 takes of waltz", "1 take of it is back"."""
    count = len(contents.takes) - 1
    noun, verb = ("take", "is") if count == 1 else ("takes", "are")
    words = f"{count} {noun} of {contents.state.name or 'the music'}"
    return f"{words} {verb} {where}" if where else words


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
