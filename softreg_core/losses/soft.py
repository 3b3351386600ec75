"""The losses as modules: base + alpha * divergence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor, nn

from softreg_core.losses.labels import Labels, labels
from softreg_core.losses.logits import Classes, classes
from softreg_core.losses.parts import DataMeta, LossParts
from softreg_core.losses.residual import Residual, residual
from softreg_core.losses.weighing import Weighing

__all__ = ["ClassDivergence", "ClassLoss", "Divergence", "LabelLoss", "Loss", "ResidualLoss"]

Pair = TypeVar("Pair")
Divergence = Callable[[Residual], Tensor]
ClassDivergence = Callable[[Classes], Tensor]

_USED_BY = {
    "variance": "a divergence whose prediction variance is predicted by the network",
    "second": "a divergence between two passes of the network",
    "teacher": "a divergence from a teacher's outputs",
}


class Loss(nn.Module, ABC, Generic[Pair]):
    """What every loss is called with, so that a trainer needs to know none of them.

    Training, alpha is that of the step. After `eval()` it is that of the end of the run, whatever the step, so that
    evaluations of all epochs measure the same thing.
    """

    def __init__(
        self,
        base: Callable[[Pair], Tensor],
        divergence: Callable[[Pair], Tensor] | None,
        weighing: Weighing,
        data_meta: DataMeta | None,
    ) -> None:
        super().__init__()
        self.base = base
        # Left out where alpha is 0 at every step: the total is then the base bit for bit, and costs no more.
        self.divergence = divergence if weighing.is_ever_positive else None
        self.weighing = weighing
        self.data_meta = data_meta

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        *,
        step: int = 0,
        weight: Tensor | None = None,
        variance: Tensor | None = None,
        second: Tensor | None = None,
        teacher: Tensor | None = None,
    ) -> LossParts:
        """One value per example.

        Args:
            prediction: float (B, C), or (B,) read as (B, 1); for a base of classes logits (B, K).
            target: float of the same shape, or integer class codes (B,).
            step: optimiser steps done so far; decides an alpha that changes over the run.
            weight: float (B,); a row's share in statistics over the batch. The values themselves are not weighted.
            variance: predicted variances; no loss takes them yet.
            second: the prediction of a second pass; no loss takes it yet.
            teacher: a teacher's outputs; no loss takes them yet.

        Returns:
            Parts of shape (B,), not reduced.

        Raises:
            ShapeError: the shapes do not fit.
            ValueError: a tensor was given that this loss would ignore, or alpha changes over
                a run whose length is not known.
            DataError: a class code is out of range.
        """
        for name, given in (("variance", variance), ("second", second), ("teacher", teacher)):
            if given is not None:
                raise ValueError(f"'{name}' is used by {_USED_BY[name]}; this loss has none and would ignore it")
        pair = self._pair(prediction, target, weight)
        base_B = self.base(pair)
        if self.divergence is None:
            return LossParts(base_B, base_B, None)
        return self.weighing.parts(base_B, self.divergence(pair), step if self.training else None)

    @abstractmethod
    def _pair(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Pair:
        """Prediction and target, checked, in the form that base and divergence work on."""


class ResidualLoss(Loss[Residual]):
    """A base and a divergence of the residuals."""

    def _pair(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Residual:
        return residual(prediction, target, weight, self.data_meta)


class ClassLoss(Loss[Classes]):
    """A base and a divergence of logits and class codes."""

    def _pair(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Classes:
        return classes(prediction, target, weight, self.data_meta)


class LabelLoss(Loss[Labels]):
    """A base and a divergence of logits and labels that are true or false each by itself."""

    def _pair(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Labels:
        return labels(prediction, target, weight, self.data_meta)
