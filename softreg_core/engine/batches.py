"""Where the batches of an epoch come from: any source that can begin an epoch at any of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from softreg_core.data.part import Part
from softreg_core.data.streamed import StreamedPart
from softreg_core.engine.order import epoch_order

__all__ = ["Batches", "ResidentBatches", "StreamedBatches", "batches_of"]


class Batches(Protocol):
    """Training rows, one batch for each optimiser step; the same call gives the same batches, in every process."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass."""

    @property
    def most_rows(self) -> int:
        """Rows of the largest batch."""

    def __call__(self, epoch: int, from_step: int = 0) -> Iterator[Part]:
        """The batches of an epoch on the run's device, from its step `from_step` on; both count from 0."""


def batches_of(part: Part | StreamedPart, batch_size: int, seed: int) -> Batches:
    """Batches of rows that lie in memory, or on disk."""
    if isinstance(part, StreamedPart):
        return StreamedBatches(part, batch_size, seed)
    return ResidentBatches(part, batch_size, seed)


class ResidentBatches:
    """Rows that lie on the device whole, in a new order each epoch; the last batch of an epoch may be smaller."""

    def __init__(self, part: Part, batch_size: int, seed: int) -> None:
        self._part = part
        self._batch_size = batch_size
        self._seed = seed

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass."""
        return -(-self._part.rows // self._batch_size)

    @property
    def most_rows(self) -> int:
        """Rows of the largest batch."""
        return min(self._part.rows, self._batch_size)

    def __call__(self, epoch: int, from_step: int = 0) -> Iterator[Part]:
        """See `Batches`."""
        order = torch.from_numpy(epoch_order(self._seed, epoch, self._part.rows)).to(self._part.target.device)
        # In order once per epoch: then every batch is a slice, which costs nothing.
        ordered = self._part.take(order)
        for start in range(from_step * self._batch_size, self._part.rows, self._batch_size):
            yield ordered.take(slice(start, start + self._batch_size))


class StreamedBatches:
    """Rows that are read piece after piece; a batch may begin in one piece and end in the next."""

    def __init__(self, part: StreamedPart, batch_size: int, seed: int) -> None:
        self._part = part
        self._batch_size = batch_size
        self._seed = seed

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass."""
        return -(-self._part.rows // self._batch_size)

    @property
    def most_rows(self) -> int:
        """Rows of the largest batch."""
        return min(self._part.rows, self._batch_size)

    def __call__(self, epoch: int, from_step: int = 0) -> Iterator[Part]:
        """See `Batches`."""
        begun: list[Part] = []
        wanted = self._batch_size
        for piece in self._part.shuffled(self._seed, epoch, skip=from_step * self._batch_size):
            start = 0
            while piece.rows - start >= wanted:
                yield Part.joined([*begun, piece.take(slice(start, start + wanted))])
                start, wanted, begun = start + wanted, self._batch_size, []
            if start < piece.rows:
                begun.append(piece.take(slice(start, None)))
                wanted -= piece.rows - start
        if begun:
            yield Part.joined(begun)
