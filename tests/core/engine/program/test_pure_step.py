"""A step as a function of tensors is the step that the eager engine takes."""

from __future__ import annotations

import pytest
import torch

from softreg_core.engine.build import build_batches, build_stepper
from softreg_core.engine.program import PureStep, numbers_at, standing_of, structure_of, take_over, traced
from softreg_core.engine.rates import Rates
from softreg_core.nets.noise import noises_of
from softreg_core.spec import TrainSpec

STEPS = 8
MLP = {"kind": "mlp", "hidden": [6], "activation": "tanh"}
DECAYING = {"kind": "adamw", "weight_decay": 0.1}
MOMENTUM = {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
CLASSES = {
    "article": {"loss": {"base": {"kind": "half_squared_error"}, "alpha": 0.3, "divergence": {"kind": "article"}}},
    "sample_program": {"loss": {"base": {"kind": "half_squared_error"}, "divergence": {"kind": "sample_program"}}},
    "categorical": {"loss": {"base": {"kind": "cross_entropy"}, "alpha": 0.2, "divergence": {"kind": "categorical"}}},
    "convex": {
        "loss": {
            "base": {"kind": "cross_entropy"},
            "alpha": 0.2,
            "combine": "convex",
            "divergence": {"kind": "uniform"},
        },
        "penalties": {"label_smoothing": 0.1},
    },
    "schedule": {
        "loss": {"alpha": {"kind": "linear", "value": 1.0}, "divergence": {"kind": "cauchy"}},
        "schedule": {"kind": "cosine"},
    },
    "penalties": {"penalties": {"l1": 1e-3, "l2": 1e-2, "include_biases": True}, "optimizer": {"kind": "sgd"}},
    "decay": {"optimizer": DECAYING, "training": {"gradient_clip": 0.1}},
    "momentum": {"optimizer": MOMENTUM, "training": {"class_weights": "balanced"}},
    "rmsprop": {"optimizer": {"kind": "rmsprop", "centered": True, "momentum": 0.5}},
    "adagrad": {"optimizer": {"kind": "adagrad"}},
    # Not adam: the gradient of a bias before batch norm is 0 but for rounding, which adam makes a whole step of.
    "batch_norm": {"net": MLP | {"norm": "batch"}, "optimizer": {"kind": "sgd"}},
    "plain": {"loss": {"base": {"kind": "cross_entropy"}, "divergence": None}},
}
VALUES = {
    "following": {"loss": {"divergence": {"kind": "inflation", "variance": {"kind": "residual"}}}},
    "of_outputs": {"loss": {"divergence": {"kind": "article", "variance": {"kind": "output"}}}},
    "learned": {"loss": {"divergence": {"kind": "gaussian", "prediction_variance": "learned"}}},
    "predicted": {"loss": {"divergence": {"kind": "gaussian", "prediction_variance": "predicted"}}},
    "weighted": {"loss": {"divergence": {"kind": "welsch"}}, "net": {"kind": "linear"}},
}


def begun(table, ready, document):
    """A stepper, its batches, and the numbers of each step."""
    training = {"epochs": 3, "batch_size": 16} | document.get("training", {})
    spec, data = ready(table, **({"net": MLP} | document | {"training": training}))
    batches = build_batches(spec, data.train)
    total = spec.training.epochs * batches.steps_per_epoch
    rates = Rates(spec.schedule, batches.steps_per_epoch, total, spec.checkpoints.monitor)
    stepper, _ = build_stepper(spec, data, rates, total, torch.device("cpu"))
    stepper.begin_epoch()

    def numbers(step):
        found = numbers_at(spec, rates, step, total)
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}

    rows = [batch for epoch in range(3) for batch in batches(epoch)][:STEPS]
    return spec, stepper, rows, numbers


@pytest.mark.parametrize("document", [*CLASSES.values(), *VALUES.values()], ids=[*CLASSES, *VALUES])
def test_steps_are_the_eager_engine_s(blobs, slope, ready, document):
    table = slope if document in VALUES.values() else blobs
    spec, stepper, rows, numbers = begun(table, ready, document)
    pure = PureStep(spec, stepper.objective)
    standing = standing_of(stepper)
    for step, batch in enumerate(rows):
        outcome = stepper.take(batch, step)
        standing, sums_P = pure(standing, numbers(step), batch)
        told = dict(zip(pure.series, sums_P.tolist(), strict=True))
        mass = told.pop("weight")
        means = {"total" if name == "loss" else name: mean for name, mean in outcome.means().items()}
        assert {name: total / mass for name, total in told.items()} == pytest.approx(means, rel=1e-4, abs=1e-6)
    for name, parameter in stepper.trained.items():
        torch.testing.assert_close(standing.trained[name], parameter.detach(), rtol=1e-4, atol=1e-5)
    for name, buffer in stepper.objective.named_buffers():
        torch.testing.assert_close(standing.buffers[name], buffer, rtol=1e-4, atol=1e-5)


def test_a_stepper_goes_on_from_where_a_program_came_to(blobs, ready):
    document = CLASSES["decay"]
    spec, alone, rows, numbers = begun(blobs, ready, document)
    _, other, _, _ = begun(blobs, ready, document)
    pure, standing = PureStep(spec, other.objective), standing_of(other)
    for step, batch in enumerate(rows):
        alone.take(batch, step)
        if step < 4:
            standing, _ = pure(standing, numbers(step), batch)
            continue
        if step == 4:
            take_over(other, standing)
        other.take(batch, step)
    for mine, others in zip(alone.live().model.values(), other.live().model.values(), strict=True):
        torch.testing.assert_close(mine, others, rtol=1e-4, atol=1e-5)
    assert alone.live().optimizer.keys() == other.live().optimizer.keys()
    again = standing_of(other)
    assert float(again.steps) == STEPS


def test_a_trace_serves_other_numbers_and_leaves_nothing_behind(blobs, ready):
    spec, stepper, rows, numbers = begun(blobs, ready, CLASSES["article"])
    pure, standing = PureStep(spec, stepper.objective), standing_of(stepper)
    flat = traced(pure, standing, numbers(0), rows[0])
    others = numbers(0) | {"alpha": torch.tensor(0.0), "learning_rate": torch.tensor(0.5, dtype=torch.float64)}
    for given in (numbers(0), others):
        (wanted, sums_P), (found, told_P) = pure(standing, given, rows[0]), flat(standing, given, rows[0])
        torch.testing.assert_close(told_P, sums_P)
        torch.testing.assert_close(found, wanted)
    stepper.take(rows[0], 0)  # would fail on what a trace had left in the loss


def test_masks_that_are_given_are_the_ones_of_the_seed(blobs, ready):
    spec, stepper, rows, numbers = begun(blobs, ready, {"net": MLP | {"dropout": 0.5}})
    pure, standing = PureStep(spec, stepper.objective), standing_of(stepper)
    (noise,) = noises_of(stepper.net)
    drawn = []
    uniform = noise.uniform
    noise.uniform = lambda like: drawn.append(uniform(like)) or drawn[-1]
    stepper.take(rows[0], 0)
    standing, _ = pure(standing, numbers(0), rows[0], drawn)
    for name, parameter in stepper.trained.items():
        torch.testing.assert_close(standing.trained[name], parameter.detach())


def test_members_in_one_program_are_the_members_alone(blobs, ready):
    spec, stepper, rows, numbers = begun(blobs, ready, CLASSES["article"])
    pure, standing = PureStep(spec, stepper.objective), standing_of(stepper)
    alphas = torch.tensor([0.0, 0.1, 2.0], dtype=torch.float64)

    def total(trained, alpha):
        told = pure.told(trained, standing.buffers, numbers(0) | {"alpha": alpha}, rows[0])
        return told.total, told.sums

    stacked = {name: tensor.expand(3, *tensor.shape) for name, tensor in standing.trained.items()}
    totals, sums = torch.vmap(total)(stacked, alphas)
    for member, alpha in enumerate(alphas):
        wanted, sums_P = total(standing.trained, alpha)
        torch.testing.assert_close(totals[member], wanted)
        torch.testing.assert_close(sums[member], sums_P)


def test_specs_of_one_structure_differ_in_numbers_only():
    def structure(**document):
        return structure_of(TrainSpec.model_validate(document))

    of_article = {"kind": "article"}
    one = structure(loss={"alpha": 0.1, "divergence": of_article}, training={"seed": 1, "epochs": 3})
    assert structure(loss={"alpha": 5.0, "divergence": of_article}, optimizer={"learning_rate": 0.1}) == one
    fixed = {"kind": "fixed", "value": 2.0}
    assert structure(loss={"alpha": 0.1, "divergence": of_article | {"variance": fixed}}) == one
    assert structure(loss={"alpha": 0.1, "divergence": {"kind": "inflation"}}) != one
    assert structure(loss={"alpha": 0.0, "divergence": of_article}) != one
    assert structure(loss={"alpha": 0.1, "divergence": of_article}, net={"kind": "mlp", "hidden": [3]}) != one
    assert structure(loss={"alpha": 0.1, "divergence": of_article}, penalties={"l2": 0.1}) != one
