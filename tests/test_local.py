"""The local head: an option of every HDiT that begins as nothing and sees single pixels."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import seeded
from torch import nn

from pomkit import OptionError
from pomkit.networks.hdit import HDiT, HDiTConfig, Level
from pomkit.networks.local import LOCAL_RATE, Local, LocalHead

TOY = HDiTConfig(
    patch=(8, 16), levels=(Level(1, 32, 64, d_head=16),), mapping_width=16, mapping_d_ff=32
)
WITH_LOCAL = replace(TOY, local=Local(width=8, look=5, say=3))


def network(config: HDiTConfig) -> HDiT:
    torch.manual_seed(0)
    made = HDiT(config)
    nn.init.normal_(made.patch_out.linear.weight, generator=seeded())
    return made


def test_a_new_one_changes_nothing():
    x = torch.randn(2, 3, 32, 64, generator=seeded())
    c_noise = torch.tensor([0.01, 0.9])
    assert torch.equal(network(TOY)(x, c_noise), network(WITH_LOCAL)(x, c_noise))


def test_it_adds_to_the_answer_and_hears_the_noise():
    made = network(WITH_LOCAL)
    for parameter in made.local.parameters():
        nn.init.normal_(parameter, generator=seeded())
    x = torch.randn(1, 3, 32, 64, generator=seeded())
    answers = [made(x, torch.tensor([share])) for share in (0.01, 0.9)]
    alone = [network(TOY)(x, torch.tensor([share])) for share in (0.01, 0.9)]
    changes = [a - b for a, b in zip(answers, alone, strict=True)]
    assert all(change.abs().max() > 0.1 for change in changes)
    assert not torch.allclose(*changes, atol=0.1)


def test_it_sees_along_time_alone_and_not_far():
    head = LocalHead(Local(width=8, look=5, say=3), 3, 3)
    for parameter in head.parameters():
        nn.init.normal_(parameter, generator=seeded())
    x = torch.zeros(1, 3, 5, 32)
    touched = x.clone()
    touched[0, 0, 2, 16] = 1
    output = torch.zeros_like(x)
    share = torch.full((1,), 0.5)
    changed = head(x, output, share) != head(touched, output, share)
    rows, columns = changed.any(1)[0].nonzero(as_tuple=True)
    assert set(rows.tolist()) == {2}
    # Two columns to either side by the first convolution, one more by the second.
    assert (int(columns.min()), int(columns.max())) == (13, 19)


def test_the_noise_is_taken_as_it_comes():
    shares = torch.tensor([0.0, 0.5, -3.0])
    x = torch.zeros(3, 3, 4, 8)
    for noise in ("log", "linear"):
        assert LocalHead(Local(noise=noise), 3, 3)(x, x, shares).isfinite().all()


def test_it_learns_faster_and_its_matrices_decay():
    made = network(WITH_LOCAL)
    groups = made.param_groups(0.1)
    rates = {id(p): (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}
    for name, parameter in made.named_parameters():
        rate, decay = rates[id(parameter)]
        assert (rate == LOCAL_RATE) == name.startswith("local.")
        if name.startswith("local."):
            assert decay == (0.1 if parameter.ndim > 1 else 0.0)


def test_it_stands_in_the_configuration_and_an_old_one_has_none():
    written = json.loads(json.dumps(WITH_LOCAL.to_dict()))
    assert HDiTConfig.from_dict(written) == WITH_LOCAL
    old = {name: value for name, value in TOY.to_dict().items() if name != "local"}
    assert HDiTConfig.from_dict(old) == TOY
    assert network(TOY).local is None
    assert not [name for name in network(TOY).state_dict() if name.startswith("local")]


@pytest.mark.parametrize("wrong", [{"width": 0}, {"look": 4}, {"say": 2.0}, {"noise": "loud"}])
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(OptionError):
        Local(**wrong)
    with pytest.raises(OptionError):
        HDiTConfig.from_dict(TOY.to_dict() | {"local": wrong})


@pytest.mark.parametrize("columns", [(0, 5), (3, 9), (10, 32), (0, 32), (31, 32)])
def test_a_part_is_answered_as_the_whole_is_there(columns):
    head = LocalHead(Local(width=8, look=5, say=3), 3, 3)
    for parameter in head.parameters():
        nn.init.normal_(parameter, generator=seeded())
    x, output = torch.randn(2, 1, 3, 6, 32, generator=seeded())
    share = torch.full((1,), 0.5)
    rows, columns = slice(1, 4), slice(*columns)
    answer = head(x, output, share, (rows, columns))
    whole = head(x, output, share)
    assert torch.allclose(answer[..., rows, columns], whole[..., rows, columns], atol=1e-5)
    # The rest stays as the network has it.
    answer[..., rows, columns] = output[..., rows, columns]
    assert torch.equal(answer, output)
