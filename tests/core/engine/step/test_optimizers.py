"""Each optimiser takes the steps of torch's plain one, and weight decay touches what it should."""

from __future__ import annotations

import pytest
import torch

from softreg_core.engine import fit
from softreg_core.engine.step.optimizer import OPTIMIZERS, build_optimizer
from softreg_core.spec import TrainSpec
from tests.core.engine.by_hand import assert_near, trained

TRAINING = {"epochs": 3, "batch_size": 16}


def matrices(net):
    return [p for p in net.parameters() if p.ndim > 1]


def biases(net):
    return [p for p in net.parameters() if p.ndim == 1]


def decayed_and_not(net, decay):
    return [{"params": matrices(net), "weight_decay": decay}, {"params": biases(net), "weight_decay": 0.0}]


PLAIN = {
    "adam": ({}, lambda net: torch.optim.Adam(net.parameters(), lr=0.001)),
    "adamw": ({"weight_decay": 0.3}, lambda net: torch.optim.AdamW(decayed_and_not(net, 0.3), lr=0.001)),
    "sgd": (
        {"momentum": 0.9, "nesterov": True},
        lambda net: torch.optim.SGD(net.parameters(), 0.01, 0.9, nesterov=True),
    ),
    "rmsprop": (
        {"momentum": 0.5, "centered": True, "smoothing": 0.9},
        lambda net: torch.optim.RMSprop(net.parameters(), lr=0.01, alpha=0.9, momentum=0.5, centered=True),
    ),
    "adagrad": ({}, lambda net: torch.optim.Adagrad(net.parameters(), lr=0.01)),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_an_optimiser_takes_the_steps_of_torch_s_plain_one(blobs, ready, kind):
    options, make = PLAIN[kind]
    spec, data = ready(blobs, training=TRAINING, optimizer={"kind": kind, **options}, checkpoints={"keep_best": False})
    assert_near(fit(spec, data).model.tensors, trained(spec, data, make))


def test_muon_takes_hidden_matrices_and_leaves_the_rest_to_adamw(blobs, ready):
    spec, data = ready(
        blobs,
        training=TRAINING,
        net={"hidden": [8, 6]},
        optimizer={"kind": "muon", "weight_decay": 0.3},
        checkpoints={"keep_best": False},
    )

    class Both:
        def __init__(self, net):
            hidden = [net.hidden_0.weight, net.hidden_1.weight]
            rest = [p for p in net.parameters() if all(p is not h for h in hidden)]
            groups = [
                {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.3},
                {"params": [p for p in rest if p.ndim == 1], "weight_decay": 0.0},
            ]
            self.parts = [
                torch.optim.Muon(hidden, lr=0.001, weight_decay=0.3, adjust_lr_fn="match_rms_adamw"),
                torch.optim.AdamW(groups, lr=0.001),
            ]

        def zero_grad(self):
            for part in self.parts:
                part.zero_grad()

        def step(self):
            for part in self.parts:
                part.step()

    assert_near(fit(spec, data).model.tensors, trained(spec, data, Both))


def test_sgd_s_decay_does_not_pass_through_the_momentum(blobs, ready):
    spec, data = ready(
        blobs,
        training=TRAINING,
        optimizer={"kind": "sgd", "momentum": 0.9, "weight_decay": 0.5},
        checkpoints={"keep_best": False},
    )

    @torch.no_grad()
    def shrink(net, optimizer, step):
        for matrix in matrices(net):
            matrix.mul_(1.0 - 0.01 * 0.5)

    wanted = trained(spec, data, lambda net: torch.optim.SGD(net.parameters(), 0.01, 0.9), before=shrink)
    assert_near(fit(spec, data).model.tensors, wanted)


@pytest.mark.parametrize("kind", sorted(OPTIMIZERS))
def test_every_optimiser_learns_and_steps_a_loss_s_own_parameter_without_decay(kind):
    spec = TrainSpec.model_validate({"optimizer": {"kind": kind}})
    net = torch.nn.Linear(3, 2)
    parameters = dict(net.named_parameters()) | {"loss.log_variance": torch.nn.Parameter(torch.ones(2, 2))}
    optimizer = build_optimizer(spec.optimizer, parameters)
    before = {name: p.detach().clone() for name, p in parameters.items()}
    (net(torch.ones(4, 3)).square().sum()).backward()
    parameters["loss.log_variance"].grad = torch.zeros(2, 2)
    optimizer.step()
    assert not torch.equal(parameters["weight"], before["weight"])
    torch.testing.assert_close(parameters["loss.log_variance"].detach(), before["loss.log_variance"])
