"""A column that says how much each training row weighs."""

from __future__ import annotations

import numpy as np
import pytest

from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.splits import split_rows
from softreg_core.engine import fit
from softreg_core.errors import DataError, SpecError

WEIGHED = {"task": {"weight": "features.1", "target": "target"}}


def weighed(weights):
    rows = len(weights)
    return table_from_arrays(np.column_stack([np.arange(float(rows)), weights]), np.arange(rows) % 3 / 7)


def test_the_training_rows_carry_the_column_and_it_is_no_feature(ready):
    weights = np.arange(40) / 10
    table = weighed(weights)
    spec, data = ready(table, **WEIGHED)
    assert spec.task.features == ("features.0",)
    assert data.train.weight.tolist() == pytest.approx(weights[split_rows(spec, table).train].tolist())
    assert data.validation.weight is None


def test_a_row_that_weighs_nothing_is_as_if_it_were_not_there(ready):
    """The scaling of the target is off: it is learned of all training rows."""
    weights = np.where(np.arange(40) % 4 == 0, 0.0, 1.0)
    table = weighed(weights)
    other = weighed(weights)
    other.tensors["target"][::4] = 99.0
    found = []
    for some in (table, other):
        spec, data = ready(some, **WEIGHED, preprocess={"target": "none"}, training={"epochs": 2, "batch_size": 64})
        found.append(fit(spec, data).model.tensors["output.weight"])
    assert found[0].equal(found[1])


@pytest.mark.parametrize("weights", [np.full(20, -1.0), np.zeros(20)])
def test_weights_below_zero_or_all_zero_are_refused_at_submit(ready, weights):
    with pytest.raises(SpecError) as caught:
        ready(weighed(weights), **WEIGHED)
    assert caught.value.problems[0].pointer == "/task/weight"


def test_training_rows_that_all_weigh_nothing_are_refused(ready):
    table = weighed(np.ones(20))
    spec, _ = ready(table, **WEIGHED)
    weights = np.ones(20)
    weights[split_rows(spec, table).train] = 0.0
    with pytest.raises(DataError) as caught:
        ready(weighed(weights), **WEIGHED)
    assert caught.value.reason == "wrong_weight"
