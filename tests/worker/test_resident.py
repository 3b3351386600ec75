"""Datasets that stay in the runner: the next job gets the rows that it would have got, and nobody else's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from softreg_core.data import tabular
from softreg_core.data.parse import parse_sample
from softreg_core.data.table import Table, load_table
from softreg_core.data.tabular import PreparedData, prepare
from softreg_core.engine import train
from softreg_core.errors import DataError
from softreg_core.spec import TrainSpec, resolve
from worker.protocol import FileRef, file_ref
from worker.resident import ResidentData

PLENTY = 2**30


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> FileRef:
    path = tmp_path_factory.mktemp("data") / "digits"
    parse_sample("digits", path)
    return file_ref(path)


class Reader:
    """Counts what is read and what is prepared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded = self.prepared = 0
        monkeypatch.setattr(tabular, "prepare", self._prepare)

    def load(self, ref: FileRef) -> Table:
        self.loaded += 1
        return load_table(Path(ref.path))

    def _prepare(self, spec: TrainSpec, table: Table) -> PreparedData:
        self.prepared += 1
        return prepare(spec, table)

    @property
    def counts(self) -> tuple[int, int]:
        return self.loaded, self.prepared


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(monkeypatch)


def spec_of(ref: FileRef, **blocks: Any) -> TrainSpec:
    return resolve(TrainSpec.model_validate(blocks), load_table(Path(ref.path)).report).spec


def tensors_of(data: PreparedData) -> list[torch.Tensor]:
    parts = (data.train, data.validation, data.test)
    return [tensor for part in parts for tensor in (*part.inputs, part.target, part.weight) if tensor is not None]


def digest(data: PreparedData) -> str:
    found = hashlib.sha256(repr(data.preprocessing).encode())
    for tensor in tensors_of(data):
        found.update(repr((tensor.dtype, tuple(tensor.shape))).encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def test_the_next_job_on_the_same_rows_reads_and_prepares_nothing(digits: FileRef, reader: Reader) -> None:
    resident = ResidentData(PLENTY, reader.load)
    first = resident.ready(digits, spec_of(digits))
    other = spec_of(
        digits,
        net={"hidden": [8]},
        loss={"alpha": 0.5},
        training={"epochs": 3, "batch_size": 16, "seed": 9},
        optimizer={"kind": "sgd"},
    )
    again = resident.ready(digits, other)
    assert again.data is first.data
    assert again.rows == 1797
    assert reader.counts == (1, 1)


@pytest.mark.parametrize(
    "blocks",
    [
        {"split": {"seed": 1}},
        {"split": {"train": 0.7, "validation": 0.2, "test": 0.1}},
        {"split": {"stratify": False}},
        {"split": {"folds": 5}},
        {"split": {"folds": 5, "fold": 1}},
        {"split": {"folds": 5, "seed": 3}},
        {"task": {"kind": "regression"}},
        {"task": {"kind": "regression", "target": "pixel_0_3"}},
        {"task": {"features": ["pixel_0_3", "pixel_0_4"]}},
        {"task": {"features": ["pixel_0_4", "pixel_0_3"]}},
        {"task": {"weight": "pixel_0_3"}},
        {"task": {"missing": "impute"}},
        {"preprocess": {"features": "none"}},
        {"task": {"kind": "regression"}, "preprocess": {"target": "none"}},
    ],
    ids=str,
)
def test_another_question_gets_its_own_rows_from_the_same_table(
    digits: FileRef, reader: Reader, blocks: dict[str, Any]
) -> None:
    resident = ResidentData(PLENTY, reader.load)
    resident.ready(digits, spec_of(digits))
    spec = spec_of(digits, **blocks)
    found = resident.ready(digits, spec).data
    assert reader.counts == (1, 2)
    assert digest(found) == digest(prepare(spec, load_table(Path(digits.path))))
    assert resident.ready(digits, spec).data is found


def test_what_is_asked_of_the_data_is_all_that_rows_are_made_of(digits: FileRef) -> None:
    read: set[str] = set()

    class Watched:
        def __init__(self, block: Any, name: str, depth: int) -> None:
            self._it, self._name, self._depth = block, name, depth

        def __getattr__(self, name: str) -> Any:
            path = f"{self._name}.{name}".lstrip(".")
            read.add(path)
            value = getattr(self._it, name)
            return Watched(value, path, 1) if self._depth == 0 and name in ("training", "split", "task") else value

    table = load_table(Path(digits.path))
    for blocks in ({}, {"split": {"folds": 3}}, {"task": {"kind": "regression"}}):
        prepare(Watched(spec_of(digits, **blocks), "", 0), table)  # type: ignore[arg-type]
    blocks = {name.partition(".")[0] for name in read}
    # Of these two only whether a batch of one row would be left over: the engine refuses it too.
    assert blocks - {"task", "split", "preprocess"} == {"net", "training"}
    assert {name for name in read if name.startswith("training.")} == {"training.batch_size"}


def test_rows_that_a_network_cannot_take_are_refused_though_they_are_kept(digits: FileRef, reader: Reader) -> None:
    resident = ResidentData(PLENTY, reader.load)
    plain = spec_of(digits, split={"train": 0.8, "validation": 0.2})
    kept = resident.ready(digits, plain)
    rows = kept.data.train.rows
    fussy = plain.model_copy(
        update={
            "net": plain.net.model_copy(update={"norm": "batch"}),
            "training": plain.training.model_copy(update={"batch_size": rows - 1}),
        }
    )
    with pytest.raises(DataError, match="has 1 row"):
        prepare(fussy, load_table(Path(digits.path)))
    again = resident.ready(digits, fussy)
    assert again.data is kept.data
    with pytest.raises(DataError, match="has 1 row"):
        next(iter(train(fussy, again.data)))


def test_the_least_recently_used_goes_when_the_budget_is_spent(digits: FileRef, reader: Reader) -> None:
    probe = ResidentData(PLENTY, reader.load)
    probe.ready(digits, spec_of(digits))
    whole = probe.size
    seeds = [spec_of(digits, split={"seed": seed}) for seed in range(3)]
    prepared = whole - sum(array.nbytes for array in load_table(Path(digits.path)).tensors.values())
    resident = ResidentData(whole + prepared, reader.load)
    for spec in seeds[:2]:
        resident.ready(digits, spec)
    resident.ready(digits, seeds[0])
    assert reader.counts == (2, 3)
    resident.ready(digits, seeds[2])  # room for it: the table has gone, or the rows of the second seed
    assert resident.size <= whole + prepared
    before = reader.prepared
    resident.ready(digits, seeds[0])
    assert reader.prepared == before
    resident.ready(digits, seeds[1])
    assert reader.prepared == before + 1


@pytest.mark.parametrize("most_bytes", [0, 1000])
def test_what_does_not_fit_the_budget_is_not_kept_and_still_trained_on(
    digits: FileRef, reader: Reader, most_bytes: int
) -> None:
    resident = ResidentData(most_bytes, reader.load)
    for _ in range(2):
        assert resident.ready(digits, spec_of(digits)).rows == 1797
        assert resident.size == 0
    assert reader.counts == (2, 2)


def test_what_is_too_large_to_be_kept_drives_nothing_out(digits: FileRef, reader: Reader) -> None:
    resident = ResidentData(100_000, reader.load)
    narrow = spec_of(digits, task={"features": ["pixel_0_3", "pixel_0_4"]})
    kept = resident.ready(digits, narrow)
    resident.ready(digits, spec_of(digits))
    assert resident.ready(digits, narrow).data is kept.data
    assert reader.counts == (2, 2)


def test_rows_that_a_job_wrote_to_are_made_anew(digits: FileRef, reader: Reader) -> None:
    resident = ResidentData(PLENTY, reader.load)
    spec = spec_of(digits)
    spoilt = resident.ready(digits, spec).data
    right = digest(spoilt)
    spoilt.validation.inputs[0][3:7].add_(1.0)  # type: ignore[union-attr]  # of a view, even
    found = resident.ready(digits, spec).data
    assert found is not spoilt
    assert digest(found) == right


def test_a_kept_table_cannot_be_written_to(digits: FileRef, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[Table] = []

    def load(ref: FileRef) -> Table:
        tables.append(load_table(Path(ref.path)))
        return tables[-1]

    ResidentData(PLENTY, load).ready(digits, spec_of(digits))
    for array in tables[0].tensors.values():
        with pytest.raises(ValueError, match="read-only"):
            array[:1] = 0


def test_memory_that_runs_out_is_taken_from_what_is_kept(digits: FileRef, monkeypatch: pytest.MonkeyPatch) -> None:
    resident = ResidentData(PLENTY, lambda ref: load_table(Path(ref.path)))
    resident.ready(digits, spec_of(digits))
    asked: list[int] = []

    def short(spec: TrainSpec, table: Table) -> PreparedData:
        asked.append(resident.size)
        if resident.size > np.asarray([array.nbytes for array in table.tensors.values()]).sum():
            raise MemoryError
        return prepare(spec, table)

    monkeypatch.setattr(tabular, "prepare", short)
    assert resident.ready(digits, spec_of(digits, split={"seed": 1})).rows == 1797
    assert len(asked) == 2

    def never(spec: TrainSpec, table: Table) -> PreparedData:
        raise MemoryError

    monkeypatch.setattr(tabular, "prepare", never)
    with pytest.raises(MemoryError):
        resident.ready(digits, spec_of(digits, split={"seed": 2}))
