"""Dividing rows into training, validation and test: a pure function of counts, seed and classes; NumPy only."""

# N rows, G groups, C classes, P parts

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg_core.errors import DataError
from softreg_core.keyed import permutation
from softreg_core.spec.split import SplitSizes, class_sizes

__all__ = ["SplitRows", "fold_partition", "group_partition", "partition"]


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


def fold_partition(
    rows: int, test: int, folds: int, fold: int, seed: int, codes: NDArray[np.int64] | None = None
) -> SplitRows:
    """One of K folds validates, and the others train.

    The test rows are drawn first and are the same for every fold. The rest is dealt out like cards, in the order of
    the draw and class by class: folds differ by one row at most, and so do each class's shares in them.

    Args:
        rows: how many there are.
        test: how many of them are tested.
        folds: K.
        fold: which one validates, from 0.
        seed: decides the draw.
        codes: class codes (rows,) when every class is to keep its share.
    """
    tested = partition(rows, SplitSizes(rows - test, 0, test), seed, codes).test
    order = permutation(rows, seed, "split")
    is_tested = np.zeros(rows, dtype=bool)
    is_tested[tested] = True
    dealt = order[~is_tested[order]]
    if codes is not None:
        dealt = dealt[np.argsort(codes[dealt], kind="stable")]
    validates = np.arange(dealt.size) % folds == fold
    return SplitRows(np.sort(dealt[~validates]), np.sort(dealt[validates]), tested)


def group_partition(
    groups: NDArray[np.int64],
    sizes: SplitSizes,
    seed: int,
    codes: NDArray[np.int64] | None = None,
    folds: tuple[int, int] | None = None,
) -> SplitRows:
    """Draw the parts so that no group is in two of them.

    Args:
        groups: (N,) group of each row, from 0, without gaps.
        sizes: how many rows each part should get; met as well as the groups allow.
        seed: decides the draw.
        codes: class codes (N,) when every class should keep its share, as well as the groups allow.
        folds: K and which fold validates, from 0; the test rows are drawn first and are the same for every fold.

    Raises:
        DataError: there are fewer groups than parts (reason `too_few_groups`).
    """
    counts_GC = _counts(groups, codes)
    if folds is None:
        wanted = [size for size in sizes if size]
        names = [part for part, size in enumerate(sizes) if size]
        part_of_G = np.array(names)[_dealt_groups(counts_GC, wanted, seed)]
    else:
        count, fold = folds
        part_of_G = np.full(len(counts_GC), 2)
        rest = np.arange(len(counts_GC))
        if sizes.test:
            rest = rest[_dealt_groups(counts_GC, [groups.size - sizes.test, sizes.test], seed) == 0]
        fold_of_rest = _dealt_groups(counts_GC[rest], [int(counts_GC[rest].sum()) / count] * count, seed)
        part_of_G[rest] = fold_of_rest == fold
    part_of_N = part_of_G[groups]
    train, validation, test = (np.flatnonzero(part_of_N == part) for part in range(3))
    return SplitRows(train, validation, test)


def _counts(groups: NDArray[np.int64], codes: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """(G, C) rows of each class in each group; without classes, C is 1."""
    codes = np.zeros_like(groups) if codes is None else codes
    shape = int(groups.max()) + 1, int(codes.max()) + 1
    return np.bincount(groups * shape[1] + codes, minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)


def _dealt_groups(counts_GC: NDArray[np.int64], wanted_P: list[int] | list[float], seed: int) -> NDArray[np.int64]:
    """The part of each group: large groups first, each to the part that it brings nearest to what is wanted.

    Near is the sum of (rows - wanted)^2 / wanted over parts and classes. Groups of one size come in drawn order.
    """
    count, parts = len(counts_GC), len(wanted_P)
    if count < parts:
        message = f"there are {count} groups and {parts} parts, and a group cannot be in two"
        raise DataError(message, "too_few_groups")
    order = permutation(count, seed, "split")
    order = order[np.argsort(-counts_GC.sum(axis=1)[order], kind="stable")]
    wanted = np.array(wanted_P, dtype=np.float64)
    shares_C = counts_GC.sum(axis=0) / counts_GC.sum()
    open_PC = wanted[:, np.newaxis] * shares_C  # rows that each part still lacks
    part_of_G = np.empty(count, dtype=np.int64)
    empty = set(range(parts))
    for left, group in zip(range(count, 0, -1), order.tolist(), strict=True):
        own_C = counts_GC[group]
        cost_P = (own_C @ own_C - 2.0 * (open_PC @ own_C)) / wanted
        if len(empty) == left:  # none may go out empty
            cost_P[[part for part in range(parts) if part not in empty]] = np.inf
        part = int(cost_P.argmin())
        part_of_G[group] = part
        open_PC[part] -= own_C
        empty.discard(part)
    return part_of_G
