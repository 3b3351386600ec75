"""Intervals by resampling rows, all resamples at once and with bounded work."""

# N rows, U units, M columns, R resamples

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from softreg_core.evaluate.document import Measure
from softreg_core.keyed import permutation, stream_of

__all__ = ["LEVEL", "MOST_UNITS", "ONE_ROW", "RESAMPLES", "Estimate", "Resampling", "mean_estimates"]

Floats = NDArray[np.float64]

RESAMPLES = 1000
LEVEL = 0.95
ONE_ROW = "no interval: one row"
MOST_UNITS = 512
"""Rows beyond this are drawn in random groups of equal size: a sum over groups of independent rows spreads as a sum
over the rows does, and the work is the same for a thousand rows and for a million."""
# Below this share of resamples with a value, what is left of them says little about the rest.
_LEAST_DEFINED = 0.5


class Resampling:
    """Draws of rows with replacement; a function of the seed and the number of rows, and of nothing else."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows = rows
        self.seed = seed
        self._size = max(1, -(-rows // MOST_UNITS))
        self.units = -(-rows // self._size)

    @cached_property
    def unit(self) -> NDArray[np.int64]:
        """(N,): the unit of each row: itself, or a random group of equal size; the last group may be smaller."""
        if self._size == 1:
            return np.arange(self.rows)
        unit_N = np.empty(self.rows, dtype=np.int64)
        unit_N[permutation(self.rows, self.seed, "bootstrap groups")] = np.arange(self.rows) // self._size
        return unit_N

    def sums(self, values_NM: Floats) -> Floats:
        """The sum of each column over each resample, (R, M)."""
        columns = [np.bincount(self.unit, values_N, self.units) for values_N in values_NM.T]
        return self.weigh(np.stack(columns, axis=1))

    def weigh(self, sums_UM: Floats) -> Floats:
        """From sums over each unit to sums over each resample, (R, M)."""
        return _counts(self.rows, self.units, self.seed) @ sums_UM


# The parts of the last run or two, 4 MB each: the runs of a sweep draw alike, and drawing costs more than summing.
@lru_cache(maxsize=4)
def _counts(rows: int, units: int, seed: int) -> Floats:
    """(R, U): how often each resample holds each unit."""
    draws = RESAMPLES * units
    # Two draws of 32 bits from each of 64; NumPy promises this stream across versions, and not `integers`.
    raw = stream_of(seed, "bootstrap", rows).random_raw(-(-draws // 2)).view(np.uint32)[:draws]
    unit = (raw.astype(np.uint64) * np.uint64(units)) >> np.uint64(32)  # uneven by 2e-7 at most
    cell_RU = unit.astype(np.int64).reshape(RESAMPLES, units)
    cell_RU += units * np.arange(RESAMPLES)[:, np.newaxis]
    counts_RU: Floats = np.bincount(cell_RU.ravel(), minlength=draws).reshape(RESAMPLES, units).astype(np.float64)
    counts_RU.flags.writeable = False
    return counts_RU


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A metric, and the same metric of each resample."""

    value: float | None
    """None or not finite where the metric is not defined."""
    samples: Floats | None = None
    """(R,): NaN where it is not defined; None for no interval."""
    reason: str | None = None
    """Why there is no value, or no interval."""

    @classmethod
    def undefined(cls, reason: str) -> Estimate:
        """No number, and why."""
        return cls(None, None, reason)

    @classmethod
    def mean(cls, each: Sequence[Estimate], what: str) -> Estimate:
        """The average over several metrics of the same rows; not defined where one of them is not."""
        if len(each) == 1:
            return each[0]
        missing = [estimate for estimate in each if estimate.value is None]
        if missing:
            return cls.undefined(f"not defined for {len(missing)} of {len(each)} {what}: {missing[0].reason}")
        value = float(np.mean([estimate.value for estimate in each]))
        samples = [estimate.samples for estimate in each if estimate.samples is not None]
        if len(samples) < len(each):
            return cls(value, None, ONE_ROW)
        # The same resamples for all, so that what they have in common stays in common.
        return cls(value, np.mean(samples, axis=0))

    def minus(self, other: Estimate) -> Estimate:
        """The difference of one metric on two sets of rows, which are drawn independently."""
        if self.value is None or other.value is None:
            return Estimate.undefined(self.reason or other.reason or "not defined on both parts")
        if self.samples is None or other.samples is None:
            return Estimate(self.value - other.value, None, self.reason or other.reason)
        # Rolled: parts of equal size are drawn alike, and would go up and down together.
        return Estimate(self.value - other.value, self.samples - np.roll(other.samples, 1))

    def measure(self) -> Measure:
        """With its percentile interval, as it is reported."""
        if self.value is None or not np.isfinite(self.value):
            return Measure(value=None, reason=self.reason or "not a finite number")
        if self.samples is None:
            return Measure(value=self.value, reason=self.reason)
        defined = self.samples[np.isfinite(self.samples)]
        if defined.size < _LEAST_DEFINED * self.samples.size:
            few = f"{self.samples.size - defined.size} of {self.samples.size} resamples"
            return Measure(value=self.value, reason=f"no interval: not defined in {few}")
        lower, upper = np.percentile(defined, [50.0 * (1.0 - LEVEL), 50.0 * (1.0 + LEVEL)])
        return Measure(value=self.value, lower=float(lower), upper=float(upper))


def mean_estimates(columns: Mapping[str, Floats], resampling: Resampling) -> dict[str, Estimate]:
    """Means over the rows, by name.

    Args:
        columns: of each metric the value of every row, (N,).
        resampling: of these rows.
    """
    found: dict[str, Estimate] = {}
    finite = {name: values_N for name, values_N in columns.items() if np.isfinite(values_N).all()}
    if finite and resampling.rows > 1:
        sums_RM = resampling.sums(np.stack([np.ones(resampling.rows), *finite.values()], axis=1))
        samples = dict(zip(finite, (sums_RM[:, 1:] / sums_RM[:, :1]).T, strict=True))
    else:
        samples = {}
    for name, values_N in columns.items():
        if name not in finite:
            bad = int((~np.isfinite(values_N)).sum())
            found[name] = Estimate.undefined(f"NaN or infinite on {bad} of {resampling.rows} rows")
        elif resampling.rows == 1:
            found[name] = Estimate(float(values_N[0]), None, ONE_ROW)
        else:
            found[name] = Estimate(float(values_N.mean()), samples[name])
    return found
