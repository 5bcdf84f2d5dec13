"""What decides how well Gaussian noise with the cells head composes: studies that can be repeated.

    python tests/benchmarks/edm_studies.py PART ...
        [--edm tiny-edm] [--count 24] [--samplers 2M,Heun] [--archive pop909.tar.xz]

Windows of POP909's validation split. Each part writes assets/reports/edm_PART.json.

- pixels: of pixels that know nothing of each other, so that the exact answer is known, how many end
  as onsets and as sustains, over how many should, by sampler, calls and rule of the noise levels.
  Needs no windows.
- sigma: at each noise level, how much of a region's cells is still open, in bits a cell: to a
  single pixel, to the network, and to it in whole rows; and how many sounding cells it would not
  yet read right. Beside
  it the onsets and sustains that the network expects, and those that the chain on top of it
  expects, over the real ones: 1 is calibrated. Draws out/edm_sigma.png.
- whole_notes: 16 calls, with and without the chain, and by sampler: sustains that follow no note
  and were cleared, notes over the real ones, mean note length, share of notes of one step.
- few_calls: overlapping area, chord accuracy and notes over the real ones, at 4, 8, 16 and 32
  calls by sampler, conditioned.
- repaint: U = 1, 2, 4, 8 by sampler at jump 1, 20 levels; each with its difference from U = 1 of
  its sampler, and ("against_conditioned") from one conditioned pass by the first sampler, of as
  many calls as it makes with that U.
- jumps: jump lengths 2, 5, 10 at U = 2 and 4, by the samplers that are named.

A difference is over the same bootstrap draws of songs, with its 95 % interval. What was composed
is kept, see `claims`. "2M SDE half" has half as much fresh noise (eta .5), "ancestral" is
k-diffusion's Euler ancestral.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claims import PARTS, ROOT, Bench, Options, write
from three_readers import find_archive
from torch.utils.data import default_collate

from pomkit import data, inpaint, load_model, masks, parse
from pomkit.judge.tasks import TASKS, held_out
from pomkit.music.pixels import row_of_pitch
from pomkit.processes import chain
from pomkit.processes.samplers import get_sampler
from pomkit.processes.schedules import karras_sigmas
from pomkit.processes.states import ONSET, SUSTAIN

LEVELS = 0.05 * 2.0 ** np.arange(10)  # .05 to 25.6
WHOLE_CALLS = 16
SAMPLERS = {
    "2M": "dpmpp_2m",
    "2M SDE": "dpmpp_2m_sde",
    "2M SDE half": "dpmpp_2m_sde_half",
    "Heun": "heun",
    "ancestral": "k_diffusion:euler_ancestral",
}
STUDIED = ("2M SDE half", "2M", "2M SDE", "Heun", "ancestral")
LEVEL_RULES = ("Karras", "settling")
REPAINT_TASKS = ("loop middle", "melody", "continuation")
TIMES = (1, 2, 4, 8)
STEPS = 20


def levels_of(sampler: str, calls: int) -> int:
    """The noise levels with which a sampler makes about so many calls."""
    return (calls + 1) // 2 if sampler == "Heun" else calls


def conditioned(sampler: str, calls: int) -> tuple[str, Options]:
    options = {"method": "conditioned", "sampler": SAMPLERS[sampler]}
    return "edm", options | {"steps": levels_of(sampler, calls)}


def repainted(sampler: str, U: int, jump: int = 1) -> tuple[str, Options]:
    options = {"method": "repaint", "sampler": SAMPLERS[sampler], "steps": STEPS}
    return "edm", options | {"U": U, "jump": jump}


def calls_of(sampler: str, U: int) -> int:
    """The network calls of a RePaint, see `repaint_schedule`; Heun's last one is not corrected."""
    walks = U * (STEPS - 1)
    return 2 * walks + 1 if sampler == "Heun" else walks + 1


def studies(samplers: Sequence[str]) -> dict[str, tuple[Any, Any, str]]:
    """The parts as `claims.PARTS` has them, for the samplers that are asked for."""
    few = {f"{s}, {n} calls": conditioned(s, n) for s in samplers for n in (4, 8, 16, 32)}
    first = f"RePaint {samplers[0]}"

    again: dict[str, tuple[str, Options]] = {}
    for s in samplers:
        again[f"RePaint {s}"] = repainted(s, 1)
        again |= {f"RePaint {s}, U {u}": repainted(s, u) for u in TIMES[1:]}
    for u in TIMES:
        again[f"conditioned as U {u}"] = conditioned(samplers[0], calls_of(samplers[0], u))

    jumps: dict[str, tuple[str, Options]] = {}
    for s in samplers:
        jumps[f"RePaint {s}"] = repainted(s, 1)
        jumps |= {
            f"RePaint {s}, U {u} jump {j}": repainted(s, u, j)
            for u in (2, 4)
            for j in (1, 2, 5, 10)
        }
    tasks = ("loop middle", "melody", "continuation", "accompaniment")
    return {
        "few_calls": (tasks, few, f"{samplers[0]}, 16 calls"),
        "repaint": (REPAINT_TASKS, again, first),
        "jumps": (REPAINT_TASKS, jumps, first),
    }


class Study(Bench):
    """A bench whose rows may also stand against the row of as many network calls."""

    against_conditioned = False

    def references(self, name: str) -> dict[str, str]:
        """The reference of each row of a part."""
        found = super().references(name)
        if self.against_conditioned:
            for row in PARTS[name][1]:
                U = row.partition(", U ")[2]
                equal = f"conditioned as U {U or 1}"
                found[row] = equal if row.startswith("RePaint") else row
        return found


@torch.inference_mode()
def pixel_study(model: Any, pixels: int = 320_000) -> dict[str, dict[str, list[float]]]:
    """Onsets and sustains that independent pixels end as, over the real shares."""
    prior = model.prior.log()[:, None, None]
    start = model.middle + torch.zeros(pixels // 6400, 3, 80, 80)
    found: dict[str, dict[str, list[float]]] = {}

    def denoiser(x: torch.Tensor, sigma: torch.Tensor, **_: Any) -> torch.Tensor:
        p = (model.evidence(x) / sigma.reshape(-1, 1, 1, 1) ** 2 + prior).softmax(1)
        return model.mean_colour(p)

    for rule in LEVEL_RULES:
        for name in ("2M SDE", "2M SDE half", "2M", "Heun"):
            row = found.setdefault(f"{name}, {rule}", {})
            for calls in (4, 8, 16, 20, 32):
                n = levels_of(name, calls)
                karras = karras_sigmas(n, model.sigma_min, model.sigma_max)
                sigmas = karras if rule == "Karras" else model.levels(n)
                noise = torch.Generator().manual_seed(1)
                x = start + sigmas[0] * torch.randn(start.shape, generator=noise)
                end = get_sampler(SAMPLERS[name])(denoiser, x, sigmas, generator=noise)
                states = model.nearest(end)
                onsets = (states >= ONSET).float().mean() / model.shares[2]
                sustains = (states == SUSTAIN).float().mean() / model.shares[1]
                row[str(calls)] = [round(float(onsets), 3), round(float(sustains), 3)]
            print(name, rule, row, flush=True)
    return found


@torch.inference_mode()
def sigma_study(model: Any, songs: list[Any], count: int, seed: int = 1) -> dict[str, list[float]]:
    """What is still open at each noise level, and how many notes are expected."""
    windows = data.Windows(songs, model.width, seed=seed, semitones=(0, 0))
    rng = np.random.default_rng(seed)
    asked = type("Asked", (), {"sigma_density": "auto"})()
    batch = default_collate([model.example(windows[i], 0.5, rng, asked) for i in range(count)])
    cells, mask = batch["cells"], batch["mask"]
    x0 = model.colours[cells].movedim(-1, 1)
    rows: dict[str, list[float]] = {}

    def put(name: str, value: Any) -> None:
        rows.setdefault(name, []).append(round(float(value), 4))

    def bits(p: torch.Tensor) -> float:
        nats = -p.gather(1, cells[:, None])[:, 0].clamp(min=1e-12).log()
        return float(nats[mask].mean()) / math.log(2)

    sounds = mask & (cells >= SUSTAIN)
    for sigma in LEVELS.tolist():
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))
        noisy, levels = x0 + sigma * noise, torch.full((count,), sigma)
        alone = (model.evidence(noisy) / sigma**2 + model.prior.log()[:, None, None]).softmax(1)
        known = {"known": x0, "mask": mask[:, None], "chords": batch["chords"]}

        def ask(in_rows: bool, noisy: Any = noisy, levels: Any = levels, known: Any = known) -> Any:
            parts = [
                model(noisy[i : i + 8], levels[i : i + 8], as_logits=True, in_rows=in_rows,
                      **{name: value[i : i + 8] for name, value in known.items()})
                for i in range(0, count, 8)
            ]  # fmt: skip
            return torch.cat(parts)

        logits = ask(True)
        p = logits.softmax(1)
        chained = chain.marginals(chain.with_known(logits, mask[:, None], cells), begin=1.0)
        nats = chain.surprise(ask(False), cells, mask, whole_rows=True)
        put("sigma", sigma)
        put("bits, a pixel alone", bits(alone))
        put("bits, the network", bits(p))
        put("bits, whole rows", nats.sum() / mask.sum() / math.log(2))
        put("bits, the chain on top", bits(chained))
        put("sounding cells not yet read right", (p.argmax(1) != cells)[sounds].float().mean())
        for name, q in (("network", p), ("chain on top", chained)):
            onsets = (q[:, ONSET:].sum(1) * mask).sum() / (mask & (cells >= ONSET)).sum()
            sustains = (q[:, SUSTAIN] * mask).sum() / (mask & (cells == SUSTAIN)).sum()
            put(f"onsets expected / real, {name}", onsets)
            put(f"sustains expected / real, {name}", sustains)
        print({name: values[-1] for name, values in rows.items()}, flush=True)
    return rows


def draw_sigma(rows: dict[str, list[float]], path: Path) -> None:
    """The figure of `sigma_study`: what is open, and what is expected, by noise level."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    left.axvspan(0.08, 25, color="0.93", label="noise in training")
    for name, values in rows.items():
        if name.startswith("bits"):
            left.plot(rows["sigma"], np.array(values) / values[-1], "o-", label=name)
    wrong = rows["sounding cells not yet read right"]
    left.plot(rows["sigma"], wrong, "s--", color="0.4", label="sounding cells not yet read right")
    left.set(xscale="log", xlabel="sigma", ylabel="share still open", ylim=(0, 1.05))
    left.legend(fontsize=8)
    for name, values in rows.items():
        if "expected" in name:
            right.plot(rows["sigma"], values, "o-", label=name)
    right.axhline(1, color="0.6", linewidth=1)
    right.set(xscale="log", xlabel="sigma", ylabel="expected / real")
    right.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def whole_study(model: Any, songs: list[Any], count: int) -> dict[str, dict[str, Any]]:
    """Notes with and without the chain and by sampler: a window's middle half, and melodies."""
    windows = [w for w in held_out(songs, model.width, 2 * count) if w.song.chords][:count]
    last = model.width // 16 - model.width // 64
    regions = {
        "middle half": [masks.bars(model.width, model.width // 64 + 1, last)] * len(windows),
        "melody": [TASKS["melody"].mask_of(w.song, w.start, model.width) for w in windows],
    }
    half = {"sampler": SAMPLERS["2M SDE half"]}
    rows = {f"2M SDE half, {w}": half | {"whole_notes": w} for w in ("off", "last", "calls")}
    off = {"whole_notes": "off"}
    rows |= {f"{s}, off": off | {"sampler": SAMPLERS[s]} for s in ("2M SDE", "2M", "Heun")}
    found: dict[str, dict[str, Any]] = {}

    def lengths(pictures: list[np.ndarray], task: str) -> np.ndarray:
        kept = []
        for picture, mask in zip(pictures, regions[task], strict=True):
            notes = parse(picture).notes
            kept.append(notes["duration"][mask[row_of_pitch(notes["pitch"]), notes["onset"]]])
        return np.concatenate(kept)

    for task, region in regions.items():
        real = lengths([w.picture for w in windows], task)
        for name, options in rows.items():
            steps = levels_of(name.split(",")[0], WHOLE_CALLS)
            began = time.process_time()
            made = [
                inpaint(model, w.picture, mask, seed=i, steps=steps, **options)
                for i, (w, mask) in enumerate(zip(windows, region, strict=True))
            ]
            given = lengths([np.asarray(each[0]) for each in made], task)
            found.setdefault(task, {})[name] = row = {
                "broken cells": int(sum(each.refused[0] for each in made)),
                "notes / real": round(len(given) / len(real), 3),
                "note length (real)": [round(float(x.mean()), 3) for x in (given, real)],
                "one step (real)": [round(float((x == 1).mean()), 3) for x in (given, real)],
                "cpu_seconds": round(time.process_time() - began, 1),
            }
            print(task, "|", name, "|", row, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="+", help="pixels, sigma, whole_notes, few_calls, repaint, jumps"
    )
    parser.add_argument("--edm", default="tiny-edm", help="a model of the cells head")
    parser.add_argument("--samplers", default=",".join(STUDIED), help=f"of {', '.join(SAMPLERS)}")
    parser.add_argument("--archive", type=Path, default=None)
    parser.add_argument("--count", type=int, default=24, help="windows a task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "reports")
    o = parser.parse_args()
    PARTS.clear()
    PARTS.update(studies(o.samplers.split(",")))
    corpus = data.read_corpus(find_archive(o.archive), progress=False)
    songs = list(corpus.split("valid").songs)

    for part in o.parts:
        command = f"python tests/benchmarks/edm_studies.py {part} --edm {o.edm} --count {o.count}"
        command += f" --samplers '{o.samplers}' --seed {o.seed}"
        report: dict[str, Any] = {"command": command, "split": "valid"}
        began = time.monotonic()
        if part == "pixels":
            report["onsets and sustains over the real ones, by calls"] = pixel_study(
                load_model(o.edm)
            )
        elif part == "sigma":
            rows = sigma_study(load_model(o.edm), songs, o.count)
            draw_sigma(rows, ROOT / "out" / "edm_sigma.png")
            report["levels"] = rows
        elif part == "whole_notes":
            report["tasks"] = whole_study(load_model(o.edm), songs, o.count)
        else:
            bench = Study(songs, [], {"cells": "tiny", "edm": o.edm}, o.count, o.seed)
            report |= bench.part(part)
            if part == "repaint":
                bench.against_conditioned = True
                report["against_conditioned"] = bench.part(part)["differences"]
        report["minutes"] = round((time.monotonic() - began) / 60, 2)
        write(o.out / f"edm_{part}.json", report)


if __name__ == "__main__":
    main()
