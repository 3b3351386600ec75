"""Networks: sizes, initial weights, and independence from torch's global generator."""

from __future__ import annotations

import math

import pytest
import torch

from softreg_core.nets import build_net
from softreg_core.spec import MlpSpec
from softreg_core.spec.estimate import parameter_count
from softreg_core.spec.inputs import TableShape


@pytest.mark.parametrize("hidden", [(), (7,), (5, 3, 4)])
def test_the_promised_number_of_parameters_is_built(hidden):
    spec = MlpSpec(hidden=hidden)
    net = build_net(spec, TableShape(numbers=6), 2, seed=0)
    assert sum(p.numel() for p in net.parameters()) == parameter_count(spec, TableShape(numbers=6), 2)
    assert net(torch.zeros(4, 6)).shape == (4, 2)


def test_the_seed_and_nothing_else_decides_the_weights():
    torch.manual_seed(1)
    first = build_net(MlpSpec(), TableShape(numbers=6), 2, seed=5).state_dict()
    before = torch.get_rng_state()
    second = build_net(MlpSpec(), TableShape(numbers=6), 2, seed=5).state_dict()
    other = build_net(MlpSpec(), TableShape(numbers=6), 2, seed=6).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["output.weight"], other["output.weight"])


def test_large_seeds_are_taken():
    build_net(MlpSpec(), TableShape(numbers=2), 2, seed=2**63 - 1)


def test_glorot_fills_its_range_and_leaves_biases_zero():
    net = build_net(
        MlpSpec(hidden=(200,), initialization="glorot_uniform"), TableShape(numbers=100), 10, seed=0
    ).state_dict()
    bound = math.sqrt(6 / 300)
    assert net["hidden_0.bias"].abs().max() == 0
    assert 0.98 * bound < net["hidden_0.weight"].abs().max() <= bound


def test_torch_initialisation_has_the_library_s_range():
    ours = build_net(MlpSpec(hidden=(200,)), TableShape(numbers=100), 10, seed=0).state_dict()
    theirs = torch.nn.Linear(100, 200)
    for name, tensor in (("hidden_0.weight", theirs.weight), ("hidden_0.bias", theirs.bias)):
        assert ours[name].abs().max() <= 0.1
        assert ours[name].std().item() == pytest.approx(tensor.std().item(), rel=0.15)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "silu", "elu", "leaky_relu"])
def test_every_activation_is_torch_s_own(activation):
    net = build_net(MlpSpec(hidden=(3,), activation=activation), TableShape(numbers=3), 3, seed=0)
    x = torch.linspace(-2, 2, 9)
    assert torch.equal(net.activation_0(x), getattr(torch.nn.functional, activation)(x))


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_norms_and_dropout_stand_around_the_activation_and_are_counted(norm):
    spec = MlpSpec(hidden=(5, 4), norm=norm, dropout=0.1)
    net = build_net(spec, TableShape(numbers=6), 2, seed=0)
    assert [name for name, _ in net.named_children()] == [
        *("hidden_0", "norm_0", "activation_0", "dropout_0"),
        *("hidden_1", "norm_1", "activation_1", "dropout_1"),
        "output",
    ]
    assert sum(p.numel() for p in net.parameters()) == parameter_count(spec, TableShape(numbers=6), 2)


def test_he_initialisation_keeps_the_variance_through_relu():
    net = build_net(MlpSpec(hidden=(400,) * 6, initialization="he_normal"), TableShape(numbers=100), 400, seed=0)
    given = torch.randn(200, 100, generator=torch.Generator().manual_seed(0))
    assert net(given).square().mean().item() == pytest.approx(2.0, rel=0.3)
