"""alpha over the time of a run: a pure function of the share of the run's steps that are done."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from softreg_core.spec.base import Int, Number, SpecModel

__all__ = [
    "AlphaSpec",
    "ConstantAlphaSpec",
    "CosineAlphaSpec",
    "CyclicalAlphaSpec",
    "LinearAlphaSpec",
    "alpha_at",
    "largest_alpha",
]

Weight = Annotated[Number, Field(ge=0.0, le=1e9)]
Share = Annotated[Number, Field(gt=0.0, le=1.0)]


class ConstantAlphaSpec(SpecModel):
    """The same as the number alone."""

    kind: Literal["constant"] = "constant"
    value: Weight


class LinearAlphaSpec(SpecModel):
    """From 0 in a straight line to `value`, then constant."""

    kind: Literal["linear"] = "linear"
    value: Weight
    warm_up: Share = 0.1
    """The share of the run's steps after which `value` is reached."""


class CosineAlphaSpec(SpecModel):
    """Half a wave of a cosine from `start`, at the first step, to `end`."""

    kind: Literal["cosine"] = "cosine"
    start: Weight
    end: Weight


class CyclicalAlphaSpec(SpecModel):
    """Equal cycles; in each, from 0 in a straight line to `value`, then constant."""

    kind: Literal["cyclical"] = "cyclical"
    value: Weight
    cycles: Annotated[Int, Field(ge=1, le=10_000)] = 4
    ratio: Share = 0.5
    """The share of a cycle after which `value` is reached."""


AlphaSpec = Annotated[
    ConstantAlphaSpec | LinearAlphaSpec | CosineAlphaSpec | CyclicalAlphaSpec, Field(discriminator="kind")
]


def alpha_at(alpha: float | AlphaSpec, done: float) -> float:
    """The weight of the divergence when the share `done` of the run's steps, from 0 to 1, is done.

    At 1 a cycle is complete and not begun anew.

    Source:
        Cyclical: Fu et al. 2019, equation 6, with a linear rise.
    """
    if isinstance(alpha, int | float):
        return alpha
    match alpha.kind:
        case "constant":
            return alpha.value
        case "linear":
            return alpha.value * min(1.0, done / alpha.warm_up)
        case "cosine":
            return alpha.start + (alpha.end - alpha.start) * 0.5 * (1.0 - math.cos(math.pi * done))
        case "cyclical":
            in_cycle = 1.0 if done >= 1.0 else math.fmod(done * alpha.cycles, 1.0)
            return alpha.value * min(1.0, in_cycle / alpha.ratio)


def largest_alpha(alpha: float | AlphaSpec) -> float:
    """The largest weight over the run."""
    if isinstance(alpha, int | float):
        return alpha
    return max(alpha.start, alpha.end) if alpha.kind == "cosine" else alpha.value
