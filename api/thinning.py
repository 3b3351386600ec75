"""Fewer points that draw the same curves: largest triangle, three buckets, for several series over one axis.

Source: S. Steinarsson, "Downsampling Time Series for Visual Representation", University of Iceland, 2013, section 4.2.
Differs: all series share the kept points, so the largest of their triangles decides, each series scaled to [0, 1].
"""

# N points, S series, B buckets, K points of one bucket

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["kept_points"]


def kept_points(
    positions: Sequence[int], columns: Sequence[Sequence[float]], urgent: Collection[int], most: int
) -> list[int]:
    """The indexes of at most `most` points, ascending; the first and the last are always among them.

    Args:
        positions: of the points on the axis, ascending.
        columns: each series' value at every point, or NaN; where it is not finite the series has no say.
        urgent: indexes of points that go before any other point of their bucket.
        most: how many are wanted, at least 2.
    """
    count = len(positions)
    if count <= most:
        return list(range(count))
    # Loading NumPy takes longer than most requests, which need no thinning.
    import numpy as np

    position_N = np.array(positions, dtype=np.float64)
    has_value_SN = np.isfinite(np.array(columns))
    curve_SN = np.array([_curve(position_N, np.array(column)) for column in columns])
    bonus_N = np.zeros(count)
    bonus_N[list(urgent)] = math.inf
    # The first and the last point stand alone, the rest in buckets of equal size.
    edge_B = np.linspace(1, count - 1, most - 1).astype(int)
    size_B = np.diff(edge_B, append=count)
    mean_position_B = np.add.reduceat(position_N, edge_B) / size_B
    mean_SB = np.add.reduceat(curve_SN, edge_B, axis=1) / size_B
    kept = [0]
    for following, (start, stop) in enumerate(pairwise(edge_B), start=1):
        before = kept[-1]
        # Twice the area between the point kept last, each point of this bucket, and the next bucket's middle.
        area_SK = np.abs(
            (position_N[before] - mean_position_B[following]) * (curve_SN[:, start:stop] - curve_SN[:, before, None])
            - (position_N[before] - position_N[start:stop]) * (mean_SB[:, following, None] - curve_SN[:, before, None])
        )
        area_K = (area_SK * has_value_SN[:, start:stop]).max(axis=0)
        kept.append(int(start + np.argmax(area_K + bonus_N[start:stop])))
    return [*kept, count - 1]


def _curve(position_N: NDArray[np.float64], value_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """A series from 0 to 1, with a straight line over its gaps."""
    import numpy as np

    is_finite_N = np.isfinite(value_N)
    if not is_finite_N.any():
        return np.zeros_like(position_N)
    value_K = value_N[is_finite_N]
    # By the largest value first: the difference of two huge ones would overflow.
    value_K = value_K / max(float(np.abs(value_K).max()), np.finfo(np.float64).tiny)
    span = float(np.ptp(value_K)) or 1.0
    curve_N: NDArray[np.float64] = np.interp(position_N, position_N[is_finite_N], (value_K - value_K.min()) / span)
    return curve_N
