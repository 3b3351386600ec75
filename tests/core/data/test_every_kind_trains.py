"""Each kind of data from a stored table to a saved model, which takes raw rows and answers as it did in training."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import softreg_core
from softreg_core.data.cells import TableCells
from softreg_core.data.formats.flat_columns import Images, Sequences, Sounds, Texts
from softreg_core.data.prepare import prepare_rows, preprocessing_of
from softreg_core.data.report import ColumnReport, DatasetReport, Flaw
from softreg_core.data.splits import split_rows
from softreg_core.data.table import Table
from softreg_core.data.tabular import prepare
from softreg_core.engine import CheckpointDue, Finished, fit, train
from softreg_core.export import export_model, save_model
from softreg_core.spec import TrainSpec, resolve

ROWS = 40
CODES = np.arange(ROWS) % 2
LABEL = ColumnReport(
    name="label", kind="category", tensor="codes", position=0, distinct=2, levels=("a", "b"), level_counts=(20, 20)
)


def with_labels(columns, tensors):
    report = DatasetReport(format="jsonl", rows=ROWS, columns=(*columns, LABEL))
    return Table(report, {**tensors, "codes": CODES.astype(np.int32)[:, np.newaxis]})


def flat(column):
    tensors = {f"flat.0{suffix}": values for suffix, values in column.tensors.items()}
    return with_labels([column.report("flat.0")], tensors)


def mixed_table():
    ages = np.where(np.arange(ROWS) % 9 == 4, np.nan, 30.0 + 3.0 * CODES)
    pets = (np.arange(ROWS) % 4 // 2).astype(np.int32)
    flaw = Flaw(kind="missing", count=int(np.isnan(ages).sum()), first_rows=(5, 14, 23, 32))
    pet = ColumnReport(
        name="pet", kind="category", tensor="pets", position=0, distinct=2, levels=("cat", "dog"), level_counts=(20, 20)
    )
    age = ColumnReport(name="age", kind="numeric", tensor="ages", position=0, flaws=(flaw,))
    tensors = {"ages": ages[:, np.newaxis], "pets": pets[:, np.newaxis]}
    rows = [
        {"age": None if np.isnan(value) else value, "pet": ("cat", "dog")[code]}
        for value, code in zip(ages, pets, strict=True)
    ]
    return with_labels([age, pet], tensors), rows


def image_table():
    random = np.random.default_rng(0)
    rows = [(random.integers(0, 100, (1, 8, 8)) + 100 * code).astype(np.uint8) for code in CODES]
    images = Images()
    for row in rows:
        images.add(row)
    return flat(images.finish("photo")), rows


def text_table():
    rows = [("good day " if code else "bad night ") * (1 + index % 3) for index, code in enumerate(CODES)]
    texts = Texts()
    for row in rows:
        texts.add(row)
    return flat(texts.finish("review", None)), rows


def sound_table():
    times = np.arange(1600) / 8000
    rows = [
        ((0.5 * np.sin(2 * np.pi * (400 + 800 * code) * times[: 1600 - 5 * index])).astype(np.float32), 8000)
        for index, code in enumerate(CODES)
    ]
    sounds = Sounds()
    for samples, rate in rows:
        sounds.add(samples, rate)
    return flat(sounds.finish("word")), rows


def sequence_table():
    random = np.random.default_rng(0)
    rows = [random.normal(10.0 + 2.0 * code, 1.0, (3 + index % 4, 2)) for index, code in enumerate(CODES)]
    sequences = Sequences(2, np.float64)
    for row in rows:
        sequences.add(row)
    return flat(sequences.finish("walk")), rows


SMALL_CNN = {"kind": "cnn", "channels": [4], "convolutions": 1}
AUGMENT = {"kind": "image", "augment": {"flip_horizontal": True, "crop_padding": 1}}
KINDS = {
    "table": (mixed_table, {"task": {"missing": "impute"}}),
    "table-transformer": (
        mixed_table,
        {"task": {"missing": "impute"}, "net": {"kind": "transformer", "width": 8, "heads": 2, "layers": 1}},
    ),
    "image": (image_table, {"net": SMALL_CNN, "task": {"input": AUGMENT}}),
    "image-resized": (image_table, {"net": SMALL_CNN, "task": {"input": {"kind": "image", "height": 4, "width": 5}}}),
    "text": (text_table, {"net": {"kind": "rnn", "hidden": 8, "embedding": 8}}),
    "bytes": (
        text_table,
        {"net": {"kind": "rnn", "hidden": 8}, "task": {"input": {"kind": "text", "vocabulary": "byte"}}},
    ),
    "sound": (sound_table, {"net": {"kind": "rnn", "hidden": 8}}),
    "sequence": (sequence_table, {"net": {"kind": "rnn", "hidden": 8, "cell": "gru"}}),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_saved_model_answers_raw_rows_as_it_did_in_training(kind, tmp_path):
    make, document = KINDS[kind]
    table, rows = make()
    common = {
        "loss": {"base": {"kind": "cross_entropy"}},
        "optimizer": {"learning_rate": 0.02},
        "training": {"epochs": 12, "batch_size": 8},
    }
    resolution = resolve(TrainSpec.model_validate(common | document), table.report)
    data = prepare(resolution.spec, table)
    result = fit(resolution.spec, data)
    assert result.metrics["val.accuracy"] >= 0.85
    save_model(result.model, tmp_path, result.metrics)
    model = softreg_core.load(tmp_path)
    some = split_rows(resolution.spec, table).validation
    wanted = np.array(LABEL.levels)[CODES[some]]
    raw = [rows[row] for row in some]
    assert (model.predict(raw) == wanted).mean() == pytest.approx(result.metrics["val.accuracy"])
    with torch.no_grad():
        scores = model.net(*data.validation.inputs).numpy()
    assert np.array_equal(model.scores(raw), scores)
    tensors = prepare_rows(preprocessing_of(json.loads((tmp_path / "model.json").read_text())), raw)
    assert tuple(tensors) == resolution.shape.names
    for ours, stored in zip(tensors.values(), data.preprocessing.inputs.arrays(TableCells(table, some)), strict=True):
        assert np.array_equal(ours, stored)
    resumed = resolve(TrainSpec.model_validate_json(resolution.spec.model_dump_json()), table.report)
    assert resumed.spec == resolution.spec


NOISES = {
    "table": {"penalties": {"input_noise": 0.1}},
    "image": {"penalties": {"mixup": 0.4}, "training": {"epochs": 2, "batch_size": 8, "average_weights": {}}},
    "sequence": {"penalties": {"input_noise": 0.1}},
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_run_writes_to_nothing_that_it_is_given(kind):
    """A warm runner gives the same table and rows to the next job."""
    make, document = KINDS[kind]
    table, _ = make()
    for array in table.tensors.values():
        array.flags.writeable = False
    common = {"loss": {"base": {"kind": "cross_entropy"}}, "training": {"epochs": 2, "batch_size": 8}}
    spec = resolve(TrainSpec.model_validate(common | document | NOISES.get(kind, {})), table.report).spec
    data = prepare(spec, table)
    tensors = [tensor for part in (data.train, data.validation, data.test) for tensor in (*part.inputs, part.target)]
    before = [(tensor.clone(), tensor._version) for tensor in tensors]
    fit(spec, data)
    for tensor, (was, version) in zip(tensors, before, strict=True):
        assert torch.equal(tensor, was)
        assert tensor._version == version


def test_auto_takes_the_media_column_and_says_what_it_leaves(tmp_path):
    table, _ = image_table()
    extra = ColumnReport(name="id", kind="numeric", tensor="id", position=0)
    report = table.report.model_copy(update={"columns": (extra, *table.report.columns)})
    resolution = resolve(TrainSpec.model_validate({"net": SMALL_CNN}), report)
    assert resolution.spec.task.features == ("photo",)
    assert "id" in next(a.message for a in resolution.advice if a.code == "columns_left_out")


def test_digits_are_seen_as_images():
    from softreg_core.data.sample import load_sample

    table = load_sample("digits")
    spec = {"net": SMALL_CNN, "task": {"input": {"kind": "image"}}}
    resolution = resolve(TrainSpec.model_validate(spec), table.report)
    assert resolution.shape.model_dump() == {"kind": "image", "channels": 1, "height": 8, "width": 8}
    data = prepare(resolution.spec, table)
    assert data.train.inputs[0].shape == (1438, 1, 8, 8)
    assert data.preprocessing.statistics["mean"][0] == pytest.approx(4.88, abs=0.1)


def test_the_parameters_promised_at_submit_are_an_upper_bound_for_texts():
    table, _ = text_table()
    resolution = resolve(TrainSpec.model_validate({"net": {"kind": "rnn"}}), table.report)
    data = prepare(resolution.spec, table)
    assert data.preprocessing.shape.vocabulary == 2 + 4
    assert resolution.shape.vocabulary > data.preprocessing.shape.vocabulary
    assert resolution.shape.longest >= data.preprocessing.shape.longest == 6


@pytest.mark.parametrize("kind", ["image", "sound", "sequence", "text", "bytes"])
def test_rows_that_only_validate_change_nothing_that_is_learned(kind):
    """The validation rows become those of others; of the training rows every bit stays."""
    make, document = KINDS[kind]
    table, _ = make()
    spec = resolve(TrainSpec.model_validate(document), table.report).spec
    rows = split_rows(spec, table)
    flat_column = table.tensors["flat.0"]
    ends = table.tensors["flat.0.ends"]
    changed = flat_column.copy()
    for row in rows.validation:
        changed[ends[row - 1] if row else 0 : ends[row]] = 33 if flat_column.dtype == np.uint8 else 0.25
    other = Table(table.report, {**table.tensors, "flat.0": changed})
    found = [prepare(spec, some) for some in (table, other)]
    learned = [data.preprocessing.inputs.model_dump_json() for data in found]
    assert learned[0] == learned[1]
    assert all(map(torch.equal, found[0].train.inputs, found[1].train.inputs))
    assert not all(map(torch.equal, found[0].validation.inputs, found[1].validation.inputs))


def test_a_run_on_changed_images_that_was_stopped_ends_with_the_same_bits(digest):
    table, _ = image_table()
    net = {"kind": "linear"}
    document = {"net": net, "task": {"input": AUGMENT}, "training": {"epochs": 3, "batch_size": 8}}
    spec = resolve(TrainSpec.model_validate(document), table.report).spec
    data = prepare(spec, table)
    whole = next(event for event in train(spec, data) if isinstance(event, Finished))
    plain = spec.model_copy(update={"task": spec.task.model_copy(update={"input": plain_view(spec)})})
    assert digest(fit(plain, data).model.tensors) != digest(whole.model.tensors)
    for steps in (1, 6):
        answers = iter([None] * steps)
        events = list(train(spec, data, control=lambda answers=answers: next(answers, "stop")))
        stopped = events[-1].state
        best = [event.state for event in events if isinstance(event, CheckpointDue) and event.is_best]
        resumed = train(spec, data, resume=stopped, resume_best=best[-1] if best else None)
        assert digest(next(e for e in resumed if isinstance(e, Finished)).model.tensors) == digest(whole.model.tensors)


def plain_view(spec):
    return spec.task.input.model_copy(update={"augment": None})


@pytest.mark.long
@pytest.mark.parametrize("kind", ["table", "image", "bytes", "sound", "sequence"])
def test_the_onnx_graph_takes_what_is_prepared_without_torch(kind, tmp_path):
    import onnxruntime

    make, document = KINDS[kind]
    table, rows = make()
    common = {"loss": {"base": {"kind": "cross_entropy"}}, "training": {"epochs": 1}}
    spec = resolve(TrainSpec.model_validate(common | document), table.report).spec
    result = fit(spec, prepare(spec, table))
    save_model(result.model, tmp_path, result.metrics)
    export_model(tmp_path, "onnx")
    preprocessing = preprocessing_of(json.loads((tmp_path / "model.json").read_text()))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, prepare_rows(preprocessing, rows[:5]))
    assert np.abs(found - softreg_core.load(tmp_path).probabilities(rows[:5])).max() < 1e-6
