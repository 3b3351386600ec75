"""The losses as modules: base + alpha * divergence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Generic, Self, TypeVar

from torch import Tensor, nn

from softreg_core.errors import ShapeError
from softreg_core.losses.beside import OfOther
from softreg_core.losses.labels import Labels, labels
from softreg_core.losses.logits import Classes, classes
from softreg_core.losses.parts import DataMeta, LossParts
from softreg_core.losses.residual import Residual, residual
from softreg_core.losses.rows import emptied
from softreg_core.losses.sample_program import SampleProgram
from softreg_core.losses.second_head import SecondHead
from softreg_core.losses.variance import FixedVariance, OutputVariance, ResidualVariance, Variance
from softreg_core.losses.weighing import Weighing

__all__ = ["ClassDivergence", "ClassLoss", "Divergence", "LabelLoss", "Loss", "ResidualLoss"]

Pair = TypeVar("Pair")
Divergence = Callable[[Residual], Tensor]
ClassDivergence = Callable[[Classes], Tensor]

_USED_BY = {
    "variance": "a base or divergence whose prediction variance is predicted by the network",
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
        head: SecondHead | None = None,
        *,
        is_log_link: bool = False,
    ) -> None:
        super().__init__()
        self.base = base
        # Left out where alpha is 0 at every step: the total is then the base bit for bit, and costs no more.
        self.divergence = divergence if weighing.is_ever_positive else None
        self.weighing = weighing
        self.data_meta = data_meta
        self._head = head
        self._is_log_link = is_log_link
        self._other: OfOther | None = None

    def compared(self, other: OfOther) -> Self:
        """With a divergence from a teacher's outputs or a second pass, which a loss of a base alone is given here."""
        self._other = other if self.weighing.is_ever_positive else None
        return self

    @property
    def is_compared(self) -> bool:
        """Whether it has such a divergence."""
        return self._other is not None

    @property
    def extra_outputs(self) -> int:
        """Columns that the network puts out after the predictions; `split` takes them off."""
        return 0 if self._head is None else self._head.columns(self.data_meta)

    def split(self, output_BX: Tensor) -> tuple[Tensor, Tensor | None]:
        """The network's output as the loss takes it: predictions, and the predicted variances where there are some.

        Args:
            output_BX: float (B, C + extra_outputs).

        Returns:
            Predictions (B, C); variances (B, 1) or (B, C), above 0, in squared units of the (standardised) target.
        """
        return (output_BX, None) if self._head is None else self._head.split(output_BX)

    def values(self, prediction: Tensor) -> Tensor:
        """What a prediction says, in the target's own scale: for a base of counts its exponential."""
        return prediction.exp() if self._is_log_link else prediction

    def predictive_variance(self, variance: Tensor) -> Tensor:
        """The variance of a target given its inputs: what `split` gave, less the noise that the loss added to it."""
        return variance if self._head is None else self._head.predictive(variance, self.sigma2)

    @contextmanager
    def as_one_step(self) -> Iterator[None]:
        """Around the calls of one optimiser step, where there are several: what the loss follows moves once."""
        with self._variance.held() if isinstance(self._variance, ResidualVariance) else nullcontext():
            yield

    @contextmanager
    def given(
        self, *, alpha: Tensor | None = None, sigma2: Tensor | None = None, energy: Tensor | None = None
    ) -> Iterator[None]:
        """Compute with tensors of no dimension in place of alpha of the step and of a sigma2 that is a number.

        And with `energy`, of each row, in place of the batch's that `sample_program` uses.
        """
        weighing, source = self.weighing, self._variance
        fixed = source if isinstance(source, FixedVariance) and sigma2 is not None else None
        before = None if fixed is None else fixed.used
        if alpha is not None:
            self.weighing = replace(weighing, given=alpha)
        if fixed is not None and sigma2 is not None:
            fixed.used = sigma2
        program = self.divergence if isinstance(self.divergence, SampleProgram) else None
        if program is not None:
            program.given = energy
        try:
            yield
        finally:
            if program is not None:
                program.given = None
            self.weighing = weighing
            if fixed is not None and before is not None:
                fixed.used = before

    @property
    def sigma2(self) -> float | Tensor | None:
        """The variance that residuals are measured by: a constant, the mean so far, or the last batch's."""
        source = self._variance
        return None if source is None else source.settled()

    def batch_sigma2(self) -> Tensor | None:
        """That of the last batch, where it is the outputs' variance; else None."""
        source = self._variance
        return source.used if isinstance(source, OutputVariance) and isinstance(source.used, Tensor) else None

    def put_batch_sigma2(self, sigma2: Tensor) -> None:
        """Let a program's last batch be the last one."""
        if isinstance(self._variance, OutputVariance):
            self._variance.used = sigma2

    def followed_sigma2(self) -> float | None:
        """`sigma2` as a number where it is not one in the spec, else None; waits for the device."""
        if self._variance is None or isinstance(self._variance, FixedVariance):
            return None
        return float(self._variance.settled())

    @cached_property
    def _variance(self) -> Variance | None:
        found = (module for module in self.modules() if isinstance(module, Variance))
        return next(found, None)

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
            variance: predicted variances, as from `split`.
            second: float (B, C), the prediction of a second pass; for the divergence `twin`.
            teacher: float (B, C), a teacher's outputs; for the divergence `teacher`. Both may be left out in
                evaluation, which then measures the base: a delivered model has neither.

        Returns:
            Parts of shape (B,), not reduced.

        Raises:
            ShapeError: the shapes do not fit.
            ValueError: a tensor was given that this loss would ignore, one that it needs was not, or alpha changes
                over a run whose length is not known.
            DataError: a class code is out of range.
        """
        used = {"variance" if self._head is not None else "", "" if self._other is None else self._other.name}
        for name, given in (("variance", variance), ("second", second), ("teacher", teacher)):
            if given is not None and name not in used:
                raise ValueError(f"'{name}' is used by {_USED_BY[name]}; this loss has none and would ignore it")
        if self._head is not None:
            self._head.check(prediction, variance)
        pair = self._pair(prediction, target, weight, variance)
        base_B = self.base(pair)
        if self._other is not None:
            other = second if self._other.name == "second" else teacher
            return self._compared(base_B, (prediction, other), target, weight, step if self.training else None)
        if self.divergence is None:
            return LossParts(base_B, base_B, None)
        divergence_B = self.divergence(pair)
        return self.weighing.parts(base_B, divergence_B, step if self.training else None, self._unit())

    def _compared(
        self,
        base_B: Tensor,
        predictions: tuple[Tensor, Tensor | None],
        target: Tensor,
        weight: Tensor | None,
        step: int | None,
    ) -> LossParts:
        prediction, other = predictions
        assert self._other is not None  # noqa: S101  for mypy; the caller has looked
        if other is None:
            if self.training:
                raise ValueError(f"'{self._other.name}' is needed: this loss compares the prediction with it")
            return LossParts(base_B, base_B, None)
        if other.shape != prediction.shape:
            shapes = f"{tuple(other.shape)}, the prediction {tuple(prediction.shape)}"
            raise ShapeError(f"{self._other.name} has shape {shapes}")
        if self._other.name == "second":  # both passes are trained
            base_B = 0.5 * (base_B + self.base(self._pair(other, target, weight, None)))
        divergence_B = self._other(emptied(prediction, weight), emptied(other, weight))
        return self.weighing.parts(base_B, divergence_B, step)

    def weight_of_divergence(self, step: int) -> float | Tensor:
        """What the divergence is multiplied by in the total of the last call, a call of this step in training."""
        return self.weighing.used_at(step) * self._unit()

    def _unit(self) -> float | Tensor:
        """What alpha is counted in."""
        source = self._variance if self.weighing.is_in_sigma2 else None
        return 1.0 if source is None else source.used

    @abstractmethod
    def _pair(self, prediction: Tensor, target: Tensor, weight: Tensor | None, variance: Tensor | None) -> Pair:
        """Prediction and target, checked, in the form that base and divergence work on."""


class ResidualLoss(Loss[Residual]):
    """A base and a divergence of the residuals."""

    def _pair(self, prediction: Tensor, target: Tensor, weight: Tensor | None, variance: Tensor | None) -> Residual:
        return residual(prediction, target, weight, self.data_meta, variance)


class ClassLoss(Loss[Classes]):
    """A base and a divergence of logits and class codes."""

    def _pair(self, prediction: Tensor, target: Tensor, weight: Tensor | None, variance: Tensor | None) -> Classes:
        pair = classes(prediction, target, weight, self.data_meta)
        return pair if variance is None else pair._replace(variance=variance.to(pair.logits.dtype))


class LabelLoss(Loss[Labels]):
    """A base and a divergence of logits and labels that are true or false each by itself."""

    def _pair(self, prediction: Tensor, target: Tensor, weight: Tensor | None, _: Tensor | None) -> Labels:
        return labels(prediction, target, weight, self.data_meta)
