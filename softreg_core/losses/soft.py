"""The losses as modules: base + alpha * divergence."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from softreg_core.losses.bases import cross_entropy
from softreg_core.losses.parts import DataMeta, LossParts
from softreg_core.losses.residual import Residual, residual

__all__ = ["CrossEntropyLoss", "Divergence", "SquaredErrorLoss", "combine"]

Divergence = Callable[[Residual], Tensor]


def combine(base_B: Tensor, alpha: float | Tensor, divergence_B: Tensor) -> LossParts:
    """l_b = base_b + alpha * K_b, per example."""
    return LossParts(base_B + alpha * divergence_B, base_B, divergence_B)


class SquaredErrorLoss(nn.Module):
    """Half the squared error and, where alpha is above 0, a divergence of the same residuals."""

    def __init__(self, alpha: float, divergence: Divergence | None, data_meta: DataMeta | None) -> None:
        super().__init__()
        self.alpha = alpha
        # Skipped, not multiplied by 0: the total is then the base bit for bit, also where K is not finite.
        self.divergence = divergence if alpha != 0.0 else None
        self.data_meta = data_meta

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        *,
        step: int = 0,  # noqa: ARG002  every loss is called with it; alpha is constant here
        weight: Tensor | None = None,
    ) -> LossParts:
        """One value per example.

        Args:
            prediction: float (B, C), or (B,) read as (B, 1).
            target: float of the same shape, or integer class codes (B,).
            step: optimiser steps done so far.
            weight: float (B,); a row's share in statistics over the batch. The values themselves are not weighted.

        Returns:
            Parts of shape (B,), not reduced.
        """
        pair = residual(prediction, target, weight, self.data_meta)
        base_B = 0.5 * pair.squared
        if self.divergence is None:
            return LossParts(base_B, base_B, None)
        return combine(base_B, self.alpha, self.divergence(pair))


class CrossEntropyLoss(nn.Module):
    """Cross-entropy of logits and class codes; no divergence goes with it yet."""

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        *,
        step: int = 0,  # noqa: ARG002  every loss is called with it
        weight: Tensor | None = None,  # noqa: ARG002  there is no statistic over the batch
    ) -> LossParts:
        """One value per example: logits float (B, K), class codes (B,); parts of shape (B,), not reduced."""
        base_B = cross_entropy(prediction, target)
        return LossParts(base_B, base_B, None)
