"""The arrays of an NPZ file as a table: `features`, `target`, and columns of their own; NumPy only."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.npz_arrays import read_arrays
from softreg_core.data.parsed import ParsedTable, remarks_on, spare_levels
from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.data.request import ParseLimits
from softreg_core.data.summary import Tally, numeric_report
from softreg_core.errors import DataError

__all__ = ["read_npz"]

_COLUMNS_PER_BLOCK = 64
"""Columns copied out of a wide array at a time: reading one by one would fetch every cache line once per column."""


def read_npz(stream: BinaryIO, limits: ParseLimits) -> ParsedTable:
    """Read an NPZ file.

    `features` (N, ...) gives the columns `features.0`, `features.1`, ...; `target` (N,) gives the column `target`
    and (N, C) gives `target.0`, ...; every other array is one-dimensional, of length N, and a column by its name.
    NaN and infinities are counted as non-finite.

    Raises:
        DataError: an array does not fit this, or the file passes a limit; the reason is a stable word.
    """
    arrays = read_arrays(stream, limits)
    if "lengths" in arrays:
        raise DataError("array 'lengths': sequences of different length are not supported", "lengths")
    rows = _rows(arrays, limits)
    hint = "" if "features" in arrays else "; the file has no array 'features'"
    tensors = {name: _two_dimensional(name, array, hint) for name, array in _in_order(arrays).items()}
    width = sum(tensor.shape[1] for tensor in tensors.values())
    if width > limits.columns:
        raise DataError(f"{width} columns, more than {limits.columns}", "too_many_columns")
    columns: list[ColumnReport] = []
    for name, tensor in tensors.items():
        columns.extend(_reports(name, tensor, is_wide=name == "features" or arrays[name].ndim > 1))
    _check_names(columns)
    # An array of floats holds no other numbers than those its writer had.
    whole = [column for column in columns if column.tensor and tensors[column.tensor].dtype.kind in "iu"]
    report = DatasetReport(
        format="npz", rows=rows, columns=spare_levels(columns), warnings=tuple(remarks_on(whole, rows))
    )
    return ParsedTable(tensors, report)


def _in_order(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """`features` first and `target` last, as in a CSV file; the others between, in the order of the file."""
    place = {"features": 0, "target": 2}
    return {name: arrays[name] for name in sorted(arrays, key=lambda name: place.get(name, 1))}


def _rows(arrays: dict[str, NDArray[Any]], limits: ParseLimits) -> int:
    """N, which every array's first axis has."""
    first = next(name for name in ("features", "target", *arrays) if name in arrays)
    for name, array in arrays.items():
        if array.ndim == 0:
            raise DataError(f"array '{name}' is a single value, not one per row", "dimensions", column=name)
        if len(array) != len(arrays[first]):
            raise DataError(
                f"arrays '{name}' and '{first}' differ in their number of rows: {len(array)} and {len(arrays[first])}",
                "row_counts",
                column=name,
            )
    rows = len(arrays[first])
    if not rows:
        raise DataError("the arrays have no rows", "no_rows")
    if rows > limits.rows:
        raise DataError(f"more than {limits.rows} rows", "too_many_rows")
    return rows


def _two_dimensional(name: str, array: NDArray[Any], hint: str) -> NDArray[Any]:
    """The array as (rows, k); only features may have more than their role's dimensions, else `hint` may help."""
    most = {"features": math.inf, "target": 2}.get(name, 1)
    if array.ndim > most:
        raise DataError(
            f"array '{name}' has {array.ndim} dimensions; only features may have more than 2, "
            f"and only features and target more than 1{hint}",
            "dimensions",
            column=name,
        )
    if not array.size:
        raise DataError(f"array '{name}' has no values", "no_columns", column=name)
    return array.reshape(len(array), -1)


def _reports(name: str, tensor: NDArray[Any], *, is_wide: bool) -> list[ColumnReport]:
    """One report per column of one stored tensor."""
    reports: list[ColumnReport] = []
    for start in range(0, tensor.shape[1], _COLUMNS_PER_BLOCK):
        block = np.ascontiguousarray(tensor[:, start : start + _COLUMNS_PER_BLOCK].T)
        for position, values in enumerate(block, start=start):
            odd = Tally("non_finite")
            odd.add(~np.isfinite(values), 0)
            reports.append(
                numeric_report(
                    f"{name}.{position}" if is_wide else name,
                    values,
                    tensor=name,
                    position=position,
                    group=name if name in ("features", "target") else None,
                    flaws=odd.flaws(),
                )
            )
    return reports


def _check_names(columns: list[ColumnReport]) -> None:
    """`features.0` may also be the name of an array."""
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            raise DataError(f"two columns are named '{column.name}'", "duplicate_column", column=column.name)
        seen.add(column.name)
