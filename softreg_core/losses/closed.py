"""The gradient of a loss's mean by its closed form: what autograd finds, in a third of the operations.

A small step spends its time between operations, not in them. So a number stands here as a tensor that was made once,
since a number beside a tensor is turned into one at every operation, and what is new is changed in place.
"""

# B examples, C outputs, K classes; B1 is (B, 1)

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from softreg_core.losses.sample_program import FLOOR
from softreg_core.losses.slopes import SLOPES, Slope
from softreg_core.losses.soft import Loss
from softreg_core.spec.divergences import (
    CategoricalSpec,
    DivergenceSpec,
    FixedVarianceSpec,
    GaussianSpec,
    SampleProgramSpec,
    TargetVarianceSpec,
    UniformSpec,
)
from softreg_core.spec.loss import LossSpec, variance_of

__all__ = ["ClosedGradient", "closed_gradient"]

# Batches of an epoch have two sizes; an alpha that changes makes a number for every step.
_MOST_KEPT = 64


def closed_gradient(loss_spec: LossSpec, loss: Loss[Any], *, is_on_cpu: bool = True) -> ClosedGradient | None:
    """The closed form of a loss that `build_loss` made from `loss_spec`; None where only autograd knows it.

    There is one for rows that weigh the same, for the bases half_squared_error, brier and cross_entropy, and for every
    divergence that goes with them but those of two predictions and those whose variance moves or is predicted; and
    `sample_program` where no step would have to wait for its device.
    """
    divergence = None if loss.divergence is None else loss_spec.divergence
    if loss.extra_outputs or loss.is_compared:
        return None
    match loss_spec.base.kind, divergence:
        case "cross_entropy", None | CategoricalSpec() | UniformSpec():
            return _OfClasses(loss, divergence)
        case "half_squared_error", SampleProgramSpec():
            return _OfSampleProgram(loss) if is_on_cpu else None
        case "half_squared_error", _ if divergence is None or _has_slope(divergence):
            return _OfResiduals(loss, divergence)
        case "brier", _ if divergence is None or _has_slope(divergence):
            return _OfProbabilities(loss, divergence)
    return None


def _has_slope(divergence: DivergenceSpec) -> bool:
    is_settled = isinstance(variance_of(divergence), FixedVarianceSpec | TargetVarianceSpec)
    is_same = not isinstance(divergence, GaussianSpec) or divergence.prediction_variance == "same"
    return divergence.kind in SLOPES and is_settled and is_same


class ClosedGradient(ABC):
    """Called with a batch's predictions, gives the gradient of its mean total with respect to them."""

    energy: float | None = None
    """What an example's value depends on besides the example: the last batch's prediction energy, or nothing."""

    def __init__(self, loss: Loss[Any]) -> None:
        self._weighing = loss.weighing
        self._has_divergence = loss.divergence is not None
        self._kept: dict[tuple[float, int], Tensor] = {}
        self._constant: dict[int, tuple[Tensor, float]] = {}

    def __call__(self, prediction_BC: Tensor, target: Tensor, step: int) -> Tensor:
        """The gradient at a step.

        Args:
            prediction_BC: float (B, C), finite, without a graph; of one dtype and on one device in all calls.
            target: class codes (B,) that were looked at, or values (B, C).
            step: optimiser steps done so far.

        Returns:
            float (B, C), new.
        """
        base, alpha = self._shares(prediction_BC, step)
        return self._at(prediction_BC, target, base, alpha)

    def apart(self, prediction_BC: Tensor, target: Tensor, step: int) -> tuple[Tensor, Tensor] | None:
        """The two parts of it: of the weighted base and of the weighted divergence; None without a divergence."""
        if not self._has_divergence:
            return None
        base, alpha = self._shares(prediction_BC, step)
        none = self._number(0.0, prediction_BC)
        return self._at(prediction_BC, target, base, 0.0), self._at(prediction_BC, target, none, alpha)

    @abstractmethod
    def _at(self, prediction_BC: Tensor, target: Tensor, base: Tensor, alpha: float) -> Tensor:
        """With what multiplies an example's gradients of base and divergence."""

    def _less_target(self, prediction_BC: Tensor, target: Tensor) -> Tensor:
        """Prediction minus target, new; class codes stand for one-hot rows."""
        if target.is_floating_point():
            return prediction_BC - target
        return self._added(prediction_BC, target.unsqueeze(1), -1.0)

    def _added(self, values_BK: Tensor, code_B1: Tensor, number: float) -> Tensor:
        """The values, new, with a number more at each row's class."""
        number_B1 = self._number(number, values_BK, values_BK.shape[0])
        if values_BK.is_cpu:
            return values_BK.scatter_add(1, code_B1, number_B1)
        # There a sum that is scattered has no order, for all that torch knows.
        return values_BK + torch.zeros_like(values_BK).scatter(1, code_B1, number_B1)

    def _shares(self, like: Tensor, step: int) -> tuple[Tensor, float]:
        """What multiplies an example's gradient of the base, and what that of the divergence."""
        rows = like.shape[0]
        found = self._constant.get(rows)
        if found is None:
            alpha = self._weighing.alpha_at(step) if self._has_divergence else 0.0
            kept = 1.0 - alpha if self._weighing.is_convex else 1.0
            found = self._number(kept / rows, like), alpha / rows
            if isinstance(self._weighing.alpha, float):
                self._constant[rows] = found
        return found

    def _number(self, value: float, like: Tensor, rows: int = 1) -> Tensor:
        """(rows, 1), all of one value; not to be changed."""
        found = self._kept.get((value, rows))
        if found is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            found = torch.full((rows, 1), value, dtype=like.dtype, device=like.device)
            self._kept[value, rows] = found
        return found


class _OfResiduals(ClosedGradient):
    """(yhat - y) (1 + 2 alpha dK/dd2) / B."""

    def __init__(self, loss: Loss[Any], divergence: DivergenceSpec | None) -> None:
        super().__init__(loss)
        self._loss = loss
        self._divergence = divergence
        self._slope: Slope | None = None
        self._unit = 1.0

    def _at(self, prediction_BC: Tensor, target: Tensor, base: Tensor, alpha: float) -> Tensor:
        return self._scaled(self._less_target(prediction_BC, target), base, alpha)

    def _scaled(self, residual_BC: Tensor, base: Tensor, alpha: float) -> Tensor:
        if alpha == 0.0:
            return residual_BC.mul_(base)
        if self._slope is None:
            self._slope = self._build_slope(residual_BC)
        distance_B1 = torch.linalg.vector_norm(residual_BC, 2, 1, True)
        return residual_BC.mul_(self._slope(distance_B1, base, 2.0 * alpha * self._unit))

    def _build_slope(self, like: Tensor) -> Slope:
        """With sigma2 as a number: it stays what it is."""
        sigma2 = self._loss.sigma2
        assert self._divergence is not None and sigma2 is not None  # noqa: S101, PT018  for mypy; `_has_slope` looked
        outputs = like.shape[1]
        if self._weighing.is_in_sigma2:
            self._unit = float(sigma2)
        is_per_output = getattr(self._divergence, "scale", None) == "per_output"
        return SLOPES[self._divergence.kind](float(sigma2) * (outputs if is_per_output else 1), outputs, like)


class _OfProbabilities(_OfResiduals):
    """With p = softmax(z) and g the gradient with respect to p: p_c (g_c - sum_k p_k g_k)."""

    def _at(self, prediction_BC: Tensor, target: Tensor, base: Tensor, alpha: float) -> Tensor:
        p_BK = torch.softmax(prediction_BC, 1)
        return _centred(self._scaled(self._less_target(p_BK, target), base, alpha), p_BK)


class _OfSampleProgram(ClosedGradient):
    """(yhat - y) (1 + alpha / s) / B + alpha ds/dyhat (1 - d2 / s) / (2 s), d2 here the batch's mean.

    Two sizes of a batch are read from memory, and what follows from them are numbers.
    """

    def _at(self, prediction_BC: Tensor, target: Tensor, base: Tensor, alpha: float) -> Tensor:
        gradient_BC = self._less_target(prediction_BC, target)
        rows, outputs = gradient_BC.shape
        numbers = rows * outputs
        energy = torch.linalg.vector_norm(prediction_BC).item() ** 2 / numbers
        self.energy = max(energy, self._floor(prediction_BC, target))
        if alpha == 0.0:
            return gradient_BC.mul_(base)
        squared = torch.linalg.vector_norm(gradient_BC).item() ** 2
        gradient_BC.mul_(base.item() + alpha / self.energy)
        if energy < self.energy:  # nothing flows through the floor
            return gradient_BC
        pull = alpha * (rows - squared / energy) / energy / numbers
        return gradient_BC.add_(prediction_BC, alpha=pull)

    def _floor(self, prediction_BC: Tensor, target: Tensor) -> float:
        rows, outputs = prediction_BC.shape
        squared = torch.linalg.vector_norm(target).item() ** 2 if target.is_floating_point() else rows
        return float(max(FLOOR * squared / (rows * outputs), torch.finfo(prediction_BC.dtype).tiny ** 0.5))


class _OfClasses(ClosedGradient):
    """With p = softmax(z): p - onehot for the base; for a divergence p_c (h_c - sum_k p_k h_k), h its slope by p."""

    def __init__(self, loss: Loss[Any], divergence: CategoricalSpec | UniformSpec | None) -> None:
        super().__init__(loss)
        self._divergence = divergence

    def _at(self, prediction_BC: Tensor, target: Tensor, base: Tensor, alpha: float) -> Tensor:
        log_p_BK = torch.log_softmax(prediction_BC, 1)
        p_BK = log_p_BK.exp()
        gradient_BK = self._less_target(p_BK, target)
        gradient_BK.mul_(base)
        if alpha == 0.0:
            return gradient_BK
        if isinstance(self._divergence, UniformSpec):
            return gradient_BK.add_(self._of_uniform(self._divergence, p_BK, log_p_BK), alpha=alpha)
        assert self._divergence is not None  # noqa: S101  for mypy; alpha weighs it
        temperature = self._divergence.temperature
        if temperature != 1.0:
            log_p_BK = torch.log_softmax(prediction_BC / temperature, 1)
            p_BK = log_p_BK.exp()
        slope_BK, factor = self._of_categorical(self._divergence, p_BK, log_p_BK, target.unsqueeze(1))
        return gradient_BK.add_(slope_BK, alpha=alpha * factor / temperature)

    def _of_uniform(self, spec: UniformSpec, p_BK: Tensor, log_p_BK: Tensor) -> Tensor:
        minus_entropy_B1 = (p_BK * log_p_BK).sum(1, True)
        slope_BK = (log_p_BK - minus_entropy_B1).mul_(p_BK)
        return slope_BK if spec.threshold is None else slope_BK.mul_(minus_entropy_B1 > -spec.threshold)

    def _of_categorical(
        self, spec: CategoricalSpec, p_BK: Tensor, log_p_BK: Tensor, code_B1: Tensor
    ) -> tuple[Tensor, float]:
        """dK/dz, but for a factor and for the temperature."""
        classes = p_BK.shape[1]
        rest, own = spec.epsilon / classes, 1.0 - spec.epsilon + spec.epsilon / classes
        if spec.direction == "jensen_shannon":
            twice_m_BK = self._added(p_BK + self._number(rest, p_BK), code_B1, own - rest)
            # A mean of 0 has p = 0, which is multiplied by whatever the logarithm is.
            log_m_BK = twice_m_BK.clamp_(min=torch.finfo(p_BK.dtype).tiny).log_()
            return _centred(log_p_BK - log_m_BK, p_BK), 0.5
        if spec.direction == "target_to_prediction":
            return self._less_softened(p_BK, code_B1, rest, own), 1.0
        # ln(p / q), but for ln(rest), which is the same for all classes and drops out.
        log_rest = math.log(spec.epsilon) - math.log(classes)
        reverse_BK = _centred(self._added(log_p_BK, code_B1, log_rest - math.log(own)), p_BK)
        if spec.direction == "jeffreys":
            return reverse_BK.add_(self._less_softened(p_BK, code_B1, rest, own)), 1.0
        # ln(own / rest), where rest may be too small for the quotient.
        return reverse_BK, 1.0 / (math.log(own) - log_rest) if spec.normalize else 1.0

    def _less_softened(self, p_BK: Tensor, code_B1: Tensor, rest: float, own: float) -> Tensor:
        return self._added(p_BK - self._number(rest, p_BK), code_B1, rest - own)


def _centred(slope_BK: Tensor, p_BK: Tensor) -> Tensor:
    """p_c (h_c - sum_k p_k h_k), in place of h."""
    weighed_BK = slope_BK.mul_(p_BK)
    return weighed_BK.addcmul_(p_BK, weighed_BK.sum(1, True), value=-1.0)
