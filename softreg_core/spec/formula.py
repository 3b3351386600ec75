"""The loss as a line of text, with its numbers filled in."""

from __future__ import annotations

from softreg_core.spec.alpha import AlphaSpec, largest_alpha
from softreg_core.spec.base import Head
from softreg_core.spec.bases import BarronSpec, BaseSpec, GaussianNllSpec
from softreg_core.spec.divergences import (
    CategoricalSpec,
    DivergenceSpec,
    FixedVarianceSpec,
    GaussianSpec,
    TeacherSpec,
    TwinSpec,
    UniformSpec,
    VarianceSpec,
)
from softreg_core.spec.fit import has_logits, link_is_log
from softreg_core.spec.loss import LossSpec, variance_of

__all__ = ["describe"]


def describe(loss: LossSpec) -> str:
    """The per-example loss; `d2` is |y - yhat|^2 summed over the outputs.

    >>> describe(LossSpec())
    '1/2 |y - yhat|^2 + 0.01 * 1/2 [ln(1/(1 + d2)) + d2/(1 + d2)], d2 = |y - yhat|^2'
    """
    base, where = _base(loss.base), _of_base(loss.base)
    if loss.divergence is None or largest_alpha(loss.alpha) == 0.0:
        return ", ".join([base, *where])
    alpha = f"{loss.alpha:g}" if isinstance(loss.alpha, int | float) else "alpha(t)"
    if loss.combine == "convex":
        base = f"(1 - {alpha}) * [{base}]"
    if not isinstance(loss.alpha, int | float):
        where.append(_schedule(loss.alpha))
    variance = variance_of(loss.divergence)
    if loss.alpha_units == "sigma2" and variance is not None:
        alpha = f"{alpha} * {_sigma2(variance)}"
    return ", ".join([f"{base} + {alpha} * {_divergence(loss.base, loss.divergence)}", *where])


def _of_base(base: BaseSpec) -> list[str]:
    """What the names in a base's text are."""
    if base.kind == "poisson":
        return ["exp(eta) = the predicted count, eta the net's output"]
    if base.kind == "gaussian_nll":
        outputs = ["C = number of outputs"] if base.head == "shared" else []
        return [*outputs, *_head(base.head, base.floor, base.beta)]
    return []


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
    if isinstance(divergence, TeacherSpec | TwinSpec):
        return _beside(base, divergence)
    if isinstance(divergence, CategoricalSpec | UniformSpec):
        return _of_classes(divergence, is_label=base.kind == "binary_cross_entropy")
    output = "p" if base.kind == "brier" else "yhat"
    if divergence.kind == "sample_program":
        return f"1/2 [ln s + d2/s - 1], {_squared(base)}, s = mean of {output}^2 over the batch"
    if isinstance(divergence, GaussianSpec) and divergence.prediction_variance != "same":
        text = _of_two(divergence)
    else:
        s = _sigma2(divergence.variance)
        s = f"(C * {s})" if divergence.scale == "per_output" else s
        text = {
            "article": f"1/2 [ln({s}/({s} + d2)) + d2/({s} + d2)]",
            "inflation": f"1/2 [ln(1 + d2/{s}) - d2/({s} + d2)]",
            "gaussian": f"d2/(2 * {s})",
            "cauchy": f"C/2 ln(1 + d2/(C * {s}))",
            "geman_mcclure": f"1/2 d2/({s} + d2)",
            "welsch": f"1/2 [1 - exp(-d2/{s})]",
        }[divergence.kind]
    where = [text, _squared(base), *(["C = number of outputs"] if "C" in text else [])]
    return ", ".join([*where, *_source(divergence.variance, output), *_prediction_source(divergence)])


def _sigma2(variance: VarianceSpec) -> str:
    return f"{variance.value:g}" if isinstance(variance, FixedVarianceSpec) else "s"


def _source(variance: VarianceSpec, output: str) -> list[str]:
    """Where an `s` in the text comes from."""
    match variance.kind:
        case "fixed":
            return []
        case "target":
            text = "variance of the training targets"
        case "residual":
            text = f"moving mean of d2 before the batch (momentum {variance.momentum:g})"
        case "output":
            what = f"variance of {output}" if variance.statistic == "centred" else f"mean of {output}^2"
            text = f"{what} over the batch" + (", taken as a number" if variance.gradient == "detached" else "")
    return [f"s = {text}, at least {variance.floor:g}"]


def _of_two(divergence: GaussianSpec) -> str:
    """The Gaussian divergence with a variance of the prediction."""
    s = _sigma2(divergence.variance)
    weight = "" if divergence.beta == 0.0 else f"[sp2^{divergence.beta:g}] * "
    if divergence.direction == "prediction_to_target":
        if divergence.head == "per_output":
            return f"1/2 sum_c [ln({s}/sp2_c) + (sp2_c + (y_c - yhat_c)^2)/{s} - 1]"
        return f"1/2 [C ln({s}/sp2) + (C sp2 + d2)/{s} - C]"
    if divergence.head == "per_output":
        weight = weight.replace("sp2", "sp2_c")
        return f"1/2 sum_c {weight}[ln(sp2_c/{s}) + ({s} + (y_c - yhat_c)^2)/sp2_c - 1]"
    return f"{weight}1/2 [C ln(sp2/{s}) + (C * {s} + d2)/sp2 - C]"


def _prediction_source(divergence: DivergenceSpec) -> list[str]:
    if not isinstance(divergence, GaussianSpec) or divergence.prediction_variance == "same":
        return []
    if divergence.prediction_variance == "learned":
        return [f"sp2 = {divergence.prediction_floor:g} + exp(w), w learned"]
    return _head(divergence.head, divergence.prediction_floor, divergence.beta)


def _head(head: Head, floor: float, beta: float) -> list[str]:
    one = "" if head == "shared" else "_c"
    found = [f"sp2{one} = {floor:g} + exp(h{one}), h the net's second head"]
    return found if beta == 0.0 else [*found, "[ ] taken as a number"]


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
        case "poisson":
            return "sum_c [exp(eta_c) - y_c eta_c]"
        case "gaussian_nll":
            return _gaussian_nll(base)
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


def _gaussian_nll(base: GaussianNllSpec) -> str:
    weight = "" if base.beta == 0.0 else f"[sp2^{base.beta:g}] * "
    if base.head == "per_output":
        return f"1/2 sum_c {weight.replace('sp2', 'sp2_c')}[ln sp2_c + (y_c - yhat_c)^2/sp2_c]"
    return f"{weight}1/2 [C ln sp2 + |y - yhat|^2/sp2]"


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


def _beside(base: BaseSpec, divergence: TeacherSpec | TwinSpec) -> str:
    """Against a teacher's outputs, or a second pass; in training only."""
    each = "sum over the labels of " if base.kind == "binary_cross_entropy" else ""
    softmax = "sigmoid" if each else "softmax"
    s = f"{divergence.variance.value:g}"
    output, what = ("eta", "output") if link_is_log(base) else ("yhat", "prediction")
    if isinstance(divergence, TwinSpec):
        passes = "1, 2: two passes with other dropout masks, the base is the mean of theirs"
        if not has_logits(base):
            return f"|{output}_1 - {output}_2|^2/(4 * {s}), {passes}"
        return f"{each}1/2 [KL(p_1 to p_2) + KL(p_2 to p_1)], p = {softmax}(z), {passes}"
    source = divergence.source
    who = f"moving average of the weights, decay {source.decay:g}" if source.kind == "ema" else source.model or "given"
    if not has_logits(base):
        return f"|t - {output}|^2/(2 * {s}), t = the teacher's {what} (teacher: {who})"
    t = divergence.temperature
    square, logits = ("", "z") if t == 1.0 else (f"{t:g}^2 ", f"z/{t:g}")
    return f"{each}{square}KL(t to p), p = {softmax}({logits}), t = that of the teacher (teacher: {who})"


def _of_classes(divergence: CategoricalSpec | UniformSpec, *, is_label: bool = False) -> str:
    """Of a class among K, or of each label against its opposite."""
    function, k, y = ("sigmoid", "2", "y") if is_label else ("softmax", "K", "onehot(y)")
    each, where = ("sum over the labels of ", "") if is_label else ("", ", K = number of classes")
    if isinstance(divergence, UniformSpec):
        if divergence.threshold is None:
            return f"{each}[ln {k} - H(p)], p = {function}(z){where}"
        return f"{each}max(0, {divergence.threshold:g} - H(p)), p = {function}(z)"
    text = {
        "prediction_to_target": "KL(p to q)",
        "target_to_prediction": "KL(q to p)",
        "jeffreys": "[KL(p to q) + KL(q to p)]",
        "jensen_shannon": "1/2 [KL(p to (p + q)/2) + KL(q to (p + q)/2)]",
    }[divergence.direction]
    if divergence.normalize:
        text += f" / ln(({1.0 - divergence.epsilon:g} + {divergence.epsilon:g}/{k})/({divergence.epsilon:g}/{k}))"
    logits = "z" if divergence.temperature == 1.0 else f"z/{divergence.temperature:g}"
    q = f"{1.0 - divergence.epsilon:g} {y} + {divergence.epsilon:g}/{k}"
    return f"{each}{text}, p = {function}({logits}), q = {q}{where}"
