"""Training as a reader would write it in plain torch, to compare with."""

from __future__ import annotations

import torch

from softreg_core.engine.order import epoch_order
from softreg_core.losses import DataMeta, build_loss
from softreg_core.nets import build_net


def network(spec, data):
    return build_net(spec.net, data.preprocessing.shape, data.preprocessing.outputs, spec.training.seed)


def loss_of(spec, data):
    return build_loss(spec.loss, DataMeta(data.preprocessing.outputs, data.preprocessing.task, 10_000))


def batches(spec, data):
    """Every batch of the run, in order, each with its step."""
    rows, size, step = data.train.rows, spec.training.batch_size, 0
    size = rows if size == "full" else size
    for epoch in range(spec.training.epochs):
        order = torch.from_numpy(epoch_order(spec.training.seed, epoch, rows))
        for start in range(0, rows, size):
            yield step, data.train.take(order[start : start + size])
            step += 1


def trained(spec, data, make_optimizer, *, extra=None, before=None, after=None):
    """Weights after the run: mean loss plus `extra(net, step)`; hooks before and after each update."""
    net, loss = network(spec, data), loss_of(spec, data)
    optimizer = make_optimizer(net)
    for step, batch in batches(spec, data):
        optimizer.zero_grad()
        total = loss(net(*batch.inputs), batch.target, step=step).total.mean()
        (total if extra is None else total + extra(net, step)).backward()
        if before is not None:
            before(net, optimizer, step)
        optimizer.step()
        if after is not None:
            after(net, step)
    return net.state_dict()


def assert_near(tensors, wanted, tolerance=1e-6):
    assert tensors.keys() == wanted.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-5, atol=tolerance)
