"""A network learns with every base."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from softreg_core.data.arrays import table_from_arrays
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


@pytest.mark.parametrize("kind", [kind for kind in of_task("regression") if kind != "poisson"])
def test_values_are_learned(slope, ready, kind):
    spec, data = ready(slope, loss={"base": {"kind": kind}, "divergence": None}, **FAST)
    result = fit(spec, data)
    assert result.metrics["val.r2"] > 0.9
    assert result.history[-1]["train.loss"] < result.history[0]["train.loss"]


def test_counts_are_learned_and_measured_as_counts(ready):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 2))
    counts = generator.poisson(np.exp(1.5 + features @ np.array([0.8, -0.5]))).astype(float)
    spec, data = ready(
        table_from_arrays(features, counts),
        task={"kind": "regression"},
        loss={"base": {"kind": "poisson"}},
        **FAST,
    )
    assert spec.preprocess.target == "none"
    result = fit(spec, data)
    assert result.metrics["val.r2"] > 0.7
    assert result.metrics["val.mae"] < 2.5
