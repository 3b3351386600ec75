"""A stored dataset read back, and its columns as the arrays that training needs."""

# N rows, D columns, C target columns

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from softreg_core.data.partition import SplitRows, fold_partition, group_partition, partition
from softreg_core.data.preprocessing import Preprocessing, Scaling
from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.errors import DataError
from softreg_core.spec.split import split_sizes
from softreg_core.spec.train import TrainSpec

__all__ = ["Part", "PreparedData", "Table", "load_table", "prepare", "split_rows"]

# Columns are widened to float64 in blocks of about this many numbers, so that a wide table is never held twice.
_BLOCK = 4_194_304


@dataclass(frozen=True, eq=False)
class Table:
    """A dataset in memory: the report, and the tensors that its columns point into."""

    report: DatasetReport
    tensors: dict[str, NDArray[Any]]

    @cached_property
    def _by_name(self) -> dict[str, ColumnReport]:
        return {column.name: column for column in self.report.columns}

    def column(self, name: str) -> ColumnReport:
        """The report of one column.

        Raises:
            DataError: there is no such column.
        """
        if name not in self._by_name:
            raise DataError(f"the dataset has no column '{name}'", "no_such_column", column=name)
        return self._by_name[name]

    def values(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Numeric columns side by side, (N, D), as they were given: not scaled, NaN where a cell is unusable."""
        return np.stack([self._cells(self.column(name), "numeric").astype(np.float64) for name in names], axis=1)

    def codes(self, name: str) -> NDArray[np.int64]:
        """Class codes (N,): indices into the column's levels.

        Raises:
            DataError: the column has no levels, or a cell is none of them.
        """
        column = self.column(name)
        if column.levels is None:
            raise DataError(f"column '{name}' has no classes", "no_classes", column=name)
        if column.kind == "category":
            codes = self._cells(column, "category").astype(np.int64)
        else:
            codes = _codes_of_numbers(self._cells(column, "numeric"), column.levels)
        unknown = np.flatnonzero((codes < 0) | (codes >= len(column.levels)))
        if unknown.size:
            row = int(unknown[0]) + 1
            raise DataError(f"column '{name}', row {row}: no class", "no_class", row=row, column=name)
        return codes

    def labels(self, name: str) -> NDArray[np.str_]:
        """Class labels (N,), the text of each row's level."""
        return np.asarray(self.column(name).levels or (), dtype=np.str_)[self.codes(name)]

    def _cells(self, column: ColumnReport, kind: str) -> NDArray[Any]:
        if column.kind != kind or column.tensor is None or column.position is None:
            raise DataError(f"column '{column.name}' is not {kind}", "wrong_kind", column=column.name)
        return self.tensors[column.tensor][:, column.position]


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one part of the split; training rows in the dataset's order, their order in training is the engine's."""

    inputs: tuple[Tensor, ...]
    """What the network is called with, each (N, ...); softreg_core.spec.inputs says which tensors there are."""
    target: Tensor
    """int64 class codes (N,), or float32 (N, C), scaled."""
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


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Everything that training reads."""

    train: Part
    validation: Part
    test: Part
    preprocessing: Preprocessing


def load_table(path: Path) -> Table:
    """Read a stored dataset ("softreg table 1": one safetensors file, the report in its metadata).

    Raises:
        DataError: the file is torn or is no stored dataset.
        OSError: the machine cannot read it; that is not the data's fault.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            report = DatasetReport.model_validate_json((file.metadata() or {})["softreg.report"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except (SafetensorError, KeyError, ValidationError) as error:
        raise DataError(f"not a stored dataset: {error}", "unreadable") from error
    for column in report.columns:
        shape = tensors[column.tensor].shape if column.tensor in tensors else (0, 0)
        stored = len(shape) == 2 and shape[0] == report.rows and 0 <= (column.position or 0) < shape[1]
        if column.tensor is not None and not stored:
            raise DataError(f"not a stored dataset: column '{column.name}' is missing", "unreadable")
    return Table(report, tensors)


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
    else:
        scaled_NC, target_scaling = _scaled(table, target_names, rows.train, spec.preprocess.target == "standardize")
        target, labels = torch.from_numpy(scaled_NC), None
    whole = Part((torch.from_numpy(features_ND),), target)
    train, validation, test = map(whole.take, map(torch.from_numpy, (rows.train, rows.validation, rows.test)))
    return PreparedData(train, validation, test, Preprocessing(feature_scaling, target_names, target_scaling, labels))


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


def _codes_of_numbers(cells: NDArray[Any], levels: tuple[str, ...]) -> NDArray[np.int64]:
    """The index of each cell among levels that ascend; -1 where it is none of them."""
    truth = {"false": 0, "true": 1}
    if cells.dtype.kind == "b":
        cells = cells.astype(np.int64)
    # Of the cells' own type: int64 and uint64 would meet in float64, where neighbours from 2^53 on are one.
    numbers = np.array([truth[level] if level in truth else int(level) for level in levels], dtype=cells.dtype)
    codes = np.searchsorted(numbers, cells).clip(max=len(levels) - 1)
    return np.where(numbers[codes] == cells, codes, -1)
