"""How long, in what batches, from which seed; what is kept on the way; where it runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from softreg_core.spec.base import Flag, Int, SpecModel

__all__ = ["DEVICE_PATTERN", "CheckpointsSpec", "ResourcesSpec", "Seed", "TrainingSpec", "is_larger_better"]

DEVICE_PATTERN = r"^(auto|cpu|cuda|cuda:[0-9]{1,3})$"
Seed = Annotated[Int, Field(ge=0, le=2**63 - 1)]


class TrainingSpec(SpecModel):
    """Epochs over the training rows in a new order each; the last batch of an epoch may be smaller."""

    epochs: Annotated[Int, Field(ge=1, le=1_000_000)] = 100
    batch_size: Annotated[Int, Field(ge=1, le=1_000_000)] = 32
    seed: Seed = 0
    """Decides initial weights and data order; the same spec and data give the same model on the same machine."""


class CheckpointsSpec(SpecModel):
    """When the state of training is saved, how much of it stays, and which model is delivered."""

    every_epochs: Annotated[Int, Field(ge=1, le=1_000_000)] = 10
    keep_last: Annotated[Int, Field(ge=1, le=100)] = 2
    keep_best: Flag = True
    """Deliver the epoch with the best `monitor` instead of the last one."""
    monitor: Literal["auto", "val.loss", "val.base", "val.accuracy", "val.subset_accuracy", "val.r2", "val.mae"] = (
        "auto"
    )
    """`auto`: val.accuracy for classification and multilabel, val.r2 for regression."""


def is_larger_better(metric: str) -> bool:
    """Whether of two values of a metric (`val.accuracy`, `train.loss`, ...) the larger is the better one."""
    return metric.rpartition(".")[2] in {"accuracy", "subset_accuracy", "r2"}


class ResourcesSpec(SpecModel):
    """Where the job may run: any worker, a CPU worker, a CUDA worker, or one CUDA device."""

    device: Annotated[str, Field(pattern=DEVICE_PATTERN)] = "auto"
