"""What a practitioner gets wrong, on every kind of data: an error of the project that names row, column or field."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import soundfile
from PIL import Image

import softreg_core
from softreg_core.data.arrays import table_from_arrays
from softreg_core.data.parse import read_table_file
from softreg_core.data.tabular import prepare
from softreg_core.engine import fit
from softreg_core.errors import DataError, NonFiniteLossError, SpecError
from softreg_core.export import save_model
from softreg_core.spec import TrainSpec, resolve
from tests.core.training.trained import table_of_parquet

ROWS = 20
LABELS = ["a", "b"] * (ROWS // 2)
SHORT = {"training": {"epochs": 1}}


def png(side=6):
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 90, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def wav(samples=400):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.linspace(-0.5, 0.5, samples), 4000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def run(table, **document):
    spec = resolve(TrainSpec.model_validate(SHORT | document), table.report).spec
    return fit(spec, prepare(spec, table))


def model_of(table, folder, **document):
    result = run(table, **document)
    folder.mkdir()
    save_model(result.model, folder, result.metrics)
    return softreg_core.load(folder)


def numbers(target):
    return table_from_arrays(np.random.default_rng(0).normal(size=(len(target), 3)), np.asarray(target))


@pytest.mark.parametrize(
    ("good", "bad"),
    [(png(), png()[:50]), (png(), b"GIF89a"), (png(), b""), (wav(), wav()[:44]), (wav(), wav()[:500]), (wav(), png())],
    ids=["cut-image", "torn-image", "no-image", "header", "cut-sound", "image-for-sound"],
)
def test_a_damaged_image_or_sound_is_named_by_row_and_column_in_both_formats(good, bad, tmp_path):
    cells = [good, good, bad, good]
    with pytest.raises(DataError) as caught:
        table_of_parquet(tmp_path / "rows.parquet", {"medium": cells, "y": LABELS[:4]})
    assert (caught.value.row, caught.value.column) == (3, "medium")
    kind = "sound" if good[:4] == b"RIFF" else "image"
    lines = [
        {"medium": {kind: base64.b64encode(cell).decode()}, "y": label}
        for cell, label in zip(cells, LABELS, strict=False)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DataError) as caught:
        read_table_file(tmp_path / "rows.jsonl")
    assert (caught.value.row, caught.value.column) == (3, "medium")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    texts = [f"a text that is long enough to be text {row}" + "x" * 255 for row in range(ROWS)]
    own = {
        "image": ([png()] * ROWS, {"net": {"kind": "cnn", "channels": [2]}}),
        "sound": ([wav()] * ROWS, {"net": {"kind": "rnn", "hidden": 2}}),
        "text": (texts, {"net": {"kind": "rnn", "hidden": 2, "embedding": 2}}),
        "sequence": ([[[0.5, 1.0]] * (1 + row % 4) for row in range(ROWS)], {"net": {"kind": "rnn", "hidden": 2}}),
        "category": (["Oslo", "Rome"] * (ROWS // 2), {}),
    }
    return {
        kind: model_of(table_of_parquet(folder / f"{kind}.parquet", {"x": cells, "y": LABELS}), folder / kind, **net)
        for kind, (cells, net) in own.items()
    }


SILENT = np.zeros(400, dtype=np.float32)
WRONG = {
    "image": ["photo.png", None, np.zeros((3, 0, 6), dtype=np.uint8), np.zeros((6, 6, 3), dtype=np.uint8)],
    "sound": [
        SILENT,
        None,
        (SILENT, 0),
        (SILENT[:0], 4000),
        (np.full(400, np.nan), 4000),
        (SILENT.reshape(2, 200), 4000),
    ],
    "text": [3, None, float("nan")],
    "sequence": [np.zeros((3, 5)), None, np.zeros((0, 2)), np.full((3, 2), np.inf), np.zeros(3), "steps"],
    "category": ["Lima", None, 3],
}


@pytest.mark.parametrize(("kind", "cell"), [(kind, cell) for kind, cells in WRONG.items() for cell in cells])
def test_a_cell_that_a_model_cannot_take_is_named_by_row_and_column(models, kind, cell):
    good = {
        "image": np.zeros((3, 6, 6), dtype=np.uint8),
        "sound": (SILENT, 4000),
        "text": "fine",
        "sequence": np.zeros((2, 2)),
        "category": "Oslo",
    }[kind]
    with pytest.raises(DataError) as caught:
        models[kind].predict([{"x": good}, {"x": cell}])
    assert (caught.value.row, caught.value.column) == (2, "x")
    assert len(models[kind].predict([{"x": good}])) == 1


def test_a_misspelt_column_is_not_read_as_an_empty_text(models):
    with pytest.raises(DataError) as caught:
        models["text"].predict([{"X": "fine"}])
    assert (caught.value.reason, caught.value.row, caught.value.column) == ("missing", 1, "x")


def test_missing_texts_are_empty_ones_if_the_spec_says_so(tmp_path):
    texts = [None if row % 5 == 4 else "word " * 60 + str(row) for row in range(ROWS)]
    table = table_of_parquet(tmp_path / "rows.parquet", {"x": texts, "y": LABELS})
    with pytest.raises(SpecError) as caught:
        run(table)
    assert "column 'x', rows 5, 10, 15, 20: missing value" in [problem.message for problem in caught.value.problems]
    net = {"kind": "rnn", "hidden": 2, "embedding": 2}
    model = model_of(table, tmp_path / "model", net=net, task={"missing": "impute"})
    assert model.predict([None]) == model.predict([""])


def test_a_label_that_a_model_does_not_know_is_named_by_row(models):
    with pytest.raises(DataError, match="column 'y', row 2: the target holds a label") as caught:
        models["category"].evaluate(["Oslo", "Rome"], ["a", "c"])
    assert (caught.value.row, caught.value.column) == (2, "y")


def test_a_teacher_with_other_outputs_is_refused_before_a_step(models):
    teaching = {"base": {"kind": "cross_entropy"}, "alpha": 0.5, "divergence": {"kind": "teacher"}}
    table = numbers([0, 1, 2] * 7)
    spec = resolve(TrainSpec.model_validate(SHORT | {"loss": teaching}), table.report).spec
    with pytest.raises(DataError, match="other outputs"):
        fit(spec, prepare(spec, table), teacher=models["category"])


def test_a_teacher_that_the_loss_does_not_ask_for_is_refused_as_that(models):
    table = numbers([0, 1, 2] * 7)
    spec = resolve(TrainSpec.model_validate(SHORT), table.report).spec
    with pytest.raises(SpecError, match="a teacher was given"):
        fit(spec, prepare(spec, table), teacher=models["category"])


@pytest.mark.parametrize("stratify", ["auto", False])
def test_a_fold_of_one_class_is_named(stratify):
    table = numbers([1] + [0] * 39)
    refused = []
    for fold in range(5):
        try:
            run(table, split={"folds": 5, "fold": fold, "stratify": stratify})
        except SpecError as error:
            refused += [problem.message.startswith(f"fold {fold} of 5: ") for problem in error.problems]
        except DataError as error:
            refused.append(error.message.startswith(f"fold {fold} of 5: ") and error.column == "target")
    assert refused == [True] * 5


def test_batch_norm_says_which_batch_size_it_could_take():
    document = {"net": {"kind": "mlp", "norm": "batch"}, "training": {"epochs": 1, "batch_size": 5}}
    with pytest.raises(SpecError) as caught:
        run(numbers([0, 1] * 13), **document)
    (problem,) = caught.value.problems
    assert (problem.pointer, "choose batch_size" in problem.message) == ("/training/batch_size", True)
    fewer = {"net": {"kind": "mlp", "norm": "batch"}, "training": {"epochs": 1, "batch_size": 500}}
    assert "val.accuracy" in run(numbers([0, 1] * 13), **fewer).metrics


@pytest.mark.parametrize(("how", "said"), [("fail", "at step"), ("skip", "every step"), ("rewind", "undone")])
def test_a_rate_that_no_run_survives_ends_it_with_the_step(how, said):
    training = {"epochs": 5, "batch_size": 8, "on_nonfinite": how}
    optimizer = {"kind": "sgd", "learning_rate": 1e6}
    with pytest.raises(NonFiniteLossError, match=said):
        run(numbers(np.linspace(0.0, 1.0, 40)), task={"kind": "regression"}, optimizer=optimizer, training=training)
