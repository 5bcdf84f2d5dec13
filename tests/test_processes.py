"""What every family of models owes: the laws of the process contract, one run per family.

A new family in `processes.registry.FAMILIES` is held to them without another line here; so is a
new head of edm.
"""

from dataclasses import fields
from functools import cache

import numpy as np
import pytest
import torch
from conftest import make_song, seeded
from safetensors.torch import load_file
from torch.utils.data import default_collate

from pomkit import (
    Chord,
    OptionError,
    Song,
    generate,
    inpaint,
    load_model,
    masks,
    render,
    save_model,
)
from pomkit.ladder.sound import USUAL_SCALE, MelScale, mel_of
from pomkit.networks.hdit import CONFIGS, HDiTConfig, Level
from pomkit.processes.contract import Model, Options, Process
from pomkit.processes.heads import HEADS
from pomkit.processes.registry import FAMILIES, family
from pomkit.processes.uncover import sample_cells
from pomkit.train import command_line
from pomkit.training import Trainer, TrainOptions, TrainSet, new_model

TOY = HDiTConfig(
    patch=(8, 16), levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32
)
WIDTH = 64


@pytest.fixture(autouse=True)
def toy_size(monkeypatch):
    monkeypatch.setitem(CONFIGS, "toy", TOY)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@cache
def tones_of(pixels: bytes, scale: MelScale) -> np.ndarray:
    """The spectrogram of a picture's plain tones, made once: float32 (bins, 4 width), read-only."""
    picture = np.frombuffer(pixels, np.uint8).reshape(128, -1, 3)
    mel = mel_of(picture, scale, sound="tones")
    mel.flags.writeable = False
    return mel


@pytest.fixture(autouse=True)
def plain_tones(monkeypatch):
    """Systems that learn from sound hear plain tones, for which no library is needed."""
    monkeypatch.setattr(
        "pomkit.ladder.recordings.mel_of",
        lambda picture, scale=USUAL_SCALE: tones_of(picture.tobytes(), scale).copy(),
    )


FORMS = [
    *sorted(set(FAMILIES) - {"edm"}),
    "cells local",
    "cells pairs",
    *(f"edm {head}" for head in HEADS),
]


@pytest.fixture(params=FORMS)
def process(request) -> str:
    """A family, a family and its head, or a family with a local head, or a pair head."""
    return request.param


def options(process: str, out="unused", **changes) -> TrainOptions:
    name, _, form = process.partition(" ")
    beside = {"": {}, "local": {"local_head": "on"}, "pairs": {"pairs": True}}
    chosen = {"head": form} if form in HEADS else beside[form]
    common = dict(model="toy", width=WIDTH, batch=4, steps=6, save_every=3, sample_every=100)
    small = dict(warmup=1, valid_windows=2, threads=1, lr=1e-2)
    return TrainOptions(process=name, out=str(out), **common | small | chosen | changes)


@pytest.fixture
def model(process) -> Model:
    torch.manual_seed(0)
    return new_model(options(process)).eval()


@pytest.fixture
def picture(rng) -> np.ndarray:
    return render(make_song(rng), 0, WIDTH)


def test_it_has_every_name_of_the_contract(model):
    owed = [name for name in vars(Process) if not name.startswith("_")]
    owed += list(Process.__annotations__)
    assert not [name for name in owed if not hasattr(model, name)]


def test_it_says_what_it_knows(process, model):
    known = {field.name for field in fields(Options)} - {"own", "generator", "start"}
    assert model.process == process.partition(" ")[0]
    assert model.methods
    assert all(calls > 0 for calls in model.methods.values())
    assert "calls" in model.options
    assert model.options & known


def region_of(model, picture) -> np.ndarray:
    """The first of some masks that a model answers."""
    if getattr(model, "answers", None) == {}:
        pytest.skip(f"{model.process} composes no notes")
    for mask in (
        masks.box(picture, (50, 80), (10, 40)),
        masks.bars(picture, 2, 3),
        masks.continuation(picture, 32),
        masks.everything(picture),
    ):
        try:
            model.check_mask(mask)
        except OptionError:
            continue
        return mask
    pytest.fail(f"{model.process} answers none of these masks")


def test_outside_the_mask_nothing_changes(model, picture):
    mask = region_of(model, picture)
    out = inpaint(model, picture, mask, calls=2, seed=0, n=2)
    assert out.shape == (2, *picture.shape)
    assert out.dtype == np.uint8
    assert (out[:, ~mask] == picture[~mask]).all()


def test_it_says_how_likely_cells_are_or_that_it_does_not_know(model, picture):
    hidden = masks.box(picture, (50, 80), (10, 40))
    asked = Options(method=next(iter(model.methods)), calls=1, generator=seeded())
    try:
        bits = model.surprise(picture, hidden, asked)
    except OptionError:
        assert not model.learns_rows
        return
    assert bits.shape == (3, *hidden.shape)
    assert (0.5 ** bits[:, hidden]).sum(0) == pytest.approx(1, abs=1e-4)


def test_the_same_seed_gives_the_same_music(model, picture):
    mask = region_of(model, picture)
    first = inpaint(model, picture, mask, calls=2)
    again = inpaint(model, picture, mask, calls=2, seed=first.seed)
    assert np.array_equal(first, again)


def test_an_empty_mask_returns_the_input(model, picture):
    out = inpaint(model, picture, np.zeros(picture.shape[:2], bool), seed=0)
    assert np.array_equal(out[0], picture)


def test_every_method_composes(model, picture):
    mask = region_of(model, picture)
    for method in model.methods:
        out = inpaint(model, picture, mask, method=method, calls=2, seed=0)
        assert (out[0][~mask] == picture[~mask]).all()


def test_what_lies_under_the_mask_is_not_looked_at(model):
    """Two songs that differ under the mask alone, with no note across its edge."""
    outside = [(4, 4, 60, 80, 0), (52, 4, 64, 80, 0)]
    inside = [(20, 4, 67, 80, 0), (28, 2, 72, 90, 0)]
    full, empty = (render(Song(notes), 0, WIDTH) for notes in (outside + inside, outside))
    mask = region_of(model, full) | masks.bars(full, 2, 3)
    one, other = (inpaint(model, each, mask, calls=2, seed=3) for each in (full, empty))
    assert np.array_equal(one, other)


def test_every_call_is_told(model, picture):
    """With a picture of the state, which keeps what is known."""
    events = []
    mask = region_of(model, picture)
    inpaint(model, picture, mask, calls=2, seed=0, callback=events.append)
    assert events
    assert [event["i"] for event in events] == list(range(events[-1]["n"]))
    assert (events[0]["preview"]()[0][~mask] == picture[~mask]).all()


@pytest.fixture
def trained_process(process) -> str:
    if not family(process.partition(" ")[0]).trains:
        pytest.skip(f"{process} does not learn")
    return process


def test_one_window_can_be_learned(trained_process, tmp_path):
    process = trained_process
    trainer = Trainer(options(process, tmp_path, sigma_data=0.15), progress=False)
    items = TrainSet(trainer.windows, trainer.model, 4, trainer.options)
    # Twice the same window, for what has a mean and a spread over a batch.
    batch = default_collate([items[0]] * 2)
    trainer.model.train()
    losses = [trainer._train_step(batch) for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_a_run_draws_windows_and_keeps_what_is_known_of_them(
    trained_process, tmp_path, monkeypatch
):
    """Of a family that composes no notes there is nothing to draw."""
    drawn = []
    monkeypatch.setattr("pomkit.training.trainer.WINDOWS_DRAWN", 1)
    monkeypatch.setattr("pomkit.play.plot.save_pairs", lambda *arguments: drawn.append(arguments))
    trainer = Trainer(options(trained_process, tmp_path), progress=False)
    trainer._draw()
    assert len(drawn) == (getattr(trainer.model, "answers", None) != {})
    for path, ((before, after),), mask in drawn:
        assert path == tmp_path / "samples_0000000.png"
        assert mask.any()
        assert (before[~mask] == after[~mask]).all()


def test_a_run_resumes_to_the_same_weights(trained_process, tmp_path, undrawn):
    process = trained_process
    whole = Trainer(options(process, tmp_path / "whole"), progress=False).run()
    half = Trainer(options(process, tmp_path / "parts"), progress=False)
    stop_after(half, 3)
    parts = Trainer(options(process, tmp_path / "parts"), resume=True, progress=False).run()
    one = load_file(whole)
    other = load_file(parts)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def stop_after(trainer: Trainer, step: int) -> None:
    """Run a training that is killed right after it saved at a step."""
    save = trainer._save

    def save_and_stop() -> None:
        save()
        if trainer.step == step:
            raise KeyboardInterrupt

    trainer._save = save_and_stop
    with pytest.raises(KeyboardInterrupt):
        trainer.run()


def test_it_is_saved_and_loaded(process, model, picture, tmp_path):
    again = load_model(save_model(tmp_path / "model", model, {"data": "none"}), "cpu")
    mask = region_of(model, picture)
    assert type(again) is type(model)
    assert again.spec() == model.spec()
    assert again.card == {"data": "none"}
    one, other = (inpaint(each, picture, mask, calls=2, seed=1) for each in (model, again))
    assert np.array_equal(one, other)


def test_an_option_that_it_does_not_know_is_one_clear_error(model, picture):
    mask = region_of(model, picture)
    with pytest.raises(OptionError, match=f"no option of {model.process} models; leave it out"):
        inpaint(model, picture, mask, no_such_option=1)


def test_a_family_that_does_not_learn_says_so(monkeypatch, tmp_path):
    class Silence(Model):
        process = "silence"
        options = frozenset({"calls", "method"})
        methods = {"fill": 1}
        trains = False

        def compose(self, canvas, region, options, report):
            return [(np.where(region[..., None], 0, each), 0) for each in canvas]

        def check_mask(self, mask):
            if not mask.all(axis=1).any():
                raise OptionError("silence fills whole rows; mask all columns of some rows")

        @classmethod
        def from_options(cls, options):
            return cls(torch.nn.Linear(1, 1), options.width)

    monkeypatch.setitem(FAMILIES, "silence", Silence)
    with pytest.raises(OptionError, match="silence models do not learn"):
        Trainer(options("silence", tmp_path), progress=False)
    silence = new_model(options("silence"))
    picture = np.zeros((128, WIDTH, 3), np.uint8)
    with pytest.raises(OptionError, match="whole rows"):
        inpaint(silence, picture, masks.bars(picture, 1))
    assert silence.spec() == {"process": "silence", "width": WIDTH, "steps_per_beat": 4}


def test_options_are_given_by_name(model, picture):
    mask = region_of(model, picture)
    with pytest.raises(OptionError, match=r"inpaint\(model, picture, mask, n=4, seed=1\)"):
        inpaint(model, picture, mask, 4)
    with pytest.raises(OptionError, match="two names"):
        inpaint(model, picture, mask, calls=2, steps=2)
    named = inpaint(model, picture, mask, steps=2, seed=1)
    assert np.array_equal(named, inpaint(model, picture, mask, calls=2, seed=1))


def test_an_unknown_family_is_one_clear_error():
    with pytest.raises(OptionError, match="process 'gan' is unknown; choose one of cells, edm"):
        family("gan")


def test_a_family_of_ones_own_needs_one_line(monkeypatch, picture):
    """Copies a random column of the surroundings into every masked one: no network, no training."""

    class Copies(Model):
        process = "copies"
        options = frozenset({"calls", "method", "loudness"})
        methods = {"copy": 1}

        def compose(self, canvas, region, options, report):
            rng = np.random.default_rng(options.generator.initial_seed())
            column = rng.integers(canvas.shape[2])
            copied = np.repeat(canvas[:, :, column : column + 1], canvas.shape[2], axis=2)
            loud = copied // 2 * options.own.get("loudness", 2)
            return [(np.where(region[..., None], each, 0), 0) for each in loud]

    monkeypatch.setitem(FAMILIES, "copies", Copies)
    model = family("copies")(torch.nn.Linear(1, 1), WIDTH)
    mask = masks.bars(picture, 2, 3)
    out = inpaint(model, picture, mask, seed=1)
    assert (out[0][~mask] == picture[~mask]).all()
    assert (inpaint(model, picture, mask, seed=1, loudness=0)[0][mask] == 0).all()
    with pytest.raises(OptionError, match="temperature is no option of copies models"):
        inpaint(model, picture, mask, temperature=0.5)
    assert np.array_equal(inpaint(model, picture, mask, seed=1, temperature=1), out)


# Faults that were found


def mirrored(array: np.ndarray) -> np.ndarray:
    """The same values, which stand in memory from right to left."""
    return array[:, ::-1].copy()[:, ::-1]


def read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize("lay", [np.asfortranarray, mirrored, read_only])
def test_how_picture_and_mask_lie_in_memory_never_counts(model, picture, lay):
    mask = region_of(model, picture)
    mask |= masks.chords(picture) & mask.any(axis=0)
    given = mask.copy()
    for asked in ({}, {"chords": [Chord(0, WIDTH, "C:maj")]}, {"bars": [5, 21, 37]}):
        laid = lay(picture), lay(mask)
        out = inpaint(model, *laid, calls=2, seed=0, **asked)
        assert np.array_equal(out, inpaint(model, picture, mask, calls=2, seed=0, **asked))
        assert np.array_equal(laid[0], picture)
        assert np.array_equal(laid[1], given)


def test_generate_takes_how_many_by_position(model):
    region_of(model, np.zeros((128, WIDTH, 3), np.uint8))
    out = generate(model, WIDTH, 2, calls=2, seed=1)
    assert out.shape == (2, 128, WIDTH, 3)
    assert np.array_equal(out, generate(model, width=WIDTH, n=2, steps=2, seed=1))


def test_cells_are_sampled_in_as_many_steps_as_calls():
    """`steps` was the name in version 0.1.0; without one of both there are 8."""
    cells = torch.zeros(1, 4, 8, dtype=torch.int64)
    chords = torch.zeros(1, 3, 4, 8)
    mask = torch.ones(4, 8, dtype=torch.bool)

    def calls_of(**options) -> int:
        calls = []

        def network(cells, chords, t):
            calls.append(t)
            return torch.zeros(len(cells), 3, 4, 8)

        sample_cells(network, cells, chords, mask, 3, generator=seeded(), **options)
        return len(calls)

    assert calls_of(steps=5) == 5
    with pytest.raises(OptionError, match="two names"):
        calls_of(steps=5, calls=4)
    with pytest.raises(OptionError, match="at least 1"):
        calls_of(calls=0)
    assert calls_of(calls=5) == 5
    assert calls_of() == 8


@pytest.mark.parametrize("name", ["--density", "--sigma-density"])
def test_the_density_of_sigma_has_its_older_name_on_the_command_line(name):
    assert command_line().parse_args([name, "loguniform"]).sigma_density == "loguniform"
    assert command_line().parse_args([]).sigma_density == TrainOptions().sigma_density
