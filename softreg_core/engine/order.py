"""The order in which an epoch visits the training rows: a function of seed and epoch, so that none can be lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softreg_core.keyed import permutation

__all__ = ["epoch_order"]


def epoch_order(seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """A permutation of `range(rows)`; epochs count from 0."""
    return permutation(rows, seed, "order", epoch)
