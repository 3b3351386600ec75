"""Several labels at once, from a table with columns of two levels to a model that answers with truths."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

import softreg_core
from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.data.splits import split_rows
from softreg_core.data.table import Table
from softreg_core.data.tabular import prepare
from softreg_core.engine import fit
from softreg_core.errors import DataError, SpecError
from softreg_core.export import save_model
from softreg_core.spec import TrainSpec, canonical_json, resolve

TASK = {"kind": "multilabel"}


def numbers(rows=120, labels=3, seed=0):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, 4))
    return features, (features @ generator.normal(size=(4, labels)) + 0.3 * generator.normal(size=(rows, labels))) > 0


@pytest.fixture
def table():
    return table_from_arrays(*numbers())


def trained(table, tmp_path, **document):
    spec = TrainSpec.model_validate({"task": TASK, "training": {"epochs": 20}} | document)
    resolved = resolve(spec, table.report).spec
    result = fit(resolved, prepare(resolved, table))
    save_model(result.model, tmp_path, result.metrics)
    return resolved, result, softreg_core.load(tmp_path)


def column(name, *levels, kind="category", counts=None):
    return ColumnReport(
        name=name,
        kind=kind,
        tensor="t",
        position=0,
        integral=kind == "numeric",
        distinct=len(levels),
        levels=levels,
        level_counts=counts or (50,) * len(levels),
    )


X = ColumnReport(name="x", kind="numeric", tensor="t", position=0)


def report(*columns):
    return DatasetReport(format="csv", rows=100, columns=(X, *columns))


def refusals(document, of):
    with pytest.raises(SpecError) as caught:
        resolve(TrainSpec.model_validate(document), of)
    return {problem.pointer: problem.message for problem in caught.value.problems}


def test_the_default_loss_is_binary_cross_entropy_and_stays_so_when_the_spec_is_stored():
    spec = TrainSpec.model_validate({"task": TASK})
    assert (spec.loss.base.kind, spec.loss.divergence, spec.loss.alpha) == ("binary_cross_entropy", None, 0.0)
    assert TrainSpec.model_validate_json(canonical_json(spec)) == spec
    with_divergence = TrainSpec.model_validate({"task": TASK, "loss": {"divergence": {"kind": "uniform"}, "alpha": 1}})
    assert with_divergence.loss.base.kind == "binary_cross_entropy"
    other = TrainSpec.model_validate({"task": TASK, "loss": {"base": {"kind": "half_squared_error"}}})
    assert (other.loss.base.kind, other.loss.divergence.kind) == ("half_squared_error", "article")


def test_what_is_auto_is_filled_for_labels():
    of = report(column("is_red", "no", "yes"), column("is_round", "0", "1", kind="numeric"))
    document = {"task": TASK | {"target": ["is_red", "is_round"]}}
    resolution = resolve(TrainSpec.model_validate(document), of)
    spec = resolution.spec
    assert (resolution.labels, resolution.outputs) == (("is_red", "is_round"), 2)
    assert (spec.split.stratify, spec.preprocess.target, spec.checkpoints.monitor) == (False, "none", "val.accuracy")
    assert resolve(spec, of).spec == spec


@pytest.mark.parametrize(
    ("document", "columns", "pointer", "words"),
    [
        ({}, [column("y", "a", "b", "c")], "/task/target", "'y' has 3 different values; a label is true or false"),
        ({}, [column("y", "a")], "/task/target", "a single class"),
        ({}, [X.model_copy(update={"name": "y"})], "/task/target", "'y' has many different values"),
        ({"split": {"stratify": True}}, [column("y", "a", "b")], "/split/stratify", "the task is multilabel"),
        ({"preprocess": {"target": "standardize"}}, [column("y", "a", "b")], "/preprocess/target", "standardised"),
        ({"checkpoints": {"monitor": "val.r2"}}, [column("y", "a", "b")], "/checkpoints/monitor", "for multilabel"),
        ({"loss": {"base": {"kind": "focal"}}}, [column("y", "a", "b")], "/loss/base/kind", "binary_cross_entropy"),
    ],
    ids=["three-levels", "one-level", "values", "stratify", "standardize", "monitor", "base"],
)
def test_what_does_not_fit_labels_is_refused_with_its_place(document, columns, pointer, words):
    found = refusals({"task": TASK | {"target": ["y"]}} | document, report(*columns))
    assert words in found[pointer]


def test_several_targets_of_truths_are_values_unless_asked_and_the_user_is_told():
    of = report(column("a", "0", "1", kind="numeric"), column("b", "false", "true", kind="numeric"))
    resolution = resolve(TrainSpec.model_validate({"task": {"target": ["a", "b"]}}), of)
    assert resolution.spec.task.kind == "regression"
    assert [advice.code for advice in resolution.advice if advice.pointer == "/task/kind"] == [
        "targets_resemble_labels"
    ]
    message = refusals({"task": {"target": ["c", "d"]}}, report(column("c", "n", "y"), column("d", "n", "y")))
    assert "task.kind multilabel" in message["/task/kind"]


def test_the_subset_accuracy_is_no_metric_of_the_other_tasks():
    document = {"checkpoints": {"monitor": "val.subset_accuracy"}, "task": {"target": ["y"]}}
    assert "/checkpoints/monitor" in refusals(document, report(column("y", "a", "b")))


def test_columns_of_any_two_levels_become_zeros_and_ones_and_the_last_level_is_true():
    rows = 24
    of = DatasetReport(
        format="csv",
        rows=rows,
        columns=(
            X.model_copy(update={"tensor": "numbers"}),
            column("a", "no", "yes").model_copy(update={"tensor": "codes"}),
            column("b", "false", "true", kind="numeric").model_copy(update={"tensor": "numbers", "position": 1}),
            column("c", "4", "7", kind="numeric").model_copy(update={"tensor": "numbers", "position": 2}),
        ),
    )
    each = np.arange(rows)
    tensors = {
        "numbers": np.stack([each, each % 3 != 0, each // 2 % 2 * 3 + 4], axis=1).astype(np.float64),
        "codes": (each % 2)[:, np.newaxis].astype(np.int32),
    }
    table = Table(of, tensors)
    spec = resolve(TrainSpec.model_validate({"task": TASK | {"target": ["a", "b", "c"]}}), of).spec
    data, chosen = prepare(spec, table), split_rows(spec, table)
    truths = np.stack([each % 2, each % 3 != 0, each // 2 % 2], axis=1)
    assert torch.equal(data.train.target, torch.from_numpy(truths[chosen.train].astype(np.float32)))
    assert data.preprocessing.task == "multilabel"
    assert (data.preprocessing.labels, data.preprocessing.outputs) == (("a", "b", "c"), 3)
    assert data.preprocessing.truths == (("no", "yes"), ("false", "true"), ("4", "7"))


def test_a_label_with_one_truth_in_the_training_rows_is_refused_by_name():
    features, truths = numbers()
    spec = resolve(TrainSpec.model_validate({"task": TASK}), table_from_arrays(features, truths).report).spec
    rows = split_rows(spec, table_from_arrays(features, truths)).train
    for value in (False, True):
        truths[rows, 1] = value
        with pytest.raises(DataError, match=r"label 'target\.1'") as caught:
            prepare(spec, table_from_arrays(features, truths))
        assert (caught.value.reason, caught.value.column) == ("single_class", "target.1")


LOSSES = [
    {},
    {"alpha": 0.3, "divergence": {"kind": "categorical", "direction": "target_to_prediction"}},
    {"alpha": 0.1, "divergence": {"kind": "uniform"}},
    {"base": {"kind": "half_squared_error"}, "alpha": 1.0},
]


@pytest.mark.parametrize("loss", LOSSES, ids=["plain", "categorical", "uniform", "article"])
def test_a_loaded_model_answers_with_truths_and_reaches_exactly_the_reported_metrics(table, tmp_path, loss):
    spec, result, model = trained(table, tmp_path, loss=loss)
    features, truths = numbers()
    rows = split_rows(spec, table).validation
    predicted = model.predict(features[rows])
    assert (predicted.dtype, predicted.shape) == (np.bool_, (24, 3))
    assert result.metrics["val.accuracy"] == pytest.approx((predicted == truths[rows]).mean())
    assert result.metrics["val.subset_accuracy"] == pytest.approx(accuracy_score(truths[rows], predicted))
    assert result.metrics["val.accuracy"] > 0.75
    for target in (truths[rows], np.where(truths[rows], "true", "false")):
        found = model.evaluate(features[rows], target)
        assert {f"val.{name}": value for name, value in found.items()}.items() <= result.metrics.items()


def test_probabilities_are_those_of_each_label_and_of_classes_add_up(table, tmp_path):
    _, _, model = trained(table, tmp_path)
    features, _ = numbers()
    probability = model.probabilities(features[:9])
    assert np.allclose(probability, 1.0 / (1.0 + np.exp(-model.scores(features[:9]))), atol=1e-6)
    assert ((probability > 0.5) == model.predict(features[:9])).all()
    codes = table_from_arrays(features, numbers()[1].sum(axis=1))
    classes = TrainSpec.model_validate({"loss": {"base": {"kind": "cross_entropy"}}, "training": {"epochs": 1}})
    resolved = resolve(classes, codes.report).spec
    save_model(fit(resolved, prepare(resolved, codes)).model, tmp_path, {})
    assert np.allclose(softreg_core.load(tmp_path).probabilities(features[:9]).sum(axis=1), 1.0, atol=1e-6)


def test_outputs_that_are_no_logits_have_no_probabilities(table, tmp_path):
    _, _, model = trained(table, tmp_path, loss=LOSSES[3], training={"epochs": 1})
    with pytest.raises(DataError, match="half_squared_error") as caught:
        model.probabilities(np.zeros((1, 4)))
    assert caught.value.reason == "no_probabilities"


def test_a_truth_that_a_label_does_not_have_is_refused_by_row_and_label(table, tmp_path):
    _, _, model = trained(table, tmp_path, training={"epochs": 1})
    target = np.array([["true", "false", "true"], ["true", "maybe", "true"]])
    with pytest.raises(DataError) as caught:
        model.evaluate(np.zeros((2, 4)), target)
    assert (caught.value.row, caught.value.column) == (2, "target.1")
    with pytest.raises(DataError, match="3 columns"):
        model.evaluate(np.zeros((2, 4)), target[:, :2])


def test_one_label_is_enough(tmp_path):
    features, truths = numbers(labels=1)
    table = table_from_arrays(features, truths[:, 0])
    _, result, model = trained(table, tmp_path, training={"epochs": 40})
    assert model.predict(features).shape == (120, 1)
    assert result.metrics["val.accuracy"] == result.metrics["val.subset_accuracy"] > 0.85


@pytest.mark.parametrize("change", [{"truths": None}, {"labels": ["a", "b", "c"]}, {"truths": [["0", "1"]]}])
def test_a_description_that_was_tampered_with_is_refused(table, tmp_path, change):
    trained(table, tmp_path, training={"epochs": 1})
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError):
        softreg_core.load(tmp_path)
