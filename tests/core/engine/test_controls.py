"""Controls of training: what each does to a run, against loops written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from softreg_core.engine import EpochEnded, Finished, StepLogged, fit, train
from softreg_core.errors import SpecError
from softreg_core.evaluate.measure import evaluate
from tests.core.engine.by_hand import assert_near, batches, loss_of, network, trained

TRAINING = {"epochs": 2, "batch_size": 16}
LAST = {"keep_best": False}


def adam(net):
    return torch.optim.Adam(net.parameters(), lr=0.001)


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_a_long_gradient_is_shortened_to_the_norm_and_its_length_is_logged(blobs, ready):
    spec, data = ready(blobs, training=TRAINING | {"gradient_clip": 0.05}, optimizer={"kind": "sgd"}, checkpoints=LAST)
    norms = []

    def clip(net, optimizer, step):
        norms.append(float(torch.nn.utils.clip_grad_norm_(net.parameters(), 0.05)))

    wanted = trained(spec, data, lambda net: torch.optim.SGD(net.parameters(), 0.01), before=clip)
    result = fit(spec, data)
    assert_near(result.model.tensors, wanted)
    assert min(norms) > 0.05
    rows = [16, 16, 16, 8]
    mean = sum(norm * count for norm, count in zip(norms[4:], rows, strict=True)) / 56
    assert result.metrics["train.gradient_norm"] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("extra", [{}, {"penalties": {"l2": 0.1, "input_noise": 0.3, "mixup": 0.5}}])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(blobs, ready, extra):
    cross_entropy = {"base": {"kind": "cross_entropy"}}
    whole = fit(*ready(blobs, training=TRAINING, loss=cross_entropy, checkpoints=LAST, **extra))
    parts = fit(*ready(blobs, training=TRAINING | {"accumulate": 3}, loss=cross_entropy, checkpoints=LAST, **extra))
    assert_near(parts.model.tensors, whole.model.tensors)
    for name, value in whole.metrics.items():
        assert parts.metrics[name] == pytest.approx(value, rel=1e-4)


def test_a_full_batch_is_one_step_of_all_rows(blobs, ready):
    spec, data = ready(blobs, training={"epochs": 3, "batch_size": "full"}, optimizer={"kind": "sgd"}, checkpoints=LAST)
    events = list(train(spec, data))
    assert (events[0].steps_per_epoch, events[-1].step) == (1, 3)
    assert_near(events[-1].model.tensors, trained(spec, data, lambda net: torch.optim.SGD(net.parameters(), 0.01)))


def test_the_averaged_weights_are_those_evaluated_and_delivered(blobs, ready):
    spec, data = ready(
        blobs,
        training=TRAINING | {"average_weights": {"decay": 0.6}},
        optimizer={"learning_rate": 0.05},
        checkpoints=LAST,
    )
    average = {name: tensor.clone() for name, tensor in network(spec, data).state_dict().items()}
    steps = []

    def follow(net, step):
        steps.append(step)
        decay = min(0.6, (1 + len(steps)) / (10 + len(steps)))
        for name, tensor in net.state_dict().items():
            average[name] = decay * average[name] + (1 - decay) * tensor

    raw = trained(spec, data, lambda net: torch.optim.Adam(net.parameters(), lr=0.05), after=follow)
    result = fit(spec, data)
    assert_near(result.model.tensors, average)
    assert not torch.allclose(result.model.tensors["output.weight"], raw["output.weight"], atol=1e-4)
    net = network(spec, data)
    net.load_state_dict(result.model.tensors)
    again = evaluate(net, loss_of(spec, data), data.validation)
    assert result.metrics["val.loss"] == pytest.approx(again["loss"])


def test_a_best_epoch_is_delivered_with_its_own_average(blobs, ready):
    spec, data = ready(
        blobs,
        training={"epochs": 12, "batch_size": 8, "average_weights": {"decay": 0.5}},
        optimizer={"learning_rate": 0.1},
    )
    events = list(train(spec, data))
    finished = events[-1]
    best = max(e.metrics["val.accuracy"] for e in of_kind(events, EpochEnded))
    assert finished.best_step < finished.step
    net = network(spec, data)
    net.load_state_dict(finished.model.tensors)
    got = evaluate(net, loss_of(spec, data), data.validation)
    assert got["accuracy"] == best == finished.metrics["val.accuracy"]


def stopping(blobs, ready, **options):
    return ready(
        blobs,
        training={"epochs": 50, "batch_size": 16, "early_stopping": {"patience": 3, "monitor": "val.loss", **options}},
        optimizer={"learning_rate": 0.1},
    )


def test_a_run_that_no_longer_gets_better_stops_early_and_delivers_its_best(blobs, ready):
    spec, data = stopping(blobs, ready)
    events = list(train(spec, data))
    finished = events[-1]
    losses = [e.metrics["val.loss"] for e in of_kind(events, EpochEnded)]
    best = losses.index(min(losses))
    assert isinstance(finished, Finished)
    assert finished.reason == "early_stopped"
    assert finished.epoch == len(losses) == best + 1 + 3 < 50
    assert (finished.best_step, finished.metrics["val.loss"]) == ((best + 1) * 4, min(losses))


def test_a_gain_within_min_delta_is_none(blobs, ready):
    spec, data = stopping(blobs, ready, min_delta=1e9)
    assert list(train(spec, data))[-1].epoch == 4


def test_a_run_that_ends_as_its_patience_does_is_completed(blobs, ready):
    spec, data = ready(
        blobs,
        training={"epochs": 4, "early_stopping": {"patience": 3, "monitor": "val.loss"}},
        optimizer={"learning_rate": 1e-30},
    )
    finished = list(train(spec, data))[-1]
    assert (finished.epoch, finished.reason) == (4, "completed")


@pytest.mark.parametrize("wanted", ["balanced", {"0": 2.0, "2": 0.5}])
def test_class_weights_weigh_the_mean_of_each_batch(blobs, ready, wanted):
    loss = {"base": {"kind": "cross_entropy"}}
    spec, data = ready(blobs, training=TRAINING | {"class_weights": wanted}, loss=loss, checkpoints=LAST)
    counts = torch.bincount(data.train.target).double()
    weights = 56 / (3 * counts) if wanted == "balanced" else torch.tensor([2.0, 1.0, 0.5])
    net = network(spec, data)
    optimizer = adam(net)
    for _, batch in batches(spec, data):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(*batch.inputs), batch.target, weight=weights.float()).backward()
        optimizer.step()
    assert_near(fit(spec, data).model.tensors, net.state_dict())


def test_a_class_that_does_not_exist_cannot_be_weighed(blobs, ready):
    spec, data = ready(blobs, training=TRAINING)
    training = spec.training.model_copy(update={"class_weights": {"9": 2.0}})
    with pytest.raises(SpecError, match="no class '9'"):
        fit(spec.model_copy(update={"training": training}), data)


def weighted(data, weight):
    return replace(data, train=replace(data.train, weight=weight))


def test_a_row_s_weight_is_its_share_in_the_mean_and_0_takes_it_out(blobs, ready):
    training = {"epochs": 2, "batch_size": "full"}
    spec, data = ready(blobs, training=training, loss={"divergence": None}, checkpoints=LAST)
    weight = torch.ones(56)
    weight[10:20] = 0.0
    data.train.inputs[0][12] = 1e30  # finite, and its loss is not
    kept = torch.cat([torch.arange(10), torch.arange(20, 56)])
    few = replace(data, train=data.train.take(kept))
    got = fit(spec, weighted(data, weight))
    wanted = fit(spec, few)
    assert_near(got.model.tensors, wanted.model.tensors)


def test_weights_in_parts_of_a_batch_are_those_of_the_whole(blobs, ready):
    weight = torch.linspace(0.0, 2.0, 56)
    spec, data = ready(blobs, training=TRAINING, checkpoints=LAST)
    in_parts, _ = ready(blobs, training=TRAINING | {"accumulate": 4}, checkpoints=LAST)
    whole, parts = fit(spec, weighted(data, weight)), fit(in_parts, weighted(data, weight))
    assert_near(parts.model.tensors, whole.model.tensors)
    assert parts.metrics["train.loss"] == pytest.approx(whole.metrics["train.loss"], rel=1e-5)


def test_bfloat16_is_refused_on_a_cpu_with_a_reason(blobs, ready):
    with pytest.raises(SpecError):
        ready(blobs, training={"precision": "bfloat16"}, resources={"device": "cpu"})
    spec, data = ready(blobs, training={"precision": "bfloat16"})
    with pytest.raises(SpecError, match="CUDA"):
        next(train(spec, data))


def test_every_so_many_steps_one_is_logged_with_its_own_values(blobs, ready):
    spec, data = ready(blobs, training=TRAINING | {"log_every": 3}, penalties={"l2": 0.1})
    events = list(train(spec, data, keep_step_losses=True))
    logged = of_kind(events, StepLogged)
    losses = [loss for e in of_kind(events, EpochEnded) for loss in e.step_losses]
    assert [event.step for event in logged] == [3, 6]
    for event in logged:
        shown = {name for name in event.metrics if name.count(".") == 1}  # the rest is the ledger of the terms
        assert shown == {"step.loss", "step.base", "step.divergence", "step.l2"}
        assert event.metrics["step.loss"] == pytest.approx(losses[event.step - 1], rel=1e-6)
