"""A network learns with every base."""

from __future__ import annotations

from typing import get_args

import pytest

from softreg_core.engine import fit
from softreg_core.spec.fit import misfit_of_task
from softreg_core.spec.loss import BaseSpec, LossSpec

BASES = [member.model_fields["kind"].default for member in get_args(get_args(BaseSpec)[0])]


def of_task(task):
    return [
        kind for kind in BASES if misfit_of_task(LossSpec.model_validate({"base": {"kind": kind}}).base, task) is None
    ]


FAST = {"optimizer": {"kind": "adam", "learning_rate": 0.02}, "training": {"epochs": 30, "batch_size": 16}}


@pytest.mark.parametrize("kind", of_task("classification"))
def test_classes_are_learned(blobs, ready, kind):
    spec, data = ready(blobs, loss={"base": {"kind": kind}, "divergence": None}, **FAST)
    result = fit(spec, data)
    assert result.metrics["val.accuracy"] > 0.75
    assert result.history[-1]["train.loss"] < result.history[0]["train.loss"]


@pytest.mark.parametrize("kind", of_task("regression"))
def test_values_are_learned(slope, ready, kind):
    spec, data = ready(slope, loss={"base": {"kind": kind}, "divergence": None}, **FAST)
    result = fit(spec, data)
    assert result.metrics["val.r2"] > 0.9
    assert result.history[-1]["train.loss"] < result.history[0]["train.loss"]
