"""The loss as a line of text, with its numbers filled in."""

from __future__ import annotations

from softreg_core.spec.alpha import AlphaSpec, largest_alpha
from softreg_core.spec.bases import BarronSpec, BaseSpec
from softreg_core.spec.divergences import CategoricalSpec, DivergenceSpec, UniformSpec
from softreg_core.spec.loss import LossSpec

__all__ = ["describe"]


def describe(loss: LossSpec) -> str:
    """The per-example loss; `d2` is |y - yhat|^2 summed over the outputs.

    >>> describe(LossSpec())
    '1/2 |y - yhat|^2 + 0.01 * 1/2 [ln(1/(1 + d2)) + d2/(1 + d2)], d2 = |y - yhat|^2'
    """
    base = _base(loss.base)
    if loss.divergence is None or largest_alpha(loss.alpha) == 0.0:
        return base
    alpha = f"{loss.alpha:g}" if isinstance(loss.alpha, int | float) else "alpha(t)"
    if loss.combine == "convex":
        base = f"(1 - {alpha}) * [{base}]"
    schedule = "" if isinstance(loss.alpha, int | float) else f", {_schedule(loss.alpha)}"
    return f"{base} + {alpha} * {_divergence(loss.base, loss.divergence)}{schedule}"


def _schedule(alpha: AlphaSpec) -> str:
    match alpha.kind:
        case "constant":
            text = f"{alpha.value:g}"
        case "linear":
            text = f"{alpha.value:g} min(1, t/{alpha.warm_up:g})"
        case "cosine":
            text = f"{alpha.start:g} + ({alpha.end:g} - {alpha.start:g}) (1 - cos(pi t))/2"
        case "cyclical":
            text = f"{alpha.value:g} min(1, frac({alpha.cycles} t)/{alpha.ratio:g})"
    return f"alpha(t) = {text}, t = share of the steps done"


def _divergence(base: BaseSpec, divergence: DivergenceSpec) -> str:
    if isinstance(divergence, CategoricalSpec | UniformSpec):
        return _of_classes(divergence)
    if divergence.kind == "sample_program":
        mean = f"mean of {'p' if base.kind == 'brier' else 'yhat'}^2 over the batch"
        return f"1/2 [ln s + d2/s - 1], {_squared(base)}, s = {mean}"
    s = f"{divergence.variance.value:g}"
    text = {
        "article": f"1/2 [ln({s}/({s} + d2)) + d2/({s} + d2)]",
        "inflation": f"1/2 [ln(1 + d2/{s}) - d2/({s} + d2)]",
        "gaussian": f"d2/(2 * {s})",
        "cauchy": f"C/2 ln(1 + d2/(C * {s}))",
        "geman_mcclure": f"1/2 d2/({s} + d2)",
        "welsch": f"1/2 [1 - exp(-d2/{s})]",
    }[divergence.kind]
    where = ", C = number of outputs" if divergence.kind == "cauchy" else ""
    return f"{text}, {_squared(base)}{where}"


def _base(base: BaseSpec) -> str:
    match base.kind:
        case "half_squared_error":
            return "1/2 |y - yhat|^2"
        case "huber":
            return f"sum_c huber(yhat_c - y_c; delta = {base.delta:g})"
        case "absolute_error":
            return "sum_c |yhat_c - y_c|"
        case "quantile":
            return f"sum_c max({base.tau:g} (y_c - yhat_c), {1.0 - base.tau:g} (yhat_c - y_c))"
        case "student_t":
            return f"{(base.nu + 1.0) / 2.0:g} sum_c ln(1 + (yhat_c - y_c)^2/{base.nu:g})"
        case "barron":
            return _barron(base)
        case "cross_entropy":
            return "-ln softmax(z)_y"
        case "binary_cross_entropy":
            return "-sum_c [y_c ln p_c + (1 - y_c) ln(1 - p_c)], p = sigmoid(z)"
        case "brier":
            return "1/2 |onehot(y) - softmax(z)|^2"
        case "generalized_cross_entropy":
            return f"(1 - softmax(z)_y^{base.q:g})/{base.q:g}"
        case "symmetric_cross_entropy":
            reverse = -base.reverse_weight * base.log_zero
            return f"{base.forward_weight:g} * (-ln softmax(z)_y) + {reverse:g} * (1 - softmax(z)_y)"
        case "focal":
            return f"-(1 - softmax(z)_y)^{base.gamma:g} ln softmax(z)_y"


def _barron(base: BarronSpec) -> str:
    if base.shape == 2.0:
        return "1/2 |y - yhat|^2"
    if base.shape == 0.0:
        return "sum_c ln(1 + (yhat_c - y_c)^2/2)"
    distance = abs(base.shape - 2.0)
    power = f"((yhat_c - y_c)^2/{distance:g} + 1)^({base.shape / 2.0:g})"
    return f"{distance / base.shape:g} sum_c [{power} - 1]"


def _squared(base: BaseSpec) -> str:
    """What d2 is: with brier, that of the probabilities."""
    return "p = softmax(z), d2 = |onehot(y) - p|^2" if base.kind == "brier" else "d2 = |y - yhat|^2"


def _of_classes(divergence: CategoricalSpec | UniformSpec) -> str:
    if isinstance(divergence, UniformSpec):
        if divergence.threshold is None:
            return "[ln K - H(p)], p = softmax(z), K = number of classes"
        return f"max(0, {divergence.threshold:g} - H(p)), p = softmax(z)"
    text = {
        "prediction_to_target": "KL(p to q)",
        "target_to_prediction": "KL(q to p)",
        "jeffreys": "[KL(p to q) + KL(q to p)]",
        "jensen_shannon": "1/2 [KL(p to (p + q)/2) + KL(q to (p + q)/2)]",
    }[divergence.direction]
    if divergence.normalize:
        text += f" / ln(({1.0 - divergence.epsilon:g} + {divergence.epsilon:g}/K)/({divergence.epsilon:g}/K))"
    logits = "z" if divergence.temperature == 1.0 else f"z/{divergence.temperature:g}"
    q = f"{1.0 - divergence.epsilon:g} onehot(y) + {divergence.epsilon:g}/K"
    return f"{text}, p = softmax({logits}), q = {q}, K = number of classes"
