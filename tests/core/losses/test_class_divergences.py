"""`categorical` and `uniform`: their formulas in many digits, their identities, and what they must survive."""

from __future__ import annotations

import itertools

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from softreg_core.losses import build_loss, categorical, classes, uniform
from softreg_core.losses.rows import kept_mean
from softreg_core.spec import LossSpec

mpmath.mp.dps = 60
DIRECTIONS = ["prediction_to_target", "target_to_prediction", "jeffreys", "jensen_shannon"]
CATEGORICAL = [
    {"kind": "categorical", "direction": direction, "epsilon": epsilon, "temperature": temperature}
    for direction, epsilon, temperature in itertools.product(DIRECTIONS, [0.1, 0.4], [1.0, 2.5])
]
NORMALIZED = {"kind": "categorical", "normalize": True}
HARD = [
    {"kind": "categorical", "direction": direction, "epsilon": 0.0}
    for direction in ("target_to_prediction", "jensen_shannon")
]
UNIFORM = [{"kind": "uniform"}, {"kind": "uniform", "threshold": 0.6}]
DIVERGENCES = [*CATEGORICAL, NORMALIZED, *HARD, *UNIFORM]


def name(divergence):
    return "-".join(str(value) for value in divergence.values())


def built(divergence, alpha=0.5):
    document = {"base": {"kind": "cross_entropy"}, "alpha": alpha, "divergence": divergence}
    return build_loss(LossSpec.model_validate(document))


def kl(p, q):
    return mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True) if a != 0)


def exact(divergence, logits, y):
    temperature = mpmath.mpf(divergence.get("temperature", 1.0))
    powers = [mpmath.exp(mpmath.mpf(z) / temperature) for z in logits]
    p = [power / mpmath.fsum(powers) for power in powers]
    k = len(p)
    if divergence["kind"] == "uniform":
        entropy = -mpmath.fsum(a * mpmath.log(a) for a in p)
        if "threshold" in divergence:
            return max(mpmath.mpf(0), mpmath.mpf(divergence["threshold"]) - entropy)
        return mpmath.log(k) - entropy
    epsilon = mpmath.mpf(divergence.get("epsilon", 0.1))
    q = [(1 - epsilon) * (c == y) + epsilon / k for c in range(k)]
    match divergence.get("direction", "prediction_to_target"):
        case "prediction_to_target":
            scale = mpmath.log((1 - epsilon + epsilon / k) / (epsilon / k)) if divergence.get("normalize") else 1
            return kl(p, q) / scale
        case "target_to_prediction":
            return kl(q, p)
        case "jeffreys":
            return kl(p, q) + kl(q, p)
        case "jensen_shannon":
            middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
            return (kl(p, middle) + kl(q, middle)) / 2


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
@settings(max_examples=30, deadline=None)
@given(logits=st.lists(st.floats(-30.0, 30.0, width=32), min_size=2, max_size=6), data=st.data())
def test_the_value_is_that_of_the_formula(divergence, logits, data):
    y = data.draw(st.integers(0, len(logits) - 1))
    wanted = exact(divergence, logits, y)
    terms = abs(wanted) + 4 * max(map(abs, logits)) + 4
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        got = built(divergence)(torch.tensor([logits], dtype=dtype), torch.tensor([y])).divergence.item()
        assert abs(mpmath.mpf(got) - wanted) <= tolerance * terms


def test_the_worked_example_has_the_published_values():
    pair = classes(torch.tensor([[2.0, 0.0, -1.0]], dtype=torch.float64), torch.tensor([0]))
    assert categorical(pair).item() == pytest.approx(0.0652341450336746, abs=1e-15)
    assert categorical(pair, "target_to_prediction").item() == pytest.approx(0.0453728473909873, abs=1e-15)
    assert uniform(pair).item() == pytest.approx(0.574345671940437, abs=1e-15)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_gradients_are_right_to_second_order(divergence):
    logits = torch.randn((4, 3), generator=torch.Generator().manual_seed(5), dtype=torch.float64, requires_grad=True)
    codes = torch.tensor([0, 2, 1, 1])
    assert gradcheck(lambda z: built(divergence)(z, codes).total, (logits,))
    assert gradgradcheck(lambda z: built(divergence)(z, codes).total, (logits,))


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_give_finite_values_and_gradients(divergence, dtype):
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0]], dtype=dtype).requires_grad_()
    for codes in ([0, 1, 2], [1, 0, 0]):
        parts = built(divergence)(logits, torch.tensor(codes))
        assert parts.total.isfinite().all()
        assert torch.autograd.grad(parts.total.sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_a_closed_class_is_as_if_it_did_not_exist(divergence):
    three = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    four = torch.tensor([[0.5, -torch.inf, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    wanted = built(divergence)(three, torch.tensor([2])).total
    got = built(divergence)(four, torch.tensor([3])).total
    assert torch.allclose(got, wanted, rtol=1e-12)
    (gradient,) = torch.autograd.grad(got.sum(), four)
    assert gradient[0, 1] == 0.0
    assert torch.allclose(gradient[:, [0, 2, 3]], torch.autograd.grad(wanted.sum(), three)[0], rtol=1e-10)


BASES = ["cross_entropy", "brier", "generalized_cross_entropy", "symmetric_cross_entropy", "focal"]


@pytest.mark.parametrize("divergence", [None, CATEGORICAL[0], CATEGORICAL[-1], *UNIFORM], ids=str)
@pytest.mark.parametrize("base", BASES)
def test_a_closed_class_does_not_exist_for_any_base_of_classes(base, divergence):
    document = {"base": {"kind": base}, "divergence": divergence} | ({} if divergence is None else {"alpha": 0.5})
    loss = build_loss(LossSpec.model_validate(document))
    three = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    four = torch.tensor([[0.5, -torch.inf, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    wanted, got = loss(three, torch.tensor([2])).total, loss(four, torch.tensor([3])).total
    assert torch.allclose(got, wanted, rtol=1e-12)
    (gradient,) = torch.autograd.grad(got.sum(), four)
    assert gradient[0, 1] == 0.0
    assert torch.allclose(gradient[:, [0, 2, 3]], torch.autograd.grad(wanted.sum(), three)[0], rtol=1e-10)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_rows_of_weight_zero_are_left_out_exactly_whatever_stands_in_them(divergence):
    logits = torch.randn((4, 3), generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    logits[1], codes = torch.nan, torch.tensor([0, 1, 2, 1])
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0], dtype=torch.float64)
    kept = weight > 0
    logits.requires_grad_()
    total = kept_mean(built(divergence)(logits, codes, weight=weight).total, weight)
    wanted = built(divergence)(logits[kept], codes[kept]).total
    assert torch.allclose(total, (wanted * weight[kept]).sum() / 4.0, rtol=1e-14)
    (gradient,) = torch.autograd.grad(total, logits)
    assert (gradient[~kept] == 0.0).all()


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_neither_a_shift_nor_another_order_of_classes_changes_a_value(divergence):
    logits = torch.randn((5, 4), generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    codes, order = torch.tensor([0, 1, 2, 3, 1]), torch.tensor([2, 0, 3, 1])
    plain = built(divergence)(logits, codes).total
    assert torch.allclose(built(divergence)(logits + 100.0, codes).total, plain, rtol=1e-10)
    assert torch.allclose(built(divergence)(logits[:, order], order.argsort()[codes]).total, plain, rtol=1e-12)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_half_precision_is_computed_in_float32_and_a_batch_of_one_works(divergence):
    logits = torch.tensor([[300.0, -2.0]], dtype=torch.float16)
    total = built(divergence)(logits, torch.tensor([1])).total
    assert (total.dtype, total.shape) == (torch.float32, (1,))
    assert torch.equal(total, built(divergence)(logits.float(), torch.tensor([1])).total)


@given(seed=st.integers(0, 2**31), alpha=st.floats(0.01, 100.0), epsilon=st.floats(0.01, 0.9))
@settings(deadline=None)
def test_towards_the_prediction_it_is_label_smoothing(seed, alpha, epsilon):
    logits = torch.randn((6, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    codes = torch.arange(6) % 4
    divergence = {"kind": "categorical", "direction": "target_to_prediction", "epsilon": epsilon}
    smoothed = (1 + alpha) * torch.nn.functional.cross_entropy(
        logits, codes, label_smoothing=alpha * epsilon / (1 + alpha), reduction="none"
    )
    gap = built(divergence, alpha)(logits, codes).total - smoothed
    assert torch.allclose(gap, gap[0].expand(6), atol=1e-10 * (1 + alpha))


def test_the_closed_form_of_reverse_cross_entropy_holds():
    logits = torch.randn((6, 4), dtype=torch.float64)
    codes, epsilon, k = torch.arange(6) % 4, 0.1, 4
    p = logits.softmax(1)
    a = torch.tensor((1 - epsilon + epsilon / k) / (epsilon / k), dtype=torch.float64).log()
    own = p.gather(1, codes.unsqueeze(1)).squeeze(1)
    wanted = (p * p.log()).sum(1) + (1 - own) * a - torch.tensor(1 - epsilon + epsilon / k, dtype=torch.float64).log()
    pair = classes(logits, codes)
    assert torch.allclose(categorical(pair, epsilon=epsilon), wanted, rtol=1e-12)
    assert torch.allclose(categorical(pair, epsilon=epsilon, normalize=True), wanted / a, rtol=1e-12)


def test_the_value_is_zero_where_the_distributions_are_equal():
    q = torch.tensor([[0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3]], dtype=torch.float64)
    pair = classes(q.log(), torch.tensor([0]))
    for direction in DIRECTIONS:
        assert categorical(pair, direction).item() == pytest.approx(0.0, abs=1e-15)
    assert uniform(classes(torch.zeros(1, 5, dtype=torch.float64), torch.tensor([2]))).item() == pytest.approx(0.0)


@pytest.mark.parametrize("epsilon", [1e-30, 1e-50, 1e-300])
@pytest.mark.parametrize("more", [{}, {"direction": "jeffreys"}, {"normalize": True}], ids=str)
def test_an_epsilon_that_float32_cannot_hold_is_one(epsilon, more):
    logits = torch.tensor([[2.0, 0.0, -1.0], [200.0, -300.0, 0.0]], requires_grad=True)
    divergence = {"kind": "categorical", "epsilon": epsilon, **more}
    found = built(divergence)(logits, torch.tensor([0, 1])).divergence
    wanted = built(divergence)(logits.detach().double(), torch.tensor([0, 1])).divergence
    torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert gradient.isfinite().all()
