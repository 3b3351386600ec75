"""The loop as its caller sees it: events, metrics, checkpoints, the delivered model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from softreg_core.engine import (
    CheckpointDue,
    EpochEnded,
    Finished,
    Progress,
    Started,
    Stopped,
    fit,
    train,
)
from softreg_core.engine.step.optimizer import optimizer_tensors
from softreg_core.engine.threads import threads_for
from softreg_core.evaluate.measure import evaluate
from softreg_core.losses import build_loss
from softreg_core.nets import build_net
from softreg_core.spec.inputs import TableShape


def events_of(spec, data, **options):
    return [event for event in train(spec, data, **options) if not isinstance(event, Progress)]


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_a_run_tells_its_size_then_epochs_then_its_end(blobs, ready):
    spec, data = ready(blobs, training={"epochs": 3, "batch_size": 16}, checkpoints={"every_epochs": 2})
    events = events_of(spec, data)
    started, finished = events[0], events[-1]
    assert (started.total_steps, started.steps_per_epoch, started.epochs, started.start_step) == (12, 4, 3, 0)
    assert started.parameters == 5 * 64 + 64 + 64 * 3 + 3
    assert [event.step for event in of_kind(events, EpochEnded)] == [4, 8, 12]
    assert (finished.step, finished.epoch, finished.reason) == (12, 3, "completed")


def test_training_learns(blobs, slope, ready):
    spec, data = ready(blobs, training={"epochs": 60, "batch_size": 8})
    assert fit(spec, data).metrics["val.accuracy"] > 0.7
    spec, data = ready(
        slope, training={"epochs": 80, "batch_size": 8}, optimizer={"kind": "adam", "learning_rate": 0.01}
    )
    result = fit(spec, data)
    assert result.metrics["val.r2"] > 0.9
    assert result.metrics["val.mae"] < 8.0


def test_series_are_those_of_the_task_and_the_loss(blobs, two_slopes, ready):
    one_epoch = {"epochs": 1}
    spec, data = ready(blobs, training=one_epoch, split={"train": 0.6, "validation": 0.2, "test": 0.2})
    parts = {"loss", "base", "divergence"}
    (ended,) = of_kind(events_of(spec, data), EpochEnded)
    shown = {name for name in ended.metrics if name.count(".") == 1}  # the rest is the ledger of the terms
    assert shown == {f"train.{p}" for p in parts} | {f"val.{p}" for p in parts} | {"val.accuracy"}
    finished = events_of(spec, data)[-1]
    assert set(finished.metrics) - set(ended.metrics) == {f"test.{p}" for p in parts} | {"test.accuracy"}
    spec, data = ready(two_slopes, training=one_epoch, loss={"divergence": None})
    of_values = {"val.r2", "val.mae", "val.rmse"}
    assert set(fit(spec, data).metrics) == {"train.loss", "train.base", "val.loss", "val.base"} | of_values


def test_training_metrics_are_the_means_over_the_epoch_s_examples(blobs, ready):
    """56 rows in batches of 16 end with one of 8: a mean of batch means would weigh its rows twice."""
    spec, data = ready(
        blobs, training={"epochs": 1, "batch_size": 16}, optimizer={"kind": "adam", "learning_rate": 1e-30}
    )
    (ended,) = of_kind(events_of(spec, data, keep_step_losses=True), EpochEnded)
    net = build_net(spec.net, TableShape(numbers=5), 3, spec.training.seed)
    still = evaluate(net, build_loss(spec.loss), data.train)
    for name in ("loss", "base", "divergence"):
        assert ended.metrics[f"train.{name}"] == pytest.approx(still[name], rel=1e-6)
    assert np.average(ended.step_losses, weights=[16, 16, 16, 8]) == pytest.approx(still["loss"], rel=1e-6)


def test_the_delivered_model_is_the_best_epoch_s_with_its_metrics(blobs, ready):
    spec, data = ready(
        blobs, training={"epochs": 12, "batch_size": 8}, optimizer={"kind": "adam", "learning_rate": 0.05}
    )
    events = events_of(spec, data)
    history = [event.metrics["val.accuracy"] for event in of_kind(events, EpochEnded)]
    best_epoch = history.index(max(history)) + 1
    finished = events[-1]
    assert best_epoch < 12
    assert finished.best_step == best_epoch * 7
    assert finished.metrics["val.accuracy"] == max(history)
    net = build_net(spec.net, TableShape(numbers=5), 3, seed=0)
    net.load_state_dict(finished.model.tensors)
    again = evaluate(net, build_loss(spec.loss), data.validation)
    assert {f"val.{name}": value for name, value in again.items()}.items() <= finished.metrics.items()


@pytest.mark.parametrize("monitor", ["val.loss", "val.base", "val.accuracy"])
def test_the_monitor_decides_what_is_best_and_in_which_direction(blobs, ready, monitor):
    spec, data = ready(
        blobs,
        training={"epochs": 10, "batch_size": 8},
        optimizer={"kind": "adam", "learning_rate": 0.1},
        checkpoints={"monitor": monitor},
    )
    events = events_of(spec, data)
    values = [event.metrics[monitor] for event in of_kind(events, EpochEnded)]
    best = max(values) if monitor == "val.accuracy" else min(values)
    assert events[-1].metrics[monitor] == best
    assert events[-1].best_step == 7 * (values.index(best) + 1)


def test_an_epoch_s_state_is_copied_once_whether_it_is_the_best_or_due_or_both(blobs, ready, monkeypatch):
    from softreg_core.engine.step import stepper

    copied = []
    monkeypatch.setattr(stepper, "optimizer_tensors", lambda *given: copied.append(1) or optimizer_tensors(*given))
    spec, data = ready(blobs, training={"epochs": 6}, checkpoints={"every_epochs": 2})
    assert len(of_kind(events_of(spec, data), CheckpointDue)) >= 3
    assert len(copied) == 6


def test_a_table_that_was_not_prepared_is_refused_with_advice(blobs, ready):
    spec, _ = ready(blobs)
    with pytest.raises(TypeError, match="call prepare"):
        fit(spec, blobs)


def test_without_keep_best_the_last_epoch_is_delivered(blobs, ready):
    spec, data = ready(blobs, training={"epochs": 5}, checkpoints={"keep_best": False})
    events = events_of(spec, data)
    assert events[-1].best_step is None
    assert events[-1].metrics == of_kind(events, EpochEnded)[-1].metrics
    assert not any(event.is_best for event in of_kind(events, CheckpointDue))


@pytest.mark.parametrize("every", [1, 3, 4, 100])
def test_checkpoints_come_on_time_with_the_best_first_and_no_step_twice(blobs, ready, every):
    spec, data = ready(
        blobs,
        training={"epochs": 10, "batch_size": 8},
        optimizer={"kind": "adam", "learning_rate": 0.05},
        checkpoints={"every_epochs": every},
    )
    events = events_of(spec, data)
    due = of_kind(events, CheckpointDue)
    steps = [event.state.step for event in due]
    assert len(set(steps)) == len(steps)
    wanted = {epoch * 7 for epoch in range(every, 11, every)} | {70}
    assert {event.state.step for event in due if not event.is_best} <= wanted
    assert wanted <= set(steps)
    seen = set()
    for event in due:
        seen.add(event.state.step)
        assert event.state.best.step in seen, "a checkpoint was handed out before its best"
    best = [event for event in due if event.is_best]
    assert best[-1].state.step == events[-1].best_step
    assert best[-1].metrics["val.accuracy"] == events[-1].metrics["val.accuracy"]


def test_the_same_job_twice_gives_the_same_bits(blobs, ready, digest):
    spec, data = ready(blobs, training={"epochs": 4})
    torch.manual_seed(1)
    first = events_of(spec, data)
    torch.manual_seed(2)
    second = events_of(spec, data)
    assert digest(first[-1].model.tensors) == digest(second[-1].model.tensors)
    assert first[-1].metrics == second[-1].metrics
    other, _ = ready(blobs, training={"epochs": 4, "seed": 1})
    assert digest(events_of(other, data)[-1].model.tensors) != digest(first[-1].model.tensors)


def test_each_epoch_has_another_order(blobs, ready, monkeypatch):
    orders = []
    from softreg_core.engine import batches
    from softreg_core.engine.order import epoch_order

    def noted(seed, epoch, rows):
        orders.append((seed, epoch, tuple(epoch_order(seed, epoch, rows))))
        return epoch_order(seed, epoch, rows)

    monkeypatch.setattr(batches, "epoch_order", noted)
    spec, data = ready(blobs, training={"epochs": 3, "seed": 9})
    events_of(spec, data)
    assert [(seed, epoch) for seed, epoch, _ in orders] == [(9, 0), (9, 1), (9, 2)]
    assert len({order for *_, order in orders}) == 3
    assert all(sorted(order) == list(range(56)) for *_, order in orders)


@pytest.mark.parametrize("optimizer", [{"kind": "adam"}, {"kind": "sgd", "momentum": 0.9, "nesterov": True}])
def test_optimisers_take_the_steps_of_torch_s_plain_ones(blobs, ready, optimizer):
    spec, data = ready(blobs, training={"epochs": 1, "batch_size": 56}, optimizer=optimizer)
    tensors = fit(spec, data).model.tensors
    net = build_net(spec.net, TableShape(numbers=5), 3, seed=0)
    plain = (
        torch.optim.Adam(net.parameters(), lr=0.001)
        if optimizer["kind"] == "adam"
        else torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    )
    build_loss(spec.loss)(net(data.train.inputs[0]), data.train.target).total.mean().backward()
    plain.step()
    for name, tensor in net.state_dict().items():
        assert torch.allclose(tensors[name], tensor, atol=1e-6)


def test_progress_is_told_while_a_long_epoch_runs(blobs, ready, monkeypatch):
    ticks = itertools.count(step=0.1)
    monkeypatch.setattr("softreg_core.engine.walk.time.monotonic", lambda: next(ticks))
    spec, data = ready(blobs, training={"epochs": 2, "batch_size": 2})
    steps = [event.step for event in train(spec, data) if isinstance(event, Progress)]
    assert steps == sorted(set(steps))
    assert 5 < len(steps) < 56


def test_threads_follow_the_work_and_are_set_back(blobs, ready):
    assert threads_for(5000, 32, available=8) == 1
    assert threads_for(50_000_000, 256, available=8) == 8
    spec, data = ready(blobs, training={"epochs": 2})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        running = train(spec, data)
        next(running)
        assert torch.get_num_threads() == 1
        running.close()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_without_validation_rows_there_are_no_such_metrics(blobs, ready):
    spec, data = ready(blobs, split={"train": 1.0, "validation": 0.0}, training={"epochs": 1})
    assert {name.partition(".")[0] for name in fit(spec, data).metrics} == {"train"}


def test_control_is_asked_before_every_step(blobs, ready):
    spec, data = ready(blobs, training={"epochs": 2, "batch_size": 8})
    answers = itertools.chain([None] * 10, itertools.repeat("cancel"))
    events = events_of(spec, data, control=lambda: next(answers))
    assert isinstance(events[-1], Stopped)
    assert (events[-1].state.step, events[-1].reason) == (10, "cancel")
    assert (events[-1].state.epoch, events[-1].state.step_in_epoch) == (1, 3)


def test_started_names_the_device(blobs, ready):
    spec, data = ready(blobs)
    (started,) = of_kind([next(train(spec, data))], Started)
    assert started.device == "cpu"


def test_finished_metrics_are_plain_floats(blobs, ready):
    spec, data = ready(blobs, training={"epochs": 1})
    (finished,) = of_kind(events_of(spec, data), Finished)
    assert all(type(value) is float for value in finished.metrics.values())


def test_the_manifest_says_what_the_claim_of_equal_bits_holds_for(blobs, ready, tmp_path):
    from softreg_core.export.load import load
    from softreg_core.export.save import save_model

    spec, data = ready(blobs, training={"epochs": 1})
    events = events_of(spec, data)
    manifest = events[0].manifest
    assert (manifest.torch, manifest.device, manifest.threads) == (str(torch.__version__), "cpu", 1)
    assert (manifest.tier, manifest.pack, manifest.precision, manifest.is_deterministic) == (
        "eager",
        (),
        "float32",
        True,
    )
    assert manifest.processor == torch.backends.cpu.get_cpu_capability()
    assert any("torch" in item for item in manifest.not_claimed)
    assert "engine 'auto'" in manifest.tier_reason
    save_model(events[-1].model, tmp_path, events[-1].metrics)
    assert load(tmp_path).document.manifest.model_dump() == {
        name: getattr(manifest, name) for name in type(manifest).__dataclass_fields__
    }
