"""How long the first step of a compiled job takes in a runner that is warm, with the compiler's cache warm.

    python -m benchmarks.train.first_step EPOCHS

The process has imported everything and trained a small job of another shape, eagerly, as a warm runner has; the
compiled function of this job's shape is on disk and not yet in memory. Prints the seconds from the call of `train` to
the end of the first epoch: a compiled call takes many steps, so that the end of the first alone cannot be seen. The
second number is the same for the next job, which finds the function in memory.
"""

from __future__ import annotations

import sys
import time

import torch

from benchmarks.train.job import article
from benchmarks.train.ours import check_tier
from softreg_core.engine import EpochEnded, Started, train

__all__ = ["to_first_epoch"]


def to_first_epoch(engine: str, epochs: int, hidden: int = 64) -> float:
    """Seconds; rows and spec are at hand before."""
    spec, data = article(epochs, net={"kind": "mlp", "hidden": [hidden]}, training={"engine": engine})
    started = time.perf_counter()
    for event in train(spec, data):
        if isinstance(event, Started):
            check_tier(engine, event.manifest)
        if isinstance(event, EpochEnded):
            break
    return time.perf_counter() - started


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked_epochs = int(sys.argv[1])
    to_first_epoch("eager", asked_epochs, hidden=16)
    print(to_first_epoch("compiled", asked_epochs), to_first_epoch("compiled", asked_epochs))
