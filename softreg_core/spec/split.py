"""How many rows each part of a split gets; the same arithmetic for the check at submit and the split itself."""

from __future__ import annotations

from typing import NamedTuple

from softreg_core.spec.data import SplitSpec

__all__ = ["SplitSizes", "split_sizes"]


class SplitSizes(NamedTuple):
    """Row counts."""

    train: int
    validation: int
    test: int


def split_sizes(rows: int, split: SplitSpec) -> SplitSizes:
    """Shares rounded to the nearest row, at least one row for a share above 0; training gets the rest.

    `train` may come out as 0 or negative when there are too few rows: the caller refuses that.
    """
    validation, test = (max(1, round(rows * share)) if share > 0 else 0 for share in (split.validation, split.test))
    return SplitSizes(rows - validation - test, validation, test)
