"""A run in float64, for comparisons where rounding would hide what is compared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.data.arrays import table_from_arrays
from softreg_core.engine import CheckpointDue, EpochEnded, Finished, Started, train

FOLLOWING = {"divergence": {"kind": "inflation", "variance": {"kind": "residual"}}}


def finished(ready, table, dtype, **document):
    spec, data = ready(table, training={"epochs": 3, "batch_size": 16} | document.pop("training", {}), **document)
    return list(train(spec, data, dtype=dtype))


@pytest.mark.parametrize("loss", [{}, FOLLOWING], ids=["article", "following"])
def test_a_run_in_float64_is_that_in_float32_but_for_rounding(slope, ready, loss):
    wide, narrow = (
        finished(ready, slope, dtype, loss=loss, optimizer={"kind": "adamw"})
        for dtype in (torch.float64, torch.float32)
    )
    assert isinstance(wide[0], Started)
    assert wide[0].manifest.precision == "float64"
    (state,) = (event.state for event in wide if isinstance(event, CheckpointDue) and event.state.epoch == 3)
    assert {tensor.dtype for tensor in state.model.values()} == {torch.float64}
    losses, others = (
        [event.metrics["train.loss"] for event in run if isinstance(event, EpochEnded)] for run in (wide, narrow)
    )
    np.testing.assert_allclose(losses, others, rtol=1e-5)
    assert losses != others
    assert isinstance(wide[-1], Finished)


def test_it_goes_on_from_its_state_with_the_same_bits(blobs, ready, digest):
    document = {"net": {"kind": "mlp", "hidden": [8], "dropout": 0.3}, "training": {"class_weights": "balanced"}}
    whole = finished(ready, blobs, torch.float64, **document, checkpoints={"every_epochs": 1})
    states = {event.state.epoch: event.state for event in whole if isinstance(event, CheckpointDue)}
    spec, data = ready(
        blobs,
        training={"epochs": 3, "batch_size": 16, "class_weights": "balanced"},
        net=document["net"],
        checkpoints={"every_epochs": 1},
    )
    best = states[1].best
    again = list(train(spec, data, dtype=torch.float64, resume=states[1], resume_best=states[best.epoch]))
    assert digest(again[-1].model.tensors) == digest(whole[-1].model.tensors)


def test_pixels_are_as_wide_as_the_network(ready):
    draw = np.random.default_rng(0)
    table = table_from_arrays(draw.integers(0, 255, (40, 6, 6, 1)).astype(np.uint8), draw.integers(0, 2, 40))
    spec, data = ready(
        table, task={"input": {"kind": "image"}}, net={"kind": "cnn", "channels": [3]}, training={"epochs": 1}
    )
    (*_, last) = train(spec, data, dtype=torch.float64)
    assert last.model.tensors["output.weight"].dtype == torch.float64
