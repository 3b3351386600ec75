"""Loss and gradient as curves, in NumPy: of one output's residual, or of the probability of the true class.

Torch-free, so that the API can draw them; written from the formulas and not from softreg_core.losses, so that each
can be checked by the other.
"""

# N points of a curve

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softreg_core.spec.alpha import alpha_at
from softreg_core.spec.bases import BaseSpec
from softreg_core.spec.divergences import (
    CategoricalSpec,
    DivergenceSpec,
    FixedVarianceSpec,
    GaussianSpec,
    TeacherSpec,
    TwinSpec,
    UniformSpec,
)
from softreg_core.spec.loss import LossSpec, variance_of

__all__ = ["Curve", "curve_over_log_mean", "curve_over_probability", "curve_over_residual"]

Vector = NDArray[np.float64]


class Curve(NamedTuple):
    """A loss over its argument."""

    loss: Vector
    """(N,)."""
    gradient: Vector
    """(N,): by the argument."""


def curve_over_residual(
    loss: LossSpec,
    residual_N: Vector,
    *,
    done: float = 1.0,
    sigma2: float | None = None,
    predicted: float | None = None,
) -> Curve:
    """The loss of one output over r = yhat - y.

    Args:
        loss: with a base of real values that depends on their difference alone.
        residual_N: float64 (N,), in units of the target.
        done: share of the run's steps, for an alpha that changes over it.
        sigma2: the variance, where it is not in the spec but follows from data or batch: the mean squared prediction
            for sample_program. The curve is that of one example among very many, which do not move it.
        predicted: the prediction's variance sp2, where it is learned or predicted.

    Raises:
        ValueError: this loss is no function of one residual.
    """
    base = _base_of_residual(loss.base, residual_N, predicted)
    if loss.divergence is None:
        return base
    scales = _Scales(sigma2, predicted)
    return _sum(loss, base, _divergence_of_residual(loss.divergence, residual_N, scales), done, sigma2)


def curve_over_log_mean(loss: LossSpec, eta_N: Vector, target: float) -> Curve:
    """The loss of one output over eta, the logarithm of the predicted count.

    Args:
        loss: with base poisson.
        eta_N: float64 (N,).
        target: the count, not negative.

    Raises:
        ValueError: the base is another one.
    """
    if loss.base.kind != "poisson":
        raise ValueError(f"{loss.base.kind} compares no counts: its curve is not over their logarithm")
    return Curve(np.exp(eta_N) - target * eta_N, np.exp(eta_N) - target)


def curve_over_probability(
    loss: LossSpec,
    p_N: Vector,
    classes: int,
    *,
    done: float = 1.0,
    sigma2: float | None = None,
    predicted: float | None = None,
) -> Curve:
    """The loss of one example over the probability of its class; the other classes share the rest equally.

    Args:
        loss: with a base of classes, or with binary_cross_entropy: then the class is a label's truth.
        p_N: float64 (N,), between 0 and 1, both excluded; at temperature 1.
        classes: K, at least 2; for a label 2.
        done: share of the run's steps, for an alpha that changes over it.
        sigma2: as in `curve_over_residual`; for sample_program the mean squared probability.
        predicted: as in `curve_over_residual`.

    Raises:
        ValueError: this loss is no function of that probability alone.
    """
    if loss.base.kind == "binary_cross_entropy" and classes != 2:
        raise ValueError(f"a label is true or false: its curve is over 2 classes, not {classes}")
    base = _base_of_probability(loss.base, p_N, classes)
    if loss.divergence is None:
        return base
    if isinstance(loss.divergence, CategoricalSpec | UniformSpec):
        divergence = _divergence_of_probability(loss.divergence, p_N, classes)
    else:
        # Brier's residual: 1 - p of the own class, p of each other. Its length is one residual.
        factor = np.sqrt(classes / (classes - 1.0))
        scales = _Scales(sigma2, predicted, classes)
        along = _divergence_of_residual(loss.divergence, (1.0 - p_N) * factor, scales)
        divergence = Curve(along.loss, -factor * along.gradient)
    return _sum(loss, base, divergence, done, sigma2)


def _sum(loss: LossSpec, base: Curve, divergence: Curve, done: float, sigma2: float | None) -> Curve:
    alpha = alpha_at(loss.alpha, done)
    kept = 1.0 - alpha if loss.combine == "convex" else 1.0
    if loss.alpha_units == "sigma2":
        alpha *= _sigma2(loss.divergence, sigma2)
    return Curve(kept * base.loss + alpha * divergence.loss, kept * base.gradient + alpha * divergence.gradient)


class _Scales(NamedTuple):
    """What a divergence of the residual needs besides it."""

    sigma2: float | None
    predicted: float | None
    outputs: int = 1


def _sigma2(divergence: DivergenceSpec | None, given: float | None) -> float:
    variance = variance_of(divergence)
    if isinstance(variance, FixedVarianceSpec):
        return variance.value
    if given is None:
        raise ValueError("this loss takes its variance from data or batch, so it is no function of one residual alone")
    return given


def _base_of_residual(base: BaseSpec, r: Vector, predicted: float | None) -> Curve:
    match base.kind:
        case "gaussian_nll":
            if predicted is None:
                raise ValueError("gaussian_nll has a predicted variance: its curve needs one")
            weight = predicted**base.beta / predicted
            return Curve(weight * (predicted * np.log(predicted) + r**2) / 2, weight * r)
        case "poisson":
            raise ValueError("poisson is no function of a difference: its curve is over the logarithm of the count")
        case "half_squared_error":
            return Curve(r**2 / 2, r)
        case "huber":
            size = np.abs(r)
            near = size <= base.delta
            return Curve(
                np.where(near, r**2 / 2, base.delta * (size - base.delta / 2)), np.clip(r, -base.delta, base.delta)
            )
        case "absolute_error":
            return Curve(np.abs(r), np.sign(r))
        case "quantile":
            return Curve(np.maximum(-base.tau * r, (1 - base.tau) * r), np.where(r > 0, 1 - base.tau, -base.tau))
        case "student_t":
            return Curve((base.nu + 1) / 2 * np.log1p(r**2 / base.nu), (base.nu + 1) * r / (base.nu + r**2))
        case "barron":
            return _barron(base.shape, r)
        case _:
            raise ValueError(f"{base.kind} compares classes: its curve is over the probability")


def _barron(shape: float, r: Vector) -> Curve:
    if shape == 2.0:
        return Curve(r**2 / 2, r)
    if shape == 0.0:
        return Curve(np.log1p(r**2 / 2), r / (1 + r**2 / 2))
    b = 2.0 - shape
    log = np.log1p(r**2 / b)
    return Curve(b / shape * np.expm1(shape / 2 * log), r * np.exp((shape / 2 - 1) * log))


def _divergence_of_residual(divergence: DivergenceSpec, r: Vector, scales: _Scales) -> Curve:
    outputs = scales.outputs
    if isinstance(divergence, CategoricalSpec | UniformSpec | TeacherSpec | TwinSpec):
        raise ValueError(f"{divergence.kind} is no function of one residual")  # noqa: TRY004  of a kind, not a type
    s = _sigma2(divergence, scales.sigma2)
    if divergence.kind == "sample_program":
        return Curve((np.log(s) + r**2 / s - 1) / 2, r / s)
    if divergence.kind == "gaussian" and divergence.prediction_variance != "same":
        return _of_two_gaussians(divergence, r, s, scales)
    s *= outputs if divergence.scale == "per_output" else 1
    u, slope = r**2 / s, r / s
    gap, gap_slope = (np.log1p(u) - u / (1 + u)) / 2, slope * u / (1 + u) ** 2
    match divergence.kind:
        case "article":
            return Curve(-gap, -gap_slope)
        case "inflation":
            return Curve(gap, gap_slope)
        case "gaussian":
            return Curve(u / 2, slope)
        case "cauchy":
            return Curve(outputs / 2 * np.log1p(u / outputs), slope / (1 + u / outputs))
        case "geman_mcclure":
            return Curve(u / (1 + u) / 2, slope / (1 + u) ** 2)
        case "welsch":
            return Curve(-np.expm1(-u) / 2, slope * np.exp(-u))


def _of_two_gaussians(divergence: GaussianSpec, r: Vector, s: float, scales: _Scales) -> Curve:
    v, outputs = scales.predicted, scales.outputs
    if v is None:
        raise ValueError("this divergence has a variance of the prediction: its curve needs one")
    if divergence.direction == "prediction_to_target":
        return Curve((outputs * (np.log(s / v) + v / s - 1) + r**2 / s) / 2, r / s)
    weight = v**divergence.beta
    return Curve(weight * (outputs * (np.log(v / s) + s / v - 1) + r**2 / v) / 2, weight * r / v)


def _base_of_probability(base: BaseSpec, p: Vector, classes: int) -> Curve:
    match base.kind:
        case "cross_entropy" | "binary_cross_entropy":
            return Curve(-np.log(p), -1 / p)
        case "brier":
            share = classes / (classes - 1.0)
            return Curve(share * (1 - p) ** 2 / 2, -share * (1 - p))
        case "generalized_cross_entropy":
            return Curve((1 - p**base.q) / base.q, -(p ** (base.q - 1)))
        case "symmetric_cross_entropy":
            reverse = -base.reverse_weight * base.log_zero
            return Curve(-base.forward_weight * np.log(p) + reverse * (1 - p), -base.forward_weight / p - reverse)
        case "focal":
            missed = (1 - p) ** base.gamma
            return Curve(-missed * np.log(p), missed * (base.gamma * np.log(p) / (1 - p) - 1 / p))
        case _:
            raise ValueError(f"{base.kind} compares real values: its curve is over the residual")


def _divergence_of_probability(divergence: CategoricalSpec | UniformSpec, p: Vector, classes: int) -> Curve:
    rest = (1 - p) / (classes - 1)
    if isinstance(divergence, UniformSpec):
        entropy, entropy_slope = -p * np.log(p) - (1 - p) * np.log(rest), np.log(rest / p)
        if divergence.threshold is None:
            return Curve(np.log(classes) - entropy, -entropy_slope)
        short = divergence.threshold - entropy
        return Curve(np.maximum(short, 0.0), np.where(short > 0, -entropy_slope, 0.0))
    q = 1 - divergence.epsilon + divergence.epsilon / classes
    others = divergence.epsilon / classes
    # The distance of the own logit to the others', ln(p/rest), is what the temperature divides.
    t = divergence.temperature
    p_T = 1 / (1 + (classes - 1) * np.exp(-np.log(p / rest) / t))
    along = _categorical(divergence, p_T, (1 - p_T) / (classes - 1), q, others, classes - 1)
    return Curve(along.loss, along.gradient * p_T * (1 - p_T) / (t * p * (1 - p)))


def _categorical(divergence: CategoricalSpec, p: Vector, rest: Vector, q: float, q_rest: float, others: int) -> Curve:
    """Of the own class with p and q, and `others` classes with `rest` and `q_rest` each."""
    with np.errstate(divide="ignore", invalid="ignore"):  # q_rest may be 0; where it counts the spec forbids it
        reverse = Curve(
            p * np.log(p / q) + others * rest * np.log(rest / q_rest), np.log(p / q) - np.log(rest / q_rest)
        )
    forward = Curve(
        q * np.log(q / p) + (others * q_rest * np.log(q_rest / rest) if q_rest else 0.0),
        -q / p + q_rest / rest,
    )
    match divergence.direction:
        case "prediction_to_target":
            scale = np.log(q / q_rest) if divergence.normalize else 1.0
            return Curve(reverse.loss / scale, reverse.gradient / scale)
        case "target_to_prediction":
            return forward
        case "jeffreys":
            return Curve(reverse.loss + forward.loss, reverse.gradient + forward.gradient)
        case "jensen_shannon":
            middle, middle_rest = (p + q) / 2, (rest + q_rest) / 2
            of_p = p * np.log(p / middle) + others * rest * np.log(rest / middle_rest)
            of_q = q * np.log(q / middle) + (others * q_rest * np.log(q_rest / middle_rest) if q_rest else 0.0)
            return Curve((of_p + of_q) / 2, (np.log(p / middle) - np.log(rest / middle_rest)) / 2)
