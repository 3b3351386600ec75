"""Identities and symmetries that hold for every input."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from softreg_core.losses import (
    article,
    build_loss,
    cauchy,
    gaussian,
    geman_mcclure,
    half_squared_error,
    inflation,
    welsch,
)
from softreg_core.spec import LossSpec

D2 = st.floats(0.0, 1e12, allow_subnormal=False)
VARIANCE = st.floats(1e-6, 1e6)
KINDS = st.sampled_from(["article", "inflation", "gaussian", "cauchy", "geman_mcclure", "welsch", "sample_program"])
SEEDS = st.integers(0, 2**31)
SUBNORMAL = 1e-320
"""Below 2e-308 a float64 has fewer digits the smaller it is: there is no relative precision to hold."""


def batch(seed, rows=6, outputs=4):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn((rows, outputs), generator=generator, dtype=torch.float64) for _ in range(2))


def total_of(kind, alpha=0.7):
    return build_loss(LossSpec.model_validate({"alpha": alpha, "divergence": {"kind": kind}}))


@given(d2=D2, variance=VARIANCE)
def test_article_is_never_positive_and_is_minus_inflation(d2, variance):
    value = article(torch.tensor([d2], dtype=torch.float64), variance)
    assert value.item() <= 0.0
    assert torch.equal(-value, inflation(torch.tensor([d2], dtype=torch.float64), variance))


@given(d2=D2, larger=D2, variance=VARIANCE)
def test_every_ratio_divergence_is_monotone_in_the_residual(d2, larger, variance):
    pair = torch.tensor(sorted((d2, larger)), dtype=torch.float64)
    for function in (inflation, gaussian, lambda x, s: cauchy(x, 2, s), geman_mcclure, welsch):
        low, high = function(pair, variance).tolist()
        assert 0.0 <= low <= high


@given(d2=D2, variance=VARIANCE, unit=st.sampled_from([2.0**-20, 0.5, 2.0, 1024.0]))
def test_a_divergence_does_not_depend_on_the_target_s_unit(d2, variance, unit):
    one = torch.tensor([d2], dtype=torch.float64)
    for function in (article, gaussian, lambda x, s: cauchy(x, 2, s), geman_mcclure, welsch):
        assert torch.allclose(
            function(one, variance), function(one * unit, variance * unit), rtol=1e-12, atol=SUBNORMAL
        )


@given(variance=VARIANCE, d2=D2)
def test_cauchy_never_exceeds_gaussian(variance, d2):
    one = torch.tensor([d2], dtype=torch.float64)
    assert cauchy(one, 5, variance).item() <= gaussian(one, variance).item() * (1 + 1e-14) + SUBNORMAL


@settings(deadline=None)
@given(kind=KINDS, seed=SEEDS)
def test_reordering_examples_or_outputs_reorders_the_values(kind, seed):
    prediction, target = batch(seed)
    loss = total_of(kind)
    rows, outputs = torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([2, 0, 3, 1])
    plain = loss(prediction, target).total
    assert torch.allclose(loss(prediction[rows], target[rows]).total, plain[rows], rtol=1e-12)
    assert torch.allclose(loss(prediction[:, outputs], target[:, outputs]).total, plain, rtol=1e-12)


@settings(deadline=None)
@given(kind=KINDS.filter(lambda kind: kind != "sample_program"), seed=SEEDS)
def test_an_example_s_value_does_not_depend_on_its_batch(kind, seed):
    prediction, target = batch(seed)
    loss = total_of(kind)
    alone = torch.cat([loss(prediction[i : i + 1], target[i : i + 1]).total for i in range(6)])
    assert torch.allclose(loss(prediction, target).total, alone, rtol=1e-12)


@settings(deadline=None)
@given(kind=KINDS, seed=SEEDS)
def test_alpha_zero_is_the_base_bit_for_bit(kind, seed):
    prediction, target = batch(seed)
    parts = total_of(kind, alpha=0.0)(prediction, target)
    assert torch.equal(parts.total, half_squared_error(prediction, target))
    assert parts.divergence is None


@given(seed=SEEDS, shift=st.floats(-1e3, 1e3))
def test_cross_entropy_does_not_see_a_shift_of_all_logits(seed, shift):
    logits, _ = batch(seed)
    loss = build_loss(LossSpec.model_validate({"base": {"kind": "cross_entropy"}}))
    codes = torch.arange(6) % 4
    assert torch.allclose(loss(logits + shift, codes).total, loss(logits, codes).total, atol=1e-11)


def test_gradient_weight_turns_negative_exactly_above_four():
    """l's gradient is the squared error's times w(u) = 1 - a u / (1 + u)^2, which is 0 at u = 1 for a = 4."""
    for alpha, sign in ((3.999, 1.0), (4.001, -1.0)):
        prediction = torch.tensor([[1.0]], dtype=torch.float64, requires_grad=True)
        total_of("article", alpha)(prediction, torch.zeros((1, 1), dtype=torch.float64)).total.sum().backward()
        assert prediction.grad.sign().item() == sign


@given(d2=D2, variance=VARIANCE)
def test_geman_mcclure_and_welsch_are_bounded_and_the_article_is_the_first_minus_a_logarithm(d2, variance):
    one = torch.tensor([d2], dtype=torch.float64)
    bounded = geman_mcclure(one, variance)
    assert 0.0 <= bounded.item() <= welsch(one, variance).item() <= 0.5
    assert torch.allclose(article(one, variance), bounded - cauchy(one, 1, variance), rtol=1e-9, atol=1e-14)
