"""From a file in parts to prepared rows on disk, in three readings: split, learn, deal; torch-free."""

# N rows of the file

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from softreg_core.data.cells import TableCells
from softreg_core.data.encode import begin_fit
from softreg_core.data.preprocessing import Preprocessing
from softreg_core.data.report import ColumnReport, DatasetReport
from softreg_core.data.splits import resolved_names, trainable_rows
from softreg_core.data.stream.chunks import Chunks, chunk_of
from softreg_core.data.stream.pieces import Dealer, Pieces
from softreg_core.data.table import Table
from softreg_core.data.target import TargetFit, target_array, weight_array, weightless
from softreg_core.errors import DataError
from softreg_core.spec.train import TrainSpec

__all__ = ["Dealt", "deal"]

_PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Dealt:
    """Every part of the split, prepared and on disk: inputs, then the target, then perhaps a training row's weight."""

    train: Pieces
    validation: Pieces | None
    test: Pieces | None
    preprocessing: Preprocessing
    has_weight: bool
    """Whether training rows weigh differently."""


def deal(spec: TrainSpec, report: DatasetReport, chunks: Chunks, directory: Path) -> Dealt:
    """Split the rows, learn of the training rows what is done before the network, do it, and write what comes of it.

    Args:
        spec: resolved against `report`.
        report: of the whole file.
        chunks: the file.
        directory: an empty one, with room for the prepared rows.

    Raises:
        DataError: as for data in memory; see softreg_core.data.tabular.
    """
    rows = trainable_rows(spec, _known_whole(spec, report, chunks))
    part_N = np.zeros(report.rows, dtype=np.uint8)
    for number, some in enumerate(rows):
        part_N[some] = number
    sizes = [some.size for some in rows]
    del rows
    preprocessing = _learned(spec, report, chunks, part_N)
    pieces = _dealt(spec, report, chunks, part_N, sizes, preprocessing, directory)
    # What was read is on disk now; Arrow keeps its memory for the next file otherwise, and there is none.
    pa.default_memory_pool().release_unused()
    has_weight = spec.task.weight is not None
    return Dealt(pieces["train"], pieces.get("validation"), pieces.get("test"), preprocessing, has_weight)


class _ChunkCells(TableCells):
    """Some rows of a part of the file; their numbers are those of the file."""

    def __init__(self, table: Table, rows: NDArray[np.int64], before: int) -> None:
        super().__init__(table, rows)
        self._before = before

    def row(self, index: int) -> int:
        return super().row(index) + self._before


def _cells(
    report: DatasetReport, chunks: Chunks, part_N: NDArray[np.uint8], parts: range
) -> Iterator[tuple[int, _ChunkCells]]:
    """The rows of some parts of the split, chunk by chunk, and which part they are of."""
    before = 0
    for chunk in chunks():
        table = chunk_of(report, chunk)
        own = part_N[before : before + table.report.rows]
        for part in parts:
            rows = np.flatnonzero(own == part)
            if rows.size:
                yield part, _ChunkCells(table, rows, before)
        before += table.report.rows


def _learned(spec: TrainSpec, report: DatasetReport, chunks: Chunks, part_N: NDArray[np.uint8]) -> Preprocessing:
    inputs, target = begin_fit(spec, report), TargetFit(spec, report)
    is_weightless = spec.task.weight is not None
    for _, cells in _cells(report, chunks, part_N, range(1)):
        target.add(cells)
        inputs.add(cells)
        weights = weight_array(spec, cells)
        is_weightless = is_weightless and weights is not None and not weights.any()
    if is_weightless:
        raise weightless(spec)
    return target.finish(inputs.finish())


def _dealt(
    spec: TrainSpec,
    report: DatasetReport,
    chunks: Chunks,
    part_N: NDArray[np.uint8],
    sizes: list[int],
    preprocessing: Preprocessing,
    directory: Path,
) -> dict[str, Pieces]:
    dealers: dict[int, Dealer] = {}
    for part, cells in _cells(report, chunks, part_N, range(len(_PARTS))):
        arrays = [*preprocessing.inputs.scaled(cells), target_array(preprocessing, cells)]
        weights = weight_array(spec, cells) if part == 0 else None
        if weights is not None:
            arrays.append(weights)
        if part not in dealers:
            place = directory / _PARTS[part]
            place.mkdir()
            dealers[part] = Dealer(place, arrays, sizes[part], spec.training.seed)
        dealers[part].add(arrays)
    return {_PARTS[part]: dealer.finish() for part, dealer in dealers.items()}


def _known_whole(spec: TrainSpec, report: DatasetReport, chunks: Chunks) -> Table:
    """A table of the few columns that decide the split, for all rows."""
    split = spec.split
    names = {name for name in (split.column, split.group) if name is not None}
    if split.stratify is True or split.folds is not None:
        names.add(resolved_names(spec.task.target)[0])
    wanted = [column for column in report.columns if column.name in names]
    if not wanted:
        return Table(report, {})
    gathered: dict[str, list[NDArray[Any]]] = {column.name: [] for column in wanted}
    for chunk in chunks():
        table = chunk_of(report, chunk)
        for column in wanted:
            gathered[column.name].append(_column_of(table, column))
    tensors = {name: np.concatenate(blocks)[:, np.newaxis] for name, blocks in gathered.items()}
    placed = [
        column.model_copy(update={"tensor": column.name, "position": 0}) if column.name in tensors else column
        for column in report.columns
    ]
    return Table(report.model_copy(update={"columns": tuple(placed)}), tensors)


def _column_of(table: Table, column: ColumnReport) -> NDArray[Any]:
    """One column's cells as they are stored.

    Raises:
        DataError: texts, of which a file may hold more than memory.
    """
    if column.kind == "category":
        return table.codes(column.name, allow_missing=True).astype(np.int32)
    if column.kind == "numeric":
        return table.values([column.name])[:, 0]
    message = f"column '{column.name}' holds {column.kind}s: data that is streamed is divided by numbers or categories"
    raise DataError(message, "wrong_kind", column=column.name)
