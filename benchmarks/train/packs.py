"""softreg on sixty-four of the article's jobs at once, which differ in one thing.

    python -m benchmarks.train.packs alphas JOB.npz RESULT.npz REPEATS

After the timed run a few members are trained once more, each alone, and their training losses are compared.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.train.harness import ALPHA, LEARNING_RATE, Clock, Job, Weights, main
from benchmarks.train.job import article
from softreg_core.data.tabular import PreparedData
from softreg_core.engine import CheckpointDue, EpochEnded, TrainEvent, train, train_packed
from softreg_core.spec import TrainSpec

__all__ = ["KINDS", "MEMBERS", "Losses", "members_of", "run"]

MEMBERS = 64
_FOLDS = 5
_COMPARED = (0, 21, 42, 63)

Changes = Callable[[int], dict[str, dict[str, Any]]]
# Of member i; the first is the article's job wherever that is possible.
KINDS: dict[str, Changes] = {
    "alphas": lambda i: {"loss": {"alpha": ALPHA * 1.05**i}},
    "learning_rates": lambda i: {"optimizer": {"learning_rate": LEARNING_RATE * 1.02**i}},
    "folds": lambda i: {"split": {"folds": _FOLDS, "fold": i % _FOLDS}, "training": {"seed": i // _FOLDS}},
    "seeds": lambda i: {"training": {"seed": i}},
    "dropout": lambda i: {"net": {"dropout": 0.1}, "training": {"seed": i}},
}


class Losses:
    """Of the compared members, the training loss of the last epoch: in the pack, and alone."""

    def __init__(self) -> None:
        self.pairs: list[tuple[float, float]] = []

    def arrays(self) -> dict[str, Any]:
        """For the result."""
        return {"packed_and_single": np.array(self.pairs)}


def members_of(kind: str, count: int, epochs: int) -> tuple[list[TrainSpec], list[PreparedData]]:
    """Specs and data; members with the same split share their data."""
    specs, data = [], []
    known: dict[str, PreparedData] = {}
    for index in range(count):
        changes = KINDS[kind](index)
        training = {"engine": "eager"} | changes.get("training", {})
        spec, prepared = article(epochs, **{**changes, "training": training})
        specs.append(spec)
        data.append(known.setdefault(spec.split.model_dump_json(), prepared))
    return specs, data


def run(kind: str, losses: Losses) -> Callable[[Job, Clock], Weights]:
    """A side that trains a pack."""

    def side(job: Job, clock: Clock) -> Weights:
        specs, data = members_of(kind, MEMBERS, job.epochs)
        packed: dict[int, float] = {}
        weights: Weights | None = None
        clock.begin()
        # Up to the last member's last state: the final reports are no part of the comparison.
        for member, event in train_packed(specs, data):
            if isinstance(event, EpochEnded) and member == MEMBERS - 1:
                clock.epoch_ended()
            if isinstance(event, EpochEnded) and event.epoch == job.epochs:
                packed[member] = event.metrics["train.loss"]
            if member == 0 and isinstance(event, CheckpointDue) and event.state.epoch == job.epochs:
                hidden, hidden_bias, output, output_bias = (tensor.numpy() for tensor in event.state.model.values())
                weights = hidden, hidden_bias, output, output_bias
            if len(packed) == MEMBERS and weights is not None:
                break
        assert weights is not None
        losses.pairs = [(packed[index], _alone(train(specs[index], data[index]), job)) for index in _COMPARED]
        return weights

    return side


def _alone(events: Iterator[TrainEvent], job: Job) -> float:
    ended = (event for event in events if isinstance(event, EpochEnded) and event.epoch == job.epochs)
    return float(next(ended).metrics["train.loss"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = Losses()
    main(run(sys.argv.pop(1), found), models=MEMBERS, more=found.arrays)
