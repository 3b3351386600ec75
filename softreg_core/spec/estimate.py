"""What a job will need, computed without torch."""

from __future__ import annotations

import itertools

from softreg_core.spec.inputs import InputShape
from softreg_core.spec.net import NetSpec

__all__ = ["parameter_count", "steps_per_epoch"]


def parameter_count(net: NetSpec, shape: InputShape, outputs: int) -> int:
    """Number of trainable numbers: weights and biases of every layer."""
    if shape.kind != "table":
        raise ValueError(f"a {net.kind} does not take inputs of kind {shape.kind}")
    widths = [shape.numbers, *net.hidden, outputs]
    return sum(before * after + after for before, after in itertools.pairwise(widths))


def steps_per_epoch(train_rows: int, batch_size: int) -> int:
    """Optimiser steps in one pass; the last batch may be smaller."""
    return -(-train_rows // batch_size)
