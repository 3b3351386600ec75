"""Folds, groups and columns: every row in one part, no group in two, and what cannot be divided is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.partition import fold_partition, group_partition
from softreg_core.data.splits import split_rows
from softreg_core.errors import DataError, SpecError
from softreg_core.keyed import permutation
from softreg_core.spec import TrainSpec, resolve
from softreg_core.spec.data import SplitSpec
from softreg_core.spec.split import SplitSizes, fold_class_sizes, split_sizes

CLASSES = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def shuffled(counts):
    return np.repeat(np.arange(len(counts)), counts)[permutation(sum(counts), 1)]


def assert_every_row_once(parts, rows):
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
    assert all((np.diff(part) > 0).all() for part in parts)


@settings(deadline=None)
@given(counts=CLASSES, folds=st.integers(2, 7), seed=st.integers(0, 2**63 - 1), data=st.data())
def test_every_row_that_is_not_tested_validates_in_exactly_one_fold(counts, folds, seed, data):
    rows = sum(counts)
    test = data.draw(st.integers(0, rows - 1))
    codes = data.draw(st.sampled_from([None, shuffled(counts)]))
    every = [fold_partition(rows, test, folds, fold, seed, codes) for fold in range(folds)]
    for parts in every:
        assert_every_row_once(parts, rows)
        assert parts.test.tolist() == every[0].test.tolist()
    validated = np.concatenate([parts.validation for parts in every])
    assert sorted([*validated.tolist(), *every[0].test.tolist()]) == list(range(rows))


@settings(deadline=None)
@given(counts=CLASSES, folds=st.integers(2, 7), fold=st.integers(0, 6), data=st.data())
def test_the_counts_checked_at_submit_are_those_of_the_fold(counts, folds, fold, data):
    fold %= folds
    rows = sum(counts)
    test = data.draw(st.integers(0, rows - 1))
    codes = shuffled(counts)
    parts = fold_partition(rows, test, folds, fold, 3, codes)
    found = [SplitSizes(*(int((codes[part] == code).sum()) for part in parts)) for code in range(len(counts))]
    assert found == fold_class_sizes(counts, test, folds, fold)


@settings(deadline=None)
@given(rows=st.integers(4, 200), folds=st.integers(2, 6), fold=st.integers(0, 5), test=st.sampled_from([0.0, 0.1, 0.3]))
def test_the_sizes_promised_at_submit_are_those_of_the_fold(rows, folds, fold, test):
    split = SplitSpec(folds=folds, fold=fold % folds, test=test)
    sizes = split_sizes(rows, split)
    if rows - sizes.test >= folds:
        parts = fold_partition(rows, sizes.test, folds, split.fold, split.seed)
        assert tuple(len(part) for part in parts) == tuple(sizes)


@settings(deadline=None)
@given(
    group_sizes=st.lists(st.integers(1, 12), min_size=7, max_size=40),
    seed=st.integers(0, 2**63 - 1),
    folds=st.sampled_from([None, (2, 0), (4, 3)]),
    classes=st.integers(1, 4),
    shares=st.sampled_from([(0.8, 0.2, 0.0), (0.6, 0.2, 0.2), (1.0, 0.0, 0.0), (0.5, 0.0, 0.5)]),
)
def test_no_group_is_in_two_parts_and_no_wanted_part_is_empty(group_sizes, seed, folds, classes, shares):
    groups = shuffled(group_sizes)
    rows = groups.size
    codes = permutation(rows, 5) % classes
    sizes = split_sizes(rows, SplitSpec(train=shares[0], validation=shares[1], test=shares[2]))
    try:
        parts = group_partition(groups, sizes, seed, codes, folds)
    except DataError:
        reject()  # the test rows left fewer groups than folds
    assert_every_row_once(parts, rows)
    of_part = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, of_part)) == len(group_sizes)
    assert of_part[0]
    assert bool(of_part[2]) == (shares[2] > 0)
    assert bool(of_part[1]) == (folds is not None or shares[1] > 0)


def test_groups_of_one_row_are_divided_as_exactly_as_rows():
    parts = group_partition(np.arange(100), SplitSizes(70, 20, 10), seed=1)
    assert tuple(len(part) for part in parts) == (70, 20, 10)


def test_classes_keep_their_shares_as_well_as_groups_allow():
    """Sixty speakers with four rows each; a third of the speakers says nothing but class 1."""
    groups = np.repeat(np.arange(60), 4)
    codes = np.where(groups % 3 == 0, 1, 0)
    parts = group_partition(groups, SplitSizes(192, 48, 0), 0, codes)
    assert len(parts.validation) == 48
    assert codes[parts.validation].mean() == pytest.approx(1 / 3, abs=0.05)


def test_every_group_validates_in_exactly_one_fold():
    groups = shuffled([3, 1, 4, 1, 5, 9, 2, 6, 5, 3])
    every = [group_partition(groups, SplitSizes(0, 0, 0), 7, None, (3, fold)) for fold in range(3)]
    validated = [set(groups[parts.validation].tolist()) for parts in every]
    assert sorted(group for some in validated for group in some) == list(range(10))


def test_fewer_groups_than_parts_are_refused():
    with pytest.raises(DataError) as caught:
        group_partition(np.zeros(10, dtype=np.int64), SplitSizes(8, 2, 0), 0)
    assert caught.value.reason == "too_few_groups"


def test_stored_folds_and_groups_stay_valid():
    """Written down once: a model's validation rows are derived again from dataset and spec, years later."""
    assert fold_partition(10, 2, 3, 1, 7).validation.tolist() == [2, 6, 7]
    assert group_partition(np.arange(12) // 2, SplitSizes(8, 2, 2), 7).validation.tolist() == [0, 1]


def people(rows=40, classes=2):
    """Numbers, and beside them a group and a class."""
    return table_from_arrays(np.column_stack([np.arange(float(rows)), np.arange(rows) // 4]), np.arange(rows) % classes)


def parts_of(table, **split):
    resolution = resolve(TrainSpec.model_validate({"split": split}), table.report)
    return resolution, split_rows(resolution.spec, table)


def test_the_group_column_is_no_feature_and_keeps_its_rows_together():
    table = people()
    resolution, parts = parts_of(table, group="features.1")
    assert resolution.spec.task.features == ("features.0",)
    groups = table.values(["features.1"])[:, 0]
    assert not set(groups[parts.train]) & set(groups[parts.validation])


def test_a_column_of_truth_values_says_who_trains():
    trains = np.arange(40) % 5 > 0
    features = np.arange(40.0)
    table = table_from_arrays(np.column_stack([features, trains]), np.arange(40) % 2)
    resolution, parts = parts_of(table, column="features.1")
    assert parts.validation.tolist() == np.flatnonzero(~trains).tolist()
    assert tuple(resolution.sizes) == (32, 8, 0)
    split = resolution.spec.split
    assert (split.train, split.validation, split.test, split.stratify) == (0.8, 0.2, 0.0, False)
    again = resolve(TrainSpec.model_validate_json(resolution.spec.model_dump_json()), table.report)
    assert again.spec == resolution.spec


def test_a_word_in_the_split_column_that_is_none_of_the_three_is_refused_with_the_nearest():
    from softreg_core.data.report import ColumnReport, DatasetReport

    number = ColumnReport(name="x", kind="numeric", tensor="numbers", position=0)
    pet = ColumnReport(name="pet", kind="category", tensor="codes", position=0, levels=("a", "b"), level_counts=(5, 5))
    part = ColumnReport(
        name="part", kind="category", tensor="codes", position=1, levels=("tests", "train"), level_counts=(5, 5)
    )
    report = DatasetReport(format="csv", rows=10, columns=(number, part, pet))
    with pytest.raises(SpecError) as caught:
        resolve(TrainSpec.model_validate({"split": {"column": "part"}}), report)
    (problem,) = caught.value.problems
    assert problem.pointer == "/split/column"
    assert "'tests'" in problem.message
    assert "did you mean 'test'" in problem.message


def test_a_fold_with_one_class_is_refused_at_submit_where_the_report_tells():
    table = table_from_arrays(np.arange(20.0), np.array([0] * 18 + [1] * 2))
    parts_of(table, folds=2)
    with pytest.raises(SpecError) as caught:
        parts_of(table, folds=5)
    assert caught.value.problems[0].pointer == "/split/folds"
    assert "fold 0 of 5" in caught.value.problems[0].message


def test_a_fold_with_one_class_is_refused_when_only_the_rows_tell():
    table = table_from_arrays(np.arange(20.0), np.array([0] * 18 + [1] * 2))
    outcomes = set()
    for fold in range(5):
        try:
            parts_of(table, folds=5, fold=fold, stratify=False)
            outcomes.add("drawn")
        except DataError as error:
            outcomes.add((error.reason, str(error).partition(":")[0].replace(str(fold), "N", 1)))
    assert outcomes == {"drawn", ("single_class", "fold N of 5")}


@pytest.mark.parametrize(
    "split",
    [
        {"fold": 1},
        {"folds": 3, "fold": 3},
        {"folds": 5, "train": 0.9, "validation": 0.1},
        {"folds": 1},
        {"column": "part", "folds": 3},
        {"column": "part", "group": "who"},
        {"column": "part", "stratify": True},
    ],
)
def test_ways_of_splitting_that_contradict_each_other_are_refused(split):
    with pytest.raises(ValueError, match="split"):
        TrainSpec.model_validate({"split": split})


def test_folds_need_no_shares_and_leave_their_trace_in_the_text():
    split = SplitSpec(folds=5, test=0.1)
    assert (split.train, split.validation) == pytest.approx((0.72, 0.18))
    assert SplitSpec.model_validate_json(split.model_dump_json()) == split
    assert "folds" not in SplitSpec().model_dump()


def test_more_folds_than_rows_are_refused():
    with pytest.raises(SpecError) as caught:
        parts_of(people(rows=8), folds=9, stratify=False)
    assert "/split/folds" in {problem.pointer for problem in caught.value.problems}


def test_fewer_groups_than_parts_are_refused_at_submit_where_the_report_counts_them():
    table = table_from_arrays(np.column_stack([np.arange(40.0), np.arange(40) // 20]), np.arange(40) % 2)
    parts_of(table, group="features.1")
    with pytest.raises(SpecError) as caught:
        parts_of(table, group="features.1", folds=3)
    assert [problem.pointer for problem in caught.value.problems] == ["/split/group"]


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"split": {"group": "target"}}, "/split/group"),
        ({"split": {"column": "features.1"}, "task": {"features": ["features.0", "features.1"]}}, "/split/column"),
        ({"task": {"weight": "target"}}, "/task/weight"),
        ({"task": {"weight": "features.1", "features": ["features.1"]}}, "/task/weight"),
        ({"task": {"weight": "features.2"}}, "/task/weight"),
    ],
)
def test_a_column_with_another_role_is_neither_learned_nor_learned_from(document, pointer):
    with pytest.raises(SpecError) as caught:
        resolve(TrainSpec.model_validate(document), people().report)
    assert pointer in {problem.pointer for problem in caught.value.problems}


def test_groups_that_leave_a_batch_of_one_row_are_refused_where_rows_are_normalised_by_their_batch(ready):
    """Thirty-three of forty rows were expected to train, and the groups make it another number."""
    refused = set()
    for rows in range(40, 46):
        table = people(rows)
        document = {"split": {"group": "features.1", "stratify": False}, "net": {"norm": "batch"}}
        for batch_size in (3, 4, 5):
            try:
                ready(table, **document, training={"batch_size": batch_size})
            except (DataError, SpecError) as error:
                refused.add(getattr(error, "reason", "at submit"))
    assert "batch_of_one" in refused
