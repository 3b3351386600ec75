"""What a report says of one column of numbers: its range, its moments, its different values; NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.report import EXACT_INTEGERS, ColumnReport, Flaw
from softreg_core.data.request import DISTINCT_LIMIT

__all__ = ["Tally", "numeric_report"]

_FIRST_ROWS = 5
_SAMPLE_ROWS = 4096
"""Looked at first: most columns of measurements have too many different values already here."""


@dataclass(slots=True)
class Tally:
    """Counts the cells with one kind of flaw, block by block, and keeps the first row numbers."""

    kind: Literal["missing", "text_in_numbers", "non_finite"]
    count: int = 0
    first_rows: list[int] = field(default_factory=list)

    def add(self, mask: NDArray[np.bool_], rows_before: int) -> None:
        """`mask` marks the flawed cells of the next block, which follows `rows_before` rows."""
        found = int(np.count_nonzero(mask))
        if not found:
            return
        self.count += found
        room = _FIRST_ROWS - len(self.first_rows)
        if room:
            self.first_rows.extend(rows_before + 1 + int(row) for row in np.flatnonzero(mask)[:room])

    def add_row(self, row: int) -> None:
        """One more flawed cell, in the row of this number, counted from 0."""
        self.count += 1
        if len(self.first_rows) < _FIRST_ROWS:
            self.first_rows.append(row + 1)

    def flaws(self) -> tuple[Flaw, ...]:
        """The report's entry, or nothing when no cell has the flaw."""
        return (Flaw(kind=self.kind, count=self.count, first_rows=tuple(self.first_rows)),) if self.count else ()


def numeric_report(
    name: str,
    values: NDArray[Any],
    *,
    tensor: str,
    position: int,
    group: str | None = None,
    flaws: tuple[Flaw, ...] = (),
    is_boolean: bool = False,
) -> ColumnReport:
    """Describe a numeric column by its finite values.

    Args:
        name: the column's name.
        values: (rows,) numbers or truth values; NaN and infinities are left out of every figure.
        tensor: name of the stored tensor that holds the column.
        position: the column's index along that tensor's second axis.
        group: the array the column was cut from.
        flaws: what is wrong with single cells.
        is_boolean: the levels are called `false` and `true`, not 0 and 1.
    """
    finite = values[np.isfinite(values)]
    integral = bool(finite.size) and _is_integral(finite)
    distinct, counts = _distinct(finite)
    levels = None
    if distinct is not None and integral:
        levels = _level_names(distinct, is_boolean=is_boolean or values.dtype.kind == "b")
    return ColumnReport(
        name=name,
        kind="numeric",
        integral=integral,
        group=group,
        tensor=tensor,
        position=position,
        distinct=None if distinct is None else int(distinct.size),
        levels=levels,
        level_counts=None if levels is None else tuple(counts.tolist()),
        flaws=flaws,
        **_moments(finite),
    )


def _is_integral(finite: NDArray[Any]) -> bool:
    return finite.dtype.kind != "f" or bool(np.all(finite == np.trunc(finite)))


def _distinct(finite: NDArray[Any]) -> tuple[NDArray[Any] | None, NDArray[np.intp]]:
    """The different values, ascending, with how often each occurs; None above DISTINCT_LIMIT."""
    none = np.empty(0, dtype=np.intp)
    if finite.size > _SAMPLE_ROWS and np.unique(finite[:_SAMPLE_ROWS]).size > DISTINCT_LIMIT:
        return None, none
    # Adding zero makes -0.0 the same level as 0.0.
    found, counts = np.unique(finite + 0.0 if finite.dtype.kind == "f" else finite, return_counts=True)
    return (found, counts) if found.size <= DISTINCT_LIMIT else (None, none)


def _level_names(distinct: NDArray[Any], *, is_boolean: bool) -> tuple[str, ...] | None:
    if is_boolean:
        return tuple("true" if value else "false" for value in distinct)
    if distinct.dtype.kind == "f" and bool(np.any(np.abs(distinct) >= EXACT_INTEGERS)):
        return None
    return tuple(str(int(value)) for value in distinct)


def _moments(finite: NDArray[Any]) -> dict[str, float | None]:
    """Range, mean and standard deviation (dividing by the number of values); None where there is no finite one."""
    names = ("minimum", "maximum", "mean", "standard_deviation")
    if not finite.size:
        return dict.fromkeys(names)
    # A column near the largest float64 overflows its sums: then the figure is unknown, not infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        figures = (finite.min(), finite.max(), finite.mean(dtype=np.float64), finite.std(dtype=np.float64))
    return {name: float(figure) if np.isfinite(figure) else None for name, figure in zip(names, figures, strict=True)}
