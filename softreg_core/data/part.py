"""Rows in memory, as the tensors that training needs."""

# N rows, C target columns

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Part", "Rows"]


class Rows(Protocol):
    """Rows to be measured, wherever they lie."""

    @property
    def rows(self) -> int:
        """N."""

    @property
    def target(self) -> Tensor:
        """int64 class codes (N,); or float32 (N, C): scaled values, or labels, 0 or 1."""

    def batches(self, size: int) -> Iterator[Part]:
        """All rows in the order of `target`, at most `size` at a time."""

    def take(self, rows: Tensor, /) -> Rows:
        """Some rows by their ascending numbers."""


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one part of the split; training rows in the dataset's order, their order in training is the engine's."""

    inputs: tuple[Tensor, ...]
    """What the network is called with, each (N, ...); softreg_core.spec.inputs says which tensors there are."""
    target: Tensor
    """int64 class codes (N,); or float32 (N, C): scaled values, or labels, 0 or 1."""
    weight: Tensor | None = None
    """float32 (N,), not negative: a row's weight in the loss; None when all weigh the same."""

    @property
    def rows(self) -> int:
        """N."""
        return int(self.target.shape[0])

    def take(self, rows: slice | Tensor) -> Part:
        """Some of the rows: a slice, or row numbers in any order."""
        weight = None if self.weight is None else self.weight[rows]
        return Part(tuple(tensor[rows] for tensor in self.inputs), self.target[rows], weight)

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32, *, non_blocking: bool = False) -> Part:
        """The same rows on a device; numbers that are float32 as `dtype`.

        Args:
            device: where to.
            dtype: of numbers.
            non_blocking: from pinned memory, without waiting for it; later work on the device waits.
        """

        def moved(tensor: Tensor) -> Tensor:
            return _numbers_as(dtype, tensor).to(device, non_blocking=non_blocking)

        weight = None if self.weight is None else moved(self.weight)
        return Part(tuple(map(moved, self.inputs)), moved(self.target), weight)

    def batches(self, size: int) -> Iterator[Part]:
        """All rows, in order; the last batch may be smaller."""
        if self.rows <= size:
            yield self
            return
        for start in range(0, self.rows, size):
            yield self.take(slice(start, start + size))

    def cut(self, size: int) -> Iterator[Part]:
        """The same as `batches`, by views that are made all at once: for many small batches."""
        inputs = zip(*(torch.split(tensor, size) for tensor in self.inputs), strict=True)
        targets = torch.split(self.target, size)
        weights = [None] * len(targets) if self.weight is None else torch.split(self.weight, size)
        yield from map(Part, inputs, targets, weights)

    @classmethod
    def joined(cls, parts: Sequence[Part]) -> Part:
        """The rows of several parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        inputs = tuple(torch.cat(tensors) for tensors in zip(*(part.inputs for part in parts), strict=True))
        weights = [part.weight for part in parts if part.weight is not None]
        return cls(inputs, torch.cat([part.target for part in parts]), torch.cat(weights) if weights else None)


def _numbers_as(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    return tensor.to(dtype) if tensor.dtype == torch.float32 else tensor
