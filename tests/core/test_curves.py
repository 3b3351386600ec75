"""The curves in NumPy and the losses in torch, each written from the formulas, agree in value and gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.curves import curve_over_log_mean, curve_over_probability, curve_over_residual
from softreg_core.losses import DataMeta, build_loss
from softreg_core.spec import LossSpec

RESIDUAL_BASES = [
    {"kind": "half_squared_error"},
    {"kind": "huber", "delta": 0.5},
    {"kind": "absolute_error"},
    {"kind": "quantile", "tau": 0.8},
    {"kind": "student_t", "nu": 3.0},
    *({"kind": "barron", "shape": shape} for shape in (2.0, 1.0, 0.0, -2.0)),
]
CLASS_BASES = [
    {"kind": "cross_entropy"},
    {"kind": "brier"},
    {"kind": "generalized_cross_entropy", "q": 0.6},
    {"kind": "symmetric_cross_entropy"},
    {"kind": "focal", "gamma": 1.5},
]
RATIO = [
    {"kind": kind, "variance": {"kind": "fixed", "value": 0.3}}
    for kind in ("article", "inflation", "gaussian", "cauchy", "geman_mcclure", "welsch")
]
OF_CLASSES = [
    {"kind": "uniform"},
    {"kind": "uniform", "threshold": 0.8},
    {"kind": "categorical", "normalize": True},
    {"kind": "categorical", "temperature": 3.0},
    {"kind": "categorical", "direction": "jeffreys", "temperature": 0.5},
    *(
        {"kind": "categorical", "direction": direction, "epsilon": 0.2}
        for direction in ("prediction_to_target", "target_to_prediction", "jeffreys", "jensen_shannon")
    ),
    *(
        {"kind": "categorical", "direction": direction, "epsilon": 0.0}
        for direction in ("target_to_prediction", "jensen_shannon")
    ),
]
ALONE = [{"base": base, "divergence": None} for base in RESIDUAL_BASES]
ALONE_OF_CLASSES = [{"base": base, "divergence": None} for base in CLASS_BASES]
WITH_RATIO = [{"divergence": divergence, "alpha": 0.4} for divergence in RATIO]
CONVEX = [{"divergence": RATIO[0], "alpha": {"kind": "cosine", "start": 0.9, "end": 0.2}, "combine": "convex"}]
WITH_CLASSES = [{"base": CLASS_BASES[0], "divergence": divergence, "alpha": 0.4} for divergence in OF_CLASSES]
BRIER = [{"base": CLASS_BASES[1], "divergence": divergence, "alpha": 0.4} for divergence in RATIO]


def name(document):
    return "-".join(
        str(value) for part in document.values() for value in (part.values() if part.__class__ is dict else [part])
    )


@pytest.mark.parametrize("document", [*ALONE, *WITH_RATIO, *CONVEX], ids=name)
def test_over_the_residual(document):
    spec = LossSpec.model_validate(document)
    residual = torch.tensor([-7.0, -1.1, -0.4, -0.01, 0.02, 0.6, 1.3, 9.0], dtype=torch.float64, requires_grad=True)
    total = build_loss(spec).eval()(residual, torch.zeros_like(residual)).total
    (gradient,) = torch.autograd.grad(total.sum(), residual)
    curve = curve_over_residual(spec, residual.detach().numpy())
    np.testing.assert_allclose(curve.loss, total.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(curve.gradient, gradient.numpy(), rtol=1e-9)


@pytest.mark.parametrize("document", [*ALONE_OF_CLASSES, *WITH_CLASSES, *BRIER], ids=name)
@pytest.mark.parametrize("classes", [2, 5])
def test_over_the_probability(document, classes):
    spec = LossSpec.model_validate(document)
    p = torch.tensor([0.001, 0.1, 0.3, 0.55, 0.8, 0.999], dtype=torch.float64, requires_grad=True)
    rest = ((1 - p) / (classes - 1)).unsqueeze(1).expand(-1, classes - 1)
    logits = torch.cat([p.unsqueeze(1), rest], dim=1).log()
    total = build_loss(spec)(logits, torch.zeros(6, dtype=torch.int64)).total
    (gradient,) = torch.autograd.grad(total.sum(), p)
    curve = curve_over_probability(spec, p.detach().numpy(), classes)
    np.testing.assert_allclose(curve.loss, total.detach().numpy(), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(curve.gradient, gradient.numpy(), rtol=1e-8, atol=1e-10)


LABELS = {"base": {"kind": "binary_cross_entropy"}}


@pytest.mark.parametrize(
    "document",
    [LABELS, *(LABELS | {"divergence": divergence, "alpha": 0.4} for divergence in OF_CLASSES)],
    ids=name,
)
def test_over_the_probability_of_a_label_s_truth(document):
    spec = LossSpec.model_validate(document)
    p = torch.tensor([0.001, 0.1, 0.3, 0.55, 0.8, 0.999], dtype=torch.float64, requires_grad=True)
    curve = curve_over_probability(spec, p.detach().numpy(), 2)
    for truth in (0.0, 1.0):
        logits = (p.logit() if truth else -p.logit()).unsqueeze(1)
        total = build_loss(spec)(logits, torch.full((6, 1), truth, dtype=torch.float64)).total
        (gradient,) = torch.autograd.grad(total.sum(), p)
        np.testing.assert_allclose(curve.loss, total.detach().numpy(), rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(curve.gradient, gradient.numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("document", "draw"),
    [
        ({"base": {"kind": "focal"}}, lambda spec: curve_over_residual(spec, np.ones(1))),
        ({"base": {"kind": "huber"}}, lambda spec: curve_over_probability(spec, np.full(1, 0.5), 3)),
        ({"divergence": {"kind": "sample_program"}}, lambda spec: curve_over_residual(spec, np.ones(1))),
        (
            {"base": {"kind": "binary_cross_entropy"}},
            lambda spec: curve_over_probability(spec, np.full(1, 0.5), 3),
        ),
    ],
    ids=["classes", "values", "batch", "label"],
)
def test_a_loss_that_is_no_such_curve_is_refused(document, draw):
    with pytest.raises(ValueError, match=r"curve is over|no function"):
        draw(LossSpec.model_validate(document))


FOLLOWED = [
    *(
        {"kind": kind, "variance": {"kind": source}}
        for kind in ("article", "inflation", "gaussian", "cauchy", "geman_mcclure", "welsch")
        for source in ("target", "residual")
    ),
    {"kind": "article", "scale": "per_output", "variance": {"kind": "target"}},
]
GAUSSIANS = [
    {"kind": "gaussian", "prediction_variance": "predicted", "direction": direction}
    for direction in ("prediction_to_target", "target_to_prediction")
] + [{"kind": "gaussian", "prediction_variance": "predicted", "beta": 0.5}]
R = torch.tensor([-7.0, -1.1, -0.4, -0.01, 0.02, 0.6, 1.3, 9.0], dtype=torch.float64)


def assert_same(spec, curve, total, argument):
    (gradient,) = torch.autograd.grad(total.sum(), argument)
    np.testing.assert_allclose(curve.loss, total.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(curve.gradient, gradient.numpy(), rtol=1e-9)


@pytest.mark.parametrize("divergence", FOLLOWED, ids=lambda d: f"{d['kind']}-{d['variance']['kind']}")
def test_with_a_variance_that_is_told(divergence):
    spec = LossSpec.model_validate({"divergence": divergence, "alpha": 0.4})
    loss = build_loss(spec, DataMeta(1, "regression", target_variance=0.3)).eval()
    residual = R.clone().requires_grad_()
    total = loss(residual, torch.zeros_like(residual)).total
    assert_same(spec, curve_over_residual(spec, R.numpy(), sigma2=0.3), total, residual)


@pytest.mark.parametrize("divergence", GAUSSIANS, ids=lambda d: "-".join(map(str, d.values())))
def test_with_a_predicted_variance(divergence):
    spec = LossSpec.model_validate({"divergence": divergence, "alpha": 0.4})
    residual = R.clone().requires_grad_()
    total = build_loss(spec)(residual, torch.zeros_like(residual), variance=torch.full((8, 1), 0.6)).total
    assert_same(spec, curve_over_residual(spec, R.numpy(), predicted=0.6000000238418579), total, residual)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_of_a_likelihood_with_a_predicted_variance(beta):
    spec = LossSpec.model_validate({"base": {"kind": "gaussian_nll", "beta": beta}})
    residual = R.clone().requires_grad_()
    total = build_loss(spec)(residual, torch.zeros_like(residual), variance=torch.full((8, 1), 0.5)).total
    assert_same(spec, curve_over_residual(spec, R.numpy(), predicted=0.5), total, residual)


def test_of_the_sample_program_for_one_example_among_very_many():
    spec = LossSpec.model_validate({"divergence": {"kind": "sample_program"}, "alpha": 0.4})
    curve = curve_over_residual(spec, R.numpy(), sigma2=1.0)
    rows = 1_000_000
    many = torch.ones(rows, dtype=torch.float64)
    for index, r in enumerate(R.tolist()):
        first = torch.tensor(1.0 + r, dtype=torch.float64, requires_grad=True)
        prediction = torch.cat([first.reshape(1), many[1:]])
        value = build_loss(spec)(prediction, many).total[0]
        assert curve.loss[index] == pytest.approx(value.item(), rel=1e-3, abs=1e-4)
        assert curve.gradient[index] == pytest.approx(torch.autograd.grad(value, first)[0].item(), rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("count", [0.0, 1.0, 7.0])
def test_of_counts_over_the_logarithm_of_their_mean(count):
    spec = LossSpec.model_validate({"base": {"kind": "poisson"}})
    eta = torch.tensor([-5.0, -0.3, 0.0, 1.2, 4.0], dtype=torch.float64, requires_grad=True)
    total = build_loss(spec)(eta, torch.full_like(eta, count)).total
    assert_same(spec, curve_over_log_mean(spec, eta.detach().numpy(), count), total, eta)


def test_brier_with_two_gaussians():
    p = torch.tensor([0.1, 0.55, 0.999], dtype=torch.float64, requires_grad=True)
    logits = torch.stack([p, (1 - p) / 2, (1 - p) / 2], dim=1).log()
    spec = LossSpec.model_validate({"base": {"kind": "brier"}, "alpha": 0.4, "divergence": GAUSSIANS[1]})
    total = build_loss(spec)(logits, torch.zeros(3, dtype=torch.int64), variance=torch.full((3, 1), 0.5)).total
    assert_same(spec, curve_over_probability(spec, p.detach().numpy(), 3, predicted=0.5), total, p)


@pytest.mark.parametrize(
    ("document", "draw"),
    [
        ({"divergence": FOLLOWED[0]}, lambda spec: curve_over_residual(spec, np.ones(1))),
        ({"divergence": GAUSSIANS[0]}, lambda spec: curve_over_residual(spec, np.ones(1))),
        ({"base": {"kind": "gaussian_nll"}}, lambda spec: curve_over_residual(spec, np.ones(1))),
        ({"base": {"kind": "poisson"}}, lambda spec: curve_over_residual(spec, np.ones(1))),
        ({}, lambda spec: curve_over_log_mean(spec, np.ones(1), 1.0)),
    ],
    ids=["sigma2", "predicted", "likelihood", "poisson", "no-counts"],
)
def test_what_a_curve_needs_and_is_not_told_is_named(document, draw):
    with pytest.raises(ValueError, match=r"no function|needs one|compares no counts"):
        draw(LossSpec.model_validate(document))
