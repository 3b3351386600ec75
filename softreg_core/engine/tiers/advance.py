"""The seam of the engine tiers that take many steps in one call: what such a call is given, and what it tells."""

# S steps, P series

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from softreg_core.data.part import Part
from softreg_core.data.streamed import StreamedPart
from softreg_core.engine.rates import Rates
from softreg_core.engine.step.stepper import Stepper
from softreg_core.spec.train import TrainSpec

__all__ = ["Advance", "Advanced", "Chosen", "Job", "Tier", "eager_instead"]

Tier = Literal["eager", "compiled", "cudagraph"]


class Advanced(NamedTuple):
    """What steps gave, in order."""

    series: tuple[str, ...]
    """As `PureStep.series`: `total`, `base` and so on; the last is `weight`."""
    sums: NDArray[np.float64]
    """(S, P): of each series the sum over the step's examples, each times its weight; the last that of the weights."""
    seen: tuple[float, ...] | None = None
    """(3,): what `GradientLedger` tells of the epoch's last step, where that was among them and the spec wants it."""

    def means(self) -> Iterator[dict[str, float]]:
        """Of each step what `Outcome.means` says of one; up to the first that is not finite."""
        names = ["loss" if name == "total" else name for name in self.series[:-1]]
        for sums_P in self.sums:
            if not np.isfinite(sums_P).all():
                return
            with np.errstate(divide="ignore", invalid="ignore"):
                yield dict(zip(names, (sums_P[:-1] / sums_P[-1]).tolist(), strict=True))


class Advance(Protocol):
    """Takes the steps of an epoch for one run; its stepper stands at the step boundary before and after a call.

    It keeps nothing that a call depends on: where a stretch of steps is cut changes no bit.
    """

    @property
    def tier(self) -> Tier:
        """How."""

    @property
    def most_steps(self) -> int:
        """Of one call, so that the caller is asked often enough whether to go on."""

    def __call__(self, epoch: int, start: int, stop: int) -> Advanced:
        """Steps `start` to `stop - 1` of an epoch; both count from 0, epochs too."""


class Job(NamedTuple):
    """What a tier knows of a run that is about to take steps."""

    spec: TrainSpec
    """Resolved."""
    stepper: Stepper
    """At the run's first step; it is the run's own."""
    rates: Rates
    """The run's own: a plateau changes them between epochs."""
    rows: Part | StreamedPart
    """Of training, on the device."""
    batch_size: int
    steps_per_epoch: int
    step: int
    """Optimiser steps done: of a resumed run more than 0."""
    device: torch.device
    before: Tier | None = None
    """Of the run that is resumed."""
    multiplications: int = 0
    """Of one row, forward."""

    @property
    def total_steps(self) -> int:
        """Of the whole run."""
        return self.spec.training.epochs * self.steps_per_epoch

    @property
    def is_changing(self) -> bool:
        """Whether a number of its steps may be another from step to step."""
        return not isinstance(self.spec.loss.alpha, float) or self.rates.is_scheduled

    @property
    def misfit_of_rows(self) -> str | None:
        """Why no tier but `eager` can have its rows; None where they lie in memory."""
        return None if isinstance(self.rows, Part) else "rows that are read from disk come batch by batch"


class Chosen(NamedTuple):
    """How a run takes its steps, and why."""

    tier: Tier
    reason: str
    """In words; for the manifest."""
    advance: Advance | None = None
    """None for `eager`."""
    warning: str | None = None
    """What a user should hear of: another tier was asked for and could not be had."""


def eager_instead(told: str, why: str) -> Chosen:
    """Where the engine that was asked for cannot be had."""
    return Chosen("eager", f"{told}, but {why}", warning=f"the steps are taken one by one: {why}")
