"""dK/dd2 of the divergences of residuals, for those who step on it and need no value; see `closed_gradient`."""

# B1 is (B, 1), B examples

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["SLOPES", "Slope"]

Slope = Callable[[Tensor, Tensor, float], Tensor]
"""Of d = |yhat - y|, (B, 1), a tensor m that broadcasts to it, and a factor f: m + f dK/dd2, (B, 1)."""


def _inflation(sigma2: float, like: Tensor, sign: float) -> Slope:
    """(d / (sigma2 + d2))^2 / 2: in this form nothing overflows or cancels."""
    variance = _number(sigma2, like)

    def slope(distance_B1: Tensor, more: Tensor, factor: float) -> Tensor:
        root_B1 = distance_B1 / torch.addcmul(variance, distance_B1, distance_B1)
        return torch.addcmul(more, root_B1, root_B1, value=0.5 * sign * factor)

    return slope


def _gaussian(sigma2: float, _outputs: int, _like: Tensor) -> Slope:
    """1 / (2 sigma2)."""
    return lambda _, more, factor: more + 0.5 * factor / sigma2


def _cauchy(sigma2: float, outputs: int, like: Tensor) -> Slope:
    """C / 2 / (C sigma2 + d2)."""
    variance = _number(outputs * sigma2, like)

    def slope(distance_B1: Tensor, more: Tensor, factor: float) -> Tensor:
        total_B1 = torch.addcmul(variance, distance_B1, distance_B1)
        return torch.add(more, total_B1.reciprocal_(), alpha=0.5 * outputs * factor)

    return slope


def _geman_mcclure(sigma2: float, _: int, like: Tensor) -> Slope:
    """sigma2 / (2 s^2), s = sigma2 + d2."""
    variance = _number(sigma2, like)

    def slope(distance_B1: Tensor, more: Tensor, factor: float) -> Tensor:
        total_B1 = torch.addcmul(variance, distance_B1, distance_B1)
        return torch.addcdiv(more, variance / total_B1, total_B1, value=0.5 * factor)

    return slope


def _welsch(sigma2: float, _: int, like: Tensor) -> Slope:
    """exp(-d2 / sigma2) / (2 sigma2)."""
    minus = _number(-sigma2, like)

    def slope(distance_B1: Tensor, more: Tensor, factor: float) -> Tensor:
        power_B1 = (distance_B1 * distance_B1).div_(minus)
        return torch.add(more, power_B1.exp_(), alpha=0.5 * factor / sigma2)

    return slope


def _number(value: float, like: Tensor) -> Tensor:
    return torch.full((1, 1), value, dtype=like.dtype, device=like.device)


SLOPES: dict[str, Callable[[float, int, Tensor], Slope]] = {
    "article": lambda sigma2, _, like: _inflation(sigma2, like, -1.0),
    "inflation": lambda sigma2, _, like: _inflation(sigma2, like, 1.0),
    "gaussian": _gaussian,
    "cauchy": _cauchy,
    "geman_mcclure": _geman_mcclure,
    "welsch": _welsch,
}
"""Of sigma2, the number of outputs, and a tensor of the dtype and on the device of those to come."""
