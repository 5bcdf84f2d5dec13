"""The studio: paint, compose, listen, keep what pleases, paint again; in a notebook or by calls."""

import base64
import json
import re
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets as ui
import numpy as np
from ipycanvas import Canvas
from IPython import get_ipython

from ..composing.region import inpaint
from ..data.mask_mix import onsets_per_bar
from ..errors import OptionError, PictureError, PomkitError, check_choice
from ..files import AnyPath
from ..music import masks
from ..music.chords import ROOTS
from ..music.harmony import KEY_PROFILES, estimate_key
from ..music.images import read_image
from ..music.midi import read_midi
from ..music.picture import parse, render
from ..music.pixels import PITCHES
from ..music.song import Song
from ..music.tables import NOTE_DTYPE
from ..play.audio import LISTEN_RATE, mp3, synthesize, write_wav
from ..play.plot import save_png
from ..processes import rules
from ..processes.checkpoint import Model, load_model, model_names
from ..processes.contract import methods_of
from .editor import LOCK, Music, State, begun, load_states, save_states
from .painter import (
    DARK,
    FONT,
    WIDE,
    WIDTH,
    MaskPainter,
    View,
    draw_notes,
    drawing,
    fill_rects,
    slider,
)

FRAME = 0.2  # seconds between live pictures, at least
STRIP, TITLE = 84, 14  # height of a row of small pictures and of their titles, in pixels
IMAGES = (b"\x89PNG", b"\xff\xd8", b"GIF8", b"BM")  # how the files begin that `read_image` reads
KEYS = [f"{root}:{mode}" for mode in KEY_PROFILES for root in ROOTS]
SETTINGS = (
    "seed",
    "n",
    "density",
    "rank",
    "temperature",
    "guidance",
    "steps",
    "U",
    "key_lock",
    "key",
    "chord_lock",
    "model",
    "method",
)


class Take(NamedTuple):
    """A picture that was kept, what it was made from, and how: with the last two it can be made again."""

    state: State
    before: State
    settings: dict[str, Any]


class Studio(MaskPainter):
    """Paint a mask, compose it with a model, listen, keep what pleases, paint again; `music`, `mask`, `bars` as in Editor.
    `model`: a model or its name. By calls: `studio.inpaint(n=4, seed=1)`, `.choose(i)`, `.history`, `.save("x.mid")`,
    `.open("x.mid")`, `.close()`. Raises as Editor and `load_model`."""

    def __init__(
        self,
        model: Model | str = "tiny",
        music: Music = 256,
        mask: np.ndarray | None = None,
        bars: Sequence[int] | None = None,
    ) -> None:
        name = model if isinstance(model, str) else "given"
        self._models = {name: load_model(model) if isinstance(model, str) else model}
        self._halt, self._thread, self._next_frame = threading.Event(), threading.Thread(), 0.0
        self._live: np.ndarray | None = None  # the picture while it is composed
        self.error: Exception | None = None
        self.candidates, self.chosen, self.place = np.zeros((0, PITCHES, 1, 3), np.uint8), 0, 0
        self.counts = {"sounds": 0, "files": 0}  # a page plays and saves what is new to it
        self.history, self.strips = list[Take](), dict[str, Any]()
        super().__init__(music, mask, bars)
        self.history.append(Take(self._state, self._state, {}))
        self._assemble([*dict.fromkeys([name, *model_names()])])
        self._adapt()
        self.redraw()
        parent: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
        self._cell, self._run = (
            parent.get("metadata", {}).get("cellId"),
            parent.get("header", {}).get("msg_id"),
        )
        for other in [
            o for o in OPEN if o._cell == self._cell and o._run != self._run
        ]:  # the cell has run again
            other.close()
        OPEN.update([self] if self._cell else [])

    def _assemble(self, models: list[str]) -> None:
        """Lay out the panel: the painter's, then settings, candidates, player, history."""
        composing = [
            self.row(
                start=self.button(
                    self.start, "Inpaint", "magic", "compose the mask", button_style="primary"
                ),
                stop=self.button(
                    self.stop, "Stop", "stop", "within one network call", disabled=True
                ),
                progress=ui.FloatProgress(max=1, layout={"width": "200px"}),
                remaining=ui.Label(layout={"width": "110px"}),
                seed=ui.BoundedIntText(
                    max=2**31 - 1,
                    description="seed",
                    layout={"width": "190px"},
                    style={"description_width": "40px"},
                ),
                dice=ui.Checkbox(
                    value=True, description="new each time", indent=False, layout={"width": "120px"}
                ),
            ),
            self.row(
                n=slider(1, 8, 1, "candidates", "how many to compose at once"),
                density=slider(
                    0, 40, 0.0, "density", "notes that begin per masked bar; 0: as learned"
                ),
                rank=ui.Checkbox(description="nearest density first", **WIDE),
                temperature=slider(
                    0.1, 2, 1.0, "temperature", "below 1 plays safe, above takes risks"
                ),
                guidance=slider(0, 3, 1.0, "guidance", "weight of the surroundings; 1: as learned"),
                steps=slider(0, 64, 0, "steps", "network calls in one pass; 0: the method's own"),
                U=slider(1, 10, 1, "U", "times that each step is done: more notes, crazier"),
                key_lock=slider(0, 1, 0.0, "key lock", "0: free, 1: no new note off the scale"),
                key=ui.Dropdown(
                    description="key",
                    options=[("the song's", ""), *zip(KEYS, KEYS, strict=True)],
                    **WIDE,
                ),
                chord_lock=slider(
                    0,
                    1,
                    0.0,
                    "chord lock",
                    "0: free, 1: new notes begin on tones of the chords above",
                ),
                model=ui.Dropdown(description="model", options=models, **WIDE),
                method=ui.Dropdown(description="method", **WIDE),
            ),
        ]
        keeping = self.row(
            listen=self.button(self.listen, "Listen", "play", button_style="success"),
            before=self.button(partial(self.listen, "before"), "before", "play"),
            new=self.button(partial(self.listen, "new"), "only new", "play"),
            aside=ui.ToggleButton(description="show before", tooltip="A/B: the picture before"),
            back=self.button(partial(self.turn, -1), "", "arrow-left", "the kept picture before"),
            forward=self.button(
                partial(self.turn, +1), "", "arrow-right", "the kept picture after"
            ),
            upload=ui.FileUpload(description="open", accept=".mid,.midi,.png,.jpg,.gif,.bmp,.npz"),
            download=ui.Dropdown(
                options=[
                    ("save as ...", ""),
                    ("MIDI", ".mid"),
                    ("sound, WAV", ".wav"),
                    ("picture, PNG", ".png"),
                    ("picture with mask, PNG", ".mask.png"),
                    ("studio, to open again", ".npz"),
                ]
            ),
        )
        picks: dict[str, Callable[[int], Any]] = {
            "overview": str,
            "candidates": self._try,
            "history": self.go,
        }
        for name, pick in picks.items():
            self.strips[name] = strip = Canvas(
                width=WIDTH, height=STRIP, layout={"max_width": "100%"}
            )
            strip.on_client_ready(self.redraw)
            strip.on_mouse_down(
                self.guarded(
                    lambda x, y, name=name, pick=pick: pick(
                        int(x / WIDTH * len(self.pictures(name)))
                    )
                )
            )
        self.audio, self.link = (
            ui.Audio(autoplay=False, loop=False, format="mpeg", layout={"width": "55%"}),
            ui.HTML(),
        )
        root = f"pomkit-{id(self)}"
        script = Path(__file__).with_name("player.js").read_text().replace("ROOT", json.dumps(root))
        player = {
            "output_type": "display_data",
            "metadata": {},
            "data": {"text/html": f"<script>{script}</script>"},
        }
        *painter, message, facts = self.panel.children
        overview, candidates, history = self.strips.values()
        self.panel.children = [
            *painter,
            *composing,
            message,
            candidates,
            keeping,
            ui.HBox([self.audio, self.link]),
            overview,
            history,
            facts,
            ui.Output(outputs=(player,)),
        ]
        for widget, mark in (
            (self.panel, root),
            (self.canvas, "pomkit-roll"),
            (overview, "pomkit-strip"),
        ):
            widget.add_class(mark)
        self.on_change(
            model=self._adapt, aside=self.redraw, upload=self._upload, download=self._download
        )

    def set(self, **settings: Any) -> None:
        """Set controls by name, as in `studio.set(n=4, key_lock=1)`; OptionError for one that does not exist."""
        for name, value in settings.items():
            check_choice("setting", name, SETTINGS)
            self.controls[name].value = value

    def inpaint(self, **settings: Any) -> np.ndarray:
        """Compose the mask with the panel's settings, changed by those given, wait, and return the candidates."""
        self.start(**settings)
        return self.wait()

    def start(self, **settings: Any) -> None:
        """Begin to compose in a thread; OptionError while it does."""
        if self._thread.is_alive():
            raise OptionError("it is composing already; stop it first, or wait")
        self.set(**settings)
        if self.value("dice") and "seed" not in settings:
            self.set(seed=int(np.random.default_rng().integers(2**31)))
        marked = np.flatnonzero(self._state.mask.any(axis=0))
        if len(marked) and not self.view.left <= marked[0] < self.view.right:  # let it be seen
            self.scroll(int(marked[0]) - 16 - self.view.left)
        self._halt.clear()
        self.error = None
        self._progress(True, remaining="begins ...")
        self._thread = self._aside(
            self._compose, self._state, {name: self.value(name) for name in SETTINGS}
        )

    def stop(self) -> None:
        """End composing within one network call; the picture stays as it was."""
        self._halt.set()

    def wait(self) -> np.ndarray:
        """Wait for the end of composing, raise the error that ended it, or return the candidates (n, 128, width, 3)."""
        if self._thread.is_alive():
            self._thread.join()
        if self.error:
            raise self.error
        return self.candidates

    def _compose(self, before: State, settings: dict[str, Any]) -> None:
        try:
            if not before.mask.any():
                raise OptionError(
                    "nothing is marked; paint over what shall be new, then press Inpaint"
                )
            model = self._models[settings["model"]]
            options, hear = (
                options_of(model, before, settings),
                partial(self._hear, time.monotonic()),
            )
            found = inpaint(
                model, before.picture, before.mask, bars=before.bars, callback=hear, **options
            )
            wish = settings["density"] or onsets_per_bar(before.picture, before.mask)
            order = np.argsort(
                [abs(onsets_per_bar(each, before.mask) - wish) for each in found], kind="stable"
            )
            with LOCK:
                if self._halt.is_set():  # other music was opened meanwhile
                    raise InterruptedError
                self.candidates, self._live = (
                    np.asarray(found)[order if settings["rank"] else slice(None)],
                    None,
                )
                self.history.append(Take(before, before, settings))
                self.choose(0)
            self.tell(f"{len(found)} composed in {found.seconds:.1f} s with seed {found.seed}")
        except InterruptedError:
            self.tell("Stopped; the picture is as it was.")
        except Exception as fault:
            memory = PomkitError(
                f"not enough memory ({fault}); take fewer candidates or a shorter picture"
            )
            self.error = (
                memory if isinstance(fault, MemoryError) or "memory" in str(fault) else fault
            )
            self.tell(self.error)
        finally:
            self._live = None
            self._progress(False)
            self.redraw()

    def _hear(self, began: float, event: dict[str, Any]) -> None:
        """The sampler's callback: progress, a live picture now and then, and the end where it is wished."""
        if self._halt.is_set():
            raise InterruptedError
        share, now = (event["i"] + 1) / event["n"], time.monotonic()
        self._progress(True, share, f"{share:.0%}, {(now - began) * (1 / share - 1):.0f} s left")
        if now > self._next_frame:
            self._live, self._next_frame = event["preview"]()[0], now + FRAME
            self.redraw()

    def _progress(self, busy: bool, share: float = 0.0, remaining: str = "") -> None:
        self.controls["start"].disabled, self.controls["stop"].disabled = busy, not busy
        self.controls["progress"].value, self.controls["remaining"].value = share, remaining

    def _aside(self, act: Callable[..., None], *arguments: Any) -> threading.Thread:
        """Do what takes a while in a thread of its own."""
        thread = threading.Thread(
            target=self.guarded(act), args=arguments, name="pomkit studio", daemon=True
        )
        thread.start()
        return thread

    def _adapt(self) -> None:
        """Offer what the chosen model can do."""
        name = self.value("model")
        model = self._models[name] = self._models.get(name) or load_model(name)
        self.controls["method"].options, self.controls["method"].value = (
            methods_of(model),
            methods_of(model)[0],
        )
        for name in ("temperature", "key_lock", "chord_lock"):
            self.controls[name].disabled = model.process != "cells"

    def choose(self, number: int) -> None:
        """Take a candidate of the last composition into the picture."""
        with LOCK:
            take, state = self.history[-1], self._state
            if not 0 <= number < len(self.candidates) or take.before.mask.shape != state.mask.shape:
                raise OptionError(
                    f"there is no candidate {number} for this picture; the last one had {len(self.candidates)}"
                )
            picture = np.where(take.before.mask[..., None], self.candidates[number], state.picture)
            self.history[-1] = take._replace(state=take.before._replace(picture=picture))
            self.place, self.chosen = len(self.history) - 1, number
            self._edit(picture=picture)

    def _try(self, number: int) -> None:
        self.choose(number)
        if self.counts["sounds"]:  # whoever listens hears the other candidate at once
            self.listen()

    def go(self, place: int) -> None:
        """Take a kept picture, its mask too, from `history`."""
        if not 0 <= place < len(self.history):
            raise OptionError(f"there is no kept picture {place}; there are {len(self.history)}")
        self.place = place
        self._edit(*self.history[place].state)

    def turn(self, by: int) -> None:
        """Go back (-1) or forward (+1) among the kept pictures."""
        self.go(min(max(self.place + by, 0), len(self.history) - 1))

    def load(
        self, music: Music, mask: np.ndarray | None = None, bars: Sequence[int] | None = None
    ) -> None:
        self._begin(begun(music, mask, bars), [])

    def _begin(self, state: State, history: list[Take], place: int = 0) -> None:
        self.stop()
        self.history, self.place, self.candidates = (
            history or [Take(state, state, {})],
            place,
            self.candidates[:0],
        )
        self._edit(*state)
        self.fit()

    def before(self) -> np.ndarray:
        """The picture that the present one was made from, or the present one."""
        picture = self.history[self.place].before.picture if self.history else self._state.picture
        return picture if picture.shape == self._state.picture.shape else self._state.picture

    def shown(self) -> tuple[np.ndarray, np.ndarray]:
        live, before = self._live, self.before()
        if live is not None and live.shape == before.shape:
            return live, self._state.picture
        return (
            (before, before)
            if self.strips and self.value("aside")
            else (self._state.picture, before)
        )

    def pictures(self, name: str) -> list[tuple[np.ndarray, np.ndarray, str, bool]]:
        """What a strip shows: picture, the one before, title, and whether it is the present one."""
        if name == "overview":
            return [(*self.shown(), "click: play from here; drag: loop these bars", False)]
        if name == "history":
            return [
                (
                    state.picture,
                    before.picture,
                    f"seed {how['seed']}" if how else "the beginning",
                    i == self.place,
                )
                for i, (state, before, how) in enumerate(self.history)
            ]
        before = self.history[-1].before
        seen = (
            np.flatnonzero(before.mask.any(axis=0)) if len(self.candidates) else np.zeros(1, int)
        )  # from bar to bar
        cut = slice(max(seen[0] // 16 - 1, 0) * 16, (seen[-1] // 16 + 2) * 16)
        return [
            (
                each[:, cut],
                before.picture[:, cut],
                f"{i + 1}: {onsets_per_bar(each, before.mask):.1f} notes a bar",
                i == self.chosen,
            )
            for i, each in enumerate(self.candidates)
        ]

    def redraw(self, **facts: Any) -> None:
        super().redraw(**self.counts)
        low, high = self.value("pitches")
        for name, canvas in self.strips.items():
            found = self.pictures(name)
            size = WIDTH / max(len(found), 1)
            canvas.layout.display = "none" if name != "overview" and len(found) < 2 else ""
            with drawing():
                canvas.clear()
                canvas.font = FONT
                for i, (picture, before, title, present) in enumerate(found):
                    x, length, width = i * size, size - 4, picture.shape[1]
                    fill_rects(canvas, "#c2185b" if present else "#5f6368", x, 0, length, TITLE)
                    fill_rects(canvas, DARK, x, TITLE, length, STRIP)
                    view = View(
                        x,
                        TITLE,
                        length / width,
                        (STRIP - TITLE) / (high + 1 - low),
                        0,
                        width,
                        low,
                        high,
                    )
                    draw_notes(canvas, view, picture, before, self.value("colours"))
                    canvas.fill_style = "white"
                    canvas.fill_text(title[: int(size / 6)], x + 4, 11)

    def sound(self, what: str = "now") -> bytes:
        """MP3 of the picture "now", the one "before", or the "new" notes alone."""
        now, before = parse(self._state.picture).notes, parse(self.before()).notes
        new = (self._state.picture != self.before()).any(axis=2)[127 - now["pitch"], now["onset"]]
        return _mp3({"now": now, "before": before, "new": now[new]}[what].tobytes())

    def listen(self, what: str = "now") -> None:
        """Play a `sound` in the page, from where the last one was."""
        self._aside(lambda: self._send("sounds", self.audio, self.sound(what)))

    def _send(self, kind: str, widget: Any, value: Any) -> None:
        self.counts[kind] += 1
        self.redraw()
        widget.value = value

    def save(self, path: AnyPath) -> Path:
        """Write the song (.mid), its sound (.wav), the picture (.png), with the mask as white paint (.mask.png), or the studio
        (.npz: all kept pictures, their masks, settings and seeds), atomically; OptionError."""
        for suffix, write in SAVERS.items():
            if str(path).lower().endswith(suffix):
                write(self, path)
                return Path(path)
        raise OptionError(f"{path}: choose a name that ends with one of {', '.join(SAVERS)}")

    def open(self, source: AnyPath | bytes, name: str = "") -> None:
        """Take a MIDI file, a picture (white paint: the mask) or a saved studio, by path or bytes; MidiError, PictureError."""
        try:
            data = source if isinstance(source, bytes) else Path(source).read_bytes()
        except OSError as fault:
            raise PictureError(
                f"{fault.filename} cannot be read ({fault.strerror}); check the path"
            ) from fault
        if data.startswith(b"PK"):
            (now, *states), about = load_states(data)
            takes = [
                Take(*each)
                for each in zip(states[::2], states[1::2], about.get("takes", ()), strict=False)
            ]
            self._begin(now, takes, max(min(int(about.get("place", 0)), len(takes) - 1), 0))
            for setting, value in about.get("now", {}).items():
                with suppress(Exception):  # a model that is not here
                    self.set(**{setting: value})
        elif data.startswith(IMAGES):
            image = read_image(data)
            self.load(render(parse(image), width=image.shape[1]), masks.from_image(image))
        else:
            self.load(
                replace(
                    read_midi(data), name=Path(name if isinstance(source, bytes) else source).stem
                )
            )

    def _upload(self) -> None:
        found = self.value("upload")  # a dict in ipywidgets 7
        self.controls["upload"].value = type(found)()
        for file in found if isinstance(found, tuple) else found.values():
            name = file.get("metadata", file)["name"]
            self.open(bytes(file["content"]), name)
            self.tell(f"{name} is open")

    def _download(self) -> None:
        if suffix := self.value("download"):
            self.controls["download"].value = ""
            self._aside(self._offer, suffix)

    def _offer(self, suffix: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = self.save(
                Path(folder) / (re.sub(r"[^\w.-]+", "_", self._state.name or "pomkit") + suffix)
            )
            data = base64.b64encode(path.read_bytes()).decode()
        self._send(
            "files",
            self.link,
            f'<a class="pomkit-file" data-number="{self.counts["files"]}" download="{path.name}" '
            f'href="data:application/octet-stream;base64,{data}">{path.name}</a>',
        )

    def close(self) -> None:
        """End composing and take the panel out of the page."""
        self.stop()
        with suppress(PomkitError):
            self.wait()
        widgets = [self.panel]
        for widget in widgets:  # grows meanwhile
            widgets += getattr(widget, "children", ())
            widget.close()
        OPEN.discard(self)


# What `save` writes; the first suffix that fits.
SAVERS: dict[str, Callable[[Studio, Any], Any]] = {
    ".mid": lambda studio, path: studio.song.write_midi(path),
    ".wav": lambda studio, path: write_wav(path, synthesize(studio.song)),
    ".mask.png": lambda studio, path: save_png(path, masks.paint(studio.picture, studio.mask)),
    ".png": lambda studio, path: save_png(path, studio.picture),
    ".npz": lambda studio, path: save_states(
        path,
        [studio._state, *(state for take in studio.history for state in take[:2])],
        {
            "place": studio.place,
            "now": {name: studio.value(name) for name in SETTINGS},
            "takes": [take.settings for take in studio.history],
        },
    ),
}
OPEN: set[Studio] = set()  # those that notebook cells made


def options_of(model: Model, before: State, settings: dict[str, Any]) -> dict[str, Any]:
    """A studio's settings as options of `inpaint`."""
    options = {name: settings[name] for name in ("n", "seed", "U", "guidance", "method")}
    options |= {name: settings[name] or None for name in ("steps", "density")}
    if model.process == "cells":
        known = parse(np.where(before.mask[..., None], np.uint8(0), before.picture)).notes
        key = settings["key"] or estimate_key(known)
        locks = [rules.key(key, settings["key_lock"])] if settings["key_lock"] and key else []
        locks += [rules.chords(dial=settings["chord_lock"])] if settings["chord_lock"] else []
        options |= {"temperature": settings["temperature"], "rule": locks or None}
    return options


@lru_cache(maxsize=12)
def _mp3(notes: bytes) -> bytes:
    return mp3(synthesize(Song(np.frombuffer(notes, NOTE_DTYPE)), LISTEN_RATE), LISTEN_RATE)
