"""What every side of the comparison is given, how its time is taken, and what it hands back; NumPy alone.

A side is a module that is run in a process of its own:

    python -m benchmarks.train.peers.plain JOB.npz RESULT.npz REPEATS
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALPHA", "BATCH_SIZE", "EPSILON", "LEARNING_RATE", "Clock", "Job", "Weights", "main"]

ALPHA = 0.01
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
EPSILON = 1e-7
"""Adam's; the article's program ran on Keras, whose default this is."""

Weights = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Hidden (64, 64), its bias (64,), output (10, 64), its bias (10,); rows are units."""


@dataclass(frozen=True)
class Job:
    """Rows, initial weights and the order of every epoch."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    x_validation: NDArray[np.float32]
    y_validation: NDArray[np.int64]
    order: NDArray[np.int64]
    """(epochs, rows); sides that shuffle by themselves take only the number of epochs."""
    hidden: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    output: NDArray[np.float32]
    output_bias: NDArray[np.float32]

    @property
    def weights(self) -> Weights:
        """Where training begins."""
        return self.hidden, self.hidden_bias, self.output, self.output_bias

    @property
    def epochs(self) -> int:
        """How many."""
        return len(self.order)

    @property
    def steps_per_epoch(self) -> int:
        """The last batch is smaller."""
        return -(-len(self.x) // BATCH_SIZE)

    def write(self, path: Path) -> None:
        """As arrays, by field."""
        np.savez(path, allow_pickle=False, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def read(cls, path: Path) -> Job:
        """What `write` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})


class Clock:
    """When each epoch ended, by the wall and by the process's own time."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Anew from here: rows and weights are at hand, training is called next."""
        self.started = time.perf_counter()
        self.marks: list[tuple[float, float]] = []

    def epoch_ended(self, *_: Any, **__: Any) -> None:
        """Call it after each epoch, validation included; it takes what callbacks are given."""
        self.marks.append((time.perf_counter(), time.process_time()))

    @property
    def whole_s(self) -> float:
        """From the call to the end of the last epoch, with all that is built or compiled on the way."""
        return self.marks[-1][0] - self.started

    def seconds_per_epoch(self) -> tuple[float, float]:
        """From the second epoch on: by the wall, and of all threads together."""
        first, last = self.marks[0], self.marks[-1]
        count = len(self.marks) - 1
        return (last[0] - first[0]) / count, (last[1] - first[1]) / count


def _nothing() -> dict[str, NDArray[Any]]:
    return {}


def main(
    train: Callable[[Job, Clock], Weights],
    *,
    models: int = 1,
    more: Callable[[], dict[str, NDArray[Any]]] = _nothing,
) -> None:
    """Train as often as the command line asks, and write seconds and last weights.

    Args:
        train: trains `job.epochs` epochs from `job.weights`, tells the clock of each, and returns the last weights
            (of one of its models).
        models: that it trains at once.
        more: what else goes into the result, asked after the last run.
    """
    job_path, result_path, repeats = sys.argv[1:4]
    job = Job.read(Path(job_path))
    seconds, whole = [], []
    for _ in range(int(repeats)):
        clock = Clock()
        weights = train(job, clock)
        seconds.append(clock.seconds_per_epoch())
        whole.append(clock.whole_s)
    arrays = dict(zip(("hidden", "hidden_bias", "output", "output_bias"), weights, strict=True))
    # Of the whole runs the first: the others find compiled functions in memory.
    arrays |= {"seconds": np.array(seconds), "whole_s": np.array(whole[0]), "models": np.array(models)}
    np.savez(Path(result_path), allow_pickle=False, **arrays, **more())
