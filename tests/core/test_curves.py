"""The curves in NumPy and the losses in torch, each written from the formulas, agree in value and gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.curves import curve_over_probability, curve_over_residual
from softreg_core.losses import build_loss
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
