"""A stored dataset becomes tensors: classes, scaling, and refusals that name the cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.data.sample import load_sample
from softreg_core.data.splits import split_rows
from softreg_core.data.table import Table, load_table
from softreg_core.data.tabular import prepare
from softreg_core.errors import DataError
from softreg_core.spec import TrainSpec, resolve


def column(name, position, tensor="numbers", kind="numeric", **facts):
    return ColumnReport(name=name, kind=kind, tensor=tensor, position=position, **facts)


@pytest.fixture
def stored(tmp_path):
    """A file in the stored format: numbers, a category and a text column that is not stored."""
    report = DatasetReport(
        format="csv",
        rows=6,
        columns=(
            column("age", 0),
            column("pet", 0, "codes", "category", distinct=2, levels=("cat", "dog")),
            ColumnReport(name="remark", kind="text"),
            column("rank", 1, integral=True, distinct=3, levels=("-1", "2", "10")),
            column("is_new", 2, integral=True, distinct=2, levels=("false", "true")),
        ),
    )
    tensors = {
        "numbers": np.array([[1, 10, 0], [2, -1, 1], [3, 2, 1], [4, 10, 0], [5, -1, 1], [6, 2, 0]], dtype=np.float64),
        "codes": np.array([[0], [1], [1], [0], [0], [1]], dtype=np.int32),
    }
    path = tmp_path / "table.safetensors"
    save_file(tensors, path, metadata={"softreg.report": report.model_dump_json()})
    return path


def test_classes_are_indices_into_the_levels_whatever_the_column_holds(stored):
    table = load_table(stored)
    assert table.codes("pet").tolist() == [0, 1, 1, 0, 0, 1]
    assert table.codes("rank").tolist() == [2, 0, 1, 2, 0, 1]
    assert table.codes("is_new").tolist() == [0, 1, 1, 0, 1, 0]
    assert table.labels("rank").tolist() == ["10", "-1", "2", "10", "-1", "2"]


def test_truth_values_stored_as_such_are_classes_too():
    table = table_from_arrays(np.arange(4.0), np.array([True, False, True, True]))
    assert table.report.columns[-1].levels == ("false", "true")
    assert table.codes("target").tolist() == [1, 0, 1, 1]


def test_values_come_as_given(stored):
    assert load_table(stored).values(["rank", "age"]).tolist()[:2] == [[10.0, 1.0], [-1.0, 2.0]]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda table: table.codes("remark"), "no_classes"),
        (lambda table: table.values(["pet"]), "wrong_kind"),
        (lambda table: table.values(["wage"]), "no_such_column"),
    ],
)
def test_a_column_that_cannot_be_used_is_a_data_error(stored, call, reason):
    with pytest.raises(DataError) as caught:
        call(load_table(stored))
    assert caught.value.reason == reason


def test_a_missing_class_is_named_by_row_and_column():
    report = DatasetReport(
        format="csv", rows=2, columns=(column("pet", 0, "codes", "category", levels=("cat",), distinct=1),)
    )
    with pytest.raises(DataError) as caught:
        Table(report, {"codes": np.array([[0], [-1]], dtype=np.int32)}).codes("pet")
    assert (caught.value.row, caught.value.column) == (2, "pet")


def test_a_torn_file_is_a_data_error(stored):
    whole = stored.read_bytes()
    for size in (0, 7, len(whole) // 2, len(whole) - 1):
        stored.write_bytes(whole[:size])
        with pytest.raises(DataError):
            load_table(stored)


def test_a_file_that_the_machine_cannot_read_is_not_blamed_on_the_data(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_table(tmp_path / "absent")


def test_a_report_that_points_past_its_tensors_is_a_data_error(tmp_path):
    report = DatasetReport(format="csv", rows=2, columns=(column("a", 3),))
    path = tmp_path / "table.safetensors"
    save_file({"numbers": np.zeros((2, 2))}, path, metadata={"softreg.report": report.model_dump_json()})
    with pytest.raises(DataError):
        load_table(path)


def test_features_are_scaled_by_the_training_rows_alone(blobs, ready):
    spec, data = ready(blobs)
    rows = split_rows(spec, blobs)
    raw = blobs.values(data.preprocessing.features.names)
    assert np.allclose(data.preprocessing.features.mean, raw[rows.train].mean(axis=0), rtol=1e-12)
    assert np.allclose(data.preprocessing.features.scale, raw[rows.train].std(axis=0), rtol=1e-12)
    wanted = (raw[rows.validation] - raw[rows.train].mean(axis=0)) / raw[rows.train].std(axis=0)
    assert np.allclose(data.validation.inputs[0].numpy(), wanted, atol=1e-6)
    assert data.train.inputs[0].dtype == torch.float32


def test_a_constant_feature_becomes_zero_and_no_rounding_noise(ready):
    """The mean of thirty 0.1 is not 0.1 in floating point; dividing by that deviation would give garbage."""
    features = np.column_stack([np.full(30, 0.1), np.arange(30.0)])
    _, data = ready(table_from_arrays(features, np.arange(30.0) / 7), split={"train": 1.0, "validation": 0.0})
    assert data.preprocessing.features.scale[0] == 1.0
    assert torch.equal(data.train.inputs[0][:, 0], torch.zeros(30))


def test_features_as_large_as_are_taken_are_scaled_not_lost(ready):
    _, data = ready(table_from_arrays(np.linspace(-1e150, 1e150, 30), np.arange(30.0) / 7))
    assert data.train.inputs[0].abs().max() < 3.0


def test_a_cell_beyond_float32_after_scaling_is_refused_by_name(ready):
    """Among the validation rows, so that the training rows' scale does not tame it."""
    features, target = np.arange(10.0), np.arange(10.0) / 7
    spec, _ = ready(table_from_arrays(features, target))
    row = int(split_rows(spec, table_from_arrays(features, target)).validation[0])
    features[row] = 1e100
    with pytest.raises(DataError) as caught:
        prepare(spec, table_from_arrays(features, target))
    assert (caught.value.row, caught.value.column) == (row + 1, "features.0")


@pytest.mark.parametrize("target", [np.array([0] * 18 + [1] * 2), np.arange(20.0) / 7], ids=["classes", "values"])
def test_too_few_training_rows_are_refused_where_a_spec_was_resolved_for_another_table(ready, target):
    spec, _ = ready(table_from_arrays(np.arange(20.0), target))
    with pytest.raises(DataError) as caught:
        prepare(spec, table_from_arrays(np.arange(2.0), target[-2:]))
    assert caught.value.reason == "too_few_rows"


def test_training_rows_of_a_single_class_are_refused(ready):
    """The draw is not stratified: only the rows that it chose tell."""
    table = table_from_arrays(np.arange(20.0), np.array([0] * 18 + [1] * 2))
    spec = {"train": 0.1, "validation": 0.9, "stratify": False}
    outcomes = set()
    for seed in range(20):
        try:
            _, data = ready(table, split={**spec, "seed": seed})
            assert data.train.target.unique().numel() == 2
            outcomes.add("trained")
        except DataError as error:
            outcomes.add((error.reason, error.column))
    assert outcomes == {"trained", ("single_class", "target")}


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_classes_beyond_2_53_in_an_array_of_whole_numbers_stay_apart(dtype):
    start = 2**53 if dtype is np.int64 else 2**63
    values = np.array([start, start + 1, start + 2, 1, start + 1], dtype=dtype)
    table = table_from_arrays(np.arange(5.0), values)
    assert table.labels("target").tolist() == [str(value) for value in values.tolist()]


def test_regression_targets_are_standardised_and_their_scaling_kept(slope, ready):
    spec, data = ready(slope)
    train = slope.values(["target"])[split_rows(spec, slope).train]
    assert data.preprocessing.target.mean == pytest.approx(train.mean(axis=0))
    assert data.preprocessing.target.scale == pytest.approx(train.std(axis=0))
    assert data.train.target.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert data.train.target.shape == (48, 1)


def test_preparing_twice_gives_the_same_bits(blobs, ready):
    spec, data = ready(blobs)
    again = prepare(spec, blobs)
    assert torch.equal(data.train.inputs[0], again.train.inputs[0])
    assert torch.equal(data.validation.target, again.validation.target)


def test_a_spec_that_was_not_resolved_is_refused(blobs):
    with pytest.raises(ValueError, match="not resolved"):
        prepare(TrainSpec(), blobs)


def test_wide_tables_are_scaled_in_blocks_without_a_seam(ready, monkeypatch):
    features = np.random.default_rng(0).normal(size=(40, 23))
    table = table_from_arrays(features, np.arange(40.0) / 7)
    _, whole = ready(table)
    monkeypatch.setattr("softreg_core.data.encode.table._BLOCK", 200)
    _, blocks = ready(table)
    assert torch.equal(whole.train.inputs[0], blocks.train.inputs[0])
    assert whole.preprocessing.features.names == blocks.preprocessing.features.names


def test_the_default_spec_fits_the_digits_of_the_service():
    table = load_sample("digits")
    resolution = resolve(TrainSpec(), table.report)
    data = prepare(resolution.spec, table)
    assert (data.train.rows, data.validation.rows, data.test.rows) == (1438, 359, 0)
    assert data.preprocessing.labels == tuple("0123456789")
    with pytest.raises(DataError):
        load_sample("cats")


@pytest.mark.parametrize(
    ("features", "target", "labels"),
    [
        (np.zeros((3, 2)), np.zeros(4), None),
        (np.zeros((0, 2)), np.zeros(0), None),
        (np.array([["a"], ["b"]]), np.zeros(2), None),
        (np.zeros((2, 2), dtype=object), np.zeros(2), None),
        (np.zeros((2, 2)), np.array([0, 5]), ["cat", "dog"]),
    ],
)
def test_arrays_that_are_no_table_are_refused(features, target, labels):
    with pytest.raises(DataError):
        table_from_arrays(features, target, labels)


def test_arrays_with_texts_or_labels_are_classes(ready):
    texts = table_from_arrays(np.arange(6.0), np.array(["dog", "cat", "dog", "cat", "dog", "cat"]))
    named = table_from_arrays(np.arange(6.0), np.array([1, 0, 1, 0, 1, 0]), labels=["cat", "dog"])
    for table in (texts, named):
        _, data = ready(table)
        assert data.preprocessing.labels == ("cat", "dog")
        assert table.labels("target").tolist() == ["dog", "cat"] * 3


def test_a_nan_in_an_array_is_refused_by_row_when_the_spec_is_resolved(ready):
    from softreg_core.errors import SpecError

    features = np.arange(6.0)
    features[4] = np.nan
    with pytest.raises(SpecError) as caught:
        ready(table_from_arrays(features, np.arange(6.0)))
    assert "row 5" in caught.value.problems[0].message
