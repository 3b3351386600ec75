"""What a job will need, computed without torch."""

from __future__ import annotations

from typing import Literal

from softreg_core.spec.beside import twin_of
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.loss import LossSpec
from softreg_core.spec.net import NetSpec
from softreg_core.spec.net_fit import misfit_of_net
from softreg_core.spec.parameters import COUNTS
from softreg_core.spec.training import TrainingSpec
from softreg_core.spec.work import work_per_row

__all__ = ["bytes_of_batch", "parameter_count", "passes_per_step", "rows_of_batch", "steps_per_epoch"]


def parameter_count(net: NetSpec, shape: InputShape, outputs: int) -> int:
    """Number of trainable numbers: weights and biases of every layer.

    Raises:
        ValueError: the network does not take such inputs.
    """
    misfit = misfit_of_net(net, shape)
    if misfit is not None:
        raise ValueError(misfit)
    return COUNTS[net.kind](net, shape, outputs)


def rows_of_batch(batch_size: int | Literal["full"], train_rows: int) -> int:
    """Rows of one optimiser step; the last one of an epoch may have fewer."""
    return max(1, train_rows) if batch_size == "full" else batch_size


def bytes_of_batch(net: NetSpec, shape: InputShape, outputs: int, training: TrainingSpec, train_rows: int) -> int:
    """What the largest layer alone holds of what goes through the network at a time; all of it is several times that.

    Args:
        net: which network.
        shape: what it takes.
        outputs: numbers that it gives for a row.
        training: how many rows are a batch, and in how many parts they go through.
        train_rows: rows of one epoch.
    """
    rows = min(rows_of_batch(training.batch_size, train_rows), max(1, train_rows))
    return 4 * -(-rows // training.accumulate) * work_per_row(net, shape, outputs).numbers


def steps_per_epoch(train_rows: int, batch_size: int | Literal["full"]) -> int:
    """Optimiser steps in one pass; the last batch may be smaller."""
    return -(-train_rows // rows_of_batch(batch_size, train_rows))


def passes_per_step(loss: LossSpec) -> int:
    """How often a training step goes through the network, forward and back; a teacher's pass goes forward only."""
    return 1 if twin_of(loss) is None else 2
