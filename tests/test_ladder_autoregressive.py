"""PixelCNN and the token transformer: causality, exact probabilities, the grammar of tokens."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from conftest import make_song, seeded

from pomkit import OptionError, inpaint, masks, render
from pomkit.data import songs
from pomkit.data.windows import Windows
from pomkit.ladder.answering import fixed_point
from pomkit.ladder.autoregressive import (
    PixelCNN,
    RelativeAttention,
    TokenTransformer,
    TwoStacks,
    Writer,
    possible,
    skew,
)
from pomkit.ladder.system import HIDDEN, Request, window_cells
from pomkit.ladder.tokens import (
    END,
    LENGTH,
    SHIFT,
    STRIKE,
    VOCABULARY,
    Reading,
    decode_tokens,
    encode_tokens,
    token_columns,
)
from pomkit.music.midi import read_midi
from pomkit.processes.contract import Options
from pomkit.processes.states import OFF, ONSET, SUSTAIN


def random_weights(model, scale=0.3, seed=0):
    """Weights about as large as trained ones, all parameters included."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def random_cells(seed=0, count=3, share=0.1):
    """Canonical windows: a sustain follows an onset or a sustain."""
    rng = np.random.default_rng(seed)
    cells = np.zeros((count, 64, 64), np.int64)
    for column in range(64):
        struck = rng.random((count, 64)) < share
        goes_on = (rng.random((count, 64)) < 0.7) & (column > 0)
        before = cells[..., column - 1] if column else cells[..., 0]
        cells[..., column] = np.where(struck, ONSET, SUSTAIN * (goes_on & (before != OFF)))
    return torch.from_numpy(cells)


# PixelCNN: two stacks

TINY = {"width": 5, "dilations": (1, 2)}


def test_nothing_is_seen_of_a_cell_and_of_those_after_it():
    """The gradient is exactly 0."""
    network = random_weights(TwoStacks(**TINY, rows=4, columns=5).double())
    x = torch.randn(1, 3, 4, 5, dtype=torch.float64, generator=seeded(), requires_grad=True)
    for place in range(20):
        (gradient,) = torch.autograd.grad(network(x)[0, :, place // 5, place % 5].sum(), x)
        by_place = gradient.abs().sum(1).flatten()
        assert (by_place[place:] == 0).all()


def test_everything_before_a_cell_is_seen():
    """No blind spot: with enough layers, the last cell sees all others."""
    network = random_weights(TwoStacks(4, (1, 1, 1, 1, 1), rows=5, columns=5).double())
    x = torch.randn(1, 3, 5, 5, dtype=torch.float64, generator=seeded(1), requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x)[0, :, 4, 4].sum(), x)
    assert (gradient.abs().sum(1).flatten()[:-1] > 0).all()


ALL = torch.tensor(list(product(range(3), repeat=6))).reshape(-1, 2, 3)  # (729, 2, 3)


@pytest.fixture(params=["time", "raster"])
def small(request) -> PixelCNN:
    """A PixelCNN of pictures of 2 x 3 cells, in float64."""
    model = PixelCNN("toy", order=request.param)
    rows, columns = (3, 2) if request.param == "time" else (2, 3)
    model.network = TwoStacks(**TINY, rows=rows, columns=columns)
    return random_weights(model.double(), scale=0.5)


@pytest.fixture
def doubled(monkeypatch):
    """One-hot cells in float64, for sums that are exact."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


@torch.no_grad()
def test_the_probabilities_of_all_pictures_sum_to_one(small, doubled):
    nats = -small.bits(ALL) * math.log(2)
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-9)


@torch.no_grad()
def test_bits_are_those_of_the_product_of_conditionals(small, doubled):
    """Each conditional by Bayes' rule, from sums over pictures that agree so far."""
    p = (-small.bits(ALL) * math.log(2)).exp()
    places = small.turned_back(torch.arange(6).reshape(small.turned(ALL[:1])[0].shape))
    picture = ALL[500]
    said = small(picture[None]).softmax(1)[0]
    for place in range(6):
        before = places < place
        agree = (picture == ALL)[:, before].all(1)
        here = places == place
        both = agree & (picture == ALL)[:, here].all(1)
        row, column = here.nonzero()[0].tolist()
        told = said[picture[row, column], row, column]
        assert (p[both].sum() / p[agree].sum()).item() == pytest.approx(told.item(), abs=1e-9)


@pytest.mark.parametrize("order", ["time", "raster"])
def test_it_learns_in_bfloat16(order):
    """Dilated convolutions gave gradients of NaN where the states of a cell lay side by side."""
    model = PixelCNN("tiny", order=order)
    cells = torch.randint(0, 3, (16, 64, 64), generator=seeded(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        said = model(cells)
    torch.nn.functional.cross_entropy(said, cells).backward()
    assert all(weights.grad.isfinite().all() for weights in model.parameters())


def test_time_order_goes_column_by_column_from_low_to_high():
    order = PixelCNN("toy").order
    assert order[63, 0] == 0
    assert order[0, 0] == 63
    assert order[63, 1] == 64
    raster = PixelCNN("toy", order="raster").order
    assert raster[0].tolist() == list(range(64))


@pytest.mark.parametrize("order", ["time", "raster"])
@torch.no_grad()
def test_a_cell_depends_on_no_later_one_in_the_order_of_the_system(order):
    model = random_weights(PixelCNN("toy", order=order))
    cells = random_cells(count=1)
    for place in (0, 700, 2000, 4000):
        after = model.order >= place
        other = torch.where(after, random_cells(1, 1), cells)
        same = (model(cells) == model(other)).all(1)[0]
        assert same[model.order <= place].all()
    assert not same.all()


@torch.no_grad()
def test_windows_are_drawn_as_one_by_one():
    """The fixed point of a window, against its cells one after the other, by their order."""
    model = random_weights(PixelCNN("toy"), scale=0.5)
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[30:36, 10:14] = True
    cells = random_cells(count=2)
    u = torch.rand(2, 64, 64, generator=seeded(3))
    drawn, calls = fixed_point(model, cells, mask, u)
    slow = torch.where(mask, OFF, cells)
    for place in model.order[mask].sort().values:
        here = model.order == place
        p = model(slow).softmax(1).cumsum(1)[:, :2]
        slow = torch.where(here, (u[:, None] >= p).sum(1), slow)
    assert torch.equal(drawn, slow)
    assert calls < mask.sum()
    assert not torch.equal(drawn, torch.where(mask, OFF, cells))


def test_after_silence_there_is_no_sustain():
    cells = torch.tensor([[[OFF, ONSET, SUSTAIN, OFF]]])
    p = possible(torch.zeros(1, 3, 1, 4), cells).softmax(1)[0, SUSTAIN, 0]
    assert p.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3], abs=1e-6)


def test_an_order_that_is_unknown_is_one_clear_error():
    with pytest.raises(OptionError, match="order 'random' is unknown; choose one of time, raster"):
        PixelCNN("toy", order="random")


# Relative attention


def test_skewing_is_the_double_loop():
    """Of the last 4 of 7 tokens: the product with the distance i - j stands at j."""
    scores = torch.randn(2, 4, 7, generator=seeded())
    skewed = skew(scores)
    for row in range(4):
        i = 3 + row
        for j in range(i + 1):
            distance = i - j
            assert torch.equal(skewed[:, row, j], scores[:, row, 6 - distance])


@torch.no_grad()
def test_relative_attention_is_the_double_loop():
    layer = random_weights(RelativeAttention(8, 2, 4))
    x = torch.randn(1, 6, 8, generator=seeded(2))
    q, k, v = layer.qkv(layer.norm(x)).reshape(6, 3, 2, 4).permute(1, 2, 0, 3)
    heads = torch.zeros(2, 6, 4)
    for head in range(2):
        for i in range(6):
            scores = []
            for j in range(i + 1):
                distance = layer.distance[head, min(i - j, 3)]
                scores.append(q[head, i] @ (k[head, j] + distance) / 2)
            heads[head, i] = torch.stack(scores).softmax(0) @ v[head, : i + 1]
    expected = x + layer.out(heads.transpose(0, 1).flatten(1))
    assert torch.allclose(layer(x, []), expected, atol=1e-5)


@torch.no_grad()
def test_tokens_one_by_one_are_told_what_they_are_told_together():
    network = random_weights(TokenTransformer("toy").network, scale=0.1)
    tokens = torch.randint(VOCABULARY, (2, 9), generator=seeded())
    columns = torch.arange(9).expand(2, 9)
    whole = network(tokens, columns)
    past = [[] for _ in network.attentions]
    parts = []
    for at in (slice(0, 4), slice(4, 5), slice(5, 9)):
        parts.append(network(tokens[:, at], columns[:, at], past))
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-4)


@torch.no_grad()
def test_what_is_said_after_a_token_does_not_depend_on_later_ones():
    network = random_weights(TokenTransformer("toy").network, scale=0.1)
    tokens = torch.randint(VOCABULARY, (1, 9), generator=seeded())
    other = tokens.clone()
    other[:, 5:] = 1
    columns = torch.zeros(1, 9, dtype=torch.int64)
    one, two = network(tokens, columns), network(other, columns)
    assert torch.equal(one[:, :5], two[:, :5])
    assert not torch.equal(one[:, 5:], two[:, 5:])


# Tokens


def test_a_small_picture_as_tokens():
    cells = np.zeros((64, 64), np.int64)
    cells[63 - 28, 0:3] = [ONSET, SUSTAIN, SUSTAIN]  # pitch 60
    cells[63 - 32, 0] = ONSET
    cells[63 - 28, 3] = ONSET
    expected = [
        SHIFT, STRIKE + 28, LENGTH + 2, STRIKE + 32, LENGTH, SHIFT + 2, STRIKE + 28, LENGTH, END,
    ]  # fmt: skip
    assert encode_tokens(cells).tolist() == expected
    assert token_columns(np.array(expected)).tolist() == [0, 0, 0, 0, 0, 3, 3, 3, 3]


def test_tokens_give_the_cells_back_in_all_shipped_songs():
    checked = 0
    for path in songs().values():
        windows = Windows([read_midi(path)], 64, semitones=(0, 0))
        for number in range(4):
            cells = window_cells(windows[number].picture)
            assert np.array_equal(decode_tokens(encode_tokens(cells)), cells)
            checked += int((cells == ONSET).sum())
    assert checked > 1000


def follow(tokens, reading):
    """Push tokens, each of which must be allowed."""
    for token in tokens.tolist():
        assert reading.allowed()[token]
        reading.push(token)
    assert reading.is_over


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.6])
def test_tokens_give_the_cells_back_and_the_grammar_allows_them(share):
    for cells in random_cells(1, 3, share).numpy():
        tokens = encode_tokens(cells)
        assert np.array_equal(decode_tokens(tokens), cells)
        follow(tokens, Reading())
        # With the cells known no other row is left.
        reading = Reading(cells)
        for token in tokens.tolist():
            assert np.flatnonzero(reading.allowed()).tolist() == [token]
            reading.push(token)


def walk(reading, rng):
    """A random row of what is allowed, mostly short notes."""
    row = []
    while not reading.is_over:
        may = np.flatnonzero(reading.allowed())
        assert len(may)
        near = may[: max(len(may) // 3, 1)]
        row.append(int(rng.choice(near if rng.random() < 0.7 else may)))
        reading.push(row[-1])
    return np.array(row)


@pytest.mark.parametrize("seed", range(4))
def test_what_the_grammar_allows_is_the_row_of_its_picture(seed):
    """So no picture has two rows, and their probabilities are those of pictures."""
    row = walk(Reading(), np.random.default_rng(seed))
    assert np.array_equal(encode_tokens(decode_tokens(row)), row)


MASKS = {
    "continuation": lambda shape: np.arange(64) >= np.full((64, 1), 20),
    "box": lambda shape: np.isin(np.arange(64), range(20, 50)) & (np.arange(64)[:, None] > 30),
    "dots": lambda shape: np.random.default_rng(5).random(shape) < 0.3,
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mask", MASKS)
def test_what_is_known_stays_as_it_is_whatever_is_drawn(mask, seed):
    """A known note that begins under the mask has a beginning there, too."""
    cells = random_cells(seed, 1, 0.05).numpy()[0]
    hidden = MASKS[mask](cells.shape)
    row = walk(Reading(np.where(hidden, HIDDEN, cells)), np.random.default_rng(seed))
    drawn = decode_tokens(row)
    assert np.array_equal(drawn[~hidden], cells[~hidden])
    assert np.array_equal(encode_tokens(drawn), row)


# The token transformer


def request_of(**options):
    whole = Options(**{"method": "particles", "calls": 900, "generator": seeded()} | options)
    return Request(whole, torch.zeros(1), lambda *a, **k: None)


@pytest.fixture
def writer_model():
    torch.manual_seed(0)
    return TokenTransformer("toy").eval()


@torch.no_grad()
def test_the_bits_of_a_row_are_the_sum_of_its_tokens_bits(writer_model):
    cells = random_cells(count=1, share=0.02)
    tokens = encode_tokens(cells[0].numpy())
    reading, row, nats = Reading(), [END], 0.0
    for token in tokens.tolist():
        inputs = np.array(row)[None]
        logits = writer_model(torch.from_numpy(inputs), torch.from_numpy(token_columns(inputs)))[
            0, -1
        ]
        may = torch.from_numpy(reading.allowed())
        nats -= logits.masked_fill(~may, -math.inf).log_softmax(0)[token].item()
        row.append(token)
        reading.push(token)
    assert writer_model.bits(cells).item() == pytest.approx(nats / math.log(2), rel=1e-4)


@torch.no_grad()
def test_a_particle_weighs_what_the_model_gives_to_what_is_allowed(writer_model):
    """All known: its weight is the log-probability of its row, however long the others are."""
    cells = torch.cat([random_cells(0, 1, 0.02), random_cells(1, 1, 0.01)])
    writer = Writer(writer_model, cells, request_of(), 2)
    writer.write()
    for picture, weights in zip(cells, writer.weights, strict=True):
        row = np.insert(encode_tokens(picture.numpy()), 0, END)[None]
        logits = writer_model(torch.from_numpy(row), torch.from_numpy(token_columns(row)))[0, :-1]
        after = torch.from_numpy(row[0, 1:])
        nats = -torch.nn.functional.cross_entropy(logits, after, reduction="sum").item()
        assert weights.tolist() == pytest.approx([nats, nats], rel=1e-4)


def test_continuation_needs_no_particles(rng, writer_model):
    picture = render(make_song(rng, count=60), 0, 64)
    events = []
    mask = masks.continuation(picture, 48)
    out = inpaint(writer_model, picture, mask, seed=1, particles=8, callback=events.append)
    assert (out[0][~mask] == picture[~mask]).all()
    assert "effective" not in events[-1]
    box = masks.box(picture, (50, 55), (48, 56))
    inpaint(writer_model, picture, box, seed=1, particles=8, callback=events.append)
    assert 1 <= events[-1]["effective"][0] <= 8


def test_a_number_of_particles_that_cannot_be_is_one_clear_error(rng, writer_model):
    picture = render(make_song(rng), 0, 64)
    with pytest.raises(OptionError, match="particles is 0; choose a whole number from 1"):
        inpaint(writer_model, picture, masks.bars(picture, 2), particles=0)
