"""Where the batches of an epoch come from: any source that can begin an epoch at any of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch

from softreg_core.data.part import Part
from softreg_core.data.streamed import StreamedPart
from softreg_core.engine.order import epoch_order
from softreg_core.spec.estimate import steps_per_epoch

__all__ = ["Batches", "ResidentBatches", "StreamedBatches", "batches_of"]

# Batches that are cut at once: one by one takes three times as long, and all of a long epoch much memory.
_AT_ONCE = 1024
Source = TypeVar("Source", Part, StreamedPart)


class Batches(Protocol):
    """Training rows, one batch for each optimiser step; the same call gives the same batches, in every process."""

    @property
    def batch_size(self) -> int:
        """Rows of a batch; the last of an epoch may have fewer."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass."""

    @property
    def most_rows(self) -> int:
        """Rows of the largest batch."""

    @property
    def order(self) -> str:
        """How rows are visited, in words."""

    def __call__(self, epoch: int, from_step: int = 0) -> Iterator[Part]:
        """The batches of an epoch on the run's device, from its step `from_step` on; both count from 0."""


def batches_of(part: Part | StreamedPart, batch_size: int, seed: int) -> Batches:
    """Batches of rows that lie in memory, or on disk."""
    if isinstance(part, StreamedPart):
        return StreamedBatches(part, batch_size, seed)
    return ResidentBatches(part, batch_size, seed)


@dataclass(frozen=True, slots=True)
class _BatchesOf(Generic[Source]):
    """As many rows at a time as fit; the last batch of an epoch may be smaller."""

    part: Source
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """See `Batches`."""
        return steps_per_epoch(self.part.rows, self.batch_size)

    @property
    def most_rows(self) -> int:
        """See `Batches`."""
        return min(self.part.rows, self.batch_size)


class ResidentBatches(_BatchesOf[Part]):
    """Rows that lie on the device whole, in a new order each epoch."""

    @property
    def order(self) -> str:
        """See `Batches`."""
        return "each epoch permutes all rows"

    def __call__(self, epoch: int, from_step: int = 0) -> Iterator[Part]:
        """See `Batches`."""
        order = torch.from_numpy(epoch_order(self.seed, epoch, self.part.rows)).to(self.part.target.device)
        # In order once per epoch: then every batch is a slice, which costs nothing.
        ordered = self.part.take(order)
        for start in range(from_step * self.batch_size, self.part.rows, _AT_ONCE * self.batch_size):
            yield from ordered.take(slice(start, start + _AT_ONCE * self.batch_size)).cut(self.batch_size)


class StreamedBatches(_BatchesOf[StreamedPart]):
    """Rows that are read piece after piece; a batch may begin in one piece and end in the next."""

    @property
    def order(self) -> str:
        """See `Batches`."""
        sizes = self.part.pieces.sizes
        return (
            f"rows lie on disk, dealt at random into {len(sizes)} pieces of at most {max(sizes)} rows; each epoch "
            "permutes the pieces, and the rows within each"
        )

    def __call__(self, epoch: int, from_step: int = 0) -> Iterator[Part]:
        """See `Batches`."""
        begun: list[Part] = []
        wanted = self.batch_size
        for piece in self.part.shuffled(self.seed, epoch, skip=from_step * self.batch_size):
            start = 0
            while piece.rows - start >= wanted:
                yield Part.joined([*begun, piece.take(slice(start, start + wanted))])
                start, wanted, begun = start + wanted, self.batch_size, []
            if start < piece.rows:
                begun.append(piece.take(slice(start, None)))
                wanted -= piece.rows - start
        if begun:
            yield Part.joined(begun)
