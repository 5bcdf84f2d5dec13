"""A matrix times every token: both ways give the same, and each is taken where it shall be."""

import pytest
import torch
import torch.nn.functional as F

from pomkit.networks import matrix

LARGE = (2, 8, 32, 192)  # tokens whose product with 192 x 576 is worth a convolution


@pytest.fixture
def convolutions(monkeypatch) -> list[tuple[int, ...]]:
    """The sizes of the convolutions that are done, on whichever processor."""
    sizes = []

    def convolve(x, *rest):
        sizes.append(tuple(x.shape))
        return convolution(x, *rest)

    convolution = F.conv2d
    monkeypatch.setattr(matrix, "SLOW_WITH_MKL", True)
    monkeypatch.setattr(F, "conv2d", convolve)
    return sizes


@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_is_the_same_product(convolutions, bias):
    torch.manual_seed(0)
    layer = matrix.Linear(192, 576, bias=bias)
    x = torch.randn(LARGE, requires_grad=True)
    gradient = torch.randn(*LARGE[:-1], 576)
    inputs = [x, *layer.parameters()]

    ours = layer(x)
    expected = F.linear(x, layer.weight, layer.bias)
    assert len(convolutions) == 1
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours, inputs, gradient),
        torch.autograd.grad(expected, inputs, gradient),
        rtol=1e-4,
        atol=1e-4,
    )


def test_rows_that_lie_apart_in_memory_are_multiplied_too(convolutions):
    x = torch.randn(2, 192, 8, 32).permute(0, 2, 3, 1)
    layer = matrix.linear(192, 576)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight))
    assert len(convolutions) == 1


@pytest.mark.parametrize(
    "x", [torch.randn(1, 4, 4, 192), torch.randn(1, 8, 63, 192)], ids=["few tokens", "odd count"]
)
def test_other_sizes_take_the_plain_way(convolutions, x):
    layer = matrix.linear(192, 576)
    assert torch.equal(layer(x), F.linear(x, layer.weight))
    assert not convolutions


def test_half_precision_takes_the_plain_way(convolutions):
    with torch.autocast("cpu", torch.bfloat16):
        assert matrix.linear(192, 576)(torch.randn(LARGE)).dtype == torch.bfloat16
    assert not convolutions
