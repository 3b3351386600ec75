"""The Cauchy divergence: logarithmic in the residual."""

# B examples, C outputs

from __future__ import annotations

from torch import Tensor

from softreg_core.losses.ratio import log1p_ratio

__all__ = ["cauchy"]


def cauchy(squared_B: Tensor, outputs: int, variance: float | Tensor = 1.0) -> Tensor:
    """The Gaussian divergence of target to prediction with the prediction's variance minimised out.

    K = C/2 ln(1 + d2 / (C sigma2))

    Args:
        squared_B: float (B,), d2, not negative, in squared units of the target.
        outputs: C.
        variance: sigma2 above 0, in the same units; a number, or a tensor that broadcasts to (B,).

    Returns:
        float (B,), dimensionless, not reduced; half a Cauchy log-likelihood for C = 1.
    """
    return 0.5 * outputs * log1p_ratio(squared_B, outputs * variance)
