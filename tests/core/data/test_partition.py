"""The split: every row once, classes in proportion, and the same rows for ever."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from softreg_core.data.partition import partition
from softreg_core.keyed import permutation
from softreg_core.spec.split import SplitSizes, shares_of

CLASSES = st.lists(st.integers(1, 40), min_size=1, max_size=8)


@settings(deadline=None)
@given(counts=CLASSES, data=st.data(), seed=st.integers(0, 2**63 - 1))
def test_every_row_is_in_one_part_and_every_class_keeps_its_share(counts, data, seed):
    rows = sum(counts)
    validation = data.draw(st.integers(0, rows - 1))
    test = data.draw(st.integers(0, rows - 1 - validation))
    codes = np.repeat(np.arange(len(counts)), counts)[permutation(rows, 1)]
    sizes = SplitSizes(rows - validation - test, validation, test)
    parts = partition(rows, sizes, seed, codes)
    assert tuple(len(part) for part in parts) == tuple(sizes)
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
    assert all((np.diff(part) > 0).all() for part in parts)
    for code, count in enumerate(counts):
        got = int((codes[parts.validation] == code).sum())
        assert abs(got - validation * count / rows) < 1.0


@given(counts=CLASSES, data=st.data())
def test_largest_remainder_gives_out_exactly_the_size_and_never_more_than_there_is(counts, data):
    size = data.draw(st.integers(0, sum(counts)))
    shares = shares_of(size, counts)
    assert sum(shares) == size
    assert all(0 <= share <= count for share, count in zip(shares, counts, strict=True))


def test_remainders_decide_and_ties_go_to_the_larger_class():
    assert shares_of(10, [33, 33, 34]) == [3, 3, 4]
    assert shares_of(1, [2, 4, 4]) == [0, 1, 0]
    assert shares_of(3, [5, 5]) == [2, 1]
    assert shares_of(0, [0, 0]) == [0, 0]


def test_without_classes_the_parts_are_drawn_from_all_rows():
    parts = partition(100, SplitSizes(70, 20, 10), seed=3)
    assert tuple(len(part) for part in parts) == (70, 20, 10)
    assert sorted(np.concatenate(parts).tolist()) == list(range(100))


def test_the_seed_and_nothing_else_decides_the_split():
    sizes = SplitSizes(8, 2, 0)
    np.random.default_rng().random(5)
    assert partition(10, sizes, 0).validation.tolist() == partition(10, sizes, 0).validation.tolist()
    assert {tuple(partition(10, sizes, seed).validation.tolist()) for seed in range(20)} != {(0, 1)}


def test_stored_splits_stay_valid():
    """Written down once: a model's validation rows are derived again from dataset and spec, years later."""
    assert permutation(10, 0, "split").tolist() == [4, 1, 8, 3, 5, 9, 0, 2, 7, 6]
    assert partition(10, SplitSizes(7, 2, 1), 7).validation.tolist() == [3, 8]
