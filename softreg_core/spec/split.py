"""How many rows each part of a split gets; the same arithmetic for the check at submit and the split itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from softreg_core.spec.data import SplitSpec

__all__ = ["SplitSizes", "class_sizes", "fold_class_sizes", "shares_of", "split_sizes"]


class SplitSizes(NamedTuple):
    """Row counts."""

    train: int
    validation: int
    test: int


def split_sizes(rows: int, split: SplitSpec) -> SplitSizes:
    """Shares rounded to the nearest row, at least one row for a share above 0; training gets the rest.

    Of folds, the first ones are one row larger where they cannot all be equal. `train` may come out as 0 or negative
    when there are too few rows: the caller refuses that.
    """
    test = _rounded(rows, split.test)
    if split.folds is None:
        validation = _rounded(rows, split.validation)
    else:
        validation = max(1, _dealt(rows - test, split.folds, split.fold))
    return SplitSizes(rows - validation - test, validation, test)


def _rounded(rows: int, share: float) -> int:
    return max(1, round(rows * share)) if share > 0 else 0


def _dealt(rows: int, folds: int, fold: int) -> int:
    """How many of `range(rows)` are `fold` modulo `folds`."""
    return (rows + folds - 1 - fold) // folds


def class_sizes(counts: Sequence[int], sizes: SplitSizes) -> list[SplitSizes]:
    """How many rows of each class each part gets when every class keeps its share; `counts` are the classes' rows."""
    validation = shares_of(sizes.validation, counts)
    # Test rows come out of what validation left, so that a small class cannot be promised twice.
    test = shares_of(sizes.test, [count - taken for count, taken in zip(counts, validation, strict=True)])
    return [
        SplitSizes(count - first - second, first, second)
        for count, first, second in zip(counts, validation, test, strict=True)
    ]


def fold_class_sizes(counts: Sequence[int], test: int, folds: int, fold: int) -> list[SplitSizes]:
    """The same for K folds: what is not tested is dealt out class by class, one row to each fold in turn."""
    tested = [share.test for share in class_sizes(counts, SplitSizes(sum(counts) - test, 0, test))]
    found, start = [], 0
    for count, taken in zip(counts, tested, strict=True):
        end = start + count - taken
        validation = _dealt(end, folds, fold) - _dealt(start, folds, fold)
        found.append(SplitSizes(end - start - validation, validation, taken))
        start = end
    return found


def shares_of(size: int, counts: Sequence[int]) -> list[int]:
    """`size` divided in proportion to `counts` by largest remainder; never more than a count.

    Whole numbers throughout, so that no rounding differs between machines. Equal remainders go to the larger
    class, then to the lower code.
    """
    total = sum(counts)
    if total == 0:
        return [0] * len(counts)
    shares = [size * count // total for count in counts]
    by_remainder = sorted(
        range(len(counts)), key=lambda index: (-(size * counts[index] % total), -counts[index], index)
    )
    for index in by_remainder[: size - sum(shares)]:
        shares[index] += 1
    return shares
