"""Base x divergence x task: every combination is built and gives a loss, or is refused with a reason."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from softreg_core.errors import SpecError
from softreg_core.losses import DataMeta, build_loss
from softreg_core.spec import LossSpec
from softreg_core.spec.loss import BaseSpec, DivergenceSpec

CLASSES, LABELS, VALUES = "classification", "multilabel", "regression"
ALL = (CLASSES, LABELS, VALUES)
TASKS = {
    "half_squared_error": ALL,
    "huber": ALL,
    "absolute_error": ALL,
    "quantile": (VALUES,),
    "student_t": ALL,
    "barron": ALL,
    "poisson": (VALUES,),
    "gaussian_nll": (VALUES,),
    "cross_entropy": (CLASSES,),
    "binary_cross_entropy": (LABELS,),
    "brier": (CLASSES,),
    "generalized_cross_entropy": (CLASSES,),
    "symmetric_cross_entropy": (CLASSES,),
    "focal": (CLASSES,),
}
RESIDUAL = {"article", "inflation", "sample_program", "gaussian", "cauchy", "geman_mcclure", "welsch"}
OF_CLASSES = {"categorical", "uniform"}
BESIDE = {"teacher", "twin"}
DIVERGENCES_OF = {
    "half_squared_error": RESIDUAL | BESIDE,
    "huber": RESIDUAL | BESIDE,
    "absolute_error": RESIDUAL | BESIDE,
    "quantile": BESIDE,
    "student_t": BESIDE,
    "barron": BESIDE,
    "poisson": BESIDE,
    "gaussian_nll": RESIDUAL,
    "brier": RESIDUAL | OF_CLASSES | BESIDE,
    "cross_entropy": OF_CLASSES | BESIDE,
    "binary_cross_entropy": OF_CLASSES | BESIDE,
    "generalized_cross_entropy": OF_CLASSES | BESIDE,
    "symmetric_cross_entropy": OF_CLASSES | BESIDE,
    "focal": OF_CLASSES | BESIDE,
}


def kinds(union):
    return [member.model_fields["kind"].default for member in get_args(get_args(union)[0])]


def test_the_table_knows_every_kind():
    assert set(TASKS) == set(kinds(BaseSpec))
    assert set().union(*DIVERGENCES_OF.values()) == set(kinds(DivergenceSpec))


@pytest.mark.parametrize(
    ("base", "divergence"), list(itertools.product(kinds(BaseSpec), [None, *kinds(DivergenceSpec)])), ids=str
)
def test_a_pair_is_accepted_or_refused_with_a_reason(base, divergence):
    document = {"base": {"kind": base}, "divergence": None if divergence is None else {"kind": divergence}}
    if divergence is None or divergence in DIVERGENCES_OF.get(base, ()):
        spec = LossSpec.model_validate(document)
        assert (spec.divergence is None) == (spec.alpha == 0.0)
    else:
        with pytest.raises(ValidationError, match=f"'{divergence}' compares .* and goes with base .*, not with {base}"):
            LossSpec.model_validate(document)


@pytest.mark.parametrize("task", ALL)
@pytest.mark.parametrize("base", kinds(BaseSpec))
def test_a_base_trains_its_tasks_and_is_refused_for_the_other(base, task):
    for divergence in (None, *sorted(DIVERGENCES_OF.get(base, ()))):
        chosen = None if divergence is None else {"kind": divergence}
        spec = LossSpec.model_validate({"base": {"kind": base}, "divergence": chosen})
        meta = DataMeta(outputs=3, task=task)
        if task not in TASKS[base]:
            with pytest.raises(SpecError) as caught:
                build_loss(spec, meta)
            assert [problem.pointer for problem in caught.value.problems] == ["/loss/base/kind"]
            continue
        prediction = torch.linspace(-1.0, 1.0, 12).reshape(4, 3).requires_grad_()
        target = {CLASSES: torch.tensor([0, 1, 2, 1]), LABELS: torch.eye(4)[:, :3], VALUES: torch.rand(4, 3)}[task]
        variance = torch.ones(4, 1) if base == "gaussian_nll" else None
        further = {"teacher": "teacher", "twin": "second"}.get(divergence)
        other = {} if further is None else {further: torch.linspace(1.0, 0.0, 12).reshape(4, 3)}
        parts = build_loss(spec, meta)(prediction, target, variance=variance, **other)
        parts.total.mean().backward()
        assert parts.total.shape == (4,)
        assert prediction.grad.abs().sum() > 0
        assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("base", [kind for kind in TASKS if kind != "half_squared_error"])
def test_without_a_word_on_divergence_another_base_than_the_article_s_stands_alone(base):
    spec = LossSpec.model_validate({"base": {"kind": base}})
    assert (spec.divergence, spec.alpha) == (None, 0.0)
