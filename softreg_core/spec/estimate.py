"""What a job will need, computed without torch."""

from __future__ import annotations

import itertools
from typing import Literal

from softreg_core.spec.beside import twin_of
from softreg_core.spec.inputs import InputShape
from softreg_core.spec.loss import LossSpec
from softreg_core.spec.net import MlpSpec, NetSpec
from softreg_core.spec.net_fit import misfit_of_net

__all__ = ["parameter_count", "passes_per_step", "rows_of_batch", "steps_per_epoch"]


def parameter_count(net: NetSpec, shape: InputShape, outputs: int) -> int:
    """Number of trainable numbers: weights and biases of every layer."""
    misfit = misfit_of_net(net, shape)
    if misfit is not None:
        raise ValueError(misfit)
    return _mlp(net, shape, outputs)


def _mlp(net: MlpSpec, shape: InputShape, outputs: int) -> int:
    widths = [shape.numbers if shape.kind == "table" else 0, *net.hidden, outputs]
    normed = 0 if net.norm == "none" else 2 * sum(net.hidden)
    return normed + sum(before * after + after for before, after in itertools.pairwise(widths))


def rows_of_batch(batch_size: int | Literal["full"], train_rows: int) -> int:
    """Rows of one optimiser step; the last one of an epoch may have fewer."""
    return max(1, train_rows) if batch_size == "full" else batch_size


def steps_per_epoch(train_rows: int, batch_size: int | Literal["full"]) -> int:
    """Optimiser steps in one pass; the last batch may be smaller."""
    return -(-train_rows // rows_of_batch(batch_size, train_rows))


def passes_per_step(loss: LossSpec) -> int:
    """How often a training step goes through the network, forward and back; a teacher's pass goes forward only."""
    return 1 if twin_of(loss) is None else 2
