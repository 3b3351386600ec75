"""Expected calibration error in bins of equal mass, and what of it is only noise."""

# N rows, B bins, S simulated cases

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from softreg_core.evaluate.document import Calibration, ReliabilityBin
from softreg_core.keyed import stream_of

__all__ = ["calibration"]

Floats = NDArray[np.float64]

_MOST_BINS = 15
_LEAST_ROWS_PER_BIN = 10
_CASES = 200
# With more rows each bin's number of hits is as good as normal, and drawing every row would take seconds.
_MOST_DRAWN_ROWS = 4096


def calibration(confidence_N: Floats, is_hit_N: NDArray[np.bool_], seed: int) -> Calibration:
    """How well confidence tells accuracy.

    ECE = sum over the bins of (rows of the bin / N) |accuracy - mean confidence|

    Args:
        confidence_N: the probability of the predicted class, 0 to 1, N at least 1.
        is_hit_N: whether that class is the row's.
        seed: of the simulated cases.

    Returns:
        The error, and its mean and 95th percentile for a perfectly calibrated model: hits are drawn anew with the
        rows' own confidences, 200 times. That mean is above 0 because a bin's accuracy scatters about its confidence.

    Source:
        Equal mass: Nixon et al. 2019. The bias: Kumar et al. 2019; the resampling of hits: Vaicenavicius et al. 2019.
    """
    rows = confidence_N.size
    bins = max(1, min(_MOST_BINS, rows // _LEAST_ROWS_PER_BIN))
    order = np.argsort(confidence_N, kind="stable")
    # As np.array_split cuts: sizes differ by one at most.
    starts_B = np.concatenate([[0], np.cumsum([rows // bins + (index < rows % bins) for index in range(bins)])[:-1]])
    sorted_N = confidence_N[order].clip(0.0, 1.0)
    sizes_B = np.diff(np.append(starts_B, rows))
    expected_B = np.add.reduceat(sorted_N, starts_B)
    hits_B = np.add.reduceat(is_hit_N[order].astype(np.float64), starts_B)
    simulated_S = np.abs(_hits(sorted_N, starts_B, seed) - expected_B).sum(axis=1) / rows
    return Calibration(
        ece=float(np.abs(hits_B - expected_B).sum() / rows),
        ece_if_calibrated=float(simulated_S.mean()),
        ece_if_calibrated_95=float(np.percentile(simulated_S, 95.0)),
        bins=tuple(
            ReliabilityBin(rows=int(size), confidence=float(expected / size), accuracy=float(hit / size))
            for size, expected, hit in zip(sizes_B, expected_B, hits_B, strict=True)
        ),
        method=f"{bins} bins of equal mass by the predicted class's probability; {_CASES} simulated cases",
    )


def _hits(sorted_N: Floats, starts_B: NDArray[np.int64], seed: int) -> Floats:
    """Hits of each bin in each case, (S, B), were every row a hit with the probability of its confidence."""
    rows = sorted_N.size
    stream = stream_of(seed, "calibration", rows)
    if rows > _MOST_DRAWN_ROWS:
        expected_B = np.add.reduceat(sorted_N, starts_B)
        deviation_B = np.sqrt(np.add.reduceat(sorted_N * (1.0 - sorted_N), starts_B))
        normal_SB: Floats = np.random.Generator(stream).standard_normal((_CASES, starts_B.size))
        return expected_B + deviation_B * normal_SB
    # 32 bits of each draw are enough to compare a probability with.
    draws = stream.random_raw(-(-_CASES * rows // 2)).view(np.uint32)[: _CASES * rows].reshape(_CASES, rows)
    is_hit_SN = draws < (sorted_N * 2.0**32).clip(max=2.0**32 - 1).astype(np.uint32)
    hits_SB: Floats = np.add.reduceat(is_hit_SN, starts_B, axis=1, dtype=np.float64)
    return hits_SB
