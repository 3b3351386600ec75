"""The lean step of Adam against torch's own, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from softreg_core.engine.step.optimizer import build_optimizer, optimizer_tensors, restore_optimizer
from softreg_core.spec.optimizer import AdamSpec, AdamwSpec

SPECS = [AdamSpec(learning_rate=0.01, epsilon=1e-5), AdamwSpec(learning_rate=0.01, weight_decay=0.1)]


def own_of_torch(spec, net):
    betas = {"betas": (spec.beta1, spec.beta2), "eps": spec.epsilon, "lr": spec.learning_rate, "fused": True}
    if isinstance(spec, AdamSpec):
        return torch.optim.Adam(net.parameters(), **betas)
    groups = [{"params": [net.weight], "weight_decay": 0.1}, {"params": [net.bias], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, **betas)


def give(net, step, names=("weight", "bias")):
    generator = torch.Generator().manual_seed(step)
    for name, parameter in net.named_parameters():
        found = torch.randn(parameter.shape, generator=generator)
        parameter.grad = found if name in names else None


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_every_step_is_torch_s_with_a_changing_rate_and_after_a_restart(spec):
    net = nn.Linear(5, 3)
    twin = copy.deepcopy(net)
    theirs = own_of_torch(spec, twin)
    parameters = dict(net.named_parameters())
    ours = build_optimizer(spec, parameters)
    for step in range(12):
        if step == 6:  # another process goes on from a checkpoint
            kept = {name: tensor.clone() for name, tensor in optimizer_tensors(ours, parameters).items()}
            ours = build_optimizer(spec, parameters)
            restore_optimizer(ours, parameters, kept)
        give(net, step)
        give(twin, step)
        ours.set_factor(1.0 / (1 + step))
        for group in theirs.param_groups:
            group["lr"] = spec.learning_rate / (1 + step)
        ours.step()
        theirs.step()
        assert same(net, twin)
        tensors = optimizer_tensors(ours, parameters)
        assert tensors["weight/step"].item() == tensors["bias/step"].item() == step + 1
        assert torch.equal(tensors["weight/exp_avg"], theirs.state[twin.weight]["exp_avg"])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_a_parameter_without_a_gradient_stays_and_is_not_counted(spec):
    net = nn.Linear(5, 3)
    twin = copy.deepcopy(net)
    theirs, ours = own_of_torch(spec, twin), build_optimizer(spec, dict(net.named_parameters()))
    for step, names in enumerate([("weight",), ("weight", "bias"), ("bias",), ("weight", "bias"), ("weight", "bias")]):
        give(net, step, names)
        give(twin, step, names)
        ours.step()
        theirs.step()
        assert same(net, twin)
    assert optimizer_tensors(ours, dict(net.named_parameters()))["bias/step"].item() == 4.0


def test_gradients_are_forgotten():
    net = nn.Linear(5, 3)
    ours = build_optimizer(SPECS[0], dict(net.named_parameters()))
    give(net, 0)
    ours.zero_grad()
    assert net.weight.grad is None
