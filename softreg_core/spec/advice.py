"""Warnings about a spec that is legal and may still surprise; the one place for them, torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass

from softreg_core.spec.alpha import largest_alpha
from softreg_core.spec.bases import AbsoluteErrorSpec, BaseSpec, CrossEntropySpec, HuberSpec
from softreg_core.spec.divergences import ArticleSpec, CategoricalSpec, GaussianSpec, SampleProgramSpec
from softreg_core.spec.loss import LossSpec
from softreg_core.spec.train import TrainSpec

__all__ = ["CONVEX_UP_TO", "MONOTONE_UP_TO", "Advice", "advise", "outward_pull"]

_U = 4.0 - math.sqrt(13.0)
# l(r) = r^2/2 + alpha K(r^2/sigma2) is convex in the residual iff alpha/sigma2 is at most the reciprocal of the
# maximum of u(3-u)/(1+u)^3, which lies at u = 4 - sqrt(13): 2.638.
CONVEX_UP_TO = (1.0 + _U) ** 3 / (_U * (3.0 - _U))
# Its gradient keeps the sign of the residual iff alpha/sigma2 <= 4: u/(1+u)^2 is at most 1/4.
MONOTONE_UP_TO = 4.0
SMALL_BATCH = 8
# The bases that are a squared distance, in words.
_SQUARED = {"half_squared_error": "squared error", "brier": "squared distance of probabilities"}


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
    largest = largest_alpha(loss.alpha)
    if largest == 0.0:
        return []
    # A convex sum is `kept` times the base plus alpha / kept times the divergence.
    kept = 1.0 - largest if loss.combine == "convex" else 1.0
    divergence = loss.divergence
    if isinstance(divergence, ArticleSpec):
        return _about_article(loss.base, largest, kept, divergence.variance.value)
    if isinstance(divergence, GaussianSpec) and loss.base.kind in _SQUARED:
        message = (
            f"with the same variance this is the {_SQUARED[loss.base.kind]} times "
            f"{kept + largest / divergence.variance.value:g}{_when(loss)} and nothing else: a control"
        )
        return [Advice("gaussian_rescales", "/loss/divergence", message)]
    if isinstance(divergence, CategoricalSpec) and isinstance(loss.base, CrossEntropySpec):
        return _about_smoothing(loss, divergence, kept, largest)
    return []


def _when(loss: LossSpec) -> str:
    return "" if isinstance(loss.alpha, int | float) else f" (when alpha is {largest_alpha(loss.alpha):g})"


def _about_smoothing(loss: LossSpec, divergence: CategoricalSpec, kept: float, alpha: float) -> list[Advice]:
    if divergence.direction != "target_to_prediction" or divergence.temperature != 1.0:
        return []
    factor = kept + alpha
    smoothing = alpha * divergence.epsilon / factor
    if smoothing == 0.0:
        message = f"with epsilon 0 this is the cross-entropy times {factor:g}{_when(loss)} and nothing else: a control"
        return [Advice("cross_entropy_rescales", "/loss/divergence", message)]
    message = (
        f"this is label smoothing: {factor:g} times the cross-entropy of labels smoothed by {smoothing:g}"
        f"{_when(loss)}, up to a constant"
    )
    return [Advice("label_smoothing", "/loss/divergence", message)]


def _about_article(base: BaseSpec, alpha: float, kept: float, variance: float) -> list[Advice]:
    if isinstance(base, HuberSpec | AbsoluteErrorSpec):
        delta = base.delta if isinstance(base, HuberSpec) else None
        outweighed = outward_pull(alpha / kept, variance, delta)
        if outweighed <= 1.0:
            return []
        message = (
            f"near sigma the divergence pushes residuals outward {outweighed:.3g} times as hard as {base.kind} draws "
            "them inward; training may stall there"
        )
        return [Advice("article_pushes_outward", "/loss/alpha", message)]
    ratio = alpha / kept / variance
    name = "alpha/sigma2" if kept == 1.0 else "alpha/((1 - alpha) sigma2)"
    if ratio > MONOTONE_UP_TO:
        message = (
            f"{name} = {ratio:g} is above {MONOTONE_UP_TO:g}: residuals near sigma are pushed away from "
            "their targets; training may stall there"
        )
        return [Advice("article_pushes_outward", "/loss/alpha", message)]
    if ratio > CONVEX_UP_TO:
        message = (
            f"{name} = {ratio:g} is above {CONVEX_UP_TO:.3f}: the loss is not convex in the residual "
            "and may stall at d2 = sigma2"
        )
        return [Advice("article_not_convex", "/loss/alpha", message)]
    return []


def outward_pull(alpha: float, variance: float, delta: float | None) -> float:
    """The largest ratio of the article's slope, outward, to the base's, inward, over all residuals.

    The article's slope at r = sigma t is alpha / sigma * t^3 / (1 + t^2)^2, largest at t^2 = 3; over a slope of r it
    is alpha / sigma2 * t^2 / (1 + t^2)^2, largest at t = 1. Several outputs cannot make the ratio larger than one.

    Args:
        alpha: weight of `article`.
        variance: sigma2.
        delta: huber's; None for absolute_error, whose slope is 1 everywhere.
    """
    sigma = math.sqrt(variance)
    linear_from = 0.0 if delta is None else delta / sigma
    t = max(math.sqrt(3.0), linear_from)
    linear = alpha / sigma * t**3 / (1.0 + t * t) ** 2
    if delta is None:
        return linear
    near = min(1.0, linear_from)
    return max(linear / delta, alpha / variance * near**2 / (1.0 + near * near) ** 2)


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
