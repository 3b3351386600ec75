"""The bases that compare real values, summed over the outputs."""

# B examples, C outputs

from __future__ import annotations

import math

import torch
from torch import Tensor

from softreg_core.losses.ratio import log1p_ratio
from softreg_core.losses.residual import Residual, residual

__all__ = ["absolute_error", "barron", "half_squared_error", "huber", "poisson", "quantile", "student_t"]

# |shape| below which barron's formula, shape in the denominator, is its limit for 0 in every digit.
_SHAPE_ZERO = 1e-100


def half_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Half the squared error, summed over the outputs.

    d2 / 2, d2 = sum_c (y_c - yhat_c)^2

    Args:
        prediction: float (B, C), or (B,) read as (B, 1).
        target: float of the same shape, in the same units; or integer class codes (B,), which become one-hot
            rows: then the raw outputs are compared with 0 and 1.

    Returns:
        float (B,), not reduced.

    Source:
        The article, section 3.1.
    """
    return 0.5 * residual(prediction, target).squared


def huber(pair: Residual, delta: float = 1.0) -> Tensor:
    """Squared near zero and linear far from it, summed over the outputs.

    sum_c  r_c^2 / 2 where |r_c| <= delta, else delta (|r_c| - delta / 2);  r = yhat - y

    Args:
        pair: checked prediction and target; see `residual`.
        delta: above 0, in units of the target.

    Returns:
        float (B,), not reduced.

    Source:
        Huber 1964; torch.nn.HuberLoss.
    """
    return torch.nn.functional.huber_loss(pair.prediction, pair.target, reduction="none", delta=delta).sum(1)


def absolute_error(pair: Residual) -> Tensor:
    """The absolute error, summed over the outputs.

    sum_c |yhat_c - y_c|

    Args:
        pair: checked prediction and target; see `residual`.

    Returns:
        float (B,), not reduced; its gradient is 0 where prediction and target are equal.
    """
    return (pair.prediction - pair.target).abs().sum(1)


def quantile(pair: Residual, tau: float = 0.5) -> Tensor:
    """The pinball loss, summed over the outputs; for tau = 1/2 half the absolute error.

    sum_c max(tau r_c, (tau - 1) r_c),  r = y - yhat

    Args:
        pair: checked prediction and target; see `residual`.
        tau: between 0 and 1; the quantile that is estimated.

    Returns:
        float (B,), not reduced.

    Source:
        Koenker and Bassett 1978.
    """
    short_BC = pair.target - pair.prediction
    return torch.maximum(tau * short_BC, (tau - 1.0) * short_BC).sum(1)


def poisson(pair: Residual) -> Tensor:
    """Minus a Poisson log likelihood of counts, up to a constant, summed over the outputs.

    sum_c [ exp(eta_c) - y_c eta_c ],  eta the prediction: the logarithm of the expected count

    Args:
        pair: checked prediction and target; see `residual`. The target is not negative.

    Returns:
        float (B,), not reduced; least at eta = ln y, and without a least value where y = 0.

    Source:
        Generalised linear models, canonical link; torch.nn.PoissonNLLLoss with log_input.
    """
    return (pair.prediction.exp() - pair.target * pair.prediction).sum(1)


def student_t(pair: Residual, nu: float = 4.0) -> Tensor:
    """Minus the log likelihood of a Student t of unit scale, up to a constant, summed over the outputs.

    sum_c (nu + 1)/2 ln(1 + r_c^2 / nu),  r = yhat - y

    Args:
        pair: checked prediction and target; see `residual`.
        nu: degrees of freedom, above 0.

    Returns:
        float (B,), not reduced; 0 where prediction and target are equal.
    """
    return 0.5 * (nu + 1.0) * log1p_ratio((pair.prediction - pair.target).square(), nu).sum(1)


def barron(pair: Residual, shape: float = 1.0) -> Tensor:
    """Barron's general loss of unit scale, summed over the outputs.

    sum_c  b/shape [ (r_c^2 / b + 1)^(shape/2) - 1 ],  b = |shape - 2|,  r = yhat - y;
    its limits r_c^2 / 2 for shape 2 and ln(1 + r_c^2 / 2) for shape 0

    Args:
        pair: checked prediction and target; see `residual`.
        shape: at most 2.

    Returns:
        float (B,), not reduced; bounded by b / |shape| per output for a negative shape.

    Source:
        Barron 2019, equation 8 with c = 1.
    """
    if shape == 2.0:
        return 0.5 * pair.squared
    distance = math.fabs(shape - 2.0)
    # In float64: near shape 2 the power is of a large number, and float32 would lose digits in its logarithm.
    log_BC = ((pair.prediction - pair.target).double().square() / distance).log1p()
    each_BC = log_BC if abs(shape) < _SHAPE_ZERO else (log_BC * (0.5 * shape)).expm1() * (distance / shape)
    return each_BC.sum(1).to(pair.prediction.dtype)
