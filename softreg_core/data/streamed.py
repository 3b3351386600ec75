"""Rows that do not fit memory, as the tensors that training needs, a piece at a time."""

# n rows of a piece

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from softreg_core.data.part import Part
from softreg_core.data.stream.pieces import Arrays, Pieces

__all__ = ["StreamedPart"]


@dataclass(frozen=True, slots=True)
class StreamedPart:
    """Rows of one part of the split, dealt into pieces: their inputs, then the target, then perhaps the weight."""

    pieces: Pieces
    has_weight: bool = False

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.pieces.rows

    def to(self, device: torch.device) -> StreamedPart:  # noqa: ARG002 - the same call as a part in memory takes
        """Itself: blocks are moved when they are read."""
        return self

    def blocks(self) -> Iterator[Part]:
        """All rows, in pieces that fit memory, always in the same order."""
        return map(self._part, self.pieces.in_order())

    def shuffled(self, seed: int, epoch: int, skip: int = 0) -> Iterator[Part]:
        """All rows in the order of an epoch, without the first `skip`, in pieces that fit memory."""
        return map(self._part, self.pieces.shuffled(seed, epoch, skip))

    def _part(self, arrays: Arrays) -> Part:
        tensors = [torch.from_numpy(array) for array in arrays]
        weight = tensors.pop() if self.has_weight else None
        target = tensors.pop()
        return Part(tuple(tensors), target, weight)
