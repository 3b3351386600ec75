"""From the texts of one CSV column to numbers or categories, block by block; NumPy only.

A column starts in a codebook, text -> code: few different texts are stored small and read as numbers once each.
When there are more than DISTINCT_LIMIT of them it can no longer be a category, and cells become numbers directly.

A cell without its surrounding white space is
- missing, when it is one of `MISSING`;
- a number, when it is ASCII, has no underscore and Python's `float` reads it (`1`, `-2.5e3`, `.5`, `inf`);
- text otherwise (`0x10`, `1_000`, digits of other scripts).
A column is numeric when at least half of its cells that are not missing are numbers, or when all of them are
`true` or `false` in any case. Otherwise it is a category when it has few different texts, none of them long;
otherwise, and when every cell is missing, text.

Cells of a column of numbers are not kept as texts. So a column that was one until texts outnumbered its numbers is
reported as text and not stored, with a remark.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.formats.flat_columns import Texts
from softreg_core.data.formats.parsed import CategoryColumn, NumericColumn, TextColumn
from softreg_core.data.request import DISTINCT_LIMIT, LONGEST_LEVEL
from softreg_core.data.summary import Tally

__all__ = ["MISSING", "CsvColumn"]

MISSING = frozenset(
    {"", "?", "#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"},
)
_BOOLEANS = {"false": 0.0, "true": 1.0}
# Signs, groups of thousands, a decimal point or comma, percent and currency: what spreadsheets put around numbers.
_DECORATED = re.compile(
    r"[-+(]?[$€£¥]? ?[-+]?(?:[0-9]{1,3}(?:[,. '\u00a0\u202f][0-9]{3})+|[0-9]+)(?:[.,][0-9]+)? ?[%$€£¥]?\)?"
)
_LONGEST_DECORATED = 40
_LOOKED_AT = 100


class CsvColumn:
    """One column while its file is read: `add` each block of cells, then `finish` once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._few: _FewTexts | None = _FewTexts()
        self._numbers = _Numbers()
        self._texts: Texts | None = None
        self._first: list[str] = []

    def add(self, cells: Sequence[str]) -> None:
        """The next cells, from top to bottom."""
        texts = list(map(str.strip, cells))
        self._first = self._first or texts[:_LOOKED_AT]
        if self._few is not None:
            if self._few.add(texts):
                return
            self._few.pour_into(self._numbers)
            self._texts = None if self._numbers.are_most() else self._few.as_texts()
            self._few = None
        self._numbers.add(texts)
        if self._texts is not None:
            for text in texts:
                self._texts.add(None if text in MISSING else text)
            if self._numbers.are_most():
                self._texts = None

    def finish(self) -> NumericColumn | CategoryColumn | TextColumn:
        """Decide what the column is; it cannot be used afterwards."""
        few = self._few
        if few is None:
            return self._numbers.finish(self.name) or self._text(self._texts, None, self._first)
        few.pour_into(self._numbers)
        levels = few.levels()
        if levels and all(level.lower() in _BOOLEANS for level in levels):
            values = few.look_up([_BOOLEANS[level.lower()] for level in levels])
            return NumericColumn(self.name, values, self._numbers.missing.flaws(), is_boolean=True)
        if levels and not self._numbers.are_most() and max(map(len, levels)) <= LONGEST_LEVEL:
            order, codes = few.sorted_codes()
            return CategoryColumn(
                self.name, codes, order, self._numbers.missing.flaws(), resembles_numbers=_look_like_numbers(levels)
            )
        return self._numbers.finish(self.name) or self._text(few.as_texts() if levels else None, len(levels), levels)

    def _text(self, texts: Texts | None, distinct: int | None, some: Sequence[str]) -> TextColumn:
        stored = None if texts is None else texts.finish(self.name, distinct)
        return TextColumn(self.name, self._numbers.missing.flaws(), distinct, stored, _look_like_numbers(some))


class _FewTexts:
    """Cells as codes of at most DISTINCT_LIMIT texts; -1 is missing."""

    def __init__(self) -> None:
        self._codebook = dict.fromkeys(MISSING, -1)
        # Two bytes hold every code, and a column may have ten million.
        self._blocks: list[NDArray[np.int16]] = []

    def levels(self) -> list[str]:
        """The different texts in the order of their codes."""
        return list(itertools.islice(self._codebook, len(MISSING), None))

    def add(self, texts: Sequence[str]) -> bool:
        """Take the next cells; False, and nothing is taken, when the texts become too many."""
        new = set(texts).difference(self._codebook)
        known = len(self._codebook) - len(MISSING)
        if known + len(new) > DISTINCT_LIMIT:
            return False
        self._codebook.update(zip(sorted(new), itertools.count(known), strict=False))
        self._blocks.append(np.fromiter(map(self._codebook.__getitem__, texts), np.int16, len(texts)))
        return True

    def look_up(self, values: Sequence[float]) -> NDArray[np.float64]:
        """`values[code]` for every cell, NaN for a missing one."""
        return np.concatenate([_with_nan(values)[block] for block in self._blocks])

    def pour_into(self, numbers: _Numbers) -> None:
        """Hand every cell over as a number, reading each different text once."""
        read = [_number(level) for level in self.levels()]
        # One more entry at the end: code -1, missing.
        values = _with_nan([float("nan") if value is None else value for value in read])
        is_text = np.array([*(value is None for value in read), False], dtype=bool)
        for block in self._blocks:
            numbers.take(values[block], is_missing=block < 0, is_text=is_text[block])

    def as_texts(self) -> Texts:
        """Every cell as its text."""
        levels, texts = [*self.levels(), None], Texts()
        for block in self._blocks:
            for code in block.tolist():
                texts.add(levels[code])
        return texts

    def sorted_codes(self) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """The levels sorted, and the codes that go with that order."""
        levels = self.levels()
        order = sorted(range(len(levels)), key=levels.__getitem__)
        new_code = np.full(len(levels) + 1, -1, dtype=np.int32)
        new_code[order] = np.arange(len(levels), dtype=np.int32)
        return tuple(levels[index] for index in order), np.concatenate([new_code[block] for block in self._blocks])


class _Numbers:
    """Cells as float64, NaN where there is no usable number, and the tallies of those."""

    def __init__(self) -> None:
        self.missing = Tally("missing")
        self._texts = Tally("text_in_numbers")
        self._non_finite = Tally("non_finite")
        self._blocks: list[NDArray[np.float64]] = []
        self._rows = 0

    def add(self, texts: Sequence[str]) -> None:
        """Read the next cells."""
        is_missing = np.fromiter(map(MISSING.__contains__, texts), np.bool_, len(texts))
        values, is_text = _read_numbers(texts, is_missing)
        self.take(values, is_missing=is_missing, is_text=is_text)

    def take(self, values: NDArray[np.float64], *, is_missing: NDArray[np.bool_], is_text: NDArray[np.bool_]) -> None:
        """Keep cells that were read; values of missing and text cells are NaN already."""
        is_odd = ~np.isfinite(values)
        self.missing.add(is_missing, self._rows)
        self._texts.add(is_text, self._rows)
        self._non_finite.add(is_odd & ~is_missing & ~is_text, self._rows)
        values[is_odd] = np.nan
        self._blocks.append(values)
        self._rows += len(values)

    def are_most(self) -> bool:
        """Whether at least half of the cells that are not missing are numbers, and there is one."""
        present = self._rows - self.missing.count
        return present > 0 and 2 * self._texts.count <= present

    def finish(self, name: str) -> NumericColumn | None:
        """The column of numbers; None when too few are."""
        if not self.are_most():
            return None
        flaws = (*self.missing.flaws(), *self._texts.flaws(), *self._non_finite.flaws())
        blocks, self._blocks = self._blocks, []
        return NumericColumn(name, np.concatenate(blocks), flaws)


def _read_numbers(texts: Sequence[str], is_missing: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers (NaN for other cells) and the mask of the cells that are text."""
    if is_missing.any():
        texts = ["nan" if missing else text for text, missing in zip(texts, is_missing.tolist(), strict=True)]
    joined = "".join(texts)
    if joined.isascii() and "_" not in joined:
        # The common case, all numbers: `float` in one go is several times faster than one call per cell.
        try:
            return np.fromiter(map(float, texts), np.float64, len(texts)), np.zeros(len(texts), dtype=bool)
        except ValueError:
            pass
    read = [_number(text) for text in texts]
    is_text = np.fromiter((value is None for value in read), np.bool_, len(read))
    return np.array([float("nan") if value is None else value for value in read], dtype=np.float64), is_text


def _number(text: str) -> float | None:
    """The number that a cell holds, or None for text."""
    if not text.isascii() or "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _look_like_numbers(texts: Sequence[str]) -> bool:
    """Whether at least half of the texts that are not missing would be numbers without what surrounds them."""
    present = [text for text in texts if text not in MISSING]
    # Short ones only: the pattern must not be given a cell of a million characters.
    found = sum(
        len(text) <= _LONGEST_DECORATED and _number(text) is None and bool(_DECORATED.fullmatch(text))
        for text in present
    )
    return bool(present) and 2 * found >= len(present)


def _with_nan(values: Sequence[float]) -> NDArray[np.float64]:
    """A table to look codes up in: its last entry, which -1 finds, is NaN."""
    return np.array([*values, float("nan")], dtype=np.float64)
