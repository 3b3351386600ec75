"""A pack on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.data.arrays import table_from_arrays
from softreg_core.engine import Finished, train, train_packed


@pytest.mark.parametrize("optimizer", [{"kind": "adamw"}, {"kind": "sgd", "momentum": 0.9}, {"kind": "rmsprop"}])
def test_members_end_where_their_single_runs_end(ready, optimizer):
    draw = np.random.default_rng(0)
    table = table_from_arrays(draw.normal(size=(90, 5)), draw.integers(0, 3, 90))
    net = {"kind": "mlp", "hidden": [6], "activation": "tanh", "dropout": 0.2}
    made = [
        ready(
            table,
            net=net,
            loss={"alpha": alpha},
            optimizer=optimizer | {"learning_rate": rate},
            training={"epochs": 5, "batch_size": 16, "seed": seed},
        )
        for alpha, rate, seed in ((0.0, 0.01, 0), (0.1, 0.02, 1), (1.0, 0.01, 2))
    ]
    specs, data = zip(*made, strict=True)
    ends = {
        member: event
        for member, event in train_packed(specs, data, device="cuda", dtype=torch.float64)
        if isinstance(event, Finished)
    }
    for member, (spec, rows) in enumerate(made):
        (*_, alone) = train(spec, rows, device="cuda", dtype=torch.float64)
        assert ends[member].metrics == pytest.approx(alone.metrics, rel=1e-9, nan_ok=True)
        for name, tensor in alone.model.tensors.items():
            torch.testing.assert_close(ends[member].model.tensors[name], tensor, rtol=1e-9, atol=1e-9)
