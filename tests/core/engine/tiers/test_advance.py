"""A run that takes many steps in a call is the run that takes them one by one, whoever takes them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from softreg_core.data.arrays import table_from_arrays
from softreg_core.engine import EpochEnded, Finished, StepLogged, Stopped, loop, train
from softreg_core.engine.batches import batches_of
from softreg_core.engine.ledger import gradient_terms
from softreg_core.engine.program import PureStep, numbers_at, standing_of, take_over
from softreg_core.engine.step.perturb import Perturbed
from softreg_core.engine.tiers.advance import Advanced, Chosen
from softreg_core.errors import NonFiniteLossError

ARTICLE = {"alpha": 0.5, "divergence": {"kind": "article"}}


class ByHand:
    """Takes its steps by the pure step, without a compiler."""

    tier = "compiled"

    def __init__(self, job, most_steps):
        self.job, self.most_steps = job, most_steps
        self._batches = batches_of(job.rows, job.batch_size, job.spec.training.seed)
        self._pure = PureStep(job.spec, job.stepper.objective)

    def __call__(self, epoch, start, stop):
        job, sums, seen = self.job, [], None
        standing = standing_of(job.stepper)
        for index, batch in enumerate(itertools.islice(self._batches(epoch, start), stop - start), start):
            step = epoch * job.steps_per_epoch + index
            if index + 1 == job.steps_per_epoch:
                take_over(job.stepper, standing)
                terms = job.stepper.objective.forward(Perturbed(batch), step)
                seen = gradient_terms(terms, list(job.stepper.trained.values()))
            numbers = numbers_at(job.spec, job.rates, step, job.total_steps)
            numbers = {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}
            standing, sums_P = self._pure(standing, numbers, batch)
            sums.append(sums_P.numpy())
        take_over(job.stepper, standing)
        return Advanced(self._pure.series, np.stack(sums), None if seen is None else tuple(seen.tolist()))


@pytest.fixture
def in_calls(monkeypatch):
    """Lets every run of this test take its steps by hand, so many at a time."""

    def of(most_steps, warning=None):
        monkeypatch.setattr(loop, "choose", lambda job: Chosen("compiled", "by hand", ByHand(job, most_steps), warning))

    return of


def stop_after(calls):
    answers = itertools.chain([None] * calls, itertools.repeat("stop"))
    return lambda: next(answers)


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), name


def test_metrics_ledger_steps_and_weights_are_those_of_single_steps(blobs, ready, in_calls):
    spec, data = ready(
        blobs,
        training={"epochs": 3, "batch_size": 16, "log_every": 3, "class_weights": "balanced", "gradient_clip": 0.3},
        loss=ARTICLE,
        penalties={"l2": 0.01},
        schedule={"kind": "cosine"},
    )
    alone = list(train(spec, data, keep_step_losses=True))
    in_calls(3)
    together = list(train(spec, data, keep_step_losses=True))
    assert alone[0].manifest.tier == "eager"
    assert (together[0].manifest.tier, together[0].manifest.tier_reason) == ("compiled", "by hand")
    for kind in (StepLogged, EpochEnded, Finished):
        ours, theirs = of_kind(together, kind), of_kind(alone, kind)
        assert [event.step for event in ours] == [event.step for event in theirs]
        for mine, other in zip(ours, theirs, strict=True):
            assert_same(mine.metrics, other.metrics)
    for mine, other in zip(of_kind(together, EpochEnded), of_kind(alone, EpochEnded), strict=True):
        assert mine.step_losses == pytest.approx(other.step_losses, rel=1e-4)
    for name, tensor in alone[-1].model.tensors.items():
        torch.testing.assert_close(together[-1].model.tensors[name], tensor, rtol=1e-4, atol=1e-5)


def test_where_calls_are_cut_and_where_a_run_is_stopped_changes_no_bit(blobs, ready, digest, in_calls):
    spec, data = ready(blobs, training={"epochs": 2, "batch_size": 16}, loss=ARTICLE)
    in_calls(4)
    whole = list(train(spec, data))[-1]
    in_calls(3)
    for calls in range(4):
        *events, stopped = train(spec, data, control=stop_after(calls))
        assert isinstance(stopped, Stopped)
        assert stopped.state.step == (0, 3, 4, 7)[calls]
        assert stopped.state.numbers["engine/compiled"] == 1.0
        best = [event.state for event in events if type(event).__name__ == "CheckpointDue"]
        again = list(train(spec, data, resume=stopped.state, resume_best=best[-1] if best else None))[-1]
        assert digest(again.model.tensors) == digest(whole.model.tensors)
        assert again.metrics == whole.metrics


def test_a_loss_that_is_not_finite_is_named_as_in_single_steps(ready, in_calls):
    target = np.linspace(-1, 1, 20)
    target[0] = 3e19
    spec, data = ready(
        table_from_arrays(np.arange(20.0), target),
        split={"train": 0.95, "validation": 0.05},
        preprocess={"target": "none"},
        training={"batch_size": 4, "log_every": 1},
        loss={"divergence": None},
    )
    found = []
    for tier in ("eager", "compiled"):
        if tier == "compiled":
            in_calls(100)
        logged = []
        with pytest.raises(NonFiniteLossError) as caught:
            logged.extend(event.step for event in train(spec, data) if isinstance(event, StepLogged))
        found.append((caught.value.step, caught.value.term, caught.value.epoch, str(caught.value)))
    assert found[0] == found[1]


def test_a_tier_that_could_not_be_had_is_told_of_with_each_epoch(blobs, ready, monkeypatch):
    spec, data = ready(blobs, training={"epochs": 1})
    monkeypatch.setattr(loop, "choose", lambda _: Chosen("eager", "no compiler", warning="no compiler here"))
    (ended,) = of_kind(train(spec, data), EpochEnded)
    assert [(advice.code, advice.message) for advice in ended.advice] == [("other_engine", "no compiler here")]


def test_means_end_before_the_first_step_that_is_not_finite():
    told = Advanced(("total", "weight"), np.array([[4.0, 2.0], [math.inf, 2.0], [1.0, 1.0]]))
    assert list(told.means()) == [{"loss": 2.0}]
