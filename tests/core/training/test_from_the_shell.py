"""Texts and images from files to a model and its graph, by the command alone; all three ways of asking it agree."""

from __future__ import annotations

import io
import json

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from typer.testing import CliRunner

import softreg_core
from softreg_core.command import app
from softreg_core.data.prepare import prepare_rows, preprocessing_of

ROWS = 60


def photos(path):
    """Gray pictures of two sizes, brighter above or below."""
    random = np.random.default_rng(0)
    rows, cells = [], []
    for index in range(ROWS):
        pixels = random.integers(0, 120, (10 + index % 2, 9)).astype(np.uint8)
        pixels[slice(5) if index % 3 else slice(5, None)] += 100
        rows.append(pixels)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        cells.append(buffer.getvalue())
    labels = ["above" if index % 3 else "below" for index in range(ROWS)]
    pa.parquet.write_table(pa.table({"photo": cells, "side": labels}), path)
    return rows, labels


def reviews(path):
    """The same words in two orders."""
    random = np.random.default_rng(0)
    rows, labels = [], []
    for index in range(ROWS):
        filler = " ".join(f"w{number}" for number in random.integers(0, 9, 1 + index % 5))
        rows.append(f"good {filler} not bad" if index % 2 else f"bad {filler} not good")
        labels.append("liked" if index % 2 else "disliked")
    lines = (json.dumps({"review": row, "verdict": label}) for row, label in zip(rows, labels, strict=True))
    path.write_text("\n".join(lines))
    return rows, labels


COMMON = {
    "loss": {"base": {"kind": "cross_entropy"}},
    "optimizer": {"kind": "adam", "learning_rate": 0.02},
    "training": {"epochs": 25, "batch_size": 16},
    "export": ["safetensors", "onnx"],
}
KINDS = {
    "images": (photos, "data.parquet", {"net": {"kind": "cnn", "channels": [8], "convolutions": 1}}),
    "texts": (reviews, "data.jsonl", {"net": {"kind": "rnn", "hidden": 12, "embedding": 12}}),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_command_makes_a_model_and_a_graph_that_answer_alike(kind, tmp_path, monkeypatch):
    write, name, own = KINDS[kind]
    rows, labels = write(tmp_path / name)
    (tmp_path / "spec.json").write_text(json.dumps(COMMON | own))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["train", "spec.json", name, "--out", "run", "--json", "--quiet"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["val.accuracy"] >= 0.9
    model = softreg_core.load(tmp_path / "run")
    assert (model.predict(rows) == np.array(labels)).mean() >= 0.9
    preprocessing = preprocessing_of(json.loads((tmp_path / "run" / "model.json").read_text()))
    session = onnxruntime.InferenceSession(tmp_path / "run" / "model.onnx")
    answers = session.run(None, prepare_rows(preprocessing, rows))[0]
    assert np.array_equal(np.array(model.labels)[answers.argmax(axis=1)], model.predict(rows))
    assert np.abs(answers - model.probabilities(rows)).max() < 1e-4
