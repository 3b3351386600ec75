"""Warnings about a spec that is legal and may still surprise; the one place for them, torch-free."""

from __future__ import annotations

import math
from dataclasses import dataclass

from softreg_core.spec.alpha import largest_alpha
from softreg_core.spec.bases import (
    AbsoluteErrorSpec,
    BinaryCrossEntropySpec,
    CrossEntropySpec,
    GaussianNllSpec,
    HuberSpec,
)
from softreg_core.spec.divergences import (
    ArticleSpec,
    CategoricalSpec,
    FixedVarianceSpec,
    GaussianSpec,
    OutputVarianceSpec,
    SampleProgramSpec,
    TargetVarianceSpec,
    TeacherSpec,
    TwinSpec,
)
from softreg_core.spec.fit import couples_a_batch
from softreg_core.spec.loss import LossSpec, variance_of
from softreg_core.spec.train import TrainSpec

__all__ = ["CONVEX_UP_TO", "MONOTONE_UP_TO", "Advice", "advise", "advise_at", "outward_pull"]

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


def advise(spec: TrainSpec, *, outputs: int | None = None, target_variance: float | None = None) -> list[Advice]:
    """Every warning that follows from a spec.

    Args:
        spec: resolved or not.
        outputs: width of the prediction, where it is known; some warnings need it.
        target_variance: of the training targets, averaged over the outputs, where it is known.
    """
    setting = _Setting(spec.loss, outputs, _known_sigma2(spec.loss, target_variance), largest_alpha(spec.loss.alpha))
    return [*_about_loss(setting), *_about_batches(spec)]


def advise_at(loss: LossSpec, outputs: int, sigma2: float, alpha: float) -> list[Advice]:
    """Warnings that follow from where a run stands: for a loss whose sigma2 is not in its spec.

    Args:
        loss: the spec.
        outputs: width of the prediction.
        sigma2: now.
        alpha: now.
    """
    if alpha == 0.0 or not isinstance(loss.divergence, ArticleSpec):
        return []
    return _about_article(_Setting(loss, outputs, sigma2, alpha))


@dataclass(frozen=True, slots=True)
class _Setting:
    """A loss with what is known of its numbers."""

    loss: LossSpec
    outputs: int | None
    sigma2: float | None
    alpha: float

    @property
    def kept(self) -> float:
        """Of the base: a convex sum is `kept` times the base plus alpha / kept times the divergence."""
        return 1.0 - self.alpha if self.loss.combine == "convex" else 1.0

    @property
    def weight(self) -> float | None:
        """Of the divergence against the base."""
        if self.loss.alpha_units == "sigma2":
            return None if self.sigma2 is None else self.alpha * self.sigma2
        return self.alpha / self.kept

    @property
    def width(self) -> int | None:
        """What sigma2 is multiplied by where d2 is measured."""
        return self.outputs if getattr(self.loss.divergence, "scale", "per_example") == "per_output" else 1

    @property
    def ratio(self) -> float | None:
        """Alpha / sigma2, by which the article's bounds are expressed."""
        if self.width is None:
            return None
        if self.loss.alpha_units == "sigma2":
            return self.alpha / self.width  # sigma2 itself cancels
        return None if self.sigma2 is None else self.alpha / self.kept / (self.width * self.sigma2)

    @property
    def name(self) -> str:
        """Of `ratio`."""
        if self.loss.alpha_units == "sigma2":
            return "alpha" if self.width == 1 else "alpha/C"
        sigma2 = "sigma2" if self.width == 1 else "(C sigma2)"
        if self.kept == 1.0:
            return f"alpha/{sigma2}"
        return f"alpha/((1 - alpha) {'sigma2' if self.width == 1 else 'C sigma2'})"


def _known_sigma2(loss: LossSpec, target_variance: float | None) -> float | None:
    variance = variance_of(loss.divergence)
    if isinstance(variance, FixedVarianceSpec):
        return variance.value
    if isinstance(variance, TargetVarianceSpec) and target_variance is not None:
        return max(target_variance, variance.floor)
    return None


def _about_loss(setting: _Setting) -> list[Advice]:
    loss, divergence = setting.loss, setting.loss.divergence
    if setting.alpha == 0.0:
        return []
    if isinstance(divergence, ArticleSpec):
        return _about_article(setting)
    if isinstance(divergence, GaussianSpec):
        return _about_gaussian(setting, divergence)
    if isinstance(divergence, CategoricalSpec) and isinstance(loss.base, CrossEntropySpec | BinaryCrossEntropySpec):
        return _about_smoothing(loss, divergence, setting.kept, setting.alpha)
    if isinstance(divergence, TwinSpec | TeacherSpec):
        return [_about_cost(divergence)]
    return []


def _about_gaussian(setting: _Setting, divergence: GaussianSpec) -> list[Advice]:
    loss = setting.loss
    if divergence.prediction_variance != "same":
        if divergence.direction == "target_to_prediction":
            return []
        message = (
            f"towards the target the {divergence.prediction_variance} variance is drawn to sigma2 whatever the "
            "residual is: it tells nothing of it; choose direction target_to_prediction"
        )
        return [Advice("gaussian_uninformative", "/loss/divergence/direction", message)]
    is_number = not isinstance(divergence.variance, OutputVarianceSpec) or divergence.variance.gradient == "detached"
    if loss.base.kind not in _SQUARED or not is_number:
        return []
    factor = "a factor that follows sigma2"
    if setting.ratio is not None:
        factor = f"{setting.kept * (1.0 + setting.ratio):g}{_when(loss)}"
    message = (
        f"with the same variance this is the {_SQUARED[loss.base.kind]} times {factor} and nothing else: a control"
    )
    return [Advice("gaussian_rescales", "/loss/divergence", message)]


def _about_cost(divergence: TwinSpec | TeacherSpec) -> Advice:
    if isinstance(divergence, TwinSpec):
        message = "twin goes through the network twice at each step: training takes up to twice as long as without it"
        return Advice("twin_costs_two_passes", "/loss/divergence", message)
    message = "at each step the teacher's outputs are computed too, a pass forward without a pass back"
    return Advice("teacher_costs_a_pass", "/loss/divergence", message)


def _when(loss: LossSpec) -> str:
    return "" if isinstance(loss.alpha, int | float) else f" (when alpha is {largest_alpha(loss.alpha):g})"


def _about_smoothing(loss: LossSpec, divergence: CategoricalSpec, kept: float, alpha: float) -> list[Advice]:
    if divergence.direction != "target_to_prediction" or divergence.temperature != 1.0:
        return []
    factor = kept + alpha
    smoothing = alpha * divergence.epsilon / factor
    is_label = isinstance(loss.base, BinaryCrossEntropySpec)
    name = "binary cross-entropy" if is_label else "cross-entropy"
    if smoothing == 0.0:
        message = f"with epsilon 0 this is the {name} times {factor:g}{_when(loss)} and nothing else: a control"
        return [Advice("cross_entropy_rescales", "/loss/divergence", message)]
    message = (
        f"this is label smoothing: {factor:g} times the {name} of labels smoothed by {smoothing:g}"
        f"{' towards 1/2' if is_label else ''}"
        f"{_when(loss)}, up to a constant"
    )
    return [Advice("label_smoothing", "/loss/divergence", message)]


def _about_article(setting: _Setting) -> list[Advice]:
    base, ratio, name = setting.loss.base, setting.ratio, setting.name
    if isinstance(base, HuberSpec | AbsoluteErrorSpec):
        return _about_linear(base, setting)
    if isinstance(base, GaussianNllSpec):
        return _about_likelihood(setting)
    if ratio is None:
        return []
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


def _about_linear(base: HuberSpec | AbsoluteErrorSpec, setting: _Setting) -> list[Advice]:
    if setting.weight is None or setting.sigma2 is None or setting.width is None:
        return []
    delta = base.delta if isinstance(base, HuberSpec) else None
    outweighed = outward_pull(setting.weight, setting.width * setting.sigma2, delta)
    if outweighed <= 1.0:
        return []
    message = (
        f"near sigma the divergence pushes residuals outward {outweighed:.3g} times as hard as {base.kind} draws "
        "them inward; training may stall there"
    )
    return [Advice("article_pushes_outward", "/loss/alpha", message)]


def _about_likelihood(setting: _Setting) -> list[Advice]:
    """With its variance minimised out the base is C/2 ln d2, against which stands weight/2 ln d2.

    With a variance for each output, that of one alone: a single output that goes far costs 1/2 ln d2.
    """
    is_shared = isinstance(setting.loss.base, GaussianNllSpec) and setting.loss.base.head == "shared"
    outputs = (setting.outputs or 1) if is_shared else 1
    if setting.weight is None or setting.weight <= outputs:
        return []
    what = "the number of outputs" if is_shared else "and each output has a variance of its own"
    message = (
        f"alpha = {setting.weight:g} is above {outputs}, {what}: where the predicted variance follows "
        "the residual, the article's logarithm outweighs the likelihood's, and both may grow without bound"
    )
    return [Advice("article_unbounded", "/loss/alpha", message)]


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
    divergence, batch_size = spec.loss.divergence, spec.training.batch_size
    if batch_size == "full" or batch_size >= SMALL_BATCH or not couples_a_batch(divergence):
        return []
    if largest_alpha(spec.loss.alpha) == 0.0:
        return []
    kind, what = "sample_program", "sample_program estimates a variance"
    if not isinstance(divergence, SampleProgramSpec):
        kind, what = "output_variance", "variance output is estimated"
    message = f"{what} from each batch; a batch of {batch_size} is small, use {SMALL_BATCH} rows or more"
    return [Advice(f"{kind}_small_batch", "/training/batch_size", message)]
