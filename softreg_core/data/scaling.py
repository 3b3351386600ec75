"""Mean and deviation of columns by the training rows, whole or block by block, and scaling by them; NumPy only."""

# N rows, D columns

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, PlainSerializer, PlainValidator

from softreg_core.errors import DataError

__all__ = ["Moments", "Scaling", "Vector"]


def _vector(value: Any) -> NDArray[np.float64]:
    """Finite numbers in one dimension.

    Raises:
        ValueError: they are not.
    """
    is_list = isinstance(value, list | tuple) and all(type(item) in (int, float) for item in value)
    if not is_list and not isinstance(value, np.ndarray):
        raise ValueError("expected a list of numbers")
    vector = np.asarray(value, dtype=np.float64)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ValueError("expected a list of finite numbers")
    return vector


Vector = Annotated[NDArray[np.float64], PlainValidator(_vector), PlainSerializer(lambda vector: vector.tolist())]
"""(D,) numbers, in JSON a list."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """(x - mean) / scale per column, in float64; mean 0 and scale 1 leave a column as it is."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    names: tuple[str, ...]
    mean: Vector
    scale: Vector

    def __post_init__(self) -> None:
        if not len(self.names) == self.mean.size == self.scale.size:
            raise ValueError("names, mean and scale differ in length")
        if (self.scale == 0.0).any():
            raise ValueError("a scale of 0")

    @classmethod
    def none(cls, names: Sequence[str]) -> Scaling:
        """The scaling that changes nothing."""
        return cls(tuple(names), np.zeros(len(names)), np.ones(len(names)))

    @classmethod
    def of(cls, names: Sequence[str], train_ND: NDArray[np.float64]) -> Scaling:
        """Mean 0 and standard deviation 1 (dividing by N) over the training rows; a constant column gets scale 1."""
        moments = Moments(len(names))
        moments.add(train_ND)
        return moments.scaling(names)

    @classmethod
    def joined(cls, parts: Sequence[Scaling]) -> Scaling:
        """Columns of several scalings, one after the other."""
        return cls(
            tuple(name for part in parts for name in part.names),
            np.concatenate([part.mean for part in parts]) if parts else np.zeros(0),
            np.concatenate([part.scale for part in parts]) if parts else np.zeros(0),
        )

    def part(self, start: int, stop: int) -> Scaling:
        """Some of the columns."""
        return Scaling(self.names[start:stop], self.mean[start:stop], self.scale[start:stop])

    def apply(self, values_ND: NDArray[np.float64], first_row: int = 1) -> NDArray[np.float32]:
        """Scaled float32 columns.

        Args:
            values_ND: in the user's units.
            first_row: the number of the first row, for the message.

        Raises:
            DataError: a result is not a finite float32 number; the first row (from 1) and its column are named.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            scaled_ND = ((values_ND - self.mean) / self.scale).astype(np.float32)
        bad = np.argwhere(~np.isfinite(scaled_ND))
        if bad.size:
            row, column = int(bad[0][0]) + first_row, self.names[int(bad[0][1])]
            raise DataError(
                f"column '{column}', row {row}: not a finite number of float32's range", "non_finite", row, column
            )
        return scaled_ND

    def undo(self, scaled_ND: NDArray[np.float32]) -> NDArray[np.float64]:
        """Back to the user's units."""
        return scaled_ND.astype(np.float64) * self.scale + self.mean


class Moments:
    """Mean and standard deviation of D columns, gathered block by block; cells that are NaN do not count."""

    def __init__(self, columns: int) -> None:
        self.count_D = np.zeros(columns)
        self.mean_D = np.zeros(columns)
        self.deviation_D = np.zeros(columns)

    def add(self, values_ND: NDArray[np.float64], start: int = 0) -> None:
        """The next rows of the columns from `start` on.

        Joined as by Chan et al. 1979, on deviations instead of squares, which would overflow for a column near 1e200.
        """
        some = slice(start, start + values_ND.shape[1])
        count_D, mean_D, deviation_D = _moments(values_ND)
        had_D, total_D = self.count_D[some], self.count_D[some] + count_D
        share_D = count_D / np.maximum(total_D, 1.0)
        with np.errstate(invalid="ignore"):  # an infinite cell is named by who applies the scaling
            step_D = mean_D - self.mean_D[some]
            within_D = np.hypot(self.deviation_D[some] * np.sqrt(1.0 - share_D), deviation_D * np.sqrt(share_D))
            joined_D = np.hypot(within_D, step_D * np.sqrt(share_D * (1.0 - share_D)))
            # As they are for a first block: then nothing is rounded twice.
            self.deviation_D[some] = np.where(had_D == 0.0, deviation_D, joined_D)
            self.mean_D[some] = np.where(had_D == 0.0, mean_D, self.mean_D[some] + step_D * share_D)
        self.count_D[some] = total_D

    def scaling(self, names: Sequence[str]) -> Scaling:
        """To mean 0 and deviation 1 (dividing by the number of cells); a constant column gets scale 1."""
        # Of a column with an infinite cell nothing is known; `apply` names the cell.
        mean_D, scale_D = (np.nan_to_num(values, posinf=0.0) for values in (self.mean_D, self.deviation_D))
        return Scaling(tuple(names), mean_D, np.where(scale_D == 0.0, 1.0, scale_D))


def _moments(values_ND: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Number, mean and deviation of each column's cells that are not NaN."""
    missing_ND = np.isnan(values_ND)
    has_missing = bool(missing_ND.any())
    size_D = np.fmax.reduce(np.abs(values_ND), axis=0, initial=0.0)
    size_D = np.where(size_D > 0.0, size_D, 1.0)
    # Relative to the largest cell: a constant column is exactly 1 or -1, whose mean and deviation have no rounding.
    with np.errstate(invalid="ignore", over="ignore"):
        relative_ND = values_ND / size_D
        if not has_missing:
            count_D = np.full(values_ND.shape[1], float(len(values_ND)))
            if not len(values_ND):
                return count_D, np.zeros_like(count_D), np.zeros_like(count_D)
            return count_D, size_D * relative_ND.mean(axis=0), size_D * relative_ND.std(axis=0)
        count_D = (~missing_ND).sum(axis=0).astype(np.float64)
        mean_D = np.where(missing_ND, 0.0, relative_ND).sum(axis=0) / np.maximum(count_D, 1.0)
        squares_D = np.where(missing_ND, 0.0, (relative_ND - mean_D) ** 2).sum(axis=0)
        return count_D, size_D * mean_D, size_D * np.sqrt(squares_D / np.maximum(count_D, 1.0))
