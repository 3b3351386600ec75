"""softreg on the article's job, one engine for each process, with all that it does unasked.

    python -m benchmarks.train.ours eager JOB.npz RESULT.npz REPEATS

Validation, metrics, the term ledger, the copy of each epoch's state and the best epoch are on, as in any job.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from benchmarks.train.harness import Clock, Job, Weights, main
from benchmarks.train.job import article
from softreg_core.engine import CheckpointDue, EpochEnded, Started, train
from softreg_core.engine.manifest import Manifest

__all__ = ["check_tier", "run"]


def run(engine: str) -> Callable[[Job, Clock], Weights]:
    """A side that asks for an engine."""

    def side(job: Job, clock: Clock) -> Weights:
        spec, data = article(job.epochs, training={"engine": engine})
        last = None
        clock.begin()
        # Up to the end of the last epoch: the final report is no part of the comparison.
        for event in train(spec, data):
            if isinstance(event, Started):
                check_tier(engine, event.manifest)
            elif isinstance(event, EpochEnded):
                clock.epoch_ended()
            elif isinstance(event, CheckpointDue) and event.state.epoch == job.epochs:
                last = event.state
                break
        assert last is not None
        hidden, hidden_bias, output, output_bias = (tensor.numpy() for tensor in last.model.values())
        return hidden, hidden_bias, output, output_bias

    return side


def check_tier(engine: str, manifest: Manifest) -> None:
    """A figure of one tier must not be called another's."""
    if engine not in {"auto", manifest.tier}:
        raise SystemExit(f"{manifest.tier} ran instead of {engine}: {manifest.tier_reason}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(run(sys.argv.pop(1)))
