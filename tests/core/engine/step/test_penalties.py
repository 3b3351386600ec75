"""Penalties against hand-written loops, each as a series of its own and as part of the total."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from softreg_core.engine import EpochEnded, fit, train
from softreg_core.engine.step.forward import Forward
from softreg_core.keyed import key_of, permutation, seed_of
from softreg_core.penalties import SMOOTHED_BASES, smoothing
from softreg_core.spec.resolve.controls import SMOOTHED_BASES as SPEC_S
from tests.core.engine.by_hand import assert_near, batches, loss_of, network, trained

TRAINING = {"epochs": 2, "batch_size": 16}
LAST = {"keep_best": False}
CROSS_ENTROPY = {"base": {"kind": "cross_entropy"}}


def adam(net):
    return torch.optim.Adam(net.parameters(), lr=0.001)


def one_epoch(spec, data):
    (ended,) = (event for event in train(spec, data) if isinstance(event, EpochEnded))
    return ended.metrics


@pytest.mark.parametrize("include", [False, True])
def test_elastic_net_is_lambda_sum_of_absolutes_plus_half_lambda_sum_of_squares(blobs, ready, include):
    spec, data = ready(
        blobs, training=TRAINING, penalties={"l1": 0.01, "l2": 0.1, "include_biases": include}, checkpoints=LAST
    )

    def extra(net, step):
        counted = [p for p in net.parameters() if include or p.ndim > 1]
        return 0.01 * sum(p.abs().sum() for p in counted) + 0.1 / 2 * sum((p * p).sum() for p in counted)

    assert_near(fit(spec, data).model.tensors, trained(spec, data, adam, extra=extra))


def test_each_penalty_is_a_series_and_the_total_is_their_sum(blobs, ready):
    spec, data = ready(
        blobs,
        training={"epochs": 1, "batch_size": 16},
        optimizer={"learning_rate": 1e-30},
        penalties={"l1": 0.01, "l2": 0.1, "label_smoothing": 0.1},
        loss=CROSS_ENTROPY,
        checkpoints=LAST,
    )
    metrics = one_epoch(spec, data)
    weights = [p.detach() for p in network(spec, data).parameters() if p.ndim > 1]
    assert metrics["train.l1"] == pytest.approx(0.01 * sum(float(w.abs().sum()) for w in weights), rel=1e-6)
    assert metrics["train.l2"] == pytest.approx(0.05 * sum(float(w.square().sum()) for w in weights), rel=1e-6)
    parts = [metrics[f"train.{name}"] for name in ("base", "l1", "l2", "label_smoothing")]
    assert metrics["train.loss"] == pytest.approx(sum(parts), rel=1e-6)


def test_label_smoothing_of_cross_entropy_is_torch_s(blobs, ready):
    spec, data = ready(
        blobs, training=TRAINING, penalties={"label_smoothing": 0.2}, loss=CROSS_ENTROPY, checkpoints=LAST
    )
    net = network(spec, data)
    optimizer = adam(net)
    for _, batch in batches(spec, data):
        optimizer.zero_grad()
        F.cross_entropy(net(*batch.inputs), batch.target, label_smoothing=0.2).backward()
        optimizer.step()
    assert_near(fit(spec, data).model.tensors, net.state_dict())


def test_label_smoothing_of_brier_is_the_distance_to_the_smoothed_row_up_to_a_constant():
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 0, 1])
    row = F.one_hot(target, 4).double()
    smoothed = 0.7 * row + 0.3 / 4

    def gradient(values):
        return torch.autograd.grad(values.sum(), logits, retain_graph=True)[0]

    p = logits.softmax(1)
    plain = 0.5 * (p - row).square().sum(1) + smoothing("brier", logits, target, 0.3)
    torch.testing.assert_close(gradient(plain), gradient(0.5 * (p - smoothed).square().sum(1)))


def test_label_smoothing_of_several_labels_draws_each_towards_one_half():
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn((6, 3), generator=generator, dtype=torch.float64)
    truths = torch.randint(0, 2, (6, 3), generator=generator).double()
    excess = smoothing("binary_cross_entropy", logits, truths, 0.3)
    plain, wanted = (
        F.binary_cross_entropy_with_logits(logits, of, reduction="none").sum(1) for of in (truths, 0.7 * truths + 0.15)
    )
    assert torch.allclose(plain + excess, wanted, rtol=1e-12)


def test_spec_and_core_name_the_same_bases_for_label_smoothing():
    assert set(SPEC_S) == SMOOTHED_BASES


def mixing(spec, batch, step):
    key = np.frombuffer(key_of(spec.training.seed, "mixup", step)[:16], dtype="<u8")
    share = np.random.Generator(np.random.Philox(key=key)).beta(0.4, 0.4)
    return share, torch.from_numpy(permutation(batch.rows, spec.training.seed, "mixup partner", step))


def test_mixup_of_classes_weighs_the_losses_of_both_codes(blobs, ready):
    spec, data = ready(blobs, training=TRAINING, penalties={"mixup": 0.4}, loss=CROSS_ENTROPY, checkpoints=LAST)
    net = network(spec, data)
    optimizer = adam(net)
    for step, batch in batches(spec, data):
        share, partner = mixing(spec, batch, step)
        x = share * batch.inputs[0] + (1 - share) * batch.inputs[0][partner]
        optimizer.zero_grad()
        logits = net(x)
        both = share * F.cross_entropy(logits, batch.target)
        (both + (1 - share) * F.cross_entropy(logits, batch.target[partner])).backward()
        optimizer.step()
    assert_near(fit(spec, data).model.tensors, net.state_dict())


def test_mixup_of_real_values_mixes_the_targets(slope, ready):
    spec, data = ready(slope, training=TRAINING, penalties={"mixup": 0.4}, loss={"divergence": None}, checkpoints=LAST)
    net, loss = network(spec, data), loss_of(spec, data)
    optimizer = adam(net)
    for step, batch in batches(spec, data):
        share, partner = mixing(spec, batch, step)
        x = share * batch.inputs[0] + (1 - share) * batch.inputs[0][partner]
        y = share * batch.target + (1 - share) * batch.target[partner]
        optimizer.zero_grad()
        loss(net(x), y).total.mean().backward()
        optimizer.step()
    assert_near(fit(spec, data).model.tensors, net.state_dict())


def test_input_noise_is_normal_and_a_function_of_seed_and_step(blobs, ready):
    spec, data = ready(blobs, training=TRAINING, penalties={"input_noise": 0.5}, checkpoints=LAST)
    net, loss = network(spec, data), loss_of(spec, data)
    optimizer = adam(net)
    drawn = []
    for step, batch in batches(spec, data):
        noise = torch.randn(
            batch.inputs[0].shape,
            generator=torch.Generator().manual_seed(seed_of(spec.training.seed, "input noise", step)),
        )
        drawn.append(noise)
        optimizer.zero_grad()
        loss(net(batch.inputs[0] + 0.5 * noise), batch.target, step=step).total.mean().backward()
        optimizer.step()
    assert_near(fit(spec, data).model.tensors, net.state_dict())
    assert abs(float(torch.cat(drawn).std()) - 1.0) < 0.1
    assert not torch.equal(drawn[0], drawn[1])


def test_pixels_are_mixed_and_made_noisy_as_the_numbers_from_0_to_1_that_networks_read():
    from softreg_core.data.part import Part
    from softreg_core.engine.step.perturb import perturbed
    from softreg_core.spec.penalties import PenaltiesSpec

    pixels = torch.arange(2 * 9, dtype=torch.uint8).reshape(2, 1, 3, 3) * 10
    batch = Part((pixels,), torch.tensor([0, 1]))
    penalties = PenaltiesSpec(mixup=0.4, input_noise=0.1)
    seen = perturbed(batch, penalties, seed=3, step=5, is_regression=False)
    as_numbers = perturbed(Part((pixels / 255,), batch.target), penalties, seed=3, step=5, is_regression=False)
    torch.testing.assert_close(seen.rows.inputs[0], as_numbers.rows.inputs[0])
    assert float(seen.rows.inputs[0].abs().max()) < 2.0


def test_label_smoothing_smooths_the_base_as_it_enters_the_total(blobs, ready, monkeypatch):
    """Of both passes of twin, and by 1 - alpha in a convex sum."""
    loss = {**CROSS_ENTROPY, "alpha": 0.25, "combine": "convex", "divergence": {"kind": "twin"}}
    training = {"epochs": 1, "batch_size": "full"}
    spec, data = ready(blobs, training=training, loss=loss, net={"dropout": 0.5}, penalties={"label_smoothing": 0.2})
    seen, forward = [], Forward.__call__

    def noted(self, batch, *given):
        predicted = forward(self, batch, *given)
        seen.append((predicted.prediction.detach(), predicted.extras["second"].detach(), batch.target))
        return predicted

    monkeypatch.setattr(Forward, "__call__", noted)
    metrics = one_epoch(spec, data)
    ((first, second, target),) = seen
    base = sum(F.cross_entropy(z, target, label_smoothing=0.2) for z in (first, second)) / 2
    log_p, log_r = first.log_softmax(1), second.log_softmax(1)
    twin = 0.5 * ((log_p.exp() - log_r.exp()) * (log_p - log_r)).sum(1).mean()
    assert metrics["train.loss"] == pytest.approx((0.75 * base + 0.25 * twin).item(), rel=1e-5)
