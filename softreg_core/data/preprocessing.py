"""Scaling by training statistics: what is learned before the network, and stored with it; NumPy only."""

# N rows, D columns

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from softreg_core.errors import DataError
from softreg_core.spec.inputs import InputShape, TableShape

__all__ = ["Preprocessing", "Scaling"]


@dataclass(frozen=True, eq=False)
class Scaling:
    """(x - mean) / scale per column, in float64; mean 0 and scale 1 leave a column as it is."""

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def none(cls, names: Sequence[str]) -> Scaling:
        """The scaling that changes nothing."""
        return cls(tuple(names), np.zeros(len(names)), np.ones(len(names)))

    @classmethod
    def of(cls, names: Sequence[str], train_ND: NDArray[np.float64]) -> Scaling:
        """Mean 0 and standard deviation 1 (dividing by N) over the training rows; a constant column gets scale 1."""
        size_D = np.abs(train_ND).max(axis=0, initial=0.0)
        size_D = np.where(size_D > 0.0, size_D, 1.0)
        # Relative to the largest cell: the squares of a column near 1e200 would overflow, and a constant column is
        # exactly 1 or -1, whose mean and deviation have no rounding.
        with np.errstate(invalid="ignore"):  # `apply` names the cell that is not finite
            relative_ND = train_ND / size_D
            mean_D = size_D * relative_ND.mean(axis=0)
            scale_D = size_D * relative_ND.std(axis=0)
        scale_D = np.where(scale_D == 0.0, 1.0, scale_D)
        return cls(tuple(names), mean_D, scale_D)

    @classmethod
    def joined(cls, parts: Sequence[Scaling]) -> Scaling:
        """Columns of several scalings, one after the other."""
        return cls(
            tuple(name for part in parts for name in part.names),
            np.concatenate([part.mean for part in parts]),
            np.concatenate([part.scale for part in parts]),
        )

    def apply(self, values_ND: NDArray[np.float64]) -> NDArray[np.float32]:
        """Scaled float32 columns.

        Raises:
            DataError: a result is not a finite float32 number; the first row (from 1) and its column are named.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            scaled_ND = ((values_ND - self.mean) / self.scale).astype(np.float32)
        bad = np.argwhere(~np.isfinite(scaled_ND))
        if bad.size:
            row, column = int(bad[0][0]) + 1, self.names[int(bad[0][1])]
            raise DataError(
                f"column '{column}', row {row}: not a finite number of float32's range", "non_finite", row, column
            )
        return scaled_ND

    def undo(self, scaled_ND: NDArray[np.float32]) -> NDArray[np.float64]:
        """Back to the user's units."""
        return scaled_ND.astype(np.float64) * self.scale + self.mean


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """From the user's numbers to the network's and back."""

    features: Scaling
    target_names: tuple[str, ...]
    target: Scaling | None
    """None for classes and labels."""
    labels: tuple[str, ...] | None
    """Class labels in code order; for multilabel the labels' names; None for regression."""
    truths: tuple[tuple[str, str], ...] | None = None
    """For multilabel: how each label's target column spells false and true."""

    @property
    def task(self) -> Literal["classification", "multilabel", "regression"]:
        """What is predicted."""
        if self.truths is not None:
            return "multilabel"
        return "regression" if self.labels is None else "classification"

    @property
    def shape(self) -> InputShape:
        """What the network takes."""
        return TableShape(numbers=len(self.features.names))

    @property
    def outputs(self) -> int:
        """Width of the network's output."""
        return len(self.target_names) if self.labels is None else len(self.labels)
