"""Which parametrisation, loss weight and density of noise levels lets edm learn fastest.

    python tests/benchmarks/edm_trials.py [names of trials] [--data pop909.tar.xz]
        [--out runs/edm-trials] [--steps 250]
    python tests/benchmarks/edm_trials.py --samplers --windows 24
        [--checkpoint assets/models/tiny-edm-pixels.safetensors]

Short trainings, one table. Every trial sees the same windows, masks and seeds. Results are kept in
OUT/trials.json, and a trial that stands there is not done again. Trials whose name begins with
"on " go on from a trained checkpoint (--checkpoint), "as shipped" is that checkpoint itself, and
the others begin anew.

What is compared: a value scale a and a shift b (x = a (pixel - b)) with a noise level sigma show
the network what plain pixels in [-1, 1] show it with sigma / a. So a scale is nothing but another
sigma_data and another density; only the shift, sigma_data, the density and the weight are tried.

All are scored on pixels in [-1, 1] at fixed noise levels s, from nearly clean to nearly pure noise.
The score is the mean square error of the denoised notes of the region, on validation windows, with
EMA weights. Beside it stand:

- "pixels", the best denoiser that takes every pixel for itself: the mean of the pixel values,
  weighted by how well each explains the noisy one. It knows how rare notes are and nothing of
  music.
- "black".

One number for all levels is the bits a pixel by which the denoiser explains the region better than
"pixels" does: the integral of (mse_pixels - mse) / s^2 over ln s.

Source: the identity between information and denoising (Guo, Shamai, Verdu 2005, equation 1; Kong,
Brekelmans, Ver Steeg 2023, arXiv 2302.03792).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from three_readers import find_archive
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from pomkit import data, load_model, masks, render
from pomkit.files import write_atomically
from pomkit.judge.clips import read_clips
from pomkit.judge.likeness import compare
from pomkit.judge.metrics import adherence
from pomkit.judge.tasks import held_out
from pomkit.networks.hdit import CONFIGS, HDiT, HDiTConfig
from pomkit.processes.densities import sample_sigma
from pomkit.processes.edm import Denoiser, clean, denoising_loss, scalings, to_picture, to_pixels
from pomkit.processes.samplers import repaint, sample_dpmpp_2m_sde
from pomkit.processes.schedules import karras_sigmas
from pomkit.train import VALID_SEED

# Standard deviation of the noise on pixels in [-1, 1]: .05 to 25.6.
LEVELS = 0.05 * 2.0 ** np.arange(10)
BASE, HIGHER, PAPER = "lognormal:-0.6,1.3", "lognormal:0.2,1.3", "cosine-interpolated"


@dataclass(frozen=True)
class Trial:
    """What is tried.

    `centre` is the pixel value that the network meets as 0; `sigma_data` and `density` are those of
    pixels in [-1, 1].
    """

    centre: float = 0.0
    sigma_data: float = 0.5
    weighting: str = "unit"
    density: str = BASE
    self_conditioned: bool = False
    seed: int = 0
    model: str = "tiny-edm"


MEASURED = 0.15  # rms of the region's notes about black: see `statistics`
BLACK = Trial(centre=-1, sigma_data=MEASURED)
# fmt: off
TRIALS = {
    "base": Trial(),
    "base, another seed": Trial(seed=1),
    "black = 0": Trial(centre=-1),
    "black = 0, sigma_data .15": BLACK,
    "black = 0, sigma_data .05": replace(BLACK, sigma_data=0.05),
    "black = 0, sigma_data .15, higher noise": replace(BLACK, density=HIGHER),
    "black = 0, sigma_data .15, patch 2 x 32": replace(BLACK, model="tiny"),
    "black = 0, sigma_data .15, self-conditioning": replace(BLACK, self_conditioned=True),
    "black = 0, sigma_data .15, soft-min-snr": replace(BLACK, weighting="soft-min-snr"),
    "black = 0, sigma_data .15, paper's density": replace(BLACK, density=PAPER),
    "higher noise": Trial(density=HIGHER),
    "soft-min-snr": Trial(weighting="soft-min-snr"),
    "as shipped": Trial(),
    "on base": Trial(),
    "on higher noise": Trial(density=HIGHER),
    "on black = 0, sigma_data .15": BLACK,
    "on black = 0": Trial(centre=-1),
}
# fmt: on


def generator_for(seed: int, step: int) -> torch.Generator:
    """A generator that depends on (seed, step) alone."""
    state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


# Name, sampler, calls, lowest and highest level, rho: see `karras_sigmas`.
# fmt: off
SAMPLERS = [
    ("DPM++ 2M", "dpmpp_2m", 20, 0.01, 80, 7), ("DPM++ 2M", "dpmpp_2m", 20, 0.03, 20, 7),
    ("DPM++ 2M", "dpmpp_2m", 20, 0.05, 10, 7),
    ("2M SDE", "dpmpp_2m_sde", 20, 0.01, 80, 7), ("2M SDE", "dpmpp_2m_sde", 20, 0.05, 10, 7),
    ("2M SDE", "dpmpp_2m_sde", 20, 0.01, 80, 3), ("2M SDE", "dpmpp_2m_sde", 40, 0.01, 80, 7),
    ("2M SDE, eta .5", partial(sample_dpmpp_2m_sde, eta=0.5), 20, 0.01, 80, 7),
    ("2M SDE, eta .5", partial(sample_dpmpp_2m_sde, eta=0.5), 20, 0.01, 80, 3),
]
# fmt: on


class Shifted(nn.Module):
    """A denoiser of pixels around one of shifted pixels.

    With self-conditioning it also sees its last guess (arXiv 2208.04202).
    """

    def __init__(self, config: HDiTConfig, trial: Trial) -> None:
        super().__init__()
        self.trial = trial
        self.sigma_data = trial.sigma_data
        own = config.to_dict() | {"in_channels": 7, "mapping_cond_dim": 2}
        network = HDiT(HDiTConfig.from_dict(own))
        self.inner = Denoiser(network, trial.sigma_data, conditioned=True)
        if trial.self_conditioned:
            self.inner.network = HDiT(HDiTConfig.from_dict(own | {"in_channels": 10}))

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        known: Tensor,
        mask: Tensor,
        density: Tensor,
        guess: Tensor | None = None,
    ) -> Tensor:
        b = self.trial.centre
        if not self.trial.self_conditioned:
            return self.inner(x - b, sigma, known=known - b, mask=mask, density=density) + b
        c_skip, c_out, c_in = scalings(sigma.reshape(-1, 1, 1, 1), self.sigma_data)
        shown, given = (known - b).masked_fill(mask, 0), ~density.isnan()
        guess = torch.zeros_like(x) if guess is None else guess - b
        wish = torch.stack((torch.where(given, density, 0).log1p() / 3, given), 1).to(x)
        out = self.inner.network(
            torch.cat((c_in * (x - b), shown, mask.to(x), guess), 1), sigma.log() / 4, wish
        )
        return c_skip * (x - b) + c_out * out + b


class Batches(Dataset):
    """Windows as tensors: pixels, the region trained on, its part that holds notes, the density."""

    def __init__(self, windows: data.Windows, amount: int) -> None:
        self.windows, self.amount = windows, amount

    def __len__(self) -> int:
        return self.amount

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture, mask, density, *_ = self.windows[index]
        return {
            "x0": to_pixels(picture),
            "mask": mask[None],
            "notes": (mask & masks.everything(picture))[None],
            "density": np.float32(density),
        }


def train(
    trial: Trial, windows: data.Windows, steps: int, batch: int, start: Path | None
) -> tuple[nn.Module, float]:
    """The EMA weights after a short training, and seconds a step.

    As `pomkit.train` does it: AdamW, warm-up, cool-down, clip, bf16.
    """
    torch.manual_seed(trial.seed)
    model = Shifted(CONFIGS[trial.model], trial)
    lr = 5e-4 if start else 1e-3
    if start:
        model.inner.load_state_dict({k: v.float() for k, v in load_file(start).items()})
    ema = deepcopy(model).eval()
    optimizer = torch.optim.AdamW(model.inner.network.param_groups(1e-3), lr=lr, betas=(0.9, 0.95))
    started = time.monotonic()
    for step, b in enumerate(DataLoader(Batches(windows, steps * batch), batch)):
        generator = generator_for(trial.seed, step)
        sigma = sample_sigma(trial.density, batch, generator)
        noise = torch.randn(b["x0"].shape, generator=generator)
        b["density"][torch.rand(batch, generator=generator) < 0.5] = torch.nan
        conditions = {"known": b["x0"], "mask": b["mask"], "density": b["density"]}
        warm = min(1, (step + 1) / 20)
        cool = min(1, (steps - step) / (0.4 * steps))
        for group in optimizer.param_groups:
            group["lr"] = lr * warm * cool * group["lr_scale"]
        with torch.autocast("cpu", torch.bfloat16):
            if trial.self_conditioned and step % 2:
                noisy = b["x0"] + sigma.reshape(-1, 1, 1, 1) * noise
                with torch.no_grad():
                    conditions["guess"] = model(noisy, sigma, **conditions).float()
            losses = denoising_loss(
                model, b["x0"], noise, sigma, trial.weighting, b["mask"], **conditions
            )
        losses.mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        decay = min(0.9999, 1 - (1 + step) ** -0.75)
        averages = list(ema.state_dict().values())
        torch._foreach_lerp_(averages, list(model.state_dict().values()), 1 - decay)
    return ema, (time.monotonic() - started) / max(steps, 1)


class Posterior:
    """The best denoiser that looks at each pixel alone.

    It is E[pixel | noisy pixel] for the values seen in training, by channel.
    """

    def __init__(self, windows: data.Windows, amount: int = 256) -> None:
        seen = np.concatenate([windows[i].picture[8:120].reshape(-1, 3) for i in range(amount)])
        self.share = [np.bincount(channel, minlength=256) / len(seen) for channel in seen.T]

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        values = np.arange(256) / 127.5 - 1
        grid = np.linspace(-1 - 6 * sigma, 1 + 6 * sigma, 4001)
        likelihood = -((grid[:, None] - values) ** 2) / (2 * sigma**2)
        likelihood = np.exp(likelihood - likelihood.max(1, keepdims=True))
        channels = []
        for c, p in enumerate(self.share):
            table = (likelihood * p) @ values / np.maximum(likelihood @ p, 1e-300)
            channels.append(np.interp(x[:, c], grid, table))
        return torch.from_numpy(np.stack(channels, 1)).float()


@torch.inference_mode()
def errors(denoise: Any, windows: data.Windows, amount: int) -> list[float]:
    """Mean square error of the region's notes at each of LEVELS.

    Over the first `amount` windows, with fixed noise.
    """
    found = []
    for i, s in enumerate(LEVELS.tolist()):
        total = size = 0.0
        for number, b in enumerate(DataLoader(Batches(windows, amount), 16)):
            noise = torch.randn(b["x0"].shape, generator=generator_for(VALID_SEED + i, number))
            error = (denoise(b["x0"] + s * noise, s, b) - b["x0"]).square() * b["notes"]
            total += float(error.sum())
            size += 3 * float(b["notes"].sum())
        found.append(total / size)
    return found


def by(model: nn.Module, trial: Trial) -> Any:
    def denoise(x: Tensor, s: float, b: dict[str, Tensor]) -> Tensor:
        conditions = {
            "known": b["x0"],
            "mask": b["mask"],
            "density": torch.full((len(x),), torch.nan),
        }
        sigma = torch.full((len(x),), s)
        with torch.autocast("cpu", torch.bfloat16):
            if trial.self_conditioned:
                conditions["guess"] = model(x, sigma, **conditions).float()
            return model(x, sigma, **conditions).float()

    return denoise


def gained(mse: list[float], pixels: list[float]) -> float:
    """Bits a pixel (three channels) explained beyond what each pixel tells alone.

    Over the range of LEVELS.
    """
    rate = (np.array(pixels) - mse) / LEVELS**2
    spacing = math.log(2)  # of ln s: the levels double
    return float(3 * (rate.sum() - (rate[0] + rate[-1]) / 2) * spacing / math.log(2))


def statistics(windows: data.Windows, amount: int = 256) -> dict[str, float]:
    """Mean, standard deviation and rms about black of pixels in [-1, 1].

    Of whole pictures, and of the notes of the regions.
    """
    drawn = [windows[i] for i in range(amount)]
    whole = np.stack([w.picture for w in drawn])
    regions = [w.picture[w.mask & masks.everything(w.picture)] for w in drawn]
    sets = {
        "whole pictures": whole / 127.5 - 1,
        "notes of the region": np.concatenate(regions) / 127.5 - 1,
    }
    measures = {
        "mean": np.mean,
        "std": np.std,
        "rms about black": lambda x: np.sqrt(((x + 1) ** 2).mean()),
        "pixels lit": lambda x: (x > -1).any(-1).mean(),
    }
    found = {}
    for name, x in sets.items():
        for kind, measure in measures.items():
            found[f"{name}: {kind}"] = round(float(measure(x)), 4)
    return found


def table(results: dict[str, Any]) -> str:
    """Markdown: each trial's error at each level, and the bits gained.

    An error is given as a share of the error of "pixels".
    """
    pixels = results["pixels"]["mse"]
    levels = [f"{s:.3g}" for s in LEVELS]
    rows = [["trial", "steps", *levels, "bits a pixel gained"]]
    rows.append(["---"] * len(rows[0]))
    for name, r in results.items():
        if "mse" in r:
            shares = [f"{m / p:.3f}" for m, p in zip(r["mse"], pixels, strict=True)]
            bits = f"{gained(r['mse'], pixels):.4f}"
            rows.append([name, str(r.get("steps", "")), *shares, bits])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", "mse of pixels: " + ", ".join(f"{p:.2e}" for p in pixels)])


def samplers(checkpoint: Path, songs: Any, amount: int) -> None:
    """Print what samplers and ranges of levels make of a model.

    The middle 8 of 16 bars are hidden, chords are known; bf16, seed 0.
    """
    model = load_model(checkpoint)
    mask = masks.bars(256, 5, 12)
    chosen, starts, real = zip(*held_out(songs, 256, amount), strict=True)
    x0 = to_pixels(np.stack(real))
    region = torch.from_numpy(mask).expand(amount, 1, -1, -1)
    print(
        "| sampler, levels | calls | onsets / real | in scale | on 8th grid | chord accuracy "
        "| overlapping area |"
    )
    print("|---" * 7 + "|")
    for name, sampler, steps, low, high, rho in SAMPLERS:
        sigmas = karras_sigmas(steps, low, high, rho)
        denoiser = partial(model, known=x0, mask=region)
        options = {"sampler": sampler, "generator": torch.Generator().manual_seed(0)}
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            x = repaint(denoiser, x0, region, sigmas, **options).float()
        made = [clean(picture, mask)[0] for picture in to_picture(torch.where(region, x, x0))]

        found = []
        for before, after, song, start in zip(real, made, chosen, starts, strict=True):
            found.append(adherence(before, mask, after, render(song), start))
        onsets = np.array([f.onsets for f in found])
        scale = np.nansum([f.in_scale * f.onsets for f in found]) / onsets.sum()
        grid = np.nansum([f.on_grid * f.onsets for f in found]) / onsets.sum()
        area = compare(read_clips(made, mask), read_clips(real, mask))["mean"][0]
        density = onsets.sum() / sum(f.onsets_before for f in found)
        chords = np.nanmean([f.chord_accuracy for f in found])
        values = " | ".join(f"{v:.3f}" for v in (density, scale, grid, chords, area))
        print(f"| {name}, {high}-{low}, rho {rho} | {steps} | {values} |", flush=True)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("names", nargs="*", help="trials to run, of: " + "; ".join(TRIALS))
    p.add_argument("--data", type=Path)
    p.add_argument("--out", type=Path, default=Path("runs/edm-trials"))
    p.add_argument("--steps", type=int, default=250)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument(
        "--checkpoint",
        type=Path,
        default=Path("runs/tiny-edm/model.safetensors"),
        help='where "on" trials begin',
    )
    p.add_argument("--windows", type=int, default=48, help="validation windows")
    p.add_argument(
        "--samplers", action="store_true", help="compare samplers on the checkpoint instead"
    )
    a = p.parse_args()
    path = a.out / "trials.json"
    results = json.loads(path.read_text()) if path.exists() else {}

    def keep(name: str, result: dict[str, Any]) -> None:
        results[name] = result
        with write_atomically(path) as file:
            file.write(json.dumps(results, indent=1).encode())
        print(name, json.dumps(result), flush=True)

    corpus = data.read_corpus(find_archive(a.data))
    if a.samplers:
        return samplers(a.checkpoint, corpus.split("valid").songs, a.windows)
    windows = data.Windows(corpus.split("train").songs, 256)
    valid = data.Windows(corpus.split("valid").songs, 256, semitones=(0, 0), seed=VALID_SEED)
    if "statistics" not in results:
        keep("statistics", statistics(windows))
    if "pixels" not in results:
        alone = Posterior(windows)
        keep("pixels", {"mse": errors(lambda x, s, b: alone(x, s), valid, a.windows)})
        keep("black", {"mse": errors(lambda x, s, b: torch.full_like(x, -1), valid, a.windows)})
    for name in a.names or TRIALS:
        if name in results:
            continue
        trial = TRIALS[name]
        start = a.checkpoint if name.startswith(("on ", "as ")) else None
        steps = 0 if name.startswith("as ") else a.steps
        model, seconds = train(trial, windows, steps, a.batch, start)
        result = {"trial": asdict(trial), "steps": steps, "batch": a.batch, "seconds": seconds}
        keep(name, result | {"mse": errors(by(model, trial), valid, a.windows)})
    print(table(results))


if __name__ == "__main__":
    main()
