"""Every base against the formula in many digits, and what it must survive."""

from __future__ import annotations

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from softreg_core.losses import build_loss
from softreg_core.spec import LossSpec

mpmath.mp.dps = 80


def exact_barron(r, shape):
    if shape == 2.0:
        return r**2 / 2
    if shape == 0.0:
        return mpmath.log1p(r**2 / 2)
    b = abs(mpmath.mpf(shape) - 2)
    return b / shape * ((r**2 / b + 1) ** (mpmath.mpf(shape) / 2) - 1)


def exact_huber(r, delta):
    return r**2 / 2 if abs(r) <= delta else delta * (abs(r) - mpmath.mpf(delta) / 2)


# The residual is yhat - y.
RESIDUAL = [
    ({"kind": "huber", "delta": 1.0}, lambda r: exact_huber(r, 1.0)),
    ({"kind": "huber", "delta": 0.25}, lambda r: exact_huber(r, 0.25)),
    ({"kind": "absolute_error"}, abs),
    ({"kind": "quantile", "tau": 0.9}, lambda r: max(mpmath.mpf(0.9) * -r, (mpmath.mpf(0.9) - 1) * -r)),
    ({"kind": "student_t", "nu": 4.0}, lambda r: mpmath.mpf(5) / 2 * mpmath.log1p(r**2 / 4)),
    ({"kind": "student_t", "nu": 1e6}, lambda r: (mpmath.mpf(1e6) + 1) / 2 * mpmath.log1p(r**2 / mpmath.mpf(1e6))),
    *(
        ({"kind": "barron", "shape": shape}, lambda r, shape=shape: exact_barron(r, shape))
        for shape in (2.0, 2.0 - 1e-9, 1.0, 1e-9, 0.0, -2.0, -10.0)
    ),
]


def nll(z, y):
    return mpmath.log(mpmath.fsum(mpmath.exp(v) for v in z)) - z[y]


def exact_brier(z, y):
    total = mpmath.fsum(mpmath.exp(v) for v in z)
    return mpmath.fsum(((c == y) - mpmath.exp(v) / total) ** 2 for c, v in enumerate(z)) / 2


def miss(z, y):
    return -mpmath.expm1(-nll(z, y))


CLASS = [
    ({"kind": "cross_entropy"}, nll),
    ({"kind": "brier"}, exact_brier),
    (
        {"kind": "generalized_cross_entropy", "q": 0.7},
        lambda z, y: (1 - mpmath.exp(-mpmath.mpf(0.7) * nll(z, y))) / mpmath.mpf(0.7),
    ),
    ({"kind": "generalized_cross_entropy", "q": 1.0}, miss),
    (
        {"kind": "symmetric_cross_entropy", "forward_weight": 0.5, "reverse_weight": 2.0, "log_zero": -6.0},
        lambda z, y: nll(z, y) / 2 + 12 * miss(z, y),
    ),
    ({"kind": "focal", "gamma": 2.0}, lambda z, y: miss(z, y) ** 2 * nll(z, y)),
    ({"kind": "focal", "gamma": 0.5}, lambda z, y: mpmath.sqrt(miss(z, y)) * nll(z, y)),
]


def name(case):
    return "-".join(str(value) for value in case.values()) if isinstance(case, dict) else ""


def built(base):
    return build_loss(LossSpec.model_validate({"base": base, "divergence": None}))


@pytest.mark.parametrize(("base", "formula"), RESIDUAL, ids=name)
@settings(max_examples=40, deadline=None)
@given(power=st.floats(-6.0, 12.0), sign=st.sampled_from([-1.0, 1.0]))
def test_a_base_of_residuals_has_the_value_of_its_formula(base, formula, power, sign):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        prediction = torch.tensor([[sign * 10.0**power, 0.0]], dtype=dtype)
        wanted = formula(mpmath.mpf(prediction[0, 0].item()))
        got = built(base)(prediction, torch.zeros_like(prediction)).base.item()
        assert abs(mpmath.mpf(got) - wanted) <= tolerance * abs(wanted)


@pytest.mark.parametrize(("base", "formula"), RESIDUAL, ids=name)
def test_a_base_of_residuals_sums_over_the_outputs(base, formula):
    target = torch.tensor([[1.0, -2.0, 0.0]], dtype=torch.float64)
    prediction = torch.tensor([[0.2, 1.5, 0.0]], dtype=torch.float64)
    rs = [mpmath.mpf(p) - mpmath.mpf(t) for p, t in zip(prediction[0].tolist(), target[0].tolist(), strict=True)]
    wanted = mpmath.fsum(formula(r) for r in rs)
    assert built(base)(prediction, target).total.item() == pytest.approx(float(wanted), rel=1e-12)


LOGITS = st.lists(st.floats(-30.0, 30.0, width=32), min_size=2, max_size=6)


@pytest.mark.parametrize(("base", "formula"), CLASS, ids=name)
@settings(max_examples=40, deadline=None)
@given(logits=LOGITS, data=st.data())
def test_a_base_of_classes_has_the_value_of_its_formula(base, formula, logits, data):
    y = data.draw(st.integers(0, len(logits) - 1))
    wanted = formula([mpmath.mpf(z) for z in logits], y)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        got = built(base)(torch.tensor([logits], dtype=dtype), torch.tensor([y])).base.item()
        # The terms that cancel are logits, up to 30 and twice their spread, and probabilities up to 1.
        terms = abs(wanted) + 2 * max(map(abs, logits)) + 1
        slope = 15 if base["kind"] == "symmetric_cross_entropy" else 1
        assert abs(mpmath.mpf(got) - wanted) <= tolerance * slope * terms


@pytest.mark.parametrize(("base", "_"), RESIDUAL, ids=name)
def test_gradients_of_residuals_are_right_to_second_order(base, _):
    generator = torch.Generator().manual_seed(2)
    prediction = torch.randn((4, 3), generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randn((4, 3), generator=generator, dtype=torch.float64)
    assert gradcheck(lambda p: built(base)(p, target).total, (prediction,))
    assert gradgradcheck(lambda p: built(base)(p, target).total, (prediction,))


@pytest.mark.parametrize(("base", "_"), CLASS, ids=name)
def test_gradients_of_classes_are_right_to_second_order(base, _):
    logits = torch.randn((4, 3), generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 2, 1, 1])
    assert gradcheck(lambda z: built(base)(z, target).total, (logits,))
    assert gradgradcheck(lambda z: built(base)(z, target).total, (logits,))


@pytest.mark.parametrize(("base", "_"), RESIDUAL, ids=name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_residuals_from_none_to_huge_give_finite_values_and_gradients(base, _, dtype):
    prediction = torch.tensor([0.0, 1e-15, 1.0, -3.0, 1e8, 1e15], dtype=dtype).unsqueeze(1).requires_grad_()
    total = built(base)(prediction, torch.zeros_like(prediction)).total
    total.sum().backward()
    assert total.isfinite().all()
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize(("base", "_"), CLASS, ids=name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_and_closed_classes_give_finite_values_and_gradients(base, _, dtype):
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, -torch.inf], [0.0, 0.0, 0.0]], dtype=dtype).requires_grad_()
    for codes in ([0, 1, 2], [1, 0, 0]):
        total = built(base)(logits, torch.tensor(codes)).total
        gradient = torch.autograd.grad(total.sum(), logits)[0]
        assert total.isfinite().all()
        assert gradient.isfinite().all()
        assert gradient[1, 2] == 0.0


@pytest.mark.parametrize(("base", "_"), CLASS, ids=name)
def test_neither_a_shift_of_all_logits_nor_another_order_of_classes_changes_a_loss(base, _):
    logits = torch.randn((5, 4), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    codes, order = torch.tensor([0, 1, 2, 3, 1]), torch.tensor([2, 0, 3, 1])
    plain = built(base)(logits, codes).total
    assert torch.allclose(built(base)(logits + 100.0, codes).total, plain, rtol=1e-10)
    assert torch.allclose(built(base)(logits[:, order], order.argsort()[codes]).total, plain, rtol=1e-12)


@pytest.mark.parametrize("base", [base for base, _ in RESIDUAL + CLASS], ids=name)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(base, dtype):
    prediction = torch.tensor([[300.0, -2.0], [0.5, 0.25]], dtype=dtype)
    codes = torch.tensor([1, 0])
    total = built(base)(prediction, codes).total
    assert total.dtype == torch.float32
    assert torch.equal(total, built(base)(prediction.float(), codes).total)


@pytest.mark.parametrize(("tau", "wanted"), [(0.1, 10.0), (0.5, 50.0), (0.9, 90.0)])
def test_the_best_constant_is_the_quantile(tau, wanted):
    values = torch.arange(101, dtype=torch.float64).unsqueeze(1)
    loss = built({"kind": "quantile", "tau": tau})
    costs = [loss(torch.full_like(values, constant), values).total.mean().item() for constant in range(101)]
    assert costs.index(min(costs)) == wanted


def test_members_of_a_family_meet_where_they_should():
    logits, codes = torch.randn((6, 3), dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    plain = built({"kind": "cross_entropy"})(logits, codes).total
    assert torch.equal(built({"kind": "focal", "gamma": 0.0})(logits, codes).total, plain)
    near = built({"kind": "generalized_cross_entropy", "q": 1e-9})(logits, codes).total
    assert torch.allclose(near, plain, rtol=1e-6)
    for q in (1e-20, 1e-46, 1e-320):
        near = built({"kind": "generalized_cross_entropy", "q": q})(logits.float(), codes).total
        assert torch.allclose(near.double(), plain, rtol=1e-6)
    prediction, target = torch.randn((6, 2), dtype=torch.float64), torch.randn((6, 2), dtype=torch.float64)
    squared = built({"kind": "half_squared_error"})(prediction, target).total
    assert torch.equal(built({"kind": "barron", "shape": 2.0})(prediction, target).total, squared)
    assert torch.allclose(built({"kind": "student_t", "nu": 1e6})(prediction, target).total, squared, rtol=1e-4)
    assert torch.equal(built({"kind": "huber", "delta": 1e6})(prediction, target).total, squared)


def test_with_brier_the_divergence_is_of_the_probabilities():
    logits, codes = torch.randn((5, 3), dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    divergence = {"kind": "cauchy", "variance": {"kind": "fixed", "value": 0.3}}
    document = {"alpha": 0.4, "divergence": divergence}
    got = build_loss(LossSpec.model_validate({"base": {"kind": "brier"}, **document}))(logits, codes)
    of_values = build_loss(LossSpec.model_validate(document))(logits.softmax(1), codes)
    for one, other in zip(got, of_values, strict=True):
        assert torch.allclose(one, other, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(eta=st.floats(-40.0, 40.0, width=32), count=st.integers(0, 10**6))
def test_poisson_has_the_value_of_its_formula(eta, count):
    terms = mpmath.exp(mpmath.mpf(eta)), -count * mpmath.mpf(eta)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        got = built({"kind": "poisson"})(torch.tensor([[eta]], dtype=dtype), torch.tensor([[count]], dtype=dtype))
        # exp of a rounded eta is off by eta times as much; the eta here is not rounded.
        assert abs(mpmath.mpf(got.base.item()) - mpmath.fsum(terms)) <= tolerance * mpmath.fsum(map(abs, terms))


def test_poisson_sums_over_the_outputs_and_is_least_at_the_logarithm_of_the_count():
    counts = torch.tensor([[3.0, 0.0, 20.0]], dtype=torch.float64)
    eta = torch.tensor([[0.2, -1.0, 2.5]], dtype=torch.float64, requires_grad=True)
    loss = built({"kind": "poisson"})
    assert loss(eta, counts).total.item() == pytest.approx((eta.exp() - counts * eta).sum().item(), rel=1e-14)
    assert torch.allclose(torch.autograd.grad(loss(eta, counts).total.sum(), eta)[0], eta.exp() - counts)
    torch_s = torch.nn.functional.poisson_nll_loss(eta, counts, reduction="none").sum(1)
    assert torch.allclose(loss(eta, counts).total, torch_s)
    assert gradcheck(lambda z: loss(z, counts).total, (eta,))
    assert gradgradcheck(lambda z: loss(z, counts).total, (eta,))
    assert torch.equal(loss.values(eta), eta.exp())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_poisson_is_finite_wherever_the_count_it_expects_is(dtype):
    eta = torch.tensor([-1e4, -100.0, 0.0, 80.0], dtype=dtype).unsqueeze(1).requires_grad_()
    total = built({"kind": "poisson"})(eta, torch.ones_like(eta)).total
    total.sum().backward()
    assert total.isfinite().all()
    assert eta.grad.isfinite().all()
    half = torch.tensor([[10.0, 1.0]], dtype=torch.float16)
    of_half = built({"kind": "poisson"})(half, torch.ones_like(half)).total
    assert of_half.dtype == torch.float32
    assert of_half.isfinite().all()
