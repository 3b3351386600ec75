"""Arrays already in memory as a table, for a notebook."""

# N rows, D features, C target columns

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softreg_core.data.report import ColumnReport, DatasetReport, Flaw
from softreg_core.data.summary import Tally, numeric_report
from softreg_core.data.table import Table
from softreg_core.errors import DataError

__all__ = ["table_from_arrays"]


def table_from_arrays(features: ArrayLike, target: ArrayLike, labels: Sequence[str] | None = None) -> Table:
    """A table with columns `features.0`, `features.1`, ... and `target` (or `target.0`, ...).

    Resolve a spec against `table.report` and `prepare` it as for a stored dataset.

    Args:
        features: numbers (N, D), or (N,) read as (N, 1).
        target: numbers (N,) or (N, C); texts (N,) are classes.
        labels: names of the classes, when the target holds codes 0 .. len(labels) - 1.

    Raises:
        DataError: the arrays are no tables of numbers or do not fit each other.
    """
    features_ND, target_NC = _columns(features, "features"), _columns(target, "target")
    if features_ND.shape[0] != target_NC.shape[0] or features_ND.shape[0] == 0:
        counts = f"{features_ND.shape[0]} and {target_NC.shape[0]}"
        raise DataError(f"features and target need one number of rows, above 0: they have {counts}", "lengths_differ")
    tensors: dict[str, NDArray[Any]] = {"features": features_ND, "target": target_NC}
    reports = _numeric_reports("features", features_ND)
    if labels is not None or target_NC.dtype.kind == "U":
        column, codes = _category(target_NC, labels)
        reports.append(column)
        tensors["target"] = codes
    else:
        reports += _numeric_reports("target", target_NC)
    return Table(DatasetReport(format="npz", rows=features_ND.shape[0], columns=tuple(reports)), tensors)


def _columns(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in ("fiub" if name == "features" else "fiubU"):
        raise DataError(f"{name}: one or two dimensions of numbers are needed", "wrong_array")
    return array


def _numeric_reports(group: str, values: NDArray[Any]) -> list[ColumnReport]:
    """Named as the columns of an NPZ file are, so that a spec written here fits the same arrays uploaded."""
    names = [group] if group == "target" and values.shape[1] == 1 else [f"{group}.{i}" for i in range(values.shape[1])]
    return [
        numeric_report(
            name,
            values[:, position],
            tensor=group,
            position=position,
            group=group,
            flaws=_flaws(values[:, position]),
        )
        for position, name in enumerate(names)
    ]


def _flaws(values: NDArray[Any]) -> tuple[Flaw, ...]:
    tally = Tally("non_finite")
    tally.add(~np.isfinite(values), 0)
    return tally.flaws()


def _category(target_NC: NDArray[Any], labels: Sequence[str] | None) -> tuple[ColumnReport, NDArray[np.int32]]:
    if target_NC.shape[1] != 1:
        raise DataError("classes need a target of one dimension", "wrong_array")
    if target_NC.dtype.kind == "U":
        levels, codes = np.unique(target_NC[:, 0], return_inverse=True)
        names = tuple(str(level) for level in levels)
    else:
        names, codes = tuple(labels or ()), target_NC[:, 0]
        if not np.isin(codes, np.arange(len(names))).all():
            raise DataError(f"the target holds other codes than 0 to {len(names) - 1}", "no_class")
    codes_N1 = codes.astype(np.int32)[:, np.newaxis]
    column = ColumnReport(
        name="target",
        kind="category",
        group="target",
        tensor="target",
        position=0,
        distinct=int(np.unique(codes_N1).size),
        levels=names,
        level_counts=tuple(np.bincount(codes_N1[:, 0], minlength=len(names)).tolist()),
    )
    return column, codes_N1
