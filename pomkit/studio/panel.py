"""The studio: paint, compose, listen, keep what pleases, paint again; in a notebook or by calls.

    studio = Studio("tiny", song)
    studio                                # in a notebook: the panel
    studio.add_bars(9, 12)                # the same by calls
    studio.inpaint(n=4, seed=1)
    studio.choose(2)
    studio.save("new.mid")

A Studio is three things: a `Session`, which composes; a `MaskPainter`, which draws it and is
painted on; and the widgets below, which say what a person wishes and show what the session tells.
"""

import base64
import html
import json
import re
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..music.bars import bars_around
from ..processes.contract import Model, methods_of
from .controls import WIDE, display, get_ipython, slider, ui
from .editor import Delegate, EditorCalls, Music, State
from .painter import MaskPainter
from .sampling import SETTINGS, Setting, knows
from .session import Session, in_background
from .storage import Contents
from .strips import Strip, Thumbnail, candidate_thumbnails, history_thumbnails

# What the button "open" takes, and what the menu "save as" offers.
OPENED = ".mid,.midi,.png,.jpg,.jpeg,.gif,.bmp,.webp,.npz"
DOWNLOADS = [
    ("save as ...", ""),
    ("MIDI", ".mid"),
    ("sound, WAV", ".wav"),
    ("picture, PNG", ".png"),
    ("picture with mask, PNG", ".mask.png"),
    ("studio, to open again", ".npz"),
]


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
        painter: the roll and the tools.
        heading: shows the title of the song.
        strips: the rows of small pictures by their names.
        counts: how many sounds and files were sent; a page plays and saves what is new to it.

    Raises:
        CheckpointError: there is no such model.
        PictureError, OptionError: as Editor.
    """

    editor = Delegate("session")
    history = Delegate("session")
    place = Delegate("session")
    candidates = Delegate("session")
    chosen = Delegate("session")
    error = Delegate("session")
    candidate_states = Delegate("session")
    take_names = Delegate("session")
    live = Delegate("session")
    obstacle = Delegate("session")
    aside = Delegate("session")
    listen_from = Delegate("session")
    set = Delegate("session")
    advice = Delegate("session")
    stop = Delegate("session")
    wait = Delegate("session")
    choose = Delegate("session")
    go = Delegate("session")
    turn = Delegate("session")
    before = Delegate("session")
    title = Delegate("session")
    mask_in_words = Delegate("session")
    sound = Delegate("session")
    sounds_now = Delegate("session")
    bring_back = Delegate("session")
    load = Delegate("session")
    save = Delegate("session")
    open = Delegate("session")

    drag = Delegate("painter")
    canvas = Delegate("painter")
    panel = Delegate("painter")
    controls = Delegate("painter")
    view = Delegate("painter")
    fit = Delegate("painter")
    scroll = Delegate("painter")
    message = Delegate("painter")
    value = Delegate("painter")
    guarded = Delegate("painter")
    tell = Delegate("painter")

    def __init__(
        self,
        model: Model | str = "tiny",
        music: Music = 256,
        mask: np.ndarray | None = None,
        bars: Sequence[int] | None = None,
    ) -> None:
        self.session = Session(model, music, mask, bars)
        self.painter = MaskPainter(self.session.editor)
        self.counts = {"sounds": 0, "files": 0}
        self._musics = 0  # files and songs that were opened, int
        self._showing_settings = False

        self.strips = self._make_strips()
        self._lay_out()
        self._wire_controls()
        self._show_settings()
        self._show_state()
        self._tell_counts()
        self.painter.shown = self.shown
        self.session.observe(self.guarded(self._follow))
        self.redraw()
        self._replace_older()

    def _ipython_display_(self) -> None:
        display(self.panel)

    # The panel

    def _lay_out(self) -> None:
        """Put the studio's widgets around the painter's."""
        self.audio = ui.Audio(autoplay=False, loop=False, format="mpeg", layout={"width": "55%"})
        self.link = ui.HTML()
        self.heading = ui.HTML()
        self._counts = ui.HTML(layout={"display": "none"})
        root = f"pomkit-{id(self)}"
        overview, candidates, history = (strip.canvas for strip in self.strips.values())

        *painter, message, facts = self.panel.children
        composing = [self._composing_row(), self._settings_row(), message, candidates]
        keeping = [self._keeping_row(), ui.HBox([self.audio, self.link]), overview, history]
        unseen = [facts, self._counts, player(root)]
        self.panel.children = [self.heading, *painter, *composing, *keeping, *unseen]

        # By these names the player finds its places in the page.
        self.panel.add_class(root)
        self.canvas.add_class("pomkit-roll")
        overview.add_class("pomkit-strip")

    def _composing_row(self) -> Any:
        """Begin, end, see how far it is, and the seed."""
        button = self.painter.button
        start = button(self.start, "Inpaint", "magic", "compose the mask", button_style="primary")
        stop = button(self.stop, "Stop", "stop", "within one network call", disabled=True)
        progress = ui.FloatProgress(max=1, layout={"width": "200px"})
        remaining = ui.Label(layout={"width": "110px"})

        seed = ui.BoundedIntText(
            max=SETTINGS["seed"].high,
            description=SETTINGS["seed"].text,
            layout={"width": "190px"},
            style={"description_width": "40px"},
        )
        dice = ui.Checkbox(
            value=True, description="new each time", indent=False, layout={"width": "120px"}
        )
        return self.painter.row(
            start=start, stop=stop, progress=progress, remaining=remaining, seed=seed, dice=dice
        )

    def _settings_row(self) -> Any:
        """A control of every setting but the seed."""
        settings = {name: s for name, s in SETTINGS.items() if name != "seed"}
        controls = {name: control_of(setting) for name, setting in settings.items()}
        controls["model"].options = self.session.model_names
        return self.painter.row(**controls)

    def _keeping_row(self) -> Any:
        """Listen, compare, go back and forward, files."""
        button = self.painter.button
        listen = button(self.listen, "Listen", "play", button_style="success")
        before = button(partial(self.listen, "before"), "before", "play")
        new = button(partial(self.listen, "new"), "only new", "play")

        aside = ui.ToggleButton(description="show before", tooltip="A/B: the picture before")
        bring_back = button(self.bring_back, "bring back", "history")
        back = button(partial(self.turn, -1), "", "arrow-left", "the kept picture before")
        forward = button(partial(self.turn, +1), "", "arrow-right", "the kept picture after")

        sounds = {"listen": listen, "before": before, "new": new}
        takes = {"aside": aside, "back": back, "forward": forward, "bring_back": bring_back}
        upload = ui.FileUpload(description="open", accept=OPENED)
        download = ui.Dropdown(options=DOWNLOADS)
        return self.painter.row(**sounds, **takes, upload=upload, download=download)

    def _make_strips(self) -> dict[str, Strip]:
        """The rows of small pictures; the page itself acts on clicks on the overview."""
        make = partial(Strip, guarded=self.guarded)
        candidates = partial(candidate_thumbnails, self.session)
        takes = partial(history_thumbnails, self.session)
        strips = {
            "overview": make(self._overview, str, needed=1),
            "candidates": make(candidates, self._try),
            "history": make(takes, self.go),
        }
        for strip in strips.values():
            strip.canvas.on_client_ready(partial(self._draw_strips, again=True))
        return strips

    def _wire_controls(self) -> None:
        """Say to the session what is wished."""
        on_change = self.painter.on_change
        on_change(**{name: partial(self._wish, name) for name in SETTINGS}, dice=self._roll_dice)
        on_change(aside=self.redraw, colours=self._draw_strips, pitches=self._draw_strips)
        on_change(upload=self._upload, download=self._download)

    # Wishes

    def _wish(self, name: str) -> None:
        """Tell the session a setting; where it refuses, show what it has."""
        if self._showing_settings:
            return
        try:
            self.set(**{name: self.value(name)})
        finally:
            self._show_settings()

    def _roll_dice(self) -> None:
        """Let every composition draw a seed of its own, or not."""
        self.session.dice = self.value("dice")

    def inpaint(self, **settings: Any) -> np.ndarray:
        """Compose the mask with the panel's settings, changed by those given, and wait.

        Returns:
            The candidates, uint8 (n, 128, width, 3).

        Raises:
            OptionError: nothing is marked, or a setting does not exist.
        """
        self.start(**settings)
        return self.wait()

    def start(self, **settings: Any) -> None:
        """Begin to compose in a thread; OptionError while it does."""
        self.session.start(**settings)

        # Let it be seen.
        marked = np.flatnonzero(self.state.mask.any(axis=0))
        if len(marked) and not self.view.left <= marked[0] < self.view.right:
            self.scroll(bars_around(self.state.mask, self.state.bars).start - self.view.left)

    def _try(self, number: int) -> None:
        """Take a candidate; whoever listens hears it at once."""
        self.choose(number)
        if self.counts["sounds"]:
            self.listen()

    # What the session tells

    def _follow(self, event: str) -> None:
        """Show what has changed in the session."""
        if event == "state":
            self.painter.controls.forget_error()
            self._show_state()
            self._draw_strips()
        elif event == "live":
            self.redraw()
        elif event == "status":
            self._show_status()

        # A message may tell of takes that were put aside.
        elif event == "message":
            self.tell(self.session.message)
            self._show_state()
        elif event == "settings":
            self._show_settings()
        elif event == "music":
            self._begin_at_bar_1()

    def _show_state(self) -> None:
        """Show which song it is, and what can be done."""
        self.heading.value = f"<b>{html.escape(self.title)}</b>"
        start = self.controls["start"]
        start.disabled = bool(self.obstacle)
        start.tooltip = self.obstacle or f"compose {self.mask_in_words()}"
        bring_back = self.controls["bring_back"]
        bring_back.layout.display = "" if self.aside else "none"
        bring_back.tooltip = self.aside

    def _begin_at_bar_1(self) -> None:
        """Show other music from its beginning; the page forgets the loop and the file."""
        self.link.value = ""
        self._musics += 1
        self._tell_counts()
        self.controls["left"].value = 0
        self.fit()

    def _show_status(self) -> None:
        """Show how far it is."""
        status = self.session.status
        self.controls["start"].disabled = bool(self.obstacle)
        self.controls["stop"].disabled = not status.busy
        self.controls["progress"].value = status.share
        self.controls["remaining"].value = status.remaining

    def _show_settings(self) -> None:
        """Set every control as the session has it, and offer what its model can do."""
        model = self.session.model
        self._showing_settings = True
        try:
            self.controls["method"].options = methods_of(model)
            for name, value in self.session.settings.items():
                self.controls[name].value = value
                self.controls[name].disabled = not knows(model, name)
        finally:
            self._showing_settings = False

    # Drawing

    def shown(self) -> tuple[State, State]:
        """The state that the roll shows and the one before."""
        present = self.state
        before = self.session.state_before()
        live = self.session.live_state
        if live is not None and live.picture.shape == before.picture.shape:
            return live, present
        return (before if self.value("aside") else present), before

    def _overview(self) -> list[Thumbnail]:
        """The whole of what the roll shows."""
        return [Thumbnail(*self.shown(), "click: play from here; drag: loop these bars")]

    def redraw(self) -> None:
        """Draw all of it."""
        self.painter.redraw()
        self._draw_strips()

    def _draw_strips(self, again: bool = False) -> None:
        """Draw the small pictures that have changed, or all of them again."""
        low, high = self.value("pitches")
        for strip in self.strips.values():
            strip.draw(low, high, self.value("colours"), again=again)

    # Sound and files in the page

    def listen(self, what: str = "now") -> None:
        """Play a `sound` in the page, from a bar before the mask; none: where the last one was."""
        in_background(self.guarded(self._send_sound), what)

    def _send_sound(self, what: str) -> None:
        """Make a sound and send it to the page."""
        sound = self.sound(what)
        self.sounds_now()
        self._count("sounds")
        self.audio.value = sound

    def _count(self, kind: str) -> None:
        """Announce one more sound or file, just before it is sent."""
        self.counts[kind] += 1
        self._tell_counts()

    def _tell_counts(self) -> None:
        """Write down, unseen in the page, how many there are, and where the next sound begins."""
        facts = {"from": self.listen_from, "musics": self._musics}
        counts = json.dumps(self.counts | facts)
        self._counts.value = f"<i class='pomkit-counts' data-facts='{counts}'></i>"

    def _upload(self) -> None:
        """Open what was uploaded."""
        uploads = self.value("upload")
        self.controls["upload"].value = type(uploads)()
        # ipywidgets 7 gives a dict of them, 8 a tuple.
        files = uploads if isinstance(uploads, tuple) else uploads.values()
        for file in files:
            name = file.get("metadata", file)["name"]
            self.open(bytes(file["content"]), name)

    def _download(self) -> None:
        """Make the file that was chosen, and let the menu show its title again."""
        suffix = self.value("download")
        if suffix:
            self.controls["download"].value = ""
            in_background(self.guarded(self._offer), suffix)

    def _offer(self, suffix: str) -> None:
        """Send a file to the page, which saves it."""
        name = re.sub(r"[^\w.-]+", "_", self.state.name or "pomkit") + suffix
        with tempfile.TemporaryDirectory() as folder:
            path = self.save(Path(folder) / name)
            data = base64.b64encode(path.read_bytes()).decode()

        self._count("files")
        self.link.value = (
            f'<a class="pomkit-file" data-number="{self.counts["files"]}" download="{name}" '
            f'href="data:application/octet-stream;base64,{data}">{name}</a>'
        )

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
        widgets = [self.panel]
        # The list grows while it is walked.
        for widget in widgets:
            widgets += getattr(widget, "children", ())
            widget.close()
        OPEN.pop(self, None)


# Those that notebook cells made, in their order.
OPEN: dict[Studio, None] = {}
# By their cells, what those had that an earlier run made: the next ones may take it up.
LEFT_OVER: dict[str, list[Contents | None]] = {}


def control_of(setting: Setting) -> Any:
    """The widget of a setting: a check box, a menu or a slider."""
    if isinstance(setting.default, bool):
        return ui.Checkbox(description=setting.text, **WIDE)
    if isinstance(setting.default, str):
        choices = [(word or "the song's", word) for word in setting.choices]
        return ui.Dropdown(description=setting.text, options=choices, **WIDE)
    return slider(setting.low, setting.high, setting.default, text=setting.text, tip=setting.tip)


def player(root: str) -> Any:
    """The script that plays in the page, for the panel whose class is `root`."""
    script = Path(__file__).with_name("player.js").read_text().replace("ROOT", json.dumps(root))
    output = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"text/html": f"<script>{script}</script>"},
    }
    return ui.Output(outputs=(output,))
