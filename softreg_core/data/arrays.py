"""Arrays already in memory as a table, for a notebook."""

# N rows, D features, C target columns

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from softreg_core.data.formats.array_kinds import flat_array
from softreg_core.data.formats.flat_columns import FlatColumn, Sequences, Texts
from softreg_core.data.report import ColumnReport, DatasetReport, Flaw
from softreg_core.data.summary import Tally, numeric_report
from softreg_core.data.table import Table
from softreg_core.errors import DataError

__all__ = ["table_from_arrays"]


Features = ArrayLike | Sequence[str] | Sequence[NDArray[Any]]


def table_from_arrays(
    features: Features, target: ArrayLike, labels: Sequence[str] | None = None, lengths: ArrayLike | None = None
) -> Table:
    """A table with the features and `target` (or `target.0`, ...), as an NPZ file of the same arrays would give it.

    Resolve a spec against `table.report` and `prepare` it as for a stored dataset.

    Args:
        features: numbers (N, D), or (N,) read as (N, 1), become the columns `features.0`, `features.1`, ... The rest is
            one column `features`: N texts; images or sequences (N, ...) of three or four dimensions
            (softreg_core.data.formats.array_kinds); a list of N sequences (T, D) or (T,) that differ in T.
        target: numbers (N,) or (N, C); texts (N,) are classes.
        labels: names of the classes, when the target holds codes 0 .. len(labels) - 1.
        lengths: (N,) steps of each row, when the features are sequences padded to one length.

    Raises:
        DataError: the arrays are nothing of this or do not fit each other.
    """
    target_NC = _columns(target, "target")
    flat = _flat(features, lengths)
    if flat is None:
        features_ND = _columns(features, "features")
        rows, tensors = features_ND.shape[0], {"features": features_ND}
        reports = _numeric_reports("features", features_ND)
    else:
        rows, tensors = len(flat.tensors[".ends"]), {f"features{part}": values for part, values in flat.tensors.items()}
        reports = [flat.report("features")]
    if rows != target_NC.shape[0] or rows == 0:
        counts = f"{rows} and {target_NC.shape[0]}"
        raise DataError(f"features and target need one number of rows, above 0: they have {counts}", "lengths_differ")
    tensors["target"] = target_NC
    if labels is not None or target_NC.dtype.kind == "U":
        column, codes = _category(target_NC, labels)
        reports.append(column)
        tensors["target"] = codes
    else:
        reports += _numeric_reports("target", target_NC)
    return Table(DatasetReport(format="npz", rows=rows, columns=tuple(reports)), tensors)


def _flat(features: Features, lengths: ArrayLike | None) -> FlatColumn | None:
    """The features as texts, images or sequences; None for columns of numbers."""
    if isinstance(features, Sequence) and len({np.shape(row) for row in features}) > 1:
        return _ragged([np.asarray(row) for row in features])
    array: NDArray[Any] = np.asarray(features)
    if array.ndim == 1 and array.dtype.kind in "UO" and all(isinstance(row, str) for row in array.tolist()):
        texts = Texts()
        for text in array.tolist():
            texts.add(text)
        return texts.finish("features", None)
    if array.ndim < 3 and lengths is None:
        return None
    if array.dtype.kind not in "fiub" or not array.size:
        raise DataError("features: numbers are needed", "wrong_array")
    return flat_array("features", array, None if lengths is None else np.asarray(lengths))


def _ragged(rows: Sequence[NDArray[Any]]) -> FlatColumn:
    """Sequences that differ in length."""
    steps = [row[:, np.newaxis] if row.ndim == 1 else row for row in rows]
    if any(
        row.ndim != 2 or not row.size or row.shape[1] != steps[0].shape[1] or row.dtype.kind not in "fiub"
        for row in steps
    ):
        raise DataError("features: sequences are numbers (T, D) with one D, or (T,), and T is not 0", "wrong_array")
    cells = Sequences(steps[0].shape[1], np.float32 if all(row.dtype == np.float32 for row in steps) else np.float64)
    for row in steps:
        cells.add(row)
    return cells.finish("features")


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
