"""Batches of all members: the same rows for all, or each member's own."""

# M members, N rows, B rows of a batch, S steps of an epoch

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from softreg_core.data.part import Part
from softreg_core.engine.order import epoch_order

__all__ = ["PackedBatch", "PackedRows"]


class PackedBatch(NamedTuple):
    """Rows of one step."""

    rows: Part
    """(B, ...); or (M, B, ...), with weight 0 in rows that fill up the batch of a member that has fewer."""
    is_shared: bool
    """Every member sees the same rows."""

    def of_one(self) -> Part:
        """Of the first member."""
        if self.is_shared:
            return self.rows
        weight = None if self.rows.weight is None else self.rows.weight[0]
        return Part(tuple(tensor[0] for tensor in self.rows.inputs), self.rows.target[0], weight)


class PackedRows:
    """The training rows of every member, resident; members that share them share the memory."""

    def __init__(self, parts: Sequence[Part], batch_size: int, seeds: Sequence[int]) -> None:
        """Args:
        parts: of each member; the same object where rows, targets and weights are the same.
        batch_size: of all.
        seeds: each member's, which decides its order.
        """
        distinct = list({id(part): part for part in parts}.values())
        starts = np.cumsum([0, *(part.rows for part in distinct[:-1])])
        start_of = {id(part): int(start) for part, start in zip(distinct, starts, strict=True)}
        self._batch_size = batch_size
        self._members = [(start_of[id(part)], part.rows, seed) for part, seed in zip(parts, seeds, strict=True)]
        self._is_shared = len(set(self._members)) == 1
        self._most = max(part.rows for part in parts)
        self._is_even = all(part.rows == self._most for part in parts)
        self._rows = _joined(distinct)

    @property
    def steps(self) -> int:
        """S."""
        return -(-self._most // self._batch_size)

    def keep(self, places: Sequence[int]) -> None:
        """Leave all other members out."""
        self._members = [self._members[place] for place in places]

    def __call__(self, epoch: int, from_step: int) -> Iterator[PackedBatch]:
        """The batches of an epoch, from its step `from_step` on; both count from 0."""
        size = self._batch_size
        orders = self._orders(epoch)
        if self._is_shared:
            ordered = self._rows.take(torch.from_numpy(orders[0]).to(self._rows.target.device))
            for start in range(from_step * size, self._most, size):
                yield PackedBatch(ordered.take(slice(start, start + size)), is_shared=True)
            return
        index_MN = np.stack([np.resize(order, self._most) for order in orders])
        places_MN = torch.from_numpy(index_MN).to(self._rows.target.device)
        counts_M1 = torch.tensor([[rows] for _, rows, _ in self._members], device=places_MN.device)
        for start in range(from_step * size, self._most, size):
            rows = self._gathered(places_MN[:, start : start + size])
            if not self._is_even and start + size > int(counts_M1.min()):
                seen_B = torch.arange(start, start + rows.target.shape[1], device=places_MN.device)
                counts_MB = seen_B < counts_M1
                weight = counts_MB.to(_floats(rows)) if rows.weight is None else rows.weight * counts_MB
                rows = Part(rows.inputs, rows.target, weight)
            yield PackedBatch(rows, is_shared=False)

    def _orders(self, epoch: int) -> list[np.ndarray]:
        """Of each member, rows of the joined part; permutations of equal seeds and lengths are made once."""
        known: dict[tuple[int, int], np.ndarray] = {}
        for _, rows, seed in self._members:
            if (seed, rows) not in known:
                known[seed, rows] = epoch_order(seed, epoch, rows)
        members = self._members[:1] if self._is_shared else self._members
        return [known[seed, rows] + start for start, rows, seed in members]

    def _gathered(self, places_MB: Tensor) -> Part:
        shape, flat = places_MB.shape, places_MB.reshape(-1)

        def picked(tensor: Tensor) -> Tensor:
            return tensor.index_select(0, flat).view(*shape, *tensor.shape[1:])

        weight = None if self._rows.weight is None else picked(self._rows.weight)
        return Part(tuple(map(picked, self._rows.inputs)), picked(self._rows.target), weight)


def _floats(rows: Part) -> torch.dtype:
    return next((t.dtype for t in (*rows.inputs, rows.target) if t.is_floating_point()), torch.float32)


def _joined(parts: Sequence[Part]) -> Part:
    """One after the other; where some have weights, rows of the others weigh 1."""
    if len(parts) == 1:
        return parts[0]
    weights: list[Tensor] = [part.weight for part in parts if part.weight is not None]
    if weights and len(weights) < len(parts):
        dtype = weights[0].dtype
        ones = (torch.ones(part.rows, dtype=dtype, device=part.target.device) for part in parts)
        parts = [
            Part(part.inputs, part.target, one if part.weight is None else part.weight)
            for part, one in zip(parts, ones, strict=True)
        ]
    return Part.joined(parts)
