"""Target columns that are labels, each true or false by itself; NumPy only."""

# N rows, C labels

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.table import Table
from softreg_core.errors import DataError

__all__ = ["label_columns"]


def label_columns(
    table: Table, names: Sequence[str], train_rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], tuple[tuple[str, str], ...]]:
    """Truths as 0 and 1, (N, C), and how each column spells false and true: its last level is true.

    Raises:
        DataError: a column has other than two levels, or the training rows have one of them only; it is named.
    """
    truths = []
    columns = []
    for name in names:
        levels = table.column(name).levels or ()
        if len(levels) != 2:
            raise DataError(f"column '{name}' has {len(levels)} levels; a label has two", "no_classes", column=name)
        codes = table.codes(name)
        rate = float(codes[train_rows].mean())
        if rate in (0.0, 1.0):
            message = (
                f"label '{name}' is '{levels[int(rate)]}' in every training row: give the split another seed or share"
            )
            raise DataError(message, "single_class", column=name)
        truths.append((levels[0], levels[1]))
        columns.append(codes.astype(np.float32))
    return np.stack(columns, axis=1), tuple(truths)
