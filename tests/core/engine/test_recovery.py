"""Steps that are not finite: left out, or the one before taken again with half the rate, and no update in between."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from softreg_core.data.arrays import table_from_arrays
from softreg_core.engine import EpochEnded, Finished, StepLogged, Stopped, train
from softreg_core.engine.order import epoch_order
from softreg_core.errors import NonFiniteLossError

LAST = {"keep_best": False}


def one_bad_row(ready, **training):
    """Row 0 has a target of 3e19, whose square float32 cannot hold."""
    target = np.linspace(-1, 1, 20)
    target[0] = 3e19
    spec, data = ready(
        table_from_arrays(np.arange(20.0), target),
        split={"train": 0.95, "validation": 0.05},
        preprocess={"target": "none"},
        training={"batch_size": 4, "epochs": 3, **training},
        loss={"divergence": None},
        checkpoints=LAST,
    )
    where = int((data.train.target[:, 0] > 1e19).nonzero()[0, 0])
    return spec, data, [epoch_order(0, epoch, 19).tolist().index(where) // 4 for epoch in range(3)]


def test_a_step_that_is_skipped_changes_no_weight_and_is_counted(ready, digest, monkeypatch):
    from softreg_core.engine.step.stepper import Stepper

    spec, data, bad = one_bad_row(ready, on_nonfinite="skip")
    changed, take = [], Stepper.take

    def noted(self, *given):
        before = digest(self.live().copied("cpu").model)
        outcome = take(self, *given)
        changed.append(before != digest(self.live().copied("cpu").model))
        assert outcome.is_taken is changed[-1]
        return outcome

    monkeypatch.setattr(Stepper, "take", noted)
    events = list(train(spec, data, keep_step_losses=True))
    assert isinstance(events[-1], Finished)
    ended = [event for event in events if isinstance(event, EpochEnded)]
    assert [event.metrics["train.skipped_steps"] for event in ended] == [1.0, 2.0, 3.0]
    for epoch, event in enumerate(ended):
        assert [math.isnan(loss) for loss in event.step_losses] == [step == bad[epoch] for step in range(5)]
        assert math.isfinite(event.metrics["train.loss"])
        assert changed[5 * epoch : 5 * epoch + 5] == [step != bad[epoch] for step in range(5)]


def test_statistics_of_batch_norm_do_not_see_a_step_that_is_skipped(blobs, ready):
    spec, data = ready(
        blobs, training={"epochs": 2, "batch_size": 16, "on_nonfinite": "skip"}, net={"norm": "batch"}, checkpoints=LAST
    )
    data.train.inputs[0][3] = torch.inf
    finished = list(train(spec, data))[-1]
    assert all(tensor.isfinite().all() for tensor in finished.model.tensors.values())
    assert finished.metrics["train.skipped_steps"] == 2.0


def test_an_epoch_in_which_every_step_is_skipped_fails(ready, blobs):
    spec, data = ready(blobs, training={"epochs": 2, "batch_size": "full", "on_nonfinite": "skip"})
    data.train.inputs[0][3] = torch.nan
    with pytest.raises(NonFiniteLossError, match="every step"):
        list(train(spec, data))


def diverging(slope, ready, how, rate=3.0, **training):
    return ready(
        slope,
        training={"epochs": 60, "batch_size": "full", "on_nonfinite": how, **training},
        optimizer={"kind": "sgd", "learning_rate": rate},
        net={"hidden": []},
        loss={"divergence": None},
        checkpoints=LAST,
    )


@pytest.mark.parametrize("size", ["full", 24])
def test_a_rate_that_is_too_high_is_halved_until_the_run_holds(slope, ready, size):
    options = {"epochs": 200, "batch_size": size}
    with pytest.raises(NonFiniteLossError):
        list(train(*diverging(slope, ready, "fail", **options)))
    events = list(train(*diverging(slope, ready, "rewind", **options)))
    finished = events[-1]
    assert 1.0 <= finished.metrics["train.rewinds"] <= 10.0
    assert finished.metrics["train.learning_rate"] == 3.0 * 0.5 ** finished.metrics["train.rewinds"]
    ended = [event for event in events if isinstance(event, EpochEnded)]
    assert [event.epoch for event in ended] == list(range(1, 201))
    assert [event.step for event in ended] == [event.epoch * events[0].steps_per_epoch for event in ended]
    assert all(math.isfinite(event.metrics["train.loss"]) for event in ended)
    assert finished.metrics["train.loss"] < 1.0


def test_ten_steps_are_undone_and_no_more(slope, ready):
    with pytest.raises(NonFiniteLossError, match="10 steps were undone"):
        list(train(*diverging(slope, ready, "rewind", rate=1e6, batch_size=12)))


def test_a_batch_that_is_bad_by_itself_cannot_be_mended_by_going_back(ready):
    spec, data, bad = one_bad_row(ready, on_nonfinite="rewind")
    with pytest.raises(NonFiniteLossError) as caught:
        list(train(spec, data))
    assert caught.value.step == bad[0] + 1


def test_a_run_that_is_stopped_where_an_epoch_has_only_skipped_steps_so_far_goes_on(ready, digest):
    spec, data, _ = one_bad_row(ready, on_nonfinite="skip")
    order = epoch_order(0, 0, 19)
    where = int((data.train.target[:, 0] > 1e19).nonzero()[0, 0])
    for tensor in (data.train.inputs[0], data.train.target):  # the bad row is now in the first batch
        tensor[[where, int(order[0])]] = tensor[[int(order[0]), where]]
    wanted = list(train(spec, data))[-1]
    answers = iter([None])
    stopped = list(train(spec, data, control=lambda: next(answers, "stop")))[-1]
    assert isinstance(stopped, Stopped)
    got = list(train(spec, data, resume=stopped.state))[-1]
    assert digest(got.model.tensors) == digest(wanted.model.tensors)
    assert repr(sorted(got.metrics.items())) == repr(sorted(wanted.metrics.items()))


def test_each_step_is_told_of_once_and_none_that_was_undone(blobs, ready, monkeypatch):
    """The service stores each series by ascending steps, and takes what comes twice for the same."""
    from softreg_core.engine.step.stepper import Stepper

    take, losses, failures = Stepper.take, {}, []

    def failing(self, batch, step, observe=None):
        outcome = take(self, batch, step, observe)
        if step in (3, 6) and failures.count(step) < 2:  # the second time the whole epoch is begun anew
            failures.append(step)
            return outcome._replace(is_taken=False)
        losses[step + 1] = outcome.means()["loss"]
        return outcome

    monkeypatch.setattr(Stepper, "take", failing)
    spec, data = ready(blobs, training={"epochs": 2, "batch_size": 8, "on_nonfinite": "rewind", "log_every": 1})
    events = list(train(spec, data))
    assert len(failures) == 4
    told = [(event.step, event.metrics["step.loss"]) for event in events if isinstance(event, StepLogged)]
    assert told == [(step, losses[step]) for step in range(1, events[-1].step + 1)]
