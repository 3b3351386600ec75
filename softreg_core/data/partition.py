"""Dividing rows into training, validation and test: a pure function of counts, seed and classes; NumPy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg_core.keyed import permutation
from softreg_core.spec.split import SplitSizes

__all__ = ["SplitRows", "partition", "shares_of"]


class SplitRows(NamedTuple):
    """Row numbers from 0, ascending, int64; every row is in exactly one part."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def partition(rows: int, sizes: SplitSizes, seed: int, codes: NDArray[np.int64] | None = None) -> SplitRows:
    """Draw the parts.

    Args:
        rows: how many there are.
        sizes: how many each part gets.
        seed: decides the draw.
        codes: class codes (rows,) when every class is to keep its share in each part.
    """
    order = permutation(rows, seed, "split")
    groups = [order] if codes is None else [order[codes[order] == code] for code in range(int(codes.max()) + 1)]
    counts = [group.size for group in groups]
    validation = shares_of(sizes.validation, counts)
    # Test rows come out of what validation left, so that a small class cannot be promised twice.
    test = shares_of(sizes.test, [count - taken for count, taken in zip(counts, validation, strict=True)])
    parts: tuple[list[NDArray[np.int64]], ...] = ([], [], [])
    for group, first, second in zip(groups, validation, test, strict=True):
        for part, chosen in zip(parts, np.split(group, [first, first + second]), strict=True):
            part.append(chosen)
    chosen_validation, chosen_test, chosen_train = (np.sort(np.concatenate(part)) for part in parts)
    return SplitRows(chosen_train, chosen_validation, chosen_test)


def shares_of(size: int, counts: list[int]) -> list[int]:
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
