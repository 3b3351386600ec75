"""The full report of a model, made once at the end of a run, or of rows of one's own."""

# N rows, C outputs

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softreg_core.data.preprocessing import Preprocessing
from softreg_core.evaluate.bootstrap import LEVEL, MOST_UNITS, RESAMPLES, Estimate, Resampling, mean_estimates
from softreg_core.evaluate.calibration import calibration
from softreg_core.evaluate.classes import ClassScores, class_estimates, class_table, confusion_of
from softreg_core.evaluate.document import LARGEST_MATRIX, EvaluationReport, Gap, IntervalMethod, PartReport
from softreg_core.evaluate.labels import LabelScores, label_estimates, label_table
from softreg_core.evaluate.outputs import Outputs
from softreg_core.evaluate.values import target_estimates
from softreg_core.spec.bases import BaseSpec
from softreg_core.spec.fit import has_logits, label_threshold
from softreg_core.spec.train import TrainSpec

__all__ = ["Question", "report"]

HEADLINE = {"classification": "accuracy", "multilabel": "accuracy", "regression": "r2"}
_OF_CLASSES = ("accuracy", "macro_f1", "roc_auc", "nll", "brier")
_NO_INTERVAL_OF_ECE = "no interval: resampling adds the bias of ECE again; compare with ece_if_calibrated"


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What a network was asked, and how its answers are to be read."""

    task: str
    """classification, multilabel or regression."""
    base: BaseSpec
    names: tuple[str, ...]
    """Of the outputs: the classes, the labels or the targets."""
    scale: NDArray[np.float64] | None
    """(C,), for regression: one scaled unit in the user's units; 1 when None."""
    mean: NDArray[np.float64] | None
    """(C,), for regression: what 0 is in the user's units; 0 when None."""
    seed: int

    @classmethod
    def of(cls, spec: TrainSpec, preprocessing: Preprocessing) -> Question:
        """What a run asks."""
        scaling = preprocessing.target
        return cls(
            task=preprocessing.task,
            base=spec.loss.base,
            names=preprocessing.labels or preprocessing.target_names,
            scale=None if scaling is None else scaling.scale,
            mean=None if scaling is None else scaling.mean,
            seed=spec.training.seed,
        )

    @property
    def no_probabilities(self) -> str | None:
        """Why the outputs are no probabilities; None when they are."""
        if has_logits(self.base):
            return None
        return f"no probabilities: the outputs of base {self.base.kind} are values near 0 and 1, and may lie outside"

    @property
    def scores(self) -> str:
        """In a word, what the outputs are."""
        if self.task == "regression":
            return "targets"
        if not has_logits(self.base):
            return "values"
        return "softmax" if self.task == "classification" else "sigmoid"


def report(question: Question, parts: Mapping[str, Outputs]) -> EvaluationReport:
    """Measure a model.

    Args:
        question: what it was asked.
        parts: its answers on `train`, `validation` and `test`, or on rows of any other name; none without rows.

    Returns:
        See softreg_core.evaluate.document and docs/evaluation.md. The same answers and seed give the same report.
    """
    headline = HEADLINE[question.task]
    measured: dict[str, PartReport] = {}
    compared: dict[str, dict[str, Estimate]] = {}
    for name, outputs in parts.items():
        measured[name], estimates = _part(question, outputs)
        compared[name] = {metric: estimates[metric] for metric in ("loss", headline)}
    return EvaluationReport(
        task=question.task,
        headline=headline,
        scores=question.scores,
        intervals=IntervalMethod(level=LEVEL, resamples=RESAMPLES, most_units=MOST_UNITS, seed=question.seed),
        parts=measured,
        gaps={metric: _gap(metric, compared) for metric in ("loss", headline)} if "train" in parts else {},
    )


def _gap(metric: str, compared: Mapping[str, dict[str, Estimate]]) -> Gap:
    train = compared["train"][metric]
    gaps = {
        f"train_minus_{name}": train.minus(compared[name][metric]).measure() for name in compared if name != "train"
    }
    return Gap.model_validate(gaps)


def _part(question: Question, outputs: Outputs) -> tuple[PartReport, dict[str, Estimate]]:
    resampling = Resampling(outputs.target.shape[0], question.seed)
    estimates = mean_estimates(outputs.losses, resampling)
    of_task = {"classification": _classes, "multilabel": _labels, "regression": _values}[question.task]
    more, facts = of_task(question, outputs, resampling)
    estimates |= more
    part = PartReport(
        rows=resampling.rows,
        of_rows=outputs.of_rows,
        metrics={name: estimate.measure() for name, estimate in estimates.items()},
        **facts,
    )
    return part, estimates


def _classes(
    question: Question, outputs: Outputs, resampling: Resampling
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    reason = _not_finite(outputs)
    if reason is not None:
        return {name: Estimate.undefined(reason) for name in _OF_CLASSES}, {}
    found = ClassScores(outputs.prediction.astype(np.float64), outputs.target, question.no_probabilities)
    estimates, areas = class_estimates(found, resampling)
    facts: dict[str, Any] = {
        "classes": class_table(found, question.names, areas),
        "confusion": confusion_of(found, question.names),
    }
    if found.no_probabilities is None:
        confidence_N = np.exp(found.log_probability.max(axis=1))
        facts["calibration"] = calibration(confidence_N, found.is_hit, question.seed)
        estimates["ece"] = Estimate(facts["calibration"].ece, None, _NO_INTERVAL_OF_ECE)
    else:
        estimates["ece"] = Estimate.undefined(found.no_probabilities)
    return estimates, facts


def _labels(question: Question, outputs: Outputs, resampling: Resampling) -> tuple[dict[str, Estimate], dict[str, Any]]:
    reason = _not_finite(outputs)
    if reason is not None:
        return {name: Estimate.undefined(reason) for name in (*_OF_CLASSES, "subset_accuracy")}, {}
    found = LabelScores(
        outputs.prediction.astype(np.float64),
        outputs.target > 0.5,
        label_threshold(question.base),
        question.no_probabilities,
    )
    estimates, areas = label_estimates(found, resampling)
    return estimates, {"classes": label_table(found, question.names, areas)}


def _values(question: Question, outputs: Outputs, resampling: Resampling) -> tuple[dict[str, Estimate], dict[str, Any]]:
    scale = 1.0 if question.scale is None else question.scale
    mean = 0.0 if question.mean is None else question.mean
    variance_NC = None if outputs.variance is None else outputs.variance.astype(np.float64) * np.square(scale)
    targets = target_estimates(
        outputs.prediction.astype(np.float64) * scale + mean,
        outputs.target.astype(np.float64) * scale + mean,
        resampling,
        variance_NC,
    )
    estimates = {name: Estimate.mean([target[name] for target in targets], "targets") for name in targets[0]}
    if len(targets) > LARGEST_MATRIX:
        return estimates, {"targets": None}
    each = {
        name: {metric: estimate.measure() for metric, estimate in target.items()}
        for name, target in zip(question.names, targets, strict=True)
    }
    return estimates, {"targets": each}


def _not_finite(outputs: Outputs) -> str | None:
    bad = int((~np.isfinite(outputs.prediction)).any(axis=1).sum())
    return f"the outputs of {bad} of {outputs.prediction.shape[0]} rows are NaN or infinite" if bad else None
