"""Each term of a loss as it enters the total, and the gradients of base and divergence apart."""

from __future__ import annotations

import math

import pytest
import torch

from softreg_core.engine import CheckpointDue, EpochEnded, StepLogged, train
from softreg_core.losses import build_loss
from softreg_core.nets import build_net
from softreg_core.spec.training import has_best

WHOLE = {"epochs": 1, "batch_size": "full"}
ARTICLE = {"alpha": 0.5, "divergence": {"kind": "article"}}


def _told(spec, data, kind=EpochEnded):
    return [event.metrics for event in train(spec, data) if isinstance(event, kind)]


def _by_hand(spec, data, convex=False):
    """Base and weighted divergence at the first step of a run, and their gradients by autograd."""
    net = build_net(spec.net, data.preprocessing.shape, data.preprocessing.outputs, spec.training.seed)
    parts = build_loss(spec.loss)(net(*data.train.inputs), data.train.target)
    base = parts.base.mean() * (1.0 - spec.loss.alpha if convex else 1.0)
    divergence = spec.loss.alpha * parts.divergence.mean()
    gradients = []
    for term in (base, divergence):
        found = torch.autograd.grad(term, list(net.parameters()), retain_graph=True)
        gradients.append(torch.cat([gradient.reshape(-1) for gradient in found]))
    return base.item(), divergence.item(), *gradients


@pytest.mark.parametrize("combine", ["add", "convex"])
def test_a_step_s_terms_and_their_gradients_are_those_of_autograd(blobs, ready, combine):
    spec, data = ready(blobs, training=WHOLE, loss={**ARTICLE, "combine": combine})
    (found,) = _told(spec, data)
    base, divergence, of_base, of_divergence = _by_hand(spec, data, combine == "convex")
    assert found["train.weighted.divergence"] == pytest.approx(divergence, rel=1e-5)
    assert found.get("train.weighted.base", found["train.base"]) == pytest.approx(base, rel=1e-5)
    assert found["train.share.base"] == pytest.approx(base / (base + abs(divergence)), rel=1e-5)
    assert found["train.share.divergence"] == pytest.approx(divergence / (base + abs(divergence)), rel=1e-5)
    assert found["train.gradient.base"] == pytest.approx(of_base.norm().item(), rel=1e-4)
    assert found["train.gradient.divergence"] == pytest.approx(of_divergence.norm().item(), rel=1e-4)
    cosine = torch.nn.functional.cosine_similarity(of_base, of_divergence, dim=0).item()
    assert found["train.gradient.cosine"] == pytest.approx(cosine, abs=1e-4)


def test_weighted_terms_add_up_to_the_loss_whatever_it_is_made_of(blobs, ready):
    alpha = {"kind": "cosine", "start": 0.0, "end": 0.5}
    for combine in ("add", "convex"):
        loss = {"base": {"kind": "cross_entropy"}, "divergence": {"kind": "uniform"}, "alpha": alpha}
        spec, data = ready(
            blobs,
            training={"epochs": 3, "batch_size": 16},
            loss={**loss, "combine": combine},
            penalties={"l1": 0.001, "l2": 0.01, "label_smoothing": 0.1},
        )
        for found in _told(spec, data):
            base = found.get("train.weighted.base", found["train.base"])
            penalties = [found[f"train.{name}"] for name in ("l1", "l2", "label_smoothing")]
            total = base + found["train.weighted.divergence"] + sum(penalties)
            assert total == pytest.approx(found["train.loss"], rel=1e-5)
            shares = {name: value for name, value in found.items() if name.startswith("train.share.")}
            assert set(shares) == {f"train.share.{n}" for n in ("base", "divergence", "l1", "l2", "label_smoothing")}
            assert sum(map(abs, shares.values())) == pytest.approx(1.0)


def test_a_loss_of_one_term_has_no_shares_and_no_gradients_to_compare(blobs, ready):
    spec, data = ready(blobs, training=WHOLE, loss={"divergence": None})
    assert not [name for name in _told(spec, data)[0] if name.count(".") > 1]


def test_a_divergence_that_weighs_nothing_yet_has_no_direction(blobs, ready):
    spec, data = ready(blobs, training=WHOLE, loss={"alpha": {"kind": "linear", "value": 0.5, "warm_up": 1.0}})
    (found,) = _told(spec, data)
    assert (found["train.weighted.divergence"], found["train.share.divergence"]) == (0.0, 0.0)
    assert found["train.gradient.divergence"] == 0.0
    assert math.isnan(found["train.gradient.cosine"])


def test_the_ledger_is_told_of_single_steps_on_request(blobs, ready):
    training = {"epochs": 2, "batch_size": 16, "log_every": 2, "gradient_terms": 3}  # 4 steps an epoch
    spec, data = ready(blobs, training=training, loss=ARTICLE)
    steps = {event.step: event.metrics for event in train(spec, data) if isinstance(event, StepLogged)}
    assert list(steps) == [2, 3, 4, 6, 8]
    parts = {"loss", "base", "divergence", "weighted.divergence", "share.base", "share.divergence"}
    gradients = {"gradient.base", "gradient.divergence", "gradient.cosine"}
    assert set(steps[2]) == {f"step.{name}" for name in parts}
    assert set(steps[3]) == {f"step.{name}" for name in gradients}
    assert set(steps[6]) == {f"step.{name}" for name in parts | gradients}
    assert not [name for name in _told(spec, data)[0] if name.startswith("train.gradient")]


def test_looking_at_gradients_changes_no_weight(blobs, ready, digest):
    digests = set()
    for when in ("none", "epoch", 1):
        training = {"epochs": 2, "batch_size": 16, "gradient_terms": when}
        spec, data = ready(blobs, training=training, loss=ARTICLE, net={"dropout": 0.3})
        states = [event.state for event in train(spec, data) if isinstance(event, CheckpointDue)]
        digests.add(digest(states[-1].model, states[-1].optimizer))
    assert len(digests) == 1


def test_a_run_resumed_anywhere_tells_the_same_of_its_terms(blobs, ready):
    spec, data = ready(blobs, training={"epochs": 2, "batch_size": 16}, loss=ARTICLE)
    whole = _told(spec, data)
    for steps in range(1, 8):
        answers = iter([None] * steps + ["stop"])
        stopped = list(train(spec, data, control=lambda answers=answers: next(answers)))[-1]
        best = next((e.state for e in train(spec, data) if isinstance(e, CheckpointDue)), None)
        rest = [
            event.metrics
            for event in train(spec, data, resume=stopped.state, resume_best=best if stopped.state.best else None)
            if isinstance(event, EpochEnded)
        ]
        assert rest == whole[len(whole) - len(rest) :]


def test_shares_and_gradients_are_neither_better_nor_worse():
    names = ("train.share.base", "train.gradient.base", "train.weighted.base", "step.share.l2")
    assert not any(map(has_best, names))
    assert has_best("train.base")


def test_nothing_is_told_of_a_step_that_was_undone(blobs, ready, monkeypatch):
    """The fourth step fails until the third was taken again with half the rate: the gradients seen at it are not the
    third's."""
    from softreg_core.engine.step.stepper import Stepper

    take = Stepper.take

    def failing(self, batch, step, observe=None):
        outcome = take(self, batch, step, observe)
        return outcome._replace(is_taken=False) if step == 3 and self.rates.halved == 1.0 else outcome

    monkeypatch.setattr(Stepper, "take", failing)
    training = {"epochs": 1, "batch_size": 8, "on_nonfinite": "rewind", "gradient_terms": 2}
    spec, data = ready(blobs, training=training, loss=ARTICLE)
    events = list(train(spec, data))
    assert events[-1].metrics["train.rewinds"] == 1.0
    steps = [event.step for event in events if isinstance(event, StepLogged)]
    assert steps == [*range(2, events[-1].step + 1, 2)]
