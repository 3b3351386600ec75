"""The losses as modules: base + alpha * divergence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from softreg_core.losses.logits import Classes, classes
from softreg_core.losses.parts import DataMeta, LossParts
from softreg_core.losses.residual import Residual, residual
from softreg_core.losses.weighing import Weighing

__all__ = ["ClassDivergence", "ClassLoss", "Divergence", "Loss", "ResidualLoss"]

Divergence = Callable[[Residual], Tensor]
ClassDivergence = Callable[[Classes], Tensor]

_USED_BY = {
    "variance": "a divergence whose prediction variance is predicted by the network",
    "second": "a divergence between two passes of the network",
    "teacher": "a divergence from a teacher's outputs",
}


class Loss(nn.Module, ABC):
    """What every loss is called with, so that a trainer needs to know none of them.

    Training, alpha is that of the step. After `eval()` it is that of the end of the run, whatever the step, so that
    evaluations of all epochs measure the same thing.
    """

    def __init__(self, weighing: Weighing, data_meta: DataMeta | None) -> None:
        super().__init__()
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
            ValueError: the shapes do not fit, a tensor was given that this loss would ignore, or alpha changes over
                a run whose length is not known.
            DataError: a class code is out of range.
        """
        for name, given in (("variance", variance), ("second", second), ("teacher", teacher)):
            if given is not None:
                raise ValueError(f"'{name}' is used by {_USED_BY[name]}; this loss has none and would ignore it")
        base_B, divergence_B = self._terms(prediction, target, weight)
        if divergence_B is None:
            return LossParts(base_B, base_B, None)
        return self.weighing.parts(base_B, divergence_B, step if self.training else None)

    @abstractmethod
    def _terms(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Base and divergence, (B,)."""


class ResidualLoss(Loss):
    """A base of the residuals and, where alpha is ever above 0, a divergence of them."""

    def __init__(
        self,
        base: Callable[[Residual], Tensor],
        divergence: Divergence | None,
        weighing: Weighing,
        data_meta: DataMeta | None,
    ) -> None:
        super().__init__(weighing, data_meta)
        self.base = base
        self.divergence = divergence if weighing.is_ever_positive else None

    def _terms(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        pair = residual(prediction, target, weight, self.data_meta)
        return self.base(pair), None if self.divergence is None else self.divergence(pair)


class ClassLoss(Loss):
    """A base of logits and class codes and, where alpha is ever above 0, a divergence of them."""

    def __init__(
        self,
        base: Callable[[Classes], Tensor],
        divergence: ClassDivergence | None,
        weighing: Weighing,
        data_meta: DataMeta | None,
    ) -> None:
        super().__init__(weighing, data_meta)
        self.base = base
        self.divergence = divergence if weighing.is_ever_positive else None

    def _terms(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
        pair = classes(prediction, target, weight, self.data_meta)
        return self.base(pair), None if self.divergence is None else self.divergence(pair)
