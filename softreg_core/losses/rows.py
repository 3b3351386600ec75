"""The rows of a batch that count, and a mean over them."""

# B examples

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["emptied", "kept_mean"]


def kept_mean(values_BX: Tensor, weight_B: Tensor | None) -> Tensor:
    """The weighted mean over the rows; without weights the plain one.

    Args:
        values_BX: float (B, ...).
        weight_B: float (B,), not negative. A row of weight 0 may hold anything, NaN too.

    Returns:
        float (...); 0 where no row counts.
    """
    if weight_B is None:
        return values_BX.mean(0)
    weight_BX = weight_B.to(values_BX.dtype).view(-1, *[1] * (values_BX.ndim - 1))
    # Taken out before it is multiplied, since 0 * inf is NaN.
    kept_BX = torch.where(weight_BX > 0, values_BX, 0.0)
    total = weight_BX.sum()
    return (kept_BX * weight_BX).sum(0) / torch.where(total > 0, total, 1.0)


def emptied(values_BX: Tensor, weight_B: Tensor | None, filling: float = 0.0) -> Tensor:
    """`values_BX` with another number in rows of weight 0, so that nothing which stands there, NaN too, goes further.

    The gradient of such a row is then 0 and not 0 times whatever it was.
    """
    if weight_B is None:
        return values_BX
    return torch.where((weight_B > 0).view(-1, *[1] * (values_BX.ndim - 1)), values_BX, filling)
