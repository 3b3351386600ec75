"""The cells of some rows by column, whatever holds them: a stored table, or what a user brings; NumPy only."""

# N rows, D columns

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.table import Table
from softreg_core.errors import DataError

__all__ = ["Cells", "RawCells", "TableCells", "spelled"]

_HIGHEST_RATE = 384_000


class Cells(Protocol):
    """Some rows of a dataset. What a cell cannot be is refused with its row, counted from 1, and its column."""

    @property
    def count(self) -> int:
        """N."""

    def row(self, index: int) -> int:
        """The number of a row in the dataset, from 1."""

    def numbers(self, names: Sequence[str]) -> NDArray[np.float64]:
        """(N, D); NaN where a cell is missing."""

    def categories(self, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Codes (N,), -1 where a cell is missing, and the text of each code."""

    def texts(self, name: str) -> list[str]:
        """Texts; empty where a cell is missing."""

    def without_text(self, name: str) -> NDArray[np.bool_]:
        """Which cells of a column of texts are missing, (N,)."""

    def images(self, name: str) -> list[NDArray[Any]]:
        """Pixels (C, H, W), uint8 or float32; of size 0 where a cell is missing."""

    def sounds(self, name: str) -> list[tuple[NDArray[np.float32], int]]:
        """Samples (S,) from -1 to 1, and how many make a second; of size 0 where a cell is missing."""

    def sequences(self, name: str) -> list[NDArray[Any]]:
        """Steps (T, D); of size 0 where a cell is missing."""


class TableCells:
    """Some rows of a stored table, or all of them."""

    def __init__(self, table: Table, rows: NDArray[np.int64] | None = None) -> None:
        self.table = table
        self.rows = rows

    @property
    def count(self) -> int:
        """See `Cells`; so for the rest."""
        return self.table.report.rows if self.rows is None else int(self.rows.size)

    def row(self, index: int) -> int:
        return (index if self.rows is None else int(self.rows[index])) + 1

    def numbers(self, names: Sequence[str]) -> NDArray[np.float64]:
        return self.table.values(names, self.rows)

    def categories(self, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        codes = self.table.codes(name, allow_missing=True)
        return (codes if self.rows is None else codes[self.rows]), self.table.column(name).levels or ()

    def texts(self, name: str) -> list[str]:
        return self.table.texts(name, self._rows())

    def without_text(self, name: str) -> NDArray[np.bool_]:  # noqa: ARG002 - a stored text has no such mark
        # Whether missing cells are taken was decided on the report.
        return np.zeros(self.count, dtype=bool)

    def images(self, name: str) -> list[NDArray[Any]]:
        return self.table.images(name, self._rows())

    def sounds(self, name: str) -> list[tuple[NDArray[np.float32], int]]:
        rows = self._rows()
        return list(zip(self.table.sounds(name, rows), self.table.rates(name, rows).tolist(), strict=True))

    def sequences(self, name: str) -> list[NDArray[Any]]:
        return self.table.sequences(name, self._rows())

    def _rows(self) -> NDArray[np.int64]:
        return np.arange(self.table.report.rows) if self.rows is None else self.rows


class RawCells:
    """Rows that a user brings, column by column, as numbers, texts, arrays and images."""

    def __init__(self, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> None:
        counts = {name: len(cells) for name, cells in columns.items()}
        if len(set(counts.values())) > 1:
            raise DataError(f"columns differ in their number of rows: {counts}", "lengths_differ")
        self.columns = columns
        self.count = next(iter(counts.values()), 0)

    @classmethod
    def of(cls, rows: Any, names: Sequence[str]) -> RawCells:
        """Rows in any of the forms that people have them in.

        Args:
            rows: a mapping from column to cells; a list of mappings from column to cell, where a missing key is a
                missing cell; an array or list of rows, (N, D), with cells in the order of `names`; or, when there is
                only one column, its cells.
            names: the columns that are needed; others are left alone.

        Raises:
            DataError: a needed column is missing, or the rows have another width.
        """
        if isinstance(rows, Mapping):
            absent = [name for name in names if name not in rows]
            if absent:
                raise DataError(f"the rows have no column '{absent[0]}'", "no_such_column", column=absent[0])
            return cls({name: _cells_of(rows[name], name) for name in names})
        rows = _cells_of(rows, None)
        if isinstance(rows, list | tuple) and rows and all(isinstance(row, Mapping) for row in rows):
            return cls({name: [row.get(name) for row in rows] for name in names})
        if len(names) == 1 and not (isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] == 1):
            is_wrapped = isinstance(rows, list | tuple) and rows and all(_is_row_of_one(row) for row in rows)
            return cls({names[0]: [row[0] for row in rows] if is_wrapped else list(rows)})
        return cls(_columns_of(rows, names))

    def row(self, index: int) -> int:
        return index + 1

    def numbers(self, names: Sequence[str]) -> NDArray[np.float64]:
        values_ND = np.empty((self.count, len(names)))
        for position, name in enumerate(names):
            cells = self.columns[name]
            if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiub":
                values_ND[:, position] = cells
            else:
                values_ND[:, position] = [self._number(cell, name, index) for index, cell in enumerate(cells)]
        return values_ND

    def categories(self, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        codes: dict[str, int] = {}
        cells = self.columns[name]
        values = cells.tolist() if isinstance(cells, np.ndarray) else cells
        found = [-1 if _is_missing(cell) else codes.setdefault(spelled(cell), len(codes)) for cell in values]
        return np.array(found, dtype=np.int64), tuple(codes)

    def texts(self, name: str) -> list[str]:
        texts = ["" if _is_missing(cell) else cell for cell in self.columns[name]]
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise self._wrong("a text", name, index)
        return texts

    def without_text(self, name: str) -> NDArray[np.bool_]:
        return np.array([_is_missing(cell) for cell in self.columns[name]], dtype=bool)

    def images(self, name: str) -> list[NDArray[Any]]:
        return [self._image(cell, name, index) for index, cell in enumerate(self.columns[name])]

    def sounds(self, name: str) -> list[tuple[NDArray[np.float32], int]]:
        found = []
        for index, cell in enumerate(self.columns[name]):
            if not isinstance(cell, tuple) or len(cell) != 2 or type(cell[1]) is not int or cell[1] < 1:
                raise self._wrong("a sound: (samples, samples a second)", name, index)
            if cell[1] > _HIGHEST_RATE:  # a filter for resampling grows with it
                raise self._wrong(f"at most {_HIGHEST_RATE} samples a second", name, index)
            found.append((self._array(cell[0], "samples of one channel", 1, name, index).astype(np.float32), cell[1]))
        return found

    def sequences(self, name: str) -> list[NDArray[Any]]:
        return [self._array(cell, "steps (T, D)", 2, name, index) for index, cell in enumerate(self.columns[name])]

    def _number(self, cell: Any, name: str, index: int) -> float:
        if _is_missing(cell):
            return float("nan")
        if not isinstance(cell, bool | int | float | np.integer | np.floating | np.bool_):
            raise self._wrong("a number", name, index)
        try:
            return float(cell)
        except OverflowError as error:  # a whole number of any length
            raise self._wrong("a number of float64's range", name, index) from error

    def _image(self, cell: Any, name: str, index: int) -> NDArray[Any]:
        if hasattr(cell, "convert"):  # of pillow, which need not be imported for this
            gray = cell.mode in ("1", "L", "I;16", "F")
            pixels = np.asarray(cell.convert("L" if gray else "RGB"))
            return pixels[np.newaxis] if gray else np.ascontiguousarray(pixels.transpose(2, 0, 1))
        try:
            array = np.asarray(cell)
        except ValueError:  # lists of unequal length
            array = np.empty(0)
        if array.ndim == 2:
            array = array[np.newaxis]
        if array.ndim != 3 or array.shape[0] not in (1, 3) or array.dtype.kind not in "fiu":
            raise self._wrong("an image: pixels (H, W) or (C, H, W) with 1 or 3 channels", name, index)
        is_byte = array.dtype.kind in "iu" and array.size > 0 and array.min() >= 0 and array.max() <= 255
        return array.astype(np.uint8) if is_byte else array

    def _array(self, cell: Any, what: str, dimensions: int, name: str, index: int) -> NDArray[Any]:
        try:
            array = np.asarray(cell, dtype=np.float64)
        except (OverflowError, TypeError, ValueError) as error:
            raise self._wrong(what, name, index) from error
        if array.ndim != dimensions:
            raise self._wrong(what, name, index)
        return array

    def _wrong(self, expected: str, name: str, index: int) -> DataError:
        row = self.row(index)
        return DataError(f"column '{name}', row {row}: expected {expected}", "wrong_kind", row, name)


def _cells_of(given: Any, name: str | None) -> Any:
    """A list, a tuple or an array of at least one dimension."""
    if isinstance(given, list | tuple):
        return given
    if hasattr(given, "__array__"):  # of NumPy, torch, pandas
        array = np.asarray(given)
        if array.ndim:
            return array
    what = "rows are" if name is None else f"column '{name}' is"
    message = f"{what} a list or an array, not a single {type(given).__name__}"
    raise DataError(message, "wrong_shape", column=name)


def _columns_of(rows: Any, names: Sequence[str]) -> dict[str, Any]:
    """The columns of rows whose cells come in the order of `names`."""
    if isinstance(rows, list | tuple):
        widths = {len(row) if isinstance(row, list | tuple | np.ndarray) else -1 for row in rows}
        if widths - {len(names)}:
            raise DataError(f"rows of {len(names)} cells are needed", "wrong_shape")
        return {name: [row[position] for row in rows] for position, name in enumerate(names)}
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise DataError(f"rows of shape (N, {len(names)}) are needed, not {rows.shape}", "wrong_shape")
    return {name: rows[:, position] for position, name in enumerate(names)}


def _is_row_of_one(row: Any) -> bool:
    return isinstance(row, list | tuple) and len(row) == 1


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float | np.floating) and bool(np.isnan(cell)))


def spelled(value: Any) -> str:
    """A label as a dataset's report writes it: `3` for 3.0, `true` for True."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
