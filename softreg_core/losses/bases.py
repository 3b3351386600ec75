"""The bases: what is minimised when there is no divergence."""

# B examples, C outputs, K classes

from __future__ import annotations

import torch
from torch import Tensor

from softreg_core.losses.residual import class_codes, residual, widened

__all__ = ["cross_entropy", "half_squared_error"]


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


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Minus the log probability of the true class.

    -log softmax(z)_y

    Args:
        logits: float (B, K).
        target: integer class codes (B,) in 0 .. K - 1. No code is special: there is no "ignored" one.

    Returns:
        float (B,), not reduced. Adding a constant to a row of logits changes nothing; a class with logit
        -inf takes no part.

    Raises:
        ValueError: the shapes do not fit.
        TypeError: float targets.
        DataError: a class code is out of range.
    """
    if logits.ndim != 2 or target.shape != logits.shape[:1]:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)}, targets {tuple(target.shape)}; (B, K) and (B,) are needed"
        )
    if target.is_floating_point():
        raise TypeError("cross_entropy compares with integer class codes, not with floats")
    log_probability_BK = torch.log_softmax(widened(logits), dim=1)
    return -log_probability_BK.gather(1, class_codes(target, logits.shape[1])).squeeze(1)
