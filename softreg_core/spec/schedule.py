"""The learning rate over the time of a run: a factor of the optimiser's rate, a pure function of the global step."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from softreg_core.spec.base import Int, Number, SpecModel
from softreg_core.spec.training import Monitor

__all__ = [
    "ConstantScheduleSpec",
    "CosineScheduleSpec",
    "OneCycleScheduleSpec",
    "PlateauScheduleSpec",
    "ScheduleSpec",
    "StepScheduleSpec",
    "factor_at",
]

Share = Annotated[Number, Field(ge=0.0, le=1.0)]
Factor = Annotated[Number, Field(gt=0.0, lt=1.0)]


class _WarmedUp(SpecModel):
    warm_up: Share = 0.0
    """The share of the run's steps over which the rate rises in a straight line to what it would be."""


class ConstantScheduleSpec(_WarmedUp):
    """The optimiser's rate throughout."""

    kind: Literal["constant"] = "constant"


class CosineScheduleSpec(_WarmedUp):
    """Half a wave of a cosine from the rate, where the warm-up ends, to `end` of it after the last step."""

    kind: Literal["cosine"] = "cosine"
    end: Share = 0.0


class OneCycleScheduleSpec(SpecModel):
    """Up to the rate and down to almost nothing, both half waves of a cosine (Smith and Topin 2018)."""

    kind: Literal["one_cycle"] = "one_cycle"
    rise: Annotated[Number, Field(gt=0.0, lt=1.0)] = 0.3
    """The share of the run's steps after which the rate is reached."""
    start_divisor: Annotated[Number, Field(ge=1.0, le=1e9)] = 25.0
    """The first step's rate is the optimiser's over this."""
    end_divisor: Annotated[Number, Field(ge=1.0, le=1e9)] = 1e4
    """The last step's rate is the first one's over this."""


class StepScheduleSpec(_WarmedUp):
    """Times `factor` after every `every_epochs` epochs."""

    kind: Literal["step"] = "step"
    every_epochs: Annotated[Int, Field(ge=1, le=1_000_000)] = 30
    factor: Factor = 0.1


class PlateauScheduleSpec(_WarmedUp):
    """Times `factor` when `monitor` was no better than its best by more than `min_delta` for `patience` epochs."""

    kind: Literal["plateau"] = "plateau"
    monitor: Monitor = "auto"
    """`auto`: the one of checkpoints."""
    factor: Factor = 0.1
    patience: Annotated[Int, Field(ge=1, le=1_000_000)] = 10
    min_delta: Annotated[Number, Field(ge=0.0, le=1e9)] = 0.0
    smallest: Share = 0.0
    """The factor does not fall below this."""


ScheduleSpec = Annotated[
    ConstantScheduleSpec | CosineScheduleSpec | OneCycleScheduleSpec | StepScheduleSpec | PlateauScheduleSpec,
    Field(discriminator="kind"),
]


def factor_at(schedule: ScheduleSpec, step: int, total_steps: int, steps_per_epoch: int) -> float:
    """What the optimiser's rate is multiplied by at a step; a plateau's own factor is counted elsewhere.

    Args:
        schedule: the spec.
        step: optimiser steps done, from 0 to total_steps - 1.
        total_steps: of the whole run.
        steps_per_epoch: of one epoch.

    Source:
        `cosine`: Loshchilov and Hutter 2017, equation 5, without restarts. `one_cycle`: as torch's OneCycleLR,
        without cycling momentum. Warm-up: Goyal and others 2017; step t of W gives (t + 1) / (W + 1).
    """
    if schedule.kind == "one_cycle":
        return _one_cycle(schedule, step, total_steps)
    warm_steps = round(schedule.warm_up * total_steps)
    if step < warm_steps:
        return (step + 1) / (warm_steps + 1) * _warm_factor(schedule, step, steps_per_epoch)
    if schedule.kind == "cosine":
        done = (step - warm_steps) / max(1, total_steps - warm_steps)
        return schedule.end + (1.0 - schedule.end) * 0.5 * (1.0 + math.cos(math.pi * done))
    return _warm_factor(schedule, step, steps_per_epoch)


def _warm_factor(schedule: ScheduleSpec, step: int, steps_per_epoch: int) -> float:
    """What a warm-up rises to."""
    if schedule.kind == "step":
        return float(schedule.factor ** (step // (steps_per_epoch * schedule.every_epochs)))
    return 1.0


def _one_cycle(schedule: OneCycleScheduleSpec, step: int, total_steps: int) -> float:
    start = 1.0 / schedule.start_divisor
    top_at = schedule.rise * total_steps - 1.0
    if step <= top_at:
        return _half_wave(start, 1.0, step / top_at if top_at > 0.0 else 1.0)
    last_at = total_steps - 1.0
    done = (step - max(0.0, top_at)) / (last_at - max(0.0, top_at)) if last_at > max(0.0, top_at) else 1.0
    return _half_wave(1.0, start / schedule.end_divisor, done)


def _half_wave(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * done))
