"""The loss as a line of text, with its numbers filled in."""

from __future__ import annotations

from softreg_core.spec.loss import LossSpec

__all__ = ["describe"]

_BASES = {
    "half_squared_error": "1/2 |y - yhat|^2",
    "cross_entropy": "-ln softmax(z)_y",
}


def describe(loss: LossSpec) -> str:
    """The per-example loss; `d2` is |y - yhat|^2 summed over the outputs.

    >>> describe(LossSpec())
    '1/2 |y - yhat|^2 + 0.01 * 1/2 [ln(1/(1 + d2)) + d2/(1 + d2)], d2 = |y - yhat|^2'
    """
    base = _BASES[loss.base.kind]
    if loss.divergence is None or loss.alpha == 0.0:
        return base
    divergence = loss.divergence
    if divergence.kind == "sample_program":
        return f"{base} + {loss.alpha:g} * 1/2 [ln s + d2/s - 1], d2 = |y - yhat|^2, s = mean of yhat^2 over the batch"
    s = f"{divergence.variance.value:g}"
    text = {
        "article": f"1/2 [ln({s}/({s} + d2)) + d2/({s} + d2)]",
        "inflation": f"1/2 [ln(1 + d2/{s}) - d2/({s} + d2)]",
        "gaussian": f"d2/(2 * {s})",
        "cauchy": f"C/2 ln(1 + d2/(C * {s}))",
    }[divergence.kind]
    where = ", C = number of outputs" if divergence.kind == "cauchy" else ""
    return f"{base} + {loss.alpha:g} * {text}, d2 = |y - yhat|^2{where}"
