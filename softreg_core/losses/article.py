"""The article's formula of section 3.3, and its negative: the divergence whose sign was lost in print."""

# B examples

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from softreg_core.losses.ratio import applied, keep, kept, log1p_ratio_value, matching

__all__ = ["article", "inflation"]

# The two terms of the formula cancel for small u. The value is computed in float64, so for a float32 result that
# matters below 1e-5 only, and there one term of the series is enough; a float64 result needs more of both.
_NEAR = {torch.float32: 1e-5, torch.float64: 0.1}
_SERIES: dict[torch.dtype, tuple[float, ...]] = {
    torch.float32: (1 / 3,),
    torch.float64: (1 / 13, 1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3),
}


def article(squared_B: Tensor, variance: float | Tensor = 1.0) -> Tensor:
    """The closed formula as printed; never positive.

    K = 1/2 [ ln(sigma2 / (sigma2 + d2)) + d2 / (sigma2 + d2) ] = 1/2 [ -ln(1 + u) + u / (1 + u) ], u = d2 / sigma2

    Args:
        squared_B: float (B,), d2 = sum_c (y_c - yhat_c)^2, not negative, in squared units of the target.
        variance: sigma2 above 0, in the same units; a number, or a tensor that broadcasts to (B,).

    Returns:
        float (B,), dimensionless, not reduced.

    Source:
        The article, section 3.3.
    Differs:
        Nothing in value. It is minus the Kullback-Leibler divergence of N(0, sigma2) from N(0, sigma2 + d2), so
        the divergence that section 3.1 defines is `inflation` and not this.
    """
    return _half_gap(squared_B, variance, -0.5)


def inflation(squared_B: Tensor, variance: float | Tensor = 1.0) -> Tensor:
    """KL of N(0, sigma2) from N(0, sigma2 + d2); never negative.

    K = 1/2 [ ln(1 + u) - u / (1 + u) ], u = d2 / sigma2

    Args:
        squared_B: float (B,), d2, not negative, in squared units of the target.
        variance: sigma2 above 0, in the same units; a number, or a tensor that broadcasts to (B,).

    Returns:
        float (B,), dimensionless, not reduced.

    Source:
        The article, section 3.3, with the sign of its section 3.1.
    """
    return _half_gap(squared_B, variance, 0.5)


def _half_gap(squared_B: Tensor, variance: float | Tensor, factor: float) -> Tensor:
    return applied(_Gap, squared_B, matching(variance, squared_B), factor)


class _Gap(torch.autograd.Function):
    """factor [ ln(1 + u) - u / (1 + u) ]: the value by two branches, the gradient by its closed form.

    In the closed form nothing cancels or overflows: with share = d2 / (sigma2 + d2) the derivative is
    share / (sigma2 + d2) by d2, and -share^2 / sigma2 by sigma2.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(squared_B: Tensor, variance: float | Tensor, factor: float) -> Tensor:
        return (factor * _gap(squared_B, variance)).to(squared_B.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float | Tensor, float], _: Tensor) -> None:
        squared_B, variance, ctx.factor = inputs
        keep(ctx, squared_B, variance)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        squared_B, variance = kept(ctx)
        total_B = squared_B + variance
        share_B = squared_B / total_B
        part_B = gradients[0] * share_B * ctx.factor
        # In this order: share^2 alone would underflow where the quotient does not.
        by_variance_B = -part_B * (share_B / variance) if ctx.needs_input_grad[1] else None
        return part_B / total_B, by_variance_B, None


def _gap(squared_B: Tensor, variance: float | Tensor) -> Tensor:
    """The value in float64."""
    dtype = squared_B.dtype
    wide_B = squared_B.double()
    direct_B = log1p_ratio_value(squared_B, variance) - wide_B / (wide_B + variance)
    return torch.where(wide_B < _NEAR[dtype] * variance, _series(wide_B, variance, _SERIES[dtype]), direct_B)


def _series(squared_B: Tensor, variance: float | Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """The same for small u.

    sum_{n>=2} (-1)^n (n-1)/n u^n in the variable w = u / (2 + u), where it has only positive terms:
    ln(1 + u) = 2 (w + w^3/3 + w^5/5 + ...) and u / (1 + u) = 2 w / (1 + w), so the gap is
    2 [ w^2 / (1 + w) + w^3/3 + w^5/5 + ... ].
    """
    w_B = squared_B / (squared_B + 2.0 * variance)
    sum_B: float | Tensor = coefficients[0]
    for coefficient in coefficients[1:]:
        sum_B = sum_B * w_B.square() + coefficient
    return 2.0 * w_B.square() * (1.0 / (1.0 + w_B) + w_B * sum_B)
