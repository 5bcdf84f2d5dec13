"""inpaint and generate over both processes: what must always hold, whatever the weights."""

import numpy as np
import pytest
import torch
from conftest import make_song

from pomkit import (
    Chord,
    OptionError,
    PictureError,
    generate,
    inpaint,
    load_model,
    masks,
    parse,
    read_midi,
    render,
    rules,
)
from pomkit.composing.region import WARMING_FROM_NOTHING
from pomkit.networks.attention import Level
from pomkit.networks.hdit import HDiT, HDiTConfig
from pomkit.processes.cells import TEMPERATURE, WARMING, Cells
from pomkit.processes.edm import Denoiser, clean, to_picture, to_pixels
from pomkit.processes.wide import blended, lay_windows, reach_of

WIDTH = 64


def network(channels_in, channels_out, cond=0):
    torch.manual_seed(0)
    net = HDiT(
        HDiTConfig(
            channels_in,
            channels_out,
            (8, 16),
            (Level(1, 32, 64, d_head=16),),
            mapping_width=16,
            mapping_d_ff=32,
            mapping_cond_dim=cond,
        )
    )
    torch.nn.init.normal_(net.patch_out.linear.weight, std=0.3)
    return net


@pytest.fixture(scope="module", params=["cells", "edm", "edm-conditioned"])
def model(request):
    if request.param == "cells":
        return Cells(network(Cells.in_channels(4), 6), width=WIDTH).eval()
    conditioned = request.param != "edm"
    return Denoiser(
        network(7, 3, 2) if conditioned else network(3, 3), 0.5, conditioned, WIDTH
    ).eval()


@pytest.mark.parametrize("width", [20, 64, 100, 200])
def test_outside_the_mask_nothing_changes_whatever_the_width(model, rng, width):
    picture = render(make_song(rng), 0, width)
    mask = masks.stroke(picture, [(5, 50), (width - 5, 80)], 9) | masks.chords(
        picture, (0, width // 2)
    )
    out = inpaint(model, picture, mask, n=2, seed=1, steps=3)
    assert out.shape == (2, *picture.shape)
    assert out.dtype == np.uint8
    assert (out[:, ~mask] == picture[~mask]).all()
    assert (out[:, mask] != picture[mask]).any()
    assert (out[0] != out[1]).any()
    assert out.seed == 1
    assert out.refused.shape == (2,)
    assert out.seconds > 0


def test_an_empty_mask_returns_the_input(model, rng):
    picture = render(make_song(rng), 0, 80)
    assert np.array_equal(inpaint(model, picture, np.zeros((128, 80), bool), steps=2)[0], picture)


def test_the_same_seed_gives_the_same_picture(model, rng):
    picture = render(make_song(rng), 0, 64)
    mask = masks.bars(picture, 2, 3)
    first, again, other = (inpaint(model, picture, mask, seed=s, steps=3, U=2) for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    free = inpaint(model, picture, mask, steps=3, U=2)
    assert np.array_equal(inpaint(model, picture, mask, steps=3, U=2, seed=free.seed), free)


def test_what_is_composed_is_music(model, rng):
    """Inside the mask every pixel is an onset, a sustained one after it, or black.

    `parse` refuses none of them.
    """
    picture = np.zeros((128, 64, 3), np.uint8)
    out = inpaint(model, picture, masks.everything(picture), seed=0, steps=4)[0]
    assert not out[..., 2].any()
    assert not ((out[..., 0] > 0) & (out[..., 1] > 0)).any()
    song = parse(out)
    assert song.report.dropped == 0
    assert np.array_equal(render(song, 0, 64), out)


def test_generate_any_width(model):
    for width in (16, 64, 130):
        out = generate(model, width=width, n=2, seed=0, steps=2)
        assert out.shape == (2, 128, width, 3)


def test_callback_counts_and_previews(model, rng):
    picture = render(make_song(rng), 0, 150)
    mask, events = masks.continuation(picture, 30), []

    def callback(event):
        preview = event["preview"]()
        assert preview.shape == (1, *picture.shape)
        assert (preview[0][~mask] == picture[~mask]).all()
        events.append((event["i"], event["n"]))

    inpaint(model, picture, mask, steps=3, U=2, seed=0, callback=callback)
    assert [i for i, _ in events] == list(range(len(events))) or [i for i, _ in events] == sorted(
        {i for i, _ in events}
    )
    assert len({n for _, n in events}) == 1
    assert events[-1][0] == events[-1][1] - 1


def test_chords_can_be_asked_for(model, rng):
    picture = render(make_song(rng), 0, 64)
    wish = (Chord(0, 32, "C:maj"), Chord(32, 32, "A:min7"))
    out = inpaint(model, picture, masks.bars(picture, 1, 4), chords=wish, steps=2, seed=0)[0]
    assert parse(out).chords == wish


def test_masked_chord_rows_are_filled_with_chords(model, rng):
    picture = render(make_song(rng), 0, 64)
    out = inpaint(model, picture, masks.bars(picture, 1, 4, chords=True), steps=3, seed=0)[0]
    assert np.array_equal(render(parse(out), 0, 64), out)


def test_bar_lines_shift_the_windows(model, rng):
    picture = render(make_song(rng), 0, 90)
    out = inpaint(
        model, picture, masks.box(picture, steps=(3, 90)), bars=[5, 21, 37], steps=2, seed=0
    )
    assert out.shape == (1, *picture.shape)


def test_a_picture_is_composed_at_once_as_far_as_positions_reach_and_blended_beyond(
    model, rng, monkeypatch
):
    """Positions are spaced as in training while the grid of tokens is no wider than high."""
    assert model.span == 128 // 8 * 16
    seen, network = set(), type(model.network).forward
    monkeypatch.setattr(
        type(model.network),
        "forward",
        lambda net, x, *a: seen.add(x.shape[-1]) or network(net, x, *a),
    )
    for width, span, composed in ((60, 256, 64), (250, 256, 256), (250, 64, 64), (600, 256, 256)):
        monkeypatch.setattr(model, "span", span)
        seen.clear()
        picture = render(make_song(rng), 0, width)
        out = inpaint(model, picture, masks.everything(picture), steps=2, seed=0)
        assert seen == {composed}
        assert out.shape == (1, *picture.shape)


@pytest.mark.parametrize("name", ["tiny", "small", "tiny-edm", "tiny-edm-pixels"])
def test_the_shipped_models_compose_masks_of_any_length(name, rng):
    """Their networks ask for other multiples of columns than half a window."""
    model, picture = load_model(name), render(make_song(rng), 0, 700)
    for first, last in ((2, 17), (1, 8), (9, 21), (30, 44)):
        mask = masks.bars(picture, first, last)
        out = inpaint(model, picture, mask, steps=1, seed=0)[0]
        assert (out[~mask] == picture[~mask]).all()
        # At the first call of all, a head that knows how rare notes are may write none.
        assert (out[mask] != picture[mask]).any() or not picture[mask].any()


def test_windows_touch_the_mask_and_settle_every_masked_column():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        mask = np.zeros((128, int(rng.integers(1, 900))), bool)
        for _ in range(rng.integers(0, 4)):
            first = int(rng.integers(0, mask.shape[1]))
            mask[60, first : first + int(rng.integers(1, 300))] = True
        for reach, before in (
            (128, 32),
            (reach_of(mask, 128, 64), 32),
            (reach_of(mask, 32, 16), 8),
        ):
            left, windows = mask.any(axis=0), list(lay_windows(mask, reach, before))
            for window in windows:
                assert window.start % 16 == 0
                assert window.start >= 0
                assert left[window.start : window.start + reach].any()
                left[window] = False
            assert not left.any()
        assert len(list(lay_windows(mask, reach_of(mask, 128, 64), 32))) == mask.any()
        assert reach_of(mask, 32, 16) <= 16 * 32
        assert reach_of(mask, 128, 64) % 64 == 0


def test_a_blend_of_windows_is_the_model_where_they_agree_and_follows_the_nearest_middle():
    region = np.zeros((128, 320), bool)
    region[60, 130:320] = True
    x, seen = torch.rand(2, 3, 128, 320), []

    def model(x, sigma, known):
        seen.append(x[0, 0, 0, 0].item())
        return 2 * x + known

    out = blended(model, 128, region)(x, torch.ones(2), known=x)
    assert torch.allclose(out[..., 128:], 3 * x[..., 128:])
    assert not out[..., :64].any()  # nothing to compose before 130
    assert seen == [x[0, 0, 0, at].item() for at in (64, 128, 192)]
    steps = iter((1.0, 2.0))
    out = blended(lambda x: torch.full_like(x, next(steps)), 128, region[:, 128:])(x[..., 128:])
    assert torch.all(out[..., 0, :64] == 1)
    assert torch.all(out[..., 0, 128:] == 2)
    assert torch.all(out.diff(dim=-1) >= 0)
    assert blended(model, 320, region) is model
    assert blended(model, 500, region) is model
    seen.clear()  # the last window ends with the picture
    assert torch.allclose(
        blended(model, 100, region)(x, torch.ones(2), known=x)[..., 128:], 3 * x[..., 128:]
    )
    assert seen == [x[0, 0, 0, at].item() for at in (50, 100, 150, 200, 220)]


def test_pixels_survive_the_tensor():
    picture = np.random.default_rng(0).integers(0, 256, (2, 128, 16, 3), dtype=np.uint8)
    assert np.array_equal(to_picture(to_pixels(picture)), picture)
    assert to_pixels(picture).min() >= -1
    assert to_pixels(picture).max() <= 1


def test_clean_clears_and_counts_what_is_no_note():
    picture = np.zeros((128, 20, 3), np.uint8)
    picture[60, 3] = (150, 30, 90)
    picture[60, 4] = (10, 150, 0)
    picture[70, 8] = (0, 150, 0)
    picture[80, 2] = (15, 15, 15)
    tidy, cleared = clean(picture, np.ones((128, 20), bool))
    assert cleared == 1
    assert tidy[60, 3].tolist() == [150, 0, 0]
    assert tidy[60, 4].tolist() == [0, 150, 0]
    assert tidy.any(axis=2).sum() == 2


def test_density_is_felt_by_cells(rng):
    model = Cells(network(Cells.in_channels(4), 6), width=WIDTH).eval()
    picture = np.zeros((128, 64, 3), np.uint8)
    everything = masks.everything(picture)

    def mean_count(density):
        composed = inpaint(model, picture, everything, n=4, seed=0, steps=12, density=density)
        return np.mean([len(parse(p).notes) for p in composed])

    few, many = mean_count(2), mean_count(300)
    assert many == pytest.approx(4 * 300, rel=0.2)
    assert few < 0.8 * many  # an untrained model's sustain forces some


def test_rules_know_where_their_window_lies(rng):
    """A very wide picture is composed in several parts that begin on bars.

    Chords that were given lie where they were asked for.
    """
    model = Cells(network(Cells.in_channels(4), 6), width=WIDTH).eval()
    picture, bars, seen = np.zeros((128, 18 * WIDTH, 3), np.uint8), [6, 22, 38], set()

    def watch(logits, level, view):
        seen.add(view.start)
        return logits

    half, end = 9 * WIDTH, 18 * WIDTH
    wish = (Chord(0, half, "C:maj"), Chord(half, half, "F#:maj"))
    some = masks.box(picture, (60, 71))
    out = inpaint(
        model, picture, some, bars=bars, seed=0, steps=2, rule=[watch, rules.chords(wish)]
    )[0]
    notes = parse(out).notes
    assert len(seen) == 2
    assert {start % 16 for start in seen} == {6}
    assert min(seen) == -10
    for first, last, tones in ((0, half, {0, 4, 7}), (half, end, {6, 10, 1})):
        inside = notes[(notes["onset"] >= first) & (notes["onset"] < last)]
        assert len(inside) > 20
        assert np.isin(inside["pitch"] % 12, list(tones)).mean() > 0.98


# fmt: off
WRONG_OPTIONS = [
    {"steps": 0}, {"steps": 2.5}, {"U": 0}, {"jump": 0}, {"n": 0}, {"method": "magic"},
    {"density": -1},
]
# fmt: on


@pytest.mark.parametrize("options", WRONG_OPTIONS)
def test_bad_options(model, options):
    picture = np.zeros((128, 32, 3), np.uint8)
    with pytest.raises(OptionError):
        inpaint(model, picture, masks.everything(picture), **options)


def test_a_temperature_that_is_not_asked_for_is_the_models_own():
    picture = np.zeros((128, 64, 3), np.uint8)
    # Nothing is known, so cells begin only a little colder.
    little = {"warming": WARMING_FROM_NOTHING}
    for name, usual, more in (("tiny", TEMPERATURE, little), ("tiny-edm", 1.0, {})):
        model = load_model(name)
        asked = ({}, {"temperature": usual} | more, {"temperature": 1.3} | more)
        own, same, wild = (
            inpaint(model, picture, masks.everything(picture), seed=1, calls=2, **each)
            for each in asked
        )
        assert model.usual_temperature == usual
        assert np.array_equal(own, same)
        assert not np.array_equal(own, wild)


def test_where_something_is_known_cells_begin_colder():
    model = load_model("tiny")
    picture = render(read_midi("ode_to_joy"), 0, 64)
    mask = masks.bars(picture, 2, 3)
    how = {"seed": 1, "calls": 3}
    own = inpaint(model, picture, mask, **how)
    asked = inpaint(model, picture, mask, temperature=TEMPERATURE, warming=WARMING, **how)
    assert np.array_equal(own, asked)
    assert not np.array_equal(own, inpaint(model, picture, mask, temperature=TEMPERATURE, **how))
    # Whoever asks for it gets it where nothing is known, too.
    nothing, everywhere = np.zeros_like(picture), masks.everything(picture)
    free, cold = (inpaint(model, nothing, everywhere, warming=w, **how) for w in (0, WARMING))
    assert not np.array_equal(free, cold)
    with pytest.raises(OptionError, match="warming"):
        inpaint(model, picture, mask, warming=1.5)


def test_foreign_options_and_bad_masks(model):
    picture = np.zeros((128, 32, 3), np.uint8)
    foreign = (
        [{"sampler": "euler"}]
        if model.process == "cells"
        else [{"temperature": 0.5}, {"top_p": 0.9}, {"rule": []}]
    )
    for options in foreign:
        with pytest.raises(OptionError, match="option of"):
            inpaint(model, picture, masks.everything(picture), **options)
    if model.process == "edm":
        with pytest.raises(OptionError, match="sampler"):
            inpaint(model, picture, masks.everything(picture), sampler="unheard-of", steps=1)
        if not model.conditioned:
            with pytest.raises(OptionError, match="repaint"):
                inpaint(model, picture, masks.everything(picture), method="conditioned")
    for mask in (np.ones((128, 31), bool), np.ones((128, 32)), np.ones((128, 32, 3), bool)):
        with pytest.raises(PictureError, match="mask"):
            inpaint(model, picture, mask)
    with pytest.raises(PictureError):
        inpaint(model, picture.astype(float), masks.everything(32))
