"""Sequences padded to one length, and mean and deviation of their values."""

# N rows, T steps, D values of a step

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from softreg_core.data.cells import Cells
from softreg_core.data.encode.base import EncodingModel
from softreg_core.data.scaling import Moments, Vector
from softreg_core.errors import DataError
from softreg_core.spec.base import Count
from softreg_core.spec.inputs import SequenceShape

__all__ = ["SequenceEncoding", "SequenceFit"]


class SequenceEncoding(EncodingModel):
    """From sequences to `values` (N, T, D) and `lengths` (N,)."""

    kind: Literal["sequence"] = "sequence"
    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=1)]
    channels: Count
    longest: Count
    """T: steps beyond are cut off."""
    mean: Vector
    """Per value of a step, over the training rows' steps."""
    std: Vector

    @model_validator(mode="after")
    def _sizes_fit(self) -> SequenceEncoding:
        if not self.mean.size == self.std.size == self.channels:
            raise ValueError("mean and std are those of other channels")
        return self

    @property
    def shape(self) -> SequenceShape:
        """What the network takes."""
        return SequenceShape(channels=self.channels, longest=self.longest)

    @property
    def statistics(self) -> dict[str, NDArray[np.float64]] | None:
        """What the network normalises by."""
        return {"mean": self.mean, "std": self.std}

    def arrays(self, cells: Cells) -> tuple[NDArray[Any], ...]:
        """`values` float32 (N, T, D), padded with 0, and `lengths` int64 (N,).

        Raises:
            DataError: a cell is missing, of another width or not finite; row and column are named.
        """
        column = self.columns[0]
        sequences = cells.sequences(column)
        values = np.zeros((len(sequences), self.longest, self.channels), dtype=np.float32)
        lengths = np.ones(len(sequences), dtype=np.int64)
        for index, steps in enumerate(sequences):
            if steps.size == 0 or steps.shape[1] != self.channels:
                row = cells.row(index)
                message = f"column '{column}', row {row}: expected steps of {self.channels} values"
                raise DataError(message, "missing" if steps.size == 0 else "wrong_shape", row, column)
            some = steps[: self.longest]
            with np.errstate(over="ignore"):
                values[index, : len(some)] = some
            if not np.isfinite(values[index]).all():
                row = cells.row(index)
                message = f"column '{column}', row {row}: not a finite number of float32's range"
                raise DataError(message, "non_finite", row, column)
            lengths[index] = len(some)
        return values, lengths


class SequenceFit:
    """Learns a `SequenceEncoding` from training rows, chunk by chunk."""

    def __init__(self, column: str, channels: int, longest: int) -> None:
        self._column = column
        self._longest = longest
        self._moments = Moments(channels)
        self._seen = 1

    def add(self, cells: Cells) -> None:
        """The next training rows."""
        sequences = [steps[: self._longest] for steps in cells.sequences(self._column)]
        self._seen = max([self._seen, *map(len, sequences)])
        if sequences:
            self._moments.add(np.concatenate(sequences).astype(np.float64))

    def finish(self) -> SequenceEncoding:
        """What was learned."""
        channels = self._moments.mean_D.size
        scaling = self._moments.scaling([str(channel) for channel in range(channels)])
        return SequenceEncoding(
            columns=(self._column,),
            channels=channels,
            longest=min(self._longest, self._seen),
            mean=scaling.mean,
            std=scaling.scale,
        )
