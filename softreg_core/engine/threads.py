"""How many threads a training step is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["limited_threads", "threads_for"]

# A second thread costs some ten microseconds at every operation, which a small job spends a hundred times a step.
# About 20 million multiplications and additions (a few milliseconds) is where it begins to pay.
_WORK_PER_THREAD = 20_000_000


def threads_for(multiplications: int, batch_size: int, available: int) -> int:
    """Threads for a step of about 6 * multiplications * batch_size operations: 1 for small work, at most `available`.

    Args:
        multiplications: of one row, forward; backward has twice as many.
        batch_size: rows.
        available: threads.
    """
    return max(1, min(available, 6 * multiplications * batch_size // _WORK_PER_THREAD))


@contextmanager
def limited_threads(multiplications: int, batch_size: int) -> Iterator[None]:
    """Torch's thread count, which is the whole process's, set for a job and set back after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads_for(multiplications, batch_size, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
