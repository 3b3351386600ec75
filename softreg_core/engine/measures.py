"""A run's network, measured on the parts of its data: by a few numbers each epoch, and in full at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from softreg_core.data.part import Rows
from softreg_core.data.preprocessing import Preprocessing
from softreg_core.engine.step import Stepper
from softreg_core.evaluate.document import EvaluationReport
from softreg_core.evaluate.measure import evaluate
from softreg_core.evaluate.outputs import collect
from softreg_core.spec.fit import has_logits, label_threshold
from softreg_core.spec.train import TrainSpec

__all__ = ["Measures"]


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """Of the network as it is when it is asked."""

    spec: TrainSpec
    preprocessing: Preprocessing
    stepper: Stepper

    def metrics(self, name: str, part: Rows) -> dict[str, float]:
        """As `name.metric`; none of a part without rows."""
        if part.rows == 0:
            return {}
        scaling, base = self.preprocessing.target, self.spec.loss.base
        found = evaluate(
            self.stepper.evaluated,
            self.stepper.loss,
            part,
            target_scale=None if scaling is None else scaling.scale,
            label_threshold=label_threshold(base) if self.preprocessing.task == "multilabel" else None,
            has_logits=has_logits(base),
        )
        return {f"{name}.{metric}": value for metric, value in found.items()}

    def report(self, parts: Mapping[str, Rows]) -> EvaluationReport:
        """On every part that has rows."""
        from softreg_core.evaluate.report import Question, report  # scikit-learn: most of a second, needed only here

        question = Question.of(self.spec, self.preprocessing)
        net, loss = self.stepper.evaluated, self.stepper.loss
        return report(
            question,
            {
                name: collect(net, loss, part, outputs=len(question.names), seed=question.seed)
                for name, part in parts.items()
                if part.rows
            },
        )
