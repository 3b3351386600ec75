"""A stored dataset read back: its report, and the cells of its columns; NumPy only, torch-free.

Columns of numbers and of categories lie side by side in tensors of two dimensions. A column whose rows differ in
size lies flat, one row after the other, in a tensor of its own, `t`; `t.ends` int64 (rows,) says where each row ends.

| kind | `t` | beside `t.ends` |
|---|---|---|
| text | uint8: UTF-8 | |
| image | uint8 or float32: pixels in the order C, H, W | `t.sizes` int32 (rows, 3): C, H, W of each row |
| sound | float32 or int16: samples of one channel | `t.rates` int32 (rows,): samples a second |
| sequence | float32 or float64 (steps of all rows, D) | |

A row of no size is missing, or an empty text. The report counts the missing ones.
"""

# N rows, D features

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from softreg_core.data.report import ColumnReport, DatasetReport, number_of_level
from softreg_core.errors import DataError

__all__ = ["Rows", "Table", "load_table"]

Rows = Sequence[int] | NDArray[np.integer[Any]]
"""Row numbers from 0, in any order."""
_INT16_SCALE = np.float32(1.0 / 32768.0)


@dataclass(frozen=True, eq=False)
class Table:
    """A dataset in memory: the report, and the tensors that its columns point into."""

    report: DatasetReport
    tensors: dict[str, NDArray[Any]]

    @cached_property
    def _by_name(self) -> dict[str, ColumnReport]:
        return {column.name: column for column in self.report.columns}

    def column(self, name: str) -> ColumnReport:
        """The report of one column.

        Raises:
            DataError: there is no such column.
        """
        if name not in self._by_name:
            raise DataError(f"the dataset has no column '{name}'", "no_such_column", column=name)
        return self._by_name[name]

    def values(self, names: Sequence[str], rows: Rows | None = None) -> NDArray[np.float64]:
        """Numeric columns side by side, (N, D), as they were given: not scaled, NaN where a cell is unusable."""
        columns = [self.column(name) for name in names]
        numbers = None if rows is None else np.asarray(rows, dtype=np.int64)
        found_ND = np.empty((self.report.rows if numbers is None else numbers.size, len(names)))
        start = 0
        while start < len(columns):
            stop = start + 1
            # Neighbours are copied together: one by one, every row would be fetched once per column.
            while stop < len(columns) and _are_neighbours(columns[stop - 1], columns[stop]):
                stop += 1
            first = self._cells(columns[start], "numeric", stop - start)
            found_ND[:, start:stop] = first if numbers is None else first[numbers]
            start = stop
        return found_ND

    def codes(self, name: str, *, allow_missing: bool = False) -> NDArray[np.int64]:
        """Class codes (N,): indices into the column's levels; -1 for a missing cell where such are allowed.

        Raises:
            DataError: the column has no levels, or a cell is none of them.
        """
        column = self.column(name)
        if column.levels is None:
            raise DataError(f"column '{name}' has no classes", "no_classes", column=name)
        if column.kind == "category":
            codes = self._cells(column, "category")[:, 0].astype(np.int64)
        else:
            codes = _codes_of_numbers(self._cells(column, "numeric")[:, 0], column.levels)
        if allow_missing:
            return codes
        unknown = np.flatnonzero((codes < 0) | (codes >= len(column.levels)))
        if unknown.size:
            row = int(unknown[0]) + 1
            raise DataError(f"column '{name}', row {row}: no class", "no_class", row=row, column=name)
        return codes

    def labels(self, name: str) -> NDArray[np.str_]:
        """Class labels (N,), the text of each row's level."""
        return np.asarray(self.column(name).levels or (), dtype=np.str_)[self.codes(name)]

    def texts(self, name: str, rows: Rows) -> list[str]:
        """The texts of some rows of a `text` or `category` column; empty where a cell is missing.

        Raises:
            DataError: the column holds no texts, or a text was not stored.
        """
        column = self.column(name)
        if column.kind == "category":
            levels = (*(column.levels or ()), "")  # code -1 finds the last
            return [levels[code] for code in self._cells(column, "category")[np.asarray(rows, dtype=np.int64), 0]]
        flat, spans = self._flat(column, "text", rows)
        return [flat[start:end].tobytes().decode() for start, end in spans]

    def images(self, name: str, rows: Rows) -> list[NDArray[Any]]:
        """Pixels (C, H, W) of some rows, uint8 or float32; C is the column's `channels`, size 0 where one is missing.

        Sequences of (T, D) whose rows are all of one length can be read as gray images too, H = T and W = D.
        Nothing is copied: do not write into what comes.
        """
        column = self.column(name)
        if column.kind == "sequence" and column.shortest == column.longest:
            return [steps[np.newaxis] for steps in self.sequences(name, rows)]
        flat, spans = self._flat(column, "image", rows)
        sizes = self.tensors[f"{column.tensor}.sizes"][np.asarray(rows, dtype=np.int64)].tolist()
        pixels = [flat[start:end].reshape(size) for (start, end), size in zip(spans, sizes, strict=True)]
        # Among images in colour, a gray one says the same three times.
        return [
            np.broadcast_to(one, (column.channels or 1, *one.shape[1:])) if len(one) == 1 else one for one in pixels
        ]

    def sounds(self, name: str, rows: Rows) -> list[NDArray[np.float32]]:
        """Samples (S,) of some rows, from -1 to 1; `rates` says how many make a second."""
        flat, spans = self._flat(self.column(name), "sound", rows)
        if flat.dtype == np.int16:
            return [flat[start:end] * _INT16_SCALE for start, end in spans]
        return [flat[start:end] for start, end in spans]

    def rates(self, name: str, rows: Rows) -> NDArray[np.int64]:
        """Samples a second of some rows of a `sound` column."""
        column = self.column(name)
        self._flat(column, "sound", ())
        rates: NDArray[np.int64] = self.tensors[f"{column.tensor}.rates"][np.asarray(rows, dtype=np.int64)]
        return rates.astype(np.int64)

    def sequences(self, name: str, rows: Rows) -> list[NDArray[Any]]:
        """Steps (T, D) of some rows, float32 or float64. Gray images (1, H, W) can be read so too, T = H and D = W.

        Nothing is copied: do not write into what comes.
        """
        column = self.column(name)
        if column.kind == "image" and column.channels == 1 and column.widths and column.widths[0] == column.widths[1]:
            return [pixels[0] for pixels in self.images(name, rows)]
        flat, spans = self._flat(column, "sequence", rows)
        return [flat[start:end] for start, end in spans]

    def _cells(self, column: ColumnReport, kind: str, width: int = 1) -> NDArray[Any]:
        """The column, and those beside it, (N, width)."""
        if column.kind != kind or column.tensor is None or column.position is None:
            raise DataError(f"column '{column.name}' is not {kind}", "wrong_kind", column=column.name)
        return self.tensors[column.tensor][:, column.position : column.position + width]

    def _flat(self, column: ColumnReport, kind: str, rows: Rows) -> tuple[NDArray[Any], list[tuple[int, int]]]:
        """The column's flat tensor, and where in it these rows start and end."""
        if column.kind != kind:
            raise DataError(f"column '{column.name}' is not {kind}", "wrong_kind", column=column.name)
        if column.tensor is None:
            raise DataError(f"column '{column.name}' was not stored", "not_stored", column=column.name)
        numbers = np.asarray(rows, dtype=np.int64)
        ends = self.tensors[f"{column.tensor}.ends"]
        starts = np.where(numbers > 0, ends[numbers - 1], 0)
        return self.tensors[column.tensor], list(zip(starts.tolist(), ends[numbers].tolist(), strict=True))


def load_table(path: Path) -> Table:
    """Read a stored dataset ("softreg table 1": one safetensors file, the report in its metadata).

    Raises:
        DataError: the file is torn or is no stored dataset.
        OSError: the machine cannot read it; that is not the data's fault.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            report = DatasetReport.model_validate_json((file.metadata() or {})["softreg.report"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except (SafetensorError, KeyError, ValidationError) as error:
        raise DataError(f"not a stored dataset: {error}", "unreadable") from error
    for column in report.columns:
        if column.tensor is not None and not _is_stored(column, tensors, report.rows):
            raise DataError(f"not a stored dataset: column '{column.name}' is missing", "unreadable")
    return Table(report, tensors)


def _is_stored(column: ColumnReport, tensors: dict[str, NDArray[Any]], rows: int) -> bool:
    """Whether the tensors have what the report says of the column, so that no row points outside of them."""
    values = tensors.get(column.tensor or "")
    if values is None:
        return False
    if column.kind in ("numeric", "category"):
        return values.ndim == 2 and len(values) == rows and 0 <= (column.position or 0) < values.shape[1]
    ends = tensors.get(f"{column.tensor}.ends")
    if ends is None or ends.shape != (rows,) or ends.dtype != np.int64:
        return False
    lengths = np.diff(ends, prepend=0)
    if values.ndim != (2 if column.kind == "sequence" else 1) or (lengths < 0).any() or ends[-1] != len(values):
        return False
    if column.kind == "image":
        sizes = tensors.get(f"{column.tensor}.sizes")
        return sizes is not None and sizes.shape == (rows, 3) and np.array_equal(sizes.prod(1, np.int64), lengths)
    if column.kind == "sound":
        rates = tensors.get(f"{column.tensor}.rates")
        return rates is not None and rates.shape == (rows,)
    return True


def _are_neighbours(left: ColumnReport, right: ColumnReport) -> bool:
    is_numeric = left.kind == right.kind == "numeric" and left.tensor is not None and left.position is not None
    return is_numeric and left.tensor == right.tensor and right.position == (left.position or 0) + 1


def _codes_of_numbers(cells: NDArray[Any], levels: tuple[str, ...]) -> NDArray[np.int64]:
    """The index of each cell among levels that ascend; -1 where it is none of them."""
    if cells.dtype.kind == "b":
        cells = cells.astype(np.int64)
    # Of the cells' own type: int64 and uint64 would meet in float64, where neighbours from 2^53 on are one.
    numbers = np.array([number_of_level(level) for level in levels], dtype=cells.dtype)
    codes = np.searchsorted(numbers, cells).clip(max=len(levels) - 1)
    return np.where(numbers[codes] == cells, codes, -1)
