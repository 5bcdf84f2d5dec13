"""The laws of the cascade and of texture: what is asked for is told, and nothing else."""

import numpy as np
import pytest
import torch
from conftest import make_song, seeded

from pomkit import Chord, OptionError, Song, inpaint, masks, render
from pomkit.data.windows import Windows
from pomkit.ladder.cascade import (
    ANY_NOTE,
    NO_NOTE,
    Cascade,
    bone_cells,
    bone_planes,
    bones_of,
    in_form,
    kept_share,
    skeleton,
)
from pomkit.ladder.restoring import Restorer
from pomkit.ladder.system import HIDDEN, ONSET, window_cells
from pomkit.ladder.texture import Texture, agreement, texture_of, texture_planes
from pomkit.processes.cells import cell_bound
from pomkit.training import TrainOptions

# Half bars of a bass at C and G, and a melody above: the second half bar moves, the last is empty.
NOTES = [
    (0, 8, 48), (0, 8, 55), (0, 6, 72), (6, 2, 74),
    (8, 8, 43), (8, 3, 71), (11, 5, 79),
    (16, 8, 60),
]  # fmt: skip


def picture_of(notes, width=64):
    return render(Song([(*note, 90, 0) for note in notes]), 0, width)


def talking(model):
    """A network that says something though it is not trained."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    return talking(Cascade("toy"))


@pytest.fixture(scope="module")
def texture() -> Texture:
    return talking(Texture("toy"))


# Skeletons


def test_the_skeleton_of_a_known_picture():
    bones = skeleton(window_cells(picture_of(NOTES, 32)))
    melody, bass = bones.tolist()
    assert melody == [72, 79, 60, NO_NOTE]
    # Where one note alone sounds, it is the melody.
    assert bass == [48, 43, NO_NOTE, NO_NOTE]


def test_of_two_notes_that_sound_as_long_the_outer_one_counts():
    bones = skeleton(window_cells(picture_of([(0, 4, 72), (4, 4, 77), (0, 4, 50), (4, 4, 45)], 8)))
    assert bones.tolist() == [[77], [45]]


def test_a_skeleton_moves_with_its_music(rng):
    song = make_song(rng, 100, end=128)
    low = window_cells(render(song, 0, 128))
    low[:12] = 0
    high = np.roll(low, -12, axis=0)
    one, other = skeleton(low), skeleton(high)
    assert np.array_equal(np.where(one > NO_NOTE, one + 12, one), other)


def test_cells_of_a_skeleton_say_the_same_skeleton(rng):
    bones = skeleton(window_cells(render(make_song(rng, 100, end=256), 0, 256)))
    assert np.array_equal(bones_of(bone_cells(bones)), bones)
    bones[:, 5] = ANY_NOTE
    assert (bone_cells(bones)[:, 5] == HIDDEN).all()


def test_several_notes_of_a_half_bar_are_read_as_its_outer_ones():
    cells = np.zeros((64, 1), np.int64)
    cells[[10, 20]] = 2
    cells[[30, 50]] = 1
    assert bones_of(cells).tolist() == [[85], [45]]


def test_a_form_is_copied_half_bars():
    bones = np.arange(32, 64).reshape(2, 16)
    song = in_form(bones, "AABA", bars=4)
    assert song.shape == (2, 32)
    a, b = bones[:, :8], bones[:, 8:]
    assert np.array_equal(song, np.concatenate([a, a, b, a], axis=1))
    with pytest.raises(OptionError, match="part 'C'"):
        in_form(bones, "ABC", bars=4)


def test_the_share_of_kept_notes_counts_asked_notes_alone():
    asked = np.array([[72, 60, NO_NOTE, 70], [48, ANY_NOTE, 50, 40]])
    got = np.array([[72, 61, 90, 70], [48, 33, 51, NO_NOTE]])
    assert kept_share(asked, got) == pytest.approx(3 / 6)
    assert kept_share(asked, np.where(asked > 0, asked, 1)) == 1


def test_what_is_told_of_a_skeleton_lies_under_its_half_bars():
    bones = np.array([[72, NO_NOTE, ANY_NOTE], [48, 50, 52]])
    planes = bone_planes(bones, 0)
    assert np.argwhere(planes[0]).tolist() == [[23, c] for c in range(8)]
    assert planes[1].sum(axis=0).tolist() == [1.0] * 24 + [0.0] * 40
    assert planes[2, 0].tolist() == [1.0] * 16 + [0.0] * 48
    moved = bone_planes(bones, 8)
    assert np.array_equal(moved[:, :, :56], planes[:, :, 8:])
    assert (bone_planes(bones, -8)[:, :, :8] == 0).all()


def test_without_a_skeleton_it_is_plain_cells(cascade):
    """The answer does not depend on a skeleton, and is that of a Restorer of the same network."""
    cells = torch.randint(3, (1, 64, 64), generator=seeded())
    t = torch.ones(1)

    class Plain(Restorer):
        process = "plain"
        planes = 3

    plain = Plain("toy")
    plain.network = cascade.network.notes
    untold = cascade.untold(cells)
    assert torch.equal(cascade(cells, untold, t), plain(cells, untold, t))
    bones = torch.from_numpy(bone_planes(np.full((2, 8), 60), 0))[None]
    assert not torch.allclose(cascade(cells, bones, t), cascade(cells, untold, t))


def test_flat_music_never_asks_the_skeletons_network(cascade):
    picture = picture_of(NOTES)
    asked = []
    hook = cascade.network.bones.register_forward_hook(lambda *_: asked.append(1))
    mask = masks.bars(picture, 2, 3)
    inpaint(cascade, picture, mask, method="flat", calls=2, seed=0)
    assert not asked
    inpaint(cascade, picture, mask, calls=2, seed=0)
    hook.remove()
    assert asked
    with pytest.raises(OptionError, match="leave the skeleton out"):
        inpaint(cascade, picture, mask, method="flat", skeleton=np.full((2, 8), 60))


def told_to(cascade, picture, mask, **asked) -> list[np.ndarray]:
    """The skeletons that the network of the notes is told, as planes."""
    told = []
    forward = type(cascade).forward

    def spy(self, cells, planes, t):
        if planes is not None:
            told.append(planes[0].numpy().copy())
        return forward(self, cells, planes, t)

    type(cascade).forward = spy
    try:
        inpaint(cascade, picture, mask, calls=1, seed=0, **asked)
    finally:
        type(cascade).forward = forward
    return told


def test_the_skeleton_of_what_is_known_is_told_as_it_is(cascade):
    picture = picture_of(NOTES)
    known = bone_planes(skeleton(window_cells(picture)), 0)
    for planes in told_to(cascade, picture, masks.bars(picture, 3, 4)):
        assert np.array_equal(planes[..., :32], known[..., :32])
        assert (planes[2] == 1).all()


def test_a_skeleton_that_is_asked_for_is_told_in_its_columns(cascade):
    picture = picture_of(NOTES, 192)
    asked = np.stack([np.arange(60, 84), np.arange(36, 60)])
    told = told_to(cascade, picture, masks.everything(picture), skeleton=asked)
    starts = [0, 32, 64, 96, 128]
    wanted = [bone_planes(asked, start) for start in starts]
    for planes in told:
        assert any(np.array_equal(planes, each) for each in wanted)
    assert np.array_equal(told[0], wanted[0])
    assert np.array_equal(told[-1], wanted[-1])


def test_notes_that_are_left_open_are_composed(cascade):
    bones = np.full((1, 2, 100), ANY_NOTE)
    bones[0, 0, 10] = 72
    options = cascade.check(_options(calls=2))
    events = []
    filled = cascade.compose_skeleton(bones, options, events.append)
    assert filled.shape == bones.shape
    assert not (filled == ANY_NOTE).any()
    assert filled[0, 0, 10] == 72
    # 64 half bars first, then the others with 32 or more known ones in view.
    assert len(events) == 6


def _options(**changes):
    from pomkit.processes.contract import Options

    return Options(method="cascade", generator=seeded(), **changes)


@pytest.mark.parametrize("bones", [np.zeros((3, 4), int), np.full((2, 4), 20), np.zeros((2, 4)), 7])
def test_a_skeleton_that_does_not_fit_is_refused(cascade, bones):
    picture = picture_of(NOTES)
    with pytest.raises(OptionError, match=r"skeleton .*; give whole numbers"):
        inpaint(cascade, picture, masks.bars(picture, 2), skeleton=bones)


def test_the_plan_of_a_training_window_is_its_skeleton(rng):
    window = Windows([make_song(rng)], 192)[0]
    options = TrainOptions(process="cascade", model="toy", width=192)
    model = Cascade.from_options(options)
    item = model.example(window, 0.5, rng, options)
    bones = skeleton(window_cells(window.picture))
    assert np.array_equal(bones_of(item["bones"][:, :24]), bones)
    assert item["bones_there"].sum() == 64 * 24
    assert not (item["bones_mask"] & ~item["bones_there"]).any()
    assert item["bones_mask"].any()


def test_half_bars_behind_a_plans_end_do_not_count(rng):
    window = Windows([make_song(rng)], 64)[0]
    options = TrainOptions(process="cascade", model="toy", width=64)
    model = talking(Cascade.from_options(options))
    item = model.example(window, 0.3, rng, options)
    batch = {name: torch.from_numpy(np.asarray(each))[None] for name, each in item.items()}
    before = model.loss(batch, model, options)
    batch["bones"][:, :, 8:] = 2
    assert torch.equal(model.loss(batch, model, options), before)
    batch["bones"][:, :, :8] = 2
    assert not torch.equal(model.loss(batch, model, options), before)


# Texture


def test_the_texture_of_a_known_picture():
    counts = texture_of(window_cells(picture_of(NOTES, 24)))
    wanted = np.zeros(24)
    wanted[[0, 6, 8, 11, 16]] = [3, 1, 2, 1, 1]
    assert counts.tolist() == wanted.tolist()


def test_a_texture_is_told_as_its_logarithm_and_whether_it_is_known():
    amount, known = texture_planes(np.array([0, 6, np.nan]))
    assert (known == [1, 1, 0]).all()
    assert amount[5] == pytest.approx([0, 1, 0])
    assert (amount == amount[0]).all()


def test_agreement_is_a_correlation_of_what_was_asked():
    asked = np.array([0, 1, 2, 3, np.nan])
    assert agreement(asked, 2 * asked + 1) == pytest.approx(1)
    assert agreement(asked, np.array([3, 2, 1, 0, 99.0])) == pytest.approx(-1)
    assert agreement(asked, np.ones(5)) == 0
    assert agreement(np.full(3, np.nan), np.ones(3)) == 0


def told_texture(model, picture, **asked) -> np.ndarray:
    told = []
    usual = model.told_of
    model.told_of = lambda cells, request: told.append(usual(cells, request)) or told[-1]
    try:
        inpaint(model, picture, masks.bars(picture, 2), calls=1, seed=0, **asked)
    finally:
        del model.told_of
    return told[0][0].numpy()


def test_the_network_is_told_chords_and_texture(texture):
    picture = picture_of(NOTES)
    counts = texture_of(window_cells(picture))
    counts[40:] = np.nan
    told = told_texture(texture, picture, texture=counts, chords=[Chord(0, 64, "C:maj")])
    assert np.array_equal(told[3:], texture_planes(counts))
    # Row 0 is pitch 95, a B; C is a row of pitch 84.
    assert told[0, :, 0].nonzero()[0].tolist() == [11, 23, 35, 47, 59]
    assert (told_texture(texture, picture)[3:] == 0).all()


def test_without_a_texture_nothing_of_it_counts(texture):
    picture = picture_of(NOTES)
    mask = masks.bars(picture, 2, 3)
    free = inpaint(texture, picture, mask, calls=2, seed=1)
    unknown = inpaint(texture, picture, mask, calls=2, seed=1, texture=np.full(64, np.nan))
    assert np.array_equal(free, unknown)
    asked = inpaint(texture, picture, mask, calls=2, seed=1, texture=np.full(64, 6.0))
    assert not np.array_equal(free, asked)


@pytest.mark.parametrize("counts", [np.full(64, -1.0), np.full(64, 65.0), 3, "dense", [[1]], []])
def test_a_texture_that_does_not_fit_is_refused(texture, counts):
    picture = picture_of(NOTES)
    with pytest.raises(OptionError, match=r"texture .*; give the number of onsets"):
        inpaint(texture, picture, masks.bars(picture, 2), texture=counts)


def test_training_shows_textures_whole_with_gaps_and_not_at_all(rng):
    windows = Windows([make_song(rng)], 64)
    options = TrainOptions(process="texture", model="toy", width=64)
    model = Texture.from_options(options)
    shares = []
    for i in range(60):
        item = model.example(windows[i % 3], 0.5, rng, options)
        known = item["told"][4, 0] == 1
        counts = texture_of(item["cells"])
        assert np.array_equal(item["told"][3:], texture_planes(np.where(known, counts, np.nan)))
        shares.append(known.mean())
    assert 0.1 < np.mean([share == 0 for share in shares]) < 0.4
    assert 0.35 < np.mean([share == 1 for share in shares]) < 0.65


# What all that restore hidden cells share


def test_the_loss_is_the_cells_bound(texture):
    """Of the same hidden cells it is the same number."""
    cells = torch.randint(3, (2, 64, 64), generator=seeded(1))
    t = torch.tensor([0.3, 0.8])
    noise = torch.rand(cells.shape, generator=seeded(2))
    region = torch.ones_like(cells, dtype=torch.bool)
    told = texture.untold(cells)
    batch = {"cells": cells, "mask": region, "t": t, "noise": noise, "told": told}
    bound = cell_bound(texture, cells, told, region, HIDDEN, t, seeded(2))
    assert torch.allclose(texture.loss(batch, texture, None), bound)


def test_notes_that_are_restored_are_whole(texture):
    """Every sustain follows a note."""
    picture = picture_of(NOTES)
    out = inpaint(texture, picture, masks.bars(picture, 2, 3), calls=4, seed=0)
    assert out.refused.tolist() == [0]
    assert (window_cells(out[0])[:, 16:48] == ONSET).any()
