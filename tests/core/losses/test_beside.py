"""`teacher` and `twin`: their formulas in many digits, their identities, and what they must survive."""

from __future__ import annotations

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.autograd import gradcheck, gradgradcheck

from softreg_core.errors import ShapeError
from softreg_core.losses import between_passes, build_loss, from_teacher
from softreg_core.losses.rows import kept_mean
from softreg_core.spec import LossSpec

mpmath.mp.dps = 40
SOURCE = {"kind": "model"}
CLASSES, LABELS, VALUES = "cross_entropy", "binary_cross_entropy", "half_squared_error"
CASES = [
    (CLASSES, {"kind": "teacher", "source": SOURCE}),
    (CLASSES, {"kind": "teacher", "source": SOURCE, "temperature": 2.5}),
    (CLASSES, {"kind": "twin"}),
    ("focal", {"kind": "twin"}),
    (LABELS, {"kind": "teacher", "source": SOURCE, "temperature": 2.5}),
    (LABELS, {"kind": "twin"}),
    (VALUES, {"kind": "teacher", "source": SOURCE, "variance": {"kind": "fixed", "value": 0.3}}),
    (VALUES, {"kind": "twin", "variance": {"kind": "fixed", "value": 0.3}}),
    ("huber", {"kind": "twin"}),
]


def name(value):
    return value if isinstance(value, str) else "-".join(str(part) for part in value.values())


cases = pytest.mark.parametrize(("base", "divergence"), CASES, ids=name)


def built(base, divergence, alpha=0.5):
    return build_loss(LossSpec.model_validate({"base": {"kind": base}, "alpha": alpha, "divergence": divergence}))


def alone(base):
    return build_loss(LossSpec.model_validate({"base": {"kind": base}, "divergence": None}))


def argument(divergence):
    return "second" if divergence["kind"] == "twin" else "teacher"


def called(base, divergence, prediction, other, target, **further):
    return built(base, divergence)(prediction, target, **{argument(divergence): other}, **further)


def batch(base, seed=0, rows=5, outputs=3):
    generator = torch.Generator().manual_seed(seed)
    one, other = (torch.randn((rows, outputs), generator=generator, dtype=torch.float64) for _ in range(2))
    if base in (CLASSES, "focal"):
        return one, other, torch.randint(0, outputs, (rows,), generator=generator)
    if base == LABELS:
        return one, other, torch.randint(0, 2, (rows, outputs), generator=generator).double()
    return one, other, torch.randn((rows, outputs), generator=generator, dtype=torch.float64)


def softmax(logits):
    powers = [mpmath.exp(z) for z in logits]
    return [power / mpmath.fsum(powers) for power in powers]


def kl(p, q):
    return mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True))


def exact(base, divergence, one, other):
    one, other = [mpmath.mpf(z) for z in one], [mpmath.mpf(z) for z in other]
    t = mpmath.mpf(divergence.get("temperature", 1.0))
    sigma2 = mpmath.mpf(divergence.get("variance", {}).get("value", 1.0))
    if base in (VALUES, "huber"):
        d2 = mpmath.fsum((a - b) ** 2 for a, b in zip(one, other, strict=True))
        return d2 / (4 * sigma2) if divergence["kind"] == "twin" else d2 / (2 * sigma2)
    choices = [(one, other)] if base != LABELS else [([0, a], [0, b]) for a, b in zip(one, other, strict=True)]
    total = mpmath.mpf(0)
    for first, second in choices:
        p, r = softmax([z / t for z in first]), softmax([z / t for z in second])
        total += t**2 * kl(r, p) if divergence["kind"] == "teacher" else (kl(p, r) + kl(r, p)) / 2
    return total


@cases
@settings(max_examples=15, deadline=None)
@given(pairs=st.lists(st.tuples(*[st.floats(-30.0, 30.0, width=32)] * 2), min_size=2, max_size=5))
def test_the_value_is_that_of_the_formula(base, divergence, pairs):
    one, other = zip(*pairs, strict=True)
    wanted = exact(base, divergence, one, other)
    terms = abs(wanted) + 9 * sum(abs(a) + abs(b) + 4 for a, b in pairs)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        prediction, further = torch.tensor([one], dtype=dtype), torch.tensor([other], dtype=dtype)
        target = torch.tensor([1]) if base in (CLASSES, "focal") else torch.ones_like(prediction)
        got = called(base, divergence, prediction, further, target).divergence.item()
        assert abs(mpmath.mpf(got) - wanted) <= tolerance * terms


@cases
def test_gradients_are_right_to_second_order(base, divergence):
    one, other, target = batch(base, 1)
    one.requires_grad_()
    if divergence["kind"] == "twin":
        other.requires_grad_()
        assert gradcheck(lambda a, b: called(base, divergence, a, b, target).total, (one, other))
        assert gradgradcheck(lambda a, b: called(base, divergence, a, b, target).total, (one, other))
    else:
        assert gradcheck(lambda a: called(base, divergence, a, other, target).total, (one,))
        assert gradgradcheck(lambda a: called(base, divergence, a, other, target).total, (one,))


@cases
def test_the_same_prediction_twice_costs_nothing_and_pulls_nowhere(base, divergence):
    one, _, target = batch(base, 2)
    one.requires_grad_()
    parts = called(base, divergence, one, one.detach(), target)
    assert torch.equal(parts.divergence, torch.zeros(5, dtype=torch.float64))
    assert torch.allclose(parts.base, alone(base)(one, target).total, rtol=1e-15)
    (gradient,) = torch.autograd.grad(parts.divergence.sum(), one)
    assert gradient.abs().max() < 1e-15


@cases
def test_the_value_is_never_negative_and_the_order_of_rows_and_outputs_does_not_matter(base, divergence):
    one, other, target = batch(base, 3)
    rows, order = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([2, 0, 1])
    plain = called(base, divergence, one, other, target)
    assert (plain.divergence > 0.0).all()
    assert torch.allclose(called(base, divergence, one[rows], other[rows], target[rows]).total, plain.total[rows])
    moved = order.argsort()[target] if target.ndim == 1 else target[:, order]
    assert torch.allclose(
        called(base, divergence, one[:, order], other[:, order], moved).total, plain.total, rtol=1e-12
    )
    each = [called(base, divergence, one[i : i + 1], other[i : i + 1], target[i : i + 1]).total for i in range(5)]
    assert torch.allclose(torch.cat(each), plain.total, rtol=1e-12)


@pytest.mark.parametrize(("base", "divergence"), [case for case in CASES if case[0] in (CLASSES, "focal")], ids=name)
def test_a_shift_of_either_s_logits_changes_nothing(base, divergence):
    one, other, target = batch(base, 4)
    plain = called(base, divergence, one, other, target).total
    assert torch.allclose(called(base, divergence, one + 100.0, other - 30.0, target).total, plain, rtol=1e-10)


@pytest.mark.parametrize(("base", "divergence"), [case for case in CASES if case[0] not in (VALUES, "huber")], ids=name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_give_finite_values_and_gradients(base, divergence, dtype):
    one = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0]], dtype=dtype).requires_grad_()
    other = torch.tensor([[-1e4, 1e4], [-1e4, 1e4], [1e4, 0.0]], dtype=dtype).requires_grad_()
    target = torch.tensor([0, 1, 0]) if base != LABELS else torch.eye(3, 2)
    parts = called(base, divergence, one, other, target)
    assert parts.total.isfinite().all()
    gradients = torch.autograd.grad(parts.total.sum(), (one, other), allow_unused=True)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(("base", "divergence"), [case for case in CASES if case[0] not in (VALUES, "huber")], ids=name)
def test_a_closed_class_is_as_if_it_did_not_exist_and_the_teacher_is_renormalised(base, divergence):
    one, other, _ = batch(base, 5, rows=1)
    wide = torch.cat([one, torch.full((1, 1), -torch.inf, dtype=torch.float64)], dim=1).requires_grad_()
    one.requires_grad_()
    # To the teacher the class is open; in a second pass it is closed as well.
    closed = torch.full((1, 1), -torch.inf if divergence["kind"] == "twin" else 7.0, dtype=torch.float64)
    target = torch.tensor([1]) if base != LABELS else torch.tensor([[0.0, 1.0, 1.0]])
    wide_target = target if base != LABELS else torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    wanted = called(base, divergence, one, other, target)
    got = called(base, divergence, wide, torch.cat([other, closed], dim=1), wide_target)
    assert torch.allclose(got.total, wanted.total, rtol=1e-12)
    (gradient,) = torch.autograd.grad(got.total.sum(), wide)
    assert gradient[0, 3] == 0.0
    assert torch.allclose(gradient[:, :3], torch.autograd.grad(wanted.total.sum(), one)[0], rtol=1e-12)


@cases
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(base, divergence, dtype):
    one, other, target = batch(base, 6, rows=1)
    halves = one.to(dtype), other.to(dtype)
    total = called(base, divergence, *halves, target).total
    wide = called(base, divergence, halves[0].float(), halves[1].float(), target).total
    assert (total.shape, total.isfinite().all()) == ((1,), True)
    assert torch.equal(total, wide)


def test_no_gradient_flows_into_a_teacher():
    one, other, target = batch(CLASSES, 7)
    other.requires_grad_()
    for base, divergence in CASES:
        if divergence["kind"] == "teacher":
            target = batch(base, 7)[2]
            total = called(base, divergence, one.requires_grad_(), other, target).total.sum()
            assert torch.autograd.grad(total, other, allow_unused=True) == (None,)


def test_at_a_high_temperature_distillation_is_squared_error_of_centred_logits():
    """Hinton et al. 2015, equation 4; T^2 is what keeps the size of the gradient."""
    one, other, _ = batch(CLASSES, 8)
    centred = (one - one.mean(1, keepdim=True)) - (other - other.mean(1, keepdim=True))
    wanted = centred.square().sum(1) / (2 * 3)
    assert torch.allclose(from_teacher(one, other, 1e3), wanted, rtol=1e-2)


def test_the_twin_divergence_is_symmetric_and_its_base_is_the_mean_of_both_passes():
    for base, divergence in CASES:
        if divergence["kind"] == "twin":
            one, other, target = batch(base, 9)
            there, back = called(base, divergence, one, other, target), called(base, divergence, other, one, target)
            assert torch.allclose(there.total, back.total, rtol=1e-14)
            each = alone(base)(one, target).total, alone(base)(other, target).total
            assert torch.allclose(there.base, (each[0] + each[1]) / 2, rtol=1e-14)
    assert torch.equal(between_passes(one, other), between_passes(other, one))


@cases
def test_evaluation_measures_the_base_and_training_needs_the_other_prediction(base, divergence):
    one, _, target = batch(base, 10)
    loss = built(base, divergence)
    with pytest.raises(ValueError, match=f"'{argument(divergence)}' is needed"):
        loss(one, target)
    parts = loss.eval()(one, target)
    assert torch.equal(parts.total, alone(base)(one, target).total)
    assert parts.divergence is None


@cases
def test_another_shape_and_a_tensor_that_would_be_ignored_are_refused(base, divergence):
    one, other, target = batch(base, 11)
    with pytest.raises(ShapeError, match=argument(divergence)):
        called(base, divergence, one, other[:, :2], target)
    wrong = "teacher" if divergence["kind"] == "twin" else "second"
    with pytest.raises(ValueError, match=f"'{wrong}' is used by"):
        called(base, divergence, one, other, target, **{wrong: other})


@cases
def test_rows_of_weight_zero_are_left_out_exactly_whatever_stands_in_them(base, divergence):
    one, other, target = batch(base, 14)
    weight = torch.tensor([1.0, 0.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    kept = weight > 0
    one[1], other[1], other[3] = torch.nan, torch.inf, torch.nan
    one.requires_grad_()
    total = kept_mean(called(base, divergence, one, other, target, weight=weight).total, weight)
    wanted = called(base, divergence, one[kept], other[kept], target[kept], weight=weight[kept]).total
    assert torch.allclose(total, (wanted * weight[kept]).sum() / 4.0, rtol=1e-14)
    (gradient,) = torch.autograd.grad(total, one)
    assert (gradient[~kept] == 0.0).all()
    assert gradient.isfinite().all()


@cases
def test_a_weight_of_zero_at_every_step_is_the_base_and_needs_nothing(base, divergence):
    one, _, target = batch(base, 12)
    parts = built(base, divergence, alpha=0.0)(one, target)
    assert torch.equal(parts.total, alone(base)(one, target).total)


def test_alpha_and_the_convex_sum_weigh_it_like_any_other():
    one, other, target = batch(CLASSES, 13)
    document = {"base": {"kind": CLASSES}, "alpha": 0.3, "combine": "convex", "divergence": {"kind": "twin"}}
    parts = build_loss(LossSpec.model_validate(document))(one, target, second=other)
    assert torch.allclose(parts.total, 0.7 * parts.base + 0.3 * parts.divergence, rtol=1e-14)


@pytest.mark.parametrize(
    ("base", "divergence", "words"),
    [
        (VALUES, {"kind": "teacher", "source": SOURCE, "temperature": 2.0}, "temperature divides logits"),
        (CLASSES, {"kind": "teacher", "source": SOURCE, "variance": {"value": 2.0}}, "compares probabilities"),
        (LABELS, {"kind": "twin", "variance": {"value": 2.0}}, "compares probabilities"),
        (CLASSES, {"kind": "teacher", "source": {"kind": "model", "model": "mdl_short"}}, "pattern"),
        (CLASSES, {"kind": "teacher", "source": {"kind": "ema", "decay": 1.0}}, "less than 1"),
    ],
    ids=["temperature", "variance", "labels", "id", "decay"],
)
def test_what_a_form_does_not_use_is_refused(base, divergence, words):
    with pytest.raises(ValidationError, match=words):
        LossSpec.model_validate({"base": {"kind": base}, "divergence": divergence})


def test_alpha_is_not_counted_in_units_of_a_variance_that_is_of_no_residual():
    with pytest.raises(ValidationError, match="variance of residuals"):
        LossSpec.model_validate({"alpha_units": "sigma2", "divergence": {"kind": "twin"}})
