"""How good a predicted normal distribution is, per row: CRPS, coverage, negative log likelihood."""

# N rows

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["COVERAGES", "gaussian_columns"]

Floats = NDArray[np.float64]

COVERAGES = (50, 90, 95)
"""Percent."""


def gaussian_columns(mean_N: Floats, target_N: Floats, variance_N: Floats) -> dict[str, Floats]:
    """What each row's predicted distribution N(mean, variance) scores.

    crps = sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), z = (target - mean) / sigma
    nll = 1/2 (ln(2 pi variance) + z^2)

    Args:
        mean_N: in the user's units.
        target_N: the same.
        variance_N: their square, above 0.

    Returns:
        `crps` in the user's units, `nll`, and `coverage_50`, `coverage_90`, `coverage_95`: 1 where the central
        interval of so many percent holds the target. Each (N,).

    Source:
        Gneiting and Raftery 2007, equation 21; there the sign is the other one.
    """
    sigma_N = np.sqrt(variance_N)
    z_N = (target_N - mean_N) / sigma_N
    density_N = np.exp(-0.5 * z_N * z_N) / math.sqrt(2.0 * math.pi)
    crps_N = sigma_N * (z_N * (2.0 * ndtr(z_N) - 1.0) + 2.0 * density_N - 1.0 / math.sqrt(math.pi))
    columns = {"crps": crps_N, "nll": 0.5 * (np.log(2.0 * math.pi * variance_N) + z_N * z_N)}
    for percent in COVERAGES:
        half_width = ndtri(0.5 + percent / 200.0)
        columns[f"coverage_{percent}"] = (np.abs(z_N) <= half_width).astype(np.float64)
    return columns
