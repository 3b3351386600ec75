"""The rows of a dataset as the tensors that training needs."""

# N rows, C target columns

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from softreg_core.data.cells import Cells, TableCells
from softreg_core.data.encode import begin_fit
from softreg_core.data.part import Part
from softreg_core.data.preprocessing import Preprocessing
from softreg_core.data.splits import trainable_rows
from softreg_core.data.streamed import StreamedPart
from softreg_core.data.table import Table
from softreg_core.data.target import TargetFit, target_array, weight_array, weightless
from softreg_core.room import require_room
from softreg_core.spec.memory import bytes_of_decoded
from softreg_core.spec.train import TrainSpec

__all__ = ["PreparedData", "part_of", "prepare", "what_prepares"]


@dataclass(frozen=True, eq=False)
class PreparedData:
    """Everything that training reads."""

    train: Part | StreamedPart
    validation: Part | StreamedPart
    test: Part | StreamedPart
    preprocessing: Preprocessing


def prepare(spec: TrainSpec, table: Table) -> PreparedData:
    """Split, learn of the training rows what is done before the network, do it to every row, and make tensors.

    Args:
        spec: resolved against `table.report`; see `softreg_core.spec.resolve`.
        table: the dataset.

    Raises:
        DataError: a used cell is missing, unknown or not a finite float32 number after scaling, and no policy takes
            it; row (from 1) and column are named. Or the training rows are fewer than two, or of a single class.
        ResourceError: the prepared rows need more memory than is free.
    """
    require_room(
        bytes_of_decoded(spec.task.input, table.report),
        f"preparing {table.report.rows} rows of this size",
        "choose a smaller task.input, or fewer rows",
    )
    rows = trainable_rows(spec, table)
    inputs_fit, target_fit = begin_fit(spec, table.report), TargetFit(spec, table.report)
    train = TableCells(table, rows.train)
    target_fit.add(train)
    inputs_fit.add(train)
    preprocessing = target_fit.finish(inputs_fit.finish())
    training, validation, test = (part_of(preprocessing, TableCells(table, some)) for some in rows)
    weights = weight_array(spec, train)
    if weights is not None:
        if not weights.any():
            raise weightless(spec)
        training = replace(training, weight=torch.from_numpy(weights))
    return PreparedData(training, validation, test, preprocessing)


def what_prepares(spec: TrainSpec) -> str:
    """All that `prepare` takes from a spec, as text: specs with the same one have the same rows of the same table.

    Network and batch size decide only whether `prepare` refuses the rows, and the engine looks at that again.
    """
    return spec.model_dump_json(include={"task", "split", "preprocess"})


def part_of(preprocessing: Preprocessing, cells: Cells) -> Part:
    """Rows as the tensors that training needs.

    Raises:
        DataError: a cell is missing, unknown or not a finite float32 number after scaling, and no policy takes it.
    """
    inputs = tuple(map(torch.from_numpy, preprocessing.inputs.scaled(cells)))
    return Part(inputs, torch.from_numpy(target_array(preprocessing, cells)))
