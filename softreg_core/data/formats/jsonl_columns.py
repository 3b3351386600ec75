"""From the values of one JSONL column to numbers, texts, sequences, images or sounds, block by block; torch-free.

The first value that is not null says what the column holds; a value of another kind is an error in its row.

| value | column |
|---|---|
| number | numeric; whole numbers must fit 64 bits |
| `true`, `false` | numeric, 1 and 0 |
| text | category, or text |
| list of numbers | sequence of one value a step |
| list of lists of numbers, all of one length | sequence |
| `{"image": "<base64>"}`, `{"sound": "<base64>"}` | image, sound |
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.formats.encoded_cells import EncodedCells
from softreg_core.data.formats.flat_columns import FlatColumn, Sequences
from softreg_core.data.formats.parsed import Column, empty_column
from softreg_core.data.formats.typed_columns import NumberCells, TextCells
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

__all__ = ["JsonColumn"]

_KINDS = {int: "number", float: "number", bool: "truth value", str: "text", list: "list", dict: "object"}
_INT64 = 2**63


class JsonColumn:
    """One column while its file is read: `add` each block of values, then `finish` once."""

    def __init__(self, name: str, limits: ParseLimits, rows_before: int) -> None:
        """`rows_before`: rows that did not have the column."""
        self.name = name
        self._limits = limits
        self._rows = rows_before
        self._kind = ""
        self._cells: NumberCells | TextCells | EncodedCells | _Lists | None = None

    def add(self, values: Sequence[Any]) -> None:
        """The next values; None is missing.

        Raises:
            DataError: a value is of another kind than those before, or cannot be kept.
        """
        self._check_kinds(values)
        if not self._kind:
            self._rows += len(values)
            return
        if self._cells is None:
            self._cells = self._begun(values)
            if self._rows:
                self._take(self._cells, [None] * self._rows, 0)
        self._take(self._cells, values, self._rows)
        self._rows += len(values)

    def _check_kinds(self, values: Sequence[Any]) -> None:
        found = {_KINDS[kind] for kind in set(map(type, values)) if kind in _KINDS}
        if not found or found == {self._kind}:
            return
        for row, value in enumerate(values, start=self._rows + 1):
            kind = _KINDS.get(type(value))
            self._kind = self._kind or kind or ""
            if kind not in (None, self._kind):
                raise self._misfit(row, f"a {kind} in a column that begins with a {self._kind}", "mixed_kinds")

    def _begun(self, values: Sequence[Any]) -> NumberCells | TextCells | EncodedCells | _Lists:
        match self._kind:
            case "text":
                return TextCells(self.name, self._limits)
            case "list":
                return _Lists()
            case "object":
                first = next(value for value in values if value is not None)
                kind = next((key for key in ("image", "sound") if key in first), None)
                return EncodedCells(self.name, self._limits, kind)
            case _:
                return NumberCells(self.name, is_boolean=self._kind == "truth value")

    def _take(
        self, cells: NumberCells | TextCells | EncodedCells | _Lists, values: Sequence[Any], rows_before: int
    ) -> None:
        match cells:
            case NumberCells():
                is_missing = np.fromiter((value is None for value in values), np.bool_, len(values))
                cells.add(self._floats(values, rows_before), is_missing)
            case TextCells():
                cells.add(values)
            case EncodedCells():
                for row, value in enumerate(values, start=rows_before + 1):
                    cells.add(None if value is None else self._bytes(value, row))
            case _Lists():
                for row, value in enumerate(values, start=rows_before + 1):
                    # A list without steps has nothing to learn from: it counts as missing.
                    cells.add(self._steps(value, row) if value else None)

    def _floats(self, values: Sequence[Any], rows_before: int) -> NDArray[np.float64]:
        for row, value in enumerate(values, start=rows_before + 1):
            if type(value) is int and not -_INT64 <= value < _INT64:
                raise self._misfit(row, "a whole number of more than 64 bits", "integer_range")
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    def _bytes(self, value: dict[str, Any], row: int) -> bytes:
        key, text = next(iter(value.items()), ("", None))
        if len(value) != 1 or key not in ("image", "sound") or not isinstance(text, str):
            message = 'an object other than {"image": "<base64>"} or {"sound": "<base64>"}: give each value its own key'
            raise self._misfit(row, message, "nested")
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._misfit(row, f"the {key} is not base64", "base64") from error

    def _steps(self, value: list[Any], row: int) -> NDArray[np.float64]:
        """The steps (T, D) of one row."""
        kinds = set(map(type, value))
        if kinds == {list}:
            width = len(value[0])
            if not width or any(len(step) != width for step in value):
                raise self._misfit(row, "steps with different numbers of values", "steps")
            numbers = [number for step in value for number in step]
            kinds = set(map(type, numbers))
        else:
            width, numbers = 1, value
        if not kinds <= {int, float, type(None)}:
            raise self._misfit(row, "a list of something else than numbers, or of lists of numbers", "nested")
        if len(value) > self._limits.steps or width > self._limits.channels:
            message = f"more than {self._limits.steps} steps, or {self._limits.channels} values in one"
            raise self._misfit(row, message, "too_long")
        if isinstance(self._cells, _Lists) and self._cells.width not in (None, width):
            raise self._misfit(row, f"steps of {width} values after steps of {self._cells.width}", "steps")
        try:
            return self._floats(numbers, 0).reshape(-1, width)
        except DataError as error:
            raise self._misfit(row, "a whole number of more than 64 bits", error.reason) from error

    def _misfit(self, row: int, what: str, reason: str) -> DataError:
        return DataError(f"column '{self.name}', row {row}: {what}", reason, row=row, column=self.name)

    def finish(self) -> Column:
        """The column; it cannot be used afterwards. One without any value becomes an empty column of text."""
        if self._cells is None:
            return empty_column(self.name, self._rows)
        if isinstance(self._cells, _Lists):
            return self._cells.finish(self.name, self._rows)
        return self._cells.finish()

    def remarks(self) -> list[str]:
        """What was done to the cells."""
        return self._cells.remarks() if isinstance(self._cells, EncodedCells) else []


class _Lists:
    """Sequences whose width is known with the first row that has steps."""

    def __init__(self) -> None:
        self.width: int | None = None
        self._before = 0
        self._rows = Sequences(1, np.float64)

    def add(self, steps_TD: NDArray[np.float64] | None) -> None:
        """The next row."""
        if self.width is None:
            if steps_TD is None:
                self._before += 1
                return
            self.width = steps_TD.shape[1]
            self._rows = Sequences(self.width, np.float64)
            for _ in range(self._before):
                self._rows.add(None)
        self._rows.add(steps_TD)

    def finish(self, name: str, rows: int) -> FlatColumn:
        """The column; lists that are all empty make sequences without steps."""
        if self.width is None:
            for _ in range(rows):
                self._rows.add(None)
        return self._rows.finish(name)
