"""Losses, weights and metrics that are not finite: named exactly, and never handed out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.sample import load_sample
from softreg_core.engine import CheckpointDue, EpochEnded, Progress, train
from softreg_core.errors import NonFiniteLossError


def events_of(spec, data, **options):
    return [event for event in train(spec, data, **options) if not isinstance(event, Progress)]


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_an_overflowing_loss_is_named_by_step_term_and_epoch(ready):
    """Row 0 has a target of 3e19, whose square float32 cannot hold; the step that meets it is known from the order."""
    from softreg_core.engine.order import epoch_order

    target = np.linspace(-1, 1, 20)
    target[0] = 3e19
    spec, data = ready(
        table_from_arrays(np.arange(20.0), target),
        split={"train": 0.95, "validation": 0.05},
        preprocess={"target": "none"},
        training={"batch_size": 4},
        loss={"divergence": None},
    )
    where = int((data.train.target[:, 0] > 1e19).nonzero()[0, 0])
    step = epoch_order(0, 0, 19).tolist().index(where) // 4 + 1
    seen = []
    with pytest.raises(NonFiniteLossError) as caught:
        seen.extend(train(spec, data))
    assert (caught.value.step, caught.value.term, caught.value.epoch) == (step, "base", 1)
    assert not of_kind(seen, CheckpointDue)


def test_a_run_that_diverges_keeps_the_checkpoints_before_and_gives_none_after(slope, ready):
    spec, data = ready(
        slope,
        training={"epochs": 200, "batch_size": 8},
        optimizer={"kind": "sgd", "learning_rate": 3.0},
        checkpoints={"every_epochs": 1},
        net={"hidden": []},
        loss={"divergence": None},
    )
    seen = []
    with pytest.raises(NonFiniteLossError) as caught:
        seen.extend(train(spec, data))
    due = of_kind(seen, CheckpointDue)
    assert len(due) > 2
    for event in due:
        assert event.state.step < caught.value.step
        assert all(tensor.isfinite().all() for tensor in event.state.model.values())
        assert math.isfinite(event.metrics["train.loss"])


def test_weights_ruined_by_the_last_step_are_not_delivered(blobs, ready):
    """One step only: its loss is finite, its update is not, and no later loss would tell."""
    spec, data = ready(
        blobs,
        training={"epochs": 1, "batch_size": 100},
        optimizer={"kind": "sgd", "learning_rate": 1e6},
        preprocess={"features": "none"},
        loss={"alpha": 0.0},
    )
    huge = data.train.inputs[0] * 1e18
    data.train.inputs[0].copy_(huge)
    with pytest.raises(NonFiniteLossError) as caught:
        list(train(spec, data))
    assert (caught.value.step, caught.value.epoch) == (1, 1)


def failing(seen, spec, data, **options):
    """Gathers the events before the error, which it returns."""
    with pytest.raises(NonFiniteLossError) as caught:
        seen.extend(train(spec, data, **options))
    return caught.value


EARLY = {
    "optimizer": {"kind": "sgd", "learning_rate": 1000.0},
    "loss": {"base": {"kind": "cross_entropy"}},
    "training": {"batch_size": 32},
}


@pytest.mark.parametrize("keep_best", [True, False])
def test_a_run_that_blows_up_before_its_first_checkpoint_still_hands_out_its_last_good_epoch(ready, keep_best):
    spec, data = ready(load_sample("iris"), **EARLY, checkpoints={"every_epochs": 10, "keep_best": keep_best})
    seen = []
    error = failing(seen, spec, data)
    last = of_kind(seen, EpochEnded)[-1]
    assert 0 < last.epoch < 10
    assert error.epoch == last.epoch + 1
    due = of_kind(seen, CheckpointDue)
    assert due[-1].state.step == last.step < error.step
    assert due[-1].metrics == last.metrics
    assert any(event.is_best for event in due) is keep_best
    assert all(tensor.isfinite().all() for event in due for tensor in event.state.model.values())


def test_the_best_and_the_last_good_epoch_come_before_the_error_once_each_and_in_order(slope, ready):
    """R2 falls from the second epoch on, so the best epoch and the last good one are two."""
    spec, data = ready(
        slope,
        training={"epochs": 200, "batch_size": 8},
        optimizer={"kind": "sgd", "learning_rate": 3.0},
        checkpoints={"every_epochs": 1000},
        net={"hidden": []},
        loss={"divergence": None},
    )
    seen = []
    error = failing(seen, spec, data)
    ended = of_kind(seen, EpochEnded)
    best = max(ended, key=lambda event: event.metrics["val.r2"])
    due = [(event.state.step, event.is_best) for event in of_kind(seen, CheckpointDue)]
    assert due == [(best.step, True), (ended[-1].step, False)]
    assert ended[-1].step < error.step
    assert of_kind(seen, CheckpointDue)[-1].state.best.step == best.step


def test_a_resumed_run_that_blows_up_hands_out_no_state_that_is_stored(ready):
    spec, data = ready(load_sample("iris"), **EARLY, checkpoints={"every_epochs": 1})
    seen = []
    failing(seen, spec, data)
    state = of_kind(seen, CheckpointDue)[-1].state
    again = []
    failing(again, spec, data, resume=state, resume_best=state)
    assert not of_kind(again, CheckpointDue)


def test_a_single_step_s_divergence_is_blamed_when_only_it_is_bad(blobs, ready):
    from softreg_core.engine.record import LossRecord
    from softreg_core.losses import LossParts

    record = LossRecord(most_rows=6, device=torch.device("cpu"))
    record.begin(epoch=4, step=12)
    fine, bad = torch.ones(2), torch.tensor([1.0, torch.nan])
    record.add(LossParts(fine, fine, fine)._asdict())
    record.read()
    record.add(LossParts(fine, fine, fine)._asdict())
    record.add(LossParts(bad, fine, bad)._asdict())
    with pytest.raises(NonFiniteLossError) as caught:
        record.read()
    assert (caught.value.step, caught.value.term, caught.value.epoch) == (15, "divergence", 5)


def test_a_metric_that_is_nan_everywhere_delivers_the_last_epoch(ready):
    """One validation row has no R2."""
    table = table_from_arrays(np.arange(10.0), np.arange(10.0) ** 0.5)
    spec, data = ready(table, split={"train": 0.9, "validation": 0.1}, training={"epochs": 3})
    events = events_of(spec, data)
    assert events[-1].best_step is None
    assert math.isnan(events[-1].metrics["val.r2"])
    assert events[-1].metrics["train.loss"] == of_kind(events, EpochEnded)[-1].metrics["train.loss"]
