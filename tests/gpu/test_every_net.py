"""Every network with every kind of data on a GPU: as on a CPU, in bfloat16, and recorded."""

from __future__ import annotations

import pytest
import torch

from softreg_core.data.part import Part
from softreg_core.engine.build import laid_out
from softreg_core.engine.manifest import deterministic
from softreg_core.engine.rates import Rates
from softreg_core.engine.step.beside import build_beside
from softreg_core.engine.step.stepper import Stepper
from softreg_core.engine.tiers.cuda_graph import record
from softreg_core.losses import DataMeta, build_loss
from softreg_core.nets import build_net
from softreg_core.spec import TrainSpec
from tests.core.nets.catalog import FIRST, batch

# Torch warns of each operation that has no deterministic algorithm, and goes on.
pytestmark = pytest.mark.filterwarnings("ignore:.*determinis")
LOSS = {"base": {"kind": "cross_entropy"}, "alpha": 0.5, "divergence": {"kind": "categorical"}}
EACH = pytest.mark.parametrize(("net_spec", "shape"), [case[1:] for case in FIRST], ids=[case[0] for case in FIRST])


def stepper_on(device, net_spec, shape, *, is_half=False):
    spec = TrainSpec.model_validate({"net": net_spec, "loss": LOSS})
    loss = build_loss(spec.loss, DataMeta(3, "classification", 100, None, are_targets_checked=True)).to(device)
    net = laid_out(build_net(spec.net, shape, 3, 0).to(device))
    rates = Rates(spec.schedule, 10, 100, "val.accuracy")
    stepper = Stepper(spec, net, loss, rates, build_beside(spec, net, None), is_half=is_half)
    stepper.begin_epoch()
    return stepper


def rows_of(shape):
    return Part(batch(shape, 12), torch.arange(12) % 3)


@EACH
def test_steps_are_those_of_a_cpu(net_spec, shape):
    if getattr(net_spec, "dropout", 0.0):
        net_spec = net_spec.model_copy(update={"dropout": 0.0})  # masks are those of the device's own generator
    rows = rows_of(shape)
    found = {}
    for device in ("cpu", "cuda"):
        stepper = stepper_on(device, net_spec, shape)
        with deterministic(torch.device(device)):
            told = [stepper.take(rows.to(torch.device(device)), step).means()["loss"] for step in range(3)]
        found[device] = told
    assert found["cuda"] == pytest.approx(found["cpu"], rel=2e-2, abs=1e-3)  # convolutions in TF32


@EACH
def test_in_bfloat16_weights_loss_and_update_stay_float32(net_spec, shape):
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU does not compute in bfloat16")
    rows = rows_of(shape).to(torch.device("cuda"))
    half, whole = (stepper_on("cuda", net_spec, shape, is_half=is_half) for is_half in (True, False))
    for step in range(3):
        columns = half.take(rows, step).columns
        assert {column.dtype for column in columns.values()} == {torch.float32}
        assert half.is_finite()
        wanted = whole.take(rows, step).columns["total"].mean()
        torch.testing.assert_close(columns["total"].mean(), wanted, rtol=0.1, atol=0.1)
    assert {tensor.dtype for tensor in half.trained.values()} == {torch.float32}


@EACH
def test_a_pass_and_its_gradient_can_be_recorded(net_spec, shape):
    """Rows without dropout; the tier has its masks in tensors of its own."""
    if getattr(net_spec, "dropout", 0.0):
        net_spec = net_spec.model_copy(update={"dropout": 0.0})
    stepper = stepper_on("cuda", net_spec, shape)
    rows = rows_of(shape).to(torch.device("cuda"))
    found = {}

    def work():
        prediction = stepper.net(*rows.inputs)
        total = stepper.loss(prediction, rows.target, step=0).total.mean()
        found["total"] = total.detach()
        found["gradients"] = torch.autograd.grad(total, list(stepper.trained.values()), allow_unused=True)

    with deterministic(torch.device("cuda")):
        work()
        wanted = [None if gradient is None else gradient.clone() for gradient in found["gradients"]]
        replay = record(work, lambda: None)
        replay()
    for gradient, other in zip(found["gradients"], wanted, strict=True):
        assert (gradient is None) == (other is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, other, rtol=1e-2, atol=1e-4)
