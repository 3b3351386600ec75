"""Columns of numbers and of texts from formats that know their types (Parquet, JSONL), block by block; NumPy only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.formats.flat_columns import Texts
from softreg_core.data.formats.parsed import CategoryColumn, NumericColumn, TextColumn
from softreg_core.data.request import DISTINCT_LIMIT, LONGEST_LEVEL, ParseLimits
from softreg_core.data.summary import Tally
from softreg_core.errors import DataError

__all__ = ["NumberCells", "TextCells"]


class NumberCells:
    """A column of numbers: `add` each block, then `finish` once."""

    def __init__(self, name: str, *, group: str | None = None, is_boolean: bool = False) -> None:
        self.name = name
        self._group = group
        self._is_boolean = is_boolean
        self._blocks: list[NDArray[np.float64]] = []
        self._missing = Tally("missing")
        self._odd = Tally("non_finite")
        self._rows = 0

    def add(self, values: NDArray[np.float64], is_missing: NDArray[np.bool_]) -> None:
        """The next cells; what stands in a missing one does not matter."""
        is_odd = ~np.isfinite(values)
        self._missing.add(is_missing, self._rows)
        self._odd.add(is_odd & ~is_missing, self._rows)
        self._blocks.append(np.where(is_odd | is_missing, np.nan, values))
        self._rows += len(values)

    def finish(self) -> NumericColumn:
        """The column; it cannot be added to afterwards."""
        blocks, self._blocks = self._blocks, []
        flaws = (*self._missing.flaws(), *self._odd.flaws())
        return NumericColumn(self.name, np.concatenate(blocks), flaws, self._is_boolean, self._group)


class TextCells:
    """A column of texts: a category while they are few and none is long, then texts one by one."""

    def __init__(self, name: str, limits: ParseLimits) -> None:
        self.name = name
        self._limits = limits
        self._codebook: dict[str | None, int] = {None: -1}
        # Two bytes hold every code, and a column may have ten million.
        self._blocks: list[NDArray[np.int16]] = []
        self._texts: Texts | None = None
        self._missing = Tally("missing")
        self._rows = 0

    def add(self, cells: Sequence[str | None]) -> None:
        """The next cells; None is missing.

        Raises:
            DataError: a text is too long, or cannot be kept.
        """
        if self._texts is None and not self._add_codes(cells):
            self._texts = self._pour()
        if self._texts is not None:
            for number, cell in enumerate(cells, start=self._rows + 1):
                _check_text(cell, number, self.name, self._limits)
                self._texts.add(cell)
        self._rows += len(cells)

    def _add_codes(self, cells: Sequence[str | None]) -> bool:
        """Take the next cells as codes; False, and nothing is taken, when texts become too many or too long."""
        new = set(cells).difference(self._codebook)
        known = len(self._codebook) - 1
        if known + len(new) > DISTINCT_LIMIT or any(len(text or "") > LONGEST_LEVEL for text in new):
            return False
        for number, cell in enumerate(cells, start=self._rows + 1) if new else ():
            _check_text(cell, number, self.name, self._limits)
        self._codebook.update(zip(sorted(map(str, new)), itertools.count(known), strict=False))
        codes = np.fromiter(map(self._codebook.__getitem__, cells), np.int16, len(cells))
        self._missing.add(codes < 0, self._rows)
        self._blocks.append(codes)
        return True

    def _pour(self) -> Texts:
        levels, texts = [*itertools.islice(self._codebook, 1, None), None], Texts()
        for block in self._blocks:
            for code in block.tolist():
                texts.add(levels[code])
        self._blocks.clear()
        return texts

    def finish(self) -> CategoryColumn | TextColumn:
        """The column; it cannot be added to afterwards."""
        if self._texts is not None:
            return TextColumn(self.name, stored=self._texts.finish(self.name, None))
        levels = [text for text in self._codebook if text is not None]
        if not levels:
            return TextColumn(self.name, self._missing.flaws(), distinct=0)
        order = sorted(range(len(levels)), key=levels.__getitem__)
        new_code = np.full(len(levels) + 1, -1, dtype=np.int32)
        new_code[order] = np.arange(len(levels), dtype=np.int32)
        codes = np.concatenate([new_code[block] for block in self._blocks])
        return CategoryColumn(self.name, codes, tuple(levels[index] for index in order), self._missing.flaws())


def _check_text(text: str | None, row: int, name: str, limits: ParseLimits) -> None:
    """Levels and texts go into replies and into PostgreSQL, which has neither NUL nor lone surrogates."""
    if text is None:
        return
    if len(text) > limits.field_characters:
        message = f"column '{name}', row {row}: a text of more than {limits.field_characters} characters"
        raise DataError(message, "field_too_large", row=row, column=name)
    if "\0" in text or not (text.isascii() or _is_unicode(text)):
        message = f"column '{name}', row {row}: a text with a NUL character, or half of a surrogate pair"
        raise DataError(message, "characters", row=row, column=name)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
