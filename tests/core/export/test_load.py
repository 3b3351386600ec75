"""A model saved and loaded answers as it did in training, and a damaged one is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import softreg_core
from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.splits import split_rows
from softreg_core.engine import fit
from softreg_core.errors import DataError, IntegrityError
from softreg_core.export import save_model


@pytest.fixture
def saved(tmp_path, ready):
    """Train on a table for some epochs, save, and return what a reader of the files needs."""

    def make(table, **spec):
        resolved, data = ready(table, **{"training": {"epochs": 5, "batch_size": 8}} | spec)
        result = fit(resolved, data)
        save_model(result.model, tmp_path, result.metrics, result.report)
        return resolved, result

    return make


@pytest.mark.parametrize(
    "loss",
    [
        {},
        {"base": {"kind": "cross_entropy"}},
        {"divergence": {"kind": "sample_program"}},
        {"alpha": {"kind": "cosine", "start": 0.0, "end": 0.5}, "combine": "convex"},
        {"base": {"kind": "focal"}, "alpha": {"kind": "linear", "value": 0.2}, "divergence": {"kind": "categorical"}},
    ],
    ids=["default", "cross_entropy", "sample_program", "convex", "scheduled"],
)
def test_a_loaded_classifier_reaches_exactly_the_reported_metrics(blobs, saved, tmp_path, loss):
    spec, result = saved(blobs, loss=loss)
    model = softreg_core.load(tmp_path)
    rows = split_rows(spec, blobs).validation
    found = model.evaluate(blobs.values(model.features)[rows], blobs.labels("target")[rows])
    assert {f"val.{name}": value for name, value in found.items()}.items() <= result.metrics.items()
    predicted = model.predict(blobs.values(model.features)[rows])
    assert (predicted == blobs.labels("target")[rows]).mean() == pytest.approx(result.metrics["val.accuracy"])
    assert model.metrics == result.metrics
    own = model.report(blobs.values(model.features)[rows], blobs.labels("target")[rows])
    assert own.parts["rows"] == result.report.parts["validation"]
    assert model.document.report == result.report


def test_a_loaded_regression_answers_in_the_user_s_units(slope, saved, tmp_path):
    spec, result = saved(slope, training={"epochs": 60, "batch_size": 8})
    model = softreg_core.load(tmp_path)
    rows = split_rows(spec, slope).validation
    features, target = slope.values(model.features)[rows], slope.values(["target"])[rows]
    predicted = model.predict(features)
    assert predicted.shape == (12,)
    assert np.abs(predicted - target[:, 0]).mean() == pytest.approx(result.metrics["val.mae"], rel=1e-5)
    assert model.evaluate(features, target)["r2"] == result.metrics["val.r2"]
    assert model.report(features, target).parts["rows"] == result.report.parts["validation"]
    assert result.report.parts["validation"].metrics["rmse"].value == pytest.approx(
        result.metrics["val.rmse"], rel=1e-6
    )


def test_several_targets_come_back_as_columns(two_slopes, saved, tmp_path):
    saved(two_slopes)
    model = softreg_core.load(tmp_path)
    assert model.predict(np.zeros((4, 3))).shape == (4, 2)
    assert model.document.target_names == ("target.0", "target.1")


def test_labels_may_be_given_as_text_or_as_numbers(saved, tmp_path):
    table = table_from_arrays(np.arange(20.0), np.arange(20) % 2 * 5 + 2)
    saved(table)
    model = softreg_core.load(tmp_path)
    assert model.labels == ("2", "7")
    rows, codes = np.arange(4.0)[:, np.newaxis], [2, 7, 2, 7]
    wanted = model.evaluate(rows, np.array(codes))
    assert model.evaluate(rows, np.array(codes, dtype=float)) == wanted
    assert model.evaluate(rows, [str(code) for code in codes]) == wanted
    with pytest.raises(DataError) as caught:
        model.evaluate(rows, [2, 3, 2, 7])
    assert caught.value.row == 2


@pytest.mark.parametrize(
    "rows", [np.zeros(5), np.zeros((2, 4)), np.full((1, 5), np.nan), [[1.0] * 5, [float("inf")] * 5]]
)
def test_rows_that_do_not_fit_are_refused(blobs, saved, tmp_path, rows):
    saved(blobs)
    with pytest.raises(DataError):
        softreg_core.load(tmp_path).predict(rows)


def test_no_rows_give_no_predictions(blobs, saved, tmp_path):
    saved(blobs)
    model = softreg_core.load(tmp_path)
    assert model.predict(np.zeros((0, 5))).shape == (0,)
    assert model.scores(np.zeros((0, 5))).shape == (0, 3)


def test_every_flipped_byte_of_the_weights_is_refused(blobs, saved, tmp_path):
    saved(blobs)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    for position in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(IntegrityError):
            softreg_core.load(tmp_path)
    path.write_bytes(whole[:-1])
    with pytest.raises(IntegrityError):
        softreg_core.load(tmp_path)


def _changed(document, *path, value):
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "softreg model 2"),
        (("net", "kind"), "os.system"),
        (("net", "hidden"), [8]),
        (("shape", "numbers"), 6),
        (("outputs",), 4),
        (("features", "scale"), [1.0, 1.0, 1.0, 1.0, 0.0]),
        (("features", "mean"), [0.0]),
        (("labels",), None),
        (("weights", "file"), "../../etc/passwd"),
        (("extra",), 1),
        (("spec", "net"), {"kind": "mlp", "hidden": [16384] * 32}),
    ],
    ids=lambda value: "/".join(value) if isinstance(value, tuple) else "",
)
def test_a_description_that_was_tampered_with_is_refused(blobs, saved, tmp_path, path, value):
    saved(blobs)
    file = tmp_path / "model.json"
    document = json.loads(file.read_text())
    _changed(document, *path, value=value)
    if path == ("spec", "net"):  # a network of 34 GB, described consistently
        document["net"] = value
    file.write_text(json.dumps(document))
    with pytest.raises(DataError):
        softreg_core.load(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_or_torn_file_is_a_typed_error(blobs, saved, tmp_path, name):
    saved(blobs)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((DataError, IntegrityError)):
        softreg_core.load(tmp_path)
    path.unlink()
    with pytest.raises(DataError) as caught:
        softreg_core.load(tmp_path)
    assert caught.value.reason == "missing_file"


def test_a_disk_that_fails_is_not_blamed_on_the_model(blobs, saved, tmp_path, monkeypatch):
    saved(blobs)

    def failing(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pathlib.Path.read_bytes", failing)
    with pytest.raises(OSError, match="Input/output"):
        softreg_core.load(tmp_path)


def test_metrics_that_are_not_finite_are_null_in_json(blobs, ready, tmp_path):
    spec, data = ready(blobs, training={"epochs": 1})
    save_model(fit(spec, data).model, tmp_path, {"val.loss": 1.5, "val.r2": float("nan"), "val.mae": float("inf")})
    text = (tmp_path / "model.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["metrics"] == {"val.loss": 1.5, "val.r2": None, "val.mae": None}
    assert softreg_core.load(tmp_path).metrics["val.r2"] is None


def test_another_process_predicts_the_same(blobs, saved, tmp_path):
    saved(blobs)
    program = (
        "import softreg_core, sys, numpy as np; "
        "print(softreg_core.load(sys.argv[1]).scores(np.linspace(-2, 2, 50).reshape(10, 5)).tobytes().hex())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    here = softreg_core.load(tmp_path).scores(np.linspace(-2, 2, 50).reshape(10, 5))
    assert bytes.fromhex(printed.strip()) == here.tobytes()
