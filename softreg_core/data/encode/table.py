"""Columns of numbers and of categories: what is filled in, which code each category has, how numbers are scaled."""

# N rows, D columns of numbers, I indicators, K columns of categories

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat, model_validator

from softreg_core.data.cells import Cells
from softreg_core.data.encode.base import EncodingModel, apply_scaling, refuse
from softreg_core.data.scaling import Moments, Scaling
from softreg_core.errors import DataError
from softreg_core.spec.inputs import TableShape

__all__ = [
    "MEDIAN_ROWS",
    "CategoryColumn",
    "NumberColumn",
    "TableEncoding",
    "TableFit",
    "column_blocks",
    "is_numbers_only",
    "numbers_only",
]

# Columns are widened to float64 in blocks of about this many numbers, so that a wide table is never held twice.
_BLOCK = 4_194_304
MEDIAN_ROWS = 1_000_000
"""A median is that of the first so many training rows."""


class NumberColumn(EncodingModel):
    """A column of numbers."""

    name: str
    fill: FiniteFloat | None = None
    """What stands for a missing cell; None: a missing cell is refused."""
    has_indicator: bool = False
    """Whether a further column says 1 where a cell is missing and 0 elsewhere."""


class CategoryColumn(EncodingModel):
    """A column of categories: code 0 is any other one, and code i + 1 the i-th of `levels`."""

    name: str
    levels: tuple[str, ...]
    """Those that the training rows have, in the order of the dataset's report."""
    unknown: Literal["error", "other"]
    """What becomes of a category that is none of `levels`: refused, or code 0."""
    has_missing: bool = False
    """Whether a missing cell has a code of its own, the last one; else it is refused."""

    @property
    def codes(self) -> int:
        """How many there are."""
        return 1 + len(self.levels) + self.has_missing

    def encoded(self, cells: Cells) -> NDArray[np.int64]:
        """Codes (N,)."""
        found, texts = cells.categories(self.name)
        own = {level: index + 1 for index, level in enumerate(self.levels)}
        # The entry at the end is that of -1, a missing cell.
        table = np.array([*(own.get(text, 0) for text in texts), self.codes - 1 if self.has_missing else -1])
        codes = table[found].astype(np.int64)
        if not self.has_missing:
            refuse(codes < 0, cells, self.name, "missing", "missing value")
        if self.unknown == "error":
            what = (
                f"none of the {len(self.levels)} categories of the training rows; "
                "with preprocess.unknown 'other' such rows are taken"
            )
            refuse(codes == 0, cells, self.name, "unknown_category", what)
        return codes


class TableEncoding(EncodingModel):
    """From cells to `numbers` and `codes`; `scaling` of the numbers is separate, so that a graph can do it."""

    kind: Literal["table"] = "table"
    columns: tuple[str, ...]
    """All that a row needs, in the user's order."""
    numbers: tuple[NumberColumn, ...]
    categories: tuple[CategoryColumn, ...] = ()
    scaling: Scaling
    """Of the numbers, and after them of the indicators, which it leaves as they are."""

    @model_validator(mode="after")
    def _columns_fit(self) -> TableEncoding:
        names = tuple(column.name for column in self.numbers)
        if (*names, *self.indicators) != self.scaling.names:
            raise ValueError("the scaling is of other columns")
        if sorted([*names, *(column.name for column in self.categories)]) != sorted(self.columns):
            raise ValueError("columns are not those of numbers and categories")
        return self

    @property
    def indicators(self) -> tuple[str, ...]:
        """Names of the further columns that say where a cell is missing."""
        return tuple(f"{column.name} is missing" for column in self.numbers if column.has_indicator)

    @property
    def shape(self) -> TableShape:
        """What the network takes."""
        levels = tuple(column.codes for column in self.categories)
        return TableShape(numbers=len(self.scaling.names), levels=levels)

    def arrays(self, cells: Cells) -> tuple[NDArray[Any], ...]:
        """`numbers` float64 (N, D + I) in the user's units, `codes` int64 (N, K); each only when there is one.

        Raises:
            DataError: a cell is missing or unknown and no policy takes it; row and column are named.
        """
        found: list[NDArray[Any]] = []
        if self.numbers:
            found.append(np.concatenate([*(block for _, block in self._blocks(cells)), self._missing(cells)], axis=1))
        return (*found, *self._codes(cells))

    def scaled(self, cells: Cells) -> tuple[NDArray[Any], ...]:
        """The same with the numbers scaled, float32; block by block, so that the numbers are never held twice.

        Raises:
            DataError: as `arrays`; or a cell is not a finite float32 number after scaling.
        """
        found: list[NDArray[Any]] = []
        if self.numbers:
            numbers = np.empty((cells.count, len(self.scaling.names)), dtype=np.float32)
            for start, block in self._blocks(cells):
                stop = start + block.shape[1]
                numbers[:, start:stop] = apply_scaling(self.scaling.part(start, stop), block, cells)
            numbers[:, len(self.numbers) :] = self._missing(cells)
            found.append(numbers)
        return (*found, *self._codes(cells))

    def _blocks(self, cells: Cells) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Columns of numbers with what is missing filled in, some at a time, and where each block starts."""
        for start, some in column_blocks([column.name for column in self.numbers], cells.count):
            block = cells.numbers(some)
            is_missing = np.isnan(block)
            for position in np.flatnonzero(is_missing.any(axis=0)).tolist():
                column = self.numbers[start + position]
                if column.fill is None:
                    refuse(is_missing[:, position], cells, column.name, "missing", "missing value")
                else:
                    block[is_missing[:, position], position] = column.fill
            yield start, block

    def _missing(self, cells: Cells) -> NDArray[np.float64]:
        """The indicators, (N, I)."""
        names = [column.name for column in self.numbers if column.has_indicator]
        return np.isnan(cells.numbers(names)).astype(np.float64) if names else np.empty((cells.count, 0))

    def _codes(self, cells: Cells) -> tuple[NDArray[np.int64], ...]:
        return (np.stack([column.encoded(cells) for column in self.categories], axis=1),) if self.categories else ()


class TableFit:
    """Learns a `TableEncoding` from training rows, chunk by chunk."""

    def __init__(
        self,
        columns: Sequence[str],
        categories: Sequence[str] = (),
        *,
        is_standardized: bool = True,
        unknown: Literal["error", "other"] = "error",
        fill: Literal["median", "mean"] | None = None,
        indicated: Sequence[str] = (),
    ) -> None:
        """Begin.

        Args:
            columns: all features, in the user's order.
            categories: those of them that are categories.
            is_standardized: whether numbers are scaled to mean 0 and deviation 1.
            unknown: the policy for categories that the training rows do not have.
            fill: what stands for missing cells; None: they are refused.
            indicated: columns of numbers with an indicator.
        """
        as_categories = set(categories)
        self._columns = tuple(columns)
        self._names = [name for name in columns if name not in as_categories]
        self._categories = [name for name in columns if name in as_categories]
        self._is_standardized = is_standardized
        self._unknown: Literal["error", "other"] = unknown
        self._fill = fill
        self._indicated = frozenset(indicated)
        self._moments = Moments(len(self._names))
        self._kept: list[list[NDArray[np.float64]]] = [[] for _ in self._names]
        self._rows = 0
        self._counts: dict[str, NDArray[np.int64]] = {}
        self._levels: dict[str, tuple[str, ...]] = {}

    def add(self, cells: Cells) -> None:
        """The next training rows; chunks of one dataset have the same levels."""
        for start, some in column_blocks(self._names, cells.count):
            block = cells.numbers(some)
            self._moments.add(block, start)
            if self._fill == "median" and self._rows < MEDIAN_ROWS:
                for position, column in enumerate(block[: MEDIAN_ROWS - self._rows].T):
                    self._kept[start + position].append(column[~np.isnan(column)])
        self._rows += cells.count
        for name in self._categories:
            codes, self._levels[name] = cells.categories(name)
            counts = np.bincount(codes[codes >= 0], minlength=len(self._levels[name]))
            self._counts[name] = self._counts.get(name, np.int64(0)) + counts

    def finish(self) -> TableEncoding:
        """What was learned.

        Raises:
            DataError: the training rows have no cell from which to fill a column (reason `missing`).
        """
        numbers = tuple(
            NumberColumn(name=name, fill=self._filled(index, name), has_indicator=name in self._indicated)
            for index, name in enumerate(self._names)
        )
        indicators = [f"{column.name} is missing" for column in numbers if column.has_indicator]
        scaling = self._moments.scaling(self._names) if self._is_standardized else Scaling.none(self._names)
        return TableEncoding(
            columns=self._columns,
            numbers=numbers,
            categories=tuple(self._category(name) for name in self._categories),
            scaling=Scaling.joined([scaling, Scaling.none(indicators)]),
        )

    def _filled(self, index: int, name: str) -> float | None:
        if self._fill is None:
            return None
        if self._moments.count_D[index] == 0.0:
            raise DataError(f"column '{name}': every training row misses it", "missing", column=name)
        if self._fill == "mean":
            return float(self._moments.mean_D[index])
        return float(np.median(np.concatenate(self._kept[index])))

    def _category(self, name: str) -> CategoryColumn:
        seen = [level for level, count in zip(self._levels[name], self._counts[name].tolist(), strict=True) if count]
        has_missing = self._fill is not None
        return CategoryColumn(name=name, levels=tuple(seen), unknown=self._unknown, has_missing=has_missing)


def numbers_only(scaling: Scaling) -> TableEncoding:
    """Columns of numbers without missing cells."""
    numbers = tuple(NumberColumn(name=name) for name in scaling.names)
    return TableEncoding(columns=scaling.names, numbers=numbers, scaling=scaling)


def is_numbers_only(encoding: EncodingModel) -> bool:
    """Whether `numbers_only` would give the same."""
    if not isinstance(encoding, TableEncoding) or encoding.categories:
        return False
    return all(column.fill is None and not column.has_indicator for column in encoding.numbers)


def column_blocks(names: Sequence[str], rows: int) -> Iterator[tuple[int, Sequence[str]]]:
    """Some columns at a time, and where each block starts."""
    width = max(1, _BLOCK // max(1, rows))
    for start in range(0, len(names), width):
        yield start, names[start : start + width]
