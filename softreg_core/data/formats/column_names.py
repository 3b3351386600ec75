"""What a column may be called, in whatever format; standard library only."""

from __future__ import annotations

from collections.abc import Sequence

from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

__all__ = ["check_names"]


def check_names(names: Sequence[str], limits: ParseLimits, *, hint: str = "") -> None:
    """Hold all names of a file against the limits. `hint` says how a column without a name may have come about.

    Raises:
        DataError: too many, none, too long, twice, or with characters that cannot be shown.
    """
    if len(names) > limits.columns:
        raise DataError(f"{len(names)} columns, more than {limits.columns}", "too_many_columns")
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name:
            raise DataError(f"column {number} has no name{hint}", "column_name")
        if len(name) > limits.name_characters:
            raise DataError(
                f"the name of column {number} has more than {limits.name_characters} characters", "column_name"
            )
        # Names go into replies, logs and headers: the same rule as for every name in a job.
        if any(character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff" for character in name):
            raise DataError(f"the name of column {number} has a control character", "column_name")
        if name in seen:
            raise DataError(f"two columns are named '{name}'", "duplicate_column", column=name)
        seen.add(name)
