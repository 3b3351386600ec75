"""What is known of a dataset after it was read: its shape, and for each column its type and its flaws; torch-free.

A report holds counts and row numbers, never cell values (class labels excepted), so that it can be shown and logged.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from softreg_core.data.request import Format

__all__ = ["EXACT_INTEGERS", "ColumnReport", "DatasetReport", "Flaw", "number_of_level"]

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
    """One column; a wide array of an NPZ file is reported as one column per feature.

    A figure that does not apply is None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["numeric", "category", "text", "image", "sound", "sequence"]
    """`numeric`: numbers (booleans as 0 and 1); `category`: few distinct texts; `text`: many, or long ones; `image`:
    pixels; `sound`: samples of one channel; `sequence`: steps, each with the same number of values."""
    integral: bool = False
    """Numeric, and every finite value is a whole number."""
    group: str | None = None
    """The array that this column belongs to: `features` or `target` of an NPZ file, or a column of lists."""
    tensor: str | None = None
    """Name of the tensor in the stored file that holds the column (softreg_core.data.table); None when none does."""
    position: int | None = None
    """The column's index along that tensor's second axis; numbers and categories only."""
    distinct: int | None = None
    """Number of different values; None above `DISTINCT_LIMIT` of softreg_core.data.request."""
    levels: tuple[str, ...] | None = None
    """The different values as text, in the order of their codes; for categories and small whole-number columns."""
    level_counts: tuple[int, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    channels: int | None = None
    """Images: 1 (gray) or 3 (colours). Sequences: values of one step."""
    heights: tuple[int, int] | None = None
    """Images: pixels of the lowest and of the highest."""
    widths: tuple[int, int] | None = None
    """Images: pixels of the narrowest and of the widest."""
    rates: tuple[int, ...] | None = None
    """Sounds: the sampling rates that occur, in samples a second, ascending."""
    seconds: tuple[float, float] | None = None
    """Sounds: how long the shortest and the longest last."""
    shortest: int | None = None
    """Sequences: steps of the shortest row. Texts: characters of the shortest."""
    longest: int | None = None
    """Sequences: steps of the longest row. Texts: characters of the longest."""
    flaws: tuple[Flaw, ...] = ()


class DatasetReport(BaseModel):
    """A dataset: rows, columns in file order, and remarks for the reader."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format
    rows: Annotated[int, Field(ge=1)]
    columns: tuple[ColumnReport, ...]
    warnings: tuple[str, ...] = ()


def number_of_level(level: str) -> int:
    """What a level of a numeric column stands for; true and false are 1 and 0."""
    return {"false": 0, "true": 1}[level] if level in ("false", "true") else int(level)
