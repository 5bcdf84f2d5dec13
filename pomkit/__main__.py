"""The command line: `python -m pomkit SONG.mid --mask MASK --out FOLDER`.

It reads a song, composes the part under the mask anew, and writes pictures, MIDI and sound. The
steps stand one after the other in `run`; what they do stands in the folders of the package. Numpy,
torch and all else that takes long to import is imported only when there is something to compose.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import OptionError, PomkitWarning, exit_code
from .files import write

# All that takes long to import waits until `exit_code` watches: so Ctrl-C always ends in a line.
if TYPE_CHECKING:
    from .composing.song import ComposedSongs
    from .music.pixels import Mask, Picture
    from .music.song import Song

DEMO_SONG = "auld_lang_syne"
DEMO_MASK = "bars:9-12"
FILES = "input.png, mask.png, result.png, side_by_side.png, result.mid, result.wav"

OPTIONS: dict[str, dict[str, Any]] = {
    "--mask": dict(
        default=DEMO_MASK,
        help="what to compose: melody, accompaniment, continuation[:STEPS to keep], bars:8-12, "
        "box:LOW-HIGH,FIRST-LAST (pitches, steps), chords, all, an image with white paint; "
        "join with +",
    ),
    "--out": dict(type=Path, default=Path("out"), help=f"folder for {FILES}"),
    "--model": dict(
        default="tiny", help="a shipped model's name or the path of a .safetensors file"
    ),
    "--steps-per-beat": dict(
        type=int,
        default=4,
        help="the grid on which the song is read: 1, 2, 3, 4, 6, 8, 12 or 24; 4, 16ths, is what "
        "the shipped models learned",
    ),
    "--start": dict(type=int, default=0, help="first step of the song to take"),
    "--width": dict(type=int, default=None, help="steps to take (default: to the end of the song)"),
    "--part": dict(
        action="append",
        default=None,
        help="the only part that may change, by its name or number (from 0); may be given again",
    ),
    "--seed": dict(type=int, default=0, help="the same seed composes the same music"),
    "--candidates": dict(
        type=int,
        default=1,
        help="how many to make; the one nearest to --density, else to before, is kept",
    ),
    "--calls": dict(type=int, default=None, help="network calls in one pass (default: by method)"),
    "--U": dict(
        type=int,
        default=1,
        help="times that each block of calls is walked (RePaint's resampling)",
    ),
    "--jump": dict(type=int, default=1, help="calls of a block"),
    "--method": dict(
        default=None,
        help="uncover (cells); conditioned or repaint (edm); default: the model's own",
    ),
    "--sampler": dict(
        default=None,
        help="edm only: euler, heun, dpmpp_2m, dpmpp_2m_sde, dpmpp_2m_sde_half or k_diffusion:NAME",
    ),
    "--density": dict(
        type=float,
        default=None,
        help="onsets in 16 masked steps, a bar of 4/4 (default: as learned)",
    ),
    "--temperature": dict(
        type=float,
        default=None,
        help="1 is as learned, below 1 plays safe, above 1 takes risks (not with a head for "
        "pixels); default: the model's own",
    ),
    "--guidance": dict(type=float, default=1.0, help="weight of the known surroundings"),
    "--chords": dict(
        choices=("estimate", "none"),
        default="estimate",
        help="what the model is shown of a song that names no chords: those that are estimated "
        "from the song as it is, or none; neither is written into the file",
    ),
    "--salvage": dict(action="store_true", help="of a damaged MIDI file take what can be read"),
    "--quiet": dict(action="store_true", help="print nothing but errors"),
}
# Other names of options, which stay.
OTHER_NAMES = {"--calls": ["--steps"]}
# These go to `inpaint` under their own names.
SAMPLING = (
    "seed",
    "calls",
    "U",
    "jump",
    "method",
    "sampler",
    "density",
    "temperature",
    "guidance",
)
# What takes long to import, so that this is timed by itself.
SLOW_MODULES = (".composing.song", ".judge.metrics", ".play.plot", ".play.audio")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        "python -m pomkit",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Compose a region of a song anew: MIDI in; pictures, MIDI and sound out.",
        epilog="Times are in steps, 16ths unless --steps-per-beat says otherwise; pitches are MIDI "
        "numbers (C4 = 60), bars count from 1.",
    )
    p.add_argument(
        "song", nargs="?", default=DEMO_SONG, help="a MIDI file, or the name of a shipped song"
    )
    for name, settings in OPTIONS.items():
        names = [name, *OTHER_NAMES.get(name, [])]
        p.add_argument(*names, **settings)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: exit code 0, or 2 with one clear line where the input is bad."""
    return exit_code("pomkit", partial(run, parser().parse_args(arguments)))


def run(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    say = (lambda *_: None) if options.quiet else print
    clock = Stopwatch()

    clock.begin("import")
    for module in SLOW_MODULES:
        import_module(module, "pomkit")

    clock.begin("read")
    task = read(options)
    say(about_song(task.song))

    clock.begin("compose")
    results, process = ask_model(options, task)
    choice = keep_nearest(options, task, results)

    clock.begin("write")
    write_files(options.out, task, choice)

    clock.begin("end")
    say(choice.report)
    say(about_sound(options, process))
    say(clock.report())
    say(f"{options.out}/: {FILES}")
    say(
        "go on with `make lab`, another --seed, or your own file: "
        "make demo MIDI=path/to/own.mid MASK=melody"
    )


class Stopwatch:
    """Remembers when each part of the work began."""

    def __init__(self) -> None:
        self.begins: list[tuple[str, float]] = []

    def begin(self, part: str) -> None:
        """The part before ends, and this one begins."""
        self.begins.append((part, time.perf_counter()))

    def report(self) -> str:
        """How many seconds each part took, up to the begin of the last one."""
        parts = [f"{part} {end - begin:.2f}" for (part, begin), (_, end) in pairwise(self.begins)]
        return "seconds: " + ", ".join(parts)


@dataclass(frozen=True)
class Assignment:
    """What is to be composed, where, and in which parts (None: all)."""

    song: "Song"
    before: "Picture"  # uint8 (128, width, 3), the part of the song that is taken
    mask: "Mask"  # bool (128, width), True = compose
    bar_lines: list[int]  # steps of the picture
    parts: list[int | str] | None


@dataclass(frozen=True)
class Choice:
    """The candidate that is kept: its picture, its song, and that song's file."""

    picture: "Picture"  # uint8 (128, width, 3)
    song: "Song"
    midi: bytes
    report: str


def read(options: argparse.Namespace) -> Assignment:
    """Read the song, its picture and the mask; OptionError for a mask without a cell."""
    from .music import masks
    from .music.changes import mask_of_parts
    from .music.midi import read_midi
    from .music.picture import render

    song = read_midi(options.song, options.steps_per_beat, salvage=options.salvage)
    before = render(song, options.start, options.width)
    width = before.shape[1]

    mask = masks.from_text(options.mask, song, options.start, width)
    parts = parts_of(options, song)
    mask = mask_of_parts(song, mask, parts, start=options.start)
    if not mask.any():
        raise OptionError(f"the mask {options.mask!r} is empty on {song.name}; choose another")

    lines = song.bar_lines(options.start + width) - options.start
    return Assignment(song, before, mask, lines[lines >= 0].tolist(), parts)


def parts_of(options: argparse.Namespace, song: "Song") -> list[int | str] | None:
    """The parts that `--part` names: a text of digits is a number, unless a part has that name."""
    if options.part is None:
        return None
    is_number = [text.isdecimal() and text not in song.parts for text in options.part]
    pairs = zip(options.part, is_number, strict=True)
    return [int(text) if number else text for text, number in pairs]


def ask_model(options: argparse.Namespace, task: Assignment) -> tuple["ComposedSongs", str]:
    """The candidates, and the name of the model's process."""
    from tqdm import tqdm

    from .composing.song import compose, grid_advice
    from .processes.checkpoint import load_model

    # What `compose` would warn of is a line here.
    model = load_model(options.model)
    advice = grid_advice(model, task.song)
    if advice and not options.quiet:
        print(f"  {advice}")

    sampling = {name: getattr(options, name) for name in SAMPLING}
    sampling["chords"] = options.chords == "estimate"
    with tqdm(desc="composing", unit="step", disable=options.quiet) as bar, told_already():

        def progress(event: dict[str, Any]) -> None:
            bar.total = event["n"]
            bar.update(event["i"] + 1 - bar.n)

        results = compose(
            model,
            task.song,
            task.mask,
            options.candidates,
            part=task.parts,
            start=options.start,
            callback=progress,
            **sampling,
        )
    return results, model.process


@contextmanager
def told_already() -> Iterator[None]:
    """Let no PomkitWarning be shown meanwhile: what it would say was printed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PomkitWarning)
        yield


def keep_nearest(options: argparse.Namespace, task: Assignment, results: "ComposedSongs") -> Choice:
    """Keep the candidate whose number of onsets is nearest to the wish."""
    from .judge.metrics import adherence
    from .music.bars import masked_bars
    from .music.tables import BAR

    pictures = results.pictures
    facts = [adherence(before=task.before, after=after, mask=task.mask) for after in pictures]
    # A density is of 16 steps, whatever the song's bars are.
    wish = facts[0].onsets_before
    if options.density is not None:
        wish = options.density * task.mask.any(axis=0).sum() / BAR
    misses = [abs(fact.onsets - wish) for fact in facts]
    best = misses.index(min(misses))
    fact = facts[best]

    bars = masked_bars(task.mask, task.bar_lines)
    cells = int(task.mask.sum())
    cleared = int(results.refused[best])
    notes = f"composed {fact.onsets} notes where {fact.onsets_before} were"
    report = [
        f"{notes}, in {bars:.1f} masked bars ({cells} cells)",
        f"{cleared} stray pixels cleared",
        f"pixels changed outside the mask: {fact.changed_outside}",
    ]
    midi, remarks = results[best].to_midi()
    lines = ["; ".join(report), *results.reports[best].remarks(), *remarks]
    return Choice(pictures[best], results[best], midi, "\n  ".join(lines))


def write_files(folder: Path, task: Assignment, choice: Choice) -> None:
    """Write the six `FILES` into a folder."""
    from .music.masks import paint
    from .play.audio import synthesize, write_wav
    from .play.plot import save_png, side_by_side

    after = choice.picture
    save_png(folder / "input.png", task.before)
    save_png(folder / "mask.png", paint(task.before, task.mask))
    save_png(folder / "result.png", after)
    figure = folder / "side_by_side.png"
    side_by_side(task.before, task.mask, after, figure, bars=task.bar_lines)
    write(folder / "result.mid", lambda out: out.write(choice.midi))
    write_wav(folder / "result.wav", synthesize(choice.song))


def about_song(song: "Song") -> str:
    """A song in a line, and a line for each remark of its reader."""
    bars = len(song.bar_lines()) - 1
    parts = ", ".join(song.parts)
    line = f"{song.name}: {len(song.notes)} notes, {bars} bars, parts {parts}"
    return "\n  ".join([line, *song.report.remarks])


def about_sound(options: argparse.Namespace, process: str) -> str:
    """Which model composed with which seed, and which sound plays."""
    from .play.audio import sound_name

    model = f"model {options.model} ({process}), seed {options.seed}"
    return f"{model}; sound: {sound_name()}"


if __name__ == "__main__":
    sys.exit(main())
