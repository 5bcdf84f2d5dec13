"""What a training run is made of: every field is an option of the command line.

TrainOptions(data="songs/", out="runs/mine", steps=2000)
"""

import json
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..data.mask_mix import MASK_MIX
from ..networks.hdit import CONFIGS
from ..processes.checkpoint import load_model, spec_of
from ..processes.registry import FAMILIES, family


def option(default: Any, text: str) -> Any:
    """A field of TrainOptions: its default and its help."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainOptions:
    """What a training run is made of; the help of each field says what it means.

    The fields that begin with "edm" in their help are of that process alone, and with "edm, pixels"
    of its head `pixels`. With `process="edm"`, a cells model as `init` begins the cells head with
    its weights. A process of one's own takes its options from `own`, a dict.
    """

    data: str = option(
        "", "corpus: a folder, glob, archive, pop909, or several: A,B (default: the shipped songs)"
    )
    mix: str = option("", "shares of several corpora, like 2:1 (default: all alike)")
    out: str = option("runs/tiny", "run folder: state, model, loss plot, sample pictures")
    process: str = option("cells", f"what the model learns: {', '.join(FAMILIES)}")
    model: str = option("tiny", f"network size: {', '.join(CONFIGS)}")
    head: str = option("cells", "edm: what the network says: cells (which one a pixel is), pixels")
    local_head: str = option("auto", "rules of single pixels: on, off; auto: on for edm's cells")
    bar_position: bool = option(False, "the network is told where in its bar a column is (cells)")
    memory: bool = option(False, "the network is shown the song's bars most like each bar (cells)")
    pairs: bool = option(False, "notes hear each other across pitch and time: a pair head (cells)")
    hidden_power: float = option(
        1.0, "the hidden share is 1 - u^POWER, u uniform: above 1, nearly all more often (cells)"
    )
    init: str = option("", "fine-tune this checkpoint, by name or path; its process and width hold")
    width: int = option(256, "steps (16ths) of a window")
    steps: int = option(10000, "optimiser steps in all")
    minutes: float = option(
        0.0, "end after so many minutes of CPU time instead, all threads together (0: never)"
    )
    batch: int = option(16, "windows of one step, on each device")
    lr: float = option(1e-3, "AdamW learning rate (the paper: 5e-4)")
    warmup: int = option(200, "steps of linear warm-up")
    cooldown: float = option(0.2, "share of the run, at the end, in which the rate falls to 0")
    sigma_density: str = option("auto", "edm: density of sigma, KIND[:a,b]; auto: the head's own")
    whole_rows: bool = option(False, "learn whole rows: every sustain follows a note (not pixels)")
    weighting: str = option("unit", "edm, pixels: loss weight: unit, soft-min-snr, edm, snr")
    sigma_data: float = option(0.5, "edm, pixels: spread of the pixels about `centre`")
    centre: float = option(-1.0, "edm, pixels: the pixel that is 0 to the network; black is -1")
    conditioned: bool = option(True, "edm, pixels: known pixels and mask as input channels")
    seed: int = option(0, "seed of everything random")
    precision: str = option("auto", "no, bf16, fp16; auto: bf16 on a GPU that has it, else no")
    threads: int = option(0, "CPU threads (0: all)")
    compile: bool = option(False, "torch.compile the network: for a GPU and long runs")
    loaders: int = option(0, "processes that draw windows (0: the training process)")
    save_every: int = option(500, "steps between saved states")
    sample_every: int = option(2000, "steps between sample pictures")
    valid_windows: int = option(64, "validation windows of one measurement")
    mask_mix: dict[str, float] = field(
        default_factory=dict,
        metadata={"help": f"how often which mask, as JSON (default: {json.dumps(MASK_MIX)})"},
    )
    own: dict[str, Any] = field(
        default_factory=dict, metadata={"help": "options of your own process, as JSON"}
    )


def with_init(options: TrainOptions) -> TrainOptions:
    """The options of a run that fine-tunes: what the architecture it begins with says holds."""
    if not options.init:
        return options
    spec = spec_of(family(options.process).begin_with(load_model(options.init), options))
    known = {each.name for each in fields(TrainOptions)}
    return replace(options, **{name: spec[name] for name in spec.keys() & known})
