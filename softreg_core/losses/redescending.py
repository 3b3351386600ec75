"""Two divergences that stop growing: whatever is far away costs the same and pulls no more."""

# B examples

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from softreg_core.losses.ratio import applied, keep, kept, matching

__all__ = ["geman_mcclure", "welsch"]

# exp(-u) is 0 from here on in float64, and u exp(-u) must not become infinity times 0.
_FAR = 1e4


def geman_mcclure(squared_B: Tensor, variance: float | Tensor = 1.0) -> Tensor:
    """The Geman-McClure function of the residual.

    K = 1/2 u / (1 + u), u = d2 / sigma2

    Args:
        squared_B: float (B,), d2, not negative, in squared units of the target.
        variance: sigma2 above 0, in the same units; a number, or a tensor that broadcasts to (B,).

    Returns:
        float (B,) from 0 to 1/2, not reduced. `article` is this minus 1/2 ln(1 + u).

    Source:
        Geman and McClure 1985.
    """
    return applied(_GemanMcClure, squared_B, matching(variance, squared_B))


def welsch(squared_B: Tensor, variance: float | Tensor = 1.0) -> Tensor:
    """The Welsch (or Leclerc) function of the residual.

    K = 1/2 (1 - exp(-u)), u = d2 / sigma2

    Args:
        squared_B: float (B,), d2, not negative, in squared units of the target.
        variance: sigma2 above 0, in the same units; a number, or a tensor that broadcasts to (B,).

    Returns:
        float (B,) from 0 to 1/2, not reduced.

    Source:
        Dennis and Welsch 1978.
    """
    return applied(_Welsch, squared_B, matching(variance, squared_B))


class _GemanMcClure(torch.autograd.Function):
    """With s = sigma2 + d2 the slope is sigma2 / (2 s^2); autograd would get it as 1/s - d2/s^2, which cancels."""

    generate_vmap_rule = True

    @staticmethod
    def forward(squared_B: Tensor, variance: float | Tensor) -> Tensor:
        return 0.5 * (squared_B / (squared_B + variance))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float | Tensor], _: Tensor) -> None:
        keep(ctx, *inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        squared_B, variance = kept(ctx)
        total_B = squared_B + variance
        part_B = 0.5 * gradients[0] / total_B
        by_variance_B = -part_B * (squared_B / total_B) if ctx.needs_input_grad[1] else None
        return part_B * (variance / total_B), by_variance_B


class _Welsch(torch.autograd.Function):
    """The slope is exp(-u) / (2 sigma2); autograd would get exp(-u) from 1 - (1 - exp(-u)), which cancels."""

    generate_vmap_rule = True

    @staticmethod
    def forward(squared_B: Tensor, variance: float | Tensor) -> Tensor:
        return -0.5 * (-squared_B / variance).expm1()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float | Tensor], _: Tensor) -> None:
        keep(ctx, *inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        squared_B, variance = kept(ctx)
        ratio_B = (squared_B / variance).clamp(max=_FAR)
        # In two halves: exp(-u) alone would lose digits below the smallest normal number, where the quotient is above.
        root_B = (-0.5 * ratio_B).exp()
        part_B = 0.5 * gradients[0] * (root_B / variance) * root_B
        return part_B, -part_B * ratio_B if ctx.needs_input_grad[1] else None
