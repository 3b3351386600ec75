"""A run whose alpha changes: every step is weighed by its place in the whole run, also after an interruption."""

from __future__ import annotations

import pytest

from softreg_core.engine import EpochEnded, Finished, Stopped, fit, train
from softreg_core.spec.alpha import alpha_at

TRAINING = {"epochs": 4, "batch_size": 16}  # 56 rows: 4 steps an epoch, 16 in all
SCHEDULES = [
    {"kind": "linear", "value": 0.5, "warm_up": 0.8},
    {"kind": "cosine", "start": 0.1, "end": 0.9},
    {"kind": "cyclical", "value": 0.5, "cycles": 2},
]


def of_alpha(ready, table, alpha, combine="add"):
    loss = {"alpha": alpha, "combine": combine}
    return ready(table, loss=loss, training=TRAINING, checkpoints={"keep_best": False})


@pytest.mark.parametrize("combine", ["add", "convex"])
@pytest.mark.parametrize("alpha", SCHEDULES, ids=lambda alpha: alpha["kind"])
def test_stopping_at_any_step_changes_no_bit(blobs, ready, digest, alpha, combine):
    spec, data = of_alpha(ready, blobs, alpha, combine)
    whole = list(train(spec, data))
    for steps in range(0, 16, 3):
        answers = iter([None] * steps + ["stop"])
        stopped = list(train(spec, data, control=lambda answers=answers: next(answers)))[-1]
        assert isinstance(stopped, Stopped)
        again = list(train(spec, data, resume=stopped.state))
        assert isinstance(again[-1], Finished)
        assert again[-1].metrics == whole[-1].metrics
        assert digest(again[-1].model.tensors) == digest(whole[-1].model.tensors)


@pytest.mark.parametrize("alpha", SCHEDULES, ids=lambda alpha: alpha["kind"])
def test_validation_is_weighed_as_at_the_end_in_every_epoch(blobs, ready, alpha):
    spec, data = of_alpha(ready, blobs, alpha)
    final = alpha_at(spec.loss.alpha, 1.0)
    for event in train(spec, data):
        if isinstance(event, EpochEnded):
            metrics = event.metrics
            assert metrics["val.loss"] == pytest.approx(metrics["val.base"] + final * metrics["val.divergence"])


def test_training_is_weighed_by_the_step(blobs, ready):
    """In the first of four epochs a ramp over the whole run stays below a quarter of its end."""
    spec, data = of_alpha(ready, blobs, {"kind": "linear", "value": 0.8, "warm_up": 1.0})
    for number, metrics in enumerate(fit(spec, data).history):
        weight = (metrics["train.loss"] - metrics["train.base"]) / metrics["train.divergence"]
        assert 0.2 * number < weight < 0.2 * (number + 1)
