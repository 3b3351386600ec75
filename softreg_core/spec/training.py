"""How long, in what batches, from which seed; what is kept on the way; where it runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.fields import FieldInfo

from softreg_core.spec.base import Flag, Int, Name, Number, SpecModel

__all__ = [
    "DEVICE_PATTERN",
    "AverageSpec",
    "CheckpointsSpec",
    "EarlyStoppingSpec",
    "Monitor",
    "ResourcesSpec",
    "Seed",
    "TrainingSpec",
    "has_best",
    "is_larger_better",
]

DEVICE_PATTERN = r"^(auto|cpu|cuda|cuda:[0-9]{1,3})$"
Seed = Annotated[Int, Field(ge=0, le=2**63 - 1)]


Monitor = Literal[
    "auto",
    "val.loss",
    "val.base",
    "val.accuracy",
    "val.subset_accuracy",
    "val.nll",
    "val.r2",
    "val.mae",
    "val.rmse",
]
Weight = Annotated[Number, Field(ge=0.0, le=1e9)]


class EarlyStoppingSpec(SpecModel):
    """End the run when `monitor` was no better than its best by more than `min_delta` for `patience` epochs."""

    monitor: Monitor = "auto"
    """`auto`: the one of checkpoints."""
    patience: Annotated[Int, Field(ge=1, le=1_000_000)] = 10
    min_delta: Annotated[Number, Field(ge=0.0, le=1e9)] = 0.0
    """In the metric's units."""
    restore_best: Flag = True
    """Deliver the best epoch by this monitor."""


class AverageSpec(SpecModel):
    """A moving average of the weights, which is what is evaluated and delivered.

    After step t it is d a + (1 - d) w with d = min(decay, (1 + t) / (10 + t)), so that it soon forgets the start.
    """

    decay: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.999


def _later(default: object) -> FieldInfo:
    """A field that came later: left out of the canonical text at its default, so that older specs keep their text."""
    field: FieldInfo = Field(exclude_if=lambda value: value == default)
    return field


class TrainingSpec(SpecModel):
    """Epochs over the training rows in a new order each; the last batch of an epoch may be smaller."""

    epochs: Annotated[Int, Field(ge=1, le=1_000_000)] = 100
    batch_size: Annotated[Int, Field(ge=1, le=1_000_000)] | Literal["full"] = 32
    """Rows of one optimiser step; `full`: all training rows."""
    seed: Seed = 0
    """Decides initial weights and data order; the same spec and data give the same model on the same machine."""
    accumulate: Annotated[Int, Field(ge=1, le=10_000), _later(1)] = 1
    """In how many parts a batch goes through the network, to save memory; the step is that of the whole batch."""
    gradient_clip: Annotated[Annotated[Number, Field(gt=0.0, le=1e9)] | None, _later(None)] = None
    """The largest norm of the gradient of all parameters together; a longer one is shortened to it."""
    early_stopping: Annotated[EarlyStoppingSpec | None, _later(None)] = None
    average_weights: Annotated[AverageSpec | None, _later(None)] = None
    class_weights: Annotated[Literal["balanced"] | dict[Name, Weight] | None, _later(None)] = None
    """By label; labels that are not named weigh 1. `balanced`: training rows / (classes * the class's rows)."""
    precision: Annotated[Literal["auto", "float32", "bfloat16"], _later("auto")] = "auto"
    """bfloat16: the network's products in half precision on CUDA; weights, loss and update stay float32."""
    on_nonfinite: Annotated[Literal["fail", "skip", "rewind"], _later("fail")] = "fail"
    """When a loss or gradient is not finite: end the run; leave the step out; or go back one step and halve the
    learning rate, at most ten times."""
    log_every: Annotated[Annotated[Int, Field(ge=1, le=1_000_000)] | None, _later(None)] = None
    """Also log every so many steps, besides each epoch."""
    gradient_terms: Annotated[Literal["epoch", "none"] | Annotated[Int, Field(ge=1, le=1_000_000)], _later("epoch")] = (
        "epoch"
    )
    """When the gradients of base and divergence are taken apart: at the last step of each epoch, or every so many
    steps. Each time costs two backward passes more."""
    engine: Annotated[Literal["auto", "eager", "compiled", "cudagraph"], _later("auto")] = "auto"
    """How steps are run: `eager`, one operation after the other; `compiled`, as one program of the machine;
    `cudagraph`, as one recorded launch on a GPU. `auto`: what ends the job sooner on the machine that runs it."""


class CheckpointsSpec(SpecModel):
    """When the state of training is saved, how much of it stays, and which model is delivered."""

    every_epochs: Annotated[Int, Field(ge=1, le=1_000_000)] = 10
    keep_last: Annotated[Int, Field(ge=1, le=100)] = 2
    keep_best: Flag = True
    """Deliver the epoch with the best `monitor` instead of the last one."""
    monitor: Monitor = "auto"
    """`auto`: val.accuracy for classification and multilabel, val.r2 for regression."""


def is_larger_better(metric: str) -> bool:
    """Whether of two values of a metric (`val.accuracy`, `train.loss`, ...) the larger is the better one."""
    return metric.rpartition(".")[2] in {"accuracy", "subset_accuracy", "r2"}


_NEITHER = {"divergence", "gradient_norm", "learning_rate", "rewinds", "sigma2", "skipped_steps"}


def has_best(metric: str) -> bool:
    """Whether more or less of a metric is better by itself; of a divergence, say, or a share, neither is."""
    return metric.count(".") < 2 and metric.rpartition(".")[2] not in _NEITHER


class ResourcesSpec(SpecModel):
    """Where the job may run: any worker, a CPU worker, a CUDA worker, or one CUDA device."""

    device: Annotated[str, Field(pattern=DEVICE_PATTERN)] = "auto"
