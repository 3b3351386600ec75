"""Training in one call, for a notebook."""

from __future__ import annotations

from dataclasses import dataclass

from softreg_core.data.tabular import PreparedData
from softreg_core.engine.events import EpochEnded, Finished, TrainedModel
from softreg_core.engine.loop import train
from softreg_core.engine.step.beside import Teacher
from softreg_core.evaluate.document import EvaluationReport
from softreg_core.spec.train import TrainSpec

__all__ = ["TrainResult", "fit"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainResult:
    """A finished run."""

    model: TrainedModel
    metrics: dict[str, float]
    """The delivered model's."""
    report: EvaluationReport
    """The delivered model on training, validation and test rows, in full."""
    history: tuple[dict[str, float], ...]
    """Metrics of every epoch."""
    best_step: int | None


def fit(spec: TrainSpec, data: PreparedData, *, device: str = "cpu", teacher: Teacher | None = None) -> TrainResult:
    """Train to the end.

    Args:
        spec: resolved against the dataset.
        data: from `prepare` with the same spec.
        device: `cpu`, `cuda` or `cuda:N`.
        teacher: the model that a loss with divergence `teacher` learns from.

    Raises:
        NonFiniteLossError: a term of the loss became NaN or infinite.
        TypeError: the data was not prepared.
    """
    history: list[dict[str, float]] = []
    for event in train(spec, data, device=device, teacher=teacher):
        if isinstance(event, EpochEnded):
            history.append(event.metrics)
        elif isinstance(event, Finished):
            return TrainResult(event.model, event.metrics, event.report, tuple(history), event.best_step)
    raise AssertionError("train ends with Finished unless it is asked to stop")
