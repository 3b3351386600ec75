"""From a loss spec to a module, by `kind`; a test holds that the spec and these tables name the same kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from softreg_core.errors import Problem, SpecError
from softreg_core.losses.article import article, inflation
from softreg_core.losses.cauchy import cauchy
from softreg_core.losses.gaussian import gaussian
from softreg_core.losses.parts import DataMeta
from softreg_core.losses.sample_program import sample_program
from softreg_core.losses.soft import CrossEntropyLoss, Divergence, SquaredErrorLoss
from softreg_core.spec.loss import (
    ArticleSpec,
    CauchySpec,
    GaussianSpec,
    InflationSpec,
    LossSpec,
    SampleProgramSpec,
)

__all__ = ["BASES", "DIVERGENCES", "build_loss"]


def build_loss(loss_spec: LossSpec, data_meta: DataMeta | None = None) -> nn.Module:
    """The loss that a spec names.

    The module is called as `loss(prediction, target, *, step=0, weight=None, variance=None, second=None,
    teacher=None)` and returns `LossParts(total, base, divergence)`: one value per example, not reduced. The last
    three are refused by every loss that would ignore them, which today are all. Integer targets are class codes and
    become one-hot rows inside, unless `data_meta` says that the task is regression.

    Args:
        loss_spec: the spec.
        data_meta: what is known of the data; checked on every call when given.

    Raises:
        SpecError: the loss does not fit the task of `data_meta`.
    """
    return BASES[loss_spec.base.kind](loss_spec, data_meta)


def _squared_error(loss_spec: LossSpec, data_meta: DataMeta | None) -> nn.Module:
    spec = loss_spec.divergence
    divergence = None if spec is None else DIVERGENCES[spec.kind](spec)
    return SquaredErrorLoss(loss_spec.alpha, divergence, data_meta)


def _cross_entropy(_: LossSpec, data_meta: DataMeta | None) -> nn.Module:
    if data_meta is not None and data_meta.task != "classification":
        message = "cross_entropy compares classes; the task is regression"
        raise SpecError(message, [Problem("/loss/base/kind", message)])
    return CrossEntropyLoss()


def _article(spec: ArticleSpec) -> Divergence:
    return lambda pair: article(pair.squared, spec.variance.value)


def _inflation(spec: InflationSpec) -> Divergence:
    return lambda pair: inflation(pair.squared, spec.variance.value)


def _sample_program(_: SampleProgramSpec) -> Divergence:
    return sample_program


def _gaussian(spec: GaussianSpec) -> Divergence:
    return lambda pair: gaussian(pair.squared, spec.variance.value)


def _cauchy(spec: CauchySpec) -> Divergence:
    return lambda pair: cauchy(pair.squared, pair.prediction.shape[1], spec.variance.value)


BASES: dict[str, Callable[[LossSpec, DataMeta | None], nn.Module]] = {
    "half_squared_error": _squared_error,
    "cross_entropy": _cross_entropy,
}
DIVERGENCES: dict[str, Callable[[Any], Divergence]] = {
    "article": _article,
    "inflation": _inflation,
    "sample_program": _sample_program,
    "gaussian": _gaussian,
    "cauchy": _cauchy,
}
