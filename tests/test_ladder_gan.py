"""Laws of the adversarial networks, of the tracks that they learn, of how they answer a mask."""

import math

import numpy as np
import pytest
import torch
from conftest import make_song, seeded
from torch import nn
from torch.utils.data import default_collate

from pomkit import Chord, OptionError, Song, inpaint, masks, render
from pomkit.data import Windows
from pomkit.ladder.gan import (
    CLIPPED_TO,
    BarGenerator,
    Midinet,
    ModulatedConv,
    Musegan,
    StyledGenerator,
    TrackGenerator,
    Wgan,
    chord_vector,
    critic_loss,
    generator_loss,
    gradient_penalty,
    line_cells,
    line_shares,
    merged,
    searched,
    shares,
)
from pomkit.ladder.system import ROWS, window_cells
from pomkit.ladder.tracks import (
    TRACKS,
    cells_of_notes,
    chroma_by_beat,
    prolonged,
    skyline_cells,
    tonal_centroid,
    tonal_distance,
    track_cells,
    track_numbers,
)
from pomkit.music.palette import paint_chords
from pomkit.music.tables import notes_of
from pomkit.processes.states import chord_channels
from pomkit.training import Trainer, TrainOptions, TrainSet

WIDTH = 64


def trainer(tmp_path, process: str, **own) -> Trainer:
    sizes = {"model": "toy", "width": WIDTH, "batch": 4, "steps": 10, "warmup": 1, "threads": 1}
    sizes["valid_windows"] = 4
    options = TrainOptions(process=process, out=str(tmp_path), own=own, **sizes)
    return Trainer(options, progress=False)


def batch_of(run: Trainer) -> dict[str, torch.Tensor]:
    items = TrainSet(run.windows, run.model, 4, run.options)
    return default_collate([items[i] for i in range(4)])


def lively(model):
    """An untrained model says nearly the same everywhere: make what it says differ."""
    for parameter in model.parameters():
        parameter.data *= 3
    return model.eval()


# The losses


@pytest.mark.parametrize("length", [0.0, 1.0, 3.0])
def test_the_penalty_of_a_linear_critic_is_known(length):
    """Its slope is its weights, whatever the windows are."""
    weights = torch.randn(3, 8, 8, generator=seeded())
    weights *= length / weights.norm()
    real, made = torch.randn(2, 5, 3, 8, 8, generator=seeded(1))
    penalty = gradient_penalty(
        lambda x: (x * weights).flatten(1).sum(1), real, made, torch.rand(5, generator=seeded())
    )
    assert torch.allclose(penalty, torch.full((5,), (length - 1) ** 2), atol=1e-5)


def test_the_penalty_teaches_the_critic_a_slope_of_one():
    critic = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))
    real, made, mix = torch.randn(8, 4), torch.randn(8, 4), torch.rand(8)
    adam = torch.optim.Adam(critic.parameters(), lr=0.05)
    for _ in range(150):
        adam.zero_grad()
        gradient_penalty(critic, real, made, mix).mean().backward()
        adam.step()
    assert critic[0].weight.norm().item() == pytest.approx(1, abs=0.02)


def test_the_losses_of_equal_scores():
    """A critic that cannot tell has the loss 2 log 2, or a distance of 0."""
    scores = torch.zeros(3)
    assert torch.allclose(critic_loss("ns", scores, scores), torch.full((3,), 2 * math.log(2)))
    assert not critic_loss("gp", scores, scores).any()
    better = critic_loss("clip", scores + 1, scores - 1)
    assert (better < critic_loss("clip", scores, scores)).all()
    for kind in ("ns", "gp"):
        assert (generator_loss(kind, scores + 1) < generator_loss(kind, scores)).all()


def test_a_label_below_one_keeps_the_critic_from_being_sure():
    """The best score of a real window is then finite: log(.9 / .1)."""
    scores = torch.linspace(-5, 15, 2001)
    loss = critic_loss("ns", scores, torch.full_like(scores, -50.0), 0.9)
    assert scores[loss.argmin()].item() == pytest.approx(math.log(9), abs=0.01)


# Training in turn


def snapshot(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.named_parameters()}


def changed(before: dict, model) -> set[str]:
    """Which parts of a model changed."""
    now = dict(model.named_parameters())
    return {name.split(".")[1] for name in before if not torch.equal(before[name], now[name])}


@pytest.mark.parametrize("process", ["wgan", "midinet", "musegan"])
def test_a_part_that_is_stepped_leaves_the_other_alone(process, tmp_path):
    run = trainer(tmp_path, process)
    batch = batch_of(run)
    for part in ("critic", "generator"):
        before = snapshot(run.model)
        run._step_part(batch, part)
        assert changed(before, run.model) == {part}


@pytest.mark.parametrize("loss, turns", [("ns", 10), ("clip", 2), ("gp", 2)])
def test_the_generator_waits_for_a_wasserstein_critic(loss, turns):
    model = Wgan("toy", loss=loss)
    assert sum("generator" in model.turns(step) for step in range(10)) == turns
    assert all(model.turns(step)[0] == "critic" for step in range(10))


def test_clipped_weights_stay_small_and_others_do_not(tmp_path):
    for loss in ("clip", "gp"):
        run = trainer(tmp_path / loss, "wgan", loss=loss)
        run._step_part(batch_of(run), "critic")
        largest = max(weight.abs().max() for weight in run.model.network.critic.parameters())
        assert (largest <= CLIPPED_TO) == (loss == "clip")


@pytest.mark.parametrize("loss", ["ns", "clip", "gp"])
@pytest.mark.parametrize("style", [False, True])
def test_every_form_of_wgan_learns_in_turn(loss, style, tmp_path):
    run = trainer(tmp_path, "wgan", loss=loss, style=style)
    before = snapshot(run.model)
    batch = batch_of(run)
    run.reached.step = 4
    assert np.isfinite(run._train_step(batch))
    assert changed(before, run.model) == {"critic", "generator"}
    assert np.isfinite(run.valid_loss())


@pytest.mark.parametrize("own", [{"loss": "mse"}, {"dilate": 0.5}, {"noise": 1}])
def test_unknown_options_are_refused(own):
    with pytest.raises(OptionError):
        Wgan("toy", **own)


# Networks


def test_demodulated_kernels_keep_the_variance(rng):
    layer = ModulatedConv(32, 16, style=8)
    style = 5 * torch.randn(4, 8, generator=seeded())
    lengths = layer.kernels(style).square().sum((2, 3, 4))
    assert torch.allclose(lengths, torch.ones_like(lengths), atol=1e-4)
    noise = torch.randn(4, 32, 64, 64, generator=seeded(1))
    with torch.no_grad():
        out = layer(noise, style)[..., 1:-1, 1:-1]
    assert out.var().item() == pytest.approx(1, rel=0.05)


def test_a_style_is_that_of_its_own_example():
    layer = ModulatedConv(3, 2, style=8)
    style = torch.randn(4, 8, generator=seeded())
    x = torch.randn(4, 3, 6, 6, generator=seeded(1))
    together = layer(x, style)
    alone = torch.cat([layer(x[i : i + 1], style[i : i + 1]) for i in range(4)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_length_of_latents_does_not_count_to_a_style():
    network = StyledGenerator(16, 2)
    z = torch.randn(2, 16, generator=seeded())
    assert torch.allclose(network(z), network(3 * z), atol=1e-5)


# MidiNet


def bars(seed: int, batch: int = 2) -> torch.Tensor:
    cells = torch.rand(batch, 64, 16, generator=seeded(seed)) < 0.1
    return shares(cells.long())


def test_the_bar_before_and_the_chord_change_the_bar():
    network = BarGenerator(8, 4)
    z = torch.randn(2, 8, generator=seeded())
    chord = torch.zeros(2, 13)
    bar = network(z, bars(1), chord)
    assert (bar - network(z, bars(2), chord)).abs().mean() > 1e-4
    assert (bar - network(z, bars(1), chord + 1)).abs().mean() > 1e-4
    assert torch.equal(bar, network(z, bars(1), chord))


def test_what_a_melody_does_at_each_step_is_its_cells():
    """Where it sounds and where a note begins, read off a song's bars, give these bars back."""
    notes = [(0, 6, 60, 80, 0), (6, 2, 64, 80, 0), (10, 12, 67, 80, 0), (22, 1, 67, 80, 0)]
    cells = torch.from_numpy(cells_of_notes(Song(notes).notes, 0, 32))[None]  # (1, 64, 32)
    before, bar = cells[..., :16], cells[..., 16:]
    assert bar[0, :, 0].max() == 1  # the third note is tied over the bar line

    sounds = torch.cat([(bar == 0).all(1, keepdim=True), bar > 0], dim=1)  # (1, 65, 16)
    begins = (bar == 2).any(1, keepdim=True)
    certain = 80.0 * torch.cat([begins, sounds], dim=1) - 40
    assert torch.equal(line_cells(certain, before), bar)
    assert torch.allclose(line_shares(certain), shares(bar))

    # After silence the tied note begins.
    alone = line_cells(certain, torch.zeros_like(before))
    assert torch.equal((alone == 2).sum(1)[0, :2], torch.tensor([1, 0]))
    assert torch.equal(alone > 0, bar > 0)


def test_a_melody_that_is_learned_has_one_voice_and_slopes():
    logits = torch.randn(2, 66, 16, generator=seeded(), dtype=torch.float64, requires_grad=True)
    made = line_shares(logits)
    assert made.shape == (2, 3, 64, 16)
    assert torch.isin(made.round(decimals=9), torch.tensor([0.0, 1.0])).all()
    assert torch.allclose(made.sum(1), torch.ones_like(made[:, 0]))
    assert (made[:, 1:].sum((1, 2)) <= 1 + 1e-9).all()

    # The slopes are those of the probabilities: all rows of a step learn.
    weight = torch.randn(64, generator=seeded(1), dtype=torch.float64)
    sounding = (made[:, 1:].sum(1) * weight[:, None]).sum()
    (slope,) = torch.autograd.grad(sounding, logits)
    p = (logits[:, 1:].softmax(1)[:, 1:] * weight[:, None]).sum()
    (expected,) = torch.autograd.grad(p, logits)
    assert torch.allclose(slope, expected)
    assert (slope[:, 2:] != 0).all()


@pytest.mark.parametrize("context", [False, True])
def test_the_critic_sees_the_bar_before_only_if_it_shall(context, tmp_path):
    run = trainer(tmp_path, "midinet", context=context)
    batch = run.model.bars_of(batch_of(run))
    others = batch | {"before": batch["before"].flip(0)}
    assert not torch.equal(batch["before"], others["before"])
    critic = run.model.network.critic
    same = torch.equal(critic(run.model.real(batch)), critic(run.model.real(others)))
    assert same != context


def test_a_melody_walks_from_bar_to_bar():
    """A bar hears the one before it, and nothing that comes later or is no melody."""
    torch.manual_seed(0)
    model = lively(Midinet("toy"))
    known = [(16, 4, 60, 80, 0), (20, 8, 64, 80, 0), (16, 4, 40, 80, 0)]
    picture = render(Song(known), 0, 128)
    mask = masks.continuation(picture, 32)
    # Nearly the likeliest choices: those of an untrained network hang on little but the noise.
    how = {"seed": 1, "temperature": 0.01}
    out = inpaint(model, picture, mask, **how)[0]

    other = render(Song([(16, 4, 60, 80, 0), (20, 8, 70, 80, 0)]), 0, 128)
    assert (inpaint(model, other, mask, **how)[0] != out)[:, 32:48].any()
    no_bass = render(Song(known[:2]), 0, 128)
    assert np.array_equal(inpaint(model, no_bass, mask, **how)[0][:, 32:], out[:, 32:])
    early = render(Song([*known, (0, 4, 67, 80, 0)]), 0, 128)
    assert np.array_equal(inpaint(model, early, mask, **how)[0][:, 32:], out[:, 32:])
    short = inpaint(model, picture[:, :64], mask[:, :64], **how)[0]
    assert np.array_equal(short[8:-8, :64], out[8:-8, :64])


def test_midinet_answers_what_it_can_and_says_so():
    model = Midinet("toy").eval()
    picture = np.zeros((128, WIDTH, 3), np.uint8)
    for mask in (masks.box(picture, (50, 60), (8, 20)), masks.bars(picture, 2, 2)):
        with pytest.raises(OptionError, match="from one column on to the end"):
            inpaint(model, picture, mask)


# MuseGAN


def test_merged_tracks_are_the_picture_of_independent_tracks():
    logits = torch.randn(1, 3, 3, 2, 2, generator=seeded(), dtype=torch.float64)
    p = logits.softmax(2)[0]  # (3 tracks, 3 states, 2, 2)
    expected = torch.zeros(3, 2, 2, dtype=torch.float64)
    for states in np.ndindex(3, 3, 3):
        expected[max(states)] += p[0, states[0]] * p[1, states[1]] * p[2, states[2]]
    assert torch.allclose(merged(logits)[0].exp(), expected)


def test_a_given_track_reaches_the_critic_as_it_is(tmp_path):
    run = trainer(tmp_path, "musegan")
    batch = batch_of(run)
    which = torch.zeros(4, 3)
    which[:2, 1] = 1
    batch["which"] = which
    made = run.model.made(batch).unflatten(1, (3, 3))
    real = run.model.real(batch).unflatten(1, (3, 3))
    assert torch.equal(made[:2, [0, 2]], real[:2, [0, 2]])
    assert not torch.equal(made[:2, 1], real[:2, 1])
    assert all((made[2:, track] != real[2:, track]).any() for track in range(3))


def test_a_track_is_composed_to_what_is_known_of_the_others():
    network = TrackGenerator(32, 4)
    z = torch.randn(1, 32, generator=seeded())
    which = torch.eye(3)[:1]
    given = torch.rand(1, 4, 64, 64, generator=seeded(1))
    assert (network(z, given, which) != network(z, 0 * given, which)).any()
    assert (network(z, given, which) != network(z, given, 0 * which)).any()


def test_musegan_takes_a_track_by_name():
    model = Musegan("toy").eval()
    picture = render(make_song(np.random.default_rng(0)), 0, WIDTH)
    mask = masks.box(picture, (50, 80), (10, 40))
    calls = []
    out = inpaint(model, picture, mask, track="MELODY", seed=0, callback=calls.append)
    assert (out[0][~mask] == picture[~mask]).all()
    assert len(calls) == 1
    with pytest.raises(OptionError, match="track 'DRUMS' is unknown"):
        inpaint(model, picture, mask, track="DRUMS")


# Latents


def test_the_search_lowers_the_error_and_leaves_the_known_cells_alone():
    torch.manual_seed(0)
    model = lively(Wgan("toy"))
    hidden = torch.zeros(64, 64, dtype=torch.bool)
    hidden[:, 32:] = True
    with torch.no_grad():
        logits = model.network(torch.randn(2, 64, generator=seeded(9)))
    cells = logits.argmax(1)
    z = torch.randn(2, 64, generator=seeded())

    def error(calls: int) -> float:
        told = []
        made = searched(
            model.network, cells, hidden, z, calls=calls, tell=lambda *a: told.append(a)
        )
        assert len(told) == calls
        assert all(torch.equal(now[0][:, ~hidden], cells[:, ~hidden]) for now in told)
        return (made != cells)[:, ~hidden].float().mean().item()

    assert error(60) < 0.7 * error(1)


def test_nothing_is_looked_for_where_nothing_is_known():
    model = Wgan("toy").eval()
    picture = np.zeros((128, WIDTH, 3), np.uint8)
    calls = []
    inpaint(model, picture, masks.everything(picture), seed=0, callback=calls.append)
    assert len(calls) == 1


# Tracks


@pytest.fixture(scope="module")
def window():
    return Windows([make_song(np.random.default_rng(3))], WIDTH, seed=1)[0]


def test_the_notes_of_a_window_are_those_of_its_picture(window):
    drawn = window_cells(window.picture)
    cells = cells_of_notes(notes_of(window.notes), window.start, WIDTH)
    assert ((drawn > 0) <= (cells > 0)).all()
    assert np.array_equal(drawn == 2, cells == 2)


def test_every_note_is_in_one_track(window):
    merged_tracks = track_cells(window).max(axis=0)
    assert (merged_tracks >= cells_of_notes(notes_of(window.notes), window.start, WIDTH)).all()
    assert track_numbers(notes_of(window.notes)[:0], ()).shape == (0,)


def test_tracks_go_by_the_names_of_parts():
    notes = Song([(0, 4, 72, 80, 1), (0, 4, 60, 80, 0), (4, 4, 84, 80, 2)]).notes
    numbers = track_numbers(notes, ("PIANO", "MELODY", "BRIDGE"))
    names = {int(n["pitch"]): TRACKS[i] for n, i in zip(notes, numbers, strict=True)}
    assert names == {72: "MELODY", 60: "PIANO", 84: "BRIDGE"}


def test_a_skyline_is_the_highest_notes_as_they_are():
    cells = np.zeros((1, 64, 8), np.int64)
    cells[0, 10, [0, 1]] = 2, 1
    cells[0, 20, [0, 1, 2]] = 2, 1, 1  # below, at the same time
    cells[0, 30, [2, 3]] = 2, 1
    kept = skyline_cells(cells)
    assert (kept[0, 20] == 0).all()
    assert np.array_equal(kept[0, [10, 30]], cells[0, [10, 30]])


@pytest.mark.parametrize(
    "steps, row",
    [
        (0, [2, 1, 1, 0, 0, 0, 2, 0]),
        (2, [2, 1, 1, 1, 1, 0, 2, 1]),
        (9, [2, 1, 1, 1, 1, 1, 2, 1]),
        (-1, [2, 1, 0, 0, 0, 0, 2, 0]),
        (-9, [2, 0, 0, 0, 0, 0, 2, 0]),
    ],
)
def test_notes_are_prolonged_and_shortened(steps, row):
    cells = np.array([2, 1, 1, 0, 0, 0, 2, 0])
    assert prolonged(cells, steps).tolist() == row


def chord(*pitches: int) -> np.ndarray:
    cells = np.zeros((64, 8), bool)
    cells[[95 - pitch for pitch in pitches]] = True
    return cells


def test_the_tonal_distance_knows_octaves_and_fifths():
    c_major = chord(48, 52, 55)
    assert tonal_distance(c_major, chord(72, 76, 79)) == pytest.approx(0)
    near = tonal_distance(c_major, chord(55, 59, 62))  # G major
    far = tonal_distance(c_major, chord(54, 58, 61))  # F sharp major
    assert near < far
    assert near == pytest.approx(tonal_distance(chord(55, 59, 62), c_major))
    assert math.isnan(tonal_distance(c_major, chord()))


def test_the_tonal_distance_does_not_change_when_music_is_transposed():
    one, other = chord(50, 53, 57), chord(60, 64, 69)
    before = tonal_distance(one, other)
    assert tonal_distance(np.roll(one, -5, 0), np.roll(other, -5, 0)) == pytest.approx(before)


def test_a_single_tone_lies_on_its_circles():
    centroid = tonal_centroid(np.eye(12))
    radii = np.hypot(centroid[:, ::2], centroid[:, 1::2])
    assert np.allclose(radii, [1, 1, 0.5])
    assert np.allclose(chroma_by_beat(chord(60))[0], 4 * np.eye(12)[0])


def test_the_rows_of_an_octave_are_those_of_the_chords():
    """The 13 numbers of a chord begin with C."""
    picture = np.zeros((128, 16, 3), np.uint8)
    paint_chords(picture, [Chord(0, 16, "C:maj")])
    channels = torch.from_numpy(chord_channels(picture)[:, ROWS])[None]
    assert chord_vector(channels)[0].nonzero()[:, 0].tolist() == [0, 4, 7, 12]
