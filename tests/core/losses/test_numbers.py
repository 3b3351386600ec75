"""The formulas against arithmetic of 40 digits."""

from __future__ import annotations

import mpmath
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from softreg_core.losses import article, build_loss, cauchy, gaussian, geman_mcclure, inflation, welsch
from softreg_core.spec import LossSpec

# 40 digits in the result; the two terms of the article cancel 60 of them when u is 1e-30.
mpmath.mp.dps = 120

Y = [[1.0, 0.0, 0.0]]
YHAT = [[0.2, 0.5, -0.1]]


def built(divergence, alpha=0.01):
    return build_loss(LossSpec.model_validate({"alpha": alpha, "divergence": divergence}))


def parts_of(divergence, prediction, target, dtype=torch.float64, alpha=0.01):
    return built(divergence, alpha)(torch.tensor(prediction, dtype=dtype), torch.tensor(target, dtype=dtype))


def fixed(kind, value):
    return {"kind": kind, "variance": {"kind": "fixed", "value": value}}


@pytest.mark.parametrize(
    ("divergence", "expected"),
    [
        (fixed("article", 0.5), -0.193381137162008),
        (fixed("article", 1.0), -0.0840848378230395),
        (fixed("article", 2.0), -0.0306093644231381),
        (fixed("inflation", 0.5), 0.193381137162008),
        (fixed("gaussian", 1.0), 0.45),
        (fixed("cauchy", 1.0), float(1.5 * mpmath.log(mpmath.mpf("1.3")))),
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_the_worked_example_has_the_published_values(divergence, expected, dtype, tolerance):
    parts = parts_of(divergence, YHAT, Y, dtype)
    assert parts.base.item() == pytest.approx(0.45, rel=tolerance)
    assert parts.divergence.item() == pytest.approx(expected, rel=tolerance)
    assert parts.total.item() == pytest.approx(0.45 + 0.01 * expected, rel=tolerance)


def test_the_default_loss_has_the_published_total():
    assert parts_of(fixed("article", 1.0), YHAT, Y).total.item() == pytest.approx(0.449159151621770, abs=1e-15)


def test_for_one_output_cauchy_is_the_radial_one():
    d2 = torch.tensor([0.9], dtype=torch.float64)
    assert cauchy(d2, 1).item() == pytest.approx(0.320926943086197, abs=1e-15)


def test_the_sample_program_has_the_published_values():
    parts = parts_of({"kind": "sample_program"}, [[0.8, 0.1], [0.3, 0.6]], [[1.0, 0.0], [0.0, 1.0]])
    assert parts.divergence.tolist() == pytest.approx([-1.05458299974869, -0.690946636112328], abs=1e-14)
    assert parts.total.mean().item() == pytest.approx(0.0662723518206949, abs=1e-15)


def exact(kind, d2, s, outputs=1):
    u = mpmath.mpf(d2) / mpmath.mpf(s)
    match kind:
        case "article":
            return -(mpmath.log1p(u) - u / (1 + u)) / 2
        case "inflation":
            return (mpmath.log1p(u) - u / (1 + u)) / 2
        case "gaussian":
            return u / 2
        case "cauchy":
            return mpmath.mpf(outputs) / 2 * mpmath.log1p(u / outputs)
        case "geman_mcclure":
            return u / (1 + u) / 2
        case "welsch":
            return -mpmath.expm1(-u) / 2


FUNCTIONS = {
    "article": article,
    "inflation": inflation,
    "gaussian": gaussian,
    "cauchy": lambda d2, s: cauchy(d2, 3, s),
    "geman_mcclure": geman_mcclure,
    "welsch": welsch,
}
POWERS = st.floats(-30.0, 30.0)
VARIANCES = st.floats(-12.0, 12.0)


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(sorted(FUNCTIONS)), power=POWERS, variance_power=VARIANCES)
def test_float64_holds_twelve_digits_and_float32_six(kind, power, variance_power):
    """Of the value itself: stricter than a tolerance on the terms, which cancel for small u."""
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        d2 = torch.tensor([10.0**power], dtype=dtype)
        s = torch.tensor(10.0**variance_power, dtype=dtype)
        wanted = exact(kind, d2.item(), s.item(), outputs=3)
        if not float(torch.finfo(dtype).tiny) < abs(wanted) < float(torch.finfo(dtype).max):
            continue
        for variance in (s, s.item()):
            got = FUNCTIONS[kind](d2, variance)
            assert got.dtype == dtype
            assert abs(mpmath.mpf(got.item()) - wanted) <= tolerance * abs(wanted)


@settings(max_examples=200, deadline=None)
@example(kind="article", power=-25.0, variance_power=-5.0)
@given(kind=st.sampled_from(["article", "cauchy", "geman_mcclure", "welsch"]), power=POWERS, variance_power=VARIANCES)
def test_the_gradient_is_as_exact_as_the_value(kind, power, variance_power):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        d2 = torch.tensor([10.0**power], dtype=dtype, requires_grad=True)
        s = torch.tensor(10.0**variance_power, dtype=dtype, requires_grad=True)
        got = torch.autograd.grad(FUNCTIONS[kind](d2, s).sum(), (d2, s))
        x, v = mpmath.mpf(d2.item()), mpmath.mpf(s.item())
        if kind == "article":
            wanted = -x / (v + x) ** 2 / 2, (x / (v + x)) ** 2 / v / 2
        elif kind == "geman_mcclure":
            wanted = v / (v + x) ** 2 / 2, -x / (v + x) ** 2 / 2
        elif kind == "welsch":
            slope = mpmath.exp(-x / v) / v / 2
            wanted = slope, -slope * x / v
        else:
            wanted = mpmath.mpf(3) / 2 / (3 * v + x), -mpmath.mpf(3) / 2 * x / (v * (3 * v + x))
        for value, exactly in zip(got, wanted, strict=True):
            if float(torch.finfo(dtype).tiny) < abs(exactly) < float(torch.finfo(dtype).max):
                # A rounded u moves exp(-u) by u times as much.
                slack = 1 + min(x / v, 1e3) if kind == "welsch" else 1
                assert abs(mpmath.mpf(value.item()) - exactly) <= tolerance * slack * abs(exactly)


@pytest.mark.parametrize("u", [1e-12, 1e-9, 1e-6, 0.99e-5, 1.01e-5, 1e-3, 0.0999, 0.1001, 1.0, 1e15, 1e17])
def test_no_branch_of_the_article_loses_digits_where_it_meets_the_next(u):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        d2 = torch.tensor([u], dtype=dtype)
        wanted = exact("article", d2.item(), 1.0)
        assert abs(mpmath.mpf(article(d2).item()) - wanted) <= tolerance * abs(wanted)


def test_cross_entropy_against_exact_arithmetic():
    loss = build_loss(LossSpec.model_validate({"base": {"kind": "cross_entropy"}}))
    logits = [2.0, 0.0, -1.0]
    parts = loss(torch.tensor([logits] * 3, dtype=torch.float64), torch.tensor([0, 1, 2]))
    total = mpmath.fsum(mpmath.exp(z) for z in logits)
    assert parts.total.tolist() == pytest.approx([float(mpmath.log(total) - z) for z in logits], abs=1e-15)
    assert parts.divergence is None
