"""A part of a file as a table that speaks the language of the whole: its codes are the whole's; NumPy only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.data.table import Table

__all__ = ["Chunks", "chunk_of"]


class Chunks(Protocol):
    """A file that can be read again and again, in parts that fit memory, always the same ones."""

    def __call__(self) -> Iterator[Table]:
        """The parts in the order of their rows, each with a report of its own."""


def chunk_of(whole: DatasetReport, part: Table) -> Table:
    """The part's rows with the whole's columns.

    Args:
        whole: the report of the file.
        part: some of its rows, with their own report.
    """
    tensors = dict(part.tensors)
    columns = []
    for column, own in zip(whole.columns, part.report.columns, strict=True):
        if column.kind == own.kind:
            placed = column.model_copy(update={"tensor": own.tensor, "position": own.position})
            if column.kind == "category":
                placed = _recoded(placed, own, part, tensors)
        elif column.kind == "category":  # here every cell is missing
            placed = _placed(column, tensors, np.full(part.report.rows, -1, dtype=np.int32))
        elif column.kind == "numeric":
            placed = _placed(column, tensors, np.full(part.report.rows, np.nan))
        else:
            placed = own  # texts that are few enough here to be categories, or a column that is missing here
        columns.append(placed)
    report = whole.model_copy(update={"rows": part.report.rows, "columns": tuple(columns)})
    return Table(report, tensors)


def _recoded(column: ColumnReport, own: ColumnReport, part: Table, tensors: dict[str, NDArray[Any]]) -> ColumnReport:
    code = {level: index for index, level in enumerate(column.levels or ())}
    # The last entry is what code -1, missing, finds.
    new_code = np.array([*(code[level] for level in own.levels or ()), -1], dtype=np.int32)
    codes = part.tensors[own.tensor or ""][:, own.position or 0]
    return _placed(column, tensors, new_code[codes])


def _placed(column: ColumnReport, tensors: dict[str, NDArray[Any]], cells: NDArray[Any]) -> ColumnReport:
    name = f"whole.{column.name}"
    tensors[name] = cells[:, np.newaxis]
    return column.model_copy(update={"tensor": name, "position": 0})
