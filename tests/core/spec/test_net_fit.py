"""Which network goes with which data and batches."""

from __future__ import annotations

import pytest

from softreg_core.spec import MlpSpec
from softreg_core.spec.net_fit import misfit_of_batches

_NORMED = MlpSpec(norm="batch")


@pytest.mark.parametrize(("rows", "batch"), [(64, 32), (66, 32), (2, 32), (31, 32), (3, 2_000)])
def test_batches_of_two_rows_or_more_can_be_normed(rows, batch):
    assert misfit_of_batches(_NORMED, rows, batch) is None


@pytest.mark.parametrize(("rows", "batch", "size"), [(65, 32, 31), (33, 32, 31), (10, 1, 2), (3, 2, 3), (1, 8, None)])
def test_a_batch_of_one_row_cannot_be_normed_and_the_refusal_names_a_size_that_can(rows, batch, size):
    reason = misfit_of_batches(_NORMED, rows, batch)
    assert f"{rows} training rows" in reason
    if size is None:
        assert "batch_size" not in reason
    else:
        assert f"choose batch_size {size} or" in reason
        assert misfit_of_batches(_NORMED, rows, size) is None


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_other_norms_take_any_batch(norm):
    assert misfit_of_batches(MlpSpec(norm=norm), 65, 32) is None
