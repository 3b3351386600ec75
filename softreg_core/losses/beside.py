"""Divergences of the prediction from another one: a teacher's, or that of a second pass.

They take the form that goes with the base: of classes, of labels, of real values.
"""

# B examples, C outputs

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from softreg_core.losses.agreement import between_passes, between_passes_values, from_teacher, from_teacher_values
from softreg_core.losses.labels import as_classes
from softreg_core.losses.residual import widened
from softreg_core.spec.bases import BaseSpec
from softreg_core.spec.divergences import TeacherSpec, TwinSpec
from softreg_core.spec.fit import has_logits

__all__ = ["BetweenPasses", "Form", "FromTeacher", "OfOther", "form_of"]

Form = Literal["classes", "labels", "values"]


def form_of(base: BaseSpec) -> Form:
    """What the outputs that go with a base are."""
    if base.kind == "binary_cross_entropy":
        return "labels"
    return "classes" if has_logits(base) else "values"


class OfOther(ABC):
    """A divergence of two predictions."""

    name: ClassVar[Literal["second", "teacher"]]
    """The argument of the loss that holds the other one."""

    def __init__(self, form: Form) -> None:
        self._form = form

    def __call__(self, prediction: Tensor, other: Tensor) -> Tensor:
        """(B,), of two predictions (B, C), or (B,) read as (B, 1)."""
        one, two = (_wide(tensor) for tensor in (prediction, other))
        dtype = torch.promote_types(one.dtype, two.dtype)
        prediction_BC, other_BC = one.to(dtype), two.to(dtype)
        if self._form == "values":
            return self._of_values(prediction_BC, other_BC)
        if self._form == "classes":
            return self._of_classes(prediction_BC, other_BC)
        each_R = self._of_classes(as_classes(prediction_BC), as_classes(other_BC))
        return each_R.view_as(prediction_BC).sum(1)

    @abstractmethod
    def _of_classes(self, logits_BK: Tensor, other_BK: Tensor) -> Tensor: ...

    @abstractmethod
    def _of_values(self, prediction_BC: Tensor, other_BC: Tensor) -> Tensor: ...


class FromTeacher(OfOther):
    """Distillation."""

    name = "teacher"

    def __init__(self, form: Form, spec: TeacherSpec) -> None:
        super().__init__(form)
        self._temperature = spec.temperature
        self._sigma2 = spec.variance.value

    def _of_classes(self, logits_BK: Tensor, other_BK: Tensor) -> Tensor:
        return from_teacher(logits_BK, other_BK, self._temperature)

    def _of_values(self, prediction_BC: Tensor, other_BC: Tensor) -> Tensor:
        return from_teacher_values(prediction_BC, other_BC, self._sigma2)


class BetweenPasses(OfOther):
    """R-Drop; the base is then the mean of both passes' bases."""

    name = "second"

    def __init__(self, form: Form, spec: TwinSpec) -> None:
        super().__init__(form)
        self._sigma2 = spec.variance.value

    def _of_classes(self, logits_BK: Tensor, other_BK: Tensor) -> Tensor:
        return between_passes(logits_BK, other_BK)

    def _of_values(self, prediction_BC: Tensor, other_BC: Tensor) -> Tensor:
        return between_passes_values(prediction_BC, other_BC, self._sigma2)


def _wide(prediction: Tensor) -> Tensor:
    wide = widened(prediction)
    return wide if wide.ndim > 1 else wide.unsqueeze(1)
