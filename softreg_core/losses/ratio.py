"""ln(1 + d2 / sigma2) without overflow, and with a gradient that never divides two large numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["applied", "keep", "kept", "log1p_ratio", "log1p_ratio_value", "matching"]

# Above this ratio ln(1 + u) equals ln(u) in float64, and ln(d2) - ln(sigma2) needs no u that could overflow.
_FAR = 1e16


def log1p_ratio(squared_B: Tensor, variance: float | Tensor) -> Tensor:
    """ln(1 + d2 / sigma2).

    Args:
        squared_B: float (B,), d2, not negative.
        variance: sigma2 above 0; a number, or a tensor that broadcasts to (B,).

    Returns:
        float (B,), not reduced.
    """
    return applied(_Log1pRatio, squared_B, matching(variance, squared_B))


def log1p_ratio_value(squared_B: Tensor, variance: float | Tensor) -> Tensor:
    """The value alone, in float64, without a gradient: B numbers cost nothing, and float32 would lose digits."""
    wide_B = squared_B.double()
    ratio_B = wide_B / variance
    if squared_B.dtype != torch.float64:
        return ratio_B.log1p()  # a ratio of two float32 numbers cannot overflow here
    log_variance = variance.log() if isinstance(variance, Tensor) else math.log(variance)
    # Where u overflows, ln(1 + u) equals ln(u) = ln(d2) - ln(sigma2) in float64.
    return torch.where(ratio_B < math.inf, ratio_B.log1p(), wide_B.log() - log_variance)


def matching(variance: float | Tensor, squared_B: Tensor) -> float | Tensor:
    """A tensor expanded to (B,), so that autograd sums its gradient; a number stays a number."""
    return variance.expand_as(squared_B) if isinstance(variance, Tensor) else variance


def applied(function: type[torch.autograd.Function], *inputs: Any) -> Tensor:
    """A function with a backward of its own; where nobody goes back, its value alone, which is found sooner."""
    result: Tensor = function.apply(*inputs) if torch.is_grad_enabled() else function.forward(*inputs)  # type: ignore[no-untyped-call]
    return result


def keep(ctx: Any, squared_B: Tensor, variance: float | Tensor) -> None:
    """For the backward of a function of the two: tensors where autograd looks after them."""
    is_tensor = isinstance(variance, Tensor)
    ctx.save_for_backward(squared_B, *([variance] if is_tensor else []))
    ctx.number = None if is_tensor else variance


def kept(ctx: Any) -> tuple[Tensor, float | Tensor]:
    """What `keep` was given."""
    squared_B, *tensors = ctx.saved_tensors
    return squared_B, tensors[0] if tensors else ctx.number


class _Log1pRatio(torch.autograd.Function):
    """Autograd through `where` would give 0 * inf = NaN from the branch not taken; the closed form cannot."""

    generate_vmap_rule = True

    @staticmethod
    def forward(squared_B: Tensor, variance: float | Tensor) -> Tensor:
        return log1p_ratio_value(squared_B, variance).to(squared_B.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float | Tensor], _: Tensor) -> None:
        keep(ctx, *inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        squared_B, variance = kept(ctx)
        total_B = squared_B + variance
        by_variance_B = -gradients[0] * (squared_B / total_B) / variance if ctx.needs_input_grad[1] else None
        return gradients[0] / total_B, by_variance_B
