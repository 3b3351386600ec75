"""What a finished run says of its model, for each kind of task, and of a sample where there are too many rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from softreg_core.data.arrays import table_from_arrays
from softreg_core.engine import fit
from softreg_core.evaluate import outputs

SHORT = {"epochs": 3, "batch_size": 16}
ALL_PARTS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def test_every_part_with_rows_is_measured_with_the_delivered_weights(blobs, ready):
    spec, data = ready(blobs, training=SHORT, split=ALL_PARTS, loss={"base": {"kind": "cross_entropy"}})
    result = fit(spec, data)
    parts = result.report.parts
    assert {name: part.rows for name, part in parts.items()} == {
        "train": data.train.rows,
        "validation": data.validation.rows,
        "test": data.test.rows,
    }
    for short, part in (("val", parts["validation"]), ("test", parts["test"])):
        for name in ("loss", "base", "accuracy", "nll"):
            assert part.metrics[name].value == pytest.approx(result.metrics[f"{short}.{name}"], rel=1e-6)
    gap = result.report.gaps["loss"].train_minus_test
    assert gap.value == pytest.approx(parts["train"].metrics["loss"].value - parts["test"].metrics["loss"].value)
    json.dumps(result.report.model_dump(mode="json"), allow_nan=False)


def test_a_predicted_variance_comes_with_crps_and_coverage(slope, ready):
    spec, data = ready(
        slope, training={"epochs": 40, "batch_size": 8}, loss={"base": {"kind": "gaussian_nll"}, "divergence": None}
    )
    found = fit(spec, data).report.parts["validation"].metrics
    assert 0.0 <= found["coverage_50"].value <= found["coverage_90"].value <= found["coverage_95"].value <= 1.0
    assert 0.0 < found["crps"].value < found["mae"].value  # a certain prediction's CRPS is its absolute error
    assert found["nll"].value is not None


def test_counts_are_measured_as_counts(ready):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(80, 2))
    table = table_from_arrays(features, generator.poisson(np.exp(1.0 + features[:, 0])).astype(float))
    task = {"kind": "regression"}
    spec, data = ready(table, training=SHORT, task=task, loss={"base": {"kind": "poisson"}, "divergence": None})
    result = fit(spec, data)
    found = result.report.parts["validation"].metrics
    assert found["mae"].value == pytest.approx(result.metrics["val.mae"], rel=1e-5)
    assert found["r2"].value == pytest.approx(result.metrics["val.r2"], rel=1e-5)


def test_several_labels_are_measured_one_by_one(ready):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(90, 3))
    truths = (features[:, :2] + 0.5 * generator.normal(size=(90, 2)) > 0).astype(float)
    task = {"kind": "multilabel"}
    spec, data = ready(
        table_from_arrays(features, truths),
        training=SHORT,
        task=task,
        loss={"base": {"kind": "binary_cross_entropy"}, "divergence": None},
    )
    result = fit(spec, data)
    found = result.report.parts["validation"]
    assert result.report.scores == "sigmoid"
    for name in ("accuracy", "subset_accuracy"):
        assert found.metrics[name].value == pytest.approx(result.metrics[f"val.{name}"])
    assert [row.rows for row in found.classes] == data.validation.target.sum(0).int().tolist()
    assert found.metrics["roc_auc"].value == pytest.approx(np.mean([row.roc_auc for row in found.classes]))


def test_of_too_many_rows_a_sample_is_measured_and_said_to_be_one(blobs, ready, monkeypatch):
    monkeypatch.setattr(outputs, "_MOST_ROWS", 30)
    spec, data = ready(blobs, training=SHORT)
    found = fit(spec, data).report.parts
    assert (found["train"].rows, found["train"].of_rows) == (30, data.train.rows)
    assert (found["validation"].rows, found["validation"].of_rows) == (data.validation.rows,) * 2


def test_batches_of_evaluation_change_nothing(blobs, ready, monkeypatch):
    spec, data = ready(blobs, training=SHORT)
    whole = fit(spec, data).report.parts["train"]
    monkeypatch.setattr(outputs, "evaluation_rows", lambda _: 7)
    pieces = fit(spec, data).report.parts["train"]
    assert pieces.confusion == whole.confusion
    assert pieces.metrics["loss"].value == pytest.approx(whole.metrics["loss"].value, rel=1e-6)


def test_two_classes_have_the_area_of_the_second_one(ready):
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 2, 100)
    table = table_from_arrays(codes[:, np.newaxis] + generator.normal(size=(100, 2)), codes)
    spec, data = ready(table, training=SHORT, loss={"base": {"kind": "cross_entropy"}})
    result = fit(spec, data)
    found = result.report.parts["validation"]
    assert found.metrics["roc_auc"].value == found.classes[1].roc_auc
    assert found.metrics["roc_auc"].value == pytest.approx(found.classes[0].roc_auc)
    assert 0.5 < found.metrics["roc_auc"].value <= 1.0
