"""What a job will need, computed without torch."""

from __future__ import annotations

import itertools

from softreg_core.spec.net import NetSpec

__all__ = ["parameter_count", "steps_per_epoch"]


def parameter_count(net: NetSpec, inputs: int, outputs: int) -> int:
    """Number of trainable numbers: weights and biases of every layer."""
    widths = [inputs, *net.hidden, outputs]
    return sum(before * after + after for before, after in itertools.pairwise(widths))


def steps_per_epoch(train_rows: int, batch_size: int) -> int:
    """Optimiser steps in one pass; the last batch may be smaller."""
    return -(-train_rows // batch_size)
