"""The columns of a table as the tensors that training needs."""

# N rows, D columns, C target columns

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from softreg_core.data.label_columns import label_columns
from softreg_core.data.partition import SplitRows, fold_partition, group_partition, partition
from softreg_core.data.preprocessing import Preprocessing, Scaling
from softreg_core.data.table import Table
from softreg_core.errors import DataError
from softreg_core.spec.split import split_sizes
from softreg_core.spec.train import TrainSpec

__all__ = ["Part", "PreparedData", "prepare", "split_rows"]

# Columns are widened to float64 in blocks of about this many numbers, so that a wide table is never held twice.
_BLOCK = 4_194_304


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


def split_rows(spec: TrainSpec, table: Table) -> SplitRows:
    """Which rows a resolved spec trains, validates and tests on; the same in every process.

    Row numbers count from 0 and ascend within each part.

    Raises:
        DataError: there are fewer groups than parts (reason `too_few_groups`), or the fold's training or validation
            rows are of a single class (reason `single_class`).
    """
    split, rows = spec.split, table.report.rows
    if split.column is not None:
        return _rows_by_column(table, split.column)
    sizes = split_sizes(rows, split)
    codes = table.codes(_target_names(spec)[0]) if split.stratify is True else None
    if split.group is not None:
        folds = None if split.folds is None else (split.folds, split.fold)
        parts = group_partition(_group_numbers(table, split.group), sizes, split.seed, codes, folds)
    elif split.folds is not None:
        parts = fold_partition(rows, sizes.test, split.folds, split.fold, split.seed, codes)
    else:
        parts = partition(rows, sizes, split.seed, codes)
    if split.folds is not None and spec.task.kind == "classification":
        _check_fold(spec, table, parts)
    return parts


def _rows_by_column(table: Table, name: str) -> SplitRows:
    """As the column says; `resolve` has looked at its levels."""
    labels = table.labels(name)
    words = (("train", "true", "1"), ("validation", "false", "0"), ("test",))
    train, validation, test = (np.flatnonzero(np.isin(labels, some)) for some in words)
    return SplitRows(train, validation, test)


def _group_numbers(table: Table, name: str) -> NDArray[np.int64]:
    """For each row the number of its group, from 0 without gaps."""
    column = table.column(name)
    cells = table.codes(name) if column.kind == "category" else table.values([name])[:, 0]
    numbers: NDArray[np.int64] = np.unique(cells, return_inverse=True)[1].astype(np.int64)
    return numbers


def _check_fold(spec: TrainSpec, table: Table, parts: SplitRows) -> None:
    name = _target_names(spec)[0]
    codes = table.codes(name)
    for part, rows in (("training", parts.train), ("validation", parts.validation)):
        present = np.unique(codes[rows])
        if present.size == 1:
            label = (table.column(name).levels or ())[int(present[0])]
            raise DataError(
                f"fold {spec.split.fold} of {spec.split.folds}: the {part} rows are all of class '{label}'",
                "single_class",
                column=name,
            )


def prepare(spec: TrainSpec, table: Table) -> PreparedData:
    """Split, scale by statistics of the training rows, and make tensors.

    Args:
        spec: resolved against `table.report`; see `softreg_core.spec.resolve`.
        table: the dataset.

    Raises:
        DataError: a used cell is not a finite float32 number after scaling; row (from 1) and column are named. Or the
            training rows are fewer than two, or of a single class.
    """
    rows = split_rows(spec, table)
    if rows.train.size < 2:
        raise DataError(f"too few rows for training: {rows.train.size} of {table.report.rows}", "too_few_rows")
    feature_names, target_names = _feature_names(spec), _target_names(spec)
    features_ND, feature_scaling = _scaled(table, feature_names, rows.train, spec.preprocess.features == "standardize")
    truths = None
    if spec.task.kind == "classification":
        codes = table.codes(target_names[0])
        if (codes[rows.train] == codes[rows.train[0]]).all():
            raise DataError(
                "the training rows are all of one class: stratify the split, or give it another seed or larger share",
                "single_class",
                column=target_names[0],
            )
        target = torch.from_numpy(codes)
        labels, target_scaling = table.column(target_names[0]).levels, None
    elif spec.task.kind == "multilabel":
        truths_NC, truths = label_columns(table, target_names, rows.train)
        target, labels, target_scaling = torch.from_numpy(truths_NC), target_names, None
    else:
        scaled_NC, target_scaling = _scaled(table, target_names, rows.train, spec.preprocess.target == "standardize")
        target, labels = torch.from_numpy(scaled_NC), None
    whole = Part((torch.from_numpy(features_ND),), target)
    train, validation, test = map(whole.take, map(torch.from_numpy, (rows.train, rows.validation, rows.test)))
    preprocessing = Preprocessing(feature_scaling, target_names, target_scaling, labels, truths)
    return PreparedData(train, validation, test, preprocessing)


def _feature_names(spec: TrainSpec) -> tuple[str, ...]:
    return _resolved(spec.task.features)


def _target_names(spec: TrainSpec) -> tuple[str, ...]:
    return _resolved(spec.task.target)


def _resolved(names: str | tuple[str, ...]) -> tuple[str, ...]:
    if names == "auto" or isinstance(names, str):
        raise ValueError(f"the spec is not resolved: it names '{names}' and no columns; see softreg_core.spec.resolve")
    return names


def _scaled(
    table: Table, names: tuple[str, ...], train_rows: NDArray[np.int64], is_standardized: bool
) -> tuple[NDArray[np.float32], Scaling]:
    """Float32 columns, scaled, and the scaling; block by block."""
    scaled_ND = np.empty((table.report.rows, len(names)), dtype=np.float32)
    scalings = []
    width = max(1, _BLOCK // table.report.rows)
    for start in range(0, len(names), width):
        some = names[start : start + width]
        block = table.values(some)
        scaling = Scaling.of(some, block[train_rows]) if is_standardized else Scaling.none(some)
        scaled_ND[:, start : start + width] = scaling.apply(block)
        scalings.append(scaling)
    return scaled_ND, Scaling.joined(scalings)
