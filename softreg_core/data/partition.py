"""Dividing rows into training, validation and test: a pure function of counts, seed and classes; NumPy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg_core.keyed import permutation
from softreg_core.spec.split import SplitSizes, class_sizes

__all__ = ["SplitRows", "partition"]


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
    parts: tuple[list[NDArray[np.int64]], ...] = ([], [], [])
    for group, share in zip(groups, class_sizes([group.size for group in groups], sizes), strict=True):
        ends = [share.validation, share.validation + share.test]
        for part, chosen in zip(parts, np.split(group, ends), strict=True):
            part.append(chosen)
    chosen_validation, chosen_test, chosen_train = (np.sort(np.concatenate(part)) for part in parts)
    return SplitRows(chosen_train, chosen_validation, chosen_test)
