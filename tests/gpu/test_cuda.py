"""The same jobs on a CUDA device; skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.tabular import prepare
from softreg_core.engine import CheckpointDue, EpochEnded, Finished, fit, train
from softreg_core.spec import TrainSpec, resolve

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


@pytest.fixture(params=["classification", "regression"])
def table(request):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 6))
    target = features @ generator.normal(size=6)
    return table_from_arrays(features, target > 0 if request.param == "classification" else target)


def job(table, **spec):
    resolved = resolve(TrainSpec.model_validate(spec), table.report).spec
    return resolved, prepare(resolved, table)


@pytest.mark.parametrize("divergence", ["article", "inflation", "sample_program", "gaussian", "cauchy"])
def test_cpu_and_cuda_agree(table, divergence):
    spec, data = job(table, training={"epochs": 8}, loss={"alpha": 0.5, "divergence": {"kind": divergence}})
    losses = {
        device: [
            event.step_losses
            for event in train(spec, data, device=device, keep_step_losses=True)
            if isinstance(event, EpochEnded)
        ]
        for device in ("cpu", "cuda")
    }
    assert losses["cuda"][0] == pytest.approx(losses["cpu"][0], abs=1e-5)
    assert losses["cuda"][-1] == pytest.approx(losses["cpu"][-1], rel=0.01)


@pytest.mark.parametrize("optimizer", [{"kind": "adam"}, {"kind": "sgd", "momentum": 0.9}])
def test_resuming_on_cuda_changes_no_bit(table, optimizer):
    spec, data = job(table, training={"epochs": 4}, optimizer=optimizer, checkpoints={"every_epochs": 2})
    whole = list(train(spec, data, device="cuda"))
    states = {event.state.step: event.state for event in whole if isinstance(event, CheckpointDue)}
    for state in states.values():
        best = states[state.best.step]
        (again,) = (
            event
            for event in train(spec, data, device="cuda", resume=state, resume_best=best)
            if isinstance(event, Finished)
        )
        assert again.metrics == whole[-1].metrics
        for name, tensor in again.model.tensors.items():
            assert torch.equal(tensor, whole[-1].model.tensors[name])


def test_what_is_handed_out_lies_on_the_cpu(table):
    spec, data = job(table, training={"epochs": 1})
    assert all(tensor.device.type == "cpu" for tensor in fit(spec, data, device="cuda").model.tensors.values())
