"""The losses as modules: base + alpha * divergence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from softreg_core.losses.logits import Classes, classes
from softreg_core.losses.parts import DataMeta, LossParts
from softreg_core.losses.residual import Residual, residual

__all__ = ["ClassDivergence", "ClassLoss", "Divergence", "Loss", "ResidualLoss", "combine"]

Divergence = Callable[[Residual], Tensor]
ClassDivergence = Callable[[Classes], Tensor]

_USED_BY = {
    "variance": "a divergence whose prediction variance is predicted by the network",
    "second": "a divergence between two passes of the network",
    "teacher": "a divergence from a teacher's outputs",
}


def combine(base_B: Tensor, alpha: float | Tensor, divergence_B: Tensor) -> LossParts:
    """l_b = base_b + alpha * K_b, per example."""
    return LossParts(base_B + alpha * divergence_B, base_B, divergence_B)


class Loss(nn.Module, ABC):
    """What every loss is called with, so that a trainer needs to know none of them."""

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        *,
        step: int = 0,  # noqa: ARG002  every loss is called with it; alpha is constant here
        weight: Tensor | None = None,
        variance: Tensor | None = None,
        second: Tensor | None = None,
        teacher: Tensor | None = None,
    ) -> LossParts:
        """One value per example.

        Args:
            prediction: float (B, C), or (B,) read as (B, 1); for a base of classes logits (B, K).
            target: float of the same shape, or integer class codes (B,).
            step: optimiser steps done so far.
            weight: float (B,); a row's share in statistics over the batch. The values themselves are not weighted.
            variance: predicted variances; no loss takes them yet.
            second: the prediction of a second pass; no loss takes it yet.
            teacher: a teacher's outputs; no loss takes them yet.

        Returns:
            Parts of shape (B,), not reduced.

        Raises:
            ValueError: the shapes do not fit, or a tensor was given that this loss would ignore.
            DataError: a class code is out of range.
        """
        for name, given in (("variance", variance), ("second", second), ("teacher", teacher)):
            if given is not None:
                raise ValueError(f"'{name}' is used by {_USED_BY[name]}; this loss has none and would ignore it")
        return self._parts(prediction, target, weight)

    @abstractmethod
    def _parts(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> LossParts:
        """What `forward` returns."""


class ResidualLoss(Loss):
    """A base of the residuals and, where alpha is above 0, a divergence of them."""

    def __init__(
        self,
        base: Callable[[Residual], Tensor],
        alpha: float,
        divergence: Divergence | None,
        data_meta: DataMeta | None,
    ) -> None:
        super().__init__()
        self.base = base
        self.alpha = alpha
        # Skipped, not multiplied by 0: the total is then the base bit for bit, also where K is not finite.
        self.divergence = divergence if alpha != 0.0 else None
        self.data_meta = data_meta

    def _parts(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> LossParts:
        pair = residual(prediction, target, weight, self.data_meta)
        base_B = self.base(pair)
        if self.divergence is None:
            return LossParts(base_B, base_B, None)
        return combine(base_B, self.alpha, self.divergence(pair))


class ClassLoss(Loss):
    """A base of logits and class codes and, where alpha is above 0, a divergence of them."""

    def __init__(
        self,
        base: Callable[[Classes], Tensor],
        alpha: float,
        divergence: ClassDivergence | None,
        data_meta: DataMeta | None,
    ) -> None:
        super().__init__()
        self.base = base
        self.alpha = alpha
        self.divergence = divergence if alpha != 0.0 else None
        self.data_meta = data_meta

    def _parts(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> LossParts:
        pair = classes(prediction, target, weight, self.data_meta)
        base_B = self.base(pair)
        if self.divergence is None:
            return LossParts(base_B, base_B, None)
        return combine(base_B, self.alpha, self.divergence(pair))
