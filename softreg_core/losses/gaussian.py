"""The divergence of two normal distributions around prediction and target."""

# B examples

from __future__ import annotations

from torch import Tensor

__all__ = ["gaussian"]


def gaussian(squared_B: Tensor, variance: float | Tensor = 1.0) -> Tensor:
    """KL between N(yhat, sigma2) and N(y, sigma2); with one variance for both, either way round.

    K = d2 / (2 sigma2)

    Args:
        squared_B: float (B,), d2, not negative, in squared units of the target.
        variance: sigma2 above 0, in the same units; a number, or a tensor that broadcasts to (B,).

    Returns:
        float (B,), dimensionless, not reduced.

    Source:
        The article, the definitions of sections 3.1 and 3.3.
    Differs:
        The article derives its closed formula from this definition; the two are not equal.
    """
    return squared_B / (2.0 * variance)
