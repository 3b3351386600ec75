"""A job's metrics, in columns."""

from __future__ import annotations

import math
from typing import Literal

from api.schemas.base import Reply
from api.thinning import kept_points
from softreg_jobs.queries import Series

__all__ = ["MetricsReply", "metrics_reply"]


class MetricsReply(Reply):
    """Every series over one axis of steps."""

    object: Literal["metrics"] = "metrics"
    job_id: str
    names: list[str]
    """Of the series that have a value at `from_step` or later."""
    recorded_steps: int
    """How many steps from `from_step` on have values; more than `steps` shows when some were left out."""
    steps: list[int]
    series: dict[str, list[float | None]]
    """One value per step; null where the series has none, or where it is not finite."""
    non_finite: dict[str, list[int]]
    """For each series the indexes of values that were NaN or infinite."""


def metrics_reply(job_id: str, series: Series, max_points: int) -> MetricsReply:
    """Series over the union of their steps, of which at most `max_points` are shown."""
    steps = sorted({step for recorded, _ in series.values() for step in recorded})
    values = {name: dict(zip(*series[name], strict=True)) for name in sorted(series)}
    columns = [[found.get(step, math.nan) for step in steps] for found in values.values()]
    odd = {name: {step for step, value in found.items() if not math.isfinite(value)} for name, found in values.items()}
    urgent = [index for index, step in enumerate(steps) if any(step in found for found in odd.values())]
    kept = [steps[index] for index in kept_points(steps, columns, urgent, max_points)]
    flags = {name: [index for index, step in enumerate(kept) if step in found] for name, found in odd.items()}
    return MetricsReply(
        job_id=job_id,
        names=list(values),
        recorded_steps=len(steps),
        steps=kept,
        series={
            name: [None if step in odd[name] else found.get(step) for step in kept] for name, found in values.items()
        },
        non_finite={name: indexes for name, indexes in flags.items() if indexes},
    )
