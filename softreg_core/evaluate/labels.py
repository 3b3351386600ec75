"""Metrics of several labels, each true or false by itself."""

# N rows, L labels

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from softreg_core.evaluate.bootstrap import ONE_ROW, Estimate, Resampling, mean_estimates
from softreg_core.evaluate.document import LARGEST_MATRIX, ClassMeasures
from softreg_core.evaluate.ranking import auc_estimates

__all__ = ["LabelScores", "label_estimates", "label_table"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelScores:
    """What a network says of some rows, and what is true of them; every score is finite."""

    scores: Floats
    """(N, L)."""
    is_true: NDArray[np.bool_]
    """(N, L)."""
    threshold: float
    """A label is predicted where its score is above."""
    no_probabilities: str | None
    """Why the scores are not log odds; None when they are."""


def label_estimates(found: LabelScores, resampling: Resampling) -> tuple[dict[str, Estimate], list[Estimate]]:
    """Every metric, and the area under the ROC curve of each label.

    Args:
        found: N at least 1.
        resampling: of these rows.

    Returns:
        `accuracy`: the share of labels that are right; `subset_accuracy`: the share of rows with all of them right;
        `macro_f1` and `roc_auc`: averaged over the labels; `nll` and `brier`: the same, not defined where the scores
        are no log odds.
    """
    predicted_NL = found.scores > found.threshold
    is_right_NL = predicted_NL == found.is_true
    columns = {
        "accuracy": is_right_NL.mean(axis=1),
        "subset_accuracy": is_right_NL.all(axis=1).astype(np.float64),
    }
    if found.no_probabilities is None:
        columns["nll"] = -log_expit(np.where(found.is_true, found.scores, -found.scores)).mean(axis=1)
        columns["brier"] = ((expit(found.scores) - found.is_true) ** 2).mean(axis=1)
    estimates = mean_estimates(columns, resampling)
    estimates["macro_f1"] = _macro_f1(predicted_NL, found.is_true, resampling)
    areas = auc_estimates(found.scores, found.is_true, resampling)
    estimates["roc_auc"] = Estimate.mean(areas, "labels")
    if found.no_probabilities is not None:
        estimates["nll"] = estimates["brier"] = Estimate.undefined(found.no_probabilities)
    return estimates, areas


def label_table(found: LabelScores, labels: tuple[str, ...], areas: list[Estimate]) -> tuple[ClassMeasures, ...] | None:
    """Each label by itself; None where there are too many to list."""
    if len(labels) > LARGEST_MATRIX:
        return None
    predicted_NL = found.scores > found.threshold
    hits_L = (predicted_NL & found.is_true).sum(axis=0)
    return tuple(
        ClassMeasures.of(label, hits, actual, predicted, area.value)
        for label, hits, actual, predicted, area in zip(
            labels, hits_L, found.is_true.sum(axis=0), predicted_NL.sum(axis=0), areas, strict=True
        )
    )


def _macro_f1(predicted_NL: NDArray[np.bool_], is_true_NL: NDArray[np.bool_], resampling: Resampling) -> Estimate:
    both_L = predicted_NL.sum(axis=0) + is_true_NL.sum(axis=0)
    if not both_L.all():
        silent = int((both_L == 0).sum())
        return Estimate.undefined(f"{silent} labels are neither true nor predicted in any row")
    value = float((2.0 * (predicted_NL & is_true_NL).sum(axis=0) / both_L).mean())
    if resampling.rows == 1:
        return Estimate(value, None, ONE_ROW)
    hits_RL = resampling.sums((predicted_NL & is_true_NL).astype(np.float64))
    both_RL = resampling.sums(predicted_NL.astype(np.float64) + is_true_NL)
    with np.errstate(invalid="ignore"):  # a resample may lack a label
        return Estimate(value, (2.0 * hits_RL / both_RL).mean(axis=1))
