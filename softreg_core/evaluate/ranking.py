"""The area under the ROC curve, and how it spreads."""

# N rows, K classes or labels, U units of resampling

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softreg_core.evaluate.bootstrap import Estimate, Resampling

__all__ = ["auc_estimates"]

Floats = NDArray[np.float64]


def auc_estimates(scores_NK: Floats, is_positive_NK: NDArray[np.bool_], resampling: Resampling) -> list[Estimate]:
    """For each column the probability that a positive row has a higher score than a negative one; a tie counts half.

    It is the mean of the placement values: the share of the other kind that each row beats. To first order the area of
    a resample is the mean of the same values, which saves ranking a thousand resamples for each class.

    Args:
        scores_NK: any numbers that ascend with the belief; finite.
        is_positive_NK: what is to be found.
        resampling: of these rows.

    Returns:
        The areas; not defined where all rows or none are positive.

    Source:
        DeLong et al. 1988, the structural components V10 and V01.
    """
    classes = scores_NK.shape[1]
    positives_K = is_positive_NK.sum(axis=0)
    placements_NK = np.zeros(scores_NK.shape)
    values = np.full(classes, np.nan)
    for k in np.flatnonzero((positives_K > 0) & (positives_K < resampling.rows)).tolist():
        is_positive_N, score_N = is_positive_NK[:, k], scores_NK[:, k]
        of_positive = _share_below(score_N[is_positive_N], score_N[~is_positive_N])
        placements_NK[is_positive_N, k] = of_positive
        placements_NK[~is_positive_N, k] = 1.0 - _share_below(score_N[~is_positive_N], score_N[is_positive_N])
        values[k] = of_positive.mean()
    samples_KR = _samples(placements_NK, is_positive_NK, values, resampling)
    found: list[Estimate] = []
    for k, value in enumerate(values):
        if np.isnan(value):
            found.append(Estimate.undefined("no row is of it" if positives_K[k] == 0 else "all rows are of it"))
        else:
            found.append(Estimate(float(value), samples_KR[k]))
    return found


def _samples(
    placements_NK: Floats, is_positive_NK: NDArray[np.bool_], values_K: Floats, resampling: Resampling
) -> Floats:
    """(K, R): the areas of each resample."""
    both = np.concatenate(
        [is_positive_NK, ~is_positive_NK, placements_NK * is_positive_NK, placements_NK * ~is_positive_NK], axis=1
    )
    positive_RK, negative_RK, of_positive_RK, of_negative_RK = np.split(resampling.sums(both), 4, axis=1)
    with np.errstate(invalid="ignore"):  # a resample may lack one kind
        samples_RK = of_positive_RK / positive_RK + of_negative_RK / negative_RK - values_K
    samples_KR: Floats = samples_RK.clip(0.0, 1.0).T
    return samples_KR


def _share_below(score_A: Floats, others_B: Floats) -> Floats:
    """Of each score in A the share of B below it, ties half."""
    sorted_B = np.sort(others_B)
    below_A = np.searchsorted(sorted_B, score_A, "left") + np.searchsorted(sorted_B, score_A, "right")
    share_A: Floats = below_A / (2.0 * others_B.size)
    return share_A
