"""What makes an eager step cheap must not be seen in what it gives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from softreg_core.data.part import Part
from softreg_core.engine import EpochEnded, StepLogged, train
from softreg_core.engine.run import Run
from softreg_core.engine.step.terms import Compared
from softreg_core.nets import set_mode

LOSSES = {
    "article": {"alpha": 0.5, "divergence": {"kind": "article"}},
    "cauchy": {"alpha": 0.5, "divergence": {"kind": "cauchy", "variance": {"kind": "target"}}},
    "welsch": {"alpha": 0.5, "divergence": {"kind": "welsch"}, "combine": "convex"},
    "brier": {"base": {"kind": "brier"}, "alpha": 0.5, "divergence": {"kind": "inflation"}},
    "categorical": {"base": {"kind": "cross_entropy"}, "alpha": 0.5, "divergence": {"kind": "categorical"}},
    "uniform": {"base": {"kind": "cross_entropy"}, "alpha": 0.5, "divergence": {"kind": "uniform"}},
    "sample_program": {"alpha": 0.5, "divergence": {"kind": "sample_program"}},
    "alone": {"divergence": None},
    "rising": {"alpha": {"kind": "linear", "value": 0.5, "warm_up": 1.0}, "divergence": {"kind": "article"}},
}
PENALTIES = {"l1": 0.01, "l2": 0.1, "include_biases": True}
SMALL = {"epochs": 3, "batch_size": 16}


@pytest.fixture
def by_autograd(monkeypatch):
    """Runs that are made after this is called know no closed form."""

    def switch():
        monkeypatch.setattr("softreg_core.engine.step.objective.closed_gradient", lambda *_, **__: None)

    return switch


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"training": {"gradient_clip": 0.1}},
        {"training": {"gradient_terms": 2, "log_every": 3}},
        {"penalties": PENALTIES},
        {"penalties": {"l2": 0.1}, "training": {"gradient_clip": 0.1, "log_every": 1}},
    ],
    ids=str,
)
def test_a_run_by_closed_form_is_the_run_by_autograd(blobs, ready, by_autograd, name, more):
    spec, data = ready(blobs, **more | {"loss": LOSSES[name], "training": SMALL | more.get("training", {})})
    closed = list(train(spec, data, keep_step_losses=True))
    by_autograd()
    wanted = list(train(spec, data, keep_step_losses=True))
    assert [type(event) for event in closed] == [type(event) for event in wanted]
    for kind in (EpochEnded, StepLogged):
        for one, other in zip(
            *([e for e in events if isinstance(e, kind)] for events in (closed, wanted)), strict=True
        ):
            assert list(one.metrics) == list(other.metrics)
            for series, value in one.metrics.items():
                assert value == pytest.approx(other.metrics[series], rel=2e-4, abs=2e-5, nan_ok=True), series
    losses = [[e.step_losses for e in events if isinstance(e, EpochEnded)] for events in (closed, wanted)]
    for one, other in zip(*losses, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"sample_program", "rising"}))
def test_what_is_put_off_has_the_same_bits_however_it_is_cut(blobs, ready, name):
    spec, data = ready(blobs, loss=LOSSES[name], training=SMALL)
    run = Run(spec, data, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    prediction = 3.0 * torch.randn((257, 3), generator=generator)
    target = torch.randint(0, 3, (257,), generator=generator)
    whole = run._stepper.objective.columns_of(Compared(prediction, target, {}))
    for size in (1, 7, 32, 100):
        cuts = zip(prediction.split(size), target.split(size), strict=True)
        parts = [run._stepper.objective.columns_of(Compared(*cut, {})) for cut in cuts]
        for series, values in whole.items():
            assert torch.equal(values, torch.cat([columns[series] for columns in parts])), series


def test_a_weight_that_is_no_number_is_seen(blobs, ready):
    spec, data = ready(blobs, training=SMALL)
    run = Run(spec, data, torch.device("cpu"))
    assert run._stepper.is_finite()
    weight = next(iter(run._stepper.trained.values()))
    for bad in (math.nan, math.inf, -math.inf):
        with torch.no_grad():
            kept = weight[0, 0].item()
            weight[0, 0] = bad
            assert not run._stepper.is_finite()
            weight[0, 0] = kept
    assert run._stepper.is_finite()


def test_a_mode_reaches_every_module():
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.5), nn.ReLU()))
    for is_training in (False, True, False):
        set_mode(net, is_training=is_training)
        assert {module.training for module in net.modules()} == {is_training}


@pytest.mark.parametrize("is_weighted", [False, True])
def test_cut_batches_are_the_batches(is_weighted):
    rows = torch.arange(10.0)
    part = Part((rows, -rows), rows.long(), rows if is_weighted else None)
    for size in (1, 3, 10, 20):
        for one, other in zip(part.cut(size), part.batches(size), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one.inputs, other.inputs, strict=True))
            assert torch.equal(one.target, other.target)
            assert (one.weight is None) == (other.weight is None) == (not is_weighted)
            assert not is_weighted or torch.equal(one.weight, other.weight)
