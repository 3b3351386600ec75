"""From one Parquet column to numbers, texts, sequences, images or sounds, batch by batch; torch-free.

| Parquet, as Arrow reads it | column |
|---|---|
| whole and floating numbers, decimals, booleans | numeric |
| date | numeric: days since 1970-01-01 |
| timestamp, time of day, duration | numeric: seconds (since 1970-01-01 00:00 UTC) |
| text, also as a dictionary | category, or text |
| list of numbers | sequence of one value a step |
| list of lists of numbers, all of one length | sequence |
| list of numbers with a fixed size in the schema | a group of numeric columns `NAME.0`, `NAME.1`, ... |
| binary, and struct<bytes, path> | images or sounds, told by the first one's content |

Other structs, maps, unions and lists of anything else are refused.
"""

from __future__ import annotations

import itertools
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import types

from softreg_core.data.formats.encoded_cells import EncodedCells
from softreg_core.data.formats.flat_columns import Sequences
from softreg_core.data.formats.parsed import Column, empty_column
from softreg_core.data.formats.typed_columns import NumberCells, TextCells
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

__all__ = ["ArrowColumn", "arrow_column"]

_SECONDS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


class ArrowColumn(Protocol):
    """One column while its file is read: `add` each batch, then `finish` once."""

    is_heavy: bool
    """Whether a single cell may be large."""

    def add(self, array: pa.Array) -> None:
        """The next cells."""

    def finish(self) -> list[Column]:
        """What was read; the column cannot be used afterwards."""

    def remarks(self) -> list[str]:
        """What was done to the cells."""


def arrow_column(field: pa.Field, limits: ParseLimits) -> ArrowColumn:
    """The reader for a column of this type.

    Raises:
        DataError: such a column is not taken (reason `type`).
    """
    name, kind = field.name, field.type
    inner = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_null(inner):
        return _Empty(name)
    if _is_text(inner):
        return _Texts(name, limits)
    if _is_number(inner):
        return _Numbers(name, inner)
    if _is_binary(inner) or (types.is_struct(inner) and _is_file(inner)):
        return _Encoded(name, limits, is_struct=types.is_struct(inner))
    if types.is_fixed_size_list(inner) and _is_plain(inner.value_type):
        return _Group(name, inner.list_size, limits)
    if _is_list(inner):
        steps = inner.value_type
        if _is_plain(steps) or ((_is_list(steps) or types.is_fixed_size_list(steps)) and _is_plain(steps.value_type)):
            return _Lists(name, limits, steps)
    message = f"column '{name}' is of type {str(kind)[:100]}, which is not read"
    raise DataError(message, "type", column=name)


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view))


def _is_binary(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (types.is_binary, types.is_large_binary, types.is_binary_view))


def _is_list(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (types.is_list, types.is_large_list))


def _is_plain(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (types.is_integer, types.is_floating, types.is_boolean))


def _is_number(kind: pa.DataType) -> bool:
    return _is_plain(kind) or types.is_decimal(kind) or types.is_temporal(kind)


def _is_file(kind: pa.DataType) -> bool:
    """Whether a struct is what Hugging Face's datasets write for images and sounds."""
    fields = {field.name: field.type for field in kind}
    return fields.keys() == {"bytes", "path"} and _is_binary(fields["bytes"]) and _is_text(fields["path"])


def _floats(array: pa.Array) -> NDArray[np.float64]:
    """Numbers as float64, NaN where there is none."""
    if types.is_temporal(array.type):
        array = array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64())
    values: NDArray[np.float64] = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _missing(array: pa.Array) -> NDArray[np.bool_]:
    if not array.null_count:
        return np.zeros(len(array), dtype=bool)
    mask: NDArray[np.bool_] = array.is_null().to_numpy(zero_copy_only=False)
    return mask


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if types.is_dictionary(array.type) else array


class _Base:
    is_heavy = False

    def __init__(self, name: str, limits: ParseLimits | None = None) -> None:
        self.name = name
        self.limits = limits or ParseLimits()
        self.rows = 0

    def remarks(self) -> list[str]:
        return []

    def misfit(self, row: int, what: str, reason: str) -> DataError:
        return DataError(f"column '{self.name}', row {row}: {what}", reason, row=row, column=self.name)


class _Empty(_Base):
    """A column of the type null."""

    def add(self, array: pa.Array) -> None:
        self.rows += len(array)

    def finish(self) -> list[Column]:
        return [empty_column(self.name, self.rows)]


class _Numbers(_Base):
    def __init__(self, name: str, kind: pa.DataType) -> None:
        super().__init__(name)
        self._is_time = types.is_temporal(kind)
        self._unit = "days" if types.is_date(kind) else "seconds"
        self._divisor = 86_400_000.0 if types.is_date64(kind) else _SECONDS.get(getattr(kind, "unit", "s"), 1.0)
        self._cells = NumberCells(name, is_boolean=types.is_boolean(kind))

    def add(self, array: pa.Array) -> None:
        array = _decoded(array)
        self._cells.add(_floats(array) / self._divisor, _missing(array))

    def finish(self) -> list[Column]:
        return [self._cells.finish()]

    def remarks(self) -> list[str]:
        return [f"column '{self.name}' holds times: read as {self._unit}"] if self._is_time else []


class _Texts(_Base):
    def __init__(self, name: str, limits: ParseLimits) -> None:
        super().__init__(name)
        self._cells = TextCells(name, limits)

    def add(self, array: pa.Array) -> None:
        self._cells.add(_decoded(array).to_pylist())

    def finish(self) -> list[Column]:
        return [self._cells.finish()]


class _Encoded(_Base):
    is_heavy = True

    def __init__(self, name: str, limits: ParseLimits, *, is_struct: bool) -> None:
        super().__init__(name)
        self._is_struct = is_struct
        self._cells = EncodedCells(name, limits)

    def add(self, array: pa.Array) -> None:
        array = _decoded(array)
        for row, cell in enumerate(array, start=self.rows + 1):
            data = cell["bytes"] if self._is_struct and cell.is_valid else cell
            if data.is_valid:
                self._cells.add(data.as_py())
            elif self._is_struct and cell.is_valid and cell["path"].is_valid:
                # A path is a name and nothing that is opened.
                raise self.misfit(row, "only a path: write the bytes of images and sounds into the file", "path")
            else:
                self._cells.add(None)
        self.rows += len(array)

    def finish(self) -> list[Column]:
        return [self._cells.finish()]

    def remarks(self) -> list[str]:
        return self._cells.remarks()


class _Group(_Base):
    """A list of a fixed size: a column of numbers for each place."""

    def __init__(self, name: str, size: int, limits: ParseLimits) -> None:
        super().__init__(name)
        if not 1 <= size <= limits.columns:
            raise DataError(
                f"column '{name}': {size} columns, not 1 to {limits.columns}", "too_many_columns", column=name
            )
        self._cells = [NumberCells(f"{name}.{place}", group=name) for place in range(size)]

    def add(self, array: pa.Array) -> None:
        is_missing = _missing(array)
        values = np.full((len(array), len(self._cells)), np.nan)
        # `flatten` leaves the lists that are null out.
        flat = array.flatten()
        values[~is_missing] = _floats(flat).reshape(-1, len(self._cells))
        absent = np.ones(values.shape, dtype=bool)
        absent[~is_missing] = _missing(flat).reshape(-1, len(self._cells))
        for place, cells in enumerate(self._cells):
            cells.add(values[:, place], absent[:, place])

    def finish(self) -> list[Column]:
        return [cells.finish() for cells in self._cells]


class _Lists(_Base):
    """Sequences; what a step holds is known with the first row that has steps."""

    is_heavy = True

    def __init__(self, name: str, limits: ParseLimits, steps: pa.DataType) -> None:
        super().__init__(name, limits)
        self._is_nested = not _is_plain(steps)
        number = steps.value_type if self._is_nested else steps
        is_float = types.is_floating(number) and number.bit_width <= 32
        self._dtype: type[np.float32 | np.float64] = np.float32 if is_float else np.float64
        self._width = None if self._is_nested else 1
        self._before = 0
        self._cells: Sequences | None = None

    def add(self, array: pa.Array) -> None:
        array = _decoded(array)
        is_missing = _missing(array).tolist()
        ends = array.offsets.to_numpy().tolist()
        # Numbers at once: one row after the other would cost ten times as much.
        flat = None if self._is_nested else _floats(array.values[ends[0] : ends[-1]]).reshape(-1, 1)
        for index, (start, end) in enumerate(itertools.pairwise(ends)):
            row = self.rows + index + 1
            # A list without steps has nothing to learn from: it counts as missing.
            if is_missing[index] or start == end:
                self._add(None)
                continue
            self._check_size(end - start, 1, row)
            self._add(
                self._steps(array.values[start:end], row) if flat is None else flat[start - ends[0] : end - ends[0]]
            )
        self.rows += len(array)

    def _add(self, steps: NDArray[np.float64] | None) -> None:
        if self._cells is None:
            if steps is None:
                self._before += 1
                return
            self._cells = self._begun(steps.shape[1])
        self._cells.add(steps)

    def _check_size(self, steps: int, width: int, row: int) -> None:
        if steps > self.limits.steps or width > self.limits.channels:
            message = f"more than {self.limits.steps} steps, or {self.limits.channels} values in one"
            raise self.misfit(row, message, "too_long")

    def _begun(self, width: int) -> Sequences:
        cells = Sequences(width, self._dtype)
        for _ in range(self._before):
            cells.add(None)
        return cells

    def _steps(self, values: pa.Array, row: int) -> NDArray[np.float64]:
        """The steps (T, D) of one row of lists."""
        steps = len(values)
        if values.null_count:
            raise self.misfit(row, "a step that is null", "steps")
        flat = values.flatten()
        width, rest = divmod(len(flat), steps)
        lengths = {width} if types.is_fixed_size_list(values.type) else set(values.value_lengths().to_pylist())
        if rest or not width or lengths != {width}:
            raise self.misfit(row, "steps with different numbers of values", "steps")
        if self._width not in (None, width):
            raise self.misfit(row, f"steps of {width} values after steps of {self._width}", "steps")
        self._width = width
        self._check_size(steps, width, row)
        return _floats(flat).reshape(steps, width)

    def finish(self) -> list[Column]:
        cells = self._cells or self._begun(self._width or 1)
        return [cells.finish(self.name)]
