"""Numbers and categories: statistics of the training rows alone, policies for what is missing or unknown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from softreg_core.data.cells import RawCells, TableCells
from softreg_core.data.encode import TableEncoding, begin_fit
from softreg_core.data.encode.table import TableFit
from softreg_core.data.report import ColumnReport, DatasetReport, Flaw
from softreg_core.data.scaling import Moments, Scaling
from softreg_core.data.table import Table
from softreg_core.errors import DataError, SpecError
from softreg_core.spec import TrainSpec, resolve
from softreg_core.spec.resolve.view import check_cells, resolved_input

LEVELS = ("ant", "bee", "cow")


def people(ages=(1.0, 2.0, 3.0, np.nan), pets=(0, 1, -1, 2), zips=(10, 20, 10, 20)):
    """A table with a missing age and a missing pet."""
    numbers = np.column_stack([ages, zips]).astype(np.float64)
    codes = np.array(pets, dtype=np.int32)[:, np.newaxis]
    missing = (Flaw(kind="missing", count=1, first_rows=(4,)),)
    columns = (
        ColumnReport(name="age", kind="numeric", tensor="numbers", position=0, flaws=missing),
        ColumnReport(name="pet", kind="category", tensor="codes", position=0, levels=LEVELS, distinct=3),
        ColumnReport(
            name="zip", kind="numeric", tensor="numbers", position=1, integral=True, levels=("10", "20"), distinct=2
        ),
    )
    report = DatasetReport(format="csv", rows=len(numbers), columns=columns)
    return Table(report, {"numbers": numbers, "codes": codes})


def fitted(table, rows, **options):
    fit = TableFit(("age", "pet", "zip"), ("pet",), **options)
    fit.add(TableCells(table, np.array(rows)))
    return fit.finish()


def test_imputed_numbers_are_the_training_rows_median_and_an_indicator_says_where():
    encoding = fitted(people(), [0, 1, 2, 3], fill="median", indicated=["age"])
    numbers, codes = encoding.arrays(TableCells(people()))
    assert numbers.tolist() == [[1.0, 10.0, 0.0], [2.0, 20.0, 0.0], [3.0, 10.0, 0.0], [2.0, 20.0, 1.0]]
    assert codes.tolist() == [[1], [2], [4], [3]]
    assert encoding.shape.numbers == 3
    assert encoding.shape.levels == (5,)
    assert encoding.scaling.names == ("age", "zip", "age is missing")
    assert (encoding.scaling.mean[2], encoding.scaling.scale[2]) == (0.0, 1.0)
    assert encoding.scaling.mean[0] == 2.0  # of the cells that are there


def test_the_mean_stands_for_missing_numbers_if_asked():
    encoding = fitted(people(ages=(1.0, 2.0, 6.0, np.nan)), [0, 1, 2], fill="mean")
    assert encoding.numbers[0].fill == pytest.approx(3.0)


def test_a_missing_cell_is_refused_by_row_and_column_unless_it_is_imputed():
    encoding = fitted(people(pets=(0, 1, 2, -1)), [0, 1, 2])
    with pytest.raises(DataError) as caught:
        encoding.arrays(TableCells(people(pets=(0, 1, 2, 2))))
    assert (caught.value.reason, caught.value.row, caught.value.column) == ("missing", 4, "age")
    with pytest.raises(DataError) as caught:
        encoding.arrays(TableCells(people(ages=(1.0,) * 4, pets=(0, 1, 2, -1))))
    assert (caught.value.reason, caught.value.row, caught.value.column) == ("missing", 4, "pet")


def test_a_category_that_no_training_row_has_is_other_or_refused_as_the_policy_says():
    table = people(pets=(0, 0, 1, 2))
    other = fitted(table, [0, 1, 2], unknown="other")
    assert other.categories[0].levels == ("ant", "bee")
    full = people(ages=(1.0,) * 4, pets=(0, 0, 1, 2))
    assert other.arrays(TableCells(full))[1].tolist() == [[1], [1], [2], [0]]
    with pytest.raises(DataError) as caught:
        fitted(table, [0, 1, 2]).arrays(TableCells(full))
    assert (caught.value.reason, caught.value.row, caught.value.column) == ("unknown_category", 4, "pet")


def test_a_column_that_every_training_row_misses_cannot_be_filled():
    with pytest.raises(DataError) as caught:
        fitted(people(ages=(np.nan, np.nan, 3.0, 4.0)), [0, 1], fill="median")
    assert caught.value.column == "age"


def test_rows_that_are_not_trained_on_change_nothing_that_is_learned():
    before = people(ages=(1.0, 2.0, 3.0, 4.0), pets=(0, 1, 1, 0))
    after = people(ages=(1.0, 2.0, 3.0, 1e6), pets=(0, 1, 1, 2), zips=(10, 20, 10, 10))
    options = {"fill": "median", "indicated": ["age"]}
    found = [fitted(table, [0, 1, 2], **options).model_dump_json() for table in (before, after)]
    assert found[0] == found[1]


def test_what_was_learned_survives_json():
    encoding = fitted(people(), [0, 1, 2, 3], fill="median", indicated=["age"], unknown="other")
    again = TableEncoding.model_validate_json(encoding.model_dump_json())
    for ours, theirs in zip(encoding.scaled(TableCells(people())), again.scaled(TableCells(people())), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("path", [("scaling", "scale"), ("scaling", "mean")])
def test_a_description_with_impossible_numbers_is_refused(path):
    document = json.loads(fitted(people(), [0, 1, 2, 3], fill="mean").model_dump_json())
    for wrong in ([0.0, 0.0, 0.0], ["1", "2"], [1.0]):
        document[path[0]][path[1]] = wrong
        with pytest.raises(ValueError, match="validation error"):
            TableEncoding.model_validate(document)


COLUMNS = arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.integers(1, 4)),
    elements=st.floats(-1e150, 1e150) | st.just(float("nan")) | st.just(0.1),
)


@settings(deadline=None)
@given(values=COLUMNS, cut=st.integers(0, 30))
def test_statistics_gathered_in_chunks_are_those_of_the_whole(values, cut):
    names = [str(index) for index in range(values.shape[1])]
    moments = Moments(values.shape[1])
    for part in (values[:cut], values[cut:]):
        moments.add(part)
    joined, whole = moments.scaling(names), Scaling.of(names, values)
    size = np.where(np.isnan(values), 0.0, np.abs(values)).max(axis=0)
    assert (np.abs(joined.mean - whole.mean) <= 1e-12 * size).all()
    assert (
        np.abs(moments.deviation_D - np.where(whole.scale == 1.0, moments.deviation_D, whole.scale)) <= 1e-7 * size
    ).all()


@given(value=st.floats(-1e300, 1e300), cut=st.integers(0, 9))
def test_a_constant_column_in_chunks_stays_constant(value, cut):
    moments = Moments(1)
    for rows in (cut, 9 - cut):
        moments.add(np.full((rows, 1), value))
    scaling = moments.scaling(["x"])
    assert (scaling.mean[0], scaling.scale[0]) == (value, 1.0)


def test_a_file_that_is_read_in_chunks_is_learned_as_one_in_memory():
    table = people()
    fit = TableFit(("age", "pet", "zip"), ("pet",), fill="median", indicated=["age"])
    for rows in ([0, 1], [2], [3]):
        fit.add(TableCells(table, np.array(rows)))
    whole = fitted(table, [0, 1, 2, 3], fill="median", indicated=["age"])
    assert fit.finish().numbers == whole.numbers
    assert fit.finish().categories == whole.categories
    assert np.allclose(fit.finish().scaling.scale, whole.scaling.scale, rtol=1e-14)


def spec_of(table, document):
    """Resolved as far as the features go: networks are not asked."""
    spec = TrainSpec.model_validate(document)
    from softreg_core.spec.resolve.findings import Findings

    findings = Findings()
    view, shape = resolved_input(spec, list(table.report.columns), findings)
    task = spec.task.model_copy(update={"input": view, "features": tuple(c.name for c in table.report.columns)})
    return spec.model_copy(update={"task": task}), shape, findings


def test_whole_numbers_are_categories_if_the_spec_says_so():
    table = people(ages=(1.0, 2.0, 3.0, 4.0), pets=(0, 1, 2, 0))
    spec, shape, _ = spec_of(table, {"task": {"input": {"kind": "table", "categories": ["zip"]}}})
    fit = begin_fit(spec, table.report)
    fit.add(TableCells(table))
    encoding = fit.finish()
    assert encoding.shape == shape
    assert [column.name for column in encoding.categories] == ["pet", "zip"]
    raw = RawCells.of([{"age": 1, "pet": "bee", "zip": 20.0}], encoding.columns)
    assert encoding.arrays(raw)[1].tolist() == [[2, 2]]


def test_the_shape_promised_at_submit_bounds_what_is_learned():
    table = people()
    spec, shape, _ = spec_of(table, {"task": {"missing": "impute"}})
    fit = begin_fit(spec.model_copy(update={"preprocess": imputing(spec)}), table.report)
    fit.add(TableCells(table))
    found = fit.finish().shape
    assert (found.numbers, shape.numbers) == (3, 3)
    assert found.levels == shape.levels == (5,)


def imputing(spec):
    from softreg_core.spec.data import ImputeSpec

    return spec.preprocess.model_copy(update={"impute": ImputeSpec()})


def test_missing_cells_are_let_through_at_submit_only_where_they_are_imputed():
    report, columns = people().report, list(people().report.columns)
    error, impute = (TrainSpec.model_validate({"task": {"missing": policy}}).task for policy in ("error", "impute"))
    assert [problem.pointer for problem in check_cells(error, report, columns, [])] == ["/dataset"]
    assert check_cells(impute, report, columns, []) == []
    assert len(check_cells(impute, report, [], columns)) == 1  # a target cannot be imputed


def test_a_job_with_missing_cells_trains_when_they_are_imputed(ready):
    rows = 60
    ages = np.arange(rows, dtype=np.float64)
    ages[::7] = np.nan
    flaw = Flaw(kind="missing", count=9, first_rows=(1, 8, 15, 22, 29))
    report = DatasetReport(
        format="csv",
        rows=rows,
        columns=(
            ColumnReport(name="age", kind="numeric", tensor="numbers", position=0, flaws=(flaw,)),
            ColumnReport(name="target", kind="numeric", tensor="numbers", position=1),
        ),
    )
    table = Table(report, {"numbers": np.column_stack([ages, np.arange(rows) / 7])})
    with pytest.raises(SpecError):
        resolve(TrainSpec(), report)
    spec, data = ready(table, task={"missing": "impute"})
    assert data.preprocessing.shape.numbers == 2
    assert resolve(TrainSpec.model_validate_json(spec.model_dump_json()), report).spec == spec
    assert set(data.train.inputs[0][:, 1].tolist()) == {0.0, 1.0}
