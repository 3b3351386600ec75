"""The power of x by which a curve grows, over the range where it is a line in log-log axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Growth", "growth"]

_LEAST_POINTS = 3
# How far a point of the range may lie from its line: a fifth.
_STRAY = 0.2


@dataclass(frozen=True)
class Growth:
    """y ~ factor x^slope from `start` to `end`."""

    slope: float
    factor: float
    start: float
    end: float

    def __str__(self) -> str:
        return f"~ x^{self.slope:.2f} from {self.start:g} to {self.end:g}"

    def at(self, x: float) -> float:
        """The line's y."""
        return float(self.factor * x**self.slope)


def growth(x: Sequence[float], y: Sequence[float], stray: float = _STRAY) -> Growth | None:
    """The longest range of neighbouring points that lie on a line, the later one of two.

    Args:
        x: ascending, positive.
        y: positive.
        stray: the largest relative distance of a point from the line.

    Returns:
        None where no three neighbours lie on a line.
    """
    log_x, log_y = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    for count in range(len(log_x), _LEAST_POINTS - 1, -1):
        for start in range(len(log_x) - count, -1, -1):
            part = slice(start, start + count)
            slope, offset = np.polyfit(log_x[part], log_y[part], 1)
            if np.abs(log_y[part] - slope * log_x[part] - offset).max() <= np.log1p(stray):
                return Growth(float(slope), float(np.exp(offset)), float(x[start]), float(x[start + count - 1]))
    return None
