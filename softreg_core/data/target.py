"""What is learned: classes as codes, labels as truths, values scaled; chunk by chunk, NumPy only."""

# N rows, C target columns

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.cells import Cells
from softreg_core.data.encode import Encoding
from softreg_core.data.encode.base import apply_scaling, refuse
from softreg_core.data.preprocessing import Preprocessing
from softreg_core.data.report import DatasetReport
from softreg_core.data.scaling import Moments, Scaling
from softreg_core.data.splits import resolved_names
from softreg_core.errors import DataError
from softreg_core.spec.train import TrainSpec

__all__ = ["TargetFit", "target_array", "weight_array", "weightless"]


class TargetFit:
    """Learns scale, classes or truths of the target from training rows, chunk by chunk."""

    def __init__(self, spec: TrainSpec, report: DatasetReport) -> None:
        """Begin.

        Args:
            spec: resolved against `report`.
            report: the dataset's.

        Raises:
            DataError: a column has not the levels that classes or labels need.
        """
        self._names = resolved_names(spec.task.target)
        self._kind = spec.task.kind
        self._is_standardized = spec.preprocess.target == "standardize"
        by_name = {column.name: column for column in report.columns}
        self._levels = {name: by_name[name].levels or () for name in self._names if name in by_name}
        self._counts = {name: np.zeros(len(levels), dtype=np.int64) for name, levels in self._levels.items()}
        self._moments = Moments(len(self._names))
        if self._kind == "multilabel":
            for name, levels in self._levels.items():
                if len(levels) != 2:
                    message = f"column '{name}' has {len(levels)} levels; a label has two"
                    raise DataError(message, "no_classes", column=name)

    def add(self, cells: Cells) -> None:
        """The next training rows."""
        if self._kind == "regression":
            self._moments.add(cells.numbers(self._names))
            return
        for name in self._names:
            codes = _codes(cells, name)
            self._counts[name] += np.bincount(codes, minlength=len(self._levels[name]))

    def finish(self, inputs: Encoding) -> Preprocessing:
        """What was learned, together with the encoding of the features.

        Raises:
            DataError: the training rows are of a single class, or a label is the same in all of them.
        """
        if self._kind == "regression":
            scaling = self._moments.scaling(self._names) if self._is_standardized else Scaling.none(self._names)
            return Preprocessing(inputs, self._names, scaling, None)
        if self._kind == "multilabel":
            return Preprocessing(inputs, self._names, None, self._names, tuple(map(self._truths, self._names)))
        (name,) = self._names
        if np.count_nonzero(self._counts[name]) < 2:
            raise DataError(
                "the training rows are all of one class: stratify the split, or give it another seed or larger share",
                "single_class",
                column=name,
            )
        return Preprocessing(inputs, self._names, None, self._levels[name])

    def _truths(self, name: str) -> tuple[str, str]:
        """How the column spells false and true: its last level is true."""
        (false, true), counts = self._levels[name], self._counts[name]
        if not counts.all():
            only = true if counts[1] else false
            message = f"label '{name}' is '{only}' in every training row: give the split another seed or share"
            raise DataError(message, "single_class", column=name)
        return false, true


def target_array(preprocessing: Preprocessing, cells: Cells) -> NDArray[Any]:
    """int64 class codes (N,); or float32 (N, C): scaled values, or labels, 0 or 1.

    Raises:
        DataError: a cell is no class, or not a finite number after scaling; row and column are named.
    """
    names = preprocessing.target_names
    if preprocessing.target is not None:
        return apply_scaling(preprocessing.target, cells.numbers(names), cells)
    if preprocessing.truths is not None:
        return np.stack([_codes(cells, name) for name in names], axis=1).astype(np.float32)
    return _codes(cells, names[0])


def weight_array(spec: TrainSpec, cells: Cells) -> NDArray[np.float32] | None:
    """How much each training row weighs in the loss, float32 (N,); None when the spec names no such column.

    Raises:
        DataError: a weight is missing, negative or not finite; row and column are named.
    """
    name = spec.task.weight
    if name is None:
        return None
    with np.errstate(over="ignore"):
        weights = cells.numbers([name])[:, 0].astype(np.float32)
    refuse(~(np.isfinite(weights) & (weights >= 0.0)), cells, name, "wrong_weight", "no weight: a number from 0 on")
    return weights


def weightless(spec: TrainSpec) -> DataError:
    """What is wrong when no training row has a weight above 0."""
    return DataError(f"column '{spec.task.weight}': every training row weighs 0", "wrong_weight")


def _codes(cells: Cells, name: str) -> NDArray[np.int64]:
    codes, levels = cells.categories(name)
    refuse((codes < 0) | (codes >= len(levels)), cells, name, "no_class", "no class")
    return codes
