"""The arrays of an NPZ file as a table: `features`, `target`, and columns of their own; NumPy only."""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.formats.array_kinds import flat_array
from softreg_core.data.formats.column_names import check_names
from softreg_core.data.formats.flat_columns import FlatColumn
from softreg_core.data.formats.npz_arrays import read_arrays
from softreg_core.data.formats.parsed import ParsedTable, remarks_on, spare_levels
from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.data.request import ParseLimits
from softreg_core.data.summary import Tally, numeric_report
from softreg_core.errors import DataError

__all__ = ["read_npz"]

_COLUMNS_PER_BLOCK = 64
"""Columns copied out of a wide array at a time: reading one by one would fetch every cache line once per column."""


def read_npz(stream: BinaryIO, limits: ParseLimits) -> ParsedTable:
    """Read an NPZ file.

    `features` (N,) or (N, D) gives the columns `features.0`, `features.1`, ...; of more dimensions, or with an array
    `lengths`, it is one column of images or sequences (softreg_core.data.formats.array_kinds). `target` (N,) gives the
    column `target` and (N, C) gives `target.0`, ...; every other array is one-dimensional, of length N, and a column by
    its name. NaN and infinities are counted as non-finite.

    Raises:
        DataError: an array does not fit this, or the file passes a limit; the reason is a stable word.
    """
    arrays = read_arrays(stream, limits)
    rows = _rows(arrays, limits)
    flat = _flat(arrays, limits)
    hint = "" if flat or "features" in arrays else "; the file has no array 'features'"
    tensors = {name: _two_dimensional(name, array, hint) for name, array in _in_order(arrays).items()}
    width = sum(tensor.shape[1] for tensor in tensors.values())
    if width > limits.columns:
        raise DataError(f"{width} columns, more than {limits.columns}", "too_many_columns")
    columns = [] if flat is None else [flat.report("features")]
    for name, tensor in tensors.items():
        columns.extend(_reports(name, tensor, is_wide=name == "features" or arrays[name].ndim > 1))
    check_names([column.name for column in columns], limits)
    # An array of floats holds no other numbers than those its writer had.
    whole = [
        column for column in columns if column.position is not None and tensors[str(column.tensor)].dtype.kind in "iu"
    ]
    report = DatasetReport(
        format="npz", rows=rows, columns=spare_levels(columns), warnings=tuple(remarks_on(whole, rows))
    )
    if flat is not None:
        tensors |= {f"features{suffix}": values for suffix, values in flat.tensors.items()}
    return ParsedTable(tensors, report)


def _flat(arrays: dict[str, NDArray[Any]], limits: ParseLimits) -> FlatColumn | None:
    """The features as images or sequences, taken out of the arrays; None when they are columns of numbers."""
    lengths, features = arrays.get("lengths"), arrays.get("features")
    if features is None or (features.ndim < 3 and lengths is None):
        return None
    for name in ("features", "lengths"):
        arrays.pop(name, None)
    # The tensors beside the flat one are called so.
    for name in arrays:
        if name.startswith("features."):
            raise DataError(f"array '{name}' has a name that the features need", "array_name", column=name)
    if not features.size:
        raise DataError("array 'features' has no values", "no_columns", column="features")
    return flat_array("features", features, lengths, limits)


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
