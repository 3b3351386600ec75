"""Several labels at once: the Bernoulli forms in many digits, their identities, and what they must survive."""

from __future__ import annotations

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from softreg_core.errors import DataError, SpecError
from softreg_core.losses import DataMeta, build_loss
from softreg_core.losses.rows import kept_mean
from softreg_core.spec import LossSpec

mpmath.mp.dps = 40
DIRECTIONS = ["prediction_to_target", "target_to_prediction", "jeffreys", "jensen_shannon"]
DIVERGENCES = [
    None,
    *(
        {"kind": "categorical", "direction": direction, "epsilon": epsilon, "temperature": temperature}
        for direction, epsilon, temperature in zip(DIRECTIONS * 2, [0.1] * 4 + [0.4] * 4, [1.0, 2.5] * 4, strict=True)
    ),
    {"kind": "categorical", "normalize": True},
    *(
        {"kind": "categorical", "direction": direction, "epsilon": 0.0}
        for direction in ("target_to_prediction", "jensen_shannon")
    ),
    {"kind": "uniform"},
    {"kind": "uniform", "threshold": 0.6},
]


def name(divergence):
    return "none" if divergence is None else "-".join(str(value) for value in divergence.values())


def built(divergence, alpha=0.5):
    document = {"base": {"kind": "binary_cross_entropy"}, "divergence": divergence}
    return build_loss(LossSpec.model_validate(document | ({} if divergence is None else {"alpha": alpha})))


def batch(seed=0, rows=5, count=3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((rows, count), generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 2, (rows, count), generator=generator).double()


def kl(p, q):
    return mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True) if a != 0)


def of_one_label(divergence, z, y):
    """Of two classes, false and true."""
    on = 1 / (1 + mpmath.exp(-mpmath.mpf(z) / mpmath.mpf(divergence.get("temperature", 1.0))))
    p = [1 - on, on]
    if divergence["kind"] == "uniform":
        entropy = -mpmath.fsum(a * mpmath.log(a) for a in p if a != 0)
        if "threshold" in divergence:
            return max(mpmath.mpf(0), mpmath.mpf(divergence["threshold"]) - entropy)
        return mpmath.log(2) - entropy
    epsilon = mpmath.mpf(divergence.get("epsilon", 0.1))
    q = [(1 - epsilon) * (c == y) + epsilon / 2 for c in (0, 1)]
    match divergence.get("direction", "prediction_to_target"):
        case "prediction_to_target":
            return kl(p, q) / (mpmath.log((1 - epsilon / 2) / (epsilon / 2)) if divergence.get("normalize") else 1)
        case "target_to_prediction":
            return kl(q, p)
        case "jeffreys":
            return kl(p, q) + kl(q, p)
        case "jensen_shannon":
            middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
            return (kl(p, middle) + kl(q, middle)) / 2


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
@settings(max_examples=12, deadline=None)
@given(row=st.lists(st.tuples(st.floats(-30.0, 30.0, width=32), st.integers(0, 1)), min_size=1, max_size=4))
def test_the_value_is_the_sum_of_the_formula_over_the_labels(divergence, row):
    logits, truths = zip(*row, strict=True)
    base = mpmath.fsum(mpmath.log1p(mpmath.exp(-z if y else z)) for z, y in row)
    wanted = mpmath.fsum(of_one_label(divergence, z, y) for z, y in row) if divergence else mpmath.mpf(0)
    terms = abs(wanted) + mpmath.fsum(abs(mpmath.mpf(z)) + 4 for z in logits)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        parts = built(divergence)(torch.tensor([logits], dtype=dtype), torch.tensor([truths]))
        assert abs(mpmath.mpf(parts.base.item()) - base) <= tolerance * base
        if divergence is not None:
            assert abs(mpmath.mpf(parts.divergence.item()) - wanted) <= tolerance * terms


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_gradients_are_right_to_second_order(divergence):
    logits, truths = batch(3)
    logits.requires_grad_()
    assert gradcheck(lambda z: built(divergence)(z, truths).total, (logits,))
    assert gradgradcheck(lambda z: built(divergence)(z, truths).total, (logits,))


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_huge_logits_give_finite_values_and_gradients(divergence, dtype):
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0]], dtype=dtype).requires_grad_()
    parts = built(divergence)(logits, torch.tensor([[0, 1], [0, 1], [1, 0]]))
    assert parts.base.tolist()[:2] == [2e4, 0.0]
    assert parts.total.isfinite().all()
    assert torch.autograd.grad(parts.total.sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_a_closed_label_is_as_if_it_did_not_exist(divergence):
    two = torch.tensor([[0.5, 2.0]], dtype=torch.float64, requires_grad=True)
    three = torch.tensor([[0.5, -torch.inf, 2.0]], dtype=torch.float64, requires_grad=True)
    wanted = built(divergence)(two, torch.tensor([[0, 1]])).total
    got = built(divergence)(three, torch.tensor([[0, 0, 1]])).total
    assert torch.allclose(got, wanted, rtol=1e-12)
    (gradient,) = torch.autograd.grad(got.sum(), three)
    assert gradient[0, 1] == 0.0
    assert torch.allclose(gradient[:, [0, 2]], torch.autograd.grad(wanted.sum(), two)[0], rtol=1e-12)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_the_order_of_rows_and_labels_does_not_matter_nor_does_the_rest_of_the_batch(divergence):
    logits, truths = batch(4)
    loss, rows, order = built(divergence), torch.tensor([3, 0, 4, 1, 2]), torch.tensor([2, 0, 1])
    plain = loss(logits, truths).total
    assert torch.allclose(loss(logits[rows], truths[rows]).total, plain[rows], rtol=1e-12)
    assert torch.allclose(loss(logits[:, order], truths[:, order]).total, plain, rtol=1e-12)
    alone = torch.cat([loss(logits[i : i + 1], truths[i : i + 1]).total for i in range(5)])
    assert torch.allclose(alone, plain, rtol=1e-12)
    # What is true and what is false is a matter of the sign.
    assert torch.allclose(loss(-logits, 1.0 - truths).total, plain, rtol=1e-12)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(divergence, dtype):
    logits = torch.tensor([[300.0, -2.0]], dtype=dtype)
    total = built(divergence)(logits, torch.tensor([[0.0, 1.0]], dtype=dtype)).total
    assert (total.dtype, total.shape) == (torch.float32, (1,))
    assert torch.equal(total, built(divergence)(logits.float(), torch.tensor([[0.0, 1.0]])).total)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_rows_of_weight_zero_are_left_out_exactly_whatever_stands_in_them(divergence):
    logits, truths = batch(8)
    logits[1], truths[1] = torch.nan, torch.nan
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    kept = weight > 0
    logits.requires_grad_()
    total = kept_mean(built(divergence)(logits, truths, weight=weight).total, weight)
    wanted = built(divergence)(logits[kept], truths[kept]).total
    assert torch.allclose(total, (wanted * weight[kept]).sum() / 4.0, rtol=1e-14)
    (gradient,) = torch.autograd.grad(total, logits)
    assert (gradient[~kept] == 0.0).all()


def test_the_base_is_torch_s_summed_over_the_labels():
    logits, truths = batch(5)
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(logits, truths, reduction="none").sum(1)
    assert torch.allclose(built(None)(logits, truths).total, wanted, rtol=1e-14)


@given(seed=st.integers(0, 2**31), alpha=st.floats(0.01, 100.0), epsilon=st.floats(0.01, 0.9))
@settings(deadline=None)
def test_towards_the_prediction_it_is_label_smoothing(seed, alpha, epsilon):
    logits, truths = batch(seed)
    divergence = {"kind": "categorical", "direction": "target_to_prediction", "epsilon": epsilon}
    smoothing = alpha * epsilon / (1 + alpha)
    smooth = (1 - smoothing) * truths + smoothing / 2
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(logits, smooth, reduction="none").sum(1)
    gap = built(divergence, alpha)(logits, truths).total - (1 + alpha) * wanted
    assert torch.allclose(gap, gap[0].expand(5), atol=1e-10 * (1 + alpha))


def test_one_label_is_two_classes():
    logits, truths = batch(6, count=1)
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    for divergence in DIVERGENCES:
        document = {"base": {"kind": "cross_entropy"}, "divergence": divergence}
        of_classes = build_loss(LossSpec.model_validate(document | ({"alpha": 0.5} if divergence else {})))
        wanted = of_classes(two, truths[:, 0].long()).total
        assert torch.allclose(built(divergence)(logits, truths).total, wanted, rtol=1e-12)
        assert torch.equal(built(divergence)(logits[:, 0], truths[:, 0]).total, built(divergence)(logits, truths).total)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
def test_truths_come_in_any_type(dtype):
    logits, truths = batch(7)
    assert torch.equal(built(None)(logits, truths.to(dtype)).total, built(None)(logits, truths).total)


@pytest.mark.parametrize("value", [0.5, 2, -1, float("nan")])
def test_a_target_that_is_neither_true_nor_false_is_a_data_error_that_names_the_row(value):
    truths = torch.zeros(4, 2)
    truths[2, 1] = value
    with pytest.raises(DataError, match="row 3") as caught:
        built(None)(torch.zeros(4, 2), truths)
    assert (caught.value.reason, caught.value.row) == ("no_class", 3)


@pytest.mark.parametrize(
    ("logits", "truths"),
    [(torch.zeros(3, 2), torch.zeros(3)), (torch.zeros(3, 2), torch.zeros(3, 1)), (torch.zeros(3, 1, 1),) * 2],
)
def test_shapes_that_would_broadcast_are_refused(logits, truths):
    with pytest.raises(ValueError, match="shape"):
        built(None)(logits, truths)


def test_what_the_loss_knows_of_the_data_is_checked():
    spec = LossSpec.model_validate({"base": {"kind": "binary_cross_entropy"}})
    loss = build_loss(spec, DataMeta(outputs=3, task="multilabel"))
    with pytest.raises(ValueError, match="2 outputs, the data 3"):
        loss(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="weight has shape"):
        loss(torch.zeros(4, 3), torch.zeros(4, 3), weight=torch.ones(3))
    with pytest.raises(TypeError):
        loss(torch.zeros(4, 3, dtype=torch.int64), torch.zeros(4, 3))


@pytest.mark.parametrize(
    ("base", "task", "words"),
    [
        ("binary_cross_entropy", "classification", "task.kind multilabel"),
        ("binary_cross_entropy", "regression", "the task is regression"),
        ("cross_entropy", "multilabel", "binary_cross_entropy"),
        ("quantile", "multilabel", "a label has only 0 and 1"),
    ],
)
def test_a_base_of_another_task_is_refused_with_what_to_do(base, task, words):
    with pytest.raises(SpecError, match=words):
        build_loss(LossSpec.model_validate({"base": {"kind": base}}), DataMeta(outputs=2, task=task))
