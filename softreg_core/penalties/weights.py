"""Penalties of the weights' size; both together are the elastic net."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["l1", "l2"]


def l1(weights: Iterable[Tensor], strength: float | Tensor) -> Tensor:
    """Strength * sum |w|; at w = 0 the gradient is 0.

    Args:
        weights: floating tensors of any shapes, at least one.
        strength: in units of the loss over the weights'.

    Returns:
        A scalar.

    Source:
        Tibshirani 1996, equation 1, as a penalty.
    """
    return strength * torch.stack([weight.abs().sum() for weight in weights]).sum()


def l2(weights: Iterable[Tensor], strength: float | Tensor) -> Tensor:
    """Strength / 2 * sum w^2, whose gradient is strength * w.

    Args:
        weights: floating tensors of any shapes, at least one.
        strength: in units of the loss over the squared weights'.

    Returns:
        A scalar.

    Source:
        Krogh and Hertz 1991, equation 2.
    """
    return 0.5 * strength * torch.stack([weight.square().sum() for weight in weights]).sum()
