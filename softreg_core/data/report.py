"""What is known of a dataset after it was read: its shape, and for each column its type and its flaws; torch-free.

A report holds counts and row numbers, never cell values (class labels excepted), so that it can be shown and logged.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from softreg_core.data.request import Format

__all__ = ["EXACT_INTEGERS", "ColumnReport", "DatasetReport", "Flaw"]

EXACT_INTEGERS = 2.0**53
"""From here on a float64 may stand for a neighbour that it skips."""


class Flaw(BaseModel):
    """Cells of one column that cannot be used: how many, and the first rows (counted from 1, header not counted)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["missing", "text_in_numbers", "non_finite"]
    count: Annotated[int, Field(ge=1)]
    first_rows: tuple[int, ...]
    """At most five, ascending."""


class ColumnReport(BaseModel):
    """One column; a wide array of an NPZ file is reported as one column per feature."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["numeric", "category", "text"]
    """`numeric`: numbers (booleans as 0 and 1); `category`: few distinct texts; `text`: many, kept out of training."""
    integral: bool = False
    """Numeric, and every finite value is a whole number."""
    group: str | None = None
    """The NPZ array that this column belongs to (`features`, `target`)."""
    tensor: str | None = None
    """Name of the tensor in the stored file that holds the column; None for `text`."""
    position: int | None = None
    """The column's index along that tensor's second axis."""
    distinct: int | None = None
    """Number of different values; None above `DISTINCT_LIMIT` of softreg_core.data.request."""
    levels: tuple[str, ...] | None = None
    """The different values as text, in the order of their codes; for categories and small whole-number columns."""
    level_counts: tuple[int, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    flaws: tuple[Flaw, ...] = ()


class DatasetReport(BaseModel):
    """A dataset: rows, columns in file order, and remarks for the reader."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format
    rows: Annotated[int, Field(ge=1)]
    columns: tuple[ColumnReport, ...]
    warnings: tuple[str, ...] = ()
