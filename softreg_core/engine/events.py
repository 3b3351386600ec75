"""What a training run tells its caller, in the order in which it happens.

Started ((Progress | StepLogged)* EpochEnded CheckpointDue*)* then Finished; or, when the caller asks to stop,
CheckpointDue? Stopped; or, when the loss is no longer finite, CheckpointDue* and NonFiniteLossError.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from softreg_core.data.preprocessing import Preprocessing
from softreg_core.engine.manifest import Manifest
from softreg_core.engine.state import TrainingState
from softreg_core.errors import NonFiniteLossError
from softreg_core.evaluate.document import EvaluationReport
from softreg_core.spec.advice import Advice
from softreg_core.spec.train import TrainSpec

__all__ = [
    "CheckpointDue",
    "EpochEnded",
    "Failed",
    "Finished",
    "Progress",
    "Started",
    "StepLogged",
    "Stopped",
    "TrainEvent",
    "TrainedModel",
]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """A network's weights and all that is needed to use them."""

    spec: TrainSpec
    """Resolved."""
    tensors: dict[str, Tensor]
    """On the CPU, by name."""
    preprocessing: Preprocessing
    loss: dict[str, Tensor] = field(default_factory=dict)
    """What the loss keeps: a variance that it followed or learned."""
    manifest: Manifest | None = None
    """What the claim of equal bits holds for."""


@dataclass(frozen=True, slots=True)
class Started:
    """The first event."""

    total_steps: int
    steps_per_epoch: int
    epochs: int
    parameters: int
    device: str
    start_step: int
    """Steps done before, when the run was resumed."""
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Progress:
    """A sign of life, about four times a second at most."""

    step: int
    epoch: int
    """Epochs completed."""


@dataclass(frozen=True, slots=True)
class StepLogged:
    """One step of those that the spec wants logged besides the epochs."""

    step: int
    epoch: int
    """Epochs completed."""
    metrics: dict[str, float]
    """Of this step alone: `step.loss`, `step.base`, ..."""


@dataclass(frozen=True, slots=True)
class EpochEnded:
    """An epoch was trained and evaluated."""

    step: int
    epoch: int
    metrics: dict[str, float]
    """`train.loss`, `train.base`, `val.accuracy`, ...; NaN or infinite where there is no finite value."""
    step_losses: tuple[float, ...] | None
    """Mean loss of each step of this epoch in this run, when they were asked for."""
    advice: tuple[Advice, ...] = ()
    """Warnings that hold now, where sigma2 follows data or batch; those on the spec alone came when it was resolved."""


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointDue:
    """A state to store. No two have the same step; the best epoch's may come after later ones were trained."""

    state: TrainingState
    metrics: dict[str, float]
    is_best: bool


@dataclass(frozen=True, slots=True, eq=False)
class Stopped:
    """The last event of a run that was asked to stop; the state resumes it at this very step."""

    state: TrainingState
    reason: str
    """What `control` returned."""
    is_stored: bool
    """The state of this step came with a `CheckpointDue` before, or is the one that the run was resumed from."""


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The last event of a run that came to its end."""

    model: TrainedModel
    """The best epoch's where the spec keeps the best, else the last epoch's."""
    metrics: dict[str, float]
    """The delivered model's, with `test.*` where there are test rows."""
    report: EvaluationReport
    """The delivered model on all its parts, in full."""
    step: int
    epoch: int
    best_step: int | None
    reason: Literal["completed", "early_stopped"] = "completed"


@dataclass(frozen=True, slots=True, eq=False)
class Failed:
    """The last event of a member of a pack whose loss is no longer finite; a run alone raises the error instead."""

    error: NonFiniteLossError


TrainEvent = Started | Progress | StepLogged | EpochEnded | CheckpointDue | Stopped | Finished
