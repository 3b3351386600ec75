"""Which rows of a dataset train, validate and test, by a resolved spec; the same in every process; NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.partition import SplitRows, fold_partition, group_partition, partition
from softreg_core.data.table import Table
from softreg_core.errors import DataError
from softreg_core.spec.estimate import rows_of_batch
from softreg_core.spec.net_fit import misfit_of_batches
from softreg_core.spec.split import split_sizes
from softreg_core.spec.train import TrainSpec

__all__ = ["resolved_names", "split_rows", "trainable_rows"]

_WORDS = (("train", "true", "1"), ("validation", "false", "0"), ("test",))


def split_rows(spec: TrainSpec, table: Table) -> SplitRows:
    """Which rows a resolved spec trains, validates and tests on.

    Row numbers count from 0 and ascend within each part. Of the table, the columns that `spec.split` names are read,
    and the target's where the split is stratified or of folds.

    Raises:
        DataError: there are fewer groups than parts (reason `too_few_groups`), or the fold's training or validation
            rows are of a single class (reason `single_class`).
    """
    split, rows = spec.split, table.report.rows
    if split.column is not None:
        return _rows_by_column(table, split.column)
    sizes = split_sizes(rows, split)
    codes = table.codes(resolved_names(spec.task.target)[0]) if split.stratify is True else None
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


def trainable_rows(spec: TrainSpec, table: Table) -> SplitRows:
    """`split_rows`, once the network can be trained on the training rows; of groups only now is their number known.

    Raises:
        DataError: as `split_rows`; or they are fewer than two (`too_few_rows`), or make a batch of one row that the
            network cannot take (`batch_of_one`).
    """
    rows = split_rows(spec, table)
    count = rows.train.size
    if count < 2:
        raise DataError(f"too few rows for training: {count} of {table.report.rows}", "too_few_rows")
    misfit = misfit_of_batches(spec.net, count, rows_of_batch(spec.training.batch_size, count))
    if misfit is not None:
        raise DataError(misfit, "batch_of_one")
    return rows


def resolved_names(names: str | tuple[str, ...]) -> tuple[str, ...]:
    """The columns that a resolved spec names.

    Raises:
        ValueError: it is not resolved.
    """
    if names == "auto" or isinstance(names, str):
        raise ValueError(f"the spec is not resolved: it names '{names}' and no columns; see softreg_core.spec.resolve")
    return names


def _rows_by_column(table: Table, name: str) -> SplitRows:
    """As the column says; `resolve` has looked at its levels."""
    labels = table.labels(name)
    train, validation, test = (np.flatnonzero(np.isin(labels, words)) for words in _WORDS)
    return SplitRows(train, validation, test)


def _group_numbers(table: Table, name: str) -> NDArray[np.int64]:
    """For each row the number of its group, from 0 without gaps."""
    kind = table.column(name).kind
    if kind == "text":
        numbers: dict[str, int] = {}
        texts = table.texts(name, np.arange(table.report.rows))
        return np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)
    cells = table.codes(name) if kind == "category" else table.values([name])[:, 0]
    return np.asarray(np.unique(cells, return_inverse=True)[1], dtype=np.int64)


def _check_fold(spec: TrainSpec, table: Table, parts: SplitRows) -> None:
    name = resolved_names(spec.task.target)[0]
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
