"""`python -m pomkit SONG.mid --mask MASK --out FOLDER`: read, render, mask, inpaint, parse, and write MIDI and sound."""

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .errors import OptionError, exit_code

DEMO_SONG, DEMO_MASK = "auld_lang_syne", "bars:9-12"
SAMPLING = (
    "seed",
    "steps",
    "U",
    "jump",
    "method",
    "sampler",
    "density",
    "temperature",
    "guidance",
)  # go to `inpaint` as such
FILES = "input.png, mask.png, result.png, side_by_side.png, result.mid, result.wav"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        "python -m pomkit",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Compose a region of a song anew: MIDI in; pictures, MIDI and sound out.",
        epilog="Times are in steps of a 16th note (0.125 s at 120 BPM), pitches are MIDI numbers (C4 = 60), bars count from 1.",
    )
    add = p.add_argument
    add("song", nargs="?", default=DEMO_SONG, help="a MIDI file, or the name of a shipped song")
    add(
        "--mask",
        default=DEMO_MASK,
        help="what to compose: melody, accompaniment, continuation[:STEPS to keep], bars:8-12, "
        "box:LOW-HIGH,FIRST-LAST (pitches, steps), chords, all, an image with white paint; join with +",
    )
    add("--out", type=Path, default=Path("out"), help=f"folder for {FILES}")
    add("--model", default="tiny", help="a shipped model's name or the path of a .safetensors file")
    add("--start", type=int, default=0, help="first step of the song to take")
    add("--width", type=int, default=None, help="steps to take (default: to the end of the song)")
    add("--seed", type=int, default=0, help="the same seed composes the same music")
    add(
        "--candidates",
        type=int,
        default=1,
        help="how many to make; the one nearest to --density, else to before, is kept",
    )
    add("--steps", type=int, default=None, help="network calls in one pass (default: by method)")
    add(
        "--U",
        type=int,
        default=1,
        help="times that each stretch of steps is done (RePaint's resampling)",
    )
    add("--jump", type=int, default=1, help="steps in a stretch that is done again")
    add(
        "--method",
        default=None,
        help="uncover (cells); conditioned or repaint (edm); default: the model's own",
    )
    add(
        "--sampler",
        default=None,
        help="edm only: euler, heun, dpmpp_2m, dpmpp_2m_sde or k_diffusion:NAME",
    )
    add(
        "--density",
        type=float,
        default=None,
        help="onsets per masked bar of 16 steps (default: as learned)",
    )
    add(
        "--temperature",
        type=float,
        default=1.0,
        help="cells only: below 1 plays safe, above 1 takes risks",
    )
    add("--guidance", type=float, default=1.0, help="weight of the known surroundings")
    add("--salvage", action="store_true", help="of a damaged MIDI file take what can be read")
    add("--quiet", action="store_true", help="print nothing but errors")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: exit code 0, or 2 with one clear line where the input is bad."""
    return exit_code("pomkit", partial(run, parser().parse_args(arguments)))


def run(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    say = (lambda *_: None) if options.quiet else print
    clock = {"import": time.perf_counter()}  # when each part of the work began
    from .composing import region as sample
    from .data.shipped import songs
    from .judge import metrics
    from .music import masks, midi, picture
    from .play import audio, plot
    from .processes import checkpoint

    clock["read"] = time.perf_counter()
    song = midi.read_midi(songs().get(options.song, options.song), salvage=options.salvage)
    say(
        f"{song.name}: {len(song.notes)} notes, {len(song.bar_lines()) - 1} bars, parts {', '.join(song.parts)}"
        + "".join(f"\n  {remark}" for remark in song.report.remarks)
    )
    before = picture.render(song, options.start, options.width)
    mask = masks.from_text(options.mask, song, options.start, before.shape[1])
    if not mask.any():
        raise OptionError(f"the mask {options.mask!r} is empty on {song.name}; choose another")
    lines = [
        line
        for line in (song.bar_lines(options.start + before.shape[1]) - options.start).tolist()
        if line >= 0
    ]

    clock["compose"] = time.perf_counter()
    model = checkpoint.load_model(options.model)
    with tqdm(desc="composing", unit="step", disable=options.quiet) as bar:

        def progress(event: dict[str, Any]) -> None:
            bar.total = event["n"]
            bar.update(event["i"] + 1 - bar.n)

        results = sample.inpaint(
            model,
            before,
            mask,
            n=options.candidates,
            bars=lines,
            callback=progress,
            **{name: getattr(options, name) for name in SAMPLING},
        )
    found = [metrics.adherence(before, result, mask) for result in results]
    bars = mask.any(axis=0).sum() / 16
    wanted = found[0].onsets_before if options.density is None else options.density * bars
    best = min(range(len(found)), key=lambda i: abs(found[i].onsets - wanted))
    after, heard, out = results[best], found[best], options.out

    clock["write"] = time.perf_counter()
    for name, image in (("input", before), ("mask", masks.paint(before, mask)), ("result", after)):
        plot.save_png(out / f"{name}.png", image)
    plot.side_by_side(before, mask, after, out / "side_by_side.png", bars=lines)
    picture.parse(after).write_midi(out / "result.mid")
    audio.write_wav(out / "result.wav", audio.synthesize(after))

    clock["end"] = time.perf_counter()
    say(
        f"composed {heard.onsets} notes where {heard.onsets_before} were, in {bars:.1f} masked bars ({int(mask.sum())} cells); "
        f"{int(results.refused[best])} stray pixels cleared; pixels changed outside the mask: {heard.changed_outside}"
    )
    say(
        f"model {options.model} ({model.process}), seed {options.seed}; sound: {audio.sound_name()}"
    )
    say(
        "seconds: "
        + ", ".join(
            f"{part} {end - began:.2f}" for (part, began), (_, end) in pairwise(clock.items())
        )
    )
    say(f"{out}/: {FILES}")
    say(
        "go on with `make lab`, another --seed, or your own file: make demo MIDI=path/to/own.mid MASK=melody"
    )


if __name__ == "__main__":
    sys.exit(main())
