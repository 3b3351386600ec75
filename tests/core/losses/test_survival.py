"""What a loss must survive: extreme residuals, half precision, a batch of one, and being differentiated twice."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from softreg_core.losses import article, build_loss, cauchy, gaussian, geman_mcclure, inflation, welsch
from softreg_core.losses.residual import residual
from softreg_core.losses.sample_program import sample_program
from softreg_core.losses.weighing import combine
from softreg_core.spec import LossSpec

RATIO_LOSSES = {
    "article": article,
    "inflation": inflation,
    "gaussian": gaussian,
    "cauchy": lambda d2, s: cauchy(d2, 3, s),
    "geman_mcclure": geman_mcclure,
    "welsch": welsch,
}
DIVERGENCES = [
    {"kind": "article"},
    {"kind": "inflation"},
    {"kind": "gaussian"},
    {"kind": "cauchy"},
    {"kind": "geman_mcclure"},
    {"kind": "welsch"},
    {"kind": "sample_program"},
]


def built(divergence, alpha=0.5):
    return build_loss(LossSpec.model_validate({"alpha": alpha, "divergence": divergence}))


@pytest.mark.parametrize("kind", sorted(RATIO_LOSSES))
@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
def test_gradients_in_residual_and_variance_are_right_to_second_order(kind, scale):
    d2 = (scale * torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)).requires_grad_()
    one = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    each = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    for variance in (one, each):
        assert gradcheck(RATIO_LOSSES[kind], (d2, variance))
        assert gradgradcheck(RATIO_LOSSES[kind], (d2, variance))


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=lambda d: d["kind"])
def test_gradients_in_the_prediction_are_right_to_second_order(divergence):
    generator = torch.Generator().manual_seed(1)
    prediction = torch.randn((4, 3), generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randn((4, 3), generator=generator, dtype=torch.float64)
    loss = built(divergence)
    assert gradcheck(lambda p: loss(p, target).total, (prediction,))
    assert gradgradcheck(lambda p: loss(p, target).total, (prediction,))


def test_gradient_in_alpha_is_the_divergence():
    alpha = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    base, divergence = torch.rand((2, 5), dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda a, b, k: combine(b, a, k).total, (alpha, base, divergence))


@pytest.mark.parametrize("kind", sorted(RATIO_LOSSES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient_stay_finite_over_the_whole_range(kind, dtype):
    d2 = torch.tensor([0.0, *(10.0**power for power in range(-30, 31, 2))], dtype=dtype)
    largest = torch.finfo(dtype).max
    for variance in (1e-12, 1e-6, 1.0, 1e6, 1e12):
        each = d2.clone().requires_grad_()
        value = RATIO_LOSSES[kind](each, variance)
        gradient = torch.autograd.grad(value.sum(), each)[0]
        representable = torch.ones_like(d2, dtype=torch.bool)
        if kind == "gaussian":
            representable = d2.double() / (2 * variance) < largest
        assert value[representable].isfinite().all()
        assert gradient[representable].isfinite().all()


@pytest.mark.parametrize("kind", sorted(set(RATIO_LOSSES) - {"gaussian"}))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_by_the_variance_stays_finite_where_the_ratio_overflows(kind, dtype):
    variance = torch.tensor(1e-12, dtype=dtype, requires_grad=True)
    value = RATIO_LOSSES[kind](torch.tensor([1e30], dtype=dtype), variance)
    assert torch.autograd.grad(value.sum(), variance)[0].isfinite()


def test_the_article_s_value_far_out_is_right_where_the_ratio_overflows():
    """ln(1e300 / 1e-12) / 2 - 1/2, although 1e300 / 1e-12 is infinite in float64."""
    value = inflation(torch.tensor([1e300], dtype=torch.float64), 1e-12)
    assert value.item() == pytest.approx(0.5 * (312 * 2.302585092994046 - 1.0), rel=1e-13)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=lambda d: d["kind"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(divergence, dtype):
    prediction = torch.tensor([[300.0, -2.0], [0.5, 0.25]], dtype=dtype, requires_grad=True)
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=dtype)
    parts = built(divergence)(prediction, target)
    assert parts.total.dtype == torch.float32
    wide = built(divergence)(prediction.detach().float(), target.float())
    assert torch.equal(parts.total, wide.total)
    parts.total.mean().backward()
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=lambda d: d["kind"])
def test_a_batch_of_one_works(divergence):
    parts = built(divergence)(torch.tensor([[0.5, 0.1]]), torch.tensor([1]))
    assert parts.total.shape == (1,)
    assert parts.total.isfinite().all()


@pytest.mark.parametrize("target_value", [0.0, 1.0])
def test_sample_program_survives_predictions_of_zero(target_value):
    prediction = torch.zeros((4, 2), requires_grad=True)
    target = torch.full((4, 2), target_value)
    parts = built({"kind": "sample_program"})(prediction, target)
    parts.total.mean().backward()
    assert parts.total.isfinite().all()
    assert prediction.grad.isfinite().all()


def test_sample_program_leaves_out_rows_of_weight_zero_exactly():
    prediction = torch.tensor([[0.8, 0.1], [float("inf"), float("nan")], [0.3, 0.6]])
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    weighted = sample_program(residual(prediction, target, torch.tensor([1.0, 0.0, 1.0])))
    kept = sample_program(residual(prediction[[0, 2]], target[[0, 2]]))
    assert torch.equal(weighted[[0, 2]], kept)


def test_a_weight_of_two_counts_a_row_twice():
    prediction, target = torch.rand((3, 2), dtype=torch.float64), torch.rand((3, 2), dtype=torch.float64)
    loss = built({"kind": "sample_program"})
    weighted = loss(prediction, target, weight=torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)).total
    doubled = loss(prediction[[0, 1, 1, 2]], target[[0, 1, 1, 2]]).total
    assert torch.allclose(weighted, doubled[[0, 1, 3]], rtol=1e-14)


def test_cross_entropy_survives_huge_logits_and_closed_classes():
    loss = build_loss(LossSpec.model_validate({"base": {"kind": "cross_entropy"}}))
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, float("-inf")]], requires_grad=True)
    total = loss(logits, torch.tensor([1, 1])).total
    total.sum().backward()
    assert total.tolist() == [2e4, 0.0]
    assert logits.grad.isfinite().all()
