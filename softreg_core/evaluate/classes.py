"""Metrics of classes: which one was predicted, in which order, with which probability."""

# N rows, K classes, U units of resampling, R resamples

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from softreg_core.evaluate.bootstrap import ONE_ROW, Estimate, Resampling, mean_estimates
from softreg_core.evaluate.document import LARGEST_MATRIX, ClassMeasures, Confusion, MistakenPair
from softreg_core.evaluate.ranking import auc_estimates

__all__ = ["TOP", "ClassScores", "class_estimates", "class_table", "confusion_of"]

Floats = NDArray[np.float64]

TOP = (3, 5)
_MOST_PAIRS = 20


@dataclass(frozen=True, eq=False)
class ClassScores:
    """What a network says of some rows, and what they are; every score is finite."""

    scores: Floats
    """(N, K)."""
    code: NDArray[np.int64]
    """(N,)."""
    no_probabilities: str | None
    """Why the scores are not logarithms of probabilities up to a constant of each row; None when they are."""

    @property
    def classes(self) -> int:
        """K."""
        return int(self.scores.shape[1])

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """(N,): the class with the largest score; the first of equal ones."""
        predicted: NDArray[np.int64] = self.scores.argmax(axis=1)
        return predicted

    @cached_property
    def is_hit(self) -> NDArray[np.bool_]:
        """(N,): whether the predicted class is the row's."""
        is_hit: NDArray[np.bool_] = self.predicted == self.code
        return is_hit

    @cached_property
    def log_probability(self) -> Floats:
        """(N, K): log softmax of the scores."""
        log_probability: Floats = log_softmax(self.scores, axis=1)
        return log_probability

    @cached_property
    def matrix(self) -> NDArray[np.int64]:
        """(K, K): rows by actual and predicted class."""
        cell_N = self.code * self.classes + self.predicted
        return np.bincount(cell_N, minlength=self.classes**2).reshape(self.classes, self.classes)


def class_estimates(found: ClassScores, resampling: Resampling) -> tuple[dict[str, Estimate], list[Estimate]]:
    """Every metric, and the area under the ROC curve of each class against all others.

    Args:
        found: N at least 1.
        resampling: of these rows.

    Returns:
        `accuracy`; `top_3_accuracy` and `top_5_accuracy` where there are more classes; `macro_f1`; `roc_auc`: of the
        second class where there are two, else averaged over the classes; `nll`, `brier`, not defined where the scores
        are no probabilities.
    """
    columns = {"accuracy": found.is_hit.astype(np.float64)}
    for k in TOP:
        if found.classes > k:
            columns[f"top_{k}_accuracy"] = _is_among(found, k)
    if found.no_probabilities is None:
        log_p_N = np.take_along_axis(found.log_probability, found.code[:, np.newaxis], axis=1)[:, 0]
        columns["nll"] = -log_p_N
        columns["brier"] = _brier(found)
    estimates = mean_estimates(columns, resampling)
    estimates["macro_f1"] = _macro_f1(found, resampling)
    areas = _areas(found, resampling)
    estimates["roc_auc"] = areas[1] if found.classes == 2 else Estimate.mean(areas, "classes")
    if found.no_probabilities is not None:
        estimates["nll"] = estimates["brier"] = Estimate.undefined(found.no_probabilities)
    return estimates, areas


def class_table(found: ClassScores, labels: tuple[str, ...], areas: list[Estimate]) -> tuple[ClassMeasures, ...] | None:
    """Each class against all others; None where there are too many to list."""
    if found.classes > LARGEST_MATRIX:
        return None
    hits_K, actual_K, predicted_K = found.matrix.diagonal(), found.matrix.sum(1), found.matrix.sum(0)
    return tuple(
        ClassMeasures.of(label, hits_K[k], actual_K[k], predicted_K[k], areas[k].value)
        for k, label in enumerate(labels)
    )


def confusion_of(found: ClassScores, labels: tuple[str, ...]) -> Confusion:
    """The matrix where it is small enough, and the pairs that were confused most."""
    mistakes_KK = found.matrix.copy()
    np.fill_diagonal(mistakes_KK, 0)
    order = np.argsort(-mistakes_KK, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [(int(cell) // found.classes, int(cell) % found.classes) for cell in order if mistakes_KK.flat[cell]]
    is_small = found.classes <= LARGEST_MATRIX
    return Confusion(
        labels=labels if is_small else (),
        matrix=tuple(map(tuple, found.matrix.tolist())) if is_small else None,
        most_confused=tuple(
            MistakenPair(actual=labels[a], predicted=labels[p], rows=int(mistakes_KK[a, p])) for a, p in pairs
        ),
    )


def _is_among(found: ClassScores, k: int) -> Floats:
    """Whether the row's class is among the k with the largest scores; the first of equal ones, as in `predicted`."""
    best_NK = np.argsort(-found.scores, axis=1, kind="stable")[:, :k]
    is_among_N: Floats = (best_NK == found.code[:, np.newaxis]).any(axis=1).astype(np.float64)
    return is_among_N


def _brier(found: ClassScores) -> Floats:
    """sum_c (p_c - onehot_c)^2; half of it for two classes, where both terms are the same."""
    probability_NK = np.exp(found.log_probability)
    np.put_along_axis(
        probability_NK,
        found.code[:, np.newaxis],
        np.take_along_axis(probability_NK, found.code[:, np.newaxis], axis=1) - 1.0,
        axis=1,
    )
    squared_N: Floats = (probability_NK**2).sum(axis=1)
    return squared_N / 2.0 if found.classes == 2 else squared_N


def _macro_f1(found: ClassScores, resampling: Resampling) -> Estimate:
    """Averaged over the classes that occur among the rows or the predictions."""
    either_K = found.matrix.sum(0) + found.matrix.sum(1)
    value = float((2.0 * found.matrix.diagonal()[either_K > 0] / either_K[either_K > 0]).mean())
    if resampling.rows == 1:
        return Estimate(value, None, ONE_ROW)
    actual_RK = resampling.weigh(_counts(found.code, resampling, found.classes))
    predicted_RK = resampling.weigh(_counts(found.predicted, resampling, found.classes))
    hits_RK = resampling.weigh(_counts(np.where(found.is_hit, found.code, -1), resampling, found.classes))
    occurs_RK = actual_RK + predicted_RK > 0.0
    f1_RK = 2.0 * hits_RK / np.where(occurs_RK, actual_RK + predicted_RK, 1.0)
    return Estimate(value, f1_RK.sum(axis=1) / occurs_RK.sum(axis=1))


def _counts(code_N: NDArray[np.int64], resampling: Resampling, classes: int) -> Floats:
    """Rows of each class in each unit, (U, K); code -1 is none."""
    cell_N = (resampling.unit * classes + code_N)[code_N >= 0]
    return np.bincount(cell_N, minlength=resampling.units * classes).reshape(-1, classes).astype(np.float64)


def _areas(found: ClassScores, resampling: Resampling) -> list[Estimate]:
    scores_NK = found.scores
    if found.classes == 2:
        # What argmax goes by; and no two rows become equal, as probabilities near 1 do.
        margin_N = scores_NK[:, 1] - scores_NK[:, 0]
        scores_NK = np.stack([-margin_N, margin_N], axis=1)
    elif found.no_probabilities is None:
        scores_NK = np.exp(found.log_probability)
    return auc_estimates(scores_NK, found.code[:, np.newaxis] == np.arange(found.classes), resampling)
