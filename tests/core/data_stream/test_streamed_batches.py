"""Batches of streamed rows: every row once, any step can be the first, memory holds a piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from softreg_core.data.stream import pieces as module
from softreg_core.data.stream.pieces import Dealer
from softreg_core.data.streamed import StreamedPart
from softreg_core.engine.batches import StreamedBatches


@pytest.fixture(params=[False, True], ids=["", "weighted"])
def part(tmp_path, monkeypatch, request):
    monkeypatch.setattr(module, "PIECE_BYTES", 2000)
    arrays = [np.arange(1000, dtype=np.float32).reshape(500, 2), np.arange(500)]
    if request.param:
        arrays.append(np.arange(500, dtype=np.float32))
    dealer = Dealer(tmp_path, arrays, 500, 0)
    dealer.add(arrays)
    return StreamedPart(dealer.finish(), has_weight=request.param)


@pytest.mark.parametrize("size", [1, 7, 64, 499, 500, 900])
def test_batches_have_the_size_asked_for_and_an_epoch_holds_every_row_once(part, size):
    batches = StreamedBatches(part, size, 0)
    found = list(batches(epoch=3))
    assert len(found) == batches.steps_per_epoch
    assert [batch.rows for batch in found[:-1]] == [size] * (len(found) - 1)
    assert max(batch.rows for batch in found) == batches.most_rows
    target = torch.cat([batch.target for batch in found])
    assert torch.equal(target.sort().values, torch.arange(500))
    assert torch.equal(torch.cat([batch.inputs[0] for batch in found])[:, 0], 2.0 * target)
    for batch in found:
        assert (batch.weight is not None) == part.has_weight
        assert batch.weight is None or torch.equal(batch.weight, batch.target.float())


@pytest.mark.parametrize("step", [1, 5, 70, 71])
def test_an_epoch_that_begins_at_a_later_step_has_the_same_batches(part, step):
    batches = StreamedBatches(part, 7, 0)
    whole, rest = list(batches(2)), list(batches(2, from_step=step))
    assert [batch.target.tolist() for batch in rest] == [batch.target.tolist() for batch in whole[step:]]


def test_targets_and_weights_of_all_rows_stand_in_one_order(part):
    assert torch.equal(part.target.sort().values, torch.arange(500))
    assert (part.weight is not None) == part.has_weight
    assert part.weight is None or torch.equal(part.weight, part.target.float())


def test_some_rows_are_read_in_order_without_the_others(part):
    numbers = torch.tensor([0, 3, 4, 250, 251, 499])
    some = part.take(numbers)
    assert some.rows == 6
    assert torch.equal(some.target, part.target[numbers])
    found = list(some.batches(2))
    assert max(batch.rows for batch in found) <= 2
    assert torch.equal(torch.cat([batch.target for batch in found]), some.target)
    assert torch.equal(some.take(torch.tensor([1, 5])).target, some.target[[1, 5]])
