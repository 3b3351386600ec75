"""Rows on disk, read ahead into pinned memory: the same batches as on a CPU, and no thread that stays."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from softreg_core.data.stream import pieces as module
from softreg_core.data.stream.pieces import Dealer
from softreg_core.data.streamed import StreamedPart
from softreg_core.engine.batches import StreamedBatches


@pytest.fixture
def part(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIECE_BYTES", 40_000)
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=(5000, 16)).astype(np.float32), np.arange(5000)]
    dealer = Dealer(tmp_path, arrays, 5000, 0)
    dealer.add(arrays)
    return StreamedPart(dealer.finish())


@pytest.mark.parametrize("step", [0, 9])
def test_batches_are_those_of_a_cpu(part, step):
    wanted = list(StreamedBatches(part, 256, 0)(1, step))
    found = list(StreamedBatches(part.to(torch.device("cuda")), 256, 0)(1, step))
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.target.device.type == "cuda"
        assert torch.equal(one.inputs[0].cpu(), other.inputs[0])
        assert torch.equal(one.target.cpu(), other.target)


def test_pieces_wait_in_pinned_memory_while_work_goes_on(part):
    """A long computation between batches: what is fetched meanwhile must not be overwritten."""
    work = torch.randn(2048, 2048, device="cuda")
    total = torch.zeros((), dtype=torch.float64, device="cuda")
    for batch in StreamedBatches(part.to(torch.device("cuda")), 100, 0)(0):
        for _ in range(4):
            work = (work @ work).clamp(-1.0, 1.0)
        total += batch.target.double().sum()
    assert float(total) == sum(range(5000))


def test_an_epoch_that_is_left_early_leaves_no_thread(part):
    batches = StreamedBatches(part.to(torch.device("cuda")), 256, 0)(0)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "softreg-ahead"]
