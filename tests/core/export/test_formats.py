"""A model in another format answers as it does here, for batches of any size."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import softreg_core
from softreg_core.data.arrays import table_from_arrays
from softreg_core.engine import fit
from softreg_core.errors import ExportError
from softreg_core.export import export_model, formats, save_model


@pytest.fixture
def saved(tmp_path, ready):
    """Train on a table for two epochs and save."""

    def make(table, **spec):
        resolved, data = ready(table, **{"training": {"epochs": 2, "batch_size": 8}} | spec)
        result = fit(resolved, data)
        save_model(result.model, tmp_path, result.metrics)
        return softreg_core.load(tmp_path)

    return make


def answers(path, numbers):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"numbers": numbers})[0]


def test_an_onnx_classifier_gives_probabilities_of_raw_numbers(blobs, saved, tmp_path):
    model = saved(blobs, loss={"base": {"kind": "cross_entropy"}, "divergence": None})
    record = export_model(tmp_path, "onnx")
    assert (record.file, record.outputs, record.shapes) == ("model.onnx", ("probabilities",), ((1,), (7,), (22,)))
    assert record.largest_difference < 1e-5
    rows = blobs.values(model.features)
    found = answers(tmp_path / "model.onnx", rows)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    assert (np.asarray(model.labels)[found.argmax(axis=1)] == model.predict(rows)).all()
    file = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(file)
    told = {entry.key: entry.value for entry in file.metadata_props}
    assert told["softreg.format"] == "softreg onnx 1"
    assert told["softreg.model_sha256"] == model.document.weights.sha256
    assert [(entry.domain, entry.version) for entry in file.opset_import] == [("", record.opset)]
    dims = file.graph.input[0].type.tensor_type.shape.dim
    assert (file.graph.input[0].name, dims[0].dim_param, dims[1].dim_value) == ("numbers", "batch", 5)
    assert [entry.name for entry in file.graph.output] == ["probabilities"]


def test_numbers_far_from_zero_keep_their_digits_and_values_come_in_the_users_units(saved, tmp_path):
    generator = np.random.default_rng(0)
    features = 1e9 + generator.normal(size=(40, 2))
    model = saved(table_from_arrays(features, features.sum(axis=1) - 2e9))
    assert export_model(tmp_path, "onnx").outputs == ("values",)
    found = answers(tmp_path / "model.onnx", features)
    np.testing.assert_allclose(found[:, 0], model.predict(features), rtol=1e-4, atol=1e-4)
    assert found.std() > 0.01


def test_several_labels_at_once_have_a_probability_each(ready, saved, tmp_path):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(40, 2))
    table = table_from_arrays(features, (features > 0.0).astype(float))
    task = {"kind": "multilabel"}
    model = saved(table, task=task, loss={"base": {"kind": "binary_cross_entropy"}, "divergence": None})
    export_model(tmp_path, "onnx")
    found = answers(tmp_path / "model.onnx", features)
    np.testing.assert_allclose(found, model.probabilities(features), rtol=1e-5)
    assert ((found > 0.5) == model.predict(features)).all()


def test_a_predicted_variance_comes_beside_the_values(slope, saved, tmp_path):
    model = saved(slope, loss={"base": {"kind": "gaussian_nll"}, "divergence": None})
    assert export_model(tmp_path, "onnx").outputs == ("values", "variance")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    rows = slope.values(model.features)
    found = session.run(["values", "variance"], {"numbers": rows})
    for wanted, output in zip((model.predict(rows), model.predict_variance(rows)), found, strict=True):
        np.testing.assert_allclose(output[:, 0], wanted, rtol=1e-4)


def test_a_pt2_file_reads_back_with_one_row_and_with_many(blobs, saved, tmp_path):
    model = saved(blobs)
    record = export_model(tmp_path, "pt2")
    assert (record.file, record.outputs, record.opset) == ("model.pt2", ("scores",), None)
    program = torch.export.load(tmp_path / "model.pt2").module()
    rows = blobs.values(model.features)
    for count in (1, 2, 70):
        np.testing.assert_allclose(program(torch.from_numpy(rows[:count]))[0].numpy(), model.scores(rows[:count]))


@pytest.mark.parametrize("how", ["wrong", "broken"])
def test_a_file_that_answers_otherwise_or_cannot_be_built_is_refused_and_removed(
    blobs, saved, tmp_path, monkeypatch, how
):
    saved(blobs)
    write, run = formats.FORMATS["pt2"]

    def broken(graph, document, path):
        path.write_bytes(b"half")
        raise RuntimeError("no such operator")

    made = (
        (write, lambda path, batch: [output + 0.01 for output in run(path, batch)]) if how == "wrong" else (broken, run)
    )
    monkeypatch.setitem(formats.FORMATS, "pt2", made)
    with pytest.raises(ExportError, match="answers otherwise" if how == "wrong" else "no such operator"):
        export_model(tmp_path, "pt2")
    assert not (tmp_path / "model.pt2").exists()
