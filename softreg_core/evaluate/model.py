"""A model measured as its spec says: a run's each epoch and at its end, and a loaded one on rows of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from torch import nn

from softreg_core.data.part import Rows
from softreg_core.data.preprocessing import Preprocessing
from softreg_core.evaluate.document import EvaluationReport
from softreg_core.evaluate.measure import evaluate
from softreg_core.evaluate.outputs import collect
from softreg_core.losses import Loss
from softreg_core.spec.fit import has_logits, label_threshold
from softreg_core.spec.train import TrainSpec

__all__ = ["Meaning", "Measured"]


class Meaning(TypedDict):
    """Arguments of `evaluate`."""

    label_threshold: float | None
    has_logits: bool


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Of a network as it is when it is asked."""

    spec: TrainSpec
    preprocessing: Preprocessing
    net: nn.Module
    loss: Loss[Any]

    def metrics(self, rows: Rows) -> dict[str, float]:
        """A few cheap numbers, see `evaluate`; none where there are no rows."""
        if rows.rows == 0:
            return {}
        scaling = self.preprocessing.target
        scale = None if scaling is None else scaling.scale
        return evaluate(self.net, self.loss, rows, target_scale=scale, **self.meaning)

    @property
    def meaning(self) -> Meaning:
        """What outputs mean, as `evaluate` takes it."""
        base = self.spec.loss.base
        threshold = label_threshold(base) if self.preprocessing.task == "multilabel" else None
        return Meaning(label_threshold=threshold, has_logits=has_logits(base))

    def report(self, parts: Mapping[str, Rows]) -> EvaluationReport:
        """Every metric with its interval, on every part that has rows."""
        from softreg_core.evaluate.report import Question, report  # SciPy, needed only here

        question = Question.of(self.spec, self.preprocessing)
        return report(
            question,
            {
                name: collect(self.net, self.loss, part, outputs=len(question.names), seed=question.seed)
                for name, part in parts.items()
                if part.rows
            },
        )
