"""Warnings about a spec that is legal and may still surprise; the one place for them, torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass

from softreg_core.spec.loss import ArticleSpec, GaussianSpec, LossSpec, SampleProgramSpec
from softreg_core.spec.train import TrainSpec

__all__ = ["CONVEX_UP_TO", "MONOTONE_UP_TO", "Advice", "advise"]

_U = 4.0 - math.sqrt(13.0)
# l(r) = r^2/2 + alpha K(r^2/sigma2) is convex in the residual iff alpha/sigma2 is at most the reciprocal of the
# maximum of u(3-u)/(1+u)^3, which lies at u = 4 - sqrt(13): 2.638.
CONVEX_UP_TO = (1.0 + _U) ** 3 / (_U * (3.0 - _U))
# Its gradient keeps the sign of the residual iff alpha/sigma2 <= 4: u/(1+u)^2 is at most 1/4.
MONOTONE_UP_TO = 4.0
SMALL_BATCH = 8


@dataclass(frozen=True, slots=True)
class Advice:
    """A warning: a stable code, the pointer to the value it speaks of, and a sentence."""

    code: str
    pointer: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """Plain JSON."""
        return {"code": self.code, "pointer": self.pointer, "message": self.message}


def advise(spec: TrainSpec) -> list[Advice]:
    """Every warning that follows from the spec alone."""
    return [*_about_loss(spec.loss), *_about_batches(spec)]


def _about_loss(loss: LossSpec) -> list[Advice]:
    divergence = loss.divergence
    if isinstance(divergence, ArticleSpec) and loss.alpha > 0.0:
        ratio = loss.alpha / divergence.variance.value
        if ratio > MONOTONE_UP_TO:
            return [
                Advice(
                    "article_pushes_outward",
                    "/loss/alpha",
                    f"alpha/sigma2 = {ratio:g} is above {MONOTONE_UP_TO:g}: residuals near sigma are pushed away from "
                    "their targets; training may stall there",
                )
            ]
        if ratio > CONVEX_UP_TO:
            return [
                Advice(
                    "article_not_convex",
                    "/loss/alpha",
                    f"alpha/sigma2 = {ratio:g} is above {CONVEX_UP_TO:.3f}: the loss is not convex in the residual "
                    "and may stall at d2 = sigma2",
                )
            ]
    if isinstance(divergence, GaussianSpec) and loss.alpha > 0.0:
        factor = 1.0 + loss.alpha / divergence.variance.value
        return [
            Advice(
                "gaussian_rescales",
                "/loss/divergence",
                f"with the same variance this is the squared error times {factor:g} and nothing else: a control",
            )
        ]
    return []


def _about_batches(spec: TrainSpec) -> list[Advice]:
    if isinstance(spec.loss.divergence, SampleProgramSpec) and spec.training.batch_size < SMALL_BATCH:
        return [
            Advice(
                "sample_program_small_batch",
                "/training/batch_size",
                f"sample_program estimates a variance from each batch; a batch of {spec.training.batch_size} is small, "
                f"use {SMALL_BATCH} rows or more",
            )
        ]
    return []
