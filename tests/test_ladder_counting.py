"""Bits by counting: shares that were counted by hand, and which context says more."""

from itertools import product

import pytest
import torch

from pomkit import OptionError
from pomkit.ladder.counting import CONTEXTS, StateTable
from pomkit.processes.states import ONSET, SUSTAIN


def bar(pitch: int, width: int = 8) -> torch.Tensor:
    """A window in which one pitch sounds from its second column on."""
    cells = torch.zeros(1, 64, width, dtype=torch.int64)
    cells[0, pitch, 1] = ONSET
    cells[0, pitch, 2:] = SUSTAIN
    return cells


def test_shares_are_counted():
    """Of 512 cells 1 is an onset and 6 are sustains; half a count is added to each."""
    table = StateTable("nothing").fit(bar(3))
    share = table.share[0].tolist()
    assert share == pytest.approx([505.5 / 513.5, 6.5 / 513.5, 1.5 / 513.5])
    one = torch.zeros(1, 64, 1, dtype=torch.int64)
    expected = -64 * torch.tensor(505.5 / 513.5).log2().item()
    assert table.bits(one).item() == pytest.approx(expected, rel=1e-6)


def test_after_each_state_its_own_share():
    """After 6 of 7 sounding cells, one of which ends the window, came a sustain."""
    share = StateTable("cell before").fit(bar(3)).share[:3]
    assert share[ONSET].tolist() == pytest.approx([0.5 / 2.5, 1.5 / 2.5, 0.5 / 2.5])
    assert share[SUSTAIN, SUSTAIN].item() == pytest.approx(5.5 / 6.5)


def test_who_knows_more_needs_fewer_bits():
    cells = torch.cat([bar(3), bar(3), bar(9)]).repeat(50, 1, 1)
    bits = {name: StateTable(name).fit(cells).bits(bar(3)).item() for name in CONTEXTS}
    assert bits["cell before and pitch"] < bits["cell before"] < bits["nothing"]
    assert bits["cell before and pitch"] < bits["pitch"] < bits["nothing"]


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_probabilities_of_all_ends_of_a_window_sum_to_one(context):
    """Of one pitch that ends in each of all 27 ways, all else being the same."""
    table = StateTable(context).fit(torch.cat([bar(3), bar(40)]))
    windows = bar(3).repeat(27, 1, 1)
    windows[:, 3, -3:] = torch.tensor(list(product(range(3), repeat=3)))
    shares = table.share[table.contexts_of(windows), windows]
    assert shares[:, 3, -3:].prod(1).sum().item() == pytest.approx(1, abs=1e-9)
    bits = -shares.log2().sum((1, 2))
    assert torch.allclose(table.bits(windows), bits)


def test_a_context_that_is_unknown_is_one_clear_error():
    with pytest.raises(OptionError, match="context 'weather' is unknown; choose one of nothing"):
        StateTable("weather")
