"""The studio: paint, compose, listen, keep what pleases, paint again; in a notebook or by calls.

    studio = Studio("tiny", song)
    studio                                # in a notebook: the panel
    studio.add_bars(9, 12)                # the same by calls
    studio.inpaint(n=4, seed=1)
    studio.choose(2)
    studio.save("new.mid")

A Studio is two things: a `Session`, which composes, and a `Roll`, its page. What the session tells
goes down to the page, piece by piece; what a person does comes up as messages, and each of them is
a call of the session. So whatever the mouse does, Python does too.
"""

import base64
import operator
import re
import tempfile
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import check_choice
from ..processes.contract import Model
from .controls import get_ipython
from .editor import LOCK, Delegate, EditorCalls, Music
from .roll import Roll, Words, still, trait_of
from .session import Session, in_background
from .storage import Contents
from .tools import Gesture
from .view import CHANGES, PIECES, piece


class Studio(EditorCalls):
    """Paint a mask, compose it with a model, listen, keep what pleases, paint again.

    Every call of Editor and of Session works on a studio too.

    Args:
        model: a model or its name.
        music: a Song, a picture uint8 (128, width, 3), or a number of steps of silence.
        mask: bool (128, width), True = regenerate; None: nothing is marked.
        bars: the steps of the bar lines; None: the Song's, else those of 4/4.

    Attributes:
        session: what is composed with.
        roll: the page, a widget.

    Raises:
        CheckpointError: there is no such model.
        PictureError, OptionError: as Editor.
    """

    editor = Delegate("session", Session, "The music and the mask, an Editor.")
    history = Delegate("session", Session)
    place = Delegate("session", Session)
    candidates = Delegate("session", Session)
    chosen = Delegate("session", Session)
    offered = Delegate("session", Session)
    error = Delegate("session", Session, "What ended the last composition, or None.")
    candidate_states = Delegate("session", Session)
    composed = Delegate("session", Session, "How many times something was composed.")
    take_names = Delegate("session", Session)
    live = Delegate("session", Session)
    obstacle = Delegate("session", Session)
    aside = Delegate("session", Session)
    listen_from = Delegate("session", Session)
    set = Delegate("session", Session)
    inpaint = Delegate("session", Session)
    start = Delegate("session", Session)
    advice = Delegate("session", Session)
    stop = Delegate("session", Session)
    wait = Delegate("session", Session)
    choose = Delegate("session", Session)
    go = Delegate("session", Session)
    turn = Delegate("session", Session)
    before = Delegate("session", Session)
    state_before = Delegate("session", Session)
    title = Delegate("session", Session)
    mask_in_words = Delegate("session", Session)
    sound = Delegate("session", Session)
    drums = Delegate("session", Session)
    players = Delegate("session", Session)
    heard_parts = Delegate("session", Session)
    mix = Delegate("session", Session)
    doubt = Delegate("session", Session)
    doubted = Delegate("session", Session)
    doubting = Delegate("session", Session)
    stop_doubt = Delegate("session", Session)
    doubt_obstacle = Delegate("session", Session)
    mark_oddest = Delegate("session", Session)
    mixed = Delegate("session", Session, "Which parts are heard, a Mix.")
    sounds_now = Delegate("session", Session)
    bring_back = Delegate("session", Session)
    load = Delegate("session", Session)
    save = Delegate("session", Session)
    open = Delegate("session", Session)

    def __init__(
        self,
        model: Model | str = "tiny",
        music: Music = 256,
        mask: np.ndarray | None = None,
        bars: Sequence[int] | None = None,
    ) -> None:
        self.session = Session(model, music, mask, bars)
        self._shown: dict[str, Sources | None] = {}
        # Of files that a page was sent: the next one gets another name.
        self._sent_names: set[str] = set()
        # A page may ask for the widget at any time: it has all that it shows from the first.
        with LOCK:
            self._shown |= sources_of(self.session)
            pieces = {name: trait_of(piece(self.session, name)) for name in PIECES}
            self.roll = Roll(self._receive, dice=self.session.dice, **pieces)
        self.session.observe(self._follow)
        self._replace_older()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and a still picture for where there is no kernel."""
        shown: Any = self.roll._repr_mimebundle_(**options)
        data, about = shown if isinstance(shown, tuple) else (shown, {})
        state = self.state
        image = still(piece(self.session, "notes"), state.mask, state.bars)
        return data | {"image/png": base64.b64encode(image).decode()}, about

    # Down to the page

    def _follow(self, event: str) -> None:
        """Show what has changed in the session."""
        if event == "silence":
            self.roll.send({"do": "silence"})
            return
        with LOCK, self.roll.hold_sync():
            self._show(CHANGES[event])
            if event == "music":
                self.roll.musics += 1

    def _show(self, names: Iterable[str]) -> None:
        """Show pieces of `view` by their names, where they may be others, and the rest."""
        with LOCK, self.roll.hold_sync():
            sources = sources_of(self.session)
            for name in names:
                source = sources.get(name)
                if source is None or not are_same(source, self._shown.get(name)):
                    self.roll.show(name, piece(self.session, name))
                    self._shown[name] = source
            self.roll.dice = self.session.dice

    def listen(self, what: str = "now") -> None:
        """Play the song "now", "before", or the "new" notes alone, in the page.

        It begins a bar before the mask, or, where nothing is marked, at the playhead.

        Raises:
            OptionError: there is no such sound.
        """
        check_choice("sound", what, ("now", "before", "new"))
        self.roll.send({"do": "play", "what": what})

    # Up from the page

    def _receive(self, message: Words, data: Sequence[bytes]) -> None:
        """Do what a message says; its errors are told in the panel."""
        try:
            with LOCK, self.roll.hold_sync():
                ACTS[message["do"]](self, message, data)
        except Exception as fault:
            self.session.say(fault)

    def _mark(self, words: str) -> None:
        """Mark what a word of the panel says: "invert", "clear", or a preset."""
        acts = {"invert": self.invert, "clear": self.clear}
        if words in acts:
            acts[words]()
        else:
            self.preset(words)

    def _take_part(self, name: str) -> None:
        """Cut the selection to a part; "all": to none."""
        self.part = None if name == "all" else name

    def _take_setting(self, name: str, value: Any) -> None:
        """Change a setting; a seed that a person has typed is kept for the next compositions."""
        self.set(**{name: value})
        if name == "seed":
            self._take_dice(False)

    def _take_dice(self, dice: bool) -> None:
        """Let every composition draw a seed of its own, or not."""
        self.session.dice = dice
        self._show(())

    def _in_background(self, act: Callable[[Words], None], message: Words) -> None:
        """Do in a thread what takes a while; its errors are told in the panel."""

        def guarded() -> None:
            try:
                act(message)
            except InterruptedError:
                # Who stopped it knows.
                return
            except Exception as fault:
                self.session.say(fault)

        in_background(guarded)

    def _find_odd(self, message: Words) -> None:
        """Ask the model what it finds odd, and mark the oddest bar where a message wishes it."""
        if message.get("mark"):
            self.mark_oddest()
        else:
            self.doubt()

    def _send_sound(self, message: Words) -> None:
        """Make the fine sound and send it to the page that asked for it."""
        self.roll.answer(message, "fine", self.sound(message["what"]))

    def _send_file(self, message: Words) -> None:
        """Make a file and send it to the page that asked for it, which saves it."""
        with LOCK:
            name = new_name(self.state.name or "pomkit", message["suffix"], self._sent_names)
            self._sent_names.add(name)
        with tempfile.TemporaryDirectory() as folder:
            parts = self.session.heard_parts if message.get("heard") else None
            path = self.save(Path(folder) / name, parts)
            self.roll.answer(message, "file", path.read_bytes(), name=name)

    # Its end

    def _replace_older(self) -> None:
        """Close the studios that an earlier run of the same notebook cell has made."""
        parent: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
        self._cell = parent.get("metadata", {}).get("cellId")
        self._run = parent.get("header", {}).get("msg_id")
        older = [each for each in OPEN if each._cell == self._cell and each._run != self._run]
        if older:
            LEFT_OVER[self._cell] = [each.session.left_over() for each in older]
        for each in older:
            each.close()
        if self._cell:
            OPEN[self] = None

        # Of several studios of one cell each goes on after its own.
        waiting = LEFT_OVER.get(self._cell)
        if waiting:
            self.session.put_aside(waiting.pop(0))

    def close(self) -> None:
        """End composing and take the panel out of the page."""
        self.session.close()
        self.roll.close()
        OPEN.pop(self, None)


# Those that notebook cells made, in their order.
OPEN: dict[Studio, None] = {}
# By their cells, what those had that an earlier run made: the next ones may take it up.
LEFT_OVER: dict[str, list[Contents | None]] = {}


# What a piece of `view` is made of.
Sources = tuple[Any, ...]


def sources_of(session: Session) -> dict[str, Sources]:
    """What the larger pieces of `view` are made of: while it stays, they need not be told anew."""
    state = session.editor.state
    before = session.state_before()
    song = (state.picture, state.origin, state.bars, state.name)
    notes = (state.picture, state.changed, before.picture)
    drums = (state.origin, len(state.song.parts))
    candidates = (session.candidates, session.chosen)
    earlier = (before.picture, before.changed)
    told = {"song": song, "notes": notes, "before": earlier, "drums": drums}
    odd = (session.doubted, session.doubt_status, session.model)
    return told | {"candidates": candidates, "doubt": odd}


def are_same(sources: Sources, others: Sources | None) -> bool:
    """Whether these are the same objects."""
    return others is not None and all(map(operator.is_, sources, others))


def new_name(title: str, suffix: str, taken: Container[str]) -> str:
    """The name of a file that is not the one that was opened: "waltz_new.mid", "waltz_new_2.mid".

    Args:
        title: of the song; one that ends so already is counted on.
        suffix: with its dot.
        taken: names that are used.
    """
    letters = re.sub(r"[^\w.-]+", "_", title)
    counted = re.search(r"_new(?:_(\d{1,6}))?$", letters)
    stem = letters[: counted.start()] if counted else letters
    number = int(counted[1] or 1) + 1 if counted else 1

    name = ""
    while not name or name in taken:
        name = f"{stem}_new_{number}{suffix}" if number > 1 else f"{stem}_new{suffix}"
        number += 1
    return name


def gesture_of(message: Words) -> Gesture:
    """The gesture that a message tells."""
    path = [(float(step), float(pitch)) for step, pitch in message["path"]]
    how = bool(message["erase"]), float(message["radius"])
    return Gesture(message["tool"], path, *how, part=message.get("part") or None)


# What each message of the page does.
ACTS: dict[str, Callable[[Studio, Words, Sequence[bytes]], Any]] = {
    "ping": lambda studio, message, data: None,
    "gesture": lambda studio, message, data: studio.session.perform(gesture_of(message)),
    "mark": lambda studio, message, data: studio._mark(message["words"]),
    "empty": lambda studio, message, data: studio.delete_marked(),
    "part": lambda studio, message, data: studio._take_part(message["name"]),
    "doubt": lambda studio, message, data: studio._in_background(studio._find_odd, message),
    "stop doubt": lambda studio, message, data: studio.stop_doubt(),
    "mix": lambda studio, message, data: studio.mix(message["muted"], message["alone"]),
    "undo": lambda studio, message, data: studio.undo(),
    "redo": lambda studio, message, data: studio.redo(),
    "set": lambda studio, message, data: studio._take_setting(message["name"], message["value"]),
    "dice": lambda studio, message, data: studio._take_dice(message["value"]),
    "compose": lambda studio, message, data: studio.start(),
    "stop": lambda studio, message, data: studio.stop(),
    "choose": lambda studio, message, data: studio.choose(message["number"]),
    "go": lambda studio, message, data: studio.go(message["place"]),
    "bring back": lambda studio, message, data: studio.bring_back(),
    "open": lambda studio, message, data: studio.open(data[0], message["name"]),
    "save": lambda studio, message, data: studio._in_background(studio._send_file, message),
    "fine": lambda studio, message, data: studio._in_background(studio._send_sound, message),
}
