"""A table that was read: its tensors and its report, and how both become one safetensors file; NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from softreg_core.data.formats.flat_columns import FlatColumn
from softreg_core.data.report import EXACT_INTEGERS, ColumnReport, DatasetReport, Flaw
from softreg_core.data.request import Format, ParseLimits
from softreg_core.data.summary import Tally, numeric_report
from softreg_core.errors import DataError

__all__ = [
    "CategoryColumn",
    "Column",
    "NumericColumn",
    "ParsedTable",
    "TextColumn",
    "empty_column",
    "parsed_table",
    "remarks_on",
    "spare_levels",
]

LEVELS_OF_NUMBERS = 200_000
"""Levels of numeric columns that a report lists in all; more would make every reply about the dataset heavy."""
_MOST_REMARKS = 20


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """A column of numbers; NaN for every cell that cannot be used."""

    name: str
    values: NDArray[np.float64]
    flaws: tuple[Flaw, ...] = ()
    is_boolean: bool = False
    group: str | None = None


@dataclass(frozen=True, slots=True)
class CategoryColumn:
    """A column of few different texts: sorted levels, and per row the level's index or -1."""

    name: str
    codes: NDArray[np.int32]
    levels: tuple[str, ...]
    flaws: tuple[Flaw, ...] = ()
    resembles_numbers: bool = False


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of texts, stored unless every cell is missing or the texts were given up for numbers."""

    name: str
    flaws: tuple[Flaw, ...] = ()
    distinct: int | None = None
    stored: FlatColumn | None = None
    resembles_numbers: bool = False


def empty_column(name: str, rows: int) -> TextColumn:
    """A column without any value, whose kind nobody can tell."""
    missing = Tally("missing")
    missing.add(np.ones(rows, dtype=bool), 0)
    return TextColumn(name, missing.flaws(), distinct=0)


Column = NumericColumn | CategoryColumn | TextColumn | FlatColumn
"""A column of any kind."""


@dataclass(frozen=True, slots=True)
class ParsedTable:
    """Tensors by name (softreg_core.data.table), and the report that says which column lies where."""

    tensors: dict[str, NDArray[Any]]
    report: DatasetReport

    def report_json(self, limits: ParseLimits) -> str:
        """The report as JSON, after a look at the sizes of what would be stored.

        Raises:
            DataError: report or table is larger than a stored dataset may be.
        """
        text = self.report.model_dump_json()
        if len(text.encode()) > limits.report_bytes:
            raise DataError(
                f"the columns have too many levels: their report is over {limits.report_bytes} bytes",
                "report_too_large",
            )
        size = sum(tensor.nbytes for tensor in self.tensors.values()) + 2 * len(text.encode())
        if size > limits.output_bytes:
            raise DataError(f"the table needs over {limits.output_bytes} bytes as numbers", "too_expensive")
        return text

    def write(self, path: Path, report_json: str) -> None:
        """Store tensors and report in one safetensors file."""
        save_file(self.tensors, path, metadata={"softreg.report": report_json})


def parsed_table(
    columns: Sequence[Column],
    *,
    file_format: Format,
    rows: int,
    warnings: Sequence[str] = (),
) -> ParsedTable:
    """Columns as tensors, `numbers`, `codes` and `flat.I` for the I-th column if of another kind, and their report."""
    numbers: list[NDArray[np.float64]] = []
    codes: list[NDArray[np.int32]] = []
    tensors: dict[str, NDArray[Any]] = {}
    reports: list[ColumnReport] = []
    for index, column in enumerate(columns):
        match column:
            case NumericColumn():
                reports.append(_numeric(column, len(numbers)))
                numbers.append(column.values)
            case CategoryColumn():
                reports.append(_category(column, len(codes)))
                codes.append(column.codes)
            case TextColumn(stored=None):
                reports.append(
                    ColumnReport(name=column.name, kind="text", distinct=column.distinct, flaws=column.flaws)
                )
            case TextColumn(stored=flat) | (FlatColumn() as flat):
                assert flat is not None  # noqa: S101 - the case before
                reports.append(flat.report(f"flat.{index}"))
                tensors |= {f"flat.{index}{suffix}": values for suffix, values in flat.tensors.items()}
    stacks: dict[str, Sequence[NDArray[Any]]] = {"numbers": numbers, "codes": codes}
    tensors |= {name: np.stack(stack, axis=1) for name, stack in stacks.items() if stack}
    remarks = (*warnings, *_remarks_on_texts(columns), *remarks_on(reports, rows))
    return ParsedTable(
        tensors, DatasetReport(format=file_format, rows=rows, columns=spare_levels(reports), warnings=remarks)
    )


def spare_levels(columns: Sequence[ColumnReport]) -> tuple[ColumnReport, ...]:
    """The columns, numeric ones with many levels without them once LEVELS_OF_NUMBERS are listed.

    Columns with few levels come first, and later ones before earlier: a target of classes keeps its levels.
    """
    spared = list(columns)
    numeric = [index for index, column in enumerate(columns) if column.kind == "numeric" and column.levels]
    room = LEVELS_OF_NUMBERS
    for index in sorted(numeric, key=lambda index: (len(columns[index].levels or ()), -index)):
        room -= len(columns[index].levels or ())
        if room < 0:
            spared[index] = columns[index].model_copy(update={"levels": None, "level_counts": None})
    return tuple(spared)


def _numeric(column: NumericColumn, position: int) -> ColumnReport:
    return numeric_report(
        column.name,
        column.values,
        tensor="numbers",
        position=position,
        group=column.group,
        flaws=column.flaws,
        is_boolean=column.is_boolean,
    )


def _category(column: CategoryColumn, position: int) -> ColumnReport:
    present = column.codes[column.codes >= 0]
    return ColumnReport(
        name=column.name,
        kind="category",
        tensor="codes",
        position=position,
        distinct=len(column.levels),
        levels=column.levels,
        level_counts=tuple(np.bincount(present, minlength=len(column.levels)).tolist()),
        flaws=column.flaws,
    )


def remarks_on(columns: Sequence[ColumnReport], rows: int) -> list[str]:
    """What a reader of the report should know and no single count says."""
    remarks = []
    for column in columns:
        largest = max(abs(column.minimum or 0.0), abs(column.maximum or 0.0))
        if column.integral and largest >= EXACT_INTEGERS:
            remarks.append(f"column '{column.name}' has whole numbers from 2^53 on, which float64 rounds")
        if any(flaw.kind == "missing" and flaw.count == rows for flaw in column.flaws):
            remarks.append(f"column '{column.name}' is empty")
    return _first(remarks)


def _remarks_on_texts(columns: Sequence[Column]) -> list[str]:
    remarks = []
    for column in columns:
        if isinstance(column, CategoryColumn | TextColumn) and column.resembles_numbers:
            remarks.append(
                f"column '{column.name}' was read as text: its cells look like numbers with separators, percent or "
                "currency signs; write plain numbers, such as 1000 or 0.05"
            )
        if isinstance(column, TextColumn) and column.stored is None and column.distinct is None:
            remarks.append(f"column '{column.name}' was not stored: its cells are numbers at first and texts later")
    return _first(remarks)


def _first(remarks: list[str]) -> list[str]:
    left_out = len(remarks) - _MOST_REMARKS
    return [*remarks[:_MOST_REMARKS], f"and {left_out} more remarks of this kind"] if left_out > 0 else remarks
