"""A Parquet file that is streamed gives the same rows and statistics as one in memory, and trains as well."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from softreg_core.data.large import prepare_large
from softreg_core.data.parse import read_table_file
from softreg_core.data.stream import pieces, source
from softreg_core.data.stream.source import ParquetChunks, is_larger_than, scan
from softreg_core.data.tabular import prepare
from softreg_core.engine import CheckpointDue, Finished, fit, train
from softreg_core.errors import DataError
from softreg_core.spec import TrainSpec, resolve

ROWS = 3000


@pytest.fixture
def small_parts(monkeypatch):
    """Chunks of about 300 rows and pieces of about 200, so that a small file is a large one."""
    monkeypatch.setattr(source, "_NUMBERS_PER_CHUNK", 1800)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 6000)


@pytest.fixture(params=["one row group", "zstd, sorted by label"])
def path(tmp_path, request):
    generator = np.random.default_rng(0)
    label = generator.integers(0, 3, ROWS)
    is_sorted = request.param != "one row group"
    if is_sorted:
        label = np.sort(label)
    columns = {
        "a": generator.normal(size=ROWS) + label,
        "b": pa.array(
            np.where(generator.random(ROWS) < 0.02, np.nan, generator.normal(size=ROWS) - label), from_pandas=True
        ),
        "even": generator.random(ROWS) < 0.5,
        "town": np.array(["Bern", "Oslo", "Rom"])[(label + (generator.random(ROWS) < 0.3)) % 3],
        "weight": generator.random(ROWS) + 0.1,
        "target": label,
    }
    place = tmp_path / "data.parquet"
    parquet.write_table(
        pa.table(columns),
        place,
        row_group_size=250 if is_sorted else ROWS,
        compression="zstd" if is_sorted else "none",
    )
    return place


def job(report, **more):
    spec = {"task": {"missing": "impute", "weight": "weight"}, "split": {"train": 0.7, "validation": 0.2, "test": 0.1}}
    return resolve(TrainSpec.model_validate({**spec, **more}), report).spec


def in_order(rows):
    """All rows, sorted, so that two orders of the same rows are equal."""
    parts = list(rows.batches(512))
    weights = [] if parts[0].weight is None else [torch.cat([part.weight for part in parts])[:, None]]
    inputs = [
        torch.cat(tensors).reshape(rows.rows, -1) for tensors in zip(*(part.inputs for part in parts), strict=True)
    ]
    table = torch.cat([*inputs, rows.target.reshape(rows.rows, -1), *weights], dim=1).double().numpy()
    return table[np.lexsort(table.T)]


def test_streamed_rows_are_those_of_memory_in_every_part(path, tmp_path, small_parts):
    chunks = ParquetChunks(path)
    report = scan(chunks)
    assert len(list(chunks())) > 5
    whole_table = read_table_file(path)
    left_out = {"columns": {"__all__": {"tensor", "position", "mean", "standard_deviation", "distinct"}}}
    assert report.model_dump(exclude=left_out) == whole_table.report.model_dump(exclude=left_out)
    spec = job(report)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    streamed = prepare_large(spec, report, chunks, scratch)
    whole = prepare(spec, whole_table)
    assert streamed.preprocessing.labels == whole.preprocessing.labels
    for part in ("train", "validation", "test"):
        found, wanted = getattr(streamed, part), getattr(whole, part)
        assert found.rows == wanted.rows
        assert np.allclose(in_order(found), in_order(wanted), atol=1e-5)


def test_streamed_training_learns_as_well_and_resumes_bit_for_bit(path, tmp_path, small_parts, digest):
    chunks = ParquetChunks(path)
    report = scan(chunks)
    spec = job(report, training={"epochs": 6}, checkpoints={"every_epochs": 2}, optimizer={"learning_rate": 0.01})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    data = prepare_large(spec, report, chunks, scratch)
    events = list(train(spec, data))
    finished = events[-1]
    assert isinstance(finished, Finished)
    in_memory = fit(spec, prepare(spec, read_table_file(path)))
    assert finished.metrics["test.accuracy"] > in_memory.metrics["test.accuracy"] - 0.03
    assert in_memory.metrics["test.accuracy"] > 0.75
    assert "dealt at random into" in finished.model.manifest.order
    assert in_memory.model.manifest.order == "each epoch permutes all rows"
    states = {event.state.step: event.state for event in events if isinstance(event, CheckpointDue)}
    first = states[min(states)]
    again = [
        event
        for event in train(spec, data, resume=first, resume_best=states.get(first.best.step))
        if isinstance(event, Finished)
    ]
    assert digest(again[0].model.tensors) == digest(finished.model.tensors)
    assert again[0].metrics == finished.metrics


def test_an_interruption_in_the_middle_of_an_epoch_changes_nothing(path, tmp_path, small_parts, digest):
    chunks = ParquetChunks(path)
    report = scan(chunks)
    spec = job(report, training={"epochs": 2})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    data = prepare_large(spec, report, chunks, scratch)
    whole = fit(spec, data)
    countdown = iter([None] * 41 + ["stop"])
    stopped = list(train(spec, data, control=lambda: next(countdown)))[-1]
    (finished,) = (event for event in train(spec, data, resume=stopped.state) if isinstance(event, Finished))
    assert digest(finished.model.tensors) == digest(whole.model.tensors)


def test_a_wrong_cell_is_named_by_its_row_in_the_file(tmp_path, small_parts):
    town = np.array(["Bern", "Oslo"])[np.arange(ROWS) % 2].tolist()
    town[2345] = "Rom"
    part = ["train" if row < 2000 else "validation" for row in range(ROWS)]
    place = tmp_path / "data.parquet"
    parquet.write_table(pa.table({"town": town, "part": part, "target": np.arange(ROWS) % 3}), place)
    chunks = ParquetChunks(place)
    report = scan(chunks)
    asked = {"split": {"column": "part"}, "task": {"features": ["town"]}, "preprocess": {"unknown": "error"}}
    spec = resolve(TrainSpec.model_validate(asked), report)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(DataError, match="row 2346"):
        prepare_large(spec.spec, report, chunks, scratch)


def test_what_counts_as_large_is_what_a_file_unpacks_to(tmp_path):
    place = tmp_path / "zeros.parquet"
    parquet.write_table(pa.table({"x": np.zeros(200_000)}), place, compression="zstd")
    assert place.stat().st_size < 100_000
    assert is_larger_than(place, 1_000_000)
    assert not is_larger_than(place, 10_000_000)
    with pytest.raises(DataError, match="no Parquet file"):
        is_larger_than(tmp_path / "scratch-that-is-not-there", 1)


_MAKE = """
import sys
import numpy as np, pyarrow as pa
from pyarrow import parquet
path, codec, groups, is_sorted = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "sorted"
generator, rows, width = np.random.default_rng(0), 5_000_000, 100
schema = pa.schema([(f"x{i}", pa.float32()) for i in range(width)] + [("target", pa.int64())])
centers = generator.normal(size=(10, width)).astype(np.float32)
with parquet.ParquetWriter(path, schema, compression=codec, use_dictionary=False) as file:
    for start in range(0, rows, rows // groups):
        count = rows // groups
        label = (start + np.arange(count)) * 10 // rows if is_sorted else generator.integers(0, 10, count)
        values = centers[label] + 2.0 * generator.standard_normal((count, width), dtype=np.float32)
        columns = [pa.array(np.ascontiguousarray(column)) for column in values.T] + [pa.array(label)]
        file.write_table(pa.table(columns, schema=schema), row_group_size=count)
"""
_TRAIN = """
import re, sys
from pathlib import Path
from softreg_core.command import app
app(sys.argv[1:], standalone_mode=False)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1], file=sys.stderr)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("codec", "groups", "order"), [("none", 1, "sorted"), ("zstd", 50, "sorted"), ("zstd", 1, "mixed")]
)
def test_two_gigabytes_are_trained_within_one(tmp_path, codec, groups, order):
    place = tmp_path / "large.parquet"
    subprocess.run([sys.executable, "-c", _MAKE, str(place), codec, str(groups), order], check=True)
    assert parquet.read_metadata(place).row_group(0).total_byte_size * groups > 2_000_000_000
    (tmp_path / "spec.json").write_text(
        json.dumps({"training": {"epochs": 1, "batch_size": 4096}, "optimizer": {"learning_rate": 0.01}})
    )
    arguments = ["train", "spec.json", str(place), "--out", "run", "--memory", "500", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    peak_kib = int(done.stderr.split()[-1])
    print(f"{codec}, {groups} row groups, {order}: peak resident set {peak_kib / 1024:.0f} MiB")
    assert peak_kib < 1_000_000
    assert json.loads(done.stdout)["metrics"]["val.accuracy"] > 0.9
