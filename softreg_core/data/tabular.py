"""The rows of a dataset as the tensors that training needs."""

# N rows, C target columns

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from softreg_core.data.cells import Cells, TableCells
from softreg_core.data.encode import begin_fit
from softreg_core.data.preprocessing import Preprocessing
from softreg_core.data.splits import split_rows
from softreg_core.data.table import Table
from softreg_core.data.target import TargetFit, target_array, weight_array
from softreg_core.errors import DataError
from softreg_core.spec.estimate import rows_of_batch
from softreg_core.spec.net_fit import misfit_of_batches
from softreg_core.spec.train import TrainSpec

__all__ = ["Part", "PreparedData", "part_of", "prepare", "split_rows"]


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

    def to(self, device: torch.device) -> Part:
        """The same rows on a device."""
        weight = None if self.weight is None else self.weight.to(device)
        return Part(tuple(tensor.to(device) for tensor in self.inputs), self.target.to(device), weight)

    def blocks(self) -> Iterator[Part]:
        """All rows, in order, in pieces that fit memory: here in one."""
        yield self

    @classmethod
    def joined(cls, parts: Sequence[Part]) -> Part:
        """The rows of several parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        inputs = tuple(torch.cat(tensors) for tensors in zip(*(part.inputs for part in parts), strict=True))
        weights = [part.weight for part in parts if part.weight is not None]
        return cls(inputs, torch.cat([part.target for part in parts]), torch.cat(weights) if weights else None)


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Everything that training reads."""

    train: Part
    validation: Part
    test: Part
    preprocessing: Preprocessing


def prepare(spec: TrainSpec, table: Table) -> PreparedData:
    """Split, learn of the training rows what is done before the network, do it to every row, and make tensors.

    Args:
        spec: resolved against `table.report`; see `softreg_core.spec.resolve`.
        table: the dataset.

    Raises:
        DataError: a used cell is missing, unknown or not a finite float32 number after scaling, and no policy takes
            it; row (from 1) and column are named. Or the training rows are fewer than two, or of a single class.
    """
    rows = split_rows(spec, table)
    if rows.train.size < 2:
        raise DataError(f"too few rows for training: {rows.train.size} of {table.report.rows}", "too_few_rows")
    # Of groups only now is it known how many rows train.
    batch_rows = rows_of_batch(spec.training.batch_size, rows.train.size)
    misfit = misfit_of_batches(spec.net, rows.train.size, batch_rows)
    if misfit is not None:
        raise DataError(misfit, "batch_of_one")
    inputs_fit, target_fit = begin_fit(spec, table.report), TargetFit(spec, table.report)
    train = TableCells(table, rows.train)
    target_fit.add(train)
    inputs_fit.add(train)
    preprocessing = target_fit.finish(inputs_fit.finish())
    training, validation, test = (part_of(preprocessing, TableCells(table, some)) for some in rows)
    weights = weight_array(spec, train)
    if weights is not None:
        if not weights.any():
            raise DataError(f"column '{spec.task.weight}': every training row weighs 0", "wrong_weight")
        training = replace(training, weight=torch.from_numpy(weights))
    return PreparedData(training, validation, test, preprocessing)


def part_of(preprocessing: Preprocessing, cells: Cells) -> Part:
    """Rows as the tensors that training needs.

    Raises:
        DataError: a cell is missing, unknown or not a finite float32 number after scaling, and no policy takes it.
    """
    inputs = tuple(map(torch.from_numpy, preprocessing.inputs.scaled(cells)))
    return Part(inputs, torch.from_numpy(target_array(preprocessing, cells)))
