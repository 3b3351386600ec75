"""Every network on every kind of input answers in every format as it does in torch; most of it in the long tests."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest

import softreg_core
from benchmarks.export import combinations, encodings, stand_in
from softreg_core.data.prepare import prepare_rows, preprocessing_of
from softreg_core.export import export_model
from softreg_core.export.formats import TOLERANCE
from softreg_core.spec.net_fit import TAKES

ALL = list(combinations())
FEW = [("lstm on sequence", "onnx"), ("gru on text", "pt2"), ("cnn on sound", "onnx")]


def test_every_combination_that_a_network_takes_is_among_them():
    assert {(net["kind"], encoding.kind) for _, net, encoding in ALL} == {
        (kind, name) for kind, names in TAKES.items() for name in names
    }


def checked(directory, name, form, **options):
    net, encoding = next((net, encoding) for found, net, encoding in ALL if found == name)
    stand_in(net, encoding, directory, **options)
    record = export_model(directory, form)
    assert record.largest_difference < TOLERANCE
    assert len(set(record.shapes)) == 3
    return record


@pytest.mark.parametrize(("name", "form"), FEW)
def test_a_few_of_them(tmp_path, name, form):
    assert checked(tmp_path, name, form).outputs == ("probabilities",)


@pytest.mark.long
@pytest.mark.parametrize("form", ["onnx", "pt2"])
@pytest.mark.parametrize("name", [name for name, _, _ in ALL])
@pytest.mark.parametrize("is_regression", [False, True], ids=["classes", "values"])
def test_all_of_them(tmp_path, name, form, is_regression):
    checked(tmp_path, name, form, is_regression=is_regression)


def test_rows_as_people_have_them_reach_the_graph_without_torch(tmp_path):
    """Categories, missing cells and unknown ones are encoded by the document alone."""
    stand_in({"kind": "mlp", "hidden": [8]}, encodings()["table"], tmp_path)
    export_model(tmp_path, "onnx")
    rows = [{"age": 1e6, "height": None, "pet": "dog"}, {"age": 1e6 + 3, "height": 180.0, "pet": "axolotl"}]
    document = json.loads((tmp_path / "model.json").read_text())
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, prepare_rows(preprocessing_of(document), rows))
    np.testing.assert_allclose(found, softreg_core.load(tmp_path).probabilities(rows), rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 4])
def test_values_beyond_a_rows_length_have_no_part_in_it(tmp_path, rows):
    checked(tmp_path, "gru on text", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    tokens = np.random.default_rng(0).integers(1, 50, (rows, 9))
    lengths = np.full(rows, 5)
    (found,) = session.run(None, {"tokens": tokens, "lengths": lengths})
    (other,) = session.run(None, {"tokens": np.where(np.arange(9) < 5, tokens, 1), "lengths": lengths})
    (short,) = session.run(None, {"tokens": tokens[:, :5], "lengths": lengths})
    np.testing.assert_allclose(other, found, atol=1e-6)
    np.testing.assert_allclose(short, found, atol=1e-6)
