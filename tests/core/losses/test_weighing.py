"""alpha over the run, and the two ways to sum."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from softreg_core.losses import DataMeta, build_loss
from softreg_core.losses.weighing import combine
from softreg_core.spec import LossSpec
from softreg_core.spec.alpha import alpha_at, largest_alpha

LINEAR = {"kind": "linear", "value": 0.8, "warm_up": 0.25}
COSINE = {"kind": "cosine", "start": 0.2, "end": 0.6}
CYCLICAL = {"kind": "cyclical", "value": 0.9, "cycles": 3, "ratio": 0.5}
SCHEDULES = [0.7, {"kind": "constant", "value": 0.7}, LINEAR, COSINE, CYCLICAL]


def parsed(alpha):
    return LossSpec.model_validate({"alpha": alpha}).alpha


def built(alpha, total_steps=100, **more):
    spec = LossSpec.model_validate({"alpha": alpha, "divergence": {"kind": "cauchy"}} | more)
    return build_loss(spec, DataMeta(outputs=2, task="regression", total_steps=total_steps))


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn((5, 2), generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.mark.parametrize(
    ("alpha", "values"),
    [
        (0.7, [(0.0, 0.7), (0.5, 0.7), (1.0, 0.7)]),
        ({"kind": "constant", "value": 0.7}, [(0.0, 0.7), (1.0, 0.7)]),
        (LINEAR, [(0.0, 0.0), (0.125, 0.4), (0.25, 0.8), (0.9, 0.8), (1.0, 0.8)]),
        (COSINE, [(0.0, 0.2), (0.25, 0.4 - 0.2 * 0.5**0.5), (0.5, 0.4), (1.0, 0.6)]),
        (CYCLICAL, [(0.0, 0.0), (1 / 12, 0.45), (1 / 5, 0.9), (1 / 3 + 1 / 12, 0.45), (0.9, 0.9), (1.0, 0.9)]),
    ],
    ids=str,
)
def test_a_schedule_goes_through_its_points(alpha, values):
    for done, wanted in values:
        assert alpha_at(parsed(alpha), done) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("alpha", SCHEDULES, ids=str)
@given(done=st.floats(0.0, 1.0))
def test_no_weight_is_below_zero_or_above_the_largest(alpha, done):
    assert 0.0 <= alpha_at(parsed(alpha), done) <= largest_alpha(parsed(alpha)) * (1 + 1e-15)


@pytest.mark.parametrize("alpha", SCHEDULES, ids=str)
@pytest.mark.parametrize("step", [0, 1, 13, 50, 99])
def test_each_step_is_weighed_by_its_share_of_the_run(alpha, step):
    parts = built(alpha)(*pair(), step=step)
    weight = alpha_at(parsed(alpha), step / 100)
    assert torch.allclose(parts.total, parts.base + weight * parts.divergence, rtol=1e-15)


@pytest.mark.parametrize("alpha", SCHEDULES, ids=str)
def test_evaluation_weighs_as_the_end_of_the_run_does_whatever_the_step(alpha):
    loss = built(alpha, total_steps=None).eval()
    for step in (0, 7):
        parts = loss(*pair(), step=step)
        assert torch.allclose(parts.total, parts.base + alpha_at(parsed(alpha), 1.0) * parts.divergence, rtol=1e-15)


def test_a_schedule_without_the_run_s_length_is_refused_in_training():
    with pytest.raises(ValueError, match="total_steps"):
        built(LINEAR, total_steps=None)(*pair())


def test_a_weight_of_zero_at_a_step_is_the_base_bit_for_bit_even_where_the_divergence_is_not_finite():
    prediction = torch.full((2, 2), 1e20, requires_grad=True)
    loss = built(LINEAR, divergence={"kind": "gaussian", "variance": {"kind": "fixed", "value": 1e-12}})
    parts = loss(prediction, torch.zeros(2, 2), step=0)
    assert parts.divergence.isinf().all()
    assert torch.equal(parts.total, parts.base)
    assert parts.total.grad_fn is parts.base.grad_fn


def test_constant_is_the_number():
    for one, other in zip(built(0.7)(*pair()), built({"kind": "constant", "value": 0.7})(*pair()), strict=True):
        assert torch.equal(one, other)


def test_a_schedule_of_nothing_has_no_divergence():
    assert built({"kind": "linear", "value": 0.0})(*pair()).divergence is None


def test_a_convex_sum_gives_the_base_what_is_left():
    parts = built(0.3, combine="convex")(*pair())
    assert torch.allclose(parts.total, 0.7 * parts.base + 0.3 * parts.divergence, rtol=1e-15)
    scheduled = built(COSINE, combine="convex")(*pair(), step=50)
    assert torch.allclose(scheduled.total, 0.6 * scheduled.base + 0.4 * scheduled.divergence, rtol=1e-14)


@pytest.mark.parametrize("is_convex", [False, True])
def test_gradients_of_both_sums_are_right_in_alpha_too(is_convex):
    alpha = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    base, divergence = torch.rand((2, 5), dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda a, b, k: combine(b, a, k, is_convex=is_convex).total, (alpha, base, divergence))
    assert gradgradcheck(lambda a, b, k: combine(b, a, k, is_convex=is_convex).total, (alpha, base, divergence))
