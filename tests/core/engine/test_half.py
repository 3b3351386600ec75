"""Products in bfloat16, as a CPU can show them: weights, loss, gradient and update stay float32; nothing is scaled."""

from __future__ import annotations

import pytest
import torch

from softreg_core.data.part import Part
from softreg_core.engine.rates import Rates
from softreg_core.engine.step.beside import build_beside
from softreg_core.engine.step.stepper import Stepper
from softreg_core.losses import DataMeta, build_loss
from softreg_core.nets import build_net
from softreg_core.spec import TrainSpec
from tests.core.nets.catalog import FIRST, batch

LOSS = {
    "base": {"kind": "cross_entropy"},
    "alpha": 0.5,
    "divergence": {"kind": "categorical"},
}


def stepper_of(net_spec, shape, *, is_half):
    spec = TrainSpec.model_validate({"net": net_spec, "loss": LOSS, "training": {"gradient_clip": 10.0}})
    loss = build_loss(spec.loss, DataMeta(3, "classification", 100, None, are_targets_checked=True))
    net = build_net(spec.net, shape, 3, 0)
    rates = Rates(spec.schedule, 10, 100, "val.accuracy")
    stepper = Stepper(spec, net, loss, rates, build_beside(spec, net, None), is_half=is_half)
    stepper.begin_epoch()
    return stepper


@pytest.mark.parametrize(("net_spec", "shape"), [case[1:] for case in FIRST], ids=[case[0] for case in FIRST])
def test_products_are_half_and_all_else_is_not(net_spec, shape):
    rows = Part(batch(shape, 8), torch.arange(8) % 3)
    half, whole = (stepper_of(net_spec, shape, is_half=is_half) for is_half in (True, False))
    dtypes = set()
    handles = [
        module.register_forward_hook(lambda _, __, out: dtypes.add(out.dtype))
        for module in half.net.modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    ]
    for step in range(2):
        columns, wanted = (stepper.take(rows, step).columns for stepper in (half, whole))
        assert {column.dtype for column in columns.values()} == {torch.float32}
        # Eight bits of a product's digits, whose errors a deep network adds up.
        torch.testing.assert_close(columns["total"].mean(), wanted["total"].mean(), rtol=0.05, atol=0.05)
    for handle in handles:
        handle.remove()
    assert dtypes <= {torch.bfloat16}
    captured = half.live()
    for tensor in (*captured.model.values(), *captured.optimizer.values(), *half.trained.values()):
        assert tensor.dtype in (torch.float32, torch.int64)
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in half.trained.values())
