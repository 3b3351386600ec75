"""The gradients that the engine steps on are those that autograd finds for the values that it logs."""

from __future__ import annotations

import pytest
import torch

from softreg_core.losses import DataMeta, build_loss
from softreg_core.losses.closed import closed_gradient
from softreg_core.losses.slopes import SLOPES
from softreg_core.spec import LossSpec

CROSS_ENTROPY, BRIER = {"kind": "cross_entropy"}, {"kind": "brier"}
FIXED, TARGET = {"kind": "fixed", "value": 0.7}, {"kind": "target"}
OUTPUTS, STEP, STEPS = 4, 30, 100
OF_RESIDUALS = [
    *({"divergence": {"kind": kind, "variance": variance}} for kind in SLOPES for variance in (FIXED, TARGET)),
    *({"divergence": {"kind": kind, "variance": FIXED, "scale": "per_output"}} for kind in SLOPES),
    {"divergence": {"kind": "article", "variance": TARGET}, "alpha_units": "sigma2"},
    {"divergence": {"kind": "article"}, "combine": "convex"},
    {"divergence": {"kind": "article"}, "alpha": {"kind": "linear", "value": 0.9}},
    {"divergence": {"kind": "article"}, "alpha": {"kind": "cosine", "start": 0.9, "end": 0.0}, "combine": "convex"},
]
SAMPLE_PROGRAM = {"divergence": {"kind": "sample_program"}}
OF_CLASSES = [
    *(
        {"divergence": {"kind": "categorical", "direction": direction, **more}}
        for direction in ("prediction_to_target", "target_to_prediction", "jeffreys", "jensen_shannon")
        for more in ({}, {"temperature": 3.0}, {"epsilon": 0.4})
    ),
    {"divergence": {"kind": "categorical", "normalize": True}},
    {"divergence": {"kind": "categorical", "direction": "jensen_shannon", "epsilon": 0.0}},
    {"divergence": {"kind": "uniform"}},
    {"divergence": {"kind": "uniform", "threshold": 1.2}},
    {"divergence": {"kind": "uniform"}, "combine": "convex"},
]
NONE = {"divergence": None}
CASES = [
    *(("half_squared_error", document) for document in (NONE, SAMPLE_PROGRAM, *OF_RESIDUALS)),
    *(("brier", document) for document in (NONE, *OF_RESIDUALS)),
    *(("cross_entropy", document) for document in (NONE, *OF_CLASSES)),
]
WITHOUT = [
    {"base": {"kind": "huber"}},
    {"base": {"kind": "gaussian_nll"}},
    {"base": {"kind": "focal"}},
    {"divergence": {"kind": "article", "variance": {"kind": "residual"}}},
    {"divergence": {"kind": "article", "variance": {"kind": "output"}}},
    {"divergence": {"kind": "gaussian", "prediction_variance": "learned"}},
    {"divergence": {"kind": "gaussian", "prediction_variance": "predicted"}},
    {"divergence": {"kind": "twin"}},
    {"base": CROSS_ENTROPY, "divergence": {"kind": "teacher"}},
    {"base": BRIER, "divergence": {"kind": "sample_program"}},
    {"base": {"kind": "binary_cross_entropy"}},
]


def both(document, task):
    filled = {"alpha": 0.4 if document.get("divergence", 0) else 0.0} | document
    spec = LossSpec.model_validate(filled)
    meta = DataMeta(OUTPUTS, task, STEPS, 0.3, are_targets_checked=True)
    loss = build_loss(spec, meta)
    return loss, closed_gradient(spec, loss)


def name(case):
    base, document = case
    flat = {**document, **(document["divergence"] or {})}
    return "-".join([base, *(str(value) for key, value in flat.items() if key != "divergence")])


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("case", CASES, ids=name)
def test_it_is_the_gradient_of_the_mean_total(case, task):
    base, document = case
    if task == "regression" and base != "half_squared_error":
        return
    generator = torch.Generator().manual_seed(0)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        loss, closed = both({"base": {"kind": base}} | document, task)
        for size in (0.0, 1e-12, 1e-3, 1.0, 30.0):
            for rows in (7, 1):
                prediction = size * torch.randn((rows, OUTPUTS), generator=generator, dtype=dtype)
                codes = torch.randint(0, OUTPUTS, (rows,), generator=generator)
                values = torch.randn((rows, OUTPUTS), generator=generator, dtype=dtype)
                target = codes if task == "classification" else values
                before = prediction.clone()
                found = closed(prediction, target, STEP)
                assert torch.equal(prediction, before)
                prediction.requires_grad_()
                loss(prediction, target, step=STEP).total.mean().backward()
                assert found.dtype == dtype
                assert torch.allclose(found, prediction.grad, rtol=tolerance, atol=tolerance * 0.3 / rows)


def test_of_a_huge_residual_it_is_finite():
    for kind in SLOPES:
        _, closed = both({"divergence": {"kind": kind}}, "regression")
        far = torch.full((2, OUTPUTS), 1e15)
        assert closed(far, torch.zeros_like(far), 0).isfinite().all()
    for document in OF_CLASSES:
        _, closed = both({"base": CROSS_ENTROPY} | document, "classification")
        far = torch.tensor([[1e4, -1e4, 0.0, 200.0]])
        assert closed(far, torch.tensor([1]), 0).isfinite().all()


def test_without_a_divergence_it_is_autograd_s_bit_for_bit():
    loss, closed = both(NONE, "classification")
    prediction, codes = torch.randn((29, OUTPUTS)), torch.randint(0, OUTPUTS, (29,))
    found = closed(prediction, codes, 0)
    prediction.requires_grad_()
    loss(prediction, codes).total.mean().backward()
    assert torch.equal(found, prediction.grad)


@pytest.mark.parametrize("document", WITHOUT, ids=str)
def test_where_only_autograd_knows_it_there_is_none(document):
    task = "multilabel" if document.get("base", {}).get("kind") == "binary_cross_entropy" else "classification"
    if document.get("base", {}).get("kind") in ("huber", "gaussian_nll"):
        task = "regression"
    filled = document if "base" in document and "divergence" not in document else {"alpha": 0.4} | document
    spec = LossSpec.model_validate(filled)
    assert closed_gradient(spec, build_loss(spec, DataMeta(OUTPUTS, task, STEPS, 0.3))) is None
