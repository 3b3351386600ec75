"""A program traces a loss once, for many members at a time: nothing in it may look at a number or write in place."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from softreg_core.losses import DataMeta, build_loss
from softreg_core.losses.registry import BASES, CLASS_DIVERGENCES, RESIDUAL_DIVERGENCES
from softreg_core.spec import LossSpec
from softreg_core.spec.fit import misfit_of_task

MEMBERS, ROWS, OUTPUTS = 3, 4, 5
OF_RESIDUALS = sorted(RESIDUAL_DIVERGENCES.keys() - {"sample_program"})
CROSS_ENTROPY, BINARY = {"kind": "cross_entropy"}, {"kind": "binary_cross_entropy"}
LOSSES = [
    *({"base": {"kind": kind}} for kind in BASES),
    *(
        {"divergence": {"kind": kind, "variance": {"kind": variance}}}
        for kind in OF_RESIDUALS
        for variance in ("fixed", "target", "residual")
    ),
    {"divergence": {"kind": "article", "variance": {"kind": "output", "gradient": "through"}}},
    {"divergence": {"kind": "article"}, "base": {"kind": "brier"}},
    {"divergence": {"kind": "sample_program"}},
    {"divergence": {"kind": "gaussian", "prediction_variance": "learned"}},
    {"divergence": {"kind": "gaussian", "prediction_variance": "predicted"}},
    *({"base": base, "divergence": {"kind": kind}} for kind in CLASS_DIVERGENCES for base in (CROSS_ENTROPY, BINARY)),
    {"base": CROSS_ENTROPY, "divergence": {"kind": "categorical", "direction": "jensen_shannon"}},
    {"base": CROSS_ENTROPY, "divergence": {"kind": "uniform", "threshold": 0.5}},
]


def name(document):
    divergence = document.get("divergence", {})
    base = document.get("base", {}).get("kind", "half_squared_error")
    return "-".join([base, *(str(v["kind"] if isinstance(v, dict) else v) for v in divergence.values())])


def target_of(task, generator):
    if task == "classification":
        return torch.randint(0, OUTPUTS, (ROWS,), generator=generator)
    numbers = torch.rand((ROWS, OUTPUTS), generator=generator)
    return numbers.round() if task == "multilabel" else numbers


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("document", LOSSES, ids=name)
def test_traced_for_many_members_it_has_each_one_s_gradient(document, is_weighted):
    spec = LossSpec.model_validate(document | ({"alpha": 0.3} if "divergence" in document else {}))
    task = next(t for t in ("classification", "multilabel", "regression") if misfit_of_task(spec.base, t) is None)
    loss = build_loss(spec, DataMeta(OUTPUTS, task, 1000, 0.4, are_targets_checked=True))
    generator = torch.Generator().manual_seed(0)
    output = torch.randn((MEMBERS, ROWS, OUTPUTS + loss.extra_outputs), generator=generator)
    target = target_of(task, generator)
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5]) if is_weighted else None
    kept = dict(loss.named_parameters()) | dict(loss.named_buffers())

    def gradient_of(output_BX, kept):
        def mean(output_BX):
            prediction, variance = loss.split(output_BX)
            own = {name: tensor.clone() for name, tensor in kept.items()}  # a moving mean moves in place
            given = {"weight": weight, "variance": variance}
            return functional_call(loss, own, (prediction, target), given).total.mean()

        return grad(mean)(output_BX)

    kept_of_each = {name: torch.stack([tensor.detach()] * MEMBERS) for name, tensor in kept.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns where it would loop over the members
        traced = make_fx(vmap(gradient_of))(output, kept_of_each)
    output.requires_grad_()
    for one in output:
        prediction, variance = loss.split(one)
        own = {name: tensor.clone() for name, tensor in kept.items()}
        given = {"weight": weight, "variance": variance}
        functional_call(loss, own, (prediction, target), given).total.mean().backward()
    assert torch.allclose(traced(output.detach(), kept_of_each), output.grad, rtol=1e-5, atol=1e-7)


def test_codes_are_looked_at_unless_the_data_was():
    codes = torch.tensor([0, 5])
    for base in (CROSS_ENTROPY, {"kind": "half_squared_error"}):
        spec = LossSpec.model_validate({"base": base})
        checked = DataMeta(OUTPUTS, "classification", are_targets_checked=True)
        with pytest.raises(Exception, match="row 2: class code 5"):
            build_loss(spec, DataMeta(OUTPUTS, "classification"))(torch.zeros((2, OUTPUTS)), codes)
        with pytest.raises(RuntimeError, match="out of bounds"):  # torch's own look, which names no row
            build_loss(spec, checked)(torch.zeros((2, OUTPUTS)), codes)
