"""From a loss spec to a module, by `kind`; a test holds that the spec and these tables name the same kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from softreg_core.errors import Problem, SpecError
from softreg_core.losses.article import article, inflation
from softreg_core.losses.bases import absolute_error, barron, huber, poisson, quantile, student_t
from softreg_core.losses.beside import BetweenPasses, Form, FromTeacher, OfOther, form_of
from softreg_core.losses.categorical import categorical, uniform
from softreg_core.losses.cauchy import cauchy
from softreg_core.losses.class_bases import brier, focal, generalized_cross_entropy, symmetric_cross_entropy
from softreg_core.losses.divergence import Formula, GaussianDivergence, OfProbabilities, RatioDivergence
from softreg_core.losses.gaussian import gaussian, gaussian_nll
from softreg_core.losses.labels import Labels, binary_cross_entropy
from softreg_core.losses.logits import Classes
from softreg_core.losses.parts import DataMeta
from softreg_core.losses.redescending import geman_mcclure, welsch
from softreg_core.losses.residual import Residual
from softreg_core.losses.sample_program import SampleProgram
from softreg_core.losses.second_head import SecondHead
from softreg_core.losses.soft import ClassDivergence, ClassLoss, Divergence, LabelLoss, Loss, ResidualLoss
from softreg_core.losses.variance import build_variance
from softreg_core.losses.weighing import Weighing
from softreg_core.spec.bases import GaussianNllSpec
from softreg_core.spec.divergences import CategoricalSpec, GaussianSpec
from softreg_core.spec.fit import link_is_log, misfit_of_task
from softreg_core.spec.heads import head_of
from softreg_core.spec.loss import LossSpec

__all__ = ["BASES", "DIVERGENCES", "build_loss"]


def build_loss(loss_spec: LossSpec, data_meta: DataMeta | None = None) -> Loss[Any]:
    """The loss that a spec names.

    The module is called as `loss(prediction, target, *, step=0, weight=None, variance=None, second=None,
    teacher=None)` and returns `LossParts(total, base, divergence)`: one value per example, not reduced. The last
    three are refused by every loss that would ignore them. Where variances are predicted, the network puts out
    `extra_outputs` columns more, and `split` gives prediction and variance. Integer targets are class codes; for
    a base of real values they become one-hot rows inside, unless `data_meta` says that the task is regression.

    Args:
        loss_spec: the spec.
        data_meta: what is known of the data; checked on every call when given.

    Raises:
        SpecError: the loss does not fit the task of `data_meta`.
    """
    misfit = None if data_meta is None else misfit_of_task(loss_spec.base, data_meta.task)
    if misfit is not None:
        raise SpecError(misfit, [Problem("/loss/base/kind", misfit)])
    divergence = loss_spec.divergence
    if divergence is None or divergence.kind not in BESIDE:
        return BASES[loss_spec.base.kind](loss_spec, data_meta)
    loss = BASES[loss_spec.base.kind](loss_spec.model_copy(update={"divergence": None}), data_meta)
    return loss.compared(BESIDE[divergence.kind](form_of(loss_spec.base), divergence))


def _of_residuals(kind: str) -> Callable[[LossSpec, DataMeta | None], Loss[Any]]:
    def build(loss_spec: LossSpec, data_meta: DataMeta | None) -> Loss[Any]:
        base = RESIDUAL_BASES[kind](loss_spec.base)
        divergence = _divergence(loss_spec, data_meta)
        is_log_link, head = link_is_log(loss_spec.base), _head(loss_spec)
        weighing = _weighing(loss_spec, data_meta)
        return ResidualLoss(base, divergence, weighing, data_meta, head, is_log_link=is_log_link)

    return build


def _of_classes(kind: str) -> Callable[[LossSpec, DataMeta | None], Loss[Any]]:
    def build(loss_spec: LossSpec, data_meta: DataMeta | None) -> Loss[Any]:
        base = CLASS_BASES[kind](loss_spec.base)
        divergence = _class_divergence(loss_spec, data_meta)
        return ClassLoss(base, divergence, _weighing(loss_spec, data_meta), data_meta, _head(loss_spec))

    return build


def _of_labels(loss_spec: LossSpec, data_meta: DataMeta | None) -> Loss[Any]:
    divergence = _label_divergence(loss_spec)
    return LabelLoss(binary_cross_entropy, divergence, _weighing(loss_spec, data_meta), data_meta)


def _weighing(loss_spec: LossSpec, data_meta: DataMeta | None) -> Weighing:
    total_steps = None if data_meta is None else data_meta.total_steps
    return Weighing(loss_spec.alpha, loss_spec.combine == "convex", total_steps, loss_spec.alpha_units == "sigma2")


def _divergence(loss_spec: LossSpec, data_meta: DataMeta | None) -> Divergence | None:
    spec = loss_spec.divergence
    return None if spec is None else RESIDUAL_DIVERGENCES[spec.kind](spec, data_meta)


def _class_divergence(loss_spec: LossSpec, data_meta: DataMeta | None) -> ClassDivergence | None:
    spec = loss_spec.divergence
    if spec is None or spec.kind in CLASS_DIVERGENCES:
        return None if spec is None else CLASS_DIVERGENCES[spec.kind](spec)
    return OfProbabilities(RESIDUAL_DIVERGENCES[spec.kind](spec, data_meta))


def _head(loss_spec: LossSpec) -> SecondHead | None:
    kind, base, divergence = head_of(loss_spec), loss_spec.base, loss_spec.divergence
    if kind is None:
        return None
    if isinstance(base, GaussianNllSpec):
        return SecondHead(kind, base.floor, has_noise=False)
    assert isinstance(divergence, GaussianSpec)  # noqa: S101  for mypy; head_of looked
    return SecondHead(kind, divergence.prediction_floor, has_noise=divergence.direction == "target_to_prediction")


def _ratio(formula: Formula) -> Callable[[Any, DataMeta | None], Divergence]:
    def build(spec: Any, data_meta: DataMeta | None) -> Divergence:
        variance = build_variance(spec.variance, data_meta)
        return RatioDivergence(formula, variance, is_per_output=spec.scale == "per_output")

    return build


def _gaussian(spec: GaussianSpec, data_meta: DataMeta | None) -> Divergence:
    if spec.prediction_variance == "same":
        return _ratio(lambda squared_B, _, variance: gaussian(squared_B, variance))(spec, data_meta)
    return GaussianDivergence(spec, build_variance(spec.variance, data_meta), data_meta)


def _gaussian_nll(spec: GaussianNllSpec) -> Callable[[Residual], Tensor]:
    def base(pair: Residual) -> Tensor:
        assert pair.variance is not None  # noqa: S101  for mypy; the loss has looked
        return gaussian_nll(pair, pair.variance, beta=spec.beta)

    return base


def _label_divergence(loss_spec: LossSpec) -> Callable[[Labels], Tensor] | None:
    """The Bernoulli form: that of two classes for each label, summed over the labels."""
    spec = loss_spec.divergence
    if spec is None:
        return None
    of_classes = CLASS_DIVERGENCES[spec.kind](spec)
    return lambda pair: pair.summed(of_classes(pair.each()))


def _categorical(spec: CategoricalSpec) -> ClassDivergence:
    return lambda pair: categorical(
        pair, spec.direction, epsilon=spec.epsilon, temperature=spec.temperature, normalize=spec.normalize
    )


def _cross_entropy(pair: Classes) -> Tensor:
    return -pair.of_target()


# Spec to function; the spec is any of the members of its union, and the table pairs each with its own.
RESIDUAL_BASES: dict[str, Callable[[Any], Callable[[Residual], Tensor]]] = {
    "half_squared_error": lambda _: lambda pair: 0.5 * pair.squared,
    "huber": lambda spec: lambda pair: huber(pair, spec.delta),
    "absolute_error": lambda _: absolute_error,
    "quantile": lambda spec: lambda pair: quantile(pair, spec.tau),
    "student_t": lambda spec: lambda pair: student_t(pair, spec.nu),
    "barron": lambda spec: lambda pair: barron(pair, spec.shape),
    "poisson": lambda _: poisson,
    "gaussian_nll": _gaussian_nll,
}
CLASS_BASES: dict[str, Callable[[Any], Callable[[Classes], Tensor]]] = {
    "cross_entropy": lambda _: _cross_entropy,
    "brier": lambda _: brier,
    "generalized_cross_entropy": lambda spec: lambda pair: generalized_cross_entropy(pair, spec.q),
    "symmetric_cross_entropy": lambda spec: (
        lambda pair: symmetric_cross_entropy(pair, spec.forward_weight, spec.reverse_weight, spec.log_zero)
    ),
    "focal": lambda spec: lambda pair: focal(pair, spec.gamma),
}
BASES: dict[str, Callable[[LossSpec, DataMeta | None], Loss[Any]]] = {
    **{kind: _of_residuals(kind) for kind in RESIDUAL_BASES},
    **{kind: _of_classes(kind) for kind in CLASS_BASES},
    "binary_cross_entropy": _of_labels,
}
RESIDUAL_DIVERGENCES: dict[str, Callable[[Any, DataMeta | None], Divergence]] = {
    "article": _ratio(lambda squared_B, _, variance: article(squared_B, variance)),
    "inflation": _ratio(lambda squared_B, _, variance: inflation(squared_B, variance)),
    "sample_program": lambda _spec, _meta: SampleProgram(),
    "gaussian": _gaussian,
    "cauchy": _ratio(cauchy),
    "geman_mcclure": _ratio(lambda squared_B, _, variance: geman_mcclure(squared_B, variance)),
    "welsch": _ratio(lambda squared_B, _, variance: welsch(squared_B, variance)),
}
CLASS_DIVERGENCES: dict[str, Callable[[Any], ClassDivergence]] = {
    "categorical": _categorical,
    "uniform": lambda spec: lambda pair: uniform(pair, spec.threshold),
}
BESIDE: dict[str, Callable[[Form, Any], OfOther]] = {"teacher": FromTeacher, "twin": BetweenPasses}
DIVERGENCES = RESIDUAL_DIVERGENCES.keys() | CLASS_DIVERGENCES.keys() | BESIDE.keys()
