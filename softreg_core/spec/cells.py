"""What a dataset's report says of single cells that training cannot take; torch-free."""

from __future__ import annotations

from collections.abc import Iterable

from softreg_core.data.report import EXACT_INTEGERS, ColumnReport
from softreg_core.errors import Problem
from softreg_core.spec.data import ImputeSpec
from softreg_core.spec.train import TrainSpec

__all__ = ["flawed_cells", "indicated_columns", "is_rounded", "oversized_cells"]

_FLAW_WORDS = {
    "missing": "missing value",
    "text_in_numbers": "text in a numeric column",
    "non_finite": "NaN or infinite value",
}
_LARGEST_FLOAT32 = 3.4028234663852886e38
# The square of a float64 overflows soon after, and with it every variance.
_LARGEST_STANDARDIZED = 1e150


def flawed_cells(columns: Iterable[ColumnReport]) -> list[Problem]:
    """One problem per column and kind of flaw, naming the first rows."""
    problems = []
    for column in columns:
        for flaw in column.flaws:
            rows = ", ".join(str(row) for row in flaw.first_rows)
            more = "" if flaw.count <= len(flaw.first_rows) else f" and {flaw.count - len(flaw.first_rows)} more"
            message = f"column '{column.name}', row{'s' * (flaw.count > 1)} {rows}{more}: {_FLAW_WORDS[flaw.kind]}"
            problems.append(Problem("/dataset", message))
    return problems


def indicated_columns(spec: TrainSpec, columns: Iterable[ColumnReport]) -> frozenset[str]:
    """Of which columns of numbers a further one says where a cell is missing: those with such cells in the dataset."""
    if spec.task.missing != "impute" or not (spec.preprocess.impute or ImputeSpec()).indicator:
        return frozenset()
    return frozenset(column.name for column in columns if column.kind == "numeric" and column.flaws)


def oversized_cells(columns: Iterable[ColumnReport], *, is_standardized: bool) -> list[Problem]:
    """One problem per column with a value that is too large to be trained on."""
    if is_standardized:
        limit, why = _LARGEST_STANDARDIZED, "the square of such a number overflows; rescale the column"
    else:
        limit, why = _LARGEST_FLOAT32, "float32 ends there; standardise or rescale the column"
    return [
        Problem("/dataset", f"column '{column.name}' has values beyond {limit:.4g}: {why}")
        for column in columns
        if _size(column) > limit
    ]


def is_rounded(column: ColumnReport) -> bool:
    """Whether whole numbers of the column were rounded when they were read, so that two may have become one."""
    return column.integral and column.levels is None and _size(column) >= EXACT_INTEGERS


def _size(column: ColumnReport) -> float:
    return max(abs(column.minimum or 0.0), abs(column.maximum or 0.0))
