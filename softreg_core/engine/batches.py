"""Where the batches of an epoch come from: any source that can begin an epoch at any of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from softreg_core.data.tabular import Part
from softreg_core.engine.order import epoch_order

__all__ = ["Batches", "ResidentBatches"]


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
