"""Reading ahead: the same things in the same order, never too many of them, and no thread that stays."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from softreg_core.data.part import Part
from softreg_core.data.stream import pieces as module
from softreg_core.data.stream.ahead import ahead
from softreg_core.data.stream.pieces import Dealer
from softreg_core.data.streamed import StreamedPart
from softreg_core.engine.batches import StreamedBatches
from softreg_core.errors import IntegrityError


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "softreg-ahead"]


@pytest.fixture
def part(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIECE_BYTES", 2000)
    arrays = [np.arange(1000, dtype=np.float32).reshape(500, 2), np.arange(500)]
    dealer = Dealer(tmp_path, arrays, 500, 0)
    dealer.add(arrays)
    return StreamedPart(dealer.finish())


@pytest.mark.parametrize("depth", [1, 3])
def test_everything_comes_once_and_in_order(depth):
    assert list(ahead(iter(range(200)), depth)) == list(range(200))
    assert list(ahead(iter(()), depth)) == []
    assert not readers()


@pytest.mark.parametrize("depth", [1, 2])
def test_no_more_is_made_than_is_said(depth):
    made, used, most = 0, 0, []

    def source():
        nonlocal made
        for index in range(50):
            made += 1
            most.append(made - used)
            yield index

    for _ in ahead(source(), depth):
        used += 1
    # One that is used, those that wait, and the one that is being made, which is counted as it is begun.
    assert max(most) <= depth + 1


def test_the_next_thing_is_made_while_one_is_used():
    begun = threading.Event()

    def source():
        yield 0
        begun.set()
        yield 1

    things = ahead(source())
    assert next(things) == 0
    assert begun.wait(30)
    assert list(things) == [1]


def test_an_error_comes_after_what_was_made_before_it():
    def source():
        yield 1
        raise IntegrityError("a torn file")

    things = ahead(source())
    assert next(things) == 1
    with pytest.raises(IntegrityError, match="a torn file"):
        next(things)
    assert not readers()


def test_a_generator_that_is_closed_leaves_no_thread():
    things = ahead(iter(range(10**9)))
    assert next(things) == 0
    assert len(readers()) == 1
    things.close()
    assert not readers()


@pytest.fixture
def on_gpu(part, monkeypatch):
    """The path of a GPU, with fakes for its memory alone: what was pinned, and how it was moved."""
    pinned, moved = [], []

    def to(self, device, dtype, *, non_blocking):
        moved.append((device.type, non_blocking))
        return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    monkeypatch.setattr(Part, "to", to)
    return part.to(torch.device("cuda", 0)), pinned, moved


def test_an_epoch_that_is_left_early_leaves_no_thread(on_gpu):
    batches = StreamedBatches(on_gpu[0], 7, 0)(0)
    next(batches)
    assert len(readers()) == 1
    batches.close()
    assert not readers()


def test_a_torn_piece_is_told_of(on_gpu):
    (on_gpu[0].pieces.directory / "piece-000000").write_bytes(b"")
    with pytest.raises(IntegrityError):
        list(StreamedBatches(on_gpu[0], 7, 0)(0))
    assert not readers()


@pytest.mark.parametrize("step", [0, 40])
def test_what_a_gpu_is_sent_is_pinned_and_the_same(part, step, request):
    wanted = [(batch.inputs[0], batch.target) for batch in StreamedBatches(part, 7, 0)(2, step)]
    on_gpu, pinned, moved = request.getfixturevalue("on_gpu")
    found = [(batch.inputs[0], batch.target) for batch in StreamedBatches(on_gpu, 7, 0)(2, step)]
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert len(pinned) == 2 * len(moved)
    assert set(moved) == {("cuda", True)}
