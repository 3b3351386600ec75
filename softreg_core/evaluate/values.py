"""Metrics of real targets, in the user's units."""

# N rows, C targets, R resamples

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softreg_core.evaluate.bootstrap import ONE_ROW, Estimate, Resampling, mean_estimates
from softreg_core.evaluate.document import LARGEST_MATRIX
from softreg_core.evaluate.gaussian import gaussian_columns

__all__ = ["target_estimates"]

Floats = NDArray[np.float64]


def target_estimates(
    predicted_NC: Floats, target_NC: Floats, resampling: Resampling, variance_NC: Floats | None = None
) -> list[dict[str, Estimate]]:
    """Metrics of each target.

    Args:
        predicted_NC: in the user's units, N at least 1.
        target_NC: the same; finite.
        resampling: of these rows.
        variance_NC: the predicted variance, where there is one.

    Returns:
        For each target `rmse`, `mae`, `r2` and, with a variance, `crps`, `nll`, `coverage_50`, `coverage_90`,
        `coverage_95`.
    """
    is_finite_C = np.isfinite(predicted_NC).min(axis=0)
    # Columns with NaN are left out below.
    residual_NC = np.where(is_finite_C, predicted_NC, 0.0) - target_NC
    values = {
        "rmse": np.sqrt((residual_NC**2).mean(axis=0)),
        "mae": np.abs(residual_NC).mean(axis=0),
        "r2": _r2(target_NC, residual_NC),
    }
    found: list[dict[str, Estimate]] = []
    for c in range(target_NC.shape[1]):
        variance_N = None if variance_NC is None else variance_NC[:, c]
        if not is_finite_C[c]:
            bad = int((~np.isfinite(predicted_NC[:, c])).sum())
            names = [*values, *(_of_variance() if variance_N is not None else ())]
            reason = f"{bad} of {resampling.rows} predictions are NaN or infinite"
            found.append({name: Estimate.undefined(reason) for name in names})
            continue
        samples, no_interval = _samples(predicted_NC[:, c], target_NC[:, c], resampling, targets=target_NC.shape[1])
        found.append(
            {name: Estimate(float(value_C[c]), samples.get(name), no_interval) for name, value_C in values.items()}
        )
        if np.isnan(values["r2"][c]):
            why = "one row has no R2" if resampling.rows == 1 else "the target is constant in these rows"
            found[-1]["r2"] = Estimate.undefined(why)
        if variance_N is not None:
            found[-1] |= mean_estimates(gaussian_columns(predicted_NC[:, c], target_NC[:, c], variance_N), resampling)
    return found


def _r2(target_NC: Floats, residual_NC: Floats) -> Floats:
    """NaN for a constant target, where scikit-learn would make up 0 or 1; for a single row too."""
    is_constant_C = (target_NC == target_NC[0]).all(axis=0)
    spread_C = ((target_NC - target_NC.mean(axis=0)) ** 2).sum(axis=0)
    r2_C: Floats = 1.0 - (residual_NC**2).sum(axis=0) / np.where(is_constant_C | (spread_C == 0.0), np.nan, spread_C)
    return r2_C


def _samples(
    predicted_N: Floats, target_N: Floats, resampling: Resampling, *, targets: int
) -> tuple[dict[str, Floats], str | None]:
    """The metrics of each resample; or none, and why."""
    if resampling.rows == 1:
        return {}, ONE_ROW
    if targets > LARGEST_MATRIX:
        return {}, f"no interval: more than {LARGEST_MATRIX} targets"
    # Centred, so that sums of squares far from zero do not cancel.
    centred_N, residual_N = target_N - target_N.mean(), predicted_N - target_N
    columns = [np.ones(resampling.rows), residual_N**2, np.abs(residual_N), centred_N, centred_N**2]
    rows_R, squared_R, absolute_R, sum_R, sum_of_squares_R = resampling.sums(np.stack(columns, axis=1)).T
    deviation_R = sum_of_squares_R - sum_R**2 / rows_R
    # By size: in a resample of equal targets rounding leaves a little, and 1 - x / tiny would be a huge number.
    is_spread_R = deviation_R > 1e-12 * sum_of_squares_R.max()
    return {
        "rmse": np.sqrt(squared_R / rows_R),
        "mae": absolute_R / rows_R,
        "r2": 1.0 - squared_R / np.where(is_spread_R, deviation_R, np.nan),
    }, None


def _of_variance() -> tuple[str, ...]:
    nothing = np.ones(1)
    return tuple(gaussian_columns(nothing, nothing, nothing))
