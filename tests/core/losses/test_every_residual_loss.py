"""What every loss of residuals must survive, with a naive float64 twin for each, option by option."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from softreg_core.losses import DataMeta, build_loss
from softreg_core.spec import LossSpec

TARGET_VARIANCE = 0.4
OUTPUTS = 3


def naive_sigma2(spec, prediction, weight):
    """sigma2 as a loop over plain numbers."""
    match spec["kind"]:
        case "fixed":
            return spec["value"]
        case "target":
            return max(TARGET_VARIANCE, 1e-6)
        case "residual":
            return max(OUTPUTS * TARGET_VARIANCE, 1e-6)
    total, found = sum(weight), 0.0
    for c in range(OUTPUTS):
        column = [row[c] for row in prediction]
        mean = (
            sum(w * v for w, v in zip(weight, column, strict=True)) / total if spec["statistic"] == "centred" else 0.0
        )
        found += sum(w * (v - mean) ** 2 for w, v in zip(weight, column, strict=True)) / total
    return max(found / OUTPUTS, 1e-6)


def of_ratio(kind, d2, s):
    u = d2 / s
    match kind:
        case "article":
            return -(math.log1p(u) - u / (1 + u)) / 2
        case "inflation":
            return (math.log1p(u) - u / (1 + u)) / 2
        case "gaussian":
            return u / 2
        case "cauchy":
            return OUTPUTS / 2 * math.log1p(u / OUTPUTS)
        case "geman_mcclure":
            return u / (1 + u) / 2
        case "welsch":
            return (1 - math.exp(-u)) / 2


def of_gaussian(spec, squares, sp2, s):
    """One group of all outputs, or one for each."""
    groups = (
        [(sum(squares), OUTPUTS, sp2[0])] if len(sp2) == 1 else [(r, 1, v) for r, v in zip(squares, sp2, strict=True)]
    )
    if spec.get("direction") == "prediction_to_target":
        return sum(n * math.log(s / v) + (n * v + r) / s - n for r, n, v in groups) / 2
    beta = spec.get("beta", 0.0)
    return sum(v**beta * (n * math.log(v / s) + (n * s + r) / v - n) for r, n, v in groups) / 2


def naive_divergence(spec, prediction, target, weight, sp2):
    squares = [[(p - t) ** 2 for p, t in zip(*rows, strict=True)] for rows in zip(prediction, target, strict=True)]
    if spec["kind"] == "sample_program":
        s = sum(w * v * v for w, row in zip(weight, prediction, strict=True) for v in row) / sum(weight) / OUTPUTS
        return [(math.log(s) + sum(row) / s - 1) / 2 for row in squares]
    s = naive_sigma2(spec.get("variance", {"kind": "fixed", "value": 1.0}), prediction, weight)
    if spec.get("prediction_variance", "same") != "same":
        s = s if "variance" in spec or spec["prediction_variance"] == "learned" else 0.01
        learned = [1e-6 + TARGET_VARIANCE]
        return [
            of_gaussian(spec, row, learned if spec["prediction_variance"] == "learned" else v, s)
            for row, v in zip(squares, sp2, strict=True)
        ]
    s *= OUTPUTS if spec.get("scale") == "per_output" else 1
    return [of_ratio(spec["kind"], sum(row), s) for row in squares]


VARIANCES = [
    {"kind": "fixed", "value": 0.7},
    {"kind": "target"},
    {"kind": "residual"},
    {"kind": "output", "statistic": "centred"},
    {"kind": "output", "statistic": "second_moment"},
]
KINDS = ["article", "inflation", "gaussian", "cauchy", "geman_mcclure", "welsch"]
DIVERGENCES = [
    *({"kind": kind, "variance": variance} for kind in KINDS for variance in VARIANCES),
    *({"kind": kind, "variance": {"kind": "fixed", "value": 0.7}, "scale": "per_output"} for kind in KINDS),
    {"kind": "sample_program"},
    {"kind": "gaussian", "prediction_variance": "learned"},
    {"kind": "gaussian", "prediction_variance": "learned", "direction": "prediction_to_target"},
    *(
        {"kind": "gaussian", "prediction_variance": "predicted", "head": head, **more}
        for head in ("shared", "per_output")
        for more in ({}, {"direction": "prediction_to_target"}, {"beta": 0.5}, {"variance": {"kind": "target"}})
    ),
]


def name(spec):
    flat = {**spec, **{f"variance.{key}": value for key, value in spec.get("variance", {}).items()}}
    return "-".join(str(value) for key, value in flat.items() if key not in ("variance", "variance.value"))


def built(divergence, alpha=0.5, **loss):
    spec = LossSpec.model_validate({"alpha": alpha, "alpha_units": "none", "divergence": divergence} | loss)
    return build_loss(spec, DataMeta(OUTPUTS, "regression", target_variance=TARGET_VARIANCE))


def columns_of(divergence):
    if divergence.get("prediction_variance") != "predicted":
        return 0
    return 1 if divergence.get("head", "shared") == "shared" else OUTPUTS


def batch(divergence, rows=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    prediction, target = (torch.randn((rows, OUTPUTS), generator=generator, dtype=torch.float64) for _ in range(2))
    columns = columns_of(divergence)
    variance = torch.rand((rows, max(columns, 1)), generator=generator, dtype=torch.float64) + 0.2
    given = {"variance": variance.to(dtype)} if columns else {}
    return prediction.to(dtype), target.to(dtype), given


def taken(given, rows):
    return {name: tensor[rows] for name, tensor in given.items()}


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), is_weighted=st.booleans())
def test_a_naive_twin_gives_the_same(divergence, seed, is_weighted):
    prediction, target, given_ = batch(divergence, seed=seed)
    weight = torch.tensor([1.0, 0.5, 2.0, 1.0, 3.0]) if is_weighted else None
    parts = built(divergence)(prediction, target, weight=weight, **given_)
    sp2 = given_["variance"].tolist() if given_ else [None] * 5
    plain = weight.tolist() if is_weighted else [1.0] * 5
    wanted = naive_divergence(divergence, prediction.tolist(), target.tolist(), plain, sp2)
    assert parts.divergence.tolist() == pytest.approx(
        wanted, rel=1e-6 if divergence.get("prediction_variance") == "learned" else 1e-10
    )
    bases = (prediction - target).square().sum(1) / 2
    assert torch.allclose(parts.base, bases, rtol=1e-14)
    assert torch.allclose(parts.total, bases + 0.5 * parts.divergence, rtol=1e-14)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_gradients_in_what_the_network_puts_out_are_right_to_second_order(divergence):
    prediction, target, given_ = batch(divergence, rows=3)
    loss = built(divergence).eval()
    inputs = (prediction.requires_grad_(), *(tensor.requires_grad_() for tensor in given_.values()))
    if divergence.get("beta"):  # the weight is a number, so differences along it are not the gradient
        inputs = inputs[:1]

    fixed = given_.get("variance")

    def function(p, variance=fixed):
        return loss(p, target, variance=variance).total

    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_from_no_residual_to_a_huge_one_value_and_gradient_stay_finite(divergence, dtype):
    for size in (0.0, 1e-15, 1e-3, 1.0, 1e3, 1e15):
        prediction = torch.full((2, OUTPUTS), size, dtype=dtype, requires_grad=True)
        given_ = {"variance": torch.ones((2, columns_of(divergence)), dtype=dtype)} if columns_of(divergence) else {}
        total = built(divergence)(prediction, torch.zeros((2, OUTPUTS), dtype=dtype), **given_).total
        total.sum().backward()
        assert total.isfinite().all()
        assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(divergence, dtype):
    prediction, target, given_ = batch(divergence, dtype=dtype)
    total = built(divergence)(prediction, target, **given_).total
    wide = {name: tensor.float() for name, tensor in given_.items()}
    assert total.dtype == torch.float32
    assert torch.equal(total, built(divergence)(prediction.float(), target.float(), **wide).total)
    huge = torch.full((2, OUTPUTS), 300.0, dtype=dtype)
    ones = {name: torch.ones_like(tensor[:2]) for name, tensor in given_.items()}
    assert built(divergence)(huge, torch.zeros_like(huge), **ones).total.isfinite().all()


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_a_batch_of_one_works(divergence):
    prediction, target, given_ = batch(divergence, rows=1)
    total = built(divergence)(prediction.requires_grad_(), target, **given_).total
    total.sum().backward()
    assert total.shape == (1,)
    assert total.isfinite().all()
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_rows_of_weight_zero_are_as_if_they_were_not_there(divergence):
    prediction, target, given_ = batch(divergence, rows=6)
    kept, weight = torch.tensor([0, 2, 3, 5]), torch.tensor([1.0, 0.0, 2.0, 1.0, 0.0, 0.5])
    wanted = built(divergence)(prediction[kept], target[kept], weight=weight[kept], **taken(given_, kept)).total
    for tensor in (prediction, target, *given_.values()):
        tensor[[1, 4]] = torch.nan
    prediction.requires_grad_()
    total = built(divergence)(prediction, target, weight=weight, **given_).total
    assert torch.allclose(total[kept], wanted, rtol=1e-13)
    (total * weight).sum().backward()
    assert prediction.grad.isfinite().all()
    assert (prediction.grad[[1, 4]] == 0.0).all()


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_the_order_of_rows_and_outputs_does_not_matter(divergence):
    prediction, target, given_ = batch(divergence)
    plain = built(divergence)(prediction, target, **given_).total
    rows, outputs = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([2, 0, 1])
    shuffled = built(divergence)(prediction[rows], target[rows], **taken(given_, rows)).total
    assert torch.allclose(shuffled, plain[rows], rtol=1e-12)
    turned = {name: tensor[:, outputs] if tensor.shape[1] == OUTPUTS else tensor for name, tensor in given_.items()}
    assert torch.allclose(
        built(divergence)(prediction[:, outputs], target[:, outputs], **turned).total, plain, rtol=1e-12
    )


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
@pytest.mark.parametrize("base", ["half_squared_error", "huber", "absolute_error", "gaussian_nll"])
def test_with_every_base_the_parts_add_up(divergence, base):
    if base == "gaussian_nll" and divergence.get("prediction_variance", "same") != "same":
        return  # refused: one prediction cannot have two variances
    prediction, target, given_ = batch(divergence)
    if base == "gaussian_nll":
        given_ = {"variance": torch.ones((5, 1), dtype=torch.float64)}
    for combine in ("add", "convex"):
        parts = built(divergence, base={"kind": base}, combine=combine)(prediction, target, **given_)
        kept = 0.5 if combine == "convex" else 1.0
        assert torch.allclose(parts.total, kept * parts.base + 0.5 * parts.divergence, rtol=1e-14)
        assert torch.allclose(
            parts.divergence, built(divergence)(prediction, target, **_only(divergence, given_)).divergence
        )


def _only(divergence, given_):
    return given_ if columns_of(divergence) else {}


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_an_alpha_of_zero_is_the_base_bit_for_bit_and_needs_no_variance(divergence):
    prediction, target, _ = batch(divergence)
    parts = built(divergence, alpha=0.0)(prediction, target)
    assert torch.equal(parts.total, 0.5 * (prediction - target).square().sum(1))
    assert parts.divergence is None
