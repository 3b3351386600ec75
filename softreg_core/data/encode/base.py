"""What every encoding is: a closed, frozen document that stands in model.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from softreg_core.data.cells import Cells
from softreg_core.data.scaling import Scaling
from softreg_core.errors import DataError

__all__ = ["EncodingModel", "apply_scaling", "refuse"]


class EncodingModel(BaseModel):
    """What was learned of the training rows before the network, and is done to every row again."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @property
    def statistics(self) -> dict[str, NDArray[np.float64]] | None:
        """`mean` and `std` that the network normalises by; None when it does not."""
        return None

    def arrays(self, cells: Cells) -> tuple[NDArray[Any], ...]:
        """What a graph takes that begins at raw numbers: the tensors of the shape, in order."""
        raise NotImplementedError

    def scaled(self, cells: Cells) -> tuple[NDArray[Any], ...]:
        """What the network of training takes: the same, with the numbers of a table scaled."""
        return self.arrays(cells)


def refuse(is_wrong: NDArray[np.bool_], cells: Cells, name: str, reason: str, what: str) -> None:
    """Name the first wrong cell of a column.

    Raises:
        DataError: there is one.
    """
    wrong = np.flatnonzero(is_wrong)
    if wrong.size:
        row = cells.row(int(wrong[0]))
        raise DataError(f"column '{name}', row {row}: {what}", reason, row, name)


def apply_scaling(scaling: Scaling, values_ND: NDArray[np.float64], cells: Cells) -> NDArray[np.float32]:
    """Scaled columns of `cells`.

    Raises:
        DataError: a cell is not a finite float32 number then; its row in the dataset is named.
    """
    try:
        return scaling.apply(values_ND)
    except DataError as error:
        row = cells.row((error.row or 1) - 1)
        message = f"column '{error.column}', row {row}: not a finite number of float32's range"
        raise DataError(message, error.reason, row, error.column) from error
