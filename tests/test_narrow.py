"""Pictures that are narrower than what a model learned: composed at their own width."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_song
from torch import nn

from pomkit import inpaint, masks, render, rules
from pomkit.composing.region import lay_out
from pomkit.networks.attention import Attention, Level
from pomkit.networks.hdit import HDiT, HDiTConfig
from pomkit.processes.categorical import CategoricalDenoiser
from pomkit.processes.cells import Cells
from pomkit.processes.edm import Denoiser
from pomkit.processes.states import SUSTAIN
from pomkit.processes.steering import Steering
from pomkit.processes.uncover import Walk

ONSETS = 0.02  # of every hidden cell, by the network of these tests


class Even(nn.Module):
    """A network that says the same of every cell, so that what is expected can be counted."""

    multiple = (2, 256)
    grain = (2, 256)

    def __init__(self, grain=256):
        super().__init__()
        self.grain = (2, grain)
        self.bias = nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(
            in_channels=Cells.in_channels(4), out_channels=6, span=512, to_dict=dict
        )

    def forward(self, x, t):
        odds = x.new_full((len(x), 6, *x.shape[2:]), float(np.log(ONSETS / 4)))
        odds[:, SUSTAIN] = -20
        odds[:, 0] = float(np.log(1 - ONSETS))
        return odds


@pytest.fixture
def goals(monkeypatch):
    """The numbers of onsets that were aimed at, one a window."""
    heard = []
    ask = Walk.ask

    def spy(walk):
        first = walk.goal is None
        answer = ask(walk)
        if first:
            heard.append(float(walk.goal[0]))
        return answer

    monkeypatch.setattr(Walk, "ask", spy)
    return heard


@pytest.mark.parametrize("grain", [256, 64])
def test_a_narrow_picture_expects_as_many_onsets_alone_as_inside_a_window(rng, goals, grain):
    model = Cells(Even(grain), width=512).eval()
    wide = render(make_song(rng), 0, 512)
    mask = masks.everything(wide)
    mask[:, 128:] = False
    inpaint(model, wide[:, :128], mask[:, :128], calls=2, seed=1)
    inpaint(model, wide, mask, calls=2, seed=1)
    alone, inside = goals
    assert alone == pytest.approx(mask.sum() * ONSETS, rel=1e-3)
    assert inside == pytest.approx(alone, rel=1e-6)


def test_a_density_that_is_asked_for_is_that_of_the_picture(rng):
    model = Cells(Even(), width=512).eval()
    picture = render(make_song(rng), 0, 128)
    out = inpaint(model, picture, masks.everything(picture), density=10, n=4, seed=1)
    onsets = (out[:, 8:-8, :, 0] > 0).sum(axis=(1, 2))
    assert onsets.mean() == pytest.approx(10 * 128 / 16, rel=0.1)


@pytest.mark.parametrize(("width", "columns"), [(40, 64), (128, 128), (200, 256), (512, 512)])
def test_a_picture_is_composed_at_its_own_width(width, columns):
    model = Cells(Even(64), width=512)
    layout = lay_out(model, np.zeros((128, width, 3), np.uint8), masks.everything(width), None)
    assert layout.canvas.shape[1] == columns
    assert layout.reach == columns


def test_to_a_rule_there_is_nothing_behind_the_end(rng):
    seen = []

    def rule(logits, level, draft):
        seen.append(bool((draft.cells[..., 128:] == 0).all()))
        return logits

    picture = render(make_song(rng), 0, 128)
    model = Cells(Even(), width=512).eval()
    inpaint(model, picture, masks.bars(picture, 2, 3), rule=[rule, rules.echo(32)], calls=2)
    assert seen and all(seen)


class Loud(nn.Module):
    """A network that wants ink in every pixel, and remembers what it was shown."""

    multiple = (2, 256)
    grain = (2, 64)

    def __init__(self, inputs, outputs):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(
            in_channels=inputs, out_channels=outputs, span=512, local=None, mapping_cond_dim=2
        )
        self.shown = []

    def forward(self, x, t, *conditions):
        self.shown.append(x.clone())
        answer = x.new_zeros(len(x), self.config.out_channels, *x.shape[2:])
        answer[:, -1] += 50
        answer[:, 0] += 50 * (self.config.out_channels == 3)
        return answer


HEADS = {
    "pixels": (lambda: Denoiser(Loud(7, 3), conditioned=True, width=256, centre=-1.0), 6),
    "cells": (lambda: CategoricalDenoiser(Loud(12, 6), width=256), 6),
}


@pytest.mark.parametrize("method", ["conditioned", "repaint"])
@pytest.mark.parametrize("head", HEADS)
def test_edm_composes_nothing_behind_the_end(rng, head, method):
    make, place_of_mask = HEADS[head]
    model = make().eval()
    picture = render(make_song(rng), 0, 100)
    mask = masks.everything(picture)
    mask[:, :30] = False
    out = inpaint(model, picture, mask, method=method, calls=3, seed=1)[0]
    assert (out[8:-8, 30:] != picture[8:-8, 30:]).any(axis=2).mean() > 0.9

    # At the last call the noise is small: so what is behind the end was never inked.
    last = model.network.shown[-1]
    assert last.shape[-1] == 128
    ink = last[0, 0] if head == "pixels" else last[0, -2]
    assert ink[8:-8, 100:].abs().max() < 2
    assert ink[8:-8, 30:100].abs().mean() > 3 * ink[8:-8, 100:].abs().mean()

    # To the network it is unknown, not silence that is known.
    if method == "conditioned":
        assert (last[0, place_of_mask, 8:-8, 100:] == 1).all()


def test_edm_counts_nothing_behind_the_end(rng, monkeypatch):
    asked = []
    begin = Steering.begin

    def spy(steering, x0, mask, columns=None):
        begin(steering, x0, mask, columns)
        asked.append((steering.plan.density, int(steering.region[0].any(0).sum())))

    monkeypatch.setattr(Steering, "begin", spy)
    model = HEADS["cells"][0]().eval()
    picture = render(make_song(rng), 0, 100)
    out = inpaint(model, picture, masks.everything(picture), density=8, calls=2, seed=1)
    assert asked == [(pytest.approx(8 * 100 / 16), 100)]
    assert out.refused[0] <= 100 * 112


def test_what_is_refused_is_counted_up_to_the_end(rng):
    model = HEADS["pixels"][0]().eval()
    # A sustain everywhere, which no note begins.
    model.network.forward = lambda x, t, *_: torch.stack(
        [x[:, 0] * 0, x[:, 0] * 0 + 50, x[:, 0] * 0], dim=1
    )
    picture = np.zeros((128, 100, 3), np.uint8)
    out = inpaint(model, picture, masks.everything(picture), calls=2, seed=1)
    assert out.refused.tolist() == [112 * 100]


def attention_layer(kind, index=0):
    torch.manual_seed(0)
    layer = Attention(Level(1, 16, 32, kind, d_head=8, window=8), 4, index)
    nn.init.normal_(layer.out.weight)
    return layer.eval()


def test_a_window_wider_than_the_grid_sees_all_of_it_and_nothing_else():
    x = torch.randn(2, 8, 4, 16)
    cond = torch.zeros(2, 4)
    windows = attention_layer("shifted-window")
    whole = attention_layer("global")
    whole.load_state_dict(windows.state_dict())
    assert torch.allclose(windows(x, cond), whole(x, cond), atol=1e-5)


def test_shifted_windows_on_a_narrow_grid_keep_their_seams():
    layer = attention_layer("shifted-window", index=1)
    x = torch.randn(1, 8, 12, 16)
    other = x.clone()
    other[:, :4] += 1
    changed = (layer(x, torch.zeros(1, 4)) - layer(other, torch.zeros(1, 4))).abs().amax(-1)[0]
    assert (changed[:4] > 1e-4).all()
    assert (changed[4:] < 1e-5).all()


def test_a_network_takes_every_multiple_of_its_grain():
    level = Level(2, 16, 32, "shifted-window", d_head=8, window=8)
    config = HDiTConfig(3, 3, (2, 4), (level, Level(1, 16, 32, d_head=8)))
    network = HDiT(config)
    assert network.multiple == (16, 32)
    assert network.grain == (4, 8)
    assert network(torch.randn(1, 3, 16, 40), torch.zeros(1)).shape == (1, 3, 16, 40)
