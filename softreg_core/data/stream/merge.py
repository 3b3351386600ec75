"""What is known of a file from what is known of its parts, read one after the other; NumPy only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from softreg_core.data.formats.parsed import remarks_on, spare_levels
from softreg_core.data.report import ColumnReport, DatasetReport, Flaw, number_of_level
from softreg_core.data.request import DISTINCT_LIMIT
from softreg_core.errors import DataError

__all__ = ["ReportMerger"]

_FIRST_ROWS = 5
_MOST_RATES = 100


class ReportMerger:
    """`add` the report of each part in the order of its rows, then `finish` once."""

    def __init__(self) -> None:
        self._columns: list[_Merged] = []
        self._first: DatasetReport | None = None
        self._rows = 0

    def add(self, report: DatasetReport) -> None:
        """The next part.

        Raises:
            DataError: a column is of another kind than in the parts before.
        """
        if self._first is None:
            self._first = report
            self._columns = [_Merged(column.name) for column in report.columns]
        for merged, column in zip(self._columns, report.columns, strict=True):
            merged.add(column, self._rows, report.rows)
        self._rows += report.rows

    def finish(self) -> DatasetReport:
        """The report of the whole; its columns point into no tensor."""
        if self._first is None:
            raise DataError("the file has no rows", "empty")
        columns = spare_levels([merged.finish() for merged in self._columns])
        return DatasetReport(
            format=self._first.format,
            rows=self._rows,
            columns=columns,
            warnings=tuple(remarks_on(columns, self._rows)),
        )


@dataclass(slots=True)
class _Merged:
    """One column."""

    name: str
    kind: str | None = None
    """None while every cell is missing."""
    last: ColumnReport | None = None
    is_integral: bool = True
    count: int = 0
    """Finite numbers."""
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared deviations from the mean."""
    levels: dict[str, int] | None = field(default_factory=dict)
    """Rows of each level; None once there are too many, or once a part did not list its own."""
    ranges: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    rates: set[int] = field(default_factory=set)
    flaws: dict[str, Flaw] = field(default_factory=dict)

    def add(self, column: ColumnReport, rows_before: int, rows: int) -> None:
        for flaw in column.flaws:
            self._add_flaw(flaw, rows_before)
        self.last = self.last or column
        if sum(flaw.count for flaw in column.flaws if flaw.kind == "missing") == rows:
            return
        self._take_kind(column)
        self._add_levels(column)
        self.is_integral = self.is_integral and column.integral
        if column.mean is not None and column.standard_deviation is not None:
            self._add_moments(rows - sum(flaw.count for flaw in column.flaws), column.mean, column.standard_deviation)
        elif column.kind == "numeric":
            self.count, self.mean, self.squares = 1, math.nan, math.nan
        for name, value in (("values", (column.minimum, column.maximum)), ("steps", (column.shortest, column.longest))):
            self._widen(name, value)
        for name in ("heights", "widths", "seconds"):
            self._widen(name, getattr(column, name) or (None, None))
        self.rates.update(column.rates or ())

    def _take_kind(self, column: ColumnReport) -> None:
        known = {"category", "text"}
        if self.kind is None or self.kind == column.kind:
            self.kind, self.last = column.kind, column
        elif {self.kind, column.kind} == known:
            self.kind = "text"
        else:
            raise DataError(
                f"column '{self.name}' begins as {self.kind} and goes on as {column.kind}",
                "mixed_column",
                None,
                self.name,
            )
        if self.last is not None and column.channels != self.last.channels:
            if column.kind != "image":
                raise DataError(f"column '{self.name}': steps of different width", "mixed_column", None, self.name)
            self.last = max(self.last, column, key=lambda one: one.channels or 0)

    def _add_levels(self, column: ColumnReport) -> None:
        if self.levels is None:
            return
        if column.levels is None:
            self.levels = None
            return
        for level, count in zip(column.levels, column.level_counts or (), strict=True):
            self.levels[level] = self.levels.get(level, 0) + count
        if len(self.levels) > DISTINCT_LIMIT:
            self.levels = None
            if self.kind == "category":
                self.kind = "text"

    def _add_moments(self, count: int, mean: float, deviation: float) -> None:
        """Chan, Golub and LeVeque 1979."""
        total = self.count + count
        if total == 0:
            return
        gap = mean - self.mean
        self.mean += gap * count / total
        self.squares += deviation * deviation * count + gap * gap * self.count * count / total
        self.count = total

    def _widen(self, name: str, value: tuple[Any, Any]) -> None:
        if value[0] is None:
            return
        low, high = self.ranges.get(name, value)
        self.ranges[name] = (min(low, value[0]), max(high, value[1]))

    def _add_flaw(self, flaw: Flaw, rows_before: int) -> None:
        rows = tuple(row + rows_before for row in flaw.first_rows)
        before = self.flaws.get(flaw.kind)
        if before is not None:
            flaw = flaw.model_copy(update={"count": before.count + flaw.count})
            rows = (*before.first_rows, *rows)[:_FIRST_ROWS]
        self.flaws[flaw.kind] = flaw.model_copy(update={"first_rows": rows})

    def finish(self) -> ColumnReport:
        kind: Any = self.kind or "text"
        is_number, has_levels = kind == "numeric", kind in ("numeric", "category") and bool(self.levels)
        levels = _sorted(self.levels or {}, is_number=is_number) if has_levels else []
        low, high = self.ranges.get("values", (None, None))
        shortest, longest = self.ranges.get("steps", (None, None))
        return ColumnReport(
            name=self.name,
            kind=kind,
            integral=is_number and self.is_integral,
            group=None if self.last is None else self.last.group,
            # Parts list no fractions, so how many there are is not known, unless it is one.
            distinct=len(levels) or (1 if is_number and low is not None and low == high else None),
            levels=tuple(levels) or None,
            level_counts=tuple((self.levels or {})[level] for level in levels) or None,
            minimum=low,
            maximum=high,
            mean=self.mean if is_number and math.isfinite(self.mean) else None,
            standard_deviation=self._deviation() if is_number else None,
            channels=None if self.last is None else self.last.channels,
            heights=self.ranges.get("heights"),
            widths=self.ranges.get("widths"),
            rates=tuple(sorted(self.rates)[:_MOST_RATES]) or None,
            seconds=self.ranges.get("seconds"),
            shortest=shortest,
            longest=longest,
            flaws=tuple(self.flaws.values()),
        )

    def _deviation(self) -> float | None:
        if not self.count or not math.isfinite(self.squares):
            return None
        return math.sqrt(self.squares / self.count)


def _sorted(levels: Iterable[str], *, is_number: bool) -> Sequence[str]:
    """Codes follow the numbers' order, or that of the texts."""
    return sorted(levels, key=number_of_level) if is_number else sorted(levels)
